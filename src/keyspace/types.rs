//! Types and encodings: what the table's opaque bits mean, under Redis's names.

use crate::base::clock::WallMs;
use crate::base::num::{INT_TEXT_LEN_MAX, parse_i64};
use crate::table::entry::{BLOB_LEN_MIN, CELL_MAX, CELL_MIN};
use crate::table::{Entry, Kind, NewEntry, Payload, Source};
use crate::value::object::{ObjectType, Value};
use bytes::Bytes;

/// A string that was stored whole and short: `embstr`.
pub const EMBSTR: Kind = Kind(0);
/// A string that is long or was changed in place by APPEND, SETRANGE, SETBIT: `raw`.
pub const RAW: Kind = Kind(1);
/// An integer too wide for a counter cell, stored by SET or INCR: kept as its text, but `int` to clients.
pub const WIDE: Kind = Kind(2);
/// Longest string that OBJECT ENCODING calls `embstr`. Source: Redis, OBJ_ENCODING_EMBSTR_SIZE_LIMIT.
pub const EMBSTR_LEN_MAX: usize = 44;

/// The type of a value, as TYPE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    List,
    Hash,
    Set,
    SortedSet,
    Stream,
}

impl Type {
    /// The type of an entry's value.
    #[inline]
    pub fn of(entry: Entry<'_>) -> Type {
        const LIST: u8 = ObjectType::List as u8;
        const HASH: u8 = ObjectType::Hash as u8;
        const SET: u8 = ObjectType::Set as u8;
        const SORTED_SET: u8 = ObjectType::SortedSet as u8;
        const STREAM: u8 = ObjectType::Stream as u8;
        match entry.kind().0 {
            LIST => Type::List,
            HASH => Type::Hash,
            SET => Type::Set,
            SORTED_SET => Type::SortedSet,
            STREAM => Type::Stream,
            _ => Type::String,
        }
    }
    /// The name that TYPE replies.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Hash => "hash",
            Type::Set => "set",
            Type::SortedSet => "zset",
            Type::Stream => "stream",
        }
    }
}

/// The key holds another type than the command wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// A string value as it is stored.
#[derive(Clone, Copy)]
pub enum Str<'g> {
    Int(i64),
    Bytes(&'g [u8]),
    Blob(&'g Bytes),
}

impl<'g> Str<'g> {
    /// The value of a string entry.
    #[inline]
    pub fn of(entry: Entry<'g>) -> Result<Self, WrongType> {
        Ok(match entry.payload() {
            Payload::Object(_) => return Err(WrongType),
            Payload::Inline(bytes) => Str::Bytes(bytes),
            Payload::Cell(value) => Str::Int(value),
            Payload::Blob(blob) => Str::Blob(blob),
        })
    }
    /// The value's bytes; an integer's decimal text is written to `digits`.
    #[inline]
    pub fn bytes<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'g: 'b,
    {
        match self {
            Str::Int(value) => digits.format(value).as_bytes(),
            Str::Bytes(bytes) => bytes,
            Str::Blob(blob) => blob,
        }
    }
    /// Length in bytes of the text.
    pub fn len(self) -> usize {
        self.bytes(&mut itoa::Buffer::new()).len()
    }
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// The name that OBJECT ENCODING replies. None: the collection has just been removed.
pub fn encoding_name(entry: Entry<'_>) -> Option<&'static str> {
    Some(match entry.payload() {
        Payload::Object(object) => object.read()?.encoding(),
        Payload::Cell(_) => "int",
        Payload::Inline(_) if entry.kind() == EMBSTR => "embstr",
        Payload::Inline(_) if entry.kind() == WIDE => "int",
        _ => "raw",
    })
}

/// Bytes of an entry and its value, a collection estimated from `samples` elements (0: all). None: it has just been removed.
pub fn memory(entry: Entry<'_>, samples: usize) -> Option<usize> {
    let heap = match entry.payload() {
        Payload::Object(object) => object.read()?.memory(samples),
        _ => 0,
    };
    Some(entry.memory() + heap)
}

/// Builds the entry of a string value stored whole (SET): counter, embstr, raw or blob, as its bytes demand.
/// A counter is what is written as INCR would write it: no `+`, no leading zeros, no spaces, no "-0".
#[inline]
pub fn new_string(key: &[u8], value: &[u8], expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    if value.len() <= INT_TEXT_LEN_MAX
        && let Some(number) = parse_i64(value)
    {
        return new_int(key, number, expires_at, recency);
    }
    let kind = if value.len() <= EMBSTR_LEN_MAX { EMBSTR } else { RAW };
    new_bytes(kind, key, value, expires_at, recency)
}

/// Builds the entry of an integer: a counter cell, or its text if it needs more than 62 bits and a sign.
#[inline]
pub fn new_int(key: &[u8], value: i64, expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    if (CELL_MIN..=CELL_MAX).contains(&value) {
        NewEntry::new(EMBSTR, key, expires_at, recency, Source::Cell(value))
    } else {
        new_bytes(WIDE, key, itoa::Buffer::new().format(value).as_bytes(), expires_at, recency)
    }
}

/// Builds the entry of a string that must not become a counter (APPEND, SETRANGE, SETBIT results are `RAW`).
pub fn new_bytes(kind: Kind, key: &[u8], value: &[u8], expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    if value.len() < BLOB_LEN_MIN {
        NewEntry::new(kind, key, expires_at, recency, Source::Inline(value))
    } else {
        new_blob(key, Bytes::copy_from_slice(value), expires_at, recency)
    }
}

/// Builds the entry of a large value that is already a shared buffer.
pub fn new_blob(key: &[u8], value: Bytes, expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    NewEntry::new(RAW, key, expires_at, recency, Source::Blob(value))
}

/// Builds the entry of a string that was changed in part (SETRANGE, SETBIT, BITOP): `old`, zero-padded to `len` bytes, as
/// `edit` leaves it. `RAW`.
pub fn new_edited(
    key: &[u8],
    expires_at: Option<WallMs>,
    recency: u32,
    old: &[u8],
    len: usize,
    edit: impl FnOnce(&mut [u8]),
) -> NewEntry {
    if len < BLOB_LEN_MIN {
        return NewEntry::filled(RAW, key, expires_at, recency, len, |bytes| {
            bytes[..old.len()].copy_from_slice(old);
            edit(bytes);
        });
    }
    let mut bytes = padded(old, len);
    edit(&mut bytes);
    new_blob(key, bytes.into(), expires_at, recency)
}

/// A copy of `bytes` with zeros up to `len`. Zeros that are most of it come from fresh pages, untouched until they are
/// written; otherwise nothing is zeroed that the copy overwrites.
fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    if bytes.len() < len / 2 {
        let mut copy = vec![0; len];
        copy[..bytes.len()].copy_from_slice(bytes);
        return copy;
    }
    let mut copy = Vec::with_capacity(len);
    copy.extend_from_slice(bytes);
    copy.resize(len, 0);
    copy
}

/// Builds the entry of a collection.
pub fn new_collection(key: &[u8], value: Value, expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    NewEntry::new(Kind(value.kind() as u8), key, expires_at, recency, Source::Object(value))
}

/// Builds the entry of a collection of this type, locked and without a body.
pub fn new_vacant(kind: ObjectType, key: &[u8], recency: u32) -> NewEntry {
    NewEntry::new(Kind(kind as u8), key, None, recency, Source::Vacant)
}

/// A copy of an entry, value and recency, with another deadline or none. A blob is shared, not copied; a collection is handed
/// over when the copy takes the entry's place.
pub fn with_deadline(entry: Entry<'_>, expires_at: Option<WallMs>) -> NewEntry {
    copy_as(entry, entry.key(), expires_at, entry.recency())
}

/// An entry's value under another key. A blob is shared, not copied. A collection is handed over, if `Table::update` replaces
/// the entry by this one, or `Txn::bequeath` decides so.
pub fn copy_as(entry: Entry<'_>, key: &[u8], expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    let source = match entry.payload() {
        Payload::Inline(bytes) => Source::Inline(bytes),
        Payload::Cell(value) => Source::Cell(value),
        Payload::Blob(blob) => Source::Blob(blob.clone()),
        Payload::Object(_) => Source::Heir,
    };
    NewEntry::new(entry.kind(), key, expires_at, recency, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_that_redis_names() {
        let encoding = |value: &[u8]| encoding_name(new_string(b"k", value, None, 0).view()).unwrap();
        for int in ["0", "-1", "4611686018427387904", "-9223372036854775808", "9223372036854775807"] {
            assert_eq!(encoding(int.as_bytes()), "int", "{int}");
        }
        for text in ["", "-0", "+1", "01", " 1", "9223372036854775808", "12345678901234567890123"] {
            assert_eq!(encoding(text.as_bytes()), "embstr", "{text}");
        }
        assert_eq!(encoding(&[b'x'; 44]), "embstr");
        assert_eq!(encoding(&[b'x'; 45]), "raw");
        assert_eq!(encoding(&[b'x'; 100_000]), "raw");
        assert_eq!(encoding_name(new_edited(b"k", None, 0, b"", 1, |bytes| bytes[0] = b'1').view()), Some("raw"));
    }

    #[test]
    fn another_deadline_keeps_value_and_encoding() {
        for value in ["12", "5000000000000000000", "text"] {
            let old = new_string(b"k", value.as_bytes(), Some(WallMs(9)), 3);
            let new = with_deadline(old.view(), None);
            assert_eq!(new.view().expires_at(), None);
            assert_eq!(new.view().recency(), 3);
            assert_eq!(encoding_name(new.view()), encoding_name(old.view()));
            let text = Str::of(new.view()).map(|value| value.bytes(&mut itoa::Buffer::new()).to_vec());
            assert_eq!(text, Ok(value.as_bytes().to_vec()));
        }
    }
}
