//! Black box tests: the real binary, real sockets, both engines. One program, so that it is linked once.
//!
//! - One file per command family, with scenarios as text (`harness::scenario`). The replies were taken from Redis.
//! - `config`: parameters, the configuration file, standing in for the `redis-server` binary.
//! - `protocol`, `start_stop`, `clients`: bytes on the wire, life and death of the process, ordinary clients and tools.
//! - `differential`: the same random commands to ringdb and to redis-server; every reply byte must be the same.
//! - `linearizable`: recorded histories of several clients, and a checker that looks for an order that explains them.

mod harness;

mod acl;
mod alone;
mod bitmap;
mod blocking;
mod clients;
mod config;
mod connection;
mod differential;
mod expiry;
mod fairness;
mod functions;
mod geo;
mod hash;
mod hyperloglog;
mod introspection;
mod journal;
mod keys;
mod linearizable;
mod list;
mod long_reply;
mod memory;
mod migrate;
mod monitor;
mod pause;
mod protocol;
mod pubsub;
mod scripting;
mod server;
mod set;
mod snapshot;
mod sorted_set;
mod start_stop;
mod statistics;
mod stream;
mod string;
mod tracking;
mod transaction;
