//! An entry: one allocation that holds a key, its deadline and its value.
//!
//! ```text
//! +0   live   u32   recency20 | era12                          mutable, relaxed
//! +4   fixed  u32   payload2 | kind4 | HAS_TTL | (1) | klen8 | vlen16         never changes
//! +8   ttl    u64   unix ms << 1 | FROZEN                      only with HAS_TTL
//! then cell   u64   value << 1 | FROZEN                        payload Cell
//!      or blob      bytes::Bytes                               payload Blob
//!      or object    value::object::Object, 24 bytes            payload Object
//! then klen   u64   only when klen8 = 255
//! then the key's bytes, and for payload Inline the value's bytes
//! ```
//!
//! 8 bytes of header, so that a 16-byte key with a 32-byte value takes 56 bytes, and 64 with a deadline. All fields but
//! `live`, `ttl` and `cell` are immutable once the entry is published, so key and value are read plainly after the Acquire
//! load of the slot word.
//!
//! **Freeze.** `ttl` and `cell` are changed in place by CAS while their FROZEN bit is clear. Whoever wants to unlink or copy
//! an entry freezes both first; what it then reads is final. Rules: FROZEN is never cleared; a frozen entry that is still
//! in its slot is an ordinary entry with constant value, and whoever wants to change it replaces it, waiting for nobody.
//! In place a deadline only grows; a counter goes up and down. An object is changed in place under its own lock, and
//! unlinked by whoever holds that lock.
//! Proof: loom-tests/tests/freeze.rs.

use super::recycle;
use crate::base::clock::WallMs;
use crate::base::heap::{self, Crowd};
use crate::base::mutation::{Mutation, mutated, unless};
use crate::base::plain::Plain;
use crate::base::prefetch::prefetch_lines;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::value::object::{Object, Value};
use bytes::Bytes;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Values of this many bytes and more are kept as `Bytes`, so that a reply can outlive the turn without a copy.
pub const BLOB_LEN_MIN: usize = 16 << 10;
/// Largest magnitude of a counter cell: one bit of the word is FROZEN.
pub const CELL_MAX: i64 = (1 << 62) - 1;
/// Smallest value of a counter cell.
pub const CELL_MIN: i64 = -(1 << 62);

const FROZEN: u64 = 1;
const HAS_TTL: u32 = 1 << 25;
const KLEN_EXTENDED: usize = 255;

const PAYLOAD_INLINE: u32 = 0;
const PAYLOAD_CELL: u32 = 1;
const PAYLOAD_BLOB: u32 = 2;
const PAYLOAD_OBJECT: u32 = 3;

const _: () = assert!(BLOB_LEN_MIN <= u16::MAX as usize, "inline lengths fit 16 bits");

/// Bits of an entry's era: which snapshot has taken it last (`keyspace::handover`).
const ERA_BITS: u32 = 12;
const ERA_MASK: u32 = (1 << ERA_BITS) - 1;

/// The present era: new entries are born in it. Of the process, not of a keyspace: a passer-by that counts it up does no harm.
#[cfg(not(loom))]
static ERA: AtomicU32 = AtomicU32::new(0);
// The threads of a model run on one OS thread, and the era changes before any of them.
#[cfg(loom)]
thread_local!(static ERA: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });

/// The present era. Order: Relaxed: it changes inside a safepoint.
#[inline]
pub fn era() -> u32 {
    #[cfg(not(loom))]
    return ERA.load(Ordering::Relaxed);
    #[cfg(loom)]
    return ERA.get();
}

/// After so many eras they come back: until then every entry has to be of the present one.
pub const ERA_COUNT: u32 = ERA_MASK;

/// A new era begins; the caller is inside a safepoint. 0 is nobody's: what was made before the first snapshot.
pub fn begin_era() -> u32 {
    let next = era() % ERA_MASK + 1;
    #[cfg(not(loom))]
    ERA.store(next, Ordering::Relaxed);
    #[cfg(loom)]
    ERA.set(next);
    next
}

/// The fixed front of every entry.
#[repr(C)]
pub struct Header {
    live: AtomicU32,
    fixed: u32,
    /// Key, value and `fixed`, for the models. No bytes in the server.
    plain: Plain,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() == 8 && align_of::<AtomicU64>() == 8);

/// What the upper layers put in the 4 opaque bits: type and encoding of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

/// A value to be stored.
pub enum Source<'a> {
    /// Bytes that are copied behind the key; shorter than `BLOB_LEN_MIN`.
    Inline(&'a [u8]),
    /// The same in two pieces (APPEND).
    Joined(&'a [u8], &'a [u8]),
    /// A counter, within `CELL_MIN..=CELL_MAX`.
    Cell(i64),
    /// A large value, shared by reference.
    Blob(Bytes),
    /// A collection.
    Object(Value),
    /// A collection that its maker puts there after the entry was published; it is born locked (`Table::insert_held`).
    Vacant,
    /// The collection of another entry, which it gets when it takes that one's place (`Table::update`, `transact`).
    Heir,
}

/// A value as an entry holds it.
#[derive(Clone, Copy)]
pub enum Payload<'g> {
    Inline(&'g [u8]),
    /// The counter at the moment of the read.
    Cell(i64),
    Blob(&'g Bytes),
    Object(&'g Object),
}

/// Byte offsets of an entry's parts; depend on `fixed` alone.
struct Shape {
    payload: usize,
    key: usize,
}

impl Header {
    const SIZE: usize = size_of::<Header>();

    #[inline]
    fn payload_kind(&self) -> u32 {
        self.fixed >> 30
    }
    #[inline]
    fn shape(&self) -> Shape {
        let payload = Self::SIZE + if self.fixed & HAS_TTL != 0 { size_of::<AtomicU64>() } else { 0 };
        let after = payload
            + match self.payload_kind() {
                PAYLOAD_INLINE => 0,
                PAYLOAD_CELL => size_of::<AtomicU64>(),
                PAYLOAD_BLOB => size_of::<Bytes>(),
                _ => size_of::<Object>(),
            };
        let extended = if self.fixed >> 16 & 255 == KLEN_EXTENDED as u32 { 8 } else { 0 };
        Shape { payload, key: after + extended }
    }
    #[inline]
    fn inline_len(&self) -> usize {
        (self.fixed & 0xffff) as usize
    }
}

/// A published entry that a guard keeps alive.
///
/// # Safety
/// Whoever makes one (`from_raw`) promises that the pointer came from `NewEntry::into_raw`, was loaded with Acquire from a
/// slot, and that the entry is not freed before `'g` ends. All methods rely on this one contract.
#[derive(Clone, Copy)]
pub struct Entry<'g> {
    header: NonNull<Header>,
    life: PhantomData<&'g Header>,
}

impl<'g> Entry<'g> {
    /// # Safety
    /// See the type.
    #[inline]
    pub unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Entry { header, life: PhantomData }
    }
    #[inline]
    pub fn as_ptr(self) -> *mut Header {
        self.header.as_ptr()
    }
    /// It is going to be read: asks for its first lines.
    #[inline]
    pub fn prefetch(self) {
        prefetch_lines(self.header.as_ptr(), 2);
    }
    #[inline]
    fn header(self) -> &'g Header {
        // SAFETY: the type's contract: alive for 'g.
        unsafe { self.header.as_ref() }
    }
    #[inline]
    fn at<T>(self, offset: usize) -> *const T {
        // SAFETY: `offset` comes from `shape`, so it lies within the allocation.
        unsafe { self.header.as_ptr().cast::<u8>().add(offset).cast() }
    }
    #[inline]
    fn slice(self, offset: usize, len: usize) -> &'g [u8] {
        // SAFETY: key and inline value are initialised, immutable, and within the allocation for 'g.
        unsafe { std::slice::from_raw_parts(self.at(offset), len) }
    }
    #[inline]
    fn ttl_word(self) -> Option<&'g AtomicU64> {
        // SAFETY: with HAS_TTL the word stands right behind the header, 8-aligned and initialised.
        (self.header().fixed & HAS_TTL != 0).then(|| unsafe { &*self.at(Header::SIZE) })
    }
    #[inline]
    fn cell_word(self) -> Option<&'g AtomicU64> {
        let header = self.header();
        // SAFETY: payload Cell means an initialised, 8-aligned word at the payload offset.
        (header.payload_kind() == PAYLOAD_CELL).then(|| unsafe { &*self.at(header.shape().payload) })
    }

    /// The key's bytes.
    #[inline]
    pub fn key(self) -> &'g [u8] {
        self.header().plain.read();
        self.slice(self.header().shape().key, self.key_len())
    }
    #[inline]
    fn key_len(self) -> usize {
        let header = self.header();
        let len = (header.fixed >> 16 & 255) as usize;
        if len == KLEN_EXTENDED {
            // SAFETY: an extended length stands in the 8 bytes before the key.
            return unsafe { self.at::<u64>(header.shape().key - 8).read() } as usize;
        }
        len
    }
    /// The 4 opaque bits.
    #[inline]
    pub fn kind(self) -> Kind {
        Kind((self.header().fixed >> 26 & 15) as u8)
    }
    /// The value. Order: a cell is read with Acquire; it pairs with the AcqRel CAS of `cell_add`.
    #[inline]
    pub fn payload(self) -> Payload<'g> {
        let header = self.header();
        header.plain.read();
        match header.payload_kind() {
            PAYLOAD_INLINE => {
                let key = self.key();
                Payload::Inline(self.slice(header.shape().key + key.len(), header.inline_len()))
            }
            PAYLOAD_CELL => match self.cell_word() {
                Some(word) => Payload::Cell(word.load(Ordering::Acquire) as i64 >> 1),
                None => unreachable!("payload Cell has a cell"),
            },
            // SAFETY: payload Blob means an initialised `Bytes` at the payload offset.
            PAYLOAD_BLOB => Payload::Blob(unsafe { &*self.at::<Bytes>(header.shape().payload) }),
            // SAFETY: payload Object means an initialised `Object` at the payload offset.
            _ => Payload::Object(unsafe { &*self.at::<Object>(header.shape().payload) }),
        }
    }
    /// The collection and its lock.
    #[inline]
    pub fn object(self) -> Option<&'g Object> {
        if self.header().payload_kind() != PAYLOAD_OBJECT {
            return None;
        }
        match self.payload() {
            Payload::Object(object) => Some(object),
            _ => None,
        }
    }
    /// The deadline, if there is one.
    #[inline]
    pub fn expires_at(self) -> Option<WallMs> {
        self.ttl_word().map(|word| WallMs(word.load(Ordering::Acquire) >> 1))
    }
    /// Does the entry have a deadline field (which may be changed in place)?
    #[inline]
    pub fn has_deadline(self) -> bool {
        self.header().fixed & HAS_TTL != 0
    }
    /// Is anything here changeable in place, so that an unlinker must freeze first?
    #[inline]
    pub fn has_cells(self) -> bool {
        self.has_deadline() || self.header().payload_kind() == PAYLOAD_CELL
    }
    /// True once `freeze` has run: values read from now on are final.
    pub fn is_frozen(self) -> bool {
        let frozen = |word: Option<&AtomicU64>| word.is_none_or(|w| w.load(Ordering::Acquire) & FROZEN != 0);
        frozen(self.ttl_word()) && frozen(self.cell_word())
    }
    /// Makes deadline and counter final and returns them. Idempotent; any thread may do it.
    /// Order: AcqRel: what an in-place CAS published before is seen, and a later CAS fails.
    pub fn freeze(self) -> Cells {
        if mutated(Mutation::FreezeOnlyReads) {
            return self.cells();
        }
        let freeze = |word: Option<&AtomicU64>| word.map_or(0, |w| w.fetch_or(FROZEN, Ordering::AcqRel) >> 1);
        Cells { ttl: freeze(self.ttl_word()), counter: freeze(self.cell_word()) }
    }
    /// Deadline and counter as they are now.
    #[inline]
    pub fn cells(self) -> Cells {
        let read = |word: Option<&AtomicU64>| word.map_or(0, |w| w.load(Ordering::Acquire) >> 1); // As in `payload`.
        Cells { ttl: read(self.ttl_word()), counter: read(self.cell_word()) }
    }
    /// Is the value a counter cell?
    #[inline]
    pub fn is_counter(self) -> bool {
        self.header().payload_kind() == PAYLOAD_CELL
    }
    /// Adds `delta` to the counter in place.
    ///
    /// Errors: `NotInPlace` if the entry is no counter or is frozen, or the result leaves the cell's range (the caller
    /// replaces the entry); `Overflow` if the sum leaves i64.
    pub fn cell_add(self, delta: i64) -> Result<i64, CellError> {
        let word = self.cell_word().ok_or(CellError::NotInPlace)?;
        let mut seen = word.load(Ordering::Acquire);
        loop {
            if seen & FROZEN != 0 {
                return Err(CellError::NotInPlace);
            }
            let sum = (seen as i64 >> 1).checked_add(delta).ok_or(CellError::Overflow)?;
            if !(CELL_MIN..=CELL_MAX).contains(&sum) {
                return Err(CellError::NotInPlace);
            }
            // The linearization point of INCR. AcqRel: pairs with the loads in `payload` and `freeze`.
            match word.compare_exchange_weak(seen, (sum << 1) as u64, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(sum),
                Err(now) => seen = now,
            }
            crate::base::sync::spin();
        }
    }
    /// Puts the deadline off, in place, if it still is `seen`. False if it changed, is frozen, there is none, or `to` is
    /// earlier: a deadline that only grows in place never comes back to a value, so two equal reads mean that nothing happened
    /// between them (`Table::update` and `snapshot` rely on it).
    pub fn move_deadline(self, seen: WallMs, to: WallMs) -> bool {
        if to < seen && !mutated(Mutation::DeadlineShortened) {
            return false;
        }
        // AcqRel: pairs with `expires_at` and `freeze`.
        self.ttl_word().is_some_and(|word| {
            word.compare_exchange(seen.0 << 1, to.0 << 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
        })
    }
    /// The recency field (20 bits, opaque here). Relaxed: a hint for eviction and OBJECT IDLETIME/FREQ.
    #[inline]
    pub fn recency(self) -> u32 {
        self.header().live.load(Ordering::Relaxed) >> ERA_BITS
    }
    /// Sets the recency field, writing only if it changes, so that a hot key's line stays shared.
    #[inline]
    pub fn set_recency(self, recency: u32) {
        let live = &self.header().live;
        let seen = live.load(Ordering::Relaxed);
        if seen >> ERA_BITS != recency {
            let next = recency << ERA_BITS | seen & ((1 << ERA_BITS) - 1);
            // A lost race loses one hint.
            let _ = live.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
    /// The era in which it was made, or taken by a snapshot.
    #[inline]
    pub fn era(self) -> u32 {
        // Acquire: pairs with `claim`: whoever sees that it was taken goes on behind that.
        self.header().live.load(Ordering::Acquire) & ERA_MASK
    }
    /// Takes the entry for an era. False: somebody else has.
    pub fn claim(self, era: u32) -> bool {
        let live = &self.header().live;
        let mut seen = live.load(Ordering::Relaxed);
        loop {
            if seen & ERA_MASK == era {
                return false;
            }
            // AcqRel: what the claimer has read of the entry, it has read before; what others change comes behind.
            match live.compare_exchange_weak(seen, seen & !ERA_MASK | era, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }
    /// Bytes of the allocation (a blob's own bytes not counted).
    pub fn alloc_len(self) -> usize {
        let header = self.header();
        header.shape().key + self.key_len() + header.inline_len()
    }
    /// The allocation's bytes if it can be freed without looking into it: nothing to be dropped.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn recyclable_len(self) -> Option<usize> {
        (self.header().payload_kind() < PAYLOAD_BLOB).then(|| self.alloc_len())
    }
    /// How full the pages are in which it lies; None: it is not to be moved, as it is more than bytes or a counter, or lies where
    /// its copy would be.
    /// Cost: see `heap::crowd_around`.
    pub fn crowd(self) -> Option<Crowd> {
        let is_plain = self.header().payload_kind() < PAYLOAD_BLOB;
        is_plain.then(|| heap::crowd_around(self.header.cast())).flatten()
    }
    /// Bytes that unlinking this entry gives back: the allocation and, for a blob, its bytes. What a collection has on the
    /// heap is not counted: only its lock's holder may look.
    pub fn memory(self) -> usize {
        self.alloc_len() + if let Payload::Blob(blob) = self.payload() { blob.len() } else { 0 }
    }
}

/// The changeable parts of an entry, for comparing two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    ttl: u64,
    counter: u64,
}

/// Why a counter could not be changed in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellError {
    NotInPlace,
    Overflow,
}

/// An entry that nobody else has seen: owned, dropped if not published.
pub struct NewEntry(NonNull<Header>);

// SAFETY: an unpublished entry is plain owned memory (`Bytes` is Send).
unsafe impl Send for NewEntry {}

impl NewEntry {
    /// Allocates an entry. `recency` is the 20-bit starting value.
    pub fn new(kind: Kind, key: &[u8], expires_at: Option<WallMs>, recency: u32, source: Source<'_>) -> Self {
        Self::new_in(recycle::take, kind, key, expires_at, recency, source)
    }
    /// A copy of an entry whose block is known to be the allocator's (`Entry::crowd`), where the allocator's pages are to be
    /// filled next. None: it is more than bytes or a counter.
    pub fn moved(old: Entry<'_>) -> Option<Self> {
        let source = match old.payload() {
            Payload::Inline(bytes) => Source::Inline(bytes),
            Payload::Cell(value) => Source::Cell(value),
            Payload::Blob(_) | Payload::Object(_) => return None,
        };
        let (at, recency) = (old.expires_at(), old.recency());
        Some(Self::new_in(recycle::take_crowded, old.kind(), old.key(), at, recency, source))
    }
    #[inline]
    fn new_in(
        take: impl FnOnce(usize) -> *mut u8,
        kind: Kind,
        key: &[u8],
        expires_at: Option<WallMs>,
        recency: u32,
        source: Source<'_>,
    ) -> Self {
        let (payload, inline_len) = match &source {
            Source::Inline(bytes) => (PAYLOAD_INLINE, bytes.len()),
            Source::Joined(a, b) => (PAYLOAD_INLINE, a.len() + b.len()),
            Source::Cell(_) => (PAYLOAD_CELL, 0),
            Source::Blob(_) => (PAYLOAD_BLOB, 0),
            Source::Object(_) | Source::Vacant | Source::Heir => (PAYLOAD_OBJECT, 0),
        };
        let entry = Self::allocate(take, (kind, payload), key, expires_at, recency, inline_len);
        let view = entry.view();
        let at = view.header().shape();
        match source {
            // SAFETY: `allocate` made room for exactly these parts; nobody else sees the block yet.
            Source::Inline(bytes) => unsafe { entry.write(at.key + key.len(), bytes) },
            Source::Joined(a, b) => {
                // SAFETY: as above, first half.
                unsafe { entry.write(at.key + key.len(), a) };
                // SAFETY: as above, second half.
                unsafe { entry.write(at.key + key.len() + a.len(), b) }
            }
            Source::Cell(value) => {
                debug_assert!((CELL_MIN..=CELL_MAX).contains(&value));
                let word = view.at::<AtomicU64>(at.payload).cast_mut();
                // SAFETY: 8-aligned room for the cell.
                unsafe { word.write(AtomicU64::new((value << 1) as u64)) }
            }
            Source::Blob(blob) => {
                let place = view.at::<Bytes>(at.payload).cast_mut();
                // SAFETY: 8-aligned room for the handle.
                unsafe { place.write(blob) }
            }
            // SAFETY: `allocate` made the room for an object.
            Source::Object(value) => unsafe { entry.write_object(Object::new(value)) },
            // SAFETY: as above.
            Source::Vacant => unsafe { entry.write_object(Object::vacant()) },
            // SAFETY: as above.
            Source::Heir => unsafe { entry.write_object(Object::heir()) },
        }
        entry
    }
    /// # Safety
    /// The entry was allocated with payload Object, and has none yet.
    unsafe fn write_object(&self, object: Object) {
        let place = self.view().at::<Object>(self.view().header().shape().payload).cast_mut();
        // SAFETY: 8-aligned room for it, by the caller's promise; nobody else sees the block yet.
        unsafe { place.write(object) }
    }
    /// Is it to get another entry's collection?
    #[inline]
    pub fn is_heir(&self) -> bool {
        self.view().object().is_some_and(Object::is_heir)
    }
    /// Allocates an inline entry of `len` value bytes, all zero, and lets `fill` write them.
    pub fn filled(
        kind: Kind,
        key: &[u8],
        expires_at: Option<WallMs>,
        recency: u32,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Self {
        let entry = Self::allocate(recycle::take, (kind, PAYLOAD_INLINE), key, expires_at, recency, len);
        let start = entry.view().at::<u8>(entry.view().header().shape().key + key.len()).cast_mut();
        // SAFETY: `len` bytes of room, owned here alone.
        unsafe { start.write_bytes(0, len) };
        // SAFETY: initialised one line above; the borrow ends with `fill`.
        fill(unsafe { std::slice::from_raw_parts_mut(start, len) });
        entry
    }

    fn allocate(
        take: impl FnOnce(usize) -> *mut u8,
        (kind, payload): (Kind, u32),
        key: &[u8],
        expires_at: Option<WallMs>,
        recency: u32,
        inline_len: usize,
    ) -> Self {
        assert!(inline_len <= u16::MAX as usize, "larger values are blobs");
        let klen = key.len().min(KLEN_EXTENDED) as u32;
        let ttl = if expires_at.is_some() { HAS_TTL } else { 0 };
        let fixed = payload << 30 | (kind.0 as u32) << 26 | ttl | klen << 16 | inline_len as u32;
        let header = Header {
            live: AtomicU32::new(recency << ERA_BITS | unless(Mutation::BornBefore, era(), 0)),
            fixed,
            plain: Plain::new(),
        };
        let at = header.shape();
        let len = at.key + key.len() + inline_len; // Never 0: there is a header.
        let Some(block) = NonNull::new(take(len).cast::<Header>()) else {
            unreachable!("a failed allocation does not return")
        };
        // SAFETY: fresh, 8-aligned, large enough.
        unsafe { block.write(header) };
        let entry = NewEntry(block);
        if let Some(WallMs(ms)) = expires_at {
            let word = entry.view().at::<AtomicU64>(Header::SIZE).cast_mut();
            // SAFETY: HAS_TTL made room for it.
            unsafe { word.write(AtomicU64::new(ms << 1)) };
        }
        if klen as usize == KLEN_EXTENDED {
            let word = entry.view().at::<u64>(at.key - 8).cast_mut();
            // SAFETY: klen 255 made room for it.
            unsafe { word.write(key.len() as u64) };
        }
        // SAFETY: room for the key stands at `at.key`.
        unsafe { entry.write(at.key, key) };
        entry
    }
    /// # Safety
    /// `bytes.len()` bytes of room at `offset`.
    #[inline]
    unsafe fn write(&self, offset: usize, bytes: &[u8]) {
        // SAFETY: the caller's promise; source and destination cannot overlap, the block is ours alone.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.view().at::<u8>(offset).cast_mut(), bytes.len()) }
    }
    /// A look at the entry while it is still private.
    #[inline]
    pub fn view(&self) -> Entry<'_> {
        // SAFETY: alive as long as `self`.
        unsafe { Entry::from_raw(self.0) }
    }
    /// Gives up ownership; the block now belongs to the slot that publishes it.
    #[inline]
    pub fn into_raw(self) -> *mut Header {
        let block = self.0.as_ptr();
        std::mem::forget(self);
        block
    }
    /// Takes ownership back.
    ///
    /// # Safety
    /// `block` came from `into_raw`, and nobody else can reach it any more.
    #[inline]
    pub unsafe fn from_raw(block: NonNull<Header>) -> Self {
        NewEntry(block)
    }
}

impl Drop for NewEntry {
    #[inline]
    fn drop(&mut self) {
        let entry = self.view();
        let len = entry.alloc_len();
        if entry.header().payload_kind() == PAYLOAD_BLOB {
            let place = entry.at::<Bytes>(entry.header().shape().payload).cast_mut();
            // SAFETY: payload Blob holds an initialised handle, dropped exactly here.
            unsafe { place.drop_in_place() };
        }
        if entry.header().payload_kind() == PAYLOAD_OBJECT {
            let place = entry.at::<Object>(entry.header().shape().payload).cast_mut();
            // SAFETY: payload Object holds an initialised object, dropped exactly here.
            unsafe { place.drop_in_place() };
        }
        // SAFETY: taken in `allocate` with the length that the header still describes.
        unsafe { recycle::give(self.0.as_ptr().cast(), len) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sixteen_byte_key_with_a_32_byte_value_takes_56_bytes_and_64_with_a_deadline() {
        let plain = NewEntry::new(Kind(0), &[b'k'; 16], None, 0, Source::Inline(&[b'v'; 32]));
        let volatile = NewEntry::new(Kind(0), &[b'k'; 16], Some(WallMs(1)), 0, Source::Inline(&[b'v'; 32]));
        assert_eq!((plain.view().alloc_len(), volatile.view().alloc_len()), (56, 64));
    }

    #[test]
    fn in_place_a_deadline_only_grows() {
        let entry = NewEntry::new(Kind(0), b"k", Some(WallMs(10)), 0, Source::Inline(b"v"));
        let entry = entry.view();
        assert!(entry.move_deadline(WallMs(10), WallMs(20)));
        assert!(!entry.move_deadline(WallMs(20), WallMs(10)), "earlier");
        assert!(!entry.move_deadline(WallMs(10), WallMs(30)), "it is another one by now");
        entry.freeze();
        assert!(!entry.move_deadline(WallMs(20), WallMs(30)), "frozen");
        assert_eq!(entry.expires_at(), Some(WallMs(20)));
    }

    #[test]
    fn parts_come_back_as_stored_for_every_shape() {
        for klen in [0, 1, 254, 255, 256, 70_000] {
            for ttl in [None, Some(WallMs(12345))] {
                let key = vec![b'k'; klen];
                let inline = NewEntry::new(Kind(3), &key, ttl, 7, Source::Joined(b"ab", b"cd"));
                assert_eq!(inline.view().key(), &key[..]);
                assert_eq!(inline.view().expires_at(), ttl);
                assert_eq!((inline.view().kind(), inline.view().recency()), (Kind(3), 7));
                assert!(matches!(inline.view().payload(), Payload::Inline(b"abcd")));
                let cell = NewEntry::new(Kind(0), &key, ttl, 0, Source::Cell(-5));
                assert_eq!(cell.view().cell_add(3), Ok(-2));
                cell.view().freeze();
                assert_eq!(cell.view().cell_add(3), Err(CellError::NotInPlace));
                assert!(matches!(cell.view().payload(), Payload::Cell(-2)));
                let blob = NewEntry::new(Kind(0), &key, ttl, 0, Source::Blob(Bytes::from(vec![1u8; 100_000])));
                assert!(matches!(blob.view().payload(), Payload::Blob(b) if b.len() == 100_000));
            }
        }
    }
}
