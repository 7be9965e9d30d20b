//! `State`: Lua's stack, seen from Rust. All calls into the interpreter's C interface are here.
//!
//! Values stand on the stack; an index counts from the bottom of the running C function (1, 2, …) or from the top (-1, -2, …).
//! Lua reports errors by `longjmp`, over the heads of all frames up to the protected call. Hence the one rule that the
//! compiler does not check:
//!
//! **Whoever calls a method that may raise an error owns nothing that must be dropped.** What must be dropped lives outside
//! the protected call, in `Run` or in `Interp`. `C-unwind` functions and frames without destructors may be jumped over.
//!
//! Methods marked *raises* may do so: for lack of memory (the interpreter's limit), or because they call back into Lua.

use mlua::ffi;
use std::ffi::{CStr, c_char, c_int, c_void};

/// A function that scripts can call: its arguments are on the stack; it returns how many results it left on top.
pub type Native = fn(State) -> c_int;

/// The table of globals, as an index.
pub const GLOBALS: c_int = ffi::LUA_GLOBALSINDEX;
/// What scripts cannot reach.
pub const REGISTRY: c_int = ffi::LUA_REGISTRYINDEX;
/// What a multiple of results is called.
pub const ALL_RESULTS: c_int = ffi::LUA_MULTRET;

/// What a value is, as far as conversions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nil,
    Boolean,
    Number,
    String,
    Table,
    Other,
}

/// See the module header. Valid for as long as the interpreter lives.
#[derive(Clone, Copy)]
pub struct State(*mut ffi::lua_State);

/// What happened at a protected call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// The error value is on top of the stack.
    Badly,
}

/// Where code stands that is running.
pub struct Position {
    pub is_native: bool,
    pub line: c_int,
}

impl State {
    /// # Safety
    /// `raw` belongs to an interpreter that lives, and is used by one thread.
    #[inline]
    pub unsafe fn of(raw: *mut ffi::lua_State) -> State {
        State(raw)
    }
    /// Values of the running function.
    #[inline]
    pub fn top(self) -> c_int {
        // SAFETY: the state lives (`of`).
        unsafe { ffi::lua_gettop(self.0) }
    }
    #[inline]
    pub fn set_top(self, top: c_int) {
        // SAFETY: the state lives; callers lower the top, or raise it within what was reserved.
        unsafe { ffi::lua_settop(self.0, top) }
    }
    #[inline]
    pub fn pop(self, count: c_int) {
        self.set_top(-count - 1);
    }
    /// Makes room for `count` more values. False: there is no more room.
    #[inline]
    pub fn has_room(self, count: c_int) -> bool {
        // SAFETY: the state lives.
        unsafe { ffi::lua_checkstack(self.0, count) != 0 }
    }
    /// *Raises* if there is no room for `count` more values.
    #[inline]
    pub fn reserve(self, count: c_int) {
        if !self.has_room(count) {
            self.raise_text(c"stack overflow");
        }
    }
    pub fn kind(self, index: c_int) -> Kind {
        // SAFETY: the state lives; an index beyond the top is answered with none.
        match unsafe { ffi::lua_type(self.0, index) } {
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            _ => Kind::Other,
        }
    }
    pub fn is_function(self, index: c_int) -> bool {
        // SAFETY: the state lives.
        unsafe { ffi::lua_type(self.0, index) == ffi::LUA_TFUNCTION }
    }
    #[inline]
    pub fn boolean(self, index: c_int) -> bool {
        // SAFETY: the state lives.
        unsafe { ffi::lua_toboolean(self.0, index) != 0 }
    }
    /// A number, or a string that reads as one; else 0.
    #[inline]
    pub fn number(self, index: c_int) -> f64 {
        // SAFETY: the state lives.
        unsafe { ffi::lua_tonumber(self.0, index) }
    }
    /// Is it a number, or a string that reads as one?
    pub fn is_numeric(self, index: c_int) -> bool {
        // SAFETY: the state lives.
        unsafe { ffi::lua_isnumber(self.0, index) != 0 }
    }
    /// The bytes of a string. They stay where they are while the string is on the stack or in a table: the caller does not
    /// keep them longer. A number is not converted in place: see `bytes_of`.
    #[inline]
    pub fn bytes<'a>(self, index: c_int) -> Option<&'a [u8]> {
        if self.kind(index) == Kind::String { self.bytes_of(index) } else { None }
    }
    /// As `bytes`; a number is made a string in its place. *Raises* for lack of memory then.
    pub fn bytes_of<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let mut len = 0;
        // SAFETY: the state lives; `len` is written if the result is not null.
        let start = unsafe { ffi::lua_tolstring(self.0, index, &mut len) };
        if start.is_null() {
            return None;
        }
        // SAFETY: Lua's strings are `len` bytes at `start`; they are never moved, and freed only when nothing holds them.
        Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
    }
    /// The string at `index` up to its first zero byte, as C sees it. It stays as long as `bytes`.
    pub fn text<'a>(self, index: c_int) -> Option<&'a CStr> {
        CStr::from_bytes_until_nul(self.with_nul(index)?).ok()
    }
    /// A string's bytes, and the zero byte that Lua puts behind each.
    fn with_nul<'a>(self, index: c_int) -> Option<&'a [u8]> {
        let bytes: &[u8] = self.bytes(index)?;
        // SAFETY: Lua's strings end with a zero byte that is not counted.
        Some(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len() + 1) })
    }
    /// Are both the same object, or equal strings or numbers?
    pub fn is_same(self, one: c_int, other: c_int) -> bool {
        // SAFETY: the state lives; an index beyond the top is answered with no.
        unsafe { ffi::lua_rawequal(self.0, one, other) != 0 }
    }
    #[inline]
    pub fn push_nil(self) {
        // SAFETY: callers reserve room.
        unsafe { ffi::lua_pushnil(self.0) }
    }
    #[inline]
    pub fn push_number(self, number: f64) {
        // SAFETY: callers reserve room.
        unsafe { ffi::lua_pushnumber(self.0, number) }
    }
    #[inline]
    pub fn push_boolean(self, value: bool) {
        // SAFETY: callers reserve room.
        unsafe { ffi::lua_pushboolean(self.0, value as c_int) }
    }
    /// *Raises.*
    #[inline]
    pub fn push_bytes(self, bytes: &[u8]) {
        // SAFETY: callers reserve room; the bytes are copied.
        unsafe { ffi::lua_pushlstring_(self.0, bytes.as_ptr().cast::<c_char>(), bytes.len()) };
    }
    /// Pushes a copy of the value at `index`.
    #[inline]
    pub fn push_copy(self, index: c_int) {
        // SAFETY: callers reserve room and give a valid index.
        unsafe { ffi::lua_pushvalue(self.0, index) }
    }
    /// Pops a value and puts it in the place of the one at `index`.
    pub fn replace(self, index: c_int) {
        // SAFETY: callers give a valid index.
        unsafe { ffi::lua_replace(self.0, index) }
    }
    /// Moves the top value to `index`, shifting up what is above.
    pub fn insert(self, index: c_int) {
        // SAFETY: callers give a valid index.
        unsafe { ffi::lua_insert(self.0, index) }
    }
    /// Removes the value at `index`, shifting down what is above.
    pub fn remove(self, index: c_int) {
        // SAFETY: callers give a valid index.
        unsafe { ffi::lua_remove(self.0, index) }
    }
    /// *Raises.*
    #[inline]
    pub fn push_table(self, items: usize, fields: usize) {
        let room = |count: usize| count.min(1 << 20) as c_int;
        // SAFETY: callers reserve room.
        unsafe { ffi::lua_createtable(self.0, room(items), room(fields)) }
    }
    /// Pops a value and makes it item `at` of the table at `index`. *Raises.*
    #[inline]
    pub fn set_item(self, index: c_int, at: c_int) {
        // SAFETY: callers give the index of a table.
        unsafe { ffi::lua_rawseti_(self.0, index, at) }
    }
    /// Pushes item `at` of the table at `index`.
    #[inline]
    pub fn push_item(self, index: c_int, at: c_int) {
        // SAFETY: callers give the index of a table and reserve room.
        unsafe { ffi::lua_rawgeti_(self.0, index, at) };
    }
    /// Pops a value and a key below it, and puts them into the table at `index`, without metamethods. *Raises.*
    #[inline]
    pub fn set_raw(self, index: c_int) {
        // SAFETY: callers give the index of a table.
        unsafe { ffi::lua_rawset(self.0, index) }
    }
    /// Replaces the key on top by its value in the table at `index`, without metamethods.
    #[inline]
    pub fn get_raw(self, index: c_int) {
        // SAFETY: callers give the index of a table.
        unsafe { ffi::lua_rawget(self.0, index) };
    }
    /// The value on top becomes a field of the table below it, and is popped. *Raises.*
    pub fn set_field(self, name: &str) {
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.set_raw(-3);
    }
    /// Pushes field `name` of the table at `index`. *Raises.*
    pub fn push_field(self, index: c_int, name: &str) {
        let index = self.absolute(index);
        self.push_bytes(name.as_bytes());
        self.get_raw(index);
    }
    /// An index that stays right when more is pushed.
    pub fn absolute(self, index: c_int) -> c_int {
        if index > 0 || index <= ffi::LUA_REGISTRYINDEX { index } else { self.top() + index + 1 }
    }
    /// Replaces the key on top by the next key and value of the table at `index`. False: that was the last, nothing is
    /// pushed.
    #[inline]
    pub fn next(self, index: c_int) -> bool {
        // SAFETY: callers give the index of a table, reserve room, and a key that came from here.
        unsafe { ffi::lua_next(self.0, index) != 0 }
    }
    /// The metatable of the value at `index` is pushed, if it has one.
    pub fn push_metatable(self, index: c_int) -> bool {
        // SAFETY: callers give a valid index and reserve room.
        unsafe { ffi::lua_getmetatable(self.0, index) != 0 }
    }
    /// Pops a table and makes it the metatable of the value at `index`. *Raises* if that is read-only.
    pub fn set_metatable(self, index: c_int) {
        // SAFETY: callers give a valid index; a table is on top.
        unsafe { ffi::lua_setmetatable(self.0, index) };
    }
    /// Pops a table and makes it that of the globals, of this thread and of all chunks that are compiled from here on.
    #[inline]
    pub fn set_globals(self) {
        // SAFETY: a table is on top.
        unsafe { ffi::lua_replace(self.0, ffi::LUA_GLOBALSINDEX) }
    }
    /// Pops a table and makes it the environment of the function at `index`.
    #[inline]
    pub fn set_environment(self, index: c_int) {
        // SAFETY: callers give the index of a function; a table is on top.
        unsafe { ffi::lua_setfenv(self.0, index) };
    }
    /// Items of the table at `index`, as `#` counts them.
    #[inline]
    pub fn len(self, index: c_int) -> usize {
        // SAFETY: callers give the index of a table.
        unsafe { ffi::lua_objlen(self.0, index) }
    }
    /// Pops a value and keeps it; `push_kept` pushes it again. *Raises.*
    pub fn keep(self) -> c_int {
        // SAFETY: a value is on top.
        unsafe { ffi::luaL_ref(self.0, ffi::LUA_REGISTRYINDEX) }
    }
    #[inline]
    pub fn push_kept(self, kept: c_int) {
        // SAFETY: callers reserve room; what is not kept gives nil.
        unsafe { ffi::lua_rawgeti_(self.0, ffi::LUA_REGISTRYINDEX, kept) };
    }
    /// Forgets what was kept.
    pub fn forget(self, kept: c_int) {
        // SAFETY: `kept` came from `keep` and is forgotten once.
        unsafe { ffi::luaL_unref(self.0, ffi::LUA_REGISTRYINDEX, kept) }
    }
    /// Pushes a function for scripts. It finds `pointer` by `own_pointer`. *Raises.*
    pub fn push_native(self, native: Native, pointer: *mut c_void) {
        self.push_pointer(pointer);
        self.push_pointer(native as *mut c_void);
        // SAFETY: both upvalues are on the stack; `enter` reads them.
        unsafe { ffi::lua_pushcclosure(self.0, enter, 2) }
    }
    pub fn push_pointer(self, pointer: *mut c_void) {
        // SAFETY: callers reserve room; Lua never follows the pointer.
        unsafe { ffi::lua_pushlightuserdata(self.0, pointer) }
    }
    /// The pointer that the running function was made with.
    #[inline]
    pub fn own_pointer(self) -> *mut c_void {
        self.pointer(ffi::lua_upvalueindex(1))
    }
    /// The pointer at `index`; null if that is something else.
    #[inline]
    pub fn pointer(self, index: c_int) -> *mut c_void {
        // SAFETY: the state lives; another kind of value gives null.
        unsafe { ffi::lua_touserdata(self.0, index) }
    }
    /// Calls a function that stands below its `args` arguments. `handler`: the index of an error handler, or 0.
    pub fn call(self, args: c_int, results: c_int, handler: c_int) -> Ended {
        // SAFETY: function and arguments are on the stack.
        match unsafe { ffi::lua_pcall(self.0, args, results, handler) } {
            ffi::LUA_OK => Ended::Well,
            _ => Ended::Badly,
        }
    }
    /// Compiles source text: a function is pushed, or the text of an error.
    pub fn load(self, source: &[u8], name: &CStr) -> Ended {
        let start = source.as_ptr().cast::<c_char>();
        // SAFETY: the source and the name live during the call; memory errors are results, too.
        match unsafe { ffi::luaL_loadbuffer(self.0, start, source.len(), name.as_ptr()) } {
            ffi::LUA_OK => Ended::Well,
            _ => Ended::Badly,
        }
    }
    /// Raises the value on top as an error.
    pub fn raise(self) -> ! {
        // SAFETY: a value is on top; the caller owns nothing (module header).
        unsafe { ffi::lua_error(self.0) }
    }
    /// Raises a text, with the position of the script in front.
    pub fn raise_text(self, text: &CStr) -> ! {
        // SAFETY: one value for one `%s`; the caller owns nothing.
        unsafe { ffi::luaL_error(self.0, c"%s".as_ptr(), text.as_ptr()) };
        unreachable!("luaL_error does not return")
    }
    /// Raises that argument `index` is bad.
    pub fn raise_argument(self, index: c_int, why: &CStr) -> ! {
        // SAFETY: the text lives; the caller owns nothing.
        unsafe { ffi::luaL_argerror(self.0, index, why.as_ptr()) };
        unreachable!("luaL_argerror does not return")
    }
    /// Argument `index` as an integer; *raises* if it is none.
    pub fn integer_argument(self, index: c_int) -> i32 {
        // SAFETY: the state lives; the caller owns nothing. Lua cuts it to an int, too.
        unsafe { ffi::luaL_checkinteger(self.0, index) as i32 }
    }
    /// *Raises* unless argument `index` is a table.
    pub fn expect_table(self, index: c_int) {
        // SAFETY: the state lives; the caller owns nothing.
        unsafe { ffi::luaL_checktype(self.0, index, ffi::LUA_TTABLE) }
    }
    /// *Raises* unless there is an argument `index`.
    pub fn expect_any(self, index: c_int) {
        // SAFETY: as above.
        unsafe { ffi::luaL_checkany(self.0, index) }
    }
    /// Is there a value at `index`, be it nil?
    pub fn is_there(self, index: c_int) -> bool {
        self.top() >= index
    }
    /// *Raises* unless argument `index` is a function.
    pub fn expect_function(self, index: c_int) {
        // SAFETY: as above.
        unsafe { ffi::luaL_checktype(self.0, index, ffi::LUA_TFUNCTION) }
    }
    /// Pushes `chunk:line: ` of the caller `level` levels up. *Raises.*
    pub fn push_where(self, level: c_int) {
        // SAFETY: callers reserve room.
        unsafe { ffi::luaL_where(self.0, level) }
    }
    /// Pops `count` strings or numbers and pushes them joined. *Raises.*
    pub fn concat(self, count: c_int) {
        // SAFETY: the values are on the stack and are strings.
        unsafe { ffi::lua_concat(self.0, count) }
    }
    /// Calls metamethod `name` of the value at `index`, pushing its result, if it has one. *Raises.*
    pub fn call_meta(self, index: c_int, name: &CStr) -> bool {
        // SAFETY: callers give a valid index and reserve room.
        unsafe { ffi::luaL_callmeta(self.0, index, name.as_ptr()) != 0 }
    }
    /// Where the function `level` levels up stands; its chunk's name is pushed. None, and nothing pushed: there is none.
    /// *Raises.*
    pub fn push_position(self, level: c_int) -> Option<Position> {
        // SAFETY: plain integers and pointers, for which zeros are values.
        let mut record: ffi::lua_Debug = unsafe { std::mem::zeroed() };
        // SAFETY: the record is ours.
        if unsafe { ffi::lua_getstack(self.0, level, &mut record) } == 0 {
            return None;
        }
        // SAFETY: the record was filled by `lua_getstack` just now.
        unsafe { ffi::lua_getinfo(self.0, c"nSl".as_ptr(), &mut record) };
        // SAFETY: Lua filled both with texts that live as long as the function.
        let (what, source) = unsafe { (CStr::from_ptr(record.what), CStr::from_ptr(record.source)) };
        self.push_bytes(source.to_bytes());
        Some(Position { is_native: what == c"C", line: record.currentline })
    }
    /// Calls `hook` every `instructions` instructions; 0: never.
    pub fn set_hook(self, hook: ffi::lua_Hook, instructions: c_int) {
        let (hook, mask) = if instructions > 0 { (Some(hook), ffi::LUA_MASKCOUNT) } else { (None, 0) };
        // SAFETY: a hook is a function that obeys the module header.
        unsafe { ffi::lua_sethook(self.0, hook, mask, instructions) };
    }
    /// Calls `hook` at every line.
    pub fn set_line_hook(self, hook: ffi::lua_Hook) {
        // SAFETY: as above.
        unsafe { ffi::lua_sethook(self.0, Some(hook), ffi::LUA_MASKLINE, 0) };
    }
    /// Does some of the collector's work, as much as `size` KiB of new garbage would cause. *Raises*: finalisers run.
    pub fn collect_some(self, size: c_int) {
        // SAFETY: the state lives.
        unsafe { ffi::lua_gc(self.0, ffi::LUA_GCSTEP, size) };
    }
    /// Frees all garbage. *Raises.*
    pub fn collect_all(self) {
        // SAFETY: the state lives.
        unsafe { ffi::lua_gc(self.0, ffi::LUA_GCCOLLECT, 0) };
    }
    /// Bytes that the interpreter has allocated.
    pub fn memory(self) -> usize {
        // SAFETY: the state lives.
        let kib = unsafe { ffi::lua_gc(self.0, ffi::LUA_GCCOUNT, 0) };
        // SAFETY: as above.
        let bytes = unsafe { ffi::lua_gc(self.0, ffi::LUA_GCCOUNTB, 0) };
        kib as usize * 1024 + bytes as usize
    }
}

/// Where all our functions begin.
unsafe extern "C-unwind" fn enter(raw: *mut ffi::lua_State) -> c_int {
    let state = State(raw);
    let native = state.pointer(ffi::lua_upvalueindex(2));
    // SAFETY: `push_native` is the only one that makes functions of this one, and puts a `Native` there.
    let native = unsafe { std::mem::transmute::<*mut c_void, Native>(native) };
    native(state)
}
