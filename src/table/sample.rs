//! Entries for eviction to choose from: those of random groups, or the next ones that a hand comes to.
//!
//! A group is one line, so its entries come together: all lines of a sample are asked for before the first is read, then all
//! entries. Hashing has mixed the keys, so neighbours are as good as strangers.
//!
//! What is to be looked at next is drawn when a sample is shown: its lines are on their way until the next one is asked for.
//!
//! *Random groups.* Shards differ in size by a factor of two, and every group must be as likely as any other: a group is drawn
//! under the widest shard's mask, and drawn again if the shard has no such group. Where what is looked for is rare (few keys,
//! or few with a deadline) drawing would go on for long: then the shards are walked from a random place on, without those
//! whose counts say that they have none.

use super::group::Generation;
use super::reclaim::Guard;
use super::scan::{class_words, emit};
use super::shard::Counts;
use super::word::Word;
use super::{Entry, SHARDS, Table};
use crate::base::prefetch::{prefetch, prefetch_lines};
use crate::base::prng::Prng;
use crate::base::sync::Ordering;
use std::cell::Cell;

/// Draws per group that is looked for, before the shards are walked after all.
const DRAWS_MAX: usize = 8;
/// A table with fewer entries to choose from, per group of its widest shard, is walked.
const SPARSE: usize = SHARDS;

/// Which entries can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Those with a deadline.
    Volatile,
}

impl Wanted {
    /// How many of a table are.
    pub fn count(self, extent: &Extent) -> usize {
        match self {
            Wanted::All => extent.keys,
            Wanted::Volatile => extent.volatile,
        }
    }
}

/// What is known of a table's size. Old knowledge only makes drawing less even.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    pub keys: usize,
    pub volatile: usize,
    /// Groups of the widest shard, as a power of two, and of all shards.
    widest: u32,
    groups: usize,
}

/// Buffers that samples use again, and the groups that were drawn for the next one.
#[derive(Default)]
pub struct Sampler {
    /// Shard and group. If they are of another table or of earlier sizes, they still are groups.
    spots: Vec<(usize, usize)>,
    words: Vec<Word>,
}

/// Where a hand stands that goes round all groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hand {
    shard: usize,
    class: usize,
}

impl Hand {
    /// A hand at a random place.
    pub fn random(prng: &mut Prng) -> Self {
        Hand { shard: prng.below(SHARDS as u64) as usize, class: 0 }
    }
}

/// Classes of a shard that are visited one by one; see `class_words`.
fn class_count(generation: Generation) -> usize {
    let count = generation.group_count();
    generation.next().map_or(count, |next| next.group_count().min(count))
}

impl Table {
    /// Measures the table.
    /// Cost: two lines per shard, some 20 µs.
    pub fn extent(&self) -> Extent {
        let (mut widest, mut groups) = (0, 0);
        for index in 0..SHARDS {
            let log2 = self.shard_at(index).generation().log2();
            widest = log2.max(widest);
            groups += 1 << log2;
        }
        Extent { keys: self.count(), volatile: self.volatile_count(), widest, groups }
    }

    /// Shows about `count` random entries, at least one if there is any that is wanted.
    pub fn sample<'g>(
        &self,
        sampler: &mut Sampler,
        (wanted, count): (Wanted, usize),
        extent: &Extent,
        prng: &mut Prng,
        guard: &'g Guard<'_>,
        mut visit: impl FnMut(Entry<'g>),
    ) {
        let present = wanted.count(extent);
        let seen = Cell::new(0);
        let mut visit = |entry: Entry<'g>| {
            if wanted == Wanted::All || entry.has_deadline() {
                seen.set(seen.get() + 1);
                visit(entry);
            }
        };
        if present >= SPARSE << extent.widest {
            let groups = (count * extent.groups).div_ceil(present);
            if sampler.spots.len() != groups {
                self.draw(sampler, groups, extent, prng);
            }
            self.collect(sampler);
            self.draw(sampler, groups, extent, prng);
            emit(&sampler.words, guard, &mut visit);
        }
        if seen.get() == 0 {
            self.roam(sampler, (wanted, count), prng, guard, visit);
        }
    }

    /// Draws groups and asks for their lines.
    fn draw(&self, sampler: &mut Sampler, groups: usize, extent: &Extent, prng: &mut Prng) {
        sampler.spots.clear();
        for _ in 0..groups * DRAWS_MAX {
            let bits = prng.next_u64() as usize;
            let (shard, group) = (bits & (SHARDS - 1), (bits / SHARDS) & ((1 << extent.widest) - 1));
            let generation = self.shard_at(shard).generation();
            if group < generation.group_count() {
                prefetch(generation.head());
                prefetch(generation.line(group));
                sampler.spots.push((shard, group));
                if sampler.spots.len() == groups {
                    return;
                }
            }
        }
    }

    /// Gathers the words of the groups that were drawn, and asks for what they point to.
    fn collect(&self, sampler: &mut Sampler) {
        let Sampler { spots, words } = sampler;
        words.clear();
        for &(shard, group) in &*spots {
            let generation = self.shard_at(shard).generation();
            class_words(generation, group & (class_count(generation) - 1), words);
        }
        ask_for(words);
    }

    /// Walks from a random place on until `count` entries were seen, or all shards.
    fn roam<'g>(
        &self,
        sampler: &mut Sampler,
        (wanted, count): (Wanted, usize),
        prng: &mut Prng,
        guard: &'g Guard<'_>,
        mut visit: impl FnMut(Entry<'g>),
    ) {
        let has_any = |counts: &Counts| match wanted {
            Wanted::All => counts.keys.load(Ordering::Relaxed) > 0,
            Wanted::Volatile => counts.volatile.load(Ordering::Relaxed) > 0,
        };
        let (start, mut seen) = (prng.below(SHARDS as u64) as usize, 0);
        for shard in (start..SHARDS).chain(0..start).filter(|&shard| has_any(&self.counts[shard])) {
            let classes = class_count(self.shard_at(shard).generation());
            let first = prng.below(classes as u64) as usize;
            for class in (first..classes).chain(0..first) {
                let words = &mut sampler.words;
                words.clear();
                let generation = self.shard_at(shard).generation();
                class_words(generation, class & (class_count(generation) - 1), words);
                ask_for(words);
                emit(words, guard, &mut |entry: Entry<'g>| {
                    seen += (wanted == Wanted::All || entry.has_deadline()) as usize;
                    visit(entry);
                });
                if seen >= count {
                    return;
                }
            }
        }
    }

    /// Shows the next entries that the hand comes to: at least `count` of them, unless it has gone round.
    pub fn sweep<'g>(
        &self,
        sampler: &mut Sampler,
        hand: &mut Hand,
        count: usize,
        guard: &'g Guard<'_>,
        mut visit: impl FnMut(Entry<'g>),
    ) {
        let words = &mut sampler.words;
        words.clear();
        let mut shards_left = SHARDS + 1;
        while words.len() < count && shards_left > 0 {
            let generation = self.shard_at(hand.shard).generation();
            let is_empty = self.counts[hand.shard].keys.load(Ordering::Relaxed) <= 0;
            if is_empty || hand.class >= class_count(generation) {
                *hand = Hand { shard: (hand.shard + 1) & (SHARDS - 1), class: 0 };
                shards_left -= 1;
                continue;
            }
            class_words(generation, hand.class, words);
            hand.class += 1;
        }
        ask_for(words);
        self.ask_ahead(*hand);
        emit(words, guard, &mut visit);
    }

    /// Asks for the groups that the hand comes to next: the rest of its shard, or the head of the next one.
    fn ask_ahead(&self, hand: Hand) {
        let generation = self.shard_at(hand.shard).generation();
        let count = generation.group_count();
        (hand.class..count.min(hand.class + AHEAD)).for_each(|group| prefetch(generation.line(group)));
        if hand.class + AHEAD > count {
            let next = self.shard_at((hand.shard + 1) & (SHARDS - 1)).generation();
            prefetch(next.head());
            prefetch(next.line(0));
            prefetch(&raw const self.counts[(hand.shard + 1) & (SHARDS - 1)]);
        }
    }
}

/// Groups that a hand asks for ahead of itself: those of its next move.
const AHEAD: usize = 12;

/// Prefetches what the words point to.
fn ask_for(words: &[Word]) {
    words.iter().for_each(|word| prefetch_lines(word.pointer::<u8>(), 1));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::clock::WallMs;
    use crate::base::hash::{Key, KeyHasher};
    use crate::table::{Change, Kind, NewEntry, Participant, Source};
    use std::collections::HashMap;

    fn put(table: &Table, guard: &Guard<'_>, name: &str, deadline: Option<WallMs>) {
        let key = Key::new(&table.hasher, name.as_bytes());
        let new = |key: &[u8]| NewEntry::new(Kind(0), key, deadline, 0, Source::Inline(b"v"));
        table.update(key, guard, |_| (Change::Put(new(key.bytes)), ()));
    }

    /// How often each key was shown in so many samples of 5.
    fn shown(table: &Table, guard: &Guard<'_>, wanted: Wanted, samples: usize) -> HashMap<Vec<u8>, usize> {
        let (mut sampler, mut prng, extent) = (Sampler::default(), Prng::seeded(7), table.extent());
        let mut shown = HashMap::new();
        for _ in 0..samples {
            let mut any = false;
            table.sample(&mut sampler, (wanted, 5), &extent, &mut prng, guard, |entry| {
                any = true;
                assert!(wanted == Wanted::All || entry.has_deadline());
                *shown.entry(entry.key().to_vec()).or_default() += 1;
            });
            assert!(any, "a sample is never empty while there is something to show");
        }
        shown
    }

    #[test]
    fn every_key_is_about_as_likely_as_any_other() {
        let (seat, table) = (Participant::new(), Table::new(KeyHasher::seeded(5)));
        let guard = seat.pin();
        let count = 20_000;
        (0..count).for_each(|n| put(&table, &guard, &format!("key:{n}"), None));
        let shown = shown(&table, &guard, Wanted::All, 40_000);
        let all: usize = shown.values().sum();
        let (mean, most) = (all as f64 / count as f64, *shown.values().max().unwrap() as f64);
        assert!(shown.len() > count * 99 / 100, "{} of {count} were shown", shown.len());
        assert!(most < mean * 4.0, "one of them {most} times, {mean} on average");
    }

    #[test]
    fn a_few_keys_and_a_few_with_deadlines_are_found() {
        let (seat, table) = (Participant::new(), Table::new(KeyHasher::seeded(5)));
        let guard = seat.pin();
        (0..3).for_each(|n| put(&table, &guard, &format!("few:{n}"), None));
        assert_eq!(shown(&table, &guard, Wanted::All, 200).len(), 3);
        (0..30_000).for_each(|n| put(&table, &guard, &format!("many:{n}"), None));
        (0..4).for_each(|n| put(&table, &guard, &format!("volatile:{n}"), Some(WallMs(9))));
        assert_eq!(shown(&table, &guard, Wanted::Volatile, 200).len(), 4);
    }

    #[test]
    fn a_hand_shows_every_key_once_per_round() {
        let (seat, table) = (Participant::new(), Table::new(KeyHasher::seeded(5)));
        let guard = seat.pin();
        let mut sampler = Sampler::default();
        let mut hand = Hand::random(&mut Prng::seeded(3));
        table.sweep(&mut sampler, &mut hand, 8, &guard, |_| panic!("there is nothing"));
        (0..5000).for_each(|n| put(&table, &guard, &format!("key:{n}"), None));
        let mut shown: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut total = 0;
        while total < 5000 {
            table.sweep(&mut sampler, &mut hand, 8, &guard, |entry| {
                *shown.entry(entry.key().to_vec()).or_default() += 1;
                total += 1;
            });
        }
        assert!(shown.len() >= 4990 && total < 5100, "{} in {total}", shown.len());
    }
}
