//! A loop's part in snapshots: taking in what a start loads, and saving before a signal ends the server.

use super::EventLoop;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::ids::DbIndex;
use crate::cmd::background;
use crate::cmd::snapshot::{self, Twin};
use crate::keyspace::Keys;
use crate::ring::Engine;
use std::time::Duration;

/// How long a turn loads before it looks after clients: they are told that the server is loading.
const LOAD_TIME: Duration = Duration::from_millis(5);

impl<E: Engine> EventLoop<E> {
    /// Takes in some of what is being loaded.
    #[cold]
    pub(super) fn load_some(&mut self, now: WallMs) {
        let (world, seat, started) = (self.world, self.seat.clone(), MonoNs::now());
        self.local.recency.begin_turn(&world.config, now);
        while let Some(batch) = world.intake.take() {
            let guard = seat.pin();
            let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
            world.intake.done(snapshot::apply(world, &keys, &batch, Twin::Refused));
            if MonoNs::now().since(started) >= LOAD_TIME {
                return;
            }
        }
    }
    /// Is there something to be loaded at once?
    pub(super) fn has_to_load(&self) -> bool {
        self.world.attention.is_loading() && self.world.intake.has_some()
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
        let is_saved = world.safepoint.run(self.id, || {
            let guard = seat.pin();
            let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
            world.background.break_off(world);
            let words = world.config.words(Id::SHUTDOWN_ON_SIGTERM);
            let has = |word: &str| words.iter().any(|have| have == word);
            let saves = has("save") || !has("nosave") && snapshot::has_save_points(world);
            let is_saved =
                !saves || world.attention.is_loading() || snapshot::save(world, &keys).is_ok() || has("force");
            if is_saved && saves {
                world.attention.end();
            }
            is_saved
        });
        if is_saved {
            self.fleet.stop();
        } else {
            log::warning(format_args!("Errors trying to shut down the server. Check the logs for more information."));
        }
    }
}
