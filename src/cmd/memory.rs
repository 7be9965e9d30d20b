//! The MEMORY family: what a key costs, what the process uses, and what that means.

use super::client;
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
use crate::keyspace::types::memory;
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
#[derive(Default)]
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
    pub client_count: u64,
    /// The databases that hold keys, with the bytes of their indexes.
    pub databases: Vec<(usize, u64)>,
    pub key_count: u64,
    pub startup: u64,
}

impl Account {
    /// Measures.
    /// Cost: some 100 µs for the allocator and the kernel, and 20 ns per client.
    pub fn take(world: &World, keys: &Keys<'_>) -> Self {
        keys.publish_memory();
        let memory = Memory::measure();
        let mut account = Account {
            memory,
            peak: world.used_memory_peak.fetch_max(memory.used, Ordering::Relaxed).max(memory.used),
            expiry: world.stats.iter().map(|stats| stats.expire_bytes.get()).sum(),
            garbage: world.stats.iter().map(|stats| stats.garbage_bytes.get()).sum(),
            startup: world.startup_memory,
            ..Account::default()
        };
        for client in world.clients.all() {
            account.clients += client::memory(&client) as u64;
            account.client_count += 1;
        }
        for db in 0..world.keyspace.db_count() {
            let keys = keys.on(DbIndex(db as u16));
            let (index, count) = (keys.table().map_or(0, |table| table.index_bytes(keys.guard)) as u64, keys.count());
            account.index += index;
            account.key_count += count as u64;
            if count > 0 {
                account.databases.push((db, index));
            }
        }
        account
    }
    /// What is not data: the empty server, indexes, expiry wheels, garbage, clients.
    pub fn overhead(&self) -> u64 {
        (self.startup + self.index + self.expiry + self.garbage + self.clients).min(self.memory.used)
    }
    pub fn dataset(&self) -> u64 {
        self.memory.used - self.overhead()
    }
    /// The dataset's share of what was added since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.memory.used.saturating_sub(self.startup))
    }
    pub fn peak_percent(&self) -> f64 {
        percent(self.memory.used, self.peak)
    }
    /// Kernel's bytes per byte in use.
    pub fn fragmentation(&self) -> f64 {
        ratio(self.memory.rss, self.memory.used)
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
    // Below this much in use the ratios say nothing. Source of this and the limits below: Redis, `getMemoryDoctorReport`.
    const SMALL: u64 = 5 << 20;
    let account = Account::take(cx.world, &cx.keys);
    let findings = findings(&account);
    let report = match findings.as_slice() {
        _ if account.memory.used < SMALL => "Less than 5 MB are in use: there is nothing to diagnose yet.".into(),
        [] => "No memory problem was found.".into(),
        findings => findings.join("\n"),
    };
    cx.reply.verbatim("txt", report.as_bytes());
    Ok(Flow::Done)
}

/// One sentence for each thing that is out of the ordinary.
fn findings(account: &Account) -> Vec<&'static str> {
    const MUCH: u64 = 10 << 20;
    const CLIENT: u64 = 200 << 10;
    let memory = account.memory;
    let is_over = |a: u64, b: u64, limit: f64| ratio(a, b) > limit && a - b > MUCH;
    let cases = [
        (
            account.peak as f64 > memory.used as f64 * 1.5,
            "The peak was more than 1.5 times what is in use now: fragmentation may look worse than it is.",
        ),
        (
            is_over(memory.rss, memory.used, 1.4),
            "The process holds more than 1.4 times what is in use: the allocator's pages are fragmented.",
        ),
        (
            is_over(memory.active, memory.allocated, 1.1),
            "Pages with live blocks are more than 1.1 times the blocks: values of changing sizes leave gaps. Gaps are used \
             again by values of the same sizes.",
        ),
        (
            is_over(memory.resident, memory.active, 1.1),
            "The allocator keeps more than 1.1 times the pages that hold live blocks: MEMORY PURGE gives the rest back.",
        ),
        (
            is_over(memory.rss, memory.resident, 1.1),
            "The process holds more than 1.1 times what the allocator does: stacks, rings and their buffers, code.",
        ),
        (
            account.clients.checked_div(account.client_count).is_some_and(|each| each > CLIENT),
            "Clients take more than 200 KB each: some read their replies slowly, or send commands that never end. \
             CLIENT LIST shows which.",
        ),
        (
            account.garbage > MUCH && account.garbage > account.dataset() / 10,
            "What was removed and is not free yet is more than a tenth of the data: a loop has been busy with one command \
             for long. SLOWLOG GET shows which.",
        ),
    ];
    cases.into_iter().filter(|(applies, _)| *applies).map(|(_, finding)| finding).collect()
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

/// A line of MEMORY STATS.
enum Figure {
    Bytes(u64),
    Signed(i64),
    Ratio(f64),
    /// Of one database: bytes of its index.
    Database(u64),
}

/// What the memory is used for.
fn memory_stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let figures = figures(&Account::take(cx.world, &cx.keys));
    cx.reply.map(figures.len());
    for (name, figure) in figures {
        cx.reply.bulk(name.as_bytes());
        match figure {
            Figure::Bytes(value) => cx.reply.int(value as i64),
            Figure::Signed(value) => cx.reply.int(value),
            Figure::Ratio(value) => cx.reply.double(value),
            Figure::Database(index) => {
                cx.reply.map(2);
                cx.reply.bulk(b"overhead.hashtable.main");
                cx.reply.int(index as i64);
                cx.reply.bulk(b"overhead.hashtable.expires"); // Deadlines stand in the entries, wheels are common to all.
                cx.reply.int(0);
            }
        }
    }
    Ok(Flow::Done)
}

/// The lines of MEMORY STATS in Redis's order; `expiry.wheels` and `garbage` are our own.
fn figures(account: &Account) -> Vec<(String, Figure)> {
    use Figure::{Bytes, Database, Ratio, Signed};
    let memory = account.memory;
    let per_key = memory.used.saturating_sub(account.startup).checked_div(account.key_count).unwrap_or(0);
    let difference = |a: u64, b: u64| Signed(a as i64 - b as i64);
    let first = [
        ("peak.allocated", Bytes(account.peak)),
        ("total.allocated", Bytes(memory.used)),
        ("startup.allocated", Bytes(account.startup)),
        ("replication.backlog", Bytes(0)),
        ("clients.slaves", Bytes(0)),
        ("clients.normal", Bytes(account.clients)),
        ("cluster.links", Bytes(0)),
        ("aof.buffer", Bytes(0)),
        ("lua.caches", Bytes(0)),
        ("functions.caches", Bytes(0)),
        ("expiry.wheels", Bytes(account.expiry)),
        ("garbage", Bytes(account.garbage)),
    ];
    let databases = account.databases.iter().map(|&(db, index)| (format!("db.{db}"), Database(index)));
    let last = [
        ("overhead.db.hashtable.lut", Bytes(account.index)),
        ("overhead.db.hashtable.rehashing", Bytes(0)),
        ("overhead.total", Bytes(account.overhead())),
        ("db.dict.rehashing.count", Bytes(0)),
        ("keys.count", Bytes(account.key_count)),
        ("keys.bytes-per-key", Bytes(per_key)),
        ("dataset.bytes", Bytes(account.dataset())),
        ("dataset.percentage", Ratio(account.dataset_percent())),
        ("peak.percentage", Ratio(account.peak_percent())),
        ("allocator.allocated", Bytes(memory.allocated)),
        ("allocator.active", Bytes(memory.active)),
        ("allocator.resident", Bytes(memory.resident)),
        ("allocator.muzzy", Bytes(0)),
        ("allocator-fragmentation.ratio", Ratio(ratio(memory.active, memory.allocated))),
        ("allocator-fragmentation.bytes", difference(memory.active, memory.allocated)),
        ("allocator-rss.ratio", Ratio(ratio(memory.resident, memory.active))),
        ("allocator-rss.bytes", difference(memory.resident, memory.active)),
        ("rss-overhead.ratio", Ratio(ratio(memory.rss, memory.resident))),
        ("rss-overhead.bytes", difference(memory.rss, memory.resident)),
        ("fragmentation", Ratio(account.fragmentation())),
        ("fragmentation.bytes", difference(memory.rss, memory.used)),
    ];
    let named = |(name, figure): (&str, Figure)| (name.to_string(), figure);
    first.into_iter().map(named).chain(databases).chain(last.into_iter().map(named)).collect()
}

/// Bytes that a key and its value take, its slot in the index included; null if there is no such key.
/// Shape: `key [SAMPLES count]`
fn memory_usage(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    // A slot is an eighth of a cache line, and the index is kept about 7/8 full at most.
    const SLOT: usize = 8 + 2;
    // Elements of a collection that are looked at, unless the caller says how many. Source: Redis, OBJ_COMPUTE_SIZE_DEF_SAMPLES.
    const SAMPLES: i64 = 5;
    let mut samples = SAMPLES;
    for at in (3..args.count()).step_by(2) {
        if !args.is(at, "samples") || at + 1 == args.count() {
            return Err(ReplyError::Syntax);
        }
        samples = parse_i64(args.get(at + 1)).ok_or(ReplyError::NotInteger)?;
        if samples < 0 {
            return Err(ReplyError::Syntax);
        }
    }
    let key = cx.key(&args, 2);
    match cx.keys.ask(key, |entry| memory(entry, samples as usize)) {
        Some(bytes) => cx.reply.int((bytes + SLOT) as i64),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_doctor_finds_what_is_out_of_the_ordinary() {
        let account = |allocated: u64, active: u64, resident: u64, rss: u64| Account {
            memory: Memory {
                used: allocated << 20,
                allocated: allocated << 20,
                active: active << 20,
                resident: resident << 20,
                rss: rss << 20,
            },
            peak: 100 << 20,
            ..Account::default()
        };
        assert!(findings(&account(100, 104, 106, 108)).is_empty());
        assert_eq!(findings(&account(60, 64, 68, 72)).len(), 1); // The peak.
        assert_eq!(findings(&account(100, 120, 140, 160)).len(), 4);
        let slow_readers = Account { clients: 3 << 20, client_count: 10, ..account(100, 104, 106, 108) };
        assert!(findings(&slow_readers)[0].contains("CLIENT LIST"));
        let garbage = Account { garbage: 30 << 20, ..account(100, 104, 106, 108) };
        assert!(findings(&garbage)[0].contains("SLOWLOG"));
    }

    #[test]
    fn stats_tell_of_each_database_that_holds_keys() {
        let mut client = Client::new();
        assert!(!client.run_line("MEMORY STATS").contains("'db.0'"));
        client.run_line("SELECT 3");
        client.run_line("SET k v");
        let stats = client.run_line("MEMORY STATS");
        assert!(stats.contains("'db.3', ['overhead.hashtable.main', ") && !stats.contains("'db.0'"), "{stats}");
    }

    #[test]
    fn stats_name_what_tools_read() {
        let stats = Client::new().run_line("MEMORY STATS");
        for field in ["peak.allocated", "total.allocated", "keys.count", "dataset.percentage", "fragmentation.bytes"] {
            assert!(stats.contains(&format!("'{field}'")), "{field} in {stats}");
        }
    }
}
