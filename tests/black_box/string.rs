//! Strings: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn a_value_is_read_as_it_was_written() {
    check(
        r#"
        SET k "a\x00b\r\n"    => OK
        GET k                 => 'a\x00b\r\n'
        STRLEN k              => 5
        GETSET k new          => 'a\x00b\r\n'
        GETDEL k              => 'new'
        GET k                 => (nil)
        GETDEL k              => (nil)
    "#,
    );
}

#[test]
fn set_replaces_value_deadline_and_encoding() {
    check(
        "
        SET k 12 EX 100             => OK
        OBJECT ENCODING k           => 'int'
        TTL k                       => 100
        SET k text KEEPTTL          => OK
        OBJECT ENCODING k           => 'embstr'
        TTL k                       => 100
        APPEND k !                  => 5
        OBJECT ENCODING k           => 'raw'
        TTL k                       => 100
        GETEX k PERSIST             => 'text!'
        TTL k                       => -1
        SET k v PXAT 1              => OK
        EXISTS k                    => 0
    ",
    );
}

#[test]
fn a_lock_is_taken_refreshed_and_released_by_its_holder_alone() {
    check(
        "
        SET lock a NX EX 10         => OK
        @b SET lock b NX EX 10      => (nil)
        @b SET lock b IFEQ b EX 30  => (nil)
        SET lock a IFEQ a EX 30     => OK
        TTL lock                    => 30
        @b DELEX lock IFEQ b        => 0
        @b DELIFEQ lock b           => 0
        DIGEST nothing              => (nil)
        DIGEST lock                 => '…'
        DELEX lock IFEQ a           => 1
        @b SET lock b NX            => OK
    ",
    );
}

#[test]
fn counters_keep_their_deadline_and_their_encoding_beyond_62_bits() {
    check(
        "
        SET k 4611686018427387903 EX 100 => OK
        INCR k                           => 4611686018427387904
        @b INCRBY k 4611686018427387903  => 9223372036854775807
        INCR k                           => ERR increment or decrement would overflow
        OBJECT ENCODING k                => 'int'
        TTL k                            => 100
        INCRBYFLOAT k 0                  => '9223372036854775807'
        OBJECT ENCODING k                => 'embstr'
        TTL k                            => 100
    ",
    );
}

#[test]
fn several_keys_are_written_and_read_together() {
    check(
        "
        MSET a 1 b 2 a 3            => OK
        @b MGET a b nokey           => ['3', '2', (nil)]
        MSETNX c 1 a 2              => 0
        EXISTS c                    => 0
        MSETEX 2 c 1 d 2 NX EX 50   => 1
        TTL d                       => 50
        MSETEX 2 c 9 nokey 9 XX     => 0
        @b MGET c d nokey           => ['1', '2', (nil)]
        DBSIZE                      => 4
    ",
    );
}

#[test]
fn the_common_subsequence_is_found() {
    check(
        "
        MSET a ohmytext b mynewtext => OK
        LCS a b                     => 'mytext'
        LCS a b LEN                 => 6
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN => ['matches', [[[4, 7], [5, 8], 4]], 'len', 6] || {'matches': [[[4, 7], [5, 8], 4]], 'len': 6}
    ",
    );
}

#[test]
fn the_older_forms_still_work() {
    check(
        "
        SETEX a 100 hallo           => OK
        TTL a                       => 100
        PSETEX a 200000 Hallo       => OK
        GETRANGE a 1 2              => 'al'
        SUBSTR a -2 -1              => 'lo'
        SET n 10                    => OK
        DECR n                      => 9
        DECRBY n 4                  => 5
    ",
    );
}
