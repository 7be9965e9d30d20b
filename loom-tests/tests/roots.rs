//! A database's table is made by whoever writes first; of two first writers one makes it.
#![cfg(loom)]

use loom::thread;
use loom_tests::model;
use ringdb::base::hash::{Key, KeyHasher};
use ringdb::table::roots::Roots;
use ringdb::table::{Change, Kind, NewEntry, Participant, Source};
use std::sync::Arc;

fn write(roots: &Roots, name: &[u8]) {
    let seat = Participant::new();
    let guard = seat.pin();
    let table = roots.get_or_create(0, &guard);
    table.update(Key::new(roots.hasher(), name), &guard, |_| {
        (Change::Put(NewEntry::new(Kind(0), name, None, 0, Source::Inline(b"1"))), ())
    });
}

model! {
    fn two_first_writers_share_a_table(bound = 2, caught = [RootWithoutCompare]) {
        let roots = Arc::new(Roots::new(1, KeyHasher::seeded(1)));
        let other = roots.clone();
        let other = thread::spawn(move || write(&other, b"a"));
        write(&roots, b"b");
        other.join().unwrap();
        let seat = Participant::new();
        let guard = seat.pin();
        let table = roots.get(0, &guard).expect("somebody made it");
        for name in [b"a", b"b"] {
            assert!(table.get(Key::new(roots.hasher(), name), &guard).is_some());
        }
    }
}
