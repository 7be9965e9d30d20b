//! What the fuzz targets do with their input. Shared with `tests/corpora.rs`, which replays the corpora.

use ringdb::admin::acl::file;
use ringdb::admin::acl::selector::{Call, Denial, Key};
use ringdb::admin::acl::user::{Origin, User};
use ringdb::cmd::permission;
use ringdb::resp::args::{Args, Parts};
use ringdb::resp::inline::split_owned;
use ringdb::resp::parse::{Limits, Parser, ProtocolError, Step};

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
