//! Quiescence: when is it certain that no thread still holds what was unlinked?
//!
//! ```text
//! global epoch G.  Each seat announces the epoch it works in, or OFFLINE.
//! enter     E1 local := G     E2 fence (SeqCst)      … may read the table …
//! quiesce   local := G        (no fence: until the store is seen, others take the seat for older than it is)
//! leave     local := OFFLINE  (Release)
//! advance   A1 fence (SeqCst)  A2 every seat is OFFLINE or at G   A3 CAS G → G + 1
//! ```
//! What a seat unlinks while it announces `t` may be freed once G ≥ t + 3.
//!
//! *Why.* The advance from t+1 to t+2 needed this very seat at t+1 (or offline), so it came after the unlink: a reader that
//! announces t+2 or more has read G after that and cannot find the object any more. The advance from t+2 to t+3 needed every
//! seat at t+2 or offline: so no reader that announced less is left. A seat that goes online meanwhile is the fences' case:
//! if A1 comes first, its reads after E2 see the unlink; if E2 comes first, A2 sees the seat.
//!
//! A seat that sleeps is OFFLINE and holds nothing up. A seat that is descheduled inside a turn holds the epoch, and with it
//! what the others retire meanwhile.
//!
//! Proof: loom-tests/tests/quiescence.rs.

use crate::base::mutation::{Mutation, fence_unless, weakened};
use crate::base::sync::{AtomicBool, AtomicU64, Ordering};

/// Seats at most: loops and helper threads of one process.
#[cfg(not(loom))]
pub const SEATS: usize = 512;
#[cfg(loom)]
pub const SEATS: usize = 2;

const OFFLINE: u64 = 0;
/// The first epoch: far enough from 0 that "three epochs ago" exists.
const FIRST: u64 = 4;
/// Epochs between retiring and freeing.
pub const GRACE: u64 = 3;

/// One thread's announcement, on a line of its own.
#[repr(align(128))]
struct Announcement {
    local: AtomicU64,
    is_taken: AtomicBool,
}

/// The global epoch and everybody's announcements.
pub struct Epochs {
    global: AtomicU64,
    /// Seats ever taken: those beyond need not be looked at.
    used: AtomicU64,
    seats: Box<[Announcement]>,
}

impl Default for Epochs {
    fn default() -> Self {
        let seat = |_| Announcement { local: AtomicU64::new(OFFLINE), is_taken: AtomicBool::new(false) };
        Epochs { global: AtomicU64::new(FIRST), used: AtomicU64::new(0), seats: (0..SEATS).map(seat).collect() }
    }
}

impl Epochs {
    /// Takes a free seat. Panics if all are taken: a process has no business with so many threads.
    pub fn take_seat(&self) -> usize {
        // AcqRel: the seat's last owner is done with it.
        let take = |seat: &Announcement| !seat.is_taken.swap(true, Ordering::AcqRel);
        match self.seats.iter().position(take) {
            Some(index) => {
                // Release: pairs with `advance`. A seat beyond `used` has announced nothing yet; E2 comes after this.
                self.used.fetch_max(index as u64 + 1, Ordering::AcqRel);
                index
            }
            None => panic!("more than {SEATS} threads read the table"),
        }
    }
    /// Gives a seat back.
    pub fn give_back(&self, seat: usize) {
        self.leave(seat);
        self.seats[seat].is_taken.store(false, Ordering::Release);
    }
    /// Goes online. Returns the announced epoch.
    #[inline]
    pub fn enter(&self, seat: usize) -> u64 {
        let epoch = self.global.load(Ordering::Acquire); // Acquire: pairs with A3: what is freed now was let go of.
        self.seats[seat].local.store(epoch, Ordering::Relaxed); // E1
        fence_unless(Mutation::EnterWithoutFence); // E2  pairs with A1.
        epoch
    }
    /// Says: what I read before is forgotten. Returns the announced epoch.
    #[inline]
    pub fn quiesce(&self, seat: usize) -> u64 {
        let epoch = self.global.load(Ordering::Acquire); // As in `enter`.
        // Release: my reads are over; pairs with A2.
        self.seats[seat].local.store(epoch, weakened(Mutation::QuiesceRelaxed, Ordering::Release));
        epoch
    }
    /// Goes offline.
    #[inline]
    pub fn leave(&self, seat: usize) {
        self.seats[seat].local.store(OFFLINE, Ordering::Release); // As in `quiesce`.
    }
    /// Moves the global epoch from `epoch` on, if everybody announces it. Cost: a line per seat in use.
    #[inline]
    pub fn advance(&self, epoch: u64) {
        fence_unless(Mutation::AdvanceWithoutFence); // A1  pairs with E2.
        let used = self.used.load(Ordering::Acquire) as usize;
        let agrees = |seat: &Announcement| {
            let local = seat.local.load(Ordering::Acquire); // A2  pairs with `quiesce` and `leave`.
            local == OFFLINE || local == epoch
        };
        if self.seats[..used].iter().all(agrees) {
            // A3  AcqRel: hands on, to everybody who reads the new epoch, that all reads before it are over.
            let _ = self.global.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}
