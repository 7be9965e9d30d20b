//! Users and what they may do.
//!
//! ```text
//! catalogue  the commands, as rules name them        rule   one word that changes a user
//! pattern    key patterns, ready for quick matching  file   users in a file
//! selector   one set of permissions                  log    what was refused
//! user       name, passwords, selectors
//! ```
//! The registry maps names to users that never change: a change replaces the user and raises the generation. A session
//! keeps its user and the generation at which it got it; as long as that is the registry's, its permissions are fresh. So
//! a command costs one relaxed load here, and a change reaches every session before its next command.

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod file;
pub mod log;
pub mod pattern;
pub mod rule;
pub mod selector;
#[cfg(test)]
mod selector_test;
pub mod user;

use crate::base::sync::{AtomicU64, Ordering};
use catalogue::Catalogue;
use log::AclLog;
use rule::{RuleError, merge_selectors};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use user::{DEFAULT, Origin, User};

/// Why a user was not changed. The bytes are the rule as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    OpenParenthesis(Vec<u8>),
    Rule(Vec<u8>, RuleError),
}

/// See the module header.
pub struct Acl {
    /// Order: raised with Release under the lock, after the change; read with Relaxed by sessions, which then take the
    /// lock to see the change.
    generation: Generation,
    catalogue: &'static Catalogue,
    users: Mutex<Users>,
    pub log: AclLog,
}

/// On a line of its own: every session reads it at every command.
#[repr(align(64))]
struct Generation(AtomicU64);

struct Users {
    by_name: BTreeMap<Box<[u8]>, Arc<User>>,
    last_number: u64,
}

impl Acl {
    /// Only the default user, who needs no password and may do everything.
    pub fn new(catalogue: &'static Catalogue) -> Self {
        let origin = Origin { catalogue, all_channels: false };
        let default = Arc::new(default_user(1, origin));
        let users = Users { by_name: BTreeMap::from([(DEFAULT.into(), default)]), last_number: 1 };
        Acl { generation: Generation(AtomicU64::new(1)), catalogue, users: Mutex::new(users), log: AclLog::default() }
    }
    /// Changes with every change of any user.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.0.load(Ordering::Relaxed)
    }
    pub fn catalogue(&self) -> &'static Catalogue {
        self.catalogue
    }
    /// The user that every connection begins with.
    pub fn default_user(&self) -> Arc<User> {
        self.get(DEFAULT).expect("the default user is never removed")
    }
    pub fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.lock().by_name.get(name).cloned()
    }
    /// The user as it is now; None if it was deleted, even if another one has its name.
    pub fn renewed(&self, user: &User) -> Option<Arc<User>> {
        self.get(&user.name).filter(|current| current.number == user.number)
    }
    /// All users, by name.
    pub fn all(&self) -> Vec<Arc<User>> {
        self.lock().by_name.values().cloned().collect()
    }

    /// Changes a user by rules, all or none; makes it first if there is none of that name.
    pub fn set_user<'a>(
        &self,
        name: &[u8],
        rules: impl IntoIterator<Item = &'a [u8]>,
        all_channels: bool,
    ) -> Result<(), SetError> {
        let words: Vec<&[u8]> = rules.into_iter().collect();
        let rules =
            merge_selectors(words.iter().copied()).map_err(|at| SetError::OpenParenthesis(words[at].to_vec()))?;
        let origin = self.origin(all_channels);
        let mut users = self.lock();
        let mut user = match users.by_name.get(name) {
            Some(user) => User::clone(user),
            None => {
                users.last_number += 1;
                User::new(users.last_number, name, origin)
            }
        };
        user.apply_all(&rules, origin).map_err(|(at, error)| SetError::Rule(rules[at].clone(), error))?;
        self.put(&mut users, user);
        Ok(())
    }
    /// Gives the default user one password, or none (`requirepass`).
    pub fn set_default_password(&self, password: &[u8]) {
        let rule = if password.is_empty() { b"nopass".to_vec() } else { [b">", password].concat() };
        self.set_user(DEFAULT, [&b"resetpass"[..], &rule], false).expect("passwords of any bytes are right");
    }
    /// Deletes users; the default one stays. Returns the names of those that were there.
    pub fn delete<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
        let mut users = self.lock();
        let mut gone = Vec::new();
        for name in names.into_iter().filter(|name| *name != DEFAULT) {
            gone.extend(users.by_name.remove(name).map(|user| user.name.clone()));
        }
        self.raise();
        gone
    }
    /// Takes the users of an ACL file instead of all that there were. A name that stays is the same user: its sessions go
    /// on. Returns the names that went.
    pub fn load(&self, path: &str, text: &[u8], all_channels: bool) -> Result<Vec<Box<[u8]>>, String> {
        let origin = self.origin(all_channels);
        let mut users = self.lock();
        let mut loaded = file::parse(path, text, origin, &mut users.last_number)?;
        if !loaded.iter().any(|user| *user.name == *DEFAULT) {
            loaded.push(default_user(0, origin)); // It gets the number of the old one.
        }
        let mut old = std::mem::take(&mut users.by_name);
        for mut user in loaded {
            if let Some(known) = old.remove(&user.name) {
                user.number = known.number;
            }
            users.by_name.insert(user.name.clone(), Arc::new(user));
        }
        self.raise();
        Ok(old.into_keys().collect())
    }

    pub fn origin(&self, all_channels: bool) -> Origin<'static> {
        Origin { catalogue: self.catalogue, all_channels }
    }
    fn put(&self, users: &mut Users, user: User) {
        users.by_name.insert(user.name.clone(), Arc::new(user));
        self.raise();
    }
    /// The lock is held: whoever sees the new generation waits for it and finds the change.
    fn raise(&self) {
        self.generation.0.fetch_add(1, Ordering::Release);
    }
    fn lock(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn default_user(number: u64, origin: Origin<'_>) -> User {
    let mut user = User::new(number, DEFAULT, origin);
    let rules = ["allcommands", "allkeys", "allchannels", "on", "nopass"];
    user.apply_all(&rules, origin).expect("these rules are right");
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl() -> Acl {
        Acl::new(Box::leak(Box::new(catalogue::sample())))
    }
    fn set(acl: &Acl, name: &str, rules: &str) {
        acl.set_user(name.as_bytes(), rules.split(' ').map(str::as_bytes), false).unwrap();
    }
    fn line(acl: &Acl, name: &str) -> String {
        String::from_utf8(acl.get(name.as_bytes()).unwrap().describe()).unwrap()
    }

    #[test]
    fn a_change_of_several_rules_happens_as_a_whole() {
        let acl = acl();
        set(&acl, "bob", "on +get");
        let before = acl.generation();
        let outcome = acl.set_user(b"bob", [&b"+set"[..], b"+nosuch"], false);
        assert_eq!(outcome, Err(SetError::Rule(b"+nosuch".to_vec(), RuleError::Unknown)));
        assert_eq!(line(&acl, "bob"), "user bob on sanitize-payload resetchannels -@all +get");
        assert_eq!(acl.generation(), before);
        let outcome = acl.set_user(b"bob", [&b"on"[..], b"(+get", b"~x"], false);
        assert_eq!(outcome, Err(SetError::OpenParenthesis(b"(+get".to_vec())));
    }

    #[test]
    fn a_user_made_anew_is_another_one() {
        let acl = acl();
        set(&acl, "bob", "on");
        let first = acl.get(b"bob").unwrap();
        set(&acl, "bob", "off");
        assert!(acl.renewed(&first).is_some_and(|bob| !bob.is_enabled()));
        assert_eq!(acl.delete([&b"bob"[..], b"nobody", b"default"]), [b"bob".as_slice().into()]);
        set(&acl, "bob", "on");
        assert!(acl.renewed(&first).is_none() && acl.default_user().is_enabled());
    }

    #[test]
    fn users_that_a_file_names_again_stay_the_same() {
        let acl = acl();
        set(&acl, "bob", "on");
        set(&acl, "eve", "on");
        let bob = acl.get(b"bob").unwrap();
        assert_eq!(acl.load("f", b"user bob off", false), Ok(vec![b"eve".as_slice().into()]));
        assert!(acl.renewed(&bob).is_some() && acl.default_user().is_unrestricted());
        assert!(acl.load("f", b"user bob on\nfoo", false).is_err());
        assert_eq!(line(&acl, "bob"), "user bob off sanitize-payload resetchannels -@all");
    }

    #[test]
    fn requirepass_is_the_default_users_only_password() {
        let acl = acl();
        assert!(acl.default_user().accepts(b"anything"));
        acl.set_default_password(b"pw");
        acl.set_default_password(b"new");
        let default = acl.default_user();
        assert!(default.accepts(b"new") && !default.accepts(b"pw") && default.is_unrestricted());
        acl.set_default_password(b"");
        assert!(acl.default_user().needs_no_password());
    }
}
