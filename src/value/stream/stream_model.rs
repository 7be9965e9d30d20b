//! The naive stream that `stream_fuzz` compares with: plain lists, everything searched from the start, and real listpacks,
//! built anew whenever their length is asked for.

use super::{BlockLimits, Deletion, Keep, References, StreamId, Trim};
use std::collections::BTreeMap;

pub type FieldList = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Clone, Debug)]
pub struct ModelEntry {
    pub id: StreamId,
    pub fields: FieldList,
    pub is_deleted: bool,
}

/// Who has an entry, since when, and how often it was delivered.
pub type ModelPending = (Vec<u8>, u64, i64);

#[derive(Clone, Debug, Default)]
pub struct ModelGroup {
    pub last_id: StreamId,
    pub entries_read: Option<i64>,
    pub pending: BTreeMap<StreamId, ModelPending>,
    pub consumers: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub blocks: Vec<Vec<ModelEntry>>,
    pub last_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
    pub groups: BTreeMap<Vec<u8>, ModelGroup>,
}

fn live(block: &[ModelEntry]) -> u64 {
    block.iter().filter(|entry| !entry.is_deleted).count() as u64
}

impl Model {
    pub fn live(&self) -> Vec<&ModelEntry> {
        self.blocks.iter().flatten().filter(|entry| !entry.is_deleted).collect()
    }
    pub fn first_id(&self) -> StreamId {
        self.live().first().map_or(StreamId::MIN, |entry| entry.id)
    }

    pub fn append(&mut self, id: StreamId, fields: FieldList, limits: BlockLimits) {
        let len: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        let is_full = self.blocks.last().is_none_or(|block| {
            let has_bytes = limits.bytes != 0 && (listpack(block).len() + len) as u64 >= limits.bytes;
            has_bytes || limits.entries != 0 && block.len() as u64 >= limits.entries
        });
        if is_full {
            self.blocks.push(Vec::new());
        }
        self.blocks.last_mut().unwrap().push(ModelEntry { id, fields, is_deleted: false });
        self.last_id = id;
        self.entries_added += 1;
    }

    fn is_referenced(&self, id: StreamId) -> bool {
        self.groups.values().any(|group| group.last_id < id || group.pending.contains_key(&id))
    }

    pub fn delete(&mut self, id: StreamId, references: References) -> Deletion {
        let found = self.live().iter().any(|entry| entry.id == id);
        if references == References::Respect && self.is_referenced(id) {
            return Deletion::Referenced;
        }
        if references == References::Delete {
            self.groups.values_mut().for_each(|group| _ = group.pending.remove(&id));
        }
        if !found {
            return Deletion::Absent;
        }
        for block in &mut self.blocks {
            block.iter_mut().filter(|entry| entry.id == id).for_each(|entry| entry.is_deleted = true);
        }
        self.blocks.retain(|block| block.iter().all(|entry| entry.id != id) || live(block) > 0);
        self.max_deleted_id = self.max_deleted_id.max(id);
        Deletion::Deleted
    }

    pub fn trim(&mut self, trim: &Trim, references: References) -> u64 {
        let before = self.live().len() as u64;
        let mut at = 0;
        while at < self.blocks.len() {
            let (len, in_block) = (self.live().len() as u64, live(&self.blocks[at]));
            let is_enough = matches!(trim.keep, Keep::Len(max) if len <= max);
            if is_enough || trim.limit > 0 && before - len + in_block > trim.limit {
                break;
            }
            let is_whole = match trim.keep {
                Keep::Len(max) => len - in_block >= max,
                Keep::From(id) => self.blocks[at].last().unwrap().id < id,
            };
            if trim.is_approximate && !is_whole {
                break;
            }
            for entry in 0..self.blocks[at].len() {
                let ModelEntry { id, is_deleted, .. } = self.blocks[at][entry];
                let is_wanted = match trim.keep {
                    Keep::Len(max) => self.live().len() as u64 > max,
                    Keep::From(from) => id < from,
                };
                let may_go = references != References::Respect || !self.is_referenced(id);
                if is_deleted || !is_wanted || !may_go {
                    continue;
                }
                self.blocks[at][entry].is_deleted = true;
                if references == References::Delete {
                    self.groups.values_mut().for_each(|group| _ = group.pending.remove(&id));
                }
            }
            if is_whole && live(&self.blocks[at]) == 0 {
                self.blocks.remove(at);
            } else if references == References::Keep || !is_whole && matches!(trim.keep, Keep::From(_)) {
                break;
            } else {
                at += 1;
            }
        }
        before - self.live().len() as u64
    }

    /// Hands up to `count` new entries of a group to a consumer; returns their ids.
    pub fn read(&mut self, group: &[u8], consumer: &[u8], count: usize, now: u64, is_tracked: bool) -> Vec<StreamId> {
        let last_id = self.groups[group].last_id;
        let ids = self.live().iter().map(|entry| entry.id).filter(|&id| id > last_id).take(count).collect::<Vec<_>>();
        for &id in &ids {
            let has_tombstones = self.has_tombstones_from(id);
            let added = self.added_up_to(id);
            let group = self.groups.get_mut(group).unwrap();
            group.entries_read = match group.entries_read {
                Some(read) if !has_tombstones => Some(read + 1),
                _ => added,
            };
            group.last_id = id;
            if is_tracked {
                group.pending.insert(id, (consumer.into(), now, 1));
            }
        }
        ids
    }

    fn has_tombstones_from(&self, id: StreamId) -> bool {
        let deleted = self.max_deleted_id;
        !self.live().is_empty() && deleted > StreamId::MIN && self.first_id() <= deleted && id <= deleted
    }

    fn added_up_to(&self, id: StreamId) -> Option<i64> {
        let (added, len, first) = (self.entries_added as i64, self.live().len() as i64, self.first_id());
        if added == 0 || len == 0 && id <= self.last_id || id == self.last_id {
            return Some(added);
        }
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < first;
        match () {
            _ if id > self.last_id || !is_whole || id > first => None,
            _ if id < first => Some(added - len),
            _ => Some(added - len + 1),
        }
    }

    pub fn lag(&self, group: &[u8]) -> Option<i64> {
        let group = &self.groups[group];
        if self.entries_added == 0 {
            return Some(0);
        }
        let read = group.entries_read.filter(|_| !self.has_tombstones_from(group.last_id));
        read.or_else(|| self.added_up_to(group.last_id)).map(|read| self.entries_added as i64 - read)
    }
}

/// Redis's listpack of a block, byte for byte as long.
pub fn listpack(block: &[ModelEntry]) -> Vec<u8> {
    let first = &block[0];
    let number = |list: &mut Vec<u8>, value: i64| element(list, value.to_string().as_bytes());
    let mut list = vec![0; 6];
    number(&mut list, live(block) as i64);
    number(&mut list, block.len() as i64 - live(block) as i64);
    number(&mut list, first.fields.len() as i64);
    first.fields.iter().for_each(|(name, _)| element(&mut list, name));
    number(&mut list, 0);
    for entry in block {
        let names = entry.fields.iter().map(|(name, _)| name);
        let is_same = names.eq(first.fields.iter().map(|(name, _)| name));
        number(&mut list, entry.is_deleted as i64 | (is_same as i64) << 1);
        number(&mut list, (entry.id.ms - first.id.ms) as i64);
        number(&mut list, entry.id.seq.wrapping_sub(first.id.seq) as i64);
        let count = entry.fields.len() as i64;
        if !is_same {
            number(&mut list, count);
        }
        for (name, value) in &entry.fields {
            if !is_same {
                element(&mut list, name);
            }
            element(&mut list, value);
        }
        number(&mut list, if is_same { count + 3 } else { 2 * count + 4 });
    }
    list.push(0xff);
    list
}

/// Appends one element: an integer if the text is one, then its length backwards.
fn element(list: &mut Vec<u8>, text: &[u8]) {
    let start = list.len();
    let integer = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    match integer.filter(|value| value.to_string().as_bytes() == text) {
        Some(value) => {
            let bytes = [1, 2, 3, 4, 5, 9];
            let limits = [0..128, -4096..4096, -(1 << 15)..1 << 15, -(1 << 23)..1 << 23, -(1 << 31)..1 << 31];
            let form = limits.iter().position(|limit| limit.contains(&value)).unwrap_or(5);
            list.extend(std::iter::repeat_n(0, bytes[form]));
        }
        None => {
            let head = if text.len() < 64 { 1 } else { 5 - 3 * (text.len() < 4096) as usize };
            list.extend(std::iter::repeat_n(0, head));
            list.extend(text);
        }
    }
    let len = list.len() - start;
    let backwards = [128, 16_383, 2_097_151, 268_435_455].iter().filter(|&&limit| len >= limit).count() + 1;
    list.extend(std::iter::repeat_n(0, backwards));
}
