//! Reserve, fill, commit: a key is never there twice, and a freed slot can be reused at once.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// Two inserters of one key and a remover: inserts minus removals are the copies.
    fn one_key_has_at_most_one_entry(bound = 2, caught = [CommitWithoutFind, CommitRelaxed]) {
        let small = Small::new();
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        let removed = small.getdel(0).is_some();
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        let copies = small.copies(0);
        assert!(copies <= 1 && copies == inserted - removed as usize, "{copies} copies of {inserted}");
    }
}

model! {
    /// A remover frees the slot that inserters of another key want.
    fn a_freed_slot_is_reused_without_a_duplicate(bound = 1, caught (bound = 2) = [CommitWithoutFind]) {
        let small = Small::with(&[2]);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        assert_eq!(small.getdel(2), Some(2));
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!((inserted, small.copies(0), small.copies(2)), (1, 1, 0));
    }
}

model! {
    /// A reader never sees a value that then was never there: what it read stays until somebody removes it.
    fn a_read_value_was_committed(bound = 1, caught (bound = 2) = [HitWithoutSecondLook, FillRelaxed]) {
        let small = Small::new();
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        let (seen, again) = (small.get(0), small.get(0));
        first.join().unwrap();
        second.join().unwrap();
        if seen.is_some() {
            assert_eq!((seen, seen), (again, small.get(0)));
        }
    }
}

model! {
    /// What a replaced slot points to is there when the word is.
    fn a_replaced_value_is_read_whole(bound = 3, caught = [ReplaceRelaxed]) {
        let small = Small::with(&[0]);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.set(0, 1));
        let (seen, again) = (small.get(0), small.get(0));
        assert!(seen.is_some() && seen <= again, "{seen:?} then {again:?}");
        assert_eq!(writer.join().unwrap(), Some(0));
    }
}
