//! Layer 4: snapshots as bytes. Redis's RDB format, read and written; no file, no socket, no clock.
//!
//! ```text
//! file      REDIS0010 · (opcode …)* · key* per database · EOF · crc64            `frame`
//! key       [deadline] [idle | frequency] type · name · value                     `record`
//! payload   type · value · version · crc64            what DUMP replies             `payload`
//! value     `encode` writes every type, `decode` reads every type of every version, `stream` both for streams
//! ```
//! Small collections lie in the file as Redis has them in memory: `listpack` writes and reads the present form, `old` reads
//! ziplists and zipmaps. `wire` has the lengths, strings and numbers of which all is made. `digest` is DEBUG DIGEST.
//!
//! **Versions.** What is written is the oldest form that holds the value, of the version that was asked for: 10 is what Redis
//! 7.0 reads. Deadlines of hash fields have no form there: such a hash is written in Redis 7.4's.
//!
//! **Trust.** Bytes come from anywhere. Every length is checked against what is there before anything is reserved, every
//! structure is read element by element, and what does not fit is a `Fault`. Nothing here panics on bytes.

#![forbid(unsafe_code)]

pub mod decode;
pub mod digest;
pub mod encode;
pub mod frame;
pub mod lent;
mod listpack;
mod old;
pub mod payload;
#[cfg(all(test, not(loom)))]
mod persist_fuzz;
pub mod record;
mod skip;
pub mod stream;
pub mod wire;

use std::fmt;

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end before what they announce.
    Short,
    /// What is wrong.
    Damaged(&'static str),
    /// A type or an opcode that nobody has described.
    Unknown(u8),
    /// Data that only a module of this name can read.
    Module(String),
    /// A format of another time.
    Version(u32),
    /// The sum at the end is another one.
    Checksum,
    /// A collection without elements: Redis never writes one.
    Empty,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short => f.write_str("it ends in the middle"),
            Fault::Damaged(what) => f.write_str(what),
            Fault::Unknown(code) => write!(f, "type or opcode {code} is not known"),
            Fault::Module(name) => write!(f, "it needs the module '{name}', which cannot be loaded here"),
            Fault::Version(version) => write!(f, "format version {version} cannot be read"),
            Fault::Checksum => f.write_str("CRC error: the checksum does not match"),
            Fault::Empty => f.write_str("a collection is empty"),
        }
    }
}

/// Types of values in a file. Source: Redis, rdb.h; the numbers of Redis 7.4 and Valkey 9 from their public sources.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const ZSET: u8 = 3;
    pub const HASH: u8 = 4;
    pub const ZSET_2: u8 = 5;
    pub const MODULE: u8 = 6;
    pub const MODULE_2: u8 = 7;
    pub const HASH_ZIPMAP: u8 = 9;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const ZSET_ZIPLIST: u8 = 12;
    pub const HASH_ZIPLIST: u8 = 13;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const ZSET_LISTPACK: u8 = 17;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
    /// Redis 7.4 before its release; in Valkey 9 `HASH_2`, told apart by the version.
    pub const HASH_TIMED_EARLY: u8 = 22;
    pub const HASH_LISTPACK_TIMED_EARLY: u8 = 23;
    pub const HASH_TIMED: u8 = 24;
    pub const HASH_LISTPACK_TIMED: u8 = 25;
    /// The last one that is read.
    pub const LAST: u8 = 25;
}

/// What a payload says that it is, in Redis's words.
pub fn kind_name(payload: &[u8]) -> &'static str {
    match payload.first() {
        Some(&kind::LIST_ZIPLIST) => "List ziplist",
        Some(&kind::LIST_QUICKLIST) => "Ziplist",
        Some(&kind::LIST_QUICKLIST_2) => "Listpack",
        Some(&kind::SET_INTSET) => "Intset",
        Some(&kind::SET_LISTPACK) => "Set listpack",
        Some(&kind::ZSET_ZIPLIST) => "Zset ziplist",
        Some(&kind::ZSET_LISTPACK) => "Zset listpack",
        Some(&kind::HASH_ZIPMAP) => "Zipmap",
        Some(&kind::HASH_ZIPLIST) => "Hash ziplist",
        Some(&kind::HASH_LISTPACK) => "Hash listpack",
        Some(&(kind::STREAM | kind::STREAM_2 | kind::STREAM_3)) => "Stream listpack",
        _ => "Value",
    }
}

/// From this version on it is Valkey's numbering.
pub const VALKEY_VERSION: u32 = 80;

/// Is this a version that is read? 1 to 13: Redis; 80 and 81: Valkey 9.
pub fn is_known_version(version: u32) -> bool {
    matches!(version, 1..=13 | VALKEY_VERSION..=81)
}

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// 10: Redis 7.0; 11: 7.2; 12: 7.4 and 8.
    pub version: u32,
    /// Long strings by LZF, if that is shorter.
    pub compresses: bool,
}

impl Default for Form {
    fn default() -> Self {
        Form { version: 10, compresses: true }
    }
}
