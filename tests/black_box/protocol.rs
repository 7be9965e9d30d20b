//! Bytes on the wire: requests however they are cut, broken requests, limits, slow and half-closed clients.

use crate::harness::{Client, Server, Value, engines, request};
use std::time::Duration;

/// Runs `f` with a fresh connection on each engine.
fn on_each_engine(f: impl Fn(&Server, &mut Client)) {
    for &engine in engines() {
        Server::lease(engine, |server| f(server, &mut server.client()));
    }
}

/// Sends `bytes`; the reply must be `expected` and the server must hang up.
fn is_refused(server: &Server, bytes: &[u8], expected: &str) {
    let mut client = server.client();
    client.send(bytes);
    let got = client.until_closed();
    assert_eq!(got.escape_ascii().to_string(), format!("{expected}\r\n").into_bytes().escape_ascii().to_string());
}

#[test]
fn broken_requests_get_the_errors_of_redis_and_are_hung_up_on() {
    on_each_engine(|server, _| {
        let cases: [(&[u8], &str); 12] = [
            (b"*1000000000000\r\n", "-ERR Protocol error: invalid multibulk length"),
            (b"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length"),
            (b"*x\r\n", "-ERR Protocol error: invalid multibulk length"),
            (b"*\r\n", "-ERR Protocol error: invalid multibulk length"),
            (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length"),
            (b"*1\r\n$x\r\n", "-ERR Protocol error: invalid bulk length"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", "-ERR Protocol error: invalid bulk length"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$536870913\r\n", "-ERR Protocol error: invalid bulk length"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "-ERR Protocol error: expected '$', got 'f'"),
            (b"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'"),
            (b"set \"x y\r\n", "-ERR Protocol error: unbalanced quotes in request"),
            (b"set 'x'y z\r\n", "-ERR Protocol error: unbalanced quotes in request"),
        ];
        for (bytes, expected) in cases {
            is_refused(server, bytes, expected);
        }
    });
}

#[test]
fn lines_without_end_are_refused() {
    on_each_engine(|server, _| {
        let long = |start: &str| [start.as_bytes(), &[b'1'; 70 << 10]].concat();
        is_refused(server, &[b'a'; 70 << 10], "-ERR Protocol error: too big inline request");
        is_refused(server, &long("*"), "-ERR Protocol error: too big mbulk count string");
        is_refused(server, &long("*1\r\n$"), "-ERR Protocol error: too big bulk count string");
    });
}

#[test]
fn what_came_before_a_broken_request_is_answered() {
    on_each_engine(|_, client| {
        client.send(b"PING\r\nSET before 1\r\n*1\r\n$-5\r\nPING\r\n");
        assert_eq!(client.until_closed(), b"+PONG\r\n+OK\r\n-ERR Protocol error: invalid bulk length\r\n");
    });
}

#[test]
fn requests_that_ask_for_nothing_are_passed_over() {
    on_each_engine(|_, client| {
        client.send(b"\r\n\n*0\r\n*-1\r\n*-10\r\n   \r\nPING\r\n");
        assert_eq!(client.reply().to_string(), "PONG");
        assert!(client.is_silent());
    });
}

#[test]
fn inline_requests_know_quotes_and_escapes() {
    on_each_engine(|_, client| {
        client.send(b"  set  'a key'  \"v\\x00\\n\\\"\"  \r\nGET 'a key'\nEcHo \"\"\n");
        assert_eq!(client.reply().to_string(), "OK");
        assert_eq!(client.reply(), Value::Bulk(b"v\0\n\"".to_vec()));
        assert_eq!(client.reply(), Value::bulk(""));
    });
}

#[test]
fn a_pipeline_may_be_cut_anywhere() {
    let mut bytes = request(&["SET", "k", "value"]);
    bytes.extend(b"PING inline\r\n");
    bytes.extend(request(&["APPEND", "k", "\r\n$5\r\n"]));
    bytes.extend(request(&["GET", "k"]));
    let expected = b"+OK\r\n$6\r\ninline\r\n:11\r\n$11\r\nvalue\r\n$5\r\n\r\n";
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            for at in 1..bytes.len() {
                client.send(&bytes[..at]);
                std::thread::sleep(Duration::from_micros(300));
                client.send(&bytes[at..]);
                let got: Vec<u8> = (0..4).flat_map(|_| client.raw_reply()).collect();
                assert_eq!(got, expected, "cut at {at}");
            }
            for piece in bytes.chunks(1) {
                client.send(piece);
            }
            let got: Vec<u8> = (0..4).flat_map(|_| client.raw_reply()).collect();
            assert_eq!(got, expected, "byte by byte");
        });
    }
}

#[test]
fn a_huge_pipeline_is_answered_in_order() {
    on_each_engine(|_, client| {
        const COUNT: usize = 100_000;
        let bytes: Vec<u8> = (0..COUNT).flat_map(|n| request(&["ECHO".to_string(), n.to_string()])).collect();
        std::thread::scope(|scope| {
            let mut writer = client.stream().try_clone().expect("a second handle");
            scope.spawn(move || std::io::Write::write_all(&mut writer, &bytes).expect("the server reads"));
            for n in 0..COUNT {
                assert_eq!(client.reply(), Value::bulk(&n.to_string()));
            }
        });
    });
}

#[test]
fn a_request_of_very_many_arguments_is_taken() {
    on_each_engine(|_, client| {
        let mut words = vec!["MSET".to_string()];
        (0..50_000).for_each(|n| words.extend([format!("k{n}"), n.to_string()]));
        assert_eq!(client.call(&words).to_string(), "OK");
        assert_eq!(client.run("GET k49999"), Value::bulk("49999"));
        assert_eq!(client.run("DBSIZE").int(), 50_000);
        words[0] = "DEL".into();
        assert_eq!(client.call(&words).int(), 50_000);
    });
}

#[test]
fn large_values_go_in_and_out_whole() {
    on_each_engine(|_, client| {
        for len in [16 << 10, (32 << 10) - 1, 32 << 10, (1 << 20) + 1, 20 << 20] {
            let value: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
            assert_eq!(client.call(&[&b"SET"[..], b"big", &value]).to_string(), "OK");
            assert_eq!(client.run("STRLEN big").int(), len as i64);
            client.send(b"GET big\r\nPING\r\nGET big\r\n");
            assert!(client.reply() == Value::Bulk(value.clone()), "{len} bytes");
            assert_eq!(client.reply().to_string(), "PONG");
            assert!(client.reply() == Value::Bulk(value), "{len} bytes");
        }
    });
}

#[test]
fn a_bulk_costs_memory_only_as_it_arrives() {
    on_each_engine(|server, client| {
        let before = used_memory(client);
        let mut greedy: Vec<Client> = (0..8).map(|_| server.client()).collect();
        for other in &mut greedy {
            other.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nonly the beginning");
        }
        std::thread::sleep(Duration::from_millis(100));
        let grown = used_memory(client).saturating_sub(before); // A MiB ahead for each, and the connections.
        assert!(grown < 12 << 20, "eight bulks of 512 MB were announced, and {grown} bytes allocated");
        assert!(greedy[0].is_silent(), "512 MB exactly is not refused");
    });
}

fn used_memory(client: &mut Client) -> u64 {
    let info = client.run("INFO memory").text();
    let field = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("the field");
    field.parse().expect("a number")
}

#[test]
fn proto_max_bulk_len_limits_what_is_received_and_what_is_made() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--proto-max-bulk-len", "1mb"]);
        is_refused(&server, b"*2\r\n$4\r\nECHO\r\n$1048577\r\n", "-ERR Protocol error: invalid bulk length");
        let mut client = server.client();
        assert_eq!(client.call(&[&b"SET"[..], b"k", &vec![b'x'; 1 << 20]]).to_string(), "OK");
        let too_long = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
        assert_eq!(client.run("APPEND k y").to_string(), too_long);
        assert_eq!(client.run("SETRANGE k 1048576 y").to_string(), too_long);
        assert_eq!(client.run("STRLEN k").int(), 1 << 20);
    }
}

#[test]
fn limits_are_tight_before_authentication() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--requirepass", "sesame"]);
        is_refused(&server, b"*11\r\n", "-ERR Protocol error: unauthenticated multibulk length");
        is_refused(&server, b"*2\r\n$4\r\nPING\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length");
        let mut client = server.client();
        client.send(&request(&["AUTH".to_string(), "x".repeat(16384)]));
        let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(client.reply().to_string(), wrong);
        assert_eq!(client.run("GET k").to_string(), "NOAUTH Authentication required.");
        assert_eq!(client.run("AUTH sesame").to_string(), "OK");
        assert_eq!(client.call(&["SET", "k", &"x".repeat(20_000)]).to_string(), "OK");
        assert_eq!(client.call(&["DEL"; 20]).int(), 0);
    }
}

#[test]
fn a_half_closed_client_gets_all_its_replies() {
    on_each_engine(|server, _| {
        let mut client = server.client();
        client.send(&b"INCR half\r\n".repeat(1000));
        client.half_close();
        let replies = client.until_closed();
        assert_eq!(replies.split(|&byte| byte == b'\n').count() - 1, 1000);
        assert!(replies.ends_with(b":1000\r\n"));
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_request_changes_nothing() {
    on_each_engine(|server, client| {
        let mut leaver = server.client();
        leaver.send(b"SET done 1\r\n*3\r\n$3\r\nSET\r\n$6\r\nundone\r\n$5\r\nab");
        assert_eq!(leaver.reply().to_string(), "OK");
        drop(leaver);
        assert_eq!(client.run("EXISTS done undone").int(), 1);
    });
}

#[test]
fn a_client_that_does_not_read_stops_nobody() {
    on_each_engine(|server, client| {
        assert_eq!(client.call(&[&b"SET"[..], b"big", &vec![b'x'; 1 << 20]]).to_string(), "OK");
        let mut lazy: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for other in &mut lazy {
            other.send(&b"GET big\r\n".repeat(40));
        }
        for _ in 0..100 {
            assert_eq!(client.run("PING").to_string(), "PONG");
        }
        for other in &mut lazy {
            for _ in 0..40 {
                assert_eq!(other.reply().bytes().len(), 1 << 20, "the replies were kept");
            }
        }
    });
}

#[test]
fn names_of_commands_and_options_have_no_case() {
    on_each_engine(|_, client| {
        client.send(b"sEt k v eX 100 nX\r\ngEt k\r\ncLiEnT gEtNaMe\r\n");
        assert_eq!(client.reply().to_string(), "OK");
        assert_eq!(client.reply(), Value::bulk("v"));
        assert_eq!(client.reply(), Value::Nil);
    });
}

#[test]
fn unknown_commands_are_quoted_back_shortened() {
    on_each_engine(|_, client| {
        let got = client.call(&["nosuch", "a", "b c", "d\ne"]).to_string();
        assert_eq!(got, "ERR unknown command 'nosuch', with args beginning with: 'a' 'b c' 'd e' ");
        let long = client.call(&["x".repeat(200), "y".repeat(200), "z".into()]).to_string();
        let expected =
            format!("ERR unknown command '{}', with args beginning with: '{}' ", "x".repeat(128), "y".repeat(128));
        assert_eq!(long, expected);
        assert_eq!(client.run("GET").to_string(), "ERR wrong number of arguments for 'get' command");
        assert_eq!(client.run("CONFIG GET").to_string(), "ERR wrong number of arguments for 'config|get' command");
        assert_eq!(client.run("CLIENT nosuch").to_string(), "ERR unknown subcommand 'nosuch'. Try CLIENT HELP.");
    });
}

#[test]
fn many_clients_come_and_go() {
    on_each_engine(|server, client| {
        for round in 0..10 {
            let mut crowd: Vec<Client> = (0..100).map(|_| server.client()).collect();
            for (n, other) in crowd.iter_mut().enumerate() {
                other.send(format!("INCR crowd\r\nECHO {n}\r\n").as_bytes());
            }
            for (n, other) in crowd.iter_mut().enumerate() {
                other.reply();
                assert_eq!(other.reply(), Value::bulk(&n.to_string()));
            }
            assert_eq!(client.run("GET crowd"), Value::bulk(&((round + 1) * 100).to_string()));
        }
    });
}

#[test]
fn ipv6_and_unix_sockets_serve_like_ipv4() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--unixsocket", "./socket", "--unixsocketperm", "700"]);
        let mut unix = Client::unix(&server.path("socket"));
        assert_eq!(unix.run("SET k v").to_string(), "OK");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&server.path("socket").metadata().expect("a socket").permissions());
        assert_eq!(mode & 0o777, 0o700);
        assert!(unix.run("CLIENT INFO").text().contains("/socket:0"));
        if let Ok(mut six) = std::net::TcpStream::connect(("::1", server.port)) {
            std::io::Write::write_all(&mut six, b"GET k\r\n").expect("sent");
            let mut reply = [0; 7];
            std::io::Read::read_exact(&mut six, &mut reply).expect("a reply");
            assert_eq!(&reply, b"$1\r\nv\r\n");
        }
    }
}

#[test]
fn maxclients_turns_further_clients_away_with_a_reason() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--maxclients", "3"]);
        let mut guests: Vec<Client> = (0..3).map(|_| server.client()).collect();
        guests.iter_mut().for_each(|guest| assert_eq!(guest.run("PING").to_string(), "PONG"));
        assert_eq!(server.client().until_closed(), b"-ERR max number of clients reached\r\n");
        guests.pop();
        let admitted = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let mut client = server.client();
            client.send(b"PING\r\n");
            client.reply_within(Duration::from_secs(20)).is_ok_and(|reply| !reply.is_error())
        });
        assert!(admitted, "a place that was left is given to the next");
    }
}

#[test]
fn an_idle_client_is_let_go_after_the_timeout() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--timeout", "1"]);
        let mut client = server.client();
        assert_eq!(client.run("PING").to_string(), "PONG");
        assert_eq!(client.until_closed(), b"");
    }
}

#[test]
fn a_request_of_http_is_cut_off_before_its_body_runs() {
    on_each_engine(|server, client| {
        for head in ["POST / HTTP/1.1\r\n", "pOsT\r\n", "Host: localhost\r\n", "HOST:\r\n"] {
            let mut page = server.client();
            page.send(format!("{head}\r\nSET attack 1\r\nPING\r\n").as_bytes());
            assert_eq!(page.until_closed(), b"", "{head:?}");
        }
        let mut page = server.client();
        page.send(b"MULTI\r\nGET / HTTP/1.1\r\nPOST x\r\nSET attack 1\r\nEXEC\r\n");
        assert!(page.until_closed().starts_with(b"+OK\r\n-ERR"));
        assert_eq!(client.run("EXISTS attack").int(), 0);
        let in_a_script = client.run("EVAL \"return redis.pcall('post').err\" 0");
        assert_eq!(in_a_script.text(), "ERR Unknown Redis command called from script");
    });
}
