//! Seeded events on a hash table against a map, with good hashes and with ones that collide; and the promises of `scan` and
//! `random`.

#![forbid(unsafe_code)]

use super::block::Block;
use super::hash_table::{HashTable, Item};
use crate::base::hash::KeyHasher;
use crate::base::prng::Prng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A key of `KEY_LEN` bytes and a value behind it, hashed with a fixed seed and only the bits of `MASK`.
#[derive(Clone)]
struct Pair<const MASK: u64>(Block);

const KEY_LEN: usize = 6;

impl<const MASK: u64> Item for Pair<MASK> {
    fn key(&self) -> &[u8] {
        &self.0.bytes()[..KEY_LEN]
    }
    fn hash(key: &[u8]) -> u64 {
        static HASHER: LazyLock<KeyHasher> = LazyLock::new(|| KeyHasher::seeded(7));
        HASHER.hash(key) & MASK
    }
    fn address(&self) -> *const u8 {
        self.key().as_ptr()
    }
}

impl<const MASK: u64> Pair<MASK> {
    fn new(key: &[u8], value: &[u8]) -> Self {
        Pair(Block::of(&[key, value]))
    }
    fn value(&self) -> &[u8] {
        &self.0.bytes()[KEY_LEN..]
    }
}

fn name(number: u64) -> Vec<u8> {
    format!("{number:06}").into_bytes()
}

/// Keys and values.
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// All pairs of a snapshot, each of which is visited once.
fn visited<const MASK: u64>(mut snapshot: HashTable<Pair<MASK>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    let mut insert = |item: &Pair<MASK>| assert!(pairs.insert(item.key().to_vec(), item.value().to_vec()).is_none());
    while snapshot.visit_some(&mut insert) {}
    assert!(snapshot.is_empty() && snapshot.iter().next().is_none());
    pairs
}

/// Runs `events` random operations from `seed` on up to `key_count` keys.
fn drive<const MASK: u64>(seed: u64, events: usize, key_count: u64) {
    let mut prng = Prng::seeded(seed);
    let mut table: HashTable<Pair<MASK>> = HashTable::new();
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut is_growing = true;
    let mut snapshots: Vec<(HashTable<Pair<MASK>>, Model)> = Vec::new();
    for event in 0..events {
        if prng.chance(1, key_count) {
            is_growing = !is_growing;
        }
        let key = name(prng.below(key_count));
        match prng.below(10) {
            0..5 if is_growing => {
                let value = prng.next_u64().to_le_bytes();
                let (item, is_new) = table.find_or_insert(&key, || Pair::new(&key, &value));
                assert_eq!(is_new, !model.contains_key(&key), "seed {seed} event {event}");
                if !is_new {
                    *item = Pair::new(&key, &value);
                }
                model.insert(key, value.to_vec());
            }
            0..5 => {
                let removed = table.remove(&key).map(|item| item.value().to_vec());
                assert_eq!(removed, model.remove(&key), "seed {seed} event {event}");
            }
            5 => {
                let found = table.get_mut(&key).map(|item| item.value().to_vec());
                assert_eq!(found.as_ref(), model.get(&key), "seed {seed} event {event}");
            }
            6 if prng.chance(1, 50) => {
                for _ in 0..prng.below(40) {
                    let popped = table.pop().map(|item| item.key().to_vec());
                    assert_eq!(popped.is_none(), model.is_empty());
                    assert!(popped.is_none_or(|key| model.remove(&key).is_some()), "seed {seed} event {event}");
                }
            }
            7 if prng.chance(1, 2) => {
                let popped = table.pop_random(&mut prng).map(|item| item.key().to_vec());
                assert_eq!(popped.is_none(), model.is_empty(), "seed {seed} event {event}");
                assert!(popped.is_none_or(|key| model.remove(&key).is_some()), "seed {seed} event {event}");
            }
            8 if prng.chance(1, 100) => {
                snapshots.push((table.snapshot(), model.clone()));
                if snapshots.len() > prng.below(5) as usize {
                    let (snapshot, model) = snapshots.remove(prng.below(snapshots.len() as u64) as usize);
                    assert_eq!(visited(snapshot), model, "seed {seed} event {event}");
                }
            }
            7 => {
                table.look_ahead(Pair::<MASK>::hash(&key), prng.below(2) as usize);
                let random = table.random(&mut prng).map(|item| item.key().to_vec());
                assert_eq!(random.is_some(), !model.is_empty(), "seed {seed} event {event}");
                assert!(random.is_none_or(|key| model.contains_key(&key)));
            }
            _ => {
                let found = table.get(&key).map(|item| item.value().to_vec());
                assert_eq!(found.as_ref(), model.get(&key), "seed {seed} event {event}");
            }
        }
        assert_eq!(table.len(), model.len(), "seed {seed} event {event}");
    }
    for (snapshot, model) in snapshots {
        assert_eq!(visited(snapshot), model, "seed {seed}");
    }
    for table in [&table, &table.clone()] {
        let all: BTreeMap<_, _> = table.iter().map(|item| (item.key().to_vec(), item.value().to_vec())).collect();
        assert!(all == model && table.iter().count() == model.len(), "seed {seed}");
    }
}

#[test]
fn random_events_agree_with_a_map() {
    let (seeds, events) = if cfg!(miri) { (1, 300) } else { (6, 20_000) };
    for seed in 0..seeds {
        drive::<{ u64::MAX }>(seed, events, 30);
        drive::<{ u64::MAX }>(seed, events, 3000);
        drive::<0xff00_0000_0000_0007>(seed, events, 300);
        drive::<0>(seed, events / 4, 60);
    }
}

/// What is there from the first call to the last is seen, whatever the table does meanwhile.
#[test]
fn a_scan_sees_what_is_there_throughout() {
    for seed in 0..if cfg!(miri) { 1 } else { 60 } {
        let mut prng = Prng::seeded(seed);
        let mut table: HashTable<Pair<{ u64::MAX }>> = HashTable::new();
        let stay_count = 1 + prng.below(300);
        let mut others: Vec<u64> = Vec::new();
        (0..stay_count).for_each(|number| _ = table.find_or_insert(&name(number), || Pair::new(&name(number), b"")));
        let (mut next_other, mut seen, mut cursor) = (stay_count, BTreeSet::new(), 0);
        loop {
            cursor = table.scan(cursor, |item| _ = seen.insert(item.key().to_vec()));
            if cursor == 0 {
                break;
            }
            // Rounds of growth and of shrinking, so that N goes up and down between the calls.
            for _ in 0..prng.below(200) {
                if (seed + next_other / 700).is_multiple_of(2) || others.is_empty() {
                    table.find_or_insert(&name(next_other), || Pair::new(&name(next_other), b""));
                    others.push(next_other);
                } else {
                    let index = prng.below(others.len() as u64) as usize;
                    assert!(table.remove(&name(others.swap_remove(index))).is_some());
                }
                next_other += 1;
            }
        }
        assert!((0..stay_count).all(|number| seen.contains(&name(number))), "seed {seed}");
    }
}

#[test]
fn a_scan_of_a_quiet_table_sees_each_item_once() {
    for count in [0, 1, 13, 100, 5000] {
        let mut table: HashTable<Pair<{ u64::MAX }>> = HashTable::new();
        (0..count).for_each(|number| _ = table.find_or_insert(&name(number), || Pair::new(&name(number), b"")));
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            cursor = table.scan(cursor, |item| seen.push(item.key().to_vec()));
            if cursor == 0 {
                break;
            }
        }
        seen.sort();
        assert!(seen.into_iter().eq((0..count).map(name)), "{count} items");
    }
}

/// Chi-square over all items, with N between two powers of two, where chains differ most; before and after shrinking.
#[test]
fn random_items_are_equally_likely() {
    let mut prng = Prng::seeded(5);
    let mut table: HashTable<Pair<{ u64::MAX }>> = HashTable::new();
    let count = if cfg!(miri) { 30 } else { 1100 };
    (0..2 * count).for_each(|number| _ = table.find_or_insert(&name(number), || Pair::new(&name(number), b"")));
    for left in [2 * count, count, count / 10] {
        (left..2 * count).for_each(|number| _ = table.remove(&name(number)));
        let mut hits = vec![0u64; left as usize];
        let mean = 100;
        for _ in 0..mean * left {
            let item = table.random(&mut prng).expect("not empty");
            let number: usize = std::str::from_utf8(item.key()).expect("text").parse().expect("a number");
            hits[number] += 1;
        }
        let chi: f64 = hits.iter().map(|&hits| (hits as f64 - mean as f64).powi(2) / mean as f64).sum();
        // Mean left - 1, deviation √(2 left); five deviations.
        assert!(chi < left as f64 + 5.0 * (2.0 * left as f64).sqrt(), "{left} items: {chi}");
    }
}

#[test]
fn the_table_itself_takes_few_bytes_per_item_at_any_size() {
    let mut table: HashTable<Pair<{ u64::MAX }>> = HashTable::new();
    let count = if cfg!(miri) { 2000 } else { 60_000 };
    for number in 0..count {
        table.find_or_insert(&name(number), || Pair::new(&name(number), b""));
        if number > 1000 && number % 997 == 0 {
            // Measured: 13.0 to 14.2, and half a segment.
            let each = (table.memory(0) - 4096) as f64 / number as f64;
            assert!(each < 15.0, "{each} bytes with {number} items");
        }
    }
    (0..count).for_each(|number| _ = table.remove(&name(number)));
    assert_eq!(table.memory(0), 0);
}
