//! What an operation is called in 64 bits, and what each errno means for it.
//!
//! Both kernels' interfaces give back one `u64` per event: `user_data` of a CQE, `data` of an epoll event. It names the
//! kind of operation and the connection or listener:
//!
//! ```text
//! 63..60 kind | 59..32 slot (or listener) | 31..0 generation
//! ```
//!
//! The errno tables say once what happens next. They list every value that the man pages name for a stream socket; an
//! errno that no table knows is treated as the end of that one connection, or, where the engine itself is concerned, as
//! the end of the engine.

use super::{Errno, SLOT_COUNT_MAX, Token};

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Recv = 1,
    Send = 2,
    Accept = 3,
    Wake = 4,
    Cancel = 5,
}

/// The name of an operation: kind and target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub kind: Kind,
    pub token: Token,
}

const KIND_SHIFT: u32 = 60;
const SLOT_SHIFT: u32 = 32;
const _: () = assert!(SLOT_COUNT_MAX == 1 << (KIND_SHIFT - SLOT_SHIFT), "slot and kind share the upper half");

impl Key {
    /// The 64 bits handed to the kernel.
    #[inline]
    pub fn pack(self) -> u64 {
        debug_assert!(self.token.slot < SLOT_COUNT_MAX);
        (self.kind as u64) << KIND_SHIFT | u64::from(self.token.slot) << SLOT_SHIFT | u64::from(self.token.generation)
    }

    /// The reverse of `pack`. The kernel gives back what it was given: anything else is a broken invariant.
    #[inline]
    pub fn unpack(bits: u64) -> Key {
        let kind = match bits >> KIND_SHIFT {
            1 => Kind::Recv,
            2 => Kind::Send,
            3 => Kind::Accept,
            4 => Kind::Wake,
            5 => Kind::Cancel,
            other => panic!("operation of unknown kind {other}"),
        };
        let slot = (bits >> SLOT_SHIFT) as u32 & (SLOT_COUNT_MAX - 1);
        Key { kind, token: Token { slot, generation: bits as u32 } }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing happened; do it again.
    Retry,
    /// No resources; do it again after a pause.
    BackOff,
    /// The kernel did what we asked it to: the operation was cancelled.
    Cancelled,
    /// This connection is over.
    Close,
    /// This listener, or the whole engine, cannot go on.
    Stop,
}

/// Receiving. Source: recv(2), tcp(7), io_uring_prep_recv_multishot(3).
pub(super) fn recv_failed(errno: Errno) -> Verdict {
    match errno {
        Errno::EINTR | Errno::EAGAIN => Verdict::Retry,
        Errno::ENOBUFS => Verdict::BackOff, // No provided buffer (ring): nothing lost, armed again once there are some.
        Errno::ECANCELED => Verdict::Cancelled,
        Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ECONNABORTED | Errno::EPIPE => Verdict::Close,
        Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ENETDOWN => Verdict::Close,
        Errno::ENOTCONN | Errno::ENOMEM => Verdict::Close,
        _ => Verdict::Close,
    }
}

/// Sending. Source: send(2), tcp(7).
pub(super) fn send_failed(errno: Errno) -> Verdict {
    match errno {
        Errno::EINTR | Errno::EAGAIN => Verdict::Retry, // epoll: wait for EPOLLOUT; ring: submit again, it polls.
        Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNABORTED | Errno::ENOTCONN => Verdict::Close,
        Errno::ETIMEDOUT | Errno::EHOSTUNREACH | Errno::ENETUNREACH | Errno::ENETDOWN => Verdict::Close,
        Errno::ENOBUFS | Errno::ENOMEM => Verdict::Close, // As Redis does: a reply that cannot be queued ends its client.
        Errno::ECANCELED => Verdict::Close,
        _ => Verdict::Close,
    }
}

/// Accepting. Source: accept(2), whose "Error handling" asks to treat pending network errors like EAGAIN.
pub(super) fn accept_failed(errno: Errno) -> Verdict {
    match errno {
        Errno::EINTR | Errno::EAGAIN | Errno::ECONNABORTED | Errno::EPERM => Verdict::Retry,
        Errno::ENETDOWN | Errno::EPROTO | Errno::ENOPROTOOPT | Errno::EHOSTDOWN => Verdict::Retry,
        Errno::ENONET | Errno::EHOSTUNREACH | Errno::EOPNOTSUPP | Errno::ENETUNREACH => Verdict::Retry,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => Verdict::BackOff,
        Errno::ECANCELED => Verdict::Cancelled,
        Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EFAULT => Verdict::Stop,
        _ => Verdict::Stop,
    }
}

/// Waiting: `io_uring_enter` and `epoll_wait`. Source: io_uring_enter(2), epoll_wait(2).
pub(super) fn wait_failed(errno: Errno) -> Verdict {
    match errno {
        Errno::EINTR | Errno::ETIME => Verdict::Retry, // A signal, or time is over: nothing to report.
        Errno::EBUSY | Errno::EAGAIN => Verdict::Retry, // Completions must be reaped, or requests freed, first.
        Errno::EBADF | Errno::EBADFD | Errno::EBADR | Errno::EINVAL => Verdict::Stop,
        Errno::EFAULT | Errno::ENXIO | Errno::EOPNOTSUPP | Errno::EEXIST | Errno::EOWNERDEAD => Verdict::Stop,
        _ => Verdict::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_kernel() {
        let corners = [0, 1, SLOT_COUNT_MAX - 1];
        for kind in [Kind::Recv, Kind::Send, Kind::Accept, Kind::Wake, Kind::Cancel] {
            for slot in corners {
                for generation in [0, 1, u32::MAX] {
                    let key = Key { kind, token: Token { slot, generation } };
                    assert_eq!(Key::unpack(key.pack()), key);
                }
            }
        }
    }
}
