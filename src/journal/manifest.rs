//! The manifest: the list of files that together are the data.
//!
//! ```text
//! file appendonly.aof.2.base.rdb seq 2 type b        at most one base
//! file appendonly.aof.1.incr.aof seq 1 type h        history: no longer needed, to be removed
//! file appendonly.aof.4.incr.aof seq 4 type i        changes since the base, in ascending order
//! ```
//! It is replaced as a whole by a rename, so that after a crash there is the old one or the new one.
//! Source: https://redis.io/docs/management/persistence, "How it works", and files of Redis 7.0.

use std::fmt;
use std::fmt::Write;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Base,
    History,
    Incr,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Base => 'b',
            Kind::History => 'h',
            Kind::Incr => 'i',
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub seq: u64,
}

/// See the module header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Part>,
    pub history: Vec<Part>,
    pub incrs: Vec<Part>,
    /// The highest numbers that bases and others have had.
    base_seq: u64,
    incr_seq: u64,
}

/// What is wrong with a manifest, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub line: usize,
    pub reason: &'static str,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Longer lines are refused, as in Redis.
const LINE_LEN_MAX: usize = 1024;

impl Manifest {
    /// Shape: lines of `file NAME seq NUMBER type b|h|i`, in any order of these pairs; a name with odd characters in quotes.
    ///        Lines that begin with `#` are skipped.
    /// Errors: the first line that is not so; two bases; numbers of incremental files that do not ascend; no file at all.
    pub fn parse(text: &[u8]) -> Result<Manifest, Invalid> {
        if text.is_empty() {
            return Err(Invalid { line: 1, reason: "Found an empty AOF manifest" });
        }
        let mut manifest = Manifest::default();
        let (mut count, last) = (0, text.iter().filter(|&&byte| byte == b'\n').count());
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let invalid = |reason| Invalid { line: index + 1, reason };
            let is_end = line.is_empty() && count > 0 && index == last;
            if is_end || line.starts_with(b"#") {
                continue;
            }
            if line.len() > LINE_LEN_MAX {
                return Err(invalid("The AOF manifest file contains too long line"));
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                return Err(invalid("Invalid AOF manifest file format"));
            }
            let (kind, part) = parse_line(line).map_err(invalid)?;
            count += 1;
            manifest.add(kind, part).map_err(invalid)?;
        }
        if count == 0 { Err(Invalid { line: 1, reason: "Found an empty AOF manifest" }) } else { Ok(manifest) }
    }
    fn add(&mut self, kind: Kind, part: Part) -> Result<(), &'static str> {
        match kind {
            Kind::Base if self.base.is_some() => return Err("Found duplicate base file information"),
            Kind::Base => {
                self.base_seq = part.seq;
                self.base = Some(part);
            }
            Kind::Incr if part.seq <= self.incr_seq => return Err("Found a non-monotonic sequence number"),
            Kind::Incr => {
                self.incr_seq = part.seq;
                self.incrs.push(part);
            }
            Kind::History => self.history.push(part),
        }
        Ok(())
    }
    /// As the file has it.
    pub fn format(&self) -> String {
        let mut text = String::new();
        let base = self.base.iter().map(|part| (Kind::Base, part));
        let history = self.history.iter().map(|part| (Kind::History, part));
        let incrs = self.incrs.iter().map(|part| (Kind::Incr, part));
        for (kind, part) in base.chain(history).chain(incrs) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "file {} seq {} type {}", quoted(&part.name), part.seq, kind.letter());
        }
        text
    }
    /// A new base follows, in RDB's format or in the log's: its file.
    pub fn next_base(&self, stem: &str, is_rdb: bool) -> Part {
        let seq = self.base_seq + 1;
        Part { name: format!("{stem}.{seq}.base.{}", if is_rdb { "rdb" } else { "aof" }), seq }
    }
    /// A new file for changes follows.
    pub fn next_incr(&self, stem: &str) -> Part {
        let seq = self.incr_seq + 1;
        Part { name: format!("{stem}.{seq}.incr.aof"), seq }
    }
    /// Changes go to `part` from now on.
    pub fn push_incr(&mut self, part: Part) {
        self.incr_seq = part.seq;
        self.incrs.push(part);
    }
    /// `part` holds everything that was there before the changes in `first`: what came before is history.
    pub fn set_base(&mut self, part: Part, first: u64) {
        self.base_seq = part.seq;
        self.history.extend(self.base.replace(part));
        let (old, kept) = std::mem::take(&mut self.incrs).into_iter().partition(|incr| incr.seq < first);
        self.incrs = kept;
        self.history.extend::<Vec<Part>>(old);
    }
    /// The files in which the data is, in the order in which they are loaded.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.base.iter().chain(&self.incrs)
    }
}

fn parse_line(line: &[u8]) -> Result<(Kind, Part), &'static str> {
    const ODD: &str = "Invalid AOF manifest file format";
    let words = split(line).ok_or(ODD)?;
    if words.len() < 6 || words.len() % 2 != 0 {
        return Err(ODD);
    }
    let (mut name, mut seq, mut kind) = (None, None, None);
    for pair in words.chunks(2) {
        match pair[0].to_ascii_lowercase().as_str() {
            "file" => name = Some(pair[1].clone()).filter(|name| !name.is_empty() && !name.contains('/')),
            "seq" => seq = pair[1].parse().ok().filter(|&seq| seq > 0),
            "type" => {
                kind = match pair[1].as_str() {
                    "b" => Some(Kind::Base),
                    "h" => Some(Kind::History),
                    "i" => Some(Kind::Incr),
                    _ => return Err("Unknown AOF file type"),
                }
            }
            _ => {} // Another server's addition.
        }
    }
    Ok((kind.ok_or(ODD)?, Part { name: name.ok_or(ODD)?, seq: seq.ok_or(ODD)? }))
}

/// Letters behind `\`, and what they stand for. Source: Redis, `sdscatrepr`.
const LETTERS: &[(u8, u8)] = &[(b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'a', 7), (b'b', 8)];

/// Words by spaces; quoted ones with `\"`, `\\`, `\xHH` and `LETTERS`.
fn split(line: &[u8]) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(&first) = rest.first() {
        let mut word = Vec::new();
        if first == b'"' {
            let mut at = 1;
            loop {
                match (*rest.get(at)?, rest.get(at + 1)) {
                    (b'"', _) => break,
                    (b'\\', Some(b'x')) => {
                        let digits = std::str::from_utf8(rest.get(at + 2..at + 4)?).ok()?;
                        word.push(u8::from_str_radix(digits, 16).ok()?);
                        at += 4;
                    }
                    (b'\\', Some(&byte)) => {
                        let known = LETTERS.iter().find(|(letter, _)| *letter == byte);
                        word.push(known.map_or(byte, |&(_, stands_for)| stands_for));
                        at += 2;
                    }
                    (byte, _) => {
                        word.push(byte);
                        at += 1;
                    }
                }
            }
            rest = &rest[at + 1..];
            if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                return None;
            }
        } else {
            let len = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            word.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
        words.push(String::from_utf8(word).ok()?);
        rest = rest.trim_ascii_start();
    }
    Some(words)
}

fn quoted(name: &str) -> String {
    if name.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte)) {
        return name.to_string();
    }
    let mut text = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', byte as char]),
            b' '..=b'~' => text.push(byte as char),
            _ => match LETTERS.iter().find(|(_, stands_for)| *stands_for == byte) {
                Some(&(letter, _)) => text.extend(['\\', letter as char]),
                None => text.push_str(&format!("\\x{byte:02x}")),
            },
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "file a.aof.2.base.rdb seq 2 type b\nfile a.aof.3.incr.aof seq 3 type h\nfile a.aof.4.incr.aof seq 4 type i\n";

    #[test]
    fn what_was_written_is_read() {
        let manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(manifest.format(), TEXT);
        assert_eq!(manifest.next_base("a.aof", false).name, "a.aof.3.base.aof");
        assert_eq!(manifest.next_incr("a.aof").name, "a.aof.5.incr.aof");
        let odd = Part { name: "my \"log\"\n\t\u{e4}.1.incr.aof".into(), seq: 1 };
        let manifest = Manifest { incrs: vec![odd], incr_seq: 1, ..Manifest::default() };
        assert_eq!(Manifest::parse(manifest.format().as_bytes()).unwrap(), manifest);
    }

    #[test]
    fn a_new_base_makes_history_of_what_came_before() {
        let mut manifest = Manifest::parse(TEXT.as_bytes()).unwrap();
        manifest.push_incr(manifest.next_incr("a.aof"));
        manifest.set_base(manifest.next_base("a.aof", true), 5);
        let names: Vec<&str> = manifest.parts().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["a.aof.3.base.rdb", "a.aof.5.incr.aof"]);
        assert_eq!(manifest.history.len(), 3);
    }

    #[test]
    fn damaged_manifests_are_refused_with_the_line() {
        let refused = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().line;
        assert_eq!(refused(""), 1);
        assert_eq!(refused("file a seq 1 type i\nfile b seq 1 type i\n"), 2);
        assert_eq!(refused("file a seq 1 type b\nfile b seq 2 type b\n"), 2);
        for line in [
            "file a seq 1",
            "file a seq 0 type i",
            "file a seq x type i",
            "file a/b seq 1 type i",
            "file a seq 1 type z",
            "\"a",
            "file a seq 1 type i\n\nfile b seq 2 type i",
        ] {
            assert!(Manifest::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 7u64;
        for _ in 0..20_000 {
            let mut text = TEXT.as_bytes().to_vec();
            for _ in 0..3 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = (state >> 33) as usize % text.len();
                text[at] = (state >> 20) as u8;
            }
            let _ = Manifest::parse(&text).map(|manifest| manifest.format());
        }
    }
}
