//! Random commands from templates.
//!
//!     SET $k $v [NX|XX] [GET] [EX $ttl|PX $ttlms]      [a|b]: one of these or nothing     (a|b): one of these
//!     MSET <$k $v>                                     <…>: once to four times            $x: a random value of kind x
//!
//! Few keys, so that commands meet; values and numbers that sit on edges. Now and then a word is lost, doubled, swapped or
//! replaced, so that wrong requests are as common as they are interesting.
//!
//! Nothing here depends on the moment at which a server runs it: deadlines are far away or long past, never near.

use crate::harness::Random;

/// What a command may look like. Left out, and why:
/// - RANDOMKEY, SCAN in small steps: random by nature or by hash seed (KEYS and a whole SCAN are compared sorted)
/// - OBJECT FREQ, IDLETIME and REFCOUNT, MEMORY, INFO, TIME, DEBUG, CLIENT, CONFIG: tell of the server, not of the data
/// - DBSIZE: counts a key whose deadline has passed until somebody notices; it is compared with the state
/// - HELP texts and COMMAND: belong to the version
/// - FLUSHALL and SWAPDB are run rarely, or there would be nothing left to compare
const COMMANDS: &[&str] = &[
    // Strings.
    "GET $k",
    "GET $k",
    "SET $k $v",
    "SET $k $v",
    "SET $k $v [NX|XX] [GET] [EX $ttl|PX $ttlms|EXAT $at|PXAT $atms|KEEPTTL]",
    "SET $k $v [GET] [PX $ttlms|EX $ttl] [KEEPTTL] [XX|NX]",
    "SETNX $k $v",
    "SETEX $k $ttl $v",
    "PSETEX $k $ttlms $v",
    "GETSET $k $v",
    "GETDEL $k",
    "GETEX $k [EX $ttl|PX $ttlms|EXAT $at|PXAT $atms|PERSIST]",
    "APPEND $k $v",
    "STRLEN $k",
    "GETRANGE $k $i $i",
    "SUBSTR $k $i $i",
    "SETRANGE $k $off $v",
    "INCR $k",
    "DECR $k",
    "INCRBY $k $n",
    "DECRBY $k $n",
    "INCRBYFLOAT $k $f",
    "MGET <$k>",
    "MSET <$k $v>",
    "MSETNX <$k $v>",
    "LCS $k $k [LEN] [IDX] [MINMATCHLEN $i] [WITHMATCHLEN]",
    // Bitmaps.
    "SETBIT $k $off (0|1)",
    "GETBIT $k $off",
    "BITCOUNT $k",
    "BITCOUNT $k $i $i [BYTE|BIT]",
    "BITPOS $k (0|1)",
    "BITPOS $k (0|1) $i",
    "BITPOS $k (0|1) $i $i [BYTE|BIT]",
    "BITOP (AND|OR|XOR) $k <$k>",
    "BITOP NOT $k $k",
    "BITFIELD $k <(GET $bt $bo|SET $bt $bo $n|INCRBY $bt $bo $n|OVERFLOW (WRAP|SAT|FAIL))>",
    "BITFIELD_RO $k <GET $bt $bo>",
    // Keys.
    "DEL <$k>",
    "UNLINK <$k>",
    "EXISTS <$k>",
    "TOUCH <$k>",
    "TYPE $k",
    "KEYS $pat",
    "SCAN 0 COUNT 1000000 [MATCH $pat] [TYPE (string|list)]",
    "RENAME $k $k",
    "RENAMENX $k $k",
    "COPY $k $k [DB $db] [REPLACE]",
    "MOVE $k $db",
    "OBJECT ENCODING $k",
    // Expiry.
    "EXPIRE $k $ttl [NX|XX|GT|LT]",
    "PEXPIRE $k $ttlms [NX|XX|GT|LT]",
    "EXPIREAT $k $at [NX|XX|GT|LT]",
    "PEXPIREAT $k $atms [NX|XX|GT|LT]",
    "TTL $k",
    "PTTL $k",
    "EXPIRETIME $k",
    "PEXPIRETIME $k",
    "PERSIST $k",
    // The connection.
    "ECHO $v",
    "PING [$v]",
    "SELECT $db",
];

/// Run once in a few hundred commands.
const RARE: &[&str] = &["FLUSHDB [ASYNC|SYNC]", "FLUSHALL [ASYNC|SYNC|nonsense]", "SWAPDB $db $db", "NOSUCH $k <$v>"];

/// Newer than Redis 7: only where the reference knows them.
pub const NEWER: &[(&str, &str)] = &[
    ("delifeq", "DELIFEQ $k $v"),
    ("delifeq", "SET $k $v IFEQ $v [GET] [EX $ttl|KEEPTTL]"),
    ("msetex", "MSETEX 1 $k $v [NX|XX] [EX $ttl|PX $ttlms|EXAT $at|KEEPTTL]"),
    ("msetex", "MSETEX 2 $k $v $k $v [NX|XX] [EX $ttl|PXAT $atms|KEEPTTL]"),
    ("delex", "DELEX $k [(IFEQ|IFNE|IFDEQ|IFDNE) $v]"),
    ("digest", "DIGEST $k"),
];

pub const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"key:4", b"", b"\x00\xff\r\n", b"num", b"a-key-that-is-longer-than-forty-four-bytes-is-it"];
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"1",
    b"-1",
    b"7",
    b"100",
    b"-100",
    b"255",
    b"65536",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775806",
    b"4611686018427387904",
    b"-4611686018427387905",
];
const ODD: &[&[u8]] = &[
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1e3",
    b"0x10",
    b"1.0",
    b"nan",
    b"inf",
    b"abc",
    b"\x00",
    b"--1",
    b"1\x00",
];
const FLOATS: &[&[u8]] = &[
    b"0",
    b"1.5",
    b"-1.5",
    b"3.0e3",
    b"0.1",
    b"1e-10",
    b"-0.0",
    b"1e17",
    b"123456789.123456789",
    b"inf",
    b"-inf",
    b"nan",
    b"1e4930",
    b"5e-324",
    b" 1",
    b"1.",
    b".5",
    b"0x1p3",
];
const PATTERNS: &[&[u8]] = &[b"*", b"?", b"[a-b]", b"k*", b"[^a]", b"\\a", b"*:4", b"", b"[", b"**", b"a*t", b"[b-a]"];

/// Makes commands.
pub struct Grammar {
    pub random: Random,
    commands: Vec<&'static str>,
    /// Each relative deadline is used once: two of the same length could meet in one millisecond on one server only.
    ttl: u64,
}

impl Grammar {
    pub fn new(random: Random, mut newer: impl FnMut(&str) -> bool) -> Self {
        let newer = NEWER.iter().filter(|(command, _)| newer(command)).map(|&(_, template)| template);
        Grammar { random, commands: COMMANDS.iter().copied().chain(newer).collect(), ttl: 10_000 }
    }
    /// The next command.
    pub fn command(&mut self) -> Vec<Vec<u8>> {
        loop {
            let rare = self.random.below(300) == 0;
            let template = self.random.pick(if rare { RARE } else { &self.commands });
            let mut words = Vec::new();
            self.expand(template, &mut words);
            if !self.random.percent(8) {
                return words;
            }
            self.damage(&mut words);
            if !is_unfit(&words) && !words.is_empty() {
                return words;
            }
        }
    }
    fn expand(&mut self, template: &str, words: &mut Vec<Vec<u8>>) {
        let mut rest = template.trim_start();
        while !rest.is_empty() {
            let (part, behind) = match rest.as_bytes()[0] {
                b'[' | b'(' | b'<' => rest.split_at(closing(rest)),
                _ => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
            };
            rest = behind.trim_start();
            match part.as_bytes()[0] {
                b'[' if self.random.percent(60) => {}
                b'[' | b'(' => {
                    let choices = choices(&part[1..part.len() - 1]);
                    let choice = choices[self.random.below(choices.len())];
                    self.expand(choice, words);
                }
                b'<' => (0..=self.random.below(4)).for_each(|_| self.expand(&part[1..part.len() - 1], words)),
                b'$' => {
                    let word = self.value(&part[1..]);
                    words.push(word);
                }
                _ => words.push(part.as_bytes().to_vec()),
            }
        }
    }
    fn value(&mut self, kind: &str) -> Vec<u8> {
        let random = &mut self.random;
        let odd = random.percent(4);
        match kind {
            "k" => random.pick(KEYS).to_vec(),
            "v" => self.string(),
            "pat" => random.pick(PATTERNS).to_vec(),
            "db" if odd => random.pick(&[&b"16"[..], b"-1", b"x", b"99999999999", b"01"]).to_vec(),
            "db" => random.below(3).to_string().into_bytes(),
            "bt" if odd => random.pick(&[&b"u64"[..], b"i65", b"u0", b"x8", b"i", b"u-1"]).to_vec(),
            "bt" if random.percent(50) => format!("i{}", 1 + random.below(64)).into_bytes(),
            "bt" => format!("u{}", 1 + random.below(63)).into_bytes(),
            "bo" if odd => random.pick(&[&b"#x"[..], b"-1", b"#-1", b"4294967296", b"#9223372036854775807"]).to_vec(),
            "bo" if random.percent(40) => format!("#{}", random.below(20)).into_bytes(),
            "bo" => random.below(200).to_string().into_bytes(),
            "off" if odd => random.pick(&[&b"-1"[..], b"4294967296", b"9223372036854775807", b"x"]).to_vec(),
            "off" => random.below(300).to_string().into_bytes(),
            "ttl" | "ttlms" | "at" | "atms" => self.deadline(kind),
            _ if odd => random.pick(ODD).to_vec(),
            "i" if random.percent(80) => (random.below(80) as i64 - 40).to_string().into_bytes(),
            "f" if random.percent(60) => random.pick(FLOATS).to_vec(),
            _ if random.percent(50) => random.pick(NUMBERS).to_vec(),
            _ => (random.below(2000) as i64 - 1000).to_string().into_bytes(),
        }
    }
    /// A value to store.
    fn string(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(12) {
            0..=2 => random.pick(NUMBERS).to_vec(),
            3 => random.pick(ODD).to_vec(),
            4 => random.pick(FLOATS).to_vec(),
            5 => vec![b'x'; [43, 44, 45, 64, 1000][random.below(5)]],
            6 if random.percent(10) => vec![b'L'; 20_000],
            7 => (0..random.below(40)).map(|_| random.next() as u8).collect(),
            8 => (0..random.below(30)).map(|_| b'a' + random.below(3) as u8).collect(),
            _ => random.pick(&[&b"v"[..], b"hallo", b"", b"foo bar"]).to_vec(),
        }
    }
    /// Far away, long past, or not a deadline at all.
    fn deadline(&mut self, kind: &str) -> Vec<u8> {
        if self.random.percent(15) {
            return self
                .random
                .pick(&[&b"0"[..], b"-1", b"x", b"9223372036854775807", b"-9223372036854775808", b""])
                .to_vec();
        }
        self.ttl += 10;
        let past = self.random.percent(15);
        let number = match kind {
            "ttl" => self.ttl,
            "ttlms" => self.ttl * 1000,
            "at" if past => 1_000_000_000,
            "atms" if past => 1_000_000_000_000,
            "at" => 9_000_000_000 + self.random.below(50) as u64,
            _ => 9_000_000_000_000 + self.random.below(50) as u64,
        };
        number.to_string().into_bytes()
    }
    /// Makes a command wrong, or at least unusual.
    fn damage(&mut self, words: &mut Vec<Vec<u8>>) {
        let at = self.random.below(words.len());
        match self.random.below(6) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, words[at].clone()),
            2 => {
                let other = self.random.below(words.len());
                words.swap(at, other);
            }
            3 => words.truncate(at.max(1)),
            4 => {
                words[at] =
                    words[at].iter().map(|byte| byte ^ if byte.is_ascii_alphabetic() { 32 } else { 0 }).collect()
            }
            _ => {
                let word = self.random.pick(ODD).to_vec();
                if at > 0 {
                    words[at] = word;
                } else {
                    words.push(word);
                }
            }
        }
    }
}

/// Must a damaged command not be run: could it set a deadline that comes while the test runs, or write at an enormous offset?
fn is_unfit(words: &[Vec<u8>]) -> bool {
    let Some((name, rest)) = words.split_first() else { return true };
    let name = name.to_ascii_uppercase();
    if name == b"SYNC" {
        return true; // An option that has moved to the front would turn the connection into a replica's.
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

/// Where the bracket that opens `text` is closed.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        depth += matches!(byte, b'[' | b'(' | b'<') as i32 - matches!(byte, b']' | b')' | b'>') as i32;
        if depth == 0 {
            return at + 1;
        }
    }
    panic!("an open bracket in the template {text}");
}

/// The parts of `text` between bars that are in no bracket.
fn choices(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        depth += matches!(byte, b'[' | b'(' | b'<') as i32 - matches!(byte, b']' | b')' | b'>') as i32;
        if byte == b'|' && depth == 0 {
            parts.push(&text[from..at]);
            from = at + 1;
        }
    }
    parts.push(&text[from..]);
    parts
}
