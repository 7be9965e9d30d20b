//! The parameters: name, kind, default, when they may change, and what they do here.
//!
//! Every parameter name of Redis 7.2 and Valkey 8 is here, so that their configuration files and frameworks that set things
//! at start find them. What follows from a value differs, and the row says it: `Works`, `Shown` (kept and shown, nothing
//! follows; another value than the default is warned of in the log), or `Only` (any other value would promise that data
//! is kept, copied or encrypted, so it is refused with the reason). Names, bounds and defaults: facts of Redis 7.2, and of
//! Valkey 8 where Redis has none.

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    /// An older name that means the same.
    pub alias: &'static str,
    pub kind: Kind,
    /// In the form that a configuration file has.
    pub default: &'static str,
    pub change: Change,
    pub effect: Effect,
    /// CONFIG GET shows it only when it is asked for by its own name.
    pub is_hidden: bool,
    /// The placeholder and the line of `--help`; parameters without one are left out there.
    pub help: Option<(&'static str, &'static str)>,
}

/// What values a parameter takes, and how they are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// Any natural number, brought between two bounds.
    Clamped {
        min: i64,
        max: i64,
    },
    /// Bytes, with units on the way in.
    Memory {
        min: u64,
        max: u64,
    },
    /// Bytes, or a percentage: kept as a negative number.
    MemoryOrPercent,
    /// A file mode.
    Octal {
        max: i64,
    },
    /// One of some words. A word written `a=b` is an accepted spelling `a` of `b`.
    Enum(&'static [&'static str]),
    /// Several of some words.
    Flags(&'static [&'static str]),
    Text,
    /// A file name without a directory.
    FileName,
    HostName,
    /// A text with `{variables}`: `TITLE_VARIABLES`.
    Title,
    /// A text that is not shown in logs.
    Secret,
    /// Words separated by spaces.
    Words,
    /// Pairs of seconds and changes.
    SavePoints,
    /// Class, hard limit, soft limit, seconds; any number of them.
    OutputLimits,
    /// Letters of keyspace events.
    Events,
    /// Numbers from 0 to 100.
    Percentiles,
    /// Three integers between -2000 and 2000.
    OomScores,
}

/// When a parameter may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// CONFIG SET may change it.
    Live,
    /// CONFIG SET may change it if `enable-protected-configs` allows.
    Protected,
    /// Only at start.
    AtStart,
    /// Only at start, but CONFIG SET of the present value passes: a parameter that Redis does not have. Tools that set back
    /// all that CONFIG GET shows know which ones of Redis they must leave out.
    AtStartOwn,
}

/// What follows from a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Works,
    Shown,
    /// Only the default is accepted, for this reason.
    Only(&'static str),
}

impl Kind {
    /// Is the value kept as a text?
    pub fn is_text(self) -> bool {
        use Kind::*;
        let has_lists = matches!(self, Flags(_) | Words | SavePoints | Events | Percentiles | OomScores);
        has_lists || matches!(self, Text | FileName | HostName | Title | Secret)
    }
    /// Does CONFIG SET's one value stand for several words?
    pub fn takes_words(self) -> bool {
        use Kind::*;
        matches!(self, Words | SavePoints | OutputLimits | Percentiles | OomScores | Flags(_))
    }
}

impl Param {
    const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = alias;
        self
    }
    const fn at_start(mut self) -> Self {
        self.change = Change::AtStart;
        self
    }
    const fn at_start_own(mut self) -> Self {
        self.change = Change::AtStartOwn;
        self
    }
    const fn protected(mut self) -> Self {
        self.change = Change::Protected;
        self
    }
    const fn works(mut self) -> Self {
        self.effect = Effect::Works;
        self
    }
    const fn only(mut self, reason: &'static str) -> Self {
        self.effect = Effect::Only(reason);
        self
    }
    const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
    const fn help(mut self, value: &'static str, line: &'static str) -> Self {
        self.help = Some((value, line));
        self
    }
}

const fn param(name: &'static str, kind: Kind, default: &'static str) -> Param {
    Param { name, alias: "", kind, default, change: Change::Live, effect: Effect::Shown, is_hidden: false, help: None }
}

/// What `proc-title-template` may hold in braces.
pub const TITLE_VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

const INT_MAX: i64 = i32::MAX as i64;
const NATURAL: Kind = Kind::Int { min: 0, max: INT_MAX };
const POSITIVE: Kind = Kind::Int { min: 1, max: INT_MAX };
const LONG: Kind = Kind::Int { min: 0, max: i64::MAX };
const PORT: Kind = Kind::Int { min: 0, max: 65535 };
const BYTES: Kind = Kind::Memory { min: 0, max: i64::MAX as u64 };
const YES_NO_LOCAL: Kind = Kind::Enum(&["no", "yes", "local"]);
const ON_SIGNAL: Kind = Kind::Flags(&["default", "save", "nosave", "now", "force"]);
use Kind::{Bool, Enum, FileName, Int, Memory, Octal, Secret, Text, Words};

/// All rows: first what works here, then what is refused, then what is only shown.
pub const PARAMS: &[Param] = &[
    // What works.
    param("bind", Words, "127.0.0.1 -::1")
        .works()
        .help("ADDRESS…", "Addresses to listen on; after '-' one that may be missing; '*' is all"),
    param("port", PORT, "6379").works().help("PORT", "TCP port; 0 for none"),
    param("busy-reply-threshold", LONG, "5000").alias("lua-time-limit").works(),
    param("unixsocket", Text, "").at_start().works().help("PATH", "Listen on this Unix socket too"),
    param("unixsocketperm", Octal { max: 0o777 }, "0")
        .at_start()
        .works()
        .help("MODE", "Mode of the Unix socket, octal; 0 leaves it to umask"),
    param("threads", Int { min: 0, max: 1024 }, "0")
        .at_start_own()
        .works()
        .help("COUNT", "Event loops; 0: as many as this process may use cores"),
    param("io-engine", Enum(&["auto", "uring", "epoll"]), "auto")
        .at_start_own()
        .works()
        .help("ENGINE", "auto, uring or epoll"),
    param("maxclients", Int { min: 1, max: u32::MAX as i64 }, "10000").works().help("COUNT", "Connections at one time"),
    param("requirepass", Secret, "").works().help("PASSWORD", "Clients must AUTH with it"),
    param("databases", Int { min: 1, max: 65535 }, "16")
        .at_start()
        .works()
        .help("COUNT", "Number of databases for SELECT"),
    param("timeout", NATURAL, "0").works().help("SECONDS", "Close a client that is idle for so long; 0: never"),
    param("tcp-keepalive", NATURAL, "300").works().help("SECONDS", "Probe silent peers after so long; 0: never"),
    param("protected-mode", Bool, "yes").works().help("yes|no", "Without a password, serve this machine only"),
    param("tcp-backlog", NATURAL, "511").at_start().works().help("COUNT", "Connections that may wait to be accepted"),
    param("proto-max-bulk-len", Memory { min: 1 << 20, max: u32::MAX as u64 }, "512mb")
        .works()
        .help("SIZE", "Longest argument and longest string value"),
    param("hz", Kind::Clamped { min: 1, max: 500 }, "10")
        .works()
        .help("COUNT", "Background rounds per second while there is work, 1 to 500"),
    param("loglevel", Enum(&["debug", "verbose", "notice", "warning", "nothing"]), "notice")
        .works()
        .help("LEVEL", "debug, verbose, notice, warning or nothing"),
    param("logfile", Text, "").at_start().works().help("PATH", "Log there instead of standard output"),
    param("pidfile", Text, "").at_start().works().help("PATH", "Write the process id there"),
    param("dir", Text, ".").protected().works().help("PATH", "Working directory: relative paths start here"),
    param("aclfile", Text, "").at_start().works().help("PATH", "Users and their permissions are there"),
    param("acl-pubsub-default", Enum(&["allchannels", "resetchannels"]), "resetchannels").works(),
    param("acllog-max-len", LONG, "128").works(),
    param("client-query-buffer-limit", Memory { min: 1 << 20, max: i64::MAX as u64 }, "1gb").works(),
    param("client-output-buffer-limit", Kind::OutputLimits, "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60")
        .works(),
    param("enable-protected-configs", YES_NO_LOCAL, "no").at_start().works(),
    param("enable-debug-command", YES_NO_LOCAL, "no").at_start().works(),
    param(
        "maxmemory-policy",
        Enum(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
            "allkeys-clock",
        ]),
        "noeviction",
    )
    .works(),
    param("maxmemory", Memory { min: 0, max: u64::MAX }, "0").works(),
    param("maxmemory-clients", Kind::MemoryOrPercent, "0").works(),
    param("maxmemory-samples", Int { min: 1, max: 64 }, "5").works(),
    param("maxmemory-eviction-tenacity", Int { min: 0, max: 100 }, "10").works(),
    // What is large is always freed beside the loops, whatever these say.
    param("lazyfree-lazy-eviction", Bool, "no").works(),
    param("lazyfree-lazy-expire", Bool, "no").works(),
    param("lazyfree-lazy-server-del", Bool, "no").works(),
    param("lazyfree-lazy-user-del", Bool, "no").works(),
    param("lazyfree-lazy-user-flush", Bool, "no").works(),
    param("lfu-log-factor", NATURAL, "10").works(),
    param("lfu-decay-time", NATURAL, "1").works(),
    // What would promise too much.
    param("appendonly", Bool, "no").works(),
    param("replicaof", Words, "").alias("slaveof").at_start().only("replication is not implemented yet"),
    param("cluster-enabled", Bool, "no").at_start().only("cluster mode is not implemented yet"),
    // Redis says so too where its allocator cannot tell which pages are sparse, and test suites know what it means.
    param("activedefrag", Bool, "no").only(
        "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like the one \
         shipped by default with the Redis source distribution",
    ),
    param("tls-port", PORT, "0").only("TLS is not implemented"),
    // What is only shown.
    param("min-replicas-to-write", NATURAL, "0").alias("min-slaves-to-write").works(),
    param("save", Kind::SavePoints, "").works(),
    param("active-defrag-cycle-max", Int { min: 1, max: 99 }, "25"),
    param("active-defrag-cycle-min", Int { min: 1, max: 99 }, "1"),
    param("active-defrag-ignore-bytes", Memory { min: 1, max: i64::MAX as u64 }, "100mb"),
    param("active-defrag-max-scan-fields", Int { min: 1, max: i64::MAX }, "1000"),
    param("active-defrag-threshold-lower", Int { min: 0, max: 1000 }, "10"),
    param("active-defrag-threshold-upper", Int { min: 0, max: 1000 }, "100"),
    param("active-expire-effort", Int { min: 1, max: 10 }, "1"),
    param("activerehashing", Bool, "yes"),
    param("always-show-logo", Bool, "no").at_start(),
    param("aof-checksum", Bool, "yes").works(),
    param("aof-disable-auto-gc", Bool, "no").hidden(),
    param("aof-load-truncated", Bool, "yes").works(),
    param("aof-rewrite-incremental-fsync", Bool, "yes"),
    param("aof-timestamp-enabled", Bool, "no").works(),
    param("aof-use-rdb-preamble", Bool, "yes").works(),
    param("aof-rewrite-cpulist", Text, "").alias("aof_rewrite_cpulist").at_start_own(),
    param("appenddirname", FileName, "appendonlydir").at_start().works(),
    param("appendfilename", FileName, "appendonly.aof").at_start().works(),
    param("appendfsync", Enum(&["everysec", "always", "no"]), "everysec").works(),
    param("auto-aof-rewrite-min-size", BYTES, "64mb").works(),
    param("auto-aof-rewrite-percentage", NATURAL, "100").works(),
    param("bgsave-cpulist", Text, "").alias("bgsave_cpulist").at_start_own(),
    param("bind-source-addr", Text, ""),
    param("bio-cpulist", Text, "").alias("bio_cpulist").at_start_own(),
    param("cluster-allow-pubsubshard-when-down", Bool, "yes"),
    param("cluster-allow-reads-when-down", Bool, "no"),
    param("cluster-allow-replica-migration", Bool, "yes"),
    param("cluster-announce-bus-port", PORT, "0"),
    param("cluster-announce-hostname", Kind::HostName, ""),
    param("cluster-announce-human-nodename", Text, ""),
    param("cluster-announce-ip", Text, ""),
    param("cluster-announce-port", PORT, "0"),
    param("cluster-announce-tls-port", PORT, "0"),
    param("cluster-config-file", Text, "nodes.conf").at_start(),
    param("cluster-link-sendbuf-limit", BYTES, "0"),
    param("cluster-migration-barrier", NATURAL, "1"),
    param("cluster-node-timeout", LONG, "15000"),
    param("cluster-port", PORT, "0").at_start(),
    param("cluster-preferred-endpoint-type", Enum(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    param("cluster-replica-no-failover", Bool, "no").alias("cluster-slave-no-failover"),
    param("cluster-replica-validity-factor", NATURAL, "10").alias("cluster-slave-validity-factor"),
    param("cluster-require-full-coverage", Bool, "yes"),
    param("crash-log-enabled", Bool, "yes").works(),
    param("watchdog-period", NATURAL, "0").hidden().works(),
    param("crash-memcheck-enabled", Bool, "yes"),
    param("daemonize", Bool, "no").at_start().works(),
    param("dbfilename", FileName, "dump.rdb").protected().works(),
    param("disable-thp", Bool, "yes").at_start(),
    param("dynamic-hz", Bool, "yes"),
    param("enable-debug-assert", Bool, "no").at_start().hidden(),
    param("enable-module-command", YES_NO_LOCAL, "no").at_start().works(),
    param("hash-max-listpack-entries", LONG, "512").alias("hash-max-ziplist-entries").works(),
    param("hash-max-listpack-value", BYTES, "64").alias("hash-max-ziplist-value").works(),
    param("hide-user-data-from-log", Bool, "yes"),
    param("hll-sparse-max-bytes", BYTES, "3000").works(),
    param("ignore-warnings", Text, ""),
    param("io-threads", Int { min: 1, max: 128 }, "1").at_start(),
    param("io-threads-do-reads", Bool, "no").at_start_own(),
    param("jemalloc-bg-thread", Bool, "yes"),
    param("latency-monitor-threshold", LONG, "0").works(),
    param("latency-tracking", Bool, "yes").works(),
    param("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9").works(),
    param("list-compress-depth", NATURAL, "0").works(),
    param("list-max-listpack-size", Int { min: i32::MIN as i64, max: INT_MAX }, "-2")
        .alias("list-max-ziplist-size")
        .works(),
    param("locale-collate", Text, ""),
    param("masterauth", Secret, "").alias("primaryauth"),
    param("masteruser", Secret, "").alias("primaryuser"),
    param("min-replicas-max-lag", NATURAL, "10").alias("min-slaves-max-lag").works(),
    param("no-appendfsync-on-rewrite", Bool, "no"),
    param("notify-keyspace-events", Kind::Events, "").works(),
    param("oom-score-adj", Enum(&["no", "yes", "relative=yes", "absolute"]), "no").works(),
    param("oom-score-adj-values", Kind::OomScores, "0 200 800").works(),
    param("proc-title-template", Kind::Title, "{title} {listen-addr} {server-mode}").works(),
    param("propagation-error-behavior", Enum(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    // Files for replicas and of primaries are never made: nothing is there that would have to be deleted.
    param("rdb-del-sync-files", Bool, "no").works(),
    // 10: Redis 7.0 reads it; 11: 7.2; 12: 7.4 and 8.
    param("rdb-save-version", Int { min: 10, max: 12 }, "10").works(),
    param("rdb-save-incremental-fsync", Bool, "yes"),
    param("rdbchecksum", Bool, "yes").at_start().works(),
    param("rdbcompression", Bool, "yes").works(),
    param("repl-backlog-size", Memory { min: 1, max: i64::MAX as u64 }, "1mb"),
    param("repl-backlog-ttl", LONG, "3600"),
    param("repl-disable-tcp-nodelay", Bool, "no"),
    param("repl-diskless-load", Enum(&["disabled", "on-empty-db", "swapdb"]), "disabled"),
    param("repl-diskless-sync", Bool, "yes"),
    param("repl-diskless-sync-delay", NATURAL, "5"),
    param("repl-diskless-sync-max-replicas", NATURAL, "0"),
    param("repl-ping-replica-period", POSITIVE, "10").alias("repl-ping-slave-period"),
    param("repl-timeout", POSITIVE, "60"),
    param("replica-announce-ip", Text, "").alias("slave-announce-ip"),
    param("replica-announce-port", PORT, "0").alias("slave-announce-port"),
    param("replica-announced", Bool, "yes"),
    param("replica-ignore-disk-write-errors", Bool, "no"),
    param("replica-ignore-maxmemory", Bool, "yes").alias("slave-ignore-maxmemory"),
    param("replica-lazy-flush", Bool, "no").alias("slave-lazy-flush"),
    param("replica-priority", NATURAL, "100").alias("slave-priority"),
    param("replica-read-only", Bool, "yes").alias("slave-read-only"),
    param("replica-serve-stale-data", Bool, "yes").alias("slave-serve-stale-data"),
    param("sanitize-dump-payload", Enum(&["no", "yes", "clients"]), "no"),
    param("server-cpulist", Text, "")
        .alias("server_cpulist")
        .at_start_own()
        .works()
        .help("CORES", "Cores for the loops, such as 0-3,8: each its own if there are as many"),
    param("set-max-intset-entries", LONG, "512").works(),
    param("set-max-listpack-entries", LONG, "128").works(),
    param("set-max-listpack-value", LONG, "64").works(),
    param("set-proc-title", Bool, "yes").at_start().works(),
    param("shutdown-on-sigint", ON_SIGNAL, "default").works(),
    param("shutdown-on-sigterm", ON_SIGNAL, "default").works(),
    param("shutdown-timeout", NATURAL, "10"),
    param("slowlog-log-slower-than", Int { min: -1, max: i64::MAX }, "10000").works(),
    param("slowlog-max-len", LONG, "128").works(),
    param("socket-mark-id", Int { min: 0, max: u32::MAX as i64 }, "0").at_start(),
    param("stop-writes-on-bgsave-error", Bool, "yes").works(),
    param("stream-node-max-bytes", BYTES, "4096").works(),
    param("stream-node-max-entries", LONG, "100").works(),
    param("supervised", Enum(&["upstart", "systemd", "auto", "no"]), "no").at_start(),
    param("syslog-enabled", Bool, "no").at_start(),
    param(
        "syslog-facility",
        Enum(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]),
        "local0",
    )
    .at_start(),
    param("syslog-ident", Text, "ringdb").at_start(),
    param("tls-auth-clients", Enum(&["no", "yes", "optional"]), "yes"),
    param("tls-ca-cert-dir", Text, ""),
    param("tls-ca-cert-file", Text, ""),
    param("tls-cert-file", Text, ""),
    param("tls-ciphers", Text, ""),
    param("tls-ciphersuites", Text, ""),
    param("tls-client-cert-file", Text, ""),
    param("tls-client-key-file", Text, ""),
    param("tls-client-key-file-pass", Secret, ""),
    param("tls-cluster", Bool, "no"),
    param("tls-dh-params-file", Text, ""),
    param("tls-key-file", Text, ""),
    param("tls-key-file-pass", Secret, ""),
    param("tls-prefer-server-ciphers", Bool, "no"),
    param("tls-protocols", Text, ""),
    param("tls-replication", Bool, "no"),
    param("tls-session-cache-size", NATURAL, "20480"),
    param("tls-session-cache-timeout", NATURAL, "300"),
    param("tls-session-caching", Bool, "yes"),
    param("tracking-table-max-keys", LONG, "1000000").works(),
    param("unixsocketgroup", Text, "").at_start_own(),
    param("zset-max-listpack-entries", LONG, "128").alias("zset-max-ziplist-entries").works(),
    param("zset-max-listpack-value", BYTES, "64").alias("zset-max-ziplist-value").works(),
    // The same for those of Valkey 8 alone.
    param("availability-zone", Text, ""),
    param("client-default-resp", Int { min: 2, max: 3 }, "2").at_start().hidden(),
    param("cluster-announce-client-ipv4", Text, ""),
    param("cluster-announce-client-ipv6", Text, ""),
    param("cluster-blacklist-ttl", LONG, "60"),
    param("cluster-ping-interval", LONG, "0").hidden(),
    param("cluster-slot-stats-enabled", Bool, "no"),
    param("debug-context", Text, "").hidden(),
    param("dual-channel-replication-enabled", Bool, "no"),
    param("events-per-io-thread", NATURAL, "2"),
    param("extended-redis-compatibility", Bool, "no"),
    param("key-load-delay", Int { min: i32::MIN as i64, max: INT_MAX }, "0").hidden().works(),
    param("loading-process-events-interval-bytes", Int { min: 1024, max: INT_MAX }, "2097152").hidden(),
    param("log-format", Enum(&["legacy", "logfmt"]), "legacy"),
    param("log-timestamp-format", Enum(&["legacy", "iso8601", "milliseconds"]), "legacy"),
    param("max-new-connections-per-cycle", Int { min: 1, max: 1000 }, "10"),
    param("max-new-tls-connections-per-cycle", Int { min: 1, max: 1000 }, "1"),
    param("prefetch-batch-max-size", Int { min: 0, max: 128 }, "16"),
    param("rdb-key-save-delay", Int { min: i32::MIN as i64, max: INT_MAX }, "0").hidden().works(),
    param("req-res-logfile", Text, "").at_start().hidden(),
    param("use-exit-on-panic", Bool, "no").hidden(),
];

/// A parameter that code reads: its row. Made at compile time, so that a name which no row has does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id(pub(super) usize);

impl Id {
    pub const APPENDONLY: Id = id("appendonly");
    pub const SERVER_CPULIST: Id = id("server-cpulist");
    pub const APPENDFSYNC: Id = id("appendfsync");
    pub const APPENDDIRNAME: Id = id("appenddirname");
    pub const APPENDFILENAME: Id = id("appendfilename");
    pub const AOF_CHECKSUM: Id = id("aof-checksum");
    pub const AOF_LOAD_TRUNCATED: Id = id("aof-load-truncated");
    pub const AOF_TIMESTAMP_ENABLED: Id = id("aof-timestamp-enabled");
    pub const AOF_USE_RDB_PREAMBLE: Id = id("aof-use-rdb-preamble");
    pub const AUTO_AOF_REWRITE_PERCENTAGE: Id = id("auto-aof-rewrite-percentage");
    pub const AUTO_AOF_REWRITE_MIN_SIZE: Id = id("auto-aof-rewrite-min-size");
    pub const BIND: Id = id("bind");
    pub const PORT: Id = id("port");
    pub const UNIXSOCKET: Id = id("unixsocket");
    pub const UNIXSOCKETPERM: Id = id("unixsocketperm");
    pub const THREADS: Id = id("threads");
    pub const IO_ENGINE: Id = id("io-engine");
    pub const OOM_SCORE_ADJ: Id = id("oom-score-adj");
    pub const OOM_SCORE_ADJ_VALUES: Id = id("oom-score-adj-values");
    pub const MAXCLIENTS: Id = id("maxclients");
    pub const REQUIREPASS: Id = id("requirepass");
    pub const DATABASES: Id = id("databases");
    pub const TIMEOUT: Id = id("timeout");
    pub const TCP_KEEPALIVE: Id = id("tcp-keepalive");
    pub const PROTECTED_MODE: Id = id("protected-mode");
    pub const TCP_BACKLOG: Id = id("tcp-backlog");
    pub const PROTO_MAX_BULK_LEN: Id = id("proto-max-bulk-len");
    pub const HZ: Id = id("hz");
    pub const HASH_MAX_LISTPACK_ENTRIES: Id = id("hash-max-listpack-entries");
    pub const HASH_MAX_LISTPACK_VALUE: Id = id("hash-max-listpack-value");
    pub const LOGLEVEL: Id = id("loglevel");
    pub const LOGFILE: Id = id("logfile");
    pub const DAEMONIZE: Id = id("daemonize");
    pub const SAVE: Id = id("save");
    pub const SHUTDOWN_ON_SIGINT: Id = id("shutdown-on-sigint");
    pub const SHUTDOWN_ON_SIGTERM: Id = id("shutdown-on-sigterm");
    pub const STOP_WRITES_ON_BGSAVE_ERROR: Id = id("stop-writes-on-bgsave-error");
    pub const DBFILENAME: Id = id("dbfilename");
    pub const KEY_LOAD_DELAY: Id = id("key-load-delay");
    pub const RDB_KEY_SAVE_DELAY: Id = id("rdb-key-save-delay");
    pub const RDB_SAVE_VERSION: Id = id("rdb-save-version");
    pub const RDBCOMPRESSION: Id = id("rdbcompression");
    pub const RDBCHECKSUM: Id = id("rdbchecksum");
    pub const PIDFILE: Id = id("pidfile");
    pub const DIR: Id = id("dir");
    pub const QUERY_BUFFER_LIMIT: Id = id("client-query-buffer-limit");
    pub const ACLFILE: Id = id("aclfile");
    pub const ACL_PUBSUB_DEFAULT: Id = id("acl-pubsub-default");
    pub const ACLLOG_MAX_LEN: Id = id("acllog-max-len");
    pub const CRASH_LOG_ENABLED: Id = id("crash-log-enabled");
    pub const PROC_TITLE_TEMPLATE: Id = id("proc-title-template");
    pub const SET_PROC_TITLE: Id = id("set-proc-title");
    pub const WATCHDOG_PERIOD: Id = id("watchdog-period");
    pub const MAXMEMORY: Id = id("maxmemory");
    pub const MAXMEMORY_POLICY: Id = id("maxmemory-policy");
    pub const MAXMEMORY_CLIENTS: Id = id("maxmemory-clients");
    pub const MAXMEMORY_SAMPLES: Id = id("maxmemory-samples");
    pub const MAXMEMORY_TENACITY: Id = id("maxmemory-eviction-tenacity");
    pub const LFU_LOG_FACTOR: Id = id("lfu-log-factor");
    pub const LFU_DECAY_TIME: Id = id("lfu-decay-time");
    pub(super) const ENABLE_PROTECTED: Id = id("enable-protected-configs");
    pub const SLOWLOG_LOG_SLOWER_THAN: Id = id("slowlog-log-slower-than");
    pub const SLOWLOG_MAX_LEN: Id = id("slowlog-max-len");
    pub const MIN_REPLICAS_TO_WRITE: Id = id("min-replicas-to-write");
    pub const MIN_REPLICAS_MAX_LAG: Id = id("min-replicas-max-lag");
    pub const BUSY_REPLY_THRESHOLD: Id = id("busy-reply-threshold");
    pub const NOTIFY_KEYSPACE_EVENTS: Id = id("notify-keyspace-events");
    pub const TRACKING_TABLE_MAX_KEYS: Id = id("tracking-table-max-keys");
    pub const LATENCY_MONITOR_THRESHOLD: Id = id("latency-monitor-threshold");
    pub const LATENCY_TRACKING: Id = id("latency-tracking");
    pub const LATENCY_PERCENTILES: Id = id("latency-tracking-info-percentiles");
    pub const ENABLE_DEBUG_COMMAND: Id = id("enable-debug-command");
    pub const HLL_SPARSE_MAX_BYTES: Id = id("hll-sparse-max-bytes");
    pub const SET_MAX_INTSET_ENTRIES: Id = id("set-max-intset-entries");
    pub const SET_MAX_LISTPACK_ENTRIES: Id = id("set-max-listpack-entries");
    pub const SET_MAX_LISTPACK_VALUE: Id = id("set-max-listpack-value");
    pub const LIST_MAX_LISTPACK_SIZE: Id = id("list-max-listpack-size");
    pub const LIST_COMPRESS_DEPTH: Id = id("list-compress-depth");
    pub const ZSET_MAX_LISTPACK_ENTRIES: Id = id("zset-max-listpack-entries");
    pub const ZSET_MAX_LISTPACK_VALUE: Id = id("zset-max-listpack-value");
    pub const ENABLE_MODULE_COMMAND: Id = id("enable-module-command");
    pub const STREAM_NODE_MAX_BYTES: Id = id("stream-node-max-bytes");
    pub const STREAM_NODE_MAX_ENTRIES: Id = id("stream-node-max-entries");

    /// The parameter with this name or alias, ASCII case aside.
    pub fn find(name: &[u8]) -> Option<Id> {
        let same = |own: &str| !own.is_empty() && own.as_bytes().eq_ignore_ascii_case(name);
        PARAMS.iter().position(|param| same(param.name) || same(param.alias)).map(Id)
    }
    /// The one of the parameter's names that `name` is, as it is written here.
    pub fn spelled(self, name: &[u8]) -> &'static str {
        let param = self.param();
        if param.alias.as_bytes().eq_ignore_ascii_case(name) { param.alias } else { param.name }
    }
    /// The parameter in this row of `PARAMS`.
    pub(super) fn at(row: usize) -> Id {
        Id(row)
    }
    pub fn param(self) -> &'static Param {
        &PARAMS[self.0]
    }
}

const fn id(name: &str) -> Id {
    let mut at = 0;
    while at < PARAMS.len() {
        if same_text(PARAMS[at].name.as_bytes(), name.as_bytes()) {
            return Id(at);
        }
        at += 1;
    }
    panic!("no such parameter")
}

const fn same_text(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
