//! A loop never sleeps on a mailbox with a message in it, and no message is lost.
#![cfg(loom)]

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::thread;
use loom_tests::model;
use ringdb::event_loop::mailbox::{Mailbox, Wake};
use std::sync::Arc;

/// Counts signals.
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn mailbox() -> Arc<Mailbox<u32, Bell>> {
    Arc::new(Mailbox::new(Bell(AtomicUsize::new(0))))
}

model! {
    fn send_never_loses_the_wake_up(bound = 3, caught = [SendWithoutFence, SleepWithoutFence]) {
        let mine = mailbox();
        let theirs = mine.clone();
        let sender = thread::spawn(move || theirs.send(1));
        let sleeps = mine.prepare_sleep();
        sender.join().unwrap();
        assert!(!sleeps || mine.waker().0.load(Relaxed) == 1, "asleep with a message waiting");
        assert_eq!(mine.take(), [1]);
    }
}

model! {
    /// Two senders: one signal at most, and both messages.
    fn two_senders_signal_once(bound = 2, caught = []) {
        let mine = mailbox();
        let senders = [1, 2].map(|message| {
            let theirs = mine.clone();
            thread::spawn(move || theirs.send(message))
        });
        let sleeps = mine.prepare_sleep();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let signals = mine.waker().0.load(Relaxed);
        assert!(signals <= 1 && (!sleeps || signals == 1), "{signals} signals, asleep: {sleeps}");
        let mut messages = mine.take();
        messages.sort();
        assert_eq!(messages, [1, 2]);
    }
}

model! {
    /// The loop takes its mail while a message arrives: it is taken now, or it is announced for the next time.
    fn a_message_that_arrives_while_mail_is_taken_is_found(bound = 3, caught = []) {
        let mine = mailbox();
        mine.send(1);
        let theirs = mine.clone();
        let sender = thread::spawn(move || theirs.send(2));
        let mut messages = mine.take();
        sender.join().unwrap();
        messages.extend(mine.take());
        assert_eq!(messages, [1, 2]);
    }
}
