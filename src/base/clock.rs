//! Time. Two clocks with a type each, and the one global `now` that expiry compares against.
//!
//! Expiry is part of linearizability: if every loop had its own cached clock, a client could see a key as expired on one
//! loop and then alive on another. So the wall clock of the data path is one global monotone word; whichever loop starts a
//! turn refreshes it.

#![forbid(unsafe_code)]

#[cfg(any(test, fuzzing))]
use super::sync::AtomicBool;
use super::sync::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, as expiry deadlines count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallMs(pub u64);

/// Nanoseconds of the monotonic clock since the process started; for durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// Reads CLOCK_MONOTONIC (about 25 ns through the vDSO).
    #[inline]
    pub fn now() -> Self {
        use std::sync::OnceLock;
        static START: OnceLock<Instant> = OnceLock::new();
        MonoNs(START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
    }
    /// Time from `earlier` to `self`; zero if the order is the other way round.
    #[inline]
    pub fn since(self, earlier: MonoNs) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Reads the system's real-time clock, in microseconds since the Unix epoch.
pub fn wall_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}

/// The global, monotone wall clock of the data path.
///
/// Order: Relaxed everywhere. A reader that sees an older value than another only sees an earlier "now", and the word never
/// goes back; what a reply may depend on is published by the table's own orderings.
pub struct NowMs {
    ms: AtomicU64,
    /// Tests in which time passes only when they say so.
    #[cfg(any(test, fuzzing))]
    is_stopped: AtomicBool,
}

impl NowMs {
    /// A clock set to the present.
    pub fn new() -> Self {
        NowMs {
            ms: AtomicU64::new(wall_micros() / 1000),
            #[cfg(any(test, fuzzing))]
            is_stopped: AtomicBool::new(false),
        }
    }
    /// The last refreshed time.
    #[inline]
    pub fn get(&self) -> WallMs {
        WallMs(self.ms.load(Ordering::Relaxed))
    }
    /// Moves the clock to the present (never back) and returns it. Called once per turn by every loop.
    #[inline]
    pub fn refresh(&self) -> WallMs {
        #[cfg(any(test, fuzzing))]
        if self.is_stopped.load(Ordering::Relaxed) {
            return self.get();
        }
        let now = wall_micros() / 1000;
        if now > self.ms.load(Ordering::Relaxed) {
            self.ms.fetch_max(now, Ordering::Relaxed); // Rare: once a millisecond for all loops together.
        }
        self.get()
    }
    /// From here on time stands still but for `advance`.
    #[cfg(any(test, fuzzing))]
    pub fn stop(&self) {
        self.refresh();
        self.is_stopped.store(true, Ordering::Relaxed);
    }
    /// Lets time pass in a stopped clock.
    #[cfg(any(test, fuzzing))]
    pub fn advance(&self, ms: u64) {
        self.ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Default for NowMs {
    fn default() -> Self {
        Self::new()
    }
}
