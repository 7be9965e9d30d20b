//! For tests of the commands: a world without sockets, a client in it, and scenarios as text.

use super::command::{Class, Cx, Effects, Flow};
use super::resume::{Slice, Step};
use super::session::Session;
use super::table;
use super::world::{Boot, World};
use crate::admin::clients::Endpoints;
use crate::base::hash::KeyHasher;
use crate::base::ids::LoopId;
use crate::base::prng::Prng;
use crate::keyspace::events::Event;
use crate::keyspace::{Keys, Local};
use crate::resp::args::{Arg, Args, Parts};
use crate::resp::error::ReplyError;
use crate::resp::reply::{Proto, Reply};
use crate::table::Participant;

/// A command line as a client would have sent it: words by spaces, `"…"` with `\n \r \t \0 \" \\ \xHH`, `'…'` literally.
pub struct Line {
    buf: Vec<u8>,
    items: Vec<Arg>,
}

impl Line {
    pub fn new(line: &str) -> Self {
        let words = words(line);
        let parts: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        Self::of(&parts)
    }
    /// From arguments as bytes.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut line = Line { buf: Vec::new(), items: Vec::new() };
        for part in parts {
            line.items.push(Arg { offset: line.buf.len() as u32, len: part.len() as u32, hash: 0 });
            line.buf.extend_from_slice(part);
        }
        line
    }
    pub fn parts(&self) -> Parts<'_> {
        Parts { buf: &self.buf, items: &self.items, large: &[] }
    }
}

/// One client in a world of its own.
pub struct Client {
    pub world: World,
    pub session: Session,
    pub reply: Reply,
    pub effects: Effects,
    pub local: Local,
    prng: Prng,
    seat: Participant,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    pub fn new() -> Self {
        let world = World::new(Boot::default(), KeyHasher::seeded(1));
        let endpoints = Endpoints::Tcp { peer: ([127, 0, 0, 1], 50000).into(), local: ([127, 0, 0, 1], 6379).into() };
        world.clients.reserve(1);
        let info = world.clients.add(LoopId(0), 8, endpoints, world.keyspace.now.get());
        let session = Session::new(info, &world.acl);
        Client {
            world,
            session,
            reply: Reply::default(),
            effects: Effects::default(),
            local: Local::new(7),
            prng: Prng::seeded(7),
            seat: Participant::new(),
        }
    }
    /// Runs a command line and returns the reply's bytes.
    pub fn raw(&mut self, line: &str) -> Vec<u8> {
        self.run(&Line::new(line)).0
    }
    /// Runs a command line and returns its reply as `check` writes it.
    pub fn run_line(&mut self, line: &str) -> String {
        render(&self.raw(line))
    }
    /// Has events of these classes noted.
    pub fn listen(&mut self, classes: &[u8]) {
        self.world.keyspace.listeners.publish(Class::of_letters(classes));
    }
    /// The events since the last call: `name key` each, of another database than 0 with its number.
    pub fn events(&mut self) -> String {
        let log = self.local.events.take();
        let shown = |event: Event<'_>| {
            let db = if event.db.0 == 0 { String::new() } else { format!("{} ", event.db.0) };
            format!("{db}{} {}", event.name, event.key.escape_ascii())
        };
        let all: Vec<_> = log.iter().filter(|event| event.class != Class::NONE).map(shown).collect();
        self.local.events.put_back(log);
        all.join(", ")
    }
    /// Runs one command: lookup, arity, handler, and a half reply undone, as the dispatcher does.
    pub fn run(&mut self, line: &Line) -> (Vec<u8>, Flow) {
        let parts = line.parts();
        let args = Args::of(&parts);
        let mark = self.reply.mark();
        self.session.before_reply();
        let result = match table::resolve(&args) {
            Err(error) => Err(error),
            Ok(row) => {
                let guard = self.seat.pin();
                let now = self.world.keyspace.now.refresh();
                self.session.info.set_row(row.index as u32);
                self.local.recency.begin_turn(&self.world.config, now);
                self.local.events.heed(&self.world.keyspace.listeners);
                let (world, local, db) = (&self.world, &self.local, self.session.db);
                let mut cx = Cx {
                    keys: Keys::new(&world.keyspace, db, &guard, &world.stats[0], local, now)
                        .no_touch(self.session.no_touch),
                    reply: &mut self.reply,
                    session: &mut self.session,
                    world: &self.world,
                    prng: &mut self.prng,
                    effects: &mut self.effects,
                };
                (row.run)(&mut cx, args).and_then(|flow| finish(&mut cx, flow))
            }
        };
        let flow = result.unwrap_or_else(|error| {
            self.reply.truncate(mark);
            self.reply.error(&error);
            Flow::Done
        });
        if !self.session.wants_reply() {
            self.reply.truncate(mark);
        }
        let output = self.reply.take();
        let mut bytes = Vec::new();
        let mut from = 0;
        for (at, shared) in output.refs {
            bytes.extend_from_slice(&output.buf[from..at]);
            bytes.extend_from_slice(&shared);
            from = at;
        }
        bytes.extend_from_slice(&output.buf[from..]);
        (bytes, flow)
    }
}

/// Runs what a handler has left to later turns, in the smallest slices.
fn finish(cx: &mut Cx<'_>, flow: Flow) -> Result<Flow, ReplyError> {
    let Some(mut job) = cx.effects.job.take() else { return Ok(flow) };
    while job.step(cx, Slice::NONE)? == Step::More {}
    Ok(Flow::Done)
}

/// Runs a scenario, first in RESP2, then in a fresh world in RESP3. No time passes meanwhile.
/// Shape: lines `COMMAND => reply`; `#` begins a comment line. Replies: `OK` (simple string), `7`, `'bulk'`, `(nil)`,
/// `[a, b]` for arrays, `{k: v}` for maps, `~[…]` for sets, `,1.5` doubles, `#t`, an error by its text (`ERR …`), `*` for
/// anything. A reply that differs between the protocols is given as `resp2 || resp3`.
pub fn check(scenario: &str) {
    for proto in [Proto::Resp2, Proto::Resp3] {
        let mut client = Client::new();
        client.world.keyspace.now.stop();
        client.reply.proto = proto;
        check_on(&mut client, scenario);
    }
}

/// Runs a scenario for a given client.
pub fn check_on(client: &mut Client, scenario: &str) {
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (command, expected) = line.rsplit_once("=>").unwrap_or_else(|| panic!("no => in: {line}"));
        let expected = match (expected.split_once("||"), client.reply.proto) {
            (Some((resp2, _)), Proto::Resp2) => resp2.trim(),
            (Some((_, resp3)), Proto::Resp3) => resp3.trim(),
            (None, _) => expected.trim(),
        };
        let got = client.run_line(command.trim());
        assert!(expected == "*" || got == expected, "{line}\n    got {got} ({:?})", client.reply.proto);
    }
}

/// Splits a line into words. Panics on an open quote: the scenario is wrong.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.trim().bytes().peekable();
    while let Some(&first) = bytes.peek() {
        match first {
            b' ' => {
                bytes.next();
                continue;
            }
            b'"' | b'\'' => {
                bytes.next();
                words.push(quoted(&mut bytes, first));
            }
            _ => words.push(std::iter::from_fn(|| bytes.next_if(|&byte| byte != b' ')).collect()),
        }
    }
    words
}

fn quoted(bytes: &mut impl Iterator<Item = u8>, quote: u8) -> Vec<u8> {
    let mut word = Vec::new();
    loop {
        match bytes.next().expect("the quote is closed") {
            byte if byte == quote => return word,
            b'\\' if quote == b'"' => word.push(escaped(bytes)),
            byte => word.push(byte),
        }
    }
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next().expect("an escape has a letter") {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'x' => {
            let mut digit = || (bytes.next().expect("two hex digits") as char).to_digit(16).expect("a hex digit") as u8;
            digit() << 4 | digit()
        }
        other => other,
    }
}

/// A reply as `check` writes it.
pub fn render(mut bytes: &[u8]) -> String {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        replies.push(render_one(&mut bytes));
    }
    replies.join(" ")
}

fn render_one(bytes: &mut &[u8]) -> String {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").expect("a whole line");
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    let sigil = bytes[0];
    *bytes = &bytes[end + 2..];
    let count = || line.parse::<i64>().expect("a count");
    match sigil {
        b'+' | b'-' | b':' => line,
        b'_' => "(nil)".into(),
        b',' | b'#' => format!("{}{line}", sigil as char),
        b'$' | b'*' if line == "-1" => "(nil)".into(),
        b'$' | b'=' => {
            let (body, rest) = bytes.split_at(count() as usize);
            *bytes = rest.strip_prefix(b"\r\n").expect("a line end behind the bulk");
            let body = if sigil == b'=' { &body[4..] } else { body }; // Without the format of a verbatim string.
            format!("'{}'", body.escape_ascii())
        }
        b'*' | b'~' | b'>' => {
            let items: Vec<_> = (0..count()).map(|_| render_one(bytes)).collect();
            let sigil = if sigil == b'*' { String::new() } else { (sigil as char).to_string() };
            format!("{sigil}[{}]", items.join(", "))
        }
        b'%' => {
            let items: Vec<_> = (0..count()).map(|_| format!("{}: {}", render_one(bytes), render_one(bytes))).collect();
            format!("{{{}}}", items.join(", "))
        }
        b'|' => {
            let items: Vec<_> = (0..count()).map(|_| format!("{}: {}", render_one(bytes), render_one(bytes))).collect();
            format!("|{{{}}} {}", items.join(", "), render_one(bytes)) // An attribute stands before its reply.
        }
        other => panic!("not a reply: {}", other as char),
    }
}
