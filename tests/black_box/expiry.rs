//! Deadlines: scenarios over sockets. How soon forgotten keys go: `linearizable::invariants`.

use crate::harness::{Server, check, engines};
use std::time::Duration;

#[test]
fn deadlines_are_set_told_and_taken_away() {
    check(
        "
        SET k v                       => OK
        TTL k                         => -1
        TTL nothing                   => -2
        EXPIRE k 100                  => 1
        TTL k                         => 100
        PEXPIRE k 200500              => 1
        PTTL k                        => 200…
        EXPIREAT k 9000000000         => 1
        EXPIRETIME k                  => 9000000000
        PEXPIREAT k 9000000000123     => 1
        PEXPIRETIME k                 => 9000000000123
        PERSIST k                     => 1
        PERSIST k                     => 0
        EXPIRE nothing 100            => 0
        EXPIRE k x                    => ERR value is not an integer or out of range
        EXPIRE k 9223372036854775807  => ERR invalid expire time in 'expire' command
        EXPIRE k -1                   => 1
        EXISTS k                      => 0
    ",
    );
}

#[test]
fn conditions_compare_with_the_old_deadline() {
    check(
        "
        SET k v                       => OK
        EXPIRE k 100 XX               => 0
        EXPIRE k 100 GT               => 0
        EXPIRE k 100 LT               => 1
        EXPIRE k 200 NX               => 0
        EXPIRE k 200 GT               => 1
        EXPIRE k 300 LT               => 0
        EXPIRE k 50 XX LT             => 1
        TTL k                         => 50
        EXPIRE k 1 NX GT              => ERR NX and XX, GT or LT options at the same time are not compatible
        EXPIRE k 1 GT LT              => ERR GT and LT options at the same time are not compatible
        EXPIRE k 1 WHEN               => ERR Unsupported option WHEN
    ",
    );
}

#[test]
fn a_key_is_gone_at_its_deadline_for_every_command() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            let commands = [
                "GET k",
                "EXISTS k",
                "TYPE k",
                "STRLEN k",
                "TTL k",
                "GETDEL k",
                "DEL k",
                "KEYS *",
                "RENAME k l",
                "INCR k",
            ];
            let expected = ["(nil)", "0", "none", "0", "-2", "(nil)", "0", "[]", "ERR no such key", "1"];
            for (command, expected) in commands.into_iter().zip(expected) {
                assert_eq!(client.run("SET k v PX 5").to_string(), "OK");
                std::thread::sleep(Duration::from_millis(8));
                assert_eq!(client.run(command).to_string(), expected, "{command}");
                client.run("FLUSHALL");
            }
        });
    }
}
