//! Sections: keys are held while any number of commands runs on them, and everything is done at one instant.
//!
//! ```text
//! begin    lock the keys as any staged command does: records in the place of their words, then the locks of old objects.
//!          CAS status ACTIVE → PINNED: from here on nobody aborts us, and we wait for nobody.
//!          Each collection moves from its old object, which stays locked, to a new entry that nobody else can find.
//! inside   who uses the guard of the section finds, behind each of its records, the record's new word, and changes it: `get`,
//!          `update`, `detach`, `hold`, `snapshot` and `transact` as ever. It is memory of this thread alone.
//! end      status PINNED → COMMITTED      ** the linearization point of everything that was done inside **
//!          old objects are dead: who waited for them looks their keys up again. Records are finished.
//! ```
//! So commands need no second form that works on held keys, and a lookup pays for sections only where it meets a record.
//!
//! *Others* see a section as any staged command: who reads a string takes the record's old word; who reads a collection waits
//! for the lock of the old object, and so does not see it before the end; who writes waits for the end. A section that has
//! begun waits for nobody, so there is no deadlock: before it has all its locks it may be aborted.
//!
//! *Inside* only keys of the section may be touched: another section may hold others, and wait for this one's. Nothing else
//! that somebody holds while it waits for keys may be waited for, either: what commands tell others is told behind the end.
//!
//! Proof: loom-tests/tests/section.rs.

use super::{ABORTED, ACTIVE, Block, COMMITTED, Held, PINNED, Record, Txn, lock_all, lock_objects, put_away};
use crate::base::hash::Key;
use crate::base::mutation::{Mutation, mutated, weakened};
use crate::base::sync::{Ordering, spin};
use crate::table::entry::{Entry, NewEntry, Source};
use crate::table::probe::Place;
use crate::table::reclaim::Guard;
use crate::table::word::Word;
use crate::table::{Change, Table};
use crate::value::object::{Exclusive, Object};
use smallvec::SmallVec;

/// How often a section is begun before its keys count as not to be had. Who is aborted once was stopped by the scheduler, or
/// waited for a collection that somebody is at work on.
const ATTEMPTS: usize = 16;

/// Keys that are held, from `begin` until this is dropped: that is the instant at which everything that was done to them
/// meanwhile, with the same guard, happens. Only these keys may be touched.
pub struct Section<'g> {
    guard: &'g Guard<'g>,
    txn: Txn<'g>,
    /// The tables of the distinct keys; the keys themselves are in the block.
    tables: SmallVec<[&'g Table; super::FEW_KEYS]>,
    /// None: it has ended.
    block: Option<Box<Block>>,
}

impl<'g> Section<'g> {
    /// Holds `keys` (each with its table; duplicates share one lock). None: others were faster again and again; nothing has
    /// happened.
    ///
    /// Cost: as `transact`; a collection gets a new entry.
    pub fn begin(keys: &[(&'g Table, Key<'_>)], guard: &'g Guard<'g>) -> Option<Section<'g>> {
        debug_assert!(!guard.is_in_section(), "a section has none inside");
        let mut txn = Txn::new(keys);
        for attempt in 0..ATTEMPTS {
            let block = Block::new(keys, &txn.held);
            if lock_all(keys, &mut txn.held, &block, guard) && pin(&block, &mut txn.held) {
                move_collections(keys, &block, &mut txn.held);
                guard.enter_section((&raw const *block).cast());
                let tables = txn.held.iter().map(|held| keys[held.index as usize].0).collect();
                (0..).zip(&mut txn.held).for_each(|(n, held)| held.index = n); // The order of locking is all that is left of them.
                return Some(Section { guard, txn, tables, block: Some(block) });
            }
            // AcqRel: as in `transact`.
            let _ = block.status.compare_exchange(ACTIVE, ABORTED, Ordering::AcqRel, Ordering::Acquire);
            put_away(keys, &mut txn, block, guard);
            (0..1 << attempt.min(6)).for_each(|_| spin());
        }
        None
    }
    /// Is this key held?
    pub fn holds(&self, table: &Table, key: Key<'_>) -> bool {
        let records = self.block.iter().flat_map(|block| &block.records);
        records
            .zip(&self.tables)
            .any(|(record, &held)| std::ptr::eq(held, table) && record.hash == key.hash && record.key() == key.bytes)
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        self.guard.leave_section();
        // Release: publishes what was done. **The linearization point of it all.** Nobody else changes a pinned status.
        block.status.store(COMMITTED, weakened(Mutation::StatusRelaxed, Ordering::Release));
        self.txn.held.iter_mut().filter_map(|held| held.lock.take()).for_each(Exclusive::bury);
        let keys = block.records.iter().map(|record| Key { bytes: record.key(), hash: record.hash });
        let keys: SmallVec<[_; super::FEW_KEYS]> = self.tables.iter().copied().zip(keys).collect();
        put_away(&keys, &mut self.txn, block, self.guard);
    }
}

/// Takes the locks of the old objects, and lets nobody abort us from then on. False: somebody has.
fn pin(block: &Block, held: &mut [Held<'_>]) -> bool {
    match lock_objects(block, held) {
        None => false,
        Some(PINNED) => true,
        _ if mutated(Mutation::SectionNotPinned) => true,
        // AcqRel: either this or an abort happens, not both.
        Some(_) => block.status.compare_exchange(ACTIVE, PINNED, Ordering::AcqRel, Ordering::Acquire).is_ok(),
    }
}

/// What stands under the keys at the begin: what stood there before, collections in entries of their own.
fn move_collections(keys: &[(&Table, Key<'_>)], block: &Block, held: &mut [Held<'_>]) {
    for (record, held) in block.records.iter().zip(held) {
        if mutated(Mutation::SectionInPlace) {
            held.lock = None;
        }
        let Some((old, lock)) = held.old.zip(held.lock.as_mut()) else {
            // Relaxed, as all of `new`: the owner's alone until the status says COMMITTED.
            record.new.store(record.old.load(Ordering::Relaxed), Ordering::Relaxed);
            continue;
        };
        let heir = NewEntry::new(old.kind(), old.key(), old.expires_at(), old.recency(), Source::Heir);
        keys[held.index as usize].0.inherit(record.hash, Some(lock), heir.view());
        record.new.store(Word::entry(heir.into_raw(), record.hash).0, Ordering::Relaxed);
    }
}

impl Record {
    /// The record that `word` points to, if it is one of the section that this guard is in.
    ///
    /// # Safety
    /// `word` is a record word that was loaded with Acquire from a slot under `guard`.
    #[inline]
    pub(in crate::table) unsafe fn of_section<'g>(word: Word, guard: &'g Guard<'_>) -> Option<&'g Record> {
        // SAFETY: the caller's promise.
        let record = unsafe { Record::of(word) };
        record.is_in_section_of(guard).then_some(record)
    }
    #[inline]
    pub(super) fn is_in_section_of(&self, guard: &Guard<'_>) -> bool {
        std::ptr::eq(guard.section(), self.block.cast())
    }
    /// What stands under the key, as the section has left it so far.
    pub(in crate::table) fn now<'g>(&self) -> Option<Entry<'g>> {
        let word = Word(self.new.load(Ordering::Relaxed));
        // SAFETY: EMPTY or an entry: the old one, which lives under the section's guard, or one of the section's own, which is
        // retired when it is displaced.
        word.is_live().then(|| unsafe { word.as_entry() })
    }
    /// Puts `next` in the place of what stands under the key, which is one of `table`. `lock`: of that one's object.
    fn displace(&self, table: &Table, next: Word, lock: Option<Exclusive<'_>>, guard: &Guard<'_>) {
        let last = Word(self.new.load(Ordering::Relaxed));
        self.new.store(next.0, Ordering::Relaxed);
        lock.into_iter().for_each(Exclusive::bury);
        if last.is_live() && last.0 != self.old.load(Ordering::Relaxed) {
            // SAFETY: an entry that only this thread could find: it lives.
            let last = unsafe { last.as_entry() };
            table.count_unlinked(self.hash, last);
            // SAFETY: nobody finds it any more: rule 1. The old one is retired by who finishes the record.
            unsafe { guard.retire(last) };
        }
    }
    /// As `Table::supplant`, for a key of the section.
    pub(in crate::table) fn supplant(&self, table: &Table, next: Word, guard: &Guard<'_>) {
        self.displace(table, next, None, guard);
    }
    /// Changes what stands under the key: `old`. The last step of `Table::update`.
    #[cold]
    pub(in crate::table) fn change(&self, table: &Table, change: Change, old: Option<Entry<'_>>, guard: &Guard<'_>) {
        let lock = || old.and_then(Entry::object).and_then(Object::write);
        match change {
            Change::Keep => {}
            Change::Remove => self.displace(table, Word::EMPTY, lock(), guard),
            Change::Put(entry) => {
                let mut lock = lock();
                if entry.is_heir() {
                    table.inherit(self.hash, lock.as_mut(), entry.view());
                }
                self.displace(table, Word::entry(entry.into_raw(), self.hash), lock, guard);
            }
        }
    }
}

/// May who holds this guard touch a key that was found here? Inside of a section only its own keys.
pub(in crate::table) fn may_touch(place: Option<Place<'_>>, guard: &Guard<'_>) -> bool {
    // SAFETY: found under `guard`.
    let is_ours = |word: Word| word.is_record() && unsafe { Record::of_section(word, guard) }.is_some();
    !guard.is_in_section() || place.is_some_and(|place| is_ours(place.word))
}

/// As `transact`, for keys of the section.
#[cold]
pub(super) fn transact_inside<'g, R>(
    keys: &[(&Table, Key<'_>)],
    guard: &'g Guard<'_>,
    f: &mut impl FnMut(&mut Txn<'g>) -> R,
) -> R {
    let mut txn = Txn::new(keys);
    let records: SmallVec<[&'g Record; super::FEW_KEYS]> = txn
        .held
        .iter()
        .map(|held| {
            let (table, key) = keys[held.index as usize];
            table.section_record(key, guard)
        })
        .collect();
    for (held, record) in txn.held.iter_mut().zip(&records) {
        held.old = record.now();
        held.lock = held.old.and_then(Entry::object).and_then(Object::write);
    }
    let result = f(&mut txn);
    // Heirs first: afterwards a collection may be gone with its entry.
    for to in 0..txn.held.len() {
        let Some(from) = txn.held[to].heir_of.take() else { continue };
        let change = std::mem::replace(&mut txn.held[to].change, Change::Keep);
        if let Change::Put(heir) = &change {
            let (table, key) = keys[txn.held[to].index as usize];
            table.inherit(key.hash, txn.held[from as usize].lock.as_mut(), heir.view());
        }
        txn.held[to].change = change;
    }
    for (held, record) in txn.held.iter_mut().zip(&records) {
        let next = match std::mem::replace(&mut held.change, Change::Keep) {
            Change::Keep => continue,
            Change::Remove => Word::EMPTY,
            Change::Put(entry) => Word::entry(entry.into_raw(), record.hash),
        };
        record.displace(keys[held.index as usize].0, next, held.lock.take(), guard);
    }
    result
}

impl Table {
    /// The record of a key of the section.
    fn section_record<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> &'g Record {
        let word = self.look(key, guard).1.map(|place| place.word).filter(|word| word.is_record());
        // SAFETY: found under `guard`.
        match word.and_then(|word| unsafe { Record::of_section(word, guard) }) {
            Some(record) => record,
            None => unreachable!("a section touches its own keys"),
        }
    }
}
