//! Reserve, fill, commit: a key is never there twice, and a freed slot can be reused at once.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

/// a: two inserters of one key and a remover. Inserts minus removals = copies.
#[test]
fn one_key_has_at_most_one_entry() {
    model(2, || {
        let small = Small::new();
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        let removed = small.getdel(0).is_some();
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!(small.copies(0), inserted - removed as usize);
    });
}

/// b: a remover frees the slot that inserters of another key want.
#[test]
fn a_freed_slot_is_reused_without_a_duplicate() {
    model(2, || {
        let small = Small::new();
        small.set(2, 9);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(0, 1));
        let second = thread::spawn(move || s2.setnx(0, 2));
        assert_eq!(small.getdel(2), Some(9));
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!((inserted, small.copies(0), small.copies(2)), (1, 1, 0));
    });
}

/// A reader never sees a value that then was never there: what it read stays until somebody removes it.
#[test]
fn a_read_value_was_committed() {
    model(2, || {
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
    });
}

/// The group is full (two slots, one spill line of two): inserts go through the set-valued slot.
#[test]
fn an_overflowing_group_keeps_every_key_once() {
    model(2, || {
        let small = Small::new();
        for n in 0..4 {
            small.set(n, n as i64);
        }
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.setnx(4, 1));
        let second = thread::spawn(move || s2.setnx(4, 2));
        let inserted = first.join().unwrap() as usize + second.join().unwrap() as usize;
        assert_eq!(inserted, 1);
        for n in 0..5 {
            assert_eq!(small.copies(n), 1, "key {n}");
        }
    });
}
