//! What the fuzz targets do with their input. Shared with `tests/corpora.rs`, which replays the corpora.

use ringdb::admin::acl::file;
use ringdb::admin::acl::selector::{Call, Denial, Key};
use ringdb::admin::acl::user::{Origin, User};
use ringdb::base::glob;
use ringdb::base::num::{f64_text, parse_f64, parse_i64, parse_memory, parse_u64_lax};
use ringdb::cmd::{keyspec, permission, table};
use ringdb::resp::args::{Arg, Args, Parts};
use ringdb::resp::inline::split_owned;
use ringdb::resp::parse::{Limits, Parser, ProtocolError, Step};
use ringdb::value::bitfield::{Field, Overflow};
use ringdb::value::long_double::{LongDouble, Parsed};

const BULK_LEN_MAX: u64 = 100_000;

/// The requests of a stream, and the error that ends it.
#[derive(Debug, Default, PartialEq)]
struct Meaning {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
}

/// A stream means the same however it is cut. The first byte tells whether the client has logged in.
pub fn requests(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else { return };
    let limits = Limits::new(BULK_LEN_MAX, first & 1 == 0);
    let whole = read(stream, &limits, stream.len().max(1));
    for cut in [1, 2, 7, 61, 4096] {
        assert_eq!(read(stream, &limits, cut), whole, "cut into pieces of {cut}");
    }
}

/// Reads `stream` as a connection does, `cut` bytes at a time.
fn read(stream: &[u8], limits: &Limits, cut: usize) -> Meaning {
    let (mut parser, mut input, mut items, mut meaning) =
        (Parser::default(), Vec::new(), Vec::new(), Meaning::default());
    for piece in stream.chunks(cut) {
        input.extend_from_slice(&piece[parser.fill(piece)..]);
        while !input.is_empty() || !parser.is_filling() {
            items.clear();
            match parser.next(&input, limits, &mut items) {
                Ok(Step::Command { consumed, .. }) => {
                    let large = parser.take_large();
                    let args = Parts { buf: &input[..consumed], items: &items, large: &large };
                    meaning.requests.push(Args::of(&args).iter_from(0).map(<[u8]>::to_vec).collect());
                    input.drain(..consumed);
                }
                Ok(Step::Skip { consumed }) => drop(input.drain(..consumed)),
                Ok(Step::Large { keep }) => input.truncate(keep),
                Ok(Step::Incomplete) => break,
                Err(error) => return Meaning { error: Some(error), ..meaning },
            }
        }
    }
    meaning
}

/// A line that was split can be quoted and split again to the same words.
pub fn inline(data: &[u8]) {
    let Ok(words) = split_owned(data) else { return };
    let mut line = Vec::new();
    for word in &words {
        line.extend(b"\"");
        word.iter().for_each(|byte| line.extend(format!("\\x{byte:02x}").bytes()));
        line.extend(b"\" ");
    }
    assert_eq!(split_owned(&line).expect("quotes are balanced"), words);
}

/// Rules, one a line, make a user; the line that describes this user makes one who may do the same. A rule that is refused
/// changes nothing else, and any text can be tried as an ACL file. The first byte tells what selectors begin with.
pub fn acl(data: &[u8]) {
    let Some((&first, text)) = data.split_first() else { return };
    let origin = Origin { catalogue: permission::catalogue(), all_channels: first & 1 == 0 };
    let mut user = User::new(1, b"bob", origin);
    for rule in text.split(|&byte| byte == b'\n') {
        let mut changed = user.clone();
        if changed.apply(rule, origin).is_ok() {
            user = changed;
        }
    }
    let _ = file::parse("file", text, origin, &mut 0); // Faults are welcome, panics are not.
    if user.others().iter().any(|selector| holds_parenthesis(&selector.describe())) {
        return; // Such a pattern cannot be told from the selector's end, in Redis neither.
    }
    let line = user.describe();
    let loaded = file::parse("file", &line, origin, &mut 0).expect("a described user can be read");
    assert_eq!(loaded[0].describe(), line);
    let words: Vec<&[u8]> = text.split(|byte| b"\n~%&|".contains(byte)).take(8).collect();
    for command in (0..origin.catalogue.count() as u16).step_by(5) {
        assert_eq!(denials(&loaded[0], command, &words), denials(&user, command, &words));
    }
}

fn holds_parenthesis(rules: &[u8]) -> bool {
    rules.split(|&byte| byte == b' ').any(|rule| rule.ends_with(b")"))
}

/// What a user is told about a command on each of `words` as a key and as first argument.
fn denials(user: &User, command: u16, words: &[&[u8]]) -> Vec<Option<Denial>> {
    let denial = |word: &&[u8]| {
        let keys = [Key { at: 1, name: word, access: command as u8 & 3 }];
        let first_arg = Some(*word);
        user.check(&Call { command, is_free: false, first_arg, keys: &keys, channels: &[] }).err()
    };
    words.iter().map(denial).collect()
}

/// A pattern and a text, divided by the first NUL: the matcher agrees with one that goes by the book.
pub fn pattern(data: &[u8]) {
    let Some(cut) = data.iter().position(|&byte| byte == 0) else { return };
    let (pattern, text) = (&data[..cut], &data[cut + 1..]);
    // The naive matcher tries every way: short inputs only.
    if pattern.len() > 24 || text.len() > 24 || pattern.iter().filter(|&&byte| byte == b'*').count() > 5 {
        glob::matches(pattern, text);
        glob::matches_nocase(pattern, text);
        return;
    }
    // KEYS and SCAN do not even ask about a lone `*`; no other pattern but the empty one matches nothing at all.
    let may_match = !text.is_empty() || pattern.is_empty() || pattern == b"*";
    for (nocase, got) in [(false, glob::matches(pattern, text)), (true, glob::matches_nocase(pattern, text))] {
        assert_eq!(got, may_match && matches_naively(pattern, text, nocase), "nocase: {nocase}");
    }
}

/// The definition of a pattern, as a recursion.
fn matches_naively(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let same = |a: u8, b: u8| a == b || nocase && a.eq_ignore_ascii_case(&b);
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| matches_naively(rest, &text[taken..], nocase)),
        (_, []) => false,
        ([b'?', rest @ ..], [_, behind @ ..]) => matches_naively(rest, behind, nocase),
        ([b'[', class @ ..], [byte, behind @ ..]) => {
            let (found, rest) = class_has(class, *byte, nocase);
            found && matches_naively(rest, behind, nocase)
        }
        ([b'\\', escaped, rest @ ..], [byte, behind @ ..]) | ([escaped, rest @ ..], [byte, behind @ ..]) => {
            same(*escaped, *byte) && matches_naively(rest, behind, nocase)
        }
    }
}

/// Is `byte` in the class that begins `class`, and what comes behind it?
fn class_has(class: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let (negated, mut rest) = class.strip_prefix(b"^").map_or((false, class), |rest| (true, rest));
    let mut found = false;
    loop {
        rest = match rest {
            [] => return (found != negated, rest),
            [b'\\', escaped, behind @ ..] => {
                found |= *escaped == byte;
                behind
            }
            [b']', behind @ ..] => return (found != negated, behind),
            [first, b'-', last, behind @ ..] => {
                let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() as i8 } else { byte as i8 };
                let (low, high) = if *first as i8 > *last as i8 { (last, first) } else { (first, last) };
                found |= (fold(*low)..=fold(*high)).contains(&fold(byte));
                behind
            }
            [single, behind @ ..] => {
                found |= *single == byte || nocase && single.eq_ignore_ascii_case(&byte);
                behind
            }
        }
    }
}

/// Texts of numbers: what is accepted reads back equal when it is written again.
pub fn numbers(data: &[u8]) {
    let canonical = std::str::from_utf8(data).ok().and_then(|text| text.parse::<i64>().ok());
    let canonical = canonical.filter(|number| number.to_string().as_bytes() == data);
    assert_eq!(parse_i64(data), canonical, "an integer is its canonical text and nothing else");
    if let Some(number) = canonical {
        assert_eq!(parse_u64_lax(data), u64::try_from(number).ok());
        assert_eq!(LongDouble::from_i64(number).text(), number.to_string());
    }
    if let Some(size) = parse_memory(data) {
        assert_eq!(parse_memory(size.to_string().as_bytes()), Some(size));
    }
    if let Some(number) = parse_f64(data) {
        assert!(!number.is_nan());
        assert_eq!(parse_f64(f64_text(number).as_bytes()).map(f64::to_bits), Some(number.to_bits()));
    }
    if let Some(Parsed::Finite(number)) = LongDouble::parse(data) {
        rereads(number);
        // 0.1 and 3 are as good as any: one that rounds and one that does not.
        for other in [b"0.1", &b"-3"[..]] {
            let Some(Parsed::Finite(other)) = LongDouble::parse(other) else { panic!("a plain number is read") };
            let sum = number.checked_add(other);
            assert_eq!(sum, other.checked_add(number), "the order of a sum does not matter");
            sum.into_iter().for_each(rereads);
        }
    }
}

/// The text of a number has 17 decimals: it stands for a number that has the same text.
fn rereads(number: LongDouble) {
    let text = number.text();
    match LongDouble::parse(text.as_bytes()) {
        Some(Parsed::Finite(again)) if number.text().len() < 20 => assert_eq!(again.text(), text),
        Some(Parsed::Finite(_)) => {}
        other => panic!("{text} is read as {other:?}"),
    }
}

/// Two bytes of width and offset, a rule, two numbers, then a string: fields agree with arithmetic on single bits.
pub fn bitfield(data: &[u8]) {
    let Some((head, string)) = data.split_at_checked(20) else { return };
    let number = |at: usize| i64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let signed = head[0] & 1 == 1;
    let bits = 1 + (head[0] >> 1) as u32 % if signed { 64 } else { 63 };
    let field = Field { offset: u16::from_le_bytes([head[1], head[2]]) as u64 % 1000, bits, signed };
    let rule = [Overflow::Wrap, Overflow::Saturate, Overflow::Fail][head[3] as usize % 3];
    let before = field.read(string);
    assert_eq!(before, read_bits(field, string));
    let mut changed = string.to_vec();
    changed.resize(string.len().max(field.last_bit() as usize / 8 + 1), 0);
    let untouched = changed.clone();
    let low = if signed { -1i128 << (bits - 1) } else { 0 };
    let range = low..low + (1i128 << bits);
    let sum = before as i128 + number(4) as i128;
    let fitted = field.fit(before, number(4), rule);
    let fits = range.contains(&sum);
    assert_eq!(fitted.is_none(), !fits && rule == Overflow::Fail);
    if let Some(value) = fitted {
        assert!(range.contains(&(value as i128)), "{value} is no {field:?}");
        assert!(!fits || value as i128 == sum);
        assert!(rule != Overflow::Wrap || (value as i128 - sum) % (1i128 << bits) == 0);
        field.write(&mut changed, value);
        assert_eq!(field.read(&changed), value);
    }
    field.write(&mut changed, number(12)); // Any number: only its low bits count.
    for at in (0..changed.len() as u64 * 8).filter(|at| !(field.offset..=field.last_bit()).contains(at)) {
        assert_eq!(bit(&changed, at), bit(&untouched, at), "bit {at} is not the field's");
    }
}

fn bit(bytes: &[u8], at: u64) -> bool {
    bytes.get(at as usize / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn read_bits(field: Field, bytes: &[u8]) -> i64 {
    let raw = (field.offset..=field.last_bit()).fold(0i128, |raw, at| raw << 1 | bit(bytes, at) as i128);
    let is_negative = field.signed && bit(bytes, field.offset);
    (raw - if is_negative { 1i128 << field.bits } else { 0 }) as i64
}

/// A command line: its keys are arguments that exist, none is named twice, and the prefetcher's range stays inside.
pub fn keyspecs(data: &[u8]) {
    let Ok(words) = split_owned(data) else { return };
    let (mut buf, mut items) = (Vec::new(), Vec::new());
    for word in &words {
        items.push(Arg { offset: buf.len() as u32, len: word.len() as u32, hash: 0 });
        buf.extend_from_slice(word);
    }
    let parts = Parts { buf: &buf, items: &items, large: &[] };
    // Every row is tried, not only the one that the first word names: most have the same few specifications.
    for row in table::all().filter(|row| !words.is_empty() && row.accepts(words.len())) {
        assert!(keyspec::legacy_range(row, words.len()).all(|index| index < words.len()), "{}", row.full_name);
        let Ok(mut found) = keyspec::positions(row, &Args::of(&parts)) else { continue };
        found.sort_unstable();
        assert!(found.iter().all(|&(index, _)| (1..words.len()).contains(&index)), "{}: {found:?}", row.full_name);
        assert!(found.windows(2).all(|pair| pair[0].0 != pair[1].0), "{}: {found:?}", row.full_name);
    }
}
