//! Bytes that were damaged, given to everything here that reads bytes.
//!
//! A value is made at random, written, and read back: it must be the same. Then some of its bytes are changed and it is read
//! again: what comes of it does not matter, as long as something comes. Whatever can be read can be written, and is then the
//! same again.

use super::decode::{self, Limits, Loaded, Setting};
use super::encode::{self, View};
use super::frame::{Frame, Frames};
use super::wire::Reader;
use super::{Form, payload};
use crate::base::clock::WallMs;
use crate::base::crc64::crc64;
use crate::value::object::Object;
use crate::value::{hash, list, set, zset};

/// Limits that let both forms of everything appear.
const LIMITS: Limits = Limits {
    list: list::Limits::SMALL,
    set: set::Limits { ints: 8, pack: 8, member_len: 16 },
    hash: hash::Limits { entries: 8, value_len: 16 },
    zset: zset::Limits { entries: 8, value: 16 },
};
const SETTING: Setting<'static> = Setting { version: 12, limits: &LIMITS, now: WallMs(1000) };

/// Reads any bytes as a payload, as a value of each type and as a file.
pub fn read_anything(bytes: &[u8]) {
    if payload::is_whole(bytes) {
        let _ = payload::read(bytes, SETTING);
    }
    if let Some((&kind, rest)) = bytes.split_first() {
        for version in [10, 12, 80] {
            if let Ok(value) = decode::value(kind, &mut Reader::new(rest), Setting { version, ..SETTING }) {
                again(value);
            }
        }
    }
    read_file(bytes);
    read_file(&[b"REDIS0012", bytes].concat());
}

/// Reads any bytes as a file.
pub fn read_file(bytes: &[u8]) {
    let mut frames = Frames::new(false);
    frames.push(bytes);
    frames.finish();
    while let Ok(Some(frame)) = frames.part() {
        match frame {
            Frame::Keys(batch) => {
                let _ = batch.each(
                    SETTING,
                    |_| {},
                    |_| {},
                    |record| {
                        again(record.value());
                        Ok(())
                    },
                );
            }
            Frame::End => return,
            _ => {}
        }
    }
}

/// What was read is written and read once more, and is the same.
fn again(value: Loaded<'_>) {
    match value {
        Loaded::Text(bytes) => same(View::Text(&bytes)),
        Loaded::Collection(value) => {
            let object = Object::new(value);
            if let Some(lock) = object.read()
                && let Some(view) = View::of(&lock)
            {
                same(view);
            }
        }
    }
}

/// Writes a value in several forms, reads it and compares digests.
fn same(view: View<'_>) {
    let digest = |view: View<'_>| {
        let mut digest = super::digest::Digest::default();
        digest.add_value(view, false);
        digest
    };
    for (version, compresses) in [(10, true), (12, false)] {
        let form = Form { version, compresses };
        let mut bytes = Vec::new();
        encode::value(&mut bytes, view, form);
        let mut reader = Reader::new(&bytes);
        let read = decode::value(encode::kind_of(view, form), &mut reader, SETTING);
        assert!(reader.is_empty());
        match read {
            Ok(Loaded::Text(text)) => assert_eq!(digest(View::Text(&text)), digest(view)),
            Ok(Loaded::Collection(value)) => {
                let object = Object::new(value);
                let lock = object.read().expect("nobody else has it");
                assert_eq!(View::of(&lock).map(digest), Some(digest(view)));
            }
            Err(fault) => panic!("what was written cannot be read: {fault}"),
        }
    }
}

/// Seals a body: the version and the sum of a payload.
pub fn sealed(body: &[u8]) -> Vec<u8> {
    let mut out = [body, &12u16.to_le_bytes()].concat();
    let sum = crc64(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::persist::lent::Lent;
    use crate::persist::record::{self, About};
    use crate::value::hash::{Deadline, Hash};
    use crate::value::list::{End, List};
    use crate::value::object::{Collection, Exclusive, Value};
    use crate::value::set::Set;
    use crate::value::stream::{BlockLimits, Group, Pending, Stream, StreamId};
    use crate::value::zset::SortedSet;

    fn text(prng: &mut Prng) -> Vec<u8> {
        match prng.below(4) {
            0 => ((prng.next_u64() as i64) >> prng.below(64)).to_string().into_bytes(),
            1 => vec![b'a' + prng.below(3) as u8; prng.below(100) as usize],
            2 => (0..prng.below(30)).map(|_| prng.next_u64() as u8).collect(),
            _ => prng.below(1000).to_string().into_bytes(),
        }
    }

    fn stream(prng: &mut Prng) -> Stream {
        let (mut stream, mut id) = (Stream::default(), StreamId::new(1 + prng.below(1 << 40), prng.below(9)));
        for _ in 0..prng.below(40) {
            id = StreamId::new(id.ms + prng.below(3), id.seq + 1 + prng.below(300));
            let names = [&b"a"[..], b"b", b"c"];
            let pairs: Vec<(&[u8], Vec<u8>)> =
                (0..1 + prng.below(3)).map(|at| (names[at as usize], text(prng))).collect();
            let fields = pairs.iter().map(|(name, value)| (*name, &value[..]));
            stream.append(id, fields, BlockLimits { bytes: 200, entries: 7 }).expect("it is small");
            if prng.chance(1, 5) {
                stream.delete(id, Default::default());
            }
        }
        for name in [&b"g"[..], b"h"].into_iter().take(prng.below(3) as usize) {
            let mut group = Group::new(id, prng.chance(1, 2).then_some(7));
            let owners = [&b"one"[..], b"two"].map(|name| group.add_consumer(name, WallMs(prng.below(1 << 41))));
            for at in 0..prng.below(20) {
                let owner = owners[at as usize % 2].expect("it is new");
                let pending = Pending { owner, delivered_at: WallMs(prng.below(1 << 41)), count: at as i64 };
                group.restore(StreamId::new(at, 1), pending);
            }
            assert!(stream.add_group(name, group));
        }
        stream
    }

    /// A value of any type and size.
    fn value(prng: &mut Prng) -> Value {
        let count_max = if prng.chance(1, 2) { 7 } else { 60 };
        let count = prng.below(count_max) + 1;
        fn made<T: Collection>(mut value: T, count: u64, mut add: impl FnMut(&mut T)) -> Value {
            (0..count).for_each(|_| add(&mut value));
            Value::new(value)
        }
        match prng.below(6) {
            0 => made(List::default(), count, |list| {
                let value = text(prng);
                list.expect(value.len(), 1, &LIMITS.list);
                list.push(End::Back, &value, &LIMITS.list);
            }),
            1 => made(Set::default(), count, |set| _ = set.add(&text(prng), &LIMITS.set)),
            2 => {
                let shift = prng.below(60);
                made(Set::default(), count, |set| {
                    set.add(((prng.next_u64() as i64) >> shift).to_string().as_bytes(), &LIMITS.set);
                })
            }
            3 => made(SortedSet::default(), count, |set| {
                let score =
                    if prng.chance(1, 2) { prng.below(100) as f64 } else { f64::from_bits(prng.next_u64() >> 2) };
                set.put(&text(prng), LIMITS.zset, score);
            }),
            4 => made(Hash::default(), count, |hash| {
                let name = text(prng);
                hash.set(&name, &text(prng), Deadline::Keep, LIMITS.hash, WallMs(0));
                if prng.chance(1, 3) {
                    hash.set_deadline(&name, Some(WallMs(2000 + prng.below(1 << 40))));
                }
            }),
            _ => Value::new(stream(prng)),
        }
    }

    #[test]
    fn values_come_back_and_damaged_ones_do_no_harm() {
        for seed in 0..300 {
            let mut prng = Prng::seeded(seed);
            let object = Object::new(value(&mut prng));
            let lock = object.read().expect("nobody else has it");
            let view = View::of(&lock).expect("it is one of ours");
            same(view);
            let form = Form { version: 10 + prng.below(3) as u32, compresses: prng.chance(1, 2) };
            let whole = payload::write(view, form);
            assert!(payload::is_whole(&whole) && payload::read(&whole, SETTING).is_ok(), "seed {seed}");
            let body = &whole[..whole.len() - 10];
            for _ in 0..60 {
                let mut damaged = body.to_vec();
                for _ in 0..1 + prng.below(3) {
                    let at = prng.below(damaged.len() as u64) as usize;
                    damaged[at] =
                        if prng.chance(1, 2) { damaged[at] ^ 1 << prng.below(8) } else { prng.next_u64() as u8 };
                }
                damaged.truncate(if prng.chance(1, 4) {
                    prng.below(body.len() as u64 + 1) as usize
                } else {
                    body.len()
                });
                read_anything(&damaged);
                read_anything(&sealed(&damaged));
            }
        }
    }

    #[test]
    fn what_was_lent_is_written_as_it_was_whatever_becomes_of_it() {
        let mut lent_count = 0;
        for seed in 0..300 {
            let mut prng = Prng::seeded(seed);
            let object = Object::new(value(&mut prng));
            let form = Form { version: 10 + prng.below(3) as u32, compresses: prng.chance(1, 2) };
            let about = About { name: b"key"[..].into(), expires_at: Some(WallMs(7)), usage: None };
            let (mut at_once, mut later) = (Vec::new(), Vec::new());
            let lock = object.read().expect("nobody else has it");
            record::put(&mut at_once, &about, View::of(&lock).expect("it is one of ours"), form);
            drop(lock);
            let mut lock = object.write().expect("nobody else has it");
            let Some(lent) = Lent::of(&mut lock, form) else { continue };
            change(&mut lock, &mut prng);
            if prng.chance(1, 2) {
                lock.bury();
                drop(object);
            }
            lent.put(&mut later, &about, form);
            assert_eq!(later, at_once, "seed {seed}");
            lent_count += 1;
        }
        assert!(lent_count > 50, "{lent_count} of 300 were large");
    }

    /// Changes much of what is there.
    fn change(lock: &mut Exclusive<'_>, prng: &mut Prng) {
        for _ in 0..20 {
            let text = text(prng);
            if let Some(list) = lock.get_mut::<List>() {
                list.expect(text.len(), 1, &LIMITS.list);
                list.replace(prng.below(list.count() as u64) as usize, &text, &LIMITS.list);
            } else if let Some(set) = lock.get_mut::<Set>() {
                set.add(&text, &LIMITS.set);
                set.remove(b"7");
            } else if let Some(set) = lock.get_mut::<SortedSet>() {
                set.put(&text, LIMITS.zset, prng.below(100) as f64);
                set.take(0..1, false, |_, _| ());
            } else if let Some(hash) = lock.get_mut::<Hash>() {
                hash.set(&text, b"new", Deadline::Keep, LIMITS.hash, WallMs(0));
            } else if let Some(stream) = lock.get_mut::<Stream>() {
                let first = stream.blocks().next().map(|block| block.base());
                first.into_iter().for_each(|id| _ = stream.delete(id, Default::default()));
            }
        }
    }
}
