//! A B+tree with counts: the order of a large sorted set, by score and then by member, and every member's rank.
//!
//! ```text
//! inner   [low, count, node] [low, count, node] …     36 branches: the lowest entry below, and how many there are
//! leaf    [score, link] [score, link] …               32 entries, 512 bytes
//! ```
//! A search compares scores that lie side by side, and looks at members only where scores are equal. A rank is the sum of
//! the counts to the left of the path. There are no pointers between leaves: a walk finds the next leaf by its rank, a
//! short descent for every 20 to 30 entries.
//!
//! *Full nodes* share with a neighbour; two full ones become three (a B*-tree), so that nodes are four fifths full on the
//! average. Entries that are added at the right or left end fill their leaves wholly. *Sparse nodes* join a neighbour, or
//! take half of what it has more. All of that is `spread`: so many neighbours' items, evenly over so many nodes. It happens
//! on the way down, so the way up changes nothing, and no operation ever costs more than a few nodes.
//!
//! **Source**: Comer, "The ubiquitous B-tree", 1979.

#![forbid(unsafe_code)]

use super::lent::{Snapshot, Stretch};
use super::member::Link;
use std::mem::take;
use std::ops::Range;
use std::sync::Arc;

/// Entries of a leaf. 32: 512 bytes, a size class; moving half of it costs about as much as one cache miss.
const LEAF_CAP: usize = 32;
/// Branches of an inner node: 36 · 56 bytes, under the size class of 2 KiB.
const INNER_CAP: usize = 36;
const _: () = assert!(size_of::<Entry>() * LEAF_CAP == 512 && size_of::<Branch>() * INNER_CAP <= 2048);

/// A member with the score by which it is sorted.
#[derive(Clone)]
pub struct Entry {
    pub score: f64,
    pub link: Link,
}

impl Entry {
    /// Does it stand before a member with this score?
    #[inline]
    pub fn is_before(&self, score: f64, member: &[u8]) -> bool {
        self.score < score || self.score == score && self.link.key() < member
    }
}

pub(super) enum Node {
    Leaf(Vec<Entry>),
    Inner(Vec<Branch>),
    /// An inner node above leaves that snapshots read, too. Whoever changes it, or what is below, takes it back first.
    Lent(Arc<Stretch>),
}

/// What is in a node.
enum View<'n> {
    Leaf(&'n Vec<Entry>),
    Inner(&'n Vec<Branch>),
}

/// A node as its parent knows it. It is never empty.
pub(super) struct Branch {
    /// A copy of the lowest entry.
    low: Entry,
    /// Entries below.
    count: usize,
    pub(super) node: Node,
}

/// See the module header.
pub struct Tree {
    root: Node,
    len: usize,
}

impl Node {
    #[inline]
    fn view(&self) -> View<'_> {
        match self {
            Node::Leaf(entries) => View::Leaf(entries),
            Node::Inner(branches) => View::Inner(branches),
            Node::Lent(stretch) => View::Inner(&stretch.branches),
        }
    }
    /// The node, to be changed.
    #[inline]
    fn own(&mut self) -> &mut Self {
        if let Node::Lent(_) = self {
            self.take_back();
        }
        self
    }
    #[cold]
    fn take_back(&mut self) {
        if let Node::Lent(stretch) = std::mem::replace(self, Node::Leaf(Vec::new())) {
            *self = Node::Inner(Stretch::take_back(stretch));
        }
    }
    /// Shares what lies right above leaves and holds any of `ranks` with a snapshot. The first entry here has the rank
    /// `first`.
    fn lend(&mut self, first: usize, ranks: &Range<usize>, snapshot: &mut Snapshot) {
        if let Node::Inner(branches) = self
            && !matches!(branches[0].node, Node::Leaf(_))
        {
            let mut first = first;
            for branch in branches {
                if first < ranks.end && first + branch.count > ranks.start {
                    branch.node.lend(first, ranks, snapshot);
                }
                first += branch.count;
            }
            return;
        }
        let part = ranks.start.max(first) - first..ranks.end.min(first + self.count()) - first;
        match self {
            Node::Leaf(entries) => return snapshot.add_entries(&entries[part]),
            Node::Inner(branches) => *self = Node::Lent(Arc::new(Stretch::of(take(branches)))),
            Node::Lent(_) => {}
        }
        if let Node::Lent(stretch) = self {
            snapshot.add(stretch.clone(), part);
        }
    }
    #[inline]
    fn len(&self) -> usize {
        match self.view() {
            View::Leaf(entries) => entries.len(),
            View::Inner(branches) => branches.len(),
        }
    }
    fn cap(&self) -> usize {
        match self {
            Node::Leaf(_) => LEAF_CAP,
            Node::Inner(_) | Node::Lent(_) => INNER_CAP,
        }
    }
    #[inline]
    fn is_full(&self) -> bool {
        self.len() == self.cap()
    }
    fn count(&self) -> usize {
        match self.view() {
            View::Leaf(entries) => entries.len(),
            View::Inner(branches) => branches.iter().map(|branch| branch.count).sum(),
        }
    }
    fn first(&self) -> &Entry {
        match self.view() {
            View::Leaf(entries) => &entries[0],
            View::Inner(branches) => &branches[0].low,
        }
    }
    fn last(&self) -> &Entry {
        match self.view() {
            View::Leaf(entries) => &entries[entries.len() - 1],
            View::Inner(branches) => branches[branches.len() - 1].node.last(),
        }
    }
    /// A node as high as this one, with one entry.
    fn single(&self, entry: Entry) -> Node {
        let deepest = match self.view() {
            View::Leaf(_) => None,
            View::Inner(branches) => Some(&branches[0].node),
        };
        match deepest {
            None => Node::Leaf(with_cap(LEAF_CAP, [entry])),
            Some(below) => Node::Inner(with_cap(INNER_CAP, [Branch::of(below.single(entry))])),
        }
    }
    /// Adds an entry. There is room.
    fn insert(&mut self, entry: Entry) {
        match self.own() {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|other| other.is_before(entry.score, entry.link.key()));
                entries.insert(at, entry);
            }
            Node::Inner(branches) => insert_below(branches, entry),
            Node::Lent(_) => unreachable!("it was taken back"),
        }
    }
    /// Takes the entry `rank` out. Is the first one another now?
    fn remove(&mut self, rank: usize) -> (Entry, bool) {
        match self.own() {
            Node::Leaf(entries) => (entries.remove(rank), rank == 0),
            Node::Inner(branches) => remove_below(branches, rank),
            Node::Lent(_) => unreachable!("it was taken back"),
        }
    }
}

impl Branch {
    fn of(node: Node) -> Self {
        Branch { low: node.first().clone(), count: node.count(), node }
    }
    /// The same branches over copies of the same leaves.
    pub(super) fn duplicate_leaves(branches: &[Branch]) -> Vec<Branch> {
        let copies = branches.iter().filter_map(|branch| match branch.node.view() {
            View::Leaf(entries) => Some(Branch::of(Node::Leaf(with_cap(LEAF_CAP, entries.iter().cloned())))),
            View::Inner(_) => None,
        });
        with_cap(INNER_CAP, copies)
    }
}

/// The items in a vector with room for `cap`, so that it never grows.
fn with_cap<T>(cap: usize, items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut made = Vec::with_capacity(cap);
    made.extend(items);
    made
}

/// The branch in which entries that stand right behind the cut lie, or end.
#[inline]
fn branch_at(branches: &[Branch], is_before: &impl Fn(&Entry) -> bool) -> usize {
    branches.partition_point(|branch| is_before(&branch.low)).saturating_sub(1)
}

fn insert_below(branches: &mut Vec<Branch>, entry: Entry) {
    let goes_before = |other: &Entry| other.is_before(entry.score, entry.link.key());
    let mut at = branch_at(branches, &goes_before);
    if branches[at].node.is_full() {
        // At an end: a new node, and the full one stays full.
        let is_first = at == 0 && !goes_before(&branches[0].low);
        let is_last = at + 1 == branches.len() && goes_before(branches[at].node.last());
        if is_first || is_last {
            let node = branches[at].node.single(entry);
            return branches.insert(if is_first { 0 } else { at + 1 }, Branch::of(node));
        }
        make_room(branches, at);
        at = branch_at(branches, &goes_before);
    }
    let branch = &mut branches[at];
    branch.count += 1;
    if at == 0 && !goes_before(&branch.low) {
        branch.low = entry.clone();
    }
    branch.node.insert(entry);
}

/// The node `at` is full: shares it with a neighbour, or makes a new node.
fn make_room(branches: &mut Vec<Branch>, at: usize) {
    let has_room = |other: &Branch| other.node.len() <= other.node.cap() / 8 * 7;
    let left = at.checked_sub(1);
    let right = (at + 1 < branches.len()).then_some(at);
    match (left, right) {
        (Some(left), _) if has_room(&branches[left]) => spread(branches, left..left + 2, 2),
        (_, Some(right)) if has_room(&branches[right + 1]) => spread(branches, right..right + 2, 2),
        (Some(pair), _) | (None, Some(pair)) => spread(branches, pair..pair + 2, 3),
        (None, None) => spread(branches, at..at + 1, 2),
    }
}

fn remove_below(branches: &mut Vec<Branch>, rank: usize) -> (Entry, bool) {
    let (at, before) = branch_of(branches, rank);
    let branch = &mut branches[at];
    branch.count -= 1;
    let (entry, is_first_new) = branch.node.remove(rank - before);
    if branch.count == 0 {
        branches.remove(at);
        return (entry, at == 0);
    }
    if is_first_new {
        branch.low = branch.node.first().clone();
    }
    if branch.node.len() < branch.node.cap() / 4 && branches.len() > 1 {
        join(branches, at.min(branches.len() - 2));
    }
    (entry, is_first_new && at == 0)
}

/// One of the nodes `left` and `left + 1` is sparse: makes one of them, or two even ones.
fn join(branches: &mut Vec<Branch>, left: usize) {
    let len = branches[left].node.len() + branches[left + 1].node.len();
    let fits = len <= branches[left].node.cap() / 4 * 3;
    spread(branches, left..left + 2, if fits { 1 } else { 2 });
}

/// The branch that holds the entry `rank`, and the number of entries in front of it.
#[inline]
fn branch_of(branches: &[Branch], rank: usize) -> (usize, usize) {
    let mut before = 0;
    for (at, branch) in branches.iter().enumerate() {
        if rank - before < branch.count {
            return (at, before);
        }
        before += branch.count;
    }
    unreachable!("a rank is less than the number of entries")
}

/// Puts what the nodes of `from` hold evenly into `to` nodes.
fn spread(branches: &mut Vec<Branch>, from: Range<usize>, to: usize) {
    let first = from.start;
    let (mut entries, mut below) = (Vec::new(), Vec::new());
    for mut branch in branches.drain(from) {
        match branch.node.own() {
            Node::Leaf(items) => entries.append(items),
            Node::Inner(items) => below.append(items),
            Node::Lent(_) => unreachable!("it was taken back"),
        }
    }
    let nodes: Vec<Branch> = if below.is_empty() {
        portions(entries, to, LEAF_CAP).map(|items| Branch::of(Node::Leaf(items))).collect()
    } else {
        portions(below, to, INNER_CAP).map(|items| Branch::of(Node::Inner(items))).collect()
    };
    branches.splice(first..first, nodes);
}

/// The items in `count` even portions, each with room for `cap`.
fn portions<T>(items: Vec<T>, count: usize, cap: usize) -> impl Iterator<Item = Vec<T>> {
    let len = items.len();
    let mut rest = items.into_iter();
    (0..count).map(move |at| with_cap(cap, rest.by_ref().take((at + 1) * len / count - at * len / count)))
}

impl Default for Tree {
    fn default() -> Self {
        Tree { root: Node::Leaf(Vec::new()), len: 0 }
    }
}

impl Tree {
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    /// Adds an entry that is not there yet.
    pub fn insert(&mut self, entry: Entry) {
        if let Node::Leaf(entries) = &mut self.root
            && entries.capacity() < LEAF_CAP
        {
            entries.reserve_exact(LEAF_CAP);
        }
        if self.root.is_full() {
            let old = std::mem::replace(&mut self.root, Node::Leaf(Vec::new()));
            self.root = Node::Inner(with_cap(INNER_CAP, [Branch::of(old)]));
        }
        self.root.insert(entry);
        self.len += 1;
    }
    /// Takes the entry `rank` out, which is less than `len`.
    pub fn remove(&mut self, rank: usize) -> Entry {
        self.len -= 1;
        let (entry, _) = self.root.remove(rank);
        while let Node::Inner(branches) = self.root.own()
            && branches.len() <= 1
        {
            self.root = take(branches).pop().map_or(Node::Leaf(Vec::new()), |only| only.node);
        }
        entry
    }
    /// Number of entries for which `is_before` holds: those in front of some cut through the order.
    #[inline]
    pub fn rank_of(&self, is_before: impl Fn(&Entry) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node.view() {
                View::Leaf(entries) => return rank + entries.partition_point(is_before),
                View::Inner(branches) => {
                    let at = branch_at(branches, &is_before);
                    rank += branches[..at].iter().map(|branch| branch.count).sum::<usize>();
                    node = &branches[at].node;
                }
            }
        }
    }
    /// The entries from `rank` on that lie in one leaf, and how many of that leaf stand in front. `rank` is less than `len`.
    pub fn leaf(&self, rank: usize) -> (&[Entry], usize) {
        let (mut node, mut rank) = (&self.root, rank);
        loop {
            match node.view() {
                View::Leaf(entries) => return (entries, rank),
                View::Inner(branches) => {
                    let (at, before) = branch_of(branches, rank);
                    rank -= before;
                    node = &branches[at].node;
                }
            }
        }
    }
    /// Gives the entry of `member` another score, if it keeps its place by that and its neighbours are at hand.
    pub fn rescore(&mut self, old: f64, member: &[u8], new: f64) -> bool {
        let is_before = |entry: &Entry| entry.is_before(old, member);
        let mut node = self.root.own();
        while let Node::Inner(branches) = node {
            // Up to and with the entry itself: it may be the lowest of its branch.
            let at = branches.partition_point(|branch| {
                is_before(&branch.low) || branch.low.score == old && branch.low.link.key() == member
            });
            node = branches[at.saturating_sub(1)].node.own();
        }
        let Node::Leaf(entries) = node else { return false };
        let at = entries.partition_point(is_before);
        let fits = at > 0
            && at + 1 < entries.len()
            && entries[at - 1].is_before(new, member)
            && !entries[at + 1].is_before(new, member);
        if fits {
            entries[at].score = new;
        }
        fits
    }
    /// Visits the entries of `ranks` in their order, or from the last to the first.
    pub fn each(&self, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(&Entry)) {
        let (mut start, mut end) = (ranks.start, ranks.end);
        while start < end {
            if reverse {
                let (entries, at) = self.leaf(end - 1);
                let first = at.saturating_sub(end - 1 - start);
                entries[first..=at].iter().rev().for_each(&mut visit);
                end -= at + 1 - first;
            } else {
                let (entries, at) = self.leaf(start);
                let last = entries.len().min(at + end - start);
                entries[at..last].iter().for_each(&mut visit);
                start += last - at;
            }
        }
    }
    /// Adds the entries of `ranks` to a snapshot.
    /// Cost: a small allocation for some 700 entries.
    pub fn lend(&mut self, ranks: &Range<usize>, snapshot: &mut Snapshot) {
        if !ranks.is_empty() {
            self.root.lend(0, ranks, snapshot);
        }
    }
    /// Bytes of the nodes.
    /// Cost: a look at every inner node, one for about a thousand entries.
    pub fn memory(&self) -> usize {
        fn of(node: &Node) -> usize {
            match node.view() {
                View::Leaf(entries) => entries.capacity() * size_of::<Entry>(),
                View::Inner(branches) => {
                    let leaves = branches.iter().map(|branch| of(&branch.node)).sum::<usize>();
                    branches.capacity() * size_of::<Branch>() + leaves
                }
            }
        }
        of(&self.root)
    }
    /// Panics unless the tree is as the module header says. For tests.
    #[cfg(test)]
    pub fn check(&self) {
        fn check(node: &Node, is_root: bool) -> (usize, usize) {
            match node.view() {
                View::Leaf(entries) => {
                    assert!(is_root || !entries.is_empty());
                    assert!(entries.len() <= LEAF_CAP);
                    assert!(entries.capacity() == LEAF_CAP || is_root && entries.is_empty(), "{}", entries.capacity());
                    assert!(entries.is_sorted_by(|a, b| a.is_before(b.score, b.link.key())));
                    (entries.len(), 0)
                }
                View::Inner(branches) => {
                    assert!(branches.len() <= INNER_CAP && branches.capacity() == INNER_CAP);
                    assert!(!is_root || branches.len() > 1);
                    let below: Vec<_> = branches.iter().map(|branch| check(&branch.node, false)).collect();
                    for (branch, &(count, height)) in branches.iter().zip(&below) {
                        assert_eq!((branch.count, height), (count, below[0].1));
                        assert!(branch.low.link.key() == branch.node.first().link.key());
                        assert!(branch.low.score == branch.node.first().score);
                    }
                    for pair in branches.windows(2) {
                        assert!(pair[0].node.last().is_before(pair[1].low.score, pair[1].low.link.key()));
                    }
                    (below.iter().map(|(count, _)| count).sum(), below[0].1 + 1)
                }
            }
        }
        assert_eq!(check(&self.root, true).0, self.len);
    }
}
