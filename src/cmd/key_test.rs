//! Scenarios of the generic family. Replies were taken from Redis 7.0.

use super::testkit::{Client, check, check_on};
use crate::base::hash::Key;
use crate::table::Participant;

#[test]
fn keys_that_are_named_twice_count_once_for_del_and_twice_for_exists() {
    check(
        "
        MSET a 1 b 2 c 3 => OK
        EXISTS a => 1
        EXISTS a b a nokey => 3
        TOUCH a b a nokey => 3
        TOUCH nokey => 0
        DEL a b a nokey => 2
        DEL a => 0
        UNLINK c nokey => 1
        DBSIZE => 0
        DEL => ERR wrong number of arguments for 'del' command
    ",
    );
}

#[test]
fn type_names_the_type() {
    check(
        "
        SET a 1 => OK
        TYPE a => string
        TYPE nokey => none
    ",
    );
}

#[test]
fn rename_moves_value_and_deadline_and_frees_the_old_name() {
    check(
        "
        SET a hello EX 100 => OK
        SET b other => OK
        RENAME a b => OK
        GET b => 'hello'
        TTL b => 100
        EXISTS a => 0
        RENAME nokey b => ERR no such key
        RENAME b b => OK
        RENAMENX b b => 0
        RENAME nokey nokey => ERR no such key
        RENAMENX nokey b => ERR no such key
        SET a 5 => OK
        RENAMENX a b => 0
        RENAMENX a c => 1
        INCR c => 6
        TTL c => -1
        DBSIZE => 2
    ",
    );
}

#[test]
fn copy_leaves_the_source_and_replaces_only_if_told() {
    check(
        "
        SET a 5 PX 100000 => OK
        COPY a b => 1
        COPY a b => 0
        SET b other => OK
        COPY a b REPLACE => 1
        TTL b => 100
        INCR a => 6
        GET b => '5'
        COPY a a => ERR source and destination objects are the same
        COPY a a DB 1 => 1
        COPY a a DB 1 => 0
        COPY a a REPLACE DB 1 => 1
        COPY a b DB x => ERR value is not an integer or out of range
        COPY a b DB 16 => ERR DB index is out of range
        COPY a b DB 3000000000 => ERR value is out of range, value must between -2147483648 and 2147483647
        COPY a b DB => ERR syntax error
        COPY a b FOO => ERR syntax error
        COPY nokey b => 0
        SELECT 1 => OK
        GET a => '6'
    ",
    );
}

#[test]
fn move_takes_a_key_to_another_database_if_it_is_not_there() {
    check(
        "
        SET a 1 EX 50 => OK
        MOVE a 0 => ERR source and destination objects are the same
        MOVE a 16 => ERR DB index is out of range
        MOVE a x => ERR value is not an integer or out of range
        MOVE a 1 => 1
        MOVE a 1 => 0
        SET a 2 => OK
        MOVE a 1 => 0
        SELECT 1 => OK
        GET a => '1'
        TTL a => 50
    ",
    );
}

#[test]
fn expire_obeys_its_conditions() {
    check(
        "
        SET a 1 => OK
        EXPIRE a 100 XX => 0
        EXPIRE a 100 GT => 0
        EXPIRE a 100 LT => 1
        EXPIRE a 200 NX => 0
        EXPIRE a 50 GT => 0
        EXPIRE a 200 GT => 1
        TTL a => 200
        EXPIRE a 300 LT => 0
        EXPIRE a 150 XX LT => 1
        TTL a => 150
        EXPIRE a 150 => 1
        PERSIST a => 1
        PERSIST a => 0
        TTL a => -1
        EXPIRE a 100 NX => 1
        EXPIRE a 100 NX XX => ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a 100 NX GT => ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a 100 GT LT => ERR GT and LT options at the same time are not compatible
        EXPIRE a 100 AB => ERR Unsupported option AB
        EXPIRE a x NX XX => ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE a x => ERR value is not an integer or out of range
        EXPIRE nokey 100 => 0
        PERSIST nokey => 0
        EXPIRE a -1 => 1
        EXISTS a => 0
        SET a 1 => OK
        PEXPIREAT a 1000 LT => 1
        EXISTS a => 0
    ",
    );
}

/// A reader that met the entry and compares two looks at it must not be deceived by a deadline that goes and comes back.
#[test]
fn an_earlier_deadline_replaces_the_entry_and_a_later_one_does_not() {
    let mut client = Client::new();
    let entry = |client: &Client| {
        let (space, seat) = (&client.world.keyspace, Participant::new());
        let guard = seat.pin();
        let table = space.roots.get(0, &guard).expect("written to");
        table.get(Key::new(&space.hasher, b"k"), &guard).expect("present").as_ptr().addr()
    };
    client.run_line("SET k v PX 50000");
    let first = entry(&client);
    client.run_line("PEXPIRE k 60000");
    assert_eq!(entry(&client), first);
    client.run_line("PEXPIRE k 40000");
    assert_ne!(entry(&client), first);
}

#[test]
fn times_beyond_64_bits_are_refused_by_name() {
    check(
        "
        SET a 1 => OK
        EXPIRE a 9223372036854775807 => ERR invalid expire time in 'expire' command
        EXPIRE a -9223372036854775807 => ERR invalid expire time in 'expire' command
        PEXPIRE a 9223372036854775807 => ERR invalid expire time in 'pexpire' command
        EXPIREAT a 9223372036854776 => ERR invalid expire time in 'expireat' command
        PEXPIREAT a 9223372036854775807 => 1
        PEXPIRETIME a => 9223372036854775807
        PEXPIREAT a 4102444800123 => 1
        EXPIRETIME a => 4102444800
        PEXPIRETIME a => 4102444800123
        PEXPIRE a -9223372036854775807 => 1
        TTL a => -2
        PTTL a => -2
        EXPIRETIME a => -2
    ",
    );
}

#[test]
fn a_counter_keeps_its_value_when_its_deadline_comes_goes_and_moves() {
    check(
        "
        INCR a => 1
        EXPIRE a 100 => 1
        INCR a => 2
        EXPIRE a 200 => 1
        INCR a => 3
        PERSIST a => 1
        INCR a => 4
        TTL a => -1
    ",
    );
}

#[test]
fn scan_removes_expired_keys_that_it_was_asked_for_only() {
    let mut client = Client::new();
    client.world.keyspace.now.stop();
    check_on(
        &mut client,
        "
        SET s v PX 2                => OK
        HSET h f v                  => 1
        PEXPIRE h 2                 => 1
        SET other v                 => OK
    ",
    );
    client.world.keyspace.now.advance(3);
    check_on(
        &mut client,
        "
        DBSIZE                                       => 3
        SCAN 0 COUNT 10000 TYPE list                 => ['0', []]
        DBSIZE                                       => 3
        SCAN 0 COUNT 10000 TYPE string MATCH other   => ['0', ['other']]
        DBSIZE                                       => 3
        SCAN 0 COUNT 10000 TYPE string               => ['0', ['other']]
        DBSIZE                                       => 2
        SCAN 0 COUNT 10000                           => ['0', ['other']]
        DBSIZE                                       => 1
    ",
    );
}

#[test]
fn keys_and_scan_find_what_matches() {
    check(
        "
        MSET aa 1 ab 2 b 3 => OK
        KEYS a? => *
        KEYS b* => ['b']
        KEYS nokey => []
        SCAN 0 COUNT 10000 MATCH b TYPE string => ['0', ['b']]
        SCAN 0 COUNT 10000 TYPE STRING MATCH b => ['0', ['b']]
        SCAN 0 COUNT 10000 TYPE hash => ['0', []]
        SCAN 0 TYPE nothing => ERR unknown type name 'nothing'
        SCAN x => ERR invalid cursor
        SCAN -1 COUNT 10000 => *
        SCAN '' COUNT 10000 MATCH b => ['0', ['b']]
        SCAN ' 0' => ERR invalid cursor
        SCAN - => ERR invalid cursor
        SCAN 18446744073709551616 => ERR invalid cursor
        SCAN 0 COUNT 0 => ERR syntax error
        SCAN 0 COUNT x => ERR value is not an integer or out of range
        SCAN 0 COUNT => ERR syntax error
        SCAN 0 FOO bar => ERR syntax error
    ",
    );
}

#[test]
fn scan_returns_every_key_once_and_removes_expired_ones() {
    let mut client = Client::new();
    (0..3000).for_each(|number| assert_eq!(client.run_line(&format!("SET key:{number} v")), "OK"));
    assert_eq!(client.run_line("PEXPIRE key:7 1"), "1");
    client.world.keyspace.now.stop();
    client.world.keyspace.now.advance(3);
    client.run_line("SCAN 0 COUNT 100000 TYPE list");
    client.run_line("SCAN 0 COUNT 100000 MATCH other:*");
    check_on(&mut client, "DBSIZE => 3000"); // It was not asked for.
    let (mut cursor, mut found) = ("0".to_string(), Vec::new());
    loop {
        let reply = client.run_line(&format!("SCAN {cursor} COUNT 100"));
        let (next, keys) = reply.trim_matches(['[', ']']).split_once(", ").unwrap();
        cursor = next.trim_matches('\'').to_string();
        found.extend(keys.trim_start_matches('[').split(", ").map(str::to_string));
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 2999);
    check_on(&mut client, "DBSIZE => 2999");
    assert_eq!(client.run_line("KEYS *").split(", ").count(), 2999);
}

#[test]
fn randomkey_returns_a_key_or_null() {
    check(
        "
        RANDOMKEY => (nil)
        SET a 1 => OK
        RANDOMKEY => 'a'
    ",
    );
}

#[test]
fn object_tells_how_a_value_is_kept() {
    check(
        "
        SET a 5 => OK
        SET b 10000 => OK
        SET c hello => OK
        OBJECT ENCODING a => 'int'
        OBJECT ENCODING c => 'embstr'
        OBJECT ENCODING nokey => (nil)
        OBJECT REFCOUNT a => 2147483647
        OBJECT REFCOUNT b => 1
        OBJECT REFCOUNT c => 1
        OBJECT IDLETIME a => 0
        OBJECT FREQ nokey => (nil)
        OBJECT FREQ a => ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        CONFIG SET maxmemory-policy allkeys-lfu => OK
        SET d x => OK
        OBJECT FREQ d => 5
        OBJECT IDLETIME a => ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        OBJECT FOO a => ERR unknown subcommand 'FOO'. Try OBJECT HELP.
        OBJECT ENCODING => ERR wrong number of arguments for 'object|encoding' command
    ",
    );
}

#[test]
fn databases_are_emptied_and_exchanged() {
    check(
        "
        SET a 0 => OK
        SELECT 1 => OK
        SET a 1 => OK
        SWAPDB 0 1 => OK
        GET a => '0'
        SWAPDB 0 16 => ERR DB index is out of range
        SWAPDB x 1 => ERR invalid first DB index
        SWAPDB 0 x => ERR invalid second DB index
        SWAPDB 0 3000000000 => ERR invalid second DB index
        FLUSHDB FOO => ERR syntax error
        FLUSHDB SYNC ASYNC => ERR syntax error
        FLUSHDB async => OK
        DBSIZE => 0
        SELECT 0 => OK
        GET a => '1'
        FLUSHALL SYNC => OK
        DBSIZE => 0
        SET a 2 => OK
        DBSIZE => 1
        FLUSHALL => OK
        GET a => (nil)
    ",
    );
}

#[test]
fn reads_of_clients_with_no_touch_leave_no_trace_but_those_of_touch() {
    let mut client = Client::new();
    check_on(&mut client, "CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0 => OK");
    check_on(&mut client, "SET a 1 => OK\n GET a => '1'\n OBJECT FREQ a => 6\n CLIENT NO-TOUCH on => OK");
    check_on(&mut client, "GET a => '1'\n OBJECT FREQ a => 6\n TOUCH a => 1\n OBJECT FREQ a => 7");
}
