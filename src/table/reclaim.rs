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

use super::entry::{Entry, NewEntry};
use std::cell::Cell;

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

impl Guard<'_> {
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
