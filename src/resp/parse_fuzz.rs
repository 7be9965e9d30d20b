//! Any split of any bytes gives the same requests and the same error as a naive reader of the whole stream.
//!
//! A seed makes a stream (valid requests, odd ones, then some damaged bytes) and a way to cut it. The parser is driven as a
//! connection drives it, large bulks included; the model reads the whole stream at once, by the book and with copies.

#![forbid(unsafe_code)]

use super::args::{Arg, Args, Parts};
use super::parse::{LINE_LEN_MAX, Limits, Parser, ProtocolError, Step};
use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::base::words::split_owned;

/// What a stream of bytes means: the requests in it, and the error that ends it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meaning {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
}

const BULK_LEN_MAX: u64 = 200_000;

/// Runs `streams` streams derived from `seed`; panics on a difference.
pub fn run(seed: u64, streams: u32) {
    for round in 0..streams {
        let mut prng = Prng::seeded(seed.wrapping_add(round as u64));
        let stream = make_stream(&mut prng);
        let authenticated = prng.chance(3, 4);
        let expected = model(&stream, authenticated);
        for cut in [1, 7, 4096, 40_000] {
            let cut = if stream.len() > 20_000 { cut.max(500) } else { cut };
            let got = drive(&stream, authenticated, cut, &mut prng);
            assert!(got == expected, "parse: seed {} cut {cut}: {}", seed.wrapping_add(round as u64), explain(&stream));
        }
    }
}

fn explain(stream: &[u8]) -> String {
    stream[..stream.len().min(400)].escape_ascii().to_string()
}

/// Feeds `stream` in pieces of 1..=`cut` bytes, the way a connection does.
fn drive(stream: &[u8], authenticated: bool, cut: usize, prng: &mut Prng) -> Meaning {
    let limits = Limits::new(BULK_LEN_MAX, authenticated);
    let (mut parser, mut input, mut items, mut meaning) =
        (Parser::default(), Vec::new(), Vec::new(), Meaning::default());
    let mut rest = stream;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + prng.below(cut as u64) as usize));
        rest = behind;
        input.extend_from_slice(&piece[parser.fill(piece)..]);
        if let Err(error) = consume(&mut parser, &mut input, &limits, &mut items, &mut meaning) {
            meaning.error = Some(error);
            break;
        }
    }
    meaning
}

/// Takes every request that `input` completes.
fn consume(
    parser: &mut Parser,
    input: &mut Vec<u8>,
    limits: &Limits,
    items: &mut Vec<Arg>,
    meaning: &mut Meaning,
) -> Result<(), ProtocolError> {
    while !input.is_empty() || !parser.is_filling() {
        items.truncate(3); // Leftovers of other requests must not matter.
        let base = items.len();
        match parser.next(input, limits, items)? {
            Step::Command { consumed, item_count } => {
                assert_eq!(items.len() - base, item_count, "the count tells what was appended");
                let mut large = Vec::new();
                parser.take_large(&mut large);
                let args = Parts { buf: &input[..consumed], items: &items[base..], large: &large };
                meaning.requests.push(Args::of(&args).iter_from(0).map(<[u8]>::to_vec).collect());
                input.drain(..consumed);
            }
            step => {
                assert_eq!(items.len(), base, "only a command appends items");
                match step {
                    Step::Skip { consumed } => drop(input.drain(..consumed)),
                    Step::Large { keep } => input.truncate(keep),
                    _ => break,
                }
            }
        }
        assert!(parser.held_len() < 4 * BULK_LEN_MAX as usize * 4, "memory follows what arrived");
    }
    Ok(())
}

/// The naive reader.
fn model(stream: &[u8], authenticated: bool) -> Meaning {
    let mut meaning = Meaning::default();
    let mut rest = stream;
    while !rest.is_empty() {
        match model_request(rest, authenticated) {
            Ok(Some((request, consumed))) => {
                if !request.is_empty() {
                    meaning.requests.push(request);
                }
                rest = &rest[consumed..];
            }
            Ok(None) => break,
            Err(error) => {
                meaning.error = Some(error);
                break;
            }
        }
    }
    meaning
}

type Request = (Vec<Vec<u8>>, usize);

fn model_request(stream: &[u8], authenticated: bool) -> Result<Option<Request>, ProtocolError> {
    if stream[0] != b'*' {
        let Some(end) = model_line(stream, b'\n', ProtocolError::InlineTooLong)? else { return Ok(None) };
        let line = stream[..end].strip_suffix(b"\r").unwrap_or(&stream[..end]);
        return match split_owned(line) {
            Ok(words) => Ok(Some((words, end + 1))),
            Err(_) => Err(ProtocolError::UnbalancedQuotes),
        };
    }
    let Some(end) = model_line(stream, b'\r', ProtocolError::CountLineTooLong)? else { return Ok(None) };
    if stream.len() < end + 2 {
        return Ok(None);
    }
    let count = parse_i64(&stream[1..end]).filter(|&n| n <= i32::MAX as i64).ok_or(ProtocolError::InvalidCount)?;
    if count > 10 && !authenticated {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    let (mut at, mut request) = (end + 2, Vec::new());
    for _ in 0..count {
        let rest = &stream[at..];
        let Some(end) = model_line(rest, b'\r', ProtocolError::LenLineTooLong)? else { return Ok(None) };
        if rest.len() < end + 2 {
            return Ok(None);
        }
        if rest[0] != b'$' {
            return Err(ProtocolError::ExpectedBulk(rest[0]));
        }
        let len = parse_i64(&rest[1..end]).filter(|len| (0..=BULK_LEN_MAX as i64).contains(len));
        let len = len.ok_or(ProtocolError::InvalidLen)? as usize;
        if len > 16384 && !authenticated {
            return Err(ProtocolError::UnauthenticatedLen);
        }
        let Some(bulk) = rest.get(end + 2..end + 2 + len) else { return Ok(None) };
        if rest.len() < end + len + 4 {
            return Ok(None);
        }
        request.push(bulk.to_vec());
        at += end + len + 4;
    }
    Ok(Some((request, at)))
}

/// Where the first line of `stream` ends with `mark`, no NUL before it.
fn model_line(stream: &[u8], mark: u8, too_long: ProtocolError) -> Result<Option<usize>, ProtocolError> {
    let visible = stream.split(|&byte| byte == 0).next().unwrap_or(&[]);
    match visible.iter().position(|&byte| byte == mark) {
        Some(at) if at <= LINE_LEN_MAX => Ok(Some(at)),
        Some(_) => Err(too_long),
        None if stream.len() > LINE_LEN_MAX => Err(too_long),
        None => Ok(None),
    }
}

fn make_stream(prng: &mut Prng) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..1 + prng.below(12) {
        match prng.below(16) {
            0 => stream.extend(b"\r\n"),
            1 => stream.extend(format!("*{}\r\n", [0, -1, -7][prng.below(3) as usize]).bytes()),
            2..=4 => make_inline(prng, &mut stream),
            _ => make_multibulk(prng, &mut stream),
        }
    }
    match prng.below(12) {
        0..=3 => {
            for _ in 0..1 + prng.below(3) {
                let at = prng.below(stream.len() as u64) as usize;
                stream[at] = *pick(prng, b"\0\r\n$*-0 9x\"'\\\xff");
            }
        }
        4 => drop(stream.remove(prng.below(stream.len() as u64) as usize)),
        5 => make_long_line(prng, &mut stream),
        6 => stream.extend(
            pick(
                prng,
                &["*01\r\n", "*1\r\n$04\r\nPING\r\n", "*1\r\n$+1\r\nx\r\n", "*1\r\n$-0\r\n", "*1\r\n$00\r\n\r\n"],
            )
            .bytes(),
        ),
        _ => {}
    }
    stream
}

/// A line about as long as a line may be.
fn make_long_line(prng: &mut Prng, stream: &mut Vec<u8>) {
    if prng.chance(1, 2) {
        stream.clear();
    }
    let starts =
        ["*", "*1\r\n$", "", "", "*2\r\n$1\r\nx\r\n$", "*3\r\nabc\r\n", "*1\r\n$200001\r\n", "*2147483648\r\n"];
    stream.extend(pick(prng, &starts).bytes());
    stream.extend(std::iter::repeat_n(*pick(prng, b"19a\0"), LINE_LEN_MAX - 2 + prng.below(6) as usize));
    stream.extend(pick(prng, &["\r\n", "\n"]).bytes());
}

fn pick<'a, T>(prng: &mut Prng, from: &'a [T]) -> &'a T {
    &from[prng.below(from.len() as u64) as usize]
}

fn make_inline(prng: &mut Prng, stream: &mut Vec<u8>) {
    for _ in 0..prng.below(4) {
        stream
            .extend(pick(prng, &["get", "k", "\"a b\"", "'q\\'s'", "\"\\x41\\n\"", "\t", "a\"b\"", "\"x\"y"]).bytes());
        stream.extend(pick(prng, &[" ", "  ", "\t", ""]).bytes());
    }
    stream.extend(pick(prng, &["\r\n", "\n"]).bytes());
}

fn make_multibulk(prng: &mut Prng, stream: &mut Vec<u8>) {
    let count = if prng.chance(1, 8) { prng.below(60) } else { 1 + prng.below(5) };
    stream.extend(format!("*{count}\r\n").bytes());
    for _ in 0..count {
        let len = match prng.below(60) {
            0 => 16380 + prng.below(10),
            1 if count < 6 => 32760 + prng.below(100_000),
            2..=9 => prng.below(2000),
            _ => prng.below(20),
        };
        stream.extend(format!("${len}\r\n").bytes());
        stream.extend((0..len).map(|_| prng.next_u64() as u8));
        stream.extend(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_split_of_any_bytes_gives_the_same_requests() {
        super::run(1, 2000);
    }
}
