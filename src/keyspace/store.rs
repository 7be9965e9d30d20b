//! Values that were made elsewhere: from a payload, from a file.

use super::Keys;
use super::types::Type;
use crate::base::hash::Key;
use crate::table::{Change, NewEntry};

/// What came of the wish to put a value under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is there; was there another one before?
    Done { replaced: bool },
    /// The key has a value, which may not be replaced.
    Occupied,
}

impl Keys<'_> {
    /// Puts what `make` makes under `key`. `make` may be called several times.
    pub fn put_made(&self, key: Key<'_>, may_replace: bool, mut make: impl FnMut() -> NewEntry) -> Placed {
        let mut is_hash = false;
        let placed = self.update(key, |old| {
            if old.is_some() && !may_replace {
                return (Change::Keep, Placed::Occupied);
            }
            let entry = make();
            is_hash = Type::of(entry.view()) == Type::Hash;
            (Change::Put(entry), Placed::Done { replaced: old.is_some() })
        });
        if is_hash && placed != Placed::Occupied {
            self.watch_moved_fields(key); // Its fields may have deadlines.
        }
        placed
    }
}
