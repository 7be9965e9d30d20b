//! What is not compared, and which differences are right: each with its reason.

use crate::harness::Value;
use crate::harness::wire::decode;

/// Commands that are never run (a name stands for its subcommands, too; `*` for anything before), and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("*|help", "the texts are our own"),
    ("*|doctor", "prose about the server"),
    ("info", "tells of the server, not of the data"),
    ("memory|stats", "tells of the server"),
    ("memory|malloc-stats", "the allocator's own words"),
    ("lolwut", "another picture"),
    ("role", "tells of the server"),
    ("time", "the clock"),
    ("lastsave", "the clock"),
    ("randomkey", "random by nature"),
    ("acl|genpass", "random by nature"),
    ("dbsize", "counts a key whose deadline has passed until somebody notices; it is compared with the state"),
    ("command|count", "belongs to the version"),
    ("command|docs", "compared with facts of the versions by tests/command_matrix.rs"),
    ("command|info", "compared with facts of the versions by tests/command_matrix.rs"),
    ("command|list", "belongs to the version"),
    ("acl|log", "holds clocks and numbers of connections"),
    ("client|id", "numbers of connections"),
    ("client|info", "numbers of connections, clocks"),
    ("client|list", "numbers of connections, clocks"),
    ("client|kill", "would end the connections of the comparison"),
    ("client|pause", "would stop the comparison"),
    ("client|reply", "replies could not be counted any more"),
    ("client|tracking", "not ours yet: later work"),
    ("client|caching", "belongs to tracking"),
    ("latency", "depends on what took long"),
    ("slowlog", "depends on what took long"),
    ("debug", "tells of the inside"),
    ("monitor", "replies could not be counted any more"),
    ("quit", "would end the connections of the comparison"),
    ("shutdown", "would end the comparison"),
    ("failover", "needs replicas"),
    ("replicaof", "needs a master"),
    ("slaveof", "needs a master"),
    ("replconf", "turns the connection into a replica's"),
    ("psync", "turns the connection into a replica's"),
    ("sync", "turns the connection into a replica's"),
    ("wait", "blocks for as long as it is told"),
    ("pfdebug", "tells of the inside"),
    ("pfselftest", "takes long"),
    ("save", "writes files"),
    ("bgsave", "writes files"),
    ("bgrewriteaof", "writes files"),
    ("config|rewrite", "writes files"),
    ("dump", "the version of the payload"),
    ("restore", "the version of the payload"),
    ("xinfo|consumers", "clocks"),
    ("xsetid", "what it checks, and in which order, belongs to the version"),
    ("waitaof", "blocks for as long as it is told"),
    ("migrate", "needs a second server"),
    ("module", "needs modules"),
    ("cluster", "needs a cluster"),
];

/// One command with the replies to it.
pub struct Case<'a> {
    pub command: &'a [Vec<u8>],
    pub ours: &'a [u8],
    pub theirs: &'a [u8],
    /// Decoded; of neither side if one closed the connection.
    pub values: Option<(Value, Value)>,
}

impl<'a> Case<'a> {
    pub fn new(command: &'a [Vec<u8>], ours: &'a [u8], theirs: &'a [u8]) -> Self {
        let value = |bytes: &[u8]| (!bytes.is_empty()).then(|| decode(bytes)).flatten().map(|(value, _)| value);
        Case { command, ours, theirs, values: value(ours).zip(value(theirs)) }
    }
    /// Is the command one of these (`container|word` or the name)?
    fn is(&self, names: &[&str]) -> bool {
        let word =
            |at: usize| self.command.get(at).map_or(String::new(), |w| String::from_utf8_lossy(w).to_lowercase());
        names.iter().any(|name| match name.split_once('|') {
            Some((container, sub)) => word(0) == container && word(1) == sub,
            None => word(0) == *name,
        })
    }
    /// Both replied an integer: are they positive and less than `distance` apart?
    fn are_near(&self, distance: u64) -> bool {
        matches!(self.values, Some((Value::Int(a), Value::Int(b))) if a > 0 && b > 0 && a.abs_diff(b) < distance)
    }
    /// Both refused: their texts.
    fn errors(&self) -> Option<(&[u8], &[u8])> {
        match &self.values {
            Some((Value::Error(a), Value::Error(b))) => Some((a, b)),
            _ => None,
        }
    }
    /// Neither refused: their replies.
    fn answers(&self) -> Option<(&Value, &Value)> {
        self.values.as_ref().filter(|(a, b)| !a.is_error() && !b.is_error()).map(|(a, b)| (a, b))
    }
}

/// A difference that is right.
pub struct Known {
    pub reason: &'static str,
    pub covers: fn(&Case<'_>) -> bool,
}

/// In force for every reference.
pub const KNOWN: &[Known] = &[
    Known {
        reason: "the servers run a command some milliseconds apart",
        covers: |case| {
            case.is(&["pttl", "pexpiretime"]) && case.are_near(5000)
                || case.is(&["ttl", "expiretime"]) && case.are_near(5)
                || case.is(&["object|idletime"]) && matches!(case.values, Some((Value::Int(0..5), Value::Int(0..5))))
        },
    },
    Known {
        reason: "one policy of eviction is ours alone, and the text says so",
        covers: |case| {
            let ours = String::from_utf8_lossy(case.ours).replace(", allkeys-clock", "");
            case.is(&["config|set"]) && ours.as_bytes() == case.theirs
        },
    },
    Known {
        reason: "keys come in the order of a hash table",
        covers: |case| case.is(&["keys", "scan"]) && case.answers().is_some_and(|(a, b)| sorted(a) == sorted(b)),
    },
    Known {
        reason: "a walk in small steps takes them as the hash table lies",
        covers: |case| {
            let takes_all = case.command.iter().any(|word| word == b"1000000");
            case.is(&["scan", "hscan", "sscan", "zscan"]) && case.answers().is_some() && !takes_all
        },
    },
    Known {
        reason: "a sort by weights leaves equal ones as the hash table gave them",
        covers: |case| {
            let len = |value: &Value| value.items().len();
            let has_by = case.command.iter().any(|word| word.eq_ignore_ascii_case(b"by"));
            has_by && case.is(&["sort", "sort_ro"]) && case.answers().is_some_and(|(a, b)| len(a) == len(b))
        },
    },
    Known {
        reason: "members and fields come in the order of a hash table",
        covers: |case| {
            let all = ["smembers", "sinter", "sunion", "sdiff", "sscan", "hkeys", "hvals"];
            let some = ["spop", "srandmember", "hrandfield", "zrandmember"];
            (case.is(&all) || case.is(&some)) && case.answers().is_some_and(|(a, b)| sorted(a) == sorted(b))
        },
    },
    Known {
        reason: "fields and members come with their values in the order of a hash table",
        covers: |case| {
            let in_order = |value: &Value| {
                pairs_sorted(value.items().last().filter(|_| case.is(&["hscan", "zscan"])).unwrap_or(value))
            };
            case.is(&["hgetall", "hscan", "zscan"]) && case.answers().is_some_and(|(a, b)| in_order(a) == in_order(b))
        },
    },
    Known {
        reason: "the commands of a category belong to the version",
        covers: |case| case.is(&["acl|cat"]) && case.command.len() == 3 && case.answers().is_some(),
    },
    Known {
        reason: "categories and users come in the order of a tree or a hash table",
        covers: |case| {
            case.is(&["acl|cat", "acl|users"]) && case.answers().is_some_and(|(a, b)| sorted(a) == sorted(b))
        },
    },
    Known {
        reason: "parameters come in the order of a hash table",
        covers: |case| {
            case.is(&["config|get"]) && case.answers().is_some_and(|(a, b)| pairs_sorted(a) == pairs_sorted(b))
        },
    },
    Known {
        reason: "names, versions and numbers of connections",
        covers: |case| case.is(&["hello"]) && case.answers().is_some_and(|(a, b)| anonymous(a) == anonymous(b)),
    },
    Known {
        reason: "other structures take other amounts",
        covers: |case| case.is(&["memory|usage"]) && case.are_near(1 << 40),
    },
    Known {
        reason: "a counter that grows by chance",
        covers: |case| case.is(&["object|freq"]) && matches!(case.values, Some((Value::Int(_), Value::Int(_)))),
    },
    Known {
        reason: "small integers are shared objects there",
        covers: |case| case.is(&["object|refcount"]) && case.are_near(1 << 40),
    },
    Known {
        reason: "arguments end at 4 GiB here, and so does their limit",
        covers: |case| {
            let is_limit = |text: &[u8]| text.windows(18).any(|part| part == b"proto-max-bulk-len");
            case.is(&["config|set"]) && case.errors().is_some_and(|(a, b)| is_limit(a) && is_limit(b))
        },
    },
    Known {
        reason: "how long entries are pending comes from a clock",
        covers: |case| {
            case.is(&["xpending"]) && case.answers().is_some_and(|(a, b)| a.items().len() == b.items().len())
        },
    },
    Known {
        reason: "times of consumers come from a clock",
        covers: |case| {
            let is_full = case.command.get(3).is_some_and(|word| word.eq_ignore_ascii_case(b"full"));
            case.is(&["xinfo|stream"]) && is_full && case.answers().is_some()
        },
    },
    Known {
        reason: "Redis reads numbers up to a NUL",
        covers: |case| {
            let has_nul = case.command.iter().any(|word| word.contains(&0));
            has_nul && case.ours.starts_with(b"-ERR min or max")
        },
    },
    Known {
        reason: "a script gets a set as a table, which has no order",
        covers: |case| {
            let sorted = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.sort_unstable();
                bytes
            };
            case.is(&["command|getkeysandflags"])
                && case.answers().is_some()
                && sorted(case.ours) == sorted(case.theirs)
        },
    },
    Known {
        reason: "Redis cuts what it quotes at a NUL",
        covers: |case| {
            let until_nul = |text: &[u8]| text.iter().position(|&byte| byte == 0);
            let has_nul = case.command.iter().any(|word| word.contains(&0));
            let is_of_script =
                |text: &[u8]| text.windows(10).any(|part| part == b" script: 7" || part == b" script: 3");
            case.errors().is_some_and(|(a, b)| {
                until_nul(a).is_some_and(|at| b.starts_with(&a[..at])) || has_nul && is_of_script(a) && is_of_script(b)
            })
        },
    },
];

/// What changed after Redis 7.0; in force for no later reference.
pub const KNOWN_OF_7_0: &[Known] = &[
    Known {
        reason: "since 7.2 a consumer is there once it has asked for something",
        covers: |case| {
            case.is(&["xgroup|createconsumer", "xinfo|groups"])
                && case.answers().is_some_and(|(a, b)| a.items().len() == b.items().len())
        },
    },
    Known {
        reason: "since 7.2 the text names the command that has an odd number of keys and ids",
        covers: |case| case.is(&["xread", "xreadgroup"]) && case.theirs.starts_with(b"-ERR Unbalanced"),
    },
    Known {
        reason: "since 7.2 ZRANK takes WITHSCORE",
        covers: |case| {
            let of_four = case.is(&["command|getkeys", "command|getkeysandflags"]) && case.command.len() == 6;
            let is_arity = |text: &[u8]| text[1..].to_ascii_lowercase().starts_with(b"err wrong number of arg");
            case.is(&["zrank", "zrevrank"]) && case.theirs.starts_with(b"-") && is_arity(case.theirs)
                || of_four && case.theirs.starts_with(b"-ERR Invalid number of arguments")
        },
    },
    Known {
        reason: "since 7.2 scores are written as short as they can be",
        covers: |case| {
            let has_scores = case.command[0].first().is_some_and(|first| b"zZgG".contains(first));
            let has_scores = has_scores || case.is(&["bzpopmin", "bzpopmax", "bzmpop"]);
            has_scores && case.answers().is_some_and(|(a, b)| rounded(a) == rounded(b))
        },
    },
    Known {
        reason: "since 7.2 small lists and sets are listpacks",
        covers: |case| {
            let was = |old: &str| ["quicklist", "hashtable"].contains(&old);
            case.is(&["object|encoding"])
                && case.answers().is_some_and(|(a, b)| a.text() == "listpack" && was(&b.text()))
        },
    },
    Known {
        reason: "since 7.2 the rules of a user are kept as they were given; what they allow is compared by ACL DRYRUN",
        covers: |case| {
            case.is(&["acl|getuser", "acl|list"])
                && case.answers().is_some_and(|(a, b)| without_rules(a) == without_rules(b))
        },
    },
    Known {
        reason: "since 7.2 HELLO looks at all options before the password",
        covers: |case| {
            case.is(&["hello"])
                && case.errors().is_some_and(|(a, b)| a.starts_with(b"ERR ") && b.starts_with(b"WRONGPASS"))
        },
    },
    Known {
        reason: "since 7.2 GETKEYS takes a command without arguments",
        covers: |case| {
            case.is(&["command|getkeys", "command|getkeysandflags"])
                && case.command.len() == 3
                && case.errors().is_some()
        },
    },
    Known {
        reason: "since 7.2 a parenthesis inside of an open selector opens no other one",
        covers: |case| {
            let opens = |word: &&Vec<u8>| word.starts_with(b"(");
            case.is(&["acl|setuser"]) && case.errors().is_some() && case.command.iter().filter(opens).count() > 1
        },
    },
    Known {
        reason: "since 7.2 it is told whose permission is missing",
        covers: |case| {
            let by_script = [&b"ERR ACL failure in script"[..], b"ERR The user executing the script can't"];
            let refuses =
                |text: &[u8]| text.starts_with(b"NOPERM") || by_script.iter().any(|start| text.starts_with(start));
            let denies = |value: &Value| value.text().contains("has no permissions to");
            case.errors().is_some_and(|(a, b)| refuses(a) && refuses(b))
                || case.is(&["acl|dryrun"]) && case.answers().is_some_and(|(a, b)| denies(a) && denies(b))
        },
    },
];

/// What changed after Redis 7.2; in force for it and 7.0.
pub const KNOWN_OF_7: &[Known] = &[
    Known {
        reason: "Valkey 8 bounds maxmemory-samples",
        covers: |case| {
            let tells = |text: &[u8]| text.windows(17).any(|part| part == b"maxmemory-samples");
            case.is(&["config|set"]) && case.errors().is_some_and(|(a, b)| tells(a) && tells(b))
        },
    },
    Known {
        reason: "since Valkey 8 an unknown type is an error",
        covers: |case| case.is(&["scan"]) && case.ours.starts_with(b"-ERR unknown type name"),
    },
    Known {
        reason: "since 7.4 a number that has no negative is refused as a count or rank",
        covers: |case| case.is(&["lrem", "lpos"]) && case.ours.starts_with(b"-ERR value is out of range, value must"),
    },
    Known {
        reason: "which oddly written cursors are numbers belongs to the version",
        covers: |case| {
            let cursor = |at: usize| case.command.get(at).is_none_or(|cursor| cursor != b"0");
            case.is(&["scan"]) && cursor(1) || case.is(&["hscan", "sscan", "zscan"]) && cursor(2)
        },
    },
    Known {
        reason: "since 7.4 `+` is the last entry",
        covers: |case| {
            let has_plus = case.command.iter().any(|word| word == b"+");
            case.is(&["xread", "xreadgroup"]) && has_plus && case.theirs.starts_with(b"-ERR Invalid stream ID")
        },
    },
    Known {
        reason: "since Valkey 8 wrong arguments are an error whether the key does not exist or holds something else",
        covers: |case| {
            let wrong_key = case.ours.starts_with(b"-") && case.theirs.starts_with(b"-WRONGTYPE");
            let no_key = matches!(case.values, Some((Value::Error(_), Value::Int(-1..=0))));
            case.is(&["bitcount", "bitpos"]) && (no_key || wrong_key)
        },
    },
    Known {
        reason: "Valkey 8 lets the end be left out, and looks at the unit before the end",
        covers: |case| case.is(&["bitcount"]) && case.theirs.starts_with(b"-") && matches!(case.command.len(), 3 | 5),
    },
    Known {
        reason: "since 7.4 SINTERSTORE and SDIFFSTORE are known not to read what they replace",
        covers: |case| {
            let update = |text: &[u8]| String::from_utf8_lossy(text).replace("+OW", "+RW");
            case.is(&["command|getkeysandflags"]) && update(case.ours) == update(case.theirs)
        },
    },
];

/// What Valkey does in its own way; in force for no other reference.
pub const KNOWN_OF_VALKEY: &[Known] = &[
    Known {
        reason: "Valkey's texts do not name Redis",
        covers: |case| {
            let plain = |text: &[u8]| String::from_utf8_lossy(text).replace("Redis ", "").replace("Valkey ", "");
            case.errors().is_some_and(|(a, b)| plain(a) == plain(b))
        },
    },
    Known {
        reason: "Valkey 9 has no sanitize-payload, and databases among the rules",
        covers: |case| {
            case.is(&["acl|getuser", "acl|list"])
                && case.answers().is_some_and(|(a, b)| without_rules(a) == without_rules(b))
        },
    },
    Known {
        reason: "field deadlines came to Redis and to Valkey apart: other texts, another order of checks",
        covers: |case| {
            let name = String::from_utf8_lossy(&case.command[0]).to_lowercase();
            let is_of_fields = ["expire", "ttl", "persist", "hgetex", "hsetex"].iter().any(|part| name.contains(part));
            name.starts_with('h') && is_of_fields && case.errors().is_some()
        },
    },
];

/// Commands that end the comparison or block it: damaged ones that have become one are not run.
pub fn is_left_out(command: &[Vec<u8>]) -> bool {
    let case = Case { command, ours: &[], theirs: &[], values: None };
    LEFT_OUT.iter().any(|(name, _)| case.is(&[name]))
}

/// The items of a list, also of lists in it, in an order of their own.
fn sorted(value: &Value) -> Vec<String> {
    let inner = |value: &Value| if value.items().is_empty() { vec![value.clone()] } else { value.items() };
    let mut items: Vec<_> = value.items().iter().flat_map(inner).map(|value| value.to_string()).collect();
    items.sort();
    items
}

/// All of a value of this type, whatever order a hash table gives it.
pub fn in_order(kind: &str, value: &Value) -> String {
    match kind {
        "set" => sorted(value).join(" "),
        "hash" => pairs_sorted(value).join(" "),
        "zset" => rounded(value),
        _ => value.to_string(),
    }
}

/// The names of a map with their values, in an order of their own.
fn pairs_sorted(value: &Value) -> Vec<String> {
    let mut pairs: Vec<_> = value.items().chunks(2).map(|pair| format!("{}: {}", pair[0], pair[1])).collect();
    pairs.sort();
    pairs
}

/// A value's text with all long numbers in it rounded to what a score can hold.
fn rounded(value: &Value) -> String {
    let number = |word: &str| {
        let plain = word.trim_matches(['\'', ',']);
        match plain.parse::<f64>() {
            Ok(number) if plain.len() > 15 || plain.contains('e') => number.to_string(),
            _ => plain.to_string(),
        }
    };
    let text = value.to_string().replace(", ", " ");
    text.split([' ', '[', ']', '{', '}']).map(number).collect::<Vec<_>>().join(" ")
}

/// A reply to HELLO without what tells the servers apart.
fn anonymous(value: &Value) -> Vec<String> {
    let own = |pair: &&[Value]| !["server", "version", "id"].contains(&pair[0].text().as_str());
    value.items().chunks(2).filter(own).map(|pair| format!("{}: {}", pair[0], pair[1])).collect()
}

/// Users without the commands that they may run, and without the flag that new users have since 7.2.
fn without_rules(value: &Value) -> Vec<String> {
    let text = value.to_string().replace(['[', ']', '(', ')', '\'', ','], " ");
    let kept = |word: &&str| !word.starts_with(['+', '-']) && *word != "sanitize-payload";
    text.split_whitespace().filter(kept).map(str::to_string).collect()
}
