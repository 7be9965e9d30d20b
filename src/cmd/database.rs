//! Whole databases: their size, emptying and exchanging them.
//!
//! FLUSHDB, FLUSHALL and SWAPDB happen at a safepoint: every other loop stands still between two commands, so nobody is
//! between finding a table and changing it. What happens there is an exchange of pointers; the old tables are freed by a
//! thread of their own, whether SYNC or ASYNC is asked for.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use super::snapshot;
use crate::admin::clients::client_flag;
use crate::base::ids::DbIndex;
use crate::base::num::parse_i64;
use crate::keyspace::watched::Presence;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub static ROWS: &[Command] = &[
    cmd("dbsize", dbsize)
        .arity(1)
        .flags(flag::READONLY | flag::FAST)
        .acl(acl::KEYSPACE)
        .group("server", "1.0.0")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    cmd("flushall", flushall)
        .arity(-1)
        .flags(flag::WRITE)
        .acl(acl::DANGEROUS | acl::KEYSPACE)
        .group("server", "1.0.0")
        .tips(ALL_SHARDS),
    cmd("flushdb", flushdb)
        .arity(-1)
        .flags(flag::WRITE)
        .acl(acl::DANGEROUS | acl::KEYSPACE)
        .group("server", "1.0.0")
        .tips(ALL_SHARDS),
    cmd("swapdb", swapdb)
        .arity(3)
        .flags(flag::WRITE | flag::FAST)
        .acl(acl::DANGEROUS | acl::KEYSPACE)
        .group("server", "4.0.0"),
];

/// Reads the number of a database.
/// Errors: no integer, beyond 32 bits, no such database.
pub(super) fn index(cx: &Cx<'_>, text: &[u8]) -> Result<DbIndex, ReplyError> {
    let number = parse_i64(text).ok_or(ReplyError::NotInteger)?;
    if i32::try_from(number).is_err() {
        return Err(ReplyError::text("ERR value is out of range, value must between -2147483648 and 2147483647"));
    }
    existing(cx, number)
}

fn existing(cx: &Cx<'_>, number: i64) -> Result<DbIndex, ReplyError> {
    if (0..cx.world.keyspace.db_count() as i64).contains(&number) {
        return Ok(DbIndex(number as u16));
    }
    Err(ReplyError::text("ERR DB index is out of range"))
}

/// Number of keys. Keys past their deadline count until they are removed.
fn dbsize(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(cx.keys.count() as i64);
    Ok(Flow::Done)
}

/// Empties the selected database.
/// Shape: `[ASYNC | SYNC]`
fn flushdb(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    check_mode(&args)?;
    let db = cx.keys.db();
    flush(cx, &[db], false)
}

/// Empties all databases. Where snapshots are taken by themselves, the last one becomes an empty one, so that what went does not
/// come back with the next start.
/// Shape: `[ASYNC | SYNC]`
fn flushall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    check_mode(&args)?;
    let all: Vec<DbIndex> = (0..cx.world.keyspace.db_count()).map(|db| DbIndex(db as u16)).collect();
    let is_saved = snapshot::has_save_points(cx.world);
    flush(cx, &all, is_saved)
}

fn check_mode(args: &Args<'_>) -> Result<(), ReplyError> {
    match args.count() {
        1 => Ok(()),
        2 if args.is(1, "sync") || args.is(1, "async") => Ok(()),
        _ => Err(ReplyError::Syntax),
    }
}

fn flush(cx: &mut Cx<'_>, dbs: &[DbIndex], is_saved: bool) -> Result<Flow, ReplyError> {
    let (keys, space) = (cx.keys, &cx.world.keyspace);
    let (count, tables) = cx.stop_others(|cx| {
        cx.world.background.break_off(cx.world); // What the snapshot was to hold goes.
        dbs.iter().for_each(|&db| mark_watchers(cx, db, None));
        let count: usize = dbs.iter().map(|&db| keys.on(db).count()).sum();
        let tables = dbs.iter().filter_map(|db| space.roots.renew(db.0 as usize)).collect();
        if is_saved {
            // Told to the log if it fails. What this very command changes is in the snapshot, too.
            let _ = snapshot::save_with(cx.world, &cx.keys, cx.effects.dirty + count as u64);
        }
        (count, tables)
    });
    dbs.iter().for_each(|&db| keys.on(db).changed_all());
    space.discard(tables, keys.guard);
    cx.effects.dirty += count as u64;
    look_again(cx, dbs);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Exchanges two databases: clients that have selected one of them see the other's keys at once.
/// Shape: `index index`
fn swapdb(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let number = |at: usize, error: &'static str| {
        parse_i64(args.get(at)).filter(|&number| i32::try_from(number).is_ok()).ok_or(ReplyError::text(error))
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let (first, second) = (existing(cx, first)?, existing(cx, second)?);
    let roots = &cx.world.keyspace.roots;
    cx.stop_others(|cx| {
        mark_watchers(cx, first, Some(second));
        mark_watchers(cx, second, Some(first));
        roots.swap(first.0 as usize, second.0 as usize);
    });
    [first, second].into_iter().for_each(|db| cx.keys.on(db).changed_all());
    cx.effects.dirty += 1;
    look_again(cx, &[first, second]);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// All keys of `db` are about to go, or to give way to those of `other`: whoever watches one of them is told.
fn mark_watchers(cx: &Cx<'_>, db: DbIndex, other: Option<DbIndex>) {
    let presence = |db: DbIndex, key: &[u8]| match (cx.keys.on(db), cx.keys.key(key, 0)) {
        (keys, key) if !keys.has_entry(key) => Presence::Absent,
        (keys, key) if keys.is_overdue(key) => Presence::Stale,
        _ => Presence::Alive,
    };
    let there = |key: &[u8]| other.map_or(Presence::Absent, |other| presence(other, key));
    cx.world.watched.touch_all(db, |key| presence(db, key), there, |client| client.set(client_flag::DIRTY, true));
}

/// Whoever waits for a key of these databases finds other values there.
fn look_again(cx: &mut Cx<'_>, dbs: &[DbIndex]) {
    let waiters = &cx.world.waiters;
    if waiters.is_heeded() {
        let effects = &mut *cx.effects;
        waiters
            .places()
            .iter()
            .filter(|place| dbs.contains(&place.db()))
            .for_each(|place| effects.filled(place.db(), place.key()));
    }
}
