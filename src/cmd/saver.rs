//! The thread that writes a snapshot: what loops have encoded, or lent, goes into its file as it comes.
//!
//! ```text
//! beside its place ─ End ▶ whole and synced ▶ in its place ▶ over          broken off before it is in its place: nothing is left
//! ```
//! Each has a file of its own, so one that was broken off may end whenever it likes: nothing of it can reach a later one.
//! Whoever breaks it off waits for a rename at most, never for the disk.

use super::base;
use super::snapshot::{self, Writer};
use crate::base::accounts::{Account, Holdings};
use crate::base::clock::WallMs;
use crate::base::crash;
use crate::base::ids::DbIndex;
use crate::base::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::persist::lent::Lent;
use crate::persist::record::{About, Use};
use crate::persist::wire::Sink;
use crate::persist::{Form, frame};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of a piece.
pub(super) const PIECE_LEN: usize = 64 << 10;
/// Bytes on their way beyond which nobody walks on.
const PENDING_MAX: usize = 8 << 20;
/// Bytes on their way beyond which a command that changes data waits.
const PENDING_HARD_MAX: usize = 32 << 20;
/// Large values on their way beyond which nobody walks on.
const LENT_MAX: usize = 64;

/// What the thread is told.
enum Message {
    /// Encoded entries, and how many they are.
    Piece(Vec<u8>, u64),
    Large(Box<Large>),
    End,
    /// It was broken off.
    Look,
}

/// A large value as it was at the cut.
pub(super) struct Large {
    pub db: DbIndex,
    pub name: Box<[u8]>,
    pub expires_at: Option<WallMs>,
    pub usage: Option<Use>,
    pub lent: Lent,
}

impl Large {
    /// As a record, or as commands if there is no form.
    fn put(self, out: &mut impl Sink, form: Option<Form>) {
        let Some(form) = form else {
            let mut select = Vec::new();
            base::put_select(&mut select, self.db);
            out.put(&select);
            return base::put_lent(out, &self.name, self.lent, self.expires_at);
        };
        let about = About { name: Cow::Borrowed(&self.name), expires_at: self.expires_at, usage: self.usage };
        frame::put_select(out, self.db.0 as usize);
        self.lent.put(out, &about, form);
    }
}

/// What the thread and those who feed it share.
pub(super) struct Saver {
    /// None: the file is commands.
    form: Option<Form>,
    messages: Sender<Message>,
    /// Bytes, and large values, that were not written yet.
    pending: AtomicUsize,
    lent: AtomicUsize,
    /// Entries that were.
    written: AtomicU64,
    is_broken_off: AtomicBool,
    /// `rdb-key-save-delay`, an i64.
    delay_micros: AtomicU64,
    /// Removed if it is in its place when it turns out that nobody wants it.
    provisional: Option<PathBuf>,
    /// What came of it, once the thread has ended. Its lock is held while the file is put in its place.
    outcome: Mutex<Option<io::Result<()>>>,
}

impl Saver {
    /// Starts the thread. `provisional`: the file's place, if it is one from which somebody will fetch it.
    /// Errors: no thread.
    pub fn start(
        file: Writer,
        form: Option<Form>,
        provisional: Option<PathBuf>,
    ) -> io::Result<(Arc<Saver>, JoinHandle<()>)> {
        let (messages, received) = channel();
        let saver = Arc::new(Saver {
            form,
            messages,
            pending: AtomicUsize::new(0),
            lent: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            is_broken_off: AtomicBool::new(false),
            delay_micros: AtomicU64::new(0),
            provisional,
            outcome: Mutex::default(),
        });
        let own = saver.clone();
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            crash::prepare_thread();
            own.run(&received, file)
        })?;
        Ok((saver, thread))
    }
    /// Encoded entries, and how many they are.
    pub fn send(&self, bytes: Vec<u8>, count: u64) {
        self.pending.fetch_add(bytes.len(), Ordering::Relaxed);
        let _ = self.messages.send(Message::Piece(bytes, count)); // A thread that has failed is gone.
    }
    pub fn send_large(&self, large: Large) {
        self.lent.fetch_add(1, Ordering::Relaxed);
        let _ = self.messages.send(Message::Large(Box::new(large))); // As above.
    }
    /// Everything was sent.
    pub fn end(&self) {
        let _ = self.messages.send(Message::End); // As above.
    }
    /// Nobody wants it any more: nothing of it is left, unless the file is in its place for good.
    pub fn break_off(&self) {
        let outcome = self.lock_outcome();
        self.is_broken_off.store(true, Ordering::Relaxed);
        if matches!(*outcome, Some(Ok(()))) {
            self.forget();
        }
        let _ = self.messages.send(Message::Look); // As above.
    }
    pub fn is_broken_off(&self) -> bool {
        self.is_broken_off.load(Ordering::Relaxed)
    }
    /// How many entries the thread has written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
    /// May the loops walk on, or is too much on its way?
    pub fn is_flowing(&self) -> bool {
        self.pending.load(Ordering::Relaxed) < PENDING_MAX && self.lent.load(Ordering::Relaxed) < LENT_MAX
    }
    /// A command that changes data waits until so little is on its way that it may.
    pub fn wait_for_room(&self) {
        while self.pending.load(Ordering::Relaxed) > PENDING_HARD_MAX && !self.is_broken_off() {
            std::thread::sleep(Duration::from_micros(200)); // The thread takes it down, or fails.
        }
    }
    /// `rdb-key-save-delay` may change meanwhile.
    pub fn set_delay(&self, micros: i64) {
        self.delay_micros.store(micros as u64, Ordering::Relaxed);
    }
    /// What came of it. None: it is not over, or was asked before.
    pub fn take_outcome(&self) -> Option<io::Result<()>> {
        self.lock_outcome().take()
    }
    fn lock_outcome(&self) -> MutexGuard<'_, Option<io::Result<()>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn forget(&self) {
        if let Some(path) = &self.provisional {
            let _ = std::fs::remove_file(path); // Nobody knows it.
        }
    }

    /// The thread.
    fn run(&self, messages: &Receiver<Message>, mut file: Writer) {
        let outcome = self.write(messages, &mut file).and_then(|()| self.place(file));
        let mut end = self.lock_outcome();
        if outcome.is_ok() && self.is_broken_off() {
            self.forget();
        }
        if outcome.is_err() {
            self.is_broken_off.store(true, Ordering::Relaxed); // Nobody waits for it.
        }
        *end = Some(outcome);
    }
    /// Writes what comes, up to the end. Errors: the file; `Interrupted`: it was broken off.
    fn write(&self, messages: &Receiver<Message>, file: &mut Writer) -> io::Result<()> {
        let account = Account::open();
        loop {
            account.publish(Holdings::default()); // It frees what the loops have allocated.
            let message = messages.recv();
            match message {
                _ if self.is_broken_off() => return Err(io::ErrorKind::Interrupted.into()),
                Ok(Message::Piece(bytes, count)) => {
                    file.write(&bytes)?;
                    self.delay(count);
                    self.written.fetch_add(count, Ordering::Relaxed);
                    self.pending.fetch_sub(bytes.len(), Ordering::Relaxed);
                }
                Ok(Message::Large(large)) => {
                    let mut outlet = Outlet { saver: self, file, bytes: Vec::new(), outcome: Ok(()) };
                    large.put(&mut outlet, self.form);
                    outlet.finish()?;
                    self.written.fetch_add(1, Ordering::Relaxed);
                    self.lent.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(Message::End) => return Ok(()),
                Ok(Message::Look) | Err(_) => {}
            }
        }
    }
    fn place(&self, mut file: Writer) -> io::Result<()> {
        file.seal()?;
        let folder = {
            let _held = self.lock_outcome(); // Whoever breaks it off from now on finds it in its place.
            match self.is_broken_off() {
                true => return Err(io::ErrorKind::Interrupted.into()),
                false => file.place()?,
            }
        };
        folder.sync_all()
    }
    fn delay(&self, count: u64) {
        let micros = self.delay_micros.load(Ordering::Relaxed) as i64;
        snapshot::delay(micros, count, || {
            self.is_broken_off() || self.delay_micros.load(Ordering::Relaxed) as i64 != micros
        });
    }
}

/// What a large value is written to, piece by piece.
struct Outlet<'w> {
    saver: &'w Saver,
    file: &'w mut Writer,
    bytes: Vec<u8>,
    outcome: io::Result<()>,
}

impl Outlet<'_> {
    fn flush(&mut self) {
        if self.outcome.is_ok() {
            self.outcome = match self.saver.is_broken_off() {
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
