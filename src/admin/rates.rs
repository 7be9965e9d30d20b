//! Rates: how much per second, now. `instantaneous_ops_per_sec` and its siblings.
//!
//! A loop takes a sample of the totals when its timers run. Nothing runs on an idle server only to keep this fresh: a rate is
//! the difference to the oldest sample of the last 1.6 s, or to the newest one if all are older.

use super::stats::LoopStats;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Totals of all loops since the start, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub turns: u64,
    pub turn_ns: u64,
    /// Of each loop, the time it spent working.
    pub busy_ns: Vec<u64>,
}

impl Totals {
    /// The sums over all loops.
    pub fn of(loops: &[LoopStats]) -> Self {
        let sum = |total: fn(&LoopStats) -> u64| loops.iter().map(total).sum();
        Totals {
            commands: sum(|stats| stats.commands.total()),
            bytes_in: sum(|stats| stats.bytes_in.total()),
            bytes_out: sum(|stats| stats.bytes_out.total()),
            turns: sum(|stats| stats.turns.total()),
            turn_ns: sum(|stats| stats.turn_ns.total()),
            busy_ns: loops.iter().map(|stats| stats.turn_ns.total()).collect(),
        }
    }
}

/// Samples kept, and the least time between them. 16 × 100 ms as in Redis.
const SAMPLES: usize = 16;
const SAMPLE_EVERY_MS: u64 = 100;

/// See the module header.
#[derive(Default)]
pub struct Rates(Mutex<Vec<(u64, Totals)>>);

impl Rates {
    /// Takes a sample, unless the last one is too young.
    pub fn sample(&self, now_ms: u64, totals: impl FnOnce() -> Totals) {
        let mut samples = self.samples();
        if samples.last().is_some_and(|&(at, _)| now_ms < at + SAMPLE_EVERY_MS) {
            return;
        }
        if samples.len() == SAMPLES {
            samples.remove(0);
        }
        samples.push((now_ms, totals()));
    }
    /// Amounts per second up to `now`.
    pub fn per_second(&self, now_ms: u64, now: &Totals) -> Totals {
        let samples = self.samples();
        let window = now_ms.saturating_sub(SAMPLES as u64 * SAMPLE_EVERY_MS);
        let recent = samples.iter().find(|&&(at, _)| at >= window && at < now_ms);
        let Some((at, then)) = recent.or(samples.last()) else { return Totals::default() };
        let elapsed_ms = now_ms.saturating_sub(*at).max(1);
        let rate = |now: u64, then: u64| now.saturating_sub(then) * 1000 / elapsed_ms;
        Totals {
            commands: rate(now.commands, then.commands),
            bytes_in: rate(now.bytes_in, then.bytes_in),
            bytes_out: rate(now.bytes_out, then.bytes_out),
            turns: rate(now.turns, then.turns),
            turn_ns: rate(now.turn_ns, then.turn_ns),
            busy_ns: now.busy_ns.iter().zip(&then.busy_ns).map(|(&now, &then)| rate(now, then)).collect(),
        }
    }
    /// Forgets all samples: CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.samples().clear();
    }
    fn samples(&self) -> MutexGuard<'_, Vec<(u64, Totals)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cover_the_last_moments_only() {
        let rates = Rates::default();
        let total = |commands| Totals { commands, ..Totals::default() };
        assert_eq!(rates.per_second(0, &total(5)), Totals::default());
        for tick in 0..40 {
            rates.sample(tick * 100, || total(tick * 10));
        }
        assert_eq!(rates.per_second(4000, &total(400)).commands, 100);
        assert_eq!(rates.per_second(4000 + 3_600_000, &total(400)).commands, 0);
    }
}
