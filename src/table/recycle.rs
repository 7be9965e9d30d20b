//! Recycling: the blocks of freed entries serve the next ones of the same size, last in, first out.
//!
//! A retired entry's block was touched when its key was compared, a few dozen commands ago, so it is still in the cache when
//! the next SET of that size takes it. Through the allocator it would come back cold, and the allocator's own records with
//! it (measured: kernel-notes/20-reclamation.md).

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
}

impl Drop for Stock {
    fn drop(&mut self) {
        for (class, stack) in self.stacks.iter().enumerate() {
            for &block in stack {
                // SAFETY: `give` put it here with this class.
                unsafe { dealloc(block, layout(class * STEP)) };
            }
        }
    }
}

thread_local! {
    static STOCK: RefCell<Stock> = const { RefCell::new(Stock { stacks: Vec::new() }) };
}

/// The layout of a block for `len` bytes.
#[inline]
fn layout(len: usize) -> Layout {
    match Layout::from_size_align(len.next_multiple_of(STEP), STEP) {
        Ok(layout) => layout,
        Err(_) => unreachable!("keys and inline values are bounded by the protocol's limits"),
    }
}

/// A block of `len` bytes (not 0), 8-aligned, its content undefined.
#[inline]
pub(super) fn take(len: usize) -> *mut u8 {
    if len <= RECYCLED_LEN_MAX {
        let block = STOCK.try_with(|stock| stock.try_borrow_mut().ok()?.stacks.get_mut(len.div_ceil(STEP))?.pop());
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
            let stack = &mut stock.stacks[len.div_ceil(STEP)];
            if stack.len() == KEPT_COUNT_MAX {
                return false;
            }
            stack.push(block);
            true
        });
        if kept == Ok(true) {
            return;
        }
    }
    // SAFETY: the caller's promise; `take` allocated with this layout.
    unsafe { dealloc(block, layout(len)) };
}
