//! Running the commands of a journal, at the start or when DEBUG LOADAOF asks for it.
//!
//! They run at time 0: a key that had not expired when a command ran first has not expired now (`Keys::real_now`). What they
//! reply, tell and count is nobody's business. Brackets of transactions need no keeping: nobody else is there, and what was
//! torn was cut off before.

use super::alone::NoOthers;
use super::dispatch::Turn;
use super::watch::Watch;
use crate::admin::clients::Endpoints;
use crate::admin::log;
use crate::base::clock::WallMs;
use crate::base::ids::LoopId;
use crate::base::prng::Prng;
use crate::cmd::command::Effects;
use crate::cmd::session::Session;
use crate::cmd::table;
use crate::cmd::world::World;
use crate::journal::replay::Commands;
use crate::keyspace::Local;
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::table::Participant;
use std::io::{self, BufRead};

/// Commands between two announcements that nothing of the table is held.
const STRIDE: u64 = 256;

/// Runs all commands of `file`. Returns how many.
/// Errors: the file cannot be read, or holds what is no command.
pub fn replay(world: &World, local: &Local, seat: &Participant, file: impl BufRead) -> io::Result<u64> {
    world.clients.reserve(usize::MAX);
    let info =
        world.clients.add(LoopId(0), usize::MAX as _, Endpoints::Unix("journal".into()), world.keyspace.now.get());
    let mut session = Session::new(info.clone(), &world.acl);
    session.denies_blocking = true;
    let outcome = run(world, local, seat, file, &mut session);
    session.unwatch(&world.watched);
    world.clients.remove(&info);
    outcome
}

fn run(world: &World, local: &Local, seat: &Participant, file: impl BufRead, session: &mut Session) -> io::Result<u64> {
    let (mut reply, mut effects, mut prng) = (Reply::default(), Effects::of(LoopId(0)), Prng::seeded(1));
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
            io::Error::other(format!("'{name}' at offset {offset}: {}", error.line()))
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
            is_alone: true,
            limit: 0,
            is_short: false,
        };
        turn.run_inside(row, args, session, &mut reply, &mut NoOthers);
        let output = reply.take();
        if output.buf.first() == Some(&b'-') {
            let line = String::from_utf8_lossy(&output.buf);
            log::warning(format_args!("A command of the AOF at offset {offset} has failed: {}", line.trim_end()));
        }
        count += 1;
        if count % STRIDE == 0 {
            guard.quiesce();
            effects.monitor_lines.clear();
            effects.fills.clear();
        }
    }
}
