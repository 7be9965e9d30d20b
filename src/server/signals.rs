//! Signals. SIGTERM and SIGINT stop the server, a second SIGINT at once; SIGHUP and SIGPIPE mean nothing to it.
//!
//! All of them are blocked in every thread and taken out one by one by a thread that does nothing else: no handler, so
//! nothing has to be safe inside one.

use crate::admin::log;
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

/// Calls `stop` at the first SIGTERM or SIGINT, on a thread of its own. A second SIGINT ends the process with exit code 1.
pub fn watch(stop: impl Fn() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_stopping = false;
        loop {
            let Ok(signal) = stopping().wait() else { continue };
            if is_stopping && signal == Signal::SIGINT {
                log::warning(format_args!("You insist: leaving now."));
                std::process::exit(1);
            }
            log::warning(format_args!("Received {signal}, scheduling shutdown..."));
            is_stopping = true;
            stop();
        }
    })?;
    Ok(())
}
