//! A slot word: a tag and a pointer in eight bytes, so that one load is one consistent view of a slot.
//!
//! ```text
//! [63:49] tag15   top bits of the hash         [48] spare
//! [47:3]  pointer to an entry, a record of a staged command, or an overflow bundle (all 8-aligned)
//! [2] FROZEN      the group is being moved: no CAS on this word succeeds any more
//! [1] RECORD      the pointer is a `staged::Record`
//! [0] SPECIAL     no entry: EMPTY when the pointer is null, else a bundle
//! 0 = UNINIT      only in a destination group that is not yet filled
//! ```
//!
//! EMPTY is not 0: a late helper of a move does `CAS 0 → word`, and a deleted slot must not look untouched to it.

use super::entry::{Entry, Header};
use std::ptr::{NonNull, with_exposed_provenance_mut};

/// A slot word's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub u64);

const TAG_MASK: u64 = !0 << 49;
const POINTER_MASK: u64 = 0x0000_ffff_ffff_fff8;
const FROZEN: u64 = 1 << 2;
const RECORD: u64 = 1 << 1;
const SPECIAL: u64 = 1;

impl Word {
    pub const UNINIT: Word = Word(0);
    pub const EMPTY: Word = Word(SPECIAL);
    pub const FROZEN_BIT: u64 = FROZEN;

    fn pack<T>(pointer: *mut T, flags: u64) -> Word {
        let address = pointer.expose_provenance() as u64;
        assert!(address & !POINTER_MASK == 0, "48-bit, 8-aligned pointers");
        Word(address | flags)
    }
    /// The word of an entry whose key hashes to `hash`.
    #[inline]
    pub fn entry(pointer: *mut Header, hash: u64) -> Word {
        let address = pointer.expose_provenance() as u64;
        debug_assert!(address & !POINTER_MASK == 0, "48-bit, 8-aligned pointers");
        Word(address | hash & TAG_MASK)
    }
    /// The word of a staged command's record for a key that hashes to `hash`.
    pub fn record<T>(pointer: *mut T, hash: u64) -> Word {
        Self::pack(pointer, RECORD | hash & TAG_MASK)
    }
    /// The word of an overflow bundle.
    pub fn bundle<T>(pointer: *mut T) -> Word {
        Self::pack(pointer, SPECIAL)
    }
    /// The tag of a live word.
    #[inline]
    pub fn tag(self) -> u16 {
        Self::tag_of(self.0)
    }
    /// The tag that words of keys with this hash have.
    #[inline]
    pub fn tag_of(hash: u64) -> u16 {
        (hash >> 49) as u16
    }
    /// Could this be the entry or record of a key with this hash? False for EMPTY, UNINIT with another tag, and bundles.
    #[inline]
    pub fn matches(self, hash: u64) -> bool {
        (self.0 ^ hash & TAG_MASK) & (TAG_MASK | SPECIAL) == 0
    }
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 & !FROZEN == SPECIAL
    }
    #[inline]
    pub fn is_frozen(self) -> bool {
        self.0 & FROZEN != 0
    }
    #[inline]
    pub fn is_record(self) -> bool {
        self.0 & RECORD != 0
    }
    #[inline]
    pub fn is_bundle(self) -> bool {
        self.0 & SPECIAL != 0 && self.0 & POINTER_MASK != 0
    }
    /// An entry or a record: something with a key.
    #[inline]
    pub fn is_live(self) -> bool {
        self.0 & SPECIAL == 0 && self.0 != 0
    }
    /// The word without its FROZEN bit, as the destination of a move stores it.
    #[inline]
    pub fn thawed(self) -> Word {
        Word(self.0 & !FROZEN)
    }
    /// The pointer part.
    #[inline]
    pub fn pointer<T>(self) -> *mut T {
        with_exposed_provenance_mut((self.0 & POINTER_MASK) as usize)
    }
    /// The entry that the word points to.
    ///
    /// # Safety
    /// The word is live and no record, was loaded with Acquire from a slot under a guard that lives for `'g`.
    #[inline]
    pub unsafe fn as_entry<'g>(self) -> Entry<'g> {
        debug_assert!(self.is_live() && !self.is_record());
        // SAFETY: a live entry word holds a non-null pointer.
        let header = unsafe { NonNull::new_unchecked(self.pointer::<Header>()) };
        // SAFETY: the caller's promise is the contract of `from_raw`.
        unsafe { Entry::from_raw(header) }
    }
}
