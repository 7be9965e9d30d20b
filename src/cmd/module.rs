//! MODULE: there are no modules, so there is nothing to list, and nothing can be loaded.

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::{protected, table};
use crate::admin::params::Id;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

const LOADING: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::NOSCRIPT | flag::PROTECTED;

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("server", since)
}

pub static ROWS: &[Command] = &[row("module", table::container, -2, 0, "4.0.0").subs(&[
    row("help", module_help, 2, flag::LOADING | flag::STALE, "5.0.0"),
    row("list", list, 2, flag::ADMIN | flag::NOSCRIPT, "4.0.0").tips(&["nondeterministic_output_order"]),
    row("load", load, -3, LOADING, "4.0.0"),
    row("loadex", load, -3, LOADING, "7.0.0"),
    row("unload", unload, 3, LOADING, "4.0.0"),
])];

/// The subcommands.
fn module_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "MODULE",
        &[
            ("LIST", "The loaded modules: there are none."),
            ("LOAD <path> [<arg> ...]", "Refused: this server takes no modules."),
            ("LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]", "Refused as LOAD is."),
            ("UNLOAD <name>", "Refused: no module has that name."),
        ],
    );
    Ok(Flow::Done)
}

/// No modules.
fn list(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.array(0);
    Ok(Flow::Done)
}

fn check(cx: &Cx<'_>) -> Result<(), ReplyError> {
    protected::check(cx, "MODULE", Id::ENABLE_MODULE_COMMAND, "enable-module-command")
}

/// Never loads anything.
/// Errors: not allowed; not possible.
fn load(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    check(cx)?;
    Err(ReplyError::text("ERR Error loading the extension: this server takes no modules"))
}

/// Errors: not allowed; no such module.
fn unload(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    check(cx)?;
    Err(ReplyError::text("ERR Error unloading module: no such module with that name"))
}

#[cfg(test)]
mod tests {
    use crate::admin::params::Id;
    use crate::cmd::testkit::{Client, check, check_on};

    #[test]
    fn there_are_no_modules_and_loading_must_be_allowed() {
        check(
            "
            MODULE LIST => []
            MODULE LOAD x => ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.
            MODULE NOSUCH => ERR unknown subcommand 'NOSUCH'. Try MODULE HELP.
        ",
        );
        let mut client = Client::new();
        client.world.config.set_at_start(Id::ENABLE_MODULE_COMMAND, &["local".into()]).unwrap();
        check_on(
            &mut client,
            "
            MODULE LOAD x => ERR Error loading the extension: this server takes no modules
            MODULE UNLOAD x => ERR Error unloading module: no such module with that name
        ",
        );
    }
}
