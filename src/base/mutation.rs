//! Mutations: deliberate mistakes in the protocols, so that the models themselves are tested.
//!
//! A model that no mistake breaks proves nothing. So each protocol asks, at the step that matters, whether that step is to
//! be left out or weakened, and `loom-tests/` runs its models as they are and once more for each mutation that they must
//! catch. Outside the model checker the answer is a constant false, and the compiler removes the question with the branch.

#![forbid(unsafe_code)]

use super::sync::{Ordering, fence};

/// What can be left out or weakened, by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// probe: a hit is believed without a second look at the head.
    HitWithoutSecondLook,
    /// probe: a miss is believed although a slot became set-valued meanwhile.
    MissInBundle,
    /// probe: a failed commit is tried again without looking for the key.
    CommitWithoutFind,
    /// probe: the word is stored Relaxed.
    FillRelaxed,
    /// probe: the CAS that ends an insert is Relaxed.
    CommitRelaxed,
    /// probe: replace and remove are Relaxed.
    ReplaceRelaxed,
    /// probe: a removed slot looks like one that no move has filled yet.
    RemoveToUninit,
    /// mod: a decision stands although a cell has moved before it was frozen.
    DecideBeforeFreeze,
    /// mod: a decision stands if the counter has the same value before and after it.
    CounterComesBack,
    /// bundle: the set is replaced without comparing it.
    BundleWithoutCompare,
    /// entry: freeze reads, but freezes nothing.
    FreezeOnlyReads,
    /// entry: a deadline becomes earlier in place.
    DeadlineShortened,
    /// resize: a move does not freeze the words.
    WordsNotFrozen,
    /// resize: of two sources only the first is frozen.
    OneSourceFrozen,
    /// resize: a group is declared moved before its destination is filled.
    MovedBeforeFilled,
    /// resize: counting moved groups orders nothing.
    MovedCountRelaxed,
    /// scan: a class of the larger size is not folded to the smaller one.
    ClassNotFolded,
    /// staged: readers take the new word whatever the status says.
    StatusIgnored,
    /// staged: the commit is Relaxed.
    StatusRelaxed,
    /// staged: whoever has waited enough finishes the key without aborting its owner.
    FinishedWhileActive,
    /// staged: a record is not recognised in a frozen slot.
    FrozenRecordMissed,
    /// staged: locked entries are not frozen.
    LockWithoutFreeze,
    /// staged: locked objects are not locked.
    LockWithoutObject,
    /// section: its owner may be aborted while it is at work.
    SectionNotPinned,
    /// section: collections are changed where everybody finds them.
    SectionInPlace,
    /// object: an unlinked object is not marked dead.
    UnlinkedStaysAlive,
    /// object: whoever finds it dead may find its entry again.
    DeathRelaxed,
    /// object: the exclusive lock is given back Relaxed.
    UnlockRelaxed,
    /// mod: an object's entry is unlinked without its lock.
    UnlinkWithoutLock,
    /// held: keys without an object are not looked at again.
    HeldWithoutLook,
    /// staged: several keys are read in one pass.
    SnapshotOnePass,
    /// staged: several counters are read without a lock.
    SnapshotOfCounters,
    /// staged: deadlines are not compared by the second pass.
    SnapshotOfDeadlines,
    /// roots: a new table is stored without comparing.
    RootWithoutCompare,
    /// reclaim: what is retired is freed at once.
    RetiredIsFreed,
    /// quiescence: no fence when going online (E2).
    EnterWithoutFence,
    /// quiescence: no fence before looking at the seats (A1).
    AdvanceWithoutFence,
    /// quiescence: a quiescent seat is announced Relaxed.
    QuiesceRelaxed,
    /// quiescence: freed one epoch too early.
    GraceTooShort,
    /// safepoint: no fence when leaving the kernel (W2).
    LeaveWithoutFence,
    /// safepoint: no fence after the stop (I2).
    StopWithoutFence,
    /// bell: whoever ends a wait looks for sleepers without a fence before it.
    RingWithoutFence,
    /// safepoint: the end of an inner one lets the others go on.
    InnerLeaves,
    /// wait: claims order nothing.
    ClaimRelaxed,
    /// wait: whoever finds a wait claimed goes away without a note.
    ClaimWithoutNote,
    /// waiters: no fence between joining and looking again (J3).
    JoinWithoutFence,
    /// waiters: no fence between filling and asking who waits (P2).
    FillWithoutFence,
    /// waiters: a client joins a queue that was given up.
    JoinDetached,
    /// watched: no fence between beginning to watch and reading (V2).
    WatchWithoutFence,
    /// watched: no fence between changing a key and asking who watches (T2).
    TouchWithoutFence,
    /// order: a stripe is given back Relaxed.
    StripeRelaxed,
    /// handover: a writer does not hand over what it changes.
    HandoverSkipped,
    /// handover: whoever has encoded an entry gives it to the snapshot, claimed or not.
    ClaimIgnored,
    /// handover: an entry is claimed before it is encoded.
    ClaimedFirst,
    /// entry: new entries are born in an era before the present one.
    BornBefore,
    /// mailbox: no fence in `send` (S2).
    SendWithoutFence,
    /// mailbox: no fence in `prepare_sleep` (L2).
    SleepWithoutFence,
}

/// Is this mutation switched on?
#[cfg(not(loom))]
#[inline(always)]
pub const fn mutated(_mutation: Mutation) -> bool {
    false
}

/// `right`, or `wrong` under the mutation.
#[inline(always)]
pub fn unless<T>(mutation: Mutation, right: T, wrong: T) -> T {
    if mutated(mutation) { wrong } else { right }
}
/// `ordering`, or Relaxed under the mutation.
#[inline(always)]
pub fn weakened(mutation: Mutation, ordering: Ordering) -> Ordering {
    unless(mutation, ordering, Ordering::Relaxed)
}
/// A SeqCst fence, left out under the mutation.
#[inline(always)]
pub fn fence_unless(mutation: Mutation) {
    if !mutated(mutation) {
        fence(Ordering::SeqCst);
    }
}

#[cfg(loom)]
pub use chosen::{mutate, mutated};

#[cfg(loom)]
mod chosen {
    use super::Mutation;
    use std::cell::Cell;

    // Per OS thread: loom runs all threads of one model on one of them, and the test harness runs models side by side.
    thread_local!(static CHOSEN: Cell<Option<Mutation>> = const { Cell::new(None) });

    /// Switches one mutation on for this thread's models.
    pub fn mutate(mutation: Option<Mutation>) {
        CHOSEN.set(mutation);
    }
    pub fn mutated(mutation: Mutation) -> bool {
        CHOSEN.get() == Some(mutation)
    }
}
