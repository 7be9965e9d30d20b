//! The bytes of DUMP: one value, a version and a checksum.
//!
//! ```text
//! payload   type · value · version · crc64        version: 2 bytes, crc64 of all before it: 8 bytes, both little-endian
//! ```

use super::decode::{self, Loaded, Setting};
use super::encode::{self, View};
use super::wire::Reader;
use super::{Fault, Form, is_known_version};
use crate::base::crc64::crc64;

/// Version and checksum.
const TAIL_LEN: usize = 10;

/// The payload of a value. Its version is the form's, or a newer one if the value needs that.
pub fn write(view: View<'_>, form: Form) -> Vec<u8> {
    let kind = encode::kind_of(view, form);
    let mut out = vec![kind];
    encode::value(&mut out, view, form);
    let version = form.version.max(encode::version_of(kind)) as u16;
    out.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// Is this a payload of a version that is read, with the right checksum (0: it was written without one)?
pub fn is_whole(payload: &[u8]) -> bool {
    has_sum(payload, true)
}

/// The same; `checks_sum`: is the checksum compared?
pub fn has_sum(payload: &[u8], checks_sum: bool) -> bool {
    let Some((front, sum)) = payload.split_last_chunk::<8>() else { return false };
    let Some((_, version)) = front.split_last_chunk::<2>() else { return false };
    let is_known = is_known_version(u16::from_le_bytes(*version) as u32);
    is_known && (!checks_sum || *sum == [0; 8] || crc64(0, front) == u64::from_le_bytes(*sum))
}

/// The value of a payload that `is_whole`.
/// Errors: see `Fault`; also if there is anything behind the value.
pub fn read<'a>(payload: &'a [u8], setting: Setting<'_>) -> Result<Loaded<'a>, Fault> {
    let (body, tail) = payload.split_at(payload.len().checked_sub(TAIL_LEN).ok_or(Fault::Short)?);
    let version = u16::from_le_bytes([tail[0], tail[1]]) as u32;
    let mut reader = Reader::new(body);
    let kind = reader.byte()?;
    let value = decode::value(kind, &mut reader, Setting { version, ..setting })?;
    if reader.is_empty() { Ok(value) } else { Err(Fault::Damaged("something stands behind the value")) }
}
