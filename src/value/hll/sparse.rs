//! The sparse form of a HyperLogLog's registers: runs of equal values.
//!
//! ```text
//! 00llllll             ZERO   up to 64 registers that are 0
//! 01llllll llllllll    XZERO  up to 16384 registers that are 0
//! 1vvvvvll             VAL    up to 4 registers of one value, 1 to 32
//! ```
//! All numbers are stored less one. A register is raised by splitting the run that it is in; afterwards the runs around it
//! are joined where they have one value, up to five of them: bytes are the same as Redis's after the same additions, so
//! what is joined is protocol.

#![forbid(unsafe_code)]

use super::{Corrupt, HEADER_LEN, REGISTERS};
use smallvec::SmallVec;
use std::borrow::Cow;

const ZERO_LEN_MAX: usize = 64;
const VALUE_LEN_MAX: usize = 4;
const VALUE_MAX: u8 = 32;
const XZERO: u8 = 0x40;
const VALUE: u8 = 0x80;
/// Runs that are looked at to join them.
const JOINED_RUNS_MAX: usize = 5;

/// All registers 0, in one XZERO.
pub(super) const EMPTY: [u8; 2] = [XZERO | ((REGISTERS - 1) >> 8) as u8, (REGISTERS - 1) as u8];

/// Registers of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// 0: a run of zeros.
    pub value: u8,
    /// Number of registers.
    pub len: usize,
    /// Bytes that the run takes: 2 for XZERO.
    pub size: usize,
}

/// The first run of `bytes`. None: there is none, or only a half one.
fn first(bytes: &[u8]) -> Option<Run> {
    let byte = *bytes.first()?;
    Some(match byte & (VALUE | XZERO) {
        0 => Run { value: 0, len: byte as usize + 1, size: 1 },
        XZERO => Run { value: 0, len: ((byte & 0x3f) as usize) << 8 | *bytes.get(1)? as usize, size: 2 }.longer(),
        _ => Run { value: (byte >> 2 & 0x1f) + 1, len: (byte & 3) as usize + 1, size: 1 },
    })
}

impl Run {
    fn longer(self) -> Self {
        Run { len: self.len + 1, ..self }
    }
    fn value_byte(value: u8, len: usize) -> u8 {
        VALUE | (value - 1) << 2 | (len - 1) as u8
    }
}

/// The runs, one after the other; at last an error if there is half a run.
pub fn runs(mut bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupt>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let run = first(bytes);
        bytes = run.map_or(&[], |run| &bytes[run.size..]);
        Some(run.ok_or(Corrupt))
    })
}

/// What `set` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Unchanged,
    Raised,
    /// Nothing yet: the registers must become dense first.
    TooLarge,
}

/// Raises a register in the bytes of a HyperLogLog, header included.
pub(super) fn set(bytes: &mut Cow<'_, [u8]>, index: usize, value: u8, len_max: usize) -> Result<Outcome, Corrupt> {
    if value > VALUE_MAX {
        return Ok(Outcome::TooLarge);
    }
    let (mut at, mut before, mut covered) = (HEADER_LEN, HEADER_LEN, 0);
    let run = loop {
        let run = first(&bytes[at..]).ok_or(Corrupt)?;
        if index < covered + run.len {
            break run;
        }
        covered += run.len;
        (before, at) = (at, at + run.size);
    };
    if run.value >= value {
        return Ok(Outcome::Unchanged);
    }
    let mut split: SmallVec<[u8; 5]> = SmallVec::new();
    push_run(&mut split, run.value, index - covered);
    split.push(Run::value_byte(value, 1));
    push_run(&mut split, run.value, covered + run.len - 1 - index);
    if split.len() > run.size && bytes.len() + split.len() - run.size > len_max {
        return Ok(Outcome::TooLarge);
    }
    let bytes = bytes.to_mut();
    bytes.splice(at..at + run.size, split);
    join(bytes, before);
    Ok(Outcome::Raised)
}

/// A piece of a run that was split.
fn push_run(bytes: &mut SmallVec<[u8; 5]>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, 1..=ZERO_LEN_MAX) => bytes.push(len as u8 - 1),
        (0, _) => bytes.extend([XZERO | ((len - 1) >> 8) as u8, (len - 1) as u8]),
        (value, _) => bytes.push(Run::value_byte(value, len)),
    }
}

/// Joins neighbours of one value from `at` on, as far as Redis looks.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOINED_RUNS_MAX {
        let Some(run) = first(&bytes[at..]) else { return };
        let next = first(&bytes[at + run.size..]);
        match next.filter(|next| run.value > 0 && next.value == run.value && run.len + next.len <= VALUE_LEN_MAX) {
            Some(next) => {
                bytes[at + 1] = Run::value_byte(run.value, run.len + next.len);
                bytes.remove(at);
            }
            None => at += run.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(places: &[(usize, u8)]) -> Vec<Run> {
        let mut bytes = Cow::Owned([&[0; HEADER_LEN][..], &EMPTY].concat());
        for &(index, value) in places {
            assert_eq!(set(&mut bytes, index, value, 3000), Ok(Outcome::Raised));
        }
        runs(&bytes[HEADER_LEN..]).map(|run| run.expect("a whole run")).collect()
    }

    fn run(value: u8, len: usize) -> Run {
        Run { value, len, size: if len > ZERO_LEN_MAX { 2 } else { 1 } }
    }

    #[test]
    fn runs_are_split_and_joined() {
        assert_eq!(after(&[]), [run(0, 16384)]);
        assert_eq!(after(&[(0, 3)]), [run(3, 1), run(0, 16383)]);
        assert_eq!(after(&[(16383, 32)]), [run(0, 16383), run(32, 1)]);
        assert_eq!(after(&[(64, 1), (65, 1), (66, 1)]), [run(0, 64), run(1, 3), run(0, 16317)]);
        let many = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (1, 2)];
        assert_eq!(after(&many), [run(1, 1), run(2, 1), run(1, 3), run(0, 16379)]);
    }

    #[test]
    fn what_does_not_fit_asks_for_the_dense_form() {
        let mut bytes = Cow::Owned([&[0; HEADER_LEN][..], &EMPTY].concat());
        assert_eq!(set(&mut bytes, 5, 33, 3000), Ok(Outcome::TooLarge));
        assert_eq!(set(&mut bytes, 5, 32, 18), Ok(Outcome::TooLarge));
        assert_eq!(set(&mut bytes, 5, 32, 19), Ok(Outcome::TooLarge));
        assert_eq!(set(&mut bytes, 0, 1, 19), Ok(Outcome::Raised));
        assert_eq!(set(&mut bytes, 0, 2, 0), Ok(Outcome::Raised));
        assert_eq!(set(&mut bytes, 0, 2, 0), Ok(Outcome::Unchanged));
    }

    #[test]
    fn half_a_run_is_corrupt() {
        assert_eq!(runs(&[XZERO]).collect::<Vec<_>>(), [Err(Corrupt)]);
        let mut bytes = Cow::Owned(vec![0; HEADER_LEN]);
        assert_eq!(set(&mut bytes, 0, 1, 3000), Err(Corrupt));
        bytes.to_mut().extend([0x3f, XZERO]);
        assert_eq!(set(&mut bytes, 64, 1, 3000), Err(Corrupt));
    }
}
