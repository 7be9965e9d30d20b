//! MONITOR, and what becomes of clients that do not read.

use crate::harness::{Client, Server, engines, is_quick_at_times};
use std::time::{Duration, Instant};

/// The words of a monitor's line, without time, database and address.
fn shown(monitor: &mut Client) -> String {
    let line = String::from_utf8(monitor.raw_reply()).expect("a line of text");
    let line = line.strip_prefix('+').and_then(|line| line.strip_suffix("\r\n")).expect("a simple string");
    let (time, rest) = line.split_once(" [").expect("a time and a place");
    let (seconds, micros) = time.split_once('.').expect("seconds and micros");
    assert!(seconds.parse::<u64>().is_ok() && micros.len() == 6, "{line}");
    rest.split_once("] ").expect("words").1.to_string()
}

#[test]
fn scripts_are_shown_before_what_they_call_and_also_when_they_do_not_run() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.run("MONITOR");
    let script = "return redis.call('get', KEYS[1])";
    let sha = "0".repeat(40);
    for line in [
        &format!("EVALSHA {sha} 0"),
        "EVAL nonsense! 0",
        "FCALL nosuch 0",
        "MULTI",
        &format!("EVAL \"{script}\" 1 k"),
        "EXEC",
    ] {
        client.run(line);
    }
    for expected in [
        &format!("\"EVALSHA\" \"{sha}\" \"0\""),
        "\"EVAL\" \"nonsense!\" \"0\"",
        "\"FCALL\" \"nosuch\" \"0\"",
        "\"MULTI\"",
        &format!("\"EVAL\" \"{script}\" \"1\" \"k\""),
        "\"get\" \"k\"",
        "\"EXEC\"",
    ] {
        assert_eq!(shown(&mut monitor), expected);
    }
}

#[test]
fn monitors_on_every_loop_are_shown_the_commands_of_every_loop_in_causal_order() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut monitors, mut clients) = ([(); 4].map(|()| server.client()), [(); 4].map(|()| server.client()));
        for monitor in &mut monitors {
            assert_eq!(monitor.run("MONITOR").to_string(), "OK");
        }
        for step in 0..50 {
            clients[step % 4].run(&format!("SET k \"{step}\\x00\\n\""));
        }
        clients[0].run("CONFIG GET port");
        clients[1].run("AUTH bob secret");
        clients[2].run("SELECT 3");
        for monitor in &mut monitors {
            for step in 0..50 {
                assert_eq!(shown(monitor), format!("\"SET\" \"k\" \"{step}\\x00\\n\""));
            }
            assert_eq!(shown(monitor), "\"AUTH\" \"(redacted)\" \"(redacted)\"");
            assert!(monitor.reply().to_string().contains("[3 127.0.0.1:"));
        }
        let list = clients[0].run("CLIENT LIST").text();
        assert_eq!(list.matches(" flags=O ").count(), 4, "{list}");
        assert_eq!(monitors[0].run("RESET").to_string(), "RESET");
        clients[1].run("PING");
        assert!(monitors[0].is_silent());
    }
}

#[test]
fn a_monitor_that_does_not_read_is_cut_and_hurts_nobody() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut monitor, mut client) = (server.client(), server.client());
        client.run("CONFIG SET client-output-buffer-limit 'normal 1000000 0 0'");
        monitor.run("CLIENT SETNAME sleepy");
        monitor.run("MONITOR");
        let value = "x".repeat(100_000);
        let started = Instant::now();
        while client.run("CLIENT LIST").text().contains("name=sleepy") {
            assert!(started.elapsed() < Duration::from_secs(20));
            for _ in 0..20 {
                assert_eq!(client.run(&format!("SET k {value}")).to_string(), "OK");
            }
        }
        assert!(client.run("INFO stats").text().contains("client_output_buffer_limit_disconnections:1"));
    }
}

#[test]
fn a_reader_that_is_too_slow_is_stopped_and_then_cut() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut slow, mut client) = (server.client(), server.client());
        client.run(&format!("SET k {}", "x".repeat(10_000)));
        slow.run("CLIENT SETNAME slow");
        slow.send(&b"INCR n\r\nGET k\r\n".repeat(20_000)); // 200 MB of replies.
        let line = |client: &mut Client| {
            let list = client.run("CLIENT LIST").text();
            list.lines().find(|line| line.contains("name=slow")).unwrap_or_default().to_string()
        };
        let field = |line: &str, name: &str| -> u64 {
            let start = line.find(name).expect("the field") + name.len();
            line[start..].split(' ').next().and_then(|digits| digits.parse().ok()).expect("a number")
        };
        let mut run_so_far = || {
            std::thread::sleep(Duration::from_millis(100));
            client.run("GET n").text().parse::<u32>().unwrap_or_default()
        };
        let (mut before, mut now) = (0, run_so_far());
        while now == 0 || before != now {
            (before, now) = (now, run_so_far());
        }
        assert!(now < 20_000, "its commands wait until it reads");
        let shown = line(&mut client);
        // They are values that are stored anyway.
        assert!(field(&shown, " omem=") + field(&shown, " obl=") < 18_000_000, "{shown}");
        client.run("CONFIG SET client-output-buffer-limit 'normal 0 100000 1'");
        let started = Instant::now();
        while !line(&mut client).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", line(&mut client));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn many_clients_are_listed_quickly() {
    let server = Server::start(&["--threads", "2"]);
    let mut client = server.client();
    let idle: Vec<Client> = (0..2000).map(|_| server.client()).collect();
    let mut list_all = || client.run("CLIENT LIST").text().lines().count();
    let started = Instant::now();
    while list_all() < 2001 {
        assert!(started.elapsed() < Duration::from_secs(20), "all are accepted");
    }
    is_quick_at_times(Duration::from_millis(500), || assert_eq!(list_all(), 2001));
    drop(idle);
}

/// What a monitor is shown of some commands: database and words of each.
fn monitored(server: &Server) -> Vec<String> {
    let (mut monitor, mut client) = (server.client(), server.client());
    monitor.run("MONITOR");
    let commands: [&[&[u8]]; 11] = [
        &[b"SET", b"k", b"a \"quoted\" \\ back\\slash 'text'"],
        &[b"set", b"\x00\x01\xff\r\n\t\x07\x08 ~", b""],
        &[b"nosuch", b"x"],
        &[b"get"],
        &[b"SELECT", b"5"],
        &[b"ping"],
        &[b"AUTH", b"wrong"],
        &[b"HELLO", b"3", b"AUTH", b"bob", b"pw"],
        &[b"CONFIG", b"SET", b"hz", b"10"],
        &[b"ACL", b"SETUSER", b"bob", b">pw"],
        &[b"CLIENT", b"SETNAME", b"me"],
    ];
    commands.iter().for_each(|words| drop(client.call(words)));
    client.run("ECHO end");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains("end")) {
        let line = String::from_utf8(monitor.raw_reply()).unwrap();
        let (place, words) = line.split_once(" [").unwrap().1.split_once("] ").unwrap();
        let (db, peer) = place.split_once(' ').unwrap();
        assert!(peer.starts_with("127.0.0.1:"), "{line}");
        lines.push(format!("{db} {words}"));
    }
    lines
}

#[test]
fn monitors_are_shown_the_lines_of_redis() {
    assert_eq!(monitored(&Server::start(&[])), monitored(&Server::reference()));
}
