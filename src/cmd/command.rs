//! `Command`: the row that tells everything about a command, and what a handler gets and returns.
//!
//! Arity, key positions, COMMAND, ACL categories, statistics and prefetching come from the row; a handler holds only the
//! command's own meaning. A special case for one command elsewhere is a missing column here.

use super::alone::Alone;
use super::blocking::{Delivery, Fills, Wanted};
use super::functions::LoopFunctions;
use super::keyspec::KeyAt;
use super::queue::Spares;
use super::redact::Secrets;
use super::resume::Resumable;
use super::scripts::LoopScripts;
use super::session::Session;
use super::silence::Silence;
use super::world::World;
pub use crate::admin::notify::Class;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::ids::{ClientId, DbIndex, LoopId};
use crate::base::prng::Prng;
use crate::keyspace::Keys;
use crate::keyspace::types::{Type, WrongType};
use crate::pubsub::Space;
use crate::pubsub::desk::Desk;
use crate::pubsub::registry::Registry;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::table::Entry;
use std::sync::Arc;

/// What a handler works with.
pub struct Cx<'a> {
    /// The selected database under this turn's guard.
    pub keys: Keys<'a>,
    pub reply: &'a mut Reply,
    pub session: &'a mut Session,
    /// Everything that is shared by all loops.
    pub world: &'a World,
    pub prng: &'a mut Prng,
    pub effects: &'a mut Effects,
}

impl<'a> Cx<'a> {
    /// Runs `work` while all other loops stand still. This one may have stood still for another before: entries that were read
    /// before must not be used after.
    pub fn stop_others<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let (world, home) = (self.world, self.session.home);
        world.safepoint.run(home, || {
            self.effects.heed(world);
            self.keys.heed();
            let result = work(self);
            self.keys.heed(); // The others see what has changed at their next window; this loop is in the midst of one.
            result
        })
    }
    /// Argument `index` as a key, with the hash that the look stage left.
    #[inline]
    pub fn key<'k>(&self, args: &Args<'k>, index: usize) -> Key<'k> {
        self.keys.key(args.get(index), args.hash(index))
    }
    /// The command has changed `key` of the selected database; `event` is what listeners hear. Said behind the change, once
    /// it is certain. For another database: `cx.keys.on(db).changed(…)`. See `keyspace::events`.
    #[inline]
    pub fn changed(&self, key: &[u8], class: Class, event: &'static str) {
        self.keys.changed(key, class, event);
    }
    /// The same without an event.
    #[inline]
    pub fn touched(&self, key: &[u8]) {
        self.keys.touched(key);
    }
    /// An event that is no change of its own: another one behind a change, or none at all.
    #[inline]
    pub fn event(&self, key: &[u8], class: Class, event: &'static str) {
        self.keys.event(key, class, event);
    }
    /// Are changes recorded? Then a command that would not do the same again says what does (`propagate`).
    #[inline]
    pub fn is_journaled(&self) -> bool {
        self.keys.local.events.is_journaled()
    }
    /// This stands for what the command has changed, instead of the command itself; several in their order. Said behind the
    /// change, and only if something has changed.
    /// Cost: a test if there is no journal.
    #[inline]
    pub fn propagate(&self, words: &[&[u8]]) {
        if self.is_journaled() {
            self.keys.local.ledger.tell_otherwise();
            self.keys.local.ledger.record(self.keys.db(), words.iter().copied());
        }
    }
    /// The command is not recorded: it has changed nothing that would be missed.
    pub fn propagate_nothing(&self) {
        self.keys.local.ledger.tell_otherwise();
    }
    /// Something was taken out of `key`; `is_gone`: that was the last, and the key has gone with it.
    #[inline]
    pub fn reduced(&self, key: &[u8], class: Class, event: &'static str, is_gone: bool) {
        self.keys.reduced(key, class, event, is_gone);
    }
}

/// Something that may take long, for a thread of its own.
pub type Errand = Box<dyn FnOnce() + Send>;

/// What commands changed; handed over at the end of the turn.
#[derive(Default)]
pub struct Effects {
    /// Number of changes (`rdb_changes_since_last_save`).
    pub dirty: u64,
    /// The same before the command at hand, while an order of changes is kept.
    pub dirty_before: u64,
    /// Clients to be closed on whichever loop they live.
    pub kills: Vec<(LoopId, ClientId)>,
    /// Clients that began to watch, and the lines of this turn for all who do.
    pub new_monitors: Vec<ClientId>,
    pub monitor_lines: Vec<u8>,
    /// Wake all loops: a pause has ended.
    pub is_pause_over: bool,
    /// Clients that are to stop waiting, on whichever loop they live. Their waits are over (`ClientInfo::wait`).
    pub unblocks: Vec<(LoopId, ClientId, Woken)>,
    /// What the command that has just returned `Flow::Resume` leaves to later turns.
    pub job: Option<Box<dyn Resumable>>,
    /// Keys that may have got what somebody waits for. Looked at behind each command.
    pub fills: Fills,
    /// The keys that the command that has just returned `Flow::Park` waits for.
    pub wanted: Option<Wanted>,
    /// Replies to commands that were run for waiting clients.
    pub deliveries: Vec<Delivery>,
    /// What the command that has just returned `Flow::Alone` wants to be run.
    pub alone: Option<Alone>,
    /// What TIME has told inside the transaction or script at hand: time stands still there, until a script is said to be busy.
    pub told_micros: Option<u64>,
    /// Queues for the next transactions.
    pub spares: Spares,
    /// Scripts as this loop has compiled them.
    pub scripts: LoopScripts,
    /// Libraries as this loop has loaded them.
    pub functions: LoopFunctions,
    /// Who listens to what on this loop, and messages on their way: `desk.publish` and `desk.push_to` from anywhere.
    pub desk: Desk,
    /// Keys that were changed in this turn, each with the client that did so, if somebody wants changes broadcast.
    pub broadcast: Vec<(Box<[u8]>, Option<ClientId>)>,
    /// The append-only file is to begin, or to end.
    pub journal_switch: Option<bool>,
    /// The command that has just returned `Flow::Park` waits until this change is on the disk.
    pub awaited: Option<u64>,
    /// What the command that has just returned `Flow::Park` waits for: a thread does it, and then the command runs again.
    pub errand: Option<Errand>,
    /// Users have changed: who may not listen any more to what it listens to is to be closed, on all loops.
    pub silence: Option<Arc<Silence>>,
}

impl Effects {
    /// No effects yet, on this loop.
    pub fn of(home: LoopId) -> Self {
        Effects { desk: Desk::of(home), ..Effects::default() }
    }
    /// Sends a message to everybody who listens to `channel`, on all loops: before the next command of a client that
    /// listens runs here, and before any reply of this turn leaves. Returns how many they are.
    /// Cost: two relaxed loads if nobody listens to anything.
    #[inline]
    pub fn publish(&mut self, registry: &Registry, channel: &[u8], message: &[u8]) -> u64 {
        self.desk.publish(registry, Space::Channel, channel, message)
    }
    /// This key may have got what somebody waits for (a push, ZADD, XADD, RENAME, COPY, …), or lost it (a stream that was
    /// deleted ends the wait of its groups' consumers).
    /// Cost: a test if nobody has ever waited for a key.
    #[inline]
    pub fn filled(&mut self, db: DbIndex, key: &[u8]) {
        self.fills.push(db, key);
    }
    /// Reads again what others may have switched on: at the begin of each window of commands, and after every safepoint that
    /// this loop has entered, because it may have stood still for another one before.
    #[inline]
    pub fn heed(&mut self, world: &World) {
        self.fills.is_heeded = world.waiters.is_heeded();
    }
    /// Is the end of this entry to be told as `filled`? It is if it is a stream, whose groups' consumers may wait.
    /// Cost: a test if nobody has ever waited for a key.
    #[inline]
    pub fn minds_end_of(&self, entry: Option<Entry<'_>>) -> bool {
        self.fills.is_heeded && entry.is_some_and(|entry| Type::of(entry) == Type::Stream)
    }
}

/// What the dispatcher does after a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Done,
    /// Send what is pending, then close this connection (QUIT, CLIENT KILL of oneself).
    Close,
    /// Stop the server.
    Shutdown,
    /// There is more to do in later turns: the job is in `effects.job`. The client's next commands wait for it.
    Resume,
    /// The command wants everything else to stand still: its job is in `effects.alone`. Nothing has happened yet.
    Alone,
    /// The command must wait, and its client with it. Nothing has happened yet, nothing was replied: when the wait is over
    /// the command runs again from its start, and `session.woken` tells it why.
    Park(Wait),
}

/// What a parked command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The end of a pause (CLIENT PAUSE). The command has not begun.
    Pause,
    /// Whoever wakes it, or the time; None is for ever. CLIENT UNBLOCK may end it.
    Event { until: Option<WallMs> },
}

/// Why a parked command runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// What it waited for may have come: look again, and if it has not, park again until the same time.
    Event { until: Option<WallMs> },
    /// Its time is up, or CLIENT UNBLOCK says so: reply as after a timeout.
    TimedOut,
    /// CLIENT UNBLOCK … ERROR. The dispatcher replies; no handler sees this.
    Refused,
}

/// A handler: checks everything it can before its first write.
pub type Handler = fn(&mut Cx<'_>, Args<'_>) -> Result<Flow, ReplyError>;

impl From<WrongType> for ReplyError {
    fn from(_: WrongType) -> Self {
        ReplyError::WrongType
    }
}

/// Command flags; bit order is free, names are Redis's. `names()` gives what COMMAND INFO prints.
pub mod flag {
    pub const WRITE: u32 = 1 << 0;
    pub const READONLY: u32 = 1 << 1;
    pub const DENYOOM: u32 = 1 << 2;
    pub const ADMIN: u32 = 1 << 3;
    pub const PUBSUB: u32 = 1 << 4;
    pub const NOSCRIPT: u32 = 1 << 5;
    pub const BLOCKING: u32 = 1 << 6;
    pub const LOADING: u32 = 1 << 7;
    pub const STALE: u32 = 1 << 8;
    pub const SKIP_MONITOR: u32 = 1 << 9;
    pub const SKIP_SLOWLOG: u32 = 1 << 10;
    pub const ASKING: u32 = 1 << 11;
    pub const FAST: u32 = 1 << 12;
    pub const NO_AUTH: u32 = 1 << 13;
    pub const MAY_REPLICATE: u32 = 1 << 14;
    pub const SENTINEL: u32 = 1 << 15;
    pub const ONLY_SENTINEL: u32 = 1 << 16;
    pub const NO_MANDATORY_KEYS: u32 = 1 << 17;
    pub const PROTECTED: u32 = 1 << 18;
    pub const NO_ASYNC_LOADING: u32 = 1 << 19;
    pub const NO_MULTI: u32 = 1 << 20;
    pub const ALLOW_BUSY: u32 = 1 << 21;
    pub const TOUCHES_ARBITRARY_KEYS: u32 = 1 << 22;
    /// GETKEYS needs the handler's own parser (`getkeys`): COMMAND shows `movablekeys`.
    pub const MOVABLE_KEYS: u32 = 1 << 23;
    /// Runs at once between MULTI and EXEC, where others are queued. Not shown, as the two below.
    pub const UNQUEUED: u32 = 1 << 24;
    /// Runs while everything else stands still (`Flow::Alone`).
    pub const ALONE: u32 = 1 << 25;
    /// Ends a transaction: whatever is wrong with the command itself, the transaction is over.
    pub const ENDS_MULTI: u32 = 1 << 26;
    /// Runs also for a client that has subscribed to something and speaks RESP2. Not shown, as the one below.
    pub const WHILE_SUBSCRIBED: u32 = 1 << 27;
    /// Changes what the client listens to: messages that wait are handed out before it.
    pub const SUBSCRIBES: u32 = 1 << 28;
    /// Has no business between MULTI and EXEC, where it is refused like what is queued when memory is short. Not shown.
    pub const OUTSIDE_MULTI: u32 = 1 << 29;
}

/// ACL categories beyond those that follow from the flags (`@read`, `@write`, `@fast`, `@slow`, `@admin`, …).
pub mod acl {
    pub const KEYSPACE: u32 = 1 << 0;
    pub const STRING: u32 = 1 << 1;
    pub const BITMAP: u32 = 1 << 2;
    pub const CONNECTION: u32 = 1 << 3;
    pub const DANGEROUS: u32 = 1 << 4;
    pub const ADMIN: u32 = 1 << 5;
    pub const READ: u32 = 1 << 6;
    pub const WRITE: u32 = 1 << 7;
    pub const FAST: u32 = 1 << 8;
    pub const SLOW: u32 = 1 << 9;
    pub const BLOCKING: u32 = 1 << 10;
    pub const PUBSUB: u32 = 1 << 11;
    pub const SCRIPTING: u32 = 1 << 12;
    pub const TRANSACTION: u32 = 1 << 13;
    pub const LIST: u32 = 1 << 14;
    pub const SET: u32 = 1 << 15;
    pub const SORTEDSET: u32 = 1 << 16;
    pub const HASH: u32 = 1 << 17;
    pub const STREAM: u32 = 1 << 18;
    pub const HYPERLOGLOG: u32 = 1 << 19;
    pub const GEO: u32 = 1 << 20;
}

/// Where keys begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At argument `pos`.
    Index(i32),
    /// After the keyword, searched from argument `from` (negative: backwards from the end).
    Keyword(&'static str, i32),
    Unknown,
}

/// How keys go on from the begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// `last` relative to the begin (negative: from the end of the arguments), `step`, `limit`.
    Range {
        last: i32,
        step: i32,
        limit: i32,
    },
    /// The number of keys stands at begin + `num`; keys from begin + `first`, `step` apart.
    Count {
        num: i32,
        first: i32,
        step: i32,
    },
    Unknown,
}

/// One key specification, as COMMAND INFO describes it. `flags` are Redis's names, e.g. `["RW", "access", "update"]`.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    pub flags: &'static [&'static str],
}

impl KeySpec {
    /// One key at argument `pos`.
    pub const fn one(pos: i32, flags: &'static [&'static str]) -> Self {
        KeySpec { begin: Begin::Index(pos), find: Find::Range { last: 0, step: 1, limit: 0 }, flags }
    }
    /// Keys from argument `pos` to the end, `step` apart.
    pub const fn rest(pos: i32, step: i32, flags: &'static [&'static str]) -> Self {
        KeySpec { begin: Begin::Index(pos), find: Find::Range { last: -1, step, limit: 0 }, flags }
    }
    pub const fn new(begin: Begin, find: Find, flags: &'static [&'static str]) -> Self {
        KeySpec { begin, find, flags }
    }
}

/// Which arguments are channels.
#[derive(Clone, Copy, Debug)]
pub struct Channels {
    pub first: usize,
    /// None: all that follow.
    pub count: Option<usize>,
    /// They are patterns of channels.
    pub are_patterns: bool,
}

/// A key at a fixed place, and what is done to it, in the bits of `admin::acl::pattern`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneKey {
    pub at: u8,
    pub access: u8,
}

/// The row. Build with `cmd(…)` and the const methods; `table` completes it (the last fields).
#[derive(Clone, Copy)]
pub struct Command {
    /// Lower case; of a subcommand only its own word.
    pub name: &'static str,
    pub run: Handler,
    /// Redis's arity: n exactly, -n at least, the name counted (for subcommands both words).
    pub arity: i32,
    pub flags: u32,
    pub acl: u32,
    pub keys: &'static [KeySpec],
    /// Redis's group name: `string`, `generic`, `connection`, …
    pub group: &'static str,
    pub since: &'static str,
    pub tips: &'static [&'static str],
    pub subs: &'static [Command],
    /// The access of a key whose specification says `variable_flags`, from the arguments (SET with GET, BITFIELD).
    pub key_flags: Option<fn(&Args<'_>) -> &'static [&'static str]>,
    /// Finds the keys where the specifications cannot say it (SORT).
    pub find_keys: Option<fn(&Args<'_>) -> Vec<KeyAt>>,
    /// Which arguments slow log and monitors must not show.
    pub secrets: Option<Secrets>,
    /// Takes about a microsecond whatever the data, so that sampling its time is enough: FAST ones, and what `light` marks.
    pub is_light: bool,
    /// `(since, replaced_by)` of a deprecated command.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Channels among the arguments, which ACL rules may forbid.
    pub channels: Option<Channels>,
    /// The only key, if the arguments cannot change where it is and how it is accessed.
    pub one_key: Option<OneKey>,
    /// The place of the only key, if it is always there, whatever is done to it.
    pub only_place: Option<u8>,
    /// First key argument for the prefetcher (0: none), last (as in the legacy triple) and step.
    pub legacy_keys: (i32, i32, i32),
    /// It works inside of a collection: what lies there is prefetched, too.
    pub is_inside: bool,
    /// It touches the keys that its specifications find, and nothing else of the data: a transaction may hold just these.
    pub keeps_to_its_keys: bool,
    /// The argument that names the collection's element that it works on; 0: none.
    pub element_at: u8,
    /// Position in the table, subcommands included: the index of per-command counters.
    pub index: u16,
    /// `container|word` for a subcommand, else the name.
    pub full_name: &'static str,
}

/// Starts a row. Defaults: arity -1, no flags, no keys, group `generic`, since 1.0.0.
pub const fn cmd(name: &'static str, run: Handler) -> Command {
    Command {
        name,
        run,
        arity: -1,
        flags: 0,
        acl: 0,
        keys: &[],
        group: "generic",
        since: "1.0.0",
        tips: &[],
        subs: &[],
        key_flags: None,
        find_keys: None,
        secrets: None,
        is_light: false,
        deprecated: None,
        channels: None,
        one_key: None,
        only_place: None,
        legacy_keys: (0, 0, 0),
        is_inside: false,
        keeps_to_its_keys: false,
        element_at: 0,
        index: 0,
        full_name: name,
    }
}

impl Command {
    pub const fn arity(mut self, arity: i32) -> Self {
        self.arity = arity;
        self
    }
    pub const fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
    pub const fn acl(mut self, acl: u32) -> Self {
        self.acl = acl;
        self
    }
    /// Flags beside those it has.
    pub const fn also(mut self, flags: u32) -> Self {
        self.flags |= flags;
        self
    }
    /// Key specifications; the legacy (first, last, step) triple follows from the first one by Redis's rule.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }
    pub const fn key_flags(mut self, decide: fn(&Args<'_>) -> &'static [&'static str]) -> Self {
        self.key_flags = Some(decide);
        self
    }
    pub const fn find_keys(mut self, find: fn(&Args<'_>) -> Vec<KeyAt>) -> Self {
        self.find_keys = Some(find);
        self
    }
    pub const fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = Some(secrets);
        self
    }
    /// Not FAST for Redis, because of what it may free or evict, but light here.
    pub const fn light(mut self) -> Self {
        self.is_light = true;
        self
    }
    pub const fn legacy(mut self, first: i32, last: i32, step: i32) -> Self {
        self.legacy_keys = (first, last, step);
        self
    }
    pub const fn group(mut self, group: &'static str, since: &'static str) -> Self {
        self.group = group;
        self.since = since;
        self
    }
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = Some(channels);
        self
    }
    /// Argument `at` names the element that it works on, the first one if there are several.
    pub const fn element(mut self, at: u8) -> Self {
        self.element_at = at;
        self
    }
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }
    pub const fn subs(mut self, subs: &'static [Command]) -> Self {
        self.subs = subs;
        self
    }
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }
    /// Does `count` arguments (name included) satisfy the arity?
    #[inline]
    pub fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 { count == self.arity as usize } else { count >= self.arity.unsigned_abs() as usize }
    }
    /// Is the first argument a key, and the only one that it touches?
    pub fn is_about_its_first_argument(&self) -> bool {
        self.keeps_to_its_keys && self.only_place == Some(1) && self.subs.is_empty()
    }
    /// May it change parameters, which a loop looks up once for all commands that it runs at a time?
    #[inline]
    pub fn may_change_parameters(&self) -> bool {
        !self.subs.is_empty() && self.name == "config"
    }
    #[inline]
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}
