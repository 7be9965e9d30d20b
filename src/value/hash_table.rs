//! A hash table for the elements of one collection: compact at any size, and no operation ever waits for a resize.
//!
//! *Linear hashing.* There are N buckets, 2^k ≤ N < 2^(k+1). Where the table grows, one bucket is split: N − 2^k gives half
//! of its items to the new bucket N. Where it shrinks, the last bucket is merged into the one that it came from. So a
//! resize is a few items at a time, memory per item is nearly the same at any size, and no second table is ever needed.
//! ```text
//! bucket of a hash    h mod 2^(k+1) if that is < N, else h mod 2^k
//! segments            [bucket × 64] [bucket × 64] …  so that nothing large moves; the first one begins with one bucket
//! bucket, 128 bytes   next · 13 tags, length · 13 items            full: further items in a chain of spills
//! spill,   64 bytes   next ·  6 tags, length ·  6 items
//! ```
//! A tag is a byte of the hash: an item with another tag is passed over without a look at it. An item is anything of eight
//! bytes that knows its key, usually a thin allocation (value/block.rs). Hashes are not kept; a split computes them again.
//!
//! *Scanning* goes through the buckets in the order of their bit-reversed numbers, as Redis does. In this order a bucket
//! that is split lies where its two halves lie, so a cursor stays right whatever happens between two calls.
//!
//! *Random items* are drawn by rejection: any bucket, any position up to the longest chain's length, again if there is none.
//!
//! **Source**: Litwin, "Linear hashing: a new tool for file and table addressing", 1980; for the cursor, Redis `dictScan`'s
//! documented guarantee.

#![forbid(unsafe_code)]

mod segment;
mod shape;

use crate::base::hash::element_hash;
use crate::base::prefetch::{prefetch, prefetch_lines};
use crate::base::prng::Prng;
use segment::Segment;
pub use shape::Shape;

/// What can be in a table.
pub trait Item {
    /// What the item is found by. It never changes while the item is in the table.
    fn key(&self) -> &[u8];
    /// The hash of a key.
    #[inline]
    fn hash(key: &[u8]) -> u64 {
        element_hash(key)
    }
    /// Where the key's bytes lie, for prefetching.
    fn address(&self) -> *const u8;
}

/// Some items with their tags. `tags[SLOTS]` is their number; they lie in front.
#[derive(Clone)]
struct Node<I, const SLOTS: usize, const TAGS: usize> {
    next: Option<Box<Spill<I>>>,
    tags: [u8; TAGS],
    items: [Option<I>; SLOTS],
}

type Bucket<I> = Node<I, 13, 16>;
type Spill<I> = Node<I, 6, 8>;

const _: () = assert!(size_of::<Bucket<Box<u8>>>() == 128 && size_of::<Spill<Box<u8>>>() == 64);

const SEGMENT: usize = 64;
/// Items per bucket, on the average, above which the table grows. 11: 13–14 bytes per item with everything, and one lookup
/// in three goes on to a spill; 12 saves half a byte and sends one in two.
const FULL: usize = 11;
/// Items per bucket below which it shrinks: less than half of `FULL`, so that it does not go to and fro.
const SPARSE: usize = 5;

/// Random places that are drawn at once.
const DRAWS: usize = 4;

/// See the module header.
#[derive(Clone)]
pub struct HashTable<I> {
    segments: Vec<Segment<I>>,
    bucket_count: usize,
    len: usize,
    /// No chain is longer.
    longest: u8,
    /// The longest of the chains that were split or merged since N was a power of two, if N went one way since.
    round: Option<Round>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Growing,
    Shrinking,
}

#[derive(Clone, Copy)]
struct Round {
    direction: Direction,
    longest: u8,
}

/// Which bytes of `word` are `tag`? The high bit of each such byte, and rarely of one above such a byte.
#[inline]
fn matches(word: u64, tag: u8) -> u64 {
    const LOW: u64 = 0x0101_0101_0101_0101;
    let differing = word ^ (LOW * tag as u64);
    differing.wrapping_sub(LOW) & !differing & (LOW << 7)
}

#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8 // A bucket's number comes from the other end.
}

impl<I: Item, const SLOTS: usize, const TAGS: usize> Node<I, SLOTS, TAGS> {
    const SLOTS: usize = SLOTS;
    fn new() -> Self {
        const { assert!(SLOTS < TAGS && TAGS.is_multiple_of(8)) };
        Node { next: None, tags: [0; TAGS], items: [const { None }; SLOTS] }
    }
    #[inline]
    fn len(&self) -> usize {
        self.tags[SLOTS] as usize
    }
    #[inline]
    fn find(&self, tag: u8, key: &[u8]) -> Option<usize> {
        for (index, word) in self.tags.as_chunks::<8>().0.iter().enumerate() {
            let mut hits = matches(u64::from_le_bytes(*word), tag);
            while hits != 0 {
                let slot = index * 8 + hits.trailing_zeros() as usize / 8;
                if self.items.get(slot).and_then(Option::as_ref).is_some_and(|item| item.key() == key) {
                    return Some(slot);
                }
                hits &= hits - 1;
            }
        }
        None
    }
    /// Adds an item; there must be room.
    #[inline]
    fn push(&mut self, tag: u8, item: I) -> &mut I {
        let len = self.len();
        self.tags[len] = tag;
        self.tags[SLOTS] += 1;
        self.items[len].insert(item)
    }
    /// Takes the last item out.
    fn pop(&mut self) -> Option<(u8, I)> {
        let last = self.len().checked_sub(1)?;
        self.tags[SLOTS] -= 1;
        Some((self.tags[last], self.items[last].take()?))
    }
    /// Takes the last item of the chain out; a spill without items goes.
    fn pop_last(&mut self) -> Option<(u8, I)> {
        let Some(next) = &mut self.next else { return self.pop() };
        let last = next.pop_last();
        if next.len() == 0 {
            self.next = None;
        }
        last
    }
}

impl<I: Item> Bucket<I> {
    /// The position in the chain of the item with this key.
    #[inline]
    fn locate(&self, tag: u8, key: &[u8]) -> Option<usize> {
        if let Some(slot) = self.find(tag, key) {
            return Some(slot);
        }
        let (mut next, mut before) = (self.next.as_deref(), Self::SLOTS);
        while let Some(spill) = next {
            if let Some(slot) = spill.find(tag, key) {
                return Some(before + slot);
            }
            (next, before) = (spill.next.as_deref(), before + Spill::<I>::SLOTS);
        }
        None
    }
    /// Prefetches the items with this tag; if there is none, the chain's next node.
    #[inline]
    fn look_ahead(&self, tag: u8) {
        let mut any = false;
        for (index, word) in self.tags.as_chunks::<8>().0.iter().enumerate() {
            let hits = matches(u64::from_le_bytes(*word), tag);
            let slot = index * 8 + hits.trailing_zeros() as usize / 8;
            if let Some(item) = self.items.get(slot).and_then(Option::as_ref).filter(|_| hits != 0) {
                prefetch(item.address());
                any = true;
            }
        }
        if let Some(next) = self.next.as_deref().filter(|_| !any) {
            prefetch(next);
        }
    }
    /// The item at a position of the chain.
    #[inline]
    fn nth(&self, position: usize) -> Option<&I> {
        if position < Self::SLOTS {
            return self.items[position].as_ref();
        }
        let left = position - Self::SLOTS;
        let spill = self.spills().nth(left / Spill::<I>::SLOTS)?;
        spill.items[left % Spill::<I>::SLOTS].as_ref()
    }
    /// The tag and the slot at a position of the chain.
    #[inline]
    fn nth_mut(&mut self, position: usize) -> Option<(&mut u8, &mut Option<I>)> {
        if position < Self::SLOTS {
            return Some((&mut self.tags[position], &mut self.items[position]));
        }
        let mut left = position - Self::SLOTS;
        let mut spill = self.next.as_deref_mut()?;
        while left >= Spill::<I>::SLOTS {
            left -= Spill::<I>::SLOTS;
            spill = spill.next.as_deref_mut()?;
        }
        Some((&mut spill.tags[left], &mut spill.items[left]))
    }
    /// Adds an item at the end of the chain. Returns it, and the chain's length.
    #[inline]
    fn add(&mut self, tag: u8, item: I) -> (&mut I, usize) {
        let len = self.len();
        if len < Self::SLOTS {
            return (self.push(tag, item), len + 1);
        }
        let mut before = Self::SLOTS;
        let mut spill = self.next.get_or_insert_with(|| Box::new(Node::new()));
        while spill.len() == Spill::<I>::SLOTS {
            before += Spill::<I>::SLOTS;
            spill = spill.next.get_or_insert_with(|| Box::new(Node::new()));
        }
        let len = before + spill.len() + 1;
        (spill.push(tag, item), len)
    }
    /// Takes the item at a position of the chain out; the last of the chain takes its place.
    fn remove_nth(&mut self, position: usize) -> Option<I> {
        let (last_tag, last) = self.pop_last()?;
        match self.nth_mut(position) {
            Some((tag, slot)) if slot.is_some() => {
                *tag = last_tag;
                slot.replace(last)
            }
            _ => Some(last), // It was the last one itself.
        }
    }
    fn spills(&self) -> impl Iterator<Item = &Spill<I>> {
        std::iter::successors(self.next.as_deref(), |spill| spill.next.as_deref())
    }
    fn iter(&self) -> impl Iterator<Item = &I> {
        self.items.iter().chain(self.spills().flat_map(|spill| &spill.items)).flatten()
    }
}

impl<I: Item> Default for HashTable<I> {
    fn default() -> Self {
        HashTable::new()
    }
}

impl<I: Item> HashTable<I> {
    const ITEM_IS_THIN: () = assert!(size_of::<Option<I>>() == 8, "an item has eight bytes and a niche");

    /// No items.
    /// Cost: no allocation.
    pub const fn new() -> Self {
        let () = Self::ITEM_IS_THIN;
        HashTable { segments: Vec::new(), bucket_count: 0, len: 0, longest: 0, round: None }
    }
    /// Number of items.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Bytes of the table itself, without those of its items.
    /// Cost: a walk over all buckets, or over `samples` of them and an estimate. 0: all.
    pub fn memory(&self, samples: usize) -> usize {
        let segments: usize = self.segments.iter().map(|segment| size_of_val(segment.buckets())).sum();
        let seen = if samples == 0 { self.bucket_count } else { self.bucket_count.min(samples) };
        let spills: usize = (0..seen).map(|index| self.bucket(index).spills().count()).sum();
        let spills = (spills * self.bucket_count).checked_div(seen).unwrap_or(0);
        segments + self.segments.capacity() * size_of::<Segment<I>>() + spills * size_of::<Spill<I>>()
    }

    /// 2^k: see the module header.
    #[inline]
    fn low(&self) -> usize {
        1 << self.bucket_count.ilog2()
    }
    #[inline]
    fn index(&self, hash: u64) -> usize {
        let low = self.low();
        let index = hash as usize & (2 * low - 1);
        if index < self.bucket_count { index } else { index & (low - 1) }
    }
    #[inline]
    fn bucket(&self, index: usize) -> &Bucket<I> {
        &self.segments[index / SEGMENT].buckets()[index % SEGMENT]
    }
    #[inline]
    fn bucket_mut(&mut self, index: usize) -> &mut Bucket<I> {
        &mut self.segments[index / SEGMENT].buckets_mut()[index % SEGMENT]
    }

    /// Prefetches what a lookup of a key with this hash will touch: in step 0 the bucket, in step 1 the items whose tags
    /// match. False: that is all.
    #[inline]
    pub fn look_ahead(&self, hash: u64, step: usize) -> bool {
        if self.len == 0 {
            return false;
        }
        let bucket = self.bucket(self.index(hash));
        match step {
            0 => prefetch_lines(bucket, size_of::<Bucket<I>>() / 64),
            _ => bucket.look_ahead(tag_of(hash)),
        }
        step == 0
    }
    /// The item with this key.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&I> {
        if self.len == 0 {
            return None;
        }
        let hash = I::hash(key);
        let bucket = self.bucket(self.index(hash));
        bucket.nth(bucket.locate(tag_of(hash), key)?)
    }
    /// The item with this key, to be changed; its key stays.
    #[inline]
    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut I> {
        if self.len == 0 {
            return None;
        }
        let hash = I::hash(key);
        let index = self.index(hash);
        let bucket = self.bucket_mut(index);
        let position = bucket.locate(tag_of(hash), key)?;
        bucket.nth_mut(position)?.1.as_mut()
    }
    /// The item with this key. If there is none, `make` makes it; then true. Its key is `key`, and stays.
    #[inline]
    pub fn find_or_insert(&mut self, key: &[u8], make: impl FnOnce() -> I) -> (&mut I, bool) {
        let hash = I::hash(key);
        if self.len > 0 {
            let index = self.index(hash);
            if let Some(position) = self.bucket(index).locate(tag_of(hash), key) {
                let slot = self.bucket_mut(index).nth_mut(position);
                let item = slot.and_then(|(_, item)| item.as_mut());
                return (item.unwrap_or_else(|| unreachable!("it was there a moment ago")), false);
            }
        }
        (self.insert_new(hash, make()), true)
    }
    /// Adds an item whose key is not there yet. `hash` is that of its key.
    fn insert_new(&mut self, hash: u64, item: I) -> &mut I {
        if self.len >= self.bucket_count * FULL {
            self.grow();
        }
        self.len += 1;
        let index = self.index(hash);
        let (mut longest, mut round) = (self.longest, self.round);
        let (item, chain_len) = self.segments[index / SEGMENT].buckets_mut()[index % SEGMENT].add(tag_of(hash), item);
        note_length(&mut longest, &mut round, chain_len);
        (self.longest, self.round) = (longest, round);
        item
    }
    /// Takes out the item with this key.
    pub fn remove(&mut self, key: &[u8]) -> Option<I> {
        if self.len == 0 {
            return None;
        }
        let hash = I::hash(key);
        let index = self.index(hash);
        let bucket = self.bucket_mut(index);
        let removed = bucket.remove_nth(bucket.locate(tag_of(hash), key)?);
        self.removed_one();
        removed
    }
    fn removed_one(&mut self) {
        self.len -= 1;
        if self.len < self.bucket_count * SPARSE {
            self.shrink();
        }
    }
    /// Takes out the items that `is_meant` picks among those that may have this hash. Returns their number.
    pub fn remove_hashed(&mut self, hash: u64, mut is_meant: impl FnMut(&I) -> bool) -> usize {
        let mut removed = 0;
        while self.len > 0 {
            let index = self.index(hash);
            let bucket = self.bucket_mut(index);
            let Some(position) = bucket.iter().position(&mut is_meant) else { break };
            bucket.remove_nth(position);
            removed += 1;
            self.removed_one();
        }
        removed
    }
    /// Takes out any item: the way to free a large table in slices. Buckets go with their items.
    pub fn pop(&mut self) -> Option<I> {
        loop {
            let last = self.bucket_count.checked_sub(1)?;
            if let Some((_, item)) = self.bucket_mut(last).pop_last() {
                self.len -= 1;
                return Some(item);
            }
            self.drop_last_bucket();
            self.round = None;
        }
    }

    /// Adds a bucket and splits the one that its items are in.
    fn grow(&mut self) {
        let new = self.bucket_count;
        self.add_bucket();
        if new == 0 {
            return;
        }
        self.begin_step(Direction::Growing, new.is_power_of_two());
        let low = 1 << new.ilog2();
        let old = new - low;
        let mut chain = std::mem::replace(self.bucket_mut(old), Node::new());
        let mut lengths = [0; 2];
        while let Some((tag, item)) = chain.pop_last() {
            let is_new = I::hash(item.key()) as usize & low != 0;
            let to = if is_new { new } else { old };
            lengths[is_new as usize] = self.bucket_mut(to).add(tag, item).1;
        }
        self.note(lengths[0]);
        self.note(lengths[1]);
    }
    /// Merges the last bucket into the one that it came from.
    fn shrink(&mut self) {
        if self.bucket_count == 1 {
            if self.len == 0 {
                *self = HashTable::new();
            }
            return;
        }
        let last = self.bucket_count - 1;
        // From 2^(k+1) down to 2^k is one round.
        self.begin_step(Direction::Shrinking, self.bucket_count.is_power_of_two());
        let into = last - (1 << last.ilog2());
        let mut chain = std::mem::replace(self.bucket_mut(last), Node::new());
        let mut longest = self.bucket(into).iter().count();
        while let Some((tag, item)) = chain.pop_last() {
            longest = self.bucket_mut(into).add(tag, item).1;
        }
        self.drop_last_bucket();
        self.note(longest);
    }
    fn add_bucket(&mut self) {
        let index = self.bucket_count;
        self.bucket_count += 1;
        if index.is_multiple_of(SEGMENT) {
            if self.segments.len() == self.segments.capacity() {
                self.segments.reserve_exact(self.segments.len().max(1)); // Not the four that a vector begins with.
            }
            let len = if index == 0 { 1 } else { SEGMENT };
            self.segments.push(Segment::Own((0..len).map(|_| Node::new()).collect()));
        } else if index < SEGMENT && index == self.segments[0].buckets().len() {
            // The first segment doubles: few buckets move.
            let mut buckets = self.segments[0].take();
            buckets.reserve_exact(index);
            buckets.resize_with(2 * index, Node::new);
            self.segments[0] = Segment::Own(buckets.into_boxed_slice());
        }
    }
    /// Drops the last bucket, which has no items.
    fn drop_last_bucket(&mut self) {
        self.bucket_count -= 1;
        let count = self.bucket_count;
        if count.is_multiple_of(SEGMENT) {
            self.segments.pop();
            if self.segments.capacity() > 4 * self.segments.len() {
                self.segments.shrink_to(2 * self.segments.len());
            }
        } else if count < SEGMENT && count.is_power_of_two() {
            let mut buckets = self.segments[0].take();
            buckets.truncate(count);
            self.segments[0] = Segment::Own(buckets.into_boxed_slice());
        }
    }

    /// N is about to go one step; `is_start`: from one power of two towards the next. At the end of a round all in one
    /// direction every chain was measured.
    fn begin_step(&mut self, direction: Direction, is_start: bool) {
        if is_start {
            if let Some(round) = self.round.filter(|round| round.direction == direction) {
                self.longest = round.longest;
            }
            self.round = Some(Round { direction, longest: 0 });
        } else if self.round.is_some_and(|round| round.direction != direction) {
            self.round = None;
        }
    }
    fn note(&mut self, chain_len: usize) {
        note_length(&mut self.longest, &mut self.round, chain_len);
    }

    /// All items, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &I> {
        self.segments.iter().flat_map(|segment| segment.buckets()).flat_map(Bucket::iter)
    }
    /// Visits the items of the bucket at `cursor` (0: the first one) and returns the next cursor; 0 at the end. An item that
    /// is there throughout is visited at least once.
    pub fn scan(&self, cursor: u64, visit: impl FnMut(&I)) -> u64 {
        if self.bucket_count == 0 {
            return 0;
        }
        let low = self.low();
        let is_split = (cursor as usize & (low - 1)) + low < self.bucket_count;
        let mask = if is_split { 2 * low - 1 } else { low - 1 };
        self.bucket(cursor as usize & mask).iter().for_each(visit);
        // Counts up in the bits below the mask's end, the most significant one being the lowest.
        (cursor | !(mask as u64)).reverse_bits().wrapping_add(1).reverse_bits()
    }
    /// Visits the items of the last segment, in no order, and drops that segment. False: there were no more. What is left of
    /// the table is good for this, for `iter` and for being dropped.
    pub fn visit_some(&mut self, mut visit: impl FnMut(&I)) -> bool {
        let Some(segment) = self.segments.pop() else { return false };
        for item in segment.buckets().iter().flat_map(Bucket::iter) {
            self.len -= 1;
            visit(item);
        }
        self.bucket_count = self.segments.len() * SEGMENT;
        true
    }
    /// The place of a random item, each as likely as the others: its bucket and its position in the chain.
    /// Cost: about `longest` / (items per bucket) looks at buckets: 2 to 4, rarely 10. They are asked for together, so that
    /// the waits for memory overlap.
    fn draw(&self, prng: &mut Prng) -> Option<(usize, usize)> {
        if self.len == 0 {
            return None;
        }
        loop {
            let draws: [(usize, usize); DRAWS] = std::array::from_fn(|_| {
                let index = prng.below(self.bucket_count as u64) as usize;
                prefetch_lines(self.bucket(index), size_of::<Bucket<I>>() / 64);
                (index, prng.below(self.longest as u64) as usize)
            });
            if let Some(place) = draws.into_iter().find(|&(index, position)| self.bucket(index).nth(position).is_some())
            {
                return Some(place);
            }
        }
    }
    /// A random item, each as likely as the others.
    pub fn random(&self, prng: &mut Prng) -> Option<&I> {
        let (index, position) = self.draw(prng)?;
        self.bucket(index).nth(position)
    }
    /// Takes out a random item, each as likely as the others.
    pub fn pop_random(&mut self, prng: &mut Prng) -> Option<I> {
        let (index, position) = self.draw(prng)?;
        let popped = self.bucket_mut(index).remove_nth(position);
        self.removed_one();
        popped
    }
}

impl<I: Item + Clone> HashTable<I> {
    /// The table as it is now, to be read while this one goes on. Both share their buckets from here on.
    /// Cost: a small allocation for every 64 buckets.
    pub fn snapshot(&mut self) -> Self {
        let segments = self.segments.iter_mut().map(Segment::share).collect();
        HashTable { segments, round: None, ..*self }
    }
}

/// A chain has got this length. One beyond 255 would take a broken hash; its end would only be left out of random choices.
#[inline]
fn note_length(longest: &mut u8, round: &mut Option<Round>, chain_len: usize) {
    let chain_len = chain_len.min(u8::MAX as usize) as u8;
    *longest = (*longest).max(chain_len);
    if let Some(round) = round {
        round.longest = round.longest.max(chain_len);
    }
}
