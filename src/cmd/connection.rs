//! The connection family: who the client is, which protocol it speaks, which database it works on.

use super::auth::{self, Login};
use super::command::{Command, Cx, Flow, Handler, acl, cmd, flag};
use super::database;
use super::pubsub;
use super::redact;
use super::session::{Session, Standing};
use crate::admin::clients::client_flag;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Proto;

/// What may run before authentication, while loading, and when a script hogs the server.
const ENTRANCE: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::NO_AUTH | flag::ALLOW_BUSY;
const ALWAYS: u32 = flag::LOADING | flag::STALE | flag::FAST;

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).acl(acl::CONNECTION).group("connection", since)
}

pub static ROWS: &[Command] = &[
    row("auth", auth, -2, ENTRANCE | flag::SENTINEL, "1.0.0").secrets(redact::all_from_1),
    row("echo", echo, 2, ALWAYS, "1.0.0"),
    row("hello", hello, -1, ENTRANCE | flag::SENTINEL, "6.0.0").secrets(redact::behind_auth),
    row("ping", ping, -1, flag::FAST | flag::SENTINEL | flag::WHILE_SUBSCRIBED, "1.0.0")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    row("quit", quit, -1, ENTRANCE | flag::UNQUEUED | flag::WHILE_SUBSCRIBED, "1.0.0")
        .deprecated("7.2.0", "just closing the connection"),
    row("reset", reset, 1, ENTRANCE | flag::UNQUEUED | flag::WHILE_SUBSCRIBED | flag::SUBSCRIBES, "6.2.0"),
    row("select", select, 2, ALWAYS, "1.0.0"),
];

/// Logs in.
/// Shape:  `[username] password`
/// Errors: wrong pair; a password although none is configured.
fn auth(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let login = match args.count() {
        2 if cx.world.acl.default_user().needs_no_password() => {
            return Err(ReplyError::text(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => Login::with_password(args.get(1)),
        3 => Login { user: args.get(1), password: args.get(2) },
        _ => return Err(ReplyError::Syntax),
    };
    auth::log_in(cx.world, cx.session, &login, args.get(0))?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Answers the message.
fn echo(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.bulk(args.get(1));
    Ok(Flow::Done)
}

/// Switches the protocol and says who we are. Nothing changes unless every option is right, except that a login stays.
/// Shape:  `[version [AUTH username password] [SETNAME name]]`
/// Errors: version, options, a wrong pair, not logged in.
fn hello(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let proto = if args.count() > 1 { Some(protocol(args.get(1))?) } else { None };
    let options = HelloOptions::parse(&args)?;
    if let Some(login) = &options.login {
        auth::log_in(cx.world, cx.session, login, args.get(0))?;
    }
    if cx.session.standing(&cx.world.acl) == Standing::LoggedOut {
        return Err(ReplyError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time",
        ));
    }
    if let Some(name) = options.name {
        cx.session.set_name(name);
    }
    if let Some(proto) = proto {
        set_protocol(cx, proto);
    }
    introduce(cx);
    Ok(Flow::Done)
}

fn protocol(version: &[u8]) -> Result<Proto, ReplyError> {
    match parse_i64(version) {
        None => Err(ReplyError::text("ERR Protocol version is not an integer or out of range")),
        Some(2) => Ok(Proto::Resp2),
        Some(3) => Ok(Proto::Resp3),
        Some(_) => Err(ReplyError::text("NOPROTO unsupported protocol version")),
    }
}

/// What follows the version of HELLO.
#[derive(Default)]
struct HelloOptions<'a> {
    login: Option<Login<'a>>,
    name: Option<&'a [u8]>,
}

impl<'a> HelloOptions<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, ReplyError> {
        let mut options = HelloOptions::default();
        let mut at = 2;
        while at < args.count() {
            let left = args.count() - at - 1;
            if args.is(at, "auth") && left >= 2 {
                options.login = Some(Login { user: args.get(at + 1), password: args.get(at + 2) });
                at += 3;
            } else if args.is(at, "setname") && left >= 1 {
                options.name = Some(checked_name(args.get(at + 1))?);
                at += 2;
            } else {
                let option = escaped(args.get(at));
                return Err(ReplyError::owned(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        }
        Ok(options)
    }
}

/// A client's name may hold printable ASCII without spaces, so that CLIENT LIST stays one line of words.
pub fn checked_name(name: &[u8]) -> Result<&[u8], ReplyError> {
    if is_word(name) {
        return Ok(name);
    }
    Err(ReplyError::text("ERR Client names cannot contain spaces, newlines or special characters."))
}

/// Only printable ASCII, no spaces.
pub fn is_word(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_graphic())
}

fn set_protocol(cx: &mut Cx<'_>, proto: Proto) {
    cx.reply.proto = proto;
    cx.session.info.set(client_flag::RESP3, proto == Proto::Resp3);
    cx.session.settle_subscriptions(&cx.world.pubsub, proto);
}

/// The reply of HELLO.
fn introduce(cx: &mut Cx<'_>) {
    let (reply, id) = (&mut *cx.reply, cx.session.id.0);
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(super::world::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(if reply.proto == Proto::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.int(id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(b"master");
    reply.bulk(b"modules");
    reply.array(0);
}

/// Answers PONG, or the message; in the form of a message where the client can read nothing else.
/// Shape: `[message]`
fn ping(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.count() {
        1 | 2 if cx.session.is_confined() => {
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            cx.reply.bulk(if args.count() == 2 { args.get(1) } else { b"" });
        }
        1 => cx.reply.raw(b"+PONG\r\n"),
        2 => cx.reply.bulk(args.get(1)),
        _ => return Err(ReplyError::text("ERR wrong number of arguments for 'ping' command")),
    }
    Ok(Flow::Done)
}

/// Says OK and closes.
fn quit(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.ok();
    Ok(Flow::Close)
}

/// Makes the connection as it was when it was accepted.
fn reset(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    if cx.session.is_monitor {
        cx.session.set_monitor(false);
        cx.world.attention.remove_monitor(cx.session.home);
    }
    pubsub::forget_all(cx);
    cx.session.unwatch(&cx.world.watched);
    cx.session.end_tracking(&cx.world.tracking);
    Session::reset(cx.session, &cx.world.acl);
    set_protocol(cx, Proto::Resp2);
    cx.reply.simple("RESET");
    Ok(Flow::Done)
}

/// Chooses the database of the following commands.
fn select(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let db = database::index(cx, args.get(1))?;
    cx.session.select(db);
    cx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::command::Flow;
    use crate::cmd::testkit::{Client, Line, check};
    use crate::resp::reply::Proto;

    #[test]
    fn select_takes_existing_databases_only() {
        check(
            "
            SELECT 15 => OK
            SELECT 16 => ERR DB index is out of range
            SELECT -1 => ERR DB index is out of range
            SELECT x => ERR value is not an integer or out of range
            SELECT 3000000000 => ERR value is out of range, value must between -2147483648 and 2147483647
        ",
        );
    }

    #[test]
    fn hello_checks_its_options_before_it_changes_anything() {
        check(
            "
            HELLO x => ERR Protocol version is not an integer or out of range
            HELLO 4 => NOPROTO unsupported protocol version
            HELLO 3 SETNAME => ERR Syntax error in HELLO option 'SETNAME'
            HELLO 3 SETNAME 'a b' => ERR Client names cannot contain spaces, newlines or special characters.
            HELLO 3 AUTH bob secret => WRONGPASS invalid username-password pair or user is disabled.
            CLIENT GETNAME => (nil)
            HELLO 2 SETNAME me => ['server', 'redis', 'version', '7.2.4', 'proto', 2, 'id', 1, 'mode', 'standalone', 'role', 'master', 'modules', []]
            HELLO 3 AUTH default x => {'server': 'redis', 'version': '7.2.4', 'proto': 3, 'id': 1, 'mode': 'standalone', 'role': 'master', 'modules': []}
            CLIENT GETNAME => 'me'
        ",
        );
    }

    #[test]
    fn reset_restores_a_fresh_connection() {
        let mut client = Client::new();
        for line in ["HELLO 3 SETNAME me", "SELECT 3", "CLIENT NO-EVICT on"] {
            client.run_line(line);
        }
        assert_eq!(client.run_line("RESET"), "RESET");
        assert_eq!((client.reply.proto, client.session.db.0, client.session.no_evict), (Proto::Resp2, 0, false));
        assert_eq!(client.run_line("CLIENT GETNAME"), "(nil)");
    }

    #[test]
    fn quit_says_ok_and_closes() {
        let (reply, flow) = Client::new().run(&Line::new("QUIT"));
        assert_eq!((reply.as_slice(), flow), (&b"+OK\r\n"[..], Flow::Close));
    }

    #[test]
    fn auth_without_a_password_says_so() {
        check(
            "
            AUTH x => ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
            AUTH default x => OK
            AUTH bob x => WRONGPASS invalid username-password pair or user is disabled.
            AUTH a b c => ERR syntax error
            PING => PONG
            PING 'a b' => 'a b'
            PING a b => ERR wrong number of arguments for 'ping' command
        ",
        );
    }
}
