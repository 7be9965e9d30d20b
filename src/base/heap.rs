//! The global allocator: jemalloc, with alignments above 8 kept right.
//!
//! `.cargo/config.toml` builds jemalloc with 8-byte class spacing. The Rust binding believes that every block of 16 bytes
//! or more is 16-aligned, which is then false for classes like 56. Padding the size to a multiple of the alignment makes
//! it true again: every class that is a multiple of 16 starts at a multiple of 16.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_char;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};
use tikv_jemalloc_sys as sys;
use tikv_jemallocator::Jemalloc;

/// jemalloc behind the padding rule above.
pub struct Heap;

/// A C string that jemalloc reads once, before its first allocation.
#[repr(transparent)]
pub struct Options(*const c_char);

// SAFETY: points to an immutable literal.
unsafe impl Sync for Options {}

/// Freed memory goes back to the system within seconds (an index generation that a growth has left behind, a flushed
/// database), by a thread of the allocator's own. Source: jemalloc's manual, "TUNING".
// SAFETY: the name is the one that the prefixed build looks up, and the type is its `const char *`.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: Options = Options(c"background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0".as_ptr());

const fn padded(layout: Layout) -> Layout {
    if layout.align() > 8 { layout.pad_to_align() } else { layout }
}

// SAFETY: every call is handed to jemalloc with a layout that has the same alignment and at least the same size, and the
// same rule is applied when a block is given back.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on; padding keeps the size non-zero.
        unsafe { Jemalloc.alloc(padded(layout)) }
    }
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { Jemalloc.alloc_zeroed(padded(layout)) }
    }
    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` with the same layout, hence the same padded layout.
        unsafe { Jemalloc.dealloc(block, padded(layout)) }
    }
    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        let size = if align > 8 { (size + align - 1) & !(align - 1) } else { size };
        // SAFETY: `block` came from `alloc` with the padded layout; `size` is padded by the same rule.
        unsafe { Jemalloc.realloc(block, padded(layout), size) }
    }
}

/// Where the allocator counts what one thread has ever taken from it and given back.
#[derive(Clone, Copy)]
struct Meter {
    number: i64,
    taken: *const u64,
    given_back: *const u64,
}

// SAFETY: two addresses, read under the rule of `METERS`.
unsafe impl Send for Meter {}

/// Meters of living threads: each strikes its own off before it ends, so whoever holds the lock may read them. And the number
/// of the last one that was shown.
static METERS: Mutex<(Vec<Meter>, i64)> = Mutex::new((Vec::new(), 0));

/// A thread's place among `METERS`, for as long as the thread lives.
struct Enlisted(i64);

impl Drop for Enlisted {
    fn drop(&mut self) {
        METERS.lock().unwrap_or_else(PoisonError::into_inner).0.retain(|meter| meter.number != self.0);
    }
}

thread_local! {
    static ENLISTED: Option<Enlisted> = enlist();
}

fn enlist() -> Option<Enlisted> {
    // SAFETY: the key is null-terminated and its value is a pointer to a `uint64_t`.
    let taken = unsafe { tikv_jemalloc_ctl::raw::read(b"thread.allocatedp\0") }.ok()?;
    // SAFETY: as above.
    let given_back = unsafe { tikv_jemalloc_ctl::raw::read(b"thread.deallocatedp\0") }.ok()?;
    let (meters, last) = &mut *METERS.lock().unwrap_or_else(PoisonError::into_inner);
    *last += 1;
    meters.push(Meter { number: *last, taken, given_back });
    Some(Enlisted(*last))
}

/// Has others find the calling thread's meter in `read_meters`. Returns its number there, which is not 0; None: the allocator
/// keeps none.
pub fn show_meter() -> Option<i64> {
    ENLISTED.with(|enlisted| enlisted.as_ref().map(|enlisted| enlisted.0))
}

/// Visits the meters that are shown: their numbers, and how many bytes the thread has ever taken less those that it has given
/// back. It may be a moment that never was: one word from before a block was taken, the other from behind it.
pub fn read_meters(mut visit: impl FnMut(i64, i64)) {
    let meters = METERS.lock().unwrap_or_else(PoisonError::into_inner);
    for meter in &meters.0 {
        // SAFETY: its thread lives, as it has not struck it off. Volatile: the allocator writes the word, as a whole.
        let taken = unsafe { meter.taken.read_volatile() };
        // SAFETY: as above.
        let given_back = unsafe { meter.given_back.read_volatile() };
        visit(meter.number, taken.wrapping_sub(given_back) as i64);
    }
}

/// Bytes of blocks that threads keep to themselves in order to hand them out again: free, and counted as allocated by the
/// allocator's own sum. As of the allocator's last epoch.
pub fn cached() -> u64 {
    // 4096 stands for all arenas together. Source: jemalloc's manual, MALLCTL_ARENAS_ALL.
    // SAFETY: the key is null-terminated and its value is a `size_t`.
    unsafe { tikv_jemalloc_ctl::raw::read::<usize>(b"stats.arenas.4096.tcache_bytes\0") }.unwrap_or(0) as u64
}

/// Bytes of pages that hold live blocks. As of the allocator's last epoch.
pub fn active() -> u64 {
    tikv_jemalloc_ctl::stats::active::read().unwrap_or(0) as u64
}

/// Bytes of pages that held live blocks and wait to be given back to the kernel. As of the allocator's last epoch.
pub fn dirty() -> u64 {
    // SAFETY: the key is null-terminated and its value is a `size_t`.
    let pages = unsafe { tikv_jemalloc_ctl::raw::read::<usize>(b"stats.arenas.4096.pdirty\0") }.unwrap_or(0) as u64;
    pages * PAGE
}

/// The allocator's pages.
const PAGE: u64 = 4096;

/// Bytes that a block for `len` bytes takes.
/// Shape: four classes between two powers of two, at least 8 apart; whole pages from 32 KiB on. Source: jemalloc's manual, "SIZE
/// CLASSES" and `opt.disable_large_size_classes`.
pub const fn block_len(len: usize) -> usize {
    if len > 32 << 10 {
        return len.next_multiple_of(PAGE as usize);
    }
    if len == 0 {
        return 0;
    }
    let step = (1 << ((len - 1) | 1).ilog2()) / 4;
    len.next_multiple_of(if step < 8 { 8 } else { step })
}

/// Gives pages that hold no live block back to the kernel now instead of after jemalloc's decay time.
/// Cost: milliseconds per hundred MiB of free pages; blocks nobody who only allocates.
pub fn purge() {
    use tikv_jemalloc_ctl::raw;
    // SAFETY: the key is null-terminated and its value is an `unsigned`.
    let Ok(arenas) = (unsafe { raw::read::<u32>(b"arenas.narenas\0") }) else { return };
    for (arena, kind) in (0..arenas).flat_map(|arena| [(arena, "dirty"), (arena, "muzzy")]) {
        let key = format!("arena.{arena}.{kind}_decay_ms\0");
        // A decay time of 0 purges at once; then the old time is put back. An arena that was never used has none.
        // SAFETY: the key is null-terminated and its value is an `ssize_t`.
        if let Ok(before) = unsafe { raw::update::<isize>(key.as_bytes(), 0) } {
            // SAFETY: as above. It worked a moment ago, and nothing depends on it.
            let _ = unsafe { raw::write::<isize>(key.as_bytes(), before) };
        }
    }
}

/// How full the run of pages is that a small block lies in, and all runs for blocks of this size in the same arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Blocks of the run, and how many of them are free.
    pub blocks: usize,
    pub free: usize,
    /// The same of all runs.
    pub all_blocks: usize,
    pub all_free: usize,
}

/// What the allocator answers about a block.
/// Source: jemalloc 5.3, `inspect_extent_util_stats_verbose_t` (ctl `experimental.utilization.query`).
#[repr(C)]
struct Utilisation {
    current_run: *mut u8,
    free: usize,
    blocks: usize,
    run_len: usize,
    all_free: usize,
    all_blocks: usize,
}

/// Where the allocator keeps that question; None: it does not know it.
fn utilisation_key() -> Option<[usize; 3]> {
    static KEY: OnceLock<Option<[usize; 3]>> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = [0; 3];
        tikv_jemalloc_ctl::raw::name_to_mib(b"experimental.utilization.query\0", &mut key).ok().map(|()| key)
    })
}

/// How full the pages around a block are. None: it is not one of this allocator's small blocks, or it lies where the next ones
/// are made anyway.
/// Cost: some 50 ns; a lock of the block's class for a moment.
pub fn crowd_around(block: NonNull<u8>) -> Option<Crowd> {
    let key = utilisation_key()?;
    let mut answer =
        Utilisation { current_run: ptr::null_mut(), free: 0, blocks: 0, run_len: 0, all_free: 0, all_blocks: 0 };
    let (mut answer_len, mut asked) = (size_of::<Utilisation>(), block.as_ptr());
    // SAFETY: the key was found for this question, which takes a pointer, never reads what is there, and answers with one
    // `Utilisation`; an address that is not the allocator's gets zeros.
    let code = unsafe {
        sys::mallctlbymib(
            key.as_ptr(),
            key.len(),
            (&raw mut answer).cast(),
            &raw mut answer_len,
            (&raw mut asked).cast(),
            size_of_val(&asked),
        )
    };
    let begin = answer.current_run as usize;
    let is_current = (begin..begin + answer.run_len).contains(&(block.as_ptr() as usize));
    let Utilisation { free, blocks, all_free, all_blocks, .. } = answer;
    (code == 0 && all_blocks > 0 && !is_current).then_some(Crowd { blocks, free, all_blocks, all_free })
}

/// A block of `len` bytes (not 0), 8-aligned, its content undefined: from the pages that are to be filled next, past what the
/// thread has at hand. To be given back as any other, by `Heap::dealloc`. Null: there is no memory.
pub fn alloc_crowded(len: usize) -> *mut u8 {
    // SAFETY: `len` is not 0.
    unsafe { sys::mallocx(len, sys::MALLOCX_TCACHE_NONE).cast() }
}

/// The calling thread gives back what it keeps to hand it out again.
pub fn flush_thread_cache() {
    let name = c"thread.tcache.flush";
    // SAFETY: a null-terminated name of a question that takes nothing and answers nothing.
    unsafe { sys::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// Gives dirty pages of all arenas back to the kernel, at once.
/// Cost: some 0.1 µs per page.
pub fn purge_dirty() {
    let name = c"arena.4096.purge"; // 4096: as in `cached`.
    // SAFETY: a null-terminated name of a question that takes nothing and answers nothing.
    unsafe { sys::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// A block of this allocator, for tests: their program has another one for everything else.
#[cfg(test)]
pub struct Ballast(*mut u8, Layout);

#[cfg(test)]
impl Ballast {
    /// One that takes `len` bytes, which is the length of a class.
    pub fn new(len: usize) -> Self {
        assert_eq!(block_len(len), len);
        let layout = Layout::from_size_align(len, 8).unwrap();
        // SAFETY: the layout is not empty.
        Ballast(unsafe { Heap.alloc(layout) }, layout)
    }
}

#[cfg(test)]
impl Drop for Ballast {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { Heap.dealloc(self.0, self.1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_large_as_the_allocator_makes_them() {
        for len in (1..2000).chain([4097, 20_000, 32_768, 32_769, 100_000, 1 << 20, (1 << 20) + 1, 9_000_000]) {
            let layout = Layout::from_size_align(len, 1).unwrap();
            // SAFETY: the layout is not empty.
            let block = unsafe { Heap.alloc(layout) };
            // SAFETY: the block lives, and this allocator gave it.
            let taken = unsafe { tikv_jemallocator::usable_size(block) };
            // SAFETY: allocated above with the same layout.
            unsafe { Heap.dealloc(block, layout) };
            assert_eq!(block_len(len), taken, "{len}");
        }
    }

    #[test]
    fn a_thread_is_seen_taking_and_giving_back_until_it_has_ended() {
        let read = |wanted: i64| {
            let mut found = None;
            read_meters(|number, net| found = if number == wanted { Some(net) } else { found });
            found
        };
        let thread = std::thread::spawn(move || {
            let number = show_meter().unwrap();
            let before = read(number).unwrap();
            let block = Ballast::new(1 << 20);
            assert_eq!(read(number).unwrap() - before, 1 << 20);
            drop(block);
            assert_eq!(read(number), Some(before));
            number
        });
        assert_eq!(read(thread.join().unwrap()), None);
    }

    #[test]
    fn purging_leaves_the_decay_times_as_they_were() {
        let decay = || {
            // SAFETY: the key is null-terminated and its value is an `ssize_t`.
            unsafe { tikv_jemalloc_ctl::raw::read::<isize>(b"arena.0.dirty_decay_ms\0") }
        };
        let before = decay();
        purge();
        assert_eq!(decay(), before);
    }
}
