//! BGSAVE: a snapshot of one instant, taken while everything goes on. No fork, no copy of the data.
//!
//! ```text
//! begin    inside a safepoint: the era goes up, tables and their numbers are noted (`keyspace::handover` has the proof)
//! loops    each takes shards of tables, one after the other, some hundred µs per turn: encoded entries of the older era
//!          go to the writer in pieces of 64 KiB
//! writers  of data hand over what they are about to change: into one shared piece
//! writer   a thread: checksum, write, at the end fsync and rename
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
use super::snapshot::{self, Writer};
use super::world::World;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::accounts::{Account, Holdings};
use crate::base::clock::{MonoNs, WallMs, wall_micros};
use crate::base::ids::DbIndex;
use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::keyspace::Keys;
use crate::keyspace::events::Listener;
use crate::keyspace::handover::{Taker, take};
use crate::keyspace::recency::Recency;
use crate::persist::lent::{LARGE, Lent};
use crate::persist::record::{self, About, Use};
use crate::persist::wire::Sink;
use crate::persist::{Form, frame};
use crate::table::entry::{ERA_COUNT, begin_era, era};
use crate::table::{Entry, Payload, Table, Walk, Walked};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes of a piece.
const PIECE_LEN: usize = 64 << 10;
/// Bytes on their way beyond which nobody walks on.
const PENDING_MAX: usize = 8 << 20;
/// Bytes on their way beyond which a command that changes data waits.
const PENDING_HARD_MAX: usize = 32 << 20;
/// Large values on their way beyond which nobody walks on.
const LENT_MAX: usize = 64;
/// How long a turn walks.
const WALK_TIME: Duration = Duration::from_micros(300);
/// Elements of a collection that are looked at to tell how large it is.
const SAMPLES: usize = 4;
/// Entries between two looks at the clock.
const WALK_COUNT: usize = 32;
/// After a failure save points wait for so long. Source: Redis, CONFIG_BGSAVE_RETRY_DELAY.
const RETRY_S: u64 = 5;

/// What the writer thread is told.
enum Message {
    /// Encoded entries, and how many they are.
    Piece(Vec<u8>, u64),
    Large(Box<Large>),
    End,
    BreakOff,
}

/// A large value as it was at the cut.
struct Large {
    db: DbIndex,
    name: Box<[u8]>,
    expires_at: Option<WallMs>,
    usage: Option<Use>,
    lent: Lent,
}

impl Large {
    fn put(self, out: &mut impl Sink, form: Form) {
        let about = About { name: Cow::Borrowed(&self.name), expires_at: self.expires_at, usage: self.usage };
        frame::put_select(out, self.db.0 as usize);
        self.lent.put(out, &about, form);
    }
}

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
        /// There is no log that goes on behind it.
        is_lone: bool,
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
    /// Bytes that the writer has not written yet.
    pending: AtomicUsize,
    /// Large values that the writer has not written yet.
    lent: AtomicUsize,
    /// From those who change data.
    shared: Mutex<Piece>,
    writer: Sender<Message>,
    is_broken_off: AtomicBool,
    /// `rdb-key-save-delay`, an i64.
    delay_micros: AtomicU64,
    /// Changes up to the cut.
    changes: u64,
    purpose: Purpose,
    /// What came of it, once the writer has ended.
    outcome: Mutex<Option<io::Result<()>>>,
}

#[derive(Default)]
struct Stages {
    walking: Option<Arc<Snapshot>>,
    /// The same until the writer has ended.
    writing: Option<Arc<Snapshot>>,
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
            self.pending.fetch_add(bytes.len(), Ordering::Relaxed);
            let _ = self.writer.send(Message::Piece(bytes, count)); // A writer that has failed is gone.
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
        if self.is_plain {
            return None; // Commands are made at once.
        }
        match entry.payload() {
            Payload::Blob(text) if text.len() >= LARGE => {
                Some(self.give(index, entry, recency, Lent::of_text(text.clone(), self.form)))
            }
            Payload::Object(object) => {
                if object.read()?.memory(SAMPLES) < LARGE {
                    return None;
                }
                let mut lock = object.write()?;
                let lent = Lent::of(&mut lock, self.form)?;
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
            self.lent.fetch_add(1, Ordering::Relaxed);
            let _ = self.writer.send(Message::Large(Box::new(Large { db, name, expires_at, usage, lent }))); // As above.
        }
        is_taken
    }
    /// May the loops walk on, or is too much on its way?
    fn is_flowing(&self) -> bool {
        self.pending.load(Ordering::Relaxed) < PENDING_MAX && self.lent.load(Ordering::Relaxed) < LENT_MAX
    }
    fn lock_shared(&self) -> MutexGuard<'_, Piece> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taker for Snapshot {
    fn take(&self, table: u64, entry: Entry<'_>, recency: &Recency) {
        if entry.era() == self.era || self.is_broken_off.load(Ordering::Relaxed) {
            return;
        }
        let Some(index) = self.tables.iter().position(|&(_, id)| id == table) else { return };
        while self.pending.load(Ordering::Relaxed) > PENDING_HARD_MAX {
            std::thread::sleep(Duration::from_micros(200)); // The writer takes it down, or is gone and sets it to 0.
        }
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

/// Begins to take what is to become the base of the append-only file, at this path for now. The caller is inside the safepoint.
/// Errors: the file, the thread, or a snapshot is being taken.
pub fn begin_base(world: &World, keys: &Keys<'_>, aside: PathBuf, is_lone: bool) -> io::Result<()> {
    let is_rdb = world.config.number(Id::AOF_USE_RDB_PREAMBLE) != 0;
    begin_for(world, keys, Purpose::Base { aside, is_rdb, is_lone })
}

fn begin_for(world: &World, keys: &Keys<'_>, purpose: Purpose) -> io::Result<()> {
    if world.background.is_writing() {
        return Err(io::Error::other("another snapshot is being taken"));
    }
    let form = form(&world.config);
    let path = match &purpose {
        Purpose::Save => snapshot::path(world),
        Purpose::Base { aside, .. } => aside.clone(),
    };
    let is_save = matches!(purpose, Purpose::Save);
    let is_plain = matches!(purpose, Purpose::Base { is_rdb: false, .. });
    let mut file = if is_plain { Writer::begin_plain(world, &path)? } else { Writer::begin(world, &path)? };
    let mut head = if is_plain { base::head(world) } else { snapshot::head(world, keys.now.0 / 1000, form) };
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
    let (writer, messages) = channel();
    let snapshot = Arc::new(Snapshot {
        era: begin_era(),
        form,
        tells_use: snapshot::tells_use(world),
        is_plain,
        tables,
        next: AtomicUsize::new(0),
        finished: AtomicUsize::new(0),
        pending: AtomicUsize::new(0),
        lent: AtomicUsize::new(0),
        shared: Mutex::default(),
        writer,
        is_broken_off: AtomicBool::new(false),
        delay_micros: AtomicU64::new(world.config.number(Id::RDB_KEY_SAVE_DELAY) as u64),
        changes: snapshot::changes(world),
        purpose,
        outcome: Mutex::default(),
    });
    file.write(&head)?;
    let job = snapshot.clone();
    std::thread::Builder::new().name("snapshot".into()).spawn(move || write(&job, &messages, file))?;
    if is_save {
        world.saves.begin(total);
        log::notice(format_args!("Background saving started"));
    }
    world.background.lock().writing = Some(snapshot.clone());
    if snapshot.tables.is_empty() {
        let _ = snapshot.writer.send(Message::End); // The writer has just begun.
        return Ok(());
    }
    world.keyspace.handover.set(Some(snapshot.clone()));
    world.keyspace.listeners.heed(Listener::Snapshot);
    world.background.lock().walking = Some(snapshot);
    world.attention.set_snapshot(true);
    Ok(())
}

/// The writer's thread.
fn write(snapshot: &Snapshot, messages: &Receiver<Message>, mut file: Writer) {
    let account = Account::open();
    let outcome = loop {
        account.publish(Holdings::default()); // It frees what the loops have allocated.
        match messages.recv() {
            Ok(Message::Piece(bytes, count)) => {
                let written = file.write(&bytes);
                delay(snapshot, count);
                snapshot.pending.fetch_sub(bytes.len(), Ordering::Relaxed);
                if written.is_err() {
                    break written;
                }
            }
            Ok(Message::Large(large)) => {
                let mut outlet = Outlet { snapshot, file: &mut file, bytes: Vec::new(), outcome: Ok(()) };
                large.put(&mut outlet, snapshot.form);
                let written = outlet.finish();
                snapshot.lent.fetch_sub(1, Ordering::Relaxed);
                if written.is_err() {
                    break written;
                }
            }
            Ok(Message::End) if !snapshot.is_broken_off.load(Ordering::Relaxed) => break file.finish(),
            Ok(Message::End | Message::BreakOff) | Err(_) => break Err(io::ErrorKind::Interrupted.into()),
        }
    };
    if outcome.is_err() {
        snapshot.is_broken_off.store(true, Ordering::Relaxed);
        snapshot.pending.store(0, Ordering::Relaxed); // Nobody waits for it.
    }
    *snapshot.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
}

/// What a large value is written to, piece by piece.
struct Outlet<'w> {
    snapshot: &'w Snapshot,
    file: &'w mut Writer,
    bytes: Vec<u8>,
    outcome: io::Result<()>,
}

impl Outlet<'_> {
    fn flush(&mut self) {
        if self.outcome.is_ok() {
            self.outcome = match self.snapshot.is_broken_off.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => self.file.write(&self.bytes),
            };
        }
        self.bytes.clear();
    }
    fn finish(mut self) -> io::Result<()> {
        self.flush();
        self.outcome
    }
}

impl Sink for Outlet<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PIECE_LEN {
            self.flush();
        }
    }
}

/// `rdb-key-save-delay`: the writer takes its time, in microseconds per key, or once per so many keys if it is negative. It
/// may be changed meanwhile.
fn delay(snapshot: &Snapshot, count: u64) {
    let started = MonoNs::now();
    while !snapshot.is_broken_off.load(Ordering::Relaxed) {
        let micros = snapshot.delay_micros.load(Ordering::Relaxed) as i64;
        let wanted = if micros >= 0 { count.saturating_mul(micros as u64) } else { count / micros.unsigned_abs() };
        let left = Duration::from_micros(wanted).saturating_sub(MonoNs::now().since(started));
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(1)));
    }
}

impl Background {
    fn lock(&self) -> MutexGuard<'_, Stages> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Ends what is being taken or written: what was written is thrown away.
    pub fn break_off(&self, world: &World) {
        let mut stages = self.lock();
        let was_walking = stages.walking.take();
        for snapshot in was_walking.iter().chain(&stages.writing) {
            snapshot.is_broken_off.store(true, Ordering::Relaxed);
            let _ = snapshot.writer.send(Message::BreakOff); // It may be over already.
        }
        drop(stages);
        if was_walking.is_some() {
            over(world);
        }
    }
    /// Takes note of the end of the writer, if it has ended. Whoever asks how the last save went calls it first.
    pub fn settle(&self, world: &World) {
        let mut stages = self.lock();
        if let Some(snapshot) = &stages.writing {
            let micros = world.config.number(Id::RDB_KEY_SAVE_DELAY) as u64;
            snapshot.delay_micros.store(micros, Ordering::Relaxed);
        }
        let take = |snapshot: &Arc<Snapshot>| snapshot.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(outcome) = stages.writing.as_ref().and_then(take) else { return };
        let ended = stages.writing.take();
        let changes = ended.as_ref().map_or(0, |snapshot| snapshot.changes);
        drop(stages);
        if let Some(Purpose::Base { aside, is_rdb, is_lone }) = ended.map(|snapshot| snapshot.purpose.clone()) {
            let is_cut_short = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted);
            if outcome.is_err() {
                self.break_off(world);
            }
            if is_lone == world.journal.is_on() {
                let _ = std::fs::remove_file(&aside); // The log has ended meanwhile, or another one has begun.
                world.journal.facts().rewriting_since = None;
                return;
            }
            world.journal.take_base(&aside, is_rdb, outcome);
            if is_cut_short {
                world.journal.schedule(); // What it was to hold is gone; there is less to be written now.
            }
            return;
        }
        let now = WallMs(wall_micros() / 1000);
        match outcome {
            Ok(()) => {
                world.saves.succeeded(now, changes);
                log::notice(format_args!("Background saving terminated with success"));
            }
            // Its data is gone: no failure, and nothing that a later one would have to make good.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                log::notice(format_args!("Background saving was broken off"));
            }
            Err(error) => {
                self.break_off(world);
                world.saves.failed(now);
                log::warning(format_args!("Background saving error: {error}"));
            }
        }
        world.saves.end();
        refuse_writes(world);
    }
    /// Is a snapshot being taken or written?
    pub fn is_writing(&self) -> bool {
        self.lock().writing.is_some()
    }
    /// Is there something for a loop to do at once?
    pub fn has_work(&self) -> bool {
        self.lock().walking.as_ref().is_some_and(|snapshot| {
            snapshot.next.load(Ordering::Relaxed) < snapshot.shard_count() && snapshot.is_flowing()
        })
    }
    /// Walks over some shards. `at` is where the loop has stopped in the last turn.
    pub fn walk_some(&self, world: &World, keys: &Keys<'_>, at: &mut Option<Place>) {
        let Some(snapshot) = self.lock().walking.clone() else { return *at = None };
        let (started, mut piece, mut count) = (MonoNs::now(), Piece::default(), 0);
        if at.as_ref().is_some_and(|place| place.era != snapshot.era) {
            *at = None;
        }
        while snapshot.is_flowing() && MonoNs::now().since(started) < WALK_TIME {
            let Some(place) = at.take().or_else(|| next_place(&snapshot)) else { break };
            count += step(&snapshot, keys, place, at, &mut piece);
            if piece.bytes.len() >= PIECE_LEN || at.is_none() {
                snapshot.send(&mut piece); // Before its shard counts as finished.
            }
            // AcqRel: the last one sees that all others have sent what they had.
            if at.is_none() && snapshot.finished.fetch_add(1, Ordering::AcqRel) + 1 == snapshot.shard_count() {
                self.finish(world, &snapshot);
            }
        }
        snapshot.send(&mut piece);
        world.saves.progress(count);
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
    fn finish(&self, world: &World, snapshot: &Snapshot) {
        self.unsettled.store(0, Ordering::Relaxed); // All entries were taken, or are new.
        snapshot.send(&mut snapshot.lock_shared());
        self.lock().walking = None;
        over(world);
        let _ = snapshot.writer.send(Message::End); // It may have failed, and said so.
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

/// Takes some entries of a shard; leaves in `at` where it goes on, None at its end. Returns how many were taken.
fn step(snapshot: &Snapshot, keys: &Keys<'_>, mut place: Place, at: &mut Option<Place>, piece: &mut Piece) -> u64 {
    let id = snapshot.tables[place.table].1;
    let Some(table) = keys.space.roots.by_id(id, keys.guard) else { return 0 };
    let mut met: SmallVec<[Entry<'_>; 2 * WALK_COUNT]> = SmallVec::new();
    // A shard that begins again shows entries twice: they are of the present era by then.
    let walked = table.walk(&mut place.walk, WALK_COUNT, keys.guard, |entry| {
        entry.prefetch(); // So that the waits for memory overlap.
        met.push(entry);
    });
    let count =
        met.into_iter().filter(|&entry| snapshot.put(piece, place.table, entry, &keys.local.recency)).count() as u64;
    if matches!(walked, Walked::More | Walked::ShardAgain) {
        *at = Some(place);
    }
    count
}
