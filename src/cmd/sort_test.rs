//! Scenarios of SORT. Replies were taken from Redis 7.0.

use super::testkit::check;

#[test]
fn elements_are_sorted_by_themselves() {
    check(
        "
        RPUSH l 3 10 2 -1.5 1e1   => 5
        SORT l                    => ['-1.5', '2', '3', '10', '1e1']
        SORT l DESC               => ['1e1', '10', '3', '2', '-1.5']
        SORT l ALPHA              => ['-1.5', '10', '1e1', '2', '3']
        SORT l LIMIT 1 2          => ['2', '3']
        SORT l LIMIT 4 9 ASC      => ['1e1']
        SORT l LIMIT 9 1          => []
        SORT l LIMIT 0 0          => []
        SORT l LIMIT -2 2         => ['-1.5', '2']
        SORT l LIMIT 1 -1         => ['2', '3', '10', '1e1']
        SADD s 3 1 2              => 3
        SORT s DESC               => ['3', '2', '1']
        SORT_RO s                 => ['1', '2', '3']
        SORT none                 => []
    ",
    );
}

#[test]
fn what_cannot_be_sorted_is_refused() {
    check(
        "
        RPUSH l 1 x               => 2
        SORT l                    => ERR One or more scores can't be converted into double
        SORT l STORE d            => ERR One or more scores can't be converted into double
        EXISTS d                  => 0
        SET k v                   => OK
        SORT k                    => WRONGTYPE Operation against a key holding the wrong kind of value
        SORT k BY nosort          => WRONGTYPE Operation against a key holding the wrong kind of value
        SORT l LIMIT 1            => ERR syntax error
        SORT l LIMIT a 1          => ERR value is not an integer or out of range
        SORT l BY                 => ERR syntax error
        SORT l x                  => ERR syntax error
        SORT_RO l STORE d         => ERR syntax error
    ",
    );
}

#[test]
fn weights_come_from_other_keys() {
    check(
        "
        RPUSH l a b c             => 3
        MSET w:a 3 w:b 1 w:c 2    => OK
        SORT l BY w:*             => ['b', 'c', 'a']
        SORT l BY w:* DESC LIMIT 0 1 => ['a']
        DEL w:c                   => 1
        SORT l BY w:*             => ['c', 'b', 'a']
        SORT l BY w:* ALPHA       => ['c', 'b', 'a']
        HSET h:a f 1 g x          => 2
        HSET h:b f 0              => 1
        SORT l BY h:*->f          => ['b', 'c', 'a']
        SORT l BY w:*->f ALPHA    => ['a', 'b', 'c']
        SORT l BY nosort DESC     => ['c', 'b', 'a']
        SORT l BY nosort GET # GET w:* GET h:*->g LIMIT 0 2 => ['a', '3', 'x', 'b', '1', (nil)]
        SORT l BY nosort GET nothing LIMIT 0 1 => [(nil)]
        SORT l ALPHA GET h:*-> LIMIT 0 1 => [(nil)]
        SET w:a x                 => OK
        SORT l BY w:*             => ERR One or more scores can't be converted into double
    ",
    );
}

#[test]
fn sorted_sets_have_an_order_to_keep() {
    check(
        "
        ZADD z 1 c 5 a 3 b        => 3
        SORT z ALPHA DESC         => ['c', 'b', 'a']
        SORT z BY nosort          => ['c', 'b', 'a']
        SORT z BY nosort DESC     => ['a', 'b', 'c']
        SORT z BY nosort DESC LIMIT 1 1 => ['b']
        SORT z BY nosort STORE d  => 3
        LRANGE d 0 -1             => ['c', 'b', 'a']
        SORT z                    => ERR One or more scores can't be converted into double
    ",
    );
}

#[test]
fn results_are_stored_as_a_list() {
    check(
        "
        SADD s 3 1 2              => 3
        SORT s STORE d            => 3
        LRANGE d 0 -1             => ['1', '2', '3']
        OBJECT ENCODING d         => 'listpack'
        SORT s BY nosort STORE s  => 3
        LRANGE s 0 -1             => ['1', '2', '3']
        SET w:2 x                 => OK
        SORT s GET w:* STORE d    => 3
        LRANGE d 0 -1             => ['', 'x', '']
        SORT none STORE d         => 0
        EXISTS d                  => 0
        COMMAND GETKEYS SORT a BY store LIMIT 0 store STORE b STORE c => ['a', 'c']
        COMMAND GETKEYS SORT_RO a => ['a']
    ",
    );
}

#[test]
fn patterns_need_permission_to_read_all_keys() {
    check(
        "
        ACL SETUSER u on nopass +@all ~l* => OK
        RPUSH l 2 1               => 2
        AUTH u x                  => OK
        SORT l                    => ['1', '2']
        SORT l BY nosort          => ['2', '1']
        SORT l BY w:*             => ERR BY option of SORT denied due to insufficient ACL permissions.
        SORT l GET #              => ERR GET option of SORT denied due to insufficient ACL permissions.
    ",
    );
}
