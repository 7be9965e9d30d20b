//! The whole command path without sockets: lines of commands against a world of their own.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringdb::cmd::script_fuzz::run(data));
