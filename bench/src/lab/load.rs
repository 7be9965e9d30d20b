//! The client's half, and the measurement: server CPU nanoseconds per batch.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, MsgFlags, listen, recv, send};

use super::epoll;
use super::ring::{self, Counts};
use super::sys::{others_cpu_ns, own_cpu_ns, pin};
use super::variant::{Half, Shape};

/// Server and client each have a core of their own.
const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const WARM_UP: Duration = Duration::from_millis(100);
const MEASURED: Duration = Duration::from_millis(350);

/// One measurement.
#[derive(Clone, Copy)]
pub struct Sample {
    pub server_ns: f64,
    pub client_ns: f64,
    pub batches_per_s: f64,
    pub batches: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub counts: Counts,
}

/// Connected pairs: the client's ends and the server's.
pub fn pairs(count: usize) -> io::Result<(Vec<TcpStream>, Vec<OwnedFd>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listen(&listener, Backlog::new(4096).unwrap_or(Backlog::MAXCONN))?;
    let address = listener.local_addr()?;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        clients.push(TcpStream::connect(address)?);
        servers.push(OwnedFd::from(listener.accept()?.0));
        clients[clients.len() - 1].set_nodelay(true)?;
    }
    for server in &servers {
        nix::sys::socket::setsockopt(server, nix::sys::socket::sockopt::TcpNoDelay, &true)?;
    }
    Ok((clients, servers))
}

/// Runs one half against the load and measures it.
///
/// **Errors**: the kernel does not have what the half needs.
pub fn measure(half: Half, shape: Shape) -> io::Result<Sample> {
    pin(CLIENT_CORE);
    let (clients, servers) = pairs(shape.clients)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let server = thread::spawn(move || {
        pin(SERVER_CORE);
        match half {
            Half::Ring(how) => ring::Server::new(how, shape, servers)?.run(&told),
            Half::Epoll(how) => epoll::run(how, shape, servers, &told),
        }
    });
    let mut load = Load::new(clients, shape)?;
    load.begin();
    let died = || server.is_finished();
    load.run(WARM_UP, died)?;
    load.latencies.clear();
    let (batches, from, own_from, began) = (load.batches, others_cpu_ns(), own_cpu_ns(), Instant::now());
    load.run(MEASURED, died)?;
    let seconds = began.elapsed().as_secs_f64();
    let (to, own_to, batches) = (others_cpu_ns(), own_cpu_ns(), load.batches - batches);
    stop.store(true, Relaxed);
    let counts = server.join().map_err(|_| io::Error::other("the server's half panicked"))??;
    let per_batch = |ns: u64| ns as f64 / batches.max(1) as f64;
    load.latencies.sort_unstable();
    let percentile = |share: f64| {
        let at = (load.latencies.len() as f64 * share) as usize;
        load.latencies.get(at).map_or(0.0, |&ns| f64::from(ns) / 1e3)
    };
    Ok(Sample {
        server_ns: per_batch(to - from),
        client_ns: per_batch(own_to - own_from),
        batches_per_s: batches as f64 / seconds,
        batches,
        p50_us: percentile(0.5),
        p99_us: percentile(0.99),
        counts,
    })
}

struct Client {
    socket: TcpStream,
    lacking: usize,
    began: Instant,
}

struct Load {
    clients: Vec<Client>,
    epoll: Epoll,
    request: Vec<u8>,
    reply_len: usize,
    batches: u64,
    latencies: Vec<u32>,
    room: Vec<u8>,
}

impl Load {
    fn new(sockets: Vec<TcpStream>, shape: Shape) -> io::Result<Load> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (at, socket) in sockets.iter().enumerate() {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, at as u64))?;
        }
        let client = |socket| Client { socket, lacking: 0, began: Instant::now() };
        Ok(Load {
            clients: sockets.into_iter().map(client).collect(),
            epoll,
            request: vec![b'r'; shape.request_len * shape.pipeline],
            reply_len: shape.reply_len * shape.pipeline,
            batches: 0,
            latencies: Vec::new(),
            room: vec![0; 256 << 10],
        })
    }

    fn begin(&mut self) {
        (0..self.clients.len()).for_each(|at| self.ask(at));
    }

    fn ask(&mut self, at: usize) {
        let client = &mut self.clients[at];
        (client.lacking, client.began) = (self.reply_len, Instant::now());
        // A batch is far smaller than the socket's buffer, which is empty: it goes in one piece or the server is gone.
        let _ = send(client.socket.as_raw_fd(), &self.request, MsgFlags::MSG_NOSIGNAL);
    }

    fn run(&mut self, span: Duration, died: impl Fn() -> bool) -> io::Result<()> {
        let (end, mut events) = (Instant::now() + span, vec![EpollEvent::empty(); 1024]);
        while Instant::now() < end && !died() {
            let count = self.epoll.wait(&mut events, EpollTimeout::from(20u8)).unwrap_or(0);
            for event in &events[..count] {
                self.hear(event.data() as usize);
            }
        }
        Ok(())
    }

    fn hear(&mut self, at: usize) {
        let client = &mut self.clients[at];
        while let Ok(len @ 1..) = recv(client.socket.as_raw_fd(), &mut self.room, MsgFlags::MSG_DONTWAIT) {
            client.lacking = client.lacking.saturating_sub(len);
            if len < self.room.len() {
                break;
            }
        }
        if client.lacking == 0 {
            self.batches += 1;
            self.latencies.push(client.began.elapsed().as_nanos().min(u128::from(u32::MAX)) as u32);
            self.ask(at);
        }
    }
}
