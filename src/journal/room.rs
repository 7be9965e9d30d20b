//! Room ahead: what a file holds behind its last batch while every batch is synced at once.
//!
//! ```text
//! batch batch batch ####…####\r\n####…####\r\n …                      lines of LINE_LEN bytes, as the offset in the file says
//!                   ↑ the next batch is written here, over them
//! ```
//! A file that does not grow is synced without its metadata: one write of the disk instead of three (kernel-notes/39). To
//! Redis the lines are comments, wherever they begin: they begin with `#` everywhere but at their end, and whoever writes a
//! batch up to that end writes `#` over it (`guard`).

use std::ops::Range;

/// Bytes of a line. Redis reads comments in pieces of 127 bytes, each of which has to begin with `#`.
const LINE_LEN: u64 = 64;
/// Bytes of room that are made at once.
pub const STEP: u64 = if cfg!(test) { 1 << 10 } else { 512 << 10 };
/// What is never written to: so a file with room ends in it, and what stands behind room was not written by us.
const KEPT: u64 = LINE_LEN;

/// Bytes of room at these offsets.
pub fn bytes(at: Range<u64>) -> Vec<u8> {
    at.map(|offset| match offset % LINE_LEN {
        62 => b'\r',
        63 => b'\n',
        _ => b'#',
    })
    .collect()
}

/// What is to be written behind a batch that ends here, so that what is left of the line begins as a comment.
pub fn guard(end: u64) -> &'static [u8] {
    match end % LINE_LEN {
        62 => b"##",
        63 => b"#",
        _ => b"",
    }
}

/// Where room has to end for a batch that ends at `end`; at least that far.
pub fn least(end: u64) -> u64 {
    (end + KEPT).next_multiple_of(LINE_LEN)
}

/// Is this a line of room, or what is left of one?
pub fn is_line(line: &[u8]) -> bool {
    (1..=LINE_LEN + 2).contains(&(line.len() as u64)) && line.iter().all(|&byte| byte == b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_line_is_a_comment_wherever_a_batch_ends() {
        for end in 0..200 {
            let mut left = bytes(end..512);
            left[..guard(end).len()].copy_from_slice(guard(end));
            for line in left.split_inclusive(|&byte| byte == b'\n') {
                assert!(line.starts_with(b"#") && line.len() < 127, "behind {end}");
                assert!(line.strip_suffix(b"\r\n").is_some_and(is_line), "behind {end}: {}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn room_is_made_in_whole_lines_and_a_line_is_left() {
        for end in [0, 1, 63, 64, 65, 1000] {
            assert!(least(end).is_multiple_of(LINE_LEN) && least(end) >= end + KEPT);
        }
    }
}
