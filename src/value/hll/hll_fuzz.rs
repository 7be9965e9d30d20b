//! HyperLogLogs against an array of registers: random additions and merges, in both forms, and bytes that are broken.

#![forbid(unsafe_code)]

use super::*;
use crate::base::prng::Prng;

#[test]
fn registers_are_those_of_an_array() {
    for seed in 0..60 {
        let mut prng = Prng::seeded(seed);
        let sparse_len_max = [0, 100, 500, 3000, 16000][prng.below(5) as usize];
        let (mut hll, mut model) = (Hll::new(), [0u8; REGISTERS]);
        for _ in 0..prng.below(3000) {
            let (index, value) = place_of(&prng.next_u64().to_le_bytes());
            // Neighbours and high values are rare among hashes.
            let index = if prng.chance(1, 2) { index % 50 } else { index };
            let value = if prng.chance(1, 500) { 33 + prng.below(19) as u8 } else { value };
            assert_eq!(hll.set(index, value, sparse_len_max), Ok(model[index] < value), "seed {seed}");
            model[index] = model[index].max(value);
        }
        check(&mut hll, &model, seed);
    }
}

fn check(hll: &mut Hll<'_>, model: &Registers, seed: u64) {
    for _ in ["as it is", "dense"] {
        let mut registers = [0; REGISTERS];
        assert_eq!(hll.raise(&mut registers), Ok(()));
        assert!(registers == *model, "seed {seed}");
        assert_eq!(hll.count(), Ok(count_of(model)), "seed {seed}");
        assert!(Hll::of(hll.bytes()).is_some());
        assert_eq!(hll.make_dense(), Ok(()));
    }
}

#[test]
fn broken_bytes_are_noticed_or_read_as_registers() {
    let mut prng = Prng::seeded(1);
    for _ in 0..3000 {
        let mut hll = Hll::new();
        for _ in 0..prng.below(40) {
            hll.add(&prng.next_u64().to_le_bytes(), 3000).expect("not broken yet");
        }
        let mut bytes = hll.bytes().to_vec();
        for _ in 0..1 + prng.below(5) {
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] = prng.next_u64() as u8;
        }
        bytes.truncate(bytes.len() - prng.below(3) as usize);
        let Some(mut hll) = Hll::of(&bytes) else { continue };
        let is_whole = hll.count().is_ok();
        assert_eq!(hll.raise(&mut [0; REGISTERS]).is_ok(), is_whole);
        let _ = hll.add(&prng.next_u64().to_le_bytes(), 100);
        let _ = hll.make_dense();
    }
}

#[test]
fn the_estimate_stays_within_its_error() {
    let (mut hll, mut prng) = (Hll::new(), Prng::seeded(3));
    let mut added = 0;
    for goal in [10, 100, 1000, 10_000, 100_000] {
        while added < goal {
            hll.add(&prng.next_u64().to_le_bytes(), 3000).expect("not broken");
            added += 1;
        }
        let count = hll.count().expect("not broken") as f64;
        // Six times the standard error, 1.04 / √16384.
        assert!((count - goal as f64).abs() <= (goal as f64 * 6.0 * 1.04 / 128.0).ceil(), "{count} of {goal}");
    }
    assert!(!hll.is_sparse());
}
