//! Walking the table: SCAN's cursor, RANDOMKEY.
//!
//! A cursor is `group << 10 | shard`: shard by shard, and inside a shard by groups in **reversed binary order**, as Redis
//! does it. A group's keys are exactly those whose low hash bits equal its index, and a resize only splits or merges groups
//! that are congruent modulo the smaller size; so incrementing the reversed index visits every class once, whatever the size
//! is at each call. An element that is present during the whole scan is in its group when that group is read: there are no
//! moves inside a generation, and moves between generations are covered by looking at both. Duplicates occur only around a
//! resize. Source of the order: Pieter Noordhuis's `dictScan`.

use super::bundle::Bundle;
use super::group::{GROUP_LINES, Generation, GroupHead, LINE_SLOTS};
use super::reclaim::Guard;
use super::staged::resolved;
use super::word::Word;
use super::{Entry, SHARDS, Table};
use crate::base::mutation::{Mutation, unless};
use crate::base::prng::Prng;
use crate::base::sync::{Ordering, spin};

const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// Below this many keys RANDOMKEY counts through the shards instead of guessing slots.
const SPARSE_COUNT: usize = 16 * SHARDS;

/// Calls `f` for the live words of a group, as of one unchanged head. False if the group has been moved.
fn group_words(generation: Generation, group: usize, words: &mut Vec<Word>) -> bool {
    let home = generation.line(group);
    let start = words.len();
    loop {
        words.truncate(start);
        // Acquire: as in `probe::find`.
        let head = GroupHead(home.head.load(Ordering::Acquire));
        if head.is_moved() {
            return false;
        }
        for number in 0..GROUP_LINES {
            let Some(line) = (if number == 0 { Some(home) } else { generation.spill_line(head, number) }) else {
                break;
            };
            for (i, slot) in line.slots.iter().enumerate() {
                let word = Word(slot.load(Ordering::Acquire));
                let mut single = [Word::EMPTY];
                if !head.is_tried(number * LINE_SLOTS + i) {
                    // SAFETY: loaded under the caller's guard.
                    words.extend(unsafe { Bundle::words_of(word, &mut single) });
                }
            }
        }
        // An unchanged head: no word above belongs to an insert that was not committed.
        if home.head.load(Ordering::Acquire) == head.0 {
            return true;
        }
        spin();
    }
}

/// The live words of all groups that hold keys of class `class`, modulo the smaller of the two generations or modulo
/// `generation`'s size.
pub(super) fn class_words(generation: Generation, class: usize, words: &mut Vec<Word>) {
    let Some(next) = generation.next() else {
        if !group_words(generation, class, words) {
            // A move began and finished between the two loads: the next generation is there now.
            class_words(generation, class, words);
        }
        return;
    };
    let small = generation.group_count().min(next.group_count());
    let mut any_moved = false;
    for group in (class..generation.group_count()).step_by(small) {
        any_moved |= !group_words(generation, group, words);
    }
    if any_moved {
        // `class` may be one of a larger size, from before this move began: its keys are in the class that it folds to.
        let folded = unless(Mutation::ClassNotFolded, class & (small - 1), class);
        for moved in (folded..next.group_count()).step_by(small) {
            if !group_words(next, moved, words) {
                class_words(next, moved, words);
            }
        }
    }
}

/// Every word of a generation that nobody else uses.
pub(super) fn for_each_word(generation: Generation, mut f: impl FnMut(Word)) {
    let mut words = Vec::new();
    for group in 0..generation.group_count() {
        words.clear();
        group_words(generation, group, &mut words);
        words.iter().copied().for_each(&mut f);
    }
}

/// Frees the overflow bundles of a generation that nobody else uses.
pub(super) fn free_bundles(generation: Generation) {
    for group in 0..generation.group_count() {
        let home = generation.line(group);
        if let Some(slot) = GroupHead(home.head.load(Ordering::Relaxed)).overflow() {
            Bundle::discard(Word(home.slots[slot].load(Ordering::Relaxed)).thawed());
        }
    }
}

/// The next class in reversed binary order under a mask of `bits` bits; 0 when all were visited.
fn next_class(class: u64, bits: u32) -> u64 {
    let class = class | !0u64 << bits;
    (class.reverse_bits().wrapping_add(1)).reverse_bits()
}

/// How far a walk over all keys is: the shard, the class in it that is next, and the shard's size so far.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    shard: usize,
    class: u64,
    bits: u32,
}

impl Walk {
    /// A walk that begins with this shard.
    pub fn from_shard(shard: usize) -> Self {
        Walk { shard, class: 0, bits: 0 }
    }
}

/// What a piece of a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// The shard goes on.
    More,
    /// The shard is finished: nothing that was visited so far comes again.
    NextShard,
    /// The shard has shrunk, so that its keys no longer lie where they were counted off: it begins again. What was
    /// visited since the end of the last shard is to be forgotten.
    ShardAgain,
    /// All keys were visited.
    Done,
}

impl Table {
    /// A piece of a walk: about `count` entries of one shard. Unlike a scan a walk shows no key twice, if the caller
    /// forgets what `ShardAgain` takes back, and it may rest between two pieces, without a guard.
    ///
    /// *Why.* A class holds the keys whose low hash bits are equal. While a shard keeps its size or grows, each class
    /// that was visited stays visited, with all classes into which it splits; only when the shard shrinks two classes
    /// become one, of which one half may have been visited. Keys never move from class to class.
    pub fn walk<'g>(
        &self,
        walk: &mut Walk,
        count: usize,
        guard: &'g Guard<'_>,
        mut visit: impl FnMut(Entry<'g>),
    ) -> Walked {
        let (mut words, mut seen) = (Vec::new(), 0);
        while seen < count {
            let bits = self.read_class(walk, &mut words);
            if bits < walk.bits {
                *walk = Walk { shard: walk.shard, class: 0, bits };
                return Walked::ShardAgain;
            }
            walk.bits = bits;
            emit(&words, guard, &mut visit);
            seen += words.len() + 1; // An empty class is work, too.
            walk.class = next_class(walk.class & ((1 << bits) - 1), bits);
            if walk.class == 0 {
                *walk = Walk { shard: walk.shard + 1, class: 0, bits: 0 };
                return if walk.shard == SHARDS { Walked::Done } else { Walked::NextShard };
            }
        }
        Walked::More
    }

    /// Reads the live words of the walk's class while the shard keeps its size; returns the size, as a number of bits.
    fn read_class(&self, walk: &Walk, words: &mut Vec<Word>) -> u32 {
        let size = || {
            let generation = self.shard_at(walk.shard).generation();
            (generation, generation.pack(), generation.next().map(Generation::pack))
        };
        loop {
            let (generation, current, next) = size();
            let bits = generation.next().map_or(generation.log2(), |next| next.log2().min(generation.log2()));
            words.clear();
            class_words(generation, walk.class as usize & ((1 << bits) - 1), words);
            // No generation is freed and its address used again under the caller's guard: equal means unchanged.
            let (_, current_after, next_after) = size();
            if (current, next) == (current_after, next_after) {
                return bits;
            }
        }
    }

    /// One SCAN step: visits groups from `cursor` until about `count` entries were seen; returns the next cursor, 0 at the
    /// end. Redis's guarantee: what is present throughout is visited at least once.
    pub fn scan<'g>(&self, cursor: u64, count: usize, guard: &'g Guard<'_>, mut visit: impl FnMut(Entry<'g>)) -> u64 {
        let mut shard = cursor as usize & (SHARDS - 1);
        let mut class = cursor >> SHARD_BITS;
        let mut seen = 0;
        let mut words = Vec::new();
        // A shard may hold nothing: bound the groups of one call as well, as Redis does.
        for _ in 0..count.saturating_mul(10).max(SHARDS) {
            let generation = self.shard_at(shard).generation();
            let bits = generation.next().map_or(generation.log2(), |next| next.log2().min(generation.log2()));
            words.clear();
            class_words(generation, class as usize & ((1 << bits) - 1), &mut words);
            seen += words.len();
            emit(&words, guard, &mut visit);
            class = next_class(class & ((1 << bits) - 1), bits);
            if class == 0 {
                shard += 1;
                if shard == SHARDS {
                    return 0;
                }
            }
            if seen >= count {
                break;
            }
        }
        class << SHARD_BITS | shard as u64
    }

    /// Visits every entry: a whole SCAN at once.
    pub fn scan_all<'g>(&self, guard: &'g Guard<'_>, mut visit: impl FnMut(Entry<'g>)) {
        let mut cursor = 0;
        loop {
            cursor = self.scan(cursor, SHARDS, guard, &mut visit);
            if cursor == 0 {
                return;
            }
        }
    }

    /// A uniformly random entry, None if the table is (nearly) empty.
    pub fn random<'g>(&self, prng: &mut Prng, guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        let total = self.count();
        if total >= SPARSE_COUNT
            && let Some(entry) = self.random_dense(prng, guard)
        {
            return Some(entry);
        }
        // Few keys: choose a rank, find its shard by the counts, then a slot in it by rejection.
        for _ in 0..64 {
            let mut rank = prng.below(total.max(1) as u64) as i64;
            let shard = (0..SHARDS).find(|&index| {
                rank -= self.counts[index].keys.load(Ordering::Relaxed).max(0);
                rank < 0
            })?;
            let mut words = Vec::new();
            let generation = self.shard_at(shard).generation();
            let small =
                generation.next().map_or(generation.group_count(), |n| n.group_count().min(generation.group_count()));
            for class in 0..small {
                class_words(generation, class, &mut words);
            }
            if !words.is_empty() {
                // SAFETY: collected under `guard`.
                let word = unsafe { resolved(words[prng.below(words.len() as u64) as usize], guard) };
                if word.is_live() {
                    // SAFETY: a resolved live word is an entry.
                    return Some(unsafe { word.as_entry() });
                }
            }
        }
        None
    }

    /// A random slot of a random group of a random shard, accepted if it holds a key: exactly uniform, because shards that
    /// have fewer groups than the largest one are rejected in proportion.
    fn random_dense<'g>(&self, prng: &mut Prng, guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        let widest = (0..SHARDS).map(|index| self.shard_at(index).generation().log2()).max().unwrap_or(0);
        let mut words = Vec::new();
        for _ in 0..100_000 {
            let bits = prng.next_u64();
            let generation = self.shard_at(bits as usize & (SHARDS - 1)).generation();
            let group = (bits >> SHARD_BITS) as usize & ((1 << widest) - 1);
            // A shard that is being moved is passed over: its keys come back within a few writes.
            if group >= generation.group_count() || generation.next().is_some() {
                continue;
            }
            words.clear();
            group_words(generation, group, &mut words);
            let slot = prng.below(super::group::GROUP_SLOTS as u64) as usize;
            if let Some(&word) = words.get(slot) {
                // SAFETY: collected under `guard`.
                let word = unsafe { resolved(word, guard) };
                if word.is_live() {
                    // SAFETY: a resolved live word is an entry.
                    return Some(unsafe { word.as_entry() });
                }
            }
        }
        None
    }
}

pub(super) fn emit<'g>(words: &[Word], guard: &'g Guard<'_>, visit: &mut impl FnMut(Entry<'g>)) {
    for &word in words {
        // SAFETY: collected under `guard`.
        let word = unsafe { resolved(word, guard) };
        if word.is_live() {
            // SAFETY: a resolved live word is an entry.
            visit(unsafe { word.as_entry() });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::hash::{Key, KeyHasher};
    use crate::table::{Change, Kind, NewEntry, Participant, Source};
    use std::collections::HashMap;

    fn put(table: &Table, guard: &Guard<'_>, name: &str) {
        let key = Key::new(&table.hasher, name.as_bytes());
        table.update(key, guard, |_| {
            (Change::Put(NewEntry::new(Kind(0), key.bytes, None, 0, Source::Inline(b"v"))), ())
        });
    }

    fn remove(table: &Table, guard: &Guard<'_>, name: &str) {
        table.update(Key::new(&table.hasher, name.as_bytes()), guard, |_| (Change::Remove, ()));
    }

    /// Walks in pieces of 50, with `between` now and then; how often each key was shown, and how often a shard began again.
    fn walk(table: &Table, seat: &Participant, mut between: impl FnMut()) -> (HashMap<Vec<u8>, usize>, usize) {
        let (mut all, mut shard, mut walk) = (HashMap::new(), Vec::new(), Walk::default());
        let (mut pieces, mut restarts) = (0, 0);
        loop {
            let guard = seat.pin(); // A guard per piece: nothing is remembered from piece to piece.
            let walked = table.walk(&mut walk, 50, &guard, |entry| shard.push(entry.key().to_vec()));
            drop(guard);
            match walked {
                Walked::More => {}
                Walked::ShardAgain => (restarts, _) = (restarts + 1, shard.clear()),
                Walked::NextShard | Walked::Done => {
                    shard.drain(..).for_each(|key| *all.entry(key).or_default() += 1);
                    if walked == Walked::Done {
                        return (all, restarts);
                    }
                }
            }
            pieces += 1;
            if pieces % 301 == 0 {
                between();
            }
        }
    }

    #[test]
    fn a_walk_shows_each_key_once_while_the_table_grows_and_shrinks() {
        let (seat, table) = (Participant::new(), Table::new(KeyHasher::seeded(5)));
        let kept: Vec<String> = (0..5_000).map(|n| format!("kept:{n}")).collect();
        let passing: Vec<String> = (0..200_000).map(|n| format!("passing:{n}")).collect();
        let guard = seat.pin();
        kept.iter().chain(&passing).for_each(|name| put(&table, &guard, name));
        drop(guard);
        let mut restarts = 0;
        for round in 0..6 {
            let mut is_first = true;
            let (shown, again) = walk(&table, &seat, || {
                let guard = seat.pin();
                if std::mem::take(&mut is_first) {
                    match round % 2 {
                        0 => passing.iter().for_each(|name| remove(&table, &guard, name)),
                        _ => passing.iter().for_each(|name| put(&table, &guard, name)),
                    }
                }
            });
            assert!(kept.iter().all(|name| shown.get(name.as_bytes()) == Some(&1)), "round {round}");
            assert!(shown.values().all(|&times| times == 1), "round {round}");
            restarts += again;
        }
        assert!(restarts > 0, "no shard shrank under the walk: the test is too small");
    }
}
