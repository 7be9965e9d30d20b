//! XREAD and XREADGROUP: entries behind an id, from several streams at one instant; if there are none, wait for them.
//!
//! A command that waits runs again when an entry has come, and then reads behind the ids that it has. `$` stands for the
//! last id at the first run: what it stood for is kept with the session while the command waits.

use super::claim::{Place, propagate_claims, propagate_last};
use super::group::NEW_CONSUMER;
use super::range::{reply_entries, reply_range_gradually, reply_unless_long};
use super::{int, parse_id, reply_array, reply_entry, reply_id};
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::cmd::blocking::Awaited;
use crate::cmd::command::{Class, Cx, Flow};
use crate::keyspace::FEW_KEYS;
use crate::keyspace::objects::{Access, HeldKeys, Writing};
use crate::keyspace::types::WrongType;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::{Proto, Reply};
use crate::value::stream::{ConsumerId, Delivery, Entry, Group, Log, Stream, StreamId};
use smallvec::SmallVec;

/// What both commands are asked for.
#[derive(Default)]
struct Wanted<'a> {
    count: Option<usize>,
    /// BLOCK: until when; an inner None is for ever.
    until: Option<Option<WallMs>>,
    /// GROUP: its name and the consumer's.
    group: Option<(&'a [u8], &'a [u8])>,
    is_untracked: bool,
    first_key: usize,
    key_count: usize,
}

impl<'a> Wanted<'a> {
    fn parse(cx: &Cx<'_>, args: &Args<'a>, is_group: bool) -> Result<Self, ReplyError> {
        let (mut wanted, mut at) = (Wanted::default(), 1);
        while at < args.count() {
            let more = args.count() - at - 1;
            if more > 0 && args.is(at, "block") {
                wanted.until = Some(cx.patience_ms(args.get(at + 1))?);
                at += 2;
            } else if more > 0 && args.is(at, "count") {
                wanted.count = usize::try_from(int(args, at + 1)?).ok().filter(|&count| count > 0);
                at += 2;
            } else if more > 0 && args.is(at, "streams") {
                wanted.first_key = at + 1;
                wanted.key_count = more / 2;
                if !more.is_multiple_of(2) {
                    return Err(unbalanced(is_group));
                }
                break;
            } else if more > 1 && args.is(at, "group") {
                wanted.group = Some((args.get(at + 1), args.get(at + 2)));
                only_for_groups(is_group, "GROUP")?;
                at += 3;
            } else if args.is(at, "noack") {
                only_for_groups(is_group, "NOACK")?;
                wanted.is_untracked = true;
                at += 1;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        if wanted.first_key == 0 {
            return Err(ReplyError::Syntax);
        }
        if is_group && wanted.group.is_none() {
            return Err(ReplyError::text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(wanted)
    }

    /// The id that was given for stream `index`.
    fn id<'b>(&self, args: &Args<'b>, index: usize) -> &'b [u8] {
        args.get(self.first_key + self.key_count + index)
    }
    fn key<'b>(&self, args: &Args<'b>, index: usize) -> &'b [u8] {
        args.get(self.first_key + index)
    }
    fn keys<'k>(&self, cx: &Cx<'_>, args: &Args<'k>) -> SmallVec<[Key<'k>; FEW_KEYS]> {
        (0..self.key_count).map(|index| cx.key(args, self.first_key + index)).collect()
    }
    /// Entries that are shown of a stream with `len` of them.
    fn count_of(&self, len: u64) -> usize {
        self.count.unwrap_or(usize::MAX).min(len as usize)
    }
}

fn unbalanced(is_group: bool) -> ReplyError {
    let (name, sign) = if is_group { ("xreadgroup", '>') } else { ("xread", '$') };
    ReplyError::owned(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{sign}' must be specified."
    ))
}

fn only_for_groups(is_group: bool, option: &str) -> Result<(), ReplyError> {
    let text = format!("ERR The {option} option is only supported by XREADGROUP. You called XREAD instead.");
    if is_group { Ok(()) } else { Err(ReplyError::owned(text)) }
}

/// Ends a run that found nothing: wait, or say so.
fn wait_or_null(cx: &mut Cx<'_>, args: &Args<'_>, wanted: &Wanted<'_>) -> Flow {
    match wanted.until {
        Some(until) if cx.may_wait() => {
            let awaited = if wanted.group.is_some() { Awaited::Group } else { Awaited::Stream };
            let keys = wanted.keys(cx, args);
            cx.wait_for(awaited, &keys, until)
        }
        _ => {
            cx.reply.null_array();
            Flow::Done
        }
    }
}

/// The head of the reply: a map from key to entries, in RESP2 an array of pairs.
fn reply_head(reply: &mut Reply, count: usize) {
    if reply.proto == Proto::Resp3 { reply.map(count) } else { reply.array(count) }
}

fn reply_key(reply: &mut Reply, key: &[u8]) {
    if reply.proto == Proto::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// A stream that is there or not, or the key holds something else.
type Found<'s> = Result<Option<&'s Stream>, WrongType>;

/// Reply the entries of streams behind given ids.
/// Shape:  [COUNT count] [BLOCK milliseconds] STREAMS key+ id+; `$` is the last id, `+` the one before the last entry.
/// Errors: options; then type and id, stream by stream.
pub(super) fn xread(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(cx, &args, false)?;
    let keys = wanted.keys(cx, &args);
    let view = cx.keys;
    let mark = cx.reply.mark();
    let served = if let [key] = keys[..] {
        let stream = view.look::<Stream>(key);
        serve(cx, &args, &wanted, &[stream.as_ref().map(|stream| stream.as_deref()).map_err(|&error| error)])?
    } else {
        let locks: SmallVec<[_; FEW_KEYS]> = keys.iter().map(|&key| (key, Access::Read)).collect();
        let (served, missing) = view.with_held(&locks, |held| {
            cx.reply.truncate(mark);
            let streams: SmallVec<[Found<'_>; FEW_KEYS]> = (0..keys.len()).map(|index| held.get(index)).collect();
            let missing = (0..keys.len()).filter(|&index| matches!(streams[index], Ok(None)));
            let missing: SmallVec<[usize; FEW_KEYS]> = missing.collect();
            Ok((serve(cx, &args, &wanted, &streams), missing))
        });
        view.looked_up_all(keys.len(), missing.iter().map(|&index| keys[index].bytes));
        served?
    };
    Ok(match served {
        Served::All => Flow::Done,
        Served::Nothing => wait_or_null(cx, &args, &wanted),
        Served::TooLong(start) => {
            cx.reply.truncate(mark);
            let (ids, max) = ((start, StreamId::MAX), wanted.count.map_or(u64::MAX, |count| count as u64));
            let head = |reply: &mut Reply| {
                reply_head(reply, 1);
                reply_key(reply, keys[0].bytes);
            };
            // None: they have gone in this moment.
            let flow = reply_range_gradually(cx, keys[0], ids, max, false, head)?;
            flow.unwrap_or_else(|| wait_or_null(cx, &args, &wanted))
        }
    })
}

/// What a look at the streams gave.
enum Served {
    Nothing,
    All,
    /// The one stream has more from this id on than should be replied at once.
    TooLong(StreamId),
}

/// The ids behind which XREAD reads, if one of them was given as `$`.
type Marks = Vec<StreamId>;

/// Replies what lies behind the ids.
fn serve(cx: &mut Cx<'_>, args: &Args<'_>, wanted: &Wanted<'_>, streams: &[Found<'_>]) -> Result<Served, ReplyError> {
    let mut ids: SmallVec<[StreamId; FEW_KEYS]> = SmallVec::new();
    let is_again = cx.session.woken.is_some();
    let kept = cx.session.kept.as_ref().filter(|_| is_again).and_then(|kept| kept.downcast_ref::<Marks>());
    for (index, stream) in streams.iter().enumerate() {
        let stream = match *stream {
            Err(_) if is_again => None, // It has become something else: XREAD goes on waiting, as in Redis.
            found => found?,
        };
        ids.push(match wanted.id(args, index) {
            text @ b"$" => kept.and_then(|kept| kept.get(index).copied()).map_or_else(|| resolve(text, stream), Ok)?,
            text => resolve(text, stream)?,
        });
    }
    let is_behind = |stream: &Stream, id: StreamId| stream.log().last_live_id().is_some_and(|last| last > id);
    let found = |(stream, &id): (&Found<'_>, &StreamId)| match stream {
        Ok(Some(stream)) => is_behind(stream, id),
        _ => false,
    };
    let served: SmallVec<[bool; FEW_KEYS]> = streams.iter().zip(&ids).map(found).collect();
    let count = served.iter().filter(|&&served| served).count();
    if count == 0 {
        if (0..ids.len()).any(|index| wanted.id(args, index) == b"$") {
            cx.session.kept = Some(Box::new(ids.to_vec()));
        }
        return Ok(Served::Nothing);
    }
    reply_head(cx.reply, count);
    for (index, stream) in streams.iter().enumerate().filter(|(index, _)| served[*index]) {
        let (Ok(Some(stream)), Some(start)) = (stream, ids[index].next()) else { continue };
        let log = stream.log();
        reply_key(cx.reply, wanted.key(args, index));
        let (max, entries) = (wanted.count_of(log.len()), log.range(start, StreamId::MAX));
        if streams.len() > 1 {
            reply_entries(cx.reply, max, entries);
        } else if !reply_unless_long(cx.reply, max, entries) {
            return Ok(Served::TooLong(start));
        }
    }
    Ok(Served::All)
}

/// The id behind which XREAD reads.
fn resolve(text: &[u8], stream: Option<&Stream>) -> Result<StreamId, ReplyError> {
    let last = stream.map_or(StreamId::MIN, |stream| stream.log().last_id());
    match text {
        b"$" => Ok(last),
        b"+" => {
            let last = stream.and_then(|stream| stream.log().last_live_id()).unwrap_or(last);
            Ok(last.prev().unwrap_or(last))
        }
        b">" => Err(ReplyError::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        text => parse_id(text, 0),
    }
}

/// Streams that a consumer reads from, under their locks.
trait Locked {
    fn get(&self, index: usize) -> Found<'_>;
    fn get_mut(&mut self, index: usize) -> Option<&mut Stream>;
}

impl Locked for Option<Writing<'_, Stream>> {
    fn get(&self, _: usize) -> Found<'_> {
        Ok(self.as_deref())
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut Stream> {
        self.as_deref_mut()
    }
}

impl Locked for HeldKeys<'_, '_, '_> {
    fn get(&self, index: usize) -> Found<'_> {
        HeldKeys::get(self, index)
    }
    fn get_mut(&mut self, index: usize) -> Option<&mut Stream> {
        HeldKeys::get_mut(self, index).ok().flatten()
    }
}

/// Hand a consumer entries that its group has not seen (`>`), or show it again what it has pending behind an id.
/// Shape:  GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key+ id+
/// Errors: options; then type, missing group and id, stream by stream, before any change.
pub(super) fn xreadgroup(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(cx, &args, true)?;
    let keys = wanted.keys(cx, &args);
    let view = cx.keys;
    let is_served = if let [key] = keys[..] {
        let mut stream = view.open::<Stream>(key)?;
        view.looked_up(key.bytes, stream.is_some());
        serve_group(cx, &args, &wanted, &mut stream)?
    } else {
        let locks: SmallVec<[_; FEW_KEYS]> = keys.iter().map(|&key| (key, Access::Write)).collect();
        view.with_held(&locks, |held| Ok(serve_group(cx, &args, &wanted, held)))?
    };
    Ok(if is_served { Flow::Done } else { wait_or_null(cx, &args, &wanted) })
}

/// What a consumer wants of a stream.
#[derive(Clone, Copy)]
enum Share {
    New,
    /// What it has pending behind this id.
    Pending(StreamId),
}

/// Serves a consumer; false if there is nothing for it.
fn serve_group(
    cx: &mut Cx<'_>,
    args: &Args<'_>,
    wanted: &Wanted<'_>,
    streams: &mut impl Locked,
) -> Result<bool, ReplyError> {
    let Some((name, consumer)) = wanted.group else { return Err(ReplyError::Syntax) };
    let mut shares: SmallVec<[Share; FEW_KEYS]> = SmallVec::new();
    for index in 0..wanted.key_count {
        let stream = streams.get(index)?;
        if stream.is_none() && wanted.key_count > 1 {
            cx.keys.missed(wanted.key(args, index)); // Of a single one its look-up has told.
        }
        if stream.is_none_or(|stream| stream.group(name).is_none()) {
            return Err(no_group(wanted.key(args, index), name));
        }
        shares.push(share(wanted.id(args, index))?);
    }
    let start = cx.reply.out.buf.len();
    reply_head(cx.reply, wanted.key_count);
    let end = cx.reply.out.buf.len();
    let mut served = 0;
    for (index, share) in shares.into_iter().enumerate() {
        let Some((log, group)) = streams.get_mut(index).and_then(|stream| stream.group_mut(name)) else { continue };
        let (to, is_new) = group.meet_consumer(consumer, cx.keys.now);
        if is_new {
            cx.event(wanted.key(args, index), Class::STREAM, NEW_CONSUMER);
        }
        cx.effects.dirty += is_new as u64;
        let place = Place { key: wanted.key(args, index), group: name, consumer };
        propagate_claims(cx, group, &place, is_new, &[], &[]);
        if matches!(share, Share::New) && log.last_live_id().is_none_or(|last| last <= group.last_id) {
            continue;
        }
        served += 1;
        cx.effects.dirty += 1;
        reply_key(cx.reply, wanted.key(args, index));
        match share {
            Share::New => {
                let given = deliver(cx, wanted, log, group, to);
                propagate_claims(cx, group, &place, false, &given, &[]);
                propagate_last(cx, group, &place);
            }
            Share::Pending(id) => repeat(cx, wanted, log, group, to, id),
        }
    }
    if served < wanted.key_count {
        let mut head = Reply { proto: cx.reply.proto, ..Reply::default() };
        if served > 0 {
            reply_head(&mut head, served);
        }
        cx.reply.out.buf.splice(start..end, head.out.buf);
    }
    Ok(served > 0)
}

/// Hands a consumer what its group has not seen. Returns what is pending by that, if it is to be recorded.
fn deliver(cx: &mut Cx<'_>, wanted: &Wanted<'_>, log: &Log, group: &mut Group, to: ConsumerId) -> Vec<StreamId> {
    let (mut given, is_noted) = (Vec::new(), cx.is_journaled() && !wanted.is_untracked);
    let delivery = Delivery { to, now: cx.keys.now, is_tracked: !wanted.is_untracked };
    let Some(start) = group.last_id.next() else {
        cx.reply.array(0);
        return given;
    };
    let count = wanted.count_of(log.len());
    reply_array(cx.reply, count, |reply| {
        let entries = log.range(start, StreamId::MAX).take(count);
        let hand_over = |entry: Entry<'_>| {
            group.deliver(log, entry.id, &delivery);
            given.extend(is_noted.then_some(entry.id));
            reply_entry(reply, &entry);
        };
        entries.map(hand_over).count()
    });
    given
}

/// Shows a consumer what it has pending behind `id`. An entry that is no more has no fields.
fn repeat(cx: &mut Cx<'_>, wanted: &Wanted<'_>, log: &Log, group: &mut Group, to: ConsumerId, id: StreamId) {
    let (now, start) = (cx.keys.now, id.next().unwrap_or(StreamId::MAX));
    let count = wanted.count_of(group.consumer(to).pending_count() as u64);
    reply_array(cx.reply, count, |reply| {
        let mut shown = 0;
        group.repeat(log, to, start, count, now, |id, entry| {
            shown += 1;
            match entry {
                Some(entry) => reply_entry(reply, &entry),
                None => {
                    reply.array(2);
                    reply_id(reply, id);
                    reply.null_array();
                }
            }
        });
        shown
    });
}

/// What XREADGROUP means by an id. The largest one stands for `>`, as in Redis.
fn share(text: &[u8]) -> Result<Share, ReplyError> {
    match text {
        b"$" => Err(meaningless('$')),
        b"+" => Err(meaningless('+')),
        b">" => Ok(Share::New),
        text => Ok(match parse_id(text, 0)? {
            StreamId::MAX => Share::New,
            id => Share::Pending(id),
        }),
    }
}

fn meaningless(sign: char) -> ReplyError {
    ReplyError::owned(format!(
        "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
         specifying a proper ID, or use the > ID to get new messages. The {sign} ID would just return an empty result set."
    ))
}

fn no_group(key: &[u8], group: &[u8]) -> ReplyError {
    let (key, group) = (escaped(key), escaped(group));
    ReplyError::owned(format!(
        "NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option"
    ))
}
