//! DUMP and RESTORE: a value as bytes, to be kept elsewhere or brought to another server.

use super::command::{Class, Command, Cx, Flow, KeySpec, acl, cmd, flag};
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::num::parse_i64;
use crate::base::sync::Ordering;
use crate::cmd::world::World;
use crate::keyspace::Keys;
use crate::keyspace::store::Placed;
use crate::keyspace::types::{new_blob, new_collection, new_string};
use crate::persist::decode::{Limits, Loaded, Setting};
use crate::persist::encode::View;
use crate::persist::{Fault, Form, kind_name, payload, record::Use};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::entry::BLOB_LEN_MIN;
use crate::table::{Change, Entry, NewEntry, Payload};
use crate::value::{hash, list, set, zset};
use std::borrow::Cow;

const RESTORES: u32 = flag::WRITE | flag::DENYOOM;
const TARGET: &[KeySpec] = &[KeySpec::one(1, &["OW", "update"])];

pub static ROWS: &[Command] = &[
    cmd("dump", dump)
        .arity(2)
        .flags(flag::READONLY)
        .acl(acl::KEYSPACE)
        .keys(&[KeySpec::one(1, &["RO", "access"])])
        .group("generic", "2.6.0")
        .tips(&["nondeterministic_output"]),
    cmd("restore", restore)
        .arity(-4)
        .flags(RESTORES)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .keys(TARGET)
        .group("generic", "2.6.0"),
    cmd("restore-asking", restore)
        .arity(-4)
        .flags(RESTORES | flag::ASKING)
        .acl(acl::KEYSPACE | acl::DANGEROUS)
        .keys(TARGET)
        .group("server", "3.0.0"),
];

const EXISTS: ReplyError = ReplyError::text("BUSYKEY Target key name already exists.");
const BAD_PAYLOAD: ReplyError = ReplyError::text("ERR DUMP payload version or checksum are wrong");
const BAD_DATA: ReplyError = ReplyError::text("ERR Bad data format");

/// Hands an entry's value to `look`. None: it has just been removed.
pub fn view<R>(entry: Entry<'_>, look: impl FnOnce(View<'_>) -> R) -> Option<R> {
    match entry.payload() {
        Payload::Inline(bytes) => Some(look(View::Text(bytes))),
        Payload::Cell(value) => Some(look(View::Int(value))),
        Payload::Blob(blob) => Some(look(View::Text(blob))),
        Payload::Object(object) => {
            let lock = object.read()?;
            let view = View::of(&lock)?;
            Some(look(view))
        }
    }
}

/// How this server writes values.
pub fn form(config: &Config) -> Form {
    let version = config.number(Id::RDB_SAVE_VERSION) as u32;
    Form { version, compresses: config.number(Id::RDBCOMPRESSION) != 0 }
}

/// Up to where collections keep their small forms.
pub fn limits(world: &World) -> Limits {
    let number = |id| world.config.number(id).max(0) as usize;
    Limits {
        list: list::Limits::new(
            world.config.number(Id::LIST_MAX_LISTPACK_SIZE),
            world.config.number(Id::LIST_COMPRESS_DEPTH),
        )
        .alone_from(world.list_alone_len.load(Ordering::Relaxed) as usize),
        set: set::Limits {
            ints: number(Id::SET_MAX_INTSET_ENTRIES),
            pack: number(Id::SET_MAX_LISTPACK_ENTRIES),
            member_len: number(Id::SET_MAX_LISTPACK_VALUE),
        },
        hash: hash::Limits {
            entries: number(Id::HASH_MAX_LISTPACK_ENTRIES),
            value_len: number(Id::HASH_MAX_LISTPACK_VALUE),
        },
        zset: zset::Limits {
            entries: number(Id::ZSET_MAX_LISTPACK_ENTRIES),
            value: number(Id::ZSET_MAX_LISTPACK_VALUE),
        },
    }
}

/// The entry of a value that was read.
pub fn entry(name: &[u8], value: Loaded<'_>, expires_at: Option<WallMs>, recency: u32) -> NewEntry {
    match value {
        Loaded::Collection(value) => new_collection(name, value, expires_at, recency),
        Loaded::Text(Cow::Owned(bytes)) if bytes.len() >= BLOB_LEN_MIN => {
            new_blob(name, bytes.into(), expires_at, recency)
        }
        Loaded::Text(bytes) => new_string(name, &bytes, expires_at, recency),
    }
}

/// Gives the key at `key` the recency that it had elsewhere.
pub fn set_use(keys: &Keys<'_>, key: Key<'_>, usage: Use) {
    let recency = match usage {
        Use::Idle(seconds) => keys.local.recency.idle_for(seconds),
        Use::Frequency(count) => keys.local.recency.used(count),
    };
    if let (Some(recency), Some(entry)) = (recency, keys.peek(key)) {
        entry.set_recency(recency);
    }
}

/// A value as bytes; null if there is none.
/// Shape:  `key`
fn dump(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (key, form) = (cx.key(&args, 1), form(&cx.world.config));
    loop {
        let Some(found) = cx.keys.read(key) else {
            cx.reply.null();
            return Ok(Flow::Done);
        };
        if let Some(bytes) = view(found, |view| payload::write(view, form)) {
            cx.reply.bulk(&bytes);
            return Ok(Flow::Done);
        }
    }
}

/// What RESTORE's options say.
#[derive(Default)]
struct Options {
    may_replace: bool,
    is_absolute: bool,
    usage: Option<Use>,
}

impl Options {
    /// Shape: `[REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]` from argument 4 on.
    /// Errors: syntax, numbers.
    fn parse(args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut at = 4;
        while at < args.count() {
            let has_value = at + 1 < args.count();
            let number = || parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger);
            match options.usage {
                _ if args.is(at, "replace") => options.may_replace = true,
                _ if args.is(at, "absttl") => options.is_absolute = true,
                None | Some(Use::Idle(_)) if has_value && args.is(at, "idletime") => {
                    let seconds = u64::try_from(number()?)
                        .map_err(|_| ReplyError::text("ERR Invalid IDLETIME value, must be >= 0"))?;
                    options.usage = Some(Use::Idle(seconds));
                    at += 1;
                }
                None | Some(Use::Frequency(_)) if has_value && args.is(at, "freq") => {
                    let count = u8::try_from(number()?)
                        .map_err(|_| ReplyError::text("ERR Invalid FREQ value, must be >= 0 and <= 255"))?;
                    options.usage = Some(Use::Frequency(count));
                    at += 1;
                }
                _ => return Err(ReplyError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// Makes a key of what DUMP has replied.
/// Shape:  `key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds | FREQ frequency]`; a ttl of 0 is none, in milliseconds
/// Errors: options; a key that is there, without REPLACE; ttl; version or checksum; the bytes. Nothing has changed then.
fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let options = Options::parse(&args)?;
    let (key, keys) = (cx.key(&args, 1), cx.keys);
    if !options.may_replace && keys.peek(key).is_some() {
        return Err(EXISTS);
    }
    let ttl = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    let ttl = u64::try_from(ttl).map_err(|_| ReplyError::text("ERR Invalid TTL value, must be >= 0"))?;
    let bytes = args.get(3);
    if !payload::has_sum(bytes, cx.world.skips_checksums.load(Ordering::Relaxed) == 0) {
        return Err(BAD_PAYLOAD);
    }
    let limits = limits(cx.world);
    let setting = Setting { version: 0, limits: &limits, now: keys.now };
    let read = || payload::read(bytes, setting);
    let mut first = Some(read().map_err(|fault| refuse(bytes, &fault))?);
    let expires_at = (ttl > 0).then(|| WallMs(if options.is_absolute { ttl } else { ttl.saturating_add(keys.now.0) }));
    if expires_at.is_some_and(|at| at <= keys.now) {
        return end_at_once(cx, key);
    }
    let placed = keys.put_made(key, options.may_replace, || {
        let value = first.take().or_else(|| read().ok());
        let Some(value) = value else { unreachable!("it was read before") };
        entry(key.bytes, value, expires_at, keys.recency())
    });
    if placed == Placed::Occupied {
        return Err(EXISTS);
    }
    if let Some(usage) = options.usage {
        set_use(&keys, key, usage);
    }
    cx.changed(key.bytes, Class::GENERIC, "restore");
    if let Some(at) = expires_at.filter(|_| !options.is_absolute) {
        record_absolute(cx, &args, at);
    }
    cx.effects.filled(keys.db(), key.bytes);
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// What cannot be read is told in the log, with what is wrong with it.
fn refuse(bytes: &[u8], fault: &Fault) -> ReplyError {
    let kind = kind_name(bytes);
    log::warning(format_args!("{kind} integrity check failed in RESTORE: {fault}"));
    BAD_DATA
}

/// For whoever runs it later the deadline is a time, not a duration.
fn record_absolute(cx: &Cx<'_>, args: &Args<'_>, at: WallMs) {
    let at = at.0.to_string();
    let mut words: Vec<&[u8]> = (0..args.count()).map(|index| args.get(index)).collect();
    words[2] = at.as_bytes();
    words.push(b"ABSTTL");
    cx.propagate(&words);
}

/// The value is past its deadline: what it would have replaced is removed.
fn end_at_once(cx: &mut Cx<'_>, key: Key<'_>) -> Result<Flow, ReplyError> {
    if cx.keys.update(key, |old| (if old.is_some() { Change::Remove } else { Change::Keep }, old.is_some())) {
        cx.changed(key.bytes, Class::GENERIC, "del");
        cx.propagate(&[b"DEL", key.bytes]);
        cx.effects.filled(cx.keys.db(), key.bytes); // Groups of a stream have gone.
        cx.effects.dirty += 1;
    }
    cx.reply.ok();
    Ok(Flow::Done)
}
