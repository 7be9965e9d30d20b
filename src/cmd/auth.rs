//! Logging in: one user, `default`, with the password of `requirepass`.

use super::session::Session;
use super::world::World;
use crate::admin::params::Id;
use crate::resp::error::ReplyError;

/// A user name and a password as a client sent them.
pub struct Login<'a> {
    pub user: &'a [u8],
    pub password: &'a [u8],
}

/// Must clients log in?
pub fn is_password_set(world: &World) -> bool {
    world.config.number(Id::REQUIREPASS) != 0 // Of a text: is there one?
}

/// Is this client still to log in? A password that was taken away is asked of nobody.
#[inline]
pub fn must_log_in(world: &World, session: &Session) -> bool {
    !session.authenticated && is_password_set(world)
}

/// Marks the session as authenticated, if the pair is right.
pub fn log_in(world: &World, session: &mut Session, login: &Login<'_>) -> Result<(), ReplyError> {
    let right = !is_password_set(world) || equal_in_constant_time(&world.config.text(Id::REQUIREPASS), login.password);
    if login.user != b"default" || !right {
        return Err(ReplyError::text("WRONGPASS invalid username-password pair or user is disabled."));
    }
    session.authenticated = true;
    Ok(())
}

/// Compares without telling by its duration where the first difference is. The time depends on the given length only.
fn equal_in_constant_time(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = (secret.len() != given.len()) as u8;
    for (index, byte) in given.iter().enumerate() {
        let wanted = secret.get(index % secret.len().max(1)).copied().unwrap_or(0);
        difference |= std::hint::black_box(byte ^ wanted);
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::equal_in_constant_time;

    #[test]
    fn only_the_whole_password_is_equal() {
        assert!(equal_in_constant_time(b"secret", b"secret") && equal_in_constant_time(b"", b""));
        for given in [&b""[..], b"secre", b"secret2", b"Secret", b"secretsecret"] {
            assert!(!equal_in_constant_time(b"secret", given));
        }
        assert!(!equal_in_constant_time(b"", b"x"));
    }
}
