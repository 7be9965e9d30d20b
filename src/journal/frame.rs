//! Groups as text, batch by batch.
//!
//! ```text
//! #TS:<seconds>\r\n                  Optional: the time of what follows.
//! #SUM:<len> <crc> <synced>[ ts]\r\n len bytes follow, whose CRC-64 is this; when they were written, the file was known to be on
//!                                   the disk up to offset `synced`. `ts`: a time stands before. Both are comments to Redis.
//! *2\r\n$6\r\nSELECT\r\n…            where the database changes
//! *1\r\n$5\r\nMULTI\r\n … EXEC       around groups of several commands
//! ```
//! The sum is that of the line's two numbers, of the time before it, and of the bytes. The time comes first because that is where
//! `redis-check-aof --truncate-to-timestamp` cuts: between two batches. It stands before its bytes: a batch that was torn is known by its length, and what another server appends behind our
//! last batch has no sum and needs none. `synced` tells a torn tail from damage: see `check`.

use super::merge::Merged;
use crate::base::crc64::crc64;
use crate::base::ids::DbIndex;
use crate::keyspace::order::append_command;
use std::io::Write;

/// How its line ends if the one before is a time that belongs to it.
const STAMPED: &str = " ts";
/// How the line of a time begins.
pub const STAMP: &[u8] = b"#TS:";
/// The longest line of a time.
pub const STAMP_LEN_MAX: usize = 26;
/// How the line of a batch begins.
pub const SUM: &[u8] = b"#SUM:";
/// Longer annotation lines are no lines to Redis.
pub const LINE_LEN_MAX: usize = 1024;

/// A batch that is being put together.
#[derive(Default)]
pub struct Framer {
    body: Vec<u8>,
    /// The line of the time before the batch, if there is one.
    stamp: Vec<u8>,
    /// The database that the log has selected at this point; None: a file begins.
    db: Option<DbIndex>,
    /// The last time that was noted, in unix seconds.
    noted_time: u64,
}

impl Framer {
    /// A new file begins: nothing is selected.
    pub fn begin_file(&mut self) {
        self.db = None;
        self.noted_time = 0;
    }
    /// Notes the time, if it is another second than last.
    pub fn note_time(&mut self, seconds: u64) {
        if self.noted_time != seconds {
            self.noted_time = seconds;
            self.stamp.clear();
            let _ = write!(self.stamp, "#TS:{seconds}"); // Writing to a Vec cannot fail.
        }
    }
    /// Adds a group, or a run of groups.
    pub fn push(&mut self, group: &Merged<'_>) {
        if group.is_whole {
            append_command(&mut self.body, [&b"MULTI"[..]].into_iter());
        }
        let mut at = 0;
        for side_by_side in group.records.chunk_by(|one, next| one.db == next.db) {
            let db = side_by_side[0].db;
            if self.db != Some(db) {
                self.db = Some(db);
                let mut digits = itoa::Buffer::new();
                append_command(&mut self.body, [&b"SELECT"[..], digits.format(db.0).as_bytes()].into_iter());
            }
            let len: usize = side_by_side.iter().map(|record| record.len).sum();
            self.body.extend_from_slice(&group.bytes[at..at + len]);
            at += len;
        }
        if group.is_whole {
            append_command(&mut self.body, [&b"EXEC"[..]].into_iter());
        }
    }
    /// Bytes of the batch so far.
    pub fn len(&self) -> usize {
        self.body.len()
    }
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }
    /// Appends the batch to `out` without its line: there are readers that know commands only.
    pub fn finish_bare(&mut self, out: &mut Vec<u8>) {
        self.finish_stamp(out);
        out.append(&mut self.body);
    }
    fn finish_stamp(&mut self, out: &mut Vec<u8>) {
        if !self.stamp.is_empty() {
            out.append(&mut self.stamp);
            out.extend_from_slice(b"\r\n");
        }
    }
    /// Appends the batch to `out`, with its line. `synced`: the file's length that is known to be on the disk.
    pub fn finish(&mut self, synced: u64, out: &mut Vec<u8>) {
        let len = self.body.len() as u64;
        let crc = crc64(crc64(Sum::seed(len, synced), &self.stamp), &self.body);
        let mark = if self.stamp.is_empty() { "" } else { STAMPED };
        self.finish_stamp(out);
        let _ = write!(out, "#SUM:{len} {crc:016x} {synced}{mark}\r\n");
        out.append(&mut self.body);
    }
}

/// What a batch's line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub len: u64,
    pub crc: u64,
    pub synced: u64,
    /// The sum is also that of the line before it.
    pub is_stamped: bool,
}

impl Sum {
    /// Where the sum of a batch begins.
    pub fn seed(len: u64, synced: u64) -> u64 {
        crc64(crc64(0, &len.to_le_bytes()), &synced.to_le_bytes())
    }
    /// Shape: `#SUM:<len> <crc> <synced>[ ts]`, without the line's end.
    pub fn parse(line: &[u8]) -> Option<Sum> {
        let text = std::str::from_utf8(line.strip_prefix(SUM)?).ok()?;
        let (text, is_stamped) = text.strip_suffix(STAMPED).map_or((text, false), |text| (text, true));
        let mut words = text.split(' ');
        let mut number = |radix| {
            let word = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
            u64::from_str_radix(word, radix).ok()
        };
        let sum = Sum { len: number(10)?, crc: number(16)?, synced: number(10)?, is_stamped };
        words.next().is_none().then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::order::Record;

    #[test]
    fn groups_are_bracketed_and_databases_selected_where_they_change() {
        let mut framer = Framer::default();
        let one = b"*1\r\n$1\r\na\r\n";
        let record = |db| Record { db: DbIndex(db), len: one.len() };
        framer.push(&Merged { number: 1, is_whole: false, records: &[record(0)], bytes: one });
        framer.push(&Merged {
            number: 2,
            is_whole: true,
            records: &[record(0), record(2)],
            bytes: &[&one[..], one].concat(),
        });
        let mut out = Vec::new();
        let len = framer.len();
        framer.finish(7, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (line, body) = text.split_once("\r\n").unwrap();
        assert_eq!(body.len(), len);
        let words: Vec<&str> = body.lines().filter(|line| !line.starts_with(['*', '$'])).collect();
        assert_eq!(words, ["SELECT", "0", "a", "MULTI", "a", "SELECT", "2", "a", "EXEC"]);
        let sum = Sum::parse(line.as_bytes()).unwrap();
        assert_eq!((sum.len, sum.synced, sum.crc), (len as u64, 7, crc64(Sum::seed(len as u64, 7), body.as_bytes())));
        assert!(framer.is_empty());
    }
}
