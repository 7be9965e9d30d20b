//! The way of keys and commands into the data set when the server starts: one reads, all loops take.
//!
//! ```text
//! reader   offer(batch)      keys of a snapshot, in any order: whichever loop has time
//!          send(lane, …)     commands of a journal: those of one lane in their order, by one loop
//!          settle            waits until all is taken in
//! loops    take ▶ apply or run ▶ done, some milliseconds per turn
//! ```
//! Whoever offers waits while enough waits. Until the end every command but those that may run while loading is refused, so
//! nobody else is at the data.

use super::command::Command;
use crate::base::ids::{DbIndex, LoopId};
use crate::persist::Fault;
use crate::persist::frame::Batch;
use crate::resp::args::{Arg, Parts};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Batches that wait at most. Some milliseconds of work each: nobody runs dry, and a fast disk fills no memory.
const WAITING_MAX: usize = 64;
/// Portions of commands that wait at most for one loop.
const LANE_MAX: usize = 16;

/// Commands of a journal, to be run one after the other.
#[derive(Default)]
pub struct Portion {
    pub buf: Vec<u8>,
    pub items: Vec<Arg>,
    pub commands: Vec<Ahead>,
    /// They are run while all other loops stand still.
    pub is_alone: bool,
}

/// One of them.
pub struct Ahead {
    pub row: &'static Command,
    pub db: DbIndex,
    /// Where its arguments end among `items`.
    pub end: usize,
    /// Its place in the file.
    pub offset: u64,
}

impl Portion {
    /// Each command with its parts.
    pub fn each(&self) -> impl Iterator<Item = (&Ahead, Parts<'_>)> {
        let mut begin = 0;
        self.commands.iter().map(move |ahead| {
            let items = &self.items[begin..ahead.end];
            begin = ahead.end;
            (ahead, Parts { buf: &self.buf, items, large: &[] })
        })
    }
}

/// What a loop is to do.
pub enum Task {
    /// Put these keys into the data set. `keeps_dead`: those past their deadline, too, for commands that come behind them.
    Keys {
        batch: Batch,
        keeps_dead: bool,
    },
    Commands(Portion),
}

/// See the module header.
#[derive(Default)]
pub struct Intake {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Batch>,
    keeps_dead: bool,
    /// By loop.
    lanes: Vec<VecDeque<Portion>>,
    /// Batches and portions that loops are at.
    taken: usize,
    fault: Option<Fault>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.taken == 0 && self.lanes.iter().all(VecDeque::is_empty)
    }
}

impl Intake {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What follows are the files of a journal, for so many loops.
    pub fn begin_journal(&self, loops: usize) {
        let mut state = self.lock();
        state.keeps_dead = true;
        state.lanes.resize_with(loops, VecDeque::new);
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
    /// Adds commands for a loop; waits for room.
    pub fn send(&self, lane: usize, portion: Portion) {
        let mut state = self.lock();
        while state.lanes[lane].len() >= LANE_MAX {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.lanes[lane].push_back(portion);
    }
    /// Is there something to be taken by this loop?
    pub fn has_some(&self, id: LoopId) -> bool {
        let state = self.lock();
        !state.waiting.is_empty() || state.lanes.get(id.0 as usize).is_some_and(|lane| !lane.is_empty())
    }
    /// Something to do, for which `done` is to be called.
    pub fn take(&self, id: LoopId) -> Option<Task> {
        let mut state = self.lock();
        let keeps_dead = state.keeps_dead;
        let task = match state.lanes.get_mut(id.0 as usize).and_then(VecDeque::pop_front) {
            Some(portion) => Task::Commands(portion),
            None => Task::Keys { batch: state.waiting.pop_front()?, keeps_dead },
        };
        state.taken += 1;
        self.changed.notify_all();
        Some(task)
    }
    /// What came of a task.
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
        while !state.is_idle() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.fault.take().map_or(Ok(()), Err)
    }
}
