//! Accounts: what each thread has taken from the allocator and given back, published by the threads themselves.
//!
//! ```text
//! the allocator   counts for each thread what it has ever allocated and freed, in two words that only that thread reads
//! a thread        publishes the difference, on a line of its own, when it has done some work        (`Account::publish`)
//! anybody         adds the lines up: a load per thread, and no call into the allocator              (`totals`)
//! ```
//! One thread's difference means nothing by itself and may be negative: blocks are freed where they are found. The sum is what
//! is allocated, up to what was done since the last publications and to threads that keep no account. `reconcile` finds out
//! now and then what the latter is: the allocator's own sum less what the accounts' threads have at that moment, published or
//! not. So it makes no difference how busy they are, and what a thread is just working on is nobody's but its own. What is
//! found differs by what was done while it was found; so the rest moves only as far as the last findings agree that it has.
//!
//! Who decides by what counts and what does not (`Totals::counted`) finds both in one word per thread: from two words that are
//! written one after the other a reader could take the reply of a megabyte, and miss that it is one.
//!
//! Nobody who writes waits for anybody, and no line is written by two.

#![forbid(unsafe_code)]

use crate::base::heap;
use crate::base::sync::hint::{
    AtomicBool, AtomicI64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::cell::OnceCell;
use std::sync::Mutex;
use tikv_jemalloc_ctl::thread::{ThreadLocal, allocatedp, deallocatedp};

/// Threads that may keep an account at the same time; those beyond are left to `reconcile`.
const SEATS: usize = 512;

/// One thread's published figures.
#[repr(align(128))]
struct Seat {
    is_taken: AtomicBool,
    /// Of its owner, in the allocator's list (`heap::read_meters`); 0: it is not there.
    meter: AtomicI64,
    /// What is to be added to that: nobody knows what its owner did before, and earlier owners have left something.
    offset: AtomicI64,
    /// Allocated less freed, with what earlier owners of the seat left.
    net: AtomicI64,
    /// The same without the thread's holdings.
    counted: AtomicI64,
    limbo: AtomicI64,
    spare: AtomicI64,
    output: AtomicI64,
}

impl Seat {
    const fn new() -> Self {
        Seat {
            is_taken: AtomicBool::new(false),
            meter: AtomicI64::new(0),
            offset: AtomicI64::new(0),
            net: AtomicI64::new(0),
            counted: AtomicI64::new(0),
            limbo: AtomicI64::new(0),
            spare: AtomicI64::new(0),
            output: AtomicI64::new(0),
        }
    }
}

static BOOK: [Seat; SEATS] = [const { Seat::new() }; SEATS];
/// Seats ever taken: those beyond need not be looked at.
static USED: AtomicUsize = AtomicUsize::new(0);
/// What the allocator knew beyond the seats' sum when it was asked last.
static REST: AtomicI64 = AtomicI64::new(0);
/// What it was found to be the last times, and which of them is the oldest. None: never.
static FOUND: Mutex<Option<([i64; FINDINGS], usize)>> = Mutex::new(None);
pub const FINDINGS: usize = 3;

/// What a thread publishes beside the allocator's own figures, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Given up by the table, and free after its grace period.
    pub limbo: usize,
    /// Free, kept to be used again.
    pub spare: usize,
    /// Buffers of replies that wait for clients who have not taken them, and what connections take without being asked.
    pub output: usize,
}

impl Holdings {
    fn sum(self) -> i64 {
        (self.limbo + self.spare + self.output) as i64
    }
}

thread_local! {
    /// The allocator's two words for this thread; None: it keeps none.
    static COUNTERS: OnceCell<Option<(ThreadLocal<u64>, ThreadLocal<u64>)>> = const { OnceCell::new() };
}

/// Bytes that the calling thread has ever allocated less those that it has freed.
#[inline]
fn own_net() -> i64 {
    COUNTERS.with(|counters| match counters.get_or_init(|| allocatedp::read().ok().zip(deallocatedp::read().ok())) {
        Some((allocated, deallocated)) => allocated.get().wrapping_sub(deallocated.get()) as i64,
        None => 0,
    })
}

/// A thread's account, of use to the thread that opened it alone.
pub struct Account {
    seat: Option<&'static Seat>,
    /// What is to be added to the thread's own figures: nobody knows what it did before it had a seat.
    offset: i64,
}

impl Account {
    /// Opens an account for the calling thread.
    pub fn open() -> Self {
        // Acquire: pairs with `drop`: what its last owner left is seen.
        let index = BOOK.iter().position(|seat| !seat.is_taken.swap(true, Acquire));
        if let Some(index) = index {
            USED.fetch_max(index + 1, Relaxed);
        }
        let seat = index.map(|index| &BOOK[index]);
        let offset = seat.map_or(0, |seat| seat.net.load(Relaxed)) - own_net();
        if let Some(seat) = seat {
            seat.offset.store(offset, Relaxed);
            seat.meter.store(heap::show_meter().unwrap_or(0), Relaxed);
        }
        Account { seat, offset }
    }
    /// Bytes that this thread has allocated less those that it has freed.
    /// Cost: three loads.
    #[inline]
    pub fn net(&self) -> i64 {
        own_net() + self.offset
    }
    /// Shows the present figures to the others.
    /// Cost: five stores to a line of one's own.
    #[inline]
    pub fn publish(&self, holdings: Holdings) {
        let Some(seat) = self.seat else { return };
        let net = self.net();
        seat.counted.store(net - holdings.sum(), Relaxed);
        seat.net.store(net, Relaxed);
        seat.limbo.store(holdings.limbo as i64, Relaxed);
        seat.spare.store(holdings.spare as i64, Relaxed);
        seat.output.store(holdings.output as i64, Relaxed);
    }
}

impl Drop for Account {
    /// What the thread held goes on to count; what it kept aside is no longer its.
    fn drop(&mut self) {
        self.publish(Holdings::default());
        if let Some(seat) = self.seat {
            seat.meter.store(0, Relaxed);
            seat.is_taken.store(false, Release); // Pairs with `open`.
        }
    }
}

/// The sums over all threads, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub allocated: i64,
    /// `allocated` without the others.
    pub counted: i64,
    pub limbo: i64,
    pub spare: i64,
    pub output: i64,
}

/// What is published.
/// Cost: a line per thread with an account.
pub fn totals() -> Totals {
    let rest = REST.load(Relaxed);
    let mut totals = Totals { allocated: rest, counted: rest, ..Totals::default() };
    for seat in &BOOK[..USED.load(Relaxed)] {
        totals.allocated += seat.net.load(Relaxed);
        totals.counted += seat.counted.load(Relaxed);
        totals.limbo += seat.limbo.load(Relaxed);
        totals.spare += seat.spare.load(Relaxed);
        totals.output += seat.output.load(Relaxed);
    }
    totals
}

/// Bytes that are allocated and belong to nobody's holdings.
/// Cost: a load per thread with an account.
pub fn counted() -> i64 {
    let seats = &BOOK[..USED.load(Relaxed)];
    seats.iter().fold(REST.load(Relaxed), |sum, seat| sum + seat.counted.load(Relaxed))
}

/// Brings the sum in line with what the allocator itself knows to be allocated.
pub fn reconcile(allocated: u64) {
    let Ok(mut found) = FOUND.lock() else { return };
    let rest = allocated as i64 - present();
    let (findings, oldest) = found.get_or_insert_with(|| {
        REST.store(rest, Relaxed);
        ([rest; FINDINGS], 0)
    });
    findings[*oldest] = rest;
    *oldest = (*oldest + 1) % FINDINGS;
    let (least, most) = findings.iter().fold((rest, rest), |(least, most), &it| (least.min(it), most.max(it)));
    REST.store(REST.load(Relaxed).clamp(least, most), Relaxed);
}

/// What the accounts' threads hold at this moment, whether they have published it or not.
fn present() -> i64 {
    let seats = &BOOK[..USED.load(Relaxed)];
    let (mut present, mut is_seen) = (0, [false; SEATS]);
    heap::read_meters(|number, net| {
        if let Some(index) = seats.iter().position(|seat| seat.meter.load(Relaxed) == number) {
            present += net + seats[index].offset.load(Relaxed);
            is_seen[index] = true;
        }
    });
    let others = seats.iter().zip(is_seen).filter(|(_, is_seen)| !is_seen);
    present + others.map(|(seat, _)| seat.net.load(Relaxed)).sum::<i64>()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Other tests of this process keep accounts at the same time: what is said holds in a moment without them.
    fn some_time(holds: impl Fn() -> bool) {
        let mut tries = 0..1000;
        assert!(tries.any(|_| {
            std::thread::yield_now();
            holds()
        }));
    }

    #[test]
    fn what_threads_publish_adds_up_and_a_seat_keeps_what_its_owner_leaves() {
        some_time(|| {
            let before = totals();
            let account = Account::open();
            account.publish(Holdings { limbo: 5, spare: 7, output: 11 });
            let during = totals();
            drop(account);
            let added = (during.limbo - before.limbo, during.spare - before.spare, during.output - before.output);
            added == (5, 7, 11) && totals().limbo == before.limbo
        });
    }

    #[test]
    fn what_a_thread_is_just_working_on_is_no_rest() {
        some_time(|| {
            let account = Account::open();
            account.publish(Holdings::default());
            let before = present();
            let block = heap::Ballast::new(1 << 20);
            let during = present();
            drop(block);
            during - before == 1 << 20 && present() == before
        });
    }

    #[test]
    fn what_nobody_has_published_is_carried_forward() {
        some_time(|| {
            (0..FINDINGS).for_each(|_| reconcile(1000));
            let carried = REST.load(Relaxed) + present();
            reconcile(70_000);
            let by_chance = REST.load(Relaxed) + present();
            (0..FINDINGS).for_each(|_| reconcile(0));
            (carried, by_chance, REST.load(Relaxed) + present()) == (1000, 1000, 0)
        });
    }
}
