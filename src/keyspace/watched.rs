//! Who watches which key (WATCH), across all loops.
//!
//! ```text
//! watcher   V1 its name stands at the key     V2 fence     V3 from here on it reads
//! writer    T1 changes the key                T2 fence     T3 reads `count`: does anybody watch? marks those at the key
//! EXEC      of a client that watches, at a safepoint: no writer is between T1 and T3, so the marks are complete
//! ```
//! Invariant: whoever reads the key as it was before a change is marked by that change. If V3 misses what T1 wrote, then V2
//! comes before T2 in the order of the two SeqCst fences, and T3 finds the name. One fence is not enough. Model:
//! loom-tests/tests/watched.rs.
//!
//! *Stale keys.* A key that was past its deadline when it began to be watched reads as absent already. That it is removed
//! changes nothing for the watcher, so the first removal of that kind does not mark it.
//!
//! *Cost.* Nothing until somebody watches, and some seconds after the last one has ceased to (`keyspace::events`). In between
//! each change pays a fence and a load, and, while somebody watches, a look into the map of the key's shard.

use super::waiters::Place;
use crate::base::ids::DbIndex;
use crate::base::mutation::{Mutation, fence_unless};
use crate::base::sync::{AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

/// What a key is in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Absent,
    Alive,
    /// Past its deadline, and not removed yet.
    Stale,
}

/// Maps of keys. 64: a loop seldom meets another one at the same.
const SHARDS: usize = if cfg!(loom) { 1 } else { 64 };

/// Somebody who watches a key.
struct Watcher<T> {
    db: DbIndex,
    who: Arc<T>,
    /// The key was past its deadline when it began, and nothing has happened to it since.
    is_stale: bool,
}

type Map<T> = HashMap<Box<[u8]>, Vec<Watcher<T>>, RandomState>;
type Shard<T> = Mutex<Map<T>>;

/// See the module header. `T` is what can be marked.
pub struct Watched<T> {
    shards: Box<[Shard<T>]>,
    hasher: RandomState,
    /// Keys that somebody watches. A key of two databases counts once.
    count: AtomicUsize,
    /// Those who watch something.
    watchers: AtomicUsize,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Watched {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: hasher.clone(),
            count: AtomicUsize::new(0),
            watchers: AtomicUsize::new(0),
        }
    }
}

impl<T> Watched<T> {
    /// Keys that somebody watches.
    pub fn key_count(&self) -> usize {
        self.count.load(Relaxed)
    }
    /// Clients that watch something.
    pub fn watcher_count(&self) -> usize {
        self.watchers.load(Relaxed)
    }
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Map<T>> {
        locked(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
    /// `who` watches this key from now on, in addition to what it watches: V1, V2. `is_first`: it has watched nothing before.
    /// `is_stale` tells whether the key is past its deadline; it is asked when the name stands there already.
    pub fn watch(&self, who: &Arc<T>, place: &Place, is_first: bool, is_stale: impl FnOnce() -> bool) {
        if is_first {
            self.watchers.fetch_add(1, Relaxed);
        }
        let mut shard = self.shard(place.key());
        let watchers = shard.entry(place.key().into()).or_insert_with(|| {
            self.count.fetch_add(1, Relaxed);
            Vec::new()
        });
        fence_unless(Mutation::WatchWithoutFence); // V2  pairs with T2 in `touch`.
        watchers.push(Watcher { db: place.db(), who: who.clone(), is_stale: is_stale() });
    }
    /// `who` watches none of these keys any more: all that it has watched.
    pub fn forget(&self, who: &Arc<T>, places: &[Place]) {
        for place in places {
            let mut shard = self.shard(place.key());
            let Some(watchers) = shard.get_mut(place.key()) else { continue };
            watchers.retain(|watcher| watcher.db != place.db() || !Arc::ptr_eq(&watcher.who, who));
            if watchers.is_empty() {
                shard.remove(place.key());
                self.count.fetch_sub(1, Relaxed);
            }
        }
        self.watchers.fetch_sub(1, Relaxed);
    }
    /// A key was changed: marks who watches it. T2, T3. `is_removal_of_dead`: it was removed because of its deadline.
    /// Cost: a fence and a load if nobody watches anything.
    pub fn touch(&self, db: DbIndex, key: &[u8], is_removal_of_dead: bool, mark: impl Fn(&T)) {
        fence_unless(Mutation::TouchWithoutFence); // T2  pairs with V2 in `watch`.
        if self.count.load(Relaxed) == 0 {
            return;
        }
        let mut shard = self.shard(key);
        let Some(watchers) = shard.get_mut(key) else { return };
        for watcher in watchers.iter_mut().filter(|watcher| watcher.db == db) {
            let was_stale = std::mem::take(&mut watcher.is_stale);
            if !(was_stale && is_removal_of_dead) {
                mark(&watcher.who);
            }
        }
    }
    /// All keys of a database are about to be removed or exchanged for others: marks who watches one of those that exist
    /// here, or among the others (`there`), unless it reads as absent before and after. The caller holds the safepoint.
    pub fn touch_all(
        &self,
        db: DbIndex,
        here: impl Fn(&[u8]) -> Presence,
        there: impl Fn(&[u8]) -> Presence,
        mark: impl Fn(&T),
    ) {
        if self.key_count() == 0 {
            return;
        }
        for shard in &self.shards {
            for (key, watchers) in locked(shard).iter_mut() {
                let (here, there) = (here(key), there(key));
                for watcher in watchers.iter_mut().filter(|watcher| watcher.db == db) {
                    let was_absent = here == Presence::Absent || watcher.is_stale;
                    watcher.is_stale = was_absent && there == Presence::Stale;
                    if !was_absent || there == Presence::Alive {
                        mark(&watcher.who);
                    }
                }
            }
        }
    }
    /// Was the key past its deadline when `who` began to watch it, and still is what it was?
    pub fn is_stale(&self, who: &Arc<T>, place: &Place) -> bool {
        let shard = self.shard(place.key());
        let mut watchers = shard.get(place.key()).into_iter().flatten();
        watchers.any(|watcher| watcher.db == place.db() && Arc::ptr_eq(&watcher.who, who) && watcher.is_stale)
    }
}

/// A lock whose holders cannot leave half a change behind: a panic aborts the process anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::AtomicBool;

    type Flag = Arc<AtomicBool>;

    fn place(db: u16, key: &str) -> Place {
        Place::new(DbIndex(db), key.as_bytes())
    }
    fn watch(watched: &Watched<AtomicBool>, who: &Flag, db: u16, key: &str) {
        watched.watch(who, &place(db, key), false, || false);
    }
    fn touch(watched: &Watched<AtomicBool>, db: u16, key: &str) {
        watched.touch(DbIndex(db), key.as_bytes(), false, |flag| flag.store(true, Relaxed));
    }
    fn take(flag: &Flag) -> bool {
        flag.swap(false, Relaxed)
    }

    #[test]
    fn only_those_at_the_key_are_marked() {
        let (watched, a, b) = (Watched::default(), Flag::default(), Flag::default());
        watch(&watched, &a, 0, "k");
        watch(&watched, &b, 0, "k");
        watch(&watched, &b, 1, "k");
        watch(&watched, &b, 0, "other");
        assert_eq!(watched.key_count(), 2);
        touch(&watched, 1, "k");
        assert_eq!((take(&a), take(&b)), (false, true));
        touch(&watched, 0, "other");
        assert_eq!((take(&a), take(&b)), (false, true));
        watched.forget(&b, &[place(0, "k"), place(1, "k"), place(0, "other")]);
        touch(&watched, 0, "k");
        touch(&watched, 0, "other");
        assert_eq!((take(&a), take(&b), watched.key_count()), (true, false, 1));
    }

    #[test]
    fn removing_a_key_that_was_dead_from_the_start_changes_nothing() {
        let (watched, a) = (Watched::default(), Flag::default());
        let mark = |flag: &AtomicBool| flag.store(true, Relaxed);
        watched.watch(&a, &place(0, "k"), true, || true);
        assert!(watched.is_stale(&a, &place(0, "k")));
        watched.touch(DbIndex(0), b"k", true, mark);
        assert!(!take(&a) && !watched.is_stale(&a, &place(0, "k")));
        watched.touch(DbIndex(0), b"k", true, mark);
        assert!(take(&a), "this one was alive in between");
    }

    #[test]
    fn a_whole_database_marks_those_whose_keys_exist() {
        let (watched, a, b, c) = (Watched::default(), Flag::default(), Flag::default(), Flag::default());
        let mark = |flag: &AtomicBool| flag.store(true, Relaxed);
        watch(&watched, &a, 0, "here");
        watch(&watched, &b, 0, "there");
        watch(&watched, &c, 1, "here");
        let at = |name: &'static [u8]| move |key: &[u8]| if key == name { Presence::Alive } else { Presence::Absent };
        watched.touch_all(DbIndex(0), at(b"here"), at(b""), mark);
        assert_eq!((take(&a), take(&b), take(&c)), (true, false, false));
        watched.touch_all(DbIndex(0), at(b"here"), at(b"there"), mark);
        assert_eq!((take(&a), take(&b), take(&c)), (true, true, false));
    }

    #[test]
    fn an_absent_key_that_gives_way_to_a_dead_one_is_absent_still() {
        let mark = |flag: &AtomicBool| flag.store(true, Relaxed);
        let swap = |is_stale: bool, here: Presence, there: Presence| {
            let (watched, a) = (Watched::default(), Flag::default());
            watched.watch(&a, &place(0, "k"), true, || is_stale);
            watched.touch_all(DbIndex(0), |_| here, |_| there, mark);
            (take(&a), watched.is_stale(&a, &place(0, "k")))
        };
        use Presence::{Absent, Alive, Stale};
        assert_eq!(swap(false, Absent, Stale), (false, true));
        assert_eq!(swap(true, Stale, Stale), (false, true));
        assert_eq!(swap(true, Stale, Absent), (false, false));
        assert_eq!(swap(true, Stale, Alive), (true, false));
        assert_eq!(swap(false, Absent, Alive), (true, false));
        assert_eq!(swap(false, Alive, Absent), (true, false));
        assert_eq!(swap(false, Stale, Stale), (true, false), "it has expired while it was watched");
    }
}
