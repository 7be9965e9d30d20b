//! A timing wheel: eight bytes per deadline, in order of time, as cheap to fill as to empty.
//!
//! ```text
//! level 0   256 slots of 1 tick           a tick is 16 ms
//! level 1   256 slots of 256 ticks        4 s
//! level 2   256 slots of 65 536 ticks     17 min
//! level 3   256 slots of 16 M ticks       3 days; all of it 2.2 years
//! ```
//! An item lies in the level of the highest byte in which its tick differs from the present one, in the slot that this byte
//! names. So all items of level 0 are due before those of level 1, and so on; and a slot never holds both this and the next
//! round. When time enters a slot of a higher level, its items move down: each item moves at most three times.
//!
//! A slot is a queue of chunks of 64 items, not a growing array: no doubling, no copying, and memory goes back as items fire.
//! An item names a tick and a place (32 bits that the owner understands). There are no pointers in it, so an item whose key is
//! gone is harmless.
//!
//! Everything works in small portions: an owner with little time left stops between two calls.

use std::collections::VecDeque;

/// Milliseconds per tick. 16: a removal is at most so much late by the wheel's doing, and a million keys per minute wake an
/// idle loop 62 times a second, not a thousand times.
pub const TICK_MS: u64 = 16;
/// Deadlines are at most this many ticks ahead; later ones fire early and are put off again.
pub const AHEAD_MAX: u32 = 1 << 31;
/// Items per chunk: 512 bytes.
pub const CHUNK_COUNT: usize = 64;

const LEVELS: usize = 4;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;

/// A point in time, in ticks modulo 2^32.
pub type Tick = u32;

/// A deadline's tick and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item(u64);

impl Item {
    /// `place` is opaque here.
    #[inline]
    pub fn new(tick: Tick, place: u32) -> Self {
        Item((tick as u64) << 32 | place as u64)
    }
    #[inline]
    pub fn tick(self) -> Tick {
        (self.0 >> 32) as Tick
    }
    #[inline]
    pub fn place(self) -> u32 {
        self.0 as u32
    }
}

/// The first tick at which a deadline has passed for certain.
#[inline]
pub fn tick_after(ms: u64) -> Tick {
    ms.div_ceil(TICK_MS) as Tick
}

/// The last tick that has begun.
#[inline]
pub fn tick_at(ms: u64) -> Tick {
    (ms / TICK_MS) as Tick
}

type Chunk = Box<[Item; CHUNK_COUNT]>;

/// A queue of items in chunks; all but the last are full.
#[derive(Default)]
struct Slot {
    chunks: VecDeque<Chunk>,
    /// Items in the last chunk.
    last_len: usize,
}

impl Slot {
    #[inline]
    fn push(&mut self, item: Item) {
        if self.last_len == CHUNK_COUNT || self.chunks.is_empty() {
            self.chunks.push_back(Box::new([Item(0); CHUNK_COUNT]));
            self.last_len = 0;
        }
        if let Some(last) = self.chunks.back_mut() {
            last[self.last_len] = item;
            self.last_len += 1;
        }
    }
    /// Moves the oldest chunk's items to `out`.
    fn pop_chunk(&mut self, out: &mut Vec<Item>) {
        let is_last = self.chunks.len() == 1;
        let Some(chunk) = self.chunks.pop_front() else { return };
        out.extend_from_slice(&chunk[..if is_last { self.last_len } else { CHUNK_COUNT }]);
        if is_last {
            *self = Slot::default(); // The queue's own memory goes back as well.
        }
    }
    /// Moves the items of the last chunk to `out`, so that what is pushed from now on stays apart from what was there.
    fn pop_last_chunk(&mut self, out: &mut Vec<Item>) {
        if self.chunks.len() == 1 {
            return self.pop_chunk(out);
        }
        let Some(chunk) = self.chunks.pop_back() else { return };
        out.extend_from_slice(&chunk[..self.last_len]);
        self.last_len = CHUNK_COUNT;
    }
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

struct Level {
    slots: Box<[Slot]>,
    /// A bit per slot that is not empty.
    occupied: [u64; SLOTS / 64],
}

impl Level {
    fn new() -> Self {
        Level { slots: (0..SLOTS).map(|_| Slot::default()).collect(), occupied: [0; SLOTS / 64] }
    }
    #[inline]
    fn push(&mut self, slot: usize, item: Item) {
        self.slots[slot].push(item);
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }
    fn pop_chunk(&mut self, slot: usize, last: bool, out: &mut Vec<Item>) {
        if last {
            self.slots[slot].pop_last_chunk(out)
        } else {
            self.slots[slot].pop_chunk(out)
        }
        if self.slots[slot].is_empty() {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }
    /// The first occupied slot in `from..SLOTS`.
    fn first_from(&self, from: usize) -> Option<usize> {
        (from / 64..SLOTS / 64).find_map(|word| {
            let mask = if word == from / 64 { !0 << (from % 64) } else { !0 };
            let bits = self.occupied[word] & mask;
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

/// What one call of `step` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Some items are due: up to `CHUNK_COUNT` were handed out.
    Fired,
    /// Some items moved to a lower level.
    Moved,
    /// Nothing is due any more.
    Idle,
}

/// Where a walk over all items stands: see `walk`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Walk {
    /// Slots done.
    done: usize,
    /// Chunks of the present slot that are still to be visited; None before it was looked at.
    chunks_left: Option<usize>,
}

/// See the module header.
pub struct Wheel {
    levels: [Level; LEVELS],
    now: Tick,
    len: usize,
    /// A slot of a higher level that is being moved down.
    moving: Slot,
    /// Room for `step`.
    portion: Vec<Item>,
}

impl Wheel {
    /// An empty wheel at tick `now`.
    pub fn new(now: Tick) -> Self {
        Wheel {
            levels: std::array::from_fn(|_| Level::new()),
            now,
            len: 0,
            moving: Slot::default(),
            portion: Vec::with_capacity(CHUNK_COUNT),
        }
    }
    /// Sets the present of a wheel without items.
    pub fn set_now(&mut self, now: Tick) {
        debug_assert!(self.is_empty());
        self.now = now;
    }
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Bytes that the wheel takes, its empty slots included.
    /// Cost: a look at each of its slots, some microseconds.
    pub fn bytes(&self) -> usize {
        let slots = self.levels.iter().flat_map(|level| level.slots.iter()).chain([&self.moving]);
        let of_slot = |slot: &Slot| {
            size_of::<Slot>()
                + slot.chunks.capacity() * size_of::<Chunk>()
                + slot.chunks.len() * size_of::<[Item; CHUNK_COUNT]>()
        };
        size_of::<Wheel>() + slots.map(of_slot).sum::<usize>() + self.portion.capacity() * size_of::<Item>()
    }
    /// Adds an item; one whose time has passed is due at once. Its tick is at most `AHEAD_MAX` ahead.
    #[inline]
    pub fn push(&mut self, item: Item) {
        self.len += 1;
        self.place(item);
    }
    #[inline]
    fn place(&mut self, item: Item) {
        let is_past = item.tick().wrapping_sub(self.now) > AHEAD_MAX;
        let tick = if is_past { self.now } else { item.tick() };
        let level = (31 - (tick ^ self.now | 1).leading_zeros()) / SLOT_BITS;
        let slot = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        self.levels[level as usize].push(slot, item);
    }
    /// The tick of the next thing to do, at or after the present: an item is due, or a slot is to be moved down (which may
    /// be well before its first item is due).
    pub fn next_event(&self) -> Option<Tick> {
        if !self.moving.is_empty() {
            return Some(self.now);
        }
        (0..LEVELS).find_map(|level| {
            let shift = level as u32 * SLOT_BITS;
            let present = (self.now >> shift) as usize % SLOTS;
            let slot = self.levels[level].first_from(present).or_else(|| {
                // The last level goes round; in the others nothing lies behind the present.
                (level == LEVELS - 1).then(|| self.levels[level].first_from(0)).flatten()
            })?;
            let above = u32::MAX.checked_shl(shift + SLOT_BITS).unwrap_or(0);
            Some(if level == 0 { self.now & above | slot as u32 } else { self.now & above | (slot as u32) << shift })
        })
    }
    /// Goes on towards `target`: hands out some due items, or moves some items down.
    /// Cost: at most `CHUNK_COUNT` items are touched.
    pub fn step(&mut self, target: Tick, due: &mut Vec<Item>) -> Step {
        if !self.moving.is_empty() {
            self.move_down();
            return Step::Moved;
        }
        let is_ahead = |tick: Tick| tick.wrapping_sub(target).wrapping_sub(1) < AHEAD_MAX;
        match self.next_event() {
            Some(tick) if !is_ahead(tick) => self.enter(tick, due),
            _ => {
                if !is_ahead(self.now) {
                    self.now = target;
                }
                Step::Idle
            }
        }
    }
    /// Time has come to `tick`, where something is to be done.
    fn enter(&mut self, tick: Tick, due: &mut Vec<Item>) -> Step {
        self.now = tick;
        let slot = tick as usize % SLOTS;
        if !self.levels[0].slots[slot].is_empty() {
            let before = due.len();
            self.levels[0].pop_chunk(slot, false, due);
            self.len -= due.len() - before;
            return Step::Fired;
        }
        for (level, Level { slots, occupied }) in self.levels.iter_mut().enumerate().skip(1) {
            let slot = (tick >> (level as u32 * SLOT_BITS)) as usize % SLOTS;
            if !slots[slot].is_empty() {
                self.moving = std::mem::take(&mut slots[slot]);
                occupied[slot / 64] &= !(1 << (slot % 64));
                break;
            }
        }
        Step::Moved
    }
    fn move_down(&mut self) {
        let mut portion = std::mem::take(&mut self.portion);
        self.moving.pop_chunk(&mut portion);
        portion.drain(..).for_each(|item| self.place(item));
        self.portion = portion;
    }
    /// Takes the next portion of a walk over all items out of the wheel. What the owner pushes back unchanged is not visited
    /// again. Items that move meanwhile, because of the time or the owner, may be missed or visited twice. False at the end.
    pub fn walk(&mut self, walk: &mut Walk, out: &mut Vec<Item>) -> bool {
        while walk.done < LEVELS * SLOTS {
            let (level, slot) = (walk.done / SLOTS, walk.done % SLOTS);
            let count = self.levels[level].slots[slot].chunks.len();
            let left = walk.chunks_left.unwrap_or(count).min(count);
            if left == 0 {
                *walk = Walk { done: walk.done + 1, chunks_left: None };
                continue;
            }
            let before = out.len();
            self.levels[level].pop_chunk(slot, walk.chunks_left.is_none(), out);
            self.len -= out.len() - before;
            walk.chunks_left = Some(left - 1);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeSet;

    fn run_to(wheel: &mut Wheel, target: Tick) -> Vec<Item> {
        let mut due = Vec::new();
        while wheel.step(target, &mut due) != Step::Idle {}
        due
    }

    #[test]
    fn items_fire_in_order_and_at_their_tick_across_all_levels_and_the_wrap() {
        for start in [0, 255, 65_535, u32::MAX - 70_000, u32::MAX - 3, 1 << 31] {
            let mut wheel = Wheel::new(start);
            let ahead = [0, 1, 2, 255, 256, 257, 300, 65_535, 65_536, 70_000, 1 << 24, (1 << 24) + 77, AHEAD_MAX - 1];
            for (place, &ticks) in ahead.iter().enumerate() {
                wheel.push(Item::new(start.wrapping_add(ticks), place as u32));
            }
            for (place, &ticks) in ahead.iter().enumerate() {
                let tick = start.wrapping_add(ticks);
                if ticks > 0 {
                    assert_eq!(run_to(&mut wheel, tick.wrapping_sub(1)), [], "start {start} ahead {ticks}");
                }
                assert_eq!(run_to(&mut wheel, tick), [Item::new(tick, place as u32)], "start {start} ahead {ticks}");
            }
            assert!(wheel.is_empty() && wheel.next_event().is_none());
        }
    }

    #[test]
    fn an_item_of_the_past_is_due_at_once() {
        let mut wheel = Wheel::new(1000);
        wheel.push(Item::new(900, 1));
        assert_eq!(wheel.next_event(), Some(1000));
        assert_eq!(run_to(&mut wheel, 1000), [Item::new(900, 1)]);
    }

    #[test]
    fn random_items_fire_as_in_a_sorted_set() {
        for seed in 0..20 {
            let mut prng = Prng::seeded(seed);
            let mut now = prng.next_u64() as Tick;
            let mut wheel = Wheel::new(now);
            let mut model: BTreeSet<(u64, u32)> = BTreeSet::new();
            let mut clock = 0u64; // `now` without its wrap.
            for place in 0..20_000 {
                let ahead = prng.next_u64() >> (33 + prng.below(31));
                wheel.push(Item::new(now.wrapping_add(ahead as u32), place));
                model.insert((clock + ahead, place));
                if prng.chance(1, 10) {
                    let step = prng.next_u64() >> (40 + prng.below(24));
                    clock += step;
                    now = now.wrapping_add(step as u32);
                    let mut fired: Vec<u32> = run_to(&mut wheel, now).into_iter().map(Item::place).collect();
                    let later = model.split_off(&(clock + 1, 0));
                    let mut expected: Vec<u32> = model.iter().map(|&(_, place)| place).collect();
                    model = later;
                    fired.sort();
                    expected.sort();
                    assert!(fired == expected, "seed {seed}: {} fired, not {}", fired.len(), expected.len());
                }
                assert_eq!(wheel.len(), model.len());
            }
        }
    }

    #[test]
    fn a_walk_visits_every_item_once_while_they_are_pushed_back() {
        let mut prng = Prng::seeded(3);
        let mut wheel = Wheel::new(77);
        let count = 5000;
        (0..count)
            .for_each(|place| wheel.push(Item::new(77 + (prng.next_u64() >> (40 + prng.below(20))) as u32, place)));
        let (mut walk, mut out, mut seen) = (Walk::default(), Vec::new(), Vec::new());
        while wheel.walk(&mut walk, &mut out) {
            assert!(out.len() <= CHUNK_COUNT);
            for item in out.drain(..) {
                seen.push(item.place());
                wheel.push(item);
            }
        }
        seen.sort();
        assert!(seen.iter().copied().eq(0..count), "{} visits", seen.len());
        assert_eq!(wheel.len(), count as usize);
    }
}
