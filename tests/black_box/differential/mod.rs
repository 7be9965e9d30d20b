//! The same random commands go to ringdb and to redis-server; every byte of every reply must be the same.
//!
//!     round = FLUSHALL, a few hundred commands in pipelines over a RESP2 and a RESP3 connection, then all keys compared
//!
//! A difference is shrunk to a few commands, printed as one can type them, with the seed that brings it back:
//! `DIFF_SEED=7 DIFF_ROUNDS=1 cargo test --test black_box differential`. Without a seed the same rounds are run every time, so that a
//! failure means a change; a long run with other seeds finds more. `REFERENCE_SERVER=/path/valkey-server` compares
//! with something else. The reference against itself shows no difference, so any difference is a finding.

mod grammar;

use crate::harness::random::{Random, seed};
use crate::harness::{Client, Engine, Server, Value, engines, request};
use grammar::Grammar;

const COMMANDS_PER_ROUND: usize = 300;
const DATABASES: usize = 3;

/// Some commands in a row over one connection: 0 speaks RESP2, 1 RESP3.
#[derive(Clone)]
struct Step {
    connection: usize,
    command: Vec<Vec<u8>>,
}

/// One server and the connections to it.
struct Side {
    clients: [Client; 2],
}

impl Side {
    fn new(server: &Server) -> Self {
        let mut clients = [server.client(), server.client()];
        clients[1].speak(3);
        Side { clients }
    }
    fn reset(&mut self) {
        for client in &mut self.clients {
            assert_eq!(client.run("SELECT 0").to_string(), "OK");
        }
        assert_eq!(self.clients[0].run("FLUSHALL").to_string(), "OK");
    }
    fn knows(&mut self, command: &str) -> bool {
        self.clients[0].run(&format!("COMMAND INFO {command}")).items().iter().any(|info| *info != Value::Nil)
    }
    /// Runs steps as pipelines of whatever follows each other on one connection. Returns the raw replies.
    fn run(&mut self, steps: &[Step]) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        for pipeline in steps.chunk_by(|a, b| a.connection == b.connection) {
            let client = &mut self.clients[pipeline[0].connection];
            client.send(&pipeline.iter().flat_map(|step| request(&step.command)).collect::<Vec<u8>>());
            replies.extend(pipeline.iter().map(|_| client.raw_reply()));
        }
        replies
    }
    /// All keys with everything that can be seen of them.
    fn state(&mut self) -> Vec<String> {
        let client = &mut self.clients[0];
        let mut state = Vec::new();
        for db in 0..DATABASES {
            client.run(&format!("SELECT {db}"));
            // A key that was written with a deadline in the past goes when it is touched; until then Redis 7.0 counts it.
            client.call(&[&[&b"EXISTS"[..]], grammar::KEYS].concat());
            state.push(format!("db {db}: {} keys", client.run("DBSIZE")));
            let mut keys: Vec<Vec<u8>> = client.run("KEYS *").items().iter().map(|key| key.bytes().to_vec()).collect();
            keys.sort();
            for key in keys {
                let mut facts = |command: &[&str]| {
                    let mut words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
                    words.push(&key);
                    client.call(&words)
                };
                let expires = match facts(&["PEXPIRETIME"]) {
                    Value::Int(at) if at > 0 => format!("expires near {}", at.saturating_add(30_000) / 100_000),
                    other => other.to_string(),
                };
                state.push(format!(
                    "{db} '{}': {} {} {} {expires}",
                    key.escape_ascii(),
                    facts(&["TYPE"]),
                    facts(&["OBJECT", "ENCODING"]),
                    facts(&["GET"])
                ));
            }
        }
        state
    }
}

/// Are two replies to `command` the same, apart from what cannot be the same?
fn same(command: &[Vec<u8>], ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs {
        return true;
    }
    let decode = |bytes| crate::harness::wire::decode(bytes).map(|(value, _)| value);
    let name = command.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match (name.as_slice(), decode(ours), decode(theirs)) {
        // The servers run a command some milliseconds apart.
        (b"PTTL" | b"PEXPIRETIME", Some(Value::Int(a)), Some(Value::Int(b))) => a > 0 && b > 0 && a.abs_diff(b) < 5000,
        (b"TTL" | b"EXPIRETIME", Some(Value::Int(a)), Some(Value::Int(b))) => a > 0 && b > 0 && a.abs_diff(b) < 5,
        // Order of keys is the order of a hash table.
        (b"KEYS" | b"SCAN", Some(a), Some(b)) if !a.is_error() && !b.is_error() => sorted(a) == sorted(b),
        // Since 7.2 wrong arguments are an error even if the key does not exist.
        (b"BITCOUNT" | b"BITPOS", Some(Value::Error(_)), Some(Value::Int(-1..=0))) => true,
        // Valkey 8 lets the end be left out, and looks at the unit before the end.
        (b"BITCOUNT", Some(_), Some(Value::Error(_))) => matches!(command.len(), 3 | 5),
        // Which oddly written cursors are numbers, and that an unknown type is an error, belongs to the version.
        (b"SCAN", Some(Value::Error(text)), Some(_)) if text.starts_with(b"ERR unknown type name") => true,
        (b"SCAN", Some(_), Some(_)) => command[1] != b"0",
        // Redis cuts what it quotes at a NUL.
        (_, Some(Value::Error(a)), Some(Value::Error(b))) => a.contains(&0) && a.starts_with(&b),
        _ => false,
    }
}

fn sorted(value: Value) -> Vec<String> {
    let mut items: Vec<_> =
        value.items().iter().flat_map(|v| if v.items().is_empty() { vec![v.clone()] } else { v.items() }).collect();
    items.sort_by_key(Value::to_string);
    items.iter().map(Value::to_string).collect()
}

/// Runs steps on both sides from an empty state. Returns the first difference, as text.
fn difference(ours: &mut Side, theirs: &mut Side, steps: &[Step]) -> Option<String> {
    ours.reset();
    theirs.reset();
    let (a, b) = (ours.run(steps), theirs.run(steps));
    for (step, (a, b)) in steps.iter().zip(a.iter().zip(&b)) {
        if !same(&step.command, a, b) {
            return Some(format!("ringdb:    {}\n    reference: {}", a.escape_ascii(), b.escape_ascii()));
        }
    }
    let (a, b) = (ours.state(), theirs.state());
    let at = (0..a.len().max(b.len())).find(|&at| a.get(at) != b.get(at))?;
    Some(format!("afterwards\n    ringdb:    {:?}\n    reference: {:?}", a.get(at), b.get(at)))
}

/// The fewest steps found that still differ: halves, quarters … are left out as long as that helps.
fn shrink(ours: &mut Side, theirs: &mut Side, mut steps: Vec<Step>) -> Vec<Step> {
    let mut chunk = steps.len().div_ceil(2);
    loop {
        let before = steps.len();
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(steps.len()));
            match difference(ours, theirs, &fewer) {
                Some(_) => steps = fewer,
                None => at += chunk,
            }
        }
        if chunk == 1 && steps.len() == before {
            return steps;
        }
        chunk = chunk.div_ceil(2);
    }
}

fn show(step: &Step) -> String {
    let words = step.command.iter().map(|word| match word {
        word if !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b)) => {
            String::from_utf8_lossy(word).into_owned()
        }
        word => format!("\"{}\"", word.escape_ascii()),
    });
    format!("    [RESP{}] {}", 2 + step.connection, words.collect::<Vec<_>>().join(" "))
}

/// Compares `rounds` rounds; panics with a shrunk example of each difference, up to ten.
fn compare(ours: &Server, theirs: &Server, seed: u64, rounds: u64) {
    let (mut ours, mut theirs) = (Side::new(ours), Side::new(theirs));
    let mut findings = Vec::new();
    for round in seed..seed + rounds {
        let mut grammar = Grammar::new(Random::seeded(round), |command| theirs.knows(command) && ours.knows(command));
        let mut connection = 0;
        let steps = (0..COMMANDS_PER_ROUND).map(|_| {
            if grammar.random.percent(5) {
                connection = 1 - connection;
            }
            Step { connection, command: grammar.command() }
        });
        let steps: Vec<Step> = steps.collect();
        if difference(&mut ours, &mut theirs, &steps).is_some() {
            let steps = shrink(&mut ours, &mut theirs, steps);
            let difference =
                difference(&mut ours, &mut theirs, &steps).unwrap_or_else(|| "gone at the last try".into());
            let lines: Vec<_> = steps.iter().map(show).collect();
            findings.push(format!("DIFF_SEED={round}\n{}\n    {difference}", lines.join("\n")));
        }
        if findings.len() == 10 {
            break;
        }
    }
    assert!(findings.is_empty(), "{} differences:\n\n{}\n", findings.len(), findings.join("\n\n"));
}

/// The seed of the first round.
fn first_round() -> u64 {
    std::env::var("DIFF_SEED").map_or(1, |_| seed("DIFF_SEED"))
}

fn rounds(default: u64) -> u64 {
    std::env::var("DIFF_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_commands_get_the_replies_of_redis_on_uring() {
    if engines().contains(&Engine::Uring) {
        compare(&Server::start_on(Engine::Uring, &[]), &Server::reference(), first_round(), rounds(100));
    }
}

#[test]
fn random_commands_get_the_replies_of_redis_on_epoll() {
    compare(&Server::start_on(Engine::Epoll, &["--threads", "1"]), &Server::reference(), first_round(), rounds(100));
}

/// Without this, a difference could be the comparison's own.
#[test]
fn the_reference_does_not_differ_from_itself() {
    compare(&Server::reference(), &Server::reference(), first_round(), rounds(30));
}
