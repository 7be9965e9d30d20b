//! The same random commands go to ringdb and to redis-server; every byte of every reply must be the same.
//!
//!     facts  = COMMAND DOCS of the reference, as far as ringdb knows the commands      (facts.rs)
//!     round  = a clean start, a few hundred commands made from the facts (grammar.rs, words.rs) in pipelines over a RESP2 and
//!              a RESP3 connection, some of them as inline lines, then all keys, users and parameters compared
//!
//! What may differ stands in known.rs with its reasons. Any other difference is shrunk to a few commands, printed as one can
//! type them, with the seed that brings it back: `DIFF_SEED=7 DIFF_ROUNDS=1 cargo test --test black_box differential`.
//! Without a seed the same rounds are run every time, so that a failure means a change; `DIFF_ROUNDS=5000` with another seed
//! finds more. `REFERENCE_SERVER=/path/valkey-server` starts something else, `ORACLE=host:port` takes what runs there
//! (scripts/oracle-newer): its newer commands and options come with its facts. The reference against itself shows no
//! difference, so any difference is a finding.
//!
//! The same commands are also sent one by one inside MULTI and EXEC, and through scripts (`Dress`).

mod facts;
mod grammar;
mod known;
mod words;

use crate::harness::random::{Random, seed};
use crate::harness::{Client, Engine, Server, Value, engines, request};
use facts::Fact;
use grammar::Grammar;
use known::{Case, KNOWN, KNOWN_OF_7, KNOWN_OF_7_0, KNOWN_OF_VALKEY, Known};
use std::net::TcpStream;
use words::PARAMETERS;

const COMMANDS_PER_ROUND: usize = 300;
const DATABASES: usize = 16;
/// The user that AUTH can become. What he may do stays the same; the other users are changed at random and never log in.
const WORKER: &str = "ACL SETUSER worker reset on >pw ~a* %R~b %RW~num %W~c +@all -@dangerous -setrange -object";

/// How commands are sent.
#[derive(Clone, Copy, PartialEq)]
enum Dress {
    Plain,
    /// Each between MULTI and EXEC.
    Multi,
    /// Each by a script that replies what its command replies.
    Script,
}

impl Dress {
    /// What a command is sent in. Some are about connections and transactions themselves.
    fn of(self, command: &[Vec<u8>]) -> Dress {
        const BARE: [&[u8]; 12] = [
            b"multi",
            b"exec",
            b"discard",
            b"watch",
            b"unwatch",
            b"reset",
            b"quit",
            b"hello",
            b"auth",
            b"client",
            b"monitor",
            b"shutdown",
        ];
        let name = command[0].to_ascii_lowercase();
        if BARE.contains(&&*name) || name.ends_with(b"subscribe") {
            return Dress::Plain;
        }
        // Redis 7.0 lets no script call what may block; from 7.2 on it does as after a timeout.
        let names_wait: [&[u8]; 5] = [b"blpop", b"brpop", b"blm", b"bzpop", b"bzmpop"];
        let waits = names_wait.iter().any(|start| name.starts_with(start)) || name.starts_with(b"xread");
        if waits && self == Dress::Script { Dress::Plain } else { self }
    }
}

/// Some commands in a row over one connection: 0 speaks RESP2, 1 RESP3.
#[derive(Clone)]
struct Step {
    dress: Dress,
    connection: usize,
    /// Sent as a line with quotes instead of an array of bulks.
    is_inline: bool,
    command: Vec<Vec<u8>>,
}

impl Step {
    fn logs_in(&self) -> bool {
        [&b"auth"[..], b"hello"].iter().any(|name| self.command[0].eq_ignore_ascii_case(name))
    }
    fn request(&self) -> Vec<u8> {
        match self.dress {
            Dress::Plain if self.is_inline => {}
            Dress::Plain => return request(&self.command),
            Dress::Multi => return [request(&["MULTI"]), request(&self.command), request(&["EXEC"])].concat(),
            Dress::Script => {
                let script = ["", "redis.setresp(3) "][self.connection].to_string() + "return redis.call(unpack(ARGV))";
                let head = [b"EVAL".to_vec(), script.into_bytes(), b"0".to_vec()];
                return request(&head.iter().chain(&self.command).collect::<Vec<_>>());
            }
        }
        let words = self.command.iter().map(|word| format!("\"{}\"", word.escape_ascii())).collect::<Vec<_>>();
        (words.join(" ") + "\r\n").into_bytes()
    }
}

impl Step {
    /// Its reply: of a transaction that of its command, or why it was not queued; or all three. None: the connection was closed.
    fn reply(&self, client: &mut Client) -> Option<Vec<u8>> {
        let first = client.try_raw_reply()?;
        if self.dress != Dress::Multi {
            return Some(first);
        }
        let (queued, result) = (client.try_raw_reply()?, client.try_raw_reply()?);
        match result.strip_prefix(b"*1\r\n") {
            Some(reply) if queued == b"+QUEUED\r\n" => Some(reply.to_vec()),
            None if queued.starts_with(b"-") && result.starts_with(b"-EXECABORT ") => Some(queued),
            _ => Some([first, queued, result].concat()),
        }
    }
}

/// Something that can be connected to.
enum Place {
    Own(Server),
    /// `ORACLE`.
    Elsewhere(String),
}

impl Place {
    fn reference() -> Place {
        match std::env::var("ORACLE") {
            Ok(address) => Place::Elsewhere(address),
            Err(_) => Place::Own(Server::reference()),
        }
    }
    fn client(&self) -> Client {
        match self {
            Place::Own(server) => server.client(),
            Place::Elsewhere(address) => Client::over(TcpStream::connect(address).expect("ORACLE=host:port answers")),
        }
    }
}

/// One server and the connections to it.
struct Side {
    place: Place,
    clients: [Client; 2],
    /// Resets, and looks at the state; never runs a step.
    control: Client,
    /// The parameters' values at the start.
    parameters: Vec<(&'static str, String)>,
    /// A SORT or ZRANGESTORE was among the steps.
    has_sorted: bool,
    /// Both servers know users.
    has_users: bool,
}

impl Side {
    fn new(place: Place) -> Self {
        let (clients, mut control) = ([place.client(), place.client()], place.client());
        let names = PARAMETERS.iter().map(|&(name, _)| name).filter(|name| !name.is_empty());
        let value =
            |name: &'static str| Some((name, control.run(&format!("CONFIG GET {name}")).items().get(1)?.text()));
        let parameters = names.filter_map(value).collect();
        Side { place, clients, control, parameters, has_sorted: false, has_users: false }
    }
    /// A clean start: no data, default parameters, no users but the worker, connections as new.
    fn reset(&mut self) {
        for (proto, client) in ["2", "3"].iter().zip(&mut self.clients) {
            pipeline(client, &[vec!["RESET"], vec!["HELLO", proto]]);
        }
        let mut commands = vec![vec!["FLUSHALL"]];
        commands.extend(self.parameters.iter().map(|(name, value)| vec!["CONFIG", "SET", name, value]));
        if self.has_users {
            commands.push(WORKER.split(' ').collect());
            commands.push(vec!["ACL", "USERS"]);
        }
        let replies = pipeline(&mut self.control, &commands);
        let users = replies.last().map_or(Vec::new(), |users| users.items());
        let strangers = users.iter().filter(|user| !["default", "worker"].map(str::as_bytes).contains(&user.bytes()));
        let delete: Vec<[&[u8]; 3]> = strangers.map(|user| [&b"ACL"[..], b"DELUSER", user.bytes()]).collect();
        pipeline(&mut self.control, &delete);
    }
    /// Runs steps as pipelines of whatever follows each other on one connection; what logs in begins a new one, since Redis 7.2
    /// leaves it unanswered if it fails while other replies are still to be sent. Returns the raw replies; nothing for the
    /// rest of a pipeline whose connection was closed.
    fn run(&mut self, steps: &[Step]) -> Vec<Vec<u8>> {
        let mut replies = Vec::new();
        let converts = |name: &[u8]| name.starts_with(b"sort") || name == b"zrangestore";
        self.has_sorted = steps.iter().any(|step| converts(&step.command[0].to_ascii_lowercase()));
        for pipeline in steps.chunk_by(|a, b| a.connection == b.connection && !b.logs_in()) {
            let client = &mut self.clients[pipeline[0].connection];
            client.send(&pipeline.iter().flat_map(Step::request).collect::<Vec<u8>>());
            let mut is_open = true;
            for step in pipeline {
                let reply = if is_open { step.reply(client) } else { None };
                is_open = reply.is_some();
                replies.push(reply.unwrap_or_default());
            }
            if !is_open {
                *client = self.place.client();
            }
        }
        replies
    }
    /// All keys with everything that can be seen of them, all users, all parameters.
    fn state(&mut self) -> Vec<String> {
        let control = &mut self.control;
        let names: Vec<String> = (0..DATABASES).map(|db| db.to_string()).collect();
        // A key that was written with a deadline in the past goes when it is scanned; until then Redis 7.0 counts it.
        let look = |db| [vec!["SELECT", db], vec!["SCAN", "0", "COUNT", "1000000"], vec!["DBSIZE"], vec!["KEYS", "*"]];
        let replies = pipeline(control, &names.iter().flat_map(|db| look(db)).collect::<Vec<_>>());
        let (mut state, mut found, mut commands) = (Vec::new(), Vec::new(), Vec::new());
        let words = |line: &str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        for (db, replies) in names.iter().zip(replies.chunks(4)) {
            state.push(format!("db {db}: {} keys", replies[2]));
            let mut keys: Vec<Vec<u8>> = replies[3].items().iter().map(|key| key.bytes().to_vec()).collect();
            keys.sort();
            for key in keys {
                commands.extend([words(&format!("SELECT {db}")), vec![b"TYPE".to_vec(), key.clone()]]);
                found.push((db, key));
            }
        }
        let types: Vec<_> = pipeline(control, &commands).chunks(2).map(|replies| replies[1].text()).collect();
        let facts = found.iter().zip(&types).flat_map(|((db, key), kind)| {
            let facts = [&format!("SELECT {db}"), "OBJECT ENCODING KEY", contents(kind), "PEXPIRETIME KEY"];
            facts.map(|fact| {
                words(fact).into_iter().map(|word| if word == b"KEY" { key.clone() } else { word }).collect()
            })
        });
        let replies = pipeline(control, &facts.collect::<Vec<Vec<_>>>());
        for (((db, key), kind), facts) in found.iter().zip(&types).zip(replies.chunks(4)) {
            let expires = match facts[3].int() {
                at @ 1.. => format!("expires near {}", at.saturating_add(30_000) / 100_000),
                at => at.to_string(),
            };
            // Since 7.2 small lists and sets have an encoding more; SORT gives sorted sets another one as it reads
            // them, ZRANGESTORE by members or scores as it writes them.
            let is_any = ["list", "set"].contains(&&**kind) || *kind == "zset" && self.has_sorted;
            let encoding = if is_any { "any".into() } else { facts[1].to_string() };
            let contents = known::in_order(kind, &facts[2]);
            state.push(format!("{db} '{}': {kind} {encoding} {contents} {expires}", key.escape_ascii()));
        }
        let mut commands: Vec<_> = self.parameters.iter().map(|(name, _)| vec!["CONFIG", "GET", name]).collect();
        commands.extend(self.has_users.then(|| vec!["ACL", "USERS"]));
        let replies = pipeline(control, &commands);
        state.extend(commands.iter().zip(replies).map(|(command, reply)| format!("{}: {reply}", command.join(" "))));
        state
    }
}

/// The command that shows all of a value of this type; `KEY` stands for its key.
fn contents(kind: &str) -> &'static str {
    match kind {
        "list" => "LRANGE KEY 0 -1",
        "hash" => "HGETALL KEY",
        "set" => "SMEMBERS KEY",
        "zset" => "ZRANGE KEY 0 -1 WITHSCORES",
        "stream" => "XRANGE KEY - +",
        _ => "GET KEY",
    }
}

/// Runs commands in one go.
fn pipeline<A: AsRef<[u8]>, C: AsRef<[A]>>(client: &mut Client, commands: &[C]) -> Vec<Value> {
    client.send(&commands.iter().flat_map(|command| request(command.as_ref())).collect::<Vec<u8>>());
    client.replies(commands.len())
}

/// Two servers, what is known of them, and how to compare them.
struct Pair {
    ours: Side,
    theirs: Side,
    facts: Vec<Fact>,
    /// With how often each was met.
    known: Vec<(&'static Known, usize)>,
    dress: Dress,
}

impl Pair {
    fn new(ours: Place, theirs: Place) -> Self {
        let (mut ours, mut theirs) = (Side::new(ours), Side::new(theirs));
        let facts = facts::read(&mut theirs.control, &mut ours.control);
        assert!(facts.len() > 50, "only {} commands are known to both", facts.len());
        let both = |name: &str, other: &Side| other.parameters.iter().any(|(own, _)| *own == name);
        ours.parameters.retain(|(name, _)| both(name, &theirs));
        // Defaults belong to the version: both begin with ours.
        theirs.parameters = ours.parameters.clone();
        ours.has_users = facts.iter().any(|fact| fact.name == "acl|users");
        theirs.has_users = ours.has_users;
        let info = theirs.control.run("INFO server").text();
        // Redis names no server; Valkey, which does, calls itself 7.2, too.
        let is = |version| info.contains(version) && !info.contains("server_name:");
        let of_7_0 = if is("redis_version:7.0.") { KNOWN_OF_7_0 } else { &[] };
        let of_7 = if is("redis_version:7.") { KNOWN_OF_7 } else { &[] };
        let of_valkey = if info.contains("server_name:valkey") { KNOWN_OF_VALKEY } else { &[] };
        let known = KNOWN.iter().chain(of_7_0).chain(of_7).chain(of_valkey).map(|known| (known, 0)).collect();
        Pair { ours, theirs, facts, known, dress: Dress::Plain }
    }
    /// The steps of a round.
    fn steps(&self, round: u64) -> Vec<Step> {
        let mut grammar = Grammar::new(Random::seeded(round), &self.facts);
        let mut connection = 0;
        let steps = (0..COMMANDS_PER_ROUND).map(|_| {
            if grammar.words.random.percent(2) {
                connection = 1 - connection;
            }
            let command = grammar.command();
            let len: usize = command.iter().map(Vec::len).sum();
            let dress = self.dress.of(&command);
            Step { dress, connection, is_inline: len < 1000 && grammar.words.random.percent(5), command }
        });
        steps.collect()
    }
    /// Runs steps on both sides from an empty state. Returns the first difference, as text.
    fn difference(&mut self, steps: &[Step]) -> Option<String> {
        self.ours.reset();
        self.theirs.reset();
        let (ours, theirs) = (self.ours.run(steps), self.theirs.run(steps));
        for (step, (ours, theirs)) in steps.iter().zip(ours.iter().zip(&theirs)) {
            if ours == theirs {
                continue;
            }
            let case = Case::new(&step.command, ours, theirs);
            match self.known.iter_mut().find(|(known, _)| (known.covers)(&case)) {
                Some((_, count)) => *count += 1,
                None => {
                    let at = show(step);
                    return Some(format!("{at}\n    ringdb:    {}\n    reference: {}", clip(ours), clip(theirs)));
                }
            }
        }
        let (ours, theirs) = (self.ours.state(), self.theirs.state());
        let at = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at))?;
        Some(format!("    afterwards\n    ringdb:    {:?}\n    reference: {:?}", ours.get(at), theirs.get(at)))
    }
    /// The fewest steps found that still differ: halves, quarters … are left out as long as that helps.
    fn shrink(&mut self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut chunk = steps.len().div_ceil(2);
        loop {
            let before = steps.len();
            let mut at = 0;
            while at < steps.len() {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + chunk).min(steps.len()));
                match self.difference(&fewer) {
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
    /// Compares `rounds` rounds from `first` on; panics with a shrunk example of each difference, up to ten.
    fn compare(&mut self, first: u64, rounds: u64) {
        let mut findings = Vec::new();
        for round in first..first + rounds {
            let steps = self.steps(round);
            // What does not show again comes from a clock: a deadline that passed between the two sides.
            if self.difference(&steps).is_some() && self.difference(&steps).is_some() {
                let shrunk = self.shrink(steps.clone());
                let again = self.difference(&shrunk).map(|difference| (shrunk, difference));
                let again = again.or_else(|| self.difference(&steps).map(|difference| (steps, difference)));
                let Some((steps, difference)) = again else { continue };
                let lines: Vec<_> = steps.iter().map(show).collect();
                findings.push(format!("DIFF_SEED={round}\n{}\n  differs at\n{difference}", lines.join("\n")));
            }
            if findings.len() == 10 {
                break;
            }
        }
        println!("{} commands of {} kinds; known differences:", rounds as usize * COMMANDS_PER_ROUND, self.facts.len());
        self.known.iter().for_each(|(known, count)| println!("    {count:6}  {}", known.reason));
        assert!(findings.is_empty(), "{} differences:\n\n{}\n", findings.len(), findings.join("\n\n"));
    }
}

fn clip(reply: &[u8]) -> String {
    match reply {
        [] => "closed the connection".into(),
        _ if reply.len() > 1000 => format!("{}… ({} bytes)", reply[..1000].escape_ascii(), reply.len()),
        _ => reply.escape_ascii().to_string(),
    }
}

fn show(step: &Step) -> String {
    let words = step.command.iter().map(|word| match word {
        word if !word.is_empty() && word.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(b)) => {
            String::from_utf8_lossy(word).into_owned()
        }
        word => format!("\"{}\"", word.escape_ascii()),
    });
    let form = match step.dress {
        Dress::Plain if step.is_inline => " inline",
        Dress::Plain => "",
        Dress::Multi => " MULTI",
        Dress::Script => " EVAL",
    };
    format!("    [RESP{}{form}] {}", 2 + step.connection, words.collect::<Vec<_>>().join(" "))
}

/// The seed of the first round.
fn first_round() -> u64 {
    std::env::var("DIFF_SEED").map_or(1, |_| seed("DIFF_SEED"))
}

/// 180 rounds on each of two engines: 108 000 commands.
fn rounds() -> u64 {
    std::env::var("DIFF_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(180)
}

#[test]
fn random_commands_get_the_replies_of_redis_on_uring() {
    if engines().contains(&Engine::Uring) {
        let ours = Place::Own(Server::start_on(Engine::Uring, &[]));
        Pair::new(ours, Place::reference()).compare(first_round(), rounds());
    }
}

#[test]
fn random_commands_get_the_replies_of_redis_on_epoll() {
    let ours = Place::Own(Server::start_on(Engine::Epoll, &["--threads", "1"]));
    Pair::new(ours, Place::reference()).compare(first_round() + rounds(), rounds());
}

/// Rounds of commands that are dressed: 3 000 commands of each dress.
fn dressed_rounds() -> u64 {
    std::env::var("DIFF_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[test]
fn random_commands_get_the_replies_of_redis_inside_transactions() {
    let mut pair = Pair::new(Place::Own(Server::start(&[])), Place::reference());
    pair.dress = Dress::Multi;
    pair.compare(first_round(), dressed_rounds());
}

#[test]
fn random_commands_get_the_replies_of_redis_through_scripts() {
    let mut pair = Pair::new(Place::Own(Server::start(&[])), Place::reference());
    pair.dress = Dress::Script;
    pair.compare(first_round(), dressed_rounds());
}

/// Without this, a difference could be the comparison's own.
#[test]
fn the_reference_does_not_differ_from_itself() {
    let own = || Place::Own(Server::reference());
    Pair::new(own(), own()).compare(first_round(), rounds().min(30));
}
