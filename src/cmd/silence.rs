//! The end of ACL SETUSER and ACL LOAD: who may not listen any more to what it listens to is closed before they are answered.
//!
//! ```text
//! handler     changes the users; its job waits                                     (`wait_for_silence`)
//! turn's end  the loop closes its own clients, and mails a share of the `Silence` to each other loop
//! other loop  closes its own clients, counts itself out
//! next turns  the job looks; when nobody is left to be counted out, it replies
//! ```
//! So whoever has read the reply finds these clients in no list and in no count, on whichever loop they were. No loop waits:
//! the client does, for as long as a mail takes. Where it cannot (inside a transaction) the reply comes first; so it does for a
//! client that has silenced itself: it reads that, and is closed.

#![forbid(unsafe_code)]

use super::command::{Cx, Flow};
use super::resume::{Resumable, Slice, Step};
use crate::base::sync::{AtomicU32, Ordering};
use crate::resp::error::ReplyError;
use std::sync::Arc;

/// How many loops have still to close clients.
/// Order: whoever counts itself out has closed its clients before (Release); who finds the count at 0 comes behind that (Acquire).
#[derive(Debug)]
pub struct Silence {
    left: AtomicU32,
}

impl Silence {
    fn new(loops: usize) -> Arc<Self> {
        Arc::new(Silence { left: AtomicU32::new(loops as u32) })
    }
    /// One loop more has closed its clients.
    pub fn count_out(&self) {
        self.left.fetch_sub(1, Ordering::Release);
    }
    /// Does anybody wait for it?
    pub fn is_awaited(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1
    }
    fn is_complete(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// Replies when it is silent.
struct Waiting {
    silence: Arc<Silence>,
}

impl Resumable for Waiting {
    fn step(&mut self, cx: &mut Cx<'_>, _: Slice) -> Result<Step, ReplyError> {
        if !self.silence.is_complete() {
            return Ok(Step::More);
        }
        cx.reply.ok();
        Ok(Step::Done)
    }
}

/// Users have changed. Replies `+OK` when all loops have drawn the consequences.
pub fn wait_for_silence(cx: &mut Cx<'_>) -> Result<Flow, ReplyError> {
    // Several changes in one turn are one.
    let silence = cx.effects.silence.get_or_insert_with(|| Silence::new(cx.world.boot.loops)).clone();
    if cx.world.pubsub.clients() == 0 || !cx.session.may_wait() {
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    if cx.session.is_subscribed() && !cx.session.may_go_on_listening(&cx.world.acl) {
        cx.reply.ok();
        return Ok(Flow::Close);
    }
    cx.begin(Waiting { silence })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::testkit::{Client, Line};

    #[test]
    fn nobody_waits_for_silence_where_nobody_listens_or_nothing_may_wait() {
        let mut client = Client::new();
        assert_eq!(client.run_line("ACL SETUSER bob on"), "OK");
        let silence = client.effects.silence.take().unwrap();
        assert!(!silence.is_complete(), "it is told to the loops all the same");
        client.world.pubsub.count_client(true);
        client.session.denies_blocking = true;
        assert_eq!(client.run(&Line::new("ACL SETUSER bob off")), (b"+OK\r\n".to_vec(), Flow::Done));
        silence.count_out();
        assert!(silence.is_complete());
    }
}
