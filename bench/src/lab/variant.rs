//! What an experiment varies: how the server's half is written. The client's half is always the same.

/// How completions come to the thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Neither COOP_TASKRUN nor DEFER_TASKRUN: the kernel interrupts the thread.
    Interrupt,
    Coop,
    Defer,
    /// A kernel thread submits, bound to this core if there is one.
    SqPoll(Option<u32>),
}

/// How bytes are received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Recv {
    /// Multishot, out of the buffer ring.
    Multishot,
    /// The same, several buffers at once.
    Bundle,
    /// The same, each buffer filled piece by piece.
    Incremental,
    /// One receive per request, out of the buffer ring.
    OneShot,
    /// One receive per request, into the connection's own buffer; true: POLL_FIRST.
    Own(bool),
}

/// How bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Send {
    WaitAll,
    /// MSG_DONTWAIT, and no completion if all went well.
    Skip,
    ZeroCopy,
    /// send(2), one by one.
    Call,
}

/// A server on a ring.
#[derive(Clone, Copy)]
pub struct OnRing {
    pub mode: Mode,
    pub recv: Recv,
    pub send: Send,
    /// Buffers of the ring, and bytes of each.
    pub buffers: (u16, u32),
    pub registered_ring: bool,
    pub registered_files: bool,
    pub no_sqarray: bool,
    /// Microseconds that a wait lasts at least unless so many completions come.
    pub min_wait: Option<(u32, u32)>,
    pub spin_us: u64,
}

impl OnRing {
    /// What ringdb does.
    pub const PLAIN: OnRing = OnRing {
        mode: Mode::Defer,
        recv: Recv::Multishot,
        send: Send::WaitAll,
        buffers: (512, 16 << 10),
        registered_ring: true,
        registered_files: false,
        no_sqarray: true,
        min_wait: None,
        spin_us: 0,
    };
}

/// A server on epoll.
#[derive(Clone, Copy)]
pub struct OnEpoll {
    pub edge_triggered: bool,
    /// Receive until EAGAIN instead of stopping at a short read.
    pub to_eagain: bool,
    /// Answer each connection at once instead of receiving from all, then sending to all.
    pub at_once: bool,
    pub spin_us: u64,
}

impl OnEpoll {
    /// What ringdb does.
    pub const PLAIN: OnEpoll = OnEpoll { edge_triggered: true, to_eagain: false, at_once: false, spin_us: 0 };
}

/// The server's half of an experiment.
#[derive(Clone, Copy)]
pub enum Half {
    Ring(OnRing),
    Epoll(OnEpoll),
}

/// The load: connections, requests per batch, bytes of a request, bytes of a reply.
#[derive(Clone, Copy)]
pub struct Shape {
    pub clients: usize,
    pub pipeline: usize,
    pub request_len: usize,
    pub reply_len: usize,
}

impl Shape {
    /// GET-like: 37 bytes there, 70 back.
    pub const fn gets(clients: usize, pipeline: usize) -> Shape {
        Shape { clients, pipeline, request_len: 37, reply_len: 70 }
    }
    pub fn name(&self) -> String {
        let reply = if self.reply_len >= 1024 { format!(" {}K", self.reply_len / 1024) } else { String::new() };
        format!("c{} p{}{reply}", self.clients, self.pipeline)
    }
}
