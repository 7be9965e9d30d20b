//! The CLIENT family: names of a connection, its switches, and the list of all connections.
//!
//! A client of another loop is seen through the registry and never touched: CLIENT KILL leaves its id in the effects, and
//! the loop that owns it closes it.

mod filter;
mod line;
mod tracking;
mod wait;

use filter::{Asked, Filter};
pub use line::memory;
pub use wait::{deadline, patience, patience_ms};

use super::command::{Command, Cx, Flow, Handler, acl, cmd, flag};
use super::connection::{checked_name, is_word};
use super::help::help;
use super::resume::{Resumable, Slice, Step};
use super::session::ReplyMode;
use super::table;
use crate::admin::clients::{ClientInfo, client_flag};
use crate::base::clock::WallMs;
use crate::base::ids::ClientId;
use crate::journal::hub::Durability;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use std::sync::Arc;

const ALWAYS: u32 = flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::SENTINEL;
const OTHERS: u32 = ALWAYS | flag::ADMIN;
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
/// Bytes of most lines of CLIENT LIST.
const LINE_LEN: usize = 400;
/// Lines that are written between two looks at the clock.
const CLIENTS_PER_LOOK: usize = 16;
/// From this length on a list is sent by reference.
const SHARED_LEN_MIN: usize = 16 << 10;
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).acl(acl::CONNECTION).group("connection", since)
}

const NO_LOG: ReplyError =
    ReplyError::text("ERR CLIENT DURABILITY EVERYSEC and FSYNC need an append-only file, but 'appendonly' is 'no'.");

pub static ROWS: &[Command] =
    &[cmd("client", table::container).arity(-2).flags(flag::SENTINEL).group("connection", "2.4.0").subs(&[
        row("caching", tracking::client_caching, 3, ALWAYS, "6.0.0"),
        row("capa", client_capa, -3, flag::NOSCRIPT | flag::LOADING | flag::STALE, "8.0.0"),
        row("durability", client_durability, 3, ALWAYS, "0.1.0"),
        row("getname", client_getname, 2, ALWAYS, "2.6.9"),
        row("getredir", tracking::client_getredir, 2, ALWAYS, "6.0.0"),
        row("help", client_help, 2, flag::LOADING | flag::STALE | flag::SENTINEL, "5.0.0"),
        row("id", client_id, 2, ALWAYS, "5.0.0"),
        row("info", client_info, 2, ALWAYS, "6.2.0").tips(VARIES),
        row("kill", client_kill, -3, OTHERS, "2.4.0"),
        row("list", client_list, -2, OTHERS, "2.4.0").tips(VARIES),
        row("no-evict", client_no_evict, 3, OTHERS, "7.0.0"),
        row("no-touch", client_no_touch, 3, flag::NOSCRIPT | flag::LOADING | flag::STALE, "7.2.0"),
        row("pause", wait::client_pause, -3, OTHERS, "3.0.0"),
        row("reply", client_reply, 3, ALWAYS, "3.2.0"),
        row("setinfo", client_setinfo, 4, ALWAYS, "7.2.0").tips(EVERYWHERE),
        row("setname", client_setname, 3, ALWAYS, "2.6.9").tips(EVERYWHERE),
        row("tracking", tracking::client_tracking, -3, ALWAYS, "6.0.0"),
        row("trackinginfo", tracking::client_trackinginfo, 2, ALWAYS, "6.2.0"),
        row("unblock", wait::client_unblock, -3, OTHERS, "5.0.0"),
        row("unpause", wait::client_unpause, 2, OTHERS, "6.2.0"),
    ])];

/// Notes what the client can do. Words that say nothing to this server are taken all the same.
/// Shape: `REDIRECT …`: it goes elsewhere when it is told to
fn client_capa(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if args.iter_from(2).any(|word| word.eq_ignore_ascii_case(b"redirect")) {
        cx.session.info.set(client_flag::CAN_REDIRECT, true);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The connection's name, or null.
fn client_getname(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    match cx.session.info.names().name {
        name if name.is_empty() => cx.reply.null(),
        name => cx.reply.bulk(&name),
    }
    Ok(Flow::Done)
}

/// The subcommands.
fn client_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "CLIENT",
        &[
            ("CACHING (YES|NO)", "Track the keys of the next command, or do not, in OPTIN and OPTOUT modes."),
            ("CAPA <option> [<option> ...]", "Tell what the client can do: REDIRECT."),
            (
                "DURABILITY (DEFAULT|NONE|EVERYSEC|FSYNC)",
                "When writes of this connection are answered:\n\
                 * DEFAULT\n\
                 \x20 As 'appendfsync' says.\n\
                 * NONE\n\
                 \x20 At once.\n\
                 * EVERYSEC\n\
                 \x20 At once; they are on the disk about a second later.\n\
                 * FSYNC\n\
                 \x20 When they are on the disk.",
            ),
            ("GETNAME", "Name of this connection."),
            ("GETREDIR", "Number of the connection that invalidations are sent to."),
            ("ID", "Number of this connection."),
            ("INFO", "What LIST says about this connection."),
            ("KILL <ip:port>", "Close the connection from that address."),
            (
                "KILL <option> <value> [<option> <value> [...]]",
                "Close connections that fit all options:\n\
                 * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)\n\
                 \x20 Address of the client, or the address it connected to.\n\
                 * IP <ip>, TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB), USER <username>, DB <number>\n\
                 * ID <client-id> [<client-id> ...]\n\
                 * NAME <name>, LIB-NAME <name>, LIB-VER <version>\n\
                 * FLAGS <letters>, CAPA <letters>\n\
                 \x20 All of these letters, as LIST shows them.\n\
                 * NOT-<option> <value>\n\
                 \x20 The opposite of any of them.\n\
                 * MAXAGE <seconds>, IDLE <seconds>\n\
                 \x20 Connected, or silent, for at least that long.\n\
                 * SKIPME (YES|NO)\n\
                 \x20 Spare this connection (default: yes).",
            ),
            (
                "LIST [<option> <value> [...]]",
                "One line for each connection, or for each that fits all options: those of KILL (SKIPME: no).",
            ),
            ("NO-EVICT (ON|OFF)", "Spare this connection when clients take too much memory."),
            ("NO-TOUCH (ON|OFF)", "Let this connection's commands leave the recency of keys alone."),
            ("PAUSE <milliseconds> [WRITE|ALL]", "Let all clients wait, or those that write."),
            ("REPLY (ON|OFF|SKIP)", "Switch replies to this connection."),
            ("SETINFO (LIB-NAME|LIB-VER) <value>", "Tell the name or version of the client library."),
            ("SETNAME <name>", "Name this connection."),
            (
                "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
                "Switch the tracking of keys for caches of clients.",
            ),
            ("TRACKINGINFO", "How this connection tracks keys."),
            ("UNBLOCK <client-id> [TIMEOUT|ERROR]", "Let a connection wait no longer."),
            ("UNPAUSE", "End the pause."),
        ],
    );
    Ok(Flow::Done)
}

/// The connection's number.
fn client_id(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(cx.session.id.0 as i64);
    Ok(Flow::Done)
}

/// This connection's line of CLIENT LIST.
fn client_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    publish_asking(cx, args);
    let line = line(&cx.session.info, cx.keys.now);
    cx.reply.verbatim("txt", line.as_bytes());
    Ok(Flow::Done)
}

/// Closes connections.
/// Shape:  `ip:port`, or `(condition value)+`, see `filter`
/// Errors: options; no such client (first shape).
fn client_kill(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let old_shape = args.count() == 3;
    let filter = if old_shape {
        Filter::from_peer(args.get(2))
    } else {
        let mut filter = Filter::parse(&cx.world.acl, cx.world.boot.databases, &args, Asked::Kill)?;
        filter.spare_caller();
        filter
    };
    let targets: Vec<_> =
        open_clients(cx).into_iter().filter(|client| filter.accepts(client, cx.session.id, cx.keys.now)).collect();
    if old_shape && targets.is_empty() {
        return Err(ReplyError::text("ERR No such client"));
    }
    let mut flow = Flow::Done;
    for client in &targets {
        client.set(client_flag::CLOSING, true);
        if client.id == cx.session.id {
            flow = Flow::Close; // Its reply is sent first.
        } else {
            cx.effects.kills.push((client.home, client.id));
        }
    }
    if old_shape {
        cx.reply.ok()
    } else {
        cx.reply.int(targets.len() as i64)
    }
    Ok(flow)
}

fn yes_or_no(value: &[u8]) -> Result<bool, ReplyError> {
    switch(value, b"yes", b"no")
}

fn on_or_off(value: &[u8]) -> Result<bool, ReplyError> {
    switch(value, b"on", b"off")
}

fn switch(value: &[u8], on: &[u8], off: &[u8]) -> Result<bool, ReplyError> {
    match value {
        _ if value.eq_ignore_ascii_case(on) => Ok(true),
        _ if value.eq_ignore_ascii_case(off) => Ok(false),
        _ => Err(ReplyError::Syntax),
    }
}

/// Makes the caller's own line current: as in Redis, its input is this very command.
fn publish_asking(cx: &mut Cx<'_>, args: Args<'_>) {
    cx.session.publish();
    let info = &cx.session.info;
    info.set_input(args.as_sent().map_or(info.input_len(), |sent| sent.len() + 2), info.input_cap()); // 2: CRLF.
}

/// One line for each connection, or for each that fits all conditions: those that are named by number in that order.
/// Shape: `[condition value]…`, see `filter`
fn client_list(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let filter = Filter::parse(&cx.world.acl, cx.world.boot.databases, &args, Asked::List)?;
    let mut clients = match filter.ids() {
        Some(ids) => ids.iter().filter_map(|&id| cx.world.clients.get(ClientId(id as u64))).collect(),
        None => cx.world.clients.all(),
    };
    let (caller, now) = (cx.session.id, cx.keys.now);
    clients.retain(|client| is_open(client, caller) && filter.accepts(client, caller, now));
    publish_asking(cx, args);
    cx.begin(Listing { clients: clients.into_iter(), lines: String::new() })
}

/// CLIENT LIST at work: with ten thousand clients it takes some ten milliseconds.
struct Listing {
    clients: std::vec::IntoIter<Arc<ClientInfo>>,
    lines: String,
}

impl Resumable for Listing {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        while !self.clients.as_slice().is_empty() {
            let some = self.clients.by_ref().take(CLIENTS_PER_LOOK);
            some.for_each(|client| line::append(&mut self.lines, &client, cx.keys.now));
            if slice.is_over() && !self.clients.as_slice().is_empty() {
                self.lines.reserve(self.clients.len() * LINE_LEN); // Once: it is a long list.
                return Ok(Step::More);
            }
        }
        match std::mem::take(&mut self.lines) {
            long if long.len() >= SHARED_LEN_MIN => cx.reply.verbatim_shared("txt", long.into()),
            short => cx.reply.verbatim("txt", short.as_bytes()),
        }
        Ok(Step::Done)
    }
    fn held_len(&self) -> usize {
        self.lines.len()
    }
}

/// Clients that nobody has killed yet, and the caller.
fn open_clients(cx: &Cx<'_>) -> Vec<Arc<ClientInfo>> {
    let mut clients = cx.world.clients.all();
    clients.retain(|client| is_open(client, cx.session.id));
    clients
}

/// Has nobody killed this client? The caller itself is there until it has its reply.
fn is_open(client: &ClientInfo, caller: ClientId) -> bool {
    !client.has(client_flag::CLOSING) || client.id == caller
}

/// A client's line of CLIENT LIST.
pub fn line(client: &ClientInfo, now: WallMs) -> String {
    let mut text = String::new();
    line::append(&mut text, client, now);
    text
}

/// Chooses when the connection's writes are answered. It stands until RESET.
/// Shape:  `DEFAULT | NONE | EVERYSEC | FSYNC`
/// Errors: options; EVERYSEC and FSYNC without an append-only file. If that ends later, writes of such connections are refused.
fn client_durability(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = match args.get(2).to_ascii_lowercase().as_slice() {
        b"default" => Durability::Default,
        b"none" => Durability::None,
        b"everysec" => Durability::EverySec,
        b"fsync" => Durability::Fsync,
        _ => return Err(ReplyError::Syntax),
    };
    if matches!(wanted, Durability::EverySec | Durability::Fsync) {
        if !cx.world.journal.is_on() {
            return Err(NO_LOG);
        }
        cx.world.journal.promise();
    }
    cx.session.durability = wanted;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Spares the connection when clients are cut for memory.
fn client_no_evict(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.session.set_no_evict(on_or_off(args.get(2))?);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Lets the connection's commands leave recency alone.
fn client_no_touch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.session.set_no_touch(on_or_off(args.get(2))?);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Switches replies. OFF and SKIP are not answered themselves.
fn client_reply(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match args.get(2).to_ascii_lowercase().as_slice() {
        b"on" => {
            cx.session.reply_mode = ReplyMode::On;
            cx.reply.ok();
        }
        b"off" => cx.session.reply_mode = ReplyMode::Off,
        b"skip" if cx.session.reply_mode != ReplyMode::Off => cx.session.reply_mode = ReplyMode::SkipNext,
        b"skip" => {}
        _ => return Err(ReplyError::Syntax),
    }
    Ok(Flow::Done)
}

/// Notes the client library's name or version.
/// Shape: `(LIB-NAME | LIB-VER) value`
fn client_setinfo(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (option, value) = (args.get(2).to_ascii_lowercase(), args.get(3));
    if option != b"lib-name" && option != b"lib-ver" {
        let given = escaped(args.get(2));
        return Err(ReplyError::owned(format!("ERR Unrecognized option '{given}'")));
    }
    if !is_word(value) {
        let given = escaped(args.get(2));
        let text = format!("ERR {given} cannot contain spaces, newlines or special characters.");
        return Err(ReplyError::owned(text));
    }
    cx.session.info.rename(|names| {
        let place = if option == b"lib-name" { &mut names.lib_name } else { &mut names.lib_ver };
        *place = value.into();
    });
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Names the connection; an empty name takes the name away.
fn client_setname(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    cx.session.set_name(checked_name(args.get(2))?);
    cx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::admin::clients::Endpoints;
    use crate::base::clock::WallMs;
    use crate::base::ids::{ClientId, LoopId};
    use crate::cmd::command::Flow;
    use crate::cmd::session::ReplyMode;
    use crate::cmd::testkit::{Client, Line, check};

    #[test]
    fn durability_needs_a_log_to_be_promised() {
        check(
            "
            CLIENT DURABILITY none => OK
            CLIENT DURABILITY Default => OK
            CLIENT DURABILITY fsync => ERR CLIENT DURABILITY EVERYSEC and FSYNC need an append-only file, but 'appendonly' is 'no'.
            CLIENT DURABILITY everysec => ERR CLIENT DURABILITY EVERYSEC and FSYNC need an append-only file, but 'appendonly' is 'no'.
            CLIENT DURABILITY always => ERR syntax error
            CLIENT DURABILITY => ERR wrong number of arguments for 'client|durability' command
        ",
        );
    }

    #[test]
    fn names_and_infos_hold_no_spaces() {
        check(
            "
            CLIENT GETNAME => (nil)
            CLIENT SETNAME 'a b' => ERR Client names cannot contain spaces, newlines or special characters.
            CLIENT SETNAME me => OK
            CLIENT GETNAME => 'me'
            CLIENT SETNAME '' => OK
            CLIENT GETNAME => (nil)
            CLIENT SETINFO lib-name 'a b' => ERR lib-name cannot contain spaces, newlines or special characters.
            CLIENT SETINFO LIB-VER 1.2 => OK
            CLIENT SETINFO colour red => ERR Unrecognized option 'colour'
            CLIENT ID => 1
            CLIENT => ERR wrong number of arguments for 'client' command
        ",
        );
    }

    #[test]
    fn info_shows_the_running_command() {
        let mut client = Client::new();
        client.run_line("CLIENT SETINFO lib-ver 9");
        client.run_line("CLIENT NO-TOUCH on");
        client.run_line("SELECT 3");
        let info = client.run_line("CLIENT INFO");
        assert!(info.starts_with("'id=1 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= age="), "{info}");
        assert!(info.contains(" flags=T db=3 ") && info.contains(" cmd=client|info user=default "), "{info}");
        assert!(info.ends_with(" lib-name= lib-ver=9 tot-net-in=0 tot-net-out=0 tot-cmds=0\\n'"), "{info}");
    }

    #[test]
    fn switches_are_on_or_off() {
        check(
            "
            CLIENT NO-EVICT x => ERR syntax error
            CLIENT REPLY x => ERR syntax error
        ",
        );
    }

    #[test]
    fn kill_leaves_clients_of_other_loops_to_their_loops_and_counts_each_once() {
        let mut client = Client::new();
        let endpoints = Endpoints::Unix("/tmp/s".into());
        client.world.clients.add(LoopId(0), 9, endpoints, WallMs(0));
        assert_eq!(client.run_line("CLIENT KILL ADDR /tmp/s:0 MAXAGE 10"), "1");
        assert_eq!(client.effects.kills, [(LoopId(0), ClientId(2))]);
        assert_eq!(client.run_line("CLIENT KILL ID 2"), "0");
        assert_eq!(client.run_line("CLIENT KILL TYPE normal"), "0");
        let (reply, flow) = client.run(&Line::new("CLIENT KILL 127.0.0.1:50000"));
        assert_eq!((reply.as_slice(), flow), (&b"+OK\r\n"[..], Flow::Close));
    }

    #[test]
    fn skip_drops_one_reply_and_on_is_always_answered() {
        let mut client = Client::new();
        assert_eq!(client.run_line("CLIENT REPLY skip"), "");
        assert_eq!(client.run_line("PING"), "");
        assert_eq!(client.run_line("PING"), "PONG");
        client.run_line("CLIENT REPLY off");
        assert_eq!(client.run_line("PING"), "");
        assert_eq!(client.run_line("NOSUCH"), "");
        assert_eq!(client.run_line("CLIENT REPLY skip"), "");
        assert_eq!(client.session.reply_mode, ReplyMode::Off);
        assert_eq!(client.run_line("CLIENT REPLY on"), "OK");
        assert_eq!(client.run_line("PING"), "PONG");
    }
}
