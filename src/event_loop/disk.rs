//! The journal's thread and its files: see `journal`, which knows neither.
//!
//! ```text
//! receive   what has come, or the time for a sync
//! merge     groups in order, up to where the log is cut (a rewrite, the end), and no more than a disk takes in a moment
//! gather    clients that were answered together come again together, a bit apart: where a sync takes longer than the commands
//!           of all of them, one sync for all instead of one for the first and another for the rest
//! write     one batch; under `always`, or if somebody waits, it is synced at once, otherwise once a second
//! publish   how far it is; loops that hold replies are woken
//! ```
//! A disk that fails stops nothing here: what is not written is kept, writes are refused (`Attention`), reads go on, and the
//! thread tries again until the disk is back.

use super::fleet::{Fleet, Mail};
use crate::admin::log::{self, Level};
use crate::admin::params::Id;
use crate::base::accounts::{Account, Holdings};
use crate::base::clock::{MonoNs, wall_micros};
use crate::base::crash;
use crate::cmd::world::World;
use crate::exec::load::{folder, stem};
use crate::journal::disk::Disk;
use crate::journal::hub::{Base, Message, Policy, Rewrite};
use crate::journal::log::{Log, OpenError};
use crate::journal::merge::Merge;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two attempts of a disk that fails.
const RETRY: Duration = Duration::from_millis(100);
/// So long what has come is gathered, if nobody waits for it: a write costs as much for one command as for a thousand.
const GATHER: Duration = Duration::from_millis(1);
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// What was written and not synced stays in memory, in case a sync fails. If it is more than this, or than what the disk is known
/// to sync within `SYNC_WAIT`, it is synced, whatever the policy says: nothing is written meanwhile, and nobody is to wait for
/// long. Syncs of less tell nothing of its speed.
const UNSYNCED_MAX: usize = 32 << 20;
const UNSYNCED_MIN: usize = 1 << 20;
const SYNC_WAIT: Duration = Duration::from_millis(250);
/// Bytes of one batch. Until it is written nobody hears of it, and a slow disk takes 5 MB a second.
const BATCH_LEN_MAX: usize = 1 << 20;
/// A disk that answers faster is asked at once, whoever waits: some clients' changes are synced while others' commands run. With
/// all of them together the disk, the loops and the clients would wait for each other in turns. 1 ms: 500 commands or more.
const QUICK_SYNC: Duration = Duration::from_millis(1);
/// The quickest sync of late counts so much longer with each that is slower: those that waited for a processor tell nothing.
const SLOWER: f64 = 1.1;
/// Syncs that follow each other within this time, or within twice the time that one takes, make room worth its while; so many
/// of them in a row, and so many fewer for each that comes later.
const CLOSE: Duration = Duration::from_millis(20);
const STREAK: u32 = 32;
const STREAK_BREAK: u32 = 8;
/// While somebody waits for a disk that is slow, more is gathered as long as something comes within this time.
const LULL: Duration = Duration::from_micros(150);

/// A real folder. The file that is written is kept open.
pub struct Files {
    folder: PathBuf,
    open: Option<(String, File)>,
}

impl Files {
    /// The folder need not be there yet.
    pub fn new(folder: PathBuf) -> Self {
        Files { folder, open: None }
    }
    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            fs::create_dir_all(&self.folder)?;
            let file = OpenOptions::new().create(true).write(true).truncate(false).open(self.folder.join(name))?;
            self.open = Some((name.to_string(), file));
        }
        match &mut self.open {
            Some((_, file)) => Ok(file),
            None => unreachable!("it was just opened"),
        }
    }
    fn forget(&mut self, name: &str) {
        self.open.take_if(|(open, _)| open == name);
    }
}

/// How much may be left to be synced, now that so much took so long. None: it was too little to tell.
fn unsynced_max(len: usize, took: Duration) -> Option<usize> {
    let in_time = len as f64 * SYNC_WAIT.as_secs_f64() / took.as_secs_f64().max(1e-6);
    (len >= UNSYNCED_MIN).then(|| (in_time as usize).clamp(UNSYNCED_MIN, UNSYNCED_MAX))
}

/// None for what is not there.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

impl Disk for Files {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if_there(fs::read(self.folder.join(name)))
    }
    fn len(&mut self, name: &str) -> io::Result<Option<u64>> {
        Ok(if_there(fs::metadata(self.folder.join(name)))?.map(|data| data.len()))
    }
    fn write_at(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.file(name)?.write_at(bytes, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.write_at(name, at, bytes),
            other => other,
        }
    }
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        fs::rename(self.folder.join(from), self.folder.join(to))
    }
    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.folder.join(name))
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        File::open(&self.folder)?.sync_all()
    }
}

/// Where a part of the log ends: behind the number before `at`.
enum Cut {
    Rotate { at: u64, rewrite: Rewrite },
    End { at: u64 },
}

impl Cut {
    fn at(&self) -> u64 {
        match self {
            Cut::Rotate { at, .. } | Cut::End { at } => *at,
        }
    }
}

/// A base that is on its way, and the file that goes on behind it.
struct Coming {
    rewrite: Rewrite,
    /// The number of the file. None: not all that comes before it is written.
    first: Option<u64>,
    base: Option<Result<Base, String>>,
}

impl Coming {
    fn new(rewrite: Rewrite) -> Self {
        Coming { rewrite, first: None, base: None }
    }
}

/// The thread's state.
struct Keeper {
    world: &'static World,
    fleet: &'static Fleet,
    log: Option<Log<Files>>,
    merge: Merge,
    cuts: VecDeque<Cut>,
    coming: Option<Coming>,
    last_sync: MonoNs,
    /// How long one takes: the quickest of late.
    sync_took: Duration,
    /// Beyond that it is synced.
    unsynced_max: usize,
    /// How many have followed each other closely, up to twice `STREAK`.
    streak: u32,
    last_write: MonoNs,
    failure: Option<String>,
    /// How the log is to begin: it could not be opened yet.
    opening: Option<Message>,
    stops: bool,
}

/// Starts the thread.
/// Errors: it cannot be made.
pub fn start(world: &'static World, fleet: &'static Fleet) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("journal".into()).spawn(move || {
        crash::prepare_thread();
        let merge = Merge::new(world.boot.loops, 0);
        let (cuts, last_sync) = (VecDeque::new(), MonoNs::now());
        Keeper {
            world,
            fleet,
            log: None,
            merge,
            cuts,
            last_sync,
            sync_took: QUICK_SYNC,
            unsynced_max: UNSYNCED_MIN, // Until something is known of the disk.
            streak: 0,
            last_write: last_sync,
            failure: None,
            opening: None,
            coming: None,
            stops: false,
        }
        .run();
    })
}

impl Keeper {
    fn run(mut self) {
        let hub = &self.world.journal;
        let account = Account::open();
        while !self.stops {
            account.publish(Holdings::default()); // It frees what the loops have allocated.
            let mut messages = hub.receive(self.patience());
            let is_urgent = hub.policy() == Policy::Always || hub.wanted() > hub.durable();
            if self.log.is_some() && !messages.is_empty() {
                match is_urgent {
                    true => self.gather(&mut messages),
                    // What comes alone is written at once.
                    false if MonoNs::now().since(self.last_write) > 2 * GATHER => {}
                    false => {
                        std::thread::sleep(GATHER);
                        messages.extend(hub.receive(Some(Duration::ZERO)));
                    }
                }
            }
            messages.into_iter().for_each(|message| self.take(message));
            if let Err(error) = self.work() {
                self.fail(error);
            }
        }
    }

    /// Takes what comes while somebody waits: until nothing comes for a moment, for half as long as a sync takes at most.
    fn gather(&self, messages: &mut Vec<Message>) {
        let started = MonoNs::now();
        while self.sync_took > QUICK_SYNC && MonoNs::now().since(started) < self.sync_took / 2 {
            std::thread::sleep(LULL);
            let more = self.world.journal.receive(Some(Duration::ZERO));
            if more.is_empty() {
                return;
            }
            messages.extend(more);
        }
    }

    /// How long there is nothing to do if nothing comes.
    fn patience(&self) -> Option<Duration> {
        if self.failure.is_some() {
            return Some(RETRY);
        }
        let (log, hub) = (self.log.as_ref()?, &self.world.journal);
        if hub.wanted() > hub.durable() {
            return Some(GATHER); // What somebody waits for stands behind a change that was not handed over yet.
        }
        let is_timed = hub.policy() == Policy::EverySec || hub.wanted_soon() > hub.durable();
        let is_due = is_timed && log.wants_sync();
        is_due.then(|| (SYNC_EVERY.saturating_sub(MonoNs::now().since(self.last_sync))).max(GATHER))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Batch { from, batch } => self.merge.push(from, batch),
            Message::GoOn { at, .. } | Message::Begin { at, .. } | Message::BeginBehind { at, .. } => {
                let merge = std::mem::replace(&mut self.merge, Merge::new(0, at));
                self.merge = merge.from(at);
                self.cuts.clear(); // Of the log before this one: its base has it all.
                self.expect(match &message {
                    Message::BeginBehind { rewrite, .. } => Some(*rewrite),
                    _ => None,
                });
                self.opening = Some(message);
            }
            Message::Rotate { at, rewrite } => {
                self.expect(Some(rewrite));
                self.cuts.push_back(Cut::Rotate { at, rewrite });
            }
            Message::Based { rewrite, base } => {
                if rewrite.is_lone {
                    self.expect(Some(rewrite));
                }
                match self.coming.as_mut().filter(|coming| coming.rewrite == rewrite) {
                    Some(coming) => coming.base = Some(base),
                    None => self.forget(base), // It was broken off meanwhile.
                }
            }
            Message::End { at } => self.cuts.push_back(Cut::End { at }),
            Message::Stop => self.stops = true,
        }
    }

    /// From now on this rewrite's base is waited for, or none. One that has come and was not taken is not needed any more.
    fn expect(&mut self, rewrite: Option<Rewrite>) {
        if let Some(base) = self.coming.take().and_then(|coming| coming.base) {
            self.forget(base);
        }
        self.coming = rewrite.map(Coming::new);
    }
    fn forget(&self, base: Result<Base, String>) {
        if let Ok(base) = base {
            let _ = fs::remove_file(folder(self.world).join(base.aside)); // Nobody knows it.
        }
    }

    /// Opens the log, if it is to begin.
    fn open(&mut self) -> io::Result<()> {
        let Some(message) = &self.opening else { return Ok(()) };
        let mut log = self.open_log()?;
        match message {
            Message::GoOn { at, good_len } => {
                log.begin_at(at - 1);
                log.go_on(*good_len)?;
            }
            Message::Begin { at, base } => {
                log.begin_at(at - 1);
                log.begin_with(base.as_ref().map(|base| (base.aside.as_str(), base.is_rdb)))?;
                self.world.journal.facts().base_len = base.as_ref().map_or(0, |base| base.len);
            }
            Message::BeginBehind { at, .. } => {
                log.begin_at(at - 1);
                log.begin_unnamed()?;
                self.coming.iter_mut().for_each(|coming| coming.first = Some(log.current_seq()));
            }
            _ => {}
        }
        (self.log, self.opening) = (Some(log), None);
        Ok(())
    }

    /// Writes what there is. Errors: the disk; it is tried again.
    fn work(&mut self) -> io::Result<()> {
        self.open()?;
        loop {
            let Some(log) = &mut self.log else {
                self.take_base();
                return Ok(());
            };
            let notes_time = self.world.config.number(Id::AOF_TIMESTAMP_ENABLED) != 0;
            let seconds = wall_micros() / 1_000_000;
            let end = self.cuts.front().map_or(u64::MAX, Cut::at);
            let is_more = self.merge.drain(end, BATCH_LEN_MAX, |group| {
                if notes_time {
                    log.note_time(seconds);
                }
                log.push(&group);
            });
            let makes_room = self.world.journal.policy() == Policy::Always && self.streak >= STREAK;
            log.set_manner(self.world.config.number(Id::AOF_CHECKSUM) != 0, makes_room);
            log.write()?;
            self.last_write = MonoNs::now();
            self.make_room();
            self.sync_if_due()?;
            self.publish();
            if is_more {
                continue;
            }
            if end == u64::MAX || self.merge.next_number() < end {
                self.take_base();
                return Ok(());
            }
            self.cut()?;
        }
    }

    fn sync_if_due(&mut self) -> io::Result<()> {
        let hub = &self.world.journal;
        let Some(log) = &mut self.log else { return Ok(()) };
        let now = MonoNs::now();
        let is_due = match hub.policy() {
            Policy::Always => true,
            Policy::EverySec => now.since(self.last_sync) >= SYNC_EVERY,
            Policy::No => hub.wanted_soon() > log.durable() && now.since(self.last_sync) >= SYNC_EVERY,
        };
        let is_due = is_due || log.unsynced_len() > self.unsynced_max;
        let is_wanted = hub.wanted() > log.durable();
        if log.wants_sync() && (is_due || is_wanted || self.failure.is_some()) {
            let len = log.unsynced_len();
            log.sync()?;
            self.unsynced_max = unsynced_max(len, MonoNs::now().since(now)).unwrap_or(self.unsynced_max);
            self.streak = match now.since(self.last_sync) <= CLOSE.max(2 * self.sync_took) {
                true => (self.streak + 1).min(2 * STREAK),
                false => self.streak.saturating_sub(STREAK_BREAK),
            };
            self.sync_took = MonoNs::now().since(now).min(self.sync_took.mul_f64(SLOWER).max(QUICK_SYNC / 10));
            self.last_sync = now;
        } else if !log.wants_sync() && is_wanted {
            log.sync()?; // Nothing is left to be synced: what is written is durable.
        }
        Ok(())
    }

    /// What was handed over is written: if changes wait for that, they may go on.
    fn make_room(&mut self) {
        let hub = &self.world.journal;
        hub.consume(self.merge.take_consumed());
        if self.world.attention.is_backlogged() && hub.has_room() {
            self.go_on();
        }
    }

    /// Changes need not wait for the disk any more.
    fn go_on(&self) {
        self.world.attention.set_backlogged(false);
        self.fleet.broadcast(|| Mail::Look);
    }

    /// Tells how far the log is, and wakes who waits for it.
    fn publish(&mut self) {
        let hub = &self.world.journal;
        let Some(log) = &self.log else { return };
        let is_news = log.durable() > hub.durable();
        let is_awaited = hub.policy() == Policy::Always || hub.wanted() > hub.durable();
        hub.publish(log.written(), log.durable());
        let mut facts = hub.facts();
        (facts.current_len, facts.pending_len) = (facts.base_len + log.total_len(), log.pending_len());
        drop(facts);
        if is_news && is_awaited {
            self.fleet.broadcast(|| Mail::Look);
        }
        if self.failure.take().is_some() {
            log::notice(format_args!("AOF write error looks solved. The server can write again."));
            hub.publish_failure(None);
            self.world.attention.set_unwritable(false);
        }
    }

    /// The disk has failed.
    fn fail(&mut self, error: io::Error) {
        let text = match error.raw_os_error() {
            Some(number) => nix::errno::Errno::from_raw(number).desc().to_string(),
            None => error.to_string(),
        };
        if self.failure.as_ref() != Some(&text) {
            log::warning(format_args!("Error writing to the AOF file: {text}"));
        }
        self.world.journal.publish_failure(Some(text.clone()));
        self.world.attention.set_unwritable(true);
        if self.world.attention.is_backlogged() {
            self.go_on(); // To be refused: nobody knows how long it takes.
        }
        self.failure = Some(text);
        if self.stops {
            log::warning(format_args!("Exiting with changes that could not be written to the AOF file."));
        }
    }

    /// Everything before a cut is written.
    fn cut(&mut self) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        match self.cuts.front() {
            Some(Cut::End { .. }) => {
                log.sync()?;
                let _ = log.close(); // What it would have cut off does no harm.
                log.abandon();
                self.publish();
                self.log = None;
                self.cuts.pop_front();
                self.world.journal.facts().lacks_base = false;
                if self.coming.as_ref().is_some_and(|coming| !coming.rewrite.is_lone) {
                    self.expect(None);
                }
            }
            Some(&Cut::Rotate { rewrite, .. }) => {
                self.cuts.pop_front();
                let outcome = log.rotate();
                let first = log.current_seq();
                let awaited = self.coming.as_mut().filter(|coming| coming.rewrite == rewrite);
                match (outcome, awaited) {
                    (Ok(()), Some(coming)) => coming.first = Some(first),
                    (Ok(()), None) => {} // It was broken off meanwhile.
                    (Err(error), _) => {
                        self.expect(None);
                        self.note_rewrite(rewrite, Err(error), 0);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }

    fn open_log(&self) -> io::Result<Log<Files>> {
        let files = Files::new(folder(self.world));
        Log::open(files, &stem(self.world)).map_err(|error| match error {
            OpenError::Io(error) => error,
            OpenError::Manifest(invalid) => io::Error::other(invalid.to_string()),
        })
    }

    /// Takes over a base that has come: behind a log once the file behind it is there, or alone once the log before it has ended.
    fn take_base(&mut self) {
        let is_ready = |coming: &Coming| match coming.rewrite.is_lone {
            true => self.log.is_none() && self.opening.is_none(),
            false => coming.first.is_some(),
        };
        if !self.coming.as_ref().is_some_and(|coming| coming.base.is_some() && is_ready(coming)) {
            return;
        }
        let Some(Coming { rewrite, first, base: Some(base) }) = self.coming.take() else { return };
        let install = |base: Base| self.install(&base, first).map(|()| base.len);
        let outcome = base.map_err(io::Error::other).and_then(install);
        match outcome {
            Ok(len) => self.note_rewrite(rewrite, Ok(()), len),
            Err(error) => self.note_rewrite(rewrite, Err(error), 0),
        }
    }

    fn install(&mut self, base: &Base, first: Option<u64>) -> io::Result<()> {
        if let (Some(log), Some(first)) = (&mut self.log, first) {
            return log.rebase(&base.aside, base.is_rdb, first);
        }
        self.open_log()?.begin_with(Some((&base.aside, base.is_rdb)))
    }

    /// Notes what a rewrite has come to.
    fn note_rewrite(&mut self, rewrite: Rewrite, outcome: io::Result<()>, base_len: u64) {
        let mut facts = self.world.journal.facts();
        facts.lacks_base = self.log.as_ref().is_some_and(Log::lacks_base);
        if facts.rewriting.take_if(|it| *it == rewrite).is_some() {
            facts.is_last_rewrite_ok = outcome.is_ok();
            facts.last_rewrite_secs = ((wall_micros() / 1000).saturating_sub(rewrite.since) / 1000) as i64;
        }
        match outcome {
            Ok(()) => {
                facts.rewrite_failures = 0;
                facts.base_len = base_len;
                self.log.iter_mut().for_each(Log::begin_sizes);
                facts.current_len = base_len + self.log.as_ref().map_or(0, Log::total_len);
                log::notice(format_args!("Background AOF rewrite finished successfully"));
            }
            Err(error) => {
                facts.rewrite_failures += 1;
                log::write(Level::Warning, format_args!("Background AOF rewrite failed: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_syncs_slowly_is_asked_more_often() {
        let after = |len, ms| unsynced_max(len, Duration::from_millis(ms));
        assert_eq!(after(32 << 20, 100), Some(UNSYNCED_MAX), "320 MB a second");
        assert_eq!(after(32 << 20, 800), Some(10 << 20), "40 MB a second");
        assert_eq!(after(10 << 20, 0), Some(UNSYNCED_MAX));
        assert_eq!(after(10 << 20, 60_000), Some(UNSYNCED_MIN), "it goes on");
        assert_eq!(after(100_000, 60_000), None);
    }
}
