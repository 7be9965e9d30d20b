//! The server's half on a ring: counts bytes, sends fixed replies. Nothing here is fast by being clever; what differs between
//! two runs is only what the variant says.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed, Ordering::Release};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, Fd, Fixed, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::sys::{Enter, pages};
use super::variant::{Mode, OnRing, Recv, Send, Shape};

/// Kinds of operations, in the upper half of the user data.
const RECV: u64 = 0;
const SEND: u64 = 1 << 32;
/// Bytes that one send takes from the prepared replies.
pub const REPLIES_LEN: usize = 1 << 20;
const IOU_PBUF_RING_INC: u16 = 2;
/// How often the server looks whether it shall end.
const TICK: Duration = Duration::from_millis(20);

/// What happened beside the traffic.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub enters: u64,
    pub no_buffer: u64,
    pub rearmed: u64,
    pub short_sends: u64,
}

struct Conn {
    socket: OwnedFd,
    /// Bytes of an incomplete batch of requests.
    partial: usize,
    /// Bytes of replies that are due.
    due: usize,
    is_sending: bool,
    is_dirty: bool,
    own: *mut u8,
}

/// A running server.
pub struct Server {
    ring: IoUring,
    enter: Enter,
    how: OnRing,
    shape: Shape,
    conns: Vec<Conn>,
    bufs: BufRing,
    replies: *const u8,
    dirty: Vec<usize>,
    starved: Vec<usize>,
    pub counts: Counts,
}

/// A ring for `how`.
///
/// **Errors**: the kernel does not know what is asked for.
pub fn make(how: &OnRing, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(entries * 8).setup_clamp();
    match how.mode {
        Mode::Interrupt => &mut builder,
        Mode::Coop => builder.setup_coop_taskrun().setup_single_issuer(),
        Mode::Defer => builder.setup_defer_taskrun().setup_single_issuer(),
        Mode::SqPoll(None) => builder.setup_sqpoll(1000),
        Mode::SqPoll(Some(core)) => builder.setup_sqpoll(1000).setup_sqpoll_cpu(core),
    };
    if how.no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(entries)
}

impl Server {
    /// A server for connected `sockets`.
    pub fn new(how: OnRing, shape: Shape, sockets: Vec<OwnedFd>) -> io::Result<Server> {
        let ring = make(&how, 1024)?;
        let bufs = BufRing::register(&ring, how.buffers, how.recv == Recv::Incremental)?;
        if how.registered_files {
            let fds: Vec<i32> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
            ring.submitter().register_files(&fds)?;
        }
        let own = |_: &OwnedFd| if matches!(how.recv, Recv::Own(_)) { pages(16 << 10) } else { std::ptr::null_mut() };
        let conn = |socket: OwnedFd| Conn {
            own: own(&socket),
            socket,
            partial: 0,
            due: 0,
            is_sending: false,
            is_dirty: false,
        };
        let enter = Enter::new(&ring, how.registered_ring, how.min_wait);
        let conns = sockets.into_iter().map(conn).collect();
        let replies = pages(REPLIES_LEN);
        let (dirty, starved) = (Vec::new(), Vec::new());
        let counts = Counts::default();
        Ok(Server { ring, enter, how, shape, conns, bufs, replies, dirty, starved, counts })
    }

    /// Serves until `stop`.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<Counts> {
        (0..self.conns.len()).for_each(|at| self.arm(at));
        while !stop.load(Relaxed) {
            self.wait()?;
            self.reap();
            self.bufs.publish();
            for at in std::mem::take(&mut self.starved) {
                self.arm(at);
            }
            self.flush();
        }
        Ok(self.counts)
    }

    fn wait(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while self.how.spin_us > 0 && (began.elapsed().as_micros() as u64) < self.how.spin_us {
            self.enter.enter(&mut self.ring, 0, None)?;
            if !self.ring.completion().is_empty() {
                return Ok(());
            }
        }
        self.counts.enters += 1;
        self.enter.enter(&mut self.ring, 1, Some(Timespec::from(TICK)))
    }

    fn reap(&mut self) {
        let done: Vec<cqueue::Entry> = self.ring.completion().collect();
        for cqe in done {
            let at = cqe.user_data() as u32 as usize;
            if cqe.user_data() & SEND == 0 {
                self.on_recv(at, &cqe);
            } else if !cqueue::notif(cqe.flags()) {
                self.counts.short_sends += (cqe.result() < 0) as u64;
                self.conns[at].is_sending = false;
                self.mark(at);
            }
        }
    }

    fn on_recv(&mut self, at: usize, cqe: &cqueue::Entry) {
        if let Some(first) = cqueue::buffer_select(cqe.flags())
            && !cqueue::buffer_more(cqe.flags())
        {
            self.bufs.take_back(first, cqe.result().max(0) as usize, self.how.recv == Recv::Bundle);
        }
        if cqe.result() > 0 {
            let conn = &mut self.conns[at];
            conn.partial += cqe.result() as usize;
            conn.due += conn.partial / self.shape.request_len * self.shape.reply_len;
            conn.partial %= self.shape.request_len;
            self.mark(at);
        }
        let is_over = cqe.result() == 0 || cqe.result() < 0 && cqe.result() != -libc::ENOBUFS;
        if cqueue::more(cqe.flags()) || is_over {
            return;
        }
        self.counts.rearmed += matches!(self.how.recv, Recv::Multishot | Recv::Bundle | Recv::Incremental) as u64;
        if cqe.result() == -libc::ENOBUFS {
            self.counts.no_buffer += 1;
            self.starved.push(at); // Armed again when this turn's buffers are back.
        } else {
            self.arm(at);
        }
    }

    fn mark(&mut self, at: usize) {
        if !std::mem::replace(&mut self.conns[at].is_dirty, true) {
            self.dirty.push(at);
        }
    }

    fn arm(&mut self, at: usize) {
        let fd = self.conns[at].socket.as_raw_fd();
        let entry = match (self.how.recv, self.how.registered_files) {
            (Recv::Multishot | Recv::Incremental, false) => opcode::RecvMulti::new(Fd(fd), 0).build(),
            (Recv::Multishot | Recv::Incremental, true) => opcode::RecvMulti::new(Fixed(at as u32), 0).build(),
            (Recv::Bundle, _) => opcode::RecvMultiBundle::new(Fd(fd), 0).build(),
            (Recv::OneShot, _) => opcode::Recv::new(Fd(fd), std::ptr::null_mut(), 0)
                .buf_group(0)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            (Recv::Own(poll_first), _) => {
                let flags = if poll_first { 1 } else { 0 }; // IORING_RECVSEND_POLL_FIRST
                opcode::Recv::new(Fd(fd), self.conns[at].own, 16 << 10).ioprio(flags).build()
            }
        };
        self.push(entry.user_data(RECV | at as u64));
    }

    fn flush(&mut self) {
        for at in std::mem::take(&mut self.dirty) {
            let conn = &mut self.conns[at];
            conn.is_dirty = false;
            if conn.is_sending || conn.due == 0 {
                continue;
            }
            let len = conn.due.min(REPLIES_LEN);
            conn.due -= len;
            self.send(at, len as u32);
        }
    }

    fn send(&mut self, at: usize, len: u32) {
        let fd = self.conns[at].socket.as_raw_fd();
        let (replies, all) = (self.replies, libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        self.conns[at].is_sending = !matches!(self.how.send, Send::Skip | Send::Call);
        let entry = match (self.how.send, self.how.registered_files) {
            (Send::WaitAll, false) => opcode::Send::new(Fd(fd), replies, len).flags(all).build(),
            (Send::WaitAll, true) => opcode::Send::new(Fixed(at as u32), replies, len).flags(all).build(),
            (Send::Skip, _) => opcode::Send::new(Fd(fd), replies, len)
                .flags(all | libc::MSG_DONTWAIT)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS),
            (Send::ZeroCopy, _) => opcode::SendZc::new(Fd(fd), replies, len).flags(all).build(),
            (Send::Call, _) => {
                // SAFETY: `replies` holds REPLIES_LEN bytes for ever, and `len` is not more.
                let sent = unsafe { libc::send(fd, replies.cast(), len as usize, libc::MSG_NOSIGNAL) };
                self.counts.short_sends += (sent != len as isize) as u64;
                return;
            }
        };
        self.push(entry.user_data(SEND | at as u64));
    }

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: what entries point to (replies, buffers, the connections' own) lives as long as the process.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.counts.enters += 1;
            if self.enter.enter(&mut self.ring, 0, None).is_err() {
                return;
            }
        }
    }
}

/// A ring of provided buffers.
struct BufRing {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    count: u16,
    len: u32,
    tail: u16,
    /// Buffers in the kernel's order, for bundles.
    order: VecDeque<u16>,
}

impl BufRing {
    fn register(ring: &IoUring, (count, len): (u16, u32), incremental: bool) -> io::Result<BufRing> {
        let entries = pages(usize::from(count) * 16);
        let flags = if incremental { IOU_PBUF_RING_INC } else { 0 };
        // SAFETY: page-aligned, zeroed, `count` entries long, and never freed.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries as u64, count, 0, flags)? };
        let memory = pages(usize::from(count) * len as usize);
        let mut ring = BufRing { entries: entries.cast(), memory, count, len, tail: 0, order: VecDeque::new() };
        (0..count).for_each(|buffer| ring.give(buffer));
        ring.publish();
        Ok(ring)
    }
    /// A receive of `filled` bytes that began in buffer `first` is used up.
    fn take_back(&mut self, first: u16, filled: usize, is_bundle: bool) {
        let count = if is_bundle { filled.div_ceil(self.len as usize).max(1) } else { 1 };
        for step in 0..count {
            let buffer = if is_bundle { self.order.pop_front() } else { Some(first) };
            debug_assert!(!is_bundle || step > 0 || buffer == Some(first), "bundles are taken in order");
            buffer.into_iter().for_each(|buffer| self.give(buffer));
        }
    }
    fn give(&mut self, buffer: u16) {
        // SAFETY: the index is below the number of entries.
        let entry = unsafe { self.entries.add(usize::from(self.tail & (self.count - 1))) };
        // SAFETY: the entry lies behind the published tail: the kernel does not read it yet.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.memory as u64 + u64::from(buffer) * u64::from(self.len));
        entry.set_len(self.len);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        if self.order.len() >= usize::from(self.count) {
            self.order.pop_front();
        }
        self.order.push_back(buffer);
    }
    fn publish(&mut self) {
        // SAFETY: `entries` is the start of a registered ring.
        let tail = unsafe { BufRingEntry::tail(self.entries) };
        // SAFETY: aligned, inside the pages, written by this thread only.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Release); // Pairs with the kernel's load: it sees the entries first.
    }
}
