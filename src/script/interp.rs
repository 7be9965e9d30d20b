//! `Interp`: an interpreter, what it has compiled, and how it runs that.
//!
//! Everything that may raise an error runs in a protected call: `run` and `compile` say in `Shared` what is to be done and
//! call `work`, a function that was pushed when the interpreter was made, as nothing may be allocated outside.
//!
//! Memory is bounded: the interpreter's allocator refuses beyond `Options::memory_max`, Lua raises "not enough memory", and
//! the script ends with an error reply. Garbage is collected by Lua as it goes, and a little after every 50 runs, so that no
//! script pays for a whole cycle.

use super::host::{Host, Verdict};
use super::register::{self, Registered};
use super::run::{Buffers, Run, Shared};
use super::state::{Ended, GLOBALS, Kind, REGISTRY, State};
use super::to_lua::push_error_line;
use super::to_reply::{Fields, Writer, until_nul};
use super::{api, bit, builtins, cjson, cmsgpack, sandbox, structs};
use crate::resp::args::Args;
use crate::resp::reply::{Proto, Reply};
use mlua::{Lua, LuaOptions, StdLib, Table, ffi};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};

/// Instructions between two looks at the clock.
const HOOK_EVERY: c_int = 100_000;
/// Runs between two visits of the collector, and how much it does then. Source: the balance Redis found.
const COLLECT_EVERY: u32 = 50;

/// Libraries beside Lua's own: how each makes its table.
pub type Library = fn(&Lua) -> mlua::Result<Table>;
const LIBRARIES: &[(&str, Library)] =
    &[("bit", bit::library), ("cjson", cjson::library), ("cmsgpack", cmsgpack::library), ("struct", structs::library)];

/// What an interpreter is made for.
#[derive(Clone, Copy)]
pub struct Options {
    /// `redis.REDIS_VERSION`
    pub version: &'static str,
    /// Bytes that it may allocate.
    pub memory_max: usize,
}

/// A compiled script. It belongs to the interpreter that compiled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk(c_int);

impl Chunk {
    /// What `State::keep` has kept.
    pub(super) fn of(kept: c_int) -> Self {
        Chunk(kept)
    }
}

/// What a script is called with.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub chunk: Chunk,
    /// How errors name it: its SHA, or the function's name.
    pub name: &'a str,
    pub args: Args<'a>,
    /// The first key among the arguments; the keys; all behind them are ARGV.
    pub first: usize,
    pub key_count: usize,
    /// KEYS and ARGV are globals (EVAL), or the function's two arguments (FCALL).
    pub is_eval: bool,
    /// Is the host asked from time to time whether to go on?
    pub is_watched: bool,
}

/// What `work` is to do.
#[derive(Clone, Copy)]
enum Task {
    None,
    SetUp(Options),
    Protect,
    Compile(*const [u8], *const CStr),
    Forget(c_int),
    Run(*const Call<'static>),
    MakeLoader,
    Load(*const [u8]),
    CollectAll,
}

/// See the module header.
pub struct Interp {
    lua: Lua,
    state: State,
    shared: Box<Desk>,
    buffers: Buffers,
    runs: u32,
}

/// What the C functions of this interpreter find. It has an address of its own, which they hold.
#[repr(C)]
struct Desk {
    /// First, so that a pointer to the desk is one to it.
    shared: Shared,
    task: Cell<Task>,
    /// Where the registry keeps `work`.
    work: Cell<c_int>,
    handler: Cell<c_int>,
    keys_name: Cell<c_int>,
    argv_name: Cell<c_int>,
    fields: Cell<Fields>,
    /// The real globals, and what scripts see of them.
    globals: Cell<c_int>,
    environment: Cell<c_int>,
    /// What stands for the globals while a library of functions is loaded.
    loader: Cell<c_int>,
    /// What `Compile` made.
    compiled: Cell<c_int>,
    /// An error line that the verdict on the running script gave.
    ended: Cell<Option<&'static str>>,
    collects: Cell<bool>,
}

impl Interp {
    /// An interpreter with all libraries and `redis`, whose globals are read-only.
    /// Panics: there is not enough memory even for that.
    pub fn new(options: Options) -> Interp {
        let interp = Interp::open(options);
        interp.protect();
        interp
    }

    /// As `new`, for libraries of functions: see `load`.
    pub fn for_functions(options: Options) -> Interp {
        let interp = Interp::open(options);
        assert_eq!(interp.work(Task::MakeLoader), Ended::Well, "memory for a new interpreter");
        interp.protect();
        interp
    }

    /// Loads a library, whose first line has become empty: what it has registered.
    /// Errors: the message, without a code. Whatever it had registered is forgotten.
    pub fn load(&mut self, source: &[u8], host: &mut dyn Host) -> Result<Vec<Registered>, String> {
        let (mut buffers, mut out) = (std::mem::take(&mut self.buffers), Reply::default());
        let mut run = Run { host, buffers: &mut buffers, out: &mut out, name: "" };
        self.shared.ended.set(None);
        self.shared.shared.begin(&mut run);
        self.shared.shared.loading.begin();
        let ended = self.work(Task::Load(source));
        self.shared.shared.end();
        buffers.tidy();
        self.buffers = buffers;
        let registered = self.shared.shared.loading.end();
        if ended == Ended::Well {
            return Ok(registered);
        }
        let message = self.take_error();
        registered.iter().for_each(|function| self.forget(function.chunk));
        Err(message)
    }

    /// As `new`, but globals can still be changed: until `protect`.
    pub fn open(options: Options) -> Interp {
        let parts = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(parts, LuaOptions::new().catch_rust_panics(false)).expect("Lua's own libraries");
        let desk = Desk {
            shared: Shared::default(),
            task: Cell::new(Task::None),
            work: Cell::new(0),
            handler: Cell::new(0),
            keys_name: Cell::new(0),
            argv_name: Cell::new(0),
            fields: Cell::new(Fields::default()),
            globals: Cell::new(0),
            environment: Cell::new(0),
            loader: Cell::new(0),
            compiled: Cell::new(0),
            ended: Cell::new(None),
            collects: Cell::new(false),
        };
        let shared = Box::new(desk);
        let (address, mut raw) = (shared.shared.address(), std::ptr::null_mut());
        let made = Cell::new(0);
        // SAFETY: the closure runs protected and owns nothing.
        let result = unsafe {
            lua.exec_raw::<()>((), |state| {
                raw = state;
                made.set(keep_work(State::of(state), address));
            })
        };
        result.expect("memory for a new interpreter");
        shared.work.set(made.get());
        for (name, library) in LIBRARIES {
            let table = library(&lua).expect("memory for a library");
            lua.globals().raw_set(*name, table).expect("memory for a library");
        }
        // SAFETY: `lua` lives in the same structure, and so does the thread that uses both.
        let state = unsafe { State::of(raw) };
        let interp = Interp { lua, state, shared, buffers: Buffers::default(), runs: 0 };
        assert_eq!(interp.work(Task::SetUp(options)), Ended::Well, "memory for a new interpreter");
        interp.lua.set_memory_limit(options.memory_max).expect("Lua's own allocator has a limit");
        interp
    }

    /// Makes globals and what can be reached from them read-only.
    pub fn protect(&self) {
        assert_eq!(self.work(Task::Protect), Ended::Well, "memory for a new interpreter");
    }

    /// The binding, for libraries of functions.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Compiles a script. `name` is its chunk's name, as `@user_script`.
    /// Errors: Lua's message.
    pub fn compile(&mut self, source: &[u8], name: &CStr) -> Result<Chunk, String> {
        match self.work(Task::Compile(source, name)) {
            Ended::Well => Ok(Chunk(self.shared.compiled.get())),
            Ended::Badly => Err(self.take_error()),
        }
    }

    /// Gives a compiled script up.
    pub fn forget(&mut self, chunk: Chunk) {
        self.work(Task::Forget(chunk.0));
    }

    /// Runs a script; its result, or its error, is appended to `out` in `out`'s protocol.
    pub fn run(&mut self, call: &Call<'_>, host: &mut dyn Host, out: &mut Reply) {
        let mark = out.mark();
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.reply.proto = Proto::Resp2; // Until the script says otherwise.
        let mut run = Run { host, buffers: &mut buffers, out, name: call.name };
        self.runs = self.runs.wrapping_add(1);
        self.shared.collects.set(self.runs.is_multiple_of(COLLECT_EVERY));
        self.shared.ended.set(None);
        self.shared.shared.begin(&mut run);
        let call: *const Call<'_> = call;
        let ended = self.work(Task::Run(call.cast()));
        self.shared.shared.end();
        if ended == Ended::Badly {
            let message = self.take_error();
            run.out.truncate(mark);
            run.reply_error(format!("ERR Error running script {}, {message:.100}", run.name).as_bytes(), false);
            self.work(Task::CollectAll);
        }
        buffers.tidy();
        self.buffers = buffers;
    }

    /// Bytes that it has allocated.
    pub fn memory(&self) -> usize {
        self.state.memory()
    }

    /// Does a task in a protected call. Badly: an error value is on the stack.
    fn work(&self, task: Task) -> Ended {
        self.shared.task.set(task);
        self.state.set_top(0);
        self.state.push_kept(self.shared.work.get());
        self.state.call(0, 0, 0)
    }

    /// The text of the error on the stack.
    fn take_error(&self) -> String {
        let text = self.state.bytes(-1).map_or("execution failure".into(), String::from_utf8_lossy).into_owned();
        self.state.set_top(0);
        text
    }
}

impl Drop for Interp {
    /// Finalisers run while all that they may touch is still there, not in the disorder of the end (CVE-2024-46981).
    fn drop(&mut self) {
        self.work(Task::CollectAll);
        self.state.set_top(0);
    }
}

/// Keeps the function `work`, and where the hook finds the desk. *Raises.*
fn keep_work(state: State, desk: *mut c_void) -> c_int {
    state.reserve(4);
    state.push_pointer((&raw const HOOK_KEY).cast_mut().cast());
    state.push_pointer(desk);
    state.set_raw(REGISTRY);
    state.push_native(work, desk);
    state.keep()
}

/// Its address is the registry's key for the desk.
static HOOK_KEY: u8 = 0;

fn desk_of<'a>(pointer: *mut c_void) -> &'a Desk {
    // SAFETY: all pointers that functions and the registry hold are to the desk of the interpreter they belong to, which
    // lives as long as they.
    unsafe { &*pointer.cast::<Desk>() }
}

/// Does the desk's task. *Raises.*
fn work(state: State) -> i32 {
    let desk = desk_of(state.own_pointer());
    if desk.environment.get() != 0 {
        state.push_kept(desk.environment.get());
        state.set_globals(); // A script may have set another table in its place.
    }
    match desk.task.get() {
        Task::None => {}
        Task::SetUp(options) => set_up(state, desk, &options),
        Task::Protect => {
            sandbox::protect(state);
            state.push_copy(GLOBALS);
            desk.environment.set(state.keep());
        }
        Task::Compile(source, name) => {
            // SAFETY: `Interp::compile` borrows both during the call.
            let (source, name) = unsafe { (&*source, &*name) };
            if builtins::load(state, source, name.to_bytes()) == Ended::Badly {
                state.raise()
            }
            desk.compiled.set(state.keep());
        }
        Task::Forget(kept) => state.forget(kept),
        // SAFETY: `Interp::run` borrows it during the call.
        Task::Run(call) => run(state, desk, unsafe { &*call }),
        Task::MakeLoader => {
            register::push_loader(state, &desk.shared);
            desk.loader.set(state.keep());
        }
        // SAFETY: `Interp::load` borrows it during the call.
        Task::Load(source) => load(state, desk, unsafe { &*source }),
        Task::CollectAll => state.collect_all(),
    }
    0
}

/// Compiles a library and runs it, seeing nothing but the loader. *Raises* a text if it fails.
fn load(state: State, desk: &Desk, source: &[u8]) {
    if builtins::load(state, source, b"@user_function") == Ended::Badly {
        raise_prefixed(state, "Error compiling function: ");
    }
    show(state, desk.environment.get(), desk.loader.get());
    state.set_hook(hook, HOOK_EVERY);
    let ended = state.call(0, 0, 0);
    state.set_hook(hook, 0);
    show(state, desk.environment.get(), desk.globals.get());
    if ended == Ended::Well {
        return;
    }
    if state.kind(-1) == Kind::Table {
        state.push_field(-1, "err");
        raise_prefixed(state, "Error registering functions: ");
    }
    raise_prefixed(state, "Error registering functions: ERR ");
}

/// Raises the text on top behind another. *Raises.*
fn raise_prefixed(state: State, prefix: &str) -> ! {
    if !matches!(state.kind(-1), Kind::String | Kind::Number) {
        state.push_bytes(b"(error object)");
    }
    state.push_bytes(prefix.as_bytes());
    state.insert(-2);
    state.concat(2);
    state.raise()
}

/// Makes what was kept as `table` visible through the environment. *Raises.*
fn show(state: State, environment: c_int, table: c_int) {
    state.reserve(4);
    state.push_kept(environment);
    if state.push_metatable(-1) {
        state.push_kept(table);
        state.set_field("__index");
        state.pop(1);
    }
    state.pop(1);
}

fn set_up(state: State, desk: &Desk, options: &Options) {
    sandbox::replace_builtins(state, &desk.shared);
    api::push_api(state, &desk.shared, options);
    for name in ["redis", "server"] {
        state.push_bytes(name.as_bytes());
        state.push_copy(1);
        state.set_raw(GLOBALS);
    }
    state.pop(1);
    state.push_native(sandbox::on_error, std::ptr::null_mut());
    desk.handler.set(state.keep());
    desk.fields.set(Fields::keep(state));
    for (name, kept) in [("KEYS", &desk.keys_name), ("ARGV", &desk.argv_name)] {
        state.push_bytes(name.as_bytes());
        kept.set(state.keep());
    }
    state.push_copy(GLOBALS);
    desk.globals.set(state.keep());
    state.push_copy(GLOBALS);
    desk.environment.set(state.keep());
}

/// One run: arguments, script, result.
fn run(state: State, desk: &Desk, call: &Call<'_>) {
    state.set_hook(hook, if call.is_watched { HOOK_EVERY } else { 0 });
    state.push_kept(desk.handler.get());
    let handler = state.top();
    state.push_kept(call.chunk.0);
    state.push_kept(desk.environment.get());
    state.set_environment(-2); // An earlier run may have set another one.
    let keys = call.first..call.first + call.key_count;
    let argv = keys.end..call.args.count();
    push_args(state, call, keys);
    if call.is_eval {
        set_global(state, desk, desk.keys_name.get());
    }
    push_args(state, call, argv);
    if call.is_eval {
        set_global(state, desk, desk.argv_name.get());
    }
    let ended = state.call(if call.is_eval { 0 } else { 2 }, 1, handler);
    state.set_hook(hook, 0);
    let Some(run) = desk.shared.run() else { return };
    match ended {
        Ended::Well => Writer { state, fields: desk.fields.get(), run }.write(),
        Ended::Badly => reply_error(state, run),
    }
    if desk.collects.get() {
        state.collect_some(COLLECT_EVERY as c_int);
    }
}

/// Pushes a table of some of the call's arguments. *Raises.*
fn push_args(state: State, call: &Call<'_>, range: std::ops::Range<usize>) {
    state.push_table(range.len(), 0);
    for (at, index) in range.enumerate() {
        state.push_bytes(call.args.get(index));
        state.set_item(-2, at as c_int + 1);
    }
}

/// Pops a value and makes it the global of that name. *Raises.*
fn set_global(state: State, desk: &Desk, name: c_int) {
    state.push_kept(desk.globals.get());
    state.insert(-2);
    state.push_kept(name);
    state.insert(-2);
    state.set_raw(-3);
    state.pop(1);
}

/// Replies with the error on top: what `sandbox::on_error` made of it, or a plain text if memory was too short even for
/// that. *Raises.*
fn reply_error(state: State, run: &mut Run<'_>) {
    if state.kind(-1) != Kind::Table {
        state.raise(); // `Interp::run` has words for it.
    }
    let error = state.top();
    for name in ["err", "source", "line", "ignore_error_stats_update"] {
        state.push_field(error, name);
    }
    let is_counted = state.kind(-1) == Kind::Boolean && state.boolean(-1);
    let text = until_nul(state.bytes_of(error + 1).unwrap_or_default());
    let place = state.bytes_of(error + 2).zip(state.bytes_of(error + 3));
    run.reply_script_error(text, place, is_counted);
    state.set_top(error - 1);
}

/// Asks the host whether the script may go on. *Raises* if not.
unsafe extern "C-unwind" fn hook(raw: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: Lua calls with the running state.
    let state = unsafe { State::of(raw) };
    state.push_pointer((&raw const HOOK_KEY).cast_mut().cast());
    state.get_raw(REGISTRY);
    let desk = desk_of(state.pointer(-1));
    state.pop(1);
    let Some(run) = desk.shared.run() else { return };
    if desk.ended.get().is_none()
        && let Verdict::End(line) = run.host.interrupt()
    {
        desk.ended.set(Some(line));
    }
    if let Some(line) = desk.ended.get() {
        state.set_line_hook(hook); // A `pcall` around the loop does not help.
        push_error_line(state, line.as_bytes());
        state.raise()
    }
}
