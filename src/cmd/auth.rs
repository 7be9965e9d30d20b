//! Logging in, and what a session may do because of it.

use super::permission;
use super::session::Session;
use super::world::World;
use crate::admin::acl::log::Reason;
use crate::admin::acl::user::DEFAULT;
use crate::resp::error::ReplyError;

/// A user name and a password as a client sent them.
pub struct Login<'a> {
    pub user: &'a [u8],
    pub password: &'a [u8],
}

impl<'a> Login<'a> {
    /// The default user's.
    pub fn with_password(password: &'a [u8]) -> Self {
        Login { user: DEFAULT, password }
    }
}

/// Makes the session one of this user, if the pair is right. `object` is the command's name, for the ACL log.
pub fn log_in(world: &World, session: &mut Session, login: &Login<'_>, object: &[u8]) -> Result<(), ReplyError> {
    match world.acl.get(login.user).filter(|user| user.accepts(login.password)) {
        Some(user) => {
            session.become_user(user, true);
            Ok(())
        }
        None => {
            permission::note(world, session, Reason::Auth, object, login.user);
            Err(ReplyError::text("WRONGPASS invalid username-password pair or user is disabled."))
        }
    }
}
