//! A stream: an append-only log of entries with growing ids, and groups of consumers that read it.
//!
//! ```text
//! Stream ─ box ─┬─ log      blocks of some hundred entries each, in order of their ids
//!               └─ groups   by name; each: last id read · what is pending, by id · consumers with their share of it
//! ```
//! `block` is the layout of entries, `log` their sequence and trimming, `idmap` the ordered list of what is pending,
//! `group` its owners. No key, no reply: ids and fields in, entries out. Time is passed in.

#![forbid(unsafe_code)]

mod block;
mod group;
mod id;
mod idmap;
mod log;
mod radix;
#[cfg(all(test, not(loom)))]
mod stream_fuzz;
#[cfg(all(test, not(loom)))]
mod stream_model;

pub use block::{Block, Entry, Fields};
pub use group::{Claim, Consumer, ConsumerId, Delivery, Group, Pending};
pub use id::{IdBuffer, IdText, StreamId, c_string};
pub use log::{BlockLimits, Keep, Log, TooLarge, Trim};

use super::drain;
use super::object::{Collection, ObjectType, Value, look_into};
use std::collections::{BTreeMap, VecDeque};

/// See the module header.
#[derive(Clone, Debug, Default)]
pub struct Stream(Box<Parts>);

const _: () = assert!(size_of::<Stream>() <= 16, "a value is a thin box");

#[derive(Clone, Debug, Default)]
struct Parts {
    log: Log,
    groups: BTreeMap<Box<[u8]>, Box<Group>>,
}

/// What becomes of groups' references to an entry that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum References {
    /// They stay.
    #[default]
    Keep,
    /// They go, too.
    Delete,
    /// While there is one the entry stays: all groups must have read and acknowledged it.
    Respect,
}

/// What came of the wish to delete an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Absent,
    Deleted,
    /// Somebody refers to it.
    Referenced,
}

impl Stream {
    pub fn log(&self) -> &Log {
        &self.0.log
    }
    /// A stream of these blocks, whose ids ascend from block to block; none has lost all its entries.
    pub fn of_blocks(blocks: VecDeque<Block>) -> Self {
        Stream(Box::new(Parts { log: Log::restored(blocks), groups: BTreeMap::new() }))
    }
    /// The blocks in the order of their ids.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.0.log.blocks.iter()
    }
    /// Number of blocks.
    pub fn block_count(&self) -> usize {
        self.0.log.blocks.len()
    }
    /// Nodes of Redis's radix tree of these blocks.
    pub fn node_count(&self) -> u64 {
        radix::node_count(self.0.log.blocks.iter().map(|block| block.base()))
    }

    /// As `Log::append`.
    pub fn append<'a>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
        limits: BlockLimits,
    ) -> Result<(), TooLarge> {
        self.0.log.append(id, fields, limits)
    }

    /// Sets the last id, which must not be below that of an entry, and what else XSETID may.
    pub fn set_last_id(&mut self, id: StreamId, entries_added: Option<u64>, max_deleted_id: Option<StreamId>) {
        let log = &mut self.0.log;
        log.last_id = id;
        log.entries_added = entries_added.unwrap_or(log.entries_added);
        log.max_deleted_id = max_deleted_id.unwrap_or(log.max_deleted_id);
    }

    /// Deletes an entry, if its references allow. What a group has yet to read counts as referenced, be it there or not.
    pub fn delete(&mut self, id: StreamId, references: References) -> Deletion {
        let Parts { log, groups } = &mut *self.0;
        match references {
            References::Respect if is_referenced(groups, id) => return Deletion::Referenced,
            References::Delete => groups.values_mut().for_each(|group| _ = group.acknowledge(id)),
            _ => {}
        }
        if log.delete(id) { Deletion::Deleted } else { Deletion::Absent }
    }

    /// Removes entries from the front; returns how many.
    pub fn trim(&mut self, trim: &Trim, references: References) -> u64 {
        let Parts { log, groups } = &mut *self.0;
        let mut gone = VecDeque::new();
        let mut acknowledge = |id| {
            groups.values_mut().for_each(|group| _ = group.acknowledge(id));
            true
        };
        let removed = match references {
            References::Keep => log.trim(trim, None, &mut gone),
            References::Delete => log.trim(trim, Some(&mut acknowledge), &mut gone),
            References::Respect => log.trim(trim, Some(&mut |id| !is_referenced(groups, id)), &mut gone),
        };
        if gone.len() > 1 {
            discard(Parts { log: Log::of(gone), ..Parts::default() });
        }
        removed
    }
    /// The entries from `start` to `end` as they are now, to be read while the stream goes on; without groups.
    pub fn snapshot(&mut self, start: StreamId, end: StreamId) -> Self {
        Stream(Box::new(Parts { log: self.0.log.snapshot(start, end), groups: BTreeMap::new() }))
    }
    /// Visits the next entries of a snapshot that lie between the ids, those of one block, until `visit` says that it is
    /// enough (false); and forgets them. False: there were no more.
    pub fn visit_some(
        &mut self,
        (start, end): (StreamId, StreamId),
        is_backwards: bool,
        mut visit: impl FnMut(Entry<'_>) -> bool,
    ) -> bool {
        let Some(block) = self.0.log.take_block(is_backwards) else { return false };
        let is_meant = |entry: &Entry<'_>| !entry.is_deleted() && entry.id >= start && entry.id <= end;
        if is_backwards {
            block.entries().rev().filter(is_meant).all(&mut visit)
        } else {
            block.entries().filter(is_meant).all(&mut visit)
        }
    }

    /// Number of groups.
    pub fn group_count(&self) -> usize {
        self.0.groups.len()
    }
    /// All groups in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.0.groups.iter().map(|(name, group)| (&**name, &**group))
    }
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.0.groups.get(name).map(|group| &**group)
    }
    /// A group, to be changed, and the entries that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&Log, &mut Group)> {
        let Parts { log, groups } = &mut *self.0;
        Some((log, groups.get_mut(name)?))
    }
    /// Adds a group; false if there is one of that name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        let is_new = !self.0.groups.contains_key(name);
        if is_new {
            self.0.groups.insert(name.into(), Box::new(group));
        }
        is_new
    }
    /// Removes a group with all that is pending in it.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(entry) = self.0.groups.remove_entry(name) else { return false };
        discard(Parts { groups: BTreeMap::from([entry]), ..Parts::default() });
        true
    }
}

/// Frees parts of a stream, elsewhere if they are large.
fn discard(parts: Parts) {
    drain::discard(Value::new(Stream(Box::new(parts))));
}

/// Has a group yet to read or to acknowledge this entry? Source: what Redis 8.2 replies to XDELEX.
fn is_referenced(groups: &BTreeMap<Box<[u8]>, Box<Group>>, id: StreamId) -> bool {
    groups.values().any(|group| group.last_id < id || group.pending(id).is_some())
}

impl Collection for Stream {
    const TYPE: ObjectType = ObjectType::Stream;

    /// Never: a stream without entries still has its last id and its groups.
    fn is_empty(&self) -> bool {
        false
    }
    fn encoding(&self) -> &'static str {
        "stream"
    }
    fn memory(&self, samples: usize) -> usize {
        let Parts { log, groups } = &*self.0;
        let taken = if samples == 0 { log.blocks.len() } else { samples.min(log.blocks.len()) };
        let sampled: usize = log.blocks.iter().take(taken).map(|block| block.capacity()).sum();
        let of_blocks = (sampled * log.blocks.len()).checked_div(taken).unwrap_or(0);
        let of_groups: usize = groups.iter().map(|(name, group)| name.len() + 32 + group.memory()).sum();
        size_of::<Parts>() + log.blocks.capacity() * size_of::<block::Block>() + of_blocks + of_groups
    }
    fn pieces(&self) -> usize {
        1 + self.0.log.blocks.len() + self.0.groups.values().map(|group| group.pieces()).sum::<usize>()
    }
    fn duplicate(&self) -> Self {
        self.clone()
    }
    fn look_ahead(&self, _element: u64, _step: usize) -> bool {
        look_into(&*self.0);
        false
    }
}
