//! What follows at once from CONFIG SET: other sockets, room for more clients, another word to the kernel.
//!
//! New sockets are opened before old ones are closed, so a change that fails leaves everything as it was, and one that keeps
//! an address does not interrupt it. Opening is done here; the loops get the sockets by mail. An address that is given up is
//! shut down here, too: when CONFIG SET replies, nobody connects to it any more, whenever its loops let go of it.

use super::listen::Listeners;
use super::oom::OomScore;
use super::title::Title;
use super::{crash, limits, watchdog};
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::ids::LoopId;
use crate::cmd::world::{Apply, World};
use crate::event_loop::fleet::{Fleet, Mail};
use nix::sys::socket::{Shutdown, shutdown};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// The TCP listeners that are open.
pub struct Open {
    pub tcp: Vec<OpenAddress>,
    /// No listener has had this number or a higher one.
    pub next: u16,
}

/// An address that is listened on.
pub struct OpenAddress {
    listener: u16,
    address: SocketAddr,
    /// The loops' sockets, by descriptors of our own.
    sockets: Vec<OwnedFd>,
}

impl Open {
    /// Nobody can connect over TCP any more.
    pub fn shut_down(&self) {
        self.tcp.iter().for_each(OpenAddress::shut_down);
    }
}

impl OpenAddress {
    /// Looks up the sockets of an address among those that were just opened for the loops.
    pub fn of(listener: u16, address: SocketAddr, per_loop: &[Vec<(u16, OwnedFd)>]) -> Self {
        let own = per_loop.iter().flatten().filter(|(number, _)| *number == listener);
        // Without a descriptor of our own the socket is closed a moment later, by its loop.
        let sockets = own.filter_map(|(_, socket)| socket.try_clone().ok()).collect();
        OpenAddress { listener, address, sockets }
    }
    /// Nobody can connect any more. An error says that nobody could before.
    fn shut_down(&self) {
        for socket in &self.sockets {
            let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
        }
    }
}

/// The function that `World::apply` holds.
pub fn applier(world: &'static World, fleet: &'static Fleet, open: Arc<Mutex<Open>>, score: OomScore) -> Apply {
    let score = Mutex::new(score);
    let title = Title::new();
    title.show(world);
    Box::new(move |ids| {
        if let Some(&id) = ids.iter().find(|id| [Id::OOM_SCORE_ADJ, Id::OOM_SCORE_ADJ_VALUES].contains(id)) {
            let mut score = score.lock().unwrap_or_else(PoisonError::into_inner);
            score.apply(&world.config).map_err(|reason| (id, reason))?;
        }
        if ids.contains(&Id::CRASH_LOG_ENABLED) {
            crash::heed(&world.config);
        }
        if ids.contains(&Id::WATCHDOG_PERIOD) {
            watchdog::heed(world);
        }
        if ids.contains(&Id::MAXCLIENTS) {
            make_room(world)?;
        }
        if let Some(&id) = ids.iter().find(|&&id| id == Id::PORT || id == Id::BIND) {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            listen_elsewhere(world, fleet, &mut open).map_err(|reason| (id, reason(id)))?;
        }
        if ids.iter().any(|id| [Id::PROC_TITLE_TEMPLATE, Id::PORT, Id::BIND].contains(id)) {
            title.show(world);
        }
        Ok(())
    })
}

/// Raises the limit of open files to what `maxclients` needs.
fn make_room(world: &World) -> Result<(), (Id, String)> {
    let wanted = world.config.number(Id::MAXCLIENTS) as u64;
    let room = limits::make_room(wanted, world.boot.loops).unwrap_or(0);
    if room >= wanted {
        return Ok(());
    }
    let text = "The operating system is not able to handle the specified number of clients, try with";
    Err((Id::MAXCLIENTS, format!("{text} {room}")))
}

/// Opens the addresses that `bind` and `port` name now, and closes the others.
fn listen_elsewhere(world: &World, fleet: &Fleet, open: &mut Open) -> Result<(), impl Fn(Id) -> String + use<>> {
    let addresses: Vec<SocketAddr> = open.tcp.iter().map(|open| open.address).collect();
    let fresh = match Listeners::open_tcp(&world.config, world.boot.loops, open.next, &addresses) {
        Ok(fresh) => fresh,
        Err(error) => {
            log::warning(format_args!("{error}"));
            return Err(|id| match id {
                Id::PORT => "Unable to listen on this port. Check server logs.".to_string(),
                _ => "Failed to bind to specified addresses.".to_string(),
            });
        }
    };
    let Listeners { per_loop, tcp, wanted, .. } = fresh;
    let first = open.next;
    open.next += tcp.len() as u16;
    let added: Vec<_> =
        (first..).zip(tcp).map(|(listener, address)| OpenAddress::of(listener, address, &per_loop)).collect();
    for (index, sockets) in per_loop.into_iter().enumerate() {
        for (listener, socket) in sockets {
            fleet.mailbox(LoopId(index as u16)).send(Mail::Listen { listener, socket });
        }
    }
    for gone in open.tcp.extract_if(.., |open| !wanted.contains(&open.address)) {
        gone.shut_down();
        fleet.broadcast(|| Mail::StopListening(gone.listener));
    }
    open.tcp.extend(added);
    Ok(())
}
