//! Layer 4: the journal, which other servers call the append-only file. Bytes in, bytes out: files are behind `Disk`.
//!
//! ```text
//! merge      the loops' ledgers become one sequence of groups, in order of their numbers
//! frame      groups become text: SELECT where the database changes, MULTI … EXEC around groups, a checksum line before each batch
//! log        batches go into the newest file; what is not on the disk yet is kept until it is; a failure loses nothing
//! manifest   which files there are: a base, the files since, and those that are no longer needed
//! check      before anything of a file is run: what of it is whole, what was torn off, what is damaged
//! room       what stands behind the last batch, so that files grow seldom
//! replay     commands out of a file
//! hub        what the loops and the journal's thread share
//! ```
//! The files are those of Redis 7: it loads ours and we load its. Our checksum lines begin with `#`, which it skips.

#![forbid(unsafe_code)]

pub mod check;
pub mod disk;
pub mod frame;
pub mod hub;
pub mod log;
#[cfg(all(test, not(loom)))]
mod log_fuzz;
pub mod manifest;
pub mod merge;
pub mod replay;
mod room;
