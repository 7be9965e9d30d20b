//! The memory of the command line, which the kernel shows as the process's title (`ps`, /proc/PID/cmdline).
//!
//! ```text
//! argv[0] \0 argv[1] \0 … environ[0] \0 environ[1] \0 …      one piece of the stack, as execve(2) lays it out
//! └── title \0 \0 \0 … ─────────────────────────────┘
//! ```
//! Before `main` the strings are moved elsewhere, so that a title may be as long as all together. Behind one that does not end
//! where the arguments did, the kernel goes on into the environment's part up to the first null byte.
//! Source: proc_pid_cmdline(5).

use std::ffi::{CStr, c_char, c_int};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The memory for titles; nothing if the C library told nothing.
static ROOM: OnceLock<Mutex<Span>> = OnceLock::new();

struct Span {
    start: *mut u8,
    len: usize,
}

// SAFETY: the memory belongs to the process as long as it lives, and is reached under the lock alone.
unsafe impl Send for Span {}

/// Called by the C library before `main`, with what `main` gets in C.
// SAFETY: glibc calls the functions of this section with these three arguments.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = claim;

/// Finds out how far arguments and environment reach, and moves them.
extern "C" fn claim(argc: c_int, argv: *mut *mut c_char, envp: *mut *mut c_char) {
    if argc < 1 || argv.is_null() || envp.is_null() {
        return;
    }
    // SAFETY: the first of `argc` pointers.
    let start = unsafe { *argv }.cast::<u8>();
    // SAFETY: both lists end with a null pointer, and before `main` there is one thread, which is here.
    let len = unsafe { move_strings(argv, start, 0) };
    // SAFETY: as above.
    let len = unsafe { move_strings(envp, start, len) };
    let _ = ROOM.set(Mutex::new(Span { start, len })); // Nobody else sets it.
}

/// Replaces the strings of `list` by copies, as long as they lie one behind the other, the first one `len` bytes behind `start`.
/// Returns how far they reach. The copies are never freed.
///
/// # Safety
/// `list` points to pointers to strings, the last one a null pointer; nobody else uses them meanwhile.
unsafe fn move_strings(mut list: *mut *mut c_char, start: *const u8, mut len: usize) -> usize {
    loop {
        // SAFETY: the null pointer has not been passed.
        let text = unsafe { *list };
        if text.is_null() || text.addr() != start.addr() + len {
            return len;
        }
        // SAFETY: a string.
        let copy = unsafe { libc::strdup(text) };
        if copy.is_null() {
            return len;
        }
        // SAFETY: a string.
        len += unsafe { CStr::from_ptr(text) }.count_bytes() + 1;
        // SAFETY: `text` was read from there.
        unsafe { *list = copy };
        // SAFETY: the null pointer comes later.
        list = unsafe { list.add(1) };
    }
}

/// Shows `title`, cut to what there is room for.
pub fn show(title: &[u8]) {
    let Some(span) = ROOM.get() else { return };
    let span = span.lock().unwrap_or_else(PoisonError::into_inner);
    let len = title.len().min(span.len.saturating_sub(1)); // A null byte stays behind it.
    // SAFETY: the memory is the process's own and writable, the strings that were there have moved, and the lock is held.
    unsafe { span.start.write_bytes(0, span.len) };
    // SAFETY: as above; `len` is less than there is.
    unsafe { span.start.copy_from_nonoverlapping(title.as_ptr(), len) };
}
