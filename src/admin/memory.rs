//! How much memory the process uses: as the allocator counts it and as the kernel does.
//!
//! *Used* is what is allocated and not just kept at hand by some thread for its next allocation. `maxmemory` bounds it, less
//! what is not counted (`keyspace::quota`). INFO asks the allocator; eviction goes by the accounts of threads, which are
//! brought in line with it.

#![forbid(unsafe_code)]

use crate::base::{accounts, heap};
use std::fs;
use tikv_jemalloc_ctl::stats;

/// Bytes at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// `used_memory`.
    pub used: u64,
    /// Handed out by the allocator, to threads that may keep some of it at hand.
    pub allocated: u64,
    /// In pages that hold live blocks.
    pub active: u64,
    /// Mapped by the allocator and backed by memory.
    pub resident: u64,
    /// The whole process, as the kernel counts it.
    pub rss: u64,
}

impl Memory {
    /// Measures now.
    /// Cost: twice that of `allocated`: the kernel prints a file of /proc.
    pub fn measure() -> Self {
        let used = used(); // Moves the allocator's epoch: the others are of the same moment.
        Memory {
            used,
            allocated: stats::allocated::read().unwrap_or(0) as u64,
            active: stats::active::read().unwrap_or(0) as u64,
            resident: stats::resident::read().unwrap_or(0) as u64,
            rss: kib_field("/proc/self/status", "VmRSS:").unwrap_or(0),
        }
    }
}

/// `used_memory` alone; brings the accounts in line with the allocator.
/// Cost: some 20 µs, as jemalloc sums its arenas.
pub fn used() -> u64 {
    // The figures are cached until the epoch moves. Errors are impossible with a linked-in allocator; 0 says "unknown".
    let _ = tikv_jemalloc_ctl::epoch::advance();
    let allocated = stats::allocated::read().unwrap_or(0) as u64;
    let taken = allocated.saturating_sub(heap::cached());
    accounts::reconcile(taken);
    taken.saturating_sub(accounts::totals().spare.max(0) as u64)
}

/// What the process takes beside pages that hold live blocks and those that the allocator is about to give back: the
/// allocator's records, the program itself, stacks, the kernel's rings.
/// Cost: some 20 µs, for the allocator's sums and a short file of /proc.
pub fn outside() -> u64 {
    // Sums of an older epoch beside pages of now would take for outside what replies have taken since.
    let _ = tikv_jemalloc_ctl::epoch::advance();
    resident_pages().saturating_mul(PAGE).saturating_sub(heap::active() + heap::dirty())
}

/// Bytes of the kernel's pages.
const PAGE: u64 = 4096;

/// Pages of the process that are in memory. Source: proc_pid_statm(5).
fn resident_pages() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// The machine's memory in bytes.
pub fn total_system() -> u64 {
    kib_field("/proc/meminfo", "MemTotal:").unwrap_or(0)
}

/// The allocator and its version, as `mem_allocator` shows it.
pub fn allocator_name() -> String {
    let version = tikv_jemalloc_ctl::version::read().unwrap_or("unknown");
    format!("jemalloc-{}", version.split('-').next().unwrap_or(version))
}

/// jemalloc's own report, as MALLOC-STATS replies it.
pub fn allocator_report() -> Vec<u8> {
    let mut report = Vec::new();
    let done = tikv_jemalloc_ctl::stats_print::stats_print(&mut report, Default::default());
    if done.is_err() { Vec::new() } else { report }
}

/// A line `name   n kB` of a file of /proc, in bytes.
fn kib_field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_and_the_allocator_answer() {
        let memory = Memory::measure();
        assert!(memory.rss > 1 << 20 && total_system() > memory.rss);
        assert!(memory.active >= memory.allocated);
        assert!(allocator_name().starts_with("jemalloc-5."), "{}", allocator_name());
    }
}
