//! Layer 1: operations on values as plain bytes. No key, no clock, no reply: bytes in, bytes and numbers out.
//!
//! What a command family needs of a type stands here, so that it can be read, tested and fuzzed without a server.

#![forbid(unsafe_code)]

pub mod bitfield;
pub mod bits;
pub mod digest;
pub mod lcs;
pub mod long_double;
pub mod range;
