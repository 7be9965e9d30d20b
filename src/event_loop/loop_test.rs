//! Tests of the event loop on an engine without a kernel: what arrives when is written down, and time passes when a test
//! says so. Only how much a slice of a long command gets done is up to the machine.

use super::post::DUE_LEN_MAX;
use super::*;
use crate::admin::clients::Endpoints;
use crate::base::hash::KeyHasher;
use crate::base::ids::ClientId;
use crate::cmd::world::{Boot, World};
use crate::ring::Sizes;
use crate::ring::scripted::{Event, Scripted};
use std::os::unix::net::UnixStream;

/// A loop with its script.
struct Rig {
    event_loop: EventLoop<Scripted>,
    peers: Vec<UnixStream>,
}

impl Rig {
    fn new() -> Self {
        let engine = Scripted::new(&Sizes { buffer_count: 256, buffer_len: 4096, ..Sizes::default() }).unwrap();
        // Leaked, as the server does.
        let world: &'static World = Box::leak(Box::new(World::new(Boot::default(), KeyHasher::seeded(1))));
        world.keyspace.now.stop();
        let mut fleet = Fleet::new(vec![engine.waker()]);
        (fleet.unix_path, fleet.unix_listener) = (Some("test".into()), Some(0));
        let fleet: &'static Fleet = Box::leak(Box::new(fleet));
        Rig { event_loop: EventLoop::new(LoopId(0), engine, world, fleet, 7), peers: Vec::new() }
    }
    /// A connected client.
    fn client(&mut self) -> Token {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.peers.push(theirs);
        let event_loop = &mut self.event_loop;
        assert!(event_loop.world.clients.reserve(1000));
        event_loop.fleet.place(LoopId(0));
        event_loop.adopt(ours.into(), Endpoints::Unix("test".into()), WallMs(0));
        event_loop.conns.iter().map(|conn| conn.token).max_by_key(|token| token.slot).unwrap()
    }
    /// One wait that brings `events`, and the turn after it.
    fn turn(&mut self, events: Vec<Event>) {
        self.event_loop.engine.script.push_back(events);
        self.event_loop.wait(WallMs(0)).unwrap();
        self.event_loop.turn();
    }
    /// Lets time pass, and what is due happen.
    fn pass(&mut self, ms: u64) {
        self.event_loop.world.keyspace.now.advance(ms);
        self.rest();
    }
    fn feed(&mut self, token: Token, bytes: &[u8]) {
        self.turn(vec![Event::Bytes(token, bytes.to_vec())]);
    }
    /// Turns in which nothing new comes, until nothing is left to do.
    fn rest(&mut self) {
        for _ in 0..1000 {
            self.turn(vec![]);
        }
    }
    fn output(&self, token: Token) -> String {
        let bytes = self.event_loop.engine.output.get(&token).map_or(&[][..], Vec::as_slice);
        String::from_utf8_lossy(bytes).into_owned()
    }
    fn is_open(&self, token: Token) -> bool {
        self.event_loop.engine.is_open(token)
    }
}

/// A command in protocol form.
fn cmd(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| bytes += &format!("${}\r\n{word}\r\n", word.len()));
    bytes.into_bytes()
}

#[test]
fn replies_do_not_depend_on_where_the_stream_is_cut() {
    let large = "x".repeat(40_000);
    let mut stream = [cmd(&["ECHO", "a"]), b"PING\r\n".to_vec(), cmd(&["ECHO", &large]), cmd(&["ECHO", "b"])].concat();
    stream.extend(b"*0\r\n\r\nECHO c\r\n");
    let expected = format!("$1\r\na\r\n+PONG\r\n$40000\r\n{large}\r\n$1\r\nb\r\n$1\r\nc\r\n");
    for step in [1, 2, 3, 7, 100, 4095, 4096, 4097, 20_000, stream.len()] {
        let mut rig = Rig::new();
        let token = rig.client();
        stream.chunks(step).for_each(|piece| rig.feed(token, piece));
        rig.rest();
        assert!(rig.output(token) == expected, "cut every {step} bytes");
        let conn = rig.event_loop.conns.get(token).unwrap();
        assert!(conn.input.room() <= 32 << 10, "some room stays for the next incomplete command");
        conn.give_room_back();
        assert_eq!(
            (conn.input.len(), conn.input.room(), conn.reply.out.buf.capacity()),
            (0, 0, 0),
            "idle owns nothing"
        );
    }
}

#[test]
fn nothing_runs_behind_quit() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, &[cmd(&["QUIT"]), cmd(&["PING"])].concat());
    rig.rest();
    assert_eq!(rig.output(token), "+OK\r\n");
    assert!(!rig.is_open(token));
    assert_eq!(rig.event_loop.world.clients.count(), 0);
}

#[test]
fn a_protocol_error_is_told_behind_the_replies_and_closes() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, b"PING\r\n*1\r\nfoo\r\nPING\r\n");
    rig.rest();
    assert_eq!(rig.output(token), "+PONG\r\n-ERR Protocol error: expected '$', got 'f'\r\n");
    assert!(!rig.is_open(token));
}

#[test]
fn a_client_that_has_sent_everything_is_still_answered() {
    let mut rig = Rig::new();
    let token = rig.client();
    let stream = [cmd(&["ECHO", "a"]).repeat(1000), b"*1\r\n$4\r\nPI".to_vec()].concat();
    rig.turn(vec![Event::Bytes(token, stream), Event::End(token, End::Eof)]);
    rig.rest();
    assert_eq!(rig.output(token), "$1\r\na\r\n".repeat(1000));
    assert!(!rig.is_open(token));
}

#[test]
fn a_broken_connection_runs_what_it_sent_and_closes() {
    let mut rig = Rig::new();
    let (broken, other) = (rig.client(), rig.client());
    rig.turn(vec![Event::Bytes(broken, cmd(&["SET", "k", "v"])), Event::End(broken, End::Failed(Errno::ECONNRESET))]);
    rig.feed(other, &cmd(&["GET", "k"]));
    assert_eq!(rig.output(other), "$1\r\nv\r\n");
    assert!(!rig.is_open(broken));
}

#[test]
fn a_long_pipeline_does_not_hold_up_the_others() {
    let mut rig = Rig::new();
    let (greedy, modest) = (rig.client(), rig.client());
    let pipeline = b"PING\r\n".repeat(2000);
    rig.turn(vec![Event::Bytes(greedy, pipeline), Event::Bytes(modest, b"PING\r\n".to_vec())]);
    assert_eq!(rig.output(modest), "+PONG\r\n");
    let served = rig.output(greedy).len() / "+PONG\r\n".len();
    assert!((1..=256).contains(&served), "{served} commands in one turn");
    rig.rest();
    assert_eq!(rig.output(greedy), "+PONG\r\n".repeat(2000));
}

#[test]
fn a_client_that_does_not_read_is_not_run_and_what_it_sends_waits() {
    let mut rig = Rig::new();
    let token = rig.client();
    let value = "v".repeat(10_000);
    rig.feed(token, &cmd(&["SET", "k", &value]));
    rig.rest();
    rig.event_loop.engine.hold_sends = true;
    for _ in 0..100 {
        rig.feed(token, &cmd(&["GET", "k"]).repeat(20));
    }
    let conn = rig.event_loop.conns.get(token).unwrap();
    let waiting = conn.output_len();
    assert!(waiting < 2 * OUTPUT_SOFT_MAX, "{waiting} bytes wait");
    // It may be one that reads when all its commands are written.
    assert!(conn.is_stalled && conn.input.len() > 0 && !rig.event_loop.engine.is_paused(token));
    let value_len_max = 512 << 10;
    let mut fed_len = 0;
    while fed_len < BACKLOG_UNREAD_MAX + 2 * value_len_max {
        let echo = cmd(&["STRLEN", &"x".repeat(value_len_max)]);
        fed_len += echo.len();
        if !rig.event_loop.engine.is_paused(token) {
            rig.feed(token, &echo);
        }
    }
    assert!(rig.event_loop.engine.is_paused(token), "there is an end to that, too");
    rig.event_loop.engine.hold_sends = false;
    rig.rest();
    let expected = 5 + 2000 * (value.len() + "$10000\r\n\r\n".len());
    let replies = rig.output(token);
    assert!(replies.len() > expected && replies[expected..].starts_with(":0\r\n:0\r\n"), "all is answered in the end");
    assert!(!rig.event_loop.engine.is_paused(token));
}

#[test]
fn output_accumulates_while_a_message_is_in_flight() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.event_loop.engine.hold_sends = true;
    for word in ["a", "b", "c"] {
        rig.feed(token, &cmd(&["ECHO", word])); // The engine asserts that one message at a time is in flight.
    }
    assert_eq!(rig.output(token), "$1\r\na\r\n");
    rig.event_loop.engine.hold_sends = false;
    rig.rest();
    assert_eq!(rig.output(token), "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
}

#[test]
fn a_failed_send_ends_the_connection() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.event_loop.engine.fail_send = Some(Errno::EPIPE);
    rig.feed(token, b"PING\r\n");
    rig.rest();
    assert!(!rig.is_open(token));
    assert_eq!(rig.event_loop.conns.count(), 0);
}

#[test]
fn killed_clients_are_closed_and_others_are_not() {
    let mut rig = Rig::new();
    let (killer, victim) = (rig.client(), rig.client());
    let id = rig.event_loop.conns.get(victim).unwrap().session.id;
    rig.feed(killer, &cmd(&["CLIENT", "KILL", "ID", &id.0.to_string()]));
    rig.rest();
    assert_eq!(rig.output(killer), ":1\r\n");
    assert!(rig.is_open(killer) && !rig.is_open(victim));
    rig.event_loop.kill(ClientId(999));
}

#[test]
fn limits_change_with_the_very_command_that_logs_in() {
    let mut rig = Rig::new();
    rig.event_loop.world.acl.set_default_password(b"pw");
    let token = rig.client();
    let value = "v".repeat(17_000); // Longer than a client may send before it has logged in.
    rig.feed(token, &[cmd(&["PING"]), cmd(&["AUTH", "pw"]), cmd(&["ECHO", &value])].concat());
    rig.rest();
    assert_eq!(rig.output(token), format!("-NOAUTH Authentication required.\r\n+OK\r\n$17000\r\n{value}\r\n"));
}

#[test]
fn a_slot_that_is_used_again_is_not_mistaken_for_its_former_client() {
    let mut rig = Rig::new();
    let first = rig.client();
    rig.feed(first, &cmd(&["QUIT"]));
    rig.rest();
    let second = rig.client();
    assert_eq!((first.slot, first == second), (second.slot, false));
    rig.event_loop.on_closed(first, End::Eof);
    rig.feed(second, b"PING\r\n");
    assert_eq!(rig.output(second), "+PONG\r\n");
}

#[test]
fn shutdown_sends_what_waits_and_closes_everybody() {
    let mut rig = Rig::new();
    let (first, second) = (rig.client(), rig.client());
    rig.turn(vec![
        Event::Bytes(second, b"PING\r\n".to_vec()),
        Event::Bytes(first, [cmd(&["ECHO", "a"]), cmd(&["SHUTDOWN"]), cmd(&["PING"])].concat()),
    ]);
    rig.rest();
    assert_eq!((rig.output(first), rig.output(second)), ("$1\r\na\r\n".into(), "+PONG\r\n".into()));
    assert!(rig.event_loop.deadline.is_some() && rig.event_loop.conns.count() == 0);
}

/// A rig whose database holds `count` keys; loading them is not part of the test.
fn rig_with_keys(count: usize) -> (Rig, Token) {
    let mut rig = Rig::new();
    let token = rig.client();
    for from in (0..count).step_by(100) {
        let words: Vec<String> = (from..count.min(from + 100)).flat_map(|n| [format!("key:{n}"), "v".into()]).collect();
        let words: Vec<&str> = ["MSET"].into_iter().chain(words.iter().map(String::as_str)).collect();
        rig.feed(token, &cmd(&words));
    }
    rig.rest();
    rig.event_loop.engine.output.clear();
    (rig, token)
}

/// Turns until the client has no long command any more; how many.
fn turns_of_long_command(rig: &mut Rig, token: Token) -> usize {
    let mut turns = 0;
    while rig.event_loop.conns.get(token).unwrap().long.is_some() {
        rig.turn(vec![]);
        turns += 1;
    }
    turns
}

#[test]
fn others_are_served_between_the_slices_of_a_long_command() {
    let (mut rig, lister) = rig_with_keys(30_000);
    let other = rig.client();
    rig.turn(vec![
        Event::Bytes(lister, [cmd(&["KEYS", "*"]), cmd(&["ECHO", "behind"])].concat()),
        Event::Bytes(other, b"PING\r\n".to_vec()),
    ]);
    assert_eq!((rig.output(lister), rig.output(other)), (String::new(), "+PONG\r\n".into()));
    rig.feed(other, &[cmd(&["SET", "later", "v"]), cmd(&["DEL", "key:7"])].concat());
    assert_eq!(rig.output(other), "+PONG\r\n+OK\r\n:1\r\n");
    assert!(turns_of_long_command(&mut rig, lister) > 1);
    rig.rest();
    let output = rig.output(lister);
    let listed = |key: &str| output.matches(&format!("\r\n{key}\r\n")).count();
    assert!((0..30_000).all(|n| n == 7 || n % 100 != 0 || listed(&format!("key:{n}")) == 1), "each key once");
    assert!(listed("later") <= 1 && listed("key:7") <= 1);
    let count = output.matches('$').count() - 1;
    assert!(output.starts_with(&format!("*{count}\r\n")), "{}", &output[..20]);
    assert!(output.ends_with("$6\r\nbehind\r\n"), "what stands behind it runs after it");
}

#[test]
fn a_long_command_of_a_client_that_is_gone_ends() {
    let (mut rig, broken) = rig_with_keys(30_000);
    let killed = rig.client();
    rig.turn(vec![Event::Bytes(broken, cmd(&["KEYS", "*"])), Event::Bytes(killed, cmd(&["KEYS", "*"]))]);
    let id = rig.event_loop.conns.get(killed).unwrap().session.id;
    rig.turn(vec![Event::End(broken, End::Failed(Errno::ECONNRESET))]);
    rig.event_loop.kill(id);
    rig.turn(vec![]);
    assert!(!rig.is_open(broken) && !rig.is_open(killed));
    assert_eq!(rig.event_loop.conns.count(), 0);
}

#[test]
fn a_long_command_whose_peer_sends_no_more_is_still_answered() {
    let (mut rig, token) = rig_with_keys(30_000);
    rig.turn(vec![Event::Bytes(token, cmd(&["KEYS", "key:1*"])), Event::End(token, End::Eof)]);
    turns_of_long_command(&mut rig, token);
    rig.rest();
    assert!(rig.output(token).starts_with("*11111\r\n"), "{:?}", rig.output(token).get(..20));
    assert!(!rig.is_open(token));
}

#[test]
fn a_long_command_that_nobody_wants_to_hear_of_stays_silent() {
    let (mut rig, token) = rig_with_keys(30_000);
    rig.feed(token, &[cmd(&["CLIENT", "REPLY", "SKIP"]), cmd(&["KEYS", "*"]), cmd(&["ECHO", "x"])].concat());
    assert!(rig.event_loop.conns.get(token).unwrap().long.is_some());
    rig.rest();
    assert_eq!(rig.output(token), "$1\r\nx\r\n");
}

#[test]
fn a_long_commands_reply_counts_as_output_while_it_is_made() {
    let (mut rig, token) = rig_with_keys(30_000);
    rig.feed(token, &cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]));
    rig.feed(token, &cmd(&["KEYS", "*"]));
    rig.rest();
    assert!(!rig.is_open(token), "closed for its output of 400 KB");
}

#[test]
fn a_storm_of_connections_is_taken_in_piece_by_piece() {
    let mut rig = Rig::new();
    let token = rig.client();
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..300).map(|_| UnixStream::pair().unwrap()).unzip();
    let mut storm: Vec<Event> = ours.into_iter().map(|socket| Event::Accept(0, socket.into())).collect();
    storm.push(Event::Bytes(token, b"PING\r\n".to_vec()));
    rig.turn(storm);
    assert_eq!(rig.output(token), "+PONG\r\n", "those who are there are served meanwhile");
    assert!(rig.event_loop.conns.count() < 100, "{} in one turn", rig.event_loop.conns.count());
    rig.rest();
    assert_eq!(rig.event_loop.conns.count(), 301);
    drop(theirs);
}

#[test]
fn who_finds_no_place_in_a_storm_is_told_so() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, &cmd(&["CONFIG", "SET", "maxclients", "3"]));
    let (ours, mut theirs): (Vec<_>, Vec<_>) = (0..5).map(|_| UnixStream::pair().unwrap()).unzip();
    rig.turn(ours.into_iter().map(|socket| Event::Accept(0, socket.into())).collect());
    assert_eq!(rig.event_loop.conns.count(), 3);
    for peer in &mut theirs[2..] {
        let mut told = String::new();
        std::io::Read::read_to_string(peer, &mut told).unwrap();
        assert_eq!(told, "-ERR max number of clients reached\r\n");
    }
}

#[test]
fn a_pause_holds_back_what_stands_behind_it_and_keeps_its_order() {
    let mut rig = Rig::new();
    let (pauser, other) = (rig.client(), rig.client());
    let stream = [
        cmd(&["SET", "k", "1"]),
        cmd(&["CLIENT", "PAUSE", "100000", "WRITE"]),
        cmd(&["GET", "k"]),
        cmd(&["APPEND", "k", "2"]),
        cmd(&["GET", "k"]),
        cmd(&["ECHO", &"x".repeat(40_000)]),
    ];
    rig.feed(pauser, &stream.concat());
    rig.rest();
    assert_eq!(rig.output(pauser), "+OK\r\n+OK\r\n$1\r\n1\r\n");
    rig.feed(pauser, &[cmd(&["PING"]), b"*1\r\nfoo\r\n".to_vec()].concat());
    rig.feed(other, &[cmd(&["GET", "k"]), cmd(&["SET", "wrong"])].concat());
    assert!(rig.output(other).starts_with("$1\r\n1\r\n-ERR wrong number"), "reads and errors are not held back");
    assert_eq!(rig.event_loop.world.clients.blocked(), 1);
    rig.feed(other, &cmd(&["CLIENT", "UNPAUSE"]));
    rig.rest();
    let echoed = format!("$40000\r\n{}\r\n+PONG\r\n", "x".repeat(40_000));
    let tail = format!(":2\r\n$2\r\n12\r\n{echoed}-ERR Protocol error: expected '$', got 'f'\r\n");
    assert!(rig.output(pauser).ends_with(&tail));
    assert_eq!((rig.event_loop.world.clients.blocked(), rig.is_open(pauser)), (0, false));
}

#[test]
fn a_pause_ends_by_itself() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, &[cmd(&["CLIENT", "PAUSE", "20"]), cmd(&["PING"])].concat());
    rig.rest();
    assert_eq!(rig.output(token), "+OK\r\n");
    let now = rig.event_loop.world.keyspace.now.get();
    let sleep = rig.event_loop.sleep_time(now);
    assert!(sleep <= Duration::from_millis(20), "the loop sleeps until the pause ends: {sleep:?}");
    rig.pass(19);
    assert_eq!(rig.output(token), "+OK\r\n");
    rig.pass(1);
    assert_eq!(rig.output(token), "+OK\r\n+PONG\r\n");
}

#[test]
fn of_many_clients_that_go_at_once_some_are_closed_in_each_turn() {
    let mut rig = Rig::new();
    let stays = rig.client();
    let those_who_go: Vec<Token> = (0..3 * CLOSES_PER_TURN + 2).map(|_| rig.client()).collect();
    let (waiting, idle) = those_who_go.split_at(CLOSES_PER_TURN * 2);
    waiting.iter().for_each(|&token| rig.feed(token, &cmd(&["BLPOP", "list", "0"])));
    rig.turn(those_who_go.iter().map(|&token| Event::End(token, End::Eof)).collect());
    let open = |rig: &Rig| those_who_go.iter().filter(|&&token| rig.is_open(token)).count();
    assert_eq!(open(&rig), those_who_go.len() - CLOSES_PER_TURN);
    assert_eq!(rig.event_loop.world.clients.blocked(), 0, "nothing is given to those who have gone");
    rig.feed(stays, &[cmd(&["RPUSH", "list", "a"]), cmd(&["LLEN", "list"])].concat());
    assert_eq!(rig.output(stays), ":1\r\n:1\r\n", "the others are served in between");
    assert_eq!(open(&rig), those_who_go.len() - 2 * CLOSES_PER_TURN);
    assert!(idle.iter().all(|&token| rig.is_open(token)), "first come, first closed");
    rig.rest();
    assert_eq!((open(&rig), rig.event_loop.world.clients.count()), (0, 1));
}

#[test]
fn many_victims_of_client_kill_are_closed_in_turns() {
    let mut rig = Rig::new();
    let killer = rig.client();
    let victims: Vec<Token> = (0..CLOSES_PER_TURN + 5).map(|_| rig.client()).collect();
    rig.feed(killer, &cmd(&["CLIENT", "KILL", "TYPE", "normal"]));
    rig.turn(vec![]);
    assert!(victims.iter().any(|&token| rig.is_open(token)));
    rig.rest();
    assert!(victims.iter().all(|&token| !rig.is_open(token)) && rig.is_open(killer));
}

#[test]
fn a_wait_ends_in_time_by_unblock_or_with_its_client() {
    let mut rig = Rig::new();
    let [brief, endless, killed, gone, other] = [(); 5].map(|()| rig.client());
    for (token, timeout) in [(brief, "20"), (endless, "0"), (killed, "1000000"), (gone, "0")] {
        rig.feed(token, &[cmd(&["WAIT", "1", timeout]), cmd(&["PING"])].concat());
    }
    assert_eq!(rig.event_loop.world.clients.blocked(), 4);
    rig.turn(vec![Event::End(gone, End::Eof)]);
    assert!(!rig.is_open(gone), "whoever leaves is not waited for");
    let id = |rig: &mut Rig, token| rig.event_loop.conns.get(token).unwrap().session.id.0.to_string();
    let (endless_id, killed_id) = (id(&mut rig, endless), id(&mut rig, killed));
    rig.feed(other, &cmd(&["CLIENT", "UNBLOCK", &endless_id, "ERROR"]).repeat(2));
    rig.feed(other, &cmd(&["CLIENT", "KILL", "ID", &killed_id]));
    rig.rest();
    assert_eq!(rig.output(other), ":1\r\n:0\r\n:1\r\n", "one wait is ended once");
    assert_eq!(rig.output(endless), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n+PONG\r\n");
    rig.pass(19);
    assert_eq!(rig.output(brief), "");
    rig.pass(1);
    assert_eq!(rig.output(brief), ":0\r\n+PONG\r\n");
    let world = rig.event_loop.world;
    assert_eq!((world.clients.blocked(), rig.event_loop.parked.next_at(world, WallMs(0))), (0, None));
}

#[test]
fn a_parked_client_that_goes_on_sending_is_not_read_without_end() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, &cmd(&["WAIT", "1", "0"]));
    for _ in 0..100 {
        rig.feed(token, &cmd(&["ECHO", &"x".repeat(1000)]));
    }
    assert!(rig.event_loop.engine.is_paused(token));
    let waiting = rig.event_loop.conns.get(token).unwrap().input.len();
    assert!(waiting < BACKLOG_MAX + 5000, "{waiting} bytes wait");
    rig.event_loop.conns.get(token).unwrap().session.info.wait.end();
    rig.event_loop.wake(token, Some(crate::cmd::command::Woken::TimedOut));
    rig.rest();
    assert_eq!(rig.output(token).matches("$1000").count(), 100);
}

#[test]
fn output_over_the_hard_limit_closes_before_anything_is_sent() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.feed(token, &cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]));
    rig.feed(token, &cmd(&["ECHO", &"x".repeat(10_000)]).repeat(12));
    rig.rest();
    assert_eq!((rig.output(token).as_str(), rig.is_open(token)), ("+OK\r\n", false));
}

#[test]
fn output_over_the_soft_limit_closes_when_it_stays_so() {
    let mut rig = Rig::new();
    let (slow, quick) = (rig.client(), rig.client());
    rig.feed(quick, &cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 0 10000 1"]));
    rig.rest();
    rig.event_loop.engine.hold_sends = true;
    for token in [slow, quick] {
        rig.feed(token, &cmd(&["ECHO", &"x".repeat(40_000)]));
    }
    let alarm = |rig: &mut Rig, token| rig.event_loop.conns.get(token).unwrap().alarm_at;
    assert!(alarm(&mut rig, slow).is_some() && alarm(&mut rig, quick).is_some());
    let message = std::mem::take(&mut rig.event_loop.conns.get(quick).unwrap().sending_len);
    rig.event_loop.on_sent(quick, Ok(message), Message::default());
    rig.rest();
    assert_eq!(alarm(&mut rig, quick), None, "it has read");
    rig.pass(1000);
    assert!(rig.is_open(slow), "not more than its second is over");
    rig.pass(1000);
    assert_eq!((rig.is_open(slow), rig.is_open(quick)), (false, true));
}

#[test]
fn a_client_that_never_reads_its_last_replies_does_not_stay() {
    let mut rig = Rig::new();
    let token = rig.client();
    rig.event_loop.engine.hold_sends = true;
    rig.feed(token, &cmd(&["QUIT"]));
    rig.rest();
    assert!(rig.is_open(token));
    rig.pass(crate::event_loop::limits::DRAIN_PATIENCE_MS);
    assert!(!rig.is_open(token));
}

#[test]
fn what_stands_behind_a_long_command_waits_wherever_it_was_cut() {
    let (mut rig, token) = rig_with_keys(30_000);
    let keys = [cmd(&["ECHO", "a"]), cmd(&["KEYS", "key:7"]), cmd(&["ECHO", "b"])].concat();
    let stream = [keys.clone(), keys, b"PING\r\n*1\r\nfoo\r\n".to_vec()].concat();
    let once = "$1\r\na\r\n*1\r\n$5\r\nkey:7\r\n$1\r\nb\r\n";
    let error = "-ERR Protocol error: expected '$', got 'f'\r\n";
    rig.feed(token, &stream);
    rig.rest();
    assert_eq!(rig.output(token), format!("{once}{once}+PONG\r\n{error}"));
    assert!(!rig.is_open(token));
}

#[test]
fn monitors_are_shown_what_runs_until_they_stop_reading() {
    let mut rig = Rig::new();
    let (first, second, other) = (rig.client(), rig.client(), rig.client());
    rig.feed(first, &[cmd(&["MONITOR"]), cmd(&["PING"])].concat());
    rig.feed(second, &cmd(&["MONITOR"]));
    rig.feed(other, &[cmd(&["SET", "k", "a b"]), cmd(&["CONFIG", "GET", "port"]), cmd(&["nosuch"])].concat());
    rig.rest();
    let words = |rig: &Rig, token| {
        let output = rig.output(token);
        let words = output.lines().map(|line| line.split_once("] ").map_or(line, |(_, words)| words).to_string());
        words.collect::<Vec<_>>()
    };
    assert_eq!(words(&rig, first), ["+OK", "+PONG", "\"PING\"", "\"SET\" \"k\" \"a b\""]);
    assert_eq!(words(&rig, second), ["+OK", "\"SET\" \"k\" \"a b\""]);
    rig.feed(other, &cmd(&["CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0"]));
    rig.event_loop.engine.hold_sends = true;
    for _ in 0..20 {
        rig.feed(other, &cmd(&["GET", &"x".repeat(6000)]));
    }
    rig.rest();
    assert!(!rig.is_open(first) && !rig.is_open(second) && rig.is_open(other));
    assert!(!rig.event_loop.world.attention.is_wanted());
}

#[test]
fn messages_wait_for_the_end_of_a_long_reply() {
    let (mut rig, lister) = rig_with_keys(30_000);
    let publisher = rig.client();
    rig.feed(lister, &[cmd(&["HELLO", "3"]), cmd(&["SUBSCRIBE", "c"])].concat());
    let greeting_len = rig.output(lister).len();
    rig.turn(vec![
        Event::Bytes(lister, [cmd(&["SORT_RO", "none"]), cmd(&["KEYS", "key:*"]), cmd(&["PING"])].concat()),
        Event::Bytes(publisher, cmd(&["PUBLISH", "c", "m"])),
    ]);
    turns_of_long_command(&mut rig, lister);
    rig.feed(publisher, &cmd(&["PUBLISH", "c", "n"]));
    rig.rest();
    let output = rig.output(lister).split_off(greeting_len);
    let (listed, behind) = output.split_at(output.find('>').expect("a push"));
    assert!(listed.starts_with("*0\r\n*30000\r\n") && listed.ends_with("\r\n"), "{:?}", listed.get(..40));
    let message = ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n";
    assert!(behind.starts_with(message) && behind.contains("+PONG\r\n"), "{behind}");
    assert_eq!(rig.output(publisher), ":1\r\n:1\r\n");
}

#[test]
fn a_message_to_many_is_sent_in_turns_and_what_comes_meanwhile_goes_with_it() {
    let mut rig = Rig::new();
    let listeners: Vec<Token> = (0..150).map(|_| rig.client()).collect();
    let publisher = rig.client();
    listeners.iter().for_each(|&token| rig.feed(token, &cmd(&["SUBSCRIBE", "c"])));
    let greeting = rig.output(listeners[0]);
    let count = |rig: &Rig| listeners.iter().filter(|&&token| rig.output(token).len() > greeting.len()).count();
    rig.feed(publisher, &cmd(&["PUBLISH", "c", "1"]));
    assert_eq!((rig.output(publisher), count(&rig)), (":150\r\n".into(), LISTENERS_PER_TURN));
    rig.feed(publisher, &cmd(&["PUBLISH", "c", "2"]));
    assert_eq!((rig.output(publisher), count(&rig)), (":150\r\n".repeat(2), 2 * LISTENERS_PER_TURN));
    rig.feed(publisher, &cmd(&["PUBLISH", "c", &"x".repeat(DUE_LEN_MAX)]));
    assert_eq!(count(&rig), 150, "whoever has much to get is sent it at once");
    rig.rest();
    let message = |text: &str| format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${}\r\n{text}\r\n", text.len());
    let all = greeting.clone() + &message("1") + &message("2") + &message(&"x".repeat(DUE_LEN_MAX));
    assert!(listeners.iter().all(|&token| rig.output(token) == all));
}
