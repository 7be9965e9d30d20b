//! The load experiments: one question each, and the variants that answer it.

use super::variant::{Half, Mode, OnEpoll, OnRing, Recv, Send, Shape};

/// A question, what is compared, and under which loads.
pub struct Topic {
    pub name: &'static str,
    pub question: &'static str,
    pub variants: &'static [(&'static str, Half)],
    pub shapes: &'static [Shape],
}

const PLAIN: OnRing = OnRing::PLAIN;
const BARE: OnRing = OnRing { registered_ring: false, no_sqarray: false, ..PLAIN };
const EPOLL: OnEpoll = OnEpoll::PLAIN;

const fn ring(how: OnRing) -> Half {
    Half::Ring(how)
}
const fn mode(mode: Mode) -> Half {
    Half::Ring(OnRing { mode, ..BARE })
}
const fn recv(recv: Recv) -> Half {
    Half::Ring(OnRing { recv, ..PLAIN })
}
const fn send(send: Send) -> Half {
    Half::Ring(OnRing { send, ..PLAIN })
}
const fn buffers(count: u16, len: u32) -> Half {
    Half::Ring(OnRing { buffers: (count, len), ..PLAIN })
}

const SMALL: &[Shape] = &[Shape::gets(50, 1), Shape::gets(50, 16)];
const LARGE_REPLIES: Shape = Shape { clients: 20, pipeline: 4, request_len: 37, reply_len: 64 << 10 };

/// All load experiments.
pub const LOADS: &[Topic] = &[
    Topic {
        name: "completion-modes",
        question: "What does the way cost in which completions come to the thread?",
        variants: &[
            ("interrupts (no flag)", mode(Mode::Interrupt)),
            ("COOP_TASKRUN", mode(Mode::Coop)),
            ("DEFER_TASKRUN", mode(Mode::Defer)),
            ("epoll", Half::Epoll(EPOLL)),
        ],
        shapes: SMALL,
    },
    Topic {
        name: "sqpoll",
        question: "Does a kernel thread that submits pay on two cores?",
        variants: &[
            ("DEFER_TASKRUN", mode(Mode::Defer)),
            ("SQPOLL, bound to the client's core", mode(Mode::SqPoll(Some(1)))),
            ("SQPOLL, bound to the server's core", mode(Mode::SqPoll(Some(0)))),
            ("SQPOLL, anywhere", mode(Mode::SqPoll(None))),
        ],
        shapes: SMALL,
    },
    Topic {
        name: "receive",
        question: "Which way of receiving is cheapest?",
        variants: &[
            ("multishot, buffer ring", recv(Recv::Multishot)),
            ("one-shot, buffer ring", recv(Recv::OneShot)),
            ("one-shot, own buffer", recv(Recv::Own(false))),
            ("one-shot, own buffer, POLL_FIRST", recv(Recv::Own(true))),
        ],
        shapes: SMALL,
    },
    Topic {
        name: "buffer-sizes",
        question: "How large and how many must the buffers of the ring be?",
        variants: &[
            ("512 x 16 KiB", buffers(512, 16 << 10)),
            ("64 x 16 KiB", buffers(64, 16 << 10)),
            ("1024 x 4 KiB", buffers(1024, 4 << 10)),
            ("4096 x 1 KiB", buffers(4096, 1 << 10)),
        ],
        shapes: &[Shape::gets(50, 1), Shape::gets(1000, 1), Shape::gets(50, 128)],
    },
    Topic {
        name: "enobufs",
        question: "What does it cost when buffers run out?",
        variants: &[
            ("1024 x 4 KiB", buffers(1024, 4 << 10)),
            ("64 x 4 KiB", buffers(64, 4 << 10)),
            ("8 x 4 KiB", buffers(8, 4 << 10)),
        ],
        shapes: &[Shape::gets(1000, 1), Shape::gets(1000, 16)],
    },
    Topic {
        name: "bundles",
        question: "Do bundles or incremental buffers help where a batch is larger than a buffer?",
        variants: &[
            ("multishot, 4 KiB buffers", buffers(1024, 4 << 10)),
            ("bundles of 4 KiB buffers", ring(OnRing { recv: Recv::Bundle, buffers: (1024, 4 << 10), ..PLAIN })),
            ("incremental, 64 KiB buffers", ring(OnRing { recv: Recv::Incremental, buffers: (64, 64 << 10), ..PLAIN })),
            ("multishot, 16 KiB buffers", recv(Recv::Multishot)),
        ],
        shapes: &[Shape::gets(50, 1), Shape::gets(50, 128), Shape::gets(50, 512)],
    },
    Topic {
        name: "send",
        question: "Which way of sending is cheapest?",
        variants: &[
            ("OP_SEND, WAITALL", send(Send::WaitAll)),
            ("OP_SEND, DONTWAIT, no completion", send(Send::Skip)),
            ("send(2)", send(Send::Call)),
        ],
        shapes: &[Shape::gets(50, 1), Shape::gets(50, 16), Shape::gets(1000, 1)],
    },
    Topic {
        name: "zero-copy",
        question: "From which size on does a zero-copy send pay?",
        variants: &[("OP_SEND", send(Send::WaitAll)), ("OP_SEND_ZC", send(Send::ZeroCopy))],
        shapes: &[
            Shape::gets(50, 1),
            Shape { clients: 50, pipeline: 1, request_len: 37, reply_len: 16 << 10 },
            LARGE_REPLIES,
        ],
    },
    Topic {
        name: "registered",
        question: "What do a registered ring descriptor, registered files and a ring without SQ array save?",
        variants: &[
            ("none of them", ring(BARE)),
            ("registered ring", ring(OnRing { registered_ring: true, ..BARE })),
            ("no SQ array", ring(OnRing { no_sqarray: true, ..BARE })),
            ("registered files", ring(OnRing { registered_files: true, ..BARE })),
            ("all three", ring(OnRing { registered_files: true, ..PLAIN })),
        ],
        shapes: SMALL,
    },
    Topic {
        name: "min-wait",
        question: "Does it pay to sleep a little longer for more completions?",
        variants: &[
            ("no", ring(PLAIN)),
            ("20 us or 8 completions", ring(OnRing { min_wait: Some((20, 8)), ..PLAIN })),
            ("50 us or 32 completions", ring(OnRing { min_wait: Some((50, 32)), ..PLAIN })),
        ],
        shapes: &[Shape::gets(1, 1), Shape::gets(50, 1), Shape::gets(50, 16)],
    },
    Topic {
        name: "spin",
        question: "What does it bring and cost to spin before sleeping?",
        variants: &[
            ("ring, sleeps at once", ring(PLAIN)),
            ("ring, spins for 50 us", ring(OnRing { spin_us: 50, ..PLAIN })),
            ("epoll, sleeps at once", Half::Epoll(EPOLL)),
            ("epoll, spins for 50 us", Half::Epoll(OnEpoll { spin_us: 50, ..EPOLL })),
        ],
        shapes: &[Shape::gets(1, 1), Shape::gets(50, 1)],
    },
    Topic {
        name: "epoll",
        question: "How is epoll used best, and how far is it from the ring?",
        variants: &[
            ("ring", ring(PLAIN)),
            ("edge, short read means drained", Half::Epoll(EPOLL)),
            ("edge, to EAGAIN", Half::Epoll(OnEpoll { to_eagain: true, ..EPOLL })),
            ("edge, answered at once", Half::Epoll(OnEpoll { at_once: true, ..EPOLL })),
            ("level", Half::Epoll(OnEpoll { edge_triggered: false, ..EPOLL })),
        ],
        shapes: &[Shape::gets(50, 1), Shape::gets(50, 16), Shape::gets(1000, 1)],
    },
];
