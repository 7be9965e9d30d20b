//! `oom-score-adj`: how readily the kernel ends this process when the machine runs out of memory.
//!
//! ```text
//! no         as the process was started; coming from another value, what it was started with is written back
//! yes        that, plus the first of `oom-score-adj-values`        (the other two are for replicas and for children)
//! absolute   the first of `oom-score-adj-values`
//! ```
//! Source: Redis, `setOOMScoreAdj`; proc_pid_oom_score_adj(5).

use crate::admin::config::Config;
use crate::admin::log;
use crate::admin::params::Id;
use std::fs;
use std::io;

const FILE: &str = "/proc/self/oom_score_adj";

/// The score that the kernel was told, and what it was before.
#[derive(Debug, Default)]
pub struct OomScore {
    /// Set while the score is ours.
    base: Option<i32>,
}

impl OomScore {
    /// Tells the kernel what the parameters say.
    /// Errors: the file cannot be read or written (a lower score than before needs a privilege); logged.
    pub fn apply(&mut self, config: &Config) -> Result<(), String> {
        self.tell(config).map_err(|error| {
            log::warning(format_args!("Unable to set {FILE}: {error}"));
            "Failed to set current oom_score_adj. Check server logs.".to_string()
        })
    }

    fn tell(&mut self, config: &Config) -> io::Result<()> {
        let mode = config.word(Id::OOM_SCORE_ADJ);
        if mode == "no" {
            let Some(base) = self.base else { return Ok(()) };
            write(base)?;
            self.base = None;
            return Ok(());
        }
        let base = match self.base {
            Some(base) => base,
            None => fs::read_to_string(FILE)?.trim().parse().unwrap_or(0),
        };
        write(wanted(mode, base, &config.words(Id::OOM_SCORE_ADJ_VALUES)))?;
        self.base = Some(base);
        Ok(())
    }
}

/// The score of a primary, within what the kernel takes.
fn wanted(mode: &str, base: i32, values: &[String]) -> i32 {
    let own: i32 = values.first().and_then(|value| value.parse().ok()).unwrap_or(0);
    let score = if mode == "absolute" { own } else { own.saturating_add(base) };
    score.clamp(-1000, 1000)
}

fn write(score: i32) -> io::Result<()> {
    fs::write(FILE, format!("{score}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_added_to_what_the_process_had_or_stands_alone() {
        let values = ["15", "20", "30"].map(String::from);
        assert_eq!(wanted("yes", 100, &values), 115);
        assert_eq!(wanted("absolute", 100, &values), 15);
        assert_eq!(wanted("yes", 995, &values), 1000);
        assert_eq!(wanted("yes", 0, &["-2000".into()]), -1000);
    }
}
