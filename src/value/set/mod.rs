//! Sets: sorted integers or a pack while they are small, a hash table beyond.
//!
//! ```text
//! Ints    integers only, at most set-max-intset-entries                         OBJECT ENCODING intset
//! Pack    at most set-max-listpack-entries members of -value bytes              OBJECT ENCODING listpack
//! Table   each member in an allocation of its own                               OBJECT ENCODING hashtable
//! ```
//! An addition that a form cannot hold goes on to the next one; nothing leads back. The limits are looked at when something
//! is added, as in Redis.

#![forbid(unsafe_code)]

#[cfg(all(test, not(loom)))]
mod set_fuzz;

use super::block::Block;
use super::drain;
use super::hash_table::{HashTable, Item, Shape};
use super::intset::IntSet;
use super::object::{Collection, ObjectType, Value, look_into};
use super::pack::{Pack, Piece};
use crate::base::prng::Prng;
use std::ops::ControlFlow;

/// A member of a table.
#[derive(Clone)]
pub struct Member(Block);

impl Item for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        self.0.bytes()
    }
    #[inline]
    fn address(&self) -> *const u8 {
        self.0.address()
    }
}

/// How large the small forms may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members of `Ints`.
    pub ints: usize,
    /// Members of `Pack`.
    pub pack: usize,
    /// Bytes of a member of `Pack`.
    pub member_len: usize,
}

/// A set. An emptied one must be removed by its owner.
pub enum Set {
    Ints(IntSet),
    Pack(Pack),
    Table(Box<HashTable<Member>>),
}

const _: () = assert!(size_of::<Set>() <= 16, "an entry has room for so much");

impl Default for Set {
    fn default() -> Self {
        Set::Ints(IntSet::new())
    }
}

/// The members of several sets' results.
pub type Found<'a> = Vec<Piece<'a>>;

impl Set {
    /// An empty set in the form that `count` members, of which `first` is one, will begin in.
    #[inline]
    pub fn expecting(first: &[u8], count: usize, limits: &Limits) -> Self {
        match Piece::of(first) {
            Piece::Int(_) if count <= limits.ints => Set::Ints(IntSet::new()),
            _ if count <= limits.pack => Set::Pack(Pack::new()),
            _ => Set::Table(Box::default()),
        }
    }
    /// Prepares for an addition of `count` members.
    #[inline]
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        match self {
            Set::Ints(_) if count > limits.ints => self.make_table(),
            Set::Pack(_) if count > limits.pack => self.make_table(),
            _ => {}
        }
    }
    /// How the members lie in the table, if there is one.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Set::Table(table) => Some(table.shape()),
            _ => None,
        }
    }
    /// Number of members.
    #[inline]
    pub fn count(&self) -> usize {
        match self {
            Set::Ints(ints) => ints.len(),
            Set::Pack(pack) => pack.len(),
            Set::Table(table) => table.len(),
        }
    }
    #[inline]
    pub fn contains(&self, member: &[u8]) -> bool {
        match self {
            Set::Table(table) => table.get(member).is_some(),
            Set::Pack(pack) => pack.find(member, 1, 0).is_some(),
            Set::Ints(ints) => matches!(Piece::of(member), Piece::Int(value) if ints.contains(value)),
        }
    }
    #[inline]
    pub fn contains_piece(&self, member: Piece<'_>) -> bool {
        match (self, member) {
            (Set::Ints(ints), Piece::Int(value)) => ints.contains(value),
            _ => self.contains(member.text(&mut itoa::Buffer::new())),
        }
    }
    /// Adds a member. True: it was not there.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        match self {
            Set::Table(table) => table.find_or_insert(member, || Member(Block::of(&[member]))).1,
            Set::Pack(_) => self.add_to_pack(member, limits),
            Set::Ints(_) => self.add_to_ints(member, limits),
        }
    }
    fn add_to_pack(&mut self, member: &[u8], limits: &Limits) -> bool {
        let Set::Pack(pack) = self else { return self.add(member, limits) };
        if pack.find(member, 1, 0).is_some() {
            return false;
        }
        if pack.len() < limits.pack && member.len() <= limits.member_len {
            pack.push(member);
            return true;
        }
        self.make_table();
        self.add(member, limits)
    }
    fn add_to_ints(&mut self, member: &[u8], limits: &Limits) -> bool {
        let Set::Ints(ints) = self else { return self.add(member, limits) };
        if let Piece::Int(value) = Piece::of(member) {
            let is_new = ints.add(value);
            if is_new && ints.len() > limits.ints {
                self.make_table();
            }
            return is_new;
        }
        let longest = |value: Option<i64>| value.map_or(0, |value| Piece::Int(value).len());
        let longest = longest(ints.iter().next()).max(longest(ints.iter().next_back()));
        if ints.len() < limits.pack && member.len().max(longest) <= limits.member_len {
            let mut pack = Pack::new();
            let pieces: Vec<Piece<'_>> = ints.iter().map(Piece::Int).chain([Piece::Bytes(member)]).collect();
            pack.insert_pieces(pack.end(), &pieces);
            *self = Set::Pack(pack);
            return true;
        }
        self.make_table();
        self.add(member, limits)
    }
    #[cold]
    fn make_table(&mut self) {
        let mut table = Box::<HashTable<Member>>::default();
        self.for_each(|member| {
            let mut digits = itoa::Buffer::new();
            let text = member.text(&mut digits);
            table.find_or_insert(text, || Member(Block::of(&[text])));
        });
        *self = Set::Table(table);
    }
    /// Removes a member. True: it was there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Set::Table(table) => table.remove(member).is_some(),
            Set::Pack(pack) => pack.find(member, 1, 0).is_some_and(|place| pack.remove(place, 1) == 1),
            Set::Ints(ints) => matches!(Piece::of(member), Piece::Int(value) if ints.remove(value)),
        }
    }
    /// Removes all members. A large set is freed elsewhere.
    pub fn clear(&mut self) {
        drain::discard(Value::new(std::mem::take(self)));
    }
    /// Visits the members, in ascending order or in none, until `visit` breaks off.
    #[inline]
    pub fn visit<'a, B>(&'a self, mut visit: impl FnMut(Piece<'a>) -> ControlFlow<B>) -> ControlFlow<B> {
        match self {
            Set::Ints(ints) => ints.iter().map(Piece::Int).try_for_each(visit),
            Set::Pack(pack) => pack.iter().try_for_each(visit),
            Set::Table(table) => table.iter().try_for_each(|member| visit(Piece::Bytes(member.key()))),
        }
    }
    #[inline]
    pub fn for_each<'a>(&'a self, mut visit: impl FnMut(Piece<'a>)) {
        let _ = self.visit(|member| {
            visit(member);
            ControlFlow::<()>::Continue(())
        });
    }
    /// Visits what is at `cursor` and returns the next one. Small sets are visited at once.
    pub fn scan(&self, cursor: u64, mut visit: impl FnMut(Piece<'_>)) -> u64 {
        if let Set::Table(table) = self {
            return table.scan(cursor, |member| visit(Piece::Bytes(member.key())));
        }
        self.for_each(visit);
        0
    }

    /// The set as it is now, to be read while this one goes on. A table is shared, not copied.
    pub fn snapshot(&mut self) -> Self {
        match self {
            Set::Table(table) => Set::Table(Box::new(table.snapshot())),
            small => small.duplicate(),
        }
    }
    /// Visits some members of a snapshot and forgets them. False: there were no more.
    pub fn visit_some(&mut self, mut visit: impl FnMut(Piece<'_>)) -> bool {
        match self {
            Set::Table(table) => table.visit_some(|member| visit(Piece::Bytes(member.key()))),
            small => {
                small.for_each(visit);
                !std::mem::take(small).is_empty()
            }
        }
    }

    /// A random member, each as likely as the others. None: there is none.
    #[inline]
    pub fn random(&self, prng: &mut Prng) -> Option<Piece<'_>> {
        match self {
            Set::Table(table) => table.random(prng).map(|member| Piece::Bytes(member.key())),
            Set::Ints(ints) if ints.is_empty() => None,
            Set::Ints(ints) => Some(Piece::Int(ints.get(prng.below(ints.len() as u64) as usize))),
            Set::Pack(pack) if pack.is_empty() => None,
            Set::Pack(pack) => pack.get(prng.below(pack.len() as u64) as usize),
        }
    }
    /// Removes a random member and hands it to `take` before. True: there was one.
    #[inline]
    pub fn pop_random(&mut self, prng: &mut Prng, take: impl FnOnce(Piece<'_>)) -> bool {
        match self {
            Set::Table(table) => {
                let Some(member) = table.pop_random(prng) else { return false };
                take(Piece::Bytes(member.key()));
                true
            }
            Set::Ints(ints) if !ints.is_empty() => {
                let index = prng.below(ints.len() as u64) as usize;
                take(Piece::Int(ints.get(index)));
                ints.remove_at(index);
                true
            }
            Set::Pack(pack) if !pack.is_empty() => {
                let place = pack.place(prng.below(pack.len() as u64) as usize);
                let Some((place, piece)) = place.and_then(|place| Some((place, pack.at(place)?))) else { return false };
                take(piece);
                pack.remove(place, 1) == 1
            }
            _ => false,
        }
    }
    /// Visits `count` different random members, in the order in which they lie. Any choice of them is as likely as any other.
    /// Cost: a walk over all members.
    pub fn sample<'a>(&'a self, count: usize, prng: &mut Prng, mut visit: impl FnMut(Piece<'a>)) {
        let (mut wanted, mut left) = (count.min(self.count()), self.count());
        let _ = self.visit(|member| {
            if prng.chance(wanted as u64, left as u64) {
                visit(member);
                wanted -= 1;
            }
            left -= 1;
            if wanted == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// The members that all of `sets` have, in the order of the smallest; at most `max`.
    pub fn intersection<'a>(sets: &[&'a Set], max: usize) -> Found<'a> {
        let mut sets = sets.to_vec();
        sets.sort_by_key(|set| set.count());
        let mut found = Vec::new();
        let Some((smallest, others)) = sets.split_first() else { return found };
        let _ = smallest.visit(|member| {
            if found.len() == max {
                return ControlFlow::Break(());
            }
            if others.iter().all(|other| std::ptr::eq(*other, *smallest) || other.contains_piece(member)) {
                found.push(member);
            }
            ControlFlow::Continue(())
        });
        found
    }
    /// The members of any of `sets`, each once.
    pub fn union<'a>(sets: &[&'a Set]) -> Found<'a> {
        let mut found = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            let before = &sets[..index];
            if before.iter().any(|other| std::ptr::eq(*other, *set)) {
                continue;
            }
            set.for_each(|member| {
                if !before.iter().any(|other| other.contains_piece(member)) {
                    found.push(member);
                }
            });
        }
        found
    }
    /// The members that none of the `others` has.
    pub fn difference<'a>(&'a self, others: &[&Set]) -> Found<'a> {
        let mut found = Vec::new();
        if others.iter().any(|other| std::ptr::eq(*other, self)) {
            return found;
        }
        let mut others = others.to_vec();
        others.sort_by_key(|other| std::cmp::Reverse(other.count())); // The most likely to have a member first.
        self.for_each(|member| {
            if !others.iter().any(|other| other.contains_piece(member)) {
                found.push(member);
            }
        });
        found
    }
    /// The set of these members, which differ from each other, in the first form that holds them.
    pub fn of(members: &[Piece<'_>], limits: &Limits) -> Self {
        let mut set = Set::default();
        set.add_all(members, limits);
        set
    }
    /// As `of`, for an intersection with `first` as the smallest of the sets: Redis begins with a pack, unless `first` is
    /// of integers, and makes a set of integers of it at the end. Clients see the difference beyond one of the limits.
    pub fn of_intersection(members: &[Piece<'_>], first: &Set, limits: &Limits) -> Self {
        let mut ints = Vec::with_capacity(members.len());
        let mut digits = itoa::Buffer::new();
        for member in members {
            match Piece::of(member.text(&mut digits)) {
                Piece::Int(value) => ints.push(value),
                Piece::Bytes(_) => break,
            }
        }
        if matches!(first, Set::Ints(_)) || ints.len() == members.len() && ints.len() <= limits.ints {
            return Set::of(members, limits);
        }
        let mut set = Set::Pack(Pack::new());
        set.add_all(members, limits);
        set
    }
    fn add_all(&mut self, members: &[Piece<'_>], limits: &Limits) {
        for member in members {
            self.add(member.text(&mut itoa::Buffer::new()), limits);
        }
    }
}

impl Collection for Set {
    const TYPE: ObjectType = ObjectType::Set;

    fn is_empty(&self) -> bool {
        match self {
            Set::Ints(ints) => ints.is_empty(),
            Set::Pack(pack) => pack.is_empty(),
            Set::Table(table) => table.is_empty(),
        }
    }
    fn encoding(&self) -> &'static str {
        match self {
            Set::Ints(_) => "intset",
            Set::Pack(_) => "listpack",
            Set::Table(_) => "hashtable",
        }
    }
    fn memory(&self, samples: usize) -> usize {
        match self {
            Set::Ints(ints) => ints.memory(),
            Set::Pack(pack) => pack.memory(),
            Set::Table(table) => {
                let seen = if samples == 0 { table.len() } else { table.len().min(samples) };
                let bytes: usize = table.iter().take(seen).map(|member| member.0.memory()).sum();
                let members = (bytes * table.len()).checked_div(seen).unwrap_or(0);
                size_of::<HashTable<Member>>() + table.memory(samples) + members
            }
        }
    }
    fn pieces(&self) -> usize {
        match self {
            Set::Ints(_) | Set::Pack(_) => 1,
            Set::Table(table) => table.len(),
        }
    }
    fn duplicate(&self) -> Self {
        match self {
            Set::Ints(ints) => Set::Ints(ints.clone()),
            Set::Pack(pack) => Set::Pack(pack.clone()),
            Set::Table(table) => Set::Table(table.clone()),
        }
    }
    fn look_ahead(&self, element: u64, step: usize) -> bool {
        match (self, step) {
            (Set::Ints(ints), _) => ints.look_ahead(),
            (Set::Pack(pack), _) => pack.look_ahead(),
            (Set::Table(table), 0) => look_into(&**table),
            (Set::Table(table), step) => element != 0 && table.look_ahead(element, step - 1),
        }
    }
}
