//! What does it cost to cut a pipeline into commands?
//!
//! One iteration parses a receive buffer of 64 requests; criterion's `elem/s` is requests per second.

mod common;

use criterion::{BenchmarkId, Criterion, Throughput};
use ringdb::resp::{
    args::Arg,
    parse::{Limits, Parser, Step},
};
use std::hint::black_box;

const PIPELINE: usize = 64;
const BULK_LEN_MAX: u64 = 512 << 20;

fn main() {
    common::run(|criterion| {
        let mut group = criterion.benchmark_group("parse 64 requests");
        group.throughput(Throughput::Elements(PIPELINE as u64));
        for (name, request) in requests() {
            let buffer = request.repeat(PIPELINE);
            let limits = Limits::new(BULK_LEN_MAX, true);
            let (mut parser, mut items) = (Parser::default(), Vec::new());
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
                bencher.iter(|| assert_eq!(parse_all(&mut parser, black_box(&buffer), &limits, &mut items), PIPELINE));
            });
        }
        group.finish();
        cut_requests(criterion);
    });
}

/// A request that arrives in pieces: the price of looking at an unfinished one again.
fn cut_requests(criterion: &mut Criterion) {
    let request = multibulk(&[b"SET", &[b'k'; 16], &[b'v'; 4096]]);
    let limits = Limits::new(BULK_LEN_MAX, true);
    let (mut parser, mut items) = (Parser::default(), Vec::new());
    criterion.bench_function("parse one 4 KB SET in four pieces", |bencher| {
        bencher.iter(|| {
            items.clear();
            for end in [1000, 2000, 3000] {
                assert_eq!(parser.next(black_box(&request[..end]), &limits, &mut items), Ok(Step::Incomplete));
            }
            assert!(matches!(parser.next(black_box(&request), &limits, &mut items), Ok(Step::Command { .. })));
        });
    });
}

fn parse_all(parser: &mut Parser, buffer: &[u8], limits: &Limits, items: &mut Vec<Arg>) -> usize {
    let (mut at, mut count) = (0, 0);
    items.clear();
    while let Ok(Step::Command { consumed, .. }) = parser.next(&buffer[at..], limits, items) {
        at += consumed;
        count += 1;
    }
    black_box(&items);
    count
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let (key, value, page) = ([b'k'; 16], [b'v'; 64], [b'v'; 4096]);
    let mut mget: Vec<&[u8]> = vec![b"MGET"];
    mget.extend(std::iter::repeat_n(&key[..], 10));
    vec![
        ("GET", multibulk(&[b"GET", &key])),
        ("SET 64 B", multibulk(&[b"SET", &key, &value])),
        ("SET 4 KB", multibulk(&[b"SET", &key, &page])),
        ("MGET of 10", multibulk(&mget)),
        ("inline PING", b"PING\r\n".to_vec()),
    ]
}

fn multibulk(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}
