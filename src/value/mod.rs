//! Layer 1: operations on values. No key, no clock, no reply: bytes in, bytes and numbers out.
//!
//! What a command family needs of a type stands here, so that it can be read, tested and fuzzed without a server. Strings
//! are plain bytes; collections are `object::Collection`s, which an entry of the table owns.

pub mod bitfield;
pub mod bits;
pub mod block;
pub mod digest;
pub mod drain;
pub mod geo;
pub mod hash;
pub mod hash_table;
#[cfg(all(test, not(loom)))]
mod hash_table_fuzz;
pub mod hll;
pub mod intset;
pub mod lcs;
pub mod list;
pub mod long_double;
pub mod lzf;
pub mod names;
pub mod object;
pub mod pack;
#[cfg(all(test, not(loom)))]
mod pack_fuzz;
pub mod range;
pub mod set;
pub mod stream;
#[cfg(any(test, loom))]
pub mod tally;
pub mod zset;
