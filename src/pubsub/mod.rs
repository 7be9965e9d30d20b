//! Layer 4: who listens to what, and messages on their way to those who do.
//!
//! ```text
//! Registry        shared       name → how many subscribers on each loop; patterns
//! Desk            per loop     name → the connections of this loop; what waits to be handed out here or mailed to others
//! Subscriptions   per client   the names it has subscribed to
//!
//! PUBLISH on loop A ── registry: who? ──▶ the message is encoded once, into A's desk
//!     before the next command of a client that listens, at the latest at the turn's end:   to A's own subscribers
//!     at the turn's end, before any reply leaves: one mail to each loop that has subscribers
//! loop B, before its next command: to its own subscribers
//! ```
//! *Order.* A publisher's messages pass through one desk, one mailbox and one loop on their way to a subscriber: they arrive
//! in their order. Mails leave before the turn's replies do, and a loop empties its mailbox before it runs what has arrived
//! with or after them. So whoever acts upon a reply to PUBLISH acts after the message, on any loop. Two publishers on two
//! loops at the same time may be heard in either order.
//!
//! *Counts.* PUBLISH replies how many subscribers the registry has at that moment. On the publisher's own loop exactly these
//! get the message. A subscriber of another loop that leaves at the same moment is counted and not served.
//!
//! *Names.* A name is allocated once, whoever subscribes to it: registry, desks and clients hold references.
//!
//! Nothing here knows a connection: a subscriber is the slot in which its loop keeps it.

#![forbid(unsafe_code)]

pub mod desk;
mod patterns;
pub mod registry;
pub mod subscriptions;

use ahash::{AHasher, RandomState};
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

/// The name of a channel or a pattern.
pub type Name = Arc<[u8]>;

/// What a name stands for. Each kind has its own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Channels of SUBSCRIBE and PUBLISH.
    Channel = 0,
    /// Channels of SSUBSCRIBE and SPUBLISH, which no pattern matches.
    Shard = 1,
    /// Patterns of PSUBSCRIBE.
    Pattern = 2,
}

impl Space {
    pub const ALL: [Space; 3] = [Space::Channel, Space::Shard, Space::Pattern];
}

/// Hashes names with seeds of this process: nobody outside can aim names at one bucket. A map of names carries no seeds.
#[derive(Clone, Copy, Default)]
pub struct NameHash;

impl BuildHasher for NameHash {
    type Hasher = AHasher;
    fn build_hasher(&self) -> AHasher {
        static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        STATE.build_hasher()
    }
}
