//! Scenarios of the HyperLogLog family. Replies were taken from Redis 7.0.

use super::testkit::{Client, Line, check, check_on};
use crate::base::prng::Prng;

#[test]
fn elements_are_counted() {
    check(
        r#"
        PFADD h                  => 1
        PFADD h                  => 0
        PFCOUNT h                => 0
        PFADD h a b c            => 1
        PFADD h a b c            => 0
        PFADD h ""               => 1
        PFCOUNT h                => 4
        PFCOUNT h                => 4
        TYPE h                   => string
        OBJECT ENCODING h        => 'raw'
        PFCOUNT none             => 0
        PFADD g c d              => 1
        PFCOUNT h g none         => 5
        PFCOUNT none none        => 0
        EXPIRE h 100             => 1
        PFADD h x                => 1
        PFMERGE h g              => OK
        PFCOUNT h                => 6
        TTL h                    => 100
    "#,
    );
}

#[test]
fn merging_makes_the_destination() {
    check(
        "
        PFMERGE d none           => OK
        EXISTS d                 => 1
        PFCOUNT d                => 0
        PFADD a 1 2 3            => 1
        PFADD b 3 4              => 1
        PFMERGE d a b a          => OK
        PFCOUNT d                => 4
        PFDEBUG ENCODING d       => sparse
        PFDEBUG TODENSE b        => 1
        PFDEBUG TODENSE b        => 0
        PFMERGE d b              => OK
        PFDEBUG ENCODING d       => dense
        PFCOUNT d                => 4
        PFMERGE d                => OK
        PFCOUNT a b d            => 4
    ",
    );
}

#[test]
fn the_kept_count_is_in_the_header() {
    check(
        r#"
        PFADD h a b c            => 1
        GETRANGE h 15 15         => '\x80'
        PFCOUNT h                => 3
        GETRANGE h 8 15          => '\x03\x00\x00\x00\x00\x00\x00\x00'
        PFADD h a b c            => 0
        GETRANGE h 15 15         => '\x00'
        PFADD h 1 2 3            => 1
        GETRANGE h 15 15         => '\x80'
    "#,
    );
}

#[test]
fn runs_and_registers_are_shown() {
    check(
        "
        PFADD h a b c            => 1
        PFDEBUG DECODE h         => 'Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603'
        PFDEBUG ENCODING h       => sparse
        PFDEBUG DECODE none      => ERR The specified key does not exist
        PFDEBUG NOTHING h        => ERR Unknown PFDEBUG subcommand 'NOTHING'
        PFDEBUG TODENSE h        => 1
        STRLEN h                 => 12304
        PFDEBUG DECODE h         => ERR HLL encoding is not sparse
        PFDEBUG GETREG none      => ERR The specified key does not exist
        PFSELFTEST               => OK
    ",
    );
    let mut client = Client::new();
    check_on(&mut client, "PFADD h a b c => 1");
    assert!(client.raw("PFDEBUG GETREG h").starts_with(b"*16384\r\n:0\r\n"));
    check_on(&mut client, "PFDEBUG ENCODING h => dense");
}

#[test]
fn what_is_no_hyperloglog_is_refused() {
    check(
        r#"
        SET s bar                => OK
        PFADD s 1                => WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT s                => WRONGTYPE Key is not a valid HyperLogLog string value.
        PFCOUNT none s           => WRONGTYPE Key is not a valid HyperLogLog string value.
        PFMERGE d s              => WRONGTYPE Key is not a valid HyperLogLog string value.
        PFDEBUG ENCODING s       => WRONGTYPE Key is not a valid HyperLogLog string value.
        SET n 12                 => OK
        PFCOUNT n                => WRONGTYPE Key is not a valid HyperLogLog string value.
        RPUSH l a                => 1
        PFADD l 1                => WRONGTYPE Operation against a key holding the wrong kind of value
        PFCOUNT l                => WRONGTYPE Operation against a key holding the wrong kind of value
        PFMERGE d l              => WRONGTYPE Operation against a key holding the wrong kind of value
        EXISTS d                 => 0
        PFADD h a b c            => 1
        APPEND h hello           => 32
        PFCOUNT h                => INVALIDOBJ Corrupted HLL object detected
        PFCOUNT h none           => INVALIDOBJ Corrupted HLL object detected
        PFMERGE d h              => INVALIDOBJ Corrupted HLL object detected
        PFDEBUG TODENSE h        => INVALIDOBJ Corrupted HLL object detected
        SETRANGE h 4 x           => 32
        PFCOUNT h                => WRONGTYPE Key is not a valid HyperLogLog string value.
    "#,
    );
}

#[test]
fn a_limit_on_the_sparse_form_is_obeyed() {
    let mut client = Client::new();
    check_on(
        &mut client,
        "
        PFADD h a b c d e d g h i j k      => 1
        PFDEBUG ENCODING h                 => sparse
        CONFIG SET hll-sparse-max-bytes 30 => OK
        PFADD h new_element                => 1
        PFDEBUG ENCODING h                 => dense
    ",
    );
    let (mut prng, mut elements) = (Prng::seeded(5), Vec::new());
    for _ in 0..300 {
        elements.push(prng.next_u64().to_string());
    }
    let words: Vec<&[u8]> = [&b"PFADD"[..], b"big"].into_iter().chain(elements.iter().map(|e| e.as_bytes())).collect();
    assert_eq!(client.run(&Line::of(&words)).0, b":1\r\n");
    check_on(&mut client, "STRLEN big => 12304");
}
