//! Keyspace notifications and client-side caching: dialogues compared with redis-server, expiry on time, and caches of
//! clients on several loops that are never out of date for good.

use crate::harness::{Client, Server, Value, engines, request};
use crate::pubsub::compare;
use std::collections::HashMap;
use std::time::{Duration, Instant};

#[test]
fn events_are_published_by_key_and_by_name() {
    compare(
        "
        a: CONFIG SET notify-keyspace-events KEA
        s: PSUBSCRIBE __key*__:*
        a: SET k v EX 100
        a: RENAME k l
        a: DEL l
        a: SELECT 3
        a: RPUSH list a b
        a: LPOP list 2
        a: CONFIG SET notify-keyspace-events Kl
        a: RPUSH list a
        a: SET k v
        a: CONFIG SET notify-keyspace-events Enm
        a: GET nosuch
        a: SET fresh 1
        a: CONFIG SET notify-keyspace-events ''
        a: SET k v
        a: CONFIG GET notify-keyspace-events
    ",
    );
}

#[test]
fn who_reads_a_key_hears_once_that_it_has_changed() {
    compare(
        "
        c3: CLIENT TRACKING on
        c3: GET k
        c3: MGET k l m
        w: SET k 1
        w: SET k 2
        c3: SET l 1
        c3: GET k
        c3: SET k mine
        w: DEL m nosuch
        c3: EXISTS k
        w: FLUSHALL
        w: SET k 3
        c3: LRANGE list 0 -1
        c3: STRLEN list
        w: RPUSH list a
        c3: CLIENT TRACKING off
        c3: GET k
        w: SET k 4
    ",
    );
}

#[test]
fn caching_is_chosen_per_command() {
    compare(
        "
        i3: CLIENT TRACKING on OPTIN
        i3: GET a
        i3: CLIENT CACHING yes
        i3: GET b
        i3: GET c
        o3: CLIENT TRACKING on OPTOUT
        o3: GET a
        o3: CLIENT CACHING no
        o3: GET b
        n3: CLIENT TRACKING on NOLOOP
        n3: GET a
        n3: SET a mine
        n3: GET a
        w: MSET a 1 b 2 c 3
        n3: CLIENT TRACKINGINFO
        i3: CLIENT TRACKINGINFO
    ",
    );
}

#[test]
fn prefixes_are_broadcast() {
    compare(
        "
        b3: CLIENT TRACKING on BCAST PREFIX user: PREFIX item:
        n3: CLIENT TRACKING on BCAST NOLOOP
        w: MSET user:1 a user:2 b other c
        n3: SET user:3 mine
        w: DEL user:1 item:1 other
        b3: CLIENT TRACKING on BCAST PREFIX us
        b3: CLIENT TRACKING on BCAST PREFIX x
        b3: CLIENT TRACKINGINFO
        w: SET x 1
        b3: CLIENT TRACKING off
        w: SET user:4 1
        w: FLUSHDB
    ",
    );
}

/// Runs a scenario in which `r` is told in place of `c`.
fn redirected(proto: u8) {
    let run = |server: &Server| {
        let (mut receiver, mut reader, mut writer) = (server.client(), server.client(), server.client());
        receiver.speak(proto);
        reader.speak(3);
        let id = receiver.run("CLIENT ID").int();
        if proto == 2 {
            receiver.run("SUBSCRIBE __redis__:invalidate");
        }
        let mut shown = vec![reader.run(&format!("CLIENT TRACKING on REDIRECT {id}"))];
        shown.push(reader.run("GET k"));
        shown.push(writer.run("SET k 1"));
        shown.push(receiver.reply());
        shown.push(writer.run("FLUSHALL"));
        shown.push(receiver.reply());
        assert_eq!(reader.run("CLIENT GETREDIR").int(), id);
        let info = reader.run("CLIENT INFO").text();
        assert!(info.contains(&format!("redir={id} ")) && info.contains("flags=t "), "{info}");
        reader.run("GET k");
        drop(receiver);
        let is_gone = |writer: &mut Client| !writer.run("CLIENT LIST").text().contains(&format!("id={id} "));
        let started = Instant::now();
        while !is_gone(&mut writer) {
            assert!(started.elapsed() < Duration::from_secs(20), "the client is still there");
        }
        writer.run("SET k 2");
        let Value::Push(push) = reader.reply() else { panic!("no push") };
        assert_eq!((push[0].text().as_str(), push[1].int()), ("tracking-redir-broken", id));
        assert!(reader.run("CLIENT INFO").text().contains("flags=tR "));
        shown
    };
    let expected = run(&Server::reference());
    for &engine in engines() {
        Server::lease(engine, |server| assert_eq!(run(server), expected, "{engine:?}, RESP{proto}"));
    }
}

#[test]
fn another_client_is_told_in_its_place_until_it_is_gone() {
    redirected(2);
    redirected(3);
}

#[test]
fn an_expired_key_is_told_although_nobody_asks_for_it() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--notify-keyspace-events", "Exgh"]);
        let (mut listener, mut reader, mut writer) = (server.client(), server.client(), server.client());
        reader.speak(3);
        reader.run("CLIENT TRACKING on");
        listener.run("PSUBSCRIBE __keyevent@*__:*");
        writer.run("PSETEX k 150 v");
        reader.run("GET k");
        let told = |listener: &mut Client| {
            let Value::Array(items) = listener.reply() else { panic!("no message") };
            (items[2].text(), items[3].text())
        };
        assert_eq!(told(&mut listener), ("__keyevent@0__:expire".into(), "k".into()));
        assert_eq!(told(&mut listener), ("__keyevent@0__:expired".into(), "k".into()));
        let Value::Push(push) = reader.reply() else { panic!("no push") };
        assert_eq!((push[0].text(), push[1].items()[0].text()), ("invalidate".into(), "k".into()));
        writer.run("HSET h f v");
        writer.run("HPEXPIRE h 100 FIELDS 1 f");
        for event in ["hset", "hexpire", "hexpired", "del"] {
            assert_eq!(told(&mut listener), (format!("__keyevent@0__:{event}"), "h".into()));
        }
    }
}

#[test]
fn keys_beyond_the_limit_are_forgotten_and_told() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--tracking-table-max-keys", "10"]);
        let mut reader = server.client();
        reader.speak(3);
        reader.run("CLIENT TRACKING on");
        for key in 0..30 {
            reader.send(&request(&["GET", &key.to_string()]));
        }
        let is_push = |value: &Value| matches!(value, Value::Push(_));
        let mut pushes = 0;
        while pushes < 20 {
            pushes += is_push(&reader.reply()) as usize;
        }
        let info = server.client().run("INFO everything").text();
        for line in
            ["tracking_clients:1", "tracking_total_keys:10", "tracking_total_items:10", "tracking_total_prefixes:0"]
        {
            assert!(info.contains(line), "{line}");
        }
    }
}

/// A client that keeps what it reads, until it is told not to.
struct Cache {
    client: Client,
    kept: HashMap<String, Value>,
}

impl Cache {
    fn new(server: &Server, options: &str) -> Self {
        let mut client = server.client();
        client.speak(3);
        client.run(&format!("CLIENT TRACKING on {options}"));
        Cache { client, kept: HashMap::new() }
    }
    /// The next reply; what is pushed before it takes effect.
    fn reply(&mut self) -> Value {
        loop {
            match self.client.reply() {
                Value::Push(push) => match &push[1] {
                    Value::Array(keys) => keys.iter().for_each(|key| drop(self.kept.remove(&key.text()))),
                    _ => self.kept.clear(),
                },
                reply => return reply,
            }
        }
    }
    fn read(&mut self, keys: &[String]) {
        keys.iter().for_each(|key| self.client.send(&request(&["GET", key])));
        for key in keys {
            let value = self.reply();
            self.kept.insert(key.clone(), value);
        }
    }
}

#[test]
fn no_cache_is_out_of_date_for_good() {
    const KEYS: u64 = 30;
    for (&engine, options) in engines().iter().flat_map(|engine| [(engine, ""), (engine, "BCAST")]) {
        let server = Server::start_on(engine, &["--threads", "3"]);
        let until = Instant::now() + Duration::from_millis(1500);
        let mut caches: Vec<Cache> = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4u64)
                .map(|seed| {
                    let server = &server;
                    scope.spawn(move || {
                        let (mut cache, mut dice) = (Cache::new(server, options), seed);
                        while Instant::now() < until {
                            let keys: Vec<String> = (0..5).map(|_| (next(&mut dice) % KEYS).to_string()).collect();
                            cache.read(&keys);
                        }
                        cache
                    })
                })
                .collect();
            for seed in 10..13u64 {
                let server = &server;
                scope.spawn(move || {
                    let (mut client, mut dice) = (server.client(), seed);
                    while Instant::now() < until {
                        let (key, other) = (next(&mut dice) % KEYS, next(&mut dice) % KEYS);
                        client.run(&match next(&mut dice) % 12 {
                            0 => format!("DEL {key}"),
                            1 => format!("PSETEX {key} 5 brief"),
                            2 => format!("MSET {key} a {other} b"),
                            3 => format!("RENAME {key} {other}"),
                            4 if key == 0 => "FLUSHALL".into(),
                            _ => format!("APPEND {key} {other}"),
                        });
                    }
                });
            }
            readers.into_iter().map(|reader| reader.join().expect("a reader")).collect()
        });
        // What had a deadline is gone, and what was under way has arrived.
        std::thread::sleep(Duration::from_millis(300));
        let mut client = server.client();
        for cache in &mut caches {
            cache.client.send(&request(&["PING"]));
            cache.reply();
            for (key, value) in &cache.kept {
                assert_eq!(client.call(&["GET", key]), *value, "{engine:?} {options} key {key}");
            }
        }
    }
}

fn next(dice: &mut u64) -> u64 {
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *dice >> 33
}
