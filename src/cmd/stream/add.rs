//! XADD, XTRIM and XSETID: entries come at the end and go at the front.

use super::{INVALID_ID, block_limits, filled, int, parse_id, reply_id};
use crate::admin::params::Id;
use crate::cmd::command::{Class, Cx, Flow};
use crate::keyspace::objects::Writing;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::stream::{IdBuffer, IdText, Keep, References, Stream, StreamId, Trim};

/// What XADD and XTRIM are asked for.
#[derive(Default)]
struct Wanted {
    may_not_create: bool,
    keep: Option<Keep>,
    is_approximate: bool,
    limit: Option<i64>,
    references: Option<References>,
    /// XADD: the id, and where it stands. XTRIM: the end of the arguments.
    id: NewId,
    id_at: usize,
}

/// The id of the new entry.
#[derive(Default, Clone, Copy, PartialEq)]
enum NewId {
    /// `*`: the time, and a number if needed.
    #[default]
    Auto,
    /// `ms-*`
    Time(u64),
    Given(StreamId),
}

const BOTH_BOUNDS: ReplyError =
    ReplyError::text("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
const ID_TOO_SMALL: ReplyError =
    ReplyError::text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
/// Longest entry, fields and values together. Source: Redis, STREAM_LISTPACK_MAX_SIZE.
const ENTRY_LEN_MAX: usize = 1 << 30;

impl Wanted {
    /// Reads the options from argument 2 on; for XADD up to the id.
    fn parse(args: &Args<'_>, is_xadd: bool) -> Result<Self, ReplyError> {
        let mut wanted = Wanted { id_at: args.count(), ..Wanted::default() };
        let mut at = 2;
        while at < args.count() {
            let more = args.count() - at - 1;
            if is_xadd && args.get(at) == b"*" {
                wanted.id_at = at;
                break;
            } else if more > 0 && (args.is(at, "maxlen") || args.is(at, "minid")) {
                at = wanted.parse_bound(args, at)?;
            } else if more > 0 && args.is(at, "limit") {
                wanted.limit = Some(int(args, at + 1)?);
                if wanted.limit < Some(0) {
                    return Err(ReplyError::text("ERR The LIMIT argument must be >= 0."));
                }
                at += 2;
            } else if is_xadd && args.is(at, "nomkstream") {
                wanted.may_not_create = true;
                at += 1;
            } else if let Some(references) = references(args, at).filter(|_| wanted.references.is_none()) {
                wanted.references = Some(references);
                at += 1;
            } else if is_xadd {
                wanted.id = parse_new_id(args.get(at))?;
                wanted.id_at = at;
                break;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        wanted.check(is_xadd)?;
        Ok(wanted)
    }

    /// Reads MAXLEN or MINID at argument `at`; returns where it ends.
    fn parse_bound(&mut self, args: &Args<'_>, at: usize) -> Result<usize, ReplyError> {
        if self.keep.is_some() {
            return Err(BOTH_BOUNDS);
        }
        let has_sign = args.count() - at > 2 && matches!(args.get(at + 1), b"~" | b"=");
        self.is_approximate = has_sign && args.get(at + 1) == b"~";
        let value = at + 1 + has_sign as usize;
        self.keep = Some(if args.is(at, "minid") {
            Keep::From(parse_id(args.get(value), 0)?)
        } else {
            let len = u64::try_from(int(args, value)?);
            Keep::Len(len.map_err(|_| ReplyError::text("ERR The MAXLEN argument must be >= 0."))?)
        });
        Ok(value + 1)
    }

    /// Options that need each other.
    fn check(&self, is_xadd: bool) -> Result<(), ReplyError> {
        if self.keep.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(ReplyError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.keep.is_none() && !is_xadd {
            return Err(ReplyError::text("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        if self.limit.is_some() && !self.is_approximate {
            return Err(ReplyError::text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        Ok(())
    }

    /// What is recorded of an entry that was appended: its id, and what was trimmed in exact terms.
    fn propagate_add(&self, cx: &Cx<'_>, args: &Args<'_>, id: StreamId, len: u64, trimmed: u64) {
        let (mut id_text, mut len_text) = (IdBuffer::new(), itoa::Buffer::new());
        let mut words: Vec<&[u8]> = vec![b"XADD", args.get(1)];
        if trimmed > 0 {
            words.extend(self.references.map(word_of));
            words.extend([&b"MAXLEN"[..], b"=", len_text.format(len).as_bytes()]);
        }
        words.push(id_text.format(id));
        words.extend(args.iter_from(self.id_at + 1));
        cx.propagate(&words);
    }
    /// The same of a stream that was trimmed to so many entries.
    fn propagate_trim(&self, cx: &Cx<'_>, key: &[u8], len: u64) {
        let mut len_text = itoa::Buffer::new();
        let mut words: Vec<&[u8]> = vec![b"XTRIM", key, b"MAXLEN", b"=", len_text.format(len).as_bytes()];
        words.extend(self.references.map(word_of));
        cx.propagate(&words);
    }
    /// Removes what is asked for; returns how many entries that were.
    fn trim(&self, cx: &Cx<'_>, stream: &mut Stream) -> u64 {
        let Some(keep) = self.keep else { return 0 };
        let limit = match self.limit {
            Some(limit) => limit as u64,
            None if self.is_approximate => default_limit(cx.world.config.number(Id::STREAM_NODE_MAX_ENTRIES)),
            None => 0,
        };
        let trim = Trim { keep, is_approximate: self.is_approximate, limit };
        stream.trim(&trim, self.references.unwrap_or_default())
    }
}

/// Entries that `~` removes at most if LIMIT does not say: those of a hundred blocks.
fn default_limit(entries_per_block: i64) -> u64 {
    match entries_per_block.saturating_mul(100) {
        ..=0 => 10_000,
        limit => limit.min(1_000_000) as u64,
    }
}

/// KEEPREF, DELREF or ACKED at argument `at`.
pub(super) fn references(args: &Args<'_>, at: usize) -> Option<References> {
    match () {
        _ if args.is(at, "keepref") => Some(References::Keep),
        _ if args.is(at, "delref") => Some(References::Delete),
        _ if args.is(at, "acked") => Some(References::Respect),
        _ => None,
    }
}

fn word_of(references: References) -> &'static [u8] {
    match references {
        References::Keep => b"KEEPREF",
        References::Delete => b"DELREF",
        References::Respect => b"ACKED",
    }
}

fn parse_new_id(text: &[u8]) -> Result<NewId, ReplyError> {
    match IdText::parse(text).ok_or(INVALID_ID)? {
        IdText::Whole(id) => Ok(NewId::Given(id)),
        IdText::Time(ms) => Ok(NewId::Given(StreamId::new(ms, 0))),
        IdText::AnySeq(ms) => Ok(NewId::Time(ms)),
    }
}

/// Append an entry.
/// Shape:  key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id (field value)+
/// Errors: options, id and arity before any lookup; an id that is not above the last one.
pub(super) fn xadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(&args, true)?;
    let first = wanted.id_at + 1;
    let field_count = args.count().saturating_sub(first);
    if field_count < 2 || !field_count.is_multiple_of(2) {
        return Err(ReplyError::text("ERR wrong number of arguments for 'xadd' command"));
    }
    if wanted.id == NewId::Given(StreamId::MIN) {
        return Err(ReplyError::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    if args.has_large() && args.iter_from(first).map(<[u8]>::len).sum::<usize>() > ENTRY_LEN_MAX {
        return Err(too_large());
    }
    let Some(mut stream) = open(cx, &args, wanted.may_not_create)? else {
        cx.reply.null();
        return Ok(Flow::Done);
    };
    let id = next_id(cx, &stream, wanted.id)?;
    let fields = (0..field_count / 2).map(|pair| (args.get(first + 2 * pair), args.get(first + 2 * pair + 1)));
    stream.append(id, fields, block_limits(cx)).map_err(|_| too_large())?;
    let trimmed = wanted.trim(cx, &mut stream);
    if cx.is_journaled() {
        wanted.propagate_add(cx, &args, id, stream.log().len(), trimmed);
    }
    drop(stream);
    cx.changed(args.get(1), Class::STREAM, "xadd");
    if trimmed > 0 {
        cx.event(args.get(1), Class::STREAM, "xtrim");
    }
    cx.effects.dirty += 1;
    reply_id(cx.reply, id);
    filled(cx, &args, 1);
    Ok(Flow::Done)
}

fn too_large() -> ReplyError {
    ReplyError::text("ERR Elements are too large to be stored")
}

/// The stream of argument 1, made if need be. None: it is absent and must stay so.
fn open<'t>(cx: &Cx<'t>, args: &Args<'_>, may_not_create: bool) -> Result<Option<Writing<'t, Stream>>, ReplyError> {
    let key = cx.key(args, 1);
    Ok(if may_not_create { cx.keys.open(key)? } else { Some(cx.keys.open_or_create(key)?) })
}

/// The id that the new entry gets. A stream that has just been made refuses none but 0-0, so it does not stay empty.
fn next_id(cx: &Cx<'_>, stream: &Stream, wanted: NewId) -> Result<StreamId, ReplyError> {
    let last = stream.log().last_id();
    if last == StreamId::MAX {
        return Err(ReplyError::text("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = match wanted {
        NewId::Auto => last.following(cx.keys.now),
        NewId::Time(ms) if ms == last.ms => last.seq.checked_add(1).map(|seq| StreamId::new(ms, seq)),
        NewId::Time(ms) => Some(StreamId::new(ms, 0)),
        NewId::Given(id) => Some(id),
    };
    id.filter(|&id| id > last).ok_or(ID_TOO_SMALL)
}

/// Remove entries from the front.
/// Shape:  key MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]
/// Errors: options before the lookup.
pub(super) fn xtrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = Wanted::parse(&args, false)?;
    let stream = cx.keys.open::<Stream>(cx.key(&args, 1))?;
    let (removed, len) = stream.map_or((0, 0), |mut stream| {
        let removed = wanted.trim(cx, &mut stream);
        (removed, stream.log().len())
    });
    if removed > 0 {
        wanted.propagate_trim(cx, args.get(1), len);
        cx.changed(args.get(1), Class::STREAM, "xtrim");
    }
    cx.effects.dirty += removed;
    cx.reply.int(removed as i64);
    Ok(Flow::Done)
}

/// Set the last id, and what else a copy of a stream needs.
/// Shape:  key last-id [ENTRIESADDED count] [MAXDELETEDID id]
/// Errors: options before the lookup; no such key; ids and counts that the entries contradict.
pub(super) fn xsetid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let id = parse_id(args.get(2), 0)?;
    let (entries_added, max_deleted_id) = parse_setid_options(&args, id)?;
    let Some(mut stream) = cx.keys.open::<Stream>(cx.key(&args, 1))? else { return Err(ReplyError::NoSuchKey) };
    let log = stream.log();
    if id < log.max_deleted_id() {
        return Err(ReplyError::text("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"));
    }
    if log.last_live_id().is_some_and(|last| id < last) {
        return Err(ReplyError::text("ERR The ID specified in XSETID is smaller than the target stream top item"));
    }
    if entries_added.is_some_and(|added| log.len() > added) {
        return Err(ReplyError::text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    stream.set_last_id(id, entries_added, max_deleted_id);
    drop(stream);
    cx.event(args.get(1), Class::STREAM, "xsetid");
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// ENTRIESADDED and MAXDELETEDID; the latter is None if it is zero.
fn parse_setid_options(args: &Args<'_>, id: StreamId) -> Result<(Option<u64>, Option<StreamId>), ReplyError> {
    let (mut entries_added, mut max_deleted_id) = (None, None);
    for at in (3..args.count()).step_by(2) {
        if at + 1 < args.count() && args.is(at, "entriesadded") {
            let count = u64::try_from(int(args, at + 1)?);
            entries_added = Some(count.map_err(|_| ReplyError::text("ERR entries_added must be positive"))?);
        } else if at + 1 < args.count() && args.is(at, "maxdeletedid") {
            let deleted = parse_id(args.get(at + 1), 0)?;
            if id < deleted {
                return Err(ReplyError::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(deleted).filter(|id| !id.is_zero());
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok((entries_added, max_deleted_id))
}
