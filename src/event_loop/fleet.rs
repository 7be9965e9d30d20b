//! What the loops know of each other: their mailboxes and how many connections each has.

use super::mailbox::Mailbox;
use crate::admin::clients::Endpoints;
use crate::base::ids::{ClientId, LoopId};
use crate::base::sync::{AtomicUsize, Ordering::Relaxed};
use crate::cmd::blocking::Delivery;
use crate::cmd::command::Woken;
use crate::cmd::silence::Silence;
use crate::pubsub::desk::Batch;
use crate::ring::Waker;
use bytes::Bytes;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// A message from one loop, or from the server's own threads, to another loop.
#[derive(Debug)]
pub enum Mail {
    /// A fresh connection that this loop shall serve. Its place among `maxclients` is reserved.
    Adopt { socket: OwnedFd, endpoints: Endpoints },
    /// Accept connections on this socket too, under this number.
    Listen { listener: u16, socket: OwnedFd },
    /// Stop accepting under this number.
    StopListening(u16),
    /// Close a client at once.
    Kill(ClientId),
    /// Let the parked command of a client run again. The sender has ended its wait (`ClientInfo::wait`).
    Wake(ClientId, Woken),
    /// The command that a client waits with was run elsewhere.
    Deliver(Delivery),
    /// Commands to show to the loop's monitors.
    Monitor(Bytes),
    /// Messages for clients of the loop that listen.
    Post(Batch),
    /// Users have changed: close who may not listen any more to what it listens to, and say when that is done.
    UsersChanged(Arc<Silence>),
    /// Look whom the time wakes: a pause was ended.
    Look,
    /// The journal's files are loaded; so much of the newest one is whole. Only the first loop gets it.
    Loaded { good_len: Option<u64> },
    /// A signal wants the server to stop: save what must be saved, then tell everybody to end.
    Terminate,
    /// Send what waits, close everything, end.
    Shutdown,
}

/// One loop in the eyes of the others. 128-aligned: counting a connection disturbs no other loop's line.
#[repr(align(128))]
struct Seat {
    mailbox: Mailbox<Mail, Waker>,
    /// Connections that the loop has or was given.
    load: AtomicUsize,
}

/// All loops.
pub struct Fleet {
    seats: Box<[Seat]>,
    /// The path of the Unix socket, as clients that came through it are shown.
    pub unix_path: Option<Arc<str>>,
    /// The number of the Unix socket among the listeners.
    pub unix_listener: Option<u16>,
    /// `tcp-keepalive` as the listeners have it, whose sockets inherit it.
    pub keepalive: Option<u32>,
    /// Shuts the listeners down, for all loops at once.
    pub shut_doors: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Fleet {
    /// One loop per waker, in the order of their ids.
    pub fn new(wakers: Vec<Waker>) -> Self {
        let seats =
            wakers.into_iter().map(|waker| Seat { mailbox: Mailbox::new(waker), load: AtomicUsize::new(0) }).collect();
        Fleet { seats, unix_path: None, unix_listener: None, keepalive: None, shut_doors: OnceLock::new() }
    }
    /// The mailbox of a loop.
    pub fn mailbox(&self, id: LoopId) -> &Mailbox<Mail, Waker> {
        &self.seats[id.0 as usize].mailbox
    }
    /// Sends every loop the mail that `make` gives.
    pub fn broadcast(&self, make: impl Fn() -> Mail) {
        self.seats.iter().for_each(|seat| seat.mailbox.send(make()));
    }
    /// The server ends. Nobody can connect any more from here on, so that who asked for the end and sees its connection closed
    /// does not meet a server that is about to go.
    pub fn stop(&self) {
        if let Some(shut) = self.shut_doors.get() {
            shut();
        }
        self.broadcast(|| Mail::Shutdown);
    }
    /// Sends every other loop the mail that `make` gives.
    pub fn tell_others(&self, me: LoopId, make: impl Fn() -> Mail) {
        let others = self.seats.iter().enumerate().filter(|(index, _)| *index != me.0 as usize);
        others.for_each(|(_, seat)| seat.mailbox.send(make()));
    }
    /// The loop for a new connection: the one with the fewest, `me` among equals (no hand-over). Counts it there.
    /// Order: Relaxed: two loops that choose at the same moment may choose the same one; the next choice evens it out.
    pub fn place(&self, me: LoopId) -> LoopId {
        let load = |index: usize| self.seats[index].load.load(Relaxed);
        let mut best = me.0 as usize;
        for step in 1..self.seats.len() {
            let index = (me.0 as usize + step) % self.seats.len();
            if load(index) < load(best) {
                best = index;
            }
        }
        self.seats[best].load.fetch_add(1, Relaxed);
        LoopId(best as u16)
    }
    /// A connection of loop `id` is gone.
    pub fn leave(&self, id: LoopId) {
        self.seats[id.0 as usize].load.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::scripted::Scripted;
    use crate::ring::{Engine, Sizes};

    #[test]
    fn connections_are_spread_evenly_whoever_accepts_them() {
        let waker = Scripted::new(&Sizes { buffer_count: 1, ..Sizes::default() }).unwrap().waker();
        let fleet = Fleet::new(vec![waker; 16]);
        let loads = || fleet.seats.iter().map(|seat| seat.load.load(Relaxed)).collect::<Vec<_>>();
        for _ in 0..50 {
            fleet.place(LoopId(3));
        }
        assert!(loads().iter().all(|load| (3..=4).contains(load)), "{:?}", loads());
        (0..loads()[7]).for_each(|_| fleet.leave(LoopId(7)));
        assert_eq!(fleet.place(LoopId(3)), LoopId(7), "the emptiest one is next");
        assert_eq!(Fleet::new(vec![fleet.mailbox(LoopId(0)).waker().clone()]).place(LoopId(0)), LoopId(0));
    }
}
