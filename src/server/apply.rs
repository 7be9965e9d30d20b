//! What follows at once from CONFIG SET: other sockets, room for more clients, another word to the kernel.
//!
//! New sockets are opened before old ones are closed, so a change that fails leaves everything as it was, and one that keeps
//! an address does not interrupt it. Opening is done here; the loops get the sockets by mail.

use super::listen::Listeners;
use super::oom::OomScore;
use super::{crash, limits};
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::ids::LoopId;
use crate::cmd::world::{Apply, World};
use crate::event_loop::fleet::{Fleet, Mail};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

/// The TCP listeners that are open.
pub struct Open {
    /// Number and address of each.
    pub tcp: Vec<(u16, SocketAddr)>,
    /// No listener has had this number or a higher one.
    pub next: u16,
}

/// The function that `World::apply` holds.
pub fn applier(world: &'static World, fleet: &'static Fleet, open: Open, score: OomScore) -> Apply {
    let (open, score) = (Mutex::new(open), Mutex::new(score));
    Box::new(move |ids| {
        if let Some(&id) = ids.iter().find(|id| [Id::OOM_SCORE_ADJ, Id::OOM_SCORE_ADJ_VALUES].contains(id)) {
            let mut score = score.lock().unwrap_or_else(PoisonError::into_inner);
            score.apply(&world.config).map_err(|reason| (id, reason))?;
        }
        if ids.contains(&Id::CRASH_LOG_ENABLED) {
            crash::heed(&world.config);
        }
        if ids.contains(&Id::MAXCLIENTS) {
            make_room(world)?;
        }
        if let Some(&id) = ids.iter().find(|&&id| id == Id::PORT || id == Id::BIND) {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            listen_elsewhere(world, fleet, &mut open).map_err(|reason| (id, reason(id)))?;
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
    let addresses: Vec<SocketAddr> = open.tcp.iter().map(|&(_, address)| address).collect();
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
    let wanted = fresh.wanted;
    for (index, sockets) in fresh.per_loop.into_iter().enumerate() {
        for (listener, socket) in sockets {
            fleet.mailbox(LoopId(index as u16)).send(Mail::Listen { listener, socket });
        }
    }
    let (kept, gone): (Vec<_>, Vec<_>) = open.tcp.iter().partition(|(_, address)| wanted.contains(address));
    gone.iter().for_each(|&(listener, _)| fleet.broadcast(|| Mail::StopListening(listener)));
    open.tcp = kept;
    for address in fresh.tcp {
        open.tcp.push((open.next, address));
        open.next += 1;
    }
    Ok(())
}
