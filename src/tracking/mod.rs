//! Layer 4: who keeps copies of what, so that it can be told when these are out of date (client-side caching).
//!
//! ```text
//! default     a client reads a key ─▶ Interests: key → clients        the key changes ─▶ they are told, and forgotten
//! broadcast   a client names prefixes ─▶ Prefixes: prefix → clients   keys change ─▶ told once per turn, all together
//! ```
//! *No stale copy.* A reading command registers its keys (T1) before it looks (T2); whoever changes a key does so (C1) before
//! it looks for those who are interested (C2). T1 and C2 take the lock of the same shard. If C2 comes first, T2 comes behind
//! it and so behind C1: it reads the new value. Otherwise C2 finds the interest, and an invalidation is on its way to the
//! client's loop when the change is done. It gets there as a mail of the changing turn or, on the same loop, behind the
//! command; either way it is written behind the reply of the read that registered, which was written in the turn of T2. A
//! broadcast needs no interest: its invalidation is sent in the turn of the change, and a read whose reply stands behind it
//! began behind the change.
//!
//! *Who is gone.* Interests name clients by id. One that is gone, or tracks no more, is passed over; its interests go when
//! their keys change, or when there are too many.
//!
//! Nothing here sends anything: `exec::invalidate` does.

#![forbid(unsafe_code)]

pub mod interests;
pub mod prefixes;

use crate::admin::clients::ClientInfo;
use crate::base::ids::ClientId;
use interests::Interests;
use prefixes::Prefixes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// How a client tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// By prefixes, whatever it reads.
    pub broadcast: bool,
    /// Only what it reads behind CLIENT CACHING YES.
    pub opt_in: bool,
    /// Not what it reads behind CLIENT CACHING NO.
    pub opt_out: bool,
    /// It is not told of what it changes itself.
    pub no_loop: bool,
    /// Another client is told in its place.
    pub redirect: Option<ClientId>,
}

/// A client that tracks, as others see it.
pub struct Tracker {
    pub info: Arc<ClientInfo>,
    pub mode: Mode,
}

/// See the module header.
#[derive(Default)]
pub struct Tracking {
    trackers: RwLock<HashMap<ClientId, Arc<Tracker>>>,
    pub interests: Interests,
    pub prefixes: Prefixes,
}

impl Tracking {
    /// The client tracks from now on, or in another way than before.
    pub fn begin(&self, info: Arc<ClientInfo>, mode: Mode) {
        let tracker = Arc::new(Tracker { info, mode });
        self.trackers.write().unwrap_or_else(PoisonError::into_inner).insert(tracker.info.id, tracker);
    }
    /// The client tracks no more.
    pub fn end<'p>(&self, id: ClientId, prefixes: impl IntoIterator<Item = &'p Box<[u8]>>) {
        self.trackers.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        prefixes.into_iter().for_each(|prefix| self.prefixes.leave(prefix, id));
    }
    pub fn get(&self, id: ClientId) -> Option<Arc<Tracker>> {
        self.trackers.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
    /// All clients that track.
    pub fn all(&self) -> Vec<Arc<Tracker>> {
        self.trackers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
    pub fn count(&self) -> usize {
        self.trackers.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// What a session knows of its own tracking.
#[derive(Debug, Default)]
pub struct Own {
    pub mode: Mode,
    /// CLIENT CACHING was given for the next command.
    pub is_caching_given: bool,
    /// In their order.
    pub prefixes: BTreeSet<Box<[u8]>>,
}

impl Own {
    /// Are the keys of the next command remembered?
    pub fn remembers(&self) -> bool {
        let Mode { broadcast, opt_in, opt_out, .. } = self.mode;
        !broadcast && (!opt_in || self.is_caching_given) && (!opt_out || !self.is_caching_given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caching_turns_the_mode_around_for_one_command() {
        let own = |opt_in, opt_out, broadcast, is_caching_given| {
            let mode = Mode { opt_in, opt_out, broadcast, ..Mode::default() };
            Own { mode, is_caching_given, ..Own::default() }.remembers()
        };
        assert!(own(false, false, false, false) && !own(false, false, true, false));
        assert!(!own(true, false, false, false) && own(true, false, false, true));
        assert!(own(false, true, false, false) && !own(false, true, false, true));
    }
}
