//! A snapshot of one instant beside those who change things: each entry that was there at the cut is taken once, as it was.
//!
//! Broken on purpose: a writer that hands nothing over (the walker takes what came behind the cut); whoever loses the claim
//! gives its copy all the same (an entry is there twice); a claim before the encoding (a writer goes on and changes what is
//! being encoded); entries born in an older era (a new key is taken).
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model, small::value};
use ringdb::base::clock::WallMs;
use ringdb::keyspace::handover::{Handover, Taker, take};
use ringdb::keyspace::order::{Ledger, Order};
use ringdb::keyspace::recency::Recency;
use ringdb::table::Entry;
use ringdb::table::entry::begin_era;
use std::sync::{Arc, Mutex};

/// What was taken: keys and their values.
struct Collected {
    era: u32,
    pairs: Mutex<Vec<(Vec<u8>, i64)>>,
}

impl Collected {
    /// What a walker does with each entry, and a writer with what it is about to change.
    fn look(&self, entry: Entry<'_>) {
        let mut seen = 0;
        let is_taken = take(entry, self.era, |claim| {
            seen = value(entry);
            Some(claim())
        });
        if is_taken {
            self.pairs.lock().unwrap().push((entry.key().to_vec(), seen));
        }
    }
}

impl Taker for Collected {
    fn take(&self, _: u64, entry: Entry<'_>, _: &Recency) {
        self.look(entry);
    }
}

struct Scene {
    small: Arc<Small>,
    order: Order,
    handover: Handover,
    collected: Arc<Collected>,
}

impl Scene {
    /// Key 0 is a counter of 10, key 1 holds 11; then the cut.
    fn new() -> Arc<Scene> {
        let small = Small::new();
        small.set_counter(0, 10);
        small.set(1, 11);
        let collected = Arc::new(Collected { era: begin_era(), pairs: Mutex::default() });
        let handover = Handover::default();
        handover.set(Some(collected.clone()));
        Arc::new(Scene { small, order: Order::default(), handover, collected })
    }
    /// A command that changes key `n`: under its stripe, what is there is handed over first.
    fn change(&self, n: usize, command: impl FnOnce(&Small)) {
        let ledger = Ledger::default();
        let key = self.small.key(n);
        ledger.open(&self.order, [key.hash]);
        self.small.turn(|table, guard| self.handover.before_write(table, key, WallMs(0), guard, &Recency::new(1)));
        command(&self.small);
        ledger.close(&self.order);
    }
    /// The walker, over everything.
    fn walk(&self) {
        self.small.turn(|table, guard| table.scan_all(guard, |entry| self.collected.look(entry)));
    }
    fn assert_as_at_the_cut(&self) {
        let mut pairs = self.collected.pairs.lock().unwrap().clone();
        pairs.sort();
        let mut wanted = [0, 1].map(|n| (self.small.key(n).bytes.to_vec(), 10 + n as i64));
        wanted.sort();
        assert_eq!(pairs, wanted);
    }
}

fn beside(command: impl FnOnce(&Scene) + Send + 'static) {
    let scene = Scene::new();
    let other = scene.clone();
    let writer = thread::spawn(move || command(&other));
    scene.walk();
    writer.join().unwrap();
    scene.assert_as_at_the_cut();
}

model! {
    /// A counter that changes in place.
    fn an_increment_comes_behind_the_cut(bound = 2, caught = [HandoverSkipped, ClaimIgnored, ClaimedFirst]) {
        beside(|scene| scene.change(0, |small| assert_eq!(small.add(0, 1), 11)));
    }
}

model! {
    /// A new entry takes the place of the old one.
    fn what_is_replaced_is_taken_before(bound = 2, caught = [HandoverSkipped, ClaimIgnored, BornBefore]) {
        beside(|scene| scene.change(1, |small| assert_eq!(small.set(1, 5), Some(11))));
    }
}

model! {
    /// DEL, and the key comes back.
    fn what_is_removed_is_taken_and_what_is_new_is_not(bound = 2, caught = [HandoverSkipped, ClaimIgnored, BornBefore]) {
        beside(|scene| {
            scene.change(1, |small| assert!(small.del(1)));
            scene.change(1, |small| assert!(small.setnx(1, 7)));
        });
    }
}

model! {
    /// Two writers and no walker: the first one hands over.
    fn of_two_writers_one_hands_over(bound = 2, caught = [HandoverSkipped]) {
        let scene = Scene::new();
        let other = scene.clone();
        let writer = thread::spawn(move || other.change(0, |small| { small.add(0, 1); }));
        scene.change(0, |small| { small.add(0, 1); });
        writer.join().unwrap();
        scene.walk();
        scene.assert_as_at_the_cut();
    }
}
