//! The server's half on epoll: the same work by plain system calls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};

use super::ring::{Counts, REPLIES_LEN};
use super::variant::{OnEpoll, Shape};

struct Conn {
    socket: OwnedFd,
    partial: usize,
    due: usize,
}

/// Serves `sockets` until `stop`.
pub fn run(how: OnEpoll, shape: Shape, sockets: Vec<OwnedFd>, stop: &AtomicBool) -> io::Result<Counts> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut conns: Vec<Conn> = sockets.into_iter().map(|socket| Conn { socket, partial: 0, due: 0 }).collect();
    for (at, conn) in conns.iter().enumerate() {
        let edge = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let wanted = EpollFlags::EPOLLIN | if how.edge_triggered { edge } else { EpollFlags::empty() };
        epoll.add(&conn.socket, EpollEvent::new(wanted, at as u64))?;
    }
    let (replies, mut room) = (vec![b'x'; REPLIES_LEN], vec![0u8; 16 << 10]);
    let (mut events, mut counts) = (vec![EpollEvent::empty(); 1024], Counts::default());
    while !stop.load(Relaxed) {
        counts.enters += 1;
        let count = wait(&epoll, &mut events, how.spin_us)?;
        for event in &events[..count] {
            let conn = &mut conns[event.data() as usize];
            if event.events().contains(EpollFlags::EPOLLIN) {
                receive(conn, &mut room, shape, how.to_eagain);
            }
            if how.at_once {
                answer(conn, &replies, &mut counts);
            }
        }
        for event in events[..count].iter().filter(|_| !how.at_once) {
            answer(&mut conns[event.data() as usize], &replies, &mut counts);
        }
    }
    Ok(counts)
}

fn wait(epoll: &Epoll, events: &mut [EpollEvent], spin_us: u64) -> io::Result<usize> {
    let began = Instant::now();
    while spin_us > 0 && (began.elapsed().as_micros() as u64) < spin_us {
        let count = epoll.wait(events, EpollTimeout::ZERO)?;
        if count > 0 {
            return Ok(count);
        }
    }
    match epoll.wait(events, EpollTimeout::from(20u8)) {
        Err(Errno::EINTR) => Ok(0),
        other => Ok(other?),
    }
}

fn receive(conn: &mut Conn, room: &mut [u8], shape: Shape, to_eagain: bool) {
    while let Ok(len @ 1..) = recv(conn.socket.as_raw_fd(), room, MsgFlags::MSG_DONTWAIT) {
        conn.partial += len;
        if !to_eagain && len < room.len() {
            break;
        }
    }
    conn.due += conn.partial / shape.request_len * shape.reply_len;
    conn.partial %= shape.request_len;
}

fn answer(conn: &mut Conn, replies: &[u8], counts: &mut Counts) {
    while conn.due > 0 {
        let piece = &replies[..conn.due.min(replies.len())];
        match send(conn.socket.as_raw_fd(), piece, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
            Ok(len) => conn.due -= len,
            Err(_) => {
                counts.short_sends += 1;
                return; // The next edge goes on.
            }
        }
    }
}
