//! Telling listeners what has happened to keys: behind each command, before anything else runs on its loop.
//!
//! Whatever a listener keeps for other clients is brought up to date here, before the reply of the command leaves. What is to
//! be sent waits at the loop's desk behind what was sent before, and leaves at the latest with the replies of the turn.

use super::dispatch::Turn;
use super::invalidate;
use crate::admin::clients::{ClientInfo, client_flag};
use crate::admin::notify::Class;
use crate::cmd::command::{Command, Effects};
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::keyspace::events::{Event, Events, Listener};
use crate::resp::args::Args;

impl Turn<'_> {
    /// Tells what the command at hand has done.
    /// Cost: a comparison if it has done nothing, or nobody listens.
    #[inline]
    pub(super) fn tell(&mut self, by: &Session) {
        tell(self.world, &self.local.events, self.effects, Some(by));
    }
    /// The same of a command whose keys may be remembered for its client (`remember`): what it read had perhaps expired, and so
    /// was told and forgotten in this moment.
    #[inline]
    pub(super) fn tell_of(&mut self, row: &Command, by: &Session, args: &Args<'_>, is_remembered: bool) {
        let has_any = !self.local.events.is_empty();
        self.tell(by);
        if is_remembered && has_any {
            self.register(row, by.id, args);
        }
    }
}

/// Tells what is in the loop's log. `by`: the client whose command it was; None: nobody's, a key has expired.
#[inline]
pub fn tell(world: &World, events: &Events, effects: &mut Effects, by: Option<&Session>) {
    if !events.is_empty() {
        tell_all(world, events, effects, by);
    }
}

#[cold]
fn tell_all(world: &World, events: &Events, effects: &mut Effects, by: Option<&Session>) {
    let log = events.take();
    let by = by.map(|session| session.id);
    // What concerns whole databases has looked into those that are watched beforehand (`cmd::database`).
    for event in log.iter().filter(|event| event.is_change && !event.is_whole_db) {
        let mark = |client: &ClientInfo| client.set(client_flag::DIRTY, true);
        world.watched.touch(event.db, event.key, event.name == "expired", mark);
    }
    if events.heeds(Listener::Tracking) {
        let changes = || log.iter().filter(|event| event.is_change);
        if changes().any(|event| event.is_whole_db) {
            invalidate::all(world, effects);
        }
        changes().filter(|event| !event.is_whole_db).for_each(|event| invalidate::key(world, effects, event.key, by));
    }
    if !world.pubsub.is_quiet() {
        let classes = events.classes();
        log.iter()
            .filter(|event| event.class != Class::NONE)
            .for_each(|event| publish(world, effects, &event, classes));
    }
    events.put_back(log);
}

/// Publishes an event under its key and under its name, as `classes` asks for it.
fn publish(world: &World, effects: &mut Effects, event: &Event<'_>, classes: Class) {
    let channel = |kind: &str, name: &[u8]| {
        let mut channel = Vec::with_capacity(kind.len() + 12 + name.len());
        channel.extend_from_slice(kind.as_bytes());
        channel.extend_from_slice(itoa::Buffer::new().format(event.db.0).as_bytes());
        channel.extend_from_slice(b"__:");
        channel.extend_from_slice(name);
        channel
    };
    if classes.has(Class::KEYSPACE) {
        effects.publish(&world.pubsub, &channel("__keyspace@", event.key), event.name.as_bytes());
    }
    if classes.has(Class::KEYEVENT) {
        effects.publish(&world.pubsub, &channel("__keyevent@", event.name.as_bytes()), event.key);
    }
}
