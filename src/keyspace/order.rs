//! One order of all changes, for those who keep them: the journal, and a snapshot that is being taken.
//!
//! ```text
//! stripes    a fixed array of spin locks, chosen by the key's hash; the same key has the same stripe in every database
//! change     take the stripes of its keys, ascending ─▶ hand what is there to a running snapshot ─▶ change it ─▶
//!            note records ─▶ take the next number of ONE sequence ─▶ give the stripes back
//! alone      inside a safepoint nobody else changes anything: no stripes, the rest as above
//! ledger     one per loop: groups of records, each with its number; the loop hands them over at the end of its turn
//! ```
//! Two changes of one key hold the same stripe one after the other, so the later one has the higher number: the numbers agree
//! with the order of each key's changes. A number is taken before the reply leaves, so they agree with what clients see as
//! well: whoever heard of a change finds all its own changes behind it. Numbers have no gaps, so whoever merges the loops'
//! ledgers knows when a prefix is complete. Model: loom-tests/tests/order.rs.
//!
//! *Who takes part*, while somebody keeps an order (`Events::is_ordered`, one test of a copied word otherwise):
//! commands with keys that write (exec/order.rs: from the dispatcher, and those served for waiting clients), commands that
//! write without known keys (they enter the safepoint: FLUSHALL, SWAPDB, SORT STORE, FUNCTION LOAD), transactions and scripts
//! as a whole (exec/alone.rs), keys past their deadline that a reader meets (`Keys::expire`), active expiry of keys and of
//! fields (expire.rs, fields.rs), eviction (`Ledger::open` around the removal). Long commands change data in their handler
//! only; what they do in later slices is reply.
//!
//! *A reader that meets a dead key* may hold the lock of a collection, for which the owner of the stripe may wait. So it only
//! tries the stripe; if that is not to be had, the key reads as absent and is left to the next one, or to active expiry.
//!
//! *No deadlock.* Several stripes are taken in ascending order, before anything else is locked; whoever holds one enters no
//! safepoint. Waiting is spinning with yields, for at most as long as a command runs.
//!
//! The word is switched at a safepoint, so each loop sees it before its next command.

use super::recency::Recency;
use super::{Keys, Keyspace};
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::base::mutation::{Mutation, weakened};
use crate::base::prefetch::prefetch;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering, Patience};
use crate::table::{Guard, Table};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};

/// 1024: with 16 loops at work two different keys meet in one stripe in 1.5 % of the cases; 64 KiB.
#[cfg(not(loom))]
const STRIPES: usize = 1024;
#[cfg(loom)]
const STRIPES: usize = 2;

/// Bytes of room that a batch, its list of groups and its list of records begin with at most.
const BATCH_ROOM_MAX: usize = 256 << 10;

/// A spin lock on a line of its own.
#[repr(align(64))]
struct Stripe {
    is_taken: AtomicBool,
}

/// The stripes and the sequence, shared by all loops.
pub struct Order {
    stripes: Box<[Stripe]>,
    /// The number of the next change.
    next: AtomicU64,
}

impl Default for Order {
    fn default() -> Self {
        let stripes = (0..STRIPES).map(|_| Stripe { is_taken: AtomicBool::new(false) }).collect();
        Order { stripes, next: AtomicU64::new(1) }
    }
}

impl Order {
    fn index(hash: u64) -> u16 {
        // The low bits choose shards and tags; a multiplication takes all of them into account.
        ((hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % STRIPES) as u16
    }
    fn try_lock(&self, index: u16) -> bool {
        let stripe = &self.stripes[index as usize].is_taken;
        // Order: Acquire: pairs with `unlock`: what the last owner did to keys of this stripe is visible.
        !stripe.load(Ordering::Relaxed)
            && stripe.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
    fn lock(&self, index: u16) {
        let mut patience = Patience::default();
        while !self.try_lock(index) {
            patience.wait();
        }
    }
    /// Asks for the stripe of a key with this hash: 64 KiB of them are seldom all near.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&raw const self.stripes[Order::index(hash) as usize]);
    }
    fn unlock(&self, index: u16) {
        let order = weakened(Mutation::StripeRelaxed, Ordering::Release);
        self.stripes[index as usize].is_taken.store(false, order);
    }
    /// The number that the next change will get. Exact inside a safepoint only.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
    /// Order: Relaxed: two changes of one key are ordered by its stripe, and the sequence is one word.
    fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// A command as the journal tells it, in the bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub db: DbIndex,
    pub len: usize,
}

/// Records that belong together, under one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub number: u64,
    pub count: usize,
}

/// Groups of one loop with their records and bytes, in order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub groups: Vec<Group>,
    pub records: Vec<Record>,
    /// Commands in the protocol's form.
    pub bytes: Vec<u8>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
    /// An empty one with as much room: the next turn is like the last one. Half of it, if little of it was needed; and not what
    /// a single large value took.
    fn successor(&self) -> Batch {
        fn room<T>(full: &Vec<T>) -> Vec<T> {
            let room = if full.len() < full.capacity() / 4 { full.capacity() / 2 } else { full.capacity() };
            Vec::with_capacity(room.min(BATCH_ROOM_MAX / size_of::<T>()))
        }
        Batch { groups: room(&self.groups), records: room(&self.records), bytes: room(&self.bytes) }
    }
    /// Appends a command.
    pub fn push<'w>(&mut self, db: DbIndex, words: impl ExactSizeIterator<Item = &'w [u8]>) {
        let begin = self.bytes.len();
        append_command(&mut self.bytes, words);
        self.records.push(Record { db, len: self.bytes.len() - begin });
    }
    /// The same for one that is there in the protocol's form, but for its last two bytes.
    #[inline]
    fn push_sent(&mut self, db: DbIndex, sent: &[u8]) {
        self.bytes.reserve(sent.len() + 2);
        self.bytes.extend_from_slice(sent);
        self.bytes.extend_from_slice(b"\r\n");
        self.records.push(Record { db, len: sent.len() + 2 });
    }
}

/// Appends a command in the protocol's form.
pub fn append_command<'w>(out: &mut Vec<u8>, words: impl ExactSizeIterator<Item = &'w [u8]>) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(b"\r\n$");
        out.extend_from_slice(digits.format(word.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

/// How far a loop is with a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open,
}

/// One loop's part. See the module header.
pub struct Ledger {
    state: Cell<State>,
    held: RefCell<SmallVec<[u16; 4]>>,
    batch: RefCell<Batch>,
    /// Records of the batch that belong to finished groups.
    grouped: Cell<usize>,
    /// The command at hand has said itself what is to be kept of it.
    is_told: Cell<bool>,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            state: Cell::new(State::Closed),
            held: RefCell::default(),
            batch: RefCell::default(),
            grouped: Cell::new(0),
            is_told: Cell::new(false),
        }
    }
}

impl Ledger {
    /// Before a change of the keys with these hashes: takes their stripes.
    #[inline]
    pub fn open(&self, order: &Order, hashes: impl IntoIterator<Item = u64>) {
        debug_assert!(!self.is_open(), "a change inside another one is part of it");
        let mut held = self.held.borrow_mut();
        held.extend(hashes.into_iter().map(Order::index));
        if held.len() > 1 {
            held.sort_unstable();
            held.dedup();
        }
        held.iter().for_each(|&index| order.lock(index));
        self.state.set(State::Open);
        self.is_told.set(false);
    }
    /// The same for a caller that may hold locks: false if the stripe is not to be had at once.
    pub fn try_open(&self, order: &Order, hash: u64) -> bool {
        debug_assert!(!self.is_open(), "a change inside another one is part of it");
        let index = Order::index(hash);
        if !order.try_lock(index) {
            return false;
        }
        self.held.borrow_mut().push(index);
        self.state.set(State::Open);
        self.is_told.set(false);
        true
    }
    /// Before changes inside a safepoint, of whatever keys.
    pub fn open_alone(&self) {
        debug_assert!(!self.is_open(), "a change inside another one is part of it");
        self.state.set(State::Open);
        self.is_told.set(false);
    }
    /// Is a change under way?
    #[inline]
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }
    /// Another command of a transaction or a script begins.
    pub fn begin_command(&self) {
        self.is_told.set(false);
    }
    /// Has the command at hand said itself what is to be kept of it?
    pub fn is_told(&self) -> bool {
        self.is_told.get()
    }
    /// The command at hand is not to be kept as it is: what stands for it is recorded, or nothing does.
    pub fn tell_otherwise(&self) {
        self.is_told.set(true);
    }
    /// Notes a record of the change at hand.
    pub fn record<'w>(&self, db: DbIndex, words: impl ExactSizeIterator<Item = &'w [u8]>) {
        self.batch.borrow_mut().push(db, words);
    }
    /// Notes a command as it came: see `Args::as_sent`.
    #[inline]
    pub fn record_sent(&self, db: DbIndex, sent: &[u8]) {
        self.batch.borrow_mut().push_sent(db, sent);
    }
    /// What was recorded since the change began, if anything was, is a group of its own; more of the change follows.
    pub fn part(&self, order: &Order) -> Option<u64> {
        debug_assert!(self.is_open(), "nothing was begun");
        let mut batch = self.batch.borrow_mut();
        let count = batch.records.len() - self.grouped.get();
        (count > 0).then(|| {
            let number = order.take_number();
            batch.groups.push(Group { number, count });
            self.grouped.set(batch.records.len());
            number
        })
    }
    /// The change is made: takes its number, if there is anything to keep of it, and gives the stripes back.
    pub fn close(&self, order: &Order) -> Option<u64> {
        let number = self.part(order);
        let mut held = self.held.borrow_mut();
        held.iter().for_each(|&index| order.unlock(index));
        held.clear();
        self.state.set(State::Closed);
        number
    }
    /// Bytes that wait to be handed over.
    pub fn len(&self) -> usize {
        self.batch.borrow().bytes.len()
    }
    /// Is there nothing to be handed over?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.grouped.get() == 0
    }
    /// Takes what is finished. Nothing while a change is under way: it is handed over behind it.
    pub fn take(&self) -> Batch {
        if self.is_open() {
            return Batch::default();
        }
        self.grouped.set(0);
        self.batch.replace_with(|full| full.successor())
    }
}

/// A change of `key` in `table` follows, under its stripe or inside a safepoint: a running snapshot takes what is there. Not
/// what is past its deadline: whoever loads it would drop it, and whoever meets it may hold the lock of another collection.
#[inline]
pub fn before_write(space: &Keyspace, table: &Table, key: Key<'_>, now: WallMs, guard: &Guard<'_>, recency: &Recency) {
    space.handover.before_write(table, key, now, guard, recency);
}

impl Keys<'_> {
    /// A change of `key` follows, under its stripe: a running snapshot takes what is there.
    #[inline]
    pub fn before_write(&self, key: Key<'_>) {
        if self.space.handover.is_on()
            && let Some(table) = self.table()
        {
            before_write(self.space, table, key, self.now, self.guard, &self.local.recency);
        }
    }

    /// Runs `remove` for a key past its deadline that the caller has met, in order with other changes. None: not now.
    #[inline]
    pub(super) fn in_order<R>(&self, key: Key<'_>, remove: impl FnOnce() -> R) -> Option<R> {
        if !self.local.events.is_ordered() {
            return Some(remove());
        }
        let (ledger, order) = (&self.local.ledger, &self.space.order);
        if ledger.is_open() {
            self.before_write(key); // It may be another key than those of the command.
            return Some(remove());
        }
        ledger.try_open(order, key.hash).then(|| {
            self.before_write(key);
            let result = remove();
            ledger.close(order);
            result
        })
    }
    /// The key was past its deadline and is gone: so it is kept. If no change is under way, whoever has removed it keeps it.
    #[inline]
    pub(super) fn record_end(&self, key: &[u8]) {
        if self.local.events.is_journaled() && self.local.ledger.is_open() {
            self.local.ledger.record(self.db(), [&b"DEL"[..], key].into_iter());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn shown(batch: &Batch) -> Vec<(u64, usize)> {
        batch.groups.iter().map(|group| (group.number, group.count)).collect()
    }

    #[test]
    fn groups_get_numbers_without_gaps_and_empty_ones_get_none() {
        let (order, ledger) = (Order::default(), Ledger::default());
        let record = |word: &str| ledger.record(DbIndex(3), [word.as_bytes()].into_iter());
        ledger.open(&order, [1, 2, 1]);
        record("a");
        record("b");
        assert!(ledger.take().is_empty(), "a change under way is not handed over");
        assert_eq!(ledger.close(&order), Some(1));
        ledger.open(&order, [2]);
        assert_eq!(ledger.close(&order), None);
        ledger.open_alone();
        record("c");
        assert_eq!((ledger.part(&order), ledger.part(&order)), (Some(2), None));
        record("d");
        assert_eq!(ledger.close(&order), Some(3));
        let batch = ledger.take();
        assert_eq!(shown(&batch), [(1, 2), (2, 1), (3, 1)]);
        assert_eq!(batch.bytes, b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n*1\r\n$1\r\nc\r\n*1\r\n$1\r\nd\r\n");
        assert!(ledger.take().is_empty() && ledger.is_empty());
    }

    #[test]
    fn a_command_as_it_came_is_recorded_like_its_words() {
        let (order, ledger) = (Order::default(), Ledger::default());
        ledger.open(&order, [9]);
        ledger.record(DbIndex(1), [&b"SET"[..], b"k", b""].into_iter());
        ledger.record_sent(DbIndex(1), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n");
        ledger.close(&order);
        let batch = ledger.take();
        let (words, sent) = batch.bytes.split_at(batch.records[0].len);
        assert_eq!((words, batch.records[0]), (sent, batch.records[1]));
    }

    #[test]
    fn a_stripe_that_is_taken_is_not_to_be_had() {
        let (order, mine, other) = (Order::default(), Ledger::default(), Ledger::default());
        mine.open(&order, [7]);
        assert!(!other.try_open(&order, 7));
        mine.close(&order);
        assert!(other.try_open(&order, 7));
        assert_eq!(other.close(&order), None);
    }

    #[test]
    fn changes_of_one_key_have_ascending_numbers() {
        let order = Order::default();
        let log = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let ledger = Ledger::default();
                    for _ in 0..5000 {
                        ledger.open(&order, [5, 6]);
                        let mut log = log.try_lock().expect("the stripe keeps others away");
                        log.push(order.next());
                        drop(log);
                        ledger.record(DbIndex(0), [&b"x"[..]].into_iter());
                        ledger.close(&order);
                    }
                });
            }
        });
        assert_eq!(log.into_inner().unwrap(), (1..=15_000).collect::<Vec<_>>());
    }
}
