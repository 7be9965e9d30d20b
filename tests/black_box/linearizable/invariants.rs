//! What must hold at every moment, watched while others write as fast as they can.

use crate::harness::{Client, Server, Value, engines};
use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

const DURATION: Duration = Duration::from_millis(1500);

/// What one client does over and over; it is told the round's number.
type Writer = dyn Fn(&mut Client, usize) + Sync;

/// Runs `writers` until `watch` has had its time with a connection of its own, on each engine with four loops.
fn while_writing(writers: &[&Writer], prepare: fn(&mut Client), watch: impl Fn(&mut Client) + Sync) {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        prepare(&mut server.client());
        let stop = OnceLock::new();
        std::thread::scope(|scope| {
            for writer in writers {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    let mut client = server.client();
                    (0..).take_while(|_| stop.get().is_none()).for_each(|turn| writer(&mut client, turn));
                });
            }
            let watcher = scope.spawn(|| {
                let (mut client, started) = (server.client(), Instant::now());
                while started.elapsed() < DURATION {
                    watch(&mut client);
                }
            });
            let outcome = watcher.join();
            stop.get_or_init(|| ());
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

#[test]
fn keys_that_mset_writes_together_are_equal_in_every_mget() {
    let write = |name: &'static str| {
        move |client: &mut Client, turn: usize| {
            let value = format!("{name}{turn}");
            assert_eq!(client.run(&format!("MSET x {value} y {value} z {value}")).to_string(), "OK");
        }
    };
    let delete = |client: &mut Client, _: usize| drop(client.run("DEL y x z"));
    while_writing(
        &[&write("a"), &write("b"), &delete],
        |_| {},
        |client| {
            let values = client.run("MGET z x y").items();
            assert!(values[0] == values[1] && values[1] == values[2], "half an MSET was seen: {values:?}");
            let count = client.run("EXISTS x y z").int();
            assert!(count == 0 || count == 3, "{count} of 3 keys exist");
        },
    );
}

#[test]
fn a_token_that_is_renamed_around_a_ring_is_always_in_one_place() {
    let rename = |client: &mut Client, turn: usize| {
        let reply = client.run(&format!("RENAME r{} r{}", turn % 4, (turn + 1) % 4)).to_string();
        assert!(reply == "OK" || reply == "ERR no such key", "{reply}");
    };
    while_writing(
        &[&rename, &rename],
        |client| drop(client.run("SET r0 token")),
        |client| {
            let count = client.run("EXISTS r0 r1 r2 r3").int();
            assert_eq!(count, 1, "tokens");
            let values = client.run("MGET r3 r2 r1 r0").items();
            assert_eq!(values.iter().filter(|value| **value == Value::bulk("token")).count(), 1, "{values:?}");
        },
    );
}

#[test]
fn counters_count_every_increment_once() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut client = server.client();
                    for _ in 0..200 {
                        client.send(&b"INCR n\r\nINCRBY m 3\r\nDECR d\r\nAPPEND s x\r\n".repeat(20));
                        client.replies(80);
                    }
                });
            }
        });
        let mut client = server.client();
        assert_eq!(client.run("MGET n m d").to_string(), "['16000', '48000', '-16000']");
        assert_eq!(client.run("STRLEN s").to_string(), "16000");
    }
}

#[test]
fn a_scan_finds_every_key_that_stays_while_the_table_grows_and_shrinks() {
    let churn = |name: &'static str| {
        move |client: &mut Client, turn: usize| {
            // Grow by 20 000 keys, then take them away: many generations of each shard.
            let command = if turn % 80 < 40 { "SET" } else { "DEL" };
            let value = if command == "SET" { " v" } else { "" };
            let keys = (turn % 40) * 500..(turn % 40 + 1) * 500;
            let lines: String = keys.clone().map(|n| format!("{command} {name}:{n}{value}\r\n")).collect();
            client.send(lines.as_bytes());
            client.replies(keys.len());
        }
    };
    let prepare = |client: &mut Client| {
        client.send((0..2000).map(|n| format!("SET fixed:{n} v\r\n")).collect::<String>().as_bytes());
        client.replies(2000);
    };
    while_writing(&[&churn("a"), &churn("b")], prepare, |client| {
        let (mut cursor, mut found) = ("0".to_string(), HashSet::new());
        loop {
            let reply = client.run(&format!("SCAN {cursor} MATCH fixed:* COUNT 100")).items();
            found.extend(reply[1].items().iter().map(Value::text));
            cursor = reply[0].text();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 2000, "keys that were there all the time");
    });
}

#[test]
fn keys_expire_soon_after_their_deadline_although_nobody_asks_for_them() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let mut client = server.client();
        for chunk in 0..20 {
            let set = |n: usize| format!("SET t:{chunk}:{n} v PX {}\r\n", 200 + (n * 7) % 800);
            client.send((0..1000).map(set).collect::<String>().as_bytes());
            client.replies(1000);
        }
        let started = Instant::now();
        while client.run("DBSIZE").int() > 0 {
            assert!(started.elapsed() < Duration::from_secs(10), "{} keys are still there", client.run("DBSIZE"));
            std::thread::sleep(Duration::from_millis(20));
        }
        let stats = client.run("INFO stats").text();
        assert!(stats.contains("expired_keys:20000\r\n"), "{stats}");
    }
}

#[test]
fn a_sum_that_transactions_keep_is_the_same_at_every_look() {
    let transfer = |client: &mut Client, turn: usize| {
        let (from, to, amount) = (turn % 5, (turn * 3 + 1) % 5, 1 + turn % 7);
        client.send(format!("MULTI\r\nDECRBY a{from} {amount}\r\nINCRBY a{to} {amount}\r\nEXEC\r\n").as_bytes());
        assert_eq!(client.replies(4)[3].items().len(), 2);
    };
    const SCRIPT: &str = "redis.call('decrby', KEYS[1], ARGV[1]) return redis.call('incrby', KEYS[2], ARGV[1])";
    let transfer_by_script = |client: &mut Client, turn: usize| {
        let (from, to, amount) = (turn % 5, (turn * 3 + 1) % 5, 1 + turn % 7);
        client.run(&format!("EVAL \"{SCRIPT}\" 2 a{from} a{to} {amount}")).int();
    };
    while_writing(
        &[&transfer, &transfer_by_script, &transfer],
        |client| drop(client.run("MSET a0 100 a1 100 a2 100 a3 100 a4 100")),
        |client| {
            let sum = |values: &Value| {
                values.items().iter().map(|value| value.text().parse::<i64>().expect("a number")).sum::<i64>()
            };
            assert_eq!(sum(&client.run("MGET a0 a1 a2 a3 a4")), 500);
            client.send(b"MULTI\r\nGET a3\r\nGET a0\r\nGET a4\r\nGET a1\r\nGET a2\r\nEXEC\r\n");
            assert_eq!(sum(&client.replies(7)[6]), 500);
        },
    );
}

#[test]
fn a_counter_behind_watch_counts_every_success_once() {
    const INCREMENTS: usize = 300;
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        server.client().run("SET n 0");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut client = server.client();
                    (0..INCREMENTS).for_each(|_| increment_watched(&mut client));
                });
            }
            scope.spawn(|| {
                let mut client = server.client();
                (0..INCREMENTS).for_each(|_| drop(client.run("INCR n")));
            });
        });
        let mut client = server.client();
        assert_eq!(client.run("GET n").text(), (4 * INCREMENTS).to_string());
        assert!(client.run("INFO clients").text().contains("total_watched_keys:0\r\n"));
    }
}

/// Adds 1 to a number that nobody else may change meanwhile, as often as it takes.
fn increment_watched(client: &mut Client) {
    loop {
        client.run("WATCH n");
        let n: i64 = client.run("GET n").text().parse().expect("a number");
        client.send(format!("MULTI\r\nSET n {}\r\nEXEC\r\n", n + 1).as_bytes());
        if client.replies(3)[2] != Value::Nil {
            return;
        }
    }
}

/// Takes from one list only while both together are long enough: what was only watched counts at EXEC, too. Others add to the
/// lists without watching anything.
#[test]
fn what_was_watched_is_at_exec_as_it_was_read() {
    const ENOUGH: i64 = 6;
    let take = |client: &mut Client, turn: usize| {
        client.send(b"WATCH a b\r\nLLEN a\r\nLLEN b\r\n");
        let seen = client.replies(3);
        let (a, b) = (seen[1].int(), seen[2].int());
        if a + b > ENOUGH {
            let list = if a == 0 || b > 0 && turn.is_multiple_of(2) { "b" } else { "a" };
            client.send(format!("MULTI\r\nRPOP {list}\r\nEXEC\r\n").as_bytes());
            let done = &client.replies(3)[2];
            assert!(*done == Value::Nil || done.items()[0] != Value::Nil, "it was there when it was read");
        } else {
            client.run("UNWATCH");
        }
    };
    let add = |client: &mut Client, turn: usize| {
        client.run(if turn.is_multiple_of(2) { "LPUSH a x" } else { "RPUSH b x" });
    };
    while_writing(
        &[&take, &add, &take],
        |client| drop(client.run("RPUSH a 1 2 3 4 5 6")),
        |client| {
            client.send(b"MULTI\r\nLLEN a\r\nLLEN b\r\nEXEC\r\n");
            let lens = client.replies(4);
            let sum: i64 = lens[3].items().iter().map(Value::int).sum();
            assert!(sum >= ENOUGH, "{sum} are left");
        },
    );
}
