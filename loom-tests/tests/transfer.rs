//! Moving a group while it is used: nothing is lost, nothing goes back, nothing is resurrected.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// A write during a move is seen by everyone after it, and reads never go back.
    fn a_write_survives_a_move_and_reads_are_monotone(bound = 1, caught (bound = 2) = [WordsNotFrozen, MovedBeforeFilled]) {
        let small = Small::with(&[0]);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.set(0, 2));
        let mover = thread::spawn(move || mover.resize(true));
        let (first, second) = (small.get(0), small.get(0));
        assert!(first.is_some() && first <= second, "{first:?} then {second:?}");
        assert_eq!(writer.join().unwrap(), Some(0));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0)), (Some(2), 1));
    }
}

model! {
    /// An insert that meets a move lands in exactly one generation.
    fn an_insert_survives_a_move(bound = 2, caught = [MovedBeforeFilled]) {
        let small = Small::with(&[0]);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || (writer.setnx(1, 1), writer.get(0)));
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(writer.join().unwrap(), (true, Some(0)));
        mover.join().unwrap();
        assert_eq!((small.get(1), small.copies(1), small.copies(0)), (Some(1), 1, 1));
    }
}

model! {
    /// Two movers and a remover: a helper that wakes up late resurrects nothing.
    fn a_late_helper_resurrects_nothing(bound = 2, caught = [RemoveToUninit, WordsNotFrozen]) {
        let small = Small::with(&[0]);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        // A remover that meets the frozen group is the second mover.
        assert_eq!(small.getdel(0), Some(0));
        assert_eq!(small.get(0), None);
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0)), (None, 0));
    }
}
