//! The freer: a thread that frees the tables of flushed databases, so that no loop does.
//!
//! A table may be freed only when the guards that existed when it was taken away are gone. So it goes the way of all garbage:
//! it is retired, and what the collector drops when the time has come is an envelope that sends the table to the thread.
//! An idle server would never get there, because epochs advance with turns; therefore the thread is told that something is
//! on its way, and advances them until it has arrived.
//!
//! Until a table is free it takes memory, and `is_busy` says so: eviction waits for it, instead of making room twice.

#[cfg(not(loom))]
use crate::base::accounts::{Account, Holdings};
use crate::base::crash;
use crate::base::sync::hint::{AtomicUsize, Ordering};
use crate::table::roots::OldTable;
use crate::table::{Guard, Participant};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How often the thread tries to advance the epochs: at first, and after a while.
const PATIENCE_MIN: Duration = Duration::from_millis(1);
const PATIENCE_MAX: Duration = Duration::from_millis(100);
/// Counted as garbage of this size, a table is handed over at once.
const ENVELOPE_BYTES: usize = 1 << 30;

enum Letter {
    /// So many tables are on their way.
    Expect(usize),
    Table(OldTable),
}

/// A table that sends itself to the freer when it is dropped.
struct Envelope {
    table: Option<OldTable>,
    freer: Sender<Letter>,
    pending: Arc<AtomicUsize>,
}

impl Drop for Envelope {
    fn drop(&mut self) {
        if let Some(table) = self.table.take()
            && let Err(letter) = self.freer.send(Letter::Table(table))
        {
            drop(letter); // No thread, no receiver: the table is freed here.
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// See the module header. The thread starts with the first flush.
#[derive(Default)]
pub(super) struct Freer {
    sender: OnceLock<Sender<Letter>>,
    /// Tables that are not free yet.
    pending: Arc<AtomicUsize>,
}

impl Freer {
    /// Is there a table that is not free yet?
    pub fn is_busy(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }
    /// Frees `tables` after the present guards are gone.
    pub fn free(&self, tables: Vec<OldTable>, guard: &Guard<'_>) {
        if tables.is_empty() {
            return;
        }
        self.pending.fetch_add(tables.len(), Ordering::Relaxed);
        let sender = self.sender.get_or_init(|| start(self.pending.clone()));
        let _ = sender.send(Letter::Expect(tables.len()));
        for table in tables {
            let envelope = Envelope { table: Some(table), freer: sender.clone(), pending: self.pending.clone() };
            guard.retire_boxed(Box::new(envelope), ENVELOPE_BYTES);
        }
        guard.collect();
    }
}

fn start(pending: Arc<AtomicUsize>) -> Sender<Letter> {
    let (sender, receiver) = channel();
    // If there is no thread to be had, the receiver is gone, and whoever drops an envelope frees the table.
    let _ = std::thread::Builder::new().name("ringdb-freer".into()).spawn(move || {
        crash::prepare_thread();
        work(&receiver, &pending);
    });
    sender
}

fn work(letters: &Receiver<Letter>, pending: &AtomicUsize) {
    let seat = Participant::new();
    #[cfg(not(loom))]
    let account = Account::open();
    let mut expected = 0;
    let mut patience = PATIENCE_MIN;
    loop {
        let letter = if expected == 0 {
            letters.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            seat.pin().collect();
            letters.recv_timeout(patience)
        };
        match letter {
            Ok(Letter::Expect(count)) => {
                expected += count;
                patience = PATIENCE_MIN;
            }
            Ok(Letter::Table(table)) => {
                drop(table);
                expected -= 1;
                // It is seen to be free before it is no longer awaited.
                #[cfg(not(loom))]
                account.publish(Holdings::default());
                pending.fetch_sub(1, Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => patience = (patience * 2).min(PATIENCE_MAX),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::hash::{Key, KeyHasher};
    use crate::table::roots::Roots;
    use crate::table::{Change, Kind, NewEntry, Source};
    use bytes::Bytes;
    use std::time::Instant;

    #[test]
    fn a_discarded_table_is_freed_although_nobody_else_takes_a_turn() {
        let (roots, freer, seat) = (Roots::new(1, KeyHasher::seeded(1)), Freer::default(), Participant::new());
        let value = Bytes::from(vec![7; 20_000]);
        let guard = seat.pin();
        let key = Key::new(roots.hasher(), b"large");
        roots.get_or_create(0, &guard).update(key, &guard, |_| {
            (Change::Put(NewEntry::new(Kind(0), key.bytes, None, 0, Source::Blob(value.clone()))), ())
        });
        freer.free(roots.take(0).into_iter().collect(), &guard);
        std::thread::sleep(Duration::from_millis(20));
        assert!(!value.is_unique() && freer.is_busy(), "the guard of its time still lives");
        drop(guard);
        let start = Instant::now();
        while !value.is_unique() || freer.is_busy() {
            assert!(start.elapsed() < Duration::from_secs(20), "the table is not freed");
            std::thread::yield_now();
        }
    }
}
