//! `ringdb-load`: a load generator that costs less per command than the server it loads.
//!
//! A load is `clients` connections that each repeat one exchange: send a batch of `pipeline` commands, wait for all
//! their replies, send the next batch. Three habits keep the price per command at a few nanoseconds above the kernel's:
//!
//! * `batch`  a batch is one template of finished RESP; a draw only patches eight digits per key;
//! * `scan`   replies are counted by a scanner that skips over bulks and keeps nothing;
//! * `worker` one epoll loop, one `recv` and one `send` per batch, one clock reading per batch.
//!
//! The number to compare servers by is **server CPU ns per command**: the on-CPU time of all threads of the server
//! (`process`) during the measured interval, divided by the replies of that interval. It does not depend on which side
//! is the bottleneck, as commands per second do. `verify` trades speed for checks of every reply.

#![forbid(unsafe_code)]
// The load generator has no protocol for a model checker, so it may use the standard library's atomics.
#![allow(clippy::disallowed_types)]

mod audience;
mod batch;
mod histogram;
mod idle;
mod keys;
mod options;
mod process;
mod report;
mod run;
mod scan;
mod socket;
mod storm;
mod verify;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = options::Options::parse();
    match run::run(&options) {
        Ok(report) => {
            report.print(options.json);
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("ringdb-load: {error}");
            ExitCode::FAILURE
        }
    }
}
