//! Eviction: which key goes when memory is short.
//!
//! ```text
//! allkeys-lru     volatile-lru      unused for longest          pool
//! allkeys-lfu     volatile-lfu      least used lately           pool
//! allkeys-random  volatile-random   any                         pool
//!                 volatile-ttl      next to expire              pool
//! allkeys-clock                     see below                   hand
//! ```
//! **Pool.** Exact order would need a list that every read changes. Instead random keys are looked at, `maxmemory-samples` for
//! each key that is to go, and the best of all that were ever looked at are remembered: the pool. Looking is done for several
//! victims at once, so that all waits for memory overlap. A key that was used after it was looked at leaves the pool. Measured
//! against exact LRU: kernel-notes/36-eviction.md.
//!
//! **Hand** (ours; needs no queue, and keeps what is used again and again although much is used once). A hand goes round the
//! table. Of eight keys that it comes to, the one with the fewest uses since its last visit goes, of several the one that was
//! unused for longest. If even that one was in use, all eight have a use forgotten. If it was not, its fingerprint is kept
//! for a while (`ghosts`), and if the key comes back soon it starts with one use. The hand chooses several victims at once, for
//! the same reason.
//!
//! A victim is removed by the table's CAS if it still is what was looked at, so eviction waits for nobody and takes nothing
//! that has changed in this moment. Each loop evicts for itself, with a pool and a hand of its own.

use super::Keys;
use super::recency::Recency;
use super::types::{Type, memory};
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::table::sample::{Extent, Hand, Sampler, Wanted};
use crate::table::{Change, Entry, Payload};
use smallvec::SmallVec;
use std::cell::RefCell;

/// Candidates that are remembered beyond those that are about to go. Source: Redis, `EVPOOL_SIZE`.
const POOL_MIN: usize = 16;
/// Victims that are looked for at once.
const BATCH: usize = 8;
/// Keys that the hand chooses from.
const HAND: usize = 8;
/// Looks before a table is measured again.
const EXTENT_LOOKS: u32 = 512;
/// An expired key gives back at least so much.
const MIN_LEN: usize = 32;
/// A search is made once more after everything was measured again: there may be keys where there were none. The last time,
/// values go that clients still read, too: their memory comes back when it has been read.
const LAST_ATTEMPT: usize = 2;
/// Elements that a collection's size is estimated from.
const SAMPLES: usize = 5;

/// How victims are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Lru(Wanted),
    Lfu(Wanted),
    Random(Wanted),
    Ttl,
    Clock,
}

impl Policy {
    /// The policy of this name; None: nothing is evicted.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "allkeys-lru" => Policy::Lru(Wanted::All),
            "volatile-lru" => Policy::Lru(Wanted::Volatile),
            "allkeys-lfu" => Policy::Lfu(Wanted::All),
            "volatile-lfu" => Policy::Lfu(Wanted::Volatile),
            "allkeys-random" => Policy::Random(Wanted::All),
            "volatile-random" => Policy::Random(Wanted::Volatile),
            "volatile-ttl" => Policy::Ttl,
            "allkeys-clock" => Policy::Clock,
            _ => return None,
        })
    }
    fn wanted(self) -> Wanted {
        match self {
            Policy::Lru(wanted) | Policy::Lfu(wanted) | Policy::Random(wanted) => wanted,
            Policy::Ttl => Wanted::Volatile,
            Policy::Clock => Wanted::All,
        }
    }
    /// The higher, the sooner the entry goes.
    fn score(self, entry: Entry<'_>, recency: &Recency, prng: &mut Prng) -> u64 {
        match self {
            Policy::Lru(_) | Policy::Clock => recency.idle_ticks(entry) as u64,
            Policy::Lfu(_) => {
                let disuse = u8::MAX as u64 - recency.frequency(entry) as u64;
                disuse << 16 | recency.idle_minutes(entry) as u64
            }
            Policy::Random(_) => prng.next_u64(),
            Policy::Ttl => u64::MAX - entry.expires_at().map_or(u64::MAX, |at| at.0),
        }
    }
}

/// A key that may go.
#[derive(Default)]
struct Candidate {
    db: DbIndex,
    /// What its recency field was.
    recency: u32,
    key: Vec<u8>,
}

impl Candidate {
    /// It is this one, as it is now.
    fn note(&mut self, db: DbIndex, entry: Entry<'_>) {
        (self.db, self.recency) = (db, entry.recency());
        self.key.clear();
        self.key.extend_from_slice(entry.key());
    }
}

/// A candidate's place in the pool: small, because candidates come and go in the midst of it.
#[derive(Default)]
struct Ranked {
    score: u64,
    candidate: Box<Candidate>,
}

/// What a loop knows of one database.
struct Field {
    db: DbIndex,
    extent: Extent,
    hand: Hand,
}

#[derive(Default)]
struct State {
    /// The best are last.
    pool: Vec<Ranked>,
    /// Emptied candidates, for the room of their keys.
    unused: Vec<Ranked>,
    /// Victims that the last look is still good for.
    ready: usize,
    fields: Vec<Field>,
    looks_left: u32,
    /// The database whose hand moves next.
    next_field: usize,
    sampler: Sampler,
    policy: Option<Policy>,
}

/// One loop's part of eviction.
pub struct Evictor {
    state: RefCell<State>,
    prng: RefCell<Prng>,
}

impl Evictor {
    /// `seed` differs from loop to loop.
    pub fn new(seed: u64) -> Self {
        Evictor { state: RefCell::default(), prng: RefCell::new(Prng::seeded(seed)) }
    }

    /// Removes the key that the policy chooses, of whichever database. Returns the bytes that it gives back, about; None: there
    /// is none to be removed. A key that is found to be past its deadline goes first.
    pub fn evict(&self, keys: &Keys<'_>, policy: Policy, samples: usize) -> Option<usize> {
        let (mut state, mut prng) = (self.state.borrow_mut(), self.prng.borrow_mut());
        state.keep_up(keys, policy, &mut prng);
        match policy {
            Policy::Clock => state.evict_by_hand(keys, &mut prng),
            _ => state.evict_from_pool(keys, policy, samples, &mut prng),
        }
    }
}

impl State {
    /// Measures the tables again when it is time.
    fn keep_up(&mut self, keys: &Keys<'_>, policy: Policy, prng: &mut Prng) {
        if self.policy != Some(policy) {
            self.policy = Some(policy);
            self.clear();
        }
        if self.looks_left == 0 {
            self.measure(keys, prng);
        }
        self.looks_left -= 1;
    }
    fn clear(&mut self) {
        self.unused.append(&mut self.pool);
        (self.ready, self.looks_left) = (0, 0);
    }
    fn measure(&mut self, keys: &Keys<'_>, prng: &mut Prng) {
        self.looks_left = EXTENT_LOOKS;
        let old = std::mem::take(&mut self.fields);
        for db in (0..keys.space.db_count()).map(|db| DbIndex(db as u16)) {
            let Some(table) = keys.on(db).table() else { continue };
            let extent = table.extent();
            if extent.keys > 0 {
                let known = old.iter().find(|field| field.db == db).map(|field| field.hand);
                self.fields.push(Field { db, extent, hand: known.unwrap_or_else(|| Hand::random(prng)) });
            }
        }
        if self.policy == Some(Policy::Clock) {
            keys.space.ghosts.fit(self.fields.iter().map(|field| field.extent.keys).sum());
        }
    }

    fn evict_from_pool(&mut self, keys: &Keys<'_>, policy: Policy, samples: usize, prng: &mut Prng) -> Option<usize> {
        for attempt in 0..=LAST_ATTEMPT {
            if attempt > 0 && self.fields.iter().all(|field| policy.wanted().count(&field.extent) == 0) {
                return None;
            }
            if self.ready == 0 || self.pool.is_empty() {
                self.look(keys, policy, samples, prng);
            }
            while let Some(ranked) = self.pool.pop() {
                self.ready = self.ready.saturating_sub(1);
                let evicted = remove(keys, &ranked.candidate, attempt < LAST_ATTEMPT);
                self.unused.push(ranked);
                if evicted.is_some() {
                    return evicted;
                }
            }
            self.measure(keys, prng);
        }
        None
    }

    /// Looks at random keys of all databases and remembers the best.
    fn look(&mut self, keys: &Keys<'_>, policy: Policy, samples: usize, prng: &mut Prng) {
        let State { pool, unused, fields, sampler, .. } = self;
        let wanted = policy.wanted();
        let all: usize = fields.iter().map(|field| wanted.count(&field.extent)).sum();
        let mut dice = Prng::seeded(prng.next_u64());
        for Field { db, extent, .. } in &*fields {
            let Some(table) = keys.on(*db).table() else { continue };
            let count = (samples * BATCH * wanted.count(extent)).div_ceil(all.max(1));
            if count == 0 {
                continue;
            }
            table.sample(sampler, (wanted, count), extent, prng, keys.guard, |entry| {
                let is_overdue = keys.is_dead(entry);
                let score = if is_overdue { u64::MAX } else { policy.score(entry, &keys.local.recency, &mut dice) };
                offer(pool, unused, score, |candidate| candidate.note(*db, entry));
            });
        }
        self.ready = BATCH;
    }

    /// Takes the next of the keys that the hand has chosen.
    fn evict_by_hand(&mut self, keys: &Keys<'_>, prng: &mut Prng) -> Option<usize> {
        for attempt in 0..=LAST_ATTEMPT {
            if self.pool.is_empty() {
                self.move_hand(keys, attempt < LAST_ATTEMPT);
            }
            while let Some(ranked) = self.pool.pop() {
                let (candidate, is_used) = (&ranked.candidate, ranked.score > 0);
                let keys = keys.on(candidate.db);
                let key = keys.key(&candidate.key, 0);
                let evicted = remove_entry(&keys, key, candidate.recency, attempt < LAST_ATTEMPT);
                if evicted.is_some() && !is_used {
                    keys.space.ghosts.add(key.hash);
                }
                self.unused.push(ranked);
                if evicted.is_some() {
                    return evicted;
                }
            }
            self.measure(keys, prng);
        }
        None
    }

    /// The hand moves on, in the first database that has any keys, and chooses one of each `HAND` that it comes to.
    fn move_hand(&mut self, keys: &Keys<'_>, spares_lent: bool) {
        for _ in 0..self.fields.len() {
            self.next_field = (self.next_field + 1) % self.fields.len();
            let Field { db, hand, extent } = &mut self.fields[self.next_field];
            let keys = keys.on(*db);
            let Some(table) = keys.table() else { continue };
            let sets = extent.keys.div_ceil(HAND).clamp(1, BATCH);
            let mut some: SmallVec<[Entry<'_>; HAND * BATCH * 3 / 2]> = SmallVec::new();
            table.sweep(&mut self.sampler, hand, HAND * sets, keys.guard, |entry| some.push(entry));
            for set in some.chunks(some.len().div_ceil(sets).max(1)) {
                let Some((victim, is_used)) = choose(&keys, set, spares_lent) else { continue };
                let mut ranked = self.unused.pop().unwrap_or_default();
                ranked.score = is_used as u64;
                ranked.candidate.note(*db, victim);
                self.pool.push(ranked);
            }
            if !self.pool.is_empty() {
                return;
            }
        }
    }
}

/// Chooses among the entries that the hand has come to. Returns the one that goes, and whether it was in use.
fn choose<'e>(keys: &Keys<'_>, some: &[Entry<'e>], spares_lent: bool) -> Option<(Entry<'e>, bool)> {
    let recency = &keys.local.recency;
    let rank = |entry: &Entry<'e>| match entry.expires_at().is_some_and(|at| at <= keys.now) {
        true => (0, u32::MAX),
        false => (recency.uses(*entry), u32::MAX - recency.idle_ticks(*entry)),
    };
    let victim = some.iter().copied().filter(|&entry| !(spares_lent && is_lent(entry))).min_by_key(rank)?;
    let is_used = recency.uses(victim) > 0;
    if is_used {
        some.iter().for_each(|&entry| recency.forget_use(entry));
    }
    Some((victim, is_used))
}

/// Puts a candidate among the others of the pool, if it is good enough.
fn offer(pool: &mut Vec<Ranked>, unused: &mut Vec<Ranked>, score: u64, fill: impl FnOnce(&mut Candidate)) {
    let is_full = pool.len() >= POOL_MIN + BATCH;
    if is_full && pool.first().is_some_and(|worst| score <= worst.score) {
        return;
    }
    let mut ranked = if is_full { pool.remove(0) } else { unused.pop().unwrap_or_default() };
    ranked.score = score;
    fill(&mut ranked.candidate);
    let at = pool.partition_point(|other| other.score < score);
    pool.insert(at, ranked);
}

/// Removes a candidate that nobody has used since.
fn remove(keys: &Keys<'_>, candidate: &Candidate, spares_lent: bool) -> Option<usize> {
    remove_entry(&keys.on(candidate.db), keys.key(&candidate.key, 0), candidate.recency, spares_lent)
}

/// Do clients still have the value to read, or has another key the same? Then its memory would not come back with its key.
fn is_lent(entry: Entry<'_>) -> bool {
    matches!(entry.payload(), Payload::Blob(bytes) if !bytes.is_unique())
}

/// What came of a victim.
enum Fate {
    /// It is gone, was used, is being read or changed: it stays.
    Spared,
    /// It is past its deadline.
    Dead,
    /// It went. Bytes of its entry, and of what a collection has elsewhere.
    Evicted(usize, usize),
}

/// Removes the key if its recency field still is what it was, unless its value `is_lent` and such are spared. Returns the
/// bytes that this gives back.
fn remove_entry(keys: &Keys<'_>, key: Key<'_>, recency: u32, spares_lent: bool) -> Option<usize> {
    let table = keys.table()?;
    // While an order of changes is kept and somebody changes a key of the same stripe, this one stays.
    let fate = keys.in_order(key, || {
        let fate = table.update(key, keys.guard, |old| match old {
            Some(entry) if entry.recency() == recency => judge(keys, entry, spares_lent),
            _ => (Change::Keep, Fate::Spared),
        });
        if let Fate::Evicted(..) = fate {
            keys.note_evicted(key.bytes);
        }
        fate
    })?;
    match fate {
        Fate::Spared => None,
        Fate::Dead => {
            keys.expire(key);
            Some(MIN_LEN)
        }
        Fate::Evicted(bytes, body) => {
            if body > 0 {
                keys.guard.pledge(body);
            }
            Some(bytes + body)
        }
    }
}

fn judge(keys: &Keys<'_>, entry: Entry<'_>, spares_lent: bool) -> (Change, Fate) {
    if keys.is_dead(entry) {
        return (Change::Keep, Fate::Dead);
    }
    if spares_lent && is_lent(entry) {
        return (Change::Keep, Fate::Spared);
    }
    let bytes = entry.memory();
    if Type::of(entry) == Type::String {
        return (Change::Remove, Fate::Evicted(bytes, 0));
    }
    match memory(entry, SAMPLES) {
        Some(all) => (Change::Remove, Fate::Evicted(bytes, all.saturating_sub(bytes))),
        None => (Change::Keep, Fate::Spared),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::admin::config::Config;
    use crate::admin::stats::LoopStats;
    use crate::base::clock::WallMs;
    use crate::base::hash::KeyHasher;
    use crate::keyspace::types::new_string;
    use crate::keyspace::{Keyspace, Local};
    use crate::table::{Guard, Kind, NewEntry, Participant, Source};

    const START: WallMs = WallMs(1_700_000_000_000);

    struct Rig {
        space: Keyspace,
        stats: LoopStats,
        local: Local,
        config: Config,
        seat: Participant,
        now: WallMs,
    }

    impl Rig {
        fn new(policy: &str) -> Self {
            let config = Config::new();
            config.set(&[(b"maxmemory-policy", policy.as_bytes())]).unwrap();
            let (stats, local) = (LoopStats::new(0), Local::new(1));
            local.recency.begin_turn(&config, START);
            let space = Keyspace::new(16, KeyHasher::seeded(9));
            Rig { space, stats, local, config, seat: Participant::new(), now: START }
        }
        fn after(&mut self, seconds: u64) {
            self.now = WallMs(self.now.0 + seconds * 1000);
            self.local.recency.begin_turn(&self.config, self.now);
        }
        fn keys<'t>(&'t self, guard: &'t Guard<'t>, db: u16) -> Keys<'t> {
            Keys::new(&self.space, DbIndex(db), guard, &self.stats, &self.local, self.now)
        }
        fn set(&self, db: u16, names: impl Iterator<Item = String>, ttl_s: Option<u64>) {
            let guard = self.seat.pin();
            let keys = self.keys(&guard, db);
            for name in names {
                let key = keys.key(name.as_bytes(), 0);
                let deadline = ttl_s.map(|seconds| WallMs(self.now.0 + seconds * 1000));
                keys.update(key, |_| (Change::Put(new_string(key.bytes, b"v", deadline, keys.recency())), ()));
            }
        }
        /// Evicts so many keys; returns how many went.
        fn evict(&self, policy: &str, count: usize) -> usize {
            let guard = self.seat.pin();
            let policy = Policy::named(policy).unwrap();
            (0..count).filter(|_| self.local.evictor.evict(&self.keys(&guard, 0), policy, 5).is_some()).count()
        }
        fn left(&self, db: u16, names: impl Iterator<Item = String>) -> usize {
            let guard = self.seat.pin();
            let keys = self.keys(&guard, db);
            names.filter(|name| keys.peek(keys.key(name.as_bytes(), 0)).is_some()).count()
        }
    }

    fn named(kind: &str, count: usize) -> impl Iterator<Item = String> + use<'_> {
        (0..count).map(move |n| format!("{kind}:{n}"))
    }

    #[test]
    fn the_least_used_keys_go_first_under_every_policy_that_looks_at_use() {
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-clock"] {
            let mut rig = Rig::new(policy);
            rig.set(0, named("old", 2000), None);
            rig.after(600);
            rig.set(0, named("new", 2000), None);
            for _ in 0..3 {
                rig.after(60);
                let guard = rig.seat.pin();
                let keys = rig.keys(&guard, 0);
                for name in named("new", 2000) {
                    assert!(keys.read(keys.key(name.as_bytes(), 0)).is_some());
                }
            }
            assert_eq!(rig.evict(policy, 1000), 1000, "{policy}");
            let (old, new) = (rig.left(0, named("old", 2000)), rig.left(0, named("new", 2000)));
            assert!(old + new == 3000 && new > 1900, "{policy}: {old} old ones and {new} new ones are left");
        }
    }

    #[test]
    fn volatile_policies_leave_other_keys_alone_and_say_when_there_are_none() {
        for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
            let rig = Rig::new(policy);
            rig.set(0, named("stays", 3000), None);
            rig.set(0, named("goes", 20), Some(100));
            assert_eq!(rig.evict(policy, 50), 20, "{policy}");
            assert_eq!(rig.left(0, named("stays", 3000)), 3000, "{policy}");
            assert_eq!(rig.stats.evicted.get(), 20);
        }
    }

    #[test]
    fn what_expires_next_goes_first() {
        let rig = Rig::new("volatile-ttl");
        rig.set(0, named("late", 1000), Some(5000));
        rig.set(0, named("soon", 1000), Some(50));
        assert_eq!(rig.evict("volatile-ttl", 500), 500);
        assert!(rig.left(0, named("late", 1000)) > 980);
    }

    #[test]
    fn keys_of_all_databases_go_until_nothing_is_left() {
        for policy in ["allkeys-lru", "allkeys-random", "allkeys-clock"] {
            let rig = Rig::new(policy);
            (0..3).for_each(|db| rig.set(db, named("k", 200), None));
            assert_eq!(rig.evict(policy, 1000), 600, "{policy}");
            assert_eq!((0..3).map(|db| rig.left(db, named("k", 200))).sum::<usize>(), 0);
        }
    }

    #[test]
    fn what_is_being_read_goes_last() {
        for policy in ["allkeys-lru", "allkeys-clock"] {
            let rig = Rig::new(policy);
            let value = bytes::Bytes::from(vec![b'v'; 100_000]);
            {
                let guard = rig.seat.pin();
                let keys = rig.keys(&guard, 0);
                for name in named("lent", 20) {
                    let key = keys.key(name.as_bytes(), 0);
                    let new = || NewEntry::new(Kind(0), key.bytes, None, keys.recency(), Source::Blob(value.clone()));
                    keys.update(key, |_| (Change::Put(new()), ()));
                }
            }
            rig.set(0, named("free", 200), None);
            assert_eq!(rig.evict(policy, 200), 200, "{policy}");
            let left = rig.left(0, named("lent", 20));
            assert!(left > 15, "{policy}: {left}");
            assert_eq!(rig.evict(policy, 30), 20, "{policy}: in the end they do go");
        }
    }

    #[test]
    fn keys_past_their_deadline_go_before_all_others_and_count_as_expired() {
        let mut rig = Rig::new("allkeys-lru");
        rig.set(0, named("dead", 50), Some(1));
        rig.after(5);
        rig.set(0, named("live", 50), None);
        assert_eq!(rig.evict("allkeys-lru", 50), 50);
        assert!(rig.stats.expired.get() >= 30, "{}", rig.stats.expired.get());
    }

    #[test]
    fn a_key_that_comes_back_soon_starts_with_a_use() {
        let rig = Rig::new("allkeys-clock");
        rig.set(0, named("k", 100), None);
        assert_eq!(rig.evict("allkeys-clock", 100), 100);
        rig.set(0, named("k", 100), None);
        let guard = rig.seat.pin();
        let keys = rig.keys(&guard, 0);
        let used = named("k", 100).filter_map(|name| keys.peek(keys.key(name.as_bytes(), 0)));
        assert!(used.filter(|&entry| rig.local.recency.uses(entry) == 1).count() > 90);
    }
}
