//! Layer 7: from the command line to running loops, and back to the shell.

#![forbid(unsafe_code)]

pub mod options;
