//! One list of properties, checked on both engines against the real kernel.
//!
//! Each test is a generic function over `Engine`; `on_both!` runs it on the ring and on epoll. `Driver` is a minimal loop:
//! it files completions per connection, as the event loop does.

use super::epoll::Epoll;
use super::uring::Uring;
use super::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

macro_rules! on_both {
    ($check:ident) => {{
        $check::<Uring>();
        $check::<Epoll>();
    }};
}

/// Longer than anything takes here: a test that gets there has lost something.
const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

struct Driver<E> {
    engine: E,
    out: Vec<Completion>,
    received: HashMap<Token, Vec<u8>>,
    ends: HashMap<Token, End>,
    sent: Vec<(Token, Result<usize, Errno>)>,
    accepted: Vec<(u16, io::Result<OwnedFd>)>,
    woken_count: usize,
}

impl<E: Engine> Driver<E> {
    fn new(sizes: &Sizes) -> Self {
        Driver {
            engine: E::new(sizes).unwrap(),
            out: Vec::new(),
            received: HashMap::new(),
            ends: HashMap::new(),
            sent: Vec::new(),
            accepted: Vec::new(),
            woken_count: 0,
        }
    }

    fn turn(&mut self, timeout: Option<Duration>) {
        self.engine.wait(timeout, &mut self.out).unwrap();
        assert!(self.out.len() <= REAP_MAX);
        let mut filled = Vec::new();
        for completion in self.out.drain(..) {
            match completion {
                Completion::Accepted { listener, result } => self.accepted.push((listener, result)),
                Completion::Received { token, filled: bytes } => {
                    assert!(!self.ends.contains_key(&token), "bytes after the end");
                    assert!(!bytes.is_empty());
                    self.received.entry(token).or_default().extend_from_slice(self.engine.bytes(&bytes));
                    filled.push(bytes); // Held to the end of the turn, as the event loop does.
                }
                Completion::Closed { token, end } => {
                    assert!(self.ends.insert(token, end).is_none(), "closed twice");
                }
                Completion::Sent { token, result, message } => {
                    assert!(message.is_empty() && message.large.is_empty());
                    self.sent.push((token, result));
                }
                Completion::Woken => self.woken_count += 1,
            }
        }
        filled.into_iter().for_each(|bytes| self.engine.give_back(bytes));
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{} lost something", E::KIND);
            self.turn(Some(TICK));
        }
    }

    /// Turns for a while in which nothing is expected to happen.
    fn idle_turns(&mut self) {
        (0..5).for_each(|_| self.turn(Some(Duration::from_millis(5))));
    }

    fn open_pair(&mut self, token: Token) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.engine.open(token, ours.into());
        theirs
    }

    fn open_tcp(&mut self, token: Token) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        self.engine.open(token, listener.accept().unwrap().0.into());
        theirs
    }

    fn received_len(&self, token: Token) -> usize {
        self.received.get(&token).map_or(0, Vec::len)
    }

    /// Sends back what came in, as soon as the message before is out.
    fn echo(&mut self, busy: &mut HashMap<Token, bool>) {
        for (token, _) in self.sent.drain(..) {
            busy.insert(token, false);
        }
        for (&token, bytes) in self.received.iter_mut().filter(|(_, bytes)| !bytes.is_empty()) {
            if !busy.get(&token).copied().unwrap_or(false) {
                self.engine.send(token, Message::from(std::mem::take(bytes)));
                busy.insert(token, true);
            }
        }
    }
}

fn token(slot: u32) -> Token {
    Token { slot, generation: 7 }
}

/// Sizes so small that every limit is met.
fn tiny() -> Sizes {
    Sizes { buffer_len: 64, buffer_count: 4, submit_entries: 4, complete_entries: 8 }
}

/// Bytes in which a piece that is lost, doubled or out of place shows.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index ^ index >> 8 ^ index >> 16) as u8).collect()
}

/// Writes and reads back at once, so that neither side waits for the other.
fn exchange<S: Read + Write + Send + 'static>(
    mut reader: S,
    mut writer: S,
    lens: Vec<usize>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for len in lens {
            let expected = pattern(len);
            let mut answer = vec![0; len];
            thread::scope(|scope| {
                scope.spawn(|| writer.write_all(&expected).unwrap());
                reader.read_exact(&mut answer).unwrap();
            });
            assert!(answer == expected, "an echo of {len} bytes differs");
        }
    })
}

fn echoes<E: Engine>(sizes: &Sizes, lens: &[usize]) {
    let mut driver = Driver::<E>::new(sizes);
    let unix = driver.open_pair(token(0));
    let tcp = driver.open_tcp(token(1));
    let peers = [
        exchange(unix.try_clone().unwrap(), unix, lens.to_vec()),
        exchange(tcp.try_clone().unwrap(), tcp, lens.to_vec()),
    ];
    let mut busy = HashMap::new();
    driver.until(|driver| {
        driver.echo(&mut busy);
        driver.ends.len() == 2
    });
    peers.into_iter().for_each(|peer| peer.join().unwrap());
    assert!(driver.ends.values().all(|&end| end == End::Eof));
}

#[test]
fn an_echo_of_any_size_comes_back() {
    fn check<E: Engine>() {
        echoes::<E>(&Sizes::default(), &[1, 37, 4095, 4096, 16383, 16384, 16385, 100_000, 5 << 20, 2]);
    }
    on_both!(check);
}

#[test]
fn an_echo_survives_the_smallest_queues() {
    fn check<E: Engine>() {
        echoes::<E>(&tiny(), &[1, 63, 64, 65, 100_000]);
    }
    on_both!(check);
}

#[test]
fn large_values_arrive_between_the_small_bytes() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        let value = Bytes::from(pattern(1000));
        let small = pattern(10 * 3000);
        let large: Vec<Insert> = (0..3000).map(|i| Insert { at: 10 * i, bytes: value.clone() }).collect();
        let expected: Vec<u8> = small.chunks(10).flat_map(|chunk| [&value[..], chunk].concat()).collect();
        let len = expected.len();
        let reader = thread::spawn(move || {
            let mut answer = vec![0; len];
            peer.read_exact(&mut answer).unwrap();
            assert!(answer == expected);
            peer
        });
        driver.engine.send(token(0), Message { small, large });
        driver.until(|driver| !driver.sent.is_empty());
        assert_eq!(driver.sent, [(token(0), Ok(len))]);
        assert!(value.is_unique(), "the engine still holds a value it has sent");
        drop(reader.join().unwrap());
    }
    on_both!(check);
}

#[test]
fn a_slow_reader_gets_everything_and_sent_comes_only_then() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        let expected = pattern(16 << 20);
        driver.engine.send(token(0), expected.clone().into());
        driver.idle_turns();
        assert!(driver.sent.is_empty(), "the peer has read nothing yet");
        let reader = thread::spawn(move || {
            let (mut answer, mut piece) = (Vec::new(), vec![0; 300_000]);
            while answer.len() < expected.len() {
                let len = peer.read(&mut piece).unwrap();
                answer.extend_from_slice(&piece[..len]);
                thread::sleep(Duration::from_micros(200));
            }
            assert!(answer == expected);
            peer
        });
        driver.until(|driver| !driver.sent.is_empty());
        assert_eq!(driver.sent, [(token(0), Ok(16 << 20))]);
        drop(reader.join().unwrap());
    }
    on_both!(check);
}

#[test]
fn a_reset_during_a_send_hands_the_message_back() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let peer = driver.open_tcp(token(0));
        driver.engine.send(token(0), pattern(16 << 20).into());
        driver.idle_turns();
        drop(peer); // With bytes unread, which makes it a reset.
        driver.until(|driver| !driver.sent.is_empty() && !driver.ends.is_empty());
        assert!(matches!(driver.sent[..], [(_, Err(Errno::ECONNRESET | Errno::EPIPE))]), "{:?}", driver.sent);
        driver.engine.close(token(0));
        driver.idle_turns();
    }
    on_both!(check);
}

#[test]
fn closing_with_a_send_in_flight_reports_nothing_and_frees_the_message() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        let value = Bytes::from(pattern(32 << 20));
        let large = vec![Insert { at: 0, bytes: value.clone() }];
        driver.engine.send(token(0), Message { small: Vec::new(), large });
        driver.idle_turns();
        driver.engine.close(token(0));
        let next = Token { slot: 0, generation: 8 };
        let mut next_peer = driver.open_pair(next); // The slot is taken again at once.
        next_peer.write_all(b"next").unwrap();
        driver.until(|driver| value.is_unique() && driver.received_len(next) == 4);
        assert!(driver.sent.is_empty() && driver.ends.is_empty());
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest); // End of stream or reset: either way the socket is closed.
        assert!(rest.len() < value.len());
    }
    on_both!(check);
}

#[test]
fn closing_right_after_opening_or_sending_is_harmless() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        for generation in 0..100 {
            let token = Token { slot: 0, generation };
            let mut peer = driver.open_pair(token);
            if generation % 2 == 0 {
                peer.write_all(b"hello").unwrap();
                driver.engine.send(token, pattern(100).into());
            }
            if generation % 3 == 0 {
                driver.turn(Some(Duration::ZERO));
            }
            driver.engine.close(token);
            driver.received.clear();
            driver.sent.clear();
            if generation % 5 == 0 {
                driver.turn(Some(Duration::ZERO));
                assert!(driver.received.is_empty() && driver.sent.is_empty() && driver.ends.is_empty());
            }
        }
        driver.idle_turns();
        assert!(driver.received.is_empty() && driver.sent.is_empty() && driver.ends.is_empty());
    }
    on_both!(check);
}

#[test]
fn more_connections_than_buffers_all_get_their_bytes() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&tiny());
        let expected = pattern(1000);
        let mut peers: Vec<UnixStream> = (0..200).map(|slot| driver.open_pair(token(slot))).collect();
        peers.iter_mut().for_each(|peer| peer.write_all(&expected).unwrap());
        driver.until(|driver| (0..200).all(|slot| driver.received_len(token(slot)) == 1000));
        assert!(driver.received.values().all(|bytes| *bytes == expected));
        assert!(driver.engine.counters().starved > 0, "the test did not test what it is for");
        // Those that starved last have nothing to receive now. One byte each, in the opposite order.
        for (slot, peer) in peers.iter_mut().enumerate().rev() {
            peer.write_all(b"!").unwrap();
            driver.until(|driver| driver.received_len(token(slot as u32)) == 1001);
        }
    }
    on_both!(check);
}

#[test]
fn a_wake_up_is_never_lost() {
    fn check<E: Engine>() {
        const ROUNDS: usize = 5000;
        let mut driver = Driver::<E>::new(&Sizes::default());
        let (acknowledge, acknowledged) = mpsc::channel();
        let waker = driver.engine.waker();
        let sender = thread::spawn(move || {
            for round in 0..ROUNDS {
                waker.wake();
                let () = acknowledged.recv().unwrap();
                if round % 100 == 0 {
                    thread::sleep(Duration::from_micros(300)); // Let the loop really fall asleep now and then.
                }
            }
        });
        for round in 0..ROUNDS {
            let started = Instant::now();
            while driver.woken_count == 0 {
                driver.turn(Some(PATIENCE));
                assert!(started.elapsed() < PATIENCE, "{}: round {round} was lost", E::KIND);
            }
            driver.woken_count = 0;
            acknowledge.send(()).unwrap();
        }
        sender.join().unwrap();
        driver.engine.waker().wake();
        driver.engine.waker().wake();
        driver.until(|driver| driver.woken_count > 0);
    }
    on_both!(check);
}

#[test]
fn a_paused_connection_is_not_read_and_loses_nothing() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        peer.write_all(b"before").unwrap();
        driver.until(|driver| driver.received_len(token(0)) == 6);
        driver.engine.pause_recv(token(0));
        driver.engine.pause_recv(token(0));
        driver.idle_turns(); // From here on the pause has taken effect.
        let expected = pattern(3 << 20);
        let writer = thread::spawn({
            let expected = expected.clone();
            move || {
                peer.write_all(&expected).unwrap();
                peer.shutdown(Shutdown::Write).unwrap();
                peer
            }
        });
        driver.idle_turns();
        assert_eq!(driver.received_len(token(0)), 6, "{} read a paused connection", E::KIND);
        driver.engine.resume_recv(token(0));
        driver.engine.resume_recv(token(0));
        driver.until(|driver| !driver.ends.is_empty());
        assert!(driver.received[&token(0)][6..] == expected);
        drop(writer.join().unwrap());
    }
    on_both!(check);
}

#[test]
fn pausing_and_resuming_at_any_moment_loses_nothing() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        let expected = pattern(4 << 20);
        let writer = thread::spawn({
            let expected = expected.clone();
            move || peer.write_all(&expected).unwrap()
        });
        let mut round = 0;
        driver.until(|driver| {
            round += 1;
            match round % 7 {
                0 | 3 | 4 => driver.engine.pause_recv(token(0)),
                _ => driver.engine.resume_recv(token(0)),
            }
            !driver.ends.is_empty()
        });
        writer.join().unwrap();
        assert!(driver.received[&token(0)] == expected);
    }
    on_both!(check);
}

#[test]
fn replies_still_go_out_after_the_peer_has_finished_sending() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peer = driver.open_tcp(token(0));
        peer.write_all(b"PING\r\n").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        driver.until(|driver| driver.ends.get(&token(0)) == Some(&End::Eof));
        assert_eq!(driver.received[&token(0)], b"PING\r\n");
        driver.engine.send(token(0), b"+PONG\r\n".to_vec().into());
        driver.until(|driver| driver.sent == [(token(0), Ok(7))]);
        driver.engine.close(token(0));
        driver.turn(Some(TICK));
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "+PONG\r\n");
    }
    on_both!(check);
}

#[test]
fn two_thousand_connections_are_accepted_and_answered() {
    fn check<E: Engine>() {
        const COUNT: usize = 2000;
        let mut driver = Driver::<E>::new(&Sizes::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let backlog = nix::sys::socket::Backlog::new(COUNT as i32).unwrap(); // The standard library's 128 drop SYNs.
        nix::sys::socket::listen(&listener, backlog).unwrap();
        driver.engine.listen(3, listener.into());
        let client = thread::spawn(move || {
            let mut peers: Vec<TcpStream> = (0..COUNT).map(|_| TcpStream::connect(address).unwrap()).collect();
            for round in 0u32..3 {
                peers.iter_mut().for_each(|peer| peer.write_all(&round.to_be_bytes()).unwrap());
                for peer in &mut peers {
                    let mut answer = [0; 4];
                    peer.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, round.to_be_bytes());
                }
            }
        });
        let (mut busy, mut open_count) = (HashMap::new(), 0);
        driver.until(|driver| {
            for (listener, socket) in std::mem::take(&mut driver.accepted) {
                assert_eq!(listener, 3);
                driver.engine.open(token(open_count), socket.unwrap());
                open_count += 1;
            }
            driver.echo(&mut busy);
            driver.ends.len() == COUNT
        });
        client.join().unwrap();
        (0..COUNT as u32).for_each(|slot| driver.engine.close(token(slot)));
        driver.idle_turns();
    }
    on_both!(check);
}

#[test]
fn a_stopped_listener_accepts_no_more_and_its_number_is_free() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let first_address = first.local_addr().unwrap();
        driver.engine.listen(0, first.into());
        driver.idle_turns();
        driver.engine.stop_listening(0);
        let second = TcpListener::bind("127.0.0.1:0").unwrap();
        let second_address = second.local_addr().unwrap();
        driver.engine.listen(0, second.into());
        driver.until(|_| TcpStream::connect(first_address).is_err());
        driver.accepted.clear(); // Who came in the very moment.
        let _peer = TcpStream::connect(second_address).unwrap();
        driver.until(|driver| driver.accepted.len() == 1);
        assert!(driver.accepted[0].1.is_ok());
    }
    on_both!(check);
}

#[test]
fn an_idle_engine_sleeps_and_comes_back() {
    fn check<E: Engine>() {
        let mut driver = Driver::<E>::new(&Sizes::default());
        let mut peers: Vec<UnixStream> = (0..100).map(|slot| driver.open_pair(token(slot))).collect();
        peers.iter_mut().for_each(|peer| peer.write_all(b"x").unwrap());
        driver.until(|driver| driver.received.len() == 100);
        driver.idle_turns();
        // A wait may end early, for what came late or by the kernel's clock: then the rest is slept. Whoever does not sleep
        // enters the kernel thousands of times; a slow machine only makes it fewer.
        let (enters, started, span) = (driver.engine.counters().enters, Instant::now(), Duration::from_millis(150));
        while let Some(left) = span.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) {
            driver.turn(Some(left));
        }
        assert!(started.elapsed() < PATIENCE, "{} overslept", E::KIND);
        let enters = driver.engine.counters().enters - enters;
        assert!(enters <= 20, "{} did not sleep: it entered {enters} times", E::KIND);
    }
    on_both!(check);
}

#[test]
fn an_engine_dropped_in_the_middle_of_everything_lets_go() {
    fn check<E: Engine>() {
        let value = Bytes::from(pattern(32 << 20));
        let mut driver = Driver::<E>::new(&Sizes::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        driver.engine.listen(0, listener.into());
        let mut peers: Vec<TcpStream> = (0..10).map(|slot| driver.open_tcp(token(slot))).collect();
        for slot in 0..10 {
            let large = vec![Insert { at: 0, bytes: value.clone() }];
            driver.engine.send(token(slot), Message { small: Vec::new(), large });
        }
        driver.idle_turns();
        peers.iter_mut().for_each(|peer| peer.write_all(b"more").unwrap());
        drop(driver);
        assert!(value.is_unique());
    }
    on_both!(check);
}
