//! XCLAIM and XAUTOCLAIM: what one consumer has pending becomes another one's.

use super::group::NEW_CONSUMER;
use super::{Ids, no_group, parse_id, parse_start, reply_array, reply_entry, reply_id};
use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::cmd::command::{Class, Cx, Flow};
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::value::stream::{Claim, Group, IdBuffer, Log, Stream, StreamId};

/// What XCLAIM is asked for.
struct Wanted {
    min_idle: i64,
    ids: Ids,
    /// IDLE or TIME, as a time.
    delivered_at: Option<i64>,
    count: Option<i64>,
    last_id: StreamId,
    is_forced: bool,
    is_just_id: bool,
}

fn option_int(args: &Args<'_>, at: usize, error: &'static str) -> Result<i64, ReplyError> {
    parse_i64(args.get(at)).ok_or(ReplyError::text(error))
}

impl Wanted {
    /// Reads what stands behind the consumer. What does not read as an id begins the options.
    fn parse(args: Args<'_>, now: WallMs) -> Result<Self, ReplyError> {
        let min_idle = option_int(&args, 4, "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
        let ids: Ids = args.iter_from(5).map_while(|text| parse_id(text, 0).ok()).collect();
        let mut at = 5 + ids.len();
        let mut wanted = Wanted {
            min_idle,
            ids,
            delivered_at: None,
            count: None,
            last_id: StreamId::MIN,
            is_forced: false,
            is_just_id: false,
        };
        while at < args.count() {
            at += wanted.parse_option(&args, at, now)?;
        }
        Ok(wanted)
    }

    /// Reads one option; returns how many arguments it took.
    fn parse_option(&mut self, args: &Args<'_>, at: usize, now: WallMs) -> Result<usize, ReplyError> {
        let has_value = at + 1 < args.count();
        match () {
            _ if args.is(at, "force") => self.is_forced = true,
            _ if args.is(at, "justid") => self.is_just_id = true,
            _ if has_value && args.is(at, "idle") => {
                let idle = option_int(args, at + 1, "ERR Invalid IDLE option argument for XCLAIM")?;
                self.delivered_at = Some((now.0 as i64).wrapping_sub(idle));
                return Ok(2);
            }
            _ if has_value && args.is(at, "time") => {
                self.delivered_at = Some(option_int(args, at + 1, "ERR Invalid TIME option argument for XCLAIM")?);
                return Ok(2);
            }
            _ if has_value && args.is(at, "retrycount") => {
                let count = option_int(args, at + 1, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                self.count = Some(count).filter(|&count| count >= 0);
                return Ok(2);
            }
            _ if has_value && args.is(at, "lastid") => {
                self.last_id = parse_id(args.get(at + 1), 0)?;
                return Ok(2);
            }
            _ => {
                let option = escaped(args.get(at));
                return Err(ReplyError::owned(format!("ERR Unrecognized XCLAIM option '{option}'")));
            }
        }
        Ok(1)
    }

    /// The time of delivery that is noted. A client's clock may be wrong: times that cannot be are now.
    fn delivery_time(&self, now: WallMs) -> WallMs {
        let at = self.delivered_at.and_then(|at| u64::try_from(at).ok()).map(WallMs);
        at.filter(|&at| at <= now).unwrap_or(now)
    }
}

/// Give pending entries to a consumer, which is made if need be; reply them, or with JUSTID their ids.
/// Shape:  key group consumer min-idle-time id+ [IDLE ms|TIME unix-ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]
/// Errors: type, missing group, then the arguments; all before any change.
pub(super) fn xclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    cx.keys.looked_up(args.get(1), stream.is_some());
    let Some(mut stream) = stream else { return Err(no_group(args.get(1), args.get(2))) };
    let Some((log, group)) = stream.group_mut(args.get(2)) else {
        return Err(no_group(args.get(1), args.get(2)));
    };
    let wanted = Wanted::parse(args, now)?;
    let is_ahead = wanted.last_id > group.last_id;
    group.last_id = group.last_id.max(wanted.last_id);
    let (to, is_new) = group.meet_consumer(args.get(3), now);
    let claim = Claim {
        to,
        now,
        delivered_at: wanted.delivery_time(now),
        min_idle: wanted.min_idle,
        count: wanted.count,
        is_just_id: wanted.is_just_id,
    };
    let mut changes = 0;
    let (mut yes, mut gone) = (Vec::new(), Vec::new());
    reply_array(cx.reply, wanted.ids.len(), |reply| {
        let claim_one = |id: &&StreamId| match take(reply, log, group, **id, &claim, wanted.is_forced) {
            Taken::Yes => {
                yes.push(**id);
                changes += 1;
                true
            }
            Taken::Gone => {
                gone.push(**id);
                changes += 1;
                false
            }
            Taken::No => false,
        };
        wanted.ids.iter().filter(claim_one).count()
    });
    let place = Place { key: args.get(1), group: args.get(2), consumer: args.get(3) };
    propagate_claims(cx, group, &place, is_new, &yes, &gone);
    if is_ahead {
        propagate_last(cx, group, &place);
    }
    drop(stream);
    if is_new {
        cx.event(args.get(1), Class::STREAM, NEW_CONSUMER);
    }
    // As Redis counts: the group's new last id is told with the claims, or on its own if there is none.
    cx.effects.dirty += is_new as u64 + changes + (is_ahead && changes == 0) as u64;
    Ok(Flow::Done)
}

/// Where entries were claimed.
pub struct Place<'a> {
    pub key: &'a [u8],
    pub group: &'a [u8],
    pub consumer: &'a [u8],
}

/// A claim as it is recorded: whose the entry is, since when (unix ms), how often it was delivered.
pub fn recorded_claim<'w>(place: &Place<'w>, id: &'w [u8], at: &'w [u8], count: &'w [u8]) -> [&'w [u8]; 12] {
    let &Place { key, group, consumer } = place;
    [b"XCLAIM", key, group, consumer, b"0", id, b"TIME", at, b"RETRYCOUNT", count, b"FORCE", b"JUSTID"]
}

/// What is recorded of entries that are a consumer's now, and of those that are nobody's: who, since when, how often.
pub(super) fn propagate_claims(
    cx: &Cx<'_>,
    group: &Group,
    place: &Place<'_>,
    is_new: bool,
    yes: &[StreamId],
    gone: &[StreamId],
) {
    if !cx.is_journaled() {
        return;
    }
    cx.propagate_nothing();
    let &Place { key, group: name, consumer } = place;
    if is_new {
        cx.propagate(&[b"XGROUP", b"CREATECONSUMER", key, name, consumer]);
    }
    let (mut last, mut text) = (IdBuffer::new(), IdBuffer::new());
    let last = last.format(group.last_id);
    for &id in yes {
        let Some(pending) = group.pending(id) else { continue };
        let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (at, count) = (at.format(pending.delivered_at.0).as_bytes(), count.format(pending.count).as_bytes());
        let id = text.format(id);
        cx.propagate(&[&recorded_claim(place, id, at, count)[..], &[b"LASTID", last]].concat());
    }
    for &id in gone {
        cx.propagate(&[b"XACK", key, name, text.format(id)]);
    }
}

/// What is recorded of how far a group has read.
pub(super) fn propagate_last(cx: &Cx<'_>, group: &Group, place: &Place<'_>) {
    let (mut last, mut read) = (IdBuffer::new(), itoa::Buffer::new());
    let last = last.format(group.last_id);
    match group.entries_read {
        Some(count) => {
            let count = read.format(count).as_bytes();
            cx.propagate(&[b"XGROUP", b"SETID", place.key, place.group, last, b"ENTRIESREAD", count]);
        }
        None => cx.propagate(&[b"XGROUP", b"SETID", place.key, place.group, last]),
    }
}

enum Taken {
    Yes,
    /// It is not pending, or not for long enough.
    No,
    /// It was pending, but its entry is no more: it is not pending any longer.
    Gone,
}

/// Claims one entry and replies it.
fn take(reply: &mut Reply, log: &Log, group: &mut Group, id: StreamId, claim: &Claim, is_forced: bool) -> Taken {
    let Some(entry) = log.get(id) else {
        return if group.acknowledge(id) { Taken::Gone } else { Taken::No };
    };
    if !group.claim(id, claim, is_forced) {
        return Taken::No;
    }
    if claim.is_just_id {
        reply_id(reply, id)
    } else {
        reply_entry(reply, &entry)
    }
    Taken::Yes
}

/// Pending entries that XAUTOCLAIM looks at for each one that it may claim. Source: Redis.
const LOOKS_PER_CLAIM: u64 = 10;
/// Largest COUNT. Source: Redis, whose counts are bytes of memory somewhere.
const CLAIMS_MAX: i64 = i64::MAX / 16;

/// COUNT and JUSTID.
fn parse_auto_options(args: &Args<'_>) -> Result<(u64, bool), ReplyError> {
    let (mut count, mut is_just_id, mut at) = (100, false, 6);
    while at < args.count() {
        if at + 1 < args.count() && args.is(at, "count") {
            let valid = parse_i64(args.get(at + 1)).filter(|count| (1..=CLAIMS_MAX).contains(count));
            count = valid.ok_or(ReplyError::text("ERR COUNT must be > 0"))? as u64;
            at += 2;
        } else if args.is(at, "justid") {
            is_just_id = true;
            at += 1;
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok((count, is_just_id))
}

/// Look for entries that have been pending for long and give them to a consumer; reply where to go on, the entries or
/// their ids, and the ids of pending entries that are no more.
/// Shape:  key group consumer min-idle-time start [COUNT count] [JUSTID]
/// Errors: arguments, type, missing group; all before any change.
pub(super) fn xautoclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let now = cx.keys.now;
    let min_idle = option_int(&args, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = parse_start(args.get(5))?;
    let (count, is_just_id) = parse_auto_options(&args)?;
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    cx.keys.looked_up(args.get(1), stream.is_some());
    let Some(mut stream) = stream else { return Err(no_group(args.get(1), args.get(2))) };
    let Some((log, group)) = stream.group_mut(args.get(2)) else {
        return Err(no_group(args.get(1), args.get(2)));
    };
    let (to, is_new) = group.meet_consumer(args.get(3), now);
    let claim = Claim { to, now, delivered_at: now, min_idle, count: None, is_just_id };
    let mut sweep = Sweep { next: group.next_pending(start), gone: Vec::new() };
    let mut claimed = Reply { proto: cx.reply.proto, ..Reply::default() };
    let mut yes = Vec::new();
    let taken = sweep.run(&mut claimed, log, group, &claim, count, &mut yes);
    let place = Place { key: args.get(1), group: args.get(2), consumer: args.get(3) };
    propagate_claims(cx, group, &place, is_new, &yes, &sweep.gone);
    drop(stream);
    if is_new {
        cx.event(args.get(1), Class::STREAM, NEW_CONSUMER);
    }
    cx.effects.dirty += is_new as u64 + taken as u64 + sweep.gone.len() as u64;
    cx.reply.array(3);
    reply_id(cx.reply, sweep.next.unwrap_or(StreamId::MIN));
    cx.reply.array(taken);
    cx.reply.raw(&claimed.out.buf);
    cx.reply.array(sweep.gone.len());
    sweep.gone.iter().for_each(|&id| reply_id(cx.reply, id));
    Ok(Flow::Done)
}

/// XAUTOCLAIM at work.
struct Sweep {
    /// The next pending entry.
    next: Option<StreamId>,
    gone: Vec<StreamId>,
}

impl Sweep {
    /// Claims up to `count` entries, those that are gone counted with them; returns how many.
    fn run(
        &mut self,
        reply: &mut Reply,
        log: &Log,
        group: &mut Group,
        claim: &Claim,
        count: u64,
        yes: &mut Vec<StreamId>,
    ) -> usize {
        let (mut looks, mut left, mut taken) = (count * LOOKS_PER_CLAIM, count, 0);
        while looks > 0
            && left > 0
            && let Some(id) = self.next
        {
            looks -= 1;
            match take(reply, log, group, id, claim, false) {
                Taken::Yes => {
                    yes.push(id);
                    (taken, left) = (taken + 1, left - 1);
                }
                Taken::Gone => {
                    self.gone.push(id);
                    left -= 1;
                }
                Taken::No => {}
            }
            self.next = id.next().and_then(|above| group.next_pending(above));
        }
        taken
    }
}
