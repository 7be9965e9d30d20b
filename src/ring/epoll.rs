//! The portable engine: epoll and plain system calls, behaving as the ring does.
//!
//! ```text
//! wait:  send what was handed over (one send per message, as far as the socket takes it)
//!        epoll_wait: sleeps only if nothing is done and nothing is readable
//!        note what became readable or writable; accept; send on
//!        receive ONE buffer from each connection on the ready list, then one more from those that filled theirs, up to
//!        ROUNDS times and REAP_MAX completions
//! ```
//!
//! Edge-triggered, each socket registered once for everything: 5 % cheaper than level-triggered, and no epoll_ctl on the
//! data path (kernel-notes/04). An edge is reported once, so the engine remembers it:
//!
//! - A connection stays on the `ready` list until a receive fills less than its buffer ("a short read means drained"; a
//!   later byte makes a new edge), or, when the peer has hung up, until the end of stream was read.
//! - The list is a queue and each connection gets one buffer per round: nobody starves, also when buffers run out. Several
//!   rounds, because a pipeline of large values would otherwise be cut into a turn, and a send, per buffer.
//! - After a short send the socket is tried until EAGAIN, which is what arms the next EPOLLOUT edge.
//!
//! Sockets need not be non-blocking: every call says MSG_DONTWAIT. No unsafe code but for taking over accepted sockets.
//! Source: epoll(7) "Questions and answers", tcp(7); kernel-notes/04.

use super::bufs::Pool;
use super::listeners::Listeners;
use super::op::{self, Key, Kind as Op, Verdict};
use super::outgoing::Outgoing;
use super::slots::Slots;
use super::{Completion, Counters, End, Engine, Errno, Filled, Kind, Message, REAP_MAX, Sizes, Token, Waker};
use nix::sys::epoll::{Epoll as EpollSet, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, recv, send};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 1024;
/// Pieces one sendmsg(2) takes. Source: UIO_MAXIOV.
const PIECES_MAX: usize = 1024;
/// Receives of one connection and turn: with 16 KiB buffers a pipeline of sixteen 4 KiB values comes in one turn.
const ROUNDS: usize = 5;
/// Connections accepted per listener and turn; the rest waits for the next turn.
const ACCEPTS_MAX: usize = 64;

/// An engine on epoll.
pub struct Epoll {
    set: EpollSet,
    events: Vec<EpollEvent>,
    pool: Pool,
    free: Vec<u16>,
    conns: Slots<Conn>,
    listeners: Listeners<Pending>,
    /// Connections that may have bytes for us, in order.
    ready: VecDeque<Token>,
    /// Listeners that may have connections waiting.
    pending: VecDeque<Token>,
    /// Connections that were given a message since the last `wait`.
    handed_over: Vec<Token>,
    waker: Waker,
    counters: Counters,
}

struct Conn {
    socket: OwnedFd,
    /// An edge was seen and not yet used up.
    is_readable: bool,
    /// The peer hung up: read until the end of the stream, there will be no further edge.
    is_hung_up: bool,
    is_on_ready: bool,
    paused: bool,
    ended: bool,
    sending: Option<Outgoing>,
}

/// Is the listener on the `pending` list?
#[derive(Default)]
struct Pending(bool);

impl Conn {
    fn wants_input(&self) -> bool {
        self.is_readable && !self.paused && !self.ended && !self.is_on_ready
    }
}

impl Engine for Epoll {
    const KIND: Kind = Kind::Epoll;

    fn new(sizes: &Sizes) -> io::Result<Self> {
        let set = EpollSet::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let waker = Waker::new()?;
        let key = Key { kind: Op::Wake, token: Token { slot: 0, generation: 0 } };
        // Edge-triggered, so the counter is never read: each write is a new edge.
        set.add(&waker.event, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, key.pack()))?;
        Ok(Epoll {
            set,
            events: vec![EpollEvent::empty(); EVENTS_MAX],
            pool: Pool::new(sizes.buffer_count, sizes.buffer_len)?,
            free: (0..sizes.buffer_count).rev().collect(), // A stack: the buffer used last is the one in the cache.
            conns: Slots::new(),
            listeners: Listeners::new(),
            ready: VecDeque::new(),
            pending: VecDeque::new(),
            handed_over: Vec::new(),
            waker,
            counters: Counters::default(),
        })
    }

    fn listen(&mut self, listener: u16, socket: OwnedFd) {
        let token = self.listeners.add(listener, socket);
        self.queue_pending(token); // Connections may wait already.
        let entry = self.listeners.get_mut(token).expect("added above");
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, Key { kind: Op::Accept, token }.pack());
        let non_blocking = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&entry.socket, non_blocking).expect("a listener takes O_NONBLOCK");
        self.set.add(&entry.socket, event).expect("a listener can be polled");
    }

    fn stop_listening(&mut self, listener: u16) {
        if let Some((_, entry)) = self.listeners.stop(listener) {
            let _ = self.set.delete(&entry.socket); // Others may hold the same socket, which keeps it in the set.
        }
    }

    fn open(&mut self, token: Token, socket: OwnedFd) {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let added = self.set.add(&socket, EpollEvent::new(flags, Key { kind: Op::Recv, token }.pack()));
        let is_readable = added.is_err(); // ENOMEM, ENOSPC: there will be no edge, so the first receive must end it.
        let conn = Conn {
            socket,
            is_readable,
            is_hung_up: is_readable,
            is_on_ready: false,
            paused: false,
            ended: false,
            sending: None,
        };
        self.conns.insert(token, conn);
        self.queue_if_ready(token);
    }

    fn close(&mut self, token: Token) {
        // Dropping the socket closes it and takes it out of the set. Edges already in `ready` find no connection.
        let conn = self.conns.remove(token).expect("close of an unknown connection");
        let _ = self.set.delete(&conn.socket); // In case the descriptor was duplicated.
    }

    fn socket(&self, token: Token) -> BorrowedFd<'_> {
        self.conns.get(token).expect("socket of an unknown connection").socket.as_fd()
    }

    fn pause_recv(&mut self, token: Token) {
        self.conns.get_mut(token).expect("pause of an unknown connection").paused = true;
    }

    fn resume_recv(&mut self, token: Token) {
        self.conns.get_mut(token).expect("resume of an unknown connection").paused = false;
        self.queue_if_ready(token);
    }

    fn send(&mut self, token: Token, message: Message) {
        let conn = self.conns.get_mut(token).expect("send to an unknown connection");
        assert!(conn.sending.is_none(), "one message at a time");
        conn.sending = Some(Outgoing::new(message));
        self.handed_over.push(token);
    }

    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        let from = out.len();
        self.send_handed_over(out);
        self.listeners.pause_is_over(); // If so, those that were pending before still are.
        let has_work = out.len() > from || self.can_receive() || self.can_accept();
        let count = self.poll(if has_work { Some(Duration::ZERO) } else { timeout })?;
        for index in 0..count {
            let event = self.events[index];
            self.note(event, out);
        }
        self.accept_pending(out);
        self.receive_ready(from, out);
        Ok(())
    }

    #[inline]
    fn bytes(&self, filled: &Filled) -> &[u8] {
        self.pool.bytes(filled)
    }

    #[inline]
    fn give_back(&mut self, filled: Filled) {
        self.free.push(self.pool.take_back(filled));
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// Waiting.
impl Epoll {
    fn can_receive(&self) -> bool {
        !self.ready.is_empty() && !self.free.is_empty()
    }

    /// Returns how many of `self.events` the kernel filled.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = self.listeners.limit(timeout);
        self.counters.enters += 1;
        match self.set.wait(&mut self.events, in_millis(timeout)) {
            Ok(count) => Ok(count),
            Err(errno) if op::wait_failed(errno) == Verdict::Retry => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Notes one event; only a blocked message is acted on at once, which frees memory.
    fn note(&mut self, event: EpollEvent, out: &mut Vec<Completion>) {
        let Key { kind, token } = Key::unpack(event.data());
        match kind {
            Op::Wake => out.push(Completion::Woken),
            Op::Accept => self.queue_pending(token),
            Op::Recv | Op::Send | Op::Cancel => self.note_conn(token, event.events(), out),
        }
    }

    fn note_conn(&mut self, token: Token, events: EpollFlags, out: &mut Vec<Completion>) {
        let Some(conn) = self.conns.get_mut(token) else { return }; // An edge of an earlier generation.
        let hang_up = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        conn.is_hung_up |= events.intersects(hang_up);
        conn.is_readable |= events.intersects(hang_up | EpollFlags::EPOLLIN);
        let is_blocked = conn.sending.is_some();
        self.queue_if_ready(token);
        if is_blocked && events.intersects(hang_up | EpollFlags::EPOLLOUT) {
            self.send_on(token, out);
        }
    }
}

/// epoll counts in milliseconds. Rounded up: rounding down would wake early, again and again.
fn in_millis(timeout: Option<Duration>) -> EpollTimeout {
    match timeout {
        None => EpollTimeout::NONE,
        Some(timeout) => {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).expect("not negative")
        }
    }
}

/// Receiving.
impl Epoll {
    fn queue_if_ready(&mut self, token: Token) {
        if let Some(conn) = self.conns.get_mut(token)
            && conn.wants_input()
        {
            conn.is_on_ready = true;
            self.ready.push_back(token);
        }
    }

    /// Some rounds over the connections that are ready, as far as buffers and REAP_MAX go.
    fn receive_ready(&mut self, from: usize, out: &mut Vec<Completion>) {
        for _ in 0..ROUNDS {
            if self.ready.is_empty() || !self.receive_round(from, out) {
                return;
            }
        }
    }

    /// One buffer for each connection that was ready when the round began. False: no more in this turn.
    fn receive_round(&mut self, from: usize, out: &mut Vec<Completion>) -> bool {
        for _ in 0..self.ready.len() {
            if out.len() - from >= REAP_MAX {
                return false;
            }
            let Some(buffer) = self.free.pop() else {
                self.counters.starved += 1;
                return false; // They keep their places for when buffers are back.
            };
            let token = self.ready.pop_front().expect("counted above");
            match self.receive(token, buffer) {
                Some(completion @ Completion::Received { .. }) => out.push(completion),
                other => {
                    self.free.push(buffer);
                    out.extend(other);
                }
            }
        }
        true
    }

    fn receive(&mut self, token: Token, buffer: u16) -> Option<Completion> {
        let conn = self.conns.get_mut(token)?;
        conn.is_on_ready = false;
        if !conn.wants_input() {
            return None; // Paused since it was queued; `resume_recv` queues it again.
        }
        let room = self.pool.free_mut(buffer);
        let end = match recv(conn.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
            Ok(0) => End::Eof,
            Ok(len) => {
                conn.is_readable = len == room.len() || conn.is_hung_up;
                self.queue_if_ready(token);
                return Some(Completion::Received { token, filled: self.pool.lend(buffer, len) });
            }
            Err(errno) => match op::recv_failed(errno) {
                Verdict::Retry | Verdict::BackOff | Verdict::Cancelled => {
                    conn.is_readable = errno != Errno::EAGAIN;
                    self.queue_if_ready(token);
                    return None;
                }
                Verdict::Close | Verdict::Stop => End::Failed(errno),
            },
        };
        conn.ended = true;
        Some(Completion::Closed { token, end })
    }
}

/// Sending.
impl Epoll {
    fn send_handed_over(&mut self, out: &mut Vec<Completion>) {
        let mut handed_over = mem::take(&mut self.handed_over);
        for token in handed_over.drain(..) {
            self.send_on(token, out);
        }
        self.handed_over = handed_over;
    }

    /// Sends until the message is out, the socket is full, or an error.
    fn send_on(&mut self, token: Token, out: &mut Vec<Completion>) {
        let Some(conn) = self.conns.get_mut(token) else { return }; // Closed since it was handed over.
        let Some(outgoing) = conn.sending.as_mut() else { return };
        let result = loop {
            match send_once(&conn.socket, outgoing) {
                Ok(0) => break Err(Errno::EPIPE), // A stream socket never takes nothing of something.
                Ok(count) => outgoing.advance(count),
                Err(Errno::EINTR) => continue,
                Err(errno) if op::send_failed(errno) == Verdict::Retry => {
                    self.counters.short_sends += 1;
                    return; // EAGAIN: the next EPOLLOUT edge goes on.
                }
                Err(errno) => break Err(errno),
            }
            if outgoing.is_done() {
                break Ok(outgoing.len());
            }
        };
        let message = conn.sending.take().expect("checked above").finish();
        out.push(Completion::Sent { token, result, message });
    }
}

fn send_once(socket: &OwnedFd, outgoing: &Outgoing) -> Result<usize, Errno> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    match outgoing.one_piece() {
        Some(piece) => send(socket.as_raw_fd(), piece, flags),
        None => {
            let pieces: Vec<IoSlice<'_>> = outgoing.pieces().take(PIECES_MAX).map(IoSlice::new).collect();
            send_pieces(socket, &pieces, flags)
        }
    }
}

fn send_pieces(socket: &OwnedFd, pieces: &[IoSlice<'_>], flags: MsgFlags) -> Result<usize, Errno> {
    // SAFETY: msghdr is plain data for which all zeroes mean "none of it".
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = pieces.as_ptr().cast_mut().cast(); // IoSlice is an iovec, the standard guarantees.
    header.msg_iovlen = pieces.len();
    // SAFETY: the header describes live slices, which sendmsg only reads, during the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags.bits()) };
    Errno::result(sent).map(|sent| sent as usize)
}

/// Accepting.
impl Epoll {
    fn can_accept(&self) -> bool {
        !self.pending.is_empty() && !self.listeners.is_paused()
    }

    /// Connections may wait at a listener.
    fn queue_pending(&mut self, token: Token) {
        if let Some(entry) = self.listeners.get_mut(token)
            && !mem::replace(&mut entry.state.0, true)
        {
            self.pending.push_back(token);
        }
    }

    /// Some connections from each listener that has any.
    fn accept_pending(&mut self, out: &mut Vec<Completion>) {
        for _ in 0..self.pending.len() {
            if self.listeners.is_paused() {
                return;
            }
            let token = self.pending.pop_front().expect("counted above");
            if let Some(entry) = self.listeners.get_mut(token) {
                entry.state.0 = false;
            }
            if (0..ACCEPTS_MAX).all(|_| self.accept_one(token, out)) || self.listeners.is_paused() {
                self.queue_pending(token);
            }
        }
    }

    /// Returns whether there may be more.
    fn accept_one(&mut self, token: Token, out: &mut Vec<Completion>) -> bool {
        let Some(entry) = self.listeners.get_mut(token) else { return false };
        let listener = token.slot as u16;
        let errno = match accept4(entry.socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: accept4 made this descriptor and gives it to us alone.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                out.push(Completion::Accepted { listener, result: Ok(socket) });
                return true;
            }
            Err(errno) => errno,
        };
        match op::accept_failed(errno) {
            // EAGAIN: the queue is empty; a new connection makes an edge.
            Verdict::Retry | Verdict::Cancelled | Verdict::Close => return errno != Errno::EAGAIN,
            Verdict::BackOff => self.listeners.pause(),
            Verdict::Stop => drop(self.listeners.remove(listener)),
        }
        out.push(Completion::Accepted { listener, result: Err(errno.into()) });
        false
    }
}
