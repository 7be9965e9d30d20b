//! Numbers as C writes and reads them: `%.Ng`, and `strtod`.

#![forbid(unsafe_code)]

use std::io::Write;

/// Significant digits that are ever asked for.
const PRECISION_MAX: usize = 17;

/// Appends a finite number as `%.*g` does: `precision` significant digits, without zeros at the end, in the style with an
/// exponent if that is below -4 or not below the precision.
pub fn write_general(out: &mut Vec<u8>, number: f64, precision: usize) {
    debug_assert!(number.is_finite() && (1..=PRECISION_MAX).contains(&precision));
    // 10^precision: below it an integer is written in full.
    if number == number.trunc()
        && number.abs() < 10f64.powi(precision as i32)
        && !(number == 0.0 && number.is_sign_negative())
    {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        return;
    }
    // Sign, digit, point, 16 digits, `e-308`.
    let mut text = [0; 32];
    let mut rest = &mut text[..];
    write!(rest, "{:.*e}", precision - 1, number).expect("32 bytes hold 17 digits and an exponent");
    let len = 32 - rest.len();
    place_point(out, &text[..len], precision as i32);
}

/// From `-d.ddde-x` to the shorter style. Rust's digits are those of the exact value, rounded half to even as C's are.
fn place_point(out: &mut Vec<u8>, text: &[u8], precision: i32) {
    let at = text.iter().position(|&byte| byte == b'e').expect("Rust writes an exponent");
    let exponent: i32 =
        std::str::from_utf8(&text[at + 1..]).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
    let (sign, mantissa) = match text[..at].strip_prefix(b"-") {
        Some(mantissa) => (&b"-"[..], mantissa),
        None => (&b""[..], &text[..at]),
    };
    out.extend_from_slice(sign);
    let mut digits = [0; PRECISION_MAX];
    let mut count = 0;
    for &digit in mantissa.iter().filter(|&&byte| byte != b'.') {
        digits[count] = digit;
        count += 1;
    }
    let digits = &digits[..count];
    let significant = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    let digits = &digits[..significant];
    if exponent < -4 || exponent >= precision {
        out.push(digits[0]);
        write_fraction(out, &digits[1..]);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.abs()).expect("memory takes what is written");
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + (-exponent - 1) as usize, b'0');
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        for at in 0..whole {
            out.push(*digits.get(at).unwrap_or(&b'0'));
        }
        write_fraction(out, digits.get(whole..).unwrap_or_default());
    }
}

fn write_fraction(out: &mut Vec<u8>, digits: &[u8]) {
    if !digits.is_empty() {
        out.push(b'.');
        out.extend_from_slice(digits);
    }
}

/// The number at the beginning of `text`, and its length; None if there is none. Decimal, `0x…` with a binary exponent,
/// `inf`, `infinity`, `nan`, `nan(…)`, with a sign, letters of any case. Source: C11 7.22.1.3, without the blanks in front.
pub fn scan(text: &[u8]) -> Option<(f64, usize)> {
    let (negative, start) = match text.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let (value, len) = scan_unsigned(&text[start..])?;
    Some((if negative { -value } else { value }, start + len))
}

fn scan_unsigned(text: &[u8]) -> Option<(f64, usize)> {
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if begins(b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if begins(b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if begins(b"nan") {
        return Some((f64::NAN, 3 + nan_payload_len(&text[3..])));
    }
    let hexadecimal =
        if begins(b"0x") { scan_hexadecimal(&text[2..]).map(|(value, len)| (value, len + 2)) } else { None };
    hexadecimal.or_else(|| scan_decimal(text))
}

/// The length of `(…)` with letters, digits and underscores in it.
fn nan_payload_len(text: &[u8]) -> usize {
    let Some(inside) = text.strip_prefix(b"(") else { return 0 };
    let len = inside.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if inside.get(len) == Some(&b')') { len + 2 } else { 0 }
}

fn digits_len(text: &[u8], is_digit: fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| is_digit(byte)).count()
}

/// The length of digits with a point somewhere; None without a digit.
fn mantissa_len(text: &[u8], is_digit: fn(&u8) -> bool) -> Option<usize> {
    let whole = digits_len(text, is_digit);
    let fraction = match text.get(whole) {
        Some(b'.') => Some(digits_len(&text[whole + 1..], is_digit)),
        _ => None,
    };
    match (whole, fraction) {
        (0, None | Some(0)) => None,
        (whole, None) => Some(whole),
        (whole, Some(fraction)) => Some(whole + 1 + fraction),
    }
}

/// The length of an exponent with this letter; 0 if there is none.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    if text.first().is_none_or(|byte| byte.to_ascii_lowercase() != letter) {
        return 0;
    }
    let sign = matches!(text.get(1), Some(b'+' | b'-')) as usize;
    let digits = digits_len(&text[1 + sign..], u8::is_ascii_digit);
    if digits == 0 { 0 } else { 1 + sign + digits }
}

fn scan_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mantissa = mantissa_len(text, u8::is_ascii_digit)?;
    let len = mantissa + exponent_len(&text[mantissa..], b'e');
    let value = std::str::from_utf8(&text[..len]).ok()?.parse().ok()?;
    Some((value, len))
}

/// What follows `0x`. Digits beyond 64 bits only count as places and as "something is there".
fn scan_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let mantissa = mantissa_len(text, u8::is_ascii_hexdigit)?;
    let exponent = exponent_len(&text[mantissa..], b'p');
    let (mut value, mut power, mut is_fraction, mut is_inexact) = (0u64, 0i64, false, false);
    for &byte in &text[..mantissa] {
        let Some(digit) = (byte as char).to_digit(16) else {
            is_fraction = true;
            continue;
        };
        if value >> 60 == 0 {
            value = value << 4 | digit as u64;
            power -= if is_fraction { 4 } else { 0 };
        } else {
            is_inexact |= digit != 0;
            power += if is_fraction { 0 } else { 4 };
        }
    }
    if exponent > 0 {
        power = power.saturating_add(clamped(&text[mantissa + 1..mantissa + exponent]));
    }
    // The lowest of 64 bits is far below the rounding place: it may say that more follows.
    Some((scaled(value | is_inexact as u64, power), mantissa + exponent))
}

/// A decimal exponent; far out is as good as farther.
fn clamped(text: &[u8]) -> i64 {
    let negative = text.first() == Some(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0i64, |all, &digit| (all * 10 + (digit - b'0') as i64).min(1 << 40));
    if negative { -size } else { size }
}

/// `value · 2^power`, rounded once, half to even.
fn scaled(value: u64, power: i64) -> f64 {
    if value == 0 {
        return 0.0;
    }
    // With the highest bit set: value = 2^63 ≤ value < 2^64.
    let (value, power) = (value << value.leading_zeros(), power - value.leading_zeros() as i64);
    let top = power + 63; // The exponent of the leading bit.
    if top > 1023 {
        return f64::INFINITY;
    }
    // Bits that a double keeps: 53, fewer below its smallest normal exponent.
    let kept = if top >= -1022 { 53 } else { 53 - (-1022 - top) };
    if kept < 0 {
        return 0.0;
    }
    let dropped = 64 - kept as u32;
    let (whole, part, half) = match dropped {
        64 => (0, value, 1u64 << 63),
        dropped => (value >> dropped, value & ((1 << dropped) - 1), 1 << (dropped - 1)),
    };
    let rounded = whole + (part > half || part == half && whole & 1 == 1) as u64;
    // Exact: at most 53 bits, and two steps of powers that a double has.
    let exponent = power + dropped as i64;
    let step = exponent.max(-1022);
    rounded as f64 * power_of_two(step) * power_of_two(exponent - step)
}

/// 2^power for a power within a double's normal range.
fn power_of_two(power: i64) -> f64 {
    let clamped = power.clamp(-1022, 1023);
    let base = f64::from_bits(((clamped + 1023) as u64) << 52);
    if power > clamped { base * 2f64.powi((power - clamped) as i32) } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn general(number: f64, precision: usize) -> String {
        let mut out = Vec::new();
        write_general(&mut out, number, precision);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_c_does() {
        for (number, precision, expected) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (1.0, 14, "1"),
            (0.1, 14, "0.1"),
            (0.1 + 0.2, 17, "0.30000000000000004"),
            (100000000000000.0, 14, "1e+14"),
            (99999999999999.0, 14, "99999999999999"),
            (1e15, 14, "1e+15"),
            (123456789012345680.0, 14, "1.2345678901235e+17"),
            (1e-4, 14, "0.0001"),
            (1e-5, 14, "1e-05"),
            (-1.5e-300, 14, "-1.5e-300"),
            (9.5, 1, "1e+01"),
            (8.5, 1, "8"),
            (1234.5678, 3, "1.23e+03"),
            (1200.0, 3, "1.2e+03"),
            (f64::MAX, 14, "1.7976931348623e+308"),
        ] {
            assert_eq!(general(number, precision), expected, "{number:?} with {precision} digits");
        }
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, value, len) in [
            ("1", 1.0, 1),
            ("-12.5e3x", -12500.0, 7),
            (".5", 0.5, 2),
            ("5.", 5.0, 2),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("0x10", 16.0, 4),
            ("0x", 0.0, 1),
            ("0x.8p1", 1.0, 6),
            ("0x1p-1074", f64::from_bits(1), 9),
            ("0x1p-1075", 0.0, 9),
            ("0x1.8p-1075", f64::from_bits(1), 11),
            ("0x1.fffffffffffff8p1023", f64::INFINITY, 23),
            ("0x1.fffffffffffff7p1023", f64::MAX, 23),
            ("0x1.00000000000008p0", 1.0, 20),
            ("0x1.000000000000080000000001p0", 1.0 + f64::EPSILON, 30),
            ("007", 7.0, 3),
            ("-inf", f64::NEG_INFINITY, 4),
            ("INFINITYx", f64::INFINITY, 8),
            ("infinit", f64::INFINITY, 3),
            ("1e999", f64::INFINITY, 5),
        ] {
            assert_eq!(scan(text.as_bytes()), Some((value, len)), "{text}");
        }
        assert!(scan(b"nan(12_a)").is_some_and(|(value, len)| value.is_nan() && len == 9));
        assert!(scan(b"nan(1").is_some_and(|(value, len)| value.is_nan() && len == 3));
        for text in ["", "-", "+", ".", "e5", "x", "--1"] {
            assert_eq!(scan(text.as_bytes()), None, "{text}");
        }
    }
}
