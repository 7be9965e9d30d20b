//! Parameters: CONFIG against redis-server, the configuration file and its rewriting, changes of sockets at run time, and
//! standing in for the `redis-server` binary.

use super::harness::server::free_port;
use super::harness::{Client, Server, Value, engines};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Parameters whose defaults differ from redis-server 7.0 on purpose, with the reason.
const OWN_DEFAULTS: &[(&str, &str)] = &[
    ("bind", "without a configuration file only this machine is served"),
    ("port", "each test server has its own"),
    ("syslog-ident", "the program's own name"),
    ("enable-debug-command", "the reference is started with it"),
    ("save", "the reference is started without"),
    ("dir", "each test server has its own"),
];

fn parameters(client: &mut Client) -> BTreeMap<String, String> {
    let Value::Array(items) = client.run("CONFIG GET *") else { panic!("no parameters") };
    let text = |value: &Value| match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        value => panic!("{value:?} is no text"),
    };
    items.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

#[test]
fn every_parameter_of_redis_is_here_with_its_default() {
    let (reference, server) = (Server::reference(), Server::start(&[]));
    let own = parameters(&mut server.client());
    for (name, value) in parameters(&mut reference.client()) {
        // Some that Redis 7.2 shows only to whoever asks for them by name.
        let hidden = || server.client().run(&format!("CONFIG GET {name}")).items().get(1).map(Value::text);
        let here = own.get(&name).cloned().or_else(hidden).unwrap_or_else(|| panic!("{name} is missing"));
        if OWN_DEFAULTS.iter().all(|(own, _)| *own != name) {
            assert_eq!(here, value, "{name}");
        }
    }
}

#[test]
fn values_are_taken_and_refused_as_redis_does() {
    let (reference, server) = (Server::reference(), Server::start(&[]));
    let (mut theirs, mut ours) = (reference.client(), server.client());
    let lines = [
        "CONFIG SET timeout -1",
        "CONFIG SET timeout 1x",
        "CONFIG SET timeout 99999999999",
        "CONFIG SET timeout ''",
        "CONFIG SET activedefrag maybe",
        "CONFIG SET maxmemory 1q",
        "CONFIG SET maxmemory -1",
        "CONFIG SET maxmemory 100mb",
        "CONFIG GET maxmemory",
        "CONFIG SET maxmemory-clients 101%",
        "CONFIG SET maxmemory-clients 5%",
        "CONFIG GET maxmemory-clients",
        "CONFIG SET maxmemory-policy allkeys-lru",
        "CONFIG SET save 'x'",
        "CONFIG SET save '3600 1 300 100'",
        "CONFIG GET save",
        "CONFIG SET save ''",
        "CONFIG SET client-output-buffer-limit 'normal 1'",
        "CONFIG SET client-output-buffer-limit 'wrong 1 1 1'",
        "CONFIG SET client-output-buffer-limit 'normal a 1 1'",
        "CONFIG SET client-output-buffer-limit 'pubsub 1mb 2kb 3'",
        "CONFIG GET client-output-buffer-limit",
        "CONFIG SET notify-keyspace-events KEAx?",
        "CONFIG SET notify-keyspace-events KEA",
        "CONFIG GET notify-keyspace-events",
        "CONFIG SET oom-score-adj-values '1 2'",
        "CONFIG SET oom-score-adj-values '1 2 3000'",
        "CONFIG SET latency-tracking-info-percentiles '50 101'",
        "CONFIG SET latency-tracking-info-percentiles '50 100'",
        "CONFIG GET latency-tracking-info-percentiles",
        "CONFIG SET dbfilename a/b",
        "CONFIG SET appendfilename x",
        "CONFIG SET databases 3",
        "CONFIG SET timeout 5 timeout 6",
        "CONFIG SET timeout 5 nosuch 6",
        "CONFIG SET timeout 5 databases 6",
        "CONFIG GET timeout",
        "CONFIG SET TIMEOUT 7 HZ 1000",
        "CONFIG GET hz",
        "CONFIG GET slave-read-only",
        "CONFIG SET slave-read-only no",
        "CONFIG GET replica-read-only",
        "CONFIG SET list-max-ziplist-size -5 hash-max-ziplist-entries 7",
        "CONFIG GET hash-max-listpack-entries",
        "CONFIG SET hz",
        "CONFIG SET",
        "CONFIG GET",
        "CONFIG NOSUCH",
        "CONFIG REWRITE",
        "CONFIG RESETSTAT x",
        "CONFIG SET slowlog-max-len -1",
        "CONFIG SET shutdown-on-sigterm 'save nosave'",
        "CONFIG SET bind 999.999.999.999",
        "CONFIG SET requirepass pw",
        "CONFIG GET requirepass",
    ];
    for line in lines {
        theirs.send(line_bytes(line).as_slice());
        ours.send(line_bytes(line).as_slice());
        let (expected, given) = (theirs.raw_reply(), ours.raw_reply());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&given), text(&expected), "{line}");
    }
}

/// An inline command.
fn line_bytes(line: &str) -> Vec<u8> {
    format!("{line}\r\n").into_bytes()
}

#[test]
fn a_rewritten_file_starts_the_same_server_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringdb.conf");
    fs::write(&path, "# mine\ntimeout 5\n\n  maxmemory-policy   noeviction\nrename-command KEYS \"\"\n").unwrap();
    let path_text = path.to_str().unwrap();
    let server = Server::start_file(path_text, &["--dir", dir.path().to_str().unwrap()]);
    let mut client = server.client();
    for line in [
        "CONFIG SET timeout 100 maxmemory 1gb requirepass 'a b' save '60 1'",
        "CONFIG SET client-output-buffer-limit 'normal 1mb 512kb 10'",
        "ACL SETUSER alice on >pw ~a* +get",
        "CONFIG REWRITE",
    ] {
        assert_eq!(client.run(line), Value::Simple(b"OK".to_vec()), "{line}");
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("# mine\ntimeout 100\n\nmaxmemory-policy noeviction\nrename-command KEYS \"\"\n"),
        "{text}"
    );
    assert_eq!(text.matches("# Generated by CONFIG REWRITE").count(), 1);
    let before = parameters(&mut client);
    drop(server);
    let server = Server::start_file(path_text, &[]);
    let mut client = server.client();
    assert_eq!(client.run("AUTH 'a b'"), Value::Simple(b"OK".to_vec()));
    let after = parameters(&mut client);
    let differ = |name: &&String| before[*name] != after[*name] && !matches!(name.as_str(), "port" | "dir");
    assert_eq!(after.keys().find(differ), None);
    let Value::Array(users) = client.run("ACL LIST") else { panic!("no users") };
    assert_eq!(users.len(), 2);
    let Value::Error(error) = client.run("KEYS *") else { panic!("KEYS was taken away") };
    assert!(String::from_utf8_lossy(&error).starts_with("ERR unknown command"), "{error:?}");
}

#[test]
fn port_and_addresses_change_while_the_server_runs() {
    let server = Server::start(&["--bind", "127.0.0.1"]);
    let mut client = server.client();
    let free = free_port();
    let ok = Value::Simple(b"OK".to_vec());
    assert_eq!(client.run(&format!("CONFIG SET port {free}")), ok);
    assert_eq!(Client::tcp(free).run("PING"), Value::Simple(b"PONG".to_vec()));
    assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()), "who is here stays");
    assert!(std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err(), "the old port is closed");
    assert_eq!(client.run("CONFIG SET bind '127.0.0.1 127.0.0.2'"), ok);
    drop(std::net::TcpStream::connect(("127.0.0.2", free)).expect("the new address"));
    let Value::Error(error) = client.run("CONFIG SET bind 203.0.113.7") else {
        panic!("not an address of this machine")
    };
    assert!(error.ends_with(b"Failed to bind to specified addresses."), "{error:?}");
    assert_eq!(Client::tcp(free).run("PING"), Value::Simple(b"PONG".to_vec()), "a failed change leaves all as it was");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port();
    let Value::Error(error) = client.run(&format!("CONFIG SET timeout 77 port {taken}")) else { panic!("taken") };
    assert!(error.ends_with(b"Unable to listen on this port. Check server logs."), "{error:?}");
    let now = parameters(&mut client);
    assert_eq!((now["port"].as_str(), now["timeout"].as_str()), (free.to_string().as_str(), "0"));
}

#[test]
fn it_stands_in_for_redis_server() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ringdb")).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, text) = run(&["--version"]);
    assert!(code == Some(0) && text.contains("Redis server v=7.2.4 "), "{text}");
    assert_eq!(run(&["--test-memory", "2"]).0, Some(0));
    assert_eq!(run(&["--check-system"]).0, Some(0));
    let (code, text) = run(&["--prt", "1"]);
    assert!(code == Some(1) && text.contains("Bad directive") && text.contains("did you mean 'port'?"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let wrong = file("wrong.conf", "port 0\nhz ten\n");
    let (code, text) = run(&[&wrong]);
    assert_eq!(code, Some(1));
    let expected = "FATAL CONFIG FILE ERROR (Redis 7.2.4) ***";
    assert!(text.contains(expected) && text.contains(", at line 2\n>>> 'hz ten'\n"), "{text}");
    file("part-1.conf", "timeout 11");
    file("part-2.conf", "timeout 12\nhz 20");
    let all = file("all.conf", &format!("include {}/part-*.conf\n", dir.path().display()));
    let server = Server::start_file(&all, &["--save", "--maxmemory", "5mb", "--active-defrag-cycle-max", "7"]);
    let now = parameters(&mut server.client());
    assert_eq!((now["timeout"].as_str(), now["hz"].as_str(), now["maxmemory"].as_str()), ("12", "20", "5242880"));
    assert!(server.output().contains("'active-defrag-cycle-max' is accepted for"), "{}", server.output());
}

#[test]
fn it_goes_into_the_background() {
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_ringdb"))
        .args([
            "--daemonize",
            "yes",
            "--port",
            &port.to_string(),
            "--threads",
            "1",
            "--logfile",
            "log",
            "--pidfile",
            "pid",
        ])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = Client::tcp(port);
    assert_eq!(client.run("PING"), Value::Simple(b"PONG".to_vec()));
    assert!(fs::read_to_string(dir.path().join("log")).unwrap().contains("Ready to accept connections"));
    assert!(fs::read_to_string(dir.path().join("pid")).unwrap().trim().parse::<u32>().is_ok());
    client.send(b"SHUTDOWN\r\n");
    client.until_closed();
}

/// Does the kernel run a keep-alive timer for the server's end of a connection? Source: proc_pid_net(5), column `tr`.
fn has_keep_alive(client: &Client) -> bool {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (own, server) = (port(client.stream().local_addr().unwrap()), port(client.stream().peer_addr().unwrap()));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| {
        let ends_with = |at: usize, port: &str| words.get(at).is_some_and(|word| word.ends_with(port));
        ends_with(1, &server) && ends_with(2, &own)
    });
    line.expect("the server's end is listed")[5].starts_with("02:")
}

#[test]
fn limits_of_clients_and_connections_follow_the_parameters() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--maxclients", "2", "--tcp-keepalive", "0", "--threads", "1"]);
        let (mut first, _second) = (server.client(), server.client());
        assert_eq!(first.run("PING").text(), "PONG");
        assert!(server.client().until_closed().starts_with(b"-ERR max number of clients reached"));
        assert_eq!(first.run("CONFIG SET maxclients 4 tcp-keepalive 77").text(), "OK");
        let mut third = server.client();
        assert_eq!(third.run("PING").text(), "PONG");
        assert!(!has_keep_alive(&first) && has_keep_alive(&third), "{}", engine.name());
        assert!(first.run("CONFIG SET maxclients 1000000000").text().contains("not able to handle"));
        assert_eq!(first.run("CONFIG GET maxclients").items()[1].text(), "4");
    }
}
