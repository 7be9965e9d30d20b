//! Before anything of a file is run: what of it is whole?
//!
//! ```text
//! batch with a sum     its length and its sum agree ─▶ whole
//! commands without     what another server has written, or appended: whole if they can be parsed, transactions as one
//! room                 nothing; whoever finds commands of another server behind it goes on in another file
//! anything else        damage, or the end of what a crash has left
//! ```
//! *Torn or damaged?* Each sum tells how much of the file was on the disk when it was written. If a whole batch that comes later
//! says that the place was on the disk by then, no crash has done this: the file is damaged and is refused. Otherwise the place
//! may never have been written in full, and nobody was told that it was: the rest may be cut off.
//!
//! *Behind room* what seems to be commands may be the middle of a batch whose begin was torn off. Then there is room again
//! behind it, since we never write to the end of that. Commands that another server has appended end the file.

use super::frame::{LINE_LEN_MAX, STAMP, STAMP_LEN_MAX, SUM, Sum};
use super::room;
use crate::base::crc64::crc64;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

/// What a file is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Bytes that are whole.
    pub good_len: u64,
    /// Bytes behind them, and how many commands seem to begin there.
    pub lost_len: u64,
    pub lost_commands: u64,
    /// There is room in between: the log does not go on in this file.
    pub has_gap: bool,
}

/// A file that must not be loaded.
#[derive(Debug)]
pub enum Refusal {
    /// Something was changed there.
    Damaged {
        offset: u64,
    },
    Io(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Io(error)
    }
}

/// How reading a piece ended.
enum Piece {
    /// Up to here everything is whole.
    Whole,
    /// The same: a batch with its sum.
    Batch,
    /// A line of room.
    Room,
    /// A command inside a transaction, or an annotation: whole only with what follows.
    Inside,
    End,
    /// The file ends too early.
    Short,
    /// Not what may stand there.
    Odd,
}

struct Scan<R> {
    file: BufReader<R>,
    at: u64,
    len: u64,
    line: Vec<u8>,
    /// The line before this one, if it was a time.
    stamp: Vec<u8>,
    is_in_multi: bool,
    /// There are batches of ours.
    has_ours: bool,
}

/// Looks through a log of `len` bytes.
/// Errors: it is damaged, or cannot be read.
pub fn check<R: Read + Seek>(file: R, len: u64) -> Result<Verdict, Refusal> {
    let file = BufReader::with_capacity(256 << 10, file);
    let mut scan = Scan { file, at: 0, len, line: Vec::new(), stamp: Vec::new(), is_in_multi: false, has_ours: false };
    let mut good_len = 0;
    // Where room begins; where whole commands behind it end.
    let (mut room, mut behind) = (None, None);
    loop {
        let begin = scan.at;
        let may_be_torn = match (scan.piece()?, room) {
            (Piece::Whole | Piece::Batch, None) => {
                good_len = scan.at;
                continue;
            }
            (Piece::Inside, None) => continue,
            (Piece::Inside, Some(_)) => {
                behind.get_or_insert(begin);
                continue;
            }
            (Piece::Whole, Some(_)) => {
                behind = Some(scan.at);
                continue;
            }
            (Piece::Room, _) if behind.is_none() => {
                room.get_or_insert(begin);
                continue;
            }
            (Piece::End, None) if good_len == len => return Ok(Verdict { good_len, ..Verdict::default() }),
            (Piece::End, Some(_)) if behind.is_none() => return Ok(Verdict { good_len, ..Verdict::default() }),
            (Piece::End, Some(_)) if behind == Some(len) => {
                return Ok(Verdict { good_len: len, has_gap: true, ..Verdict::default() });
            }
            (Piece::End | Piece::Short, _) => behind.is_none(), // Whose commands these are is not known.
            (Piece::Batch | Piece::Room, _) => true,
            // Behind a batch of ours a crash may leave anything; a log without any is never torn in this way.
            (Piece::Odd, _) => scan.has_ours || scan.line.first() == Some(&0),
        };
        let torn = room.unwrap_or(begin);
        if !may_be_torn || scan.was_synced(torn)? {
            return Err(Refusal::Damaged { offset: torn });
        }
        return scan.cut(good_len);
    }
}

/// Is this a time, and nothing else? What a torn line of ours has become begins as one.
fn is_stamp(line: &[u8]) -> bool {
    line.strip_prefix(STAMP).is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

impl<R: Read + Seek> Scan<R> {
    fn seek(&mut self, at: u64) -> io::Result<()> {
        self.at = at;
        self.file.seek(SeekFrom::Start(at)).map(|_| ())
    }
    /// Reads a line. False: it does not end, or is too long.
    fn read_line(&mut self) -> io::Result<bool> {
        std::mem::swap(&mut self.line, &mut self.stamp);
        self.line.clear();
        let count = (&mut self.file).take(LINE_LEN_MAX as u64).read_until(b'\n', &mut self.line)?;
        self.at += count as u64;
        let is_whole = self.line.ends_with(b"\r\n");
        if is_whole {
            self.line.truncate(self.line.len() - 2);
        }
        Ok(is_whole)
    }
    /// A number behind `sign`. None: the line is odd.
    fn number(&self, sign: u8) -> Option<u64> {
        let text = self.line.strip_prefix(&[sign])?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }
    fn piece(&mut self) -> io::Result<Piece> {
        if self.at == self.len {
            self.line.clear();
            return Ok(Piece::End);
        }
        if !self.read_line()? {
            self.has_ours |= self.line.starts_with(SUM);
            let is_end = self.at == self.len && self.line.len() < LINE_LEN_MAX && !self.line.ends_with(b"\n");
            let may_begin = self.line.first().is_some_and(|first| b"#*".contains(first));
            return Ok(if is_end && may_begin { Piece::Short } else { Piece::Odd });
        }
        if let Some(sum) = Sum::parse(&self.line) {
            self.has_ours = true;
            return self.batch(sum);
        }
        match self.line.first() {
            _ if self.has_ours && room::is_line(&self.line) => Ok(Piece::Room), // There is none before our first batch.
            _ if self.line.starts_with(SUM) => {
                self.has_ours = true;
                Ok(Piece::Odd)
            }
            // Behind a batch of ours nobody writes other comments than times.
            Some(b'#') if self.has_ours && !is_stamp(&self.line) => Ok(Piece::Odd),
            Some(b'#') => Ok(if self.is_in_multi { Piece::Inside } else { Piece::Whole }),
            Some(b'*') => self.command(),
            _ => Ok(Piece::Odd),
        }
    }
    /// The body of a batch.
    fn batch(&mut self, sum: Sum) -> io::Result<Piece> {
        if sum.len > self.len - self.at || self.is_in_multi {
            return Ok(Piece::Short);
        }
        if sum.is_stamped && !self.stamp.starts_with(STAMP) {
            return Ok(Piece::Odd);
        }
        let stamp = if sum.is_stamped { &self.stamp[..] } else { b"" };
        let (mut left, mut crc) = (sum.len, crc64(Sum::seed(sum.len, sum.synced), stamp));
        while left > 0 {
            let chunk = self.file.fill_buf()?;
            let count = (chunk.len() as u64).min(left) as usize;
            if count == 0 {
                return Ok(Piece::Short);
            }
            crc = crc64(crc, &chunk[..count]);
            self.file.consume(count);
            left -= count as u64;
            self.at += count as u64;
        }
        Ok(if crc == sum.crc { Piece::Batch } else { Piece::Odd })
    }
    /// The arguments of a command without a sum.
    fn command(&mut self) -> io::Result<Piece> {
        let Some(count) = self.number(b'*').filter(|&count| count > 0) else { return Ok(Piece::Odd) };
        let mut name = Vec::new();
        for index in 0..count {
            if !self.read_line()? {
                return Ok(if self.at == self.len { Piece::Short } else { Piece::Odd });
            }
            let Some(len) = self.number(b'$') else { return Ok(Piece::Odd) };
            if len.saturating_add(2) > self.len - self.at {
                return Ok(Piece::Short);
            }
            if index == 0 && len <= 8 {
                (&mut self.file).take(len).read_to_end(&mut name)?;
            } else {
                io::copy(&mut (&mut self.file).take(len), &mut io::sink())?;
            }
            let mut end = [0; 2];
            self.file.read_exact(&mut end)?;
            self.at += len + 2;
            if end != *b"\r\n" {
                return Ok(Piece::Odd);
            }
        }
        if name.eq_ignore_ascii_case(b"multi") {
            self.is_in_multi = true;
        } else if name.eq_ignore_ascii_case(b"exec") {
            self.is_in_multi = false;
        }
        Ok(if self.is_in_multi { Piece::Inside } else { Piece::Whole })
    }
    /// Does a whole batch behind `begin` tell that this place was on the disk?
    fn was_synced(&mut self, begin: u64) -> io::Result<bool> {
        let mut line_at = begin + 1;
        loop {
            self.seek(line_at)?;
            // What lies between is anything, in lines of any length.
            let Some(found) = self.find_sum()? else { return Ok(false) };
            self.find_stamp(found)?;
            self.is_in_multi = false;
            if self.read_line()?
                && let Some(sum) = Sum::parse(&self.line)
                && sum.synced > begin
                && matches!(self.batch(sum)?, Piece::Batch)
            {
                return Ok(true);
            }
            line_at = found + 1;
        }
    }
    /// Goes to `found`, having read the time before it, if there is one.
    fn find_stamp(&mut self, found: u64) -> io::Result<()> {
        let begin = found.saturating_sub(STAMP_LEN_MAX as u64);
        self.seek(begin)?;
        let mut before = vec![0; (found - begin) as usize];
        self.file.read_exact(&mut before)?;
        self.at = found;
        let at = before.windows(STAMP.len()).rposition(|window| window == STAMP);
        self.line.clear(); // It will be the line before.
        self.line.extend_from_slice(at.map_or(b"", |at| before[at..].strip_suffix(b"\r\n").unwrap_or(b"")));
        Ok(())
    }
    /// Where `#SUM:` stands next.
    fn find_sum(&mut self) -> io::Result<Option<u64>> {
        let mut matched = 0;
        let mut at = self.at;
        loop {
            let chunk = self.file.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let count = chunk.len();
            for &byte in chunk {
                at += 1;
                matched = if byte == SUM[matched] { matched + 1 } else { (byte == b'#') as usize };
                if matched == SUM.len() {
                    return Ok(Some(at - matched as u64));
                }
            }
            self.file.consume(count);
        }
    }
    /// The file is good up to here.
    fn cut(mut self, good_len: u64) -> Result<Verdict, Refusal> {
        self.seek(good_len)?;
        let (mut lost_commands, mut before) = (0, b'\n');
        // Where the room begins that the file ends with, if it does.
        let (mut at, mut room) = (good_len, None);
        loop {
            let chunk = self.file.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let count = chunk.len();
            for &byte in chunk {
                lost_commands += (before == b'\n' && byte == b'*') as u64;
                match byte {
                    b'#' => _ = room.get_or_insert(at),
                    b'\r' | b'\n' => {}
                    _ => room = None,
                }
                (before, at) = (byte, at + 1);
            }
            self.file.consume(count);
        }
        let room = room.filter(|begin| at - begin > 1); // One alone may be the begin of a batch.
        Ok(Verdict { good_len, lost_len: room.unwrap_or(at) - good_len, lost_commands, has_gap: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::DbIndex;
    use crate::base::prng::Prng;
    use crate::journal::frame::Framer;
    use crate::journal::merge::Merged;
    use crate::keyspace::order::{Record, append_command};
    use std::io::Cursor;

    /// Batches, and where each ends. `synced` is the end of the batch before.
    fn batches(count: usize) -> (Vec<u8>, Vec<u64>) {
        let (mut framer, mut out, mut ends) = (Framer::default(), Vec::new(), vec![0]);
        for number in 1..=count as u64 {
            let mut bytes = Vec::new();
            append_command(&mut bytes, [b"SET", &b"key"[..], number.to_string().as_bytes()].into_iter());
            let records = [Record { db: DbIndex(0), len: bytes.len() }];
            if number % 3 == 0 {
                framer.note_time(1_700_000_000 + number);
            }
            framer.push(&Merged { number, is_whole: records.len() > 1, records: &records, bytes: &bytes });
            framer.finish(*ends.last().unwrap(), &mut out);
            ends.push(out.len() as u64);
        }
        (out, ends)
    }

    fn verdict(bytes: &[u8]) -> Result<Verdict, Refusal> {
        check(Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn every_truncation_is_cut_at_a_batch_and_told() {
        let (bytes, ends) = batches(6);
        for len in 0..=bytes.len() {
            let verdict = verdict(&bytes[..len]).unwrap();
            let good = *ends.iter().rfind(|&&end| end <= len as u64).unwrap();
            // A time whose batch is missing is whole by itself.
            let stamp = if bytes[good as usize..len].starts_with(b"#TS:") { 16 } else { 0 };
            let good = if len as u64 >= good + stamp { good + stamp } else { good };
            assert_eq!((verdict.good_len, verdict.lost_len), (good, len as u64 - good), "of {len}");
        }
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let (bytes, ends) = batches(8);
        let durable = ends[7]; // The last batch tells that those before it are on the disk.
        let mut prng = Prng::seeded(1);
        for _ in 0..5000 {
            let (at, bit) = (prng.below(bytes.len() as u64) as usize, prng.below(8));
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            match verdict(&damaged) {
                Err(Refusal::Damaged { offset }) => {
                    assert!(offset < *ends.iter().find(|&&end| end > at as u64).unwrap());
                }
                Err(Refusal::Io(error)) => panic!("{error}"),
                Ok(verdict) => {
                    assert!(verdict.good_len >= durable || at as u64 >= ends[7], "bit {bit} of {at}: {verdict:?}")
                }
            }
        }
    }

    #[test]
    fn what_another_server_wrote_is_cut_at_a_command_and_transactions_as_a_whole() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for line in ["SELECT 0", "SET a 1", "MULTI", "SET b 2", "SET c 3", "EXEC", "SET d 4"] {
            append_command(&mut bytes, line.split(' ').map(str::as_bytes).collect::<Vec<_>>().into_iter());
            if !["MULTI", "SET b 2", "SET c 3"].contains(&line) {
                ends.push(bytes.len() as u64);
            }
        }
        for len in 0..=bytes.len() {
            let good = *ends.iter().rfind(|&&end| end <= len as u64).unwrap();
            assert_eq!(verdict(&bytes[..len]).unwrap().good_len, good, "of {len}");
        }
        let mut behind_ours = batches(2).0;
        let ours = behind_ours.len() as u64;
        behind_ours.extend_from_slice(&bytes);
        assert_eq!(verdict(&behind_ours).unwrap().good_len, ours + bytes.len() as u64);
        bytes[3] = b'x';
        assert!(matches!(verdict(&bytes), Err(Refusal::Damaged { offset: 0 })));
    }

    /// So many batches in a file with room, which is shown as well.
    fn with_room(count: usize) -> (Vec<u8>, Vec<u64>, Vec<u8>) {
        let (mut bytes, ends) = batches(count);
        let len = bytes.len();
        let room = room::bytes(0..1024);
        bytes.extend_from_slice(&room[len..]);
        let guard = room::guard(len as u64);
        bytes[len..len + guard.len()].copy_from_slice(guard);
        (bytes, ends, room)
    }

    #[test]
    fn room_is_nothing_and_what_was_torn_in_it_is_cut() {
        const SECTOR: usize = 16;
        for count in 2..8 {
            let (bytes, ends, room) = with_room(count);
            let (last, end) = (ends[count - 1], ends[count]);
            let sectors: Vec<usize> = (last as usize / SECTOR..=(end as usize - 1) / SECTOR).collect();
            for lost in 0..1_u32 << sectors.len() {
                let mut torn = bytes.clone();
                for (bit, sector) in sectors.iter().enumerate().filter(|(bit, _)| lost >> bit & 1 == 1) {
                    let begin = if bit == 0 { last as usize } else { sector * SECTOR };
                    torn[begin..(sector + 1) * SECTOR].copy_from_slice(&room[begin..(sector + 1) * SECTOR]);
                }
                let guard = room::guard(last);
                if lost & 1 == 1 {
                    torn[last as usize..][..guard.len()].copy_from_slice(guard); // As the batch before has left it.
                }
                let verdict = verdict(&torn).unwrap();
                assert!(!verdict.has_gap);
                // A time is whole by itself.
                let is_stamped =
                    torn[last as usize..].starts_with(b"#TS:17000000") && torn[last as usize + 14] == b'\r';
                let good = if lost == 0 { end } else { last + if is_stamped { 16 } else { 0 } };
                assert_eq!(verdict.good_len, good, "{}", torn.escape_ascii());
                assert!(verdict.lost_len <= end - last, "room is no loss");
            }
        }
    }

    #[test]
    fn commands_that_another_server_appends_behind_room_count() {
        for count in 1..8 {
            let (mut bytes, ends, _) = with_room(count);
            assert_eq!(verdict(&bytes).unwrap(), Verdict { good_len: ends[count], ..Verdict::default() });
            for word in [b"one", b"two"] {
                append_command(&mut bytes, [b"SET", &b"key"[..], word].into_iter());
            }
            let whole = Verdict { good_len: bytes.len() as u64, has_gap: true, ..Verdict::default() };
            assert_eq!(verdict(&bytes).unwrap(), whole);
            bytes.pop();
            assert!(matches!(verdict(&bytes), Err(Refusal::Damaged { .. })), "nobody can tell whose they are");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let (bytes, _) = batches(3);
        let mut prng = Prng::seeded(9);
        for _ in 0..5000 {
            let mut damaged = bytes.clone();
            for _ in 0..4 {
                let at = prng.below(damaged.len() as u64) as usize;
                damaged[at] = prng.next_u64() as u8;
            }
            let _ = verdict(&damaged);
        }
    }
}
