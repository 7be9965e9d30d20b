//! `cjson.decode`: a JSON text as a value of Lua's.
//!
//! Tokens are cut one by one; `expected` says what may come next. A level of nesting is a number in `Work::levels` and, on
//! Lua's stack, its table, for an object with the key that waits for its value below what is being read.
//!
//! ```text
//! array:   table                levels: the index of the last element, counted from 1
//! object:  table, key           levels: OBJECT
//! ```
//! The text ends at its end or at a zero byte, as the original reads strings of C.

#![forbid(unsafe_code)]

use super::cjson::Settings;
use super::native::{Failure, Outcome, Stack, Work};
use super::number;

/// The level of an object.
const OBJECT: u64 = u64::MAX;

/// A piece of the text. A string's bytes are in `Work::text`.
#[derive(Clone, Copy, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Bad(&'static str),
}

impl Token {
    /// As messages call it.
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Bad(reason) => reason,
        }
    }
}

/// Where reading stands.
struct Reader<'a> {
    json: &'a [u8],
    /// Behind the last token.
    at: usize,
    /// Where the last token began; where it is wrong if it is.
    token_at: usize,
    reads_invalid_numbers: bool,
}

/// Reads the only argument.
pub fn decode(stack: &mut Stack<'_>, work: &mut Work, settings: &Settings, json: &[u8]) -> Outcome {
    if json.len() >= 2 && (json[0] == 0 || json[1] == 0) {
        return Err(Failure::error(format_args!("JSON parser does not support UTF-16 or UTF-32")));
    }
    let mut reader = Reader { json, at: 0, token_at: 0, reads_invalid_numbers: settings.decode_invalid };
    let mut token = reader.next(work);
    loop {
        let is_whole = reader.value(stack, work, settings, token)?;
        if is_whole && reader.close(stack, work)? {
            break;
        }
        token = reader.next(work);
        if !is_whole
            && matches!((work.levels.last(), token), (Some(0), Token::ArrayEnd) | (Some(&OBJECT), Token::ObjectEnd))
        {
            // An empty one is whole as soon as it is closed.
            work.levels.pop();
            if reader.close(stack, work)? {
                break;
            }
            token = reader.next(work);
        }
        if work.levels.last() == Some(&OBJECT) {
            token = reader.key(stack, work, token)?;
        }
    }
    match reader.next(work) {
        Token::End => Ok(1),
        token => Err(reader.unexpected("the end", token)),
    }
}

impl Reader<'_> {
    /// Pushes the value that begins with `token`. False: that is a table, and its first element comes next.
    fn value(
        &self,
        stack: &mut Stack<'_>,
        work: &mut Work,
        settings: &Settings,
        token: Token,
    ) -> Result<bool, Failure> {
        match token {
            Token::String => stack.push_bytes(&work.text),
            Token::Number(number) => stack.push_number(number),
            Token::Boolean(value) => stack.push_boolean(value),
            Token::Null => stack.push_null(),
            Token::ObjectBegin | Token::ArrayBegin => {
                let (level, slots) = if token == Token::ObjectBegin { (OBJECT, 3) } else { (0, 2) };
                let depth = work.levels.len() + 1;
                if depth > settings.decode_depth_max as usize || !stack.has_room(slots) {
                    return Err(Failure::error(format_args!(
                        "Found too many nested data structures ({depth}) at character {}",
                        self.at
                    )));
                }
                stack.push_table();
                work.levels.push(level);
                return Ok(false);
            }
            token => return Err(self.unexpected("value", token)),
        }
        Ok(true)
    }

    /// A value is whole and on top: gives it to its table, and what this completes to the tables around, up to one that goes
    /// on behind a comma. True: it was the outermost value.
    fn close(&mut self, stack: &mut Stack<'_>, work: &mut Work) -> Result<bool, Failure> {
        loop {
            let Some(level) = work.levels.last_mut() else { return Ok(true) };
            let (end, expected) = if *level == OBJECT {
                stack.set(-3);
                (Token::ObjectEnd, "comma or object end")
            } else {
                *level += 1;
                stack.set_index(-2, *level as i32);
                (Token::ArrayEnd, "comma or array end")
            };
            match self.next(work) {
                Token::Comma => return Ok(false),
                token if token == end => work.levels.pop(),
                token => return Err(self.unexpected(expected, token)),
            };
        }
    }

    /// Pushes the key that `token` is, and returns the first token of its value.
    fn key(&mut self, stack: &mut Stack<'_>, work: &mut Work, token: Token) -> Result<Token, Failure> {
        if token != Token::String {
            return Err(self.unexpected("object key string", token));
        }
        stack.push_bytes(&work.text);
        match self.next(work) {
            Token::Colon => Ok(self.next(work)),
            token => Err(self.unexpected("colon", token)),
        }
    }

    fn unexpected(&self, expected: &str, token: Token) -> Failure {
        let (found, at) = (token.name(), self.token_at + 1);
        Failure::error(format_args!("Expected {expected} but found {found} at character {at}"))
    }

    /// The byte at `at`; 0 behind the end.
    fn byte(&self, at: usize) -> u8 {
        self.json.get(at).copied().unwrap_or(0)
    }

    fn next(&mut self, work: &mut Work) -> Token {
        while matches!(self.byte(self.at), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let first = self.byte(self.at);
        let mark = match first {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            0 => return Token::End,
            b'"' => return self.string(work),
            b'-' | b'0'..=b'9' if !self.reads_invalid_numbers && self.is_invalid_number() => {
                return Token::Bad("invalid number");
            }
            b'-' | b'0'..=b'9' => return self.number(),
            b'+' | b'f' | b'i' | b'I' | b'n' | b'N' | b't' => return self.word(),
            _ => return Token::Bad("invalid token"),
        };
        self.at += 1;
        mark
    }

    fn word(&mut self) -> Token {
        let words = [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)];
        for (word, token) in words {
            if self.json[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        if self.reads_invalid_numbers && self.is_invalid_number() { self.number() } else { Token::Bad("invalid token") }
    }

    fn number(&mut self) -> Token {
        match number::scan(&self.json[self.at..]) {
            Some((number, len)) => {
                self.at += len;
                Token::Number(number)
            }
            None => Token::Bad("invalid number"),
        }
    }

    /// Does what begins here go beyond JSON: a plus, hexadecimal digits, leading zeros, infinities, NaN?
    fn is_invalid_number(&self) -> bool {
        let at = self.at + (self.byte(self.at) == b'-') as usize;
        let begins = |word: &[u8]| self.json.get(at..at + 3).is_some_and(|start| start.eq_ignore_ascii_case(word));
        match self.byte(self.at) {
            b'+' => true,
            _ if self.byte(at) == b'0' => matches!(self.byte(at + 1), b'x' | b'X' | b'0'..=b'9'),
            _ => begins(b"inf") || begins(b"nan"),
        }
    }

    /// Reads a string into `Work::text`.
    fn string(&mut self, work: &mut Work) -> Token {
        work.text.clear();
        self.at += 1;
        loop {
            let rest = &self.json[self.at..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0)).unwrap_or(rest.len());
            work.text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            let reason = match self.byte(self.at) {
                b'"' => {
                    self.at += 1;
                    return Token::String;
                }
                b'\\' => match self.escape(&mut work.text) {
                    Ok(()) => continue,
                    Err(reason) => reason,
                },
                _ => "unexpected end of string",
            };
            self.token_at = self.at;
            return Token::Bad(reason);
        }
    }

    /// Reads what begins with a backslash.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = match self.byte(self.at + 1) {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'f' => 12,
            b'r' => b'\r',
            b'u' => {
                let (point, len) = self.code_point().ok_or("invalid unicode escape code")?;
                self.at += len;
                text.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err("invalid escape code"),
        };
        self.at += 2;
        text.push(byte);
        Ok(())
    }

    /// The character of `\uXXXX`, or of two of them that are surrogates, and the length of its escape.
    fn code_point(&self) -> Option<(char, usize)> {
        let first = self.hex4(self.at + 2)?;
        if !(0xd800..0xe000).contains(&first) {
            return Some((char::from_u32(first)?, 6));
        }
        let is_pair = first < 0xdc00 && self.byte(self.at + 6) == b'\\' && self.byte(self.at + 7) == b'u';
        let second = self.hex4(self.at + 8).filter(|second| is_pair && (0xdc00..0xe000).contains(second))?;
        Some((char::from_u32(((first & 0x3ff) << 10 | second & 0x3ff) + 0x10000)?, 12))
    }

    fn hex4(&self, at: usize) -> Option<u32> {
        (at..at + 4).try_fold(0, |all, at| Some(all << 4 | (self.byte(at) as char).to_digit(16)?))
    }
}
