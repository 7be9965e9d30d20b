//! Publish and subscribe: dialogues of several connections compared with redis-server, the order in which messages arrive,
//! and what becomes of subscribers that do not read, or may not listen any more.

use crate::harness::{Client, Server, Value, check, engines, request, words};
use std::time::{Duration, Instant};

/// Runs `NAME: COMMAND ; COMMAND …` lines, each on the connection of that name (a name that ends in 3 speaks RESP3), and shows what
/// every connection is sent in each step.
fn transcript(server: &Server, dialogue: &str) -> Vec<String> {
    let mut clients: Vec<(&str, Client)> = Vec::new();
    let mut shown = Vec::new();
    for (step, line) in dialogue.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let (name, command) = line.split_once(": ").expect("NAME: COMMAND");
        if clients.iter().all(|(known, _)| *known != name) {
            let mut client = server.client();
            client.run(if name.ends_with('3') { "HELLO 3" } else { "HELLO 2" });
            clients.push((name, client));
        }
        // The actor first: when it has its reply, what that causes is on its way to the others.
        clients.sort_by_key(|(known, _)| *known != name);
        let requests: Vec<u8> = command.split(" ; ").flat_map(|command| request(&words(command))).collect();
        clients[0].1.send(&requests);
        let mut outputs: Vec<_> = clients.iter_mut().map(|(name, it)| (*name, output_of_step(it, step))).collect();
        if command.starts_with("HELLO") && !outputs[0].1.starts_with(b"-") {
            outputs[0].1.clear(); // It tells the server's version.
        }
        outputs.sort();
        let outputs: Vec<_> =
            outputs.iter().map(|(name, bytes)| format!("    {name} {}\n", bytes.escape_ascii())).collect();
        shown.push(format!("{line}\n{}", outputs.concat()));
    }
    shown
}

/// What a connection was sent before the answer to a PING of this step.
fn output_of_step(client: &mut Client, step: usize) -> Vec<u8> {
    let mark = format!("end-of-step-{step}");
    client.send(&request(&["PING", &mark]));
    let mut output = Vec::new();
    loop {
        let reply = client.raw_reply();
        output.extend_from_slice(&reply);
        if reply.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            return output;
        }
    }
}

#[track_caller]
pub fn compare(dialogue: &str) {
    let expected = transcript(&Server::reference(), dialogue);
    for &engine in engines() {
        Server::lease(engine, |server| {
            for (ours, theirs) in transcript(server, dialogue).iter().zip(&expected) {
                assert_eq!(ours, theirs, "ours, then that of the reference ({engine:?})");
            }
        });
    }
}

#[test]
fn dialogues_in_both_protocols_are_those_of_redis() {
    for (one, other) in [("a2", "b2"), ("a3", "b3"), ("a2", "b3"), ("a3", "b2")] {
        let dialogue = "
            A: SUBSCRIBE x y x
            B: PUBLISH x hello
            B: PUBLISH z hello
            A: SUBSCRIBE ''
            B: PUBLISH '' ''
            B: PSUBSCRIBE x*
            B: PSUBSCRIBE x*
            C: PUBLISH x both
            C: PUBLISH xyz pattern
            A: PSUBSCRIBE ?
            C: PUBLISH x twice
            C: PUBLISH y twice
            A: SSUBSCRIBE x s
            C: SPUBLISH x shard
            C: SPUBLISH nobody shard
            C: PUBLISH s plain
            C: PUBSUB NUMSUB x y z ''
            C: PUBSUB SHARDNUMSUB x s y
            C: PUBSUB NUMPAT
            C: PUBSUB CHANNELS y*
            C: PUBSUB SHARDCHANNELS s
            C: PUBSUB CHANNELS a b
            C: PUBSUB CHANNELS [
            C: PUBSUB NOSUCH
            C: PUBSUB NUMPAT x
            A: PING
            A: PING x
            A: UNSUBSCRIBE nosuch x x
            C: PUBLISH x after
            A: UNSUBSCRIBE y ''
            A: UNSUBSCRIBE
            A: PUNSUBSCRIBE
            A: PUNSUBSCRIBE
            A: SUNSUBSCRIBE s
            A: SUNSUBSCRIBE
            A: SUNSUBSCRIBE
            A: PING
            A: ECHO normal
            B: RESET
            B: PUBLISH x nobody
            B: SUBSCRIBE
            B: PUBLISH x
            B: PSUBSCRIBE x
            B: UNSUBSCRIBE
            B: PUNSUBSCRIBE
        ";
        compare(&dialogue.replace("A:", &format!("{one}:")).replace("B:", &format!("{other}:")).replace("C:", "c2:"));
    }
}

#[test]
fn transactions_and_scripts_publish_and_subscribe_as_those_of_redis() {
    for (one, other) in [("a2", "b2"), ("a3", "b3"), ("a3", "b2")] {
        let dialogue = "
            B: SUBSCRIBE x y
            B: PSUBSCRIBE y*
            B: SSUBSCRIBE s
            A: MULTI ; PUBLISH x 1 ; SET k v ; PUBLISH x 2 ; SPUBLISH s 3 ; PUBLISH y 4 ; EXEC
            A: MULTI ; PUBLISH x never ; DISCARD
            A: MULTI ; PUBLISH x never ; PUBLISH x ; EXEC
            A: MULTI ; SUBSCRIBE own x ; PING ; EXEC
            C: PUBLISH x both
            A: UNSUBSCRIBE x own
            A: MULTI ; PSUBSCRIBE p* ; PUBSUB NUMPAT ; PUNSUBSCRIBE ; PUBSUB NUMPAT ; EXEC
            A: MULTI ; SUNSUBSCRIBE t ; SUNSUBSCRIBE ; EXEC
            C: EVAL \"return {redis.call('publish', KEYS[1], 'one'), redis.call('publish', KEYS[1], 'two')}\" 1 x
            C: EVAL \"return redis.call('spublish', 's', ARGV[1])\" 0 three
            C: EVAL \"return redis.call('subscribe', 'x')\" 0
            C: EVAL \"return redis.pcall('publish', 'x')\" 0
            C: EVAL_RO \"return redis.pcall('publish', 'x', 'y')\" 0
            C: EVAL \"redis.call('publish', 'x', 'before') redis.call('nosuch')\" 0
            C: MULTI ; EVAL \"return redis.call('publish', 'x', 'inside')\" 0 ; PUBLISH x behind ; EXEC
            C: CONFIG SET notify-keyspace-events KEA
            B: PSUBSCRIBE __key*__:*
            C: MULTI ; SET k v ; INCR k ; DEL k ; EXEC
            C: MULTI ; SET k v ; LPUSH q a b ; LPOP q ; RENAME k kk ; EXPIRE kk 100 ; RPOP q ; SADD q m ; DEL q kk ; EXEC
            C: EVAL \"redis.call('set', 'k', 1) return redis.call('rpush', 'l', 1, 2)\" 0
            C: CONFIG SET notify-keyspace-events ''
        ";
        compare(&dialogue.replace("A:", &format!("{one}:")).replace("B:", &format!("{other}:")).replace("C:", "c2:"));
    }
}

#[test]
fn who_has_subscribed_to_nothing_is_told_so() {
    check(
        "
        PUBSUB HELP               => *
        PUBSUB CHANNELS           => []
        PUBSUB SHARDCHANNELS      => []
        PUBSUB NUMSUB a           => ['a', 0]
        PUBSUB SHARDNUMSUB a      => ['a', 0]
        PUBSUB NUMPAT             => 0
        PUBLISH a m               => 0
        SPUBLISH a m              => 0
        UNSUBSCRIBE               => ['unsubscribe', (nil), 0] || >['unsubscribe', (nil), 0]
        PUNSUBSCRIBE              => ['punsubscribe', (nil), 0] || >['punsubscribe', (nil), 0]
        SUNSUBSCRIBE              => ['sunsubscribe', (nil), 0] || >['sunsubscribe', (nil), 0]
        SSUBSCRIBE s              => ['ssubscribe', 's', 1] || >['ssubscribe', 's', 1]
        SUNSUBSCRIBE s            => ['sunsubscribe', 's', 0] || >['sunsubscribe', 's', 0]
        SUBSCRIBE s               => ['subscribe', 's', 1] || >['subscribe', 's', 1]
        PSUBSCRIBE s              => ['psubscribe', 's', 2] || >['psubscribe', 's', 2]
        RESET                     => RESET
    ",
    );
}

#[test]
fn in_resp2_a_subscriber_may_run_only_what_it_can_tell_from_messages() {
    compare(
        "
        a2: SUBSCRIBE x
        a2: GET k
        a2: CLIENT ID
        a2: PUBLISH x m
        a2: NOSUCH
        a2: PUBSUB CHANNELS
        a2: SUBSCRIBE
        a2: HELLO 3
        a2: PING a b
        a2: PSUBSCRIBE y
        a2: SSUBSCRIBE z
        a2: SUNSUBSCRIBE
        a2: PUNSUBSCRIBE
        a2: UNSUBSCRIBE
        a2: GET k
        a3: SUBSCRIBE x
        a3: GET k
        a3: HELLO 2
        a3: GET k
        a3: UNSUBSCRIBE x
        a3: GET k
        a2: SSUBSCRIBE z
        a2: GET k
        a2: RESET
        a2: GET k
    ",
    );
}

#[test]
fn large_messages_arrive_whole() {
    let large = "x".repeat(300_000);
    compare(&format!(
        "a2: SUBSCRIBE c\nb3: SUBSCRIBE c\nc2: PUBLISH c {large}\nc2: PUBLISH c short\nc2: PUBLISH c {large}"
    ));
}

#[test]
fn what_one_publishes_to_itself_stands_between_its_replies() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            client.speak(3);
            let lines = ["SUBSCRIBE me", "PUBLISH me 1", "PING", "PUBLISH me 2", "UNSUBSCRIBE me", "PUBLISH me 3"];
            client.send_lines(&lines);
            let replies: Vec<_> = client.replies(8).iter().map(Value::to_string).collect();
            let expected = [
                ">['subscribe', 'me', 1]",
                "1",
                ">['message', 'me', '1']",
                "PONG",
                "1",
                ">['message', 'me', '2']",
                ">['unsubscribe', 'me', 0]",
                "0",
            ];
            assert_eq!(replies, expected);
            assert!(client.is_silent());
        });
    }
}

/// The payload of a message of any kind.
fn payload(message: &Value) -> (String, String) {
    let items = message.items();
    (items[0].text(), items.last().expect("a payload").text())
}

#[test]
fn each_publishers_messages_arrive_in_order_and_once_on_every_loop() {
    const MESSAGES: usize = 3000;
    const PUBLISHERS: usize = 3;
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut subscribers: Vec<Client> = (0..6).map(|_| server.client()).collect();
        for (index, subscriber) in subscribers.iter_mut().enumerate() {
            subscriber.speak(if index % 2 == 0 { 3 } else { 2 });
            let command = ["SUBSCRIBE c", "PSUBSCRIBE ?", "SUBSCRIBE other c"][index % 3];
            subscriber.run(command);
            if index % 3 == 2 {
                subscriber.reply();
            }
        }
        std::thread::scope(|scope| {
            for publisher in 0..PUBLISHERS {
                let mut client = server.client();
                scope.spawn(move || {
                    for batch in (0..MESSAGES).collect::<Vec<_>>().chunks(50) {
                        let publish = |n: &usize| request(&["PUBLISH", "c", &format!("{publisher}:{n}")]);
                        client.send(&batch.iter().flat_map(publish).collect::<Vec<u8>>());
                        assert!(client.replies(batch.len()).iter().all(|reply| reply.int() == 6));
                    }
                });
            }
            for mut subscriber in subscribers {
                scope.spawn(move || {
                    let mut next = [0; PUBLISHERS];
                    for _ in 0..MESSAGES * PUBLISHERS {
                        let (_, text) = payload(&subscriber.reply());
                        let (publisher, number) = text.split_once(':').expect("publisher:number");
                        let publisher: usize = publisher.parse().expect("a number");
                        assert_eq!(number.parse(), Ok(next[publisher]), "of publisher {publisher}");
                        next[publisher] += 1;
                    }
                    assert!(subscriber.is_silent());
                });
            }
        });
    }
}

#[test]
fn who_comes_and_goes_gets_what_is_published_while_it_is_there() {
    const ROUNDS: usize = 150;
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut publisher = server.client();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut number = 0;
                while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    let batch: Vec<u8> =
                        (number..number + 20).flat_map(|n| request(&["PUBLISH", "c", &n.to_string()])).collect();
                    publisher.send(&batch);
                    publisher.replies(20);
                    number += 20;
                }
            });
            let comers = (0..4).map(|index| {
                let mut client = server.client();
                scope.spawn(move || {
                    let mut latest = -1;
                    for round in 0..ROUNDS {
                        let (join, leave) = if (index + round) % 2 == 0 {
                            ("SUBSCRIBE c", "UNSUBSCRIBE c")
                        } else {
                            ("PSUBSCRIBE c*", "PUNSUBSCRIBE")
                        };
                        assert!(payload(&client.run(join)).0.ends_with("subscribe"), "nothing comes before it");
                        let mut numbers = vec![latest];
                        while numbers.len() < 4 {
                            numbers.push(payload(&client.reply()).1.parse::<i64>().expect("a number"));
                        }
                        client.send(&request(&words(leave)));
                        loop {
                            match payload(&client.reply()) {
                                (kind, _) if kind.ends_with("unsubscribe") => break,
                                (_, number) => numbers.push(number.parse().expect("a number")),
                            }
                        }
                        assert!(numbers[1] > numbers[0], "{numbers:?}");
                        assert!(numbers[1..].windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
                        latest = numbers[numbers.len() - 1];
                    }
                    assert_eq!(client.run("PING").to_string(), "PONG");
                })
            });
            comers.collect::<Vec<_>>().into_iter().for_each(|comer| comer.join().expect("its assertions hold"));
            drop(stop);
        });
        let mut client = server.client();
        assert_eq!(client.run("PUBSUB CHANNELS").to_string(), "[]");
        assert_eq!(client.run("PUBSUB NUMPAT").int(), 0);
    }
}

/// Does what the test waits for happen in the end?
#[track_caller]
fn becomes(mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(30), "it has not happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_by_its_limit_and_hurts_nobody() {
    for &engine in engines() {
        for (limit, size) in
            [("pubsub 3000000 0 0", 1000), ("pubsub 3000000 0 0", 50_000), ("pubsub 0 1000000 1", 50_000)]
        {
            let server = Server::start_on(engine, &["--threads", "2"]);
            let (mut sleepy, mut awake, mut publisher) = (server.client(), server.client(), server.client());
            publisher.call(&["CONFIG", "SET", "client-output-buffer-limit", limit]);
            sleepy.run("CLIENT SETNAME sleepy");
            sleepy.run("SUBSCRIBE c");
            awake.run("SUBSCRIBE c");
            let message = "m".repeat(size);
            let (started, mut sent) = (Instant::now(), 0);
            while publisher.run("CLIENT LIST").text().contains("name=sleepy") {
                assert!(started.elapsed() < Duration::from_secs(60), "{limit}");
                for _ in 0..20 {
                    publisher.send(&request(&["PUBLISH", "c", &message]));
                }
                publisher.replies(20);
                sent += 20;
                assert!(awake.replies(20).iter().all(|it| payload(it).1.len() == size));
            }
            assert!(publisher.run("INFO stats").text().contains("client_output_buffer_limit_disconnections:1\r\n"));
            assert_eq!(publisher.run("PUBSUB NUMSUB c").to_string(), "['c', 1]", "{sent}");
            assert_eq!(publisher.run("PUBLISH c last").int(), 1);
            assert_eq!(payload(&awake.reply()).1, "last");
        }
    }
}

#[test]
fn who_loses_the_right_to_a_channel_is_closed_and_others_are_not() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut admin = server.client();
        admin.run("ACL SETUSER bob on nopass +@all ~* &a &b* &p?");
        let dialogue =
            [("SUBSCRIBE a", true), ("SUBSCRIBE b1", false), ("PSUBSCRIBE p?", true), ("SSUBSCRIBE b2", false)];
        let mut clients: Vec<(Client, bool)> = Vec::new();
        for (command, is_closed) in dialogue.into_iter().chain(dialogue) {
            let mut client = server.client();
            client.run("AUTH bob x");
            assert!(!client.run(command).is_error());
            clients.push((client, is_closed));
        }
        let mut stranger = server.client();
        stranger.run("SUBSCRIBE a");
        assert!(server.client().run("ACL SETUSER bob +get").to_string() == "OK");
        assert!(clients[0].0.run("SUBSCRIBE nosuch").text().starts_with("NOPERM"));
        assert_eq!(admin.run("ACL SETUSER bob resetchannels &b* &pattern").to_string(), "OK");
        for (client, is_closed) in &mut clients {
            if *is_closed {
                client.until_closed();
            } else {
                assert_eq!(client.run("PING").to_string(), "['pong', '']");
            }
        }
        assert_eq!(stranger.run("PING").to_string(), "['pong', '']");
        becomes(|| admin.run("PUBSUB NUMPAT").int() == 0);
        assert_eq!(admin.run("PUBSUB NUMSUB a b1").to_string(), "['a', 1, 'b1', 2]");
    }
}

#[test]
fn subscribers_are_seen_counted_and_killed_as_such() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut admin, mut a, mut b) = (server.client(), server.client(), server.client());
        a.run("SUBSCRIBE c");
        b.run("PSUBSCRIBE p*");
        let info = admin.run("INFO").text();
        for line in ["pubsub_channels:1", "pubsub_patterns:1", "pubsubshard_channels:0", "pubsub_clients:2"] {
            assert!(info.contains(&format!("{line}\r\n")), "{line}");
        }
        assert_eq!(admin.run("CLIENT LIST TYPE pubsub").text().matches(" flags=P ").count(), 2);
        assert_eq!(admin.run("CLIENT KILL TYPE pubsub").int(), 2);
        a.until_closed();
        b.until_closed();
        becomes(|| admin.run("INFO clients").text().contains("pubsub_clients:0\r\n"));
        assert_eq!(admin.run("PUBLISH c m").int(), 0);
        assert!(admin.run("INFO stats").text().contains("pubsub_channels:0\r\npubsub_patterns:0\r\n"));
    }
}
