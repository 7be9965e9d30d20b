//! Hit ratios of the eviction policies against exact LRU, and what an eviction costs: simulated requests through a real table.
//!
//!     cargo bench -p bench --bench evict
//!
//! 500 000 keys, of which a tenth fits, 3 million requests by Zipf's law, plain or with a quarter of keys that are asked for once
//! and never again; one that misses stores its key, as a cache's user would. Time goes on by 5 µs per request: a busy loop.
//! Ratios are in points against exact LRU. `ns` is processor time per request, all of it: a lookup, and for one that misses
//! an insert and an eviction.

use nix::time::{ClockId, clock_gettime};
use ringdb::{
    admin::{config::Config, stats::LoopStats},
    base::{clock::WallMs, hash::KeyHasher, ids::DbIndex, prng::Prng},
    keyspace::{Keys, Keyspace, Local, evict::Policy, types::new_string},
    table::{Change, Participant},
};
use std::collections::{BTreeMap, HashMap};

#[global_allocator]
static HEAP: ringdb::base::heap::Heap = ringdb::base::heap::Heap;

const KEYS: usize = 500_000;
const CAPACITY: usize = KEYS / 10;
const REQUESTS: usize = 3_000_000;
const START_US: u64 = 1_700_000_000_000_000;
const REQUEST_US: u64 = 5;

/// Requests: numbers of keys.
fn trace(one_hit_percent: u64) -> Vec<u64> {
    let mut sums: Vec<f64> = Vec::with_capacity(KEYS);
    for rank in 1..=KEYS {
        sums.push(sums.last().copied().unwrap_or(0.0) + (rank as f64).powf(-0.99));
    }
    let (mut prng, total) = (Prng::seeded(11), sums[KEYS - 1]);
    let mut next_new = KEYS as u64;
    (0..REQUESTS)
        .map(|_| {
            if prng.chance(one_hit_percent, 100) {
                next_new += 1;
                return next_new;
            }
            let at = prng.next_u64() as f64 / u64::MAX as f64 * total;
            sums.partition_point(|&sum| sum < at) as u64
        })
        .collect()
}

/// The share of hits of a cache that always drops what was unused for longest.
fn exact_lru(trace: &[u64]) -> f64 {
    let (mut last, mut order, mut hits) = (HashMap::new(), BTreeMap::new(), 0);
    for (now, &key) in trace.iter().enumerate() {
        match last.insert(key, now) {
            Some(before) => {
                hits += 1;
                order.remove(&before);
            }
            None if last.len() > CAPACITY => {
                if let Some((_, oldest)) = order.pop_first() {
                    last.remove(&oldest);
                }
            }
            None => {}
        }
        order.insert(now, key);
    }
    hits as f64 / trace.len() as f64
}

/// The share of hits under a policy.
fn simulate(policy: &str, samples: usize, trace: &[u64]) -> f64 {
    let config = Config::new();
    config.set(&[(b"maxmemory-policy", policy.as_bytes()), (b"maxmemory", b"1gb")]).unwrap();
    let (space, local, stats) = (Keyspace::new(1, KeyHasher::seeded(3)), Local::new(5), LoopStats::new(0));
    let (seat, policy) = (Participant::new(), Policy::named(policy).unwrap());
    let (mut hits, mut count) = (0, 0);
    for (turn, some) in trace.chunks(64).enumerate() {
        let now = WallMs((START_US + turn as u64 * 64 * REQUEST_US) / 1000);
        local.recency.begin_turn(&config, now);
        let guard = seat.pin();
        let keys = Keys::new(&space, DbIndex(0), &guard, &stats, &local, now);
        for number in some {
            let name = number.to_le_bytes();
            let key = keys.key(&name, 0);
            if keys.read(key).is_some() {
                hits += 1;
                continue;
            }
            keys.update(key, |_| (Change::Put(new_string(key.bytes, b"v", None, keys.recency())), ()));
            count += 1;
            if count > CAPACITY {
                assert!(local.evictor.evict(&keys, policy, samples).is_some());
                count -= 1;
            }
        }
        guard.flush();
    }
    hits as f64 / trace.len() as f64
}

/// Processor time of this thread.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

fn main() {
    for one_hit_percent in [0, 25] {
        let trace = trace(one_hit_percent);
        let exact = exact_lru(&trace);
        println!("{one_hit_percent} % asked for once: exact LRU hits {exact:.4}");
        let policies =
            [("allkeys-lru", 5), ("allkeys-lru", 10), ("allkeys-lfu", 5), ("allkeys-random", 5), ("allkeys-clock", 5)];
        for (policy, samples) in policies {
            let started = cpu_ns();
            let points = (simulate(policy, samples, &trace) - exact) * 100.0;
            let ns = (cpu_ns() - started) / REQUESTS as u64;
            println!("  {policy:<15} samples {samples:<2}  {points:+.2} points  {ns} ns");
        }
    }
}
