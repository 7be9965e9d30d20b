//! The shared table.
pub mod entry;
