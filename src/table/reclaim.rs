//! Reclamation: removed entries live until no guard can see them.
//!
//! Rules that SAFETY comments cite:
//! 1. A block is retired by exactly one thread: the one whose CAS unlinked it.
//! 2. A block is freed only after every guard that existed at the moment of its retirement is gone or has quiesced.
//! 3. A guard never spans a wait in the kernel or a safepoint.
//!
//! What writes cost is decided here. Entries go through epochs of our own (`quiescence`, `lanes`), because a loop has perfect
//! points at which it holds nothing, and their blocks are reused while they are warm; with crossbeam-epoch's bags the same
//! SET cost twice as much (kernel-notes/20-reclamation.md). Everything rare goes through crossbeam-epoch.
//!
//! Under loom nothing is freed before the next execution begins (`graveyard`): the table's models would not end with a real
//! collector in them, and `quiescence` has a model of its own.

#[cfg(loom)]
mod graveyard;
#[cfg(not(loom))]
mod lanes;
pub mod quiescence;

use super::Table;
use super::entry::{Entry, Header, NewEntry};
use std::cell::Cell;
use std::ptr::NonNull;

#[cfg(loom)]
pub use graveyard::{Guard, Participant, abandon, bury, bury_at_once};
#[cfg(not(loom))]
pub use lanes::{Guard, Participant};

/// What a guard knows of the section that it is in (`staged::section`): the address of its block, null outside of sections.
/// It stands at the guard because all who work on the table have that at hand.
struct Section(Cell<*const ()>);

impl Default for Section {
    #[inline]
    fn default() -> Self {
        Section(Cell::new(std::ptr::null()))
    }
}

/// The last entry with an object that was found under a guard, null if there is none: of which hash, in which table. See
/// `Table::get_to_lock`.
struct LastFound(Cell<(u64, *const Table, *mut Header)>);

impl Default for LastFound {
    #[inline]
    fn default() -> Self {
        LastFound(Cell::new((0, std::ptr::null(), std::ptr::null_mut())))
    }
}

impl Guard<'_> {
    /// The entry that was noted last, if it was of this hash and in this table.
    #[inline]
    pub(super) fn last_found(&self, hash: u64, table: *const Table) -> Option<Entry<'_>> {
        let (last_hash, last_table, entry) = self.last().0.get();
        let entry = NonNull::new(entry).filter(|_| last_hash == hash && last_table == table)?;
        // SAFETY: found under this guard (`note_found`) since its last `quiesce`, which forgets it: rule 2.
        Some(unsafe { Entry::from_raw(entry) })
    }
    #[inline]
    pub(super) fn note_found<'g>(&'g self, hash: u64, table: &'g Table, entry: Entry<'g>) {
        self.last().0.set((hash, table, entry.as_ptr()));
    }
    /// Forgets what was noted: it is dead, or will not be kept alive any longer.
    #[inline]
    pub(super) fn forget_found(&self) {
        self.last().0.set(LastFound::default().0.into_inner());
    }
    /// The block of the section that this guard is in, null if it is in none. Not to be dereferenced.
    #[inline]
    pub(super) fn section(&self) -> *const () {
        self.section_mark().0.get()
    }
    pub(super) fn enter_section(&self, block: *const ()) {
        self.section_mark().0.set(block);
    }
    pub(super) fn leave_section(&self) {
        self.section_mark().0.set(std::ptr::null());
    }
    /// Are keys held for several commands, of which one is running?
    #[inline]
    pub fn is_in_section(&self) -> bool {
        !self.section().is_null()
    }
}
