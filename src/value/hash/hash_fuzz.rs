//! Seeded events on a hash against a map of values and deadlines, in every encoding and across the changes between them.

#![forbid(unsafe_code)]

use super::{Deadline, Hash, Limits};
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use crate::value::object::Collection;
use crate::value::pack::Piece;
use std::collections::BTreeMap;

/// Values and deadlines; what is past its deadline stays until it is purged.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<WallMs>)>;

fn living(model: &Model, now: WallMs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let living = model.iter().filter(|(_, (_, deadline))| deadline.is_none_or(|at| at > now));
    living.map(|(name, (value, _))| (name.clone(), value.clone())).collect()
}

fn contents(hash: &Hash, now: WallMs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    hash.for_each(now, |name, value| assert!(found.insert(name.to_vec(), value.to_vec()).is_none()));
    found
}

/// One event on both.
fn step(hash: &mut Hash, model: &mut Model, now: WallMs, limits: Limits, name_count: u64, prng: &mut Prng) {
    let name = match prng.below(name_count) {
        number if number % 2 == 0 => number.to_string().into_bytes(),
        number => format!("name:{number}").into_bytes(),
    };
    let is_there = living(model, now).contains_key(&name);
    match prng.below(12) {
        0..4 => {
            let value = prng.next_u64() >> prng.below(64);
            let value = if prng.chance(1, 2) { value.to_string() } else { format!("v{value}") }.into_bytes();
            let keep = if prng.chance(1, 2) { Deadline::Keep } else { Deadline::Clear };
            assert_eq!(hash.set(&name, &value, keep, limits, now), !is_there);
            let old = model.get(&name).and_then(|(_, deadline)| *deadline);
            let deadline = old.filter(|_| is_there && keep == Deadline::Keep);
            model.insert(name, (value, deadline));
        }
        4..6 => {
            assert_eq!(hash.remove(&name, now), is_there);
            model.remove(&name);
        }
        6..9 if is_there => {
            let deadline = prng.chance(3, 4).then(|| WallMs(now.0 + 1 + prng.below(300)));
            hash.set_deadline(&name, deadline);
            model.entry(name).and_modify(|(_, old)| *old = deadline);
        }
        9 => {
            let max = 1 + prng.below(10) as usize;
            let due = model.values().filter(|(_, deadline)| deadline.is_some_and(|at| at <= now)).count();
            let removed = hash.purge(now, max, &mut |_| ());
            assert!(removed == due || hash.is_table() && removed == max.min(due), "{removed} of {due} removed");
            if removed == due {
                model.retain(|_, (_, deadline)| deadline.is_none_or(|at| at > now));
            } else {
                // Which ones went is the hash's business: the earliest.
                let mut dead: Vec<_> =
                    model.iter().filter_map(|(name, (_, at))| Some(((*at)?, name.clone()))).collect();
                dead.sort();
                let gone = |name: &[u8]| hash.deadline(name, WallMs(0)).is_none();
                dead.into_iter().filter(|(_, name)| gone(name)).for_each(|(_, name)| _ = model.remove(&name));
            }
        }
        10 => {
            let random = hash.random(now, prng).map(|(name, value)| (name.to_vec(), value.to_vec()));
            let living = living(model, now);
            assert_eq!(random.is_some(), !living.is_empty());
            assert!(random.is_none_or(|(name, value)| living.get(&name) == Some(&value)));
        }
        _ => {
            assert_eq!(hash.get(&name, now).map(Piece::to_vec), living(model, now).remove(&name));
            let deadline = model.get(&name).map(|(_, deadline)| *deadline).filter(|_| is_there);
            assert_eq!(hash.deadline(&name, now), deadline);
        }
    }
}

fn drive(seed: u64, events: usize, limits: Limits, name_count: u64) {
    let mut prng = Prng::seeded(seed);
    let (mut hash, mut model, mut now) = (Hash::default(), Model::new(), WallMs(1000));
    for event in 0..events {
        now.0 += prng.below(4);
        step(&mut hash, &mut model, now, limits, name_count, &mut prng);
        assert_eq!(hash.len(now), living(&model, now).len(), "seed {seed} event {event}");
        assert_eq!(hash.is_empty(), model.is_empty(), "seed {seed} event {event}");
        let earliest = model.values().filter_map(|(_, deadline)| *deadline).min();
        assert_eq!(hash.earliest(), earliest, "seed {seed} event {event}");
        if event % 50 == 0 {
            assert_eq!(contents(&hash, now), living(&model, now), "seed {seed} event {event}");
            hash = hash.duplicate();
        }
    }
}

#[test]
fn random_events_agree_with_a_map_in_every_encoding() {
    for seed in 0..if cfg!(miri) { 1 } else { 15 } {
        let events = if cfg!(miri) { 100 } else { 1200 };
        drive(seed, events, Limits { entries: 512, value_len: 64 }, 20);
        drive(seed, events, Limits { entries: 0, value_len: 64 }, 20);
        drive(seed, events, Limits { entries: 30, value_len: 19 }, 120);
    }
}

#[test]
fn encodings_change_at_the_limits() {
    let limits = Limits { entries: 3, value_len: 5 };
    let now = WallMs(1);
    let mut hash = Hash::default();
    (0..3).for_each(|name| _ = hash.set(&[name], b"12345", Deadline::Clear, limits, now));
    assert_eq!(hash.encoding(), "listpack");
    let mut timed = hash.duplicate();
    timed.set_deadline(&[1], Some(WallMs(5)));
    assert_eq!(timed.encoding(), "listpackex");
    for mut hash in [hash, timed] {
        let mut long = hash.duplicate();
        long.set(&[0], b"123456", Deadline::Clear, limits, now);
        assert_eq!((long.encoding(), long.len(now)), ("hashtable", 3));
        let earliest = hash.earliest();
        hash.set(&[3], b"", Deadline::Clear, limits, now);
        assert_eq!((hash.encoding(), hash.len(now), hash.earliest()), ("hashtable", 4, earliest));
    }
}
