//! Sorted sets: members that are unique, each with a score; in order of the scores, members of one score by their bytes.
//!
//! ```text
//! Pack     few short members     pairs in one allocation, every operation a walk     OBJECT ENCODING: listpack
//! Tree     all others            B+tree with counts, and a hash index                OBJECT ENCODING: skiplist
//! ```
//! Whatever asks for a part of the order (by rank, by score, by member) gets a range of ranks: a `Cut` is a place in the
//! order, and `rank_of` counts what is in front of it. A set becomes a tree where Redis makes a skip list, and never goes
//! back by itself.

mod large;
mod lent;
#[cfg(all(test, not(loom)))]
mod lent_test;
mod member;
mod small;
mod tree;
#[cfg(all(test, not(loom)))]
mod zset_fuzz;

use super::hash_table::Shape;
use super::object::{Collection, ObjectType, look_into};
use super::pack::Pack;
use large::Large;
pub use lent::Snapshot;
use std::ops::Range;

/// See the module header.
pub enum SortedSet {
    Pack(Pack),
    Tree(Box<Large>),
}

const _: () = assert!(size_of::<SortedSet>() <= 16);

/// Up to where a set stays a pack.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members. Source: zset-max-listpack-entries.
    pub entries: usize,
    /// Bytes of a member. Source: zset-max-listpack-value.
    pub value: usize,
}

/// Bytes that a pack never passes, whatever the limits say. Source: Redis, LISTPACK_MAX_SAFETY_LIMIT.
const PACK_LEN_MAX: usize = 1 << 30;

/// What `set` found and did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The score before, if the member was there.
    pub old: Option<f64>,
    /// The score that was to be stored, which may be the old one.
    pub new: Option<f64>,
}

impl Change {
    pub const NONE: Change = Change { old: None, new: None };
}

/// A place between members.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut<'a> {
    /// In front of all members.
    Start,
    /// Behind them.
    End,
    /// In front of all with this score or a higher one.
    BelowScore(f64),
    /// Behind all with this score or a lower one.
    AboveScore(f64),
    /// In front of this member and all higher ones. Means something only if all scores are equal; so do the next.
    BelowMember(&'a [u8]),
    /// Behind this member and all lower ones.
    AboveMember(&'a [u8]),
}

impl Cut<'_> {
    /// Is a member in front of this cut?
    #[inline]
    fn is_behind<'m>(&self, score: f64, member: impl FnOnce() -> &'m [u8]) -> bool {
        match *self {
            Cut::Start => false,
            Cut::End => true,
            Cut::BelowScore(limit) => score < limit,
            Cut::AboveScore(limit) => score <= limit,
            Cut::BelowMember(limit) => member() < limit,
            Cut::AboveMember(limit) => member() <= limit,
        }
    }
}

impl Default for SortedSet {
    fn default() -> Self {
        SortedSet::Pack(Pack::new())
    }
}

impl SortedSet {
    /// How the members lie in the table that finds them by name, if there is one.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            SortedSet::Tree(large) => Some(large.shape()),
            SortedSet::Pack(_) => None,
        }
    }
    /// Number of members.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            SortedSet::Pack(pack) => small::len(pack),
            SortedSet::Tree(large) => large.len(),
        }
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSet::Pack(pack) => small::find(pack, member).map(|(_, score)| score),
            SortedSet::Tree(large) => large.score(member),
        }
    }
    /// Stores a score: `if_absent` for a member that is not there (None: nothing), else what `if_there` makes of the old one
    /// (None: nothing). Scores are numbers.
    pub fn set(
        &mut self,
        member: &[u8],
        limits: Limits,
        if_absent: Option<f64>,
        if_there: impl FnOnce(f64) -> Option<f64>,
    ) -> Change {
        let pack = match self {
            SortedSet::Tree(large) => return large.set(member, if_absent, if_there),
            SortedSet::Pack(pack) => pack,
        };
        if let Some((place, old)) = small::find(pack, member) {
            let new = if_there(old);
            if let Some(score) = new.filter(|&score| score != old) {
                small::rescore(pack, place, member, score);
            }
            return Change { old: Some(old), new };
        }
        let Some(score) = if_absent else { return Change::NONE };
        if small::len(pack) >= limits.entries || !fits(pack, member, limits) {
            self.grow();
            return self.set(member, limits, if_absent, if_there);
        }
        small::insert(pack, member, score);
        Change { old: None, new: Some(score) }
    }
    /// Stores a score, whatever was there.
    pub fn put(&mut self, member: &[u8], limits: Limits, score: f64) -> Change {
        self.set(member, limits, Some(score), |_| Some(score))
    }
    /// Makes it a tree at once, if so many members, the longest of so many bytes, do not fit a pack.
    pub fn expect(&mut self, count: usize, longest: usize, limits: Limits) {
        if matches!(self, SortedSet::Pack(_)) && (count > limits.entries || longest > limits.value) {
            self.grow();
        }
    }
    fn grow(&mut self) {
        if let SortedSet::Pack(pack) = self {
            let mut large = Box::<Large>::default();
            small::each(pack, 0..small::len(pack), false, |member, score| {
                large.set(member, Some(score), |_| None);
            });
            *self = SortedSet::Tree(large);
        }
    }
    /// Removes a member and returns its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSet::Pack(pack) => {
                let (place, score) = small::find(pack, member)?;
                small::remove(pack, place);
                Some(score)
            }
            SortedSet::Tree(large) => large.remove(member),
        }
    }
    /// The number of members in front of this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            SortedSet::Pack(pack) => {
                let mut pairs = small::pairs(pack).enumerate();
                pairs.find_map(|(rank, (other, score))| other.is(member).then_some((rank, score)))
            }
            SortedSet::Tree(large) => {
                let score = large.score(member)?;
                Some((large.rank(member, score), score))
            }
        }
    }
    /// Number of members in front of a cut.
    pub fn rank_of(&self, cut: Cut<'_>) -> usize {
        match self {
            SortedSet::Pack(pack) => small::rank_of(pack, cut),
            SortedSet::Tree(large) => large.rank_of(cut),
        }
    }
    /// The ranks between two cuts; none if they are the wrong way round.
    pub fn between(&self, from: Cut<'_>, to: Cut<'_>) -> Range<usize> {
        let end = self.rank_of(to);
        self.rank_of(from).min(end)..end
    }
    /// Visits the members of `ranks` in their order, or from the last to the first.
    #[inline]
    pub fn each(&self, ranks: Range<usize>, reverse: bool, visit: impl FnMut(&[u8], f64)) {
        match self {
            SortedSet::Pack(pack) => small::each(pack, ranks, reverse, visit),
            SortedSet::Tree(large) => large.each(ranks, reverse, visit),
        }
    }
    /// The members of `ranks` as they are now, to be read while the set goes on.
    pub fn snapshot(&mut self, ranks: Range<usize>) -> Snapshot {
        match self {
            SortedSet::Pack(pack) => Snapshot::of_pack(pack, ranks),
            SortedSet::Tree(large) => large.snapshot(ranks),
        }
    }
    /// Removes the members of `ranks` and visits each as it goes, in their order or from the last to the first.
    pub fn take(&mut self, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            SortedSet::Pack(pack) => {
                small::each(pack, ranks.clone(), reverse, visit);
                small::remove_ranks(pack, ranks);
            }
            SortedSet::Tree(large) => {
                for left in (0..ranks.len()).rev() {
                    large.take(if reverse { ranks.start + left } else { ranks.start }, &mut visit);
                }
            }
        }
    }
    /// Visits some members and returns the next cursor, 0 at the end. Who is there throughout is visited at least once.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], f64)) -> u64 {
        match self {
            SortedSet::Pack(_) => {
                self.each(0..self.len(), false, &mut visit);
                0
            }
            SortedSet::Tree(large) => large.scan(cursor, visit),
        }
    }
}

/// May this member be in a pack, and has the pack room for it?
fn fits(pack: &Pack, member: &[u8], limits: Limits) -> bool {
    member.len() <= limits.value && pack.bytes() + member.len() < PACK_LEN_MAX
}

impl Collection for SortedSet {
    const TYPE: ObjectType = ObjectType::SortedSet;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    fn encoding(&self) -> &'static str {
        match self {
            SortedSet::Pack(_) => "listpack",
            SortedSet::Tree(_) => "skiplist",
        }
    }
    fn memory(&self, samples: usize) -> usize {
        match self {
            SortedSet::Pack(pack) => pack.memory(),
            SortedSet::Tree(large) => large.memory(samples),
        }
    }
    fn pieces(&self) -> usize {
        match self {
            SortedSet::Pack(_) => 1,
            SortedSet::Tree(large) => large.pieces(),
        }
    }
    fn duplicate(&self) -> Self {
        match self {
            SortedSet::Pack(pack) => SortedSet::Pack(pack.clone()),
            SortedSet::Tree(large) => SortedSet::Tree(Box::new(large.duplicate())),
        }
    }
    fn look_ahead(&self, element: u64, step: usize) -> bool {
        match (self, step) {
            (SortedSet::Pack(pack), _) => pack.look_ahead(),
            (SortedSet::Tree(large), 0) => look_into(&**large),
            (SortedSet::Tree(large), step) => element != 0 && large.look_ahead(element, step - 1),
        }
    }
}
