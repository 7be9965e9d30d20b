//! Running the commands of a journal while everything stands still: DEBUG LOADAOF. At the start all loops run them: `feed`.
//!
//! They run at time 0: a key that had not expired when a command ran first has not expired now (`Keys::real_now`). What they
//! reply, tell and count is nobody's business. Brackets of transactions need no keeping: nobody else is there, and what was
//! torn was cut off before.

use super::dispatch::Turn;
use super::feed;
use super::watch::Watch;
use crate::base::clock::WallMs;
use crate::base::ids::LoopId;
use crate::base::prng::Prng;
use crate::cmd::command::Effects;
use crate::cmd::table;
use crate::cmd::world::World;
use crate::journal::replay::Commands;
use crate::keyspace::Local;
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::table::Participant;
use std::io::{self, Read};

/// Commands between two announcements that nothing of the table is held.
const STRIDE: u64 = 256;

/// Runs all commands of `file` on loop `home`, which has the safepoint. Returns how many.
/// Errors: the file cannot be read, or holds what is no command.
pub fn replay(world: &World, local: &Local, seat: &Participant, home: LoopId, file: impl Read) -> io::Result<u64> {
    let mut session = feed::session(world, home);
    let (mut reply, mut effects, mut prng) = (Reply::default(), Effects::of(home), Prng::seeded(1));
    let mut commands = Commands::new(file);
    let mut watch = Watch::begin(&world.config, false);
    let mut guard = seat.pin();
    local.recency.begin_turn(&world.config, world.keyspace.now.refresh());
    let mut count = 0;
    loop {
        let offset = commands.offset();
        let Some(parts) = commands.read()? else { return Ok(count) };
        let args = Args::of(&parts);
        if args.count() == 1 && (args.is(0, "multi") || args.is(0, "exec")) {
            continue;
        }
        let row = table::resolve(&args).map_err(|error| {
            let name = String::from_utf8_lossy(args.get(0)).into_owned();
            feed::unknown(&name, offset, &error)
        })?;
        let mut turn = Turn {
            watch: &mut watch,
            world,
            guard: &guard,
            stats: &world.stats[0],
            local,
            now: WallMs(0),
            prng: &mut prng,
            effects: &mut effects,
            long: None,
            cue: None,
            section: None,
            is_alone: true,
            limit: 0,
            is_short: false,
        };
        turn.rerun(row, &parts, offset, &mut session, &mut reply);
        drop(turn);
        reply.take();
        count += 1;
        if count % STRIDE == 0 {
            guard.quiesce();
            effects.monitor_lines.clear();
            effects.fills.clear();
        }
    }
}
