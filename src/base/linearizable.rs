//! Is there an order of the operations that explains all results?
//!
//! Wing and Gong's search with Lowe's memory: take any operation that may come next, apply it to a model, go on; at a dead end
//! go back. An operation may come next if nothing that is still to be ordered had returned before it was called, and if
//! it is the first of its client: a connection's commands run in their order, however many are in flight. That second rule
//! makes a place in the search as small as one position per client, so that thousands of operations are checked in a moment.
//!
//! For histories of the table (`table/history_test.rs`) and of a server seen through sockets (`tests/black_box`).
//!
//! Source: Wing & Gong 1993; Lowe, "Testing for linearizability", 2017.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::hash::Hash;

/// What one client did and saw. Times are of one clock.
#[derive(Clone, Debug)]
pub struct Event<O> {
    pub client: usize,
    pub called: u64,
    pub returned: u64,
    pub op: O,
}

/// A sequential object: what an operation with its result does to a state.
pub trait Model {
    type Op: std::fmt::Debug + Clone;
    type State: Clone + Eq + Hash + Default;
    /// The state behind `op`; None if its result is not possible in this state.
    fn apply(state: &Self::State, op: &Self::Op) -> Option<Self::State>;
}

/// Looks for an order from the default state. Error: the history up to where no order was found any more, as text.
pub fn check<M: Model>(history: &[Event<M::Op>]) -> Result<(), String> {
    let clients = history.iter().map(|event| event.client + 1).max().unwrap_or(0);
    let mut lanes: Vec<Vec<&Event<M::Op>>> = vec![Vec::new(); clients];
    for event in history {
        lanes[event.client].push(event);
    }
    for lane in &mut lanes {
        lane.sort_by_key(|event| event.called); // Stable: a pipeline's commands share the time of their write.
    }
    let (mut seen, mut best) = (HashSet::new(), vec![0; clients]);
    let mut stack = vec![(vec![0usize; clients], M::State::default())];
    while let Some((at, state)) = stack.pop() {
        if at.iter().sum::<usize>() > best.iter().sum() {
            best.clone_from(&at);
        }
        let first_return =
            lanes.iter().zip(&at).filter_map(|(lane, &at)| lane.get(at)).map(|event| event.returned).min();
        let Some(first_return) = first_return else { return Ok(()) };
        for (client, lane) in lanes.iter().enumerate() {
            let Some(event) = lane.get(at[client]).filter(|event| event.called <= first_return) else { continue };
            let Some(state) = M::apply(&state, &event.op) else { continue };
            let mut at = at.clone();
            at[client] += 1;
            if seen.insert((at.clone(), state.clone())) {
                stack.push((at, state));
            }
        }
    }
    Err(explain::<M>(&lanes, &best))
}

/// Some operations before and behind the place where the search got stuck.
fn explain<M: Model>(lanes: &[Vec<&Event<M::Op>>], stuck: &[usize]) -> String {
    let mut lines = Vec::new();
    for (lane, &at) in lanes.iter().zip(stuck) {
        for (i, event) in lane.iter().enumerate().skip(at.saturating_sub(6)).take(10) {
            let mark = if i < at { " " } else { "?" };
            lines.push((
                event.called,
                format!("{mark} client {} {}..{} {:?}", event.client, event.called, event.returned, event.op),
            ));
        }
    }
    lines.sort();
    let lines: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
    format!("no order explains this (?: could not be placed)\n{}", lines.join("\n"))
}
