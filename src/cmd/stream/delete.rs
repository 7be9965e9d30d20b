//! XDEL, XDELEX, XACK and XACKDEL: entries go by their ids, or what groups remember of them does.

use super::add::references;
use super::{Ids, parse_id, parse_ids};
use crate::base::num::parse_i64;
use crate::cmd::command::{Class, Cx, Flow};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::stream::{Deletion, References, Stream};

/// Delete entries; reply how many were there.
/// Shape:  key id+
/// Errors: ids, once the key is there; then before any change.
pub(super) fn xdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut deleted = 0;
    if let Some(mut stream) = cx.keys.open::<Stream>(cx.key(&args, 1))? {
        for id in parse_ids(args, 2)? {
            deleted += (stream.delete(id, References::Keep) == Deletion::Deleted) as u64;
        }
    }
    if deleted > 0 {
        cx.changed(args.get(1), Class::STREAM, "xdel");
    }
    cx.effects.dirty += deleted;
    cx.reply.int(deleted as i64);
    Ok(Flow::Done)
}

/// Forget that entries are pending in a group; reply how many were.
/// Shape:  key group id+
/// Errors: ids, once key and group are there; then before any change.
pub(super) fn xack(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let mut acknowledged = 0;
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    cx.keys.looked_up(args.get(1), stream.is_some());
    if let Some(mut stream) = stream
        && let Some((_, group)) = stream.group_mut(args.get(2))
    {
        for id in parse_ids(args, 3)? {
            acknowledged += group.acknowledge(id) as u64;
        }
    }
    cx.effects.dirty += acknowledged;
    cx.reply.int(acknowledged as i64);
    Ok(Flow::Done)
}

/// Where the ids stand, how many, and what becomes of references.
struct Wanted {
    references: References,
    first: usize,
    count: usize,
}

impl Wanted {
    /// Reads `[KEEPREF|DELREF|ACKED] IDS numids id+`, the parts in any order.
    fn parse(args: &Args<'_>, from: usize) -> Result<Self, ReplyError> {
        let (mut wanted_references, mut ids, mut at) = (None, None, from);
        while at < args.count() {
            let left = args.count() - at - 1;
            if let Some(references) = references(args, at).filter(|_| wanted_references.is_none()) {
                wanted_references = Some(references);
                at += 1;
            } else if left > 0 && args.is(at, "ids") {
                let count = parse_i64(args.get(at + 1)).filter(|&count| count > 0);
                let count = count.ok_or(ReplyError::text("ERR Number of IDs must be a positive integer"))? as usize;
                if count > left - 1 {
                    return Err(ReplyError::text("ERR The `numids` parameter must match the number of arguments"));
                }
                ids = Some((at + 2, count));
                at += 2 + count;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        let (first, count) = ids.ok_or(ReplyError::Syntax)?;
        Ok(Wanted { references: wanted_references.unwrap_or_default(), first, count })
    }

    fn ids(&self, args: &Args<'_>) -> Result<Ids, ReplyError> {
        (self.first..self.first + self.count).map(|at| parse_id(args.get(at), 0)).collect()
    }
}

/// What became of one id, as XDELEX and XACKDEL reply it.
const NOT_FOUND: i64 = -1;
const DELETED: i64 = 1;
const REFERENCED: i64 = 2;

fn reply_each(cx: &mut Cx<'_>, results: &[i64]) {
    cx.reply.array(results.len());
    results.iter().for_each(|&result| cx.reply.int(result));
}

/// Delete entries, and say what becomes of groups' references to them; reply for each id -1 (there is none), 1 (deleted), or
/// 2 (it stays, or would, because a group has yet to read or to acknowledge it).
/// Shape:  key [KEEPREF|DELREF|ACKED] IDS numids id+
pub(super) fn xdelex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    let wanted = Wanted::parse(&args, 2)?;
    let Some(mut stream) = stream else {
        reply_each(cx, &vec![NOT_FOUND; wanted.count]);
        return Ok(Flow::Done);
    };
    let ids = wanted.ids(&args)?;
    let delete = |id| match stream.delete(id, wanted.references) {
        Deletion::Absent => NOT_FOUND,
        Deletion::Deleted => DELETED,
        Deletion::Referenced => REFERENCED,
    };
    let results: Vec<i64> = ids.into_iter().map(delete).collect();
    drop(stream);
    if results.contains(&DELETED) {
        cx.changed(args.get(1), Class::STREAM, "xdel");
    }
    cx.effects.dirty += results.iter().filter(|&&result| result == DELETED).count() as u64;
    reply_each(cx, &results);
    Ok(Flow::Done)
}

/// Acknowledge entries and delete them; reply for each id -1 (it is not pending in the group), 1 (it is gone), or 2 (it
/// stays, because another group has yet to read or to acknowledge it).
/// Shape:  key group [KEEPREF|DELREF|ACKED] IDS numids id+
pub(super) fn xackdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    let wanted = Wanted::parse(&args, 3)?;
    let Some(mut stream) = stream.filter(|stream| stream.group(args.get(2)).is_some()) else {
        reply_each(cx, &vec![NOT_FOUND; wanted.count]);
        return Ok(Flow::Done);
    };
    let ids = wanted.ids(&args)?;
    let mut has_deleted = false;
    let acknowledge = |id| {
        let is_pending = stream.group_mut(args.get(2)).is_some_and(|(_, group)| group.acknowledge(id));
        let deletion = is_pending.then(|| stream.delete(id, wanted.references));
        has_deleted |= deletion == Some(Deletion::Deleted);
        match deletion {
            None => NOT_FOUND,
            Some(Deletion::Referenced) => REFERENCED,
            Some(Deletion::Deleted | Deletion::Absent) => DELETED,
        }
    };
    let results: Vec<i64> = ids.into_iter().map(acknowledge).collect();
    drop(stream);
    if has_deleted {
        cx.changed(args.get(1), Class::STREAM, "xdel");
    }
    cx.effects.dirty += results.iter().filter(|&&result| result != NOT_FOUND).count() as u64;
    reply_each(cx, &results);
    Ok(Flow::Done)
}
