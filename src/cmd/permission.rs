//! May a user run a command on these keys and channels? The bridge from rows and arguments to `admin::acl`.

use super::command::{Channels, Command, OneKey, flag};
use super::introspect::CATEGORIES;
use super::session::Session;
use super::world::World;
use super::{client, keyspec, table};
use crate::admin::acl::Acl;
use crate::admin::acl::catalogue::{Catalogue, Known};
use crate::admin::acl::log::{Context, Reason, Refusal};
use crate::admin::acl::pattern::READ;
use crate::admin::acl::selector::{Call, Channel, Denial, Key};
use crate::admin::acl::user::User;
use crate::admin::config::Config;
use crate::admin::params::Id;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use nix::errno::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

/// The command table as ACL rules see it: a command's number is its row's index. Behind these stand the commands of Redis
/// that have no row yet (`later.txt`): rules may name them.
pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(|| {
        let number_of = |row: &Command| row.index;
        let known = |row: &'static Command| Known {
            name: row.full_name.to_string(),
            categories: row.acl,
            container: row
                .full_name
                .split_once('|')
                .and_then(|(name, _)| table::lookup(name.as_bytes()))
                .map(number_of),
            subs: row.subs.iter().map(number_of).collect(),
        };
        let mut commands: Vec<Known> = table::all().map(known).collect();
        let first = commands.len();
        add_later(&mut commands, include_str!("later.txt"));
        Catalogue::new(commands, CATEGORIES, first)
    })
}

/// Adds the commands of a list (`name category …`, containers before their subcommands) that are not there already.
fn add_later(commands: &mut Vec<Known>, list: &str) {
    for line in list.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let Some(name) = words.next().filter(|name| commands.iter().all(|known| known.name != *name)) else { continue };
        let bit = |word: &str| CATEGORIES.iter().find(|(_, name)| *name == word).map_or(0, |(bit, _)| *bit);
        let categories = words.fold(0, |bits, word| bits | bit(word));
        let number = commands.len() as u16;
        let container = name.split_once('|').and_then(|(container, _)| {
            let at = commands.iter().position(|known| known.name == container)?;
            commands[at].subs.push(number);
            Some(at as u16)
        });
        commands.push(Known { name: name.into(), categories, container, subs: Vec::new() });
    }
}

/// Do new selectors begin with all channels (`acl-pubsub-default`)?
pub fn begins_with_all_channels(config: &Config) -> bool {
    config.word(Id::ACL_PUBSUB_DEFAULT) == "allchannels"
}

/// Takes the users of the ACL file. Returns the names of users who are no more.
/// Errors: the file cannot be read, or all its faults, in one line.
pub fn load_file(acl: &Acl, config: &Config) -> Result<Vec<Box<[u8]>>, String> {
    let path = config.text(Id::ACLFILE);
    let shown = String::from_utf8_lossy(&path);
    let text = std::fs::read(Path::new(OsStr::from_bytes(&path))).map_err(|error| {
        // The system's text, without the number that Rust adds.
        let errno = error.raw_os_error().map(|errno| Errno::from_raw(errno).desc().to_string());
        format!("Error loading ACLs, opening file '{shown}': {}", errno.unwrap_or(error.to_string()))
    })?;
    acl.load(&shown, &text, begins_with_all_channels(config))
}

/// May this user run this command? Arguments in which keys cannot be found name none: the command itself refuses them.
/// Cost: for a command with one plain key no allocation; a bit test and one pass over the user's patterns.
#[inline]
pub fn check(user: &User, row: &Command, args: &Args<'_>) -> Result<(), Denial> {
    match row.one_key {
        Some(OneKey { at, access }) if (at as usize) < args.count() => {
            let (at, name) = (at as usize, args.get(at as usize));
            if user.root().allows_plainly(row.index, name, access) {
                return Ok(());
            }
            check_one(user, row, args, Key { at, name, access })
        }
        _ => check_many(user, row, args),
    }
}

#[cold]
fn check_one(user: &User, row: &Command, args: &Args<'_>, key: Key<'_>) -> Result<(), Denial> {
    user.check(&call(row, args, &[key], &[]))
}

fn check_many(user: &User, row: &Command, args: &Args<'_>) -> Result<(), Denial> {
    let channels = row.channels.map_or(Vec::new(), |channels| channels_of(channels, args));
    let keys = if user.has_all_keys() || row.keys.is_empty() { Vec::new() } else { keys_of(row, args) };
    user.check(&call(row, args, &keys, &channels))
}

/// May this user read any key with this command, so also those that no argument names?
pub fn may_read_all_keys(user: &User, args: &Args<'_>) -> bool {
    let any = [Key { at: 0, name: b"", access: READ }];
    user.has_all_keys() || table::resolve(args).is_ok_and(|row| user.check(&call(row, args, &any, &[])).is_ok())
}

fn call<'a>(row: &Command, args: &Args<'a>, keys: &'a [Key<'a>], channels: &'a [Channel<'a>]) -> Call<'a> {
    let first_arg = (args.count() > 1).then(|| args.get(1));
    Call { command: row.index, is_free: row.has(flag::NO_AUTH), first_arg, keys, channels }
}

fn keys_of<'a>(row: &Command, args: &Args<'a>) -> Vec<Key<'a>> {
    let key = |(at, flags): (usize, &[&str])| Key { at, name: args.get(at), access: keyspec::access_of(flags) };
    match keyspec::positions(row, args) {
        Ok(found) => found.into_iter().map(key).collect(),
        // Some keys cannot be known from here: as if all were used.
        Err(_) if row.keys.iter().any(|spec| spec.flags.contains(&"incomplete")) => {
            let access = row.keys.iter().fold(0, |all, spec| all | keyspec::access_of(spec.flags));
            vec![Key { at: 0, name: b"", access }]
        }
        Err(_) => Vec::new(),
    }
}

fn channels_of<'a>(channels: Channels, args: &Args<'a>) -> Vec<Channel<'a>> {
    let end = channels.count.map_or(args.count(), |count| args.count().min(channels.first + count));
    let channel = |at| Channel { at, name: args.get(at), is_pattern: channels.are_patterns };
    (channels.first..end).map(channel).collect()
}

/// Logs and counts a refusal; returns the error that the client gets.
#[cold]
pub fn refuse(world: &World, session: &Session, row: &Command, args: &Args<'_>, denial: Denial) -> ReplyError {
    let context = if session.multi.is_some() { Context::Multi } else { Context::Toplevel };
    note_denial(world, session, row, args, denial, context);
    let text = match denial {
        Denial::Command => return ReplyError::owned(format!("NOPERM {}", explain(session.user(), row, args, denial))),
        Denial::Key(_) => "NOPERM No permissions to access a key",
        Denial::Channel(_) => "NOPERM No permissions to access a channel",
    };
    ReplyError::text(text)
}

/// The same for a command of a transaction that was allowed when it was queued.
#[cold]
pub fn refuse_queued(world: &World, session: &Session, row: &Command, args: &Args<'_>, denial: Denial) -> ReplyError {
    note_denial(world, session, row, args, denial, Context::Multi);
    let reason = match denial {
        Denial::Command => "no permission to execute the command or subcommand",
        Denial::Key(_) => "no permission to touch the specified keys",
        Denial::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    ReplyError::owned(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: {reason}"
    ))
}

/// Logs and counts what a user was denied.
pub fn note_denial(world: &World, session: &Session, row: &Command, args: &Args<'_>, denial: Denial, context: Context) {
    let (reason, object) = match denial {
        Denial::Command => (Reason::Command, row.full_name.as_bytes()),
        Denial::Key(at) => (Reason::Key, args.get(at)),
        Denial::Channel(at) => (Reason::Channel, args.get(at)),
    };
    log(world, session, Refused { reason, context, object, user: &session.user().name });
}

/// What a user may not do, with names: for ACL DRYRUN, and of a command for everybody.
pub fn explain(user: &User, row: &Command, args: &Args<'_>, denial: Denial) -> String {
    let name = escaped(&user.name);
    match denial {
        Denial::Command => format!("User {name} has no permissions to run the '{}' command", row.full_name),
        Denial::Key(at) => format!("User {name} has no permissions to access the '{}' key", escaped(args.get(at))),
        Denial::Channel(at) => {
            format!("User {name} has no permissions to access the '{}' channel", escaped(args.get(at)))
        }
    }
}

/// Logs and counts a refusal of whatever kind.
#[cold]
pub fn note(world: &World, session: &Session, reason: Reason, object: &[u8], user: &[u8]) {
    log(world, session, Refused { reason, context: Context::Toplevel, object, user });
}

/// What is known of a refusal, beside the client.
struct Refused<'a> {
    reason: Reason,
    context: Context,
    object: &'a [u8],
    user: &'a [u8],
}

fn log(world: &World, session: &Session, refused: Refused<'_>) {
    let now = world.keyspace.now.get();
    let Refused { reason, context, object, user } = refused;
    let refusal = Refusal {
        reason,
        context,
        object: object.to_vec(),
        user: user.to_vec(),
        client: client::line(&session.info, now).trim_end().to_string(),
    };
    world.acl.log.add(refusal, world.config.number(Id::ACLLOG_MAX_LEN) as usize, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::command::{Flow, KeySpec, cmd};
    use crate::cmd::testkit::Line;

    fn denial(rules: &str, row: &Command, line: &str) -> Option<Denial> {
        let acl = Acl::new(catalogue());
        acl.set_user(b"bob", rules.split(' ').map(str::as_bytes), false).unwrap();
        check(&acl.get(b"bob").unwrap(), row, &Args::of(&Line::new(line).parts())).err()
    }
    fn of_line(rules: &str, line: &str) -> Option<Denial> {
        let line_args = Line::new(line);
        denial(rules, table::resolve(&Args::of(&line_args.parts())).unwrap(), line)
    }

    #[test]
    fn each_key_is_checked_for_what_is_done_to_it() {
        let rules = "%R~r* %W~w* ~b* +@all";
        for (line, expected) in [
            ("GET r", None),
            ("GET w", Some(Denial::Key(1))),
            ("SET w v", None),
            ("SET w v GET", Some(Denial::Key(1))),
            ("SET b v GET", None),
            ("MSET w1 v b v r v", Some(Denial::Key(5))),
            ("COPY r w", None),
            ("COPY w r", Some(Denial::Key(1))),
            ("COPY r r", Some(Denial::Key(2))),
            ("BITFIELD r GET u8 0", None),
            ("BITFIELD r SET u8 0 1", Some(Denial::Key(1))),
            ("EXISTS nothing", None),
            ("EXISTS w", None),
            ("PING", None),
        ] {
            let expected = if line == "EXISTS nothing" { Some(Denial::Key(1)) } else { expected };
            assert_eq!(of_line(rules, line), expected, "{line}");
        }
    }

    #[test]
    fn commands_that_let_clients_in_are_free_and_other_connection_commands_are_not() {
        assert_eq!(of_line("-@all", "AUTH x"), None);
        assert_eq!(of_line("-@all", "HELLO 3"), None);
        assert_eq!(of_line("-@all", "PING"), Some(Denial::Command));
        assert_eq!(of_line("+client|id", "CLIENT ID"), None);
        assert_eq!(of_line("+client|id", "CLIENT INFO"), Some(Denial::Command));
    }

    #[test]
    fn rules_may_name_commands_that_have_no_row_yet() {
        let mut commands = vec![Known { name: "get".into(), categories: 0, container: None, subs: Vec::new() }];
        add_later(&mut commands, "# comment\nget read\nscript slow\nscript|load scripting slow\n");
        let names: Vec<_> = commands.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(names, ["get", "script", "script|load"]);
        assert_eq!((&*commands[1].subs, commands[2].container), (&[2][..], Some(1)));
        assert_eq!(commands[2].categories.count_ones(), 2);
        for name in ["subscribe", "eval"] {
            assert!(catalogue().find(name.as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn unknown_keys_are_all_keys() {
        const OPEN: &[KeySpec] = &[KeySpec::one(1, &["RO", "access", "incomplete"])];
        let row = Command { index: 0, ..cmd("test", |_, _| Ok(Flow::Done)).keys(OPEN) };
        assert_eq!(denial("~a +@all", &row, "test a"), Some(Denial::Key(0)));
        assert_eq!(denial("allkeys +@all", &row, "test a"), None);
    }

    #[test]
    fn channels_are_found_by_the_row() {
        let all = Channels { first: 1, count: None, are_patterns: false };
        let row = |channels| Command { index: 0, ..cmd("test", |_, _| Ok(Flow::Done)).channels(channels) };
        assert_eq!(denial("+@all &a*", &row(all), "test a b"), Some(Denial::Channel(2)));
        assert_eq!(denial("+@all &a*", &row(Channels { count: Some(1), ..all }), "test a b"), None);
        assert_eq!(
            denial("+@all &a*", &row(Channels { are_patterns: true, ..all }), "test a"),
            Some(Denial::Channel(1))
        );
    }
}
