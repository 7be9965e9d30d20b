//! The few system calls of the lab that no crate wraps as they are needed here.

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::{from_mut, from_ref};

use io_uring::{EnterFlags, IoUring};

/// Pins the calling thread to a core; on a machine without that core it may go anywhere.
pub fn pin(core: usize) {
    let mut set = nix::sched::CpuSet::new();
    if set.set(core).is_ok() {
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}

/// Zeroed pages that live as long as the process: the kernel may write to them at any time.
pub fn pages(len: usize) -> *mut u8 {
    let layout = Layout::from_size_align(len.max(4096), 4096).expect("a small length");
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    assert!(!start.is_null(), "out of memory");
    start
}

/// struct io_uring_getevents_arg.
#[repr(C)]
#[derive(Default)]
struct WaitArg {
    sigmask: u64,
    sigmask_len: u32,
    min_wait_us: u32,
    timeout: u64,
}

/// A ring and how it is entered.
pub struct Enter {
    fd: RawFd,
    flags: u32,
    min_wait: Option<(u32, u32)>,
}

impl Enter {
    /// Enters `ring`, through its registered descriptor if wanted.
    pub fn new(ring: &IoUring, registered: bool, min_wait: Option<(u32, u32)>) -> Enter {
        let mut flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        if ring.params().is_feature_no_iowait() {
            flags |= EnterFlags::NO_IOWAIT.bits();
        }
        let mut fd = ring.as_raw_fd();
        if registered {
            fd = register_ring(fd);
            flags |= EnterFlags::REGISTERED_RING.bits();
        }
        Enter { fd, flags, min_wait }
    }
    /// Counts a sleep in the ring as waiting for a disk, as before Linux 6.15.
    pub fn with_iowait(mut self) -> Enter {
        self.flags &= !EnterFlags::NO_IOWAIT.bits();
        self
    }
    /// Submits what is queued and waits for `want` completions, at most `limit`.
    pub fn enter(&self, ring: &mut IoUring, want: u32, limit: Option<io_uring::types::Timespec>) -> io::Result<()> {
        let to_submit = ring.submission().len() as u32;
        let flags = self.flags | if ring.params().is_setup_sqpoll() { sqpoll_flags(ring) } else { 0 };
        let mut arg = WaitArg { timeout: limit.as_ref().map_or(0, |it| from_ref(it) as u64), ..WaitArg::default() };
        let mut want = want;
        if let (Some((micros, count)), true) = (self.min_wait, want > 0) {
            (arg.min_wait_us, want) = (micros, count);
        }
        // SAFETY: the argument has the kernel's layout and outlives the call; what the entries point to is never freed.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, self.fd, to_submit, want, flags, from_ref(&arg), size_of_val(&arg))
        };
        if taken >= 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => Ok(()),
            error => Err(error),
        }
    }
}

fn sqpoll_flags(ring: &mut IoUring) -> u32 {
    if ring.submission().need_wakeup() { EnterFlags::SQ_WAKEUP.bits() } else { 0 }
}

/// struct io_uring_rsrc_update, as IORING_REGISTER_RING_FDS takes it.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

fn register_ring(ring: RawFd) -> RawFd {
    const IORING_REGISTER_RING_FDS: u32 = 20;
    let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
    // SAFETY: one valid io_uring_rsrc_update, which the kernel reads and whose offset it writes.
    let count =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, IORING_REGISTER_RING_FDS, from_mut(&mut update), 1) };
    assert_eq!(count, 1, "the ring's descriptor cannot be registered: {}", io::Error::last_os_error());
    update.offset as RawFd
}

/// On-CPU nanoseconds of all threads of this process but the calling one.
pub fn others_cpu_ns() -> u64 {
    let own = nix::unistd::gettid().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let others = tasks.filter(|task| task.file_name().to_string_lossy() != own);
    let time = |text: String| text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    others.filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok().and_then(time)).sum()
}

/// On-CPU nanoseconds of the calling thread, exact at this very moment (`schedstat` lags behind while a thread runs).
pub fn own_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock, and a timespec that is written during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, from_mut(&mut time)) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
