//! A loop's mailbox: other threads put messages in, the loop takes them out between turns.
//!
//! ```text
//! sender:  S1 push    S2 fence   S3 read `asleep`, signal if set
//! loop:    L1 set `asleep`   L2 fence   L3 read `full`, sleep only if it is not set
//! ```
//! Invariant: S3 sees `asleep`, or L3 sees the message. The two SeqCst fences are ordered one way or the other, and the
//! later side reads what the earlier one wrote; one fence is not enough. Model: loom-tests/tests/mailbox.rs.
//!
//! Messages are rare (a connection moves, a client is killed, the server stops), so they queue under a lock; what a busy
//! loop pays per turn is one relaxed load of `full`. A sender wakes the loop only if it said that it goes to sleep: at most
//! one wake-up per sleep.

use crate::base::mutation::{Mutation, fence_unless};
use crate::base::sync::{AtomicBool, Mutex, Ordering};
use std::sync::PoisonError;

/// How a sleeping loop is woken: an eventfd in the server, a flag in the model.
pub trait Wake {
    fn wake(&self);
}

impl Wake for crate::ring::Waker {
    fn wake(&self) {
        crate::ring::Waker::wake(self);
    }
}

/// See the module header.
pub struct Mailbox<M, W> {
    queue: Mutex<Vec<M>>,
    /// Set once something is queued, cleared by the loop before it takes everything.
    full: AtomicBool,
    /// The loop is asleep, or about to be.
    asleep: AtomicBool,
    waker: W,
}

impl<M, W: Wake> Mailbox<M, W> {
    /// An empty mailbox of the loop that `waker` wakes.
    pub fn new(waker: W) -> Self {
        Mailbox { queue: Mutex::new(Vec::new()), full: AtomicBool::new(false), asleep: AtomicBool::new(false), waker }
    }

    /// Queues a message and wakes the loop if it sleeps. Any thread.
    pub fn send(&self, message: M) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(message); // S1
        self.full.store(true, Ordering::Relaxed); // S1  the lock publishes the message, this flag only announces it.
        fence_unless(Mutation::SendWithoutFence); // S2  pairs with L2 in `prepare_sleep`.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.waker.wake(); // S3  at most one signal per sleep.
        }
    }

    /// Announces that the loop is about to sleep. False: there is a message, so it must not.
    pub fn prepare_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed); // L1
        fence_unless(Mutation::SleepWithoutFence); // L2  pairs with S2 in `send`.
        let may_sleep = !self.full.load(Ordering::Relaxed); // L3
        if !may_sleep {
            self.woke_up();
        }
        may_sleep
    }

    /// The loop is awake again: senders need not signal.
    #[inline]
    pub fn woke_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Everything that is queued, in the order of arrival.
    /// Cost: one relaxed load if there is nothing.
    #[inline]
    pub fn take(&self) -> Vec<M> {
        if !self.full.load(Ordering::Relaxed) {
            return Vec::new();
        }
        // Cleared before the queue is taken: a message that is pushed in between is taken now and announced for nothing.
        self.full.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The waker of the loop.
    pub fn waker(&self) -> &W {
        &self.waker
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn messages_keep_their_order_and_wake_a_sleeper_once() {
        let mailbox = Mailbox::new(Count::default());
        mailbox.send(1);
        assert_eq!(mailbox.waker().0.load(Ordering::Relaxed), 0, "nobody sleeps");
        assert!(!mailbox.prepare_sleep(), "a message waits");
        assert_eq!(mailbox.take(), [1]);
        assert!(mailbox.prepare_sleep());
        mailbox.send(2);
        mailbox.send(3);
        assert_eq!(mailbox.waker().0.load(Ordering::Relaxed), 1);
        assert_eq!(mailbox.take(), [2, 3]);
        assert_eq!(mailbox.take(), [0; 0]);
    }

    #[test]
    fn no_message_is_left_behind_by_a_sleeper() {
        const MESSAGES: u32 = 100_000;
        let mailbox = Mailbox::new(Count::default());
        std::thread::scope(|scope| {
            scope.spawn(|| (0..MESSAGES).for_each(|n| mailbox.send(n)));
            let (mut seen, mut signals) = (0, 0);
            while seen < MESSAGES {
                if mailbox.prepare_sleep() {
                    // Asleep: only a signal that was sent since may end this.
                    while mailbox.waker().0.load(Ordering::Acquire) == signals {
                        std::hint::spin_loop();
                    }
                    signals = mailbox.waker().0.load(Ordering::Acquire);
                }
                mailbox.woke_up();
                for n in mailbox.take() {
                    assert_eq!(n, seen);
                    seen += 1;
                }
            }
        });
    }
}
