//! MIGRATE: keys move to another server, or are copied there.
//!
//! ```text
//! first run   the keys as DUMP shows them ─▶ a trip; the client waits, its loop goes on
//! courier     a thread of its own: connect, AUTH, SELECT, RESTORE …, replies
//! next run    of each key that has arrived: still the same ─▶ removed here
//!                                           changed meanwhile ─▶ it travels again, with REPLACE; gone meanwhile ─▶ DEL there
//! ```
//! Other servers stand still meanwhile; this one does not, so a key counts as moved when it is removed, and what is removed is
//! what the other side has. Until then both have it, and writes go to this one. In a transaction or a script the trip is made at
//! once, and everybody waits for it.
//!
//! Couriers keep connections for a while, as Redis does: whoever moves many keys connects once. AUTH and SELECT are said on each
//! trip, and a connection serves only who says the same AUTH.

use super::command::{Begin, Command, Cx, Find, Flow, KeySpec, Wait, Woken, acl, cmd, flag};
use super::keyspec::KeyAt;
use super::redact;
use super::restore::{form, view};
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::keyspace::objects::Access;
use crate::keyspace::order::append_command;
use crate::keyspace::types::Type;
use crate::persist::encode::View;
use crate::persist::payload;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::Payload;
use crate::value::{hash::Hash, list::List, set::Set, stream::Stream, zset::SortedSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const KEY_FLAGS: &[&str] = &["RW", "access", "delete"];
const KEYS_FLAGS: &[&str] = &["RW", "access", "delete", "incomplete"];

pub static ROWS: &[Command] = &[cmd("migrate", migrate)
    .arity(-6)
    .flags(flag::WRITE)
    .acl(acl::KEYSPACE | acl::DANGEROUS)
    .keys(&[
        KeySpec::new(Begin::Index(3), Find::Range { last: 0, step: 1, limit: 0 }, KEY_FLAGS),
        KeySpec::new(Begin::Keyword("KEYS", -2), Find::Range { last: -1, step: 1, limit: 0 }, KEYS_FLAGS),
    ])
    .find_keys(migrate_keys)
    .secrets(redact::in_options_of_migrate)
    .group("generic", "2.6.0")
    .tips(&["nondeterministic_output"])];

/// A trip is made so often before a key counts as one that cannot be moved: it changes faster than it travels.
const ROUNDS_MAX: u32 = 32;
/// What a timeout of 0 or less means, in milliseconds. Source: Redis, `migrateCommand`.
const TIMEOUT_MS: u64 = 1000;

const KEYS_BESIDE_KEY: ReplyError =
    ReplyError::text("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
const NOT_REACHED: ReplyError = ReplyError::text("IOERR error or timeout connecting to the client");
const NOT_WRITTEN: ReplyError = ReplyError::text("IOERR error or timeout writing to target instance");
const NOT_READ: ReplyError = ReplyError::text("IOERR error or timeout reading from target instance");
const TOO_FAST: ReplyError =
    ReplyError::text("ERR A key has changed again and again while it was sent: it is here and on the target instance");

/// Where the keys of MIGRATE stand. Source: Redis, `migrateGetKeys`.
fn migrate_keys(args: &Args<'_>) -> Vec<KeyAt> {
    let mut at = 6;
    while at < args.count() {
        match () {
            _ if args.is(at, "keys") && args.get(3).is_empty() => {
                return (at + 1..args.count()).map(|at| (at, KEY_FLAGS)).collect();
            }
            _ if args.is(at, "keys") => break,
            _ if args.is(at, "auth") => at += 1,
            _ if args.is(at, "auth2") => at += 2,
            _ => {}
        }
        at += 1;
    }
    vec![(3, KEY_FLAGS)]
}

/// What MIGRATE is asked for.
#[derive(Debug, Default)]
struct Plan {
    is_copy: bool,
    may_replace: bool,
    /// The words of AUTH, if there are any.
    login: Vec<Vec<u8>>,
    /// Arguments that are keys.
    keys: std::ops::Range<usize>,
    db: i64,
    timeout: Duration,
}

impl Plan {
    /// Shape:  `host port key|"" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] [KEYS key ...]`
    /// Errors: syntax, a key beside KEYS, numbers.
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut plan = Plan { keys: 3..4, ..Plan::default() };
        let mut at = 6;
        while at < args.count() {
            let left = args.count() - 1 - at;
            let words = |count: usize| (at + 1..=at + count).map(|at| args.get(at).to_vec()).collect();
            match () {
                _ if args.is(at, "copy") => plan.is_copy = true,
                _ if args.is(at, "replace") => plan.may_replace = true,
                _ if args.is(at, "auth") && left >= 1 => {
                    plan.login = words(1);
                    at += 1;
                }
                _ if args.is(at, "auth2") && left >= 2 => {
                    plan.login = words(2);
                    at += 2;
                }
                _ if args.is(at, "keys") => {
                    if !args.get(3).is_empty() {
                        return Err(KEYS_BESIDE_KEY);
                    }
                    plan.keys = at + 1..args.count();
                    break;
                }
                _ => return Err(ReplyError::Syntax),
            }
            at += 1;
        }
        let timeout = parse_i64(args.get(5)).ok_or(ReplyError::NotInteger)?;
        plan.db = parse_i64(args.get(4)).ok_or(ReplyError::NotInteger)?;
        plan.timeout = Duration::from_millis(if timeout <= 0 { TIMEOUT_MS } else { timeout as u64 });
        Ok(plan)
    }
}

/// What is sent of a key.
struct Parcel {
    /// Its argument.
    at: usize,
    /// None: it is gone here, and has to go there.
    payload: Option<Vec<u8>>,
    expires_at: Option<WallMs>,
}

/// What a courier is told: where to, and what to say there. Replies come in the same order.
pub struct Order {
    pub host: Vec<u8>,
    pub port: Vec<u8>,
    /// What AUTH says there: a connection is kept for those who say the same.
    pub login: Vec<Vec<u8>>,
    /// For connecting, and for each read and write.
    pub timeout: Duration,
    pub request: Vec<u8>,
    /// Lines of reply that follow.
    pub reply_count: usize,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Replies, each a line without its end.
    pub replies: Vec<Vec<u8>>,
    pub failure: Option<Failure>,
}

/// Why there are no more replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Connect,
    Write,
    Read,
}

/// Whoever makes trips.
pub trait Courier: Send + Sync {
    /// Makes a trip, and returns when it is over.
    fn travel(&self, order: &Order) -> Outcome;
    /// Connections that wait for the next trip.
    fn kept_count(&self) -> usize;
    /// Closes those that nobody has used for long.
    fn tidy(&self);
}

/// Keys on their way.
struct Trip {
    order: Order,
    parcels: Vec<Parcel>,
    /// Replies before those for parcels.
    preface: usize,
    rounds: u32,
    outcome: Mutex<Option<Outcome>>,
}

impl Trip {
    fn take_outcome(&self) -> Option<Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
    fn make(&self, courier: Option<&dyn Courier>) {
        let lost = || Outcome { failure: Some(Failure::Connect), ..Outcome::default() };
        let outcome = courier.map_or_else(lost, |courier| courier.travel(&self.order));
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }
}

/// Moves keys to another server, or copies them.
/// Shape:  see `Plan`
/// Errors: options; the way there; what the other server says. Keys that it has taken before are moved.
fn migrate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let plan = Plan::parse(&args)?;
    let is_again = cx.session.woken.is_some();
    let kept = cx.session.kept.take().filter(|_| is_again).and_then(|kept| kept.downcast::<Arc<Trip>>().ok());
    let (mut trip, mut is_on_its_way) = match kept {
        Some(trip) => (*trip, true),
        None => match pack(cx, &args, &plan) {
            Some(trip) => (Arc::new(trip), false),
            None => {
                cx.reply.simple("NOKEY");
                return Ok(Flow::Done);
            }
        },
    };
    loop {
        let Some(outcome) = trip.take_outcome() else {
            if cx.session.woken == Some(Woken::TimedOut) {
                return Err(NOT_READ); // CLIENT UNBLOCK, or there was no thread.
            }
            if !cx.may_wait() {
                trip.make(cx.world.courier.get().map(Arc::as_ref));
                continue;
            }
            if !is_on_its_way {
                let (courier, own) = (cx.world.courier.get().cloned(), trip.clone());
                cx.effects.errand = Some(Box::new(move || own.make(courier.as_deref())));
            }
            cx.session.kept = Some(Box::new(trip));
            return Ok(Flow::Park(Wait::Event { until: None }));
        };
        match settle(cx, &args, &plan, &trip, &outcome)? {
            Some(next) => (trip, is_on_its_way) = (Arc::new(next), false),
            None => {
                cx.reply.ok();
                return Ok(Flow::Done);
            }
        }
    }
}

/// What is there of the plan's keys. None: nothing.
fn pack(cx: &Cx<'_>, args: &Args<'_>, plan: &Plan) -> Option<Trip> {
    let found = plan.keys.clone().filter_map(|at| parcel(cx, args, at)).collect::<Vec<_>>();
    (!found.is_empty()).then(|| trip(cx, args, plan, found, 0))
}

/// A key as it is now. None: it is not there.
fn parcel(cx: &Cx<'_>, args: &Args<'_>, at: usize) -> Option<Parcel> {
    let (key, form) = (cx.key(args, at), form(&cx.world.config));
    loop {
        let entry = cx.keys.read(key)?;
        if let Some(payload) = view(entry, |view| payload::write(view, form)) {
            return Some(Parcel { at, payload: Some(payload), expires_at: entry.expires_at() });
        }
    }
}

fn trip(cx: &Cx<'_>, args: &Args<'_>, plan: &Plan, parcels: Vec<Parcel>, rounds: u32) -> Trip {
    let (mut request, mut preface) = (Vec::new(), 1);
    if !plan.login.is_empty() {
        let words = [&b"AUTH"[..]].into_iter().chain(plan.login.iter().map(Vec::as_slice)).collect::<Vec<_>>();
        append_command(&mut request, words.into_iter());
        preface += 1;
    }
    append_command(&mut request, [&b"SELECT"[..], plan.db.to_string().as_bytes()].into_iter());
    for parcel in &parcels {
        let name = args.get(parcel.at);
        let Some(payload) = &parcel.payload else {
            append_command(&mut request, [&b"DEL"[..], name].into_iter());
            continue;
        };
        let left = parcel.expires_at.map_or(0, |at| at.0.saturating_sub(cx.keys.now.0).max(1)).to_string();
        let mut words = vec![&b"RESTORE"[..], name, left.as_bytes(), payload];
        if plan.may_replace || rounds > 0 {
            words.push(b"REPLACE"); // In later rounds what is there is ours.
        }
        append_command(&mut request, words.into_iter());
    }
    let (host, port) = (args.get(1).to_vec(), args.get(2).to_vec());
    let (login, timeout, reply_count) = (plan.login.clone(), plan.timeout, preface + parcels.len());
    let order = Order { host, port, login, timeout, request, reply_count };
    Trip { order, parcels, preface, rounds, outcome: Mutex::default() }
}

/// A trip is over: what has arrived is removed here, unless it has changed meanwhile. Returns the next trip, if one is needed.
/// Errors: what the other server says, the way there; a key that changes too fast.
fn settle(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    plan: &Plan,
    trip: &Trip,
    outcome: &Outcome,
) -> Result<Option<Trip>, ReplyError> {
    let refusal = outcome.replies.iter().find(|line| line.first() == Some(&b'-'));
    let may_count = outcome.replies.iter().take(trip.preface).all(|line| line.first() != Some(&b'-'));
    let mut changed = Vec::new();
    if may_count && !plan.is_copy {
        let arrived = outcome.replies.iter().skip(trip.preface).zip(&trip.parcels);
        let arrived = arrived.filter(|(line, _)| line.first() != Some(&b'-')).map(|(_, parcel)| parcel);
        changed = remove_all(cx, args, arrived);
    }
    if let Some(line) = refusal {
        let line = String::from_utf8_lossy(&line[1..]);
        return Err(ReplyError::owned(format!("ERR Target instance replied with error: {line}")));
    }
    match outcome.failure {
        Some(Failure::Connect) => return Err(NOT_REACHED),
        Some(Failure::Write) => return Err(NOT_WRITTEN),
        Some(Failure::Read) => return Err(NOT_READ),
        None => {}
    }
    if changed.is_empty() {
        return Ok(None);
    }
    if trip.rounds >= ROUNDS_MAX {
        return Err(TOO_FAST);
    }
    let again = |at| parcel(cx, args, at).unwrap_or(Parcel { at, payload: None, expires_at: None });
    let parcels = changed.into_iter().map(again).collect();
    Ok(Some(self::trip(cx, args, plan, parcels, trip.rounds + 1)))
}

/// Removes keys that have arrived. Returns those that are not any more what was sent.
fn remove_all<'p>(cx: &mut Cx<'_>, args: &Args<'_>, arrived: impl Iterator<Item = &'p Parcel>) -> Vec<usize> {
    let (mut changed, mut removed) = (Vec::new(), vec![&b"DEL"[..]]);
    for parcel in arrived {
        let key = cx.key(args, parcel.at);
        match remove_same(cx, key, parcel) {
            Some(true) => removed.push(key.bytes),
            Some(false) => {}
            None => changed.push(parcel.at),
        }
    }
    for key in &removed[1..] {
        cx.touched(key);
        cx.effects.filled(cx.keys.db(), key); // Groups of a stream have gone.
        cx.effects.dirty += 1;
    }
    if removed.len() > 1 {
        cx.propagate(&removed);
    }
    changed
}

/// Removes the key if it is what was sent. False: it was gone, and so it was said. None: it is something else by now.
fn remove_same(cx: &Cx<'_>, key: Key<'_>, parcel: &Parcel) -> Option<bool> {
    let form = form(&cx.world.config);
    cx.keys.with_held(&[(key, Access::Write)], |held| {
        let (Some(sent), Some(entry)) = (&parcel.payload, held.entry(0)) else {
            let is_settled = parcel.payload.is_none() && held.entry(0).is_none();
            return Ok(is_settled.then_some(false));
        };
        let write = |view: View<'_>| Some(payload::write(view, form));
        let now = match (Type::of(entry), entry.payload()) {
            (_, Payload::Inline(bytes)) => write(View::Text(bytes)),
            (_, Payload::Cell(value)) => write(View::Int(value)),
            (_, Payload::Blob(blob)) => write(View::Text(blob)),
            (Type::List, _) => held.get::<List>(0).ok().flatten().map(View::List).and_then(write),
            (Type::Set, _) => held.get::<Set>(0).ok().flatten().map(View::Set).and_then(write),
            (Type::Hash, _) => held.get::<Hash>(0).ok().flatten().map(View::Hash).and_then(write),
            (Type::SortedSet, _) => held.get::<SortedSet>(0).ok().flatten().map(View::SortedSet).and_then(write),
            (_, _) => held.get::<Stream>(0).ok().flatten().map(View::Stream).and_then(write),
        };
        if now.as_ref() != Some(sent) || entry.expires_at() != parcel.expires_at {
            return Ok(None);
        }
        held.remove(0).map(Some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::testkit::{Client, Line, check};

    #[test]
    fn options_are_checked() {
        check(
            "
            MIGRATE h 1 k 0 => ERR wrong number of arguments for 'migrate' command
            MIGRATE h 1 k x 10 => ERR value is not an integer or out of range
            MIGRATE h 1 k 0 x => ERR value is not an integer or out of range
            MIGRATE h 1 k 0 10 MOVE => ERR syntax error
            MIGRATE h 1 k 0 10 AUTH => ERR syntax error
            MIGRATE h 1 k 0 10 AUTH2 user => ERR syntax error
            MIGRATE h 1 k 0 10 KEYS a => ERR When using MIGRATE KEYS option, the key argument must be set to the empty string
            MIGRATE h 1 k 0 10 => NOKEY
            MIGRATE h 1 '' 0 10 KEYS => NOKEY
            MIGRATE h 1 '' 0 10 KEYS a b => NOKEY
            COMMAND GETKEYS MIGRATE h 1 '' 0 10 COPY AUTH2 keys keys KEYS a b => ['a', 'b']
            COMMAND GETKEYS MIGRATE h 1 k 0 10 REPLACE => ['k']
        ",
        );
    }

    /// A courier that always brings these replies.
    struct Parrot(&'static [&'static str]);

    impl Courier for Parrot {
        fn travel(&self, order: &Order) -> Outcome {
            let replies = self.0.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
            let failure = (replies.len() < order.reply_count).then_some(Failure::Read);
            Outcome { replies, failure }
        }
        fn kept_count(&self) -> usize {
            0
        }
        fn tidy(&self) {}
    }

    /// A client whose key `k` holds `v`, and whose courier brings these replies.
    fn with_courier(lines: &'static [&'static str]) -> Client {
        let mut client = Client::new();
        assert!(client.world.courier.set(Arc::new(Parrot(lines))).is_ok());
        client.run(&Line::new("SET k v"));
        client
    }

    fn text((reply, _): (Vec<u8>, Flow)) -> String {
        String::from_utf8_lossy(&reply).into_owned()
    }

    #[test]
    fn what_has_arrived_is_removed_if_it_is_still_the_same() {
        let mut client = with_courier(&["+OK", "+OK"]);
        let line = Line::new("MIGRATE h 1 k 0 10");
        assert!(matches!(client.run(&line).1, Flow::Park(_)));
        client.effects.errand.take().expect("it is sent")();
        client.run(&Line::new("APPEND k w"));
        client.session.woken = Some(Woken::Event { until: None });
        assert!(matches!(client.run(&line).1, Flow::Park(_)), "it has changed, and travels again");
        client.effects.errand.take().expect("it is sent")();
        assert_eq!(text(client.run(&line)), "+OK\r\n");
        assert_eq!(text(client.run(&Line::new("EXISTS k"))), ":0\r\n");
    }

    #[test]
    fn what_was_refused_or_not_answered_stays() {
        for (lines, said) in [
            (&["+OK", "-BUSYKEY it is there"][..], "-ERR Target instance replied with error: BUSYKEY it is there\r\n"),
            (&["-NOAUTH", "+OK"], "-ERR Target instance replied with error: NOAUTH\r\n"),
            (&["+OK"], "-IOERR error or timeout reading from target instance\r\n"),
        ] {
            let mut client = with_courier(lines);
            client.session.denies_blocking = true;
            assert_eq!(text(client.run(&Line::new("MIGRATE h 1 k 0 10"))), said);
            assert_eq!(text(client.run(&Line::new("EXISTS k"))), ":1\r\n");
        }
    }
}
