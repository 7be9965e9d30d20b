//! While an initiator works, no other loop touches the table.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::thread;
use loom_tests::model;
use ringdb::base::ids::LoopId;
use ringdb::keyspace::safepoint::{Safepoint, Stay};
use std::sync::Arc;

type Shared = Arc<(Safepoint, UnsafeCell<i32>)>;

fn shared() -> Shared {
    Arc::new((Safepoint::new(2), UnsafeCell::new(0)))
}

/// The cell is not atomic: loom reports any access that is not ordered with the others.
fn touch(shared: &Shared) {
    // SAFETY: the model's claim: the safepoint keeps everybody else away.
    shared.1.with_mut(|cell| unsafe { *cell += 1 });
}

model! {
    fn an_initiator_is_alone(bound = 3, caught = [LeaveWithoutFence, StopWithoutFence]) {
        let mine = shared();
        let other = mine.clone();
        let turn = thread::spawn(move || {
            other.0.leave_kernel(LoopId(1));
            touch(&other);
            other.0.enter_kernel(LoopId(1));
        });
        mine.0.leave_kernel(LoopId(0));
        mine.0.run(LoopId(0), || touch(&mine));
        mine.0.enter_kernel(LoopId(0));
        turn.join().unwrap();
    }
}

model! {
    /// Two initiators take turns: who stands still sleeps, and is woken.
    fn two_initiators_take_turns(bound = 2, caught = [RingWithoutFence]) {
        let mine = shared();
        let initiate = |shared: &Shared, me| {
            shared.0.leave_kernel(LoopId(me));
            shared.0.run(LoopId(me), || touch(shared));
            shared.0.enter_kernel(LoopId(me));
        };
        let other = mine.clone();
        let second = thread::spawn(move || initiate(&other, 1));
        initiate(&mine, 0);
        second.join().unwrap();
        // SAFETY: both are done.
        mine.1.with(|cell| assert_eq!(unsafe { *cell }, 2));
    }
}

model! {
    /// A safepoint inside a safepoint does not end it.
    fn an_initiator_is_alone_behind_an_inner_safepoint(bound = 3, caught = [InnerLeaves]) {
        let mine = shared();
        let other = mine.clone();
        let turn = thread::spawn(move || {
            other.0.leave_kernel(LoopId(1));
            touch(&other);
            other.0.poll(LoopId(1));
            touch(&other);
            other.0.enter_kernel(LoopId(1));
        });
        mine.0.leave_kernel(LoopId(0));
        mine.0.enter(LoopId(0), Stay::Long);
        mine.0.run(LoopId(0), || touch(&mine));
        touch(&mine);
        mine.0.leave(LoopId(0));
        mine.0.enter_kernel(LoopId(0));
        turn.join().unwrap();
    }
}
