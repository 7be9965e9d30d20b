//! What writes data to disk in other servers. Nothing is kept here, and a backup that was promised and never made would be
//! worse than an error.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
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
    cmd("save", refuse).arity(1).flags(SAVES | flag::NO_MULTI).group("server", "1.0.0"),
];

/// Errors: always.
fn refuse(_: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    Err(NOT_KEPT)
}

/// Why nothing can be saved, loaded or compared with a saved copy.
pub(super) const NOT_KEPT: ReplyError = ReplyError::text("ERR this server keeps its data in memory only");

/// Has the append-only file written anew: everything there is, and what changes from now on.
/// Errors: that is under way.
fn bgrewriteaof(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let is_under_way = cx.world.journal.facts().rewriting_since.is_some();
    if is_under_way || !cx.world.journal.schedule() {
        return Err(ReplyError::text("ERR Background append only file rewriting already in progress"));
    }
    cx.reply.simple("Background append only file rewriting started");
    Ok(Flow::Done)
}

/// Shape:  `[SCHEDULE]`
/// Errors: options; always.
fn bgsave(_: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.count() {
        1 => Err(NOT_KEPT),
        2 if args.is(1, "schedule") => Err(NOT_KEPT),
        _ => Err(ReplyError::Syntax),
    }
}

/// The time of the last save, which counts from the start, as in a Redis that has not saved yet.
fn lastsave(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int((cx.world.started.0 / 1000) as i64);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn saving_is_refused_and_never_pretended() {
        check(
            "
            SAVE => ERR this server keeps its data in memory only
            BGSAVE => ERR this server keeps its data in memory only
            BGSAVE SCHEDULE => ERR this server keeps its data in memory only
            BGSAVE now => ERR syntax error
            BGREWRITEAOF => Background append only file rewriting started
            BGREWRITEAOF => ERR Background append only file rewriting already in progress
            LASTSAVE => *
        ",
        );
    }
}
