//! MIGRATE between servers: this one and redis-server, both ways.

use crate::harness::{Client, Server, engines};
use std::net::TcpListener;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

const KEYS: &[&str] = &[
    "SET text value",
    "SET number 12345",
    "SET late value PX 1000000",
    "RPUSH list a b c",
    "SADD set a b c",
    "HSET hash f v g w",
    "ZADD zset 1 a 2.5 b",
    "XADD stream 1-1 f v",
];

fn fill(client: &mut Client) {
    KEYS.iter().for_each(|line| assert!(!client.run(line).is_error(), "{line}"));
}

fn all(client: &mut Client) -> String {
    client.run("DEBUG DIGEST").to_string()
}

#[test]
fn keys_of_all_types_move_both_ways() {
    for &engine in engines() {
        let (ours, theirs) = (Server::start_on(engine, &[]), Server::reference());
        let (mut here, mut there) = (ours.client(), theirs.client());
        fill(&mut here);
        let digest = all(&mut here);
        let names = "KEYS text number nothing late list set hash zset stream";
        let go = |to: &Server| format!("MIGRATE 127.0.0.1 {} \"\" 0 10000 {names}", to.port);
        assert_eq!(here.run(&go(&theirs)).to_string(), "OK");
        assert_eq!((here.run("DBSIZE").int(), all(&mut there)), (0, digest.clone()));
        assert!(there.run("PTTL late").int() > 900_000);
        assert_eq!(here.run(&go(&theirs)).to_string(), "NOKEY");
        assert_eq!(there.run(&go(&ours)).to_string(), "OK");
        assert_eq!((there.run("DBSIZE").int(), all(&mut here)), (0, digest));
    }
}

#[test]
fn options_decide_what_stays_and_what_is_replaced() {
    let (one, two) = (Server::start(&[]), Server::start(&["--requirepass", "secret"]));
    let (mut here, mut there) = (one.client(), two.client());
    assert_eq!(there.run("AUTH secret").to_string(), "OK");
    let mut go = |line: &str| here.run(&line.replace("TO", &format!("127.0.0.1 {}", two.port))).to_string();
    go("SET k here");
    assert!(go("MIGRATE TO k 0 5000").contains("Target instance replied with error: NOAUTH"));
    assert_eq!(go("EXISTS k"), "1");
    assert_eq!(go("MIGRATE TO k 9 5000 COPY AUTH secret"), "OK");
    assert_eq!(go("GET k"), "'here'");
    assert!(go("MIGRATE TO k 9 5000 AUTH2 default secret").contains("Target instance replied with error: BUSYKEY"));
    go("SET k newer");
    assert_eq!(go("MIGRATE TO k 9 5000 REPLACE AUTH2 default secret"), "OK");
    assert_eq!(go("EXISTS k"), "0");
    there.run("SELECT 9");
    assert_eq!(there.run("GET k").text(), "newer");
    assert!(go("MIGRATE TO k 99 5000 AUTH secret").contains("NOKEY"));
    go("SET k v");
    assert!(go("MIGRATE TO k 99 5000 AUTH secret").contains("Target instance replied with error: ERR DB index"));
    assert_eq!(go("EXISTS k"), "1");
    go("MULTI");
    go("MIGRATE TO k 1 5000 AUTH secret");
    assert_eq!(go("EXEC"), "[OK]", "in a transaction everybody waits for it");
    let script =
        format!("EVAL \"return redis.call('MIGRATE', '127.0.0.1', '{}', 'l', 0, 5000, 'AUTH', 'secret')\" 0", two.port);
    go("SET l v");
    assert_eq!(go(&script), "OK");
    assert_eq!(go("DBSIZE"), "0");
}

#[test]
fn others_are_served_while_a_target_does_not_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = Server::start(&["--threads", "1"]);
    let (mut mover, mut other) = (server.client(), server.client());
    mover.run("SET k v");
    mover.send(format!("MIGRATE 127.0.0.1 {port} k 0 20000\r\n").as_bytes());
    let started = Instant::now();
    while !other.run("INFO clients").text().contains("blocked_clients:1") {
        assert!(started.elapsed() < PATIENCE, "it is not on its way");
    }
    assert_eq!(other.run("GET k").text(), "v");
    assert_eq!(other.run("SET k w").to_string(), "OK");
    let (target, _) = listener.accept().expect("it connects");
    drop(target);
    let reply = mover.reply_within(PATIENCE).expect("a reply").to_string();
    assert!(reply.contains("IOERR error or timeout reading from target instance"), "{reply}");
    assert_eq!(other.run("GET k").text(), "w");
    drop(listener);
    let reply = mover.run(&format!("MIGRATE 127.0.0.1 {port} k 0 1000")).to_string();
    assert!(reply.contains("IOERR error or timeout writing to target instance"), "{reply}");
}

#[test]
fn what_changes_on_its_way_arrives_as_it_is_in_the_end() {
    let (one, two) = (Server::start(&[]), Server::start(&[]));
    let (mut mover, mut there) = (one.client(), two.client());
    for _ in 0..20 {
        mover.run("SET counter 0");
        let mut writer = one.client();
        let writing = std::thread::spawn(move || {
            // Until the key is gone here: EXISTS and INCR are one script, so that it does not come back.
            let line = "EVAL \"if redis.call('EXISTS','counter') == 0 then return -1 end return redis.call('INCR','counter')\" 0";
            let mut last = 0;
            loop {
                match writer.run(line).int() {
                    -1 => return last,
                    number => last = number,
                }
            }
        });
        let line = format!("MIGRATE 127.0.0.1 {} counter 0 10000 REPLACE", two.port);
        let started = Instant::now();
        while mover.run(&line).to_string() != "OK" {
            assert!(started.elapsed() < PATIENCE, "it does not get away");
        }
        let last = writing.join().expect("the writer ends");
        assert_eq!(there.run("GET counter").text().parse::<i64>().expect("a number"), last, "no increment is lost");
    }
}
