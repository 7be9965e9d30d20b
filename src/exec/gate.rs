//! The gate: may this command run for this client now? One list of checks, in the order in which Redis makes them.

use crate::admin::stats::LoopStats;
use crate::cmd::auth;
use crate::cmd::command::{Command, flag};
use crate::cmd::session::Session;
use crate::cmd::table;
use crate::cmd::world::World;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const NOT_AUTHENTICATED: ReplyError = ReplyError::text("NOAUTH Authentication required.");

/// The row that shall run: `row` (what `look` found for the first word), or one of its subcommands.
/// Errors: unknown command or subcommand, arity, authentication; counted as rejected calls where there is a row.
#[inline]
pub fn admit(
    row: Option<&'static Command>,
    args: &Args<'_>,
    session: &Session,
    world: &World,
    stats: &LoopStats,
) -> Result<&'static Command, ReplyError> {
    // 1. The command exists and has a sensible number of arguments.
    let row = match row {
        Some(row) if row.subs.is_empty() && row.accepts(args.count()) => row,
        _ => table::resolve(args).inspect_err(|_| reject(row, stats))?,
    };
    // 2. The client has logged in, if it must.
    if auth::must_log_in(world, session) && !row.has(flag::NO_AUTH) {
        reject(Some(row), stats);
        return Err(NOT_AUTHENTICATED);
    }
    Ok(row)
}

#[cold]
fn reject(row: Option<&'static Command>, stats: &LoopStats) {
    if let Some(counters) = row.and_then(|row| stats.command(row.index)) {
        counters.rejected.add(1);
    }
}
