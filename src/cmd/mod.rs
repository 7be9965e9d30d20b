//! Layer 5: the commands. A family file holds its rows first, then the handlers in row order.

#![forbid(unsafe_code)]

pub mod alone;
pub mod auth;
pub mod background;
pub mod base;
pub mod blocking;
pub mod command;
pub mod docs;
pub mod help;
pub mod keyspec;
pub mod permission;
pub mod queue;
pub mod redact;
pub mod resume;
pub mod script;
#[cfg(any(test, fuzzing))]
pub mod script_fuzz;
pub mod scripts;
pub mod session;
pub mod silence;
pub mod table;
#[cfg(any(test, fuzzing))]
pub mod testkit;
pub mod usage;
pub mod world;

pub mod acl;
pub mod bitmap;
pub mod client;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod database;
pub mod debug;
pub mod expire;
pub mod fcall;
pub mod function;
pub mod functions;
pub mod geo;
pub mod hash;
pub mod hash_expire;
pub mod hyperloglog;
pub mod info;
pub mod introspect;
pub mod key;
pub mod latency;
pub mod list;
pub mod loading;
pub mod lolwut;
pub mod memory;
pub mod migrate;
pub mod module;
pub mod monitor;
pub mod object;
pub mod persistence;
pub mod pubsub;
pub mod relocate;
pub mod replication;
pub mod restore;
pub mod scan;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod snapshot;
pub mod sort;
pub mod stream;
pub mod string;
pub mod transaction;
pub mod zset;

mod bitfield;
#[cfg(test)]
mod bitmap_test;
mod counter;
mod debug_protocol;
mod debug_table;
mod edit;
#[cfg(test)]
mod events_test;
mod geo_search;
#[cfg(test)]
mod geo_test;
mod gradual;
#[cfg(test)]
mod hash_expire_test;
mod hash_pick;
#[cfg(test)]
mod hash_test;
#[cfg(test)]
mod hyperloglog_test;
#[cfg(test)]
mod key_test;
mod latency_report;
mod lcs;
mod list_find;
mod list_move;
mod list_range;
#[cfg(test)]
mod list_test;
mod list_wait;
mod multi_string;
mod options;
mod protected;
#[cfg(all(test, not(loom)))]
mod restore_test;
mod saver;
mod set_combine;
mod set_pick;
#[cfg(test)]
mod set_test;
mod sort_gradual;
#[cfg(test)]
mod sort_test;
#[cfg(test)]
mod string_test;
mod zset_algebra;
mod zset_pop;
mod zset_range;
mod zset_sample;
#[cfg(test)]
mod zset_test;
mod zset_wait;
