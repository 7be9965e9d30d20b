//! Messages on their way to clients that did not ask for them just now: see `pubsub`.
//!
//! ```text
//! a command publishes              parcels wait in the loop's desk
//! before the next command of a     handed out to this loop's clients: each gets a copy, or a reference, behind what
//! client that listens; turn's end  already waits for it
//! turn's end                       one mail to each loop for which there is something, before this turn's replies leave
//! ```
//! Handing out is cheap, sending is not: `flush` sends to some of those who have nothing but messages in each turn.
//!
//! A client that is in the middle of a long reply gets its messages behind that reply.

use super::conn::{Conn, Life};
use super::fleet::Mail;
use super::send::Pool;
use super::slab::Slab;
use super::{EventLoop, make_dirty};
use crate::cmd::session::Session;
use crate::cmd::silence::Silence;
use crate::pubsub::desk::{Batch, Content, Desk, Form, Parcel, To};
use crate::resp::reply::{Output, Proto};
use crate::ring::{Engine, Token};
use std::collections::VecDeque;
use std::sync::Arc;

/// A client that has more messages than this, or large ones, is sent them in this turn: no more is kept for the sake of the
/// other clients, however much is published.
pub(super) const DUE_LEN_MAX: usize = 4 << 10;

/// What handing out changes of a loop.
pub(super) struct Hands<'l> {
    pub conns: &'l mut Slab,
    pub tray: Tray<'l>,
}

/// Where buffers come from, and where clients are noted that are to be sent something: in this turn, or in one of the next.
pub(super) struct Tray<'l> {
    pub pool: &'l mut Pool,
    pub dirty: &'l mut Vec<Token>,
    pub due: &'l mut VecDeque<Token>,
    /// By how much buffers have grown.
    pub grown: &'l mut usize,
}

impl Hands<'_> {
    /// Hands out what waits for this loop's own clients.
    pub fn hand_out_here(&mut self, desk: &mut Desk) {
        let parcels = desk.take_here();
        self.hand_out(desk, &parcels, desk.small());
        desk.handed_out(parcels);
    }

    /// Hands out parcels in their order. Neighbours for the same subscribers go together: each of these is visited once.
    fn hand_out(&mut self, desk: &Desk, parcels: &[Parcel], small: &[u8]) {
        for together in parcels.chunk_by(|a, b| a.to == b.to) {
            match &together[0].to {
                To::Subscribers(space, name, last) => {
                    desk.each_seat(*space, name, *last, |seat| {
                        let conn = self.conns.at(seat.slot as usize).filter(|conn| seat.is_of(conn.session.id));
                        self.tray.give(conn, together, small);
                    });
                }
                To::Client(id, slot) => {
                    let conn = self.conns.at(*slot as usize).filter(|conn| conn.session.id == *id);
                    self.tray.give(conn, together, small);
                }
            }
        }
    }
}

impl Tray<'_> {
    /// Gives a client its messages, those that it can read.
    #[inline]
    fn give(&mut self, conn: Option<&mut Conn>, parcels: &[Parcel], small: &[u8]) {
        let Some(conn) = conn.filter(|conn| conn.life < Life::Draining) else { return };
        self.pool.equip(&mut conn.reply.out);
        let (proto, room) = (conn.reply.proto, conn.reply.out.buf.capacity());
        for parcel in parcels {
            let is_readable = match parcel.form {
                Form::Any => true,
                Form::Resp3 => proto == Proto::Resp3,
                Form::Resp2 => proto == Proto::Resp2 && conn.session.is_subscribed(),
            };
            if is_readable {
                push(output_of(conn), parcel.content(small), proto);
            }
        }
        *self.grown += conn.reply.out.buf.capacity().saturating_sub(room);
        let may_wait = conn.reply.out.buf.len() < DUE_LEN_MAX && conn.reply.out.refs.is_empty();
        if !may_wait {
            make_dirty(self.dirty, conn);
        } else if !conn.is_due && !conn.is_dirty {
            conn.is_due = true;
            self.due.push_back(conn.token);
        }
    }
}

/// Where a push is to be written: behind the long reply that the client is in the middle of, if it is.
#[inline]
fn output_of(conn: &mut Conn) -> &mut Output {
    if conn.long.is_some() { conn.pushed.get_or_insert_default() } else { &mut conn.reply.out }
}

#[inline]
fn push(output: &mut Output, content: Content<'_>, proto: Proto) {
    match content {
        Content::Copied(bytes) => output.push_copied(bytes, proto),
        Content::Shared(bytes) => output.push_shared(bytes, proto),
    }
}

impl<E: Engine> EventLoop<E> {
    /// Hands out what waits for anybody: here at once, elsewhere by mail.
    /// Cost: two comparisons if nothing waits.
    #[inline]
    pub(super) fn post(&mut self) {
        if self.effects.desk.has_some() {
            self.post_all();
        }
    }

    fn post_all(&mut self) {
        self.hands(|hands, desk| hands.hand_out_here(desk));
        for (home, batch) in self.effects.desk.take_away() {
            self.fleet.mailbox(home).send(Mail::Post(batch));
        }
    }

    /// Hands out what another loop has sent.
    pub(super) fn hand_out_batch(&mut self, batch: &Batch) {
        self.hands(|hands, desk| hands.hand_out(desk, &batch.parcels, &batch.small));
    }

    /// The client is gone, and listens to nothing any more.
    pub(super) fn forget_subscriptions(&mut self, session: &mut Session) {
        if let Some(subs) = session.subs.take() {
            self.effects.desk.forget(&self.world.pubsub, &subs, &session.info);
            self.world.pubsub.count_client(false);
        }
    }

    /// Users have changed: everywhere clients may have lost the right to listen to what they have subscribed to.
    #[cold]
    pub(super) fn tell_of_users(&mut self, silence: Arc<Silence>) {
        if self.world.pubsub.clients() == 0 && !silence.is_awaited() {
            return;
        }
        self.silence_the_forbidden(&silence);
        self.fleet.tell_others(self.id, || Mail::UsersChanged(silence.clone()));
    }

    /// Closes the clients of this loop that may not listen any more to what they listen to, except those that only wait for
    /// their last replies to be sent.
    pub(super) fn silence_the_forbidden(&mut self, silence: &Silence) {
        let acl = &self.world.acl;
        let mut forbidden = Vec::new();
        for conn in self.conns.iter().filter(|conn| conn.session.is_subscribed() && conn.life < Life::Draining) {
            if !conn.session.may_go_on_listening(acl) {
                forbidden.push(conn.token);
            }
        }
        forbidden.into_iter().for_each(|token| self.close(token));
        silence.count_out();
    }

    fn hands(&mut self, work: impl FnOnce(&mut Hands<'_>, &mut Desk)) {
        let EventLoop { conns, pool, dirty, listeners_due: due, effects, charges, .. } = self;
        let grown = &mut charges.posted;
        work(&mut Hands { conns, tray: Tray { pool, dirty, due, grown } }, &mut effects.desk);
    }
}
