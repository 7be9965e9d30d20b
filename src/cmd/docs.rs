//! What COMMAND DOCS says of each command. The texts are data: `docs.txt`, whose head describes its form; it is read when
//! somebody asks for the first time, and what it holds are slices of it.

use super::command::Command;
use std::collections::HashMap;
use std::sync::OnceLock;

static TEXT: &str = include_str!("docs.txt");

/// The documentation of one command.
#[derive(Debug, Default)]
pub struct Doc {
    pub summary: &'static str,
    /// In the grammar of `usage`.
    pub usage: &'static str,
    pub complexity: &'static str,
    /// Only meant for servers and their tests.
    pub is_syscmd: bool,
    /// Versions with what they changed.
    pub history: Vec<(&'static str, &'static str)>,
}

/// The documentation of a row, if it has any.
pub fn of(row: &Command) -> Option<&'static Doc> {
    all().get(row.full_name)
}

/// By full name.
fn all() -> &'static HashMap<&'static str, Doc> {
    static DOCS: OnceLock<HashMap<&'static str, Doc>> = OnceLock::new();
    DOCS.get_or_init(|| {
        let entries = parse(TEXT);
        let count = entries.len();
        let docs: HashMap<_, _> = entries.into_iter().collect();
        assert_eq!(docs.len(), count, "a command is documented once");
        docs
    })
}

/// Reads the texts. Panics on a line that is wrong: they are part of the program, and a test reads them all.
fn parse(text: &'static str) -> Vec<(&'static str, Doc)> {
    let mut docs: Vec<(&str, Doc)> = Vec::new();
    for part in logical_lines(text) {
        if part.starts_with('#') {
            continue;
        }
        if !part.starts_with(' ') {
            let (name, summary) = part.split_once(": ").unwrap_or_else(|| panic!("docs.txt: {part}"));
            docs.push((name, Doc { summary: summary.trim_end(), ..Doc::default() }));
            continue;
        }
        let (_, doc) = docs.last_mut().unwrap_or_else(|| panic!("docs.txt: no command above: {part}"));
        let (word, rest) = part.trim().split_once(' ').unwrap_or((part.trim(), ""));
        match word {
            "args" => doc.usage = rest,
            "cost" => doc.complexity = rest,
            "syscmd" => doc.is_syscmd = true,
            version if version.starts_with(|c: char| c.is_ascii_digit()) => doc.history.push((version, rest)),
            _ => panic!("docs.txt: {part}"),
        }
    }
    docs
}

/// Lines, each together with the deeper ones that continue it. Empty lines are left out.
fn logical_lines(text: &'static str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if !line.starts_with("    ") {
            lines.push(&text[start..at]);
            start = at;
        }
        at += line.len();
    }
    lines.push(&text[start..]);
    lines.retain(|line| !line.trim().is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::{table, usage};

    #[test]
    fn every_command_is_documented() {
        let missing: Vec<_> = table::all().filter(|row| of(row).is_none()).map(|row| row.full_name).collect();
        assert!(missing.is_empty(), "add them to docs.txt: {missing:?}");
    }

    #[test]
    fn texts_are_short_sentences_and_say_what_it_costs() {
        for (name, doc) in all() {
            assert!(doc.summary.ends_with('.') && doc.summary.len() < 80, "{name}: {}", doc.summary);
            assert!(!doc.complexity.is_empty() && !doc.complexity.ends_with('.'), "{name}: {}", doc.complexity);
            assert!(doc.history.is_sorted_by_key(|(version, _)| version), "{name}: versions in order");
        }
    }

    #[test]
    fn continued_lines_belong_together() {
        let docs = parse("# Head.\na: One.\n  args x\n    y\n  1.2.3 z\n\nb|c: Two.\n  cost O(1)\n  syscmd\n");
        let (names, docs): (Vec<_>, Vec<_>) = docs.into_iter().unzip();
        assert_eq!(names, ["a", "b|c"]);
        assert_eq!((docs[0].usage, &docs[0].history[..]), ("x\n    y", &[("1.2.3", "z")][..]));
        assert_eq!((docs[1].summary, docs[1].complexity, docs[1].is_syscmd), ("Two.", "O(1)", true));
    }

    #[test]
    fn usage_agrees_with_arity() {
        for row in table::all().filter(|row| row.subs.is_empty()) {
            let Some(doc) = of(row) else { continue };
            let words = row.full_name.split('|').count();
            let least = words + usage::parse(doc.usage).iter().map(usage::Arg::words_min).sum::<usize>();
            // These accept fewer words than make sense, and answer with an error of their own.
            let lenient = matches!(row.full_name, "client|kill" | "debug" | "delex" | "replconf");
            assert!(lenient || least == row.arity.unsigned_abs() as usize, "{}: {least} words", row.full_name);
        }
    }
}
