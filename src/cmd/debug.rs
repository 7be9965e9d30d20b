//! DEBUG: what tests need. `enable-debug-command` decides who may use it. Its default is `local` (Redis: `no`), so that
//! test suites work against a plain start and a remote client still cannot stop a loop with SLEEP.

use super::command::{Command, Cx, Flow, cmd, flag};
use super::help::help;
use crate::admin::params::Id;
use crate::base::sync::Ordering;
use crate::keyspace::types::encoding_name;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::resp::reply::Proto;
use std::time::Duration;

pub static ROWS: &[Command] = &[cmd("debug", debug)
    .arity(-2)
    .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::PROTECTED)
    .group("server", "1.0.0")];

/// Runs a subcommand for tests.
/// Errors: not from this machine; unknown subcommand or wrong number of arguments.
fn debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if !is_allowed(cx) {
        return Err(ReplyError::text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
             local connection, otherwise you need to set this option in the configuration file, and then restart the \
             server.",
        ));
    }
    match (args.get(1).to_ascii_lowercase().as_slice(), args.count()) {
        (b"help", 2) => debug_help(cx),
        (b"jmap", 2) => cx.reply.ok(), // A Java tool's habit: harmless.
        (b"log", 3) => cx.reply.ok(),
        (b"object", 3..) => debug_object(cx, args)?,
        (b"protocol", 3) => debug_protocol(cx, args.get(2))?,
        (b"set-active-expire", 3) => {
            let on = (args.get(2) != b"0") as u32;
            cx.world.active_expire.store(on, Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"sleep", 3) => debug_sleep(cx, args.get(2)),
        _ => {
            let word = String::from_utf8_lossy(args.get(1));
            return Err(ReplyError::owned(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP."
            )));
        }
    }
    Ok(Flow::Done)
}

fn is_allowed(cx: &Cx<'_>) -> bool {
    match cx.world.config.word(Id::ENABLE_DEBUG_COMMAND) {
        "yes" => true,
        "local" => cx.session.info.endpoints.is_local(),
        _ => false,
    }
}

fn debug_help(cx: &mut Cx<'_>) {
    help(
        cx.reply,
        "DEBUG",
        &[
            ("JMAP", "Do nothing."),
            ("LOG <message>", "Do nothing."),
            ("OBJECT <key>", "Show address, encoding and size of a value."),
            ("PROTOCOL <type>", "Reply with a value of that protocol type."),
            ("SET-ACTIVE-EXPIRE (0|1)", "Stop or start the active removal of expired keys."),
            ("SLEEP <seconds>", "Stop this client's event loop for a time; decimals are allowed."),
        ],
    );
}

/// Where a value lies and how it is stored.
fn debug_object(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let key = cx.key(&args, 2);
    let entry = cx.keys.peek(key).ok_or(ReplyError::NoSuchKey)?;
    let line = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:0",
        entry.as_ptr(),
        encoding_name(entry),
        entry.memory(),
        entry.recency(),
    );
    cx.reply.simple(&line);
    Ok(())
}

/// Blocks the loop, epoch pin included: other loops go on, but nothing that they remove meanwhile is freed.
fn debug_sleep(cx: &mut Cx<'_>, seconds: &[u8]) {
    let seconds: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    cx.reply.ok();
}

/// One value of each protocol type, as clients' own tests expect them.
#[expect(clippy::approx_constant, reason = "the protocol's example, not a bad pi")]
fn debug_protocol(cx: &mut Cx<'_>, kind: &[u8]) -> Result<(), ReplyError> {
    let reply = &mut *cx.reply;
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(3.141),
        b"bignum" if reply.proto == Proto::Resp3 => reply.raw(b"(1234567999999999999999999999999999999\r\n"),
        b"bignum" => reply.bulk(b"1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.int(number));
        }
        b"map" => {
            reply.map(3);
            (0..3).for_each(|number| {
                reply.int(number);
                reply.boolean(number == 1);
            });
        }
        b"attrib" => {
            if reply.proto == Proto::Resp3 {
                reply.raw(b"|1\r\n");
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.proto == Proto::Resp2 => {
            return Err(ReplyError::text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
            reply.bulk(b"Some real reply following the push reply"); // A push is not the answer to anything.
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(ReplyError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::admin::params::Id;
    use crate::cmd::testkit::{Client, check};

    #[test]
    fn every_protocol_type_has_its_form() {
        check(
            "
            DEBUG PROTOCOL integer => 12345
            DEBUG PROTOCOL double => '3.141' || ,3.141
            DEBUG PROTOCOL null => (nil)
            DEBUG PROTOCOL set => [0, 1, 2] || ~[0, 1, 2]
            DEBUG PROTOCOL map => [0, 0, 1, 1, 2, 0] || {0: #f, 1: #t, 2: #f}
            DEBUG PROTOCOL true => 1 || #t
            DEBUG PROTOCOL verbatim => 'This is a verbatim\\nstring'
            DEBUG PROTOCOL attrib => 'Some real reply following the attribute' || |{'key-popularity': ['key:123', 90]} 'Some real reply following the attribute'
            DEBUG PROTOCOL push => ERR RESP2 is not supported by this command || >['server-cpu-usage', 42] 'Some real reply following the push reply'
        ",
        );
    }

    #[test]
    fn debug_is_for_this_machine_unless_allowed_to_all() {
        let mut client = Client::new();
        let mut ask = |word: &str| {
            client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &[word.into()]).unwrap();
            client.run_line("DEBUG JMAP")
        };
        assert_eq!((ask("local"), ask("yes")), ("OK".into(), "OK".into()));
        assert!(ask("no").starts_with("ERR DEBUG command not allowed. If the enable-debug-command option"));
    }

    #[test]
    fn unknown_subcommands_are_refused() {
        check(
            "
            DEBUG nosuch => ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try DEBUG HELP.
            DEBUG SLEEP => ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.
            DEBUG SLEEP 0.001 => OK
            DEBUG OBJECT nosuch => ERR no such key
        ",
        );
    }
}
