//! The append-only file: what is in it, what survives, who else can read it.
//!
//! Each test has a folder of its own that servers come back to. `records` reads what a server has written, as the protocol's
//! commands; absolute times are shown as `T`.

use crate::harness::server::{free_port, spawn};
use crate::harness::wire::decode;
use crate::harness::{Client, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A server that has loaded what is there.
fn start(dir: &Path, options: &[&str]) -> Server {
    let server = launch(dir, options);
    let (started, mut client) = (Instant::now(), server.client());
    while client.run("PING").to_string() != "PONG" {
        assert!(started.elapsed() < PATIENCE, "it does not load its files");
        std::thread::sleep(Duration::from_millis(1));
    }
    server
}

fn launch(dir: &Path, options: &[&str]) -> Server {
    let dir = dir.to_str().expect("a path");
    Server::start(&[&["--dir", dir, "--appendonly", "yes"], options].concat())
}

/// Stops a server in good order.
fn stop(mut server: Server) {
    server.client().send(b"SHUTDOWN\r\n");
    assert_eq!(server.exit_code(), Some(0), "{}", server.output());
}

/// redis-server on the same folder.
fn reference(dir: &Path) -> (std::process::Child, Client) {
    let port = free_port();
    let mut command = Command::new(std::env::var("REFERENCE_SERVER").unwrap_or_else(|_| "redis-server".into()));
    command.args(["--port", &port.to_string(), "--appendonly", "yes", "--save", "", "--dir"]).arg(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = spawn(command).expect("redis-server runs");
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < PATIENCE, "redis-server does not load the folder");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = Client::tcp(port);
    while client.run("PING").to_string() != "PONG" {
        assert!(started.elapsed() < PATIENCE, "redis-server does not load the folder");
    }
    (child, client)
}

/// The file with the latest changes.
fn newest(dir: &Path) -> PathBuf {
    let all = fs::read_dir(dir.join("appendonlydir")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut incrs: Vec<PathBuf> = all.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).collect();
    incrs.sort_by_key(|path| path.metadata().and_then(|data| data.modified()).expect("a time"));
    incrs.pop().expect("a file")
}

/// The commands of a log, without SELECT.
fn records(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).expect("a log");
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        if bytes[at] == b'#' {
            at += bytes[at..].iter().position(|&byte| byte == b'\n').expect("a line's end") + 1;
            continue;
        }
        let (value, len) = decode(&bytes[at..]).expect("a whole command");
        let words: Vec<String> = value.items().iter().map(|word| shown(&word.text())).collect();
        if words[0] != "SELECT" {
            found.push(words.join(" "));
        }
        at += len;
    }
    found
}

fn shown(word: &str) -> String {
    let is_time = word.len() == 13 && word.starts_with(['1', '2']) && word.bytes().all(|byte| byte.is_ascii_digit());
    if is_time { "T".into() } else { word.into() }
}

/// What has to be the same on two servers that hold the same.
fn contents(client: &mut Client) -> Vec<String> {
    let mut keys: Vec<String> = client.run("KEYS *").items().iter().map(|key| key.text()).collect();
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let kind = client.run(&format!("TYPE {key}")).to_string();
        let read = match kind.as_str() {
            "string" => format!("GET {key}"),
            "list" => format!("LRANGE {key} 0 -1"),
            "set" => format!("SORT {key} ALPHA"),
            "hash" => format!("HGETALL {key}"),
            "zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
            _ => format!("XRANGE {key} - +"),
        };
        let mut value = client.run(&read).to_string();
        if kind == "hash" {
            let mut pairs: Vec<String> = client.run(&read).items().chunks(2).map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            value = pairs.concat();
        }
        if kind == "stream" {
            value += &client
                .run(&format!("XPENDING {key} g - + 10"))
                .items()
                .iter()
                .map(|it| it.items()[..2].to_vec())
                .map(|it| format!("{it:?}"))
                .collect::<String>();
        }
        all.push(format!("{key} {} {value}", client.run(&format!("PEXPIRETIME {key}"))));
    }
    all
}

const WRITES: &[&str] = &[
    "SET s 1",
    "SET e 1 EX 1000",
    "SETEX f 1000 v",
    "EXPIRE s 100",
    "PERSIST s",
    "INCR s",
    "INCRBYFLOAT d 1.5",
    "APPEND s x",
    "MSET a 1 b 2",
    "GETEX a PX 100000",
    "GETDEL b",
    "RPUSH l 1 2 3 4",
    "LMOVE l m LEFT RIGHT",
    "LPOP l",
    "BLPOP nothing l 1",
    "SADD set a b c 1 2 3",
    "SPOP set",
    "SPOP set 2",
    "HSET h f 1 g 2",
    "HINCRBYFLOAT h f 1.5",
    "HDEL h g",
    "ZADD z 1 a 2 b 3 c",
    "ZINCRBY z 1.5 a",
    "ZPOPMIN z",
    "GEOADD geo 13.361389 38.115556 Palermo",
    "PFADD p a b c",
    "SETBIT bits 7 1",
    "XADD x * f v",
    "XADD x * f w",
    "XGROUP CREATE x g 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
    "SORT l STORE sorted",
    "COPY l copied",
    "RENAME copied renamed",
    "SELECT 1",
    "SET other 1",
    "SELECT 0",
    "DEL d",
];

#[test]
fn redis_server_loads_our_files_and_we_load_its() {
    let dir = folder();
    let server = start(dir.path(), &[]);
    let mut client = server.client();
    WRITES.iter().for_each(|line| assert!(!client.run(line).is_error(), "{line}"));
    let ours = contents(&mut client);
    stop(server);
    let manifest = dir.path().join("appendonlydir/appendonly.aof.manifest");
    let check = Command::new("redis-check-aof").arg(&manifest).output().expect("redis-check-aof runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let (mut child, mut client) = reference(dir.path());
    assert_eq!(contents(&mut client), ours);
    for line in ["SET theirs 1", "RPUSH l tail", "MULTI", "SET m1 1", "SET m2 2", "EXEC"] {
        assert!(!client.run(line).is_error());
    }
    let theirs = contents(&mut client);
    client.send(b"SHUTDOWN\r\n");
    drop(child.wait());
    let server = start(dir.path(), &[]);
    assert_eq!(contents(&mut server.client()), theirs);
    assert_eq!(server.client().run("CONFIG GET appendonly").items()[1].text(), "yes");
}

#[test]
fn what_is_written_anew_is_loaded_by_both() {
    let dir = folder();
    let server = start(dir.path(), &[]);
    let mut client = server.client();
    WRITES.iter().for_each(|line| assert!(!client.run(line).is_error(), "{line}"));
    assert!(!client.run("BGREWRITEAOF").is_error());
    wait_for_rewrite(&mut client);
    assert_eq!(client.run("SET behind 1").to_string(), "OK");
    let ours = contents(&mut client);
    stop(server);
    let (mut child, mut client) = reference(dir.path());
    assert_eq!(contents(&mut client), ours);
    client.send(b"SHUTDOWN\r\n");
    drop(child.wait());
    assert_eq!(contents(&mut start(dir.path(), &[]).client()), ours);
}

fn info(client: &mut Client, field: &str) -> String {
    let text = client.run("INFO persistence").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_string));
    line.unwrap_or_else(|| panic!("{field} is missing: {text}"))
}

fn wait_for_rewrite(client: &mut Client) {
    let started = Instant::now();
    while info(client, "aof_rewrite_in_progress") != "0" || info(client, "aof_rewrite_scheduled") != "0" {
        assert!(started.elapsed() < PATIENCE, "the rewrite does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(info(client, "aof_last_bgrewrite_status"), "ok");
}

#[test]
fn what_is_recorded_does_the_same_again() {
    let dir = folder();
    let server = start(dir.path(), &[]);
    let mut client = server.client();
    let lines = "
        SET a 1 EX 100               => SET a 1 PXAT T
        SET a 2 NX                   =>
        SET a 2 GET KEEPTTL          => SET a 2 KEEPTTL
        GET a                        =>
        EXPIRE a 100 NX              =>
        PEXPIRE a 100000             => PEXPIREAT a T
        EXPIRE a -1                  => DEL a
        GETEX a                      =>
        INCRBYFLOAT f 0.5            => SET f 0.5 KEEPTTL
        GETDEL f                     => DEL f
        SETNX a 1                    => SET a 1
        SADD s a                     => SADD s a
        SADD s a                     =>
        SPOP s                       => SREM s a
        RPUSH l a b                  => RPUSH l a b
        BRPOP l 1                    => RPOP l
        BLMPOP 1 2 x l LEFT COUNT 5  => LPOP l 1
        ZADD z 1 a 2 b               => ZADD z 1 a 2 b
        BZPOPMAX z 1                 => ZPOPMAX z
        ZMPOP 1 z MIN COUNT 9        => ZPOPMIN z 1
        HSET h f 1                   => HSET h f 1
        HINCRBYFLOAT h f 0.5         => HSET h f 1.5
        HEXPIRE h 100 FIELDS 1 f     => HPEXPIREAT h T FIELDS 1 f
        HEXPIRE h 100 NX FIELDS 1 f  =>
        HGETDEL h FIELDS 1 f         => HDEL h f
        HSET h a 1 b 2 c 3 d 4       => HSET h a 1 b 2 c 3 d 4
        HPEXPIRE h 99999 NX FIELDS 2 a no => HPEXPIREAT h T NX FIELDS 1 a
        HEXPIRE h 100 LT FIELDS 2 a b => HPEXPIREAT h T LT FIELDS 1 b
        HEXPIREAT h 1 FIELDS 1 a     => HDEL h a
        HEXPIREAT h 1 FIELDS 2 b c   => MULTI; HDEL h b; HDEL h c; EXEC
        HGETEX h PXAT 1 FIELDS 1 d   => HDEL h d
        XADD x 1-1 f v               => XADD x 1-1 f v
        XADD x MAXLEN ~ 0 LIMIT 0 1-* f v => *
        PUBLISH c m                  =>
        MSETNX a 1 q 1               =>
        EVAL \"redis.call('set','k',1) redis.call('incr','k') return 1\" 0 => MULTI; SET k 1; INCRBY k 1; EXEC
    ";
    let mut seen = 0;
    for line in lines.lines().filter_map(|line| line.trim().split_once("=>")) {
        let (command, expected) = (line.0.trim(), line.1.trim());
        assert!(!client.run(command).is_error(), "{command}");
        assert_eq!(client.run("WAITAOF 1 0 0").items()[0].int(), 1);
        let all = records(&newest(dir.path()));
        let new = all[seen..].join("; ").replace("incr k", "INCRBY k 1").replace("set k", "SET k");
        seen = all.len();
        assert!(expected == "*" || new == expected, "{command}: {new}");
    }
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = folder();
    let acknowledged: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
    for cycle in 0..3 {
        let server = start(dir.path(), &["--appendfsync", "always"]);
        let mut client = server.client();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let found = client.run(&format!("GET writer{writer}")).text().parse().unwrap_or(0);
            assert!(found >= acknowledged.load(Ordering::Relaxed), "cycle {cycle}: writer {writer} has lost something");
            acknowledged.store(found, Ordering::Relaxed);
        }
        std::thread::scope(|scope| {
            for (writer, acknowledged) in acknowledged.iter().enumerate() {
                let mut client = server.client();
                scope.spawn(move || {
                    for number in acknowledged.load(Ordering::Relaxed) + 1.. {
                        if client.try_send(format!("SET writer{writer} {number}\r\n").as_bytes()).is_err() {
                            return;
                        }
                        match client.reply_within(PATIENCE) {
                            Ok(reply) if reply.to_string() == "OK" => acknowledged.store(number, Ordering::Relaxed),
                            _ => return,
                        }
                    }
                });
            }
            let started = Instant::now();
            while acknowledged.iter().any(|count| count.load(Ordering::Relaxed) < 20 * (cycle + 1)) {
                assert!(started.elapsed() < PATIENCE, "nothing is acknowledged");
                std::thread::sleep(Duration::from_millis(1));
            }
            server.signal(libc::SIGKILL);
        });
    }
}

#[test]
fn a_torn_tail_is_cut_and_told_and_damage_is_refused() {
    let dir = folder();
    let server = start(dir.path(), &["--appendfsync", "always"]);
    let mut client = server.client();
    (0..20).for_each(|number| assert_eq!(client.run(&format!("SET k{number} {number}")).to_string(), "OK"));
    stop(server);
    let path = newest(dir.path());
    let whole = fs::read(&path).expect("a log");
    fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    let server = start(dir.path(), &[]);
    assert_eq!(server.client().run("DBSIZE").int(), 19);
    assert!(server.output().contains("bytes with 1 commands are lost"), "{}", server.output());
    stop(server);
    let mut damaged = whole.clone();
    let middle = whole.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, &damaged).expect("written");
    let text = dir.path().to_str().expect("a path");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
    command.args(["--port", &free_port().to_string(), "--dir", text, "--appendonly", "yes"]);
    let output = command.stdin(Stdio::null()).output().expect("ringdb runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Bad file format") && said.contains("at offset"), "{said}");
}

#[test]
fn the_log_begins_and_ends_while_the_server_runs() {
    let dir = folder();
    let text = dir.path().to_str().expect("a path");
    let server = Server::start(&["--dir", text]);
    let mut client = server.client();
    assert_eq!(client.run("SET before 1").to_string(), "OK");
    assert_eq!(client.run("CONFIG SET appendonly yes").to_string(), "OK");
    assert_eq!(client.run("SET after 1").to_string(), "OK");
    assert_eq!(client.run("WAITAOF 1 0 0").items()[0].int(), 1);
    assert_eq!(info(&mut client, "aof_enabled"), "1");
    assert_eq!(client.run("CONFIG SET appendonly no").to_string(), "OK");
    assert_eq!(client.run("SET unrecorded 1").to_string(), "OK");
    assert!(client.run("WAITAOF 1 0 0").is_error());
    stop(server);
    let server = start(dir.path(), &[]);
    assert_eq!(server.client().run("EXISTS before after unrecorded").int(), 2);
}

#[test]
fn a_log_that_ends_during_a_rewrite_can_be_written_anew_at_once() {
    let dir = folder();
    let server = start(dir.path(), &["--enable-debug-command", "yes"]);
    let mut client = server.client();
    for round in 0..10 {
        assert_eq!(client.run("CONFIG SET appendonly yes rdb-key-save-delay 0").to_string(), "OK");
        wait_for_rewrite(&mut client);
        assert_eq!(client.run("RPUSH list a").int(), round + 1);
        client.run("CONFIG SET rdb-key-save-delay 10000000");
        let expected = "Background append only file rewriting started";
        assert_eq!(client.run("BGREWRITEAOF").to_string(), expected);
        assert_eq!(client.run("CONFIG SET appendonly no rdb-key-save-delay 0").to_string(), "OK");
        assert_eq!(client.run("BGREWRITEAOF").to_string(), expected, "what was broken off is in nobody's way");
        wait_for_rewrite(&mut client);
        let digest = client.run("DEBUG DIGEST").to_string();
        assert_eq!(client.run("DEBUG LOADAOF").to_string(), "OK");
        assert_eq!(client.run("DEBUG DIGEST").to_string(), digest);
    }
    let names =
        fs::read_dir(dir.path().join("appendonlydir")).expect("a folder").flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("temp-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn after_a_crash_redis_server_goes_on_behind_the_room_of_our_file() {
    let dir = folder();
    let mut server = start(dir.path(), &["--appendfsync", "always"]);
    let mut client = server.client();
    client.run("SET k0 v"); // Answered when it is on the disk: the file is there.
    let (path, started) = (newest(dir.path()), Instant::now());
    let mut count = 0;
    // On a machine that is busy syncs may follow each other too slowly for room.
    while !fs::read(&path).expect("a log").ends_with(b"##\r\n") && started.elapsed() < PATIENCE / 6 {
        for number in count..count + 50 {
            assert_eq!(
                client.run(&format!("SET k{number} {}", "v".repeat(1 + number as usize % 64))).to_string(),
                "OK"
            );
        }
        count += 50;
    }
    server.signal(libc::SIGKILL);
    server.exit_code();
    let manifest = dir.path().join("appendonlydir/appendonly.aof.manifest");
    let check = Command::new("redis-check-aof").arg(&manifest).output().expect("redis-check-aof runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let (mut child, mut client) = reference(dir.path());
    assert_eq!(client.run("DBSIZE").int(), count);
    assert_eq!(client.run("SET theirs 1").to_string(), "OK");
    client.send(b"SHUTDOWN\r\n");
    drop(child.wait());
    for round in 1..3 {
        let mut server = start(dir.path(), &["--appendfsync", "always"]);
        let mut client = server.client();
        assert_eq!(client.run("DBSIZE").int(), count + round);
        assert_eq!(client.run(&format!("SET ours{round} 1")).to_string(), "OK");
        server.signal(libc::SIGKILL);
        server.exit_code();
    }
    let server = start(dir.path(), &["--appendfsync", "always"]);
    assert_eq!(server.client().run("SET last 1").to_string(), "OK");
    stop(server);
    assert!(!fs::read(newest(dir.path())).expect("a log").ends_with(b"##\r\n"), "a file that is closed has no room");
}

#[test]
fn large_values_are_the_same_behind_a_base_of_commands() {
    let dir = folder();
    let server = start(dir.path(), &["--aof-use-rdb-preamble", "no", "--enable-debug-command", "yes"]);
    let mut client = server.client();
    let make = "
        for i = 1, 6000 do
            redis.call('rpush', 'list', 'element ' .. i); redis.call('hset', 'hash', 'f' .. i, 'v' .. i)
            redis.call('sadd', 'set', 'member ' .. i); redis.call('zadd', 'zset', i / 3, 'm' .. i)
            redis.call('xadd', 'stream', i .. '-1', 'field', 'value ' .. i)
        end
        redis.call('xgroup', 'create', 'stream', 'g', 0)
        redis.call('xreadgroup', 'group', 'g', 'c', 'count', 10, 'streams', 'stream', '>')
        redis.call('hpexpireat', 'hash', 9999999999999, 'fields', 2, 'f1', 'f2')
        redis.call('set', 'text', string.rep('x', 100000)); redis.call('pexpireat', 'zset', 9999999999999)";
    let make = make.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!client.run(&format!("EVAL \"{make}\" 0")).is_error());
    assert!(!client.run("BGREWRITEAOF").is_error());
    wait_for_rewrite(&mut client);
    let shown = |client: &mut Client| {
        let lines = ["DEBUG DIGEST", "XPENDING stream g", "HPEXPIRETIME hash FIELDS 3 f1 f2 f3", "PEXPIRETIME zset"];
        lines.map(|line| client.run(line).to_string())
    };
    let before = shown(&mut client);
    assert_eq!(client.run("DEBUG LOADAOF").to_string(), "OK");
    assert_eq!(shown(&mut client), before);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let (dir, port) = (folder(), free_port());
    let mut command = Command::new("sh");
    // No file may be longer than 64 KiB, until the limit is lifted.
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 128; exec \"$0\" \"$@\""]);
    command.arg(env!("CARGO_BIN_EXE_ringdb")).args([
        "--threads",
        "2",
        "--appendonly",
        "yes",
        "--port",
        &port.to_string(),
    ]);
    command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawn(command).expect("ringdb runs");
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = Client::tcp(port);
    let value = "v".repeat(1000);
    let mut reply = client.run(&format!("SET k {value}")).to_string();
    while reply == "OK" {
        assert!(started.elapsed() < PATIENCE, "writes are still taken");
        reply = client.run(&format!("SET k {value}")).to_string();
    }
    assert!(reply.contains("MISCONF Errors writing to the AOF file"), "{reply}");
    assert_eq!(client.run("GET k").text(), value);
    let pid = child.id().to_string();
    let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().expect("prlimit runs");
    assert!(lifted.success());
    while client.run("SET k back").to_string() != "OK" {
        assert!(started.elapsed() < PATIENCE, "it does not resume");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(client.run("WAITAOF 1 0 0").items()[0].int(), 1);
    drop(child.kill());
    drop(child.wait());
    let server = start(dir.path(), &[]);
    assert_eq!(server.client().run("GET k").text(), "back");
}

/// Waits until everything that was written is on the disk, or is not.
fn wait_for_pending(client: &mut Client, wanted: &str) {
    let started = Instant::now();
    while info(client, "aof_pending_bio_fsync") != wanted {
        assert!(started.elapsed() < PATIENCE, "aof_pending_bio_fsync is not {wanted}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_client_chooses_when_its_writes_are_answered() {
    let dir = folder();
    let server = start(dir.path(), &["--appendfsync", "no"]);
    let (mut client, mut strict) = (server.client(), server.client());
    let write = |client: &mut Client| assert_eq!(client.run("SET k v").to_string(), "OK");
    assert_eq!(strict.run("CLIENT DURABILITY fsync").to_string(), "OK");
    for _ in 0..5 {
        write(&mut client);
        wait_for_pending(&mut client, "1"); // Nobody syncs it.
        write(&mut strict);
        assert_eq!(info(&mut client, "aof_pending_bio_fsync"), "0", "it was answered behind the sync");
    }
    for line in ["MULTI", "SET k 1", "EXEC", "EVAL \"return redis.call('INCR', 'k')\" 0", "LPUSH l a"] {
        assert!(!strict.run(line).is_error(), "{line}");
    }
    assert_eq!(info(&mut client, "aof_pending_bio_fsync"), "0", "transactions and scripts, too");
    // Somebody else's push serves a client that waits: what it hears has to be on the disk as well.
    strict.send(b"BLPOP queue 0\r\n");
    wait_for_blocked(&mut client);
    assert_eq!(client.run("RPUSH queue a").int(), 1);
    assert_eq!(strict.reply_within(PATIENCE).expect("it is served").items()[1].text(), "a");
    assert_eq!(info(&mut client, "aof_pending_bio_fsync"), "0");
    assert_eq!(client.run("CLIENT DURABILITY everysec").to_string(), "OK");
    write(&mut client);
    wait_for_pending(&mut client, "0");
    assert_eq!(strict.run("RESET").to_string(), "RESET");
    write(&mut strict);
    wait_for_pending(&mut strict, "1");
}

fn wait_for_blocked(client: &mut Client) {
    let started = Instant::now();
    while !client.run("INFO clients").text().contains("blocked_clients:1") {
        assert!(started.elapsed() < PATIENCE, "nobody waits");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn writes_that_were_to_be_kept_are_refused_without_a_log() {
    let dir = folder();
    let server = start(dir.path(), &[]);
    let (mut client, mut strict) = (server.client(), server.client());
    assert_eq!(strict.run("CLIENT DURABILITY fsync").to_string(), "OK");
    assert_eq!(strict.run("SET k 1").to_string(), "OK");
    assert_eq!(client.run("CONFIG SET appendonly no").to_string(), "OK");
    for line in ["SET k 2", "EVAL \"return redis.call('INCR', 'k')\" 0"] {
        assert!(strict.run(line).to_string().contains("MISCONF This connection wants its writes on disk"), "{line}");
        assert!(!client.run(line).is_error(), "others go on");
    }
    assert_eq!(strict.run("GET k").text(), "3");
    ["MULTI", "SET k 4"].iter().for_each(|line| drop(strict.run(line)));
    assert!(strict.run("EXEC").is_error(), "a transaction that writes is refused as well");
    assert_eq!(client.run("CONFIG SET appendonly yes").to_string(), "OK");
    assert_eq!(strict.run("SET k 5").to_string(), "OK");
    assert_eq!(client.run("CONFIG SET appendonly no").to_string(), "OK");
    assert_eq!(strict.run("CLIENT DURABILITY none").to_string(), "OK");
    assert_eq!(strict.run("SET k 6").to_string(), "OK");
}

#[test]
fn a_log_without_sums_holds_nothing_but_commands() {
    let dir = folder();
    let server = start(dir.path(), &["--aof-checksum", "no"]);
    assert_eq!(server.client().run("SET k v").to_string(), "OK");
    stop(server);
    let text = fs::read_to_string(newest(dir.path())).expect("a log");
    assert!(!text.contains('#') && text.contains("SET"), "{text}");
    let server = start(dir.path(), &[]);
    assert_eq!(server.client().run("SET l w").to_string(), "OK");
    stop(server);
    assert!(fs::read_to_string(newest(dir.path())).expect("a log").contains("#SUM:"), "sums may begin at any time");
    assert_eq!(start(dir.path(), &[]).client().run("EXISTS k l").int(), 2);
}

#[test]
fn while_the_log_is_loaded_the_server_says_so() {
    let dir = folder();
    let server = start(dir.path(), &["--threads", "3"]);
    let mut client = server.client();
    let mut lines = Vec::new();
    for number in 0..30_000 {
        lines.extend_from_slice(format!("SET key{} {}\r\n", number % 5000, number).as_bytes());
        if number % 1000 == 0 {
            let far = "MSET a 1 b 2 c 3\r\nEVAL \"redis.call('INCR','n') redis.call('INCR','m')\" 0\r\n";
            lines.extend_from_slice(far.as_bytes());
        }
        if number == 15_000 {
            lines
                .extend_from_slice(b"SELECT 3\r\nRPUSH l 1 2 3\r\nRENAME l k\r\nSWAPDB 3 4\r\nSELECT 0\r\nFLUSHDB\r\n");
        }
    }
    let extra = 2 * 30 + 6;
    client.send(&lines);
    (0..30_000 + extra).for_each(|_| assert!(!client.reply_within(PATIENCE).expect("a reply").is_error()));
    let digest = client.run("DEBUG DIGEST").to_string();
    stop(server);
    let server = launch(dir.path(), &["--threads", "3"]);
    let (mut client, mut seen) = (server.client(), 0);
    while client.run("GET key1").to_string().contains("LOADING Redis is loading the dataset in memory") {
        let text = client.run("INFO persistence").text();
        seen += text.contains("loading_total_bytes:") as usize;
    }
    assert_eq!(client.run("DEBUG DIGEST").to_string(), digest);
    let text = client.run("INFO persistence").text();
    assert!(text.contains("loading:0") && !text.contains("loading_total_bytes"), "{text}");
    println!("{seen} looks at a server that was loading");
    assert_eq!(client.run("SET behind 1").to_string(), "OK");
    stop(server);
    assert_eq!(start(dir.path(), &[]).client().run("GET behind").text(), "1");
}

#[test]
fn the_log_is_switched_while_data_are_loaded() {
    let dir = folder();
    let server = start(dir.path(), &[]);
    let mut client = server.client();
    let lines: Vec<String> = (0..2000).map(|number| format!("SET key{number} {number}")).collect();
    client.pipeline(&lines).iter().for_each(|reply| assert_eq!(reply.to_string(), "OK"));
    assert_eq!(client.run("SAVE").to_string(), "OK");
    stop(server);
    // Time enough while the files are read; what was said last counts.
    let slow = ["--key-load-delay", "1000"];
    let switch = |server: &Server, words: &[&str]| {
        let mut client = server.client();
        for word in words {
            assert_eq!(client.run(&format!("CONFIG SET appendonly {word}")).to_string(), "OK");
        }
        assert!(client.run("INFO persistence").text().contains("loading:1"), "it was too fast");
        client.run("CONFIG SET key-load-delay 0");
        let started = Instant::now();
        while client.run("PING").to_string() != "PONG" {
            assert!(started.elapsed() < PATIENCE, "it does not load its files");
        }
        assert_eq!(client.run("DBSIZE").int(), 2000);
        client
    };
    let is_enabled = |client: &mut Client| client.run("INFO persistence").text().contains("aof_enabled:1");
    let server = launch(dir.path(), &slow);
    let mut client = switch(&server, &["no", "yes", "no"]);
    assert!(!is_enabled(&mut client));
    assert_eq!(client.run("SET not_recorded 1").to_string(), "OK");
    client.send(b"SHUTDOWN NOSAVE\r\n");
    drop(server);
    let server = launch(dir.path(), &slow);
    let mut client = switch(&server, &["no", "yes"]);
    assert!(is_enabled(&mut client));
    assert_eq!(client.run("SET recorded 1").to_string(), "OK");
    assert_eq!(client.run("DEL key0").int(), 1);
    stop(server);
    assert_eq!(start(dir.path(), &[]).client().run("EXISTS recorded key0 not_recorded").int(), 1);
    // From the snapshot, which knows nothing of these three.
    fs::remove_dir_all(dir.path().join("appendonlydir")).expect("removed");
    let words = ["--dir", dir.path().to_str().expect("a path"), slow[0], slow[1]];
    let server = Server::start(&words);
    let mut client = switch(&server, &["yes"]);
    assert_eq!(client.run("SET recorded 1").to_string(), "OK");
    let started = Instant::now();
    let has_base =
        |text: &str| text.lines().any(|line| line.starts_with("aof_base_size:") && line != "aof_base_size:0");
    while !has_base(&client.run("INFO persistence").text()) {
        assert!(started.elapsed() < PATIENCE, "the log does not begin");
    }
    stop(server);
    assert_eq!(start(dir.path(), &[]).client().run("DBSIZE").int(), 2001);
}

#[test]
fn the_single_file_of_an_older_redis_is_taken_over() {
    let dir = folder();
    let old = dir.path().join("appendonly.aof");
    let mut bytes = Vec::new();
    for words in [["SELECT", "0"].as_slice(), &["SET", "k", "v"], &["RPUSH", "l", "a", "b"]] {
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        words.iter().for_each(|word| bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes()));
    }
    fs::write(&old, &bytes).expect("written");
    let server = start(dir.path(), &[]);
    assert_eq!(server.client().run("DBSIZE").int(), 2);
    assert!(!old.exists() && dir.path().join("appendonlydir/appendonly.aof").exists());
    assert_eq!(server.client().run("SET m 1").to_string(), "OK");
    stop(server);
    assert_eq!(start(dir.path(), &[]).client().run("DBSIZE").int(), 3);
    // Redis 4 to 6 put a snapshot in front of the commands.
    let dir = folder();
    let server = Server::start(&["--dir", dir.path().to_str().expect("a path")]);
    assert_eq!(server.client().run("SET in_snapshot 1").to_string(), "OK");
    assert_eq!(server.client().run("SAVE").to_string(), "OK");
    let snapshot = fs::read(dir.path().join("dump.rdb")).expect("a snapshot");
    drop(server);
    fs::write(dir.path().join("appendonly.aof"), [snapshot, bytes].concat()).expect("written");
    assert_eq!(start(dir.path(), &[]).client().run("EXISTS in_snapshot k l").int(), 3);
}
