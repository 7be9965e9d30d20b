//! Stand-in with the final API (a mutex around a map), replaced by the lock-free table.
use super::entry::{Entry, Header, NewEntry};
use super::reclaim::Guard;
use crate::base::hash::{Key, KeyHasher};
use crate::base::prng::Prng;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Mutex;

/// What an update does with its key.
pub enum Change {
    Keep,
    Put(NewEntry),
    Remove,
}

struct Slot(NonNull<Header>);
// SAFETY: stand-in.
unsafe impl Send for Slot {}

/// One database: a map from key to entry, shared by all loops.
pub struct Table {
    map: Mutex<BTreeMap<(u64, Vec<u8>), Slot>>,
    pub hasher: KeyHasher,
}

static TXN: Mutex<()> = Mutex::new(());

impl Table {
    pub fn new(hasher: KeyHasher) -> Self {
        Table { map: Mutex::default(), hasher }
    }
    /// Number of keys, expired but not yet removed ones included.
    pub fn count(&self) -> usize {
        self.map.lock().unwrap().len()
    }
    /// Number of keys with a deadline.
    pub fn volatile_count(&self) -> usize {
        self.map.lock().unwrap().values().filter(|s| unsafe { Entry::from_raw(s.0) }.has_deadline()).count()
    }
    /// The entry of `key`, if present. Expiry is the caller's business.
    pub fn get<'g>(&self, key: Key<'_>, _guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        self.map.lock().unwrap().get(&(key.hash, key.bytes.to_vec())).map(|s| unsafe { Entry::from_raw(s.0) })
    }
    /// Prefetch stage 1: the group's line.
    pub fn prefetch_group(&self, _hash: u64) {}
    /// Prefetch stage 2: the entry that the group points to.
    pub fn prefetch_entry(&self, _hash: u64) {}
    /// Reads, decides and changes one key atomically. `f` may be called several times, each time with the entry as it is
    /// then; the call whose change is applied saw a final (frozen) entry. It must have no side effects but its result.
    pub fn update<'g, R>(
        &self,
        key: Key<'_>,
        guard: &'g Guard<'_>,
        mut f: impl FnMut(Option<Entry<'g>>) -> (Change, R),
    ) -> R {
        let mut map = self.map.lock().unwrap();
        let k = (key.hash, key.bytes.to_vec());
        let old = map.get(&k).map(|s| unsafe { Entry::from_raw(s.0) });
        let (change, result) = f(old);
        match change {
            Change::Keep => {}
            Change::Put(new) => {
                if let Some(old) = map.insert(k, Slot(NonNull::new(new.into_raw()).unwrap())) {
                    unsafe { guard.retire(old.0) };
                }
            }
            Change::Remove => {
                if let Some(old) = map.remove(&k) {
                    unsafe { guard.retire(old.0) };
                }
            }
        }
        result
    }
    /// One SCAN step: visits the groups of `cursor` until about `count` entries were seen; returns the next cursor, 0 at
    /// the end. Redis's guarantee: what is present throughout is visited at least once.
    pub fn scan<'g>(&self, cursor: u64, count: usize, _guard: &'g Guard<'_>, mut visit: impl FnMut(Entry<'g>)) -> u64 {
        let map = self.map.lock().unwrap();
        let mut seen = 0;
        for ((hash, _), slot) in map.range((cursor, Vec::new())..) {
            if seen >= count && *hash != cursor {
                return *hash;
            }
            seen += 1;
            visit(unsafe { Entry::from_raw(slot.0) });
        }
        0
    }
    /// A uniformly random entry.
    pub fn random<'g>(&self, prng: &mut Prng, _guard: &'g Guard<'_>) -> Option<Entry<'g>> {
        let map = self.map.lock().unwrap();
        if map.is_empty() {
            return None;
        }
        let n = prng.below(map.len() as u64) as usize;
        map.values().nth(n).map(|s| unsafe { Entry::from_raw(s.0) })
    }
}

/// The keys of one staged multi-key command.
pub struct Txn<'g> {
    olds: Vec<Option<Entry<'g>>>,
    changes: Vec<Change>,
}

impl<'g> Txn<'g> {
    /// The entry of key `index` as it was when the keys were locked (frozen), or None.
    pub fn old(&self, index: usize) -> Option<Entry<'g>> {
        self.olds[index]
    }
    /// Decides key `index`; the last decision counts. The default is Keep.
    pub fn decide(&mut self, index: usize, change: Change) {
        self.changes[index] = change;
    }
}

/// Locks `keys` (each with its table; duplicates are allowed and share the first one's place: decide on the first index),
/// runs `f`, commits all its decisions at one instant. `f` may be run several times.
pub fn transact<'g, R>(keys: &[(&Table, Key<'_>)], guard: &'g Guard<'_>, mut f: impl FnMut(&mut Txn<'g>) -> R) -> R {
    let _all = TXN.lock().unwrap();
    let mut txn = Txn {
        olds: keys.iter().map(|(t, k)| t.get(*k, guard)).collect(),
        changes: keys.iter().map(|_| Change::Keep).collect(),
    };
    let result = f(&mut txn);
    for ((table, key), change) in keys.iter().zip(txn.changes) {
        let mut change = Some(change);
        table.update(*key, guard, |_| (change.take().unwrap_or(Change::Keep), ()));
    }
    result
}

/// Reads several keys of one table as they were at one instant.
pub fn snapshot<'g, R>(
    table: &Table,
    keys: &[Key<'_>],
    guard: &'g Guard<'_>,
    mut f: impl FnMut(&[Option<Entry<'g>>]) -> R,
) -> R {
    let _all = TXN.lock().unwrap();
    let found: Vec<_> = keys.iter().map(|k| table.get(*k, guard)).collect();
    f(&found)
}
