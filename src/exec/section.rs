//! Transactions and scripts on keys that are known: these are held, and everybody else goes on.
//!
//! ```text
//! EXEC ─▶ do all commands keep to the keys that they name?  ┐
//! EVAL ─▶ is the script plain (`script::plain`)?            ┴ is nothing else in the way?  ─no▶ everything stands still (`alone`)
//!           └─yes▶ hold the keys ─▶ run the commands, one after the other ─▶ commit ─▶ tell listeners, serve who waits
//! ```
//! How keys are held, and why nobody sees half of it, is the table's business (`table::staged::section`): handlers run as ever.
//! What is left to do here is to keep them from telling others too early. Whoever hears of a change must find it, so events are
//! kept until the whole is there, in their order.
//!
//! *Scripts that follow one another on the same keys* share one section, as long as they have nothing to tell: the next one of the
//! window finds its keys held. Two loops that want one key all the time so take turns of some dozens of scripts, not of one:
//! to hand over costs about as much as a script. Whatever else comes next in the window ends the section before it runs.
//!
//! *What is in the way.*
//! - A journal or a snapshot: changes are made in one order, and a transaction is one group of it.
//! - Keys that the client watches: a writer changes a key first and marks its watchers then. Only while everything stands
//!   still nobody is between the two. (To hold the watched keys and to wait for the others costs more on two cores, see
//!   kernel-notes/46.) Who is marked already has nothing to wait for: its transaction does nothing.
//! - A client that tracks what it reads: to be told of its own changes behind the end would make forget what it has read since.
//! - Too many keys: a stop costs less. A script without keys: there is nothing to be held.
//! - This loop is inside a safepoint already: then everything else is done there, too.
//! - There are no other loops: then to stop them costs nothing.

use super::alone::NoOthers;
use super::dispatch::Turn;
use super::order::{Touched, touched};
use super::script::Way;
use crate::admin::clients::client_flag;
use crate::base::hash::Key;
use crate::cmd::alone::Alone;
use crate::cmd::command::{Command, Flow, flag};
use crate::cmd::queue::Queue;
use crate::cmd::session::Session;
use crate::keyspace::{FEW_KEYS, Keys};
use crate::resp::args::{Args, Parts};
use crate::resp::reply::Reply;
use crate::table::Section;
use smallvec::SmallVec;

/// With more keys a transaction stops everybody: holding so many takes about as long as a stop.
const KEYS_MAX: usize = 128;
/// Scripts that follow the first one in a section: who wants the same keys on another loop waits for all of them.
const SCRIPTS_MAX: usize = 31;
/// The argument of EVAL and its kin that is the first key.
pub(super) const FIRST_KEY: usize = 3;

/// The keys of a transaction or script, those that are named twice twice.
type Named<'q> = SmallVec<[Key<'q>; FEW_KEYS]>;

/// Keys that stay held for the next scripts.
pub struct OpenSection<'t> {
    section: Section<'t>,
    /// So many scripts may follow.
    left: usize,
}

impl<'t> Turn<'t> {
    /// Runs the job if it is a transaction or a script that can hold its keys, or a transaction that does nothing. None:
    /// everything has to stand still for it, and nothing has happened yet.
    pub(super) fn play_held(&mut self, job: &Alone, session: &mut Session, reply: &mut Reply) -> Option<Flow> {
        if let Alone::Exec(queue) = job
            && session.watching.is_some()
            && session.info.has(client_flag::DIRTY)
        {
            return Some(self.exec(queue, session, reply, &mut NoOthers));
        }
        if !keeps_to_its_keys(job) || !self.may_hold(session) {
            return None;
        }
        let keys = self.keys(session);
        let flow = match job {
            Alone::Exec(queue) => {
                self.hold(&named_by_all(queue, keys)?, keys)?;
                let flow = self.exec(queue, session, reply, &mut NoOthers);
                self.section = None;
                self.stats.holding_transactions.add(1);
                flow
            }
            Alone::Script(script) => {
                let parts = script.args.parts();
                let named = (FIRST_KEY..FIRST_KEY + script.key_count).map(|at| key_of(keys, &parts, at));
                self.hold(&certain(named)?, keys)?;
                let flow = self.run_script(script, session, reply, &mut NoOthers, Way::Held);
                self.stats.holding_scripts.add(1);
                if self.has_news() {
                    self.section = None;
                }
                flow
            }
            Alone::Function(_) | Alone::Reload => return None,
        };
        self.tell(session);
        Some(flow)
    }

    /// Holds these keys, unless they are held already.
    fn hold(&mut self, named: &Named<'_>, keys: Keys<'t>) -> Option<()> {
        if let Some(open) = &mut self.section
            && open.left > 0
            && keys.are_held(&open.section, named)
        {
            open.left -= 1;
            return Some(());
        }
        self.section = None; // Before others are wanted: who holds some waits for none.
        self.section = Some(OpenSection { section: keys.begin_section(named)?, left: SCRIPTS_MAX });
        Some(())
    }

    /// Has somebody to hear of what was done?
    fn has_news(&self) -> bool {
        let events = &self.local.events;
        !events.is_empty() || events.has_ended() || !self.effects.fills.is_empty()
    }

    /// Keys are held, and this command comes next. Only a script may run before they are let go, and only if all that it does
    /// is in its own hands: to make room, say, would touch other keys.
    #[cold]
    pub(super) fn part(&mut self, row: Option<&'static Command>, session: &Session) {
        if !row.is_some_and(|row| row.has(flag::ALONE)) || !self.is_plain(session) {
            self.section = None;
        }
    }

    /// Does the job run to its end within its window? A plain script does, where nobody has to stand still for it; who has
    /// stopped the others stays inside over windows (`event_loop::window::end_stay`).
    pub fn is_brief(&self, job: &Alone, session: &Session) -> bool {
        match job {
            Alone::Script(job) if job.is_plain() => self.may_hold(session) || !self.world.safepoint.has_others(),
            _ => !job.may_yield(),
        }
    }

    /// Is nothing of this client and this loop in the way?
    fn may_hold(&self, session: &Session) -> bool {
        !self.is_alone
            && self.world.safepoint.has_others()
            && !self.local.events.is_ordered()
            && session.watching.is_none()
            && session.tracking.is_none()
    }
}

/// Will this touch no other keys than those that it names?
fn keeps_to_its_keys(job: &Alone) -> bool {
    match job {
        Alone::Exec(queue) => queue.keeps_to_its_keys(),
        Alone::Script(job) => job.is_plain(),
        Alone::Function(_) | Alone::Reload => false,
    }
}

fn key_of<'q>(keys: Keys<'_>, parts: &Parts<'q>, at: usize) -> Key<'q> {
    keys.key(parts.get(at), parts.items[at].hash)
}

/// Those that are to be held. None: they are too many, or none.
fn certain<'q>(keys: impl Iterator<Item = Key<'q>>) -> Option<Named<'q>> {
    let named: Named<'q> = keys.take(KEYS_MAX + 1).collect();
    (!named.is_empty() && named.len() <= KEYS_MAX).then_some(named)
}

/// The keys of all commands. None: they are too many, or not certain.
fn named_by_all<'q>(queue: &'q Queue, keys: Keys<'_>) -> Option<Named<'q>> {
    let mut named = Named::new();
    for index in 0..queue.count() {
        let (row, parts) = queue.get(index);
        match row.one_key {
            Some(one) => named.push(key_of(keys, &parts, one.at as usize)),
            None => match touched(row, &Args::of(&parts)) {
                Touched::These(places) => named.extend(places.into_iter().map(|at| key_of(keys, &parts, at))),
                Touched::Nothing | Touched::Unknown => return None,
            },
        }
    }
    certain(named.into_iter())
}
