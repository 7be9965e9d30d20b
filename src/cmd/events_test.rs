//! What listeners hear of each command: `COMMAND => events`.

use super::testkit::Client;

/// Runs a scenario of lines `COMMAND => name key, name key`; nothing behind the arrow: no event.
fn check(scenario: &str) {
    let mut client = Client::new();
    client.world.keyspace.now.stop();
    client.listen(b"KEAnm");
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, expected) = line.rsplit_once("=>").unwrap_or_else(|| panic!("no => in: {line}"));
        let reply = client.run_line(command.trim());
        assert_eq!(client.events(), expected.trim(), "{line}\n    reply {reply}");
    }
}

#[test]
fn strings() {
    check(
        "
        SET k v => new k, set k
        SET k v EX 100 => set k, expire k
        SET k v NX =>
        SET absent v XX =>
        SET fresh 1 GET => keymiss fresh, new fresh, set fresh
        GET k =>
        GET nosuch => keymiss nosuch
        GETEX k PERSIST => persist k
        GETEX k PERSIST =>
        GETEX k EX 10 => expire k
        GETEX k PXAT 1 => del k
        GETDEL fresh => del fresh
        GETDEL fresh => keymiss fresh
        SETEX k 10 v => new k, set k, expire k
        APPEND k w => append k
        SETRANGE k 0 '' =>
        SETRANGE k 1 x => setrange k
        INCR n => new n, incrby n
        DECRBY n 3 => incrby n
        INCR k =>
        INCRBYFLOAT n 1.5 => incrbyfloat n
        MSET a 1 b 2 a 3 => new a, set a, new b, set b, set a
        MSETNX a 1 c 2 =>
        MSETNX c 1 d 2 => new c, set c, new d, set d
        MGET a nosuch c other => keymiss nosuch, keymiss other
        SET past v PXAT 1 => set past, expire past, expired past
        SETBIT bits 7 1 => new bits, setbit bits
        SETBIT bits 7 1 =>
        BITFIELD bits INCRBY u8 0 1 => setbit bits
        BITOP NOT copy bits => new copy, set copy
        BITOP AND copy nosuch => keymiss nosuch, del copy
        PFADD hll a => new hll, pfadd hll
        PFADD hll a =>
        PFMERGE hll2 hll => keymiss hll2, new hll2, pfadd hll2
    ",
    );
}

#[test]
fn keys_of_any_type() {
    check(
        "
        MSET a 1 b 2 => new a, set a, new b, set b
        DEL a a nosuch => del a
        UNLINK b => del b
        SET a 1 => new a, set a
        EXISTS a nosuch => keymiss nosuch
        EXPIRE a 100 => expire a
        EXPIRE a 50 GT =>
        PERSIST a => persist a
        PERSIST a =>
        RENAME a b => new b, rename_from a, rename_to b
        RENAME b b =>
        COPY b c => new c, copy_to c
        COPY b c =>
        COPY b c REPLACE => new c, copy_to c
        COPY nosuch c => keymiss nosuch
        MOVE c 3 => 3 new c, move_from c, 3 move_to c
        EXPIRE b -1 => del b
        FLUSHALL =>
    ",
    );
}

#[test]
fn lists() {
    check(
        "
        RPUSH l a b c d => new l, rpush l
        LPUSH l z => lpush l
        LPUSHX nosuch z =>
        LSET l 0 y => lset l
        LINSERT l BEFORE a x => linsert l
        LINSERT l BEFORE nosuch x =>
        LREM l 0 nosuch =>
        LREM l 0 x => lrem l
        LTRIM l 0 3 => ltrim l
        LTRIM l 0 3 => ltrim l
        LPOP l 0 =>
        LPOP l => lpop l
        RPOP l 2 => rpop l
        LMOVE l l LEFT RIGHT => rpush l, lpop l
        LMOVE l m LEFT LEFT => new m, lpush m, lpop l, del l
        LMPOP 2 l m RIGHT => rpop m, del m
        RPUSH l a => new l, rpush l
        BLPOP x l 0 => lpop l, del l
        RPUSH l 2 1 => new l, rpush l
        SORT l STORE s => new s, sortstore s
        SORT nosuch STORE s => keymiss nosuch, del s
        LTRIM l 5 0 => ltrim l, del l
    ",
    );
}

#[test]
fn sets() {
    check(
        "
        SADD s a b c => new s, sadd s
        SADD s a =>
        SREM s nosuch =>
        SREM s a => srem s
        SMOVE s t b => srem s, new t, sadd t
        SMOVE s t c => srem s, del s, sadd t
        SUNIONSTORE u t nosuch => keymiss nosuch, new u, sunionstore u
        SINTERSTORE u t => sinterstore u
        SDIFFSTORE u t t => del u
        SDIFFSTORE u t t =>
        SPOP t => spop t
        SPOP t 0 =>
        SPOP t 5 => spop t, del t
        SREM t a =>
    ",
    );
}

#[test]
fn hashes() {
    check(
        "
        HSET h a 1 b 2 => new h, hset h
        HSETNX h a 1 =>
        HSETNX h c 1 => hset h
        HINCRBY h a 1 => hincrby h
        HINCRBYFLOAT h a 1 => hincrbyfloat h
        HDEL h nosuch =>
        HDEL h a b => hdel h
        HDEL h c => hdel h, del h
        HSET h a 1 b 2 c 3 d 4 e 5 => new h, hset h
        HEXPIRE h 100 FIELDS 2 a nosuch => hexpire h
        HPERSIST h FIELDS 1 a => hpersist h
        HPERSIST h FIELDS 1 a =>
        HPEXPIREAT h 1 FIELDS 1 b => hdel h
        HGETEX h EX 10 FIELDS 1 c => hexpire h
        HGETEX h PERSIST FIELDS 1 c => hpersist h
        HGETDEL h FIELDS 1 c => hdel h
        HSETEX h EX 10 FIELDS 1 f v => hset h, hexpire h
        HGETDEL h FIELDS 4 a d e f => hdel h, del h
        HGET h a => keymiss h
    ",
    );
}

#[test]
fn sorted_sets() {
    check(
        "
        ZADD z 1 a 2 b 3 c 4 d 5 e 6 f => new z, zadd z
        ZADD z 1 a =>
        ZADD z XX 7 f => zadd z
        ZADD z INCR 1 f => zincr z
        ZINCRBY z 1 f => zincr z
        ZREM z nosuch =>
        ZREM z f => zrem z
        ZPOPMIN z => zpopmin z
        ZPOPMAX z 0 =>
        ZMPOP 2 nosuch z MAX => zpopmax z
        ZRANGESTORE y z 0 0 => new y, zrangestore y
        ZUNIONSTORE x 2 z y => new x, zunionstore x
        ZINTERSTORE x 2 z nosuch => keymiss nosuch, del x
        ZDIFFSTORE x 1 z => new x, zdiffstore x
        ZREMRANGEBYRANK z 0 0 => zremrangebyrank z
        ZREMRANGEBYSCORE z 0 0 =>
        ZREMRANGEBYSCORE z 0 9 => zremrangebyscore z, del z
        ZREMRANGEBYLEX x - + => zremrangebylex x, del x
        BZPOPMIN y 0 => zpopmin y, del y
        GEOADD g 1 1 a => new g, zadd g
        GEOSEARCHSTORE f g FROMMEMBER a BYRADIUS 1 km => new f, geosearchstore f
        GEORADIUS g 1 1 1 km STORE f => georadiusstore f
        GEORADIUS g 9 9 1 km STORE f => del f
    ",
    );
}

#[test]
fn streams() {
    check(
        "
        XADD s 1-1 f v => new s, xadd s
        XADD s MAXLEN 1 2-1 f v => xadd s, xtrim s
        XTRIM s MAXLEN 5 =>
        XSETID s 9-9 => xsetid s
        XGROUP CREATE s g 0 => xgroup-create s
        XGROUP CREATE t g $ MKSTREAM => new t, xgroup-create t
        XGROUP SETID s g 0 => xgroup-setid s
        XGROUP CREATECONSUMER s g bob => xgroup-createconsumer s
        XGROUP CREATECONSUMER s g bob =>
        XREADGROUP GROUP g ann STREAMS s > => xgroup-createconsumer s
        XCLAIM s g eve 0 2-1 => xgroup-createconsumer s
        XAUTOCLAIM s g joe 0 - => xgroup-createconsumer s
        XACK s g 2-1 =>
        XGROUP DELCONSUMER s g bob => xgroup-delconsumer s
        XGROUP DESTROY s g => xgroup-destroy s
        XDEL s 2-1 2-2 => xdel s
        XDEL s 2-1 =>
        XREAD STREAMS nosuch 0 => keymiss nosuch
    ",
    );
}

#[test]
fn fields_that_are_met_past_their_deadlines_go_together() {
    let mut client = Client::new();
    client.world.keyspace.now.stop();
    client.listen(b"KEA");
    client.run_line("HSET h a 1 b 2 c 3");
    client.run_line("HPEXPIRE h 10 FIELDS 3 a b c");
    client.world.keyspace.now.advance(20);
    client.events();
    client.run_line("HMGET h a b nosuch");
    assert_eq!(client.events(), "hexpired h", "the others stay until they are met");
    client.run_line("HGET h c");
    assert_eq!(client.events(), "hexpired h, del h");
}
