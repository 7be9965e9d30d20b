//! Signals. SIGTERM and SIGINT stop the server, a SIGINT that comes before it has stopped does at once; SIGHUP and SIGPIPE mean
//! nothing to it.
//!
//! All of them are blocked in every thread and taken out one by one by a thread that does nothing else: no handler, so
//! nothing has to be safe inside one.

use crate::admin::ending::Ending;
use crate::admin::log;
use crate::base::crash;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use std::thread;

/// Blocks the signals for this thread and all that it will make. To be called before the first of them.
pub fn block() {
    let mut set = stopping();
    set.add(Signal::SIGHUP);
    set.add(Signal::SIGPIPE);
    // It fails only for an invalid argument, and there is none.
    set.thread_block().expect("these signals can be blocked");
}

fn stopping() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set
}

/// Calls `stop` at SIGTERM or SIGINT, on a thread of its own. A SIGINT while that is under way ends the process with exit code 1,
/// behind `clean_up`.
pub fn watch(
    ending: &'static Ending,
    stop: impl Fn() + Send + 'static,
    clean_up: impl Fn() + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new().name("signals".into()).spawn(move || {
        crash::prepare_thread();
        loop {
            let Ok(signal) = stopping().wait() else { continue };
            let is_sigint = signal == Signal::SIGINT;
            if !ending.ask(is_sigint) && is_sigint {
                log::warning(format_args!("You insist: leaving now."));
                clean_up();
                std::process::exit(1);
            }
            log::warning(format_args!("Received {signal}, scheduling shutdown..."));
            stop();
        }
    })?;
    Ok(())
}
