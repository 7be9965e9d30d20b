//! The workload `storm`: everybody connects at once, as after a restart of the server or of a fleet of clients.
//!
//! All connections are begun without waiting for any, as fast as possible or `--rate` a second; each says PING as soon as it stands and stays open. A connection that
//! is reset, refused or silent for `PATIENCE` is lost; one that is told "max number of clients" is turned away.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4, ToSocketAddrs},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, connect, recv, send, socket},
    },
};

use crate::{histogram::Histogram, options::Options, process};

/// How long the last connection may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections begun between two looks at what has come back.
const BURST: usize = 32;
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// What became of the connections.
#[derive(Clone)]
pub struct Storm {
    pub connections: usize,
    pub answered: usize,
    pub turned_away: usize,
    pub lost: usize,
    /// From the first connect to the last answer.
    pub seconds: f64,
    /// Of each connection, from its connect to its answer.
    pub latency: Histogram,
    /// Processor time per connection, of the server and of this process; the server's other work is in it.
    pub server_us: Option<f64>,
    pub own_us: f64,
}

/// A connection of the storm.
struct Guest {
    socket: OwnedFd,
    begun: Instant,
    is_greeted: bool,
    is_over: bool,
}

/// Opens `--clients` connections at once and waits until each was answered.
///
/// **Errors**: no address to connect to; no descriptors left.
pub fn run(options: &Options, pid: Option<u32>) -> Result<Storm, String> {
    let address = address(options)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
    let mut guests: Vec<Guest> = Vec::with_capacity(options.clients);
    let mut storm = Storm {
        connections: options.clients,
        answered: 0,
        turned_away: 0,
        lost: 0,
        seconds: 0.0,
        latency: Histogram::new(),
        server_us: None,
        own_us: 0.0,
    };
    let cpu = || (pid.and_then(|pid| process::cpu_ns(pid).ok()), process::own_cpu_ns());
    let before = cpu();
    let started = Instant::now();
    let mut events = vec![EpollEvent::empty(); 1024];
    while storm.ended() < options.clients && started.elapsed() < PATIENCE {
        let due = options.rate.map_or(f64::MAX, |rate| rate * started.elapsed().as_secs_f64()) as usize;
        for _ in 0..BURST.min(options.clients - guests.len()).min(due.saturating_sub(guests.len())) {
            guests.push(knock(&epoll, &address, guests.len()).map_err(|error| format!("connect: {error}"))?);
        }
        let timeout = match options.rate {
            _ if guests.len() == options.clients => EpollTimeout::from(100u8),
            Some(_) => EpollTimeout::from(1u8),
            None => EpollTimeout::ZERO,
        };
        let count = epoll.wait(&mut events, timeout).or_else(retried).map_err(|error| format!("epoll: {error}"))?;
        for event in &events[..count] {
            storm.hear(&mut guests[event.data() as usize]);
        }
        storm.seconds = started.elapsed().as_secs_f64();
    }
    let after = cpu();
    let per_connection = |ns: u64| ns as f64 / 1e3 / options.clients as f64;
    storm.server_us = before.0.zip(after.0).map(|(before, after)| per_connection(after.saturating_sub(before)));
    storm.own_us = per_connection(after.1 - before.1);
    storm.lost += options.clients - storm.ended();
    Ok(storm)
}

fn retried(errno: Errno) -> Result<usize, Errno> {
    if errno == Errno::EINTR { Ok(0) } else { Err(errno) }
}

fn address(options: &Options) -> Result<SockaddrIn, String> {
    let found = (options.host.as_str(), options.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let v4 = found.filter_map(|address| if let SocketAddr::V4(v4) = address { Some(v4) } else { None }).next();
    v4.map(|v4: SocketAddrV4| SockaddrIn::from(v4)).ok_or_else(|| format!("{} has no IPv4 address", options.host))
}

/// Begins a connection.
fn knock(epoll: &Epoll, address: &SockaddrIn, index: usize) -> io::Result<Guest> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let begun = Instant::now();
    match connect(socket.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let wanted = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    epoll.add(&socket, EpollEvent::new(wanted, index as u64))?;
    Ok(Guest { socket, begun, is_greeted: false, is_over: false })
}

impl Storm {
    fn ended(&self) -> usize {
        self.answered + self.turned_away + self.lost
    }

    /// Greets a connection that stands, and takes its answer.
    fn hear(&mut self, guest: &mut Guest) {
        let fd = guest.socket.as_raw_fd();
        if guest.is_over {
            return;
        }
        if !guest.is_greeted {
            match send(fd, PING, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
                Ok(_) => guest.is_greeted = true,
                Err(Errno::EAGAIN | Errno::ENOTCONN) => return,
                Err(_) => {} // It was turned away before it could speak, or lost: reading tells.
            }
        }
        let mut answer = [0; 128];
        match recv(fd, &mut answer, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => return,
            Ok(len) if answer[..len].starts_with(b"+PONG") => {
                self.answered += 1;
                self.latency.record(guest.begun.elapsed().as_nanos() as u64);
            }
            Ok(len) if answer[..len].starts_with(b"-ERR max number of clients") => self.turned_away += 1,
            Ok(_) | Err(_) => self.lost += 1,
        }
        guest.is_over = true;
    }
}
