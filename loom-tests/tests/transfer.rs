//! Moving a group while it is used: nothing is lost, nothing goes back, nothing is resurrected.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

/// c, e: a write during a move is seen by everyone after it, and reads never go back.
#[test]
fn a_write_survives_a_move_and_reads_are_monotone() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.set(0, 2));
        let mover = thread::spawn(move || mover.resize(true));
        let (first, second) = (small.get(0), small.get(0));
        assert!(first.is_some() && first <= second, "{first:?} then {second:?}");
        assert_eq!(writer.join().unwrap(), Some(1));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0)), (Some(2), 1));
    });
}

/// An insert that meets a move lands in exactly one generation.
#[test]
fn an_insert_survives_a_move() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.setnx(1, 2));
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(small.get(0), Some(1));
        assert!(writer.join().unwrap());
        mover.join().unwrap();
        assert_eq!((small.get(1), small.copies(1), small.copies(0)), (Some(2), 1, 1));
    });
}

/// d: two movers and a remover: a helper that wakes up late resurrects nothing.
#[test]
fn a_late_helper_resurrects_nothing() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        // A remover that meets the frozen group is the second mover.
        assert_eq!(small.getdel(0), Some(1));
        assert_eq!(small.get(0), None);
        mover.join().unwrap();
        assert_eq!((small.get(0), small.copies(0)), (None, 0));
    });
}

/// Shrinking: two sources meet in one destination.
#[test]
fn shrinking_loses_nothing() {
    model(2, || {
        let small = Small::new();
        small.resize(true);
        small.set(0, 1);
        small.set(1, 2);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || writer.set(1, 3));
        let mover = thread::spawn(move || mover.resize(false));
        assert_eq!(small.get(0), Some(1));
        assert_eq!(writer.join().unwrap(), Some(2));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.get(1), small.copies(0), small.copies(1)), (Some(1), Some(3), 1, 1));
    });
}
