//! Clients that wait: CLIENT PAUSE and UNPAUSE hold back commands of everybody, CLIENT UNBLOCK ends the wait of one client.

#![forbid(unsafe_code)]

use crate::admin::attention::Pause;
use crate::base::clock::WallMs;
use crate::base::ids::ClientId;
use crate::base::num::{parse_f64, parse_i64};
use crate::cmd::command::{Cx, Flow, Woken};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

/// Holds back all commands, or those that may write, for a time. Expiry stands still meanwhile.
/// Shape:  `milliseconds [WRITE | ALL]`
/// Errors: mode, timeout.
/// Order: at a safepoint. When the reply is read, no write is under way on any loop.
pub fn client_pause(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let kind = match args.count() {
        3 => Pause::Everything,
        4 if args.is(3, "write") => Pause::Writes,
        4 if args.is(3, "all") => Pause::Everything,
        4 => return Err(ReplyError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(wrong_count(&args)),
    };
    let until = deadline(args.get(2), cx.keys.now)?;
    let (world, now) = (cx.world, cx.keys.now);
    cx.stop_others(|_| {
        let until = world.attention.pause(kind, until, now);
        world.keyspace.stop_expiry(until);
    });
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Ends the pause.
pub fn client_unpause(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.world.attention.unpause();
    cx.world.keyspace.stop_expiry(WallMs(0));
    cx.effects.is_pause_over = true;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Ends the wait of a client's command, as if its time were up or with an error. 0: it does not wait, or for a pause.
/// Shape: `client-id [TIMEOUT | ERROR]`
pub fn client_unblock(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let why = match args.count() {
        3 => Woken::TimedOut,
        4 if args.is(3, "timeout") => Woken::TimedOut,
        4 if args.is(3, "error") => Woken::Refused,
        4 => return Err(ReplyError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(wrong_count(&args)),
    };
    let id = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    let client = cx.world.clients.get(ClientId(id as u64));
    let claimed = client.filter(|client| client.wait.end());
    if let Some(client) = &claimed {
        cx.effects.unblocks.push((client.home, client.id, why));
    }
    cx.reply.int(claimed.is_some() as i64);
    Ok(Flow::Done)
}

fn wrong_count(args: &Args<'_>) -> ReplyError {
    let word = String::from_utf8_lossy(args.get(1));
    ReplyError::owned(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try CLIENT HELP."))
}

/// The end of a wait that is given in seconds, with a fraction if need be. None: it has no end.
/// Errors: no number, negative, beyond all clocks.
pub fn patience(seconds: &[u8], now: WallMs) -> Result<Option<WallMs>, ReplyError> {
    let seconds = parse_f64(seconds).ok_or(ReplyError::text("ERR timeout is not a float or out of range"))?;
    let timeout_ms = (seconds * 1000.0).ceil();
    if timeout_ms > i64::MAX as f64 {
        return Err(OUT_OF_RANGE);
    }
    ending(timeout_ms as i64, now)
}

/// The end of a wait that is given in milliseconds. None: it has no end.
/// Errors: no integer, negative, beyond all clocks.
pub fn patience_ms(timeout_ms: &[u8], now: WallMs) -> Result<Option<WallMs>, ReplyError> {
    let timeout_ms = parse_i64(timeout_ms).ok_or(ReplyError::text("ERR timeout is not an integer or out of range"))?;
    ending(timeout_ms, now)
}

const OUT_OF_RANGE: ReplyError = ReplyError::text("ERR timeout is out of range");

fn ending(timeout_ms: i64, now: WallMs) -> Result<Option<WallMs>, ReplyError> {
    match timeout_ms {
        ..0 => Err(ReplyError::text("ERR timeout is negative")),
        0 => Ok(None),
        _ => (now.0 as i64).checked_add(timeout_ms).map(|at| Some(WallMs(at as u64))).ok_or(OUT_OF_RANGE),
    }
}

/// A time that many milliseconds from now on.
/// Errors: no integer, negative, beyond all clocks.
pub fn deadline(timeout_ms: &[u8], now: WallMs) -> Result<WallMs, ReplyError> {
    let timeout_ms = parse_i64(timeout_ms).ok_or(ReplyError::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(ReplyError::text("ERR timeout is negative"));
    }
    let at = (now.0 as i64).checked_add(timeout_ms).ok_or(ReplyError::text("ERR timeout is out of range"))?;
    Ok(WallMs(at as u64))
}

#[cfg(test)]
mod tests {
    use super::{patience, patience_ms};
    use crate::admin::attention::Pause;
    use crate::base::clock::WallMs;
    use crate::cmd::testkit::{Client, check};

    #[test]
    fn wrong_modes_and_times_are_refused() {
        check(
            "
            CLIENT PAUSE abc => ERR timeout is not an integer or out of range
            CLIENT PAUSE -1 => ERR timeout is negative
            CLIENT PAUSE 9223372036854775807 => ERR timeout is out of range
            CLIENT PAUSE x foo => ERR CLIENT PAUSE mode must be WRITE or ALL
            CLIENT PAUSE 1 all extra => ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.
            CLIENT UNBLOCK x => ERR value is not an integer or out of range
            CLIENT UNBLOCK x foo => ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
            CLIENT UNBLOCK 1 timeout extra => ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.
            CLIENT UNBLOCK 1 => 0
            CLIENT UNBLOCK -1 error => 0
            CLIENT UNPAUSE => OK
        ",
        );
    }

    #[test]
    fn seconds_are_taken_to_the_millisecond_and_checked_as_in_redis() {
        let now = WallMs(1_000_000);
        let after = |text: &str| patience(text.as_bytes(), now).map(|end| end.map(|end| end.0 - now.0));
        let told = |text: &str| after(text).unwrap_err().line().to_string();
        assert_eq!(
            (after("0"), after("-0.0001"), after("1.5"), after("0.0011")),
            (Ok(None), Ok(None), Ok(Some(1500)), Ok(Some(2)))
        );
        assert_eq!(told("abc"), "ERR timeout is not a float or out of range");
        assert_eq!((told("-1"), told("inf")), ("ERR timeout is negative".into(), "ERR timeout is out of range".into()));
        assert_eq!(told("9223372036854775"), "ERR timeout is out of range");
        assert_eq!(patience_ms(b"1.5", now).unwrap_err().line(), "ERR timeout is not an integer or out of range");
    }

    #[test]
    fn keys_past_their_deadline_read_as_absent_and_stay_while_there_is_a_pause() {
        let mut client = Client::new();
        client.world.keyspace.now.stop();
        client.run_line("SET k v PXAT 1");
        client.run_line("SET k v PX 1");
        client.run_line("CLIENT PAUSE 100000 WRITE");
        client.world.keyspace.now.advance(3);
        assert_eq!((client.run_line("GET k"), client.run_line("DBSIZE")), ("(nil)".into(), "1".into()));
        let now = client.world.keyspace.now.get();
        assert_eq!(client.world.attention.paused(now).map(|(kind, _)| kind), Some(Pause::Writes));
        client.run_line("CLIENT UNPAUSE");
        assert_eq!((client.run_line("GET k"), client.run_line("DBSIZE")), ("(nil)".into(), "0".into()));
    }
}
