//! FUNCTION: libraries of functions, and what is known about them.

use super::command::{Command, Cx, Flow, Handler, acl, cmd, flag};
use super::functions::{Function, Library, Policy};
use super::help::help;
use super::scripts::Running;
use super::table;
use crate::base::clock::MonoNs;
use crate::base::glob;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;
use crate::script::payload;

const fn sub(name: &'static str, run: Handler, arity: i32, flags: u32) -> Command {
    cmd(name, run).arity(arity).flags(flags).acl(acl::SCRIPTING).group("scripting", "7.0.0")
}

const CHANGE: u32 = flag::NOSCRIPT | flag::WRITE;
const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub static ROWS: &[Command] = &[cmd("function", table::container).arity(-2).group("scripting", "7.0.0").subs(&[
    sub("delete", function_delete, 3, CHANGE).tips(EVERYWHERE),
    sub("dump", function_dump, 2, flag::NOSCRIPT),
    sub("flush", function_flush, -2, CHANGE).tips(EVERYWHERE),
    sub("help", function_help, 2, flag::LOADING | flag::STALE),
    sub("kill", function_kill, 2, flag::NOSCRIPT | flag::ALLOW_BUSY)
        .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    sub("list", function_list, -2, flag::NOSCRIPT).tips(&["nondeterministic_output_order"]),
    sub("load", function_load, -3, CHANGE | flag::DENYOOM).tips(EVERYWHERE),
    sub("restore", function_restore, -3, CHANGE | flag::DENYOOM).tips(EVERYWHERE),
    sub("stats", function_stats, 2, flag::NOSCRIPT | flag::ALLOW_BUSY).tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
])];

/// Adds a library; replies its name.
/// Shape:  [REPLACE] code
/// Errors: the first line, the text, what it registers; names that are taken. Nothing has changed then.
fn function_load(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let code_at = args.count() - 1;
    for at in 2..code_at {
        if !args.is(at, "replace") {
            return Err(ReplyError::owned(format!("ERR Unknown option given: {}", escaped(args.get(at)))));
        }
    }
    let name = cx.world.functions.load(args.get(code_at), code_at > 2)?;
    cx.effects.dirty += 1;
    cx.reply.bulk(&name);
    Ok(Flow::Done)
}

/// Takes a library away.
fn function_delete(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if !cx.world.functions.delete(args.get(2)) {
        return Err(ReplyError::text("ERR Library not found"));
    }
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Takes all libraries away.
/// Shape: [ASYNC|SYNC]: there is so little to free that both are the same.
fn function_flush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 3 {
        return Err(subcommand_syntax("FUNCTION", &args));
    }
    if args.count() == 3 && !args.is(2, "sync") && !args.is(2, "async") {
        return Err(ReplyError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    cx.world.functions.flush();
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn subcommand_syntax(container: &str, args: &Args<'_>) -> ReplyError {
    let word = escaped(args.get(1));
    ReplyError::owned(format!(
        "ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP."
    ))
}

/// The libraries, by name.
/// Shape: [LIBRARYNAME pattern] [WITHCODE], in any order, each once
fn function_list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (mut pattern, mut has_code, mut at) = (None, false, 2);
    while at < args.count() {
        match () {
            _ if !has_code && args.is(at, "withcode") => has_code = true,
            _ if pattern.is_none() && args.is(at, "libraryname") => {
                if at + 1 == args.count() {
                    return Err(ReplyError::text("ERR library name argument was not given"));
                }
                at += 1;
                pattern = Some(args.get(at));
            }
            _ => return Err(ReplyError::owned(format!("ERR Unknown argument {}", escaped(args.get(at))))),
        }
        at += 1;
    }
    let catalogue = cx.world.functions.catalogue();
    let is_wanted = |library: &Library| pattern.is_none_or(|pattern| glob::matches_nocase(pattern, &library.name));
    let wanted: Vec<_> = catalogue.libraries().filter(|library| is_wanted(library)).collect();
    cx.reply.array(wanted.len());
    for library in wanted {
        reply_library(cx.reply, library, has_code);
    }
    Ok(Flow::Done)
}

fn reply_library(reply: &mut Reply, library: &Library, has_code: bool) {
    reply.map(if has_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    library.functions.iter().for_each(|function| reply_function(reply, function));
    if has_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}

fn reply_function(reply: &mut Reply, function: &Function) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(&function.name);
    reply.bulk(b"description");
    match &function.description {
        Some(text) => reply.bulk(text),
        None => reply.null(),
    }
    reply.bulk(b"flags");
    reply.set(function.flags.names().count());
    function.flags.names().for_each(|name| reply.simple(name));
}

/// The libraries as bytes for FUNCTION RESTORE, also of other servers.
fn function_dump(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let catalogue = cx.world.functions.catalogue();
    cx.reply.bulk(&payload::write(catalogue.libraries().map(|library| &*library.source)));
    Ok(Flow::Done)
}

/// Adds the libraries of a payload: all or none.
/// Shape:  payload [APPEND|REPLACE|FLUSH]
/// Errors: the payload; as FUNCTION LOAD. Nothing has changed then.
fn function_restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.count() > 4 {
        return Err(subcommand_syntax("FUNCTION", &args));
    }
    let policy = match () {
        _ if args.count() == 3 || args.is(3, "append") => Policy::Append,
        _ if args.is(3, "replace") => Policy::Replace,
        _ if args.is(3, "flush") => Policy::Flush,
        _ => {
            return Err(ReplyError::text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let sources = payload::read(args.get(2)).map_err(|message| ReplyError::owned(format!("ERR {message}")))?;
    cx.world.functions.restore(&sources, policy)?;
    cx.effects.dirty += 1;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// What runs, and how much there is. A function that is not over in time lets others ask; nobody meets any other.
/// Errors: it is a script of EVAL that runs.
fn function_stats(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let (catalogue, busy) = (cx.world.functions.catalogue(), &cx.world.scripts.busy);
    if busy.is_on() && !busy.is_function() {
        return Err(busy.refusal());
    }
    cx.reply.map(2);
    cx.reply.bulk(b"running_script");
    match busy.running() {
        Some(running) => reply_running(cx.reply, &running),
        None => cx.reply.null(),
    }
    cx.reply.bulk(b"engines");
    cx.reply.map(1);
    cx.reply.bulk(b"LUA");
    cx.reply.map(2);
    cx.reply.bulk(b"libraries_count");
    cx.reply.int(catalogue.libraries().len() as i64);
    cx.reply.bulk(b"functions_count");
    cx.reply.int(catalogue.function_count() as i64);
    Ok(Flow::Done)
}

fn reply_running(reply: &mut Reply, running: &Running) {
    reply.map(3);
    reply.bulk(b"name");
    reply.bulk(running.name.as_bytes());
    reply.bulk(b"command");
    reply.array(running.command.len());
    running.command.iter().for_each(|word| reply.bulk(word));
    reply.bulk(b"duration_ms");
    reply.int(MonoNs::now().since(running.since).as_millis() as i64);
}

/// Ends a function that runs too long.
fn function_kill(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.scripts.busy.kill(true)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn function_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let entries = [
        ("DELETE <library-name>", "Take a library away."),
        ("DUMP", "All libraries as bytes that RESTORE takes."),
        ("FLUSH [ASYNC|SYNC]", "Take all libraries away."),
        ("KILL", "End a function that runs too long and has not written."),
        ("LIST [LIBRARYNAME <pattern>] [WITHCODE]", "The libraries, their functions, and their code if asked for."),
        ("LOAD [REPLACE] <code>", "Add a library, or put it in the place of the one of its name."),
        (
            "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
            "Add the libraries of a payload: instead of all that are there, only if their\nnames are free (the default), or \
             in the place of those of their names.",
        ),
        ("STATS", "What runs, and the number of libraries and functions."),
    ];
    help(cx.reply, "FUNCTION", &entries);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::{Client, Line, check, check_on};

    #[test]
    fn libraries_are_loaded_listed_and_deleted() {
        check(
            "
            FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function(keys, args) return 1 end)\" => 'one'
            FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function() end)\" => ERR Library 'one' already exists
            FUNCTION LOAD REPLACE \"#!lua name=one\\nredis.register_function{function_name='g', description='d', flags={'no-writes', 'allow-oom'}, callback=function() end}\" => 'one'
            FUNCTION LIST => [['library_name', 'one', 'engine', 'LUA', 'functions', [['name', 'g', 'description', 'd', 'flags', [no-writes, allow-oom]]]]] || [{'library_name': 'one', 'engine': 'LUA', 'functions': [{'name': 'g', 'description': 'd', 'flags': ~[no-writes, allow-oom]}]}]
            FUNCTION LOAD \"#!lua name=two\\nredis.register_function('g', function() end)\" => ERR Function g already exists
            FUNCTION LOAD \"#!lua name=two\\nserver.register_function('h', function() end)\" => 'two'
            FUNCTION LIST LIBRARYNAME T* WITHCODE => [['library_name', 'two', 'engine', 'LUA', 'functions', [['name', 'h', 'description', (nil), 'flags', []]], 'library_code', '#!lua name=two\\nserver.register_function(\\'h\\', function() end)']] || [{'library_name': 'two', 'engine': 'LUA', 'functions': [{'name': 'h', 'description': (nil), 'flags': ~[]}], 'library_code': '#!lua name=two\\nserver.register_function(\\'h\\', function() end)'}]
            FUNCTION STATS => ['running_script', (nil), 'engines', ['LUA', ['libraries_count', 2, 'functions_count', 2]]] || {'running_script': (nil), 'engines': {'LUA': {'libraries_count': 2, 'functions_count': 2}}}
            FUNCTION DELETE two => OK
            FUNCTION DELETE two => ERR Library not found
            FUNCTION FLUSH ASYNC => OK
            FUNCTION FLUSH NOW => ERR FUNCTION FLUSH only supports SYNC|ASYNC option
            FUNCTION LIST => []
            FUNCTION LIST what => ERR Unknown argument what
            FUNCTION LIST LIBRARYNAME => ERR library name argument was not given
            FUNCTION LOAD what code => ERR Unknown option given: what
            FUNCTION KILL => NOTBUSY No scripts in execution right now.
            FUNCTION HELP => *
            ",
        );
    }

    #[test]
    fn a_bad_library_changes_nothing() {
        let bad = "ERR Error registering functions: ERR";
        let cases = [
            ("x", "ERR Missing library metadata"),
            ("#!lua", "ERR Invalid library metadata"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#!lua name=a b\n", "ERR Invalid metadata value given: b"),
            ("#!lua name=a name=b\n", "ERR Invalid metadata value, name argument was given multiple times"),
            ("#!js name=a\n", "ERR Engine 'js' not found"),
            ("#!lua name=a\nreturn 1", "ERR No functions registered"),
            ("#!lua name=a\nx(", "ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'"),
            (
                "#!lua name=a\nredis.call('ping')",
                &format!("{bad} user_function:2: Script attempted to access nonexistent global variable 'call'"),
            ),
            (
                "#!lua name=a\nreturn math.random()",
                &format!("{bad} user_function:2: Script attempted to access nonexistent global variable 'math'"),
            ),
            ("#!lua name=a\nx = 1", &format!("{bad} user_function:2: Attempt to modify a readonly table")),
            ("#!lua name=a\nredis.x = 1", &format!("{bad} user_function:2: Attempt to modify a readonly table")),
            (
                "#!lua name=a\nredis.register_function('f')",
                &format!(
                    "{bad} calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments)."
                ),
            ),
            (
                "#!lua name=a\nredis.register_function(1, 2)",
                &format!("{bad} second argument to redis.register_function must be a function"),
            ),
            (
                "#!lua name=a\nredis.register_function{function_name='f', flags={'x'}, callback=redis.log}",
                &format!("{bad} unknown flag given"),
            ),
            (
                "#!lua name=a\nlocal f = function() end redis.register_function('f', f) redis.register_function('f', f)",
                &format!("{bad} Function already exists in the library"),
            ),
        ];
        let mut client = Client::new();
        for (code, expected) in cases {
            let reply = client.run(&Line::of(&[b"FUNCTION", b"LOAD", code.as_bytes()])).0;
            assert_eq!(String::from_utf8_lossy(&reply).trim_end(), format!("-{expected}"), "{code}");
        }
        check_on(&mut client, "FUNCTION LIST => []");
    }

    #[test]
    fn libraries_come_back_from_their_payload() {
        let mut client = Client::new();
        check_on(
            &mut client,
            "FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function() return 1 end)\" => 'one'",
        );
        let dump = client.raw("FUNCTION DUMP");
        let start = dump.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let payload = &dump[start..dump.len() - 2];
        let mut restore = |policy: &str| {
            let reply = client.run(&Line::of(&[b"FUNCTION", b"RESTORE", payload, policy.as_bytes()])).0;
            String::from_utf8_lossy(&reply).trim_end().to_string()
        };
        assert_eq!(restore("APPEND"), "-ERR Library one already exists");
        assert_eq!(restore("REPLACE"), "+OK");
        assert_eq!(restore("FLUSH"), "+OK");
        assert!(restore("what").starts_with("-ERR Wrong restore policy given"));
        check_on(
            &mut client,
            "FUNCTION STATS => ['running_script', (nil), 'engines', ['LUA', ['libraries_count', 1, 'functions_count', 1]]]
             FUNCTION RESTORE bytes => ERR DUMP payload version or checksum are wrong",
        );
    }
}
