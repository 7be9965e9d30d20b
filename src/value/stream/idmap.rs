//! A map by stream id, made for lists of what is pending: ids are mostly added at the end and removed from the front.
//!
//! A queue of chunks, each a queue of up to 64 items in order. Adding behind all others and removing the first one are
//! O(1) and move nothing; anything else is two binary searches and a move within a chunk. A tree of Redis's kind takes an
//! allocation or two per id; this takes one per 64.

use super::id::StreamId;
use std::collections::VecDeque;

/// See the module header.
#[derive(Clone, Debug)]
pub struct IdMap<V> {
    chunks: VecDeque<Chunk<V>>,
    len: usize,
}

/// Items from the id `from` on, up to the next chunk's. Never empty.
#[derive(Clone, Debug)]
struct Chunk<V> {
    /// Not above the first item's id: what the search for the chunk reads.
    from: StreamId,
    items: VecDeque<(StreamId, V)>,
}

const CHUNK_MAX: usize = 64;
/// A chunk that has shrunk to this joins its neighbour, if both fit well.
const CHUNK_FEW: usize = 16;

impl<V> Default for IdMap<V> {
    fn default() -> Self {
        IdMap { chunks: VecDeque::new(), len: 0 }
    }
}

impl<V> IdMap<V> {
    /// Number of ids.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Number of allocations.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }
    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let items: usize = self.chunks.iter().map(|chunk| chunk.items.capacity()).sum();
        items * size_of::<(StreamId, V)>() + self.chunks.capacity() * size_of::<Chunk<V>>()
    }
    pub fn first(&self) -> Option<StreamId> {
        Some(self.chunks.front()?.items.front()?.0)
    }
    pub fn last(&self) -> Option<StreamId> {
        Some(self.chunks.back()?.items.back()?.0)
    }

    /// The chunk that holds `id`, if any does.
    fn chunk_of(&self, id: StreamId) -> Option<usize> {
        self.chunks.partition_point(|chunk| chunk.from <= id).checked_sub(1)
    }
    /// Chunk and place of `id`.
    fn find(&self, id: StreamId) -> Option<(usize, usize)> {
        let chunk = self.chunk_of(id)?;
        let place = self.chunks[chunk].items.binary_search_by_key(&id, |item| item.0).ok()?;
        Some((chunk, place))
    }
    pub fn get(&self, id: StreamId) -> Option<&V> {
        let (chunk, place) = self.find(id)?;
        Some(&self.chunks[chunk].items[place].1)
    }
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let (chunk, place) = self.find(id)?;
        Some(&mut self.chunks[chunk].items[place].1)
    }

    /// Puts a value under an id; returns the old one.
    #[inline]
    pub fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        if self.last().is_none_or(|last| last < id) {
            self.push(id, value);
            return None;
        }
        self.insert_before_the_end(id, value)
    }

    fn push(&mut self, id: StreamId, value: V) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.items.len() < CHUNK_MAX => chunk.items.push_back((id, value)),
            other => {
                // Where one chunk is full, the next one will be.
                let room = if other.is_some() { CHUNK_MAX } else { 4 };
                let mut items = VecDeque::with_capacity(room);
                items.push_back((id, value));
                self.chunks.push_back(Chunk { from: id, items });
            }
        }
    }

    fn insert_before_the_end(&mut self, id: StreamId, value: V) -> Option<V> {
        let mut at = self.chunk_of(id).unwrap_or(0);
        let place = match self.chunks[at].items.binary_search_by_key(&id, |item| item.0) {
            Ok(place) => return Some(std::mem::replace(&mut self.chunks[at].items[place].1, value)),
            Err(place) => place,
        };
        let mut place = place;
        if self.chunks[at].items.len() >= CHUNK_MAX {
            let upper = self.chunks[at].items.split_off(CHUNK_MAX / 2);
            self.chunks.insert(at + 1, Chunk { from: upper[0].0, items: upper });
            if place > CHUNK_MAX / 2 {
                (at, place) = (at + 1, place - CHUNK_MAX / 2);
            }
        }
        let chunk = &mut self.chunks[at];
        chunk.items.insert(place, (id, value));
        chunk.from = chunk.from.min(id);
        self.len += 1;
        None
    }

    /// Takes an id out.
    pub fn remove(&mut self, id: StreamId) -> Option<V> {
        let (at, place) = self.find(id)?;
        let chunk = &mut self.chunks[at];
        let (_, value) = chunk.items.remove(place)?;
        self.len -= 1;
        match chunk.items.len() {
            0 => _ = self.chunks.remove(at),
            few @ 1..CHUNK_FEW => self.join_next(at, few),
            _ => {}
        }
        Some(value)
    }

    /// Moves the `few` items of a chunk into the next one, if that leaves it room.
    fn join_next(&mut self, at: usize, few: usize) {
        let has_room = self.chunks.get(at + 1).is_some_and(|next| few + next.items.len() <= CHUNK_MAX / 2);
        if has_room && let Some(Chunk { from, items }) = self.chunks.remove(at) {
            let next = &mut self.chunks[at];
            items.into_iter().rev().for_each(|item| next.items.push_front(item));
            next.from = from;
        }
    }

    /// The first item whose id is not below `id`.
    pub fn ceiling(&self, id: StreamId) -> Option<(StreamId, &V)> {
        self.from(id).next()
    }

    /// All items from `id` on.
    pub fn from(&self, id: StreamId) -> impl Iterator<Item = (StreamId, &V)> {
        let chunk = self.chunk_of(id).unwrap_or(0);
        let skipped = self.chunks.get(chunk).map_or(0, |chunk| chunk.items.partition_point(|item| item.0 < id));
        let items = self.chunks.range(chunk.min(self.chunks.len())..).flat_map(|chunk| chunk.items.iter());
        items.skip(skipped).map(|(id, value)| (*id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeMap;

    /// Seeded operations against the standard library's map: first mostly in order, as a group works, then anywhere.
    #[test]
    fn it_does_what_an_ordered_map_does() {
        for seed in 0..40 {
            let mut prng = Prng::seeded(seed);
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            let span = [30, 300, 3000][seed as usize % 3];
            for step in 0..4000 {
                let id = StreamId::new(prng.below(span), prng.below(3));
                let id = if seed % 2 == 0 { StreamId::new(step / 2 + id.ms % 5, 0) } else { id };
                match prng.below(10) {
                    0..5 => assert_eq!(map.insert(id, step), model.insert(id, step)),
                    5 if seed % 2 == 0 => {
                        let first = model.keys().next().copied().unwrap_or_default();
                        assert_eq!(map.remove(first), model.remove(&first));
                    }
                    5..8 => assert_eq!(map.remove(id), model.remove(&id)),
                    8 => assert_eq!(map.get(id), model.get(&id)),
                    _ => assert_eq!(map.ceiling(id), model.range(id..).next().map(|(id, value)| (*id, value))),
                }
                assert_eq!(map.len(), model.len());
                assert_eq!((map.first(), map.last()), (model.keys().next().copied(), model.keys().last().copied()));
                if step % 97 == 0 {
                    assert!(map.from(id).eq(model.range(id..).map(|(id, value)| (*id, value))));
                    assert!(map.chunks.iter().all(|chunk| !chunk.items.is_empty() && chunk.items.len() <= CHUNK_MAX));
                }
            }
        }
    }

    #[test]
    fn a_drained_map_holds_no_chunks() {
        let mut map = IdMap::default();
        (0..1000).for_each(|ms| _ = map.insert(StreamId::new(ms, 0), ()));
        assert!(map.chunk_count() <= 16);
        (0..1000).for_each(|ms| _ = map.remove(StreamId::new(ms * 7 % 1000, 0)));
        assert_eq!((map.len(), map.chunk_count(), map.first()), (0, 0, None));
    }
}
