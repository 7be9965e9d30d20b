//! The log: groups go in, batches go into the newest file, and what has to survive is told apart from what may be lost.
//!
//! ```text
//! push ─▶ framer ─write─▶ file (len) ─sync─▶ disk (synced)            numbers: pushed ≥ written ≥ durable
//!                          │ failed: cut back to len, tried again        nothing of it is forgotten meanwhile
//!                          └ kept in memory until it is synced           a failed sync may have dropped it from the kernel's cache
//! ```
//! *A failed sync* says nothing about what is on the disk, and a second one would say "done" of pages that are gone. So the
//! file is cut back to what an earlier sync has vouched for, the rest is written again from memory, and then synced.
//!
//! *Files* change in this order: the new file, then the folder, then a manifest that names it (written aside, synced, renamed),
//! the folder again, then what is no longer named is removed. After a crash each file that the manifest names is there.

use super::disk::Disk;
use super::frame::Framer;
use super::manifest::{Invalid, Manifest, Part};
use super::merge::Merged;
use super::room;
use std::io;

/// See the module header.
pub struct Log<D> {
    disk: D,
    /// What all names begin with.
    stem: String,
    manifest: Manifest,
    /// The file that is being written; empty: none yet.
    current: String,
    /// Whole batches in it, in bytes, and how much of that is on the disk.
    len: u64,
    synced: u64,
    /// Where the file ends: from `len` on there is room, which is on the disk (`room`).
    end: u64,
    /// What was there when the file was begun: no room is made before a batch of ours that is on the disk tells whose it is.
    begun_len: u64,
    makes_room: bool,
    /// There was no space for it.
    lacks_space: bool,
    /// Bytes in other files since the last base.
    older_len: u64,
    framer: Framer,
    /// Batches that were not written yet.
    pending: Vec<u8>,
    /// What was written and not synced.
    unsynced: Vec<u8>,
    /// Batches get their line.
    has_sums: bool,
    pushed: u64,
    framed: u64,
    written: u64,
    durable: u64,
    /// The file may hold more than `len`, or less than it seems: it is repaired before anything else.
    is_torn: bool,
    is_doubtful: bool,
    /// The newest manifest may not be on the disk yet: nothing behind it is durable.
    is_unpublished: bool,
    /// The file that is being written, if no manifest names it yet: its base is not there, and nothing is durable.
    unnamed: Option<Part>,
}

/// Why there is no log.
#[derive(Debug)]
pub enum OpenError {
    Io(io::Error),
    Manifest(Invalid),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

impl<D: Disk> Log<D> {
    /// The log in this folder, or a new one. Nothing is changed there.
    /// Errors: the manifest cannot be read, or makes no sense.
    pub fn open(mut disk: D, stem: &str) -> Result<Self, OpenError> {
        let text = disk.read(&format!("{stem}.manifest"))?;
        let manifest = text.map(|text| Manifest::parse(&text).map_err(OpenError::Manifest)).transpose()?;
        Ok(Log {
            disk,
            stem: stem.to_string(),
            manifest: manifest.unwrap_or_default(),
            current: String::new(),
            len: 0,
            synced: 0,
            end: 0,
            begun_len: 0,
            makes_room: false,
            lacks_space: false,
            older_len: 0,
            framer: Framer::default(),
            pending: Vec::new(),
            unsynced: Vec::new(),
            has_sums: true,
            pushed: 0,
            framed: 0,
            written: 0,
            durable: 0,
            is_torn: false,
            is_doubtful: false,
            is_unpublished: false,
            unnamed: None,
        })
    }
    /// The files there are.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    pub fn disk(&mut self) -> &mut D {
        &mut self.disk
    }
    pub fn into_disk(self) -> D {
        self.disk
    }
    /// Everything up to this number is in files; up to that on the disk.
    pub fn written(&self) -> u64 {
        self.written
    }
    pub fn durable(&self) -> u64 {
        self.durable
    }
    /// Bytes of all files since the last base.
    pub fn total_len(&self) -> u64 {
        self.older_len + self.len
    }
    /// There is a new base: only the file that is being written counts.
    pub fn begin_sizes(&mut self) {
        self.older_len = 0;
    }
    pub fn pending_len(&self) -> usize {
        self.pending.len() + self.framer.len()
    }
    /// The number of the file that is being written.
    pub fn current_seq(&self) -> u64 {
        self.unnamed.as_ref().or(self.manifest.incrs.last()).map_or(0, |part| part.seq)
    }
    /// Numbers begin behind this one.
    pub fn begin_at(&mut self, number: u64) {
        (self.pushed, self.framed, self.written, self.durable) = (number, number, number, number);
    }
    /// Do batches get a line with their sum? Is room made ahead, because each is synced at once? What is torn in there is known
    /// by its sum only.
    pub fn set_manner(&mut self, has_sums: bool, makes_room: bool) {
        self.has_sums = has_sums;
        self.makes_room = makes_room && has_sums;
    }
    /// Bytes that are kept in memory because they were not synced.
    pub fn unsynced_len(&self) -> usize {
        self.unsynced.len()
    }

    /// Goes on in the newest file, of which the first `good_len` bytes count; makes one if there is none. None: always a new one.
    pub fn go_on(&mut self, good_len: Option<u64>) -> io::Result<()> {
        let mut older: Vec<String> = self.manifest.incrs.iter().map(|part| part.name.clone()).collect();
        let newest = good_len.and_then(|len| Some((older.pop()?, len)));
        for name in older {
            self.older_len += self.disk.len(&name)?.unwrap_or(0);
        }
        let Some((name, good_len)) = newest else { return self.rotate() };
        if self.disk.len(&name)?.unwrap_or(0) > good_len {
            self.disk.truncate(&name, good_len)?;
        }
        self.disk.sync(&name)?;
        self.disk.sync_dir()?;
        self.begin_file(name, good_len);
        Ok(())
    }
    /// From now on this file is written, of which so much is there.
    fn begin_file(&mut self, name: String, len: u64) {
        (self.current, self.len, self.synced, self.end, self.begun_len) = (name, len, len, len, len);
        self.lacks_space = false;
        self.framer.begin_file();
    }
    /// Ends the file: nothing more is written to it.
    pub fn close(&mut self) -> io::Result<()> {
        self.give_up_room()
    }

    /// Notes the time before the next group.
    pub fn note_time(&mut self, seconds: u64) {
        self.framer.note_time(seconds);
    }
    /// Adds a group; it is written later.
    pub fn push(&mut self, group: &Merged<'_>) {
        self.framer.push(group);
        self.pushed = group.number;
    }
    /// Is there anything that was not written?
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.framer.is_empty() && !self.is_torn && !self.is_doubtful
    }
    /// Is there anything that was not synced?
    pub fn wants_sync(&self) -> bool {
        self.synced < self.len || self.is_doubtful
    }

    /// Writes what waits. Errors: some of it is not written; nothing is lost, and the next call tries again.
    pub fn write(&mut self) -> io::Result<()> {
        if self.is_doubtful {
            self.write_again()?;
        }
        if self.is_torn {
            self.disk.truncate(&self.current, self.len)?;
            (self.is_torn, self.end) = (false, self.len);
        }
        if !self.framer.is_empty() {
            match self.has_sums {
                true => self.framer.finish(self.synced, &mut self.pending),
                false => self.framer.finish_bare(&mut self.pending),
            }
            self.framed = self.pushed;
        }
        if !self.pending.is_empty() {
            self.make_room()?;
            let mut pending = std::mem::take(&mut self.pending);
            let len = pending.len();
            if self.end > self.len {
                pending.extend_from_slice(room::guard(self.len + len as u64));
            }
            let outcome = self.put(self.len, &pending);
            pending.truncate(len);
            if outcome.is_err() {
                self.pending = pending;
                return outcome;
            }
            self.len += len as u64;
            self.end = self.end.max(self.len);
            self.unsynced.extend_from_slice(&pending);
            self.pending = pending;
            self.pending.clear(); // Its room is used again.
            self.pending.shrink_to(1 << 20);
        }
        self.written = self.framed;
        Ok(())
    }

    /// Has as much room on the disk as the next batch takes, if room is made; a large batch is worth no room.
    /// Order: it is there before anything is written into it: a batch that was torn is always followed by room.
    /// Errors: the disk cannot be trusted. That it is full is none: the file grows with its batches then.
    fn make_room(&mut self) -> io::Result<()> {
        let batch_len = self.pending.len() as u64;
        let is_worth_it = batch_len <= room::STEP / 2 && self.synced > self.begun_len;
        if !self.makes_room || self.lacks_space || !is_worth_it {
            return self.give_up_room();
        }
        let least = room::least(self.len + batch_len);
        if least <= self.end {
            return Ok(());
        }
        let (begin, end) = (self.end, least + room::STEP);
        if self.put(begin, &room::bytes(begin..end)).is_err() {
            self.lacks_space = true;
            self.end = end; // Some of it may be there.
            self.is_torn = false;
            return self.give_up_room();
        }
        self.end = end;
        self.sync_file()
    }
    /// The file ends where its last batch does, also after a crash.
    fn give_up_room(&mut self) -> io::Result<()> {
        if self.end > self.len {
            self.disk.truncate(&self.current, self.len)?;
            self.end = self.len;
            self.sync_file()?;
        }
        Ok(())
    }
    fn sync_file(&mut self) -> io::Result<()> {
        self.disk.sync(&self.current).inspect_err(|_| self.is_doubtful = true)
    }

    /// Writes all of `bytes` at this place, or marks the file as torn.
    fn put(&mut self, mut at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.disk.write_at(&self.current, at, rest) {
                Ok(0) => {
                    self.is_torn = true;
                    return Err(io::ErrorKind::WriteZero.into());
                }
                Ok(taken) => {
                    rest = &rest[taken..];
                    at += taken as u64;
                }
                Err(error) => {
                    self.is_torn = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Has everything that was written on the disk. Errors: nothing more is known to be there than before.
    pub fn sync(&mut self) -> io::Result<()> {
        self.settle_names()?;
        if self.is_doubtful {
            self.write_again()?;
        }
        self.sync_file()?;
        self.synced = self.len;
        self.unsynced.clear();
        self.unsynced.shrink_to(1 << 20);
        if self.unnamed.is_none() {
            self.durable = self.written;
        }
        Ok(())
    }

    /// A sync has failed: what it should have covered is written anew.
    fn write_again(&mut self) -> io::Result<()> {
        self.disk.truncate(&self.current, self.synced)?;
        let unsynced = std::mem::take(&mut self.unsynced);
        self.end = self.len;
        let outcome = self.put(self.synced, &unsynced);
        self.unsynced = unsynced;
        self.is_torn = false; // If it is, it is cut back further than that.
        self.is_doubtful = outcome.is_err();
        outcome
    }

    /// Has the newest manifest on the disk.
    fn settle_names(&mut self) -> io::Result<()> {
        if self.is_unpublished {
            self.disk.sync_dir()?;
            self.is_unpublished = false;
        }
        Ok(())
    }

    /// Goes on in a new file. Everything before is on the disk then.
    /// Errors: the log goes on where it was.
    pub fn rotate(&mut self) -> io::Result<()> {
        if self.unnamed.is_some() {
            return self.begin_unnamed(); // The base that is to come has it all.
        }
        if !self.current.is_empty() {
            self.write()?;
            self.sync()?;
            let _ = self.give_up_room(); // It does no harm if it stays.
        }
        let part = self.manifest.next_incr(&self.stem);
        if self.disk.len(&part.name)?.is_some() {
            self.disk.truncate(&part.name, 0)?; // Left behind by an attempt that failed.
        }
        self.disk.write_at(&part.name, 0, b"")?;
        self.disk.sync(&part.name)?;
        self.disk.sync_dir()?;
        let mut manifest = self.manifest.clone();
        manifest.push_incr(part.clone());
        self.publish(manifest)?;
        self.older_len += self.len;
        self.begin_file(part.name, 0);
        Ok(())
    }

    /// Begins in a file that no manifest names: what is in it counts from the next `rebase` on. Until then the old files are
    /// what a crash leaves.
    pub fn begin_unnamed(&mut self) -> io::Result<()> {
        let part = self.manifest.next_incr(&self.stem);
        if self.disk.len(&part.name)?.is_some() {
            self.disk.truncate(&part.name, 0)?; // It may be the file that is being written.
        }
        self.begin_file(part.name.clone(), 0);
        (self.is_torn, self.is_doubtful) = (false, false);
        self.unsynced.clear();
        self.pending.clear();
        self.framer = Framer::default();
        (self.framed, self.written) = (self.pushed, self.pushed); // The base has what came before.
        self.unnamed = Some(part.clone());
        self.disk.write_at(&part.name, 0, b"")?;
        self.disk.sync(&part.name)
    }
    /// Is the file that is being written not named yet?
    pub fn lacks_base(&self) -> bool {
        self.unnamed.is_some()
    }
    /// Nobody will name the file that is being written: it goes, and nobody waits for what is in it.
    pub fn abandon(&mut self) {
        if let Some(part) = self.unnamed.take() {
            let _ = self.disk.remove(&part.name); // Nobody knows it.
            self.durable = self.written;
        }
    }

    /// The file `aside` holds everything from before the incremental file `first`: it becomes the base.
    /// Errors: the old files stay what they were.
    pub fn rebase(&mut self, aside: &str, is_rdb: bool, first: u64) -> io::Result<()> {
        let part = self.manifest.next_base(&self.stem, is_rdb);
        self.disk.sync(aside)?;
        self.disk.rename(aside, &part.name)?;
        self.disk.sync_dir()?;
        let mut manifest = self.manifest.clone();
        manifest.set_base(part, first);
        if let Some(part) = &self.unnamed {
            manifest.push_incr(part.clone());
        }
        self.publish(manifest)?;
        if self.unnamed.take().is_some() && self.synced == self.len && !self.is_unpublished {
            self.durable = self.written; // Otherwise the next sync says so.
        }
        let _ = self.forget_history(); // They are named as history, and removed another time.
        Ok(())
    }

    /// Begins anew: `aside`, if there is one, holds everything there is, and changes go into a new file. One manifest has both,
    /// so that after a crash there is the old data or the new.
    /// Errors: nothing has begun.
    pub fn begin_with(&mut self, aside: Option<(&str, bool)>) -> io::Result<()> {
        let incr = self.manifest.next_incr(&self.stem);
        if self.disk.len(&incr.name)?.is_some() {
            self.disk.truncate(&incr.name, 0)?;
        }
        self.disk.write_at(&incr.name, 0, b"")?;
        self.disk.sync(&incr.name)?;
        let mut manifest = self.manifest.clone();
        if let Some((aside, is_rdb)) = aside {
            let base = manifest.next_base(&self.stem, is_rdb);
            self.disk.sync(aside)?;
            self.disk.rename(aside, &base.name)?;
            manifest.set_base(base, incr.seq);
        }
        self.disk.sync_dir()?;
        manifest.push_incr(incr.clone());
        self.publish(manifest)?;
        self.begin_file(incr.name, 0);
        let _ = self.forget_history(); // As above.
        Ok(())
    }

    /// Removes files that are no longer needed.
    pub fn forget_history(&mut self) -> io::Result<()> {
        if self.manifest.history.is_empty() {
            return Ok(());
        }
        self.settle_names()?;
        let mut manifest = self.manifest.clone();
        for part in std::mem::take(&mut manifest.history) {
            let is_used = manifest.parts().any(|used| used.name == part.name);
            if !is_used && self.disk.len(&part.name)?.is_some() {
                self.disk.remove(&part.name)?;
            }
        }
        self.publish(manifest)
    }

    /// Replaces the manifest.
    /// Errors: the old one is still there. If only the folder could not be synced, nothing is durable before it was.
    fn publish(&mut self, manifest: Manifest) -> io::Result<()> {
        let (name, aside) = (format!("{}.manifest", self.stem), format!("temp-{}.manifest", self.stem));
        if self.disk.len(&aside)?.is_some() {
            self.disk.truncate(&aside, 0)?;
        }
        let text = manifest.format();
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let taken = self.disk.write_at(&aside, (text.len() - rest.len()) as u64, rest)?;
            rest = &rest[taken..];
        }
        self.disk.sync(&aside)?;
        self.disk.rename(&aside, &name)?;
        self.manifest = manifest; // From here on a crash may show it.
        self.is_unpublished = true;
        let _ = self.settle_names(); // `sync` tries again.
        Ok(())
    }
}
