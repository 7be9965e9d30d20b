//! What the models share: a small table, its operations as functions of numbers, and the runner.
//!
//! `README.md` lists the protocols, their files, and the mutation that each model must catch. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p loom-tests --release`; without the flag this package is empty.
#![cfg(loom)]

use loom::sync::Arc;
use ringdb::base::hash::{Key, KeyHasher};
use ringdb::table::{Change, Entry, Guard, Kind, NewEntry, Participant, Payload, Source, Table};

/// Runs `f` under every interleaving with at most `preemptions` forced switches (LOOM_MAX_PREEMPTIONS overrides).
pub fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.max_branches = 100_000;
    builder.check(f);
}

/// A table of one shard and one group of two slots, with keys whose place is known.
pub struct Small {
    pub table: Table,
    hasher: KeyHasher,
    names: Vec<String>,
}

impl Small {
    /// Keys 0, 2, 4 … have hash bit 0 clear and 1, 3, 5 … have it set: a growth to two groups separates them.
    pub fn new() -> Arc<Small> {
        ringdb::table::reclaim::bury();
        let hasher = KeyHasher::seeded(1);
        let of_class = |class: u64| {
            let hasher = hasher.clone();
            (0..).map(|n| format!("k{n}")).filter(move |name| hasher.hash(name.as_bytes()) & 1 == class)
        };
        let names = of_class(0).zip(of_class(1)).take(3).flat_map(|(even, odd)| [even, odd]).collect();
        Arc::new(Small { table: Table::new(hasher.clone()), hasher, names })
    }
    pub fn key(&self, n: usize) -> Key<'_> {
        Key::new(&self.hasher, self.names[n].as_bytes())
    }
    pub fn put(&self, n: usize, value: i64) -> Change {
        Change::Put(NewEntry::new(Kind(1), self.names[n].as_bytes(), None, 0, Source::Inline(&value.to_le_bytes())))
    }
    pub fn put_counter(&self, n: usize, value: i64) -> Change {
        Change::Put(NewEntry::new(Kind(0), self.names[n].as_bytes(), None, 0, Source::Cell(value)))
    }
    /// GET
    pub fn get(&self, n: usize) -> Option<i64> {
        let seat = Participant::new();
        let guard = seat.pin();
        self.table.get(self.key(n), &guard).map(value)
    }
    /// SETNX: did it insert?
    pub fn setnx(&self, n: usize, value: i64) -> bool {
        self.update(n, |old| if old.is_some() { (Change::Keep, false) } else { (self.put(n, value), true) })
    }
    /// SET: the old value.
    pub fn set(&self, n: usize, to: i64) -> Option<i64> {
        self.update(n, |old| (self.put(n, to), old.map(value)))
    }
    /// GETDEL
    pub fn getdel(&self, n: usize) -> Option<i64> {
        self.update(n, |old| (Change::Remove, old.map(value)))
    }
    /// INCR, as the command does it: in place, or by replacing a frozen or missing counter.
    pub fn incr(&self, n: usize) -> i64 {
        let seat = Participant::new();
        let guard = seat.pin();
        if let Some(Ok(sum)) = self.table.get(self.key(n), &guard).map(|entry| entry.cell_add(1)) {
            return sum;
        }
        self.table.update(self.key(n), &guard, |old| {
            let sum = old.map_or(0, value) + 1;
            (self.put_counter(n, sum), sum)
        })
    }
    pub fn update<R>(&self, n: usize, mut f: impl FnMut(Option<Entry<'_>>) -> (Change, R)) -> R {
        let seat = Participant::new();
        let guard = seat.pin();
        self.table.update(self.key(n), &guard, |old| f(old))
    }
    /// MSET of several keys to one value.
    pub fn mset(&self, keys: &[usize], to: i64) {
        let seat = Participant::new();
        let guard = seat.pin();
        let pairs: Vec<_> = keys.iter().map(|&n| (&self.table, self.key(n))).collect();
        ringdb::table::transact(&pairs, &guard, |txn| {
            for (i, &n) in keys.iter().enumerate() {
                txn.decide(i, self.put(n, to));
            }
        });
    }
    /// MGET
    pub fn mget(&self, keys: &[usize]) -> Vec<Option<i64>> {
        let seat = Participant::new();
        let guard = seat.pin();
        let keys: Vec<_> = keys.iter().map(|&n| self.key(n)).collect();
        ringdb::table::snapshot(&self.table, &keys, &guard, |found| found.iter().map(|e| e.map(value)).collect())
    }
    /// Grows (or shrinks) the table by one step, helping like any writer.
    pub fn resize(&self, grow: bool) {
        let seat = Participant::new();
        let guard = seat.pin();
        self.table.resize_all(grow, &guard);
    }
    /// How many entries a quiet scan finds for key `n`: more than one would be a duplicate.
    pub fn copies(&self, n: usize) -> usize {
        let seat = Participant::new();
        let guard: Guard<'_> = seat.pin();
        let mut copies = 0;
        self.table.scan_all(&guard, |entry| copies += (entry.key() == self.names[n].as_bytes()) as usize);
        copies
    }
}

/// The number an entry holds.
pub fn value(entry: Entry<'_>) -> i64 {
    match entry.payload() {
        Payload::Cell(value) => value,
        Payload::Inline(bytes) => i64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        Payload::Blob(_) => unreachable!("no blobs in models"),
    }
}
