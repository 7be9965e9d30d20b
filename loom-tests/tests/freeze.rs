//! Counters and deadlines change in place; unlinking freezes them first, so no acknowledged change is lost.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model, small::value};
use ringdb::base::clock::WallMs;
use ringdb::table::Source;

model! {
    /// Two increments and a GETDEL: what was taken plus what is left is what was acknowledged.
    fn increments_and_getdel_have_one_order(bound = 2, caught = [FreezeOnlyReads, DecideBeforeFreeze]) {
        let small = Small::new();
        small.set_counter(0, 10);
        let (s1, s2) = (small.clone(), small.clone());
        let first = thread::spawn(move || s1.add(0, 1));
        let second = thread::spawn(move || s2.add(0, 1));
        let taken = small.getdel(0).expect("it was there");
        let (first, second) = (first.join().unwrap(), second.join().unwrap());
        let left = small.get(0).unwrap_or(0);
        assert_eq!(taken - 10 + left, 2, "taken {taken}, left {left}, replies {first} {second}");
    }
}

model! {
    /// A counter that goes up and comes back while GETDEL decides.
    fn a_counter_that_comes_back_is_not_mistaken(bound = 3, caught = [CounterComesBack]) {
        let small = Small::new();
        small.set_counter(0, 10);
        let writer = small.clone();
        let writer = thread::spawn(move || (writer.add(0, 1), writer.add(0, -1)));
        let taken = small.getdel(0).expect("it was there");
        let end = (taken, writer.join().unwrap(), small.get(0));
        let orders = [(10, (1, 0), Some(0)), (11, (11, -1), Some(-1)), (10, (11, 10), None)];
        assert!(orders.contains(&end), "{end:?}");
    }
}

model! {
    /// Lazy expiry against EXPIRE in place: a key whose deadline was put off is not removed.
    fn a_key_whose_deadline_was_put_off_stays(bound = 3, caught = [FreezeOnlyReads, DecideBeforeFreeze]) {
        let small = Small::new();
        small.set_until(0, 1, 10);
        let other = small.clone();
        let other = thread::spawn(move || other.remove_if_dead(0, 15));
        let is_put_off = small.expire_at(0, 20);
        let is_removed = other.join().unwrap();
        assert_eq!(is_put_off, !is_removed);
        assert_eq!(small.deadline(0), is_put_off.then_some(20));
    }
}

model! {
    /// SET KEEPTTL against a deadline that is put off and brought forward again.
    fn a_kept_deadline_is_the_last_one(bound = 3, caught = [DeadlineShortened]) {
        let small = Small::new();
        small.set_until(0, 1, 10);
        let other = small.clone();
        let other = thread::spawn(move || (other.expire_at(0, 20), other.expire_at(0, 10)));
        small.update(0, |old| {
            let kept = old.and_then(|old| old.expires_at()).map(|WallMs(at)| at);
            let value = old.map_or(0, value) + 1;
            (small.entry(0, kept, Source::Inline(&value.to_le_bytes())), ())
        });
        assert_eq!(other.join().unwrap(), (true, true));
        assert_eq!((small.get(0), small.deadline(0)), (Some(2), Some(10)));
    }
}
