//! `Run`: what one run of a script has, outside Lua, so that an error that jumps over frames loses nothing.

use super::builtins::Next;
use super::host::{Host, LogLevel};
use super::register::Loading;
use super::state::State;
use crate::resp::args::{Arg, Args, LARGE, Parts};
use crate::resp::reply::{Proto, Reply};
use bytes::Bytes;
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;

/// An argument from this size on becomes a buffer of its own, which a value can share.
const LARGE_LEN: usize = 32 << 10;
/// Buffers for arguments and replies that a script has grown beyond this are given back when it ends.
const KEPT_LEN: usize = 64 << 10;

/// What the C functions of an interpreter find through the pointer that they were made with.
pub struct Shared {
    /// The run under way, or null.
    current: Cell<*mut Run<'static>>,
    pub random: Cell<u64>,
    /// The library that is being loaded.
    pub loading: Loading,
    pub next: Cell<Next>,
}

impl Default for Shared {
    fn default() -> Self {
        // What `lrand48` starts from.
        Shared {
            current: Cell::new(null_mut()),
            random: Cell::new(0x1234_abcd_330e),
            next: Cell::default(),
            loading: Loading::default(),
        }
    }
}

impl Shared {
    /// A run begins; `end` must be called before it goes away.
    pub fn begin(&self, run: &mut Run<'_>) {
        self.current.set((&raw mut *run).cast());
    }
    pub fn end(&self) {
        self.current.set(null_mut());
    }
    /// The run under way.
    #[inline]
    #[allow(clippy::mut_from_ref)] // It is not a part of `self`; see below.
    pub fn run(&self) -> Option<&mut Run<'static>> {
        // SAFETY: between `begin` and `end` the run lives, and only the C functions of the interpreter that it waits for use
        // it, one at a time: none of them holds this reference while it calls back into Lua.
        unsafe { self.current.get().as_mut() }
    }
    /// What functions are made with.
    pub fn address(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }
    /// What the running C function belongs to.
    #[inline]
    pub fn of<'a>(state: State) -> &'a Shared {
        // SAFETY: `Interp` makes all functions that ask for it with a pointer to its own, which outlives them.
        unsafe { &*state.own_pointer().cast::<Shared>() }
    }
}

/// Room that is used again from run to run.
#[derive(Default)]
pub struct Buffers {
    bytes: Vec<u8>,
    items: Vec<Arg>,
    large: Vec<Bytes>,
    /// What the last command replied.
    pub reply: Reply,
}

impl Buffers {
    pub fn clear_args(&mut self) {
        self.bytes.clear();
        self.items.clear();
        self.large.clear();
    }
    pub fn push_arg(&mut self, arg: &[u8]) {
        if arg.len() >= LARGE_LEN {
            self.items.push(Arg { offset: LARGE, len: self.large.len() as u32, hash: 0 });
            return self.large.push(Bytes::copy_from_slice(arg));
        }
        self.items.push(Arg { offset: self.bytes.len() as u32, len: arg.len() as u32, hash: 0 });
        self.bytes.extend_from_slice(arg);
    }
    /// One more word of a line; a space in front if it is not the first.
    pub fn push_word(&mut self, word: &[u8], is_next: bool) {
        self.bytes.extend_from_slice(if is_next { b" " } else { b"" });
        self.bytes.extend_from_slice(word);
    }
    /// The end of a run: a script's large buffers are not kept.
    pub fn tidy(&mut self) {
        self.large.clear();
        let reply = &mut self.reply.out;
        reply.refs.clear();
        reply.buf.clear();
        reply.buf.shrink_to(KEPT_LEN);
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_LEN);
    }
}

/// See the module header.
pub struct Run<'a> {
    pub host: &'a mut dyn Host,
    pub buffers: &'a mut Buffers,
    /// Where the script's result goes.
    pub out: &'a mut Reply,
    /// The script's name: its SHA, or the function's name.
    pub name: &'a str,
}

impl Run<'_> {
    /// Runs the command whose arguments were pushed. Its reply is in `buffers.reply`, and all in its `buf`.
    pub fn call(&mut self) {
        let Buffers { bytes, items, large, reply } = &mut *self.buffers;
        reply.out.buf.clear();
        reply.out.refs.clear();
        self.host.call(Args::of(&Parts { buf: bytes, items, large }), reply);
        if !reply.out.refs.is_empty() {
            flatten(reply);
        }
    }
    /// May the user run the command whose arguments were pushed?
    pub fn may_run(&mut self) -> Option<bool> {
        let Buffers { bytes, items, large, .. } = &mut *self.buffers;
        self.host.may_run(Args::of(&Parts { buf: bytes, items, large }))
    }
    /// Logs the line that was pushed word by word.
    pub fn log(&mut self, level: LogLevel) {
        self.host.log(level, &self.buffers.bytes);
    }
    /// The protocol that commands answer in.
    pub fn proto(&self) -> Proto {
        self.buffers.reply.proto
    }
}

/// Puts what the reply only refers to into its buffer.
fn flatten(reply: &mut Reply) {
    let output = reply.take();
    let mut from = 0;
    for (at, bytes) in output.refs {
        reply.raw(&output.buf[from..at]);
        reply.raw(&bytes);
        from = at;
    }
    reply.raw(&output.buf[from..]);
}
