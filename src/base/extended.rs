//! `Extended`: the 80-bit float of x87, in integer arithmetic. INCRBYFLOAT's sums must print as Redis prints them, and
//! Redis computes with C's `long double`.
//!
//! Shape:  ± mant × 2^exp, mant 64 bits with its top bit set (smaller only for denormals at the least exponent), or ±inf
//!
//! Reading and adding round to nearest, ties to even, from the exact value; printing has 17 decimals, rounded the same way
//! from the exact binary value, then trailing zeros cut. Short decimals and everyday magnitudes stay in u128; the rest
//! goes through a small big integer.

use super::num::split_sign;

/// The exponent of the least denormal, and the greatest one of a finite value.
const EXP_MIN: i32 = -16445;
const EXP_MAX: i32 = 16320;
/// Longer texts are no number for Redis (MAX_LONG_DOUBLE_CHARS), nor does it print longer ones.
const TEXT_LEN_MAX: usize = 5 * 1024;

/// See the module header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    infinite: bool,
    mant: u64,
    exp: i32,
}

impl Extended {
    const ZERO: Extended = Extended { negative: false, infinite: false, mant: 0, exp: EXP_MIN };

    /// A float in C's grammar (decimal, `0x` hexadecimal, `inf`, `infinity`), rounded; None for anything else, for `nan`,
    /// and for what overflows or vanishes. Source: Redis `string2ld`.
    pub fn parse(text: &[u8]) -> Option<Extended> {
        if text.len() >= TEXT_LEN_MAX {
            return None;
        }
        let (negative, text) = split_sign(text);
        if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
            return Some(Extended { negative, infinite: true, ..Self::ZERO });
        }
        let magnitude = match text {
            [b'0', b'x' | b'X', digits @ ..] => parse_hex(digits)?,
            _ => parse_decimal(text)?,
        };
        Some(Extended { negative, ..magnitude })
    }
    /// `value` exactly.
    pub fn from_i64(value: i64) -> Extended {
        Extended { negative: value < 0, ..round(value.unsigned_abs() as u128, 0, false) }
    }
    pub fn is_infinite(self) -> bool {
        self.infinite
    }
    pub fn is_zero(self) -> bool {
        self.mant == 0 && !self.infinite
    }
    /// The nearest double.
    pub fn to_f64(self) -> f64 {
        let magnitude = if self.infinite {
            f64::INFINITY
        } else if self.mant == 0 {
            0.0
        } else {
            // Denormal doubles have fewer bits: round once, here, to as many as there will be.
            let top = self.exp + 63 - self.mant.leading_zeros() as i32;
            let drop = (top - 52).max(-1074) - self.exp;
            let (mant, exp) = if drop > 0 {
                (shift_even(self.mant as u128, drop as u32, false) as u64, self.exp + drop)
            } else {
                (self.mant, self.exp)
            };
            scale(mant as f64, exp)
        };
        if self.negative { -magnitude } else { magnitude }
    }
    /// The text of INCRBYFLOAT's result: 17 decimals at most, no exponent, no trailing zeros, no `-0`; None if infinite or
    /// longer than Redis's buffer. Source: Redis `ld2string`, human mode.
    pub fn human_text(self) -> Option<String> {
        if self.infinite {
            return None;
        }
        let mut text = if self.negative { "-".to_string() } else { String::new() };
        if self.exp > 0 && self.mant != 0 {
            text.push_str(&Big::from(self.mant as u128).shifted(self.exp as u32).to_decimal());
        } else {
            const SCALE: u128 = 10u128.pow(17);
            let scaled = shift_even(self.mant as u128 * SCALE, self.exp.unsigned_abs(), false);
            text.push_str(&(scaled / SCALE).to_string());
            let fraction = format!(".{:017}", scaled % SCALE);
            text.push_str(fraction.trim_end_matches('0').trim_end_matches('.'));
        }
        if text == "-0" {
            text.remove(0);
        }
        (text.len() + 18 < TEXT_LEN_MAX).then_some(text)
    }
}

impl std::ops::Add for Extended {
    type Output = Extended;
    /// The sum, rounded. Infinite if either is, whatever the signs: no caller tells inf − inf from inf.
    fn add(self, other: Extended) -> Extended {
        if self.infinite || other.infinite {
            return if self.infinite { self } else { other };
        }
        let (big, small) = if (self.exp, self.mant) >= (other.exp, other.mant) { (self, other) } else { (other, self) };
        // 62 guard bits: what is shifted out below them decides only whether the sum is exact.
        let (a, b) = ((big.mant as u128) << 62, (small.mant as u128) << 62);
        let shift = (big.exp as i64 - small.exp as i64).min(127) as u32;
        let (b, lost) = (b >> shift, b & ((1u128 << shift) - 1) != 0);
        let same_sign = big.negative == small.negative;
        let sum = match (same_sign, lost) {
            (true, _) => a + b,
            (false, true) => a - b - 1, // The true difference lies between this and one more.
            (false, false) => a - b,
        };
        if sum == 0 && !lost {
            return Extended { negative: big.negative && small.negative, ..Self::ZERO };
        }
        Extended { negative: big.negative, ..round(sum, big.exp - 62, lost) }
    }
}

/// `value` × 2^exp exactly, for |exp| of a double's range.
fn scale(value: f64, exp: i32) -> f64 {
    // Two steps, so that no power of two on the way leaves the range of normal doubles.
    let half = (exp / 2).clamp(-1000, 1000);
    let rest = (exp - half).clamp(-1074, 1023);
    let power = |exp: i32| {
        if exp < -1022 { f64::from_bits(1 << (exp + 1074)) } else { f64::from_bits(((exp + 1023) as u64) << 52) }
    };
    value * power(half) * power(rest)
}

/// `value` / 2^shift, to nearest, ties to even; `lost` says that something was already cut off below.
fn shift_even(value: u128, shift: u32, lost: bool) -> u128 {
    if shift == 0 {
        return value;
    }
    if shift > 128 {
        return 0;
    }
    let (kept, rest) = if shift == 128 { (0, value) } else { (value >> shift, value & ((1 << shift) - 1)) };
    let half = 1u128 << (shift - 1);
    let up = rest > half || rest == half && (lost || kept & 1 == 1);
    kept + up as u128
}

/// The magnitude (`value` and perhaps a little more, if `lost`) × 2^exp, rounded to 64 bits.
fn round(value: u128, exp: i32, lost: bool) -> Extended {
    if value == 0 {
        return Extended::ZERO;
    }
    let bits = 128 - value.leading_zeros() as i32;
    let drop = (bits - 64).max(EXP_MIN - exp);
    let (mut mant, mut exp) = if drop > 0 {
        (shift_even(value, drop as u32, lost), exp + drop)
    } else {
        let lift = (-drop).min(exp - EXP_MIN); // Up to the top bit, or to the least exponent.
        (value << lift, exp - lift)
    };
    if mant >> 64 != 0 {
        (mant, exp) = (mant >> 1, exp + 1); // Rounding up all ones carried into a 65th bit, and left zeros.
    }
    if exp > EXP_MAX {
        return Extended { infinite: true, ..Extended::ZERO };
    }
    Extended { negative: false, infinite: false, mant: mant as u64, exp }
}

/// Rejects what overflowed or vanished on the way in.
fn in_range(value: Extended, nonzero: bool) -> Option<Extended> {
    (!value.infinite && (value.mant != 0 || !nonzero)).then_some(value)
}

/// Digits with at most one point: significant digits without leading zeros, how many stood behind the point, and the rest
/// of the text. None if there is no digit at all.
fn mantissa(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<(Vec<u8>, i64, &[u8])> {
    let (mut digits, mut behind_point, mut any, mut point) = (Vec::new(), 0, false, false);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        if *byte == b'.' && !point {
            point = true;
        } else if is_digit(byte) {
            any = true;
            behind_point += point as i64;
            if *byte != b'0' || !digits.is_empty() {
                digits.push(*byte);
            }
        } else {
            break;
        }
        at += 1;
    }
    any.then_some((digits, behind_point, &text[at..]))
}

/// The exponent behind `mark`, or 0 at the end of the text. Huge ones are clamped.
fn exponent(text: &[u8], mark: u8) -> Option<i64> {
    let [first, rest @ ..] = text else { return Some(0) };
    let (negative, digits) = split_sign(rest);
    if !first.eq_ignore_ascii_case(&mark) || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, &digit| (value * 10 + (digit - b'0') as i64).min(1_000_000));
    Some(if negative { -value } else { value })
}

fn parse_hex(text: &[u8]) -> Option<Extended> {
    let (digits, behind_point, rest) = mantissa(text, u8::is_ascii_hexdigit)?;
    let exp = exponent(rest, b'p')? - 4 * behind_point;
    let (mut value, mut lost, mut dropped) = (0u128, false, 0i64);
    for digit in &digits {
        let digit = (*digit as char).to_digit(16)? as u128;
        if value >> 120 == 0 {
            value = value << 4 | digit;
        } else {
            lost |= digit != 0;
            dropped += 4;
        }
    }
    let exp = (exp + dropped).clamp(-100_000, 100_000) as i32;
    in_range(round(value, exp, lost), value != 0)
}

fn parse_decimal(text: &[u8]) -> Option<Extended> {
    let (mut digits, behind_point, rest) = mantissa(text, u8::is_ascii_digit)?;
    let mut exp = exponent(rest, b'e')? - behind_point;
    while digits.last() == Some(&b'0') {
        digits.pop();
        exp += 1;
    }
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    let top = digits.len() as i64 + exp;
    if !(-5000..=5000).contains(&top) {
        return None; // Far outside the range of exponents.
    }
    if digits.len() <= 19 && (-27..=0).contains(&exp) {
        let value = digits.iter().fold(0u64, |value, &digit| value * 10 + (digit - b'0') as u64);
        return Some(divide_small(value, -exp as u32));
    }
    let mut number = Big::from(0);
    for chunk in digits.chunks(9) {
        let value = chunk.iter().fold(0u32, |value, &digit| value * 10 + (digit - b'0') as u32);
        number.mul_add(10u32.pow(chunk.len() as u32), value);
    }
    let value = if exp >= 0 {
        number.mul_power_of_ten(exp as u32);
        let (top, exp, lost) = number.top_bits();
        round(top, exp, lost)
    } else {
        let mut divisor = Big::from(1);
        divisor.mul_power_of_ten(-exp as u32);
        divide(number, divisor)
    };
    in_range(value, true)
}

/// `value` / 10^power, rounded, for power ≤ 27: 5^27 fits 64 bits.
fn divide_small(value: u64, power: u32) -> Extended {
    let divisor = 5u64.pow(power);
    let (value_shift, divisor_shift) = (value.leading_zeros(), divisor.leading_zeros());
    // Both with their top bit set and the dividend half: the quotient lies in (2^62, 2^64), one 64-bit word.
    let dividend = ((value << value_shift) as u128) << 63;
    let divisor = (divisor << divisor_shift) as u128;
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    // 64 more bits below, so that rounding sees them.
    let low = (rest << 64) / divisor;
    let exp = divisor_shift as i32 - value_shift as i32 - power as i32 - 63 - 64;
    round(quotient << 64 | low, exp, (rest << 64) % divisor != 0)
}

/// number / divisor, rounded, by binary long division: 66 bits and whether anything is left.
fn divide(number: Big, divisor: Big) -> Extended {
    let shift = divisor.bit_count() as i32 - number.bit_count() as i32;
    let (mut rest, divisor) =
        if shift > 0 { (number.shifted(shift as u32), divisor) } else { (number, divisor.shifted(-shift as u32)) };
    let mut quotient = 0u128;
    for _ in 0..67 {
        let fits = rest.at_least(&divisor);
        quotient = quotient << 1 | fits as u128;
        if fits {
            rest.subtract(&divisor);
        }
        rest.mul_add(2, 0);
    }
    round(quotient, -shift - 66, !rest.is_zero())
}

/// A big natural number, least word first, no zero words at the top.
#[derive(Clone)]
struct Big(Vec<u32>);

impl Big {
    fn from(mut value: u128) -> Big {
        let mut words = Vec::new();
        while value != 0 {
            words.push(value as u32);
            value >>= 32;
        }
        Big(words)
    }
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    /// self × factor + term.
    fn mul_add(&mut self, factor: u32, term: u32) {
        let mut carry = term as u64;
        for word in &mut self.0 {
            carry += *word as u64 * factor as u64;
            *word = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }
    fn mul_power_of_ten(&mut self, power: u32) {
        for _ in 0..power / 9 {
            self.mul_add(1_000_000_000, 0);
        }
        self.mul_add(10u32.pow(power % 9), 0);
    }
    fn shifted(mut self, bits: u32) -> Big {
        if self.is_zero() {
            return self;
        }
        self.mul_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 32) as usize));
        self
    }
    fn bit_count(&self) -> usize {
        self.0.last().map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }
    /// The upper 96 bits or more, the exponent of their last bit, and whether anything lies below.
    fn top_bits(&self) -> (u128, i32, bool) {
        let below = self.0.len().saturating_sub(4);
        let top = self.0[below..].iter().rev().fold(0u128, |top, &word| top << 32 | word as u128);
        (top, below as i32 * 32, self.0[..below].iter().any(|&word| word != 0))
    }
    fn at_least(&self, other: &Big) -> bool {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_ge()
    }
    /// self − other, which is not greater.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let (less, under) = word.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, under_again) = less.overflowing_sub(borrow as u32);
            (*word, borrow) = (less, under || under_again);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
    fn to_decimal(mut self: Big) -> String {
        let mut groups = Vec::new();
        while !self.is_zero() {
            let rest = self.0.iter_mut().rev().fold(0u64, |rest, word| {
                let value = rest << 32 | *word as u64;
                *word = (value / 1_000_000_000) as u32;
                value % 1_000_000_000
            });
            groups.push(rest);
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text.push_str(&format!("{group:09}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn sum(a: &str, b: &str) -> String {
        let (a, b) = (Extended::parse(a.as_bytes()).unwrap(), Extended::parse(b.as_bytes()).unwrap());
        (a + b).human_text().unwrap()
    }

    #[test]
    fn sums_print_as_redis_prints_them() {
        // Results of redis-server 7.0 on x86-64.
        for (a, b, result) in [
            ("10.50", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("3", "1.1", "4.1"),
            ("1e20", "0.5", "100000000000000000000"),
            ("0.00000000000000001", "0.000000000000000004", "0.00000000000000001"),
            ("1e17", "0.1", "100000000000000000.1015625"),
            ("123456789012345678", "0.3", "123456789012345678.296875"),
            ("-0.1", "0.1", "0"),
            ("0x1.8p1", "1e-3", "3.001"),
            ("9223372036854775807", "1.5", "9223372036854775808"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("1e-20", "-0", "0"),
            ("1e25", "-1e10", "9999999999999989999730688"),
            ("3.14159265358979", "2.71828182845904", "5.85987448204883"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("0.1", "1e-19", "0.1"),
        ] {
            assert_eq!(sum(a, b), result, "{a} + {b}");
        }
    }

    #[test]
    fn nothing_but_numbers_is_read() {
        for text in
            ["", " 1", "1 ", "nan", "1e", "e5", ".", "+-1", "1e5000", "1e-5000", "0x", "0xg", "1..2", "0x1p", "infin"]
        {
            assert_eq!(Extended::parse(text.as_bytes()), None, "{text}");
        }
        for text in ["1.", ".5", "+1", "0x.8p-1", "INF", "-infinity", "1E+5", "0e99999", "3.7e-4951", "1.18e4932"] {
            assert!(Extended::parse(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn doubles_survive_the_way_through_80_bits() {
        let mut prng = Prng::seeded(3);
        for _ in 0..20_000 {
            let value = f64::from_bits(prng.next_u64());
            if value.is_finite() {
                let text = format!("{value:.30e}"); // The shortest text may lie so close to a tie that two roundings miss.
                assert_eq!(Extended::parse(text.as_bytes()).unwrap().to_f64(), value, "{text}");
            }
        }
    }

    #[test]
    fn the_short_division_agrees_with_the_long_one() {
        let mut prng = Prng::seeded(4);
        for _ in 0..20_000 {
            let value = prng.next_u64() >> (1 + prng.below(60));
            let power = prng.below(28) as u32;
            if value != 0 {
                let mut divisor = Big::from(1);
                divisor.mul_power_of_ten(power);
                assert_eq!(
                    divide_small(value, power),
                    divide(Big::from(value as u128), divisor),
                    "{value} / 10^{power}"
                );
            }
        }
    }
}
