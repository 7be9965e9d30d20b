//! The registry of connected clients: what CLIENT LIST shows of clients of every loop, and where CLIENT KILL finds them.
//!
//! Each connection has one `ClientInfo`, shared by its loop and the registry. The loop writes the hot fields with relaxed
//! stores at most once per turn; whoever lists clients reads them a moment late. The registry's locks, one per loop, are
//! taken at connect, at disconnect and by the listing commands, never by a data command.

use super::acl::user::DEFAULT;
use super::wait::{Ticket, WaitWord};
use crate::base::clock::WallMs;
use crate::base::ids::{ClientId, LoopId};
use crate::base::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoints {
    Tcp {
        peer: SocketAddr,
        local: SocketAddr,
    },
    /// The server's socket path; a Unix peer has no name of its own.
    Unix(Arc<str>),
}

impl Endpoints {
    /// The client's end, as `addr=` shows it: `ip:port`, `[ip6]:port` or `path:0`.
    pub fn peer(&self) -> String {
        match self {
            Endpoints::Tcp { peer, .. } => peer.to_string(),
            Endpoints::Unix(path) => format!("{path}:0"),
        }
    }
    /// The server's end, as `laddr=` shows it.
    pub fn local(&self) -> String {
        match self {
            Endpoints::Tcp { local, .. } => local.to_string(),
            Endpoints::Unix(path) => format!("{path}:0"),
        }
    }
    pub fn is_unix(&self) -> bool {
        matches!(self, Endpoints::Unix(_))
    }
    /// True if the client is on this machine: DEBUG and other protected commands ask.
    pub fn is_local(&self) -> bool {
        match self {
            Endpoints::Tcp { peer, .. } => peer.ip().to_canonical().is_loopback(),
            Endpoints::Unix(_) => true,
        }
    }
}

/// Bits of `ClientInfo::flags`.
pub mod client_flag {
    pub const NO_EVICT: u32 = 1 << 0;
    pub const NO_TOUCH: u32 = 1 << 1;
    pub const RESP3: u32 = 1 << 2;
    /// Killed: it is closed as soon as its loop hears of it, or once its last reply is sent.
    pub const CLOSING: u32 = 1 << 3;
    /// Its command waits.
    pub const BLOCKED: u32 = 1 << 4;
    pub const MONITOR: u32 = 1 << 5;
    /// Its loop does not read from it: too much waits to be run or to be sent.
    pub const UNREAD: u32 = 1 << 6;
    /// Between MULTI and EXEC.
    pub const MULTI: u32 = 1 << 7;
    /// It has subscribed to something.
    pub const PUBSUB: u32 = 1 << 8;
    /// A key that it watches was changed.
    pub const DIRTY: u32 = 1 << 9;
    /// It keeps copies of what it reads; by prefixes; the client that it redirects to is gone.
    pub const TRACKING: u32 = 1 << 10;
    pub const TRACKING_BROADCAST: u32 = 1 << 11;
    pub const TRACKING_BROKEN: u32 = 1 << 12;
    /// It goes to another server when it is told to (CLIENT CAPA).
    pub const CAN_REDIRECT: u32 = 1 << 13;
}

/// How long a peak is remembered of a client that does nothing. Source: Redis, `PROTO_REPLY_PEAK_RESET_INTERVAL`.
const PEAK_MS: u64 = 5000;

/// `ClientInfo::row` before the first command.
pub const NO_ROW: u32 = u32::MAX;

/// What clients say about themselves. Most connections say nothing, so it is allocated on demand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_ver: Box<[u8]>,
    /// The name of its user; empty: the default one.
    pub user: Box<[u8]>,
}

/// One connection as other loops see it.
///
/// Order: Relaxed throughout. Each field stands alone; a listing may mix fields of two neighbouring turns.
pub struct ClientInfo {
    pub id: ClientId,
    pub home: LoopId,
    pub fd: i32,
    pub endpoints: Endpoints,
    pub created: WallMs,
    last_seen_ms: AtomicU64,
    buffered_len: AtomicU64,
    queued_len: AtomicU64,
    owned_len: AtomicU64,
    input_len: AtomicU32,
    input_cap: AtomicU32,
    held_len: AtomicU32,
    reply_cap: AtomicU32,
    reply_peak: AtomicU32,
    queued_count: AtomicU32,
    received: AtomicU64,
    sent: AtomicU64,
    commands: AtomicU64,
    /// Where its loop keeps it.
    slot: AtomicU32,
    /// Commands that are queued between MULTI and EXEC, plus 1; 0: there was no MULTI. And the bytes that they need.
    multi_count: AtomicU32,
    multi_len: AtomicU32,
    /// Keys that it watches.
    watch_count: AtomicU32,
    /// Prefixes of keys that it tracks.
    prefix_count: AtomicU32,
    row: AtomicU32,
    db: AtomicU32,
    flags: AtomicU32,
    /// How many channels, shard channels and patterns it has subscribed to.
    subscriptions: [AtomicU32; 3],
    /// The client that its invalidations go to; 0: itself.
    redirect: AtomicU64,
    /// Its wait for something that others bring, if it waits.
    pub wait: WaitWord,
    names: Mutex<Option<Box<Names>>>,
}

// 10 000 idle connections must stay small: 1 KiB each in all, buffers included.
#[cfg(not(loom))]
const _: () = assert!(size_of::<ClientInfo>() <= 256, "a registered client is small");

/// What a loop reports of a client at the end of a turn in which it was active.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub now: WallMs,
    /// Dense index of the last command's row.
    pub row: u32,
    /// Bytes in the input buffer that are not yet a whole command.
    pub input_len: usize,
    /// Bytes of room behind them.
    pub input_cap: usize,
    /// Bytes of whole commands that were cut and wait (a parked client's).
    pub held_len: usize,
    pub output: OutputSeen,
    pub traffic: Traffic,
}

/// What waits to be sent to a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputSeen {
    /// Bytes in the reply buffer, and its room.
    pub buffered_len: usize,
    pub buffer_cap: usize,
    /// Bytes in flight or held by reference, and in how many pieces.
    pub queued_len: usize,
    pub queued_count: usize,
}

impl OutputSeen {
    /// Bytes that wait in all.
    pub fn len(&self) -> usize {
        self.buffered_len + self.queued_len
    }
    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What went over a connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub received: u64,
    pub sent: u64,
    /// Commands that have run.
    pub commands: u64,
}

impl ClientInfo {
    /// A client in no list: whoever runs the commands of a journal.
    pub fn unseen(home: LoopId, now: WallMs) -> Arc<Self> {
        Arc::new(ClientInfo::new(ClientId(0), home, -1, Endpoints::Unix("journal".into()), now))
    }
    /// A fresh client in database 0.
    pub fn new(id: ClientId, home: LoopId, fd: i32, endpoints: Endpoints, now: WallMs) -> Self {
        ClientInfo {
            id,
            home,
            fd,
            endpoints,
            created: now,
            last_seen_ms: AtomicU64::new(now.0),
            buffered_len: AtomicU64::new(0),
            queued_len: AtomicU64::new(0),
            owned_len: AtomicU64::new(0),
            input_len: AtomicU32::new(0),
            input_cap: AtomicU32::new(0),
            held_len: AtomicU32::new(0),
            reply_cap: AtomicU32::new(0),
            reply_peak: AtomicU32::new(0),
            queued_count: AtomicU32::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            slot: AtomicU32::new(0),
            multi_count: AtomicU32::new(0),
            multi_len: AtomicU32::new(0),
            watch_count: AtomicU32::new(0),
            prefix_count: AtomicU32::new(0),
            row: AtomicU32::new(NO_ROW),
            db: AtomicU32::new(0),
            flags: AtomicU32::new(0),
            subscriptions: [const { 0 }; 3].map(AtomicU32::new),
            redirect: AtomicU64::new(0),
            wait: WaitWord::default(),
            names: Mutex::new(None),
        }
    }
    /// Notes a turn's activity. Only the owning loop calls this.
    /// Cost: a dozen plain stores.
    #[inline]
    pub fn seen(&self, seen: Seen) {
        if seen.now.0.saturating_sub(self.last_seen_ms.load(Relaxed)) >= PEAK_MS {
            self.reply_peak.store(0, Relaxed);
        }
        self.last_seen_ms.store(seen.now.0, Relaxed);
        self.row.store(seen.row, Relaxed);
        self.set_input(seen.input_len, seen.input_cap);
        self.held_len.store(seen.held_len.min(u32::MAX as usize) as u32, Relaxed);
        self.set_output(seen.output);
        self.set_traffic(seen.traffic);
    }
    /// Notes the client's own input bytes and the room behind them.
    pub fn set_input(&self, len: usize, room: usize) {
        self.input_len.store(len.min(u32::MAX as usize) as u32, Relaxed);
        self.input_cap.store(room.min(u32::MAX as usize) as u32, Relaxed);
    }
    /// Notes what waits to be sent.
    #[inline]
    pub fn set_output(&self, output: OutputSeen) {
        let clipped = |value: usize| value.min(u32::MAX as usize) as u32;
        self.buffered_len.store(output.buffered_len as u64, Relaxed);
        self.queued_len.store(output.queued_len as u64, Relaxed);
        self.queued_count.store(clipped(output.queued_count), Relaxed);
        self.reply_cap.store(clipped(output.buffer_cap), Relaxed);
        let peak = clipped(output.len());
        if peak > self.reply_peak.load(Relaxed) {
            self.reply_peak.store(peak, Relaxed);
        }
    }
    /// Notes what replies take of their own, and what waits behind them. Nobody does while there is no limit of memory.
    pub fn set_owned(&self, len: usize) {
        self.owned_len.store(len as u64, Relaxed);
    }
    pub fn owned_len(&self) -> usize {
        self.owned_len.load(Relaxed) as usize
    }
    /// What waited to be sent a moment ago.
    pub fn output(&self) -> OutputSeen {
        OutputSeen {
            buffered_len: self.buffered_len.load(Relaxed) as usize,
            buffer_cap: self.reply_cap.load(Relaxed) as usize,
            queued_len: self.queued_len.load(Relaxed) as usize,
            queued_count: self.queued_count.load(Relaxed) as usize,
        }
    }
    /// The most bytes that waited at the end of a turn, since the client was last idle for `PEAK_MS`.
    pub fn reply_peak(&self, now: WallMs) -> usize {
        let idle_ms = now.0.saturating_sub(self.last_seen().0);
        if idle_ms < PEAK_MS { self.reply_peak.load(Relaxed) as usize } else { 0 }
    }
    /// Bytes of commands that wait to run.
    pub fn held_len(&self) -> usize {
        self.held_len.load(Relaxed) as usize
    }
    /// Notes what went over the connection.
    #[inline]
    pub fn set_traffic(&self, traffic: Traffic) {
        self.received.store(traffic.received, Relaxed);
        self.sent.store(traffic.sent, Relaxed);
        self.commands.store(traffic.commands, Relaxed);
    }
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            commands: self.commands.load(Relaxed),
        }
    }
    /// Notes the commands that are queued, if there was a MULTI, and their bytes.
    #[inline]
    pub fn set_multi(&self, count: Option<usize>, len: usize) {
        self.multi_count.store(count.map_or(0, |count| count as u32 + 1), Relaxed);
        self.multi_len.store(len.min(u32::MAX as usize) as u32, Relaxed);
    }
    /// Commands that are queued between MULTI and EXEC, and their bytes.
    pub fn multi(&self) -> (Option<usize>, usize) {
        (
            self.multi_count.load(Relaxed).checked_sub(1).map(|count| count as usize),
            self.multi_len.load(Relaxed) as usize,
        )
    }
    /// Keys that it watches.
    pub fn watch_count(&self) -> u32 {
        self.watch_count.load(Relaxed)
    }
    pub fn set_watch_count(&self, count: u32) {
        self.watch_count.store(count, Relaxed);
    }
    /// Prefixes of keys that it tracks.
    pub fn prefix_count(&self) -> u32 {
        self.prefix_count.load(Relaxed)
    }
    pub fn set_prefix_count(&self, count: u32) {
        self.prefix_count.store(count, Relaxed);
    }
    /// Where its loop finds the connection.
    pub fn slot(&self) -> u32 {
        self.slot.load(Relaxed)
    }
    pub fn set_slot(&self, slot: u32) {
        self.slot.store(slot, Relaxed);
    }
    /// When the client last sent something.
    pub fn last_seen(&self) -> WallMs {
        WallMs(self.last_seen_ms.load(Relaxed))
    }
    pub fn input_len(&self) -> usize {
        self.input_len.load(Relaxed) as usize
    }
    pub fn input_cap(&self) -> usize {
        self.input_cap.load(Relaxed) as usize
    }
    pub fn output_len(&self) -> usize {
        self.output().len()
    }
    /// Dense index of the last command's row, or `NO_ROW`.
    pub fn row(&self) -> u32 {
        self.row.load(Relaxed)
    }
    /// Notes the command that is running now, so that CLIENT LIST shows itself.
    pub fn set_row(&self, row: u32) {
        self.row.store(row, Relaxed);
    }
    pub fn db(&self) -> u32 {
        self.db.load(Relaxed)
    }
    pub fn set_db(&self, db: u32) {
        self.db.store(db, Relaxed);
    }
    /// The client that its invalidations go to, 0 for itself; None: it does not track.
    pub fn redirect(&self) -> Option<u64> {
        self.has(client_flag::TRACKING).then(|| self.redirect.load(Relaxed))
    }
    pub fn set_redirect(&self, client: Option<ClientId>) {
        self.redirect.store(client.map_or(0, |id| id.0), Relaxed);
    }
    /// How many channels, shard channels and patterns it has subscribed to.
    pub fn subscriptions(&self) -> [u32; 3] {
        [0, 1, 2].map(|space| self.subscriptions[space].load(Relaxed))
    }
    pub fn set_subscriptions(&self, counts: [usize; 3]) {
        self.subscriptions.iter().zip(counts).for_each(|(cell, count)| cell.store(count as u32, Relaxed));
    }
    pub fn has(&self, flag: u32) -> bool {
        self.flags.load(Relaxed) & flag != 0
    }
    /// Switches a flag: the owning loop its own, a killer `CLOSING`.
    pub fn set(&self, flag: u32, on: bool) {
        if on {
            self.flags.fetch_or(flag, Relaxed)
        } else {
            self.flags.fetch_and(!flag, Relaxed)
        };
    }
    /// What the client told about itself.
    pub fn names(&self) -> Names {
        locked(&self.names).as_deref().cloned().unwrap_or_default()
    }
    /// Is this the name of its user?
    pub fn is_user(&self, name: &[u8]) -> bool {
        match locked(&self.names).as_deref() {
            Some(names) if !names.user.is_empty() => *names.user == *name,
            _ => name == DEFAULT,
        }
    }
    /// Looks at what the client told about itself.
    pub fn with_names<R>(&self, look: impl FnOnce(&Names) -> R) -> R {
        static NONE: LazyLock<Names> = LazyLock::new(Names::default);
        look(locked(&self.names).as_deref().unwrap_or(&NONE))
    }
    /// Changes what the client told about itself.
    pub fn rename(&self, change: impl FnOnce(&mut Names)) {
        change(locked(&self.names).get_or_insert_default());
    }
}

/// The clients of one loop by id.
type OfLoop = Mutex<BTreeMap<u64, Arc<ClientInfo>>>;

/// All connected clients.
pub struct Clients {
    loops: Box<[OfLoop]>,
    next_id: AtomicU64,
    count: AtomicUsize,
    blocked: AtomicUsize,
    tickets: AtomicU64,
}

impl Clients {
    /// An empty registry for `loops` loops.
    pub fn new(loops: usize) -> Self {
        let loops = (0..loops.max(1)).map(|_| Mutex::default()).collect();
        let (count, blocked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Clients { loops, next_id: AtomicU64::new(1), count, blocked, tickets: AtomicU64::new(1) }
    }
    /// Number of connected clients.
    pub fn count(&self) -> usize {
        self.count.load(Relaxed)
    }
    /// Number of clients whose command waits.
    pub fn blocked(&self) -> usize {
        self.blocked.load(Relaxed)
    }
    /// A client's command waits, or does so no longer.
    pub fn count_blocked(&self, is_blocked: bool) {
        if is_blocked {
            self.blocked.fetch_add(1, Relaxed)
        } else {
            self.blocked.fetch_sub(1, Relaxed)
        };
    }
    /// The next wait. Order: Relaxed: of two that begin at the same time either may be the first.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Relaxed))
    }
    /// Takes a place among at most `max` clients; false if there is none. Whoever got one calls `add`, later `remove`;
    /// or `give_back` if the connection came to nothing.
    /// Order: Relaxed: the count alone decides, nothing is published by it.
    pub fn reserve(&self, max: usize) -> bool {
        self.count.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1)).is_ok()
    }
    /// Gives back a reserved place that was never used.
    pub fn give_back(&self) {
        self.count.fetch_sub(1, Relaxed);
    }
    /// Registers a connection for which a place was reserved; its id is the next number.
    pub fn add(&self, home: LoopId, fd: i32, endpoints: Endpoints, now: WallMs) -> Arc<ClientInfo> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let client = Arc::new(ClientInfo::new(ClientId(id), home, fd, endpoints, now));
        locked(&self.loops[home.0 as usize]).insert(id, client.clone());
        client
    }
    /// Forgets a connection and frees its place.
    pub fn remove(&self, client: &ClientInfo) {
        if locked(&self.loops[client.home.0 as usize]).remove(&client.id.0).is_some() {
            self.give_back();
        }
    }
    /// The client with this id.
    pub fn get(&self, id: ClientId) -> Option<Arc<ClientInfo>> {
        self.loops.iter().find_map(|clients| locked(clients).get(&id.0).cloned())
    }
    /// All clients in the order in which they connected.
    /// Cost: one lock per loop for the time of copying its references.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        let mut all: Vec<_> =
            self.loops.iter().flat_map(|clients| locked(clients).values().cloned().collect::<Vec<_>>()).collect();
        all.sort_by_key(|client| client.id);
        all
    }
    /// Number of clients of each loop.
    pub fn per_loop(&self) -> Vec<usize> {
        self.loops.iter().map(|clients| locked(clients).len()).collect()
    }
}

/// A lock whose holders cannot leave half a change behind: a panic aborts the process anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(peer: &str) -> Endpoints {
        Endpoints::Tcp { peer: peer.parse().unwrap(), local: "127.0.0.1:6379".parse().unwrap() }
    }

    #[test]
    fn clients_of_all_loops_are_listed_in_the_order_of_their_ids() {
        let clients = Clients::new(2);
        for home in [1, 0, 1] {
            assert!(clients.reserve(3));
            clients.add(LoopId(home), 7, tcp("127.0.0.1:9"), WallMs(5));
        }
        assert!(!clients.reserve(3));
        let all = clients.all();
        assert_eq!(all.iter().map(|client| client.id.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(clients.per_loop(), [1, 2]);
        clients.remove(&all[1]);
        clients.remove(&all[1]);
        assert_eq!(clients.count(), 2);
        assert!(clients.get(ClientId(2)).is_none() && clients.get(ClientId(3)).is_some());
    }

    #[test]
    fn endpoints_print_as_redis_prints_them() {
        assert_eq!(tcp("10.1.2.3:4").peer(), "10.1.2.3:4");
        assert_eq!(tcp("[::1]:4").peer(), "[::1]:4");
        assert!(tcp("[::1]:4").is_local() && tcp("[::ffff:127.0.0.1]:4").is_local() && !tcp("10.1.2.3:4").is_local());
        assert_eq!(Endpoints::Unix("/tmp/s".into()).local(), "/tmp/s:0");
    }
}
