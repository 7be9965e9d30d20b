//! A base of the journal in the journal's own words: commands that make everything there is.
//!
//! The caller is inside the safepoint, so each key is seen once, as it is now. Collections are cut into commands of some dozen
//! elements, as a client would send them. Keys past their deadline are left out: nobody could see them.

use crate::base::clock::WallMs;
use crate::base::ids::DbIndex;
use crate::base::num::f64_text_17;
use crate::cmd::stream::{Place, recorded_claim};
use crate::cmd::world::World;
use crate::keyspace::Keys;
use crate::keyspace::order::append_command;
use crate::keyspace::types::{Str, Type};
use crate::table::{Entry, Walk, Walked};
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::object::Shared;
use crate::value::set::Set;
use crate::value::stream::{Group, IdBuffer, Stream, StreamId};
use crate::value::zset::SortedSet;
use std::io;
use std::ops::ControlFlow;

/// Elements of one command. Source: Redis, AOF_REWRITE_ITEMS_PER_CMD.
const TOGETHER: usize = 64;
/// Entries between two looks at what was written.
const WALK_COUNT: usize = 256;
/// Bytes that are handed on together.
const CHUNK: usize = 256 << 10;

/// Commands on their way out.
struct Out<'o> {
    bytes: Vec<u8>,
    /// The command that is being gathered: its head, and elements behind it.
    words: Vec<Vec<u8>>,
    head: usize,
    per_element: usize,
    write: &'o mut dyn FnMut(&[u8]) -> io::Result<()>,
}

impl Out<'_> {
    fn command(&mut self, words: &[&[u8]]) {
        append_command(&mut self.bytes, words.iter().copied());
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
            append_command(&mut self.bytes, self.words.iter().map(Vec::as_slice));
            self.words.truncate(self.head);
        }
    }
    fn flush(&mut self, at_least: usize) -> io::Result<()> {
        if self.bytes.len() >= at_least {
            (self.write)(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }
}

/// Hands everything there is to `write`.
/// Errors: those of `write`.
pub fn write_all(world: &World, keys: &Keys<'_>, write: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut out = Out { bytes: Vec::new(), words: Vec::new(), head: 0, per_element: 1, write };
    for library in world.functions.catalogue().libraries() {
        out.command(&[b"FUNCTION", b"LOAD", &library.source]);
    }
    for db in 0..world.keyspace.db_count() {
        let keys = keys.on(DbIndex(db as u16));
        if keys.count() > 0 {
            out.command(&[b"SELECT", db.to_string().as_bytes()]);
            write_db(&mut out, &keys)?;
        }
    }
    out.flush(1)
}

fn write_db(out: &mut Out<'_>, keys: &Keys<'_>) -> io::Result<()> {
    let Some(table) = keys.table() else { return Ok(()) };
    let mut walk = Walk::default();
    loop {
        let walked = table.walk(&mut walk, WALK_COUNT, keys.guard, |entry| {
            if !keys.is_dead(entry) {
                write_entry(out, entry);
            }
        });
        out.flush(CHUNK)?;
        match walked {
            Walked::Done => return Ok(()),
            Walked::More | Walked::NextShard => {}
            Walked::ShardAgain => unreachable!("nobody else is at the table"),
        }
    }
}

fn write_entry(out: &mut Out<'_>, entry: Entry<'_>) {
    let key = entry.key();
    match Type::of(entry) {
        Type::String => {
            let mut digits = itoa::Buffer::new();
            if let Ok(value) = Str::of(entry) {
                out.command(&[b"SET", key, value.bytes(&mut digits)]);
            }
        }
        kind => {
            let Some(lock) = entry.object().and_then(|object| object.read()) else { return };
            write_collection(out, key, kind, &lock);
        }
    }
    if let Some(at) = entry.expires_at() {
        out.command(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at.0).as_bytes()]);
    }
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
