//! ringdb: a Redis-compatible in-memory data server.
#![allow(missing_docs)]

pub mod base;

pub mod admin;
pub mod resp;
pub mod ring;
pub mod table;
pub mod value;

pub mod keyspace;

pub mod cmd;

pub mod server;
