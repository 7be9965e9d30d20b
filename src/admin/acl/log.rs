//! The ACL log: what was refused lately, and to whom. Refusals that are alike and near in time share an entry.

use crate::base::clock::WallMs;
use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals further apart than this have entries of their own. Source: Redis, `ACL_LOG_GROUPING_MAX_TIME_DELTA`.
const SHARE_MS_MAX: u64 = 60_000;
/// So many of the newest entries are searched for one to share. Source: Redis, `addACLLogEntry`.
const SEARCHED_MAX: usize = 10;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Auth = 0,
    Command = 1,
    Key = 2,
    Channel = 3,
}

impl Reason {
    pub const ALL: [Reason; 4] = [Reason::Auth, Reason::Command, Reason::Key, Reason::Channel];

    pub fn name(self) -> &'static str {
        match self {
            Reason::Auth => "auth",
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
        }
    }
}

/// Where the refused command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
    Lua,
}

impl Context {
    pub fn name(self) -> &'static str {
        match self {
            Context::Toplevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// One refusal. `object` is the command, the key or the channel.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub context: Context,
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// The client's line of CLIENT LIST.
    pub client: String,
}

/// One or several refusals; `refusal.client` is the last one's.
#[derive(Clone, Debug)]
pub struct Entry {
    pub refusal: Refusal,
    pub count: u64,
    pub number: u64,
    pub created: WallMs,
    pub updated: WallMs,
}

impl Entry {
    fn may_share(&self, refusal: &Refusal, now: WallMs) -> bool {
        let own = &self.refusal;
        own.reason == refusal.reason
            && own.context == refusal.context
            && self.updated.0.abs_diff(now.0) <= SHARE_MS_MAX
            && own.object == refusal.object
            && own.user == refusal.user
    }
}

/// See the module header. Refusals are rare, so one lock will do.
#[derive(Default)]
pub struct AclLog {
    entries: Mutex<Entries>,
    counts: [AtomicU64; 4],
}

#[derive(Default)]
struct Entries {
    /// The newest first.
    list: VecDeque<Entry>,
    next_number: u64,
}

impl AclLog {
    /// Counts a refusal and keeps it, with at most `len_max` entries in all.
    pub fn add(&self, refusal: Refusal, len_max: usize, now: WallMs) {
        self.counts[refusal.reason as usize].fetch_add(1, Relaxed);
        let Entries { list, next_number } = &mut *self.lock();
        if len_max > 0 {
            let entry = match list.iter().take(SEARCHED_MAX).position(|entry| entry.may_share(&refusal, now)) {
                Some(at) => list.remove(at).map(|old| Entry { count: old.count + 1, updated: now, refusal, ..old }),
                None => {
                    let number = *next_number;
                    *next_number += 1;
                    Some(Entry { refusal, count: 1, number, created: now, updated: now })
                }
            };
            list.extend(entry);
            list.rotate_right(1); // The newest first.
        }
        list.truncate(len_max);
    }
    /// The newest entries, at most `count`.
    pub fn newest(&self, count: usize) -> Vec<Entry> {
        self.lock().list.iter().take(count).cloned().collect()
    }
    pub fn clear(&self) {
        self.lock().list.clear();
    }
    /// Refusals for `reason` since the start or since `reset_counts`.
    pub fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize].load(Relaxed)
    }
    pub fn reset_counts(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
    }
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(object: &str, client: &str) -> Refusal {
        let (reason, context) = (Reason::Key, Context::Toplevel);
        Refusal { reason, context, object: object.into(), user: b"bob".to_vec(), client: client.into() }
    }

    #[test]
    fn refusals_that_are_alike_share_an_entry_which_becomes_the_newest() {
        let log = AclLog::default();
        log.add(refused("a", "1"), 9, WallMs(1000));
        log.add(refused("b", "2"), 9, WallMs(2000));
        log.add(refused("a", "3"), 9, WallMs(61_000));
        let entries = log.newest(9);
        assert_eq!(entries.len(), 2);
        let newest = &entries[0];
        assert_eq!((newest.count, newest.number, newest.created.0, newest.updated.0), (2, 0, 1000, 61_000));
        assert_eq!(newest.refusal.client, "3");
        log.add(refused("a", "4"), 9, WallMs(121_001));
        assert_eq!(log.newest(1)[0].number, 2, "too late to share");
        assert_eq!(log.count(Reason::Key), 4);
    }

    #[test]
    fn the_oldest_entries_go_when_there_are_too_many() {
        let log = AclLog::default();
        for object in ["a", "b", "c"] {
            log.add(refused(object, ""), 2, WallMs(1));
        }
        assert_eq!(log.newest(9).iter().map(|entry| entry.refusal.object[0]).collect::<Vec<_>>(), b"cb");
        log.add(refused("d", ""), 0, WallMs(1));
        assert!(log.newest(9).is_empty());
    }
}
