//! The stand-in of reclamation under loom: what is retired stays in memory until the next execution of the model.
//!
//! A model may ask for more (`bury_at_once`): then a retired object counts as freed as soon as the last guard that existed
//! when it was retired is gone, which is the earliest moment that rule 2 allows, and whoever reads it afterwards fails the model.

use super::{Entry, LastFound, NewEntry, Section};
use crate::base::mutation::{Mutation, mutated};
use crate::base::plain;
use crate::base::sync::{Ordering, fence};
use crate::table::entry::Header;
use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;
use std::ptr::NonNull;

// Per OS thread: loom runs all threads of one model on one of them, and the test harness runs models side by side.
thread_local!(static YARD: RefCell<Yard> = const { RefCell::new(Yard::new()) });

struct Yard {
    graves: Vec<Grave>,
    /// Numbers of the guards alive, and of the next one.
    guards: Vec<u64>,
    next_guard: u64,
    is_eager: bool,
    /// Was anything freed in this execution?
    any_freed: bool,
}

struct Grave {
    addresses: Range<usize>,
    /// The guards of its time that are still alive.
    waits_for: Vec<u64>,
    is_freed: bool,
    _object: Box<dyn Any>,
}

impl Yard {
    const fn new() -> Self {
        Yard { graves: Vec::new(), guards: Vec::new(), next_guard: 0, is_eager: false, any_freed: false }
    }
    fn retire(&mut self, addresses: Range<usize>, object: Box<dyn Any>) {
        let is_known = self.graves.iter().any(|grave| grave.addresses.start == addresses.start);
        assert!(!is_known, "retired twice");
        let waits_for = if mutated(Mutation::RetiredIsFreed) { Vec::new() } else { self.guards.clone() };
        self.graves.push(Grave { addresses, waits_for, is_freed: false, _object: object });
        if self.is_eager {
            fence(Ordering::SeqCst); // As A1 of `quiescence.rs`: pairs with the one in `pin`.
            self.free_unseen();
        }
    }
    fn free_unseen(&mut self) {
        for grave in &mut self.graves {
            if !grave.is_freed && grave.waits_for.is_empty() {
                plain::free(grave.addresses.clone());
                grave.is_freed = true;
                self.any_freed = true;
            }
        }
    }
    fn release(&mut self, guard: u64) {
        self.guards.retain(|&other| other != guard);
        self.graves.iter_mut().for_each(|grave| grave.waits_for.retain(|&other| other != guard));
        if self.is_eager {
            self.free_unseen();
        }
    }
}

/// Frees what earlier executions retired. Called when a model starts.
pub fn bury() {
    plain::forget();
    let _graves = YARD.replace(Yard::new());
}

/// Leaks what a failed execution retired: the checker is gone, and without it nothing can be dropped.
pub fn abandon() {
    std::mem::forget(YARD.replace(Yard::new()));
}

/// From here on this execution counts retired objects as freed as early as the rules allow.
pub fn bury_at_once() {
    YARD.with_borrow_mut(|yard| yard.is_eager = true);
}

/// A seat without a collector.
#[derive(Default)]
pub struct Participant;

/// A guard that keeps everything alive.
pub struct Guard<'p> {
    number: u64,
    section: Section,
    last: LastFound,
    seat: std::marker::PhantomData<&'p Participant>,
}

impl Participant {
    pub fn new() -> Self {
        Participant
    }
    pub fn pin(&self) -> Guard<'_> {
        let number = YARD.with_borrow_mut(|yard| {
            if yard.any_freed {
                fence(Ordering::SeqCst); // As E2 of `quiescence.rs`: whatever is free now is out of sight.
            }
            yard.next_guard += 1;
            yard.guards.push(yard.next_guard);
            yard.next_guard
        });
        Guard { number, section: Section::default(), last: LastFound::default(), seat: std::marker::PhantomData }
    }
    pub fn limbo_bytes(&self) -> usize {
        0
    }
    pub fn rest(&self) {}
}

impl Guard<'_> {
    pub(super) fn section_mark(&self) -> &Section {
        &self.section
    }
    pub(super) fn last(&self) -> &LastFound {
        &self.last
    }
    /// # Safety
    /// As the real one's.
    pub(in crate::table) unsafe fn retire(&self, entry: Entry<'_>) {
        if let Some(block) = NonNull::new(entry.as_ptr()) {
            let start = block.addr().get();
            // SAFETY: unlinked by the caller, and dropped when the execution is over.
            let owned = unsafe { NewEntry::from_raw(block) };
            YARD.with_borrow_mut(|yard| yard.retire(start..start + size_of::<Header>(), Box::new(owned)));
        }
    }
    pub fn retire_boxed(&self, object: Box<dyn Send>, _bytes: usize) {
        let start = (&raw const *object).cast::<u8>().addr();
        let addresses = start..start + size_of_val(&*object);
        YARD.with_borrow_mut(|yard| yard.retire(addresses, Box::new(object)));
    }
    pub fn limbo_bytes(&self) -> usize {
        0
    }
    pub fn pledge(&self, _bytes: usize) {}
    pub fn flush(&self) {}
    pub fn collect(&self) {}
    pub fn quiesce(&mut self) {
        self.forget_found();
    }
    pub fn repin(&mut self) {}
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // The thread's storage may be gone, or an execution may be failing while it holds the yard.
        let _ = YARD.try_with(|yard| yard.try_borrow_mut().map(|mut yard| yard.release(self.number)));
    }
}
