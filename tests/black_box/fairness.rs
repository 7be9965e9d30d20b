//! Greedy clients beside modest ones: long commands go on in slices, storms of connections are taken in, and nobody starves.

use crate::harness::client::PATIENCE;
use crate::harness::{Client, Engine, Server, engines};
use std::collections::HashSet;
use std::time::Duration;

/// A server with one loop, so that everybody meets there, and `count` keys.
fn crowded(engine: Engine, count: usize) -> (Server, Client) {
    let server = Server::start_on(engine, &["--threads", "1"]);
    let mut client = server.client();
    for from in (0..count).step_by(1000) {
        let pairs: Vec<String> = (from..from + 1000).flat_map(|n| [format!("key:{n}"), "v".into()]).collect();
        let words: Vec<&str> = ["MSET"].into_iter().chain(pairs.iter().map(String::as_str)).collect();
        assert_eq!(client.call(&words).to_string(), "OK");
    }
    (server, client)
}

#[test]
fn a_listing_in_slices_is_whole_while_others_write() {
    for &engine in engines() {
        let (server, mut lister) = crowded(engine, 60_000);
        let mut writer = server.client();
        lister.send(b"KEYS key:*\r\nPING\r\nSCAN 0 COUNT 1000000 MATCH key:1*\r\nPING\r\n");
        let mut written = 0;
        while !lister.fill(Duration::from_millis(1)).unwrap_or(false) {
            writer.run(&format!("SET other:{written} v"));
            writer.run(&format!("DEL other:{}", written / 2));
            written += 1;
        }
        let replies = lister.replies(4);
        let listed: Vec<String> = replies[0].items().iter().map(|key| key.text()).collect();
        assert_eq!((listed.len(), listed.iter().collect::<HashSet<_>>().len()), (60_000, 60_000), "{engine:?}");
        assert_eq!((replies[1].to_string(), replies[3].to_string()), ("PONG".into(), "PONG".into()));
        let scanned = replies[2].items();
        assert_eq!((scanned[0].text(), scanned[1].items().len()), ("0".into(), 11_111), "{engine:?}");
    }
}

#[test]
fn long_commands_end_with_their_client_or_their_table() {
    for &engine in engines() {
        let (server, mut admin) = crowded(engine, 60_000);
        let mut listers: Vec<Client> = (0..4).map(|_| server.client()).collect();
        let ids: Vec<i64> = listers.iter_mut().map(|client| client.run("CLIENT ID").int()).collect();
        listers.iter_mut().for_each(|client| client.send(b"KEYS *\r\n"));
        assert_eq!(admin.run(&format!("CLIENT KILL ID {}", ids[0])).int(), 1);
        listers[1].half_close();
        drop(listers.pop());
        let whole = listers[1].reply().items().len();
        assert_eq!(whole, 60_000, "{engine:?}: a client that only sends no more is answered");
        listers[2].reply();
        listers[2].send(b"KEYS *\r\n");
        assert_eq!(admin.run("FLUSHALL SYNC").to_string(), "OK");
        assert!(listers[2].reply().items().len() <= 60_000);
        assert_eq!(admin.run("DBSIZE").int(), 0);
    }
}

#[test]
fn a_storm_of_connections_is_answered_to_the_last() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2", "--maxclients", "600"]);
        let mut guests: Vec<Client> = (0..500).map(|_| server.client()).collect();
        guests.iter_mut().for_each(|guest| guest.send(b"PING\r\n"));
        assert!(guests.iter_mut().all(|guest| guest.reply().to_string() == "PONG"));
        let mut served = 0;
        for _ in 0..150 {
            let mut late = server.client();
            let _ = late.try_send(b"PING\r\n"); // It may have been told and closed already.
            let reply = late.reply_within(PATIENCE); // An error, or a reset that came before it was read.
            served += reply.is_ok_and(|reply| reply.to_string() == "PONG") as usize;
            guests.push(late);
        }
        assert_eq!(served, 100, "{engine:?}");
    }
}
