//! Is the shared table cheaper than what one would take off the shelf?
//!
//! A million keys of 16 bytes with values of 64, drawn uniformly; GET copies the value out as a reply would, SET stores a
//! new allocation. All candidates use the same hash function and the same allocator. Work comes in turns of 64 operations
//! like a pipeline's; a candidate with guards takes one per turn. Two threads run on the same table; the time is one
//! thread's per operation, so perfect scaling shows the same time as on one thread.

mod common;

use std::{
    collections::HashMap,
    hint::black_box,
    sync::{Barrier, Mutex, RwLock},
    thread,
    time::{Duration, Instant},
};

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion};
use dashmap::DashMap;
use ringdb::{
    base::{
        hash::{Key, KeyHasher},
        prng::Prng,
    },
    table::{Change, Kind, NewEntry, Participant, Payload, Source, Table},
};

const KEYS: u64 = 1_000_000;
const KEY_LEN: usize = 16;
const VALUE_LEN: usize = 64;
/// Operations that share a guard and a prefetch window.
const TURN: usize = 64;
/// Shards of the locked map: enough that two threads seldom meet.
const SHARDS: usize = 64;

type KeyBytes = [u8; KEY_LEN];

/// One operation of a turn.
#[derive(Clone, Copy)]
struct Op {
    key: KeyBytes,
    is_set: bool,
}

/// A table under test.
trait Candidate: Sync {
    /// What a thread brings along.
    type Seat;
    fn seat(&self) -> Self::Seat;
    /// Runs a turn; values read go to `out`.
    fn turn(&self, seat: &Self::Seat, ops: &[Op], out: &mut Vec<u8>);
}

fn main() {
    common::run(|criterion| {
        compare(criterion, "Mutex<HashMap>", &Locked::filled());
        compare(criterion, "sharded RwLock<HashMap>", &Sharded::filled());
        compare(criterion, "DashMap", &Dash::filled());
        compare(criterion, "papaya", &Papaya::filled());
        compare(criterion, "ringdb without prefetch", &Ring::filled(false));
        compare(criterion, "ringdb", &Ring::filled(true));
    });
}

fn compare(criterion: &mut Criterion, name: &str, candidate: &impl Candidate) {
    for threads in [1, 2] {
        for (mix, sets_of_8) in [("GET", 0), ("GET and SET 1:1", 4)] {
            let mut group = criterion.benchmark_group(format!("table, {mix}, {threads} thread(s)"));
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter_custom(|operations| run(candidate, threads, sets_of_8, operations));
            });
            group.finish();
        }
    }
}

/// Time for `operations` on each of `threads` threads: the slowest one's.
fn run(candidate: &impl Candidate, threads: u64, sets_of_8: u64, operations: u64) -> Duration {
    let start = Barrier::new(threads as usize);
    let turns = operations.div_ceil(TURN as u64);
    let work = |thread: u64| {
        let mut prng = Prng::seeded(operations ^ (thread << 32));
        let (seat, mut out) = (candidate.seat(), Vec::with_capacity(TURN * VALUE_LEN));
        start.wait();
        let began = Instant::now();
        for _ in 0..turns {
            let ops: [Op; TURN] = std::array::from_fn(|_| draw(&mut prng, sets_of_8));
            out.clear();
            candidate.turn(&seat, &ops, &mut out);
            black_box(&out);
        }
        began.elapsed()
    };
    let slowest = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let mine = work(0);
        others.into_iter().map(|other| other.join().expect("a bench thread panicked")).fold(mine, Duration::max)
    });
    // Whole turns ran; the time of the asked part is wanted.
    slowest.mul_f64(operations as f64 / (turns * TURN as u64) as f64)
}

fn draw(prng: &mut Prng, sets_of_8: u64) -> Op {
    let bits = prng.next_u64();
    Op { key: key(((bits >> 32) * KEYS) >> 32), is_set: bits & 7 < sets_of_8 }
}

/// A key whose bytes differ in half its length, cheap to make.
fn key(index: u64) -> KeyBytes {
    let mut bytes = *b"key:0000________";
    bytes[8..].copy_from_slice(&index.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_ne_bytes());
    bytes
}

fn value() -> Box<[u8]> {
    Box::new([b'v'; VALUE_LEN])
}

struct Locked(Mutex<HashMap<KeyBytes, Box<[u8]>, RandomState>>);

impl Locked {
    fn filled() -> Self {
        let mut map = HashMap::with_hasher(RandomState::new());
        map.extend((0..KEYS).map(|index| (key(index), value())));
        Self(Mutex::new(map))
    }
}

impl Candidate for Locked {
    type Seat = ();
    fn seat(&self) {}
    fn turn(&self, _: &(), ops: &[Op], out: &mut Vec<u8>) {
        for op in ops {
            let mut map = self.0.lock().expect("no thread panics");
            if op.is_set {
                map.insert(op.key, value());
            } else {
                out.extend_from_slice(&map[&op.key]);
            }
        }
    }
}

type Shard = RwLock<HashMap<KeyBytes, Box<[u8]>, RandomState>>;

struct Sharded(Vec<Shard>, RandomState);

impl Sharded {
    fn filled() -> Self {
        let sharded = Self(
            (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(RandomState::new()))).collect(),
            RandomState::new(),
        );
        for index in 0..KEYS {
            sharded.shard(&key(index)).write().expect("no thread panics").insert(key(index), value());
        }
        sharded
    }

    fn shard(&self, key: &KeyBytes) -> &Shard {
        &self.0[(self.1.hash_one(key) >> 32) as usize % SHARDS]
    }
}

impl Candidate for Sharded {
    type Seat = ();
    fn seat(&self) {}
    fn turn(&self, _: &(), ops: &[Op], out: &mut Vec<u8>) {
        for op in ops {
            let shard = self.shard(&op.key);
            if op.is_set {
                shard.write().expect("no thread panics").insert(op.key, value());
            } else {
                out.extend_from_slice(&shard.read().expect("no thread panics")[&op.key]);
            }
        }
    }
}

struct Dash(DashMap<KeyBytes, Box<[u8]>, RandomState>);

impl Dash {
    fn filled() -> Self {
        let map = DashMap::with_hasher(RandomState::new());
        (0..KEYS).for_each(|index| drop(map.insert(key(index), value())));
        Self(map)
    }
}

impl Candidate for Dash {
    type Seat = ();
    fn seat(&self) {}
    fn turn(&self, _: &(), ops: &[Op], out: &mut Vec<u8>) {
        for op in ops {
            if op.is_set {
                self.0.insert(op.key, value());
            } else if let Some(value) = self.0.get(&op.key) {
                out.extend_from_slice(&value);
            }
        }
    }
}

struct Papaya(papaya::HashMap<KeyBytes, Box<[u8]>, RandomState>);

impl Papaya {
    fn filled() -> Self {
        let map = papaya::HashMap::with_hasher(RandomState::new());
        (0..KEYS).for_each(|index| assert!(map.pin().insert(key(index), value()).is_none()));
        Self(map)
    }
}

impl Candidate for Papaya {
    type Seat = ();
    fn seat(&self) {}
    fn turn(&self, _: &(), ops: &[Op], out: &mut Vec<u8>) {
        let map = self.0.pin();
        for op in ops {
            if op.is_set {
                map.insert(op.key, value());
            } else if let Some(value) = map.get(&op.key) {
                out.extend_from_slice(value);
            }
        }
    }
}

struct Ring {
    table: Table,
    hasher: KeyHasher,
    prefetches: bool,
}

impl Ring {
    fn filled(prefetches: bool) -> Self {
        let hasher = KeyHasher::random();
        let ring = Self { table: Table::new(hasher.clone()), hasher, prefetches };
        let seat = ring.seat();
        for first in (0..KEYS).step_by(TURN) {
            let ops: Vec<Op> =
                (first..KEYS.min(first + TURN as u64)).map(|index| Op { key: key(index), is_set: true }).collect();
            ring.turn(&seat, &ops, &mut Vec::new());
        }
        ring
    }
}

impl Candidate for Ring {
    type Seat = Participant;
    fn seat(&self) -> Participant {
        Participant::new()
    }
    fn turn(&self, seat: &Participant, ops: &[Op], out: &mut Vec<u8>) {
        let guard = seat.pin();
        let mut keys = [Key { bytes: &[], hash: 0 }; TURN];
        for (place, op) in keys.iter_mut().zip(ops) {
            *place = Key::new(&self.hasher, &op.key);
        }
        if self.prefetches {
            keys[..ops.len()].iter().for_each(|key| self.table.prefetch_group(key.hash));
            let spilled = keys[..ops.len()].iter().filter(|key| !self.table.prefetch_entry(key.hash, &guard));
            spilled.for_each(|key| self.table.prefetch_spilled(key.hash, &guard));
        }
        for (&key, op) in keys.iter().zip(ops) {
            if op.is_set {
                let value = [b'v'; VALUE_LEN];
                self.table.update(key, &guard, |_| {
                    (Change::Put(NewEntry::new(Kind(0), key.bytes, None, 0, Source::Inline(&value))), ())
                });
            } else if let Some(Payload::Inline(value)) = self.table.get(key, &guard).map(|entry| entry.payload()) {
                out.extend_from_slice(value);
            }
        }
        if ops.iter().any(|op| op.is_set) {
            guard.flush(); // As an event loop does at the end of a turn that wrote.
        }
    }
}
