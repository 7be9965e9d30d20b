//! `World`: everything that is shared by all loops, in one place that handlers can reach.

use crate::admin::stats::LoopStats;
use crate::keyspace::Keyspace;
use crate::keyspace::safepoint::Safepoint;

/// See the module header.
pub struct World {
    pub keyspace: Keyspace,
    pub safepoint: Safepoint,
    /// One per loop.
    pub stats: Box<[LoopStats]>,
}
