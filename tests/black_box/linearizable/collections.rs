//! Histories of collections: pushes, pops and looks of several clients at one list, hash, set or sorted set, each checked by
//! itself.

use super::checker::{Model, check};
use super::model::Call;
use super::{Round, record, rounds};
use crate::harness::random::{Random, seed};
use crate::harness::{Server, Value, engines};
use std::collections::{BTreeMap, BTreeSet};

/// What one key holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Held {
    list: Vec<Vec<u8>>,
    /// Fields and values of a hash; members of a set, with nothing behind them.
    pairs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Scores and members of a sorted set.
    ranks: BTreeSet<(i64, Vec<u8>)>,
}

impl Held {
    /// Gives a member a score. True: it was not there.
    fn rank(&mut self, score: i64, member: Vec<u8>) -> bool {
        let count = self.ranks.len();
        self.ranks.retain(|(_, other)| *other != member);
        let is_new = self.ranks.len() == count;
        self.ranks.insert((score, member));
        is_new
    }
}

/// Members with their scores, as they are replied.
fn ranked<'r>(ranks: impl IntoIterator<Item = &'r (i64, Vec<u8>)>) -> Value {
    let both = |(score, member): &(i64, Vec<u8>)| [Value::Bulk(member.clone()), Value::bulk(&score.to_string())];
    Value::Array(ranks.into_iter().flat_map(both).collect())
}

struct Collections;

impl Model for Collections {
    type Op = Call;
    type State = Held;

    fn apply(state: &Held, (command, reply): &Call) -> Option<Held> {
        let mut state = state.clone();
        let arg = |at: usize| command[at].clone();
        let expected = match command[0].as_slice() {
            b"LPUSH" => {
                state.list.insert(0, arg(2));
                Value::Int(state.list.len() as i64)
            }
            b"RPOP" => state.list.pop().map_or(Value::Nil, Value::Bulk),
            b"LLEN" => Value::Int(state.list.len() as i64),
            b"LRANGE" => Value::Array(state.list.iter().cloned().map(Value::Bulk).collect()),
            b"HSET" => Value::Int(state.pairs.insert(arg(2), arg(3)).is_none() as i64),
            b"SADD" => Value::Int(state.pairs.insert(arg(2), Vec::new()).is_none() as i64),
            b"HDEL" | b"SREM" => Value::Int(state.pairs.remove(&command[2]).is_some() as i64),
            b"SCARD" => Value::Int(state.pairs.len() as i64),
            b"ZADD" => {
                let score = String::from_utf8_lossy(&command[2]).parse().expect("a whole score");
                Value::Int(state.rank(score, arg(3)) as i64)
            }
            b"ZPOPMIN" => ranked(&state.ranks.pop_first()),
            b"ZPOPMAX" => ranked(&state.ranks.pop_last()),
            b"ZCARD" => Value::Int(state.ranks.len() as i64),
            b"ZRANGE" => ranked(&state.ranks),
            // The order is the server's business.
            b"HGETALL" => {
                let pair = |pair: &[Value]| (pair[0].bytes().to_vec(), pair[1].bytes().to_vec());
                let seen: BTreeMap<_, _> = reply.items().chunks(2).map(pair).collect();
                return (seen == state.pairs).then_some(state);
            }
            // Any member may be taken, but one there is.
            b"SPOP" => match reply {
                Value::Nil => return state.pairs.is_empty().then_some(state),
                taken => return state.pairs.remove(taken.bytes()).map(|_| state),
            },
            b"DEL" => {
                let was_there = state != Held::default();
                state = Held::default();
                Value::Int(was_there as i64)
            }
            other => panic!("the model does not know {}", other.escape_ascii()),
        };
        (expected == *reply).then_some(state)
    }
}

/// A random command on a key whose first letter says what it holds. Keys are often empty, and come and go.
fn command(random: &mut Random, key: &str, value: &str) -> String {
    let field = random.below(4);
    match (&key[..1], random.below(12)) {
        (_, 0) => format!("DEL {key}"),
        ("l", 1..=4) => format!("LPUSH {key} {value}"),
        ("l", 5..=8) => format!("RPOP {key}"),
        ("l", 9 | 10) => format!("LLEN {key}"),
        ("l", _) => format!("LRANGE {key} 0 -1"),
        ("h", 1..=5) => format!("HSET {key} {field} {value}"),
        ("h", 6 | 7) => format!("HDEL {key} {field}"),
        ("h", _) => format!("HGETALL {key}"),
        ("z", 1..=5) => format!("ZADD {key} {} m{field}", random.below(3)),
        ("z", 6 | 7) => format!("ZPOPMIN {key}"),
        ("z", 8) => format!("ZPOPMAX {key}"),
        ("z", 9) => format!("ZCARD {key}"),
        ("z", _) => format!("ZRANGE {key} 0 -1 WITHSCORES"),
        ("s", 1..=5) => format!("SADD {key} {field}"),
        ("s", 6..=8) => format!("SPOP {key}"),
        ("s", 9) => format!("SREM {key} {field}"),
        _ => format!("SCARD {key}"),
    }
}

#[test]
fn commands_on_collections_are_linearizable() {
    let round = Round { clients: 4, commands_per_client: 150, pipeline_max: 5, keys: 4 };
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        for seed in seed("LIN_SEED")..seed("LIN_SEED") + rounds(25) {
            let keys: Vec<String> = ["l", "h", "s", "z"].iter().map(|kind| format!("{kind}{seed}")).collect();
            let history = record(&server, &round, |client| {
                let mut random = Random::seeded(seed * 64 + client as u64);
                let one = |i: usize| {
                    let key = random.below(round.keys);
                    command(&mut random, &keys[key], &format!("v{client}.{i}"))
                };
                (0..round.commands_per_client).map(one).collect()
            });
            for key in &keys {
                let part: Vec<_> = history.iter().filter(|event| event.op.0[1] == key.as_bytes()).cloned().collect();
                check::<Collections>(&part).unwrap_or_else(|problem| panic!("LIN_SEED={seed}\n{problem}"));
            }
        }
    }
}

#[test]
fn the_checker_rejects_what_no_order_of_collections_explains() {
    let event = |client: usize, called: u64, returned: u64, line: &str, reply: Value| super::Event {
        client,
        called,
        returned,
        op: (crate::harness::words(line), reply),
    };
    let (nil, text) = (Value::Nil, |text: &str| Value::bulk(text));
    let twice = [
        event(0, 1, 2, "LPUSH l a", Value::Int(1)),
        event(0, 3, 9, "RPOP l", text("a")),
        event(1, 3, 9, "RPOP l", text("a")),
    ];
    assert!(check::<Collections>(&twice).is_err(), "an element is popped twice");
    let missed = [event(0, 1, 2, "SADD s a", Value::Int(1)), event(1, 3, 4, "SPOP s", nil)];
    assert!(check::<Collections>(&missed).is_err(), "a member is there and not found");
    let popped = [
        event(0, 1, 2, "ZADD z 1 a", Value::Int(1)),
        event(0, 3, 4, "ZADD z 2 b", Value::Int(1)),
        event(1, 5, 6, "ZPOPMIN z", Value::Array(vec![text("b"), text("2")])),
    ];
    assert!(check::<Collections>(&popped).is_err(), "not the least is popped");
    let mixed = [
        event(0, 1, 2, "HSET h a 1", Value::Int(1)),
        event(0, 3, 4, "HSET h b 1", Value::Int(1)),
        event(1, 5, 6, "HGETALL h", Value::Array(vec![text("b"), text("1")])),
    ];
    assert!(check::<Collections>(&mixed).is_err(), "half a hash is seen");
}
