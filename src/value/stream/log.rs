//! The entries of a stream: a queue of blocks in the order of their ids, and the counts that Redis keeps of them.

use super::block::{Block, Entry};
use super::id::StreamId;
use std::collections::VecDeque;

/// See the module header.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub(super) blocks: VecDeque<Block>,
    len: u64,
    first_id: StreamId,
    pub(super) last_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) entries_added: u64,
}

/// How large a block may become: `stream-node-max-bytes`, `stream-node-max-entries`. 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimits {
    pub bytes: u64,
    pub entries: u64,
}

/// Longest entry, and longest block whatever the limit is. Source: Redis, STREAM_LISTPACK_MAX_SIZE.
const LEN_MAX: u64 = 1 << 30;

/// An entry is too large to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What trimming leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last so many entries.
    Len(u64),
    /// Entries from this id on.
    From(StreamId),
}

/// What to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    pub keep: Keep,
    /// Remove whole blocks only: more may be left.
    pub is_approximate: bool,
    /// Remove at most so many entries; 0 is no limit.
    pub limit: u64,
}

/// Decides for each entry that trimming would remove whether it goes.
pub type MayGo<'a> = &'a mut dyn FnMut(StreamId) -> bool;

impl Log {
    /// Blocks without counts: to be visited one by one, or freed.
    pub(super) fn of(blocks: VecDeque<Block>) -> Self {
        Log { blocks, ..Log::default() }
    }
    /// Blocks as a snapshot has them, in their order.
    pub(super) fn restored(blocks: VecDeque<Block>) -> Self {
        let len = blocks.iter().map(Block::live).sum();
        let mut log = Log { blocks, len, ..Log::default() };
        log.renew_first_id();
        log
    }
    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The id of the first entry; zero if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }
    /// The id of the last entry that was ever added, or what XSETID made of it.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }
    /// The largest id that was deleted by its id; zero if none was.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }
    /// Number of entries that were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }
    /// The id of the last entry that is still there.
    pub fn last_live_id(&self) -> Option<StreamId> {
        let mut entries = self.blocks.iter().rev().flat_map(|block| block.entries().rev());
        entries.find(|entry| !entry.is_deleted()).map(|entry| entry.id)
    }

    /// Adds an entry. Its id must be above the last one.
    /// Errors: an entry of a gigabyte; nothing has happened then.
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
        limits: BlockLimits,
    ) -> Result<(), TooLarge> {
        assert!(id > self.last_id, "ids only grow");
        let len: u64 = fields.clone().map(|(name, value)| (name.len() + value.len()) as u64).sum();
        if len > LEN_MAX {
            return Err(TooLarge);
        }
        if self.blocks.back().is_none_or(|last| is_full(last, len, limits)) {
            self.begin_block(id, fields.clone().map(|(name, _)| name));
        }
        self.blocks.back_mut().expect("there is a block now").append(id, fields);
        self.len += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(())
    }

    fn begin_block<'a>(&mut self, base: StreamId, names: impl ExactSizeIterator<Item = &'a [u8]>) {
        let room = self.blocks.back_mut().map_or(0, |last| {
            last.close();
            last.used() + last.used() / 16 // Neighbours are alike.
        });
        self.blocks.push_back(Block::new(base, names, room.min(4096)));
    }

    /// The block that would hold `id`.
    fn block_of(&self, id: StreamId) -> usize {
        self.blocks.partition_point(|block| block.base() <= id).saturating_sub(1)
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.blocks.get(self.block_of(id))?.find(id)
    }

    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let first = self.block_of(start).min(self.blocks.len());
        let blocks = self.blocks.range(first..);
        let entries = blocks.flat_map(move |block| block.entries_from(start));
        entries.take_while(move |entry| entry.id <= end).filter(|entry| !entry.is_deleted())
    }

    /// The same entries from the last to the first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let behind = (self.block_of(end) + 1).min(self.blocks.len());
        let entries = self.blocks.range(..behind).rev().flat_map(|block| block.entries().rev());
        let entries = entries.skip_while(move |entry| entry.id > end).take_while(move |entry| entry.id >= start);
        entries.filter(|entry| !entry.is_deleted())
    }

    /// Deletes the entry with this id; false if there is none.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let at = self.block_of(id);
        let Some(place) = self.blocks.get(at).and_then(|block| Some(block.find(id)?.place())) else { return false };
        if self.blocks[at].live() == 1 {
            self.blocks.remove(at);
        } else {
            self.blocks[at].delete(place);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id {
            self.renew_first_id();
        }
        true
    }

    fn renew_first_id(&mut self) {
        let first = self.blocks.iter().flat_map(|block| block.entries()).find(|entry| !entry.is_deleted());
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Removes entries from the front; returns how many. An entry that `may_go` refuses is passed over.
    /// Cost: O(1) per block that goes whole, if nobody is asked.
    /// Blocks that went whole are moved to `gone`.
    pub fn trim(&mut self, trim: &Trim, mut may_go: Option<MayGo<'_>>, gone: &mut VecDeque<Block>) -> u64 {
        let (mut removed, mut at) = (0, 0);
        while let Some(block) = self.blocks.get(at) {
            let live = block.live();
            let is_enough = matches!(trim.keep, Keep::Len(len) if self.len <= len);
            if is_enough || trim.limit != 0 && removed + live > trim.limit {
                break;
            }
            let is_whole = match trim.keep {
                Keep::Len(len) => self.len - live >= len,
                Keep::From(id) => block.last().is_none_or(|last| last.id < id),
            };
            if !is_whole && trim.is_approximate {
                break;
            }
            let Some(may_go) = &mut may_go else {
                if is_whole {
                    removed += self.remove_block(at, gone);
                    continue;
                }
                removed += self.trim_block(at, trim.keep, &mut |_| true);
                break;
            };
            removed += self.trim_block(at, trim.keep, may_go);
            match trim.keep {
                _ if is_whole && self.blocks[at].live() == 0 => _ = self.remove_block(at, gone),
                Keep::From(_) if !is_whole => break,
                _ => at += 1,
            }
        }
        if removed > 0 {
            self.renew_first_id();
        }
        removed
    }

    /// Removes a whole block; returns how many entries it had.
    fn remove_block(&mut self, at: usize, gone: &mut VecDeque<Block>) -> u64 {
        let Some(block) = self.blocks.remove(at) else { return 0 };
        let live = block.live();
        self.len -= live;
        if live > 0 {
            gone.push_back(block);
        }
        live
    }

    /// Number of entries from `start` to `end`, both included; not more than `max`.
    /// Cost: a look at each block between them, and at the entries of the first and the last one.
    pub fn count(&self, start: StreamId, end: StreamId, max: u64) -> u64 {
        if start > end {
            return 0;
        }
        let (first, last) = (self.block_of(start), self.block_of(end));
        let mut count = 0;
        for (at, block) in self.blocks.iter().enumerate().take(last + 1).skip(first) {
            count += match at == first || at == last {
                true => block.live_between(start, end),
                false => block.live(),
            };
            if count >= max {
                return max;
            }
        }
        count
    }
    /// The blocks that hold the entries from `start` to `end` as they are now, shared from here on.
    /// Cost: a small allocation per block.
    pub fn snapshot(&mut self, start: StreamId, end: StreamId) -> Log {
        let behind = (self.block_of(end) + 1).min(self.blocks.len());
        let first = self.block_of(start).min(behind);
        Log::of(self.blocks.range_mut(first..behind).map(Block::share).collect())
    }
    /// The next blocks of a snapshot to be visited: from the first on, or from the last on.
    pub(super) fn take_block(&mut self, is_backwards: bool) -> Option<Block> {
        if is_backwards { self.blocks.pop_back() } else { self.blocks.pop_front() }
    }

    /// Deletes entries of one block; returns how many.
    fn trim_block(&mut self, at: usize, keep: Keep, may_go: MayGo<'_>) -> u64 {
        let mut len = self.len;
        let mut places = Vec::new();
        for entry in self.blocks[at].entries() {
            let is_enough = match keep {
                Keep::Len(max) => len <= max,
                Keep::From(id) => entry.id >= id,
            };
            if is_enough {
                break;
            }
            if !entry.is_deleted() && may_go(entry.id) {
                places.push(entry.place());
                len -= 1;
            }
        }
        places.iter().for_each(|&place| self.blocks[at].delete(place));
        self.len = len;
        places.len() as u64
    }

    /// Has any entry from `start` on been deleted by its id, as far as is known?
    pub fn has_tombstones_from(&self, start: StreamId) -> bool {
        let deleted = self.max_deleted_id;
        !self.is_empty() && !deleted.is_zero() && self.first_id <= deleted && start <= deleted
    }

    /// How many entries were added up to `id`, if that can be told: at the ends of the stream, and where nothing was
    /// deleted. Source: Redis, streamEstimateDistanceFromFirstEverEntry.
    pub fn added_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id == self.last_id || self.is_empty() && id < self.last_id {
            return Some(self.entries_added);
        }
        let is_fragmented = !self.max_deleted_id.is_zero() && self.max_deleted_id >= self.first_id;
        if id > self.last_id || is_fragmented {
            return None;
        }
        match id.cmp(&self.first_id) {
            std::cmp::Ordering::Less => Some(self.entries_added.wrapping_sub(self.len)),
            std::cmp::Ordering::Equal => Some(self.entries_added.wrapping_sub(self.len) + 1),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// Must an entry of `len` bytes begin a new block?
fn is_full(last: &Block, len: u64, limits: BlockLimits) -> bool {
    let bytes_max = if limits.bytes == 0 { LEN_MAX } else { limits.bytes.min(LEN_MAX) };
    last.listpack_len() + len >= bytes_max || limits.entries != 0 && last.count() >= limits.entries
}
