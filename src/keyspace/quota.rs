//! `maxmemory`: how much is used, how much may be, and how a loop knows it without asking the others at every command.
//!
//! ```text
//! used     what threads have allocated less what they have freed             (base::accounts, base::heap)
//!          less what they keep to be used again; less what is free after its grace period or waits for the drain: evicting
//!          more would not bring that back any sooner, and so would go on and on
//! exempt   replies that clients have not taken yet: keys do not pay for slow readers. Past an eighth of the limit these clients
//!          are closed, those first that have most to take (`exec::room`)
//! excess   used − exempt − limit
//! ```
//! A loop adds up everybody's figures (`measure`) and learns how far below the limit all of them are together. It takes a fair
//! part of half the distance: up to that *ceiling* its own holdings may grow before it looks again. So far below the limit
//! nobody looks at anybody, and close to it the ceilings shrink down to a small quantum, which is what the limit may be passed
//! by, per loop.

use crate::base::accounts::{self, Account, Holdings};
use crate::base::clock::MonoNs;
use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use crate::table::{Guard, keep_at_most, kept_len};
use crate::value::drain;
use std::cell::{Cell, OnceCell};

/// The part of the limit that replies may take before clients are closed for them.
const EXEMPT_SHARE: u64 = 8;
/// And at least so many bytes: under the tightest limit clients are still told what they ask for.
const EXEMPT_MIN: u64 = 256 << 10;
/// The part of the limit that all loops together may keep at hand for their next entries.
const SPARE_SHARE: u64 = 64;
/// What a loop may add between two looks: a part of the limit, within bounds.
const QUANTUM_SHARE: u64 = 1 << 16;
const QUANTUM_MIN: u64 = 1 << 10;
const QUANTUM_MAX: u64 = 64 << 10;

/// What one loop knows of the limit.
pub struct Quota {
    account: OnceCell<Account>,
    /// Bytes that the loop itself may hold before it looks again.
    ceiling: Cell<i64>,
    /// The limit that the ceiling was found for.
    limit: Cell<u64>,
    /// Replies that the loop's clients have not taken, as of the last turn.
    output: Cell<usize>,
}

impl Default for Quota {
    fn default() -> Self {
        Quota { account: OnceCell::new(), ceiling: Cell::new(i64::MIN), limit: Cell::new(0), output: Cell::new(0) }
    }
}

impl Quota {
    /// The thread that asks first is the one whose account it is.
    #[inline]
    fn account(&self) -> &Account {
        self.account.get_or_init(Account::open)
    }
    /// What this loop holds: allocated, not freed, not kept at hand, not given up.
    #[inline]
    fn held(&self, limbo: usize) -> i64 {
        self.account().net() - kept_len() as i64 - limbo as i64
    }
    /// Is it certain that there is room, without a look at the others?
    #[inline]
    pub fn is_within(&self, limit: u64, guard: &Guard<'_>) -> bool {
        self.limit.get() == limit && self.held(guard.limbo_bytes()) <= self.ceiling.get()
    }
    /// Shows this loop's figures to the others.
    /// Cost: some 5 ns.
    #[inline]
    pub fn publish(&self, limbo: usize) {
        self.account().publish(Holdings { limbo, spare: kept_len(), output: self.output.get() });
    }
    /// Notes the replies that wait for the loop's clients.
    pub fn set_output(&self, output: usize) {
        self.output.set(output);
    }
    /// A command has added so much to its client's reply: it counts as such before the turn is over.
    #[inline]
    pub fn note_reply(&self, bytes: usize) {
        self.output.set(self.output.get() + bytes);
    }
    /// Bytes by which all loops together are over the limit. 0: there is room, and the ceiling says for how much.
    /// Cost: a line per loop.
    pub fn measure(&self, limit: u64, loops: usize, guard: &Guard<'_>) -> u64 {
        if self.limit.replace(limit) != limit {
            let spare = limit / SPARE_SHARE / loops as u64;
            keep_at_most(if limit == 0 { usize::MAX } else { spare as usize });
        }
        let limbo = guard.limbo_bytes();
        self.publish(limbo);
        let headroom = limit as i64 - counted(limit);
        if headroom < 0 {
            self.ceiling.set(i64::MIN);
            return headroom.unsigned_abs();
        }
        let quantum = (limit / QUANTUM_SHARE).clamp(QUANTUM_MIN, QUANTUM_MAX);
        let share = (headroom as u64 / (2 * loops as u64)).max(quantum);
        self.ceiling.set(self.held(limbo).saturating_add(share as i64));
        0
    }
    /// Something has changed that this loop does not see: it looks again before its next command.
    pub fn look_again(&self) {
        self.ceiling.set(i64::MIN);
    }
}

/// Bytes that count against the limit.
fn counted(limit: u64) -> i64 {
    let totals = accounts::totals();
    totals.allocated - totals.spare - totals.limbo - drain::pending_len() as i64 - exempt(limit) as i64
}

/// Bytes of replies that do not count against the limit (INFO `mem_not_counted_for_evict`).
pub fn exempt(limit: u64) -> u64 {
    if limit == 0 { 0 } else { accounts::totals().output.max(0) as u64 }
}

fn replies_share(limit: u64) -> u64 {
    (limit / EXEMPT_SHARE).max(EXEMPT_MIN)
}

/// Replies take more than their part of the limit: how much they may take.
pub fn overdue_replies(limit: u64) -> Option<u64> {
    let share = replies_share(limit);
    (accounts::totals().output > share as i64).then_some(share)
}

/// For how long the limit has been exceeded although keys were evicted, or for want of keys.
#[derive(Default)]
pub struct Excess {
    /// Since when, in ns of the monotonic clock; 0: it is not.
    since_ns: AtomicU64,
    /// Of earlier times.
    total_ns: AtomicU64,
}

impl Excess {
    /// Notes whether the limit is exceeded now.
    /// Order: Relaxed: of two loops that find different things at the same time either may be right.
    #[inline]
    pub fn note(&self, is_exceeded: bool) {
        let since = self.since_ns.load(Relaxed);
        if is_exceeded == (since != 0) {
            return;
        }
        let now = MonoNs::now();
        let next = if is_exceeded { now.0.max(1) } else { 0 };
        if self.since_ns.compare_exchange(since, next, Relaxed, Relaxed).is_ok() && !is_exceeded {
            self.total_ns.fetch_add(now.0.saturating_sub(since), Relaxed);
        }
    }
    /// Milliseconds in all, and since the present time began.
    pub fn times_ms(&self, now: MonoNs) -> (u64, u64) {
        let current = match self.since_ns.load(Relaxed) {
            0 => 0,
            since => now.0.saturating_sub(since),
        };
        ((self.total_ns.load(Relaxed) + current) / 1_000_000, current / 1_000_000)
    }
    /// Counts from 0 again (CONFIG RESETSTAT).
    pub fn reset(&self) {
        self.total_ns.store(0, Relaxed);
        self.since_ns.store(0, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::table::Participant;

    #[test]
    fn a_ceiling_holds_for_its_limit_only() {
        let (seat, quota) = (Participant::new(), Quota::default());
        let guard = seat.pin();
        assert!(!quota.is_within(1 << 30, &guard), "nothing is known yet");
        assert_eq!(quota.measure(1 << 30, 2, &guard), 0);
        assert!(quota.is_within(1 << 30, &guard));
        assert!(!quota.is_within(1 << 20, &guard), "another limit");
        quota.look_again();
        assert!(!quota.is_within(1 << 30, &guard));
        quota.measure(0, 1, &guard); // The thread's stock is unbounded again.
    }

    #[test]
    fn times_of_excess_add_up() {
        let excess = Excess::default();
        excess.note(false);
        assert_eq!(excess.times_ms(MonoNs::now()), (0, 0));
        excess.note(true);
        let later = MonoNs(MonoNs::now().0 + 5_000_000_000);
        let (total, current) = excess.times_ms(later);
        assert!(total >= 5000 && current == total);
        excess.note(false);
        assert_eq!(excess.times_ms(later).1, 0);
    }
}
