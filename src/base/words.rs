//! Splitting a line into arguments, with quotes: inline commands and the lines of the configuration file.
//!
//! Words are separated by blanks. `"…"` knows `\n \r \t \b \a \xHH` and `\` before any other byte; `'…'` knows only `\'`.
//! A closing quote must be followed by a blank or the end. A NUL ends the line.
//! Source: the behaviour of Redis's `sdssplitargs`.

#![forbid(unsafe_code)]

/// One argument of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Lies in the line as it is.
    Plain { start: usize, len: usize },
    /// Had quotes, so that its bytes differ from the line's.
    Unquoted(Vec<u8>),
}

/// A quote that is not closed, or is followed by something else than a blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Calls `each` for every argument of `line`, left to right. On an error some arguments may have been given already.
pub fn split(line: &[u8], mut each: impl FnMut(Word)) -> Result<(), Unbalanced> {
    let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
    let mut at = 0;
    loop {
        at += line[at..].iter().take_while(|&&byte| is_space(byte)).count();
        if at == line.len() {
            return Ok(());
        }
        let start = at;
        at += line[at..].iter().take_while(|&&byte| !ends_word(byte) && byte != b'"' && byte != b'\'').count();
        match line.get(at) {
            Some(b'"' | b'\'') => {
                let mut word = line[start..at].to_vec();
                at = unquote(line, at, &mut word)?;
                each(Word::Unquoted(word));
            }
            _ => each(Word::Plain { start, len: at - start }),
        }
    }
}

/// The arguments of `line` as owned bytes.
pub fn split_owned(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut words = Vec::new();
    split(line, |word| {
        words.push(match word {
            Word::Plain { start, len } => line[start..start + len].to_vec(),
            Word::Unquoted(bytes) => bytes,
        })
    })?;
    Ok(words)
}

/// The quoted rest of a word, from its opening quote at `at`; returns where the word ends.
fn unquote(line: &[u8], at: usize, word: &mut Vec<u8>) -> Result<usize, Unbalanced> {
    let quote = line[at];
    let mut at = at + 1;
    loop {
        match &line[at..] {
            [] => return Err(Unbalanced),
            [byte, rest @ ..] if *byte == quote => {
                let ended = rest.first().is_none_or(|&byte| is_space(byte));
                return if ended { Ok(at + 1) } else { Err(Unbalanced) };
            }
            [b'\\', b'\'', ..] if quote == b'\'' => {
                word.push(b'\'');
                at += 2;
            }
            [b'\\', b'x', high, low, ..] if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                at += 4;
            }
            [b'\\', escaped, ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                at += 2;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
        }
    }
}

/// C's `isspace`: what may stand between words.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What ends an unquoted word. Vertical tab and form feed do not, though they are skipped between words: so does Redis.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).map_or(0, |value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<String>, Unbalanced> {
        let owned = split_owned(line.as_bytes())?;
        Ok(owned.iter().map(|word| word.escape_ascii().to_string()).collect())
    }

    #[test]
    fn words_are_separated_by_blanks() {
        assert_eq!(words("  set  key\tvalue \r").unwrap(), ["set", "key", "value"]);
        assert_eq!(words("").unwrap(), [""; 0]);
        assert_eq!(words(" \x0b a\x0cb").unwrap(), ["a\\x0cb"]);
    }

    #[test]
    fn quotes_and_escapes_are_undone() {
        assert_eq!(words(r#"a "b c" 'd e'"#).unwrap(), ["a", "b c", "d e"]);
        assert_eq!(words(r#""\x00\xfF\n\r\t\b\a\"\q\x4""#).unwrap(), [r#"\x00\xff\n\r\t\x08\x07\"qx4"#]);
        assert_eq!(words(r#"'it\'s \n'"#).unwrap(), [r"it\'s \\n"]);
        assert_eq!(words(r#"pre"fix" """#).unwrap(), ["prefix", ""]);
    }

    #[test]
    fn a_quote_must_close_before_a_blank() {
        for line in [r#""abc"#, "'abc", r#""a"b"#, "'a'b", r#""a\"#, r#"a"b"c"#] {
            assert_eq!(words(line), Err(Unbalanced), "{line}");
        }
    }
}
