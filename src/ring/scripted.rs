//! An engine without a kernel, for tests of the event loop: what arrives is written down beforehand, what is sent can be
//! read afterwards, and nothing depends on time.
//!
//! Each `wait` reports the completions of one scripted turn; `wait` on an empty script reports nothing. Sends succeed in the
//! next `wait`, unless `hold_sends` keeps them in flight.

use super::bufs::Pool;
use super::slots::Slots;
use super::{Completion, Counters, End, Engine, Errno, Filled, Kind, Message, Sizes, Token, Waker};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What a scripted turn brings.
#[derive(Debug)]
pub enum Event {
    Bytes(Token, Vec<u8>),
    End(Token, End),
    Accept(u16, OwnedFd),
    Wake,
}

/// An engine that plays a script.
pub struct Scripted {
    pub script: VecDeque<Vec<Event>>,
    /// Everything sent so far, also to connections that are closed by now.
    pub output: HashMap<Token, Vec<u8>>,
    /// Completions of sends are kept back while this is set.
    pub hold_sends: bool,
    /// The next send fails with this.
    pub fail_send: Option<Errno>,
    conns: Slots<Conn>,
    sending: Vec<(Token, Message)>,
    pool: Pool,
    free: Vec<u16>,
    waker: Waker,
}

struct Conn {
    socket: OwnedFd,
    paused: bool,
    kept: VecDeque<Event>,
}

impl Scripted {
    /// Adds a turn to the script.
    pub fn turn(&mut self, events: impl IntoIterator<Item = Event>) {
        self.script.push_back(events.into_iter().collect());
    }
    /// Is the connection open?
    pub fn is_open(&self, token: Token) -> bool {
        self.conns.get(token).is_some()
    }
    /// Is the connection paused?
    pub fn is_paused(&self, token: Token) -> bool {
        self.conns.get(token).is_some_and(|conn| conn.paused)
    }

    fn play(&mut self, event: Event, out: &mut Vec<Completion>) {
        let token = match &event {
            Event::Bytes(token, _) | Event::End(token, _) => *token,
            Event::Accept(..) | Event::Wake => return self.play_other(event, out),
        };
        let Some(conn) = self.conns.get_mut(token) else { return };
        if conn.paused {
            return conn.kept.push_back(event);
        }
        match event {
            Event::Bytes(_, bytes) => {
                for piece in bytes.chunks(self.pool.buffer_len()) {
                    let buffer = self.free.pop().expect("the script fits in the pool");
                    self.pool.free_mut(buffer)[..piece.len()].copy_from_slice(piece);
                    out.push(Completion::Received { token, filled: self.pool.lend(buffer, piece.len()) });
                }
            }
            Event::End(_, end) => out.push(Completion::Closed { token, end }),
            Event::Accept(..) | Event::Wake => unreachable!("played elsewhere"),
        }
    }

    fn play_other(&mut self, event: Event, out: &mut Vec<Completion>) {
        match event {
            Event::Accept(listener, socket) => out.push(Completion::Accepted { listener, result: Ok(socket) }),
            _ => out.push(Completion::Woken),
        }
    }

    fn complete_send(&mut self, token: Token, mut message: Message, out: &mut Vec<Completion>) {
        let result = self.fail_send.take().map_or(Ok(message.len()), Err);
        message.clear();
        if self.is_open(token) {
            out.push(Completion::Sent { token, result, message });
        }
    }
}

impl Engine for Scripted {
    const KIND: Kind = Kind::Epoll;

    fn new(sizes: &Sizes) -> io::Result<Self> {
        Ok(Scripted {
            script: VecDeque::new(),
            output: HashMap::new(),
            hold_sends: false,
            fail_send: None,
            conns: Slots::new(),
            sending: Vec::new(),
            pool: Pool::new(sizes.buffer_count, sizes.buffer_len)?,
            free: (0..sizes.buffer_count).collect(),
            waker: Waker::new()?,
        })
    }

    fn listen(&mut self, _listener: u16, _socket: OwnedFd) {}
    fn stop_listening(&mut self, _listener: u16) {}

    fn open(&mut self, token: Token, socket: OwnedFd) {
        self.conns.insert(token, Conn { socket, paused: false, kept: VecDeque::new() });
    }
    fn close(&mut self, token: Token) {
        self.conns.remove(token).expect("close of an unknown connection");
    }
    fn socket(&self, token: Token) -> BorrowedFd<'_> {
        self.conns.get(token).expect("socket of an unknown connection").socket.as_fd()
    }

    fn pause_recv(&mut self, token: Token) {
        self.conns.get_mut(token).expect("pause of an unknown connection").paused = true;
    }
    fn resume_recv(&mut self, token: Token) {
        let conn = self.conns.get_mut(token).expect("resume of an unknown connection");
        conn.paused = false;
        let kept = std::mem::take(&mut conn.kept);
        if !kept.is_empty() {
            self.script.push_front(kept.into());
        }
    }

    fn send(&mut self, token: Token, message: Message) {
        assert!(self.is_open(token) && !message.is_empty());
        assert!(self.sending.iter().all(|(other, _)| *other != token), "one message at a time");
        let outgoing = super::outgoing::Outgoing::new(message);
        self.output.entry(token).or_default().extend(outgoing.pieces().flatten());
        self.sending.push((token, outgoing.into_message()));
    }

    fn wait(&mut self, _timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        if !self.hold_sends {
            for (token, message) in std::mem::take(&mut self.sending) {
                self.complete_send(token, message, out);
            }
        }
        for event in self.script.pop_front().unwrap_or_default() {
            self.play(event, out);
        }
        Ok(())
    }

    fn bytes(&self, filled: &Filled) -> &[u8] {
        self.pool.bytes(filled)
    }
    fn give_back(&mut self, filled: Filled) {
        self.free.push(self.pool.take_back(filled));
    }
    fn waker(&self) -> Waker {
        self.waker.clone()
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}

#[test]
fn a_script_is_played_turn_by_turn() {
    let mut engine = Scripted::new(&Sizes { buffer_count: 4, ..Sizes::default() }).unwrap();
    let token = Token { slot: 0, generation: 1 };
    engine.open(token, std::os::unix::net::UnixStream::pair().unwrap().0.into());
    engine.turn([Event::Bytes(token, b"PING\r\n".to_vec())]);
    engine.turn([Event::End(token, End::Eof)]);
    let mut out = Vec::new();
    engine.wait(None, &mut out).unwrap();
    let Some(Completion::Received { filled, .. }) = out.pop() else { panic!() };
    assert_eq!(engine.bytes(&filled), b"PING\r\n");
    engine.give_back(filled);
    engine.send(token, b"+PONG\r\n".to_vec().into());
    engine.wait(None, &mut out).unwrap();
    assert!(matches!(out[..], [Completion::Sent { result: Ok(7), .. }, Completion::Closed { end: End::Eof, .. }]));
    assert_eq!(engine.output[&token], b"+PONG\r\n");
}
