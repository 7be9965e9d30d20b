//! The end of the server that a signal asks for.
//!
//! ```text
//! Quiet ─signal▶ Asked ─the first loop▶ Begun ─▶ the process ends
//!   ▲              │ SHUTDOWN ABORT       │ what must be saved cannot be
//!   └──────────────┴──────────────────────┘
//! ```
//! Whoever asks once more by SIGINT before it is over wants it at once.

use crate::base::sync::{AtomicU32, Ordering::Relaxed};

const QUIET: u32 = 0;
const ASKED: u32 = 1;
const ASKED_BY_SIGINT: u32 = 2;
const BEGUN: u32 = 3;

/// See the module header.
#[derive(Default)]
pub struct Ending {
    state: AtomicU32,
    /// DEBUG's switch: what is asked for waits.
    is_held: AtomicU32,
}

impl Ending {
    /// A signal has come. False: the end was asked for before.
    pub fn ask(&self, is_sigint: bool) -> bool {
        let asked = if is_sigint { ASKED_BY_SIGINT } else { ASKED };
        self.state.compare_exchange(QUIET, asked, Relaxed, Relaxed).is_ok()
    }
    /// Is it to begin now? None: nobody has asked, or it is held; else whether SIGINT has asked.
    pub fn begin(&self) -> Option<bool> {
        if self.is_held.load(Relaxed) != 0 {
            return None;
        }
        let asked = self.state.load(Relaxed);
        let is_asked = matches!(asked, ASKED | ASKED_BY_SIGINT);
        (is_asked && self.leave(asked, BEGUN)).then_some(asked == ASKED_BY_SIGINT)
    }
    /// It has not begun, and nobody wants it any more. False: nobody had asked.
    pub fn abort(&self) -> bool {
        self.leave(ASKED, QUIET) || self.leave(ASKED_BY_SIGINT, QUIET)
    }
    /// The server goes on.
    pub fn refuse(&self) {
        self.state.store(QUIET, Relaxed);
    }
    pub fn hold(&self, is_held: bool) {
        self.is_held.store(is_held as u32, Relaxed);
    }
    fn leave(&self, from: u32, to: u32) -> bool {
        self.state.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_asked_for_once_and_again_after_a_refusal() {
        let ending = Ending::default();
        assert_eq!(ending.begin(), None);
        assert!(ending.ask(true) && !ending.ask(true));
        assert_eq!((ending.begin(), ending.begin()), (Some(true), None));
        assert!(!ending.abort() && !ending.ask(true), "it has begun");
        ending.refuse();
        assert!(ending.ask(false) && ending.abort() && !ending.abort());
    }

    #[test]
    fn what_is_held_can_be_aborted() {
        let ending = Ending::default();
        ending.hold(true);
        ending.ask(false);
        assert_eq!(ending.begin(), None);
        ending.hold(false);
        assert_eq!(ending.begin(), Some(false));
    }
}
