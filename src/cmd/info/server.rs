//! INFO's sections about the process: server, clients, CPU.

use super::Text;
use crate::admin::params::Id;
use crate::base::clock::wall_micros;
use crate::cmd::command::Cx;
use crate::cmd::world::{REDIS_VERSION, VERSION};
use nix::sys::resource::{UsageWho, getrusage};
use std::path::PathBuf;

pub fn server(text: &mut Text, cx: &Cx<'_>) {
    let (world, config, now_us) = (cx.world, &cx.world.config, wall_micros());
    let uptime_s = (now_us / 1000).saturating_sub(world.started.0) / 1000;
    let path = |path: Option<PathBuf>| path.map_or(String::new(), |path| path.display().to_string());
    text.field("redis_version", REDIS_VERSION);
    text.field("server_name", "ringdb");
    text.field("ringdb_version", VERSION);
    text.field("redis_git_sha1", "00000000");
    text.field("redis_git_dirty", 0);
    text.field("redis_build_id", format_args!("{:016x}", build_id()));
    text.field("redis_mode", "standalone");
    text.field("os", operating_system());
    text.field("arch_bits", usize::BITS);
    text.field("monotonic_clock", "POSIX clock_gettime");
    text.field("multiplexing_api", world.boot.engine);
    text.field("io_engine", world.boot.engine);
    text.field("io_engine_reason", &world.boot.engine_reason);
    text.field("loops", world.stats.len());
    text.field("atomicvar_api", "rust-core");
    text.field("gcc_version", "0.0.0"); // As Redis says when another compiler built it.
    text.field("process_id", std::process::id());
    text.field("process_supervised", "no");
    text.field("run_id", &world.run_id);
    text.field("tcp_port", config.number(Id::PORT));
    text.field("server_time_usec", now_us);
    text.field("uptime_in_seconds", uptime_s);
    text.field("uptime_in_days", uptime_s / 86_400);
    text.field("hz", config.number(Id::HZ));
    text.field("configured_hz", config.number(Id::HZ));
    text.field("lru_clock", (now_us / 1_000_000) & 0xff_ffff);
    text.field("executable", path(std::env::current_exe().ok()));
    text.field("config_file", path(world.boot.config_file.clone()));
    text.field("io_threads_active", 0);
    listeners(text, cx);
}

/// A number that differs from version to version: FNV-1a of its name.
fn build_id() -> u64 {
    VERSION.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ byte as u64).wrapping_mul(0x100_0000_01b3))
}

/// Kernel name and release, and the machine.
fn operating_system() -> String {
    let kernel = |file| std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    format!("{} {} {}", kernel("ostype").trim(), kernel("osrelease").trim(), std::env::consts::ARCH)
}

/// One line per kind of socket that is listened on.
fn listeners(text: &mut Text, cx: &Cx<'_>) {
    let config = &cx.world.config;
    let mut lines = Vec::new();
    if config.number(Id::PORT) != 0 {
        let binds: String = config.words(Id::BIND).iter().map(|address| format!(",bind={address}")).collect();
        lines.push(format!("name=tcp{binds},port={}", config.number(Id::PORT)));
    }
    let socket = config.text(Id::UNIXSOCKET);
    if !socket.is_empty() {
        lines.push(format!("name=unix,bind={}", String::from_utf8_lossy(&socket)));
    }
    lines.iter().enumerate().for_each(|(index, line)| text.field(&format!("listener{index}"), line));
}

pub fn clients(text: &mut Text, cx: &Cx<'_>) {
    let all = cx.world.clients.all();
    text.field("connected_clients", all.len());
    text.field("cluster_connections", 0);
    text.field("maxclients", cx.world.config.number(Id::MAXCLIENTS));
    text.field("client_recent_max_input_buffer", all.iter().map(|client| client.input_len()).max().unwrap_or(0));
    text.field("client_recent_max_output_buffer", all.iter().map(|client| client.output_len()).max().unwrap_or(0));
    text.field("blocked_clients", cx.world.clients.blocked());
    text.field("tracking_clients", cx.world.tracking.count());
    text.field("pubsub_clients", cx.world.pubsub.clients());
    text.field("watching_clients", cx.world.watched.watcher_count());
    text.field("clients_in_timeout_table", 0);
    text.field("total_watched_keys", cx.world.watched.key_count());
    let (mut keys, mut keys_on_nokey) = (0, 0);
    cx.world.waiters.each_place(|_, mut waiters| {
        keys += 1;
        keys_on_nokey += waiters.any(|blocked| blocked.awaited.minds_absence()) as u64;
    });
    text.fields(&[("total_blocking_keys", keys), ("total_blocking_keys_on_nokey", keys_on_nokey)]);
}

/// The main thread of Redis runs its commands; here that is the loop that answers.
pub fn cpu(text: &mut Text, _: &Cx<'_>) {
    let whose = [
        (UsageWho::RUSAGE_SELF, ""),
        (UsageWho::RUSAGE_CHILDREN, "_children"),
        (UsageWho::RUSAGE_THREAD, "_main_thread"),
    ];
    for (who, suffix) in whose {
        let Ok(usage) = getrusage(who) else { continue }; // All are always allowed.
        for (name, time) in [("sys", usage.system_time()), ("user", usage.user_time())] {
            text.field(&format!("used_cpu_{name}{suffix}"), format_args!("{}.{:06}", time.tv_sec(), time.tv_usec()));
        }
    }
}
