//! How long a value is: a walk over its lengths, without looking at what they enclose.

use super::wire::Reader;
use super::{Fault, VALKEY_VERSION, decode, kind};

/// Passes over a value of type `kind`.
/// Errors: `Short` if it goes on behind the bytes; a type that cannot be read.
pub fn value(kind: u8, reader: &mut Reader<'_>, version: u32) -> Result<(), Fault> {
    match kind {
        kind::STRING
        | kind::HASH_ZIPMAP..=kind::HASH_ZIPLIST
        | kind::HASH_LISTPACK
        | kind::ZSET_LISTPACK
        | kind::SET_LISTPACK
        | kind::HASH_LISTPACK_TIMED_EARLY => reader.skip_string(),
        kind::LIST | kind::SET | kind::LIST_QUICKLIST => strings(reader, 1),
        kind::HASH => strings(reader, 2),
        kind::ZSET => each(reader, |reader| {
            reader.skip_string()?;
            match reader.byte()? {
                253.. => Ok(()),
                len => reader.take(len as usize).map(|_| ()),
            }
        }),
        kind::ZSET_2 => each(reader, |reader| {
            reader.skip_string()?;
            reader.take(8).map(|_| ())
        }),
        kind::LIST_QUICKLIST_2 => each(reader, |reader| {
            reader.len()?;
            reader.skip_string()
        }),
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => stream(kind, reader),
        kind::HASH_TIMED_EARLY if version >= VALKEY_VERSION => each(reader, |reader| {
            reader.skip_string()?;
            reader.skip_string()?;
            reader.take(8).map(|_| ())
        }),
        kind::HASH_TIMED | kind::HASH_TIMED_EARLY => {
            if kind == kind::HASH_TIMED {
                reader.take(8)?;
            }
            each(reader, |reader| {
                reader.len()?;
                reader.skip_string()?;
                reader.skip_string()
            })
        }
        kind::HASH_LISTPACK_TIMED => {
            reader.take(8)?;
            reader.skip_string()
        }
        kind::MODULE | kind::MODULE_2 => Err(Fault::Module(decode::module_name(reader.len()?))),
        _ => Err(Fault::Unknown(kind)),
    }
}

/// A count, and as many times `one`.
fn each<'a>(reader: &mut Reader<'a>, mut one: impl FnMut(&mut Reader<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    for _ in 0..reader.len()? {
        one(reader)?;
    }
    Ok(())
}

fn strings(reader: &mut Reader<'_>, per_element: usize) -> Result<(), Fault> {
    each(reader, |reader| (0..per_element).try_for_each(|_| reader.skip_string()))
}

fn lens(reader: &mut Reader<'_>, count: usize) -> Result<(), Fault> {
    (0..count).try_for_each(|_| reader.len().map(|_| ()))
}

fn stream(kind: u8, reader: &mut Reader<'_>) -> Result<(), Fault> {
    let is_first = kind == kind::STREAM;
    strings(reader, 2)?;
    lens(reader, if is_first { 3 } else { 8 })?;
    each(reader, |reader| {
        reader.skip_string()?;
        lens(reader, if is_first { 2 } else { 3 })?;
        each(reader, |reader| {
            reader.take(24)?;
            lens(reader, 1)
        })?;
        each(reader, |reader| {
            reader.skip_string()?;
            reader.take(if kind == kind::STREAM_3 { 16 } else { 8 })?;
            each(reader, |reader| reader.take(16).map(|_| ()))
        })
    })
}
