//! The longest common subsequence of two strings, by the classic table of prefix lengths.
//!
//! `cell(i, j)` is the length for the first i bytes of `a` and the first j bytes of `b`:
//!
//! ```text
//! cell(i, j) = cell(i-1, j-1) + 1                     if a[i-1] = b[j-1]
//!            = max(cell(i-1, j), cell(i, j-1))        otherwise
//! ```
//!
//! The subsequence is read off backwards from the last cell. Among equally long ones the walk prefers to shorten `b`;
//! clients see that choice, so it is Redis's. The length alone needs no table, only the last row.

#![forbid(unsafe_code)]

/// A run of bytes that both strings share: `len` bytes from `a` in the first and from `b` in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub a: usize,
    pub b: usize,
    pub len: usize,
}

/// Bytes that `Table::new` takes: u32 cells, one row and one column more than the strings have bytes.
pub fn table_bytes(a_len: usize, b_len: usize) -> u128 {
    (a_len as u128 + 1) * (b_len as u128 + 1) * size_of::<u32>() as u128
}

/// Length of the longest common subsequence. Cost: a·b steps, one row of memory.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    let mut row = vec![0u32; b.len() + 1];
    for &byte in a {
        next_row(byte, b, &mut row);
    }
    row[b.len()] as usize
}

/// Turns the row of a prefix of `a` into that of the prefix one byte longer.
fn next_row(byte: u8, b: &[u8], row: &mut [u32]) {
    let mut diagonal = 0;
    for (j, &other) in b.iter().enumerate() {
        let above = row[j + 1];
        row[j + 1] = if byte == other { diagonal + 1 } else { above.max(row[j]) };
        diagonal = above;
    }
}

/// All prefix lengths, from which the subsequence itself can be read.
pub struct Table<'s> {
    a: &'s [u8],
    b: &'s [u8],
    cells: Vec<u32>,
}

impl<'s> Table<'s> {
    /// Cost: a·b steps and `table_bytes` of memory.
    pub fn new(a: &'s [u8], b: &'s [u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0u32; width * (a.len() + 1)];
        for (i, &byte) in a.iter().enumerate() {
            let (done, rest) = cells.split_at_mut((i + 1) * width);
            let row = &mut rest[..width];
            row.copy_from_slice(&done[i * width..]);
            next_row(byte, b, row);
        }
        Table { a, b, cells }
    }
    fn cell(&self, i: usize, j: usize) -> u32 {
        self.cells[i * (self.b.len() + 1) + j]
    }
    /// Length of the longest common subsequence.
    pub fn length(&self) -> usize {
        self.cell(self.a.len(), self.b.len()) as usize
    }
    /// The subsequence.
    pub fn text(&self) -> Vec<u8> {
        let mut text = vec![0; self.length()];
        let mut end = text.len();
        self.walk(|i, _| {
            end -= 1;
            text[end] = self.a[i];
        });
        text
    }
    /// Its runs, last one first.
    pub fn matches(&self) -> Vec<Match> {
        let mut runs: Vec<Match> = Vec::new();
        self.walk(|i, j| match runs.last_mut() {
            Some(run) if run.a == i + 1 && run.b == j + 1 => *run = Match { a: i, b: j, len: run.len + 1 },
            _ => runs.push(Match { a: i, b: j, len: 1 }),
        });
        runs
    }
    /// Visits the pairs of equal bytes backwards.
    fn walk(&self, mut visit: impl FnMut(usize, usize)) {
        let (mut i, mut j) = (self.a.len(), self.b.len());
        while i > 0 && j > 0 {
            if self.a[i - 1] == self.b[j - 1] {
                (i, j) = (i - 1, j - 1);
                visit(i, j);
            } else if self.cell(i - 1, j) > self.cell(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_page_s_example() {
        let table = Table::new(b"ohmytext", b"mynewtext");
        assert_eq!(table.text(), b"mytext");
        assert_eq!(table.length(), length(b"ohmytext", b"mynewtext"));
        assert_eq!(table.matches(), [Match { a: 4, b: 5, len: 4 }, Match { a: 2, b: 0, len: 2 }]);
    }

    #[test]
    fn nothing_is_common_with_an_empty_string() {
        let table = Table::new(b"", b"abc");
        assert_eq!((table.length(), table.text(), table.matches()), (0, vec![], vec![]));
        assert_eq!(length(b"abc", b""), 0);
    }
}
