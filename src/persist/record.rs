//! A key with its value, its deadline and what is known of its use.
//!
//! ```text
//! record   [252 time of 8 bytes | 253 seconds of 4 bytes] [248 idle seconds | 249 frequency] type · name · value
//! ```

use super::decode::{self, Loaded, Setting};
use super::encode::{self, View};
use super::wire::{Reader, Sink, put_len, put_string};
use super::{Fault, Form, skip};
use crate::base::clock::WallMs;
use std::borrow::Cow;

pub(super) const EXPIRES_MS: u8 = 252;
pub(super) const EXPIRES_S: u8 = 253;
pub(super) const IDLE: u8 = 248;
pub(super) const FREQUENCY: u8 = 249;

/// How recently, or how often, a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Seconds since it was used.
    Idle(u64),
    /// The logarithmic count of uses.
    Frequency(u8),
}

/// What is told of a key beside its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About<'a> {
    pub name: Cow<'a, [u8]>,
    pub expires_at: Option<WallMs>,
    pub usage: Option<Use>,
}

/// Writes a record.
pub fn put(out: &mut impl Sink, about: &About<'_>, view: View<'_>, form: Form) {
    put_about(out, about, encode::kind_of(view, form), form);
    encode::value(out, view, form);
}

/// Writes what stands in front of a value of this type.
pub(super) fn put_about(out: &mut impl Sink, about: &About<'_>, kind: u8, form: Form) {
    if let Some(at) = about.expires_at {
        out.put(&[EXPIRES_MS]);
        out.put(&at.0.to_le_bytes());
    }
    match about.usage {
        Some(Use::Idle(seconds)) => {
            out.put(&[IDLE]);
            put_len(out, seconds);
        }
        Some(Use::Frequency(count)) => out.put(&[FREQUENCY, count]),
        None => {}
    }
    out.put(&[kind]);
    put_string(out, &about.name, form.compresses);
}

/// Reads what stands in front of a value; returns the value's type.
fn about<'a>(reader: &mut Reader<'a>) -> Result<(u8, About<'a>), Fault> {
    let (mut expires_at, mut usage) = (None, None);
    loop {
        match reader.byte()? {
            EXPIRES_MS => expires_at = Some(reader.time()?),
            EXPIRES_S => {
                let seconds = i32::from_le_bytes(reader.array()?).max(0);
                expires_at = Some(WallMs(seconds as u64 * 1000));
            }
            IDLE => usage = Some(Use::Idle(reader.len()?)),
            FREQUENCY => usage = Some(Use::Frequency(reader.byte()?)),
            kind if kind > super::kind::LAST => return Err(Fault::Unknown(kind)),
            kind => return Ok((kind, About { name: reader.string()?, expires_at, usage })),
        }
    }
}

/// A record that was read.
pub struct Record<'a, 's> {
    pub about: About<'a>,
    kind: u8,
    /// From the value on.
    bytes: Reader<'a>,
    setting: Setting<'s>,
    value: Option<Loaded<'a>>,
}

impl<'a> Record<'a, '_> {
    /// The value, as often as it is wanted.
    pub fn value(&mut self) -> Loaded<'a> {
        match self.value.take() {
            Some(value) => value,
            None => match decode::value(self.kind, &mut self.bytes.clone(), self.setting) {
                Ok(value) => value,
                Err(_) => unreachable!("it was read before"),
            },
        }
    }
}

/// Reads a record. Of one whose value is `Empty` there is only what stands before it: whoever loads a file passes over it.
/// Errors: see `Fault`.
pub fn read<'a, 's>(reader: &mut Reader<'a>, setting: Setting<'s>) -> Result<Result<Record<'a, 's>, About<'a>>, Fault> {
    let (kind, about) = about(reader)?;
    let bytes = reader.clone();
    match decode::value(kind, reader, setting) {
        Ok(value) => Ok(Ok(Record { about, kind, bytes, setting, value: Some(value) })),
        Err(Fault::Empty) => Ok(Err(about)),
        Err(fault) => Err(fault),
    }
}

/// Passes over a record.
/// Errors: `Short` if it goes on behind the bytes; what cannot be read.
pub fn skip(reader: &mut Reader<'_>, version: u32) -> Result<(), Fault> {
    let (kind, _) = about(reader)?;
    skip::value(kind, reader, version)
}
