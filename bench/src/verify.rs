//! Checks of every reply, for `--verify`.
//!
//! A connection's replies are kept until one is whole and then held against the command they answer:
//!
//! * a value must be one that somebody wrote to that very key, whole (see `keys`: key, stamp and filler agree);
//! * a connection that wrote a key reads its own last write or somebody else's, never an older one of its own and
//!   never the value from the fill;
//! * a counter only grows in the eyes of one connection;
//! * replies come in the order of the commands, which every check above implies: a reply in the wrong place shows the
//!   wrong key.

use std::collections::HashMap;

use crate::{
    batch::{Batches, Command, Expect},
    keys::Texts,
};

/// Stamp of the value written by connection `id` in its batch number `batch`. 0 is the stamp of the fill.
pub fn stamp(id: u32, batch: u32) -> u64 {
    u64::from(id) << 32 | u64::from(batch)
}

/// What one connection knows, and the replies that are not whole yet.
pub struct Checker {
    id: u32,
    batch: u32,
    /// Template, keys and next command of the batch in flight.
    template: usize,
    keys: Vec<u32>,
    command_at: usize,
    key_at: usize,
    input: Vec<u8>,
    /// Batch in which this connection last wrote a key.
    written: HashMap<u32, u32>,
    /// Last number seen for a key.
    counted: HashMap<u32, i64>,
    /// Keys below this index exist, since the run filled them.
    filled: u32,
}

/// Nesting that a checked reply may have.
const DEPTH_MAX: u32 = 8;

/// A whole reply.
#[derive(Debug, PartialEq)]
enum Reply<'a> {
    Line(&'a [u8]),
    Error(&'a [u8]),
    Number(i64),
    Null,
    Bulk(&'a [u8]),
    Many(Vec<Reply<'a>>),
}

impl Checker {
    /// A checker of connection `id` (from 1 on); keys below `filled` exist.
    pub fn new(id: u32, filled: u32) -> Self {
        Self {
            id,
            batch: 0,
            template: 0,
            keys: Vec::new(),
            command_at: 0,
            key_at: 0,
            input: Vec::new(),
            written: HashMap::new(),
            counted: HashMap::new(),
            filled,
        }
    }

    /// Stamp for the values of the next batch.
    pub fn next_stamp(&mut self) -> u64 {
        self.batch += 1;
        stamp(self.id, self.batch)
    }

    /// Remembers the batch that was just drawn.
    pub fn sent(&mut self, batches: &Batches) {
        self.template = batches.current();
        self.keys.clear();
        self.keys.extend_from_slice(batches.drawn().1);
        self.command_at = 0;
        self.key_at = 0;
    }

    /// Takes more input and checks each reply that becomes whole; wrong ones go to `wrong`.
    ///
    /// **Errors**: input that is no RESP, or more replies than commands.
    pub fn feed(&mut self, input: &[u8], batches: &Batches, wrong: &mut Vec<String>) -> Result<(), String> {
        self.input.extend_from_slice(input);
        let bytes = std::mem::take(&mut self.input);
        let mut rest = &bytes[..];
        while let Some((reply, after)) = parse(rest, 0)? {
            rest = after;
            let commands = batches.commands(self.template);
            let command = commands.get(self.command_at).ok_or("more replies than commands")?;
            if let Err(what) = self.check(command, &reply, batches.texts()) {
                wrong
                    .push(format!("connection {}, batch {}, command {}: {what}", self.id, self.batch, self.command_at));
            }
            self.command_at += 1;
            self.key_at += command.keys;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn check(&mut self, command: &Command, reply: &Reply<'_>, texts: &Texts) -> Result<(), String> {
        let keys = self.keys[self.key_at..self.key_at + command.keys].to_vec();
        match (command.expect, reply) {
            (_, Reply::Error(_)) => Ok(()), // The scanner counts it.
            (Expect::Any, _) => Ok(()),
            (Expect::Ok, Reply::Line(b"OK")) => {
                if command.writes {
                    self.written.extend(keys.iter().map(|&key| (key, self.batch)));
                }
                Ok(())
            }
            (Expect::Value, reply) => self.check_value(keys[0], reply, texts),
            (Expect::Values, Reply::Many(values)) if values.len() == keys.len() => {
                keys.iter().zip(values).try_for_each(|(&key, value)| self.check_value(key, value, texts))
            }
            (Expect::Counter, Reply::Number(number)) => match self.counted.insert(keys[0], *number) {
                Some(last) if last >= *number => Err(format!("counter {} went from {last} to {number}", keys[0])),
                _ => Ok(()),
            },
            (expect, reply) => Err(format!("{expect:?} expected, got {reply:?}")),
        }
    }

    fn check_value(&self, key: u32, reply: &Reply<'_>, texts: &Texts) -> Result<(), String> {
        let own = self.written.get(&key);
        match reply {
            Reply::Null if own.is_some() || key < self.filled => Err(format!("key {key} is gone")),
            Reply::Null => Ok(()),
            Reply::Bulk(value) => {
                let stamp = texts.check(key, value).map_err(|what| format!("key {key}: {what}"))?;
                if !texts.value_has_stamp() {
                    return Ok(());
                }
                let (writer, batch) = ((stamp >> 32) as u32, stamp as u32);
                match own {
                    Some(&own) if writer == self.id && batch != own => {
                        Err(format!("key {key}: own write of batch {batch}, where batch {own} wrote later"))
                    }
                    Some(&own) if stamp == 0 => Err(format!("key {key}: own write of batch {own} is lost")),
                    _ => Ok(()),
                }
            }
            other => Err(format!("key {key}: value expected, got {other:?}")),
        }
    }
}

/// The first reply in `input` and what follows it; `None` if it is not whole.
fn parse(input: &[u8], depth: u32) -> Result<Option<(Reply<'_>, &[u8])>, String> {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    let line = input[..end].strip_suffix(b"\r").ok_or("line ends without CR")?;
    let (&kind, text) = line.split_first().ok_or("empty line in the replies")?;
    let rest = &input[end + 1..];
    let number =
        || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).ok_or("bad number in a reply");
    match kind {
        b'+' => Ok(Some((Reply::Line(text), rest))),
        b'-' => Ok(Some((Reply::Error(text), rest))),
        b':' => Ok(Some((Reply::Number(number()?), rest))),
        b'_' => Ok(Some((Reply::Null, rest))),
        b'$' if text == b"-1" => Ok(Some((Reply::Null, rest))),
        b'*' if text == b"-1" => Ok(Some((Reply::Null, rest))),
        b'$' => {
            let len = usize::try_from(number()?).map_err(|_| "negative length")?;
            let Some(payload) = rest.get(..len + 2) else { return Ok(None) };
            let payload = payload.strip_suffix(b"\r\n").ok_or("bulk does not end with CRLF")?;
            Ok(Some((Reply::Bulk(payload), &rest[len + 2..])))
        }
        b'*' | b'~' => {
            if depth == DEPTH_MAX {
                return Err("reply is nested too deeply".into());
            }
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..number()? {
                let Some((item, after)) = parse(rest, depth + 1)? else { return Ok(None) };
                items.push(item);
                rest = after;
            }
            Ok(Some((Reply::Many(items), rest)))
        }
        other => Err(format!("--verify does not know replies that start with byte {other:#04x}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{batch::Mix, keys::Law};

    fn bulk(value: &[u8]) -> Vec<u8> {
        [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
    }

    /// Sends one GET batch for key 0 after the checker saw `writes`, and answers it with `reply`.
    fn wrong_after(writes: bool, reply: impl Fn(&Texts, u32) -> Vec<u8>) -> Vec<String> {
        let texts = Texts::new("key:", 16, 40).unwrap();
        let new = |name| Batches::new(&Mix::named(name, "").unwrap(), 1, texts.clone(), Law::sequential(1), 1, true);
        let (mut sets, mut gets) = (new("set"), new("get"));
        let (mut checker, mut wrong) = (Checker::new(7, 1), Vec::new());
        if writes {
            sets.draw(checker.next_stamp());
            checker.sent(&sets);
            checker.feed(b"+OK\r\n", &sets, &mut wrong).unwrap();
        }
        gets.draw(checker.next_stamp());
        checker.sent(&gets);
        for piece in reply(&texts, 7).chunks(3) {
            checker.feed(piece, &gets, &mut wrong).unwrap();
        }
        assert_eq!(checker.command_at, 1, "the reply was not seen as whole");
        wrong
    }

    #[test]
    fn good_values_pass() {
        assert!(wrong_after(false, |texts, _| bulk(&texts.value(0, 0))).is_empty());
        assert!(wrong_after(true, |texts, id| bulk(&texts.value(0, stamp(id, 1)))).is_empty());
        assert!(wrong_after(true, |texts, _| bulk(&texts.value(0, stamp(9, 5)))).is_empty());
    }

    #[test]
    fn lost_old_foreign_and_torn_values_are_found() {
        assert_eq!(wrong_after(false, |_, _| b"$-1\r\n".to_vec()).len(), 1);
        assert_eq!(wrong_after(true, |texts, _| bulk(&texts.value(0, 0))).len(), 1);
        assert_eq!(wrong_after(true, |texts, id| bulk(&texts.value(0, stamp(id, 0)))).len(), 1);
        assert_eq!(wrong_after(false, |texts, _| bulk(&texts.value(1, 0))).len(), 1);
        assert_eq!(wrong_after(false, |texts, _| bulk(&texts.value(0, 0)[..39])).len(), 1);
        assert_eq!(wrong_after(false, |_, _| b":1\r\n".to_vec()).len(), 1);
    }
}
