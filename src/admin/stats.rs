//! What is counted: one set of counters per loop, written by its loop alone, summed when somebody asks.
//!
//! *Time per command* is sampled, because reading the clock twice and noting the time costs half a GET. Each loop times the
//! first calls of a command one by one, later ones more and more seldom (`SAMPLING`), and in a window of few commands all of
//! them. A sample stands for the calls since the one before it, so the weights of all samples add up to the calls, save the
//! last few; `timed` says up to which.

use super::counter::{Counter, Gauge};
use super::histogram::{Distribution, Histogram};
use crate::base::sync::{AtomicU64, Ordering};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// From so many calls of a command on, one of so many is timed. Primes, so that no regular pattern of commands stays in step
/// with them. 251: kernel-notes/30-statistics.md, 61 cost 3 % of a GET.
const SAMPLING: [(u64, u64); 2] = [(4096, 251), (64, 31)];

/// How far it is from the sample of this call to the next one.
fn sample_distance(call: u64) -> u64 {
    SAMPLING.iter().find(|(from, _)| call >= *from).map_or(1, |&(_, every)| every)
}

/// What one loop counts about one command. A call that is not timed touches the first line only.
#[derive(Default)]
#[repr(align(64))]
pub struct CommandStats {
    pub calls: Counter,
    /// The call, counted since the start, from which on the next one is timed.
    next_sample: Gauge,
    /// Nanoseconds spent in the handler, for the calls that `timed` counts.
    pub ns: Counter,
    pub timed: Counter,
    /// Refused before the handler ran: arity, authentication, permissions.
    pub rejected: Counter,
    /// The handler replied with an error.
    pub failed: Counter,
    /// Of times in nanoseconds; since `latency-tracking` was on.
    histogram: OnceLock<Box<Histogram>>,
}

impl CommandStats {
    /// Is it time for a sample?
    #[inline]
    pub fn wants_sample(&self) -> bool {
        self.calls.total() >= self.next_sample.get()
    }
    /// Notes how long the call took that was counted last. `era` is given if a histogram is wanted. Only the owning loop
    /// may call this.
    pub fn note(&self, took: Duration, era: Option<u64>) -> u64 {
        let (calls, ns) = (self.calls.total(), took.as_nanos() as u64);
        let weight = calls - self.timed.total();
        self.timed.add(weight);
        self.ns.add(ns * weight);
        self.next_sample.set(calls + sample_distance(self.calls.get()) - 1);
        if let Some(era) = era {
            self.histogram.get_or_init(Box::default).record(era, ns, weight);
        }
        weight
    }
    fn reset(&self) {
        [&self.calls, &self.ns, &self.timed, &self.rejected, &self.failed].iter().for_each(|counter| counter.reset());
        self.next_sample.set(0); // If the owner sets it at this moment, its first sample comes a little later.
    }
}

/// What one loop counts. 128-aligned: neighbours' counters never share a line.
#[derive(Default)]
#[repr(align(128))]
pub struct LoopStats {
    /// Commands that were cut out of the input, by windows; `CommandStats::calls` has those that ran.
    pub commands: Counter,
    pub hits: Counter,
    pub misses: Counter,
    pub expired: Counter,
    /// Hash fields removed for their deadline.
    pub expired_fields: Counter,
    /// Keys removed to make room, and clients closed to make room.
    pub evicted: Counter,
    pub evicted_clients: Counter,
    /// Entries that were moved off pages that were mostly free.
    pub moved: Counter,
    pub dirty: Counter,
    /// Connections accepted.
    pub connections: Counter,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Receptions and sends that the engine finished.
    pub reads: Counter,
    pub writes: Counter,
    /// Clients closed for passing a limit.
    pub input_limit_closes: Counter,
    pub output_limit_closes: Counter,
    /// Transactions that ran while their keys were held, and those for which everything stood still.
    pub holding_transactions: Counter,
    pub stopping_transactions: Counter,
    /// Scripts that held their keys.
    pub holding_scripts: Counter,
    /// Error replies.
    pub errors: Counter,
    /// Turns of the loop, with work or without.
    pub turns: Counter,
    /// Nanoseconds of turns that had something to do, up to the wait; and of their windows of commands alone.
    pub turn_ns: Counter,
    pub window_ns: Counter,
    /// Nanoseconds of active expiry and of timers, and how often expiry ended at its budget.
    pub expire_ns: Counter,
    pub timers_ns: Counter,
    pub expire_cuts: Counter,
    /// Longest turn in nanoseconds and most commands of one, in `maxima_era`.
    turn_ns_max: Gauge,
    turn_commands_max: Gauge,
    maxima_era: Gauge,
    /// Nanoseconds that commands waited between the arrival of their bytes, or the end of their client's last visit, and
    /// their start. Sampled as their times are.
    pub wait: Histogram,
    /// Milliseconds between a key's deadline and its removal by active expiry.
    pub expire_lag: Histogram,
    /// Items in the loop's expiry wheels, as of their last run.
    pub expire_items: Gauge,
    /// Bytes of these wheels, as of the last second in which the loop was awake.
    pub expire_bytes: Gauge,
    /// Bytes of the loop's clients, while there is a limit of memory for them or for all.
    pub client_bytes: Gauge,
    /// Bytes that were given up and are not free yet, as of the last round of timers.
    pub garbage_bytes: Gauge,
    /// The client that was served last; 0: none yet.
    pub client: Gauge,
    /// The thread's number in the kernel; 0 until it runs.
    pub thread: Gauge,
    /// When the turn began that the loop is in, in ns of the monotonic clock; 0: it waits for something to do.
    pub busy_since: Gauge,
    /// Goes up with every reset; histograms and maxima belong to one.
    era: AtomicU64,
    /// By the row's dense index; empty in tests that count nothing.
    by_command: Box<[CommandStats]>,
    /// By the first word of the error line.
    by_error: Mutex<BTreeMap<Box<str>, u64>>,
}

/// Once so many error codes are counted by name, new ones that scripts invent are not. Source: Valkey, `errorstats`.
const ERROR_CODES_MAX: usize = 128;
/// What these are counted under.
const OTHER_ERRORS: &str = "ERRORSTATS_OVERFLOW";

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
    /// Changes with every reset. Order: Relaxed: it decides what counts, it publishes nothing.
    #[inline]
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }
    /// Counts an error reply under its code.
    pub fn count_error(&self, code: &str) {
        self.count_error_up_to(code, usize::MAX);
    }
    /// Counts an error reply whose code a script has made up: there could be any number of them.
    pub fn count_script_error(&self, code: &str) {
        self.count_error_up_to(code, ERROR_CODES_MAX);
    }
    fn count_error_up_to(&self, code: &str, codes_max: usize) {
        self.errors.add(1);
        let mut by_error = self.errors_by_code();
        let code = if by_error.len() < codes_max || by_error.contains_key(code) { code } else { OTHER_ERRORS };
        match by_error.get_mut(code) {
            Some(count) => *count += 1,
            None => drop(by_error.insert(code.into(), 1)),
        }
    }
    /// Error replies by code.
    pub fn errors_by_code(&self) -> MutexGuard<'_, BTreeMap<Box<str>, u64>> {
        self.by_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Notes a turn that had something to do. Only the owning loop may call this.
    pub fn note_turn(&self, took: Duration, commands: u64) {
        let ns = took.as_nanos() as u64;
        self.turn_ns.add(ns);
        if self.maxima_era.get() != self.era() {
            self.maxima_era.set(self.era());
            [&self.turn_ns_max, &self.turn_commands_max].iter().for_each(|max| max.set(0));
        }
        self.turn_ns_max.raise(ns);
        self.turn_commands_max.raise(commands);
    }
    /// The longest turn in nanoseconds and the most commands of one turn, since the last reset.
    pub fn turn_maxima(&self) -> (u64, u64) {
        if self.maxima_era.get() != self.era() {
            return (0, 0);
        }
        (self.turn_ns_max.get(), self.turn_commands_max.get())
    }
    /// CONFIG RESETSTAT. The loop goes on counting meanwhile: what it adds is counted after the reset or before it.
    pub fn reset(&self) {
        let counters = [
            &self.commands,
            &self.hits,
            &self.misses,
            &self.expired,
            &self.expired_fields,
            &self.evicted,
            &self.evicted_clients,
            &self.moved,
            &self.connections,
            &self.rejected_connections,
            &self.bytes_in,
            &self.bytes_out,
            &self.reads,
            &self.writes,
            &self.input_limit_closes,
            &self.output_limit_closes,
            &self.holding_transactions,
            &self.stopping_transactions,
            &self.holding_scripts,
            &self.errors,
            &self.turns,
            &self.turn_ns,
            &self.window_ns,
            &self.expire_ns,
            &self.timers_ns,
            &self.expire_cuts,
        ];
        counters.iter().for_each(|counter| counter.reset());
        self.by_command.iter().for_each(CommandStats::reset);
        self.errors_by_code().clear();
        self.era.fetch_add(1, Ordering::Relaxed);
    }
}

/// One command over all loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTotals {
    pub calls: u64,
    pub ns: u64,
    pub rejected: u64,
    pub failed: u64,
}

impl CommandTotals {
    /// The sums for the row with this dense index. The time of calls that no sample stands for yet is taken to be that of
    /// the others.
    pub fn of(loops: &[LoopStats], index: u16) -> Self {
        let mut sum = CommandTotals::default();
        for command in loops.iter().filter_map(|stats| stats.command(index)) {
            let (calls, timed, ns) = (command.calls.get(), command.timed.get(), command.ns.get());
            sum.calls += calls;
            sum.ns += if calls > timed && timed > 0 { (ns as u128 * calls as u128 / timed as u128) as u64 } else { ns };
            sum.rejected += command.rejected.get();
            sum.failed += command.failed.get();
        }
        sum
    }
}

/// Commands that ran on a loop.
pub fn commands_run(stats: &LoopStats) -> u64 {
    stats.by_command.iter().map(|command| command.calls.get()).sum()
}

/// How long calls of the row with this dense index took, in nanoseconds, over all loops. None: nothing is known.
pub fn latencies(loops: &[LoopStats], index: u16) -> Option<Distribution> {
    let known = loops.iter().filter_map(|stats| Some((&**stats.command(index)?.histogram.get()?, stats.era())));
    let known: Vec<_> = known.collect();
    (!known.is_empty()).then(|| Distribution::of(known)).filter(|all| all.count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_of_samples_add_up_to_the_calls() {
        let stats = LoopStats::new(1);
        let command = stats.command(0).unwrap();
        let mut samples = 0;
        for _ in 0..10_000 {
            let is_sampled = command.wants_sample();
            command.calls.add(1);
            if is_sampled {
                samples += 1;
                command.note(Duration::from_nanos(500), Some(stats.era()));
            }
        }
        let all = latencies(std::slice::from_ref(&stats), 0).unwrap();
        assert!(10_000 - all.count < 251, "{}", all.count);
        assert!((210..=220).contains(&samples), "64, 130 and 23 of them: {samples}");
        let sum = CommandTotals::of(&[stats], 0);
        assert_eq!((sum.calls, sum.ns), (10_000, 5_000_000));
    }

    #[test]
    fn after_a_reset_calls_are_timed_one_by_one_again() {
        let stats = LoopStats::new(1);
        let command = stats.command(0).unwrap();
        (0..500).for_each(|_| command.calls.add(1));
        command.note(Duration::from_nanos(1), Some(0));
        assert!(!command.wants_sample());
        stats.reset();
        assert!(command.wants_sample());
        assert!(latencies(std::slice::from_ref(&stats), 0).is_none());
        assert_eq!(CommandTotals::of(&[stats], 0), CommandTotals::default());
    }

    #[test]
    fn what_scripts_invent_beyond_128_error_codes_is_counted_together() {
        let stats = LoopStats::default();
        (0..1100).for_each(|number| stats.count_script_error(&number.to_string()));
        stats.count_script_error("1");
        stats.count_error("ERR");
        let by_code = stats.errors_by_code();
        assert_eq!((by_code["1"], by_code[OTHER_ERRORS], by_code["ERR"], by_code.len()), (2, 972, 1, 130));
        assert_eq!(stats.errors.get(), 1102);
    }

    #[test]
    fn maxima_are_of_one_era() {
        let stats = LoopStats::default();
        stats.note_turn(Duration::from_nanos(70), 3);
        stats.note_turn(Duration::from_nanos(50), 9);
        assert_eq!(stats.turn_maxima(), (70, 9));
        stats.reset();
        assert_eq!(stats.turn_maxima(), (0, 0));
        stats.note_turn(Duration::from_nanos(20), 1);
        assert_eq!((stats.turn_maxima(), stats.turn_ns.get()), ((20, 1), 20));
    }
}
