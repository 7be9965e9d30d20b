//! A large sorted set: a tree that knows the order, and an index that finds a member and its score by the member's hash.
//!
//! The index owns the members, each an allocation of score and bytes; the tree holds links to them, beside a copy of each
//! score. About 68 bytes for a member of 16: 32 for itself, 22 in the tree, 14 in the index.

use super::lent::{Estate, Snapshot};
use super::member::{Link, Member};
use super::tree::{Entry, Tree};
use super::{Change, Cut};
use crate::value::hash_table::{HashTable, Item, Shape};
use std::ops::Range;
use std::sync::Arc;

/// See the module header.
/// Invariant: the tree's links are those of the index's members, and each score is the same in both.
#[derive(Default)]
pub struct Large {
    tree: Tree,
    index: HashTable<Member>,
    /// Of the set's snapshots, once there was one.
    estate: Option<Arc<Estate>>,
}

/// The tree's entry for `member`.
#[inline]
fn entry(member: &Member, score: f64) -> Entry {
    // SAFETY: the entry goes into the tree beside the index that owns the member. It is taken out of the tree before the
    // member leaves the index or changes its score, and the two go together when the set goes (no links are read by then).
    // Snapshots read links, too: only in stretches that nobody has taken back to change them, and a set that goes leaves its
    // index to its snapshots (`Drop`).
    let link = unsafe { Link::to(member) };
    Entry { score, link }
}

impl Large {
    /// See `HashTable::look_ahead`.
    pub fn look_ahead(&self, hash: u64, step: usize) -> bool {
        self.index.look_ahead(hash, step)
    }
    /// How the members lie in the index.
    pub fn shape(&self) -> Shape {
        self.index.shape()
    }
    /// Of the members of a set that is gone, to be freed.
    pub(super) fn of_remains(index: HashTable<Member>) -> Self {
        let mut remains = Large::default();
        remains.index = index;
        remains
    }
    /// Allocations that are freed with it.
    pub fn pieces(&self) -> usize {
        self.index.len()
    }
    /// The members of `ranks` as they are now, to be read while the set goes on.
    /// Cost: a small allocation for some 700 members.
    pub fn snapshot(&mut self, ranks: Range<usize>) -> Snapshot {
        let mut snapshot = Snapshot::of_large(self.estate.get_or_insert_default().clone());
        self.tree.lend(&ranks, &mut snapshot);
        snapshot
    }
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len()
    }
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.index.get(member).map(Member::score)
    }
    /// As `SortedSet::set`.
    pub fn set(&mut self, member: &[u8], if_absent: Option<f64>, if_there: impl FnOnce(f64) -> Option<f64>) -> Change {
        let found = match if_absent {
            Some(score) => Some(self.index.find_or_insert(member, || Member::new(score, member))),
            None => self.index.get_mut(member).map(|item| (item, false)),
        };
        let Some((item, is_new)) = found else { return Change::NONE };
        let old = item.score();
        if is_new {
            self.tree.insert(entry(item, old));
            return Change { old: None, new: Some(old) };
        }
        let new = if_there(old);
        if let Some(score) = new.filter(|&score| score != old) {
            if !self.tree.rescore(old, member, score) {
                let rank = self.tree.rank_of(|entry| entry.is_before(old, member));
                self.tree.remove(rank);
                self.tree.insert(entry(item, score));
            }
            item.set_score(score);
        }
        Change { old: Some(old), new }
    }
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = self.score(member)?;
        let rank = self.rank(member, score);
        self.tree.remove(rank);
        self.index.remove(member);
        Some(score)
    }
    /// The rank of a member that is there, with this score.
    pub fn rank(&self, member: &[u8], score: f64) -> usize {
        self.tree.rank_of(|entry| entry.is_before(score, member))
    }
    pub fn rank_of(&self, cut: Cut<'_>) -> usize {
        match cut {
            Cut::Start => 0,
            Cut::End => self.len(),
            _ => self.tree.rank_of(|entry| cut.is_behind(entry.score, || entry.link.key())),
        }
    }
    pub fn each(&self, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(&[u8], f64)) {
        self.tree.each(ranks, reverse, |entry| visit(entry.link.key(), entry.score));
    }
    /// Removes the entry `rank` and shows it before it goes.
    pub fn take(&mut self, rank: usize, visit: impl FnOnce(&[u8], f64)) {
        let entry = self.tree.remove(rank);
        // The member is moved out of the index first, so that its bytes live until this function ends.
        let member = self.index.remove(entry.link.key());
        if let Some(member) = member {
            visit(member.key(), entry.score);
        }
    }
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        self.index.scan(cursor, |member| visit(member.key(), member.score()))
    }
    /// Bytes on the heap; those of the members estimated from `samples` of them, or counted (0).
    pub fn memory(&self, samples: usize) -> usize {
        let count = if samples == 0 { self.len() } else { samples.min(self.len()) };
        let seen: usize = self.index.iter().take(count).map(Member::memory).sum();
        let members = if count == 0 { 0 } else { (seen as f64 / count as f64 * self.len() as f64) as usize };
        size_of::<Self>() + members + self.tree.memory() + self.index.memory(samples)
    }
    pub fn duplicate(&self) -> Self {
        let mut copy = Large::default();
        // In order, so that the copy's leaves are full.
        self.each(0..self.len(), false, |member, score| {
            copy.set(member, Some(score), |_| None);
        });
        copy
    }
    #[cfg(test)]
    pub fn check(&self) {
        self.tree.check();
        assert_eq!(self.tree.len(), self.index.len());
        self.tree.each(0..self.len(), false, |entry| assert_eq!(self.score(entry.link.key()), Some(entry.score)));
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(estate) = self.estate.take().filter(|estate| Arc::strong_count(estate) > 1) {
            estate.inherit(std::mem::take(&mut self.index));
        }
    }
}
