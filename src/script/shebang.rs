//! `#!lua name=… flags=…`: the first line of a script or of a library, if it has one.
//!
//! Shape: `#!` engine, then words as in an inline request, up to the line's end. The line is cut off before compiling, its
//! end stays, so that line numbers are right.

#![forbid(unsafe_code)]

use crate::base::words::split_owned;

/// What a script says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

/// The flags' names, in the order of their bits.
pub const NAMES: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

impl Flags {
    pub const NO_WRITES: Flags = Flags(1);
    pub const ALLOW_OOM: Flags = Flags(2);
    pub const ALLOW_STALE: Flags = Flags(4);
    pub const NO_CLUSTER: Flags = Flags(8);
    pub const ALLOW_CROSS_SLOT: Flags = Flags(16);

    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }
    pub fn with(self, flag: Flags) -> Flags {
        Flags(self.0 | flag.0)
    }
    /// The flag of this name.
    pub fn named(name: &[u8]) -> Option<Flags> {
        NAMES.iter().position(|known| known.as_bytes() == name).map(|bit| Flags(1 << bit))
    }
    /// Names of all that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 != 0).map(|(_, name)| name)
    }
}

/// A script's first line, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// None: the script has no such line, and every call of it is judged by itself.
    pub flags: Option<Flags>,
    /// Bytes of the line, without its end.
    pub len: usize,
}

/// Reads the header of a script for EVAL.
/// Errors: the message, without a code.
pub fn parse(source: &[u8]) -> Result<Header, Vec<u8>> {
    let Some(words) = split(source)? else { return Ok(Header { flags: None, len: 0 }) };
    if words.words[0] != b"#!lua" {
        return Err([b"Unexpected engine in script shebang: ", &words.words[0][..]].concat());
    }
    let mut flags = Flags::default();
    for word in &words.words[1..] {
        let Some(names) = word.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", &word[..]].concat());
        };
        for name in names.split(|&byte| byte == b',').filter(|_| !names.is_empty()) {
            let unexpected = || [b"Unexpected flag in script shebang: ", name].concat();
            flags = flags.with(Flags::named(name).ok_or_else(unexpected)?);
        }
    }
    Ok(Header { flags: Some(flags), len: words.len })
}

/// The words of a header line.
struct Words {
    words: Vec<Vec<u8>>,
    len: usize,
}

fn split(source: &[u8]) -> Result<Option<Words>, Vec<u8>> {
    if !source.starts_with(b"#!") {
        return Ok(None);
    }
    let len = source.iter().position(|&byte| byte == b'\n').ok_or("Invalid script shebang")?;
    let words = split_owned(&source[..len]).map_err(|_| "Invalid engine in script shebang")?;
    Ok(Some(Words { words, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: &str) -> String {
        String::from_utf8(parse(source.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn headers_are_read_word_by_word() {
        assert_eq!(parse(b"return 1"), Ok(Header { flags: None, len: 0 }));
        assert_eq!(parse(b"#!lua\nreturn 1"), Ok(Header { flags: Some(Flags::default()), len: 5 }));
        let both = parse(b"#!lua  flags=no-writes,allow-oom\n").unwrap().flags.unwrap();
        assert_eq!(both.names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(parse(b"#!lua flags=\n").unwrap().flags, Some(Flags::default()));
    }

    #[test]
    fn errors_name_the_word() {
        assert_eq!(error("#!lua"), "Invalid script shebang");
        assert_eq!(error("#!lua \"x\n"), "Invalid engine in script shebang");
        assert_eq!(error("#!not-lua\n"), "Unexpected engine in script shebang: #!not-lua");
        assert_eq!(error("#!lua badger=data\n"), "Unknown lua shebang option: badger=data");
        assert_eq!(error("#!lua flags=bad-flag,what?\n"), "Unexpected flag in script shebang: bad-flag");
    }
}
