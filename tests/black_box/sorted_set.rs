//! Sorted sets: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_leaderboard() {
    check(
        "
        ZADD board 120 ann 90 bob 150 cid => 3
        ZINCRBY board 40.5 bob     => '130.5' || ,130.5
        ZCARD board                => 3
        ZSCORE board ann           => '120' || ,120
        ZMSCORE board ann dan      => ['120', (nil)] || [,120, (nil)]
        ZREVRANK board cid         => 0
        ZRANK board bob WITHSCORE  => [1, '130.5'] || [1, ,130.5]
        ZREVRANGE board 0 1        => ['cid', 'bob']
        ZRANGE board 0 0 WITHSCORES => ['ann', '120'] || [['ann', ,120]]
        ZRANGEBYSCORE board (120 +inf => ['bob', 'cid']
        ZREVRANGEBYSCORE board 140 0 LIMIT 0 1 => ['bob']
        ZCOUNT board 100 140       => 2
        ZRANGESTORE top board 0 1 REV => 2
        @b ZRANGE top 0 -1         => ['bob', 'cid']
        ZREM board ann nobody      => 1
        ZPOPMAX board              => ['cid', '150'] || ['cid', ,150]
        ZPOPMIN board 5            => ['bob', '130.5'] || [['bob', ,130.5]]
        EXISTS board               => 0
    ",
    );
}

#[test]
fn members_of_one_score_are_in_the_order_of_their_bytes() {
    check(
        "
        ZADD l 0 d 0 b 0 a 0 c     => 4
        ZRANGEBYLEX l [b +         => ['b', 'c', 'd']
        ZREVRANGEBYLEX l (d -      => ['c', 'b', 'a']
        ZLEXCOUNT l - (c           => 2
        ZREMRANGEBYLEX l [a [b     => 2
        ZREMRANGEBYRANK l 0 0      => 1
        ZREMRANGEBYSCORE l 0 0     => 1
        EXISTS l                   => 0
    ",
    );
}

#[test]
fn sorted_sets_are_put_together() {
    check(
        "
        ZADD a 1 x 2 y             => 2
        ZADD b 10 y 20 z           => 2
        ZUNION 2 a b WITHSCORES    => ['x', '1', 'y', '12', 'z', '20'] || [['x', ,1], ['y', ,12], ['z', ,20]]
        ZINTER 2 a b               => ['y']
        ZDIFF 2 a b                => ['x']
        ZINTERCARD 2 a b           => 1
        ZUNIONSTORE u 2 a b WEIGHTS 1 2 AGGREGATE MAX => 3
        ZINTERSTORE i 2 a b        => 1
        ZDIFFSTORE d 2 a b         => 1
        @b ZSCORE u y              => '20' || ,20
        ZRANDMEMBER d              => 'x'
        ZSCAN i 0                  => ['0', ['y', '12']]
        ZMPOP 2 none u MIN COUNT 2 => ['u', [['x', '1'], ['y', '20']]] || ['u', [['x', ,1], ['y', ,20]]]
    ",
    );
}

#[test]
fn whoever_finds_members_does_not_wait() {
    check(
        "
        ZADD z 1 a 2 b 3 c 4 d     => 4
        BZPOPMIN none z 0          => ['z', 'a', '1'] || ['z', 'a', ,1]
        BZPOPMAX z none 0          => ['z', 'd', '4'] || ['z', 'd', ,4]
        BZMPOP 0 2 none z MAX COUNT 9 => ['z', [['c', '3'], ['b', '2']]] || ['z', [['c', ,3], ['b', ,2]]]
        BZPOPMIN none 0.01         => (nil)
        BZPOPMAX none other 0.01   => (nil)
        BZMPOP 0.01 1 none MIN     => (nil)
        BZPOPMIN z x               => ERR timeout is not a float or out of range
        BZPOPMAX z -1              => ERR timeout is negative
        BZMPOP x 0 z MIN           => ERR numkeys should be greater than 0
        BZMPOP 0 1 z LEFT          => ERR syntax error
        SET s v                    => OK
        BZPOPMIN none s 0          => WRONGTYPE Operation against a key holding the wrong kind of value
    ",
    );
}

/// A client that waited hears of its member in front of the reply to what it sends next: PING here, whose own reply is left.
#[test]
fn clients_that_wait_are_served_in_their_order() {
    check(
        "
        @a BZPOPMIN q r 0          => (silence)
        INFO clients               => (soon) '…blocked_clients:1…'
        @b BZPOPMAX r q 0          => (silence)
        INFO clients               => (soon) '…blocked_clients:2…'
        @c BZMPOP 0 1 q MIN COUNT 9 => (silence)
        INFO clients               => (soon) '…blocked_clients:3…'
        ZADD q 1 a 2 b 3 c 4 d     => 4
        EXISTS q                   => 0
        @a PING                    => ['q', 'a', '1'] || ['q', 'a', ,1]
        @b PING                    => ['q', 'd', '4'] || ['q', 'd', ,4]
        @c PING                    => ['q', [['b', '2'], ['c', '3']]] || ['q', [['b', ,2], ['c', ,3]]]
    ",
    );
}
