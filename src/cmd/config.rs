//! The CONFIG family: reading and changing parameters while the server runs.
//!
//! Which parameters exist, what their values may be and what a change means is in `admin::params`; here is only the shape
//! of the commands.

use super::background;
use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::redact;
use super::table;
use crate::admin::config::ConfigError;
use crate::admin::log;
use crate::admin::params::Id;
use crate::admin::rewrite::{Directive, Which, rewrite_file};
use crate::resp::args::Args;
use crate::resp::error::{LOADING, ReplyError, escaped};
use crate::value::drain;
use nix::errno::Errno;

const CHANGES: u32 = flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE;
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("server", since)
}

pub static ROWS: &[Command] = &[row("config", table::container, -2, 0, "2.0.0").subs(&[
    row("get", config_get, -3, CHANGES, "2.0.0"),
    row("help", config_help, 2, flag::LOADING | flag::STALE, "5.0.0"),
    row("resetstat", config_resetstat, 2, CHANGES, "2.0.0").tips(EVERYWHERE),
    row("rewrite", config_rewrite, 2, CHANGES, "2.8.0").tips(EVERYWHERE),
    row("set", config_set, -4, CHANGES, "2.0.0").tips(EVERYWHERE).secrets(redact::secret_parameters),
])];

/// Parameters whose names match, with their values.
/// Shape: `pattern [pattern …]`
fn config_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let patterns: Vec<&[u8]> = args.iter_from(2).collect();
    let found = cx.world.config.get(&patterns);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(&name);
        cx.reply.bulk(&value);
    }
    Ok(Flow::Done)
}

/// The subcommands.
fn config_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "CONFIG",
        &[
            ("GET <pattern> [<pattern> ...]", "Parameters whose names match, with their values."),
            ("RESETSTAT", "Set the counters that INFO shows back to zero."),
            ("REWRITE", "Write the present values into the configuration file."),
            ("SET <parameter> <value> [<parameter> <value> ...]", "Change parameters, all of them or none."),
        ],
    );
    Ok(Flow::Done)
}

/// Sets the counters back to zero. Loops go on counting meanwhile.
fn config_resetstat(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.stats.iter().for_each(|stats| stats.reset());
    cx.world.rates.reset();
    cx.world.acl.log.reset_counts();
    drain::reset_freed();
    cx.world.keyspace.excess.reset();
    cx.world.background.reset_begun();
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Writes the present values into the configuration file.
/// Errors: there is none, or it cannot be written.
fn config_rewrite(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    rewrite(cx, Which::Changed)
}

/// Writes the configuration file anew, with lines for the parameters that have none and are `which`.
pub fn rewrite(cx: &mut Cx<'_>, which: Which) -> Result<Flow, ReplyError> {
    let Some(path) = &cx.world.boot.config_file else {
        return Err(ReplyError::text("ERR The server is running without a config file"));
    };
    // Users are in one place: the ACL file, or this one.
    let users = if cx.world.config.text(Id::ACLFILE).is_empty() { cx.world.acl.all() } else { Vec::new() };
    let users = Directive { name: "user", lines: users.iter().map(|user| user.describe()).collect() };
    if let Err(error) = rewrite_file(path, &cx.world.config, &[users], which) {
        let reason =
            error.raw_os_error().map_or(error.to_string(), |number| Errno::from_raw(number).desc().to_string());
        log::warning(format_args!("CONFIG REWRITE failed: {reason}"));
        return Err(ReplyError::owned(format!("ERR Rewriting config file: {reason}")));
    }
    log::notice(format_args!("CONFIG REWRITE executed with success."));
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Changes parameters: all pairs or, after an error, none.
/// Shape:  `(parameter value)+`
/// Errors: pairs; names and values; `dir` while data are loaded from there, which is told before all else.
fn config_set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if !args.count().is_multiple_of(2) {
        return Err(ReplyError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = (2..args.count()).step_by(2).map(|at| (args.get(at), args.get(at + 1))).collect();
    if cx.world.attention.is_loading() && pairs.iter().any(|(name, _)| Id::find(name) == Some(Id::DIR)) {
        return Err(LOADING);
    }
    let apply = |ids: &[Id]| cx.world.apply.get().map_or(Ok(()), |apply| apply(ids));
    let is_local = cx.session.info.endpoints.is_local();
    cx.world.config.set_with(&pairs, is_local, apply).map_err(|error| match error {
        ConfigError::Unknown(name) => {
            let name = escaped(&name);
            ReplyError::owned(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
        }
        refused => ReplyError::owned(format!("ERR {refused}")),
    })?;
    for id in pairs.iter().filter_map(|(name, _)| Id::find(name)) {
        if id == Id::REQUIREPASS {
            cx.world.acl.set_default_password(&cx.world.config.text(id));
        }
        if id == Id::APPENDFSYNC {
            cx.world.journal.set_policy(cx.world.config.word(id));
        }
        if id == Id::APPENDONLY {
            cx.effects.journal_switch = Some(cx.world.config.number(id) != 0);
            tell_of_delay(cx);
        }
        if id == Id::NOTIFY_KEYSPACE_EVENTS {
            cx.world.publish_events();
            cx.keys.heed();
        }
        if [Id::STOP_WRITES_ON_BGSAVE_ERROR, Id::SAVE].contains(&id) {
            background::refuse_writes(cx.world); // From the next command on.
        }
        if [Id::MIN_REPLICAS_TO_WRITE, Id::MIN_REPLICAS_MAX_LAG].contains(&id) {
            cx.world.heed_replicas();
        }
        if let Some(warning) = cx.world.config.idle_warning(id) {
            log::warning(format_args!("{warning}"));
        }
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// `appendonly` was set: if a log is wanted, and cannot be begun before something else has ended, that is told.
fn tell_of_delay(cx: &Cx<'_>) {
    let is_wanted = cx.effects.journal_switch == Some(true) && !cx.world.journal.is_on();
    let reason = match () {
        _ if !is_wanted => return,
        _ if cx.world.background.is_writing() => "AOF was enabled but there is already another background operation.",
        _ if cx.session.denies_blocking => "AOF was enabled during a transaction.",
        _ => return,
    };
    log::notice(format_args!("{reason} An AOF background was scheduled to start when possible."));
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::{Client, check};

    #[test]
    fn parameters_are_read_and_changed_in_groups() {
        check(
            "
            CONFIG GET timeout => ['timeout', '0'] || {'timeout': '0'}
            CONFIG SET timeout 7 tcp-keepalive 60 => OK
            CONFIG GET timeout nosuch tcp-k* => ['timeout', '7', 'tcp-keepalive', '60'] || {'timeout': '7', 'tcp-keepalive': '60'}
            CONFIG SET timeout => ERR wrong number of arguments for 'config|set' command
            CONFIG SET timeout 1 tcp-keepalive => ERR syntax error
            CONFIG SET nosuch 1 => ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
            CONFIG SET timeout 9 databases 5 => ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config
            CONFIG GET timeout => ['timeout', '7'] || {'timeout': '7'}
            CONFIG REWRITE => ERR The server is running without a config file
        ",
        );
    }

    #[test]
    fn a_password_counts_for_later_logins() {
        check(
            "
            CONFIG SET requirepass secret => OK
            PING => PONG
            AUTH wrong => WRONGPASS invalid username-password pair or user is disabled.
            AUTH bob secret => WRONGPASS invalid username-password pair or user is disabled.
            AUTH default secret => OK
            RESET => RESET
            HELLO 2 => NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
            CONFIG SET requirepass '' => OK
            HELLO => *
        ",
        );
    }

    #[test]
    fn while_data_are_loaded_their_place_is_fixed() {
        let mut client = Client::new();
        client.world.attention.set_loading(true);
        for pairs in ["dir /tmp", "loglevel debug dir /tmp", "nosuch 1 DIR /tmp"] {
            let refusal = client.run_line(&format!("CONFIG SET {pairs}"));
            assert!(refusal.starts_with("LOADING"), "{pairs}: {refusal}");
        }
        assert_eq!(client.run_line("CONFIG SET loglevel debug"), "OK");
    }

    #[test]
    fn resetstat_forgets_counts() {
        let mut client = Client::new();
        client.world.stats[0].hits.add(5);
        client.world.stats[0].count_error("ERR");
        assert_eq!(client.run_line("CONFIG RESETSTAT"), "OK");
        assert_eq!((client.world.stats[0].hits.get(), client.world.stats[0].errors.get()), (0, 0));
        assert!(client.world.stats[0].errors_by_code().is_empty());
    }
}
