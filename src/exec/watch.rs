//! Timing commands without reading the clock for each of them.
//!
//! Two readings cost a fifth of a GET. So in a window of many commands the light ones are only sampled (`admin::stats` has
//! the rule), and the window as a whole is timed. What is timed one by one:
//!
//! - every command of a window of few: the turn's system calls cost far more;
//! - every command that is not light by its row, has many arguments or a large one;
//! - every command, while a threshold (`slowlog-log-slower-than`, `latency-monitor-threshold`) is below `FINE`.
//!
//! So nothing slow by nature escapes the slow log. What remains is a light command that was held up: by the scheduler, by a
//! page fault. Then the window took long beyond what the timed commands explain; the light one with the most bytes is logged
//! with that time. Which of them it was is not known, and the time is an upper bound.

use super::slow;
use crate::admin::config::Config;
use crate::admin::counter::counts;
use crate::admin::params::Id;
use crate::admin::stats::{CommandStats, LoopStats};
use crate::base::clock::MonoNs;
use crate::cmd::command::{Command, flag};
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::resp::args::{Args, OwnedArgs};
use std::time::Duration;

/// With more arguments no command is light: MGET of thousands is FAST for Redis, too.
const LIGHT_ARGS_MAX: usize = 16;
/// Windows of light commands take less than a tenth of it.
const FINE: Duration = Duration::from_millis(1);

/// How the commands of one window are timed.
pub struct Watch {
    times_each: bool,
    /// A command is slow from so many nanoseconds on; `u64::MAX` if nobody wants to know.
    slow_ns: u64,
    started: MonoNs,
    /// Time of commands that were timed.
    explained: Duration,
    /// Since when the client at hand has been waiting.
    pub waiting_since: MonoNs,
}

impl Watch {
    /// A window begins. `is_sparse`: it has few commands.
    pub fn begin(config: &Config, is_sparse: bool) -> Self {
        let slow_ns = slow::threshold_ns(config);
        let times_each = is_sparse || slow_ns < FINE.as_nanos() as u64;
        let started = if times_each || !counts() { MonoNs::default() } else { MonoNs::now() };
        Watch { times_each, slow_ns, started, explained: Duration::ZERO, waiting_since: started }
    }
    /// Shall this command be timed?
    #[inline]
    pub fn wants(&self, row: &Command, args: &Args<'_>, counters: &CommandStats) -> bool {
        counts() && (self.times_each || counters.wants_sample() || !is_light(row, args))
    }
    /// Notes a timed command that has just been counted.
    #[inline(never)]
    pub fn note(&mut self, started: MonoNs, row: &Command, args: Args<'_>, place: Place<'_>) {
        let times = Times { worked: self.explain(started), waited: started.since(self.waiting_since) };
        self.conclude(row, || slow::kept_args(row, args), times, place);
    }
    /// Notes a timed command whose commands were noted each for itself. `args`: what a script was called with.
    pub fn note_alone(&mut self, started: MonoNs, row: &Command, args: Option<&OwnedArgs>, place: Place<'_>) {
        let times = Times { worked: self.explain(started), waited: started.since(self.waiting_since) };
        let kept = || args.map_or_else(Vec::new, |args| slow::kept_args(row, Args::of(&args.parts())));
        self.conclude(row, kept, times, place);
    }
    /// A timed command goes on in later turns: what is to be known of it at its end.
    pub fn put_off(&mut self, started: MonoNs, row: &Command, args: Args<'_>) -> Tale {
        let times = Times { worked: self.explain(started), waited: started.since(self.waiting_since) };
        Tale { times, args: slow::kept_args(row, args) }
    }
    /// Notes a command that has ended and was counted after several turns.
    pub fn note_long(&mut self, row: &Command, tale: &mut Tale, place: Place<'_>) {
        self.conclude(row, || std::mem::take(&mut tale.args), tale.times, place);
    }
    /// Something was timed: returns how long it took.
    pub fn explain(&mut self, started: MonoNs) -> Duration {
        let took = MonoNs::now().since(started);
        self.explained += took;
        took
    }
    fn conclude(&mut self, row: &Command, args: impl FnOnce() -> Vec<Box<[u8]>>, times: Times, place: Place<'_>) {
        let Place { world, stats, session } = place;
        let tracks = world.config.number(Id::LATENCY_TRACKING) != 0;
        let Some(counters) = stats.command(row.index) else { return };
        let weight = counters.note(times.worked, tracks.then(|| stats.era()));
        stats.wait.record(stats.era(), times.waited.as_nanos() as u64, weight);
        if row.has(flag::ADMIN) {
            self.slow_ns = slow::threshold_ns(&world.config); // CONFIG SET counts for itself.
            self.times_each |= self.slow_ns < FINE.as_nanos() as u64;
        }
        if times.worked.as_nanos() as u64 >= self.slow_ns {
            slow::note(world, row, session, args, times.worked, times.waited);
        }
    }
    /// The window has ended: the time that its timed commands do not explain, if it is that of a slow command.
    #[inline]
    pub fn unexplained(&self, now: MonoNs) -> Option<Duration> {
        if self.times_each || !counts() {
            return None;
        }
        let rest = now.since(self.started).saturating_sub(self.explained);
        (rest.as_nanos() as u64 >= self.slow_ns).then_some(rest)
    }
}

/// How long a command worked, and how long it had waited before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub worked: Duration,
    pub waited: Duration,
}

/// A timed command that goes on in later turns.
#[derive(Default)]
pub struct Tale {
    pub times: Times,
    args: Vec<Box<[u8]>>,
}

/// Where a command ran.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub world: &'a World,
    pub stats: &'a LoopStats,
    pub session: &'a Session,
}

/// Does the command take about a microsecond, whatever the data?
#[inline]
pub fn is_light(row: &Command, args: &Args<'_>) -> bool {
    row.is_light && args.count() <= LIGHT_ARGS_MAX && !args.has_large()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::table;
    use crate::resp::args::{Arg, Parts};
    use bytes::Bytes;

    fn config(pairs: &[(&[u8], &[u8])]) -> Config {
        let config = Config::new();
        config.set(pairs).unwrap();
        config
    }

    #[test]
    fn light_commands_are_sampled_in_long_windows_only() {
        let (get, keys) = (table::lookup(b"get").unwrap(), table::lookup(b"keys").unwrap());
        let parts = Parts { buf: b"", items: &[], large: &[] };
        let args = Args::of(&parts);
        let counters = CommandStats::default();
        counters.calls.add(1000);
        counters.note(Duration::ZERO, None);
        let wants = |config: &Config, is_sparse, row| Watch::begin(config, is_sparse).wants(row, &args, &counters);
        let usual = config(&[(b"slowlog-log-slower-than", b"10000")]);
        assert!(!wants(&usual, false, get) && wants(&usual, true, get) && wants(&usual, false, keys));
        assert!(wants(&config(&[(b"slowlog-log-slower-than", b"0")]), false, get));
        let off = config(&[(b"slowlog-log-slower-than", b"0"), (b"slowlog-max-len", b"0")]);
        assert!(!wants(&off, false, get));
        assert!(!wants(&config(&[(b"latency-monitor-threshold", b"1")]), false, get));
    }

    #[test]
    fn many_or_large_arguments_are_not_light() {
        let mget = table::lookup(b"mget").unwrap();
        let items = [Arg::default(); 17];
        let is_light = |count: usize, large: &[Bytes]| {
            is_light(mget, &Args::of(&Parts { buf: b"", items: &items[..count], large }))
        };
        assert!(is_light(16, &[]) && !is_light(17, &[]) && !is_light(2, &[Bytes::new()]));
    }

    #[test]
    fn a_window_is_slow_by_what_its_timed_commands_do_not_explain() {
        let usual = config(&[(b"slowlog-log-slower-than", b"10000")]);
        let mut watch = Watch::begin(&usual, false);
        let after = |ms: u64| MonoNs(watch.started.0 + ms * 1_000_000);
        let (soon, late) = (after(5), after(15));
        assert_eq!(watch.unexplained(soon), None);
        assert_eq!(watch.unexplained(late), Some(Duration::from_millis(15)));
        watch.explained = Duration::from_millis(12);
        assert_eq!(watch.unexplained(late), None);
        assert_eq!(Watch::begin(&usual, true).unexplained(late), None);
    }
}
