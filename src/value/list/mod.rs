//! Lists: one chunk while they are small, a sequence of chunks beyond.
//!
//! ```text
//! Pack    one chunk                                    OBJECT ENCODING listpack
//! Chunks  [chunk][chunk][squeezed]…[chunk][chunk]      OBJECT ENCODING quicklist
//! ```
//! `element` says how an element lies in memory, `chunk` how elements lie together, `chunked` how chunks make a long list.
//! A pack becomes chunked before a push that would take it beyond `list-max-listpack-size`, and a list of one chunk becomes
//! a pack again when a removal has brought it to half of that, so that a list at the limit does not change to and fro.

#![forbid(unsafe_code)]

mod chunk;
mod chunked;
pub mod element;
#[cfg(all(test, not(loom)))]
mod list_fuzz;

use super::object::{Collection, ObjectType, look_into};
use chunk::Chunk;
use chunked::Chunked;
pub use chunked::Snapshot;
use element::{Backward, Element, Forward, offset_of};
use std::ops::ControlFlow;

/// One end of a list; also the direction of a walk that begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Front,
    Back,
}

impl End {
    pub fn other(self) -> End {
        match self {
            End::Front => End::Back,
            End::Back => End::Front,
        }
    }
}

/// How large a chunk may be, and what is compressed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    room: Room,
    /// Chunks at each end that stay as they are; 0: no chunk is compressed.
    depth: usize,
    /// Elements of so many bytes stand alone, if this is not 0 (DEBUG QUICKLIST-PACKED-THRESHOLD).
    alone_len: usize,
}

#[derive(Clone, Copy, Debug)]
enum Room {
    Len(usize),
    Count(usize),
}

/// Bytes of a chunk whose limit is a number of elements. Source: Redis's quicklist.
const SAFE_LEN: usize = 8192;
/// Bytes that Redis's listpack has beside its elements: they count against the limit.
const LISTPACK_OVERHEAD: usize = 7;
/// What Redis assumes that an element takes beside its text.
const ELEMENT_OVERHEAD: usize = 8;

impl Limits {
    /// Few elements to a chunk: for tests.
    #[cfg(any(test, fuzzing))]
    pub const SMALL: Limits = Limits { room: Room::Count(8), depth: 0, alone_len: 0 };
    /// From `list-max-listpack-size` (-1 to -5: 4 to 64 KiB; else a count) and `list-compress-depth`.
    pub fn new(size: i64, depth: i64) -> Self {
        let room = match size {
            0.. => Room::Count(size.max(1) as usize),
            _ => Room::Len(2048 << size.unsigned_abs().min(5)),
        };
        Limits { room, depth: depth.max(0) as usize, alone_len: 0 }
    }
    /// The same, with elements of `len` bytes and more alone; 0: as the size limit says.
    pub fn alone_from(self, len: usize) -> Self {
        Limits { alone_len: len, ..self }
    }
    /// Is this too much for one chunk? `len` as Redis counts it.
    fn exceeds(&self, len: usize, count: usize) -> bool {
        match self.room {
            Room::Len(max) => len > max,
            Room::Count(max) => len > SAFE_LEN || count > max,
        }
    }
    /// Does a value of `len` bytes stand alone?
    #[inline]
    fn is_alone(&self, len: usize) -> bool {
        match self.room {
            _ if self.alone_len > 0 => len >= self.alone_len,
            Room::Len(max) => len > max,
            Room::Count(_) => len > SAFE_LEN,
        }
    }
    /// May a value of `value_len` bytes join elements of `len` bytes?
    #[inline]
    fn admits(&self, len: usize, count: usize, value_len: usize) -> bool {
        !self.exceeds(LISTPACK_OVERHEAD + len + value_len + ELEMENT_OVERHEAD, count + 1)
    }
    /// Is a chunked list of this one chunk a pack again?
    fn is_half(&self, len: usize, count: usize) -> bool {
        match self.room {
            Room::Len(max) => LISTPACK_OVERHEAD + len <= max / 2,
            Room::Count(max) => count <= max / 2,
        }
    }
}

/// A list. An emptied one must be removed by its owner.
pub enum List {
    Pack(Chunk),
    Chunks(Box<Chunked>),
}

const _: () = assert!(size_of::<List>() <= 16, "an entry has room for so much");

impl Default for List {
    fn default() -> Self {
        List::Pack(Chunk::default())
    }
}

impl List {
    /// Number of elements.
    #[inline]
    pub fn count(&self) -> usize {
        match self {
            List::Pack(chunk) => chunk.count(),
            List::Chunks(chunks) => chunks.count(),
        }
    }
    /// Prepares for `count` more elements of `len` bytes together: chooses the encoding. Call it before a command's pushes,
    /// with all of them.
    #[inline]
    pub fn expect(&mut self, len: usize, count: usize, limits: &Limits) {
        if let List::Pack(chunk) = self
            && limits.exceeds(LISTPACK_OVERHEAD + chunk.bytes().len() + len, chunk.count() + count)
        {
            *self = List::Chunks(Box::new(Chunked::of(std::mem::take(chunk))));
        }
    }
    /// Adds an element at one end.
    /// Cost: nothing is allocated or moved, but once per many pushes.
    #[inline]
    pub fn push(&mut self, end: End, value: &[u8], limits: &Limits) {
        match self {
            List::Pack(chunk) => chunk.push(end, value),
            List::Chunks(chunks) => chunks.push(end, value, limits),
        }
    }
    /// Removes the element at one end and hands it to `take` before.
    #[inline]
    pub fn pop<R>(&mut self, end: End, limits: &Limits, take: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        match self {
            List::Pack(chunk) => chunk.pop(end, take),
            List::Chunks(chunks) => {
                let taken = chunks.pop(end, limits, take);
                self.relax(limits);
                taken
            }
        }
    }
    /// Removes `count` elements from one end; all of them if there are not so many.
    pub fn drop_from(&mut self, end: End, count: usize, limits: &Limits) {
        match self {
            List::Pack(chunk) => chunk.drop_from(end, count),
            List::Chunks(chunks) => chunks.drop_from(end, count, limits),
        }
        self.relax(limits);
    }
    /// Walks over at most `count` elements from `index` on, in the direction that leads away from `from`, until `visit`
    /// breaks off.
    #[inline]
    pub fn visit(&self, from: End, index: usize, count: usize, visit: impl FnMut(Element<'_>) -> ControlFlow<()>) {
        match self {
            List::Pack(chunk) => {
                let _ = walk(chunk.bytes(), chunk.count(), from, index, count, visit);
            }
            List::Chunks(chunks) => chunks.visit(from, index, count, visit),
        }
    }
    /// Is it chunked, and do `count` elements from `index` on take at least `len` bytes?
    pub fn has_len(&self, index: usize, count: usize, len: usize) -> bool {
        match self {
            List::Pack(_) => false,
            List::Chunks(chunks) => chunks.has_len(index, count, len),
        }
    }
    /// `count` elements from `index` on, as they are now, to be read while the list goes on. None: it is not chunked, or has
    /// not so many.
    /// Cost: a small allocation per chunk; whoever changes a chunk that is still to be read copies it.
    pub fn snapshot(&mut self, index: usize, count: usize) -> Option<Snapshot> {
        match self {
            List::Chunks(chunks) if count > 0 && index + count <= chunks.count() => Some(chunks.snapshot(index, count)),
            _ => None,
        }
    }
    /// Hands element `index` to `look`.
    /// Cost: chunks are skipped by their counts, elements of one chunk are stepped over; both from the nearer end.
    pub fn get<R>(&self, index: usize, look: impl FnOnce(Element<'_>) -> R) -> Option<R> {
        let (mut look, mut found) = (Some(look), None);
        self.visit(End::Front, index, 1, |element| {
            found = look.take().map(|look| look(element));
            ControlFlow::Break(())
        });
        found
    }
    /// Inserts before element `index`; `index` may be the count. Call `expect` before.
    pub fn insert(&mut self, index: usize, value: &[u8], limits: &Limits) {
        match self {
            List::Pack(chunk) => chunk.insert(index, value),
            List::Chunks(chunks) => chunks.insert(index, value, limits),
        }
    }
    /// Puts another value in the place of element `index`, which must be there. Call `expect` before.
    pub fn replace(&mut self, index: usize, value: &[u8], limits: &Limits) {
        match self {
            List::Pack(chunk) => chunk.replace(index, value),
            List::Chunks(chunks) => chunks.replace(index, value, limits),
        }
        self.relax(limits);
    }
    /// Removes the `max` elements nearest to `from` that equal `value`. Returns how many there were.
    pub fn remove_equal(&mut self, value: &[u8], from: End, max: usize, limits: &Limits) -> usize {
        let value = Element::of(value);
        let removed = match self {
            List::Pack(chunk) => remove_from_chunk(chunk, value, from, max),
            List::Chunks(chunks) => chunks.remove_equal(value, from, max, limits),
        };
        if removed > 0 {
            self.relax(limits);
        }
        removed
    }
    /// Chunks, and bytes of their elements before any squeezing; None: it is a pack.
    /// Cost: a walk over the chunks.
    pub fn extent(&self) -> Option<(usize, usize)> {
        match self {
            List::Pack(_) => None,
            List::Chunks(chunks) => Some((chunks.chunk_count(), chunks.unpacked_len())),
        }
    }
    /// Becomes a pack again, if it is small enough.
    #[inline]
    fn relax(&mut self, limits: &Limits) {
        if let List::Chunks(chunks) = self
            && let Some(chunk) = chunks.only_chunk()
            && limits.is_half(chunk.bytes().len(), chunk.count())
        {
            *self = List::Pack(std::mem::take(chunk));
        }
    }
}

impl Collection for List {
    const TYPE: ObjectType = ObjectType::List;

    fn is_empty(&self) -> bool {
        self.count() == 0
    }
    fn encoding(&self) -> &'static str {
        match self {
            List::Pack(_) => "listpack",
            List::Chunks(_) => "quicklist",
        }
    }
    fn memory(&self, samples: usize) -> usize {
        match self {
            List::Pack(chunk) => chunk.heap_len(),
            List::Chunks(chunks) => chunks.memory(samples),
        }
    }
    fn pieces(&self) -> usize {
        match self {
            List::Pack(_) => 1,
            List::Chunks(chunks) => chunks.chunk_count(),
        }
    }
    fn duplicate(&self) -> Self {
        match self {
            List::Pack(chunk) => List::Pack(chunk.duplicate()),
            List::Chunks(chunks) => List::Chunks(Box::new(chunks.duplicate())),
        }
    }
    fn look_ahead(&self, _element: u64, step: usize) -> bool {
        match (self, step) {
            (List::Pack(chunk), step) => chunk.look_ahead(step),
            (List::Chunks(chunks), 0) => look_into(&**chunks),
            (List::Chunks(chunks), step) => chunks.look_ahead(step - 1),
        }
    }
}

/// Walks over the elements `bytes`, `all` of them, as `List::visit` says; tells whether it was broken off.
#[inline]
fn walk(
    bytes: &[u8],
    all: usize,
    from: End,
    index: usize,
    count: usize,
    mut visit: impl FnMut(Element<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if index >= all {
        return ControlFlow::Continue(());
    }
    match from {
        End::Front => Forward(&bytes[offset_of(bytes, all, index)..]).take(count).try_for_each(&mut visit),
        End::Back => Backward(&bytes[..offset_of(bytes, all, index + 1)]).take(count).try_for_each(&mut visit),
    }
}

/// `List::remove_equal` in one chunk.
fn remove_from_chunk(chunk: &mut Chunk, value: Element<'_>, from: End, max: usize) -> usize {
    let skip = match from {
        End::Front => 0,
        End::Back => Chunk::count_equal(chunk.bytes(), value).saturating_sub(max),
    };
    chunk.remove_equal(value, skip, max)
}
