//! A group that is full: it claims a spill line (two slots more, in models), then a slot becomes set-valued.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// Two inserters of different keys into a group with a full home line, and a reader.
    fn a_group_spills_without_losing_a_key(bound = 1, caught = []) {
        let small = Small::with(&[0, 1]);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(2, 2));
        let second = thread::spawn(move || s2.setnx(3, 3));
        assert_eq!(small.get(1), Some(1));
        assert!(first.join().unwrap() && second.join().unwrap());
        for n in 0..4 {
            assert_eq!((small.get(n), small.copies(n)), (Some(n as i64), 1), "key {n}");
        }
    }
}

model! {
    /// The group is full: inserts go through the set-valued slot.
    fn an_overflowing_group_keeps_every_key_once(bound = 2, caught = [BundleWithoutCompare]) {
        let small = Small::with(&[0, 1, 2, 3]);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(4, 1));
        let second = thread::spawn(move || s2.setnx(4, 2));
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!(inserted, 1);
        for n in 0..5 {
            assert_eq!(small.copies(n), 1, "key {n}");
        }
    }
}

model! {
    /// The word of a key that is there all the time is wrapped into a bundle while a reader looks for it.
    fn a_key_is_found_while_its_slot_becomes_a_set(bound = 2, caught = [MissInBundle]) {
        let small = Small::with(&[0, 1, 2, 3]);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.setnx(4, 4));
        assert_eq!((small.get(0), small.get(1)), (Some(0), Some(1)));
        assert!(writer.join().unwrap());
    }
}

model! {
    /// One thread replaces a bundled key, another removes its neighbour.
    fn changes_of_one_bundle_do_not_lose_each_other(bound = 2, caught = [BundleWithoutCompare]) {
        let small = Small::with(&[0, 1, 2, 3, 4]);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.set(0, 9));
        let second = thread::spawn(move || s2.getdel(4));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Some(0), Some(4)));
        assert_eq!((small.get(0), small.get(4)), (Some(9), None));
        assert_eq!((small.copies(0), small.copies(4)), (1, 0));
    }
}

model! {
    /// A group spills while it is moved: the key lands in exactly one generation.
    fn a_spill_survives_a_move(bound = 1, caught (bound = 2) = [WordsNotFrozen]) {
        let small = Small::with(&[0, 2]);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || (writer.setnx(1, 1), writer.getdel(0)));
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(writer.join().unwrap(), (true, Some(0)));
        mover.join().unwrap();
        for n in 0..3 {
            assert_eq!((small.get(n).is_some(), small.copies(n)), (n > 0, (n > 0) as usize), "key {n}");
        }
    }
}

model! {
    /// A bundle is dissolved by a move while one of its keys is replaced and another added.
    fn a_bundle_survives_a_move(bound = 1, caught = [WordsNotFrozen]) {
        let small = Small::with(&[0, 1, 2, 3, 4]);
        let (writer, mover) = (small.clone(), small.clone());
        let writer = thread::spawn(move || (writer.set(0, 9), writer.setnx(5, 5)));
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(writer.join().unwrap(), (Some(0), true));
        mover.join().unwrap();
        assert_eq!((small.get(0), small.get(5)), (Some(9), Some(5)));
        for n in 0..6 {
            assert_eq!(small.copies(n), 1, "key {n}");
        }
    }
}
