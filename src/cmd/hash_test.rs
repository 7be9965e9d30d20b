//! Scenarios of the hash family. Replies were taken from Redis 7.0.

use super::testkit::{Client, check, check_on};

#[test]
fn fields_are_set_read_and_removed() {
    check(
        r#"
        HGET h f                => (nil)
        HSET h f v              => 1
        HSET h f w g ""         => 1
        HGET h f                => 'w'
        HGET h g                => ''
        HGET h none             => (nil)
        HMGET h f none g        => ['w', (nil), '']
        HMGET nokey f g         => [(nil), (nil)]
        HLEN h                  => 2
        HSTRLEN h f             => 1
        HSTRLEN h none          => 0
        HEXISTS h f             => 1
        HEXISTS h none          => 0
        HMSET h n -17 f x       => OK
        HSTRLEN h n             => 3
        HGET h n                => '-17'
        HSETNX h f y            => 0
        HSETNX h m y            => 1
        HDEL h f none m         => 2
        HDEL h g n              => 2
        EXISTS h                => 0
        HDEL h g                => 0
        HLEN h                  => 0
    "#,
    );
}

#[test]
fn everything_of_a_small_hash_comes_in_order() {
    check(
        "
        HGETALL nokey           => [] || {}
        HKEYS nokey             => []
        HVALS nokey             => []
        HSET h a 1 b two 30 c   => 3
        HGETALL h               => ['a', '1', 'b', 'two', '30', 'c'] || {'a': '1', 'b': 'two', '30': 'c'}
        HKEYS h                 => ['a', 'b', '30']
        HVALS h                 => ['1', 'two', 'c']
    ",
    );
}

#[test]
fn mistakes_change_nothing() {
    check(
        "
        HSET h f v g            => ERR wrong number of arguments for 'hset' command
        HMSET h f v g           => ERR wrong number of arguments for 'hmset' command
        EXISTS h                => 0
        SET s v                 => OK
        HSET s f v              => WRONGTYPE Operation against a key holding the wrong kind of value
        HGET s f                => WRONGTYPE Operation against a key holding the wrong kind of value
        HMGET s f               => WRONGTYPE Operation against a key holding the wrong kind of value
        HGETALL s               => WRONGTYPE Operation against a key holding the wrong kind of value
        HINCRBY h f x           => ERR value is not an integer or out of range
        HINCRBY s f 1           => WRONGTYPE Operation against a key holding the wrong kind of value
        HRANDFIELD s            => WRONGTYPE Operation against a key holding the wrong kind of value
        HSCAN s 0               => WRONGTYPE Operation against a key holding the wrong kind of value
        HSCAN s x               => ERR invalid cursor
        HINCRBYFLOAT h f x      => ERR value is not a valid float
        HINCRBYFLOAT h f inf    => ERR value is NaN or Infinity
        EXISTS h                => 0
        HSET h t text           => 1
        HINCRBY h t 1           => ERR hash value is not an integer
        HINCRBYFLOAT h t 1      => ERR hash value is not a float
        HGET h t                => 'text'
        GET h                   => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}

#[test]
fn numbers_are_added_in_place() {
    check(
        "
        HINCRBY h n 5                    => 5
        HINCRBY h n -7                   => -2
        HGET h n                         => '-2'
        HSET h n 9223372036854775807     => 0
        HINCRBY h n 1                    => ERR increment or decrement would overflow
        HSET h n ' 1'                    => 0
        HINCRBY h n 1                    => ERR hash value is not an integer
        HINCRBYFLOAT h x 10.5            => '10.5'
        HINCRBYFLOAT h x 0.1             => '10.6'
        HINCRBYFLOAT h x -10.6           => '0'
        HINCRBYFLOAT h x 5.0e3           => '5000'
        HINCRBY h x 1                    => 5001
    ",
    );
}

#[test]
fn random_fields_are_drawn_with_and_without_repetition() {
    check(
        "
        HRANDFIELD nokey                       => (nil)
        HRANDFIELD nokey 5                     => []
        HSET h f v                             => 1
        HRANDFIELD h                           => 'f'
        HRANDFIELD h 5                         => ['f']
        HRANDFIELD h 0                         => []
        HRANDFIELD h -3                        => ['f', 'f', 'f']
        HRANDFIELD h -2 WITHVALUES             => ['f', 'v', 'f', 'v'] || [['f', 'v'], ['f', 'v']]
        HRANDFIELD h 2 WITHVALUES              => ['f', 'v'] || [['f', 'v']]
        HRANDFIELD h x                         => ERR value is not an integer or out of range
        HRANDFIELD h 1 VALUES                  => ERR syntax error
        HRANDFIELD h 1 WITHVALUES 2            => ERR syntax error
        HRANDFIELD h -9223372036854775807 WITHVALUES => ERR value is out of range
        HRANDFIELD h -9223372036854775808      => ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
    ",
    );
}

#[test]
fn a_scan_of_a_small_hash_returns_everything() {
    check(
        "
        HSCAN nokey 0                    => ['0', []]
        HSCAN nokey 5 BAD                => ['0', []]
        HSET h a1 x a2 y b z             => 3
        HSCAN h 0                        => ['0', ['a1', 'x', 'a2', 'y', 'b', 'z']]
        HSCAN h 0 COUNT 1 MATCH a*       => ['0', ['a1', 'x', 'a2', 'y']]
        HSCAN h 0 NOVALUES               => ['0', ['a1', 'a2', 'b']]
        HSCAN h 0 COUNT 0                => ERR syntax error
        HSCAN h 0 COUNT x                => ERR value is not an integer or out of range
        HSCAN h 0 MATCH                  => ERR syntax error
        HSCAN h x                        => ERR invalid cursor
    ",
    );
}

/// Names in a reply as `run_line` renders it.
fn names(rendered: &str) -> Vec<String> {
    let mut names: Vec<String> = rendered.split('\'').skip(1).step_by(2).map(String::from).collect();
    names.sort();
    names
}

#[test]
fn a_large_hash_does_the_same_as_a_small_one() {
    let mut client = Client::new();
    check_on(&mut client, "CONFIG SET hash-max-listpack-entries 5 => OK");
    let expected: Vec<String> = (0..300).map(|number| format!("f{number:03}")).collect();
    for name in &expected {
        assert_eq!(client.run_line(&format!("HSET h {name} v{name}")), "1");
    }
    check_on(
        &mut client,
        "
        OBJECT ENCODING h       => 'hashtable'
        HLEN h                  => 300
        HGET h f123             => 'vf123'
        HSET h f123 new         => 0
        HGET h f123             => 'new'
        HDEL h f299 f300        => 1
        HSET h f299 v           => 1
        HINCRBY h n 5           => 5
        HINCRBY h n 5           => 10
        HDEL h n                => 1
    ",
    );
    assert_eq!(names(&client.run_line("HKEYS h")), expected);
    assert_eq!(names(&client.run_line("HRANDFIELD h 1000")), expected);
    for count in [1, 20, 99, 101, 299] {
        let mut drawn = names(&client.run_line(&format!("HRANDFIELD h {count}")));
        drawn.dedup();
        assert_eq!(drawn.len(), count, "no field comes twice");
    }
    assert_eq!(names(&client.run_line("HRANDFIELD h -1000")).len(), 1000);
    let (mut seen, mut cursor) = (Vec::new(), "0".to_string());
    loop {
        let reply = client.run_line(&format!("HSCAN h {cursor} COUNT 20 NOVALUES"));
        let mut words = reply.split('\'').skip(1).step_by(2).map(String::from);
        cursor = words.next().expect("a cursor");
        seen.extend(words);
        if cursor == "0" {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, expected);
}

#[test]
fn encodings_follow_the_configured_limits() {
    let mut client = Client::new();
    check_on(
        &mut client,
        "
        CONFIG SET hash-max-listpack-entries 2 hash-max-listpack-value 3  => OK
        HSET h a 1 b 2          => 2
        OBJECT ENCODING h       => 'listpack'
        HSET h a 123            => 0
        OBJECT ENCODING h       => 'listpack'
        HSET h c 3              => 1
        OBJECT ENCODING h       => 'hashtable'
        HDEL h a b              => 2
        OBJECT ENCODING h       => 'hashtable'
        HSET i a 1234           => 1
        OBJECT ENCODING i       => 'hashtable'
        HSET j abcd 1           => 1
        OBJECT ENCODING j       => 'hashtable'
        COPY h k                => 1
        HGETALL k               => *
        OBJECT ENCODING k       => 'hashtable'
        RENAME k l              => OK
        HGET l c                => '3'
        TYPE l                  => hash
        DEL l h i               => 3
    ",
    );
}
