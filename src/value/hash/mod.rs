//! Hashes: fields with values, and perhaps with deadlines.
//!
//! ```text
//! Plain   a pack of (name, value)                 listpack      few short fields
//! Timed   a pack of (name, value, deadline)       listpackex    the same, once a field has had a deadline
//! Table   a hash table of fields                  hashtable     for good
//! ```
//! A field past its deadline is hidden from every method that takes `now`, until `purge` removes it: readers share a hash
//! and cannot remove. So a hash whose fields are all past their deadlines has `len` 0 but is not empty yet.

#![forbid(unsafe_code)]

mod field;
#[cfg(all(test, not(loom)))]
mod hash_fuzz;
mod small;
mod table;

use super::hash_table::Shape;
use super::object::{Collection, ObjectType, look_into};
use super::pack::{Pack, Piece};
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use small::Timed;
use std::ops::ControlFlow;
use table::FieldTable;

/// See the module header.
pub enum Hash {
    Plain(Pack),
    Timed(Box<Timed>),
    Table(Box<FieldTable>),
}

const _: () = assert!(size_of::<Hash>() <= 16);

/// Up to where a hash stays a pack: `hash-max-listpack-entries` and `hash-max-listpack-value`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub entries: usize,
    pub value_len: usize,
}

/// A pack is never longer. Source: Redis, LISTPACK_MAX_SAFETY_LIMIT.
const PACK_LEN_MAX: usize = 1 << 30;

/// As `now`: what is past its deadline and lies here still, counts.
pub const EVEN_THE_DEAD: WallMs = WallMs(0);

/// What becomes of the deadline of a field that gets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    Clear,
    Keep,
}

impl Default for Hash {
    fn default() -> Self {
        Hash::Plain(Pack::new())
    }
}

impl Hash {
    /// The value of a field.
    #[inline]
    pub fn get(&self, name: &[u8], now: WallMs) -> Option<Piece<'_>> {
        match self {
            Hash::Plain(pack) => pack.at(pack.next(pack.find_name(name, 2)?)),
            Hash::Timed(timed) => timed.get(name, now).map(|(value, _)| value),
            Hash::Table(table) => table.get(name, now).map(|field| Piece::Bytes(field.value())),
        }
    }
    /// The deadline of a field: None if there is no such field, Some(None) if it has none.
    pub fn deadline(&self, name: &[u8], now: WallMs) -> Option<Option<WallMs>> {
        match self {
            Hash::Plain(pack) => pack.find_name(name, 2).map(|_| None),
            Hash::Timed(timed) => timed.get(name, now).map(|(_, deadline)| deadline),
            Hash::Table(table) => table.get(name, now).map(|field| field.deadline()),
        }
    }
    #[inline]
    pub fn contains(&self, name: &[u8], now: WallMs) -> bool {
        self.deadline(name, now).is_some()
    }
    /// Number of fields.
    #[inline]
    pub fn len(&self, now: WallMs) -> usize {
        match self {
            Hash::Plain(pack) => pack.len() / 2,
            Hash::Timed(timed) => timed.len(now),
            Hash::Table(table) => table.len(now),
        }
    }
    /// Visits all fields, in no order that would be promised.
    #[inline]
    pub fn for_each<'a>(&'a self, now: WallMs, mut visit: impl FnMut(Piece<'a>, Piece<'a>)) {
        match self {
            Hash::Plain(pack) => {
                let mut pieces = pack.iter();
                while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
                    visit(name, value);
                }
            }
            Hash::Timed(timed) => timed.for_each(now, visit),
            Hash::Table(table) => {
                table.for_each(now, |field| visit(Piece::Bytes(field.name()), Piece::Bytes(field.value())))
            }
        }
    }
    /// How the fields lie in the table, if there is one.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Hash::Table(table) => Some(table.shape()),
            _ => None,
        }
    }
    /// Number of fields, those past their deadline included.
    pub fn count(&self) -> usize {
        match self {
            Hash::Plain(pack) => pack.len() / 2,
            Hash::Timed(timed) => timed.pack.len() / small::STRIDE,
            Hash::Table(table) => table.count(),
        }
    }
    /// Visits all fields with their deadlines, those past them included.
    pub fn for_all<'a>(&'a self, mut visit: impl FnMut(Piece<'a>, Piece<'a>, Option<WallMs>)) {
        match self {
            Hash::Plain(_) => self.for_each(WallMs(0), |name, value| visit(name, value, None)),
            Hash::Timed(timed) => timed.for_all(visit),
            Hash::Table(table) => {
                table.for_all(|field| visit(Piece::Bytes(field.name()), Piece::Bytes(field.value()), field.deadline()))
            }
        }
    }
    /// Visits the fields at `cursor` and returns the next cursor; 0 at the end. What is there throughout is seen. None stands
    /// for a field of a table that is past its deadline.
    pub fn scan(&self, cursor: u64, now: WallMs, mut visit: impl FnMut(Option<(Piece<'_>, Piece<'_>)>)) -> u64 {
        match self {
            Hash::Table(table) => table.scan(cursor, |field| {
                let pair = (Piece::Bytes(field.name()), Piece::Bytes(field.value()));
                visit((!field.is_dead(now)).then_some(pair));
            }),
            _ => {
                self.for_each(now, |name, value| visit(Some((name, value))));
                0
            }
        }
    }
    /// As `for_each`, until `visit` breaks off.
    #[inline]
    pub fn visit<'a, B>(
        &'a self,
        now: WallMs,
        mut visit: impl FnMut(Piece<'a>, Piece<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let Hash::Table(table) = self else {
            let mut flow = ControlFlow::Continue(());
            self.for_each(now, |name, value| {
                if flow.is_continue() {
                    flow = visit(name, value);
                }
            });
            return flow;
        };
        table.visit(now, |field| visit(Piece::Bytes(field.name()), Piece::Bytes(field.value())))
    }
    /// The hash as it is now, to be read while this one goes on. A table is shared, not copied.
    pub fn snapshot(&mut self) -> Self {
        match self {
            Hash::Table(table) => Hash::Table(Box::new(table.snapshot())),
            small => small.duplicate(),
        }
    }
    /// Visits some fields of a snapshot and forgets them. False: there were no more.
    pub fn visit_some(&mut self, now: WallMs, mut visit: impl FnMut(Piece<'_>, Piece<'_>)) -> bool {
        match self {
            Hash::Table(table) => {
                table.visit_some(now, |field| visit(Piece::Bytes(field.name()), Piece::Bytes(field.value())))
            }
            small => {
                small.for_each(now, visit);
                !std::mem::take(small).is_empty()
            }
        }
    }
    /// A random field, each as likely as the others.
    pub fn random(&self, now: WallMs, prng: &mut Prng) -> Option<(Piece<'_>, Piece<'_>)> {
        if let Hash::Table(table) = self {
            return table.random(now, prng).map(|field| (Piece::Bytes(field.name()), Piece::Bytes(field.value())));
        }
        let mut left = prng.below(self.len(now) as u64) as usize + 1;
        let mut chosen = None;
        self.for_each(now, |name, value| {
            left = left.wrapping_sub(1);
            if left == 0 {
                chosen = Some((name, value));
            }
        });
        chosen
    }
    /// Is a lookup of one random field cheap, however many there are?
    pub fn is_table(&self) -> bool {
        matches!(self, Hash::Table(_))
    }

    /// Gives a field a value. True: it is a new one.
    #[inline]
    pub fn set(&mut self, name: &[u8], value: &[u8], deadline: Deadline, limits: Limits, now: WallMs) -> bool {
        let keep = deadline == Deadline::Keep;
        if let Hash::Table(table) = self {
            return table.set(name, value, keep, now);
        }
        if name.len() > limits.value_len || value.len() > limits.value_len {
            return self.become_table().set(name, value, keep, now);
        }
        let len = match self {
            Hash::Plain(pack) => {
                if let Some(found) = pack.find_name(name, 2) {
                    pack.replace(pack.next(found), value);
                    return false;
                }
                pack.len() / 2
            }
            Hash::Timed(timed) => {
                if let Some(was_dead) = timed.replace(name, value, keep, now) {
                    return was_dead;
                }
                timed.pack.len() / small::STRIDE
            }
            Hash::Table(_) => unreachable!("seen above"),
        };
        match self {
            Hash::Plain(pack) if len < limits.entries && pack.bytes() < PACK_LEN_MAX => {
                pack.push_field(name, &[Piece::Bytes(value)])
            }
            Hash::Timed(timed) if len < limits.entries && timed.pack.bytes() < PACK_LEN_MAX => timed.push(name, value),
            _ => _ = self.become_table().set(name, value, keep, now),
        }
        true
    }
    /// Removes a field. True: it was there.
    pub fn remove(&mut self, name: &[u8], now: WallMs) -> bool {
        match self {
            Hash::Plain(pack) => pack.find_name(name, 2).map(|place| pack.remove(place, 2)).is_some(),
            Hash::Timed(timed) => timed.remove(name, now),
            Hash::Table(table) => table.remove(name, now),
        }
    }
    /// Sets or removes the deadline of a field that is there.
    pub fn set_deadline(&mut self, name: &[u8], deadline: Option<WallMs>) {
        if let Hash::Plain(pack) = self {
            if deadline.is_none() {
                return;
            }
            *self = Hash::Timed(Box::new(Timed::of(pack)));
        }
        match self {
            Hash::Plain(_) => {}
            Hash::Timed(timed) => timed.set_deadline(name, deadline),
            Hash::Table(table) => table.set_deadline(name, deadline),
        }
    }
    /// The earliest deadline of any field, perhaps one that has passed.
    #[inline]
    pub fn earliest(&self) -> Option<WallMs> {
        match self {
            Hash::Plain(_) => None,
            Hash::Timed(timed) => timed.earliest(),
            Hash::Table(table) => table.earliest(),
        }
    }
    /// Is there a field of this name that is past its deadline?
    #[cold]
    pub fn is_overdue(&self, name: &[u8], now: WallMs) -> bool {
        self.has_overdue(now) && !self.contains(name, now) && self.contains(name, EVEN_THE_DEAD)
    }
    /// Is any field past its deadline?
    #[inline]
    pub fn has_overdue(&self, now: WallMs) -> bool {
        self.earliest().is_some_and(|earliest| earliest <= now)
    }
    /// Removes fields that are past their deadline, of a large hash up to about `max`, and tells their names. Returns how many.
    pub fn purge(&mut self, now: WallMs, max: usize, gone: &mut dyn FnMut(&[u8])) -> usize {
        match self {
            Hash::Plain(_) => 0,
            Hash::Timed(timed) => timed.purge(now, gone),
            Hash::Table(table) => table.purge(now, max, gone),
        }
    }
    fn become_table(&mut self) -> &mut FieldTable {
        let mut table = Box::<FieldTable>::default();
        let (mut name_digits, mut digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut add = |name: Piece<'_>, value: Piece<'_>, deadline| {
            table.add(name.text(&mut name_digits), value.text(&mut digits), deadline);
        };
        match self {
            Hash::Plain(_) => self.for_each(WallMs(0), |name, value| add(name, value, None)),
            Hash::Timed(timed) => timed.for_all(add),
            Hash::Table(_) => {}
        }
        *self = Hash::Table(table);
        match self {
            Hash::Table(table) => table,
            _ => unreachable!("it has just become one"),
        }
    }
}

impl Collection for Hash {
    const TYPE: ObjectType = ObjectType::Hash;

    fn is_empty(&self) -> bool {
        match self {
            Hash::Plain(pack) => pack.is_empty(),
            Hash::Timed(timed) => timed.pack.is_empty(),
            Hash::Table(table) => table.count() == 0,
        }
    }
    fn encoding(&self) -> &'static str {
        match self {
            Hash::Plain(_) => "listpack",
            Hash::Timed(_) => "listpackex",
            Hash::Table(_) => "hashtable",
        }
    }
    fn memory(&self, samples: usize) -> usize {
        match self {
            Hash::Plain(pack) => pack.memory(),
            Hash::Timed(timed) => size_of::<Timed>() + timed.pack.memory(),
            Hash::Table(table) => table.memory(samples),
        }
    }
    fn pieces(&self) -> usize {
        match self {
            Hash::Plain(_) | Hash::Timed(_) => 1,
            Hash::Table(table) => table.count(),
        }
    }
    #[inline]
    fn is_timed(&self) -> bool {
        self.earliest().is_some()
    }
    fn duplicate(&self) -> Self {
        match self {
            Hash::Plain(pack) => Hash::Plain(pack.clone()),
            Hash::Timed(timed) => Hash::Timed(timed.clone()),
            Hash::Table(table) => Hash::Table(table.clone()),
        }
    }
    fn look_ahead(&self, element: u64, step: usize) -> bool {
        match (self, step) {
            (Hash::Plain(pack), _) => pack.look_ahead(),
            (Hash::Timed(timed), 0) => look_into(&**timed),
            (Hash::Timed(timed), _) => timed.pack.look_ahead(),
            (Hash::Table(table), 0) => look_into(&**table),
            (Hash::Table(table), step) => element != 0 && table.look_ahead(element, step - 1),
        }
    }
}
