//! A waiting client is served once, and nothing that comes while it is being looked after is overlooked.
#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use loom_tests::model;
use ringdb::admin::wait::{Reopened, Ticket, WaitWord};
use std::sync::Arc;

/// A client that waits for one of two keys, and how often it was served.
#[derive(Default)]
struct Scene {
    word: WaitWord,
    keys: [AtomicUsize; 2],
    served: AtomicUsize,
}

const TICKET: Ticket = Ticket(1);

impl Scene {
    fn new() -> Arc<Scene> {
        let scene = Arc::new(Scene::default());
        scene.word.begin(TICKET);
        scene
    }
    /// The client's command: takes something from the first key that has it. Keys have their own order, not the word's.
    fn take(&self) -> bool {
        // A look first: unlike an exchange it may miss what is not ordered before it.
        self.keys.iter().any(|key| {
            key.load(Relaxed) > 0 && key.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1)).is_ok()
        })
    }
    /// Fills a key and serves the client, as a writer does.
    fn fill(&self, key: usize) {
        self.keys[key].fetch_add(1, Relaxed);
        self.serve();
    }
    fn serve(&self) {
        if !self.word.claim(TICKET) {
            return;
        }
        loop {
            if self.take() {
                self.served.fetch_add(1, Relaxed);
                return self.word.over(TICKET);
            }
            match self.word.reopen(TICKET) {
                Reopened::LookAgain => {}
                Reopened::Waits | Reopened::Over => return,
            }
        }
    }
    /// What is left of what was put.
    fn left(&self) -> usize {
        self.keys.iter().map(|key| key.load(Relaxed)).sum()
    }
}

model! {
    /// Two writers at once: the client gets one thing, the other one stays, and nobody waits beside it.
    fn two_writers_serve_a_client_once(bound = 3, caught = []) {
        let scene = Scene::new();
        let other = scene.clone();
        let other = thread::spawn(move || other.fill(1));
        scene.fill(0);
        other.join().unwrap();
        assert_eq!((scene.served.load(Relaxed), scene.left()), (1, 1));
        assert!(!scene.word.is_open());
    }
}

model! {
    /// Somebody looks in vain while the key is filled: the client is not left waiting beside it.
    fn what_comes_during_a_vain_look_is_not_overlooked(bound = 3, caught = [ClaimWithoutNote, ClaimRelaxed]) {
        let scene = Scene::new();
        let other = scene.clone();
        let other = thread::spawn(move || other.fill(0));
        scene.serve();
        other.join().unwrap();
        assert_eq!((scene.served.load(Relaxed), scene.left()), (1, 0));
    }
}

model! {
    /// The time is up while a writer serves: one of them ends the wait.
    fn a_wait_ends_by_time_or_by_a_writer(bound = 3, caught = []) {
        let scene = Scene::new();
        let other = scene.clone();
        let other = thread::spawn(move || other.fill(0));
        let is_ended = scene.word.end();
        other.join().unwrap();
        assert_eq!(scene.served.load(Relaxed) + is_ended as usize, 1);
        assert_eq!(scene.left(), is_ended as usize);
    }
}
