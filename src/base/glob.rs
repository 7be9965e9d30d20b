//! Glob patterns: KEYS, SCAN MATCH, CONFIG GET, PSUBSCRIBE.
//!
//!     ?  any byte      *  any bytes      [abc] [^abc] [a-z]  one of, none of      \x  the byte x
//!
//! Everything but `*` matches exactly one byte, so after a mismatch it is enough to let the last `*` take one byte more:
//! no recursion, at worst pattern × text steps. The corners are those of Redis's `stringmatchlen`: a class without its
//! `]` ends with the pattern, `[a-]` is the range from `a` to `]`, ranges compare bytes as signed, and more than
//! 1000 groups of `*` match nothing. Only the empty pattern and a lone `*` (which KEYS and SCAN do not even ask about)
//! match the empty text.

#![forbid(unsafe_code)]

/// More groups of `*` than this match nothing. Source: the nesting limit of Redis.
const STARS_MAX: usize = 1000;

/// Does `pattern` match the whole of `text`?
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, false)
}

/// As `matches`, ASCII case aside.
pub fn matches_nocase(pattern: &[u8], text: &[u8]) -> bool {
    matches_with(pattern, text, true)
}

fn matches_with(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut at, mut pos, mut stars) = (0, 0, 0);
    // Behind the last `*`, and the text position to which it reaches.
    let mut retry = None;
    while pos < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += pattern[at..].iter().take_while(|&&byte| byte == b'*').count();
            if at == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((at, pos));
            continue;
        }
        if let Some(next) = match_one(pattern, at, text[pos], nocase) {
            (at, pos) = (next, pos + 1);
            continue;
        }
        let Some((behind, reach)) = retry else { return false };
        (at, pos) = (behind, reach + 1);
        retry = Some((at, pos));
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches one byte against the pattern's element at `at`; returns where the next element begins.
fn match_one(pattern: &[u8], at: usize, byte: u8, nocase: bool) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => match_class(pattern, at + 1, byte, nocase),
        b'\\' if at + 1 < pattern.len() => same(pattern[at + 1], byte, nocase).then_some(at + 2),
        literal => same(literal, byte, nocase).then_some(at + 1),
    }
}

/// A set of bytes: bit `byte % 64` of word `byte / 64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    #[inline]
    pub fn contains(&self, byte: u8) -> bool {
        self.0[byte as usize / 64] >> (byte % 64) & 1 != 0
    }
    /// The bits in which all members are alike, as a mask, and how they are in these.
    pub fn common_bits(&self) -> (u8, u8) {
        let members = || (0..=u8::MAX).filter(|&byte| self.contains(byte));
        let all = members().fold(u8::MAX, |bits, byte| bits & byte);
        let any = members().fold(0, |bits, byte| bits | byte);
        let alike = !(all ^ any);
        (alike, any & alike)
    }
}

/// An element that matches exactly one byte: anything but `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Any,
    Byte(u8),
    Class(ByteSet),
}

/// The element at `at`, for who compares many texts with one pattern, and where the next one begins. None: a `*`, or the end.
pub fn element(pattern: &[u8], at: usize) -> Option<(Element, usize)> {
    Some(match *pattern.get(at)? {
        b'*' => return None,
        b'?' => (Element::Any, at + 1),
        b'[' => {
            let mut set = ByteSet::default();
            for byte in 0..=u8::MAX {
                let (is_member, _) = read_class(pattern, at + 1, byte, false);
                set.0[byte as usize / 64] |= (is_member as u64) << (byte % 64);
            }
            (Element::Class(set), read_class(pattern, at + 1, 0, false).1)
        }
        b'\\' if at + 1 < pattern.len() => (Element::Byte(pattern[at + 1]), at + 2),
        literal => (Element::Byte(literal), at + 1),
    })
}

/// A class whose first byte behind `[` is at `at`.
fn match_class(pattern: &[u8], at: usize, byte: u8, nocase: bool) -> Option<usize> {
    let (is_member, end) = read_class(pattern, at, byte, nocase);
    is_member.then_some(end)
}

/// Is `byte` in the class, and where does the class end?
fn read_class(pattern: &[u8], mut at: usize, byte: u8, nocase: bool) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    at += negated as usize;
    let mut found = false;
    let end = loop {
        match &pattern[at..] {
            [] => break at,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte; // Case counts here even when it does not elsewhere: so does Redis.
                at += 2;
            }
            [b']', ..] => break at + 1,
            [first, b'-', last, ..] => {
                found |= in_range(*first, *last, byte, nocase);
                at += 3;
            }
            [single, ..] => {
                found |= same(*single, byte, nocase);
                at += 1;
            }
        }
    };
    (found != negated, end)
}

fn in_range(first: u8, last: u8, byte: u8, nocase: bool) -> bool {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() as i8 } else { byte as i8 };
    let (low, high) = if first as i8 > last as i8 { (last, first) } else { (first, last) };
    (fold(low)..=fold(high)).contains(&fold(byte))
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || nocase && a.eq_ignore_ascii_case(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// Tries every way, by recursion over the definition.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| naive(rest, &text[taken..], nocase)),
            (_, []) => false,
            (_, [byte, behind @ ..]) => {
                match_one(pattern, 0, *byte, nocase).is_some_and(|next| naive(&pattern[next..], behind, nocase))
            }
        }
    }

    #[test]
    fn elements_match_what_they_say() {
        for (pattern, text) in [
            ("h?llo", "hello"),
            ("h*llo", "hllo"),
            ("h*llo", "heeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hbllo"),
            ("h[a-b]llo", "hallo"),
            ("h[b-a]llo", "hallo"),
            ("h\\*llo", "h*llo"),
            ("[\\]]", "]"),
            ("a**", "a"),
            ("", ""),
            ("[a", "a"),
            ("[^", "x"),
            ("[a-]", "]"),
            ("\\", "\\"),
        ] {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("**", ""), ("?", ""), ("h[^e]llo", "hello"), ("[", "["), ("a?", "a"), ("a", "A"), ("*b", "ba")]
        {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        assert!(matches_nocase(b"MaxMem*[A-C]", b"maxmemory-B"));
        assert!(!matches_nocase(b"[\\a]", b"A"));
    }

    #[test]
    fn random_patterns_match_as_the_naive_matcher_says() {
        let mut prng = Prng::seeded(7);
        let mut word = |letters: &[u8], len: u64| -> Vec<u8> {
            (0..prng.below(len)).map(|_| letters[prng.below(letters.len() as u64) as usize]).collect()
        };
        for _ in 0..200_000 {
            let (pattern, text) = (word(b"aabBc*?*[]^-\\\xff", 9), word(b"abAc]-\\\xff", 8));
            for nocase in [false, true] {
                let expected =
                    naive(&pattern, &text, nocase) && (!text.is_empty() || pattern.is_empty() || pattern == b"*");
                assert_eq!(matches_with(&pattern, &text, nocase), expected, "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn abusive_patterns_end_quickly() {
        let pattern = b"*a".repeat(900);
        assert!(!matches(&[&pattern[..], b"b"].concat(), &[b'a'; 100_000]));
        assert!(!matches(&b"*a".repeat(1001), &[b'a'; 5000]));
        assert!(matches(&b"*a".repeat(1000), &[b'a'; 5000]));
    }
}
