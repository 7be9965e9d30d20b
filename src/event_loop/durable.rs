//! The loop's side of the journal: what has changed is handed over, replies that must not be ahead of the disk are held, and
//! the log begins, is written anew, and ends.
//!
//! ```text
//! window, turn ─▶ ledger ─▶ hub                        before anything of the turn is sent
//! flush ─▶ the client's last change is not durable, and it wants that ─▶ held ─▶ Mail::Look ─▶ flushed
//! CONFIG SET appendonly, BGREWRITEAOF ─▶ the safepoint: a base is written, the log goes on behind it
//! ```
//! Only the output of the client itself is held; its loop and everybody else goes on.

use super::EventLoop;
use super::conn::Life;
use super::make_dirty;
use crate::admin::log;
use crate::base::clock::{WallMs, wall_micros};
use crate::base::ids::DbIndex;
use crate::cmd::background;
use crate::cmd::command::Woken;
use crate::exec::load::folder;
use crate::journal::hub::{Durability, Message, Rewrite};
use crate::keyspace::Keys;
use crate::keyspace::events::Listener;
use crate::ring::{Engine, Token};
use std::io;

/// Clients of this loop that wait for the disk.
#[derive(Default)]
pub struct Undurable {
    /// Their output waits.
    held: Vec<Token>,
    /// Their command waits for this change (WAITAOF).
    waiting: Vec<(Token, u64)>,
}

impl Undurable {
    /// A command waits until change `number` is on the disk.
    pub fn wait(&mut self, token: Token, number: u64) {
        self.waiting.push((token, number));
    }
}

impl<E: Engine> EventLoop<E> {
    /// Hands over what has changed.
    /// Cost: a test if nothing has, or nobody keeps it.
    #[inline]
    pub(super) fn hand_over_records(&mut self) {
        if !self.local.ledger.is_empty() {
            let batch = self.local.ledger.take();
            if !batch.is_empty() && self.world.journal.submit(self.id.0 as usize, batch) {
                self.hold_changes();
            }
        }
    }

    /// More waits to be written than may: commands that change data wait from now on, as in a pause. Whoever reads goes on.
    #[cold]
    fn hold_changes(&self) {
        let attention = &self.world.attention;
        if attention.is_backlogged() || attention.is_unwritable() {
            return;
        }
        attention.set_backlogged(true);
        self.world.journal.facts().delayed_syncs += 1;
        if self.world.journal.has_room() {
            attention.set_backlogged(false); // The thread was done in this moment, and may not have seen it.
        }
    }

    /// Must the output of this client wait for the disk? Then it is looked at again when the disk is further.
    #[inline]
    pub(super) fn is_held_for_disk(&mut self, token: Token) -> bool {
        let Some(conn) = self.conns.get(token) else { return false };
        let (durability, written) = (conn.session.durability, conn.session.written);
        if written == 0 || conn.life == Life::Broken {
            return false;
        }
        if !self.world.journal.holds(durability, written) {
            if durability == Durability::EverySec {
                self.world.journal.want_soon(written);
            }
            return false;
        }
        self.undurable.held.push(token);
        self.world.journal.want(written);
        true
    }

    /// Lets those go on whose changes are on the disk by now.
    #[inline]
    pub(super) fn release_durable(&mut self) {
        if !self.undurable.held.is_empty() || !self.undurable.waiting.is_empty() {
            self.release();
        }
    }

    #[cold]
    fn release(&mut self) {
        for token in std::mem::take(&mut self.undurable.held) {
            if let Some(conn) = self.conns.get(token) {
                make_dirty(&mut self.dirty, conn);
            }
        }
        let durable = self.world.journal.durable();
        let is_on = self.world.journal.is_on();
        let (due, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.undurable.waiting)
            .into_iter()
            .partition(|&(_, number)| number <= durable || !is_on);
        self.undurable.waiting = rest;
        for (token, _) in due {
            let Some(conn) = self.conns.get(token) else { continue };
            if conn.wait.is_some() && conn.session.info.wait.try_end() {
                let until = conn.alarm_at;
                self.wake(token, Some(Woken::Event { until }));
            }
        }
    }

    /// Does what a command of this turn wants of the log.
    pub(super) fn tend_journal(&mut self, now: WallMs) {
        self.world.background.settle(self.world);
        let (journal, background) = (&self.world.journal, &self.world.background);
        if let Some(is_wanted) = self.effects.journal_switch.take() {
            journal.set_due(is_wanted && !journal.is_on());
            if !is_wanted && journal.is_on() {
                self.end_journal();
            }
        }
        if journal.is_due() && !background.is_writing() && !self.world.attention.is_loading() {
            journal.set_due(false);
            self.begin_journal(now);
        }
        if !self.world.background.is_writing() && self.world.journal.take_scheduled() {
            self.rewrite_journal(now);
        }
    }

    /// CONFIG SET appendonly yes: from now on changes are recorded; what was there before becomes a base beside everything else.
    fn begin_journal(&mut self, now: WallMs) {
        let (world, attention) = (self.world, &self.world.attention);
        let begun = self.at_cut(now, false, |at, rewrite| {
            world.keyspace.listeners.heed(Listener::Journal);
            world.journal.set_on(true);
            world.journal.facts().lacks_base = true;
            attention.set_unlogged(false);
            world.journal.send(Message::BeginBehind { at, rewrite });
        });
        if let Err(error) = begun {
            log::warning(format_args!("The append only file cannot be begun: {error}"));
            let _ = world.config.set(&[(b"appendonly", b"no")]); // As it is.
        }
    }

    fn end_journal(&mut self) {
        let (world, id) = (self.world, self.id);
        self.hand_over_records();
        if world.background.break_off_base(world) {
            log::notice(format_args!("Killing the AOF rewrite: it is no child, but a thread that ends now"));
        }
        world.journal.facts().rewriting = None; // Also if its base is on its way to the log.
        world.safepoint.run(id, || {
            world.keyspace.listeners.forget(Listener::Journal);
            world.journal.set_on(false);
            world.attention.set_unlogged(world.journal.is_promised());
            world.journal.send(Message::End { at: world.keyspace.order.next() });
        });
    }

    /// Writes everything into a new base; the log, if there is one, goes on behind it in a new file.
    fn rewrite_journal(&mut self, now: WallMs) {
        let world = self.world;
        let begun = self.at_cut(now, !world.journal.is_on(), |at, rewrite| {
            if !rewrite.is_lone {
                world.journal.send(Message::Rotate { at, rewrite });
            }
        });
        if let Err(error) = begun {
            log::warning(format_args!("Background AOF rewrite failed: {error}"));
            let mut facts = self.world.journal.facts();
            facts.is_last_rewrite_ok = false;
            facts.rewrite_failures += 1;
        }
    }

    /// Inside the safepoint: a base begins to be taken (`is_lone`: no log goes on behind it), and `then` is run with the number at which it was cut.
    /// Errors: the file; `then` has not run.
    fn at_cut(&mut self, now: WallMs, is_lone: bool, then: impl FnOnce(u64, Rewrite)) -> io::Result<()> {
        self.hand_over_records();
        let (world, id, seat) = (self.world, self.id, self.seat.clone());
        let rewrite = {
            let mut facts = world.journal.facts();
            facts.rewrites += 1;
            let rewrite = Rewrite { number: facts.rewrites, since: wall_micros() / 1000, is_lone };
            facts.rewriting = Some(rewrite);
            rewrite
        };
        let folder = folder(world);
        let begun = std::fs::create_dir_all(&folder).and_then(|()| {
            world.safepoint.run(id, || {
                let guard = seat.pin();
                let keys = Keys::new(&world.keyspace, DbIndex(0), &guard, self.stats(), &self.local, now);
                background::begin_base(world, &keys, &folder, rewrite)?;
                then(world.keyspace.order.next(), rewrite);
                Ok(())
            })
        });
        if begun.is_err() {
            world.journal.facts().rewriting = None;
        }
        begun
    }
}
