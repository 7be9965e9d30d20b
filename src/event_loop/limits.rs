//! What a client may make us keep for it, and for how long: its output, its input, and our patience with a peer that does
//! not read.
//!
//! ```text
//! output    ≥ OUTPUT_SOFT_MAX      its commands are not run and it is not read: it waits for itself   (window, settle);
//!                                  later, if nearly all of it are stored values    (`Charges::has_enough_to_read`)
//!           ≥ hard limit           closed at once, before anything of this turn is sent; a reply that is made and sent piece
//!                                  by piece counts as a whole, as if nobody had taken anything of it; one whose head tells
//!                                  that it will be too long is not begun
//!           ≥ soft limit           closed when it has been so for more than the limit's seconds without a break
//! input     > query buffer limit   closed at once
//! draining  last replies unread    closed when nothing of them moved for `DRAIN_PATIENCE_MS`
//! ```
//! The limits are `client-output-buffer-limit` of the client's class and `client-query-buffer-limit`. They are looked at
//! where output is sent, so whatever adds to it is covered, be it the client's own commands or what others cause; a client
//! over its soft limit has an alarm, so its time runs out without traffic, too. To be closed means at once: what was not
//! sent is dropped, as in Redis.

use super::EventLoop;
use super::conn::Life;
use crate::admin::config::{ClientClass, Config, OutputLimit};
use crate::admin::log;
use crate::base::clock::WallMs;
use crate::cmd::client;
use crate::cmd::session::Session;
use crate::ring::{Engine, Token};

/// So much output does not count: under the tightest limit a client is still told what it asks for. Source: Redis, whose
/// limits are about the list behind a client's reply buffer (`PROTO_REPLY_CHUNK_BYTES`).
const UNCOUNTED_LEN: usize = 16 << 10;

/// What goes beyond counts in blocks of this length, one that is begun as a whole one; a large value is as long as it is.
/// Source: the same; a block of 16 KiB and its head lie in 20 KiB of jemalloc's.
const BLOCK_LEN: usize = 20 << 10;

/// What the limits are about, of an output of `len` bytes of which `large_len` are large values.
#[inline]
fn counted(len: usize, large_len: usize) -> u64 {
    let listed_len = len.saturating_sub(UNCOUNTED_LEN);
    let large_len = large_len.min(listed_len);
    (listed_len - large_len).div_ceil(BLOCK_LEN).saturating_mul(BLOCK_LEN).saturating_add(large_len) as u64
}

/// When a client's time over its soft limit ends that begins now. Source: Redis, which asks whether more than so many seconds
/// have passed by a clock of whole ones: whoever measures finer always sees at least `seconds`.
fn soft_end(now: WallMs, seconds: u64) -> WallMs {
    WallMs((now.0 / 1000).saturating_add(seconds).saturating_add(1).saturating_mul(1000))
}

/// How long a connection that is to be closed may leave its last replies unread, without taking any of them.
pub(super) const DRAIN_PATIENCE_MS: u64 = 20_000;

/// The limits that clients may have, read once for many of them.
pub(super) struct OutputLimits {
    normal: OutputLimit,
    pubsub: OutputLimit,
}

impl OutputLimits {
    pub fn of(config: &Config) -> Self {
        let limit = |class| config.output_limit(class);
        OutputLimits { normal: limit(ClientClass::Normal), pubsub: limit(ClientClass::PubSub) }
    }
    #[inline]
    fn for_client(&self, session: &Session) -> OutputLimit {
        if session.is_subscribed() { self.pubsub } else { self.normal }
    }
}

impl<E: Engine> EventLoop<E> {
    /// Checks the output of a client that has some. False: it was closed.
    #[inline]
    pub(super) fn is_within_limits(&mut self, token: Token, limits: &OutputLimits, now: WallMs) -> bool {
        let Some(conn) = self.conns.get(token) else { return false };
        let ended_len = std::mem::take(&mut conn.ended_len);
        let limit = limits.for_client(&conn.session);
        let is_limited = limit.hard != 0 || limit.soft != 0;
        if !is_limited && conn.patience_until.is_none() || conn.life >= Life::Draining {
            return true;
        }
        let output_len = conn.output_len() + conn.held_len();
        let said_len = conn.long.as_ref().map_or(ended_len, |long| long.said_len());
        let large_len = conn.reply.out.refs.iter().map(|(_, bytes)| bytes.len()).sum();
        if limit.hard != 0 && counted(output_len, large_len).max(counted(said_len, 0)) >= limit.hard {
            self.close_for_output(token, now);
            return false;
        }
        let is_over = limit.soft != 0 && counted(output_len, large_len) >= limit.soft;
        let until = conn.patience_until.unwrap_or_else(|| soft_end(now, limit.soft_seconds));
        conn.patience_until = is_over.then_some(until);
        self.parked.set_alarm(conn);
        true
    }

    /// The limits may have changed: looks at everybody who has output, whether anything is added to it or not.
    pub(super) fn look_at_outputs(&mut self, now: WallMs) {
        let limits = OutputLimits::of(&self.world.config);
        let waiting: Vec<Token> =
            self.conns.iter().filter(|conn| conn.output_len() > 0).map(|conn| conn.token).collect();
        for token in waiting {
            self.is_within_limits(token, &limits, now);
        }
    }

    /// A client that is to be closed has something in flight: the peer has so long to take it.
    pub(super) fn hurry(&mut self, token: Token, now: WallMs) {
        let Some(conn) = self.conns.get(token) else { return };
        conn.patience_until.get_or_insert(WallMs(now.0 + DRAIN_PATIENCE_MS));
        self.parked.set_alarm(conn);
    }

    /// A peer has not read for as long as it may.
    pub(super) fn give_up(&mut self, token: Token, now: WallMs) {
        let Some(conn) = self.conns.get(token) else { return };
        if conn.life >= Life::Draining {
            log::write(log::Level::Verbose, format_args!("Closing client that does not read its last replies"));
            return self.close(token);
        }
        self.close_for_output(token, now);
    }

    fn close_for_output(&mut self, token: Token, now: WallMs) {
        if let Some(conn) = self.conns.get(token) {
            let client = client::line(&conn.session.info, now);
            log::warning(format_args!("Client {} closed for overcoming of output buffer limits.", client.trim_end()));
        }
        self.stats().output_limit_closes.add(1);
        self.close(token);
    }

    pub(super) fn close_for_input(&mut self, token: Token, now: WallMs) {
        if let Some(conn) = self.conns.get(token) {
            let client = client::line(&conn.session.info, now);
            log::warning(format_args!("Closing client that reached max query buffer length: {}", client.trim_end()));
        }
        self.stats().input_limit_closes.add(1);
        self.close(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first length that is over a limit. Redis 7.0 under a limit of 100 000: LRANGE of 98 KB, GET of 115 KB.
    #[test]
    fn outputs_count_behind_the_first_block_by_blocks_and_large_values_by_their_length() {
        let first = |large: fn(usize) -> usize| (0..).find(|&len| counted(len, large(len)) >= 100_000);
        assert_eq!(first(|_| 0), Some((16 << 10) + 4 * (20 << 10) + 1));
        assert_eq!(first(|len| len.saturating_sub(20)), Some((16 << 10) + 100_000));
        assert_eq!((counted(16 << 10, 0), counted(usize::MAX, 0) > 1 << 63), (0, true));
    }
}
