//! Several keys at one instant: readers see all or nothing, and a stalled owner is aborted, not waited for.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// Who saw one key new sees the other new, by GET after GET.
    fn gets_in_sequence_never_see_half_of_an_mset(bound = 2, caught = [StatusIgnored, StatusRelaxed]) {
        let small = Small::new();
        small.set(0, 1);
        small.set(1, 1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.mset(&[0, 1], 2));
        let first = small.get(0);
        let second = small.get(1);
        assert!(first.is_some() && first <= second, "{first:?} {second:?}");
        writer.join().unwrap();
        assert_eq!((small.get(0), small.get(1)), (Some(2), Some(2)));
    }
}

model! {
    /// Two staged commands over the same keys, given in opposite order, and both commit.
    fn two_msets_leave_equal_keys(bound = 2, caught = [FinishedWhileActive]) {
        let small = Small::with(&[0]);
        let other = small.clone();
        let other = thread::spawn(move || other.mset(&[1, 0], 2));
        small.mset(&[0, 1], 1);
        other.join().unwrap();
        let both = [small.get(0), small.get(1)];
        assert!(both == [Some(1), Some(1)] || both == [Some(2), Some(2)], "{both:?}");
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}

model! {
    /// A single-key writer against a staged command: the writer waits a moment, aborts, and nothing is lost or half done.
    fn a_writer_aborts_a_stalled_owner_and_both_happen(bound = 2, caught = []) {
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
    }
}

model! {
    /// A record that a move has carried to the next generation is finished there.
    fn a_record_is_finished_wherever_it_lives(bound = 1, caught = []) {
        let small = Small::with(&[0]);
        let (owner, mover) = (small.clone(), small.clone());
        let owner = thread::spawn(move || owner.mset(&[0, 1], 2));
        let mover = thread::spawn(move || mover.resize(true));
        owner.join().unwrap();
        mover.join().unwrap();
        assert_eq!([small.get(0), small.get(1)], [Some(2), Some(2)]);
        assert_eq!((small.copies(0), small.copies(1)), (1, 1));
    }
}

model! {
    /// A writer meets a record in a group whose mover has stalled: it finishes both, waiting for nobody.
    fn a_writer_passes_a_record_in_a_frozen_group(bound = 1, caught (bound = 2) = [FrozenRecordMissed]) {
        let small = Small::with(&[0]);
        let (owner, mover) = (small.clone(), small.clone());
        let owner = thread::spawn(move || owner.mset(&[0], 2));
        let mover = thread::spawn(move || mover.resize(true));
        let old = small.set(0, 3);
        owner.join().unwrap();
        mover.join().unwrap();
        let end = (old, small.get(0));
        assert!(end == (Some(0), Some(2)) || end == (Some(2), Some(3)), "{end:?}");
    }
}

model! {
    /// RENAME: whoever misses the old name finds the new one.
    fn a_renamed_key_is_always_somewhere(bound = 2, caught = [StatusIgnored]) {
        let small = Small::new();
        small.set_counter(0, 7);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.rename(0, 1));
        let (old, new) = (small.get(0), small.get(1));
        assert!(old.is_some() || new == Some(7), "{old:?} {new:?}");
        assert!(writer.join().unwrap());
        assert_eq!((small.get(0), small.get(1), small.copies(0), small.copies(1)), (None, Some(7), 0, 1));
    }
}

model! {
    /// RENAME against INCR: the increment is in the renamed value, or it made a new key.
    fn an_increment_is_renamed_or_stays(bound = 2, caught = [LockWithoutFreeze, FreezeOnlyReads]) {
        let small = Small::new();
        small.set_counter(0, 7);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.rename(0, 1));
        let sum = small.add(0, 1);
        assert!(writer.join().unwrap());
        let end = (sum, small.get(0), small.get(1));
        assert!(end == (8, None, Some(8)) || end == (1, Some(1), Some(7)), "{end:?}");
    }
}
