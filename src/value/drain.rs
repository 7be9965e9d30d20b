//! The drain: a thread that frees large collections, so that no loop does.
//!
//! What a loop drops is freed by the loop if that takes a moment. A list of millions is sent to the thread; the loop pays
//! for a message. If there is no thread to be had, the loop frees it after all.
//!
//! What waits for the thread is as good as free, and eviction counts it so: otherwise it would evict one key after the other
//! for the memory that the first of them gives back in a moment.

#![forbid(unsafe_code)]

use super::object::Value;
#[cfg(not(loom))]
use crate::base::accounts::{Account, Holdings};
#[cfg(not(loom))]
use crate::base::crash;
use crate::base::sync::hint::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::OnceLock;
#[cfg(not(loom))]
use std::sync::mpsc::{Sender, channel};

/// Collections of more pieces are sent away. Source: Redis, LAZYFREE_THRESHOLD; some microseconds of work.
#[cfg(not(loom))]
const PIECES_MAX: usize = 64;

static PENDING: AtomicUsize = AtomicUsize::new(0);
static PENDING_LEN: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);
/// Elements that a collection's bytes are estimated from.
#[cfg(not(loom))]
const SAMPLES: usize = 5;

/// Collections that wait for the thread (INFO `lazyfree_pending_objects`).
pub fn pending() -> usize {
    PENDING.load(Ordering::Relaxed)
}
/// Bytes of these collections, about.
pub fn pending_len() -> usize {
    PENDING_LEN.load(Ordering::Relaxed)
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
#[cfg(loom)]
pub fn discard_rest(value: Value) {
    drop(value);
}
#[cfg(loom)]
pub fn discard_other(other: Box<dyn Send>) {
    drop(other);
}

/// Frees `value`, here or on the thread.
#[cfg(not(loom))]
pub fn discard(value: Value) {
    if value.pieces() <= PIECES_MAX {
        return drop(value);
    }
    let len = value.memory(SAMPLES);
    send_away(value, len);
}

/// The same for what is left of a snapshot. Its parts may be those of what is stored, so nobody counts on getting them back.
#[cfg(not(loom))]
pub fn discard_rest(value: Value) {
    if value.pieces() <= PIECES_MAX { drop(value) } else { send_away(value, 0) }
}

#[cfg(not(loom))]
fn send_away(value: Value, len: usize) {
    PENDING.fetch_add(1, Ordering::Relaxed);
    PENDING_LEN.fetch_add(len, Ordering::Relaxed);
    if let Err(returned) = sender().send(Load::Value(value, len)) {
        drop(returned.0);
        PENDING.fetch_sub(1, Ordering::Relaxed);
        PENDING_LEN.fetch_sub(len, Ordering::Relaxed);
    }
}

/// Frees something large that is no collection, on the thread.
#[cfg(not(loom))]
pub fn discard_other(other: Box<dyn Send>) {
    drop(sender().send(Load::Other(other))); // Without a thread it comes back, and is freed here.
}

/// What the thread frees.
#[cfg(not(loom))]
enum Load {
    /// And about how many bytes it has.
    Value(Value, usize),
    Other(Box<dyn Send>),
}

#[cfg(not(loom))]
fn sender() -> &'static Sender<Load> {
    static SENDER: OnceLock<Sender<Load>> = OnceLock::new();
    SENDER.get_or_init(start)
}

#[cfg(not(loom))]
fn start() -> Sender<Load> {
    let (sender, receiver) = channel();
    let work = move || {
        crash::prepare_thread();
        let account = Account::open();
        for load in receiver {
            let mut pending_len = 0;
            match load {
                Load::Other(other) => drop::<Box<dyn Send>>(other),
                Load::Value(value, len) => {
                    drop::<Value>(value);
                    pending_len = len;
                    FREED.fetch_add(1, Ordering::Relaxed);
                    PENDING.fetch_sub(1, Ordering::Relaxed);
                }
            }
            account.publish(Holdings::default()); // It is seen to be free before it is no longer awaited.
            PENDING_LEN.fetch_sub(pending_len, Ordering::Relaxed);
        }
    };
    // Without a thread the receiver is gone, and `send` gives the value back.
    let _ = std::thread::Builder::new().name("ringdb-drain".into()).spawn(work);
    sender
}
