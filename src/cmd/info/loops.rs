//! INFO's own section: how the loops do, how long commands wait for theirs, how late keys expire. And `debug`.

use super::{Text, sum};
use crate::admin::histogram::Distribution;
use crate::admin::rates::Totals;
use crate::admin::stats::{LoopStats, commands_run};
use crate::cmd::command::Cx;
use std::fs;

pub fn ringdb(text: &mut Text, cx: &Cx<'_>) {
    let world = cx.world;
    let all = |histogram: fn(&LoopStats) -> &crate::admin::histogram::Histogram| {
        Distribution::of(world.stats.iter().map(|stats| (histogram(stats), stats.era())))
    };
    text.field("io_engine", world.boot.engine);
    text.field("io_engine_reason", &world.boot.engine_reason);
    text.field("loops", world.stats.len());
    let (wait, lag) = (all(|stats| &stats.wait), all(|stats| &stats.expire_lag));
    text.fields(&[
        ("command_wait_p50_usec", wait.percentile(50.0) / 1000),
        ("command_wait_p99_usec", wait.percentile(99.0) / 1000),
        ("command_wait_max_usec", wait.max / 1000),
        ("expire_lag_p50_ms", lag.percentile(50.0)),
        ("expire_lag_p99_ms", lag.percentile(99.0)),
        ("expire_lag_max_ms", lag.max),
        ("expire_wheel_items", world.stats.iter().map(|stats| stats.expire_items.get()).sum()),
        ("epoch_garbage_bytes", world.stats.iter().map(|stats| stats.garbage_bytes.get()).sum()),
        ("moved_entries", world.stats.iter().map(|stats| stats.moved.get()).sum()),
        ("slowlog_entries", world.slowlog.count(usize::MAX) as u64),
    ]);
    let rates = world.rates.per_second(cx.keys.now.0, &Totals::of(&world.stats));
    let clients = world.clients.per_loop();
    for (index, stats) in world.stats.iter().enumerate() {
        let load = rates.busy_ns.get(index).map_or(0.0, |&busy| (busy as f64 / 1e9).min(1.0));
        let line = one_loop(stats, clients.get(index).copied().unwrap_or(0), load);
        text.field(&format!("loop_{index}"), line);
    }
}

/// `load` is the share of the last moments in which the loop had something to do; `cpu_ms` is what the kernel counted for its
/// thread, system calls included.
fn one_loop(stats: &LoopStats, clients: usize, load: f64) -> String {
    let wait = Distribution::of([(&stats.wait, stats.era())]);
    let (longest_ns, most_commands) = stats.turn_maxima();
    let ms = |ns: u64| ns / 1_000_000;
    format!(
        "clients={clients},commands={},load={load:.2},busy_ms={},cpu_ms={},turns={},turn_max_usec={},\
         turn_max_commands={most_commands},wait_p99_usec={},garbage_bytes={}",
        commands_run(stats),
        ms(stats.turn_ns.get()),
        ms(cpu_ns(stats.thread.get())),
        stats.turns.get(),
        longest_ns / 1000,
        wait.percentile(99.0) / 1000,
        stats.garbage_bytes.get(),
    )
}

/// Nanoseconds that a thread ran, by the scheduler's count; 0 if it does not tell.
/// Source: Documentation/scheduler/sched-stats.rst, `/proc/<pid>/schedstat`.
fn cpu_ns(thread: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// What Redis shows only when it is asked for by name.
pub fn debug(text: &mut Text, cx: &Cx<'_>) {
    let (mut longest_ns, mut most_commands) = (0, 0);
    for (ns, commands) in cx.world.stats.iter().map(LoopStats::turn_maxima) {
        (longest_ns, most_commands) = (longest_ns.max(ns), most_commands.max(commands));
    }
    text.fields(&[
        ("eventloop_duration_aof_sum", 0),
        ("eventloop_duration_cron_sum", (sum(cx, |stats| &stats.timers_ns) + sum(cx, |stats| &stats.expire_ns)) / 1000),
        ("eventloop_duration_max", longest_ns / 1000),
        ("eventloop_cmd_per_cycle_max", most_commands),
    ]);
}
