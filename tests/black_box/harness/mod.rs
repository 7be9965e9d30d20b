//! What black box tests share: servers that start and stop, a raw client, scenarios as text.
//!
//!     server    starts the real binary on a port of its own, and ends it; lends running ones to short tests
//!     wire      bytes of a reply to a `Value`, and a command line to bytes of a request
//!     client    one socket: send anything, read replies one by one or as raw bytes
//!     scenario  `check("SET k v => OK")` over RESP2 and RESP3, on every engine

#![allow(dead_code, unused_imports, reason = "a kit: not every run of the compiler sees all its users")]

pub mod client;
pub mod random;
pub mod scenario;
pub mod server;
pub mod wire;

use std::time::{Duration, Instant};

pub use client::Client;
pub use random::Random;
pub use scenario::{check, check_with};
pub use server::{Engine, Server, engines};
pub use wire::{Value, request, words};

/// Does `act` take less than `limit` at its best? A machine that is busy with other things gets time to show it.
#[track_caller]
pub fn is_quick_at_times(limit: Duration, mut act: impl FnMut()) {
    let (begun, mut best) = (Instant::now(), Duration::MAX);
    while best >= limit {
        let started = Instant::now();
        act();
        best = best.min(started.elapsed());
        assert!(best < limit || begun.elapsed() < Duration::from_secs(20), "{best:?} at best, and not {limit:?}");
    }
}
