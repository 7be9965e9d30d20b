//! `maxmemory`: how much is used, how much may be, and how a loop knows it without asking the others at every command.
//!
//! ```text
//! used     what threads have allocated less what they have freed             (base::accounts, base::heap)
//!          less what they keep to be used again; less what is free after its grace period or waits for the drain: evicting
//!          more would not bring that back any sooner, and so would go on and on
//! exempt   what clients take who have not taken their replies yet, and connections by themselves: keys do not pay for slow
//!          readers. An eighth of the limit may be taken beside it. What is more closes the clients that have most to take
//!          (`event_loop::charge`); under a small limit, which some replies would fill, it counts, as in Redis
//! reserve  what the process takes beyond what it uses, less a fiftieth of the limit: pages that are partly filled, above all
//!          after values have changed their sizes (`keyspace::compact`). It is kept free, so that the limit is one of resident
//!          memory, too. A part of the limit at most, and nothing under a small limit, which the program alone would fill
//! excess   used − exempt + reserve − limit
//! ```
//! A loop adds up everybody's figures (`measure`) and learns how far below the limit all of them are together. It takes a fair
//! part of half the distance: up to that *ceiling* its own holdings may grow before it looks again. So far below the limit
//! nobody looks at anybody, and close to it the ceilings shrink down to a small quantum, which is what the limit may be passed
//! by, per loop.
//!
//! **Who makes room.** Whoever may add to the data makes room for it, down to the last byte. Who only reads does not, unless the
//! limit is passed by more than a *slack* of some thousandths: a log line or a table of clients that grows costs no key unless
//! somebody writes. What is begun is finished, and a new limit is kept from the first look on.
//!
//! **The reserve** follows the allocator: what its pages hold beyond live blocks is known to the byte, whatever replies come and
//! go. What the kernel counts beside those pages changes slowly and is looked at ten times a second, while replies are few. What
//! is dirty, free pages that go back to the kernel within half a second, is none of it. It rises into what room there is, and
//! beyond that only by a part of what is evicted: a key that goes leaves a gap in its page, and if gaps were made up for at once by
//! more evictions, everything would go before the next value could fill one. So it stands still while nobody writes. Only
//! eviction heeds it; nothing is refused for it.

use crate::admin::memory;
use crate::base::accounts::{self, Account, Holdings};
use crate::base::clock::MonoNs;
use crate::base::heap::{self, block_len};
use crate::base::sync::hint::{AtomicI64, Ordering::Relaxed as AsHint};
use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use crate::table::{Guard, keep_at_most, kept_len};
use crate::value::drain;
use std::cell::{Cell, OnceCell};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A smaller limit knows no reserve and closes no clients.
const SMALL: u64 = 32 << 20;
/// The part of the limit that replies may take beside it.
const EXEMPT_SHARE: u64 = 8;
/// The part of the limit by which it may be passed before readers make room.
const SLACK_SHARE: u64 = 256;
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

/// The part of the limit that the reserve may take, and the part that needs none.
const RESERVE_SHARE: u64 = 4;
const TOLERANCE_SHARE: u64 = 50;
/// The part of what is evicted by which it may rise.
const RISE_SHARE: u64 = 4;
/// What is evicted between two looks at it: a part of the limit.
const WEIGHING_SHARE: u64 = 128;
/// The part of the limit that dirty pages may take while keys are evicted.
const DIRTY_SHARE: u64 = 64;
/// The part of the limit that may lie idle in pages before entries are moved off them, and from which on they are moved with
/// all zeal: so often round the table per limit that is evicted. In a round about all that is idle comes back, so no more than
/// a sixteenth is added to it.
const IDLE_MIN: f64 = 1.0 / 16.0;
const IDLE_MAX: f64 = 1.0 / 8.0;
const ROUNDS: f64 = 16.0;
/// Replies that take less than this part of the limit are few.
const CALM_SHARE: u64 = 64;

/// What pages that hold live blocks have free.
static IDLE: AtomicI64 = AtomicI64::new(0);
static RESERVE: AtomicI64 = AtomicI64::new(0);
/// What the process takes beside the allocator's pages: the last findings, and which of them is the oldest. None: never.
static OUTSIDE: Mutex<Option<([u64; FINDINGS], usize)>> = Mutex::new(None);
const FINDINGS: usize = 9;

/// What one loop knows of the limit.
pub struct Quota {
    account: OnceCell<Account>,
    /// Bytes that the loop itself may hold before it looks again: when data may be added, and when it is only read.
    ceiling: Cell<i64>,
    lax_ceiling: Cell<i64>,
    /// The limit that the ceilings were found for.
    limit: Cell<u64>,
    /// There was no room at the last look, or the limit is new: readers make room, too, until there is some.
    is_strict: Cell<bool>,
    /// What replies of the loop's clients take.
    output: Cell<usize>,
    /// What the loop had allocated when the command at hand began.
    net_before: Cell<i64>,
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
            lax_ceiling: Cell::new(i64::MIN),
            limit: Cell::new(0),
            is_strict: Cell::new(false),
            output: Cell::new(0),
            net_before: Cell::new(0),
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
    /// Is it certain that there is room, without a look at the others? `adds`: data may be added.
    #[inline]
    pub fn is_within(&self, limit: u64, adds: bool, guard: &Guard<'_>) -> bool {
        let ceiling = if adds { &self.ceiling } else { &self.lax_ceiling };
        self.limit.get() == limit && self.held(guard.limbo_bytes()) <= ceiling.get()
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
    /// What they take now.
    pub fn output(&self) -> usize {
        self.output.get()
    }
    /// A command's reply has made its client's buffer larger: it counts as such before the turn is over. If it is much, then at
    /// once. Returns by how much.
    /// Units: rooms of the buffer, before and after.
    #[inline]
    pub fn note_reply(&self, before: usize, after: usize, guard: &Guard<'_>) -> usize {
        if after <= before {
            return 0;
        }
        let bytes = block_len(after) - block_len(before);
        self.output.set(self.output.get() + bytes);
        if bytes >= LARGE_REPLY_LEN {
            self.publish(guard.limbo_bytes());
        }
        bytes
    }
    /// A command begins.
    #[inline]
    pub fn begin_command(&self) {
        self.net_before.set(self.account().net());
    }
    /// The command goes on in later turns, and keeps what it has allocated beside its reply until then. Returns how much that is.
    pub fn note_job(&self, reply: usize) -> usize {
        let taken = self.account().net() - self.net_before.get() - reply as i64;
        let taken = usize::try_from(taken).unwrap_or(0);
        self.output.set(self.output.get() + taken);
        taken
    }
    /// Bytes by which all loops together are over the limit, as far as it must be heeded by one that adds data or does not. 0:
    /// there is room, and the ceilings say for how much.
    /// Cost: a line per loop.
    pub fn measure(&self, limit: u64, loops: usize, adds: bool, guard: &Guard<'_>) -> u64 {
        if self.limit.replace(limit) != limit {
            keep_at_most(spare_max(limit, loops));
            self.is_strict.set(true);
            for _ in 0..accounts::FINDINGS {
                memory::used(); // From now on the accounts must be right.
            }
        }
        let limbo = guard.limbo_bytes();
        self.publish(limbo);
        let headroom = limit as i64 - reserve(limit) as i64 - counted(limit);
        let (held, quantum) = (self.held(limbo), quantum(limit));
        let ceiling = |headroom: i64| match u64::try_from(headroom) {
            Ok(headroom) => held.saturating_add((headroom / (2 * loops as u64)).max(quantum) as i64),
            Err(_) => i64::MIN,
        };
        let lax_headroom = headroom + slack(limit) as i64;
        self.ceiling.set(ceiling(headroom));
        self.is_strict.set(headroom < 0 && (self.is_strict.get() || adds || lax_headroom < 0));
        self.lax_ceiling.set(if self.is_strict.get() { i64::MIN } else { ceiling(lax_headroom) });
        if adds || self.is_strict.get() { (-headroom).max(0) as u64 } else { 0 }
    }
    /// There is no room and nothing to be evicted, and it is put up with: the loop looks again when it has added some more.
    pub fn put_up(&self, limit: u64, guard: &Guard<'_>) {
        let ceiling = self.held(guard.limbo_bytes()).saturating_add(quantum(limit) as i64);
        self.ceiling.set(ceiling);
        self.lax_ceiling.set(ceiling);
    }
    /// The loop has evicted so much.
    pub fn note_evicted(&self, limit: u64, loops: usize, bytes: u64) {
        self.evicted.set(self.evicted.get() + bytes);
        if self.evicted.get() > limit / WEIGHING_SHARE / loops as u64 {
            weigh(limit, self.evicted.take());
            // One block at hand keeps its whole page.
            let spares = rounds(limit, 1) == 0.0;
            keep_at_most(if spares { spare_max(limit, loops) } else { 0 });
            if !spares {
                heap::flush_thread_cache();
            }
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
}

/// What a loop may keep at hand for its next entries.
fn spare_max(limit: u64, loops: usize) -> usize {
    if limit == 0 { usize::MAX } else { (limit / SPARE_SHARE / loops as u64) as usize }
}

fn quantum(limit: u64) -> u64 {
    (limit / QUANTUM_SHARE).clamp(QUANTUM_MIN, QUANTUM_MAX)
}

/// What may be beyond the limit before readers make room.
fn slack(limit: u64) -> u64 {
    if limit < SMALL { 0 } else { limit / SLACK_SHARE }
}

/// Finds how much is to be kept free, now that `evicted` bytes more have gone. Returns `used_memory`.
/// Cost: some 25 µs.
pub fn weigh(limit: u64, evicted: u64) -> u64 {
    let used = memory::used();
    let idle = heap::active().saturating_sub(used);
    IDLE.store(idle as i64, AsHint);
    let overhead = idle + outside();
    if evicted > 0 && heap::dirty() > limit / DIRTY_SHARE {
        heap::purge_dirty(); // What was evicted makes room for other sizes; what replies come and go in is left alone.
    }
    let wanted = overhead.saturating_sub(limit / TOLERANCE_SHARE).min(limit / RESERVE_SHARE);
    let (present, room) = (RESERVE.load(AsHint), limit as i64 - counted(limit) - slack(limit) as i64);
    let most = present + ((room - present) / 2).max((evicted / RISE_SHARE) as i64);
    RESERVE.store(most.min(wanted as i64), AsHint);
    used
}

/// How often to go round the table and move entries off sparse pages (`keyspace::compact`), now that so much was evicted.
pub fn rounds(limit: u64, evicted: u64) -> f64 {
    let idle = IDLE.load(AsHint) as f64 / limit as f64;
    if limit < SMALL || idle <= IDLE_MIN {
        return 0.0;
    }
    let zeal = ((idle - IDLE_MIN) / (IDLE_MAX - IDLE_MIN)).min(1.0);
    evicted as f64 / limit as f64 * ROUNDS * zeal
}

/// Looks at what the process takes beside the allocator's pages, unless replies that come and go are in the way. Then as `weigh`.
/// Cost: some 30 µs.
pub fn weigh_all(limit: u64) -> u64 {
    let mut outside = OUTSIDE.lock().unwrap_or_else(PoisonError::into_inner);
    if outside.is_none() || accounts::totals().output < (limit / CALM_SHARE) as i64 {
        let found = memory::outside();
        let (findings, oldest) = outside.get_or_insert(([found; FINDINGS], 0));
        findings[*oldest] = found;
        *oldest = (*oldest + 1) % FINDINGS;
    }
    drop(outside);
    weigh(limit, 0)
}

/// The one in the middle of the last findings: pages that are just being given back, or that were taken and not touched, make some
/// of them wrong.
fn outside() -> u64 {
    let outside = *OUTSIDE.lock().unwrap_or_else(PoisonError::into_inner);
    outside.map_or(0, |(mut findings, _)| {
        findings.sort_unstable();
        findings[FINDINGS / 2]
    })
}

/// Bytes below the limit that are kept free.
pub fn reserve(limit: u64) -> u64 {
    if limit < SMALL { 0 } else { (RESERVE.load(AsHint) as u64).min(limit / RESERVE_SHARE) }
}

/// Bytes that count against the limit.
fn counted(limit: u64) -> i64 {
    let beyond = if limit < SMALL { (accounts::totals().output - (limit / EXEMPT_SHARE) as i64).max(0) } else { 0 };
    accounts::counted() + beyond - drain::pending_len() as i64
}

/// Bytes of replies and connections, which do not count against the limit (INFO `mem_not_counted_for_evict`).
pub fn exempt(limit: u64) -> u64 {
    let all = accounts::totals().output.max(0) as u64;
    if limit < SMALL { all.min(limit / EXEMPT_SHARE) } else { all }
}

/// What the replies of one loop's clients may take before the loop looks at what those of all take.
pub fn output_max(limit: u64, loops: usize) -> usize {
    if limit < SMALL { usize::MAX } else { (limit / EXEMPT_SHARE / (4 * loops as u64)) as usize }
}

/// Is this a limit under which clients count as in Redis, all but a little?
pub fn is_small(limit: u64) -> bool {
    limit < SMALL
}

/// Replies take more than their part of the limit, and all together more than the limit: how much they may take.
pub fn overdue_replies(limit: u64) -> Option<u64> {
    let (share, output) = (limit / EXEMPT_SHARE, accounts::totals().output);
    (limit >= SMALL && output > share as i64 && counted(limit) + output > limit as i64).then_some(share)
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
        assert!(!quota.is_within(1 << 40, true, &guard), "nothing is known yet");
        assert_eq!(quota.measure(1 << 40, 2, true, &guard), 0);
        assert!(quota.is_within(1 << 40, true, &guard) && quota.is_within(1 << 40, false, &guard));
        assert!(!quota.is_within(1 << 20, true, &guard), "another limit");
        quota.measure(0, 1, true, &guard); // The thread's stock is unbounded again.
    }

    #[test]
    fn readers_put_up_with_a_little_that_writers_do_not() {
        let (seat, quota) = (Participant::new(), Quota::default());
        let guard = seat.pin();
        let ballast_len = 4 * SMALL;
        let _ballast = heap::Ballast::new(ballast_len as usize);
        // Other tests take and give back meanwhile: it holds in a moment when that is less than the slack.
        let holds = || {
            quota.publish(0);
            assert_eq!(quota.measure(1 << 40, 1, false, &guard), 0);
            let limit = (counted(1 << 40).max(SMALL as i64) as u64).saturating_sub(slack(ballast_len) / 2);
            quota.limit.set(limit); // It is not new.
            let reader = quota.measure(limit, 1, false, &guard);
            let (may_read, may_write) = (quota.is_within(limit, false, &guard), quota.is_within(limit, true, &guard));
            let writer = quota.measure(limit, 1, true, &guard);
            let next_reader = quota.measure(limit, 1, false, &guard);
            let is_finished = !quota.is_within(limit, false, &guard) && next_reader > 0;
            reader == 0 && may_read && !may_write && writer > 0 && is_finished
        };
        assert!((0..1000).any(|_| holds()), "what a writer has begun readers finish, too");
        quota.measure(0, 1, true, &guard);
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
