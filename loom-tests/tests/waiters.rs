//! Whoever waits for a key, and whoever fills it at the same time, do not miss each other.
#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use loom_tests::model;
use ringdb::admin::wait::Ticket;
use ringdb::base::ids::DbIndex;
use ringdb::keyspace::waiters::{Place, Visited, Waiters};
use std::sync::Arc;

/// A key, and who waits for it.
#[derive(Default)]
struct Scene {
    waiters: Waiters<AtomicUsize>,
    key: AtomicUsize,
}

impl Scene {
    fn place() -> Place {
        Place::new(DbIndex(0), b"k")
    }
    fn take(&self) -> bool {
        self.key.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)).is_ok()
    }
    /// Gives what is under the key to those who wait for it, in order.
    fn serve(&self) {
        self.waiters.serve(&Self::place(), |served| {
            if !self.take() {
                return Visited::Enough;
            }
            served.fetch_add(1, Relaxed);
            Visited::Leaves
        });
    }
    /// LPUSH
    fn push(&self) {
        self.key.store(1, Relaxed);
        if self.waiters.any_behind_fence() {
            self.serve();
        }
    }
    /// BLPOP: true if it was served at once, or since.
    fn block(&self, ticket: u64) -> Arc<AtomicUsize> {
        let served = Arc::new(AtomicUsize::new(0));
        if self.key.load(Relaxed) > 0 && self.take() {
            served.fetch_add(1, Relaxed);
            return served;
        }
        self.waiters.join(Ticket(ticket), &[Self::place()], &served);
        if self.key.load(Relaxed) > 0 {
            self.serve();
        }
        served
    }
}

model! {
    fn a_push_and_a_wait_that_begins_do_not_miss_each_other(bound = 3, caught = [JoinWithoutFence, FillWithoutFence]) {
        let scene = Arc::new(Scene::default());
        let other = scene.clone();
        let pusher = thread::spawn(move || other.push());
        let served = scene.block(1);
        pusher.join().unwrap();
        assert_eq!((served.load(Relaxed), scene.key.load(Relaxed)), (1, 0));
    }
}

model! {
    /// One leaves while another joins: whoever joins is in the queue that a writer finds.
    fn nobody_joins_a_queue_that_was_given_up(bound = 3, caught = [JoinDetached]) {
        let scene = Arc::new(Scene::default());
        let first = scene.block(1);
        let other = scene.clone();
        let leaver = thread::spawn(move || other.waiters.leave(Ticket(1), &[Scene::place()]));
        let second = scene.block(2);
        leaver.join().unwrap();
        scene.push();
        assert_eq!((first.load(Relaxed), second.load(Relaxed)), (0, 1));
        scene.waiters.leave(Ticket(2), &[Scene::place()]);
        assert_eq!(scene.waiters.count(), 0);
    }
}
