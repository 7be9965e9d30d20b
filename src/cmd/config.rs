//! The CONFIG family: reading and changing parameters while the server runs.
//!
//! Which parameters exist, what their values may be and what a change means is in `admin::params`; here is only the shape
//! of the commands.

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::redact;
use super::table;
use crate::admin::params::Id;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

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
        cx.reply.bulk(name.as_bytes());
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
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Refused: without a file as Redis does, with one because rewriting does not exist yet.
fn config_rewrite(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    Err(ReplyError::text(match cx.world.boot.config_file {
        None => "ERR The server is running without a config file",
        Some(_) => "ERR Rewriting config file: Operation not supported",
    }))
}

/// Changes parameters: all pairs or, after an error, none.
/// Shape: `(parameter value)+`
fn config_set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if !args.count().is_multiple_of(2) {
        return Err(ReplyError::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = (2..args.count()).step_by(2).map(|at| (args.get(at), args.get(at + 1))).collect();
    cx.world.config.set(&pairs).map_err(|error| ReplyError::owned(format!("ERR {error}")))?;
    if pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"requirepass")) {
        cx.world.acl.set_default_password(&cx.world.config.text(Id::REQUIREPASS));
    }
    cx.reply.ok();
    Ok(Flow::Done)
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
    fn resetstat_forgets_counts() {
        let mut client = Client::new();
        client.world.stats[0].hits.add(5);
        client.world.stats[0].count_error("ERR");
        assert_eq!(client.run_line("CONFIG RESETSTAT"), "OK");
        assert_eq!((client.world.stats[0].hits.get(), client.world.stats[0].errors.get()), (0, 0));
        assert!(client.world.stats[0].errors_by_code().is_empty());
    }
}
