//! Seeded operations on a stream and on the naive one of `stream_model`; after each, what can be seen must agree.

use super::stream_model::{FieldList, Model, ModelGroup, listpack};
use super::*;
use crate::base::clock::WallMs;
use crate::base::prng::Prng;

struct Pair {
    prng: Prng,
    stream: Stream,
    model: Model,
    limits: BlockLimits,
    now: u64,
}

fn name(prng: &mut Prng, kind: &str) -> Vec<u8> {
    format!("{kind}{}", prng.below(3)).into_bytes()
}

fn fields_of(entry: Entry<'_>) -> FieldList {
    assert_eq!(entry.fields().count(), entry.field_count());
    entry.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::seeded(seed);
        let limits = BlockLimits {
            bytes: [0, 60, 200, 4096][prng.below(4) as usize],
            entries: [0, 1, 3, 10][prng.below(4) as usize],
        };
        Pair { prng, stream: Stream::default(), model: Model::default(), limits, now: 1000 }
    }

    /// An id near those in use.
    fn id(&mut self) -> StreamId {
        let ids: Vec<StreamId> = self.model.blocks.iter().flatten().map(|entry| entry.id).collect();
        match ids.len() as u64 {
            0 => StreamId::new(self.prng.below(5), self.prng.below(3)),
            count => {
                let id = ids[self.prng.below(count) as usize];
                let moved = [Some(id), Some(id), id.next(), id.prev()][self.prng.below(4) as usize];
                moved.unwrap_or(id)
            }
        }
    }

    fn text(&mut self) -> Vec<u8> {
        match self.prng.below(41) {
            0 => vec![b'x'; 4085 + self.prng.below(20) as usize],
            1..9 => (self.prng.next_u64() as i64 >> self.prng.below(64)).to_string().into_bytes(),
            9..17 => vec![b'x'; (self.prng.next_u64() >> (54 + self.prng.below(10))) as usize],
            17..25 => [&b"-0"[..], b"007", b"", b"1e5", b"\xff\0"][self.prng.below(5) as usize].into(),
            _ => name(&mut self.prng, "v"),
        }
    }

    fn append(&mut self) {
        let step = [0, 0, 1, 1, 200, u64::MAX >> 30][self.prng.below(6) as usize];
        let last = self.model.last_id;
        let id = if step == 0 { last.next().unwrap() } else { StreamId::new(last.ms + step, self.prng.below(9)) };
        let is_usual = self.prng.chance(3, 4);
        let count = if is_usual { 2 } else { 1 + self.prng.below(3) };
        let fields: FieldList = (0..count)
            .map(|index| (if is_usual { format!("f{index}").into_bytes() } else { self.text() }, self.text()))
            .collect();
        let pairs = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        assert_eq!(self.stream.append(id, pairs, self.limits), Ok(()));
        self.model.append(id, fields, self.limits);
    }

    fn trim(&mut self) {
        let len = self.model.live().len() as u64;
        let keep = if self.prng.chance(1, 2) { Keep::Len(self.prng.below(len + 2)) } else { Keep::From(self.id()) };
        let is_approximate = self.prng.chance(1, 2);
        let limit = if is_approximate { self.prng.below(20) } else { 0 };
        let trim = Trim { keep, is_approximate, limit };
        let references = self.references();
        assert_eq!(self.stream.trim(&trim, references), self.model.trim(&trim, references));
    }

    fn references(&mut self) -> References {
        [References::Keep, References::Keep, References::Delete, References::Respect][self.prng.below(4) as usize]
    }

    fn read(&mut self, group: &[u8]) {
        let (consumer, count) = (name(&mut self.prng, "c"), 1 + self.prng.below(6) as usize);
        let (now, is_tracked) = (WallMs(self.now), self.prng.chance(4, 5));
        let Some((log, own)) = self.stream.group_mut(group) else { return };
        let (to, is_new) = own.meet_consumer(&consumer, now);
        let start = own.last_id.next().unwrap();
        let ids: Vec<StreamId> = log.range(start, StreamId::MAX).take(count).map(|entry| entry.id).collect();
        ids.iter().for_each(|&id| own.deliver(log, id, &Delivery { to, now, is_tracked }));
        if is_new {
            self.model.groups.get_mut(group).unwrap().consumers.push(consumer.clone());
        }
        assert_eq!(ids, self.model.read(group, &consumer, count, self.now, is_tracked));
    }

    fn repeat(&mut self, group: &[u8]) {
        let (consumer, start, count) = (name(&mut self.prng, "c"), self.id(), self.prng.below(5) as usize);
        let live: Vec<StreamId> = self.model.live().iter().map(|entry| entry.id).collect();
        let Some((log, own)) = self.stream.group_mut(group) else { return };
        let Some(id) = own.find_consumer(&consumer) else { return };
        let mut seen = Vec::new();
        own.repeat(log, id, start, count, WallMs(self.now), |id, entry| seen.push((id, entry.is_some())));
        let pending = &mut self.model.groups.get_mut(group).unwrap().pending;
        let own = pending.range_mut(start..).filter(|(_, pending)| pending.0 == consumer).take(count);
        let expected = own.map(|(&id, pending)| {
            let is_live = live.contains(&id);
            if is_live {
                (pending.1, pending.2) = (self.now, pending.2 + 1);
            }
            (id, is_live)
        });
        assert_eq!(seen, expected.collect::<Vec<_>>());
    }

    fn claim(&mut self, group: &[u8]) {
        let (consumer, id, is_forced) = (name(&mut self.prng, "c"), self.id(), self.prng.chance(1, 3));
        let (min_idle, is_just_id) = (self.prng.below(30) as i64, self.prng.chance(1, 3));
        let (delivered_at, count) = (self.now - self.prng.below(9), self.prng.chance(1, 3).then_some(7));
        let Some((_, own)) = self.stream.group_mut(group) else { return };
        let (to, is_new) = own.meet_consumer(&consumer, WallMs(self.now));
        let (now, delivered_at_ms) = (WallMs(self.now), WallMs(delivered_at));
        let claim = Claim { to, now, delivered_at: delivered_at_ms, min_idle, count, is_just_id };
        let is_claimed = own.claim(id, &claim, is_forced);
        let group = self.model.groups.get_mut(group).unwrap();
        if is_new {
            group.consumers.push(consumer.clone());
        }
        let old = group.pending.get(&id).cloned();
        let is_idle = old.as_ref().is_some_and(|old| min_idle == 0 || (self.now - old.1) as i64 >= min_idle);
        assert_eq!(is_claimed, is_idle || old.is_none() && is_forced);
        if is_claimed {
            let next = old.map_or(1, |old| old.2) + !is_just_id as i64;
            group.pending.insert(id, (consumer, delivered_at, count.unwrap_or(next)));
        }
    }

    fn change_groups(&mut self, group: &[u8]) {
        let (consumer, id) = (name(&mut self.prng, "c"), self.id());
        match self.prng.below(8) {
            0..3 => {
                let new = ModelGroup { last_id: id, ..ModelGroup::default() };
                let is_new = !self.model.groups.contains_key(group);
                assert_eq!(self.stream.add_group(group, Group::new(id, None)), is_new);
                self.model.groups.entry(group.to_vec()).or_insert(new);
            }
            3 => assert_eq!(self.stream.remove_group(group), self.model.groups.remove(group).is_some()),
            4 => {
                let Some((_, own)) = self.stream.group_mut(group) else { return };
                let group = self.model.groups.get_mut(group).unwrap();
                let had = group.pending.values().filter(|pending| pending.0 == consumer).count();
                let is_known = group.consumers.contains(&consumer);
                assert_eq!(own.remove_consumer(&consumer), is_known.then_some(had));
                group.pending.retain(|_, pending| pending.0 != consumer);
                group.consumers.retain(|known| *known != consumer);
            }
            5 => {
                let Some((_, own)) = self.stream.group_mut(group) else { return };
                (own.last_id, own.entries_read) = (id, None);
                let group = self.model.groups.get_mut(group).unwrap();
                (group.last_id, group.entries_read) = (id, None);
            }
            _ => {
                let Some((_, own)) = self.stream.group_mut(group) else { return };
                let group = self.model.groups.get_mut(group).unwrap();
                assert_eq!(own.acknowledge(id), group.pending.remove(&id).is_some());
            }
        }
    }

    fn step(&mut self) {
        self.now += self.prng.below(10);
        let group = name(&mut self.prng, "g");
        match self.prng.below(20) {
            0..8 => self.append(),
            8 | 9 => {
                let (id, references) = (self.id(), self.references());
                assert_eq!(self.stream.delete(id, references), self.model.delete(id, references));
            }
            10 => self.trim(),
            11..14 => self.read(&group),
            14 => self.repeat(&group),
            15 | 16 => self.claim(&group),
            17 => self.stream = self.stream.duplicate(),
            _ => self.change_groups(&group),
        }
    }

    fn compare(&mut self) {
        let (log, model) = (self.stream.log(), &self.model);
        let live = model.live();
        assert_eq!((log.len(), self.stream.block_count()), (live.len() as u64, model.blocks.len()));
        assert_eq!((log.first_id(), log.last_id()), (model.first_id(), model.last_id));
        assert_eq!((log.max_deleted_id(), log.entries_added()), (model.max_deleted_id, model.entries_added));
        assert_eq!(log.last_live_id(), live.last().map(|entry| entry.id));
        for (block, naive) in log.blocks.iter().zip(&model.blocks) {
            assert_eq!((block.base(), block.listpack_len()), (naive[0].id, listpack(naive).len() as u64));
        }
        for (name, group) in &model.groups {
            let own = self.stream.group(name).unwrap();
            own.check();
            assert_eq!((own.last_id, own.entries_read), (group.last_id, group.entries_read));
            assert_eq!(own.lag(log), model.lag(name));
            let pending = own.pending_from(StreamId::MIN).map(|(id, pending)| {
                (id, (own.consumer(pending.owner).name().to_vec(), pending.delivered_at.0, pending.count))
            });
            assert!(pending.eq(group.pending.iter().map(|(id, pending)| (*id, pending.clone()))));
            let mut names = group.consumers.clone();
            names.sort();
            assert!(own.consumers().map(|(_, consumer)| consumer.name()).eq(names));
        }
    }

    fn compare_ranges(&mut self) {
        let (start, end) = (self.id(), self.id());
        let (log, live) = (self.stream.log(), self.model.live());
        let expected: Vec<_> = live.iter().filter(|entry| entry.id >= start && entry.id <= end).collect();
        let entries: Vec<Entry<'_>> = log.range(start, end).collect();
        assert!(
            entries
                .iter()
                .map(|entry| (entry.id, fields_of(*entry)))
                .eq(expected.iter().map(|entry| (entry.id, entry.fields.clone())))
        );
        assert!(log.range_back(start, end).map(|entry| entry.id).eq(expected.iter().rev().map(|entry| entry.id)));
        let found = live.iter().find(|entry| entry.id == start).map(|entry| entry.fields.clone());
        assert_eq!(log.get(start).map(fields_of), found);
    }
}

#[test]
fn a_stream_does_what_the_naive_one_does() {
    for seed in 0..150 {
        let mut pair = Pair::new(seed);
        for _ in 0..200 {
            pair.step();
            pair.compare();
            pair.compare_ranges();
        }
    }
}
