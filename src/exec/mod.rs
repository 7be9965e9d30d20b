//! Layer 6: from a parsed command to its reply.
//!
//! ```text
//! look      for a window of commands of all clients: row, hash of the keys, prefetch of what the keys lie in
//! gate      may this command run for this client now? One ordered list of checks
//! room      when memory is short: evict, or refuse
//! dispatch  run the handler; undo the half reply of one that failed; count
//! alone     run what needs everything else to stand still: transactions, and by `script` scripts and functions
//! section   run transactions and plain scripts on keys that are known: others go on, and only these keys are held
//! serve     run the commands of clients that wait for what a command has filled
//! order     put what changes data in one order, while somebody keeps it
//! long      go on with a command that takes more than one turn
//! watch     time commands, most of them by sample; `slow` keeps what took long
//! tell      what happened to keys goes to those who listen; `invalidate` tells clients that keep copies
//! load      the files of a journal
//! feed      at the start: the commands of a journal go to the loops
//! replay    run the commands of a journal while everything stands still
//! effects   what the commands of a turn changed, handed over at its end
//! ```
//! Nothing here knows one command from another: a special case is a missing column of the row.

#![forbid(unsafe_code)]

pub mod alone;
pub mod dispatch;
pub mod effects;
pub mod feed;
pub mod gate;
pub mod invalidate;
pub mod load;
pub mod long;
pub mod look;
mod order;
pub mod replay;
pub mod room;
mod script;
mod section;
mod serve;
#[cfg(all(test, not(loom)))]
mod serve_test;
pub mod slow;
pub mod tell;
pub mod watch;
