//! A table of one shard and one group of two slots, with keys whose place is known, and commands on it.

use ringdb::base::clock::WallMs;
use ringdb::base::hash::{Key, KeyHasher};
use ringdb::keyspace::types::{copy_as, new_vacant, with_deadline};
use ringdb::table::{
    Change, Entry, Guard, Held, Kind, Lost, NewEntry, Participant, Payload, Section, Source, Table, Wanted,
};
use ringdb::value::object::{Collection, Exclusive, Value};
use ringdb::value::tally::Tally;
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
    /// LPUSH: the new length.
    pub fn push(&self, n: usize) -> u64 {
        self.turn(|table, guard| self.push_in(table, guard, n))
    }
    fn push_in(&self, table: &Table, guard: &Guard<'_>, n: usize) -> u64 {
        loop {
            if let Some((_, mut lock)) = self.open(table, guard, n) {
                return more(&mut lock);
            }
            let vacant = |old: Option<Entry<'_>>| old.is_none().then(|| new_vacant(Tally::TYPE, self.key(n).bytes, 0));
            if let Some((_, mut lock)) = table.insert_held(self.key(n), guard, vacant) {
                lock.fill(Value::new(Tally(0)));
                return more(&mut lock);
            }
        }
    }
    /// LPOP: was there something? An emptied list takes its key away.
    pub fn pop(&self, n: usize) -> bool {
        self.turn(|table, guard| self.pop_in(table, guard, n))
    }
    fn pop_in(&self, table: &Table, guard: &Guard<'_>, n: usize) -> bool {
        let Some((entry, mut lock)) = self.open(table, guard, n) else { return false };
        tally(&mut lock).0 -= 1;
        if lock.is_empty() {
            table.detach(self.key(n), entry, lock, guard);
        }
        true
    }
    /// LLEN
    pub fn len(&self, n: usize) -> Option<u64> {
        self.turn(|table, guard| self.len_in(table, guard, n))
    }
    fn len_in(&self, table: &Table, guard: &Guard<'_>, n: usize) -> Option<u64> {
        loop {
            let object = table.get(self.key(n), guard)?.object().expect("a collection");
            if let Some(lock) = object.read() {
                return lock.get::<Tally>().map(|tally| tally.0);
            }
        }
    }
    /// MULTI, commands on these keys, EXEC. Like the server it stops everybody, which here is nobody, if the keys are not to
    /// be had: then the commands have not run, and None is returned.
    pub fn exec<R>(&self, keys: &[usize], commands: impl FnOnce(&Inside<'_>) -> R) -> Option<R> {
        self.turn(|table, guard| {
            let pairs: Vec<_> = keys.iter().map(|&n| (table, self.key(n))).collect();
            let inside = Inside { small: self, table, guard };
            let section = Section::begin(&pairs, guard)?;
            let result = commands(&inside);
            drop(section);
            Some(result)
        })
    }
    /// EXISTS: a key that is being taken away is not there any more.
    pub fn exists(&self, n: usize) -> bool {
        self.turn(|table, guard| {
            loop {
                let Some(entry) = table.get(self.key(n), guard) else { return false };
                if entry.object().expect("a collection").settled() {
                    return true;
                }
            }
        })
    }
    /// The entry of a list and its lock; None: no such key.
    fn open<'g>(&self, table: &Table, guard: &'g Guard<'_>, n: usize) -> Option<(Entry<'g>, Exclusive<'g>)> {
        loop {
            let entry = table.get(self.key(n), guard)?;
            if let Some(lock) = entry.object().expect("a collection").write() {
                return Some((entry, lock));
            }
        }
    }
    /// DEL: was it there?
    pub fn del(&self, n: usize) -> bool {
        self.update(n, |old| (Change::Remove, old.is_some()))
    }
    /// RENAME of a list. False: no such key.
    pub fn rename_list(&self, from: usize, to: usize) -> bool {
        self.turn(|table, guard| {
            let pairs = [(table, self.key(from)), (table, self.key(to))];
            ringdb::table::transact(&pairs, guard, |txn| {
                let Some(old) = txn.old(0) else { return false };
                txn.bequeath(0, 1, copy_as(old, self.key(to).bytes, None, 0));
                txn.decide(0, Change::Remove);
                true
            })
        })
    }
    /// EXPIRE of a list, which gives it a new entry. False: no such key.
    pub fn expire_list(&self, n: usize) -> bool {
        self.update(n, |old| match old {
            Some(old) => (Change::Put(with_deadline(old, Some(WallMs(1)))), true),
            None => (Change::Keep, false),
        })
    }
    /// LMOVE: takes one from a list and puts it into another, both at one instant. False: nothing there.
    pub fn lmove(&self, from: usize, to: usize) -> bool {
        self.with_two(from, to, true, |held| {
            if held.entry(0).is_none() {
                return Ok(false);
            }
            if held.entry(1).is_none() {
                held.put(1, Value::new(Tally(0)), |key| new_vacant(Tally::TYPE, key, 0))?;
            }
            held.get_mut::<Tally>(1).expect("a list").0 += 1;
            held.get_mut::<Tally>(0).expect("a list").0 -= 1;
            Ok(true)
        })
    }
    /// The lengths of two lists at one instant.
    pub fn lens(&self, a: usize, b: usize) -> (Option<u64>, Option<u64>) {
        self.with_two(a, b, false, |held| {
            let len = |i| held.get::<Tally>(i).map(|tally| tally.0).filter(|_| held.entry(i).is_some());
            Ok((len(0), len(1)))
        })
    }
    fn with_two<R>(
        &self,
        a: usize,
        b: usize,
        is_write: bool,
        f: impl FnMut(&mut Held<'_, '_>) -> Result<R, Lost>,
    ) -> R {
        self.turn(|table, guard| {
            let wanted = [a, b].map(|n| Wanted { table, key: self.key(n), is_write });
            ringdb::table::hold(&wanted, guard, f)
        })
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

/// Commands of a transaction.
pub struct Inside<'s> {
    small: &'s Small,
    table: &'s Table,
    guard: &'s Guard<'s>,
}

impl Inside<'_> {
    fn update<R>(&self, n: usize, f: impl FnMut(Option<Entry<'_>>) -> (Change, R)) -> R {
        let mut f = f;
        self.table.update(self.small.key(n), self.guard, |old| f(old))
    }
    /// GET
    pub fn get(&self, n: usize) -> Option<i64> {
        self.table.get(self.small.key(n), self.guard).map(value)
    }
    /// SET
    pub fn set(&self, n: usize, to: i64) {
        self.update(n, |_| (self.small.put(n, to), ()));
    }
    /// DEL: was it there?
    pub fn del(&self, n: usize) -> bool {
        self.update(n, |old| (Change::Remove, old.is_some()))
    }
    /// INCRBY
    pub fn add(&self, n: usize, delta: i64) -> i64 {
        let in_place = || self.table.get(self.small.key(n), self.guard)?.cell_add(delta).ok();
        in_place().unwrap_or_else(|| {
            self.update(n, |old| {
                let sum = old.map_or(0, value) + delta;
                (self.small.put_counter(n, sum), sum)
            })
        })
    }
    /// MSET of several keys to one value.
    pub fn mset(&self, keys: &[usize], to: i64) {
        let pairs: Vec<_> = keys.iter().map(|&n| (self.table, self.small.key(n))).collect();
        ringdb::table::transact(&pairs, self.guard, |txn| {
            keys.iter().enumerate().for_each(|(i, &n)| txn.decide(i, self.small.put(n, to)));
        });
    }
    /// LPUSH, LPOP, LLEN
    pub fn push(&self, n: usize) -> u64 {
        self.small.push_in(self.table, self.guard, n)
    }
    pub fn pop(&self, n: usize) -> bool {
        self.small.pop_in(self.table, self.guard, n)
    }
    pub fn len(&self, n: usize) -> Option<u64> {
        self.small.len_in(self.table, self.guard, n)
    }
}

fn tally<'l>(lock: &'l mut Exclusive<'_>) -> &'l mut Tally {
    lock.get_mut::<Tally>().expect("a list")
}

fn more(lock: &mut Exclusive<'_>) -> u64 {
    tally(lock).0 += 1;
    tally(lock).0
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
