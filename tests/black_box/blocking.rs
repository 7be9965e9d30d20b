//! Clients that wait for keys: who is served when, with what, and that nothing is lost or given twice, whatever loop the
//! clients live on and whoever leaves meanwhile.

use crate::harness::client::PATIENCE;
use crate::harness::{Client, Random, Server, check, engines};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Waits until so many clients are blocked.
fn until_blocked(asker: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let started = Instant::now();
    while !asker.run("INFO clients").text().contains(&wanted) {
        assert!(started.elapsed() < PATIENCE, "not {count}: {}", asker.run("INFO clients").text());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_pushed_element_is_with_who_waits_before_the_push_is_answered() {
    check(
        "
        @a BLPOP k other 0            => (silence)
        @b BLMOVE other third LEFT LEFT 0 => (silence)
        @c BRPOPLPUSH k other 0       => (silence)
        INFO clients                  => (soon) '…blocked_clients:3…total_blocking_keys:2…total_blocking_keys_on_nokey:0…'
        CLIENT LIST                   => '…flags=b …cmd=blpop …'
        SET k string                  => OK
        DEL k                         => 1
        RPUSH k 1 2 3                 => 3
        LRANGE k 0 -1                 => ['2']
        LRANGE other 0 -1             => []
        LRANGE third 0 -1             => ['3']
        INFO clients                  => (soon) '…blocked_clients:0…total_blocking_keys:0…'
        @d BLPOP k 0                  => ['k', '2']
        @d BLPOP k 0.01               => (nil)
        @d BLPOP k x                  => ERR timeout is not a float or out of range
        @d BLPOP k -1                 => ERR timeout is negative
        @d BLPOP k 1e300              => ERR timeout is out of range
    ",
    );
}

#[test]
fn keys_are_filled_by_other_names_and_databases_too() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut writer, mut waiters) = (server.client(), [(); 4].map(|()| server.client()));
        waiters[3].run("SELECT 1");
        let fills = ["RENAME from k", "COPY from k", "MOVE k 1", "SWAPDB 0 1"];
        for (index, fill) in fills.iter().enumerate() {
            writer.run("FLUSHALL");
            let waiter = &mut waiters[if index == 2 { 3 } else { index }];
            waiter.send(b"BLPOP k 0\r\n");
            until_blocked(&mut writer, 1);
            match index {
                0 | 1 => drop(writer.run("RPUSH from x")),
                2 => {
                    // In database 0, where nobody waits.
                    writer.run("RPUSH k x");
                }
                _ => {
                    writer.run("SELECT 1");
                    writer.run("RPUSH k x");
                }
            }
            assert!(!writer.run(fill).is_error());
            assert_eq!(waiter.reply().to_string(), "['k', 'x']", "{fill}");
        }
    }
}

#[test]
fn who_waits_longest_gets_the_first_element_whatever_loop_it_lives_on() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        let (mut writer, mut waiters) = (server.client(), (0..12).map(|_| server.client()).collect::<Vec<_>>());
        for (index, waiter) in waiters.iter_mut().enumerate() {
            waiter.send(b"BLPOP nothing k 0\r\n");
            until_blocked(&mut writer, index + 1);
        }
        assert_eq!(writer.run("RPUSH k 0 1 2 3 4 5 6 7 8 9 10 11 12").int(), 13);
        assert_eq!(writer.run("LRANGE k 0 -1").to_string(), "['12']");
        for (index, waiter) in waiters.iter_mut().enumerate() {
            assert_eq!(waiter.reply().to_string(), format!("['k', '{index}']"));
        }
    }
}

#[test]
fn a_wait_ends_by_time_by_unblock_or_with_its_client_and_what_stands_behind_goes_on() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut asker, mut waiters) = (server.client(), [(); 4].map(|()| server.client()));
        waiters[0].send(b"BLPOP k 0.02\r\nPING\r\n");
        assert_eq!((waiters[0].reply().to_string(), waiters[0].reply().to_string()), ("(nil)".into(), "PONG".into()));
        for (reason, reply) in [("TIMEOUT", "(nil)"), ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK")] {
            let id = waiters[1].run("CLIENT ID").int();
            waiters[1].send(b"BLPOP k 0\r\nPING\r\n");
            until_blocked(&mut asker, 1);
            assert_eq!(asker.run(&format!("CLIENT UNBLOCK {id} {reason}")).int(), 1);
            assert_eq!((waiters[1].reply().to_string(), waiters[1].reply().to_string()), (reply.into(), "PONG".into()));
        }
        let info = asker.run("INFO commandstats").text();
        let counted = info.lines().find(|line| line.starts_with("cmdstat_blpop:")).expect("it has run");
        assert!(counted.starts_with("cmdstat_blpop:calls=3,") && counted.ends_with(",failed_calls=1"), "{counted}");
        let [.., gone, last] = &mut waiters;
        let id = gone.run("CLIENT ID").int();
        gone.send(b"BLPOP k 0\r\n");
        until_blocked(&mut asker, 1);
        last.send(b"BLPOP k 0\r\nPING\r\n");
        until_blocked(&mut asker, 2);
        asker.run(&format!("CLIENT KILL ID {id}"));
        assert_eq!(gone.until_closed(), b"");
        assert_eq!(asker.run("RPUSH k x").int(), 1);
        assert_eq!((last.reply().to_string(), last.reply().to_string()), ("['k', 'x']".into(), "PONG".into()));
        until_blocked(&mut asker, 0);
    }
}

#[test]
fn what_expires_inside_a_transaction_is_not_given_to_who_waits() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--enable-debug-command", "local"]);
        let (mut writer, mut waiter) = (server.client(), server.client());
        for (push, wait) in [("RPUSH k", "BLPOP k 0"), ("ZADD k 1", "BZPOPMIN k 0")] {
            waiter.send(format!("{wait}\r\n").as_bytes());
            until_blocked(&mut writer, 1);
            for line in ["MULTI", &format!("{push} early"), "PEXPIRE k 1", "DEBUG SLEEP 0.03", "EXEC"] {
                assert!(!writer.run(line).is_error(), "{line}");
            }
            assert_eq!(writer.run("EXISTS k").int(), 0);
            writer.run(&format!("{push} late"));
            assert_eq!(waiter.reply().items()[1].text(), "late");
        }
    }
}

/// The number of calls of a command so far.
fn calls(client: &mut Client, name: &str) -> usize {
    let info = client.run("INFO commandstats").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

const KEYS: usize = 5;

/// Clients that wait for two keys each.
fn crowd(server: &Server, count: usize, random: &mut Random) -> Vec<Client> {
    let mut crowd: Vec<Client> = (0..count).map(|_| server.client()).collect();
    for client in &mut crowd {
        client.send(format!("BLPOP k{} k{} 0\r\n", random.below(KEYS), random.below(KEYS)).as_bytes());
    }
    crowd
}

/// Several clients push so many elements, all different.
fn push_all(server: &Server, name: &str, count: usize) {
    std::thread::scope(|scope| {
        for pusher in 0..3 {
            scope.spawn(move || {
                let mut client = server.client();
                for n in (pusher..count).step_by(3) {
                    assert!(!client.run(&format!("RPUSH k{} {name}{n}", n % KEYS)).is_error());
                }
            });
        }
    });
}

fn left(client: &mut Client) -> usize {
    (0..KEYS).map(|key| client.run(&format!("LLEN k{key}")).int() as usize).sum()
}

#[test]
fn a_thousand_waiting_clients_get_everything_once_though_many_leave() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "4"]);
        let (mut asker, mut random) = (server.client(), Random::seeded(1));
        let mut clients = crowd(&server, 1000, &mut random);
        until_blocked(&mut asker, 1000);
        clients.retain(|_| random.below(3) > 0);
        until_blocked(&mut asker, clients.len());
        // More than enough for each key.
        let count = 5 * clients.len();
        push_all(&server, "a", count);
        let mut seen = HashSet::new();
        for client in &mut clients {
            assert!(seen.insert(client.reply().items()[1].bytes().to_vec()), "given twice");
        }
        assert_eq!((seen.len(), left(&mut asker)), (clients.len(), count - clients.len()));
        assert_eq!(calls(&mut asker, "blpop"), clients.len());

        // Now they leave while others push. Whoever is served in that moment takes its element along.
        (0..KEYS).for_each(|key| drop(asker.run(&format!("DEL k{key}"))));
        asker.run("CONFIG RESETSTAT");
        let mut clients = crowd(&server, 600, &mut random);
        until_blocked(&mut asker, 600);
        let mut stay: Vec<Client> = Vec::new();
        std::thread::scope(|scope| {
            let pushes = scope.spawn(|| push_all(&server, "b", 400));
            for client in clients.drain(..) {
                if random.below(3) > 0 {
                    stay.push(client);
                }
            }
            pushes.join().expect("pushed");
        });
        let (popped, left) = (calls(&mut asker, "blpop"), left(&mut asker));
        assert_eq!(popped + left, 400, "{engine:?}: what was pushed was popped or is there");
        push_all(&server, "z", 5 * stay.len()); // The others are not left waiting.
        let mut received = 0;
        for client in &mut stay {
            let element = client.reply().items()[1].bytes().to_vec();
            received += element.starts_with(b"b") as usize;
            assert!(seen.insert(element), "given twice");
        }
        assert!(received <= 400 && popped <= received + (600 - stay.len()), "{received} of {popped}");
    }
}
