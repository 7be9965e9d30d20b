//! Closing connections, a bounded number of them per turn.
//!
//! A close costs some microseconds, most of them the kernel's. Ten thousand clients that go at the same moment (a program that
//! ends, CLIENT KILL TYPE normal) would keep the loop's other clients waiting for a twentieth of a second.
//!
//! ```text
//! leave     the peer has gone, or has its last reply: closed now, if the turn has closed few; else
//! waiting   no command of it runs any more, nothing is given to it, it has left the queues of the keys it waited for
//! close     in one of the next turns
//! ```
//! CLIENT KILL is mail to the victim's loop: victims beyond the turn's share stay as they are until their turn comes, as if
//! the mail were under way for longer.

use super::conn::Life;
use super::{CLOSES_PER_TURN, EventLoop};
use crate::base::ids::ClientId;
use crate::ring::{Engine, Token};
use std::collections::VecDeque;

/// See the module header.
#[derive(Default)]
pub(super) struct Closing {
    /// Connections that have left; some may be closed already.
    waiting: VecDeque<Token>,
    /// Clients that somebody wants gone.
    kills: VecDeque<ClientId>,
    /// How many the present turn has closed.
    closed: usize,
}

impl Closing {
    pub fn begin_turn(&mut self) {
        self.closed = 0;
    }
    /// Nothing is left to be done in later turns.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.kills.is_empty()
    }
    fn may_close(&self) -> bool {
        self.closed < CLOSES_PER_TURN
    }
}

impl<E: Engine> EventLoop<E> {
    /// Ends a connection that is done, in this turn or in one of the next.
    pub(super) fn leave(&mut self, token: Token) {
        if self.closing.may_close() && self.closing.waiting.is_empty() {
            return self.close(token);
        }
        let Some(conn) = self.conns.get(token) else { return };
        if conn.is_leaving {
            return;
        }
        conn.is_leaving = true;
        conn.life = Life::Draining; // Also if it is broken: nothing of it runs.
        conn.reply.take();
        self.charges.charge(conn);
        self.parked.forget(conn, self.world);
        self.closing.waiting.push_back(token);
    }

    /// Closes those whose turn it is.
    pub(super) fn close_some(&mut self) {
        while self.closing.may_close()
            && let Some(token) = self.closing.waiting.pop_front()
        {
            self.close(token);
        }
    }

    /// Somebody wants this client gone.
    pub(super) fn kill(&mut self, id: ClientId) {
        self.closing.kills.push_back(id);
        self.carry_out_kills();
    }

    /// Closes clients that somebody wants gone. What they have not been sent is lost, as in Redis.
    pub(super) fn carry_out_kills(&mut self) {
        while self.closing.may_close()
            && let Some(id) = self.closing.kills.pop_front()
        {
            if let Some(token) = self.find(id) {
                self.close(token);
            }
        }
    }

    /// Ends a connection at once.
    pub(super) fn close(&mut self, token: Token) {
        let Some(mut conn) = self.conns.remove(token) else { return };
        self.closing.closed += 1;
        self.charges.discharge(&mut conn);
        self.world.clients.remove(&conn.session.info); // Before the peer can know, and ask who is connected.
        self.parked.forget(&mut conn, self.world);
        conn.session.unwatch(&self.world.watched);
        if conn.session.is_monitor {
            self.world.attention.remove_monitor(self.id);
        }
        self.forget_subscriptions(&mut conn.session);
        conn.session.end_tracking(&self.world.tracking);
        self.engine.close(token);
        self.fleet.leave(self.id);
    }
}
