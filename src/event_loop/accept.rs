//! New connections: a place among `maxclients`, the loop with the fewest clients, a session.
//!
//! When thousands connect at once, the kernel hands them over in one piece; they are taken in some per turn, between the
//! commands of those who are there already.

use super::EventLoop;
use super::conn::Conn;
use super::fleet::Mail;
use crate::admin::clients::Endpoints;
use crate::admin::params::Id;
use crate::base::clock::WallMs;
use crate::cmd::session::Session;
use crate::ring::{Engine, Errno};
use nix::sys::socket::sockopt::{KeepAlive, TcpKeepCount, TcpKeepIdle, TcpKeepInterval};
use nix::sys::socket::{MsgFlags, SockaddrStorage, getpeername, getsockname, send, setsockopt};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";
/// Redis's own text: clients and administrators know it.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to \
connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode \
sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host \
the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE \
to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis \
configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the \
server manually just for testing, restart it with the '--protected-mode no' option. 4) Set up an authentication password \
for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting \
connections from the outside.\r\n";

/// Connections that are taken in per turn. 64: some 500 µs with all that the kernel does for them, and so about 100 000 a
/// second on an idle loop.
const GUESTS_PER_TURN: usize = 64;

impl<E: Engine> EventLoop<E> {
    /// Takes some of those in who wait.
    /// Cost: one comparison if nobody does.
    #[inline]
    pub(super) fn take_in_guests(&mut self, now: WallMs) {
        for _ in 0..self.guests.len().min(GUESTS_PER_TURN) {
            if let Some((listener, socket)) = self.guests.pop_front() {
                self.take_in(listener, socket, now);
            }
        }
    }

    /// Takes a new connection in, or tells it that there is no place.
    fn take_in(&mut self, listener: u16, socket: OwnedFd, now: WallMs) {
        let stats = self.stats();
        if self.deadline.is_some() {
            return; // Stopping: dropping the socket closes it.
        }
        let Ok(endpoints) = self.endpoints(listener, &socket) else { return }; // The peer has gone already.
        if !self.world.clients.reserve(self.world.config.number(Id::MAXCLIENTS) as usize) {
            return self.turn_away(&socket, TOO_MANY_CLIENTS);
        }
        if !endpoints.is_local() && self.is_protected() {
            self.world.clients.give_back();
            return self.turn_away(&socket, PROTECTED);
        }
        stats.connections.add(1);
        match self.fleet.place(self.id) {
            home if home == self.id => self.adopt(socket, endpoints, now),
            home => self.fleet.mailbox(home).send(Mail::Adopt { socket, endpoints }),
        }
    }

    /// Tells a connection why it is not served. Dropping the socket closes it.
    fn turn_away(&self, socket: &OwnedFd, reason: &[u8]) {
        self.stats().rejected_connections.add(1);
        // A courtesy: whether it arrives does not matter.
        let _ = send(socket.as_raw_fd(), reason, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
    }

    /// Only clients of this machine are welcome: nobody has chosen a password.
    fn is_protected(&self) -> bool {
        self.world.config.number(Id::PROTECTED_MODE) != 0 && self.world.acl.default_user().needs_no_password()
    }

    /// Serves a connection that has its place.
    pub(super) fn adopt(&mut self, socket: OwnedFd, endpoints: Endpoints, now: WallMs) {
        if self.deadline.is_some() {
            self.fleet.leave(self.id);
            return self.world.clients.give_back();
        }
        let keepalive = self.world.config.number(Id::TCP_KEEPALIVE) as u32;
        if self.fleet.keepalive.is_some_and(|inherited| inherited != keepalive)
            && !matches!(endpoints, Endpoints::Unix(_))
        {
            let _ = keep_alive(&socket, keepalive); // Without it the connection serves as well.
        }
        let info = self.world.clients.add(self.id, socket.as_raw_fd(), endpoints, now);
        let session = Session::new(info, &self.world.acl);
        let token = self.conns.insert(|token| {
            session.info.set_slot(token.slot);
            Conn::new(token, session)
        });
        self.engine.open(token, socket);
    }

    fn endpoints(&self, listener: u16, socket: &OwnedFd) -> Result<Endpoints, Errno> {
        if let Some(path) = self.fleet.unix_path.as_ref().filter(|_| self.fleet.unix_listener == Some(listener)) {
            return Ok(Endpoints::Unix(path.clone()));
        }
        let peer = tcp_address(getpeername(socket.as_raw_fd())?)?;
        let local = tcp_address(getsockname(socket.as_raw_fd())?)?;
        Ok(Endpoints::Tcp { peer, local })
    }

    /// Stops taking new connections. Those that wait are dropped.
    pub(super) fn stop_listening(&mut self) {
        self.guests.clear();
        for listener in std::mem::take(&mut self.listeners) {
            self.engine.stop_listening(listener);
        }
    }
}

/// Probes a silent peer after `seconds`, then three times within as long again. Source: Redis, `anetKeepAlive`.
pub fn keep_alive(socket: &OwnedFd, seconds: u32) -> Result<(), Errno> {
    setsockopt(socket, KeepAlive, &(seconds != 0))?;
    if seconds == 0 {
        return Ok(());
    }
    setsockopt(socket, TcpKeepIdle, &seconds)?;
    setsockopt(socket, TcpKeepInterval, &(seconds / 3).max(1))?;
    setsockopt(socket, TcpKeepCount, &3)
}

fn tcp_address(address: SockaddrStorage) -> Result<SocketAddr, Errno> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = address.as_sockaddr_in6().ok_or(Errno::EAFNOSUPPORT)?;
    Ok(SocketAddr::from((v6.ip(), v6.port())))
}
