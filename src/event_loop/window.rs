//! Windows: up to 64 commands of any clients, cut and looked at together, then run one after the other.
//!
//! A window is filled client by client, so each client's commands stand in it in their order, and a client whose visit
//! spans windows is continued by the next one. Two things end a window early: a client that has not logged in (its limits
//! may change with the command at hand), and experience: when the last windows took long, the next ones are short, so
//! that a stream of slow commands is interrupted often enough for the others.

use super::conn::{Conn, Life};
use super::input::{Cut, Place};
use super::{EventLoop, OUTPUT_SOFT_MAX, make_dirty};
use crate::base::clock::{MonoNs, WallMs};
use crate::cmd::command::{Command, Flow};
use crate::exec::dispatch::Turn;
use crate::exec::look::Ahead;
use crate::resp::args::{Arg, Args};
use crate::resp::parse::{Limits, ProtocolError};
use crate::ring::{Engine, Token};
use crate::table::Guard;
use bytes::Bytes;
use std::time::Duration;

/// Commands of a window. 64: enough for all waits on memory to overlap; their arguments stay in the first-level cache.
const COMMANDS_MAX: usize = 64;
/// A window that took longer makes the next ones shorter.
const LONG: Duration = Duration::from_micros(500);
/// Windows up to this are sparse: the turn's system calls cost far more than timing each command.
const SPARSE_MAX: usize = 8;
/// Commands and time of one client in one turn; then it goes to the back of the list.
const VISIT_COMMANDS: usize = 256;
const VISIT_TIME: Duration = Duration::from_micros(100);

/// One thing to do for a client.
struct Item {
    token: Token,
    job: Job,
}

enum Job {
    /// Run a command: where it lies, its arguments in the window's list, and its row.
    Run { place: Place, items_at: u32, item_count: u32, large: Vec<Bytes>, row: Option<&'static Command> },
    /// The client broke the protocol behind its commands so far.
    Refuse(ProtocolError),
}

/// See the module header. Its vectors keep their room from window to window.
pub(super) struct Window {
    items: Vec<Item>,
    args: Vec<Arg>,
    ahead: Ahead,
    /// At most so many commands, by experience.
    cap: usize,
    is_closed: bool,
}

impl Default for Window {
    fn default() -> Self {
        Window { items: Vec::new(), args: Vec::new(), ahead: Ahead::default(), cap: COMMANDS_MAX, is_closed: false }
    }
}

impl Window {
    fn clear(&mut self) {
        self.items.clear();
        self.args.clear();
        self.ahead.clear();
        self.is_closed = false;
    }
    fn is_full(&self) -> bool {
        self.is_closed || self.items.len() >= self.cap
    }
    /// Learns from how long a window took.
    fn adapt(&mut self, took: Duration) {
        self.cap = if took > LONG { (self.cap / 4).max(1) } else { (self.cap * 2).min(COMMANDS_MAX) };
    }
}

/// The client that is being visited.
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
    pub(super) fn visit_all(&mut self, guard: &Guard<'_>, started: MonoNs, now: WallMs) -> bool {
        let limits = self.limits();
        let mut window = std::mem::take(&mut self.window);
        let (mut clock, mut next, mut visit, mut stop) = (started, 0, None, false);
        loop {
            window.clear();
            self.fill(&mut window, &mut visit, &mut next, &limits, clock);
            if window.items.is_empty() {
                break;
            }
            window.ahead.prefetch(&self.world.keyspace, guard);
            stop |= self.run_window(&mut window, guard, now);
            let finished = MonoNs::now();
            window.adapt(finished.since(clock));
            clock = finished;
        }
        self.window = window;
        let stats = self.stats();
        stats.turns.add(1);
        stats.busy_ns.add(clock.since(started).as_nanos() as u64);
        stop
    }

    /// Cuts commands of ready clients until the window is full or all were visited.
    fn fill(
        &mut self,
        window: &mut Window,
        visit: &mut Option<Visit>,
        next: &mut usize,
        limits: &[Limits; 2],
        clock: MonoNs,
    ) {
        while !window.is_full() {
            let current = match visit {
                Some(current) => current,
                None => {
                    let Some(&token) = self.ready.get(*next) else { return };
                    *next += 1;
                    let until = MonoNs(clock.0 + VISIT_TIME.as_nanos() as u64);
                    visit.insert(Visit { token, commands_left: VISIT_COMMANDS, until })
                }
            };
            let token = current.token;
            if let Some(leave) = self.cut_some(window, current, limits, clock) {
                *visit = None;
                let Some(conn) = self.conns.get(token) else { continue };
                conn.is_ready = leave == Leave::Again;
                conn.is_stalled = leave == Leave::Stalled;
                if conn.is_ready {
                    self.later.push(token);
                }
            }
        }
    }

    /// Cuts commands of one client into the window. None: the window is full and the visit not over.
    #[inline]
    fn cut_some(
        &mut self,
        window: &mut Window,
        visit: &mut Visit,
        limits: &[Limits; 2],
        clock: MonoNs,
    ) -> Option<Leave> {
        let Some(conn) = self.conns.get(visit.token) else { return Some(Leave::Idle) };
        if !conn.may_run() {
            return Some(Leave::Idle);
        }
        if conn.life != Life::Broken && conn.output_len() >= OUTPUT_SOFT_MAX {
            return Some(Leave::Stalled);
        }
        if clock > visit.until {
            return Some(Leave::Again);
        }
        let authenticated = conn.session.authenticated;
        while !window.is_full() {
            if visit.commands_left == 0 {
                return Some(Leave::Again);
            }
            visit.commands_left -= 1;
            let items_at = window.args.len();
            let Conn { input, parser, session, .. } = &mut *conn;
            let cut =
                input.cut(parser, &self.arrivals, &self.engine, &limits[authenticated as usize], &mut window.args);
            let job = match cut {
                Ok(Some(Cut { place, item_count, large })) => {
                    let buf = match place {
                        Place::Arrival(index, at) => &self.arrivals.bytes(&self.engine, index)[at..],
                        Place::Kept(at) => input.kept_from(at),
                    };
                    let args = &mut window.args[items_at..];
                    let row = window.ahead.note(&self.world.keyspace.hasher, session.db, buf, args, &large);
                    Job::Run { place, items_at: items_at as u32, item_count: item_count as u32, large, row }
                }
                Ok(None) => return Some(Leave::Idle),
                Err(error) => Job::Refuse(error),
            };
            let is_refusal = matches!(job, Job::Refuse(_));
            window.items.push(Item { token: visit.token, job });
            if is_refusal {
                return Some(Leave::Idle);
            }
            window.is_closed = !authenticated;
        }
        None
    }

    /// Runs the window's commands. Returns true if one of them stopped the server.
    #[inline]
    fn run_window(&mut self, window: &mut Window, guard: &Guard<'_>, now: WallMs) -> bool {
        let mut turn = Turn {
            is_sparse: window.items.len() <= SPARSE_MAX,
            world: self.world,
            guard,
            stats: &self.world.stats[self.id.0 as usize],
            local: &self.local,
            now,
            prng: &mut self.prng,
            effects: &mut self.effects,
        };
        let mut stop = false;
        for Item { token, job } in &window.items {
            let Some(conn) = self.conns.get(*token).filter(|conn| conn.may_run()) else { continue };
            self.pool.equip(&mut conn.reply.out);
            make_dirty(&mut self.dirty, conn);
            match job {
                Job::Run { place, items_at, item_count, large, row } => {
                    let buf = match *place {
                        Place::Arrival(index, at) => &self.arrivals.bytes(&self.engine, index)[at..],
                        Place::Kept(at) => conn.input.kept_from(at),
                    };
                    let items = &window.args[*items_at as usize..][..*item_count as usize];
                    let args = Args { buf, items, large };
                    match turn.run(*row, &mut conn.session, &mut conn.reply, args) {
                        Flow::Done => {}
                        Flow::Close => conn.advance(Life::Draining),
                        Flow::Shutdown => {
                            conn.advance(Life::Draining);
                            stop = true;
                        }
                    }
                }
                Job::Refuse(error) => {
                    turn.refuse(&mut conn.reply, &error.reply());
                    conn.advance(Life::Draining);
                }
            }
        }
        stop
    }
}
