//! `ReplyError`: every error a client can see. The texts are protocol; tests pin them.

#![forbid(unsafe_code)]

use std::borrow::Cow;

/// The client's mistake, or a state that forbids the command. Source of the texts: Redis 7.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    WrongType,
    Syntax,
    NotInteger,
    NotFloat,
    NoSuchKey,
    IndexOutOfRange,
    IncrOverflow,
    StringTooLong,
    /// A whole error line with its code, without the dash: `ERR value is out of range`.
    Text(Cow<'static, str>),
}

/// The data are not all here yet.
pub const LOADING: ReplyError = ReplyError::text("LOADING Redis is loading the dataset in memory");

impl ReplyError {
    /// An error line known at compile time.
    pub const fn text(line: &'static str) -> Self {
        ReplyError::Text(Cow::Borrowed(line))
    }
    /// An error line that names what the client sent.
    pub fn owned(line: String) -> Self {
        ReplyError::Text(Cow::Owned(line))
    }
    /// The line with its code, without dash and line end. Bytes that are not text are in `escaped` form.
    pub fn line(&self) -> &str {
        match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::NoSuchKey => "ERR no such key",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::IncrOverflow => "ERR increment or decrement would overflow",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::Text(line) => line,
        }
    }
    /// The first word: what `errorstats` counts by.
    pub fn code(&self) -> &str {
        self.line().split(' ').next().unwrap_or("ERR")
    }
}

/// Stands for byte `n` of what is not text as the character `ESCAPE + n`.
const ESCAPE: u32 = 0x10_ff00;

/// What a client sent, as part of an error line. Bytes that are not UTF-8 become characters at the very end of the
/// private planes, and `unescape` makes bytes of them again, so that a binary name is shown as it came.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let escape = |byte: &u8| char::from_u32(ESCAPE + *byte as u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter as u32 {
                ESCAPE.. => text.extend(letter.encode_utf8(&mut [0; 4]).as_bytes().iter().map(escape)),
                _ => text.push(letter),
            }
        }
        text.extend(chunk.invalid().iter().map(escape));
    }
    text
}

/// Appends the bytes of an error line, CR and LF as spaces: it must stay one line.
pub(super) fn unescape(line: &str, out: &mut Vec<u8>) {
    for letter in line.chars() {
        match letter as u32 {
            code @ ESCAPE.. => out.push(code as u8),
            0x0a | 0x0d => out.push(b' '),
            _ => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn any_bytes_come_back_from_an_error_line() {
        let mut prng = Prng::seeded(9);
        for _ in 0..5000 {
            let pool = [b"\xf4\x8f\xbf\xbf\xbe\x80 az".as_slice(), "é\u{10ff41}".as_bytes()].concat();
            let bytes: Vec<u8> = (0..prng.below(12))
                .map(|_| {
                    if prng.chance(1, 3) { prng.next_u64() as u8 } else { pool[prng.below(pool.len() as u64) as usize] }
                })
                .map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte })
                .collect();
            let mut out = Vec::new();
            unescape(&escaped(&bytes), &mut out);
            assert_eq!(out, bytes);
        }
    }
}
