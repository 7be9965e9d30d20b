//! A connection to the server, TCP or UNIX, and its greeting (HELLO, AUTH, SELECT).

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use crate::{
    options::Options,
    scan::{Scanner, Tally},
};

/// How long the server may take to answer the greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// An open connection.
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects, greets, and makes the socket non-blocking.
    ///
    /// **Errors**: a sentence with the address and the cause.
    pub fn open(options: &Options) -> Result<Self, String> {
        let mut socket = Self::connect(options)?;
        let greeting = greeting(options);
        if !greeting.is_empty() {
            let wanted = greeting.len() as u64;
            let text: Vec<u8> = greeting.concat();
            let tally = socket.exchange(&text, wanted).map_err(|error| format!("greeting: {error}"))?.0;
            if let Some(error) = tally.first_error {
                return Err(format!("the server refused the greeting: {error}"));
            }
        }
        socket.set_nonblocking().map_err(|error| error.to_string())?;
        Ok(socket)
    }

    /// A greeted connection that has exchanged one PING.
    ///
    /// **Errors**: as [`Self::open`].
    pub fn open_used(options: &Options) -> Result<Self, String> {
        let mut socket = Self::connect(options)?;
        let mut request = greeting(options);
        request.push(command(&["PING"]));
        socket.exchange(&request.concat(), request.len() as u64).map_err(|error| format!("greeting: {error}"))?;
        Ok(socket)
    }

    /// A greeted, non-blocking connection that has run a command.
    ///
    /// **Errors**: as [`Self::open`].
    pub fn open_after(options: &Options, words: &[&str]) -> Result<Self, String> {
        let mut socket = Self::connect(options)?;
        let mut request = greeting(options);
        request.push(command(words));
        // A push of RESP3 does not count as a reply: it is read with what comes later.
        let wanted = request.len() as u64 - u64::from(options.resp3);
        socket.exchange(&request.concat(), wanted).map_err(|error| format!("{}: {error}", words.join(" ")))?;
        socket.set_nonblocking().map_err(|error| error.to_string())?;
        Ok(socket)
    }

    /// Connects without a greeting; the socket blocks.
    fn connect(options: &Options) -> Result<Self, String> {
        if let Some(path) = &options.socket {
            let opened = UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
                Ok(Self::Unix(stream))
            });
            return opened.map_err(|error| format!("cannot connect to {}: {error}", path.display()));
        }
        let opened = TcpStream::connect((options.host.as_str(), options.port)).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
            Ok(Self::Tcp(stream))
        });
        opened.map_err(|error| format!("cannot connect to {}:{}: {error}", options.host, options.port))
    }

    /// Sends `request` on a blocking socket and reads until `wanted` replies are whole.
    fn exchange(&mut self, request: &[u8], wanted: u64) -> io::Result<(Tally, Vec<u8>)> {
        self.write_all(request)?;
        let (mut scanner, mut tally) = (Scanner::default(), Tally::default());
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        while tally.replies < wanted {
            let len = self.read(&mut piece)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            scanner.feed(&piece[..len], &mut tally).map_err(io::Error::other)?;
            all.extend_from_slice(&piece[..len]);
        }
        Ok((tally, all))
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

/// Process id that the server names in INFO, if it does and if it runs on this machine.
pub fn ask_server_pid(options: &Options) -> Option<u32> {
    let mut socket = Socket::connect(options).ok()?;
    let mut request = greeting(options);
    request.push(command(&["INFO", "server"]));
    let (_, replies) = socket.exchange(&request.concat(), request.len() as u64).ok()?;
    let text = String::from_utf8_lossy(&replies);
    let pid: u32 = text.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()?;
    std::path::Path::new(&format!("/proc/{pid}/task")).exists().then_some(pid)
}

/// Commands in front of the load.
fn greeting(options: &Options) -> Vec<Vec<u8>> {
    let mut commands = Vec::new();
    if let Some(password) = &options.auth {
        commands.push(match &options.user {
            Some(user) => command(&["AUTH", user, password]),
            None => command(&["AUTH", password]),
        });
    }
    if options.resp3 {
        commands.push(command(&["HELLO", "3"]));
    }
    if options.db > 0 {
        commands.push(command(&["SELECT", &options.db.to_string()]));
    }
    commands
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    text.into_bytes()
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(from),
            Self::Unix(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
