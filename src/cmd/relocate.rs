//! RENAME, RENAMENX, COPY, MOVE: a value comes to stand under another key or in another database.
//!
//! Both keys are locked together, so no observer sees the value at both places or at none. The value gets a new entry, never
//! the old one at a new place: an entry that was removed is not published again. Large values are shared, not copied.

use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use super::database;
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::keyspace::types::{copy_as, new_collection};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::Change;

const SAME_OBJECT: ReplyError = ReplyError::text("ERR source and destination objects are the same");

pub static ROWS: &[Command] = &[
    cmd("copy", copy)
        .arity(-3)
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RO", "access"]), KeySpec::one(2, &["OW", "update"])])
        .group("generic", "6.2.0"),
    cmd("move", move_)
        .arity(3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RW", "access", "update"])])
        .group("generic", "1.0.0"),
    cmd("rename", rename)
        .arity(3)
        .flags(flag::WRITE)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["OW", "update"])])
        .group("generic", "1.0.0"),
    cmd("renamenx", renamenx)
        .arity(3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RW", "access", "delete"]), KeySpec::one(2, &["OW", "insert"])])
        .group("generic", "1.0.0"),
];

/// From where to where, and how.
struct Path<'k> {
    from: (DbIndex, Key<'k>),
    to: (DbIndex, Key<'k>),
    /// Does the source stay?
    is_copy: bool,
    may_replace: bool,
    /// What listeners hear of the source, if it goes, and of the destination.
    events: [&'static str; 2],
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Done,
    NoSource,
    Occupied,
}

/// Puts the value, with its deadline, at its new place. Source and destination differ.
fn relocate(cx: &mut Cx<'_>, path: &Path<'_>) -> Outcome {
    let keys = cx.keys;
    if path.to.0 != keys.db() {
        keys.on(path.to.0).before_write(path.to.1); // Of another database: the command's keys are those of this one.
    }
    let outcome = keys.transact(&[path.from, path.to], |txn| {
        let Some(source) = keys.live(txn.old(0)) else { return Outcome::NoSource };
        if keys.live(txn.old(1)).is_some() && !path.may_replace {
            return Outcome::Occupied;
        }
        let recency = if path.is_copy { keys.recency() } else { source.recency() };
        let (name, expires_at) = (path.to.1.bytes, source.expires_at());
        match txn.duplicate(0).filter(|_| path.is_copy) {
            Some(collection) => txn.decide(1, Change::Put(new_collection(name, collection, expires_at, recency))),
            None => txn.bequeath(0, 1, copy_as(source, name, expires_at, recency)),
        }
        if !path.is_copy {
            txn.decide(0, Change::Remove);
        }
        Outcome::Done
    });
    if outcome == Outcome::Done {
        tell(cx, path);
        cx.effects.dirty += 1;
        cx.effects.filled(path.to.0, path.to.1.bytes);
        if !path.is_copy {
            cx.effects.filled(path.from.0, path.from.1.bytes); // Groups of a stream have gone from there.
        }
    }
    outcome
}

/// Tells listeners of both keys. First that the destination is new: what it held before went for it, as in Redis.
fn tell(cx: &Cx<'_>, path: &Path<'_>) {
    let ((from_db, from), (to_db, to)) = (path.from, path.to);
    let (source, destination) = (cx.keys.on(from_db), cx.keys.on(to_db));
    cx.keys.local.events.note_fresh(to_db, to.bytes);
    destination.touched(to.bytes);
    if !path.is_copy {
        source.changed(from.bytes, Class::GENERIC, path.events[0]);
    }
    destination.event(to.bytes, Class::GENERIC, path.events[1]);
}

/// Gives a key another name, in place of whatever has that name.
/// Shape:  `key newkey`
/// Errors: no such key.
fn rename(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if rename_to(cx, &args, true)? == Outcome::NoSource {
        return Err(ReplyError::NoSuchKey);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Gives a key another name if that is free.
/// Shape:  `key newkey`
/// Errors: no such key.
fn renamenx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match rename_to(cx, &args, false)? {
        Outcome::NoSource => return Err(ReplyError::NoSuchKey),
        outcome => cx.reply.int((outcome == Outcome::Done) as i64),
    }
    Ok(Flow::Done)
}

fn rename_to(cx: &mut Cx<'_>, args: &Args<'_>, may_replace: bool) -> Result<Outcome, ReplyError> {
    let (from, to, db) = (cx.key(args, 1), cx.key(args, 2), cx.keys.db());
    if from.bytes == to.bytes {
        return Ok(if cx.keys.peek(from).is_some() { Outcome::Occupied } else { Outcome::NoSource });
    }
    let events = ["rename_from", "rename_to"];
    Ok(relocate(cx, &Path { from: (db, from), to: (db, to), is_copy: false, may_replace, events }))
}

/// Copies a value to another key.
/// Shape:  `source destination [DB index] [REPLACE]`
/// Errors: option, database, source and destination the same.
fn copy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (mut db, mut may_replace) = (cx.keys.db(), false);
    let mut at = 3;
    while at < args.count() {
        if args.is(at, "replace") {
            may_replace = true;
        } else if args.is(at, "db") && at + 1 < args.count() {
            at += 1;
            db = database::index(cx, args.get(at))?;
        } else {
            return Err(ReplyError::Syntax);
        }
        at += 1;
    }
    let (from, to) = ((cx.keys.db(), cx.key(&args, 1)), (db, cx.key(&args, 2)));
    if from.0 == to.0 && from.1.bytes == to.1.bytes {
        return Err(SAME_OBJECT);
    }
    let outcome = relocate(cx, &Path { from, to, is_copy: true, may_replace, events: ["", "copy_to"] });
    cx.keys.looked_up(from.1.bytes, outcome != Outcome::NoSource);
    cx.reply.int((outcome == Outcome::Done) as i64);
    Ok(Flow::Done)
}

/// Moves a key to another database if it is not there.
/// Shape:  `key index`
/// Errors: database, the selected one.
fn move_(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let db = database::index(cx, args.get(2))?;
    if db == cx.keys.db() {
        return Err(SAME_OBJECT);
    }
    let key = cx.key(&args, 1);
    let events = ["move_from", "move_to"];
    let path = Path { from: (cx.keys.db(), key), to: (db, key), is_copy: false, may_replace: false, events };
    let outcome = relocate(cx, &path);
    cx.reply.int((outcome == Outcome::Done) as i64);
    Ok(Flow::Done)
}
