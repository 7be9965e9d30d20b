//! Scenarios of the bitmap family. Replies were taken from Redis 7.0; DIFF, DIFF1, ANDOR and ONE from Redis 8.2's manual.

use super::testkit::{Client, Line, check};

#[test]
fn setbit_and_getbit_count_from_the_high_bit() {
    check(
        r#"
        SETBIT k 1 1            => 0
        GET k                   => '@'
        SETBIT k 2 1            => 0
        SETBIT k 1 0            => 1
        GET k                   => ' '
        GETBIT k 2              => 1
        GETBIT k 100            => 0
        GETBIT nokey 0          => 0
        SETBIT k 25 0           => 0
        GET k                   => ' \x00\x00\x00'
        SET n 1                 => OK
        SETBIT n 6 1            => 0
        GET n                   => '3'
        SETBIT k x 1            => ERR bit offset is not an integer or out of range
        SETBIT k -1 1           => ERR bit offset is not an integer or out of range
        SETBIT k 4294967296 1   => ERR bit offset is not an integer or out of range
        SETBIT k #1 1           => ERR bit offset is not an integer or out of range
        SETBIT k 0 2            => ERR bit is not an integer or out of range
        SETBIT k 0 x            => ERR bit is not an integer or out of range
        GETBIT k 4294967296     => ERR bit offset is not an integer or out of range
    "#,
    );
}

#[test]
fn bitcount_takes_ranges_of_bytes_and_bits() {
    check(
        r#"
        SET k foobar            => OK
        BITCOUNT k              => 26
        BITCOUNT k 0 0          => 4
        BITCOUNT k 1 1 BYTE     => 6
        BITCOUNT k 5 30 BIT     => 17
        BITCOUNT k -2 -1        => 7
        BITCOUNT k -2 -6        => 0
        BITCOUNT k 4            => 7
        BITCOUNT k 0 -100       => 4
        BITCOUNT nokey          => 0
        BITCOUNT nokey a b      => ERR value is not an integer or out of range
        BITCOUNT nokey 0 1 x    => ERR syntax error
        BITCOUNT k 0 1 BIT x    => ERR syntax error
    "#,
    );
}

#[test]
fn bitpos_finds_the_first_bit_in_a_range() {
    check(
        r#"
        SET k "\xff\xf0\x00"    => OK
        BITPOS k 0              => 12
        BITPOS k 1              => 0
        BITPOS k 1 2            => -1
        BITPOS k 0 2 -1 BYTE    => 16
        BITPOS k 0 7 15 BIT     => 12
        BITPOS k 1 7 15 BIT     => 7
        BITPOS k 0 0 0          => -1
        BITPOS k 0 0 3 BIT      => -1
        SET ones "\xff\xff"     => OK
        BITPOS ones 0           => 16
        BITPOS ones 0 1         => 16
        BITPOS ones 0 0 -1      => -1
        BITPOS ones 0 5         => -1
        SET empty ""            => OK
        BITPOS empty 0          => -1
        BITPOS nokey 0          => 0
        BITPOS nokey 1          => -1
        BITPOS k 2              => ERR The bit argument must be 1 or 0.
        BITPOS k x              => ERR value is not an integer or out of range
        BITPOS k 1 0 5 nonsense => ERR syntax error
        BITPOS nokey 1 a        => ERR value is not an integer or out of range
    "#,
    );
}

#[test]
fn bitop_pads_with_zeros_and_stores_the_result() {
    check(
        r#"
        MSET a "\xf0\x0f" b "\xff" n 1   => OK
        BITOP AND d a b         => 2
        GET d                   => '\xf0\x00'
        BITOP OR d a b          => 2
        GET d                   => '\xff\x0f'
        BITOP XOR d a b nokey   => 2
        GET d                   => '\x0f\x0f'
        BITOP NOT d a           => 2
        GET d                   => '\x0f\xf0'
        BITOP OR d n            => 1
        GET d                   => '1'
        BITOP DIFF d a b        => 2
        GET d                   => '\x00\x0f'
        BITOP DIFF1 d b a       => 2
        GET d                   => '\x00\x0f'
        BITOP ANDOR d b a n     => 2
        GET d                   => '\xf1\x00'
        BITOP ONE d a b         => 2
        GET d                   => '\x0f\x0f'
        BITOP AND a a b         => 2
        GET a                   => '\xf0\x00'
        BITOP AND d nokey other => 0
        GET d                   => (nil)
        BITOP NOT d a b         => ERR BITOP NOT must be called with a single source key.
        BITOP DIFF d a          => ERR BITOP DIFF must be called with at least two source keys.
        BITOP NAND d a          => ERR syntax error
    "#,
    );
}

#[test]
fn bitfield_reads_writes_and_increments() {
    check(
        "
        BITFIELD k                              => []
        BITFIELD k SET i8 #0 255 GET u8 0       => [0, 255]
        BITFIELD k GET i8 0                     => [-1]
        BITFIELD k INCRBY u8 #0 10              => [9]
        BITFIELD k OVERFLOW SAT INCRBY u8 0 300 => [255]
        BITFIELD k OVERFLOW FAIL INCRBY u8 0 1 OVERFLOW WRAP INCRBY u8 0 2 => [(nil), 1]
        BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775808 => [1]
        BITFIELD k GET i8 0                     => [127]
        BITFIELD k GET u5 100 GET i64 4294967232 => [0, 0]
        BITFIELD_RO k GET u8 0                  => [127]
        BITFIELD_RO nokey GET u8 0              => [0]
        BITFIELD_RO k SET u8 0 1                => ERR BITFIELD_RO only supports the GET subcommand
        BITFIELD k OVERFLOW nonsense            => ERR Invalid OVERFLOW type specified
        BITFIELD k GET u64 0                    => ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
        BITFIELD k GET i8 -1                    => ERR bit offset is not an integer or out of range
        BITFIELD k GET i8 #x                    => ERR bit offset is not an integer or out of range
        BITFIELD k SET i8 0 x                   => ERR value is not an integer or out of range
        BITFIELD k GET                          => ERR syntax error
        BITFIELD k SET u8 0 5 NONSENSE          => ERR syntax error
        BITFIELD k GET i8 0                     => [127]
    ",
    );
}

#[test]
fn changes_count_only_if_a_bit_or_the_length_changed() {
    let mut client = Client::new();
    let mut dirty = |command: &str| {
        let before = client.effects.dirty;
        client.run_line(command);
        client.effects.dirty - before
    };
    assert_eq!(dirty("SETBIT k 0 0"), 1);
    assert_eq!(dirty("SETBIT k 0 0"), 0);
    assert_eq!(dirty("SETBIT k 90 0"), 1);
    assert_eq!(dirty("BITFIELD f SET i5 0 0"), 1);
    assert_eq!(dirty("BITFIELD f SET i5 0 0"), 0);
    assert_eq!(dirty("BITFIELD f SET i5 0 1 SET i5 0 2"), 2);
    assert_eq!(dirty("BITFIELD f OVERFLOW FAIL INCRBY u1 100 2"), 0);
    assert_eq!(client_len(&mut client, "f"), "13");
}

fn client_len(client: &mut Client, key: &str) -> String {
    client.run_line(&format!("STRLEN {key}"))
}

#[test]
fn large_bitmaps_work_like_small_ones() {
    let mut client = Client::new();
    assert_eq!(client.run_line("SETBIT k 1000000 1"), "0");
    assert_eq!(client.run_line("BITPOS k 1"), "1000000");
    assert_eq!(client.run_line("BITCOUNT k"), "1");
    client.run(&Line::of(&[b"SET", b"full", &[0xff; 200_000]]));
    assert_eq!(client.run_line("BITOP AND d k full"), "200000");
    assert_eq!(client.run_line("BITCOUNT d"), "1");
    assert_eq!(client.run_line("BITPOS full 0"), "1600000");
    assert_eq!(client.run_line("BITFIELD k GET u2 #500000"), "[2]");
}
