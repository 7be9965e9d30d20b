//! `Host`: what a script needs from the server.

#![forbid(unsafe_code)]

use crate::resp::args::Args;
use crate::resp::reply::Reply;

/// What becomes of a script that is still running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoOn,
    /// The script ends with this error line.
    End(&'static str),
}

/// `redis.log`'s levels; the numbers are Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// See the module header. No method calls back into the interpreter.
pub trait Host {
    /// Runs a command and appends its reply, or the error for which it may not run, to `reply`, in `reply`'s protocol.
    fn call(&mut self, args: Args<'_>, reply: &mut Reply);
    /// May the user run this command? None: there is no such command.
    fn may_run(&mut self, args: Args<'_>) -> Option<bool>;
    /// Called every hundred thousand instructions or so.
    fn interrupt(&mut self) -> Verdict;
    /// A line for the server's log.
    fn log(&mut self, level: LogLevel, line: &[u8]);
    /// The script replied with an error that no command has counted yet.
    fn count_error(&mut self, code: &str);
    /// `redis.set_repl`: are further changes to be told to the AOF, to replicas?
    fn propagate(&mut self, _to_aof: bool, _to_replicas: bool) {}
}
