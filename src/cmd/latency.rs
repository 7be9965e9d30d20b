//! The LATENCY family: how long commands take (HISTOGRAM, always counted), and what was ever slow (the monitor's events).

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::latency_report::{doctor, graph};
use super::table;
use crate::admin::stats::{self, CommandTotals};
use crate::base::clock::wall_micros;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};

const READS: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;
const REPORT: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

const fn row(name: &'static str, run: Handler, arity: i32) -> Command {
    cmd(name, run).arity(arity).flags(READS).group("server", "2.8.13").tips(REPORT)
}

pub static ROWS: &[Command] = &[cmd("latency", table::container).arity(-2).group("server", "2.8.13").subs(&[
    row("doctor", latency_doctor, 2),
    row("graph", latency_graph, 3),
    row("help", latency_help, 2).flags(flag::LOADING | flag::STALE).tips(&[]),
    row("histogram", latency_histogram, -2).group("server", "7.0.0"),
    row("history", latency_history, 3),
    row("latest", latency_latest, 2),
    row("reset", latency_reset, -2).tips(&["request_policy:all_nodes", "response_policy:agg_sum"]),
])];

fn now_s() -> u64 {
    wall_micros() / 1_000_000
}

/// What the spikes look like, in words, and what can be done.
fn latency_doctor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let report = doctor(&cx.world.latency.all(), &cx.world.config, now_s());
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(Flow::Done)
}

/// The spikes of an event as a picture.
/// Shape: `event`
fn latency_graph(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Some((event, series)) = cx.world.latency.of(args.get(2)) else {
        let event = escaped(args.get(2));
        return Err(ReplyError::owned(format!("ERR No samples available for event '{event}'")));
    };
    cx.reply.verbatim("txt", graph(event, &series, now_s()).as_bytes());
    Ok(Flow::Done)
}

/// The subcommands.
fn latency_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "LATENCY",
        &[
            ("DOCTOR", "What the spikes look like, in words, and what can be done."),
            ("GRAPH <event>", "The spikes of an event as a picture."),
            ("HISTORY <event>", "The spikes of an event: time, milliseconds."),
            ("LATEST", "Each event's last spike and its worst one."),
            ("RESET [<event> ...]", "Forget the spikes of some events, or of all."),
            (
                "HISTOGRAM [<command> ...]",
                "How long calls of some commands took, or of all: calls, and for powers of two of microseconds\n\
                 how many calls took no longer.",
            ),
        ],
    );
    Ok(Flow::Done)
}

/// How long calls took, cumulated over powers of two of nanoseconds from 1024 on.
/// Shape: `[command …]`; a container stands for its subcommands, unknown names are left out
fn latency_histogram(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let rows: Vec<&'static Command> = match args.count() {
        2 => table::all().collect(),
        _ => {
            let asked = args.iter_from(2).filter_map(table::lookup_full);
            asked.flat_map(|row| std::iter::once(row).chain(row.subs)).collect()
        }
    };
    let known: Vec<_> =
        rows.into_iter().filter_map(|row| Some((row, stats::latencies(&cx.world.stats, row.index)?))).collect();
    cx.reply.map(known.len());
    for (row, all) in known {
        // Calls are counted, times partly sampled: the sample is taken for all of them.
        let calls = CommandTotals::of(&cx.world.stats, row.index).calls.max(all.count);
        let mut shown: Vec<(u64, u64)> = Vec::new();
        for (power, below) in all.below_powers(10) {
            let count = (below as u128 * calls as u128 / all.count as u128) as u64;
            if count > shown.last().map_or(0, |&(_, before)| before) {
                shown.push((edge_us(power), count));
            }
        }
        cx.reply.bulk(row.full_name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.int(calls as i64);
        cx.reply.bulk(b"histogram_usec");
        cx.reply.map(shown.len());
        for (us, count) in shown {
            cx.reply.int(us as i64);
            cx.reply.int(count as i64);
        }
    }
    Ok(Flow::Done)
}

/// The number of microseconds that Redis shows for a power of two of nanoseconds: its histogram's bucket there ends 1/128
/// later (1, 2, 4, 8, 16, 33, 66, 132, …).
fn edge_us(power_ns: u64) -> u64 {
    (power_ns + power_ns / 128 - 1) / 1000
}

/// The spikes of an event, oldest first.
/// Shape: `event`
fn latency_history(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let samples = cx.world.latency.of(args.get(2)).map(|(_, series)| series.samples).unwrap_or_default();
    cx.reply.array(samples.len());
    for sample in samples {
        cx.reply.array(2);
        cx.reply.int(sample.at_s as i64);
        cx.reply.int(sample.ms as i64);
    }
    Ok(Flow::Done)
}

/// Each event's last spike and its worst one.
fn latency_latest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let events = cx.world.latency.all();
    cx.reply.array(events.len());
    for (event, series) in events {
        let last = series.samples.last();
        cx.reply.array(4);
        cx.reply.bulk(event.as_bytes());
        cx.reply.int(last.map_or(0, |last| last.at_s as i64));
        cx.reply.int(last.map_or(0, |last| last.ms as i64));
        cx.reply.int(series.max_ms as i64);
    }
    Ok(Flow::Done)
}

/// Forgets the spikes of some events, or of all; replies how many events there were.
/// Shape: `[event …]`
fn latency_reset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let asked: Vec<&[u8]> = args.iter_from(2).collect();
    let is_wanted =
        |event: &str| asked.is_empty() || asked.iter().any(|name| name.eq_ignore_ascii_case(event.as_bytes()));
    let count = cx.world.latency.reset(is_wanted);
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::table;
    use crate::cmd::testkit::{Client, check, check_on};
    use std::time::Duration;

    /// Calls of a command that took so many nanoseconds each.
    fn note(client: &Client, name: &str, times: &[u64]) {
        let command = client.world.stats[0].command(table::lookup_full(name.as_bytes()).unwrap().index).unwrap();
        for &ns in times {
            command.calls.add(1);
            command.note(Duration::from_nanos(ns), Some(0));
        }
    }

    #[test]
    fn histograms_are_cumulated_over_powers_of_two() {
        let mut client = Client::new();
        note(&client, "get", &[100, 1023, 1024, 33_000, 40_000]);
        note(&client, "client|id", &[500]);
        note(&client, "client|list", &[70_000]);
        check_on(
            &mut client,
            "
            LATENCY HISTOGRAM get => ['get', ['calls', 5, 'histogram_usec', [1, 2, 2, 3, 66, 5]]]
            LATENCY HISTOGRAM nosuch client|id => ['client|id', ['calls', 1, 'histogram_usec', [1, 1]]]
            LATENCY HISTOGRAM client => ['client|id', ['calls', 1, 'histogram_usec', [1, 1]], 'client|list', ['calls', 1, 'histogram_usec', [132, 1]]]
            LATENCY HISTOGRAM nosuch set => []
            HELLO 3 => *
            LATENCY HISTOGRAM get => {'get': {'calls': 5, 'histogram_usec': {1: 2, 2: 3, 66: 5}}}
        ",
        );
        assert_eq!(client.run_line("LATENCY HISTOGRAM").matches("calls").count(), 3);
    }

    #[test]
    fn a_histogram_stands_for_all_calls() {
        let mut client = Client::new();
        let get = client.world.stats[0].command(table::lookup(b"get").unwrap().index).unwrap();
        for _ in 0..100 {
            if get.wants_sample() {
                get.calls.add(1);
                get.note(Duration::from_nanos(900), Some(0));
            } else {
                get.calls.add(1);
            }
        }
        assert_eq!(client.run_line("LATENCY HISTOGRAM get"), "['get', ['calls', 100, 'histogram_usec', [1, 100]]]");
    }

    #[test]
    fn events_are_listed_drawn_and_forgotten() {
        let mut client = Client::new();
        client.world.latency.note("command", 10, 300);
        client.world.latency.note("command", 12, 200);
        client.world.latency.note("fast-command", 11, 7);
        check_on(
            &mut client,
            "
            LATENCY HISTORY command => [[10, 300], [12, 200]]
            LATENCY HISTORY COMMAND => []
            LATENCY LATEST => [['command', 12, 200, 300], ['fast-command', 11, 7, 7]]
            LATENCY GRAPH nosuch => ERR No samples available for event 'nosuch'
            LATENCY RESET nosuch COMMAND => 1
            LATENCY RESET => 1
            LATENCY LATEST => []
            LATENCY RESET => 0
        ",
        );
    }

    #[test]
    fn words_are_checked() {
        check(
            "
            LATENCY HISTORY => ERR wrong number of arguments for 'latency|history' command
            LATENCY HELP x => ERR wrong number of arguments for 'latency|help' command
            LATENCY NOSUCH => ERR unknown subcommand 'NOSUCH'. Try LATENCY HELP.
        ",
        );
    }
}
