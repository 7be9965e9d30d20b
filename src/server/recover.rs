//! Loading what the server had when it stopped: a thread reads the journal's files or the snapshot, the loops take in the keys
//! and run the commands.

use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, wall_micros};
use crate::base::crash;
use crate::base::ids::LoopId;
use crate::base::sync::Ordering::Relaxed;
use crate::cmd::snapshot::{self, LoadError, Receiver};
use crate::cmd::world::World;
use crate::event_loop::fleet::{Fleet, Mail};
use crate::exec::feed::Feeder;
use crate::exec::load::{self, Sink, total_len};
use crate::journal::manifest::Manifest;
use crate::persist::Fault;
use crate::persist::frame::Batch;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Begins to load the journal's files, if there are any, or the snapshot. Until all is there the loops refuse what needs data.
/// Errors: no thread.
pub fn begin(world: &'static World, fleet: &'static Fleet, manifest: Option<Manifest>) -> io::Result<()> {
    let loading = &world.saves.loading;
    loading.started_s.store(wall_micros() / 1_000_000, Relaxed);
    let loader = thread::Builder::new().name("loader".into());
    if let Some(manifest) = manifest {
        loading.total_len.store(total_len(world, &manifest), Relaxed);
        world.intake.begin_journal(world.boot.loops);
        world.attention.set_loading(true);
        loader.spawn(move || {
            crash::prepare_thread();
            load_journal(world, fleet, &manifest);
        })?;
        return Ok(());
    }
    let path = snapshot::path(world);
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    if world.config.number(Id::APPENDONLY) != 0 {
        return Ok(()); // A journal has begun, and has it all.
    }
    loading.total_len.store(metadata.len(), Relaxed);
    world.attention.set_loading(true);
    loader.spawn(move || {
        crash::prepare_thread();
        load_snapshot(world, fleet, &path);
    })?;
    Ok(())
}

/// Hands batches to the loops.
struct Reader {
    world: &'static World,
    fleet: &'static Fleet,
    /// A terminal watches.
    is_shown: bool,
    shown: u64,
    /// Bytes of the files before this one.
    passed: u64,
    /// Where the snapshot ended.
    end: u64,
}

impl Reader {
    fn new(world: &'static World, fleet: &'static Fleet) -> Self {
        Reader { world, fleet, is_shown: io::stderr().is_terminal(), shown: 0, passed: 0, end: 0 }
    }
    /// `key-load-delay`: microseconds per key, or one per so many keys if it is negative.
    fn slow_down(&self, keys: u64) {
        let micros = self.world.config.number(Id::KEY_LOAD_DELAY);
        let wanted = if micros >= 0 { keys.saturating_mul(micros as u64) } else { keys / micros.unsigned_abs() };
        if wanted > 0 {
            thread::sleep(Duration::from_micros(wanted));
        }
    }
    /// Hands over the keys of a snapshot; returns when all are taken in.
    /// Errors: the file, or what is in it.
    fn take(&mut self, path: &Path) -> Result<(), LoadError> {
        let world = self.world;
        let sources = snapshot::read(world, path, self)?;
        let offset = world.saves.loading.loaded_len.load(Relaxed);
        world.intake.settle().map_err(|fault| LoadError::Fault(offset, fault))?;
        snapshot::take_functions(world, &sources)
    }
}

impl Receiver for Reader {
    fn batch(&mut self, batch: Batch) -> Result<(), Fault> {
        self.slow_down(batch.count as u64);
        self.world.intake.offer(batch)?;
        self.fleet.broadcast(|| Mail::Look);
        Ok(())
    }
    fn progress(&mut self, offset: u64) {
        let loading = &self.world.saves.loading;
        let offset = self.passed + offset;
        loading.loaded_len.store(offset, Relaxed);
        let percent = 100 * offset / loading.total_len.load(Relaxed).max(1);
        if self.is_shown && percent > self.shown {
            self.shown = percent;
            show(percent);
        }
    }
    fn end(&mut self, offset: u64) {
        self.end = offset;
    }
}

impl Sink for Reader {
    fn snapshot(&mut self, path: &Path) -> Result<u64, String> {
        self.take(path).map_err(|error| error.to_string())?;
        Ok(self.end)
    }
    fn commands(&mut self, file: impl Read, begin: u64) -> io::Result<u64> {
        let fleet = self.fleet;
        let wake = || fleet.broadcast(|| Mail::Look);
        Feeder::new(self.world, &wake).feed(file, |offset, count| {
            self.slow_down(count);
            self.progress(begin + offset);
        })
    }
    fn passed(&mut self, len: u64) {
        self.passed += len;
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

fn load_snapshot(world: &'static World, fleet: &'static Fleet, path: &Path) {
    let started = MonoNs::now();
    if let Err(error) = Reader::new(world, fleet).take(path) {
        log::warning(format_args!(
            "Fatal error loading {}: {error}. Terminating server after rdb file reading failure.",
            path.display()
        ));
        std::process::exit(1);
    }
    let loading = &world.saves.loading;
    log::notice(format_args!(
        "Done loading RDB, keys loaded: {}, keys expired: {}, empty keys skipped: {}.",
        loading.keys_loaded.load(Relaxed),
        loading.keys_expired.load(Relaxed),
        loading.keys_empty.load(Relaxed),
    ));
    let seconds = MonoNs::now().since(started).as_secs_f64();
    log::notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
    world.attention.set_loading(false);
    fleet.broadcast(|| Mail::Look);
}

fn load_journal(world: &'static World, fleet: &'static Fleet, manifest: &Manifest) {
    match load::load(world, manifest, &mut Reader::new(world, fleet)) {
        Ok(good_len) => fleet.mailbox(LoopId(0)).send(Mail::Loaded { good_len }),
        Err(error) => {
            log::warning(format_args!("{error}"));
            std::process::exit(1);
        }
    }
}
