//! Snapshots on demand: SAVE, BGSAVE, LASTSAVE.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use super::{background, snapshot};
use crate::admin::log::{self, Level};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const SAVES: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT;

pub static ROWS: &[Command] = &[
    cmd("bgrewriteaof", bgrewriteaof).arity(1).flags(SAVES).group("server", "1.0.0"),
    cmd("bgsave", bgsave).arity(-1).flags(SAVES).group("server", "1.0.0"),
    cmd("lastsave", lastsave)
        .arity(1)
        .flags(flag::LOADING | flag::STALE | flag::FAST)
        .acl(acl::ADMIN | acl::DANGEROUS)
        .group("server", "1.0.0")
        .tips(&["nondeterministic_output"]),
    cmd("save", save).arity(1).flags(SAVES | flag::NO_MULTI).group("server", "1.0.0"),
];

/// Has the append-only file written anew: everything there is, and what changes from now on. It waits for a snapshot that is
/// being taken, and for the end of the transaction that it is in.
/// Errors: that is under way.
fn bgrewriteaof(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let is_under_way = cx.world.journal.facts().rewriting.is_some();
    if is_under_way || !cx.world.journal.schedule() {
        return Err(ReplyError::text("ERR Background append only file rewriting already in progress"));
    }
    cx.world.background.settle(cx.world);
    match cx.world.background.is_writing() || cx.session.denies_blocking {
        true => cx.reply.simple("Background append only file rewriting scheduled"),
        false => cx.reply.simple("Background append only file rewriting started"),
    }
    Ok(Flow::Done)
}

/// Begins to take a snapshot, which goes on beside everything else; with SCHEDULE behind a rewrite of the append-only file.
/// Inside a transaction it begins when that is over: no snapshot holds half of one.
/// Shape:  `[SCHEDULE]`
/// Errors: options; one is being taken; the file.
fn bgsave(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 2 || args.count() == 2 && !args.is(1, "schedule") {
        return Err(ReplyError::Syntax);
    }
    cx.world.background.settle(cx.world);
    if cx.world.saves.is_running() {
        return Err(RUNNING);
    }
    let is_inside = cx.session.denies_blocking;
    if cx.world.background.is_writing() || is_inside {
        if args.count() == 1 && !is_inside {
            return Err(BUSY);
        }
        cx.world.background.schedule();
        cx.reply.simple("Background saving scheduled");
        return Ok(Flow::Done);
    }
    hand_over_changes(cx);
    let outcome = cx.stop_others(|cx| background::begin(cx.world, &cx.keys));
    outcome.map_err(|error| {
        log::write(Level::Warning, format_args!("Can't save in background: {error}"));
        ReplyError::text("ERR")
    })?;
    cx.reply.simple("Background saving started");
    Ok(Flow::Done)
}

const BUSY: ReplyError = ReplyError::text(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE \
     whenever possible.",
);
const RUNNING: ReplyError = ReplyError::text("ERR Background save already in progress");

/// The time of the last save, which counts from the start, as in a Redis that has not saved yet.
fn lastsave(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.background.settle(cx.world);
    cx.reply.int(cx.world.saves.status().last_s as i64);
    Ok(Flow::Done)
}

/// Writes a snapshot while everything stands still.
/// Errors: one is being written; the file.
fn save(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.background.settle(cx.world);
    if cx.world.saves.is_running() {
        return Err(RUNNING);
    }
    hand_over_changes(cx);
    let outcome = cx.stop_others(|cx| snapshot::save(cx.world, &cx.keys));
    outcome.map_err(|_| ReplyError::text("ERR"))?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Changes of this turn count before the snapshot that has them.
pub(super) fn hand_over_changes(cx: &mut Cx<'_>) {
    cx.keys.stats.dirty.add(std::mem::take(&mut cx.effects.dirty));
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn options_are_checked() {
        check(
            "
            BGSAVE now => ERR syntax error
            BGREWRITEAOF => Background append only file rewriting started
            BGREWRITEAOF => ERR Background append only file rewriting already in progress
            LASTSAVE => *
        ",
        );
    }
}
