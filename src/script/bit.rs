//! `bit`: operations on 32-bit integers, as LuaBitOp does them.
//!
//! A number is taken modulo 2^32, rounded to even where it has a fraction, and results are signed. That conversion is the
//! addition of 2^52 + 2^51, which shifts the integer's low bits to the low end of the double's mantissa.

#![forbid(unsafe_code)]

use super::native::{self, Failure, Native, Outcome, Stack, Stateless, Type, plain};
use mlua::{Lua, Table};

static ROWS: &[Native] = &[
    plain("tobit", tobit),
    plain("tohex", tohex),
    plain("bnot", bnot),
    plain("band", band),
    plain("bor", bor),
    plain("bxor", bxor),
    plain("lshift", lshift),
    plain("rshift", rshift),
    plain("arshift", arshift),
    plain("rol", rol),
    plain("ror", ror),
    plain("bswap", bswap),
];

/// The library's table.
pub fn library(lua: &Lua) -> mlua::Result<Table> {
    native::library::<Stateless>(lua, ROWS, None)
}

/// Argument `at` as bits.
fn bits(stack: &Stack<'_>, at: i32) -> Result<u32, Failure> {
    let bits = bits_of(stack.number(at));
    if bits == 0 && !stack.is_number(at) { Err(stack.wrong_type(at, "number")) } else { Ok(bits) }
}

/// The low 32 bits of the nearest integer.
fn bits_of(number: f64) -> u32 {
    const SHIFT: f64 = 6_755_399_441_055_744.0; // 2^52 + 2^51.
    (number + SHIFT).to_bits() as u32
}

fn done(stack: &mut Stack<'_>, bits: u32) -> Outcome {
    stack.push_number(bits as i32 as f64);
    Ok(1)
}

fn tobit(stack: &mut Stack<'_>) -> Outcome {
    let bits = bits(stack, 1)?;
    done(stack, bits)
}

/// Shape: x [digits]; negative: upper case. At most eight, also for the most negative count, which has no positive
/// counterpart (CVE-2024-31449).
fn tohex(stack: &mut Stack<'_>) -> Outcome {
    let mut rest = bits(stack, 1)?;
    let count = if stack.kind(2) == Type::None { 8 } else { bits(stack, 2)? as i32 };
    let digits = if count < 0 { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    let mut text = [0; 8];
    let len = (count.unsigned_abs() as usize).min(text.len());
    for digit in text[..len].iter_mut().rev() {
        *digit = digits[(rest & 15) as usize];
        rest >>= 4;
    }
    stack.push_bytes(&text[..len]);
    Ok(1)
}

fn bnot(stack: &mut Stack<'_>) -> Outcome {
    let bits = bits(stack, 1)?;
    done(stack, !bits)
}

/// All arguments from the last to the second, joined with the first.
fn fold(stack: &mut Stack<'_>, join: fn(u32, u32) -> u32) -> Outcome {
    let mut all = bits(stack, 1)?;
    for at in (2..=stack.args()).rev() {
        all = join(all, bits(stack, at)?);
    }
    done(stack, all)
}

fn band(stack: &mut Stack<'_>) -> Outcome {
    fold(stack, |a, b| a & b)
}

fn bor(stack: &mut Stack<'_>) -> Outcome {
    fold(stack, |a, b| a | b)
}

fn bxor(stack: &mut Stack<'_>) -> Outcome {
    fold(stack, |a, b| a ^ b)
}

/// Only the low five bits of the distance count.
fn shift(stack: &mut Stack<'_>, shifted: fn(u32, u32) -> u32) -> Outcome {
    let (value, distance) = (bits(stack, 1)?, bits(stack, 2)? & 31);
    done(stack, shifted(value, distance))
}

fn lshift(stack: &mut Stack<'_>) -> Outcome {
    shift(stack, |value, distance| value << distance)
}

fn rshift(stack: &mut Stack<'_>) -> Outcome {
    shift(stack, |value, distance| value >> distance)
}

fn arshift(stack: &mut Stack<'_>) -> Outcome {
    shift(stack, |value, distance| (value as i32 >> distance) as u32)
}

fn rol(stack: &mut Stack<'_>) -> Outcome {
    shift(stack, u32::rotate_left)
}

fn ror(stack: &mut Stack<'_>) -> Outcome {
    shift(stack, u32::rotate_right)
}

fn bswap(stack: &mut Stack<'_>) -> Outcome {
    let bits = bits(stack, 1)?;
    done(stack, bits.swap_bytes())
}
