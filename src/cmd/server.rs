//! The server family without its large members: time, role, shutdown, waiting for replicas.

use super::client;
use super::command::{Command, Cx, Flow, Wait, Woken, acl, cmd, flag};
use super::snapshot;
use crate::admin::log;
use crate::base::clock::wall_micros;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

pub static ROWS: &[Command] = &[
    cmd("role", role)
        .arity(1)
        .flags(flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::FAST | flag::SENTINEL)
        .acl(acl::ADMIN | acl::DANGEROUS)
        .group("server", "2.8.12"),
    cmd("shutdown", shutdown)
        .arity(-1)
        .flags(
            flag::ADMIN
                | flag::NOSCRIPT
                | flag::LOADING
                | flag::STALE
                | flag::NO_MULTI
                | flag::SENTINEL
                | flag::ALLOW_BUSY,
        )
        .group("server", "1.0.0"),
    cmd("time", time)
        .arity(1)
        .flags(flag::LOADING | flag::STALE | flag::FAST)
        .group("server", "2.6.0")
        .tips(&["nondeterministic_output"]),
    cmd("wait", wait)
        .arity(3)
        .flags(flag::BLOCKING)
        .acl(acl::CONNECTION)
        .group("generic", "3.0.0")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    cmd("waitaof", waitaof)
        .arity(4)
        .flags(flag::BLOCKING)
        .acl(acl::CONNECTION)
        .group("generic", "7.2.0")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

/// A primary without replicas.
fn role(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.int(0);
    cx.reply.array(0);
    Ok(Flow::Done)
}

/// Stops the server.
/// Shape:  `[NOSAVE | SAVE] [NOW] [FORCE]`, or `ABORT`
/// Errors: options; a snapshot that cannot be written, or the first base of the append-only file that is not written yet, unless
/// FORCE is given; nothing to abort.
fn shutdown(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let (mut save, mut nosave, mut force, mut abort) = (false, false, false, false);
    for word in args.iter_from(1) {
        match word.to_ascii_lowercase().as_slice() {
            b"save" => save = true,
            b"nosave" => nosave = true,
            b"now" => {} // Nobody has to be waited for.
            b"force" => force = true,
            b"abort" => abort = true,
            _ => return Err(ReplyError::Syntax),
        }
    }
    if (abort && args.count() > 2) || (save && nosave) {
        return Err(ReplyError::Syntax);
    }
    if abort && cx.world.ending.abort() {
        log::notice(format_args!("Shutdown manually aborted."));
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    if abort {
        return Err(ReplyError::text("ERR No shutdown in progress."));
    }
    if !nosave && cx.world.scripts.busy.is_on() {
        return Err(cx.world.scripts.busy.refusal());
    }
    let is_loaded = !cx.world.attention.is_loading(); // What is not all there must not replace what was.
    let saves = is_loaded && (save || !nosave && snapshot::has_save_points(cx.world));
    if !force && cx.world.journal.facts().lacks_base {
        log::warning(format_args!("Writing initial AOF, can't exit."));
        return Err(NOT_STOPPED);
    }
    let is_saved = cx.stop_others(|cx| {
        cx.world.background.break_off(cx.world);
        let is_saved = !saves || snapshot::save(cx.world, &cx.keys).is_ok() || force;
        if is_saved && saves {
            cx.world.attention.end(); // Nothing is answered that was not saved.
        }
        is_saved
    });
    if !is_saved {
        log::warning(format_args!("Error trying to save the DB, can't exit."));
        return Err(NOT_STOPPED);
    }
    Ok(Flow::Shutdown)
}

const NOT_STOPPED: ReplyError = ReplyError::text("ERR Errors trying to SHUTDOWN. Check logs.");

/// Seconds and microseconds of the real-time clock.
fn time(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let micros = match cx.session.denies_blocking {
        true => *cx.effects.told_micros.get_or_insert_with(wall_micros),
        false => wall_micros(),
    };
    cx.reply.array(2);
    cx.reply.bulk_int((micros / 1_000_000) as i64);
    cx.reply.bulk_int((micros % 1_000_000) as i64);
    Ok(Flow::Done)
}

/// Number of replicas that have this client's writes. There are none, so whoever wants some waits in vain.
/// Shape:  `numreplicas timeout`; a timeout of 0 is for ever.
/// Errors: no integers, a negative timeout.
fn wait(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let wanted = parse_i64(args.get(1)).ok_or(ReplyError::NotInteger)?;
    let until = client::deadline(args.get(2), cx.keys.now)?;
    match cx.session.woken {
        None if wanted > 0 && cx.may_wait() => {
            Ok(Flow::Park(Wait::Event { until: (until > cx.keys.now).then_some(until) }))
        }
        Some(Woken::Event { until }) => Ok(Flow::Park(Wait::Event { until })),
        _ => {
            cx.reply.int(0);
            Ok(Flow::Done)
        }
    }
}

/// As WAIT, for writes that are on disk: on this one, and on those of replicas, of which there are none.
/// Shape:  `numlocal numreplicas timeout`
/// Errors: numbers; this server's own disk.
fn waitaof(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let local = parse_i64(args.get(1)).ok_or(ReplyError::NotInteger)?;
    if !(0..=1).contains(&local) {
        return Err(ReplyError::text("ERR value is out of range, value must between 0 and 1"));
    }
    let wanted = parse_i64(args.get(2)).filter(|&wanted| wanted >= 0);
    let wanted = wanted.ok_or(ReplyError::text("ERR value is out of range, must be positive"))?;
    let until = client::deadline(args.get(3), cx.keys.now)?;
    let journal = &cx.world.journal;
    if local == 1 && !journal.is_on() {
        return Err(ReplyError::text("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."));
    }
    let number = cx.session.written;
    let is_durable = journal.is_on() && number <= journal.durable();
    let is_content = wanted == 0 && (local == 0 || is_durable);
    let until = match cx.session.woken {
        Some(Woken::Event { until }) => until,
        _ => (until > cx.keys.now).then_some(until),
    };
    if !is_content && cx.session.woken != Some(Woken::TimedOut) && cx.may_wait() {
        if local == 1 && !is_durable {
            journal.want(number);
            cx.effects.awaited = Some(number);
        }
        return Ok(Flow::Park(Wait::Event { until }));
    }
    cx.reply.array(2);
    cx.reply.int(is_durable as i64);
    cx.reply.int(0);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::command::Flow;
    use crate::cmd::testkit::{Client, Line, check};

    #[test]
    fn shutdown_checks_its_options() {
        check(
            "
            SHUTDOWN foo => ERR syntax error
            SHUTDOWN SAVE NOSAVE => ERR syntax error
            SHUTDOWN ABORT NOW => ERR syntax error
            SHUTDOWN ABORT => ERR No shutdown in progress.
        ",
        );
        assert_eq!(Client::new().run(&Line::new("SHUTDOWN NOSAVE NOW FORCE")), (Vec::new(), Flow::Shutdown));
    }

    #[test]
    fn a_lone_primary_says_so() {
        check(
            "
            ROLE => ['master', 0, []]
            WAIT 0 0 => 0
            WAITAOF 0 0 0 => [0, 0]
            WAITAOF 1 0 0 => ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.
            WAITAOF 2 0 0 => ERR value is out of range, value must between 0 and 1
            WAITAOF 0 -1 0 => ERR value is out of range, must be positive
            WAITAOF 0 0 -1 => ERR timeout is negative
            WAIT 1 x => ERR timeout is not an integer or out of range
            WAIT 1 -1 => ERR timeout is negative
        ",
        );
    }
}
