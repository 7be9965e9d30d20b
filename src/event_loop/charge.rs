//! What clients take in memory: for `maxmemory-clients`, and so that keys do not pay for replies that nobody reads.
//!
//! ```text
//! charge      a client was active: what it takes now is added to the loop's sum, what it took before is subtracted
//! after the   the loops' sums pass `maxmemory-clients`: the largest clients are closed, on whichever loop they live
//! turn's
//! sends
//! before and  what all replies take (`Pool::len`, and what waits behind it) is told to the quota, with a bounded amount
//! after work  for the connections themselves
//! replies     take more than their part of `maxmemory`: no client is run that has some to read, and those are closed that have
//!             most to read
//! ```
//! What counts as replies: their buffers, what nobody else has of what they refer to, what long commands keep to make them of,
//! messages on their way, and the commands that wait behind.
//!
//! Nothing is charged while neither `maxmemory-clients` nor `maxmemory` is set. With `maxmemory-clients` set a client that does
//! not read its replies is run and read nevertheless: it is that limit that bounds it, not `OUTPUT_SOFT_MAX`. With `maxmemory`
//! set a long reply is made as its client reads it, bit by bit, and a turn that makes very many ends early.

use super::conn::Conn;
use super::input::ROOM_LEN_KEPT;
use super::{EventLoop, OUTPUT_SOFT_MAX, SHARED_SOFT_MAX};
use crate::admin::clients::ClientInfo;
use crate::admin::config::Config;
use crate::admin::log;
use crate::cmd::client;
use crate::cmd::resume::REPLY_LEN_MAX;
use crate::exec::room::{self, SLOW_LEN_MIN};
use crate::keyspace::quota::{self, Quota};
use crate::resp::args::Parts;
use crate::ring::Engine;

/// What a connection takes that asks for nothing, and the part of `maxmemory` up to which keys do not pay for it, nor for the
/// room that it keeps for its next commands.
const LINK_LEN: usize = size_of::<Conn>() + size_of::<ClientInfo>() + 128; // 128: the registries.
const LINKS_SHARE: u64 = 32;
/// The part of `maxmemory` that buffers may take which no client has.
const POOL_SHARE: u64 = 64;
/// Under a small limit what a handful of clients takes counts like everything else: who sets a limit a few kilobytes away means
/// these.
const EXEMPT_FROM: usize = 32 << 10;

/// One loop's sums.
#[derive(Default)]
pub(super) struct Charges {
    /// Is anything charged?
    is_on: bool,
    /// What all clients may take; 0: as much as they like.
    limit: u64,
    /// What the loop's clients take, and what of it are replies that are not being sent yet.
    total: usize,
    replies: usize,
    /// Room for input that clients keep for a while.
    rooms: usize,
    /// By how much messages have made buffers of clients larger that were not charged since.
    pub posted: usize,
    generation: Option<u32>,
    /// The parameters have changed: everybody is looked at, whatever the sums say.
    is_new: bool,
    /// `maxmemory`; 0: there is none. What the loop's clients may have to read before everybody's replies are looked at.
    memory: u64,
    output_max: usize,
    /// A turn whose replies take more than that ends early.
    turn_max: usize,
    /// Replies take more than their part.
    is_tight: bool,
}

impl Charges {
    /// At the begin of a turn: reads the parameters if they have changed. True: everybody is to be charged anew.
    #[inline]
    fn heed(&mut self, config: &Config, loops: usize) -> bool {
        if self.generation == Some(config.generation()) {
            return false;
        }
        self.generation = Some(config.generation());
        let (was_on, limit) = (self.is_on, room::clients_limit(config));
        self.is_new = limit != self.limit;
        self.limit = limit;
        self.memory = room::limit(config);
        self.output_max = quota::output_max(self.memory, loops);
        self.is_tight &= self.memory != 0;
        self.is_on = limit != 0 || self.memory != 0;
        self.is_on && !was_on
    }
    /// Does so much wait for a client that it is not run?
    #[inline]
    pub fn has_enough_to_read(&self, conn: &Conn) -> bool {
        let output_len = conn.output_len();
        output_len >= self.output_soft_max(conn.long.is_some()) && self.is_too_much(conn, output_len)
    }
    #[cold]
    fn is_too_much(&self, conn: &Conn, output_len: usize) -> bool {
        let is_bound_strictly = self.memory != 0 || conn.long.is_some();
        is_bound_strictly || output_len >= SHARED_SOFT_MAX || conn.owned_output() >= OUTPUT_SOFT_MAX
    }
    /// Bytes that may wait for a client before it is not run. `is_long`: it is in the midst of a long reply.
    #[inline]
    fn output_soft_max(&self, is_long: bool) -> usize {
        match () {
            _ if self.limit != 0 => usize::MAX,
            _ if self.memory != 0 && is_long => REPLY_LEN_MAX,
            _ if self.is_tight => SLOW_LEN_MIN,
            _ => OUTPUT_SOFT_MAX,
        }
    }
    /// Have this turn's commands said so much that their replies are to be sent before others say more?
    #[inline]
    pub fn is_enough_said(&self, quota: &Quota) -> bool {
        self.is_on && quota.output() > self.turn_max
    }
    /// A client's figures may have changed.
    #[inline]
    pub fn charge(&mut self, conn: &mut Conn) {
        if self.is_on {
            self.charge_one(conn);
        }
    }
    fn charge_one(&mut self, conn: &mut Conn) {
        conn.session.info.set_output(conn.output_seen());
        let total = client::memory(&conn.session.info);
        let (input, is_counted) = (conn.input.memory(), quota::is_small(self.memory));
        let (rooms, behind) = match () {
            _ if is_counted => (0, 0),
            _ if conn.is_held_up() => (0, input),
            _ => (input.min(ROOM_LEN_KEPT), 0),
        };
        // A subscriber's backlog is its class's business: it has tighter limits of its own, and time to catch up.
        let replies = if conn.session.is_subscribed() { 0 } else { conn.owned_output() + behind };
        conn.session.info.set_owned(replies + conn.being_sent());
        self.rooms = self.rooms + rooms - std::mem::replace(&mut conn.charged.2, rooms);
        self.total = self.total + total - std::mem::replace(&mut conn.charged.0, total);
        self.replies = self.replies + replies - std::mem::replace(&mut conn.charged.1, replies);
    }
    /// The client is gone.
    pub fn discharge(&mut self, conn: &mut Conn) {
        self.total -= std::mem::take(&mut conn.charged.0);
        self.replies -= std::mem::take(&mut conn.charged.1);
        self.rooms -= std::mem::take(&mut conn.charged.2);
    }
}

impl<E: Engine> EventLoop<E> {
    /// At the begin of a turn.
    #[inline]
    pub(super) fn heed_charges(&mut self) {
        let (loops, before) = (self.world.stats.len(), self.charges.memory);
        let is_switched_on = self.charges.heed(&self.world.config, loops);
        if self.charges.memory != before {
            let spare = self.charges.memory / POOL_SHARE / loops as u64;
            self.pool.keep_at_most(if spare == 0 { usize::MAX } else { spare as usize });
        }
        if is_switched_on {
            let EventLoop { charges, conns, .. } = self;
            conns.iter().for_each(|conn| charges.charge(conn));
        }
    }

    /// Tells the quota what replies take.
    #[inline]
    pub(super) fn show_output(&mut self) {
        if self.charges.is_on {
            let limit = self.charges.memory;
            let links_max = limit / LINKS_SHARE / self.world.stats.len() as u64;
            let links = (self.conns.count() * LINK_LEN + self.charges.rooms).min(links_max as usize);
            let all = self.charges.replies + self.pool.len() + self.effects.desk.memory() + self.charges.posted + links;
            let counted = if quota::is_small(limit) { EXEMPT_FROM } else { 0 };
            self.local.quota.set_output(all.saturating_sub(counted));
            self.charges.turn_max = all.saturating_add(self.charges.output_max);
        }
    }

    /// After the turn's sends: closes clients if all together take too much.
    #[inline]
    pub(super) fn settle_charges(&mut self) {
        if self.charges.is_on || self.charges.is_new {
            self.settle_all_charges();
        }
    }
    fn settle_all_charges(&mut self) {
        self.charges.posted = 0; // Who was given a message has been sent it, or is, and was charged.
        self.show_output();
        self.bound_replies();
        let (stats, limit) = (self.stats(), self.charges.limit);
        stats.client_bytes.set(self.charges.total as u64);
        let is_new = std::mem::take(&mut self.charges.is_new);
        let total: u64 = self.world.stats.iter().map(|stats| stats.client_bytes.get()).sum();
        if limit != 0 && (is_new || total > limit) {
            let count = room::evict_clients(self.world, limit, &mut self.effects);
            stats.evicted_clients.add(count);
            self.hand_over_effects();
        }
    }

    /// Has slow readers closed if replies take more than their part. They take a moment to go.
    fn bound_replies(&mut self) {
        let quota = &self.local.quota;
        self.charges.is_tight = false;
        if quota.output() <= self.charges.output_max {
            return;
        }
        quota.publish(self.seat.limbo_bytes());
        let Some(share) = quota::overdue_replies(self.charges.memory) else { return };
        self.charges.is_tight = true;
        if !quota.may_cull() {
            return;
        }
        let count = room::evict_slow_readers(self.world, share, &mut self.effects);
        if count == 0 {
            quota.put_off_culling();
        }
        self.stats().evicted_clients.add(count);
        self.hand_over_effects();
    }

    /// What all clients may take in memory; 0: as much as they like.
    pub(super) fn clients_limit(&self) -> u64 {
        self.charges.limit
    }
}

/// Does this command alone take its client over the limit? Then it does not run and the client is closed.
#[cold]
pub(super) fn is_too_heavy(limit: u64, info: &ClientInfo, parts: &Parts<'_>) -> bool {
    let len: usize = parts.large.iter().map(|bytes| bytes.len()).sum();
    let is_too_heavy = room::may_evict(info) && (client::memory(info) + len) as u64 > limit;
    if is_too_heavy {
        log::notice(format_args!("Evicting client: {}", client::line(info, info.last_seen()).trim_end()));
    }
    is_too_heavy
}
