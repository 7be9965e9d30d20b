//! Listening sockets: what `bind`, `port` and `unixsocket` ask for.
//!
//! Each loop gets a socket of its own on every TCP address (SO_REUSEPORT), so that accepting is spread. But that option would
//! also let a second server in on the same port unnoticed, so an address is first tried without it. Accepted sockets
//! inherit TCP_NODELAY and keep-alive from the listener: no system calls per connection.

use super::error::StartError;
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::event_loop::accept::keep_alive;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr, ReusePort, TcpNoDelay};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, bind, listen, setsockopt, socket,
};
use std::fs::{self, Permissions};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place in the queue costs nothing; a full queue costs a client that connects then one second, until it tries again.
/// Measured: of 10 000 that connected at once some waited that long with 511, none with 4096.
const BACKLOG_MIN: i64 = 4096;

/// How long a starting server waits for its address, and between two tries. The kernel takes a ring's sockets away some time
/// after its process was killed: whoever starts a killed server anew would find its port in use (seen: up to 0.1 s).
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Everything that the server listens on.
pub struct Listeners {
    /// Per loop: listener number and socket.
    pub per_loop: Vec<Vec<(u16, OwnedFd)>>,
    /// The TCP addresses that were opened, by listener number.
    pub tcp: Vec<SocketAddr>,
    /// All TCP addresses that the parameters name, those that were open before included.
    pub wanted: Vec<SocketAddr>,
    /// The Unix socket, if there is one; its number follows the TCP ones.
    pub unix: Option<PathBuf>,
}

impl Listeners {
    /// Opens what the parameters ask for.
    /// Errors: an address that cannot be had, unless it is marked as optional; nothing to listen on.
    pub fn open(config: &Config, loops: usize) -> Result<Self, StartError> {
        let mut all = Self::open_beside(config, loops, &Others { first: 0, open: &[], patience: PATIENCE })?;
        let path = config.text(Id::UNIXSOCKET);
        if !path.is_empty() {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
            let socket = unix(&path, config).map_err(|errno| unix_trouble(&path, errno))?;
            all.per_loop[0].push((all.tcp.len() as u16, socket));
            all.unix = Some(path);
        }
        if all.tcp.is_empty() && all.unix.is_none() {
            return Err(StartError(
                "Nothing to listen on: give a port with --port or a path with --unixsocket.".into(),
            ));
        }
        Ok(all)
    }

    /// Opens what `bind` and `port` ask for now, under numbers from `first` on, except for what is open already.
    /// Errors: as `open`; all that was opened is closed again.
    pub fn open_tcp(config: &Config, loops: usize, first: u16, open: &[SocketAddr]) -> Result<Self, StartError> {
        Self::open_beside(config, loops, &Others { first, open, patience: Duration::ZERO })
    }

    fn open_beside(config: &Config, loops: usize, others: &Others<'_>) -> Result<Self, StartError> {
        let per_loop = (0..loops).map(|_| Vec::new()).collect();
        let mut all = Listeners { per_loop, tcp: Vec::new(), wanted: Vec::new(), unix: None };
        let port = config.number(Id::PORT) as u16;
        let words = if port == 0 { Vec::new() } else { config.words(Id::BIND) };
        for word in words {
            all.open_host(&word, port, config, others)?;
        }
        Ok(all)
    }

    /// Opens one word of `bind`: an address or name, `*` or `::*` for all, behind `-` if it may be missing.
    fn open_host(&mut self, word: &str, port: u16, config: &Config, others: &Others<'_>) -> Result<(), StartError> {
        let (host, is_optional) = word.strip_prefix('-').map_or((word, false), |host| (host, true));
        let resolved = match host {
            "*" => Ok(vec![([0, 0, 0, 0], port).into()]),
            "::*" => Ok(vec![([0u16; 8], port).into()]),
            _ => (host, port).to_socket_addrs().map(Iterator::collect),
        };
        let addresses: Vec<SocketAddr> = match resolved {
            Ok(addresses) => addresses,
            Err(_) if is_optional => return Ok(()),
            Err(error) => {
                return Err(StartError(format!(
                    "bind {host}: {error}. Give an address of this machine, or put '-' before it."
                )));
            }
        };
        for address in addresses {
            self.wanted.push(address);
            if others.open.contains(&address) {
                continue;
            }
            // A wildcard beside single addresses of ours on the same port is no other server.
            let is_ours = others.open.iter().any(|open| open.port() == port);
            let patience = if is_ours { None } else { Some(others.patience) };
            match tcp(address, self.per_loop.len(), config, patience) {
                Ok(sockets) => {
                    let number = others.first + self.tcp.len() as u16;
                    self.tcp.push(address);
                    for (own, socket) in self.per_loop.iter_mut().zip(sockets) {
                        own.push((number, socket));
                    }
                }
                Err(errno) if is_optional && is_missing(errno) => {
                    log::write(log::Level::Verbose, format_args!("Not listening on {address}: {}", errno.desc()));
                }
                Err(errno) => {
                    let (host, reason) = (address.ip(), errno.desc());
                    // In Redis's words: harnesses look for them.
                    log::warning(format_args!(
                        "Warning: Could not create server TCP listening socket {host}:{port}: bind: {reason}"
                    ));
                    return Err(tcp_trouble(address, errno));
                }
            }
        }
        Ok(())
    }
}

/// What is open already while more is opened.
struct Others<'a> {
    /// The first free listener number.
    first: u16,
    open: &'a [SocketAddr],
    /// For how long an address is waited for that somebody else has.
    patience: Duration,
}

/// Does the machine simply not have this address or protocol? Source: Redis, `listenToPort`.
fn is_missing(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOPROTOOPT
            | Errno::EPROTONOSUPPORT
            | Errno::ESOCKTNOSUPPORT
            | Errno::EPFNOSUPPORT
            | Errno::EAFNOSUPPORT
            | Errno::EADDRNOTAVAIL
    )
}

fn tcp_trouble(address: SocketAddr, errno: Errno) -> StartError {
    let remedy = match errno {
        Errno::EADDRINUSE => "Another server runs there: stop it, or choose another port with --port.",
        Errno::EACCES => "Ports below 1024 need privileges: choose a higher one with --port.",
        Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT => {
            "This machine has no such address: correct --bind, or put '-' before the address."
        }
        _ => "Choose other addresses with --bind and --port.",
    };
    StartError(format!("Cannot listen on {address}: {}. {remedy}", errno.desc()))
}

fn unix_trouble(path: &Path, errno: Errno) -> StartError {
    let remedy = match errno {
        Errno::EADDRINUSE => "Another server runs there: stop it, or choose another path with --unixsocket.",
        Errno::ENAMETOOLONG | Errno::EINVAL => "Choose a path of at most 107 bytes with --unixsocket.",
        _ => "Choose a path in a directory that exists and may be written with --unixsocket.",
    };
    StartError(format!("Cannot listen on {}: {}. {remedy}", path.display(), errno.desc()))
}

/// `count` listening sockets on one address. `patience`: for how long it is waited for; None: this server has other addresses on
/// the same port.
/// Errors: what bind or listen said; EADDRINUSE also if another server shares the port.
fn tcp(address: SocketAddr, count: usize, config: &Config, patience: Option<Duration>) -> Result<Vec<OwnedFd>, Errno> {
    // The first try only binds: a client that it accepted would be reset when it is dropped.
    if let Some(patience) = patience {
        let started = Instant::now();
        while let Err(errno) = tcp_socket(address, false, config) {
            if errno != Errno::EADDRINUSE || started.elapsed() >= patience {
                return Err(errno);
            }
            std::thread::sleep(PAUSE);
        }
    }
    let listening = |_| {
        let socket = tcp_socket(address, true, config)?;
        listen(&socket, backlog(config))?;
        Ok(socket)
    };
    (0..count).map(listening).collect()
}

/// A socket that is bound to `address`, not listening yet. `share`: others with SO_REUSEPORT may have it too.
fn tcp_socket(address: SocketAddr, share: bool, config: &Config) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    setsockopt(&socket, ReuseAddr, &true)?;
    if share {
        setsockopt(&socket, ReusePort, &true)?;
    }
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    setsockopt(&socket, TcpNoDelay, &true)?;
    keep_alive(&socket, config.number(Id::TCP_KEEPALIVE) as u32)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

/// How many connections may wait to be accepted: `tcp-backlog`, but not less than `BACKLOG_MIN`; the kernel allows no more
/// than net.core.somaxconn.
fn backlog(config: &Config) -> Backlog {
    let wanted = config.number(Id::TCP_BACKLOG).max(BACKLOG_MIN);
    i32::try_from(wanted).ok().and_then(|count| Backlog::new(count).ok()).unwrap_or(Backlog::MAXCONN)
}

/// A listening Unix socket. A file that a dead server has left is removed; one that answers is not.
fn unix(path: &Path, config: &Config) -> Result<OwnedFd, Errno> {
    if UnixStream::connect(path).is_ok() {
        return Err(Errno::EADDRINUSE);
    }
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| {
        use std::os::unix::fs::FileTypeExt;
        meta.file_type().is_socket()
    });
    if is_socket {
        let _ = fs::remove_file(path); // If it stays, bind says why.
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let mode = config.number(Id::UNIXSOCKETPERM) as u32;
    if mode != 0 {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    }
    listen(&socket, backlog(config))?;
    Ok(socket)
}
