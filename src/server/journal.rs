//! The journal at the start and at the end: what its files hold is loaded before anybody is served, and what was changed last is
//! on the disk before the process ends.

use super::error::StartError;
use crate::admin::params::Id;
use crate::cmd::world::World;
use crate::exec::load::load;
use crate::journal::hub::Message;
use crate::keyspace::Local;
use crate::keyspace::events::Listener;
use std::thread::JoinHandle;

/// Loads what the log holds, if there is to be one, and has it go on. Returns what the keys' deadlines ask of a loop.
/// Errors: the files are damaged, or are not there.
pub fn open(world: &'static World) -> Result<Option<Local>, StartError> {
    world.journal.set_policy(world.config.word(Id::APPENDFSYNC));
    if world.config.number(Id::APPENDONLY) == 0 {
        return Ok(None);
    }
    let local = Local::new(!0);
    let loaded = load(world, &local).map_err(StartError)?;
    let at = world.keyspace.order.next();
    world.journal.set_on(true);
    world.keyspace.listeners.heed(Listener::Journal); // No loop runs yet.
    world.journal.send(match loaded {
        Some(good_len) => Message::GoOn { at, good_len },
        None => Message::Begin { at, base: None },
    });
    Ok(Some(local))
}

/// The loops have stopped: what they have changed is written.
pub fn close(world: &World, keeper: JoinHandle<()>) {
    world.journal.send(Message::End { at: world.keyspace.order.next() });
    world.journal.send(Message::Stop);
    let _ = keeper.join(); // A panic would have aborted the process.
}
