//! INFO's sections about what happened and what is there: statistics, persistence, replication, keyspace.

use super::{Text, sum};
use crate::admin::acl::log::Reason;
use crate::admin::params::Id;
use crate::admin::rates::Totals;
use crate::admin::stats::commands_run;
use crate::base::clock::MonoNs;
use crate::base::ids::DbIndex;
use crate::base::prng::Prng;
use crate::base::sync::Ordering::Relaxed;
use crate::cmd::command::Cx;
use crate::keyspace::Keys;
use crate::pubsub::Space;

/// Snapshots: the last one, the one that is being written, the one that is being loaded.
pub fn persistence(text: &mut Text, cx: &Cx<'_>) {
    cx.world.background.settle(cx.world);
    let status = cx.world.saves.status();
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    text.field("loading", cx.world.attention.is_loading() as u64);
    text.zeros(&["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    let percent = 100.0 * status.keys_done as f64 / status.keys_total.max(1) as f64;
    text.field("current_fork_perc", format_args!("{percent:.2}"));
    text.field("current_save_keys_processed", status.keys_done);
    text.field("current_save_keys_total", status.keys_total);
    text.field("rdb_changes_since_last_save", cx.world.saves.changes_since(sum(cx, |stats| &stats.dirty)));
    text.field("rdb_bgsave_in_progress", status.running_s.is_some() as u64);
    text.field("rdb_last_save_time", status.last_s);
    text.field("rdb_last_bgsave_status", if status.has_failed { "err" } else { "ok" });
    text.field("rdb_last_bgsave_time_sec", seconds(status.took_s));
    text.field("rdb_current_bgsave_time_sec", seconds(status.running_s));
    text.field("rdb_saves", status.count);
    text.zeros(&["rdb_last_cow_size"]); // Nothing is copied by the kernel.
    let loading = &cx.world.saves.loading;
    text.field("rdb_last_load_keys_expired", loading.keys_expired.load(Relaxed));
    text.field("rdb_last_load_keys_loaded", loading.keys_loaded.load(Relaxed));
    append_only(text, cx);
    if cx.world.attention.is_loading() {
        load_progress(text, cx);
    }
}

/// The append-only file.
fn append_only(text: &mut Text, cx: &Cx<'_>) {
    let journal = &cx.world.journal;
    let facts = journal.facts().clone();
    let status = |is_ok: bool| if is_ok { "ok" } else { "err" };
    text.field("aof_enabled", cx.world.config.number(Id::APPENDONLY));
    text.field("aof_rewrite_in_progress", facts.rewriting.is_some() as u64);
    text.field("aof_rewrite_scheduled", journal.is_scheduled() as u64);
    text.field("aof_last_rewrite_time_sec", facts.last_rewrite_secs);
    let current = facts.rewriting.map_or(-1, |it| (cx.keys.now.0.saturating_sub(it.since) / 1000) as i64);
    text.field("aof_current_rewrite_time_sec", current);
    text.field("aof_last_bgrewrite_status", status(facts.is_last_rewrite_ok));
    text.field("aof_rewrites", facts.rewrites);
    text.field("aof_rewrites_consecutive_failures", facts.rewrite_failures);
    text.field("aof_last_write_status", status(!journal.is_failing()));
    text.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    if journal.is_on() {
        text.field("aof_current_size", facts.current_len);
        text.field("aof_base_size", facts.base_len);
        text.field("aof_pending_rewrite", 0);
        text.field("aof_buffer_length", facts.pending_len);
        text.field("aof_pending_bio_fsync", (journal.written() > journal.durable()) as u64);
        text.field("aof_delayed_fsync", facts.delayed_syncs);
    }
}

/// How far a load is, and when it will be done if it goes on like this.
fn load_progress(text: &mut Text, cx: &Cx<'_>) {
    let loading = &cx.world.saves.loading;
    let (started, total) = (loading.started_s.load(Relaxed), loading.total_len.load(Relaxed));
    let loaded = loading.loaded_len.load(Relaxed).min(total);
    let elapsed = (cx.keys.now.0 / 1000).saturating_sub(started);
    let eta = (total - loaded) as u128 * elapsed as u128 / loaded.max(1) as u128;
    text.field("loading_start_time", started);
    text.field("loading_total_bytes", total);
    text.field("loading_rdb_used_mem", loading.used_memory.load(Relaxed));
    text.field("loading_loaded_bytes", loaded);
    text.ratio("loading_loaded_perc", 100.0 * loaded as f64 / total.max(1) as f64);
    text.field("loading_eta_seconds", if elapsed == 0 { 1 } else { eta });
}

pub fn stats(text: &mut Text, cx: &Cx<'_>) {
    let rates = cx.world.rates.per_second(cx.keys.now.0, &Totals::of(&cx.world.stats));
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    text.field("total_connections_received", sum(cx, |stats| &stats.connections));
    text.field("total_commands_processed", cx.world.stats.iter().map(commands_run).sum::<u64>());
    text.field("instantaneous_ops_per_sec", rates.commands);
    text.field("total_net_input_bytes", sum(cx, |stats| &stats.bytes_in));
    text.field("total_net_output_bytes", sum(cx, |stats| &stats.bytes_out));
    text.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    text.ratio("instantaneous_input_kbps", kib(rates.bytes_in));
    text.ratio("instantaneous_output_kbps", kib(rates.bytes_out));
    text.ratio("instantaneous_input_repl_kbps", 0.0);
    text.ratio("instantaneous_output_repl_kbps", 0.0);
    text.field("rejected_connections", sum(cx, |stats| &stats.rejected_connections));
    text.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    text.field("expired_keys", sum(cx, |stats| &stats.expired));
    text.field("expired_subkeys", sum(cx, |stats| &stats.expired_fields));
    text.ratio("expired_stale_perc", 0.0); // Wheels know what has expired; nothing is sampled.
    text.field("expired_time_cap_reached_count", sum(cx, |stats| &stats.expire_cuts));
    text.field("expire_cycle_cpu_milliseconds", sum(cx, |stats| &stats.expire_ns) / 1_000_000);
    text.field("evicted_keys", sum(cx, |stats| &stats.evicted));
    text.field("evicted_clients", sum(cx, |stats| &stats.evicted_clients));
    text.field("evicted_scripts", cx.world.scripts.evicted());
    let (total, current) = cx.world.keyspace.excess.times_ms(MonoNs::now());
    text.field("total_eviction_exceeded_time", total);
    text.field("current_eviction_exceeded_time", current);
    text.field("keyspace_hits", sum(cx, |stats| &stats.hits));
    text.field("keyspace_misses", sum(cx, |stats| &stats.misses));
    text.field("transactions_holding_keys", sum(cx, |stats| &stats.holding_transactions));
    text.field("transactions_stopping_loops", sum(cx, |stats| &stats.stopping_transactions));
    text.field("scripts_holding_keys", sum(cx, |stats| &stats.holding_scripts));
    let names = |space| cx.world.pubsub.names_count(space);
    text.field("pubsub_channels", names(Space::Channel));
    text.field("pubsub_patterns", names(Space::Pattern));
    text.field("pubsubshard_channels", names(Space::Shard));
    text.field("latest_fork_usec", 0);
    text.field("total_forks", cx.world.background.begun()); // What Redis forks for.
    text.field("migrate_cached_sockets", cx.world.courier.get().map_or(0, |courier| courier.kept_count()));
    text.zeros(&[
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ]);
    let tracking = &cx.world.tracking;
    text.field("tracking_total_keys", tracking.interests.keys());
    text.field("tracking_total_items", tracking.interests.items());
    text.field("tracking_total_prefixes", tracking.prefixes.count());
    text.zeros(&["unexpected_error_replies"]);
    text.fields(&[
        ("total_error_replies", sum(cx, |stats| &stats.errors)),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", sum(cx, |stats| &stats.reads)),
        ("total_writes_processed", sum(cx, |stats| &stats.writes)),
        ("io_threaded_reads_processed", 0),
        ("io_threaded_writes_processed", 0),
        ("client_query_buffer_limit_disconnections", sum(cx, |stats| &stats.input_limit_closes)),
        ("client_output_buffer_limit_disconnections", sum(cx, |stats| &stats.output_limit_closes)),
        ("reply_buffer_shrinks", 0),
        ("reply_buffer_expands", 0),
        ("eventloop_cycles", sum(cx, |stats| &stats.turns)),
        ("eventloop_duration_sum", sum(cx, |stats| &stats.turn_ns) / 1000),
        ("eventloop_duration_cmd_sum", sum(cx, |stats| &stats.window_ns) / 1000),
        ("instantaneous_eventloop_cycles_per_sec", rates.turns),
        ("instantaneous_eventloop_duration_usec", (rates.turn_ns / 1000).checked_div(rates.turns).unwrap_or(0)),
    ]);
    for (name, reason) in REFUSALS {
        text.field(name, cx.world.acl.log.count(reason));
    }
}

const REFUSALS: [(&str, Reason); 4] = [
    ("acl_access_denied_auth", Reason::Auth),
    ("acl_access_denied_cmd", Reason::Command),
    ("acl_access_denied_key", Reason::Key),
    ("acl_access_denied_channel", Reason::Channel),
];

/// A primary without replicas.
pub fn replication(text: &mut Text, cx: &Cx<'_>) {
    text.field("role", "master");
    text.field("connected_slaves", 0);
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", cx.world.repl_id());
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

/// One line per database that holds keys.
pub fn keyspace(text: &mut Text, cx: &Cx<'_>) {
    for db in 0..cx.world.keyspace.db_count() {
        let keys = cx.keys.on(DbIndex(db as u16));
        let (count, volatile, timed) = (keys.count(), keys.volatile_count(), keys.timed_count());
        if count > 0 {
            let ttl_ms = if volatile > 0 { average_ttl_ms(&keys) } else { 0 };
            // Redis 8 tells it always. Who reads the line as 7.2 writes it meets nothing new before there is something to tell.
            let subexpiry = if timed > 0 { format!(",subexpiry={timed}") } else { String::new() };
            let facts = format_args!("keys={count},expires={volatile},avg_ttl={ttl_ms}{subexpiry}");
            text.field(&format!("db{db}"), facts);
        }
    }
}

/// The mean time to live of some random volatile keys: an estimate, as in Redis.
fn average_ttl_ms(keys: &Keys<'_>) -> u64 {
    const SAMPLES: usize = 64;
    let mut prng = Prng::seeded(keys.now.0);
    let sampled = (0..SAMPLES).filter_map(|_| keys.random(&mut prng)?.expires_at());
    let (sum, count) = sampled.fold((0, 0), |(sum, count), at| (sum + at.0.saturating_sub(keys.now.0), count + 1));
    sum / u64::max(count, 1)
}
