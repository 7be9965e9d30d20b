//! Data that leaves and comes back: payloads and files, between this server, itself and the reference.

use crate::harness::{Client, Random, Server, Value, engines};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A key of every type in every encoding that the reference has, too.
const EVERYTHING: &str = "
    SET int 12345
    SET negative -7
    SET wide 9223372036854775807
    SET short hello
    SETRANGE long 30000 x
    APPEND raw abc
    RPUSH list 1 two 3.5 -77777777777
    EVAL \"for i = 1, 3000 do redis.call('rpush', KEYS[1], 'element ' .. i) end\" 1 chunks
    EVAL \"redis.call('rpush', KEYS[1], 'a', string.rep('b', 20000), 'c')\" 1 plain
    SADD ints 1 -70000 5000000000
    SADD narrow 1 2 3
    SADD pack a 1 b
    EVAL \"for i = 1, 700 do redis.call('sadd', KEYS[1], i) end\" 1 table
    HSET fields a 1 b 2
    EVAL \"for i = 1, 700 do redis.call('hset', KEYS[1], 'f' .. i, i) end\" 1 many
    ZADD scores 1 a 2.5 b -inf c
    EVAL \"for i = 1, 700 do redis.call('zadd', KEYS[1], i / 4, 'm' .. i) end\" 1 tree
    XADD stream 1-1 a 1 b 2
    XADD stream 1-2 a 3 b four
    XADD stream 2-0 c 5
    XDEL stream 1-2
    XGROUP CREATE stream g 0
    XREADGROUP GROUP g me COUNT 1 STREAMS stream >
    XGROUP CREATECONSUMER stream g you
    EVAL \"for i = 1, 400 do redis.call('xadd', KEYS[1], i .. '-1', 'a', i) end\" 1 blocks
    SET volatile x PX 50000000
";

fn fill(client: &mut Client) {
    for line in EVERYTHING.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let reply = client.run(line).to_string();
        assert!(!reply.starts_with("ERR"), "{line}: {reply}");
    }
}

fn digest(client: &mut Client) -> String {
    client.run("DEBUG DIGEST").to_string()
}

/// Keys with their encodings.
fn encodings(client: &mut Client) -> Vec<String> {
    let Value::Array(names) = client.run("KEYS *") else { panic!("no list of keys") };
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let encoding = client.run(&format!("OBJECT ENCODING {}", plain(&name)));
        all.push(format!("{} {}", plain(&name), plain(&encoding)));
    }
    all.sort();
    all
}

fn plain(value: &Value) -> String {
    String::from_utf8_lossy(value.bytes()).into_owned()
}

fn bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Bulk(bytes) => bytes,
        other => panic!("no payload: {other}"),
    }
}

/// A server of ours that begins with the file in `dir`.
fn begun_with(dir: &Path) -> (Server, Client) {
    let server = Server::start(&["--dir", &dir.to_string_lossy()]);
    let mut client = server.client();
    let started = Instant::now();
    while client.run("PING").to_string() != "PONG" {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not end loading");
    }
    (server, client)
}

#[test]
fn payloads_travel_between_this_server_and_the_reference() {
    let (ours, theirs) = (Server::start(&[]), Server::reference());
    let (mut ours, mut theirs) = (ours.client(), theirs.client());
    fill(&mut ours);
    fill(&mut theirs);
    assert_eq!(digest(&mut ours), digest(&mut theirs));
    let names: Vec<String> = encodings(&mut theirs).iter().map(|line| line.split(' ').next().unwrap().into()).collect();
    for name in &names {
        for is_ours in [true, false] {
            let (from, to) = if is_ours { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
            let payload = bytes(from.run(&format!("DUMP {name}")));
            let other = format!("copy:{name}");
            let word: &[u8] = if is_ours { b"RESTORE" } else { b"RESTORE-ASKING" };
            let reply = to.call(&[word, other.as_bytes(), b"0", &payload, b"REPLACE"]);
            assert_eq!(reply.to_string(), "OK", "{name}, ours: {is_ours}");
            from.run(&format!("PERSIST {name}"));
            let value = |client: &mut Client, name: &str| client.run(&format!("DEBUG DIGEST-VALUE {name}")).to_string();
            assert_eq!(value(to, &other), value(from, name), "{name}, ours: {is_ours}");
        }
    }
    assert_eq!(digest(&mut ours), digest(&mut theirs));
}

#[test]
fn files_travel_between_this_server_and_the_reference() {
    let theirs = Server::reference();
    let mut reference = theirs.client();
    fill(&mut reference);
    reference.run("SELECT 5");
    reference.run("SET elsewhere 1");
    reference.run("SELECT 0");
    assert_eq!(reference.run("SAVE").to_string(), "OK");
    let (ours, mut client) = begun_with(theirs.dir.path());
    let expected = digest(&mut reference);
    assert_eq!(digest(&mut client), expected);
    // Sets have one encoding more than in Redis 7.0.
    let but_sets = |all: Vec<String>| all.into_iter().filter(|line| !line.starts_with("pack ")).collect::<Vec<_>>();
    let listpack = |all: Vec<String>| all.join("\n").replace("list quicklist", "list listpack");
    assert_eq!(listpack(but_sets(encodings(&mut client))), listpack(but_sets(encodings(&mut reference))));
    // And back.
    for save in ["SAVE", "BGSAVE"] {
        std::fs::remove_file(theirs.path("dump.rdb")).expect("it was written");
        client.run(save);
        wait_for_save(&mut client);
        let file = theirs.path("dump.rdb");
        let check =
            Command::new("redis-check-rdb").arg(&file).output().expect("redis-check-rdb comes with the reference");
        assert!(check.status.success(), "{save}: {}", String::from_utf8_lossy(&check.stdout));
        reference.run("FLUSHALL");
        assert_eq!(reference.run("DEBUG RELOAD NOSAVE").to_string(), "OK", "{save}");
        assert_eq!(digest(&mut reference), expected, "{save}");
    }
    drop(ours);
}

fn wait_for_save(client: &mut Client) {
    let started = Instant::now();
    while plain(&client.run("INFO persistence")).contains("rdb_bgsave_in_progress:1") {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How element i is added to collections that are lent to the writer.
const LARGE: [(&str, &str); 5] = [
    ("rpush", "'element ' .. i"),
    ("sadd", "'member ' .. i"),
    ("zadd", "i, 'member ' .. i"),
    ("hset", "'f' .. i, 'value ' .. i"),
    ("xadd", "'*', 'f', i"),
];

#[test]
fn a_background_snapshot_is_of_one_instant() {
    const COUNT: usize = 20_000;
    let server = Server::start(&[]);
    let mut client = server.client();
    let fill = |client: &mut Client, text: &str, command: &str| {
        for from in (0..COUNT).step_by(500) {
            let lines: String = (from..from + 500).map(|n| format!("{command} key:{n} {text}\r\n")).collect();
            client.send(lines.as_bytes());
            client.replies(500);
        }
    };
    fill(&mut client, "old", "SET");
    for line in
        ["INCR counter", "RPUSH list a b c", "HSET hash f 1", "ZADD zset 1 m", "SADD set m", "XADD stream 1-1 f v"]
    {
        client.run(line);
    }
    for (command, words) in LARGE {
        client.run(&format!("EVAL \"for i = 1, 20000 do redis.call('{command}', 'large:{command}', {words}) end\" 0"));
    }
    let before = digest(&mut client);
    assert_eq!(client.run("BGSAVE").to_string(), "Background saving started");
    for line in [
        "LPOP large:rpush 9000",
        "SPOP large:sadd 500",
        "DEL large:zadd",
        "HSET large:hset f9 new",
        "XADD large:xadd * f v",
    ] {
        client.run(line);
    }
    for line in
        ["INCR counter", "RPUSH list d", "HSET hash f 2 g 3", "ZADD zset 2 m 3 n", "DEL set", "XADD stream 2-1 f v"]
    {
        client.run(line);
    }
    client.run("EVAL \"redis.call('set', KEYS[1], 'script') redis.call('del', 'key:100')\" 1 key:99");
    client.run("RENAME key:200 key:201");
    fill(&mut client, "new", "SET");
    fill(&mut client, "", "DEL");
    wait_for_save(&mut client);
    assert!(plain(&client.run("INFO persistence")).contains("rdb_last_bgsave_status:ok"));
    let (_second, mut second) = begun_with(server.dir.path());
    assert_eq!(digest(&mut second), before);
    assert_eq!(plain(&second.run("GET counter")), "1");
}

/// What arrives with BGSAVE and behind it comes after the snapshot: of what it changes the old value is kept.
#[test]
fn commands_that_arrive_with_the_one_that_begins_a_snapshot_come_behind_it() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let mut client = server.client();
        for n in 0..60 {
            client.run(&format!("SET text:{n} old"));
            client.run(&format!("RPUSH list:{n} a"));
        }
        let before = digest(&mut client);
        let changes = ["SET text:{n} new", "DEL text:{n}", "RPUSH list:{n} b", "APPEND text:{n} x", "SET fresh:{n} x"];
        let lines = (0..60).map(|n| changes[n % changes.len()].replace("{n}", &n.to_string()));
        let lines: Vec<String> = std::iter::once("BGSAVE".to_string()).chain(lines).collect();
        client.pipeline(&lines);
        wait_for_save(&mut client);
        let (_second, mut second) = begun_with(server.dir.path());
        assert_eq!(digest(&mut second), before);
    }
}

#[test]
fn a_flush_breaks_a_background_snapshot_off() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.run("DEBUG POPULATE 50000");
    client.run("BGSAVE");
    client.run("FLUSHALL");
    wait_for_save(&mut client);
    client.run("SET k v");
    assert_eq!(client.run("BGSAVE").to_string(), "Background saving started");
    wait_for_save(&mut client);
    // Two were begun since the start, none since the counters were reset.
    assert!(plain(&client.run("INFO stats")).contains("total_forks:2\r"));
    client.run("CONFIG RESETSTAT");
    assert!(plain(&client.run("INFO stats")).contains("total_forks:0\r"));
    let (_second, mut second) = begun_with(server.dir.path());
    assert_eq!(second.run("DBSIZE").to_string(), "1");
}

#[test]
fn a_damaged_file_is_refused_whatever_is_wrong_with_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    fill(&mut client);
    client.run("SAVE");
    let path = server.path("dump.rdb");
    let whole = std::fs::read(&path).expect("it was written");
    let mut random = Random::seeded(1);
    for round in 0..120 {
        let mut damaged = whole.clone();
        if round % 2 == 0 {
            damaged.truncate(random.below(whole.len()));
        } else {
            damaged[random.below(whole.len() - 8)] ^= 1 << random.below(8);
        }
        std::fs::write(&path, &damaged).expect("a file of ours");
        let reply = client.run("DEBUG RELOAD NOSAVE MERGE").to_string();
        assert!(reply.starts_with("ERR Error trying to load the RDB dump"), "round {round}: {reply}");
    }
}

#[test]
fn a_snapshot_that_a_transaction_asks_for_has_all_of_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for line in ["MULTI", "SET a 1", "BGSAVE", "SET b 1"] {
        client.run(line);
    }
    assert_eq!(client.run("EXEC").to_string(), "[OK, Background saving scheduled, OK]");
    let started = Instant::now();
    while !plain(&client.run("INFO persistence")).contains("rdb_saves:1\r\n") {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.run("DEBUG RELOAD NOSAVE").to_string(), "OK");
    assert_eq!(client.run("MGET a b").to_string(), "['1', '1']");
}

#[test]
fn what_flushall_removed_does_not_come_back_where_snapshots_are_taken() {
    let server = Server::start(&["--save", "3600 1"]);
    let mut client = server.client();
    client.run("SET k v");
    assert_eq!(client.run("SAVE").to_string(), "OK");
    client.run("SET l v");
    assert_eq!(client.run("FLUSHALL").to_string(), "OK");
    assert!(plain(&client.run("INFO persistence")).contains("rdb_changes_since_last_save:0"));
    assert_eq!(client.run("DEBUG RELOAD NOSAVE").to_string(), "OK");
    assert_eq!(client.run("DBSIZE").int(), 0);
}

#[test]
fn a_snapshot_is_loaded_beside_what_is_there_only_if_nothing_is_there_twice() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let load = |client: &mut Client, name: &str| {
        let source = format!("#!lua name={name}\nredis.register_function('{name}', function() return '{name}' end)");
        client.call(&["FUNCTION", "LOAD", &source])
    };
    load(&mut client, "saved");
    assert_eq!(client.run("SAVE").to_string(), "OK");
    load(&mut client, "added");
    let refused = client.run("DEBUG RELOAD NOSAVE NOFLUSH").to_string();
    assert!(refused.starts_with("ERR Error trying to load the RDB dump"), "{refused}");
    assert_eq!(client.run("DEBUG RELOAD NOSAVE NOFLUSH MERGE").to_string(), "OK");
    assert_eq!(client.run("FCALL saved 0").text() + &client.run("FCALL added 0").text(), "savedadded");
    assert_eq!(client.run("DEBUG RELOAD NOSAVE").to_string(), "OK");
    assert_eq!(client.run("FCALL added 0").to_string(), "ERR Function not found");
}

#[test]
fn a_server_that_is_to_save_does_so_before_it_ends() {
    let mut server = Server::start(&["--save", "3600 1"]);
    assert_eq!(server.client().run("SET k v").to_string(), "OK");
    server.signal(libc::SIGTERM);
    assert_eq!(server.exit_code(), Some(0));
    let (mut server, mut client) = begun_with(server.dir.path());
    assert_eq!(plain(&client.run("GET k")), "v");
    client.run("SET k w");
    client.send(b"SHUTDOWN SAVE\r\n");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_signal_whose_end_was_refused_can_be_sent_again() {
    let mut server = Server::start(&["--save", "3600 1"]);
    let mut client = server.client();
    assert_eq!(client.run("SET k v").to_string(), "OK");
    let place = server.path("dump.rdb");
    std::fs::create_dir(&place).expect("a folder in the file's place");
    let started = std::time::Instant::now();
    for refusals in 1..=3 {
        server.signal(libc::SIGINT);
        while server.output().matches("Errors trying to shut down").count() < refusals {
            assert!(server.is_alive(), "{}", server.output());
            assert!(started.elapsed() < std::time::Duration::from_secs(30), "{}", server.output());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    assert_eq!(client.run("PING").to_string(), "PONG");
    std::fs::remove_dir(&place).expect("removed");
    server.signal(libc::SIGINT);
    assert_eq!(server.exit_code(), Some(0));
    assert!(place.is_file());
}

#[test]
fn whether_changes_that_cannot_be_saved_are_refused_is_heeded_from_the_next_command_on() {
    let server = Server::start(&["--save", "3600 1", "--enable-protected-configs", "yes"]);
    let mut client = server.client();
    std::fs::create_dir(server.path("folder.rdb")).unwrap();
    client.run("CONFIG SET dbfilename folder.rdb");
    assert_eq!(plain(&client.run("SET a 1")), "OK");
    client.run("BGSAVE");
    wait_for_save(&mut client);
    assert!(client.run("SET a 1").to_string().starts_with("MISCONF"));
    for (line, is_refused) in [
        ("CONFIG SET stop-writes-on-bgsave-error no", false),
        ("CONFIG SET stop-writes-on-bgsave-error yes", true),
        ("CONFIG SET save \"\"", false),
        ("CONFIG SET save \"3600 1\"", true),
    ] {
        assert_eq!(plain(&client.run(line)), "OK", "{line}");
        assert_eq!(client.run("SET a 1").to_string().starts_with("MISCONF"), is_refused, "{line}");
    }
}

#[test]
fn info_tells_how_many_keys_of_a_snapshot_are_in_its_file() {
    let server = Server::start(&["--save", "", "--rdb-key-save-delay", "500", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.run("DEBUG POPULATE 20000 key 500");
    client.run("BGSAVE");
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..100 {
        let text = plain(&client.run("INFO persistence"));
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        assert_eq!(field("current_save_keys_total"), Some("20000"));
        seen.extend(field("current_save_keys_processed").map(|count| count.parse::<u64>().unwrap()));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(seen.is_sorted() && seen[99] > 0 && seen[99] < 20_000, "{seen:?}");
    seen.dedup();
    assert!(seen.len() > 4, "{seen:?}");
    client.run("CONFIG SET rdb-key-save-delay 0");
    wait_for_save(&mut client);
    assert!(plain(&client.run("INFO persistence")).contains("current_save_keys_processed:0\r\n"));
}
