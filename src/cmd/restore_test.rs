//! Values and data sets that leave and come back: DUMP, RESTORE, SAVE, DEBUG RELOAD.

use super::testkit::{Client, Line, check_on};
use crate::admin::params::Id;
use crate::base::crc64::crc64;
use std::os::unix::ffi::OsStrExt;

/// One key of every type and form.
const EVERYTHING: &str = "
    SET int 12345 => OK
    SET wide 9223372036854775807 => OK
    SET short hello => OK
    SETRANGE long 70000 x => 70001
    APPEND raw abc => 3
    RPUSH list 1 two 3.5 -77777777777 => 4
    RPUSH chunks \"\" a b c d e f g h => 9
    SADD ints 1 -70000 5000000000 => 3
    SADD pack a 1 b => 3
    SADD table 1 2 3 4 5 6 7 a => 8
    HSET fields a 1 b 2 => 2
    HSET many a 1 b 2 c 3 d 4 e 5 f 6 => 6
    HSET timed a 1 b 2 => 2
    HPEXPIRE timed 500000 FIELDS 1 a => [1]
    HSET timedtable a 1 b 2 c 3 d 4 e 5 f 6 => 6
    HPEXPIRE timedtable 500000 FIELDS 2 a c => [1, 1]
    ZADD scores 1 a 2.5 b -inf c => 3
    ZADD tree 1 a 1.5 b 3 c +inf d 5 e 6 f => 6
    XADD stream 1-1 a 1 b 2 => '1-1'
    XADD stream 1-2 a 3 b four => '1-2'
    XADD stream 2-0 c 5 => '2-0'
    XDEL stream 1-2 => 1
    XGROUP CREATE stream g 0 => OK
    XREADGROUP GROUP g me COUNT 1 STREAMS stream > => *
    XGROUP CREATECONSUMER stream g you => 1
    SET volatile x PX 500000 => OK
";

fn client() -> Client {
    let client = Client::new();
    client.world.keyspace.now.stop();
    let set = |name: &[u8], value: &[u8]| client.world.config.set(&[(name, value)]).unwrap();
    for name in
        ["set-max-listpack-entries", "set-max-intset-entries", "hash-max-listpack-entries", "zset-max-listpack-entries"]
    {
        set(name.as_bytes(), b"5");
    }
    set(b"list-max-listpack-size", b"4");
    client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &["yes".into()]).unwrap();
    client
}

/// The bytes of a bulk reply.
fn bulk(reply: &[u8]) -> Vec<u8> {
    let start = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

#[test]
fn what_was_dumped_is_restored_as_it_was() {
    let mut client = client();
    check_on(&mut client, EVERYTHING);
    let names: Vec<&str> = EVERYTHING.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    for name in names.into_iter().filter(|&name| !["CREATE", "CREATECONSUMER", "GROUP"].contains(&name)) {
        let seen = |client: &mut Client, name: &str| {
            let digest = client.run_line(&format!("DEBUG DIGEST-VALUE {name}"));
            (digest, client.run_line(&format!("OBJECT ENCODING {name}")))
        };
        let before = seen(&mut client, name);
        let payload = bulk(&client.raw(&format!("DUMP {name}")));
        let ttl = client.run_line(&format!("PTTL {name}")).parse().unwrap_or(0).max(0).to_string();
        let line = [b"RESTORE", name.as_bytes(), ttl.as_bytes(), &payload, b"REPLACE"];
        assert_eq!(client.run(&Line::of(&line)).0, b"+OK\r\n", "{name}");
        let mut after = seen(&mut client, name);
        if name == "raw" {
            after.1 = before.1.clone(); // A short string is `embstr` again, as in Redis.
        }
        assert_eq!(after, before, "{name}");
        for at in 0..payload.len().min(200) {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            let line = [&b"RESTORE"[..], b"other", b"0", &damaged];
            assert_eq!(client.run(&Line::of(&line)).0, b"-ERR DUMP payload version or checksum are wrong\r\n");
        }
    }
    check_on(
        &mut client,
        "
        XINFO STREAM stream => ['length', 2, 'radix-tree-keys', 1, 'radix-tree-nodes', 2, 'last-generated-id', '2-0', 'max-deleted-entry-id', '1-2', 'entries-added', 3, 'recorded-first-entry-id', '1-1', 'groups', 1, 'first-entry', ['1-1', ['a', '1', 'b', '2']], 'last-entry', ['2-0', ['c', '5']]]
        XPENDING stream g => [1, '1-1', '1-1', [['me', '1']]]
        HPTTL timed FIELDS 2 a b => [500000, -1]
        ",
    );
}

/// A payload of this body, as a server of RDB version 9 would end it.
fn of_version_9(mut body: Vec<u8>) -> Vec<u8> {
    body.extend(9u16.to_le_bytes());
    let sum = crc64(0, &body);
    body.extend(sum.to_le_bytes());
    body
}

#[test]
fn groups_of_streams_from_before_version_7_know_what_they_have_read_if_it_can_be_told() {
    let mut client = client();
    client.world.config.set(&[(b"rdbcompression", b"no")]).unwrap();
    check_on(&mut client, "XADD s 5-0 a 1 => '5-0'\n XADD s 6-0 a 2 => '6-0'");
    let payload = bulk(&client.raw("DUMP s"));
    // Type, one node, its key of 16 bytes, its entries: less than 64 bytes, so one byte says how many.
    let node_end = 20 + payload[19] as usize;
    let mut old = vec![15];
    old.extend(&payload[1..node_end]);
    old.extend([2, 6, 0, 2]); // Entries, last id, groups; of each the name, the last id, nothing pending, no consumers.
    old.extend(b"\x02g1\x05\x00\x00\x00");
    old.extend(b"\x02g2\x00\x00\x00\x00");
    let line = [&b"RESTORE"[..], b"old", b"0", &of_version_9(old)];
    assert_eq!(client.run(&Line::of(&line)).0, b"+OK\r\n");
    check_on(
        &mut client,
        "
        XINFO GROUPS old => [['name', 'g1', 'consumers', 0, 'pending', 0, 'last-delivered-id', '5-0', 'entries-read', 1, 'lag', 1], ['name', 'g2', 'consumers', 0, 'pending', 0, 'last-delivered-id', '0-0', 'entries-read', 0, 'lag', 2]]
        ",
    );
}

#[test]
fn options_of_restore_are_checked_first() {
    let mut client = client();
    check_on(
        &mut client,
        "
        DUMP none => (nil)
        SET k v => OK
        RESTORE k 0 bytes => BUSYKEY Target key name already exists.
        RESTORE k 0 bytes REPLACE => ERR DUMP payload version or checksum are wrong
        RESTORE-ASKING other 0 bytes => ERR DUMP payload version or checksum are wrong
        RESTORE other -1 bytes => ERR Invalid TTL value, must be >= 0
        RESTORE other x bytes => ERR value is not an integer or out of range
        RESTORE other 0 bytes IDLETIME -1 => ERR Invalid IDLETIME value, must be >= 0
        RESTORE other 0 bytes FREQ 256 => ERR Invalid FREQ value, must be >= 0 and <= 255
        RESTORE other 0 bytes FREQ 1 IDLETIME 1 => ERR syntax error
        RESTORE other 0 bytes what => ERR syntax error
        ",
    );
    client.listen(b"KA");
    let payload = bulk(&client.raw("DUMP k"));
    let mut restore = |words: &[&[u8]]| {
        let line: Vec<&[u8]> = [&b"RESTORE"[..], b"n"].into_iter().chain(words.iter().copied()).collect();
        let reply = client.run(&Line::of(&line)).0;
        (String::from_utf8_lossy(&reply).trim_end().to_string(), client.events(), client.run_line("PTTL n"))
    };
    let seen = |reply: &str, events: &str, ttl: &str| (reply.to_string(), events.to_string(), ttl.to_string());
    assert_eq!(restore(&[b"9000", &payload, b"IDLETIME", b"77"]), seen("+OK", "restore n", "9000"));
    assert_eq!(restore(&[b"1", &payload, b"ABSTTL", b"REPLACE"]), seen("+OK", "del n", "-2"));
    assert_eq!(restore(&[b"1", &payload, b"ABSTTL"]), seen("+OK", "", "-2"));
    assert_eq!(restore(&[b"0", &payload, b"IDLETIME", b"77"]).0, "+OK");
    assert_eq!(client.run_line("OBJECT IDLETIME n"), "77");
}

#[test]
fn a_data_set_is_saved_and_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.rdb");
    let mut client = client();
    client.world.config.set_text(Id::DBFILENAME, path.as_os_str().as_bytes());
    check_on(&mut client, EVERYTHING);
    check_on(
        &mut client,
        "
        SELECT 3 => OK
        SET elsewhere 1 => OK
        FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function() return 1 end)\" => 'one'
        ",
    );
    let digest = client.run_line("DEBUG DIGEST");
    check_on(
        &mut client,
        "
        SAVE => OK
        DEBUG RELOAD => OK
        SET new 1 => OK
        FUNCTION FLUSH => OK
        DEBUG RELOAD NOSAVE NOFLUSH => ERR Error trying to load the RDB dump, check server logs.
        DEBUG RELOAD NOSAVE NOFLUSH MERGE => OK
        GET new => '1'
        DEBUG RELOAD NOSAVE => OK
        GET new => (nil)
        FUNCTION STATS => *
        DEBUG RELOAD what => ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.
        LASTSAVE => *
        ",
    );
    assert_eq!(client.run_line("DEBUG DIGEST"), digest);
    assert!(client.run_line("FUNCTION LIST").contains("one"));
    let file = std::fs::read(&path).unwrap();
    for cut in [0, 9, file.len() / 2, file.len() - 1] {
        std::fs::write(&path, &file[..cut]).unwrap();
        check_on(&mut client, "DEBUG RELOAD NOSAVE MERGE => ERR Error trying to load the RDB dump, check server logs.");
    }
}
