//! What does it cost to write the replies of a pipeline?
//!
//! One iteration writes 64 replies into a buffer that is already large enough, as it is on a connection that has been used.

mod common;

use criterion::{BenchmarkId, Throughput};
use ringdb::resp::reply::{Proto, Reply};
use std::hint::black_box;

const PIPELINE: usize = 64;

type Write = fn(&mut Reply, &[u8]);

fn main() {
    common::run(|criterion| {
        let kinds: [(&str, usize, Write); 6] = [
            ("OK", 0, |reply, _| reply.ok()),
            ("null", 0, |reply, _| reply.null()),
            ("integer", 0, |reply, _| reply.int(black_box(1_234_567))),
            ("bulk 64 B", 64, |reply, value| reply.bulk(value)),
            ("bulk 4 KB", 4096, |reply, value| reply.bulk(value)),
            ("array of ten 64 B bulks", 64, |reply, value| {
                reply.array(10);
                (0..10).for_each(|_| reply.bulk(value));
            }),
        ];
        let mut group = criterion.benchmark_group("write 64 replies");
        group.throughput(Throughput::Elements(PIPELINE as u64));
        for proto in [Proto::Resp2, Proto::Resp3] {
            for (name, len, write) in kinds {
                let value = vec![b'v'; len];
                let mut reply = Reply { proto, ..Reply::default() };
                group.bench_function(BenchmarkId::new(format!("{proto:?}"), name), |bencher| {
                    bencher.iter(|| {
                        let start = reply.mark();
                        (0..PIPELINE).for_each(|_| write(&mut reply, black_box(&value)));
                        black_box(reply.pending_len());
                        reply.truncate(start);
                    });
                });
            }
        }
        group.finish();
    });
}
