//! `Session`: what a connection is to the commands. Owned by its event loop; other loops see only `admin::clients`.

use crate::admin::clients::{ClientInfo, client_flag};
use crate::base::ids::{ClientId, DbIndex, LoopId};
use std::sync::Arc;

/// CLIENT REPLY's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is dropped.
    SkipNext,
    /// This command's reply is dropped.
    Skip,
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
    /// The same client as others see it.
    pub info: Arc<ClientInfo>,
}

impl Session {
    /// A fresh connection: database 0, replies on. `authenticated` is true if no password is set.
    pub fn new(info: Arc<ClientInfo>, authenticated: bool) -> Self {
        Session {
            id: info.id,
            home: info.home,
            db: DbIndex(0),
            authenticated,
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            info,
        }
    }
    /// Moves to another database; takes effect with the next command.
    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
        self.info.set_db(db.0 as u32);
    }
    pub fn set_no_evict(&mut self, on: bool) {
        self.no_evict = on;
        self.info.set(client_flag::NO_EVICT, on);
    }
    pub fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.info.set(client_flag::NO_TOUCH, on);
    }
    /// Before a command runs: has the moment come to skip?
    #[inline]
    pub fn before_reply(&mut self) {
        if self.reply_mode == ReplyMode::SkipNext {
            self.reply_mode = ReplyMode::Skip;
        }
    }
    /// After a command ran: is its reply (an error too) to be sent? Otherwise the dispatcher cuts it off.
    #[inline]
    pub fn wants_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On | ReplyMode::SkipNext => true, // The command that asks to skip has written nothing.
            ReplyMode::Off => false,
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
    /// Names the connection; an empty name takes the name away.
    pub fn set_name(&mut self, name: &[u8]) {
        self.info.rename(|names| names.name = name.into());
    }
    /// Back to the state of a fresh connection (RESET). The protocol version is the reply's.
    pub fn reset(&mut self, authenticated: bool) {
        *self = Session::new(self.info.clone(), authenticated);
        self.select(DbIndex(0));
        self.set_no_evict(false);
        self.set_no_touch(false);
        self.set_name(b"");
    }
}
