//! Telling listeners what has happened to keys: behind each command, before anything else runs on its loop.
//!
//! Whatever a listener keeps for other clients is brought up to date here, before the reply of the command leaves. What is to
//! be sent goes out with the effects of the turn, in the order in which it was told.

use super::dispatch::Turn;
use crate::admin::clients::{ClientInfo, client_flag};
use crate::cmd::command::Effects;
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::keyspace::events::Events;

impl Turn<'_> {
    /// Tells what the command at hand has done.
    /// Cost: a comparison if it has done nothing, or nobody listens.
    #[inline]
    pub(super) fn tell(&mut self, by: &Session) {
        tell(self.world, &self.local.events, self.effects, Some(by));
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
fn tell_all(world: &World, events: &Events, _effects: &mut Effects, _by: Option<&Session>) {
    let log = events.take();
    for event in log.iter() {
        if event.is_change && !event.is_whole_db {
            // What concerns whole databases has looked into them beforehand (`cmd::database`).
            let mark = |client: &ClientInfo| client.set(client_flag::DIRTY, true);
            world.watched.touch(event.db, event.key, event.name == "expired", mark);
        }
    }
    events.put_back(log);
}
