//! Which cores this process may use, and how many: what its affinity allows, what the quota of its control group pays for, and
//! what `server-cpulist` says.

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;

/// The cores of the affinity mask, by number.
pub fn allowed() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect(),
        Err(_) => vec![0], // One loop runs anywhere.
    }
}

/// What a list like that of `taskset -c` names, in its order.
/// Shape:  parts like `2`, `0-3` or `0-15:2` (every second), separated by commas
/// Errors: None: no such list, or a number no core can have. Source: Redis, `server-cpulist`.
pub fn listed(text: &str) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse().ok().filter(|&core| core < CpuSet::count());
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (range, stride) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let stride = number(stride).filter(|&stride| stride > 0)?;
        cores.extend((number(first)?..=number(last)?).step_by(stride));
    }
    (!cores.is_empty()).then_some(cores)
}

/// The number of loops by default: the allowed cores, or fewer if a quota pays for fewer.
pub fn usable(allowed: usize) -> usize {
    quota().map_or(allowed, |quota| quota.clamp(1, allowed.max(1))).max(1)
}

/// The quota of the process's control groups in whole cores, rounded up; None without one. The tightest of all levels counts.
fn quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(group_quota).min()
}

/// The quota of one line of /proc/self/cgroup: `0::/path` (version 2) or `n:cpu,cpuacct:/path` (version 1).
fn group_quota(line: &str) -> Option<usize> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
    let version_1 = controllers.split(',').any(|name| name == "cpu");
    if !controllers.is_empty() && !version_1 {
        return None;
    }
    let root = Path::new(if version_1 { "/sys/fs/cgroup/cpu" } else { "/sys/fs/cgroup" });
    let own = root.join(path);
    // Inside a container the path is often that of the host, and the mount is already the group itself.
    let levels = own.ancestors().take_while(|level| level.starts_with(root));
    levels.filter_map(|level| if version_1 { version_1_quota(level) } else { version_2_quota(level) }).min()
}

fn version_2_quota(group: &Path) -> Option<usize> {
    parse_max(&fs::read_to_string(group.join("cpu.max")).ok()?)
}

fn version_1_quota(group: &Path) -> Option<usize> {
    let read = |name| fs::read_to_string(group.join(name)).ok();
    parse_max(&format!("{} {}", read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()))
}

/// `quota period` in microseconds as whole cores; `max` or a negative quota is none.
fn parse_max(text: &str) -> Option<usize> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota.div_ceil(period).max(1) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_cores() {
        assert_eq!(parse_max("max 100000\n"), None);
        assert_eq!(parse_max("-1 100000"), None);
        assert_eq!(parse_max("50000 100000"), Some(1));
        assert_eq!(parse_max("250000 100000\n"), Some(3));
    }

    #[test]
    fn a_list_names_cores() {
        assert_eq!(listed("3"), Some(vec![3]));
        assert_eq!(listed("0-2,7"), Some(vec![0, 1, 2, 7]));
        assert_eq!(listed("4,0-6:3"), Some(vec![4, 0, 3, 6]));
        for bad in ["", ",", "1,", "a", "-1", "1-", "2-1", "0-4:0", "0-4:", "99999999", "1 2"] {
            assert_eq!(listed(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_may_use_at_least_one_core() {
        let allowed = allowed();
        assert!((1..=allowed.len()).contains(&usable(allowed.len())));
    }
}
