//! What is retired may still be read: by whoever met it before it left the table, or before it was given up.
//! Here memory counts as freed as soon as the last guard of the time of its retirement is gone.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// A replaced entry and its reader.
    fn a_replaced_entry_outlives_its_readers(bound = 3, caught = [RetiredIsFreed]) {
        let small = Small::reclaiming(&[0]);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.set(0, 1));
        assert!(small.get(0).is_some());
        assert_eq!(writer.join().unwrap(), Some(0));
    }
}

model! {
    /// An entry whose insert is given up has been seen by readers that compared its key.
    fn an_entry_that_was_given_up_outlives_its_readers(bound = 2, caught = []) {
        let small = Small::reclaiming(&[]);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        small.get(0);
        assert!(first.join().unwrap() != second.join().unwrap());
    }
}

model! {
    /// A bundle that is replaced while another thread looks into it.
    fn a_replaced_bundle_outlives_its_readers(bound = 2, caught = [RetiredIsFreed]) {
        let small = Small::reclaiming(&[0, 1, 2, 3, 4]);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.set(4, 9));
        assert!(small.get(0).is_some());
        assert_eq!(writer.join().unwrap(), Some(4));
    }
}

model! {
    /// A bundle that a move dissolves while another thread looks into it, or moves it as well.
    fn a_dissolved_bundle_outlives_its_readers(bound = 1, caught = [RetiredIsFreed]) {
        let small = Small::reclaiming(&[0, 1, 2, 3, 4]);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(small.set(0, 9), Some(0));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0), small.copies(4)), (Some(9), 1, 1));
    }
}

model! {
    /// The records of a staged command, met by a reader and by a writer that aborts it.
    fn records_outlive_whoever_met_them(bound = 2, caught = [RetiredIsFreed]) {
        let small = Small::reclaiming(&[0]);
        let owner = small.clone();
        let owner = thread::spawn(move || owner.mset(&[0], 2));
        assert!(small.get(0).is_some());
        assert!(small.set(0, 3).is_some());
        owner.join().unwrap();
    }
}

model! {
    /// A generation that is retired by a promotion, used by an operation that began in it.
    fn a_stale_operation_has_its_generation(bound = 2, caught = []) {
        let small = Small::reclaiming(&[0]);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(small.set(0, 1), Some(0));
        mover.join().unwrap();
        assert_eq!(small.get(0), Some(1));
    }
}
