//! The way of a snapshot's keys into the data set when the server starts: one reads, all loops take.
//!
//! ```text
//! reader   offer(batch)   waits while enough wait          loops   take ▶ apply ▶ done, some milliseconds per turn
//!          settle         waits until all is taken in
//! ```
//! Until then every command but those that may run while loading is refused, so nobody else is at the data.

use crate::persist::Fault;
use crate::persist::frame::Batch;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Batches that wait at most. Some milliseconds of work each: nobody runs dry, and a fast disk fills no memory.
const WAITING_MAX: usize = 64;

/// See the module header.
#[derive(Default)]
pub struct Intake {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Batch>,
    /// Batches that loops are at.
    taken: usize,
    fault: Option<Fault>,
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Adds a batch; waits for room.
    /// Errors: one before it was damaged.
    pub fn offer(&self, batch: Batch) -> Result<(), Fault> {
        let mut state = self.lock();
        while state.waiting.len() >= WAITING_MAX && state.fault.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        state.waiting.push_back(batch);
        Ok(())
    }
    /// Is there something to be taken?
    pub fn has_some(&self) -> bool {
        !self.lock().waiting.is_empty()
    }
    /// A batch, for which `done` is to be called.
    pub fn take(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.waiting.pop_front()?;
        state.taken += 1;
        self.changed.notify_all();
        Some(batch)
    }
    /// What came of a batch.
    pub fn done(&self, outcome: Result<(), Fault>) {
        let mut state = self.lock();
        state.taken -= 1;
        if let Err(fault) = outcome {
            state.fault.get_or_insert(fault);
            state.waiting.clear();
        }
        self.changed.notify_all();
    }
    /// Waits until nothing waits and nobody is at anything.
    /// Errors: a batch was damaged.
    pub fn settle(&self) -> Result<(), Fault> {
        let mut state = self.lock();
        while !state.waiting.is_empty() || state.taken > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.fault.take().map_or(Ok(()), Err)
    }
}
