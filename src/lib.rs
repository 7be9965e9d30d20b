//! ringdb: a Redis-compatible in-memory data server.
#![allow(missing_docs)]

pub mod base;
pub mod table;
