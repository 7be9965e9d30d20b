//! The gate: may this command run for this client now? One list of checks, in the order in which Redis makes them.

use crate::cmd::command::{Command, flag};
use crate::cmd::permission;
use crate::cmd::session::{Session, Standing};
use crate::cmd::table;
use crate::cmd::world::World;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const NOT_AUTHENTICATED: ReplyError = ReplyError::text("NOAUTH Authentication required.");
const NOT_IN_MULTI: ReplyError = ReplyError::text("ERR Command not allowed inside a transaction");

/// The row that shall run: `row` (what `look` found for the first word), or one of its subcommands.
/// Errors: unknown command or subcommand, arity, authentication, MULTI, permissions, not while subscribed.
#[inline]
pub fn admit(
    row: Option<&'static Command>,
    args: &Args<'_>,
    session: &mut Session,
    world: &World,
) -> Result<&'static Command, ReplyError> {
    // 1. The command exists and has a sensible number of arguments.
    let row = match row {
        Some(row) if row.subs.is_empty() && row.accepts(args.count()) => row,
        _ => table::resolve(args)?,
    };
    // 2. The client has logged in, if it must. 3. Inside a transaction it may run this at all. 4. Its user may run this on
    // these keys.
    let standing = session.standing(&world.acl);
    if standing == Standing::LoggedOut && !row.has(flag::NO_AUTH) {
        return Err(NOT_AUTHENTICATED);
    }
    if session.multi.is_some() && row.has(flag::NO_MULTI) {
        return Err(NOT_IN_MULTI);
    }
    if standing == Standing::Unrestricted {
        return Ok(row);
    }
    if let Err(denial) = permission::check(session.user(), row, args) {
        session.info.set_row(row.index as u32); // The log shows the client with this command.
        return Err(permission::refuse(world, session, row, args, denial));
    }
    // 5. A client that awaits messages can read the reply.
    if session.is_confined() && !row.has(flag::WHILE_SUBSCRIBED) {
        return Err(ReplyError::owned(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            row.full_name
        )));
    }
    Ok(row)
}
