//! One socket to a server. It reads with a deadline, so that a server that keeps silent is a failure and not a hang.

use super::wire::{Value, decode, request, words};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No reply takes longer than this, not even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection.
pub struct Client {
    socket: Socket,
    input: Vec<u8>,
}

impl Client {
    pub fn tcp(port: u16) -> Client {
        Client::over(TcpStream::connect(("127.0.0.1", port)).expect("the server accepts"))
    }
    pub fn over(stream: TcpStream) -> Client {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Client { socket: Socket::Tcp(stream), input: Vec::new() }
    }
    pub fn unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Client { socket: Socket::Unix(stream), input: Vec::new() }
    }
    /// Runs a command line and returns the reply.
    pub fn run(&mut self, line: &str) -> Value {
        self.call(&words(line))
    }
    /// Sends command lines in one packet.
    pub fn send_lines<L: AsRef<str>>(&mut self, lines: &[L]) {
        self.send(&lines.iter().flat_map(|line| request(&words(line.as_ref()))).collect::<Vec<u8>>());
    }
    /// The same, and returns their replies.
    pub fn pipeline<L: AsRef<str>>(&mut self, lines: &[L]) -> Vec<Value> {
        self.send_lines(lines);
        self.replies(lines.len())
    }
    /// Runs a command and returns the reply.
    pub fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Value {
        self.send(&request(args));
        self.reply()
    }
    /// Sends bytes as they are. A server that has closed the connection is noticed when reading.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.try_send(bytes));
    }
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }
    /// The next reply. Panics if none comes.
    pub fn reply(&mut self) -> Value {
        self.reply_within(PATIENCE).unwrap_or_else(|problem| panic!("no reply: {problem}"))
    }
    pub fn replies(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.reply()).collect()
    }
    /// The next reply, or why there is none.
    pub fn reply_within(&mut self, patience: Duration) -> Result<Value, String> {
        loop {
            if let Some(value) = self.buffered() {
                return Ok(value);
            }
            if !self.fill(patience)? {
                return Err(format!("closed, with {} bytes of a reply", self.input.len()));
            }
        }
    }
    /// A reply that has arrived already.
    pub fn buffered(&mut self) -> Option<Value> {
        if self.input.is_empty() {
            return None;
        }
        let (value, len) = decode(&self.input)?;
        self.input.drain(..len);
        Some(value)
    }
    /// Receives something. False at the end of the stream.
    pub fn fill(&mut self, patience: Duration) -> Result<bool, String> {
        let mut chunk = vec![0; 256 << 10];
        let outcome = match &mut self.socket {
            Socket::Tcp(stream) => stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut chunk)),
            Socket::Unix(stream) => stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut chunk)),
        };
        match outcome {
            Ok(0) => Ok(false),
            Ok(len) => {
                self.input.extend_from_slice(&chunk[..len]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }
    /// The raw bytes of the next reply. Panics if none comes.
    pub fn raw_reply(&mut self) -> Vec<u8> {
        self.try_raw_reply().expect("a reply, and no closed connection")
    }
    /// The raw bytes of the next reply; None if the connection was closed instead.
    pub fn try_raw_reply(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some((_, len)) = (!self.input.is_empty()).then(|| decode(&self.input)).flatten() {
                return Some(self.input.drain(..len).collect());
            }
            if !self.fill(PATIENCE).expect("a reply") {
                return None;
            }
        }
    }
    /// Everything up to the end of the stream. Panics if the server does not close.
    pub fn until_closed(&mut self) -> Vec<u8> {
        while self.fill(PATIENCE).expect("the server closes the connection") {}
        std::mem::take(&mut self.input)
    }
    /// Does nothing arrive for a moment?
    pub fn is_silent(&mut self) -> bool {
        self.input.is_empty() && self.fill(Duration::from_millis(60)).is_err()
    }
    /// Ends the sending side only.
    pub fn half_close(&mut self) {
        match &self.socket {
            Socket::Tcp(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
            Socket::Unix(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
        }
    }
    pub fn stream(&self) -> &TcpStream {
        match &self.socket {
            Socket::Tcp(stream) => stream,
            Socket::Unix(_) => panic!("not a TCP connection"),
        }
    }
    /// Switches to RESP3, if `proto` says so.
    pub fn speak(&mut self, proto: u8) {
        if proto == 3 {
            assert!(matches!(self.run("HELLO 3"), Value::Map(_)), "HELLO 3 answers with a map");
        }
    }
}
