//! What the fuzz targets do with their input. Shared with `tests/corpora.rs`, which replays the corpora.

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
