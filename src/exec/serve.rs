//! Serving clients that wait: the loop whose command has filled a key runs the commands that wait for it, before anything
//! else, and sends their replies to where their clients live.
//!
//! ```text
//! push ─▶ its handler is done ─▶ for each key it filled, for each client in the key's queue:
//!           the key holds what it waits for? ─▶ claim its wait ─▶ run its command ─▶ a reply: deliver, it leaves the queue
//!                                                                               ─▶ it would wait again: reopen the wait
//! ```
//! What these commands fill in turn (BLMOVE) is served after them, until nothing is left. All this is behind the push and
//! before its reply is sent, so whoever hears of the push finds the waiting clients served. Only a command that runs on
//! another loop between the push and the serving, which is to say at the same time as the push, may be faster.
//!
//! *Nothing is lost.* A client that goes away while it waits leaves its queues or is passed over, and the element is for the
//! next one. Only if it goes away in the very moment in which its command runs elsewhere, its reply finds nobody, as a reply
//! that was on its way. *Nothing is overlooked*: see `keyspace::waiters` and `admin::wait`.

use super::dispatch::Turn;
use super::watch::Place as Ran;
use crate::admin::clients::client_flag;
use crate::admin::wait::Reopened;
use crate::base::clock::MonoNs;
use crate::base::sync::MutexGuard;
use crate::cmd::blocking::{Blocked, Delivery};
use crate::cmd::command::{Command, Flow, Wait, Woken};
use crate::cmd::resume::{Slice, Step};
use crate::cmd::session::Session;
use crate::keyspace::Keys;
use crate::keyspace::events::Listener;
use crate::keyspace::types::Type;
use crate::keyspace::waiters::{Place, Visited};
use crate::resp::args::Args;
use crate::resp::reply::{Output, Reply};
use std::sync::{Arc, PoisonError};

impl Turn<'_> {
    /// A handler has found nothing: its client joins the queues of the keys that it waits for. `Flow::Done`: it was served
    /// in this moment.
    #[cold]
    pub(super) fn wait(
        &mut self,
        row: &'static Command,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
        wait: Wait,
    ) -> Flow {
        let Some(wanted) = self.effects.wanted.take() else { return Flow::Park(wait) };
        let waiters = &self.world.waiters;
        if !waiters.is_heeded() {
            self.world.safepoint.run(session.home, || {
                waiters.heed();
                self.world.keyspace.listeners.heed(Listener::Waiting);
            });
            self.heed();
        }
        let blocked = Arc::new(Blocked::new(self.world.clients.ticket(), wanted, row, args, session, reply.proto));
        waiters.join(blocked.ticket, &blocked.places, &blocked);
        // Somebody may have filled a key since the handler looked. It is served in its order, behind who waits for longer.
        blocked.places.iter().for_each(|place| self.serve(place));
        self.serve_filled();
        let mine = self.effects.deliveries.iter().position(|delivery| delivery.ticket == blocked.ticket);
        let Some(mine) = mine.map(|at| self.effects.deliveries.remove(at)) else {
            session.blocked = Some(blocked);
            return Flow::Park(wait);
        };
        waiters.leave(blocked.ticket, &blocked.places);
        reply.append(mine.output);
        session.written = session.written.max(mine.written);
        session.traffic.commands += 1;
        Flow::Done
    }

    /// Serves who waits for what the command at hand has filled.
    /// Cost: one comparison if it has filled nothing, or nobody has ever waited.
    #[inline]
    pub(super) fn serve_filled(&mut self) {
        if self.local.events.has_ended() {
            self.note_ended();
        }
        if !self.effects.fills.is_empty() {
            self.serve_all();
        }
    }
    /// Serves who waits for keys that have expired meanwhile: the consumers of a stream's groups are told that it is gone.
    pub fn serve_ended(&mut self) {
        self.serve_filled();
    }
    #[cold]
    fn note_ended(&mut self) {
        for (db, key) in self.local.events.take_ended() {
            self.effects.filled(db, &key);
        }
    }

    #[cold]
    fn serve_all(&mut self) {
        let mut index = 0;
        if self.world.waiters.any_behind_fence() {
            // Time stood still for a transaction, and does no longer: what has expired meanwhile serves nobody.
            self.now = self.world.keyspace.now.refresh();
            // It may grow meanwhile: what is run for one client fills keys that others wait for.
            while let Some(place) = self.effects.fills.get(index) {
                self.serve(&place);
                index += 1;
            }
        }
        self.effects.fills.clear();
    }

    /// Serves who waits for this key, in the order in which they began to.
    fn serve(&mut self, place: &Place) {
        let keys =
            Keys::new(&self.world.keyspace, place.db(), self.guard, self.stats, self.local, self.now).no_touch(true);
        self.world.waiters.serve(place, |blocked| {
            let found = keys.peek(keys.key(place.key(), 0)).map(Type::of);
            if !blocked.awaited.is_met_by(found) || !blocked.info.wait.claim(blocked.ticket) {
                return Visited::Stays; // Whoever waits no longer takes itself out of the queue.
            }
            self.serve_one(blocked)
        });
    }

    /// Runs the command of a client whose wait was claimed, as often as something new has come meanwhile.
    fn serve_one(&mut self, blocked: &Blocked) -> Visited {
        let wait = &blocked.info.wait;
        if self.world.acl.generation() != blocked.acl_generation || self.is_held_back(blocked.row) {
            // It may not be allowed any more, or must wait for a pause: its own loop looks into that.
            wait.over(blocked.ticket);
            let again = Woken::Event { until: blocked.until };
            self.effects.unblocks.push((blocked.info.home, blocked.info.id, again));
            return Visited::Leaves;
        }
        loop {
            if let Some((output, written)) = self.run_deputy(blocked) {
                wait.over(blocked.ticket);
                let (home, id, ticket) = (blocked.info.home, blocked.info.id, blocked.ticket);
                self.effects.deliveries.push(Delivery { home, id, ticket, output, written });
                return Visited::Leaves;
            }
            match wait.reopen(blocked.ticket) {
                Reopened::Waits => return Visited::Stays,
                Reopened::LookAgain => {}
                Reopened::Over => return Visited::Leaves,
            }
        }
    }

    fn is_held_back(&self, row: &Command) -> bool {
        self.world.attention.is_wanted() && self.must_wait(row.flags)
    }

    /// Runs a waiting command: its reply, and the number of its change. None: it would have to wait again.
    fn run_deputy(&mut self, blocked: &Blocked) -> Option<(Output, u64)> {
        let (row, parts) = (blocked.row, blocked.args.parts());
        let args = Args::of(&parts);
        let mut session: MutexGuard<'_, Session> = blocked.deputy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reply = Reply { proto: blocked.proto, ..Reply::default() };
        session.woken = Some(Woken::Event { until: blocked.until });
        let started = MonoNs::now();
        session.written = 0;
        let is_in_order = self.enter_order(row, &session, &args);
        let mut cx = self.cx(&mut session, &mut reply);
        let mut result = (row.run)(&mut cx, args);
        if let Some(mut job) = cx.effects.job.take() {
            let mut step = Ok(Step::More);
            while step == Ok(Step::More) {
                let slice = Slice::begin(&cx.world.config);
                step = job.step(&mut cx, slice);
            }
            result = step.map(|_| Flow::Done);
        }
        if is_in_order {
            self.leave_order(&mut session, &args);
        }
        self.tell(&session);
        if matches!(result, Ok(Flow::Park(_))) {
            self.effects.wanted = None;
            return None;
        }
        if let Some(counters) = self.stats.command(row.index) {
            counters.calls.add(1);
            counters.failed.add(result.is_err() as u64);
            self.watch.note(started, row, args, Ran { world: self.world, stats: self.stats, session: &session });
        }
        if session.info.has(client_flag::TRACKING) {
            self.disown(row, &session, &args);
        }
        if let Err(error) = result {
            reply.take();
            self.refuse(&mut reply, &error);
        }
        Some((reply.take(), session.written))
    }
}
