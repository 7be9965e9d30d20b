//! Counters change in place, and unlinking freezes them first: no acknowledged INCR is lost.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model, value};
use ringdb::table::{Change, Participant};

/// g: two increments and a GETDEL: what was taken plus what is left is what was acknowledged.
#[test]
fn increments_and_getdel_have_one_order() {
    model(2, || {
        let small = Small::new();
        small.update(0, |_| (small.put_counter(0, 10), ()));
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.incr(0));
        let second = thread::spawn(move || s2.incr(0));
        let taken = small.getdel(0).expect("it was there");
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        let left = small.get(0).unwrap_or(0);
        assert_eq!(taken - 10 + left, 2, "taken {taken}, left {left}, replies {first} {second}");
    });
}

/// h: the failing twin: a reader that takes the value for final without freezing must lose an increment somewhere.
#[test]
#[should_panic(expected = "lost")]
fn without_freeze_an_increment_is_lost() {
    model(3, || {
        let small = Small::new();
        small.update(0, |_| (small.put_counter(0, 10), ()));
        let other = small.clone();
        let increment = thread::spawn(move || other.incr(0));
        let seat = Participant::new();
        let guard = seat.pin();
        let entry = small.table.get(small.key(0), &guard).expect("it is there");
        let taken = value(entry); // Reads without freezing …
        small.table.update(small.key(0), &guard, |_| (Change::Remove, ())); // … and replies what it read.
        increment.join().unwrap();
        let left = small.get(0).unwrap_or(0);
        assert_eq!(taken - 10 + left, 1, "lost");
    });
}
