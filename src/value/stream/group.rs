//! Consumer groups: how far a group has read, and who has what pending.
//!
//! What is pending stands in the group's list, ordered by id, with its owner; each consumer has a list of its ids beside.
//! The two agree: an id is in the group's list if and only if it is in its owner's.

use super::block::Entry;
use super::id::StreamId;
use super::idmap::IdMap;
use super::log::Log;
use crate::base::clock::WallMs;
use std::collections::BTreeMap;

/// A group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries of the stream were added up to there; None if that is not known.
    pub entries_read: Option<i64>,
    pending: IdMap<Pending>,
    consumers: Consumers,
}

/// A delivered entry that nobody has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub owner: ConsumerId,
    pub delivered_at: WallMs,
    /// How often it was delivered.
    pub count: i64,
}

/// The number of a consumer within its group. Numbers of deleted consumers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

/// Who reads for a group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last tried something, and when it last got something.
    pub seen_at: WallMs,
    pub active_at: Option<WallMs>,
    pending: IdMap<()>,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        &self.name
    }
    /// Number of entries that it has not acknowledged.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
}

/// Consumers by number and by name.
#[derive(Clone, Debug, Default)]
struct Consumers {
    slots: Vec<Option<Consumer>>,
    free: Vec<ConsumerId>,
    by_name: BTreeMap<Box<[u8]>, ConsumerId>,
}

impl Consumers {
    fn get(&self, id: ConsumerId) -> &Consumer {
        self.slots[id.0 as usize].as_ref().expect("a number that is in use")
    }
    fn get_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.slots[id.0 as usize].as_mut().expect("a number that is in use")
    }
}

/// How to hand new entries to a consumer.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    pub to: ConsumerId,
    pub now: WallMs,
    /// They become pending; otherwise nobody has to acknowledge them.
    pub is_tracked: bool,
}

/// How to hand a pending entry to another consumer.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub to: ConsumerId,
    pub now: WallMs,
    pub delivered_at: WallMs,
    /// Only if nobody has touched it for so many milliseconds.
    pub min_idle: i64,
    /// The new number of deliveries; None adds one, unless only ids are asked for.
    pub count: Option<i64>,
    pub is_just_id: bool,
}

impl Group {
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Self {
        Group { last_id, entries_read, ..Group::default() }
    }

    /// Number of entries that wait for an acknowledgement.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }
    /// The lowest and the highest pending id.
    pub fn pending_ends(&self) -> Option<(StreamId, StreamId)> {
        Some((self.pending.first()?, self.pending.last()?))
    }
    pub fn pending(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(id)
    }
    /// What is pending from `start` on.
    pub fn pending_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Pending)> {
        self.pending.from(start)
    }
    /// The first pending entry from `start` on.
    pub fn next_pending(&self, start: StreamId) -> Option<StreamId> {
        self.pending.ceiling(start).map(|(id, _)| id)
    }
    /// What one consumer has pending from `start` on.
    pub fn pending_of(&self, consumer: ConsumerId, start: StreamId) -> impl Iterator<Item = (StreamId, &Pending)> {
        let ids = self.consumers.get(consumer).pending.from(start);
        ids.map(|(id, ())| (id, self.pending.get(id).expect("the two lists agree")))
    }

    pub fn consumer_count(&self) -> usize {
        self.consumers.by_name.len()
    }
    /// All consumers in the order of their names.
    pub fn consumers(&self) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        self.consumers.by_name.values().map(|&id| (id, self.consumers.get(id)))
    }
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers.get(id)
    }
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers.get_mut(id)
    }
    pub fn find_consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.consumers.by_name.get(name).copied()
    }
    /// Adds a consumer; None if there is one of that name.
    pub fn add_consumer(&mut self, name: &[u8], now: WallMs) -> Option<ConsumerId> {
        if self.consumers.by_name.contains_key(name) {
            return None;
        }
        let consumer = Consumer { name: name.into(), seen_at: now, active_at: None, pending: IdMap::default() };
        let Consumers { slots, free, by_name } = &mut self.consumers;
        let id = free.pop().unwrap_or_else(|| {
            slots.push(None);
            ConsumerId(slots.len() as u32 - 1)
        });
        slots[id.0 as usize] = Some(consumer);
        by_name.insert(name.into(), id);
        Some(id)
    }
    /// The consumer of that name, seen now; true if it had to be added.
    pub fn meet_consumer(&mut self, name: &[u8], now: WallMs) -> (ConsumerId, bool) {
        match self.find_consumer(name) {
            Some(id) => {
                self.consumers.get_mut(id).seen_at = now;
                (id, false)
            }
            None => (self.add_consumer(name, now).expect("it was not found"), true),
        }
    }
    /// Removes a consumer and what it has pending; returns how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let id = self.consumers.by_name.remove(name)?;
        let consumer = self.consumers.slots[id.0 as usize].take()?;
        self.consumers.free.push(id);
        for (id, ()) in consumer.pending.from(StreamId::MIN) {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Forgets that an entry is pending; false if it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        self.consumers.get_mut(pending.owner).pending.remove(id);
        true
    }

    /// Hands entry `id` of `log` to a consumer, as the next one of the group.
    pub fn deliver(&mut self, log: &Log, id: StreamId, delivery: &Delivery) {
        if id > self.last_id {
            self.advance(log, id);
        }
        if delivery.is_tracked {
            let count = 1;
            self.own(id, Pending { owner: delivery.to, delivered_at: delivery.now, count });
            self.consumers.get_mut(delivery.to).active_at = Some(delivery.now);
        }
    }

    /// The group has read up to entry `id`.
    fn advance(&mut self, log: &Log, id: StreamId) {
        self.entries_read = match self.entries_read {
            Some(read) if !log.has_tombstones_from(id) => Some(read.wrapping_add(1)),
            _ => log.added_up_to(id).map(|added| added as i64),
        };
        self.last_id = id;
    }

    /// Makes an entry pending, whoever had it before.
    fn own(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending).map(|before| before.owner);
        if before == Some(pending.owner) {
            return;
        }
        if let Some(before) = before {
            self.consumers.get_mut(before).pending.remove(id);
        }
        self.consumers.get_mut(pending.owner).pending.insert(id, ());
    }

    /// Makes an entry pending as a snapshot has it.
    pub fn restore(&mut self, id: StreamId, pending: Pending) {
        self.own(id, pending);
    }

    /// Shows a consumer up to `count` of its pending entries from `start` on, again: `visit` gets each with its entry, or
    /// with None if that is gone. Those that are there count as delivered once more.
    pub fn repeat<'l>(
        &mut self,
        log: &'l Log,
        to: ConsumerId,
        start: StreamId,
        count: usize,
        now: WallMs,
        mut visit: impl FnMut(StreamId, Option<Entry<'l>>),
    ) {
        for (id, ()) in self.consumers.get(to).pending.from(start).take(count) {
            let entry = log.get(id);
            if entry.is_some() {
                let pending = self.pending.get_mut(id).expect("the two lists agree");
                pending.delivered_at = now;
                pending.count = pending.count.wrapping_add(1);
            }
            visit(id, entry);
        }
    }

    /// Hands a pending entry to a consumer; false if it is not idle for long enough or not pending. `is_forced` makes it
    /// pending then.
    pub fn claim(&mut self, id: StreamId, claim: &Claim, is_forced: bool) -> bool {
        let old = match self.pending.get(id) {
            Some(old) if old.is_idle(claim.min_idle, claim.now) => *old,
            None if is_forced => Pending { owner: claim.to, delivered_at: claim.now, count: 1 },
            _ => return false,
        };
        let count = claim.count.unwrap_or(old.count.wrapping_add(!claim.is_just_id as i64));
        self.own(id, Pending { owner: claim.to, delivered_at: claim.delivered_at, count });
        self.consumers.get_mut(claim.to).active_at = Some(claim.now);
        true
    }

    /// How many entries the group has yet to read, if that can be told.
    pub fn lag(&self, log: &Log) -> Option<i64> {
        let added = log.entries_added() as i64;
        if added == 0 {
            return Some(0);
        }
        let read = self.entries_read.filter(|_| !log.has_tombstones_from(self.last_id));
        let read = read.or_else(|| log.added_up_to(self.last_id).map(|added| added as i64));
        read.map(|read| added.wrapping_sub(read))
    }

    /// Allocations, about. Cost: constant.
    pub fn pieces(&self) -> usize {
        1 + 2 * self.pending.chunk_count() + 2 * self.consumer_count()
    }
    /// Bytes allocated.
    pub fn memory(&self) -> usize {
        let of_consumers: usize = self
            .consumers()
            .map(|(_, consumer)| size_of::<Consumer>() + 2 * consumer.name.len() + 24 + consumer.pending.memory())
            .sum();
        size_of::<Group>() + self.pending.memory() + of_consumers
    }
    /// Panics if the two lists of pending ids differ.
    #[cfg(test)]
    pub fn check(&self) {
        let owned: usize = self.consumers().map(|(_, consumer)| consumer.pending.len()).sum();
        assert_eq!(owned, self.pending.len());
        for (id, pending) in self.pending.from(StreamId::MIN) {
            assert!(self.consumers.get(pending.owner).pending.get(id).is_some());
        }
    }
}

impl Pending {
    /// Has nobody touched it for `min_idle` milliseconds?
    pub fn is_idle(&self, min_idle: i64, now: WallMs) -> bool {
        min_idle == 0 || now.0 as i64 - self.delivered_at.0 as i64 >= min_idle
    }
    /// Milliseconds since it was delivered.
    pub fn idle(&self, now: WallMs) -> i64 {
        now.0.saturating_sub(self.delivered_at.0) as i64
    }
}
