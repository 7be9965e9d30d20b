//! The script cache, and the state of a script that runs too long.
//!
//! ```text
//! World::scripts     SHA ─▶ source, flags: one cache for all loops, under a lock that only EVAL of new scripts and SCRIPT take
//! Effects::scripts   SHA ─▶ compiled function: each loop's own, filled when a script first runs there
//! ```
//! Scripts that only EVAL has brought are evicted beyond `EVAL_MAX`, the one that was used longest ago first, as in Valkey 8:
//! programs that write values into their scripts would fill the memory. SCRIPT LOAD keeps a script until SCRIPT FLUSH.
//!
//! *Busy.* A script that has run for `busy-reply-threshold` lets everybody go on; all but a few commands are refused then
//! (`attention` makes every command look). Nobody touches data, so the script is as alone as before.

use super::command::Command;
use super::table;
use super::world::REDIS_VERSION;
use crate::base::clock::MonoNs;
use crate::base::ids::LoopId;
use crate::base::sha1::sha1_hex;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering::Relaxed};
use crate::resp::error::{ReplyError, escaped};
use crate::script::shebang::{self, Flags};
use crate::script::{Chunk, Interp, Options, plain};
use ahash::RandomState;
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Scripts of EVAL that are kept. Source: Valkey 8.
const EVAL_MAX: usize = 500;
/// Sources whose SHA a loop knows by a quicker hash.
const SHAS_MAX: usize = 2 * EVAL_MAX;
/// Bytes that an interpreter may allocate. A script that needs more ends with an error.
const MEMORY_MAX: usize = 1 << 30;

pub const NO_SCRIPT: ReplyError = ReplyError::text("NOSCRIPT No matching script. Please use EVAL.");

/// 40 lower-case hexadecimal digits.
pub type Sha = [u8; 40];

/// A script as it was sent.
pub struct Script {
    pub sha: Sha,
    pub source: Box<[u8]>,
    /// What its first line says; None: it has none, and its commands are judged one by one.
    pub flags: Option<Flags>,
    /// It touches only the keys that it is given, and ends soon: see `script::plain`.
    pub is_plain: bool,
    /// Bytes of the first line.
    header_len: usize,
    /// SCRIPT LOAD has brought it.
    is_kept: AtomicBool,
    is_evicted: AtomicBool,
    /// When it was last used, in uses of any script.
    used: AtomicU64,
}

impl Script {
    /// Errors: the first line.
    fn new(sha: Sha, source: &[u8]) -> Result<Script, ReplyError> {
        let header =
            shebang::parse(source).map_err(|message| ReplyError::owned(format!("ERR {}", escaped(&message))))?;
        Ok(Script {
            sha,
            source: source.into(),
            flags: header.flags,
            is_plain: plain::is_plain(&source[header.len..], has_one_key),
            header_len: header.len,
            is_kept: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            used: AtomicU64::new(0),
        })
    }
    /// Bytes of memory.
    fn len(&self) -> usize {
        size_of::<Script>() + self.source.len()
    }
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.sha).unwrap_or_default()
    }
}

/// Is this a command that touches only the key that is its first argument?
fn has_one_key(name: &[u8]) -> bool {
    table::lookup(name).is_some_and(Command::is_about_its_first_argument)
}

/// A loop's own number on a line of its own: it changes with every script.
#[derive(Default)]
#[repr(align(64))]
struct Padded(AtomicU64);

/// What all loops share of scripts.
pub struct Scripts {
    cache: Mutex<HashMap<Sha, Arc<Script>>>,
    /// Goes up when the cache is emptied.
    era: AtomicU64,
    uses: AtomicU64,
    evicted: AtomicU64,
    /// Bytes that each loop's interpreter has allocated.
    interpreters: Box<[Padded]>,
    pub busy: Busy,
    /// Scripts may call what is not for scripts. For tests (DEBUG SET-DISABLE-DENY-SCRIPTS).
    pub may_call_all: AtomicBool,
}

impl Scripts {
    pub fn new(loops: usize) -> Self {
        Scripts {
            cache: Mutex::default(),
            era: AtomicU64::new(1),
            uses: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            interpreters: (0..loops.max(1)).map(|_| Padded::default()).collect(),
            busy: Busy::default(),
            may_call_all: AtomicBool::new(false),
        }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<Sha, Arc<Script>>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn get(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.lock().get(sha).cloned()
    }
    /// Adds a script; the one that is there already wins.
    fn add(&self, script: Script) -> Arc<Script> {
        let mut cache = self.lock();
        if let Some(known) = cache.get(&script.sha) {
            return known.clone();
        }
        let script = Arc::new(script);
        cache.insert(script.sha, script.clone());
        self.note_use(&script);
        let is_fleeting = |script: &Script| !script.is_kept.load(Relaxed);
        if cache.len() > EVAL_MAX && cache.values().filter(|script| is_fleeting(script)).count() > EVAL_MAX {
            let oldest =
                cache.values().filter(|script| is_fleeting(script)).min_by_key(|script| script.used.load(Relaxed));
            if let Some(oldest) = oldest.cloned() {
                oldest.is_evicted.store(true, Relaxed);
                cache.remove(&oldest.sha);
                self.evicted.fetch_add(1, Relaxed);
            }
        }
        script
    }
    /// Who is used again and again is written down once: loops that run the same script do not take lines from each other.
    fn note_use(&self, script: &Script) {
        if !script.is_kept.load(Relaxed) && script.used.load(Relaxed) != self.uses.load(Relaxed) {
            script.used.store(self.uses.fetch_add(1, Relaxed) + 1, Relaxed);
        }
    }
    /// Empties the cache. Each loop gives up what it has compiled, and its interpreter, when it next runs a script, or within
    /// a second or two.
    pub fn flush(&self) {
        self.lock().clear();
        self.era.fetch_add(1, Relaxed);
    }
    /// Number of scripts, and the bytes that they need.
    pub fn size(&self) -> (usize, usize) {
        let cache = self.lock();
        (cache.len(), cache.values().map(|script| script.len()).sum())
    }
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }
    /// Bytes that all interpreters have allocated.
    pub fn interpreters_len(&self) -> u64 {
        self.interpreters.iter().map(|len| len.0.load(Relaxed)).sum()
    }
    pub fn note_interpreter(&self, home: LoopId, len: usize) {
        self.interpreters[home.0 as usize].0.store(len as u64, Relaxed);
    }
}

/// A script as a loop has compiled it. Counted by the loop alone: all loops share the script, and none changes its line.
pub struct Compiled {
    pub chunk: Chunk,
    script: Arc<Script>,
}

impl Deref for Compiled {
    type Target = Script;

    fn deref(&self) -> &Script {
        &self.script
    }
}

/// What a loop has of its own: an interpreter, and what it has compiled.
#[derive(Default)]
pub struct LoopScripts {
    interp: Option<Interp>,
    compiled: HashMap<Sha, Rc<Compiled>, RandomState>,
    /// A hash of the source ─▶ its SHA: computing that takes as long as a short script. Compared before it is believed.
    shas: HashMap<u64, Sha, RandomState>,
    era: u64,
}

impl LoopScripts {
    /// The interpreter, made when it is first needed.
    pub fn interp(&mut self) -> &mut Interp {
        self.interp.get_or_insert_with(|| Interp::new(Options { version: REDIS_VERSION, memory_max: MEMORY_MAX }))
    }
    /// After SCRIPT FLUSH everything begins anew.
    fn heed(&mut self, scripts: &Scripts) {
        let era = scripts.era.load(Relaxed);
        if self.era != era {
            *self = LoopScripts { era, ..LoopScripts::default() };
        }
    }
    /// Now and then: gives up what SCRIPT FLUSH has made useless, also on a loop that runs no more scripts.
    pub fn tidy(&mut self, scripts: &Scripts, home: LoopId) {
        self.heed(scripts);
        if self.interp.is_none() {
            scripts.note_interpreter(home, 0);
        }
    }
    /// A script of the cache, compiled. None: there is none.
    /// Cost: a lookup in the loop's own table, if it has run here before.
    pub fn find(&mut self, scripts: &Scripts, sha: &Sha) -> Option<Rc<Compiled>> {
        self.heed(scripts);
        if let Some(compiled) = self.compiled.get(sha) {
            if !compiled.is_evicted.load(Relaxed) {
                scripts.note_use(compiled);
                return Some(compiled.clone());
            }
            let chunk = compiled.chunk;
            self.compiled.remove(sha);
            self.interp().forget(chunk);
        }
        let script = scripts.get(sha)?;
        let chunk = self.compile(&script).ok()?; // It was compiled before it came into the cache.
        Some(self.keep(scripts, chunk, script))
    }
    /// The script with this source, compiled; it comes into the cache if it is new. `keep`: and stays there.
    /// Errors: its first line; its text.
    pub fn define(&mut self, scripts: &Scripts, source: &[u8], keep: bool) -> Result<Rc<Compiled>, ReplyError> {
        let sha = self.sha_of(source);
        let found = match self.find(scripts, &sha) {
            Some(found) => found,
            None => {
                let script = Script::new(sha, source)?;
                script.is_kept.store(keep, Relaxed);
                let chunk = self.compile(&script)?;
                self.keep(scripts, chunk, scripts.add(script))
            }
        };
        if keep {
            found.is_kept.store(true, Relaxed);
        }
        Ok(found)
    }
    /// Cost: a look at each byte if the script has been compiled here.
    fn sha_of(&mut self, source: &[u8]) -> Sha {
        let hash = self.shas.hasher().hash_one(source);
        let is_of_source = |sha: &&Sha| self.compiled.get(*sha).is_some_and(|compiled| *compiled.source == *source);
        if let Some(&sha) = self.shas.get(&hash).filter(is_of_source) {
            return sha;
        }
        if self.shas.len() >= SHAS_MAX {
            self.shas.clear();
        }
        let sha = sha1_hex(source);
        self.shas.insert(hash, sha);
        sha
    }
    fn compile(&mut self, script: &Script) -> Result<Chunk, ReplyError> {
        self.interp().compile(&script.source[script.header_len..], c"@user_script").map_err(|message| {
            ReplyError::owned(format!("ERR Error compiling script (new function): {}", escaped(message.as_bytes())))
        })
    }
    fn keep(&mut self, scripts: &Scripts, chunk: Chunk, script: Arc<Script>) -> Rc<Compiled> {
        if self.compiled.len() > scripts.size().0 + EVAL_MAX {
            let is_gone = |_: &Sha, compiled: &mut Rc<Compiled>| compiled.is_evicted.load(Relaxed);
            let gone: Vec<Chunk> = self.compiled.extract_if(is_gone).map(|(_, compiled)| compiled.chunk).collect();
            gone.into_iter().for_each(|chunk| self.interp().forget(chunk));
        }
        let compiled = Rc::new(Compiled { chunk, script });
        self.compiled.insert(compiled.sha, compiled.clone());
        compiled
    }
}

/// A script that has run for too long; see the module header.
#[derive(Default)]
pub struct Busy {
    is_on: AtomicBool,
    /// It was called by FCALL.
    is_function: AtomicBool,
    has_written: AtomicBool,
    is_killed: AtomicBool,
    running: Mutex<Option<Running>>,
}

/// What FUNCTION STATS tells of a function that has run for too long.
#[derive(Clone)]
pub struct Running {
    pub name: Box<str>,
    /// The whole command.
    pub command: Vec<Box<[u8]>>,
    pub since: MonoNs,
}

impl Busy {
    pub fn begin(&self, running: Running, is_function: bool, has_written: bool) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        self.is_function.store(is_function, Relaxed);
        self.has_written.store(has_written, Relaxed);
        self.is_killed.store(false, Relaxed);
        self.is_on.store(true, Relaxed);
    }
    pub fn end(&self) {
        self.is_on.store(false, Relaxed);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    /// What runs for too long.
    pub fn running(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Is it a function?
    pub fn is_function(&self) -> bool {
        self.is_function.load(Relaxed)
    }
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }
    pub fn note_write(&self) {
        self.has_written.store(true, Relaxed);
    }
    pub fn is_killed(&self) -> bool {
        self.is_killed.load(Relaxed)
    }
    /// What commands are refused with.
    pub fn refusal(&self) -> ReplyError {
        ReplyError::text(if self.is_function.load(Relaxed) {
            "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
        } else {
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
        })
    }
    /// SCRIPT KILL, or FUNCTION KILL.
    /// Errors: nothing runs for too long; it has written; it is of the other kind.
    pub fn kill(&self, is_function: bool) -> Result<(), ReplyError> {
        if !self.is_on() {
            return Err(ReplyError::text("NOTBUSY No scripts in execution right now."));
        }
        if self.has_written.load(Relaxed) {
            return Err(ReplyError::text(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the \
                 script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
            ));
        }
        if self.is_function.load(Relaxed) != is_function {
            return Err(self.refusal());
        }
        self.is_killed.store(true, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_keeps_its_sha_whatever_came_before() {
        let (scripts, mut own) = (Scripts::new(1), LoopScripts::default());
        for round in 0..3 {
            for number in 0..SHAS_MAX + 10 {
                let source = format!("return {}", number % 700);
                let script = own.define(&scripts, source.as_bytes(), false).expect("it compiles");
                assert_eq!((script.sha, &*script.source), (sha1_hex(source.as_bytes()), source.as_bytes()));
            }
            if round == 1 {
                scripts.flush();
            }
        }
        assert!(own.shas.len() <= SHAS_MAX && scripts.size().0 <= EVAL_MAX);
    }

    #[test]
    fn a_loop_that_runs_no_more_scripts_gives_its_interpreter_up_behind_a_flush() {
        let (scripts, mut own) = (Scripts::new(1), LoopScripts::default());
        own.define(&scripts, b"return 1", false).expect("it compiles");
        scripts.note_interpreter(LoopId(0), own.interp().memory());
        own.tidy(&scripts, LoopId(0));
        assert!(scripts.interpreters_len() > 0);
        scripts.flush();
        own.tidy(&scripts, LoopId(0));
        assert_eq!(scripts.interpreters_len(), 0);
    }
}
