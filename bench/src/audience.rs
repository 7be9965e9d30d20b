//! `--audience N`: connections that listen to the channel `audience` while the load publishes to it.
//!
//! One thread reads them all and counts what they hear. What that costs is in the generator's own time, not in the server's.

use std::{
    io::{ErrorKind, Read},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{
    options::Options,
    scan::{Scanner, Tally},
    socket::Socket,
};

/// The channel that the audience listens to.
const CHANNEL: &str = "audience";
/// Bytes read at once.
const PIECE_LEN: usize = 64 << 10;

/// The listening connections and the thread that reads them.
pub struct Audience {
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

struct Listener {
    socket: Socket,
    scanner: Scanner,
}

impl Audience {
    /// Subscribes as many connections as the options say; None if they say nothing of it.
    ///
    /// **Errors**: the server refused a connection or a subscription.
    pub fn begin(options: &Options) -> Result<Option<Audience>, String> {
        if options.audience == 0 {
            return Ok(None);
        }
        let listener = |_| {
            Ok(Listener { socket: Socket::open_after(options, &["SUBSCRIBE", CHANNEL])?, scanner: Scanner::default() })
        };
        let listeners: Vec<Listener> = (0..options.audience).map(listener).collect::<Result<_, String>>()?;
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), heard.clone());
        let thread = thread::spawn(move || listen(listeners, &stopped, &count));
        Ok(Some(Audience { stop, heard, thread }))
    }

    /// Messages heard so far, by all together.
    pub fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    /// Closes the connections.
    ///
    /// **Errors**: what ended the listening early.
    pub fn end(self) -> Result<(), String> {
        self.stop.store(true, Relaxed);
        self.thread.join().map_err(|_| "the audience panicked")?
    }
}

fn listen(mut listeners: Vec<Listener>, stop: &AtomicBool, heard: &AtomicU64) -> Result<(), String> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
    for (at, listener) in listeners.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, at as u64);
        epoll.add(listener.socket.as_fd(), event).map_err(|error| format!("epoll: {error}"))?;
    }
    let mut events = vec![EpollEvent::empty(); 1024];
    let (mut piece, mut tally) = (vec![0; PIECE_LEN], Tally::default());
    while !stop.load(Relaxed) {
        let count = epoll.wait(&mut events, EpollTimeout::from(50u8)).unwrap_or(0);
        for event in &events[..count] {
            let Listener { socket, scanner } = &mut listeners[event.data() as usize];
            match socket.read(&mut piece) {
                Ok(0) => return Err("the server closed a subscriber".into()),
                Ok(len) => scanner.feed(&piece[..len], &mut tally)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("a subscriber: {error}")),
            }
        }
        heard.store(tally.replies + tally.pushes, Relaxed);
    }
    Ok(())
}
