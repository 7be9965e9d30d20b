//! What was unlinked is freed only when nobody can hold it any more.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::{Mutation, model, mutated};
use ringdb::base::sync::watched::unwatched;
use ringdb::table::reclaim::quiescence::{Epochs, GRACE};
use std::sync::Arc;

/// An object that is reachable while `link` is 1; freeing it is a write, reading it a read: loom reports a race.
struct Shared {
    epochs: Epochs,
    link: AtomicUsize,
    object: UnsafeCell<u32>,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { epochs: Epochs::default(), link: AtomicUsize::new(1), object: UnsafeCell::new(7) })
    }
    fn read(&self) {
        if self.link.load(Ordering::Acquire) == 1 {
            // SAFETY: the model's claim: reachable after `enter` means not freed before `leave`.
            self.object.with(|object| assert_eq!(unsafe { *object }, 7));
        }
    }
    /// Unlinks the object and frees it when its grace period is over; gives up when a reader holds the epoch.
    fn remove(&self, seat: usize) {
        let grace = if mutated(Mutation::GraceTooShort) { GRACE - 1 } else { GRACE };
        let retired_in = self.epochs.enter(seat);
        self.link.swap(0, Ordering::AcqRel);
        for _ in 0..=GRACE {
            let epoch = self.epochs.quiesce(seat);
            if epoch >= retired_in + grace {
                // SAFETY: the model's claim.
                self.object.with_mut(|object| unsafe { *object = 0 });
                break;
            }
            self.epochs.advance(epoch);
        }
        self.epochs.leave(seat);
    }
}

model! {
    /// A reader that comes from a sleep.
    fn a_reader_that_goes_online_is_seen(bound = 3, caught = [EnterWithoutFence, AdvanceWithoutFence]) {
        unwatched(); // Fences.
        let shared = Shared::new();
        let (mine, other) = (shared.epochs.take_seat(), shared.epochs.take_seat());
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.epochs.enter(other);
                shared.read();
                shared.epochs.leave(other);
            })
        };
        shared.remove(mine);
        reader.join().unwrap();
    }
}

model! {
    /// A reader that is online all the time, and quiesces between two reads.
    fn a_reader_that_quiesces_is_waited_for(bound = 3, caught = [GraceTooShort]) {
        unwatched(); // Fences.
        let shared = Shared::new();
        let (mine, other) = (shared.epochs.take_seat(), shared.epochs.take_seat());
        shared.epochs.enter(other);
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.read();
                let epoch = shared.epochs.quiesce(other);
                shared.epochs.advance(epoch);
                shared.read();
                shared.epochs.quiesce(other);
                shared.read();
                shared.epochs.leave(other);
            })
        };
        shared.remove(mine);
        reader.join().unwrap();
    }
}

model! {
    /// A reader that stays online: when it quiesces, its reads are over.
    fn a_reader_has_finished_when_it_quiesces(bound = 3, caught = [QuiesceRelaxed]) {
        unwatched(); // Fences.
        let shared = Shared::new();
        let (mine, other) = (shared.epochs.take_seat(), shared.epochs.take_seat());
        shared.epochs.enter(other);
        let reader = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.read();
                for _ in 1..GRACE {
                    shared.epochs.quiesce(other);
                }
            })
        };
        shared.remove(mine);
        reader.join().unwrap();
    }
}
