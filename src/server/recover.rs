//! Loading what the server had when it stopped: a thread reads the snapshot, the loops take in its keys.

use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, wall_micros};
use crate::base::sync::Ordering::Relaxed;
use crate::cmd::snapshot::{self, LoadError, Receiver};
use crate::cmd::world::World;
use crate::event_loop::fleet::{Fleet, Mail};
use crate::persist::Fault;
use crate::persist::frame::Batch;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::thread;

/// Begins to load the snapshot, if there is one. Until it is there the loops refuse what needs data.
/// Errors: no thread.
pub fn begin(world: &'static World, fleet: &'static Fleet) -> io::Result<()> {
    let path = snapshot::path(world);
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    if world.config.number(Id::APPENDONLY) != 0 {
        return Ok(()); // Then the journal has it all.
    }
    let loading = &world.saves.loading;
    loading.started_s.store(wall_micros() / 1_000_000, Relaxed);
    loading.total_len.store(metadata.len(), Relaxed);
    world.attention.set_loading(true);
    thread::Builder::new().name("loader".into()).spawn(move || load(world, fleet, &path))?;
    Ok(())
}

/// Hands batches to the loops.
struct Reader {
    world: &'static World,
    fleet: &'static Fleet,
    /// A terminal watches.
    is_shown: bool,
    shown: u64,
}

impl Receiver for Reader {
    fn batch(&mut self, batch: Batch) -> Result<(), Fault> {
        self.world.intake.offer(batch)?;
        self.fleet.broadcast(|| Mail::Look);
        Ok(())
    }
    fn progress(&mut self, offset: u64) {
        let loading = &self.world.saves.loading;
        loading.loaded_len.store(offset, Relaxed);
        let percent = 100 * offset / loading.total_len.load(Relaxed).max(1);
        if self.is_shown && percent > self.shown {
            self.shown = percent;
            show(percent);
        }
    }
}

/// A bar of fifty places, over the line before it.
fn show(percent: u64) {
    let done = (percent / 2).min(50) as usize;
    let end = if percent >= 100 { "\n" } else { "" };
    let mut out = io::stderr();
    let _ = write!(out, "\rLoading [{}{}] {percent} %{end}", "=".repeat(done), " ".repeat(50 - done));
    let _ = out.flush(); // A terminal that is gone shows nothing.
}

fn load(world: &'static World, fleet: &'static Fleet, path: &Path) {
    let started = MonoNs::now();
    let mut reader = Reader { world, fleet, is_shown: io::stderr().is_terminal(), shown: 0 };
    let outcome = snapshot::read(world, path, &mut reader).and_then(|sources| {
        world.intake.settle().map_err(|fault| LoadError::Fault(world.saves.loading.loaded_len.load(Relaxed), fault))?;
        snapshot::take_functions(world, &sources)
    });
    if let Err(error) = outcome {
        log::warning(format_args!("Fatal error loading {}: {error}. Exiting.", path.display()));
        std::process::exit(1);
    }
    let loading = &world.saves.loading;
    log::notice(format_args!(
        "Done loading RDB, keys loaded: {}, keys expired: {}.",
        loading.keys_loaded.load(Relaxed),
        loading.keys_expired.load(Relaxed),
    ));
    let seconds = MonoNs::now().since(started).as_secs_f64();
    log::notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
    world.attention.set_loading(false);
    fleet.broadcast(|| Mail::Look);
}
