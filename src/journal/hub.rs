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

/// Bytes that were changed and not written yet, beyond which nobody changes anything, and below which they go on. 64 MiB: a
/// disk that writes 100 MB/s and stops for half a second is not noticed. So little between the two that a disk of 5 MB/s keeps
/// nobody waiting for half a second.
const BACKLOG_MAX: u64 = 64 << 20;
const BACKLOG_LOW: u64 = BACKLOG_MAX - (2 << 20);

/// A message to the thread.
#[derive(Debug)]
pub enum Message {
    /// What loop `from` has changed.
    Batch { from: usize, batch: Batch },
    /// The log begins with number `at`. `good_len`: it goes on in the newest file, of which so much is whole; or in a new one.
    GoOn { at: u64, good_len: Option<u64> },
    /// The log begins with number `at`; `base` holds everything before it. None: there was nothing.
    Begin { at: u64, base: Option<Base> },
    /// The log begins with number `at`; a base that holds everything before it is on its way.
    BeginBehind { at: u64, rewrite: Rewrite },
    /// What has numbers from `at` on goes into a new file: a base that holds everything before is on its way.
    Rotate { at: u64, rewrite: Rewrite },
    /// The base of this rewrite is there, or why it is not.
    Based { rewrite: Rewrite, base: Result<Base, String> },
    /// What has numbers below `at` is written, then the log ends.
    End { at: u64 },
    /// The thread ends.
    Stop,
}

/// One writing of everything into a new base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// They are counted from the start.
    pub number: u64,
    /// When it began, in unix ms.
    pub since: u64,
    /// No log goes on behind it: it is all there is.
    pub is_lone: bool,
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
    /// The one that is under way. What becomes of any other is nobody's business.
    pub rewriting: Option<Rewrite>,
    /// The log has begun and has no base yet: nothing of it counts.
    pub lacks_base: bool,
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
            rewriting: None,
            lacks_base: false,
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
    /// The same for what is to be there within a second, whatever the policy.
    soon: AtomicU64,
    /// Bytes that loops have handed over, and that the thread is done with.
    submitted: AtomicU64,
    consumed: AtomicU64,
    /// A client has asked for its writes to be kept (CLIENT DURABILITY).
    is_promised: AtomicU32,
    policy: AtomicU32,
    is_on: AtomicU32,
    is_failing: AtomicU32,
    /// A rewrite was asked for and has not begun.
    is_scheduled: AtomicU32,
    /// The log is to begin as soon as no snapshot is being taken.
    is_due: AtomicU32,
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
            soon: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            is_promised: AtomicU32::new(0),
            policy: AtomicU32::new(Policy::EverySec as u32),
            is_on: AtomicU32::new(0),
            is_failing: AtomicU32::new(0),
            is_scheduled: AtomicU32::new(0),
            is_due: AtomicU32::new(0),
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
    /// Must the answer to change `number` wait? Also for a log that is about to end: it is synced then. Without a log nothing
    /// gets a number.
    #[inline]
    pub fn holds(&self, durability: Durability, number: u64) -> bool {
        let waits = match durability {
            Durability::Default => self.policy() == Policy::Always,
            Durability::Fsync => true,
            Durability::None | Durability::EverySec => false,
        };
        waits && number > self.durable()
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
    /// Somebody was promised that this change is on the disk in about a second.
    pub fn want_soon(&self, number: u64) {
        if self.soon.fetch_max(number, Ordering::AcqRel) < number {
            drop(self.lock()); // As above.
            self.bell.notify_all();
        }
    }
    pub fn wanted_soon(&self) -> u64 {
        self.soon.load(Ordering::Acquire)
    }
    /// A client wants its writes to be kept: without a log they are refused from now on.
    pub fn promise(&self) {
        self.is_promised.store(1, Ordering::Relaxed);
    }
    pub fn is_promised(&self) -> bool {
        self.is_promised.load(Ordering::Relaxed) != 0
    }
    /// Asks for a rewrite. False: one is asked for already.
    pub fn schedule(&self) -> bool {
        self.is_scheduled.swap(1, Ordering::AcqRel) == 0
    }
    pub fn is_scheduled(&self) -> bool {
        self.is_scheduled.load(Ordering::Relaxed) != 0
    }
    /// The log is to begin later, or is not.
    pub fn set_due(&self, is_due: bool) {
        self.is_due.store(is_due as u32, Ordering::Relaxed);
    }
    pub fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Relaxed) != 0
    }
    /// Takes the request for a rewrite.
    pub fn take_scheduled(&self) -> bool {
        self.is_scheduled() && self.is_scheduled.swap(0, Ordering::AcqRel) != 0
    }
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed) != 0
    }

    /// A loop hands over what it has changed. True: the disk does not keep up, and changes have to wait.
    /// Cost: beside the message, two accesses to shared words a turn.
    pub fn submit(&self, from: usize, batch: Batch) -> bool {
        self.submitted.fetch_add(batch.bytes.len() as u64, Ordering::Relaxed);
        self.send(Message::Batch { from, batch });
        self.backlog() > BACKLOG_MAX
    }
    /// The thread has written so many bytes of what was handed over, or has no use for them.
    pub fn consume(&self, len: u64) {
        self.consumed.fetch_add(len, Ordering::Relaxed);
    }
    /// Is so little left that changes may go on?
    pub fn has_room(&self) -> bool {
        self.backlog() < BACKLOG_LOW
    }
    /// Bytes that wait to be written.
    pub fn backlog(&self) -> u64 {
        let consumed = self.consumed.load(Ordering::Relaxed);
        self.submitted.load(Ordering::Relaxed).saturating_sub(consumed)
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
    /// A base that was taken beside everything else is written, or cannot be.
    pub fn take_base(&self, rewrite: Rewrite, path: &Path, is_rdb: bool, outcome: io::Result<()>) {
        let base = outcome.and_then(|()| path.metadata()).map_err(|error| error.to_string()).map(|data| {
            let aside = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Base { aside, is_rdb, len: data.len() }
        });
        self.send(Message::Based { rewrite, base });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_disk_is_the_clients_choice_or_the_policys() {
        let hub = Hub::default();
        hub.publish(7, 5);
        let held = |hub: &Hub| {
            [Durability::Default, Durability::None, Durability::EverySec, Durability::Fsync].map(|it| hub.holds(it, 6))
        };
        assert_eq!(held(&hub), [false, false, false, true]);
        hub.set_policy("always");
        assert_eq!(held(&hub), [true, false, false, true]);
        hub.publish(7, 6);
        assert_eq!(held(&hub), [false; 4]);
    }

    #[test]
    fn what_is_handed_over_counts_until_it_is_written() {
        let hub = Hub::default();
        let batch = |len: u64| Batch { bytes: vec![0; len as usize], ..Batch::default() };
        assert!(!hub.submit(0, batch(BACKLOG_MAX)));
        assert!(hub.submit(0, batch(1)) && !hub.has_room());
        hub.consume(BACKLOG_MAX - BACKLOG_LOW + 2);
        assert!(hub.has_room());
        assert_eq!(hub.backlog(), BACKLOG_LOW - 1);
    }
}
