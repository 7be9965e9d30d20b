//! The roots: one pointer per logical database, null until the database is first written.
//!
//! A root is loaded once per command. It changes in two ways: from null to a fresh table (CAS, any loop), and by
//! FLUSHDB/FLUSHALL/SWAPDB, which run at a safepoint so that no command is between loading a root and finishing its change.

use super::Table;
use super::reclaim::Guard;
use crate::base::hash::KeyHasher;
use crate::base::mutation::{Mutation, mutated};
use crate::base::sync::{AtomicPtr, AtomicU64, Ordering};
use std::ptr::null_mut;

/// The databases' tables.
pub struct Roots {
    slots: Box<[AtomicPtr<Table>]>,
    hasher: KeyHasher,
    /// Tables made so far: the next one's id.
    made: AtomicU64,
}

impl Roots {
    /// `count` databases without a table.
    pub fn new(count: usize, hasher: KeyHasher) -> Self {
        Roots { slots: (0..count).map(|_| AtomicPtr::new(null_mut())).collect(), hasher, made: AtomicU64::new(0) }
    }
    /// Number of databases.
    pub fn count(&self) -> usize {
        self.slots.len()
    }
    /// The hasher of all tables.
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }
    /// The table of database `index`, if anything was ever written there.
    #[inline]
    pub fn get<'g>(&self, index: usize, _guard: &'g Guard<'_>) -> Option<&'g Table> {
        // Acquire: pairs with the AcqRel of `get_or_create` and `swap`: the table's contents are visible.
        // SAFETY: a root is null or a live table; an unlinked table is retired and outlives the guard.
        unsafe { self.slots[index].load(Ordering::Acquire).as_ref() }
    }
    /// The table of database `index`, created if needed.
    pub fn get_or_create<'g>(&self, index: usize, guard: &'g Guard<'_>) -> &'g Table {
        if let Some(table) = self.get(index, guard) {
            return table;
        }
        let fresh = Box::into_raw(Box::new(self.fresh()));
        let slot = &self.slots[index];
        let expected = if mutated(Mutation::RootWithoutCompare) { slot.load(Ordering::Acquire) } else { null_mut() };
        let winner = match slot.compare_exchange(expected, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: the loser's table was never shared.
                drop(unsafe { Box::from_raw(fresh) });
                other
            }
        };
        // SAFETY: as in `get`.
        unsafe { &*winner }
    }
    /// The table with this id: it may be another database's by now (SWAPDB), or gone (FLUSHDB).
    pub fn by_id<'g>(&self, id: u64, guard: &'g Guard<'_>) -> Option<&'g Table> {
        (0..self.count()).find_map(|index| self.get(index, guard).filter(|table| table.id() == id))
    }
    /// The database whose table has this id now.
    pub fn index_of(&self, id: u64, guard: &Guard<'_>) -> Option<usize> {
        (0..self.count()).find(|&index| self.get(index, guard).is_some_and(|table| table.id() == id))
    }
    /// Takes the table of database `index` away, leaving an empty database. The caller holds a safepoint and hands the
    /// table to a place that drops it after the guards of this turn are gone.
    pub fn take(&self, index: usize) -> Option<OldTable> {
        let old = self.slots[index].swap(null_mut(), Ordering::AcqRel);
        (!old.is_null()).then(|| OldTable(old)) // Lazily: dropping an OldTable frees its table.
    }
    /// As `take`, leaving an empty table where there was one: whoever has used a database will do so again, and the limit of
    /// memory must not find the room for an index missing that was there before.
    pub fn renew(&self, index: usize) -> Option<OldTable> {
        if self.slots[index].load(Ordering::Acquire).is_null() {
            return None;
        }
        let fresh = Box::into_raw(Box::new(self.fresh()));
        Some(OldTable(self.slots[index].swap(fresh, Ordering::AcqRel)))
    }
    /// An empty table with an id that no other one has.
    fn fresh(&self) -> Table {
        let id = self.made.fetch_add(1, Ordering::Relaxed); // Only unique.
        Table::with_id(self.hasher.clone(), id)
    }
    /// Exchanges two databases. The caller holds a safepoint: otherwise a reader could see one table twice.
    pub fn swap(&self, a: usize, b: usize) {
        let first = self.slots[a].load(Ordering::Acquire);
        let second = self.slots[b].swap(first, Ordering::AcqRel);
        self.slots[a].store(second, Ordering::Release);
    }
}

impl Drop for Roots {
    fn drop(&mut self) {
        for index in 0..self.slots.len() {
            drop(self.take(index));
        }
    }
}

/// A table that is no longer reachable from a root. Dropping it frees every entry: do that off the loops, and only after
/// the guards that existed when it was taken are gone.
pub struct OldTable(*mut Table);

// SAFETY: the table is owned by this handle, and `Table` is Send.
unsafe impl Send for OldTable {}

impl Drop for OldTable {
    fn drop(&mut self) {
        // SAFETY: `take` made this handle the only owner; the type's contract keeps readers away.
        drop(unsafe { Box::from_raw(self.0) });
    }
}
