//! Counters, one set per loop: written by their loop alone with plain load + store, summed when somebody asks.

use crate::base::sync::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A counter with one writer. Order: Relaxed; a reader may see it a moment late.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning loop may call this: no locked instruction.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// Raises the counter to `value` if it is lower.
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }
}

/// What one loop counts about one command.
#[derive(Default)]
pub struct CommandStats {
    pub calls: Counter,
    /// Nanoseconds spent in the handler; estimated from samples while the loop is busy.
    pub ns: Counter,
    /// Refused before the handler ran: arity, authentication.
    pub rejected: Counter,
    /// The handler replied with an error.
    pub failed: Counter,
}

/// What one loop counts. 128-aligned: neighbours' counters never share a line.
#[derive(Default)]
#[repr(align(128))]
pub struct LoopStats {
    pub commands: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    pub dirty: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Turns of the loop, and how many nanoseconds they took: its load.
    pub turns: Counter,
    pub busy_ns: Counter,
    /// How late keys were removed after their deadline by active expiry.
    pub expire_lag: LagStats,
    /// Items in the loop's expiry wheels, as of their last run.
    pub expire_items: Counter,
    /// By the row's dense index; empty in tests that count nothing.
    by_command: Box<[CommandStats]>,
    /// By the first word of the error line.
    by_error: Mutex<BTreeMap<Box<str>, u64>>,
}

/// Distinct error codes that are counted by name; scripts could invent any number. Source: Redis, `errorstats`.
const ERROR_CODES_MAX: usize = 128;

impl LoopStats {
    /// Counters for `rows` commands.
    pub fn new(rows: usize) -> Self {
        LoopStats { by_command: (0..rows).map(|_| CommandStats::default()).collect(), ..Default::default() }
    }
    /// The counters of the row with this dense index.
    #[inline]
    pub fn command(&self, index: u16) -> Option<&CommandStats> {
        self.by_command.get(index as usize)
    }
    /// Counts an error reply under its code.
    pub fn count_error(&self, code: &str) {
        self.errors.add(1);
        let mut by_error = self.errors_by_code();
        if let Some(count) = by_error.get_mut(code) {
            *count += 1;
        } else if by_error.len() < ERROR_CODES_MAX {
            by_error.insert(code.into(), 1);
        }
    }
    /// Error replies by code.
    pub fn errors_by_code(&self) -> MutexGuard<'_, BTreeMap<Box<str>, u64>> {
        self.by_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// CONFIG RESETSTAT. The loop may be counting meanwhile: an increment that overlaps may survive or be lost.
    pub fn reset(&self) {
        let counters = [
            &self.commands,
            &self.hits,
            &self.misses,
            &self.expired,
            &self.connections,
            &self.rejected_connections,
            &self.bytes_in,
            &self.bytes_out,
            &self.errors,
        ];
        let commands = self.by_command.iter().flat_map(|c| [&c.calls, &c.ns, &c.rejected, &c.failed]);
        commands.chain(counters).for_each(|counter| counter.set(0));
        self.expire_lag.reset();
        self.errors_by_code().clear();
    }
}

/// Buckets of `LagStats`: 8 exact ones, then 4 per doubling, up to about a day.
const LAG_BUCKETS: usize = 8 + 24 * 4;

/// A histogram of lags in milliseconds; a bucket is at most a quarter wide.
pub struct LagStats {
    buckets: [Counter; LAG_BUCKETS],
    max_ms: Counter,
}

impl Default for LagStats {
    fn default() -> Self {
        LagStats { buckets: std::array::from_fn(|_| Counter::default()), max_ms: Counter::default() }
    }
}

impl LagStats {
    /// Notes one lag.
    #[inline]
    pub fn record(&self, lag_ms: u64) {
        self.buckets[lag_bucket(lag_ms)].add(1);
        self.max_ms.raise(lag_ms);
    }
    pub fn max_ms(&self) -> u64 {
        self.max_ms.get()
    }
    fn reset(&self) {
        self.buckets.iter().chain([&self.max_ms]).for_each(|counter| counter.set(0));
    }
}

/// The lag below which `percent` of all recorded lags of all loops lie (the upper end of its bucket, at most the largest
/// one seen); 0 if there is none.
pub fn lag_percentile_ms(loops: &[LoopStats], percent: u64) -> u64 {
    let counts: [u64; LAG_BUCKETS] =
        std::array::from_fn(|bucket| loops.iter().map(|stats| stats.expire_lag.buckets[bucket].get()).sum());
    let wanted = (counts.iter().sum::<u64>() * percent).div_ceil(100);
    if wanted == 0 {
        return 0;
    }
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    lag_bucket_end(bucket.unwrap_or(LAG_BUCKETS - 1)).min(lag_max_ms(loops))
}

/// The largest lag of all loops.
pub fn lag_max_ms(loops: &[LoopStats]) -> u64 {
    loops.iter().map(|stats| stats.expire_lag.max_ms()).max().unwrap_or(0)
}

fn lag_bucket(lag_ms: u64) -> usize {
    if lag_ms < 8 {
        return lag_ms as usize;
    }
    let doubling = lag_ms.ilog2() as usize; // At least 3.
    let quarter = (lag_ms >> (doubling - 2)) as usize & 3;
    (8 + (doubling - 3) * 4 + quarter).min(LAG_BUCKETS - 1)
}

/// The largest lag that falls into a bucket.
fn lag_bucket_end(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (doubling, quarter) = ((bucket - 8) / 4 + 3, (bucket - 8) % 4);
    ((4 + quarter as u64 + 1) << (doubling - 2)) - 1
}

/// Totals at one moment, from which rates are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub commands: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

impl Totals {
    /// The sums over all loops.
    pub fn of(loops: &[LoopStats]) -> Self {
        let sum = |field: fn(&LoopStats) -> &Counter| loops.iter().map(|stats| field(stats).get()).sum();
        Totals { commands: sum(|s| &s.commands), bytes_in: sum(|s| &s.bytes_in), bytes_out: sum(|s| &s.bytes_out) }
    }
}

/// Samples kept, and the least time between them. 16 × 100 ms as in Redis.
const SAMPLES: usize = 16;
const SAMPLE_EVERY_MS: u64 = 100;

/// Recent samples of the totals: `instantaneous_ops_per_sec` and its siblings.
///
/// A loop calls `sample` when its timers run. Nothing runs on an idle server only to keep this fresh: a rate is the
/// difference to the oldest sample of the last 1.6 s, or to the newest one if all are older.
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
    pub fn per_second(&self, now_ms: u64, now: Totals) -> Totals {
        let samples = self.samples();
        let window = now_ms.saturating_sub(SAMPLES as u64 * SAMPLE_EVERY_MS);
        let recent = samples.iter().find(|&&(at, _)| at >= window && at < now_ms);
        let Some(&(at, then)) = recent.or(samples.last()) else { return Totals::default() };
        let elapsed_ms = now_ms.saturating_sub(at).max(1);
        let rate = |now: u64, then: u64| now.saturating_sub(then) * 1000 / elapsed_ms;
        Totals {
            commands: rate(now.commands, then.commands),
            bytes_in: rate(now.bytes_in, then.bytes_in),
            bytes_out: rate(now.bytes_out, then.bytes_out),
        }
    }
    fn samples(&self) -> MutexGuard<'_, Vec<(u64, Totals)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_lies_in_a_bucket_that_is_at_most_a_quarter_wide() {
        for lag in (0..20_000).chain([1 << 20, (1 << 26) - 1]) {
            let end = lag_bucket_end(lag_bucket(lag));
            assert!(end >= lag && end - lag <= lag / 4, "{lag} in a bucket up to {end}");
        }
        assert_eq!(lag_bucket(u64::MAX), LAG_BUCKETS - 1);
    }

    #[test]
    fn percentiles_of_lags_are_taken_over_all_loops() {
        let loops = [LoopStats::new(0), LoopStats::new(0)];
        assert_eq!(lag_percentile_ms(&loops, 99), 0);
        (0..99).for_each(|_| loops[0].expire_lag.record(3));
        loops[1].expire_lag.record(1000);
        assert_eq!(lag_percentile_ms(&loops, 50), 3);
        assert_eq!(lag_percentile_ms(&loops, 99), 3);
        assert_eq!(lag_percentile_ms(&loops, 100), 1000);
        loops[1].reset();
        assert_eq!(lag_max_ms(&loops), 3);
    }

    #[test]
    fn rates_cover_the_last_moments_only() {
        let rates = Rates::default();
        let total = |commands| Totals { commands, ..Totals::default() };
        assert_eq!(rates.per_second(0, total(5)), Totals::default());
        for tick in 0..40 {
            rates.sample(tick * 100, || total(tick * 10));
        }
        assert_eq!(rates.per_second(4000, total(400)).commands, 100);
        assert_eq!(rates.per_second(4000 + 3_600_000, total(400)).commands, 0);
    }
}
