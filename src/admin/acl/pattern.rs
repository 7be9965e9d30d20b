//! Patterns of keys, sorted out beforehand so that a key is compared with ten of them in a few nanoseconds.
//!
//! ```text
//! u[a-c]?r:*:x       front  u [a-c] ? r :     one byte each; a key is at least as long
//!                    middle *                 anything
//!                    tail   :x                the literal end
//! ```
//! A pattern is its *front*, the elements before its first `*`; if it has a `*`, the literal text behind its last one is its
//! *tail*. Of the first eight elements of the front two numbers are kept, side by side for all patterns: which bits of the
//! key's first eight bytes are settled, and how. For a literal byte these are all its bits, for `?` none, for a class those
//! that its members have in common. So a key is nearly always turned down by one comparison, whatever is in the pattern. Which
//! patterns are compared at all, of the first 32, a small table tells by five bits of the key's first byte.
//!
//! Whoever passes that is compared with the classes of the front, by sets of bits, with its bytes behind the eighth, and with
//! the tail. Most patterns are then known to match; the general matcher is asked only about what stands between two `*`, and
//! what else is not literal where it would have to be.

use crate::base::glob::{self, ByteSet, Element};

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

/// Elements of a front that a head covers.
const HEAD_LEN: usize = 8;

/// What of a pattern is compared first.
#[derive(Clone, Copy, Debug)]
struct Head {
    bytes: u64,
    mask: u64,
    /// No shorter key matches.
    len_min: u32,
    access: Access,
    more: More,
}

/// What is left to be asked about a key that has the head's bits and is long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Nothing,
    /// Is it longer than the front?
    End,
    /// What its `Rest` asks.
    Rest,
}

/// What a pattern demands beside its head.
#[derive(Clone, Debug, Default)]
struct Rest {
    /// There is no `*`: the front is all.
    is_closed: bool,
    /// Classes of the front, and where they stand.
    classes: Box<[(usize, ByteSet)]>,
    /// The front behind what the head covers, if that is literal.
    deep: Box<[u8]>,
    tail: Box<[u8]>,
    /// All that is not the whole pattern.
    is_partial: bool,
}

/// Patterns that the table knows of.
const INDEXED: usize = u32::BITS as usize;

/// The patterns of a selector, with their heads side by side.
#[derive(Clone, Debug, Default)]
pub struct KeyPatterns {
    /// Which of the first patterns a key may match, by the low bits of its first byte (0 if it has none).
    candidates: [u32; 32],
    list: Vec<KeyPattern>,
    heads: Vec<Head>,
    rests: Vec<Rest>,
}

impl KeyPatterns {
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = &KeyPattern> {
        self.list.iter()
    }
    pub fn clear(&mut self) {
        self.candidates = Default::default();
        self.list.clear();
        self.heads.clear();
        self.rests.clear();
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
                let (head, rest) = compiled(text, access);
                if self.heads.len() < INDEXED {
                    let differs = |bits: usize| (bits as u64 ^ head.bytes) & head.mask & 31 != 0;
                    let fitting = self.candidates.iter_mut().enumerate().filter(|(bits, _)| !differs(*bits));
                    fitting.for_each(|(_, patterns)| *patterns |= 1 << self.heads.len());
                }
                self.heads.push(head);
                self.rests.push(rest);
            }
        }
    }
    /// May a key be accessed so? Every bit of `access` must be allowed by the same pattern.
    /// Cost: about a nanosecond a pattern that begins alike but whose head differs.
    #[inline]
    pub fn allow(&self, key: &[u8], access: Access) -> bool {
        let start = load(key);
        let mut candidates = self.candidates[start as usize & 31];
        while candidates != 0 {
            if self.allows(candidates.trailing_zeros() as usize, start, key, access) {
                return true;
            }
            candidates &= candidates - 1;
        }
        self.heads.len() > INDEXED && (INDEXED..self.heads.len()).any(|at| self.allows(at, start, key, access))
    }
    /// Does pattern `at` allow this access to the key that begins with `start`?
    #[inline]
    fn allows(&self, at: usize, start: u64, key: &[u8], access: Access) -> bool {
        let head = &self.heads[at];
        start & head.mask == head.bytes && access & !head.access == 0 && self.fits(at, head, key)
    }
    /// Does a key that has the head's bits match?
    #[inline]
    fn fits(&self, at: usize, head: &Head, key: &[u8]) -> bool {
        let len_min = head.len_min as usize;
        match head.more {
            More::Nothing => key.len() >= len_min,
            More::End => key.len() == len_min,
            More::Rest => key.len() >= len_min && self.rests[at].fits(len_min, &self.list[at].text, key),
        }
    }
}

impl Rest {
    /// Does a key that is at least `len_min` long match `text`?
    fn fits(&self, len_min: usize, text: &[u8], key: &[u8]) -> bool {
        !(self.is_closed && key.len() > len_min)
            && self.classes.iter().all(|(at, set)| set.contains(key[*at]))
            && (self.deep.is_empty() || key[HEAD_LEN..].starts_with(&self.deep))
            && key.ends_with(&self.tail)
            && (!self.is_partial || glob::matches(text, key))
    }
}

/// Takes a pattern to pieces.
fn compiled(text: &[u8], access: Access) -> (Head, Rest) {
    let (mut bytes, mut mask) = ([0; HEAD_LEN], [0; HEAD_LEN]);
    let (mut len, mut at, mut classes, mut deep) = (0, 0, Vec::new(), Vec::new());
    while let Some((element, next)) = glob::element(text, at) {
        let (settled, value) = match element {
            Element::Any => (0, 0),
            Element::Byte(byte) => (u8::MAX, byte),
            Element::Class(set) => set.common_bits(),
        };
        if let Element::Class(set) = element {
            classes.push((len, set));
        }
        if len < HEAD_LEN {
            (mask[len], bytes[len]) = (settled, value);
        } else if let Element::Byte(byte) = element {
            deep.push(byte);
        }
        (len, at) = (len + 1, next);
    }
    let is_closed = at == text.len();
    let is_deep_literal = deep.len() == len.saturating_sub(HEAD_LEN);
    let behind = text.iter().rposition(|&byte| byte == b'*').filter(|_| !is_closed).map_or(at, |star| star + 1);
    // The last `*` may itself be escaped, or in a class.
    let has_literal_tail = !text[at..].iter().any(|byte| b"?[\\".contains(byte));
    let is_one_star = text[at..behind].iter().all(|&byte| byte == b'*');
    let tail: &[u8] = if has_literal_tail { &text[behind..] } else { b"" };
    let rest = Rest {
        is_closed,
        classes: classes.into(),
        deep: if is_deep_literal { deep.into() } else { Box::default() },
        tail: tail.into(),
        is_partial: !(is_deep_literal && has_literal_tail && is_one_star),
    };
    let more = match rest.is_partial || !rest.classes.is_empty() || !rest.deep.is_empty() || !tail.is_empty() {
        true => More::Rest,
        false if is_closed => More::End,
        false => More::Nothing,
    };
    // Several `*` and nothing else do not match the empty text: see `base::glob`.
    let len_min = (len + tail.len()).max((!is_closed && text != b"*") as usize);
    let (bytes, mask) = (u64::from_le_bytes(bytes), u64::from_le_bytes(mask));
    (Head { bytes, mask, len_min: len_min as u32, access, more }, rest)
}

/// The first eight bytes, little-endian; shorter texts are padded with zeros.
#[inline]
fn load(text: &[u8]) -> u64 {
    if let Some(eight) = text.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    // Two words that overlap where the text is shorter than both: there they hold the same.
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return first as u64 | (last as u64) << (8 * (text.len() - 4));
    }
    text.iter().rev().fold(0, |word, &byte| word << 8 | byte as u64)
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
            let (text, key) = (word(b"aaab\0**?[]^-\\", 16), word(b"aab\0", 18));
            assert_eq!(patterns(&[&text]).allow(&key, READ), glob::matches(&text, &key), "{text:?} {key:?}");
        }
    }

    #[test]
    fn fronts_and_tails_are_told_apart_from_what_only_looks_like_them() {
        let is_known = |text: &[u8]| !compiled(text, READ).1.is_partial;
        for (text, fits, differs) in [
            (&b"k?a:*"[..], &["kxa:", "k*a:1"][..], &["key:1", "kxa", ""][..]),
            (b"k[a-d]*", &["ka", "kdx"], &["key", "k", "xa"]),
            (b"user:[0-9]*:[^x]", &["user:1:a"], &["user:1:x", "user:1:", "user:a:a"]),
            (b"*:name", &[":name", "user:1:name"], &["name", "user:1:names"]),
            (b"ab*ba", &["abba", "ab-ba"], &["aba", "abbaa"]),
            (b"tenant-[ab]?-long:*:x", &["tenant-a1-long::x"], &["tenant-a1-lang::x", "tenant-a1-long:x"]),
            (b"a*\\*", &["a*", "ab*"], &["a", "ab"]),
            (b"a*[*]b", &["a*b"], &["a]b", "ab"]),
            (b"**", &["a"], &[""]),
            (b"*", &["", "a"], &[]),
            (b"", &[""], &["a"]),
            (b"[a", &["a"], &["[a", "b"]),
            (b"[]", &[], &["", "]", "[]"]),
            (b"exact\\*ly?this", &["exact*ly-this"], &["exact*ly-thus", "exact*ly-thisx", "exactlyxthis"]),
        ] {
            let patterns = patterns(&[text]);
            assert!(fits.iter().all(|key| patterns.allow(key.as_bytes(), READ)), "{text:?}");
            assert!(!differs.iter().any(|key| patterns.allow(key.as_bytes(), READ)), "{text:?}");
        }
        for text in [&b"k?a:*"[..], b"k[a-d]*", b"*:name", b"ab**ba", b"user:[0-9]*", b"long-prefix-here:*", b"*"] {
            assert!(is_known(text), "{text:?} needs the general matcher");
        }
        assert!(!is_known(b"a*b*") && !is_known(b"a*?") && !is_known(b"12345678?9"));
    }

    #[test]
    fn of_many_patterns_each_is_found() {
        let texts: Vec<String> = (0..100).map(|n| format!("\\{}{n}:*", char::from(b' ' + n))).collect();
        let many = patterns(&texts.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
        for n in 0..100_u8 {
            let key = |shift: u8| format!("{}{n}:x", char::from(b' ' + n + shift));
            assert!(many.allow(key(0).as_bytes(), READ), "{n}");
            assert!(!many.allow(key(32).as_bytes(), READ), "{n}: begins with another byte that has the same low bits");
        }
        let empty = patterns(&[b"[a-z]*", b"?", b"a", b""]);
        assert!(empty.allow(b"", READ) && empty.allow(b"q", READ) && !empty.allow(b"Q2", READ));
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
