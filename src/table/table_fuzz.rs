//! Seeded events on the table against a naive map, and a stress run with real threads.
//!
//! The single-threaded driver compares every answer with `BTreeMap`; hashes are cut to few bits, so that groups spill,
//! overflow into bundles, and are moved while they do.

use super::*;
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use std::collections::BTreeMap;

fn text(entry: Entry<'_>) -> Vec<u8> {
    match entry.payload() {
        Payload::Inline(bytes) => bytes.to_vec(),
        Payload::Cell(value) => value.to_string().into_bytes(),
        Payload::Blob(blob) => blob.to_vec(),
        Payload::Object(_) => unreachable!("no collections here"),
    }
}

fn put(key: Key<'_>, value: &[u8], ttl: Option<WallMs>) -> Change {
    Change::Put(NewEntry::new(Kind(1), key.bytes, ttl, 0, Source::Inline(value)))
}

/// Runs `events` random operations from `seed` with hashes cut to `mask`.
pub fn drive(seed: u64, events: usize, mask: u64, key_count: u64) {
    let mut prng = Prng::seeded(seed);
    let hasher = KeyHasher::seeded(seed).masked(mask);
    let table = Table::new(hasher.clone());
    let mut model: BTreeMap<Vec<u8>, (Vec<u8>, Option<WallMs>)> = BTreeMap::new();
    let seat = Participant::new();
    for event in 0..events {
        let guard = seat.pin();
        let name = prng.below(key_count).to_string().into_bytes();
        let key = Key::new(&hasher, &name);
        match prng.below(100) {
            0..40 => {
                let value = prng.next_u64().to_string().into_bytes();
                let ttl = prng.chance(1, 3).then(|| WallMs(prng.below(1000)));
                let old = table.update(key, &guard, |old| (put(key, &value, ttl), old.map(text)));
                assert_eq!(old, model.insert(name, (value, ttl)).map(|v| v.0), "seed {seed} event {event}");
            }
            40..65 => {
                let old = table.update(key, &guard, |old| (Change::Remove, old.map(text)));
                assert_eq!(old, model.remove(&name).map(|v| v.0), "seed {seed} event {event}");
            }
            65..90 => {
                let found = table.get(key, &guard).map(text);
                assert_eq!(found.as_ref(), model.get(&name).map(|v| &v.0), "seed {seed} event {event}");
            }
            90..94 => several(&table, &hasher, &mut model, &mut prng, key_count, &guard),
            94..97 => table.resize_shard(Table::shard_index(key.hash), prng.chance(1, 2), &guard),
            _ => assert_eq!(table.count(), model.len(), "seed {seed} event {event}"),
        }
        if event % 64 == 0 {
            guard.flush();
        }
    }
    let guard = seat.pin();
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = table.scan(cursor, 10, &guard, |entry| found.push(entry.key().to_vec()));
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    assert_eq!(found, model.keys().cloned().collect::<Vec<_>>(), "seed {seed}: a quiet scan sees each key once");
    assert_eq!(table.volatile_count(), model.values().filter(|v| v.1.is_some()).count(), "seed {seed}");
    let random = table.random(&mut prng, &guard).map(|entry| entry.key().to_vec());
    assert_eq!(random.is_some(), !model.is_empty());
    assert!(random.is_none_or(|key| model.contains_key(&key)));
}

/// A staged change of three keys (perhaps the same ones) and a snapshot of them.
fn several(
    table: &Table,
    hasher: &KeyHasher,
    model: &mut BTreeMap<Vec<u8>, (Vec<u8>, Option<WallMs>)>,
    prng: &mut Prng,
    key_count: u64,
    guard: &Guard<'_>,
) {
    let names: Vec<Vec<u8>> = (0..3).map(|_| prng.below(key_count).to_string().into_bytes()).collect();
    let keys: Vec<Key<'_>> = names.iter().map(|name| Key::new(hasher, name)).collect();
    let before = snapshot(table, &keys, guard, |found| found.iter().map(|e| e.map(text)).collect::<Vec<_>>());
    let wanted: Vec<_> = names.iter().map(|name| model.get(name).map(|v| v.0.clone())).collect();
    assert_eq!(before, wanted);
    let remove = prng.chance(1, 3);
    let value = prng.next_u64().to_string().into_bytes();
    let pairs: Vec<_> = keys.iter().map(|&key| (table, key)).collect();
    transact(&pairs, guard, |txn| {
        for (i, &key) in keys.iter().enumerate() {
            txn.decide(i, if remove { Change::Remove } else { put(key, &value, None) });
        }
    });
    for name in names {
        if remove {
            model.remove(&name);
        } else {
            model.insert(name, (value.clone(), None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::{AtomicBool, AtomicI64, Ordering};

    #[test]
    fn the_table_agrees_with_a_naive_map() {
        for seed in 0..8 {
            drive(seed, 20_000, u64::MAX, 500);
            drive(seed, 5_000, 0b111, 60); // All keys in few groups of one shard, few tags.
            drive(seed, 5_000, 0, 60); // One hash for all: bundles.
        }
        drive(99, 200_000, u64::MAX, 60_000);
    }

    #[test]
    fn counters_lose_nothing_between_threads_that_also_replace_and_resize() {
        for mask in [u64::MAX, 0b11, 0] {
            let hasher = KeyHasher::seeded(7).masked(mask);
            let table = Table::new(hasher.clone());
            let added = AtomicI64::new(0);
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                for worker in 0..4u64 {
                    let (table, hasher, added) = (&table, &hasher, &added);
                    scope.spawn(move || increment(table, hasher, worker, added));
                }
                let (table, stop) = (&table, &stop);
                let resizer = scope.spawn(move || {
                    let seat = Participant::new();
                    let mut prng = Prng::seeded(1);
                    while !stop.load(Ordering::Relaxed) {
                        let guard = seat.pin();
                        table.resize_all(prng.chance(1, 2), &guard);
                        guard.flush();
                    }
                });
                std::thread::sleep(std::time::Duration::from_millis(1500));
                stop.store(true, Ordering::Relaxed);
                assert!(resizer.join().is_ok());
            });
            let seat = Participant::new();
            let guard = seat.pin();
            let mut left = 0;
            table.scan_all(&guard, |entry| left += text(entry).iter().fold(0, |n, d| n * 10 + (d - b'0') as i64));
            assert_eq!(left, added.load(Ordering::Relaxed), "mask {mask:b}");
        }
    }

    /// Adds to a few counters, takes some away, moves sums between them; reports what it added in all.
    fn increment(table: &Table, hasher: &KeyHasher, worker: u64, added: &AtomicI64) {
        let seat = Participant::new();
        let mut prng = Prng::seeded(worker);
        let mut mine = 0;
        for turn in 0..60_000u64 {
            let guard = seat.pin();
            let names = [format!("c{}", prng.below(30)), format!("c{}", prng.below(30))];
            let key = Key::new(hasher, names[0].as_bytes());
            match prng.below(10) {
                0..6 => {
                    add(table, key, 1, &guard);
                    mine += 1;
                }
                6..8 => {
                    let taken = table.update(key, &guard, |old| (Change::Remove, old.map_or(0, value)));
                    mine -= taken;
                }
                _ => {
                    let other = Key::new(hasher, names[1].as_bytes());
                    transact(&[(table, key), (table, other)], &guard, |txn| {
                        if names[0] != names[1] {
                            let sum = txn.old(0).map_or(0, value) + txn.old(1).map_or(0, value);
                            txn.decide(0, Change::Remove);
                            txn.decide(1, cell(other, sum));
                        }
                    });
                }
            }
            if turn % 32 == 0 {
                guard.flush();
            }
        }
        added.fetch_add(mine, Ordering::Relaxed);
    }

    fn value(entry: Entry<'_>) -> i64 {
        if let Payload::Cell(value) = entry.payload() { value } else { unreachable!("only counters here") }
    }

    fn cell(key: Key<'_>, value: i64) -> Change {
        Change::Put(NewEntry::new(Kind(0), key.bytes, None, 0, Source::Cell(value)))
    }

    fn add(table: &Table, key: Key<'_>, delta: i64, guard: &Guard<'_>) {
        if let Some(Ok(_)) = table.get(key, guard).map(|entry| entry.cell_add(delta)) {
            return;
        }
        table.update(key, guard, |old| (cell(key, old.map_or(0, value) + delta), ()));
    }
}

/// Groups that are full for good.
fn full_groups(table: &Table) -> usize {
    let heads = |generation: group::Generation| {
        let head = move |group| group::GroupHead(generation.line(group).head.load(Ordering::Relaxed));
        (0..generation.group_count()).map(head)
    };
    let generations = |index| std::iter::successors(Some(table.shard_at(index).generation()), |it| it.next());
    (0..SHARDS).flat_map(generations).flat_map(heads).filter(|head| head.overflow().is_some()).count()
}

#[test]
fn groups_are_not_full_for_good_at_any_size() {
    let hasher = KeyHasher::seeded(7);
    let table = Table::new(hasher.clone());
    let seat = Participant::new();
    for number in 0..300_000_u64 {
        let (guard, name) = (seat.pin(), number.to_le_bytes());
        let key = Key::new(&hasher, &name);
        table.update(key, &guard, |_| (put(key, b"", None), ()));
        if number % 10_000 == 0 {
            assert_eq!(full_groups(&table), 0, "{number} keys");
        }
    }
}

#[test]
fn keys_that_were_expected_find_room() {
    const KEYS: u64 = 300_000;
    let hasher = KeyHasher::seeded(9);
    let seat = Participant::new();
    let sizes = [0, 1, 7].map(|parts| {
        let (table, guard) = (Table::new(hasher.clone()), seat.pin());
        let fill = |numbers: std::ops::Range<u64>| {
            for name in numbers.map(u64::to_le_bytes) {
                let key = Key::new(&hasher, &name);
                table.update(key, &guard, |_| (put(key, b"", None), ()));
            }
        };
        fill(0..1000); // Some were there before.
        (0..parts).for_each(|part| table.make_room(KEYS as usize, part, parts, &guard));
        let before = table.index_bytes(&guard);
        fill(1000..KEYS);
        assert!((0..KEYS).all(|number| table.get(Key::new(&hasher, &number.to_le_bytes()), &guard).is_some()));
        assert_eq!(table.count() as u64, KEYS);
        (before, table.index_bytes(&guard))
    });
    let [(_, grown), ready @ ..] = sizes;
    for (before, after) in ready {
        assert!(before * 10 > after * 9, "{before} of {after} bytes were there before the keys came");
        assert!(after * 10 < grown * 11, "{after} bytes, and {grown} if it grows by itself");
    }
}

#[test]
fn groups_are_not_full_for_good_when_a_command_holds_many_absent_keys() {
    let hasher = KeyHasher::seeded(8);
    let table = Table::new(hasher.clone());
    let seat = Participant::new();
    let names: Vec<[u8; 8]> = (0..100_000_u64).map(u64::to_le_bytes).collect();
    let keys: Vec<(&Table, Key<'_>)> = names.iter().map(|name| (&table, Key::new(&hasher, name))).collect();
    for (round, count) in [0, 100_000, 50_000, 100_000, 0].into_iter().enumerate() {
        let guard = seat.pin();
        transact(&keys, &guard, |txn| {
            for (index, (_, key)) in keys.iter().enumerate() {
                txn.decide(index, if index < count { put(*key, b"", None) } else { Change::Remove });
            }
        });
        assert_eq!((table.count(), full_groups(&table)), (count, 0), "round {round}");
        snapshot(&table, &keys.iter().map(|it| it.1).collect::<Vec<_>>(), &guard, |found| {
            assert_eq!(found.iter().flatten().count(), count);
        });
    }
}
