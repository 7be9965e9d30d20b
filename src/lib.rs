//! ringdb: a Redis-compatible in-memory data server. This page is the bird's-eye view; each module's header has its idea.
//!
//! One process, N event loops, one per core that the process may use, and ONE table that all of them work on. A loop reads
//! its clients' requests, runs each of them itself, to the end, against the shared table, and writes the replies. There is
//! no owner thread to ask, no queue between a client and its data, no reply to put back in order.
//!
//! # A turn
//!
//! ```text
//!         ring::Engine           resp::parse        exec::look           exec::gate, dispatch         ring::Engine
//! kernel ─▶ completions ─▶ input ─▶ Args ─▶ window of ≤ 64 ─▶ row, hash, prefetch ─▶ handler ─▶ Reply ─▶ one send a client
//!           only filed             offsets,   of all clients                          │
//!                                  no copy                                            ▼
//!                                                                    keyspace::Keys ─▶ table::Table
//! ```
//!
//! Completions are filed first and worked on later, so that a turn is bounded and nothing recurses. Requests are cut in place:
//! [`resp::args::Args`] are offsets into the receive buffer. Before a window of commands runs, its keys are hashed and the
//! table's lines prefetched, so that waiting for memory overlaps across clients. Replies go to one buffer per client. At the
//! turn's end everything is submitted, and the loop waits, in one system call.
//!
//! # Layers
//!
//! A module imports only from lower layers, and siblings do not import each other; a test holds us to it.
//!
//! ```text
//! 8  server      options, listeners, threads, signals, shutdown
//! 7  event_loop  the turn; clients, their input and output; mail between loops; timers
//! 6  exec        may this command run, run it, count it, hand over what it changed
//! 5  cmd         a row per command that tells everything about it, and its handler; one file per family
//! 4  script      Lua: an interpreter per loop, and what scripts may do, behind a trait that the server implements
//!    pubsub      who listens to which channels; messages on their way
//!    tracking    which clients keep copies of which keys
//!    journal     the append-only file: records, their order in files, what is durable; bytes, and a disk behind a trait
//!    persist     values and whole data sets in Redis's snapshot format
//! 3  keyspace    databases: what a key means; expiry; collections under their locks; the safepoint that stops all loops
//! 2  ring        the kernel behind one contract: io_uring, or epoll where that is forbidden
//!    resp        bytes to requests, replies to bytes, error texts
//!    table       the lock-free map from key bytes to entries
//!    admin       passive registries: parameters, counters, clients
//! 1  value       what values are made of: operations on strings as plain bytes, collections
//! 0  base        clocks, hashing, numbers as text, globs, the allocator; `sync`, the only door to atomics
//! ```
//!
//! Said as absences: a handler never sees a socket, a file or a thread. The table does not know what a string is, nor what
//! time it is. Only `ring` makes system calls on the data path. Handlers check everything before their first write.
//!
//! # Who may change what, and when
//!
//! - One string key: lock-free. The command takes effect at one compare-and-swap of the table.
//! - One collection: its own lock, shared for readers, exclusive for a writer.
//! - Several collections (SMOVE, SINTERSTORE): all their locks, taken in one order.
//! - Several keys (MSET, RENAME, COPY): staged. Each key's slot points to a shared record; one store to the record's status
//!   commits them all. Readers resolve the record and never wait.
//! - A transaction or plain script on keys that are known: staged as well, and its keys are held while it runs (a section).
//! - Everything (FLUSHALL, SWAPDB, other scripts and transactions): the safepoint. All other loops stand still between two commands.
//!
//! Every command appears to happen at one instant between its request and its reply, in one order for all clients. The
//! protocols are written at the heads of `table`'s files; `loom-tests/` has a model of each, with a mutation that must fail.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | turn | one round of a loop: reap, run, flush |
//! | window | the commands, of any clients, that are looked up and prefetched together |
//! | row | the static description of a command: name, arity, flags, keys, handler ([`cmd::command::Command`]) |
//! | look stage | what happens between parsing and running: find the row, hash the keys, prefetch |
//! | gate | the ordered list of reasons why a command may not run now |
//! | entry | one allocation that holds a key, its value and its header |
//! | group, tag | a cache line of the table, and the bits of a hash that are kept beside a pointer in it |
//! | staged | prepared for several keys, not yet in effect; one store makes it so |
//! | object | a collection in its entry, with the lock under which it is changed in place |
//! | dead | an object whose entry was unlinked: look the key up again |
//! | freeze | to stop changes of an integer cell for good, before its entry is replaced |
//! | guard, pin | the right to follow the table's pointers: nothing seen under it is freed while it lives |
//! | retire | to give up memory that others may still see; it is freed once no guard can |
//! | safepoint | the moment when all loops but one stand still between two commands |
//! | engine | io_uring or epoll, behind one contract ([`ring::Engine`]) |
//! | mail | a message from loop to loop, about a client that lives elsewhere |
//!
//! # Where to begin
//!
//! `event_loop` (the turn), then `exec::dispatch`, then a family in `cmd`; `resp::parse` for how bytes become commands; for
//! the heart `table`: its header, `probe`, `staged`, `reclaim`.
#![allow(missing_docs)]

pub mod base;

pub mod value;

pub mod admin;
pub mod resp;
pub mod ring;
pub mod table;

pub mod journal;
pub mod keyspace;

pub mod persist;
pub mod pubsub;
pub mod script;
pub mod tracking;

pub mod cmd;

pub mod exec;

pub mod event_loop;

pub mod server;
