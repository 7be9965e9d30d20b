//! Bytes as values: every type that any Redis or Valkey wrote.
//!
//! A value is built by the ordinary operations of its type, element by element. So it has the encoding that the limits of
//! this server say, whatever the file had, and nothing that could not have been built by commands is ever there: an element
//! twice, a score that is no number, a list without elements are faults.

use super::listpack::Elements;
use super::wire::Reader;
use super::{Fault, VALKEY_VERSION, kind, old, stream};
use crate::base::clock::WallMs;
use crate::base::num::parse_f64;
use crate::value::intset::IntSet;
use crate::value::list::{End, List};
use crate::value::object::{Collection, Value};
use crate::value::pack::Piece;
use crate::value::set::Set;
use crate::value::zset::SortedSet;
use crate::value::{hash, list, set, zset};
use std::borrow::Cow;

/// How large the small forms of each type may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub list: list::Limits,
    pub set: set::Limits,
    pub hash: hash::Limits,
    pub zset: zset::Limits,
}

/// A value that was read.
pub enum Loaded<'a> {
    Text(Cow<'a, [u8]>),
    Collection(Value),
}

/// What the bytes are read with.
#[derive(Clone, Copy)]
pub struct Setting<'l> {
    /// Of the file or the payload.
    pub version: u32,
    pub limits: &'l Limits,
    /// Fields that are past their deadline are left out.
    pub now: WallMs,
}

const TWICE: Fault = Fault::Damaged("an element is there twice");
const NO_SCORE: Fault = Fault::Damaged("a score is no number");

/// Reads a value of type `kind`.
/// Errors: see `Fault`; `Empty` also for a hash whose fields are all past their deadlines.
pub fn value<'a>(kind: u8, reader: &mut Reader<'a>, setting: Setting<'_>) -> Result<Loaded<'a>, Fault> {
    let limits = setting.limits;
    match kind {
        kind::STRING => reader.string().map(Loaded::Text),
        kind::LIST..=kind::HASH | kind::ZSET_2 | kind::HASH_ZIPMAP..=kind::LAST => match kind {
            kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                finish(list(kind, reader, &limits.list)?)
            }
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => finish(set(kind, reader, &limits.set)?),
            kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => {
                finish(sorted_set(kind, reader, limits.zset)?)
            }
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => finish(stream::read(kind, reader)?),
            _ => {
                let mut fields = Fields { hash: hash::Hash::default(), limits: limits.hash };
                read_hash(kind, reader, setting.version, &mut fields)?;
                fields.hash.purge(setting.now, usize::MAX, &mut |_| {});
                finish(fields.hash)
            }
        },
        kind::MODULE | kind::MODULE_2 => Err(Fault::Module(module_name(reader.len()?))),
        _ => Err(Fault::Unknown(kind)),
    }
}

fn finish<'a, T: Collection>(collection: T) -> Result<Loaded<'a>, Fault> {
    if collection.is_empty() { Err(Fault::Empty) } else { Ok(Loaded::Collection(Value::new(collection))) }
}

/// The name that a module's number says: nine letters of six bits, and a version.
pub fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|at| LETTERS[(id >> (58 - 6 * at)) as usize & 63] as char).collect()
}

/// Hands the elements of a listpack to `visit`.
fn each_packed(bytes: &[u8], mut visit: impl FnMut(Piece<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut elements = Elements::of(bytes)?;
    while let Some(piece) = elements.next()? {
        visit(piece)?;
    }
    Ok(())
}

/// A node of a quicklist that is one element as it is.
const NODE_PLAIN: u64 = 1;
const NODE_PACKED: u64 = 2;

fn list(kind: u8, reader: &mut Reader<'_>, limits: &list::Limits) -> Result<List, Fault> {
    let mut list = List::default();
    let mut push = |piece: Piece<'_>| {
        let mut digits = itoa::Buffer::new();
        let text = piece.text(&mut digits);
        list.expect(text.len(), 1, limits);
        list.push(End::Back, text, limits);
        Ok(())
    };
    match kind {
        kind::LIST => {
            for _ in 0..reader.count(1)? {
                push(Piece::Bytes(&reader.string()?))?;
            }
        }
        kind::LIST_ZIPLIST => old::ziplist(&reader.string()?, push)?,
        kind::LIST_QUICKLIST => {
            for _ in 0..reader.count(1)? {
                old::ziplist(&reader.string()?, &mut push)?;
            }
        }
        _ => {
            for _ in 0..reader.count(2)? {
                match reader.len()? {
                    NODE_PLAIN => match &*reader.string()? {
                        b"" => return Err(Fault::Damaged("an element that stands alone is empty")),
                        text => push(Piece::Bytes(text))?,
                    },
                    NODE_PACKED => each_packed(&reader.string()?, &mut push)?,
                    _ => return Err(Fault::Damaged("a list's node is of an unknown kind")),
                }
            }
        }
    }
    Ok(list)
}

fn set(kind: u8, reader: &mut Reader<'_>, limits: &set::Limits) -> Result<Set, Fault> {
    match kind {
        kind::SET_INTSET => intset(&reader.string()?, limits),
        kind::SET_LISTPACK => {
            let mut set = Set::default();
            let bytes = reader.string()?;
            each_packed(&bytes, |piece| add(&mut set, piece.text(&mut itoa::Buffer::new()), limits))?;
            Ok(set)
        }
        _ => {
            let count = reader.count(1)?;
            let mut set = None;
            for _ in 0..count {
                let member = reader.string()?;
                add(set.get_or_insert_with(|| Set::expecting(&member, count, limits)), &member, limits)?;
            }
            Ok(set.unwrap_or_default())
        }
    }
}

fn add(set: &mut Set, member: &[u8], limits: &set::Limits) -> Result<(), Fault> {
    if set.add(member, limits) { Ok(()) } else { Err(TWICE) }
}

fn intset(bytes: &[u8], limits: &set::Limits) -> Result<Set, Fault> {
    const DAMAGED: Fault = Fault::Damaged("a set of integers is damaged");
    let mut reader = Reader::new(bytes);
    let mut head = || reader.array().map(|raw| u32::from_le_bytes(raw) as usize);
    let (width, count) = (head()?, head()?);
    if !matches!(width, 2 | 4 | 8) || reader.rest().len() != width.saturating_mul(count) {
        return Err(DAMAGED);
    }
    let int = |raw: &[u8]| {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(raw);
        let unused = 64 - 8 * width as u32;
        i64::from_le_bytes(wide) << unused >> unused
    };
    let values: Vec<i64> = reader.rest().chunks_exact(width).map(int).collect();
    if !values.is_sorted_by(|a, b| a < b) {
        return Err(DAMAGED);
    }
    if values.len() <= limits.ints {
        return Ok(Set::Ints(IntSet::of_sorted(&values)));
    }
    let mut set = Set::expecting(b"0", values.len(), limits);
    let mut digits = itoa::Buffer::new();
    values.into_iter().try_for_each(|value| add(&mut set, digits.format(value).as_bytes(), limits))?;
    Ok(set)
}

fn sorted_set(kind: u8, reader: &mut Reader<'_>, limits: zset::Limits) -> Result<SortedSet, Fault> {
    let mut set = SortedSet::default();
    match kind {
        kind::ZSET_LISTPACK => {
            let bytes = reader.string()?;
            let mut elements = Elements::of(&bytes)?;
            while let Some(member) = elements.next()? {
                let score = score_of(elements.expect()?)?;
                put(&mut set, member.text(&mut itoa::Buffer::new()), score, limits)?;
            }
        }
        kind::ZSET_ZIPLIST => {
            let bytes = reader.string()?;
            let mut member = None;
            old::ziplist(&bytes, |piece| match member.take() {
                None => {
                    member = Some(piece);
                    Ok(())
                }
                Some(member) => put(&mut set, member.text(&mut itoa::Buffer::new()), score_of(piece)?, limits),
            })?;
            if member.is_some() {
                return Err(Fault::Damaged("a member has no score"));
            }
        }
        _ => {
            let count = reader.count(2)?;
            set.expect(count, 0, limits);
            for _ in 0..count {
                let member = reader.string()?;
                let score = if kind == kind::ZSET { reader.double_text()? } else { reader.double()? };
                put(&mut set, &member, score, limits)?;
            }
        }
    }
    Ok(set)
}

fn score_of(piece: Piece<'_>) -> Result<f64, Fault> {
    match piece {
        Piece::Int(value) => Ok(value as f64),
        Piece::Bytes(text) => parse_f64(text).ok_or(NO_SCORE),
    }
}

fn put(set: &mut SortedSet, member: &[u8], score: f64, limits: zset::Limits) -> Result<(), Fault> {
    if score.is_nan() {
        return Err(NO_SCORE);
    }
    let change = set.set(member, limits, Some(score), |_| None);
    if change.old.is_some() { Err(TWICE) } else { Ok(()) }
}

/// A hash that is being read.
struct Fields {
    hash: hash::Hash,
    limits: hash::Limits,
}

impl Fields {
    fn add(&mut self, name: &[u8], value: &[u8], deadline: Option<WallMs>) -> Result<(), Fault> {
        // The clock is asked at the end: until then a field past its deadline counts as there.
        if !self.hash.set(name, value, hash::Deadline::Keep, self.limits, WallMs(0)) {
            return Err(TWICE);
        }
        if deadline.is_some() {
            self.hash.set_deadline(name, deadline);
        }
        Ok(())
    }
    fn add_pieces(&mut self, name: Piece<'_>, value: Piece<'_>, deadline: Option<WallMs>) -> Result<(), Fault> {
        let (mut name_digits, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        self.add(name.text(&mut name_digits), value.text(&mut digits), deadline)
    }
}

const NO_VALUE: Fault = Fault::Damaged("a field has no value");
const BAD_DEADLINE: Fault = Fault::Damaged("a field's deadline cannot be");
/// Deadlines of fields are below. Source: Redis 7.4, which keeps them in 46 bits.
const DEADLINE_MAX: u64 = 1 << 46;

/// A deadline as it is written: 0 is none.
fn deadline(at: u64) -> Result<Option<WallMs>, Fault> {
    if at >= DEADLINE_MAX { Err(BAD_DEADLINE) } else { Ok((at != 0).then_some(WallMs(at))) }
}

fn read_hash(kind: u8, reader: &mut Reader<'_>, version: u32, fields: &mut Fields) -> Result<(), Fault> {
    match kind {
        kind::HASH => {
            for _ in 0..reader.count(2)? {
                fields.add(&reader.string()?, &reader.string()?, None)?;
            }
        }
        kind::HASH_ZIPMAP => old::zipmap(&reader.string()?, |name, value| fields.add(name, value, None))?,
        kind::HASH_ZIPLIST => {
            let bytes = reader.string()?;
            let mut name = None;
            old::ziplist(&bytes, |piece| match name.take() {
                None => {
                    name = Some(piece);
                    Ok(())
                }
                Some(name) => fields.add_pieces(name, piece, None),
            })?;
            if name.is_some() {
                return Err(NO_VALUE);
            }
        }
        kind::HASH_LISTPACK => {
            let bytes = reader.string()?;
            let mut elements = Elements::of(&bytes)?;
            while let Some(name) = elements.next()? {
                fields.add_pieces(name, elements.expect()?, None)?;
            }
        }
        kind::HASH_LISTPACK_TIMED | kind::HASH_LISTPACK_TIMED_EARLY => {
            if kind == kind::HASH_LISTPACK_TIMED {
                reader.time()?; // The earliest: found again.
            }
            let bytes = reader.string()?;
            let mut elements = Elements::of(&bytes)?;
            while let Some(name) = elements.next()? {
                let (value, at) = (elements.expect()?, elements.expect_int()?);
                let at = u64::try_from(at).map_err(|_| BAD_DEADLINE)?;
                fields.add_pieces(name, value, deadline(at)?)?;
            }
        }
        kind::HASH_TIMED_EARLY if version >= VALKEY_VERSION => {
            for _ in 0..reader.count(10)? {
                let (name, value) = (reader.string()?, reader.string()?);
                let at = i64::from_le_bytes(reader.array()?);
                fields.add(&name, &value, deadline(at.max(0) as u64)?)?; // -1: none.
            }
        }
        _ => {
            let earliest = if kind == kind::HASH_TIMED { reader.time()?.0 } else { 1 };
            for _ in 0..reader.count(3)? {
                let since = reader.len()?;
                // Redis 7.4 counts from the earliest, 1 being that; before its release it wrote the deadline itself.
                let at = if since == 0 { 0 } else { earliest.checked_add(since - 1).ok_or(BAD_DEADLINE)? };
                fields.add(&reader.string()?, &reader.string()?, deadline(at)?)?;
            }
        }
    }
    Ok(())
}
