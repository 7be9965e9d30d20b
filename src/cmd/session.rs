//! `Session`: what a connection is to the commands. Owned by its event loop; other loops see only `admin::clients`.

use crate::base::ids::{ClientId, DbIndex, LoopId};

/// CLIENT REPLY's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped, then On again.
    SkipNext,
}

/// See the module header.
pub struct Session {
    pub id: ClientId,
    pub home: LoopId,
    pub db: DbIndex,
    pub authenticated: bool,
    pub reply_mode: ReplyMode,
    pub no_evict: bool,
    pub no_touch: bool,
}
