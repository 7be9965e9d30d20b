//! The gate: may this command run for this client now? One list of checks, in the order in which Redis makes them.

use crate::admin::log;
use crate::base::clock::MonoNs;
use crate::base::sync::Ordering;
use crate::cmd::command::{Command, flag};
use crate::cmd::permission;
use crate::cmd::session::{Session, Standing};
use crate::cmd::table;
use crate::cmd::world::World;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const NOT_AUTHENTICATED: ReplyError = ReplyError::text("NOAUTH Authentication required.");
const NOT_IN_MULTI: ReplyError = ReplyError::text("ERR Command not allowed inside a transaction");

/// Is this the head of a request that a browser was tricked into sending? No command is called so, and the request's body, which
/// somebody else wrote, must not run: the client is cut off. Source: Redis, "cross protocol scripting".
#[cold]
pub fn is_http(args: &Args<'_>) -> bool {
    [&b"post"[..], b"host:"].iter().any(|head| args.get(0).eq_ignore_ascii_case(head))
}

/// Tells the operator of such a request, once a minute at most.
#[cold]
pub fn report_http(world: &World, session: &Session) {
    let (now, told) = (MonoNs::now().since(world.started_mono).as_millis() as u64 + 1, &world.http_told_ms);
    let last = told.load(Ordering::Relaxed);
    let is_due = last == 0 || now.saturating_sub(last) > 60_000;
    // Two that come at once are told once. Relaxed: nothing hangs on it but the line.
    if is_due && told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        log::warning(format_args!(
            "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. This is \
             likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis instance. \
             Connection from {} aborted.",
            session.info.endpoints.peer()
        ));
    }
}

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
