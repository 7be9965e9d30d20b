//! Windows: up to 64 commands of any clients, cut and looked at together, then run one after the other.
//!
//! A window is filled client by client, so each client's commands stand in it in their order, and a client whose visit
//! spans windows is continued by the next one. Three things end a window early: a client that has not logged in (its limits
//! may change with the command at hand); CONFIG (what is looked up once a window may be something else behind it); and
//! experience: when the last windows took long, the next ones are short, so that a stream of slow commands is interrupted
//! often enough for the others.
//!
//! When a command parks its client or goes on in later turns, what was cut behind it is kept (`held`). A client with a long
//! command under way is visited like all others; its visit is a slice of that command.

use super::charge::is_too_heavy;
use super::conn::{Conn, Life};
use super::errand::send_off;
use super::input::{Arrivals, Cut, Input, Place};
use super::monitors::post_lines;
use super::post::{Hands, Tray};
use super::{EventLoop, make_dirty, make_ready};
use crate::base::clock::{MonoNs, WallMs};
use crate::base::hash::KeyHasher;
use crate::base::ids::DbIndex;
use crate::cmd::command::{Command, Flow, flag};
use crate::exec::alone::{Cue, NoOthers};
use crate::exec::dispatch::Turn;
use crate::exec::look::Ahead;
use crate::exec::room::{self, Room};
use crate::exec::slow;
use crate::exec::watch::{self, Watch};
use crate::resp::args::{Arg, Args, Parts};
use crate::resp::parse::{Limits, ProtocolError};
use crate::ring::{Engine, Token};
use crate::table::Guard;
use bytes::Bytes;
use std::time::Duration;

/// Commands of a window. 64: enough for all waits on memory to overlap; their arguments stay in the first-level cache.
const COMMANDS_MAX: usize = 64;
/// Keys of a window. Each is a line of its group and one or two of its entry: what is prefetched must still be in the
/// first-level cache when its command runs, and the blocks that a window's writes retire must fit the stock that
/// `table::recycle` keeps.
const KEYS_MAX: usize = 64;
/// A window that took longer makes the next ones shorter.
const LONG: Duration = Duration::from_micros(500);
/// Windows up to this are sparse: the turn's system calls cost far more than timing each command.
const SPARSE_MAX: usize = 8;
/// Commands and time of one client in one turn; then it goes to the back of the list.
const VISIT_COMMANDS: usize = 256;
const VISIT_TIME: Duration = if cfg!(test) { UNHURRIED } else { Duration::from_micros(100) };

/// Commands of one client that stand side by side.
struct Stretch {
    token: Token,
    /// Since when the client has been waiting.
    waiting_since: MonoNs,
    /// Its commands in the window's list, from `from` up to where the next stretch begins.
    from: u32,
    /// The client broke the protocol behind these commands.
    refusal: Option<ProtocolError>,
    /// No commands: a slice of the one that is under way.
    is_slice: bool,
}

impl Stretch {
    fn new(conn: &Conn, from: usize) -> Self {
        let (token, waiting_since) = (conn.token, conn.ready_since);
        Stretch { token, waiting_since, from: from as u32, refusal: None, is_slice: false }
    }
}

/// A command: where it lies, its arguments and large bulks in the window's lists, and its row.
struct Item {
    place: Place,
    args_at: u32,
    args_count: u32,
    large_at: u32,
    large_count: u32,
    row: Option<&'static Command>,
}

/// See the module header. Its vectors keep their room from window to window.
pub(super) struct Window {
    stretches: Vec<Stretch>,
    items: Vec<Item>,
    args: Vec<Arg>,
    large: Vec<Bytes>,
    ahead: Ahead,
    /// At most so many commands, by experience.
    cap: usize,
    is_closed: bool,
}

/// Room for so many arguments is kept from turn to turn.
const ARGS_KEPT: usize = 8192;

impl Default for Window {
    fn default() -> Self {
        Window {
            stretches: Vec::new(),
            items: Vec::new(),
            args: Vec::new(),
            large: Vec::new(),
            ahead: Ahead::default(),
            cap: COMMANDS_MAX,
            is_closed: false,
        }
    }
}

impl Window {
    fn clear(&mut self) {
        self.stretches.clear();
        self.items.clear();
        self.args.clear();
        self.large.clear();
        self.ahead.clear();
        self.is_closed = false;
    }
    fn is_full(&self) -> bool {
        self.is_closed || self.items.len() >= self.cap || self.ahead.key_count() >= KEYS_MAX
    }
    /// Adds a command that was cut out of `buf`, whose arguments are the lists' last ones, and looks ahead.
    #[inline]
    fn push(&mut self, cut: Cut, large_at: usize, buf: &[u8], hasher: &KeyHasher, db: DbIndex) {
        let Cut { place, item_count } = cut;
        let args_at = self.args.len() - item_count;
        let row = self.ahead.note(hasher, db, buf, &mut self.args[args_at..], &self.large[large_at..]);
        let (args_at, args_count) = (args_at as u32, item_count as u32);
        let (large_at, large_count) = (large_at as u32, (self.large.len() - large_at) as u32);
        self.items.push(Item { place, args_at, args_count, large_at, large_count, row });
        self.is_closed |= row.is_some_and(Command::may_change_parameters);
    }
    /// Gives back the room that a command with very many arguments needed.
    #[inline]
    fn trim(&mut self) {
        if self.args.capacity() > ARGS_KEPT {
            self.args.clear();
            self.args.shrink_to(ARGS_KEPT);
        }
    }
    /// The arguments of a command that lies in `buf`.
    #[inline]
    fn parts_of<'w>(&'w self, item: &Item, buf: &'w [u8]) -> Parts<'w> {
        Parts {
            buf,
            items: &self.args[item.args_at as usize..][..item.args_count as usize],
            large: &self.large[item.large_at as usize..][..item.large_count as usize],
        }
    }
    /// Keeps commands of a client that is being parked.
    #[cold]
    fn hold<E: Engine>(&self, items: &[Item], input: &mut Input, arrivals: &Arrivals, engine: &E) {
        for item in items {
            let args = &self.args[item.args_at as usize..][..item.args_count as usize];
            let large = &self.large[item.large_at as usize..][..item.large_count as usize];
            input.hold(&item.place, arrivals, engine, args, large);
        }
    }
    /// The commands of stretch `index`.
    #[inline]
    fn items_of(&self, index: usize) -> &[Item] {
        let end = self.stretches.get(index + 1).map_or(self.items.len(), |next| next.from as usize);
        &self.items[self.stretches[index].from as usize..end]
    }
    /// Keeps the commands of stretch `index` from its `first` one on.
    pub(super) fn hold_rest<E: Engine>(
        &self,
        index: usize,
        first: usize,
        input: &mut Input,
        arrivals: &Arrivals,
        engine: &E,
    ) {
        self.hold(&self.items_of(index)[first..], input, arrivals, engine);
        self.stretches[index].refusal.iter().for_each(|&error| input.hold_refusal(error));
    }
    /// Visits what is left behind `place`: the client, the number of the stretch, and its first command that has not run.
    pub(super) fn each_rest(&self, place: &At<'_>, mut visit: impl FnMut(Token, usize, usize)) {
        for (index, stretch) in self.stretches.iter().enumerate().skip(place.stretch) {
            let first = if index == place.stretch { place.item } else { 0 };
            if first < self.items_of(index).len() || stretch.refusal.is_some() {
                visit(stretch.token, index, first);
            }
        }
    }
    /// The client whose turn it is.
    pub(super) fn token_at(&self, place: &At<'_>) -> Token {
        self.stretches[place.stretch].token
    }
    /// The client of the last stretch broke the protocol.
    fn refuse(&mut self, error: ProtocolError) {
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.refusal = Some(error);
        }
    }
    /// Learns from how long a window took.
    fn adapt(&mut self, took: Duration) {
        self.cap = if took > LONG { (self.cap / 4).max(1) } else { (self.cap * 2).min(COMMANDS_MAX) };
    }
}

/// Must the messages that wait be handed out before this command? They stand before the next reply of a client that gets
/// them, and a client that subscribes or goes gets none that is older, or younger.
#[cold]
fn minds_messages(conn: &Conn, item: &Item) -> bool {
    conn.session.listens() || item.row.is_some_and(|row| row.has(flag::SUBSCRIBES))
}

/// After so long a turn visits nobody else: replies go out, and arrivals are seen.
const TURN_TIME: Duration = if cfg!(test) { UNHURRIED } else { Duration::from_millis(2) };

/// How long the others stand still at a time for scripts that follow one another. To wake them costs tens of microseconds.
const STAY: Duration = Duration::from_millis(1);

/// Tests of the loop say what a turn brings, and a busy machine must not change it.
const UNHURRIED: Duration = Duration::from_secs(3600);

/// The visits of one turn.
pub(super) struct Tour {
    /// The client that is being visited.
    visit: Option<Visit>,
    /// The next one in the list of ready clients.
    next: usize,
    /// What clients may send, before and after authentication.
    limits: [Limits; 2],
    /// When the last window ended.
    clock: MonoNs,
    /// When no new visit begins.
    end: MonoNs,
    /// When the others go on that stand still for this loop's scripts.
    stay_end: Option<MonoNs>,
}

/// How far a window was run.
pub(super) struct At<'t> {
    pub(super) tour: &'t mut Tour,
    /// The stretch, and the command in it, that come next.
    stretch: usize,
    item: usize,
    /// A command has stopped the server.
    pub(super) stop: bool,
}

impl At<'_> {
    /// Nothing of the window is left to be run.
    pub(super) fn end(&mut self, window: &Window) {
        (self.stretch, self.item) = (window.stretches.len(), 0);
    }
}

/// How long a client's turn may go on.
struct Visit {
    token: Token,
    commands_left: usize,
    until: MonoNs,
}

/// Why a client is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It has no further whole command.
    Idle,
    /// Its share of this turn is used up.
    Again,
    /// It does not read its replies.
    Stalled,
}

impl<E: Engine> EventLoop<E> {
    /// Visits every ready client once. Returns true if a command stopped the server.
    pub(super) fn visit_all(&mut self, guard: &mut Guard<'_>, started: MonoNs, now: WallMs) -> bool {
        let end = MonoNs(started.0 + TURN_TIME.as_nanos() as u64);
        let mut tour = Tour { visit: None, next: 0, limits: self.limits(), clock: started, end, stay_end: None };
        let mut window = std::mem::take(&mut self.window);
        let mut stop = false;
        loop {
            window.clear();
            self.fill(&mut window, &mut tour);
            if window.stretches.is_empty() {
                break;
            }
            window.ahead.prefetch(&self.world.keyspace, self.local.events.is_ordered(), guard);
            let mut watch = Watch::begin(&self.world.config, window.items.len() <= SPARSE_MAX);
            stop |= self.run_window(&window, &mut tour, &mut watch, guard, now);
            guard.quiesce(); // Nothing that this window read is held any more.
            self.hand_over_records(); // Before others may look at the whole.
            if room::limit(&self.world.config) != 0 {
                self.local.quota.publish(guard.limbo_bytes());
            }
            self.end_stay(&mut tour);
            let finished = MonoNs::now();
            // After an interruption the window's commands lie elsewhere; a script is timed by itself.
            if let Some(worked) = watch.unexplained(finished).filter(|_| !self.is_interrupted) {
                self.blame_one(&window, worked);
            }
            self.stats().commands.add(window.items.len() as u64);
            window.adapt(finished.since(tour.clock));
            tour.clock = finished;
        }
        self.world.safepoint.leave(self.id); // Behind the last window of a stay that is not over.
        window.trim();
        self.window = window;
        self.stats().window_ns.add(tour.clock.since(started).as_nanos() as u64);
        stop
    }

    /// The light commands of a window were held up for so long, one of them or several: logs the one with the most bytes.
    #[cold]
    fn blame_one(&mut self, window: &Window, worked: Duration) {
        let stretch_of = |index: usize| window.stretches.iter().rev().find(|stretch| stretch.from as usize <= index);
        let mut worst: Option<(usize, &Item, &Command, Token)> = None;
        for (index, item) in window.items.iter().enumerate() {
            let (Some(row), Some(stretch)) = (item.row, stretch_of(index)) else { continue };
            let Some(conn) = self.conns.get(stretch.token) else { continue };
            let parts = window.parts_of(item, conn.input.at(&item.place, &self.arrivals, &self.engine));
            let args = Args::of(&parts);
            let len: usize = (0..args.count()).map(|at| args.get(at).len()).sum();
            if watch::is_light(row, &args) && worst.is_none_or(|(longest, ..)| len > longest) {
                worst = Some((len, item, row, stretch.token));
            }
        }
        let Some((_, item, row, token)) = worst else { return };
        let Some(conn) = self.conns.get(token) else { return };
        let parts = window.parts_of(item, conn.input.at(&item.place, &self.arrivals, &self.engine));
        let args = || slow::kept_args(row, Args::of(&parts));
        slow::note(self.world, row, &conn.session, args, worked, Duration::ZERO);
    }

    /// Cuts commands of ready clients until the window is full or all were visited.
    fn fill(&mut self, window: &mut Window, tour: &mut Tour) {
        while !window.is_full() {
            let mut visit = match tour.visit.take() {
                Some(visit) => visit,
                None if tour.clock > tour.end || self.charges.is_enough_said(&self.local.quota) => {
                    return self.put_off(tour);
                }
                None => {
                    let Some(&token) = self.ready.get(tour.next) else { return };
                    tour.next += 1;
                    let until = MonoNs(tour.clock.0 + VISIT_TIME.as_nanos() as u64);
                    Visit { token, commands_left: VISIT_COMMANDS, until }
                }
            };
            let Some(leave) = self.cut_some(window, &mut visit, tour) else {
                tour.visit = Some(visit);
                return;
            };
            let Some(conn) = self.conns.get(visit.token) else { continue };
            conn.is_ready = leave == Leave::Again;
            conn.ready_since = tour.clock;
            conn.is_stalled = leave == Leave::Stalled;
            if conn.is_ready {
                self.later.push(visit.token);
            }
        }
    }

    /// Leaves those who were not visited for the next turn, before those who want more.
    fn put_off(&mut self, tour: &mut Tour) {
        if tour.next >= self.ready.len() {
            return; // Everybody was visited, or the tour was ended and the list is a new one.
        }
        let again_count = self.later.len();
        self.later.extend_from_slice(&self.ready[tour.next..]);
        self.later.rotate_left(again_count);
        tour.next = self.ready.len();
    }

    /// Ends the tour before its time: the client that is being visited and all behind it wait for the next turn.
    pub(super) fn end_tour(&mut self, tour: &mut Tour) {
        if let Some(visit) = tour.visit.take() {
            self.later.push(visit.token); // It has been ready all the time.
        }
        if tour.next < self.ready.len() {
            self.put_off(tour);
        }
        tour.next = usize::MAX; // The lists are new ones by then.
    }

    /// Cuts commands of one client into the window. None: the window is full and the visit not over.
    #[inline]
    fn cut_some(&mut self, window: &mut Window, visit: &mut Visit, tour: &Tour) -> Option<Leave> {
        let Some(conn) = self.conns.get(visit.token) else { return Some(Leave::Idle) };
        if !conn.may_run() {
            return Some(Leave::Idle);
        }
        if conn.wait.is_some() || conn.is_on_stage {
            return Some(Leave::Idle); // It is made ready when it is woken.
        }
        if conn.life != Life::Broken && self.charges.has_enough_to_read(conn) {
            return Some(Leave::Stalled);
        }
        if tour.clock > visit.until {
            return Some(Leave::Again);
        }
        let (authenticated, db) = (conn.session.authenticated, conn.session.db);
        let hasher = &self.world.keyspace.hasher;
        let limits = &tour.limits[authenticated as usize];
        if conn.long.is_some() {
            if visit.commands_left == VISIT_COMMANDS {
                window.stretches.push(Stretch { is_slice: true, ..Stretch::new(conn, window.items.len()) });
                window.is_closed = true;
            } // Otherwise it began in this very visit.
            return Some(Leave::Again);
        }
        window.stretches.push(Stretch::new(conn, window.items.len()));
        while !window.is_full() {
            if visit.commands_left == 0 {
                return Some(Leave::Again);
            }
            visit.commands_left -= 1;
            let large_at = window.large.len();
            let Conn { input, parser, .. } = &mut *conn;
            match input.cut(parser, &self.arrivals, &self.engine, limits, &mut window.args, &mut window.large) {
                Ok(Some(cut)) => {
                    let buf = input.at(&cut.place, &self.arrivals, &self.engine);
                    window.push(cut, large_at, buf, hasher, db);
                }
                Ok(None) => return Some(Leave::Idle),
                Err(error) => {
                    window.refuse(error);
                    return Some(Leave::Idle);
                }
            }
            window.is_closed |= !authenticated;
        }
        None
    }

    /// Serves clients that wait for what has expired.
    #[cold]
    pub(super) fn serve_ended(&mut self, guard: &Guard<'_>, now: WallMs) {
        self.effects.heed(self.world);
        self.between_windows(&mut Watch::begin(&self.world.config, true), guard, now, 0).serve_ended();
    }

    /// Makes room when no command asks for it. True: there is more to do.
    /// Cost: a load while there is no limit, a few more while there is one and memory is not short.
    pub(super) fn relieve(&mut self, guard: &Guard<'_>, now: WallMs) -> bool {
        let limit = room::limit(&self.world.config);
        self.show_output(); // What the turn has left behind is no reason to evict keys.
        if limit == 0
            || self.world.attention.is_busy()
            || self.world.attention.is_loading()
            || self.local.quota.is_within(limit, false, guard)
        {
            return false;
        }
        self.effects.heed(self.world);
        self.local.events.heed(&self.world.keyspace.listeners);
        self.local.recency.begin_turn(&self.world.config, now);
        let (home, mut watch) = (self.id, Watch::begin(&self.world.config, true));
        let mut turn = self.between_windows(&mut watch, guard, now, limit);
        let room = turn.make_room(home, false);
        turn.serve_ended();
        room == Room::Coming
    }

    /// What runs when no window does.
    pub(super) fn between_windows<'t>(
        &'t mut self,
        watch: &'t mut Watch,
        guard: &'t Guard<'_>,
        now: WallMs,
        limit: u64,
    ) -> Turn<'t> {
        Turn {
            watch,
            world: self.world,
            guard,
            stats: &self.world.stats[self.id.0 as usize],
            local: &self.local,
            now,
            prng: &mut self.prng,
            effects: &mut self.effects,
            long: None,
            cue: None,
            section: None,
            is_alone: false,
            limit,
            is_short: false,
        }
    }

    /// Runs the window's commands. Returns true if one of them stopped the server.
    #[inline]
    fn run_window(
        &mut self,
        window: &Window,
        tour: &mut Tour,
        watch: &mut Watch,
        guard: &Guard<'_>,
        now: WallMs,
    ) -> bool {
        let mut place = At { tour, stretch: 0, item: 0, stop: false };
        let mut has_played = false;
        while let Some(cue) = self.run_some(window, &mut place, watch, guard, now) {
            self.play(window, &mut place, cue, watch, guard, now);
            has_played = true;
        }
        if !has_played {
            self.world.safepoint.leave(self.id); // What ran alone is behind us, as is what was light behind it.
        }
        place.stop
    }

    /// Between two windows. If scripts have just run, more are likely to follow: the others stand still for some windows, not
    /// for each of them. Then it is their turn, and this loop's replies go out and its requests come in meanwhile.
    #[inline]
    fn end_stay(&mut self, tour: &mut Tour) {
        if self.world.safepoint.is_inside(self.id) {
            let end = *tour.stay_end.get_or_insert(MonoNs(tour.clock.0 + STAY.as_nanos() as u64));
            if MonoNs::now() < end {
                return;
            }
            self.world.safepoint.leave(self.id);
            self.end_tour(tour);
        }
        self.world.safepoint.poll(self.id);
    }

    /// Runs commands up to the end of the window, or to one that may let others run before it is done: then nothing of the
    /// loop is borrowed any more, and `place` is behind that command.
    #[inline]
    fn run_some(
        &mut self,
        window: &Window,
        place: &mut At<'_>,
        watch: &mut Watch,
        guard: &Guard<'_>,
        now: WallMs,
    ) -> Option<Cue> {
        self.effects.heed(self.world);
        self.local.events.heed(&self.world.keyspace.listeners);
        let clients_limit = self.clients_limit();
        let mut turn = Turn {
            watch,
            world: self.world,
            guard,
            stats: &self.world.stats[self.id.0 as usize],
            local: &self.local,
            now,
            prng: &mut self.prng,
            effects: &mut self.effects,
            long: None,
            cue: None,
            section: None,
            is_alone: self.world.safepoint.is_inside(self.id),
            limit: room::limit(&self.world.config),
            is_short: false,
        };
        'stretches: while let Some(stretch) = window.stretches.get(place.stretch) {
            let items = window.items_of(place.stretch);
            let first = place.item;
            place.stretch += 1;
            place.item = 0;
            if items.is_empty() && stretch.refusal.is_none() && !stretch.is_slice {
                continue;
            }
            let Some(mut conn) = self.conns.get(stretch.token).filter(|conn| conn.may_run()) else { continue };
            if first == 0 {
                turn.note_reply(0, self.pool.equip(&mut conn.reply.out));
                make_dirty(&mut self.dirty, conn);
            }
            turn.watch.waiting_since = stretch.waiting_since;
            turn.stats.client.set(conn.session.id.0);
            if stretch.is_slice {
                if self.world.attention.is_busy() {
                    continue; // A script runs: nobody else touches data.
                }
                turn.step_out(self.id);
                let room = conn.reply.out.buf.capacity();
                conn.go_on(&mut turn);
                turn.note_reply(room, conn.reply.out.buf.capacity());
                continue;
            }
            for (index, item) in items.iter().enumerate().skip(first) {
                let is_first = index == first && place.stretch == 1; // Each window runs one command at least.
                if turn.limit != 0 && !is_first && self.charges.is_enough_said(&self.local.quota) {
                    self.local.quota.begin_command();
                    window.hold_rest(place.stretch - 1, index, &mut conn.input, &self.arrivals, &self.engine);
                    self.local.quota.note_job(0); // It waits for replies to be sent: no reason to evict keys.
                    make_ready(&mut self.later, conn, self.clock);
                    continue 'stretches;
                }
                if turn.effects.desk.has_some_here() && minds_messages(conn, item) {
                    let due = &mut self.listeners_due;
                    let grown = &mut self.charges.posted;
                    let tray = Tray { pool: &mut self.pool, dirty: &mut self.dirty, due, grown };
                    Hands { conns: &mut self.conns, tray }.hand_out_here(&mut turn.effects.desk);
                    conn = self.conns.get(stretch.token).expect("nobody is closed here");
                }
                let parts = window.parts_of(item, conn.input.at(&item.place, &self.arrivals, &self.engine));
                if clients_limit != 0 && item.large_count > 0 && is_too_heavy(clients_limit, &conn.session.info, &parts)
                {
                    turn.stats.evicted_clients.add(1);
                    conn.advance(Life::Broken);
                    break;
                }
                let mut flow = turn.run(item.row, &mut conn.session, &mut conn.reply, Args::of(&parts));
                if matches!(flow, Flow::Done) {
                    continue;
                }
                if flow == Flow::Alone
                    && let Some(cue) = turn.cue.take()
                {
                    if !turn.is_brief(&cue.job, &conn.session) {
                        (place.stretch, place.item) = (place.stretch - 1, index + 1);
                        return Some(cue);
                    }
                    flow = turn.play(cue, &mut conn.session, &mut conn.reply, &mut NoOthers);
                }
                if let Flow::Park(wait) = flow {
                    if let Some(number) = turn.effects.awaited.take() {
                        self.undurable.wait(conn.token, number);
                    }
                    window.hold_rest(place.stretch - 1, index, &mut conn.input, &self.arrivals, &self.engine);
                    post_lines(&mut turn.effects.monitor_lines, self.world, self.fleet); // Its wait can be seen.
                    self.parked.park(conn, wait, self.world);
                    send_off(self.fleet, &conn.session.info, turn.effects.errand.take());
                    break;
                }
                if flow != Flow::Done {
                    conn.long = turn.long.take().map(Box::new);
                    if flow == Flow::Resume {
                        window.hold_rest(place.stretch - 1, index + 1, &mut conn.input, &self.arrivals, &self.engine);
                        make_ready(&mut self.later, conn, self.clock);
                        break;
                    }
                    place.stop |= flow == Flow::Shutdown;
                    conn.advance(Life::Draining);
                    break;
                }
            }
            if let Some(error) =
                stretch.refusal.filter(|_| conn.may_run() && conn.wait.is_none() && conn.long.is_none())
            {
                turn.refuse(&mut conn.reply, &error.reply());
                conn.advance(Life::Draining);
            }
        }
        None
    }
}
