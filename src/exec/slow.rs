//! What is kept of a slow command: an entry of the slow log, a sample of the latency monitor.

use crate::admin::config::Config;
use crate::admin::params::Id;
use crate::admin::slowlog::{Slow, shortened};
use crate::base::clock::{WallMs, wall_micros};
use crate::cmd::command::{Command, flag};
use crate::cmd::redact;
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::resp::args::Args;
use std::time::Duration;

/// Nanoseconds from which on a command is slow for one of the two; `u64::MAX` if both are off.
#[inline]
pub fn threshold_ns(config: &Config) -> u64 {
    let log_us = slowlog_us(config).map(|us| us.saturating_mul(1000));
    let monitor_ms = monitor_ms(config).map(|ms| ms.saturating_mul(1_000_000));
    log_us.unwrap_or(u64::MAX).min(monitor_ms.unwrap_or(u64::MAX))
}

/// Microseconds from which on commands are logged, if they are.
fn slowlog_us(config: &Config) -> Option<u64> {
    let slower_than = config.number(Id::SLOWLOG_LOG_SLOWER_THAN);
    (slower_than >= 0 && config.number(Id::SLOWLOG_MAX_LEN) > 0).then_some(slower_than as u64)
}

/// Milliseconds from which on events are noted, if they are.
pub fn monitor_ms(config: &Config) -> Option<u64> {
    Some(config.number(Id::LATENCY_MONITOR_THRESHOLD) as u64).filter(|&ms| ms > 0)
}

/// Notes how long a run of active expiry took.
/// Cost: a comparison if nothing was due.
#[inline]
pub fn note_expiry(world: &World, took: Duration, now: WallMs) {
    if !took.is_zero() && monitor_ms(&world.config).is_some_and(|threshold| took.as_millis() as u64 >= threshold) {
        world.latency.note("expire-cycle", now.0 / 1000, took.as_millis() as u64);
    }
}

/// Notes how long keys were evicted in a go.
pub fn note_eviction(world: &World, took: Duration, now: WallMs) {
    if monitor_ms(&world.config).is_some_and(|threshold| took.as_millis() as u64 >= threshold) {
        world.latency.note("eviction-cycle", now.0 / 1000, took.as_millis() as u64);
    }
}

/// The arguments of a command as they may be kept.
pub fn kept_args(row: &Command, args: Args<'_>) -> Vec<Box<[u8]>> {
    shortened(redact::shown(row, args))
}

/// Notes a command that worked for so long, after it had waited for its loop. `args` makes its `kept_args`.
#[cold]
pub fn note(
    world: &World,
    row: &Command,
    session: &Session,
    args: impl FnOnce() -> Vec<Box<[u8]>>,
    worked: Duration,
    waited: Duration,
) {
    let at_s = wall_micros() / 1_000_000;
    let (worked_us, worked_ms) = (worked.as_micros() as u64, worked.as_millis() as u64);
    if monitor_ms(&world.config).is_some_and(|threshold| worked_ms >= threshold) {
        world.latency.note(if row.has(flag::FAST) { "fast-command" } else { "command" }, at_s, worked_ms);
    }
    if slowlog_us(&world.config).is_some_and(|threshold| worked_us >= threshold) && !row.has(flag::SKIP_SLOWLOG) {
        let slow = Slow {
            at_s,
            worked_us,
            waited_us: waited.as_micros() as u64,
            peer: session.info.endpoints.peer(),
            name: session.info.names().name,
            args: args(),
        };
        world.slowlog.push(slow, world.config.number(Id::SLOWLOG_MAX_LEN) as usize);
    }
}
