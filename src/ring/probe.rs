//! Which engine this machine can run, found out by trying.
//!
//! ```text
//! set up a ring (with its ladder) ▶ register a buffer ring ▶ one multishot receive on a socketpair
//! ```
//!
//! Asking for features is not enough: containers answer EPERM or ENOSYS through seccomp, a sysctl answers EPERM, and
//! multishot receive has no feature bit at all. So the probe runs a small engine. `auto` falls back to epoll only for
//! EPERM, ENOSYS, EINVAL and ENOMEM; anything else is a surprise, and a surprise at start-up is said aloud.
//! Source: io_uring_setup(2); kernel-notes/01.

use super::uring::Uring;
use super::{Completion, Engine, Errno, Kind, Sizes, Token};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What `--io-engine` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Requested {
    /// io_uring if it works, epoll if the kernel or its owner does not allow it.
    #[default]
    Auto,
    Uring,
    Epoll,
}

/// The engine to run and why, in one line.
/// Errors: the engine that was asked for cannot run: one sentence with cause and remedy.
pub fn choose(requested: Requested) -> Result<(Kind, String), String> {
    choose_by(requested, try_uring)
}

fn choose_by(
    requested: Requested,
    try_uring: impl FnOnce() -> Result<&'static str, Trouble>,
) -> Result<(Kind, String), String> {
    if requested == Requested::Epoll {
        return Ok((Kind::Epoll, "asked for with --io-engine epoll".into()));
    }
    let trouble = match try_uring() {
        Ok(set_up) => return Ok((Kind::Uring, set_up.into())),
        Err(trouble) => trouble,
    };
    let (cause, remedy) = explain(&trouble);
    match requested {
        Requested::Auto if may_fall_back(trouble.errno) => {
            Ok((Kind::Epoll, format!("io_uring is not available: {cause}; to use it, {remedy}")))
        }
        Requested::Auto => {
            Err(format!("io_uring failed in an unexpected way: {cause}; {remedy}, or start with --io-engine epoll"))
        }
        _ => Err(format!("--io-engine uring cannot run here: {cause}; {remedy}, or use --io-engine auto")),
    }
}

/// Why a ring does not work here.
struct Trouble {
    step: &'static str,
    errno: Errno,
}

fn may_fall_back(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::ENOSYS | Errno::EINVAL | Errno::ENOMEM)
}

/// Cause and remedy, as parts of a sentence.
fn explain(trouble: &Trouble) -> (String, &'static str) {
    let Trouble { step, errno } = trouble;
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match errno {
        Errno::EPERM if matches!(sysctl.trim(), "1" | "2") => (
            format!("kernel.io_uring_disabled is {} (EPERM)", sysctl.trim()),
            "set that sysctl to 0, or to 1 and put this user in kernel.io_uring_group",
        ),
        Errno::EPERM => (
            "a seccomp filter or security module forbids it (EPERM)".into(),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile",
        ),
        Errno::ENOSYS => (
            "this kernel or sandbox does not have it (ENOSYS)".into(),
            "run on Linux 6.1 or newer, outside sandboxes that emulate system calls",
        ),
        Errno::EINVAL => (format!("this kernel is too old for it ({step}: EINVAL)"), "run on Linux 6.1 or newer"),
        Errno::ENOMEM => (
            format!("locked memory is too small for it ({step}: ENOMEM)"),
            "raise `ulimit -l` (LimitMEMLOCK) to 512 KiB per I/O thread",
        ),
        errno => (format!("{step}: {} ({errno:?})", errno.desc()), "report this with the kernel's version"),
    }
}

/// How long the socketpair may take to deliver; it takes microseconds.
const RECEIVE_LIMIT: Duration = Duration::from_secs(2);

/// Runs a small ring through all that the engine depends on. Says how it was set up.
fn try_uring() -> Result<&'static str, Trouble> {
    let trouble = |step| move |error: std::io::Error| Trouble { step, errno: errno_of(&error) };
    let sizes = Sizes { buffer_len: 4096, buffer_count: 8, ..Sizes::default() };
    let mut engine = Uring::new(&sizes).map_err(trouble("setting up the ring"))?;
    let (mut ours, theirs) = UnixStream::pair().map_err(trouble("making a socketpair"))?;
    ours.write_all(b"PING").map_err(trouble("writing to a socketpair"))?;
    let token = Token { slot: 0, generation: 0 };
    engine.open(token, theirs.into());
    let deadline = Instant::now() + RECEIVE_LIMIT;
    let mut out = Vec::new();
    while Instant::now() < deadline {
        engine.wait(Some(RECEIVE_LIMIT), &mut out).map_err(trouble("entering the ring"))?;
        match out.pop() {
            Some(Completion::Received { filled, .. }) => {
                engine.give_back(filled);
                engine.close(token);
                return Ok(engine.describe());
            }
            Some(Completion::Closed { end, .. }) => {
                let errno = if let super::End::Failed(errno) = end { errno } else { Errno::EIO };
                return Err(Trouble { step: "receiving by multishot", errno });
            }
            _ => {}
        }
    }
    Err(Trouble { step: "receiving by multishot", errno: Errno::ETIMEDOUT })
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(errno: Errno) -> impl FnOnce() -> Result<&'static str, Trouble> {
        move || Err(Trouble { step: "setting up the ring", errno })
    }

    #[test]
    fn auto_takes_the_ring_where_it_works() {
        assert_eq!(choose_by(Requested::Auto, || Ok("full")), Ok((Kind::Uring, "full".into())));
    }

    #[test]
    fn auto_falls_back_only_when_the_ring_is_not_to_be_had() {
        for errno in [Errno::EPERM, Errno::ENOSYS, Errno::EINVAL, Errno::ENOMEM] {
            let (kind, reason) = choose_by(Requested::Auto, failing(errno)).unwrap();
            assert_eq!(kind, Kind::Epoll);
            assert!(reason.contains(&format!("{errno:?}")) && reason.contains("to use it"), "{reason}");
            assert!(!reason.contains('\n'));
        }
        assert!(choose_by(Requested::Auto, failing(Errno::EIO)).is_err());
    }

    #[test]
    fn a_ring_that_was_asked_for_fails_with_cause_and_remedy() {
        let text = choose_by(Requested::Uring, failing(Errno::ENOSYS)).unwrap_err();
        assert!(text.contains("ENOSYS") && text.contains("Linux 6.1"), "{text}");
    }

    #[test]
    fn epoll_is_not_probed_for() {
        let never = || -> Result<&'static str, Trouble> { panic!("probed") };
        assert_eq!(choose_by(Requested::Epoll, never).unwrap().0, Kind::Epoll);
    }

    #[test]
    fn this_machine_is_judged_without_surprise() {
        let (kind, reason) = choose(Requested::Auto).unwrap();
        println!("{kind}: {reason}");
    }
}
