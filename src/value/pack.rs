//! A pack: few small elements, one behind the other, in one allocation behind one thin pointer.
//!
//! ```text
//! block:  [count: 2 bytes][element][element] …           no bytes at all if there are no elements
//! element:  0vvvvvvv                        integer 0..=127
//!           10nnnnnn  bytes                 up to 63 bytes
//!           110vvvvv vvvvvvvv               integer of 13 bits, signed
//!           1110nnnn nnnnnnnn  bytes        up to 4095 bytes
//!           11110000 n:4  bytes             longer
//!           11110001 … 11110100  v:2|3|4|8  integer of so many bytes, little-endian
//!           11110101 … 11111111  n:1        bytes that have a number (value/names.rs): 256 · 0…10 + n
//! ```
//! What reads as a canonical integer is kept as one, in the shortest form that holds it. So equal bytes have equal
//! elements, and `find` compares memory without decoding. Numbers are for the names of fields, which are added and found by
//! methods of their own: a name from before it got its number looks as ever.
//!
//! This is Redis's listpack without the length behind each element, which only a walk from the end needs: lists have a form
//! of their own, and the others never walk backwards. Redis says `listpack` to both.
//!
//! The count is 0xffff if there are more than 65 534 elements; then it is found by walking, as in Redis.

#![forbid(unsafe_code)]

use super::block::Block;
use super::names::{self, Number};
use crate::base::num::parse_i64;
use smallvec::SmallVec;
use std::ops::Range;

/// See the module header.
#[derive(Clone, Default)]
pub struct Pack {
    block: Block,
}

const _: () = assert!(size_of::<Option<Pack>>() == 8, "thin, and with a niche");

/// An element as it is read: bytes in place, or an integer whose decimal text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

/// Where an element lies. Good until the next change in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(usize);

/// Bytes of the count.
const COUNT_LEN: usize = 2;
/// This count and all beyond.
const MANY: u16 = u16::MAX;

const BYTES_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const BYTES_12: u8 = 0xe0;
const BYTES_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;
const NUMBER: u8 = 0xf5;

const _: () =
    assert!(names::COUNT_MAX <= (u8::MAX - NUMBER + 1) as usize * 256, "a number and its mark take two bytes");

impl<'a> Piece<'a> {
    /// The element's bytes; `digits` holds them if it is an integer.
    #[inline]
    pub fn text<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Int(value) => digits.format(value).as_bytes(),
        }
    }
    /// Length of the text.
    pub fn len(self) -> usize {
        self.text(&mut itoa::Buffer::new()).len()
    }
    pub fn is_empty(self) -> bool {
        self == Piece::Bytes(b"")
    }
    /// Is this the element's text?
    pub fn is(self, text: &[u8]) -> bool {
        self.text(&mut itoa::Buffer::new()) == text
    }
    /// A copy of the text.
    pub fn to_vec(self) -> Vec<u8> {
        self.text(&mut itoa::Buffer::new()).to_vec()
    }
    /// The piece that a pack would make of `text`.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        match integer(text) {
            Some(value) => Piece::Int(value),
            None => Piece::Bytes(text),
        }
    }
}

/// `text` as a canonical integer. Most texts are refused by their first byte or their length.
#[inline]
fn integer(text: &[u8]) -> Option<i64> {
    match text.first() {
        Some(b'-' | b'0'..=b'9') if text.len() <= 20 => parse_i64(text),
        _ => None,
    }
}

/// An element in its memory form: a head, and the bytes behind it.
struct Encoded<'a> {
    head: [u8; 9],
    head_len: usize,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    #[inline]
    fn of(piece: Piece<'a>) -> Self {
        match piece {
            Piece::Bytes(bytes) => Self::of_bytes(bytes),
            Piece::Int(value) => Self::of_int(value),
        }
    }
    #[inline]
    fn of_bytes(body: &'a [u8]) -> Self {
        let mut head = [0; 9];
        let head_len = match body.len() {
            len @ 0..64 => {
                head[0] = BYTES_6 | len as u8;
                1
            }
            len @ 64..4096 => {
                head[..2].copy_from_slice(&[BYTES_12 | (len >> 8) as u8, len as u8]);
                2
            }
            len => {
                let len = u32::try_from(len).expect("an element is shorter than 4 GiB");
                head[0] = BYTES_32;
                head[1..5].copy_from_slice(&len.to_le_bytes());
                5
            }
        };
        Encoded { head, head_len, body }
    }
    #[inline]
    fn of_int(value: i64) -> Self {
        let mut head = [0; 9];
        let mut wide = |mark: u8, len: usize| {
            head[0] = mark;
            head[1..].copy_from_slice(&value.to_le_bytes());
            1 + len
        };
        let head_len = match value {
            0..128 => {
                head[0] = value as u8;
                1
            }
            -0x1000..0x1000 => {
                head[..2].copy_from_slice(&[INT_13 | (value >> 8) as u8 & 0x1f, value as u8]);
                2
            }
            -0x8000..0x8000 => wide(INT_16, 2),
            -0x80_0000..0x80_0000 => wide(INT_24, 3),
            -0x8000_0000..0x8000_0000 => wide(INT_32, 4),
            _ => wide(INT_64, 8),
        };
        Encoded { head, head_len, body: &[] }
    }
    #[inline]
    fn of_number(number: Number) -> Self {
        let mut head = [0; 9];
        head[..2].copy_from_slice(&[NUMBER + (number.0 >> 8) as u8, number.0 as u8]);
        Encoded { head, head_len: 2, body: &[] }
    }
    /// A name that a field is given.
    #[inline]
    fn of_name(name: &'a [u8]) -> Self {
        match Piece::of(name) {
            Piece::Bytes(name) => names::meet(name).map_or_else(|| Self::of_bytes(name), Self::of_number),
            Piece::Int(value) => Self::of_int(value),
        }
    }
    #[inline]
    fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }
    fn len(&self) -> usize {
        self.head_len + self.body.len()
    }
    /// Is this what `elements` begin with? No form is the beginning of another.
    #[inline]
    fn begins(&self, elements: &[u8]) -> bool {
        elements[0] == self.head[0]
            && elements.get(..self.head_len) == Some(self.head())
            && elements.get(self.head_len..self.len()) == Some(self.body)
    }
}

/// The little-endian signed integer in `bytes`.
#[inline]
fn int_of(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unused = 64 - 8 * bytes.len() as u32;
    i64::from_le_bytes(wide) << unused >> unused
}

/// Length of the head of the first of `elements`, and length of its bytes. Integers have a head only.
#[inline]
fn measure(elements: &[u8]) -> (usize, usize) {
    match elements[0] {
        0..BYTES_6 => (1, 0),
        first @ BYTES_6..INT_13 => (1, (first & 0x3f) as usize),
        INT_13..BYTES_12 => (2, 0),
        first @ BYTES_12..BYTES_32 => (2, ((first & 0x0f) as usize) << 8 | elements[1] as usize),
        BYTES_32 => (5, u32::from_le_bytes([elements[1], elements[2], elements[3], elements[4]]) as usize),
        INT_16 => (3, 0),
        INT_24 => (4, 0),
        INT_32 => (5, 0),
        INT_64 => (9, 0),
        NUMBER.. => (2, 0),
    }
}

/// Length of the first of `elements`.
#[inline]
fn first_len(elements: &[u8]) -> usize {
    let (head_len, body_len) = measure(elements);
    head_len + body_len
}

/// The first of `elements` and its length.
#[inline]
fn decode(elements: &[u8]) -> (Piece<'_>, usize) {
    let (head_len, body_len) = measure(elements);
    let piece = match elements[0] {
        value @ 0..BYTES_6 => Piece::Int(value as i64),
        INT_13..BYTES_12 => {
            let raw = (elements[0] as i64 & 0x1f) << 8 | elements[1] as i64;
            Piece::Int(raw << 51 >> 51)
        }
        INT_16..=INT_64 => Piece::Int(int_of(&elements[1..head_len])),
        first @ NUMBER.. => Piece::Bytes(names::name(Number(((first - NUMBER) as u16) << 8 | elements[1] as u16))),
        _ => Piece::Bytes(&elements[head_len..head_len + body_len]),
    };
    (piece, head_len + body_len)
}

impl Pack {
    /// No elements.
    /// Cost: no allocation.
    #[inline]
    pub const fn new() -> Self {
        Pack { block: Block::new() }
    }
    /// Number of elements.
    /// Cost: a walk if there are more than 65 534.
    #[inline]
    pub fn len(&self) -> usize {
        match self.short_count() {
            MANY => self.iter().count(),
            count => count as usize,
        }
    }
    /// See `Block::look_ahead`.
    #[inline]
    pub fn look_ahead(&self) -> bool {
        self.block.look_ahead()
    }
    #[inline]
    fn short_count(&self) -> u16 {
        self.block.bytes().first_chunk().map_or(0, |&count| u16::from_le_bytes(count))
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
    /// Bytes of the elements and their count: what a limit on the size of a pack is compared with.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.block.len()
    }
    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.block.memory()
    }
    /// Bytes that `element` would take.
    pub fn cost(element: &[u8]) -> usize {
        Encoded::of(Piece::of(element)).len()
    }
    /// The elements from `place` on, in memory form.
    #[inline]
    fn from(&self, place: Place) -> &[u8] {
        &self.block.bytes()[place.0..]
    }

    /// The place of the first element.
    #[inline]
    pub fn first(&self) -> Place {
        Place(COUNT_LEN.min(self.block.len()))
    }
    /// The place behind the last element.
    #[inline]
    pub fn end(&self) -> Place {
        Place(self.block.len())
    }
    /// The place of the next element, or the end. `place` must not be the end.
    #[inline]
    pub fn next(&self, place: Place) -> Place {
        Place(place.0 + first_len(self.from(place)))
    }
    /// The element at `place`; None at the end.
    #[inline]
    pub fn at(&self, place: Place) -> Option<Piece<'_>> {
        let elements = self.from(place);
        (!elements.is_empty()).then(|| decode(elements).0)
    }
    /// The place of the element `index`.
    /// Cost: a walk over the elements in front.
    pub fn place(&self, index: usize) -> Option<Place> {
        let elements = &self.block.bytes()[self.first().0..];
        let mut at = 0;
        for _ in 0..index {
            at += first_len(elements.get(at..).filter(|rest| !rest.is_empty())?);
        }
        (at < elements.len()).then_some(Place(COUNT_LEN + at))
    }
    /// The element `index`.
    /// Cost: as `place`.
    pub fn get(&self, index: usize) -> Option<Piece<'_>> {
        self.at(self.place(index)?)
    }
    /// All elements.
    #[inline]
    pub fn iter(&self) -> Pieces<'_> {
        self.iter_from(self.first())
    }
    /// The elements from `place` on.
    #[inline]
    pub fn iter_from(&self, place: Place) -> Pieces<'_> {
        Pieces { rest: self.from(place) }
    }
    /// The first of the elements `skip`, `skip` + `stride`, `skip` + 2 · `stride` … that is `element`.
    /// Cost: a walk, without decoding.
    #[inline]
    pub fn find(&self, element: &[u8], stride: usize, skip: usize) -> Option<Place> {
        let wanted = Encoded::of(Piece::of(element));
        self.find_where(stride, skip, |elements| wanted.begins(elements))
    }
    /// The first of the elements 0, `stride`, 2 · `stride` … that is this name, with a number or without.
    /// Cost: as `find`.
    #[inline]
    pub fn find_name(&self, name: &[u8], stride: usize) -> Option<Place> {
        let Some(number) = names::number(name) else { return self.find(name, stride, 0) };
        let (short, long) = (Encoded::of_number(number), Encoded::of_bytes(name));
        self.find_where(stride, 0, |elements| short.begins(elements) || long.begins(elements))
    }
    #[inline]
    fn find_where(&self, stride: usize, skip: usize, is_meant: impl Fn(&[u8]) -> bool) -> Option<Place> {
        let elements = self.block.bytes();
        let (mut at, mut until_next) = (self.first().0, skip);
        while at < elements.len() {
            let rest = &elements[at..];
            if until_next == 0 {
                if is_meant(rest) {
                    return Some(Place(at));
                }
                until_next = stride;
            }
            until_next -= 1;
            at += first_len(rest);
        }
        None
    }

    /// Adds an element at the end.
    #[inline]
    pub fn push(&mut self, element: &[u8]) {
        self.insert(self.end(), element);
    }
    /// Adds a field at the end: its name, and what belongs to it; with one reallocation. An integer stays one; bytes that read
    /// as an integer become one.
    #[inline]
    pub fn push_field(&mut self, name: &[u8], rest: &[Piece<'_>]) {
        let name = [Encoded::of_name(name)];
        let rest = rest.iter().map(|&piece| Encoded::of(canonical(piece)));
        self.put(self.end().0..self.end().0, name.into_iter().chain(rest).collect(), 0);
    }
    /// Adds elements at the end, with one reallocation.
    pub fn push_all(&mut self, elements: &[&[u8]]) {
        self.insert_all(self.end(), elements);
    }
    /// Puts an element in front of the one at `at`, or at the end.
    #[inline]
    pub fn insert(&mut self, at: Place, element: &[u8]) {
        self.put(at.0..at.0, [Encoded::of(Piece::of(element))].into_iter().collect(), 0);
    }
    /// Puts elements in front of the one at `at`, or at the end, with one reallocation.
    pub fn insert_all(&mut self, at: Place, elements: &[&[u8]]) {
        self.put(at.0..at.0, elements.iter().map(|element| Encoded::of(Piece::of(element))).collect(), 0);
    }
    /// Puts pieces in front of the one at `at`, or at the end. An integer stays one; bytes that read as an integer become one.
    pub fn insert_pieces(&mut self, at: Place, pieces: &[Piece<'_>]) {
        self.put(at.0..at.0, pieces.iter().map(|&piece| Encoded::of(canonical(piece))).collect(), 0);
    }
    /// Replaces the element at `at`.
    #[inline]
    pub fn replace(&mut self, at: Place, element: &[u8]) {
        self.replace_piece(at, Piece::of(element));
    }
    /// Replaces the element at `at`.
    pub fn replace_piece(&mut self, at: Place, piece: Piece<'_>) {
        let new = Encoded::of(canonical(piece));
        let range = at.0..self.next(at).0;
        self.block.splice(range, &[new.head(), new.body]);
    }
    /// Removes `count` elements from `at` on, or as many as there are. Returns how many.
    pub fn remove(&mut self, at: Place, count: usize) -> usize {
        let elements = self.from(at);
        let (mut len, mut removed) = (0, 0);
        while removed < count && len < elements.len() {
            len += first_len(&elements[len..]);
            removed += 1;
        }
        self.put(at.0..at.0 + len, SmallVec::new(), removed);
        removed
    }
    /// Removes every element.
    pub fn clear(&mut self) {
        *self = Pack::new();
    }
    /// Replaces what lies in `range`, which is `removed` elements, by others.
    fn put(&mut self, range: Range<usize>, encoded: SmallVec<[Encoded<'_>; 8]>, removed: usize) {
        // Where the short count does not know, it needs to be known only when it may come down.
        let count = if removed > 0 { self.len() } else { self.short_count() as usize };
        let count = count + encoded.len() - removed;
        let short = (count.min(MANY as usize) as u16).to_le_bytes();
        let mut parts: SmallVec<[&[u8]; 17]> = SmallVec::new();
        if self.block.is_empty() && !encoded.is_empty() {
            parts.push(&short);
        }
        parts.extend(encoded.iter().flat_map(|one| [one.head(), one.body]));
        if count == 0 {
            return self.clear();
        }
        self.block.splice(range, &parts);
        self.block.bytes_mut()[..COUNT_LEN].copy_from_slice(&short);
    }
}

/// Bytes that read as an integer are never kept as bytes.
#[inline]
fn canonical(piece: Piece<'_>) -> Piece<'_> {
    match piece {
        Piece::Bytes(bytes) => Piece::of(bytes),
        int => int,
    }
}

/// Elements in their order.
#[derive(Clone)]
pub struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;
    #[inline]
    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (piece, len) = decode(self.rest);
        self.rest = &self.rest[len..];
        Some(piece)
    }
}

impl<'a> IntoIterator for &'a Pack {
    type Item = Piece<'a>;
    type IntoIter = Pieces<'a>;
    fn into_iter(self) -> Pieces<'a> {
        self.iter()
    }
}
