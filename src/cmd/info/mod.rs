//! INFO: the state of the server as text, in sections of `field:value` lines.
//!
//! Names, order and number formats are those of Redis 7.2, because dashboards and Sentinel parse them. A field of something
//! that does not exist here has the value that says "none". What is our own stands in a section of its own, `ringdb`, save
//! for a few fields that belong beside Redis's (`io_engine`, `used_memory_index`); a test has the list.
//!
//! Reading other loops' counters takes no lock that a data command takes, so nobody stops.

#![forbid(unsafe_code)]

mod commands;
mod loops;
mod memory;
mod server;
mod state;

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use crate::admin::counter::Counter;
use crate::admin::stats::LoopStats;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use std::fmt::{Display, Write};

pub static ROWS: &[Command] = &[cmd("info", info)
    .arity(-1)
    .flags(flag::LOADING | flag::STALE | flag::SENTINEL)
    .acl(acl::DANGEROUS)
    .group("server", "1.0.0")
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])];

/// When a section is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    ByName,
    /// And by `all` and `everything`.
    InAll,
    /// And by `default`, and by INFO alone.
    ByDefault,
}

/// One section: its name as clients ask for it, its title, when it is shown, and its writer.
struct Section {
    name: &'static str,
    title: &'static str,
    shown: Shown,
    write: fn(&mut Text, &Cx<'_>),
}

const fn section(name: &'static str, title: &'static str, write: fn(&mut Text, &Cx<'_>)) -> Section {
    Section { name, title, shown: Shown::ByDefault, write }
}

impl Section {
    const fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }
}

static SECTIONS: &[Section] = &[
    section("server", "Server", server::server),
    section("clients", "Clients", server::clients),
    section("memory", "Memory", memory::memory),
    section("persistence", "Persistence", state::persistence),
    section("stats", "Stats", state::stats),
    section("replication", "Replication", state::replication),
    section("cpu", "CPU", server::cpu),
    section("modules", "Modules", |_, _| ()),
    section("commandstats", "Commandstats", commands::calls).shown(Shown::InAll),
    section("errorstats", "Errorstats", commands::errors),
    section("latencystats", "Latencystats", commands::latencies).shown(Shown::InAll),
    section("cluster", "Cluster", |text, _| text.field("cluster_enabled", 0)),
    section("keyspace", "Keyspace", state::keyspace),
    section("ringdb", "Ringdb", loops::ringdb),
    section("debug", "Debug", loops::debug).shown(Shown::ByName),
];

/// The text of an INFO reply.
#[derive(Default)]
struct Text(String);

impl Text {
    fn title(&mut self, title: &str) {
        let gap = if self.0.is_empty() { "" } else { "\r\n" };
        let _ = write!(self.0, "{gap}# {title}\r\n"); // Writing to a String cannot fail.
    }
    fn field(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
    fn fields(&mut self, fields: &[(&str, u64)]) {
        fields.iter().for_each(|(name, value)| self.field(name, value));
    }
    /// Fields of what does not exist here.
    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }
    /// Two digits behind the point.
    fn ratio(&mut self, name: &str, value: f64) {
        self.field(name, format_args!("{value:.2}"));
    }
    /// Bytes, and again for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }
}

/// The state of the server.
/// Shape: `[section …]`; `default`, `all` and `everything` stand for several. Unknown sections are empty.
fn info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let asked: Vec<String> = args.iter_from(1).map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
    let asks_for = |word: &str| asked.iter().any(|asked| asked == word);
    let least = match () {
        _ if asks_for("all") || asks_for("everything") => Shown::InAll,
        _ => Shown::ByDefault,
    };
    let takes_groups = least == Shown::InAll || asked.is_empty() || asks_for("default");
    let mut text = Text::default();
    for section in SECTIONS {
        if takes_groups && section.shown >= least || asks_for(section.name) {
            text.title(section.title);
            (section.write)(&mut text, cx);
        }
    }
    cx.reply.verbatim("txt", text.0.as_bytes());
    Ok(Flow::Done)
}

/// All sections, for the report of a crash.
pub fn everything(cx: &Cx<'_>) -> String {
    let mut text = Text::default();
    for section in SECTIONS {
        text.title(section.title);
        (section.write)(&mut text, cx);
    }
    text.0
}

/// A counter of all loops.
fn sum(cx: &Cx<'_>, counter: fn(&LoopStats) -> &Counter) -> u64 {
    cx.world.stats.iter().map(|stats| counter(stats).get()).sum()
}

/// Bytes for people: `7B`, `1.28M`. Source: Redis, `bytesToHuman`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() as usize / 10).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power - 1])
}

#[cfg(test)]
mod tests {
    use super::human;
    use crate::cmd::table;
    use crate::cmd::testkit::Client;
    use std::time::Duration;

    fn info_of(client: &mut Client, sections: &str) -> String {
        String::from_utf8(client.raw(&format!("INFO {sections}"))).unwrap()
    }
    /// INFO after one PING of 3 µs.
    fn info(sections: &str) -> String {
        let mut client = Client::new();
        let ping = client.world.stats[0].command(table::lookup(b"ping").unwrap().index).unwrap();
        ping.calls.add(1);
        ping.note(Duration::from_nanos(3000), Some(0));
        info_of(&mut client, sections)
    }

    #[test]
    fn default_leaves_command_statistics_out_and_all_shows_each_section_once() {
        for sections in ["", "default", "cpu default"] {
            let text = info(sections);
            assert!(text.contains("redis_version:7.2.4\r\n") && text.contains("# CPU\r\n"), "{text}");
            assert!(!text.contains("rejected_calls") && !text.contains("# Latencystats"), "{text}");
        }
        for sections in ["all", "everything", "cpu ALL"] {
            let text = info(sections);
            assert_eq!(text.matches("used_cpu_user_children").count(), 1);
            assert!(
                text.contains("cmdstat_ping:calls=1,usec=3,usec_per_call=3.00,rejected_calls=0,failed_calls=0\r\n")
            );
            assert!(text.contains("latency_percentiles_usec_ping:p50=3.000,p99=3.000,p99.9=3.000\r\n"), "{text}");
            assert!(!text.contains("# Debug"), "{text}");
        }
    }

    #[test]
    fn sections_are_chosen_by_name_and_unknown_ones_are_empty() {
        assert_eq!(info("nosuch"), "$0\r\n\r\n");
        let text = info("CLUSTER replication");
        assert!(text.starts_with("$") && text.contains("\r\n# Replication\r\nrole:master\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"), "{text}");
        assert!(info("debug").contains("# Debug\r\neventloop_duration_aof_sum:0\r\n"));
    }

    #[test]
    fn every_line_is_a_field_a_title_or_a_gap() {
        let text = info("everything debug");
        let (_, body) = text.split_once("\r\n").unwrap();
        for line in body.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_|-".contains(&byte);
            assert!(name.bytes().all(is_name) && !value.contains('\n'), "{line}");
        }
    }

    #[test]
    fn latencies_are_shown_while_they_are_tracked_at_the_chosen_percentiles() {
        let mut client = Client::new();
        let ping = client.world.stats[0].command(table::lookup(b"ping").unwrap().index).unwrap();
        for took in [1000, 2000] {
            ping.calls.add(1);
            ping.note(Duration::from_nanos(took), Some(0));
        }
        assert_eq!(client.run_line("CONFIG SET latency-tracking-info-percentiles '0 100.0'"), "OK");
        let text = info_of(&mut client, "latencystats");
        assert!(text.contains("latency_percentiles_usec_ping:p0=0.992,p100=2.000\r\n"), "{text}");
        assert_eq!(client.run_line("CONFIG SET latency-tracking no"), "OK");
        assert!(!info_of(&mut client, "latencystats").contains("percentiles"));
    }

    #[test]
    fn sizes_are_readable() {
        let cases = [(7, "7B"), (1023, "1023B"), (1024, "1.00K"), (1337312, "1.28M"), (25276514304, "23.54G")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(human(*bytes), *text));
    }
}
