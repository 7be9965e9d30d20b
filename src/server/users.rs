//! The users at the start: `requirepass`, then either the `user` lines of the configuration or the ACL file.

use super::error::StartError;
use crate::admin::acl::rule::has_spaces;
use crate::admin::acl::user::DEFAULT;
use crate::admin::acl::{Acl, SetError};
use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use crate::cmd::permission;

/// Makes the users. `lines` are name and rules each. Happens before anybody can connect.
/// Errors: both kinds of places are used; a wrong rule; the file cannot be read or has faults.
pub fn load(config: &Config, lines: &[Vec<Vec<u8>>]) -> Result<Acl, StartError> {
    let has_file = !config.text(Id::ACLFILE).is_empty();
    if has_file && !lines.is_empty() {
        return Err(StartError(
            "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. \
             This setup is very likely to lead to configuration errors and security holes, please define either an ACL \
             file or declare users directly in your redis.conf, but not both."
                .into(),
        ));
    }
    let acl = Acl::new(permission::catalogue());
    acl.set_default_password(&config.text(Id::REQUIREPASS));
    for line in lines {
        load_line(&acl, config, line)?;
    }
    if has_file {
        permission::load_file(&acl, config)
            .map_err(|faults| StartError(format!("Aborting Redis startup because of ACL errors: {faults}")))?;
    }
    Ok(acl)
}

fn load_line(acl: &Acl, config: &Config, line: &[Vec<u8>]) -> Result<(), StartError> {
    let [name, rules @ ..] = line else { return Ok(()) };
    let shown = String::from_utf8_lossy(name);
    if has_spaces(name) {
        return Err(StartError("Spaces not allowed in ACL usernames".into()));
    }
    // The default user is there already; what its line does not say is taken from it.
    let reset: &[&[u8]] = if name == DEFAULT { &[b"reset"] } else { &[] };
    let rules = reset.iter().copied().chain(rules.iter().map(Vec::as_slice));
    acl.set_user(name, rules, permission::begins_with_all_channels(config)).map_err(|error| {
        StartError(match error {
            SetError::OpenParenthesis(word) => {
                let word = String::from_utf8_lossy(&word);
                format!("Unmatched parenthesis in acl selector starting at '{word}', for the user named '{shown}'.")
            }
            SetError::Rule(rule, reason) => {
                let rule = String::from_utf8_lossy(&rule);
                format!("Error loading ACL rule '{rule}' for the user named '{shown}': {reason}")
            }
        })
    })?;
    if acl.get(name).is_some_and(|user| !user.is_enabled()) {
        log::notice(format_args!(
            "The user '{shown}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a \
             configuration error."
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(lines: &[&str]) -> Result<Acl, String> {
        let config = Config::new();
        config.set_text(Id::REQUIREPASS, b"pw");
        let split = |line: &&str| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        load(&config, &lines.iter().map(split).collect::<Vec<_>>()).map_err(|error| error.0)
    }
    fn line(acl: &Acl, name: &str) -> String {
        String::from_utf8(acl.get(name.as_bytes()).unwrap().describe()).unwrap()
    }

    #[test]
    fn the_default_users_line_says_everything_about_it() {
        assert!(!loaded(&[]).unwrap().default_user().needs_no_password(), "requirepass");
        let acl = loaded(&["default on nopass +@all", "bob on (+get ~x)"]).unwrap();
        assert_eq!(line(&acl, "default"), "user default on nopass sanitize-payload resetchannels +@all");
        assert_eq!(line(&acl, "bob"), "user bob on sanitize-payload resetchannels -@all (~x resetchannels -@all +get)");
    }

    #[test]
    fn a_wrong_line_stops_the_start() {
        for (line, text) in [
            ("bob +nosuch", "Error loading ACL rule '+nosuch' for the user named 'bob': Unknown command"),
            ("bob (+get", "Unmatched parenthesis in acl selector starting at '(+get'"),
            ("a\tb on", "Spaces not allowed in ACL usernames"),
        ] {
            assert!(loaded(&[line]).err().unwrap().starts_with(text), "{line}");
        }
    }
}
