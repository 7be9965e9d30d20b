//! The 80-bit floating point numbers of x86 (`long double` in C): what INCRBYFLOAT adds.
//!
//! Rust has no such type, and with `f64` the 17 decimals that clients see would differ from Redis's. A number is
//! `mantissa · 2^exponent` with the mantissa's top bit set, 64 bits wide. Parsing, adding and printing are exact and round
//! once, to nearest, ties to even, as the x87 and glibc do. The one liberty: numbers below 2^-16382 keep full precision
//! instead of losing it gradually; none of their digits is ever printed.
//!
//! **Source**: C11 7.22.1.3 (`strtold`), `printf("%.17Lf")`; the accepted texts are those of Redis's `string2ld`.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

/// Text of this length and more is refused. Source: Redis, MAX_LONG_DOUBLE_CHARS.
const TEXT_LEN_MAX: usize = 5 * 1024;
/// The largest power of two that a number may hold, and the least below which it is zero.
const POWER_MAX: i64 = 16_383;
const POWER_MIN: i64 = -16_446;
const DECIMALS: usize = 17;

/// A number; its `mantissa` is 0 or has its top bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    Finite(LongDouble),
    /// `inf`, `-infinity`: a valid number that no sum may be.
    Infinite,
}

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble { negative: false, mantissa: 0, exponent: 0 };

    /// The number of an integer; every i64 has one.
    pub fn from_i64(value: i64) -> Self {
        Self::normal(value < 0, value.unsigned_abs(), 0)
    }
    fn normal(negative: bool, mantissa: u64, exponent: i32) -> Self {
        let zeros = mantissa.leading_zeros() % 64;
        LongDouble { negative, mantissa: mantissa << zeros, exponent: exponent - zeros as i32 }
    }
    /// The sum; None if it is too large to be finite.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 || other.mantissa == 0 {
            let rest = if self.mantissa == 0 { other } else { self };
            return Some(LongDouble {
                negative: rest.negative && (rest.mantissa != 0 || self.negative == other.negative),
                ..rest
            });
        }
        let (big, small) = match (self.exponent, self.mantissa).cmp(&(other.exponent, other.mantissa)) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        // 63 bits below the larger mantissa, and one above it for the carry. What the smaller one loses beyond them
        // only matters as "not zero", which its lowest bit keeps.
        let distance = (big.exponent as i64 - small.exponent as i64).min(127) as u32;
        let (upper, lower) = ((big.mantissa as u128) << 63, (small.mantissa as u128) << 63);
        let shifted = lower >> distance;
        let lower = shifted | (shifted << distance != lower) as u128;
        let sum = if big.negative == small.negative { upper + lower } else { upper - lower };
        if sum == 0 {
            return Some(Self::ZERO);
        }
        let spare = 128 - sum.leading_zeros() as i32 - 64;
        let exponent = big.exponent as i64 - 63 + spare as i64;
        if spare <= 0 {
            return Some(Self::normal(big.negative, sum as u64, big.exponent - 63));
        }
        let (kept, cut) = ((sum >> spare) as u64, sum << (128 - spare));
        Self::rounded(big.negative, kept, exponent, cut.cmp(&(1 << 127)))
    }
    /// Rounds up if what was cut off is more than half a unit, or exactly half beside an odd mantissa.
    fn rounded(negative: bool, kept: u64, exponent: i64, half: Ordering) -> Option<Self> {
        let up = half == Ordering::Greater || half == Ordering::Equal && kept & 1 == 1;
        let (mantissa, exponent) = match kept.checked_add(up as u64) {
            Some(mantissa) => (mantissa, exponent),
            None => (1 << 63, exponent + 1),
        };
        (exponent + 63 <= POWER_MAX).then_some(LongDouble { negative, mantissa, exponent: exponent as i32 })
    }

    /// The number that `text` stands for, if it is one: decimal or hexadecimal with fraction and exponent, or infinity;
    /// no spaces, nothing behind it, neither too large nor, unless it is 0, too small.
    pub fn parse(text: &[u8]) -> Option<Parsed> {
        if text.len() >= TEXT_LEN_MAX {
            return None;
        }
        let (negative, body) = match text {
            [b'-', body @ ..] => (true, body),
            [b'+', body @ ..] => (false, body),
            body => (false, body),
        };
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(Parsed::Infinite);
        }
        let number = match body {
            [b'0', b'x' | b'X', digits @ ..] => Numeral::read(digits, 16)?.hexadecimal(negative),
            digits => Numeral::read(digits, 10)?.decimal(negative),
        };
        number.map(Parsed::Finite)
    }

    /// The text with up to 17 decimals, without trailing zeros: how INCRBYFLOAT stores and replies a number.
    pub fn text(self) -> String {
        let (whole, decimals) = self.split();
        let decimals = format!("{decimals:0DECIMALS$}");
        let decimals = decimals.trim_end_matches('0');
        let sign = if self.negative && (whole != "0" || !decimals.is_empty()) { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{decimals}")
    }
    /// The digits before the point, and 17 digits behind it as a number.
    fn split(self) -> (String, u64) {
        if self.exponent >= 0 {
            let mut whole = Big::from(self.mantissa as u128);
            whole.shift_left(self.exponent as usize);
            return (whole.decimal(), 0);
        }
        // The mantissa times 10^17 has fewer than 128 bits; beyond that distance nothing is left.
        let scale = 10u128.pow(DECIMALS as u32);
        let distance = self.exponent.unsigned_abs();
        let scaled = self.mantissa as u128 * scale;
        let rounded = if distance >= 128 {
            0
        } else {
            let (kept, cut) = (scaled >> distance, scaled << (128 - distance));
            let up = cut > 1 << 127 || cut == 1 << 127 && kept & 1 == 1;
            kept + up as u128
        };
        ((rounded / scale).to_string(), (rounded % scale) as u64)
    }
}

/// Digits with the point taken out: `digits · base^shift` (decimal) or `digits · 2^shift` (hexadecimal).
struct Numeral<'t> {
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Numeral<'t> {
    fn read(text: &'t [u8], base: u32) -> Option<Self> {
        let digits = |text: &[u8]| text.iter().take_while(|&&byte| (byte as char).is_digit(base)).count();
        let (whole, rest) = text.split_at(digits(text));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(digits(rest)),
            rest => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match (rest, base) {
            ([], _) => 0,
            ([b'e' | b'E', rest @ ..], 10) | ([b'p' | b'P', rest @ ..], 16) => read_exponent(rest)?,
            _ => return None,
        };
        Some(Numeral { whole, fraction, exponent })
    }
    /// Its significant digits.
    fn digits(&self) -> impl Iterator<Item = u32> + '_ {
        let value = |&byte: &u8| (byte as char).to_digit(16);
        self.whole.iter().chain(self.fraction).filter_map(value).skip_while(|&digit| digit == 0)
    }
    fn decimal(self, negative: bool) -> Option<LongDouble> {
        let mut number = Big::default();
        let mut count = 0;
        for digit in self.digits() {
            number.multiply_add(10, digit);
            count += 1;
        }
        let shift = self.exponent - self.fraction.len() as i64;
        // Decimal powers beyond which the answer is known without computing it.
        match count + shift {
            _ if count == 0 => return Some(LongDouble { negative, ..LongDouble::ZERO }),
            5000.. => return None,
            ..-5000 => return None,
            _ => {}
        }
        let mut exponent = 0;
        let mut inexact = false;
        if shift >= 0 {
            (0..shift).for_each(|_| number.multiply_add(10, 0));
        } else {
            // Room for a quotient of more than 64 bits: 10^k has less than 3.33 k + 1 bits.
            let room =
                (66 + shift.unsigned_abs() as usize * 333 / 100 + 1).saturating_sub(number.bits().saturating_sub(1));
            number.shift_left(room);
            exponent = -(room as i64);
            (0..-shift).for_each(|_| inexact |= number.divide(10) != 0);
        }
        number.round(negative, exponent, inexact)
    }
    fn hexadecimal(self, negative: bool) -> Option<LongDouble> {
        let mut number = Big::default();
        self.digits().for_each(|digit| number.multiply_add(16, digit));
        if number.bits() == 0 {
            return Some(LongDouble { negative, ..LongDouble::ZERO });
        }
        number.round(negative, self.exponent - 4 * self.fraction.len() as i64, false)
    }
}

/// `[+-]digits`, held to a range in which every arithmetic here is far from overflow.
fn read_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let size = digits.iter().fold(0i64, |size, &digit| (size * 10 + (digit - b'0') as i64).min(1 << 40));
    Some(sign * size)
}

/// A natural number of any size, least limb first, without leading zero limbs.
#[derive(Default)]
struct Big(Vec<u32>);

impl From<u128> for Big {
    fn from(value: u128) -> Self {
        let mut big = Big((0..4).map(|limb| (value >> (32 * limb)) as u32).collect());
        big.trim();
        big
    }
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
    fn bits(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }
    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = summand as u64;
        for limb in &mut self.0 {
            let product = *limb as u64 * factor as u64 + carry;
            (*limb, carry) = (product as u32, product >> 32);
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }
    /// Divides in place and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let part = rest << 32 | *limb as u64;
            (*limb, rest) = ((part / divisor as u64) as u32, part % divisor as u64);
        }
        self.trim();
        rest as u32
    }
    fn shift_left(&mut self, count: usize) {
        if self.0.is_empty() {
            return;
        }
        self.multiply_add(1 << (count % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, count / 32));
    }
    fn bit(&self, at: usize) -> bool {
        self.0.get(at / 32).is_some_and(|limb| limb >> (at % 32) & 1 == 1)
    }
    /// Are any of the `count` lowest bits set?
    fn any_below(&self, count: usize) -> bool {
        let whole = count / 32;
        self.0[..whole].iter().any(|&limb| limb != 0) || (whole * 32..count).any(|at| self.bit(at))
    }
    /// `self · 2^exponent`, and a bit more if `inexact`, as a number of 64 bits.
    fn round(&self, negative: bool, exponent: i64, inexact: bool) -> Option<LongDouble> {
        let cut = self.bits().saturating_sub(64);
        let kept = (0..64).rev().fold(0u64, |word, at| word << 1 | self.bit(cut + at) as u64);
        let power = exponent + self.bits() as i64 - 1;
        if !(POWER_MIN..=POWER_MAX).contains(&power) {
            return None;
        }
        if cut == 0 {
            return Some(LongDouble::normal(negative, kept, exponent as i32));
        }
        let half = match (self.bit(cut - 1), self.any_below(cut - 1) || inexact) {
            (true, true) => Ordering::Greater,
            (true, false) => Ordering::Equal,
            (false, _) => Ordering::Less,
        };
        LongDouble::rounded(negative, kept, exponent + cut as i64, half)
    }
    fn decimal(mut self) -> String {
        const CHUNK: u32 = 1_000_000_000;
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            chunks.push(self.divide(CHUNK));
        }
        let Some(top) = chunks.pop() else { return "0".into() };
        chunks.iter().rev().fold(top.to_string(), |text, chunk| format!("{text}{chunk:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> LongDouble {
        match LongDouble::parse(text.as_bytes()) {
            Some(Parsed::Finite(number)) => number,
            other => panic!("{text} is {other:?}"),
        }
    }
    fn sum(a: &str, b: &str) -> String {
        number(a).checked_add(number(b)).map_or("infinite".into(), LongDouble::text)
    }

    #[test]
    fn sums_have_the_decimals_of_a_64_bit_mantissa() {
        assert_eq!(sum("3.0e3", "0.1"), "3000.10000000000000009");
        assert_eq!(sum("3000.10000000000000009", "-3000.1"), "0");
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("5.0e3", "200"), "5200");
        assert_eq!(sum("1", "-1.5"), "-0.5");
        assert_eq!(sum("5000000000000000000", "0x10"), "5000000000000000016");
        assert_eq!(sum("1e-20", "0"), "0");
        assert_eq!(sum("-1e-19", "-0"), "0");
        assert_eq!(sum("1e4932", "1e4932"), "infinite");
        assert_eq!(sum("18446744073709551615", "1"), "18446744073709551616");
        assert_eq!(sum("18446744073709551615", "2"), "18446744073709551616");
    }

    #[test]
    fn texts_that_are_no_number_are_refused() {
        for text in
            ["", " 1", "1 ", "nan", "1e", "1e+", ".", "0x", "0x.", "1x", "--1", "1e5000", "1e-6000", "1\0", "0x1p99999"]
        {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(LongDouble::parse(b"-InFiNiTy"), Some(Parsed::Infinite));
        assert_eq!(LongDouble::parse(&[b'1'; TEXT_LEN_MAX]), None);
    }

    #[test]
    fn every_way_to_write_a_number_is_read() {
        for (text, printed) in [
            ("5.", "5"),
            (".5", "0.5"),
            ("+7", "7"),
            ("0x.8p1", "1"),
            ("0X1fP-1", "15.5"),
            ("1E2", "100"),
            ("-0", "0"),
            ("0e99999999999", "0"),
        ] {
            assert_eq!(number(text).text(), printed, "{text}");
        }
        assert_eq!(LongDouble::from_i64(i64::MIN).text(), "-9223372036854775808");
        assert_eq!(LongDouble::from_i64(0).text(), "0");
    }
}
