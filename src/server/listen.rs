//! Listening sockets: what `bind`, `port` and `unixsocket` ask for.
//!
//! Each loop gets a socket of its own on every TCP address (SO_REUSEPORT), so that accepting is spread. But that option would
//! also let a second server in on the same port unnoticed, so an address is first tried without it.

use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    Ipv6V6Only, KeepAlive, ReuseAddr, ReusePort, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpNoDelay,
};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How TCP sockets are made.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    /// Connections that may wait to be accepted.
    pub backlog: u32,
    /// Seconds of silence before a peer is probed; 0: never.
    pub keepalive: u32,
}

/// `count` listening sockets on one address.
/// Errors: what bind or listen said; EADDRINUSE also if another server shares the port.
pub fn tcp(address: SocketAddr, count: usize, options: &TcpOptions) -> Result<Vec<OwnedFd>, Errno> {
    drop(open(address, false, options)?);
    (0..count).map(|_| open(address, count > 1, options)).collect()
}

fn open(address: SocketAddr, share: bool, options: &TcpOptions) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    if share {
        setsockopt(&socket, ReusePort, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    // Accepted sockets inherit these: no system calls per connection. Source: kernel-notes, measured on Linux 6.18.
    setsockopt(&socket, TcpNoDelay, &true)?;
    keep_alive(&socket, options.keepalive)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(options.backlog.min(i32::MAX as u32) as i32).unwrap_or(Backlog::MAXCONN))?;
    Ok(socket)
}

/// Probes a silent peer after `seconds`, then three times within as long again. Source: Redis, `anetKeepAlive`.
fn keep_alive(socket: &OwnedFd, seconds: u32) -> Result<(), Errno> {
    if seconds == 0 {
        return Ok(());
    }
    setsockopt(socket, KeepAlive, &true)?;
    setsockopt(socket, TcpKeepIdle, &seconds)?;
    setsockopt(socket, TcpKeepInterval, &(seconds / 3).max(1))?;
    setsockopt(socket, TcpKeepCount, &3)
}
