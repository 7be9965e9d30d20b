//! XGROUP: groups and their consumers come and go.

use super::{filled, int, no_group_for_key, parse_id, parse_open_id, subcommand_syntax};
use crate::cmd::command::{Class, Cx, Flow};
use crate::cmd::help::help;
use crate::keyspace::objects::Writing;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::stream::{Group, Stream, StreamId};

const NO_KEY: ReplyError = ReplyError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// What listeners hear when a consumer comes into being, by whatever command.
pub(super) const NEW_CONSUMER: &str = "xgroup-createconsumer";

/// MKSTREAM and ENTRIESREAD.
#[derive(Default)]
struct Wanted {
    may_create: bool,
    entries_read: Option<i64>,
}

impl Wanted {
    fn parse(args: &Args<'_>, is_create: bool) -> Result<Self, ReplyError> {
        let (mut wanted, mut at) = (Wanted::default(), 5);
        while at < args.count() {
            if is_create && args.is(at, "mkstream") {
                wanted.may_create = true;
                at += 1;
            } else if args.is(at, "entriesread") && at + 1 < args.count() {
                let count = int(args, at + 1)?;
                if count < -1 {
                    return Err(ReplyError::text("ERR value for ENTRIESREAD must be positive or -1"));
                }
                wanted.entries_read = Some(count).filter(|&count| count >= 0);
                at += 2;
            } else {
                return Err(subcommand_syntax(args, "XGROUP"));
            }
        }
        Ok(wanted)
    }
}

/// The stream of argument 2, which must be there.
fn open<'t>(cx: &Cx<'t>, args: &Args<'_>) -> Result<Writing<'t, Stream>, ReplyError> {
    cx.keys.open(cx.key(args, 2))?.ok_or(NO_KEY)
}

/// Make a group.
/// Shape:  key group id|$ [MKSTREAM] [ENTRIESREAD count]
/// Errors: options, type, missing key, id; then BUSYGROUP if there is one of that name.
pub(super) fn create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(&args, true)?;
    let key = cx.key(&args, 2);
    let mut stream = cx.keys.open::<Stream>(key)?;
    if stream.is_none() && !wanted.may_create {
        return Err(NO_KEY);
    }
    if args.count() > 8 {
        return Err(subcommand_syntax(&args, "XGROUP"));
    }
    let id = match args.get(4) {
        b"$" => None,
        text => Some(parse_id(text, 0)?),
    };
    let mut stream = match stream.take() {
        Some(stream) => stream,
        None => {
            let stream = cx.keys.open_or_create(key)?;
            cx.touched(key.bytes);
            stream
        }
    };
    let id = id.unwrap_or_else(|| stream.log().last_id());
    if !stream.add_group(args.get(3), Group::new(id, wanted.entries_read)) {
        return Err(ReplyError::text("BUSYGROUP Consumer Group name already exists"));
    }
    drop(stream);
    cx.event(key.bytes, Class::STREAM, "xgroup-create");
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Set how far a group has read.
/// Shape:  key group id|$ [ENTRIESREAD count]
/// Errors: options, missing key or group, id.
pub(super) fn setid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(&args, false)?;
    let mut stream = open(cx, &args)?;
    let Some((log, group)) = stream.group_mut(args.get(3)) else {
        return Err(no_group_for_key(args.get(2), args.get(3)));
    };
    if !matches!(args.count(), 5 | 7) {
        return Err(subcommand_syntax(&args, "XGROUP"));
    }
    let id: StreamId = match args.get(4) {
        b"$" => log.last_id(),
        text => parse_open_id(text, 0)?,
    };
    (group.last_id, group.entries_read) = (id, wanted.entries_read);
    drop(stream);
    cx.event(args.get(2), Class::STREAM, "xgroup-setid");
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Remove a group with all that is pending in it; reply whether it was there.
/// Shape:  key group
pub(super) fn destroy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let is_removed = open(cx, &args)?.remove_group(args.get(3));
    cx.effects.dirty += is_removed as u64;
    cx.reply.int(is_removed as i64);
    if is_removed {
        cx.event(args.get(2), Class::STREAM, "xgroup-destroy");
        filled(cx, &args, 2); // Whoever waits for the group is told that there is none.
    }
    Ok(Flow::Done)
}

/// Make a consumer; reply whether there was none of that name.
/// Shape:  key group consumer
pub(super) fn createconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut stream = open(cx, &args)?;
    let Some((_, group)) = stream.group_mut(args.get(3)) else {
        return Err(no_group_for_key(args.get(2), args.get(3)));
    };
    let is_new = group.add_consumer(args.get(4), cx.keys.now).is_some();
    drop(stream);
    if is_new {
        cx.event(args.get(2), Class::STREAM, NEW_CONSUMER);
    }
    cx.effects.dirty += is_new as u64;
    cx.reply.int(is_new as i64);
    Ok(Flow::Done)
}

/// Remove a consumer; reply how much it had pending, which nobody has now.
/// Shape:  key group consumer
pub(super) fn delconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut stream = open(cx, &args)?;
    let Some((_, group)) = stream.group_mut(args.get(3)) else {
        return Err(no_group_for_key(args.get(2), args.get(3)));
    };
    let removed = group.remove_consumer(args.get(4));
    drop(stream);
    if removed.is_some() {
        cx.event(args.get(2), Class::STREAM, "xgroup-delconsumer");
    }
    cx.effects.dirty += removed.is_some() as u64;
    cx.reply.int(removed.unwrap_or(0) as i64);
    Ok(Flow::Done)
}

/// The subcommands.
pub(super) fn xgroup_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "XGROUP",
        &[
            (
                "CREATE <key> <groupname> <id|$> [option]",
                "Make a group that has read up to <id>. Options:\n* MKSTREAM\n  Make an empty stream if there is none.\n\
                 * ENTRIESREAD entries_read\n  How many entries that were.",
            ),
            ("CREATECONSUMER <key> <groupname> <consumer>", "Make a consumer of a group."),
            ("DELCONSUMER <key> <groupname> <consumer>", "Remove a consumer and what it has pending."),
            ("DESTROY <key> <groupname>", "Remove a group."),
            ("SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]", "Set how far a group has read."),
        ],
    );
    Ok(Flow::Done)
}
