//! Scenarios of the list family. Replies were taken from Redis 7.0.

use super::testkit::{Client, Line, check, check_on};
use crate::admin::params::Id;
use crate::base::prng::Prng;

#[test]
fn pushes_and_pops_at_both_ends() {
    check(
        r#"
        LPUSH l a b           => 2
        RPUSH l c 7 ""        => 5
        LLEN l                => 5
        LRANGE l 0 -1         => ['b', 'a', 'c', '7', '']
        LPOP l                => 'b'
        RPOP l                => ''
        LPOP l 2              => ['a', 'c']
        RPOP l 5              => ['7']
        EXISTS l              => 0
        LPOP l                => (nil)
        LPOP l 0              => (nil)
        LLEN l                => 0
        TYPE l                => none
        RPUSH l 1 2 3         => 3
        LPOP l 0              => []
        RPOP l 9              => ['3', '2', '1']
        LPUSHX l a            => 0
        RPUSHX l a            => 0
        EXISTS l              => 0
        LPUSH l a             => 1
        TYPE l                => list
        RPUSHX l b c          => 3
        LPUSHX l 0            => 4
        LRANGE l 0 -1         => ['0', 'a', 'b', 'c']
    "#,
    );
}

#[test]
fn what_is_wrong_with_a_pop_or_a_push() {
    check(
        "
        SET s v               => OK
        LPUSH s a             => WRONGTYPE Operation against a key holding the wrong kind of value
        RPUSHX s a            => WRONGTYPE Operation against a key holding the wrong kind of value
        LPOP s                => WRONGTYPE Operation against a key holding the wrong kind of value
        LPOP s 1              => WRONGTYPE Operation against a key holding the wrong kind of value
        LLEN s                => WRONGTYPE Operation against a key holding the wrong kind of value
        GET s                 => 'v'
        RPUSH l a             => 1
        GET l                 => WRONGTYPE Operation against a key holding the wrong kind of value
        INCR l                => WRONGTYPE Operation against a key holding the wrong kind of value
        LPUSH l               => ERR wrong number of arguments for 'lpush' command
        RPOP l 1 2            => ERR wrong number of arguments for 'rpop' command
        LPOP l -1             => ERR value is out of range, must be positive
        LPOP l x              => ERR value is out of range, must be positive
        LPOP l 9223372036854775808 => ERR value is out of range, must be positive
        LPOP s x              => ERR value is out of range, must be positive
        LPOP l 9223372036854775807 => ['a']
    ",
    );
}

#[test]
fn elements_by_index() {
    check(
        "
        RPUSH l a b c d e     => 5
        LINDEX l 0            => 'a'
        LINDEX l -1           => 'e'
        LINDEX l 4            => 'e'
        LINDEX l -5           => 'a'
        LINDEX l 5            => (nil)
        LINDEX l -6           => (nil)
        LINDEX l x            => ERR value is not an integer or out of range
        LINDEX none x         => (nil)
        LSET l 1 B            => OK
        LSET l -1 55          => OK
        LSET l 5 x            => ERR index out of range
        LSET l -6 x           => ERR index out of range
        LSET l x x            => ERR value is not an integer or out of range
        LSET none x x         => ERR no such key
        LRANGE l 0 -1         => ['a', 'B', 'c', 'd', '55']
        LRANGE l 1 2          => ['B', 'c']
        LRANGE l -2 100       => ['d', '55']
        LRANGE l -100 0       => ['a']
        LRANGE l -100 -50     => []
        LRANGE l 5 9          => []
        LRANGE l 3 2          => []
        LRANGE l 0 x          => ERR value is not an integer or out of range
        LRANGE none 0 -1      => []
        LTRIM l 1 -2          => OK
        LRANGE l 0 -1         => ['B', 'c', 'd']
        LTRIM l 1 1           => OK
        LRANGE l 0 -1         => ['c']
        LTRIM l 5 9           => OK
        EXISTS l              => 0
        LTRIM none 0 0        => OK
        LTRIM none 0 x        => ERR value is not an integer or out of range
    ",
    );
}

#[test]
fn elements_by_value() {
    check(
        "
        RPUSH l a b c a 5 b a => 7
        LPOS l a              => 0
        LPOS l 5              => 4
        LPOS l 05             => (nil)
        LPOS l a RANK 2       => 3
        LPOS l a RANK -1      => 6
        LPOS l a RANK -3      => 0
        LPOS l a RANK 4       => (nil)
        LPOS l a COUNT 0      => [0, 3, 6]
        LPOS l a COUNT 2      => [0, 3]
        LPOS l a COUNT 2 RANK -1  => [6, 3]
        LPOS l a COUNT 0 RANK 2   => [3, 6]
        LPOS l a MAXLEN 3 COUNT 0 => [0]
        LPOS l a MAXLEN 0 RANK 3  => 6
        LPOS l x COUNT 1      => []
        LPOS none x COUNT 1   => []
        LPOS none x           => (nil)
        LPOS l a RANK 0       => ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
        LPOS l a COUNT -1     => ERR COUNT can't be negative
        LPOS l a MAXLEN x     => ERR MAXLEN can't be negative
        LPOS l a RANK         => ERR syntax error
        LPOS l a BANK 1       => ERR syntax error
        LREM l 1 a            => 1
        LREM l -1 a           => 1
        LRANGE l 0 -1         => ['b', 'c', 'a', '5', 'b']
        LREM l 0 b            => 2
        LREM l 5 x            => 0
        LREM none 0 x         => 0
        LREM l x x            => ERR value is not an integer or out of range
        LREM l -9223372036854775808 x => ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        LINSERT l BEFORE 5 4  => 4
        LINSERT l after 5 6   => 5
        LINSERT l AFTER x y   => -1
        LINSERT l BESIDE 5 6  => ERR syntax error
        LINSERT none AFTER x y => 0
        LRANGE l 0 -1         => ['c', 'a', '4', '5', '6']
        LREM l 1 c            => 1
        LREM l 1 a            => 1
        LREM l 0 4            => 1
        LREM l 0 5            => 1
        LREM l 0 6            => 1
        EXISTS l              => 0
    ",
    );
}

#[test]
fn elements_move_between_lists() {
    check(
        "
        RPUSH a 1 2 3         => 3
        LMOVE a b LEFT RIGHT  => '1'
        LMOVE a b right left  => '3'
        LRANGE b 0 -1         => ['3', '1']
        RPOPLPUSH a b         => '2'
        EXISTS a              => 0
        LRANGE b 0 -1         => ['2', '3', '1']
        RPOPLPUSH b b         => '1'
        LMOVE b b LEFT LEFT   => '1'
        LMOVE b b LEFT RIGHT  => '1'
        LRANGE b 0 -1         => ['2', '3', '1']
        LMOVE none b LEFT LEFT => (nil)
        RPOPLPUSH none b      => (nil)
        LMOVE b a UP LEFT     => ERR syntax error
        LMOVE b a LEFT DOWN   => ERR syntax error
        SET s v               => OK
        LMOVE b s LEFT LEFT   => WRONGTYPE Operation against a key holding the wrong kind of value
        LMOVE s b LEFT LEFT   => WRONGTYPE Operation against a key holding the wrong kind of value
        LMOVE none s LEFT LEFT => (nil)
        LRANGE b 0 -1         => ['2', '3', '1']
        EXPIRE b 100          => 1
        LMOVE b c LEFT LEFT   => '2'
        TTL c                 => -1
        TTL b                 => 100
    ",
    );
}

#[test]
fn the_first_list_with_elements_is_taken_from() {
    check(
        "
        LMPOP 1 none LEFT            => (nil)
        RPUSH b 1 2 3 4              => 4
        RPUSH c x                    => 1
        LMPOP 2 a b LEFT             => ['b', ['1']]
        LMPOP 3 a b c RIGHT COUNT 2  => ['b', ['4', '3']]
        LMPOP 3 a b c RIGHT COUNT 2  => ['b', ['2']]
        LMPOP 3 a b c RIGHT COUNT 2  => ['c', ['x']]
        DBSIZE                       => 0
        SET s v                      => OK
        RPUSH b 1                    => 1
        LMPOP 2 b s LEFT             => ['b', ['1']]
        LMPOP 2 b s LEFT             => WRONGTYPE Operation against a key holding the wrong kind of value
        LMPOP 1 s LEFT               => WRONGTYPE Operation against a key holding the wrong kind of value
        LMPOP 0 a LEFT               => ERR numkeys should be greater than 0
        LMPOP x a LEFT               => ERR numkeys should be greater than 0
        LMPOP 2 a LEFT               => ERR syntax error
        LMPOP 9223372036854775807 a LEFT => ERR syntax error
        LMPOP 1 a UP                 => ERR syntax error
        LMPOP 1 a LEFT COUNT         => ERR syntax error
        LMPOP 1 a LEFT COUNT 0       => ERR count should be greater than 0
        LMPOP 1 a LEFT COUNT x y     => ERR count should be greater than 0
        LMPOP 1 a LEFT COUNT 1 COUNT 1 => ERR syntax error
        LMPOP 1 a LEFT BOUND 1       => ERR syntax error
    ",
    );
}

#[test]
fn encodings_change_where_those_of_redis_do() {
    check(
        "
        CONFIG SET list-max-listpack-size 4  => OK
        RPUSH l a b c d       => 4
        OBJECT ENCODING l     => 'listpack'
        RPUSH l e             => 5
        OBJECT ENCODING l     => 'quicklist'
        LPOP l 2              => ['a', 'b']
        OBJECT ENCODING l     => 'quicklist'
        LPOP l                => 'c'
        OBJECT ENCODING l     => 'quicklist'
        LPOP l                => 'd'
        OBJECT ENCODING l     => 'listpack'
        CONFIG SET list-max-ziplist-size -1  => OK
        DEL l                 => 1
        RPUSH l a             => 1
        CONFIG SET list-max-listpack-size 1  => OK
        LSET l 7 b            => ERR index out of range
        OBJECT ENCODING l     => 'quicklist'
        COPY l m              => 1
        OBJECT ENCODING m     => 'quicklist'
        RENAME m n            => OK
        LRANGE n 0 -1         => ['a']
    ",
    );
}

/// The same random commands with limits that make every list a pack, and with limits that make it many squeezed chunks.
#[test]
fn replies_do_not_depend_on_the_encoding() {
    let mut prng = Prng::seeded(5);
    let mut clients = [(-5, 0), (2, 1), (1, 0), (-1, 2)].map(|(size, depth)| {
        let client = Client::new();
        client.world.config.set_number(Id::LIST_MAX_LISTPACK_SIZE, size);
        client.world.config.set_number(Id::LIST_COMPRESS_DEPTH, depth);
        client
    });
    for _ in 0..4000 {
        let line = any_command(&mut prng);
        let replies = clients.each_mut().map(|client| client.run(&Line::new(&line)).0);
        assert!(replies.iter().all(|reply| *reply == replies[0]), "{line}");
    }
}

/// A list command on one of two keys, with few values of different lengths.
fn any_command(prng: &mut Prng) -> String {
    let mut key = || if prng.chance(1, 2) { "a" } else { "b" };
    let (key, other) = (key(), key());
    let mut value = || match prng.below(8) {
        0 => "x".repeat(100 * prng.below(3) as usize + 60),
        1..4 => format!("v{}", prng.below(5)),
        _ => prng.below(6).to_string(),
    };
    let (value, second) = (value(), value());
    let mut number = || prng.below(12) as i64 - 5;
    let (n, m) = (number(), number());
    let end = if prng.chance(1, 2) { "LEFT" } else { "RIGHT" };
    match prng.below(16) {
        0..3 => format!("RPUSH {key} {value} {second} {value}"),
        3..5 => format!("LPUSH {key} {value} {second}"),
        5 => format!("LPOP {key}"),
        6 => format!("RPOP {key} {}", n.unsigned_abs()),
        7 => format!("LSET {key} {n} {value}"),
        8 => format!("LINSERT {key} BEFORE {value} {second}"),
        9 => format!("LINSERT {key} AFTER {value} {second}"),
        10 => format!("LREM {key} {n} {value}"),
        11 => format!("LPOS {key} {value} COUNT 0 RANK {}", if n == 0 { 1 } else { n }),
        12 => format!("LMOVE {key} {other} {end} RIGHT"),
        13 => format!("LMPOP 2 {key} {other} {end} COUNT {}", n.unsigned_abs() + 1),
        14 if prng.chance(1, 10) => format!("LTRIM {key} {n} {}", m + 5),
        _ => format!("LRANGE {key} 0 -1"),
    }
}

#[test]
fn changes_are_counted_as_redis_counts_them() {
    let mut client = Client::new();
    check_on(
        &mut client,
        "
        RPUSH l a b c d e f   => 6
        LPOP l 2              => ['a', 'b']
        LMOVE l m LEFT LEFT   => 'c'
        LTRIM l 1 -1          => OK
        LREM l 0 e            => 1
        LSET l 0 g            => OK
        LINSERT l BEFORE g h  => 2
        LPUSHX none a         => 0
        LPOP none             => (nil)
        LREM l 0 none         => 0
        LRANGE l 0 -1         => ['h', 'g']
    ",
    );
    assert_eq!(client.effects.dirty, 6 + 2 + 1 + 1 + 1 + 1 + 1);
}
