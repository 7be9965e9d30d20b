//! What a parked command waits for and nobody but a thread can do: it may block, and wakes the client when it is done.

use super::fleet::{Fleet, Mail};
use crate::admin::clients::ClientInfo;
use crate::admin::wait::Ticket;
use crate::base::crash;
use crate::cmd::command::{Errand, Woken};
use std::sync::Arc;
use std::thread;

/// Sends off the errand of a client that has just been parked, if it has one. If there is no thread for it, its time is up at
/// once.
pub fn send_off(fleet: &'static Fleet, info: &Arc<ClientInfo>, errand: Option<Errand>) {
    let (Some(errand), Some(ticket)) = (errand, info.wait.present()) else { return };
    let own = info.clone();
    let job = move || {
        crash::prepare_thread();
        errand();
        come_back(fleet, &own, ticket, Woken::Event { until: None });
    };
    if thread::Builder::new().name("errand".into()).spawn(job).is_err() {
        come_back(fleet, info, ticket, Woken::TimedOut);
    }
}

/// Wakes the client, if it still waits for this.
fn come_back(fleet: &Fleet, info: &ClientInfo, ticket: Ticket, why: Woken) {
    if info.wait.claim(ticket) {
        info.wait.over(ticket);
        fleet.mailbox(info.home).send(Mail::Wake(info.id, why));
    }
}
