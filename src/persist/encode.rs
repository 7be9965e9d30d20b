//! Values as bytes, in the oldest form that holds them.
//!
//! ```text
//! string      a string                        hash    listpack: (name, value)*    table: count (name value)*
//! list        nodes of some 8 KiB             timed   the same with deadlines, and the earliest of them in front
//! set         integers, listpack, or members  zset    listpack: (member, score)*  tree: count (member score)*
//! ```
//! Which of the forms it is follows from how the value lies in memory, as in Redis: so it has the same encoding when it is
//! loaded again.

use super::listpack::Writer;
use super::wire::{Sink, put_int, put_len, put_string};
use super::{Form, kind, stream};
use crate::base::clock::WallMs;
use crate::value::hash::Hash;
use crate::value::list::element::Element;
use crate::value::list::{End, List};
use crate::value::object::Shared;
use crate::value::pack::Piece;
use crate::value::set::Set;
use crate::value::stream::Stream;
use crate::value::zset::SortedSet;
use std::ops::ControlFlow;

/// A value to be written.
#[derive(Clone, Copy)]
pub enum View<'a> {
    Int(i64),
    Text(&'a [u8]),
    List(&'a List),
    Set(&'a Set),
    Hash(&'a Hash),
    SortedSet(&'a SortedSet),
    Stream(&'a Stream),
}

impl<'a> View<'a> {
    /// What is under a lock.
    pub fn of(lock: &'a Shared<'_>) -> Option<Self> {
        let list = || lock.get().map(View::List);
        let set = || lock.get().map(View::Set);
        let hash = || lock.get().map(View::Hash);
        let sorted = || lock.get().map(View::SortedSet);
        let stream = || lock.get().map(View::Stream);
        hash().or_else(list).or_else(set).or_else(sorted).or_else(stream)
    }
}

/// The longest list of elements that is put into one node. Source: Redis, list-max-listpack-size -2.
const NODE_LEN_MAX: usize = 8192;
/// A node is a listpack.
const NODE_PACKED: u64 = 2;

/// The type under which `view` is written.
pub fn kind_of(view: View<'_>, form: Form) -> u8 {
    match view {
        View::Int(_) | View::Text(_) => kind::STRING,
        View::List(_) => kind::LIST_QUICKLIST_2,
        View::Set(Set::Ints(_)) => kind::SET_INTSET,
        View::Set(Set::Pack(_)) if form.version >= 11 => kind::SET_LISTPACK,
        View::Set(_) => kind::SET,
        View::Hash(Hash::Plain(_)) => kind::HASH_LISTPACK,
        View::Hash(hash) if hash.earliest().is_none() => match hash {
            Hash::Timed(_) => kind::HASH_LISTPACK,
            _ => kind::HASH,
        },
        View::Hash(Hash::Timed(_)) => kind::HASH_LISTPACK_TIMED,
        View::Hash(_) => kind::HASH_TIMED,
        View::SortedSet(SortedSet::Pack(_)) => kind::ZSET_LISTPACK,
        View::SortedSet(_) => kind::ZSET_2,
        View::Stream(_) if form.version >= 11 => kind::STREAM_3,
        View::Stream(_) => kind::STREAM_2,
    }
}

/// The oldest version that has this type.
pub fn version_of(kind: u8) -> u32 {
    match kind {
        kind::HASH_TIMED_EARLY.. => 12,
        kind::SET_LISTPACK.. => 11,
        _ => 10,
    }
}

/// Writes a value, without its type.
pub fn value(out: &mut impl Sink, view: View<'_>, form: Form) {
    let compresses = form.compresses;
    match view {
        View::Int(value) => put_int(out, value),
        View::Text(bytes) => put_string(out, bytes, compresses),
        View::List(value) => list(out, value, compresses),
        View::Set(value) => set(out, value, form),
        View::Hash(value) => hash(out, value, compresses),
        View::SortedSet(value) => sorted_set(out, value, compresses),
        View::Stream(value) => stream::put(out, value, form),
    }
}

fn put_piece(out: &mut impl Sink, piece: Piece<'_>, compresses: bool) {
    match piece {
        Piece::Int(value) => put_int(out, value),
        Piece::Bytes(bytes) => put_string(out, bytes, compresses),
    }
}

/// Nodes are counted before they are written: cut once, in memory, as they would be cut again.
fn list(out: &mut impl Sink, list: &List, compresses: bool) {
    let mut count = 0;
    cut(list, |_| count += 1);
    put_len(out, count);
    cut(list, |node| put_node(out, &node, compresses));
}

/// Writes a node.
pub(super) fn put_node(out: &mut impl Sink, node: &[u8], compresses: bool) {
    put_len(out, NODE_PACKED);
    put_string(out, node, compresses);
}

fn cut(list: &List, mut visit: impl FnMut(Vec<u8>)) {
    let mut nodes = Nodes::default();
    list.visit(End::Front, 0, list.count(), |element| {
        nodes.push(element).into_iter().for_each(&mut visit);
        ControlFlow::Continue(())
    });
    nodes.finish().into_iter().for_each(visit);
}

/// Cuts the elements of a list into nodes.
#[derive(Default)]
pub(super) struct Nodes(Writer);

impl Nodes {
    /// Adds an element; returns the node before it if that is full.
    pub fn push(&mut self, element: Element<'_>) -> Option<Vec<u8>> {
        let (piece, len) = match element {
            Element::Int(value) => (Piece::Int(value), 9),
            Element::Bytes(bytes) => (Piece::Bytes(bytes), bytes.len()),
        };
        let is_full = !self.0.is_empty() && self.0.len() + len > NODE_LEN_MAX;
        let full = is_full.then(|| self.0.finish());
        self.0.push(piece);
        full
    }
    /// The last node, if there is one.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then(|| self.0.finish())
    }
}

fn set(out: &mut impl Sink, set: &Set, form: Form) {
    match set {
        Set::Ints(_) => put_string(out, &intset(set), form.compresses),
        Set::Pack(pack) if form.version >= 11 => {
            let mut writer = Writer::new();
            pack.iter().for_each(|member| writer.push(member));
            put_string(out, &writer.finish(), form.compresses);
        }
        _ => {
            put_len(out, set.count() as u64);
            set.for_each(|member| put_piece(out, member, form.compresses));
        }
    }
}

/// Shape: `[bytes of an integer: 4][count: 4] integer*`, ascending, little-endian.
fn intset(set: &Set) -> Vec<u8> {
    let mut values = Vec::with_capacity(set.count());
    set.for_each(|member| values.extend(int_of(member)));
    let width = match (values.first(), values.last()) {
        (Some(&low), Some(&high)) if low >= i16::MIN.into() && high <= i16::MAX.into() => 2,
        (Some(&low), Some(&high)) if low >= i32::MIN.into() && high <= i32::MAX.into() => 4,
        _ => 8,
    };
    let mut bytes = Vec::with_capacity(8 + width * values.len());
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&(values.len() as u32).to_le_bytes());
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()[..width]));
    bytes
}

fn int_of(piece: Piece<'_>) -> Option<i64> {
    match piece {
        Piece::Int(value) => Some(value),
        Piece::Bytes(_) => None,
    }
}

fn hash(out: &mut impl Sink, hash: &Hash, compresses: bool) {
    let earliest = hash.earliest();
    if hash.is_table() {
        return hash_table(out, hash, earliest, compresses);
    }
    put_earliest(out, earliest);
    let mut writer = Writer::new();
    if earliest.is_none() {
        hash.for_all(|name, value, _| [name, value].into_iter().for_each(|piece| writer.push(piece)));
    } else {
        let mut fields: Vec<(Piece<'_>, Piece<'_>, Option<WallMs>)> = Vec::with_capacity(hash.count());
        hash.for_all(|name, value, deadline| fields.push((name, value, deadline)));
        // Redis keeps them in the order of their deadlines, those without one at the end, and trusts that they are.
        fields.sort_by_key(|(_, _, deadline)| deadline.map_or(u64::MAX, |at| at.0));
        for (name, value, deadline) in fields {
            writer.push(name);
            writer.push(value);
            writer.push_int(deadline.map_or(0, |at| at.0 as i64));
        }
    }
    put_string(out, &writer.finish(), compresses);
}

fn put_earliest(out: &mut impl Sink, earliest: Option<WallMs>) {
    if let Some(at) = earliest {
        out.put(&at.0.to_le_bytes());
    }
}

/// A hash in its large form. `earliest`: the earliest of its fields' deadlines.
pub(super) fn hash_table(out: &mut impl Sink, hash: &Hash, earliest: Option<WallMs>, compresses: bool) {
    put_earliest(out, earliest);
    put_len(out, hash.count() as u64);
    hash.for_all(|name, value, deadline| {
        if let Some(earliest) = earliest {
            // 0: none; 1: the earliest of all.
            put_len(out, deadline.map_or(0, |at| at.0 - earliest.0 + 1));
        }
        put_piece(out, name, compresses);
        put_piece(out, value, compresses);
    });
}

/// Members go from the highest score to the lowest, so that each is put in front of the others when Redis loads them.
fn sorted_set(out: &mut impl Sink, set: &SortedSet, compresses: bool) {
    if let SortedSet::Tree(_) = set {
        put_len(out, set.len() as u64);
        return set.each(0..set.len(), true, |member, score| put_member(out, member, score, compresses));
    }
    let mut writer = Writer::new();
    set.each(0..set.len(), false, |member, score| {
        writer.push(Piece::Bytes(member));
        writer.push(Piece::Bytes(crate::base::num::f64_text(score).as_bytes()));
    });
    put_string(out, &writer.finish(), compresses);
}

/// A member of a sorted set in its large form.
pub(super) fn put_member(out: &mut impl Sink, member: &[u8], score: f64, compresses: bool) {
    put_string(out, member, compresses);
    out.put(&score.to_le_bytes());
}
