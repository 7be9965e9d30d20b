//! Scenarios of the sorted set family. Replies were taken from Redis 7.0 and 7.2.

use super::testkit::{Client, check, check_on};

/// Runs a scenario with sets that stay small, and with sets that are large from the start.
fn check_both(scenario: &str) {
    check(scenario);
    check(&format!("CONFIG SET zset-max-listpack-entries 0 => OK\n{scenario}"));
}

#[test]
fn zadd_counts_what_is_new_and_keeps_every_score() {
    check_both(
        r#"
        ZADD z 1 a 2 b 3 c          => 3
        ZADD z 1 a 9 b              => 0
        ZADD z CH 2 a 9 b           => 1
        ZCARD z                     => 3
        ZSCORE z b                  => '9' || ,9
        ZSCORE z nobody             => (nil)
        ZSCORE nokey a              => (nil)
        ZCARD nokey                 => 0
        ZMSCORE z a nobody c        => ['2', (nil), '3'] || [,2, (nil), ,3]
        ZMSCORE nokey a             => [(nil)]
        ZADD z inf i -inf j 1.5 k 1e300 l 0x10 m => 5
        ZMSCORE z i j k l m         => ['inf', '-inf', '1.5', '1e+300', '16'] || [,inf, ,-inf, ,1.5, ,1e+300, ,16]
        ZADD z nan a                => ERR value is not a valid float
        ZADD z 1 a x b              => ERR value is not a valid float
        ZADD z                      => ERR wrong number of arguments for 'zadd' command
        ZADD z 1 a 2                => ERR syntax error
        ZADD z NX 1                 => ERR syntax error
        ZREM z i j k l m nobody     => 5
        ZREM z a b c                => 3
        EXISTS z                    => 0
        SET s 1                     => OK
        ZADD s 1 a                  => WRONGTYPE Operation against a key holding the wrong kind of value
        ZCARD s                     => WRONGTYPE Operation against a key holding the wrong kind of value
        ZSCORE s a                  => WRONGTYPE Operation against a key holding the wrong kind of value
    "#,
    );
}

#[test]
fn zadd_options_say_who_may_change() {
    check_both(
        "
        ZADD z XX 1 a               => 0
        EXISTS z                    => 0
        ZADD z 10 a                 => 1
        ZADD z NX 9 a 1 b           => 1
        ZSCORE z a                  => '10' || ,10
        ZADD z XX CH 11 a 5 new     => 1
        ZADD z GT CH 10 a 2 b 3 c   => 2
        ZADD z LT CH 12 a 1 b 4 c   => 1
        ZRANGE z 0 -1 WITHSCORES    => ['b', '1', 'c', '3', 'a', '11'] || [['b', ,1], ['c', ,3], ['a', ,11]]
        ZADD z NX XX 1 a            => ERR XX and NX options at the same time are not compatible
        ZADD z NX GT 1 a            => ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z LT GT 1 a            => ERR GT, LT, and/or NX options at the same time are not compatible
        ZADD z INCR 1 a 2 b         => ERR INCR option supports a single increment-element pair
        ZADD z INCR 1.5 a           => '12.5' || ,12.5
        ZADD z INCR NX 1 a          => (nil)
        ZADD z INCR GT -1 a         => (nil)
        ZADD z XX INCR 1 nobody     => (nil)
        ZADD z INCR inf a           => 'inf' || ,inf
        ZADD z INCR -inf a          => ERR resulting score is not a number (NaN)
        ZINCRBY z 2 new             => '2' || ,2
        ZINCRBY z 0.5 new           => '2.5' || ,2.5
        ZINCRBY z x new             => ERR value is not a valid float
    ",
    );
}

#[test]
fn ranks_count_from_either_end() {
    check_both(
        "
        ZADD z 1 a 2 b 3 c          => 3
        ZRANK z a                   => 0
        ZRANK z c                   => 2
        ZREVRANK z c                => 0
        ZRANK z nobody              => (nil)
        ZRANK nokey a               => (nil)
        ZRANK z b WITHSCORE         => [1, '2'] || [1, ,2]
        ZREVRANK z a WITHSCORE      => [2, '1'] || [2, ,1]
        ZRANK z nobody WITHSCORE    => (nil)
        ZRANK z a WITHSCORES        => ERR syntax error
        ZRANK z a WITHSCORE x       => ERR wrong number of arguments for 'zrank' command
        ZREVRANK z a WITHSCORE x    => ERR wrong number of arguments for 'zrevrank' command
    ",
    );
}

#[test]
fn zrange_goes_by_rank_score_or_member() {
    check_both(
        r#"
        ZADD z 1 a 2 b 3 c 4 d      => 4
        ZRANGE z 0 -1               => ['a', 'b', 'c', 'd']
        ZRANGE z 1 2                => ['b', 'c']
        ZRANGE z -100 100           => ['a', 'b', 'c', 'd']
        ZRANGE z -100 -50           => []
        ZRANGE z 3 1                => []
        ZRANGE z 0 1 REV            => ['d', 'c']
        ZREVRANGE z 0 1             => ['d', 'c']
        ZREVRANGE z 1 1 WITHSCORES  => ['c', '3'] || [['c', ,3]]
        ZRANGE nokey 0 -1           => []
        ZRANGE z (1 3 BYSCORE       => ['b', 'c']
        ZRANGE z 3 (1 BYSCORE REV   => ['c', 'b']
        ZRANGEBYSCORE z -inf +inf LIMIT 1 2   => ['b', 'c']
        ZRANGEBYSCORE z -inf +inf LIMIT 1 -5  => ['b', 'c', 'd']
        ZRANGEBYSCORE z -inf +inf LIMIT -1 2  => []
        ZRANGEBYSCORE z 2 1         => []
        ZREVRANGEBYSCORE z 3 1 WITHSCORES LIMIT 0 1 => ['c', '3'] || [['c', ,3]]
        ZRANGEBYSCORE z x 1         => ERR min or max is not a float
        ZRANGEBYSCORE z "" 1        => ['a']
        ZRANGEBYSCORE z nan 1       => ERR min or max is not a float
        ZRANGE z 0 x                => ERR value is not an integer or out of range
        ZRANGE z 0 -1 LIMIT 0 1     => ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        ZRANGE z - + BYLEX WITHSCORES => ERR syntax error, WITHSCORES not supported in combination with BYLEX
        ZRANGE z 0 -1 BYSCORE BYLEX => ERR syntax error
        ZRANGE z 0 -1 LIMIT 0       => ERR syntax error
        ZADD l 0 a 0 b 0 c 0 d      => 4
        ZRANGEBYLEX l - +           => ['a', 'b', 'c', 'd']
        ZRANGEBYLEX l [b (d         => ['b', 'c']
        ZREVRANGEBYLEX l (d [b      => ['c', 'b']
        ZRANGE l [b + BYLEX LIMIT 1 1 => ['c']
        ZRANGE l + [b BYLEX REV     => ['d', 'c', 'b']
        ZRANGEBYLEX l + -           => []
        ZRANGEBYLEX l b c           => ERR min or max not valid string range item
        ZLEXCOUNT l - [b            => 2
        ZLEXCOUNT l x +             => ERR min or max not valid string range item
        ZCOUNT z (1 +inf            => 3
        ZCOUNT z x 1                => ERR min or max is not a float
        ZCOUNT nokey 0 1            => 0
        ZLEXCOUNT nokey - +         => 0
    "#,
    );
}

#[test]
fn zrangestore_replaces_what_is_there() {
    check_both(
        "
        ZADD z 1 a 2 b 3 c 4 d      => 4
        SET dst x                   => OK
        ZRANGESTORE dst z 0 1       => 2
        ZRANGE dst 0 -1 WITHSCORES  => ['a', '1', 'b', '2'] || [['a', ,1], ['b', ,2]]
        ZRANGESTORE dst z 4 2 BYSCORE REV LIMIT 0 2 => 2
        ZRANGE dst 0 -1             => ['c', 'd']
        ZRANGESTORE z z 0 0         => 1
        ZRANGE z 0 -1               => ['a']
        ZRANGESTORE dst z 5 6       => 0
        EXISTS dst                  => 0
        ZRANGESTORE dst nokey 0 -1  => 0
        SET s x                     => OK
        ZRANGESTORE dst s 0 -1      => WRONGTYPE Operation against a key holding the wrong kind of value
        ZRANGESTORE dst z 0 -1 WITHSCORES => ERR syntax error
    ",
    );
}

#[test]
fn ranges_are_removed() {
    check_both(
        "
        ZADD z 1 a 2 b 3 c 4 d 5 e  => 5
        ZREMRANGEBYRANK z 0 0       => 1
        ZREMRANGEBYRANK z -1 -1     => 1
        ZREMRANGEBYSCORE z (2 3     => 1
        ZRANGE z 0 -1               => ['b', 'd']
        ZREMRANGEBYSCORE z 7 9      => 0
        ZREMRANGEBYRANK z 9 10      => 0
        ZREMRANGEBYRANK z x 1       => ERR value is not an integer or out of range
        ZREMRANGEBYSCORE z x 1      => ERR min or max is not a float
        ZREMRANGEBYLEX z x +        => ERR min or max not valid string range item
        ZREMRANGEBYLEX z - +        => 2
        EXISTS z                    => 0
        ZREMRANGEBYLEX z - +        => 0
    ",
    );
}

#[test]
fn members_are_taken_from_the_ends() {
    check_both(
        "
        ZADD z 1 a 2 b 3 c 4 d 5 e  => 5
        ZPOPMIN z                   => ['a', '1'] || ['a', ,1]
        ZPOPMAX z                   => ['e', '5'] || ['e', ,5]
        ZPOPMIN z 0                 => []
        ZPOPMAX z 2                 => ['d', '4', 'c', '3'] || [['d', ,4], ['c', ,3]]
        ZPOPMIN z -1                => ERR value is out of range, must be positive
        ZPOPMIN z x                 => ERR value is out of range, must be positive
        ZPOPMIN z 1 2               => ERR syntax error
        ZPOPMIN z 9                 => ['b', '2'] || [['b', ,2]]
        EXISTS z                    => 0
        ZPOPMIN z                   => []
        ZADD y 1 a 2 b              => 2
        ZMPOP 2 nokey y MAX         => ['y', [['b', '2']]] || ['y', [['b', ,2]]]
        ZMPOP 1 y MIN COUNT 5       => ['y', [['a', '1']]] || ['y', [['a', ,1]]]
        ZMPOP 2 nokey y MIN         => (nil)
        ZMPOP 0 y MIN               => ERR numkeys should be greater than 0
        ZMPOP 1 y MID               => ERR syntax error
        ZMPOP 2 y MIN               => ERR syntax error
        ZMPOP 1 y MIN COUNT 0       => ERR count should be greater than 0
        ZMPOP 1 y MIN COUNT         => ERR syntax error
        SET s x                     => OK
        ZMPOP 2 s y MIN             => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}

#[test]
fn scores_are_weighed_and_put_together() {
    check_both(
        "
        ZADD a 1 x 2 y 3 z          => 3
        ZADD b 10 y 20 z 30 w       => 3
        ZUNION 2 a b WITHSCORES     => ['x', '1', 'y', '12', 'z', '23', 'w', '30'] || [['x', ,1], ['y', ,12], ['z', ,23], ['w', ,30]]
        ZINTER 2 a b                => ['y', 'z']
        ZINTER 2 a b WEIGHTS 2 0.5 AGGREGATE MAX WITHSCORES => ['y', '5', 'z', '10'] || [['y', ,5], ['z', ,10]]
        ZDIFF 2 a b WITHSCORES      => ['x', '1'] || [['x', ,1]]
        ZDIFF 2 nokey b             => []
        ZINTERCARD 2 a b            => 2
        ZINTERCARD 2 a b LIMIT 1    => 1
        ZINTERCARD 2 a b LIMIT -1   => ERR LIMIT can't be negative
        ZUNIONSTORE d 2 a b AGGREGATE MIN => 4
        ZRANGE d 0 -1 WITHSCORES    => ['x', '1', 'y', '2', 'z', '3', 'w', '30'] || [['x', ,1], ['y', ,2], ['z', ,3], ['w', ,30]]
        ZINTERSTORE d 2 a nokey     => 0
        EXISTS d                    => 0
        ZINTERSTORE a 2 a b         => 2
        ZRANGE a 0 -1 WITHSCORES    => ['y', '12', 'z', '23'] || [['y', ,12], ['z', ,23]]
        ZDIFFSTORE d 2 b a          => 1
        ZUNION 0 a                  => ERR at least 1 input key is needed for 'zunion' command
        ZUNION 3 a b                => ERR syntax error
        ZUNION x a                  => ERR value is not an integer or out of range
        ZUNION 2 a b WEIGHTS 1      => ERR syntax error
        ZUNION 2 a b WEIGHTS 1 x    => ERR weight value is not a float
        ZUNION 2 a b AGGREGATE avg  => ERR syntax error
        ZDIFF 1 a WEIGHTS 1         => ERR syntax error
        ZUNIONSTORE d 1 a WITHSCORES => ERR syntax error
        ZADD i inf m                => 1
        ZADD j -inf m               => 1
        ZUNION 2 i j WITHSCORES     => ['m', '0'] || [['m', ,0]]
        ZUNION 1 i WEIGHTS 0 WITHSCORES => ['m', '0'] || [['m', ,0]]
        SET s x                     => OK
        ZUNION 2 a s                => WRONGTYPE Operation against a key holding the wrong kind of value
        ZUNION 2 a s nonsense       => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}

#[test]
fn plain_sets_may_take_part() {
    check_both(
        "
        SADD s x y 7               => 3
        ZADD z 5 x 6 q 8 7         => 3
        ZUNION 2 s z WITHSCORES    => ['y', '1', 'q', '6', 'x', '6', '7', '9'] || [['y', ,1], ['q', ,6], ['x', ,6], ['7', ,9]]
        ZINTER 2 z s WEIGHTS 1 10 WITHSCORES => ['x', '15', '7', '18'] || [['x', ,15], ['7', ,18]]
        ZDIFF 2 s z WITHSCORES     => ['y', '1'] || [['y', ,1]]
        ZINTERCARD 2 s z           => 2
        ZINTERCARD 2 s z LIMIT 1   => 1
        ZUNIONSTORE s 2 s z        => 4
        TYPE s                     => zset
    ",
    );
}

#[test]
fn random_members_are_members() {
    check_both(
        "
        ZRANDMEMBER nokey           => (nil)
        ZRANDMEMBER nokey 5         => []
        ZADD z 1 a                  => 1
        ZRANDMEMBER z               => 'a'
        ZRANDMEMBER z 5             => ['a']
        ZRANDMEMBER z -3            => ['a', 'a', 'a']
        ZRANDMEMBER z -2 WITHSCORES => ['a', '1', 'a', '1'] || [['a', ,1], ['a', ,1]]
        ZRANDMEMBER z 0             => []
        ZRANDMEMBER z x             => ERR value is not an integer or out of range
        ZRANDMEMBER z 1 x           => ERR syntax error
        ZRANDMEMBER z -9223372036854775808 => ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        ZRANDMEMBER z -9223372036854775807 WITHSCORES => ERR value is out of range
    ",
    );
}

#[test]
fn zrandmember_gives_as_many_different_members_as_asked_for() {
    for entries in [0, 1000] {
        let mut client = Client::new();
        check_on(&mut client, &format!("CONFIG SET zset-max-listpack-entries {entries} => OK"));
        for number in 0..100 {
            client.run_line(&format!("ZADD z {number} m{number}"));
        }
        for count in [1, 5, 20, 60, 99, 100] {
            let reply = client.run_line(&format!("ZRANDMEMBER z {count}"));
            let members: std::collections::BTreeSet<_> = reply.trim_matches(['[', ']']).split(", ").collect();
            assert_eq!(members.len(), count, "{reply}");
        }
    }
}

#[test]
fn zscan_meets_everybody() {
    check_both(
        "
        ZSCAN nokey 0               => ['0', []]
        ZADD z 1.5 a                => 1
        ZSCAN z 0                   => ['0', ['a', '1.5']]
        ZSCAN z 0 MATCH b*          => ['0', []]
        ZSCAN z 0 MATCH * COUNT 5   => ['0', ['a', '1.5']]
        ZSCAN z 0 NOSCORES          => ['0', ['a']]
        ZSCAN z x                   => ERR invalid cursor
        ZSCAN z 0 COUNT 0           => ERR syntax error
        ZSCAN z 0 COUNT x           => ERR value is not an integer or out of range
        ZSCAN z 0 MATCH             => ERR syntax error
        ZSCAN nokey 0 nonsense      => ['0', []]
    ",
    );
    let mut client = Client::new();
    let line: Vec<String> = (0..500).map(|number| format!("{number} member:{number}")).collect();
    check_on(&mut client, &format!("ZADD z {} => 500", line.join(" ")));
    let (mut cursor, mut members) = ("0".to_string(), std::collections::BTreeSet::new());
    loop {
        let reply = client.run_line(&format!("ZSCAN z {cursor} NOSCORES"));
        let (next, found) = reply.split_once(", ").unwrap();
        members.extend(found.split(", ").map(|member| member.trim_matches(['[', ']', '\'']).to_string()));
        cursor = next.trim_matches(['[', '\'']).to_string();
        if cursor == "0" {
            break;
        }
    }
    members.remove("");
    assert_eq!(members.len(), 500);
}

#[test]
fn a_set_grows_out_of_its_pack_where_redis_says_so() {
    check(
        "
        CONFIG SET zset-max-listpack-entries 3 zset-max-listpack-value 5 => OK
        ZADD z 1 a 2 b 3 c          => 3
        OBJECT ENCODING z           => 'listpack'
        ZADD z 4 d                  => 1
        OBJECT ENCODING z           => 'skiplist'
        ZADD y 1 a                  => 1
        ZADD y 1 sixsix             => 1
        OBJECT ENCODING y           => 'skiplist'
        ZADD x 1 a 2 b 3 c 4 d      => 4
        OBJECT ENCODING x           => 'skiplist'
        ZRANGESTORE w x 0 1         => 2
        OBJECT ENCODING w           => 'listpack'
        TYPE z                      => zset
        RENAME z v                  => OK
        ZCARD v                     => 4
        COPY v u                    => 1
        ZCARD u                     => 4
    ",
    );
}
