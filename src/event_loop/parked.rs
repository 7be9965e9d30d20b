//! Parked clients: a command must wait, and its client with it; the loop goes on.
//!
//! ```text
//! run      the dispatcher (a pause) or a handler (it waits for something) returns Flow::Park: nothing has happened yet
//! park     the command and what was cut behind it are kept (`held`); the client is not visited any more
//! wake     the pause ends · the time is up · CLIENT UNBLOCK:  `session.woken` says which
//! visit    the command runs again from its start: it replies, or parks again
//! deliver  what it waits for has come, and another command's loop has run it (`exec::serve`): its reply is sent
//! ```
//! So a blocking command has no second half to write: its handler looks for what it wants; if it is not there and `woken`
//! is not `TimedOut`, it parks.
//!
//! *Who wakes.* What it waits for, the time and CLIENT UNBLOCK may come together, on different loops. `ClientInfo::wait` gives
//! the wait to one of them. A pause needs no claim: only its end ends it.
//!
//! *Time.* Deadlines stand in one ordered set per loop, at most one per client, whatever it is for (`Conn::alarm_at`); the
//! loop sleeps until the first. Nothing polls. A thousand clients that block and are woken by events cost a removal each.
//!
//! *Gone.* While it is parked a client is read from, so its end is noticed; it is closed at once and the command never runs,
//! as in Redis. What it pipelines meanwhile is kept up to a limit, then it is not read any further.

use super::conn::{Conn, Life};
use super::{EventLoop, make_dirty, make_ready};
use crate::admin::clients::client_flag;
use crate::base::clock::WallMs;
use crate::base::ids::ClientId;
use crate::cmd::blocking::Delivery;
use crate::cmd::command::{Wait, Woken};
use crate::cmd::world::World;
use crate::ring::{Engine, Token};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// See the module header. One per loop.
#[derive(Default)]
pub struct Parked {
    /// Clients whose command waits for the end of a pause, or for the disk to catch up, in the order in which they came; some may be gone.
    paused: Vec<Token>,
    alarms: BTreeSet<(WallMs, Token)>,
}

impl Parked {
    /// A command of this client waits from now on.
    pub fn park(&mut self, conn: &mut Conn, wait: Wait, world: &World) {
        conn.wait = Some(wait);
        conn.session.info.set(client_flag::BLOCKED, true);
        world.clients.count_blocked(true);
        match wait {
            Wait::Pause => self.paused.push(conn.token),
            Wait::Event { .. } => {
                if conn.session.blocked.is_none() {
                    conn.session.info.wait.begin(world.clients.ticket()); // Nobody but the time and UNBLOCK may end it.
                }
                self.set_alarm(conn);
            }
        }
    }
    /// Brings the client's alarm in line with what it waits for.
    pub fn set_alarm(&mut self, conn: &mut Conn) {
        let wanted = conn.alarm_wanted();
        if wanted == conn.alarm_at {
            return;
        }
        if let Some(at) = conn.alarm_at {
            self.alarms.remove(&(at, conn.token));
        }
        if let Some(at) = wanted {
            self.alarms.insert((at, conn.token));
        }
        conn.alarm_at = wanted;
    }
    /// Somebody else has the client's wait at this moment: looks at it again a little later.
    fn put_off(&mut self, conn: &mut Conn, now: WallMs) {
        let at = WallMs(now.0 + 1);
        conn.alarm_at = Some(at);
        self.alarms.insert((at, conn.token));
    }
    /// The client is about to be closed, and waits for nothing any more.
    pub fn forget(&mut self, conn: &mut Conn, world: &World) {
        conn.session.info.wait.abandon();
        if let Some(blocked) = conn.session.blocked.take() {
            world.waiters.leave(blocked.ticket, &blocked.places);
        }
        if let Some(at) = conn.alarm_at.take() {
            self.alarms.remove(&(at, conn.token));
        }
        if conn.wait.take().is_some() {
            world.clients.count_blocked(false);
        }
    }
    /// The next moment at which somebody must be looked at.
    pub fn next_at(&self, world: &World, now: WallMs) -> Option<WallMs> {
        let alarm = self.alarms.first().map(|&(at, _)| at);
        if self.paused.is_empty() {
            return alarm;
        }
        let pause_end = match world.attention.paused(now) {
            Some((_, until)) => until,
            None if world.attention.is_backlogged() => return alarm, // The journal's thread wakes us.
            None => now,
        };
        Some(alarm.map_or(pause_end, |at| at.min(pause_end)))
    }
    fn is_due(&self, now: WallMs) -> bool {
        !self.paused.is_empty() || self.alarms.first().is_some_and(|&(at, _)| at <= now)
    }
}

impl<E: Engine> EventLoop<E> {
    /// Wakes whom the time wakes, and everybody who waits for a pause that is over.
    /// Cost: two comparisons if there is nobody.
    #[inline]
    pub(super) fn ring_alarms(&mut self, now: WallMs) {
        if self.parked.is_due(now) {
            self.ring_due(now);
        }
    }

    #[cold]
    fn ring_due(&mut self, now: WallMs) {
        if self.world.attention.is_busy() {
            return; // Nothing may run. The end of the script is looked for every few milliseconds (`sleep_time`).
        }
        if self.world.attention.paused(now).is_none() && !self.world.attention.is_backlogged() {
            for token in std::mem::take(&mut self.parked.paused) {
                self.wake(token, None);
            }
        }
        while let Some(&(at, token)) = self.parked.alarms.first().filter(|&&(at, _)| at <= now) {
            self.parked.alarms.remove(&(at, token));
            let Some(conn) = self.conns.get(token) else { continue };
            conn.alarm_at = None;
            self.on_alarm(token, now);
        }
    }

    /// A moment that the client waited for has come: the end of its command's patience, or of ours with it.
    fn on_alarm(&mut self, token: Token, now: WallMs) {
        let Some(conn) = self.conns.get(token) else { return };
        if conn.is_over_patience(now) {
            return self.give_up(token, now);
        }
        let is_late = matches!(conn.wait, Some(Wait::Event { until: Some(until) }) if until <= now);
        if is_late {
            if conn.session.info.wait.try_end() {
                return self.wake(token, Some(Woken::TimedOut));
            }
            return self.parked.put_off(conn, now);
        }
        self.parked.set_alarm(conn); // Another reason is still ahead.
    }

    /// Lets the parked command of a client run again. Whoever calls this for another reason than a pause has ended its wait.
    pub(super) fn wake(&mut self, token: Token, why: Option<Woken>) {
        let Some(conn) = self.conns.get(token) else { return };
        if conn.wait.take().is_none() {
            return;
        }
        if why.is_some() {
            conn.session.woken = why; // What woke it before a pause held it back still counts.
        }
        self.unpark(token);
    }

    /// The client waits no longer: it leaves the queues of its keys, and is visited again.
    fn unpark(&mut self, token: Token) {
        let Some(conn) = self.conns.get(token) else { return };
        if let Some(blocked) = conn.session.blocked.take() {
            self.world.waiters.leave(blocked.ticket, &blocked.places);
            let mut deputy = blocked.deputy.lock().unwrap_or_else(PoisonError::into_inner);
            conn.session.kept = deputy.kept.take();
        }
        conn.session.info.set(client_flag::BLOCKED, false);
        self.world.clients.count_blocked(false);
        self.parked.set_alarm(conn);
        make_ready(&mut self.ready, conn, self.clock);
    }

    /// The command of a parked client was run elsewhere: sends its reply and goes on behind it.
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let Some(token) = self.find(delivery.id) else { return };
        let Some(conn) = self.conns.get(token) else { return };
        let is_this_wait = conn.session.blocked.as_ref().is_some_and(|blocked| blocked.ticket == delivery.ticket);
        if !is_this_wait || conn.wait.take().is_none() {
            return; // It is being closed.
        }
        conn.input.skip_held();
        conn.session.written = conn.session.written.max(delivery.written);
        if conn.session.wants_reply() {
            conn.reply.append(delivery.output);
            make_dirty(&mut self.dirty, conn);
        }
        conn.session.traffic.commands += 1;
        self.unpark(token);
        if let Some(conn) = self.conns.get(token) {
            conn.session.kept = None;
        }
    }

    /// As `wake`, by number: mail of another loop.
    pub(super) fn wake_id(&mut self, id: ClientId, why: Woken) {
        if let Some(token) = self.find(id) {
            self.wake(token, Some(why));
        }
    }

    /// The connection of a client of this loop.
    pub(super) fn find(&mut self, id: ClientId) -> Option<Token> {
        let info = self.world.clients.get(id).filter(|info| info.home == self.id)?;
        let conn = self.conns.at(info.slot() as usize)?;
        (conn.session.id == id).then_some(conn.token)
    }

    /// The peer of a parked client has gone: its command never runs.
    pub(super) fn is_forsaken(&mut self, token: Token) -> bool {
        self.conns.get(token).is_some_and(|conn| conn.wait.is_some() && conn.life >= Life::PeerDone)
    }
}
