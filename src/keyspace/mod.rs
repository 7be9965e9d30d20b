//! Layer 3: the databases. `Keyspace` is the shared whole; `Keys` is one database as one command sees it.
//!
//! Here keys get their Redis meaning: types and encodings, lazy expiry (a key past its deadline reads as absent and is
//! removed by whoever meets it), recency, hits and misses. The table below knows none of this.

#![forbid(unsafe_code)]

pub mod compact;
pub mod events;
pub mod evict;
#[cfg(all(test, not(loom)))]
mod evict_model;
pub mod expire;
#[cfg(all(test, not(loom)))]
mod expire_fuzz;
mod fields;
mod freer;
mod ghosts;
pub mod handover;
pub mod objects;
pub mod order;
pub mod quota;
pub mod recency;
pub mod safepoint;
pub mod store;
pub mod types;
pub mod waiters;
pub mod watched;
mod wheel;

use crate::admin::stats::LoopStats;
use crate::base::clock::{NowMs, WallMs};
use crate::base::hash::{Key, KeyHasher};
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::table::roots::{OldTable, Roots};
use crate::table::{Change, Entry, Guard, Section, Table, Txn, Walk, Walked, snapshot, transact};
use compact::Compactor;
use events::{Events, Listeners};
use evict::Evictor;
use expire::Expiry;
use freer::Freer;
use ghosts::Ghosts;
use handover::Handover;
use order::{Ledger, Order};
use quota::{Excess, Quota};
use recency::{Mode, Recency};
use smallvec::SmallVec;
use types::Type;

/// Lists of so many keys stay on the stack.
pub const FEW_KEYS: usize = 16;
/// Keys whose room is made at once.
const ROOM_PART: usize = 100_000;

/// All databases, and what every loop needs to read them.
pub struct Keyspace {
    pub roots: Roots,
    pub hasher: KeyHasher,
    pub now: NowMs,
    /// Who wants to hear what happens to keys.
    pub listeners: Listeners,
    /// The order of all changes, if somebody keeps it.
    pub order: Order,
    /// The snapshot that is being taken.
    pub handover: Handover,
    /// For how long memory has been short.
    pub excess: Excess,
    pub ghosts: Ghosts,
    freer: Freer,
    /// Tables that were taken away so far: tells the loops that some of their wheels are empty now.
    flushes: AtomicU32,
    /// Until then nothing is removed for its deadline, in unix ms (CLIENT PAUSE). What is past it reads as absent.
    expiry_stands_until: AtomicU64,
}

/// What a loop has of its own for the keyspace.
pub struct Local {
    pub expiry: Expiry,
    pub recency: Recency,
    pub evictor: Evictor,
    pub compactor: Compactor,
    pub quota: Quota,
    /// What has happened to keys and was not told yet.
    pub events: Events,
    /// What has changed and was not handed over yet.
    pub ledger: Ledger,
}

impl Local {
    /// `seed` differs from loop to loop.
    pub fn new(seed: u64) -> Self {
        Local {
            expiry: Expiry::default(),
            recency: Recency::new(seed),
            evictor: Evictor::new(seed.rotate_left(17)),
            compactor: Compactor::default(),
            quota: Quota::default(),
            events: Events::default(),
            ledger: Ledger::default(),
        }
    }
}

impl Keyspace {
    /// `count` empty databases; each table is created when first written.
    pub fn new(count: usize, hasher: KeyHasher) -> Self {
        Keyspace {
            roots: Roots::new(count, hasher.clone()),
            hasher,
            now: NowMs::new(),
            listeners: Listeners::default(),
            order: Order::default(),
            handover: Handover::default(),
            excess: Excess::default(),
            ghosts: Ghosts::default(),
            freer: Freer::default(),
            flushes: AtomicU32::new(0),
            expiry_stands_until: AtomicU64::new(0),
        }
    }
    /// Lets expiry stand still until then.
    pub fn stop_expiry(&self, until: WallMs) {
        self.expiry_stands_until.store(until.0, Ordering::Relaxed);
    }
    /// Does expiry stand still?
    pub fn is_expiry_stopped(&self, now: WallMs) -> bool {
        now.0 < self.expiry_stands_until.load(Ordering::Relaxed)
    }
    /// Number of databases.
    pub fn db_count(&self) -> usize {
        self.roots.count()
    }
    /// Frees tables that `roots.take` gave, in the background and after the guards of their time are gone.
    pub fn discard(&self, tables: Vec<OldTable>, guard: &Guard<'_>) {
        self.flushes.fetch_add(tables.len() as u32, Ordering::Relaxed);
        self.freer.free(tables, guard);
    }
    /// Is a flushed table not free yet?
    pub fn is_freeing(&self) -> bool {
        self.freer.is_busy()
    }
    /// Keys with a deadline in all databases.
    pub fn volatile_count(&self, guard: &Guard<'_>) -> usize {
        (0..self.db_count()).filter_map(|db| self.roots.get(db, guard)).map(Table::volatile_count).sum()
    }
}

/// One database during one command. Cheap to make; lives at most as long as the turn's guard.
#[derive(Clone, Copy)]
pub struct Keys<'t> {
    pub space: &'t Keyspace,
    pub guard: &'t Guard<'t>,
    pub stats: &'t LoopStats,
    pub local: &'t Local,
    pub now: WallMs,
    db: DbIndex,
    /// Do reads leave recency alone (CLIENT NO-TOUCH)?
    no_touch: bool,
}

impl<'t> Keys<'t> {
    #[inline]
    pub fn new(
        space: &'t Keyspace,
        db: DbIndex,
        guard: &'t Guard<'t>,
        stats: &'t LoopStats,
        local: &'t Local,
        now: WallMs,
    ) -> Self {
        Keys { space, guard, stats, local, now, db, no_touch: false }
    }
    /// The same view, with reads that leave recency alone or not.
    #[inline]
    pub fn no_touch(self, no_touch: bool) -> Self {
        Keys { no_touch, ..self }
    }
    /// The time for wheels. Commands of a journal that is being loaded run at time 0, so that nothing is past its deadline that
    /// was not when they ran first; what has expired by now goes when the load is over.
    #[inline]
    pub(super) fn real_now(&self) -> WallMs {
        if self.now.0 == 0 { self.space.now.get() } else { self.now }
    }
    /// The selected database's number.
    pub fn db(&self) -> DbIndex {
        self.db
    }
    /// The same command's view of another database (COPY, MOVE, SWAPDB, INFO).
    pub fn on(&self, db: DbIndex) -> Keys<'t> {
        Keys { db, ..*self }
    }
    /// A key of this database. `hash` may be 0: then it is computed.
    #[inline]
    pub fn key<'k>(&self, bytes: &'k [u8], hash: u64) -> Key<'k> {
        if hash != 0 { Key { bytes, hash } } else { Key::new(&self.space.hasher, bytes) }
    }
    /// The table, if anything was ever written here.
    #[inline]
    pub fn table(&self) -> Option<&'t Table> {
        self.space.roots.get(self.db.0 as usize, self.guard)
    }
    /// The starting value of an entry's recency field.
    #[inline]
    pub fn recency(&self) -> u32 {
        self.local.recency.fresh()
    }
    /// Notes a use of an entry, unless the client does not want that.
    #[inline]
    pub fn touch(&self, entry: Entry<'_>) {
        if !self.no_touch {
            self.local.recency.touch(entry);
        }
    }
    /// Is this entry past its deadline (and active or lazy expiry not yet done)?
    #[inline]
    pub fn is_dead(&self, entry: Entry<'t>) -> bool {
        entry.has_deadline() && entry.expires_at().is_some_and(|at| at <= self.now)
    }
    /// The live entry of `key`; counts a hit or a miss and touches recency. An expired one is removed.
    #[inline]
    pub fn read(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let found = self.inspect(key)?;
        self.touch(found);
        Some(found)
    }
    /// As `read`, leaving recency alone (TTL, TYPE, OBJECT, EXISTS).
    #[inline]
    pub fn inspect(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let found = self.peek(key);
        self.looked_up(key.bytes, found.is_some());
        found
    }
    /// As `inspect`, without an event if there is none (OBJECT).
    pub fn inspect_quietly(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let found = self.peek(key);
        self.count_lookups(found.is_some() as u64, found.is_none() as u64);
        found
    }
    /// As `read`, leaving hits, misses and recency alone.
    #[inline]
    pub fn peek(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let entry = self.table()?.get(key, self.guard)?;
        if self.is_dead(entry) {
            self.expire(key);
            return None;
        }
        // A command that is at work on it counts when it is done; it may remove the key.
        if entry.object().is_some_and(|object| !object.settled()) {
            return self.peek(key);
        }
        Some(entry)
    }
    /// What `look` says of the live entry of `key`. It says None of a collection whose entry has just been replaced: then it is
    /// asked again about what stands there now.
    pub fn ask<R>(&self, key: Key<'_>, look: impl Fn(Entry<'t>) -> Option<R>) -> Option<R> {
        loop {
            let said = look(self.peek(key)?);
            if said.is_some() {
                return said;
            }
        }
    }
    /// Is there an entry of `key` that is past its deadline, and not removed yet?
    pub fn is_overdue(&self, key: Key<'_>) -> bool {
        self.raw(key).is_some_and(|entry| self.is_dead(entry))
    }
    /// Is there an entry of `key`, whether it is past its deadline or not?
    pub fn has_entry(&self, key: Key<'_>) -> bool {
        self.raw(key).is_some()
    }
    /// The entry of `key`, whether it is past its deadline or not.
    pub fn entry(&self, key: Key<'_>) -> Option<Entry<'t>> {
        self.raw(key)
    }
    fn raw(&self, key: Key<'_>) -> Option<Entry<'t>> {
        self.table()?.get(key, self.guard)
    }
    /// Counts keys that a command found and did not find.
    #[inline]
    pub fn count_lookups(&self, hits: u64, misses: u64) {
        // Most often one of them is 0.
        if hits > 0 {
            self.stats.hits.add(hits);
        }
        if misses > 0 {
            self.stats.misses.add(misses);
        }
    }
    /// Removes `key` if it is past its deadline.
    #[cold]
    pub fn expire(&self, key: Key<'_>) {
        let Some(table) = self.table().filter(|_| !self.space.is_expiry_stopped(self.now)) else { return };
        self.in_order(key, || {
            let removed = table.update(key, self.guard, |old| match old {
                Some(entry) if self.is_dead(entry) => (Change::Remove, true),
                _ => (Change::Keep, false),
            });
            if removed {
                self.note_expired(key.bytes);
            }
        });
    }
    /// Reads, decides and changes one key atomically; an expired entry is shown as None. `f` may run several times, the
    /// last time with the (frozen) entry that its change is applied to; it must have no side effects but its result.
    /// A Put whose deadline is in the past is the caller's business (store nothing, Remove instead).
    #[inline]
    pub fn update<R>(&self, key: Key<'_>, mut f: impl FnMut(Option<Entry<'t>>) -> (Change, R)) -> R {
        let table = self.space.roots.get_or_create(self.db.0 as usize, self.guard);
        // Both are of the run whose change was applied: the last one.
        let (mut is_expired, mut is_new) = (false, false);
        let may_expire = || !self.space.is_expiry_stopped(self.now);
        let mut due = None;
        let result = table.update(key, self.guard, |old| {
            let live = self.live(old);
            is_expired = old.is_some() && live.is_none();
            let (change, result) = f(live);
            due = self.registered(key, live, &change);
            is_new = live.is_none() && matches!(change, Change::Put(_));
            match change {
                Change::Keep if is_expired && may_expire() => (Change::Remove, result),
                change => (change, result),
            }
        });
        if is_expired && may_expire() {
            self.note_expired(key.bytes);
        }
        if is_new {
            self.local.events.note_fresh(self.db, key.bytes);
        }
        if let Some(deadline) = due {
            self.local.expiry.register(table.id(), key.hash, deadline, self.real_now());
        }
        result
    }
    /// Gives a new value what the key's use has earned, and tells
    /// the deadline that the wheel must learn of after `change`: one where there was none, or an earlier one than before. A
    /// later one is found when the wheel comes to the earlier.
    #[inline]
    fn registered(&self, key: Key<'_>, live: Option<Entry<'t>>, change: &Change) -> Option<WallMs> {
        let Change::Put(new) = change else { return None };
        if self.local.recency.is_inherited() {
            self.inherit(key, live, new.view());
        }
        let deadline = new.view().expires_at()?;
        let known = live.and_then(Entry::expires_at);
        known.is_none_or(|known| deadline < known).then_some(deadline)
    }
    /// The recency of a value that is about to stand under `key`, where that depends on what was there before.
    fn inherit(&self, key: Key<'_>, live: Option<Entry<'t>>, new: Entry<'_>) {
        let recency = &self.local.recency;
        match live {
            Some(old) => new.set_recency(recency.inherited(old)),
            None if recency.mode() == Mode::Clock && self.space.ghosts.has(key.hash) => {
                new.set_recency(recency.returned());
            }
            None => {}
        }
    }
    /// Several keys, all or nothing, at one instant (MSET, MSETNX, DEL k…, RENAME, COPY, BITOP): see `table::Txn`. Keys may
    /// be of several databases. `f` may run several times; it asks `live` for entries that count. Expired entries for which
    /// it decides nothing are removed.
    pub fn transact<R>(&self, keys: &[(DbIndex, Key<'_>)], mut f: impl FnMut(&mut Txn<'t>) -> R) -> R {
        let table = |db: DbIndex| self.space.roots.get_or_create(db.0 as usize, self.guard);
        let tables: SmallVec<[_; FEW_KEYS]> = keys.iter().map(|&(db, key)| (table(db), key)).collect();
        // As in `update`.
        let mut expired: SmallVec<[usize; 2]> = SmallVec::new();
        let mut fresh: SmallVec<[usize; 2]> = SmallVec::new();
        let hears = self.local.events.is_heeded();
        let may_expire = !self.space.is_expiry_stopped(self.now);
        let mut due = Vec::new();
        let mut new_hashes: SmallVec<[usize; 2]> = SmallVec::new();
        let result = transact(&tables, self.guard, |txn| {
            expired.clear();
            fresh.clear();
            due.clear();
            new_hashes.clear();
            let mut n = 0;
            while let Some(index) = txn.distinct(n) {
                n += 1;
                if txn.old(index).is_some_and(|entry| self.is_dead(entry))
                    && may_expire
                    && matches!(txn.decision(index), Change::Keep)
                {
                    txn.decide(index, Change::Remove);
                    expired.push(index);
                }
            }
            let result = f(txn);
            for index in (0..).map_while(|n| txn.distinct(n)) {
                let (table, key) = &tables[index];
                if let Change::Put(new) = txn.decision(index)
                    && Type::of(new.view()) == Type::Hash
                {
                    new_hashes.push(index);
                }
                let live = self.live(txn.old(index));
                if hears && live.is_none() && matches!(txn.decision(index), Change::Put(_)) {
                    fresh.push(index);
                }
                if let Some(deadline) = self.registered(*key, live, txn.decision(index)) {
                    due.push((table.id(), key.hash, deadline));
                }
            }
            result
        });
        for (db, key) in expired.into_iter().map(|index| keys[index]) {
            self.on(db).note_expired(key.bytes);
        }
        for (db, key) in fresh.into_iter().map(|index| keys[index]) {
            self.local.events.note_fresh(db, key.bytes);
        }
        for (table, hash, deadline) in due {
            self.local.expiry.register(table, hash, deadline, self.real_now());
        }
        for (db, key) in new_hashes.into_iter().map(|index| keys[index]) {
            self.on(db).watch_moved_fields(key);
        }
        result
    }
    /// Holds keys of this database: what any commands that touch no others do until the section is dropped happens at that
    /// instant. What they have to tell others is told afterwards. None: the keys were not to be had, and nothing has happened.
    pub fn begin_section(&self, keys: &[Key<'_>]) -> Option<Section<'t>> {
        let table = self.space.roots.get_or_create(self.db.0 as usize, self.guard);
        let keys: SmallVec<[_; FEW_KEYS]> = keys.iter().map(|&key| (table, key)).collect();
        Section::begin(&keys, self.guard)
    }
    /// Are all of these keys of this database held?
    pub fn are_held(&self, section: &Section<'_>, keys: &[Key<'_>]) -> bool {
        self.table().is_some_and(|table| keys.iter().all(|&key| section.holds(table, key)))
    }
    /// `entry` unless it is past its deadline: for entries that `transact` and `snapshot` show.
    #[inline]
    pub fn live(&self, entry: Option<Entry<'t>>) -> Option<Entry<'t>> {
        entry.filter(|&entry| !self.is_dead(entry))
    }
    /// Reads several keys as they were at one instant (MGET, EXISTS k…, LCS). Entries past their deadline are shown: ask
    /// `live`. They are removed afterwards.
    pub fn snapshot<R>(&self, keys: &[Key<'_>], mut f: impl FnMut(&[Option<Entry<'t>>]) -> R) -> R {
        let Some(table) = self.table() else { return f(&vec![None; keys.len()]) };
        let mut any_dead = false;
        let result = snapshot(table, keys, self.guard, |entries| {
            any_dead = entries.iter().flatten().any(|&entry| self.is_dead(entry));
            f(entries)
        });
        if any_dead {
            keys.iter().for_each(|&key| self.expire(key));
        }
        result
    }
    /// Shows what this loop holds in memory to the others, and to the allocator's reckoning.
    pub fn publish_memory(&self) {
        self.local.quota.publish(self.guard.limbo_bytes());
    }
    /// The table of this database, for `keys` keys that are being loaded. Each of the first batches makes a part of the room,
    /// some milliseconds of work.
    pub fn make_room(&self, keys: u64, batch: usize) -> &'t Table {
        let table = self.space.roots.get_or_create(self.db.0 as usize, self.guard);
        let parts = (keys as usize / ROOM_PART).clamp(1, Table::SHARD_COUNT);
        if keys > 0 && batch < parts {
            table.make_room(keys as usize, batch, parts, self.guard);
        }
        table
    }
    /// Number of keys, as DBSIZE counts them.
    pub fn count(&self) -> usize {
        self.table().map_or(0, |table| table.count())
    }
    /// Number of keys with a deadline.
    pub fn volatile_count(&self) -> usize {
        self.table().map_or(0, |table| table.volatile_count())
    }
    /// Number of hashes with fields that have deadlines, those past them included.
    pub fn timed_count(&self) -> usize {
        self.table().map_or(0, |table| table.timed_count())
    }
    /// One SCAN step over live keys; returns the next cursor (0 = done). Of the expired ones that it meets, those that are
    /// `wanted` are removed.
    pub fn scan(
        &self,
        cursor: u64,
        count: usize,
        wanted: impl Fn(Entry<'t>) -> bool,
        mut visit: impl FnMut(Entry<'t>),
    ) -> u64 {
        let Some(table) = self.table() else { return 0 };
        let mut dead = Vec::new();
        let next = table.scan(cursor, count, self.guard, |entry| {
            if !self.is_dead(entry) {
                visit(entry);
            } else if wanted(entry) {
                dead.push(entry.key());
            }
        });
        for key in dead {
            self.expire(self.key(key, 0));
        }
        next
    }
    /// A piece of a walk over the live keys of the table `id`, wherever SWAPDB has put it meanwhile; see `Table::walk`. A
    /// table that was flushed has no keys left. Expired keys are removed.
    pub fn walk(&self, id: u64, walk: &mut Walk, count: usize, mut visit: impl FnMut(Entry<'t>)) -> Walked {
        let Some(table) = self.space.roots.by_id(id, self.guard) else { return Walked::Done };
        let mut dead = Vec::new();
        let walked = table.walk(walk, count, self.guard, |entry| {
            if self.is_dead(entry) { dead.push(entry.key()) } else { visit(entry) }
        });
        if self.table().is_some_and(|own| own.id() == id) {
            dead.into_iter().for_each(|key| self.expire(self.key(key, 0)));
        }
        walked
    }
    /// A uniformly random live entry.
    pub fn random(&self, prng: &mut Prng) -> Option<Entry<'t>> {
        let table = self.table()?;
        // Expired keys are passed over; after enough of them the database counts as empty of live ones.
        (0..100).find_map(|_| table.random(prng, self.guard).filter(|&entry| !self.is_dead(entry)))
    }
}
