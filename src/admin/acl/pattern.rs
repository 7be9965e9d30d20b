//! Patterns of keys, sorted out beforehand so that a key is compared with ten of them in a few nanoseconds.
//!
//! ```text
//! user:1      literal    equal, and nothing else
//! user:*      prefix     begins with it
//! u[a-c]*     glob       the general matcher
//! ```
//! Whatever its shape, a pattern demands the literal bytes before its first special character. Up to eight of them are kept
//! as a number, side by side for all patterns: a key that does not begin with them is turned down by one comparison, and
//! only a pattern whose head fits is looked at in full.

use crate::base::glob;

/// What a pattern lets one do with a key: bits.
pub type Access = u8;
pub const READ: Access = 1;
pub const WRITE: Access = 2;
pub const READ_WRITE: Access = READ | WRITE;

/// One pattern, as its user sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    pub text: Box<[u8]>,
    pub access: Access,
}

impl KeyPattern {
    /// Appends the rule that makes this pattern: `~text`, `%R~text` or `%W~text`. `~*` would be the rule for all keys,
    /// behind which no other pattern may stand: the pattern `*` is `%RW~*`.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.access {
            READ => b"%R~",
            WRITE => b"%W~",
            _ if *self.text == *b"*" => b"%RW~",
            _ => b"~",
        });
        out.extend_from_slice(&self.text);
    }
}

/// How a key is compared with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Literal,
    /// Up to the only `*`, which stands at the end.
    Prefix,
    Glob,
}

/// What of a pattern is compared first.
#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: u64,
    mask: u64,
    shape: Shape,
    access: Access,
}

/// The patterns of a selector, with their heads side by side.
#[derive(Clone, Debug, Default)]
pub struct KeyPatterns {
    list: Vec<KeyPattern>,
    heads: Vec<Head>,
}

impl KeyPatterns {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &KeyPattern> {
        self.list.iter()
    }
    pub fn clear(&mut self) {
        self.list.clear();
        self.heads.clear();
    }
    /// Adds a pattern; one that is there already gets `access` as well.
    pub fn add(&mut self, text: &[u8], access: Access) {
        match self.list.iter().position(|known| *known.text == *text) {
            Some(at) => {
                self.list[at].access |= access;
                self.heads[at].access |= access;
            }
            None => {
                self.list.push(KeyPattern { text: text.into(), access });
                self.heads.push(head_of(text, access));
            }
        }
    }
    /// May a key be accessed so? Every bit of `access` must be allowed by the same pattern.
    /// Cost: about a nanosecond a pattern whose head differs.
    #[inline]
    pub fn allow(&self, key: &[u8], access: Access) -> bool {
        let start = load(key);
        self.heads.iter().enumerate().any(|(at, head)| {
            start & head.mask == head.bytes && access & !head.access == 0 && self.fits(at, head.shape, key)
        })
    }
    fn fits(&self, at: usize, shape: Shape, key: &[u8]) -> bool {
        let text = &*self.list[at].text;
        match shape {
            Shape::Literal => key == text,
            Shape::Prefix => key.starts_with(&text[..text.len() - 1]),
            Shape::Glob => glob::matches(text, key),
        }
    }
}

fn head_of(text: &[u8], access: Access) -> Head {
    let literal_len = text.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(text.len());
    let shape = match &text[literal_len..] {
        [] => Shape::Literal,
        b"*" => Shape::Prefix,
        _ => Shape::Glob,
    };
    let len = literal_len.min(8);
    let mask = if len == 8 { u64::MAX } else { (1 << (len * 8)) - 1 };
    Head { bytes: load(&text[..len]), mask, shape, access }
}

/// The first eight bytes, little-endian; shorter texts are padded with zeros.
#[inline]
fn load(text: &[u8]) -> u64 {
    match text.first_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => text.iter().rev().fold(0, |word, &byte| word << 8 | byte as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn patterns(texts: &[&[u8]]) -> KeyPatterns {
        let mut patterns = KeyPatterns::default();
        texts.iter().for_each(|text| patterns.add(text, READ_WRITE));
        patterns
    }

    #[test]
    fn every_shape_agrees_with_the_general_matcher() {
        let mut prng = Prng::seeded(11);
        let mut word = |letters: &[u8], len_max: u64| -> Vec<u8> {
            (0..prng.below(len_max)).map(|_| letters[prng.below(letters.len() as u64) as usize]).collect()
        };
        for _ in 0..200_000 {
            let (text, key) = (word(b"aaab\0*?[]\\", 12), word(b"aab\0", 14));
            assert_eq!(patterns(&[&text]).allow(&key, READ), glob::matches(&text, &key), "{text:?} {key:?}");
        }
    }

    #[test]
    fn long_prefixes_are_compared_in_full() {
        let patterns = patterns(&[b"longprefix:*", b"exactly-this"]);
        assert!(patterns.allow(b"longprefix:1", READ) && patterns.allow(b"exactly-this", READ));
        for key in [&b"longprefixes"[..], b"exactly-that", b"exactly-this-too", b"longpref", b""] {
            assert!(!patterns.allow(key, READ), "{key:?}");
        }
    }

    #[test]
    fn one_pattern_must_allow_all_that_is_done() {
        let mut patterns = KeyPatterns::default();
        patterns.add(b"a*", READ);
        patterns.add(b"ab*", WRITE);
        assert!(patterns.allow(b"ab", READ) && patterns.allow(b"ab", WRITE) && !patterns.allow(b"ab", READ_WRITE));
        patterns.add(b"a*", WRITE);
        assert!(patterns.allow(b"ab", READ_WRITE) && patterns.allow(b"ab", 0));
        assert_eq!(patterns.iter().count(), 2);
    }

    #[test]
    fn patterns_are_described_as_the_rules_that_make_them() {
        let mut out = Vec::new();
        for (access, text) in [(READ, "a"), (WRITE, "b"), (READ_WRITE, "c"), (READ_WRITE, "*")] {
            KeyPattern { text: text.as_bytes().into(), access }.describe(&mut out);
        }
        assert_eq!(out, b"%R~a%W~b~c%RW~*");
    }
}
