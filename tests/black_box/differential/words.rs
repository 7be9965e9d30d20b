//! The words that fill a command: few keys, so that commands meet; values and numbers that sit on edges; far deadlines.
//!
//! Nothing here depends on the moment at which a server runs it: deadlines are far away or long past, never near.

use crate::harness::Random;

const KEYS: &[&[u8]] =
    &[b"a", b"b", b"c", b"key:4", b"", b"\x00\xff\r\n", b"num", b"a-key-that-is-longer-than-forty-four-bytes-is-it"];
/// Keys that mostly hold the type of a group.
const KEYS_OF: &[(&str, &[&[u8]])] = &[
    ("list", &[b"l1", b"l2"]),
    ("hash", &[b"h1", b"h2"]),
    ("set", &[b"s1", b"s2", b"s3"]),
    ("sorted-set", &[b"z1", b"z2", b"z3"]),
    ("stream", &[b"x1", b"x2"]),
    ("geo", &[b"g1", b"g2"]),
    ("hyperloglog", &[b"p1", b"p2"]),
];
/// For how long a command that finds nothing waits. Nobody fills a key meanwhile: a moment is enough.
pub const TIMEOUTS: &[&[u8]] = &[b"0.001", b"0.001", b"0.0015", b"0.002", b"-1", b"x", b""];
/// Longitudes and latitudes: cities near each other, the edges of the earth and beyond.
const PLACES: &[(&[u8], &[u8])] = &[
    (b"13.361389", b"38.115556"),
    (b"15.087269", b"37.502669"),
    (b"13.583333", b"37.316667"),
    (b"-122.4194", b"37.7749"),
    (b"0", b"0"),
    (b"179.999", b"10"),
    (b"-179.999", b"10"),
    (b"180", b"85.05112878"),
    (b"-180", b"-85.05112878"),
    (b"1e-7", b"-1e-7"),
    (b"181", b"86"),
];
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
const SORT_PATTERNS: &[&[u8]] =
    &[b"#", b"num", b"*", b"h1->v", b"h*->w", b"h*->*", b"*->v", b"a*", b"key:*", b"nosort", b"h1->", b"->v", b"*-key"];

const USERS: &[&[u8]] = &[b"u1", b"u2", b"u3"];
const RULES: &[&[u8]] = &[
    b"on",
    b"off",
    b"nopass",
    b">pw",
    b">other",
    b"<pw",
    b"resetpass",
    b"~a*",
    b"%R~b*",
    b"%W~c",
    b"%RW~num",
    b"allkeys",
    b"resetkeys",
    b"&chan*",
    b"allchannels",
    b"resetchannels",
    b"+@all",
    b"-@all",
    b"+@read",
    b"+@string",
    b"-@dangerous",
    b"+get",
    b"-get",
    b"+set",
    b"+config|get",
    b"-config|set",
    b"+object",
    b"allcommands",
    b"nocommands",
    b"reset",
    b"(+get ~x)",
    b"(%R~b +@write)",
    b"clearselectors",
    b"sanitize-payload",
    b"skip-sanitize-payload",
    b"#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    b"#xyz",
    b"+nosuch",
    b"+@nosuch",
    b"-get|x",
    b"+select|0",
    b"%X~a",
    b"(",
    b"()",
    b"(+get",
    b"~",
    b"bogus",
];
const CATEGORIES: &[&[u8]] = &[b"string", b"READ", b"@read", b"nosuch", b"keyspace", b"bitmap", b"connection"];
/// Parameters whose change nobody notices elsewhere, with values that fit and some that do not.
pub const PARAMETERS: &[(&str, &[&str])] = &[
    ("activerehashing", &["yes", "no", "NO", "maybe", "1"]),
    ("client-query-buffer-limit", &["1gb", "1mb", "2147483648", "1", "x"]),
    ("hash-max-listpack-entries", &["128", "0", "-1", "x", "9223372036854775807"]),
    ("hash-max-ziplist-entries", &["64", "x"]),
    ("hz", &["10", "100", "0", "1.5", ""]),
    ("lazyfree-lazy-user-del", &["yes", "no", "x"]),
    ("lfu-decay-time", &["1", "-1", "7"]),
    ("lfu-log-factor", &["10", "-1", "99"]),
    ("list-max-listpack-size", &["-2", "128", "x"]),
    ("maxmemory-policy", &["noeviction", "allkeys-lru", "VOLATILE-TTL", "allkeys-random", "x"]),
    ("maxmemory-samples", &["5", "64", "x"]),
    ("notify-keyspace-events", &["", "KEA", "Ex", "gxE$", "z", "Kg"]),
    ("proto-max-bulk-len", &["512mb", "1mb", "1024", "x"]),
    ("repl-backlog-size", &["1mb", "2mb", "0", "x"]),
    ("slowlog-max-len", &["128", "0", "-1", "x"]),
    ("stream-node-max-entries", &["100", "-1"]),
    ("tcp-keepalive", &["300", "0", "-1", "60"]),
    ("tracking-table-max-keys", &["1000000", "0"]),
    ("zset-max-listpack-value", &["64", "x"]),
    ("client-output-buffer-limit", &["normal 0 0 0", "pubsub 32mb 8mb 60", "nosuch 0 0 0", "normal 1 x 0", "normal"]),
    ("no-such-parameter", &["1"]),
    ("databases", &["16"]),
    ("", &[""]),
];

/// Makes words.
pub struct Words {
    pub random: Random,
    /// The group of the command that words are made for; empty if it does not work on data.
    pub group: &'static str,
    /// Where among `PLACES` the last longitude was taken.
    place: usize,
    /// Each relative deadline is used once: two of the same length could meet in one millisecond on one server only.
    ttl: u64,
    /// The time of the last stream entry: ids only grow.
    entry_ms: u64,
}

impl Words {
    pub fn new(random: Random) -> Self {
        Words { random, group: "", place: 0, ttl: 10_000, entry_ms: 0 }
    }
    /// A word for the argument `name` of this kind (as COMMAND DOCS has them) of `command`.
    pub fn word(&mut self, command: &str, name: &str, kind: &str) -> Vec<u8> {
        let seconds = name.contains("seconds") && !name.contains("milliseconds");
        match (command, name, kind) {
            (.., "key") => self.key(),
            (_, "id" | "start" | "end" | "group" | "groupname" | "consumer" | "consumername" | "min-idle-time", _)
            | (_, "threshold", _)
                if command.starts_with('x') =>
            {
                self.of_stream(command, name)
            }
            (.., "pattern") if command == "config|get" => self.parameter(),
            ("sort" | "sort_ro", "pattern", _) => self.one_of(SORT_PATTERNS),
            (_, "timeout", _) if command.starts_with('b') => self.random.pick(TIMEOUTS).to_vec(),
            (_, "longitude", _) => {
                self.place = self.random.below(PLACES.len());
                PLACES[self.place].0.to_vec()
            }
            (_, "latitude", _) => PLACES[self.place].1.to_vec(),
            (_, "radius" | "width" | "height", _) => self.one_of(&[b"1", b"150", b"200.5", b"5000", b"30000", b"-1"]),
            (_, "min" | "max" | "start" | "stop", kind) if self.group == "sorted-set" => self.bound(command, kind),
            ("zrank" | "zrevrank", "withscore", _) => b"withscore".to_vec(),
            (_, "score" | "increment", _) if self.group == "sorted-set" && self.random.percent(60) => self.score(),
            (_, "field" | "member" | "element", "string") if self.group != "list" && self.random.percent(85) => {
                self.few()
            }
            (.., "pattern") => self.random.pick(PATTERNS).to_vec(),
            (.., "unix-time") => self.deadline(if seconds { "at" } else { "atms" }),
            ("setbit", "value", _) | ("bitpos", "bit", _) => self.one_of(&[b"0", b"1"]),
            ("bitop", "operation", _) => self.one_of(&[b"AND", b"or", b"XOR", b"NOT", b"not"]),
            ("bitfield" | "bitfield_ro", "offset", _) => self.bit_offset(),
            (_, "seconds" | "milliseconds", _) => self.deadline(if seconds { "ttl" } else { "ttlms" }),
            ("lindex", "index", _) => self.small(),
            // What is larger Redis cuts to 32 bits, or negates.
            ("lset", "index", _) | ("lrem", "count", _) => self.one_of(&[b"0", b"1", b"2", b"-1", b"-2", b"7", b"-7"]),
            ("lrem" | "lpos" | "linsert", "element" | "pivot", _) => self.few(),
            ("rpush" | "lpush" | "lpushx" | "rpushx" | "lset", "element", _) if self.random.percent(70) => self.few(),
            (_, "rank" | "num-matches" | "stop", "integer") => self.small(),
            (_, "db" | "destination-db" | "index" | "index1" | "index2", _) => self.database(),
            (_, "offset", _) => self.offset(),
            (_, "encoding", _) => self.bit_type(),
            (_, "cursor", _) => self.one_of(&[b"0"]),
            ("scan" | "hscan" | "sscan" | "zscan", "count", _) => b"1000000".to_vec(),
            ("scan", "type", _) => self.one_of(&[b"string", b"LIST", b"zset", b"hash", b"set", b"stream"]),
            (_, "protover", _) => self.one_of(&[b"2", b"3", b"3", b"4", b"0", b"x"]),
            (_, "username", _) if command == "auth" || command == "hello" => {
                self.one_of(&[b"default", b"worker", b"nobody", b"u1x"])
            }
            (_, "password", _) => self.one_of(&[b"pw", b"pw", b"wrong", b""]),
            (_, "username", _) => self.random.pick(USERS).to_vec(),
            (_, "rule", _) => self.random.pick(RULES).to_vec(),
            (_, "category" | "categoryname", _) => self.random.pick(CATEGORIES).to_vec(),
            ("config|get", ..) | ("config|set", "parameter", _) => self.parameter(),
            ("client|unblock", "client-id", _) => self.one_of(&[b"99999999", b"0", b"-1"]),
            ("hello", "clientname", _) => b"me".to_vec(), // Where an odd name is noticed belongs to the version.
            (_, "clientname" | "connection-name", _) => {
                self.random.pick(&[&b"me"[..], b"", b"with space", b"new\nline", b"\xc3\xa4"]).to_vec()
            }
            (_, "libname" | "libver", _) => self.random.pick(&[&b"lib"[..], b"1.0", b"a b"]).to_vec(),
            (_, "numkeys", _) => self.one_of(&[b"1", b"2", b"2", b"0", b"3"]),
            (.., "double") => self.float(),
            (_, "start" | "end" | "len" | "count" | "min-match-len", "integer") => self.small(),
            (.., "integer") => self.integer(),
            _ => self.string(),
        }
    }
    fn of_stream(&mut self, command: &str, name: &str) -> Vec<u8> {
        match name {
            "group" | "groupname" => self.one_of(&[b"g", b"g", b"h"]),
            "consumer" | "consumername" => self.one_of(&[b"ann", b"ben"]),
            "min-idle-time" => self.one_of(&[b"0", b"0", b"9000000000000"]),
            "threshold" if self.random.percent(50) => self.small(),
            "id" if command == "xadd" => self.new_id(),
            "id" if command == "xreadgroup" && self.random.percent(60) => b">".to_vec(),
            _ => match self.random.below(8) {
                0 => self.one_of(&[b"-", b"+", b"(5-1", b"(7", b"$", b"0-0", b"18446744073709551615"]),
                1 => self.random.below(40).to_string().into_bytes(),
                _ => format!("{}-{}", self.random.below(40), self.random.below(3)).into_bytes(),
            },
        }
    }
    /// An id for a new entry, never one that comes from a clock.
    pub fn new_id(&mut self) -> Vec<u8> {
        self.entry_ms += self.random.below(2) as u64;
        let (ms, seq) = (self.entry_ms, self.random.below(4));
        if seq == 0 { self.odd() } else { format!("{ms}-*").into_bytes() }
    }
    /// A value for CONFIG SET of `parameter`.
    pub fn setting(&mut self, parameter: &[u8]) -> Vec<u8> {
        let known = PARAMETERS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(parameter));
        let values = known.map_or(&["1"][..], |(_, values)| values);
        self.random.pick(values).as_bytes().to_vec()
    }
    pub fn odd(&mut self) -> Vec<u8> {
        self.random.pick(ODD).to_vec()
    }
    /// A key: mostly one that holds what the group's commands want.
    pub fn key(&mut self) -> Vec<u8> {
        let own = match self.group {
            "generic" => Some(&KEYS_OF[self.random.below(KEYS_OF.len())]),
            group => KEYS_OF.iter().find(|(own, _)| *own == group),
        };
        match own.filter(|_| self.random.percent(75)) {
            // A geo set is a sorted set, too.
            Some(_) if self.group == "geo" && self.random.percent(10) => b"z1".to_vec(),
            Some((_, keys)) => self.random.pick(keys).to_vec(),
            None => self.random.pick(KEYS).to_vec(),
        }
    }
    fn score(&mut self) -> Vec<u8> {
        self.random.pick(&[&b"1"[..], b"2", b"3", b"1.5", b"-2", b"inf", b"-inf", b"2", b"1e300"]).to_vec()
    }
    /// One end of a range of ranks, scores or members.
    fn bound(&mut self, command: &str, kind: &str) -> Vec<u8> {
        let is_of_members = command.contains("lex");
        match self.random.below(if kind == "integer" { 2 } else { 10 }) {
            0 | 1 => self.small(),
            _ if command.starts_with("zrange") && self.random.percent(10) => self.small(),
            2..6 if !is_of_members => self.one_of(&[b"-inf", b"+inf", b"(1", b"1", b"(2", b"3", b"(-2", b"inf"]),
            _ => self.one_of(&[b"-", b"+", b"[v", b"(v", b"[w", b"(100000", b"[", b"("]),
        }
    }
    fn parameter(&mut self) -> Vec<u8> {
        PARAMETERS[self.random.below(PARAMETERS.len())].0.as_bytes().to_vec()
    }
    /// Mostly one of `usual`, sometimes something odd.
    fn one_of(&mut self, usual: &[&[u8]]) -> Vec<u8> {
        if self.random.percent(4) { self.odd() } else { self.random.pick(usual).to_vec() }
    }
    fn database(&mut self) -> Vec<u8> {
        match self.random.percent(4) {
            true => self.random.pick(&[&b"16"[..], b"15", b"-1", b"x", b"99999999999", b"01"]).to_vec(),
            false => self.random.below(3).to_string().into_bytes(),
        }
    }
    fn bit_type(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(25) {
            0 => random.pick(&[&b"u64"[..], b"i65", b"u0", b"x8", b"i", b"u-1", b"U8"]).to_vec(),
            1..=12 => format!("i{}", 1 + random.below(64)).into_bytes(),
            _ => format!("u{}", 1 + random.below(63)).into_bytes(),
        }
    }
    fn bit_offset(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(25) {
            0 => random.pick(&[&b"#x"[..], b"-1", b"#-1", b"4294967296", b"#9223372036854775807", b"#"]).to_vec(),
            1..=10 => format!("#{}", random.below(20)).into_bytes(),
            _ => random.below(200).to_string().into_bytes(),
        }
    }
    fn offset(&mut self) -> Vec<u8> {
        match self.random.percent(4) {
            true => self.random.pick(&[&b"-1"[..], b"4294967296", b"9223372036854775807", b"x"]).to_vec(),
            false => self.random.below(300).to_string().into_bytes(),
        }
    }
    fn float(&mut self) -> Vec<u8> {
        match self.random.percent(60) {
            true => self.random.pick(FLOATS).to_vec(),
            false => self.integer(),
        }
    }
    fn small(&mut self) -> Vec<u8> {
        match self.random.percent(80) {
            true => (self.random.below(80) as i64 - 40).to_string().into_bytes(),
            false => self.integer(),
        }
    }
    /// One of a few values, so that equal ones meet.
    fn few(&mut self) -> Vec<u8> {
        self.random.pick(&[&b"v"[..], b"w", b"1", b"-1", b"01", b"100000", b"", b"foo bar"]).to_vec()
    }
    fn integer(&mut self) -> Vec<u8> {
        match self.random.below(24) {
            0 => self.odd(),
            1..=12 => self.random.pick(NUMBERS).to_vec(),
            _ => (self.random.below(2000) as i64 - 1000).to_string().into_bytes(),
        }
    }
    /// A value to store.
    pub fn string(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        match random.below(12) {
            0..=2 => random.pick(NUMBERS).to_vec(),
            3 => random.pick(ODD).to_vec(),
            4 => random.pick(FLOATS).to_vec(),
            5 => vec![b'x'; [43, 44, 45, 64, 1000][random.below(5)]],
            6 if random.percent(10) => vec![b'L'; [16_384, 20_000, 40_000][random.below(3)]],
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
}
