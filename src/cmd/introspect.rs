//! COMMAND: the server describes its own commands, straight from the rows.
//!
//! Clients read key positions and flags from it (cluster clients, proxies, redis-cli's hints), so the shapes are those of
//! Redis 7.2. COMMAND DOCS has texts of our own (`docs`).

use super::command::{Begin, Command, Cx, Find, Flow, KeySpec, acl, cmd, flag};
use super::help::help;
use super::usage::{self, Arg, Kind};
use super::{docs, keyspec, table};
use crate::base::glob;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;

const ALWAYS: u32 = flag::LOADING | flag::STALE | flag::SENTINEL;
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

const fn row(name: &'static str, run: super::command::Handler, arity: i32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(ALWAYS).acl(acl::CONNECTION).group("server", since)
}

pub static ROWS: &[Command] = &[row("command", command, -1, "2.8.13").tips(UNORDERED).subs(&[
    row("count", command_count, 2, "2.8.13"),
    row("docs", command_docs, -2, "7.0.0").tips(UNORDERED),
    row("getkeys", command_getkeys, -3, "2.8.13"),
    row("getkeysandflags", command_getkeysandflags, -3, "7.0.0"),
    row("help", command_help, 2, "5.0.0"),
    row("info", command_info, -2, "2.8.13").tips(UNORDERED),
    row("list", command_list, -2, "7.0.0").tips(UNORDERED),
])];

/// Describes all commands.
fn command(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    describe_all(cx.reply);
    Ok(Flow::Done)
}

/// Number of commands, subcommands not counted.
fn command_count(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(table::top().len() as i64);
    Ok(Flow::Done)
}

/// Documentation of the named commands, or of all. Unknown names are left out.
/// Shape: `[command …]`
fn command_docs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let rows: Vec<&Command> = match args.count() {
        2 => table::top().iter().collect(),
        _ => args.iter_from(2).filter_map(table::lookup_full).collect(),
    };
    documents(cx.reply, &rows);
    Ok(Flow::Done)
}

/// The keys of a command line.
/// Shape:  `command [arg …]`
/// Errors: no such command, no keys, arguments that do not fit.
fn command_getkeys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let inner = args.behind(2);
    let inner = Args::of(&inner);
    let keys = keys_of(&inner)?;
    cx.reply.array(keys.len());
    keys.iter().for_each(|&(index, _)| cx.reply.bulk(inner.get(index)));
    Ok(Flow::Done)
}

/// As GETKEYS, each key with what the command does to it.
fn command_getkeysandflags(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let inner = args.behind(2);
    let inner = Args::of(&inner);
    let keys = keys_of(&inner)?;
    cx.reply.array(keys.len());
    for (index, flags) in keys {
        cx.reply.array(2);
        cx.reply.bulk(inner.get(index));
        key_flags(cx.reply, flags);
    }
    Ok(Flow::Done)
}

/// The subcommands.
fn command_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "COMMAND",
        &[
            ("(no subcommand)", "Describe every command."),
            ("COUNT", "Number of commands."),
            ("DOCS [<command-name> ...]", "Documentation of the named commands, or of all."),
            ("GETKEYS <full-command>", "The keys of a command line."),
            ("GETKEYSANDFLAGS <full-command>", "The keys of a command line and how each is accessed."),
            ("INFO [<command-name> ...]", "Describe the named commands, or all."),
            ("LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]", "Names of the commands."),
        ],
    );
    Ok(Flow::Done)
}

/// Describes the named commands, or all; an unknown name gives null.
/// Shape: `[command …]`
fn command_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() == 2 {
        describe_all(cx.reply);
        return Ok(Flow::Done);
    }
    cx.reply.array(args.count() - 2);
    for name in args.iter_from(2) {
        match table::lookup_full(name) {
            Some(row) => describe(cx.reply, row),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// Names of all commands and subcommands, or of those that pass a filter.
/// Shape: `[FILTERBY (MODULE name | ACLCAT category | PATTERN glob)]`
fn command_list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let names: Vec<&str> = match args.count() {
        2 => table::all().map(|row| row.full_name).collect(),
        5 if args.is(2, "filterby") => filtered(args.get(3), args.get(4))?,
        _ => return Err(ReplyError::Syntax),
    };
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(Flow::Done)
}

fn filtered(kind: &[u8], wanted: &[u8]) -> Result<Vec<&'static str>, ReplyError> {
    let keep: Box<dyn Fn(&Command) -> bool> = match kind.to_ascii_lowercase().as_slice() {
        b"module" => Box::new(|_| false), // There are no modules.
        b"aclcat" => {
            let named = CATEGORIES.iter().find(|(_, name)| name.as_bytes().eq_ignore_ascii_case(wanted));
            let category = named.map_or(0, |&(bit, _)| bit);
            Box::new(move |row| row.acl & category != 0)
        }
        b"pattern" => Box::new(|row| glob::matches_nocase(wanted, row.full_name.as_bytes())),
        _ => return Err(ReplyError::Syntax),
    };
    Ok(table::all().filter(|row| keep(row)).map(|row| row.full_name).collect())
}

/// The keys of the command line `inner`.
fn keys_of(inner: &Args<'_>) -> Result<Vec<keyspec::KeyAt>, ReplyError> {
    let Some(mut row) = table::lookup(inner.get(0)) else {
        return Err(ReplyError::text("ERR Invalid command specified"));
    };
    if !row.subs.is_empty() && inner.count() > 1 {
        let sub = table::lookup_sub(row, inner.get(1));
        row = sub.ok_or(ReplyError::text("ERR Invalid command specified"))?;
    }
    if row.keys.iter().all(|spec| spec.flags.contains(&"not_key")) {
        return Err(ReplyError::text("ERR The command has no key arguments"));
    }
    if !row.accepts(inner.count()) {
        return Err(ReplyError::text("ERR Invalid number of arguments specified for command"));
    }
    let keys = keyspec::positions(row, inner).unwrap_or_default();
    if keys.is_empty() && !row.has(flag::NO_MANDATORY_KEYS) {
        return Err(ReplyError::text("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

/// Flags in the order and under the names that COMMAND INFO uses; the others are not shown.
pub static FLAGS: &[(u32, &str)] = &[
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::ASKING, "asking"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
    (flag::NO_MULTI, "no_multi"),
    (flag::MOVABLE_KEYS, "movablekeys"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

/// ACL categories in Redis's order.
pub static CATEGORIES: &[(u32, &str)] = &[
    (acl::KEYSPACE, "keyspace"),
    (acl::READ, "read"),
    (acl::WRITE, "write"),
    (acl::SET, "set"),
    (acl::SORTEDSET, "sortedset"),
    (acl::LIST, "list"),
    (acl::HASH, "hash"),
    (acl::STRING, "string"),
    (acl::BITMAP, "bitmap"),
    (acl::HYPERLOGLOG, "hyperloglog"),
    (acl::GEO, "geo"),
    (acl::STREAM, "stream"),
    (acl::PUBSUB, "pubsub"),
    (acl::ADMIN, "admin"),
    (acl::FAST, "fast"),
    (acl::SLOW, "slow"),
    (acl::BLOCKING, "blocking"),
    (acl::DANGEROUS, "dangerous"),
    (acl::CONNECTION, "connection"),
    (acl::TRANSACTION, "transaction"),
    (acl::SCRIPTING, "scripting"),
];

/// The order in which Redis lists the flags of a key.
const KEY_FLAGS: &[&str] =
    &["RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags"];

fn describe_all(reply: &mut Reply) {
    reply.array(table::top().len());
    table::top().iter().for_each(|row| describe(reply, row));
}

/// One command, as COMMAND INFO shows it.
fn describe(reply: &mut Reply, row: &Command) {
    let (first, last, step) = row.legacy_keys;
    reply.array(10);
    reply.bulk(row.full_name.as_bytes());
    reply.int(row.arity as i64);
    names(reply, row.flags, FLAGS, "");
    [first, last, step].iter().for_each(|&number| reply.int(number as i64));
    names(reply, row.acl, CATEGORIES, "@");
    reply.set(row.tips.len());
    row.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(row.keys.len());
    row.keys.iter().for_each(|spec| key_spec(reply, spec));
    if row.subs.is_empty() {
        reply.set(0);
    } else {
        reply.array(row.subs.len());
        row.subs.iter().for_each(|sub| describe(reply, sub));
    }
}

/// The names of the bits that are set, as simple strings.
fn names(reply: &mut Reply, bits: u32, table: &[(u32, &str)], prefix: &str) {
    let set: Vec<_> = table.iter().filter(|&&(bit, _)| bits & bit != 0).collect();
    reply.set(set.len());
    set.iter().for_each(|(_, name)| reply.simple(&format!("{prefix}{name}")));
}

fn key_flags(reply: &mut Reply, flags: &[&str]) {
    let shown: Vec<_> = KEY_FLAGS.iter().filter(|name| flags.contains(name)).collect();
    reply.set(shown.len());
    shown.iter().for_each(|name| reply.simple(name));
}

fn key_spec(reply: &mut Reply, spec: &KeySpec) {
    reply.map(3);
    reply.bulk(b"flags");
    key_flags(reply, spec.flags);
    reply.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(pos) => spec_part(reply, "index", &[("index", pos)]),
        Begin::Keyword(word, from) => {
            part_type(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            reply.bulk(b"startfrom");
            reply.int(from as i64);
        }
        Begin::Unknown => spec_part(reply, "unknown", &[]),
    }
    reply.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            spec_part(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        Find::Count { num, first, step } => {
            spec_part(reply, "keynum", &[("keynumidx", num), ("firstkey", first), ("keystep", step)]);
        }
        Find::Unknown => spec_part(reply, "unknown", &[]),
    }
}

/// The head of a half of a key specification: its type, and a map of `fields` that follow.
fn part_type(reply: &mut Reply, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn spec_part(reply: &mut Reply, kind: &str, fields: &[(&str, i32)]) {
    part_type(reply, kind, fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.int(*value as i64);
    }
}

/// A map from command to its documentation.
fn documents(reply: &mut Reply, rows: &[&Command]) {
    reply.map(rows.len());
    for row in rows {
        reply.bulk(row.full_name.as_bytes());
        document(reply, row);
    }
}

/// What is known of a command, field by field in Redis's order; what is not known is left out.
fn document(reply: &mut Reply, row: &Command) {
    let doc = docs::of(row);
    let args = doc.map_or(Vec::new(), |doc| usage::parse(doc.usage));
    let history = doc.map_or(&[][..], |doc| &doc.history);
    let flags = [(row.deprecated.is_some(), "deprecated"), (doc.is_some_and(|doc| doc.is_syscmd), "syscmd")];
    let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    // Summary and complexity; since and group; deprecation; then one for each of the others.
    let parts = [!flags.is_empty(), !history.is_empty(), !args.is_empty(), !row.subs.is_empty()];
    let pairs = 2 * (doc.is_some() as usize + row.deprecated.is_some() as usize);
    reply.map(2 + pairs + parts.iter().filter(|&&part| part).count());
    if let Some(doc) = doc {
        field(reply, "summary", doc.summary);
    }
    field(reply, "since", row.since);
    field(reply, "group", row.group);
    if let Some(doc) = doc {
        field(reply, "complexity", doc.complexity);
    }
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        reply.set(flags.len());
        flags.iter().for_each(|name| reply.simple(name));
    }
    if let Some((since, replaced_by)) = row.deprecated {
        field(reply, "deprecated_since", since);
        field(reply, "replaced_by", replaced_by);
    }
    if !history.is_empty() {
        reply.bulk(b"history");
        reply.set(history.len());
        history.iter().for_each(|(version, change)| {
            reply.array(2);
            reply.bulk(version.as_bytes());
            reply.bulk(change.as_bytes());
        });
    }
    if !args.is_empty() {
        reply.bulk(b"arguments");
        arguments(reply, row, &args, &mut 0);
    }
    if !row.subs.is_empty() {
        reply.bulk(b"subcommands");
        documents(reply, &row.subs.iter().collect::<Vec<_>>());
    }
}

fn field(reply: &mut Reply, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

/// The arguments of one level. `keys_seen` counts keys over the whole tree.
fn arguments(reply: &mut Reply, row: &Command, args: &[Arg], keys_seen: &mut usize) {
    reply.array(args.len());
    args.iter().for_each(|arg| argument(reply, row, arg, keys_seen));
}

/// One argument with those that make it up. The keys name the specifications that find them, in their order; all that are
/// left over are found by the last one.
fn argument(reply: &mut Reply, row: &Command, arg: &Arg, keys_seen: &mut usize) {
    let (kind, inner) = match &arg.kind {
        Kind::Word(kind) => (*kind, None),
        Kind::OneOf(choices) => ("oneof", Some(choices)),
        Kind::Block(args) => ("block", Some(args)),
    };
    let key_spec = if kind == "key" { row.keys.len().checked_sub(1).map(|last| last.min(*keys_seen)) } else { None };
    *keys_seen += key_spec.is_some() as usize;
    let flags =
        [(arg.is_optional, "optional"), (arg.is_multiple, "multiple"), (arg.is_token_multiple, "multiple_token")];
    let flags: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let texts = [("token", arg.token), ("since", arg.since), ("deprecated_since", arg.deprecated_since)];
    let texts = || texts.iter().filter_map(|&(name, text)| Some((name, text?)));
    // Name, type, and either a text to show or the arguments inside.
    reply.map(3 + key_spec.is_some() as usize + texts().count() + !flags.is_empty() as usize);
    field(reply, "name", &arg.name);
    field(reply, "type", kind);
    if inner.is_none() {
        field(reply, "display_text", &arg.display);
    }
    if let Some(index) = key_spec {
        reply.bulk(b"key_spec_index");
        reply.int(index as i64);
    }
    texts().for_each(|(name, text)| field(reply, name, text));
    if !flags.is_empty() {
        reply.bulk(b"flags");
        reply.set(flags.len());
        flags.iter().for_each(|name| reply.simple(name));
    }
    if let Some(inner) = inner {
        reply.bulk(b"arguments");
        arguments(reply, row, inner, keys_seen);
    }
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn unknown_commands_are_null_in_info_and_absent_in_docs() {
        check(
            "
            COMMAND INFO nosuch 'command|nosuch' => [(nil), (nil)]
            COMMAND DOCS nosuch => [] || {}
            COMMAND DOCS strlen => ['strlen', ['summary', 'The length of a string.', 'since', '2.2.0', 'group', 'string', 'complexity', 'O(1)', 'arguments', [['name', 'key', 'type', 'key', 'display_text', 'key', 'key_spec_index', 0]]]] || *
        ",
        );
    }

    #[test]
    fn info_describes_a_subcommand_by_its_full_name() {
        check(
            "
            COMMAND INFO command|COUNT => [['command|count', 2, [loading, stale], 0, 0, 0, [@slow, @connection], [], [], []]] || [['command|count', 2, ~[loading, stale], 0, 0, 0, ~[@slow, @connection], ~[], ~[], ~[]]]
        ",
        );
    }

    #[test]
    fn list_takes_one_filter() {
        check(
            "
            COMMAND LIST FILTERBY PATTERN COMMAND|GETKEYS* => ['command|getkeys', 'command|getkeysandflags']
            COMMAND LIST FILTERBY MODULE x => []
            COMMAND LIST FILTERBY ACLCAT nosuch => []
            COMMAND LIST FILTERBY COLOUR red => ERR syntax error
            COMMAND LIST FILTERBY PATTERN => ERR syntax error
            COMMAND LIST PATTERN => ERR syntax error
        ",
        );
    }

    #[test]
    fn getkeys_finds_keys_and_their_access() {
        check(
            "
            COMMAND GETKEYS GET a => ['a']
            COMMAND GETKEYS mset a 1 b 2 => ['a', 'b']
            COMMAND GETKEYS GET a b => ERR Invalid number of arguments specified for command
            COMMAND GETKEYSANDFLAGS SET a b => [['a', [OW, update]]] || [['a', ~[OW, update]]]
            COMMAND GETKEYSANDFLAGS SET a b GET => [['a', [RW, access, update]]] || [['a', ~[RW, access, update]]]
            COMMAND GETKEYS MEMORY USAGE a => ['a']
        ",
        );
    }

    #[test]
    fn getkeys_refuses_what_has_no_keys() {
        check(
            "
            COMMAND GETKEYS nosuch a => ERR Invalid command specified
            COMMAND GETKEYS ping a => ERR The command has no key arguments
            COMMAND GETKEYS => ERR wrong number of arguments for 'command|getkeys' command
            COMMAND NOSUCH => ERR unknown subcommand 'NOSUCH'. Try COMMAND HELP.
        ",
        );
    }
}
