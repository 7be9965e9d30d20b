//! Why the server cannot start: one sentence with the cause, one with the remedy.

use std::fmt;

/// Printed to standard error; the exit code is 1.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
