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
use crate::base::ids::{DbIndex, LoopId};
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
use std::io::{self, Read, Seek, SeekFrom};
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

/// What is done with what the files hold.
pub trait Sink {
    /// Takes the snapshot that a file begins with. Returns where it ends.
    /// Errors: a sentence with the cause.
    fn snapshot(&mut self, path: &Path) -> Result<u64, String>;
    /// Runs commands. `begin`: their place in the file. Returns how many there were.
    fn commands(&mut self, file: impl Read, begin: u64) -> io::Result<u64>;
    /// A file is taken in.
    fn passed(&mut self, _len: u64) {}
}

/// The manifest. None: there is none.
/// Errors: a sentence with the cause.
pub fn manifest(world: &World) -> Result<Option<Manifest>, String> {
    let text = match fs::read(folder(world).join(format!("{}.manifest", stem(world)))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| format!("Cannot read the AOF manifest: {error}."))?,
    };
    Manifest::parse(&text).map(Some).map_err(|invalid| format!("Bad AOF manifest: {invalid}. Restore it from a copy."))
}

/// Bytes of the files that a manifest names.
pub fn total_len(world: &World, manifest: &Manifest) -> u64 {
    let folder = folder(world);
    manifest.parts().filter_map(|part| folder.join(&part.name).metadata().ok()).map(|data| data.len()).sum()
}

/// Loads the files. Returns how much of the newest one with changes is whole; None: the log must not go on in it.
/// Errors: a sentence with the cause.
pub fn load(world: &World, manifest: &Manifest, sink: &mut impl Sink) -> Result<Option<u64>, String> {
    let (folder, started) = (folder(world), MonoNs::now());
    let parts: Vec<&Part> = manifest.parts().collect();
    let mut newest = None;
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let (good_len, has_gap) = load_part(world, sink, &folder.join(&part.name), &part.name, is_last)?;
        sink.passed(good_len);
        newest = Some(good_len).filter(|_| !has_gap);
    }
    let secs = MonoNs::now().since(started).as_secs_f64();
    log::notice(format_args!("DB loaded from append only file: {secs:.3} seconds"));
    Ok(newest)
}

/// What of a file stands behind a snapshot, as a file.
struct Behind {
    file: File,
    begin: u64,
}

impl Read for Behind {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Seek for Behind {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(at + self.begin),
            other => other,
        };
        Ok(self.file.seek(to)? - self.begin)
    }
}

/// Returns how much of it is whole, and whether there is room in between.
fn load_part(
    world: &World,
    sink: &mut impl Sink,
    path: &Path,
    name: &str,
    is_last: bool,
) -> Result<(u64, bool), String> {
    let failed = |error: io::Error| format!("Error reading the append only file {name}: {error}.");
    let mut file = File::open(path)
        .map_err(|error| format!("The append only file {name} that the manifest names cannot be opened: {error}."))?;
    let len = file.metadata().map_err(failed)?.len();
    let (mut head, mut begin) = ([0; 5], 0);
    if file.read_exact(&mut head).is_ok() && matches!(&head, b"REDIS" | b"VALKE") {
        begin = sink.snapshot(path).map_err(|error| {
            format!("Bad snapshot in the append only file {name}: {error}. Restore it from a copy.")
        })?;
    }
    let mut file = Behind { file, begin };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let verdict = check(&mut file, len - begin).map_err(|refusal| match refusal {
        Refusal::Io(error) => failed(error),
        Refusal::Damaged { offset } => format!(
            "Bad file format reading the append only file {name} at offset {}: make a backup of your AOF file, then \
             use ./redis-check-aof --fix <filename.manifest>",
            begin + offset
        ),
    })?;
    let good = begin + verdict.good_len;
    if verdict.lost_len > 0 {
        let (lost, commands) = (verdict.lost_len, verdict.lost_commands);
        if !is_last || world.config.number(Id::AOF_LOAD_TRUNCATED) == 0 {
            return Err(format!(
                "Unexpected end of file reading the append only file {name}: {lost} bytes behind offset {good} are not whole. You \
                 can: 1) Make a backup of your AOF file, then use ./redis-check-aof --fix <filename.manifest>. 2) Alternatively \
                 you can set the 'aof-load-truncated' configuration option to yes and restart the server."
            ));
        }
        log::warning(format_args!(
            "!!! Warning: short read while loading the AOF file {name}!!! AOF loaded anyway because aof-load-truncated is \
             enabled. Truncating the AOF {name} at offset {good}: {lost} bytes with {commands} commands are lost"
        ));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let count = sink.commands(file.take(verdict.good_len), begin).map_err(failed)?;
    log::notice(format_args!("DB loaded from {name}: {count} commands"));
    Ok((good, verdict.has_gap))
}

/// Whoever takes everything at once, while all loops stand still.
struct AtOnce<'a> {
    world: &'a World,
    local: &'a Local,
    home: LoopId,
}

impl Sink for AtOnce<'_> {
    fn snapshot(&mut self, path: &Path) -> Result<u64, String> {
        let (world, seat) = (self.world, Participant::new());
        let guard = seat.pin();
        world.keyspace.now.refresh();
        // At time 0, as the commands behind it: what had not expired when they ran first is there for them.
        let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, &world.stats[0], self.local, WallMs(0));
        snapshot::load_file(world, &keys, path, Twin::Refused).map_err(|error| error.to_string())
    }
    fn commands(&mut self, file: impl Read, _: u64) -> io::Result<u64> {
        replay(self.world, self.local, &Participant::new(), self.home, file)
    }
}

fn load_at_once(world: &World, local: &Local, home: LoopId) -> Result<(), String> {
    let Some(manifest) = manifest(world)? else { return Ok(()) };
    load(world, &manifest, &mut AtOnce { world, local, home }).map(|_| ())
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
            self.world.attention.set_loading(true); // Scripts that take too long let others ask.
            let outcome = load_at_once(self.world, self.local, session.home);
            self.world.attention.set_loading(false);
            space.listeners.heed(Listener::Journal);
            self.heed();
            match outcome {
                Ok(()) => reply.ok(),
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
            return true; // Only what a rewrite has left is loaded.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::KeyHasher;
    use crate::base::prng::Prng;
    use crate::cmd::world::Boot;
    use crate::journal::frame::Framer;
    use crate::journal::merge::Merged;
    use crate::journal::replay::Commands;
    use crate::keyspace::order::{Record, append_command};

    /// Gathers the numbers that commands carry.
    #[derive(Default)]
    struct Numbers(Vec<u64>);

    impl Sink for Numbers {
        fn snapshot(&mut self, _: &Path) -> Result<u64, String> {
            Err("there is none".into())
        }
        fn commands(&mut self, file: impl Read, _: u64) -> io::Result<u64> {
            let mut commands = Commands::new(file);
            while let Some(parts) = commands.read()? {
                if parts.get(0) == b"SET" {
                    let text = String::from_utf8_lossy(parts.get(2)).into_owned();
                    assert_eq!(parts.get(1), format!("key{text}").as_bytes(), "a command of its own making");
                    self.0.push(text.parse().expect("a number"));
                }
            }
            Ok(0)
        }
    }

    /// A log of so many batches, and where each ends.
    fn log(count: u64) -> (Vec<u8>, Vec<u64>) {
        let (mut framer, mut out, mut ends) = (Framer::default(), Vec::new(), vec![0]);
        for number in 1..=count {
            let (mut bytes, word) = (Vec::new(), number.to_string());
            append_command(&mut bytes, [b"SET", format!("key{number}").as_bytes(), word.as_bytes()].into_iter());
            let records = [Record { db: DbIndex(0), len: bytes.len() }];
            framer.push(&Merged { number, is_whole: false, records: &records, bytes: &bytes });
            framer.finish(*ends.last().expect("the begin"), &mut out);
            ends.push(out.len() as u64);
        }
        (out, ends)
    }

    /// Truncates the log, or flips a bit of it, so many times: what is loaded is a prefix, what was durable is there, or the file is refused.
    fn damage(times: u64) {
        let world = World::new(Boot::default(), KeyHasher::seeded(1));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (bytes, ends) = log(50);
        let (mut prng, mut tally) = (Prng::seeded(5), [0; 3]);
        for _ in 0..times {
            let (damaged, at, is_cut) = prng.damage(&bytes);
            fs::write(file.path(), &damaged).expect("written");
            let mut numbers = Numbers::default();
            match load_part(&world, &mut numbers, file.path(), "the.log", true) {
                Ok((good, _)) => {
                    let count = ends.iter().filter(|&&end| end <= good).count() as u64 - 1;
                    assert_eq!(numbers.0, (1..=count).collect::<Vec<_>>());
                    let durable = if is_cut { ends.iter().filter(|&&end| end <= at as u64).count() - 1 } else { 49 };
                    assert!(count >= durable as u64 || at as u64 >= ends[49], "{count} of {durable}, at {at}");
                    tally[(count < 50) as usize] += 1;
                }
                Err(report) => {
                    assert!(report.contains("the.log at offset"), "{report}");
                    assert!(numbers.0.is_empty(), "nothing of a damaged file is run");
                    tally[2] += 1;
                }
            }
        }
        println!("of {times}: {} whole, {} cut, {} refused", tally[0], tally[1], tally[2]);
    }

    #[test]
    fn a_damaged_log_is_cut_or_refused_and_never_misread() {
        damage(300);
    }

    #[test]
    #[ignore]
    fn five_thousand_damaged_logs_are_cut_or_refused() {
        damage(5000);
    }
}
