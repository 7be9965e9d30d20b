//! Which clients may keep copies of which keys. Keys are known by name, whatever their database, as in Redis.
//!
//! Maps in shards, each under a lock that is held for one look-up. A key's clients are a sorted list of ids: nearly always
//! few, and new clients have the highest ids.

use crate::base::ids::ClientId;
use crate::base::sync::{AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};
use ahash::RandomState;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::PoisonError;

/// Maps. 64: a loop seldom meets another one at the same.
const SHARDS: usize = 64;

/// Clients, by their ids.
pub type Ids = SmallVec<[ClientId; 2]>;
type Shard = HashMap<Box<[u8]>, Ids, RandomState>;

/// See the module header.
pub struct Interests {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    keys: AtomicUsize,
    /// Pairs of key and client.
    items: AtomicUsize,
}

impl Default for Interests {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        Interests {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: hasher.clone(),
            keys: AtomicUsize::new(0),
            items: AtomicUsize::new(0),
        }
    }
}

impl Interests {
    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }
    pub fn items(&self) -> usize {
        self.items.load(Relaxed)
    }
    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        locked(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
    /// The client is about to read this key.
    pub fn add(&self, key: &[u8], client: ClientId) {
        let mut shard = self.shard(key);
        if let Some(ids) = shard.get_mut(key) {
            if let Err(at) = ids.binary_search_by_key(&client.0, |id| id.0) {
                ids.insert(at, client);
                self.items.fetch_add(1, Relaxed);
            }
            return;
        }
        shard.insert(key.into(), Ids::from_slice(&[client]));
        self.keys.fetch_add(1, Relaxed);
        self.items.fetch_add(1, Relaxed);
    }
    /// The key has changed: who must be told. They are forgotten.
    /// Cost: a look-up under a lock of its shard.
    pub fn take(&self, key: &[u8]) -> Ids {
        let taken = self.shard(key).remove(key).unwrap_or_default();
        self.forget(!taken.is_empty() as usize, taken.len());
        taken
    }
    /// Some key, `chance` says which shard to look in first, with who must be told that it is no longer remembered.
    pub fn take_any(&self, chance: u64) -> Option<(Box<[u8]>, Ids)> {
        (0..SHARDS).find_map(|step| {
            let mut shard = locked(&self.shards[(chance as usize).wrapping_add(step) % SHARDS]);
            let key = shard.keys().next()?.clone();
            let ids = shard.remove(&key)?;
            self.forget(1, ids.len());
            Some((key, ids))
        })
    }
    /// Forgets everything: all keys are gone, and all who track were told so.
    pub fn clear(&self) {
        for shard in &self.shards {
            let old = std::mem::replace(&mut *locked(shard), HashMap::with_hasher(self.hasher.clone()));
            self.forget(old.len(), old.values().map(|ids| ids.len()).sum());
        }
    }
    fn forget(&self, keys: usize, items: usize) {
        self.keys.fetch_sub(keys, Relaxed);
        self.items.fetch_sub(items, Relaxed);
    }
}

/// A lock whose holders cannot leave half a change behind: a panic aborts the process anyway.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn random_interests_agree_with_a_map_of_sets() {
        let (interests, mut dice) = (Interests::default(), Prng::seeded(5));
        let mut model: BTreeMap<Vec<u8>, BTreeSet<u64>> = BTreeMap::new();
        for _ in 0..20_000 {
            let (key, client) = (dice.below(40).to_string().into_bytes(), dice.below(20));
            match dice.below(20) {
                0..14 => {
                    interests.add(&key, ClientId(client));
                    model.entry(key).or_default().insert(client);
                }
                14..19 => {
                    let taken: Vec<u64> = interests.take(&key).iter().map(|id| id.0).collect();
                    assert_eq!(taken, model.remove(&key).map_or(vec![], |ids| ids.into_iter().collect::<Vec<_>>()));
                }
                _ => {
                    if let Some((key, ids)) = interests.take_any(dice.next_u64()) {
                        assert_eq!(model.remove(&key.to_vec()).map(|ids| ids.len()), Some(ids.len()));
                    }
                }
            }
            assert_eq!(interests.keys(), model.len());
            assert_eq!(interests.items(), model.values().map(BTreeSet::len).sum::<usize>());
        }
        interests.clear();
        assert_eq!((interests.keys(), interests.items(), interests.take_any(3)), (0, 0, None));
    }
}
