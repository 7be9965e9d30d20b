//! XPENDING: what a group has delivered and nobody has acknowledged.

use super::{int, no_group, parse_end, parse_start, reply_array, reply_id};
use crate::base::clock::WallMs;
use crate::cmd::command::{Cx, Flow};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::value::stream::{Group, Pending, Stream, StreamId};

/// The long form's question.
struct Wanted<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    min_idle: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// Reads `[IDLE ms] start end count [consumer]`. None: the short form.
    fn parse(args: &Args<'a>) -> Result<Option<Self>, ReplyError> {
        match args.count() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(ReplyError::Syntax),
        }
        let (mut at, mut min_idle) = (3, 0);
        if args.is(3, "idle") {
            min_idle = int(args, 4)?;
            if args.count() < 8 {
                return Err(ReplyError::Syntax);
            }
            at = 5;
        }
        let count = int(args, at + 2)?.max(0) as usize;
        let (start, end) = (parse_start(args.get(at))?, parse_end(args.get(at + 1))?);
        let consumer = (at + 3 < args.count()).then(|| args.get(at + 3));
        Ok(Some(Wanted { start, end, count, min_idle, consumer }))
    }
}

/// Reply what is pending in a group: a summary, or entry by entry.
/// Shape:  key group [[IDLE min-idle-time] start end count [consumer]]
/// Errors: arguments, type, missing group.
pub(super) fn xpending(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(&args)?;
    let stream = cx.keys.look::<Stream>(cx.key(&args, 1))?;
    let group = stream.as_ref().and_then(|stream| stream.group(args.get(2)));
    let group = group.ok_or_else(|| no_group(args.get(1), args.get(2)))?;
    match wanted {
        None => reply_summary(cx.reply, group),
        Some(wanted) => reply_pending(cx.reply, group, &wanted, cx.keys.now),
    }
    Ok(Flow::Done)
}

/// How many, the ends, and each consumer's share.
fn reply_summary(reply: &mut Reply, group: &Group) {
    reply.array(4);
    reply.int(group.pending_count() as i64);
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let busy = || group.consumers().map(|(_, consumer)| consumer).filter(|consumer| consumer.pending_count() > 0);
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_int(consumer.pending_count() as i64);
    }
}

/// Id, owner, milliseconds since the delivery and number of deliveries of each.
fn reply_pending(reply: &mut Reply, group: &Group, wanted: &Wanted<'_>, now: WallMs) {
    let all: Box<dyn Iterator<Item = (StreamId, &Pending)>> = match wanted.consumer {
        None => Box::new(group.pending_from(wanted.start)),
        Some(name) => match group.find_consumer(name) {
            Some(consumer) => Box::new(group.pending_of(consumer, wanted.start)),
            None => return reply.array(0),
        },
    };
    let pending = all.take_while(|(id, _)| *id <= wanted.end);
    let pending = pending.filter(|(_, pending)| pending.is_idle(wanted.min_idle, now)).take(wanted.count);
    reply_array(reply, wanted.count.min(group.pending_count()), |reply| {
        pending
            .map(|(id, pending)| {
                reply.array(4);
                reply_id(reply, id);
                reply.bulk(group.consumer(pending.owner).name());
                reply.int(pending.idle(now));
                reply.int(pending.count);
            })
            .count()
    });
}
