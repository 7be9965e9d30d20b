//! INFO: the state of the server as text, in sections of `field:value` lines.
//!
//! Field names and order are Redis's, because dashboards and Sentinel parse them. A field of Redis that has no meaning here
//! is left out, unless tools are known to read it; then it has the value that says "none".

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use super::memory::{Account, ratio};
use super::table;
use super::world::{REDIS_VERSION, VERSION};
use crate::admin::memory::{allocator_name, total_system};
use crate::admin::params::Id;
use crate::admin::stats::{CommandStats, Counter, LoopStats, Totals, lag_max_ms, lag_percentile_ms};
use crate::base::clock::wall_micros;
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use nix::sys::resource::{UsageWho, getrusage};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

pub static ROWS: &[Command] = &[cmd("info", info)
    .arity(-1)
    .flags(flag::LOADING | flag::STALE | flag::SENTINEL)
    .acl(acl::DANGEROUS)
    .group("server", "1.0.0")
    .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])];

/// One section: its name as clients ask for it, its title, whether INFO without arguments shows it, and its writer.
struct Section {
    name: &'static str,
    title: &'static str,
    by_default: bool,
    write: fn(&mut Text, &Cx<'_>),
}

const fn section(name: &'static str, title: &'static str, write: fn(&mut Text, &Cx<'_>)) -> Section {
    Section { name, title, by_default: true, write }
}

static SECTIONS: &[Section] = &[
    section("server", "Server", server),
    section("clients", "Clients", clients),
    section("memory", "Memory", memory),
    section("persistence", "Persistence", persistence),
    section("stats", "Stats", stats),
    section("replication", "Replication", replication),
    section("cpu", "CPU", cpu),
    section("modules", "Modules", |_, _| ()),
    Section { name: "commandstats", title: "Commandstats", by_default: false, write: command_stats },
    section("errorstats", "Errorstats", error_stats),
    section("cluster", "Cluster", |text, _| text.field("cluster_enabled", 0)),
    section("keyspace", "Keyspace", keyspace),
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
    let all = asks_for("all") || asks_for("everything");
    let default = asked.is_empty() || asks_for("default");
    let mut text = Text::default();
    for section in SECTIONS {
        if all || (default && section.by_default) || asks_for(section.name) {
            text.title(section.title);
            (section.write)(&mut text, cx);
        }
    }
    cx.reply.verbatim("txt", text.0.as_bytes());
    Ok(Flow::Done)
}

fn server(text: &mut Text, cx: &Cx<'_>) {
    let (world, now_us) = (cx.world, wall_micros());
    let uptime_s = (now_us / 1000).saturating_sub(world.started.0) / 1000;
    let path = |path: Option<std::path::PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
    text.field("redis_version", REDIS_VERSION);
    text.field("server_name", "ringdb");
    text.field("ringdb_version", VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_mode", "standalone");
    text.field("os", operating_system());
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", world.boot.engine);
    text.field("io_engine", world.boot.engine);
    text.field("io_engine_reason", &world.boot.engine_reason);
    text.field("loops", world.stats.len());
    text.field("process_id", std::process::id());
    text.field("process_supervised", "no");
    text.field("run_id", &world.run_id);
    text.field("tcp_port", world.config.number(Id::PORT));
    text.field("server_time_usec", now_us);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", world.config.number(Id::HZ));
    text.field("configured_hz", world.config.number(Id::HZ));
    text.field("lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    text.field("executable", path(std::env::current_exe().ok()));
    text.field("config_file", path(world.boot.config_file.clone()));
    text.field("io_threads_active", 0);
}

/// Kernel name and release, and the machine.
fn operating_system() -> String {
    let kernel = |file| std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    format!("{} {} {}", kernel("ostype").trim(), kernel("osrelease").trim(), std::env::consts::ARCH)
}

fn clients(text: &mut Text, cx: &Cx<'_>) {
    let all = cx.world.clients.all();
    text.field("connected_clients", all.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", cx.world.config.number(Id::MAXCLIENTS));
    text.field("client_recent_max_input_buffer", all.iter().map(|client| client.input_len()).max().unwrap_or(0));
    text.field("client_recent_max_output_buffer", all.iter().map(|client| client.output_len()).max().unwrap_or(0));
    text.fields(&[("blocked_clients", 0), ("tracking_clients", 0), ("clients_in_timeout_table", 0)]);
}

fn memory(text: &mut Text, cx: &Cx<'_>) {
    let account = Account::take(cx.world, &cx.keys);
    let memory = account.memory;
    text.bytes("used_memory", memory.allocated);
    text.bytes("used_memory_rss", memory.rss);
    text.bytes("used_memory_peak", account.peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", account.peak_percent()));
    text.field("used_memory_overhead", account.overhead());
    text.field("used_memory_startup", account.startup);
    text.field("used_memory_dataset", account.dataset());
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", account.dataset_percent()));
    text.field("used_memory_index", account.index);
    text.field("allocator_allocated", memory.allocated);
    text.field("allocator_active", memory.active);
    text.field("allocator_resident", memory.resident);
    text.bytes("total_system_memory", total_system());
    text.bytes("used_memory_lua", 0);
    text.bytes("used_memory_scripts", 0);
    text.bytes("maxmemory", cx.world.config.number(Id::MAXMEMORY) as u64);
    text.field("maxmemory_policy", cx.world.config.word(Id::MAXMEMORY_POLICY));
    text.field("allocator_frag_ratio", format_args!("{:.2}", ratio(memory.active, memory.allocated)));
    text.field("allocator_frag_bytes", memory.active.saturating_sub(memory.allocated));
    text.field("allocator_rss_ratio", format_args!("{:.2}", ratio(memory.resident, memory.active)));
    text.field("allocator_rss_bytes", memory.resident.saturating_sub(memory.active));
    text.field("rss_overhead_ratio", format_args!("{:.2}", ratio(memory.rss, memory.resident)));
    text.field("rss_overhead_bytes", memory.rss as i64 - memory.resident as i64);
    text.field("mem_fragmentation_ratio", format_args!("{:.2}", account.fragmentation()));
    text.field("mem_fragmentation_bytes", memory.rss as i64 - memory.allocated as i64);
    text.fields(&[
        ("mem_not_counted_for_evict", 0),
        ("mem_replication_backlog", 0),
        ("mem_clients_slaves", 0),
        ("mem_clients_normal", account.clients),
        ("mem_aof_buffer", 0),
    ]);
    text.field("mem_allocator", allocator_name());
    text.fields(&[("active_defrag_running", 0), ("lazyfree_pending_objects", 0), ("lazyfreed_objects", 0)]);
}

/// There is no persistence yet; tools wait for these fields to say that nothing is going on.
fn persistence(text: &mut Text, cx: &Cx<'_>) {
    text.fields(&[
        ("loading", 0),
        ("async_loading", 0),
        ("rdb_changes_since_last_save", sum(cx, |stats| &stats.dirty)),
        ("rdb_bgsave_in_progress", 0),
        ("rdb_last_save_time", cx.world.started.0 / 1000),
    ]);
    text.field("rdb_last_bgsave_status", "ok");
    text.field("rdb_last_bgsave_time_sec", -1);
    text.fields(&[("aof_enabled", 0), ("aof_rewrite_in_progress", 0), ("aof_rewrite_scheduled", 0)]);
    text.field("aof_last_bgrewrite_status", "ok");
    text.field("aof_last_write_status", "ok");
}

/// A counter of all loops.
fn sum(cx: &Cx<'_>, counter: fn(&LoopStats) -> &Counter) -> u64 {
    cx.world.stats.iter().map(|stats| counter(stats).get()).sum()
}

fn stats(text: &mut Text, cx: &Cx<'_>) {
    let loops = &*cx.world.stats;
    let totals = Totals::of(loops);
    let rates = cx.world.rates.per_second(cx.keys.now.0, totals);
    text.field("total_connections_received", sum(cx, |stats| &stats.connections));
    text.field("total_commands_processed", totals.commands);
    text.field("instantaneous_ops_per_sec", rates.commands);
    text.field("total_net_input_bytes", totals.bytes_in);
    text.field("total_net_output_bytes", totals.bytes_out);
    text.field("instantaneous_input_kbps", format_args!("{:.2}", rates.bytes_in as f64 / 1024.0));
    text.field("instantaneous_output_kbps", format_args!("{:.2}", rates.bytes_out as f64 / 1024.0));
    text.fields(&[
        ("rejected_connections", sum(cx, |stats| &stats.rejected_connections)),
        ("sync_full", 0),
        ("sync_partial_ok", 0),
        ("sync_partial_err", 0),
        ("expired_keys", sum(cx, |stats| &stats.expired)),
        ("expire_lag_p50_ms", lag_percentile_ms(loops, 50)),
        ("expire_lag_p99_ms", lag_percentile_ms(loops, 99)),
        ("expire_lag_max_ms", lag_max_ms(loops)),
        ("evicted_keys", 0),
        ("evicted_clients", 0),
        ("keyspace_hits", sum(cx, |stats| &stats.hits)),
        ("keyspace_misses", sum(cx, |stats| &stats.misses)),
        ("pubsub_channels", 0),
        ("pubsub_patterns", 0),
        ("pubsubshard_channels", 0),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("unexpected_error_replies", 0),
        ("total_error_replies", sum(cx, |stats| &stats.errors)),
    ]);
    for (index, (stats, clients)) in loops.iter().zip(cx.world.clients.per_loop()).enumerate() {
        let (commands, turns, busy_ms) = (stats.commands.get(), stats.turns.get(), stats.busy_ns.get() / 1_000_000);
        text.field(
            &format!("loop_{index}"),
            format_args!("clients={clients},commands={commands},turns={turns},busy_ms={busy_ms}"),
        );
    }
}

/// A primary without replicas.
fn replication(text: &mut Text, cx: &Cx<'_>) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &cx.world.run_id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", 0);
    text.field("second_repl_offset", -1);
    text.fields(&[
        ("repl_backlog_active", 0),
        ("repl_backlog_size", 1_048_576),
        ("repl_backlog_first_byte_offset", 0),
        ("repl_backlog_histlen", 0),
    ]);
}

fn cpu(text: &mut Text, _: &Cx<'_>) {
    for (who, suffix) in [(UsageWho::RUSAGE_SELF, ""), (UsageWho::RUSAGE_CHILDREN, "_children")] {
        let Ok(usage) = getrusage(who) else { continue }; // Both are always allowed.
        for (name, time) in [("sys", usage.system_time()), ("user", usage.user_time())] {
            text.field(&format!("used_cpu_{name}{suffix}"), format_args!("{}.{:06}", time.tv_sec(), time.tv_usec()));
        }
    }
}

/// One line per command that was called or refused.
fn command_stats(text: &mut Text, cx: &Cx<'_>) {
    for row in table::all() {
        let of_loops = cx.world.stats.iter().filter_map(|stats| stats.command(row.index));
        let total = |counter: fn(&CommandStats) -> &Counter| of_loops.clone().map(|s| counter(s).get()).sum::<u64>();
        let (calls, ns) = (total(|s| &s.calls), total(|s| &s.ns));
        let (rejected, failed) = (total(|s| &s.rejected), total(|s| &s.failed));
        if calls + rejected + failed > 0 {
            let (usec, per_call) = (ns / 1000, ratio(ns, calls) / 1000.0);
            text.field(
                &format!("cmdstat_{}", row.full_name),
                format_args!(
                    "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
                ),
            );
        }
    }
}

/// One line per error code that was ever replied.
fn error_stats(text: &mut Text, cx: &Cx<'_>) {
    let mut by_code: BTreeMap<Box<str>, u64> = BTreeMap::new();
    for stats in &cx.world.stats {
        for (code, count) in stats.errors_by_code().iter() {
            *by_code.entry(code.clone()).or_default() += count;
        }
    }
    for (code, count) in by_code {
        text.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// One line per database that holds keys.
fn keyspace(text: &mut Text, cx: &Cx<'_>) {
    for db in 0..cx.world.keyspace.db_count() {
        let keys = cx.keys.on(DbIndex(db as u16));
        let (count, volatile) = (keys.count(), keys.volatile_count());
        if count > 0 {
            let ttl_ms = if volatile > 0 { average_ttl_ms(&keys) } else { 0 };
            text.field(&format!("db{db}"), format_args!("keys={count},expires={volatile},avg_ttl={ttl_ms}"));
        }
    }
}

/// The mean time to live of some random volatile keys: an estimate, as in Redis.
fn average_ttl_ms(keys: &crate::keyspace::Keys<'_>) -> u64 {
    const SAMPLES: usize = 64;
    let mut prng = Prng::seeded(keys.now.0);
    let sampled = (0..SAMPLES).filter_map(|_| keys.random(&mut prng)?.expires_at());
    let (sum, count) = sampled.fold((0, 0), |(sum, count), at| (sum + at.0.saturating_sub(keys.now.0), count + 1));
    sum / u64::max(count, 1)
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

    fn info(sections: &str) -> String {
        let mut client = Client::new();
        let ping = table::lookup(b"ping").unwrap();
        client.world.stats[0].command(ping.index).unwrap().calls.add(1);
        String::from_utf8(client.raw(&format!("INFO {sections}"))).unwrap()
    }

    #[test]
    fn default_leaves_command_statistics_out_and_all_shows_each_section_once() {
        for sections in ["", "default", "cpu default"] {
            let text = info(sections);
            assert!(text.contains("redis_version:7.2.4\r\n") && text.contains("# CPU\r\n"), "{text}");
            assert!(!text.contains("rejected_calls"), "{text}");
        }
        for sections in ["all", "everything", "cpu ALL"] {
            let text = info(sections);
            assert_eq!(text.matches("used_cpu_user_children").count(), 1);
            assert!(text.contains("cmdstat_ping:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0"));
        }
    }

    #[test]
    fn sections_are_chosen_by_name_and_unknown_ones_are_empty() {
        assert_eq!(info("nosuch"), "$0\r\n\r\n");
        let text = info("CLUSTER replication");
        assert!(text.starts_with("$") && text.contains("\r\n# Replication\r\nrole:master\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"), "{text}");
    }

    #[test]
    fn sizes_are_readable() {
        let cases = [(7, "7B"), (1023, "1023B"), (1024, "1.00K"), (1337312, "1.28M"), (25276514304, "23.54G")];
        cases.iter().for_each(|(bytes, text)| assert_eq!(human(*bytes), *text));
    }
}
