//! The smallest collection: a number of equal things. For the models and tests of the lock, the table and the keyspace.

#![forbid(unsafe_code)]

use super::object::{Collection, ObjectType};

/// So many things.
#[derive(Default)]
pub struct Tally(pub u64);

impl Collection for Tally {
    const TYPE: ObjectType = ObjectType::Tally;

    fn is_empty(&self) -> bool {
        self.0 == 0
    }
    fn encoding(&self) -> &'static str {
        "tally"
    }
    fn memory(&self, _samples: usize) -> usize {
        0
    }
    fn pieces(&self) -> usize {
        1
    }
    fn duplicate(&self) -> Self {
        Tally(self.0)
    }
    fn look_ahead(&self, _element: u64, _step: usize) -> bool {
        false
    }
}
