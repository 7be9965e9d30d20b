//! Bitmaps: scenarios over sockets. The finer points of each command are scenarios beside the handlers in `src/cmd`.

use crate::harness::check;

#[test]
fn bits_are_set_counted_and_found() {
    check(
        r#"
        SETBIT k 7 1                => 0
        @b SETBIT k 100000 1        => 0
        STRLEN k                    => 12501
        BITCOUNT k                  => 2
        BITCOUNT k 0 0              => 1
        BITCOUNT k 8 100000 BIT     => 1
        BITPOS k 1                  => 7
        BITPOS k 1 1                => 100000
        @b GETBIT k 100000          => 1
        SETBIT k 7 0                => 1
        OBJECT ENCODING k           => 'raw'
    "#,
    );
}

#[test]
fn bitmaps_of_every_size_are_combined() {
    check(
        r#"
        SETBIT a 3 1                => 0
        SETBIT b 400000 1           => 0
        SETBIT b 3 1                => 0
        BITOP AND d a b             => 50001
        BITCOUNT d                  => 1
        BITOP OR d a b nokey        => 50001
        BITCOUNT d                  => 2
        BITOP XOR d a b             => 50001
        BITPOS d 1                  => 400000
        BITOP DIFF d b a            => 50001
        BITPOS d 1                  => 400000
        BITOP ONE d a b             => 50001
        BITCOUNT d                  => 1
        BITOP NOT d a               => 1
        GET d                       => '\xef'
        EXPIRE d 100                => 1
        BITOP AND d a a             => 1
        TTL d                       => -1
        BITOP OR d nokey            => 0
        EXISTS d                    => 0
    "#,
    );
}

#[test]
fn bitfields_hold_integers_of_any_width() {
    check(
        "
        BITFIELD k SET u63 1 9223372036854775807 GET i64 0           => [0, 9223372036854775807]
        BITFIELD k OVERFLOW SAT INCRBY i8 #0 100 INCRBY i8 #0 100     => [127, 127]
        BITFIELD k OVERFLOW FAIL INCRBY u2 100 3 INCRBY u2 100 1      => [3, (nil)]
        @b BITFIELD_RO k GET u2 100 GET u8 1000000                    => [3, 0]
        EXPIRE k 100                                                  => 1
        BITFIELD k SET i5 7 -3                                        => *
        TTL k                                                         => 100
    ",
    );
}
