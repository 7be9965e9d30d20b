//! What a client may make us keep for it, and for how long: its output, its input, and our patience with a peer that does
//! not read.
//!
//! ```text
//! output    ≥ OUTPUT_SOFT_MAX      its commands are not run and it is not read: it waits for itself   (window, settle)
//!           > hard limit           closed at once, before anything of this turn is sent; a reply that is made and sent piece
//!                                  by piece counts as a whole, as if nobody had taken anything of it; one whose head tells
//!                                  that it will be too long is not begun
//!           > soft limit           closed when it has been so for the limit's seconds without a break
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
        let limit = limits.for_client(&conn.session);
        let is_limited = limit.hard != 0 || limit.soft != 0;
        if !is_limited && conn.patience_until.is_none() || conn.life >= Life::Draining {
            return true;
        }
        let output_len = (conn.output_len() + conn.held_len()).saturating_sub(UNCOUNTED_LEN) as u64;
        let said_len = conn.long.as_ref().map_or(0, |long| long.said_len()) as u64;
        if limit.hard != 0 && output_len.max(said_len) > limit.hard {
            self.close_for_output(token, now);
            return false;
        }
        let is_over = limit.soft != 0 && output_len > limit.soft;
        let until = conn.patience_until.unwrap_or(WallMs(now.0 + limit.soft_seconds * 1000));
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
