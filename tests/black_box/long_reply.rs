//! Long replies of large collections: made in slices, as fast as the client reads, and yet of one instant.
//!
//! The replies are longer than what a socket and an output buffer hold, so most of each is still to be made when others
//! change, and delete, what it shows.

use crate::harness::{Client, Server, engines};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const COUNT: usize = 40_000;

/// Element `index`, 400 bytes.
fn element(index: usize) -> String {
    format!("{index:0400}")
}

/// Sends `head` with the words that `words` gives for each element, a thousand elements at a time.
fn fill(client: &mut Client, head: &str, words: impl Fn(usize) -> String) {
    for from in (0..COUNT).step_by(1000) {
        let words: Vec<String> = (from..from + 1000).map(&words).collect();
        client.run(&format!("{head} {}", words.join(" ")));
    }
}

/// Begins to read the reply to `command`, lets others `disturb` it, and returns the texts of the whole reply.
fn read_while(server: &Server, command: &str, disturb: impl FnOnce(&mut Client)) -> Vec<String> {
    let (mut reader, mut writer) = (server.client(), server.client());
    reader.send(format!("{command}\r\nPING\r\n").as_bytes());
    reader.fill(Duration::from_secs(20)).expect("the reply begins");
    disturb(&mut writer);
    let texts = reader.reply().items().iter().map(|item| item.text()).collect();
    assert_eq!(reader.reply().to_string(), "PONG", "{command}");
    texts
}

fn all() -> BTreeSet<String> {
    (0..COUNT).map(element).collect()
}

#[test]
fn a_large_set_is_replied_as_it_was() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            fill(&mut client, "SADD s", element);
            let members = read_while(server, "SMEMBERS s", |writer| {
                assert_eq!(writer.run(&format!("SREM s {} {}", element(7), element(30_000))).int(), 2);
                assert_eq!(writer.run("SADD s other").int(), 1);
            });
            assert!(members.len() == COUNT && members.into_iter().collect::<BTreeSet<_>>() == all());
            client.run(&format!("SADD s {} {}", element(7), element(30_000)));
            client.run("SREM s other");
            let members = read_while(server, "SMEMBERS s", |writer| assert_eq!(writer.run("DEL s").int(), 1));
            assert!(members.len() == COUNT && members.into_iter().collect::<BTreeSet<_>>() == all());
        });
    }
}

#[test]
fn who_stalls_in_the_midst_of_a_long_reply_is_cut_and_hurts_nobody() {
    const COMMANDS: [&str; 3] = ["SMEMBERS s", "LRANGE l 0 -1", "HGETALL h"];
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut client = server.client();
        fill(&mut client, "SADD s", element);
        fill(&mut client, "RPUSH l", element);
        fill(&mut client, "HSET h", |index| format!("{index} {}", element(index)));
        let mut readers = COMMANDS.map(|_| server.client());
        for (reader, command) in readers.iter_mut().zip(COMMANDS) {
            reader.run("CLIENT SETNAME stalled");
            reader.send(format!("{command}\r\n").as_bytes());
            reader.fill(Duration::from_secs(20)).expect("the reply begins");
        }
        let kept = |list: &str| -> Vec<u64> {
            let stalled = list.lines().filter(|line| line.contains("name=stalled"));
            let omem = stalled.filter_map(|line| line.split(' ').find_map(|field| field.strip_prefix("omem=")));
            omem.map(|digits| digits.parse().expect("a number")).collect()
        };
        let before = kept(&client.run("CLIENT LIST").text());
        assert!(before.len() == 3 && before.iter().all(|&omem| omem < 4 << 20), "{before:?} of 16 MB each");
        client.run("CONFIG SET client-output-buffer-limit 'normal 0 100000 1'");
        let started = Instant::now();
        while !kept(&client.run("CLIENT LIST").text()).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20), "{}", client.run("CLIENT LIST").text());
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(client.run("SADD s other").int() + client.run("SREM s other").int(), 2);
        }
        assert!(client.run("INFO stats").text().contains("client_output_buffer_limit_disconnections:3"));
        assert_eq!(client.run("DEL s l h").int(), 3);
    }
}

/// However fast the client reads: a limit on output is one on replies, too. One that says how long it will be is not begun.
#[test]
fn a_reply_that_is_longer_than_the_hard_limit_ends_with_the_client() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut client = server.client();
        client.run("HSET small a b");
        fill(&mut client, "RPUSH l", element);
        client.run("CONFIG SET client-output-buffer-limit 'normal 1000000 0 0'");
        for (command, most) in [("HRANDFIELD small -999999999", 0), ("LRANGE l 0 -1", 8 << 20)] {
            let mut reader = server.client();
            reader.send(format!("{command}\r\n").as_bytes());
            let len = reader.until_closed().len();
            assert!(len <= most, "{command}: {len}");
        }
        assert_eq!(client.run("LRANGE l 0 99").items().len(), 100);
        assert!(client.run("INFO stats").text().contains("client_output_buffer_limit_disconnections:2"));
    }
}

/// The buffer of a client is free, what stands behind it counts in blocks, a large value by its length. Figures of Redis 7.0:
/// LRANGE 57 and 98 KB, GET 66 and 115 KB. The longest LRANGE is made in several pieces, the last of which counts, too.
#[test]
fn the_hard_limit_is_where_redis_has_it() {
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut client = server.client();
        for (limit, list_len, value_len) in [(50_000, 57, 66), (100_000, 98, 115), (1_000_000, 999, 1016)] {
            client.run(&format!("CONFIG SET client-output-buffer-limit 'normal {limit} 0 0'"));
            let is_cut = |command: &str| {
                let mut reader = server.client();
                reader.send(format!("{command}\r\n").as_bytes());
                reader.reply_within(Duration::from_secs(20)).is_err()
            };
            for kilobytes in [list_len - 3, list_len + 3] {
                client.run("DEL l");
                for _ in 0..kilobytes {
                    client.run(&format!("RPUSH l {}", "x".repeat(990)));
                }
                assert_eq!(is_cut("LRANGE l 0 -1"), kilobytes > list_len, "LRANGE of {kilobytes} KB under {limit}");
            }
            for kilobytes in [value_len - 3, value_len + 3] {
                client.run(&format!("SET v {}", "x".repeat(kilobytes * 1000)));
                assert_eq!(is_cut("GET v"), kilobytes > value_len, "GET of {kilobytes} KB under {limit}");
            }
        }
    }
}

#[test]
fn a_large_hash_is_replied_as_it_was() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            fill(&mut client, "HSET h", |index| format!("{index} {}", element(index)));
            let disturb = |writer: &mut Client| {
                writer.run("HDEL h 5 6");
                writer.run("HSET h 7 changed new field");
            };
            let pairs = read_while(server, "HGETALL h", disturb);
            assert_eq!(pairs.len(), 2 * COUNT);
            assert!(pairs.chunks(2).all(|pair| element(pair[0].parse().unwrap()) == pair[1]));
            client.run("HDEL h new");
            client.run(&format!("HSET h 5 {} 6 {} 7 {}", element(5), element(6), element(7)));
            let values = read_while(server, "HVALS h", |writer| _ = writer.run("FLUSHALL"));
            assert!(values.len() == COUNT && values.into_iter().collect::<BTreeSet<_>>() == all());
        });
    }
}

#[test]
fn a_large_sorted_set_is_replied_as_it_was() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            fill(&mut client, "ZADD z", |index| format!("{} {}", index / 3, element(index)));
            let part = read_while(server, "ZRANGE z 1 -2", |writer| {
                assert_eq!(writer.run(&format!("ZREM z {}", element(30_000))).int(), 1);
                assert_eq!(writer.run(&format!("ZADD z 5 {} -1 new", element(20_000))).int(), 1);
                assert_eq!(writer.run("ZPOPMAX z 2000").items().len(), 4000);
            });
            assert!(part.into_iter().eq((1..COUNT - 1).map(element)));
            client.run("DEL z");
            fill(&mut client, "ZADD z", |index| format!("{} {}", index / 3, element(index)));
            let command = format!("ZRANGE z {} 0 BYSCORE REV WITHSCORES", COUNT / 3);
            let pairs = read_while(server, &command, |writer| assert_eq!(writer.run("DEL z").int(), 1));
            assert_eq!(pairs.len(), 2 * COUNT);
            let expected = (0..COUNT).rev().flat_map(|index| [element(index), (index / 3).to_string()]);
            assert!(pairs.into_iter().eq(expected));
        });
    }
}

#[test]
fn a_large_stream_is_replied_as_it_was() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            for index in 1..=COUNT / 8 {
                client.send(format!("XADD x {index}-1 f {} g {}\r\n", element(index).repeat(4), index).as_bytes());
            }
            client.replies(COUNT / 8);
            let ids = |texts: Vec<String>| texts.iter().map(|id| id.parse::<usize>().unwrap()).collect::<Vec<_>>();
            for (command, backwards) in [("XRANGE x 2 +", false), ("XREVRANGE x + 2", true)] {
                let (mut reader, mut writer) = (server.client(), server.client());
                reader.send(format!("{command} COUNT 4990\r\nPING\r\n").as_bytes());
                reader.fill(Duration::from_secs(20)).expect("the reply begins");
                writer.run("XADD x * late entry");
                assert_eq!(writer.run("XDEL x 2500-1 2501-1").int(), if backwards { 0 } else { 2 });
                writer.run("XTRIM x MAXLEN 100");
                let entries = reader.reply().items();
                assert_eq!(reader.reply().to_string(), "PONG");
                let found = ids(entries
                    .iter()
                    .map(|entry| entry.items()[0].text().split('-').next().unwrap_or_default().to_owned())
                    .collect());
                match backwards {
                    false => assert!(found.into_iter().eq(2..4992), "{engine:?}"),
                    true => assert!(found.len() <= 100),
                }
            }
        });
    }
}

#[test]
fn large_unions_and_whole_streams_are_replied_as_they_were() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            fill(&mut client, "SADD s", element);
            client.run("SADD t other");
            let members = read_while(server, "SUNION s t none", |writer| assert_eq!(writer.run("DEL s t").int(), 2));
            let expected = || all().into_iter().chain(["other".into()]).collect::<BTreeSet<_>>();
            assert!(members.len() == COUNT + 1 && members.into_iter().collect::<BTreeSet<_>>() == expected());
            fill(&mut client, "ZADD z", |index| format!("{index} {}", element(index)));
            let members = read_while(server, "ZUNION 2 z none", |writer| assert_eq!(writer.run("DEL z").int(), 1));
            assert!(members.into_iter().eq((0..COUNT).map(element)));
            for index in 1..=COUNT / 8 {
                client.send(format!("XADD x {index}-1 f {}\r\n", element(index).repeat(4)).as_bytes());
            }
            client.replies(COUNT / 8);
            let (mut reader, mut writer) = (server.client(), server.client());
            reader.send(b"XREAD COUNT 4990 STREAMS x 2-1\r\nPING\r\n");
            reader.fill(Duration::from_secs(20)).expect("the reply begins");
            writer.run("XTRIM x MAXLEN 100");
            let (reply, pong) = (reader.reply().items(), reader.reply());
            assert_eq!((reply.len(), pong.to_string()), (1, "PONG".into()));
            let entries = reply[0].items()[1].items();
            let ids = entries.iter().map(|entry| entry.items()[0].text());
            assert!(ids.eq((3..4993).map(|index| format!("{index}-1"))), "{engine:?}");
        });
    }
}

#[test]
fn many_elements_are_sorted_as_they_were() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            let numbers =
                |from: usize| (from..from + 5000).map(|n| (n * 7919 % 30_000).to_string()).collect::<Vec<_>>();
            for (command, key) in [("RPUSH", "l"), ("SADD", "s")] {
                for from in (0..30_000).step_by(5000) {
                    client.run(&format!("{command} {key} {}", numbers(from).join(" ")));
                }
                let sorted = read_while(server, &format!("SORT {key}"), |writer| _ = writer.run(&format!("DEL {key}")));
                assert!(sorted.len() <= 30_000 && sorted.is_sorted_by_key(|text| text.parse::<i64>().unwrap()));
            }
            client.run(&format!("RPUSH l {}", numbers(0).join(" ")));
            let texts = |reply: crate::harness::Value| reply.items().iter().map(|item| item.text()).collect::<Vec<_>>();
            let mut expected: Vec<i64> = numbers(0).iter().map(|text| text.parse().unwrap()).collect();
            expected.sort();
            let part = texts(client.run("SORT l LIMIT 1000 5"));
            assert!(part.into_iter().eq(expected[1000..1005].iter().map(i64::to_string)));
            let last = texts(client.run("SORT l DESC LIMIT 0 2"));
            assert!(last.into_iter().eq(expected.iter().rev().take(2).map(i64::to_string)));
            assert_eq!(texts(client.run("SORT l ALPHA LIMIT 0 1")), ["0"]);
            assert_eq!(client.run("SORT l STORE d").int(), 5000);
            assert_eq!(texts(client.run("LRANGE d 0 0")), [expected[0].to_string()]);
            client.run("RPUSH l x");
            let refused = "ERR One or more scores can't be converted into double";
            assert_eq!(client.run("SORT l").to_string(), refused);
            assert_eq!(client.run("SORT l STORE d").to_string(), refused);
            assert_eq!(client.run("SORT l STORE l ALPHA").int(), 5001);
        });
    }
}

/// Replies without an end come at the pace of their reader, and end with it.
#[test]
fn countless_random_elements_hurt_nobody() {
    for &engine in engines() {
        Server::lease(engine, |server| {
            let mut client = server.client();
            client.run("SADD s a b 3");
            client.run("HSET h f v g w");
            client.run("ZADD z 1 a 2 b");
            for command in ["SRANDMEMBER s", "HRANDFIELD h", "ZRANDMEMBER z"] {
                let mut greedy = server.client();
                greedy.send(format!("{command} -{}\r\n", i64::MAX).as_bytes());
                greedy.fill(Duration::from_secs(20)).expect("the reply begins");
                assert_eq!(client.run("PING").to_string(), "PONG", "{engine:?} {command}");
                assert_eq!(client.run(&format!("{command} -5000")).items().len(), 5000);
            }
        });
    }
}
