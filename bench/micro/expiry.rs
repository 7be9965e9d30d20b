//! Wheel or sweep: what does it cost to remove expired keys soon?
//!
//! A million keys of 16 bytes with values of 32 and a deadline within one minute. `set` is what a key costs to store with and
//! without a deadline: the difference is the wheel's registration and 8 bytes more of entry. `wheel` removes keys as they fall
//! due, a tick of 16 ms at a time, and in one burst, a turn's budget at a time; the time is per key. `sweep` is a look at
//! every key of the table, none of them due: what a sweep pays per key and pass, and for a lag of 100 ms it must pass ten
//! times a second. All times are processor time.

mod common;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use nix::time::{ClockId, clock_gettime};
use ringdb::{
    admin::stats::LoopStats,
    base::{clock::WallMs, hash::KeyHasher, ids::DbIndex, prng::Prng},
    keyspace::{Keys, Keyspace, Local, expire::Run, types::new_string},
    table::{Change, Guard, Participant},
};

const KEYS: u64 = 1_000_000;
const SPAN_MS: u64 = 60_000;
const START: WallMs = WallMs(1_700_000_000_000);
const TICK_MS: u64 = 16;
/// Keys stored per turn.
const TURN: u64 = 64;
/// What an event loop gives to expiry in a turn.
const BUDGET: Duration = Duration::from_micros(250);
const FOREVER: Duration = Duration::from_secs(3600);

struct Store {
    space: Keyspace,
    stats: [LoopStats; 1],
    local: Local,
    seat: Participant,
}

impl Store {
    fn new() -> Self {
        Store {
            space: Keyspace::new(1, KeyHasher::random()),
            stats: [LoopStats::default()],
            local: Local::new(1),
            seat: Participant::new(),
        }
    }
    fn keys<'t>(&'t self, guard: &'t Guard<'t>) -> Keys<'t> {
        Keys::new(&self.space, DbIndex(0), guard, &self.stats[0], &self.local, START)
    }
    /// Stores all keys; `deadline` draws one or none.
    fn fill(&self, mut deadline: impl FnMut() -> Option<WallMs>) {
        for first in (0..KEYS).step_by(TURN as usize) {
            let guard = self.seat.pin();
            let keys = self.keys(&guard);
            for number in first..KEYS.min(first + TURN) {
                let name = format!("key:{number:012}");
                let key = keys.key(name.as_bytes(), 0);
                let at = deadline();
                keys.update(key, |_| (Change::Put(new_string(key.bytes, &[b'v'; 32], at, 0)), ()));
            }
            guard.flush();
        }
    }
    /// Removes what is due at `now`, in turns.
    fn expire(&self, now: WallMs, budget: Duration) {
        loop {
            let guard = self.seat.pin();
            let (space, all, events, ledger) = (&self.space, &self.stats, &self.local.events, &self.local.ledger);
            let recency = &self.local.recency;
            let run = Run { space, guard: &guard, all, stats: &all[0], events, ledger, recency, now };
            self.local.expiry.run(run, budget);
            guard.flush();
            if self.local.expiry.sleep_time(now, true).is_none_or(|time| !time.is_zero()) {
                return;
            }
        }
    }
}

fn within_a_minute(prng: &mut Prng) -> Option<WallMs> {
    Some(WallMs(START.0 + 1 + prng.below(SPAN_MS)))
}

/// Criterion asks for so many iterations of one key; whole rounds of `KEYS` are run and scaled.
fn per_key(iterations: u64, round: impl Fn() -> Duration) -> Duration {
    let rounds = iterations.div_ceil(KEYS);
    let total: Duration = (0..rounds).map(|_| round()).sum();
    total.mul_f64(iterations as f64 / (rounds * KEYS) as f64)
}

/// Processor time of this thread: what other processes take does not count.
fn timed(work: impl FnOnce()) -> Duration {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock"));
    let start = now();
    work();
    now() - start
}

fn main() {
    common::run(|criterion| {
        set(criterion);
        wheel(criterion);
        sweep(criterion);
        pauses();
    });
}

/// How long a turn's run keeps its loop from commands while the burst is worked off.
fn pauses() {
    let (store, mut prng) = (Store::new(), Prng::seeded(1));
    store.fill(|| within_a_minute(&mut prng));
    let now = WallMs(START.0 + SPAN_MS + TICK_MS);
    let mut pauses = Vec::new();
    while store.stats[0].expired.get() < KEYS {
        let guard = store.seat.pin();
        let (space, all) = (&store.space, &store.stats);
        let (events, ledger) = (&store.local.events, &store.local.ledger);
        let recency = &store.local.recency;
        let run = Run { space, guard: &guard, all, stats: &all[0], events, ledger, recency, now };
        pauses.push(timed(|| {
            store.local.expiry.run(run, BUDGET);
        }));
        guard.flush();
    }
    pauses.sort();
    let at = |percent: usize| pauses[(pauses.len() - 1) * percent / 100];
    println!("pauses of {} turns: p50 {:?}  p99 {:?}  max {:?}", pauses.len(), at(50), at(99), at(100));
}

fn set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.bench_function("without a deadline", |bencher| {
        bencher.iter_custom(|iterations| {
            per_key(iterations, || {
                let store = Store::new();
                timed(|| store.fill(|| None))
            })
        });
    });
    group.bench_function("with a deadline", |bencher| {
        bencher.iter_custom(|iterations| {
            per_key(iterations, || {
                let (store, mut prng) = (Store::new(), Prng::seeded(1));
                timed(|| store.fill(|| within_a_minute(&mut prng)))
            })
        });
    });
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    for (name, step_ms) in [("tick by tick", TICK_MS), ("one burst", SPAN_MS + TICK_MS)] {
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|iterations| {
                per_key(iterations, || {
                    let (store, mut prng) = (Store::new(), Prng::seeded(1));
                    store.fill(|| within_a_minute(&mut prng));
                    let budget = if step_ms == TICK_MS { FOREVER } else { BUDGET };
                    let spent = timed(|| {
                        for ms in (0..=SPAN_MS + TICK_MS).step_by(step_ms as usize) {
                            store.expire(WallMs(START.0 + ms), budget);
                        }
                    });
                    assert_eq!(store.stats[0].expired.get(), KEYS);
                    spent
                })
            });
        });
    }
}

fn sweep(criterion: &mut Criterion) {
    let (store, mut prng) = (Store::new(), Prng::seeded(1));
    store.fill(|| within_a_minute(&mut prng));
    let mut group = criterion.benchmark_group("sweep");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.bench_function("a pass over keys that are not due", |bencher| {
        bencher.iter_custom(|iterations| {
            per_key(iterations, || {
                timed(|| {
                    let guard = store.seat.pin();
                    let table = store.keys(&guard).table().expect("keys are stored");
                    let mut due = 0;
                    table.scan_all(&guard, |entry| due += entry.expires_at().is_some_and(|at| at <= START) as u64);
                    assert_eq!(due, 0);
                })
            })
        });
    });
}
