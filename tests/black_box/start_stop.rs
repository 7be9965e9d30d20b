//! Life and death of the process: options and their mistakes, files, signals, exit codes.

use crate::harness::server::{free_port, spawn};
use crate::harness::{Client, Engine, Server, engines, is_quick_at_times};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs ringdb with arguments that should make it leave at once.
fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command).and_then(|child| child.wait_with_output().map_err(|error| error.to_string())).expect("ringdb runs")
}

/// It must leave with 1 and say each of `words`.
#[track_caller]
fn refuses(args: &[&str], words: &[&str]) {
    let output = run(args);
    let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should mention {word:?}: {text}");
    }
}

#[test]
fn it_serves_within_a_tenth_of_a_second() {
    // Not a benchmark: a wide margin for an unoptimised program on a busy machine.
    is_quick_at_times(Duration::from_millis(500), || drop(Server::start(&[])));
}

#[test]
fn the_start_screen_says_what_runs_and_how_to_connect() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        assert_eq!(server.client().run("PING").to_string(), "PONG");
        let (output, port) = (server.output(), server.port.to_string());
        let kind = if engine == Engine::Uring { "io_uring" } else { "epoll" };
        for word in
            ["ringdb 0.", kind, "loops", "redis-cli -p", &port, "Server initialized", "Ready to accept connections"]
        {
            assert!(output.contains(word), "{word:?} is missing: {output}");
        }
    }
}

#[test]
fn the_title_is_that_of_the_template() {
    let server = Server::start(&["--proc-title-template", "{title} at {listen-addr} {server-mode}"]);
    let shown = || {
        let bytes = std::fs::read(format!("/proc/{}/cmdline", server.pid())).expect("it runs");
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_string()
    };
    let (title, port) = (env!("CARGO_BIN_EXE_ringdb"), server.port);
    assert_eq!(shown(), format!("{title} at 127.0.0.1:{port}"));
    // Longer than the command line was: it goes on where the environment stood, which is still there.
    let long = "x".repeat(300);
    server.client().call(&["CONFIG", "SET", "proc-title-template", &format!("{long} {{port}}{{{{")]);
    assert_eq!(shown(), format!("{long} {port}{{"));
    let quiet = Server::start(&["--set-proc-title", "no"]);
    let bytes = std::fs::read(format!("/proc/{}/cmdline", quiet.pid())).expect("it runs");
    assert!(String::from_utf8_lossy(&bytes).contains("--set-proc-title\0no"));
}

#[test]
fn a_mistyped_option_is_named_with_what_was_meant() {
    refuses(&["--prot", "7000"], &[">>> 'prot \"7000\"'", "did you mean 'port'"]);
    refuses(&["--port", "70000"], &["port \"70000\"", "between 0 and 65535"]);
    refuses(&["--port", "x"], &["port \"x\""]);
    refuses(&["--io-engine", "kqueue"], &["kqueue", "uring", "epoll"]);
    refuses(&["--loglevel", "loud"], &["loud", "notice"]);
}

#[test]
fn a_mistyped_line_of_the_file_is_named_with_its_number() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("my.conf");
    std::fs::write(&path, "# a comment\nport 0\n\nmaxcleints 10\n").expect("written");
    let path = path.to_str().expect("a path");
    refuses(&[path], &["my.conf", "line 4", "maxcleints 10", "did you mean 'maxclients'"]);
    refuses(&["/nonexistent/my.conf"], &["/nonexistent/my.conf"]);
}

#[test]
fn options_win_over_the_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("my.conf");
    std::fs::write(&path, "port 1\ntimeout 77\nrequirepass \"two words\"\n").expect("written");
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
    command.arg(&path).args(["--port", &port.to_string()]).stdout(Stdio::null());
    let mut child = spawn(command).expect("ringdb runs");
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30) && matches!(child.try_wait(), Ok(None)));
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut client = Client::tcp(port);
    assert_eq!(client.call(&["AUTH", "two words"]).to_string(), "OK");
    assert_eq!(client.run("CONFIG GET timeout").to_string(), "['timeout', '77']");
    assert!(client.run("INFO server").text().contains("/my.conf"));
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn help_and_version_leave_with_success() {
    let version = run(&["--version"]);
    assert!(version.status.success() && String::from_utf8_lossy(&version.stdout).starts_with("ringdb "));
    let help = run(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.status.success());
    for option in ["--port", "--bind", "--threads", "--io-engine", "--requirepass", "--maxclients"] {
        assert!(text.contains(option), "{option} is missing: {text}");
    }
}

#[test]
fn a_port_in_use_is_told_with_cause_and_remedy() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let port = server.port.to_string();
        refuses(&["--port", &port, "--io-engine", engine.name()], &[&port, "in use", "--port"]);
        refuses(&["--port", &port, "--threads", "1"], &[&port, "in use"]);
        assert_eq!(server.client().run("PING").to_string(), "PONG", "the first server goes on");
    }
}

#[test]
fn sigterm_and_sigint_let_it_leave_with_success() {
    for &engine in engines() {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let mut server = Server::start_on(engine, &["--unixsocket", "./socket", "--pidfile", "./pid"]);
            let mut client = server.client();
            assert_eq!(client.run("SET k v").to_string(), "OK");
            assert!(server.path("socket").exists() && server.path("pid").exists());
            server.signal(signal);
            assert_eq!(server.exit_code(), Some(0), "{}", server.output());
            assert_eq!(client.until_closed(), b"");
            assert!(!server.path("socket").exists(), "the socket file is left behind");
            assert!(!server.path("pid").exists(), "the pid file is left behind");
        }
    }
}

#[test]
fn shutdown_lets_it_leave_with_success() {
    for &engine in engines() {
        for command in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOW FORCE"] {
            let mut server = Server::start_on(engine, &[]);
            let mut client = server.client();
            client.send(format!("{command}\r\nPING\r\n").as_bytes());
            assert_eq!(client.until_closed(), b"", "{command}");
            assert_eq!(server.exit_code(), Some(0), "{}", server.output());
        }
        let server = Server::start_on(engine, &[]);
        assert_eq!(server.client().run("SHUTDOWN NOW PLEASE").to_string(), "ERR syntax error");
        assert_eq!(server.client().run("SHUTDOWN ABORT").to_string(), "ERR No shutdown in progress.");
    }
}

#[test]
fn replies_in_flight_arrive_before_it_leaves() {
    for &engine in engines() {
        let mut server = Server::start_on(engine, &[]);
        let mut client = server.client();
        client.send(&b"INCR n\r\n".repeat(2000));
        assert_eq!(client.reply().int(), 1);
        server.signal(libc::SIGTERM);
        let rest = client.until_closed();
        assert!(rest.ends_with(b"\r\n"), "a reply was cut in two");
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn the_log_goes_where_it_is_told() {
    let server = Server::start(&["--logfile", "./my.log", "--loglevel", "verbose"]);
    assert_eq!(server.client().run("PING").to_string(), "PONG");
    let log = std::fs::read_to_string(server.path("my.log")).expect("the log");
    assert!(log.contains("Ready to accept connections"), "{log}");
}

#[test]
fn the_configuration_may_come_from_standard_input() {
    let port = free_port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
    command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = spawn(command).expect("ringdb runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, format!("port {port}\ntimeout 42\n").as_bytes()).expect("written");
    drop(stdin);
    let started = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(Client::tcp(port).run("CONFIG GET timeout").to_string(), "['timeout', '42']");
    drop(child.kill());
    drop(child.wait());
}

#[test]
fn the_watchdog_says_where_a_loop_is_that_does_not_come_back() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.run("CLIENT SETNAME sleeper");
    assert_eq!(client.run("CONFIG SET watchdog-period 200").text(), "OK");
    assert_eq!(client.run("DEBUG SLEEP 1").text(), "OK");
    assert_eq!(client.run("CONFIG SET watchdog-period 0").text(), "OK");
    let log = server.output();
    for part in ["WATCHDOG TIMER EXPIRED", "debugCommand of id=", "name=sleeper", "ringdb(+0x"] {
        assert!(log.contains(part), "no {part} in {log}");
    }
    assert_eq!(log.matches("WATCHDOG").count(), 1, "once per turn");
    assert_eq!(client.run("PING").text(), "PONG");
}

#[test]
fn a_crash_leaves_a_report_in_the_log() {
    for engine in [Engine::Uring, Engine::Epoll] {
        for (accident, sign) in [("SEGFAULT", "crashed by signal: 11"), ("ASSERT", "=== ASSERTION FAILED ===")] {
            let mut server = Server::start_on(engine, &[]);
            let mut client = server.client();
            client.run("CLIENT SETNAME culprit");
            client.send(format!("DEBUG {accident}\r\n").as_bytes());
            client.until_closed();
            check_report(&mut server, sign);
        }
    }
}

#[test]
fn whichever_thread_is_hit_the_report_is_whole() {
    for (engine, thread) in [(Engine::Uring, "ringdb"), (Engine::Epoll, "journal")] {
        let mut server = Server::start_on(engine, &["--appendonly", "yes", "--appendfsync", "always"]);
        let mut client = server.client();
        client.run("CLIENT SETNAME culprit");
        assert_eq!(client.run("SET key value").text(), "OK"); // The journal's thread has begun to work.
        match thread {
            "ringdb" => server.signal(libc::SIGABRT), // The whole process, as an operator does it: the first thread gets it.
            name => server.signal_thread(name, libc::SIGABRT),
        }
        client.until_closed();
        check_report(&mut server, "crashed by signal: 6 (SIGABRT)");
    }
}

/// The server ends with a signal, and has told all there is to tell.
fn check_report(server: &mut Server, sign: &str) {
    assert_eq!(server.exit_code(), None, "{}", server.output());
    let log = server.output();
    let parts = [
        "BUG REPORT START",
        "crashed by signal",
        "STACK TRACE -",
        "\nNames:\n   0: ",
        "STACK TRACE DONE",
        "LAST COMMAND OF EACH LOOP",
        "used_memory:",
        "name=culprit",
        "REPORT END",
    ];
    let places = parts.map(|part| log.rfind(part).unwrap_or_else(|| panic!("no {part} in {log}")));
    assert!(log.contains(sign) && places.is_sorted(), "{sign}, {places:?}: {log}");
}
