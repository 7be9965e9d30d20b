//! Memory: limits that hold, who pays when it is short, and what refusals say.

use crate::harness::{Client, Server, Value, engines};
use std::time::{Duration, Instant};

const MIB: i64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// A number of INFO.
fn info(client: &mut Client, field: &str) -> i64 {
    let text = client.run("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_string));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).parse().expect("a number")
}

fn set_config(client: &mut Client, name: &str, value: &str) {
    assert_eq!(client.run(&format!("CONFIG SET {name} {value}")).text(), "OK");
}

/// Leaves so many bytes above what is used now.
fn leave(client: &mut Client, bytes: i64, policy: &str) -> i64 {
    let limit = info(client, "used_memory") + bytes;
    set_config(client, "maxmemory-policy", policy);
    set_config(client, "maxmemory", &limit.to_string());
    limit
}

fn eventually(mut is_so: impl FnMut() -> bool, what: &str) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_limit_holds_under_every_policy_that_may_evict_what_is_stored() {
    for &engine in engines() {
        for (policy, ttl) in [
            ("allkeys-lru", false),
            ("allkeys-lfu", false),
            ("allkeys-random", false),
            ("allkeys-clock", false),
            ("volatile-lru", true),
            ("volatile-lfu", true),
            ("volatile-random", true),
            ("volatile-ttl", true),
        ] {
            // Each with a server of its own: what another has flushed would still be counted for a while.
            let server = Server::start_on(engine, &[]);
            let mut client = server.client();
            client.run("SET stays forever");
            let limit = leave(&mut client, 2 * MIB, policy);
            for n in 0..5000 {
                let ttl = if ttl { " EX 1000" } else { "" };
                let reply = client.run(&format!("SET {policy}:{n} {}{ttl}", "v".repeat(1000)));
                assert_eq!(reply.text(), "OK", "{policy}");
            }
            let (used, evicted) = (info(&mut client, "used_memory"), info(&mut client, "evicted_keys"));
            assert!(used < limit + 256 * 1024, "{policy}: {used} of {limit}");
            let left = client.run("DBSIZE").int();
            assert!(left > 500 && evicted > 1000, "{policy}: {evicted} evicted, {left} left");
            // The two questions themselves take memory.
            assert!((4900..=5001).contains(&(evicted + left)), "{policy}: {evicted} evicted, {left} left");
            if ttl {
                assert_eq!(client.run("GET stays").text(), "forever", "{policy}");
            }
        }
    }
}

#[test]
fn what_needs_memory_is_refused_when_nothing_can_be_evicted() {
    const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    let server = Server::start(&[]);
    let mut client = server.client();
    let error = |client: &mut Client, line: &str| client.run(line).text();
    client.run("SET k v");
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        set_config(&mut client, "maxmemory-policy", policy);
        set_config(&mut client, "maxmemory", "1");
        assert_eq!(error(&mut client, "SET k w"), OOM);
        assert_eq!(error(&mut client, "LPUSH l a"), OOM);
        assert_eq!(client.run("GET k").text(), "v");
        // A transaction is refused when the command is queued, whatever it is, or as a whole.
        client.run("MULTI");
        for line in ["GET k", "MULTI", "WATCH k"] {
            assert_eq!(error(&mut client, line), OOM);
        }
        assert_eq!(error(&mut client, "EXEC"), "EXECABORT Transaction discarded because of previous errors.");
        set_config(&mut client, "maxmemory", "0");
        let mut other = server.client();
        client.run("MULTI");
        client.run("SET k w");
        set_config(&mut other, "maxmemory", "1");
        assert_eq!(error(&mut client, "EXEC"), format!("EXECABORT Transaction discarded because of: {OOM}"));
        assert_eq!(client.run("GET k").text(), "v");
        // A script by its flags, or by its first write.
        let script = |body: &str| format!("EVAL \"{body}\" 1 k");
        let refused = error(&mut client, &script("return redis.call('set',KEYS[1],'x')"));
        assert!(refused.starts_with(OOM), "{refused}");
        assert_eq!(client.run(&script("return redis.call('get',KEYS[1])")).text(), "v");
        assert_eq!(client.run(&script("redis.call('del','n') return redis.call('set',KEYS[1],'v')")).text(), "OK");
        assert_eq!(error(&mut client, &script("#!lua\\nreturn 1")), OOM);
        assert_eq!(client.run(&script("#!lua flags=allow-oom\\nreturn redis.call('set',KEYS[1],'v')")).text(), "OK");
        assert_eq!(client.run(&script("#!lua flags=no-writes\\nreturn 1")).int(), 1);
        assert_eq!(client.run("DEL nothing").int(), 0);
        set_config(&mut client, "maxmemory", "0");
        assert_eq!(client.run("SET k v").text(), "OK");
        let counted = client.run("INFO commandstats").text();
        let lpush = counted.lines().find(|line| line.starts_with("cmdstat_lpush:")).expect("it was refused");
        assert!(lpush.contains("calls=0,") && lpush.contains(",failed_calls=0"), "{lpush}");
        assert!(!lpush.contains("rejected_calls=0"), "{lpush}");
    }
}

/// Also one that arrives in the same packet, and right behind FLUSHALL, whose memory is still coming back.
#[test]
fn a_limit_holds_from_the_next_command_on() {
    const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let mut client = server.client();
        let lines = [
            "SET x y",
            "FLUSHALL",
            "CONFIG SET maxmemory 1",
            "SET a b",
            "GET a",
            "CONFIG SET maxmemory 0",
            "SET a b",
            "GET a",
        ];
        let said: Vec<String> = client.pipeline(&lines).iter().map(ToString::to_string).collect();
        assert_eq!(said, ["OK", "OK", "OK", OOM, "(nil)", "OK", "OK", "'b'"]);
    }
}

#[test]
fn an_idle_server_makes_room_when_the_limit_is_lowered_and_tells_who_listens() {
    let server = Server::start(&["--notify-keyspace-events", "Ee"]);
    let (mut client, mut listener) = (server.client(), server.client());
    listener.run("SUBSCRIBE __keyevent@0__:evicted");
    for n in 0..3000 {
        client.run(&format!("SET k:{n} {}", "v".repeat(1000)));
    }
    let used = info(&mut client, "used_memory");
    set_config(&mut client, "maxmemory-policy", "allkeys-lru");
    set_config(&mut client, "maxmemory", &(used - MIB).to_string());
    eventually(|| info(&mut client, "used_memory") < used - MIB + 64 * 1024, "it evicts by itself");
    assert!(client.run("DBSIZE").int() < 2500);
    let told: Vec<String> = listener.reply().items().iter().map(|item| item.text()).collect();
    assert_eq!(told[..2], ["message", "__keyevent@0__:evicted"]);
    assert!(told[2].starts_with("k:"), "{told:?}");
    eventually(|| info(&mut client, "current_eviction_exceeded_time") == 0, "the excess is over");
}

#[test]
fn large_collections_are_evicted_one_by_one_and_no_more_of_them_than_needed() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for n in 0..20 {
        for first in (0..20_000).step_by(1000) {
            let members: Vec<String> = (first..first + 1000).map(|member| format!("member:{member}")).collect();
            client.run(&format!("SADD set:{n} {}", members.join(" ")));
        }
    }
    let used = info(&mut client, "used_memory");
    set_config(&mut client, "maxmemory-policy", "allkeys-random");
    set_config(&mut client, "maxmemory", &(used - used / 40).to_string());
    eventually(|| info(&mut client, "used_memory") < used - used / 40 + 64 * 1024, "it evicts by itself");
    let left = client.run("DBSIZE").int();
    assert!((17..20).contains(&left), "{left} of 20 are left");
}

/// Fills the server with keys of a kilobyte until it has to evict some.
fn fill_up(client: &mut Client, mib: i64) {
    set_config(client, "maxmemory-policy", "allkeys-lru");
    let limit = info(client, "used_memory") + mib * MIB;
    set_config(client, "maxmemory", &limit.to_string());
    let value = "v".repeat(1000);
    for batch in 0.. {
        let lines: Vec<String> = (0..500).map(|n| format!("SET k:{} {value}\r\n", batch * 500 + n)).collect();
        client.send(lines.concat().as_bytes());
        client.replies(500);
        if info(client, "evicted_keys") > 500 {
            break;
        }
    }
    settle(client);
}

/// What must be kept free besides is found in the course of a second.
fn settle(client: &mut Client) {
    let mut before = -1;
    let mut is_settled = |client: &mut Client| {
        (0..15).for_each(|_| {
            std::thread::sleep(Duration::from_millis(100));
            client.run("PING");
        });
        let evicted = info(client, "evicted_keys");
        evicted == std::mem::replace(&mut before, evicted)
    };
    eventually(|| is_settled(client), "the reserve is found");
}

/// What slow readers ask for: a megabyte each time.
const LARGE_READS: [(&str, &str); 3] = [("GET", "GET whole"), ("LRANGE", "LRANGE list 0 -1"), ("MGET", "MGET")];

/// Stores what `LARGE_READS` ask for. Returns the requests.
fn store_large(client: &mut Client) -> Vec<(&'static str, String)> {
    client.run(&format!("SET whole {}", "w".repeat(1 << 20)));
    for n in 0..256 {
        let elements: Vec<String> = (0..4).map(|part| format!("{:01000}", n * 4 + part)).collect();
        client.run(&format!("RPUSH list {}", elements.join(" ")));
        client.run(&format!("SET part:{n} {}", "p".repeat(4096)));
    }
    let parts: String = (0..256).map(|n| format!(" part:{n}")).collect();
    LARGE_READS.map(|(name, line)| (name, if name == "MGET" { line.to_string() + &parts } else { line.into() })).into()
}

#[test]
fn no_key_pays_for_replies_that_nobody_reads() {
    for threads in ["1", "2"] {
        let server = Server::start(&["--threads", threads]);
        let mut client = server.client();
        fill_up(&mut client, 96);
        let requests = store_large(&mut client);
        settle(&mut client);
        for (name, request) in requests {
            let reply = client.run(&request); // It is no key to be evicted, either.
            let is_whole = if name == "GET" { reply.text().len() == 1 << 20 } else { reply.items().len() >= 256 };
            assert!(is_whole, "{name} is there");
            let (keys, evicted) = (client.run("DBSIZE").int(), info(&mut client, "evicted_keys"));
            let closed = info(&mut client, "evicted_clients");
            let mut readers: Vec<Client> = (0..100).map(|_| server.client()).collect();
            // What the sockets take in between is not the server's.
            for _ in 0..15 {
                readers.iter_mut().for_each(|reader| drop(reader.try_send(format!("{request}\r\n").as_bytes())));
                client.run("PING");
            }
            let waiting = |client: &mut Client| {
                let list = client.run("CLIENT LIST").text();
                list.lines().filter(|line| !line.contains(" omem=0 ") || !line.contains(" obl=0 ")).count() as i64
            };
            eventually(
                || waiting(&mut client) + info(&mut client, "evicted_clients") - closed > 95,
                "all wait to be read",
            );
            let limit = info(&mut client, "maxmemory");
            eventually(|| info(&mut client, "used_memory") < limit + limit / 4, "as many as must are closed");
            let closed = info(&mut client, "evicted_clients") - closed;
            // Replies that exist elsewhere, or are made bit by bit, take little: nobody is closed for them.
            assert_eq!(closed > 0, name == "MGET", "{threads} loops, {name}: {closed} were closed");
            let (left, paid) = (client.run("DBSIZE").int(), info(&mut client, "evicted_keys") - evicted);
            // Replies of MGET exist as a whole, and what a loop is just working on may look like data to another one.
            let most = if name == "MGET" { keys / 100 } else { 0 };
            assert!(paid <= most, "{threads} loops, {name}: {paid} keys were evicted, {left} of {keys} are left");
            // Who writes as much as there was before finds everything as full as it was.
            for n in 0..2000 {
                client.run(&format!("SET part:{} {}", n % 256, "q".repeat(4096)));
            }
            let paid = info(&mut client, "evicted_keys") - evicted;
            assert!(paid < keys / 50, "{threads} loops, {name}: {paid} of {keys} keys were evicted by one who writes");
        }
    }
}

#[test]
fn values_that_clients_still_have_to_read_stay_while_there_are_others() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for n in 0..10 {
        client.run(&format!("SET large:{n} {}", "v".repeat(1_000_000)));
    }
    let mut readers: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for (n, reader) in readers.iter_mut().enumerate() {
        reader.send(format!("GET large:{n}\r\n").repeat(20).as_bytes());
    }
    let memory = |client: &mut Client| info(client, "client_recent_max_output_buffer");
    eventually(|| memory(&mut client) > 1_000_000, "they wait to be read");
    fill_up(&mut client, 5);
    let left = (0..10).filter(|n| client.run(&format!("EXISTS large:{n}")).int() == 1).count();
    assert_eq!(left, 10, "what is evicted must give memory back");
}

#[test]
fn the_limit_is_one_of_resident_memory_too() {
    const LIMIT: i64 = 128 * MIB;
    let server = Server::start(&["--threads", "1"]);
    let mut client = server.client();
    set_config(&mut client, "maxmemory-policy", "allkeys-lru");
    set_config(&mut client, "maxmemory", &LIMIT.to_string());
    let value = "v".repeat(4096);
    let mut seed = 1u64;
    for batch in 0..400 {
        let mut lines = String::new();
        for n in 0..300 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let len = 16 + (seed >> 33) as usize % 4080;
            lines.push_str(&format!("SET k:{} {}\r\n", batch * 300 + n, &value[..len]));
        }
        client.send(lines.as_bytes());
        client.replies(300);
    }
    // A build for tests is a large program: without the reserve it would be a fifth over the limit.
    let bound = LIMIT + LIMIT / 10;
    eventually(|| info(&mut client, "used_memory_rss") < bound, "what was evicted goes back to the kernel");
    assert!(info(&mut client, "used_memory") > LIMIT / 2 && info(&mut client, "maxmemory_reserve") > 0);
}

#[test]
fn entries_that_are_moved_when_values_change_their_sizes_stay_what_they_are() {
    const LIMIT: i64 = 64 * MIB;
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut clients: Vec<Client> = (0..2).map(|_| server.client()).collect();
        set_config(&mut clients[0], "maxmemory-policy", "allkeys-random");
        set_config(&mut clients[0], "maxmemory", &LIMIT.to_string());
        // A key's value tells its name and its length; every fourth one has a deadline.
        let value = |key: usize, len: usize| format!("{key}:{len}:{}", "v".repeat(len));
        let keys = 400_000;
        for len in [16, 900, 100] {
            for first in (0..keys / len.clamp(100, 900) * 100).step_by(500) {
                for (index, client) in clients.iter_mut().enumerate() {
                    let line = |key: usize| {
                        let ttl = if key.is_multiple_of(4) { " EX 10000" } else { "" };
                        format!("SET k:{key} {}{ttl}\r\n", value(key, len))
                    };
                    let lines: String = (first..first + 500).filter(|key| key % 2 == index).map(line).collect();
                    client.send(lines.as_bytes());
                }
                clients.iter_mut().for_each(|client| drop(client.replies(250)));
            }
        }
        let client = &mut clients[0];
        let field = |client: &mut Client, name: &str| -> i64 {
            let text = client.run("INFO everything").text();
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.parse().ok()).expect("a number")
        };
        assert!(field(client, "moved_entries") > 10_000, "{} were moved", field(client, "moved_entries"));
        let mut seen = 0;
        for first in (0..keys).step_by(500) {
            let lines: String = (first..first + 500).map(|key| format!("GET k:{key}\r\nTTL k:{key}\r\n")).collect();
            client.send(lines.as_bytes());
            for (key, replies) in (first..).zip(client.replies(1000).chunks_exact(2)) {
                if replies[0] == Value::Nil {
                    continue;
                }
                seen += 1;
                let (text, ttl) = (replies[0].text(), replies[1].int());
                let is_right = [16, 900, 100].iter().any(|&len| text == value(key, len));
                assert!(is_right && (ttl > 0) == key.is_multiple_of(4), "{key}: {text:?}, {ttl}");
            }
        }
        assert_eq!(seen, client.run("DBSIZE").int());
    }
}

#[test]
fn clients_that_take_too_much_are_closed_the_largest_first() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--enable-debug-command", "yes"]);
        let mut control = server.client();
        control.run("CLIENT NO-EVICT on");
        let mut clients: Vec<Client> = (1..=4).map(|_| server.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.run(&format!("CLIENT SETNAME c{n}"));
            let len = 50_000 << (2 * n); // Whatever is reserved beyond that, they stay apart.
            client.send(format!("*1\r\n${}\r\n{}", len * 2, "x".repeat(len)).as_bytes());
        }
        let names = |control: &mut Client| -> Vec<String> {
            let list = control.run("CLIENT LIST").text();
            let names = list.split_whitespace().filter_map(|word| word.strip_prefix("name=c"));
            let mut names: Vec<String> = names.map(str::to_string).collect();
            names.sort();
            names
        };
        let memory = |control: &mut Client| -> usize {
            let list = control.run("CLIENT LIST").text();
            list.split_whitespace().filter_map(|word| word.strip_prefix("tot-mem=")?.parse::<usize>().ok()).sum()
        };
        eventually(|| memory(&mut control) > 4_250_000, "everything has arrived");
        set_config(&mut control, "maxmemory-clients", "3000000");
        // Each loop closes its own when it gets there.
        eventually(|| !names(&mut control).contains(&"3".to_string()), "the largest goes");
        assert!(names(&mut control).contains(&"0".to_string()), "the smallest stays");
        set_config(&mut control, "maxmemory-clients", "200000");
        eventually(|| names(&mut control).len() <= 1, "as many as must");
        eventually(|| info(&mut control, "evicted_clients") >= 3, "they are counted");
        eventually(|| server.output().matches("Evicting client: ").count() >= 3, "the log names them");
        assert!(control.run("DEBUG CLIENT-EVICTION").text().starts_with("bucket          0 -      32767: tot-mem: "));
        // One command that is too large does not run.
        set_config(&mut control, "maxmemory-clients", "2000000");
        let mut large = server.client();
        let _ = large
            .try_send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n{}\r\n", "x".repeat(3_000_000)).as_bytes());
        large.until_closed();
        assert_eq!(control.run("EXISTS k").int(), 0);
    }
}
