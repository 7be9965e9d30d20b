//! Sets of every form against a `BTreeSet`: seeded events with members that are integers or not, short or long, and limits
//! that force each form; set operations; and that random choices are even.

#![forbid(unsafe_code)]

use super::*;
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeSet<Vec<u8>>;

fn limits(prng: &mut Prng) -> Limits {
    match prng.below(3) {
        0 => Limits { ints: 512, pack: 128, member_len: 64 },
        1 => Limits { ints: prng.below(8) as usize, pack: prng.below(8) as usize, member_len: prng.below(20) as usize },
        _ => Limits { ints: 0, pack: 0, member_len: 64 },
    }
}

fn member(prng: &mut Prng) -> Vec<u8> {
    match prng.below(10) {
        0..6 => (prng.next_u64() as i64 >> 57).to_string().into_bytes(),
        6 => (prng.next_u64() as i64).to_string().into_bytes(),
        7 => format!("{:0width$}", prng.below(9), width = prng.below(70) as usize).into_bytes(),
        _ => format!("m{}", prng.below(60)).into_bytes(),
    }
}

fn members_of(set: &Set) -> Model {
    let mut members = Model::new();
    set.for_each(|member| assert!(members.insert(member.to_vec()), "no member twice"));
    members
}

fn random_set(prng: &mut Prng) -> (Set, Model) {
    let limits = limits(prng);
    let (mut set, mut model) = (Set::default(), Model::new());
    for _ in 0..prng.below(60) {
        let member = member(prng);
        assert_eq!(set.add(&member, &limits), model.insert(member));
    }
    (set, model)
}

#[test]
fn members_are_those_of_a_model() {
    for seed in 0..150 {
        let mut prng = Prng::seeded(seed);
        let limits = limits(&mut prng);
        let (mut set, mut model) = (Set::default(), Model::new());
        for _ in 0..400 {
            let member = member(&mut prng);
            match prng.below(12) {
                0..6 => assert_eq!(set.add(&member, &limits), model.insert(member), "seed {seed}"),
                6..8 => assert_eq!(set.remove(&member), model.remove(&member), "seed {seed}"),
                8 => assert_eq!(set.contains(&member), model.contains(&member), "seed {seed}"),
                9 => {
                    let mut taken = None;
                    assert_eq!(set.pop_random(&mut prng, |member| taken = Some(member.to_vec())), !model.is_empty());
                    assert!(taken.is_none_or(|taken| model.remove(&taken)), "seed {seed}");
                }
                10 => {
                    let random = set.random(&mut prng).map(Piece::to_vec);
                    assert_eq!(random.is_some(), !model.is_empty());
                    assert!(random.is_none_or(|random| model.contains(&random)), "seed {seed}");
                }
                _ if prng.chance(1, 20) => {
                    set.expect(prng.below(20) as usize, &limits);
                    set.duplicate().clear();
                }
                _ => {}
            }
            assert_eq!((set.count(), set.is_empty()), (model.len(), model.is_empty()), "seed {seed}");
        }
        assert_eq!(members_of(&set.duplicate()), model, "seed {seed}");
        let (mut scanned, mut cursor) = (Model::new(), 0);
        loop {
            cursor = set.scan(cursor, |member| {
                scanned.insert(member.to_vec());
            });
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned, model, "seed {seed}");
    }
}

#[test]
fn set_operations_are_those_of_a_model() {
    for seed in 0..200 {
        let mut prng = Prng::seeded(seed);
        let made: Vec<(Set, Model)> = (0..1 + prng.below(4)).map(|_| random_set(&mut prng)).collect();
        let mut sets: Vec<&Set> = made.iter().map(|(set, _)| set).collect();
        let mut models: Vec<&Model> = made.iter().map(|(_, model)| model).collect();
        if prng.chance(1, 4) {
            let again = prng.below(made.len() as u64) as usize;
            sets.push(&made[again].0);
            models.push(&made[again].1);
        }
        let check = |found: Found<'_>, expected: Model, what: &str| {
            let members: Model = found.iter().map(|member| member.to_vec()).collect();
            assert_eq!((found.len(), members), (expected.len(), expected), "{what}, seed {seed}");
        };
        let others = &models[1..];
        let in_all = models[0].iter().filter(|member| others.iter().all(|model| model.contains(*member)));
        let in_all: Model = in_all.cloned().collect();
        let limits = limits(&mut prng);
        let found = Set::intersection(&sets, usize::MAX);
        assert_eq!(members_of(&Set::of(&found, &limits)), in_all, "seed {seed}");
        assert_eq!(members_of(&Set::of_intersection(&found, sets[0], &limits)), in_all, "seed {seed}");
        let few = prng.below(5) as usize;
        assert_eq!(Set::intersection(&sets, few).len(), in_all.len().min(few));
        check(found, in_all, "intersection");
        check(Set::union(&sets), models.iter().flat_map(|model| model.iter().cloned()).collect(), "union");
        let only_first = models[0].iter().filter(|member| !others.iter().any(|model| model.contains(*member)));
        check(sets[0].difference(&sets[1..]), only_first.cloned().collect(), "difference");
    }
}

/// How often each member was chosen, in the order of the members; all of them were.
fn shares(chosen: &BTreeMap<Vec<u8>, u32>, count: usize) -> Vec<u32> {
    assert_eq!(chosen.len(), count, "each member was chosen at least once");
    chosen.values().copied().collect()
}

#[test]
fn every_member_is_as_likely_as_the_others() {
    let few = Limits { ints: 512, pack: 128, member_len: 64 };
    let none = Limits { ints: 0, pack: 0, member_len: 0 };
    for (prefix, limits) in [("", few), ("m", few), ("m", none)] {
        let mut prng = Prng::seeded(11);
        let mut set = Set::default();
        for number in 0..100 {
            set.add(format!("{prefix}{number}").as_bytes(), &limits);
        }
        let (mut one, mut sampled, mut popped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for _ in 0..4000 {
            let note = |map: &mut BTreeMap<Vec<u8>, u32>, member: Piece<'_>| {
                *map.entry(member.to_vec()).or_default() += 1;
            };
            set.random(&mut prng).into_iter().for_each(|member| note(&mut one, member));
            set.sample(1, &mut prng, |member| note(&mut sampled, member));
            let mut copy = set.duplicate();
            copy.pop_random(&mut prng, |member| note(&mut popped, member));
            assert_eq!(copy.count(), 99);
        }
        for chosen in [one, sampled, popped] {
            // 40 each on the average; the seed is fixed, so this is not a matter of luck.
            let square = |share: &u32| (*share as f64 - 40.0).powi(2) / 40.0;
            let chi_square: f64 = shares(&chosen, 100).iter().map(square).sum();
            assert!(chi_square < 155.0, "{} {chi_square}", set.encoding());
        }
    }
}
