//! Replication, of which there is none: a lone primary that can be told to stay one. Requests are checked as Redis checks
//! them, so that a tool hears of its own mistakes first.

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const FOLLOWS: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::STALE;
const STREAMS: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NO_MULTI | flag::NOSCRIPT;
const TELLS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::ALLOW_BUSY;

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("server", since)
}

pub static ROWS: &[Command] = &[
    row("failover", failover, -1, flag::ADMIN | flag::NOSCRIPT | flag::STALE, "6.2.0"),
    row("psync", no_stream, -3, STREAMS, "2.8.0"),
    row("replconf", no_stream, -1, TELLS, "3.0.0"),
    row("replicaof", replicaof, 3, FOLLOWS, "5.0.0"),
    row("slaveof", replicaof, 3, FOLLOWS, "1.0.0").deprecated("5.0.0", "`REPLICAOF`"),
    row("sync", no_stream, 1, STREAMS, "1.0.0"),
];

const NOT_REPLICATED: ReplyError = ReplyError::text("ERR this server does not replicate");

/// What a replica says to its primary.
/// Errors: always.
fn no_stream(_: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    Err(NOT_REPLICATED)
}

/// Stays a primary.
/// Shape:  `NO ONE`, or `host port`
/// Errors: the port; to follow another server.
fn replicaof(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.is(1, "no") && args.is(2, "one") {
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    match parse_i64(args.get(2)) {
        Some(0..=65535) => Err(NOT_REPLICATED),
        _ => Err(ReplyError::text("ERR Invalid master port")),
    }
}

/// Hands over to a replica.
/// Shape:  `[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`
/// Errors: options; nothing to abort; no replica.
fn failover(_: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() == 2 && args.is(1, "abort") {
        return Err(ReplyError::text("ERR No failover in progress."));
    }
    let (mut has_target, mut has_timeout, mut is_forced) = (false, false, false);
    let mut at = 1;
    while at < args.count() {
        let left = args.count() - at - 1;
        if args.is(at, "timeout") && left >= 1 && !has_timeout {
            if parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger)? <= 0 {
                return Err(ReplyError::text("ERR FAILOVER timeout must be greater than 0"));
            }
            has_timeout = true;
            at += 2;
        } else if args.is(at, "to") && left >= 2 && !has_target {
            parse_i64(args.get(at + 2)).ok_or(ReplyError::NotInteger)?;
            has_target = true;
            at += 3;
        } else if args.is(at, "force") && !is_forced {
            is_forced = true;
            at += 1;
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Err(ReplyError::text("ERR FAILOVER requires connected replicas."))
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn a_primary_stays_one_and_follows_nobody() {
        check(
            "
            REPLICAOF NO ONE => OK
            SLAVEOF no one => OK
            REPLICAOF 127.0.0.1 x => ERR Invalid master port
            REPLICAOF 127.0.0.1 70000 => ERR Invalid master port
            REPLICAOF 127.0.0.1 6380 => ERR this server does not replicate
            SYNC => ERR this server does not replicate
            PSYNC ? -1 => ERR this server does not replicate
            REPLCONF listening-port 1 => ERR this server does not replicate
        ",
        );
    }

    #[test]
    fn failover_checks_its_options_and_finds_no_replica() {
        check(
            "
            FAILOVER => ERR FAILOVER requires connected replicas.
            FAILOVER ABORT => ERR No failover in progress.
            FAILOVER ABORT TIMEOUT 10 => ERR syntax error
            FAILOVER TO a => ERR syntax error
            FAILOVER TO a b => ERR value is not an integer or out of range
            FAILOVER TO 127.0.0.1 6380 FORCE TIMEOUT 10 => ERR FAILOVER requires connected replicas.
            FAILOVER TIMEOUT 0 => ERR FAILOVER timeout must be greater than 0
            FAILOVER TIMEOUT x => ERR value is not an integer or out of range
            FAILOVER FORCE FORCE => ERR syntax error
        ",
        );
    }
}
