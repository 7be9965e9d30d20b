//! Functions for scripts that are written in Rust: how one is called from Lua, what it may do to Lua's stack, how it fails.
//!
//! ```text
//! script ─▶ enter ─┬─▶ Plain: the body             no memory of its own: it may raise and be left at any call
//!                  └─▶ Working: pcall ─▶ the body  its buffers (`Work`) belong to `enter`, which outlives an error
//! ```
//! Lua's errors are long jumps. One may leave any call that allocates, and must not cross a frame that still has something
//! to drop. So a body owns nothing: its buffers live in the frame below a protected call, its failures are plain bytes on
//! the stack. What a script sees is what a function of C gives it: an error is a string that begins with the place of the
//! call (`user_script:1: …`), which a closure of the binding could not raise.
//!
//! `Stack` is the safe side: every index is checked, and arguments stay where they are until the function returns, so that
//! their bytes may be borrowed while other values are pushed.

use mlua::ffi::{self, lua_State};
use mlua::{Lua, Table};
use std::ffi::{c_char, c_int, c_void};
use std::marker::PhantomData;

/// A function of a library. They stand in statics: Lua holds their addresses.
pub struct Native {
    pub name: &'static str,
    pub body: Body,
}

/// What runs. It returns how many values from the top of the stack are its results.
pub enum Body {
    Plain(fn(&mut Stack<'_>) -> Outcome),
    /// Costs a protected call, some 100 ns.
    Working(fn(&mut Stack<'_>, &mut Work) -> Outcome),
}

pub type Outcome = Result<usize, Failure>;

pub const fn plain(name: &'static str, body: fn(&mut Stack<'_>) -> Outcome) -> Native {
    Native { name, body: Body::Plain(body) }
}

pub const fn working(name: &'static str, body: fn(&mut Stack<'_>, &mut Work) -> Outcome) -> Native {
    Native { name, body: Body::Working(body) }
}

/// What a body may fill while it runs.
#[derive(Default)]
pub struct Work {
    pub text: Vec<u8>,
    /// One number a level of nesting, for whoever walks nested values: Rust's own stack does not grow with them.
    pub levels: Vec<u64>,
}

/// How a body fails.
#[derive(Clone, Copy)]
pub enum Failure {
    /// An error at the place of the call.
    Error(Text),
    /// An argument is not what it should be.
    Argument(i32, Text),
}

impl Failure {
    pub fn error(message: std::fmt::Arguments<'_>) -> Self {
        Failure::Error(Text::new(message))
    }
    pub fn argument(at: i32, message: std::fmt::Arguments<'_>) -> Self {
        Failure::Argument(at, Text::new(message))
    }
}

/// A message without memory of its own. Cut where it is full: only what a script itself passed can make it that long.
#[derive(Clone, Copy)]
pub struct Text {
    bytes: [u8; Text::CAP],
    len: u8,
}

impl Text {
    const CAP: usize = 112;

    fn new(message: std::fmt::Arguments<'_>) -> Self {
        let mut text = Text { bytes: [0; Text::CAP], len: 0 };
        let _ = std::fmt::Write::write_fmt(&mut text, message); // Our own `write_str` never fails.
        text
    }
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let start = self.len as usize;
        let len = part.len().min(Text::CAP - start);
        self.bytes[start..start + len].copy_from_slice(&part.as_bytes()[..len]);
        self.len += len as u8;
        Ok(())
    }
}

/// Types of Lua's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    None,
    Nil,
    Boolean,
    /// A pointer as such; `null` of a library is the zero one.
    Light,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl Type {
    /// As Lua's own messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Type::None => "no value",
            Type::Nil => "nil",
            Type::Boolean => "boolean",
            Type::Light | Type::Userdata => "userdata",
            Type::Number => "number",
            Type::String => "string",
            Type::Table => "table",
            Type::Function => "function",
            Type::Thread => "thread",
        }
    }
}

/// Lua's stack during one call: the arguments from 1 on, above them what the body pushes. Indexes count from the bottom, or
/// from the top if negative, as in Lua's own interface.
pub struct Stack<'call> {
    state: *mut lua_State,
    /// Arguments: never popped, never replaced.
    args: c_int,
    cell: *mut c_void,
    call: PhantomData<&'call ()>,
}

impl<'call> Stack<'call> {
    /// Number of arguments.
    pub fn args(&self) -> i32 {
        self.args
    }
    /// Number of values.
    pub fn top(&self) -> i32 {
        // SAFETY: `state` is the running call's, as for all calls below.
        unsafe { ffi::lua_gettop(self.state) }
    }
    /// An index that has a value, counted from the bottom.
    fn place(&self, at: i32) -> c_int {
        let top = self.top();
        let place = if at < 0 { top + 1 + at } else { at };
        assert!((1..=top).contains(&place), "no value at {at} of {top}");
        place
    }
    /// The type of a value; `None` behind the last argument.
    pub fn kind(&self, at: i32) -> Type {
        assert!(at != 0 && at >= -self.top(), "no place for a value: {at}");
        // SAFETY: an index above the top is acceptable if it is positive.
        match unsafe { ffi::lua_type(self.state, at) } {
            ffi::LUA_TNONE => Type::None,
            ffi::LUA_TNIL => Type::Nil,
            ffi::LUA_TBOOLEAN => Type::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Type::Light,
            ffi::LUA_TNUMBER => Type::Number,
            ffi::LUA_TSTRING => Type::String,
            ffi::LUA_TTABLE => Type::Table,
            ffi::LUA_TFUNCTION => Type::Function,
            ffi::LUA_TTHREAD => Type::Thread,
            _ => Type::Userdata,
        }
    }
    /// The value as a number; 0 if it is neither one nor a string that reads as one.
    pub fn number(&self, at: i32) -> f64 {
        if self.kind(at) == Type::None {
            return 0.0;
        }
        // SAFETY: there is a value; the conversion allocates nothing.
        unsafe { ffi::lua_tonumber(self.state, at) }
    }
    /// Is it a number, or a string that reads as one?
    pub fn is_number(&self, at: i32) -> bool {
        // SAFETY: `kind` has checked the index.
        self.kind(at) != Type::None && unsafe { ffi::lua_isnumber(self.state, at) != 0 }
    }
    /// Lua's truth of a value.
    pub fn boolean(&self, at: i32) -> bool {
        // SAFETY: `kind` has checked the index.
        self.kind(at) != Type::None && unsafe { ffi::lua_toboolean(self.state, at) != 0 }
    }
    /// Is it the zero pointer?
    pub fn is_null(&self, at: i32) -> bool {
        // SAFETY: there is a value, a pointer as such.
        self.kind(at) == Type::Light && unsafe { ffi::lua_touserdata(self.state, at).is_null() }
    }
    /// The bytes of a string, while nothing is popped.
    pub fn bytes(&self, at: i32) -> Option<&[u8]> {
        if self.kind(at) != Type::String {
            return None;
        }
        let mut len = 0;
        // SAFETY: a string, so nothing is converted.
        let start = unsafe { ffi::lua_tolstring(self.state, at, &mut len) };
        // SAFETY: Lua's string has `len` bytes; it lives as long as it is on the stack, which takes `&mut self` to change.
        Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
    }
    /// An argument that must be a number, or a string that reads as one.
    pub fn number_argument(&self, at: i32) -> Result<f64, Failure> {
        let number = self.number(at);
        if number == 0.0 && !self.is_number(at) { Err(self.wrong_type(at, "number")) } else { Ok(number) }
    }
    /// An argument that must be a string or a number; a number becomes its text.
    pub fn text_argument(&mut self, at: i32) -> Result<&'call [u8], Failure> {
        match self.kind(at) {
            Type::String => {}
            // SAFETY: an argument; it stays one.
            Type::Number if (1..=self.args).contains(&at) => unsafe {
                ffi::lua_tolstring(self.state, at, std::ptr::null_mut());
            },
            _ => return Err(self.wrong_type(at, "string")),
        }
        assert!((1..=self.args).contains(&at), "arguments stay, other values do not");
        let bytes = self.bytes(at).unwrap_or_default();
        // SAFETY: an argument stays on the stack to the end of the call: `pop` and `replace` refuse to touch it.
        Ok(unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) })
    }
    /// An argument as an integer, by C's conversion of a double.
    pub fn integer_argument(&self, at: i32) -> Result<i64, Failure> {
        self.number_argument(at).map(integer_of)
    }
    /// An argument that may be missing or nil.
    pub fn optional_integer(&self, at: i32, otherwise: i64) -> Result<i64, Failure> {
        match self.kind(at) {
            Type::None | Type::Nil => Ok(otherwise),
            _ => self.integer_argument(at),
        }
    }
    pub fn wrong_type(&self, at: i32, expected: &str) -> Failure {
        Failure::argument(at, format_args!("{expected} expected, got {}", self.kind(at).name()))
    }
    /// Room for `count` more values? Lua grants a call 8000.
    pub fn has_room(&mut self, count: i32) -> bool {
        // SAFETY: any count may be asked for.
        unsafe { ffi::lua_checkstack(self.state, count) != 0 }
    }
    /// Makes sure of room for a value. Nearly always that is one comparison.
    /// Errors: there is none ("stack overflow"); it leaves the body at once.
    fn make_room(&mut self) {
        // SAFETY: the text is a constant that ends with a zero.
        unsafe { ffi::luaL_checkstack_(self.state, 1, c"too many values".as_ptr()) }
    }
    pub fn push_nil(&mut self) {
        self.make_room();
        // SAFETY: there is room, as for all that push.
        unsafe { ffi::lua_pushnil(self.state) }
    }
    /// Pushes the zero pointer.
    pub fn push_null(&mut self) {
        self.make_room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushlightuserdata(self.state, std::ptr::null_mut()) }
    }
    pub fn push_boolean(&mut self, value: bool) {
        self.make_room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushboolean(self.state, value as c_int) }
    }
    pub fn push_number(&mut self, value: f64) {
        self.make_room();
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnumber(self.state, value) }
    }
    /// Errors: memory; it leaves the body at once.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.make_room();
        // SAFETY: there is room, and Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast(), bytes.len()) }
    }
    /// Errors: memory; it leaves the body at once.
    pub fn push_table(&mut self) {
        self.make_room();
        // SAFETY: there is room.
        unsafe { ffi::lua_createtable(self.state, 0, 0) }
    }
    /// Pushes another copy of a value.
    pub fn push_copy(&mut self, at: i32) {
        let place = self.place(at);
        self.make_room();
        // SAFETY: there is room, and a value at `place`.
        unsafe { ffi::lua_pushvalue(self.state, place) }
    }
    pub fn pop(&mut self, count: i32) {
        let top = self.top() - count;
        assert!(count >= 0 && top >= self.args, "arguments are not popped");
        // SAFETY: not above the top.
        unsafe { ffi::lua_settop(self.state, top) }
    }
    /// Moves the topmost value to `at`, over what is there.
    pub fn replace(&mut self, at: i32) {
        let place = self.place(at);
        assert!(place > self.args && place < self.top(), "arguments are not replaced");
        // SAFETY: both are values of this call.
        unsafe { ffi::lua_replace(self.state, place) }
    }
    /// The place of a table, for what goes on without metamethods.
    fn table(&self, at: i32) -> c_int {
        assert!(self.kind(at) == Type::Table, "a table is at {at}");
        self.place(at)
    }
    /// Pops a value, below it a key, and puts them into the table.
    /// Errors: a key that is nil or not a number, in Lua's words; memory. They leave the body at once.
    pub fn set(&mut self, table: i32) {
        let place = self.table(table);
        assert!(place < self.top() - 1 && self.args <= self.top() - 2, "key and value are above the table");
        // SAFETY: a table, and two values above it.
        unsafe { ffi::lua_rawset(self.state, place) }
    }
    /// Pops a value and puts it at `index` of the table.
    pub fn set_index(&mut self, table: i32, index: i32) {
        let place = self.table(table);
        assert!(place < self.top() && self.args < self.top(), "the value is above the table");
        // SAFETY: a table, and a value above it.
        unsafe { ffi::lua_rawseti_(self.state, place, index) }
    }
    /// Pushes the value at `index` of the table.
    pub fn get_index(&mut self, table: i32, index: i32) {
        let place = self.table(table);
        self.make_room();
        // SAFETY: a table, and room for a value.
        unsafe { ffi::lua_rawgeti_(self.state, place, index) }
    }
    /// Pops a key and pushes the next one with its value, in the order of `pairs`. False: that was the last, nothing pushed.
    /// The table must not change meanwhile.
    pub fn next(&mut self, table: i32) -> bool {
        let place = self.table(table);
        assert!(place < self.top() && self.args < self.top(), "the key is above the table");
        self.make_room();
        // SAFETY: a table, a key that came from it or nil, and room for one more value.
        unsafe { ffi::lua_next(self.state, place) != 0 }
    }
    /// The memory that the functions of one library table share.
    /// Panics: the library was made without, or with one of another size.
    pub fn cell<T: Cell>(&mut self) -> &mut T {
        assert!(!self.cell.is_null(), "this library has a cell");
        // SAFETY: the function's upvalue keeps the block alive during the call. `library` made it from a value of `T`, the
        // only implementation of `Cell` in its library; it has no other user while `self` is borrowed.
        unsafe { &mut *self.cell.cast::<T>() }
    }
    /// Pushes a new table of functions. Errors: memory; it leaves the body at once.
    pub fn push_library<T: Cell>(&mut self, rows: &'static [Native], cell: T) {
        assert!(self.has_room(6), "a new library is made by a shallow call");
        // SAFETY: there is room.
        unsafe { push_library(self.state, rows, Some(cell)) }
    }
}

/// State that the functions of one library table share: plain bytes, so that Lua's collector may drop it.
/// A library has exactly one such type.
pub trait Cell: Copy + 'static {}

/// No state.
#[derive(Clone, Copy)]
pub struct Stateless;
impl Cell for Stateless {}

/// A double as C converts it to a 64-bit integer on x86-64: what does not fit is the smallest one.
pub fn integer_of(number: f64) -> i64 {
    let fits = number >= i64::MIN as f64 && number < -(i64::MIN as f64);
    if fits { number as i64 } else { i64::MIN }
}

/// A table of functions. Errors: memory.
pub fn library<T: Cell>(lua: &Lua, rows: &'static [Native], cell: Option<T>) -> mlua::Result<Table> {
    // SAFETY: the closure runs protected, owns nothing, and leaves one value.
    unsafe { lua.exec_raw((), |state| push_library(state, rows, cell)) }
}

/// # Safety
/// `state` has room for 6 values. Nothing in the frames up to the next protected call needs dropping.
unsafe fn push_library<T: Cell>(state: *mut lua_State, rows: &'static [Native], cell: Option<T>) {
    const { assert!(align_of::<T>() <= 8, "Lua aligns its blocks for a double") };
    // SAFETY: room is the caller's promise, as for all that push here.
    unsafe { ffi::lua_createtable(state, 0, rows.len() as c_int) };
    match cell {
        Some(cell) => {
            // SAFETY: as above.
            let block = unsafe { ffi::lua_newuserdata(state, size_of::<T>()) };
            // SAFETY: a fresh block of that size.
            unsafe { block.cast::<T>().write(cell) };
        }
        // SAFETY: as above.
        None => unsafe { ffi::lua_pushnil(state) },
    }
    for row in rows {
        let name = row.name.as_bytes();
        // SAFETY: as above; Lua copies the name.
        unsafe { ffi::lua_pushlstring_(state, name.as_ptr().cast(), name.len()) };
        let address: *const Native = row;
        // SAFETY: as above. The row is a static.
        unsafe { ffi::lua_pushlightuserdata(state, address.cast_mut().cast()) };
        // SAFETY: the cell is two below.
        unsafe { ffi::lua_pushvalue(state, -3) };
        // SAFETY: as above.
        unsafe { ffi::lua_pushcclosure(state, run_protected, 0) };
        // SAFETY: three upvalues are there: `enter` reads them.
        unsafe { ffi::lua_pushcclosure(state, enter, 3) };
        // SAFETY: table, cell, name, function.
        unsafe { ffi::lua_rawset(state, -4) };
    }
    // SAFETY: the cell goes, the table stays.
    unsafe { ffi::lua_settop(state, -2) }
}

/// What `enter` hands to `run_protected`.
struct Passage {
    body: fn(&mut Stack<'_>, &mut Work) -> Outcome,
    cell: *mut c_void,
    work: Work,
    failure: Option<Failure>,
}

/// The function that scripts call. Upvalues: the row, the cell, `run_protected`.
unsafe extern "C-unwind" fn enter(state: *mut lua_State) -> c_int {
    // SAFETY: the first upvalue is the address of a static row (`push_library`).
    let row = unsafe { &*ffi::lua_touserdata(state, ffi::lua_upvalueindex(1)).cast::<Native>() };
    // SAFETY: the second upvalue is the cell's block, or nil, for which this is null.
    let cell = unsafe { ffi::lua_touserdata(state, ffi::lua_upvalueindex(2)) };
    let outcome = match row.body {
        Body::Plain(body) => {
            // SAFETY: of this call.
            let args = unsafe { ffi::lua_gettop(state) };
            body(&mut Stack { state, args, cell, call: PhantomData })
        }
        // SAFETY: of this call, which has Lua's 20 free places.
        Body::Working(body) => match unsafe { enter_protected(state, body, cell) } {
            Ok(outcome) => outcome,
            // SAFETY: the error is on top; `Work` has been dropped.
            Err(()) => unsafe { ffi::lua_error(state) },
        },
    };
    match outcome {
        Ok(results) => results as c_int,
        // SAFETY: nothing here needs dropping.
        Err(failure) => unsafe { raise(state, &failure) },
    }
}

/// Calls `run_protected` with all arguments; its results are then on top. `Err`: an error of Lua's is on top.
/// # Safety
/// Called by `enter` at its start.
unsafe fn enter_protected(
    state: *mut lua_State,
    body: fn(&mut Stack<'_>, &mut Work) -> Outcome,
    cell: *mut c_void,
) -> Result<Outcome, ()> {
    // SAFETY: three free places are enough for this and the next two.
    unsafe { ffi::lua_pushvalue(state, ffi::lua_upvalueindex(3)) };
    // SAFETY: there is a value on top.
    unsafe { ffi::lua_insert(state, 1) };
    let mut passage = Passage { body, cell, work: Work::default(), failure: None };
    // SAFETY: as above; `passage` outlives the call.
    unsafe { ffi::lua_pushlightuserdata(state, (&raw mut passage).cast()) };
    // SAFETY: the function is at 1, everything above it are its arguments. No error leaves a protected call.
    let status = unsafe { ffi::lua_pcall(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET, 0) };
    match (status, passage.failure) {
        (ffi::LUA_OK, Some(failure)) => Ok(Err(failure)),
        // SAFETY: the results are all that is on the stack.
        (ffi::LUA_OK, None) => Ok(Ok(unsafe { ffi::lua_gettop(state) } as usize)),
        _ => Err(()),
    }
}

/// Runs the body above a protected call. The last argument is the passage.
unsafe extern "C-unwind" fn run_protected(state: *mut lua_State) -> c_int {
    // SAFETY: `enter_protected` has pushed the address of its passage, which nobody else uses during the call.
    let passage = unsafe { &mut *ffi::lua_touserdata(state, -1).cast::<Passage>() };
    // SAFETY: the passage's address goes, the arguments stay.
    unsafe { ffi::lua_settop(state, -2) };
    // SAFETY: of this call.
    let args = unsafe { ffi::lua_gettop(state) };
    let mut stack = Stack { state, args, cell: passage.cell, call: PhantomData };
    match (passage.body)(&mut stack, &mut passage.work) {
        Ok(results) => results as c_int,
        Err(failure) => {
            passage.failure = Some(failure);
            0
        }
    }
}

/// Raises a failure at the place of the call.
/// # Safety
/// Called by `enter`; nothing in its frame needs dropping.
unsafe fn raise(state: *mut lua_State, failure: &Failure) -> ! {
    // SAFETY: always allowed; then there is room again.
    unsafe { ffi::lua_settop(state, 0) };
    let push = |text: &Text| {
        // SAFETY: there is room; Lua copies the bytes.
        unsafe { ffi::lua_pushlstring_(state, text.as_bytes().as_ptr().cast::<c_char>(), text.as_bytes().len()) }
    };
    match failure {
        Failure::Error(text) => {
            // SAFETY: level 1 is whoever called `enter`.
            unsafe { ffi::luaL_where(state, 1) };
            push(text);
            // SAFETY: two strings are on top.
            unsafe { ffi::lua_concat(state, 2) };
        }
        Failure::Argument(at, text) => {
            push(text);
            // SAFETY: a string is on top, and stays there while Lua reads it.
            let message = unsafe { ffi::lua_tolstring(state, -1, std::ptr::null_mut()) };
            // SAFETY: it ends with a zero, as all of Lua's strings. It does not return.
            unsafe { ffi::luaL_argerror(state, *at, message) };
        }
    }
    // SAFETY: the error is on top.
    unsafe { ffi::lua_error(state) }
}
