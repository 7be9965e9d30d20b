//! Random commands from the facts of COMMAND DOCS: arguments as documented, in the documented order and others, then wrong
//! in the ways in which clients are wrong: words lost, doubled, swapped, replaced; options twice or against each other.

use super::facts::{Argument, Fact, Kind};
use super::known::is_left_out;
use super::words::Words;
use crate::harness::Random;

/// Makes commands.
pub struct Grammar<'a> {
    pub words: Words,
    facts: &'a [Fact],
    /// Indexes of facts: those of the data, and those of the server and the connection.
    data: Vec<usize>,
    service: Vec<usize>,
}

/// Run once in a few hundred commands, or there would be nothing left to compare.
const RARE: &[&str] = &["flushall", "flushdb", "swapdb", "reset"];

impl<'a> Grammar<'a> {
    pub fn new(random: Random, facts: &'a [Fact]) -> Self {
        let is_data = |fact: &Fact| matches!(fact.group.as_str(), "string" | "bitmap" | "generic" | "stream");
        let common = (0..facts.len()).filter(|&index| !RARE.contains(&facts[index].name.as_str()));
        let (data, service) = common.partition(|&index| is_data(&facts[index]));
        Grammar { words: Words::new(random), facts, data, service }
    }
    /// The next command.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        loop {
            let mut words = self.sound_command();
            self.recase(&mut words);
            if !self.words.random.percent(10) {
                return words;
            }
            self.damage(&mut words);
            if !is_unfit(&words) {
                return words;
            }
        }
    }
    /// One that a careful client could have sent.
    fn sound_command(&mut self) -> Vec<Vec<u8>> {
        let random = &mut self.words.random;
        let index = match random.below(300) {
            // Commands need something to work on.
            0..40 => return vec![b"SET".to_vec(), self.words.key(), self.words.string()],
            40 => return vec![b"NOSUCH".to_vec(), self.words.key(), self.words.string()],
            41 => {
                let name = RARE[random.below(RARE.len())];
                self.facts.iter().position(|fact| fact.name == name).unwrap_or(0)
            }
            42..80 => self.service[random.below(self.service.len())],
            _ => self.data[random.below(self.data.len())],
        };
        self.make(index)
    }
    fn make(&mut self, index: usize) -> Vec<Vec<u8>> {
        let facts = self.facts;
        let fact = &facts[index];
        let mut words: Vec<Vec<u8>> = fact.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        if matches!(fact.name.as_str(), "command|getkeys" | "command|getkeysandflags" | "acl|dryrun") {
            words.extend((fact.name == "acl|dryrun").then(|| self.words.word(&fact.name, "username", "string")));
            let inner = self.data[self.words.random.below(self.data.len())];
            words.extend(self.make(inner));
            return words;
        }
        let options = fact.arguments.iter().rposition(|arg| !arg.is_optional).map_or(0, |last| last + 1);
        fact.arguments[..options].iter().for_each(|arg| self.expand(&fact.name, arg, &mut words));
        // Options at the end may come in any order, and more than once.
        let mut options: Vec<&Argument> = fact.arguments[options..].iter().collect();
        if self.words.random.percent(30) {
            let count = options.len();
            options.rotate_left(self.words.random.below(count.max(1)).min(count));
        }
        for option in options {
            self.expand(&fact.name, option, &mut words);
            if self.words.random.percent(4) && fact.name != "hello" {
                self.expand(&fact.name, option, &mut words);
            }
        }
        self.tame(&fact.name, &mut words);
        words
    }
    /// Takes out what depends on a clock: ids that are times, readers that wait.
    fn tame(&mut self, command: &str, words: &mut Vec<Vec<u8>>) {
        for word in words.iter_mut().filter(|word| command == "xadd" && *word == b"*") {
            *word = self.words.new_id();
        }
        while let Some(at) = words.iter().position(|word| command.starts_with("xread") && word == b"BLOCK") {
            words.drain(at..(at + 2).min(words.len()));
        }
    }
    fn expand(&mut self, command: &str, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        if argument.is_optional && self.words.random.percent(55) {
            return;
        }
        let count = if argument.is_multiple { 1 + self.words.random.below(4) } else { 1 };
        for round in 0..count {
            if round == 0 || argument.is_token_multiple {
                words.extend(argument.token.as_ref().map(|token| token.as_bytes().to_vec()));
            }
            match &argument.kind {
                Kind::Word(kind) if kind == "pure-token" => {}
                Kind::Word(_) if command == "config|set" && argument.name == "value" => {
                    let parameter = words.last().cloned().unwrap_or_default();
                    words.push(self.words.setting(&parameter));
                }
                Kind::Word(kind) => words.push(self.words.word(command, &argument.name, kind)),
                Kind::OneOf(choices) => {
                    let choice = self.words.random.below(choices.len());
                    self.expand(command, &choices[choice], words);
                }
                Kind::Block(arguments) => arguments.iter().for_each(|inner| self.expand(command, inner, words)),
            }
        }
    }
    /// Names and options in other cases. Words that are data may change, too: they are as good as before.
    fn recase(&mut self, words: &mut [Vec<u8>]) {
        let random = &mut self.words.random;
        for word in words.iter_mut().filter(|word| word.len() < 20) {
            match random.below(10) {
                0 => word.make_ascii_uppercase(),
                1 => word.make_ascii_lowercase(),
                2 if word.len() > 1 => word[0] ^= if word[0].is_ascii_alphabetic() { 32 } else { 0 },
                _ => {}
            }
        }
    }
    /// Makes a command wrong, or at least unusual.
    fn damage(&mut self, words: &mut Vec<Vec<u8>>) {
        let at = self.words.random.below(words.len());
        match self.words.random.below(7) {
            0 if words.len() > 1 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            2 => {
                let other = self.words.random.below(words.len());
                words.swap(at, other);
            }
            3 => words.truncate(at.max(1)),
            4 => words.push(self.words.odd()),
            5 => words.push(self.words.key()),
            _ if at > 0 => words[at] = self.words.odd(),
            _ => words.push(self.words.string()),
        }
    }
}

/// Must a damaged command not be run: could it set a deadline that comes while the test runs, or write at an enormous offset?
fn is_unfit(words: &[Vec<u8>]) -> bool {
    let Some((name, rest)) = words.split_first() else { return true };
    let name = name.to_ascii_uppercase();
    // A word that has moved to the front: SYNC would turn the connection into a replica's. COMMAND alone tells everything. What of
    // a wrong HELLO still takes effect belongs to the version.
    if is_left_out(words) || name == b"HELLO" || name == b"COMMAND" && rest.is_empty() {
        return true;
    }
    let has = |wanted: &[u8]| rest.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    if name.starts_with(b"XREAD") && has(b"block") || name == b"XADD" && has(b"*") {
        return true;
    }
    let sets_deadline =
        [&b"SET"[..], b"GETEX", b"SETEX", b"PSETEX", b"EXPIRE", b"PEXPIRE", b"MSETEX"].contains(&name.as_slice());
    let reaches_far = [&b"SETBIT"[..], b"SETRANGE", b"BITFIELD"].contains(&name.as_slice());
    rest.iter().any(|word| {
        match std::str::from_utf8(word).ok().and_then(|text| text.trim_start_matches('#').parse::<i64>().ok()) {
            Some(number) => {
                sets_deadline && (1..100_000_000).contains(&number)
                    || reaches_far && (100_000..1 << 40).contains(&number)
            }
            None => false,
        }
    })
}
