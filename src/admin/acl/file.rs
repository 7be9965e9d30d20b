//! The ACL file: a line `user name rule …` for each user, and nothing else but empty lines.
//!
//! It is read as a whole or not at all: every fault of every line is reported, and then nothing changes. It is written
//! beside its place and moved there, so that a crash leaves the old or the new one.

use super::rule::{RuleError, has_spaces, merge_selectors};
use super::user::{Origin, User};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The users of a file's text. `number` gives each a number of its own.
/// Errors: all faults in one line, in Redis's words.
pub fn parse(path: &str, text: &[u8], origin: Origin<'_>, number: &mut u64) -> Result<Vec<User>, String> {
    let mut users: Vec<User> = Vec::new();
    let mut faults = String::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if !line.is_empty() {
            parse_line(&format!("{path}:{}", at + 1), at + 1, line, origin, number, &mut users)
                .unwrap_or_else(|fault| faults.push_str(&fault));
        }
    }
    if faults.is_empty() {
        return Ok(users);
    }
    faults.push_str("WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    Err(faults)
}

fn parse_line(
    place: &str,
    line_number: usize,
    line: &[u8],
    origin: Origin<'_>,
    number: &mut u64,
    users: &mut Vec<User>,
) -> Result<(), String> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        return Err(format!("{place} should start with user keyword followed by the username. "));
    };
    let shown = String::from_utf8_lossy(name);
    if has_spaces(name) {
        return Err(format!("'{place}: username '{shown}' contains invalid characters. "));
    }
    if users.iter().any(|user| *user.name == *name) {
        return Err(format!("WARNING: Duplicate user '{shown}' found on line {line_number}. "));
    }
    *number += 1;
    let mut user = User::new(*number, name, origin);
    let outcome = match merge_selectors(words) {
        Ok(rules) => apply(&mut user, place, &rules, origin),
        Err(_) => Err(format!("{place}: Unmatched parenthesis in selector definition.")),
    };
    users.push(user);
    outcome
}

/// Applies all rules, wrong ones or not. Unknown commands are all named, of other faults the first one only: it may be
/// the cause of the others, and the rule may hold a secret.
fn apply(user: &mut User, place: &str, rules: &[Vec<u8>], origin: Origin<'_>) -> Result<(), String> {
    let (mut faults, mut has_other) = (String::new(), false);
    for rule in rules.iter().map(|rule| rule.trim_ascii()) {
        match user.apply(rule, origin) {
            Ok(()) => {}
            Err(error @ RuleError::Unknown) => {
                let rule = String::from_utf8_lossy(rule);
                faults.push_str(&format!("{place}: Error in applying operation '{rule}': {error}. "));
            }
            Err(_) if has_other => {}
            Err(error) => {
                has_other = true;
                faults.push_str(&format!("{place}: {error}. "));
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Writes the users' lines. Errors: the file cannot be written; the old one is still there.
pub fn save<'a>(path: &Path, users: impl IntoIterator<Item = &'a User>) -> io::Result<()> {
    let mut text = Vec::new();
    for user in users {
        text.extend(user.describe());
        text.push(b'\n');
    }
    let beside = PathBuf::from(format!("{}.tmp-{}", path.display(), std::process::id()));
    let outcome = write_synced(&beside, &text).and_then(|()| fs::rename(&beside, path));
    if outcome.is_err() {
        let _ = fs::remove_file(&beside); // It may not even exist.
    }
    outcome?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::sample;
    use super::*;

    fn parsed(text: &str) -> Result<Vec<String>, String> {
        let catalogue = sample();
        let origin = Origin { catalogue: &catalogue, all_channels: false };
        let users = parse("f", text.as_bytes(), origin, &mut 0)?;
        Ok(users.iter().map(|user| String::from_utf8_lossy(&user.describe()).into_owned()).collect())
    }

    #[test]
    fn lines_of_users_are_read_and_written_alike() {
        let lines = [
            "user alice on nopass sanitize-payload ~a* %R~b &c -@all +get",
            "user bob off sanitize-payload resetchannels -@all (%W~x &* +@all -set)",
        ];
        let text = format!("\n{}\r\n  {}  \n", lines[0].replace(" &c", " resetchannels &c"), lines[1]);
        assert_eq!(parsed(&text).unwrap(), [&lines[0].replace(" &c", " resetchannels &c"), lines[1]]);
    }

    #[test]
    fn every_fault_is_named_with_its_line() {
        for (text, fault) in [
            ("# comment", "f:1 should start with user keyword followed by the username. "),
            ("user", "f:1 should start with user keyword followed by the username. "),
            ("user a on\nuser a off", "WARNING: Duplicate user 'a' found on line 2. "),
            ("user a (+get", "f:1: Unmatched parenthesis in selector definition."),
            (
                "user a +x +y",
                "f:1: Error in applying operation '+x': Unknown command or category name in ACL. \
                 f:1: Error in applying operation '+y': Unknown command or category name in ACL. ",
            ),
            ("user a foo bar\nuser b", "f:1: Syntax error. "),
        ] {
            let tail = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
            assert_eq!(parsed(text).unwrap_err(), format!("{fault}{tail}"));
        }
    }
}
