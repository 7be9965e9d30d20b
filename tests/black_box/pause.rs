//! Clients that wait: CLIENT PAUSE, commands that block, and what becomes of those who leave meanwhile.

use crate::harness::{Client, Server, check, engines};
use std::time::{Duration, Instant};

#[test]
fn a_pause_holds_back_writes_and_nothing_else() {
    check(
        "
        SET k v                       => OK
        CLIENT PAUSE 100000 WRITE     => OK
        GET k                         => 'v'
        SET k                         => ERR wrong number of arguments for 'set' command
        @writer SET k w               => (silence)
        GET k                         => 'v'
        INFO clients                  => (soon) '…blocked_clients:1…'
        CLIENT LIST                   => '…flags=b …cmd=set …'
        EVAL \"#!lua flags=no-writes\\nreturn 7\" 0 => 7
        EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 k => 'v'
        @script EVAL 'return 8' 0     => (silence)
        CLIENT UNPAUSE                => OK
        GET k                         => *
        CLIENT UNBLOCK 1              => 0
        CLIENT UNBLOCK 1 MAYBE        => ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
        CLIENT PAUSE x                => ERR timeout is not an integer or out of range
        WAIT 0 0                      => 0
        WAIT 1 10                     => 0
        CLIENT TRACKING off           => OK
        CLIENT TRACKINGINFO           => ['flags', ['off'], 'redirect', -1, 'prefixes', []] || {'flags': ~['off'], 'redirect': -1, 'prefixes': []}
        CLIENT GETREDIR               => -1
        CLIENT CACHING yes            => ERR CLIENT CACHING can be called only when the client is in tracking mode…
    ",
    );
}

#[test]
fn a_pause_of_writes_lets_scripts_pass_that_say_they_do_not_write() {
    check(
        "
        SET k v                       => OK
        FUNCTION FLUSH                => OK
        FUNCTION LOAD \"#!lua name=one\\nredis.register_function{function_name='get', flags={'no-writes'}, callback=function(keys) return redis.call('get', keys[1]) end}\" => 'one'
        SCRIPT LOAD \"#!lua flags=no-writes\\nreturn 3\" => '…'
        CLIENT PAUSE 100000 WRITE     => OK
        EVAL \"#!lua flags=no-writes\\nreturn redis.call('get', KEYS[1])\" 1 k => 'v'
        @f FCALL get 1 k              => 'v'
        @g FCALL_RO get 1 k           => 'v'
        @h EVAL_RO \"return redis.call('get', KEYS[1])\" 1 k => 'v'
        @i EVAL \"#!lua\\nreturn 1\" 0 => (silence)
        @j EVAL \"return 1\" 0        => (silence)
        CLIENT UNPAUSE                => OK
    ",
    );
}

/// Waits until so many clients are blocked.
fn until_blocked(asker: &mut Client, count: usize) {
    let wanted = format!("blocked_clients:{count}\r\n");
    let started = Instant::now();
    while !asker.run("INFO clients").text().contains(&wanted) {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", asker.run("INFO clients").text());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pause_of_everything_ends_by_itself_and_keeps_the_order() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
        let started = Instant::now();
        assert_eq!(clients[0].run("CLIENT PAUSE 300").to_string(), "OK");
        clients[0].run("CLIENT PAUSE 10 WRITE"); // Held back itself; the later end and the stricter kind stay.
        assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed()); // The clocks differ a bit.
        clients[0].run("CLIENT PAUSE 300");
        for client in &mut clients {
            client.send(b"INCR n\r\nGET n\r\nPING\r\n");
        }
        for client in &mut clients {
            let (n, seen) = (client.reply().int(), client.reply().to_string());
            assert!((1..=8).contains(&n) && seen.trim_matches('\'').parse::<i64>().is_ok_and(|seen| seen >= n));
            assert_eq!(client.reply().to_string(), "PONG");
        }
        assert_eq!(clients[0].run("GET n").to_string(), "'8'");
    }
}

#[test]
fn a_thousand_paused_clients_come_and_go() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut asker = server.client();
        asker.run("SET n 0");
        asker.run("CLIENT PAUSE 1000000 WRITE");
        let mut clients: Vec<Option<Client>> = (0..1000).map(|_| Some(server.client())).collect();
        for client in clients.iter_mut().flatten() {
            client.send(b"INCR n\r\n");
        }
        until_blocked(&mut asker, 1000);
        // A fixed pattern that looks random enough: every third one leaves, some with more commands on the way.
        for (index, slot) in clients.iter_mut().enumerate().filter(|(index, _)| index * 7919 % 3 == 0) {
            if let Some(mut client) = slot.take()
                && index % 2 == 0
            {
                client.send(b"INCR n\r\nINCR n\r\n");
            }
        }
        let left = clients.iter().flatten().count();
        until_blocked(&mut asker, left);
        asker.run("CLIENT UNPAUSE");
        for client in clients.iter_mut().flatten() {
            client.reply().int();
        }
        assert_eq!(asker.run("GET n").to_string(), format!("'{left}'"), "whoever left has not run");
        until_blocked(&mut asker, 0);
    }
}

#[test]
fn unblock_reaches_clients_of_every_loop() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let (mut asker, mut waiters) = (server.client(), [(); 4].map(|()| server.client()));
        for (index, waiter) in waiters.iter_mut().enumerate() {
            let id = waiter.run("CLIENT ID").int();
            waiter.send(b"WAIT 3 0\r\nPING\r\n");
            until_blocked(&mut asker, 1);
            let (reason, reply) = match index % 2 {
                0 => ("TIMEOUT", "0"),
                _ => ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            };
            assert_eq!(asker.run(&format!("CLIENT UNBLOCK {id} {reason}")).int(), 1);
            assert_eq!((waiter.reply().to_string(), waiter.reply().to_string()), (reply.into(), "PONG".into()));
            assert_eq!(asker.run(&format!("CLIENT UNBLOCK {id}")).int(), 0);
        }
    }
}
