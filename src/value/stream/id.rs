//! The id of a stream entry: a time in milliseconds and a number within it, written `ms-seq`.

use crate::base::clock::WallMs;
use crate::base::num::parse_u64_lax;

/// The id of an entry. Ids of a stream only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

/// An id as a client writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdText {
    Whole(StreamId),
    /// `ms`: the number is left to the reader.
    Time(u64),
    /// `ms-*`: the number is left to the stream.
    AnySeq(u64),
}

/// Longest text that is looked at. Source: Redis reads ids through a buffer of that size.
const TEXT_LEN_MAX: usize = 127;

impl IdText {
    /// Reads `ms`, `ms-seq` or `ms-*`; numbers as C's `strtoull` reads them, the whole as a C string.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_LEN_MAX {
            return None;
        }
        let text = c_string(text);
        let Some(dash) = text.iter().position(|&byte| byte == b'-') else {
            return parse_u64_lax(text).map(IdText::Time);
        };
        let (ms, seq) = (parse_u64_lax(&text[..dash])?, &text[dash + 1..]);
        if seq == b"*" {
            return Some(IdText::AnySeq(ms));
        }
        Some(IdText::Whole(StreamId { ms, seq: parse_u64_lax(seq)? }))
    }
}

/// The bytes before the first zero byte.
pub fn c_string(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    &text[..end]
}

impl StreamId {
    pub const MIN: StreamId = StreamId { ms: 0, seq: 0 };
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Self {
        StreamId { ms, seq }
    }
    /// Reads `ms` or `ms-seq`; a number that is left out is `missing_seq`.
    pub fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        match IdText::parse(text)? {
            IdText::Whole(id) => Some(id),
            IdText::Time(ms) => Some(StreamId { ms, seq: missing_seq }),
            IdText::AnySeq(_) => None,
        }
    }
    /// The smallest id above this one.
    pub fn next(self) -> Option<Self> {
        match (self.ms, self.seq) {
            (u64::MAX, u64::MAX) => None,
            (ms, u64::MAX) => Some(StreamId { ms: ms + 1, seq: 0 }),
            (ms, seq) => Some(StreamId { ms, seq: seq + 1 }),
        }
    }
    /// The largest id below this one.
    pub fn prev(self) -> Option<Self> {
        match (self.ms, self.seq) {
            (0, 0) => None,
            (ms, 0) => Some(StreamId { ms: ms - 1, seq: u64::MAX }),
            (ms, seq) => Some(StreamId { ms, seq: seq - 1 }),
        }
    }
    /// The id of an entry that is added now, behind an entry with this id.
    pub fn following(self, now: WallMs) -> Option<Self> {
        if now.0 > self.ms { Some(StreamId { ms: now.0, seq: 0 }) } else { self.next() }
    }
    /// Is this `0-0`, which no entry can have?
    pub fn is_zero(self) -> bool {
        self == Self::MIN
    }
}

/// The text of an id, without an allocation.
pub struct IdBuffer {
    bytes: [u8; Self::LEN_MAX],
}

impl IdBuffer {
    /// Two numbers of 20 digits and the dash.
    const LEN_MAX: usize = 41;

    pub fn new() -> Self {
        IdBuffer { bytes: [0; Self::LEN_MAX] }
    }
    /// `ms-seq`.
    #[inline]
    pub fn format(&mut self, id: StreamId) -> &[u8] {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (ms, seq) = (ms.format(id.ms).as_bytes(), seq.format(id.seq).as_bytes());
        let len = ms.len() + 1 + seq.len();
        self.bytes[..ms.len()].copy_from_slice(ms);
        self.bytes[ms.len()] = b'-';
        self.bytes[ms.len() + 1..len].copy_from_slice(seq);
        &self.bytes[..len]
    }
}

impl Default for IdBuffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_whole_or_in_part() {
        assert_eq!(StreamId::parse(b"5-7", 0), Some(StreamId::new(5, 7)));
        assert_eq!(StreamId::parse(b"5", 9), Some(StreamId::new(5, 9)));
        assert_eq!(IdText::parse(b"5-*"), Some(IdText::AnySeq(5)));
        for wrong in ["", "-", "+", "$", "5-", "-5", "5-*x", "5-6-7", "a-1", "1-a", "5-*-", "18446744073709551616"] {
            assert_eq!(IdText::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(StreamId::parse(&[b'0'; 128], 0), None);
    }

    #[test]
    fn neighbours_cross_the_milliseconds() {
        let edge = StreamId::new(1, u64::MAX);
        assert_eq!(edge.next(), Some(StreamId::new(2, 0)));
        assert_eq!(StreamId::new(2, 0).prev(), Some(edge));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.prev()), (None, None));
        assert_eq!(edge.following(WallMs(1)), Some(StreamId::new(2, 0)));
        assert_eq!(edge.following(WallMs(7)), Some(StreamId::new(7, 0)));
    }

    #[test]
    fn the_text_of_an_id_reads_back() {
        for id in [StreamId::MIN, StreamId::MAX, StreamId::new(1, 23)] {
            assert_eq!(StreamId::parse(IdBuffer::new().format(id), 0), Some(id));
        }
    }
}
