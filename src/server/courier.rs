//! Trips to other servers, for MIGRATE: on a thread that may wait.

use crate::cmd::migrate::{Courier, Failure, Order, Outcome};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line of reply that is longer is nonsense.
const LINE_LEN_MAX: u64 = 64 << 10;
/// Bytes that are written before anybody looks whether the other side still takes them.
const CHUNK: usize = 64 << 10;

/// Connections that are kept at most, and for how long. Source: Redis, `MIGRATE_SOCKET_CACHE_ITEMS`, `_TTL`.
const KEPT_MAX: usize = 64;
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Makes trips, and keeps the connections of those that went well.
#[derive(Default)]
pub struct Van {
    /// In the order in which they were used last.
    kept: Mutex<Vec<Kept>>,
}

/// A connection that waits for the next trip of who goes there with the same AUTH.
struct Kept {
    host: Vec<u8>,
    port: Vec<u8>,
    login: Vec<Vec<u8>>,
    stream: TcpStream,
    used: Instant,
}

impl Kept {
    fn serves(&self, order: &Order) -> bool {
        self.host == order.host && self.port == order.port && self.login == order.login
    }
}

impl Van {
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// A connection that is still open, and has nothing to say.
    fn take(&self, order: &Order) -> Option<TcpStream> {
        loop {
            let mut kept = self.lock();
            let place = kept.iter().position(|kept| kept.serves(order))?;
            let stream = kept.remove(place).stream;
            drop(kept);
            if is_quiet(&stream) && set_up(&stream, order).is_ok() {
                return Some(stream);
            }
        }
    }
    fn keep(&self, order: &Order, stream: TcpStream) {
        let Order { host, port, login, .. } = order;
        let mut kept = self.lock();
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        let (host, port, login) = (host.clone(), port.clone(), login.clone());
        kept.push(Kept { host, port, login, stream, used: Instant::now() });
    }
}

impl Courier for Van {
    fn travel(&self, order: &Order) -> Outcome {
        let mut replies = Vec::new();
        // That the other side has closed a connection that was kept is no failure, if nothing was heard on it: as in Redis.
        let ended = match self.take(order).map(|stream| speak(stream, order, &mut replies)) {
            Some(Err(End::Lost(_))) if replies.is_empty() => None,
            ended => ended,
        };
        let connected = || connect(order).map_err(End::Late);
        match ended.unwrap_or_else(|| connected().and_then(|stream| speak(stream, order, &mut replies))) {
            Ok(stream) => {
                if replies.iter().all(|line| line.first() != Some(&b'-')) {
                    self.keep(order, stream);
                }
                Outcome { replies, failure: None }
            }
            Err(End::Late(failure) | End::Lost(failure)) => Outcome { replies, failure: Some(failure) },
        }
    }
    fn kept_count(&self) -> usize {
        self.lock().len()
    }
    fn tidy(&self) {
        self.lock().retain(|kept| kept.used.elapsed() < KEPT_FOR);
    }
}

/// How a conversation has ended too early.
enum End {
    /// The other side takes too long, or talks nonsense.
    Late(Failure),
    /// The connection is gone.
    Lost(Failure),
}

impl End {
    fn of(error: &io::Error, failure: Failure) -> Self {
        let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if is_late { End::Late(failure) } else { End::Lost(failure) }
    }
}

/// Says everything, and hears the replies.
/// Errors: where it has failed; the replies until then are there.
fn speak(mut stream: TcpStream, order: &Order, replies: &mut Vec<Vec<u8>>) -> Result<TcpStream, End> {
    for chunk in order.request.chunks(CHUNK) {
        stream.write_all(chunk).map_err(|error| End::of(&error, Failure::Write))?;
    }
    let mut reader = BufReader::new(&stream);
    while replies.len() < order.reply_count {
        let mut line = Vec::new();
        let read = (&mut reader).take(LINE_LEN_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| End::of(&error, Failure::Read))?;
        if !line.ends_with(b"\r\n") {
            return Err(if line.is_empty() { End::Lost(Failure::Read) } else { End::Late(Failure::Read) });
        }
        line.truncate(line.len() - 2);
        replies.push(line);
    }
    Ok(stream)
}

/// Is it open, with nothing to be read? A connection of which too much was said is of no use any more.
fn is_quiet(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    stream.set_nonblocking(false).is_ok() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn set_up(stream: &TcpStream, order: &Order) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(order.timeout))?;
    stream.set_write_timeout(Some(order.timeout))
}

/// The first address of the host that answers in time.
/// Errors: where it has failed. One that refuses counts as connected, as in Redis, which finds out when it writes.
fn connect(order: &Order) -> Result<TcpStream, Failure> {
    let host = std::str::from_utf8(&order.host).map_err(|_| Failure::Connect)?;
    let port = std::str::from_utf8(&order.port).ok().and_then(|port| port.parse::<u16>().ok());
    let addresses = (host, port.ok_or(Failure::Connect)?).to_socket_addrs().map_err(|_| Failure::Connect)?;
    let mut failure = Failure::Connect;
    for address in addresses {
        let connected = TcpStream::connect_timeout(&address, order.timeout);
        match connected.and_then(|stream| set_up(&stream, order).map(|()| stream)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => failure = Failure::Write,
            Err(_) => {}
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn order(port: u16) -> Order {
        let (host, timeout) = (b"127.0.0.1".to_vec(), Duration::from_millis(200));
        let (port, request) = (port.to_string().into_bytes(), b"PING\r\n".to_vec());
        Order { host, port, login: Vec::new(), timeout, request, reply_count: 2 }
    }

    #[test]
    fn a_trip_ends_with_its_replies_or_with_where_it_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(b"+OK\r\n-ERR no\r\n").unwrap();
            let (quiet, _) = listener.accept().unwrap(); // It says nothing.
            std::thread::sleep(Duration::from_millis(500));
            drop(quiet);
        });
        let van = Van::default();
        let outcome = van.travel(&order(port));
        assert_eq!(outcome.replies, [b"+OK".to_vec(), b"-ERR no".to_vec()]);
        assert_eq!((outcome.failure, van.kept_count()), (None, 0));
        assert_eq!(van.travel(&order(port)).failure, Some(Failure::Read));
        server.join().unwrap();
        assert_eq!(van.travel(&order(port)).failure, Some(Failure::Write), "nobody listens any more");
        let nowhere = Order { host: b"no such host".to_vec(), ..order(port) };
        assert_eq!(van.travel(&nowhere).failure, Some(Failure::Connect));
    }

    #[test]
    fn connections_are_kept_for_those_who_go_there_as_the_same_user() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Two trips on each connection; then the other side closes it.
        let server = std::thread::spawn(move || {
            for _ in 0..3 {
                let mut stream = listener.accept().unwrap().0;
                for _ in 0..2 {
                    stream.read_exact(&mut [0; 6]).unwrap();
                    stream.write_all(b"+OK\r\n+OK\r\n").unwrap();
                }
            }
        });
        let van = Van::default();
        let login = || vec![b"secret".to_vec()];
        for (login, kept) in [(vec![], 1), (vec![], 1), (login(), 2), (login(), 2), (vec![], 2)] {
            let outcome = van.travel(&Order { login, ..order(port) });
            assert_eq!((outcome.replies.len(), outcome.failure), (2, None));
            assert_eq!(van.kept_count(), kept);
        }
        van.lock().iter_mut().for_each(|kept| kept.used -= KEPT_FOR / 2);
        van.tidy();
        assert_eq!(van.kept_count(), 2);
        van.lock()[0].used -= KEPT_FOR / 2;
        van.tidy();
        assert_eq!(van.kept_count(), 1);
        assert_eq!(van.travel(&order(port)).failure, None);
        server.join().unwrap();
    }
}
