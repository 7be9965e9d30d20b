//! Histories of several clients, checked: every command must appear to happen at one instant between its request and its
//! reply, in one order for all.
//!
//! Each client writes a few commands at once and reads their replies one by one. A command is called when its pipeline is
//! written, and has returned when its reply is parsed. Keys are few and new in every round. Histories of single keys are
//! checked key by key (a history is linearizable if that of each object is: Herlihy & Wing 1990), those with commands on
//! several keys as a whole. The tests at the end show that the checker sees planted violations.
//! A failure prints its seed: `LIN_SEED=7 LIN_ROUNDS=1 cargo test --test black_box linearizable` repeats the commands, though
//! not their timing.

#[path = "../../../src/base/linearizable.rs"]
mod checker;

mod appends;
mod collections;
mod invariants;
mod model;

use crate::harness::random::{Random, seed};
use crate::harness::{Client, Server, engines, request};
use checker::{Event, check};
use model::{Call, Strings};
use std::sync::Barrier;
use std::time::Instant;

/// A round: who does what, how often.
struct Round {
    clients: usize,
    commands_per_client: usize,
    pipeline_max: usize,
    keys: usize,
}

/// A random command on one key. Values are all different, so that a read tells which write it saw.
fn single(random: &mut Random, key: &str, value: &str) -> String {
    match random.below(14) {
        0..=3 => format!("GET {key}"),
        4 | 5 => format!("SET {key} {value}"),
        6 => format!("SET {key} {}", random.below(1000)),
        7 | 8 => format!("INCR {key}"),
        9 => format!("APPEND {key} {value}"),
        10 => format!("GETDEL {key}"),
        11 => format!("SETNX {key} {value}"),
        12 => format!("GETSET {key} {value}"),
        _ => format!("DEL {key}"),
    }
}

/// A random command on several keys of three, or now and then on one.
fn multiple(random: &mut Random, keys: &[String], value: &str) -> String {
    let (a, b, c) = (random.below(3), random.below(3), random.below(3));
    let (a, b, c) = (&keys[a], &keys[b], &keys[c]);
    match random.below(13) {
        0..=2 => format!("MGET {a} {b} {c}"),
        3..=5 => format!("MSET {a} {value} {b} {value}"),
        6 => format!("MSETNX {a} {value} {b} {value}"),
        7 => format!("DEL {a} {b}"),
        8 => format!("RENAME {a} {b}"),
        9 if a != b => format!("COPY {a} {b} REPLACE"),
        10 => format!("EXISTS {a} {b} {c}"),
        _ => single(random, a, value),
    }
}

/// Runs a round and returns what everybody saw.
fn record(server: &Server, round: &Round, commands: impl Fn(usize) -> Vec<String> + Sync) -> Vec<Event<Call>> {
    let (start, clock) = (Barrier::new(round.clients), Instant::now());
    std::thread::scope(|scope| {
        let threads = (0..round.clients).map(|client| {
            let (commands, start) = (&commands, &start);
            scope.spawn(move || {
                let (commands, mut socket) = (commands(client), server.client());
                let mut sizes = Random::seeded(client as u64 + commands.len() as u64);
                assert_eq!(socket.run("PING").to_string(), "PONG");
                start.wait();
                let (mut rest, mut events) = (&commands[..], Vec::new());
                while !rest.is_empty() {
                    let (pipeline, behind) = rest.split_at(rest.len().min(1 + sizes.below(round.pipeline_max)));
                    rest = behind;
                    run_pipeline(&mut socket, client, pipeline, &clock, &mut events);
                }
                events
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a client's thread")).collect()
    })
}

fn run_pipeline(
    socket: &mut Client,
    client: usize,
    pipeline: &[String],
    clock: &Instant,
    events: &mut Vec<Event<Call>>,
) {
    let commands: Vec<_> = pipeline.iter().map(|line| crate::harness::words(line)).collect();
    let bytes: Vec<u8> = commands.iter().flat_map(|command| request(command)).collect();
    let called = clock.elapsed().as_nanos() as u64;
    socket.send(&bytes);
    for command in commands {
        let reply = socket.reply();
        let returned = clock.elapsed().as_nanos() as u64;
        events.push(Event { client, called, returned, op: (command, reply) });
    }
}

fn rounds(default: u64) -> u64 {
    std::env::var("LIN_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Rounds of single-key commands, each key's history checked for itself.
fn single_key_rounds(server: &Server, seed: u64, count: u64) {
    let round = Round { clients: 4, commands_per_client: 300, pipeline_max: 6, keys: 4 };
    for seed in seed..seed + count {
        let history = record(server, &round, |client| {
            let mut random = Random::seeded(seed * 64 + client as u64);
            let command = |i: usize| {
                let key = format!("{seed}:{}", random.below(round.keys));
                single(&mut random, &key, &format!("v{client}.{i}"))
            };
            (0..round.commands_per_client).map(command).collect()
        });
        for key in 0..round.keys {
            let key = format!("{seed}:{key}").into_bytes();
            let part: Vec<_> = history.iter().filter(|event| event.op.0[1] == key).cloned().collect();
            check::<Strings>(&part).unwrap_or_else(|problem| panic!("LIN_SEED={seed}\n{problem}"));
        }
    }
}

/// Rounds of multi-key commands on three keys.
fn multi_key_rounds(server: &Server, seed: u64, count: u64) {
    let round = Round { clients: 4, commands_per_client: 100, pipeline_max: 3, keys: 3 };
    for seed in seed..seed + count {
        let keys: Vec<_> = (0..round.keys).map(|key| format!("{seed}:m{key}")).collect();
        let history = record(server, &round, |client| {
            let mut random = Random::seeded(seed * 64 + client as u64);
            (0..round.commands_per_client).map(|i| multiple(&mut random, &keys, &format!("v{client}.{i}"))).collect()
        });
        check::<Strings>(&history).unwrap_or_else(|problem| panic!("LIN_SEED={seed}\n{problem}"));
    }
}

#[test]
fn single_key_commands_are_linearizable() {
    for &engine in engines() {
        single_key_rounds(&Server::start_on(engine, &["--threads", "4"]), seed("LIN_SEED"), rounds(40));
    }
}

#[test]
fn multi_key_commands_are_linearizable() {
    for &engine in engines() {
        multi_key_rounds(&Server::start_on(engine, &["--threads", "4"]), seed("LIN_SEED"), rounds(60));
    }
}

/// A history from lines `client called returned command => reply`, and whether an order explains it.
#[cfg(test)]
fn explained(lines: &str) -> bool {
    let event = |line: &str| {
        let (left, reply) = line.split_once(" => ").expect("a reply");
        let words: Vec<&str> = left.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let command = words[3..].iter().map(|word| word.as_bytes().to_vec()).collect();
        let (reply, _) =
            crate::harness::wire::decode(format!("{}\r\n", reply.replace('~', "\r\n")).as_bytes()).expect("a reply");
        Event { client: number(0) as usize, called: number(1), returned: number(2), op: (command, reply) }
    };
    let history: Vec<_> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(event).collect();
    check::<Strings>(&history).is_ok()
}

#[test]
fn the_checker_accepts_what_an_order_explains() {
    // The reads overlap the write: one may be before, one behind it.
    assert!(explained(
        "
        0 1 10 SET k a => +OK
        1 2 3  GET k   => $-1
        1 4 5  GET k   => $1~a
        2 4 6  GET k   => $-1
    "
    ));
    assert!(explained(
        "
        0 1 10 MSET a 1 b 1 => +OK
        1 2 9  MGET a b     => *2~$1~1~$1~1
        2 3 8  INCR a       => :1
        2 3 9  GET a        => $1~1
    "
    ));
}

#[test]
fn the_checker_rejects_planted_violations() {
    let violations = [
        (
            "a stale read",
            "
            0 1 2 SET k a => +OK
            1 3 4 GET k   => $-1",
        ),
        (
            "a read that goes back",
            "
            0 1 10 SET k a => +OK
            1 2 3 GET k    => $1~a
            1 4 5 GET k    => $-1",
        ),
        (
            "a value that nobody wrote",
            "
            0 1 2 SET k a => +OK
            1 1 4 GET k   => $1~b",
        ),
        (
            "a lost increment",
            "
            0 1 5 INCR k => :1
            1 1 5 INCR k => :1",
        ),
        (
            "two winners of SETNX",
            "
            0 1 5 SETNX k a => :1
            1 1 5 SETNX k b => :1",
        ),
        (
            "an increment of what GETDEL has taken away",
            "
            0 1 2 SET k 5  => +OK
            1 3 9 GETDEL k => $1~5
            2 3 9 INCR k   => :6
            0 10 11 GET k  => $-1",
        ),
        (
            "half an MSET",
            "
            0 1 10 MSET a x b x => +OK
            1 2 9 MGET a b      => *2~$1~x~$-1",
        ),
        (
            "an MSET that two readers see in different orders",
            "
            0 1 20 MSET a x b x => +OK
            1 2 3 GET a         => $1~x
            2 4 5 GET b         => $-1",
        ),
        (
            "a token that is doubled by RENAME",
            "
            0 1 2 SET a t      => +OK
            1 3 9 RENAME a b   => +OK
            2 3 9 EXISTS a b   => :2",
        ),
        (
            "a pipeline that runs backwards",
            "
            0 1 9 SET k a => +OK
            0 1 9 GET k   => $-1",
        ),
    ];
    for (name, history) in violations {
        assert!(!explained(history), "{name} was not noticed");
    }
}
