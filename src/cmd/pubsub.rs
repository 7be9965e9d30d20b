//! The pub/sub family. Who listens to what is kept in `pubsub`; messages are handed out by the event loop.
//!
//! What (P|S)SUBSCRIBE and their undoing write is one push for each name, not a reply: in RESP3 it has the type of a push,
//! and CLIENT REPLY does not drop it.

use super::command::{Channels, Command, Cx, Flow, Handler, KeySpec, cmd, flag};
use super::help::help;
use super::resume::{Resumable, Slice, Step};
use super::table;
use crate::base::glob;
use crate::pubsub::registry::Registry;
use crate::pubsub::{Name, Space};
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;

const ASKS: u32 = flag::PUBSUB | flag::LOADING | flag::STALE;
const SUBSCRIBES: u32 = ASKS | flag::NOSCRIPT | flag::WHILE_SUBSCRIBED | flag::SUBSCRIBES;
const PUBLISHES: u32 = ASKS | flag::FAST | flag::MAY_REPLICATE;

const ALL: Channels = Channels { first: 1, count: None, are_patterns: false };
const FIRST: Channels = Channels { first: 1, count: Some(1), are_patterns: false };
const PATTERNS: Channels = Channels { first: 1, count: None, are_patterns: true };
/// Cluster clients find the node of a shard channel as they find that of a key.
const LIKE_KEYS: &[KeySpec] = &[KeySpec::rest(1, 1, &["not_key"])];
const LIKE_A_KEY: &[KeySpec] = &[KeySpec::one(1, &["not_key"])];

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("pubsub", since)
}

pub static ROWS: &[Command] = &[
    row("psubscribe", psubscribe, -2, SUBSCRIBES | flag::SENTINEL, "2.0.0").channels(PATTERNS),
    row("publish", publish, 3, PUBLISHES | flag::SENTINEL, "2.0.0").channels(FIRST),
    row("pubsub", table::container, -2, 0, "2.8.0").subs(&[
        row("channels", pubsub_channels, -2, ASKS, "2.8.0"),
        row("help", pubsub_help, 2, flag::LOADING | flag::STALE, "6.2.0"),
        row("numpat", pubsub_numpat, 2, ASKS, "2.8.0"),
        row("numsub", pubsub_numsub, -2, ASKS, "2.8.0"),
        row("shardchannels", pubsub_shardchannels, -2, ASKS, "7.0.0"),
        row("shardnumsub", pubsub_shardnumsub, -2, ASKS, "7.0.0"),
    ]),
    row("punsubscribe", punsubscribe, -1, SUBSCRIBES | flag::SENTINEL, "2.0.0"),
    row("spublish", spublish, 3, PUBLISHES, "7.0.0").channels(FIRST).keys(LIKE_A_KEY),
    row("ssubscribe", ssubscribe, -2, SUBSCRIBES, "7.0.0").channels(ALL).keys(LIKE_KEYS),
    row("subscribe", subscribe, -2, SUBSCRIBES | flag::SENTINEL, "2.0.0").channels(ALL),
    row("sunsubscribe", sunsubscribe, -1, SUBSCRIBES, "7.0.0").keys(LIKE_KEYS),
    row("unsubscribe", unsubscribe, -1, SUBSCRIBES | flag::SENTINEL, "2.0.0"),
];

/// Subscribes to patterns of channels.
/// Shape: `pattern …`
fn psubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    join(cx, args, Space::Pattern, b"psubscribe")
}

/// Sends a message to who has subscribed to the channel, or to patterns that match it. Replies how many that are.
/// Shape: `channel message`
fn publish(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let receivers = cx.effects.publish(&cx.world.pubsub, args.get(1), args.get(2));
    cx.reply.int(receivers as i64);
    Ok(Flow::Done)
}

/// The channels that have subscribers.
/// Shape: `[pattern]`
fn pubsub_channels(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    list(cx, args, Space::Channel)
}

/// The subcommands.
fn pubsub_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "PUBSUB",
        &[
            ("CHANNELS [<pattern>]", "Channels with subscribers, all or those that match."),
            ("NUMPAT", "How many patterns have subscribers."),
            ("NUMSUB [<channel> ...]", "How many have subscribed to each of these channels, patterns aside."),
            ("SHARDCHANNELS [<pattern>]", "Shard channels with subscribers, all or those that match."),
            ("SHARDNUMSUB [<shardchannel> ...]", "How many have subscribed to each of these shard channels."),
        ],
    );
    Ok(Flow::Done)
}

/// How many patterns have subscribers.
fn pubsub_numpat(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(cx.world.pubsub.names_count(Space::Pattern) as i64);
    Ok(Flow::Done)
}

/// How many subscribers channels have. Those of patterns do not count.
/// Shape: `[channel …]`
fn pubsub_numsub(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    count(cx, args, Space::Channel)
}

/// The shard channels that have subscribers.
/// Shape: `[pattern]`
fn pubsub_shardchannels(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    list(cx, args, Space::Shard)
}

/// How many subscribers shard channels have.
/// Shape: `[channel …]`
fn pubsub_shardnumsub(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    count(cx, args, Space::Shard)
}

/// Undoes PSUBSCRIBE, for all patterns or for these.
/// Shape: `[pattern …]`
fn punsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    leave(cx, args, Space::Pattern, b"punsubscribe")
}

/// Sends a message to who has subscribed to the shard channel. Replies how many that are.
/// Shape: `channel message`
fn spublish(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let receivers = cx.effects.desk.publish(&cx.world.pubsub, Space::Shard, args.get(1), args.get(2));
    cx.reply.int(receivers as i64);
    Ok(Flow::Done)
}

/// Subscribes to shard channels.
/// Shape:  `channel …`
/// Errors: inside a transaction, unlike its two kin.
fn ssubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    if cx.session.denies_blocking {
        return Err(ReplyError::text("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    join(cx, args, Space::Shard, b"ssubscribe")
}

/// Subscribes to channels.
/// Shape: `channel …`
fn subscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    join(cx, args, Space::Channel, b"subscribe")
}

/// Undoes SSUBSCRIBE, for all shard channels or for these.
/// Shape: `[channel …]`
fn sunsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    leave(cx, args, Space::Shard, b"sunsubscribe")
}

/// Undoes SUBSCRIBE, for all channels or for these.
/// Shape: `[channel …]`
fn unsubscribe(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    leave(cx, args, Space::Channel, b"unsubscribe")
}

/// One push for each name, subscribed to before or not.
fn join(cx: &mut Cx<'_>, args: Args<'_>, space: Space, word: &[u8]) -> Result<Flow, ReplyError> {
    for name in args.iter_from(1) {
        let subs = cx.session.subs.get_or_insert_default();
        cx.effects.desk.subscribe(&cx.world.pubsub, subs, space, name, &cx.session.info);
        notice(cx, space, word, Some(name));
    }
    settle(cx);
    Ok(Flow::Done)
}

/// One push for each name, subscribed to or not; one without a name if all are meant and there are none.
fn leave(cx: &mut Cx<'_>, args: Args<'_>, space: Space, word: &[u8]) -> Result<Flow, ReplyError> {
    if args.count() > 1 {
        args.iter_from(1).for_each(|name| leave_one(cx, space, word, name));
    } else {
        let names = cx.session.subs.as_ref().map_or(Vec::new(), |subs| subs.all(space));
        names.iter().for_each(|name| leave_one(cx, space, word, name));
        if names.is_empty() {
            notice(cx, space, word, None);
        }
    }
    settle(cx);
    Ok(Flow::Done)
}

fn leave_one(cx: &mut Cx<'_>, space: Space, word: &[u8], name: &[u8]) {
    if let Some(subs) = &mut cx.session.subs {
        cx.effects.desk.unsubscribe(&cx.world.pubsub, subs, space, name, &cx.session.info);
    }
    notice(cx, space, word, Some(name));
}

/// Says what has happened to a subscription, and how many there are now: of shard channels, or of everything else.
fn notice(cx: &mut Cx<'_>, space: Space, word: &[u8], name: Option<&[u8]>) {
    let count = cx.session.subs.as_ref().map_or(0, |subs| match space {
        Space::Shard => subs.count(space),
        Space::Channel | Space::Pattern => subs.plain_count(),
    });
    cx.reply.push(3);
    cx.reply.bulk(word);
    match name {
        Some(name) => cx.reply.bulk(name),
        None => cx.reply.null(),
    }
    cx.reply.int(count as i64);
}

fn settle(cx: &mut Cx<'_>) {
    cx.session.settle_subscriptions(&cx.world.pubsub, cx.reply.proto);
    cx.session.note_push();
}

/// Undoes all subscriptions of this client without a word (RESET).
pub fn forget_all(cx: &mut Cx<'_>) {
    if let Some(subs) = cx.session.subs.take() {
        cx.effects.desk.forget(&cx.world.pubsub, &subs, &cx.session.info);
        cx.session.settle_subscriptions(&cx.world.pubsub, cx.reply.proto);
    }
}

fn count(cx: &mut Cx<'_>, args: Args<'_>, space: Space) -> Result<Flow, ReplyError> {
    cx.reply.array((args.count() - 2) * 2);
    for name in args.iter_from(2) {
        cx.reply.bulk(name);
        cx.reply.int(cx.world.pubsub.subscribers(space, name) as i64);
    }
    Ok(Flow::Done)
}

fn list(cx: &mut Cx<'_>, args: Args<'_>, space: Space) -> Result<Flow, ReplyError> {
    let pattern = match args.count() {
        2 => None,
        3 => Some(args.get(2).into()),
        _ => {
            let word = escaped(table::clipped(args.get(1), 128));
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP.");
            return Err(ReplyError::owned(text));
        }
    };
    cx.begin(Listing { space, pattern, part: 0, names: Vec::new() })
}

/// A list of channels at work: with a hundred thousand of them it takes some ten milliseconds.
struct Listing {
    space: Space,
    pattern: Option<Box<[u8]>>,
    /// The next part of the registry to look into.
    part: usize,
    names: Vec<Name>,
}

impl Resumable for Listing {
    fn step(&mut self, cx: &mut Cx<'_>, slice: Slice) -> Result<Step, ReplyError> {
        let is_wanted = |name: &[u8]| self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name));
        while self.part < Registry::PARTS {
            self.names.extend(cx.world.pubsub.names_in(self.space, self.part, is_wanted));
            self.part += 1;
            if slice.is_over() && self.part < Registry::PARTS {
                return Ok(Step::More);
            }
        }
        write_names(cx.reply, &self.names);
        Ok(Step::Done)
    }
    fn held_len(&self) -> usize {
        self.names.len() * size_of::<Name>()
    }
}

fn write_names(reply: &mut Reply, names: &[Name]) {
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::{Client, check, check_on};
    use crate::resp::reply::Proto;

    #[test]
    fn subscriptions_are_counted_and_undone() {
        check(
            "
            SUBSCRIBE a b a => ['subscribe', 'a', 1] ['subscribe', 'b', 2] ['subscribe', 'a', 2] || >['subscribe', 'a', 1] >['subscribe', 'b', 2] >['subscribe', 'a', 2]
            PSUBSCRIBE x* => ['psubscribe', 'x*', 3] || >['psubscribe', 'x*', 3]
            SSUBSCRIBE a => ['ssubscribe', 'a', 1] || >['ssubscribe', 'a', 1]
            UNSUBSCRIBE b nosuch => ['unsubscribe', 'b', 2] ['unsubscribe', 'nosuch', 2] || >['unsubscribe', 'b', 2] >['unsubscribe', 'nosuch', 2]
            UNSUBSCRIBE => ['unsubscribe', 'a', 1] || >['unsubscribe', 'a', 1]
            UNSUBSCRIBE => ['unsubscribe', (nil), 1] || >['unsubscribe', (nil), 1]
            PUNSUBSCRIBE => ['punsubscribe', 'x*', 0] || >['punsubscribe', 'x*', 0]
            PUNSUBSCRIBE y => ['punsubscribe', 'y', 0] || >['punsubscribe', 'y', 0]
            SUNSUBSCRIBE a => ['sunsubscribe', 'a', 0] || >['sunsubscribe', 'a', 0]
            SUNSUBSCRIBE => ['sunsubscribe', (nil), 0] || >['sunsubscribe', (nil), 0]
        ",
        );
    }

    #[test]
    fn pubsub_counts_channels_shard_channels_and_patterns_apart() {
        check(
            "
            PUBLISH a m => 0
            SUBSCRIBE a b => *
            PSUBSCRIBE a* b* => *
            SSUBSCRIBE s => *
            PUBLISH a m => 2
            PUBLISH abc m => 1
            SPUBLISH a m => 0
            SPUBLISH s m => 1
            PUBSUB CHANNELS a* => ['a']
            PUBSUB CHANNELS c* => []
            PUBSUB SHARDCHANNELS => ['s']
            PUBSUB NUMSUB => []
            PUBSUB NUMSUB a ab s => ['a', 1, 'ab', 0, 's', 0]
            PUBSUB SHARDNUMSUB a s => ['a', 0, 's', 1]
            PUBSUB NUMPAT => 2
            PUBSUB CHANNELS a b => ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.
            PUBSUB NOSUCH => ERR unknown subcommand 'NOSUCH'. Try PUBSUB HELP.
            PUBSUB HELP => *
        ",
        );
    }

    #[test]
    fn clients_show_their_subscriptions() {
        let mut client = Client::new();
        for line in ["SUBSCRIBE a b", "PSUBSCRIBE p*", "SSUBSCRIBE s"] {
            client.run_line(line);
        }
        let line = client.run_line("CLIENT LIST TYPE pubsub");
        assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=1 "), "{line}");
        assert_eq!(client.run_line("CLIENT LIST TYPE normal"), "''");
        assert!(client.session.is_confined() && client.world.pubsub.clients() == 1);
        client.run_line("HELLO 3");
        assert!(!client.session.is_confined());
        client.run_line("HELLO 2");
        check_on(&mut client, "PING => ['pong', '']\nPING x => ['pong', 'x']");
        assert_eq!(client.run_line("RESET"), "RESET");
        assert!(!client.session.is_confined() && client.world.pubsub.is_quiet() && client.world.pubsub.clients() == 0);
        assert!(client.run_line("CLIENT LIST").contains(" flags=N "));
    }

    #[test]
    fn client_reply_does_not_concern_pushes() {
        let mut client = Client::new();
        client.reply.proto = Proto::Resp3;
        client.run_line("CLIENT REPLY OFF");
        assert_eq!(client.run_line("SUBSCRIBE a"), ">['subscribe', 'a', 1]");
        assert_eq!(client.run_line("PING"), "");
        assert_eq!(client.run_line("SUBSCRIBE"), "", "an error is a reply");
        client.run_line("CLIENT REPLY ON");
        client.run_line("CLIENT REPLY SKIP");
        assert_eq!(client.run_line("UNSUBSCRIBE a"), ">['unsubscribe', 'a', 0]");
        assert_eq!(client.run_line("PING"), "PONG");
    }
}
