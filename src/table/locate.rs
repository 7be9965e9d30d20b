//! Locators: where a key lives, in 32 bits, for whoever remembers many keys and wants to find them again (active expiry).
//!
//! ```text
//! [31:24] tag8     low bits of the tag: tells the keys of a group apart without a look at their entries
//! [23:10] group14  low bits of the group's number
//! [9:0]   shard
//! ```
//! A locator survives resizes, for it is made of the hash alone. It may fit several keys. Up to 2^14 groups a shard (some
//! 100 M keys) it leads to one group; beyond, to every group that agrees.

use super::reclaim::Guard;
use super::scan::{class_words, emit};
use super::word::Word;
use super::{Entry, SHARDS, Table};
use crate::base::prefetch::prefetch;
use crate::base::sync::Ordering;

const SHARD_BITS: u32 = SHARDS.trailing_zeros();
const GROUP_BITS: u32 = 14;
const TAG_SHIFT: u32 = 24;
const _: () = assert!(SHARD_BITS + GROUP_BITS <= TAG_SHIFT, "the fields do not overlap");

fn shard_of(locator: u32) -> usize {
    locator as usize & (SHARDS - 1)
}

fn group_of(locator: u32) -> usize {
    (locator >> SHARD_BITS) as usize & ((1 << GROUP_BITS) - 1)
}

fn has_tag(locator: u32, word: Word) -> bool {
    word.is_live() && word.tag() as u8 == (locator >> TAG_SHIFT) as u8
}

impl Table {
    /// Where the keys with this hash live.
    #[inline]
    pub fn locator(hash: u64) -> u32 {
        let group = hash as u32 & ((1 << GROUP_BITS) - 1);
        (Word::tag_of(hash) as u32) << TAG_SHIFT | group << SHARD_BITS | Self::shard_index(hash) as u32
    }
    /// Visits the entries whose keys have this locator, and perhaps a few others: those that differ in high group bits.
    pub fn visit_near<'g>(&self, locator: u32, guard: &'g Guard<'_>, mut visit: impl FnMut(Entry<'g>)) {
        /// Room for the words of most groups.
        const WORDS: usize = 24;
        let generation = self.shard_at(shard_of(locator)).generation();
        let now = generation.group_count();
        let classes = generation.next().map_or(now, |next| next.group_count().min(now));
        let mut words = Vec::with_capacity(WORDS);
        for class in (group_of(locator) & (classes - 1)..classes).step_by(1 << GROUP_BITS) {
            class_words(generation, class, &mut words);
        }
        words.retain(|&word| has_tag(locator, word));
        emit(&words, guard, &mut visit);
    }
    /// Prefetch stage 1: the group of a locator.
    #[inline]
    pub fn prefetch_near(&self, locator: u32) {
        let generation = self.shard_at(shard_of(locator)).generation();
        prefetch(generation.group_address(group_of(locator) as u64));
    }
    /// Prefetch stage 2: the entries of a locator, if they lie in the group's first line.
    #[inline]
    pub fn prefetch_entries_near(&self, locator: u32, _guard: &Guard<'_>) {
        let generation = self.shard_at(shard_of(locator)).generation();
        for slot in &generation.line(generation.group_of(group_of(locator) as u64)).slots {
            let word = Word(slot.load(Ordering::Relaxed)); // Only a hint: never dereferenced here.
            if has_tag(locator, word) {
                prefetch(word.pointer::<u8>());
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::hash::{Key, KeyHasher};
    use crate::table::{Change, Kind, NewEntry, Participant, Source};

    #[test]
    fn a_locator_finds_its_key_whatever_the_size_of_the_table() {
        let (hasher, seat) = (KeyHasher::seeded(5), Participant::new());
        let table = Table::new(hasher.clone());
        let guard = seat.pin();
        let names: Vec<String> = (0..30_000).map(|number| format!("key:{number}")).collect();
        let mut visits = 0;
        for (count, name) in names.iter().enumerate() {
            let key = Key::new(&hasher, name.as_bytes());
            let entry = || NewEntry::new(Kind(0), key.bytes, None, 0, Source::Inline(b"v"));
            table.update(key, &guard, |_| (Change::Put(entry()), ()));
            let old = Key::new(&hasher, names[count / 2].as_bytes());
            let mut is_found = false;
            table.visit_near(Table::locator(old.hash), &guard, |entry| {
                is_found |= entry.key() == old.bytes;
                visits += 1;
            });
            assert!(is_found, "{name}");
        }
        assert!(visits < names.len() * 11 / 10, "{visits} visits: the tag tells a group's keys apart");
    }
}
