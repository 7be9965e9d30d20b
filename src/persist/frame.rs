//! A file: its frame, and the keys in it.
//!
//! ```text
//! file    REDIS0010 | VALKEY080      item*  255 [crc64 of all before it, little-endian; 0: none]
//! item    250 name value             what the writer tells of itself
//!         254 database               the keys that follow are of this one
//!         251 keys volatile          how many there are: a hint
//!         245 source                 a library of functions
//!         244 slot keys volatile     a slot of a cluster: a hint
//!         record                     a key
//! ```
//! `Frames` takes the file in pieces, as they are read, and gives it back in parts that can be worked on by many: consecutive
//! records of one database are one `Batch` of bytes, found by their lengths alone. A record is looked at as a whole only
//! when all of it is there; one that is not is tried again when twice as much of it has come, so that a huge one costs no
//! more than twice its length.

use super::decode::Setting;
use super::record::{self, Record};
use super::wire::{Reader, Sink, put_len, put_string};
use super::{Fault, Form, VALKEY_VERSION, decode, is_known_version};
use crate::base::crc64::crc64;
use std::collections::VecDeque;

const AUX: u8 = 250;
const SELECT: u8 = 254;
const RESIZE: u8 = 251;
const FUNCTION: u8 = 245;
const FUNCTION_EARLY: u8 = 246;
const MODULE_AUX: u8 = 247;
const SLOT_INFO: u8 = 244;
/// In Valkey a slot that is being imported, in Redis what modules keep beside a key.
const SLOT_IMPORT: u8 = 243;
const END: u8 = 255;

/// A batch ends when it has so many bytes. 128 KiB: some milliseconds of work for whoever loads it, and many for a large file.
const BATCH_LEN: usize = 128 << 10;
/// From this version on there is a checksum.
const SUM_VERSION: u32 = 5;
const SUM_LEN: usize = 8;

/// The beginning of a file.
pub fn put_head(out: &mut impl Sink, form: Form, aux: &[(&str, &str)]) {
    out.put(format!("REDIS{:04}", form.version).as_bytes());
    for (name, value) in aux {
        out.put(&[AUX]);
        put_string(out, name.as_bytes(), form.compresses);
        put_string(out, value.as_bytes(), form.compresses);
    }
}

/// The keys that follow are of database `db`.
pub fn put_select(out: &mut impl Sink, db: usize) {
    out.put(&[SELECT]);
    put_len(out, db as u64);
}

/// How many keys the database has, and how many with a deadline.
pub fn put_resize(out: &mut impl Sink, keys: usize, volatile: usize) {
    out.put(&[RESIZE]);
    put_len(out, keys as u64);
    put_len(out, volatile as u64);
}

/// A library of functions.
pub fn put_function(out: &mut impl Sink, source: &[u8], form: Form) {
    out.put(&[FUNCTION]);
    put_string(out, source, form.compresses);
}

/// The end of a file whose bytes so far gave `sum`; None: no checksum.
pub fn end(sum: Option<u64>) -> [u8; 1 + SUM_LEN] {
    let mut bytes = [END; 1 + SUM_LEN];
    let sum = sum.map_or(0, |sum| crc64(sum, &[END]));
    bytes[1..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// What the writer tells of itself: `redis-ver`, `ctime`, `used-mem`, …
    Aux(Vec<u8>, Vec<u8>),
    /// Keys and keys with a deadline of a database.
    Resize(u64, u64),
    /// The source of a library.
    Function(Vec<u8>),
    Keys(Batch),
    End,
}

/// Records of one database.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    pub db: u64,
    pub version: u32,
    pub count: usize,
    /// Keys that its database is expected to have, 0 if that is not known, and how many batches of it came before: for whoever
    /// makes room for them.
    pub expected: u64,
    pub number: usize,
    bytes: Vec<u8>,
}

/// Records that are read ahead of the one that is handed over.
const AHEAD: usize = 16;

impl Batch {
    /// Hands each record to `visit`, its name some records before to `announce`; of those whose value is empty the names to
    /// `pass_over`.
    /// Errors: the first record that is damaged, those before it were handed over; those of `visit`.
    pub fn each(
        &self,
        setting: Setting<'_>,
        mut pass_over: impl FnMut(&[u8]),
        mut announce: impl FnMut(&[u8]),
        mut visit: impl FnMut(&mut Record<'_, '_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut reader = Reader::new(&self.bytes);
        let setting = Setting { version: self.version, ..setting };
        let mut announced: VecDeque<Record<'_, '_>> = VecDeque::with_capacity(AHEAD + 1);
        let mut outcome = Ok(());
        while !reader.is_empty() {
            match record::read(&mut reader, setting) {
                Ok(Ok(record)) => {
                    announce(&record.about.name);
                    announced.push_back(record);
                }
                Ok(Err(about)) => pass_over(&about.name),
                Err(fault) => {
                    outcome = Err(fault);
                    break;
                }
            }
            if announced.len() > AHEAD
                && let Some(mut record) = announced.pop_front()
            {
                visit(&mut record)?;
            }
        }
        announced.iter_mut().try_for_each(visit)?;
        outcome
    }
}

/// A file as it comes in. See the module header.
pub struct Frames {
    buffer: Vec<u8>,
    /// Up to here the buffer was given out.
    at: usize,
    /// No record is looked at again before the buffer is so long.
    try_at: usize,
    is_whole: bool,
    checks_sum: bool,
    sum: u64,
    /// Bytes given out before the buffer.
    offset: u64,
    version: Option<u32>,
    db: u64,
}

/// What came of a look at the next item.
enum Item {
    Frame(Frame),
    Nothing,
    Key,
    End,
}

impl Frames {
    /// `checks_sum`: is the checksum compared (`rdbchecksum`)?
    pub fn new(checks_sum: bool) -> Self {
        Frames {
            buffer: Vec::new(),
            at: 0,
            try_at: 0,
            is_whole: false,
            checks_sum,
            sum: 0,
            offset: 0,
            version: None,
            db: 0,
        }
    }
    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }
    /// There are no more.
    pub fn finish(&mut self) {
        self.is_whole = true;
    }
    /// How many bytes were given out.
    pub fn offset(&self) -> u64 {
        self.offset + self.at as u64
    }
    /// What came and was not given out: behind `End`, what follows the file.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }
    /// The next part. None: it takes more bytes.
    /// Errors: see `Fault`; `Short` once the file is finished.
    pub fn part(&mut self) -> Result<Option<Frame>, Fault> {
        if self.buffer.len() < self.try_at && !self.is_whole {
            return Ok(None);
        }
        match self.step() {
            Ok(frame) => Ok(Some(frame)),
            Err(Fault::Short) if !self.is_whole => {
                self.forget();
                self.try_at = 2 * self.buffer.len();
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// What was given out leaves the buffer.
    fn forget(&mut self) {
        self.offset += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
    }

    fn step(&mut self) -> Result<Frame, Fault> {
        let version = self.head()?;
        let (mut at, mut count) = (self.at, 0);
        loop {
            let mut reader = Reader::new(&self.buffer[at..]);
            let before = reader.rest().len();
            let item = match item(&mut reader, version, &mut self.db, count > 0) {
                Ok(item) => item,
                Err(Fault::Short) if count > 0 => break, // What is here goes first.
                Err(fault) => return Err(fault),
            };
            let len = before - reader.rest().len();
            match item {
                Item::Key => {
                    at += len;
                    count += 1;
                    if at - self.at >= BATCH_LEN {
                        break;
                    }
                }
                _ if count > 0 => break, // It was only looked at.
                Item::Nothing => {
                    self.pass(len);
                    at = self.at;
                }
                Item::Frame(frame) => {
                    self.pass(len);
                    return Ok(frame);
                }
                Item::End => return self.end(version),
            }
        }
        let bytes = self.buffer[self.at..at].to_vec();
        self.pass(bytes.len());
        Ok(Frame::Keys(Batch { db: self.db, version, count, expected: 0, number: 0, bytes }))
    }

    /// Gives out `len` bytes.
    fn pass(&mut self, len: usize) {
        if self.checks_sum {
            self.sum = crc64(self.sum, &self.buffer[self.at..self.at + len]);
        }
        self.at += len;
    }

    /// The version, once it is known.
    fn head(&mut self) -> Result<u32, Fault> {
        if let Some(version) = self.version {
            return Ok(version);
        }
        const HEAD_LEN: usize = 9;
        let Some(head) = self.buffer.get(..HEAD_LEN) else {
            let is_begun = b"REDIS".starts_with(&self.buffer) || b"VALKEY".starts_with(&self.buffer);
            return Err(if is_begun || self.buffer.len() > 5 { Fault::Short } else { BAD_HEAD });
        };
        let digits = head.strip_prefix(b"REDIS").or_else(|| head.strip_prefix(b"VALKEY")).ok_or(BAD_HEAD)?;
        let version = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(BAD_HEAD)?;
        if !is_known_version(version) {
            return Err(Fault::Version(version));
        }
        self.version = Some(version);
        self.pass(HEAD_LEN);
        Ok(version)
    }

    fn end(&mut self, version: u32) -> Result<Frame, Fault> {
        let sum_len = if version >= SUM_VERSION { SUM_LEN } else { 0 };
        let tail = self.buffer.get(self.at + 1..self.at + 1 + sum_len).ok_or(Fault::Short)?;
        let stored = tail.first_chunk().map_or(0, |&raw| u64::from_le_bytes(raw));
        self.pass(1);
        self.at += sum_len;
        if self.checks_sum && stored != 0 && stored != self.sum {
            return Err(Fault::Checksum);
        }
        Ok(Frame::End)
    }
}

const BAD_HEAD: Fault = Fault::Damaged("it does not begin as a snapshot does");

/// Reads an item, or passes over a key. `is_glance`: whatever is no key will be read again.
fn item(reader: &mut Reader<'_>, version: u32, db: &mut u64, is_glance: bool) -> Result<Item, Fault> {
    let mut ahead = reader.clone();
    let opcode = ahead.byte()?;
    if opcode <= super::kind::LAST
        || matches!(opcode, record::EXPIRES_MS | record::EXPIRES_S | record::IDLE | record::FREQUENCY)
    {
        return record::skip(reader, version).map(|()| Item::Key);
    }
    if is_glance {
        return Ok(Item::Nothing);
    }
    *reader = ahead;
    match opcode {
        AUX => Ok(Item::Frame(Frame::Aux(reader.string()?.into_owned(), reader.string()?.into_owned()))),
        SELECT => {
            *db = reader.len()?;
            Ok(Item::Nothing)
        }
        RESIZE => Ok(Item::Frame(Frame::Resize(reader.len()?, reader.len()?))),
        FUNCTION => Ok(Item::Frame(Frame::Function(reader.string()?.into_owned()))),
        FUNCTION_EARLY => Err(Fault::Damaged("functions of Redis 7.0's release candidates are not supported")),
        SLOT_INFO => (0..3).try_for_each(|_| reader.len().map(|_| ())).map(|()| Item::Nothing),
        SLOT_IMPORT if version >= VALKEY_VERSION => {
            reader.skip_string()?;
            for _ in 0..reader.len()? {
                reader.len()?;
                reader.len()?;
            }
            Ok(Item::Nothing)
        }
        SLOT_IMPORT => Err(Fault::Damaged("what modules keep beside keys cannot be loaded")),
        MODULE_AUX => Err(Fault::Module(decode::module_name(reader.len()?))),
        END => Ok(Item::End),
        other => Err(Fault::Unknown(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::encode::View;
    use crate::persist::record::About;
    use std::borrow::Cow;

    fn file() -> Vec<u8> {
        let (mut out, form) = (Vec::new(), Form::default());
        put_head(&mut out, form, &[("redis-ver", "7.0.0"), ("ctime", "1700000000")]);
        put_function(&mut out, b"#!lua name=l", form);
        for db in [0, 3] {
            put_select(&mut out, db);
            put_resize(&mut out, 2, 0);
            for name in ["a", "b"] {
                let about = About { name: Cow::Borrowed(name.as_bytes()), expires_at: None, usage: None };
                record::put(&mut out, &about, View::Text(&[b'v'; 100]), form);
            }
        }
        let tail = end(Some(crc64(0, &out)));
        out.extend_from_slice(&tail);
        out
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<Frame>, Fault> {
        let (mut frames, mut all) = (Frames::new(true), Vec::new());
        let mut pieces = bytes.chunks(step);
        loop {
            match frames.part()? {
                Some(Frame::End) => {
                    assert_eq!((frames.offset(), frames.rest().len()), (bytes.len() as u64, 0));
                    return Ok(all);
                }
                Some(frame) => all.push(frame),
                None => match pieces.next() {
                    Some(piece) => frames.push(piece),
                    None => frames.finish(),
                },
            }
        }
    }

    #[test]
    fn a_file_is_read_in_pieces_of_any_length() {
        let file = file();
        let whole = read(&file, file.len()).unwrap();
        assert_eq!(whole.len(), 2 + 1 + 2 * 2);
        for step in 1..40 {
            let frames = read(&file, step).unwrap();
            let keys = |frames: &[Frame]| -> Vec<(u64, usize)> {
                let batches = frames.iter().filter_map(|frame| match frame {
                    Frame::Keys(batch) => Some((batch.db, batch.count)),
                    _ => None,
                });
                batches.collect()
            };
            let count: usize = keys(&frames).iter().map(|(_, count)| count).sum();
            assert_eq!(count, 4, "step {step}");
            assert_eq!(keys(&whole), [(0, 2), (3, 2)]);
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let file = file();
        for at in 0..file.len() {
            assert!(read(&file[..at], 1 << 20).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(read(&damaged, 1 << 20).is_err() || damaged[file.len() - 8..] == [0; 8], "bit {bit} of {at}");
            }
        }
        assert_eq!(read(b"REDIS0099aaaaaaa", 99), Err(Fault::Version(99)));
        assert_eq!(read(b"HELLO WORLD", 99), Err(BAD_HEAD));
    }
}
