//! Ordinary programs against the server: a client library, redis-cli, redis-benchmark.

use crate::harness::{Server, engines};
use redis::Commands;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn an_ordinary_client_library_works() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            for protocol in ["resp2", "resp3"] {
                let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port);
                let client = redis::Client::open(url).expect("an address");
                let mut connection = client.get_connection().expect("a connection");
                let () = connection.set("library", "value").expect("SET");
                assert_eq!(connection.get::<_, String>("library").expect("GET"), "value");
                assert_eq!(connection.get::<_, Option<String>>("nothing").expect("GET"), None);
                assert_eq!(connection.incr::<_, _, i64>("counter", 5).expect("INCRBY") % 5, 0);
                let () = connection.mset(&[("a", 1), ("b", 2)]).expect("MSET");
                assert_eq!(connection.mget::<_, Vec<i64>>(&["a", "b"]).expect("MGET"), [1, 2]);
                let piped: (String, i64) =
                    redis::pipe().get("library").del("library").query(&mut connection).expect("a pipeline");
                assert_eq!(piped, ("value".into(), 1));
                let mut found: Vec<String> = connection.scan_match("[ab]").expect("SCAN").collect();
                found.sort();
                assert_eq!(found, ["a", "b"]);
                let error = redis::cmd("INCR").arg("a").arg("b").query::<i64>(&mut connection).unwrap_err();
                assert!(error.to_string().contains("wrong number of arguments for 'incr' command"), "{error}");
            }
        });
    }
}

/// A tool that `scripts/test` installs. Its absence is a failure, so that it is noticed.
fn tool(name: &str, args: &[&str], input: &str) -> String {
    let mut command = Command::new(name);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} (apt-get install redis-tools): {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {text}");
    text
}

#[test]
fn redis_cli_talks_to_it() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let port = server.port.to_string();
            let script = "SET k 'a b'\nGET k\nSTRLEN k\nINCR k\nGET nothing\nMGET k nothing\n";
            let expected = "OK\na b\n3\nERR value is not an integer or out of range\n\n\na b\n\n";
            assert_eq!(tool("redis-cli", &["-p", &port], script), expected);
            let three = tool("redis-cli", &["-3", "--no-raw", "-p", &port, "LCS", "k", "k", "IDX"], "");
            assert!(three.contains("1# \"matches\"") && three.contains("2# \"len\" => (integer) 3"), "{three}");
            assert!(tool("redis-cli", &["-p", &port, "--scan", "--pattern", "k*"], "").starts_with("k\n"));
            assert!(tool("redis-cli", &["-p", &port, "INFO"], "").contains("redis_version:7.2.4"));
            let piped = tool("redis-cli", &["-p", &port, "--pipe"], &"SET p v\r\n".repeat(1000));
            assert!(piped.contains("errors: 0, replies: 1000"), "{piped}");
        });
    }
}

#[test]
fn redis_benchmark_runs_against_it() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let port = server.port.to_string();
            let tests = ["-t", "ping,set,get,incr,mset", "-n", "2000", "-c", "20", "-P", "8", "-r", "100", "--csv"];
            let output = tool("redis-benchmark", &[&["-p", &port][..], &tests].concat(), "");
            for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"] {
                assert!(output.contains(&format!("\"{test}\",\"")), "{test} is missing: {output}");
            }
            assert!(!output.contains("Error"), "{output}");
        });
    }
}
