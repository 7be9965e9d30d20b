//! Objects under their locks: one (`detach`, `insert_held`), or several at once (`hold`).
//!
//! ```text
//! lock      in the global order of staged commands (table, hash, key): find the key; if it holds an object, take its lock,
//!           shared or exclusive; dead means: find it again
//! check     keys that hold no object are looked at again, now that all locks are held: nothing has changed. (Where a look
//!           cannot tell, in a group in overflow mode, an absent key gets a locked, vacant object for the time being.)
//!                                                               ** one instant at which everything was seen **
//! change    objects in place; a key that gets a new object gets it locked
//! let go    emptied objects are unlinked, then all locks are given back
//! ```
//! *Strict serializability.* Two-phase locking: until everything is done no lock is given back, so whoever reads one of the
//! changed objects waits. What can be seen without a lock is that a key is there: those who ask wait for its lock too
//! (`Object::settled`).
//! *No deadlock.* Locks are taken in one order, here and by staged commands. Whoever holds a lock and meets a record of a
//! staged command does not wait for it: either it has all its locks, or it may be aborted.
//!
//! Proof: loom-tests/tests/object.rs.

use super::entry::{Entry, NewEntry};
use super::reclaim::Guard;
use super::staged::{Record, Sight};
use super::word::Word;
use super::{Change, Kind, Source, Table};
use crate::base::hash::Key;
use crate::base::mutation::{Mutation, mutated};
use crate::base::sync::Patience;
use crate::value::object::{Collection, Exclusive, ObjectType, Shared, Value};
use smallvec::SmallVec;
use std::ptr::NonNull;

/// A key that a command works on, and how.
#[derive(Clone, Copy)]
pub struct Wanted<'k> {
    pub table: &'k Table,
    pub key: Key<'k>,
    /// Will it be changed?
    pub is_write: bool,
}

/// Somebody else was faster; nothing has been done yet, start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

enum Lock<'g> {
    Shared(Shared<'g>),
    Exclusive(Exclusive<'g>),
}

/// A distinct key, locked or without an object.
struct Item<'g> {
    /// Where it first stands among the keys as given.
    index: u32,
    is_write: bool,
    entry: Option<Entry<'g>>,
    lock: Option<Lock<'g>>,
    /// The entry was put there to keep others out: the key is absent.
    is_placeholder: bool,
}

/// The keys of one command. Several commands use few.
const FEW_KEYS: usize = 4;

/// See the module header.
pub struct Held<'k, 'g> {
    wanted: &'k [Wanted<'k>],
    guard: &'g Guard<'g>,
    /// Per key as given: which of the distinct ones it is.
    item_of: SmallVec<[u32; FEW_KEYS]>,
    items: SmallVec<[Item<'g>; FEW_KEYS]>,
}

impl<'g> Item<'g> {
    /// Keeps others out of an absent key. False: it is there by now.
    #[cold]
    fn occupy(&mut self, table: &Table, key: Key<'_>, guard: &'g Guard<'g>) -> bool {
        let vacant = || NewEntry::new(Kind(ObjectType::List as u8), key.bytes, None, 0, Source::Vacant);
        let Some((entry, lock)) = table.insert_held(key, guard, |old| old.is_none().then(vacant)) else { return false };
        (self.entry, self.lock, self.is_placeholder) = (Some(entry), Some(Lock::Exclusive(lock)), true);
        true
    }
}

impl Table {
    /// Unlinks `entry`, whose object is locked by the caller, from its key.
    pub fn detach(&self, key: Key<'_>, entry: Entry<'_>, lock: Exclusive<'_>, guard: &Guard<'_>) {
        self.supplant(key, entry, Word::EMPTY, guard);
        lock.bury();
    }

    /// Puts `next` in the place of `entry`, whose object is locked by the caller.
    fn supplant(&self, key: Key<'_>, entry: Entry<'_>, next: Word, guard: &Guard<'_>) {
        if entry.has_deadline() {
            entry.freeze();
        }
        loop {
            let (generation, place) = self.look(key, guard);
            let Some(place) = place else { unreachable!("who holds its lock keeps it in the table") };
            if place.word.is_record() {
                // SAFETY: found under `guard`.
                if let Some(record) = unsafe { Record::of_section(place.word, guard) } {
                    return record.supplant(self, next, guard);
                }
                self.settle(key, place.word, guard);
                continue;
            }
            debug_assert_eq!(place.word.pointer(), entry.as_ptr(), "who holds its lock keeps it in the table");
            if place.held.is_frozen() {
                self.help(key.hash, generation, guard);
                continue;
            }
            super::chaos();
            if place.exchange(next, guard) {
                break;
            }
        }
        self.count_unlinked(key.hash, entry);
        // SAFETY: our exchange unlinked it: rule 1.
        unsafe { guard.retire(entry) };
        // A new object has no deadline.
        let (keys, volatile) = (-(next.is_empty() as i64), -(entry.has_deadline() as i64));
        if keys != 0 || volatile != 0 {
            self.counted(key.hash, keys, volatile, guard);
        }
    }

    /// Stores an entry whose object is born locked where `make` says so: it is shown what is there, and makes the entry
    /// (`Source::Vacant`, which the caller fills) or refuses. Returns the entry and its lock.
    pub fn insert_held<'g>(
        &self,
        key: Key<'_>,
        guard: &'g Guard<'_>,
        mut make: impl FnMut(Option<Entry<'g>>) -> Option<NewEntry>,
    ) -> Option<(Entry<'g>, Exclusive<'g>)> {
        let block = self.update(key, guard, |old| match make(old) {
            Some(entry) => {
                let block = entry.view().as_ptr();
                (Change::Put(entry), Some(block))
            }
            None => (Change::Keep, None),
        })?;
        // SAFETY: its change was applied, so it is in the table, and stays there as long as the lock that it was born with
        // is held; retired entries live as long as `guard`.
        let entry = unsafe { Entry::from_raw(NonNull::new(block)?) };
        // SAFETY: born locked by this thread, asked for once: here.
        Some((entry, unsafe { entry.object()?.born_held() }))
    }
}

/// Locks `wanted` (duplicates share one lock), and runs `f` until it succeeds. What `f` has seen held at one instant, and
/// what it changes happens at one instant.
///
/// Contract of `f`: whatever it does that may end in `Lost` comes before its first change in place.
pub fn hold<'k, 'g, R>(
    wanted: &'k [Wanted<'k>],
    guard: &'g Guard<'g>,
    mut f: impl FnMut(&mut Held<'k, 'g>) -> Result<R, Lost>,
) -> R {
    let mut patience = Patience::default();
    loop {
        let mut held = Held::new(wanted, guard);
        if held.lock_all() {
            let result = f(&mut held);
            held.let_go();
            if let Ok(result) = result {
                return result;
            }
        }
        drop(held);
        patience.wait();
    }
}

impl<'k, 'g> Held<'k, 'g> {
    /// Sorts the keys into the global order and finds those that are named twice.
    fn new(wanted: &'k [Wanted<'k>], guard: &'g Guard<'g>) -> Self {
        let rank = |i: u32| {
            let Wanted { table, key, .. } = wanted[i as usize];
            (std::ptr::from_ref(table).addr(), key.hash, key.bytes)
        };
        let mut order: SmallVec<[u32; FEW_KEYS]> = (0..wanted.len() as u32).collect();
        order.sort_by(|&a, &b| rank(a).cmp(&rank(b)));
        let mut held = Held { wanted, guard, item_of: SmallVec::from_elem(0, wanted.len()), items: SmallVec::new() };
        for index in order {
            let is_write = wanted[index as usize].is_write;
            match held.items.last_mut().filter(|last| rank(last.index) == rank(index)) {
                Some(last) => last.is_write |= is_write,
                None => held.items.push(Item { index, is_write, entry: None, lock: None, is_placeholder: false }),
            }
            held.item_of[index as usize] = held.items.len() as u32 - 1;
        }
        held
    }
    /// False: something has changed before all locks were held.
    fn lock_all(&mut self) -> bool {
        let mut sights: SmallVec<[Sight<'g>; FEW_KEYS]> = SmallVec::new();
        for item in &mut self.items {
            let Wanted { table, key, .. } = self.wanted[item.index as usize];
            loop {
                let (entry, sight) = table.sight(key, self.guard);
                item.entry = entry;
                let Some(object) = entry.and_then(Entry::object) else {
                    if !sight.is_comparable && !item.occupy(table, key, self.guard) {
                        continue;
                    }
                    sights.extend(sight.is_comparable.then_some(sight));
                    break;
                };
                item.lock =
                    if item.is_write { object.write().map(Lock::Exclusive) } else { object.read().map(Lock::Shared) };
                if item.lock.is_some() {
                    break;
                }
            }
        }
        mutated(Mutation::HeldWithoutLook) || sights.iter().all(Sight::still_holds)
    }
    /// Unlinks what was emptied, and gives all locks back.
    fn let_go(&mut self) {
        for item in &mut self.items {
            let is_empty = matches!(&item.lock, Some(Lock::Exclusive(lock)) if lock.is_empty());
            let Wanted { table, key, .. } = self.wanted[item.index as usize];
            if is_empty && let (Some(Lock::Exclusive(lock)), Some(entry)) = (item.lock.take(), item.entry.take()) {
                table.detach(key, entry, lock, self.guard);
            }
        }
        self.items.clear();
    }
    fn item(&self, index: usize) -> &Item<'g> {
        &self.items[self.item_of[index] as usize]
    }
    /// The entry of key `index`, which may be past its deadline.
    pub fn entry(&self, index: usize) -> Option<Entry<'g>> {
        let item = self.item(index);
        item.entry.filter(|_| !item.is_placeholder)
    }
    /// The collection of key `index`, if it is of this type.
    pub fn get<T: Collection>(&self, index: usize) -> Option<&T> {
        match self.item(index).lock.as_ref()? {
            Lock::Shared(lock) => lock.get(),
            Lock::Exclusive(lock) => lock.get(),
        }
    }
    /// The collection of key `index`, which was asked for to be changed, if it is of this type.
    pub fn get_mut<T: Collection>(&mut self, index: usize) -> Option<&mut T> {
        match self.items[self.item_of[index] as usize].lock.as_mut()? {
            Lock::Shared(_) => None,
            Lock::Exclusive(lock) => lock.get_mut(),
        }
    }
    /// Puts `value` under key `index`, in the place of whatever is there. `make` makes the entry (`Source::Vacant`).
    pub fn put(&mut self, index: usize, value: Value, mut make: impl FnMut(&[u8]) -> NewEntry) -> Result<(), Lost> {
        let item = &mut self.items[self.item_of[index] as usize];
        let Wanted { table, key, .. } = self.wanted[item.index as usize];
        let (entry, mut lock) = match (item.lock.take(), item.entry.take()) {
            (Some(Lock::Exclusive(old_lock)), Some(old)) => {
                let block = make(key.bytes).into_raw();
                table.supplant(key, old, Word::entry(block, key.hash), self.guard);
                old_lock.bury();
                // SAFETY: published a moment ago, and locked since its birth: nobody can have unlinked it.
                let entry = unsafe { Entry::from_raw(NonNull::new(block).ok_or(Lost)?) };
                // SAFETY: born locked by this thread, asked for once: here.
                (entry, unsafe { entry.object().ok_or(Lost)?.born_held() })
            }
            _ => table
                .insert_held(key, self.guard, |old| match old.and_then(Entry::object) {
                    Some(_) => None, // It was not there when the locks were taken.
                    None => Some(make(key.bytes)),
                })
                .ok_or(Lost)?,
        };
        lock.fill(value);
        (item.entry, item.lock, item.is_placeholder) = (Some(entry), Some(Lock::Exclusive(lock)), false);
        Ok(())
    }
    /// Removes key `index`, whatever it holds. True: there was something.
    pub fn remove(&mut self, index: usize) -> Result<bool, Lost> {
        let item = &mut self.items[self.item_of[index] as usize];
        let Wanted { table, key, .. } = self.wanted[item.index as usize];
        if let (Some(Lock::Exclusive(lock)), Some(entry)) = (item.lock.take(), item.entry.take()) {
            table.detach(key, entry, lock, self.guard);
            return Ok(!item.is_placeholder);
        }
        table.update(key, self.guard, |old| match old {
            Some(entry) if entry.object().is_some() => (Change::Keep, Err(Lost)),
            Some(_) => (Change::Remove, Ok(true)),
            None => (Change::Keep, Ok(false)),
        })
    }
}
