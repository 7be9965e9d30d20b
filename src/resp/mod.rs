//! Layer 2, bytes only: requests in, replies out, and the exact texts of errors.

pub mod args;
pub mod error;
pub mod parse;
#[cfg(any(test, feature = "chaos"))]
pub mod parse_fuzz;
pub mod reply;
