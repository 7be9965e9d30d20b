//! The safepoint: all other loops stand still between two commands while one loop changes everything.

/// See the module header.
#[derive(Default)]
pub struct Safepoint;
