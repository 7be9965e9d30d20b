//! Random commands from the facts of COMMAND DOCS: arguments as documented, in the documented order and others, then wrong
//! in the ways in which clients are wrong: words lost, doubled, swapped, replaced; options twice or against each other.

use super::facts::{Argument, DATA, Fact, Kind};
use super::known::is_left_out;
use super::words::{TIMEOUTS, Words};
use crate::harness::Random;

/// Makes commands.
pub struct Grammar<'a> {
    pub words: Words,
    facts: &'a [Fact],
    /// Indexes of facts: those of the data, and those of the server and the connection.
    data: Vec<usize>,
    service: Vec<usize>,
    /// How many keys this command said it has.
    announced: Option<usize>,
}

/// Run once in a few hundred commands, or there would be nothing left to compare.
const RARE: &[&str] = &["flushall", "flushdb", "swapdb", "reset"];

/// Commands whose reply is random by nature, unless they are asked for nothing or for everything.
const RANDOM: &[&str] = &["spop", "srandmember", "hrandfield", "zrandmember"];

/// Milliseconds for which a reader of streams waits.
const BLOCKS: &[&[u8]] = &[b"1", b"2", b"-1", b"x"];

impl<'a> Grammar<'a> {
    pub fn new(random: Random, facts: &'a [Fact]) -> Self {
        let is_data = |fact: &Fact| DATA.contains(&fact.group.as_str());
        let common = (0..facts.len()).filter(|&index| !RARE.contains(&facts[index].name.as_str()));
        let (data, service) = common.partition(|&index| is_data(&facts[index]));
        Grammar { words: Words::new(random), facts, data, service, announced: None }
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
            42..50 => return self.members_of_one_score(),
            50..88 => self.service[random.below(self.service.len())],
            _ => self.data[random.below(self.data.len())],
        };
        self.make(index)
    }
    /// Ranges by member are defined among equal scores only: `zl` has no others.
    fn members_of_one_score(&mut self) -> Vec<Vec<u8>> {
        let mut words = vec![b"ZADD".to_vec(), b"zl".to_vec()];
        for _ in 0..1 + self.words.random.below(4) {
            words.extend([b"0".to_vec(), self.words.word("zadd", "member", "string")]);
        }
        words
    }
    fn make(&mut self, index: usize) -> Vec<Vec<u8>> {
        let facts = self.facts;
        let fact = &facts[index];
        let mut words: Vec<Vec<u8>> = fact.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        self.announced = None;
        self.words.group = DATA.iter().find(|group| **group == fact.group).unwrap_or(&"");
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
    /// Takes out what depends on a clock or on chance: ids that are times, readers that wait, a choice of some of all.
    fn tame(&mut self, command: &str, words: &mut Vec<Vec<u8>>) {
        if RANDOM.contains(&command) {
            let count: &[u8] = if self.words.random.percent(25) { b"0" } else { b"1000000" };
            words.truncate(2);
            words.push(count.to_vec());
        }
        if let Some(at) = key_by_member(words) {
            words[at] = b"zl".to_vec();
        }
        // Equal weights leave the order to chance, which must not be stored.
        if command == "sort" && words.iter().any(|word| word == b"BY") {
            while let Some(at) = words.iter().position(|word| word == b"STORE") {
                words.drain(at..(at + 2).min(words.len()));
            }
        }
        for word in words.iter_mut().filter(|word| command == "xadd" && *word == b"*") {
            *word = self.words.new_id();
        }
        while let Some(at) = words.iter().position(|word| command.starts_with("xread") && word == b"BLOCK") {
            // `waits` lets no other BLOCK pass.
            if at + 1 < words.len() && self.words.random.percent(30) {
                words[at] = b"block".to_vec();
                words[at + 1] = self.words.random.pick(BLOCKS).to_vec();
            } else {
                words.drain(at..(at + 2).min(words.len()));
            }
        }
    }
    fn expand(&mut self, command: &str, argument: &Argument, words: &mut Vec<Vec<u8>>) {
        if argument.is_optional && self.words.random.percent(55) {
            return;
        }
        let count = if argument.is_multiple { 1 + self.words.random.below(4) } else { 1 };
        // Mostly as many as were announced.
        let announced = if matches!(argument.name.as_str(), "key" | "weight") { self.announced } else { None };
        let count = announced.filter(|_| argument.is_multiple && self.words.random.percent(85)).unwrap_or(count);
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
                Kind::Word(kind) => {
                    let word = self.words.word(command, &argument.name, kind);
                    if argument.name == "numkeys" {
                        self.announced = std::str::from_utf8(&word).ok().and_then(|text| text.parse().ok());
                        self.announced = self.announced.filter(|count| (1..10).contains(count));
                    }
                    words.push(word);
                }
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

/// The argument that is the key of a range by member.
fn key_by_member(words: &[Vec<u8>]) -> Option<usize> {
    let name = String::from_utf8_lossy(&words[0]).to_lowercase();
    let is_by_member = || words.iter().any(|word| word.eq_ignore_ascii_case(b"bylex"));
    let at = match name.as_str() {
        "zrangestore" if is_by_member() => 2,
        "zrange" if is_by_member() => 1,
        name if name.starts_with('z') && name.contains("lex") => 1,
        _ => return None,
    };
    (at < words.len()).then_some(at)
}

/// Could a damaged command that waits for keys do so for longer than a moment?
fn waits_long(name: &[u8], rest: &[Vec<u8>]) -> bool {
    let timeout = match name {
        b"BLMPOP" | b"BZMPOP" => rest.first(),
        b"BLPOP" | b"BRPOP" | b"BLMOVE" | b"BRPOPLPUSH" | b"BZPOPMIN" | b"BZPOPMAX" => rest.last(),
        _ => return false,
    };
    let is_moment = |word: &Vec<u8>| TIMEOUTS.iter().any(|own| own.eq_ignore_ascii_case(word));
    timeout.is_some_and(|word| !is_moment(word) && word.iter().any(u8::is_ascii_digit))
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
    // Scores among the equal ones; names behind a NUL, which Redis does not look at.
    let is_name = name == b"CLIENT" && rest.first().is_some_and(|word| word.to_ascii_lowercase().starts_with(b"set"));
    if name == b"ZADD" && rest.first().is_some_and(|key| key.eq_ignore_ascii_case(b"zl"))
        || is_name && rest.iter().any(|word| word.contains(&0))
    {
        return true;
    }
    if key_by_member(words).is_some_and(|at| !words[at].eq_ignore_ascii_case(b"zl")) {
        return true;
    }
    if RANDOM.iter().any(|random| name.eq_ignore_ascii_case(random.as_bytes())) {
        return true;
    }
    if name.starts_with(b"XREAD") && has(b"block") || name == b"XADD" && has(b"*") {
        return true;
    }
    if waits_long(&name, rest) {
        return true;
    }
    let sets_deadline =
        [&b"SET"[..], b"GETEX", b"SETEX", b"PSETEX", b"EXPIRE", b"PEXPIRE", b"MSETEX"].contains(&name.as_slice());
    let reaches_far = [&b"SETBIT"[..], b"SETRANGE", b"BITFIELD"].contains(&name.as_slice());
    rest.iter().any(|word| {
        match std::str::from_utf8(word).ok().and_then(|text| text.trim_start_matches('#').parse::<i64>().ok()) {
            Some(number) => {
                // An index that Redis cuts to 32 bits, a count that it negates.
                name == b"LSET" && i32::try_from(number).is_err()
                    || name == b"LREM" && number == i64::MIN
                    || sets_deadline && (1..100_000_000).contains(&number)
                    || reaches_far && (100_000..1 << 40).contains(&number)
            }
            None => false,
        }
    })
}
