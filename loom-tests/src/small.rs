//! A table of one shard and one group of two slots, with keys whose place is known, and commands on it.

use ringdb::base::clock::WallMs;
use ringdb::base::hash::{Key, KeyHasher};
use ringdb::table::{Change, Entry, Guard, Kind, NewEntry, Participant, Payload, Source, Table};
use std::sync::Arc;

/// See the module header. Each operation has a guard of its own, as if it were a turn.
pub struct Small {
    pub table: Table,
    hasher: KeyHasher,
    names: Vec<String>,
}

impl Small {
    /// Keys 0, 2, 4 have hash bit 0 clear and 1, 3, 5 have it set: a growth to two groups separates them.
    pub fn new() -> Arc<Small> {
        let hasher = KeyHasher::seeded(1);
        Arc::new(Small { table: Table::new(hasher.clone()), names: names(&hasher), hasher })
    }
    /// The same with keys present: key n holds n.
    pub fn with(keys: &[usize]) -> Arc<Small> {
        let small = Small::new();
        for &n in keys {
            small.set(n, n as i64);
        }
        small
    }
    /// The same with retired memory freed as early as the rules of reclamation allow.
    pub fn reclaiming(keys: &[usize]) -> Arc<Small> {
        let small = Small::with(keys);
        ringdb::table::reclaim::bury_at_once();
        small
    }
    pub fn key(&self, n: usize) -> Key<'_> {
        Key::new(&self.hasher, self.names[n].as_bytes())
    }
    /// Runs a command under a guard.
    pub fn turn<R>(&self, f: impl FnOnce(&Table, &Guard<'_>) -> R) -> R {
        let seat = Participant::new();
        let guard = seat.pin();
        f(&self.table, &guard)
    }
    pub fn entry(&self, n: usize, deadline: Option<u64>, source: Source<'_>) -> Change {
        let kind = Kind(!matches!(source, Source::Cell(_)) as u8);
        Change::Put(NewEntry::new(kind, self.names[n].as_bytes(), deadline.map(WallMs), 0, source))
    }
    pub fn put(&self, n: usize, value: i64) -> Change {
        self.entry(n, None, Source::Inline(&value.to_le_bytes()))
    }
    pub fn put_counter(&self, n: usize, value: i64) -> Change {
        self.entry(n, None, Source::Cell(value))
    }
    pub fn update<R>(&self, n: usize, mut f: impl FnMut(Option<Entry<'_>>) -> (Change, R)) -> R {
        self.turn(|table, guard| table.update(self.key(n), guard, |old| f(old)))
    }

    /// GET
    pub fn get(&self, n: usize) -> Option<i64> {
        self.turn(|table, guard| table.get(self.key(n), guard).map(value))
    }
    /// SETNX: did it insert?
    pub fn setnx(&self, n: usize, value: i64) -> bool {
        self.update(n, |old| if old.is_some() { (Change::Keep, false) } else { (self.put(n, value), true) })
    }
    /// SET: the old value.
    pub fn set(&self, n: usize, to: i64) -> Option<i64> {
        self.update(n, |old| (self.put(n, to), old.map(value)))
    }
    /// SET of a counter.
    pub fn set_counter(&self, n: usize, to: i64) {
        self.update(n, |_| (self.put_counter(n, to), ()));
    }
    /// SET with a deadline.
    pub fn set_until(&self, n: usize, to: i64, deadline: u64) {
        self.update(n, |_| (self.entry(n, Some(deadline), Source::Inline(&to.to_le_bytes())), ()));
    }
    /// GETDEL
    pub fn getdel(&self, n: usize) -> Option<i64> {
        self.update(n, |old| (Change::Remove, old.map(value)))
    }
    /// INCRBY, as the command does it: in place, or by replacing a frozen or missing counter.
    pub fn add(&self, n: usize, delta: i64) -> i64 {
        let in_place = |table: &Table, guard: &Guard<'_>| table.get(self.key(n), guard)?.cell_add(delta).ok();
        self.turn(in_place).unwrap_or_else(|| {
            self.update(n, |old| {
                let sum = old.map_or(0, value) + delta;
                (self.put_counter(n, sum), sum)
            })
        })
    }
    /// PEXPIREAT, as the command does it: in place, or by replacing. False: no such key.
    pub fn expire_at(&self, n: usize, deadline: u64) -> bool {
        let in_place = |table: &Table, guard: &Guard<'_>| {
            let entry = table.get(self.key(n), guard)?;
            entry.move_deadline(entry.expires_at()?, WallMs(deadline)).then_some(true)
        };
        self.turn(in_place).unwrap_or_else(|| {
            self.update(n, |old| match old {
                Some(old) => (self.entry(n, Some(deadline), Source::Inline(&value(old).to_le_bytes())), true),
                None => (Change::Keep, false),
            })
        })
    }
    /// The deadline of a key that is there.
    pub fn deadline(&self, n: usize) -> Option<u64> {
        self.turn(|table, guard| Some(table.get(self.key(n), guard)?.expires_at()?.0))
    }
    /// What lazy and active expiry do: removes the key if it is past its deadline.
    pub fn remove_if_dead(&self, n: usize, now: u64) -> bool {
        self.update(n, |old| match old.and_then(Entry::expires_at) {
            Some(deadline) if deadline <= WallMs(now) => (Change::Remove, true),
            _ => (Change::Keep, false),
        })
    }
    /// MSET of several keys to one value.
    pub fn mset(&self, keys: &[usize], to: i64) {
        self.turn(|table, guard| {
            let pairs: Vec<_> = keys.iter().map(|&n| (table, self.key(n))).collect();
            ringdb::table::transact(&pairs, guard, |txn| {
                for (i, &n) in keys.iter().enumerate() {
                    txn.decide(i, self.put(n, to));
                }
            });
        });
    }
    /// RENAME of a counter. False: no such key.
    pub fn rename(&self, from: usize, to: usize) -> bool {
        self.turn(|table, guard| {
            let pairs = [(table, self.key(from)), (table, self.key(to))];
            ringdb::table::transact(&pairs, guard, |txn| {
                let Some(old) = txn.old(0) else { return false };
                txn.decide(0, Change::Remove);
                txn.decide(1, self.put_counter(to, value(old)));
                true
            })
        })
    }
    /// What `read` says of several keys at one instant.
    pub fn snapshot<T>(&self, keys: &[usize], read: impl Fn(Entry<'_>) -> T) -> Vec<Option<T>> {
        self.turn(|table, guard| {
            let keys: Vec<_> = keys.iter().map(|&n| self.key(n)).collect();
            ringdb::table::snapshot(table, &keys, guard, |found| found.iter().map(|e| e.map(&read)).collect())
        })
    }
    /// MGET
    pub fn mget(&self, keys: &[usize]) -> Vec<Option<i64>> {
        self.snapshot(keys, value)
    }
    /// Grows (or shrinks) the table by one step, helping like any writer.
    pub fn resize(&self, grow: bool) {
        self.turn(|table, guard| table.resize_all(grow, guard));
    }
    /// How many entries a scan finds for key `n`. While nobody writes, more than one would be a duplicate.
    pub fn copies(&self, n: usize) -> usize {
        let mut copies = 0;
        self.turn(|table, guard| {
            table.scan_all(guard, |entry| copies += (entry.key() == self.names[n].as_bytes()) as usize)
        });
        copies
    }
}

fn names(hasher: &KeyHasher) -> Vec<String> {
    let of_class =
        |class: u64| (0..).map(|n| format!("k{n}")).filter(move |name| hasher.hash(name.as_bytes()) & 1 == class);
    of_class(0).zip(of_class(1)).take(3).flat_map(|(even, odd)| [even, odd]).collect()
}

/// The number an entry holds.
pub fn value(entry: Entry<'_>) -> i64 {
    match entry.payload() {
        Payload::Cell(value) => value,
        Payload::Inline(bytes) => i64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        Payload::Blob(_) => unreachable!("no blobs in models"),
        Payload::Object(_) => unreachable!("no collections here"),
    }
}
