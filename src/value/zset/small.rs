//! A small sorted set: pairs of member and score in a pack, in their order.
//!
//! ```text
//! [member][score] [member][score] …     score: an integer, or 0xff and the double's eight bytes, little-endian
//! ```
//! No text of an integer begins with 0xff, so the two forms cannot be mixed up. Every operation is a walk.

#![forbid(unsafe_code)]

use super::Cut;
use crate::value::pack::{Pack, Piece, Place};
use std::ops::Range;

const DOUBLE: u8 = 0xff;
/// Integers up to here are doubles exactly. Source: Redis stores scores as integers within the same bounds.
const INT_MAX: f64 = (1u64 << 52) as f64;

/// A score as the pack keeps it.
struct Packed([u8; 9], Option<i64>);

impl Packed {
    fn new(score: f64) -> Self {
        let int = (score.abs() <= INT_MAX && score == score.trunc()).then_some(score as i64);
        let mut bytes = [DOUBLE; 9];
        bytes[1..].copy_from_slice(&score.to_le_bytes());
        Packed(bytes, int)
    }
    fn piece(&self) -> Piece<'_> {
        self.1.map_or(Piece::Bytes(&self.0), Piece::Int)
    }
}

#[inline]
fn score_of(piece: Piece<'_>) -> f64 {
    match piece {
        Piece::Int(value) => value as f64,
        Piece::Bytes(bytes) => bytes.last_chunk().map_or(0.0, |&raw| f64::from_le_bytes(raw)),
    }
}

/// Member and score of every pair, in order.
pub fn pairs(pack: &Pack) -> impl Iterator<Item = (Piece<'_>, f64)> {
    let mut pieces = pack.iter();
    std::iter::from_fn(move || Some((pieces.next()?, score_of(pieces.next()?))))
}

pub fn len(pack: &Pack) -> usize {
    pack.len() / 2
}

/// The place of a member, and its score.
#[inline]
pub fn find(pack: &Pack, member: &[u8]) -> Option<(Place, f64)> {
    let place = pack.find(member, 2, 0)?;
    Some((place, score_of(pack.at(pack.next(place))?)))
}

/// Adds a pair whose member is not there.
pub fn insert(pack: &mut Pack, member: &[u8], score: f64) {
    let mut place = pack.first();
    let mut digits = itoa::Buffer::new();
    for (other, other_score) in pairs(pack) {
        if other_score > score || other_score == score && other.text(&mut digits) > member {
            break;
        }
        place = pack.next(pack.next(place));
    }
    pack.insert_pieces(place, &[Piece::Bytes(member), Packed::new(score).piece()]);
}

/// Removes the pair at `place`.
pub fn remove(pack: &mut Pack, place: Place) {
    pack.remove(place, 2);
}

/// Removes the pairs of `ranks`.
pub fn remove_ranks(pack: &mut Pack, ranks: Range<usize>) {
    if let Some(place) = pack.place(2 * ranks.start) {
        pack.remove(place, 2 * ranks.len());
    }
}

/// Gives the member at `place` another score.
pub fn rescore(pack: &mut Pack, place: Place, member: &[u8], score: f64) {
    remove(pack, place);
    insert(pack, member, score);
}

/// Number of pairs in front of the cut.
pub fn rank_of(pack: &Pack, cut: Cut<'_>) -> usize {
    let mut digits = itoa::Buffer::new();
    match cut {
        Cut::Start => 0,
        Cut::End => len(pack),
        _ => pairs(pack).take_while(|(member, score)| cut.is_behind(*score, || member.text(&mut digits))).count(),
    }
}

/// Visits the pairs of `ranks` in their order, or from the last to the first.
pub fn each(pack: &Pack, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(&[u8], f64)) {
    let mut digits = itoa::Buffer::new();
    let Some(place) = pack.place(2 * ranks.start) else { return };
    let mut pieces = pack.iter_from(place);
    let pairs = std::iter::from_fn(|| Some((pieces.next()?, score_of(pieces.next()?)))).take(ranks.len());
    if reverse {
        // A pack is read forwards only.
        let all: Vec<_> = pairs.collect();
        all.into_iter().rev().for_each(|(member, score)| visit(member.text(&mut digits), score));
    } else {
        pairs.for_each(|(member, score)| visit(member.text(&mut digits), score));
    }
}
