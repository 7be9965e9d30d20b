//! Random changes of a sorted set and of a naive one, a vector that is sorted again after each: they agree in everything
//! that can be asked.

#![forbid(unsafe_code)]

use super::{Change, Cut, Limits, Snapshot, SortedSet};
use crate::base::prng::Prng;
use crate::value::object::Collection;

/// Members in order.
#[derive(Default)]
struct Model(Vec<(f64, Vec<u8>)>);

impl Model {
    fn rank(&self, member: &[u8]) -> Option<usize> {
        self.0.iter().position(|(_, other)| other == member)
    }
    fn put(&mut self, score: f64, member: &[u8]) {
        self.remove(member);
        let at = self.0.partition_point(|(s, m)| *s < score || *s == score && m.as_slice() < member);
        self.0.insert(at, (score, member.to_vec()));
    }
    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.rank(member).map(|rank| self.0.remove(rank).0)
    }
    fn rank_of(&self, cut: Cut<'_>) -> usize {
        self.0.iter().filter(|(score, member)| cut.is_behind(*score, || member)).count()
    }
}

/// What one run draws its members and scores from.
struct Law {
    members: u64,
    scores: u64,
    limits: Limits,
}

const TREE: Limits = Limits { entries: 0, value: 0 };
const PACK: Limits = Limits { entries: usize::MAX, value: usize::MAX };

fn member(prng: &mut Prng, law: &Law) -> Vec<u8> {
    let number = prng.below(law.members);
    match number % 5 {
        0 => number.to_string().into_bytes(),
        1 => vec![b'x'; (number % 90) as usize],
        2 => Vec::from((number * 0x9e37_79b9).to_be_bytes()),
        _ => format!("member:{number}").into_bytes(),
    }
}

/// One score for all, where members are to be cut by their bytes.
fn score(prng: &mut Prng, law: &Law) -> f64 {
    if law.scores == 1 {
        return 0.0;
    }
    match prng.below(20) {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => (prng.below(law.scores) as f64).powi(20) + 0.1,
        3..8 => prng.below(law.scores) as f64 / 7.0,
        _ => prng.below(law.scores) as f64 - 5.0,
    }
}

fn cut<'a>(prng: &mut Prng, law: &Law, member: &'a [u8]) -> Cut<'a> {
    let limit = score(prng, law);
    match prng.below(6) {
        0 => Cut::Start,
        1 => Cut::End,
        2..4 => Cut::BelowScore(limit),
        _ if law.scores == 1 => [Cut::BelowMember(member), Cut::AboveMember(member)][prng.below(2) as usize],
        _ => Cut::AboveScore(limit),
    }
}

fn listed(set: &SortedSet, start: usize, end: usize, reverse: bool) -> Vec<(f64, Vec<u8>)> {
    let mut items = Vec::new();
    set.each(start..end, reverse, |member, score| items.push((score, member.to_vec())));
    items
}

fn compare(set: &SortedSet, model: &Model, prng: &mut Prng, law: &Law) {
    assert_eq!(set.len(), model.0.len());
    let name = member(prng, law);
    let rank = model.rank(&name);
    assert_eq!(set.score(&name), rank.map(|rank| model.0[rank].0));
    assert_eq!(set.rank(&name), rank.map(|rank| (rank, model.0[rank].0)));
    let (from, to) = (cut(prng, law, &name), cut(prng, law, b"member:5"));
    let (first, last) = (model.rank_of(from), model.rank_of(to));
    assert_eq!(set.between(from, to), first.min(last)..last, "{from:?} {to:?}");
    let mut expected = model.0[first.min(last)..last].to_vec();
    assert!(listed(set, first.min(last), last, false) == expected);
    expected.reverse();
    assert!(listed(set, first.min(last), last, true) == expected);
}

fn check_whole(set: &SortedSet, model: &Model) {
    assert!(listed(set, 0, set.len(), false) == model.0);
    if let SortedSet::Tree(large) = set {
        large.check();
    }
}

fn change(set: &mut SortedSet, model: &mut Model, prng: &mut Prng, law: &Law, is_growing: bool) {
    let name = member(prng, law);
    let new = score(prng, law);
    let there = model.rank(&name).map(|rank| model.0[rank].0);
    match prng.below(if is_growing { 12 } else { 20 }) {
        0 => {
            // Only if it is there, and then a little more.
            let more = if law.scores == 1 { 0.0 } else { 0.01 };
            let done = set.set(&name, law.limits, None, |old| Some(old + more));
            assert_eq!(done, Change { old: there, new: there.map(|old| old + more) });
            there.into_iter().for_each(|old| model.put(old + more, &name));
        }
        1 => {
            let done = set.set(&name, law.limits, Some(new), |_| None);
            assert_eq!(done, Change { old: there, new: if there.is_none() { Some(new) } else { None } });
            if there.is_none() {
                model.put(new, &name);
            }
        }
        2..10 => {
            assert_eq!(set.put(&name, law.limits, new), Change { old: there, new: Some(new) });
            model.put(new, &name);
        }
        10..19 => assert_eq!(set.remove(&name), model.remove(&name)),
        _ => {
            let start = prng.below(model.0.len() as u64 + 1) as usize;
            let count = prng.below((model.0.len() - start) as u64 + 1).min(prng.below(30)) as usize;
            let reverse = prng.chance(1, 2);
            let mut taken = Vec::new();
            set.take(start..start + count, reverse, |member, score| taken.push((score, member.to_vec())));
            let mut expected: Vec<_> = model.0.drain(start..start + count).collect();
            if reverse {
                expected.reverse();
            }
            assert!(taken == expected);
        }
    }
}

/// Snapshots of a set, and what they must show.
type Snapshots = Vec<(Snapshot, Vec<(f64, Vec<u8>)>)>;

/// Takes a snapshot of a part, and reads or forgets older ones, some of them only in part.
fn look_back(set: &mut SortedSet, model: &Model, snapshots: &mut Snapshots, prng: &mut Prng) {
    let start = prng.below(model.0.len() as u64 + 1) as usize;
    let end = start + prng.below((model.0.len() - start) as u64 + 1) as usize;
    snapshots.push((set.snapshot(start..end), model.0[start..end].to_vec()));
    while snapshots.len() as u64 > prng.below(6) {
        let (snapshot, expected) = snapshots.swap_remove(prng.below(snapshots.len() as u64) as usize);
        check_snapshot(snapshot, expected, prng);
    }
}

fn check_snapshot(mut snapshot: Snapshot, mut expected: Vec<(f64, Vec<u8>)>, prng: &mut Prng) {
    assert_eq!(snapshot.len(), expected.len());
    for _ in 0..expected.len().min(5) {
        let index = prng.below(expected.len() as u64) as usize;
        snapshot.visit_one(index, |member, score| assert!(expected[index] == (score, member.to_vec())));
    }
    let (reverse, is_short) = (prng.chance(1, 2), prng.chance(1, 4));
    let mut items = Vec::new();
    while snapshot.visit_some(reverse, |member, score| items.push((score, member.to_vec()))) {
        if is_short && prng.chance(1, 2) {
            return;
        }
    }
    if reverse {
        expected.reverse();
    }
    assert!(items == expected);
}

fn run(seed: u64, law: &Law, events: usize) {
    let mut prng = Prng::seeded(seed);
    let (mut set, mut model) = (SortedSet::default(), Model::default());
    let (mut is_growing, mut snapshots) = (true, Snapshots::new());
    for event in 0..events {
        if prng.chance(1, 60) {
            look_back(&mut set, &model, &mut snapshots, &mut prng);
        }
        if prng.chance(1, 3000) {
            set = set.duplicate(); // Snapshots outlive the set that they were taken of.
        }
        if prng.chance(1, 700) {
            is_growing = !is_growing;
        }
        change(&mut set, &mut model, &mut prng, law, is_growing);
        compare(&set, &model, &mut prng, law);
        if event % 50 == 0 {
            check_whole(&set, &model);
        }
    }
    check_whole(&set, &model);
}

#[test]
fn packs_agree_with_the_model() {
    for seed in 0..6 {
        run(seed, &Law { members: 60, scores: if seed % 2 == 0 { 1 } else { 20 }, limits: PACK }, 1500);
    }
}

#[test]
fn trees_agree_with_the_model() {
    for seed in 0..6 {
        let law =
            Law { members: [100, 3000][seed as usize % 2], scores: [1, 7, 100_000][seed as usize % 3], limits: TREE };
        run(seed, &law, 5000);
    }
}

#[test]
fn sets_that_grow_out_of_a_pack_agree_with_the_model() {
    for seed in 0..6 {
        run(seed, &Law { members: 400, scores: 50, limits: Limits { entries: 40, value: 64 } }, 1500);
    }
}

#[test]
fn a_tree_filled_from_either_end_is_full_and_in_order() {
    for direction in [1.0, -1.0] {
        let mut set = SortedSet::default();
        for number in 0..20_000u32 {
            set.put(&number.to_le_bytes(), TREE, number as f64 * direction);
        }
        let SortedSet::Tree(large) = &set else { panic!("a tree") };
        large.check();
        let mut rank = 0;
        set.each(0..20_000, direction < 0.0, |member, _| {
            assert_eq!(member, u32::to_le_bytes(rank));
            rank += 1;
        });
        assert_eq!(rank, 20_000);
        while !set.is_empty() {
            let count = set.len().min(700);
            set.take(0..count, false, |_, _| {});
        }
        assert!(set.is_empty());
    }
}

#[test]
fn many_inner_nodes_split_and_join() {
    let mut prng = Prng::seeded(5);
    let mut set = SortedSet::default();
    let count = 60_000;
    for _ in 0..count {
        let number = prng.next_u64();
        set.put(&number.to_le_bytes(), TREE, (number >> 44) as f64);
    }
    let SortedSet::Tree(large) = &set else { panic!("a tree") };
    large.check();
    while set.len() > 100 {
        let start = prng.below(set.len() as u64 - 50) as usize;
        set.take(start..start + 50, false, |_, _| {});
    }
    let SortedSet::Tree(large) = &set else { panic!("a tree") };
    large.check();
}

#[test]
fn a_scan_meets_everybody_once_and_a_copy_is_equal() {
    use crate::value::object::Collection;
    let mut set = SortedSet::default();
    for number in 0..1000u32 {
        set.put(&number.to_le_bytes(), TREE, 1.5);
    }
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        cursor = set.scan(cursor, |member, score| {
            assert_eq!(score, 1.5);
            seen.push(member.to_vec());
        });
        if cursor == 0 {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 1000);
    let copy = set.duplicate();
    assert!(listed(&copy, 0, 1000, false) == listed(&set, 0, 1000, false));
    assert!(copy.memory(0) > 1000 * 30 && copy.memory(5) > 1000 * 30);
}
