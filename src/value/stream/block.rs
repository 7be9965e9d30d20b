//! A block: some hundred neighbouring entries of a stream in one allocation.
//!
//! ```text
//! block   field names of the first entry: count (len bytes)*   entry*
//! entry   flags  rest_len  ms-Δ  seq-Δ  (len value)*                   SAME: the field names are the block's
//!         flags  rest_len  ms-Δ  seq-Δ  count (len field len value)*   otherwise
//!         … each followed by its own length, written so that it reads backwards
//! ```
//! Ids are differences to the block's base, the id of its first entry. Numbers are of variable length (seven bits a byte).
//! Field names and values are kept as they came, so that a reply is a copy and an append is one, too: Redis packs values
//! that read as integers, which saves two bytes of a typical one and costs a conversion each way.
//!
//! An entry that is deleted only gets a flag; the block goes when its last entry goes. The bytes of deleted entries
//! stay until then, as in Redis: what counts is that the same blocks result.
//!
//! *The same blocks.* Trimming with `~` removes whole blocks, so what it leaves depends on where blocks end. A block ends
//! where Redis's listpack of the same entries would be too long; `listpack_len` keeps that length without building one.

use super::id::StreamId;
use crate::base::num::{INT_TEXT_LEN_MAX, parse_i64};
use std::ops::Deref;
use std::sync::Arc;

/// The entry is deleted.
const DELETED: u8 = 1 << 0;
/// The entry's field names are those of the block.
const SAME: u8 = 1 << 1;

/// The bytes of a block: its own, or read by snapshots, too. Whoever changes them gets them back or, while a snapshot is at
/// it, a copy.
#[derive(Debug)]
enum Text {
    Own(Vec<u8>),
    Lent(Arc<Vec<u8>>),
}

const _: () = assert!(size_of::<Text>() == size_of::<Vec<u8>>(), "a block is no larger for it");

impl Text {
    #[inline]
    fn own(&mut self) -> &mut Vec<u8> {
        if let Text::Lent(_) = self {
            self.take_back();
        }
        match self {
            Text::Own(bytes) => bytes,
            Text::Lent(_) => unreachable!("it was taken back"),
        }
    }
    #[cold]
    fn take_back(&mut self) {
        if let Text::Lent(lent) = std::mem::replace(self, Text::Own(Vec::new())) {
            *self = Text::Own(Arc::try_unwrap(lent).unwrap_or_else(|lent| lent.to_vec()));
        }
    }
    /// A second owner of the same bytes.
    fn share(&mut self) -> Self {
        let lent = match std::mem::replace(self, Text::Own(Vec::new())) {
            Text::Own(bytes) => Arc::new(bytes),
            Text::Lent(lent) => lent,
        };
        *self = Text::Lent(lent.clone());
        Text::Lent(lent)
    }
}

impl Deref for Text {
    type Target = Vec<u8>;

    #[inline]
    fn deref(&self) -> &Vec<u8> {
        match self {
            Text::Own(bytes) => bytes,
            Text::Lent(lent) => lent,
        }
    }
}

impl Clone for Text {
    /// A copy that shares nothing.
    fn clone(&self) -> Self {
        Text::Own(self.to_vec())
    }
}

/// See the module header.
#[derive(Clone, Debug)]
pub struct Block {
    base: StreamId,
    bytes: Text,
    /// Bytes of Redis's listpack of this block, without those of its two counts.
    listpack_body: u64,
    live: u32,
    dead: u32,
}

/// An entry, read from its block.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'b> {
    pub id: StreamId,
    flags: u8,
    /// Where its bytes begin and where they end in the block, its own length included.
    start: usize,
    end: usize,
    /// Number of fields.
    count: usize,
    /// The block's field names, if the entry shares them.
    names: &'b [u8],
    body: &'b [u8],
}

impl<'b> Entry<'b> {
    pub fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }
    /// Number of fields, and so of values.
    pub fn field_count(&self) -> usize {
        self.count
    }
    /// Are its field names those of the block?
    pub fn has_block_names(&self) -> bool {
        self.flags & SAME != 0
    }
    /// Field names and values in their order.
    pub fn fields(&self) -> Fields<'b> {
        Fields { names: (self.flags & SAME != 0).then_some(self.names), body: self.body, left: self.count }
    }
}

/// The fields of an entry.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    /// The names, if they do not stand in the entry.
    names: Option<&'b [u8]>,
    body: &'b [u8],
    left: usize,
}

impl<'b> Iterator for Fields<'b> {
    type Item = (&'b [u8], &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => take_text(names),
            None => take_text(&mut self.body),
        };
        Some((name, take_text(&mut self.body)))
    }
}

impl Block {
    /// A block whose first entry will have the id `base` and these field names. `room` bytes are expected.
    pub fn new<'a>(base: StreamId, names: impl ExactSizeIterator<Item = &'a [u8]>, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(room);
        // 6 bytes of header, 1 at the end, the number of names, and an entry that ends the walk backwards.
        let mut listpack_body = 7 + int_len(names.len() as i64) + int_len(0);
        put_number(&mut bytes, names.len() as u64);
        for name in names {
            put_text(&mut bytes, name);
            listpack_body += text_len(name);
        }
        Block { base, bytes: Text::Own(bytes), listpack_body, live: 0, dead: 0 }
    }
    /// The same block for a snapshot: both share the bytes from here on.
    pub fn share(&mut self) -> Self {
        Block { bytes: self.bytes.share(), ..*self }
    }

    /// The id of the first entry that it ever had.
    pub fn base(&self) -> StreamId {
        self.base
    }
    /// Entries that are not deleted.
    pub fn live(&self) -> u64 {
        self.live as u64
    }
    /// Entries, deleted ones included.
    pub fn count(&self) -> u64 {
        self.live as u64 + self.dead as u64
    }
    /// Length of Redis's listpack of the same entries.
    pub fn listpack_len(&self) -> u64 {
        self.listpack_body + int_len(self.live as i64) + int_len(self.dead as i64)
    }
    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.bytes.len()
    }
    /// Bytes that were allocated.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
    /// There will be no further entry.
    pub fn close(&mut self) {
        self.bytes.own().shrink_to_fit();
    }

    /// Adds an entry behind all others.
    pub fn append<'a>(&mut self, id: StreamId, fields: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone) {
        let is_same = self.has_names(fields.clone().map(|(name, _)| name));
        let count = fields.len();
        let mut listpack_len = 0;
        let mut body_len = if is_same { 0 } else { number_len(count as u64) };
        for (name, value) in fields.clone() {
            listpack_len += text_len(value);
            body_len += number_len(value.len() as u64) + value.len();
            if !is_same {
                listpack_len += text_len(name);
                body_len += number_len(name.len() as u64) + name.len();
            }
        }
        let (ms, seq) = (id.ms - self.base.ms, id.seq.wrapping_sub(self.base.seq) as i64);
        let rest_len = number_len(ms) + number_len(zigzag(seq)) + body_len;
        let entry_len = 1 + number_len(rest_len as u64) + rest_len;

        let bytes = self.bytes.own();
        bytes.reserve(entry_len + NUMBER_LEN_MAX);
        bytes.push(if is_same { SAME } else { 0 });
        put_number(bytes, rest_len as u64);
        put_number(bytes, ms);
        put_number(bytes, zigzag(seq));
        if !is_same {
            put_number(bytes, count as u64);
        }
        for (name, value) in fields {
            if !is_same {
                put_text(bytes, name);
            }
            put_text(bytes, value);
        }
        put_number_backwards(bytes, entry_len as u64);

        let pieces = 3 + count as i64 + if is_same { 0 } else { 1 + count as i64 };
        let numbers = int_len(0) + int_len(ms as i64) + int_len(seq) + int_len(pieces);
        self.listpack_body += listpack_len + numbers + if is_same { 0 } else { int_len(count as i64) };
        self.live += 1;
    }

    /// Are these the block's field names?
    fn has_names<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>) -> bool {
        let mut own = &self.bytes[..];
        let count = take_number(&mut own);
        count == names.len() as u64 && { names }.all(|name| take_text(&mut own) == name)
    }

    /// Number of the block's field names, their bytes, and where the entries begin.
    fn head(&self) -> (usize, &[u8], usize) {
        let mut rest = &self.bytes[..];
        let count = take_number(&mut rest) as usize;
        let names = rest;
        (0..count).for_each(|_| _ = take_text(&mut rest));
        (count, names, self.bytes.len() - rest.len())
    }

    /// The field names of its first entry.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let (count, mut rest, _) = self.head();
        (0..count).map(move |_| take_text(&mut rest))
    }

    /// All entries from first to last, deleted ones included.
    pub fn entries(&self) -> Entries<'_> {
        let (name_count, names, at) = self.head();
        Entries { block: self, name_count, names, at, end: self.bytes.len() }
    }

    /// The entries whose ids are not below `start`.
    /// Cost: a look at each entry between it and the nearer end of the block, twice.
    pub fn entries_from(&self, start: StreamId) -> Entries<'_> {
        let (mut front, mut back) = (self.entries(), self.entries());
        let all = front.clone();
        loop {
            match front.next() {
                Some(entry) if entry.id < start => {}
                Some(entry) => return Entries { at: entry.start, ..all },
                None => return Entries { at: all.end, ..all },
            }
            match back.next_back() {
                Some(entry) if entry.id < start => return Entries { at: entry.end, ..all },
                _ => {}
            }
        }
    }

    /// Number of entries from `start` to `end`, both included, that are not deleted.
    pub fn live_between(&self, start: StreamId, end: StreamId) -> u64 {
        let entries = self.entries_from(start).take_while(|entry| entry.id <= end);
        entries.filter(|entry| !entry.is_deleted()).count() as u64
    }

    /// The entry with this id, if it is there and not deleted.
    pub fn find(&self, id: StreamId) -> Option<Entry<'_>> {
        self.entries_from(id).next().filter(|entry| entry.id == id && !entry.is_deleted())
    }

    /// The last entry, deleted or not.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.entries().next_back()
    }

    /// Marks an entry of this block as deleted that was not.
    pub fn delete(&mut self, at: Place) {
        assert!(self.bytes[at.0] & DELETED == 0, "an entry is deleted once");
        self.bytes.own()[at.0] |= DELETED;
        self.live -= 1;
        self.dead += 1;
    }
}

/// Where an entry stands in its block.
#[derive(Clone, Copy, Debug)]
pub struct Place(usize);

impl Entry<'_> {
    pub fn place(&self) -> Place {
        Place(self.start)
    }
}

/// The entries of a block that have not been visited, from both ends.
#[derive(Clone, Debug)]
pub struct Entries<'b> {
    block: &'b Block,
    name_count: usize,
    names: &'b [u8],
    at: usize,
    end: usize,
}

impl<'b> Entries<'b> {
    /// The entry that begins at `start`.
    #[inline]
    fn read(&self, start: usize) -> Entry<'b> {
        let bytes = &self.block.bytes[..];
        let flags = bytes[start];
        let mut rest = &bytes[start + 1..];
        let rest_len = take_number(&mut rest) as usize;
        let (mut body, behind) = rest.split_at(rest_len);
        let end = bytes.len() - behind.len();
        let (ms, seq) = (take_number(&mut body), unzigzag(take_number(&mut body)));
        let base = self.block.base;
        let id = StreamId { ms: base.ms + ms, seq: base.seq.wrapping_add(seq as u64) };
        let count = if flags & SAME != 0 { self.name_count } else { take_number(&mut body) as usize };
        let end = end + number_len((end - start) as u64);
        Entry { id, flags, start, end, count, names: self.names, body }
    }
}

impl<'b> Iterator for Entries<'b> {
    type Item = Entry<'b>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'b>> {
        if self.at == self.end {
            return None;
        }
        let entry = self.read(self.at);
        self.at = entry.end;
        Some(entry)
    }
}

impl DoubleEndedIterator for Entries<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.at == self.end {
            return None;
        }
        let (len, len_len) = number_before(&self.block.bytes[..self.end]);
        let entry = self.read(self.end - len_len - len as usize);
        self.end = entry.start;
        Some(entry)
    }
}

/// Longest form of a number of variable length.
const NUMBER_LEN_MAX: usize = 10;

/// Bytes that a number of variable length takes.
#[inline]
fn number_len(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}

/// Low bits first; the top bit of a byte says that there is another one.
#[inline]
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front.
#[inline]
fn take_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a number ends before the block does");
        *bytes = rest;
        number |= ((byte & 0x7f) as u64) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// As `put_number`, but the last byte holds the low bits: to be read from behind.
#[inline]
fn put_number_backwards(bytes: &mut Vec<u8>, number: u64) {
    let groups = number_len(number);
    for group in (0..groups).rev() {
        let more = if group + 1 < groups { 0x80 } else { 0 };
        bytes.push((number >> (7 * group)) as u8 & 0x7f | more);
    }
}

/// The number that ends where these bytes end, and its length.
#[inline]
fn number_before(bytes: &[u8]) -> (u64, usize) {
    let (mut number, mut len) = (0, 0);
    loop {
        let byte = bytes[bytes.len() - 1 - len];
        number |= ((byte & 0x7f) as u64) << (7 * len);
        len += 1;
        if byte < 0x80 {
            return (number, len);
        }
    }
}

/// Small numbers of either sign become small ones without a sign.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[inline]
fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    put_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

#[inline]
fn take_text<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let len = take_number(bytes) as usize;
    let (text, rest) = bytes.split_at(len);
    *bytes = rest;
    text
}

/// Bytes of an integer in a listpack, its length backwards included. Source: Redis, listpack.c.
fn int_len(number: i64) -> u64 {
    match number {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// Bytes of a text in a listpack; one that reads as an integer is kept as that.
fn text_len(text: &[u8]) -> u64 {
    if text.len() <= INT_TEXT_LEN_MAX
        && text.first().is_some_and(|&byte| byte.is_ascii_digit() || byte == b'-')
        && let Some(number) = parse_i64(text)
    {
        return int_len(number);
    }
    let len = text.len() as u64;
    let coded = len
        + match len {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    coded
        + match coded {
            0..=127 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(texts: &'a [&'a str]) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        texts.chunks_exact(2).map(|pair| (pair[0].as_bytes(), pair[1].as_bytes()))
    }
    fn block(base: StreamId, names: &[&str]) -> Block {
        Block::new(base, names.iter().map(|name| name.as_bytes()), 0)
    }
    fn texts(entry: Entry<'_>) -> Vec<String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        entry.fields().flat_map(|(name, value)| [text(name), text(value)]).collect()
    }

    #[test]
    fn entries_are_read_from_both_ends() {
        let mut block = block(StreamId::new(5, 9), &["a", "b"]);
        block.append(StreamId::new(5, 9), pairs(&["a", "1", "b", "2"]));
        block.append(StreamId::new(6, 0), pairs(&["a", "3", "b", "long".repeat(100).as_str()]));
        block.append(StreamId::new(u64::MAX, u64::MAX), pairs(&["b", "4"]));
        let ids = [StreamId::new(5, 9), StreamId::new(6, 0), StreamId::MAX];
        assert_eq!(block.entries().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        assert!(block.entries().rev().map(|entry| entry.id).eq(ids.into_iter().rev()));
        assert_eq!(block.find(ids[0]).map(texts), Some(vec!["a".into(), "1".into(), "b".into(), "2".into()]));
        assert_eq!(block.find(ids[2]).map(texts), Some(vec!["b".into(), "4".into()]));
    }

    #[test]
    fn a_deleted_entry_is_only_marked() {
        let mut block = block(StreamId::new(1, 0), &["f"]);
        block.append(StreamId::new(1, 0), pairs(&["f", "v"]));
        block.append(StreamId::new(2, 0), pairs(&["f", "v"]));
        let (len, place) = (block.listpack_len(), block.find(StreamId::new(1, 0)).expect("it was added").place());
        block.delete(place);
        assert!(block.find(StreamId::new(1, 0)).is_none());
        assert_eq!((block.live(), block.count(), block.listpack_len()), (1, 2, len));
    }

    #[test]
    fn numbers_of_every_length_are_read_from_both_sides() {
        for bits in 0..64 {
            for number in [(1u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let mut bytes = vec![0xff];
                put_number(&mut bytes, number);
                assert_eq!(take_number(&mut &bytes[1..]), number);
                assert_eq!(bytes.len() - 1, number_len(number));
                let mut bytes = vec![0xff];
                put_number_backwards(&mut bytes, number);
                assert_eq!(number_before(&bytes), (number, number_len(number)));
                assert_eq!(unzigzag(zigzag(number as i64)), number as i64);
            }
        }
    }

    /// `XADD s 1-1 f v` in Redis 7: DUMP shows a listpack of 0x1d bytes.
    #[test]
    fn the_length_is_that_of_the_listpack() {
        let mut block = block(StreamId::new(1, 1), &["f"]);
        block.append(StreamId::new(1, 1), pairs(&["f", "v"]));
        assert_eq!(block.listpack_len(), 0x1d);
    }
}
