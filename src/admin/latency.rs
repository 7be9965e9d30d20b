//! The latency monitor: for each kind of event, the spikes of its last 160 eventful seconds.
//!
//! An event is noted when it took at least `latency-monitor-threshold` milliseconds, so the lock is only taken when
//! something was slow anyway. Events that exist here: `command` and `fast-command` (a handler), `expire-cycle` (removing
//! what has expired).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seconds that a series remembers. Source: Redis, LATENCY HISTORY.
const SAMPLES_MAX: usize = 160;

/// The worst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Seconds since the Unix epoch.
    pub at_s: u64,
    pub ms: u64,
}

/// What is remembered of one kind of event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Oldest first; never empty in the registry.
    pub samples: Vec<Sample>,
    /// The worst since the last reset.
    pub max_ms: u64,
}

/// A series in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub count: u64,
    pub average_ms: u64,
    /// Mean of the absolute differences from the average.
    pub deviation_ms: u64,
    /// Seconds since the first sample.
    pub period_s: u64,
}

/// See the module header.
#[derive(Default)]
pub struct LatencyMonitor(Mutex<BTreeMap<&'static str, Series>>);

impl LatencyMonitor {
    /// Notes an event. Of several in one second the worst stays.
    pub fn note(&self, event: &'static str, at_s: u64, ms: u64) {
        let mut events = self.lock();
        let series = events.entry(event).or_default();
        series.max_ms = series.max_ms.max(ms);
        match series.samples.last_mut() {
            Some(last) if last.at_s == at_s => last.ms = last.ms.max(ms),
            _ => series.samples.push(Sample { at_s, ms }),
        }
        if series.samples.len() > SAMPLES_MAX {
            series.samples.remove(0);
        }
    }
    /// All events with their series, by name.
    pub fn all(&self) -> BTreeMap<&'static str, Series> {
        self.lock().clone()
    }
    /// The series of one event.
    pub fn of(&self, event: &[u8]) -> Option<(&'static str, Series)> {
        let events = self.lock();
        events.iter().find(|(name, _)| name.as_bytes() == event).map(|(name, series)| (*name, series.clone()))
    }
    /// Forgets the events that are wanted; returns how many there were. Names are compared without case, as Redis does here.
    pub fn reset(&self, is_wanted: impl Fn(&str) -> bool) -> usize {
        let mut events = self.lock();
        let before = events.len();
        events.retain(|name, _| !is_wanted(name));
        before - events.len()
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    /// Computes the figures at this moment.
    pub fn figures(&self, now_s: u64) -> Figures {
        let count = self.samples.len() as u64;
        let Some(first) = self.samples.first() else { return Figures::default() };
        let average_ms = self.samples.iter().map(|sample| sample.ms).sum::<u64>() / count;
        let deviations = self.samples.iter().map(|sample| sample.ms.abs_diff(average_ms));
        Figures {
            count,
            average_ms,
            deviation_ms: deviations.sum::<u64>() / count,
            period_s: now_s.saturating_sub(first.at_s).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_second_stays_and_old_seconds_go() {
        let monitor = LatencyMonitor::default();
        [(10, 5), (10, 9), (10, 7), (12, 3)].iter().for_each(|&(at, ms)| monitor.note("command", at, ms));
        let (name, series) = monitor.of(b"command").unwrap();
        assert_eq!((name, series.max_ms), ("command", 9));
        assert_eq!(series.samples, [Sample { at_s: 10, ms: 9 }, Sample { at_s: 12, ms: 3 }]);
        (0..200).for_each(|second| monitor.note("command", 100 + second, 1));
        let (_, series) = monitor.of(b"command").unwrap();
        assert_eq!((series.samples.len(), series.samples[0].at_s, series.max_ms), (160, 140, 9));
    }

    #[test]
    fn events_are_forgotten_by_name_or_all() {
        let monitor = LatencyMonitor::default();
        monitor.note("command", 1, 1);
        monitor.note("expire-cycle", 1, 1);
        assert_eq!(monitor.reset(|name| name.eq_ignore_ascii_case("COMMAND")), 1);
        assert_eq!(monitor.reset(|name| name == "nosuch"), 0);
        assert_eq!(monitor.reset(|_| true), 1);
        assert!(monitor.all().is_empty());
    }

    #[test]
    fn figures_describe_a_series() {
        let monitor = LatencyMonitor::default();
        [(10, 300), (12, 400), (14, 500)].iter().for_each(|&(at, ms)| monitor.note("command", at, ms));
        let figures = monitor.of(b"command").unwrap().1.figures(20);
        assert_eq!(figures, Figures { count: 3, average_ms: 400, deviation_ms: 66, period_s: 10 });
    }
}
