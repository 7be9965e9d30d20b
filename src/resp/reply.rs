//! `Reply`: the one output buffer of a client, and the writer of RESP2 and RESP3 into it.
//!
//! Small replies are appended to a contiguous tail. A large string value is not copied: a reference to its bytes is noted
//! at its place in the stream, and the send gathers buffer pieces and references in order.

#![forbid(unsafe_code)]

use super::error::{ReplyError, unescape};
use crate::base::num::{f64_text, parse_i64};
use bytes::Bytes;

/// The protocol version of a connection; HELLO changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// No element is shorter: a null of RESP3.
const ELEMENT_LEN_MIN: usize = 3;

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

impl Output {
    /// Bytes that wait, references included.
    pub fn len(&self) -> usize {
        self.buf.len() + self.refs.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty() && self.refs.is_empty()
    }
    /// A push that lies in memory as an array of RESP2: only its first byte depends on the protocol.
    #[inline]
    pub fn push_copied(&mut self, bytes: &[u8], proto: Proto) {
        let at = self.buf.len();
        self.buf.extend_from_slice(bytes);
        self.buf[at] = push_sigil(proto);
    }
    /// The same, sent by reference.
    pub fn push_shared(&mut self, bytes: &Bytes, proto: Proto) {
        self.buf.push(push_sigil(proto));
        self.refs.push((self.buf.len(), bytes.slice(1..)));
    }
    /// What was written elsewhere, behind what waits here.
    pub fn append(&mut self, output: Output) {
        let at = self.buf.len();
        self.buf.extend_from_slice(&output.buf);
        self.refs.extend(output.refs.into_iter().map(|(place, bytes)| (at + place, bytes)));
    }
}

fn push_sigil(proto: Proto) -> u8 {
    if proto == Proto::Resp3 { b'>' } else { b'*' }
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
        self.out.is_empty()
    }
    /// Bytes that wait, references included.
    pub fn pending_len(&self) -> usize {
        self.out.len()
    }
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { len: self.out.buf.len(), refs: self.out.refs.len() }
    }
    /// Bytes that were written since `mark`, without references.
    #[inline]
    pub fn len_since(&self, mark: Mark) -> usize {
        self.out.buf.len() - mark.len
    }
    /// What the reply that begins at `mark` will have at least, if its head says how many elements are to come; 0 if not.
    pub fn announced_len(&self, mark: Mark) -> usize {
        let Some((b'*' | b'%' | b'~' | b'>', rest)) = self.out.buf[mark.len..].split_first() else { return 0 };
        let digits = rest.split(|&byte| byte == b'\r').next().unwrap_or_default();
        parse_i64(digits).map_or(0, |count| count.max(0) as usize).saturating_mul(ELEMENT_LEN_MIN)
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
    /// A line of a sigil and a number.
    #[inline]
    fn header(&mut self, sigil: u8, count: i64) {
        let buf = &mut self.out.buf;
        match SHORT_LINES.get(count as usize) {
            Some(&line) => push_short_line(buf, sigil, line),
            None => push_number_line(buf, sigil, count),
        }
    }
    /// Bytes that are already in protocol form.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.buf.extend_from_slice(bytes);
    }
    /// Replies that were written elsewhere, behind what waits here.
    pub fn append(&mut self, output: Output) {
        self.out.append(output);
    }
    /// Bytes that are already in protocol form, sent by reference.
    pub fn raw_shared(&mut self, bytes: Bytes) {
        self.out.refs.push((self.out.buf.len(), bytes));
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
        unescape(error.line(), &mut self.out.buf);
        self.raw(b"\r\n");
    }
    /// `:n`
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.header(b':', value);
    }
    /// A bulk string, copied.
    /// Cost: about 6 ns and the copy; one check of the buffer's room, unless the string has 1000 bytes or more.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        let buf = &mut self.out.buf;
        buf.reserve(bytes.len() + 24);
        match SHORT_LINES.get(bytes.len()) {
            Some(&line) => push_short_line(buf, b'$', line),
            None => push_number_line(buf, b'$', bytes.len() as i64),
        }
        buf.extend_from_slice(bytes);
        buf.extend_from_slice(b"\r\n");
    }
    /// A bulk string, sent by reference.
    pub fn bulk_shared(&mut self, bytes: Bytes) {
        self.header(b'$', bytes.len() as i64);
        self.out.refs.push((self.out.buf.len(), bytes));
        self.raw(b"\r\n");
    }
    /// Bytes that are already in protocol form, sent by reference.
    pub fn shared(&mut self, bytes: Bytes) {
        self.out.refs.push((self.out.buf.len(), bytes));
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
        // Two calls, so that each copies a length known to the compiler.
        if self.resp3() {
            self.raw(b"_\r\n");
        } else {
            self.raw(b"$-1\r\n");
        }
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
    /// Cost: whole numbers are written without the printer of doubles, and without an allocation.
    pub fn double(&mut self, value: f64) {
        let whole = value as i64;
        // -0 is written with its sign, by the printer.
        if whole as f64 == value && whole.unsigned_abs() <= 1 << 53 && !(whole == 0 && value.is_sign_negative()) {
            return self.double_text(itoa::Buffer::new().format(whole).as_bytes());
        }
        self.double_text(f64_text(value).as_bytes());
    }
    /// A double whose text is made already: `,text`, or a bulk string.
    pub fn double_text(&mut self, text: &[u8]) {
        if self.resp3() {
            self.raw(b",");
            self.raw(text);
            self.raw(b"\r\n");
        } else {
            self.bulk(text);
        }
    }
    /// A number of any size, given as its digits: `(123`, or a bulk string.
    pub fn big_number(&mut self, digits: &str) {
        if self.resp3() {
            self.raw(b"(");
            self.raw(digits.as_bytes());
            self.raw(b"\r\n");
        } else {
            self.bulk(digits.as_bytes());
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
    /// The same, sent by reference.
    pub fn verbatim_shared(&mut self, format: &str, text: Bytes) {
        if !self.resp3() {
            return self.bulk_shared(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.raw(format.as_bytes());
        self.raw(b":");
        self.raw_shared(text);
        self.raw(b"\r\n");
    }
}

/// Lines for the numbers 0 to 999, each in one word: a free byte for the sigil, digits, CRLF, and on top how many bytes
/// that is. Most lengths and counts are that small.
static SHORT_LINES: [u64; 1000] = {
    let mut lines = [0; 1000];
    let mut number = 0;
    while number < lines.len() {
        let count = 1 + (number > 9) as usize + (number > 99) as usize;
        let mut bytes = [0; 8];
        let (mut rest, mut at) = (number, count);
        while at > 0 {
            bytes[at] = b'0' + (rest % 10) as u8;
            (rest, at) = (rest / 10, at - 1);
        }
        bytes[count + 1] = b'\r';
        bytes[count + 2] = b'\n';
        bytes[7] = count as u8 + 3;
        lines[number] = u64::from_le_bytes(bytes);
        number += 1;
    }
    lines
};

/// Writes all eight bytes with one store and keeps those that count.
#[inline(always)]
fn push_short_line(buf: &mut Vec<u8>, sigil: u8, line: u64) {
    let len = buf.len() + (line >> 56) as usize;
    buf.extend_from_slice(&(line | sigil as u64).to_le_bytes());
    buf.truncate(len);
}

/// Any other number.
fn push_number_line(buf: &mut Vec<u8>, sigil: u8, number: i64) {
    buf.reserve(24);
    match u32::try_from(number) {
        Ok(number @ 1..1_000_000) => {
            // Put together in registers: gathered in an array, the copy would wait for the single stores before it.
            let (digits, count) = short_number(number);
            let word = digits | (u16::from_le_bytes(*b"\r\n") as u64) << (8 * count);
            let line = sigil as u128 | (word as u128) << 8;
            let len = buf.len() + count as usize + 3;
            buf.extend_from_slice(&line.to_le_bytes());
            buf.truncate(len);
        }
        _ => {
            buf.push(sigil);
            buf.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            buf.extend_from_slice(b"\r\n");
        }
    }
}

/// The digits of a number below 10^8, the first one lowest, and how many they are; computed side by side in one word: halves
/// of four, then pairs, then digits.
fn short_number(number: u32) -> (u64, u32) {
    let halves = (number / 10_000) as u64 | ((number % 10_000) as u64) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x7f_0000_007f; // Each half / 100, exact below 10 000.
    let pairs = hundreds | ((halves - 100 * hundreds) << 16);
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f; // Each pair / 10, exact below 100.
    let digits = tens | ((pairs - 10 * tens) << 8);
    // The first digit is the lowest byte; leading zeros are shifted out.
    let zeros = digits.trailing_zeros() / 8;
    let text = (digits | 0x3030_3030_3030_3030) >> (8 * zeros);
    (text, 8 - zeros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// What `write` writes in both protocols.
    fn both(write: impl Fn(&mut Reply)) -> [String; 2] {
        [Proto::Resp2, Proto::Resp3].map(|proto| {
            let mut reply = Reply { proto, ..Reply::default() };
            write(&mut reply);
            String::from_utf8(reply.take().buf).unwrap()
        })
    }
    fn same(write: impl Fn(&mut Reply), text: &str) {
        assert_eq!(both(write), [text, text]);
    }

    #[test]
    fn a_reply_that_counts_its_elements_announces_a_length() {
        let mut reply = Reply::default();
        reply.array(7);
        let mark = reply.mark();
        assert_eq!(reply.announced_len(mark), 0, "nothing is there yet");
        reply.array(1000);
        reply.int(1);
        assert_eq!(reply.announced_len(mark), 3000);
        let mark = reply.mark();
        reply.bulk(b"1000");
        assert_eq!(reply.announced_len(mark), 0);
    }

    #[test]
    fn forms_of_both_protocols() {
        same(|r| r.ok(), "+OK\r\n");
        same(|r| r.simple("PONG"), "+PONG\r\n");
        same(|r| r.error(&ReplyError::Syntax), "-ERR syntax error\r\n");
        same(|r| r.error(&ReplyError::text("ERR a\r\nb")), "-ERR a  b\r\n");
        same(|r| r.bulk(b""), "$0\r\n\r\n");
        same(|r| r.bulk(b"a\r\n"), "$3\r\na\r\n\r\n");
        same(|r| r.bulk_int(-12), "$3\r\n-12\r\n");
        same(|r| r.array(0), "*0\r\n");
        assert_eq!(both(|r| r.null()), ["$-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.null_array()), ["*-1\r\n", "_\r\n"]);
        assert_eq!(both(|r| r.map(2)), ["*4\r\n", "%2\r\n"]);
        assert_eq!(both(|r| r.set(3)), ["*3\r\n", "~3\r\n"]);
        assert_eq!(both(|r| r.push(2)), ["*2\r\n", ">2\r\n"]);
        assert_eq!(both(|r| r.boolean(true)), [":1\r\n", "#t\r\n"]);
        assert_eq!(both(|r| r.boolean(false)), [":0\r\n", "#f\r\n"]);
        assert_eq!(both(|r| r.double(1.5)), ["$3\r\n1.5\r\n", ",1.5\r\n"]);
        assert_eq!(both(|r| r.double(f64::INFINITY)), ["$3\r\ninf\r\n", ",inf\r\n"]);
        assert_eq!(
            both(|r| r.big_number("12345678901234567890")),
            ["$20\r\n12345678901234567890\r\n", "(12345678901234567890\r\n"]
        );
        assert_eq!(both(|r| r.verbatim("txt", b"hi")), ["$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"]);
    }

    #[test]
    fn numbers_of_every_length() {
        let mut numbers = vec![0, -1, i64::MIN, i64::MAX, 999, 1000, 1001];
        let mut prng = Prng::seeded(1);
        numbers.extend((0..10_000).map(|_| (prng.next_u64() >> prng.below(64)) as i64));
        numbers.extend((0..19).flat_map(|power| [10i64.pow(power), 10i64.pow(power) - 1, -(10i64.pow(power))]));
        for number in numbers {
            same(|r| r.int(number), &format!(":{number}\r\n"));
        }
    }

    #[test]
    fn bulks_of_every_header_length() {
        for len in [0, 1, 9, 10, 64, 99, 100, 999, 1000, 4096, 99_999] {
            let text = "x".repeat(len);
            same(|r| r.bulk(text.as_bytes()), &format!("${len}\r\n{text}\r\n"));
        }
    }

    #[test]
    fn pushes_are_fitted_to_the_protocol() {
        for (proto, expected) in [(Proto::Resp2, "*1\r\n+a\r\n*"), (Proto::Resp3, ">1\r\n+a\r\n>")] {
            let mut output = Output::default();
            output.push_copied(b"*1\r\n+a\r\n", proto);
            output.push_shared(&Bytes::from_static(b"*1\r\n+b\r\n"), proto);
            assert_eq!(output.buf, expected.as_bytes());
            assert_eq!(output.refs, [(expected.len(), Bytes::from_static(b"1\r\n+b\r\n"))]);
        }
    }

    #[test]
    fn references_keep_their_place() {
        let mut reply = Reply::default();
        reply.ok();
        reply.bulk_shared(Bytes::from_static(b"large"));
        let mark = reply.mark();
        reply.bulk_shared(Bytes::from_static(b"dropped"));
        reply.truncate(mark);
        reply.ok();
        assert_eq!(reply.pending_len(), 5 + 4 + 5 + 2 + 5);
        let output = reply.take();
        assert_eq!(output.buf, b"+OK\r\n$5\r\n\r\n+OK\r\n");
        assert_eq!(output.refs, [(9, Bytes::from_static(b"large"))]);
        assert!(reply.is_empty());
    }
}
