//! Running a script: what it calls are commands of its client, judged one by one.
//!
//! ```text
//! perform    the interpreter runs the script; its redis.call comes here as `Host::call`
//! call       the row exists, takes so many arguments, is for scripts, its user may, it may write ─▶ `Turn::run_inside`
//! interrupt  too long: the other loops go on in busy mode, this loop's clients get turns in between; killed? stopping?
//! ```
//! A script that just holds its keys (`section`) is short, so it is not interrupted.
//!
//! The client's own session serves: the script's SELECT and its protocol are undone at the end.

use super::alone::Others;
use super::dispatch::Turn;
use super::room::OUT_OF_MEMORY;
use super::section::FIRST_KEY;
use crate::admin::acl::log::Context;
use crate::admin::acl::selector::Denial;
use crate::admin::log::{self, Level};
use crate::base::clock::MonoNs;
use crate::base::sync::Ordering::Relaxed;
use crate::cmd::alone::{FunctionJob, ScriptJob};
use crate::cmd::command::{Command, Flow, flag};
use crate::cmd::script::patience_ms;
use crate::cmd::scripts::Running;
use crate::cmd::session::{Session, Standing};
use crate::cmd::{permission, table};
use crate::keyspace::safepoint::Stay;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::script::host::{LogLevel, Verdict};
use crate::script::{Call, Host, plain};
use std::time::Duration;

const UNKNOWN: ReplyError = ReplyError::text("ERR Unknown Redis command called from script");
const ARITY: ReplyError = ReplyError::text("ERR Wrong number of args calling Redis command from script");
const NOT_HERE: ReplyError = ReplyError::text("ERR This Redis command is not allowed from script");
const NOT_HELD: ReplyError = ReplyError::text("ERR This script may only use the keys that it was given");
const READ_ONLY: ReplyError = ReplyError::text("ERR Write commands are not allowed from read-only scripts.");
const NO_MEMORY: ReplyError =
    ReplyError::text("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'");
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";
const FUNCTION_KILLED: &str = "ERR Script killed by user with FUNCTION KILL...";
const STOPPING: &str = "ERR the server is shutting down";

/// How a script runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Everything else stands still.
    Alone,
    /// Its keys are held.
    Held,
}

/// The host of one run.
struct Stage<'s, 't> {
    turn: &'s mut Turn<'t>,
    session: &'s mut Session,
    others: &'s mut dyn Others,
    call: &'s Call<'s>,
    way: Way,
    is_read_only: bool,
    /// Memory is short: no command that may need more may be the first to write.
    is_short: bool,
    /// A write command was let through.
    has_written: bool,
    started: MonoNs,
    patience: Option<Duration>,
    is_busy: bool,
}

impl Turn<'_> {
    /// Runs a script of EVAL.
    pub(super) fn run_script(
        &mut self,
        job: &ScriptJob,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
        way: Way,
    ) -> Flow {
        if self.is_short && job.allows_oom == Some(false) {
            self.refuse(reply, &NO_MEMORY);
            return Flow::Done;
        }
        let is_short = self.is_short && job.allows_oom.is_none();
        let parts = job.args.parts();
        let is_watched = !job.is_plain() && patience_ms(self.world).is_some();
        let (args, key_count, first) = (Args::of(&parts), job.key_count, FIRST_KEY);
        let call = Call {
            chunk: job.script.chunk,
            name: job.script.name(),
            args,
            first,
            key_count,
            is_eval: true,
            is_watched,
        };
        let mut scripts = std::mem::take(&mut self.effects.scripts);
        self.host(&call, way, (job.is_read_only, is_short), session, others, |host| {
            scripts.interp().run(&call, host, reply)
        });
        self.world.scripts.note_interpreter(session.home, scripts.interp().memory());
        self.effects.scripts = scripts;
        Flow::Done
    }

    /// Runs a function of FCALL.
    pub(super) fn run_function(
        &mut self,
        job: &FunctionJob,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
    ) -> Flow {
        if self.is_short && !job.allows_oom {
            self.refuse(reply, &NO_MEMORY);
            return Flow::Done;
        }
        let parts = job.args.parts();
        let is_watched = patience_ms(self.world).is_some();
        let (args, key_count) = (Args::of(&parts), job.key_count);
        let first = FIRST_KEY;
        let call = Call { chunk: job.chunk, name: &job.name, args, first, key_count, is_eval: false, is_watched };
        let mut functions = std::mem::take(&mut self.effects.functions);
        let limits = (job.is_read_only, false);
        self.host(&call, Way::Alone, limits, session, others, |host| functions.interp().run(&call, host, reply));
        self.world.functions.note_interpreter(session.home, functions.interp().memory());
        self.effects.functions = functions;
        Flow::Done
    }

    /// Lets `run` run a script with a host, and undoes what must not outlive it.
    pub(super) fn host(
        &mut self,
        call: &Call<'_>,
        way: Way,
        (is_read_only, is_short): (bool, bool),
        session: &mut Session,
        others: &mut dyn Others,
        run: impl FnOnce(&mut dyn Host),
    ) {
        let (db, denied_blocking) = (session.db, session.denies_blocking);
        session.denies_blocking = true;
        session.is_scripted = true;
        let mut stage = Stage {
            patience: patience_ms(self.world).map(Duration::from_millis),
            turn: self,
            session,
            others,
            call,
            way,
            is_read_only,
            is_short,
            has_written: false,
            started: MonoNs::now(),
            is_busy: false,
        };
        run(&mut stage);
        if stage.is_busy {
            stage.turn.step_in(stage.session.home, Stay::Short); // Before anybody may touch data again.
            stage.turn.world.scripts.busy.end();
            stage.turn.world.attention.set_busy(false);
        }
        session.is_scripted = false;
        session.denies_blocking = denied_blocking;
        if session.db != db {
            session.select(db);
        }
    }
}

impl Stage<'_, '_> {
    /// The row of a command that this script may run.
    /// Errors: why not.
    fn admit(&mut self, args: &Args<'_>) -> Result<&'static Command, ReplyError> {
        let row = find(args)?;
        if row.has(flag::NOSCRIPT) && !self.turn.world.scripts.may_call_all.load(Relaxed) {
            return Err(self.reject(row, NOT_HERE));
        }
        if self.session.standing(&self.turn.world.acl) != Standing::Unrestricted
            && let Err(denial) = permission::check(self.session.user(), row, args)
        {
            permission::note_denial(self.turn.world, self.session, row, args, denial, Context::Lua);
            let reason = match denial {
                Denial::Command => permission::explain(self.session.user(), row, args, denial),
                Denial::Key(_) => "No permissions to access a key".into(),
                Denial::Channel(_) => "No permissions to access a channel".into(),
            };
            return Err(self.reject(row, ReplyError::owned(format!("ERR ACL failure in script: {reason}"))));
        }
        if self.is_read_only && row.has(flag::WRITE | flag::MAY_REPLICATE) {
            return Err(self.reject(row, READ_ONLY));
        }
        if row.has(flag::WRITE)
            && self.turn.world.attention.refuses_writes()
            && let Some(error) = self.turn.write_refusal()
        {
            return Err(self.reject(row, error));
        }
        if self.is_short && !self.has_written && row.has(flag::DENYOOM) {
            return Err(self.reject(row, OUT_OF_MEMORY));
        }
        if self.way == Way::Held && !self.holds_key(row, args) {
            return Err(self.reject(row, NOT_HELD));
        }
        Ok(row)
    }

    /// Is the command about one of the keys that are held? The script's text says so: this is for the mistakes of its reader.
    fn holds_key(&self, row: &Command, args: &Args<'_>) -> bool {
        let is_keyless = plain::KEYLESS.contains(&row.name);
        let mut held = (0..self.call.key_count).map(|index| self.call.args.get(self.call.first + index));
        is_keyless || row.is_about_its_first_argument() && held.any(|key| key == args.get(1))
    }

    fn reject(&self, row: &Command, error: ReplyError) -> ReplyError {
        if let Some(counters) = self.turn.stats.command(row.index) {
            counters.rejected.add(1);
        }
        error
    }

    /// The script has run for too long: everybody goes on, but may do next to nothing.
    fn become_busy(&mut self) {
        let (world, ms) = (self.turn.world, MonoNs::now().since(self.started).as_millis());
        let command = if self.call.is_eval { "SCRIPT KILL" } else { "FUNCTION KILL" };
        log::warning(format_args!(
            "Slow script detected: still in execution after {ms} milliseconds. You can try killing the script using the \
             {command} command. Script name is: {}.",
            self.call.name
        ));
        let command = self.call.args.iter_from(0).map(Box::from).collect();
        let running = Running { name: self.call.name.into(), command, since: self.started };
        self.is_busy = true;
        world.scripts.busy.begin(running, !self.call.is_eval, self.has_written);
        world.attention.set_busy(true);
        self.turn.step_out(self.session.home);
    }
}

/// The row of a command.
/// Errors: there is none, or it takes another number of arguments.
fn find(args: &Args<'_>) -> Result<&'static Command, ReplyError> {
    match table::lookup(args.get(0)) {
        Some(row) if row.subs.is_empty() && row.accepts(args.count()) => Ok(row),
        Some(row) if row.subs.is_empty() || args.count() < 2 => Err(ARITY),
        Some(row) => match table::lookup_sub(row, args.get(1)) {
            Some(sub) if sub.accepts(args.count()) => Ok(sub),
            Some(_) => Err(ARITY),
            None => Err(UNKNOWN),
        },
        None => Err(UNKNOWN),
    }
}

impl Host for Stage<'_, '_> {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply) {
        match self.admit(&args) {
            Ok(row) => {
                if row.has(flag::WRITE) && !self.has_written {
                    self.has_written = true;
                    if self.way == Way::Alone {
                        self.turn.world.scripts.busy.note_write(); // Others never ask about one that just holds its keys.
                    }
                }
                self.turn.run_inside(row, args, self.session, reply, self.others);
            }
            Err(error) => self.turn.refuse(reply, &error),
        }
    }

    fn may_run(&mut self, args: Args<'_>) -> Option<bool> {
        let row = find(&args).ok()?;
        Some(permission::check(self.session.user(), row, &args).is_ok())
    }

    fn interrupt(&mut self) -> Verdict {
        if self.way == Way::Held {
            return Verdict::GoOn;
        }
        if !self.is_busy {
            let is_over = self.patience.is_some_and(|patience| MonoNs::now().since(self.started) >= patience);
            if !is_over {
                return Verdict::GoOn;
            }
            self.become_busy();
        }
        self.turn.effects.told_micros = None; // TIME goes on, as in Redis 8, so who waits for it comes to an end.
        self.others.turn();
        match () {
            _ if self.others.is_stopping() => Verdict::End(STOPPING),
            _ if !self.turn.world.scripts.busy.is_killed() => Verdict::GoOn,
            _ if !self.call.is_eval => Verdict::End(FUNCTION_KILLED),
            _ => Verdict::End(KILLED),
        }
    }

    fn log(&mut self, level: LogLevel, line: &[u8]) {
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Verbose => Level::Verbose,
            LogLevel::Notice => Level::Notice,
            LogLevel::Warning => Level::Warning,
        };
        log::write(level, format_args!("{}", String::from_utf8_lossy(line)));
    }

    fn count_error(&mut self, code: &str) {
        self.turn.stats.count_script_error(code);
    }
}
