//! Finished batches of commands: a template is built once, a draw patches its keys.
//!
//! A template holds the RESP text of one batch and the places of its keys and values in it. The templates belong to a
//! thread, not to a connection: the same few kilobytes are patched and sent again and again and stay in the core's own
//! cache, however many connections there are. What the socket does not take at once is copied away by the sender.

use crate::keys::{DIGITS, Law, Random, STAMP, Texts};

/// Templates of a workload whose commands are drawn by chance; each thread goes through them in turn.
const MIXED_TEMPLATES: usize = 16;

/// What a reply is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The value of the key, or null if it was never written.
    Value,
    /// `OK`.
    Ok,
    /// A number above the last one this connection saw for the key.
    Counter,
    /// An array with the value of each key.
    Values,
    /// Anything but an error.
    Any,
}

/// One command of a batch, for `--verify`: what it expects, and which of the drawn keys are its own.
#[derive(Clone, Debug)]
pub struct Command {
    /// What its reply must be.
    pub expect: Expect,
    /// Number of keys; they follow those of the command before it.
    pub keys: usize,
    /// Whether it writes the values of its keys.
    pub writes: bool,
}

/// Kinds of command of a workload, and how many parts of the load each is.
#[derive(Clone, Debug)]
pub struct Mix(Vec<(Vec<String>, u32)>);

impl Mix {
    /// The mix of a named workload.
    ///
    /// **Errors**: an unknown name; a ratio that is no pair of numbers.
    pub fn named(workload: &str, ratio: &str) -> Result<Self, String> {
        let text = match workload {
            "get" => "GET {key}".into(),
            "set" => "SET {key} {value}".into(),
            "incr" => "INCR {key}".into(),
            "setex" => "SETEX {key} 3600 {value}".into(),
            "ping" => "PING".into(),
            "mget10" => format!("MGET{}", " {key}".repeat(10)),
            "mset10" => format!("MSET{}", " {key} {value}".repeat(10)),
            "mixed" => {
                let parts =
                    ratio.split_once(':').and_then(|(gets, sets)| Some((gets.parse().ok()?, sets.parse().ok()?)));
                let (gets, sets) = parts.ok_or(format!("--ratio is GET:SET, such as 9:1, not {ratio:?}"))?;
                return Ok(Self(vec![(words("GET {key}"), gets), (words("SET {key} {value}"), sets)]));
            }
            other => {
                return Err(format!("no workload {other:?}: get, set, incr, mset10, mget10, setex, mixed, ping, none"));
            }
        };
        Self::commands(&text)
    }

    /// Own commands, separated by `;`, each one equal part.
    ///
    /// **Errors**: an empty command.
    pub fn commands(text: &str) -> Result<Self, String> {
        let kinds: Vec<_> = text.split(';').map(|command| (words(command), 1)).collect();
        if kinds.iter().any(|(words, _)| words.is_empty()) {
            return Err(format!("empty command in {text:?}"));
        }
        Ok(Self(kinds))
    }

    fn draw(&self, random: &mut Random) -> &[String] {
        let mut part = random.below(self.0.iter().map(|kind| kind.1).sum::<u32>().max(1));
        for (words, parts) in &self.0 {
            if part < *parts {
                return words;
            }
            part -= parts;
        }
        &self.0[0].0
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_string).collect()
}

/// A batch with the places that a draw patches.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    commands: Vec<Command>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    /// Draw a key, its digits go here.
    Key(usize),
    /// The digits of the last key.
    ValueHead(usize),
    /// With `--verify`, the whole value of the last key.
    Value(usize),
}

/// All batches of a thread.
pub struct Batches {
    templates: Vec<Template>,
    next: usize,
    current: usize,
    texts: Texts,
    law: Law,
    /// Keys of the last batch in order; only kept for `--verify`.
    drawn: Vec<u32>,
    verify: bool,
}

impl Batches {
    /// Templates of `pipeline` commands out of `mix`.
    pub fn new(mix: &Mix, pipeline: usize, texts: Texts, law: Law, seed: u64, verify: bool) -> Self {
        let mut random = Random::new(seed);
        let count = if mix.0.len() == 1 { 1 } else { MIXED_TEMPLATES };
        let templates = (0..count)
            .map(|_| {
                let mut template = Template { bytes: Vec::new(), slots: Vec::new(), commands: Vec::new() };
                (0..pipeline).for_each(|_| template.push(mix.draw(&mut random), &texts, verify));
                template
            })
            .collect();
        Self { templates, next: 0, current: 0, texts, law, drawn: Vec::new(), verify }
    }

    /// The next batch, with new keys and, for `--verify`, values that carry `stamp`.
    ///
    /// **Cost**: a draw and one or two stores of eight bytes per key.
    #[inline]
    pub fn draw(&mut self, stamp: u64) {
        self.current = self.next;
        self.next = if self.next + 1 == self.templates.len() { 0 } else { self.next + 1 };
        let template = &mut self.templates[self.current];
        self.drawn.clear();
        let mut index = 0;
        for &slot in &template.slots {
            match slot {
                Slot::Key(at) => {
                    index = self.law.draw();
                    template.bytes[at..at + DIGITS].copy_from_slice(&crate::keys::digits(index));
                    if self.verify {
                        self.drawn.push(index);
                    }
                }
                Slot::ValueHead(at) => template.bytes[at..at + DIGITS].copy_from_slice(&crate::keys::digits(index)),
                Slot::Value(at) => {
                    let value = self.texts.value(index, stamp);
                    template.bytes[at..at + value.len()].copy_from_slice(&value);
                }
            }
        }
    }

    /// The batch that [`Self::draw`] made last.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.templates[self.current].bytes
    }

    /// Commands and keys of the batch that [`Self::draw`] gave last.
    pub fn drawn(&self) -> (&[Command], &[u32]) {
        (&self.templates[self.current].commands, &self.drawn)
    }

    /// Commands by template; [`Self::current`] says which one a batch used.
    pub fn commands(&self, template: usize) -> &[Command] {
        &self.templates[template].commands
    }

    /// Template of the last batch.
    pub fn current(&self) -> usize {
        self.current
    }

    /// How keys and values are written.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }
}

impl Template {
    /// Appends one command as an array of bulks.
    fn push(&mut self, words: &[String], texts: &Texts, verify: bool) {
        self.bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            match word.as_str() {
                "{key}" => {
                    let start = self.bulk(texts.first_key());
                    self.slots.push(Slot::Key(start + texts.first_key().len() - DIGITS));
                }
                "{value}" => {
                    let start = self.bulk(&texts.value(0, 0));
                    if verify {
                        self.slots.push(Slot::Value(start));
                    } else if texts.value_has_digits() {
                        self.slots.push(Slot::ValueHead(start));
                    }
                }
                plain => {
                    self.bulk(plain.as_bytes());
                }
            }
        }
        self.commands.push(describe(words));
    }

    /// Appends a bulk; gives back where its payload starts.
    fn bulk(&mut self, payload: &[u8]) -> usize {
        self.bytes.extend_from_slice(format!("${}\r\n", payload.len()).as_bytes());
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.bytes.extend_from_slice(b"\r\n");
        start
    }
}

/// What the reply of a command must be, as far as we know the command.
fn describe(words: &[String]) -> Command {
    let keys = words.iter().filter(|word| *word == "{key}").count();
    let writes = words.iter().any(|word| word == "{value}");
    let expect = match words[0].to_ascii_lowercase().as_str() {
        "get" if words.len() == 2 && keys == 1 => Expect::Value,
        "mget" if keys + 1 == words.len() => Expect::Values,
        "incr" if keys == 1 => Expect::Counter,
        "mset" | "setex" | "psetex" => Expect::Ok,
        "set" if !words.iter().any(|word| matches!(word.to_ascii_lowercase().as_str(), "nx" | "xx" | "get")) => {
            Expect::Ok
        }
        _ => Expect::Any,
    };
    // Only an unconditional write may be remembered as the key's value.
    Command { expect, keys, writes: writes && expect == Expect::Ok }
}

const _: () = assert!(STAMP == 16, "a stamp is printed as sixteen hexadecimal digits");

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(mix: &Mix, pipeline: usize, verify: bool) -> Batches {
        let texts = Texts::new("key:", 16, 10).unwrap();
        Batches::new(mix, pipeline, texts, Law::sequential(100), 1, verify)
    }

    #[test]
    fn a_set_batch_is_resp_with_the_key_in_its_value() {
        let mut batches = batches(&Mix::named("set", "").unwrap(), 2, false);
        batches.draw(0);
        batches.draw(0);
        let bytes = batches.bytes().to_vec();
        let texts = Texts::new("key:", 16, 10).unwrap();
        let mut wanted = Vec::new();
        for index in [2, 3] {
            wanted.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:0000{index:08}\r\n$10\r\n").as_bytes());
            wanted.extend_from_slice(&texts.value(index, 0));
            wanted.extend_from_slice(b"\r\n");
        }
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn a_mixed_batch_keeps_its_ratio() {
        let mut batches = batches(&Mix::named("mixed", "3:1").unwrap(), 100, true);
        let mut writes = 0;
        for _ in 0..16 {
            batches.draw(1);
            let (commands, keys) = batches.drawn();
            assert_eq!((commands.len(), keys.len()), (100, 100));
            writes += commands.iter().filter(|command| command.writes).count();
        }
        assert!((300..500).contains(&writes), "{writes}");
    }

    #[test]
    fn commands_are_known_by_what_their_reply_must_be() {
        let expect = |text: &str| describe(&words(text)).expect;
        assert_eq!(expect("MGET {key} {key}"), Expect::Values);
        assert_eq!(expect("SET {key} {value} EX 5"), Expect::Ok);
        assert_eq!(expect("SET {key} {value} nx"), Expect::Any);
        assert_eq!(expect("OBJECT ENCODING {key}"), Expect::Any);
    }
}
