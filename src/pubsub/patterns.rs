//! Patterns, found by what they begin with.
//!
//! A pattern can only match names that begin with its literal part, the bytes before the first `*`, `?`, `[` or `\`. So
//! patterns stand in buckets by that part, and a channel looks into the buckets of its own beginnings, of those lengths
//! that there are: with ten thousand patterns `user:N:*` that is a handful of look-ups instead of ten thousand matches.
//! Patterns without a literal part share one bucket, and all of them are tried.

use super::registry::{Arrival, Home, Homes, Joined, count_in, count_out};
use super::{Name, NameHash};
use crate::base::glob;
use crate::base::ids::LoopId;
use std::collections::{BTreeMap, HashMap};

/// Patterns of one literal part, sorted.
type Bucket = Vec<(Name, Homes)>;

/// See the module header.
#[derive(Default)]
pub struct Patterns {
    /// By the length of the literal part, then by the part itself.
    by_len: BTreeMap<usize, HashMap<Box<[u8]>, Bucket, NameHash>>,
    arrivals: Arrival,
}

/// What a name must begin with for this pattern to match it.
fn literal_part(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}

impl Patterns {
    /// Counts a subscriber on loop `home`.
    pub fn join(&mut self, pattern: &[u8], home: LoopId) -> Joined {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let part = literal_part(pattern);
        let of_len = self.by_len.entry(part.len()).or_default();
        if !of_len.contains_key(part) {
            of_len.insert(part.into(), Bucket::new());
        }
        let bucket = of_len.get_mut(part).expect("it is there now");
        match bucket.binary_search_by(|(known, _)| (**known).cmp(pattern)) {
            Ok(at) => {
                count_in(&mut bucket[at].1, home);
                Joined { name: bucket[at].0.clone(), arrival, is_new: false }
            }
            Err(at) => {
                let name = Name::from(pattern);
                bucket.insert(at, (name.clone(), Homes::from_elem(Home { id: home, count: 1 }, 1)));
                Joined { name, arrival, is_new: true }
            }
        }
    }

    /// Counts a subscriber on loop `home` out. Returns whether the pattern has none any more.
    pub fn leave(&mut self, pattern: &[u8], home: LoopId) -> bool {
        let part = literal_part(pattern);
        let of_len = self.by_len.get_mut(&part.len()).expect("whoever leaves was counted");
        let bucket = of_len.get_mut(part).expect("whoever leaves was counted");
        let at = bucket.binary_search_by(|(known, _)| (**known).cmp(pattern)).expect("whoever leaves was counted");
        count_out(&mut bucket[at].1, home);
        if !bucket[at].1.is_empty() {
            return false;
        }
        bucket.remove(at);
        if bucket.is_empty() {
            of_len.remove(part);
        }
        if of_len.is_empty() {
            self.by_len.remove(&part.len());
        }
        true
    }

    /// Calls `found` with each pattern that matches, the least specific beginnings first.
    /// Cost: a look-up per length of literal parts; a match per pattern whose literal part the channel begins with.
    pub fn match_all(&self, channel: &[u8], mut found: impl FnMut(&Name, &[Home], Arrival)) {
        for (&len, of_len) in self.by_len.range(..=channel.len()) {
            let Some(bucket) = of_len.get(&channel[..len]) else { continue };
            let matching = bucket.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
            matching.for_each(|(pattern, homes)| found(pattern, homes, self.arrivals));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn matching(patterns: &Patterns, channel: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        patterns.match_all(channel, |pattern, _, _| found.push(pattern.to_vec()));
        found.sort();
        found
    }

    #[test]
    fn buckets_find_what_trying_every_pattern_finds() {
        let mut prng = Prng::seeded(5);
        let mut word = |letters: &[u8]| -> Vec<u8> {
            (0..prng.below(6)).map(|_| letters[prng.below(letters.len() as u64) as usize]).collect()
        };
        let (mut patterns, mut all) = (Patterns::default(), Vec::new());
        for _ in 0..300 {
            let pattern = word(b"abc*?[]\\a");
            let is_new = patterns.join(&pattern, LoopId(0)).is_new;
            assert_eq!(is_new, !all.contains(&pattern));
            all.push(pattern);
        }
        for step in 0..all.len() {
            let channel = word(b"abc[");
            let mut expected: Vec<_> = all[step..].iter().filter(|it| glob::matches(it, &channel)).cloned().collect();
            expected.sort();
            expected.dedup();
            assert_eq!(matching(&patterns, &channel), expected);
            let is_last = patterns.leave(&all[step], LoopId(0));
            assert_eq!(is_last, !all[step + 1..].contains(&all[step]));
        }
        assert!(patterns.by_len.is_empty(), "nothing is left behind");
    }
}
