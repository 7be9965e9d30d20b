//! What clients take in memory: for `maxmemory-clients`, and so that keys do not pay for replies that nobody reads.
//!
//! ```text
//! charge      a client was active: what it takes now is added to the loop's sum, what it took before is subtracted
//! after the   the loops' sums pass `maxmemory-clients`: the largest clients are closed, on whichever loop they live
//! turn's
//! sends
//! before and  what all replies take (`Pool::len`, and what waits behind it) is told to the quota, with a bounded amount
//! after work  for the connections themselves
//! ```
//! Nothing is charged while neither `maxmemory-clients` nor `maxmemory` is set. With `maxmemory-clients` set a client that does
//! not read its replies is run and read nevertheless: it is that limit that bounds it, not `OUTPUT_SOFT_MAX`.

use super::conn::Conn;
use super::{EventLoop, OUTPUT_SOFT_MAX};
use crate::admin::clients::ClientInfo;
use crate::admin::config::Config;
use crate::admin::log;
use crate::cmd::client;
use crate::exec::room;
use crate::resp::args::Parts;
use crate::ring::Engine;

/// What a connection takes that asks for nothing, and the part of `maxmemory` up to which keys do not pay for it.
const LINK_LEN: usize = size_of::<Conn>() + size_of::<ClientInfo>() + 128; // 128: the registries.
const LINKS_SHARE: u64 = 64;
/// What a handful of clients takes counts like everything else: who sets a limit a few kilobytes away means these.
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
    generation: Option<u32>,
    /// The parameters have changed: everybody is looked at, whatever the sums say.
    is_new: bool,
}

impl Charges {
    /// At the begin of a turn: reads the parameters if they have changed. True: everybody is to be charged anew.
    #[inline]
    fn heed(&mut self, config: &Config) -> bool {
        if self.generation == Some(config.generation()) {
            return false;
        }
        self.generation = Some(config.generation());
        let (was_on, limit) = (self.is_on, room::clients_limit(config));
        self.is_new = limit != self.limit;
        self.limit = limit;
        self.is_on = limit != 0 || room::limit(config) != 0;
        self.is_on && !was_on
    }
    /// Bytes that may wait for a client before it is neither run nor read.
    #[inline]
    pub fn output_soft_max(&self) -> usize {
        if self.limit == 0 { OUTPUT_SOFT_MAX } else { usize::MAX }
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
        // A subscriber's backlog is its class's business: it has tighter limits of its own, and time to catch up.
        let replies = if conn.session.is_subscribed() { 0 } else { conn.owned_output() };
        self.total = self.total + total - std::mem::replace(&mut conn.charged.0, total);
        self.replies = self.replies + replies - std::mem::replace(&mut conn.charged.1, replies);
    }
    /// The client is gone.
    pub fn discharge(&mut self, conn: &mut Conn) {
        self.total -= std::mem::take(&mut conn.charged.0);
        self.replies -= std::mem::take(&mut conn.charged.1);
    }
}

impl<E: Engine> EventLoop<E> {
    /// At the begin of a turn.
    #[inline]
    pub(super) fn heed_charges(&mut self) {
        if self.charges.heed(&self.world.config) {
            let EventLoop { charges, conns, .. } = self;
            conns.iter().for_each(|conn| charges.charge(conn));
        }
    }

    /// Tells the quota what replies take.
    #[inline]
    pub(super) fn show_output(&self) {
        if self.charges.is_on {
            let limit = room::limit(&self.world.config);
            let links_max = limit / LINKS_SHARE / self.world.stats.len() as u64;
            let links = (self.conns.count() * LINK_LEN).min(links_max as usize);
            let all = self.charges.replies + self.pool.len() + links;
            self.local.quota.set_output(all.saturating_sub(EXEMPT_FROM));
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
        self.show_output();
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
