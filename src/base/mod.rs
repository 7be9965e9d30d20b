//! Layer 0: what every layer may use and what knows nothing of Redis or of the kernel's rings.

pub mod accounts;
pub mod argv;
pub mod bell;
pub mod clock;
pub mod crash;
pub mod crc64;
pub mod fold;
pub mod glob;
pub mod hash;
pub mod heap;
pub mod ids;

#[cfg(all(test, not(loom)))]
pub mod linearizable;
pub mod mutation;
pub mod num;
pub mod plain;
pub mod prefetch;
pub mod prng;
pub mod sha1;
pub mod sync;
pub mod words;
pub mod zone;
