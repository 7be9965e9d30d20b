//! Whoever watches a key and reads it as it was before a change is marked by that change.
#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::thread;
use loom_tests::model;
use ringdb::base::ids::DbIndex;
use ringdb::keyspace::waiters::Place;
use ringdb::keyspace::watched::Watched;
use std::sync::Arc;

/// A key, and who watches it.
#[derive(Default)]
struct Scene {
    watched: Watched<AtomicBool>,
    key: AtomicUsize,
}

impl Scene {
    fn place() -> Place {
        Place::new(DbIndex(0), b"k")
    }
    /// SET
    fn write(&self) {
        self.key.store(1, Relaxed);
        self.watched.touch(DbIndex(0), b"k", false, |mark| mark.store(true, Relaxed));
    }
    /// WATCH, GET. Returns the mark, and what was read.
    fn watch(&self) -> (Arc<AtomicBool>, usize) {
        let mark = Arc::new(AtomicBool::new(false));
        self.watched.watch(&mark, &Self::place(), true, || false);
        (mark, self.key.load(Relaxed))
    }
}

model! {
    fn a_change_is_read_or_marks_the_reader(bound = 3, caught = [WatchWithoutFence, TouchWithoutFence]) {
        let scene = Arc::new(Scene::default());
        let other = scene.clone();
        let writer = thread::spawn(move || other.write());
        let (mark, seen) = scene.watch();
        writer.join().unwrap();
        // EXEC runs at a safepoint: the writer is done.
        assert!(seen == 1 || mark.load(Relaxed), "the change was neither read nor heard of");
    }
}

model! {
    /// Who forgets its keys is not marked any more, and nothing of it stays.
    fn who_has_forgotten_its_keys_is_not_marked(bound = 3, caught = []) {
        let scene = Arc::new(Scene::default());
        let (mark, _) = scene.watch();
        let other = scene.clone();
        let writer = thread::spawn(move || other.write());
        scene.watched.forget(&mark, &[Scene::place()]);
        mark.store(false, Relaxed);
        writer.join().unwrap();
        assert!(!mark.load(Relaxed) && scene.watched.key_count() == 0);
    }
}
