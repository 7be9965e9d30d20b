//! A client's line in CLIENT LIST, in the shape of Redis 7.2 with the totals of Valkey 8.
//!
//! The numbers are ours, under Redis's names. Where they come from:
//!
//! ```text
//! qbuf qbuf-free   the client's own input bytes (an incomplete command, a backlog) and the room behind them; a client that
//!                  sends whole commands, or has been idle for some seconds, has none. The caller's: this very command
//! argv-mem         commands that wait because the client is parked; others lie in the receive buffer and cost nothing
//! rbp rbs          the most reply bytes of a turn lately, and the reply buffer that Redis would keep for them; ours is lent
//!                  by the loop while there is something to send
//! obl              bytes that wait in the reply buffer
//! oll omem         what is in flight or sent by reference: pieces, bytes
//! tot-mem          all of that, of replies what goes beyond a first buffer, and the connection itself
//! ```
//! Others see them as of the end of the last turn in which the client was active.

#![forbid(unsafe_code)]

use crate::admin::acl::user::DEFAULT;
use crate::admin::clients::{ClientInfo, Endpoints, client_flag};
use crate::base::clock::WallMs;
use crate::cmd::session::Session;
use crate::cmd::table;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// The reply buffer that Redis keeps for each client. Source: Redis, `PROTO_REPLY_MIN_BYTES`, `PROTO_REPLY_CHUNK_BYTES`.
const REPLY_BUFFER_MIN: usize = 1024;
const REPLY_BUFFER_MAX: usize = 16 << 10;

/// What a key that is watched, a channel that is listened to or a prefix that is tracked takes, about.
const ENTRY_LEN: usize = 96;

/// Appends the line, with its line end.
/// Cost: half a microsecond: CLIENT LIST writes thousands of them, so no formatting machinery is at work here.
pub fn append(out: &mut String, client: &ClientInfo, now: WallMs) {
    append_identity(out, client, now);
    append_buffers(out, client, now);
    append_rest(out, client);
}

/// Appends ` name=number` (the name with its blank and its sign).
fn field(out: &mut String, name: &str, number: impl itoa::Integer) {
    out.push_str(name);
    out.push_str(itoa::Buffer::new().format(number));
}

fn append_identity(out: &mut String, client: &ClientInfo, now: WallMs) {
    let seconds_since = |then: WallMs| now.0.saturating_sub(then.0) / 1000;
    field(out, "id=", client.id.0);
    match &client.endpoints {
        Endpoints::Tcp { peer, local } => {
            append_address(out, " addr=", *peer);
            append_address(out, " laddr=", *local);
        }
        Endpoints::Unix(path) => [" addr=", path, ":0 laddr=", path, ":0"].iter().for_each(|part| out.push_str(part)),
    }
    field(out, " fd=", client.fd);
    out.push_str(" name=");
    client.with_names(|names| out.push_str(&String::from_utf8_lossy(&names.name)));
    field(out, " age=", seconds_since(client.created));
    field(out, " idle=", seconds_since(client.last_seen()));
    out.push_str(" flags=");
    push_flags(out, client);
    field(out, " db=", client.db());
    let [channels, shards, patterns] = client.subscriptions();
    field(out, " sub=", channels);
    field(out, " psub=", patterns);
    field(out, " ssub=", shards);
    field(out, " multi=", client.multi().0.map_or(-1, |count| count as i64));
    field(out, " watch=", client.watch_count());
}

/// As `SocketAddr` shows itself.
fn append_address(out: &mut String, name: &str, address: SocketAddr) {
    let IpAddr::V4(ip) = address.ip() else {
        let _ = write!(out, "{name}{address}"); // Writing to a String cannot fail.
        return;
    };
    let [first, second, third, fourth] = ip.octets();
    field(out, name, first);
    [second, third, fourth].into_iter().for_each(|octet| field(out, ".", octet));
    field(out, ":", address.port());
}

fn append_buffers(out: &mut String, client: &ClientInfo, now: WallMs) {
    let (rbp, output) = (client.reply_peak(now), client.output());
    field(out, " qbuf=", client.input_len());
    field(out, " qbuf-free=", client.input_cap());
    field(out, " argv-mem=", client.held_len());
    field(out, " multi-mem=", client.multi().1);
    field(out, " rbs=", rbp.clamp(REPLY_BUFFER_MIN, REPLY_BUFFER_MAX));
    field(out, " rbp=", rbp);
    // Redis has a buffer of its own for the first bytes, and a list of blocks for what does not fit.
    let listed = output.buffered_len.saturating_sub(REPLY_BUFFER_MAX);
    field(out, " obl=", output.buffered_len - listed);
    field(out, " oll=", output.queued_count + listed.div_ceil(REPLY_BUFFER_MAX));
    field(out, " omem=", output.queued_len + listed);
    field(out, " tot-mem=", memory(client));
    out.push_str(" events=");
    out.push_str(if client.has(client_flag::UNREAD) { "" } else { "r" });
    out.push_str(if output.is_empty() { "" } else { "w" });
}

fn append_rest(out: &mut String, client: &ClientInfo) {
    out.push_str(" cmd=");
    out.push_str(table::by_index(client.row() as usize).map_or("NULL", |row| row.full_name));
    client.with_names(|names| {
        let user = if names.user.is_empty() { DEFAULT } else { &names.user };
        out.push_str(" user=");
        out.push_str(&String::from_utf8_lossy(user));
        match client.redirect() {
            Some(other) => field(out, " redir=", other),
            None => out.push_str(" redir=-1"),
        }
        field(out, " resp=", if client.has(client_flag::RESP3) { 3 } else { 2 });
        out.push_str(" lib-name=");
        out.push_str(&String::from_utf8_lossy(&names.lib_name));
        out.push_str(" lib-ver=");
        out.push_str(&String::from_utf8_lossy(&names.lib_ver));
    });
    let traffic = client.traffic();
    field(out, " tot-net-in=", traffic.received);
    field(out, " tot-net-out=", traffic.sent);
    field(out, " tot-cmds=", traffic.commands);
    out.push('\n');
}

/// Bytes that a connection takes in user space. As in Redis, where each client has that much for itself, replies do not make it
/// larger before they fill a first buffer: who has just been answered weighs what it weighed before.
pub fn memory(client: &ClientInfo) -> usize {
    let output = client.output();
    let replies = (output.buffer_cap + output.queued_len).saturating_sub(REPLY_BUFFER_MAX);
    let buffers = client.input_len() + client.input_cap() + client.held_len() + replies;
    let listens: u32 = client.subscriptions().iter().sum();
    let entries = client.watch_count() + listens + client.prefix_count();
    size_of::<ClientInfo>() + size_of::<Session>() + buffers + client.multi().1 + entries as usize * ENTRY_LEN
}

/// Letters of flags that Redis and Valkey know, whether a client of ours can have them or not.
pub const FLAG_LETTERS: &[u8] = b"ABEIMNOPRSTUbcdeirtux";

/// Letters as Redis uses them, in its order; N if there is none.
pub fn push_flags(out: &mut String, client: &ClientInfo) {
    let before = out.len();
    let letters = [
        (client_flag::MONITOR, 'O'),
        (client_flag::PUBSUB, 'P'),
        (client_flag::MULTI, 'x'),
        (client_flag::BLOCKED, 'b'),
        (client_flag::DIRTY, 'd'),
        (client_flag::TRACKING, 't'),
        (client_flag::TRACKING_BROKEN, 'R'),
        (client_flag::TRACKING_BROADCAST, 'B'),
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
