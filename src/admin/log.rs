//! The log: one line per event, in Redis's shape, on standard output or in a file.
//!
//! Shape: `PID:M dd Mon yyyy HH:MM:SS.mmm LEVEL text`, LEVEL one of `.` debug, `-` verbose, `*` notice, `#` warning; times
//! are local. The file is opened for each line, as Redis does, so it may be moved away or removed at any time.
//!
//! Nothing is logged per command. Before `open` was called (unit tests) nothing is logged at all.

use crate::base::clock::wall_micros;
use crate::base::sync::{AtomicU32, Ordering::Relaxed};
use crate::base::zone::utc_offset;
use std::fmt::Arguments;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How much an event matters; the order is that of the parameter `loglevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

struct Log {
    /// None: standard output.
    path: Option<PathBuf>,
    /// Lines below this level are dropped; 4 drops all.
    level: AtomicU32,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Opens the log, once per process. `level` is the number of the parameter `loglevel`.
/// Errors: the file cannot be opened for appending.
pub fn open(path: Option<&Path>, level: u32) -> io::Result<()> {
    if let Some(path) = path {
        append_to(path)?;
    }
    let path = path.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into()));
    let _ = LOG.set(Log { path, level: AtomicU32::new(level) }); // A second call changes nothing.
    Ok(())
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Changes what is logged (CONFIG SET loglevel).
pub fn set_level(level: u32) {
    if let Some(log) = LOG.get() {
        log.level.store(level, Relaxed);
    }
}

/// Is anything of this level written? Ask before building an expensive text.
#[inline]
pub fn wants(level: Level) -> bool {
    LOG.get().is_some_and(|log| level as u32 >= log.level.load(Relaxed))
}

/// Writes one line. A log that cannot be written must not stop the server, so trouble is passed over.
pub fn write(level: Level, text: Arguments<'_>) {
    let Some(log) = LOG.get().filter(|_| wants(level)) else { return };
    let sign = ['.', '-', '*', '#'][level as usize];
    let now = wall_micros() / 1000;
    let local = now.saturating_add_signed(utc_offset(now / 1000) * 1000);
    let line = format!("{}:M {} {sign} {text}\n", std::process::id(), date(local));
    // One write of a whole line in append mode: lines of several threads do not mix.
    let _ = match &log.path {
        Some(path) => append_to(path).and_then(|mut file| file.write_all(line.as_bytes())),
        None => io::stdout().lock().write_all(line.as_bytes()),
    };
}

/// Appends bytes as they are, whatever the level: the report of a crash. Allocates nothing.
pub fn append_raw(bytes: &[u8]) {
    let Some(log) = LOG.get() else { return };
    let _ = match &log.path {
        Some(path) => append_to(path).and_then(|mut file| file.write_all(bytes)),
        // Not through the locked buffer of the standard library: the thread that holds the lock may be the one that crashed.
        None => nix::unistd::write(io::stdout(), bytes).map(drop).map_err(io::Error::from),
    };
}

/// Something an operator wants to know.
pub fn notice(text: Arguments<'_>) {
    write(Level::Notice, text);
}

/// Something an operator should act on.
pub fn warning(text: Arguments<'_>) {
    write(Level::Warning, text);
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `dd Mon yyyy HH:MM:SS.mmm` of a time in (local) milliseconds since 1970.
fn date(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days since 1 March 0000, where leap days end a year. Source: Hinnant, "chrono-compatible low-level date algorithms".
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153; // 0 is March.
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = era * 400 + year_of_era + (month < 2) as u64;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{day:02} {} {year} {hour:02}:{minute:02}:{second:02}.{:03}", MONTHS[month as usize], ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(date(951_782_400_000), "29 Feb 2000 00:00:00.000");
        assert_eq!(date(1_709_251_199_999), "29 Feb 2024 23:59:59.999");
        assert_eq!(date(1_735_689_600_001), "01 Jan 2025 00:00:00.001");
        assert_eq!(date(4_107_542_400_000), "01 Mar 2100 00:00:00.000");
    }
}
