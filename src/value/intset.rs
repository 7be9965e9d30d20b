//! A set of integers: sorted, in one allocation behind one thin pointer, as wide as the widest needs.
//!
//! ```text
//! [width: 1 byte, 2|4|8][integer][integer] …          little-endian, ascending; no bytes at all if there are none
//! ```
//! An integer that does not fit makes all of them wider, once. As in Redis nothing makes them narrower again.

#![forbid(unsafe_code)]

use super::block::Block;

/// See the module header.
#[derive(Clone, Default)]
pub struct IntSet {
    block: Block,
}

const _: () = assert!(size_of::<Option<IntSet>>() == 8, "thin, and with a niche");

/// The bytes that an integer takes.
#[inline]
fn width_of(value: i64) -> usize {
    match value {
        -0x8000..0x8000 => 2,
        -0x8000_0000..0x8000_0000 => 4,
        _ => 8,
    }
}

/// The first integer of `bytes`, all of which it takes if `width` says so.
#[inline]
fn decode(bytes: &[u8], width: usize) -> i64 {
    match (width, bytes) {
        (2, &[a, b, ..]) => i16::from_le_bytes([a, b]) as i64,
        (4, &[a, b, c, d, ..]) => i32::from_le_bytes([a, b, c, d]) as i64,
        (8, &[a, b, c, d, e, f, g, h, ..]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("an integer is whole"),
    }
}

impl IntSet {
    /// No integers.
    /// Cost: no allocation.
    pub const fn new() -> Self {
        IntSet { block: Block::new() }
    }
    /// Of integers that ascend.
    pub fn of_sorted(values: &[i64]) -> Self {
        let Some((first, last)) = values.first().zip(values.last()) else { return IntSet::new() };
        debug_assert!(values.is_sorted_by(|a, b| a < b));
        let width = width_of(*first).max(width_of(*last));
        let mut bytes = Vec::with_capacity(1 + values.len() * width);
        bytes.push(width as u8);
        values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()[..width]));
        IntSet { block: Block::of(&[&bytes]) }
    }
    /// See `Block::look_ahead`.
    #[inline]
    pub fn look_ahead(&self) -> bool {
        self.block.look_ahead()
    }
    /// Bytes of one integer, and the integers.
    #[inline]
    fn parts(&self) -> (usize, &[u8]) {
        self.block.bytes().split_first().map_or((2, &[]), |(&width, values)| (width as usize, values))
    }
    #[inline]
    pub fn len(&self) -> usize {
        let (width, values) = self.parts();
        values.len() / width
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.block.memory()
    }
    /// The integer at `index`, which must be there.
    #[inline]
    pub fn get(&self, index: usize) -> i64 {
        let (width, values) = self.parts();
        decode(&values[index * width..], width)
    }
    /// Where `value` is, or where it would be.
    #[inline]
    fn search(&self, value: i64) -> Result<usize, usize> {
        let (width, values) = self.parts();
        let (mut low, mut high) = (0, values.len() / width);
        // Most sets are filled in ascending order.
        if high > 0 && decode(&values[(high - 1) * width..], width) < value {
            return Err(high);
        }
        while low < high {
            let middle = low.midpoint(high);
            match decode(&values[middle * width..], width).cmp(&value) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }
    /// True: it was not there.
    /// Cost: what is greater moves.
    pub fn add(&mut self, value: i64) -> bool {
        let (width, _) = self.parts();
        let wanted = width_of(value);
        if self.is_empty() {
            self.block = Block::of(&[&[wanted as u8], &value.to_le_bytes()[..wanted]]);
            return true;
        }
        if wanted > width {
            self.widen(wanted);
        }
        let Err(index) = self.search(value) else { return false };
        let (width, _) = self.parts();
        let at = 1 + index * width;
        self.block.splice(at..at, &[&value.to_le_bytes()[..width]]);
        true
    }
    fn widen(&mut self, width: usize) {
        let mut bytes = Vec::with_capacity(1 + self.len() * width);
        bytes.push(width as u8);
        self.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()[..width]));
        self.block = Block::of(&[&bytes]);
    }
    /// True: it was there.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        self.remove_at(index);
        true
    }
    /// Removes the integer at `index`, which must be there.
    pub fn remove_at(&mut self, index: usize) {
        if self.len() == 1 {
            self.block = Block::new();
            return;
        }
        let (width, _) = self.parts();
        let at = 1 + index * width;
        self.block.splice(at..at + width, &[]);
    }
    /// In ascending order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + DoubleEndedIterator + '_ {
        let (width, values) = self.parts();
        values.chunks_exact(width).map(move |bytes| decode(bytes, width))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeSet;

    #[test]
    fn integers_of_any_width_are_kept_in_order() {
        for seed in 0..40 {
            let (mut prng, mut set, mut model) = (Prng::seeded(seed), IntSet::new(), BTreeSet::new());
            for event in 0..400 {
                let bits = [4, 4, 5, 14, 15, 16, 31, 32, 63][prng.below(if event < 100 { 3 } else { 9 }) as usize];
                let value = (prng.next_u64() as i64) >> (63 - bits);
                match prng.below(4) {
                    0 => assert_eq!(set.remove(value), model.remove(&value), "seed {seed}"),
                    1 => assert_eq!(set.contains(value), model.contains(&value), "seed {seed}"),
                    _ => assert_eq!(set.add(value), model.insert(value), "seed {seed}"),
                }
                assert_eq!(set.len(), model.len());
            }
            assert!(set.iter().eq(model.iter().copied()), "seed {seed}");
            let sorted: Vec<i64> = model.iter().copied().collect();
            assert!(IntSet::of_sorted(&sorted).iter().eq(sorted.iter().copied()));
            sorted.iter().enumerate().for_each(|(index, &value)| assert_eq!(set.get(index), value));
            while !set.is_empty() {
                let index = prng.below(set.len() as u64) as usize;
                assert!(model.remove(&set.get(index)));
                set.remove_at(index);
            }
            assert!(model.is_empty());
        }
    }

    #[test]
    fn integers_take_two_four_or_eight_bytes() {
        for (edge, width) in [(i16::MAX as i64, 2), (i32::MAX as i64, 4), (i64::MAX, 8)] {
            let set = IntSet::of_sorted(&[-edge - 1, edge]);
            assert_eq!(set.block.len(), 1 + 2 * width);
            assert!(set.contains(-edge - 1) && set.contains(edge) && !set.contains(0));
        }
    }
}
