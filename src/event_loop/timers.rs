//! What a loop does by the clock. Idle costs nothing: a loop without work sleeps for a second at a time, however many
//! clients it has. Only where a `timeout` for idle clients is set it looks at a slice of them ten times a second.

use super::EventLoop;
use super::conn::{Conn, Life};
use crate::admin::log;
use crate::admin::params::Id;
use crate::admin::rates::Totals;
use crate::base::clock::{MonoNs, WallMs};
use crate::exec::room;
use crate::keyspace::events::Listener;
use crate::ring::{Engine, Token};
use std::time::Duration;

/// Longest sleep: parameters that another loop has changed (CONFIG SET timeout) are noticed within it.
const SLEEP_MS_MAX: u64 = 1000;
/// While a script runs for too long, what is due waits for its end.
const BUSY_SLEEP: Duration = Duration::from_millis(5);
/// While a snapshot waits for the disk.
const SNAPSHOT_SLEEP: Duration = Duration::from_millis(2);
/// Time between two rounds while nothing else happens, whatever `hz` says.
const IDLE_ROUND_MS: u64 = 100;
/// Every client is looked at once in so many milliseconds.
const SWEEP_MS: u64 = 1000;

/// When nobody has watched a key for so many seconds, changes are not told any more. With it they cost a tenth more.
const WATCH_IDLE_SECONDS: u32 = 2;

/// For so long a client keeps room that it does not use. Source: Redis, `clientsCronResizeQueryBuffer`.
const ROOM_IDLE_MS: u64 = 2000;

/// See the module header.
#[derive(Default)]
pub struct Timers {
    last_round: WallMs,
    next_round: WallMs,
    /// The slot at which the next slice of clients begins.
    sweep_at: usize,
    generation: u32,
    /// Clients that keep room for incomplete commands; some may be gone.
    roomy: Vec<Token>,
    /// Seconds for which nobody has watched a key though somebody did before.
    unwatched_seconds: u32,
}

impl Timers {
    /// The client has such room: it is looked at every second.
    #[inline]
    pub fn note_room(&mut self, conn: &mut Conn) {
        if !conn.is_roomy {
            conn.is_roomy = true;
            self.roomy.push(conn.token);
        }
    }
}

impl<E: Engine> EventLoop<E> {
    /// How long the loop may sleep when nobody wants anything.
    pub(super) fn sleep_time(&self, now: WallMs) -> Duration {
        let sweeps = self.world.config.number(Id::TIMEOUT) != 0 && self.conns.count() > 0;
        let rest = self.timers.next_round.0.saturating_sub(now.0);
        let sleep = Duration::from_millis(if sweeps { rest.max(IDLE_ROUND_MS) } else { SLEEP_MS_MAX });
        let alarm = self.parked.next_at(self.world, now).map(|at| Duration::from_millis(at.0.saturating_sub(now.0)));
        let due = [alarm, self.local.expiry.sleep_time(now, self.expires(now))];
        let sleep = due.into_iter().flatten().fold(sleep, Duration::min);
        let sleep = if self.world.attention.is_snapshot_taken() { sleep.min(SNAPSHOT_SLEEP) } else { sleep };
        if self.world.attention.is_busy() { sleep.max(BUSY_SLEEP) } else { sleep }
    }

    /// Does what is due. Called once per turn, before commands run: those who ask see what a round has found out.
    /// Cost: one comparison if nothing is.
    #[inline]
    pub(super) fn house_keeping(&mut self, now: WallMs) {
        if now >= self.timers.next_round {
            self.round(now);
        }
    }

    #[cold]
    fn round(&mut self, now: WallMs) {
        let started = MonoNs::now();
        self.stats().garbage_bytes.set(self.seat.limbo_bytes() as u64);
        self.pool.shrink();
        self.show_output();
        self.local.quota.publish(self.seat.limbo_bytes());
        let config = &self.world.config;
        let round_ms = 1000 / config.number(Id::HZ).clamp(1, 500) as u64;
        let elapsed_ms = now.0.saturating_sub(self.timers.last_round.0).min(SWEEP_MS);
        let is_new_second = now.0 / 1000 != self.timers.last_round.0 / 1000;
        (self.timers.last_round, self.timers.next_round) = (now, WallMs(now.0 + round_ms));
        if is_new_second {
            self.stats().expire_bytes.set(self.local.expiry.bytes() as u64);
            self.take_room_back(now);
            self.effects.scripts.tidy(&self.world.scripts, self.id);
        }
        let is_config_new = self.timers.generation != config.generation();
        self.timers.generation = config.generation();
        if self.id.0 == 0 {
            self.world.rates.sample(now.0, || Totals::of(&self.world.stats));
            if is_new_second || room::limit(config) != 0 {
                self.world.note_memory(room::limit(config));
            }
            if is_new_second {
                self.look_at_journal();
                self.let_watching_rest();
                self.look_after_snapshots(now);
                if let Some(courier) = self.world.courier.get() {
                    courier.tidy();
                }
            }
            self.terminate(now); // What was asked for while it was held.
            let journal = &self.world.journal;
            if journal.is_scheduled() || journal.is_due() || self.world.background.is_writing() {
                self.tend_journal(now);
            }
            if is_config_new {
                log::set_level(config.number(Id::LOGLEVEL) as u32);
            }
        }
        if is_config_new {
            self.look_at_outputs(now);
        }
        let timeout_ms = config.number(Id::TIMEOUT) as u64 * 1000;
        if timeout_ms > 0 {
            self.close_idle(now, timeout_ms, elapsed_ms);
        }
        // It is shown in microseconds, and whoever watches it wants to see that rounds take place.
        self.stats().timers_ns.add((MonoNs::now().since(started).as_nanos() as u64).max(1000));
    }

    /// Has the journal grown so much that it is to be written anew?
    fn look_at_journal(&self) {
        let (config, journal) = (&self.world.config, &self.world.journal);
        let percent = config.number(Id::AUTO_AOF_REWRITE_PERCENTAGE) as u64;
        let (len, base) = {
            let facts = journal.facts();
            if facts.lacks_base && facts.rewriting.is_none() && journal.is_on() {
                journal.schedule(); // The first one has failed.
            }
            (facts.current_len, if facts.rewriting.is_some() { u64::MAX } else { facts.base_len })
        };
        let is_large = len > config.number(Id::AUTO_AOF_REWRITE_MIN_SIZE) as u64 && base != u64::MAX;
        let growth = len.saturating_sub(base) as u128 * 100 / base.max(1) as u128;
        if journal.is_on() && percent > 0 && is_large && growth >= percent as u128 {
            log::notice(format_args!("Starting automatic rewriting of AOF on {growth}% growth"));
            journal.schedule();
        }
    }

    /// If nobody watches keys any more, changes need not be told. The next WATCH makes them be again.
    fn let_watching_rest(&mut self) {
        let (listeners, watched) = (&self.world.keyspace.listeners, &self.world.watched);
        let is_idle = listeners.is_heeded(Listener::Watch) && watched.watcher_count() == 0;
        self.timers.unwatched_seconds = if is_idle { self.timers.unwatched_seconds + 1 } else { 0 };
        if self.timers.unwatched_seconds >= WATCH_IDLE_SECONDS {
            self.timers.unwatched_seconds = 0;
            self.world.safepoint.run(self.id, || {
                if watched.watcher_count() == 0 {
                    listeners.forget(Listener::Watch);
                }
            });
        }
    }

    /// Clients that have been idle for some seconds give back what they do not use.
    /// Cost: of the clients that keep such room, not of all.
    fn take_room_back(&mut self, now: WallMs) {
        let EventLoop { conns, timers, .. } = self;
        timers.roomy.retain(|&token| {
            let Some(conn) = conns.get(token) else { return false };
            let is_idle = now.0.saturating_sub(conn.session.info.last_seen().0) >= ROOM_IDLE_MS;
            if is_idle {
                conn.give_room_back();
                conn.is_roomy = false;
            }
            !is_idle
        });
    }

    /// Closes clients that have been idle for too long, among the slice of them that is due after `elapsed_ms`.
    fn close_idle(&mut self, now: WallMs, timeout_ms: u64, elapsed_ms: u64) {
        let slots = self.conns.slot_count();
        let slice = (slots as u64 * elapsed_ms).div_ceil(SWEEP_MS) as usize;
        let mut idle: Vec<Token> = Vec::new();
        for _ in 0..slice.min(slots) {
            self.timers.sweep_at = (self.timers.sweep_at + 1) % slots;
            let Some(conn) = self.conns.at(self.timers.sweep_at) else { continue };
            let since = conn.session.info.last_seen();
            let awaits = conn.session.is_monitor || conn.session.is_subscribed();
            let may_be_silent = conn.wait.is_some() || awaits || conn.is_ready;
            if conn.life == Life::Open && !may_be_silent && now.0.saturating_sub(since.0) > timeout_ms {
                idle.push(conn.token);
            }
        }
        for token in idle {
            log::write(log::Level::Verbose, format_args!("Closing idle client"));
            self.close(token);
        }
    }
}
