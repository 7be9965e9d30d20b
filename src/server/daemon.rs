//! `daemonize yes`: the server goes on in the background, in a session of its own.
//!
//! The program starts itself again instead of forking: nothing of the half-started process has to survive. What the child
//! prints goes nowhere, as with Redis; it has `logfile` to speak.

use super::error::StartError;
use crate::admin::config::Config;
use crate::admin::params::Id;
use std::process::{Command, Stdio};

/// Set in the environment of the process in the background.
const MARK: &str = "RINGDB_DAEMONIZED";

/// Where the server runs.
pub enum Stays {
    /// In the process that was just started; this one leaves.
    Child,
    Here,
}

/// Starts the server in the background if `daemonize` asks for it and this is not yet that process.
/// Errors: the program cannot be started again.
pub fn detach(config: &Config) -> Result<Stays, StartError> {
    if config.number(Id::DAEMONIZE) == 0 {
        return Ok(Stays::Here);
    }
    if std::env::var_os(MARK).is_some() {
        let _ = nix::unistd::setsid(); // It fails only if there is a session already.
        return Ok(Stays::Here);
    }
    let program = std::env::current_exe();
    let child = program.and_then(|program| {
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1)).env(MARK, "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    });
    child.map(|_| Stays::Child).map_err(|error| StartError(format!("Cannot go into the background: {error}.")))
}
