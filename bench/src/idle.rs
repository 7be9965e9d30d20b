//! The workload `none`: connections that say nothing, to see what they cost the server.

use std::{thread, time::Duration};

use crate::{options::Options, process, socket::Socket};

/// How long the server may take to settle after the last connect.
const SETTLE: Duration = Duration::from_millis(500);

/// What idle connections cost.
#[derive(Debug, Clone, Default)]
pub struct Idle {
    pub connections: usize,
    /// Growth of the server's resident memory, divided by the connections.
    pub rss_per_connection: f64,
    /// Share of one CPU that the server used while nothing happened.
    pub cpu_share: f64,
}

/// Opens the connections, waits `--duration` and measures the server.
///
/// Each connection sends one PING first, so that the server has set up whatever a used connection needs.
///
/// **Errors**: no process to measure; a connection that cannot be opened.
pub fn run(options: &Options, pid: Option<u32>) -> Result<Idle, String> {
    let pid = pid.ok_or("idle connections are measured by the server's process: give --server-pid")?;
    let read = |what: fn(u32) -> std::io::Result<u64>| what(pid).map_err(|error| format!("/proc/{pid}: {error}"));
    let rss_before = read(process::rss_bytes)?;
    let sockets: Vec<Socket> = (0..options.clients).map(|_| Socket::open_used(options)).collect::<Result<_, _>>()?;
    thread::sleep(SETTLE);
    let rss_after = read(process::rss_bytes)?;
    let cpu_before = read(process::cpu_ns)?;
    thread::sleep(Duration::from_secs_f64(options.duration));
    let cpu_ns = read(process::cpu_ns)?.saturating_sub(cpu_before);
    let grown = rss_after.saturating_sub(rss_before) as f64;
    Ok(Idle {
        connections: sockets.len(),
        rss_per_connection: grown / sockets.len() as f64,
        cpu_share: cpu_ns as f64 / (options.duration * 1e9),
    })
}
