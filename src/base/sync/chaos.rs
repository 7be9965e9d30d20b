//! Delays at the steps of the protocols, so that stress runs meet interleavings that an idle machine never shows.
//!
//! A thread that `endure`s them is stopped now and then between two steps: shortly, as by another thread of the same core, or
//! for milliseconds, as by a scheduler with better things to do. In the server there are no steps to stop at, unless it
//! is built with the feature `chaos`: then all threads endure short delays.

#![forbid(unsafe_code)]

use crate::base::prng::Prng;
use std::cell::RefCell;
use std::time::Duration;

/// How long the delays are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delays {
    /// Up to 50 µs at one step of 256; one of 16 yields the core.
    Short,
    /// As Short, and 2 ms at one step of 64.
    Long,
}

thread_local!(static MINE: RefCell<Option<(Delays, Prng)>> = RefCell::new(from_the_start()));

fn from_the_start() -> Option<(Delays, Prng)> {
    cfg!(feature = "chaos").then(|| (Delays::Short, Prng::seeded(1)))
}

/// From here on the calling thread is delayed, by dice that `seed` throws.
pub fn endure(delays: Delays, seed: u64) {
    MINE.set(Some((delays, Prng::seeded(seed))));
}

/// A step of a protocol: the calling thread may be delayed.
pub fn step() {
    let delay = MINE.with_borrow_mut(|mine| {
        let (delays, dice) = mine.as_mut()?;
        if *delays == Delays::Long && dice.chance(1, 64) {
            return Some(Duration::from_millis(2));
        }
        match dice.below(256) {
            0 => Some(Duration::from_micros(dice.below(50))),
            1..16 => Some(Duration::ZERO),
            _ => None,
        }
    });
    match delay {
        Some(Duration::ZERO) => std::thread::yield_now(),
        Some(delay) => std::thread::sleep(delay),
        None => {}
    }
}
