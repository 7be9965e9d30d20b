//! Libraries of functions: what all loops share of them.
//!
//! ```text
//! World::functions    name ─▶ library: its source and what it registers. The truth, under a lock that only FUNCTION and
//!                     the first FCALL behind a change take
//! LoopFunctions       an interpreter with the libraries loaded, each loop's own; brought up to date when it is needed
//! ```
//! A library is loaded once for its own sake when it arrives, in an interpreter that is thrown away: a source that does not
//! compile, or registers nothing, or what others have, is refused before anything changes.

use super::world::REDIS_VERSION;
use crate::base::clock::MonoNs;
use crate::base::ids::LoopId;
use crate::base::sync::{AtomicU64, Ordering::Relaxed};
use crate::base::words::split_owned;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::script::host::{Host, LogLevel, Verdict};
use crate::script::shebang::Flags;
use crate::script::{BAD_NAME, Chunk, Interp, Options, Registered, is_name};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that an interpreter may allocate.
const MEMORY_MAX: usize = 1 << 30;
/// How long loading may take: nothing in a library's first run should. Source: Redis.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);

/// A library as it was sent.
#[derive(Debug)]
pub struct Library {
    pub name: Box<[u8]>,
    pub source: Box<[u8]>,
    pub functions: Vec<Function>,
}

#[derive(Debug)]
pub struct Function {
    pub name: Box<[u8]>,
    pub description: Option<Box<[u8]>>,
    pub flags: Flags,
}

impl Library {
    /// Bytes of memory.
    fn len(&self) -> usize {
        let names = self.functions.iter().map(|function| {
            size_of::<Function>() + function.name.len() + function.description.as_ref().map_or(0, |text| text.len())
        });
        size_of::<Library>() + self.name.len() + self.source.len() + names.sum::<usize>()
    }
}

/// All libraries at one time. Functions of different libraries have different names.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    libraries: BTreeMap<Box<[u8]>, Arc<Library>>,
    /// Name of a function, in lower case ─▶ its library, and its place in it.
    functions: HashMap<Box<[u8]>, (Arc<Library>, usize)>,
}

impl Catalogue {
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }
    /// The library of a function, and its place in it. Names are compared without regard to case.
    pub fn function(&self, name: &[u8]) -> Option<&(Arc<Library>, usize)> {
        match name.iter().any(u8::is_ascii_uppercase) {
            true => self.functions.get(&*name.to_ascii_lowercase()),
            false => self.functions.get(name),
        }
    }
    /// Errors: its name, or that of a function, is taken.
    fn add(&mut self, library: Library, replaces: bool, taken: fn(&str) -> String) -> Result<(), String> {
        let old = self.libraries.get(&library.name);
        if old.is_some() && !replaces {
            return Err(taken(&escaped(&library.name)));
        }
        let mut names = HashSet::new();
        for function in &library.functions {
            let owner = self.function(&function.name).map(|(owner, _)| &owner.name);
            if owner.is_some_and(|owner| *owner != library.name) || !names.insert(function.name.to_ascii_lowercase()) {
                return Err(format!("Function {} already exists", escaped(&function.name)));
            }
        }
        self.remove(&library.name.clone());
        let library = Arc::new(library);
        for (place, function) in library.functions.iter().enumerate() {
            self.functions.insert(function.name.to_ascii_lowercase().into(), (library.clone(), place));
        }
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }
    /// False: there is no such library.
    fn remove(&mut self, name: &[u8]) -> bool {
        let Some(library) = self.libraries.remove(name) else { return false };
        for function in &library.functions {
            self.functions.remove(&*function.name.to_ascii_lowercase());
        }
        true
    }
}

/// What FUNCTION RESTORE does with libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Append,
    Replace,
    Flush,
}

/// See the module header.
pub struct Functions {
    catalogue: Mutex<Arc<Catalogue>>,
    /// Goes up with every change.
    era: AtomicU64,
    /// Bytes that each loop's interpreter has allocated.
    interpreters: Box<[AtomicU64]>,
}

impl Functions {
    pub fn new(loops: usize) -> Self {
        Functions {
            catalogue: Mutex::default(),
            era: AtomicU64::new(0),
            interpreters: (0..loops.max(1)).map(|_| AtomicU64::new(0)).collect(),
        }
    }
    /// Bytes that all interpreters have allocated.
    pub fn interpreters_len(&self) -> u64 {
        self.interpreters.iter().map(|len| len.load(Relaxed)).sum()
    }
    pub fn note_interpreter(&self, home: LoopId, len: usize) {
        self.interpreters[home.0 as usize].store(len as u64, Relaxed);
    }
    fn lock(&self) -> MutexGuard<'_, Arc<Catalogue>> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The libraries as they are now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.lock().clone()
    }
    /// Changes the libraries, or leaves them as they are if `change` fails.
    fn change<R, E>(&self, change: impl FnOnce(&mut Catalogue) -> Result<R, E>) -> Result<R, E> {
        let mut current = self.lock();
        let mut next = Catalogue::clone(&current);
        let result = change(&mut next)?;
        *current = Arc::new(next);
        self.era.fetch_add(1, Relaxed);
        Ok(result)
    }
    /// Adds a library. Returns its name.
    /// Errors: its first line, its text, what it registers, its names.
    pub fn load(&self, source: &[u8], replaces: bool) -> Result<Box<[u8]>, ReplyError> {
        let taken = |name: &str| format!("Library '{name}' already exists");
        let header = Header::parse(source).map_err(refuse)?;
        if !replaces && self.lock().libraries.contains_key(&*header.name) {
            return Err(refuse(taken(&escaped(&header.name)))); // Before its text is looked at.
        }
        let library = examine(source, header).map_err(refuse)?;
        let name = library.name.clone();
        self.change(|catalogue| catalogue.add(library, replaces, taken)).map_err(refuse)?;
        Ok(name)
    }
    /// Adds the libraries of a payload: all or none.
    pub fn restore(&self, sources: &[Vec<u8>], policy: Policy) -> Result<(), ReplyError> {
        let mut brought = Vec::new();
        for source in sources {
            brought.push(Header::parse(source).and_then(|header| examine(source, header)).map_err(refuse)?);
        }
        let taken = |name: &str| format!("Library {name} already exists");
        let change = |catalogue: &mut Catalogue| {
            if policy == Policy::Flush {
                *catalogue = Catalogue::default();
            }
            // All that will be replaced make room first: names may move from one to another.
            for library in brought.iter().filter(|_| policy == Policy::Replace) {
                catalogue.remove(&library.name);
            }
            brought.into_iter().try_for_each(|library| catalogue.add(library, false, taken))
        };
        self.change(change).map_err(refuse)
    }
    /// False: there is no such library.
    pub fn delete(&self, name: &[u8]) -> bool {
        self.change(|catalogue| if catalogue.remove(name) { Ok(()) } else { Err(()) }).is_ok()
    }
    pub fn flush(&self) {
        let _ = self.change(|catalogue| {
            *catalogue = Catalogue::default();
            Ok::<(), ()>(())
        });
    }
    /// Bytes that the libraries need.
    pub fn memory(&self) -> usize {
        self.catalogue().libraries().map(|library| library.len()).sum()
    }
}

fn refuse(message: String) -> ReplyError {
    ReplyError::owned(format!("ERR {message}"))
}

/// The first line of a library: `#!lua name=…`.
struct Header {
    name: Vec<u8>,
    /// Its length, without the line's end.
    len: usize,
}

impl Header {
    fn parse(source: &[u8]) -> Result<Header, String> {
        if !source.starts_with(b"#!") {
            return Err("Missing library metadata".into());
        }
        let text = source.split(|&byte| byte == 0).next().unwrap_or_default();
        let bad = || String::from("Invalid library metadata");
        let len = text.iter().position(|&byte| byte == b'\n').ok_or_else(bad)?;
        let words = split_owned(&source[..len]).map_err(|_| bad())?;
        let mut name = None;
        for word in words.iter().skip(1) {
            match word.split_at_checked(5) {
                Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                    if name.replace(value.to_vec()).is_some() {
                        return Err("Invalid metadata value, name argument was given multiple times".into());
                    }
                }
                _ => return Err(format!("Invalid metadata value given: {}", escaped(word))),
            }
        }
        let name = name.ok_or("Library name was not given")?;
        let engine = words.first().and_then(|word| word.strip_prefix(b"#!")).unwrap_or_default();
        if !is_name(&name) {
            return Err(BAD_NAME.into());
        }
        if !engine.eq_ignore_ascii_case(b"lua") {
            return Err(format!("Engine '{}' not found", escaped(engine)));
        }
        Ok(Header { name, len })
    }
}

/// Loads a library for what it registers.
fn examine(source: &[u8], header: Header) -> Result<Library, String> {
    let mut interp = new_interp();
    let registered = load_into(&mut interp, source, header.len)?;
    if registered.is_empty() {
        return Err("No functions registered".into());
    }
    let functions =
        registered.into_iter().map(|Registered { name, description, flags, .. }| Function { name, description, flags });
    Ok(Library { name: header.name.into(), source: source.into(), functions: functions.collect() })
}

fn new_interp() -> Interp {
    Interp::for_functions(Options { version: REDIS_VERSION, memory_max: MEMORY_MAX })
}

fn load_into(interp: &mut Interp, source: &[u8], header_len: usize) -> Result<Vec<Registered>, String> {
    interp.load(&source[header_len..], &mut Loader { started: MonoNs::now() })
}

/// The host of a library that is being loaded: there is nothing to call.
struct Loader {
    started: MonoNs,
}

impl Host for Loader {
    fn call(&mut self, _: Args<'_>, reply: &mut Reply) {
        reply.error(&ReplyError::text("ERR no command may be called while a library is loaded"));
    }
    fn may_run(&mut self, _: Args<'_>) -> Option<bool> {
        None
    }
    fn interrupt(&mut self) -> Verdict {
        if MonoNs::now().since(self.started) > LOAD_TIME_MAX {
            return Verdict::End("ERR FUNCTION LOAD timeout");
        }
        Verdict::GoOn
    }
    fn log(&mut self, level: LogLevel, line: &[u8]) {
        let level = match level {
            LogLevel::Debug => crate::admin::log::Level::Debug,
            LogLevel::Verbose => crate::admin::log::Level::Verbose,
            LogLevel::Notice => crate::admin::log::Level::Notice,
            LogLevel::Warning => crate::admin::log::Level::Warning,
        };
        crate::admin::log::write(level, format_args!("{}", String::from_utf8_lossy(line)));
    }
    fn count_error(&mut self, _: &str) {}
}

/// A library in an interpreter, with its functions as they were loaded there.
type Loaded = (Arc<Library>, Vec<Registered>);

/// What a loop has of its own: an interpreter, and the libraries in it.
#[derive(Default)]
pub struct LoopFunctions {
    interp: Option<Interp>,
    loaded: HashMap<Box<[u8]>, Loaded>,
    catalogue: Arc<Catalogue>,
    era: u64,
}

impl LoopFunctions {
    /// The interpreter, made when it is first needed.
    pub fn interp(&mut self) -> &mut Interp {
        self.interp.get_or_insert_with(new_interp)
    }
    /// A function and its library, loaded here. None: there is no such function.
    /// Errors: the library does not load here, though it did when it came.
    /// Cost: two lookups, if nothing has changed since the last call.
    pub fn find(
        &mut self,
        functions: &Functions,
        name: &[u8],
    ) -> Result<Option<(Chunk, Arc<Library>, usize)>, ReplyError> {
        let era = functions.era.load(Relaxed);
        if self.era != era {
            self.follow(functions.catalogue());
            self.era = era;
        }
        let Some((library, place)) = self.catalogue.function(name).cloned() else { return Ok(None) };
        if !self.loaded.contains_key(&library.name) {
            let len = library.source.iter().position(|&byte| byte == b'\n').unwrap_or_default();
            let registered = load_into(self.interp(), &library.source, len).map_err(refuse)?;
            self.loaded.insert(library.name.clone(), (library.clone(), registered));
        }
        let ((_, registered), name) = (&self.loaded[&library.name], &library.functions[place].name);
        let chunk = registered.iter().find(|function| function.name == *name).map(|function| function.chunk);
        Ok(chunk.map(|chunk| (chunk, library, place)))
    }
    /// Forgets the libraries that are not those of the catalogue.
    fn follow(&mut self, catalogue: Arc<Catalogue>) {
        let interp = self.interp.get_or_insert_with(new_interp);
        self.loaded.retain(|name, (library, registered)| {
            let stays = catalogue.libraries.get(name).is_some_and(|current| Arc::ptr_eq(current, library));
            if !stays {
                registered.iter().for_each(|function| interp.forget(function.chunk));
            }
            stays
        });
        self.catalogue = catalogue;
    }
}
