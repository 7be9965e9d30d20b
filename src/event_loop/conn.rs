//! One connection as its loop sees it: the session, what has come in, what waits to go out, and how far its life is.

use super::input::Input;
use crate::admin::clients::OutputSeen;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::heap::block_len;
use crate::cmd::command::{Flow, Wait};
use crate::cmd::session::Session;
use crate::exec::dispatch::Turn;
use crate::exec::long::Long;
use crate::resp::parse::Parser;
use crate::resp::reply::{Output, Reply};
use crate::ring::Token;
use bytes::Bytes;

/// Open ─peer's EOF▶ PeerDone ─last command▶ Draining ─last send▶ closed. QUIT and protocol errors go straight to Draining.
/// Left to right only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Bytes come in and commands run.
    Open,
    /// No more bytes will come; the commands that are here still run.
    PeerDone,
    /// No more commands run; what waits is sent, then the connection closes.
    Draining,
    /// The connection is broken: it closes as soon as its commands have run, whatever waits to be sent.
    Broken,
}

/// See the module header. An idle connection owns nothing on the heap beside itself and its `ClientInfo`.
pub struct Conn {
    pub token: Token,
    pub life: Life,
    /// In the loop's list of connections that may have commands to run.
    pub is_ready: bool,
    /// Since when it is on that list, or since its last visit if it stayed there.
    pub ready_since: MonoNs,
    /// In the loop's list of connections that may have something to send.
    pub is_dirty: bool,
    /// In the loop's list of connections that have messages to be sent.
    pub is_due: bool,
    /// Reception is paused: too much waits to be run or to be sent.
    pub is_paused: bool,
    /// Has commands that wait until its replies are read.
    pub is_stalled: bool,
    /// In the loop's list of connections that keep room for incomplete commands.
    pub is_roomy: bool,
    /// Its session is elsewhere, with a job that may take long. While it is, the client is not visited.
    pub is_on_stage: bool,
    /// It is to be closed in one of the next turns (`closing`), and draining.
    pub is_leaving: bool,
    /// Bytes of the message in flight; 0 if there is none.
    pub sending_len: usize,
    /// Bytes of its own buffers that were handed to the engine since it last had nothing to send.
    pub handed_len: usize,
    /// The largest of these buffers: it stays whole until the last part of it is sent.
    pub handed_max: usize,
    /// What the client was charged with, what its replies take beside those that are being sent, and its room for input
    /// (`charge`).
    pub charged: (usize, usize, usize),
    pub session: Session,
    pub reply: Reply,
    pub input: Input,
    pub parser: Parser,
    /// The command that is under way. While there is one, no other of this client runs.
    pub long: Option<Box<Long>>,
    /// Length of the reply of one that has ended since the output was last looked at.
    pub ended_len: usize,
    /// Messages that came while the client is in the middle of a long reply.
    pub pushed: Option<Box<Output>>,
    /// The command at hand waits for this. While it does, the client is not visited.
    pub wait: Option<Wait>,
    /// When our patience with a peer that does not read ends: it is over its soft limit, or to be closed.
    pub patience_until: Option<WallMs>,
    /// Where the client stands in the loop's alarms.
    pub alarm_at: Option<WallMs>,
}

// 10 000 idle connections are to cost at most 1 KiB each in user space, registry and allocator included.
const _: () = assert!(size_of::<Conn>() <= 448, "a connection is small");

impl Conn {
    /// A connection that was just accepted.
    pub fn new(token: Token, session: Session) -> Self {
        Conn {
            token,
            life: Life::Open,
            is_ready: false,
            ready_since: MonoNs::default(),
            is_dirty: false,
            is_due: false,
            is_paused: false,
            is_stalled: false,
            is_roomy: false,
            is_on_stage: false,
            is_leaving: false,
            sending_len: 0,
            handed_len: 0,
            handed_max: 0,
            charged: (0, 0, 0),
            session,
            reply: Reply::default(),
            input: Input::new(),
            parser: Parser::default(),
            long: None,
            ended_len: 0,
            pushed: None,
            wait: None,
            patience_until: None,
            alarm_at: None,
        }
    }
    /// The next moment at which this client must be looked at.
    pub fn alarm_wanted(&self) -> Option<WallMs> {
        let timeout = match self.wait {
            Some(Wait::Event { until }) => until,
            _ => None,
        };
        match (timeout, self.patience_until) {
            (Some(timeout), Some(patience)) => Some(timeout.min(patience)),
            (timeout, patience) => timeout.or(patience),
        }
    }
    /// Has the peer not read for too long?
    pub fn is_over_patience(&self, now: WallMs) -> bool {
        self.patience_until.is_some_and(|until| until <= now)
    }
    /// Does a slice of the command that is under way.
    pub fn go_on(&mut self, turn: &mut Turn<'_>) {
        let Some(long) = &mut self.long else { return };
        let is_forgotten = self.life == Life::Broken && long.is_idle_talk();
        if is_forgotten || turn.go_on(long, &mut self.session, &mut self.reply) == Flow::Done {
            self.ended_len = long.said_len();
            self.long = None;
            if let Some(pushed) = self.pushed.take() {
                self.reply.append(*pushed);
            }
        }
    }
    /// Moves on in life; never back.
    pub fn advance(&mut self, life: Life) {
        self.life = self.life.max(life);
    }
    /// May commands of this connection run?
    #[inline]
    pub fn may_run(&self) -> bool {
        self.life != Life::Draining
    }
    /// Bytes of commands that have not arrived whole. As in Redis, a large argument stands alone.
    pub fn input_seen(&self) -> usize {
        self.parser.held_len() + if self.parser.is_filling() { 0 } else { self.input.len() }
    }
    /// Room for bytes that have not come.
    pub fn input_room(&self) -> usize {
        self.input.room() + self.parser.room()
    }
    /// Bytes that are kept for the peer although they cannot be sent yet.
    pub fn held_len(&self) -> usize {
        let pushed = self.pushed.as_ref().map_or(0, |pushed| pushed.len());
        pushed + self.long.as_ref().map_or(0, |long| long.held_len())
    }
    /// Does it own memory for commands that are not complete?
    #[inline]
    pub fn has_room(&self) -> bool {
        self.input_room() + self.input.len() > 0 || self.parser.is_filling()
    }
    /// Gives back what it owns beyond what has arrived.
    pub fn give_room_back(&mut self) {
        self.input.shrink();
        self.parser.shrink();
        self.session.info.set_input(self.input_seen(), self.input_room());
    }
    /// What waits for the peer, as others see it.
    pub fn output_seen(&self) -> OutputSeen {
        let shared: usize = self.reply.out.refs.iter().map(|(_, bytes)| bytes.len()).sum();
        OutputSeen {
            buffered_len: self.reply.out.buf.len(),
            buffer_cap: if self.reply.out.buf.is_empty() { 0 } else { self.reply.out.buf.capacity() },
            queued_len: self.sending_len + shared + self.held_len(),
            queued_count: self.reply.out.refs.len() + (self.sending_len > 0) as usize,
        }
    }
    /// Memory of what waits for the peer or is made for it, without what is in flight or sent in parts and what is stored anyway.
    pub fn owned_output(&self) -> usize {
        let memory = |output: &Output| {
            let unshared = output.refs.iter().filter(|(_, bytes)| bytes.is_unique());
            block_len(output.buf.capacity())
                + block_len(output.refs.capacity() * size_of::<(usize, Bytes)>())
                + unshared.map(|(_, bytes)| block_len(bytes.len())).sum::<usize>()
        };
        let long = self.long.as_ref().map_or(0, |long| long.memory());
        memory(&self.reply.out) + self.pushed.as_deref().map_or(0, memory) + long
    }
    /// Do its commands wait for others or for replies to be read?
    pub fn is_held_up(&self) -> bool {
        self.output_len() > 0 || self.long.is_some() || self.is_ready || self.input.held_len() > 0
    }
    /// Memory of what is in flight or sent in parts, at most.
    pub fn being_sent(&self) -> usize {
        let waiting_len = self.output_len();
        if waiting_len == 0 { 0 } else { self.handed_len.min(waiting_len + self.handed_max) }
    }
    /// Bytes that wait for the peer, in flight or not.
    #[inline]
    pub fn output_len(&self) -> usize {
        self.sending_len + self.reply.pending_len()
    }
}
