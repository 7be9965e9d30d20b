//! What the server adds to the report of a crash: which commands ran last, who was connected, INFO.
//!
//! It is asked for when nothing can be relied on any more (`base::crash`), so what needs the least comes first.

use crate::admin::clients::{ClientInfo, Endpoints};
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{WallMs, wall_micros};
use crate::base::crash::{self, Reporter};
use crate::base::ids::{ClientId, DbIndex, LoopId};
use crate::base::prng::Prng;
use crate::cmd::command::{Cx, Effects};
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::cmd::{client, info};
use crate::keyspace::{Keys, Local};
use crate::resp::reply::Reply;
use crate::table::Participant;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

const TITLE: &str = concat!("ringdb ", env!("CARGO_PKG_VERSION"));

static WORLD: OnceLock<&'static World> = OnceLock::new();

/// From now on a crash is reported in the log, if `crash-log-enabled` says so.
pub fn prepare(world: &'static World) {
    let _ = WORLD.set(world); // A second call changes nothing.
    crash::prepare(Reporter { sink: log::append_raw, more, title: TITLE });
    heed(&world.config);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        log::warning(format_args!("=== ASSERTION FAILED ==="));
        log::warning(format_args!("==> {panic}"));
    }));
}

/// Follows `crash-log-enabled`.
pub fn heed(config: &Config) {
    crash::enable(config.number(Id::CRASH_LOG_ENABLED) != 0);
}

fn more(out: &mut dyn Write) {
    let Some(world) = WORLD.get() else { return };
    let now = WallMs(wall_micros() / 1000);
    let _ = write_commands(out, world, now); // The sink takes everything.
    let _ = write!(out, "\n------ INFO OUTPUT ------\n{}", info_text(world, now).replace('\r', ""));
    let _ = write!(out, "\n------ CLIENT LIST OUTPUT ------\n");
    for client in world.clients.all() {
        let _ = out.write_str(&client::line(&client, now));
    }
}

/// The client that each loop has served last, with the command that it was at.
fn write_commands(out: &mut dyn Write, world: &World, now: WallMs) -> std::fmt::Result {
    writeln!(out, "\n------ LAST COMMAND OF EACH LOOP ------")?;
    for (index, stats) in world.stats.iter().enumerate() {
        match world.clients.get(ClientId(stats.client.get())) {
            Some(client) => writeln!(out, "loop {index}: {}", client::line(&client, now).trim_end())?,
            None => writeln!(out, "loop {index}: no client")?,
        }
    }
    Ok(())
}

fn info_text(world: &World, now: WallMs) -> String {
    let (seat, local) = (Participant::new(), Local::new(1));
    let guard = seat.pin();
    let nobody = ClientInfo::new(ClientId(0), LoopId(0), -1, Endpoints::Unix("crash report".into()), now);
    let mut session = Session::new(Arc::new(nobody), &world.acl);
    let cx = Cx {
        keys: Keys::new(&world.keyspace, DbIndex(0), &guard, &world.stats[0], &local, now),
        reply: &mut Reply::default(),
        session: &mut session,
        world,
        prng: &mut Prng::seeded(1),
        effects: &mut Effects::default(),
    };
    info::everything(&cx)
}
