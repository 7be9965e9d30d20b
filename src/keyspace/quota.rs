//! `maxmemory`: how much is used, how much may be, and how a loop knows it without asking the others at every command.
//!
//! ```text
//! used     what threads have allocated less what they have freed             (base::accounts, base::heap)
//!          less what they keep to be used again; less what is free after its grace period or waits for the drain: evicting
//!          more would not bring that back any sooner, and so would go on and on
//! exempt   the buffers of replies that clients have not taken yet, and what connections take by themselves: keys do not pay
//!          for slow readers. Where these take more than an eighth of the limit, and all together is more than the limit, those
//!          are closed that have most to take (`exec::room`)
//! reserve  what the process takes beyond what it uses, less a fiftieth of the limit: pages that are partly filled, above all
//!          after values have changed their sizes. It is kept free, so that the limit is one of resident memory, too. A quarter
//!          of the limit at most, and nothing under a small limit, which the program alone would fill
//! excess   used − exempt + reserve − limit
//! ```
//! A loop adds up everybody's figures (`measure`) and learns how far below the limit all of them are together. It takes a fair
//! part of half the distance: up to that *ceiling* its own holdings may grow before it looks again. So far below the limit
//! nobody looks at anybody, and close to it the ceilings shrink down to a small quantum, which is what the limit may be passed
//! by, per loop.
//!
//! The reserve is found by asking the allocator and the kernel, ten times a second, and whenever a part of the limit has been
//! evicted since. What is dirty, free pages that go back to the kernel within half a second, is none of it: evicting more
//! would make more of it. Only eviction heeds the reserve; nothing is refused for it.

use crate::admin::memory;
use crate::base::accounts::{self, Account, Holdings};
use crate::base::clock::MonoNs;
use crate::base::sync::hint::{AtomicI64, Ordering::Relaxed as AsHint};
use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use crate::table::{Guard, keep_at_most, kept_len};
use crate::value::drain;
use std::cell::{Cell, OnceCell};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The part of the limit that replies may take before clients are closed for them.
const EXEMPT_SHARE: u64 = 8;
/// And at least so many bytes: under the tightest limit clients are still told what they ask for.
const EXEMPT_MIN: u64 = 256 << 10;
/// A reply whose buffer has grown by so much is shown to the others before the window is over.
const LARGE_REPLY_LEN: usize = 16 << 10;
/// Between two looks at all clients, and if the first has found none that could go.
const CULL_PAUSE: Duration = Duration::from_millis(1);
const VAIN_CULL_PAUSE: Duration = Duration::from_millis(100);
/// The part of the limit that all loops together may keep at hand for their next entries.
const SPARE_SHARE: u64 = 64;
/// What a loop may add between two looks: a part of the limit, within bounds.
const QUANTUM_SHARE: u64 = 1 << 16;
const QUANTUM_MIN: u64 = 1 << 10;
const QUANTUM_MAX: u64 = 64 << 10;

/// The reserve: limits without one, the part of the limit that it may take, and the part that needs none.
const RESERVE_LIMIT_MIN: u64 = 32 << 20;
const RESERVE_SHARE: u64 = 4;
const TOLERANCE_SHARE: u64 = 50;
/// Replies that take more than this part of the limit are much.
const CALM_SHARE: u64 = 64;
/// What is evicted between two looks at it: a part of the limit.
const WEIGHING_SHARE: u64 = 128;

static RESERVE: AtomicI64 = AtomicI64::new(0);
/// What it would have been by each of the last looks; and which of them is the oldest.
static LOOKS: Mutex<([u64; LOOKS_COUNT], usize)> = Mutex::new(([0; LOOKS_COUNT], 0));
const LOOKS_COUNT: usize = 8;

/// What one loop knows of the limit.
pub struct Quota {
    account: OnceCell<Account>,
    /// Bytes that the loop itself may hold before it looks again.
    ceiling: Cell<i64>,
    /// The limit that the ceiling was found for.
    limit: Cell<u64>,
    /// What replies of the loop's clients take.
    output: Cell<usize>,
    /// Bytes that the loop has evicted since it looked how large the reserve must be.
    evicted: Cell<u64>,
    /// Until then slow readers are not looked for again.
    next_cull: Cell<MonoNs>,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            account: OnceCell::new(),
            ceiling: Cell::new(i64::MIN),
            limit: Cell::new(0),
            output: Cell::new(0),
            evicted: Cell::new(0),
            next_cull: Cell::default(),
        }
    }
}

impl Quota {
    /// The thread that asks first is the one whose account it is.
    #[inline]
    fn account(&self) -> &Account {
        self.account.get_or_init(Account::open)
    }
    /// What this loop holds: allocated, not freed, not kept at hand, not given up. Replies, too.
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
    /// Notes what the replies that wait for the loop's clients take.
    pub fn set_output(&self, output: usize) {
        self.output.set(output);
    }
    /// A command's reply has made its client's buffer larger by so much: it counts as such before the turn is over. If it is
    /// much, then at once: others who compare the accounts with the allocator see where it belongs.
    #[inline]
    pub fn note_reply(&self, bytes: usize, guard: &Guard<'_>) {
        if bytes > 0 {
            self.output.set(self.output.get() + bytes);
            if bytes >= LARGE_REPLY_LEN {
                self.publish(guard.limbo_bytes());
            }
        }
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
        let headroom = limit as i64 - reserve(limit) as i64 - counted();
        if headroom < 0 {
            self.ceiling.set(i64::MIN);
            return headroom.unsigned_abs();
        }
        let share = (headroom as u64 / (2 * loops as u64)).max(quantum(limit));
        self.ceiling.set(self.held(limbo).saturating_add(share as i64));
        0
    }
    /// There is no room and nothing to be evicted, and it is put up with: the loop looks again when it has added some more.
    pub fn put_up(&self, limit: u64, guard: &Guard<'_>) {
        self.ceiling.set(self.held(guard.limbo_bytes()).saturating_add(quantum(limit) as i64));
    }
    /// The loop has evicted so much.
    pub fn note_evicted(&self, limit: u64, loops: usize, bytes: u64) {
        self.evicted.set(self.evicted.get() + bytes);
        if self.evicted.get() > limit / WEIGHING_SHARE / loops as u64 {
            self.evicted.set(0);
            weigh(limit);
        }
    }
    /// Is it time to look for slow readers? Clients that were told to go take a moment to do so.
    pub fn may_cull(&self) -> bool {
        let now = MonoNs::now();
        let is_time = now >= self.next_cull.get();
        if is_time {
            self.next_cull.set(MonoNs(now.0 + CULL_PAUSE.as_nanos() as u64));
        }
        is_time
    }
    /// There are none that could go.
    pub fn put_off_culling(&self) {
        self.next_cull.set(MonoNs(MonoNs::now().0 + VAIN_CULL_PAUSE.as_nanos() as u64));
    }
    /// Something has changed that this loop does not see: it looks again before its next command.
    pub fn look_again(&self) {
        self.ceiling.set(i64::MIN);
    }
}

fn quantum(limit: u64) -> u64 {
    (limit / QUANTUM_SHARE).clamp(QUANTUM_MIN, QUANTUM_MAX)
}

/// Finds how much is to be kept free: the least of what the last looks have found, because buffers that come and go look
/// like partly filled pages for a moment. While replies take much it does not rise: keys do not pay for them.
/// Cost: some 30 µs. Returns `used_memory`.
pub fn weigh(limit: u64) -> u64 {
    let (overhead, used) = memory::overhead_and_used();
    let most = if exempt(limit) > limit / CALM_SHARE { reserve(limit) } else { limit / RESERVE_SHARE };
    let found = overhead.saturating_sub(limit / TOLERANCE_SHARE).min(most);
    let (looks, oldest) = &mut *LOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    looks[*oldest] = found;
    *oldest = (*oldest + 1) % LOOKS_COUNT;
    RESERVE.store(looks.iter().copied().min().unwrap_or(0) as i64, AsHint);
    used
}

/// Bytes below the limit that are kept free.
pub fn reserve(limit: u64) -> u64 {
    if limit < RESERVE_LIMIT_MIN { 0 } else { (RESERVE.load(AsHint) as u64).min(limit / RESERVE_SHARE) }
}

/// Bytes that count against the limit.
fn counted() -> i64 {
    accounts::counted() - drain::pending_len() as i64
}

/// Bytes of replies and connections, which do not count against the limit (INFO `mem_not_counted_for_evict`).
pub fn exempt(limit: u64) -> u64 {
    if limit == 0 { 0 } else { accounts::totals().output.max(0) as u64 }
}

/// Replies take more than their part of the limit, and all together more than the limit: how much they may take.
pub fn overdue_replies(limit: u64) -> Option<u64> {
    let (share, output) = ((limit / EXEMPT_SHARE).max(EXEMPT_MIN), exempt(limit));
    (output > share && counted() + output as i64 > limit as i64).then_some(share)
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
