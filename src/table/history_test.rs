//! Is the table linearizable? Threads work on few keys and record what they did and saw; a checker looks for an order that
//! explains it all.
//!
//! Hashes are cut to few bits, so that the keys share a group with a crowd of others that come and go: it spills and
//! overflows. Another thread grows and shrinks the shard all the time, and all threads are stopped between the steps of the
//! protocols (`base/sync/chaos`). Single-key histories are checked key by key, those with multi-key operations as a whole.
//! The last tests plant mistakes of a store's user, which the checker must see.
//!
//! `HISTORY_ROUNDS=10000 cargo test --lib table::history_test` for a long run.

use super::*;
use crate::base::linearizable::{Event, Model, check};
use crate::base::prng::Prng;
use crate::base::sync::AtomicBool;
use crate::base::sync::chaos::{Delays, endure};
use std::time::{Duration, Instant};

/// Keys whose history is recorded.
const KEYS: usize = 4;
/// Keys that come and go beside them.
const CROWD: u64 = 40;

/// What was done and what was seen.
#[derive(Clone, Debug)]
enum Op {
    Get(usize, Option<i64>),
    /// SET … GET: the new value and the old one.
    Set(usize, i64, Option<i64>),
    /// SETNX: did it set?
    SetNew(usize, i64, bool),
    /// INCRBY: the delta and the sum.
    Add(usize, i64, i64),
    /// GETDEL
    Take(usize, Option<i64>),
    /// MSET of several keys to one value.
    SetAll([bool; KEYS], i64),
    /// MGET of all.
    GetAll([Option<i64>; KEYS]),
    /// RENAME: was there anything to rename?
    Rename(usize, usize, bool),
    /// A section: each of these keys gets what the next one of them has; what was there.
    Rotate([bool; KEYS], [Option<i64>; KEYS]),
}

/// The sequential table.
struct Numbers;

impl Model for Numbers {
    type Op = Op;
    type State = [Option<i64>; KEYS];

    fn apply(state: &Self::State, op: &Op) -> Option<Self::State> {
        let mut next = *state;
        let is_possible = match *op {
            Op::Get(key, seen) => state[key] == seen,
            Op::Set(key, to, seen) => next[key].replace(to) == seen,
            Op::SetNew(key, to, is_set) => {
                next[key].get_or_insert(to);
                state[key].is_none() == is_set
            }
            Op::Add(key, delta, sum) => {
                next[key] = Some(state[key].unwrap_or(0) + delta);
                next[key] == Some(sum)
            }
            Op::Take(key, seen) => next[key].take() == seen,
            Op::SetAll(which, to) => {
                (0..KEYS).filter(|&key| which[key]).for_each(|key| next[key] = Some(to));
                true
            }
            Op::GetAll(seen) => *state == seen,
            Op::Rename(from, to, is_done) => {
                if let Some(value) = next[from].take() {
                    next[to] = Some(value);
                }
                state[from].is_some() == is_done
            }
            Op::Rotate(which, seen) => {
                let chosen = chosen(which);
                for (i, &key) in chosen.iter().enumerate() {
                    next[key] = state[chosen[(i + 1) % chosen.len()]];
                }
                chosen.iter().all(|&key| seen[key] == state[key])
            }
        };
        is_possible.then_some(next)
    }
}

/// How one of the recording threads behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Usual(Delays),
    /// Sleeps between locking its keys and committing.
    SlowOwner,
    /// Holds what it has found for a while before it looks at it.
    SlowReader,
    /// Mistake: adds by reading and then writing.
    LosesUpdates,
    /// Mistake: reads several keys one after the other.
    ReadsOneByOne,
}

const NAP: Duration = Duration::from_millis(3);
const HICCUP: Duration = Duration::from_micros(100);

/// One table under test.
struct Arena {
    table: Table,
    hasher: KeyHasher,
    start: Instant,
}

impl Arena {
    fn new(seed: u64, mask: u64) -> Self {
        let hasher = KeyHasher::seeded(seed).masked(mask);
        Arena { table: Table::new(hasher.clone()), hasher, start: Instant::now() }
    }
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
    fn keys(&self) -> [Key<'_>; KEYS] {
        [&b"k0"[..], b"k1", b"k2", b"k3"].map(|name| Key::new(&self.hasher, name))
    }

    /// An operation by chance, on one key or on several.
    fn act(&self, dice: &mut Prng, fresh: i64, several: bool, manner: Manner, guard: &Guard<'_>) -> Op {
        let key = dice.below(KEYS as u64) as usize;
        match dice.below(if several { 240 } else { 100 }) {
            0..30 => Op::Get(key, self.get(key, manner, guard)),
            30..50 => {
                let is_counter = dice.chance(1, 2);
                Op::Set(key, fresh, self.set(key, fresh, is_counter, guard))
            }
            50..65 => Op::SetNew(key, fresh, self.set_new(key, fresh, guard)),
            65..85 => {
                let delta = dice.below(3) as i64 - 1; // Counters come back to what they were.
                Op::Add(key, delta, self.add(key, delta, manner, guard))
            }
            85..100 => Op::Take(key, self.update(key, guard, |old| (Change::Remove, old))),
            100..140 => {
                let which = std::array::from_fn(|i| i == key || dice.chance(1, 2));
                self.set_all(which, fresh, manner, guard);
                Op::SetAll(which, fresh)
            }
            140..180 => Op::GetAll(self.get_all(manner, guard)),
            180..220 => {
                let which = std::array::from_fn(|i| i == key || dice.chance(1, 2));
                self.rotate(which, guard)
                    .map_or(Op::Rotate([false; KEYS], [None; KEYS]), |seen| Op::Rotate(which, seen))
            }
            _ => {
                let to = (key + 1) % KEYS;
                Op::Rename(key, to, self.rename(key, to, guard))
            }
        }
    }
    fn update<R>(&self, key: usize, guard: &Guard<'_>, mut f: impl FnMut(Option<i64>) -> (Change, R)) -> R {
        self.table.update(self.keys()[key], guard, |old| f(old.map(value)))
    }
    fn get(&self, key: usize, manner: Manner, guard: &Guard<'_>) -> Option<i64> {
        let entry = self.table.get(self.keys()[key], guard)?;
        if manner == Manner::SlowReader && !entry.is_counter() {
            std::thread::sleep(NAP);
        }
        Some(value(entry))
    }
    fn set(&self, key: usize, to: i64, is_counter: bool, guard: &Guard<'_>) -> Option<i64> {
        let name = self.keys()[key];
        self.update(key, guard, |old| (if is_counter { counter(name, to) } else { text(name, to) }, old))
    }
    fn set_new(&self, key: usize, to: i64, guard: &Guard<'_>) -> bool {
        let name = self.keys()[key];
        self.update(key, guard, |old| if old.is_some() { (Change::Keep, false) } else { (text(name, to), true) })
    }
    fn add(&self, key: usize, delta: i64, manner: Manner, guard: &Guard<'_>) -> i64 {
        if manner == Manner::LosesUpdates {
            let sum = self.get(key, manner, guard).unwrap_or(0) + delta;
            std::thread::sleep(HICCUP);
            self.set(key, sum, true, guard);
            return sum;
        }
        let name = self.keys()[key];
        if let Some(Ok(sum)) = self.table.get(name, guard).map(|entry| entry.cell_add(delta)) {
            return sum;
        }
        self.update(key, guard, |old| {
            let sum = old.unwrap_or(0) + delta;
            (counter(name, sum), sum)
        })
    }
    fn set_all(&self, which: [bool; KEYS], to: i64, manner: Manner, guard: &Guard<'_>) {
        let keys = self.keys();
        let chosen: Vec<_> = (0..KEYS).filter(|&key| which[key]).map(|key| (&self.table, keys[key])).collect();
        transact(&chosen, guard, |txn| {
            if manner == Manner::SlowOwner {
                std::thread::sleep(NAP);
            }
            for (i, (_, key)) in chosen.iter().enumerate() {
                txn.decide(i, text(*key, to));
            }
        });
    }
    fn get_all(&self, manner: Manner, guard: &Guard<'_>) -> [Option<i64>; KEYS] {
        if manner == Manner::ReadsOneByOne {
            return std::array::from_fn(|key| {
                std::thread::sleep(HICCUP);
                self.get(key, manner, guard)
            });
        }
        snapshot(&self.table, &self.keys(), guard, |found| std::array::from_fn(|key| found[key].map(value)))
    }
    fn rename(&self, from: usize, to: usize, guard: &Guard<'_>) -> bool {
        let keys = self.keys();
        transact(&[(&self.table, keys[from]), (&self.table, keys[to])], guard, |txn| {
            let Some(old) = txn.old(0) else { return false };
            txn.decide(0, Change::Remove);
            txn.decide(1, counter(keys[to], value(old)));
            true
        })
    }

    /// None: the keys were not to be had.
    fn rotate(&self, which: [bool; KEYS], guard: &Guard<'_>) -> Option<[Option<i64>; KEYS]> {
        let (keys, chosen) = (self.keys(), chosen(which));
        let held: Vec<_> = chosen.iter().rev().map(|&key| (&self.table, keys[key])).collect();
        let _section = Section::begin(&held, guard)?;
        let mut seen = [None; KEYS];
        chosen.iter().for_each(|&key| seen[key] = self.get(key, Manner::Usual(Delays::Short), guard));
        for (i, &key) in chosen.iter().enumerate() {
            self.set(key, -1, i % 2 == 0, guard); // Nobody ever sees it.
            let next = seen[chosen[(i + 1) % chosen.len()]];
            let change = || match next {
                None => Change::Remove,
                Some(to) if to % 2 == 0 => text(keys[key], to),
                Some(to) => counter(keys[key], to),
            };
            self.update(key, guard, |_| (change(), ()));
        }
        Some(seen)
    }

    /// `count` operations of one thread, with their times.
    fn record(&self, client: usize, seed: u64, count: usize, several: bool, manner: Manner) -> Vec<Event<Op>> {
        endure(if let Manner::Usual(delays) = manner { delays } else { Delays::Short }, seed);
        let mut dice = Prng::seeded(seed);
        let seat = Participant::new();
        let turn = |i: usize| {
            let guard = seat.pin();
            let called = self.now();
            let op = self.act(&mut dice, (client * 1_000_000 + i * 1000) as i64, several, manner, &guard);
            let returned = self.now();
            if i.is_multiple_of(8) {
                guard.flush();
            }
            Event { client, called, returned, op }
        };
        (0..count).map(turn).collect()
    }
    /// Grows and shrinks the keys' shards and lets other keys come and go, until told to stop.
    fn disturb(&self, seed: u64, stop: &AtomicBool) {
        endure(Delays::Short, seed);
        let mut dice = Prng::seeded(seed);
        let seat = Participant::new();
        while !stop.load(Ordering::Relaxed) {
            let guard = seat.pin();
            for key in self.keys() {
                let shard = Table::shard_index(key.hash);
                self.table.start_resize(shard, dice.chance(1, 2));
                self.table.drive_resize(shard, 1 + dice.below(2) as usize, &guard);
            }
            for _ in 0..8 {
                let name = format!("c{}", dice.below(CROWD));
                let key = Key::new(&self.hasher, name.as_bytes());
                let leaves = dice.chance(1, 3);
                self.table.update(key, &guard, |_| (if leaves { Change::Remove } else { text(key, 0) }, ()));
            }
            guard.flush();
        }
    }
}

fn chosen(which: [bool; KEYS]) -> Vec<usize> {
    (0..KEYS).filter(|&key| which[key]).collect()
}

fn value(entry: Entry<'_>) -> i64 {
    match entry.payload() {
        Payload::Cell(value) => value,
        Payload::Inline(bytes) => i64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        Payload::Blob(_) => unreachable!("no blobs here"),
        Payload::Object(_) => unreachable!("no collections here"),
    }
}

fn text(key: Key<'_>, to: i64) -> Change {
    Change::Put(NewEntry::new(Kind(1), key.bytes, None, 0, Source::Inline(&to.to_le_bytes())))
}

fn counter(key: Key<'_>, to: i64) -> Change {
    Change::Put(NewEntry::new(Kind(0), key.bytes, None, 0, Source::Cell(to)))
}

/// Runs one thread per manner beside the disturber and returns what they recorded. The slow ones do less.
fn history(seed: u64, mask: u64, several: bool, manners: &[Manner]) -> Vec<Event<Op>> {
    let arena = Arena::new(seed, mask);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (arena, stop) = (&arena, &stop);
        let disturber = scope.spawn(move || arena.disturb(seed, stop));
        let recorders: Vec<_> = (0..)
            .zip(manners)
            .map(|(client, &manner)| {
                let count = if matches!(manner, Manner::SlowOwner | Manner::SlowReader) { 30 } else { 120 };
                scope.spawn(move || arena.record(client, seed * 64 + client as u64, count, several, manner))
            })
            .collect();
        let events = recorders.into_iter().flat_map(|recorder| recorder.join().expect("a recorder")).collect();
        stop.store(true, Ordering::Relaxed);
        disturber.join().expect("the disturber");
        events
    })
}

/// Checks a history: key by key, or as a whole.
fn explain(events: &[Event<Op>], several: bool) -> Result<(), String> {
    if several {
        return check::<Numbers>(events);
    }
    let key_of = |op: &Op| match *op {
        Op::Get(key, _) | Op::Set(key, ..) | Op::SetNew(key, ..) | Op::Add(key, ..) | Op::Take(key, _) => key,
        _ => unreachable!("an operation on several keys"),
    };
    (0..KEYS).try_for_each(|key| {
        let part: Vec<_> = events.iter().filter(|event| key_of(&event.op) == key).cloned().collect();
        check::<Numbers>(&part)
    })
}

/// Rounds with changing seeds: as many as HISTORY_ROUNDS says, or as fit in `time`.
fn rounds(time: Duration, mut round: impl FnMut(u64)) {
    let wanted = std::env::var("HISTORY_ROUNDS").ok().and_then(|text| text.parse().ok());
    let start = Instant::now();
    let goes_on = |seed: &u64| wanted.map_or_else(|| *seed < 3 || start.elapsed() < time, |wanted| *seed < wanted);
    (0..).take_while(goes_on).for_each(&mut round);
}

/// All tables, tables of few groups, and a table in which all keys have one hash.
const MASKS: [u64; 3] = [u64::MAX, 0b111, 0];

fn is_linearizable(time: Duration, several: bool, manners: &[Manner]) {
    rounds(time, |seed| {
        let events = history(seed, MASKS[seed as usize % MASKS.len()], several, manners);
        explain(&events, several).unwrap_or_else(|problem| panic!("seed {seed}\n{problem}"));
    });
}

#[test]
fn single_key_operations_are_linearizable() {
    is_linearizable(Duration::from_secs(3), false, &[Manner::Usual(Delays::Short); 4]);
}

#[test]
fn multi_key_operations_are_linearizable() {
    is_linearizable(Duration::from_secs(3), true, &[Manner::Usual(Delays::Short); 3]);
}

/// Milliseconds at any step, between locking and committing, and between finding an entry and reading it.
#[test]
fn threads_that_stall_for_long_do_no_harm() {
    let manners = [Manner::Usual(Delays::Long), Manner::SlowOwner, Manner::SlowReader, Manner::Usual(Delays::Short)];
    is_linearizable(Duration::from_secs(3), true, &manners);
}

/// Does the checker see that one thread makes this mistake, within a few rounds?
fn is_seen(mistake: Manner, several: bool) -> bool {
    let manners = [mistake, Manner::Usual(Delays::Short), Manner::Usual(Delays::Short)];
    (0..20).any(|seed| explain(&history(seed, u64::MAX, several, &manners), several).is_err())
}

#[test]
fn the_checker_sees_a_lost_update() {
    assert!(is_seen(Manner::LosesUpdates, false));
}

#[test]
fn the_checker_sees_keys_that_were_read_one_by_one() {
    assert!(is_seen(Manner::ReadsOneByOne, true));
}
