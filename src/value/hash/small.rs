//! A small hash whose fields may have deadlines: a pack of (name, value, deadline), a deadline of 0 being none.
//!
//! The earliest deadline is kept beside the pack, so that nothing is compared with the clock until it has come.

#![forbid(unsafe_code)]

use crate::base::clock::WallMs;
use crate::value::pack::{Pack, Piece, Place};

/// Elements of a field.
pub(super) const STRIDE: usize = 3;

/// See the module header.
#[derive(Clone)]
pub struct Timed {
    pub(super) pack: Pack,
    /// The earliest of the deadlines.
    earliest: Option<WallMs>,
}

/// A field with its parts' places.
struct Found {
    name: Place,
    value: Place,
    time: Place,
    deadline: Option<WallMs>,
}

fn deadline_of(piece: Option<Piece<'_>>) -> Option<WallMs> {
    match piece {
        Some(Piece::Int(at)) if at > 0 => Some(WallMs(at as u64)),
        _ => None,
    }
}

fn is_dead(deadline: Option<WallMs>, now: WallMs) -> bool {
    deadline.is_some_and(|at| at <= now)
}

fn piece_of(deadline: Option<WallMs>) -> Piece<'static> {
    Piece::Int(deadline.map_or(0, |at| at.0 as i64))
}

impl Timed {
    /// The same fields as in a pack of (name, value), without deadlines.
    pub fn of(pairs: &Pack) -> Self {
        let mut pack = Pack::new();
        let mut pieces = pairs.iter();
        while let (Some(name), Some(value)) = (pieces.next(), pieces.next()) {
            pack.push_field(name.text(&mut itoa::Buffer::new()), &[value, Piece::Int(0)]);
        }
        Timed { pack, earliest: None }
    }
    fn find(&self, name: &[u8]) -> Option<Found> {
        let name = self.pack.find_name(name, STRIDE)?;
        let value = self.pack.next(name);
        let time = self.pack.next(value);
        Some(Found { name, value, time, deadline: deadline_of(self.pack.at(time)) })
    }
    /// Could any field be past its deadline?
    #[inline]
    pub fn has_dead(&self, now: WallMs) -> bool {
        is_dead(self.earliest, now)
    }
    pub fn earliest(&self) -> Option<WallMs> {
        self.earliest
    }
    /// The value and the deadline of a living field.
    pub fn get(&self, name: &[u8], now: WallMs) -> Option<(Piece<'_>, Option<WallMs>)> {
        let found = self.find(name).filter(|found| !is_dead(found.deadline, now))?;
        Some((self.pack.at(found.value)?, found.deadline))
    }
    /// Number of living fields.
    pub fn len(&self, now: WallMs) -> usize {
        if !self.has_dead(now) {
            return self.pack.len() / STRIDE;
        }
        let mut count = 0;
        self.for_each(now, |_, _| count += 1);
        count
    }
    /// Visits names and values of the living.
    pub fn for_each<'a>(&'a self, now: WallMs, mut visit: impl FnMut(Piece<'a>, Piece<'a>)) {
        let mut pieces = self.pack.iter();
        while let (Some(name), Some(value), time) = (pieces.next(), pieces.next(), pieces.next()) {
            if !is_dead(deadline_of(time), now) {
                visit(name, value);
            }
        }
    }
    /// Visits every field, with its deadline.
    pub fn for_all<'a>(&'a self, mut visit: impl FnMut(Piece<'a>, Piece<'a>, Option<WallMs>)) {
        let mut pieces = self.pack.iter();
        while let (Some(name), Some(value), time) = (pieces.next(), pieces.next(), pieces.next()) {
            visit(name, value, deadline_of(time));
        }
    }
    /// Gives a field that is there another value. None: it is not there. True: it was past its deadline.
    pub fn replace(&mut self, name: &[u8], value: &[u8], keep: bool, now: WallMs) -> Option<bool> {
        let found = self.find(name)?;
        let was_dead = is_dead(found.deadline, now);
        if (was_dead || !keep) && found.deadline.is_some() {
            self.pack.replace_piece(found.time, piece_of(None));
            self.forget(found.deadline);
        }
        self.pack.replace(found.value, value);
        Some(was_dead)
    }
    /// Adds a field that is not there.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.pack.push_field(name, &[Piece::Bytes(value), piece_of(None)]);
    }
    /// True: there was a living field.
    pub fn remove(&mut self, name: &[u8], now: WallMs) -> bool {
        let Some(found) = self.find(name) else { return false };
        self.pack.remove(found.name, STRIDE);
        self.forget(found.deadline);
        !is_dead(found.deadline, now)
    }
    pub fn set_deadline(&mut self, name: &[u8], deadline: Option<WallMs>) {
        let Some(found) = self.find(name) else { return };
        self.pack.replace_piece(found.time, piece_of(deadline));
        self.forget(found.deadline);
        if let Some(at) = deadline {
            self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        }
    }
    /// Removes all fields that are past their deadline and tells their names. Returns their number.
    pub fn purge(&mut self, now: WallMs, gone: &mut dyn FnMut(&[u8])) -> usize {
        if !self.has_dead(now) {
            return 0;
        }
        let (mut place, mut removed) = (self.pack.first(), 0);
        while place < self.pack.end() {
            let time = self.pack.next(self.pack.next(place));
            if is_dead(deadline_of(self.pack.at(time)), now) {
                removed += 1;
                if let Some(name) = self.pack.at(place) {
                    gone(name.text(&mut itoa::Buffer::new()));
                }
                self.pack.remove(place, STRIDE);
            } else {
                place = self.pack.next(time);
            }
        }
        self.find_earliest();
        removed
    }
    /// A deadline is gone.
    fn forget(&mut self, deadline: Option<WallMs>) {
        if deadline.is_some() && deadline == self.earliest {
            self.find_earliest();
        }
    }
    fn find_earliest(&mut self) {
        let times = self.pack.iter().skip(STRIDE - 1).step_by(STRIDE);
        self.earliest = times.filter_map(|time| deadline_of(Some(time))).min();
    }
}
