//! Plain memory as the model checker sees it. The server pays nothing: no bytes, no code.
//!
//! Bytes behind a pointer are read without atomics, so the checker would not notice that they were read too early or too
//! late. A `Plain` beside them stands for them: making one marks their initialisation, `read` a use. A use that is not
//! ordered behind the initialisation fails the model (the pointer was published too weakly); so does one after the memory
//! was given back (`free`). `write` is for memory under a lock: nobody else may use it at that time.

#![forbid(unsafe_code)]

/// See the module header.
pub struct Plain {
    #[cfg(loom)]
    cell: loom::cell::UnsafeCell<()>,
}

impl Plain {
    /// Memory that is being initialised.
    #[inline(always)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Plain {
            #[cfg(loom)]
            cell: loom::cell::UnsafeCell::new(()),
        }
    }
    /// The memory is read.
    #[inline(always)]
    pub fn read(&self) {
        #[cfg(loom)]
        {
            freed::check((&raw const *self).addr());
            self.cell.with(|_| ());
        }
    }
    /// The memory is changed.
    #[inline(always)]
    pub fn write(&self) {
        #[cfg(loom)]
        self.cell.with_mut(|_| ());
    }
}

#[cfg(loom)]
pub use freed::{forget, free};

#[cfg(loom)]
mod freed {
    use std::cell::RefCell;
    use std::ops::Range;

    // Per OS thread: as in `mutation`.
    thread_local!(static FREED: RefCell<Vec<Range<usize>>> = const { RefCell::new(Vec::new()) });

    /// Whatever lies here must not be read any more. The memory itself stays until the next execution.
    pub fn free(addresses: Range<usize>) {
        FREED.with_borrow_mut(|freed| freed.push(addresses));
    }
    /// Nothing is free: an execution begins.
    pub fn forget() {
        FREED.take();
    }
    pub(super) fn check(address: usize) {
        let is_freed = FREED.with_borrow(|freed| freed.iter().any(|range| range.contains(&address)));
        assert!(!is_freed, "read after free");
    }
}
