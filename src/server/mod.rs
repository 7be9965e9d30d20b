//! Layer 8: from the command line to running loops, and back to the shell.
//!
//! ```text
//! parameters ▶ log ▶ descriptors ▶ engine (probed) ▶ sockets ▶ threads, each with its engine ▶ start screen ▶ loops turn
//!                                                          SIGTERM, SIGINT, SHUTDOWN ▶ loops drain ▶ files removed ▶ exit 0
//! ```
//! Whatever prevents a start is told in one sentence with its cause and one with its remedy, and the exit code is 1.

#![forbid(unsafe_code)]

mod apply;
mod boot;
mod cores;
mod courier;
mod crash;
mod daemon;
mod error;
mod journal;
mod limits;
mod listen;
mod oom;
pub mod options;
mod recover;
mod screen;
mod signals;
mod threads;
mod title;
mod users;
mod watchdog;

use daemon::Stays;
use options::Request;

/// Runs the server until it is stopped. Returns the process's exit code.
pub fn run() -> i32 {
    let mut args = std::env::args_os();
    let stands_in = args.next().is_some_and(|program| options::names_another_server(&program));
    match options::parse(args, stands_in) {
        Ok(Request::Print(text)) => {
            print!("{text}");
            0
        }
        Ok(Request::Run(settings)) => match daemon::detach(&settings.config).and_then(|stays| match stays {
            Stays::Child => Ok(()),
            Stays::Here => boot::serve(*settings),
        }) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("error: {error}");
                1
            }
        },
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}
