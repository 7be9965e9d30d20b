//! Whole data sets as files: written and read while everything else stands still, and the digest of all that is there.
//!
//! ```text
//! save   head · functions · for each database: its number, its sizes, its keys · end        by SAVE, SHUTDOWN, DEBUG RELOAD
//! load   the same backwards, one batch of records after the other                            by DEBUG RELOAD
//! ```
//! The caller is inside the safepoint, so a walk over a table sees every key once. How a start loads: `loading`.

use super::base;
use super::functions::Policy;
use super::restore::{entry, form, limits, set_use, view};
use super::world::{REDIS_VERSION, World};
use crate::admin::log;
use crate::admin::memory;
use crate::admin::params::Id;
use crate::admin::replace::Replacement;
use crate::base::clock::{MonoNs, wall_micros};
use crate::base::crc64::crc64;
use crate::base::ids::DbIndex;
use crate::base::sync::Ordering::Relaxed;
use crate::keyspace::Keys;
use crate::keyspace::recency::Recency;
use crate::keyspace::store::Placed;
use crate::persist::decode::Setting;
use crate::persist::digest::Digest;
use crate::persist::frame::{self, Batch, Frame, Frames};
use crate::persist::record::{self, About, Use};
use crate::persist::{Fault, Form};
use crate::table::{Entry, Walk, Walked};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes that are gathered before they are written.
const WRITE_LEN: usize = 1 << 20;
/// Bytes that are read at once.
pub const READ_LEN: usize = 256 << 10;
/// A record has about so many bytes at least: what a file says of the number of its keys is not believed beyond that.
const RECORD_LEN: u64 = 16;
/// Keys of a piece of a walk.
const WALK_COUNT: usize = 1024;

/// The snapshot's place, relative to the working directory.
pub fn path(world: &World) -> PathBuf {
    Path::new(OsStr::from_bytes(&world.config.text(Id::DBFILENAME))).to_path_buf()
}

/// Is data to be saved by itself (`save`)?
pub fn has_save_points(world: &World) -> bool {
    !world.config.text(Id::SAVE).is_empty()
}

/// A file that is being written, and the checksum of what is in it.
pub struct Writer {
    file: Replacement,
    /// None: without one.
    sum: Option<u64>,
    /// It is no snapshot, but commands: there is nothing at its end.
    is_plain: bool,
}

impl Writer {
    /// What will be at `path` is called `beside` until it is whole.
    pub fn begin(world: &World, path: &Path, beside: &str) -> io::Result<Self> {
        let file = Replacement::begin(path, beside)?;
        Ok(Writer { file, sum: (world.config.number(Id::RDBCHECKSUM) != 0).then_some(0), is_plain: false })
    }
    /// The same for a file of commands.
    pub fn begin_plain(world: &World, path: &Path, beside: &str) -> io::Result<Self> {
        Ok(Writer { sum: None, is_plain: true, ..Self::begin(world, path, beside)? })
    }
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = self.sum.map(|sum| crc64(sum, bytes));
        self.file.write(bytes)
    }
    /// Has all of it on the disk, still beside its place.
    pub fn seal(&mut self) -> io::Result<()> {
        if !self.is_plain {
            self.file.write(&frame::end(self.sum))?;
        }
        self.file.sync()
    }
    /// Puts what is sealed in its place. Returns the folder, which is to be synced.
    pub fn place(self) -> io::Result<File> {
        self.file.place()
    }
}

/// What a file begins with: who wrote it, whether a log goes on behind it, and functions.
pub fn head(world: &World, now_s: u64, form: Form, is_base: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (now, used) = (now_s.to_string(), memory::used().to_string());
    let base = if is_base { "1" } else { "0" };
    let aux =
        [("redis-ver", REDIS_VERSION), ("redis-bits", "64"), ("ctime", &now), ("used-mem", &used), ("aof-base", base)];
    frame::put_head(&mut out, form, &aux);
    for library in world.functions.catalogue().libraries() {
        frame::put_function(&mut out, &library.source, form);
    }
    out
}

/// Writes an entry as a record. False: it has just been removed.
pub fn put(out: &mut Vec<u8>, keys: &Keys<'_>, entry: Entry<'_>, tells_use: bool, form: Form) -> bool {
    let usage = tells_use.then(|| usage(&keys.local.recency, entry));
    let about = About { name: Cow::Borrowed(entry.key()), expires_at: entry.expires_at(), usage };
    view(entry, |view| record::put(out, &about, view, form)).is_some()
}

/// How recently, or how often, an entry was used.
pub fn usage(recency: &Recency, entry: Entry<'_>) -> Use {
    match recency.is_lfu() {
        true => Use::Frequency(recency.frequency(entry) as u8),
        false => Use::Idle(recency.idle_seconds(entry) as u64),
    }
}

/// Is it told how recently keys were used? Only where that decides what is evicted.
pub fn tells_use(world: &World) -> bool {
    let policy = world.config.word(Id::MAXMEMORY_POLICY);
    policy.ends_with("-lru") || policy.ends_with("-lfu")
}

/// Visits all entries of a database, those past their deadline included. The caller is inside the safepoint.
/// Errors: those of `visit`.
pub fn each<'t, E>(keys: &Keys<'t>, mut visit: impl FnMut(Entry<'t>) -> Result<(), E>) -> Result<(), E> {
    let Some(table) = keys.table() else { return Ok(()) };
    let mut walk = Walk::default();
    loop {
        let mut result = Ok(());
        let walked = table.walk(&mut walk, WALK_COUNT, keys.guard, |entry| {
            if result.is_ok() {
                result = visit(entry);
            }
        });
        result?;
        match walked {
            Walked::Done => return Ok(()),
            Walked::More | Walked::NextShard => {}
            Walked::ShardAgain => unreachable!("nobody else is at the table"),
        }
    }
}

/// Writes a snapshot. The caller is inside the safepoint.
/// Errors: the file; the old one is still there.
pub fn save(world: &World, keys: &Keys<'_>) -> io::Result<()> {
    save_with(world, keys, 0)
}

/// The same. So many changes that are not counted yet are in it.
pub fn save_with(world: &World, keys: &Keys<'_>, uncounted: u64) -> io::Result<()> {
    let outcome = write_all(world, keys);
    match &outcome {
        Ok(()) => {
            world.saves.succeeded(keys.now, changes(world) + uncounted);
            log::notice(format_args!("DB saved on disk"));
        }
        Err(error) => {
            log::warning(format_args!("Error saving DB on disk: {error}"));
        }
    }
    outcome
}

/// Writes a file without keys: a snapshot, or commands. Returns its length.
pub fn write_empty(world: &World, path: &Path, is_rdb: bool) -> io::Result<u64> {
    let (form, name) = (form(&world.config), beside());
    let mut file = match is_rdb {
        true => Writer::begin(world, path, &name)?,
        false => Writer::begin_plain(world, path, &name)?,
    };
    let head = if is_rdb { head(world, wall_micros() / 1_000_000, form, true) } else { base::head(world) };
    file.write(&head)?;
    file.seal()?;
    file.place()?.sync_all()?;
    Ok(path.metadata()?.len())
}

/// What SAVE's file is called until it is whole.
fn beside() -> String {
    format!("temp-{}.rdb", std::process::id())
}

/// Removes what SAVE has written so far: the process ends in the middle of it.
pub fn forget_beside() {
    let _ = std::fs::remove_file(beside()); // As a rule there is none.
}

fn write_all(world: &World, keys: &Keys<'_>) -> io::Result<()> {
    let (form, tells_use) = (form(&world.config), tells_use(world));
    let mut file = Writer::begin(world, &path(world), &beside())?;
    let mut out = head(world, keys.now.0 / 1000, form, false);
    for db in (0..world.keyspace.db_count()).map(|db| DbIndex(db as u16)) {
        let keys = keys.on(db);
        if keys.count() == 0 {
            continue;
        }
        frame::put_select(&mut out, db.0 as usize);
        frame::put_resize(&mut out, keys.count(), keys.volatile_count());
        each(&keys, |entry| {
            put(&mut out, &keys, entry, tells_use, form);
            delay(world.config.number(Id::RDB_KEY_SAVE_DELAY), 1, || false);
            if out.len() < WRITE_LEN {
                return Ok(());
            }
            let result = file.write(&out);
            out.clear();
            result
        })?;
    }
    file.write(&out)?;
    file.seal()?;
    file.place()?.sync_all()
}

/// Takes as much time as `rdb-key-save-delay` wants for so many keys: microseconds per key, or one per so many keys if it is
/// negative. In small parts, until `is_over`.
pub fn delay(micros: i64, keys: u64, is_over: impl Fn() -> bool) {
    if micros == 0 {
        return;
    }
    let started = MonoNs::now();
    let wanted = if micros > 0 { keys.saturating_mul(micros as u64) } else { keys / micros.unsigned_abs() };
    while !is_over() {
        let left = Duration::from_micros(wanted).saturating_sub(MonoNs::now().since(started));
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(1)));
    }
}

/// Changes since the start.
pub fn changes(world: &World) -> u64 {
    world.stats.iter().map(|stats| stats.dirty.total()).sum()
}

/// Why a file could not be loaded.
pub enum LoadError {
    File(io::Error),
    /// At this offset.
    Fault(u64, Fault),
    /// Its functions.
    Functions(String),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::File(error) => error.fmt(f),
            LoadError::Fault(offset, fault) => write!(f, "at offset {offset}: {fault}"),
            LoadError::Functions(message) => write!(f, "its functions: {message}"),
        }
    }
}

/// What is done with what a file holds.
pub trait Receiver {
    fn batch(&mut self, batch: Batch) -> Result<(), Fault>;
    fn progress(&mut self, _offset: u64) {}
    /// The snapshot ends at this place of the file.
    fn end(&mut self, _offset: u64) {}
}

/// Reads a snapshot and hands its keys on. Returns the libraries of functions.
/// Errors: the file, or what is in it; what came before was handed on.
pub fn read(world: &World, path: &Path, receiver: &mut impl Receiver) -> Result<Vec<Vec<u8>>, LoadError> {
    let mut file = File::open(path).map_err(LoadError::File)?;
    let mut frames = Frames::new(world.config.number(Id::RDBCHECKSUM) != 0);
    let (mut sources, mut buffer) = (Vec::new(), vec![0; READ_LEN]);
    let keys_max = file.metadata().map_err(LoadError::File)?.len() / RECORD_LEN; // Whatever the file says.
    let (mut expected, mut number) = (0, 0);
    loop {
        let next = frames.part().map_err(|fault| LoadError::Fault(frames.offset(), fault))?;
        match next {
            Some(Frame::End) => {
                receiver.end(frames.offset());
                return Ok(sources);
            }
            Some(Frame::Keys(mut batch)) => {
                (batch.expected, batch.number) = (expected, number);
                number += 1;
                receiver.batch(batch).map_err(|fault| LoadError::Fault(frames.offset(), fault))?;
                receiver.progress(frames.offset());
            }
            Some(Frame::Function(source)) => sources.push(source),
            Some(Frame::Resize(keys, _)) => (expected, number) = (keys.min(keys_max), 0),
            Some(Frame::Aux(name, value)) => note_aux(world, &name, &value),
            None => match file.read(&mut buffer).map_err(LoadError::File)? {
                0 => frames.finish(),
                len => frames.push(&buffer[..len]),
            },
        }
    }
}

fn note_aux(world: &World, name: &[u8], value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    match name {
        b"used-mem" => world.saves.loading.used_memory.store(value.parse().unwrap_or(0), Relaxed),
        b"redis-ver" | b"valkey-ver" => log::notice(format_args!("Loading RDB produced by version {value}")),
        _ => {}
    }
}

/// What happens to a key that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    Refused,
    Replaced,
}

/// Puts the keys of a batch into the data set.
/// Errors: what is in it; what came before is there.
pub fn apply(world: &World, keys: &Keys<'_>, batch: &Batch, twin: Twin) -> Result<(), Fault> {
    let (limits, loading) = (limits(world), &world.saves.loading);
    let db = batch.db;
    if db >= world.keyspace.db_count() as u64 {
        return Err(Fault::Damaged("it has more databases than this server"));
    }
    let keys = keys.on(DbIndex(db as u16));
    let table = keys.make_room(batch.expected, batch.number);
    let (mut loaded, mut expired) = (0, 0);
    let setting = Setting { version: 0, limits: &limits, now: keys.now };
    let announce = |name: &[u8]| table.prefetch_group(keys.key(name, 0).hash);
    let pass_over = |name: &[u8]| {
        log::notice(format_args!("Loading: skipping empty key: {}", String::from_utf8_lossy(name)));
        loading.keys_empty.fetch_add(1, Relaxed);
    };
    let outcome = batch.each(setting, pass_over, announce, |record| {
        let expires_at = record.about.expires_at;
        if expires_at.is_some_and(|at| at <= keys.now) {
            expired += 1;
            return Ok(());
        }
        let (name, usage) = (record.about.name.clone(), record.about.usage);
        let key = keys.key(&name, 0);
        let placed =
            keys.put_made(key, twin == Twin::Replaced, || entry(&name, record.value(), expires_at, keys.recency()));
        if placed == Placed::Occupied {
            return Err(Fault::Damaged("a key is there twice"));
        }
        if let Some(usage) = usage {
            set_use(&keys, key, usage);
        }
        loaded += 1;
        Ok(())
    });
    loading.keys_loaded.fetch_add(loaded, Relaxed);
    loading.keys_expired.fetch_add(expired, Relaxed);
    outcome
}

/// Whoever takes the keys at once.
struct AtOnce<'a, 't> {
    world: &'a World,
    keys: Keys<'t>,
    twin: Twin,
    end: u64,
}

impl Receiver for AtOnce<'_, '_> {
    fn batch(&mut self, batch: Batch) -> Result<(), Fault> {
        apply(self.world, &self.keys, &batch, self.twin)
    }
    fn end(&mut self, offset: u64) {
        self.end = offset;
    }
}

/// Loads the snapshot beside what is there. The caller is inside the safepoint.
/// Errors: the file, or what is in it, functions last; what came before is there.
pub fn add(world: &World, keys: &Keys<'_>, twin: Twin) -> Result<(), LoadError> {
    let sources = read(world, &path(world), &mut AtOnce { world, keys: *keys, twin, end: 0 })?;
    add_functions(world, &sources, if twin == Twin::Replaced { Policy::Replace } else { Policy::Append })
}

/// Loads the snapshot. The caller is inside the safepoint.
/// Errors: the file, or what is in it; what came before is there.
pub fn load(world: &World, keys: &Keys<'_>, twin: Twin) -> Result<(), LoadError> {
    load_file(world, keys, &path(world), twin).map(|_| ())
}

/// The same from another file: the base of a journal. Returns where the snapshot ends there.
pub fn load_file(world: &World, keys: &Keys<'_>, path: &Path, twin: Twin) -> Result<u64, LoadError> {
    let loading = &world.saves.loading;
    [&loading.keys_loaded, &loading.keys_expired, &loading.keys_empty]
        .into_iter()
        .for_each(|count| count.store(0, Relaxed));
    let mut receiver = AtOnce { world, keys: *keys, twin, end: 0 };
    let sources = read(world, path, &mut receiver)?;
    take_functions(world, &sources)?;
    Ok(receiver.end)
}

/// The libraries of a file take the place of those that are there.
pub fn take_functions(world: &World, sources: &[Vec<u8>]) -> Result<(), LoadError> {
    add_functions(world, sources, Policy::Flush)
}

fn add_functions(world: &World, sources: &[Vec<u8>], policy: Policy) -> Result<(), LoadError> {
    let outcome = world.functions.restore(sources, policy);
    outcome.map_err(|error| LoadError::Functions(error.line().to_string()))
}

/// The digest of all databases. The caller is inside the safepoint.
pub fn digest(keys: &Keys<'_>) -> Digest {
    let mut digest = Digest::default();
    for db in 0..keys.space.db_count() {
        let keys = keys.on(DbIndex(db as u16));
        if keys.count() == 0 {
            continue;
        }
        digest.begin_db(db);
        let Ok(()) = each(&keys, |entry| {
            view(entry, |view| digest.add_key(entry.key(), view, entry.has_deadline()));
            Ok::<(), std::convert::Infallible>(())
        });
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::cmd::testkit::Client;

    const LINES: &[&str] = &[
        "SET text value",
        "SET number 12345 PX 100000000",
        "RPUSH list a b c 1 2 3",
        "SADD ints 1 2 3",
        "SADD set a b c",
        "HSET hash f v g w",
        "HSET timed f v g w",
        "HPEXPIREAT timed 10000000000000 FIELDS 1 f",
        "ZADD zset 1 a 2.5 b",
        "XADD stream 1-1 f v",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g c STREAMS stream >",
        "SETRANGE long 9000 x",
    ];

    /// A file with keys of all types.
    fn file() -> Vec<u8> {
        let mut client = Client::new();
        LINES.iter().for_each(|line| assert_ne!(client.raw(line)[0], b'-', "{line}"));
        let seat = crate::table::Participant::new();
        let guard = seat.pin();
        let (world, form) = (&client.world, form(&client.world.config));
        let keys =
            Keys::new(&world.keyspace, DbIndex(0), &guard, &world.stats[0], &client.local, world.keyspace.now.get());
        let mut out = head(world, 1, form, false);
        frame::put_select(&mut out, 0);
        frame::put_resize(&mut out, keys.count(), keys.volatile_count());
        let Ok(()) = each(&keys, |entry| {
            put(&mut out, &keys, entry, true, form);
            Ok::<(), std::convert::Infallible>(())
        });
        let end = frame::end(Some(crc64(0, &out)));
        out.extend_from_slice(&end);
        out
    }

    /// Reads all of a file. Errors: what is wrong with it.
    fn read_all(bytes: &[u8], checks_sum: bool) -> Result<usize, Fault> {
        let world = crate::cmd::world::World::new(Default::default(), crate::base::hash::KeyHasher::seeded(1));
        let (limits, mut frames, mut count) = (limits(&world), Frames::new(checks_sum), 0);
        frames.push(bytes);
        frames.finish();
        loop {
            match frames.part()? {
                Some(Frame::End) => return Ok(count),
                Some(Frame::Keys(batch)) => {
                    let setting = Setting { version: 0, limits: &limits, now: crate::base::clock::WallMs(0) };
                    batch.each(
                        setting,
                        |_| {},
                        |_| {},
                        |record| {
                            record.value();
                            count += 1;
                            Ok(())
                        },
                    )?;
                }
                Some(_) => {}
                None => unreachable!("the file is finished"),
            }
        }
    }

    /// Truncates the file, or flips a bit of it, so many times.
    fn damage(times: u64) {
        let bytes = file();
        let whole = read_all(&bytes, true).expect("it is whole");
        assert_eq!(whole, 10);
        let (mut prng, mut unnoticed) = (Prng::seeded(7), 0);
        for _ in 0..times {
            let (damaged, at, is_cut) = prng.damage(&bytes);
            assert!(read_all(&damaged, true).is_err(), "cut {is_cut}, at {at}: it is read as if it were whole");
            unnoticed += read_all(&damaged, false).is_ok() as u64; // Without the sum nothing is promised but that it does not panic.
        }
        println!("of {times}: all refused; without checksums {unnoticed} would not be noticed");
    }

    #[test]
    fn a_damaged_file_is_refused_whatever_is_wrong_with_it() {
        damage(300);
    }

    #[test]
    #[ignore]
    fn five_thousand_damaged_files_are_refused() {
        damage(5000);
    }
}
