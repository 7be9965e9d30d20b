//! Streams: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_log_is_written_read_and_trimmed() {
    check(
        r#"
        XADD log 1-1 level info          => '1-1'
        @b XADD log 1-* level warn       => '1-2'
        XADD log 5 level error code 7    => '5-0'
        XLEN log                         => 3
        @b XRANGE log 1-2 +              => [['1-2', ['level', 'warn']], ['5-0', ['level', 'error', 'code', '7']]]
        XREVRANGE log + - COUNT 1        => [['5-0', ['level', 'error', 'code', '7']]]
        XREAD COUNT 1 STREAMS log 1-1    => [['log', [['1-2', ['level', 'warn']]]]] || {'log': [['1-2', ['level', 'warn']]]}
        XDEL log 1-2 9-9                 => 1
        XTRIM log MAXLEN 1               => 1
        XRANGE log - +                   => [['5-0', ['level', 'error', 'code', '7']]]
        XSETID log 9-0                   => OK
        XADD log 8-0 a b                 => ERR The ID specified in XADD is equal or smaller than the target stream top item
        TYPE log                         => stream
        OBJECT ENCODING log              => 'stream'
        XDEL log 5-0                     => 1
        EXISTS log                       => 1
    "#,
    );
}

#[test]
fn a_group_shares_a_log() {
    check(
        r#"
        XGROUP CREATE jobs g $ MKSTREAM          => OK
        XGROUP CREATECONSUMER jobs g idle        => 1
        XADD jobs 1-0 n 1                        => '1-0'
        XADD jobs 2-0 n 2                        => '2-0'
        XADD jobs 3-0 n 3                        => '3-0'
        XREADGROUP GROUP g a COUNT 1 STREAMS jobs >     => [['jobs', [['1-0', ['n', '1']]]]] || {'jobs': [['1-0', ['n', '1']]]}
        @b XREADGROUP GROUP g b COUNT 2 STREAMS jobs >  => [['jobs', [['2-0', ['n', '2']], ['3-0', ['n', '3']]]]] || {'jobs': [['2-0', ['n', '2']], ['3-0', ['n', '3']]]}
        XPENDING jobs g                          => [3, '1-0', '3-0', [['a', '1'], ['b', '2']]]
        @b XACK jobs g 2-0                       => 1
        XCLAIM jobs g a 0 3-0 JUSTID             => ['3-0']
        XAUTOCLAIM jobs g idle 0 0 COUNT 1       => ['3-0', [['1-0', ['n', '1']]], []]
        XACKDEL jobs g ACKED IDS 2 1-0 2-0       => [1, -1]
        XDELEX jobs ACKED IDS 2 2-0 3-0          => [1, 2]
        XLEN jobs                                => 1
        XINFO GROUPS jobs                        => [['name', 'g', 'consumers', 3, 'pending', 1, 'last-delivered-id', '3-0', 'entries-read', 3, 'lag', 0]] || [{'name': 'g', 'consumers': 3, 'pending': 1, 'last-delivered-id': '3-0', 'entries-read': 3, 'lag': 0}]
        XINFO CONSUMERS jobs g                   => *
        XINFO STREAM jobs FULL                   => *
        XINFO HELP                               => *
        XGROUP HELP                              => *
        XGROUP SETID jobs g 0                    => OK
        XGROUP DELCONSUMER jobs g a              => 1
        XGROUP DESTROY jobs g                    => 1
    "#,
    );
}

/// A client that waited hears of its entry in front of the reply to what it sends next: PING here, whose own reply is left.
#[test]
fn readers_wait_for_entries() {
    check(
        r#"
        XADD log 1-0 n 1                             => '1-0'
        @a XREAD BLOCK 0 STREAMS log $               => (silence)
        INFO clients                                 => (soon) '…blocked_clients:1…'
        @b XREAD BLOCK 0 STREAMS none log 0 5-0      => (silence)
        INFO clients                                 => (soon) '…blocked_clients:2…'
        XADD log 2-0 n 2                             => '2-0'
        @a PING                                      => [['log', [['2-0', ['n', '2']]]]] || {'log': [['2-0', ['n', '2']]]}
        INFO clients                                 => (soon) '…blocked_clients:1…'
        XADD none 1-0 n 3                            => '1-0'
        @b PING                                      => [['none', [['1-0', ['n', '3']]]]] || {'none': [['1-0', ['n', '3']]]}
        XREAD BLOCK 1 STREAMS log $                  => (nil)
    "#,
    );
}

#[test]
fn consumers_wait_for_their_group() {
    check(
        r#"
        XGROUP CREATE jobs g $ MKSTREAM                            => OK
        @a XREADGROUP GROUP g a BLOCK 0 STREAMS jobs >             => (silence)
        INFO clients                                               => (soon) '…blocked_clients:1…'
        @b XREADGROUP GROUP g b COUNT 1 BLOCK 0 STREAMS jobs >     => (silence)
        INFO clients                                               => (soon) '…blocked_clients:2…'
        XADD jobs 1-0 n 1                                          => '1-0'
        XADD jobs 2-0 n 2                                          => '2-0'
        @a PING                                                    => [['jobs', [['1-0', ['n', '1']]]]] || {'jobs': [['1-0', ['n', '1']]]}
        @b PING                                                    => [['jobs', [['2-0', ['n', '2']]]]] || {'jobs': [['2-0', ['n', '2']]]}
        XPENDING jobs g                                            => [2, '1-0', '2-0', [['a', '1'], ['b', '1']]]
        @c XREADGROUP GROUP g c BLOCK 0 STREAMS jobs >             => (silence)
        INFO clients                                               => (soon) '…blocked_clients:1…'
        XGROUP DESTROY jobs g                                      => 1
        @c PING                                                    => NOGROUP No such key 'jobs' or consumer group 'g' in XREADGROUP with GROUP option
        XGROUP CREATE jobs g $                                     => OK
        @d XREADGROUP GROUP g d BLOCK 0 STREAMS jobs >             => (silence)
        INFO clients                                               => (soon) '…blocked_clients:1…'
        DEL jobs                                                   => 1
        @d PING                                                    => NOGROUP No such key 'jobs' or consumer group 'g' in XREADGROUP with GROUP option
        XGROUP CREATE jobs g $ MKSTREAM                            => OK
        @e XREADGROUP GROUP g e BLOCK 0 STREAMS jobs >             => (silence)
        INFO clients                                               => (soon) '…blocked_clients:1…'
        PEXPIRE jobs 50                                            => 1
        @e PING                                                    => NOGROUP No such key 'jobs' or consumer group 'g' in XREADGROUP with GROUP option
        XGROUP CREATE jobs g $ MKSTREAM                            => OK
        @f XREADGROUP GROUP g f BLOCK 0 STREAMS jobs >             => (silence)
        INFO clients                                               => (soon) '…blocked_clients:1…'
        SET jobs v                                                 => OK
        @f PING                                                    => WRONGTYPE Operation against a key holding the wrong kind of value
    "#,
    );
}
