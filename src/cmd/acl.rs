//! The ACL family: users and what they may do. The rules themselves are in `admin::acl`.

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::introspect::CATEGORIES;
use super::silence::wait_for_silence;
use super::{permission, redact, table};
use crate::admin::acl::SetError;
use crate::admin::acl::file;
use crate::admin::acl::log::Entry;
use crate::admin::acl::rule::has_spaces;
use crate::admin::acl::selector::Selector;
use crate::admin::acl::user::{DEFAULT, User, hex_digit};
use crate::admin::clients::client_flag;
use crate::admin::log as server_log;
use crate::admin::params::Id;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const ALWAYS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SENTINEL;
const MANAGES: u32 = ALWAYS | flag::ADMIN;
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("server", since)
}

pub static ROWS: &[Command] = &[row("acl", table::container, -2, flag::SENTINEL, "6.0.0").subs(&[
    row("cat", acl_cat, -2, ALWAYS, "6.0.0"),
    row("deluser", acl_deluser, -3, MANAGES, "6.0.0").tips(EVERYWHERE).secrets(redact::all_from_2),
    row("dryrun", acl_dryrun, -4, MANAGES, "7.0.0"),
    row("genpass", acl_genpass, -2, ALWAYS, "6.0.0"),
    row("getuser", acl_getuser, 3, MANAGES, "6.0.0").secrets(redact::all_from_2),
    row("help", acl_help, 2, flag::LOADING | flag::STALE | flag::SENTINEL, "6.0.0"),
    row("list", acl_list, 2, MANAGES, "6.0.0"),
    row("load", acl_load, 2, MANAGES, "6.0.0"),
    row("log", acl_log, -2, MANAGES, "6.0.0"),
    row("save", acl_save, 2, MANAGES, "6.0.0").tips(EVERYWHERE),
    row("setuser", acl_setuser, -3, MANAGES, "6.0.0").tips(EVERYWHERE).secrets(redact::all_from_2),
    row("users", acl_users, 2, MANAGES, "6.0.0"),
    row("whoami", acl_whoami, 2, ALWAYS, "6.0.0"),
])];

/// The categories, or the commands of one.
/// Shape: `[category]`
fn acl_cat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    at_most_one(&args)?;
    let names: Vec<&str> = if args.count() == 2 {
        CATEGORIES.iter().map(|(_, name)| *name).collect()
    } else {
        let catalogue = cx.world.acl.catalogue();
        let category = catalogue.category(args.get(2)).ok_or_else(|| {
            let name = args.get(2);
            ReplyError::owned(format!("ERR Unknown category '{}'", escaped(&name[..name.len().min(128)])))
        })?;
        let members = catalogue.members(category).filter(|&number| catalogue.is_runnable(number));
        members.map(|number| catalogue.get(number).name.as_str()).collect()
    };
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(Flow::Done)
}

/// The error of subcommands that take one argument or none.
fn at_most_one(args: &Args<'_>) -> Result<(), ReplyError> {
    if args.count() <= 3 {
        return Ok(());
    }
    let sub = escaped(args.get(1));
    let text = format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try ACL HELP.");
    Err(ReplyError::owned(text))
}

/// Deletes users and closes their connections; the default user cannot be deleted.
fn acl_deluser(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.iter_from(2).any(|name| name == DEFAULT) {
        return Err(ReplyError::text("ERR The 'default' user cannot be removed"));
    }
    let gone = cx.world.acl.delete(args.iter_from(2));
    cx.reply.int(gone.len() as i64);
    Ok(close_clients_of(cx, &gone))
}

/// Closes the connections of users who are no more; the caller's own one after its reply.
fn close_clients_of(cx: &mut Cx<'_>, users: &[Box<[u8]>]) -> Flow {
    let mut flow = Flow::Done;
    if users.is_empty() {
        return flow;
    }
    for client in cx.world.clients.all() {
        if !users.iter().any(|user| client.is_user(user)) {
            continue;
        }
        client.set(client_flag::CLOSING, true);
        if client.id == cx.session.id {
            flow = Flow::Close;
        } else {
            cx.effects.kills.push((client.home, client.id));
        }
    }
    flow
}

/// Would a user be allowed to run a command? Nothing is run.
/// Shape:  `username command [arg …]`
/// Errors: no such user, no such command, arity.
fn acl_dryrun(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(user) = cx.world.acl.get(args.get(2)) else {
        return Err(ReplyError::owned(format!("ERR User '{}' not found", escaped(args.get(2)))));
    };
    let parts = args.behind(3);
    let inner = Args::of(&parts);
    let mut found = table::lookup(inner.get(0));
    if let Some(container) = found.filter(|row| !row.subs.is_empty() && inner.count() > 1) {
        found = table::lookup_sub(container, inner.get(1));
    }
    let row = found.ok_or_else(|| ReplyError::owned(format!("ERR Command '{}' not found", escaped(inner.get(0)))))?;
    if !row.accepts(inner.count()) {
        return Err(table::wrong_arity(row));
    }
    match permission::check(&user, row, &inner) {
        Ok(()) => cx.reply.ok(),
        Err(denial) => cx.reply.bulk(permission::explain(&user, row, &inner, denial).as_bytes()),
    }
    Ok(Flow::Done)
}

const GENPASS_BITS: i64 = 256;
const GENPASS_BITS_MAX: i64 = 4096;

/// A random password in hexadecimal digits.
/// Shape: `[bits]`
fn acl_genpass(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    at_most_one(&args)?;
    let bits = if args.count() == 3 { parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)? } else { GENPASS_BITS };
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Err(ReplyError::text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    let mut random = vec![0; (bits as usize).div_ceil(4)];
    getrandom::fill(&mut random).map_err(|_| ReplyError::text("ERR The system has no random bytes to give"))?;
    random.iter_mut().for_each(|byte| *byte = hex_digit(*byte & 15));
    cx.reply.bulk(&random);
    Ok(Flow::Done)
}

/// Everything about a user; null if there is none.
fn acl_getuser(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let Some(user) = cx.world.acl.get(args.get(2)) else {
        cx.reply.null();
        return Ok(Flow::Done);
    };
    let reply = &mut *cx.reply;
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| reply.bulk(hash));
    selector_fields(cx, user.root());
    cx.reply.bulk(b"selectors");
    cx.reply.array(user.others().len());
    for selector in user.others() {
        cx.reply.map(3);
        selector_fields(cx, selector);
    }
    Ok(Flow::Done)
}

/// Three fields of a map.
fn selector_fields(cx: &mut Cx<'_>, selector: &Selector) {
    text_field(cx.reply, "commands", &selector.describe_commands());
    text_field(cx.reply, "keys", &selector.describe_keys());
    text_field(cx.reply, "channels", &selector.describe_channels());
}

/// The subcommands.
fn acl_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "ACL",
        &[
            ("CAT [<category>]", "The categories of commands, or the commands of one."),
            ("DELUSER <username> [<username> ...]", "Delete users and close their connections."),
            ("DRYRUN <username> <command> [<arg> ...]", "Tell whether a user may run a command, without running it."),
            ("GETUSER <username>", "Everything about a user."),
            ("GENPASS [<bits>]", "A random password of 256 bits, or of as many as are asked for."),
            ("LIST", "Every user as a line of the configuration file."),
            ("LOAD", "Take the users of the ACL file instead of the present ones."),
            ("LOG [<count> | RESET]", "What was refused lately, or forget it."),
            ("SAVE", "Write the present users to the ACL file."),
            ("SETUSER <username> <attribute> [<attribute> ...]", "Make or change a user."),
            ("USERS", "The names of all users."),
            ("WHOAMI", "The name of this connection's user."),
        ],
    );
    Ok(Flow::Done)
}

/// A line for each user.
fn acl_list(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let users = cx.world.acl.all();
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.describe()));
    Ok(Flow::Done)
}

/// Where the ACL file is. Errors: there is none.
fn acl_path(cx: &Cx<'_>) -> Result<PathBuf, ReplyError> {
    let path = cx.world.config.text(Id::ACLFILE);
    if path.is_empty() {
        return Err(ReplyError::text(
            "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL \
             SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order \
             to store users in the Redis configuration.",
        ));
    }
    Ok(PathBuf::from(OsStr::from_bytes(&path)))
}

/// Takes the users of the ACL file, all or, if there is any fault in it, none. Connections of users who are not in it are
/// closed.
fn acl_load(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    acl_path(cx)?;
    let gone = permission::load_file(&cx.world.acl, &cx.world.config)
        .map_err(|faults| ReplyError::owned(format!("ERR {faults}")))?;
    match close_clients_of(cx, &gone) {
        Flow::Done => wait_for_silence(cx),
        end => {
            cx.reply.ok(); // The caller is gone with its user.
            Ok(end)
        }
    }
}

/// The newest refusals, or forgets all.
/// Shape: `[count | RESET]`
fn acl_log(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    at_most_one(&args)?;
    if args.count() == 3 && args.is(2, "reset") {
        cx.world.acl.log.clear();
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    let count = if args.count() == 3 { parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)? } else { 10 };
    let entries = cx.world.acl.log.newest(count.max(0) as usize);
    cx.reply.array(entries.len());
    entries.iter().for_each(|entry| log_entry(cx, entry));
    Ok(Flow::Done)
}

fn log_entry(cx: &mut Cx<'_>, entry: &Entry) {
    let age_ms = cx.keys.now.0.saturating_sub(entry.updated.0);
    let (reply, refusal) = (&mut *cx.reply, &entry.refusal);
    reply.map(10);
    int_field(reply, "count", entry.count);
    text_field(reply, "reason", refusal.reason.name().as_bytes());
    text_field(reply, "context", refusal.context.name().as_bytes());
    text_field(reply, "object", &refusal.object);
    text_field(reply, "username", &refusal.user);
    reply.bulk(b"age-seconds");
    reply.double(age_ms as f64 / 1000.0);
    text_field(reply, "client-info", refusal.client.as_bytes());
    int_field(reply, "entry-id", entry.number);
    int_field(reply, "timestamp-created", entry.created.0);
    int_field(reply, "timestamp-last-updated", entry.updated.0);
}

fn text_field(reply: &mut Reply, name: &str, text: &[u8]) {
    reply.bulk(name.as_bytes());
    reply.bulk(text);
}

fn int_field(reply: &mut Reply, name: &str, number: u64) {
    reply.bulk(name.as_bytes());
    reply.int(number as i64);
}

/// Writes the present users to the ACL file.
fn acl_save(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let path = acl_path(cx)?;
    let users = cx.world.acl.all();
    file::save(&path, users.iter().map(|user| -> &User { user })).map_err(|error| {
        server_log::warning(format_args!("Writing the ACL file {}: {error}", path.display()));
        ReplyError::text(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Makes or changes a user: all rules or, after an error, none.
/// Shape:  `username [rule …]`
/// Errors: the name, the first wrong rule.
fn acl_setuser(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let name = args.get(2);
    if has_spaces(name) {
        return Err(ReplyError::text("ERR Usernames can't contain spaces or null characters"));
    }
    let all_channels = permission::begins_with_all_channels(&cx.world.config);
    cx.world.acl.set_user(name, args.iter_from(3), all_channels).map_err(|error| {
        ReplyError::owned(match error {
            SetError::OpenParenthesis(word) => {
                format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", escaped(&word))
            }
            SetError::Rule(rule, reason) => {
                format!("ERR Error in ACL SETUSER modifier '{}': {reason}", escaped(&rule))
            }
        })
    })?;
    wait_for_silence(cx)
}

/// The names of all users.
fn acl_users(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let users = cx.world.acl.all();
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.name));
    Ok(Flow::Done)
}

/// The name of this connection's user.
fn acl_whoami(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.bulk(&cx.session.user().name);
    Ok(Flow::Done)
}
