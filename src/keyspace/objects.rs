//! Collections as commands see them: of one type, under their lock, gone when they are past their deadline.
//!
//! ```text
//! look            shared        what is there, to be read
//! open            exclusive     what is there, to be changed
//! open_or_create  exclusive     the same; an absent key gets an empty collection, into which something is put at once
//! with_held       both          several keys, all seen and changed at one instant
//! ```
//! A handler holds at most one `Reading` or `Writing`, and lets it go before it returns: whoever needs several keys takes
//! them together. Dropping a `Writing` whose collection has lost its last element removes the key.

#![forbid(unsafe_code)]

use super::Keys;
use super::types::{WrongType, new_vacant};
use crate::base::hash::Key;
use crate::table::{self, Entry, Guard, Lost, Table, Wanted};
use crate::value::object::{Collection, Exclusive, Object, ObjectType, Shared, Value};
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The object of an entry that is known to hold a T.
fn object_of<T: Collection>(entry: Entry<'_>) -> Result<&Object, WrongType> {
    entry.object().filter(|_| entry.kind().0 == T::TYPE as u8).ok_or(WrongType)
}

/// A collection that is being read. Shared: others may read it too.
pub struct Reading<'t, T> {
    lock: Shared<'t>,
    of: PhantomData<T>,
}

impl<T: Collection> Deref for Reading<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.lock.get() {
            Some(collection) => collection,
            None => unreachable!("the entry's kind says what it holds"),
        }
    }
}

/// A collection that is being changed. Dropping it removes the key if the collection is empty by then.
pub struct Writing<'t, T: Collection> {
    guard: &'t Guard<'t>,
    table: &'t Table,
    entry: Entry<'t>,
    hash: u64,
    lock: Option<Exclusive<'t>>,
    of: PhantomData<T>,
}

impl<'t, T: Collection> Writing<'t, T> {
    /// The key's deadline, if it has one.
    pub fn entry(&self) -> Entry<'t> {
        self.entry
    }
}

impl<T: Collection> Deref for Writing<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self.lock.as_ref().and_then(Exclusive::get) {
            Some(collection) => collection,
            None => unreachable!("the entry's kind says what it holds"),
        }
    }
}

impl<T: Collection> DerefMut for Writing<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match self.lock.as_mut().and_then(Exclusive::get_mut) {
            Some(collection) => collection,
            None => unreachable!("the entry's kind says what it holds"),
        }
    }
}

impl<T: Collection> Drop for Writing<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if T::TYPE == ObjectType::Hash
            && let (Some(lock), Some(object)) = (&self.lock, self.entry.object())
        {
            self.table.count_timed(self.hash, object, lock.get::<T>().is_some_and(T::is_timed));
        }
        if let Some(lock) = self.lock.take_if(|lock| lock.is_empty()) {
            let key = Key { bytes: self.entry.key(), hash: self.hash };
            self.table.detach(key, self.entry, lock, self.guard);
        }
    }
}

/// A live key: its table, its entry, and the object in it.
type Found<'t> = (&'t Table, Entry<'t>, &'t Object);

/// What a command does with one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Several keys of one database, locked.
pub struct HeldKeys<'h, 'k, 't> {
    held: &'h mut table::Held<'k, 't>,
    keys: Keys<'t>,
    /// Keys that were absent and got something.
    fresh: SmallVec<[usize; 2]>,
}

impl<'t> HeldKeys<'_, '_, 't> {
    /// The live entry of key `index`.
    pub fn entry(&self, index: usize) -> Option<Entry<'t>> {
        self.keys.live(self.held.entry(index))
    }
    /// The collection of key `index`. None: absent.
    pub fn get<T: Collection>(&self, index: usize) -> Result<Option<&T>, WrongType> {
        match self.entry(index) {
            Some(_) => self.held.get(index).map(Some).ok_or(WrongType),
            None => Ok(None),
        }
    }
    /// The collection of key `index`, which was asked for with `Access::Write`. None: absent.
    pub fn get_mut<T: Collection>(&mut self, index: usize) -> Result<Option<&mut T>, WrongType> {
        match self.entry(index) {
            Some(_) => self.held.get_mut(index).map(Some).ok_or(WrongType),
            None => Ok(None),
        }
    }
    /// The collection of key `index`, an empty new one if the key is absent; something is put into it at once. Comes before
    /// the first change in place.
    pub fn get_or_create<T: Collection>(&mut self, index: usize) -> Result<Result<&mut T, WrongType>, Lost> {
        if self.entry(index).is_none() {
            self.put(index, T::default())?;
        }
        Ok(self.held.get_mut(index).ok_or(WrongType))
    }
    /// Puts a new collection under key `index`, in the place of whatever is there, without a deadline. Comes before the
    /// first change in place.
    pub fn put<T: Collection>(&mut self, index: usize, collection: T) -> Result<(), Lost> {
        let recency = self.keys.recency();
        if self.entry(index).is_none() {
            self.fresh.push(index);
        }
        self.held.put(index, Value::new(collection), |key| new_vacant(T::TYPE, key, recency))
    }
    /// Removes key `index`, whatever it holds. True: there was something. Comes before the first change in place.
    pub fn remove(&mut self, index: usize) -> Result<bool, Lost> {
        let was_live = self.entry(index).is_some();
        Ok(self.held.remove(index)? && was_live)
    }
}

impl<'t> Keys<'t> {
    /// The live entry of `key`, its table and its object. None: absent.
    #[inline(always)]
    fn object<T: Collection>(&self, key: Key<'_>) -> Result<Option<Found<'t>>, WrongType> {
        let Some(table) = self.table() else { return Ok(None) };
        let Some(mut entry) = table.get_to_lock(key, self.guard) else { return Ok(None) };
        if self.is_dead(entry) {
            let Some(other) = self.look_again(table, key) else { return Ok(None) };
            entry = other;
        }
        object_of::<T>(entry).map(|object| Some((table, entry, object)))
    }
    /// What stands under `key`, where an entry past its deadline was found: something else, if that was found some commands
    /// ago. The dead one goes.
    #[cold]
    fn look_again(&self, table: &'t Table, key: Key<'_>) -> Option<Entry<'t>> {
        table.forget_found(self.guard);
        let entry = table.get(key, self.guard)?;
        if self.is_dead(entry) {
            self.expire(key);
            return None;
        }
        Some(entry)
    }
    /// The collection of `key`, to be read. Counts a hit or a miss and touches recency.
    #[inline]
    pub fn look<T: Collection>(&self, key: Key<'_>) -> Result<Option<Reading<'t, T>>, WrongType> {
        loop {
            let found = self.object::<T>(key);
            let Ok(Some((table, entry, object))) = found else {
                self.looked_up(key.bytes, found.is_err());
                return found.map(|_| None);
            };
            let Some(lock) = object.read() else {
                table.forget_found(self.guard);
                continue;
            };
            self.count_lookups(1, 0);
            self.touch(entry);
            return Ok(Some(Reading { lock, of: PhantomData }));
        }
    }
    /// The collection of `key`, to be changed.
    // Inlined: through memory, a lock and what goes with it would be stored and loaded twice.
    #[inline(always)]
    pub fn open<T: Collection>(&self, key: Key<'_>) -> Result<Option<Writing<'t, T>>, WrongType> {
        loop {
            let Some((table, entry, object)) = self.object::<T>(key)? else { return Ok(None) };
            let Some(lock) = object.write() else {
                table.forget_found(self.guard);
                continue;
            };
            self.touch(entry);
            return Ok(Some(self.writing(table, entry, key.hash, lock)));
        }
    }
    #[inline(always)]
    fn writing<T: Collection>(
        &self,
        table: &'t Table,
        entry: Entry<'t>,
        hash: u64,
        lock: Exclusive<'t>,
    ) -> Writing<'t, T> {
        Writing { guard: self.guard, table, entry, hash, lock: Some(lock), of: PhantomData }
    }
    /// The collection of `key`, to be changed; an absent key gets an empty one. Check all arguments before: something must be
    /// put into it at once.
    #[inline(always)]
    pub fn open_or_create<T: Collection>(&self, key: Key<'_>) -> Result<Writing<'t, T>, WrongType> {
        loop {
            if let Some(writing) = self.open(key)? {
                return Ok(writing);
            }
            if let Some(writing) = self.create(key) {
                return Ok(writing);
            }
        }
    }
    /// An empty collection under `key`, which was absent a moment ago. None: it is not any more.
    #[inline(never)]
    fn create<T: Collection>(&self, key: Key<'_>) -> Option<Writing<'t, T>> {
        let table = self.space.roots.get_or_create(self.db().0 as usize, self.guard);
        let recency = self.recency();
        let created = table.insert_held(key, self.guard, |old| {
            self.live(old).is_none().then(|| new_vacant(T::TYPE, key.bytes, recency))
        });
        created.map(|(entry, mut lock)| {
            lock.fill(Value::new(T::default()));
            self.local.events.note_fresh(self.db(), key.bytes);
            self.writing(table, entry, key.hash, lock)
        })
    }
    /// A key that was past its deadline when it was locked: it goes now, if nothing was put in its place.
    #[cold]
    fn note_dead(&self, key: Key<'_>) {
        let is_there = |entry: Entry<'t>| self.is_dead(entry);
        if self.table().and_then(|table| table.get(key, self.guard)).is_some_and(is_there) {
            self.expire(key);
        } else {
            self.note_expired(key.bytes);
        }
    }
    /// Takes the locks of several keys of this database (a key may be named twice) and runs `f`: what it sees held at one
    /// instant, and what it changes happens at one instant. `f` may run several times, so it makes its reply afterwards.
    /// What may end in `Lost` comes before the first change in place.
    pub fn with_held<R>(
        &self,
        wanted: &[(Key<'_>, Access)],
        mut f: impl FnMut(&mut HeldKeys<'_, '_, 't>) -> Result<R, Lost>,
    ) -> R {
        let table = self.space.roots.get_or_create(self.db().0 as usize, self.guard);
        let asked = wanted;
        let wanted: SmallVec<[Wanted<'_>; 4]> =
            asked.iter().map(|&(key, access)| Wanted { table, key, is_write: access == Access::Write }).collect();
        // Both are of the last run.
        let (mut dead, mut fresh): (SmallVec<[usize; 2]>, SmallVec<[usize; 2]>) = Default::default();
        let result = table::hold(&wanted, self.guard, |held| {
            dead.clear();
            dead.extend((0..asked.len()).filter(|&index| held.entry(index).is_some_and(|entry| self.is_dead(entry))));
            let mut held = HeldKeys { held, keys: *self, fresh: SmallVec::new() };
            let result = f(&mut held);
            fresh = held.fresh;
            result
        });
        dead.into_iter().for_each(|index| self.note_dead(asked[index].0));
        fresh.into_iter().for_each(|index| self.local.events.note_fresh(self.db(), asked[index].0.bytes));
        result
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::admin::stats::LoopStats;
    use crate::base::clock::WallMs;
    use crate::base::hash::KeyHasher;
    use crate::base::ids::DbIndex;
    use crate::keyspace::types::{copy_as, new_collection, new_string, with_deadline};
    use crate::keyspace::{Keyspace, Local};
    use crate::table::{Change, Participant};
    use crate::value::tally::Tally;

    fn with_keys(work: impl FnOnce(Keys<'_>)) {
        let (space, stats, local) = (Keyspace::new(2, KeyHasher::seeded(1)), LoopStats::default(), Local::new(1));
        let seat = Participant::new();
        let guard = seat.pin();
        work(Keys::new(&space, DbIndex(0), &guard, &stats, &local, WallMs(1000)));
    }

    fn put(keys: &Keys<'_>, name: &[u8], count: u64) {
        keys.open_or_create::<Tally>(keys.key(name, 0)).unwrap().0 += count;
    }

    fn count(keys: &Keys<'_>, name: &[u8]) -> Option<u64> {
        keys.look::<Tally>(keys.key(name, 0)).unwrap().map(|tally| tally.0)
    }

    #[test]
    fn an_emptied_collection_takes_its_key_away() {
        with_keys(|keys| {
            let key = keys.key(b"k", 0);
            put(&keys, b"k", 2);
            assert_eq!((keys.count(), count(&keys, b"k")), (1, Some(2)));
            keys.open::<Tally>(key).unwrap().unwrap().0 -= 1;
            assert_eq!(keys.count(), 1);
            keys.open::<Tally>(key).unwrap().unwrap().0 -= 1;
            assert_eq!(keys.count(), 0);
            assert!(keys.open::<Tally>(key).unwrap().is_none());
        });
    }

    #[test]
    fn a_collection_moves_with_its_deadline_and_its_name() {
        with_keys(|keys| {
            let (from, to) = (keys.key(b"from", 0), keys.key(b"to", 0));
            put(&keys, b"from", 5);
            keys.update(from, |old| (Change::Put(with_deadline(old.unwrap(), Some(WallMs(2000)))), ()));
            assert_eq!((keys.volatile_count(), count(&keys, b"from")), (1, Some(5)));
            put(&keys, b"to", 1);
            keys.transact(&[(DbIndex(0), from), (DbIndex(0), to)], |txn| {
                txn.bequeath(0, 1, copy_as(txn.old(0).unwrap(), b"to", None, 0));
                txn.decide(0, Change::Remove);
            });
            assert_eq!((count(&keys, b"from"), count(&keys, b"to")), (None, Some(5)));
            assert_eq!((keys.count(), keys.volatile_count()), (1, 0));
            keys.transact(&[(DbIndex(0), from), (DbIndex(0), to)], |txn| {
                let copy = txn.duplicate(1).unwrap();
                txn.decide(0, Change::Put(new_collection(b"from", copy, None, 0)));
            });
            put(&keys, b"from", 1);
            assert_eq!((count(&keys, b"from"), count(&keys, b"to")), (Some(6), Some(5)));
        });
    }

    #[test]
    fn what_was_found_last_is_found_again_only_while_the_key_holds_it() {
        with_keys(|keys| {
            let (key, other) = (keys.key(b"k", 0), keys.key(b"other", 0));
            put(&keys, b"k", 1);
            let found = || keys.table().unwrap().get_to_lock(key, keys.guard).map(Entry::as_ptr);
            let first = found();
            put(&keys, b"k", 1);
            assert!(first.is_some() && found() == first);
            // Another key, and back.
            put(&keys, b"other", 7);
            assert_eq!((count(&keys, b"k"), count(&keys, b"other"), count(&keys, b"k")), (Some(2), Some(7), Some(2)));
            // Replaced by an heir: the old entry is dead.
            keys.update(key, |old| (Change::Put(with_deadline(old.unwrap(), Some(WallMs(2000)))), ()));
            put(&keys, b"k", 1);
            assert_eq!(count(&keys, b"k"), Some(3));
            assert_ne!(found(), first);
            // Past its deadline, though it was found: what has taken its place counts.
            assert!(found().is_some());
            let later = Keys { now: WallMs(2000), ..keys };
            later.update(key, |_| (Change::Put(new_collection(b"k", Value::new(Tally(5)), None, 0)), ()));
            assert_eq!((count(&later, b"k"), count(&keys, b"k")), (Some(5), Some(5)));
            // Removed, and made again.
            keys.update(key, |_| (Change::Remove, ()));
            assert_eq!(count(&keys, b"k"), None);
            put(&keys, b"k", 4);
            assert_eq!(count(&keys, b"k"), Some(4));
            // A string now.
            keys.update(key, |_| (Change::Put(new_string(b"k", b"v", None, 0)), ()));
            assert!(keys.look::<Tally>(key).is_err() && keys.open::<Tally>(key).is_err());
            // In another database, and in one that was emptied.
            assert_eq!(count(&keys, b"other"), Some(7));
            assert!(keys.on(DbIndex(1)).look::<Tally>(other).unwrap().is_none());
            let old = keys.space.roots.take(0);
            assert_eq!(count(&keys, b"other"), None);
            put(&keys, b"other", 2);
            assert_eq!(count(&keys, b"other"), Some(2));
            keys.space.discard(old.into_iter().collect(), keys.guard);
        });
    }

    #[test]
    fn a_key_past_its_deadline_is_absent() {
        with_keys(|keys| {
            let key = keys.key(b"k", 0);
            put(&keys, b"k", 5);
            keys.update(key, |old| (Change::Put(with_deadline(old.unwrap(), Some(WallMs(2000)))), ()));
            let later = Keys { now: WallMs(2000), ..keys };
            assert_eq!(count(&later, b"k"), None);
            put(&later, b"k", 1);
            assert_eq!(count(&later, b"k"), Some(1));
        });
    }

    #[test]
    fn several_keys_are_changed_together() {
        with_keys(|keys| {
            put(&keys, b"a", 3);
            keys.update(keys.key(b"s", 0), |_| (Change::Put(new_string(b"s", b"v", None, 0)), ()));
            let wanted = |name: &'static [u8], access| (keys.key(name, 0), access);
            let all = [wanted(b"a", Access::Write), wanted(b"b", Access::Write), wanted(b"a", Access::Read)];
            keys.with_held(&all, |held| {
                held.get_or_create::<Tally>(1)?.unwrap().0 += 3;
                held.get_mut::<Tally>(0).unwrap().unwrap().0 -= 3;
                assert_eq!(held.get::<Tally>(2).unwrap().unwrap().0, 0);
                Ok(())
            });
            assert_eq!((count(&keys, b"a"), count(&keys, b"b"), keys.count()), (None, Some(3), 2));
            let all = [wanted(b"b", Access::Read), wanted(b"s", Access::Write), wanted(b"b", Access::Write)];
            keys.with_held(&all, |held| {
                assert_eq!(held.get::<Tally>(1).err(), Some(WrongType));
                held.put(1, Tally(9))?;
                held.put(0, Tally(8))?;
                assert_eq!(held.get::<Tally>(2).unwrap().unwrap().0, 8);
                Ok(())
            });
            assert_eq!((count(&keys, b"s"), count(&keys, b"b"), keys.count()), (Some(9), Some(8), 2));
            let removed = keys.with_held(&all, |held| Ok([held.remove(1)?, held.remove(1)?, held.remove(0)?]));
            assert_eq!(removed, [true, false, true]);
            assert_eq!(keys.count(), 0);
        });
    }
}
