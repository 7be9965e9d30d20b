//! Hashes: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::{Server, check, engines};
use std::time::{Duration, Instant};

#[test]
fn a_record_is_kept_field_by_field() {
    check(
        r#"
        HSET user name "Ann\r\n" age 41      => 2
        HGET user name                       => 'Ann\r\n'
        HSETNX user name Bob                 => 0
        HINCRBY user age 1                   => 42
        HINCRBYFLOAT user score 1.5          => '1.5'
        HMGET user age none score            => ['42', (nil), '1.5']
        HMSET user age 43                    => OK
        HEXISTS user age                     => 1
        HSTRLEN user age                     => 2
        HLEN user                            => 3
        HDEL user name score none            => 2
        HKEYS user                           => ['age']
        HVALS user                           => ['43']
        HGETALL user                         => ['age', '43'] || {'age': '43'}
        HRANDFIELD user                      => 'age'
        HSCAN user 0                         => ['0', ['age', '43']]
        HDEL user age                        => 1
        EXISTS user                          => 0
    "#,
    );
}

#[test]
fn fields_have_deadlines_of_their_own() {
    check(
        r#"
        HSET h a 1 b 2 c 3                      => 3
        HEXPIRE h 100 FIELDS 2 a b              => [1, 1]
        HPEXPIRE h 100500 NX FIELDS 2 b c       => [0, 1]
        HTTL h FIELDS 2 a c                     => [100, 101]
        HPTTL h FIELDS 1 none                   => [-2]
        HEXPIREAT h 9000000000 FIELDS 1 a       => [1]
        HEXPIRETIME h FIELDS 1 a                => [9000000000]
        HPEXPIREAT h 9000000000123 FIELDS 1 a   => [1]
        HPEXPIRETIME h FIELDS 1 a               => [9000000000123]
        HPERSIST h FIELDS 2 a none              => [1, -2]
        HSETEX h EX 100 FIELDS 1 d 4            => 1
        HGETEX h PERSIST FIELDS 1 d             => ['4']
        HTTL h FIELDS 1 d                       => [-1]
        HGETDEL h FIELDS 2 d none               => ['4', (nil)]
        HLEN h                                  => 3
    "#,
    );
}

#[test]
fn info_tells_how_many_hashes_have_fields_with_deadlines() {
    check(
        r"
        HSET a x 1 y 2                       => 2
        HSET b x 1 y 2                       => 2
        INFO keyspace                        => '…avg_ttl=0\r\n'
        HEXPIRE a 100 FIELDS 2 x y           => [1, 1]
        HEXPIRE b 100 FIELDS 1 x             => [1]
        INFO keyspace                        => '…subexpiry=2\r\n'
        HDEL b x                             => 1
        HPERSIST a FIELDS 1 x                => [1]
        INFO keyspace                        => '…subexpiry=1\r\n'
        COPY a c                             => 1
        RENAME a b                           => OK
        INFO keyspace                        => '…subexpiry=2\r\n'
        MULTI                                => OK
        HSETEX b EX 50 FIELDS 1 x 3          => QUEUED
        RENAME b d                           => QUEUED
        EXPIRE d 1000                        => QUEUED
        COPY c e                             => QUEUED
        SET c text                           => QUEUED
        EXEC                                 => [1, OK, 1, 1, OK]
        INFO keyspace                        => '…keys=3,expires=1,…subexpiry=2\r\n'
        MOVE d 1                             => 1
        INFO keyspace                        => '…db0:…subexpiry=1\r\ndb1:…subexpiry=1\r\n'
        SWAPDB 0 1                           => OK
        FLUSHDB                              => OK
        INFO keyspace                        => '…db1:keys=2,…subexpiry=1\r\n'
        FLUSHALL                             => OK
        HSET a x 1                           => 1
        INFO keyspace                        => '…avg_ttl=0\r\n'
    ",
    );
}

#[test]
fn a_hash_goes_with_its_last_field_though_nobody_asks() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            for entries in ["512", "0"] {
                client.run(&format!("CONFIG SET hash-max-listpack-entries {entries}"));
                client.run("HSETEX h PX 20 FIELDS 2 a 1 b 2");
                client.run("HSET stays a 1 b 2");
                client.run("HPEXPIRE stays 20 FIELDS 1 a");
                client.run("COPY h copy");
                let started = Instant::now();
                while client.run("DBSIZE").to_string() != "1" || client.run("HLEN stays").to_string() != "1" {
                    assert!(started.elapsed() < Duration::from_secs(10), "fields stay");
                    std::thread::sleep(Duration::from_millis(5));
                }
                client.run("FLUSHALL");
                client.run("CONFIG SET hash-max-listpack-entries 512");
            }
        });
    }
}
