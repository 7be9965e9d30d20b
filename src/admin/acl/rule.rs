//! Rules: the words that change a user.
//!
//!     on off nopass resetpass >password <password #hash !hash sanitize-payload skip-sanitize-payload reset
//!     (rule …) clearselectors                                               further selectors
//!     +command -command +container|sub +command|first-arg +@category -@category allcommands nocommands
//!     ~pattern %R~pattern %W~pattern allkeys resetkeys &pattern allchannels resetchannels
//!
//! The last two lines are about a selector: the root, or the one whose parentheses they stand in. A word is applied to the
//! user at once, so whoever wants all or nothing applies the words to a copy. Source: the manual page of ACL SETUSER.

use super::catalogue::Catalogue;
use super::pattern::{Access, READ, READ_WRITE, WRITE};
use super::selector::Selector;
use super::user::{HASH_LEN, Origin, PasswordHash, User, hash_of};
use std::fmt;

/// What is wrong with a rule. Displayed in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    Unknown,
    Syntax,
    KeyAfterAll,
    ChannelAfterAll,
    NoSuchPassword,
    BadHash,
    DuplicateUser,
    FirstArgOfSub,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::KeyAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::ChannelAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::DuplicateUser => "Duplicate user found. A user can only be defined once in config files",
            Self::FirstArgOfSub => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// True if a name or a pattern has what would break a line of rules: white space or zero bytes.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// Joins the words of selectors that were split at spaces. Errors: the index of the word whose parenthesis stays open.
pub fn merge_selectors<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.into_iter().enumerate() {
        open = match open.take() {
            None if word.starts_with(b"(") && !word.ends_with(b")") => Some((at, word.to_vec())),
            None => {
                merged.push(word.to_vec());
                None
            }
            Some((start, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.push(selector);
                    None
                } else {
                    Some((start, selector))
                }
            }
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

impl User {
    /// Applies one rule. An empty one changes nothing.
    pub fn apply(&mut self, rule: &[u8], origin: Origin<'_>) -> Result<(), RuleError> {
        match (rule, rule.to_ascii_lowercase().as_slice()) {
            ([], _) => {}
            (_, b"on") => self.enabled = true,
            (_, b"off") => self.enabled = false,
            (_, b"skip-sanitize-payload") => self.skip_sanitize = true,
            (_, b"sanitize-payload") => self.skip_sanitize = false,
            (_, b"nopass") => self.forget_passwords(true),
            (_, b"resetpass") => self.forget_passwords(false),
            ([b'>', password @ ..], _) => self.add_password(hash_of(password)),
            ([b'#', hash @ ..], _) => self.add_password(checked_hash(hash)?),
            ([b'<', password @ ..], _) => self.remove_password(&hash_of(password))?,
            ([b'!', hash @ ..], _) => self.remove_password(&checked_hash(hash)?)?,
            ([b'(', rules @ .., b')'], _) => self.selectors.push(selector_of(rules, origin)?),
            (_, b"clearselectors") => self.selectors.truncate(1),
            (_, b"reset") => self.reset(origin),
            (_, folded) => self.selectors[0].apply(rule, folded, origin.catalogue)?,
        }
        Ok(())
    }
    /// Applies rules until one is wrong. Errors: which, and what is wrong.
    pub fn apply_all<R: AsRef<[u8]>>(&mut self, rules: &[R], origin: Origin<'_>) -> Result<(), (usize, RuleError)> {
        rules.iter().enumerate().try_for_each(|(at, rule)| self.apply(rule.as_ref(), origin).map_err(|e| (at, e)))
    }
    /// As it was made, but for name and number.
    fn reset(&mut self, origin: Origin<'_>) {
        *self = User::new(self.number, &self.name, origin);
    }
    fn forget_passwords(&mut self, nopass: bool) {
        self.nopass = nopass;
        self.passwords.clear();
    }
    fn add_password(&mut self, hash: PasswordHash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }
    fn remove_password(&mut self, hash: &PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }
}

fn checked_hash(text: &[u8]) -> Result<PasswordHash, RuleError> {
    let hash: [u8; HASH_LEN] = text.try_into().map_err(|_| RuleError::BadHash)?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    hash.iter().all(is_digit).then_some(hash).ok_or(RuleError::BadHash)
}

/// A further selector from the rules inside its parentheses.
fn selector_of(rules: &[u8], origin: Origin<'_>) -> Result<Selector, RuleError> {
    let mut selector = Selector::new(origin.catalogue, origin.all_channels);
    for rule in rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
        selector.apply(rule, &rule.to_ascii_lowercase(), origin.catalogue)?;
    }
    Ok(selector)
}

impl Selector {
    /// Applies one rule; `folded` is the same in lower case.
    fn apply(&mut self, rule: &[u8], folded: &[u8], catalogue: &Catalogue) -> Result<(), RuleError> {
        match (rule, folded) {
            (_, b"allkeys" | b"~*") => self.set_keys(true),
            (_, b"resetkeys") => self.set_keys(false),
            (_, b"allchannels" | b"&*") => self.set_channels(true),
            (_, b"resetchannels") => self.set_channels(false),
            (_, b"allcommands" | b"+@all") => self.set_all_commands(true),
            (_, b"nocommands" | b"-@all") => self.set_all_commands(false),
            ([b'~' | b'%', ..], _) => self.add_key(rule)?,
            ([b'&', channel @ ..], _) => self.add_channel(channel)?,
            ([b'+', b'@', ..] | [b'-', b'@', ..], _) => self.change_category(&rule[1..], rule[0] == b'+', catalogue)?,
            ([b'+', name @ ..], _) => self.allow_command(name, catalogue)?,
            ([b'-', name @ ..], _) => {
                let command = catalogue.find(name).ok_or(RuleError::Unknown)?;
                self.change_command(command, false, catalogue);
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }
    fn set_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }
    fn set_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }
    /// `~pattern`, or `%` with `R`, `W` or both before it.
    fn add_key(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeyAfterAll);
        }
        let (access, pattern) = match rule {
            [b'~', pattern @ ..] => (READ_WRITE, pattern),
            [_, rest @ ..] => access_and_pattern(rest).ok_or(RuleError::Syntax)?,
            [] => return Err(RuleError::Syntax),
        };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        self.keys.add(pattern, access);
        Ok(())
    }
    fn add_channel(&mut self, channel: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelAfterAll);
        }
        if has_spaces(channel) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *channel) {
            self.channels.push(channel.into());
        }
        Ok(())
    }
    /// `name` has its `@`.
    fn change_category(&mut self, name: &[u8], allow: bool, catalogue: &Catalogue) -> Result<(), RuleError> {
        let category = catalogue.category(&name[1..]).ok_or(RuleError::Unknown)?;
        self.keep_rule(name, allow);
        self.set_category(catalogue, category, allow);
        Ok(())
    }
    fn change_command(&mut self, command: u16, allow: bool, catalogue: &Catalogue) {
        self.set_command(catalogue, command, allow);
        self.keep_rule(catalogue.get(command).name.as_bytes(), allow);
    }
    /// `command`, `container|sub`, or `command|first-arg`.
    fn allow_command(&mut self, name: &[u8], catalogue: &Catalogue) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|&byte| byte == b'|') else {
            let command = catalogue.find(name).ok_or(RuleError::Unknown)?;
            self.change_command(command, true, catalogue);
            return Ok(());
        };
        let (command, part) = (catalogue.find(&name[..bar]).ok_or(RuleError::Unknown)?, &name[bar + 1..]);
        let known = catalogue.get(command);
        if known.container.is_some() {
            return Err(RuleError::FirstArgOfSub);
        }
        // With white space or a zero byte it could not be written into a line of rules.
        if part.is_empty() || has_spaces(part) {
            return Err(RuleError::Syntax);
        }
        if known.subs.is_empty() {
            self.allow_first_arg(command, part);
        } else {
            let sub = catalogue.find(name).ok_or(RuleError::Unknown)?;
            self.set_command(catalogue, sub, true);
        }
        self.keep_rule(name, true);
        Ok(())
    }
}

/// What follows the `%` of a key rule: each of `R` and `W` at most once, then `~pattern`.
fn access_and_pattern(rest: &[u8]) -> Option<(Access, &[u8])> {
    let mut access = 0;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'R' | b'r' if access & READ == 0 => access |= READ,
            b'W' | b'w' if access & WRITE == 0 => access |= WRITE,
            b'~' if access != 0 => return Some((access, &rest[at + 1..])),
            _ => return None,
        }
    }
    None
}
