//! `Args`: one command as the parser cut it, still lying in the receive buffer.
//!
//! An argument is an offset and a length into the bytes of its command, so nothing is copied and nothing needs a lifetime
//! trick. A bulk that was received on its own (32 KiB and up) is a `Bytes` of its own beside the buffer.

#![forbid(unsafe_code)]

use bytes::Bytes;

/// One argument. `hash` is 0 until the look stage has hashed it as a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arg {
    pub offset: u32,
    /// Bytes; for an argument in `large` the offset is `LARGE` and this is its index there.
    pub len: u32,
    pub hash: u64,
}

/// The offset of an argument that stands in the list of large bulks.
pub const LARGE: u32 = u32::MAX;

/// What a command consists of: the bytes that it lies in, where its arguments are, and those that have bytes of their own.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub buf: &'a [u8],
    pub items: &'a [Arg],
    pub large: &'a [Bytes],
}

impl<'a> Parts<'a> {
    /// The bytes of argument `index`. Panics if there is none.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let arg = &self.items[index];
        if arg.offset == LARGE {
            return &self.large[arg.len as usize];
        }
        &self.buf[arg.offset as usize..][..arg.len as usize]
    }
}

/// A whole command: its name is argument 0. A reference, because it is handed through several functions in a register: a
/// structure of 48 bytes would be copied by wide loads right behind the narrow stores that wrote it, and wait for them.
#[derive(Clone, Copy)]
pub struct Args<'a>(&'a Parts<'a>);

impl<'a> Args<'a> {
    /// The command of these parts.
    #[inline]
    pub fn of(parts: &'a Parts<'a>) -> Self {
        Args(parts)
    }
    /// What it consists of.
    #[inline]
    pub fn parts(&self) -> &'a Parts<'a> {
        self.0
    }
    /// The parts of the command behind its first `count` words: COMMAND GETKEYS, and what else quotes a command.
    pub fn behind(self, count: usize) -> Parts<'a> {
        Parts { items: &self.0.items[count..], ..*self.0 }
    }
    /// Number of arguments, the command's name included (as Redis counts arity).
    #[inline]
    pub fn count(&self) -> usize {
        self.0.items.len()
    }
    /// The bytes of argument `index`. Panics if there is none: arity was checked by the gate.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.0.get(index)
    }
    /// Argument `index` as a shared buffer, if it was received as one.
    #[inline]
    pub fn shared(&self, index: usize) -> Option<&'a Bytes> {
        let arg = self.0.items[index];
        (arg.offset == LARGE).then(|| &self.0.large[arg.len as usize])
    }
    /// Was one of the arguments received as a buffer of its own?
    #[inline]
    pub fn has_large(&self) -> bool {
        !self.0.large.is_empty()
    }
    /// The hash that the look stage left, or 0.
    #[inline]
    pub fn hash(&self, index: usize) -> u64 {
        self.0.items[index].hash
    }
    /// Does argument `index` equal `word`, ASCII case aside?
    #[inline]
    pub fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }
    /// All arguments from `from` on.
    pub fn iter_from(self, from: usize) -> impl Iterator<Item = &'a [u8]> {
        (from..self.count()).map(move |index| self.get(index))
    }
}

/// A command with bytes of its own: one that must outlive the buffer that it came in.
#[derive(Debug)]
pub struct OwnedArgs {
    bytes: Box<[u8]>,
    items: Box<[Arg]>,
    large: Vec<Bytes>,
}

impl OwnedArgs {
    /// A copy of the command that begins at `buf`. Large arguments are shared.
    pub fn copied(buf: &[u8], items: &[Arg], large: &[Bytes]) -> Self {
        let ends = items.iter().filter(|item| item.offset != LARGE).map(|item| (item.offset + item.len) as usize);
        let len = ends.max().unwrap_or(0);
        OwnedArgs { bytes: buf[..len].into(), items: items.into(), large: large.to_vec() }
    }
    /// A copy of the command at hand.
    pub fn of(args: Args<'_>) -> Self {
        Self::copied(args.0.buf, args.0.items, args.0.large)
    }
    pub fn parts(&self) -> Parts<'_> {
        Parts { buf: &self.bytes, items: &self.items, large: &self.large }
    }
    /// Bytes of memory.
    pub fn len(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.items) + self.large.iter().map(Bytes::len).sum::<usize>()
    }
    /// Is it a command without any words?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
