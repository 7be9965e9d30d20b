//! Reading several keys as of one instant, without a lock.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};

model! {
    /// MGET sees all or nothing of an MSET, also of a key that was absent.
    fn mget_sees_all_or_nothing_of_an_mset(bound = 1, caught (bound = 2) = [SnapshotOnePass, StatusIgnored]) {
        let small = Small::new();
        small.set(0, 1);
        let writer = small.clone();
        let writer = thread::spawn(move || writer.mset(&[0, 1], 2));
        let both = small.mget(&[0, 1]);
        assert!(both == [Some(1), None] || both == [Some(2), Some(2)], "{both:?}");
        writer.join().unwrap();
    }
}

model! {
    /// MGET and two writes one after the other, the first of which inserts: the second is never seen alone.
    fn mget_sees_writes_in_order(bound = 3, caught = [SnapshotOnePass]) {
        let small = Small::new();
        small.set(1, 1);
        let writer = small.clone();
        let writer = thread::spawn(move || (writer.set(0, 2), writer.set(1, 2)));
        let both = small.mget(&[0, 1]);
        assert!(both != [None, Some(2)], "{both:?}");
        writer.join().unwrap();
    }
}

model! {
    /// Two counters that change in place, one after the other.
    fn mget_of_counters_is_one_instant(bound = 2, caught = [SnapshotOfCounters]) {
        let small = Small::new();
        small.set_counter(0, 0);
        small.set_counter(1, 0);
        let writer = small.clone();
        let writer = thread::spawn(move || (writer.add(0, 1), writer.add(1, 1)));
        let both = small.mget(&[0, 1]);
        assert!(both[0] >= both[1], "{both:?}");
        assert_eq!(writer.join().unwrap(), (1, 1));
    }
}

model! {
    /// Two deadlines that are put off in place, one after the other.
    fn a_snapshot_of_deadlines_is_one_instant(bound = 3, caught = [SnapshotOfDeadlines]) {
        let small = Small::new();
        small.set_until(0, 0, 10);
        small.set_until(1, 0, 10);
        let writer = small.clone();
        let writer = thread::spawn(move || (writer.expire_at(0, 20), writer.expire_at(1, 20)));
        let both = small.snapshot(&[0, 1], |entry| entry.expires_at());
        assert!(both[0] >= both[1], "{both:?}");
        assert_eq!(writer.join().unwrap(), (true, true));
    }
}

model! {
    /// A snapshot while its group is moved.
    fn mget_survives_a_move(bound = 2, caught = [MovedBeforeFilled]) {
        let small = Small::with(&[0, 1]);
        let mover = small.clone();
        let mover = thread::spawn(move || mover.resize(true));
        assert_eq!(small.mget(&[0, 1]), [Some(0), Some(1)]);
        mover.join().unwrap();
    }
}
