//! Glob patterns as KEYS, SCAN, CONFIG GET and others take them.
//!
//! Shape: `*` any bytes, `?` one byte, `[abc]`, `[^a]`, `[a-z]` one byte of a class, `\x` that byte itself. A class that is
//! not closed ends with the pattern; a backslash at the very end stands for itself. Source: Redis, `stringmatchlen`.
//!
//! The pattern is matched unit by unit. On a mismatch only the last `*` is asked to take one byte more: an earlier one
//! could not do better, so the cost is bounded by pattern × text and no pattern is exponential.

/// Does `text` match `pattern` as a whole?
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, |byte| byte)
}

/// As `matches`, ASCII case aside.
pub fn matches_nocase(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, |byte| byte.to_ascii_lowercase())
}

fn run(pattern: &[u8], text: &[u8], fold: impl Fn(u8) -> u8 + Copy) -> bool {
    let (mut p, mut t) = (0, 0);
    // Behind the last star, and the text position from which the rest was tried.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        match text.get(t) {
            None if p == pattern.len() => return true,
            None => return false, // A longer star leaves even less text.
            Some(&byte) if p < pattern.len() => {
                let (fits, next) = unit(pattern, p, byte, fold);
                if fits {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            Some(_) => {}
        }
        let Some((behind_star, from)) = retry else { return false };
        retry = Some((behind_star, from + 1));
        (p, t) = (behind_star, from + 1);
    }
}

/// Does the unit at `p` accept `byte`, and where does the next unit begin?
fn unit(pattern: &[u8], p: usize, byte: u8, fold: impl Fn(u8) -> u8 + Copy) -> (bool, usize) {
    match pattern[p] {
        b'?' => (true, p + 1),
        b'[' => class(pattern, p + 1, byte, fold),
        b'\\' if p + 1 < pattern.len() => (fold(pattern[p + 1]) == fold(byte), p + 2),
        literal => (fold(literal) == fold(byte), p + 1),
    }
}

/// A class whose first byte behind `[` is at `p`.
fn class(pattern: &[u8], mut p: usize, byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    p += negated as usize;
    let byte = fold(byte);
    let mut found = false;
    loop {
        match pattern[p..] {
            [] => return (found != negated, p),
            [b']', ..] => return (found != negated, p + 1),
            [b'\\', literal, ..] => {
                found |= fold(literal) == byte;
                p += 2;
            }
            [start, b'-', end, ..] => {
                let (start, end) = (fold(start), fold(end));
                found |= (start.min(end)..=start.max(end)).contains(&byte);
                p += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*cd", "abcbc", false),
            ("**b", "aab", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[a", "a", true),
            ("[a-", "-", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("*?", "", false),
            ("*a*b*c", "xaybzc", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} on {text}");
        }
        assert!(matches_nocase(b"MAX*", b"maxmemory") && matches_nocase(b"[A-Z]x", b"bX"));
        assert!(!matches(b"MAX*", b"maxmemory"));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = b"a*".repeat(5000);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 5000]));
    }
}
