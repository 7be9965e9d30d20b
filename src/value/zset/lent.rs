//! Snapshots of large sorted sets: a part of the order as it was at one moment, read bit by bit while the set goes on.
//!
//! A snapshot shares the nodes right above the leaves (*stretches* of some 700 entries) with the tree. Their entries are
//! links to members that the set's index owns, so sharing a node does not keep its members alive. Therefore
//!
//! ```text
//! reader    locks the stretch; reads the entries, or the copy if there is one
//! writer    before it changes a stretch, and with it any member of it: locks it, and makes a copy of its members, once
//! end       a set that goes while it is being read leaves its index, and so its members, to its snapshots
//! ```
//! So a writer pays for a copy of each stretch that it hits, a slow reader keeps at most as much as the set had, and
//! nobody waits longer than it takes to go through one stretch.
//!
//! No atomics of its own, so there is no model of it among `loom-tests`: what passes from one thread to another does so under
//! a stretch's lock or the estate's, or with the last reference to either.

#![forbid(unsafe_code)]

use super::large::Large;
use super::member::Member;
use super::tree::{Branch, Entry, Node};
use super::{SortedSet, small};
use crate::value::drain;
use crate::value::hash_table::HashTable;
use crate::value::object::Value;
use crate::value::pack::Pack;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Scores and members.
type Pairs = Vec<(f64, Box<[u8]>)>;

/// Entries side by side. See the module header.
#[derive(Default)]
pub struct Stretch {
    /// Leaves and how many entries each has; never changed. Their links may be followed by whoever holds the set's lock, or
    /// by whoever holds `copy` and finds nothing in it.
    pub(super) branches: Vec<Branch>,
    copy: Mutex<Option<Pairs>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // The process does not survive a panic.
}

fn leaves(branches: &[Branch]) -> impl DoubleEndedIterator<Item = &[Entry]> {
    branches.iter().map(|branch| match &branch.node {
        Node::Leaf(entries) => entries.as_slice(),
        Node::Inner(_) | Node::Lent(_) => unreachable!("a stretch lies right above leaves"),
    })
}

fn pairs_of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Pairs {
    entries.map(|entry| (entry.score, entry.link.key().into())).collect()
}

impl Stretch {
    /// A stretch that a tree and snapshots share from here on.
    pub(super) fn of(branches: Vec<Branch>) -> Self {
        Stretch { branches, copy: Mutex::new(None) }
    }
    /// One of copies only.
    fn copied(pairs: Pairs) -> Self {
        Stretch { branches: Vec::new(), copy: Mutex::new(Some(pairs)) }
    }
    /// The branches for the tree alone, to be changed.
    /// Cost: if a snapshot has still to read them, a copy of some 700 members.
    pub(super) fn take_back(stretch: Arc<Self>) -> Vec<Branch> {
        let shared = match Arc::try_unwrap(stretch) {
            Ok(stretch) => return stretch.branches,
            Err(shared) => shared,
        };
        locked(&shared.copy).get_or_insert_with(|| pairs_of(leaves(&shared.branches).flatten()));
        Branch::duplicate_leaves(&shared.branches)
    }
    /// Visits the entries of `part`, in their order or from the last to the first.
    fn visit(&self, part: Range<usize>, reverse: bool, mut visit: impl FnMut(&[u8], f64)) {
        let copy = locked(&self.copy);
        if let Some(pairs) = &*copy {
            let mut visit = |(score, member): &(f64, Box<[u8]>)| visit(member, *score);
            return if reverse {
                pairs[part].iter().rev().for_each(visit)
            } else {
                pairs[part].iter().for_each(&mut visit)
            };
        }
        let mut visit = |entry: &Entry| visit(entry.link.key(), entry.score);
        let mut first = 0;
        let mut parts: Vec<&[Entry]> = Vec::with_capacity(self.branches.len());
        for leaf in leaves(&self.branches) {
            let (start, end) = (part.start.max(first) - first, part.end.clamp(first, first + leaf.len()) - first);
            parts.extend(leaf.get(start..end));
            first += leaf.len();
        }
        match reverse {
            true => parts.iter().rev().for_each(|leaf| leaf.iter().rev().for_each(&mut visit)),
            false => parts.iter().for_each(|leaf| leaf.iter().for_each(&mut visit)),
        }
    }
}

/// Where a set that is gone leaves its members while snapshots read them.
#[derive(Default)]
pub struct Estate(Mutex<Option<HashTable<Member>>>);

impl Estate {
    pub(super) fn inherit(&self, index: HashTable<Member>) {
        *locked(&self.0) = Some(index);
    }
}

/// A part of a stretch.
struct Piece {
    stretch: Arc<Stretch>,
    part: Range<usize>,
    /// Members of the snapshot up to and with this piece.
    end: usize,
}

/// See the module header.
#[derive(Default)]
pub struct Snapshot {
    pieces: Vec<Piece>,
    /// What was visited.
    front: usize,
    estate: Option<Arc<Estate>>,
}

impl Snapshot {
    pub(super) fn of_large(estate: Arc<Estate>) -> Self {
        Snapshot { pieces: Vec::new(), front: 0, estate: Some(estate) }
    }
    pub(super) fn of_pack(pack: &Pack, ranks: Range<usize>) -> Self {
        let mut pairs = Pairs::new();
        small::each(pack, ranks, false, |member, score| pairs.push((score, member.into())));
        let mut snapshot = Snapshot::default();
        snapshot.add_copies(pairs);
        snapshot
    }
    /// Adds a part of a stretch behind what is there.
    pub(super) fn add(&mut self, stretch: Arc<Stretch>, part: Range<usize>) {
        let end = self.len() + part.len();
        self.pieces.push(Piece { stretch, part, end });
    }
    fn add_copies(&mut self, pairs: Pairs) {
        let part = 0..pairs.len();
        self.add(Arc::new(Stretch::copied(pairs)), part);
    }
    pub(super) fn add_entries(&mut self, entries: &[Entry]) {
        self.add_copies(pairs_of(entries.iter()));
    }
    /// Number of members when it was made.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |piece| piece.end)
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Visits the next members in their order, or the last ones from the last to the first, and forgets them; some 700. False:
    /// there were no more.
    pub fn visit_some(&mut self, reverse: bool, visit: impl FnMut(&[u8], f64)) -> bool {
        let piece = if reverse {
            self.pieces.pop()
        } else {
            let next = self.pieces.get_mut(self.front).map(|piece| Piece {
                stretch: std::mem::take(&mut piece.stretch),
                part: piece.part.clone(),
                end: piece.end,
            });
            self.front += next.is_some() as usize;
            next
        };
        let Some(Piece { stretch, part, .. }) = piece else { return false };
        stretch.visit(part, reverse, visit);
        true
    }
    /// Visits one member of a snapshot of which none was visited so far.
    pub fn visit_one(&self, index: usize, visit: impl FnMut(&[u8], f64)) {
        let at = self.pieces.partition_point(|piece| piece.end <= index);
        let Some(piece) = self.pieces.get(at) else { return };
        let within = piece.part.end - (piece.end - index);
        piece.stretch.visit(within..within + 1, false, visit);
    }
}

impl Drop for Snapshot {
    /// The set may be gone by now, and its members ours alone.
    fn drop(&mut self) {
        self.pieces.clear();
        if let Some(index) = self
            .estate
            .take()
            .and_then(Arc::into_inner)
            .and_then(|estate| estate.0.into_inner().unwrap_or_else(PoisonError::into_inner))
        {
            drain::discard_rest(Value::new(SortedSet::Tree(Box::new(Large::of_remains(index)))));
        }
    }
}
