//! The stand-in of reclamation under loom: what is retired stays until the next execution of the model.

use super::{Entry, NewEntry};
use std::any::Any;
use std::cell::RefCell;
use std::ptr::NonNull;

// Per OS thread: loom runs all threads of one model on one of them, and the test harness runs models side by side.
thread_local!(static GRAVES: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) });

struct Grave<T>(#[expect(dead_code, reason = "held to be dropped")] T);

/// Frees what earlier executions retired. Called when a model starts.
pub fn bury() {
    GRAVES.take();
}

/// A seat without a collector.
#[derive(Default)]
pub struct Participant;

/// A guard that keeps everything alive.
pub struct Guard<'p>(std::marker::PhantomData<&'p Participant>);

impl Participant {
    pub fn new() -> Self {
        Participant
    }
    pub fn pin(&self) -> Guard<'_> {
        Guard(std::marker::PhantomData)
    }
    pub fn limbo_bytes(&self) -> usize {
        0
    }
    pub fn rest(&self) {}
}

impl Guard<'_> {
    /// # Safety
    /// As the real one's.
    pub(in crate::table) unsafe fn retire(&self, entry: Entry<'_>) {
        if let Some(block) = NonNull::new(entry.as_ptr()) {
            // SAFETY: unlinked by the caller, and dropped when the execution is over.
            let owned = unsafe { NewEntry::from_raw(block) };
            GRAVES.with_borrow_mut(|graves| graves.push(Box::new(Grave(owned))));
        }
    }
    pub fn retire_boxed(&self, object: Box<dyn Send>, _bytes: usize) {
        GRAVES.with_borrow_mut(|graves| graves.push(Box::new(Grave(object))));
    }
    pub fn flush(&self) {}
    pub fn collect(&self) {}
    pub fn quiesce(&mut self) {}
    pub fn repin(&mut self) {}
}
