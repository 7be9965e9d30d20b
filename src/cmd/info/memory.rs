//! INFO's section about memory.

use super::{Text, human};
use crate::admin::memory::{allocator_name, total_system};
use crate::admin::params::Id;
use crate::cmd::command::Cx;
use crate::cmd::memory::{Account, ratio};
use crate::keyspace::quota::{exempt, reserve};
use crate::value::drain;

pub fn memory(text: &mut Text, cx: &Cx<'_>) {
    let account = Account::take(cx.world, &cx.keys);
    let memory = account.memory;
    text.bytes("used_memory", memory.used);
    text.bytes("used_memory_rss", memory.rss);
    text.bytes("used_memory_peak", account.peak);
    text.field("used_memory_peak_perc", format_args!("{:.2}%", account.peak_percent()));
    text.field("used_memory_overhead", account.overhead());
    text.field("used_memory_startup", account.startup);
    text.field("used_memory_dataset", account.dataset());
    text.field("used_memory_dataset_perc", format_args!("{:.2}%", account.dataset_percent()));
    text.field("used_memory_index", account.index);
    text.field("used_memory_expiry", account.expiry);
    text.field("used_memory_garbage", account.garbage);
    text.field("allocator_allocated", memory.allocated);
    text.field("allocator_active", memory.active);
    text.field("allocator_resident", memory.resident);
    text.field("allocator_muzzy", 0);
    text.bytes("total_system_memory", total_system());
    scripts(text, cx);
    text.bytes("maxmemory", cx.world.config.number(Id::MAXMEMORY) as u64);
    text.field("maxmemory_reserve", reserve(cx.world.config.number(Id::MAXMEMORY) as u64));
    text.field("maxmemory_policy", cx.world.config.word(Id::MAXMEMORY_POLICY));
    text.ratio("allocator_frag_ratio", ratio(memory.active, memory.allocated));
    text.field("allocator_frag_bytes", memory.active.saturating_sub(memory.allocated));
    text.ratio("allocator_rss_ratio", ratio(memory.resident, memory.active));
    text.field("allocator_rss_bytes", memory.resident as i64 - memory.active as i64);
    text.ratio("rss_overhead_ratio", ratio(memory.rss, memory.resident));
    text.field("rss_overhead_bytes", memory.rss as i64 - memory.resident as i64);
    text.ratio("mem_fragmentation_ratio", account.fragmentation());
    text.field("mem_fragmentation_bytes", memory.rss as i64 - memory.used as i64);
    text.field("mem_not_counted_for_evict", exempt(cx.world.config.number(Id::MAXMEMORY) as u64));
    text.zeros(&["mem_replication_backlog", "mem_total_replication_buffers", "mem_clients_slaves"]);
    text.field("mem_clients_normal", account.clients);
    text.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    text.field("mem_allocator", allocator_name());
    text.field("mem_overhead_db_hashtable_rehashing", 0);
    text.zeros(&["active_defrag_running"]);
    text.field("lazyfree_pending_objects", drain::pending());
    text.field("lazyfreed_objects", drain::freed());
}

/// The interpreters of all loops together, and the script cache.
fn scripts(text: &mut Text, cx: &Cx<'_>) {
    let scripts = &cx.world.scripts;
    let (vm, (count, cached)) = (scripts.interpreters_len(), scripts.size());
    text.field("used_memory_lua", vm);
    text.field("used_memory_vm_eval", vm);
    text.field("used_memory_lua_human", human(vm));
    text.field("used_memory_scripts_eval", cached);
    text.field("number_of_cached_scripts", count);
    let (functions, catalogue) = (&cx.world.functions, cx.world.functions.catalogue());
    text.field("number_of_functions", catalogue.function_count());
    text.field("number_of_libraries", catalogue.libraries().len());
    text.field("used_memory_vm_functions", functions.interpreters_len());
    text.bytes("used_memory_vm_total", vm + functions.interpreters_len());
    text.field("used_memory_functions", functions.memory());
    text.bytes("used_memory_scripts", (cached + functions.memory()) as u64);
}
