//! What COMMAND DOCS says of each command: a summary, and a usage line in the grammar of `usage`.

use super::command::Command;

/// Summary and usage of one command.
pub struct Doc {
    pub summary: &'static str,
    pub usage: &'static str,
}

/// The documentation of a row, if it has any.
pub fn of(row: &Command) -> Option<Doc> {
    let found = DOCS.iter().find(|(name, ..)| *name == row.full_name);
    found.map(|&(_, summary, usage)| Doc { summary, usage })
}

const CONDITIONS: &str = "key seconds [NX|XX|GT|LT]";

/// Full name, summary, usage. Containers have no usage of their own: their subcommands have.
static DOCS: &[(&str, &str, &str)] = &[
    // Connection.
    ("auth", "Log in.", "[username] password"),
    ("client", "Look at and control connections.", ""),
    ("client|getname", "The name of this connection.", ""),
    ("client|help", "The subcommands of CLIENT.", ""),
    ("client|id", "The number of this connection.", ""),
    ("client|info", "What CLIENT LIST says of this connection.", ""),
    (
        "client|kill",
        "Close connections by address, or by all of several conditions.",
        "(ip-port|[ID client-id|TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|USER username|ADDR ip-port|LADDR ip-port|\
         SKIPME (YES|NO)|MAXAGE maxage] ...)",
    ),
    ("client|list", "One line for each connection.", "[TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID client-id ...]"),
    ("client|no-evict", "Spare this connection when clients take too much memory.", "(ON|OFF)"),
    ("client|no-touch", "Let this connection leave the recency of keys alone.", "(ON|OFF)"),
    ("client|reply", "Switch the replies to this connection.", "(ON|OFF|SKIP)"),
    ("client|setinfo", "Tell the name or the version of the client library.", "(LIB-NAME libname|LIB-VER libver)"),
    ("client|setname", "Name this connection.", "connection-name"),
    ("echo", "Answer the message.", "message"),
    (
        "hello",
        "Choose the protocol version, log in and take a name in one step.",
        "[protover [AUTH (username password)] [SETNAME clientname]]",
    ),
    ("ping", "Answer PONG, or the message.", "[message]"),
    ("quit", "Close the connection.", ""),
    ("reset", "Make the connection as new.", ""),
    ("select", "Choose the database of this connection.", "index"),
    // Server.
    ("command", "Describe every command.", ""),
    ("command|count", "Number of commands.", ""),
    ("command|docs", "Documentation of commands.", "[command-name ...]"),
    ("command|getkeys", "The keys of a command line.", "command [arg ...]"),
    ("command|getkeysandflags", "The keys of a command line and how each is accessed.", "command [arg ...]"),
    ("command|help", "The subcommands of COMMAND.", ""),
    ("command|info", "Describe some commands, or all.", "[command-name ...]"),
    ("command|list", "Names of commands.", "[FILTERBY (MODULE module-name|ACLCAT category|PATTERN pattern)]"),
    ("config", "Read and change parameters.", ""),
    ("config|get", "Parameters whose names match, with their values.", "parameter ..."),
    ("config|help", "The subcommands of CONFIG.", ""),
    ("config|resetstat", "Set the counters of INFO back to zero.", ""),
    ("config|rewrite", "Write the present values into the configuration file.", ""),
    ("config|set", "Change parameters, all of them or none.", "(parameter value) ..."),
    ("dbsize", "Number of keys.", ""),
    ("debug", "Help for tests of the server.", "subcommand [arg ...]"),
    ("flushall", "Remove all keys of all databases.", "[ASYNC|SYNC]"),
    ("flushdb", "Remove all keys of this database.", "[ASYNC|SYNC]"),
    ("info", "The state of the server, in sections.", "[section ...]"),
    ("lolwut", "A small picture and the version.", "[VERSION version]"),
    ("memory", "Where the memory goes.", ""),
    ("memory|doctor", "A diagnosis in words.", ""),
    ("memory|help", "The subcommands of MEMORY.", ""),
    ("memory|malloc-stats", "The allocator's own report.", ""),
    ("memory|purge", "Give free pages back to the system.", ""),
    ("memory|stats", "What the memory is used for.", ""),
    ("memory|usage", "Bytes that a key and its value take.", "key [SAMPLES count]"),
    ("role", "The part that this server plays in replication.", ""),
    ("shutdown", "Stop the server.", "[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]"),
    ("swapdb", "Exchange two databases.", "index1 index2"),
    ("time", "Seconds and microseconds of the server's clock.", ""),
    // Cluster.
    ("asking", "Only for clusters.", ""),
    ("readonly", "Only for clusters.", ""),
    ("readwrite", "Only for clusters.", ""),
    // Keys.
    ("copy", "Copy a value to another key.", "source destination [DB destination-db] [REPLACE]"),
    ("del", "Remove keys.", "key ..."),
    ("exists", "How many of the keys exist.", "key ..."),
    ("expire", "Let a key expire after some seconds.", CONDITIONS),
    ("expireat", "Let a key expire at a time in seconds.", "key unix-time-seconds [NX|XX|GT|LT]"),
    ("expiretime", "The time in seconds at which a key expires.", "key"),
    ("keys", "All keys that match.", "pattern"),
    ("move", "Move a key to another database.", "key db"),
    ("object", "How values are stored.", ""),
    ("object|encoding", "The form in which a value is stored.", "key"),
    ("object|freq", "How often a key is used, on a logarithmic scale.", "key"),
    ("object|help", "The subcommands of OBJECT.", ""),
    ("object|idletime", "Seconds since a key was used.", "key"),
    ("object|refcount", "How many references a value has.", "key"),
    ("persist", "Let a key live for ever again.", "key"),
    ("pexpire", "Let a key expire after some milliseconds.", "key milliseconds [NX|XX|GT|LT]"),
    ("pexpireat", "Let a key expire at a time in milliseconds.", "key unix-time-milliseconds [NX|XX|GT|LT]"),
    ("pexpiretime", "The time in milliseconds at which a key expires.", "key"),
    ("pttl", "Milliseconds until a key expires.", "key"),
    ("randomkey", "Any key.", ""),
    ("rename", "Give a key another name, which is overwritten.", "key newkey"),
    ("renamenx", "Give a key another name, unless that exists.", "key newkey"),
    ("scan", "Walk through all keys step by step.", "cursor [MATCH pattern] [COUNT count] [TYPE type]"),
    ("touch", "Renew the recency of keys; how many exist.", "key ..."),
    ("ttl", "Seconds until a key expires.", "key"),
    ("type", "The type of a value.", "key"),
    ("unlink", "Remove keys; large values are freed later.", "key ..."),
    ("wait", "Number of replicas that have this client's writes.", "numreplicas timeout"),
    // Strings.
    ("append", "Add to the end of a string.", "key value"),
    ("decr", "Take one from a number.", "key"),
    ("decrby", "Take something from a number.", "key decrement"),
    ("delex", "Remove a key if its value meets a condition.", "key [IFEQ value|IFNE value|IFDEQ digest|IFDNE digest]"),
    ("delifeq", "Remove a key if it has this value.", "key value"),
    ("digest", "The XXH3 digest of a string.", "key"),
    ("get", "The value of a key.", "key"),
    ("getdel", "The value of a key, which is removed.", "key"),
    (
        "getex",
        "The value of a key, whose expiry may be changed.",
        "key [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|PERSIST]",
    ),
    ("getrange", "A part of a string.", "key start end"),
    ("getset", "Set a value and answer the one before.", "key value"),
    ("incr", "Add one to a number.", "key"),
    ("incrby", "Add something to a number.", "key increment"),
    ("incrbyfloat", "Add something to a floating-point number.", "key amount"),
    (
        "lcs",
        "The longest common subsequence of two strings.",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    ),
    ("mget", "The values of several keys, all at one instant.", "key ..."),
    ("mset", "Set several keys at one instant.", "(key value) ..."),
    (
        "msetex",
        "Set several keys at one instant, with a condition and an expiry for all.",
        "numkeys (key value) ... [NX|XX] [EX seconds|PX milliseconds|EXAT unix-time-seconds|\
         PXAT unix-time-milliseconds|KEEPTTL]",
    ),
    ("msetnx", "Set several keys at one instant, unless one of them exists.", "(key value) ..."),
    ("psetex", "Set a value that expires after some milliseconds.", "key milliseconds value"),
    (
        "set",
        "Set the value of a key.",
        "key value [NX|XX|IFEQ comparison-value|IFNE comparison-value|IFDEQ digest|IFDNE digest] [GET] \
         [EX seconds|PX milliseconds|EXAT unix-time-seconds|PXAT unix-time-milliseconds|KEEPTTL]",
    ),
    ("setex", "Set a value that expires after some seconds.", "key seconds value"),
    ("setnx", "Set the value of a key, unless it exists.", "key value"),
    ("setrange", "Overwrite a part of a string.", "key offset value"),
    ("strlen", "The length of a string.", "key"),
    ("substr", "A part of a string.", "key start end"),
    // Bitmaps.
    (
        "bitfield",
        "Read and change integers of any width within a string.",
        "key [GET (encoding offset)|[OVERFLOW (WRAP|SAT|FAIL)] \
         (SET (encoding offset value)|INCRBY (encoding offset increment))] ...",
    ),
    ("bitfield_ro", "Read integers of any width within a string.", "key [GET (encoding offset)] ..."),
    ("bitcount", "Number of set bits.", "key [start end [BYTE|BIT]]"),
    ("bitop", "Combine strings bit by bit.", "(AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE) destkey key ..."),
    ("bitpos", "The first bit that is set or clear.", "key bit [start [end [BYTE|BIT]]]"),
    ("getbit", "One bit of a string.", "key offset"),
    ("setbit", "Change one bit of a string.", "key offset value"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::{table, usage};

    #[test]
    fn every_command_is_documented_once() {
        for row in table::all() {
            let count = DOCS.iter().filter(|(name, ..)| *name == row.full_name).count();
            assert_eq!(count, 1, "documentation of {}", row.full_name);
        }
        for (name, summary, _) in DOCS {
            assert!(table::lookup_full(name.as_bytes()).is_some(), "{name} is documented and does not exist");
            assert!(summary.ends_with('.') && summary.len() < 80, "{name}: {summary}");
        }
    }

    #[test]
    fn usage_agrees_with_arity() {
        for row in table::all().filter(|row| row.subs.is_empty()) {
            let Some(doc) = of(row) else { continue };
            let words = row.full_name.split('|').count();
            let least = words + usage::parse(doc.usage).iter().map(usage::Arg::words_min).sum::<usize>();
            // These accept fewer words than make sense, and answer with an error of their own.
            let lenient = matches!(row.full_name, "client|kill" | "delex");
            assert!(lenient || least == row.arity.unsigned_abs() as usize, "{}: {least} words", row.full_name);
        }
    }
}
