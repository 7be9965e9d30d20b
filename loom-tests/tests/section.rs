//! Transactions that hold their keys: whatever runs inside happens at one instant, and nobody sees half of it.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};
use std::sync::Arc;

/// Keys 0 and 1 hold 1.
fn ones() -> Arc<Small> {
    let small = Small::new();
    small.set(0, 1);
    small.set(1, 1);
    small
}

/// Key 0 holds 1, key 1 a list of so many things.
fn one_and_list(count: u64) -> Arc<Small> {
    let small = Small::new();
    small.set(0, 1);
    (0..count).for_each(|_| assert!(small.push(1) > 0));
    small
}

model! {
    /// Who saw one key new sees the other new; what was overwritten inside is never seen.
    fn half_a_transaction_is_never_read(bound = 2, caught = [StatusIgnored, StatusRelaxed]) {
        let small = ones();
        let writer = small.clone();
        let writer = thread::spawn(move || writer.exec(&[1, 0], |inside| {
            inside.set(0, 5);
            inside.set(0, 2);
            inside.set(1, 2);
            (inside.get(0), inside.get(1))
        }));
        let (first, second) = (small.get(0), small.get(1));
        assert!(first == Some(1) || first == Some(2), "{first:?}");
        assert!(first <= second, "{first:?} {second:?}");
        assert_eq!(writer.join().unwrap(), Some((Some(2), Some(2))));
        assert_eq!((small.get(0), small.get(1), small.copies(0), small.copies(1)), (Some(2), Some(2), 1, 1));
    }
}

model! {
    /// Two transactions that read before they write: neither misses what the other has done.
    fn two_transactions_take_turns(bound = 2, caught = [SectionNotPinned]) {
        let small = ones();
        let other = small.clone();
        let both = |small: &Small, keys: &[usize]| {
            small.exec(keys, |inside| keys.iter().for_each(|&n| inside.set(n, inside.get(n).unwrap() + 1)))
        };
        let other = thread::spawn(move || both(&other, &[1, 0]));
        let done = both(&small, &[0, 1]).is_some() as i64 + other.join().unwrap().is_some() as i64;
        assert_eq!((small.get(0), small.get(1)), (Some(1 + done), Some(1 + done)));
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}

model! {
    /// A SET beside a transaction comes before it or behind it.
    fn a_writer_waits_for_the_end(bound = 2, caught = []) {
        let small = ones();
        let owner = small.clone();
        let owner = thread::spawn(move || owner.exec(&[0, 1], |inside| {
            inside.set(0, inside.get(0).unwrap() + 1);
            inside.set(1, inside.get(1).unwrap() + 1);
        }));
        let old = small.set(1, 5);
        assert!(owner.join().unwrap().is_some());
        let end = (old, small.get(0), small.get(1));
        assert!(end == (Some(2), Some(2), Some(5)) || end == (Some(1), Some(2), Some(6)), "{end:?}");
    }
}

model! {
    /// An INCR beside a transaction that counts, too.
    fn no_increment_is_lost(bound = 2, caught = [LockWithoutFreeze]) {
        let small = Small::new();
        small.set_counter(0, 7);
        let owner = small.clone();
        let owner = thread::spawn(move || owner.exec(&[0, 1], |inside| (inside.add(0, 10), inside.add(0, 10), inside.add(1, 1))));
        let sum = small.add(0, 1);
        let inside = owner.join().unwrap();
        assert!(sum == 8 && inside == Some((18, 28, 1)) || sum == 28 && inside == Some((17, 27, 1)), "{sum} {inside:?}");
        assert_eq!((small.get(0), small.get(1)), (Some(28), Some(1)));
    }
}

model! {
    /// Who reads a list and then a string sees both as they were before a transaction, or as they are behind it.
    fn a_list_in_the_midst_of_a_transaction_is_not_read(bound = 2, caught = [SectionInPlace]) {
        let small = one_and_list(1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.exec(&[0, 1], |inside| {
            let lens = [inside.push(1), inside.push(1)];
            inside.set(0, 2);
            (lens, inside.len(1))
        }));
        let (len, number) = (small.len(1), small.get(0));
        assert!(len == Some(1) || (len, number) == (Some(3), Some(2)), "{len:?} {number:?}");
        assert_eq!(writer.join().unwrap(), Some(([2, 3], Some(3))));
        assert_eq!((small.len(1), small.copies(1)), (Some(3), 1));
    }
}

model! {
    /// The same the other way round.
    fn a_list_behind_a_transaction_is_read_as_it_left_it(bound = 2, caught = [StatusRelaxed]) {
        let small = one_and_list(1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.exec(&[0, 1], |inside| {
            inside.set(0, 2);
            inside.push(1)
        }));
        let (number, len) = (small.get(0), small.len(1));
        assert!(number == Some(1) || len == Some(2), "{number:?} {len:?}");
        assert_eq!(writer.join().unwrap(), Some(2));
    }
}

model! {
    /// A list is emptied and made again inside, while somebody pushes.
    fn a_push_beside_a_list_that_comes_and_goes_is_kept(bound = 2, caught = [SectionInPlace]) {
        let small = one_and_list(1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.exec(&[1, 0], |inside| {
            let popped = (inside.pop(1), inside.pop(1), inside.pop(1), inside.len(1));
            inside.del(0);
            (popped.0, popped.2, popped.3, inside.push(1), inside.push(1))
        }));
        let len = small.push(1);
        let end = (writer.join().unwrap(), len, small.len(1));
        let before = (Some((true, false, None, 1, 2)), 2, Some(2));
        let behind = (Some((true, false, None, 1, 2)), 3, Some(3));
        assert!(end == before || end == behind, "{end:?}");
        assert_eq!((small.get(0), small.copies(1)), (None, 1));
    }
}

model! {
    /// A popped list beside a transaction that pushes: the pop that empties it must not wait for a record while it has the lock.
    fn the_pop_that_empties_and_a_transaction_both_end(bound = 2, caught = []) {
        let small = one_and_list(1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.exec(&[1], |inside| inside.push(1)));
        let popped = small.pop(1);
        let (len, end) = (writer.join().unwrap(), small.len(1));
        assert!(popped && (len, end) == (Some(1), Some(1)) || popped && (len, end) == (Some(2), Some(1)), "{len:?} {end:?}");
    }
}

model! {
    /// MSET inside, and an MSET beside it.
    fn commands_on_several_keys_run_inside(bound = 1, caught (bound = 2) = [SectionNotPinned]) {
        let small = Small::with(&[0]);
        let other = small.clone();
        let other = thread::spawn(move || other.mset(&[1, 0], 4));
        let seen = small.exec(&[0, 1], |inside| {
            inside.mset(&[1, 0], 2);
            inside.mset(&[0, 1], 3);
            (inside.get(0), inside.get(1))
        });
        other.join().unwrap();
        assert!(seen.is_none() || seen == Some((Some(3), Some(3))), "{seen:?}");
        let both = [small.get(0), small.get(1)];
        assert!(both == [Some(3), Some(3)] || both == [Some(4), Some(4)], "{both:?}");
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}

model! {
    /// The group is moved while a transaction holds keys of it.
    fn a_transaction_goes_on_in_a_group_that_moves(bound = 1, caught = []) {
        let small = Small::with(&[0]);
        let (owner, mover) = (small.clone(), small.clone());
        let owner = thread::spawn(move || owner.exec(&[0, 1], |inside| {
            inside.set(0, 2);
            inside.set(1, inside.get(0).unwrap());
        }));
        let mover = thread::spawn(move || mover.resize(true));
        assert!(owner.join().unwrap().is_some());
        mover.join().unwrap();
        assert_eq!([small.get(0), small.get(1)], [Some(2), Some(2)]);
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}
