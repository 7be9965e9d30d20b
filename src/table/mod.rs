//! Layer 2: the shared table. A lock-free map from key bytes to entries, used by all loops at once.
//!
//! ```text
//! hash ──[47:32]──▶ shard ──▶ generation ──[low bits]──▶ group (one cache line: head + 7 tagged words)
//!                                                          └─ tag = top 15 bits ──▶ entry (header, key, value)
//! ```
//! A lookup touches two lines: the group and the entry. What lives where:
//! - `word`     a slot's 8 bytes                         - `entry`    one allocation: header, deadline, key, value; freeze
//! - `group`    lines, spills, headers, generations      - `probe`    find, insert, replace, remove: the protocol
//! - `bundle`   more than 21 keys in one group           - `resize`   moving a shard to another size, unit by unit
//! - `staged`   several keys at one instant; sections    - `reclaim`  when removed things are freed
//! - `held`     several objects under their locks
//! - `scan`     SCAN's cursor, RANDOMKEY                 - `locate`   finding keys again by 32 bits of their hash
//! - `roots`    the databases                            - `sample`   entries for eviction to choose from
//!
//! The table does not know what a string is, nor what time it is: expiry is decided a layer above.
//!
//! **Linearization points.** get: the load of the slot's word · replace, remove: the CAS of the slot · insert: the CAS of the
//! head that clears its Try bit · counter: the CAS of the cell · several keys: the CAS of the status word.
//! **Progress.** Operations on one key are lock-free: a stalled thread delays nobody but the reclamation of memory. Staged
//! ones wait for nobody either, but may abort each other again and again if the scheduler keeps stopping their owners.
//! **Departures** from the first design: 8-byte headers (no per-entry stamp until a journal needs one); tags of 15 bits and
//! 8-aligned entries (a 56-byte block stays 56); a group that cannot take another key falls back to an immutable bundle;
//! an owner of a staged change that stalls is aborted by whoever needs the key, so writers do not wait for it either.

mod bundle;
pub mod entry;
mod group;
mod held;
#[cfg(all(test, not(loom)))]
mod history_test;
mod locate;
mod probe;
pub mod reclaim;
mod recycle;
mod resize;
pub mod roots;
pub mod sample;
mod scan;
mod shard;
mod staged;
#[cfg(all(test, not(loom)))]
mod table_fuzz;
mod word;

pub use entry::{Entry, Kind, NewEntry, Payload, Source};
pub use held::{Held, Lost, Wanted, hold};
pub use reclaim::{Guard, Participant};
pub use recycle::{keep_at_most, kept_len};
pub use scan::{Walk, Walked};
pub use staged::{Section, Txn, snapshot, transact};

use crate::base::hash::{Key, KeyHasher};
use crate::base::mutation::{Mutation, mutated};
use crate::base::prefetch::{prefetch, prefetch_lines};
use crate::base::sync::{AtomicUsize, Ordering};
use crate::value::object::{Exclusive, Object};
use entry::Cells;
use group::{Generation, GroupHead, Line};
use probe::{Insert, Look, Place, find, insert};
use shard::{Counts, Shard};
use staged::{Record, resolved};
use std::ptr::NonNull;
use word::Word;

/// Shards of a table. A power of two; one in models.
#[cfg(not(loom))]
const SHARDS: usize = 1024;
#[cfg(loom)]
const SHARDS: usize = 1;
/// A shard that is full grows to so many groups at least, however few keys are counted: those that a command holds are not.
const CROWD_MIN: i64 = 32;
/// Units that an insert or remove moves while its shard is being resized.
const UNITS_PER_WRITE: usize = 2;

/// What an update does with its key.
pub enum Change {
    Keep,
    Put(NewEntry),
    Remove,
}

/// One database: a map from key to entry, shared by all loops.
pub struct Table {
    /// Packed current generation per shard.
    currents: Box<[AtomicUsize]>,
    counts: Box<[Counts]>,
    hasher: KeyHasher,
    id: u64,
}

/// Prefetches what a line's word for `hash` points to. False: no word matches.
#[inline]
fn prefetch_match(line: &Line, hash: u64) -> bool {
    let mut found = Word::EMPTY.0;
    // No branch inside: which slot matches is random, and a mispredicted branch waits for the line itself.
    for slot in &line.slots {
        let word = Word(slot.load(Ordering::Relaxed)); // Only a hint: never dereferenced here.
        found = if word.matches(hash) { word.0 } else { found };
    }
    if found == Word::EMPTY.0 {
        return false;
    }
    let address = Word(found).pointer::<u8>();
    prefetch_lines(address, 2);
    true
}

/// A place where another thread may be made to come between two steps of a protocol (stress tests only).
#[inline]
fn chaos() {
    #[cfg(all(any(test, feature = "chaos"), not(loom)))]
    crate::base::sync::chaos::step();
}

/// Did a decision that followed the read `seen` of `old`'s cells see what is `last` in them? An equal deadline never was
/// another one, for deadlines only grow in place; a counter may have gone up and come back while the decision was made.
fn was_decided_on(last: Cells, seen: Cells, old: Entry<'_>) -> bool {
    mutated(Mutation::DecideBeforeFreeze) || last == seen && (!old.is_counter() || mutated(Mutation::CounterComesBack))
}

impl Table {
    /// Shards of a table: a walk may be divided there.
    pub const SHARD_COUNT: usize = SHARDS;

    /// An empty table: one group per shard.
    pub fn new(hasher: KeyHasher) -> Self {
        Self::with_id(hasher, 0)
    }
    /// An empty table with an identity: an address may be used again, an id is not.
    pub fn with_id(hasher: KeyHasher, id: u64) -> Self {
        let generation = |_| AtomicUsize::new(Generation::allocate(0, true).pack());
        Table {
            currents: (0..SHARDS).map(generation).collect(),
            counts: (0..SHARDS).map(|index| Counts::new(index, SHARDS)).collect(),
            hasher,
            id,
        }
    }
    /// What tells this table from all others of its `Roots`, earlier ones included.
    #[inline]
    pub fn id(&self) -> u64 {
        self.id
    }
    #[inline]
    fn shard_index(hash: u64) -> usize {
        (hash >> 32) as usize & (SHARDS - 1)
    }
    #[inline]
    fn shard(&self, hash: u64) -> Shard<'_> {
        let index = Self::shard_index(hash);
        Shard { current: &self.currents[index], counts: &self.counts[index] }
    }
    fn shard_at(&self, index: usize) -> Shard<'_> {
        Shard { current: &self.currents[index], counts: &self.counts[index] }
    }
    /// Number of keys, expired but not yet removed ones included. Exact when nobody writes. Cost: one line per shard.
    pub fn count(&self) -> usize {
        self.counts.iter().map(|counts| counts.keys.load(Ordering::Relaxed)).sum::<i64>().max(0) as usize
    }
    /// Number of keys with a deadline.
    pub fn volatile_count(&self) -> usize {
        self.counts.iter().map(|counts| counts.volatile.load(Ordering::Relaxed)).sum::<i64>().max(0) as usize
    }
    /// Number of objects with elements that have deadlines.
    pub fn timed_count(&self) -> usize {
        self.counts.iter().map(|counts| counts.timed.load(Ordering::Relaxed)).sum::<i64>().max(0) as usize
    }
    /// Counts an object as one with elements that have deadlines, or not any more. Who holds its lock says so when it changes,
    /// and of a new one when its key is there; an unlinked one is not counted.
    #[inline]
    pub fn count_timed(&self, hash: u64, object: &Object, is_timed: bool) {
        let change = object.count_as_timed(is_timed);
        if change != 0 {
            self.counts[Self::shard_index(hash)].timed.fetch_add(change, Ordering::Relaxed);
        }
    }
    /// An entry of this table has been unlinked.
    #[inline]
    fn count_unlinked(&self, hash: u64, entry: Entry<'_>) {
        if let Some(object) = entry.object() {
            self.count_timed(hash, object, false);
        }
    }
    /// Bytes of the index: groups and arenas, both generations of shards that are being resized.
    pub fn index_bytes(&self, _guard: &Guard<'_>) -> usize {
        let bytes = |index| {
            let generation = self.shard_at(index).generation();
            generation.bytes() + generation.next().map_or(0, Generation::bytes)
        };
        (0..SHARDS).map(bytes).sum::<usize>() + size_of_val(&*self.counts) + size_of_val(&*self.currents)
    }

    /// Prefetch stage 1: the home group's line.
    #[inline]
    pub fn prefetch_group(&self, hash: u64) {
        prefetch(self.shard(hash).generation().group_address(hash));
    }
    /// Prefetch stage 2: what the group's matching word points to. False: the word may lie in a spill line, which is on its
    /// way now; then there is a third stage.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64, _guard: &Guard<'_>) -> bool {
        let generation = self.shard(hash).generation();
        let home = generation.line(generation.group_of(hash));
        if prefetch_match(home, hash) {
            return true;
        }
        // Acquire: the spill line's words are at least EMPTY under this head.
        let head = GroupHead(home.head.load(Ordering::Acquire));
        let Some(spill) = generation.spill_line(head, 1) else { return true };
        prefetch(spill);
        false
    }
    /// Prefetch stage 3: what the matching word of the group's first spill line points to. At the highest load a fifth of the
    /// keys lie there.
    pub fn prefetch_spilled(&self, hash: u64, _guard: &Guard<'_>) {
        let generation = self.shard(hash).generation();
        let home = generation.line(generation.group_of(hash));
        let head = GroupHead(home.head.load(Ordering::Acquire)); // Acquire: as in stage 2.
        if let Some(spill) = generation.spill_line(head, 1) {
            prefetch_match(spill, hash);
        }
    }

    /// The object of an entry whose hash may be `hash`: a guess, for those who want to prefetch what it refers to. Only the
    /// group's home line is looked at, and not while its shard is being moved: a moved group keeps the words that it had.
    #[inline]
    pub fn object_near<'g>(&self, hash: u64, guard: &'g Guard<'_>) -> Option<&'g Object> {
        let generation = self.shard(hash).generation();
        probe::glance(generation, hash, guard)?.object()
    }

    /// Looks `key` up in whichever generation it lives; on a miss, tells the head that it was missed under.
    #[inline]
    fn look_under<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> (Generation, Result<Place<'g>, GroupHead>) {
        let mut generation = self.shard(key.hash).generation();
        loop {
            match find(generation, key, guard) {
                Look::Hit(place) => return (generation, Ok(place)),
                Look::Miss(head) => return (generation, Err(head)),
                Look::Moved => match generation.next() {
                    Some(next) => generation = next,
                    None => unreachable!("a moved group has a next generation"),
                },
            }
        }
    }
    #[inline]
    fn look<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> (Generation, Option<Place<'g>>) {
        let (generation, look) = self.look_under(key, guard);
        (generation, look.ok())
    }
    /// Moves the unit of `hash`, if `generation` is being moved: what a writer does that meets a frozen word.
    #[cold]
    fn help(&self, hash: u64, generation: Generation, guard: &Guard<'_>) {
        if let Some(next) = generation.next() {
            let group = generation.group_of(hash);
            resize::help_move(&self.shard(hash), generation, next, group, &self.hasher, guard);
        }
    }
    /// Moves the collection of the entry whose lock this is to `heir`, which was born locked by this thread and belongs to this
    /// table, and lets others at it.
    fn inherit(&self, hash: u64, lock: Option<&mut Exclusive<'_>>, heir: Entry<'_>) {
        let (Some(lock), Some(object)) = (lock, heir.object()) else {
            unreachable!("an heir takes the place of an object")
        };
        // SAFETY: born locked by this thread, asked for once: here.
        let mut heirs = unsafe { object.born_held() };
        lock.hand_over(&mut heirs);
        self.count_timed(hash, object, heirs.is_timed());
    }
    /// Accounts for a change of the number of keys, and resizes the shard when it is due.
    fn counted(&self, hash: u64, keys: i64, volatile: i64, guard: &Guard<'_>) {
        let shard = self.shard(hash);
        let counts = shard.counts;
        if volatile != 0 {
            counts.volatile.fetch_add(volatile, Ordering::Relaxed);
        }
        if keys == 0 {
            return;
        }
        let now = counts.keys.fetch_add(keys, Ordering::Relaxed) + keys;
        let grows = now > counts.grow_at.load(Ordering::Relaxed);
        // Not when a key comes: many others may be about to be counted.
        let shrinks = keys < 0 && now < counts.shrink_at.load(Ordering::Relaxed);
        if grows || shrinks || counts.resizing.load(Ordering::Relaxed) {
            self.resize_step(&shard, now, shrinks, guard);
        }
    }
    /// `guests` words stand in the shard of this hash for as long as a command holds absent keys, beside those that count: it
    /// grows if they are too many together.
    fn make_room_for(&self, hash: u64, guests: i64, guard: &Guard<'_>) {
        let shard = self.shard(hash);
        let words = shard.counts.keys.load(Ordering::Relaxed) + guests;
        if words > shard.counts.grow_at.load(Ordering::Relaxed) || shard.counts.resizing.load(Ordering::Relaxed) {
            self.resize_step(&shard, words, false, guard);
        }
    }
    /// Grows the shards of the `part`th of so many parts for their share of `keys` keys that are about to come, so that these
    /// are not moved again and again while the table grows by itself.
    pub fn make_room(&self, keys: usize, part: usize, parts: usize, guard: &Guard<'_>) {
        let (share, shards) = ((keys / SHARDS) as i64, SHARDS.div_ceil(parts));
        for index in (part * shards).min(SHARDS)..((part + 1) * shards).min(SHARDS) {
            let shard = self.shard_at(index);
            loop {
                let generation = shard.generation();
                if let Some(next) = generation.next() {
                    resize::finish(&shard, generation, next, &self.hasher, guard);
                } else if share > shard.counts.limits(generation.log2()).0 {
                    resize::start(&shard, generation, generation.log2() + 1);
                } else {
                    break;
                }
            }
        }
    }
    /// A group of this shard is full, and no line is left to extend it by: the shard grows, and the group of this hash is moved
    /// at once. False: it would not help. There are as many groups as keys already: their hashes collide.
    #[cold]
    fn grow(&self, hash: u64, generation: Generation, guard: &Guard<'_>) -> bool {
        let shard = self.shard(hash);
        let keys = shard.counts.keys.load(Ordering::Relaxed).max(CROWD_MIN);
        if cfg!(loom) || generation.group_count() as i64 >= keys {
            return false; // Models resize when they say so.
        }
        let current = shard.generation();
        if let Some(next) = current.next().filter(|next| next.pack() == generation.pack()) {
            resize::finish(&shard, current, next, &self.hasher, guard); // It must be the current one to grow.
        }
        resize::start(&shard, generation, generation.log2() + 1);
        self.help(hash, generation, guard);
        true
    }
    #[cold]
    fn resize_step(&self, shard: &Shard<'_>, keys: i64, shrinks: bool, guard: &Guard<'_>) {
        let generation = shard.generation();
        if let Some(next) = generation.next() {
            return resize::drive(shard, generation, next, UNITS_PER_WRITE, &self.hasher, guard);
        }
        // The triggers may still be those of the generation before this one.
        let (grow_at, shrink_at) = shard.counts.limits(generation.log2());
        if keys > grow_at {
            resize::start(shard, generation, generation.log2() + 1);
        } else if shrinks && keys < shrink_at {
            resize::start(shard, generation, generation.log2() - 1);
        }
    }

    /// The entry of `key`, if present. Expiry is the caller's business.
    #[inline]
    pub fn get<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        let place = self.look(key, guard).1;
        debug_assert!(staged::may_touch(place, guard), "a section touches its own keys");
        // SAFETY: found under `guard`.
        let word = unsafe { resolved(place?.word, guard) };
        // SAFETY: a resolved word is EMPTY or an entry, alive under `guard`.
        word.is_live().then(|| unsafe { word.as_entry() })
    }
    /// As `get`, for an entry whose object is locked next. Commands of a pipeline often stay with one key, so the last of
    /// these entries is kept in mind as long as the guard keeps it alive. It may have been unlinked since: then its object is
    /// dead, as it would be if it had been unlinked between `get` and the lock. Whoever finds it so says `forget_found`
    /// and asks again; whoever does not lock it asks `get`.
    #[inline(always)]
    pub fn get_to_lock<'g>(&self, key: Key<'_>, guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        if let Some(entry) = guard.last_found(key.hash, self)
            && probe::is_same(entry.key(), key.bytes)
            && !guard.is_in_section()
        {
            return Some(entry);
        }
        let entry = self.get(key, guard)?;
        if entry.object().is_some() {
            guard.note_found(key.hash, self, entry);
        }
        Some(entry)
    }
    /// An object that `get_to_lock` has led to was dead.
    #[cold]
    pub fn forget_found(&self, guard: &Guard<'_>) {
        guard.forget_found();
    }

    /// Reads, decides and changes one key atomically. `f` may be called several times, each time with the entry as it is
    /// then; if its change is applied, deadline and counter of the entry it saw were final. It must have no side effects
    /// but its result.
    #[inline]
    pub fn update<'g, R>(
        &self,
        key: Key<'_>,
        guard: &'g Guard<'_>,
        mut f: impl FnMut(Option<Entry<'g>>) -> (Change, R),
    ) -> R {
        loop {
            let (generation, place) = self.look(key, guard);
            debug_assert!(staged::may_touch(place, guard), "a section touches its own keys");
            let found: Option<Entry<'g>> = match place {
                None => None,
                Some(place) if place.word.is_record() => {
                    // SAFETY: found under `guard`.
                    let Some(record) = (unsafe { Record::of_section(place.word, guard) }) else {
                        self.settle(key, place.word, guard);
                        continue;
                    };
                    record.now()
                }
                // SAFETY: found under `guard`, no record.
                Some(place) => Some(unsafe { place.word.as_entry() }),
            };
            // None: final as they are.
            let seen = found.filter(|old| old.has_cells() && !old.is_frozen()).map(Entry::cells);
            let (change, result) = f(found); // In one place, so that it is inlined there.
            if let Some(place) = place.filter(|place| place.word.is_record()) {
                // SAFETY: found under `guard`.
                unsafe { Record::of(place.word) }.change(self, change, found, guard);
                return result;
            }
            let (Some(place), Some(old)) = (place, found) else {
                let Change::Put(entry) = change else { return result };
                if self.insert_entry(generation, key, entry, guard) {
                    return result;
                }
                continue;
            };
            let (word, has_deadline) = match &change {
                Change::Keep => return result,
                Change::Remove => (Word::EMPTY, false),
                Change::Put(entry) => (Word::entry(entry.view().as_ptr(), key.hash), entry.view().has_deadline()),
            };
            if place.held.is_frozen() {
                self.help(key.hash, generation, guard);
                continue;
            }
            // Freeze before unlinking.
            if let Some(seen) = seen
                && !was_decided_on(old.freeze(), seen, old)
            {
                continue; // `f` decides again, now on final values.
            }
            let mut lock = None;
            if let Some(object) = old.object().filter(|_| !mutated(Mutation::UnlinkWithoutLock)) {
                lock = object.write();
                if lock.is_none() {
                    continue; // Somebody else has unlinked it.
                }
            }
            chaos();
            let volatile = has_deadline as i64 - old.has_deadline() as i64;
            if place.exchange(word, guard) {
                if let Change::Put(entry) = change {
                    let is_heir = entry.is_heir();
                    let block = entry.into_raw(); // The slot owns it now.
                    if is_heir {
                        // SAFETY: published a moment ago, and locked since its birth: nobody can have unlinked it.
                        self.inherit(key.hash, lock.as_mut(), unsafe {
                            Entry::from_raw(NonNull::new_unchecked(block))
                        });
                    }
                }
                self.count_unlinked(key.hash, old);
                lock.into_iter().for_each(Exclusive::bury);
                // SAFETY: our exchange unlinked it: rule 1.
                unsafe { guard.retire(old) };
                if word.is_empty() || volatile != 0 {
                    self.counted(key.hash, -(word.is_empty() as i64), volatile, guard);
                }
                return result;
            }
        }
    }

    /// Inserts a new entry where `key` was just missed. False: it is there by now, decide again.
    fn insert_entry(&self, mut generation: Generation, key: Key<'_>, entry: NewEntry, guard: &Guard<'_>) -> bool {
        let volatile = entry.view().has_deadline() as i64;
        let block = entry.into_raw();
        let word = Word::entry(block, key.hash);
        let mut may_overflow = false;
        loop {
            match insert(generation, key, word, may_overflow, guard) {
                Insert::Done => {
                    self.counted(key.hash, 1, volatile, guard);
                    return true;
                }
                Insert::Exists => {
                    // SAFETY: never committed, so nobody can find it any more; readers that met it hold guards.
                    unsafe { guard.retire(word.as_entry()) };
                    return false;
                }
                Insert::Full => {
                    may_overflow = !self.grow(key.hash, generation, guard);
                    generation = self.look(key, guard).0;
                }
                Insert::Again => {
                    self.help(key.hash, generation, guard);
                    generation = self.look(key, guard).0;
                }
            }
        }
    }
}

/// Resizes on demand: for models and stress tests.
#[cfg(any(loom, test, feature = "chaos"))]
impl Table {
    /// Starts a resize of every shard by one step and finishes it.
    pub fn resize_all(&self, grow: bool, guard: &Guard<'_>) {
        (0..SHARDS).for_each(|shard| self.resize_shard(shard, grow, guard));
    }
    /// Starts a resize of a shard by one step, or goes on with the one that is under way, and finishes it.
    pub fn resize_shard(&self, shard: usize, grow: bool, guard: &Guard<'_>) {
        self.start_resize(shard, grow);
        let shard = self.shard_at(shard);
        let generation = shard.generation();
        if let Some(next) = generation.next() {
            resize::finish(&shard, generation, next, &self.hasher, guard);
        }
    }
    /// Starts a resize of a shard, unless one is under way or the size would be out of reason.
    pub fn start_resize(&self, shard: usize, grow: bool) {
        let shard = self.shard_at(shard);
        let generation = shard.generation();
        let log2 = generation.log2();
        if generation.next().is_none() && (if grow { log2 < 6 } else { log2 > 0 }) {
            resize::start(&shard, generation, if grow { log2 + 1 } else { log2 - 1 });
        }
    }
    /// Moves up to `units` units of a shard that is being resized.
    pub fn drive_resize(&self, shard: usize, units: usize, guard: &Guard<'_>) {
        let shard = self.shard_at(shard);
        let generation = shard.generation();
        if let Some(next) = generation.next() {
            resize::drive(&shard, generation, next, units, &self.hasher, guard);
        }
    }
}

impl Drop for Table {
    /// Frees every entry. Nobody else can reach the table, so plain walking is enough.
    fn drop(&mut self) {
        if cfg!(loom) && std::thread::panicking() {
            return; // A model has failed: the checker is gone, and no atomic can be read without it.
        }
        let seat = Participant::new();
        let guard = seat.pin();
        for index in 0..SHARDS {
            let shard = self.shard_at(index);
            let generation = shard.generation();
            if let Some(next) = generation.next() {
                resize::finish(&shard, generation, next, &self.hasher, &guard);
            }
            let generation = shard.generation();
            scan::for_each_word(generation, |word| {
                debug_assert!(!word.is_record(), "no staged command outlives its turn");
                if word.is_live() {
                    // SAFETY: the table's own entry, reachable by nobody else.
                    unsafe { drop(NewEntry::from_raw(NonNull::new_unchecked(word.pointer()))) };
                }
            });
            scan::free_bundles(generation);
            // SAFETY: the table is owned here alone.
            unsafe { generation.free() };
        }
    }
}
