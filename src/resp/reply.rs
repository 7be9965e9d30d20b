//! `Reply`: the one output buffer of a client, and the writer of RESP2 and RESP3 into it.
//!
//! Small replies are appended to a contiguous tail. A large string value is not copied: a reference to its bytes is noted
//! at its place in the stream, and the send gathers buffer pieces and references in order.

use super::error::ReplyError;
use crate::base::num::f64_text;
use bytes::Bytes;

/// The protocol version of a connection; HELLO changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// A place in the output to which a failed handler's half reply is cut back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    len: usize,
    refs: usize,
}

/// What waits to be sent, in order: `refs[i].1` belongs before byte `refs[i].0` of `buf`.
#[derive(Debug, Default)]
pub struct Output {
    pub buf: Vec<u8>,
    pub refs: Vec<(usize, Bytes)>,
}

/// The reply writer. `proto` decides the form of nulls, maps, sets, doubles, booleans and pushes.
#[derive(Debug, Default)]
pub struct Reply {
    pub out: Output,
    pub proto: Proto,
}

impl Reply {
    /// True if nothing waits to be sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.buf.is_empty() && self.out.refs.is_empty()
    }
    /// Bytes that wait, references included.
    pub fn pending_len(&self) -> usize {
        self.out.buf.len() + self.out.refs.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { len: self.out.buf.len(), refs: self.out.refs.len() }
    }
    /// Cuts back to `mark`.
    pub fn truncate(&mut self, mark: Mark) {
        self.out.buf.truncate(mark.len);
        self.out.refs.truncate(mark.refs);
    }
    /// Takes everything that waits, leaving an empty buffer.
    pub fn take(&mut self) -> Output {
        std::mem::take(&mut self.out)
    }
    fn resp3(&self) -> bool {
        self.proto == Proto::Resp3
    }
    #[inline]
    fn header(&mut self, sigil: u8, count: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(count).as_bytes();
        let buf = &mut self.out.buf;
        buf.reserve(digits.len() + 3);
        buf.push(sigil);
        buf.extend_from_slice(digits);
        buf.extend_from_slice(b"\r\n");
    }
    /// Bytes that are already in protocol form.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.buf.extend_from_slice(bytes);
    }
    /// `+OK`
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }
    /// A simple string; `text` must not hold CR or LF.
    pub fn simple(&mut self, text: &str) {
        self.raw(b"+");
        self.raw(text.as_bytes());
        self.raw(b"\r\n");
    }
    /// An error line. CR and LF inside are replaced by spaces, as Redis does.
    pub fn error(&mut self, error: &ReplyError) {
        self.raw(b"-");
        self.out.buf.extend(error.line().bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.raw(b"\r\n");
    }
    /// `:n`
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.header(b':', value);
    }
    /// A bulk string, copied.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        let buf = &mut self.out.buf;
        buf.reserve(bytes.len() + 2);
        buf.extend_from_slice(bytes);
        buf.extend_from_slice(b"\r\n");
    }
    /// A bulk string, sent by reference.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        self.header(b'$', bytes.len() as i64);
        self.out.refs.push((self.out.buf.len(), bytes));
        self.raw(b"\r\n");
    }
    /// The decimal text of `value` as a bulk string.
    #[inline]
    pub fn bulk_int(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }
    /// The null of a missing value: `$-1` or `_`.
    #[inline]
    pub fn null(&mut self) {
        self.raw(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }
    /// The null of a missing array: `*-1` or `_`.
    pub fn null_array(&mut self) {
        self.raw(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.header(b'*', count as i64);
    }
    /// A map of `pairs` pairs: `%n`, or a flat array of twice as many items.
    pub fn map(&mut self, pairs: usize) {
        if self.resp3() { self.header(b'%', pairs as i64) } else { self.header(b'*', pairs as i64 * 2) }
    }
    /// A set: `~n` or an array.
    pub fn set(&mut self, count: usize) {
        self.header(if self.resp3() { b'~' } else { b'*' }, count as i64);
    }
    /// A push: `>n` or an array.
    pub fn push(&mut self, count: usize) {
        self.header(if self.resp3() { b'>' } else { b'*' }, count as i64);
    }
    /// A boolean: `#t`/`#f`, or 1/0.
    pub fn boolean(&mut self, value: bool) {
        if self.resp3() {
            self.raw(if value { b"#t\r\n" } else { b"#f\r\n" });
        } else {
            self.int(value as i64);
        }
    }
    /// A double: `,1.5`, or a bulk string of the same text (Redis's shortest form).
    pub fn double(&mut self, value: f64) {
        let text = f64_text(value);
        if self.resp3() {
            self.raw(b",");
            self.raw(text.as_bytes());
            self.raw(b"\r\n");
        } else {
            self.bulk(text.as_bytes());
        }
    }
    /// A verbatim string (`=len` with a 3-letter format), or a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        if self.resp3() {
            self.header(b'=', text.len() as i64 + 4);
            self.raw(format.as_bytes());
            self.raw(b":");
            self.raw(text);
            self.raw(b"\r\n");
        } else {
            self.bulk(text);
        }
    }
}
