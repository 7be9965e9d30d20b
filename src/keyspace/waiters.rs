//! Who waits for which key, across all loops: a queue per key, in the order in which clients began to wait.
//!
//! ```text
//! waiter   J1 look: nothing there     J2 join the queues of its keys    J3 fence    J4 serve these keys
//! writer   P1 fill the key            P2 fence                          P3 read `count`: somebody waits? serve the key
//! ```
//! Invariant: P3 sees the waiter, or J4 sees what was filled. The two SeqCst fences are ordered one way or the other, and the
//! later side reads what the earlier one wrote; one fence is not enough. Model: loom-tests/tests/waiters.rs.
//!
//! *Serving* a key visits its queue in order, under the queue's lock: what the first one leaves is for the second, and two
//! writers of one key do not serve it at once, so clients get elements in the order in which they began to wait, whatever
//! loop they live on. A visitor takes no other queue's lock, and nobody takes one while holding an object: no cycle.
//!
//! *Cost.* Until the first client ever waits, writers do not even pay the fence: `is_heeded` is switched on at a safepoint,
//! and they read it once per window of commands. The registry's own locks, one per shard of key names, are held for a look
//! into a map, by those who join, leave or serve.

use crate::admin::wait::Ticket;
use crate::base::ids::DbIndex;
use crate::base::mutation::{Mutation, fence_unless, mutated};
use crate::base::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};
use std::collections::{BTreeMap, HashMap, btree_map};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

/// Maps of queues. 64: a loop seldom meets another one at the same.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

/// A key and its database, as the registry names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    db: DbIndex,
    key: Box<[u8]>,
}

impl Place {
    pub fn new(db: DbIndex, key: &[u8]) -> Self {
        Place { db, key: key.into() }
    }
    pub fn db(&self) -> DbIndex {
        self.db
    }
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// What a visit to a waiter came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visited {
    /// It has what it wanted, or waits no longer: it leaves this queue.
    Leaves,
    /// It waits on; the next one, please.
    Stays,
    /// Nothing is left for anybody.
    Enough,
}

/// Those who wait for one key.
struct Queue<T> {
    line: Mutex<Line<T>>,
}

struct Line<T> {
    waiters: BTreeMap<Ticket, Arc<T>>,
    /// It is not in the map any more: whoever wants to join looks again.
    is_detached: bool,
}

type Shard<T> = Mutex<HashMap<Place, Arc<Queue<T>>, RandomState>>;

/// See the module header. `T` is what a waiter has to say for itself.
pub struct Waiters<T> {
    shards: Box<[Shard<T>]>,
    hasher: RandomState,
    /// Queues, which is keys that somebody waits for.
    count: AtomicUsize,
    is_heeded: AtomicBool,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Waiters {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: hasher.clone(),
            count: AtomicUsize::new(0),
            is_heeded: AtomicBool::new(false),
        }
    }
}

impl<T> Waiters<T> {
    /// Must writers tell what they fill? False until somebody has waited.
    #[inline]
    pub fn is_heeded(&self) -> bool {
        self.is_heeded.load(Relaxed)
    }
    /// From now on they must. Called at a safepoint, so each loop sees it before its next command.
    pub fn heed(&self) {
        self.is_heeded.store(true, Relaxed);
    }
    /// Keys that somebody waits for.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
    /// After filling keys: does anybody wait for any key? P2, P3.
    pub fn any_behind_fence(&self) -> bool {
        fence_unless(Mutation::FillWithoutFence); // P2  pairs with J3 in `join`.
        self.count() > 0
    }
    fn shard(&self, place: &Place) -> MutexGuard<'_, HashMap<Place, Arc<Queue<T>>, RandomState>> {
        locked(&self.shards[self.hasher.hash_one(place) as usize % SHARDS])
    }
    /// Puts a waiter into the queues of its keys. J2, J3: the caller serves these keys afterwards.
    pub fn join(&self, ticket: Ticket, places: &[Place], waiter: &Arc<T>) {
        for place in places {
            while !self.try_join(ticket, place, waiter) {}
        }
        fence_unless(Mutation::JoinWithoutFence); // J3  pairs with P2 in `any_behind_fence`.
    }
    /// False: the queue was given up in this moment.
    fn try_join(&self, ticket: Ticket, place: &Place, waiter: &Arc<T>) -> bool {
        let queue = {
            let mut queues = self.shard(place);
            let queue = queues.entry(place.clone()).or_insert_with(|| {
                self.count.fetch_add(1, Relaxed);
                let line = Line { waiters: BTreeMap::new(), is_detached: false };
                Arc::new(Queue { line: Mutex::new(line) })
            });
            queue.clone()
        };
        let mut line = locked(&queue.line);
        if line.is_detached && !mutated(Mutation::JoinDetached) {
            drop(line);
            self.forget(place, &queue); // Whoever gave it up may not have come so far.
            return false;
        }
        line.waiters.insert(ticket, waiter.clone());
        true
    }
    /// Takes a waiter out of the queues of its keys. Where it is in none, nothing happens.
    pub fn leave(&self, ticket: Ticket, places: &[Place]) {
        for place in places {
            let Some(queue) = self.queue(place) else { continue };
            let mut line = locked(&queue.line);
            line.waiters.remove(&ticket);
            self.tidy(place, &queue, line);
        }
    }
    fn queue(&self, place: &Place) -> Option<Arc<Queue<T>>> {
        self.shard(place).get(place).cloned()
    }
    /// Gives up a queue in which nobody waits.
    fn tidy(&self, place: &Place, queue: &Arc<Queue<T>>, mut line: MutexGuard<'_, Line<T>>) {
        if !line.waiters.is_empty() || line.is_detached {
            return;
        }
        line.is_detached = true;
        drop(line);
        self.forget(place, queue);
    }
    /// Takes a queue that was given up out of the map, if it is still there.
    fn forget(&self, place: &Place, queue: &Arc<Queue<T>>) {
        let mut queues = self.shard(place);
        if queues.get(place).is_some_and(|present| Arc::ptr_eq(present, queue)) {
            queues.remove(place);
            self.count.fetch_sub(1, Relaxed);
        }
    }
    /// Visits those who wait for a key, in the order in which they began to, as long as `visit` wants to.
    pub fn serve(&self, place: &Place, mut visit: impl FnMut(&Arc<T>) -> Visited) {
        let Some(queue) = self.queue(place) else { return };
        let mut line = locked(&queue.line);
        let mut is_over = false;
        line.waiters.retain(|_, waiter| {
            if is_over {
                return true;
            }
            let visited = visit(waiter);
            is_over = visited == Visited::Enough;
            visited != Visited::Leaves
        });
        self.tidy(place, &queue, line);
    }
    /// The keys that somebody waits for.
    pub fn places(&self) -> Vec<Place> {
        self.shards.iter().flat_map(|shard| locked(shard).keys().cloned().collect::<Vec<_>>()).collect()
    }
    /// Calls `f` with every waiter of every key that somebody waits for.
    pub fn each_place(&self, mut f: impl FnMut(&Place, btree_map::Values<'_, Ticket, Arc<T>>)) {
        for shard in &self.shards {
            let queues: Vec<_> = locked(shard).iter().map(|(place, queue)| (place.clone(), queue.clone())).collect();
            for (place, queue) in queues {
                f(&place, locked(&queue.line).waiters.values());
            }
        }
    }
}

/// A lock whose holders cannot leave half a change behind: a panic aborts the process anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
