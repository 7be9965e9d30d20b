//! Compacting: entries leave pages that are mostly free, so that these pages go back.
//!
//! ```text
//! eviction frees blocks of one size ─▶ their pages are half empty ─▶ values of another size take new pages
//! a hand goes round the table ─▶ entries in sparse pages are copied to fuller ones ─▶ empty pages serve the new size
//! ```
//! The allocator fills the oldest page of a size first. So it is enough to know which blocks are to leave theirs: those whose
//! pages have most room, of each size as many as its pages have room altogether. A *bar* per size says how much room that is. It
//! moves up when more blocks leave than that, and down when fewer do; nothing has to be sorted.
//!
//! The hand moves in proportion to what is evicted and to how much of the limit lies idle in such pages (`quota::looks`): where
//! sizes do not change, never. Only entries that are bytes or counters move, by one CAS, as if they had been written again.
//! Collections stay, and large values have pages to themselves.
//!
//! Not while a snapshot is taken: a copy is of the present era, and the snapshot would miss it.

#![forbid(unsafe_code)]

use super::Keys;
use crate::base::heap::{Crowd, block_len};
use crate::base::ids::DbIndex;
use crate::table::sample::{Hand, Sampler};
use crate::table::{Change, Entry, NewEntry};
use std::cell::{Cell, RefCell};

/// Entries that the hand comes to at once: their lines are asked for together.
const STRIDE: usize = 48;
/// Steps before the databases are looked up again.
const STEPS: u32 = 256;
/// Four size classes from one power of two to the next.
const CLASSES: usize = 64;
/// A size whose pages have less room than this part is left alone.
const ROOM_MIN: f32 = 1.0 / 16.0;
/// How much a bar moves.
const NUDGE: f32 = 0.02;

/// One loop's part.
pub struct Compactor {
    state: RefCell<State>,
    /// Entries that are still to be looked at.
    owed: Cell<usize>,
}

struct State {
    sampler: Sampler,
    fields: Vec<(DbIndex, Hand)>,
    next_field: usize,
    steps_left: u32,
    keys: usize,
    bars: [f32; CLASSES],
}

impl Default for Compactor {
    fn default() -> Self {
        let (sampler, fields) = (Sampler::default(), Vec::new());
        let state = State { sampler, fields, next_field: 0, steps_left: 0, keys: 0, bars: [0.5; CLASSES] };
        Compactor { state: RefCell::new(state), owed: Cell::new(0) }
    }
}

impl Compactor {
    /// Goes on by `rounds` of the whole table.
    pub fn advance(&self, keys: &Keys<'_>, rounds: f64) {
        if rounds <= 0.0 || keys.space.handover.is_on() {
            return;
        }
        let mut state = self.state.borrow_mut();
        let mut moved = 0;
        state.keep_up(keys);
        self.owed.set(self.owed.get() + (rounds * state.keys as f64).ceil() as usize);
        while self.owed.get() >= STRIDE && !state.fields.is_empty() {
            self.owed.set(self.owed.get() - STRIDE);
            moved += state.step(keys);
        }
        keys.stats.moved.add(moved as u64);
    }
}

impl State {
    /// Finds the databases that have keys, when it is time.
    fn keep_up(&mut self, keys: &Keys<'_>) {
        if self.steps_left > 0 {
            self.steps_left -= 1;
            return;
        }
        (self.steps_left, self.keys) = (STEPS, 0);
        let old = std::mem::take(&mut self.fields);
        for db in (0..keys.space.db_count()).map(|db| DbIndex(db as u16)) {
            let count = keys.on(db).table().map_or(0, |table| table.count());
            if count > 0 {
                let hand = old.iter().find(|(other, _)| *other == db).map_or_else(Hand::default, |&(_, hand)| hand);
                self.fields.push((db, hand));
                self.keys += count;
            }
        }
    }
    /// The hand moves on, in one of the databases.
    fn step(&mut self, keys: &Keys<'_>) -> usize {
        self.next_field = (self.next_field + 1) % self.fields.len();
        let State { sampler, fields, bars, .. } = self;
        let (db, hand) = &mut fields[self.next_field];
        let keys = keys.on(*db);
        let Some(table) = keys.table() else { return 0 };
        let mut moved = 0;
        table.sweep(sampler, hand, STRIDE, keys.guard, |entry| moved += relocate(&keys, entry, bars) as usize);
        moved
    }
}

/// Moves an entry if its pages have room enough. False: it stays.
fn relocate(keys: &Keys<'_>, entry: Entry<'_>, bars: &mut [f32; CLASSES]) -> bool {
    let Some(crowd) = entry.crowd().filter(|crowd| crowd.free > 0) else { return false };
    if !leaves(crowd, &mut bars[class(entry.alloc_len())]) {
        return false;
    }
    let Some(table) = keys.table() else { return false };
    table.update(keys.key(entry.key(), 0), keys.guard, |old| {
        let copy = old.filter(|now| now.as_ptr() == entry.as_ptr()).and_then(NewEntry::moved);
        copy.map_or((Change::Keep, false), |copy| (Change::Put(copy), true))
    })
}

/// Four classes from one power of two to the next.
fn class(len: usize) -> usize {
    let len = block_len(len.max(8));
    let power = len.ilog2() as usize;
    (power * 4 + (len >> (power - 2) & 3)).min(CLASSES - 1)
}

/// Is it one of those that are to leave? Moves the bar of its size.
fn leaves(crowd: Crowd, bar: &mut f32) -> bool {
    let room = crowd.free as f32 / crowd.blocks.max(1) as f32;
    let mean = crowd.all_free as f32 / crowd.all_blocks.max(1) as f32;
    if mean < ROOM_MIN {
        return false;
    }
    let leaves = room >= bar.max(mean);
    let share = (mean * 1.25).min(0.5);
    *bar = (*bar + NUDGE * if leaves { 1.0 - share } else { -share }).clamp(mean * 0.9, 1.0);
    leaves
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn crowd(free: usize, all_free: usize) -> Crowd {
        Crowd { blocks: 100, free, all_blocks: 10_000, all_free }
    }

    #[test]
    fn classes_are_four_from_one_power_of_two_to_the_next() {
        assert_eq!([8, 64, 65, 80, 81, 96, 97, 112, 113, 128].map(class), [12, 24, 25, 25, 26, 26, 27, 27, 28, 28]);
        assert!(class(16 << 10) < CLASSES);
    }

    #[test]
    fn nobody_leaves_pages_of_a_size_that_are_nearly_full() {
        let mut bar = 0.5;
        assert!(!leaves(crowd(90, 500), &mut bar) && bar == 0.5);
    }

    #[test]
    fn of_each_size_as_many_leave_as_its_pages_have_room_and_from_the_emptiest() {
        // Pages have between 0 and 40 of 100 free, a fifth altogether.
        let (mut bar, mut gone) = (0.5, Vec::new());
        for round in 0..4000 {
            let free = round * 7 % 41;
            if leaves(crowd(free, 2000), &mut bar) {
                gone.push(free);
            }
        }
        let late: Vec<usize> = gone.into_iter().skip(300).collect();
        assert!((600..1100).contains(&late.len()), "{} left", late.len());
        assert!(late.iter().all(|&free| free >= 20), "none from pages that are fuller than most");
    }
}
