//! Entries in the journal's own words: commands that make them. For a base that is not a snapshot (`aof-use-rdb-preamble no`).
//!
//! Collections are cut into commands of some dozen elements, as a client would send them.

use super::stream::{Place, recorded_claim};
use super::world::World;
use crate::admin::params::Id;
use crate::base::clock::{WallMs, wall_micros};
use crate::base::ids::DbIndex;
use crate::base::num::f64_text_17;
use crate::keyspace::order::append_command;
use crate::keyspace::types::{Str, Type};
use crate::table::Entry;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::object::Shared;
use crate::value::set::Set;
use crate::value::stream::{Group, IdBuffer, Stream, StreamId};
use crate::value::zset::SortedSet;
use std::ops::ControlFlow;

/// Elements of one command. Source: Redis, AOF_REWRITE_ITEMS_PER_CMD.
const TOGETHER: usize = 64;

/// Commands on their way out.
struct Out<'o> {
    bytes: &'o mut Vec<u8>,
    /// The command that is being gathered: its head, and elements behind it.
    words: Vec<Vec<u8>>,
    head: usize,
    per_element: usize,
}

impl Out<'_> {
    fn command(&mut self, words: &[&[u8]]) {
        append_command(self.bytes, words.iter().copied());
    }
    /// A command of many elements begins, each of so many words.
    fn begin(&mut self, head: &[&[u8]], per_element: usize) {
        self.words = head.iter().map(|word| word.to_vec()).collect();
        (self.head, self.per_element) = (head.len(), per_element);
    }
    fn word(&mut self, word: &[u8]) {
        self.words.push(word.to_vec());
        if self.words.len() == self.head + TOGETHER * self.per_element {
            self.cut();
        }
    }
    fn cut(&mut self) {
        if self.words.len() > self.head {
            append_command(self.bytes, self.words.iter().map(Vec::as_slice));
            self.words.truncate(self.head);
        }
    }
}

/// What a base begins with: the time, if times are noted, and functions.
pub fn head(world: &World) -> Vec<u8> {
    let mut out = Vec::new();
    if world.config.number(Id::AOF_TIMESTAMP_ENABLED) != 0 {
        out.extend_from_slice(format!("#TS:{}\r\n", wall_micros() / 1_000_000).as_bytes());
    }
    for library in world.functions.catalogue().libraries() {
        append_command(&mut out, [&b"FUNCTION"[..], b"LOAD", &library.source].into_iter());
    }
    out
}

/// The commands behind it are for this database.
pub fn put_select(out: &mut Vec<u8>, db: DbIndex) {
    let mut digits = itoa::Buffer::new();
    append_command(out, [&b"SELECT"[..], digits.format(db.0).as_bytes()].into_iter());
}

/// Appends the commands that make an entry, and runs `then` while a collection's lock is still held. None: the entry is just
/// being removed, and nothing was appended.
pub fn put<R>(out: &mut Vec<u8>, entry: Entry<'_>, then: impl FnOnce() -> R) -> Option<R> {
    let mut out = Out { bytes: out, words: Vec::new(), head: 0, per_element: 1 };
    let (key, kind) = (entry.key(), Type::of(entry));
    let lock = match kind {
        Type::String => None,
        _ => Some(entry.object()?.read()?),
    };
    match &lock {
        Some(lock) => write_collection(&mut out, key, kind, lock),
        None => {
            let mut digits = itoa::Buffer::new();
            out.command(&[b"SET", key, Str::of(entry).ok()?.bytes(&mut digits)]);
        }
    }
    if let Some(at) = entry.expires_at() {
        out.command(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at.0).as_bytes()]);
    }
    Some(then())
}

fn write_collection(out: &mut Out<'_>, key: &[u8], kind: Type, lock: &Shared<'_>) {
    let mut digits = itoa::Buffer::new();
    match kind {
        Type::List => {
            let Some(list) = lock.get::<List>() else { return };
            out.begin(&[b"RPUSH", key], 1);
            list.visit(End::Front, 0, list.count(), |element| {
                out.word(element.text(&mut itoa::Buffer::new()));
                ControlFlow::Continue(())
            });
        }
        Type::Set => {
            let Some(set) = lock.get::<Set>() else { return };
            out.begin(&[b"SADD", key], 1);
            set.for_each(|member| out.word(member.text(&mut digits)));
        }
        Type::SortedSet => {
            let Some(zset) = lock.get::<SortedSet>() else { return };
            out.begin(&[b"ZADD", key], 2);
            zset.each(0..zset.len(), false, |member, score| {
                out.word(f64_text_17(score).as_bytes());
                out.word(member);
            });
        }
        Type::Hash => {
            let Some(hash) = lock.get::<Hash>() else { return };
            write_hash(out, key, hash);
        }
        Type::Stream => {
            let Some(stream) = lock.get::<Stream>() else { return };
            write_stream(out, key, stream);
        }
        _ => {}
    }
    out.cut();
}

fn write_hash(out: &mut Out<'_>, key: &[u8], hash: &Hash) {
    out.begin(&[b"HSET", key], 2);
    let (mut name_digits, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut timed: Vec<(Vec<u8>, WallMs)> = Vec::new();
    hash.for_each(WallMs(0), |name, value| {
        let name = name.text(&mut name_digits);
        if let Some(at) = hash.deadline(name, WallMs(0)).flatten() {
            timed.push((name.to_vec(), at));
        }
        out.word(name);
        out.word(value.text(&mut digits));
    });
    out.cut();
    for (name, at) in timed {
        out.command(&[b"HPEXPIREAT", key, digits.format(at.0).as_bytes(), b"FIELDS", b"1", &name]);
    }
}

fn write_stream(out: &mut Out<'_>, key: &[u8], stream: &Stream) {
    let log = stream.log();
    let (mut id, mut deleted, mut added) = (IdBuffer::new(), IdBuffer::new(), itoa::Buffer::new());
    for entry in log.range(StreamId::MIN, StreamId::MAX) {
        out.begin(&[b"XADD", key, id.format(entry.id)], usize::MAX / TOGETHER);
        for (name, value) in entry.fields() {
            out.word(name);
            out.word(value);
        }
        out.cut();
    }
    if log.is_empty() {
        // An empty stream is made by an entry that goes again.
        let first = id.format(log.last_id().max(StreamId::new(0, 1)));
        out.command(&[b"XADD", key, b"MAXLEN", b"0", first, b"x", b"y"]);
    }
    let (last, deleted) = (id.format(log.last_id()), deleted.format(log.max_deleted_id()));
    let added = added.format(log.entries_added()).as_bytes();
    out.command(&[b"XSETID", key, last, b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]);
    for (name, group) in stream.groups() {
        write_group(out, key, name, group);
    }
}

fn write_group(out: &mut Out<'_>, key: &[u8], name: &[u8], group: &Group) {
    let (mut id, mut read) = (IdBuffer::new(), itoa::Buffer::new());
    let last = id.format(group.last_id);
    match group.entries_read {
        Some(count) => {
            let count = read.format(count).as_bytes();
            out.command(&[b"XGROUP", b"CREATE", key, name, last, b"ENTRIESREAD", count]);
        }
        None => out.command(&[b"XGROUP", b"CREATE", key, name, last]),
    }
    for (owner, consumer) in group.consumers() {
        out.command(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer.name()]);
        for (id_at, pending) in group.pending_of(owner, StreamId::MIN) {
            let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
            let (at, count) = (at.format(pending.delivered_at.0).as_bytes(), count.format(pending.count).as_bytes());
            let place = Place { key, group: name, consumer: consumer.name() };
            out.command(&recorded_claim(&place, id.format(id_at), at, count));
        }
    }
}
