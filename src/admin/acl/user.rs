//! A user: a name, passwords, and the selectors that say what the user may do.
//!
//! A user that is in the registry never changes: a change makes a new one under the same name and number, and sessions
//! take it over when they see that the registry has changed. So a session checks its commands without any lock.

use super::catalogue::Catalogue;
use super::selector::{Call, Channel, Denial, Selector};

/// The name of the user that every connection begins with.
pub const DEFAULT: &[u8] = b"default";

/// Length of a password's SHA-256 in hexadecimal digits.
pub const HASH_LEN: usize = 64;

/// A password's SHA-256, in lower-case hexadecimal digits.
pub type PasswordHash = [u8; HASH_LEN];

/// See the module header.
#[derive(Clone, Debug)]
pub struct User {
    /// Stays when the user is changed; another user of the same name, made after this one was deleted, has another.
    pub number: u64,
    pub name: Box<[u8]>,
    pub(super) enabled: bool,
    pub(super) nopass: bool,
    pub(super) skip_sanitize: bool,
    pub(super) passwords: Vec<PasswordHash>,
    /// The root selector first.
    pub(super) selectors: Vec<Selector>,
}

/// What users start from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub catalogue: &'a Catalogue,
    /// Selectors begin with all channels (`acl-pubsub-default allchannels`).
    pub all_channels: bool,
}

impl User {
    /// A user who may not even log in.
    pub fn new(number: u64, name: &[u8], origin: Origin<'_>) -> Self {
        User {
            number,
            name: name.into(),
            enabled: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(origin.catalogue, origin.all_channels)],
        }
    }
    /// May log in.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }
    /// Any password is right.
    pub fn needs_no_password(&self) -> bool {
        self.nopass
    }
    /// Is there one selector that allows everything?
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }
    /// Can no key be forbidden to this user?
    pub fn has_all_keys(&self) -> bool {
        self.selectors.iter().all(|selector| selector.all_keys)
    }
    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }
    /// The selectors beside the root.
    pub fn others(&self) -> &[Selector] {
        &self.selectors[1..]
    }
    pub fn passwords(&self) -> &[PasswordHash] {
        &self.passwords
    }

    /// Is this the password? A disabled user has none that is right.
    pub fn accepts(&self, password: &[u8]) -> bool {
        let given = hash_of(password);
        // All are compared: the time does not tell which one is like the given one.
        let known = self.passwords.iter().fold(false, |found, known| found | equal_in_constant_time(known, &given));
        self.enabled && (self.nopass || known)
    }

    /// May the user go on listening to this? Which selector allows it does not matter.
    pub fn may_hear(&self, name: &[u8], is_pattern: bool) -> bool {
        let channel = Channel { at: 0, name, is_pattern };
        self.selectors.iter().any(|selector| selector.allows_channel(&channel))
    }

    /// May this command run? One selector must allow all of it. Of several refusals the one that got furthest counts.
    #[inline]
    pub fn check(&self, call: &Call<'_>) -> Result<(), Denial> {
        match self.root().check(call) {
            Err(denial) if self.selectors.len() > 1 => self.check_others(call, denial),
            outcome => outcome,
        }
    }
    fn check_others(&self, call: &Call<'_>, root: Denial) -> Result<(), Denial> {
        let mut relevant = root;
        for selector in self.others() {
            match selector.check(call) {
                Ok(()) => return Ok(()),
                Err(denial) => relevant = relevant.max(denial),
            }
        }
        Err(relevant)
    }

    /// The flags as ACL GETUSER lists them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags.push(if self.skip_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }
    /// The line of ACL LIST, of the ACL file and of the configuration file: applied to a fresh user, it makes this one.
    pub fn describe(&self) -> Vec<u8> {
        let mut line = [b"user ", &*self.name, b" ", self.flags().join(" ").as_bytes()].concat();
        for password in &self.passwords {
            line.extend_from_slice(b" #");
            line.extend_from_slice(password);
        }
        line.push(b' ');
        line.extend(self.root().describe());
        for selector in self.others() {
            line.extend_from_slice(b" (");
            line.extend(selector.describe());
            line.push(b')');
        }
        line
    }
}

/// What is kept of a password.
pub fn hash_of(password: &[u8]) -> PasswordHash {
    let mut hash = [0; HASH_LEN];
    for (pair, byte) in hash.chunks_exact_mut(2).zip(hmac_sha256::Hash::hash(password)) {
        pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
    }
    hash
}

/// The digit of a number below 16.
pub fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[value as usize]
}

/// Compares without telling by its duration where the first difference is.
fn equal_in_constant_time(a: &PasswordHash, b: &PasswordHash) -> bool {
    let difference = a.iter().zip(b).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_kept_as_their_sha_256() {
        // The standard's test vector for "abc".
        let expected = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(&hash_of(b"abc"), expected);
        let mut close = hash_of(b"abc");
        close[63] ^= 1;
        assert!(equal_in_constant_time(&hash_of(b"abc"), expected) && !equal_in_constant_time(&close, expected));
    }

    #[test]
    fn later_reasons_for_a_refusal_tell_more() {
        assert!(Denial::Command < Denial::Key(1) && Denial::Key(1) < Denial::Key(3));
        assert!(Denial::Key(9) < Denial::Channel(1));
    }
}
