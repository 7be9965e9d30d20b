//! A selector: one set of permissions. A user has a root selector and any number of others; a command may run if one of
//! them allows all of it.
//!
//! Commands are bits by their number. Beside the bits, the rules that made them are kept in order, so that they can be
//! shown, saved and applied again; a newer rule removes older ones that it makes void.

use super::catalogue::Catalogue;
use super::pattern::{Access, KeyPatterns};
use crate::base::glob;

/// What a command would touch, in the order in which it is checked.
pub struct Call<'a> {
    /// The command's number.
    pub command: u16,
    /// AUTH, HELLO, QUIT, RESET: allowed to everybody.
    pub is_free: bool,
    pub first_arg: Option<&'a [u8]>,
    pub keys: &'a [Key<'a>],
    pub channels: &'a [Channel<'a>],
}

/// A key of a command: where it stands among the arguments and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub at: usize,
    pub name: &'a [u8],
    pub access: Access,
}

/// A channel of a command. A pattern is compared as text, it is not matched.
#[derive(Clone, Copy, Debug)]
pub struct Channel<'a> {
    pub at: usize,
    pub name: &'a [u8],
    pub is_pattern: bool,
}

/// Why a command may not run. Later variants tell more: of several selectors, the latest reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denial {
    Command,
    /// The argument that is a forbidden key.
    Key(usize),
    Channel(usize),
}

/// A rule that is kept: `+name` or `-name`, name being a command, `container|sub`, `command|arg` or `@category`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandRule {
    pub allow: bool,
    pub name: Box<[u8]>,
}

/// See the module header.
#[derive(Clone, Debug)]
pub struct Selector {
    /// Nothing was taken away since `+@all`: the bits need not be asked.
    pub(super) all_commands: bool,
    /// The rules start from `+@all`, not from `-@all`.
    pub(super) starts_with_all: bool,
    pub(super) all_keys: bool,
    pub(super) all_channels: bool,
    commands: Box<[u64]>,
    /// First arguments with which a command may run whose bit is not set.
    first_args: Vec<(u16, Box<[u8]>)>,
    pub(super) keys: KeyPatterns,
    pub(super) channels: Vec<Box<[u8]>>,
    pub(super) rules: Vec<CommandRule>,
}

impl Selector {
    /// Nothing is allowed, except perhaps all channels (`acl-pubsub-default`).
    pub fn new(catalogue: &Catalogue, all_channels: bool) -> Self {
        Selector {
            all_commands: false,
            starts_with_all: false,
            all_keys: false,
            all_channels,
            commands: vec![0; catalogue.count().div_ceil(64)].into(),
            first_args: Vec::new(),
            keys: KeyPatterns::default(),
            channels: Vec::new(),
            rules: Vec::new(),
        }
    }
    /// Does it allow everything?
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// May this command run?
    /// Cost: a bit test and one pass over the key patterns for each key.
    #[inline]
    pub fn check(&self, call: &Call<'_>) -> Result<(), Denial> {
        if !self.all_commands && !call.is_free && !self.has(call.command) && !self.allows_first_arg(call) {
            return Err(Denial::Command);
        }
        if !self.all_keys
            && let Some(key) = call.keys.iter().find(|key| !self.keys.allow(key.name, key.access))
        {
            return Err(Denial::Key(key.at));
        }
        if let Some(channel) = call.channels.iter().find(|channel| !self.allows_channel(channel)) {
            return Err(Denial::Channel(channel.at));
        }
        Ok(())
    }
    /// May this command run with this key as its only one, and without channels? False also where only `check` can tell.
    #[inline]
    pub fn allows_plainly(&self, command: u16, key: &[u8], access: Access) -> bool {
        (self.all_commands || self.has(command)) && (self.all_keys || self.keys.allow(key, access))
    }
    #[cold]
    fn allows_first_arg(&self, call: &Call<'_>) -> bool {
        let Some(given) = call.first_arg else { return false };
        self.first_args.iter().any(|(command, arg)| *command == call.command && arg.eq_ignore_ascii_case(given))
    }
    /// May this channel be used with a command that is allowed?
    pub fn allows_channel(&self, channel: &Channel<'_>) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| match channel.is_pattern {
                true => **allowed == *channel.name,
                false => glob::matches(allowed, channel.name),
            })
    }
    #[inline]
    fn has(&self, command: u16) -> bool {
        self.commands[command as usize / 64] >> (command % 64) & 1 != 0
    }
    fn set(&mut self, command: u16, allow: bool) {
        let (word, bit) = (&mut self.commands[command as usize / 64], 1 << (command % 64));
        if allow {
            *word |= bit;
        } else {
            *word &= !bit;
            self.all_commands = false;
        }
    }

    /// `+@all` or `-@all`: forgets all earlier rules about commands.
    pub(super) fn set_all_commands(&mut self, allow: bool) {
        self.commands.fill(if allow { u64::MAX } else { 0 });
        (self.all_commands, self.starts_with_all) = (allow, allow);
        self.first_args.clear();
        self.rules.clear();
    }
    /// A command with all its subcommands.
    pub(super) fn set_command(&mut self, catalogue: &Catalogue, command: u16, allow: bool) {
        self.set(command, allow);
        self.first_args.retain(|(known, _)| *known != command);
        for &sub in &catalogue.get(command).subs {
            self.set(sub, allow);
        }
    }
    /// All commands of a category.
    pub(super) fn set_category(&mut self, catalogue: &Catalogue, category: u32, allow: bool) {
        for command in catalogue.members(category) {
            self.set_command(catalogue, command, allow);
        }
    }
    /// A command that is otherwise forbidden may run with this first argument.
    pub(super) fn allow_first_arg(&mut self, command: u16, arg: &[u8]) {
        let is_known = |(known, text): &(u16, Box<[u8]>)| *known == command && text.eq_ignore_ascii_case(arg);
        if !self.first_args.iter().any(is_known) {
            self.first_args.push((command, arg.into()));
        }
    }
    /// Keeps a rule. It makes void what was said before about the same name, and about parts of it (`name|…`).
    pub(super) fn keep_rule(&mut self, name: &[u8], allow: bool) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|old| !old.name.strip_prefix(&*name).is_some_and(|rest| rest.is_empty() || rest[0] == b'|'));
        self.rules.push(CommandRule { allow, name: name.into() });
    }

    /// The rules about commands: `+@all` or `-@all`, then what was added and taken away.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut out = if self.starts_with_all { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for rule in &self.rules {
            out.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            out.extend_from_slice(&rule.name);
        }
        out
    }
    /// The rules about keys, separated by spaces.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut out = Vec::new();
        for pattern in self.keys.iter() {
            if !out.is_empty() {
                out.push(b' ');
            }
            pattern.describe(&mut out);
        }
        out
    }
    /// The rules about channels, separated by spaces.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules: Vec<_> = self.channels.iter().map(|channel| [b"&", &**channel].concat()).collect();
        rules.join(&b' ')
    }
    /// The rules that make this selector of a fresh one.
    pub fn describe(&self) -> Vec<u8> {
        let channels = if self.all_channels { b"".as_slice() } else { b"resetchannels" };
        let parts = [self.describe_keys(), channels.to_vec(), self.describe_channels(), self.describe_commands()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(&b' ')
    }
}
