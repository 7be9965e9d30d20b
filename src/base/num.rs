//! Integer and float text, exactly as the protocol accepts and prints it.
//!
//! Redis has one strict integer form for everything that a client sends as a number (`parse_i64`), a lax one where the C
//! library does the reading (`parse_u64_lax`: cursors, stream ids), and floats in C's grammar, hexadecimal included.
//! INCRBYFLOAT computes in 80 bits: see value/long_double.rs.

#![forbid(unsafe_code)]

/// Longest text of an i64: `-9223372036854775808`.
pub const INT_TEXT_LEN_MAX: usize = 20;

/// A signed 64-bit integer in canonical decimal form: optional `-`, no leading zeros, no spaces, no `-0`.
/// Source: Redis `string2ll`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + digit as u64; // 19 digits cannot overflow u64.
    }
    if negative { (value <= 1 << 63).then(|| (value as i64).wrapping_neg()) } else { i64::try_from(value).ok() }
}

/// An unsigned 64-bit integer as C's `strtoull` reads it: leading blanks, `+` and zeros are fine, and a `-` behind blanks
/// wraps around; but a canonical negative number is refused. Source: Redis `string2ull`.
pub fn parse_u64_lax(text: &[u8]) -> Option<u64> {
    if let Some(value) = parse_i64(text) {
        return u64::try_from(value).ok();
    }
    let text = skip_space(text);
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.is_ascii_digit().then(|| (byte - b'0') as u64)?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

/// A double in C's grammar: decimal or `0x` hexadecimal, `inf`, `infinity`; no blanks, no `nan`, nothing that overflows or
/// vanishes. Source: Redis `string2d`.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let (negative, magnitude) = split_sign(text);
    if let [b'0', b'x' | b'X', digits @ ..] = magnitude {
        let value = parse_hex(digits)?;
        return Some(if negative { -value } else { value });
    }
    let value: f64 = std::str::from_utf8(magnitude).ok()?.parse().ok()?;
    let named = magnitude.first().is_some_and(u8::is_ascii_alphabetic);
    let mantissa = magnitude.split(|byte| byte.eq_ignore_ascii_case(&b'e')).next().unwrap_or(&[]);
    let vanished = value == 0.0 && mantissa.iter().any(|byte| (b'1'..=b'9').contains(byte));
    let double_sign = magnitude.first().is_some_and(|byte| matches!(byte, b'+' | b'-'));
    if value.is_nan() || value.is_infinite() && !named || vanished || double_sign {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// The hexadecimal float behind `0x`: digits with at most one point, then perhaps `p` and a power of two.
fn parse_hex(text: &[u8]) -> Option<f64> {
    let (digits, power) = match text.iter().position(|byte| matches!(byte, b'p' | b'P')) {
        Some(at) => (&text[..at], parse_power(&text[at + 1..])?),
        None => (text, 0),
    };
    let point = digits.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = point.map_or((digits, &[][..]), |at| (&digits[..at], &digits[at + 1..]));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut mantissa, mut power) = (0u64, power - 4 * fraction.len() as i64);
    for &byte in whole.iter().chain(fraction) {
        let digit = (byte as char).to_digit(16)? as u64;
        if mantissa >> 56 == 0 {
            mantissa = mantissa << 4 | digit;
        } else {
            mantissa |= (digit != 0) as u64; // Below what rounding sees, only "not zero" counts.
            power += 4;
        }
    }
    let mut value = mantissa as f64;
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        power -= step;
    }
    (value.is_finite() && (value != 0.0 || mantissa == 0)).then_some(value)
}

/// A decimal exponent; huge ones are clamped.
fn parse_power(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let power = digits.iter().fold(0, |power: i64, &digit| (power * 10 + (digit - b'0') as i64).min(1 << 40));
    Some(if negative { -power } else { power })
}

/// A double as a reply shows it: `inf`, `-inf`, `nan`, an integer without a point, else the shortest text that reads back
/// equal, `1e+20` style where that is shorter. Source: Redis 7.2 `d2string`.
pub fn f64_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    // 2^62: Redis prints through an integer up to here, beyond by digits and exponent.
    if value.abs() <= (1u64 << 62) as f64 && value == value.trunc() {
        return (value as i64).to_string();
    }
    let (digits, exponent) = shortest_digits(value.abs());
    let mut text = if value < 0.0 { "-".to_string() } else { String::new() };
    place_point(&digits, exponent, &mut text);
    text
}

/// A double with 17 significant digits, zeros at the end left out: what ZSCAN shows of a table.
/// Source: C's `%.17Lg`; Redis, `ld2string` with LD_STR_AUTO.
pub fn f64_text_17(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return f64_text(value);
    }
    let scientific = format!("{value:.16e}");
    let Some((mantissa, power)) = scientific.split_once('e') else { return scientific };
    let (power, digits): (i32, String) = (power.parse().unwrap_or(0), mantissa.replace(['.', '-'], ""));
    let digits = digits.trim_end_matches('0');
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let text = match power {
        -4..0 => format!("0.{}{digits}", "0".repeat(-power as usize - 1)),
        0..17 if rest.len() <= power as usize => format!("{digits}{}", "0".repeat(power as usize - rest.len())),
        0..17 => format!("{}.{}", &digits[..=power as usize], &digits[power as usize + 1..]),
        _ => format!("{first}{point}{rest}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs()),
    };
    if value < 0.0 { format!("-{text}") } else { text }
}

/// The shortest decimal digits of a positive double, and the power of ten of the last one.
fn shortest_digits(value: f64) -> (String, i32) {
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let exponent = exponent.parse::<i32>().unwrap_or(0) - fraction.len() as i32;
    let trimmed = digits.trim_end_matches('0');
    (trimmed.trim_start_matches('0').to_string(), exponent + (digits.len() - trimmed.len()) as i32)
}

/// Writes digits × 10^exponent in the form that Redis's printer chooses: plain, with a point, or scientific.
fn place_point(digits: &str, exponent: i32, text: &mut String) {
    let count = digits.len() as i32;
    let top = exponent + count - 1;
    if exponent >= 0 && top < count + 7 {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', exponent as usize));
    } else if exponent < 0 && (exponent > -7 || top.abs() < 4) {
        let whole = count + exponent;
        if whole > 0 {
            text.push_str(&digits[..whole as usize]);
            text.push('.');
            text.push_str(&digits[whole as usize..]);
        } else {
            text.push_str("0.");
            text.extend(std::iter::repeat_n('0', -whole as usize));
            text.push_str(digits);
        }
    } else {
        text.push_str(&digits[..1]);
        if count > 1 {
            text.push('.');
            text.push_str(&digits[1..]);
        }
        text.push_str(if top < 0 { "e-" } else { "e+" });
        text.push_str(&top.unsigned_abs().to_string());
    }
}

/// A size with its unit: `512mb`, `1k`, `100`. Powers of 1000 without `b`, of 1024 with it. More than fits is
/// as much as fits. Source: Redis `memtoull` (where a product that is too large comes out as some other number).
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    if digits == 0 {
        return Some(0); // Redis's `memtoull` reads a number that is not there as zero.
    }
    // Digits alone fail only by being too many.
    let number: u64 = std::str::from_utf8(&text[..digits]).ok()?.parse().unwrap_or(u64::MAX);
    Some(number.saturating_mul(unit))
}

/// Splits an optional sign off: true for `-`.
fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    let count = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    &text[count..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_integers_are_canonical() {
        for (text, value) in
            [("0", 0), ("7", 7), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(parse_i64(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1.0", "9223372036854775808", "-9223372036854775809", "1x"]
        {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"99999999999999999999"), None);
    }

    #[test]
    fn lax_integers_are_those_of_strtoull() {
        for (text, value) in [("18446744073709551615", u64::MAX), ("+5", 5), (" 5", 5), ("007", 7), (" -1", u64::MAX)] {
            assert_eq!(parse_u64_lax(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", "-1", "18446744073709551616", "5 ", "x", "+"] {
            assert_eq!(parse_u64_lax(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_are_read_in_the_grammar_of_c() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5e3", -1500.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("+2", 2.0),
            ("0x10", 16.0),
            ("-0x1.8p1", -3.0),
            ("0x.fffffffffffffffffp-10", 0.0009765625),
            ("0x0p99999999999", 0.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("5e-324", 5e-324),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", " 1", "1 ", "nan", "1e999", "1e-999", "+-1", "--1", "0x", "1e", "1_0", "infi", ".", "0x1p9999"]
        {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn seventeen_digits_are_those_of_c() {
        for (value, text) in [
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (-3.0, "-3"),
            (1e300, "1.0000000000000001e+300"),
            (1e17, "1e+17"),
            (1e16, "10000000000000000"),
            (123456.75, "123456.75"),
            (1e-4, "0.0001"),
            (-2.5e-5, "-2.5000000000000001e-05"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::INFINITY, "inf"),
            (-0.0, "-0"),
        ] {
            assert_eq!(f64_text_17(value), text);
        }
    }
    #[test]
    fn doubles_are_printed_as_redis_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.25, "-17.25"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (1.5e-7, "1.5e-7"),
            (0.001234, "0.001234"),
            (0.0001234, "1.234e-4"),
            (1e17, "100000000000000000"),
            (1e18, "1000000000000000000"),
            (1e20, "1e+20"),
            (1.25e100, "1.25e+100"),
            (-2.5e-300, "-2.5e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (123456789.123, "123456789.123"),
        ] {
            assert_eq!(f64_text(value), text);
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, value) in [
            ("100", 100),
            ("1b", 1),
            ("1k", 1000),
            ("1KB", 1024),
            ("512mb", 512 << 20),
            ("2g", 2_000_000_000),
            ("", 0),
            ("mb", 0),
            ("99999999999gb", u64::MAX),
            ("18446744073709551616", u64::MAX),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["-1", "x", "1tb", "1 mb"] {
            assert_eq!(parse_memory(text.as_bytes()), None, "{text}");
        }
    }
}
