//! The start screen: what runs here, on what, and how to reach it, for a person at a terminal; then the log's usual lines.

use super::listen::Listeners;
use super::threads::Homes;
use crate::admin::log;
use crate::admin::params::Id;
use crate::cmd::world::{REDIS_VERSION, VERSION, World};
use crate::ring::Kind;
use std::fmt::Write;
use std::io::Write as _;
use std::net::SocketAddr;

/// Prints the screen (unless the log goes to a file) and logs that the server is ready.
pub fn show(world: &World, kind: Kind, listeners: &Listeners, homes: &Homes) {
    if world.config.text(Id::LOGFILE).is_empty() {
        let text = screen(world, kind, listeners, homes);
        let _ = std::io::stdout().write_all(text.as_bytes()); // Nobody may be looking.
    }
    let (loops, reason) = (world.boot.loops, &world.boot.engine_reason);
    // Test harnesses learn the process id from `PID: N` in front of "Server initialized".
    let pid = std::process::id();
    log::notice(format_args!("ringdb {VERSION} on {kind} ({reason}), loops: {loops}, PID: {pid}"));
    log::notice(format_args!("Server initialized"));
    if !listeners.tcp.is_empty() {
        log::notice(format_args!("Ready to accept connections tcp"));
    }
    if listeners.unix.is_some() {
        log::notice(format_args!("Ready to accept connections unix"));
    }
}

fn screen(world: &World, kind: Kind, listeners: &Listeners, homes: &Homes) -> String {
    let mut text = String::new();
    let mut line = |head: &str, rest: String| {
        let _ = writeln!(text, "  {head:<9}{rest}"); // Writing to a String cannot fail.
    };
    let loops = world.boot.loops;
    let where_to = match homes {
        Homes::Anywhere => "not pinned".into(),
        Homes::Shared(cores) => format!("on cores {cores:?}"),
        Homes::Own(cores) => format!("each on a core of its own: {cores:?}"),
    };
    line("engine", format!("{kind}: {}", world.boot.engine_reason));
    line("loops", format!("{loops}, {where_to}"));
    let data = match world.config.number(Id::APPENDONLY) {
        0 => "in memory only, nothing is saved".into(),
        _ => format!("append-only file, synced: {}", world.config.word(Id::APPENDFSYNC)),
    };
    line("data", data);
    let addresses: Vec<String> = listeners.tcp.iter().map(SocketAddr::to_string).collect();
    if let Some(first) = listeners.tcp.first() {
        line("listens", addresses.join("  "));
        let host = if first.ip().is_loopback() && first.is_ipv4() || first.ip().is_unspecified() {
            String::new()
        } else {
            format!(" -h {}", first.ip())
        };
        line("connect", format!("redis-cli{host} -p {}", first.port()));
    }
    if let Some(path) = &listeners.unix {
        line("connect", format!("redis-cli -s {}", path.display()));
    }
    line("stop", format!("Ctrl-C, or kill {}", std::process::id()));
    format!("\nringdb {VERSION}, speaks the protocol and commands of Redis {REDIS_VERSION}\n\n{text}\n")
}
