//! Deadlines of hash fields, carried by the same wheels as those of keys.
//!
//! A wheel's item names a place in the table and a tick, not what is due there. So the invariant of active expiry is kept
//! for hashes with little more: for each hash with fields that have deadlines, some loop has an item of the key's place
//! whose tick is not after the earliest of them. A command that brings an earlier one registers it (`watch_fields`), and so
//! does whatever puts such a hash under another key. An item that fires removes what is due and is moved to the next
//! deadline; a hash that loses its last field so takes its key along.
//!
//! A large hash is purged in portions: what is left over is due again at once, and the run looks at the time in between.

use super::Keys;
use super::expire::Run;
use crate::admin::notify::Class;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::table::{Guard, Table};
use crate::value::hash::Hash;
use crate::value::object::{Collection, Object};

/// Fields that are removed under one lock: tens of microseconds.
const PORTION: usize = 128;

impl Keys<'_> {
    /// The earliest deadline of the fields of the hash at `key` has changed, or it may be new here.
    #[inline]
    pub fn watch_fields(&self, key: Key<'_>, before: Option<WallMs>, after: Option<WallMs>) {
        if let (Some(after), Some(table)) = (after, self.table())
            && before.is_none_or(|before| after < before)
        {
            self.local.expiry.register(table.id(), key.hash, after, self.real_now());
        }
    }
    /// Before a command on the hash at `key`, while changes are recorded: what is past its deadline goes, so that the command
    /// finds the same when it is run again from the record.
    pub fn settle_fields(&self, key: Key<'_>) {
        let Some(table) = self.table() else { return };
        while look(table, key, self.guard, |hash, _| hash.has_overdue(self.now)) == Some(true) {
            purge(self.as_run(), table, key, Origin::Command, &|hash, gone| hash.purge(self.now, PORTION, gone));
        }
    }
    /// Somebody has met some of these fields of the hash at `key` past their deadlines: those go now, together.
    #[cold]
    pub fn expire_met<'n, I: Iterator<Item = &'n [u8]>>(&self, key: Key<'_>, names: impl Fn() -> I) {
        self.reap(key, &|hash, gone| {
            let mut count = 0;
            for name in names() {
                if hash.is_overdue(name, self.now) {
                    hash.remove(name, self.now);
                    gone(name);
                    count += 1;
                }
            }
            count
        });
    }
    /// Removes fields of the hash at `key` that are past their deadline, a portion of them.
    #[inline]
    pub fn expire_fields(&self, key: Key<'_>) {
        let overdue = |table| look(table, key, self.guard, |hash, _| hash.has_overdue(self.now));
        if self.table().and_then(overdue) == Some(true) {
            self.reap(key, &|hash, gone| hash.purge(self.now, PORTION, gone));
        }
    }
    #[cold]
    fn reap(&self, key: Key<'_>, take: Take<'_>) {
        if let Some(table) = self.table().filter(|_| !self.space.is_expiry_stopped(self.now)) {
            self.in_order(key, || purge(self.as_run(), table, key, Origin::Command, take));
        }
    }
    /// What a run works with, for a command.
    fn as_run(&self) -> Run<'_> {
        let Self { space, guard, stats, now, .. } = *self;
        Run {
            space,
            guard,
            all: &[],
            stats,
            events: &self.local.events,
            ledger: &self.local.ledger,
            recency: &self.local.recency,
            now,
        }
    }
    /// A hash has come to `key` from elsewhere, perhaps with deadlines.
    #[cold]
    pub(super) fn watch_moved_fields(&self, key: Key<'_>) {
        let Some(table) = self.table() else { return };
        let earliest = look(table, key, self.guard, |hash, object| {
            table.count_timed(key.hash, object, hash.is_timed());
            hash.earliest()
        });
        self.watch_fields(key, None, earliest.flatten());
    }
}

/// Reads the hash at `key`, if there is one.
fn look<R>(table: &Table, key: Key<'_>, guard: &Guard<'_>, read: impl Fn(&Hash, &Object) -> R) -> Option<R> {
    loop {
        let object = table.get(key, guard)?.object()?;
        // None: the entry has just been replaced; look at its heir.
        if let Some(lock) = object.read() {
            return lock.get::<Hash>().map(|hash| read(hash, object));
        }
    }
}

/// Removes fields of the hash at `key` that are due, in order with all other changes. Returns the next deadline, which may be
/// due as well.
pub(super) fn settle(run: Run<'_>, table: &Table, key: Key<'_>) -> Option<WallMs> {
    let earliest = look(table, key, run.guard, |hash, _| hash.earliest())??;
    if earliest > run.now {
        return Some(earliest);
    }
    let take: Take<'_> = &|hash, gone| hash.purge(run.now, PORTION, gone);
    run.in_order(table, key, || purge(run, table, key, Origin::Wheel, take))
}

/// Who removes fields. Each removal is recorded by itself, as in Redis; those that a command makes are one group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Command,
    Wheel,
}

/// Removes fields that are past their deadline, tells their names, and returns how many.
type Take<'f> = &'f dyn Fn(&mut Hash, &mut dyn FnMut(&[u8])) -> usize;

/// A portion of `settle`'s work, under the stripe of the key if an order is kept.
fn purge(run: Run<'_>, table: &Table, key: Key<'_>, origin: Origin, take: Take<'_>) -> Option<WallMs> {
    loop {
        let entry = table.get(key, run.guard)?;
        let object = entry.object()?;
        let Some(mut lock) = object.write() else { continue };
        let hash = lock.get_mut::<Hash>()?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        let is_journaled = run.events.is_journaled();
        let purged = take(hash, &mut |name| names.extend(is_journaled.then(|| name.to_vec())));
        run.stats.expired_fields.add(purged as u64);
        let (next, is_gone) = (hash.earliest(), lock.is_empty());
        table.count_timed(key.hash, object, next.is_some());
        if is_gone {
            table.detach(key, entry, lock, run.guard);
        }
        for name in &names {
            run.record(table, [b"HDEL", key.bytes, name].into_iter());
            if origin == Origin::Wheel {
                run.ledger.part(&run.space.order);
            }
        }
        if purged > 0 {
            run.note(table, key.bytes, Class::HASH, "hexpired", true);
        }
        if is_gone {
            run.note(table, key.bytes, Class::GENERIC, "del", false);
        }
        return next;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::admin::stats::LoopStats;
    use crate::base::hash::KeyHasher;
    use crate::base::ids::DbIndex;
    use crate::keyspace::types::{copy_as, new_string, with_deadline};
    use crate::keyspace::{Keyspace, Local};
    use crate::table::{Change, Participant};
    use crate::value::hash::{Deadline, Limits};
    use std::time::Duration;

    struct World {
        space: Keyspace,
        stats: Vec<LoopStats>,
        local: Local,
        seat: Participant,
        now: WallMs,
        limits: Limits,
    }

    impl World {
        fn new(entries: usize) -> Self {
            World {
                space: Keyspace::new(2, KeyHasher::seeded(3)),
                stats: vec![LoopStats::default()],
                local: Local::new(1),
                seat: Participant::new(),
                now: WallMs(1_700_000_000_000),
                limits: Limits { entries, value_len: 64 },
            }
        }
        fn with<R>(&self, work: impl FnOnce(Keys<'_>) -> R) -> R {
            let guard = self.seat.pin();
            work(Keys::new(&self.space, DbIndex(0), &guard, &self.stats[0], &self.local, self.now))
        }
        /// Field `number` of `key`, which lives for so long.
        fn set(&self, key: &[u8], number: u64, ttl: Option<u64>) {
            self.with(|keys| {
                let key = keys.key(key, 0);
                let mut hash = keys.open_or_create::<Hash>(key).unwrap();
                let (before, name) = (hash.earliest(), number.to_string());
                hash.set(name.as_bytes(), b"v", Deadline::Clear, self.limits, self.now);
                hash.set_deadline(name.as_bytes(), ttl.map(|ttl| WallMs(self.now.0 + ttl)));
                keys.watch_fields(key, before, hash.earliest());
            });
        }
        /// Time passes, and the loop does what is due.
        fn pass(&mut self, ms: u64) {
            self.now.0 += ms;
            let guard = self.seat.pin();
            let run = Run {
                space: &self.space,
                guard: &guard,
                all: &self.stats,
                stats: &self.stats[0],
                events: &self.local.events,
                ledger: &self.local.ledger,
                recency: &self.local.recency,
                now: self.now,
            };
            self.local.expiry.run(run, Duration::from_secs(3600));
        }
        /// Fields that lie in memory, dead or not; None: there is no such key.
        fn count(&self, key: &[u8]) -> Option<usize> {
            self.with(|keys| keys.look::<Hash>(keys.key(key, 0)).unwrap().map(|hash| hash.len(WallMs(0))))
        }
        fn expired(&self) -> u64 {
            self.stats[0].expired_fields.get()
        }
    }

    #[test]
    fn fields_are_removed_at_their_deadlines_and_the_last_one_takes_the_key() {
        for entries in [512, 0] {
            let mut world = World::new(entries);
            (0..500).for_each(|number| world.set(b"h", number, Some(100 + number)));
            world.set(b"keeps", 0, None);
            world.set(b"keeps", 1, Some(300));
            world.pass(250);
            let left = world.count(b"h").unwrap();
            assert!((349..=349 + 16).contains(&left), "{left} of 500 are left; a tick is 16 ms");
            assert_eq!(world.expired(), 500 - left as u64);
            world.pass(400);
            assert_eq!((world.count(b"h"), world.count(b"keeps")), (None, Some(1)));
            assert_eq!(world.expired(), 501);
        }
    }

    #[test]
    fn a_deadline_that_was_put_off_is_kept() {
        let mut world = World::new(512);
        world.set(b"h", 1, Some(100));
        world.set(b"h", 1, Some(5000));
        world.pass(200);
        assert_eq!(world.count(b"h"), Some(1));
        world.pass(4900);
        assert_eq!(world.count(b"h"), None);
    }

    #[test]
    fn deadlines_go_where_their_hash_goes() {
        let mut world = World::new(512);
        (0..2).for_each(|number| world.set(b"from", number, (number == 0).then_some(100)));
        world.with(|keys| {
            let (from, to) = (keys.key(b"from", 0), keys.key(b"to", 0));
            keys.update(from, |old| (Change::Put(with_deadline(old.unwrap(), Some(WallMs(keys.now.0 + 9000)))), ()));
            keys.transact(&[(DbIndex(0), from), (DbIndex(0), to)], |txn| {
                txn.bequeath(0, 1, copy_as(txn.old(0).unwrap(), b"to", None, 0));
                txn.decide(0, Change::Remove);
            });
        });
        assert_eq!((world.count(b"from"), world.count(b"to")), (None, Some(2)));
        world.pass(150);
        assert_eq!(world.count(b"to"), Some(1));
    }

    #[test]
    fn hashes_with_deadlines_are_counted_wherever_they_come_and_go() {
        for entries in [512, 0] {
            let mut world = World::new(entries);
            let counted = |world: &World| world.with(|keys| keys.timed_count());
            world.set(b"plain", 0, None);
            for key in [&b"a"[..], b"b", b"c", b"d"] {
                (0..2).for_each(|number| world.set(key, number, (number == 0).then_some(100)));
            }
            assert_eq!(counted(&world), 4);
            world.with(|keys| {
                let key = |name| keys.key(name, 0);
                // Its last deadline goes with its field, a hash is overwritten, another one gets a new entry under its key.
                keys.open::<Hash>(key(b"a")).unwrap().unwrap().remove(b"0", keys.now);
                keys.update(key(b"b"), |_| (Change::Put(new_string(b"b", b"text", None, 0)), ()));
                let later = Some(WallMs(keys.now.0 + 9000));
                keys.update(key(b"c"), |old| (Change::Put(with_deadline(old.unwrap(), later)), ()));
            });
            assert_eq!(counted(&world), 2, "c and d");
            world.with(|keys| {
                let (c, d) = (keys.key(b"c", 0), keys.key(b"d", 0));
                let section = keys.begin_section(&[c, d]).unwrap();
                keys.transact(&[(DbIndex(0), c), (DbIndex(0), d)], |txn| {
                    txn.bequeath(0, 1, copy_as(txn.old(0).unwrap(), b"d", None, 0));
                    txn.decide(0, Change::Remove);
                });
                assert_eq!(keys.look::<Hash>(d).unwrap().map(|hash| hash.len(keys.now)), Some(2));
                drop(section);
            });
            assert_eq!(counted(&world), 1, "c in the place of d");
            world.pass(150);
            assert_eq!((counted(&world), world.count(b"d")), (0, Some(1)));
        }
    }
}
