//! The pool of receive buffers: one mapping cut into equal pieces, and who holds which.
//!
//! ```text
//! free (in the engine's hands, or the kernel's) ─lend▶ lent to the loop as a `Filled` ─take_back▶ free
//! ```
//!
//! Buffers are held for one turn only, so a pool serves many more connections than it has buffers, and an idle connection
//! holds none. The mapping costs memory only where it was touched; buffers are brought into use low numbers first.

use super::Filled;
use std::ptr::NonNull;
use std::{io, slice};

/// Memory for `count` buffers of `buffer_len` bytes.
pub(super) struct Pool {
    memory: Mapping,
    buffer_len: usize,
    lent: Box<[bool]>,
    lent_count: usize,
}

impl Pool {
    pub fn new(count: u16, buffer_len: u32) -> io::Result<Pool> {
        let memory = Mapping::new(buffer_len as usize * usize::from(count))?;
        let lent = vec![false; usize::from(count)].into_boxed_slice();
        Ok(Pool { memory, buffer_len: buffer_len as usize, lent, lent_count: 0 })
    }

    pub fn count(&self) -> u16 {
        self.lent.len() as u16
    }
    pub fn buffer_len(&self) -> usize {
        self.buffer_len
    }
    /// Buffers in the loop's hands.
    pub fn lent_count(&self) -> usize {
        self.lent_count
    }

    /// Where a buffer starts, for the kernel.
    pub fn address(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count());
        // SAFETY: just checked.
        unsafe { self.start_of(buffer) }
    }
    /// # Safety
    /// `buffer` is below the count.
    #[inline]
    unsafe fn start_of(&self, buffer: u16) -> *mut u8 {
        // SAFETY: by the caller's promise the offset stays inside the mapping.
        unsafe { self.memory.start.as_ptr().add(usize::from(buffer) * self.buffer_len) }
    }

    /// Hands the first `len` bytes of a free buffer to the loop.
    #[inline]
    pub fn lend(&mut self, buffer: u16, len: usize) -> Filled {
        assert!(len <= self.buffer_len, "more bytes than a buffer holds");
        let lent = &mut self.lent[usize::from(buffer)];
        assert!(!*lent, "buffer {buffer} is lent already");
        *lent = true;
        self.lent_count += 1;
        Filled { buffer, len: len as u32 }
    }

    /// Takes a buffer back from the loop; it is free from here on.
    #[inline]
    pub fn take_back(&mut self, filled: Filled) -> u16 {
        let lent = &mut self.lent[usize::from(filled.buffer)];
        assert!(*lent, "buffer {} was not lent by this engine", filled.buffer);
        *lent = false;
        self.lent_count -= 1;
        filled.buffer
    }

    /// The bytes of a lent buffer.
    #[inline]
    pub fn bytes(&self, filled: &Filled) -> &[u8] {
        assert!(self.lent[usize::from(filled.buffer)] && filled.len as usize <= self.buffer_len);
        // SAFETY: it is one of those that `lent` knows.
        let start = unsafe { self.start_of(filled.buffer) };
        // SAFETY: `len` bytes at `start` are inside this buffer's piece of the mapping, which lives as long as the pool.
        // The buffer is lent: neither the kernel nor `free_mut` writes to it before `take_back`, which needs `&mut self`.
        unsafe { slice::from_raw_parts(start, filled.len as usize) }
    }

    /// A free buffer, to be filled by a system call of our own. Only for engines that give no buffers to the kernel.
    pub fn free_mut(&mut self, buffer: u16) -> &mut [u8] {
        assert!(!self.lent[usize::from(buffer)]);
        let start = self.address(buffer);
        // SAFETY: the piece is inside the mapping; `&mut self` and not being lent exclude any other reference to it.
        unsafe { slice::from_raw_parts_mut(start, self.buffer_len) }
    }

    /// Never unmaps the memory: for an engine that cannot be sure that the kernel is done with it.
    pub fn leak(&mut self) {
        self.memory.leak();
    }
}

/// Anonymous, zeroed, page-aligned memory.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
    leaked: bool,
}

impl Mapping {
    pub fn new(len: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap returned null");
        Ok(Mapping { start, len, leaked: false })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }
    /// Never unmaps the memory.
    pub fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: exactly the mapping made by `new`; whoever owns it has ended all use, of the kernel's too.
        let rc = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert_eq!(rc, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_buffer_shows_what_was_written_to_it() {
        let mut pool = Pool::new(4, 4096).unwrap();
        pool.free_mut(3)[..5].copy_from_slice(b"hello");
        let filled = pool.lend(3, 5);
        assert_eq!(pool.bytes(&filled), b"hello");
        assert_eq!((pool.take_back(filled), pool.lent_count()), (3, 0));
    }

    #[test]
    fn buffers_do_not_overlap() {
        let mut pool = Pool::new(8, 100).unwrap();
        (0..8).for_each(|buffer| pool.free_mut(buffer).fill(buffer as u8));
        (0..8).for_each(|buffer| assert!(pool.free_mut(buffer).iter().all(|&byte| byte == buffer as u8)));
    }
}
