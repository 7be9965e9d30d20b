//! Commands in the one order of changes, while a journal or a snapshot keeps it: see `keyspace::order`.
//!
//! ```text
//! enter    the stripes of the keys that the command names; keys unknown: the safepoint; a running snapshot gets what is there
//! handler  changes data, and says what is to be recorded if that is not the command itself (`Cx::propagate`)
//! leave    it has changed something and said nothing: the command is recorded as it came; the number; the stripes go back
//! ```
//! Transactions and scripts open a group for the whole (exec/alone.rs); what they call is recorded into it one by one
//! (`note_inside`).

use super::dispatch::Turn;
use crate::cmd::command::{Command, flag};
use crate::cmd::keyspec::{self, are_movable, legacy_range};
use crate::cmd::session::Session;
use crate::keyspace::FEW_KEYS;
use crate::keyspace::safepoint::Stay;
use crate::resp::args::Args;
use smallvec::SmallVec;

/// Where the keys of a command stand that may change data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Touched {
    /// It changes nothing, or is itself put in order elsewhere.
    Nothing,
    These(SmallVec<[usize; FEW_KEYS]>),
    /// Anything.
    Unknown,
}

pub(super) fn touched(row: &Command, args: &Args<'_>) -> Touched {
    if row.has(flag::ALONE) {
        return Touched::Nothing;
    }
    if let Some(at) = row.only_place {
        return Touched::These(SmallVec::from_slice(&[at as usize]));
    }
    let are_plain = row.find_keys.is_none() && row.legacy_keys.0 > 0 && !are_movable(row.keys);
    if are_plain {
        return Touched::These(legacy_range(row, args.count()).collect());
    }
    if row.keys.is_empty() && row.find_keys.is_none() {
        return if row.has(flag::WRITE) { Touched::Unknown } else { Touched::Nothing };
    }
    let Ok(found) = keyspec::positions(row, args) else { return Touched::Unknown };
    let has = |flag: &str| found.iter().any(|(_, flags)| flags.contains(&flag));
    if row.find_keys.is_some() && !has("RW") {
        // SORT: with STORE it writes, and reads keys that its patterns name.
        return if has("OW") { Touched::Unknown } else { Touched::Nothing };
    }
    Touched::These(found.into_iter().map(|(at, _)| at).collect())
}

/// May the command change what it does not name?
#[inline]
fn may_stop_others(row: &Command) -> bool {
    row.keys.is_empty() || row.find_keys.is_some()
}

impl Turn<'_> {
    /// Before a handler: takes the command's place in the order, if one is kept and it may change data. True: `leave_order`
    /// follows.
    /// A command that stops everybody stops them here already: while it waits for that, another loop may begin to keep an order.
    /// Cost: a test of a copied word, and of the row, while no order is kept.
    #[inline]
    pub(super) fn enter_order(&mut self, row: &Command, session: &Session, args: &Args<'_>) -> bool {
        if self.local.events.is_ordered() {
            return match row.only_place {
                _ if !row.has(flag::WRITE | flag::MAY_REPLICATE) => false,
                Some(at) if !row.has(flag::ALONE) => self.take_place_of(row, session, args, at as usize),
                _ => self.take_place(row, session, args),
            };
        }
        row.has(flag::WRITE) && may_stop_others(row) && self.step_in_first(row, session, args)
    }

    #[cold]
    fn step_in_first(&mut self, row: &Command, session: &Session, args: &Args<'_>) -> bool {
        if touched(row, args) != Touched::Unknown {
            return false;
        }
        self.step_in(session.home, Stay::Short);
        self.local.events.is_ordered() && self.take_place(row, session, args)
    }

    /// `take_place` of a command with one key, which is argument `at`: most of them.
    #[inline]
    fn take_place_of(&mut self, row: &Command, session: &Session, args: &Args<'_>, at: usize) -> bool {
        let keys = self.keys(session);
        let key = keys.key(args.get(at), args.hash(at));
        self.local.ledger.open(&self.world.keyspace.order, [key.hash]);
        keys.before_write(key);
        if row.group == "hash" && self.local.events.is_journaled() {
            keys.settle_fields(key);
        }
        self.effects.dirty_before = self.effects.dirty;
        true
    }

    #[cold]
    fn take_place(&mut self, row: &Command, session: &Session, args: &Args<'_>) -> bool {
        let (ledger, space) = (&self.local.ledger, &self.world.keyspace);
        match touched(row, args) {
            Touched::Nothing => return false,
            Touched::Unknown => {
                self.step_in(session.home, Stay::Short);
                ledger.open_alone();
                self.hand_over(row, session, args);
            }
            Touched::These(places) => {
                let keys = self.keys(session);
                let keyed: SmallVec<[_; FEW_KEYS]> =
                    places.iter().map(|&at| keys.key(args.get(at), args.hash(at))).collect();
                ledger.open(&space.order, keyed.iter().map(|key| key.hash));
                keyed.iter().for_each(|&key| keys.before_write(key));
                if row.group == "hash" && self.local.events.is_journaled() {
                    keyed.iter().for_each(|&key| keys.settle_fields(key));
                }
            }
        }
        self.effects.dirty_before = self.effects.dirty;
        true
    }

    /// Behind the handler of a command that has taken its place.
    #[cold]
    pub(super) fn leave_order(&mut self, session: &mut Session, args: &Args<'_>) {
        self.note_inside(session, args);
        self.close_group(session);
    }

    /// Before a command inside a transaction or a script.
    #[inline]
    pub(super) fn begin_inside(&mut self, row: &Command, session: &Session, args: &Args<'_>) {
        if self.local.events.is_ordered() {
            self.local.ledger.begin_command();
            if row.has(flag::WRITE) {
                self.hand_over(row, session, args);
            }
            if row.group == "hash" && row.has(flag::WRITE) && self.local.events.is_journaled() {
                let keys = self.keys(session);
                keys.settle_fields(keys.key(args.get(1), args.hash(1)));
            }
            self.effects.dirty_before = self.effects.dirty;
        }
    }

    /// A running snapshot gets what is there, before a command inside the safepoint changes it.
    fn hand_over(&self, row: &Command, session: &Session, args: &Args<'_>) {
        if self.world.keyspace.handover.is_on() {
            let (keys, found) = (self.keys(session), keyspec::positions(row, args).unwrap_or_default());
            found.iter().for_each(|&(at, _)| keys.before_write(keys.key(args.get(at), args.hash(at))));
        }
    }

    /// Behind a handler: records the command if it has changed something and said nothing.
    #[inline]
    pub(super) fn note_inside(&mut self, session: &Session, args: &Args<'_>) {
        let ledger = &self.local.ledger;
        if self.local.events.is_journaled() && self.effects.dirty > self.effects.dirty_before && !ledger.is_told() {
            match args.as_sent() {
                Some(sent) => ledger.record_sent(session.db, sent),
                None => ledger.record(session.db, (0..args.count()).map(|at| args.get(at))),
            }
        }
    }

    /// A transaction or a script begins, inside the safepoint. True: `close_group` follows.
    pub(super) fn open_group(&mut self) -> bool {
        let is_ordered = self.local.events.is_ordered();
        if is_ordered {
            self.local.ledger.open_alone();
        }
        is_ordered
    }

    /// What was opened is over.
    pub(super) fn close_group(&mut self, session: &mut Session) {
        if let Some(number) = self.local.ledger.close(&self.world.keyspace.order) {
            session.written = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::table;
    use crate::cmd::testkit::Line;

    fn places(line: &str) -> Touched {
        let line = Line::new(line);
        let parts = line.parts();
        let args = Args::of(&parts);
        touched(table::resolve(&args).unwrap(), &args)
    }

    fn these(all: &[usize]) -> Touched {
        Touched::These(SmallVec::from_slice(all))
    }

    #[test]
    fn each_command_takes_the_stripes_of_its_keys() {
        assert_eq!(places("SET a 1"), these(&[1]));
        assert_eq!(places("MSET a 1 b 2"), these(&[1, 3]));
        assert_eq!(places("RENAME a b"), these(&[1, 2]));
        assert_eq!(places("ZUNIONSTORE d 2 a b WEIGHTS 1 2"), these(&[1, 3, 4]));
        assert_eq!(places("LMPOP 2 a b LEFT"), these(&[2, 3]));
        assert_eq!(places("XREADGROUP GROUP g c STREAMS a b > >"), these(&[5, 6]));
        assert_eq!(places("PFCOUNT a b"), these(&[1, 2]));
        assert_eq!(places("BLPOP a b 0"), these(&[1, 2]));
    }

    #[test]
    fn what_names_no_keys_stops_everything_and_what_reads_nothing() {
        for line in ["FLUSHALL", "SWAPDB 0 1", "SORT a STORE b", "FUNCTION FLUSH"] {
            assert_eq!(places(line), Touched::Unknown, "{line}");
        }
        for line in ["SORT a", "PUBLISH a b", "EVAL x 1 a"] {
            assert_eq!(places(line), Touched::Nothing, "{line}");
        }
    }
}
