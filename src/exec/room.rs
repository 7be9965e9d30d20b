//! Making room: what happens before a command when memory is short.
//!
//! ```text
//! Turn::run ─▶ over the limit? ─no▶ go on          (one test while there is no limit; a few loads while there is one)
//!                    └─yes▶ evict what is too much, on this loop, for at most `maxmemory-eviction-tenacity`
//!                             └─▶ there is room · time is up: the command runs, the next one goes on evicting
//!                             └─▶ nothing can be evicted: commands that may take memory are refused
//! ```
//! Every command makes room that may add to the data, and the others if memory is more than a little short (`keyspace::quota`).
//! Not inside a transaction or a script: these are judged before they begin. Nothing is evicted at a safepoint.
//!
//! **Clients first.** Keys do not pay for replies that clients do not take: what these take beside the limit is bounded by a part
//! of it (`keyspace::quota`), and past that it is such clients that go, the one with most first (`event_loop::charge`).
//! `maxmemory-clients` bounds clients in the same way, whatever they take memory for.
//!
//! A loop that has nothing to do makes room as well (CONFIG SET may have lowered the limit), a slice per turn.

use super::alone::flags_in_force;
use super::dispatch::Turn;
use super::{slow, tell};
use crate::admin::clients::{ClientInfo, client_flag};
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::base::clock::MonoNs;
use crate::base::ids::{DbIndex, LoopId};
use crate::cmd::client;
use crate::cmd::command::{Command, Effects, flag};
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::keyspace::Keys;
use crate::keyspace::evict::Policy;
use crate::keyspace::quota;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use std::time::Duration;

pub(super) const OUT_OF_MEMORY: ReplyError =
    ReplyError::text("OOM command not allowed when used memory > 'maxmemory'.");
/// Victims between two looks at the clock and at what others hold.
const VICTIMS_PER_LOOK: usize = 16;

/// A client with fewer bytes to take is no slow reader.
pub const SLOW_LEN_MIN: usize = 64 << 10;
/// Commands that may add to the data, themselves or by what they run.
const ADDING: u32 = flag::WRITE | flag::DENYOOM | flag::MAY_REPLICATE | flag::ALONE;

/// What came of making room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Made,
    /// There will be, after some more work.
    Coming,
    /// Nothing is left that could be evicted.
    None,
}

/// How long eviction may hold up one command. None: without an end. Source: Redis, `evictionTimeLimitUs`.
fn patience(tenacity: i64) -> Option<Duration> {
    match tenacity {
        ..=10 => Some(Duration::from_micros(50 * tenacity.max(0) as u64)),
        11..=99 => Some(Duration::from_micros((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64)),
        _ => None,
    }
}

/// The limit that is in force, in bytes; 0: none.
#[inline]
pub fn limit(config: &Config) -> u64 {
    config.number(Id::MAXMEMORY) as u64
}

/// What all clients together may take, in bytes; 0: as much as they like. A percentage is one of `maxmemory`.
pub fn clients_limit(config: &Config) -> u64 {
    match config.number(Id::MAXMEMORY_CLIENTS) {
        percent @ ..0 => (limit(config) as u128 * percent.unsigned_abs() as u128 / 100) as u64,
        bytes => bytes as u64,
    }
}

/// May this client be closed for want of memory?
pub fn may_evict(client: &ClientInfo) -> bool {
    !client.has(client_flag::NO_EVICT | client_flag::CLOSING)
}

/// Has the largest clients closed until those that stay take no more than `limit` together. Returns how many go.
/// Cost: of all clients.
#[cold]
pub fn evict_clients(world: &World, limit: u64, effects: &mut Effects) -> u64 {
    let weight = |client: &ClientInfo| if client.has(client_flag::CLOSING) { 0 } else { client::memory(client) };
    evict_heaviest(world, limit, effects, weight)
}

/// Has clients closed that keep most replies waiting, until these take no more than `limit` together. Returns how many go.
/// Cost: of all clients.
#[cold]
pub fn evict_slow_readers(world: &World, limit: u64, effects: &mut Effects) -> u64 {
    let is_bound_otherwise = |client: &ClientInfo| client.has(client_flag::CLOSING | client_flag::PUBSUB);
    evict_heaviest(world, limit, effects, |client| match client.owned_len() {
        len if len >= SLOW_LEN_MIN && !is_bound_otherwise(client) => len,
        _ => 0,
    })
}

fn evict_heaviest(world: &World, limit: u64, effects: &mut Effects, weight: impl Fn(&ClientInfo) -> usize) -> u64 {
    let mut clients: Vec<_> = world.clients.all().into_iter().map(|client| (weight(&client), client)).collect();
    let mut total: u64 = clients.iter().map(|&(weight, _)| weight as u64).sum();
    clients.sort_by_key(|&(weight, _)| weight);
    let mut count = 0;
    while total > limit
        && let Some((weight, client)) = clients.pop()
    {
        if weight == 0 || !may_evict(&client) {
            continue;
        }
        log::notice(format_args!("Evicting client: {}", client::line(&client, client.last_seen()).trim_end()));
        client.set(client_flag::CLOSING, true);
        effects.kills.push((client.home, client.id));
        total -= weight as u64;
        count += 1;
    }
    count
}

impl Turn<'_> {
    /// The buffer of a client's reply had so much room before, and has so much now. Returns by how much it has grown.
    #[inline]
    pub fn note_reply(&self, before: usize, after: usize) -> usize {
        if self.limit == 0 { 0 } else { self.local.quota.note_reply(before, after, self.guard) }
    }

    /// Must this command be refused for want of memory? Makes room first, if need be.
    #[inline]
    pub(super) fn is_short_of_memory(&mut self, row: &Command, args: &Args<'_>, session: &Session) -> bool {
        let adds = row.has(ADDING) || session.multi.is_some();
        self.is_short = !self.local.quota.is_within(self.limit, adds, self.guard) && self.make_room_for(session, adds);
        self.local.quota.begin_command();
        self.is_short && takes_memory(row, args, session, self.world)
    }

    #[cold]
    fn make_room_for(&mut self, session: &Session, adds: bool) -> bool {
        if self.world.attention.is_busy() {
            return false; // A script runs: nobody touches data.
        }
        self.make_room(session.home, adds) == Room::None
    }

    /// Nothing can be evicted. Nothing is refused for the sake of the reserve.
    fn nothing_left(&self, excess: u64) -> Room {
        if excess > quota::reserve(self.limit) {
            return Room::None;
        }
        self.local.quota.put_up(self.limit, self.guard);
        Room::Made
    }

    /// Evicts what is too much. `adds`: for the sake of a command that may add to the data.
    #[cold]
    pub fn make_room(&mut self, home: LoopId, adds: bool) -> Room {
        let (config, loops) = (&self.world.config, self.world.stats.len());
        let mut excess = self.local.quota.measure(self.limit, loops, adds, self.guard);
        if excess == 0 {
            self.world.keyspace.excess.note(false);
            return Room::Made;
        }
        if self.world.keyspace.is_freeing() && self.limit > self.world.startup_memory {
            // What was flushed comes back in a moment. It does not help where the program alone takes more than the limit.
            self.local.quota.put_up(self.limit, self.guard);
            return Room::Made;
        }
        self.world.keyspace.excess.note(true);
        let Some(policy) = Policy::named(config.word(Id::MAXMEMORY_POLICY)) else { return self.nothing_left(excess) };
        self.step_out(home);
        let started = MonoNs::now();
        let patience = patience(config.number(Id::MAXMEMORY_TENACITY));
        let samples = config.number(Id::MAXMEMORY_SAMPLES) as usize;
        let (world, guard, local) = (self.world, self.guard, self.local);
        let keys = Keys::new(&world.keyspace, DbIndex(0), guard, self.stats, local, self.now);
        // What is freed beside the keys, and what is allocated on behalf of their going, is found by the next command.
        let (all, mut freed) = (excess, 0);
        let room = loop {
            let mut is_dry = false;
            for _ in 0..VICTIMS_PER_LOOK {
                match local.evictor.evict(&keys, policy, samples) {
                    Some(bytes) => freed += bytes as u64,
                    None => is_dry = true,
                }
                if is_dry || freed >= all {
                    break;
                }
            }
            excess = local.quota.measure(self.limit, loops, true, guard); // Others evict, too.
            if excess == 0 || freed >= all {
                break Room::Made;
            }
            if is_dry {
                break self.nothing_left(excess);
            }
            if patience.is_some_and(|patience| MonoNs::now().since(started) >= patience) {
                break Room::Coming;
            }
        };
        local.quota.note_evicted(self.limit, loops, freed);
        local.compactor.advance(&keys, quota::rounds(self.limit, freed));
        world.keyspace.excess.note(room != Room::Made);
        tell::tell(world, &local.events, self.effects, None);
        slow::note_eviction(world, MonoNs::now().since(started), self.now);
        room
    }
}

/// May the command need memory that is not there? A queue may grow without an end, so what would be queued is refused, too.
fn takes_memory(row: &Command, args: &Args<'_>, session: &Session, world: &World) -> bool {
    session.multi.is_some() && (!row.has(flag::UNQUEUED) || row.has(flag::OUTSIDE_MULTI))
        || flags_in_force(row, args, session, world) & flag::DENYOOM != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_half_a_millisecond_by_default_and_endless_at_100() {
        let us = |tenacity| patience(tenacity).map(|it| it.as_micros());
        assert_eq!((us(0), us(10), us(100)), (Some(0), Some(500), None));
        assert!((2000..2040).contains(&us(20).unwrap()) && us(99).unwrap() > 60_000_000);
    }
}
