//! The safepoint: all other loops stand still between two commands while one loop changes everything (FLUSHALL, SWAPDB).
//!
//! ```text
//! loop         leaves the kernel:   W1 seat := RUNNING   W2 fence   W3 read `stop`; if set: seat := PARKED, wait, again
//!              enters the kernel:   seat := PARKED       (its guard is gone, it holds nothing)
//!              between two turns:   read `stop`; if set, as above
//! initiator    I1 CAS stop 0 → me   I2 fence             I3 wait until every other seat is PARKED   I4 work   I5 stop := 0
//! ```
//! Invariant: while the initiator works, no other loop touches the table. The two SeqCst fences are ordered one way or the
//! other: if W2 comes first, I3 sees RUNNING and waits for the loop's next boundary; if I2 comes first, W3 sees `stop` and
//! the loop parks. One fence is not enough. Model: loom-tests/tests/safepoint.rs.
//!
//! *Inside* a safepoint its loop may enter another one (FLUSHALL in a transaction): it is the same, and only the outermost end
//! lets the others go on.
//!
//! A loop that sleeps in the kernel costs the initiator nothing and is not woken. The initiator waits for the others by
//! spinning with yields: they stop at the end of a window, within microseconds. The others wait for it in the same way, but
//! only for some windows' time: what lasts longer (a FLUSHALL) lets them sleep (`base::bell`), so that a loop that stands
//! still costs no processor that its clients, or the initiator's, could use. An initiator that knows that it will stay for
//! long (`Stay::Long`: scripts) says so, and nobody spins at all.
//!
//! *Fairness.* A loop that has slept needs long to wake, and one that stops the others again and again would always be
//! faster. So whoever stops the others first lets those go on that have slept through the stop before.

use crate::base::bell::Bell;
use crate::base::ids::LoopId;
use crate::base::mutation::{Mutation, fence_unless, mutated};
use crate::base::sync::{AtomicBool, AtomicU32, Ordering, spin, thread};

/// Spins before each yield to the scheduler.
const SPINS: usize = 64;
/// Yields before a loop that stands still sleeps: some 0.2 ms. Windows of transactions are shorter, and there sleeping costs
/// more than it saves (MULTI, 5 SET, EXEC on two loops: 422 ns a command; with 8 yields 543, with 0 5 016; without sleep 520).
const YIELDS: usize = 64;
/// Yields for which an initiator lets late sleepers go first: they are being woken, unless the machine is overloaded.
const LATE_YIELDS: usize = 256;
/// The same behind a long stay: it has sent replies and read requests in the meantime, so who is not there yet finds no
/// processor. (EVALSHA on two loops, a generator beside them on two cores, stays of 500 us: with 256 yields every change of
/// turns cost some 400 us, all of it spent here.)
const LATE_YIELDS_LONG: usize = 16;

/// In `stop`: it lasts long. A hint; nothing depends on it.
const LONG: u32 = 1 << 31;

/// How long whoever stops the others expects to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Some commands: to sleep through it would cost more than to spin.
    Short,
    /// Hundreds of microseconds.
    Long,
}

/// One loop's state, on a line of its own.
#[repr(align(128))]
struct Seat {
    is_parked: AtomicBool,
}

/// See the module header.
pub struct Safepoint {
    /// 0, or the initiator's number plus 1, and `LONG`.
    stop: AtomicU32,
    seats: Box<[Seat]>,
    /// Wakes those who sleep through a long stop.
    end: Bell,
}

impl Safepoint {
    /// A safepoint for `loops` loops, all parked until their first `leave_kernel`.
    pub fn new(loops: usize) -> Self {
        let seats = (0..loops).map(|_| Seat { is_parked: AtomicBool::new(true) }).collect();
        Safepoint { stop: AtomicU32::new(0), seats, end: Bell::default() }
    }

    /// Before waiting in the kernel. The caller holds no guard.
    #[inline]
    pub fn enter_kernel(&self, me: LoopId) {
        // Release: pairs with I3: what this loop did is visible to the initiator.
        self.seats[me.0 as usize].is_parked.store(true, Ordering::Release);
    }

    /// After waiting in the kernel, before touching the table.
    #[inline]
    pub fn leave_kernel(&self, me: LoopId) {
        let seat = &self.seats[me.0 as usize];
        let mut sleeps = 0;
        loop {
            seat.is_parked.store(false, Ordering::Relaxed); // W1
            fence_unless(Mutation::LeaveWithoutFence); // W2  pairs with I2.
            // W3  Acquire: pairs with I5: what the initiator did is visible.
            if self.stop.load(Ordering::Acquire) == 0 {
                break;
            }
            seat.is_parked.store(true, Ordering::Release);
            sleeps += self.stand_still() as u32;
        }
        (0..sleeps).for_each(|_| self.end.gone_on());
    }

    /// Waits for the end of a stop: spins for a while, then sleeps. Has it slept?
    #[cold]
    fn stand_still(&self) -> bool {
        let is_over = || self.stop.load(Ordering::Acquire) == 0;
        let is_long = self.stop.load(Ordering::Relaxed) & LONG != 0;
        if spun_until(if cfg!(loom) || is_long { 0 } else { YIELDS }, is_over) {
            return false;
        }
        self.end.sleep_until(is_over);
        true
    }

    /// Between two turns, without a guard: stands still if somebody asks for it.
    #[inline]
    pub fn poll(&self, me: LoopId) {
        if self.stop.load(Ordering::Relaxed) != 0 {
            self.enter_kernel(me);
            self.leave_kernel(me);
        }
    }

    /// Runs `work` while all other loops stand still; inside the caller's own safepoint, just runs it. Of several initiators
    /// one goes first; the others stand still for it, so entries that the caller has read before must not be used after.
    pub fn run<R>(&self, me: LoopId, work: impl FnOnce() -> R) -> R {
        if self.is_inside(me) {
            let result = work();
            if mutated(Mutation::InnerLeaves) {
                self.leave(me);
            }
            return result;
        }
        self.enter(me, Stay::Short);
        let result = work(); // I4
        self.leave(me);
        result
    }

    /// Stops all other loops. The caller is not inside already; what it has read before must not be used after.
    pub fn enter(&self, me: LoopId, stay: Stay) {
        debug_assert!(!self.is_inside(me), "whoever is inside does not enter again");
        if self.end.is_anybody_late() && !cfg!(loom) {
            let yields = if stay == Stay::Long { LATE_YIELDS_LONG } else { LATE_YIELDS };
            spun_until(yields, || self.stop.load(Ordering::Relaxed) != 0 || !self.end.is_anybody_late());
        }
        let stop = (me.0 as u32 + 1) | if stay == Stay::Long { LONG } else { 0 };
        // I1  Acquire: pairs with I5 of an earlier initiator.
        while self.stop.compare_exchange(0, stop, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.enter_kernel(me);
            self.leave_kernel(me);
        }
        fence_unless(Mutation::StopWithoutFence); // I2  pairs with W2.
        for (index, seat) in self.seats.iter().enumerate() {
            if index != me.0 as usize {
                spun_until(usize::MAX, || seat.is_parked.load(Ordering::Acquire)); // I3
            }
        }
    }

    /// Lets the other loops go on, if the caller has stopped them.
    #[inline]
    pub fn leave(&self, me: LoopId) {
        if self.is_inside(me) {
            self.stop.store(0, Ordering::Release); // I5
            self.end.ring();
        }
    }

    /// Are there loops that would have to stand still?
    pub fn has_others(&self) -> bool {
        self.seats.len() > 1
    }

    /// Is this loop the initiator? Order: Relaxed: nobody but this loop writes its number, or 0 over it.
    #[inline]
    pub fn is_inside(&self, me: LoopId) -> bool {
        self.stop.load(Ordering::Relaxed) & !LONG == me.0 as u32 + 1
    }
}

/// Spins, with so many yields at most. Is it over?
fn spun_until(yields: usize, is_over: impl Fn() -> bool) -> bool {
    let mut spins = 0;
    while !is_over() {
        if spins / SPINS >= yields {
            return false;
        }
        spins += 1;
        if cfg!(loom) || spins % SPINS != 0 {
            spin();
        } else {
            thread::yield_now();
        }
    }
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::AtomicU64;

    #[test]
    fn a_long_stop_is_slept_through_and_nobody_starves() {
        let safepoint = Safepoint::new(3);
        let turns = AtomicU64::new(0);
        safepoint.leave_kernel(LoopId(0));
        std::thread::scope(|scope| {
            for me in 1..3u16 {
                let (safepoint, turns) = (&safepoint, &turns);
                scope.spawn(move || {
                    for _ in 0..50 {
                        safepoint.leave_kernel(LoopId(me));
                        turns.fetch_add(1, Ordering::Relaxed);
                        safepoint.enter_kernel(LoopId(me));
                    }
                });
            }
            while turns.load(Ordering::Relaxed) < 100 {
                safepoint.run(LoopId(0), || std::thread::sleep(std::time::Duration::from_micros(300)));
            }
        });
        assert!(!safepoint.end.is_anybody_late());
    }

    #[test]
    fn nobody_runs_while_an_initiator_works() {
        let safepoint = Safepoint::new(3);
        let running = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for me in 0..3u16 {
                let (safepoint, running) = (&safepoint, &running);
                scope.spawn(move || {
                    for turn in 0..20_000 {
                        safepoint.leave_kernel(LoopId(me));
                        running.fetch_add(1, Ordering::Relaxed);
                        running.fetch_sub(1, Ordering::Relaxed);
                        if turn % 64 == me as usize {
                            safepoint.run(LoopId(me), || assert_eq!(running.load(Ordering::Relaxed), 0));
                        }
                        safepoint.enter_kernel(LoopId(me));
                    }
                });
            }
        });
    }
}
