//! Layer 4: scripts: Lua 5.1 with what Redis adds to it, and takes from it.
//!
//! ```text
//! cmd, exec                      script                                Lua
//! ─────────                      ──────                                ───
//! EVAL text ──▶ Interp::compile ─▶ state::load ──────────────────────▶ a function, kept in the registry
//!               Interp::run ─────▶ KEYS, ARGV, hook, protected call ─▶ the script
//!                                                                        │ redis.call(…)
//! Host::call ◀──── Args ◀──────── api: arguments side by side ◀──────────┘
//!      └──▶ reply bytes ────────▶ to_lua: a value ─────────────────────▶ …
//! client's reply ◀────────────── to_reply ◀──────────────────────────── return value, or error
//! ```
//!
//! This room knows Lua and the protocol. What a command is, who the user is, what to do when a script runs too long: that
//! is behind the trait [`host::Host`]. One [`Interp`] belongs to one loop; sources are shared, compiled functions are not.
//!
//! - `state`     Lua's C interface. The unsafe files are this one, `run` and `interp`
//! - `interp`    making an interpreter, compiling, running
//! - `run`       what one run of a script has: its host, its buffers
//! - `api`       `redis.*`; `sandbox`: what scripts may not do, and how their errors look; `builtins`: what of Lua we replace
//! - `to_lua`, `to_reply`  conversions
//! - `plain`     which scripts keep to their keys and end soon, by their text
//! - `shebang`   `#!lua flags=…`; `register`: what libraries of functions tell; `payload`: FUNCTION DUMP's bytes
//! - `bit`, `cjson`, `cmsgpack`, `structs`  libraries; `native` is how their functions are called, `number` C's numbers

mod api;
pub mod bit;
mod builtins;
pub mod cjson;
mod cjson_decode;
mod cjson_encode;
pub mod cmsgpack;
mod cmsgpack_decode;
pub mod host;
mod interp;
#[cfg(all(test, not(loom)))]
mod interp_test;
#[cfg(all(test, not(loom)))]
mod libraries_test;
mod native;
mod number;
pub mod payload;
pub mod plain;
mod register;
mod run;
mod sandbox;
pub mod shebang;
mod state;
pub mod structs;
mod to_lua;
mod to_reply;

pub use host::Host;
pub use interp::{Call, Chunk, Interp, Options};
pub use register::{BAD_NAME, Registered, is_name};
