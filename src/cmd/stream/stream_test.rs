//! Scenarios of the stream family. Replies were taken from Redis 7.0; those of XDELEX, XACKDEL and ACKED follow the
//! documentation of Redis 8.2.

use crate::cmd::command::{Flow, Wait, Woken};
use crate::cmd::testkit::{Client, Line, check};

#[test]
fn entries_are_appended_with_growing_ids() {
    check(
        r#"
        XADD s 1-1 a 1 b 2             => '1-1'
        XADD s 1-* a 3                 => '1-2'
        XADD s 2 c 4                   => '2-0'
        XADD s 2-0 a 1                 => ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 1-9 a 1                 => ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD s 0-0 a 1                 => ERR The ID specified in XADD must be greater than 0-0
        XADD s x-1 a 1                 => ERR Invalid stream ID specified as stream command argument
        XADD s 3-1 a                   => ERR wrong number of arguments for 'xadd' command
        XADD s 3-1 a 1 b               => ERR wrong number of arguments for 'xadd' command
        XADD s MAXLEN x 3-1 a 1        => ERR value is not an integer or out of range
        XADD s MAXLEN -1 3-1 a 1       => ERR The MAXLEN argument must be >= 0.
        XADD s MAXLEN 1 MINID 1 3-1 a 1 => ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s LIMIT 3 3-1 a 1         => ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD s MAXLEN = 3 LIMIT 3 3-1 a 1 => ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s MAXLEN ~ 3 LIMIT -1 3-1 a 1 => ERR The LIMIT argument must be >= 0.
        XADD none NOMKSTREAM 1-1 a 1   => (nil)
        XLEN none                      => 0
        XLEN s                         => 3
        XRANGE s - +                   => [['1-1', ['a', '1', 'b', '2']], ['1-2', ['a', '3']], ['2-0', ['c', '4']]]
        TYPE s                         => stream
        OBJECT ENCODING s              => 'stream'
        SET str x                      => OK
        XADD str 1-1 a 1               => WRONGTYPE Operation against a key holding the wrong kind of value
        XLEN str                       => WRONGTYPE Operation against a key holding the wrong kind of value
        XADD top 18446744073709551615-18446744073709551614 a 1 => '18446744073709551615-18446744073709551614'
        XADD top 18446744073709551615-* a 1 => '18446744073709551615-18446744073709551615'
        XADD top * a 1                 => ERR The stream has exhausted the last possible ID, unable to add more items
        XADD top 18446744073709551615-* a 1 => ERR The stream has exhausted the last possible ID, unable to add more items
    "#,
    );
}

#[test]
fn an_interval_of_ids_is_read_both_ways() {
    check(
        r#"
        SET str x                      => OK
        XADD r 1-0 n 0                 => '1-0'
        XADD r 1-1 n 1                 => '1-1'
        XADD r 2-0 n 2                 => '2-0'
        XADD r 3-0 n 3                 => '3-0'
        XRANGE r - + COUNT 2           => [['1-0', ['n', '0']], ['1-1', ['n', '1']]]
        XRANGE r 1 1                   => [['1-0', ['n', '0']], ['1-1', ['n', '1']]]
        XRANGE r (1-0 (3               => [['1-1', ['n', '1']], ['2-0', ['n', '2']], ['3-0', ['n', '3']]]
        XRANGE r 2 + COUNT 0           => (nil)
        XRANGE r 2 + COUNT -1          => (nil)
        XREVRANGE r + - COUNT 1        => [['3-0', ['n', '3']]]
        XREVRANGE r (3-0 (1-0          => [['2-0', ['n', '2']], ['1-1', ['n', '1']]]
        XRANGE r (18446744073709551615-18446744073709551615 + => ERR invalid start ID for the interval
        XRANGE r - (0-0                => ERR invalid end ID for the interval
        XRANGE r (- +                  => ERR Invalid stream ID specified as stream command argument
        XRANGE r x +                   => ERR Invalid stream ID specified as stream command argument
        XRANGE r - + COUNT             => ERR syntax error
        XRANGE r - + COUNT x           => ERR value is not an integer or out of range
        XRANGE none - +                => []
        XRANGE str - +                 => WRONGTYPE Operation against a key holding the wrong kind of value
    "#,
    );
}

#[test]
fn entries_go_by_id_or_from_the_front() {
    check(
        r#"
        SET str x                      => OK
        XADD r 1-0 n 0                 => '1-0'
        XADD r 1-1 n 1                 => '1-1'
        XADD r 2-0 n 2                 => '2-0'
        XADD r 3-0 n 3                 => '3-0'
        XDEL r 1-1 1-1 9-9             => 1
        XDEL r x                       => ERR Invalid stream ID specified as stream command argument
        XDEL none x                    => 0
        XDEL str 1-1                   => WRONGTYPE Operation against a key holding the wrong kind of value
        XRANGE r - + COUNT 2           => [['1-0', ['n', '0']], ['2-0', ['n', '2']]]
        XSETID r 2-0                   => ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID r 9-0 ENTRIESADDED 1    => ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID r 9-0 MAXDELETEDID 10-0 => ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID r 9-0 ENTRIESADDED -1   => ERR entries_added must be positive
        XSETID r 9-0 ENTRIESADDED 100 MAXDELETEDID 8-0 => OK
        XSETID r 9-0 NOSUCH            => ERR syntax error
        XSETID none 1-1                => ERR no such key
        XINFO STREAM r                 => ['length', 3, 'radix-tree-keys', 1, 'radix-tree-nodes', 2, 'last-generated-id', '9-0', 'max-deleted-entry-id', '8-0', 'entries-added', 100, 'recorded-first-entry-id', '1-0', 'groups', 0, 'first-entry', ['1-0', ['n', '0']], 'last-entry', ['3-0', ['n', '3']]] || {'length': 3, 'radix-tree-keys': 1, 'radix-tree-nodes': 2, 'last-generated-id': '9-0', 'max-deleted-entry-id': '8-0', 'entries-added': 100, 'recorded-first-entry-id': '1-0', 'groups': 0, 'first-entry': ['1-0', ['n', '0']], 'last-entry': ['3-0', ['n', '3']]}
        XTRIM r                        => ERR wrong number of arguments for 'xtrim' command
        XTRIM r MAXLEN                 => ERR wrong number of arguments for 'xtrim' command
        XTRIM r MAXLEN 2               => 1
        XTRIM r MAXLEN ~ 0             => 2
        XTRIM r MINID 3-0              => 0
        XTRIM r NOSUCH 5               => ERR syntax error
        XTRIM r LIMIT 5                => ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XTRIM none MAXLEN 1            => 0
        XTRIM str MAXLEN 1             => WRONGTYPE Operation against a key holding the wrong kind of value
        XRANGE r - +                   => []
        XADD r MAXLEN 1 10-0 n 10      => '10-0'
        XADD r MINID = 11 11-0 n 11    => '11-0'
        XRANGE r - +                   => [['11-0', ['n', '11']]]
    "#,
    );
}

#[test]
fn groups_come_and_go() {
    check(
        r#"
        XGROUP CREATE s g $            => ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP CREATE s g $ MKSTREAM   => OK
        XGROUP CREATE s g $ MKSTREAM   => BUSYGROUP Consumer Group name already exists
        XGROUP CREATE s h x            => ERR Invalid stream ID specified as stream command argument
        XGROUP CREATE s h 0 NOSUCH     => ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE s h 0 ENTRIESREAD -2 => ERR value for ENTRIESREAD must be positive or -1
        XGROUP CREATE s h 0 ENTRIESREAD 1 => OK
        XGROUP SETID s h 0-1           => OK
        XGROUP SETID s nog 0           => NOGROUP No such consumer group 'nog' for key name 's'
        XGROUP SETID none g 0          => ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP SETID s h + ENTRIESREAD 5 => OK
        XGROUP SETID s h 0             => OK
        XGROUP CREATECONSUMER s h c    => 1
        XGROUP CREATECONSUMER s h c    => 0
        XGROUP CREATECONSUMER s nog c  => NOGROUP No such consumer group 'nog' for key name 's'
        XINFO GROUPS s                 => [['name', 'g', 'consumers', 0, 'pending', 0, 'last-delivered-id', '0-0', 'entries-read', (nil), 'lag', 0], ['name', 'h', 'consumers', 1, 'pending', 0, 'last-delivered-id', '0-0', 'entries-read', (nil), 'lag', 0]] || [{'name': 'g', 'consumers': 0, 'pending': 0, 'last-delivered-id': '0-0', 'entries-read': (nil), 'lag': 0}, {'name': 'h', 'consumers': 1, 'pending': 0, 'last-delivered-id': '0-0', 'entries-read': (nil), 'lag': 0}]
        XGROUP DELCONSUMER s h c       => 0
        XGROUP DELCONSUMER s h c       => 0
        XGROUP DESTROY s h             => 1
        XGROUP DESTROY s h             => 0
        XGROUP DESTROY none h          => ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        XGROUP NOSUCH                  => ERR unknown subcommand 'NOSUCH'. Try XGROUP HELP.
        SET str x                      => OK
        XGROUP CREATE str g 0          => WRONGTYPE Operation against a key holding the wrong kind of value
        XINFO GROUPS none              => ERR no such key
        XINFO GROUPS str               => WRONGTYPE Operation against a key holding the wrong kind of value
        XINFO GROUPS s                 => [['name', 'g', 'consumers', 0, 'pending', 0, 'last-delivered-id', '0-0', 'entries-read', (nil), 'lag', 0]] || [{'name': 'g', 'consumers': 0, 'pending': 0, 'last-delivered-id': '0-0', 'entries-read': (nil), 'lag': 0}]
        XINFO CONSUMERS s nog          => NOGROUP No such consumer group 'nog' for key name 's'
        XINFO STREAM s FULL X          => ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM s FULL COUNT x    => ERR value is not an integer or out of range
        XINFO NOSUCH s                 => ERR unknown subcommand 'NOSUCH'. Try XINFO HELP.
    "#,
    );
}

#[test]
fn a_group_shares_its_entries() {
    check(
        r#"
        SET str x                      => OK
        XADD r 1-0 n 1                 => '1-0'
        XADD r 2-0 n 2                 => '2-0'
        XADD r 3-0 n 3                 => '3-0'
        XGROUP CREATE r g 0            => OK
        XREADGROUP GROUP g a COUNT 2 STREAMS r > => [['r', [['1-0', ['n', '1']], ['2-0', ['n', '2']]]]] || {'r': [['1-0', ['n', '1']], ['2-0', ['n', '2']]]}
        XREADGROUP GROUP g b STREAMS r > => [['r', [['3-0', ['n', '3']]]]] || {'r': [['3-0', ['n', '3']]]}
        XREADGROUP GROUP g b STREAMS r > => (nil)
        XREADGROUP GROUP g a STREAMS r 0 => [['r', [['1-0', ['n', '1']], ['2-0', ['n', '2']]]]] || {'r': [['1-0', ['n', '1']], ['2-0', ['n', '2']]]}
        XREADGROUP GROUP g a STREAMS r 1 => [['r', [['2-0', ['n', '2']]]]] || {'r': [['2-0', ['n', '2']]]}
        XDEL r 1-0                     => 1
        XREADGROUP GROUP g a STREAMS r 0 => [['r', [['1-0', (nil)], ['2-0', ['n', '2']]]]] || {'r': [['1-0', (nil)], ['2-0', ['n', '2']]]}
        XREADGROUP GROUP nog a STREAMS r > => NOGROUP No such key 'r' or consumer group 'nog' in XREADGROUP with GROUP option
        XREADGROUP GROUP g a STREAMS none > => NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option
        XREADGROUP GROUP g a STREAMS r $ => ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
        XREADGROUP GROUP g a STREAMS str > => WRONGTYPE Operation against a key holding the wrong kind of value
        XREADGROUP GROUP g a COUNT x STREAMS r > => ERR value is not an integer or out of range
        XREADGROUP GROUP g a BLOCK -1 STREAMS r > => ERR timeout is negative
        XREADGROUP NOACK COUNT 1 STREAMS r s > => ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.
        XREADGROUP COUNT 1 NOACK STREAMS r > => ERR Missing GROUP option for XREADGROUP
        XPENDING r g                   => [3, '1-0', '3-0', [['a', '2'], ['b', '1']]]
        XPENDING r nog                 => NOGROUP No such key 'r' or consumer group 'nog'
        XPENDING r g - + 10 nobody     => []
        XPENDING r g - +               => ERR syntax error
        XPENDING r g - + x             => ERR value is not an integer or out of range
        XPENDING r g IDLE 1 - +        => ERR syntax error
        XPENDING r g x + 10            => ERR Invalid stream ID specified as stream command argument
        XACK r g 1-0 3-0 9-9           => 2
        XACK r nog x                   => 0
        XACK r g x                     => ERR Invalid stream ID specified as stream command argument
        XPENDING r g                   => [1, '2-0', '2-0', [['a', '1']]]
        XINFO GROUPS r                 => [['name', 'g', 'consumers', 2, 'pending', 1, 'last-delivered-id', '3-0', 'entries-read', 3, 'lag', 0]] || [{'name': 'g', 'consumers': 2, 'pending': 1, 'last-delivered-id': '3-0', 'entries-read': 3, 'lag': 0}]
        XCLAIM r g b 0 2-0             => [['2-0', ['n', '2']]]
        XCLAIM r g b 0 2-0 3-0 FORCE JUSTID => ['2-0', '3-0']
        XCLAIM r g b 100000 2-0        => []
        XCLAIM r g b x 2-0             => ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM r g b 0 2-0 NOSUCH      => ERR Unrecognized XCLAIM option 'NOSUCH'
        XCLAIM r g b 0 2-0 IDLE x      => ERR Invalid IDLE option argument for XCLAIM
        XCLAIM r g b 0 2-0 TIME x      => ERR Invalid TIME option argument for XCLAIM
        XCLAIM r g b 0 2-0 RETRYCOUNT x => ERR Invalid RETRYCOUNT option argument for XCLAIM
        XCLAIM r nog b 0 2-0           => NOGROUP No such key 'r' or consumer group 'nog'
        XCLAIM none g b 0 2-0          => NOGROUP No such key 'none' or consumer group 'g'
        XPENDING r g                   => [2, '2-0', '3-0', [['b', '2']]]
        XDEL r 2-0                     => 1
        XAUTOCLAIM r g a 0 0 COUNT 1   => ['3-0', [], ['2-0']]
        XAUTOCLAIM r g a 0 3-0 JUSTID  => ['0-0', ['3-0'], []]
        XAUTOCLAIM r g a 0 0 COUNT 0   => ERR COUNT must be > 0
        XAUTOCLAIM r g a x 0           => ERR Invalid min-idle-time argument for XAUTOCLAIM
        XAUTOCLAIM r g a 0 0 NOSUCH    => ERR syntax error
        XAUTOCLAIM r nog a 0 0         => NOGROUP No such key 'r' or consumer group 'nog'
        XGROUP DELCONSUMER r g a       => 1
        XPENDING r g                   => [0, (nil), (nil), (nil)]
    "#,
    );
}

#[test]
fn streams_are_read_behind_ids() {
    check(
        r#"
        SET str x                      => OK
        XADD a 1-0 n 1                 => '1-0'
        XADD b 2-0 n 2                 => '2-0'
        XREAD STREAMS a b 0 0          => [['a', [['1-0', ['n', '1']]]], ['b', [['2-0', ['n', '2']]]]] || {'a': [['1-0', ['n', '1']]], 'b': [['2-0', ['n', '2']]]}
        XREAD COUNT 1 STREAMS a b 1 0  => [['b', [['2-0', ['n', '2']]]]] || {'b': [['2-0', ['n', '2']]]}
        XREAD STREAMS a b $ 5          => (nil)
        XREAD STREAMS a b 0            => ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
        XREAD STREAMS a >              => ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        XREAD STREAMS a x              => ERR Invalid stream ID specified as stream command argument
        XREAD STREAMS str 0            => WRONGTYPE Operation against a key holding the wrong kind of value
        XREAD GROUP g c STREAMS a 0    => ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        XREAD NOACK STREAMS a 0        => ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREAD COUNT 1 BLOCK 5          => ERR syntax error
        XREAD BLOCK x STREAMS a 0      => ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS a 0     => ERR timeout is negative
        XREAD STREAMS a b + +           => [['a', [['1-0', ['n', '1']]]], ['b', [['2-0', ['n', '2']]]]] || {'a': [['1-0', ['n', '1']]], 'b': [['2-0', ['n', '2']]]}
    "#,
    );
}

#[test]
fn entries_are_deleted_with_regard_to_groups() {
    check(
        r#"
        XDELEX none IDS 2 1-0 2-0             => [-1, -1]
        XACKDEL none g IDS 1 1-0              => [-1]
        XADD s 1-0 f v                        => '1-0'
        XADD s 2-0 f v                        => '2-0'
        XADD s 3-0 f v                        => '3-0'
        XACKDEL s g IDS 1 1-0                 => [-1]
        XACKDEL s g IDS 1 x                   => [-1]
        XDELEX none IDS 1 x                   => [-1]
        XADD free 1-0 f v                     => '1-0'
        XADD free 2-0 f v                     => '2-0'
        XDELEX free ACKED IDS 2 1-0 9-9       => [1, -1]
        XTRIM free MAXLEN 0 ACKED             => 1
        SET string x                          => OK
        XDELEX string NOSUCH IDS 1 x          => WRONGTYPE Operation against a key holding the wrong kind of value
        XACKDEL string g NOSUCH IDS 1 x       => WRONGTYPE Operation against a key holding the wrong kind of value
        XGROUP CREATE s g 0                   => OK
        XGROUP CREATE s h 0                   => OK
        XDELEX s ACKED IDS 3 1-0 0-1 9-9      => [2, 2, 2]
        XDELEX s IDS abc 1-1                  => ERR Number of IDs must be a positive integer
        XDELEX s IDS 0 1-1                    => ERR Number of IDs must be a positive integer
        XDELEX s IDS 3 1-1 2-2                => ERR The `numids` parameter must match the number of arguments
        XDELEX s IDS 1 1-1 2-2                => ERR syntax error
        XDELEX s KEEPREF DELREF IDS 1 1-1     => ERR syntax error
        XDELEX s IDS 1 x                      => ERR Invalid stream ID specified as stream command argument
        XACKDEL s g IDS 3 1-1 2-2             => ERR The `numids` parameter must match the number of arguments
        XREADGROUP GROUP g c STREAMS s >      => *
        XREADGROUP GROUP h c STREAMS s >      => *
        XACKDEL s g ACKED IDS 2 1-0 2-0       => [2, 2]
        XACKDEL s h ACKED IDS 1 1-0           => [1]
        XACKDEL s h IDS 1 2-0                 => [1]
        XLEN s                                => 1
        XDELEX s ACKED IDS 1 3-0              => [2]
        XDELEX s DELREF IDS 1 3-0             => [1]
        XPENDING s g                          => [0, (nil), (nil), (nil)]
        XPENDING s h                          => [0, (nil), (nil), (nil)]
    "#,
    );
}

#[test]
fn trimming_may_respect_or_remove_references() {
    check(
        r#"
        XADD s 1-0 f v                                 => '1-0'
        XADD s 2-0 f v                                 => '2-0'
        XADD s 3-0 f v                                 => '3-0'
        XGROUP CREATE s g 0                            => OK
        XADD s MAXLEN = 1 ACKED 4-0 f v                => '4-0'
        XLEN s                                         => 4
        XREADGROUP GROUP g c COUNT 1 STREAMS s >       => *
        XACK s g 1-0                                   => 1
        XADD s ACKED MAXLEN 1 5-0 f v                  => '5-0'
        XLEN s                                         => 4
        XREADGROUP GROUP g c STREAMS s >               => *
        XTRIM s MAXLEN 3 DELREF                        => 1
        XPENDING s g                                   => [3, '3-0', '5-0', [['c', '3']]]
        XTRIM s MINID 9 ACKED                          => 0
        XACK s g 4-0 5-0                               => 2
        XTRIM s MINID 9 ACKED                          => 2
        XTRIM s MAXLEN 0 KEEPREF DELREF                => ERR syntax error
    "#,
    );
}

#[test]
fn approximate_trimming_removes_whole_blocks() {
    let mut client = Client::new();
    for number in 1..=1000 {
        client.run_line(&format!("XADD s MAXLEN ~ 555 * n {number}"));
    }
    assert_eq!(client.run_line("XLEN s"), "600");
    assert_eq!(client.run_line("XTRIM s MAXLEN ~ 0 LIMIT 250"), "200");
    client.run_line("CONFIG SET stream-node-max-entries 10");
    for number in 1..=100 {
        client.run_line(&format!("XADD t * n {number}"));
    }
    assert_eq!(client.run_line("XTRIM t MAXLEN ~ 85"), "10");
}

#[test]
fn a_reader_that_waits_keeps_what_dollar_stood_for() {
    let mut client = Client::new();
    client.run_line("XADD s 1-0 n 1");
    let line = Line::new("XREAD BLOCK 0 STREAMS s $");
    assert_eq!(client.run(&line).1, Flow::Park(Wait::Event { until: None }));
    client.run_line("XADD s 2-0 n 2");
    client.session.woken = Some(Woken::Event { until: None });
    let (reply, flow) = client.run(&line);
    assert_eq!((crate::cmd::testkit::render(&reply).as_str(), flow), ("[['s', [['2-0', ['n', '2']]]]]", Flow::Done));
    client.session.woken = Some(Woken::TimedOut);
    assert_eq!(client.run_line("XREAD BLOCK 0 STREAMS s 2-0"), "(nil)");
}
