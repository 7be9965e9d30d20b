//! What the string and bitmap families share: reading string values, editing one key, checking arguments.

use super::command::Cx;
use crate::admin::params::Id;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::types::{Str, WrongType, new_blob, new_string};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::table::entry::BLOB_LEN_MIN;
use crate::table::{Change, Entry, NewEntry};
use bytes::Bytes;
use smallvec::SmallVec;

/// A range that is part of a blob is copied below this length and shared from it on.
const SHARED_SLICE_LEN_MIN: usize = BLOB_LEN_MIN;

/// `Keys::update` for a decision that may fail: then nothing changes.
#[inline]
pub(super) fn update<'a, R>(
    cx: &Cx<'a>,
    key: Key<'_>,
    mut decide: impl FnMut(Option<Entry<'a>>) -> Result<(Change, R), ReplyError>,
) -> Result<R, ReplyError> {
    cx.keys.update(key, |old| match decide(old) {
        Ok((change, result)) => (change, Ok(result)),
        Err(error) => (Change::Keep, Err(error)),
    })
}

/// The string value of `key` for a reading command: counts a hit or a miss.
#[inline]
pub(super) fn read<'a>(cx: &Cx<'a>, key: Key<'_>) -> Result<Option<Str<'a>>, WrongType> {
    string_of(cx.keys.read(key))
}

/// The value of an entry that must be a string if it is there.
#[inline]
pub(super) fn string_of(entry: Option<Entry<'_>>) -> Result<Option<Str<'_>>, WrongType> {
    entry.map(Str::of).transpose()
}

/// Replies a string value, a large one by reference.
#[inline]
pub(super) fn reply_string(reply: &mut Reply, value: Str<'_>) {
    match value {
        Str::Bytes(bytes) => reply.bulk(bytes),
        Str::Int(number) => reply.bulk_int(number),
        Str::Blob(blob) => reply.bulk_shared(blob.clone()),
    }
}

/// As `reply_string`; None is the null.
#[inline]
pub(super) fn reply_optional(reply: &mut Reply, value: Option<Str<'_>>) {
    match value {
        Some(value) => reply_string(reply, value),
        None => reply.null(),
    }
}

/// Replies a part of a string value.
pub(super) fn reply_part(reply: &mut Reply, value: Str<'_>, from: usize, to: usize) {
    match value {
        Str::Blob(blob) if to - from >= SHARED_SLICE_LEN_MIN => reply.bulk_shared(blob.slice(from..to)),
        value => reply.bulk(&value.bytes(&mut itoa::Buffer::new())[from..to]),
    }
}

/// Argument `index` as an integer.
pub(super) fn int(args: &Args<'_>, index: usize) -> Result<i64, ReplyError> {
    parse_i64(args.get(index)).ok_or(ReplyError::NotInteger)
}

/// Refuses a string that would be longer than a client may send.
pub(super) fn check_len(cx: &Cx<'_>, len: u64) -> Result<(), ReplyError> {
    if len > bulk_len_max(cx) { Err(ReplyError::StringTooLong) } else { Ok(()) }
}

/// `proto-max-bulk-len`, in bytes.
pub(super) fn bulk_len_max(cx: &Cx<'_>) -> u64 {
    cx.world.config.number(Id::PROTO_MAX_BULK_LEN) as u64
}

/// A value that a client sent, ready to be stored. Made once; the entry may be built several times.
pub(super) enum Value<'a> {
    Text(&'a [u8]),
    Shared(Bytes),
}

impl<'a> Value<'a> {
    /// Argument `index`. Cost: a large one that was received on its own is shared, not copied.
    #[inline]
    pub(super) fn of(args: &Args<'a>, index: usize) -> Self {
        let bytes = args.get(index);
        if bytes.len() < BLOB_LEN_MIN { Value::Text(bytes) } else { Self::large(args, index) }
    }
    #[cold]
    fn large(args: &Args<'a>, index: usize) -> Self {
        Value::Shared(args.shared(index).cloned().unwrap_or_else(|| Bytes::copy_from_slice(args.get(index))))
    }
    /// The entry that stores it whole, as SET does.
    #[inline]
    pub(super) fn entry(&self, cx: &Cx<'_>, key: Key<'_>, expires_at: Option<WallMs>) -> NewEntry {
        match self {
            Value::Text(bytes) => new_string(key.bytes, bytes, expires_at, cx.keys.recency()),
            Value::Shared(blob) => new_blob(key.bytes, blob.clone(), expires_at, cx.keys.recency()),
        }
    }
}

/// The list of `make(0)`, `make(1)`, … `make(count - 1)`. Cost: no allocation for the keys of an ordinary MGET or MSET.
#[inline]
pub(super) fn list_of<T>(count: usize, mut make: impl FnMut(usize) -> T) -> SmallVec<[T; FEW_KEYS]> {
    let mut list = SmallVec::with_capacity(count);
    // One place that calls `make`, so that it is inlined and each item is written where it stays.
    (0..count).for_each(|index| list.push(make(index)));
    list
}
