//! The slow log: the commands that took longest to be told about, of all loops in one order.
//!
//! Loops push under one lock, which also gives the ids, so ids say in which order commands ended. The lock is only taken for
//! a command that was slow. A threshold of 0 logs every command and makes the loops meet here: that is for debugging.

use crate::base::sync::{AtomicBool, Ordering::Relaxed};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Arguments of an entry, and bytes of an argument, that are kept. Source: Redis, SLOWLOG.
const ARGS_MAX: usize = 32;
const ARG_LEN_MAX: usize = 128;

/// One slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    /// Seconds since the Unix epoch.
    pub at_s: u64,
    /// Microseconds that the command worked, and that it had waited for its loop before.
    pub worked_us: u64,
    pub waited_us: u64,
    pub args: Vec<Box<[u8]>>,
    pub peer: String,
    pub name: Box<[u8]>,
}

/// What a loop tells of a slow command.
pub struct Slow {
    pub at_s: u64,
    pub worked_us: u64,
    pub waited_us: u64,
    pub peer: String,
    pub name: Box<[u8]>,
    /// `shortened` and without secrets.
    pub args: Vec<Box<[u8]>>,
}

/// See the module header.
#[derive(Default)]
pub struct SlowLog {
    log: Mutex<Log>,
    /// Was anything ever logged? Spares `trim` the lock.
    is_used: AtomicBool,
}

#[derive(Default)]
struct Log {
    next_id: u64,
    /// Newest first.
    entries: VecDeque<Entry>,
}

impl SlowLog {
    /// Logs a command; the oldest entries go so that at most `count_max` stay.
    pub fn push(&self, slow: Slow, count_max: usize) {
        let mut log = self.lock();
        let id = log.next_id;
        log.next_id += 1;
        let Slow { at_s, worked_us, waited_us, peer, name, args } = slow;
        log.entries.push_front(Entry { id, at_s, worked_us, waited_us, args, peer, name });
        log.entries.truncate(count_max);
        self.is_used.store(true, Relaxed);
    }
    /// At most `count` entries, newest first, of a log that may keep `count_max`.
    pub fn newest(&self, count: usize, count_max: usize) -> Vec<Entry> {
        let mut log = self.lock();
        log.entries.truncate(count_max);
        log.entries.iter().take(count).cloned().collect()
    }
    /// Number of entries of a log that may keep `count_max`.
    pub fn count(&self, count_max: usize) -> usize {
        if !self.is_used.load(Relaxed) {
            return 0;
        }
        let mut log = self.lock();
        log.entries.truncate(count_max);
        log.entries.len()
    }
    /// Forgets all entries. Ids go on.
    pub fn reset(&self) {
        self.lock().entries.clear();
    }
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Arguments as an entry keeps them: long ones and long lists of them end in a note of what was left out.
pub fn shortened<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
    let count = args.len();
    let whole = if count > ARGS_MAX { ARGS_MAX - 1 } else { count };
    let mut kept: Vec<_> = args.take(whole).map(shortened_arg).collect();
    if count > whole {
        kept.push(format!("... ({} more arguments)", count - whole).into_bytes().into());
    }
    kept
}

fn shortened_arg(arg: &[u8]) -> Box<[u8]> {
    match arg.len().checked_sub(ARG_LEN_MAX) {
        None | Some(0) => arg.into(),
        Some(more) => [&arg[..ARG_LEN_MAX], format!("... ({more} more bytes)").as_bytes()].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &SlowLog, args: &[&[u8]], count_max: usize) {
        let (peer, name) = ("127.0.0.1:9".into(), (*b"ann").into());
        let args = shortened(args.iter().copied());
        log.push(Slow { at_s: 5, worked_us: 7, waited_us: 2, peer, name, args }, count_max);
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let log = SlowLog::default();
        assert_eq!(log.count(10), 0);
        (0..5u8).for_each(|number| push(&log, &[b"ping", &[number]], 3));
        assert_eq!(log.newest(10, 3).iter().map(|entry| entry.id).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(log.newest(1, 3)[0].args[1].as_ref(), [4]);
        assert_eq!(log.count(2), 2);
        log.reset();
        push(&log, &[b"ping"], 3);
        assert_eq!(log.newest(10, 3)[0].id, 5);
    }

    #[test]
    fn long_arguments_and_long_lists_are_shortened() {
        let log = SlowLog::default();
        let long = [b'A'; 129];
        push(&log, &[b"sadd", &long], 1);
        let expected = [&[b'A'; 128][..], b"... (1 more bytes)"].concat();
        assert_eq!(log.newest(1, 1)[0].args[1].as_ref(), expected);
        push(&log, &[&b"x"[..]; 32], 1);
        assert_eq!(log.newest(1, 1)[0].args.len(), 32);
        push(&log, &[&b"x"[..]; 33], 1);
        let args = &log.newest(1, 1)[0].args;
        assert_eq!((args.len(), args[31].as_ref()), (32, &b"... (2 more arguments)"[..]));
    }
}
