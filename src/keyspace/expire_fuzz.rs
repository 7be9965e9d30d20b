//! Seeded events on several loops' wheels against a naive map from key to deadline. Time is part of the events.
//!
//! After each run to the end, every key whose deadline is a tick or more ago must be gone without having been asked for, and
//! no other key may be. Hashes are cut to few bits, so that keys share places, or left whole.

use super::expire::Run;
use super::types::{copy_as, new_string, with_deadline};
use super::wheel::TICK_MS;
use super::*;
use crate::base::hash::KeyHasher;
use crate::base::prng::Prng;
use crate::table::Participant;
use std::collections::BTreeMap;
use std::time::Duration;

const LOOPS: usize = 3;
const FOREVER: Duration = Duration::from_secs(3600);

struct World {
    space: Keyspace,
    stats: Vec<LoopStats>,
    locals: Vec<Local>,
    seat: Participant,
    prng: Prng,
    now: WallMs,
    /// Deadline by database and key.
    model: BTreeMap<(u16, Vec<u8>), Option<WallMs>>,
}

impl World {
    fn new(seed: u64, mask: u64) -> Self {
        World {
            space: Keyspace::new(2, KeyHasher::seeded(seed).masked(mask)),
            stats: (0..LOOPS).map(|_| LoopStats::default()).collect(),
            locals: (0..LOOPS).map(|index| Local::new(index as u64)).collect(),
            seat: Participant::new(),
            prng: Prng::seeded(seed),
            now: WallMs(1_700_000_000_000 + seed * 7),
            model: BTreeMap::new(),
        }
    }

    /// A change of one key on a random loop.
    fn change(&mut self, key_count: u64) {
        let World { space, stats, locals, seat, prng, now, model } = self;
        let (on, db) = (prng.below(LOOPS as u64) as usize, prng.below(2) as u16);
        let guard = seat.pin();
        let keys = Keys::new(space, DbIndex(db), &guard, &stats[on], &locals[on], *now);
        let names = [(); 2].map(|()| prng.below(key_count).to_string().into_bytes());
        let key = keys.key(&names[0], 0);
        let at = WallMs(now.0 + 1 + (prng.next_u64() >> (63 - prng.below(36))));
        model.retain(|_, deadline| deadline.is_none_or(|deadline| deadline > *now));
        let place = (db, names[0].clone());
        match prng.below(6) {
            0 => {
                let deadline = prng.chance(2, 3).then_some(at);
                keys.update(key, |_| (Change::Put(new_string(key.bytes, b"v", deadline, 0)), ()));
                model.insert(place, deadline);
            }
            1 => {
                keys.update(key, |_| (Change::Remove, ()));
                model.remove(&place);
            }
            2 => {
                keys.update(key, |old| match old {
                    Some(old) => (Change::Put(with_deadline(old, None)), ()),
                    None => (Change::Keep, ()),
                });
                model.entry(place).and_modify(|deadline| *deadline = None);
            }
            3 => {
                let to = keys.key(&names[1], 0);
                keys.transact(&[(DbIndex(db), key), (DbIndex(1 - db), to)], |txn| {
                    if let Some(old) = keys.live(txn.old(0)) {
                        txn.decide(1, Change::Put(copy_as(old, to.bytes, old.expires_at(), 0)));
                        txn.decide(0, Change::Remove);
                    }
                });
                if let Some(deadline) = model.remove(&place) {
                    model.insert((1 - db, names[1].clone()), deadline);
                }
            }
            _ => {
                let entry = keys.peek(key);
                let moved = entry.and_then(|entry| Some(entry.move_deadline(entry.expires_at()?, at)));
                // Not moved: there is no deadline, it would be earlier, or a staged command has frozen it.
                if moved != Some(true) {
                    keys.update(key, |old| match old {
                        Some(old) => (Change::Put(with_deadline(old, Some(at))), ()),
                        None => (Change::Keep, ()),
                    });
                }
                model.entry(place).and_modify(|deadline| *deadline = Some(at));
            }
        }
    }

    /// Lets every loop run, for `budget` each.
    fn run(&self, budget: Duration) {
        let guard = self.seat.pin();
        for (local, stats) in self.locals.iter().zip(&self.stats) {
            let run = Run {
                space: &self.space,
                guard: &guard,
                all: &self.stats,
                stats,
                events: &local.events,
                ledger: &local.ledger,
                recency: &local.recency,
                now: self.now,
            };
            local.expiry.run(run, budget);
        }
        guard.flush();
    }

    /// All loops have run to the end.
    fn check(&mut self, context: &str) {
        let now = self.now;
        self.model.retain(|_, deadline| deadline.is_none_or(|deadline| deadline > now));
        let guard = self.seat.pin();
        let mut found: BTreeMap<(u16, Vec<u8>), Option<WallMs>> = BTreeMap::new();
        for db in 0..2 {
            let Some(table) = self.space.roots.get(db, &guard) else { continue };
            table.scan_all(&guard, |entry| {
                found.insert((db as u16, entry.key().to_vec()), entry.expires_at());
            });
        }
        let is_fresh = |deadline: Option<WallMs>| deadline.is_some_and(|at| at <= now && at.0 + TICK_MS > now.0);
        found.retain(|_, deadline| !is_fresh(*deadline));
        assert!(found == self.model, "{context}: {} keys, not {}", found.len(), self.model.len());
        for local in &self.locals {
            let next = local.expiry.sleep_time(now, true);
            assert!(next.is_none_or(|time| !time.is_zero()), "{context}: nothing is left to do now");
        }
    }

    fn item_count(&self) -> usize {
        self.locals.iter().map(|local| local.expiry.item_count()).sum()
    }
}

/// Runs `events` random events from `seed` with hashes cut to `mask`.
pub fn drive(seed: u64, events: usize, mask: u64, key_count: u64) {
    let mut world = World::new(seed, mask);
    for event in 0..events {
        match world.prng.below(1000) {
            0..950 => world.change(key_count),
            950..998 => {
                world.now.0 += world.prng.next_u64() >> (63 - world.prng.below(30));
                world.run(Duration::ZERO);
                if world.prng.chance(1, 3) {
                    // A purge may be under way: it ends, too.
                    (0..3).for_each(|_| world.run(FOREVER));
                    world.check(&format!("seed {seed} event {event}"));
                }
            }
            998 => {
                world.space.roots.swap(0, 1);
                let model = std::mem::take(&mut world.model);
                world.model = model.into_iter().map(|((db, key), deadline)| ((1 - db, key), deadline)).collect();
            }
            _ => {
                let db = world.prng.below(2) as u16;
                let guard = world.seat.pin();
                world.space.discard(world.space.roots.take(db as usize).into_iter().collect(), &guard);
                drop(guard);
                world.model.retain(|(of, _), _| *of != db);
            }
        }
    }
}

#[test]
fn keys_go_when_their_time_has_come_and_no_others() {
    for seed in 0..12 {
        drive(seed, 20_000, u64::MAX, 500);
        drive(seed, 20_000, 0x8000_0003, 60);
    }
}

#[test]
fn deleted_keys_leave_a_bounded_number_of_items() {
    let mut world = World::new(1, u64::MAX);
    let guard = world.seat.pin();
    let local = &world.locals[0];
    let keys = Keys::new(&world.space, DbIndex(0), &guard, &world.stats[0], local, world.now);
    let far = WallMs(world.now.0 + 3_600_000);
    let put = |name: &[u8]| {
        keys.update(keys.key(name, 0), |_| (Change::Put(new_string(name, b"v", Some(far), 0)), ()));
    };
    (0..50_000).for_each(|number| put(format!("stays{number}").as_bytes()));
    let mut most = 0;
    for number in 0..400_000 {
        let name = format!("lock{number}").into_bytes();
        put(&name);
        keys.update(keys.key(&name, 0), |_| (Change::Remove, ()));
        if number % 256 == 0 {
            let (space, all, now) = (&world.space, &world.stats, world.now);
            let run = Run {
                space,
                guard: &guard,
                all,
                stats: &all[0],
                events: &local.events,
                ledger: &local.ledger,
                recency: &local.recency,
                now,
            };
            local.expiry.run(run, Duration::from_millis(1));
            most = most.max(local.expiry.item_count());
        }
    }
    assert!(most < 400_000, "{most} items for 50 000 volatile keys");
    drop(guard);
    world.now = WallMs(far.0 + TICK_MS);
    (0..3).for_each(|_| world.run(FOREVER));
    world.check("all deadlines have passed");
    assert_eq!(world.item_count(), 0);
    assert_eq!(world.stats[0].expired.get(), 50_000);
}
