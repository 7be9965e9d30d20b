//! Layer 1: passive registries. Everyone writes, `cmd/server.rs` reads.

#![forbid(unsafe_code)]

pub mod clients;
pub mod config;
pub mod log;
pub mod memory;
pub mod params;
pub mod stats;
