//! DEBUG DIGEST: a number that tells whether two servers hold the same data.
//!
//! ```text
//! mix(d, b)    d = sha1(d xor sha1(b))        order matters: what comes one after the other
//! join(d, b)   d = d xor sha1(b)              order does not matter: members, fields, keys
//! value        mix type · string: mix · list, stream: mix each · set, hash, zset: join each · join "!!expire!!"
//! database     mix its number, then join each key: mix name, value
//! ```
//! Source: Redis, debug.c, whose digests these are byte for byte. Hash tables of two servers have other orders, lists do not.

use super::encode::View;
use crate::base::num::f64_text;
use crate::base::sha1::sha1;
use crate::value::list::End;
use crate::value::pack::Piece;
use crate::value::stream::StreamId;
use std::fmt::Write;
use std::ops::ControlFlow;

/// A digest on its way. It begins with zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// Adds bytes whose place does not matter.
    pub fn join(&mut self, bytes: &[u8]) {
        let other = sha1(bytes);
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own ^= other);
    }
    /// Adds bytes whose place matters.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.join(bytes);
        self.0 = sha1(&self.0);
    }
    /// Adds the digest of something whose place does not matter.
    fn join_all(&mut self, other: Digest) {
        self.join(&other.0);
    }
    /// A database begins.
    pub fn begin_db(&mut self, db: usize) {
        self.mix(&(db as u32).to_be_bytes());
    }
    /// Adds a key with its value.
    pub fn add_key(&mut self, name: &[u8], view: View<'_>, is_volatile: bool) {
        let mut key = Digest::default();
        key.mix(name);
        key.add_value(view, is_volatile);
        self.join_all(key);
    }
    /// Adds a value.
    pub fn add_value(&mut self, view: View<'_>, is_volatile: bool) {
        self.mix(&type_number(view).to_be_bytes());
        match view {
            View::Int(value) => self.mix_piece(Piece::Int(value)),
            View::Text(bytes) => self.mix(bytes),
            View::List(list) => list.visit(End::Front, 0, list.count(), |element| {
                self.mix(element.text(&mut itoa::Buffer::new()));
                ControlFlow::Continue(())
            }),
            View::Set(set) => set.for_each(|member| self.join(member.text(&mut itoa::Buffer::new()))),
            View::Hash(hash) => hash.for_all(|name, value, _| self.join_pair(name, value)),
            View::SortedSet(set) => set.each(0..set.len(), false, |member, score| {
                self.join_pair(Piece::Bytes(member), Piece::Bytes(f64_text(score).as_bytes()));
            }),
            View::Stream(stream) => self.mix_stream(stream),
        }
        if is_volatile {
            self.join(b"!!expire!!");
        }
    }
    fn mix_piece(&mut self, piece: Piece<'_>) {
        self.mix(piece.text(&mut itoa::Buffer::new()));
    }
    fn join_pair(&mut self, first: Piece<'_>, second: Piece<'_>) {
        let mut pair = Digest::default();
        pair.mix_piece(first);
        pair.mix_piece(second);
        self.join_all(pair);
    }
    fn mix_stream(&mut self, stream: &crate::value::stream::Stream) {
        let mut id = String::new();
        for entry in stream.log().range(StreamId::MIN, StreamId::MAX) {
            id.clear();
            let _ = write!(id, "{}.{}", entry.id.ms, entry.id.seq); // Writing to a String cannot fail.
            self.mix(id.as_bytes());
            for (name, value) in entry.fields() {
                self.mix(name);
                self.mix(value);
            }
        }
    }
    /// 40 hexadecimal digits.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::with_capacity(40), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // As above.
            text
        })
    }
}

/// Redis's numbers of types.
fn type_number(view: View<'_>) -> u32 {
    match view {
        View::Int(_) | View::Text(_) => 0,
        View::List(_) => 1,
        View::Set(_) => 2,
        View::SortedSet(_) => 3,
        View::Hash(_) => 4,
        View::Stream(_) => 6,
    }
}
