//! The watchdog: says in the log where a loop is that has been in one turn for more than `watchdog-period` milliseconds.
//!
//! ```text
//! a loop      notes when its turn began, and 0 before it waits                        (`LoopStats::busy_since`)
//! a thread    looks at these a few times per period; a turn that is too old is told of once: the command, whose it is, and
//!             the stack of the loop's thread, which is asked by a signal               (`crash::show_thread`)
//! ```
//! The thread exists while the period is not 0.

use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::{MonoNs, WallMs, wall_micros};
use crate::base::crash;
use crate::base::ids::ClientId;
use crate::base::sync::hint::{AtomicBool, Ordering};
use crate::cmd::world::World;
use crate::cmd::{client, table};
use std::thread;
use std::time::Duration;

/// The shortest period. Source: Redis, which looks at most ten times a second by default, and takes two looks.
const PERIOD_MS_MIN: u64 = 200;
const LOOKS_PER_PERIOD: u64 = 4;

static IS_WATCHING: AtomicBool = AtomicBool::new(false);

/// Follows `watchdog-period`.
pub fn heed(world: &'static World) {
    if period(world).is_some() && !IS_WATCHING.swap(true, Ordering::AcqRel) {
        let started = thread::Builder::new().name("watchdog".into()).spawn(move || {
            crash::prepare_thread();
            watch(world);
        });
        if started.is_err() {
            IS_WATCHING.store(false, Ordering::Release);
            log::warning(format_args!("There is no thread for the watchdog."));
        }
    }
}

/// None: nobody is watched.
fn period(world: &World) -> Option<Duration> {
    let period_ms = world.config.number(Id::WATCHDOG_PERIOD) as u64;
    (period_ms > 0).then(|| Duration::from_millis(period_ms.max(PERIOD_MS_MIN)))
}

fn watch(world: &World) {
    // The turn of each loop that was told of last, by its begin.
    let mut told = vec![0; world.stats.len()];
    loop {
        let Some(period) = period(world) else {
            IS_WATCHING.store(false, Ordering::Release);
            if period(world).is_none() || IS_WATCHING.swap(true, Ordering::AcqRel) {
                return;
            }
            continue; // It was switched on again in this moment.
        };
        thread::sleep(period / LOOKS_PER_PERIOD as u32);
        for (index, told) in told.iter_mut().enumerate() {
            let since = world.stats[index].busy_since.get();
            let busy = MonoNs::now().since(MonoNs(since));
            if since != 0 && since != *told && busy >= period {
                *told = since;
                tell(world, index, busy);
            }
        }
    }
}

/// Shape: the heading and the end of Redis's report; commands are named as its handlers are.
fn tell(world: &World, index: usize, busy: Duration) {
    let stats = &world.stats[index];
    log::warning(format_args!("--- WATCHDOG TIMER EXPIRED ---"));
    match world.clients.get(ClientId(stats.client.get())) {
        Some(info) => {
            let row = table::by_index(info.row() as usize);
            let name = row.and_then(|row| row.full_name.split('|').next()).unwrap_or("no");
            let line = client::line(&info, WallMs(wall_micros() / 1000));
            log::warning(format_args!(
                "loop {index} is busy for {} ms: {name}Command of {}",
                busy.as_millis(),
                line.trim_end()
            ));
        }
        None => log::warning(format_args!("loop {index} is busy for {} ms", busy.as_millis())),
    }
    crash::show_thread(stats.thread.get() as i32);
    log::warning(format_args!("--------"));
}
