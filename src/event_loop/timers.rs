//! What a loop does by the clock. Idle costs nothing: a loop without work sleeps for a second at a time, however many
//! clients it has; a loop with something due wakes at most ten times a second.

use super::EventLoop;
use crate::admin::stats::Totals;
use crate::base::clock::WallMs;
use crate::ring::Engine;
use std::time::Duration;

/// Time between two rounds of housekeeping while there is work. 10 Hz.
const ROUND_MS: u64 = 100;
/// Longest sleep: parameters that another loop has changed (CONFIG SET timeout) are noticed within it.
const SLEEP_MS_MAX: u64 = 1000;

/// See the module header.
#[derive(Default)]
pub struct Timers {
    next_round: WallMs,
}

impl Timers {
    /// How long the loop may sleep when it has nothing to do.
    pub fn sleep_time(&self, _now: WallMs, _clients: usize) -> Option<Duration> {
        Some(Duration::from_millis(SLEEP_MS_MAX))
    }
}

impl<E: Engine> EventLoop<E> {
    /// Does what is due. Called once per turn.
    /// Cost: one comparison if nothing is.
    #[inline]
    pub(super) fn house_keeping(&mut self, now: WallMs) {
        if now >= self.timers.next_round {
            self.timers.next_round = WallMs(now.0 + ROUND_MS);
            self.round(now);
        }
    }

    #[cold]
    fn round(&mut self, now: WallMs) {
        self.pool.shrink();
        if self.id.0 == 0 {
            self.world.rates.sample(now.0, || Totals::of(&self.world.stats));
        }
    }
}
