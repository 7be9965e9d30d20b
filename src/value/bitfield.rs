//! Integers of 1 to 64 bits at any bit offset of a string: what BITFIELD reads, writes and increments.
//!
//! A field of 64 bits can touch nine bytes. They are taken together as one 72-bit number in a `u128`, so that reading and
//! writing are a shift and a mask, whatever the alignment.

#![forbid(unsafe_code)]

/// Where a field lies and how its bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Of its most significant bit.
    pub offset: u64,
    /// 1..=64, or 1..=63 if unsigned.
    pub bits: u32,
    pub signed: bool,
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Keep the low bits.
    #[default]
    Wrap,
    /// Keep the nearest number that fits.
    Saturate,
    /// Change nothing.
    Fail,
}

const WINDOW: usize = 9;

impl Field {
    /// Index of the field's last bit.
    pub fn last_bit(self) -> u64 {
        self.offset + self.bits as u64 - 1
    }
    fn start(self) -> usize {
        (self.offset >> 3) as usize
    }
    /// Distance of the field's last bit from the end of its window.
    fn shift(self) -> u32 {
        (WINDOW as u32 * 8) - (self.offset & 7) as u32 - self.bits
    }
    fn mask(self) -> u128 {
        (1u128 << self.bits) - 1
    }
    /// The number in the field; what lies behind the end of `bytes` is zero.
    pub fn read(self, bytes: &[u8]) -> i64 {
        self.number(window(bytes, self.start()) >> self.shift() & self.mask())
    }
    /// Writes the low bits of `number`. The field must lie within `bytes`.
    pub fn write(self, bytes: &mut [u8], number: i64) {
        let cleared = window(bytes, self.start()) & !(self.mask() << self.shift());
        let filled = cleared | (number as u64 as u128 & self.mask()) << self.shift();
        let image = &filled.to_be_bytes()[16 - WINDOW..];
        let room = &mut bytes[self.start()..];
        let len = room.len().min(WINDOW);
        room[..len].copy_from_slice(&image[..len]);
    }
    /// Sign extension of the field's raw bits.
    fn number(self, raw: u128) -> i64 {
        let unused = 64 - self.bits;
        if self.signed { (raw as u64 as i64) << unused >> unused } else { raw as u64 as i64 }
    }
    /// `number + increment` made to fit; None if it does not fit and the rule is `Fail`.
    ///
    /// SET passes its new number with an increment of 0, so `number` itself may be out of range.
    pub fn fit(self, number: i64, increment: i64, rule: Overflow) -> Option<i64> {
        let exceeded =
            if self.signed { self.signed_limit(number, increment) } else { self.unsigned_limit(number, increment) };
        match (exceeded, rule) {
            (None, _) => Some(number.wrapping_add(increment)),
            (Some(_), Overflow::Wrap) => Some(self.number(number.wrapping_add(increment) as u64 as u128 & self.mask())),
            (Some(limit), Overflow::Saturate) => Some(limit),
            (Some(_), Overflow::Fail) => None,
        }
    }
    /// The limit that `number + increment` exceeds, if it does.
    ///
    /// The distances wrap around on purpose: for a SET of a number below the field's least one by more than 2^63 Redis
    /// then takes the upper limit, and so do we.
    fn signed_limit(self, number: i64, increment: i64) -> Option<i64> {
        let max = i64::MAX >> (64 - self.bits);
        let min = -max - 1;
        let (up, down) = (max.wrapping_sub(number), min.wrapping_sub(number));
        let narrow = self.bits != 64;
        if number > max || (narrow || number >= 0 && increment > 0) && increment > up {
            Some(max)
        } else if number < min || (narrow || number < 0 && increment < 0) && increment < down {
            Some(min)
        } else {
            None
        }
    }
    fn unsigned_limit(self, number: i64, increment: i64) -> Option<i64> {
        let max = i64::MAX >> (63 - self.bits);
        if number as u64 > max as u64 || increment > max - number {
            Some(max)
        } else {
            (increment < -number).then_some(0)
        }
    }
}

/// Nine bytes from `start`, zero-padded, as one big-endian number.
fn window(bytes: &[u8], start: usize) -> u128 {
    let mut image = [0u8; 16];
    let part = bytes.get(start..).unwrap_or(&[]);
    let len = part.len().min(WINDOW);
    image[16 - WINDOW..][..len].copy_from_slice(&part[..len]);
    u128::from_be_bytes(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::value::bits;

    #[test]
    fn what_is_written_is_read_and_nothing_around_it_changes() {
        let mut prng = Prng::seeded(3);
        for _ in 0..20_000 {
            let signed = prng.below(2) == 0;
            let bits = 1 + prng.below(if signed { 64 } else { 63 }) as u32;
            let offset = prng.below(40 * 8 - bits as u64);
            let field = Field { offset, bits, signed };
            let mut bytes: Vec<u8> = (0..40).map(|_| prng.below(256) as u8).collect();
            let before = bytes.clone();
            let number = field.number(prng.next_u64() as u128 & field.mask());
            field.write(&mut bytes, number);
            assert_eq!(field.read(&bytes), number);
            for at in (0..320).filter(|&at| at < offset || at > field.last_bit()) {
                assert_eq!(bits::get(&bytes, at), bits::get(&before, at));
            }
        }
    }

    #[test]
    fn fields_behind_the_end_read_as_zero_bits() {
        let field = |offset, bits| Field { offset, bits, signed: false };
        assert_eq!(field(4, 8).read(&[0xff]), 0xf0);
        assert_eq!(field(800, 63).read(&[0xff]), 0);
    }

    #[test]
    fn overflow_wraps_saturates_or_fails() {
        let i8 = Field { offset: 0, bits: 8, signed: true };
        let u8 = Field { offset: 0, bits: 8, signed: false };
        let i64 = Field { offset: 0, bits: 64, signed: true };
        assert_eq!(i8.fit(100, 50, Overflow::Wrap), Some(-106));
        assert_eq!(i8.fit(100, 50, Overflow::Saturate), Some(127));
        assert_eq!(i8.fit(-100, -50, Overflow::Saturate), Some(-128));
        assert_eq!(i8.fit(100, 50, Overflow::Fail), None);
        assert_eq!(u8.fit(250, 10, Overflow::Wrap), Some(4));
        assert_eq!(u8.fit(5, -10, Overflow::Wrap), Some(251));
        assert_eq!(u8.fit(5, -10, Overflow::Saturate), Some(0));
        assert_eq!(u8.fit(-1, 0, Overflow::Saturate), Some(255));
        assert_eq!(i64.fit(i64::MAX, 1, Overflow::Wrap), Some(i64::MIN));
        assert_eq!(i64.fit(i64::MIN, -1, Overflow::Saturate), Some(i64::MIN));
        assert_eq!(i64.fit(i64::MIN, i64::MAX, Overflow::Fail), Some(-1));
        // Far below the range: Redis's arithmetic wraps around and reports the upper limit.
        assert_eq!(i8.fit(i64::MIN, 0, Overflow::Saturate), Some(127));
    }
}
