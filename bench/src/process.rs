//! CPU time and memory of processes, from `/proc`.

use std::{fs, io};

use nix::sys::resource::{UsageWho, getrusage};

/// On-CPU nanoseconds of all threads of a process.
///
/// **Units**: the first field of `schedstat`, exact nanoseconds from the scheduler, interrupts that ran on the thread's
/// time included. The kernel brings a running thread up to date at each tick, so an interval is wrong by a few ms at most.
///
/// **Errors**: no such process, or one that is not ours to read.
pub fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ended meanwhile takes its time with it.
        if let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) {
            sum += text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// CPU nanoseconds of this process, ended threads included.
pub fn own_cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    micros as u64 * 1_000
}

/// Resident memory of a process in bytes.
///
/// **Source**: `VmRSS` of `status`; the counters in `statm` may lag behind by pages per thread.
pub fn rss_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).and_then(|field| field.parse::<u64>().ok());
    Ok(kilobytes.unwrap_or(0) * 1024)
}

/// Jiffies that the hypervisor took from all CPUs, and all jiffies: a run with much of it should be repeated.
pub fn steal() -> (u64, u64) {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .map(|line| line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect())
        .unwrap_or_default();
    (fields.get(7).copied().unwrap_or(0), fields.iter().take(8).sum())
}
