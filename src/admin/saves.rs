//! What is known of snapshots: the last one, the one that is being written, and the one that is being loaded.
//!
//! Whoever saves or loads writes here, INFO and LASTSAVE read. Numbers of one moment need not fit those of another.

use crate::base::clock::{MonoNs, WallMs};
use crate::base::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// See the module header.
pub struct Saves {
    /// Unix seconds of the last success; the server's start before it.
    last_s: AtomicU64,
    /// Changes that were counted until then.
    saved_changes: AtomicU64,
    count: AtomicU64,
    /// When the last background save failed; 0: it has not.
    failed_s: AtomicU64,
    /// Seconds that the last background save took, plus one; 0: there was none.
    last_took: AtomicU64,
    is_running: AtomicU32,
    /// When the present one began, in ns.
    began: AtomicU64,
    keys_done: AtomicU64,
    keys_total: AtomicU64,
    pub loading: Loading,
}

/// A load.
#[derive(Default)]
pub struct Loading {
    pub started_s: AtomicU64,
    pub total_len: AtomicU64,
    pub loaded_len: AtomicU64,
    /// Memory that the writer of the file used.
    pub used_memory: AtomicU64,
    pub keys_loaded: AtomicU64,
    pub keys_expired: AtomicU64,
    /// Collections without elements, which were passed over.
    pub keys_empty: AtomicU64,
}

/// How the last save ended, and whether there is one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub last_s: u64,
    pub count: u64,
    pub has_failed: bool,
    /// When that was.
    pub failed_s: u64,
    /// Of the last background save, in seconds.
    pub took_s: Option<u64>,
    /// Of the present one.
    pub running_s: Option<u64>,
    pub keys_done: u64,
    pub keys_total: u64,
}

impl Saves {
    /// Nothing was saved since the server's start.
    pub fn new(started: WallMs) -> Self {
        Saves {
            last_s: AtomicU64::new(started.0 / 1000),
            saved_changes: AtomicU64::new(0),
            count: AtomicU64::new(0),
            failed_s: AtomicU64::new(0),
            last_took: AtomicU64::new(0),
            is_running: AtomicU32::new(0),
            began: AtomicU64::new(0),
            keys_done: AtomicU64::new(0),
            keys_total: AtomicU64::new(0),
            loading: Loading::default(),
        }
    }
    /// A save has ended well: it has everything up to `changes`.
    pub fn succeeded(&self, now: WallMs, changes: u64) {
        self.last_s.store(now.0 / 1000, Relaxed);
        self.saved_changes.store(changes, Relaxed);
        self.count.fetch_add(1, Relaxed);
        self.failed_s.store(0, Relaxed);
    }
    /// A background save has failed.
    pub fn failed(&self, now: WallMs) {
        self.failed_s.store(now.0 / 1000, Relaxed);
    }
    /// What is there now is what the file has (it was loaded a moment ago).
    pub fn is_even(&self, changes: u64) {
        self.saved_changes.store(changes, Relaxed);
    }
    /// Changes since the last save, of `changes` in all.
    pub fn changes_since(&self, changes: u64) -> u64 {
        changes.saturating_sub(self.saved_changes.load(Relaxed))
    }
    /// A background save of so many keys begins. False: one is running.
    pub fn begin(&self, keys: u64) -> bool {
        if self.is_running.swap(1, Relaxed) != 0 {
            return false;
        }
        self.began.store(MonoNs::now().0, Relaxed);
        self.keys_done.store(0, Relaxed);
        self.keys_total.store(keys, Relaxed);
        true
    }
    /// So many keys are written.
    pub fn set_done(&self, keys: u64) {
        self.keys_done.store(keys, Relaxed);
    }
    /// The background save is over.
    pub fn end(&self) {
        self.last_took.store(self.running_s() + 1, Relaxed);
        self.keys_total.store(0, Relaxed);
        self.keys_done.store(0, Relaxed);
        self.is_running.store(0, Relaxed);
    }
    pub fn is_running(&self) -> bool {
        self.is_running.load(Relaxed) != 0
    }
    fn running_s(&self) -> u64 {
        MonoNs::now().0.saturating_sub(self.began.load(Relaxed)) / 1_000_000_000
    }
    pub fn status(&self) -> Status {
        Status {
            last_s: self.last_s.load(Relaxed),
            count: self.count.load(Relaxed),
            has_failed: self.failed_s.load(Relaxed) != 0,
            failed_s: self.failed_s.load(Relaxed),
            took_s: self.last_took.load(Relaxed).checked_sub(1),
            running_s: self.is_running().then(|| self.running_s()),
            keys_done: self.keys_done.load(Relaxed),
            keys_total: self.keys_total.load(Relaxed),
        }
    }
}
