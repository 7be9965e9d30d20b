//! Loading the files of the journal: each is looked through before anything of it is run.
//!
//! ```text
//! manifest ─▶ base, then the files with changes: check ─▶ whole: run what is good; torn at its end: only the last one may be
//! ```
//! DEBUG LOADAOF does it while the server runs: inside the safepoint, when everything that has changed is on the disk.

use super::dispatch::Turn;
use super::replay::replay;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::ids::DbIndex;
use crate::cmd::session::Session;
use crate::cmd::snapshot::{self, Twin};
use crate::cmd::world::World;
use crate::journal::check::{Refusal, check};
use crate::journal::manifest::{Manifest, Part};
use crate::keyspace::events::Listener;
use crate::keyspace::{Keys, Local};
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::table::Participant;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of the log.
pub fn folder(world: &World) -> PathBuf {
    Path::new(OsStr::from_bytes(&world.config.text(Id::APPENDDIRNAME))).to_path_buf()
}

/// What the names of the log's files begin with.
pub fn stem(world: &World) -> String {
    String::from_utf8_lossy(&world.config.text(Id::APPENDFILENAME)).into_owned()
}

/// Loads the files. Returns how much of the newest one with changes is whole; None: there are no files.
/// Errors: a sentence with the cause.
pub fn load(world: &World, local: &Local) -> Result<Option<u64>, String> {
    let (folder, started) = (folder(world), MonoNs::now());
    let text = match fs::read(folder.join(format!("{}.manifest", stem(world)))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| format!("Cannot read the AOF manifest: {error}."))?,
    };
    let manifest =
        Manifest::parse(&text).map_err(|invalid| format!("Bad AOF manifest: {invalid}. Restore it from a copy."))?;
    let parts: Vec<&Part> = manifest.parts().collect();
    let mut good_len = 0;
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        good_len = load_part(world, local, &folder.join(&part.name), &part.name, is_last)?;
    }
    let secs = MonoNs::now().since(started).as_secs_f64();
    log::notice(format_args!("DB loaded from append only file: {secs:.3} seconds"));
    Ok(Some(if manifest.incrs.is_empty() { 0 } else { good_len }))
}

fn load_part(world: &World, local: &Local, path: &Path, name: &str, is_last: bool) -> Result<u64, String> {
    let failed = |error: io::Error| format!("Error reading the AOF file {name}: {error}.");
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("The AOF file {name} that the manifest names does not exist."),
        _ => failed(error),
    })?;
    let len = file.metadata().map_err(failed)?.len();
    let mut head = [0; 5];
    if file.read_exact(&mut head).is_ok() && matches!(&head, b"REDIS" | b"VALKE") {
        return load_snapshot(world, local, path, name).map(|()| len);
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let verdict = check(&mut file, len).map_err(|refusal| match refusal {
        Refusal::Io(error) => failed(error),
        Refusal::Damaged { offset } => format!(
            "Bad file format reading the append only file {name} at offset {offset}: make a backup of your AOF file, then \
             use ./redis-check-aof --fix <filename.manifest>"
        ),
    })?;
    if verdict.lost_len > 0 {
        let (lost, commands, good) = (verdict.lost_len, verdict.lost_commands, verdict.good_len);
        if !is_last || world.config.number(Id::AOF_LOAD_TRUNCATED) == 0 {
            return Err(format!(
                "Unexpected end of file reading the append only file {name}: {lost} bytes behind offset {good} are not whole. You \
                 can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively \
                 you can set the 'aof-load-truncated' configuration option to yes and restart the server."
            ));
        }
        log::warning(format_args!(
            "!!! Warning: short read while loading the AOF file {name}!!! AOF loaded anyway because aof-load-truncated is \
             enabled. Truncating the AOF at offset {good}: {lost} bytes with {commands} commands are lost"
        ));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let whole = BufReader::with_capacity(1 << 20, file).take(verdict.good_len);
    let count = replay(world, local, &Participant::new(), whole).map_err(failed)?;
    log::notice(format_args!("DB loaded from {name}: {count} commands"));
    Ok(verdict.good_len)
}

/// Loads a base that is a snapshot, as Redis writes it.
fn load_snapshot(world: &World, local: &Local, path: &Path, name: &str) -> Result<(), String> {
    let seat = Participant::new();
    let guard = seat.pin();
    world.keyspace.now.refresh();
    // At time 0, as the commands behind it: what had not expired when they ran first is there for them.
    let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, &world.stats[0], local, WallMs(0));
    snapshot::load_file(world, &keys, path, Twin::Refused)
        .map_err(|error| format!("Bad snapshot in the append only file {name}: {error}. Restore it from a copy."))
}

/// How long a reload waits for the disk.
const PATIENCE_MS: u64 = 10_000;

impl Turn<'_> {
    /// DEBUG LOADAOF, inside the safepoint.
    /// Errors: there is no log, the disk, or damaged files: then the keys are gone.
    pub(super) fn reload(&mut self, session: &mut Session, reply: &mut Reply) {
        const FAILED: ReplyError = ReplyError::text("ERR Error trying to load the AOF files, check server logs.");
        let was_open = self.local.ledger.is_open();
        if was_open {
            self.close_group(session);
        }
        if !self.all_is_durable(session) {
            self.refuse(reply, &FAILED);
        } else {
            let space = &self.world.keyspace;
            space.listeners.forget(Listener::Journal); // What is loaded is recorded already.
            self.heed();
            let tables = (0..space.db_count()).filter_map(|db| space.roots.take(db)).collect();
            space.discard(tables, self.guard);
            let outcome = load(self.world, self.local);
            space.listeners.heed(Listener::Journal);
            self.heed();
            match outcome {
                Ok(_) => reply.ok(),
                Err(error) => {
                    log::warning(format_args!("{error}"));
                    self.refuse(reply, &FAILED);
                }
            }
        }
        if was_open {
            self.open_group();
        }
    }

    /// Has everything that was changed so far on the disk.
    fn all_is_durable(&self, session: &Session) -> bool {
        let journal = &self.world.journal;
        if !journal.is_on() {
            return false;
        }
        let batch = self.local.ledger.take();
        if !batch.is_empty() {
            let _ = journal.submit(session.home.0 as usize, batch); // It is waited for right here.
        }
        let last = self.world.keyspace.order.next() - 1;
        journal.want(last);
        for _ in 0..PATIENCE_MS {
            if journal.durable() >= last {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}
