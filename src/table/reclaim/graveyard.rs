//! The stand-in of reclamation under loom: what is retired stays until the next execution of the model.

use super::Garbage;
use std::cell::RefCell;

// Per OS thread: loom runs all threads of one model on one of them, and the test harness runs models side by side.
thread_local!(static GRAVES: RefCell<Vec<Garbage>> = const { RefCell::new(Vec::new()) });

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
}

impl Guard<'_> {
    pub(super) fn put(&self, garbage: Garbage, _bytes: usize) {
        GRAVES.with_borrow_mut(|graves| graves.push(garbage));
    }
    pub fn flush(&self) {}
    pub fn repin(&mut self) {}
}
