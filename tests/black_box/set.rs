//! Sets: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn members_come_and_go() {
    check(
        "
        SADD s 1 2 3             => 3
        @b SADD s 3 4            => 1
        SCARD s                  => 4
        SISMEMBER s 4            => 1
        SMISMEMBER s 4 5         => [1, 0]
        SREM s 4 5               => 1
        SSCAN s 0                => ['0', ['1', '2', '3']]
        SRANDMEMBER s -1         => *
        SMEMBERS s               => *
        SPOP s 2                 => *
        SCARD s                  => 1
        @b SPOP s                => *
        EXISTS s                 => 0
    ",
    );
}

#[test]
fn sets_are_moved_and_combined() {
    check(
        "
        SADD a 1 2 3             => 3
        SADD b 3                 => 1
        SMOVE a b 2              => 1
        SINTERCARD 2 a b         => 1
        SINTER a b               => *
        SUNION a b               => *
        SDIFF a b                => *
        SINTERSTORE d a b        => 1
        SUNIONSTORE d a b        => 3
        @b SDIFFSTORE d a b      => 1
        SISMEMBER d 1            => 1
    ",
    );
}

#[test]
fn elements_are_sorted() {
    check(
        "
        SADD s 3 1 2             => 3
        SORT s DESC              => ['3', '2', '1']
        SORT_RO s LIMIT 0 1      => ['1']
        SORT s STORE d           => 3
        @b LRANGE d 0 -1         => ['1', '2', '3']
    ",
    );
}
