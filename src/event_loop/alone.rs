//! Jobs that stop everybody, and may take too long: a script, or a transaction with one in it.
//!
//! ```text
//! run_some   comes to such a command and ends: nothing of the loop is borrowed any more
//! play       the client's session goes on stage with the job; a stand-in keeps its place, the client is not visited
//! turn       the job lets the others run: what is left of the window is held, then a turn as any other, without waiting
//! end        the session returns, the reply is appended; if there were turns the outer one visits nobody else
//! ```
//! A client on stage is read from, and may be closed or killed: then the job goes on, and its reply finds nobody.

use super::conn::Life;
use super::window::{At, Window};
use super::{EventLoop, make_dirty, make_ready};
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use crate::cmd::command::Flow;
use crate::exec::alone::{Cue, Others};
use crate::exec::dispatch::Turn;
use crate::exec::room;
use crate::exec::watch::Watch;
use crate::resp::reply::Reply;
use crate::ring::{Engine, Token};
use crate::table::Guard;
use std::time::Duration;

/// What a turn that was interrupted by others has to put away first.
struct Wings<'l, 't, E: Engine> {
    event_loop: &'l mut EventLoop<E>,
    window: &'l Window,
    place: &'l mut At<'t>,
    now: WallMs,
}

impl<E: Engine> Others for Wings<'_, '_, E> {
    fn turn(&mut self) {
        if !self.event_loop.is_interrupted {
            self.event_loop.put_away(self.window, self.place, self.now);
        }
        self.event_loop.turn_between();
    }
    fn is_stopping(&self) -> bool {
        self.event_loop.deadline.is_some()
    }
}

impl<E: Engine> EventLoop<E> {
    /// Runs the job of the command before `place`.
    pub(super) fn play(
        &mut self,
        window: &Window,
        place: &mut At<'_>,
        cue: Cue,
        watch: &mut Watch,
        guard: &Guard<'_>,
        now: WallMs,
    ) {
        let token = window.token_at(place);
        let Some(conn) = self.conns.get(token) else { return };
        let stand_in = conn.session.stand_in();
        let mut session = std::mem::replace(&mut conn.session, stand_in);
        let mut reply = Reply { proto: conn.reply.proto, ..Reply::default() };
        conn.is_on_stage = true;
        let (world, stats, local) = (self.world, self.stats(), self.local.clone());
        let desk = self.effects.desk.deputy();
        let (mut effects, mut prng) = (std::mem::take(&mut self.effects), Prng::seeded(self.prng.next_u64()));
        self.effects.desk = desk;
        let mut turn = Turn {
            watch,
            world,
            guard,
            stats,
            local: &local,
            now,
            prng: &mut prng,
            effects: &mut effects,
            long: None,
            cue: None,
            section: None,
            is_alone: world.safepoint.is_inside(self.id),
            limit: room::limit(&world.config),
            is_short: cue.is_short,
        };
        let mut wings = Wings { event_loop: self, window, place, now };
        let flow = turn.play(cue, &mut session, &mut reply, &mut wings);
        drop(turn);
        self.effects = effects; // What others did in between was handed over by their turns.
        let Some(conn) = self.conns.get(token) else {
            self.forget_subscriptions(&mut session); // It was closed meanwhile.
            return session.discard(&world.watched);
        };
        session.traffic.received = conn.session.traffic.received;
        session.traffic.sent = conn.session.traffic.sent;
        conn.session = session;
        conn.is_on_stage = false;
        conn.reply.proto = reply.proto;
        conn.reply.append(reply.take());
        make_dirty(&mut self.dirty, conn);
        self.leave_stage(token, flow, window, place);
    }

    /// The client goes on behind its job.
    fn leave_stage(&mut self, token: Token, flow: Flow, window: &Window, place: &mut At<'_>) {
        let Some(conn) = self.conns.get(token) else { return };
        if flow != Flow::Done {
            place.stop |= flow == Flow::Shutdown;
            conn.advance(Life::Draining);
        }
        if self.is_interrupted {
            make_ready(&mut self.ready, conn, self.clock);
            place.end(window);
        }
    }

    /// Before others run: nothing of the present window and tour is left to be done in this turn.
    fn put_away(&mut self, window: &Window, place: &mut At<'_>, now: WallMs) {
        self.is_interrupted = true;
        window.each_rest(place, |token, index, first| {
            let Some(conn) = self.conns.get(token) else { return };
            window.hold_rest(index, first, &mut conn.input, &self.arrivals, &self.engine);
            make_ready(&mut self.later, conn, self.clock);
        });
        self.end_tour(place.tour);
        self.settle(now);
    }

    /// A turn that does not wait, while a job is on stage.
    fn turn_between(&mut self) {
        self.world.safepoint.poll(self.id);
        // The engine has failed: the next wait of the loop itself will tell.
        let _ = self.engine.wait(Some(Duration::ZERO), &mut self.completions);
        let now = self.world.keyspace.now.refresh();
        self.file(now);
        if !self.ready.is_empty() {
            let seat = self.seat.clone();
            let mut guard = seat.pin();
            let was_interrupted = std::mem::take(&mut self.is_interrupted);
            let stop = self.visit_all(&mut guard, self.clock, now);
            self.settle(now);
            self.is_interrupted = was_interrupted;
            self.hand_over_effects();
            if stop {
                self.fleet.stop();
            }
        }
        self.flush(now);
    }
}
