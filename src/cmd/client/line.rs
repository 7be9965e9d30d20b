//! A client's line in CLIENT LIST, in the shape of Redis 7.2 with the totals of Valkey 8.
//!
//! The numbers are ours, under Redis's names. Where they come from:
//!
//! ```text
//! qbuf qbuf-free   the client's own input bytes (an incomplete command, a backlog) and the room behind them; a client that
//!                  sends whole commands, or has been idle for some seconds, has none
//! argv-mem         commands that wait because the client is parked; others lie in the receive buffer and cost nothing
//! rbp rbs          the most reply bytes of a turn lately, and the reply buffer that Redis would keep for them; ours is lent
//!                  by the loop while there is something to send
//! obl              bytes that wait in the reply buffer
//! oll omem         what is in flight or sent by reference: pieces, bytes
//! tot-mem          all of that and the connection itself
//! ```
//! Others see them as of the end of the last turn in which the client was active.

#![forbid(unsafe_code)]

use crate::admin::acl::user::DEFAULT;
use crate::admin::clients::{ClientInfo, Endpoints, client_flag};
use crate::base::clock::WallMs;
use crate::cmd::session::Session;
use crate::cmd::table;
use std::fmt::{self, Write};

/// The reply buffer that Redis keeps for each client. Source: Redis, `PROTO_REPLY_MIN_BYTES`, `PROTO_REPLY_CHUNK_BYTES`.
const REPLY_BUFFER_MIN: usize = 1024;
const REPLY_BUFFER_MAX: usize = 16 << 10;

/// Appends the line, with its line end.
/// Cost: about a microsecond.
pub fn append(out: &mut String, client: &ClientInfo, now: WallMs) {
    // Writing to a String cannot fail.
    let _ = write_identity(out, client, now);
    let _ = write_buffers(out, client, now);
    let _ = write_rest(out, client);
}

fn write_identity(out: &mut String, client: &ClientInfo, now: WallMs) -> fmt::Result {
    let seconds_since = |then: WallMs| now.0.saturating_sub(then.0) / 1000;
    write!(out, "id={}", client.id.0)?;
    match &client.endpoints {
        Endpoints::Tcp { peer, local } => write!(out, " addr={peer} laddr={local}")?,
        Endpoints::Unix(path) => write!(out, " addr={path}:0 laddr={path}:0")?,
    }
    write!(out, " fd={} name=", client.fd)?;
    client.with_names(|names| out.push_str(&String::from_utf8_lossy(&names.name)));
    let (age, idle) = (seconds_since(client.created), seconds_since(client.last_seen()));
    write!(out, " age={age} idle={idle} flags=")?;
    push_flags(out, client);
    write!(out, " db={} sub=0 psub=0 ssub=0 multi=-1 watch=0", client.db())
}

fn write_buffers(out: &mut String, client: &ClientInfo, now: WallMs) -> fmt::Result {
    let (input, room, held, output) = (client.input_len(), client.input_cap(), client.held_len(), client.output());
    let (rbp, obl) = (client.reply_peak(now), output.buffered_len);
    let rbs = rbp.clamp(REPLY_BUFFER_MIN, REPLY_BUFFER_MAX);
    write!(out, " qbuf={input} qbuf-free={room} argv-mem={held} multi-mem=0 rbs={rbs} rbp={rbp} obl={obl}")?;
    write!(out, " oll={} omem={} tot-mem={}", output.queued_count, output.queued_len, memory(client))?;
    out.push_str(" events=");
    out.push_str(if client.has(client_flag::UNREAD) { "" } else { "r" });
    out.push_str(if output.is_empty() { "" } else { "w" });
    Ok(())
}

fn write_rest(out: &mut String, client: &ClientInfo) -> fmt::Result {
    let name = table::by_index(client.row() as usize).map_or("NULL", |row| row.full_name);
    let (resp, traffic) = (if client.has(client_flag::RESP3) { 3 } else { 2 }, client.traffic());
    write!(out, " cmd={name}")?;
    client.with_names(|names| {
        let user = if names.user.is_empty() { DEFAULT } else { &names.user };
        write!(out, " user={} redir=-1 resp={resp}", String::from_utf8_lossy(user))?;
        let (lib_name, lib_ver) = (String::from_utf8_lossy(&names.lib_name), String::from_utf8_lossy(&names.lib_ver));
        write!(out, " lib-name={lib_name} lib-ver={lib_ver}")
    })?;
    let (received, sent, commands) = (traffic.received, traffic.sent, traffic.commands);
    writeln!(out, " tot-net-in={received} tot-net-out={sent} tot-cmds={commands}")
}

/// Bytes that a connection takes in user space.
pub fn memory(client: &ClientInfo) -> usize {
    let output = client.output();
    let buffers = client.input_len() + client.input_cap() + client.held_len() + output.buffer_cap + output.queued_len;
    size_of::<ClientInfo>() + size_of::<Session>() + buffers
}

/// Letters as Redis uses them, in its order; N if there is none.
fn push_flags(out: &mut String, client: &ClientInfo) {
    let before = out.len();
    let letters = [
        (client_flag::MONITOR, 'O'),
        (client_flag::BLOCKED, 'b'),
        (client_flag::CLOSING, 'c'),
        (if client.endpoints.is_unix() { u32::MAX } else { 0 }, 'U'),
        (client_flag::NO_EVICT, 'e'),
        (client_flag::NO_TOUCH, 'T'),
    ];
    for (flag, letter) in letters {
        if flag == u32::MAX || client.has(flag) {
            out.push(letter);
        }
    }
    if out.len() == before {
        out.push('N');
    }
}
