//! LATENCY's pictures and words: the graph of an event, and the doctor's report.

use crate::admin::config::Config;
use crate::admin::latency::Series;
use crate::admin::params::Id;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Columns and rows of a graph, and what a row shows a third of, two thirds, all of. Source: Redis, LATENCY GRAPH.
const COLUMNS: usize = 80;
const ROWS: usize = 4;
const LEVELS: [char; 3] = ['_', 'o', '#'];

/// The spikes of an event as columns, oldest first, with their age below, read downward.
/// Shape: a line of figures, a rule, then for each 80 spikes four rows, a gap and the ages
pub fn graph(event: &str, series: &Series, now_s: u64) -> String {
    let spikes = || series.samples.iter().map(|sample| sample.ms);
    let (low, high) = (spikes().min().unwrap_or(0), spikes().max().unwrap_or(0));
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {} ms)\n", series.max_ms);
    text.extend(std::iter::repeat_n('-', COLUMNS));
    text.push('\n');
    for (index, samples) in series.samples.chunks(COLUMNS).enumerate() {
        if index > 0 {
            text.push('\n');
        }
        for row in (0..ROWS).rev() {
            text.extend(samples.iter().map(|sample| mark(sample.ms - low, high - low, row)));
            text.push('\n');
        }
        text.extend(std::iter::repeat_n(' ', samples.len()));
        text.push('\n');
        let ages: Vec<String> = samples.iter().map(|sample| age(now_s.saturating_sub(sample.at_s))).collect();
        for line in 0..ages.iter().map(String::len).max().unwrap_or(0) {
            text.extend(ages.iter().map(|age| age.as_bytes().get(line).map_or(' ', |&byte| byte as char)));
            text.push('\n');
        }
    }
    text
}

/// What a column of `height` out of `range` shows in a row, counted from below.
fn mark(height: u64, range: u64, row: usize) -> char {
    let steps = ROWS * LEVELS.len();
    let step = (height as usize * steps / range.max(1) as usize).min(steps - 1);
    match step.checked_sub(row * LEVELS.len()) {
        None => ' ',
        Some(level) => LEVELS.get(level).copied().unwrap_or('|'),
    }
}

/// How long ago, in the largest unit that fits.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What the spikes look like, and what can be done about them.
pub fn doctor(events: &BTreeMap<&'static str, Series>, config: &Config, now_s: u64) -> String {
    let threshold_ms = config.number(Id::LATENCY_MONITOR_THRESHOLD);
    if events.is_empty() && threshold_ms == 0 {
        return "The latency monitor is off: nothing was watched, so nothing can be said. \
                \"CONFIG SET latency-monitor-threshold <milliseconds>\" switches it on.\n"
            .into();
    }
    if events.is_empty() {
        return format!("No event took {threshold_ms} ms or longer since the monitor was switched on or reset.\n");
    }
    let mut text = String::from("These events were slow:\n\n");
    for (number, (event, series)) in events.iter().enumerate() {
        let figures = series.figures(now_s);
        let every_s = figures.period_s as f64 / figures.count.max(1) as f64;
        let _ = writeln!(
            text,
            "{}. {event}: {} latency spikes (average {}ms, mean deviation {}ms, period {every_s:.2} sec). \
             Worst all time event {}ms.",
            number + 1,
            figures.count,
            figures.average_ms,
            figures.deviation_ms,
            series.max_ms,
        ); // Writing to a String cannot fail.
    }
    text.push_str("\nWhat can be done:\n\n");
    for advice in events.keys().flat_map(|event| advice(event, config)) {
        let _ = writeln!(text, "- {advice}");
    }
    text
}

/// What to do about one kind of event.
fn advice(event: &str, config: &Config) -> Vec<String> {
    let (threshold_ms, slower_than_us) =
        (config.number(Id::LATENCY_MONITOR_THRESHOLD), config.number(Id::SLOWLOG_LOG_SLOWER_THAN));
    let is_log_off = slower_than_us < 0 || config.number(Id::SLOWLOG_MAX_LEN) == 0;
    let log = format!("'CONFIG SET slowlog-log-slower-than {}'", threshold_ms * 1000);
    match event {
        "command" if is_log_off => vec![format!("The slow log is off. {log} makes it name the commands that are slow.")],
        "command" if slower_than_us / 1000 > threshold_ms => {
            vec![format!("The slow log only keeps what is slower than the monitor's threshold. {log} makes them agree.")]
        }
        "command" => vec![
            "SLOWLOG GET names the commands. Those that look at every key or at a whole large value (KEYS, SORT, \
             a range without a limit) have siblings that work in portions."
                .into(),
        ],
        "fast-command" => vec![
            "A command that is fast by nature was held up. Loops may have lost their cores: look at the machine's load, at \
             the steal time of a virtual machine, and whether there are more loops than cores."
                .into(),
        ],
        "expire-cycle" => vec![
            "Very many keys had the same deadline. Spread deadlines by a random amount; `expire_lag_p99_ms` of INFO ringdb \
             tells how late keys are removed."
                .into(),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::latency::Sample;

    fn series(samples: &[(u64, u64)]) -> Series {
        let samples: Vec<_> = samples.iter().map(|&(at_s, ms)| Sample { at_s, ms }).collect();
        Series { max_ms: samples.iter().map(|sample| sample.ms).max().unwrap_or(0), samples }
    }

    /// The picture that redis-server 7.0 draws of the same spikes.
    #[test]
    fn a_graph_is_drawn_as_redis_draws_it() {
        let rule = "-".repeat(80);
        assert_eq!(
            graph("command", &series(&[(7, 10), (8, 30), (9, 20)]), 10),
            format!(
                "command - high 30 ms, low 10 ms (all time high 30 ms)\n{rule}\n # \n |_\n ||\n_||\n   \n321\nsss\n"
            )
        );
    }

    #[test]
    fn ages_have_the_largest_unit_and_long_graphs_are_wrapped() {
        assert_eq!([5, 60, 7200, 200_000].map(age), ["5s", "1m", "2h", "2d"]);
        let many: Vec<(u64, u64)> = (0..100).map(|second| (second, 5)).collect();
        let text = graph("command", &series(&many), 100);
        assert_eq!(text.lines().filter(|line| line.len() == 20).count(), 4 + 1 + 3);
    }

    #[test]
    fn the_doctor_speaks_of_what_happened() {
        let config = Config::new();
        assert!(doctor(&BTreeMap::new(), &config, 10).contains("is off"));
        config.set(&[(b"latency-monitor-threshold", b"100")]).unwrap();
        assert!(doctor(&BTreeMap::new(), &config, 10).contains("No event took 100 ms"));
        let events =
            BTreeMap::from([("command", series(&[(1, 300), (3, 500)])), ("fast-command", series(&[(1, 120)]))]);
        let report = doctor(&events, &config, 5);
        assert!(report.contains("1. command: 2 latency spikes (average 400ms, mean deviation 100ms, period 2.00 sec)"));
        assert!(report.contains("SLOWLOG GET") && report.contains("steal time"), "{report}");
        config.set(&[(b"slowlog-log-slower-than", b"-1")]).unwrap();
        assert!(doctor(&events, &config, 5).contains("'CONFIG SET slowlog-log-slower-than 100000'"));
    }
}
