//! Handing over what the commands of a turn changed.

use crate::admin::stats::LoopStats;
use crate::base::ids::{ClientId, LoopId};
use crate::cmd::command::Effects;

/// Accounts for the turn's changes and passes the clients to be closed to `kill`. Leaves `effects` empty.
/// Cost: two comparisons if nothing changed.
#[inline]
pub fn hand_over(effects: &mut Effects, stats: &LoopStats, mut kill: impl FnMut(LoopId, ClientId)) {
    if effects.dirty > 0 {
        stats.dirty.add(effects.dirty);
        effects.dirty = 0;
    }
    for (home, id) in effects.kills.drain(..) {
        kill(home, id);
    }
}
