//! The SLOWLOG family: which commands worked for long, newest first.
//!
//! An entry has Redis's six fields. With `WITHWAIT`, our own option, it has a seventh: the microseconds that the command had
//! waited before it began, from the arrival of its bytes or its client's last turn. The third field is time worked only.

use super::command::{Command, Cx, Flow, Handler, cmd, flag};
use super::help::help;
use super::table;
use crate::admin::params::Id;
use crate::admin::slowlog::Entry;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::resp::reply::Reply;

const READS: u32 = flag::ADMIN | flag::LOADING | flag::STALE;
/// Entries that GET replies when it is not told how many.
const COUNT_DEFAULT: usize = 10;

const fn row(name: &'static str, run: Handler, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, run).arity(arity).flags(flags).group("server", since)
}

pub static ROWS: &[Command] = &[row("slowlog", table::container, -2, 0, "2.2.12").subs(&[
    row("get", slowlog_get, -2, READS, "2.2.12").tips(&["request_policy:all_nodes", "nondeterministic_output"]),
    row("help", slowlog_help, 2, flag::LOADING | flag::STALE, "6.2.0"),
    row("len", slowlog_len, 2, READS, "2.2.12").tips(&[
        "request_policy:all_nodes",
        "response_policy:agg_sum",
        "nondeterministic_output",
    ]),
    row("reset", slowlog_reset, 2, READS, "2.2.12")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
])];

/// How many entries the log may keep.
fn count_max(cx: &Cx<'_>) -> usize {
    cx.world.config.number(Id::SLOWLOG_MAX_LEN) as usize
}

/// The newest entries.
/// Shape: `[count] [WITHWAIT]`; a count of -1 means all
fn slowlog_get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let with_wait = args.count() > 2 && args.is(args.count() - 1, "withwait");
    let count = match args.count() - with_wait as usize {
        2 => COUNT_DEFAULT,
        3 => match parse_i64(args.get(2)) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(ReplyError::text("ERR count should be greater than or equal to -1")),
        },
        _ => {
            let word = escaped(args.get(1));
            return Err(ReplyError::owned(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try SLOWLOG HELP."
            )));
        }
    };
    let entries = cx.world.slowlog.newest(count, count_max(cx));
    cx.reply.array(entries.len());
    entries.iter().for_each(|entry| show(cx.reply, entry, with_wait));
    Ok(Flow::Done)
}

fn show(reply: &mut Reply, entry: &Entry, with_wait: bool) {
    reply.array(6 + with_wait as usize);
    reply.int(entry.id as i64);
    reply.int(entry.at_s as i64);
    reply.int(entry.worked_us as i64);
    reply.array(entry.args.len());
    entry.args.iter().for_each(|arg| reply.bulk(arg));
    reply.bulk(entry.peer.as_bytes());
    reply.bulk(&entry.name);
    if with_wait {
        reply.int(entry.waited_us as i64);
    }
}

/// The subcommands.
fn slowlog_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    help(
        cx.reply,
        "SLOWLOG",
        &[
            (
                "GET [<count>] [WITHWAIT]",
                "The newest entries: 10 of them, or as many as asked for; -1 means all.\n\
                 An entry is: id, time, microseconds of work, arguments, address and name of the client;\n\
                 WITHWAIT adds the microseconds that the command had waited before.",
            ),
            ("LEN", "Number of entries."),
            ("RESET", "Forget all entries."),
        ],
    );
    Ok(Flow::Done)
}

/// Number of entries.
fn slowlog_len(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let count = cx.world.slowlog.count(count_max(cx));
    cx.reply.int(count as i64);
    Ok(Flow::Done)
}

/// Forgets all entries.
fn slowlog_reset(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.slowlog.reset();
    cx.reply.ok();
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::admin::slowlog::{Slow, shortened};
    use crate::cmd::testkit::{Client, check_on};

    #[test]
    fn entries_have_six_fields_and_a_seventh_on_request() {
        let mut client = Client::new();
        for number in 1..=11 {
            let args = shortened([&b"debug"[..], b"sleep"].into_iter());
            let slow = Slow {
                at_s: 5,
                worked_us: number,
                waited_us: 9,
                peer: "127.0.0.1:7".into(),
                name: (*b"ann").into(),
                args,
            };
            client.world.slowlog.push(slow, 128);
        }
        check_on(
            &mut client,
            "
            SLOWLOG LEN => 11
            SLOWLOG GET 1 => [[10, 5, 11, ['debug', 'sleep'], '127.0.0.1:7', 'ann']]
            SLOWLOG GET 1 withwait => [[10, 5, 11, ['debug', 'sleep'], '127.0.0.1:7', 'ann', 9]]
            SLOWLOG GET 0 => []
            SLOWLOG GET -2 => ERR count should be greater than or equal to -1
            SLOWLOG GET x => ERR count should be greater than or equal to -1
            SLOWLOG GET 1 2 => ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.
            SLOWLOG GET 1 2 WITHWAIT => ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.
            CONFIG SET slowlog-max-len 2 => OK
            SLOWLOG LEN => 2
            SLOWLOG RESET => OK
            SLOWLOG LEN => 0
            SLOWLOG GET => []
        ",
        );
    }

    #[test]
    fn ten_entries_come_unasked_and_all_for_minus_one() {
        let mut client = Client::new();
        for _ in 0..11 {
            let args = shortened([&b"x"[..]].into_iter());
            let slow = Slow { at_s: 1, worked_us: 1, waited_us: 0, peer: String::new(), name: Box::default(), args };
            client.world.slowlog.push(slow, 128);
        }
        let entries = |client: &mut Client, line| client.run_line(line).matches("['x']").count();
        assert_eq!(entries(&mut client, "SLOWLOG GET"), 10);
        assert_eq!(entries(&mut client, "SLOWLOG GET WITHWAIT"), 10);
        assert_eq!(entries(&mut client, "SLOWLOG GET -1"), 11);
    }
}
