//! Commands that wait for a key: BLPOP and its kin, XREAD BLOCK. How a handler waits, and what others must know to run its
//! command in its name.
//!
//! ```text
//! let until = cx.patience(args.get(last))?;             the end of the wait; at each later run that of the first
//! …look for what is wanted; if it is there: take it, reply, Done…
//! if !cx.may_wait() { reply as after a timeout, Done }
//! Ok(cx.wait_for(Awaited::List, &keys, until))
//! ```
//! A handler that waits runs again from its start as soon as one of its keys is filled: not by its own loop, but by the one
//! whose command has filled the key, right behind that command and before the next one (`exec::serve`). So a pushed element
//! is with the client that waited longest when the push is answered, as in Redis. The handler cannot tell: it gets a deputy
//! of its session, and what it replies is sent to its client. It must not ask for more of the session than that carries:
//! database, protocol, user, `kept`.
//!
//! Writers tell what they have filled by `cx.effects.filled(db, key)`.

use super::client;
use super::command::{Command, Cx, Flow, Wait, Woken};
use super::session::Session;
use crate::admin::clients::ClientInfo;
use crate::admin::wait::Ticket;
use crate::base::clock::WallMs;
use crate::base::hash::Key;
use crate::base::ids::{ClientId, DbIndex, LoopId};
use crate::base::sync::Mutex;
use crate::keyspace::types::Type;
use crate::keyspace::waiters::Place;
use crate::resp::args::{Args, OwnedArgs};
use crate::resp::error::ReplyError;
use crate::resp::reply::{Output, Proto};
use std::sync::Arc;

/// What a key must hold for the client to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    List,
    SortedSet,
    Stream,
    /// A stream with a consumer group: its client also wants to hear that there is none any more.
    Group,
}

impl Awaited {
    /// Is a key that holds a value of this type, or nothing, worth a look?
    pub fn is_met_by(self, found: Option<Type>) -> bool {
        let wanted = match self {
            Awaited::List => "list",
            Awaited::SortedSet => "zset",
            Awaited::Stream => "stream",
            Awaited::Group => return true,
        };
        found.is_some_and(|found| found.name() == wanted)
    }
    /// Does a client that waits for this hear of the key's end?
    pub fn minds_absence(self) -> bool {
        self == Awaited::Group
    }
}

/// What a command waits for.
#[derive(Debug)]
pub struct Wanted {
    pub awaited: Awaited,
    pub places: Box<[Place]>,
    pub until: Option<WallMs>,
}

/// A command that waits, with all that others need to run it.
pub struct Blocked {
    pub ticket: Ticket,
    pub info: Arc<ClientInfo>,
    pub awaited: Awaited,
    pub places: Box<[Place]>,
    pub until: Option<WallMs>,
    pub row: &'static Command,
    pub args: OwnedArgs,
    pub proto: Proto,
    /// Users as they were when the client was allowed to run this.
    pub acl_generation: u64,
    /// Only whoever has claimed the wait takes the lock.
    pub deputy: Mutex<Session>,
}

impl Blocked {
    /// The command of `session` that has found nothing. From here on its client's wait is open, though in no queue yet.
    pub fn new(
        ticket: Ticket,
        wanted: Wanted,
        row: &'static Command,
        args: Args<'_>,
        session: &mut Session,
        proto: Proto,
    ) -> Self {
        let Wanted { awaited, places, until } = wanted;
        session.info.wait.begin(ticket);
        Blocked {
            ticket,
            info: session.info.clone(),
            awaited,
            places,
            until,
            row,
            args: OwnedArgs::of(args),
            proto,
            acl_generation: session.acl_generation(),
            deputy: Mutex::new(session.deputy()),
        }
    }
}

/// The reply to a command that was run for a client of any loop.
#[derive(Debug)]
pub struct Delivery {
    pub home: LoopId,
    pub id: ClientId,
    pub ticket: Ticket,
    pub output: Output,
    /// The number of the change that it speaks of; 0: none.
    pub written: u64,
}

/// Keys that the command at hand may have filled, in their order.
#[derive(Debug, Default)]
pub struct Fills {
    /// Has anybody ever waited for a key? As of the beginning of the window of commands.
    pub is_heeded: bool,
    keys: Vec<u8>,
    /// The database of each key, and where it ends in `keys`.
    ends: Vec<(DbIndex, usize)>,
}

impl Fills {
    #[inline]
    pub fn push(&mut self, db: DbIndex, key: &[u8]) {
        if self.is_heeded {
            self.note(db, key);
        }
    }
    fn note(&mut self, db: DbIndex, key: &[u8]) {
        self.keys.extend_from_slice(key);
        self.ends.push((db, self.keys.len()));
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
    pub fn clear(&mut self) {
        self.keys.clear();
        self.ends.clear();
    }
    /// The `index`-th key.
    pub fn get(&self, index: usize) -> Option<Place> {
        let &(db, end) = self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
        Some(Place::new(db, &self.keys[start..end]))
    }
}

impl Cx<'_> {
    /// The end of the wait that an argument in seconds asks for; None: it has none. When the command runs again it is the
    /// same as at its first run.
    /// Errors: no number, negative, out of range.
    pub fn patience(&self, seconds: &[u8]) -> Result<Option<WallMs>, ReplyError> {
        let asked = client::patience(seconds, self.keys.now)?;
        Ok(self.first_patience().unwrap_or(asked))
    }
    /// As `patience`, in whole milliseconds (XREAD BLOCK).
    pub fn patience_ms(&self, timeout_ms: &[u8]) -> Result<Option<WallMs>, ReplyError> {
        let asked = client::patience_ms(timeout_ms, self.keys.now)?;
        Ok(self.first_patience().unwrap_or(asked))
    }
    fn first_patience(&self) -> Option<Option<WallMs>> {
        match self.session.woken {
            Some(Woken::Event { until }) => Some(until),
            _ => None,
        }
    }
    /// May the command wait, or must it reply as after a timeout?
    pub fn may_wait(&self) -> bool {
        self.session.may_wait()
    }
    /// What a handler returns that has found nothing under these keys of the selected database. Nothing has been replied.
    pub fn wait_for(&mut self, awaited: Awaited, keys: &[Key<'_>], until: Option<WallMs>) -> Flow {
        let places = keys.iter().map(|key| Place::new(self.keys.db(), key.bytes)).collect();
        self.effects.wanted = Some(Wanted { awaited, places, until });
        Flow::Park(Wait::Event { until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_keys_are_kept_in_order_once_somebody_heeds_them() {
        let mut fills = Fills::default();
        fills.push(DbIndex(0), b"unheard");
        assert!(fills.is_empty());
        fills.is_heeded = true;
        [(0, &b"a"[..]), (3, b""), (0, b"bc")].iter().for_each(|&(db, key)| fills.push(DbIndex(db), key));
        let all: Vec<_> = (0..4).map_while(|index| fills.get(index)).collect();
        assert_eq!(all, [Place::new(DbIndex(0), b"a"), Place::new(DbIndex(3), b""), Place::new(DbIndex(0), b"bc")]);
        fills.clear();
        assert!(fills.is_empty() && fills.get(0).is_none());
    }
}
