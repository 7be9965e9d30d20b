//! The registry: how many subscribers every name has on each loop.
//!
//! Channels lie in stripes, each a map under a lock of its own; a lock is held for a look-up. Whoever subscribes counts
//! itself in before it is told so, and counts itself out before it is told that, or closed. Thus the counts are those that
//! clients can know of.
//!
//! *Who came when.* A message is on its way for a moment, and whoever subscribes meanwhile must not get it: it was
//! published before, and those behind it may have gone elsewhere. So each lock counts those who came under it. A subscriber
//! remembers its number, a message the number of the last who had come when it was published, and only passes to those.
//!
//! While nobody listens to anything, a message costs two relaxed loads.

use super::patterns::Patterns;
use super::{Name, NameHash, Space};
use crate::base::ids::LoopId;
use crate::base::sync::{AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{PoisonError, RwLock};

/// Locks per space. 64: two loops that publish to different channels hardly ever meet.
const STRIPES: usize = 64;
/// A map that was large gives its room back when so small a part of it is in use.
const SPARE_MAX: usize = 8;

/// Subscribers of a name on one loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    pub id: LoopId,
    pub count: u32,
}

/// The loops on which a name has subscribers. Nearly always they are few.
pub type Homes = SmallVec<[Home; 2]>;

/// Counts a subscriber on this loop.
pub(super) fn count_in(homes: &mut Homes, id: LoopId) {
    match homes.iter_mut().find(|home| home.id == id) {
        Some(home) => home.count += 1,
        None => homes.push(Home { id, count: 1 }),
    }
}

/// Counts a subscriber of this loop out.
pub(super) fn count_out(homes: &mut Homes, id: LoopId) {
    let at = homes.iter().position(|home| home.id == id).expect("whoever leaves was counted");
    homes[at].count -= 1;
    if homes[at].count == 0 {
        homes.swap_remove(at);
    }
}

/// Subscribers on all loops.
pub(super) fn total(homes: &[Home]) -> u64 {
    homes.iter().map(|home| home.count as u64).sum()
}

/// The number of a subscriber among those who came under the same lock.
pub type Arrival = u64;

/// The channels under one lock.
#[derive(Default)]
struct Channels {
    homes: HashMap<Name, Homes, NameHash>,
    arrivals: Arrival,
}

type Stripe = Mutex<Channels>;

/// A channel that has subscribers.
pub struct Found {
    pub name: Name,
    pub homes: Homes,
    /// The last who has come.
    pub arrival: Arrival,
}

/// See the module header.
pub struct Registry {
    /// Of channels and of shard channels.
    stripes: [Box<[Stripe]>; 2],
    patterns: RwLock<Patterns>,
    /// Names that have subscribers, of each space.
    names: [AtomicUsize; 3],
    /// Clients that have subscribed to anything.
    clients: AtomicUsize,
}

impl Default for Registry {
    fn default() -> Self {
        let stripes = || (0..STRIPES).map(|_| Stripe::default()).collect();
        Registry {
            stripes: [stripes(), stripes()],
            patterns: RwLock::default(),
            names: [const { 0 }; 3].map(AtomicUsize::new),
            clients: AtomicUsize::new(0),
        }
    }
}

/// What became of a subscriber that joined.
pub(super) struct Joined {
    pub name: Name,
    pub arrival: Arrival,
    /// The name had no subscribers before.
    pub is_new: bool,
}

impl Channels {
    fn join(&mut self, name: &[u8], home: LoopId) -> Joined {
        self.arrivals += 1;
        let known = self.homes.get_key_value(name).map(|(known, _)| known.clone());
        let is_new = known.is_none();
        let name = known.unwrap_or_else(|| Name::from(name));
        count_in(self.homes.entry(name.clone()).or_default(), home);
        Joined { name, arrival: self.arrivals, is_new }
    }
}

fn locked(stripe: &Stripe) -> MutexGuard<'_, Channels> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    /// Names of this space that have subscribers.
    /// Order: Relaxed. A client that was told of its subscription has been counted, and whoever heard of that from it comes
    /// after it by way of the kernel.
    #[inline]
    pub fn names_count(&self, space: Space) -> usize {
        self.names[space as usize].load(Relaxed)
    }
    /// Would nobody hear a message to any channel?
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.names_count(Space::Channel) + self.names_count(Space::Pattern) == 0
    }
    /// Clients that have subscribed to anything.
    pub fn clients(&self) -> usize {
        self.clients.load(Relaxed)
    }
    /// A client has subscribed to something, or to nothing any more.
    pub fn count_client(&self, is_subscribed: bool) {
        if is_subscribed {
            self.clients.fetch_add(1, Relaxed)
        } else {
            self.clients.fetch_sub(1, Relaxed)
        };
    }

    fn stripe(&self, space: Space, name: &[u8]) -> &Stripe {
        &self.stripes[space as usize][NameHash.hash_one(name) as usize % STRIPES]
    }

    /// Counts a subscriber of this name on loop `home`. Returns the name as all share it.
    pub fn join(&self, space: Space, name: &[u8], home: LoopId) -> (Name, Arrival) {
        let joined = match space {
            Space::Pattern => self.patterns.write().unwrap_or_else(PoisonError::into_inner).join(name, home),
            _ => locked(self.stripe(space, name)).join(name, home),
        };
        self.names[space as usize].fetch_add(joined.is_new as usize, Relaxed);
        (joined.name, joined.arrival)
    }

    /// Counts a subscriber of this name on loop `home` out.
    pub fn leave(&self, space: Space, name: &[u8], home: LoopId) {
        let is_last = match space {
            Space::Pattern => self.patterns.write().unwrap_or_else(PoisonError::into_inner).leave(name, home),
            _ => {
                let homes = &mut locked(self.stripe(space, name)).homes;
                let of_name = homes.get_mut(name).expect("whoever leaves was counted");
                count_out(of_name, home);
                let is_last = of_name.is_empty();
                if is_last {
                    homes.remove(name);
                    shrink(homes);
                }
                is_last
            }
        };
        self.names[space as usize].fetch_sub(is_last as usize, Relaxed);
    }

    /// Subscribers of a channel on all loops; those of patterns do not count.
    pub fn subscribers(&self, space: Space, name: &[u8]) -> u64 {
        locked(self.stripe(space, name)).homes.get(name).map_or(0, |homes| total(homes))
    }

    /// The channel's name and where its subscribers are, if it has any.
    #[inline]
    pub fn find(&self, space: Space, name: &[u8]) -> Option<Found> {
        if self.names_count(space) == 0 {
            return None;
        }
        let stripe = locked(self.stripe(space, name));
        let (name, homes) = stripe.homes.get_key_value(name)?;
        Some(Found { name: name.clone(), homes: homes.clone(), arrival: stripe.arrivals })
    }

    /// Calls `found` with each pattern that matches `channel`, where its subscribers are, and the last who has come.
    #[inline]
    pub fn match_patterns(&self, channel: &[u8], found: impl FnMut(&Name, &[Home], Arrival)) {
        if self.names_count(Space::Pattern) > 0 {
            self.patterns.read().unwrap_or_else(PoisonError::into_inner).match_all(channel, found);
        }
    }

    /// Into how many parts `names_in` divides a space.
    pub const PARTS: usize = STRIPES;

    /// The channels in one part that `wanted` accepts.
    pub fn names_in(&self, space: Space, part: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Name> {
        locked(&self.stripes[space as usize][part]).homes.keys().filter(|name| wanted(name)).cloned().collect()
    }
}

/// Gives room back after most of what was here has left.
pub(super) fn shrink<V>(map: &mut HashMap<Name, V, NameHash>) {
    if map.capacity() > 64 && map.len() < map.capacity() / SPARE_MAX {
        map.shrink_to(map.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn subscribers_are_counted_by_loop_and_names_while_they_have_any() {
        let registry = Registry::default();
        assert!(registry.is_quiet() && registry.find(Space::Channel, b"a").is_none());
        let (first, early) = registry.join(Space::Channel, b"a", LoopId(0));
        let (second, late) = registry.join(Space::Channel, b"a", LoopId(3));
        assert!(Arc::ptr_eq(&first, &second) && early < late, "a name is allocated once");
        registry.join(Space::Channel, b"a", LoopId(3));
        registry.join(Space::Shard, b"a", LoopId(3));
        assert_eq!((registry.subscribers(Space::Channel, b"a"), registry.subscribers(Space::Shard, b"a")), (3, 1));
        let Found { homes, arrival, .. } = registry.find(Space::Channel, b"a").unwrap();
        assert_eq!(arrival, late + 1, "three have come");
        assert_eq!(homes.as_slice(), [Home { id: LoopId(0), count: 1 }, Home { id: LoopId(3), count: 2 }]);
        registry.leave(Space::Channel, b"a", LoopId(0));
        registry.leave(Space::Channel, b"a", LoopId(3));
        assert_eq!((registry.names_count(Space::Channel), registry.subscribers(Space::Channel, b"a")), (1, 1));
        registry.leave(Space::Channel, b"a", LoopId(3));
        assert!(registry.is_quiet() && registry.names_count(Space::Shard) == 1);
    }

    #[test]
    fn maps_that_were_large_give_their_room_back() {
        let registry = Registry::default();
        let names: Vec<String> = (0..100_000).map(|number| format!("channel:{number}")).collect();
        names.iter().for_each(|name| drop(registry.join(Space::Channel, name.as_bytes(), LoopId(0))));
        let listed = (0..Registry::PARTS).map(|part| registry.names_in(Space::Channel, part, |_| true).len());
        assert_eq!(listed.sum::<usize>(), names.len());
        names.iter().for_each(|name| registry.leave(Space::Channel, name.as_bytes(), LoopId(0)));
        let room: usize = registry.stripes[0].iter().map(|stripe| locked(stripe).homes.capacity()).sum();
        assert!(room < 64 * 128, "{room}");
    }
}
