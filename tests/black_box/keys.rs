//! Keys whatever they hold: scenarios over sockets. Expiry in `expiry`.

use crate::harness::{Server, Value, check, engines};
use std::collections::HashSet;

#[test]
fn keys_are_counted_listed_and_removed() {
    check(
        "
        MSET a 1 b 2 c 3              => OK
        EXISTS a b a nothing          => 3
        TOUCH a nothing               => 1
        TYPE a                        => string
        TYPE nothing                  => none
        DBSIZE                        => 3
        KEYS [a]                      => ['a']
        DEL a nothing a               => 1
        UNLINK b c                    => 2
        DBSIZE                        => 0
        RANDOMKEY                     => (nil)
        SET only v                    => OK
        RANDOMKEY                     => 'only'
    ",
    );
}

#[test]
fn rename_and_copy_take_value_and_deadline_along() {
    check(
        "
        SET a v EX 100                => OK
        SET b w                       => OK
        RENAMENX a b                  => 0
        RENAME a b                    => OK
        GET b                         => 'v'
        TTL b                         => 100
        EXISTS a                      => 0
        RENAME a b                    => ERR no such key
        COPY b a                      => 1
        TTL a                         => 100
        COPY b a                      => 0
        COPY b a REPLACE              => 1
        COPY b b                      => ERR source and destination objects are the same
        COPY b b DB 3                 => 1
        COPY b c DB 16                => ERR DB index is out of range
        RENAMENX a fresh              => 1
    ",
    );
}

#[test]
fn databases_are_apart() {
    check(
        "
        SET k zero                    => OK
        SELECT 1                      => OK
        GET k                         => (nil)
        SET k one                     => OK
        MOVE k 0                      => 0
        MOVE k 1                      => ERR source and destination objects are the same
        MOVE k 2                      => 1
        MOVE k 16                     => ERR DB index is out of range
        SWAPDB 0 2                    => OK
        SELECT 0                      => OK
        GET k                         => 'one'
        SWAPDB 0 16                   => ERR DB index is out of range
        SWAPDB x 1                    => ERR invalid first DB index
        SELECT 16                     => ERR DB index is out of range
        SELECT x                      => ERR value is not an integer or out of range
        FLUSHDB                       => OK
        DBSIZE                        => 0
        SELECT 2                      => OK
        DBSIZE                        => 1
        FLUSHALL ASYNC                => OK
        DBSIZE                        => 0
        FLUSHALL NOW                  => ERR syntax error
    ",
    );
}

#[test]
fn object_tells_how_a_value_is_kept() {
    check(
        "
        SET int 12345                 => OK
        SET short abc                 => OK
        SET long xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx => OK
        OBJECT ENCODING int           => 'int'
        OBJECT ENCODING short         => 'embstr'
        OBJECT ENCODING long          => 'raw'
        OBJECT ENCODING nothing       => (nil)
        OBJECT REFCOUNT short         => 1
        # Whole seconds: the next one may have begun.
        OBJECT IDLETIME short         => …
        OBJECT FREQ short             => ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
        OBJECT HELP                   => [OBJECT …]
        OBJECT nosuch short           => ERR unknown subcommand 'nosuch'. Try OBJECT HELP.
    ",
    );
}

#[test]
fn a_scan_in_small_steps_finds_every_key() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            client.send((0..3000).map(|n| format!("SET key:{n} v\r\n")).collect::<String>().as_bytes());
            client.replies(3000);
            for options in ["", "COUNT 1", "COUNT 500 MATCH key:*", "TYPE string COUNT 37"] {
                let (mut cursor, mut found) = ("0".to_string(), HashSet::new());
                loop {
                    let reply = client.run(&format!("SCAN {cursor} {options}")).items();
                    found.extend(reply[1].items().iter().map(Value::text));
                    cursor = reply[0].text();
                    if cursor == "0" {
                        break;
                    }
                }
                assert_eq!(found.len(), 3000, "SCAN {options}");
            }
        });
    }
    check(
        "
        SCAN x                        => ERR invalid cursor
        SCAN 0 COUNT 0                => ERR syntax error
        SCAN 0 COUNT x                => ERR value is not an integer or out of range
        SCAN 0 MATCH                  => ERR syntax error
        SCAN 0                        => ['0', []]
    ",
    );
}
