//! The ring engine: io_uring.
//!
//! ```text
//! wait:  publish returned buffers, arm starved receives
//!        ONE io_uring_enter: submit everything, sleep only if no completion is there yet
//!        file up to REAP_MAX completions
//! ```
//!
//! What makes the real code longer than that:
//!
//! - A multishot operation (receive, accept, the wake-up poll) goes on until a completion comes without MORE. It ends for
//!   many harmless reasons (no buffer, full completion queue, the kernel's own fairness limits); then it is armed again.
//! - ENOBUFS ends a receive without losing anything. The connection joins the `starved` queue and is armed again when
//!   buffers are back, at most one connection per buffer: arming against an empty ring fails at once (kernel-notes/02).
//! - The kernel reads a message until its completion is there. `close` therefore moves a connection with operations in
//!   flight to `dying`, cancels them, and drops socket and message with the last completion.
//! - Sends ask for MSG_WAITALL, so the kernel itself finishes most short sends; the rest is submitted again.
//! - The submission queue may be full: further entries wait in `backlog`, in order.
//!
//! Source: io_uring(7), io_uring_prep_recv_multishot(3), io_uring_prep_accept(3); kernel-notes/01 to 06.

mod bufring;
mod setup;

use super::listeners::Listeners;
use super::op::{self, Key, Kind as Op, Verdict};
use super::outgoing::Outgoing;
use super::slots::Slots;
use super::{Completion, Counters, End, Engine, Errno, Filled, Kind, Message, REAP_MAX, Sizes, Token, Waker};
use bufring::BufRing;
use io_uring::{cqueue, opcode, squeue, types};
use setup::Ring;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes one OP_SEND is asked for at most; its length and result are 32 bits wide.
const SEND_LEN_MAX: usize = 1 << 30;
/// Pieces one OP_SENDMSG takes. Source: UIO_MAXIOV.
const PIECES_MAX: usize = 1024;
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
/// Buffers tried when locked memory does not allow the number asked for.
const BUFFER_COUNT_SMALL: u16 = 256;
/// How long a dropped engine waits for the kernel to let go of its memory.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// An engine on io_uring.
pub struct Uring {
    ring: Ring, // First: it is dropped, and with it the kernel's use of all the memory below, before that memory is.
    bufs: BufRing,
    conns: Slots<Conn>,
    /// Closed connections whose operations have not all completed.
    dying: HashMap<Token, Conn>,
    listeners: Listeners<Armed>,
    /// Sockets of stopped listeners whose accept has not completed.
    dying_listeners: HashMap<Token, OwnedFd>,
    /// Receives that found no buffer, in order of arrival.
    starved: VecDeque<Token>,
    /// Submissions for which the queue had no room.
    backlog: VecDeque<squeue::Entry>,
    /// Operations with a buffer or a message of ours that the kernel has not completed.
    in_flight: usize,
    waker: Waker,
    woken: bool,
    reaped: Vec<cqueue::Entry>,
    counters: Counters,
}

struct Conn {
    socket: OwnedFd,
    recv: Recv,
    paused: bool,
    ended: bool,
    sending: Option<Sending>,
}

/// The receive of a connection, as the kernel sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recv {
    Idle,
    Armed,
    Cancelling,
    Starved,
}

struct Sending {
    outgoing: Outgoing,
    scatter: Option<Box<Scatter>>,
}

/// What OP_SENDMSG points to. Boxed: it must not move while the kernel reads it.
struct Scatter {
    header: libc::msghdr,
    pieces: Vec<libc::iovec>,
}

/// Is the listener's multishot accept in the kernel's hands?
#[derive(Default)]
struct Armed(bool);

impl Conn {
    fn is_in_flight(&self) -> bool {
        self.sending.is_some() || matches!(self.recv, Recv::Armed | Recv::Cancelling)
    }
    fn wants_input(&self) -> bool {
        !self.paused && !self.ended && self.recv == Recv::Idle
    }
}

impl Engine for Uring {
    const KIND: Kind = Kind::Uring;

    fn new(sizes: &Sizes) -> io::Result<Self> {
        Uring::on(Ring::new(sizes.submit_entries, sizes.complete_entries)?, sizes)
    }

    fn listen(&mut self, listener: u16, socket: OwnedFd) {
        let token = self.listeners.add(listener, socket);
        self.arm_accept(token);
    }

    fn stop_listening(&mut self, listener: u16) {
        let Some((token, entry)) = self.listeners.stop(listener) else { return };
        if entry.state.0 {
            self.cancel(Key { kind: Op::Accept, token });
            self.dying_listeners.insert(token, entry.socket); // Its number must not be reused before that.
        }
    }

    fn open(&mut self, token: Token, socket: OwnedFd) {
        let conn = Conn { socket, recv: Recv::Idle, paused: false, ended: false, sending: None };
        self.conns.insert(token, conn);
        self.arm_recv(token);
    }

    fn close(&mut self, token: Token) {
        let conn = self.conns.remove(token).expect("close of an unknown connection");
        if !conn.is_in_flight() {
            return; // Dropping the socket closes it.
        }
        if matches!(conn.recv, Recv::Armed | Recv::Cancelling) {
            self.cancel(Key { kind: Op::Recv, token });
        }
        if conn.sending.is_some() {
            self.cancel(Key { kind: Op::Send, token });
        }
        self.dying.insert(token, conn);
    }

    fn socket(&self, token: Token) -> BorrowedFd<'_> {
        self.conns.get(token).expect("socket of an unknown connection").socket.as_fd()
    }

    fn pause_recv(&mut self, token: Token) {
        let conn = self.conns.get_mut(token).expect("pause of an unknown connection");
        conn.paused = true;
        if conn.recv == Recv::Armed {
            conn.recv = Recv::Cancelling;
            self.cancel(Key { kind: Op::Recv, token });
        }
    }

    fn resume_recv(&mut self, token: Token) {
        let conn = self.conns.get_mut(token).expect("resume of an unknown connection");
        conn.paused = false;
        if conn.wants_input() {
            self.arm_recv(token);
        }
    }

    fn send(&mut self, token: Token, message: Message) {
        let conn = self.conns.get_mut(token).expect("send to an unknown connection");
        assert!(conn.sending.is_none(), "one message at a time");
        conn.sending = Some(Sending { outgoing: Outgoing::new(message), scatter: None });
        self.submit_send(token);
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.prepare();
        self.enter(timeout)?;
        self.reap(out);
        Ok(())
    }

    #[inline]
    fn bytes(&self, filled: &Filled) -> &[u8] {
        self.bufs.bytes(filled)
    }

    #[inline]
    fn give_back(&mut self, filled: Filled) {
        self.bufs.give_back(filled);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// Registers the pool; with fewer buffers if locked memory is scarce.
fn register_buffers(ring: &Ring, sizes: &Sizes) -> io::Result<BufRing> {
    let submitter = ring.uring.submitter();
    match BufRing::register(&submitter, sizes.buffer_count, sizes.buffer_len) {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && sizes.buffer_count > BUFFER_COUNT_SMALL => {
            BufRing::register(&submitter, BUFFER_COUNT_SMALL, sizes.buffer_len)
        }
        other => other,
    }
}

impl Uring {
    fn on(ring: Ring, sizes: &Sizes) -> io::Result<Self> {
        let bufs = register_buffers(&ring, sizes)?;
        let mut engine = Uring {
            ring,
            bufs,
            conns: Slots::new(),
            dying: HashMap::new(),
            listeners: Listeners::new(),
            dying_listeners: HashMap::new(),
            starved: VecDeque::new(),
            backlog: VecDeque::new(),
            in_flight: 0,
            waker: Waker::new()?,
            woken: false,
            reaped: Vec::with_capacity(REAP_MAX),
            counters: Counters::default(),
        };
        engine.arm_wake();
        Ok(engine)
    }
}

/// Waiting.
impl Uring {
    /// How the ring was set up, for INFO.
    pub fn describe(&self) -> &'static str {
        self.ring.rung.describe()
    }

    /// Everything that is to be in the submission queue before the kernel is entered.
    fn prepare(&mut self) {
        self.bufs.publish(); // First: a receive armed against an empty buffer ring fails at once.
        self.arm_starved();
        if self.listeners.pause_is_over() {
            self.arm_listeners();
        }
        self.drain_backlog();
    }

    /// Arms one starved receive per free buffer. If more are left, `enter` does not sleep, so the next turn goes on: those
    /// armed now may turn out to have nothing to receive.
    fn arm_starved(&mut self) {
        let mut arm_count = self.bufs.free_count();
        while arm_count > 0 {
            let Some(token) = self.starved.pop_front() else { break };
            let Some(conn) = self.conns.get_mut(token) else { continue };
            conn.recv = Recv::Idle;
            if conn.wants_input() {
                self.arm_recv(token);
                arm_count -= 1;
            }
        }
    }

    fn arm_listeners(&mut self) {
        for token in self.listeners.tokens() {
            if self.listeners.get_mut(token).is_some_and(|entry| !entry.state.0) {
                self.arm_accept(token);
            }
        }
    }

    /// Submits, and sleeps if there is nothing to report. A ring with nothing to submit, nothing deferred and no reason to
    /// sleep is not entered at all.
    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.listeners.limit(timeout);
        let may_sleep = timeout != Some(Duration::ZERO)
            && self.ring.uring.completion().is_empty()
            && self.backlog.is_empty()
            && (self.starved.is_empty() || self.bufs.free_count() == 0);
        if !may_sleep && !self.must_enter() {
            return Ok(());
        }
        self.counters.enters += 1;
        match self.ring.enter(u32::from(may_sleep), timeout) {
            Ok(_) => Ok(()),
            Err(errno) => match op::wait_failed(errno) {
                Verdict::Retry => Ok(()),
                _ => Err(io::Error::from(errno)),
            },
        }
    }

    fn must_enter(&mut self) -> bool {
        let queue = self.ring.uring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    fn reap(&mut self, out: &mut Vec<Completion>) {
        let mut reaped = mem::take(&mut self.reaped);
        reaped.extend(self.ring.uring.completion().take(REAP_MAX));
        for cqe in reaped.drain(..) {
            self.file(&cqe, out);
        }
        self.reaped = reaped;
        if mem::take(&mut self.woken) {
            out.push(Completion::Woken);
        }
    }

    #[inline]
    fn file(&mut self, cqe: &cqueue::Entry, out: &mut Vec<Completion>) {
        let Key { kind, token } = Key::unpack(cqe.user_data());
        match kind {
            Op::Recv => self.on_recv(token, cqe, out),
            Op::Send => self.on_send(token, cqe, out),
            Op::Accept => self.on_accept(token, cqe, out),
            Op::Wake => self.on_wake(cqe),
            Op::Cancel => {} // Too late to cancel: what it was meant for has completed, or is about to.
        }
    }
}

/// Receiving.
impl Uring {
    fn arm_recv(&mut self, token: Token) {
        let conn = self.conns.get_mut(token).expect("arming an unknown connection");
        debug_assert!(conn.recv == Recv::Idle);
        conn.recv = Recv::Armed;
        let entry = opcode::RecvMulti::new(types::Fd(conn.socket.as_raw_fd()), bufring::GROUP).build();
        self.in_flight += 1;
        self.push(entry, Key { kind: Op::Recv, token });
    }

    fn on_recv(&mut self, token: Token, cqe: &cqueue::Entry, out: &mut Vec<Completion>) {
        let (result, flags) = (cqe.result(), cqe.flags());
        let (more, buffer) = (cqueue::more(flags), cqueue::buffer_select(flags));
        if !more {
            self.in_flight -= 1;
        }
        let Some(conn) = self.conns.get_mut(token) else {
            buffer.into_iter().for_each(|buffer| self.bufs.discard(buffer));
            return self.recv_of_dying(token, more);
        };
        if !more {
            conn.recv = Recv::Idle;
        }
        match result {
            1.. => {
                let buffer = buffer.expect("bytes without a buffer");
                let filled = self.bufs.lend(buffer, result as usize);
                out.push(Completion::Received { token, filled });
            }
            _ => {
                buffer.into_iter().for_each(|buffer| self.bufs.discard(buffer));
                let failed = if result < 0 { Some(Errno::from_raw(-result)) } else { None };
                if let Some(end) = self.end_of(token, failed) {
                    out.push(Completion::Closed { token, end });
                }
            }
        }
        self.rearm(token);
    }

    /// A receive ended, with an error or at the end of the stream: is that the end of the connection?
    fn end_of(&mut self, token: Token, failed: Option<Errno>) -> Option<End> {
        let conn = self.conns.get_mut(token)?;
        let end = match failed {
            None => End::Eof,
            Some(errno) => match op::recv_failed(errno) {
                Verdict::Retry | Verdict::Cancelled => return None,
                Verdict::BackOff => {
                    conn.recv = Recv::Starved;
                    self.starved.push_back(token);
                    self.counters.starved += 1;
                    self.bufs.ran_dry();
                    return None;
                }
                Verdict::Close | Verdict::Stop => End::Failed(errno),
            },
        };
        conn.ended = true;
        Some(end)
    }

    fn rearm(&mut self, token: Token) {
        if self.conns.get(token).is_some_and(Conn::wants_input) {
            self.counters.rearmed += 1;
            self.arm_recv(token);
        }
    }

    fn recv_of_dying(&mut self, token: Token, more: bool) {
        if more {
            // Bytes from before the cancellation. Should it have come too early to find its target, it does so now.
            return self.cancel(Key { kind: Op::Recv, token });
        }
        let conn = self.dying.get_mut(&token).expect("a receive of nobody");
        conn.recv = Recv::Idle;
        self.bury(token);
    }

    /// Drops a closed connection once nothing of it is in flight. This closes its socket.
    fn bury(&mut self, token: Token) {
        if self.dying.get(&token).is_some_and(|conn| !conn.is_in_flight()) {
            self.dying.remove(&token);
        }
    }
}

/// Sending.
impl Uring {
    /// Submits what is left of a connection's message.
    fn submit_send(&mut self, token: Token) {
        let conn = self.conns.get_mut(token).expect("sending to an unknown connection");
        let socket = types::Fd(conn.socket.as_raw_fd());
        let sending = conn.sending.as_mut().expect("nothing to send");
        let entry = match sending.outgoing.one_piece() {
            Some(piece) => {
                let len = piece.len().min(SEND_LEN_MAX) as u32;
                opcode::Send::new(socket, piece.as_ptr(), len).flags(SEND_FLAGS).build()
            }
            None => {
                let header = Scatter::fill(&mut sending.scatter, &sending.outgoing);
                opcode::SendMsg::new(socket, header).flags(SEND_FLAGS as u32).build()
            }
        };
        self.in_flight += 1;
        self.push(entry, Key { kind: Op::Send, token });
    }

    fn on_send(&mut self, token: Token, cqe: &cqueue::Entry, out: &mut Vec<Completion>) {
        self.in_flight -= 1;
        let Some(conn) = self.conns.get_mut(token) else {
            let conn = self.dying.get_mut(&token).expect("a send of nobody");
            conn.sending = None;
            return self.bury(token);
        };
        let sending = conn.sending.as_mut().expect("a completion without a send");
        let failed = match cqe.result() {
            0 => Some(Errno::EPIPE), // A stream socket never takes nothing of something.
            taken @ 1.. => {
                sending.outgoing.advance(taken as usize);
                None
            }
            negative => Some(Errno::from_raw(-negative)),
        };
        let result = match failed {
            Some(errno) if op::send_failed(errno) != Verdict::Retry => Err(errno),
            None if sending.outgoing.is_done() => Ok(sending.outgoing.len()),
            _ => {
                self.counters.short_sends += 1;
                return self.submit_send(token);
            }
        };
        let message = conn.sending.take().expect("checked above").outgoing.finish();
        out.push(Completion::Sent { token, result, message });
    }
}

impl Scatter {
    /// Describes what is left of a message, as far as one call takes it.
    fn fill(scatter: &mut Option<Box<Scatter>>, outgoing: &Outgoing) -> *const libc::msghdr {
        let scatter = scatter.get_or_insert_with(|| {
            // SAFETY: msghdr is plain data for which all zeroes mean "none of it".
            let header = unsafe { mem::zeroed() };
            Box::new(Scatter { header, pieces: Vec::new() })
        });
        scatter.pieces.clear();
        let pieces = outgoing.pieces().take(PIECES_MAX);
        let as_iovec = |piece: &[u8]| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
        scatter.pieces.extend(pieces.map(as_iovec));
        scatter.header.msg_iov = scatter.pieces.as_mut_ptr();
        scatter.header.msg_iovlen = scatter.pieces.len();
        &raw const scatter.header
    }
}

/// Accepting and waking.
impl Uring {
    fn arm_accept(&mut self, token: Token) {
        let entry = self.listeners.get_mut(token).expect("arming an unknown listener");
        entry.state.0 = true;
        let socket = types::Fd(entry.socket.as_raw_fd());
        self.push(opcode::AcceptMulti::new(socket).flags(libc::SOCK_CLOEXEC).build(), Key { kind: Op::Accept, token });
    }

    fn on_accept(&mut self, token: Token, cqe: &cqueue::Entry, out: &mut Vec<Completion>) {
        let (result, more) = (cqe.result(), cqueue::more(cqe.flags()));
        // SAFETY: a successful accept made this descriptor and gives it to us alone.
        let accepted = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let Some(entry) = self.listeners.get_mut(token) else {
            if !more {
                self.dying_listeners.remove(&token);
            }
            return; // Stopped meanwhile: a connection that still came is dropped.
        };
        entry.state.0 = more;
        let listener = token.slot as u16;
        if let Some(socket) = accepted {
            out.push(Completion::Accepted { listener, result: Ok(socket) });
        } else {
            let errno = Errno::from_raw(-result);
            match op::accept_failed(errno) {
                Verdict::Retry | Verdict::Cancelled | Verdict::Close => {}
                Verdict::BackOff => {
                    self.listeners.pause();
                    out.push(Completion::Accepted { listener, result: Err(errno.into()) });
                    return;
                }
                Verdict::Stop => {
                    self.listeners.remove(listener);
                    out.push(Completion::Accepted { listener, result: Err(errno.into()) });
                    return;
                }
            }
        }
        if !more {
            self.arm_accept(token);
        }
    }

    /// Polls the eventfd for ever. Each write to it makes a completion; its counter is never read, because a multishot
    /// poll reports every new write, and one that starts on a counter above zero reports that too: nothing is lost.
    fn arm_wake(&mut self) {
        let event = types::Fd(self.waker.event.as_raw_fd());
        let entry = opcode::PollAdd::new(event, libc::POLLIN as u32).multi(true).build();
        self.push(entry, Key { kind: Op::Wake, token: Token { slot: 0, generation: 0 } });
    }

    fn on_wake(&mut self, cqe: &cqueue::Entry) {
        if !cqueue::more(cqe.flags()) {
            self.arm_wake();
        }
        self.woken = true;
    }
}

/// Submissions.
impl Uring {
    /// Cancels an operation. Its own completion still comes, with ECANCELED or with what it achieved.
    fn cancel(&mut self, target: Key) {
        let entry = opcode::AsyncCancel::new(target.pack()).build().flags(squeue::Flags::SKIP_SUCCESS);
        self.push(entry, Key { kind: Op::Cancel, token: target.token });
    }

    /// Queues a submission. What it points to (a message, its description, a buffer) is owned by the engine and neither
    /// moves nor goes before its completion is reaped: that is what makes the `unsafe` below sound.
    fn push(&mut self, entry: squeue::Entry, key: Key) {
        let entry = entry.user_data(key.pack());
        if !self.backlog.is_empty() || !push_entry(&mut self.ring, &entry) {
            self.backlog.push_back(entry); // In order: a cancel must not overtake its target.
        }
    }

    /// Moves waiting submissions into the queue, as many as fit, entering the kernel to make room.
    fn drain_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            if push_entry(&mut self.ring, entry) {
                self.backlog.pop_front();
                continue;
            }
            self.counters.enters += 1;
            match self.ring.enter(0, None) {
                Ok(1..) => {}
                _ => return, // The kernel takes nothing at present; `wait` reports what it has and comes back.
            }
        }
    }
}

fn push_entry(ring: &mut Ring, entry: &squeue::Entry) -> bool {
    // SAFETY: what the entry points to stays valid until its completion; see `Uring::push`.
    unsafe { ring.uring.submission().push(entry) }.is_ok()
}

impl Drop for Uring {
    /// Takes back what the kernel may still read or write, and the listening sockets, whose ports are free when this
    /// returns. If it does not let go in time, that memory is leaked.
    fn drop(&mut self) {
        self.conns.tokens().into_iter().for_each(|token| self.close(token));
        self.listeners.tokens().into_iter().for_each(|token| self.stop_listening(token.slot as u16));
        let (deadline, mut ignored) = (Instant::now() + DROP_WAIT, Vec::new());
        while (self.in_flight > 0 || !self.dying_listeners.is_empty()) && Instant::now() < deadline {
            if self.wait(Some(Duration::from_millis(10)), &mut ignored).is_err() {
                break;
            }
        }
        if self.in_flight > 0 {
            mem::forget(mem::take(&mut self.dying));
            self.bufs.leak();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::setup::Rung;
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn every_rung_of_the_ladder_carries_the_engine() {
        for rung in [Rung::Full, Rung::WithSqArray, Rung::Coop] {
            let mut engine = Uring::on(Ring::on_rung(rung, (64, 256)).unwrap(), &Sizes::default()).unwrap();
            let (mut peer, ours) = UnixStream::pair().unwrap();
            let token = Token { slot: 0, generation: 0 };
            engine.open(token, ours.into());
            let mut out = Vec::new();
            for _ in 0..100 {
                peer.write_all(b"PING").unwrap();
                let deadline = Instant::now() + Duration::from_secs(20);
                let sent = loop {
                    engine.wait(Some(Duration::from_millis(100)), &mut out).unwrap();
                    let Some(completion) = out.pop() else {
                        assert!(Instant::now() < deadline, "{rung:?} lost something");
                        continue;
                    };
                    match completion {
                        Completion::Received { filled, .. } => {
                            engine.give_back(filled);
                            engine.send(token, b"PONG".to_vec().into());
                        }
                        Completion::Sent { result, .. } => break result,
                        other => panic!("{other:?}"),
                    }
                };
                assert_eq!(sent, Ok(4));
                peer.read_exact(&mut [0; 4]).unwrap();
            }
        }
    }
}
