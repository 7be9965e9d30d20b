//! What one client has subscribed to.

use super::{Name, NameHash, Space};
use std::collections::HashSet;

/// So many names are searched one by one; more are hashed.
const FEW_MAX: usize = 8;

/// A set of names. Most clients have one or two, some a hundred thousand.
enum Names {
    /// In the order in which they came.
    Few(Vec<Name>),
    Many(HashSet<Name, NameHash>),
}

impl Names {
    fn len(&self) -> usize {
        match self {
            Names::Few(names) => names.len(),
            Names::Many(names) => names.len(),
        }
    }
    fn contains(&self, name: &[u8]) -> bool {
        match self {
            Names::Few(names) => names.iter().any(|known| **known == *name),
            Names::Many(names) => names.contains(name),
        }
    }
    fn insert(&mut self, name: Name) {
        match self {
            Names::Few(names) if names.len() < FEW_MAX => {
                names.reserve_exact(if names.is_empty() { 1 } else { names.len() });
                names.push(name);
            }
            Names::Few(names) => *self = Names::Many(names.drain(..).chain([name]).collect()),
            Names::Many(names) => drop(names.insert(name)),
        }
    }
    fn remove(&mut self, name: &[u8]) -> bool {
        match self {
            Names::Few(names) => {
                let at = names.iter().position(|known| **known == *name);
                at.map(|at| names.remove(at)).is_some()
            }
            Names::Many(names) => names.remove(name),
        }
    }
    fn all(&self) -> Vec<Name> {
        match self {
            Names::Few(names) => names.clone(),
            Names::Many(names) => names.iter().cloned().collect(),
        }
    }
}

/// See the module header.
pub struct Subscriptions {
    spaces: [Names; 3],
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions { spaces: [const { Vec::new() }; 3].map(Names::Few) }
    }
}

impl Subscriptions {
    pub fn count(&self, space: Space) -> usize {
        self.spaces[space as usize].len()
    }
    /// Channels and patterns: what the replies of (P)SUBSCRIBE and their undoing count.
    pub fn plain_count(&self) -> usize {
        self.count(Space::Channel) + self.count(Space::Pattern)
    }
    pub fn is_empty(&self) -> bool {
        self.spaces.iter().all(|names| names.len() == 0)
    }
    pub fn contains(&self, space: Space, name: &[u8]) -> bool {
        self.spaces[space as usize].contains(name)
    }
    /// Adds a name that is not there.
    pub fn insert(&mut self, space: Space, name: Name) {
        self.spaces[space as usize].insert(name);
    }
    /// False: it was not there.
    pub fn remove(&mut self, space: Space, name: &[u8]) -> bool {
        self.spaces[space as usize].remove(name)
    }
    /// All names of a space.
    pub fn all(&self, space: Space) -> Vec<Name> {
        self.spaces[space as usize].all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_names_are_a_set() {
        let mut subs = Subscriptions::default();
        let names: Vec<Name> = (0..20).map(|number| Name::from(format!("n{number}").as_bytes())).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!subs.contains(Space::Channel, name));
            subs.insert(Space::Channel, name.clone());
            assert_eq!(subs.count(Space::Channel), index + 1);
        }
        assert!(names.iter().all(|name| subs.contains(Space::Channel, name)));
        assert!(!subs.contains(Space::Shard, b"n1") && subs.all(Space::Channel).len() == 20);
        for name in &names {
            assert!(subs.remove(Space::Channel, name) && !subs.remove(Space::Channel, name));
        }
        assert!(subs.is_empty());
    }
}
