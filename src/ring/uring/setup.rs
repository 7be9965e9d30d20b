//! Making a ring: the ladder of set-ups, and the two system calls that the `io-uring` crate does not wrap as we need them.
//!
//! ```text
//! EINVAL   full set  ▶ without NO_SQARRAY (< 6.6)  ▶ COOP instead of DEFER_TASKRUN (< 6.1)  ▶ give up (epoll)
//! ENOMEM   1024/8192 entries  ▶ 256/1024 (a small RLIMIT_MEMLOCK)  ▶ again, for a while  ▶ give up
//! ```
//!
//! "Again" because the memory of a ring that was just closed, the probe's for one, is accounted until the kernel gets round
//! to freeing it (kernel-notes/01).
//!//!
//! Never a ring without DEFER or COOP: it was measured 25-30 % dearer than epoll. SUBMIT_ALL (5.18), the registered ring
//! descriptor (5.18) and buffer rings (5.19) are older than multishot receive (6.0), which we need anyway.
//! Source: io_uring_setup(2), kernel-notes/01.

use io_uring::{EnterFlags, IoUring, types};
use nix::errno::Errno;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use std::{io, mem, ptr, thread};

/// A ring and how it is entered.
pub(super) struct Ring {
    pub uring: IoUring,
    pub rung: Rung,
    /// The ring's index in the thread's table of registered rings, or its descriptor.
    enter_fd: libc::c_int,
    enter_flags: u32,
}

/// Steps of the ladder, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rung {
    Full,
    WithSqArray,
    Coop,
}

impl Rung {
    fn next(self) -> Option<Rung> {
        match self {
            Rung::Full => Some(Rung::WithSqArray),
            Rung::WithSqArray => Some(Rung::Coop),
            Rung::Coop => None,
        }
    }

    /// For the log line and INFO.
    pub fn describe(self) -> &'static str {
        match self {
            Rung::Full => "single issuer, deferred task work, no SQ array",
            Rung::WithSqArray => "single issuer, deferred task work",
            Rung::Coop => "single issuer, cooperative task work",
        }
    }
}

/// Entries when locked memory is scarce.
const SMALL: (u32, u32) = (256, 1024);
/// How long the kernel may take to free a closed ring; some 50 ms were seen.
const FREE_WAIT: Duration = Duration::from_millis(500);
const FREE_TICK: Duration = Duration::from_millis(10);

impl Ring {
    /// Climbs down the ladder until the kernel agrees. The calling thread becomes the ring's only user.
    pub fn new(submit_entries: u32, complete_entries: u32) -> io::Result<Ring> {
        let (mut rung, mut entries) = (Rung::Full, (submit_entries, complete_entries));
        let deadline = Instant::now() + FREE_WAIT;
        loop {
            let error = match Ring::on_rung(rung, entries) {
                Ok(ring) => return Ok(ring),
                Err(error) => error,
            };
            match (Errno::from_raw(error.raw_os_error().unwrap_or(0)), rung.next()) {
                (Errno::EINVAL, Some(next)) => rung = next,
                (Errno::ENOMEM, _) if entries.0 > SMALL.0 => entries = SMALL,
                (Errno::ENOMEM, _) if Instant::now() < deadline => thread::sleep(FREE_TICK),
                _ => return Err(error),
            }
        }
    }

    /// A ring of exactly this kind.
    pub fn on_rung(rung: Rung, entries: (u32, u32)) -> io::Result<Ring> {
        build(rung, entries).map(|uring| Ring::enter_by_index(uring, rung))
    }

    /// Registers the ring's descriptor, which saves looking it up at each enter. Without it the ring works as well.
    fn enter_by_index(uring: IoUring, rung: Rung) -> Ring {
        let mut enter_flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        if uring.params().is_feature_no_iowait() {
            enter_flags |= EnterFlags::NO_IOWAIT.bits(); // 6.15: a sleeping loop is idle, not waiting for a disk.
        }
        let enter_fd = match register_ring_fd(uring.as_raw_fd()) {
            Ok(index) => {
                enter_flags |= EnterFlags::REGISTERED_RING.bits();
                index
            }
            Err(_) => uring.as_raw_fd(),
        };
        Ring { uring, rung, enter_fd, enter_flags }
    }

    /// Submits what is in the submission queue, runs deferred work, and sleeps until `want` completions are there.
    /// Returns how many submissions the kernel took.
    pub fn enter(&mut self, want: u32, timeout: Option<Duration>) -> Result<usize, Errno> {
        let to_submit = self.uring.submission().len();
        let limit = timeout.map(types::Timespec::from);
        let mut args = types::SubmitArgs::new();
        if let (Some(limit), true) = (&limit, want > 0) {
            args = args.timespec(limit);
        }
        // SAFETY: `args` has the layout of io_uring_getevents_arg (repr(transparent)) and, like the time it points to,
        // outlives the call. The entries in the queue are valid: `Uring::push` promises it for each.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_fd,
                to_submit as u32,
                want,
                self.enter_flags,
                ptr::from_ref(&args),
                mem::size_of_val(&args),
            )
        };
        Errno::result(taken).map(|taken| taken as usize)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.enter_flags & EnterFlags::REGISTERED_RING.bits() != 0 {
            unregister_ring_fd(self.uring.as_raw_fd(), self.enter_fd);
        }
    }
}

fn build(rung: Rung, (submit_entries, complete_entries): (u32, u32)) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_submit_all().setup_taskrun_flag();
    builder.setup_cqsize(complete_entries).setup_clamp();
    match rung {
        Rung::Full => builder.setup_defer_taskrun().setup_no_sqarray(),
        Rung::WithSqArray => builder.setup_defer_taskrun(),
        Rung::Coop => builder.setup_coop_taskrun(),
    };
    builder.build(submit_entries)
}

/// struct io_uring_rsrc_update, as IORING_REGISTER_RING_FDS takes it.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}
const IORING_REGISTER_RING_FDS: u32 = 20;
const IORING_UNREGISTER_RING_FDS: u32 = 21;
const ANY_INDEX: u32 = u32::MAX;

fn register_ring_fd(ring: libc::c_int) -> io::Result<libc::c_int> {
    let mut update = RingUpdate { offset: ANY_INDEX, reserved: 0, data: ring as u64 };
    // SAFETY: one valid io_uring_rsrc_update, which the kernel reads and whose `offset` it writes during the call.
    let rc = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring, IORING_REGISTER_RING_FDS, ptr::from_mut(&mut update), 1)
    };
    if rc == 1 { Ok(update.offset as libc::c_int) } else { Err(io::Error::last_os_error()) }
}

fn unregister_ring_fd(ring: libc::c_int, index: libc::c_int) {
    let update = RingUpdate { offset: index as u32, reserved: 0, data: 0 };
    // SAFETY: one valid io_uring_rsrc_update, read during the call. Nobody enters through the index any more: `Ring` is
    // being dropped. A failure leaves the index taken until the thread ends, which harms nothing.
    unsafe { libc::syscall(libc::SYS_io_uring_register, ring, IORING_UNREGISTER_RING_FDS, ptr::from_ref(&update), 1) };
}
