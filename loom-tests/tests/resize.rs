//! Whole resizes: shrinking, units moved by different threads, promotion, and scans while the size changes.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// Shrinking: two sources meet in one destination.
    fn shrinking_loses_nothing(bound = 2, caught = [WordsNotFrozen]) {
        let small = Small::new();
        small.resize(true);
        small.set(0, 1);
        small.set(1, 2);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.set(1, 3));
        let mover = thread::spawn(move || mover.resize(false));
        assert_eq!(writer.join().unwrap(), Some(2));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.get(1), small.copies(0), small.copies(1)), (Some(1), Some(3), 1, 1));
    }
}

model! {
    /// Shrinking while the second source gets a new key.
    fn shrinking_keeps_a_new_key(bound = 2, caught = [OneSourceFrozen]) {
        let small = Small::new();
        small.resize(true);
        small.set(0, 1);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.setnx(1, 3));
        let mover = thread::spawn(move || mover.resize(false));
        assert!(writer.join().unwrap());
        mover.join().unwrap();
        assert_eq!((small.get(0), small.get(1), small.copies(0), small.copies(1)), (Some(1), Some(3), 1, 1));
    }
}

model! {
    /// Two units, moved by two threads: whoever starts in the new generation finds what both have filled.
    fn a_promoted_generation_is_whole(bound = 2, caught = [MovedCountRelaxed]) {
        let small = Small::new();
        small.resize(true);
        small.set(0, 1);
        small.set(1, 2);
        small.table.start_resize(0, true);
        let movers = [small.clone(), small.clone()]
            .map(|small| thread::spawn(move || small.turn(|table, guard| table.drive_resize(0, 1, guard))));
        assert_eq!((small.get(0), small.get(1)), (Some(1), Some(2)));
        movers.into_iter().for_each(|mover| mover.join().unwrap());
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}

model! {
    /// A write that began in a generation which is replaced twice meanwhile.
    fn a_stale_write_finds_the_present_generation(bound = 1, caught = [WordsNotFrozen]) {
        let small = Small::with(&[0]);
        let mover = small.clone();
        let mover = thread::spawn(move || {
            mover.resize(true);
            mover.resize(false);
        });
        assert_eq!(small.set(0, 1), Some(0));
        assert_eq!(small.get(0), Some(1));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0)), (Some(1), 1));
    }
}

model! {
    /// A scan sees what is there throughout, while the table shrinks.
    fn a_scan_is_complete_while_the_table_shrinks(bound = 2, caught (bound = 3) = [ClassNotFolded]) {
        let small = Small::new();
        small.resize(true);
        small.set(0, 1);
        small.set(1, 2);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(false));
        assert!(small.copies(1) >= 1, "key 1 was there all the time");
        mover.join().unwrap();
    }
}

model! {
    /// A scan sees what is there throughout, while the table grows.
    fn a_scan_is_complete_while_the_table_grows(bound = 3, caught = [MovedBeforeFilled]) {
        let small = Small::with(&[0, 1]);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        assert!(small.copies(1) >= 1, "key 1 was there all the time");
        mover.join().unwrap();
    }
}
