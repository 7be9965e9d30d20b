//! Snapshots of sorted sets are read on some threads while the set changes, and goes, on another one.
//!
//! What is read is compared with what was there. What is read after it was freed, and what is read while it is written, is
//! Miri's to find, with many schedules:
//! `MIRIFLAGS="-Zmiri-many-seeds=0..32 -Zmiri-ignore-leaks" cargo +nightly miri test --lib lent_test`
//! (the thread that frees large things outlives the test).

#![forbid(unsafe_code)]

use super::{Limits, Snapshot, SortedSet};
use crate::base::prng::Prng;

const TREE: Limits = Limits { entries: 0, value: 0 };

/// Members: more than two stretches of them, or more than a leaf.
const COUNT: u64 = if cfg!(miri) { 90 } else { 2000 };

type Pairs = Vec<(Vec<u8>, f64)>;

fn name(number: u64) -> Vec<u8> {
    format!("member:{number}").into_bytes()
}

fn pairs_of(set: &SortedSet, reverse: bool) -> Pairs {
    let mut pairs = Pairs::new();
    set.each(0..set.len(), reverse, |member, score| pairs.push((member.to_vec(), score)));
    pairs
}

fn read(mut snapshot: Snapshot, reverse: bool) -> Pairs {
    let mut pairs = Pairs::new();
    while snapshot.visit_some(reverse, |member, score| pairs.push((member.to_vec(), score))) {}
    pairs
}

/// Changes the set in every way in which a member can move or go.
fn disturb(set: &mut SortedSet, prng: &mut Prng) {
    for _ in 0..COUNT / 3 {
        match prng.below(4) {
            0 => _ = set.remove(&name(prng.below(COUNT))),
            1 => _ = set.put(&name(prng.below(2 * COUNT)), TREE, prng.below(COUNT) as f64),
            2 if set.len() > 2 => {
                let rank = prng.below(set.len() as u64) as usize;
                set.take(rank..rank + 1, false, |_, _| {});
            }
            _ => _ = set.set(&name(prng.below(COUNT)), TREE, None, |score| Some(score + 0.5)),
        }
    }
}

#[test]
fn what_a_snapshot_shows_is_what_was_there_whoever_changes_the_set_meanwhile() {
    for seed in 0..if cfg!(miri) { 2 } else { 60 } {
        let mut prng = Prng::seeded(seed);
        let mut set = SortedSet::default();
        (0..COUNT).for_each(|n| _ = set.put(&name(n), TREE, prng.below(COUNT) as f64));
        std::thread::scope(|scope| {
            let mut readers = Vec::new();
            for reverse in [false, true] {
                let (expected, snapshot) = (pairs_of(&set, reverse), set.snapshot(0..set.len()));
                readers.push((expected, scope.spawn(move || read(snapshot, reverse))));
                disturb(&mut set, &mut prng);
            }
            // One is given up in the midst of it; the set goes under the others.
            let mut given_up = set.snapshot(1..set.len());
            scope.spawn(move || given_up.visit_some(false, |_, _| {}));
            drop(set);
            for (expected, reader) in readers {
                assert!(reader.join().expect("it reads to the end") == expected, "seed {seed}");
            }
        });
    }
}
