//! Layer 2: passive registries. Everyone writes, `cmd/server.rs` reads.

#![forbid(unsafe_code)]

pub mod acl;
pub mod attention;
pub mod clients;
pub mod config;
pub mod counter;
pub mod ending;
pub mod histogram;
pub mod latency;
pub mod log;
pub mod memory;
pub mod notify;
pub mod params;
pub mod rates;
pub mod replace;
pub mod rewrite;
pub mod saves;
pub mod slowlog;
pub mod stats;
pub mod wait;
