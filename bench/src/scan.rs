//! Counts replies in a stream of RESP2 or RESP3 bytes, cut anywhere, without keeping them.
//!
//! ```text
//! open = elements that the current reply still lacks
//! header line: '*n' '~n' '>n' open += n      '%n' open += 2n     '|n' open += 2n, and the reply itself is still due
//!              '$n' '=n' '!n' skip n + 2 bytes               everything else is whole with its line
//! each whole element: open -= 1; at 0 the reply is whole
//! ```
//!
//! No stack is needed: nested aggregates only add to `open`. Payload bytes are skipped, never searched, so a bulk may hold
//! anything. A line that is cut by the end of the input is kept until its rest arrives. Pushes (`>`) are counted apart,
//! since they answer nothing.

/// What went by.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Whole replies.
    pub replies: u64,
    /// Error lines, at any depth.
    pub errors: u64,
    /// Nulls, at any depth.
    pub nils: u64,
    /// Whole pushes.
    pub pushes: u64,
    /// Text of the first error.
    pub first_error: Option<String>,
}

/// State between two pieces of input.
#[derive(Default, Debug)]
pub struct Scanner {
    /// Bytes of a payload, its CRLF included, that are still to come.
    skip: usize,
    /// Elements that the current reply still lacks; 0 between replies.
    open: u64,
    is_push: bool,
    /// Beginning of a line whose end has not arrived.
    line: Vec<u8>,
}

/// Bytes after which a line without an end cannot be RESP.
const LINE_MAX: usize = 64 * 1024;

impl Scanner {
    /// Scans `input` and adds what became whole to `tally`.
    ///
    /// **Errors**: input that is no RESP; the scanner is of no use afterwards.
    ///
    /// **Cost**: a few ns per reply, whatever the payloads hold.
    #[inline]
    pub fn feed(&mut self, mut input: &[u8], tally: &mut Tally) -> Result<(), String> {
        if !self.line.is_empty() {
            input = self.finish_line(input, tally)?;
        }
        loop {
            if self.skip > 0 {
                let taken = self.skip.min(input.len());
                self.skip -= taken;
                input = &input[taken..];
                if self.skip > 0 {
                    return Ok(());
                }
                self.element_done(tally);
            }
            if input.is_empty() {
                return Ok(());
            }
            let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
                return self.keep_line(input);
            };
            self.header(&input[..end], tally)?;
            input = &input[end + 1..];
        }
    }

    /// Completes the line that the last input cut; gives back what follows it.
    #[cold]
    fn finish_line<'a>(&mut self, input: &'a [u8], tally: &mut Tally) -> Result<&'a [u8], String> {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else {
            self.keep_line(input)?;
            return Ok(&[]);
        };
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&input[..end]);
        self.header(&line, tally)?;
        Ok(&input[end + 1..])
    }

    #[cold]
    fn keep_line(&mut self, input: &[u8]) -> Result<(), String> {
        self.line.extend_from_slice(input);
        if self.line.len() > LINE_MAX { Err("a reply line does not end".into()) } else { Ok(()) }
    }

    /// One header line, without its LF.
    #[inline]
    fn header(&mut self, line: &[u8], tally: &mut Tally) -> Result<(), String> {
        let (&kind, rest) = line.split_first().ok_or("empty line in the replies")?;
        if self.open == 0 {
            self.open = 1;
            self.is_push = kind == b'>';
        }
        match kind {
            b'$' | b'=' | b'!' => match length(rest)? {
                Some(len) => {
                    self.skip = len + 2;
                    if kind == b'!' {
                        self.error(rest, tally);
                    }
                    return Ok(());
                }
                None => tally.nils += 1,
            },
            b'*' | b'~' | b'>' => match length(rest)? {
                Some(count) => self.open += count as u64,
                None => tally.nils += 1,
            },
            b'%' => self.open += 2 * length(rest)?.unwrap_or(0) as u64,
            // Attributes come in front of the reply they describe, which is still due.
            b'|' => {
                self.open += 2 * length(rest)?.unwrap_or(0) as u64;
                return Ok(());
            }
            b'-' => self.error(rest, tally),
            b'_' => tally.nils += 1,
            b'+' | b':' | b',' | b'#' | b'(' => {}
            other => return Err(format!("reply starts with byte {other:#04x}")),
        }
        self.element_done(tally);
        Ok(())
    }

    #[inline]
    fn element_done(&mut self, tally: &mut Tally) {
        self.open -= 1;
        if self.open == 0 {
            if self.is_push { tally.pushes += 1 } else { tally.replies += 1 }
        }
    }

    #[cold]
    fn error(&mut self, text: &[u8], tally: &mut Tally) {
        tally.errors += 1;
        if tally.first_error.is_none() {
            tally.first_error = Some(String::from_utf8_lossy(text).trim_end().to_string());
        }
    }
}

/// Number in a header: `None` for the null forms (-1).
#[inline]
fn length(text: &[u8]) -> Result<Option<usize>, String> {
    let digits = text.strip_suffix(b"\r").unwrap_or(text);
    if digits == b"-1" {
        return Ok(None);
    }
    if digits.is_empty() || digits.len() > 12 {
        return Err("a length in the replies is no number".into());
    }
    let mut value = 0usize;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return Err("a length in the replies is no number".into());
        }
        value = value * 10 + usize::from(byte - b'0');
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"+OK\r\n$-1\r\n$5\r\n\r\n$3+\r\n:12\r\n*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n-ERR in\r\n*0\r\n*-1\r\n\
        -ERR out\r\n%1\r\n+k\r\n$0\r\n\r\n>2\r\n+push\r\n:1\r\n_\r\n|1\r\n+a\r\n:1\r\n,1.5\r\n=7\r\ntxt:a\r\n\r\n#t\r\n";

    fn expected() -> Tally {
        Tally { replies: 13, errors: 2, nils: 4, pushes: 1, first_error: Some("ERR in".into()) }
    }

    #[test]
    fn replies_of_every_kind_are_counted_once() {
        let mut tally = Tally::default();
        Scanner::default().feed(STREAM, &mut tally).unwrap();
        assert_eq!(tally, expected());
    }

    #[test]
    fn any_cut_of_the_stream_counts_the_same() {
        for first in 0..STREAM.len() {
            for second in first..STREAM.len() {
                let (mut scanner, mut tally) = (Scanner::default(), Tally::default());
                for piece in [&STREAM[..first], &STREAM[first..second], &STREAM[second..]] {
                    scanner.feed(piece, &mut tally).unwrap();
                }
                assert_eq!(tally, expected(), "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_reply_are_refused() {
        for input in [&b"hello\r\n"[..], b"$x\r\n", b"\r\n", b"*1a\r\n"] {
            assert!(Scanner::default().feed(input, &mut Tally::default()).is_err(), "{input:?}");
        }
    }
}
