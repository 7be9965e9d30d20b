//! A large hash: a table of fields, and the deadlines of those that have one in order of time.
//!
//! A deadline stands in its field, for reading, and in an ordered index together with the hash of the field's name, for
//! removing what is due. The index holds no names: the hash leads to the bucket, and what is due there is removed. Two
//! fields whose 64-bit hashes and deadlines are equal share an entry; both are removed with it.

#![forbid(unsafe_code)]

use super::field::Field;
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use crate::value::hash_table::{HashTable, Item, Shape};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// See the module header.
#[derive(Clone, Default)]
pub struct FieldTable {
    fields: HashTable<Field>,
    deadlines: BTreeSet<(WallMs, u64)>,
}

/// Estimated bytes of an index entry in a B-tree that is three quarters full.
const DEADLINE_BYTES: usize = 24;
/// Random choices before a random field is looked for in order, because most of them are past their deadline.
const TRIES: usize = 100;

impl FieldTable {
    /// See `HashTable::look_ahead`.
    pub(super) fn look_ahead(&self, hash: u64, step: usize) -> bool {
        self.fields.look_ahead(hash, step)
    }
    /// How the fields lie in the table.
    pub(super) fn shape(&self) -> Shape {
        self.fields.shape()
    }
    #[inline]
    pub(super) fn get(&self, name: &[u8], now: WallMs) -> Option<&Field> {
        self.fields.get(name).filter(|field| !field.is_dead(now))
    }
    /// Number of living fields.
    /// Cost: a walk over the dead that are still there.
    pub(super) fn len(&self, now: WallMs) -> usize {
        self.fields.len() - self.deadlines.range(..=(now, u64::MAX)).count()
    }
    /// True: there was no living field of this name. A field that was there loses its deadline unless it is to `keep` it.
    #[inline]
    pub(super) fn set(&mut self, name: &[u8], value: &[u8], keep: bool, now: WallMs) -> bool {
        let (field, is_new) = self.fields.find_or_insert(name, || Field::new(name, value, None));
        if is_new {
            return true;
        }
        field.set_value(value);
        let was_dead = field.is_dead(now);
        if (was_dead || !keep)
            && let Some(old) = field.deadline()
        {
            field.set_deadline(None);
            self.deadlines.remove(&(old, Field::hash(name)));
        }
        was_dead
    }
    /// Adds a field that is not there, with its deadline.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8], deadline: Option<WallMs>) {
        self.fields.find_or_insert(name, || Field::new(name, value, deadline));
        if let Some(at) = deadline {
            self.deadlines.insert((at, Field::hash(name)));
        }
    }
    /// True: there was a living field.
    pub(super) fn remove(&mut self, name: &[u8], now: WallMs) -> bool {
        let Some(field) = self.fields.remove(name) else { return false };
        if let Some(at) = field.deadline() {
            self.deadlines.remove(&(at, Field::hash(name)));
        }
        !field.is_dead(now)
    }
    pub(super) fn set_deadline(&mut self, name: &[u8], deadline: Option<WallMs>) {
        let Some(field) = self.fields.get_mut(name) else { return };
        let hash = Field::hash(name);
        if let Some(old) = field.set_deadline(deadline) {
            self.deadlines.remove(&(old, hash));
        }
        if let Some(at) = deadline {
            self.deadlines.insert((at, hash));
        }
    }
    pub(super) fn earliest(&self) -> Option<WallMs> {
        self.deadlines.first().map(|&(at, _)| at)
    }
    /// Removes up to `max` index entries that are due, and their fields, and tells their names. Returns the number of fields.
    pub(super) fn purge(&mut self, now: WallMs, max: usize, gone: &mut dyn FnMut(&[u8])) -> usize {
        let mut removed = 0;
        for _ in 0..max {
            let Some(&due) = self.deadlines.first().filter(|(at, _)| *at <= now) else { break };
            self.deadlines.pop_first();
            let (at, hash) = due;
            let mut is_meant = |field: &Field| {
                let is_due = field.deadline() == Some(at) && Field::hash(field.name()) == hash;
                if is_due {
                    gone(field.name());
                }
                is_due
            };
            removed += self.fields.remove_hashed(hash, &mut is_meant);
        }
        removed
    }
    #[inline]
    pub(super) fn for_each<'a>(&'a self, now: WallMs, visit: impl FnMut(&'a Field)) {
        // Most hashes have no deadlines at all.
        if self.earliest().is_none_or(|at| at > now) {
            self.fields.iter().for_each(visit);
        } else {
            self.fields.iter().filter(|field| !field.is_dead(now)).for_each(visit);
        }
    }
    /// Visits the fields, those past their deadline included.
    pub(super) fn for_all<'a>(&'a self, visit: impl FnMut(&'a Field)) {
        self.fields.iter().for_each(visit);
    }
    /// As `for_each`, until `visit` breaks off.
    #[inline]
    pub(super) fn visit<'a, B>(
        &'a self,
        now: WallMs,
        visit: impl FnMut(&'a Field) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        if self.earliest().is_none_or(|at| at > now) {
            self.fields.iter().try_for_each(visit)
        } else {
            self.fields.iter().filter(|field| !field.is_dead(now)).try_for_each(visit)
        }
    }
    /// The fields as they are now, to be read: whoever changes a snapshot misses the order of the deadlines.
    pub(super) fn snapshot(&mut self) -> Self {
        FieldTable { fields: self.fields.snapshot(), deadlines: BTreeSet::new() }
    }
    /// Visits some living fields of a snapshot and forgets them. False: there were no more.
    pub(super) fn visit_some(&mut self, now: WallMs, mut visit: impl FnMut(&Field)) -> bool {
        self.fields.visit_some(|field| {
            if !field.is_dead(now) {
                visit(field);
            }
        })
    }
    pub(super) fn scan(&self, cursor: u64, visit: impl FnMut(&Field)) -> u64 {
        self.fields.scan(cursor, visit)
    }
    pub(super) fn random(&self, now: WallMs, prng: &mut Prng) -> Option<&Field> {
        for _ in 0..TRIES {
            let field = self.fields.random(prng)?;
            if !field.is_dead(now) {
                return Some(field);
            }
        }
        let living = || self.fields.iter().filter(|field| !field.is_dead(now)); // `len` is not for snapshots.
        let count = living().count();
        (count > 0).then(|| living().nth(prng.below(count as u64) as usize))?
    }
    /// Number of fields, dead ones included.
    pub(super) fn count(&self) -> usize {
        self.fields.len()
    }
    pub(super) fn memory(&self, samples: usize) -> usize {
        let seen = if samples == 0 { self.count() } else { self.count().min(samples) };
        let bytes: usize = self.fields.iter().take(seen).map(Field::memory).sum();
        let fields = (bytes * self.count()).checked_div(seen).unwrap_or(0);
        size_of::<Self>() + self.fields.memory(samples) + fields + self.deadlines.len() * DEADLINE_BYTES
    }
}
