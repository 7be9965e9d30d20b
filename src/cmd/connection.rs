//! The connection family: who the client is, which database it works on, and how it is answered.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const ALWAYS: u32 = flag::LOADING | flag::STALE;

pub static ROWS: &[Command] = &[
    cmd("ping", ping)
        .arity(-1)
        .flags(flag::FAST | flag::SENTINEL)
        .acl(acl::CONNECTION)
        .group("connection", "1.0.0")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    cmd("echo", echo).arity(2).flags(ALWAYS | flag::FAST).acl(acl::CONNECTION).group("connection", "1.0.0"),
];

/// Answers PONG, or the message.
/// Shape: `[message]`
fn ping(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.count() {
        1 => cx.reply.simple("PONG"),
        2 => cx.reply.bulk(args.get(1)),
        _ => return Err(ReplyError::text("ERR wrong number of arguments for 'ping' command")),
    }
    Ok(Flow::Done)
}

/// Answers the message.
fn echo(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.bulk(args.get(1));
    Ok(Flow::Done)
}
