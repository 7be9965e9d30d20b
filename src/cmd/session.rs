//! `Session`: what a connection is to the commands. Owned by its event loop; other loops see only `admin::clients`.

use super::blocking::Blocked;
use super::command::Woken;
use super::queue::Queue;
use crate::admin::acl::Acl;
use crate::admin::acl::user::{DEFAULT, User};
use crate::admin::clients::{ClientInfo, Traffic, client_flag};
use crate::base::ids::{ClientId, DbIndex, LoopId};
use crate::journal::hub::Durability;
use crate::keyspace::waiters::Place;
use crate::keyspace::watched::Watched;
use crate::pubsub::Space;
use crate::pubsub::registry::Registry;
use crate::pubsub::subscriptions::Subscriptions;
use crate::resp::reply::Proto;
use crate::tracking::{Own, Tracking};
use std::any::Any;
use std::sync::Arc;

/// CLIENT REPLY's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped.
    SkipNext,
    /// This command's reply is dropped.
    Skip,
}

/// How much of a command's permissions must be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The user may do everything.
    Unrestricted,
    /// The user's selectors decide, and whether the client is confined.
    Restricted,
    /// Not logged in, and that is needed.
    LoggedOut,
}

/// See the module header.
pub struct Session {
    pub id: ClientId,
    pub home: LoopId,
    pub db: DbIndex,
    pub authenticated: bool,
    /// Follows from the user and the default user, as they were at `acl_generation`.
    standing: Standing,
    /// The user as of `acl_generation`.
    user: Arc<User>,
    acl_generation: u64,
    pub reply_mode: ReplyMode,
    pub no_evict: bool,
    pub no_touch: bool,
    /// MONITOR: it is shown what others run.
    pub is_monitor: bool,
    /// What it has subscribed to; None: nothing.
    pub subs: Option<Box<Subscriptions>>,
    /// How it tracks what it reads, if it does.
    pub tracking: Option<Box<Own>>,
    /// It has subscribed to something and speaks RESP2, in which it could not tell other replies from messages.
    is_confined: bool,
    /// What the command at hand has written is no reply but pushes, which CLIENT REPLY does not concern.
    has_pushed: bool,
    /// Why the command at hand runs again after it was parked; None at its first run.
    pub woken: Option<Woken>,
    /// What the command at hand wants to find again when it runs again (the ids that `$` meant to XREAD).
    pub kept: Option<Box<dyn Any + Send>>,
    /// The command at hand waits for keys, and others may run it.
    pub blocked: Option<Arc<Blocked>>,
    /// MULTI: commands are queued here until EXEC.
    pub multi: Option<Box<Queue>>,
    /// WATCH: the keys, none of them twice. What is changed of them marks the client (`client_flag::DIRTY`).
    pub watching: Option<Box<Vec<Place>>>,
    /// Commands that would wait reply as after a timeout: they are part of a transaction or a script.
    pub denies_blocking: bool,
    /// The command at hand was called by a script.
    pub is_scripted: bool,
    /// The number of its last change, while an order is kept (`keyspace::order`).
    pub written: u64,
    /// CLIENT DURABILITY: when its writes are answered.
    pub durability: Durability,
    /// What went over this connection so far. Others see it in `info` as of the end of the last turn.
    pub traffic: Traffic,
    /// The same client as others see it.
    pub info: Arc<ClientInfo>,
}

impl Session {
    /// A fresh connection: database 0, replies on, the default user, who is logged in if no password is needed.
    pub fn new(info: Arc<ClientInfo>, acl: &Acl) -> Self {
        let user = acl.default_user();
        Session {
            id: info.id,
            home: info.home,
            db: DbIndex(0),
            authenticated: user.needs_no_password() && user.is_enabled(),
            standing: Standing::LoggedOut,
            user,
            acl_generation: 0, // None: `standing` finds out.
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            is_monitor: false,
            subs: None,
            tracking: None,
            is_confined: false,
            has_pushed: false,
            woken: None,
            kept: None,
            blocked: None,
            multi: None,
            watching: None,
            denies_blocking: false,
            is_scripted: false,
            written: 0,
            durability: Durability::Default,
            traffic: Traffic::default(),
            info,
        }
    }
    /// The same client for a command that others may run in its name. What the command keeps goes with it.
    pub fn deputy(&mut self) -> Session {
        Session {
            id: self.id,
            home: self.home,
            db: self.db,
            authenticated: self.authenticated,
            standing: self.standing,
            user: self.user.clone(),
            acl_generation: self.acl_generation,
            reply_mode: ReplyMode::On,
            no_evict: self.no_evict,
            no_touch: self.no_touch,
            is_monitor: self.is_monitor,
            subs: None,
            tracking: None,
            is_confined: false,
            has_pushed: false,
            woken: None,
            kept: self.kept.take(),
            blocked: None,
            multi: None,
            watching: None,
            denies_blocking: self.denies_blocking,
            is_scripted: false,
            written: 0,
            durability: Durability::Default,
            traffic: Traffic::default(),
            info: self.info.clone(),
        }
    }
    /// A session that keeps the place of this one while it is elsewhere. No command runs for it.
    pub fn stand_in(&mut self) -> Session {
        let (traffic, written, durability) = (self.traffic, self.written, self.durability);
        Session { traffic, written, durability, reply_mode: self.reply_mode, ..self.deputy() }
    }
    /// The connection is closed: what others keep in the session's name is given up.
    pub fn discard(mut self, watched: &Watched<ClientInfo>) {
        self.end_multi();
        self.unwatch(watched);
    }
    /// The generation of users that the session goes by.
    pub fn acl_generation(&self) -> u64 {
        self.acl_generation
    }
    /// What must be checked of the next command.
    /// Cost: a relaxed load, if nobody has changed any user since the last command.
    #[inline]
    pub fn standing(&mut self, acl: &Acl) -> Standing {
        if self.acl_generation != acl.generation() {
            self.renew(acl);
        }
        self.standing
    }
    /// Takes over the user as it is now. A session whose user was deleted is nobody's until it is closed.
    #[cold]
    fn renew(&mut self, acl: &Acl) {
        self.acl_generation = acl.generation(); // Before the look: a later change is seen next time.
        let default = acl.default_user();
        match acl.renewed(&self.user) {
            Some(user) => self.user = user,
            None => self.become_user(default.clone(), false),
        }
        let is_login_needed = !default.needs_no_password() || !default.is_enabled();
        self.standing = match () {
            _ if is_login_needed && !self.authenticated => Standing::LoggedOut,
            _ if self.user.is_unrestricted() && !self.is_confined => Standing::Unrestricted,
            _ => Standing::Restricted,
        };
    }
    /// Becomes a session of this user.
    pub fn become_user(&mut self, user: Arc<User>, authenticated: bool) {
        let name: &[u8] = if *user.name == *DEFAULT { b"" } else { &user.name };
        if self.info.names().user.as_ref() != name {
            self.info.rename(|names| names.user = name.into());
        }
        (self.user, self.authenticated, self.acl_generation) = (user, authenticated, 0);
    }
    /// The user as of the last command.
    pub fn user(&self) -> &User {
        &self.user
    }
    /// Lets others, and the command at hand, see the totals of this connection.
    pub fn publish(&self) {
        self.info.set_traffic(self.traffic);
    }
    /// Moves to another database; takes effect with the next command.
    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.info.set_db(db.0 as u32);
    }
    pub fn set_no_evict(&mut self, on: bool) {
        self.no_evict = on;
        self.info.set(client_flag::NO_EVICT, on);
    }
    pub fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.info.set(client_flag::NO_TOUCH, on);
    }
    pub fn set_monitor(&mut self, on: bool) {
        self.is_monitor = on;
        self.info.set(client_flag::MONITOR, on);
    }
    /// May the command at hand wait, or must it reply as after a timeout?
    pub fn may_wait(&self) -> bool {
        self.woken != Some(Woken::TimedOut) && !self.denies_blocking
    }
    /// Has the client subscribed to anything?
    #[inline]
    pub fn is_subscribed(&self) -> bool {
        self.subs.is_some()
    }
    /// May the client be sent something that it did not ask for? Messages that wait are handed out before its next command.
    #[inline]
    pub fn listens(&self) -> bool {
        self.subs.is_some() || self.tracking.is_some()
    }
    /// Ends the client's tracking, if it tracks.
    pub fn end_tracking(&mut self, tracking: &Tracking) {
        if let Some(own) = self.tracking.take() {
            tracking.end(self.id, &own.prefixes);
            self.info.set_prefix_count(0);
            let flags = client_flag::TRACKING | client_flag::TRACKING_BROKEN | client_flag::TRACKING_BROADCAST;
            self.info.set(flags, false);
        }
    }
    /// A command has run, or the whole of a transaction: CLIENT CACHING was for it alone.
    #[cold]
    pub fn settle_caching(&mut self, is_client_command: bool) {
        if let Some(own) = self.tracking.as_mut().filter(|_| !is_client_command) {
            own.is_caching_given = false;
        }
    }
    /// May the client only run what is flagged `WHILE_SUBSCRIBED`?
    pub fn is_confined(&self) -> bool {
        self.is_confined
    }
    /// Draws the consequences of a change of `subs` or of the protocol.
    pub fn settle_subscriptions(&mut self, registry: &Registry, proto: Proto) {
        self.subs.take_if(|subs| subs.is_empty());
        let is_subscribed = self.subs.is_some();
        if is_subscribed != self.info.has(client_flag::PUBSUB) {
            self.info.set(client_flag::PUBSUB, is_subscribed);
            registry.count_client(is_subscribed);
        }
        let counts = self.subs.as_ref().map_or([0; 3], |subs| Space::ALL.map(|space| subs.count(space)));
        self.info.set_subscriptions(counts);
        let is_confined = is_subscribed && proto == Proto::Resp2;
        if is_confined != self.is_confined {
            (self.is_confined, self.acl_generation) = (is_confined, 0); // The standing follows from it.
        }
    }
    /// May its user, as it is now, listen to all that the client has subscribed to?
    pub fn may_go_on_listening(&mut self, acl: &Acl) -> bool {
        self.standing(acl);
        let Some(subs) = &self.subs else { return true };
        let is_allowed =
            |space: Space| subs.all(space).iter().all(|name| self.user.may_hear(name, space == Space::Pattern));
        Space::ALL.into_iter().all(is_allowed)
    }
    /// The command at hand has written pushes: CLIENT REPLY does not drop them.
    pub fn note_push(&mut self) {
        self.has_pushed = matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip);
    }
    /// Before a command runs: has the moment come to skip?
    #[inline]
    pub fn before_reply(&mut self) {
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::Skip;
        }
    }
    /// After a command ran: is its reply (an error too) to be sent? Otherwise the dispatcher cuts it off.
    #[inline]
    pub fn wants_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => true, // The command that asks to skip has written nothing.
            ReplyMode::Off => std::mem::take(&mut self.has_pushed),
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::On;
                std::mem::take(&mut self.has_pushed)
            }
        }
    }
    /// MULTI: from now on commands are queued.
    pub fn begin_multi(&mut self, queue: Box<Queue>) {
        self.multi = Some(queue);
        self.info.set(client_flag::MULTI, true);
        self.info.set_multi(Some(0), 0);
    }
    /// The transaction is over, whether it ran or not. Its queue was taken, or is returned.
    pub fn end_multi(&mut self) -> Option<Box<Queue>> {
        self.info.set(client_flag::MULTI, false);
        self.info.set_multi(None, 0);
        self.multi.take()
    }
    /// WATCH: one more key. `is_stale` tells whether it is past its deadline.
    pub fn watch(&mut self, watched: &Watched<ClientInfo>, place: Place, is_stale: impl FnOnce() -> bool) {
        let is_first = self.watching.is_none();
        let places = self.watching.get_or_insert_default();
        if !places.contains(&place) {
            watched.watch(&self.info, &place, is_first, is_stale);
            places.push(place);
            self.info.set_watch_count(places.len() as u32);
        }
    }
    /// Watches nothing any more. What was changed until now is forgotten.
    pub fn unwatch(&mut self, watched: &Watched<ClientInfo>) {
        let Some(places) = self.watching.take() else { return };
        watched.forget(&self.info, &places);
        self.info.set(client_flag::DIRTY, false); // Behind `forget`: nobody marks it any more.
        self.info.set_watch_count(0);
    }
    /// Names the connection; an empty name takes the name away.
    pub fn set_name(&mut self, name: &[u8]) {
        self.info.rename(|names| names.name = name.into());
    }
    /// Back to the state of a fresh connection (RESET). The protocol version is the reply's.
    pub fn reset(&mut self, acl: &Acl) {
        let traffic = self.traffic;
        self.end_multi();
        *self = Session::new(self.info.clone(), acl);
        self.become_user(self.user.clone(), self.authenticated);
        self.traffic = traffic;
        self.select(DbIndex(0));
        self.set_no_evict(false);
        self.set_no_touch(false);
        self.set_name(b"");
    }
}
