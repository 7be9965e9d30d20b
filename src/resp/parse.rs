//! Requests: bytes in, `Args` parts out, nothing copied.
//!
//!     request  = '*' count CRLF (bulk × count)  |  inline line          bulk = '$' len CRLF bytes CRLF
//!
//! `Parser::next` looks at the bytes from the start of one request. A whole multibulk request of ordinary size takes the
//! fast path: one pass, a few instructions per argument. Everything else takes the slow path, which knows every limit
//! and every error. A short unfinished request leaves nothing behind and is read again when more has come: its headers are
//! few, its bulks are skipped by length. A long one leaves its position and arguments in a box, so that the work stays
//! linear however the bytes are cut.
//!
//! A bulk of 32 KiB or more that has not arrived whole does not go through the connection's buffer:
//!
//!     next  → Step::Large { keep }       the parser has taken everything behind `keep` for itself
//!     fill  (each further receive, while `is_filling`)       beyond 1 MiB memory grows with what arrived, at most twofold
//!     next  → goes on behind the bulk    the argument is marked LARGE; `take_large` hands its bytes over
//!
//! Like Redis, the parser trusts the client for line feeds and for the CRLF behind a bulk: it skips two bytes.
//! Errors and results do not depend on where the stream was cut (parse_fuzz.rs holds it to that).

use super::args::{Arg, LARGE};
use super::error::{ReplyError, escaped};
use crate::base::num::parse_i64;
use crate::base::words::{Word, split};
use bytes::Bytes;
use std::num::NonZeroUsize;

/// Longest inline request and longest header line. Source: PROTO_INLINE_MAX_SIZE.
pub const LINE_LEN_MAX: usize = 64 << 10;
/// A bulk of this length or more is received on its own. Source: PROTO_MBULK_BIG_ARG.
pub const LARGE_LEN_MIN: usize = 32 << 10;
/// Most arguments of a request. Source: INT_MAX, as in Redis 7.
const COUNT_MAX: u32 = i32::MAX as u32;
/// Limits before authentication: enough for AUTH and HELLO.
const UNAUTHENTICATED_COUNT_MAX: u32 = 10;
const UNAUTHENTICATED_LEN_MAX: u64 = 16384;
/// Memory for a large bulk is reserved in advance up to this: values of ordinary size are received without being moved.
/// What nobody has written to is address space; it is given back when the client falls silent (`Parser::shrink`).
const ADVANCE_LEN_MAX: usize = 1 << 20;
/// Behind a large bulk there is room for the next one, up to this: who sends one often sends another. Redis keeps as much as
/// the last one took, in its query buffer, and gives it up as we do: when something smaller comes, or nothing for two seconds.
const ROOM_LEN_MAX: usize = 64 << 10;
/// An unfinished request with fewer arguments than this is read again from its start instead of being remembered.
const REREAD_COUNT_MAX: usize = 16;

/// What this connection may send now.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    count_max: u32,
    len_max: u64,
    /// The smallest of the two bulk limits.
    fast_len_max: u64,
    /// A large bulk that is longer, with its CRLF, never becomes an argument.
    input_len_max: u64,
}

impl Limits {
    /// `bulk_len_max` is `proto-max-bulk-len`.
    pub fn new(bulk_len_max: u64, authenticated: bool) -> Self {
        let (count_max, fast_len_max) = if authenticated {
            (COUNT_MAX, bulk_len_max)
        } else {
            (UNAUTHENTICATED_COUNT_MAX, bulk_len_max.min(UNAUTHENTICATED_LEN_MAX))
        };
        Limits { count_max, len_max: bulk_len_max, fast_len_max, input_len_max: u64::MAX }
    }
    /// For a client that is closed when more than `len` bytes of it wait here (`received_len` tells), however they arrive.
    pub fn with_input_max(self, len: u64) -> Self {
        Limits { input_len_max: len, ..self }
    }
}

/// What `next` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request of `consumed` bytes; its `item_count` arguments were appended to the items.
    Command { consumed: usize, item_count: usize },
    /// `consumed` bytes that ask for nothing: an empty line, `*0`, a negative count.
    Skip { consumed: usize },
    /// The request has not arrived whole.
    Incomplete,
    /// A large bulk has begun. The parser has taken the bytes from `keep` on: drop them, keep those before, and give what
    /// arrives to `fill` until `is_filling` ends.
    Large { keep: usize },
}

/// The client breaks the protocol: reply, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    InlineTooLong,
    CountLineTooLong,
    LenLineTooLong,
    InvalidCount,
    InvalidLen,
    UnauthenticatedCount,
    UnauthenticatedLen,
    ExpectedBulk(u8),
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The error that the client is told.
    pub fn reply(self) -> ReplyError {
        ReplyError::text(match self {
            Self::InlineTooLong => "ERR Protocol error: too big inline request",
            Self::CountLineTooLong => "ERR Protocol error: too big mbulk count string",
            Self::LenLineTooLong => "ERR Protocol error: too big bulk count string",
            Self::InvalidCount => "ERR Protocol error: invalid multibulk length",
            Self::InvalidLen => "ERR Protocol error: invalid bulk length",
            Self::UnauthenticatedCount => "ERR Protocol error: unauthenticated multibulk length",
            Self::UnauthenticatedLen => "ERR Protocol error: unauthenticated bulk length",
            Self::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            Self::ExpectedBulk(byte) => {
                let byte = escaped(&[byte]);
                return ReplyError::owned(format!("ERR Protocol error: expected '$', got '{byte}'"));
            }
        })
    }
}

/// The parser's memory between two receives of one connection. Empty (two words) whenever no long request is under way.
#[derive(Default)]
pub struct Parser {
    /// Bytes at the start of an unfinished inline request that hold no line end.
    scanned: u32,
    saved: Option<Box<Saved>>,
}

/// A long request that has not arrived whole.
#[derive(Default)]
struct Saved {
    /// The next header begins here, relative to the request's start in the connection's buffer.
    pos: usize,
    /// Arguments that are still to come.
    remaining: u32,
    items: Vec<Arg>,
    /// Arguments with bytes of their own: large bulks, and inline arguments that had quotes.
    own: Vec<Bytes>,
    filling: Option<Filling>,
    /// Room for the next large bulk.
    room: Vec<u8>,
    /// The request was handed out; only `own` and `room` may still be wanted.
    done: bool,
}

/// A large bulk on its way in.
struct Filling {
    bytes: Vec<u8>,
    len: usize,
    /// Bytes seen of the CRLF behind the bulk.
    tail: usize,
    /// It never ends: the client is closed when it is here, and what follows is dropped.
    is_too_long: bool,
}

impl Parser {
    /// The next request of `buf`, which begins where the last consumed one ended.
    ///
    /// Errors: the client's; the connection is of no use afterwards.
    /// Cost: a SET of small arguments, about 15 ns; an unfinished request, one look at its headers.
    // Inlined into the one loop that calls it: a `Step` returned through memory in two halves and loaded as one stalls for
    // longer than the parsing of a header takes.
    #[inline(always)]
    pub fn next(&mut self, buf: &[u8], limits: &Limits, items: &mut Vec<Arg>) -> Result<Step, ProtocolError> {
        if self.saved.is_none() {
            let base = items.len();
            if let Some(consumed) = whole_request(buf, limits, items) {
                return Ok(Step::Command { consumed: consumed.get(), item_count: items.len() - base });
            }
        }
        self.next_slow(buf, limits, items)
    }
    /// Appends the bytes of arguments that `next` marked LARGE in the command it has just returned, in the order of their marks.
    #[inline]
    pub fn take_large(&mut self, into: &mut Vec<Bytes>) {
        if let Some(saved) = self.saved.as_mut().filter(|saved| saved.done) {
            into.append(&mut saved.own);
            saved.items = Vec::new();
            if saved.room.capacity() == 0 {
                self.saved = None;
            }
        }
    }
    /// Does what arrives next belong to a large bulk?
    #[inline]
    pub fn is_filling(&self) -> bool {
        self.saved.as_ref().is_some_and(|saved| saved.filling.is_some())
    }
    /// Gives received bytes to the large bulk under way; returns how many it took. The rest belongs behind what `keep` kept.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let Some(saved) = &mut self.saved else { return 0 };
        let Some(filling) = &mut saved.filling else { return 0 };
        let taken = filling.take(bytes);
        if filling.tail == 2 && !filling.is_too_long {
            let bytes = std::mem::take(&mut filling.bytes);
            saved.filling = None;
            saved.room = Vec::with_capacity(bytes.len().min(ROOM_LEN_MAX));
            saved.items.push(Arg { offset: LARGE, len: saved.own.len() as u32, hash: 0 });
            saved.own.push(Bytes::from(bytes));
            saved.remaining -= 1;
        }
        taken
    }
    /// Memory held for the request under way, for the client's accounting.
    pub fn held_len(&self) -> usize {
        self.saved.as_ref().map_or(0, |saved| {
            let filling = saved.filling.as_ref().map_or(0, |filling| filling.bytes.capacity());
            let own: usize = saved.own.iter().map(Bytes::len).sum();
            filling + own + saved.items.capacity() * size_of::<Arg>()
        })
    }
    /// Memory held for the next large bulk.
    #[inline]
    pub fn room(&self) -> usize {
        self.saved.as_ref().map_or(0, |saved| saved.room.capacity())
    }
    /// Bytes of the request under way that have arrived and lie here.
    pub fn received_len(&self) -> usize {
        self.saved.as_ref().map_or(0, |saved| {
            let filling = saved.filling.as_ref().map_or(0, |filling| filling.bytes.len() + filling.tail);
            filling + saved.own.iter().map(Bytes::len).sum::<usize>()
        })
    }
    /// Gives back what was reserved for bytes that have not arrived.
    pub fn shrink(&mut self) {
        let Some(saved) = &mut self.saved else { return };
        saved.room = Vec::new();
        if let Some(filling) = &mut saved.filling {
            filling.bytes.shrink_to(0); // To its length.
        }
    }
    #[cold]
    #[inline(never)]
    fn next_slow(&mut self, buf: &[u8], limits: &Limits, items: &mut Vec<Arg>) -> Result<Step, ProtocolError> {
        let mut room = Vec::new();
        if self.saved.as_ref().is_some_and(|saved| saved.done) {
            room = self.saved.take().map(|saved| saved.room).unwrap_or_default();
        }
        if let Some(saved) = &mut self.saved {
            let outcome = if saved.filling.is_some() {
                Outcome::More
            } else {
                bulks(buf, limits, &mut saved.pos, &mut saved.remaining, &mut saved.items)?
            };
            return Ok(match outcome {
                Outcome::Whole => self.finish(items),
                Outcome::More => Step::Incomplete,
                Outcome::Large(len) => self.begin_large(buf, len, limits),
            });
        }
        match buf.first() {
            None => Ok(Step::Incomplete),
            Some(b'*') => self.multibulk(buf, limits, items, room),
            Some(_) => self.inline(buf, items),
        }
    }
    /// A multibulk request from its first byte; a large bulk in it gets `room`.
    fn multibulk(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        items: &mut Vec<Arg>,
        room: Vec<u8>,
    ) -> Result<Step, ProtocolError> {
        let Some((count, mut pos)) = header(buf, 0, ProtocolError::CountLineTooLong)? else {
            return Ok(Step::Incomplete);
        };
        let count = parse_i64(count).filter(|&count| count <= COUNT_MAX as i64).ok_or(ProtocolError::InvalidCount)?;
        if count > limits.count_max as i64 {
            return Err(ProtocolError::UnauthenticatedCount);
        }
        if count <= 0 {
            return Ok(Step::Skip { consumed: pos });
        }
        let base = items.len();
        let mut remaining = count as u32;
        let outcome = bulks(buf, limits, &mut pos, &mut remaining, items)?;
        let parsed = items.len() - base;
        match outcome {
            Outcome::Whole => return Ok(Step::Command { consumed: pos, item_count: parsed }),
            Outcome::More if parsed < REREAD_COUNT_MAX => {
                items.truncate(base);
                return Ok(Step::Incomplete);
            }
            _ => {}
        }
        let parsed = items.split_off(base);
        self.saved = Some(Box::new(Saved { pos, remaining, items: parsed, room, ..Saved::default() }));
        Ok(match outcome {
            Outcome::Large(len) => self.begin_large(buf, len, limits),
            _ => Step::Incomplete,
        })
    }
    /// Starts to receive a bulk of `len` bytes whose first bytes lie in `buf` behind the saved position.
    fn begin_large(&mut self, buf: &[u8], len: usize, limits: &Limits) -> Step {
        let Some(saved) = &mut self.saved else { return Step::Incomplete };
        let keep = saved.pos;
        let mut bytes = std::mem::take(&mut saved.room);
        if bytes.capacity() != len {
            bytes = Vec::with_capacity(len.min(ADVANCE_LEN_MAX)); // Never more than the value takes: it stays there.
        }
        saved.filling = Some(Filling { bytes, len, tail: 0, is_too_long: len as u64 + 2 > limits.input_len_max });
        let taken = self.fill(&buf[keep..]);
        assert!(taken == buf.len() - keep && self.is_filling(), "only an unfinished bulk is received on its own");
        Step::Large { keep }
    }
    /// Hands out the saved request.
    fn finish(&mut self, items: &mut Vec<Arg>) -> Step {
        let Some(mut saved) = self.saved.take() else { return Step::Incomplete };
        let step = Step::Command { consumed: saved.pos, item_count: saved.items.len() };
        items.append(&mut saved.items);
        if !saved.own.is_empty() {
            saved.done = true;
            self.saved = Some(saved);
        }
        step
    }
    /// An inline request: a line of words.
    fn inline(&mut self, buf: &[u8], items: &mut Vec<Arg>) -> Result<Step, ProtocolError> {
        let from = self.scanned as usize;
        // A NUL hides the line end from Redis, which then waits for the line to grow too long.
        let Some(end) = memchr::memchr2(b'\n', 0, &buf[from..]).map(|at| from + at).filter(|&at| buf[at] == b'\n')
        else {
            if buf.len() > LINE_LEN_MAX {
                return Err(ProtocolError::InlineTooLong);
            }
            // Up to a NUL at most: the next search must see it again.
            self.scanned = memchr::memchr(0, &buf[from..]).map_or(buf.len(), |at| from + at) as u32;
            return Ok(Step::Incomplete);
        };
        self.scanned = 0;
        if end > LINE_LEN_MAX {
            return Err(ProtocolError::InlineTooLong);
        }
        let line = &buf[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (base, mut own) = (items.len(), Vec::new());
        split(line, |word| {
            items.push(match word {
                Word::Plain { start, len } => Arg { offset: start as u32, len: len as u32, hash: 0 },
                Word::Unquoted(bytes) => {
                    own.push(Bytes::from(bytes));
                    Arg { offset: LARGE, len: own.len() as u32 - 1, hash: 0 }
                }
            });
        })
        .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        if !own.is_empty() {
            self.saved = Some(Box::new(Saved { own, done: true, ..Saved::default() }));
        }
        let consumed = end + 1;
        Ok(match items.len() - base {
            0 => Step::Skip { consumed },
            item_count => Step::Command { consumed, item_count },
        })
    }
}

impl Filling {
    /// Takes what belongs to the bulk and to the two bytes behind it.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.len - self.bytes.len());
        self.grow(taken);
        self.bytes.extend_from_slice(&bytes[..taken]);
        let tail = if self.bytes.len() == self.len { (bytes.len() - taken).min(2 - self.tail) } else { 0 };
        self.tail += tail;
        if self.is_too_long && self.tail == 2 { bytes.len() } else { taken + tail }
    }
    /// Makes room for `more` bytes: twice what will have arrived, never more than the bulk. The last step is exact, so that
    /// the finished value has no slack.
    fn grow(&mut self, more: usize) {
        let wanted = self.bytes.len() + more;
        if wanted > self.bytes.capacity() {
            let cap = (wanted * 2).min(self.len);
            self.bytes.reserve_exact(cap - self.bytes.len());
        }
    }
}

/// What the slow path met at the end of its bytes.
enum Outcome {
    Whole,
    More,
    /// A bulk of this length that is to be received on its own.
    Large(usize),
}

/// Reads bulks from `pos` on. `pos` stays at the header of an unfinished bulk, or behind it if the bulk is large.
fn bulks(
    buf: &[u8],
    limits: &Limits,
    pos: &mut usize,
    remaining: &mut u32,
    items: &mut Vec<Arg>,
) -> Result<Outcome, ProtocolError> {
    while *remaining > 0 {
        let Some((line, start)) = header(buf, *pos, ProtocolError::LenLineTooLong)? else { return Ok(Outcome::More) };
        if buf[*pos] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buf[*pos]));
        }
        let len = parse_i64(line).and_then(|len| u64::try_from(len).ok()).filter(|&len| len <= limits.len_max);
        let len = len.ok_or(ProtocolError::InvalidLen)?;
        if len > limits.fast_len_max {
            return Err(ProtocolError::UnauthenticatedLen);
        }
        let len = len as usize;
        if buf.len() - start < len + 2 {
            if len < LARGE_LEN_MIN {
                return Ok(Outcome::More);
            }
            *pos = start;
            return Ok(Outcome::Large(len));
        }
        assert!(start < LARGE as usize, "the query buffer limit keeps offsets small");
        items.push(Arg { offset: start as u32, len: len as u32, hash: 0 });
        *pos = start + len + 2;
        *remaining -= 1;
    }
    Ok(Outcome::Whole)
}

/// The header line at `pos`: its text behind the sigil, and where the next thing begins. None: not here yet.
fn header(buf: &[u8], pos: usize, too_long: ProtocolError) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = &buf[pos..];
    // One more than the limit: a line end there is late, whether or not it has arrived.
    let window = &rest[..rest.len().min(LINE_LEN_MAX + 1)];
    match memchr::memchr2(b'\r', 0, window).filter(|&at| window[at] == b'\r') {
        // The sigil of a bulk is checked by the caller, which may find CR itself there.
        Some(at) if at + 2 <= rest.len() => Ok(Some((&rest[at.min(1)..at], pos + at + 2))),
        Some(_) => Ok(None),
        None if rest.len() > LINE_LEN_MAX => Err(too_long),
        None => Ok(None),
    }
}

/// The fast path: a multibulk request that is here as a whole and has nothing unusual. Returns its length; None leaves
/// `items` as it was.
#[inline]
fn whole_request(buf: &[u8], limits: &Limits, items: &mut Vec<Arg>) -> Option<NonZeroUsize> {
    let (count, mut pos) = short_header(buf, 0, b'*')?;
    // A bulk has 6 bytes at least: room is made for no more arguments than can be here.
    if count == 0 || count > limits.count_max || count as usize * 6 > buf.len() - pos {
        return None;
    }
    items.reserve(count as usize);
    let room = items.spare_capacity_mut().get_mut(..count as usize)?;
    for slot in room {
        let (len, start) = short_header(buf, pos, b'$')?;
        let end = start + len as usize;
        if len as u64 > limits.fast_len_max || end + 2 > buf.len() {
            return None;
        }
        slot.write(Arg { offset: start as u32, len, hash: 0 });
        pos = end + 2;
    }
    // SAFETY: `count` items were reserved behind the length, and the loop above wrote each of them.
    unsafe { items.set_len(items.len() + count as usize) };
    NonZeroUsize::new(pos)
}

/// A header of `sigil`, one to five digits without a leading zero (or `0`), and CRLF: its number and where it ends. None for
/// anything else, and for a header so near the end of `buf` that eight bytes cannot be loaded at once: that is a job for
/// the slow path, or for `short_header_at_end`.
#[inline(always)]
fn short_header(buf: &[u8], pos: usize, sigil: u8) -> Option<(u32, usize)> {
    let Some(Ok(eight)) = buf.get(pos..pos + 8).map(<[u8; 8]>::try_from) else {
        return short_header_at_end(buf, pos, sigil);
    };
    let word = u64::from_le_bytes(eight);
    let digit = |at: u32| ((word >> (8 * at)) as u8).wrapping_sub(b'0') as u32;
    let ends = |at: u32| (word >> (8 * at)) as u16 == u16::from_le_bytes(*b"\r\n");
    let mut value = digit(1);
    if word as u8 != sigil || value > 9 {
        return None;
    }
    if ends(2) {
        return Some((value, pos + 4));
    }
    // Unrolled: the digits are compared, not counted, so that each length is one predictable branch.
    for at in 2..6 {
        if digit(at) > 9 || value == 0 {
            return None;
        }
        value = value * 10 + digit(at);
        if ends(at + 1) {
            return Some((value, pos + at as usize + 3));
        }
    }
    None
}

/// `short_header` where fewer than eight bytes are left: the last argument is empty or a single byte.
#[cold]
fn short_header_at_end(buf: &[u8], pos: usize, sigil: u8) -> Option<(u32, usize)> {
    match buf.get(pos..)? {
        [first, digit @ b'0'..=b'9', b'\r', b'\n', ..] if *first == sigil => Some(((digit - b'0') as u32, pos + 4)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Args, Parts};
    use super::*;

    fn parse(text: &[u8], authenticated: bool) -> Result<(Step, usize), ProtocolError> {
        let mut items = Vec::new();
        let step = Parser::default().next(text, &Limits::new(512 << 20, authenticated), &mut items)?;
        Ok((step, items.len()))
    }
    fn error(text: &[u8]) -> String {
        parse(text, true).unwrap_err().reply().line().to_string()
    }

    #[test]
    fn a_whole_request_is_cut_in_place() {
        let mut items = Vec::new();
        let buf = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*1\r\n";
        let step = Parser::default().next(buf, &Limits::new(512 << 20, true), &mut items).unwrap();
        assert_eq!(step, Step::Command { consumed: 26, item_count: 3 });
        let parts = Parts { buf, items: &items, large: &[] };
        assert_eq!(Args::of(&parts).iter_from(0).collect::<Vec<_>>(), [&b"SET"[..], b"k", b""]);
    }

    #[test]
    fn requests_that_ask_for_nothing_are_skipped() {
        for (text, consumed) in [(&b"\r\n"[..], 2), (b"\n", 1), (b"  \n", 3), (b"*0\r\n", 4), (b"*-3\r\n", 5)] {
            assert_eq!(parse(text, true), Ok((Step::Skip { consumed }, 0)));
        }
    }

    #[test]
    fn errors_have_the_texts_of_redis() {
        assert_eq!(error(b"*3\r\n$3\r\nSET\r\nfoo\r\n"), "ERR Protocol error: expected '$', got 'f'");
        assert_eq!(error(b"*1\r\n$-1\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"*1\r\n$2000000000\r\n"), "ERR Protocol error: invalid bulk length");
        assert_eq!(error(b"*x\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*3000000000\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"*\r\n"), "ERR Protocol error: invalid multibulk length");
        assert_eq!(error(b"get \"k\r\n"), "ERR Protocol error: unbalanced quotes in request");
        assert_eq!(error(&[b'a'; LINE_LEN_MAX + 1]), "ERR Protocol error: too big inline request");
        assert_eq!(error(&[b'*'; LINE_LEN_MAX + 1]), "ERR Protocol error: too big mbulk count string");
        let line = [&b"*1\r\n$"[..], &[b'1'; LINE_LEN_MAX]].concat();
        assert_eq!(error(&line), "ERR Protocol error: too big bulk count string");
    }

    #[test]
    fn limits_are_tight_before_authentication() {
        assert_eq!(parse(b"*11\r\n", false), Err(ProtocolError::UnauthenticatedCount));
        assert_eq!(parse(b"*10\r\n", false), Ok((Step::Incomplete, 0)));
        assert_eq!(parse(b"*1\r\n$16385\r\n", false), Err(ProtocolError::UnauthenticatedLen));
        assert_eq!(parse(b"*1\r\n$16384\r\n", false), Ok((Step::Incomplete, 0)));
    }

    #[test]
    fn a_large_bulk_grows_with_what_arrives() {
        let (mut parser, limits, mut items) = (Parser::default(), Limits::new(512 << 20, true), Vec::new());
        let mut input = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000000\r\nabc".to_vec();
        let Step::Large { keep } = parser.next(&input, &limits, &mut items).unwrap() else { panic!("not large") };
        input.truncate(keep);
        assert!((ADVANCE_LEN_MAX..ADVANCE_LEN_MAX + 1000).contains(&parser.held_len()), "a first piece is reserved");
        parser.shrink();
        assert!(parser.held_len() < 1000, "and given back");
        assert_eq!(parser.next(&input, &limits, &mut items), Ok(Step::Incomplete));
        assert_eq!(parser.fill(&[b'd'; 100_000]), 100_000);
        assert!(parser.is_filling() && parser.held_len() < 201_000);
    }

    #[test]
    fn behind_a_large_bulk_there_is_room_until_something_smaller_comes() {
        let (mut parser, limits, mut items) = (Parser::default(), Limits::new(512 << 20, true), Vec::new());
        let mut large = |parser: &mut Parser, len: usize, room: usize| {
            let mut input = format!("*2\r\n$4\r\nECHO\r\n${len}\r\n").into_bytes();
            let Step::Large { keep } = parser.next(&input, &limits, &mut items).unwrap() else { panic!("not large") };
            input.truncate(keep);
            assert_eq!(parser.fill(&[&vec![b'd'; len], "\r\n".as_bytes()].concat()), len + 2);
            assert!(matches!(parser.next(&input, &limits, &mut items), Ok(Step::Command { item_count: 2, .. })));
            let mut bytes = Vec::new();
            parser.take_large(&mut bytes);
            assert_eq!((bytes.len(), bytes[0].len(), parser.room(), parser.held_len()), (1, len, room, 0));
        };
        large(&mut parser, 40_000, 40_000);
        large(&mut parser, 40_000, 40_000);
        large(&mut parser, 400_000, ROOM_LEN_MAX);
        parser.shrink();
        assert_eq!(parser.room(), 0, "not for one who is silent");
        large(&mut parser, 50_000, 50_000);
        let step = parser.next(b"*1\r\n$4\r\nPING\r\n", &limits, &mut Vec::new());
        assert_eq!((step, parser.room()), (Ok(Step::Command { consumed: 14, item_count: 1 }), 0));
    }

    #[test]
    fn a_bulk_beyond_the_limit_of_input_is_received_and_never_handed_out() {
        for (len, is_whole) in [(99_998, true), (99_999, false)] {
            let limits = Limits::new(512 << 20, true).with_input_max(100_000);
            let (mut parser, mut items) = (Parser::default(), Vec::new());
            let mut input = format!("*2\r\n$4\r\nECHO\r\n${len}\r\n").into_bytes();
            let Step::Large { keep } = parser.next(&input, &limits, &mut items).unwrap() else { panic!("not large") };
            input.truncate(keep);
            assert_eq!(parser.fill(&vec![b'd'; len]), len);
            assert_eq!((parser.received_len(), parser.is_filling()), (len, true));
            assert_eq!(parser.fill(b"\r\nPING\r\n"), if is_whole { 2 } else { 8 });
            assert_eq!(parser.is_filling(), !is_whole);
            assert_eq!(parser.received_len() > 100_000, !is_whole);
            let step = parser.next(&input, &limits, &mut items).unwrap();
            assert_eq!(matches!(step, Step::Command { item_count: 2, .. }), is_whole, "{step:?}");
        }
    }

    #[test]
    fn a_parser_between_requests_costs_two_words() {
        assert_eq!(size_of::<Parser>(), 16);
    }
}
