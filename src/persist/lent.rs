//! Large values: taken as they are at one moment, at a small cost, and written elsewhere while they go on changing.
//!
//! Each large form can share its parts with a snapshot (`Hash::snapshot` and its like): whoever changes a part that is still to
//! be read copies it. So a collection of any size is held up for a small allocation per part, and not for its encoding.
//!
//! Nothing here is shared while it changes: parts are counted references, and their makers say who may follow what
//! (`value::zset`'s `lent` has the only locks).

use super::encode::{self, View, kind_of};
use super::record::{self, About};
use super::wire::{Sink, put_len};
use super::{Form, stream};
use crate::base::clock::WallMs;
use crate::value::hash::Hash;
use crate::value::list::{List, Snapshot as ListPart};
use crate::value::object::Exclusive;
use crate::value::set::Set;
use crate::value::stream::{Stream, StreamId};
use crate::value::zset::{Snapshot as SortedPart, SortedSet};
use bytes::Bytes;

/// Bytes of memory from which on a value is large: smaller ones are encoded in less time than the clock can tell.
pub const LARGE: usize = 64 << 10;

/// A value as it was.
pub struct Lent {
    kind: u8,
    pub body: Body,
}

/// What it is made of.
pub enum Body {
    Text(Bytes),
    /// Twice: to count its nodes, and to write them.
    List([ListPart; 2]),
    Set(Set),
    /// With the earliest of its fields' deadlines.
    Hash(Hash, Option<WallMs>),
    SortedSet(SortedPart),
    /// Its blocks, and what stands behind them.
    Stream(Stream, Vec<u8>),
}

impl Lent {
    /// A string.
    pub fn of_text(text: Bytes, form: Form) -> Lent {
        Lent { kind: kind_of(View::Text(&text), form), body: Body::Text(text) }
    }
    /// What is under this lock. None: it is in a small form.
    /// Cost: a small allocation per part of it; a stream's groups are encoded at once.
    pub fn of(lock: &mut Exclusive<'_>, form: Form) -> Option<Lent> {
        Self::with_rest(lock, form, |stream| {
            let mut rest = Vec::new();
            stream::put_rest(&mut rest, stream, form);
            rest
        })
    }
    /// The same. `rest` encodes what a stream has beside its entries.
    pub fn with_rest(lock: &mut Exclusive<'_>, form: Form, rest: impl FnOnce(&Stream) -> Vec<u8>) -> Option<Lent> {
        if let Some(list) = lock.get_mut::<List>() {
            let (kind, count) = (kind_of(View::List(list), form), list.count());
            let parts = [list.snapshot(0, count)?, list.snapshot(0, count)?];
            return Some(Lent { kind, body: Body::List(parts) });
        }
        if let Some(hash) = lock.get_mut::<Hash>() {
            let (kind, earliest, is_table) = (kind_of(View::Hash(hash), form), hash.earliest(), hash.is_table());
            return is_table.then(|| Lent { kind, body: Body::Hash(hash.snapshot(), earliest) });
        }
        if let Some(set) = lock.get_mut::<Set>() {
            let kind = kind_of(View::Set(set), form);
            let is_table = matches!(set, Set::Table(_));
            return is_table.then(|| Lent { kind, body: Body::Set(set.snapshot()) });
        }
        if let Some(set) = lock.get_mut::<SortedSet>() {
            let kind = kind_of(View::SortedSet(set), form);
            let is_tree = matches!(set, SortedSet::Tree(_));
            return is_tree.then(|| Lent { kind, body: Body::SortedSet(set.snapshot(0..set.len())) });
        }
        let stream = lock.get_mut::<Stream>()?;
        let kind = kind_of(View::Stream(stream), form);
        let rest = rest(stream);
        Some(Lent { kind, body: Body::Stream(stream.snapshot(StreamId::MIN, StreamId::MAX), rest) })
    }

    /// Writes a record, as `record::put` would have done at that moment.
    pub fn put(self, out: &mut impl Sink, about: &About<'_>, form: Form) {
        record::put_about(out, about, self.kind, form);
        match self.body {
            Body::Text(text) => encode::value(out, View::Text(&text), form),
            Body::List([counted, written]) => put_list(out, counted, written, form),
            Body::Set(set) => encode::value(out, View::Set(&set), form),
            Body::Hash(hash, earliest) => encode::hash_table(out, &hash, earliest, form.compresses),
            Body::SortedSet(mut set) => {
                put_len(out, set.len() as u64);
                while set.visit_some(true, |member, score| encode::put_member(out, member, score, form.compresses)) {}
            }
            Body::Stream(blocks, rest) => {
                stream::put_blocks(out, &blocks, form);
                out.put(&rest);
            }
        }
    }
}

fn put_list(out: &mut impl Sink, mut counted: ListPart, mut written: ListPart, form: Form) {
    let mut count = 0;
    let mut nodes = encode::Nodes::default();
    while counted.visit_some(|element| count += nodes.push(element).is_some() as u64) {}
    put_len(out, count + nodes.finish().is_some() as u64);
    while written.visit_some(|element| {
        if let Some(node) = nodes.push(element) {
            encode::put_node(out, &node, form.compresses);
        }
    }) {}
    if let Some(node) = nodes.finish() {
        encode::put_node(out, &node, form.compresses);
    }
}
