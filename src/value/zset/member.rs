//! A member of a large sorted set: its score and its bytes, in one allocation that the index owns and the tree points to.
//!
//! ```text
//! block: [score: 8 bytes, little-endian][the member's bytes]
//! ```
//! A `Member` owns the block. A `Link` is a second pointer to it, for the tree: it reads, and frees nothing.

use crate::value::block::Block;
use crate::value::hash_table::Item;
use std::mem::ManuallyDrop;

const SCORE_LEN: usize = 8;

/// See the module header.
pub struct Member(Block);

impl Member {
    pub fn new(score: f64, member: &[u8]) -> Self {
        Member(Block::of(&[&score.to_le_bytes(), member]))
    }
    #[inline]
    pub fn score(&self) -> f64 {
        self.0.bytes().first_chunk().map_or(0.0, |&score| f64::from_le_bytes(score))
    }
    #[inline]
    pub fn set_score(&mut self, score: f64) {
        self.0.bytes_mut()[..SCORE_LEN].copy_from_slice(&score.to_le_bytes());
    }
    /// Bytes of the allocation.
    pub fn memory(&self) -> usize {
        self.0.memory()
    }
}

impl Item for Member {
    #[inline]
    fn key(&self) -> &[u8] {
        &self.0.bytes()[SCORE_LEN..]
    }
    #[inline]
    fn address(&self) -> *const u8 {
        self.0.address()
    }
}

/// A pointer to a member's block. See the module header.
pub struct Link(ManuallyDrop<Block>);

const _: () = assert!(size_of::<Link>() == 8);

impl Link {
    /// A link to `member`.
    ///
    /// # Safety
    /// The link and its copies are not read after `member` is dropped, nor while its score is being changed. `member` may
    /// move: its block stays where it is.
    #[inline]
    pub unsafe fn to(member: &Member) -> Self {
        // SAFETY: a block is a pointer; the copy is never dropped, and read only while the original lives (caller).
        Link(ManuallyDrop::new(unsafe { std::ptr::read(&member.0) }))
    }
    /// The member's bytes.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.0.bytes()[SCORE_LEN..]
    }
}

impl Clone for Link {
    #[inline]
    fn clone(&self) -> Self {
        // SAFETY: as in `to`; whoever made the first link has promised it for its copies.
        Link(ManuallyDrop::new(unsafe { std::ptr::read(&*self.0) }))
    }
}
