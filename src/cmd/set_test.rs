//! Scenarios of the set family. Replies were taken from Redis 7.0; encodings from Redis 7.2.

use super::testkit::{Client, check, check_on};

#[test]
fn members_come_and_go() {
    check(
        r#"
        SADD s foo               => 1
        SADD s foo bar           => 1
        SADD s 12 ""             => 2
        SCARD s                  => 4
        SISMEMBER s foo          => 1
        SISMEMBER s 012          => 0
        SMISMEMBER s 12 x ""     => [1, 0, 1]
        SMISMEMBER none a b      => [0, 0]
        SREM s foo x             => 1
        SREM s bar "" 12 y       => 3
        EXISTS s                 => 0
        SREM s foo               => 0
        SCARD s                  => 0
        SISMEMBER s foo          => 0
        SMEMBERS s               => [] || ~[]
        SADD i 3 1 2             => 3
        SMEMBERS i               => ['1', '2', '3'] || ~['1', '2', '3']
        TYPE i                   => set
    "#,
    );
}

#[test]
fn what_holds_no_set_is_refused() {
    check(
        "
        SET k v                  => OK
        SADD k a                 => WRONGTYPE Operation against a key holding the wrong kind of value
        SREM k a                 => WRONGTYPE Operation against a key holding the wrong kind of value
        SCARD k                  => WRONGTYPE Operation against a key holding the wrong kind of value
        SISMEMBER k a            => WRONGTYPE Operation against a key holding the wrong kind of value
        SMISMEMBER k a           => WRONGTYPE Operation against a key holding the wrong kind of value
        SMEMBERS k               => WRONGTYPE Operation against a key holding the wrong kind of value
        SPOP k                   => WRONGTYPE Operation against a key holding the wrong kind of value
        SRANDMEMBER k 2          => WRONGTYPE Operation against a key holding the wrong kind of value
        SSCAN k 0                => WRONGTYPE Operation against a key holding the wrong kind of value
        SADD s a                 => 1
        SMOVE k s a              => WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE s k a              => WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE s k x              => WRONGTYPE Operation against a key holding the wrong kind of value
        SMOVE none k a           => 0
        SINTER none k            => WRONGTYPE Operation against a key holding the wrong kind of value
        SUNION s k               => WRONGTYPE Operation against a key holding the wrong kind of value
        SDIFF k s                => WRONGTYPE Operation against a key holding the wrong kind of value
        SINTERCARD 2 s k         => WRONGTYPE Operation against a key holding the wrong kind of value
        SUNIONSTORE k s          => 1
        TYPE k                   => set
    ",
    );
}

#[test]
fn encodings_change_at_the_limits() {
    check(
        "
        SADD i 1 2               => 2
        OBJECT ENCODING i        => 'intset'
        SADD i a                 => 1
        OBJECT ENCODING i        => 'listpack'
        SADD l a                 => 1
        OBJECT ENCODING l        => 'listpack'
        SADD l aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg => 1
        OBJECT ENCODING l        => 'hashtable'
        CONFIG SET set-max-intset-entries 3 set-max-listpack-entries 2 => OK
        SADD j 1 2 3             => 3
        OBJECT ENCODING j        => 'intset'
        SADD j 4                 => 1
        OBJECT ENCODING j        => 'hashtable'
        SADD p a b               => 2
        OBJECT ENCODING p        => 'listpack'
        SADD p a c               => 1
        OBJECT ENCODING p        => 'hashtable'
        SADD q 1 a               => 2
        OBJECT ENCODING q        => 'listpack'
        SADD r 1 2 a             => 3
        OBJECT ENCODING r        => 'hashtable'
        SADD x 1 2 3 4           => 4
        OBJECT ENCODING x        => 'hashtable'
        SINTERSTORE d x j        => 4
        OBJECT ENCODING d        => 'hashtable'
        SREM x 4                 => 1
        SINTERSTORE d x j        => 3
        OBJECT ENCODING d        => 'intset'
        SUNIONSTORE d x j        => 4
        OBJECT ENCODING d        => 'hashtable'
        SDIFFSTORE d j x         => 1
        OBJECT ENCODING d        => 'intset'
    ",
    );
}

#[test]
fn members_move() {
    check(
        "
        SADD a 1 b               => 2
        SADD c 2 3               => 2
        SMOVE a c b              => 1
        OBJECT ENCODING c        => 'listpack'
        SMOVE a c b              => 0
        SMOVE a a 1              => 1
        SMOVE a a 2              => 0
        SMOVE a new 1            => 1
        EXISTS a                 => 0
        OBJECT ENCODING new      => 'intset'
        SMOVE new c 1            => 1
        SADD a b                 => 1
        SMOVE a c b              => 1
        SCARD c                  => 4
        EXISTS a new             => 0
        SMOVE a c b              => 0
    ",
    );
}

#[test]
fn sets_are_combined() {
    check(
        "
        SADD a 1 2 3 4           => 4
        SADD b 3 4 5             => 3
        SADD c 4 x               => 2
        SINTER a b               => ['3', '4'] || ~['3', '4']
        SINTER a b c             => ['4'] || ~['4']
        SINTER a none            => [] || ~[]
        SUNION a b               => ['1', '2', '3', '4', '5'] || ~['1', '2', '3', '4', '5']
        SUNION none              => [] || ~[]
        SDIFF a b c              => ['1', '2'] || ~['1', '2']
        SDIFF none a             => [] || ~[]
        SDIFF a a                => [] || ~[]
        SDIFF a none             => ['1', '2', '3', '4'] || ~['1', '2', '3', '4']
        SINTERSTORE d a b        => 2
        SMEMBERS d               => ['3', '4'] || ~['3', '4']
        SUNIONSTORE a a b        => 5
        SDIFFSTORE a a b c       => 2
        SMEMBERS a               => ['1', '2'] || ~['1', '2']
        SINTERSTORE a a none     => 0
        EXISTS a                 => 0
        SDIFFSTORE d none        => 0
        EXISTS d                 => 0
        SUNIONSTORE d none       => 0
        SET d v                  => OK
        SINTERSTORE d none b     => 0
        EXISTS d                 => 0
    ",
    );
}

#[test]
fn intersections_are_counted_up_to_a_limit() {
    check(
        "
        SADD a 1 2 3 4           => 4
        SADD b 2 3 4 5           => 4
        SINTERCARD 1 a           => 4
        SINTERCARD 2 a b         => 3
        SINTERCARD 2 a b LIMIT 2 => 2
        SINTERCARD 2 a b LIMIT 0 => 3
        SINTERCARD 2 a b LIMIT 9 => 3
        SINTERCARD 2 a none      => 0
        SINTERCARD 0 a           => ERR numkeys should be greater than 0
        SINTERCARD x a           => ERR numkeys should be greater than 0
        SINTERCARD 3 a b         => ERR Number of keys can't be greater than number of args
        SINTERCARD 1 a b         => ERR syntax error
        SINTERCARD 1 a LIMIT     => ERR syntax error
        SINTERCARD 1 a LIMIT -1  => ERR LIMIT can't be negative
        SINTERCARD 1 a LIMIT x   => ERR LIMIT can't be negative
    ",
    );
}

#[test]
fn random_members_are_drawn() {
    check(
        "
        SRANDMEMBER none         => (nil)
        SRANDMEMBER none 3       => []
        SPOP none                => (nil)
        SPOP none 3              => [] || ~[]
        SADD s 1 2 3             => 3
        SRANDMEMBER s 0          => []
        SRANDMEMBER s 5          => ['1', '2', '3']
        SRANDMEMBER s x          => ERR value is not an integer or out of range
        SRANDMEMBER s 1 2        => ERR syntax error
        SRANDMEMBER s -9223372036854775808 => ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        SPOP s 0                 => [] || ~[]
        SPOP s -1                => ERR value is out of range, must be positive
        SPOP s x                 => ERR value is out of range, must be positive
        SPOP s 1 2               => ERR syntax error
        SPOP s 4                 => ['1', '2', '3'] || ~['1', '2', '3']
        EXISTS s                 => 0
        SADD one a               => 1
        SRANDMEMBER one          => 'a'
        SRANDMEMBER one -3       => ['a', 'a', 'a']
        SPOP one                 => 'a'
        EXISTS one               => 0
    ",
    );
}

#[test]
fn draws_from_sets_of_every_form_are_members() {
    for (prefix, size) in [("", 100), ("m", 100), ("m", 1000)] {
        let mut client = Client::new();
        let members: Vec<_> = (0..size).map(|number| format!("{prefix}{number}")).collect();
        check_on(&mut client, &format!("SADD s {} => {size}", members.join(" ")));
        for count in [1, 10, size / 2, size - 1] {
            let reply = client.run_line(&format!("SRANDMEMBER s {count}"));
            let mut drawn: Vec<&str> = reply.trim_matches(['[', ']']).split(", ").collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), count, "{prefix} {count}");
            assert!(drawn.iter().all(|member| members.iter().any(|m| member.trim_matches('\'') == m)));
        }
        let reply = client.run_line("SRANDMEMBER s -5000");
        assert_eq!(reply.split(", ").count(), 5000);
        assert_eq!(client.run_line(&format!("SPOP s {}", size - 3)).split(", ").count(), size - 3);
        check_on(&mut client, "SCARD s => 3");
    }
}

#[test]
fn scanning_finds_every_member() {
    check(
        "
        SADD s 1 2 30            => 3
        SSCAN s 0                => ['0', ['1', '2', '30']]
        SSCAN s 0 COUNT 1        => ['0', ['1', '2', '30']]
        SSCAN s 0 MATCH 3*       => ['0', ['30']]
        SSCAN none 0             => ['0', []]
        SSCAN s x                => ERR invalid cursor
        SSCAN s 0 COUNT 0        => ERR syntax error
        SSCAN s 0 COUNT x        => ERR value is not an integer or out of range
        SSCAN s 0 NOVALUES       => ERR NOVALUES option can only be used in HSCAN
    ",
    );
    let mut client = Client::new();
    let members: Vec<_> = (0..1000).map(|number| format!("m{number}")).collect();
    check_on(&mut client, &format!("SADD s {} => 1000", members.join(" ")));
    let (mut cursor, mut found) = (String::from("0"), std::collections::BTreeSet::new());
    loop {
        let reply = client.run_line(&format!("SSCAN s {cursor} COUNT 7"));
        let mut words = reply.split('\'').skip(1).step_by(2);
        cursor = words.next().expect("a cursor").into();
        found.extend(words.map(String::from));
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, members.into_iter().collect());
}
