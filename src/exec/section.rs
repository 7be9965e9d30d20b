//! Transactions on keys that are known: these are held, and everybody else goes on.
//!
//! ```text
//! EXEC ─▶ do all commands keep to the keys that they name?  is nothing else in the way?  ─no▶ everything stands still (`alone`)
//!           └─yes▶ hold the keys ─▶ run the commands, one after the other ─▶ commit ─▶ tell listeners, serve who waits
//! ```
//! How keys are held, and why nobody sees half of it, is the table's business (`table::staged::section`): handlers run as ever.
//! What is left to do here is to keep them from telling others too early. Whoever hears of a change must find it, so events are
//! kept until the whole is there, in their order.
//!
//! *What is in the way.*
//! - A journal or a snapshot: changes are made in one order, and a transaction is one group of it.
//! - Keys that the client watches: a writer changes a key first and marks its watchers then. Only while everything stands
//!   still nobody is between the two.
//! - A client that tracks what it reads: to be told of its own changes behind the end would make forget what it has read since.
//! - Too many keys: a stop costs less.
//! - This loop is inside a safepoint already: then everything else is done there, too.
//! - There are no other loops: then to stop them costs nothing.

use super::dispatch::Turn;
use super::order::{Touched, touched};
use crate::base::hash::Key;
use crate::cmd::alone::Alone;
use crate::cmd::command::Flow;
use crate::cmd::queue::Queue;
use crate::cmd::session::Session;
use crate::keyspace::{FEW_KEYS, Keys};
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use smallvec::SmallVec;

/// With more keys a transaction stops everybody: holding so many takes about as long as a stop.
const KEYS_MAX: usize = 128;

/// The keys of a transaction, those that are named twice twice.
type Named<'q> = SmallVec<[Key<'q>; FEW_KEYS]>;

impl Turn<'_> {
    /// Runs the job if it is a transaction that can hold its keys. None: everything has to stand still for it, and nothing has
    /// happened yet.
    pub(super) fn exec_held(&mut self, job: &Alone, session: &mut Session, reply: &mut Reply) -> Option<Flow> {
        let Alone::Exec(queue) = job else { return None };
        if !queue.keeps_to_its_keys() || !self.may_hold(session) {
            return None;
        }
        let keys = self.keys(session);
        let named = named(queue, keys)?;
        let flow = keys.in_section(&named, || self.exec(queue, session, reply, &mut super::alone::NoOthers))?;
        self.stats.holding_transactions.add(1);
        self.tell(session);
        Some(flow)
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

/// The keys of all commands. None: they are too many, or not certain.
fn named<'q>(queue: &'q Queue, keys: Keys<'_>) -> Option<Named<'q>> {
    let mut named = Named::new();
    for index in 0..queue.count() {
        let (row, parts) = queue.get(index);
        let key = |at: usize| keys.key(parts.get(at), parts.items[at].hash);
        match row.one_key {
            Some(one) => named.push(key(one.at as usize)),
            None => match touched(row, &Args::of(&parts)) {
                Touched::These(places) => named.extend(places.into_iter().map(key)),
                Touched::Nothing | Touched::Unknown => return None,
            },
        }
    }
    (!named.is_empty() && named.len() <= KEYS_MAX).then_some(named)
}
