//! The start, step by step, and the end.

use super::apply::{self, Open, OpenAddress};
use super::courier::Van;
use super::error::StartError;
use super::listen::Listeners;
use super::oom::OomScore;
use super::options::Settings;
use super::threads::Homes;
use super::{cores, crash, journal, limits, recover, screen, signals, threads, users, watchdog};
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::hash::KeyHasher;
use crate::base::ids::LoopId;
use crate::cmd::snapshot;
use crate::cmd::world::{Boot, World};
use crate::event_loop::disk;
use crate::event_loop::fleet::{Fleet, Mail};
use crate::ring::{Kind, epoll, probe, uring};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{fs, io};

/// Starts the server and stays until it has stopped.
/// Errors: it could not start, or a loop's engine failed.
pub fn serve(settings: Settings) -> Result<(), StartError> {
    signals::block();
    let config = settings.config;
    open_files(&config)?;
    settings.warnings.iter().for_each(|warning| log::warning(format_args!("{warning}")));
    let listed = listed_cores(&config);
    let loops = match config.number(Id::THREADS) {
        0 => listed.as_ref().map_or_else(|| cores::usable(cores::allowed().len()), Vec::len),
        count => count as usize,
    };
    config.set_number(Id::THREADS, loops as i64);
    let clients = limits::make_room(config.number(Id::MAXCLIENTS) as u64, loops)?;
    config.set_number(Id::MAXCLIENTS, clients as i64);
    let (kind, reason) = probe::choose(requested(&config)).map_err(StartError)?;
    let acl = users::load(&config, &settings.users)?;
    let listeners = Listeners::open(&config, loops).inspect_err(|_| {
        log::warning(format_args!("Failed listening on port {} (tcp), aborting.", config.number(Id::PORT)));
    })?;
    let homes = Homes::of(loops, listed);
    let seats = match kind {
        Kind::Uring => threads::seats::<uring::Uring>(loops, &homes),
        Kind::Epoll => threads::seats::<epoll::Epoll>(loops, &homes),
    };
    let seats = seats.map_err(|error| {
        StartError(format!(
            "A loop's {kind} engine cannot be made: {error}. Try fewer with --threads, or --io-engine epoll."
        ))
    })?;
    let boot = Boot {
        loops,
        databases: config.number(Id::DATABASES) as usize,
        engine: if kind == Kind::Uring { "uring" } else { "epoll" },
        engine_reason: reason,
        config_file: settings.file,
    };
    let mut fleet = Fleet::new(threads::wakers(&seats));
    fleet.keepalive = Some(config.number(Id::TCP_KEEPALIVE) as u32);
    if let Some(path) = &listeners.unix {
        fleet.unix_path = Some(path.to_string_lossy().into());
        fleet.unix_listener = Some(listeners.tcp.len() as u16);
    }
    // Both live as long as the process: the loops reach them without counting references.
    let world: &'static World = Box::leak(Box::new(World { config, acl, ..World::new(boot, KeyHasher::random()) }));
    world.publish_events();
    world.heed_replicas();
    crash::prepare(world);
    watchdog::heed(world);
    let fleet: &'static Fleet = Box::leak(Box::new(fleet));
    signals::watch(&world.ending, || fleet.mailbox(LoopId(0)).send(Mail::Terminate), snapshot::forget_beside)
        .map_err(|error| StartError(format!("A thread for signals cannot be made: {error}. Raise `ulimit -u`.")))?;
    screen::show(world, kind, &listeners, &homes);
    let Listeners { per_loop, tcp, unix, .. } = listeners;
    let next = tcp.len() as u16 + unix.is_some() as u16;
    let tcp = (0..).zip(tcp).map(|(listener, address)| OpenAddress::of(listener, address, &per_loop)).collect();
    let open = Arc::new(Mutex::new(Open { next, tcp }));
    let doors = open.clone();
    let shut_doors = move || doors.lock().unwrap_or_else(PoisonError::into_inner).shut_down();
    let _ = fleet.shut_doors.set(Box::new(shut_doors)); // Nobody else sets it.
    let mut score = OomScore::default();
    let _ = score.apply(&world.config); // Logged; the server runs without it.
    let _ = world.apply.set(apply::applier(world, fleet, open, score)); // Nobody else sets it.
    let _ = world.courier.set(Arc::new(Van::default())); // Nor that.
    let pidfile = write_pidfile(&world.config);
    let keeper = disk::start(world, fleet)
        .map_err(|error| StartError(format!("A thread for the journal cannot be made: {error}. Raise `ulimit -u`.")))?;
    let manifest = journal::open(world)?;
    recover::begin(world, fleet, manifest)
        .map_err(|error| StartError(format!("A thread for loading cannot be made: {error}. Raise `ulimit -u`.")))?;
    let outcome = join(threads::start(seats, world, fleet, per_loop));
    journal::close(world, keeper);
    for path in unix.iter().chain(&pidfile) {
        log::notice(format_args!("Removing {}", path.display()));
        let _ = fs::remove_file(path); // Somebody else may have removed it.
    }
    outcome?;
    // Harnesses look for "Redis is now ready to exit".
    log::warning(format_args!("ringdb in place of Redis is now ready to exit, bye bye..."));
    Ok(())
}

/// Waits until every loop has stopped.
fn join(threads: Vec<JoinHandle<io::Result<()>>>) -> Result<(), StartError> {
    for thread in threads {
        // A panic has aborted the process, so a thread that can be joined has returned.
        if let Ok(Err(error)) = thread.join() {
            return Err(StartError(format!(
                "A loop's engine failed: {error}. Restart, if need be with --io-engine epoll."
            )));
        }
    }
    Ok(())
}

/// Goes to the working directory and opens the log.
fn open_files(config: &Config) -> Result<(), StartError> {
    let dir = path_of(config, Id::DIR).unwrap_or_else(|| ".".into());
    std::env::set_current_dir(&dir).map_err(|error| {
        StartError(format!("Cannot go to the directory {}: {error}. Correct --dir.", dir.display()))
    })?;
    if let Ok(dir) = std::env::current_dir() {
        config.set_text(Id::DIR, dir.as_os_str().as_bytes());
    }
    let path = path_of(config, Id::LOGFILE);
    log::open(path.as_deref(), config.number(Id::LOGLEVEL) as u32).map_err(|error| {
        let path = path.unwrap_or_default();
        StartError(format!("Cannot open the log {}: {error}. Correct --logfile.", path.display()))
    })
}

fn path_of(config: &Config, id: Id) -> Option<PathBuf> {
    let text = config.text(id);
    (!text.is_empty()).then(|| Path::new(OsStr::from_bytes(&text)).to_path_buf())
}

/// What `server-cpulist` names. A list that is none is a nuisance, as in Redis.
fn listed_cores(config: &Config) -> Option<Vec<usize>> {
    let text = String::from_utf8_lossy(&config.text(Id::SERVER_CPULIST)).into_owned();
    let cores = cores::listed(&text);
    if cores.is_none() && !text.is_empty() {
        log::warning(format_args!(
            "server-cpulist '{text}' is not a list of cores such as 0-3,8: the loops run anywhere"
        ));
    }
    cores
}

fn requested(config: &Config) -> probe::Requested {
    match config.word(Id::IO_ENGINE) {
        "uring" => probe::Requested::Uring,
        "epoll" => probe::Requested::Epoll,
        _ => probe::Requested::Auto,
    }
}

/// Writes the process id. A pidfile that cannot be written is a nuisance, not a reason to stop.
fn write_pidfile(config: &Config) -> Option<PathBuf> {
    let path = path_of(config, Id::PIDFILE)?;
    match fs::write(&path, format!("{}\n", std::process::id())) {
        Ok(()) => Some(std::path::absolute(&path).unwrap_or(path)),
        Err(error) => {
            log::warning(format_args!("Cannot write the pidfile {}: {error}", path.display()));
            None
        }
    }
}
