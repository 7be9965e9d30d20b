//! The MEMORY family: what a key costs, what the process uses, and what that means.

use super::command::{Command, Cx, Flow, Handler, KeySpec, cmd, flag};
use super::help::help;
use super::table;
use super::world::World;
use crate::admin::memory::{Memory, allocator_report};
use crate::base::heap;
use crate::base::ids::DbIndex;
use crate::base::num::parse_i64;
use crate::base::sync::Ordering;
use crate::keyspace::Keys;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const REPORT: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const fn row(name: &'static str, run: Handler, arity: i32) -> Command {
    cmd(name, run).arity(arity).group("server", "4.0.0")
}

pub static ROWS: &[Command] = &[row("memory", table::container, -2).subs(&[
    row("doctor", memory_doctor, 2).tips(REPORT),
    row("help", memory_help, 2).flags(flag::LOADING | flag::STALE),
    row("malloc-stats", memory_malloc_stats, 2).tips(REPORT),
    row("purge", memory_purge, 2).tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row("stats", memory_stats, 2).tips(REPORT),
    row("usage", memory_usage, -3).flags(flag::READONLY).keys(&[KeySpec::one(2, &["RO"])]),
])];

/// What the process uses, put into the terms of INFO and MEMORY STATS.
pub struct Account {
    pub memory: Memory,
    pub peak: u64,
    /// Bytes of all databases' indexes.
    pub index: u64,
    /// Bytes of the loops' expiry wheels.
    pub expiry: u64,
    /// Bytes that were given up and are not free yet.
    pub garbage: u64,
    /// Bytes of connected clients, by what the registry knows.
    pub clients: u64,
    pub key_count: u64,
    pub startup: u64,
}

impl Account {
    pub fn take(world: &World, keys: &Keys<'_>) -> Self {
        let memory = Memory::measure();
        let peak = world.used_memory_peak.fetch_max(memory.allocated, Ordering::Relaxed).max(memory.allocated);
        let databases = || (0..world.keyspace.db_count()).map(|db| keys.on(DbIndex(db as u16)));
        let index = databases().filter_map(|keys| keys.table()).map(|table| table.index_bytes(keys.guard) as u64).sum();
        let client_bytes = |client: &crate::admin::clients::ClientInfo| {
            size_of_val(client) + client.input_len() + client.input_cap() + client.output_len()
        };
        let clients = world.clients.all().iter().map(|client| client_bytes(client) as u64).sum();
        let key_count = databases().map(|keys| keys.count() as u64).sum();
        let expiry = world.stats.iter().map(|stats| stats.expire_bytes.get()).sum();
        let garbage = world.stats.iter().map(|stats| stats.garbage_bytes.get()).sum();
        Account { memory, peak, index, expiry, garbage, clients, key_count, startup: world.startup_memory }
    }
    /// What is not data: the empty server, indexes, expiry wheels, garbage, clients.
    pub fn overhead(&self) -> u64 {
        (self.startup + self.index + self.expiry + self.garbage + self.clients).min(self.memory.allocated)
    }
    pub fn dataset(&self) -> u64 {
        self.memory.allocated - self.overhead()
    }
    /// The dataset's share of what was added since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.memory.allocated.saturating_sub(self.startup))
    }
    pub fn peak_percent(&self) -> f64 {
        percent(self.memory.allocated, self.peak)
    }
    /// Kernel's bytes per byte in use.
    pub fn fragmentation(&self) -> f64 {
        ratio(self.memory.rss, self.memory.allocated)
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `a / b`, 0 if b is.
pub fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// A diagnosis in words.
fn memory_doctor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    // Below this much in use the ratios say nothing. Source: Redis, `getMemoryDoctorReport`.
    const SMALL: u64 = 5 << 20;
    let account = Account::take(cx.world, &cx.keys);
    let mut findings = Vec::new();
    if account.peak as f64 > account.memory.allocated as f64 * 1.5 {
        findings.push("The peak was more than 1.5 times what is in use now: fragmentation may look worse than it is.");
    }
    if account.fragmentation() > 1.4 && account.memory.rss - account.memory.allocated > 10 << 20 {
        findings.push("The process holds more than 1.4 times what is in use: the allocator's pages are fragmented.");
    }
    let report = match findings.as_slice() {
        _ if account.memory.allocated < SMALL => "Less than 5 MB are in use: there is nothing to diagnose yet.".into(),
        [] => "No memory problem was found.".into(),
        findings => findings.join("\n"),
    };
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(Flow::Done)
}

/// The subcommands.
fn memory_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "MEMORY",
        &[
            ("DOCTOR", "A diagnosis in words."),
            ("MALLOC-STATS", "The allocator's own report."),
            ("PURGE", "Give free pages back to the system."),
            ("STATS", "What the memory is used for."),
            ("USAGE <key> [SAMPLES <count>]", "Bytes that a key and its value take."),
        ],
    );
    Ok(Flow::Done)
}

/// The allocator's own report.
fn memory_malloc_stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.verbatim("txt", &allocator_report());
    Ok(Flow::Done)
}

/// Gives free pages back to the system.
fn memory_purge(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    heap::purge();
    cx.reply.ok();
    Ok(Flow::Done)
}

/// What the memory is used for.
fn memory_stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let account = Account::take(cx.world, &cx.keys);
    let memory = account.memory;
    let per_key = memory.allocated.saturating_sub(account.startup).checked_div(account.key_count).unwrap_or(0);
    let integers = [
        ("peak.allocated", account.peak),
        ("total.allocated", memory.allocated),
        ("startup.allocated", account.startup),
        ("clients.normal", account.clients),
        ("overhead.hashtable.main", account.index),
        ("overhead.total", account.overhead()),
        ("keys.count", account.key_count),
        ("keys.bytes-per-key", per_key),
        ("dataset.bytes", account.dataset()),
        ("allocator.allocated", memory.allocated),
        ("allocator.active", memory.active),
        ("allocator.resident", memory.resident),
        ("fragmentation.bytes", memory.rss.saturating_sub(memory.allocated)),
    ];
    let doubles = [
        ("dataset.percentage", account.dataset_percent()),
        ("peak.percentage", account.peak_percent()),
        ("allocator-fragmentation.ratio", ratio(memory.active, memory.allocated)),
        ("allocator-rss.ratio", ratio(memory.resident, memory.active)),
        ("rss-overhead.ratio", ratio(memory.rss, memory.resident)),
        ("fragmentation", account.fragmentation()),
    ];
    cx.reply.map(integers.len() + doubles.len());
    for (name, value) in integers {
        cx.reply.bulk(name.as_bytes());
        cx.reply.int(value as i64);
    }
    for (name, value) in doubles {
        cx.reply.bulk(name.as_bytes());
        cx.reply.double(value);
    }
    Ok(Flow::Done)
}

/// Bytes that a key and its value take, its slot in the index included; null if there is no such key.
/// Shape: `key [SAMPLES count]`
fn memory_usage(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    // A slot is an eighth of a cache line, and the index is kept about 7/8 full at most.
    const SLOT: usize = 8 + 2;
    for at in (3..args.count()).step_by(2) {
        if !args.is(at, "samples") || at + 1 == args.count() {
            return Err(ReplyError::Syntax);
        }
        // Strings are measured whole; the count only has to be one.
        if parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger)? < 0 {
            return Err(ReplyError::Syntax);
        }
    }
    let key = cx.key(&args, 2);
    match cx.keys.peek(key) {
        Some(entry) => cx.reply.int((entry.memory() + SLOT) as i64),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::{Client, check};

    #[test]
    fn usage_checks_its_options_before_it_looks() {
        check(
            "
            MEMORY USAGE nosuch => (nil)
            MEMORY USAGE nosuch SAMPLES 0 => (nil)
            MEMORY USAGE nosuch SAMPLES => ERR syntax error
            MEMORY USAGE nosuch SAMPLES x => ERR value is not an integer or out of range
            MEMORY USAGE nosuch SAMPLES -1 => ERR syntax error
            MEMORY USAGE nosuch COLOUR 1 => ERR syntax error
        ",
        );
    }

    #[test]
    fn stats_name_what_tools_read() {
        let stats = Client::new().run_line("MEMORY STATS");
        for field in ["peak.allocated", "total.allocated", "keys.count", "dataset.percentage", "fragmentation"] {
            assert!(stats.contains(&format!("'{field}'")), "{field} in {stats}");
        }
    }
}
