//! MONITOR: a connection that is shown every command that runs.
//!
//! ```text
//! dispatch   is anybody watching? (one relaxed load)  →  a line is appended to the loop's own batch
//! turn's end the batch becomes one shared buffer; each loop that has monitors gets a reference by mail
//! loop       each of its monitors gets a reference into its output: no copy, however many there are
//! ```
//! Batches leave before the turn's replies do. So whoever has read a reply and then asks something elsewhere is shown after
//! what was replied to. Two commands of two loops at the same time may be shown in either order, each with its time.
//!
//! Not shown: administration (ADMIN) and secrets. What says of itself that it is skipped (SKIP_MONITOR) is skipped when it is
//! done only: scripts are shown before what they call, be it that they run or that they fail before they do.

use super::command::{Command, Cx, Flow, cmd, flag};
use super::redact;
use super::session::Session;
use crate::admin::clients::Endpoints;
use crate::base::clock::wall_micros;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use std::io::Write;

pub static ROWS: &[Command] = &[cmd("monitor", monitor)
    .arity(1)
    .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE)
    .group("server", "1.0.0")];

/// Shows this connection every command from now on. Asked twice, it says nothing, as Redis does.
fn monitor(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    if cx.session.is_monitor {
        return Ok(Flow::Done);
    }
    cx.session.set_monitor(true);
    cx.world.attention.add_monitor(cx.session.home);
    cx.effects.new_monitors.push(cx.session.id);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// May monitors see this command?
#[inline]
pub fn is_shown(row: &Command) -> bool {
    !row.has(flag::ADMIN)
}

/// Appends the line of a command.
/// Shape: `+seconds.micros [db address] "word" …`, a simple string in both protocols.
pub fn append(lines: &mut Vec<u8>, row: &Command, args: Args<'_>, session: &Session) {
    stamp(lines);
    append_unstamped(lines, row, args, session);
}

/// Begins a line with the present time.
pub fn stamp(lines: &mut Vec<u8>) {
    let micros = wall_micros();
    let _ = write!(lines, "+{}.{:06}", micros / 1_000_000, micros % 1_000_000); // Writing to a Vec cannot fail.
}

/// What follows the time in a command's line.
pub fn append_unstamped(lines: &mut Vec<u8>, row: &Command, args: Args<'_>, session: &Session) {
    let _ = write!(lines, " [{} ", session.db.0);
    let _ = match &session.info.endpoints {
        _ if session.is_scripted => write!(lines, "lua]"),
        Endpoints::Tcp { peer, .. } => write!(lines, "{peer}]"),
        Endpoints::Unix(path) => write!(lines, "unix:{path}]"),
    };
    for word in redact::shown(row, args) {
        lines.extend_from_slice(b" \"");
        quote(word, lines);
        lines.push(b'"');
    }
    lines.extend_from_slice(b"\r\n");
}

/// A word in the form that Redis prints bytes in.
fn quote(word: &[u8], lines: &mut Vec<u8>) {
    for &byte in word {
        match byte {
            b'\\' | b'"' => lines.extend_from_slice(&[b'\\', byte]),
            b'\n' => lines.extend_from_slice(b"\\n"),
            b'\r' => lines.extend_from_slice(b"\\r"),
            b'\t' => lines.extend_from_slice(b"\\t"),
            0x07 => lines.extend_from_slice(b"\\a"),
            0x08 => lines.extend_from_slice(b"\\b"),
            b' '..=b'~' => lines.push(byte),
            _ => drop(write!(lines, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::table;
    use crate::cmd::testkit::{Client, Line};

    fn shown(line: &str) -> String {
        let (client, line) = (Client::new(), Line::new(line));
        let (parts, mut out) = (line.parts(), Vec::new());
        let args = Args::of(&parts);
        append(&mut out, table::resolve(&args).unwrap(), args, &client.session);
        let text = String::from_utf8(out).unwrap();
        text[text.find('[').unwrap()..].to_string()
    }

    #[test]
    fn lines_are_quoted_and_secrets_hidden() {
        assert_eq!(
            shown("SET k \"a\\n\\x01\\\"b\\\\\""),
            "[0 127.0.0.1:50000] \"SET\" \"k\" \"a\\n\\x01\\\"b\\\\\"\r\n"
        );
        assert_eq!(shown("auth bob pw"), "[0 127.0.0.1:50000] \"auth\" \"(redacted)\" \"(redacted)\"\r\n");
    }

    #[test]
    fn administration_is_not_shown() {
        let is_shown = |name: &str| is_shown(table::lookup_full(name.as_bytes()).unwrap());
        assert!(is_shown("get") && is_shown("client|id") && !is_shown("config|set") && !is_shown("monitor"));
    }

    #[test]
    fn reset_ends_it() {
        let mut client = Client::new();
        assert_eq!((client.run_line("MONITOR"), client.run_line("MONITOR")), ("OK".into(), String::new()));
        assert!(client.world.attention.is_monitored() && client.run_line("CLIENT INFO").contains(" flags=O "));
        client.run_line("RESET");
        assert!(!client.world.attention.is_wanted() && !client.session.is_monitor);
    }
}
