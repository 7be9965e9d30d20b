//! Types and encodings: what the table's opaque bits mean, under Redis's names.

use crate::base::clock::WallMs;
use crate::table::entry::{BLOB_LEN_MIN, CELL_MAX, CELL_MIN};
use crate::table::{Entry, Kind, NewEntry, Payload, Source};
use bytes::Bytes;

/// A string that was stored whole and short: `embstr`.
pub const EMBSTR: Kind = Kind(0);
/// A string that is long or was changed in place by APPEND, SETRANGE, SETBIT: `raw`.
pub const RAW: Kind = Kind(1);
/// Longest string that OBJECT ENCODING calls `embstr`. Source: Redis, OBJ_ENCODING_EMBSTR_SIZE_LIMIT.
pub const EMBSTR_LEN_MAX: usize = 44;

/// The type of a value, as TYPE names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
}

impl Type {
    /// The type of an entry's value.
    pub fn of(_entry: Entry<'_>) -> Type {
        Type::String // The other types take the kinds from 2 up.
    }
    /// The name that TYPE replies.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
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
        if Type::of(entry) != Type::String {
            return Err(WrongType);
        }
        Ok(match entry.payload() {
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

/// The name that OBJECT ENCODING replies.
pub fn encoding_name(entry: Entry<'_>) -> &'static str {
    match entry.payload() {
        Payload::Cell(_) => "int",
        Payload::Inline(_) if entry.kind() == EMBSTR => "embstr",
        _ => "raw",
    }
}

/// An integer in canonical decimal form (what `SET k 12` stores as a counter), if `text` is one that fits a cell.
/// Canonical: no sign `+`, no leading zeros, no spaces, "-0" is not one. Numbers beyond 62 bits stay text.
pub fn canonical_int(text: &[u8]) -> Option<i64> {
    crate::base::num::parse_i64(text).filter(|value| (CELL_MIN..=CELL_MAX).contains(value))
}

/// Builds the entry of a string value stored whole (SET): counter, embstr, raw or blob, as its bytes demand.
pub fn new_string(key: &[u8], value: &[u8], expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    if value.len() <= 20 {
        if let Some(number) = canonical_int(value) {
            return NewEntry::new(EMBSTR, key, expires_at, recency, Source::Cell(number));
        }
    }
    let kind = if value.len() <= EMBSTR_LEN_MAX { EMBSTR } else { RAW };
    new_bytes(kind, key, value, expires_at, recency)
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
