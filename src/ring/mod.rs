//! The contract between an event loop and the kernel, and the two engines that keep it.
//!
//! ```text
//! loop:    wait(timeout, &mut out)        submit what was asked for, sleep if there is nothing to do, reap
//!          for each completion in out     FILE it: bytes to the client's input, send progress, new sockets, mail
//!          parse, run                     in place, out of `bytes(&filled)`
//!          give_back(filled) …            every buffer returns to the pool before the next wait
//!          send(token, message) …         one message per client that has output
//! ```
//!
//! An engine runs nothing of ours: `wait` appends plain values and returns. Nothing else enters the kernel for data:
//! `open`, `send`, `pause_recv` and `close` only note what the next `wait` submits, so that an epoch pin dropped before
//! `wait` is never held in the kernel.
//!
//! Rules that both engines keep (the test kit in `kit.rs` is stamped on both):
//!
//! - A connection is a `Token`, chosen by the loop. A slot may be opened again right after `close`, with another
//!   generation; nothing of the old generation is reported after its `close`.
//! - Bytes of a connection arrive in order; `Closed` comes after the last of them, once. `Sent` may still follow it.
//! - One message at most is in flight per connection. The engine OWNS it until `Sent` hands it back, also when the
//!   connection is closed meanwhile: whatever the kernel may still read stays alive, and no caller has to remember that.
//! - After `pause_recv` a few `Received` that were already under way may still arrive.
//! - One `wait` reports at most `REAP_MAX` completions; the rest is kept for the next, which then does not sleep.
//!
//! An engine belongs to the thread that made it (a ring accepts submissions from one thread only); a `Waker` belongs to all.

use bytes::Bytes;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

mod bufs;
mod listeners;
mod op;
mod outgoing;
mod slots;

#[cfg(test)]
mod kit;

pub mod epoll;
pub mod probe;
#[cfg(test)]
pub mod scripted;
pub mod uring;

pub use nix::errno::Errno;

/// Completions that one `wait` reports at most. A turn is bounded, whatever the kernel has in store.
pub const REAP_MAX: usize = 1024;

/// A connection of one engine. A completion that arrives late, for a slot that was freed and taken again, is told apart
/// by its generation.
///
/// Shape: `slot` is dense (the engine keeps a vector by slot) and below `SLOT_COUNT_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    pub slot: u32,
    pub generation: u32,
}

/// Slots an engine can address: a token and the kind of operation share 64 bits.
pub const SLOT_COUNT_MAX: u32 = 1 << 28;

/// Received bytes, lying in one buffer of the engine's pool. `Engine::bytes` reads them, `Engine::give_back` returns the
/// buffer: at the end of the turn, never later, or connections starve.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to the pool"]
pub struct Filled {
    buffer: u16,
    len: u32,
}

impl Filled {
    /// Bytes received. Never 0.
    pub fn len(&self) -> usize {
        self.len as usize
    }
    /// Always false: an end of stream is reported as `Closed`, not as no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What a client is sent in one go: small replies back to back in `small`, large values by reference between them.
///
/// Shape: the stream is `small` with each `large[i].bytes` inserted before byte `large[i].at` of `small`; `at` never
/// decreases. Without large values it is simply `small`.
#[derive(Debug, Default)]
pub struct Message {
    pub small: Vec<u8>,
    pub large: Vec<Insert>,
}

/// A large value inside a `Message`.
#[derive(Debug)]
pub struct Insert {
    pub at: usize,
    pub bytes: Bytes,
}

impl Message {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.small.len() + self.large.iter().map(|insert| insert.bytes.len()).sum::<usize>()
    }
    /// Is there nothing to send?
    pub fn is_empty(&self) -> bool {
        self.small.is_empty() && self.large.iter().all(|insert| insert.bytes.is_empty())
    }
    /// Empties the message and keeps the room it has.
    pub fn clear(&mut self) {
        self.small.clear();
        self.large.clear();
    }
}

impl From<Vec<u8>> for Message {
    fn from(small: Vec<u8>) -> Self {
        Message { small, large: Vec::new() }
    }
}

/// Why a connection delivers no more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has sent everything it wanted to. Replies may still be sent to it.
    Eof,
    /// The connection is broken (reset, timed out).
    Failed(Errno),
}

/// What `wait` found. Filing one is all that a loop does while it walks them.
#[derive(Debug)]
pub enum Completion {
    /// A new connection, for the loop to keep (`open`), pass on or drop.
    /// Errors: the listener itself stays armed. When descriptors or memory ran out (EMFILE, ENFILE, ENOBUFS, ENOMEM) the
    /// engine says so once and tries again after a pause; an error that can never go away stops the listener.
    Accepted { listener: u16, result: io::Result<OwnedFd> },
    /// Bytes from the peer.
    Received { token: Token, filled: Filled },
    /// No more bytes will come. The loop still has to `close`.
    Closed { token: Token, end: End },
    /// The whole message was sent, or `result` says why it could not be. `message` is the one given to `send`, emptied,
    /// for its room to be used again; values it held by reference have been released.
    Sent { token: Token, result: Result<usize, Errno>, message: Message },
    /// Somebody called `Waker::wake` since the last `Woken`.
    Woken,
}

/// An event loop's view of the kernel. The loop is generic over it, so there is no dynamic call on the data path.
///
/// A stale or unknown token in a call is a mistake of the loop, not of the world: it is asserted.
pub trait Engine: Sized {
    /// Which engine this is.
    const KIND: Kind;

    /// Makes an engine for the calling thread, which is then the only one that may use it.
    /// Errors: what the kernel said; `probe::choose` has made it unlikely.
    fn new(sizes: &Sizes) -> io::Result<Self>;

    /// Accepts connections on `socket` and reports them under the number `listener`, until `stop_listening`.
    fn listen(&mut self, listener: u16, socket: OwnedFd);
    /// Stops accepting and closes the socket. Nothing is reported for `listener` afterwards.
    fn stop_listening(&mut self, listener: u16);

    /// Takes over a connected stream socket and starts to receive from it. The slot must not be open.
    fn open(&mut self, token: Token, socket: OwnedFd);
    /// Ends a connection at once: what is in flight is cancelled and the socket closed as soon as the kernel has let go of
    /// it. To flush a reply first, wait for its `Sent`. Nothing is reported for `token` afterwards.
    fn close(&mut self, token: Token);
    /// The connection's socket, for socket options and `CLIENT INFO`.
    fn socket(&self, token: Token) -> BorrowedFd<'_>;

    /// Stops receiving (back-pressure). Calling it twice is harmless.
    fn pause_recv(&mut self, token: Token);
    /// Receives again. Calling it on a connection that is not paused is harmless.
    fn resume_recv(&mut self, token: Token);

    /// Sends one message; `Sent` will say when all of it is in the kernel's hands. Not empty; one at a time.
    fn send(&mut self, token: Token, message: Message);

    /// Submits everything asked for, sleeps until something is completed or `timeout` is over, and appends what is complete
    /// to `out`. `Some(ZERO)` submits and reaps without sleeping, `None` sleeps without limit. It may return early and
    /// with nothing: a signal came, or only the engine itself had something to do.
    /// Errors: only those that leave the engine unusable; the loop stops.
    fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()>;

    /// The bytes of `filled`.
    fn bytes(&self, filled: &Filled) -> &[u8];
    /// Returns a buffer to the pool.
    fn give_back(&mut self, filled: Filled);

    /// A handle with which any thread interrupts this engine's `wait`.
    fn waker(&self) -> Waker;

    /// What happened so far, for INFO and the metrics.
    fn counters(&self) -> Counters;
}

/// Wakes one engine from any thread. A wake-up is never lost: it ends the present `wait` or else the next one, and
/// several before that are one.
///
/// Cost: one write(2) to an eventfd, some 500 ns and more if the loop really sleeps; a mailbox calls it only for a loop
/// that said it goes to sleep.
#[derive(Clone)]
pub struct Waker {
    event: Arc<OwnedFd>,
}

impl Waker {
    fn new() -> io::Result<Waker> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Waker { event: Arc::new(event.into()) })
    }

    /// Ends the engine's present or next `wait` with a `Woken`.
    pub fn wake(&self) {
        match nix::unistd::write(&self.event, &1u64.to_ne_bytes()) {
            // EAGAIN: the counter is full, so a wake-up is pending already.
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => panic!("eventfd: {errno}"), // The descriptor is ours and open; nothing else can happen.
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waker({})", self.event.as_raw_fd())
    }
}

/// The engines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Uring,
    Epoll,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Uring => "io_uring",
            Kind::Epoll => "epoll",
        })
    }
}

/// How large an engine is made. `Default` is for production; tests make small ones.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Bytes of one receive buffer: the longest piece of input handed over at once.
    pub buffer_len: u32,
    /// Receive buffers at most; a power of two. Memory is touched only when it is used.
    pub buffer_count: u16,
    /// Submission queue entries of the ring.
    pub submit_entries: u32,
    /// Completion queue entries of the ring.
    pub complete_entries: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { buffer_len: 16 << 10, buffer_count: 512, submit_entries: 1024, complete_entries: 8192 }
    }
}

/// Counters of one engine, since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Times the kernel was entered by `wait`.
    pub enters: u64,
    /// Receives that found no free buffer.
    pub starved: u64,
    /// Multishot receives that had to be armed again (0 with epoll).
    pub rearmed: u64,
    /// Sends that did not get rid of everything at the first attempt.
    pub short_sends: u64,
}
