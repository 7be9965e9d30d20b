//! The drain: a thread that frees large collections, so that no loop does.
//!
//! What a loop drops is freed by the loop if that takes a moment. A list of millions is sent to the thread; the loop pays
//! for a message. If there is no thread to be had, the loop frees it after all.

#![forbid(unsafe_code)]

use super::object::Value;
use crate::base::sync::hint::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::OnceLock;
#[cfg(not(loom))]
use std::sync::mpsc::{Sender, channel};

/// Collections of more pieces are sent away. Source: Redis, LAZYFREE_THRESHOLD; some microseconds of work.
#[cfg(not(loom))]
const PIECES_MAX: usize = 64;

static PENDING: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

/// Collections that wait for the thread (INFO `lazyfree_pending_objects`).
pub fn pending() -> usize {
    PENDING.load(Ordering::Relaxed)
}
/// Collections that the thread has freed (INFO `lazyfreed_objects`).
pub fn freed() -> usize {
    FREED.load(Ordering::Relaxed)
}
/// Counts from 0 again (CONFIG RESETSTAT).
pub fn reset_freed() {
    FREED.store(0, Ordering::Relaxed);
}

#[cfg(loom)]
pub fn discard(value: Value) {
    drop(value);
}

/// Frees `value`, here or on the thread.
#[cfg(not(loom))]
pub fn discard(value: Value) {
    if value.pieces() <= PIECES_MAX {
        return drop(value);
    }
    static SENDER: OnceLock<Sender<Value>> = OnceLock::new();
    PENDING.fetch_add(1, Ordering::Relaxed);
    if let Err(returned) = SENDER.get_or_init(start).send(value) {
        drop(returned.0);
        PENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(not(loom))]
fn start() -> Sender<Value> {
    let (sender, receiver) = channel();
    let work = move || {
        for value in receiver {
            drop::<Value>(value);
            FREED.fetch_add(1, Ordering::Relaxed);
            PENDING.fetch_sub(1, Ordering::Relaxed);
        }
    };
    // Without a thread the receiver is gone, and `send` gives the value back.
    let _ = std::thread::Builder::new().name("ringdb-drain".into()).spawn(work);
    sender
}
