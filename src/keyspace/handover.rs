//! Handing over what is there before it is changed: how a snapshot of one instant is taken without stopping for it.
//!
//! ```text
//! cut      inside a safepoint the era goes up by one; what was made before bears an older one
//! walker   visits all entries; one of an older era: encode it, claim it for the present era, and if that was
//!          successful give it to the snapshot
//! writer   does the same with what its command is about to change, under the stripe of the key (`order::before_write`)
//! new      entries are born in the present era: nobody takes them
//! ```
//! **Exactly once.** The claim is a CAS of the era in the entry's header: of a walker and a writer that meet there one
//! succeeds, and the other forgets what it has encoded.
//!
//! **As it was at the cut.** Whoever encodes does so *before* it claims, a collection under its shared lock (or takes a snapshot
//! of a large one under its exclusive lock, to be encoded later), which it holds until the claim is made. Changes in place (a
//! counter's, a deadline's, a collection's) come behind the claim of whoever makes them. So if the claim succeeds, nothing was
//! changed between the cut and the moment at which it was encoded. An entry that was taken out of its table meanwhile stays
//! readable under the guard; whoever has taken it out had claimed it.
//! Model: loom-tests/tests/handover.rs.
//!
//! **Eras come back** after `ERA_COUNT` snapshots. A finished one leaves every entry in its era; one that was broken off leaves
//! older ones behind. So whoever begins a snapshot counts those that were not finished, and in time brings all entries into
//! the present era first (`background::begin`).

use super::recency::Recency;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::mutation::{Mutation, mutated};
use crate::base::sync::{AtomicBool, Ordering};
use crate::table::{Entry, Guard, Table};
use std::sync::{Arc, PoisonError, RwLock};

/// Who wants what is there before it is changed.
pub trait Taker: Send + Sync {
    /// `entry` of the table `table` is about to be changed. `recency`: the clock of whoever changes it.
    fn take(&self, table: u64, entry: Entry<'_>, recency: &Recency);
}

/// The snapshot that is being taken, if there is one.
#[derive(Default)]
pub struct Handover {
    is_on: AtomicBool,
    taker: RwLock<Option<Arc<dyn Taker>>>,
}

impl Handover {
    /// From now on entries are handed to `taker`; None: to nobody. It begins inside a safepoint.
    pub fn set(&self, taker: Option<Arc<dyn Taker>>) {
        self.is_on.store(taker.is_some(), Ordering::Relaxed);
        *self.taker.write().unwrap_or_else(PoisonError::into_inner) = taker;
    }
    /// Order: Relaxed: it is switched on at a safepoint.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }
    /// A change of `key` in `table` follows, under its stripe or inside a safepoint: a running snapshot takes what is there.
    #[inline]
    pub fn before_write(&self, table: &Table, key: Key<'_>, now: WallMs, guard: &Guard<'_>, recency: &Recency) {
        if self.is_on()
            && !mutated(Mutation::HandoverSkipped)
            && let Some(entry) = table.get(key, guard)
            && entry.expires_at().is_none_or(|at| at > now)
        {
            self.hand(table.id(), entry, recency);
        }
    }
    /// Hands an entry over.
    #[cold]
    pub fn hand(&self, table: u64, entry: Entry<'_>, recency: &Recency) {
        if let Some(taker) = &*self.taker.read().unwrap_or_else(PoisonError::into_inner) {
            taker.take(table, entry, recency);
        }
    }
}

/// Takes an entry for the snapshot of this era: what `encode` makes of it, if it is of an older one and nobody else takes it.
/// `encode` runs `claim` behind its look, still under the lock of a collection, and returns what that said; None: the entry
/// is being removed, by somebody who has taken it.
pub fn take(entry: Entry<'_>, era: u32, encode: impl FnOnce(&dyn Fn() -> bool) -> Option<bool>) -> bool {
    if entry.era() == era {
        return false;
    }
    if mutated(Mutation::ClaimedFirst) {
        return entry.claim(era) && encode(&|| true) == Some(true);
    }
    let is_claimed = encode(&|| entry.claim(era)) == Some(true);
    is_claimed || mutated(Mutation::ClaimIgnored)
}
