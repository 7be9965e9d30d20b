//! BGSAVE: a snapshot of one instant, taken while everything goes on. No fork, no copy of the data.
//!
//! ```text
//! begin    inside a safepoint: the era goes up, tables and their numbers are noted (`keyspace::handover` has the proof)
//! loops    each takes shards of tables, one after the other, some hundred µs per turn: encoded entries of the older era
//!          go to the writer in pieces of 64 KiB
//! writers  of data hand over what they are about to change: into one shared piece
//! writer   a thread: checksum, write, at the end fsync and rename (`saver`)
//! end      the loop that finishes the last shard gives the shared piece to the writer, and the end
//! ```
//! **Large values** are not encoded by those who meet them, but lent to the writer (`persist::lent`), who encodes them as
//! they were while they go on changing. So nobody stands still for longer than some 64 KiB of data takes.
//!
//! **Memory.** What is encoded and not written yet. Loops walk on only while that is below 8 MiB; commands that change data
//! wait for the disk beyond 32 MiB.
//!
//! FLUSHALL, FLUSHDB and SHUTDOWN break it off: what it was to hold is gone.
//!
//! The append-only file is written anew in the same way: what is taken becomes its base, and the log goes on behind the cut.

use super::base;
use super::restore::{form, view};
use super::saver::{Large, PIECE_LEN, Saver};
use super::snapshot::{self, Writer};
use super::world::World;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, WallMs, wall_micros};
use crate::base::ids::DbIndex;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use crate::journal::hub::Rewrite;
use crate::keyspace::Keys;
use crate::keyspace::events::Listener;
use crate::keyspace::handover::{Taker, take};
use crate::keyspace::recency::Recency;
use crate::persist::lent::{LARGE, Lent};
use crate::persist::record::{self, About};
use crate::persist::{Form, frame};
use crate::table::entry::{ERA_COUNT, begin_era, era};
use crate::table::{Entry, Payload, Table, Walk, Walked};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a turn walks.
const WALK_TIME: Duration = Duration::from_micros(300);
/// Elements of a collection that are looked at to tell how large it is.
const SAMPLES: usize = 4;
/// Entries between two looks at the clock.
const WALK_COUNT: usize = 32;
/// After a failure save points wait for so long. Source: Redis, CONFIG_BGSAVE_RETRY_DELAY.
const RETRY_S: u64 = 5;

/// A piece that is being filled. Of one table.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    count: u64,
    table: Option<usize>,
}

/// What a snapshot becomes.
#[derive(Clone, Debug)]
enum Purpose {
    Save,
    /// The base of the append-only file, under this path until then; as a snapshot, or in commands.
    Base {
        aside: PathBuf,
        is_rdb: bool,
        rewrite: Rewrite,
    },
}

/// A snapshot that is being taken.
pub struct Snapshot {
    era: u32,
    form: Form,
    /// It says how recently keys were used.
    tells_use: bool,
    /// It is commands.
    is_plain: bool,
    /// Databases with something in them, and the ids of their tables.
    tables: Vec<(DbIndex, u64)>,
    /// The next shard that nobody has taken, counted through all tables, and how many are finished.
    next: AtomicUsize,
    finished: AtomicUsize,
    /// From those who change data.
    shared: Mutex<Piece>,
    saver: Arc<Saver>,
    /// Changes up to the cut.
    changes: u64,
    purpose: Purpose,
}

#[derive(Default)]
struct Stages {
    walking: Option<Arc<Snapshot>>,
    /// The same until the writer has ended.
    writing: Option<Arc<Snapshot>>,
    /// How many there were, and how many of them are not counted any more.
    begun: u64,
    forgotten: u64,
    /// Writers, some of which may have ended.
    threads: Vec<JoinHandle<()>>,
}

/// The snapshot that is being taken, for all loops.
#[derive(Default)]
pub struct Background {
    stages: Mutex<Stages>,
    /// BGSAVE SCHEDULE: as soon as it may.
    is_scheduled: AtomicBool,
    /// Eras since all entries were of the present one.
    unsettled: AtomicU32,
}

impl Snapshot {
    fn shard_count(&self) -> usize {
        self.tables.len() * Table::SHARD_COUNT
    }
    /// Gives a piece to the writer.
    fn send(&self, piece: &mut Piece) {
        let (bytes, count) = (std::mem::take(&mut piece.bytes), std::mem::take(&mut piece.count));
        piece.table = None;
        if !bytes.is_empty() {
            self.saver.send(bytes, count);
        }
    }
    /// Encodes an entry of table `index` into `piece`, if nobody has. True: it was taken.
    fn put(&self, piece: &mut Piece, index: usize, entry: Entry<'_>, recency: &Recency) -> bool {
        if entry.era() == self.era {
            return false;
        }
        if let Some(is_taken) = self.lend(index, entry, recency) {
            return is_taken;
        }
        let (mark, out) = (piece.bytes.len(), &mut piece.bytes);
        let is_new = piece.table != Some(index);
        let db = self.tables[index].0;
        match is_new {
            true if self.is_plain => base::put_select(out, db),
            true => frame::put_select(out, db.0 as usize),
            false => {}
        }
        // The claim comes behind the encoding, and under the collection's lock.
        let is_taken = take(entry, self.era, |claim| {
            if self.is_plain {
                return base::put(out, entry, claim);
            }
            let usage = self.tells_use.then(|| snapshot::usage(recency, entry));
            let about = About { name: Cow::Borrowed(entry.key()), expires_at: entry.expires_at(), usage };
            view(entry, |view| {
                record::put(out, &about, view, self.form);
                claim()
            })
        });
        if is_taken {
            (piece.table, piece.count) = (Some(index), piece.count + 1);
        } else {
            piece.bytes.truncate(mark);
        }
        is_taken
    }
    /// Gives a large value to the writer, if nobody has. None: it is not large, or was removed.
    fn lend(&self, index: usize, entry: Entry<'_>, recency: &Recency) -> Option<bool> {
        match entry.payload() {
            Payload::Blob(text) if text.len() >= LARGE => {
                Some(self.give(index, entry, recency, Lent::of_text(text.clone(), self.form)))
            }
            Payload::Object(object) => {
                if object.read()?.memory(SAMPLES) < LARGE {
                    return None;
                }
                let mut lock = object.write()?;
                let lent = match self.is_plain {
                    true => base::lend(entry.key(), &mut lock, self.form),
                    false => Lent::of(&mut lock, self.form),
                }?;
                Some(self.give(index, entry, recency, lent)) // It claims under the collection's lock.
            }
            _ => None,
        }
    }
    fn give(&self, index: usize, entry: Entry<'_>, recency: &Recency, lent: Lent) -> bool {
        let usage = self.tells_use.then(|| snapshot::usage(recency, entry));
        let (db, name, expires_at) = (self.tables[index].0, entry.key().into(), entry.expires_at());
        let is_taken = entry.claim(self.era);
        if is_taken {
            self.saver.send_large(Large { db, name, expires_at, usage, lent });
        }
        is_taken
    }
    fn lock_shared(&self) -> MutexGuard<'_, Piece> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker for Snapshot {
    fn take(&self, table: u64, entry: Entry<'_>, recency: &Recency) {
        if entry.era() == self.era || self.saver.is_broken_off() {
            return;
        }
        let Some(index) = self.tables.iter().position(|&(_, id)| id == table) else { return };
        self.saver.wait_for_room();
        let mut piece = self.lock_shared();
        self.put(&mut piece, index, entry, recency);
        if piece.bytes.len() >= PIECE_LEN {
            self.send(&mut piece);
        }
    }
}

/// Begins a snapshot. The caller is inside the safepoint, and none is being taken.
/// Errors: the file, or the thread.
pub fn begin(world: &World, keys: &Keys<'_>) -> io::Result<()> {
    begin_for(world, keys, Purpose::Save)
}

/// Begins to take what is to become the base of the append-only file, in this folder for now. The caller is inside the safepoint.
/// Errors: the file, the thread, or a snapshot is being taken.
pub fn begin_base(world: &World, keys: &Keys<'_>, folder: &Path, rewrite: Rewrite) -> io::Result<()> {
    let is_rdb = world.config.number(Id::AOF_USE_RDB_PREAMBLE) != 0;
    let aside = folder.join(format!("temp-rewriteaof-bg-{}-{}.aof", std::process::id(), rewrite.number));
    begin_for(world, keys, Purpose::Base { aside, is_rdb, rewrite })
}

fn begin_for(world: &World, keys: &Keys<'_>, purpose: Purpose) -> io::Result<()> {
    if world.background.is_writing() {
        return Err(io::Error::other("another snapshot is being taken"));
    }
    let form = form(&world.config);
    let (path, provisional) = match &purpose {
        Purpose::Save => (snapshot::path(world), None),
        Purpose::Base { aside, .. } => (aside.clone(), Some(aside.clone())),
    };
    let is_save = matches!(purpose, Purpose::Save);
    let is_plain = matches!(purpose, Purpose::Base { is_rdb: false, .. });
    let beside = world.background.next_name();
    let begin = if is_plain { Writer::begin_plain } else { Writer::begin };
    let mut file = begin(world, &path, &beside)?;
    let mut head = match is_plain {
        true => base::head(world),
        false => snapshot::head(world, keys.now.0 / 1000, form, !is_save),
    };
    let (mut tables, mut total) = (Vec::new(), 0);
    for db in (0..world.keyspace.db_count()).map(|db| DbIndex(db as u16)) {
        let keys = keys.on(db);
        if let Some(table) = keys.table().filter(|_| keys.count() > 0) {
            if !is_plain {
                frame::put_select(&mut head, db.0 as usize);
                frame::put_resize(&mut head, keys.count(), keys.volatile_count());
            }
            tables.push((db, table.id()));
            total += keys.count() as u64;
        }
    }
    world.background.settle_eras(world, keys);
    file.write(&head)?;
    let (saver, thread) = Saver::start(file, (!is_plain).then_some(form), provisional)?;
    saver.set_delay(world.config.number(Id::RDB_KEY_SAVE_DELAY));
    let snapshot = Arc::new(Snapshot {
        era: begin_era(),
        form,
        tells_use: snapshot::tells_use(world),
        is_plain,
        tables,
        next: AtomicUsize::new(0),
        finished: AtomicUsize::new(0),
        shared: Mutex::default(),
        saver,
        changes: snapshot::changes(world),
        purpose,
    });
    if is_save {
        world.saves.begin(total);
        log::notice(format_args!("Background saving started"));
    }
    world.background.note_writer(snapshot.clone(), thread);
    if snapshot.tables.is_empty() {
        snapshot.saver.end();
        return Ok(());
    }
    world.keyspace.handover.set(Some(snapshot.clone()));
    world.keyspace.listeners.heed(Listener::Snapshot);
    keys.heed(); // This loop's next command may be one of the same window.
    world.background.lock().walking = Some(snapshot);
    world.attention.set_snapshot(true);
    Ok(())
}

impl Background {
    fn lock(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A name that no other snapshot's file has on its way.
    fn next_name(&self) -> String {
        let mut stages = self.lock();
        stages.begun += 1;
        format!("temp-{}-{}.rdb", std::process::id(), stages.begun)
    }
    fn note_writer(&self, snapshot: Arc<Snapshot>, thread: JoinHandle<()>) {
        let mut stages = self.lock();
        stages.writing = Some(snapshot);
        stages.threads.retain(|thread| !thread.is_finished());
        stages.threads.push(thread);
    }
    /// The server ends: what is still being written ends, and leaves nothing behind.
    pub fn join(&self) {
        let mut stages = self.lock();
        stages.writing.take().iter().for_each(|snapshot| snapshot.saver.break_off());
        let threads = std::mem::take(&mut stages.threads);
        drop(stages);
        for thread in threads {
            let _ = thread.join(); // A panic would have aborted the process.
        }
    }
    /// Ends what is being taken or written, for its data goes. A base of the log is begun anew: there is less to be written now.
    pub fn break_off(&self, world: &World) {
        self.settle(world);
        match self.end(world, |_| true) {
            Some(Purpose::Save) => {
                log::notice(format_args!("Background saving was broken off"));
                world.saves.end(); // No failure, and nothing that a later one would have to make good.
                refuse_writes(world);
            }
            Some(Purpose::Base { .. }) => {
                world.journal.facts().rewriting = None;
                world.journal.schedule();
            }
            None => {}
        }
    }
    /// Ends it if it is a base of the log, for the log ends. True: it was.
    pub fn break_off_base(&self, world: &World) -> bool {
        self.end(world, |purpose| matches!(purpose, Purpose::Base { .. })).is_some()
    }
    /// Ends what is being taken or written for such a purpose. From here on it is as if it had never been.
    fn end(&self, world: &World, is_meant: impl Fn(&Purpose) -> bool) -> Option<Purpose> {
        let snapshot = self.lock().writing.take_if(|snapshot| is_meant(&snapshot.purpose))?;
        snapshot.saver.break_off();
        self.stop_walking(world, &snapshot);
        Some(snapshot.purpose.clone())
    }
    /// Nothing more of it is to be taken.
    fn stop_walking(&self, world: &World, snapshot: &Arc<Snapshot>) {
        if self.lock().walking.take_if(|walking| Arc::ptr_eq(walking, snapshot)).is_some() {
            over(world);
        }
    }
    /// Takes note of the end of the writer, if it has ended. Whoever asks how the last save went calls it first.
    pub fn settle(&self, world: &World) {
        let mut stages = self.lock();
        let Some(snapshot) = stages.writing.clone() else { return };
        snapshot.saver.set_delay(world.config.number(Id::RDB_KEY_SAVE_DELAY));
        if matches!(snapshot.purpose, Purpose::Save) {
            world.saves.set_done(snapshot.saver.written());
        }
        let Some(outcome) = snapshot.saver.take_outcome() else { return };
        stages.writing = None;
        drop(stages);
        self.stop_walking(world, &snapshot); // It may have failed early.
        match &snapshot.purpose {
            Purpose::Save => note_save(world, outcome, snapshot.changes),
            Purpose::Base { aside, is_rdb, rewrite } => world.journal.take_base(*rewrite, aside, *is_rdb, outcome),
        }
    }
    /// Is a snapshot being taken or written?
    pub fn is_writing(&self) -> bool {
        self.lock().writing.is_some()
    }
    /// Is there something for a loop to do at once?
    pub fn has_work(&self) -> bool {
        self.lock().walking.as_ref().is_some_and(|snapshot| {
            snapshot.next.load(Ordering::Relaxed) < snapshot.shard_count() && snapshot.saver.is_flowing()
        })
    }
    /// Walks over some shards. `at` is where the loop has stopped in the last turn.
    pub fn walk_some(&self, world: &World, keys: &Keys<'_>, at: &mut Option<Place>) {
        let Some(snapshot) = self.lock().walking.clone() else { return *at = None };
        let (started, mut piece) = (MonoNs::now(), Piece::default());
        if at.as_ref().is_some_and(|place| place.era != snapshot.era) {
            *at = None;
        }
        while snapshot.saver.is_flowing() && MonoNs::now().since(started) < WALK_TIME {
            let Some(place) = at.take().or_else(|| next_place(&snapshot)) else { break };
            step(&snapshot, keys, place, at, &mut piece);
            if piece.bytes.len() >= PIECE_LEN || at.is_none() {
                snapshot.send(&mut piece); // Before its shard counts as finished.
            }
            // AcqRel: the last one sees that all others have sent what they had.
            if at.is_none() && snapshot.finished.fetch_add(1, Ordering::AcqRel) + 1 == snapshot.shard_count() {
                self.finish(world, &snapshot);
            }
        }
        snapshot.send(&mut piece);
    }
    /// A snapshot begins. If too many in a row were broken off, the oldest entries are of an era that is about to come back:
    /// then all are brought into the present one. The caller is inside the safepoint.
    /// Cost: a walk over everything, once in some four thousand snapshots that were broken off.
    fn settle_eras(&self, world: &World, keys: &Keys<'_>) {
        if self.unsettled.fetch_add(1, Ordering::Relaxed) + 2 < ERA_COUNT {
            return;
        }
        let present = era();
        for db in (0..world.keyspace.db_count()).map(|db| DbIndex(db as u16)) {
            let Ok(()) = snapshot::each(&keys.on(db), |entry| {
                entry.claim(present);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        self.unsettled.store(1, Ordering::Relaxed);
    }
    /// Everything is taken.
    fn finish(&self, world: &World, snapshot: &Arc<Snapshot>) {
        self.unsettled.store(0, Ordering::Relaxed); // All entries were taken, or are new.
        snapshot.send(&mut snapshot.lock_shared());
        self.stop_walking(world, snapshot);
        snapshot.saver.end();
    }
    /// How many snapshots were begun, for files of their own or for the log.
    pub fn begun(&self) -> u64 {
        let stages = self.lock();
        stages.begun - stages.forgotten
    }
    /// Counts them from 0 again (CONFIG RESETSTAT).
    pub fn reset_begun(&self) {
        let mut stages = self.lock();
        stages.forgotten = stages.begun;
    }
    /// BGSAVE SCHEDULE while it may not.
    pub fn schedule(&self) {
        self.is_scheduled.store(true, Ordering::Relaxed);
    }
    /// Is a snapshot to be begun now, because it was scheduled or because of `save`?
    pub fn is_due(&self, world: &World, now: WallMs) -> bool {
        if self.is_writing() || world.attention.is_loading() {
            return false;
        }
        if self.is_scheduled.load(Ordering::Relaxed) {
            self.is_scheduled.store(false, Ordering::Relaxed);
            return true;
        }
        let text = world.config.text(Id::SAVE);
        if text.is_empty() {
            return false;
        }
        let (now_s, status) = (now.0 / 1000, world.saves.status());
        let (changes, since) =
            (world.saves.changes_since(snapshot::changes(world)), now_s.saturating_sub(status.last_s));
        let text = String::from_utf8_lossy(&text);
        let numbers: Vec<u64> = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
        let Some(point) = numbers.chunks_exact(2).find(|point| since > point[0] && changes >= point[1]) else {
            return false;
        };
        if status.has_failed && now_s.saturating_sub(status.failed_s) <= RETRY_S {
            return false;
        }
        log::notice(format_args!("{} changes in {} seconds. Saving...", point[1], point[0]));
        true
    }
}

/// Takes note of a BGSAVE that is over.
fn note_save(world: &World, outcome: io::Result<()>, changes: u64) {
    let now = WallMs(wall_micros() / 1000);
    match outcome {
        Ok(()) => {
            world.saves.succeeded(now, changes);
            log::notice(format_args!("Background saving terminated with success"));
        }
        Err(error) => {
            world.saves.failed(now);
            log::warning(format_args!("Background saving error: {error}"));
        }
    }
    world.saves.end();
    refuse_writes(world);
}

/// Are commands that change data refused, because what they change cannot be saved (`stop-writes-on-bgsave-error`)?
pub fn refuse_writes(world: &World) {
    let is_wanted = world.config.number(Id::STOP_WRITES_ON_BGSAVE_ERROR) != 0;
    world.attention.set_refusing(is_wanted && world.saves.status().has_failed && snapshot::has_save_points(world));
}

fn over(world: &World) {
    world.attention.set_snapshot(false);
    world.keyspace.listeners.forget(Listener::Snapshot);
    world.keyspace.handover.set(None);
}

/// How far a loop is in a shard.
pub struct Place {
    era: u32,
    /// The table, as an index of the snapshot's.
    table: usize,
    walk: Walk,
}

/// The next shard that nobody has.
fn next_place(snapshot: &Snapshot) -> Option<Place> {
    let shard = snapshot.next.fetch_add(1, Ordering::Relaxed);
    (shard < snapshot.shard_count()).then(|| Place {
        era: snapshot.era,
        table: shard / Table::SHARD_COUNT,
        walk: Walk::from_shard(shard % Table::SHARD_COUNT),
    })
}

/// Takes some entries of a shard; leaves in `at` where it goes on, None at its end.
fn step(snapshot: &Snapshot, keys: &Keys<'_>, mut place: Place, at: &mut Option<Place>, piece: &mut Piece) {
    let id = snapshot.tables[place.table].1;
    let Some(table) = keys.space.roots.by_id(id, keys.guard) else { return };
    let mut met: SmallVec<[Entry<'_>; 2 * WALK_COUNT]> = SmallVec::new();
    // A shard that begins again shows entries twice: they are of the present era by then.
    let walked = table.walk(&mut place.walk, WALK_COUNT, keys.guard, |entry| {
        entry.prefetch(); // So that the waits for memory overlap.
        met.push(entry);
    });
    for entry in met {
        snapshot.put(piece, place.table, entry, &keys.local.recency);
    }
    if matches!(walked, Walked::More | Walked::ShardAgain) {
        *at = Some(place);
    }
}
