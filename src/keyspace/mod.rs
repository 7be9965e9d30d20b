//! Layer 2: the databases. `Keyspace` is the shared whole; `Keys` is one database as one command sees it.
//!
//! Here keys get their Redis meaning: types and encodings, lazy expiry (a key past its deadline reads as absent and is
//! removed by whoever meets it), recency, hits and misses. The table below knows none of this.

#![forbid(unsafe_code)]

pub mod safepoint;
pub mod types;

use crate::admin::stats::LoopStats;
use crate::base::clock::{NowMs, WallMs};
use crate::base::hash::{Key, KeyHasher};
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::table::roots::Roots;
use crate::table::{Change, Entry, Guard, Table, Txn, snapshot, transact};

/// All databases, and what every loop needs to read them.
pub struct Keyspace {
    pub roots: Roots,
    pub hasher: KeyHasher,
    pub now: NowMs,
}

impl Keyspace {
    /// `count` empty databases; each table is created when first written.
    pub fn new(count: usize, hasher: KeyHasher) -> Self {
        Keyspace { roots: Roots::new(count, hasher.clone()), hasher, now: NowMs::new() }
    }
    /// Number of databases.
    pub fn db_count(&self) -> usize {
        self.roots.count()
    }
}

/// One database during one command. Cheap to make; lives at most as long as the turn's guard.
#[derive(Clone, Copy)]
pub struct Keys<'t> {
    pub space: &'t Keyspace,
    pub guard: &'t Guard<'t>,
    pub stats: &'t LoopStats,
    pub now: WallMs,
    db: DbIndex,
}

impl<'t> Keys<'t> {
    pub fn new(space: &'t Keyspace, db: DbIndex, guard: &'t Guard<'t>, stats: &'t LoopStats, now: WallMs) -> Self {
        Keys { space, guard, stats, now, db }
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
        0
    }
    /// Is this entry past its deadline (and active or lazy expiry not yet done)?
    #[inline]
    pub fn is_dead(&self, entry: Entry<'t>) -> bool {
        entry.has_deadline() && entry.expires_at().is_some_and(|at| at <= self.now)
    }
    /// The live entry of `key`; counts a hit or a miss and touches recency. An expired one is removed.
    #[inline]
    pub fn read(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let found = self.peek(key);
        match found {
            Some(_) => self.stats.hits.add(1),
            None => self.stats.misses.add(1),
        }
        found
    }
    /// As `read`, leaving hits, misses and recency alone (TTL, TYPE, OBJECT, EXISTS per Redis's NOTOUCH commands).
    #[inline]
    pub fn peek(&self, key: Key<'_>) -> Option<Entry<'t>> {
        let entry = self.table()?.get(key, self.guard)?;
        if self.is_dead(entry) {
            self.expire(key);
            return None;
        }
        Some(entry)
    }
    /// Removes `key` if it is past its deadline.
    pub fn expire(&self, key: Key<'_>) {
        let Some(table) = self.table() else { return };
        let removed = table.update(key, self.guard, |old| match old {
            Some(entry) if self.is_dead(entry) => (Change::Remove, true),
            _ => (Change::Keep, false),
        });
        self.stats.expired.add(removed as u64);
    }
    /// Reads, decides and changes one key atomically; an expired entry is shown as None. `f` may run several times, the
    /// last time with the (frozen) entry that its change is applied to; it must have no side effects but its result.
    /// A Put whose deadline is in the past is the caller's business (store nothing, Remove instead).
    /// Registers deadlines with the expiry wheel and retires the old entry.
    #[inline]
    pub fn update<R>(&self, key: Key<'_>, mut f: impl FnMut(Option<Entry<'t>>) -> (Change, R)) -> R {
        let table = self.space.roots.get_or_create(self.db.0 as usize, self.guard);
        table.update(key, self.guard, |old| match old {
            Some(entry) if self.is_dead(entry) => match f(None) {
                (Change::Keep, result) => (Change::Remove, result),
                other => other,
            },
            other => f(other),
        })
    }
    /// Several keys, all or nothing, at one instant (MSET, MSETNX, DEL k…, RENAME, COPY, BITOP): see `table::Txn`. Keys may
    /// be of several databases. `f` may run several times; it asks `live` for entries that count.
    pub fn transact<R>(&self, keys: &[(DbIndex, Key<'_>)], f: impl FnMut(&mut Txn<'t>) -> R) -> R {
        let keys: Vec<_> =
            keys.iter().map(|(db, key)| (self.space.roots.get_or_create(db.0 as usize, self.guard), *key)).collect();
        transact(&keys, self.guard, f)
    }
    /// `entry` unless it is past its deadline: for entries that `transact` and `snapshot` show.
    #[inline]
    pub fn live(&self, entry: Option<Entry<'t>>) -> Option<Entry<'t>> {
        entry.filter(|&entry| !self.is_dead(entry))
    }
    /// Reads several keys as they were at one instant (MGET, EXISTS k…, LCS). Entries past their deadline are shown: ask
    /// `live`.
    pub fn snapshot<R>(&self, keys: &[Key<'_>], mut f: impl FnMut(&[Option<Entry<'t>>]) -> R) -> R {
        match self.table() {
            Some(table) => snapshot(table, keys, self.guard, f),
            None => f(&vec![None; keys.len()]),
        }
    }
    /// Number of keys, as DBSIZE counts them.
    pub fn count(&self) -> usize {
        self.table().map_or(0, |table| table.count())
    }
    /// Number of keys with a deadline.
    pub fn volatile_count(&self) -> usize {
        self.table().map_or(0, |table| table.volatile_count())
    }
    /// One SCAN step over live keys; returns the next cursor (0 = done).
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Entry<'t>)) -> u64 {
        let Some(table) = self.table() else { return 0 };
        table.scan(cursor, count, self.guard, |entry| {
            if !self.is_dead(entry) {
                visit(entry);
            }
        })
    }
    /// A uniformly random live entry.
    pub fn random(&self, prng: &mut Prng) -> Option<Entry<'t>> {
        let table = self.table()?;
        // Expired keys are passed over; after enough of them the database counts as empty of live ones.
        (0..100).find_map(|_| table.random(prng, self.guard).filter(|&entry| !self.is_dead(entry)))
    }
}
