//! Staged changes of several keys: all at one instant, readers never wait.
//!
//! ```text
//! lock     in one global order (table, hash, key): CAS the key's word → RECORD (an absent key gets one by `insert`),
//!          then freeze the old entry's cells; then, in the same order, take the locks of old objects
//! decide   the command reads the old entries and writes its decisions into the records
//! commit   CAS status ACTIVE → COMMITTED               ** the linearization point of all keys together **
//! finish   for each key CAS RECORD → new word (or EMPTY), wherever the key lives by then; retire what was replaced
//! ```
//! A **reader** that meets a record takes its old word while the status is ACTIVE or ABORTED, and its new word once it is
//! COMMITTED. A **writer** that meets one waits a moment; if the owner still has not committed (it was descheduled), the
//! writer aborts it (CAS ACTIVE → ABORTED), puts the old word back and goes on; the owner starts over. So nobody waits for
//! a stalled thread, and the global order keeps owners from aborting each other in circles.
//!
//! **Objects.** Once an owner has locked objects nobody may abort it (PINNED): it has all that it needs, and runs. While it
//! still waits for one of those locks it may be aborted, so whoever holds the lock and wants to remove the key does not
//! wait for it. What it unlinks is marked dead before the locks are given back (`value::object`).
//!
//! *Strict serializability.* A plain word is current. An ACTIVE record's old word is current: the owner has not committed and
//! nobody else changes a record's word before it is settled. A COMMITTED record's new word is current until the key is
//! finished, and every later writer finishes it first. A reader that saw one key new then reads another key of the same
//! command: its record was in place before the status changed, so it is new or newer.
//!
//! **Sections** hold keys in the same way while several commands run on them (`section`).
//!
//! Proofs: loom-tests/tests/staged.rs, snapshot.rs.

mod section;

pub use section::Section;
pub(super) use section::may_touch;

use super::entry::{Entry, NewEntry};
use super::probe::{Insert, Place, insert};
use super::reclaim::Guard;
use super::word::Word;
use super::{Change, Table};
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::mutation::{Mutation, mutated, unless, weakened};
use crate::base::plain::Plain;
use crate::base::sync::{AtomicU64, Ordering, Patience, spin};
use crate::value::object::{Exclusive, Object, Value};
use smallvec::SmallVec;

const ACTIVE: u64 = 0;
const COMMITTED: u64 = 1;
const ABORTED: u64 = 2;
/// Active, with the locks of objects in hand: not to be aborted.
const PINNED: u64 = 3;

/// Spins before a writer aborts another's staged command: some 50 µs of pauses, far beyond what an owner that runs needs.
#[cfg(not(loom))]
const PATIENCE: usize = 1 << 11;
#[cfg(loom)]
const PATIENCE: usize = 1;

/// One staged command: the status and a record per distinct key.
struct Block {
    status: AtomicU64,
    records: Vec<Record>,
    /// The keys' bytes: records outlive the command's arguments.
    _keys: Vec<u8>,
    /// Keys and hashes, for the models.
    plain: Plain,
}

// SAFETY: the raw pointers inside point into the block itself and to tables that outlive every guard.
unsafe impl Send for Block {}

/// What a locked key's word points to.
pub(super) struct Record {
    block: *const Block,
    key: *const [u8],
    hash: u64,
    /// The word that was locked, EMPTY if the key was absent. Written before the record is published.
    old: AtomicU64,
    /// The decision, written before the status says COMMITTED.
    new: AtomicU64,
}

impl Record {
    /// # Safety
    /// `word` is a record word that was loaded with Acquire from a slot under a guard that lives for `'g`.
    #[inline]
    pub unsafe fn of<'g>(word: Word) -> &'g Record {
        // SAFETY: blocks are retired after all their records left the table; the guard keeps them alive.
        unsafe { &*word.pointer::<Record>() }
    }
    #[inline]
    pub fn key<'g>(&self) -> &'g [u8] {
        self.block().plain.read();
        // SAFETY: points into the block, which lives as long as the record.
        unsafe { &*self.key }
    }
    #[inline]
    pub fn hash(&self) -> u64 {
        self.block().plain.read();
        self.hash
    }
    fn block(&self) -> &Block {
        // SAFETY: the block owns the record.
        unsafe { &*self.block }
    }
    fn status(&self) -> &AtomicU64 {
        &self.block().status
    }
    /// The status and the word that counts under it: EMPTY means absent.
    pub fn resolve(&self) -> (u64, Word) {
        // Acquire: pairs with the commit CAS: the new word and what it points to are visible.
        let status = self.status().load(Ordering::Acquire);
        let word = if status == COMMITTED || mutated(Mutation::StatusIgnored) { &self.new } else { &self.old };
        (status, Word(word.load(Ordering::Relaxed)))
    }
    /// The same for who holds this guard: inside of a section what it has done so far counts.
    fn resolve_for(&self, guard: &Guard<'_>) -> (u64, Word) {
        if self.is_in_section_of(guard) { (PINNED, Word(self.new.load(Ordering::Relaxed))) } else { self.resolve() }
    }
}

/// The word that a reader takes for `word`: itself, or what its record resolves to.
///
/// # Safety
/// `word` is live and was loaded with Acquire from a slot under this guard.
#[inline]
pub(super) unsafe fn resolved(word: Word, guard: &Guard<'_>) -> Word {
    if !word.is_record() {
        return word;
    }
    // SAFETY: the caller's promise.
    unsafe { Record::of(word) }.resolve_for(guard).1
}

impl Table {
    /// Gets somebody else's record out of the way: waits a moment, aborts it if need be, finishes its key.
    #[cold]
    pub(super) fn settle(&self, key: Key<'_>, word: Word, guard: &Guard<'_>) {
        // SAFETY: `word` was loaded from a slot under `guard`.
        let record = unsafe { Record::of(word) };
        let mut patience = PATIENCE;
        let mut pinned = Patience::default();
        loop {
            match record.status().load(Ordering::Acquire) {
                ACTIVE => {}
                PINNED => {
                    pinned.wait();
                    continue;
                }
                _ => break,
            }
            if patience == 0 && mutated(Mutation::FinishedWhileActive) {
                break;
            }
            if patience == 0 {
                // AcqRel: either this abort or the owner's next step happens, not both.
                let _ = record.status().compare_exchange(ACTIVE, ABORTED, Ordering::AcqRel, Ordering::Acquire);
                continue;
            }
            patience -= 1;
            spin();
        }
        self.finish(key, word, guard);
    }

    /// Replaces a settled record by the word that counts, once: the winner accounts for the change.
    fn finish(&self, key: Key<'_>, word: Word, guard: &Guard<'_>) {
        // It may have been met in a slot that is frozen, and lives on in the next generation without that bit.
        let word = unless(Mutation::FrozenRecordMissed, word.thawed(), word);
        // SAFETY: `word` was loaded from a slot under `guard`, or is our own block's.
        let record = unsafe { Record::of(word) };
        let (status, target) = record.resolve();
        debug_assert!(status != ACTIVE);
        loop {
            let (generation, place) = self.look(key, guard);
            // By key and record, not by slot: a move may have carried the record to another generation.
            let Some(place) = place.filter(|place| place.word.thawed() == word) else { return };
            if place.held.is_frozen() {
                self.help(key.hash, generation, guard);
                continue;
            }
            if place.exchange(target, guard) {
                let old = Word(record.old.load(Ordering::Relaxed));
                return self.account(key.hash, old, target, guard);
            }
        }
    }

    /// As `finish`, by the owner, in the slot where it put the record. False: the record is not there (the group is being
    /// moved, or somebody else finished it).
    fn finish_at(&self, place: Place<'_>, key: Key<'_>, word: Word, guard: &Guard<'_>) -> bool {
        // SAFETY: the owner's own block.
        let record = unsafe { Record::of(word) };
        let target = record.resolve().1;
        // No other word equals the record's for as long as the block lives: if the slot holds it, it is the key's place.
        let is_ours = Place { held: word, word, ..place }.exchange(target, guard);
        if is_ours {
            self.account(key.hash, Word(record.old.load(Ordering::Relaxed)), target, guard);
        }
        is_ours
    }

    /// Counts the change old → new of one key and retires the old entry. Called by the one winner of the change.
    fn account(&self, hash: u64, old: Word, new: Word, guard: &Guard<'_>) {
        if old == new {
            return;
        }
        let volatile = |word: Word| {
            // SAFETY: old and new words of a record are EMPTY or entries that live under this guard.
            word.is_live() && unsafe { word.as_entry() }.has_deadline()
        };
        let keys = new.is_live() as i64 - old.is_live() as i64;
        self.counted(hash, keys, volatile(new) as i64 - volatile(old) as i64, guard);
        if old.is_live() {
            // SAFETY: it lives under this guard.
            let old = unsafe { old.as_entry() };
            self.count_unlinked(hash, old);
            // SAFETY: the winner unlinked it: rule 1.
            unsafe { guard.retire(old) };
        }
    }
}

/// How many keys ahead of the one at hand an entry is asked for, and twice as far its group: two waits for memory that
/// overlap with the work on so many others. 16: enough to hide some 100 ns, few enough to stay in the first cache.
const AHEAD: usize = 16;
/// The first keys of a command have been asked for by whoever looked ahead (`exec::look`).
const ASKED_FOR: usize = 64;

/// Asks for what key `at` + some will be found in.
#[inline]
fn ask_ahead<'a>(at: usize, count: usize, key_at: impl Fn(usize) -> (&'a Table, u64), guard: &Guard<'_>) {
    if count <= ASKED_FOR {
        return;
    }
    if at + 2 * AHEAD < count {
        let (table, hash) = key_at(at + 2 * AHEAD);
        table.prefetch_group(hash);
    }
    if at + AHEAD < count {
        let (table, hash) = key_at(at + AHEAD);
        table.prefetch_entry(hash, guard);
    }
    if at + AHEAD / 2 < count {
        let (table, hash) = key_at(at + AHEAD / 2);
        table.prefetch_spilled(hash, guard);
    }
}

/// Commands on up to so many keys keep their lists on the stack.
const FEW_KEYS: usize = 16;

/// A distinct key of a staged command, as its owner sees it.
struct Held<'g> {
    /// Where it first stands in the order of locking; equal keys share it.
    index: u32,
    /// The slot whose word the record took. None: it was inserted, or is part of a bundle.
    place: Option<Place<'g>>,
    old: Option<Entry<'g>>,
    /// The lock of the old entry's object.
    lock: Option<Exclusive<'g>>,
    change: Change,
    /// The new entry gets the object of this one of the distinct keys.
    heir_of: Option<u32>,
}

impl Held<'_> {
    /// Asks for the lines that finishing this key will touch.
    fn ask(&self) {
        if let Some(place) = self.place {
            super::prefetch(place.slot);
            super::prefetch(place.word.pointer::<u8>());
        }
    }
}

/// The keys of one staged command, locked.
pub struct Txn<'g> {
    /// Per key as given: which of the distinct keys it is.
    held_of: SmallVec<[u32; FEW_KEYS]>,
    /// In the global order.
    held: SmallVec<[Held<'g>; FEW_KEYS]>,
}

impl<'g> Txn<'g> {
    /// Sorts the keys into the global order and finds those that are named twice.
    fn new(keys: &[(&Table, Key<'_>)]) -> Self {
        let mut order: SmallVec<[(usize, u64, u32); FEW_KEYS]> = SmallVec::with_capacity(keys.len());
        order.extend(keys.iter().zip(0..).map(|((table, key), i)| (*table as *const Table as usize, key.hash, i)));
        let bytes = |i: u32| keys[i as usize].1.bytes;
        order.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| bytes(a.2).cmp(bytes(b.2))));
        let mut txn = Txn { held_of: SmallVec::from_elem(0, keys.len()), held: SmallVec::with_capacity(keys.len()) };
        let mut last = None;
        for (table, hash, index) in order {
            let rank = (table, hash, bytes(index));
            if last != Some(rank) {
                txn.held.push(Held { index, place: None, old: None, lock: None, change: Change::Keep, heir_of: None });
                last = Some(rank);
            }
            txn.held_of[index as usize] = txn.held.len() as u32 - 1;
        }
        txn
    }
    /// The entry of key `index` as it was when the keys were locked (frozen), or None.
    pub fn old(&self, index: usize) -> Option<Entry<'g>> {
        self.held[self.held_of[index] as usize].old
    }
    /// One index of each distinct key, in the order in which they lie in memory: going through them is cheaper than through
    /// the given ones.
    pub fn distinct(&self, n: usize) -> Option<usize> {
        self.held.get(n).map(|held| held.index as usize)
    }
    /// Decides key `index`; the last decision of a key counts. The default is Keep.
    pub fn decide(&mut self, index: usize, change: Change) {
        self.held[self.held_of[index] as usize].change = change;
    }
    /// Decides that key `index` gets `heir`, a copy of what key `from` has. A collection is not copied, but handed over
    /// (`Source::Heir`): key `from` is to be removed.
    pub fn bequeath(&mut self, from: usize, index: usize, heir: NewEntry) {
        let from = heir.is_heir().then_some(self.held_of[from]);
        let held = &mut self.held[self.held_of[index] as usize];
        (held.change, held.heir_of) = (Change::Put(heir), from);
    }
    /// A copy of the collection of key `index`, if it has one.
    pub fn duplicate(&self, index: usize) -> Option<Value> {
        Some(self.held[self.held_of[index] as usize].lock.as_ref()?.duplicate())
    }
    /// What has been decided for key `index` so far.
    pub fn decision(&self, index: usize) -> &Change {
        &self.held[self.held_of[index] as usize].change
    }
}

/// Locks `keys` (each with its table; duplicates share one lock), runs `f`, and commits all its decisions at one instant.
/// `f` may be run several times; only the last run's decisions count.
///
/// Cost: one block, and two CASes per key that is there; no other thread waits for this one.
pub fn transact<'g, R>(keys: &[(&Table, Key<'_>)], guard: &'g Guard<'_>, mut f: impl FnMut(&mut Txn<'g>) -> R) -> R {
    if guard.is_in_section() {
        return section::transact_inside(keys, guard, &mut f);
    }
    let mut txn = Txn::new(keys);
    let mut backoff = 1;
    loop {
        let block = Block::new(keys, &txn.held);
        let mut result = None;
        if lock_all(keys, &mut txn.held, &block, guard)
            && let Some(status) = lock_objects(&block, &mut txn.held)
        {
            result = Some(f(&mut txn));
            if !commit(keys, &block, status, &mut txn.held) {
                result = None;
            }
        }
        // AcqRel: nobody may commit a half-locked block; after this the status is final.
        let _ = block.status.compare_exchange(ACTIVE, ABORTED, Ordering::AcqRel, Ordering::Acquire);
        put_away(keys, &mut txn, block, guard);
        if let Some(result) = result {
            return result;
        }
        for _ in 0..backoff {
            spin();
        }
        backoff = (backoff * 2).min(64);
    }
}

/// Finishes all keys of a settled block, and retires it. Of many keys those that were absent come first: a shard that shrinks
/// because the others are removed must not take them along.
fn put_away(keys: &[(&Table, Key<'_>)], txn: &mut Txn<'_>, block: Box<Block>, guard: &Guard<'_>) {
    let was_absent = |held: &Held<'_>| held.old.is_none();
    match txn.held.len() > GUESTS_MIN {
        true => {
            finish_those(keys, txn, &block, was_absent, guard);
            finish_those(keys, txn, &block, |held| !was_absent(held), guard);
        }
        false => finish_those(keys, txn, &block, |_| true, guard),
    }
    let bytes = block.records.len() * size_of::<Record>();
    guard.retire_boxed(block, bytes);
}

/// Finishes the keys that are meant.
#[inline]
fn finish_those(
    keys: &[(&Table, Key<'_>)],
    txn: &mut Txn<'_>,
    block: &Block,
    are_meant: impl Fn(&Held<'_>) -> bool,
    guard: &Guard<'_>,
) {
    for n in 0..txn.held.len() {
        if let Some(later) = txn.held.get(n + AHEAD) {
            later.ask();
        }
        let held = &mut txn.held[n];
        if !are_meant(held) {
            continue;
        }
        let (table, key) = keys[held.index as usize];
        let place = held.place.take();
        if !place.is_some_and(|place| table.finish_at(place, key, block.word(n), guard)) {
            table.finish(key, block.word(n), guard);
        }
        (held.old, held.lock, held.change, held.heir_of) = (None, None, Change::Keep, None);
    }
}

impl Block {
    fn new(keys: &[(&Table, Key<'_>)], held: &[Held<'_>]) -> Box<Block> {
        let key = |held: &Held<'_>| keys[held.index as usize].1;
        let mut bytes = Vec::with_capacity(held.iter().map(|held| key(held).bytes.len()).sum());
        held.iter().for_each(|held| bytes.extend_from_slice(key(held).bytes));
        let records = Vec::with_capacity(held.len());
        let mut block = Box::new(Block { status: AtomicU64::new(ACTIVE), records, _keys: bytes, plain: Plain::new() });
        let home: *const Block = &*block;
        let mut at = 0;
        for key in held.iter().map(key) {
            let bytes: *const [u8] = &block._keys[at..at + key.bytes.len()];
            at += key.bytes.len();
            let empty = || AtomicU64::new(Word::EMPTY.0);
            block.records.push(Record { block: home, key: bytes, hash: key.hash, old: empty(), new: empty() });
        }
        block
    }
    fn word(&self, n: usize) -> Word {
        let record: *const Record = &self.records[n];
        Word::record(record.cast_mut(), self.records[n].hash)
    }
}

/// Locks all keys, in the global order. False if the block was aborted meanwhile.
fn lock_all<'g>(keys: &[(&Table, Key<'_>)], held: &mut [Held<'g>], block: &Block, guard: &'g Guard<'_>) -> bool {
    let mut guests = Guests::default();
    (0..held.len()).all(|n| {
        let key_at = |n: usize| {
            let (table, key) = keys[held[n].index as usize];
            (table, key.hash)
        };
        ask_ahead(n, held.len(), key_at, guard);
        match lock(keys, &mut held[n], &block.records[n], guard) {
            Locked::Aborted => return false,
            Locked::Present => {}
            Locked::Absent if held.len() > GUESTS_MIN => {
                let (table, key) = keys[held[n].index as usize];
                guests.note(table, key.hash, guard);
            }
            Locked::Absent => {}
        }
        true
    })
}

/// Absent keys that a command holds take slots, and nobody counts them as keys. Commands on more keys than this make their
/// shards grow for them, as if they were keys: a shard that is made for few would be full for good otherwise. 4 to a shard:
/// that many find room in any.
const GUESTS_MIN: usize = 4 * super::SHARDS;

/// How many absent keys of a table a command holds, by shard.
#[derive(Default)]
struct Guests<'t> {
    table: Option<&'t Table>,
    counts: Vec<u32>,
}

impl<'t> Guests<'t> {
    fn note(&mut self, table: &'t Table, hash: u64, guard: &Guard<'_>) {
        if !self.table.is_some_and(|last| std::ptr::eq(last, table)) {
            (self.table, self.counts) = (Some(table), vec![0; super::SHARDS]); // The order of locking goes table by table.
        }
        let count = &mut self.counts[Table::shard_index(hash)];
        *count += 1;
        table.make_room_for(hash, *count as i64, guard);
    }
}

/// What stood in the place of a key that is held now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locked {
    Present,
    Absent,
    /// It is not held: the block was aborted meanwhile.
    Aborted,
}

/// Puts `record` in the place of its key's word.
fn lock<'g>(keys: &[(&Table, Key<'_>)], held: &mut Held<'g>, record: &Record, guard: &'g Guard<'_>) -> Locked {
    let (table, key) = keys[held.index as usize];
    let pointer: *const Record = record;
    let word = Word::record(pointer.cast_mut(), key.hash);
    let mut may_overflow = false;
    loop {
        if record.status().load(Ordering::Acquire) != ACTIVE {
            return Locked::Aborted;
        }
        super::chaos();
        let (generation, place) = table.look(key, guard);
        match place {
            Some(place) if place.held.is_frozen() => table.help(key.hash, generation, guard),
            Some(place) if place.word.is_record() => table.settle(key, place.word, guard),
            Some(place) => {
                record.old.store(place.word.0, Ordering::Relaxed); // Published by the exchange.
                if place.exchange(word, guard) {
                    // SAFETY: the word was loaded under `guard`.
                    let old = unsafe { place.word.as_entry() };
                    if !mutated(Mutation::LockWithoutFreeze) {
                        old.freeze(); // Lock first, then freeze: an INCR between the two is part of the final value.
                    }
                    held.old = Some(old);
                    held.place = (!place.held.is_bundle()).then_some(place);
                    return Locked::Present;
                }
            }
            None => {
                record.old.store(Word::EMPTY.0, Ordering::Relaxed);
                match insert(generation, key, word, may_overflow, guard) {
                    Insert::Done => return Locked::Absent,
                    Insert::Exists => {}
                    Insert::Full => may_overflow = !table.grow(key.hash, generation, guard),
                    Insert::Again => table.help(key.hash, generation, guard),
                }
            }
        }
    }
}

/// Takes the locks of the objects that the locked keys hold, and lets nobody abort us from then on. Returns the status that
/// the command is committed from. None: somebody aborted us.
fn lock_objects<'g>(block: &Block, held: &mut [Held<'g>]) -> Option<u64> {
    let mut status = ACTIVE;
    for held in held {
        let Some(object) = held.old.and_then(Entry::object) else { continue };
        if mutated(Mutation::LockWithoutObject) {
            continue;
        }
        let is_aborted = || block.status.load(Ordering::Acquire) != ACTIVE;
        // It cannot be dead: the word that we hold points to it.
        held.lock = Some(object.write_unless(is_aborted)?);
        status = PINNED;
    }
    // AcqRel: either this or an abort happens, not both.
    if status == PINNED && block.status.compare_exchange(ACTIVE, PINNED, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return None;
    }
    Some(status)
}

/// After the commit: collections go to their heirs, and what was unlinked is dead.
fn settle_objects(keys: &[(&Table, Key<'_>)], block: &Block, held: &mut [Held<'_>]) {
    for to in 0..held.len() {
        let Some(from) = held[to].heir_of.take() else { continue };
        let heir = Word(block.records[to].new.load(Ordering::Relaxed));
        let (table, key) = keys[held[to].index as usize];
        // SAFETY: our own new entry; it was born locked, so nobody can have unlinked it.
        table.inherit(key.hash, held[from as usize].lock.as_mut(), unsafe { heir.as_entry() });
    }
    for (record, held) in block.records.iter().zip(held) {
        if record.old.load(Ordering::Relaxed) != record.new.load(Ordering::Relaxed) {
            held.lock.take().into_iter().for_each(Exclusive::bury);
        }
    }
}

/// Writes the decisions and commits. On failure (somebody aborted us) the new entries are freed: nobody could see them.
fn commit(keys: &[(&Table, Key<'_>)], block: &Block, status: u64, held: &mut [Held<'_>]) -> bool {
    for (record, held) in block.records.iter().zip(held.iter_mut()) {
        let old = Word(record.old.load(Ordering::Relaxed));
        let new = match std::mem::replace(&mut held.change, Change::Keep) {
            Change::Keep => old,
            Change::Remove => Word::EMPTY,
            Change::Put(entry) => Word::entry(entry.into_raw(), record.hash),
        };
        record.new.store(new.0, Ordering::Relaxed); // Published by the CAS below.
    }
    super::chaos();
    // Release: publishes the decisions. **The linearization point of the whole command.**
    let order = weakened(Mutation::StatusRelaxed, Ordering::AcqRel);
    if block.status.compare_exchange(status, COMMITTED, order, Ordering::Acquire).is_ok() {
        settle_objects(keys, block, held);
        return true;
    }
    for record in &block.records {
        let new = Word(record.new.load(Ordering::Relaxed));
        if new.is_live() && new.0 != record.old.load(Ordering::Relaxed) {
            // SAFETY: made by `into_raw` above; readers look at `new` only when the status is COMMITTED.
            unsafe { drop(NewEntry::from_raw(std::ptr::NonNull::new_unchecked(new.pointer()))) };
        }
    }
    false
}

/// Passes of the double collect before `snapshot` locks the keys instead.
const COLLECTS_MAX: usize = 8;

/// Reads several keys of one table as they were at one instant.
///
/// Double collect: read all words, read them again; if nothing changed, all of them held between the two passes (an entry's
/// pointer cannot recur under the guard; deadlines only grow in place). An absent key is compared by its group's head, which
/// every insert changes. Two or more counters among the keys could change and change back in place, and a group in overflow
/// mode inserts without changing its head: then the keys are locked for a moment.
pub fn snapshot<'g, R>(
    table: &Table,
    keys: &[Key<'_>],
    guard: &'g Guard<'_>,
    mut f: impl FnMut(&[Option<Entry<'g>>]) -> R,
) -> R {
    let mut found: SmallVec<[Option<Entry<'g>>; FEW_KEYS]> = SmallVec::with_capacity(keys.len());
    let mut seen: SmallVec<[Sight<'g>; FEW_KEYS]> = SmallVec::with_capacity(keys.len());
    for _ in 0..COLLECTS_MAX {
        found.clear();
        seen.clear();
        for (at, &key) in keys.iter().enumerate() {
            ask_ahead(at, keys.len(), |at| (table, keys[at].hash), guard);
            let (entry, sight) = table.sight(key, guard);
            found.push(entry);
            seen.push(sight);
        }
        // What a command is doing to these keys is done first, for it may have begun with another one of them.
        if !found.iter().flatten().all(|entry| entry.object().is_none_or(Object::settled)) {
            continue;
        }
        let counters = found.iter().flatten().filter(|entry| entry.is_counter() && !entry.is_frozen()).count();
        if counters > 1 && !mutated(Mutation::SnapshotOfCounters) || seen.iter().any(|sight| !sight.is_comparable) {
            break;
        }
        // With at most one counter its value is read by `f` after this pass; all other words held at that instant only if
        // they are checked again after it, so `f` runs between the passes.
        let result = f(&found);
        if mutated(Mutation::SnapshotOnePass) || seen.iter().all(Sight::still_holds) {
            return result;
        }
    }
    let locked: SmallVec<[_; FEW_KEYS]> = keys.iter().map(|&key| (table, key)).collect();
    transact(&locked, guard, |txn| {
        found.clear();
        found.extend((0..keys.len()).map(|i| txn.old(i)));
        f(&found)
    })
}

/// What one pass of a double collect remembers of a key.
pub(super) struct Sight<'g> {
    home: &'g AtomicU64,
    /// The head under which an absent key was not found; None for a present key.
    absent_under: Option<u64>,
    place: Option<Place<'g>>,
    status: u64,
    /// A deadline, and whose it is: it may be put off in place.
    deadline: Option<(Entry<'g>, WallMs)>,
    pub(super) is_comparable: bool,
}

impl Sight<'_> {
    /// Is the key's word (or its absence) still what it was?
    pub(super) fn still_holds(&self) -> bool {
        let Some(place) = &self.place else {
            // Acquire: as in `find`. Any insert, and any move, changes the head.
            return Some(self.home.load(Ordering::Acquire)) == self.absent_under;
        };
        if let Some((entry, deadline)) = self.deadline
            && entry.expires_at() != Some(deadline) // An equal one never was another one: it only grows in place.
            && !mutated(Mutation::SnapshotOfDeadlines)
        {
            return false;
        }
        // Acquire: the head below is loaded after the word.
        let word = Word(place.slot.load(Ordering::Acquire));
        let head = super::group::GroupHead(self.home.load(Ordering::Acquire));
        if word.thawed() != place.held.thawed() || head.is_moved() {
            return false;
        }
        // SAFETY: a live word of the first pass, under the same guard.
        !place.word.is_record() || unsafe { Record::of(place.word) }.resolve().0 == self.status
    }
}

impl Table {
    /// Looks a key up and remembers how.
    pub(super) fn sight<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> (Option<Entry<'g>>, Sight<'g>) {
        let (generation, look) = self.look_under(key, guard);
        let home = &generation.line(generation.group_of(key.hash)).head;
        match look {
            Err(head) => {
                let is_comparable = head.overflow().is_none();
                let absent_under = Some(head.0);
                (None, Sight { home, absent_under, place: None, status: 0, deadline: None, is_comparable })
            }
            Ok(place) => {
                let (mut status, mut word) = (0, place.word);
                if word.is_record() {
                    // SAFETY: loaded under `guard`.
                    (status, word) = unsafe { Record::of(word) }.resolve_for(guard);
                }
                // SAFETY: likewise; the resolved word is EMPTY or an entry.
                let entry = word.is_live().then(|| unsafe { word.as_entry() });
                let deadline = entry.and_then(|entry| Some((entry, entry.expires_at()?)));
                let place = Some(place);
                (entry, Sight { home, absent_under: None, place, status, deadline, is_comparable: true })
            }
        }
    }
}
