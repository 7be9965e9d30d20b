//! Scenarios of the string family. Replies were taken from Redis 7.0 and, for newer commands, Valkey 9.1.

use super::testkit::{Client, Line, check, render};
use crate::base::clock::WallMs;
use crate::keyspace::Keys;
use crate::keyspace::types::encoding_name;
use crate::table::Participant;

/// What OBJECT ENCODING and PEXPIRETIME would tell of a key.
fn facts(client: &Client, key: &[u8]) -> Option<(&'static str, Option<WallMs>)> {
    let seat = Participant::new();
    let guard = seat.pin();
    let world = &client.world;
    let now = world.keyspace.now.get();
    let keys = Keys::new(&world.keyspace, client.session.db, &guard, &world.stats[0], &client.local, now);
    keys.peek(keys.key(key, 0)).and_then(|entry| Some((encoding_name(entry)?, entry.expires_at())))
}

fn encoding(client: &Client, key: &str) -> &'static str {
    facts(client, key.as_bytes()).map_or("none", |(encoding, _)| encoding)
}

/// Milliseconds to live, rounded to the next second; None if the key or its deadline is missing.
fn ttl_seconds(client: &Client, key: &str) -> Option<u64> {
    let deadline = facts(client, key.as_bytes())?.1?;
    Some((deadline.0 - client.world.keyspace.now.get().0).div_ceil(1000))
}

#[test]
fn set_and_get_keep_every_byte() {
    check(
        r#"
        GET nokey            => (nil)
        SET k v              => OK
        GET k                => 'v'
        SET k ""             => OK
        GET k                => ''
        SET "a\x00b" "\r\n"  => OK
        GET "a\x00b"         => '\r\n'
        STRLEN nokey         => 0
        STRLEN k             => 0
        SET n -555           => OK
        STRLEN n             => 4
        GET n                => '-555'
    "#,
    );
}

#[test]
fn set_options_exclude_each_other() {
    check(
        "
        SET k v nonsense           => ERR syntax error
        SET k v NX XX              => ERR syntax error
        SET k v NX NX              => OK
        SET k v EX                 => ERR syntax error
        SET k v EX 1 PX 1          => ERR syntax error
        SET k v EX 1 KEEPTTL       => ERR syntax error
        SET k v KEEPTTL EX 1       => ERR syntax error
        SET k v PERSIST            => ERR syntax error
        SET k v EX 0               => ERR invalid expire time in 'set' command
        SET k v PX -1              => ERR invalid expire time in 'set' command
        SET k v EX 9223372036854775807 => ERR invalid expire time in 'set' command
        SET k v PX 9223372036854775807 => ERR invalid expire time in 'set' command
        SET k v EX 1.5             => ERR value is not an integer or out of range
        SET k v IFEQ               => ERR syntax error
        SET k v IFEQ a IFEQ a      => ERR syntax error
        SET k v NX IFEQ a          => ERR syntax error
        SET k v IFEQ a XX          => ERR syntax error
        GET k                      => 'v'
    ",
    );
}

#[test]
fn set_nx_xx_and_get_reply_what_was_there() {
    check(
        "
        SET k 1 XX       => (nil)
        SET k 1 NX       => OK
        SET k 2 NX       => (nil)
        SET k 2 NX GET   => '1'
        SET k 3 XX GET   => '1'
        GET k            => '3'
        SET new v GET    => (nil)
        SET no v XX GET  => (nil)
        GET no           => (nil)
        SETNX k 9        => 0
        SETNX other 9    => 1
        GETSET k 5       => '3'
        GETSET fresh x   => (nil)
        GETDEL k         => '5'
        GETDEL k         => (nil)
    ",
    );
}

#[test]
fn set_compares_with_the_old_value_or_its_digest() {
    check(
        "
        SET k new IFEQ old           => (nil)
        GET k                        => (nil)
        SET k v IFNE old             => OK
        SET k w IFNE v               => (nil)
        SET k w IFEQ v GET           => 'v'
        SET k x IFEQ nope GET        => 'w'
        SET n 10                     => OK
        INCR n                       => 11
        SET n 12 IFEQ 11             => OK
        SET d hello                  => OK
        DIGEST d                     => '9555e8555c62dcfd'
        DIGEST nokey                 => (nil)
        SET d x IFDEQ 0000000000000000 => (nil)
        SET d x IFDEQ 12             => ERR must be exactly 16 hexadecimal characters
        SET d x IFDNE 9555e8555c62dcfd => (nil)
        SET d y IFDEQ 9555E8555C62DCFD => OK
        SET no x IFDEQ 12            => (nil)
        SET no x IFDNE 12            => OK
    ",
    );
}

#[test]
fn delex_and_delifeq_remove_only_what_they_expect() {
    check(
        "
        DELEX k                    => 0
        SET k hello                => OK
        DELEX k                    => 1
        DELEX k IFEQ               => ERR wrong number of arguments for 'delex' command
        DELEX k NONSENSE x         => 0
        SET k hello                => OK
        DELEX k NONSENSE x         => ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
        DELEX k IFEQ other         => 0
        DELEX k IFNE hello         => 0
        DELEX k IFDEQ 1            => ERR must be exactly 16 hexadecimal characters
        DELEX k IFDNE 9555e8555c62dcfd => 0
        DELEX k IFDEQ 9555e8555c62dcfd => 1
        SET k 0123                 => OK
        DELIFEQ k 123              => 0
        DELIFEQ k 0123             => 1
        DELIFEQ k 0123             => 0
    ",
    );
}

#[test]
fn a_plain_set_drops_the_deadline_and_keepttl_keeps_it() {
    let mut client = Client::new();
    client.run_line("SET k v EX 100");
    assert_eq!(ttl_seconds(&client, "k"), Some(100));
    client.run_line("SET k 5 KEEPTTL");
    client.run_line("INCR k");
    client.run_line("APPEND k x");
    client.run_line("SETRANGE k 0 y");
    client.run_line("SETBIT k 1 1");
    assert_eq!(ttl_seconds(&client, "k"), Some(100));
    client.run_line("SET k v");
    assert_eq!(ttl_seconds(&client, "k"), None);
    client.run_line("SETEX k 7 v");
    assert_eq!(ttl_seconds(&client, "k"), Some(7));
    client.run_line("PSETEX k 8000 v");
    assert_eq!(ttl_seconds(&client, "k"), Some(8));
    client.run_line("GETSET k w");
    assert_eq!(ttl_seconds(&client, "k"), None);
}

#[test]
fn a_deadline_in_the_past_removes_the_key() {
    let mut client = Client::new();
    for command in ["SET k w EXAT 1", "SET k w PXAT 1", "GETEX k EXAT 1", "MSETEX 2 k w l w PXAT 1"] {
        client.run_line("SET k v");
        let reply = client.run_line(command);
        assert!(["OK", "'v'", "1"].contains(&reply.as_str()), "{command} replied {reply}");
        assert_eq!(client.run_line("GET k"), "(nil)", "{command}");
        assert_eq!(client.run_line(command), if command.starts_with("GETEX") { "(nil)".into() } else { reply });
    }
}

#[test]
fn getex_changes_only_the_deadline() {
    let mut client = Client::new();
    client.run_line("SET k 12");
    assert_eq!(client.run_line("GETEX k"), "'12'");
    assert_eq!(ttl_seconds(&client, "k"), None);
    assert_eq!(client.run_line("GETEX k EX 50"), "'12'");
    assert_eq!((encoding(&client, "k"), ttl_seconds(&client, "k")), ("int", Some(50)));
    assert_eq!(client.run_line("GETEX k PERSIST"), "'12'");
    assert_eq!(ttl_seconds(&client, "k"), None);
    let dirty = client.effects.dirty;
    client.run_line("GETEX k PERSIST");
    client.run_line("GETEX nokey EX 10");
    assert_eq!(client.effects.dirty, dirty);
    check(
        "
        SET k v              => OK
        GETEX k EX 10 PERSIST => ERR syntax error
        GETEX k NX           => ERR syntax error
        GETEX k KEEPTTL      => ERR syntax error
        GETEX k EX 0         => ERR invalid expire time in 'getex' command
        GETEX nokey EX x     => (nil)
    ",
    );
}

#[test]
fn setex_checks_its_time() {
    check(
        "
        SETEX k 0 v                      => ERR invalid expire time in 'setex' command
        SETEX k x v                      => ERR value is not an integer or out of range
        SETEX k 9223372036854775807 v    => ERR invalid expire time in 'setex' command
        PSETEX k -3 v                    => ERR invalid expire time in 'psetex' command
        GET k                            => (nil)
    ",
    );
}

#[test]
fn ranges_are_read_and_overwritten() {
    check(
        r#"
        SET k "Hello World"     => OK
        GETRANGE k 0 3          => 'Hell'
        GETRANGE k 0 -1         => 'Hello World'
        GETRANGE k -4 -1        => 'orld'
        GETRANGE k 5 3          => ''
        GETRANGE k -1 -3        => ''
        GETRANGE k -5000 10000  => 'Hello World'
        GETRANGE k 0 4294967297 => 'Hello World'
        GETRANGE k x 1          => ERR value is not an integer or out of range
        GETRANGE nokey 0 -1     => ''
        SUBSTR k -5 -1          => 'World'
        SETRANGE k 6 Redis      => 11
        GET k                   => 'Hello Redis'
        SETRANGE k 13 x         => 14
        GET k                   => 'Hello Redis\x00\x00x'
        SETRANGE k 3 ""         => 14
        SETRANGE none 5 ""      => 0
        GET none                => (nil)
        SETRANGE k -1 x         => ERR offset is out of range
        SETRANGE k 536870912 x  => ERR string exceeds maximum allowed size (proto-max-bulk-len)
        SETRANGE k 9223372036854775807 x => ERR string exceeds maximum allowed size (proto-max-bulk-len)
    "#,
    );
}

#[test]
fn encodings_follow_the_commands() {
    let mut client = Client::new();
    for (command, expected) in [
        ("SET k 12", "int"),
        ("SETRANGE k 0 ''", "int"),
        ("APPEND k 3", "raw"),
        ("INCR k", "int"),
        ("SETRANGE k 0 9", "raw"),
        ("SET k 9223372036854775806", "int"),
        ("INCR k", "int"),
        ("INCRBYFLOAT k 0", "embstr"),
        ("DECR k", "int"),
        ("SETBIT k 7 0", "raw"),
        ("SET k text", "embstr"),
        ("GETEX k EX 9", "embstr"),
        ("BITFIELD k SET u1 0 0", "raw"),
        ("BITOP AND k k", "raw"),
        ("MSET k 5", "int"),
        ("GETSET k 012345678901234567890123456789012345678901234", "raw"),
        ("DEL k", "none"),
        ("APPEND k 77", "int"),
    ] {
        let reply = client.run_line(command);
        assert!(command.starts_with("DEL") || !reply.starts_with("ERR"), "{command}: {reply}");
        if command.starts_with("DEL") {
            client.run_line("GETDEL k");
        }
        assert_eq!(encoding(&client, "k"), expected, "after {command}");
    }
}

#[test]
fn counters_count_to_the_ends_of_64_bits() {
    check(
        r#"
        INCR k                        => 1
        INCRBY k 41                   => 42
        DECR k                        => 41
        DECRBY k 1                    => 40
        SET k 4611686018427387902     => OK
        INCR k                        => 4611686018427387903
        INCR k                        => 4611686018427387904
        INCR k                        => 4611686018427387905
        DECRBY k 3                    => 4611686018427387902
        INCR k                        => 4611686018427387903
        SET k 9223372036854775807     => OK
        INCR k                        => ERR increment or decrement would overflow
        GET k                         => '9223372036854775807'
        SET k -9223372036854775808    => OK
        DECR k                        => ERR increment or decrement would overflow
        INCR k                        => -9223372036854775807
        DECRBY k -9223372036854775808 => ERR decrement would overflow
        INCRBY k x                    => ERR value is not an integer or out of range
        SET k " 1"                    => OK
        INCR k                        => ERR value is not an integer or out of range
        SET k 12                      => OK
        APPEND k 3                    => 3
        INCR k                        => 124
    "#,
    );
}

#[test]
fn incrbyfloat_prints_what_a_long_double_holds() {
    check(
        r#"
        INCRBYFLOAT k 3.0e3       => '3000'
        INCRBYFLOAT k 0.1         => '3000.10000000000000009'
        INCRBYFLOAT k -3000.1     => '0'
        INCR k                    => 1
        INCRBYFLOAT k inf         => ERR increment would produce NaN or Infinity
        INCRBYFLOAT k nan         => ERR value is not a valid float
        INCRBYFLOAT k ""          => ERR value is not a valid float
        SET k "1 "                => OK
        INCRBYFLOAT k 1           => ERR value is not a valid float
        SET k 10.50               => OK
        INCRBYFLOAT k 0.1         => '10.6'
        GET k                     => '10.6'
    "#,
    );
}

#[test]
fn append_makes_the_value_longer() {
    check(
        "
        APPEND k Hello => 5
        APPEND k !     => 6
        GET k          => 'Hello!'
        SET n 1        => OK
        APPEND n 2     => 2
        GET n          => '12'
    ",
    );
}

#[test]
fn mset_stores_all_pairs_and_the_last_of_equal_keys_wins() {
    check(
        "
        MSET a 1 b 2 c             => ERR wrong number of arguments for 'mset' command
        MSETNX a 1 b               => ERR wrong number of arguments for 'msetnx' command
        MSET a 1 b 2 a 3           => OK
        MGET a b nokey a           => ['3', '2', (nil), '3']
        MSETNX x 1 a 2             => 0
        MGET x                     => [(nil)]
        MSETNX x 1 y 2 x 3         => 1
        MGET x y                   => ['3', '2']
    ",
    );
}

#[test]
fn msetex_takes_one_condition_and_one_deadline() {
    check(
        "
        MSETEX key value           => ERR wrong number of arguments for 'msetex' command
        MSETEX 0 a 1               => ERR invalid numkeys value or out of range
        MSETEX x a 1               => ERR invalid numkeys value or out of range
        MSETEX 2147483648 a 1      => ERR invalid numkeys value or out of range
        MSETEX 2147483647 a 1      => ERR syntax error
        MSETEX 2 a 1               => ERR syntax error
        MSETEX 1 a 1 b 2           => ERR syntax error
        MSETEX 1 a 1 NX XX         => ERR syntax error
        MSETEX 1 a 1 EX 1 KEEPTTL  => ERR syntax error
        MSETEX 1 a 1 EX 0          => ERR invalid expire time in 'msetex' command
        MSETEX 1 a 1 GET           => ERR syntax error
        MSETEX 2 a 1 b 2 NX        => 1
        MSETEX 2 a 3 c 4 NX        => 0
        MSETEX 2 a 3 c 4 XX        => 0
        MSETEX 2 a 3 b 4 XX EX 9   => 1
        MGET a b c                 => ['3', '4', (nil)]
    ",
    );
    let mut client = Client::new();
    client.run_line("MSETEX 2 a 1 b 2 EX 100");
    client.run_line("MSETEX 2 a 3 c 4 KEEPTTL");
    assert_eq!([ttl_seconds(&client, "a"), ttl_seconds(&client, "c")], [Some(100), None]);
}

#[test]
fn more_keys_than_fit_the_stack_are_stored_and_read() {
    let mut client = Client::new();
    for count in [16, 17, 64, 65, 300] {
        // Every third key repeats the one before it.
        let names: Vec<String> = (0..count).map(|i| format!("k{}", i - (i % 3 == 2) as usize)).collect();
        let values: Vec<String> = (0..count).map(|i| format!("{count}:{i}")).collect();
        let pairs: Vec<&[u8]> = std::iter::once(&b"MSET"[..])
            .chain(names.iter().zip(&values).flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]))
            .collect();
        assert_eq!(client.run(&Line::of(&pairs)).0, b"+OK\r\n");
        let read: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(names.iter().map(|name| name.as_bytes())).collect();
        let last = |i: usize| i + (i % 3 == 1 && i + 1 < count) as usize;
        let expected: Vec<String> = (0..count).map(|i| format!("'{}'", values[last(i)])).collect();
        assert_eq!(render(&client.run(&Line::of(&read)).0), format!("[{}]", expected.join(", ")));
    }
}

#[test]
fn values_of_every_size_survive_every_command() {
    let mut client = Client::new();
    for len in [16_383, 16_384, 100_000] {
        let value = vec![b'x'; len];
        client.run(&Line::of(&[b"SET", b"k", &value]));
        assert_eq!(client.run_line("STRLEN k"), len.to_string());
        assert_eq!(client.run_line("APPEND k yz"), (len + 2).to_string());
        assert_eq!(client.run_line("GETRANGE k -3 -1"), "'xyz'");
        assert_eq!(client.run_line("SETRANGE k 1 z"), (len + 2).to_string());
        assert_eq!(client.run_line("GETRANGE k 0 2"), "'xzx'");
        assert_eq!(client.run_line("INCR k"), "ERR value is not an integer or out of range");
        assert_eq!(client.run_line("GETDEL k").len(), len + 4);
    }
}

#[test]
fn hits_misses_and_changes_are_counted_as_redis_does() {
    let mut client = Client::new();
    let mut count = |command: &str| {
        let stats = &client.world.stats[0];
        let before = (stats.hits.get(), stats.misses.get(), client.effects.dirty);
        client.run_line(command);
        let stats = &client.world.stats[0];
        (stats.hits.get() - before.0, stats.misses.get() - before.1, client.effects.dirty - before.2)
    };
    assert_eq!(count("SET k v"), (0, 0, 1));
    assert_eq!(count("SET k v NX"), (0, 0, 0));
    assert_eq!(count("SET k v GET"), (1, 0, 1));
    assert_eq!(count("GET nokey"), (0, 1, 0));
    assert_eq!(count("MGET k nokey k"), (2, 1, 0));
    assert_eq!(count("MSET a 1 b 2 a 3"), (0, 0, 3));
    assert_eq!(count("INCR a"), (0, 0, 1));
    assert_eq!(count("SETRANGE a 0 ''"), (0, 0, 0));
    assert_eq!(count("GETDEL a"), (1, 0, 1));
    assert_eq!(count("GETDEL a"), (0, 1, 0));
    assert_eq!(count("LCS b nokey"), (1, 1, 0));
}

#[test]
fn lcs_replies_text_length_or_matches() {
    check(
        "
        MSET a ohmytext b mynewtext => OK
        LCS a b                     => 'mytext'
        LCS a b LEN                 => 6
        LCS a nokey                 => ''
        LCS a b IDX                 => ['matches', [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], 'len', 6] || {'matches': [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], 'len': 6}
        LCS a b IDX MINMATCHLEN 4   => ['matches', [[[4, 7], [5, 8]]], 'len', 6] || {'matches': [[[4, 7], [5, 8]]], 'len': 6}
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN => ['matches', [[[4, 7], [5, 8], 4]], 'len', 6] || {'matches': [[[4, 7], [5, 8], 4]], 'len': 6}
        LCS a b LEN IDX             => ERR If you want both the length and indexes, please just use IDX.
        LCS a b MINMATCHLEN         => ERR syntax error
        LCS a b MINMATCHLEN x       => ERR value is not an integer or out of range
        LCS a b nonsense            => ERR syntax error
    ",
    );
}

#[test]
fn lcs_refuses_a_table_that_is_too_large() {
    let mut client = Client::new();
    let value = vec![b'x'; 12_000];
    client.run(&Line::of(&[b"MSET", b"a", &value, b"b", &value]));
    let reply = client.run_line("LCS a b");
    assert_eq!(reply, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}
