//! Running one command: gate, handler, and what comes after it.

use super::alone::{Cue, flags_in_force};
use super::gate;
use super::long::Long;
use super::room::OUT_OF_MEMORY;
use super::section::OpenSection;
use super::watch::{Place, Watch, is_light};
use crate::admin::stats::LoopStats;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::prng::Prng;
use crate::cmd::command::{Command, Cx, Effects, Flow, Wait, Woken, flag};
use crate::cmd::monitor;
use crate::cmd::session::Session;
use crate::cmd::table;
use crate::cmd::world::World;
use crate::journal::hub::Durability;
use crate::keyspace::{Keys, Local};
use crate::resp::args::Args;
use crate::resp::error::{LOADING, ReplyError};
use crate::resp::reply::{Mark, Reply};
use crate::table::Guard;

const UNBLOCKED: ReplyError = ReplyError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/// What all commands of one turn share.
pub struct Turn<'t> {
    /// How the commands at hand are timed.
    pub watch: &'t mut Watch,
    pub world: &'t World,
    pub guard: &'t Guard<'t>,
    pub stats: &'t LoopStats,
    /// What this loop has of its own for the keyspace.
    pub local: &'t Local,
    pub now: WallMs,
    pub prng: &'t mut Prng,
    pub effects: &'t mut Effects,
    /// What the command that has just returned `Flow::Resume` leaves to later turns.
    pub long: Option<Long>,
    /// What the command that has just returned `Flow::Alone` wants to be run.
    pub cue: Option<Cue>,
    /// Keys that are held for the scripts at hand (`exec::section`).
    pub section: Option<OpenSection<'t>>,
    /// This loop is inside a safepoint: all others stand still.
    pub is_alone: bool,
    /// `maxmemory`, as it was at the begin of the window; 0: there is no limit.
    pub limit: u64,
    /// Nothing could be evicted before the command at hand, and memory is short.
    pub is_short: bool,
}

const NO_REPLICAS: ReplyError = ReplyError::text("NOREPLICAS Not enough good replicas to write.");
const UNSAVED: ReplyError = ReplyError::text(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify \
     the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails \
     (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
);
const UNKEPT: ReplyError = ReplyError::text(
    "MISCONF This connection wants its writes on disk (CLIENT DURABILITY), but there is no append-only file ('appendonly' is 'no').",
);

impl<'t> Turn<'t> {
    /// The selected database of this client.
    #[inline]
    pub(super) fn keys(&self, session: &Session) -> Keys<'t> {
        let keys = Keys::new(&self.world.keyspace, session.db, self.guard, self.stats, self.local, self.now);
        keys.no_touch(session.no_touch)
    }
}

impl Turn<'_> {
    /// Runs one command of a client and appends its reply. `row` is what `look` found.
    /// Cost: about 10 ns beside the handler.
    #[inline]
    pub fn run(
        &mut self,
        row: Option<&'static Command>,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
    ) -> Flow {
        if self.section.is_some() {
            self.part(row, session);
        }
        let mark = reply.mark();
        let room = if self.limit == 0 { usize::MAX } else { reply.out.buf.capacity() };
        session.before_reply();
        let flow = match gate::admit(row, &args, session, self.world) {
            Ok(row) => {
                let instead = if self.is_plain(session) { None } else { self.instead(row, session, reply, args) };
                instead.unwrap_or_else(|| self.call(row, session, reply, args, mark))
            }
            Err(_) if row.is_none() && gate::is_http(&args) => {
                gate::report_http(self.world, session);
                return Flow::Close;
            }
            Err(error) => {
                self.reject(table::find(&args), session, reply, error);
                Flow::Done
            }
        };
        if room != usize::MAX {
            let reply_len = self.note_reply(room, reply.out.buf.capacity());
            if let Some(long) = &mut self.long {
                long.keep(self.local.quota.note_job(reply_len));
            }
        }
        if matches!(flow, Flow::Park(_) | Flow::Alone) {
            return flow; // Nothing has happened yet, and CLIENT REPLY SKIP still means this command.
        }
        if session.tracking.is_some() && session.multi.is_none() {
            session.settle_caching(row.is_some_and(|row| row.name == "client"));
        }
        if !session.wants_reply() {
            reply.truncate(mark);
            self.long.iter_mut().for_each(Long::silence);
        }
        flow
    }

    /// Nothing stands between a command that was admitted and its handler.
    #[inline]
    pub(super) fn is_plain(&self, session: &Session) -> bool {
        !self.world.attention.is_wanted() && self.limit == 0 && session.woken.is_none() && session.multi.is_none()
    }

    /// What happens instead of a command that was admitted. None: it runs.
    #[inline(never)]
    fn instead(
        &mut self,
        row: &'static Command,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
    ) -> Option<Flow> {
        let is_watched = self.world.attention.is_wanted();
        if is_watched && self.world.attention.is_ended() {
            return Some(Flow::Close);
        }
        if let Some(error) = self.hindrance(row, session, &args) {
            self.reject(Some(row), session, reply, error);
            return Some(Flow::Done);
        }
        if is_watched && self.must_wait(flags_in_force(row, &args, session, self.world)) {
            session.info.set_row(row.index as u32); // CLIENT LIST shows what waits.
            return Some(Flow::Park(Wait::Pause));
        }
        if session.woken == Some(Woken::Refused) {
            self.end_wait(row, session, reply);
            return Some(Flow::Done);
        }
        if session.multi.is_some() && !row.has(flag::UNQUEUED) {
            self.queue(row, session, reply, args);
            return Some(Flow::Done);
        }
        None
    }

    /// What the state of the server has against a command: a script, loading, the disk, memory.
    fn hindrance(&mut self, row: &'static Command, session: &mut Session, args: &Args<'_>) -> Option<ReplyError> {
        if self.world.attention.is_wanted()
            && let Some(error) = self.barrier(row, args, session)
        {
            return Some(error);
        }
        if self.world.attention.is_unlogged() && self.is_unkept(row, args, session) {
            return Some(UNKEPT);
        }
        (self.limit != 0 && self.is_short_of_memory(row, args, session)).then_some(OUT_OF_MEMORY)
    }

    /// CLIENT UNBLOCK ERROR: the command that waits ends with an error, and counts as a call that failed.
    #[cold]
    fn end_wait(&self, row: &Command, session: &mut Session, reply: &mut Reply) {
        session.woken = None;
        session.traffic.commands += 1;
        if let Some(counters) = self.stats.command(row.index) {
            counters.calls.add(1);
            counters.failed.add(1);
        }
        self.refuse(reply, &UNBLOCKED);
    }

    /// Why the command is refused, if the state of the server says so.
    #[cold]
    fn barrier(&self, row: &Command, args: &Args<'_>, session: &Session) -> Option<ReplyError> {
        let attention = &self.world.attention;
        if attention.is_loading() && !row.has(flag::LOADING) {
            return Some(LOADING);
        }
        if attention.is_busy() {
            return (!row.has(flag::ALLOW_BUSY)).then(|| self.world.scripts.busy.refusal());
        }
        if !attention.refuses_writes() {
            return None;
        }
        let writes = flags_in_force(row, args, session, self.world) & flag::WRITE != 0;
        // PING tells who looks after the server that something is wrong with its disk.
        if writes || row.name == "ping" && attention.is_disk_failing() { self.write_refusal() } else { None }
    }

    /// Why nothing can be changed.
    #[cold]
    pub(super) fn write_refusal(&self) -> Option<ReplyError> {
        let attention = &self.world.attention;
        if attention.is_refusing() {
            return Some(UNSAVED);
        }
        if attention.is_unwritable() {
            let facts = self.world.journal.facts();
            let reason = facts.failure.as_deref().unwrap_or("unknown");
            return Some(ReplyError::owned(format!("MISCONF Errors writing to the AOF file: {reason}")));
        }
        attention.is_lonely().then_some(NO_REPLICAS)
    }

    /// Would the command change data, although nothing keeps it and the client wants that?
    #[cold]
    fn is_unkept(&self, row: &Command, args: &Args<'_>, session: &Session) -> bool {
        let writes = flag::WRITE | if row.has(flag::ALONE) { flag::MAY_REPLICATE } else { 0 };
        matches!(session.durability, Durability::EverySec | Durability::Fsync)
            && flags_in_force(row, args, session, self.world) & writes != 0
    }

    /// Is a command with these flags held back by a pause, or by a disk that does not keep up?
    #[cold]
    pub(super) fn must_wait(&self, flags: u32) -> bool {
        let (attention, may_write) = (&self.world.attention, flags & (flag::WRITE | flag::MAY_REPLICATE) != 0);
        may_write && attention.is_backlogged() || attention.holds_back(may_write, self.now)
    }

    /// A command is refused before it runs. Between MULTI and EXEC, the transaction fails with it; EXEC itself says so whether
    /// there is one or not.
    #[cold]
    fn reject(&mut self, row: Option<&'static Command>, session: &mut Session, reply: &mut Reply, error: ReplyError) {
        session.woken = None;
        if let Some(counters) = row.and_then(|row| self.stats.command(row.index)) {
            counters.rejected.add(1);
        }
        if let Some(queue) = &mut session.multi {
            queue.spoil();
            session.info.set_multi(Some(0), 0);
        }
        let ends = row.is_some_and(|row| row.has(flag::ENDS_MULTI));
        let error = if ends { self.abort(session, error.line()) } else { error };
        self.refuse(reply, &error);
    }

    #[inline]
    fn call(
        &mut self,
        row: &'static Command,
        session: &mut Session,
        reply: &mut Reply,
        args: Args<'_>,
        mark: Mark,
    ) -> Flow {
        if self.is_alone && !row.has(flag::ALONE) && !is_light(row, &args) {
            self.step_out(session.home);
        }
        session.info.set_row(row.index as u32);
        let counters = self.stats.command(row.index);
        let is_timed = counters.is_some_and(|counters| self.watch.wants(row, &args, counters));
        let is_remembered = self.remember(row, session, &args);
        let is_in_order = self.enter_order(row, session, &args);
        let mut cx = self.cx(session, reply);
        let started = is_timed.then(MonoNs::now);
        let result = (row.run)(&mut cx, args);
        let was_woken = cx.session.woken.take().is_some();
        if is_in_order {
            self.leave_order(session, &args);
        }
        self.tell_of(row, session, &args, is_remembered);
        let is_done = matches!(result, Ok(Flow::Done)); // Asked once: it is what most commands end with.
        if !is_done && matches!(result, Ok(Flow::Alone)) {
            self.cue = self.cue(row, session, args, is_timed);
            return Flow::Alone; // It counts when it is done.
        }
        if self.world.attention.is_wanted() && !was_woken {
            self.show(row, session, args);
        }
        if !is_done && let Ok(Flow::Park(wait)) = result {
            return self.wait(row, session, reply, args, wait); // It counts when it is done.
        }
        session.traffic.commands += 1;
        if !is_done && matches!(result, Ok(Flow::Resume)) {
            let tale = started.map(|started| self.watch.put_off(started, row, args));
            let (announced_len, said_len) = (reply.announced_len(mark), reply.len_since(mark));
            let long = |job| Long::new(row, job, tale.unwrap_or_default(), announced_len, said_len);
            self.long = self.effects.job.take().map(long);
            return Flow::Resume; // It is counted at its end.
        }
        if let Some(counters) = counters {
            counters.calls.add(1);
            if let Some(started) = started {
                let place = Place { world: self.world, stats: self.stats, session };
                self.watch.note(started, row, args, place);
            }
        }
        self.serve_filled();
        if is_done {
            return Flow::Done;
        }
        result.unwrap_or_else(|error| {
            if let Some(counters) = counters {
                counters.failed.add(1);
            }
            reply.truncate(mark); // A failed handler leaves no half reply.
            self.refuse(reply, &error);
            Flow::Done
        })
    }

    /// What is to run while everything else stands still.
    #[inline]
    fn cue(&mut self, row: &'static Command, session: &Session, args: Args<'_>, is_timed: bool) -> Option<Cue> {
        let job = self.effects.alone.take()?;
        let mut line = Vec::new();
        if self.world.attention.is_monitored() {
            monitor::append_unstamped(&mut line, row, args, session);
        }
        Some(Cue { row, job, is_timed, is_short: self.is_short, line })
    }

    /// What a handler works with, for a command of this client.
    #[inline]
    pub(super) fn cx<'c>(&'c mut self, session: &'c mut Session, reply: &'c mut Reply) -> Cx<'c> {
        Cx { keys: self.keys(session), reply, session, world: self.world, prng: self.prng, effects: self.effects }
    }

    /// Shows the command to monitors, if there are any and it may be shown.
    #[cold]
    pub(super) fn show(&mut self, row: &Command, session: &Session, args: Args<'_>) {
        if self.world.attention.is_monitored() && monitor::is_shown(row) {
            monitor::append(&mut self.effects.monitor_lines, row, args, session);
        }
    }

    /// Replies with an error and counts it.
    #[cold]
    pub fn refuse(&self, reply: &mut Reply, error: &ReplyError) {
        reply.error(error);
        self.stats.count_error(error.code());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::clients::Endpoints;
    use crate::base::hash::KeyHasher;
    use crate::base::ids::LoopId;
    use crate::cmd::table;
    use crate::cmd::world::Boot;
    use crate::resp::args::{Arg, Parts};
    use crate::table::Participant;

    /// A client and what its commands need.
    struct Rig {
        world: World,
        session: Session,
        reply: Reply,
        local: Local,
        effects: Effects,
        prng: Prng,
        seat: Participant,
    }

    impl Rig {
        fn new(authenticated: bool) -> Self {
            let world = World::new(Boot::default(), KeyHasher::seeded(1));
            world.clients.reserve(1);
            let info = world.clients.add(LoopId(0), 3, Endpoints::Unix("s".into()), WallMs(0));
            if !authenticated {
                world.acl.set_default_password(b"pw");
            }
            Rig {
                session: Session::new(info, &world.acl),
                world,
                reply: Reply::default(),
                local: Local::new(1),
                effects: Effects::default(),
                prng: Prng::seeded(1),
                seat: Participant::new(),
            }
        }
        /// Runs a line of words; returns the reply's bytes and what follows.
        fn run(&mut self, line: &str) -> (String, Flow) {
            let mut items = Vec::new();
            for word in line.split(' ') {
                let offset = word.as_ptr() as usize - line.as_ptr() as usize;
                items.push(Arg { offset: offset as u32, len: word.len() as u32, hash: 0 });
            }
            let parts = Parts { buf: line.as_bytes(), items: &items, large: &[] };
            let args = Args::of(&parts);
            let guard = self.seat.pin();
            let mut turn = Turn {
                watch: &mut Watch::begin(&self.world.config, true),
                world: &self.world,
                guard: &guard,
                stats: &self.world.stats[0],
                local: &self.local,
                now: self.world.keyspace.now.get(),
                prng: &mut self.prng,
                effects: &mut self.effects,
                long: None,
                cue: None,
                section: None,
                is_alone: false,
                limit: 0,
                is_short: false,
            };
            let flow = turn.run(table::lookup(args.get(0)), &mut self.session, &mut self.reply, args);
            (String::from_utf8_lossy(&self.reply.take().buf).into_owned(), flow)
        }
        fn reply(&mut self, line: &str) -> String {
            self.run(line).0
        }
        fn counts(&self, name: &str) -> (u64, u64, u64) {
            let row = table::lookup_full(name.as_bytes()).unwrap();
            let counters = self.world.stats[0].command(row.index).unwrap();
            (counters.calls.get(), counters.rejected.get(), counters.failed.get())
        }
    }

    #[test]
    fn commands_are_refused_in_the_order_of_redis() {
        let mut rig = Rig::new(false);
        assert_eq!(rig.reply("nosuch a b"), "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n");
        assert_eq!(rig.reply("get"), "-ERR wrong number of arguments for 'get' command\r\n");
        assert_eq!(rig.reply("client nosuch"), "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n");
        assert_eq!(rig.reply("client id x"), "-ERR wrong number of arguments for 'client|id' command\r\n");
        assert_eq!(rig.reply("get k"), "-NOAUTH Authentication required.\r\n");
        assert_eq!(rig.reply("AUTH pw"), "+OK\r\n");
        assert_eq!(rig.reply("get k"), "$-1\r\n");
        assert_eq!(rig.counts("get"), (1, 2, 0));
    }

    #[test]
    fn permissions_are_checked_behind_existence_arity_and_login() {
        let mut rig = Rig::new(false);
        let rules = ["on", ">bobs", "~a", "+get"].map(str::as_bytes);
        rig.world.acl.set_user(b"bob", rules, false).unwrap();
        assert_eq!(rig.reply("set k v"), "-NOAUTH Authentication required.\r\n");
        assert_eq!(rig.reply("AUTH bob bobs"), "+OK\r\n");
        assert_eq!(rig.reply("nosuch"), "-ERR unknown command 'nosuch', with args beginning with: \r\n");
        assert_eq!(rig.reply("set k"), "-ERR wrong number of arguments for 'set' command\r\n");
        assert_eq!(rig.reply("set k v"), "-NOPERM User bob has no permissions to run the 'set' command\r\n");
        assert_eq!(rig.reply("get k"), "-NOPERM No permissions to access a key\r\n");
        assert_eq!(rig.reply("get a"), "$-1\r\n");
        assert_eq!((rig.counts("set"), rig.counts("get")), ((0, 3, 0), (1, 1, 0)));
        assert_eq!(rig.world.stats[0].errors_by_code()["NOPERM"], 2);
    }

    #[test]
    fn a_change_of_a_user_counts_from_the_next_command_on() {
        let mut rig = Rig::new(true);
        let set = |rig: &Rig, name: &str, rule: &str| rig.world.acl.set_user(name.as_bytes(), [rule.as_bytes()], false);
        assert_eq!(rig.reply("get a"), "$-1\r\n");
        set(&rig, "default", "-get").unwrap();
        assert_eq!(rig.reply("get a"), "-NOPERM User default has no permissions to run the 'get' command\r\n");
        set(&rig, "default", "+@all").unwrap();
        assert_eq!(rig.reply("get a"), "$-1\r\n");
        // Whoever was deleted is nobody, even if the name comes back and nobody needs to log in.
        set(&rig, "bob", "on").unwrap();
        set(&rig, "bob", "nopass").unwrap();
        assert_eq!(rig.reply("AUTH bob x"), "+OK\r\n");
        assert_eq!(rig.reply("get a"), "-NOPERM User bob has no permissions to run the 'get' command\r\n");
        rig.world.acl.delete([&b"bob"[..]]);
        set(&rig, "bob", "on").unwrap();
        rig.world.acl.set_default_password(b"pw");
        assert_eq!(rig.reply("get a"), "-NOAUTH Authentication required.\r\n");
    }

    #[test]
    fn a_failed_handler_leaves_its_error_only_and_is_counted() {
        let mut rig = Rig::new(true);
        assert_eq!(rig.reply("SET k v"), "+OK\r\n");
        assert_eq!(rig.reply("INCR k"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(rig.counts("incr"), (1, 0, 1));
        assert_eq!(rig.world.stats[0].errors_by_code()["ERR"], 1);
    }

    #[test]
    fn client_reply_drops_replies_and_errors_alike() {
        let mut rig = Rig::new(true);
        for (line, reply) in [
            ("CLIENT REPLY SKIP", ""),
            ("PING", ""),
            ("PING", "+PONG\r\n"),
            ("CLIENT REPLY OFF", ""),
            ("PING", ""),
            ("nosuch", ""),
            ("CLIENT REPLY ON", "+OK\r\n"),
            ("PING", "+PONG\r\n"),
        ] {
            assert_eq!(rig.reply(line), reply, "{line}");
        }
    }

    #[test]
    fn quit_closes_and_shutdown_stops() {
        let mut rig = Rig::new(true);
        assert_eq!(rig.run("QUIT"), ("+OK\r\n".into(), Flow::Close));
        assert_eq!(rig.run("SHUTDOWN NOSAVE"), (String::new(), Flow::Shutdown));
    }
}
