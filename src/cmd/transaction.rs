//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! ```text
//! MULTI     the session gets a queue
//! …         the dispatcher checks each command as always, and queues it: `+QUEUED`; a refusal spoils the queue
//! WATCH     whatever changes one of these keys from here on marks the client, and EXEC does nothing
//! EXEC      the queue leaves as a job that runs while its keys are held, or everything else stands still: nobody sees half of it
//! ```
//! What refuses a command when it is queued (it does not exist, its arity, the user's permissions) makes EXEC fail; what
//! fails while it runs is a reply among the others and stops nothing.

use super::alone::Alone;
use super::command::{Command, Cx, Flow, KeySpec, acl, cmd, flag};
use crate::keyspace::events::Listener;
use crate::keyspace::waiters::Place;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const EITHER: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::UNQUEUED;

const fn row(name: &'static str, run: super::command::Handler, since: &'static str) -> Command {
    cmd(name, run).arity(1).acl(acl::TRANSACTION).group("transactions", since)
}

pub static ROWS: &[Command] = &[
    row("discard", discard, "2.0.0").flags(EITHER | flag::FAST | flag::ALLOW_BUSY),
    // Light: its commands are timed each for itself, and it is not slower than they are.
    row("exec", exec, "1.2.0").flags(EITHER | flag::SKIP_SLOWLOG | flag::ALONE | flag::ENDS_MULTI).light(),
    row("multi", multi, "1.2.0").flags(EITHER | flag::FAST | flag::ALLOW_BUSY | flag::OUTSIDE_MULTI),
    row("unwatch", unwatch, "2.2.0").flags((EITHER | flag::FAST | flag::ALLOW_BUSY) & !flag::UNQUEUED),
    row("watch", watch, "2.2.0")
        .arity(-2)
        .flags(EITHER | flag::FAST | flag::ALLOW_BUSY | flag::OUTSIDE_MULTI)
        .keys(const { &[KeySpec::rest(1, 1, &["RO"])] }),
];

/// Begins a transaction: from here on commands are queued.
/// Errors: there is one already; it goes on.
fn multi(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    if cx.session.multi.is_some() {
        return Err(ReplyError::text("ERR MULTI calls can not be nested"));
    }
    cx.session.begin_multi(cx.effects.spares.take());
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Forgets the transaction, and the keys that are watched.
/// Errors: there is none.
fn discard(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(queue) = cx.session.end_multi() else { return Err(ReplyError::text("ERR DISCARD without MULTI")) };
    cx.session.unwatch(&cx.world.watched);
    cx.effects.spares.put(queue);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Runs the transaction. Its reply is an array of those of its commands.
/// Errors: there is none; one of its commands was refused.
fn exec(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(queue) = cx.session.multi.take() else { return Err(ReplyError::text("ERR EXEC without MULTI")) };
    if queue.is_spoiled() {
        cx.session.end_multi();
        cx.session.unwatch(&cx.world.watched);
        cx.effects.spares.put(queue);
        return Err(ReplyError::text("EXECABORT Transaction discarded because of previous errors."));
    }
    cx.effects.alone = Some(Alone::Exec(queue));
    Ok(Flow::Alone)
}

/// Watches nothing any more.
fn unwatch(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.session.unwatch(&cx.world.watched);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Watches keys: if one of them is changed before EXEC, that will do nothing.
/// Shape:  `key [key …]`
/// Errors: inside a transaction.
/// Order:  the first one ever stops everybody for a moment, so that from here on all changes are told.
fn watch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if cx.session.multi.is_some() {
        return Err(ReplyError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let listeners = &cx.world.keyspace.listeners;
    if !listeners.is_heeded(Listener::Watch) {
        cx.stop_others(|_| listeners.heed(Listener::Watch));
        cx.keys.heed();
    }
    let keys = cx.keys;
    for index in 1..args.count() {
        let key = cx.key(&args, index);
        cx.session.watch(&cx.world.watched, Place::new(keys.db(), key.bytes), || keys.is_overdue(key));
    }
    cx.reply.ok();
    Ok(Flow::Done)
}
