//! A loop's part in snapshots: taking in what a start loads, and saving before a signal ends the server.

use super::EventLoop;
use super::fleet::Mail;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::ids::DbIndex;
use crate::cmd::background;
use crate::cmd::loading::{Portion, Task};
use crate::cmd::snapshot::{self, Twin};
use crate::exec::feed;
use crate::exec::watch::Watch;
use crate::journal::hub::Message;
use crate::keyspace::Keys;
use crate::keyspace::events::Listener;
use crate::keyspace::safepoint::Stay;
use crate::ring::Engine;
use crate::table::Guard;
use std::time::Duration;

/// How long a turn loads before it looks after clients: they are told that the server is loading.
const LOAD_TIME: Duration = Duration::from_millis(5);

impl<E: Engine> EventLoop<E> {
    /// Takes in some of what is being loaded.
    #[cold]
    pub(super) fn load_some(&mut self, now: WallMs) {
        let (world, seat, started) = (self.world, self.seat.clone(), MonoNs::now());
        self.local.recency.begin_turn(&world.config, now);
        while let Some(task) = world.intake.take(self.id) {
            let guard = seat.pin();
            let outcome = match task {
                Task::Keys { batch, keeps_dead } => {
                    let now = if keeps_dead { WallMs(0) } else { now };
                    let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
                    snapshot::apply(world, &keys, &batch, Twin::Refused)
                }
                Task::Commands(portion) => {
                    self.rerun(&guard, &portion);
                    Ok(())
                }
            };
            world.intake.done(outcome);
            if MonoNs::now().since(started) >= LOAD_TIME {
                return;
            }
        }
    }
    /// Runs commands of the journal that is being loaded.
    fn rerun(&mut self, guard: &Guard<'_>, portion: &Portion) {
        let (world, id) = (self.world, self.id);
        let (mut watch, mut session) = (Watch::begin(&world.config, false), feed::session(world, id));
        if portion.is_alone {
            world.safepoint.enter(id, Stay::Short);
        }
        let mut turn = self.between_windows(&mut watch, guard, WallMs(0), 0);
        turn.is_alone = portion.is_alone;
        turn.rerun_all(portion, &mut session);
        if portion.is_alone {
            world.safepoint.leave(id);
        }
    }
    /// Is there something to be loaded at once?
    pub(super) fn has_to_load(&self) -> bool {
        self.world.attention.is_loading() && self.world.intake.has_some(self.id)
    }
    /// The journal's files are loaded: it goes on behind them, unless it was switched off meanwhile, and clients are served.
    #[cold]
    pub(super) fn go_live(&mut self, good_len: Option<u64>) {
        let world = self.world;
        world.safepoint.run(self.id, || {
            world.journal.set_due(false); // Wanted again before its files were loaded: it goes on.
            if world.config.number(Id::APPENDONLY) != 0 {
                let at = world.keyspace.order.next();
                world.journal.set_on(true);
                world.keyspace.listeners.heed(Listener::Journal);
                world.journal.send(Message::GoOn { at, good_len });
            }
            world.attention.set_loading(false);
        });
        self.fleet.tell_others(self.id, || Mail::Look);
    }

    /// Is there more of a snapshot to be taken at once?
    pub(super) fn has_to_walk(&self) -> bool {
        self.world.attention.is_snapshot_taken() && (self.snapshot_at.is_some() || self.world.background.has_work())
    }
    /// A turn's part of the snapshot that is being taken.
    #[cold]
    pub(super) fn walk_some(&mut self, now: WallMs) {
        let (world, seat) = (self.world, self.seat.clone());
        let guard = seat.pin();
        let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
        world.background.walk_some(world, &keys, &mut self.snapshot_at);
    }
    /// Once per round of the first loop: notes the end of a snapshot, and begins one that is due.
    pub(super) fn look_after_snapshots(&mut self, now: WallMs) {
        let (world, seat) = (self.world, self.seat.clone());
        world.background.settle(world);
        background::refuse_writes(world);
        if !world.background.is_due(world, now) {
            return;
        }
        let outcome = world.safepoint.run(self.id, || {
            let guard = seat.pin();
            let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
            background::begin(world, &keys)
        });
        if let Err(error) = outcome {
            world.saves.failed(now);
            log::warning(format_args!("Can't save in background: {error}"));
        }
    }

    /// A signal ends the server: what must be saved is saved, then everybody stops.
    pub(super) fn terminate(&mut self, now: WallMs) {
        let (world, seat) = (self.world, self.seat.clone());
        let Some(is_sigint) = world.ending.begin() else { return };
        let rule = if is_sigint { Id::SHUTDOWN_ON_SIGINT } else { Id::SHUTDOWN_ON_SIGTERM };
        let is_saved = world.safepoint.run(self.id, || {
            let guard = seat.pin();
            let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
            let words = world.config.words(rule);
            let has = |word: &str| words.iter().any(|have| have == word);
            if world.journal.facts().lacks_base && !has("force") {
                log::warning(format_args!("Writing initial AOF, can't exit."));
                return false;
            }
            world.background.break_off(world);
            let saves = has("save") || !has("nosave") && snapshot::has_save_points(world);
            let is_saved =
                !saves || world.attention.is_loading() || snapshot::save(world, &keys).is_ok() || has("force");
            if is_saved && saves {
                world.attention.end();
            }
            if !is_saved {
                log::warning(format_args!("Error trying to save the DB, can't exit."));
            }
            is_saved
        });
        if is_saved {
            self.fleet.stop();
        } else {
            world.ending.refuse();
            log::warning(format_args!("Errors trying to shut down the server. Check the logs for more information."));
        }
    }
}
