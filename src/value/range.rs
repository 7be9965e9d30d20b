//! Ranges as clients write them: both ends included, negative numbers count from the end.

#![forbid(unsafe_code)]

use std::ops::Range;

/// The part of `0..len` that `start..=end` names, both clamped; None if it is empty.
///
/// A start before the beginning is the beginning, so two ends before the beginning name the first item. GETRANGE and
/// BITCOUNT exclude that case beforehand with `is_reversed`; BITPOS does not.
pub fn clamp(start: i64, end: i64, len: u64) -> Option<Range<u64>> {
    let len = len as i64; // Lengths of strings and of their bits are far below 2^63.
    let from_start = |at: i64| if at < 0 { (at + len).max(0) } else { at };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    (start <= end).then(|| start as u64..end as u64 + 1)
}

/// The part of `0..count` that `start..=end` names, as lists and sorted sets read it: an end before the beginning names
/// nothing. Empty at 0 if there is none.
pub fn between(start: i64, end: i64, count: usize) -> Range<usize> {
    let from_start = |at: i64| if at < 0 { at + count as i64 } else { at };
    let (start, end) = (from_start(start).max(0), from_start(end).min(count as i64 - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

/// Two negative ends in the wrong order: empty whatever the length is.
pub fn is_reversed(start: i64, end: i64) -> bool {
    start < 0 && end < 0 && start > end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_ends_count_from_the_end() {
        assert_eq!(clamp(-4, -1, 11), Some(7..11));
        assert_eq!(clamp(0, -1, 11), Some(0..11));
        assert_eq!(clamp(-5000, 10000, 11), Some(0..11));
    }

    #[test]
    fn an_end_before_the_beginning_names_nothing() {
        assert_eq!(between(0, -1, 5), 0..5);
        assert_eq!(between(-100, 1, 5), 0..2);
        assert_eq!(between(-100, -50, 5), 0..0);
        assert_eq!(between(4, 100, 5), 4..5);
        assert_eq!(between(5, 100, 5), 0..0);
        assert_eq!(between(3, 2, 5), 0..0);
        assert_eq!(between(i64::MIN, i64::MAX, 0), 0..0);
        assert_eq!(between(i64::MIN, i64::MAX, 2), 0..2);
    }

    #[test]
    fn a_range_beyond_the_value_is_empty() {
        assert_eq!(clamp(5, 3, 11), None);
        assert_eq!(clamp(11, 12, 11), None);
        assert_eq!(clamp(0, -1, 0), None);
        assert_eq!(clamp(i64::MIN, i64::MIN, 3), Some(0..1));
        assert_eq!(clamp(i64::MAX, i64::MAX, 3), None);
    }
}
