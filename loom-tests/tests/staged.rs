//! Several keys at one instant: readers see all or nothing, and a stalled owner is aborted, not waited for.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

/// f: who saw one key new sees the other new, by GET after GET.
#[test]
fn gets_in_sequence_never_see_half_of_an_mset() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        small.set(1, 1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.mset(&[0, 1], 2));
        let first = small.get(0);
        let second = small.get(1);
        assert!(first <= second, "{first:?} {second:?}");
        writer.join().unwrap();
        assert_eq!((small.get(0), small.get(1)), (Some(2), Some(2)));
    });
}

/// f: MGET sees one instant, also when a key is absent before.
#[test]
fn mget_sees_all_or_nothing_of_an_mset() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.mset(&[0, 1], 2));
        let both = small.mget(&[0, 1]);
        assert!(both == [Some(1), None] || both == [Some(2), Some(2)], "{both:?}");
        writer.join().unwrap();
    });
}

/// Two staged commands over the same keys, given in opposite order, and both commit.
#[test]
fn two_msets_leave_equal_keys() {
    model(2, || {
        let small = Small::new();
        small.set(0, 0);
        let other = small.clone();
        let other = thread::spawn(move || other.mset(&[1, 0], 2));
        small.mset(&[0, 1], 1);
        other.join().unwrap();
        let both = [small.get(0), small.get(1)];
        assert!(both == [Some(1), Some(1)] || both == [Some(2), Some(2)], "{both:?}");
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    });
}

/// A single-key writer against a staged command: the writer waits a moment, aborts, and nothing is lost or half done.
#[test]
fn a_writer_aborts_a_stalled_owner_and_both_happen() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        small.set(1, 1);
        let owner = small.clone();
        let owner = thread::spawn(move || owner.mset(&[0, 1], 2));
        let old = small.set(1, 3);
        owner.join().unwrap();
        // MSET then SET (old 2, ends 2 and 3), or SET then MSET (old 1, ends 2 and 2).
        let end = (old, small.get(0), small.get(1));
        assert!(end == (Some(2), Some(2), Some(3)) || end == (Some(1), Some(2), Some(2)), "{end:?}");
    });
}

/// A record that a move has carried to the next generation is finished there.
#[test]
fn a_record_is_finished_wherever_it_lives() {
    model(2, || {
        let small = Small::new();
        small.set(0, 1);
        let (owner, mover) = (small.clone(), small.clone());
        let owner = thread::spawn(move || owner.mset(&[0, 1], 2));
        let mover = thread::spawn(move || mover.resize(true));
        owner.join().unwrap();
        mover.join().unwrap();
        assert_eq!([small.get(0), small.get(1)], [Some(2), Some(2)]);
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    });
}
