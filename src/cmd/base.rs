//! Entries in the journal's own words: commands that make them. For a base that is not a snapshot (`aof-use-rdb-preamble no`).
//!
//! Collections are cut into commands of some dozen elements, as a client would send them. Large ones are lent to the thread that
//! writes the file, as for a snapshot (`persist::lent`).

use super::stream::{Place, recorded_claim};
use super::world::World;
use crate::admin::params::Id;
use crate::base::clock::{WallMs, wall_micros};
use crate::base::ids::DbIndex;
use crate::base::num::f64_text_17;
use crate::keyspace::order::append_command;
use crate::keyspace::types::{Str, Type};
use crate::persist::Form;
use crate::persist::lent::{Body, Lent};
use crate::persist::wire::Sink;
use crate::table::Entry;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::object::{Exclusive, Shared};
use crate::value::set::Set;
use crate::value::stream::{Group, IdBuffer, Stream, StreamId};
use crate::value::zset::SortedSet;
use std::ops::ControlFlow;

/// Elements of one command. Source: Redis, AOF_REWRITE_ITEMS_PER_CMD.
const TOGETHER: usize = 64;

/// Bytes of commands that are gathered before they go out.
const GATHERED: usize = 4 << 10;

/// Commands on their way out.
struct Out<'o, S: Sink> {
    sink: &'o mut S,
    bytes: Vec<u8>,
    /// The command that is being gathered: its head, and elements behind it.
    words: Vec<Vec<u8>>,
    head: usize,
    per_element: usize,
}

impl<'o, S: Sink> Out<'o, S> {
    fn new(sink: &'o mut S) -> Self {
        Out { sink, bytes: Vec::new(), words: Vec::new(), head: 0, per_element: 1 }
    }
    fn command(&mut self, words: &[&[u8]]) {
        append_command(&mut self.bytes, words.iter().copied());
        if self.bytes.len() >= GATHERED {
            self.flush();
        }
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
            if self.bytes.len() >= GATHERED {
                self.flush();
            }
        }
    }
    fn flush(&mut self) {
        self.sink.put(&self.bytes);
        self.bytes.clear();
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
    let (key, kind) = (entry.key(), Type::of(entry));
    let lock = match kind {
        Type::String => None,
        _ => Some(entry.object()?.read()?),
    };
    let mut out = Out::new(out);
    match &lock {
        Some(lock) => write_collection(&mut out, key, kind, lock),
        None => {
            let mut digits = itoa::Buffer::new();
            out.command(&[b"SET", key, Str::of(entry).ok()?.bytes(&mut digits)]);
        }
    }
    write_deadline(&mut out, key, entry.expires_at());
    out.flush();
    Some(then())
}

/// Takes what is under this lock, to be written later (`put_lent`). None: it is in a small form.
pub fn lend(key: &[u8], lock: &mut Exclusive<'_>, form: Form) -> Option<Lent> {
    Lent::with_rest(lock, form, |stream| {
        let mut rest = Vec::new();
        let mut out = Out::new(&mut rest);
        write_rest(&mut out, key, stream);
        out.flush();
        rest
    })
}

/// Appends the commands that make a large value as it was.
pub fn put_lent(out: &mut impl Sink, key: &[u8], lent: Lent, expires_at: Option<WallMs>) {
    let mut out = Out::new(out);
    match lent.body {
        Body::Text(text) => out.command(&[b"SET", key, &text]),
        Body::List([_, mut list]) => {
            out.begin(&[b"RPUSH", key], 1);
            while list.visit_some(|element| out.word(element.text(&mut itoa::Buffer::new()))) {}
        }
        Body::Set(mut set) => {
            out.begin(&[b"SADD", key], 1);
            while set.visit_some(|member| out.word(member.text(&mut itoa::Buffer::new()))) {}
        }
        Body::Hash(hash, _) => write_hash(&mut out, key, &hash),
        Body::SortedSet(mut zset) => {
            out.begin(&[b"ZADD", key], 2);
            while zset.visit_some(false, |member, score| write_member(&mut out, member, score)) {}
        }
        Body::Stream(stream, rest) => {
            write_entries(&mut out, key, &stream);
            out.flush();
            out.sink.put(&rest);
        }
    }
    out.cut();
    write_deadline(&mut out, key, expires_at);
    out.flush();
}

fn write_deadline<S: Sink>(out: &mut Out<'_, S>, key: &[u8], at: Option<WallMs>) {
    if let Some(at) = at {
        out.command(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at.0).as_bytes()]);
    }
}

fn write_collection<S: Sink>(out: &mut Out<'_, S>, key: &[u8], kind: Type, lock: &Shared<'_>) {
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
            zset.each(0..zset.len(), false, |member, score| write_member(out, member, score));
        }
        Type::Hash => {
            let Some(hash) = lock.get::<Hash>() else { return };
            write_hash(out, key, hash);
        }
        Type::Stream => {
            let Some(stream) = lock.get::<Stream>() else { return };
            write_entries(out, key, stream);
            write_rest(out, key, stream);
        }
        _ => {}
    }
    out.cut();
}

fn write_member<S: Sink>(out: &mut Out<'_, S>, member: &[u8], score: f64) {
    out.word(f64_text_17(score).as_bytes());
    out.word(member);
}

fn write_hash<S: Sink>(out: &mut Out<'_, S>, key: &[u8], hash: &Hash) {
    out.begin(&[b"HSET", key], 2);
    let (mut name_digits, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut timed: Vec<(Vec<u8>, WallMs)> = Vec::new();
    hash.for_all(|name, value, deadline| {
        let name = name.text(&mut name_digits);
        timed.extend(deadline.map(|at| (name.to_vec(), at)));
        out.word(name);
        out.word(value.text(&mut digits));
    });
    out.cut();
    for (name, at) in timed {
        out.command(&[b"HPEXPIREAT", key, digits.format(at.0).as_bytes(), b"FIELDS", b"1", &name]);
    }
}

fn write_entries<S: Sink>(out: &mut Out<'_, S>, key: &[u8], stream: &Stream) {
    let mut id = IdBuffer::new();
    for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
        out.begin(&[b"XADD", key, id.format(entry.id)], usize::MAX / TOGETHER);
        for (name, value) in entry.fields() {
            out.word(name);
            out.word(value);
        }
        out.cut();
    }
}

/// What a stream has beside its entries.
fn write_rest<S: Sink>(out: &mut Out<'_, S>, key: &[u8], stream: &Stream) {
    let log = stream.log();
    let (mut id, mut deleted, mut added) = (IdBuffer::new(), IdBuffer::new(), itoa::Buffer::new());
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

fn write_group<S: Sink>(out: &mut Out<'_, S>, key: &[u8], name: &[u8], group: &Group) {
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
