//! Running what may need everything else to stand still: the commands of a transaction, scripts.
//!
//! ```text
//! call       a handler returned Flow::Alone: its job becomes a `Cue`
//! play       enters the safepoint, unless this loop is inside; runs the job; serves who waits for what it filled
//! stay       the loop remains inside for the next commands of the window, as long as they are light (`Turn::step_out`);
//!            behind scripts also for the next windows, for a millisecond at most (`event_loop::window::end_stay`)
//! ```
//! So a window of many small transactions stops the others once. Inside nothing waits: a blocking command replies as after a
//! timeout, a long one is run to its end, and those who wait for keys are served behind the whole, as in Redis.
//!
//! *Transactions and plain scripts on keys that are known* need no stop, unless something else is in the way: see `section`. Once
//! inside, all those of the window run here: it costs them nothing more.

use super::dispatch::Turn;
use super::long::run_whole;
use super::script::Way;
use super::watch::Place as Ran;
use crate::admin::clients::client_flag;
use crate::base::clock::MonoNs;
use crate::base::ids::LoopId;
use crate::cmd::alone::Alone;
use crate::cmd::command::{Command, Flow, flag};
use crate::cmd::monitor;
use crate::cmd::permission;
use crate::cmd::queue::Queue;
use crate::cmd::script::declared_flags;
use crate::cmd::session::{ReplyMode, Session, Standing};
use crate::cmd::world::World;
use crate::keyspace::Keys;
use crate::keyspace::safepoint::Stay;
use crate::keyspace::waiters::Place;
use crate::resp::args::{Args, OwnedArgs, Parts};
use crate::resp::reply::{Mark, Reply};

/// A command that is to run while everything else stands still.
pub struct Cue {
    pub row: &'static Command,
    pub job: Alone,
    /// Does somebody want to know how long it takes?
    pub is_timed: bool,
    /// Memory was short, and nothing could be evicted.
    pub is_short: bool,
    /// What monitors are shown of it, without the time: of a transaction behind what they are shown of its commands, of a
    /// script before.
    pub line: Vec<u8>,
}

/// The other clients of the loop, for a job that takes too long to let them wait.
pub trait Others {
    /// Lets the loop do a turn for them. What the job has read from the table before must not be used after.
    fn turn(&mut self);
    /// Does the server stop?
    fn is_stopping(&self) -> bool;
}

/// For a job that lets nobody run before it is done.
pub struct NoOthers;

impl Others for NoOthers {
    fn turn(&mut self) {}
    fn is_stopping(&self) -> bool {
        false
    }
}

impl Turn<'_> {
    /// Reads anew who listens and who waits: this loop may have stood still for another one.
    pub(super) fn heed(&mut self) {
        self.effects.heed(self.world);
        self.local.events.heed(&self.world.keyspace.listeners);
    }

    /// Stops everybody else, if they are not stopped.
    #[inline]
    pub(super) fn step_in(&mut self, home: LoopId, stay: Stay) {
        self.section = None; // Others would wait for these keys for ever.
        if !self.is_alone {
            self.world.safepoint.enter(home, stay);
            self.is_alone = true;
            self.heed();
        }
    }

    /// Lets everybody else go on, before a command that may take long.
    #[inline]
    pub fn step_out(&mut self, home: LoopId) {
        self.section = None; // It may touch any keys.
        if self.is_alone {
            self.world.safepoint.leave(home);
            self.is_alone = false;
        }
    }

    /// Runs what a command that has returned `Flow::Alone` left. Returns what follows from it for the client.
    pub fn play(&mut self, cue: Cue, session: &mut Session, reply: &mut Reply, others: &mut dyn Others) -> Flow {
        self.is_short = cue.is_short;
        let mut started = cue.is_timed.then(MonoNs::now);
        let (mark, is_script) = (reply.out.buf.len(), matches!(cue.job, Alone::Script(_) | Alone::Function(_)));
        if is_script {
            self.show_line(&cue.line);
        }
        let (flow, args) = match self.play_held(&cue.job, session, reply) {
            Some(flow) => (flow, self.put_back(cue.job)),
            None => {
                self.step_in(session.home, if cue.job.may_yield() { Stay::Long } else { Stay::Short });
                started = started.map(|_| MonoNs::now()); // To wait for others is no work.
                let is_in_order = self.open_group();
                let done = self.perform(cue.job, session, reply, others);
                if is_in_order {
                    self.close_group(session);
                }
                done
            }
        };
        self.effects.told_micros = None;
        if !is_script {
            self.show_line(&cue.line);
        }
        if let Some(counters) = self.stats.command(cue.row.index) {
            counters.calls.add(1);
            counters.failed.add((reply.out.buf.get(mark) == Some(&b'-')) as u64);
            if let Some(started) = started {
                let place = Ran { world: self.world, stats: self.stats, session };
                self.watch.note_alone(started, cue.row, args.as_ref(), place);
            }
        }
        session.traffic.commands += 1;
        self.serve_filled();
        session.settle_caching(false);
        session.wants_reply(); // CLIENT REPLY SKIP meant this command.
        flow
    }

    /// Runs the job. Returns what follows for the client, and what a script was called with.
    pub(super) fn perform(
        &mut self,
        job: Alone,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
    ) -> (Flow, Option<OwnedArgs>) {
        match job {
            Alone::Exec(ref queue) => {
                self.stats.stopping_transactions.add(1);
                (self.exec(queue, session, reply, others), self.put_back(job))
            }
            Alone::Script(ref script) => {
                let flow = self.run_script(script, session, reply, others, Way::Alone);
                (flow, self.put_back(job))
            }
            Alone::Function(ref function) => (self.run_function(function, session, reply, others), self.put_back(job)),
            Alone::Reload => {
                self.reload(session, reply);
                (Flow::Done, None)
            }
        }
    }

    /// Shows monitors a line that was made without its time.
    #[inline]
    fn show_line(&mut self, line: &[u8]) {
        if !line.is_empty() {
            monitor::stamp(&mut self.effects.monitor_lines);
            self.effects.monitor_lines.extend_from_slice(line);
        }
    }

    /// What is left of a job: the queue of a transaction serves another one; what a script was called with is returned.
    fn put_back(&mut self, job: Alone) -> Option<OwnedArgs> {
        match job {
            Alone::Exec(queue) => self.effects.spares.put(queue),
            Alone::Script(job) => return Some(job.args),
            Alone::Function(job) => return Some(job.args),
            Alone::Reload => {}
        }
        None
    }

    /// The commands of a transaction, one after the other.
    pub(super) fn exec(
        &mut self,
        queue: &Queue,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
    ) -> Flow {
        let mark = reply.mark();
        if session.watching.is_some() && self.is_overtaken(session) {
            session.end_multi();
            reply.null_array();
            mute(session, reply, mark);
            return Flow::Done;
        }
        reply.array(queue.count());
        mute(session, reply, mark);
        session.denies_blocking = true;
        let mut flow = Flow::Done;
        for index in 0..queue.count() {
            let (row, parts) = queue.get(index);
            let mark = reply.mark();
            let next = self.run_queued(row, &parts, session, reply, others);
            mute(session, reply, mark);
            if flow == Flow::Done {
                flow = next; // The client is closed at the end of the whole.
            }
        }
        session.denies_blocking = false;
        session.end_multi();
        flow
    }

    /// The client watches nothing any more. Was a key that it has watched changed, or has one expired?
    #[cold]
    fn is_overtaken(&self, session: &mut Session) -> bool {
        let keys = Keys::new(&self.world.keyspace, session.db, self.guard, self.stats, self.local, self.now);
        let watched = &self.world.watched;
        let has_expired = |place: &Place| {
            keys.on(place.db()).is_overdue(keys.key(place.key(), 0)) && !watched.is_stale(&session.info, place)
        };
        let is_overtaken =
            session.info.has(client_flag::DIRTY) || session.watching.iter().flat_map(|it| it.iter()).any(has_expired);
        session.unwatch(watched);
        is_overtaken
    }

    /// One command of a transaction. Users may have changed since it was queued.
    #[inline]
    fn run_queued(
        &mut self,
        row: &'static Command,
        parts: &Parts<'_>,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
    ) -> Flow {
        let args = Args::of(parts);
        if session.standing(&self.world.acl) != Standing::Unrestricted
            && let Err(denial) = permission::check(session.user(), row, &args)
        {
            let error = permission::refuse_queued(self.world, session, row, &args, denial);
            self.refuse(reply, &error);
            return Flow::Done;
        }
        self.run_inside(row, args, session, reply, others)
    }

    /// Runs a command inside a transaction, to its end.
    pub(super) fn run_inside(
        &mut self,
        row: &'static Command,
        args: Args<'_>,
        session: &mut Session,
        reply: &mut Reply,
        others: &mut dyn Others,
    ) -> Flow {
        let mark = reply.mark();
        let counters = self.stats.command(row.index);
        let is_timed = counters.is_some_and(|counters| self.watch.wants(row, &args, counters));
        let started = is_timed.then(MonoNs::now);
        let is_remembered = self.remember(row, session, &args);
        self.begin_inside(row, session, &args);
        let mut cx = self.cx(session, reply);
        let mut result = run_whole(row, &mut cx, args);
        self.note_inside(session, &args);
        if !self.guard.is_in_section() {
            self.tell_of(row, session, &args, is_remembered);
        }
        assert!(!matches!(result, Ok(Flow::Park(_))), "{} waits inside a transaction", row.full_name);
        if self.world.attention.is_wanted() {
            self.show(row, session, args);
        }
        session.traffic.commands += 1;
        if result == Ok(Flow::Alone)
            && let Some(job) = self.effects.alone.take()
        {
            result = Ok(self.perform(job, session, reply, others).0);
        }
        if let Some(counters) = counters {
            counters.calls.add(1);
            counters.failed.add(result.is_err() as u64);
            if let Some(started) = started {
                let place = Ran { world: self.world, stats: self.stats, session };
                self.watch.note(started, row, args, place);
            }
        }
        result.unwrap_or_else(|error| {
            reply.truncate(mark);
            self.refuse(reply, &error);
            Flow::Done
        })
    }

    /// EXEC itself was refused: the transaction is over nevertheless.
    #[cold]
    pub(super) fn abort(&mut self, session: &mut Session, reason: &str) -> crate::resp::error::ReplyError {
        self.effects.spares.extend(session.end_multi());
        session.unwatch(&self.world.watched);
        let reason = reason.strip_prefix("ERR ").unwrap_or(reason);
        crate::resp::error::ReplyError::owned(format!("EXECABORT Transaction discarded because of: {reason}"))
    }

    /// Queues a command behind MULTI.
    #[inline]
    pub(super) fn queue(&mut self, row: &'static Command, session: &mut Session, reply: &mut Reply, args: Args<'_>) {
        let Some(queue) = &mut session.multi else { return };
        let flags = if row.has(flag::ALONE) { declared_flags(row, &args, self.world) } else { row.flags };
        queue.push(row, args, flags);
        session.info.set_row(row.index as u32);
        session.info.set_multi(Some(queue.count()), queue.len());
        reply.raw(b"+QUEUED\r\n");
    }
}

/// Drops what was written since `mark`, if the client does not want to hear it.
#[inline]
fn mute(session: &Session, reply: &mut Reply, mark: Mark) {
    if matches!(session.reply_mode, ReplyMode::Off | ReplyMode::Skip) {
        reply.truncate(mark);
    }
}

/// The flags by which a command is judged: EXEC's are those of its commands, too; a script's are what it says of itself.
#[cold]
pub(super) fn flags_in_force(row: &Command, args: &Args<'_>, session: &Session, world: &World) -> u32 {
    match &session.multi {
        Some(queue) if row.has(flag::ENDS_MULTI) => row.flags | queue.flags(),
        _ if row.has(flag::ALONE) => declared_flags(row, args, world),
        _ => row.flags,
    }
}
