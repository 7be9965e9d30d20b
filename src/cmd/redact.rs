//! Hiding secrets: what the slow log and monitors may show of a command.
//!
//! Which arguments are secret is a column of the row, `secrets`; the rules that rows share are here.

use super::command::Command;
use crate::admin::params::{Id, Kind};
use crate::resp::args::Args;

/// What stands in place of a secret. Source: Redis.
const HIDDEN: &[u8] = b"(redacted)";

/// Where the options of MIGRATE begin: behind host, port, key, database and timeout.
const MIGRATE_OPTIONS: usize = 6;

/// Is argument `index` of a command secret?
pub type Secrets = fn(&Args<'_>, usize) -> bool;

/// The arguments with secrets replaced.
pub fn shown<'a>(row: &Command, args: Args<'a>) -> impl ExactSizeIterator<Item = &'a [u8]> {
    let secrets = row.secrets;
    (0..args.count()).map(move |index| match secrets {
        Some(is_secret) if is_secret(&args, index) => HIDDEN,
        _ => args.get(index),
    })
}

/// Everything behind the command's name: AUTH.
pub fn all_from_1(_: &Args<'_>, index: usize) -> bool {
    index >= 1
}

/// Everything behind the subcommand: ACL SETUSER, GETUSER, DELUSER.
pub fn all_from_2(_: &Args<'_>, index: usize) -> bool {
    index >= 2
}

/// The two arguments behind the word AUTH: HELLO.
pub fn behind_auth(args: &Args<'_>, index: usize) -> bool {
    (1..=2).any(|back| index >= 2 + back && args.is(index - back, "auth"))
}

/// What stands behind AUTH and AUTH2 among the options: MIGRATE. Behind KEYS are keys, whatever they are called.
pub fn in_options_of_migrate(args: &Args<'_>, index: usize) -> bool {
    let secrets_behind = |at: usize| match () {
        _ if args.is(at, "auth") => 1,
        _ if args.is(at, "auth2") => 2,
        _ => 0,
    };
    let mut at = MIGRATE_OPTIONS;
    while at < index && !args.is(at, "keys") {
        let count = secrets_behind(at);
        if index <= at + count {
            return true;
        }
        at += 1 + count;
    }
    false
}

/// Values of parameters that are secrets: CONFIG SET.
pub fn secret_parameters(args: &Args<'_>, index: usize) -> bool {
    let names_secret = |name: &[u8]| Id::find(name).is_some_and(|id| matches!(id.param().kind, Kind::Secret));
    let is_value = index >= 3 && !index.is_multiple_of(2);
    is_value
        && (names_secret(args.get(index - 1)) || args.is(index - 1, "masteruser") || args.is(index - 1, "primaryuser"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::table;
    use crate::cmd::testkit::Line;

    fn shown_line(line: &str) -> String {
        let line = Line::new(line);
        let parts = line.parts();
        let args = Args::of(&parts);
        let row = table::resolve(&args).unwrap();
        let words: Vec<_> = shown(row, args).map(String::from_utf8_lossy).collect();
        words.join(" ")
    }

    #[test]
    fn passwords_are_not_shown() {
        for (line, expected) in [
            ("auth pw", "auth (redacted)"),
            ("AUTH bob pw", "AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH bob pw SETNAME me", "HELLO 3 AUTH (redacted) (redacted) SETNAME me"),
            ("HELLO 3 SETNAME auth", "HELLO 3 SETNAME auth"),
            ("config set requirepass pw timeout 0", "config set requirepass (redacted) timeout 0"),
            ("config set masteruser bob masterauth pw", "config set masteruser (redacted) masterauth (redacted)"),
            ("acl setuser bob >pw", "acl setuser (redacted) (redacted)"),
            ("acl getuser bob", "acl getuser (redacted)"),
            ("config set timeout 0", "config set timeout 0"),
            ("get requirepass", "get requirepass"),
            ("migrate h 1 k 0 9 AUTH pw", "migrate h 1 k 0 9 AUTH (redacted)"),
            (
                "migrate h 1 k 0 9 copy auth2 bob pw replace",
                "migrate h 1 k 0 9 copy auth2 (redacted) (redacted) replace",
            ),
            ("migrate h 1 auth 0 9 AUTH", "migrate h 1 auth 0 9 AUTH"),
            ("migrate h 1 '' 0 9 auth auth keys auth b", "migrate h 1  0 9 auth (redacted) keys auth b"),
        ] {
            assert_eq!(shown_line(line), expected);
        }
    }
}
