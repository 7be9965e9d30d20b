//! `ring-lab`: the experiments behind `kernel-notes/`, each rerunnable by one command.
//!
//! ```text
//! cargo run --release -p bench --bin ring-lab -- zero-copy
//! ```
//! A load experiment runs the server's half in several variants against the same client: one thread pinned to core 0 that counts
//! requests and sends fixed replies, one on core 1 that sends a batch per connection and waits for its replies. The figure is
//! on-CPU nanoseconds of all other threads than the client's, per batch. Variants take turns, and every second round runs
//! backwards; shown are minimum and median of the rounds. A probe answers a question without load.

// The lab has no protocol for a model checker, so it may use the standard library's atomics.
#![allow(clippy::disallowed_types)]

mod epoll;
mod load;
mod probes;
mod ring;
mod sys;
mod topics;
mod variant;

use std::process::ExitCode;

use load::{Sample, measure};
use topics::{LOADS, Topic};
use variant::Shape;

const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let result = match asked.first().map(String::as_str) {
        Some("memlock-child") => probes::memlock_child(&asked[1..]),
        Some(name) => run(name),
        None => Err(usage()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let names = LOADS.iter().map(|topic| (topic.name, topic.question));
    let lines = names.chain(probes::ALL.iter().map(|probe| (probe.name, probe.question)));
    lines.fold("usage: ring-lab TOPIC\n".into(), |text, (name, question)| format!("{text}  {name:18} {question}\n"))
}

fn run(name: &str) -> Result<(), String> {
    println!("ring-lab {name} · Linux {}", kernel());
    if let Some(probe) = probes::ALL.iter().find(|probe| probe.name == name) {
        println!("{}", probe.question);
        return (probe.run)().map_err(|error| error.to_string());
    }
    let topic = LOADS.iter().find(|topic| topic.name == name).ok_or_else(usage)?;
    println!("{}\nserver CPU ns per batch: minimum / median of {ROUNDS} rounds", topic.question);
    compare(topic);
    Ok(())
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}

/// All variants of a topic under all its loads, by turns.
fn compare(topic: &Topic) {
    for shape in topic.shapes {
        let mut samples: Vec<Vec<Sample>> = topic.variants.iter().map(|_| Vec::new()).collect();
        let mut refused: Vec<Option<String>> = topic.variants.iter().map(|_| None).collect();
        for round in 0..ROUNDS {
            let mut order: Vec<usize> = (0..topic.variants.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                match measure(topic.variants[at].1, *shape) {
                    Ok(sample) => samples[at].push(sample),
                    Err(error) => refused[at] = Some(error.to_string()),
                }
            }
        }
        println!("{}", shape.name());
        for ((name, _), (samples, refused)) in topic.variants.iter().zip(samples.iter().zip(&refused)) {
            match refused {
                Some(error) => println!("  {name:34} not here: {error}"),
                None => show(name, samples, *shape),
            }
        }
    }
}

fn show(name: &str, samples: &[Sample], shape: Shape) {
    let sorted = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (server, client, rate) = (sorted(|it| it.server_ns), sorted(|it| it.client_ns), sorted(|it| it.batches_per_s));
    let (p50, p99) = (sorted(|it| it.p50_us), sorted(|it| it.p99_us));
    let last = samples.len() - 1;
    let best = &samples[last];
    let per_batch = |count: u64| count as f64 / best.batches.max(1) as f64;
    let oddities: String = [
        ("ENOBUFS", best.counts.no_buffer),
        ("re-armed", best.counts.rearmed),
        ("short sends", best.counts.short_sends),
    ]
    .iter()
    .filter(|(_, count)| *count > 0)
    .map(|(what, count)| format!("  {count} {what}"))
    .collect();
    println!(
        "  {name:34} {:7.0} / {:7.0}   client {:6.0}   {:9.0} replies/s   p50 {:5.0} p99 {:5.0} us   {:.2} enters{oddities}",
        server[0],
        server[last / 2],
        client[0],
        rate[last] * shape.pipeline as f64,
        p50[0],
        p99[0],
        per_batch(best.counts.enters),
    );
}
