//! Layer 7: the event loop. One per core, each with its own engine, sockets, buffers and clients; all work on one keyspace.
//!
//! ```text
//! reap    file completions: bytes to the client's input, send progress, new sockets, mail
//! cut     cut commands out of the input in place, of all clients, up to a window of 64
//! look    find rows, hash keys, prefetch                     ┐ repeated until every ready client
//! run     strictly in each client's order                    ┘ was visited once
//! settle  copy what is left of the input, decide about reading on, give the receive buffers back
//! flush   one message per client with output; then submit and wait in ONE call
//! ```
//! One epoch pin per turn, from the first window to the last, never held while waiting. One reading of the wall clock.
//!
//! A turn is bounded. A client's visit ends after 256 commands or 100 µs; what is left of its input waits at the back of
//! the next turn's list. After 2 ms those who were not visited yet wait for the next turn, as its first. A client that does
//! not read its replies is not run beyond `OUTPUT_SOFT_MAX` (`SHARED_SOFT_MAX` for stored values), and not read beyond
//! `BACKLOG_UNREAD_MAX`. Clients that have nothing but messages to get are sent them in turns, 64 of them in each. A command that takes longer than a slice of
//! 200 µs and can be interrupted goes on in the next turns (`cmd::resume`). A client is sent 256 KiB per turn. Of thousands that
//! go at once 64 are closed in each turn (`closing`).

#![forbid(unsafe_code)]

pub mod accept;
mod alone;
mod charge;
mod closing;
mod conn;
pub mod disk;
mod durable;
mod errand;
pub mod fleet;
mod held;
mod input;
mod limits;
#[cfg(test)]
mod loop_test;
pub mod mailbox;
mod monitors;
mod parked;
mod post;
mod send;
mod slab;
mod snapshots;
mod timers;
mod window;

use crate::admin::clients::{Seen, client_flag};
use crate::admin::params::Id;
use crate::admin::stats::LoopStats;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::ids::LoopId;
use crate::base::prng::Prng;
use crate::base::sync::Ordering;
use crate::cmd::background::Place;
use crate::cmd::command::Effects;
use crate::cmd::world::World;
use crate::exec::{effects, invalidate, slow, tell};
use crate::keyspace::{Local, expire};
use crate::resp::parse::Limits;
use crate::ring::{Completion, End, Engine, Errno, Filled, Message, Token};
use crate::table::Participant;
use charge::Charges;
use closing::Closing;
use conn::{Conn, Life};
use durable::Undurable;
use fleet::{Fleet, Mail};
use input::{Arrivals, Input};
use limits::OutputLimits;
use parked::Parked;
use send::Pool;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use timers::Timers;
use window::Window;

/// Bytes that may wait for a client before it is not run.
const OUTPUT_SOFT_MAX: usize = 1 << 20;
/// The same where less than that is its own and the rest are values that are stored anyway, if memory is not limited. Redis
/// runs such a client without end; who watches it grow (its own test suite) sees 10 MB.
const SHARED_SOFT_MAX: usize = 16 << 20;
/// Bytes of whole commands that may wait before their client is not read any further.
const BACKLOG_MAX: usize = 64 << 10;
/// The same while the client is not run for the sake of its output. Many clients write a whole pipeline before they read the
/// first reply: to read no further would leave both sides waiting for each other.
const BACKLOG_UNREAD_MAX: usize = 64 << 20;
/// Time for removing what has expired, per turn: no client waits longer for it.
const EXPIRE_TIME: Duration = Duration::from_micros(250);
/// Clients that are sent nothing but messages in one turn. 64: some 250 µs of the kernel's work, as long as a slice of a long
/// command. A message to ten thousand subscribers holds nobody up, and what is published meanwhile goes with it.
const LISTENERS_PER_TURN: usize = 64;
/// Connections that are closed in one turn: some 5 µs each, most of it the kernel's. When thousands of clients go at the same
/// moment, those who stay are served in between.
const CLOSES_PER_TURN: usize = 64;
/// How long a loop that stops waits for its clients to take their last replies.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// See the module header.
pub struct EventLoop<E: Engine> {
    id: LoopId,
    engine: E,
    world: &'static World,
    fleet: &'static Fleet,
    listeners: Vec<u16>,
    conns: Slab,
    /// Connections that were accepted and wait for their turn to be taken in.
    guests: VecDeque<(u16, OwnedFd)>,
    completions: Vec<Completion>,
    arrivals: Arrivals,
    window: Window,
    /// Clients to visit in this turn, and those that are to be visited again in the next.
    ready: Vec<Token>,
    later: Vec<Token>,
    /// Clients that may have something to send.
    dirty: Vec<Token>,
    /// Clients that have only messages to be sent, which may wait for some turns.
    listeners_due: VecDeque<Token>,
    closing: Closing,
    pool: Pool,
    charges: Charges,
    timers: Timers,
    parked: Parked,
    undurable: Undurable,
    /// Clients that are shown all commands; some may be gone.
    monitors: Vec<Token>,
    seat: Rc<Participant>,
    local: Rc<Local>,
    prng: Prng,
    effects: Effects,
    /// Where it goes on with the snapshot that is being taken.
    snapshot_at: Option<Place>,
    /// Memory is short, and what can be evicted waits for the next turn.
    is_relieving: bool,
    /// A job has let others run in between: what the turn had before it was put away.
    is_interrupted: bool,
    /// Set when the loop stops: until then it waits for its clients.
    deadline: Option<MonoNs>,
    /// When the present turn began.
    clock: MonoNs,
}

impl<E: Engine> EventLoop<E> {
    /// A loop around `engine`, on the thread that made the engine. `seed` differs from loop to loop.
    pub fn new(id: LoopId, engine: E, world: &'static World, fleet: &'static Fleet, seed: u64) -> Self {
        EventLoop {
            id,
            engine,
            world,
            fleet,
            listeners: Vec::new(),
            conns: Slab::default(),
            guests: VecDeque::new(),
            completions: Vec::new(),
            arrivals: Arrivals::default(),
            window: Window::default(),
            ready: Vec::new(),
            later: Vec::new(),
            dirty: Vec::new(),
            listeners_due: VecDeque::new(),
            closing: Closing::default(),
            pool: Pool::default(),
            charges: Charges::default(),
            timers: Timers::default(),
            parked: Parked::default(),
            undurable: Undurable::default(),
            monitors: Vec::new(),
            seat: Rc::new(Participant::new()),
            local: Rc::new(Local::new(!seed)),
            prng: Prng::seeded(seed),
            effects: Effects::of(id),
            snapshot_at: None,
            is_relieving: false,
            is_interrupted: false,
            deadline: None,
            clock: MonoNs::default(),
        }
    }
    /// Accepts connections on a listening socket.
    pub fn listen(&mut self, listener: u16, socket: OwnedFd) {
        self.listeners.push(listener);
        self.engine.listen(listener, socket);
    }
    fn stats(&self) -> &'static LoopStats {
        &self.world.stats[self.id.0 as usize]
    }
    /// What clients may send, before and after authentication.
    fn limits(&self) -> [Limits; 2] {
        let bulk_len_max = self.world.config.number(Id::PROTO_MAX_BULK_LEN) as u64;
        let input_max = self.world.config.number(Id::QUERY_BUFFER_LIMIT) as u64;
        [false, true].map(|authenticated| Limits::new(bulk_len_max, authenticated).with_input_max(input_max))
    }

    /// Turns until the server stops.
    /// Errors: the engine is unusable.
    pub fn run(mut self) -> io::Result<()> {
        self.world.safepoint.leave_kernel(self.id);
        self.stats().thread.set(nix::unistd::gettid().as_raw() as u64);
        loop {
            let now = self.turn();
            if self.deadline.is_some_and(|deadline| self.conns.count() == 0 || MonoNs::now() >= deadline) {
                break;
            }
            self.wait(now)?;
        }
        self.world.safepoint.enter_kernel(self.id);
        Ok(())
    }

    /// Everything between two waits. Returns the turn's time.
    fn turn(&mut self) -> WallMs {
        self.clock = MonoNs::now();
        let now = self.world.keyspace.now.refresh();
        let (stats, commands) = (self.stats(), self.stats().commands.total());
        stats.turns.add(1);
        stats.busy_since.set(self.clock.0);
        self.heed_charges();
        self.file(now);
        self.show_output();
        self.house_keeping(now);
        if self.world.attention.is_loading() {
            self.load_some(now);
        }
        let is_busy = !self.ready.is_empty();
        self.work(now);
        self.flush(now);
        if self.world.attention.is_snapshot_taken() {
            self.walk_some(now);
        }
        self.ring_alarms(now);
        self.settle_charges();
        if is_busy {
            stats.note_turn(MonoNs::now().since(self.clock), stats.commands.total() - commands);
        }
        now
    }

    /// What a turn does with data, under one guard: the clients' commands, then what has expired.
    fn work(&mut self, now: WallMs) {
        let seat = self.seat.clone();
        let mut guard = seat.pin();
        if !self.ready.is_empty() {
            self.local.recency.begin_turn(&self.world.config, now);
            let stop = self.visit_all(&mut guard, self.clock, now);
            if !std::mem::take(&mut self.is_interrupted) {
                self.settle(now);
            }
            self.hand_over_effects();
            self.tend_journal(now);
            if stop {
                self.fleet.stop();
            }
        }
        self.is_relieving = self.relieve(&guard, now);
        if self.expires(now) {
            let (space, all, stats) = (&self.world.keyspace, &self.world.stats, self.stats());
            let (events, ledger, recency) = (&self.local.events, &self.local.ledger, &self.local.recency);
            events.heed(&space.listeners);
            let took = self
                .local
                .expiry
                .run(expire::Run { space, guard: &guard, all, stats, events, ledger, recency, now }, EXPIRE_TIME);
            tell::tell(self.world, events, &mut self.effects, None);
            slow::note_expiry(self.world, took, now);
            if self.local.events.has_ended() {
                self.serve_ended(&guard, now);
                self.hand_over_effects();
            }
        }
    }

    /// Is active expiry on?
    fn expires(&self, now: WallMs) -> bool {
        // For a script that runs, and for commands that are loaded, time stands still.
        let stands_still = self.world.attention.is_busy() || self.world.attention.is_loading();
        !stands_still
            && self.world.active_expire.load(Ordering::Relaxed) != 0
            && !self.world.keyspace.is_expiry_stopped(now)
    }

    /// Submits everything and sleeps until there is something to do.
    fn wait(&mut self, now: WallMs) -> io::Result<()> {
        let (mailbox, safepoint) = (self.fleet.mailbox(self.id), &self.world.safepoint);
        let has_work = !self.ready.is_empty() || self.is_relieving || self.has_to_load() || self.has_to_walk();
        let is_idle = !has_work && self.guests.is_empty() && self.listeners_due.is_empty();
        let is_idle = is_idle && self.closing.is_empty();
        let sleeps = is_idle && mailbox.prepare_sleep();
        let timeout = if sleeps { self.sleep_time(now) } else { Duration::ZERO };
        if sleeps {
            self.seat.rest(); // Garbage does not wait for this loop to wake up again.
        }
        self.local.quota.publish(self.seat.limbo_bytes());
        self.stats().busy_since.set(0);
        safepoint.enter_kernel(self.id);
        let result = self.engine.wait(Some(timeout), &mut self.completions);
        safepoint.leave_kernel(self.id);
        mailbox.woke_up();
        result
    }

    /// Files what the last wait brought. No command runs here.
    fn file(&mut self, now: WallMs) {
        self.closing.begin_turn();
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            match completion {
                Completion::Received { token, filled } => self.on_received(token, filled),
                Completion::Sent { token, result, message } => self.on_sent(token, result, message),
                Completion::Closed { token, end } => self.on_closed(token, end),
                // An error is the engine's business: it tries again by itself.
                Completion::Accepted { listener, result } => self.guests.extend(result.ok().map(|it| (listener, it))),
                Completion::Woken => {}
            }
        }
        self.completions = completions; // Its room is used again.
        self.take_in_guests(now);
        for mail in self.fleet.mailbox(self.id).take() {
            match mail {
                Mail::Adopt { socket, endpoints } => self.adopt(socket, endpoints, now),
                Mail::Listen { listener, socket } if self.deadline.is_none() => self.listen(listener, socket),
                Mail::Listen { .. } => {} // Stopping: dropping the socket closes it.
                Mail::StopListening(listener) => {
                    self.listeners.retain(|&own| own != listener);
                    self.engine.stop_listening(listener);
                }
                Mail::Kill(id) => self.kill(id),
                Mail::Wake(id, why) => self.wake_id(id, why),
                Mail::Deliver(delivery) => self.deliver(delivery),
                Mail::Monitor(lines) => self.show_monitors(&lines),
                Mail::UsersChanged(silence) => self.silence_the_forbidden(&silence),
                Mail::Post(batch) => self.hand_out_batch(&batch),
                Mail::Look => {} // Being awake is all: `ring_alarms` looks.
                Mail::Loaded { good_len } => self.go_live(good_len),
                Mail::Terminate => self.terminate(now),
                Mail::Shutdown => self.drain_all(),
            }
        }
        self.carry_out_kills();
    }

    fn on_received(&mut self, token: Token, filled: Filled) {
        self.stats().reads.add(1);
        self.stats().bytes_in.add(filled.len() as u64);
        match self.conns.get(token) {
            Some(conn) if conn.may_run() => {
                conn.session.traffic.received += filled.len() as u64;
                self.arrivals.push(&mut conn.input, filled);
                make_ready(&mut self.ready, conn, self.clock);
            }
            _ => self.engine.give_back(filled),
        }
    }

    fn on_sent(&mut self, token: Token, result: Result<usize, Errno>, message: Message) {
        self.pool.come_back(message);
        let Some(conn) = self.conns.get(token) else { return };
        conn.sending_len = 0;
        if conn.reply.is_empty() {
            (conn.handed_len, conn.handed_max) = (0, 0);
        }
        self.charges.charge(conn);
        match result {
            Ok(len) => {
                conn.session.traffic.sent += len as u64;
                conn.session.info.set_output(conn.output_seen());
                conn.session.info.set_traffic(conn.session.traffic);
                if conn.life == Life::Draining {
                    conn.patience_until = None; // It does read.
                }
                if !conn.reply.is_empty() || conn.life == Life::Draining || conn.patience_until.is_some() {
                    make_dirty(&mut self.dirty, conn);
                }
                if conn.is_paused || conn.is_stalled {
                    make_ready(&mut self.ready, conn, self.clock); // It may go on now.
                }
                self.stats().writes.add(1);
                self.stats().bytes_out.add(len as u64);
            }
            Err(_) if conn.life == Life::Draining => self.leave(token),
            Err(_) => {
                conn.advance(Life::Broken);
                make_ready(&mut self.ready, conn, self.clock);
            }
        }
    }

    /// The peer sends no more. Commands that are here still run, and are answered if the peer still listens.
    fn on_closed(&mut self, token: Token, end: End) {
        let Some(conn) = self.conns.get(token).filter(|conn| !conn.is_leaving) else { return };
        conn.advance(match end {
            End::Eof => Life::PeerDone,
            End::Failed(_) => Life::Broken,
        });
        if self.is_forsaken(token) {
            return self.leave(token);
        }
        if let Some(conn) = self.conns.get(token) {
            make_ready(&mut self.ready, conn, self.clock);
        }
    }

    /// After the visits: what is left of each client's input becomes its own, and the receive buffers go back.
    fn settle(&mut self, now: WallMs) {
        let input_max = self.world.config.number(Id::QUERY_BUFFER_LIMIT) as usize;
        let mut visited = std::mem::take(&mut self.ready);
        for token in visited.drain(..) {
            let Some(conn) = self.conns.get(token) else { continue };
            if !conn.may_run() {
                (conn.input, conn.parser) = (Input::new(), Default::default()); // Nobody will ask for it.
            }
            conn.input.settle(&mut conn.parser, &self.arrivals, &self.engine);
            let input_len = conn.input_seen();
            let held_len = conn.input.held_len();
            let seen = Seen {
                now,
                row: conn.session.info.row(),
                input_len,
                input_cap: conn.input_room(),
                held_len,
                output: conn.output_seen(),
                traffic: conn.session.traffic,
            };
            conn.session.info.seen(seen);
            self.charges.charge(conn);
            if conn.has_room() {
                self.timers.note_room(conn);
            }
            let is_done = !conn.is_ready && !conn.is_stalled && conn.wait.is_none() && !conn.is_on_stage;
            if conn.input.len() + conn.parser.received_len() + held_len > input_max {
                self.close_for_input(token, now);
                continue;
            }
            match conn.life {
                Life::Open => {
                    let backlog_max = match () {
                        _ if conn.is_stalled => BACKLOG_UNREAD_MAX.min(input_max / 2),
                        _ if conn.is_ready || conn.wait.is_some() => BACKLOG_MAX,
                        _ => usize::MAX,
                    };
                    let pause = conn.input.len() > backlog_max;
                    if pause != conn.is_paused {
                        conn.is_paused = pause;
                        conn.session.info.set(client_flag::UNREAD, pause);
                        if pause { self.engine.pause_recv(token) } else { self.engine.resume_recv(token) }
                    }
                }
                Life::PeerDone if conn.wait.is_some() => self.leave(token),
                Life::PeerDone if is_done => {
                    conn.advance(Life::Draining);
                    make_dirty(&mut self.dirty, conn);
                }
                Life::Broken => {
                    conn.reply.take(); // Nobody will read it.
                    self.charges.charge(conn);
                    make_dirty(&mut self.dirty, conn);
                }
                _ => {}
            }
        }
        self.arrivals.give_back(&mut self.engine);
        self.ready = std::mem::replace(&mut self.later, visited);
    }

    /// Passes on what the turn's commands changed.
    fn hand_over_effects(&mut self) {
        let (stats, fleet) = (self.stats(), self.fleet);
        effects::hand_over(&mut self.effects, stats, |home, id| fleet.mailbox(home).send(Mail::Kill(id)));
        for (home, id, why) in self.effects.unblocks.drain(..) {
            fleet.mailbox(home).send(Mail::Wake(id, why));
        }
        for delivery in std::mem::take(&mut self.effects.deliveries) {
            match delivery.home {
                home if home == self.id => self.deliver(delivery),
                home => fleet.mailbox(home).send(Mail::Deliver(delivery)),
            }
        }
        if let Some(silence) = self.effects.silence.take() {
            self.tell_of_users(silence);
        }
        if std::mem::take(&mut self.effects.is_pause_over) {
            fleet.broadcast(|| Mail::Look);
        }
        self.hand_over_lines();
    }

    /// Sends what waits: one message per client, none while another is in flight. Closes clients that are done.
    fn flush(&mut self, now: WallMs) {
        self.close_some();
        self.hand_over_records();
        self.release_durable();
        invalidate::finish_turn(self.world, &mut self.effects, &mut self.prng);
        self.post();
        let limits = OutputLimits::of(&self.world.config);
        let mut dirty = std::mem::take(&mut self.dirty);
        for token in dirty.drain(..) {
            if let Some(conn) = self.conns.get(token) {
                conn.is_dirty = false;
                self.flush_one(token, &limits, now);
            }
        }
        self.dirty = dirty; // Its room is used again.
        for _ in 0..self.listeners_due.len().min(LISTENERS_PER_TURN) {
            let Some(token) = self.listeners_due.pop_front() else { break };
            if let Some(conn) = self.conns.get(token) {
                conn.is_due = false;
                self.flush_one(token, &limits, now);
            }
        }
    }

    fn flush_one(&mut self, token: Token, limits: &OutputLimits, now: WallMs) {
        if !self.is_within_limits(token, limits, now) || self.is_held_for_disk(token) {
            return;
        }
        let Some(conn) = self.conns.get(token).filter(|conn| !conn.is_leaving) else { return };
        if conn.life == Life::Broken && !conn.is_ready {
            return self.leave(token);
        }
        let is_draining = conn.life == Life::Draining;
        if conn.sending_len > 0 {
            conn.session.info.set_output(conn.output_seen());
            self.charges.charge(conn);
            if is_draining {
                self.hurry(token, now);
            }
            return; // `on_sent` brings it back here.
        }
        if !conn.reply.is_empty() {
            let (pending_len, own_len) = (conn.reply.pending_len(), conn.reply.out.buf.len());
            let message = send::message(&mut conn.reply.out, pending_len);
            conn.sending_len = message.len();
            conn.handed_len += own_len;
            conn.handed_max = conn.handed_max.max(own_len);
            self.pool.depart(&message);
            self.charges.charge(conn);
            self.engine.send(token, message);
            if is_draining {
                self.hurry(token, now);
            }
            return;
        }
        self.pool.put(conn.reply.take().buf);
        if is_draining {
            self.leave(token);
        }
    }

    /// The server stops: no new clients, no more commands; what waits is sent.
    fn drain_all(&mut self) {
        if self.deadline.is_some() {
            return;
        }
        self.deadline = Some(MonoNs(MonoNs::now().0 + DRAIN_TIME.as_nanos() as u64));
        self.stop_listening();
        for conn in self.conns.iter() {
            conn.advance(Life::Draining);
            make_dirty(&mut self.dirty, conn);
        }
    }
}

/// Puts a connection on the list of those to be visited, at the turn's time.
#[inline]
fn make_ready(ready: &mut Vec<Token>, conn: &mut Conn, clock: MonoNs) {
    if !conn.is_ready {
        conn.is_ready = true;
        conn.ready_since = clock;
        ready.push(conn.token);
    }
}

/// Puts a connection on the list of those that may have something to send.
#[inline]
fn make_dirty(dirty: &mut Vec<Token>, conn: &mut Conn) {
    if !conn.is_dirty {
        conn.is_dirty = true;
        dirty.push(conn.token);
    }
}
