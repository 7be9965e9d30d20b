//! Numbers agree with the order of each key's changes.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use loom_tests::model;
use ringdb::base::ids::DbIndex;
use ringdb::keyspace::order::{Ledger, Order};
use std::sync::Arc;

/// A key, as the number of its last change. Not atomic: loom reports any access that is not ordered with the others.
#[derive(Default)]
struct Scene {
    order: Order,
    key: UnsafeCell<u64>,
}

impl Scene {
    fn change(&self, hashes: [u64; 2]) {
        let ledger = Ledger::default();
        ledger.open(&self.order, hashes);
        ledger.record(DbIndex(0), [&b"x"[..]].into_iter());
        // SAFETY: the model's claim: the stripe keeps everybody else away.
        let last = self.key.with(|key| unsafe { *key });
        let number = self.order.next();
        assert!(number > last, "the later change has the higher number");
        // SAFETY: as above.
        self.key.with_mut(|key| unsafe { *key = number });
        ledger.close(&self.order);
    }
}

model! {
    fn the_later_change_has_the_higher_number(bound = 3, caught = [StripeRelaxed]) {
        let scene = Arc::new(Scene::default());
        let other = scene.clone();
        let writer = thread::spawn(move || other.change([1, 2]));
        scene.change([2, 1]);
        writer.join().unwrap();
        // SAFETY: both are done.
        scene.key.with(|key| assert_eq!(unsafe { *key }, 2));
    }
}
