//! Prefixes whose keys' changes are broadcast, and to whom.

use crate::base::ids::ClientId;
use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

type Map = BTreeMap<Box<[u8]>, Vec<ClientId>>;

/// See the module header.
#[derive(Default)]
pub struct Prefixes {
    map: RwLock<Map>,
    count: AtomicUsize,
}

/// Keys that have changed, in order, each with the client that changed it last, if one did.
pub type Changes<'k> = BTreeMap<&'k [u8], Option<ClientId>>;

impl Prefixes {
    /// Prefixes that somebody has named.
    /// Order: Relaxed. Whoever was told that it tracks was counted, and what it does next comes behind that by way of the kernel.
    #[inline]
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
    pub fn join(&self, prefix: &[u8], client: ClientId) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let clients = map.entry(prefix.into()).or_default();
        if !clients.contains(&client) {
            clients.push(client);
        }
        self.count.store(map.len(), Relaxed);
    }
    pub fn leave(&self, prefix: &[u8], client: ClientId) {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = map.get_mut(prefix) {
            clients.retain(|&id| id != client);
            if clients.is_empty() {
                map.remove(prefix);
            }
        }
        self.count.store(map.len(), Relaxed);
    }
    /// Calls `tell` for each prefix under which something has changed: with these changes and with the clients.
    pub fn each_hit(&self, changes: &Changes<'_>, mut tell: impl FnMut(&[(&[u8], Option<ClientId>)], &[ClientId])) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut hits = Vec::new();
        for (prefix, clients) in map.iter() {
            hits.clear();
            let prefix: &[u8] = prefix;
            let behind = changes.range(prefix..).take_while(|(key, _)| key.starts_with(prefix));
            hits.extend(behind.map(|(&key, &by)| (key, by)));
            if !hits.is_empty() {
                tell(&hits, clients);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_under_each_prefix_that_they_have() {
        let prefixes = Prefixes::default();
        for (prefix, client) in [("", 1), ("us", 2), ("user:", 3), ("user:", 4), ("user:", 3), ("z", 5)] {
            prefixes.join(prefix.as_bytes(), ClientId(client));
        }
        assert_eq!(prefixes.count(), 4);
        let told = |changes: &[(&'static str, u64)]| {
            let changes = changes.iter().map(|&(key, by)| (key.as_bytes(), Some(ClientId(by)))).collect();
            let mut all = Vec::new();
            prefixes.each_hit(&changes, |hits, clients| {
                let keys: Vec<_> = hits.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
                all.push((keys.join(" "), clients.iter().map(|id| id.0).collect::<Vec<_>>()));
            });
            all
        };
        let all = told(&[("user:1", 7), ("a", 7), ("user:1", 8), ("usage", 7)]);
        assert_eq!(
            all,
            [("a usage user:1".into(), vec![1]), ("usage user:1".into(), vec![2]), ("user:1".into(), vec![3, 4])]
        );
        prefixes.leave(b"", ClientId(1));
        prefixes.leave(b"user:", ClientId(3));
        assert_eq!(told(&[("user:1", 7)]), [("user:1".into(), vec![2]), ("user:1".into(), vec![4])]);
        assert_eq!((told(&[("a", 1)]), prefixes.count()), (vec![], 3));
    }
}
