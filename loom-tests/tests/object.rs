//! Collections under their locks: take the lock, find it alive, change, unlink when empty; and several of them at once.
//!
//! A list is a number of things, and a key without things is not there.
#![cfg(loom)]

use loom::thread;
use loom_tests::{Small, model};
use std::sync::Arc;

/// Key `n` holds a list of `count` things.
fn with_lists(lists: &[(usize, u64)]) -> Arc<Small> {
    let small = Small::new();
    for &(n, count) in lists {
        (0..count).for_each(|_| assert!(small.push(n) > 0));
    }
    small
}

/// Runs `f` beside the model's own thread.
fn beside<R: Send + 'static>(
    small: &Arc<Small>,
    f: impl FnOnce(&Small) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let small = small.clone();
    thread::spawn(move || f(&small))
}

model! {
    /// LPUSH beside an LPOP that empties the list: what is pushed is in the list that has the key.
    fn a_push_beside_the_pop_that_empties_is_not_lost(bound = 3, caught = [UnlinkedStaysAlive]) {
        let small = with_lists(&[(0, 1)]);
        let popper = beside(&small, |small| small.pop(0));
        let len = small.push(0);
        assert!(popper.join().unwrap());
        assert!(len == 1 || len == 2);
        assert_eq!((small.len(0), small.copies(0)), (Some(1), 1));
    }
}

model! {
    /// LPUSH, LPUSH and LPOP, and the key comes and goes.
    fn pushes_and_pops_leave_their_sum(bound = 1, caught = [UnlinkedStaysAlive]) {
        let small = with_lists(&[(0, 1)]);
        let popper = beside(&small, |small| small.pop(0));
        let pusher = beside(&small, |small| small.push(0));
        small.push(0);
        assert!(popper.join().unwrap());
        pusher.join().unwrap();
        assert_eq!((small.len(0), small.copies(0)), (Some(2), 1));
    }
}

model! {
    /// Each push begins where the other one has ended.
    fn two_pushes_take_turns(bound = 2, caught = [UnlockRelaxed]) {
        let small = with_lists(&[(0, 1)]);
        let other = beside(&small, |small| small.push(0));
        let lens = [small.push(0), other.join().unwrap()];
        assert!(lens == [2, 3] || lens == [3, 2], "{lens:?}");
    }
}

model! {
    /// Of two who make the list one makes it.
    fn two_first_pushes_share_a_list(bound = 2, caught = [CommitWithoutFind]) {
        let small = Small::new();
        let other = beside(&small, |small| small.push(0));
        let lens = [small.push(0), other.join().unwrap()];
        assert!(lens == [1, 2] || lens == [2, 1], "{lens:?}");
        assert_eq!((small.len(0), small.copies(0)), (Some(2), 1));
    }
}

model! {
    /// Nobody reads or counts a list whose last thing is being taken, or into which nothing has been put yet.
    fn an_empty_list_is_never_seen(bound = 2, caught = [UnlinkedStaysAlive]) {
        let small = with_lists(&[(0, 1)]);
        let writer = beside(&small, |small| (small.pop(0), small.push(0)));
        let seen = (small.len(0), small.exists(0), small.len(0));
        assert_ne!(seen.0, Some(0));
        assert_ne!(seen.2, Some(0));
        assert_eq!(writer.join().unwrap(), (true, 1));
        assert!(small.exists(0));
    }
}

model! {
    /// DEL against LPUSH: the pushed thing is deleted with the list, or begins a new one.
    fn a_push_beside_a_delete_is_in_one_of_two_lists(bound = 3, caught = []) {
        let small = with_lists(&[(0, 1)]);
        let deleter = beside(&small, |small| small.del(0));
        let len = small.push(0);
        assert!(deleter.join().unwrap());
        let end = (len, small.len(0));
        assert!(end == (2, None) || end == (1, Some(1)), "{end:?}");
    }
}

model! {
    /// RENAME against LPUSH: the pushed thing moves with the list, or begins a new one.
    fn a_push_beside_a_rename_is_in_one_of_two_lists(bound = 2, caught = [LockWithoutObject]) {
        let small = with_lists(&[(0, 1)]);
        let renamer = beside(&small, |small| small.rename_list(0, 1));
        let len = small.push(0);
        assert!(renamer.join().unwrap());
        let end = (len, small.len(0), small.len(1));
        assert!(end == (2, None, Some(2)) || end == (1, Some(1), Some(1)), "{end:?}");
    }
}

model! {
    /// RENAME against the LPOP that empties the list: it is popped before or after, and no empty list appears anywhere.
    fn a_pop_beside_a_rename_happens_before_it_or_finds_nothing(bound = 2, caught = [LockWithoutObject]) {
        let small = with_lists(&[(0, 1)]);
        let renamer = beside(&small, |small| small.rename_list(0, 1));
        let popped = small.pop(0);
        let end = (popped, renamer.join().unwrap(), small.len(0), small.len(1));
        assert!(end == (true, false, None, None) || end == (false, true, None, Some(1)), "{end:?}");
    }
}

model! {
    /// EXPIRE gives the list a new entry while somebody pushes.
    fn a_push_beside_a_new_deadline_is_not_lost(bound = 2, caught = [UnlinkWithoutLock]) {
        let small = with_lists(&[(0, 1)]);
        let other = beside(&small, |small| small.expire_list(0));
        assert_eq!(small.push(0), 2);
        assert!(other.join().unwrap());
        assert_eq!((small.len(0), small.copies(0)), (Some(2), 1));
    }
}

model! {
    /// LMOVE against RENAME of its source: the things stay together, or one has moved before.
    fn a_move_beside_a_rename_keeps_everything(bound = 1, caught (bound = 2) = [LockWithoutObject]) {
        let small = with_lists(&[(0, 2)]);
        let renamer = beside(&small, |small| small.rename_list(0, 1));
        let moved = small.lmove(0, 1);
        assert!(renamer.join().unwrap());
        // Moved before: the list that was renamed, with one thing less, takes the place of the one with the moved thing.
        let end = (moved, small.len(0), small.len(1));
        assert!(end == (true, None, Some(1)) || end == (false, None, Some(2)), "{end:?}");
    }
}

model! {
    /// Two LMOVEs in opposite directions: no deadlock, nothing lost, emptied lists go.
    fn moves_in_opposite_directions_pass_each_other(bound = 2, caught = [UnlinkedStaysAlive]) {
        let small = with_lists(&[(0, 1)]);
        let other = beside(&small, |small| small.lmove(1, 0));
        assert!(small.lmove(0, 1));
        let back = other.join().unwrap();
        let end = (small.len(0), small.len(1));
        assert_eq!(end, if back { (Some(1), None) } else { (None, Some(1)) });
    }
}

model! {
    /// Who looks at two lists at one instant finds the thing that is moved in one of them.
    fn a_moved_thing_is_always_in_one_list(bound = 2, caught = []) {
        let small = with_lists(&[(0, 1)]);
        let mover = beside(&small, |small| small.lmove(0, 1));
        let seen = small.lens(0, 1);
        assert!(seen == (Some(1), None) || seen == (None, Some(1)), "{seen:?}");
        assert!(mover.join().unwrap());
    }
}

model! {
    /// Who misses the first of two keys at one instant also misses the one that is filled after it.
    fn keys_that_are_absent_are_absent_at_the_same_instant(bound = 2, caught = [HeldWithoutLook]) {
        let small = Small::new();
        // Locked in the order of their hashes: the first one is looked at first.
        let (first, second) = if small.key(0).hash < small.key(1).hash { (0, 1) } else { (1, 0) };
        let writer = beside(&small, move |small| (small.push(first), small.push(second)));
        let (one, two) = small.lens(first, second);
        assert!(one.is_some() || two.is_none(), "{one:?} {two:?}");
        writer.join().unwrap();
    }
}

model! {
    /// RENAME onto a key into which somebody pushes, who meets the record of the staged command: whoever has locked objects is
    /// waited for, not aborted.
    fn a_push_onto_the_new_name_of_a_rename_comes_before_or_behind_it(bound = 1, caught = []) {
        let small = with_lists(&[(0, 1)]);
        let renamer = beside(&small, |small| small.rename_list(0, 1));
        let len = small.push(1);
        assert!(renamer.join().unwrap());
        let end = (len, small.len(0), small.len(1));
        assert!(end == (2, None, Some(2)) || end == (1, None, Some(1)), "{end:?}");
    }
}

model! {
    /// A staged command over two lists against one that holds them.
    fn a_staged_command_and_held_lists_exclude_each_other(bound = 1, caught = []) {
        let small = with_lists(&[(0, 1), (1, 1)]);
        let renamer = beside(&small, |small| small.rename_list(0, 1));
        let moved = small.lmove(1, 0);
        assert!(moved);
        assert!(renamer.join().unwrap());
        // LMOVE then RENAME: one list of two. RENAME then LMOVE: one list of one, which goes back under the old name.
        let end = (small.len(0), small.len(1));
        assert!(end == (None, Some(2)) || end == (Some(1), None), "{end:?}");
    }
}
