//! Recycling: the blocks of freed entries serve the next ones of the same size, last in, first out.
//!
//! A retired entry's block was touched when its key was compared, a few dozen commands ago, so it is still in the cache when
//! the next SET of that size takes it. Through the allocator it would come back cold, and the allocator's own records with
//! it (measured: kernel-notes/20-reclamation.md).
//!
//! What is kept is memory that nobody uses: `kept_len` says how much it is, and where memory is limited, `keep_at_most` says
//! how much it may be.

use crate::base::heap;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::RefCell;

/// Blocks up to this many bytes are recycled.
const RECYCLED_LEN_MAX: usize = 1024;
/// Blocks kept per size: more than three windows of commands retire.
const KEPT_COUNT_MAX: usize = 256;
/// Sizes are multiples of this: also the alignment of every block, whose pointers keep three bits for flags.
const STEP: usize = 8;

/// One thread's stock, by size.
struct Stock {
    stacks: Vec<Vec<*mut u8>>,
    /// Bytes of all blocks, and how many they may be.
    len: usize,
    len_max: usize,
}

impl Stock {
    fn give_back(&mut self) {
        for (class, stack) in self.stacks.iter_mut().enumerate() {
            for block in stack.drain(..) {
                // SAFETY: `give` put it here with this class.
                unsafe { dealloc(block, layout(class * STEP)) };
            }
        }
        self.len = 0;
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        self.give_back();
    }
}

thread_local! {
    static STOCK: RefCell<Stock> =
        const { RefCell::new(Stock { stacks: Vec::new(), len: 0, len_max: usize::MAX }) };
}

/// The layout of a block for `len` bytes.
#[inline]
fn layout(len: usize) -> Layout {
    match Layout::from_size_align(len.next_multiple_of(STEP), STEP) {
        Ok(layout) => layout,
        Err(_) => unreachable!("keys and inline values are bounded by the protocol's limits"),
    }
}

/// Bytes of the blocks that the calling thread keeps.
#[inline]
pub fn kept_len() -> usize {
    STOCK.try_with(|stock| stock.try_borrow().map_or(0, |stock| stock.len)).unwrap_or(0)
}

/// From now on the calling thread keeps no more bytes than that. If it has more, it gives all of them back.
pub fn keep_at_most(len: usize) {
    let _ = STOCK.try_with(|stock| {
        let Ok(mut stock) = stock.try_borrow_mut() else { return };
        stock.len_max = len;
        if stock.len > len {
            stock.give_back();
        }
    }); // The thread is ending.
}

/// A block of `len` bytes (not 0), 8-aligned, its content undefined.
#[inline]
pub(super) fn take(len: usize) -> *mut u8 {
    if len <= RECYCLED_LEN_MAX {
        let block = STOCK.try_with(|stock| {
            let mut stock = stock.try_borrow_mut().ok()?;
            let block = stock.stacks.get_mut(len.div_ceil(STEP))?.pop()?;
            stock.len -= len.next_multiple_of(STEP);
            Some(block)
        });
        if let Ok(Some(block)) = block {
            return block;
        }
    }
    let layout = layout(len);
    // SAFETY: the layout is not empty.
    let block = unsafe { alloc(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

/// The same, where the allocator's pages are to be filled next. Only for an entry whose block is known to be the allocator's
/// (`heap::crowd_around`): in tests of the library blocks come from elsewhere.
pub(super) fn take_crowded(len: usize) -> *mut u8 {
    let layout = layout(len);
    let block = heap::alloc_crowded(layout.size());
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

/// Gives a block back.
///
/// # Safety
/// `block` came from `take(len)` with the same `len`, and nobody can reach it any more.
#[inline]
pub(super) unsafe fn give(block: *mut u8, len: usize) {
    if len <= RECYCLED_LEN_MAX {
        let kept = STOCK.try_with(|stock| {
            let Ok(mut stock) = stock.try_borrow_mut() else { return false };
            if stock.stacks.is_empty() {
                stock.stacks.resize_with(RECYCLED_LEN_MAX / STEP + 1, Vec::new);
            }
            let whole = stock.len + len.next_multiple_of(STEP);
            if whole > stock.len_max {
                return false;
            }
            let stack = &mut stock.stacks[len.div_ceil(STEP)];
            if stack.len() == KEPT_COUNT_MAX {
                return false;
            }
            stack.push(block);
            stock.len = whole;
            true
        });
        if kept == Ok(true) {
            return;
        }
    }
    // SAFETY: the caller's promise; `take` allocated with this layout.
    unsafe { dealloc(block, layout(len)) };
}
