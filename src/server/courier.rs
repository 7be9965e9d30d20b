//! Trips to other servers, for MIGRATE: on a thread that may wait.

use crate::cmd::migrate::{Courier, Failure, Order, Outcome};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;

/// A line of reply that is longer is nonsense.
const LINE_LEN_MAX: u64 = 64 << 10;
/// Bytes that are written before anybody looks whether the other side still takes them.
const CHUNK: usize = 64 << 10;

/// Makes trips.
pub fn courier() -> Courier {
    Arc::new(|order| {
        let mut outcome = Outcome::default();
        outcome.failure = travel(order, &mut outcome.replies).err();
        outcome
    })
}

/// Connects, says everything, and hears the replies.
/// Errors: where it has failed; the replies until then are there.
fn travel(order: &Order, replies: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
    let mut stream = connect(order)?;
    for chunk in order.request.chunks(CHUNK) {
        stream.write_all(chunk).map_err(|_| Failure::Write)?;
    }
    let mut reader = BufReader::new(stream);
    while replies.len() < order.reply_count {
        let mut line = Vec::new();
        let outcome = (&mut reader).take(LINE_LEN_MAX).read_until(b'\n', &mut line);
        if outcome.is_err() || !line.ends_with(b"\r\n") {
            return Err(Failure::Read);
        }
        line.truncate(line.len() - 2);
        replies.push(line);
    }
    Ok(())
}

/// The first address of the host that answers in time.
/// Errors: where it has failed. One that refuses counts as connected, as in Redis, which finds out when it writes.
fn connect(order: &Order) -> Result<TcpStream, Failure> {
    let host = std::str::from_utf8(&order.host).map_err(|_| Failure::Connect)?;
    let port = std::str::from_utf8(&order.port).ok().and_then(|port| port.parse::<u16>().ok());
    let addresses = (host, port.ok_or(Failure::Connect)?).to_socket_addrs().map_err(|_| Failure::Connect)?;
    let mut failure = Failure::Connect;
    for address in addresses {
        let set_up = |stream: TcpStream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(order.timeout))?;
            stream.set_write_timeout(Some(order.timeout))?;
            Ok(stream)
        };
        match TcpStream::connect_timeout(&address, order.timeout).and_then(set_up) {
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
    use std::time::Duration;

    fn order(port: u16) -> Order {
        let (host, timeout) = (b"127.0.0.1".to_vec(), Duration::from_millis(200));
        Order { host, port: port.to_string().into_bytes(), timeout, request: b"PING\r\n".to_vec(), reply_count: 2 }
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
        let make = courier();
        let outcome = make(&order(port));
        assert_eq!(outcome.replies, [b"+OK".to_vec(), b"-ERR no".to_vec()]);
        assert_eq!(outcome.failure, None);
        assert_eq!(make(&order(port)).failure, Some(Failure::Read));
        server.join().unwrap();
        assert_eq!(make(&order(port)).failure, Some(Failure::Write), "nobody listens any more");
        let nowhere = Order { host: b"no such host".to_vec(), ..order(port) };
        assert_eq!(make(&nowhere).failure, Some(Failure::Connect));
    }
}
