//! What the loops and the journal's thread share.
//!
//! ```text
//! loops ─ batches ─▶ inbox ─▶ thread: merge, write, sync ─▶ written, durable ─▶ loops: replies that were held, WAITAOF
//! ```
//! A loop hands over what its turn has changed, and goes on. The thread takes everything that has come meanwhile: while one
//! batch is being synced the next one forms, so one sync serves all who wait.
//!
//! *Why a thread, and not the ring:* a log has one order, so one place must merge, and it would have to be a loop that others
//! depend on. A thread of its own writes and syncs in the same way on both engines, and what it waits for stops nobody.

use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::keyspace::order::Batch;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// When what was written is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Policy {
    EverySec,
    Always,
    No,
}

/// When this client's writes are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// As `appendfsync` says.
    #[default]
    Default,
    /// At once.
    None,
    /// At once; they are on the disk about a second later.
    EverySec,
    /// When they are on the disk.
    Fsync,
}

/// A message to the thread.
#[derive(Debug)]
pub enum Message {
    /// What loop `from` has changed.
    Batch { from: usize, batch: Batch },
    /// The log begins with number `at`. `good_len`: it goes on in the newest file, of which so much is whole.
    GoOn { at: u64, good_len: u64 },
    /// The log begins with number `at`; `base` holds everything before it. None: there was nothing.
    Begin { at: u64, base: Option<Base> },
    /// `base` holds everything from before number `at`.
    Rewrite { at: u64, base: Base },
    /// What has numbers from `at` on goes into a new file: a base that holds everything before is on its way.
    Rotate { at: u64 },
    /// It is there, or why it is not.
    Based(Result<Base, String>),
    /// What has numbers below `at` is written, then the log ends.
    End { at: u64 },
    /// The thread ends.
    Stop,
}

/// A file that is to become the base.
#[derive(Debug)]
pub struct Base {
    /// Its name in the log's folder.
    pub aside: String,
    pub is_rdb: bool,
    pub len: u64,
}

/// What INFO tells.
#[derive(Clone, Debug)]
pub struct Facts {
    pub current_len: u64,
    pub base_len: u64,
    pub pending_len: usize,
    pub rewrites: u64,
    pub rewrite_failures: u64,
    pub is_last_rewrite_ok: bool,
    pub last_rewrite_secs: i64,
    /// Since when a rewrite is under way, in unix ms.
    pub rewriting_since: Option<u64>,
    pub delayed_syncs: u64,
    /// Why writing fails, if it does.
    pub failure: Option<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            current_len: 0,
            base_len: 0,
            pending_len: 0,
            rewrites: 0,
            rewrite_failures: 0,
            is_last_rewrite_ok: true,
            last_rewrite_secs: -1,
            rewriting_since: None,
            delayed_syncs: 0,
            failure: None,
        }
    }
}

/// See the module header.
pub struct Hub {
    inbox: Mutex<Vec<Message>>,
    bell: Condvar,
    /// Everything up to these numbers is in files, is on the disk, and is to be there soon.
    written: AtomicU64,
    durable: AtomicU64,
    wanted: AtomicU64,
    policy: AtomicU32,
    is_on: AtomicU32,
    is_failing: AtomicU32,
    /// A rewrite was asked for and has not begun.
    is_scheduled: AtomicU32,
    facts: Mutex<Facts>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub {
            inbox: Mutex::default(),
            bell: Condvar::new(),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            policy: AtomicU32::new(Policy::EverySec as u32),
            is_on: AtomicU32::new(0),
            is_failing: AtomicU32::new(0),
            is_scheduled: AtomicU32::new(0),
            facts: Mutex::default(),
        }
    }
}

impl Hub {
    /// Is there a log?
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed) != 0
    }
    pub fn set_on(&self, is_on: bool) {
        self.is_on.store(is_on as u32, Ordering::Relaxed);
    }
    pub fn policy(&self) -> Policy {
        match self.policy.load(Ordering::Relaxed) {
            1 => Policy::Always,
            2 => Policy::No,
            _ => Policy::EverySec,
        }
    }
    /// Takes over what `appendfsync` says.
    pub fn set_policy(&self, word: &str) {
        let policy = match word {
            "always" => Policy::Always,
            "no" => Policy::No,
            _ => Policy::EverySec,
        };
        self.policy.store(policy as u32, Ordering::Relaxed);
        self.bell.notify_all();
    }
    /// Everything up to this number is on the disk.
    /// Order: Acquire: pairs with `publish`.
    #[inline]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
    /// Must the answer to change `number` wait?
    #[inline]
    pub fn holds(&self, durability: Durability, number: u64) -> bool {
        let waits = match durability {
            Durability::Default => self.policy() == Policy::Always,
            Durability::Fsync => true,
            Durability::None | Durability::EverySec => false,
        };
        waits && self.is_on() && number > self.durable()
    }
    /// Somebody waits until this change is on the disk.
    pub fn want(&self, number: u64) {
        if self.wanted.fetch_max(number, Ordering::AcqRel) < number {
            drop(self.lock()); // The thread is either before its look at `wanted`, or waits for the bell.
            self.bell.notify_all();
        }
    }
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Acquire)
    }
    /// Asks for a rewrite. False: one is asked for already.
    pub fn schedule(&self) -> bool {
        self.is_scheduled.swap(1, Ordering::AcqRel) == 0
    }
    pub fn is_scheduled(&self) -> bool {
        self.is_scheduled.load(Ordering::Relaxed) != 0
    }
    /// Takes the request for a rewrite.
    pub fn take_scheduled(&self) -> bool {
        self.is_scheduled() && self.is_scheduled.swap(0, Ordering::AcqRel) != 0
    }
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed) != 0
    }

    /// A loop hands over what it has changed.
    pub fn submit(&self, from: usize, batch: Batch) {
        self.send(Message::Batch { from, batch });
    }
    /// Sends the thread a message.
    pub fn send(&self, message: Message) {
        let mut inbox = self.lock();
        let was_empty = inbox.is_empty();
        inbox.push(message);
        drop(inbox);
        if was_empty {
            self.bell.notify_all();
        }
    }
    /// A base that was taken beside everything else is written, or is not to be.
    pub fn take_base(&self, path: &Path, outcome: io::Result<()>) {
        let based = outcome.and_then(|()| path.metadata()).map_err(|error| error.to_string()).map(|data| {
            let aside = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Base { aside, is_rdb: true, len: data.len() }
        });
        self.send(Message::Based(based));
    }
    /// The thread waits for messages, for at most so long. None: for as long as it takes. It may return without any: somebody
    /// wants a change to be durable, or the policy has changed.
    pub fn receive(&self, patience: Option<Duration>) -> Vec<Message> {
        let mut inbox = self.lock();
        if inbox.is_empty() && patience != Some(Duration::ZERO) {
            inbox = match patience {
                Some(patience) => self.bell.wait_timeout(inbox, patience).unwrap_or_else(PoisonError::into_inner).0,
                None => self.bell.wait(inbox).unwrap_or_else(PoisonError::into_inner),
            };
        }
        std::mem::take(&mut *inbox)
    }
    /// The thread tells how far it is.
    /// Order: Release: pairs with `durable`: whoever finds a number may answer.
    pub fn publish(&self, written: u64, durable: u64) {
        self.written.store(written, Ordering::Release);
        self.durable.store(durable, Ordering::Release);
    }
    /// The thread tells whether writing fails. True: it is news.
    pub fn publish_failure(&self, failure: Option<String>) -> bool {
        let is_news = self.is_failing() != failure.is_some();
        self.is_failing.store(failure.is_some() as u32, Ordering::Relaxed);
        self.facts().failure = failure;
        is_news
    }
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
