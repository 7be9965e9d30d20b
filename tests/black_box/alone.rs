//! What a single server without replicas, cluster, modules and disk says to those who ask for them.

use crate::harness::{check, check_with};

#[test]
fn options_of_snapshots_are_checked() {
    check(
        "
        SAVE now                      => ERR wrong number of arguments for 'save' command
        BGSAVE SCHEDULE now           => ERR syntax error
        DUMP nosuch                   => (nil)
        RESTORE k 0 bytes             => ERR DUMP payload version or checksum are wrong
        RESTORE-ASKING k 0 bytes      => ERR DUMP payload version or checksum are wrong
        LASTSAVE                      => *
    ",
    );
}

#[test]
fn a_primary_without_replicas_stays_one() {
    check(
        "
        ROLE                          => ['master', 0, []]
        WAITAOF 0 0 0                 => [0, 0]
        WAITAOF 0 1 20                => [0, 0]
        WAITAOF 1 0 0                 => ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.
        REPLICAOF no one              => OK
        SLAVEOF NO ONE                => OK
        REPLICAOF 127.0.0.1 x         => ERR Invalid master port
        REPLICAOF 127.0.0.1 6380      => ERR this server does not replicate
        SYNC                          => ERR this server does not replicate
        PSYNC ? -1                    => ERR this server does not replicate
        REPLCONF capa eof             => ERR this server does not replicate
        FAILOVER                      => ERR FAILOVER requires connected replicas.
        FAILOVER ABORT                => ERR No failover in progress.
    ",
    );
}

#[test]
fn there_is_no_cluster() {
    let none = "ERR This instance has cluster support disabled";
    let lines = [
        "ASKING",
        "CLUSTER ADDSLOTS 1",
        "CLUSTER ADDSLOTSRANGE 1 2",
        "CLUSTER BUMPEPOCH",
        "CLUSTER COUNT-FAILURE-REPORTS n",
        "CLUSTER COUNTKEYSINSLOT 1",
        "CLUSTER DELSLOTS 1",
        "CLUSTER DELSLOTSRANGE 1 2",
        "CLUSTER FAILOVER FORCE",
        "CLUSTER FLUSHSLOTS",
        "CLUSTER FORGET n",
        "CLUSTER GETKEYSINSLOT 1 1",
        "CLUSTER HELP",
        "CLUSTER INFO",
        "CLUSTER KEYSLOT k",
        "CLUSTER LINKS",
        "CLUSTER MEET 127.0.0.1 6380",
        "CLUSTER MYID",
        "CLUSTER MYSHARDID",
        "CLUSTER NODES",
        "CLUSTER REPLICAS n",
        "CLUSTER REPLICATE n",
        "CLUSTER RESET HARD",
        "CLUSTER SAVECONFIG",
        "CLUSTER SET-CONFIG-EPOCH 1",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER SHARDS",
        "CLUSTER SLAVES n",
        "CLUSTER SLOTS",
        "READONLY",
        "READWRITE",
    ];
    check(&lines.map(|line| format!("{line} => {none}\n")).concat());
    check("CLUSTER NOSUCH => ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.");
}

#[test]
fn there_are_no_modules_and_loading_must_be_allowed() {
    check(
        "
        MODULE LIST                   => []
        MODULE HELP                   => [MODULE …]
        MODULE LOAD x                 => ERR MODULE command not allowed. If the enable-module-command option …
        MODULE LOADEX x               => ERR MODULE command not allowed. If the enable-module-command option …
        MODULE UNLOAD x               => ERR MODULE command not allowed. If the enable-module-command option …
    ",
    );
    check_with(
        &["--enable-module-command", "yes"],
        "MODULE LOAD x => ERR Error loading the extension: this server takes no modules",
    );
}

#[test]
fn debug_must_be_allowed() {
    check_with(
        &["--enable-debug-command", "no"],
        "DEBUG SLEEP 0 => ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
    );
    check(
        "
        DEBUG SLEEP 0                 => OK
        DEBUG HELP                    => [DEBUG …]
        DEBUG ERROR 'OOPS it broke'   => OOPS it broke
        DEBUG PROTOCOL bignum         => '1234567999999999999999999999999999999' || (1234567999999999999999999999999999999
        DEBUG POPULATE 3              => OK
        GET key:2                     => 'value:2'
        DEBUG HTSTATS 0               => '[Dictionary HT]…'
    ",
    );
}
