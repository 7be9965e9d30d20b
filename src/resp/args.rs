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
    /// The command as it came, up to the end of its last argument, if that is an array of bulks with headers as one would
    /// write them, and all of it lies in one piece: what has to tell it to others copies it at once.
    #[inline]
    pub fn as_sent(&self) -> Option<&'a [u8]> {
        let Parts { buf, items, .. } = *self.0;
        // Where each argument begins tells how long the headers are. Whoever puts words together has none between them.
        let mut end = 1 + decimal_len(items.len());
        for item in items {
            // CRLF, `$`, the length, CRLF. `LARGE` is no offset.
            if item.offset as usize != end + 5 + decimal_len(item.len as usize) {
                return None;
            }
            end = item.offset as usize + item.len as usize;
        }
        buf.get(..end).filter(|sent| sent.first() == Some(&b'*'))
    }
    /// All arguments from `from` on.
    pub fn iter_from(self, from: usize) -> impl Iterator<Item = &'a [u8]> {
        (from..self.count()).map(move |index| self.get(index))
    }
}

/// Digits of a number.
#[inline]
fn decimal_len(number: usize) -> usize {
    match number {
        0..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        _ => number.ilog10() as usize + 1,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The command in `buf` whose arguments lie there.
    fn as_sent<'a>(buf: &'a [u8], places: &[(u32, u32)]) -> Option<&'a [u8]> {
        let items: Vec<Arg> = places.iter().map(|&(offset, len)| Arg { offset, len, hash: 0 }).collect();
        let parts = Parts { buf, items: &items, large: &[] };
        // The items are this function's, the bytes are not.
        Args::of(&parts).as_sent().map(|sent| &buf[..sent.len()])
    }

    #[test]
    fn what_came_as_one_would_write_it_is_there_as_it_was_sent() {
        let get = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n";
        assert_eq!(as_sent(get, &[(8, 3), (17, 1)]), Some(&get[..18]));
        let long = [&b"*2\r\n$4\r\nECHO\r\n$100\r\n"[..], &[b'x'; 100]].concat();
        assert_eq!(as_sent(&long, &[(8, 4), (20, 100)]), Some(&long[..]));
    }

    #[test]
    fn other_forms_are_not() {
        assert_eq!(as_sent(b"GET k\r\n", &[(0, 3), (4, 1)]), None, "a line");
        assert_eq!(as_sent(b"        GET      k", &[(8, 3), (17, 1)]), None, "a line with spaces");
        assert_eq!(as_sent(b"*02\r\n$3\r\nGET\r\n$1\r\nk\r\n", &[(9, 3), (18, 1)]), None, "a zero in front");
        assert_eq!(as_sent(b"*2\r\n$3\r\nGET\r\n$01\r\nk\r\n", &[(8, 3), (18, 1)]), None, "and there");
        assert_eq!(as_sent(b"*2\r\n$3\r\nGET\r\n", &[(8, 3), (LARGE, 0)]), None, "a bulk of its own");
        assert_eq!(as_sent(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", &[(17, 1)]), None, "part of a command");
    }
}
