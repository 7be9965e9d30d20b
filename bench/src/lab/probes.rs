//! Questions that are answered without load.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::types::{Fd, Timespec};
use io_uring::{IoUring, opcode};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::socket::sockopt::{ReusePort, SndBuf};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, accept4, bind, getsockname, listen, setsockopt, socket,
};

use super::load::pairs;
use super::ring::make;
use super::sys::{Enter, others_cpu_ns, own_cpu_ns, pin};
use super::variant::{Mode, OnRing};

/// A question and the function that answers it.
pub struct Probe {
    pub name: &'static str,
    pub question: &'static str,
    pub run: fn() -> io::Result<()>,
}

/// All probes.
pub const ALL: &[Probe] = &[
    Probe { name: "send-order", question: "May two sends of one socket be in flight?", run: send_order },
    Probe { name: "accept", question: "What does accepting cost, and does SO_REUSEPORT spread well?", run: accept },
    Probe { name: "wake", question: "What does it cost to wake a thread that waits in a ring?", run: wake },
    Probe {
        name: "memlock",
        question: "How large a ring does RLIMIT_MEMLOCK allow an unprivileged user?",
        run: memlock,
    },
    Probe {
        name: "iowait",
        question: "Does a thread that sleeps in a ring look like one that waits for a disk?",
        run: iowait,
    },
];

fn plain_ring() -> io::Result<IoUring> {
    make(&OnRing::PLAIN, 1024)
}

fn push(ring: &mut IoUring, entry: &io_uring::squeue::Entry) {
    // SAFETY: what the probes' entries point to lives until their completions are reaped, or for ever.
    let pushed = unsafe { ring.submission().push(entry) };
    pushed.expect("the queue is larger than what a probe submits");
}

/// Two large sends at once into a small socket buffer, the reader slow: are the bytes of the first all before the second's?
fn send_order() -> io::Result<()> {
    const LEN: usize = 1 << 20;
    const TRIES: usize = 20;
    for (name, flags) in [("plain", 0), ("MSG_WAITALL", libc::MSG_WAITALL)] {
        let (mut mixed, mut short) = (0, 0);
        for _ in 0..TRIES {
            let (mut clients, servers) = pairs(1)?;
            setsockopt(&servers[0], SndBuf, &(64 << 10))?;
            let messages: &'static [Vec<u8>] = Box::leak(Box::new([vec![b'1'; LEN], vec![b'2'; LEN]]));
            let mut ring = plain_ring()?;
            let enter = Enter::new(&ring, false, None);
            for message in messages {
                let fd = Fd(servers[0].as_raw_fd());
                push(&mut ring, &opcode::Send::new(fd, message.as_ptr(), LEN as u32).flags(flags).build());
            }
            let mut client = clients.remove(0);
            let reader = thread::spawn(move || {
                let (mut all, mut room) = (Vec::new(), vec![0; 32 << 10]);
                while let Ok(len @ 1..) = client.read(&mut room) {
                    all.extend_from_slice(&room[..len]);
                    thread::sleep(Duration::from_micros(100));
                }
                all
            });
            let mut results = Vec::new();
            while results.len() < messages.len() {
                enter.enter(&mut ring, 1, None)?;
                results.extend(ring.completion().map(|cqe| cqe.result()));
            }
            drop(servers);
            let all = reader.join().map_err(|_| io::Error::other("the reader panicked"))?;
            mixed += (all.windows(2).filter(|pair| pair[0] != pair[1]).count() > 1) as usize;
            short += results.iter().filter(|&&result| result != LEN as i32).count();
        }
        println!("  {name:12} of {TRIES} pairs {mixed} were mixed up, {short} sends of {} were short", 2 * TRIES);
    }
    Ok(())
}

fn listener() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&listener, ReusePort, &true)?;
    Ok(listener)
}

fn listening(port: u16) -> io::Result<(OwnedFd, u16)> {
    let socket = listener()?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
    listen(&socket, Backlog::new(4096).unwrap_or(Backlog::MAXCONN))?;
    let address: SockaddrIn = getsockname(socket.as_raw_fd())?;
    Ok((socket, address.port()))
}

fn accept() -> io::Result<()> {
    const COUNT: usize = 2000;
    pin(0);
    for (name, multishot) in [("accept4(2)", None), ("one-shot", Some(false)), ("multishot", Some(true))] {
        let (socket, port) = listening(0)?;
        let clients: Vec<TcpStream> =
            (0..COUNT).map(|_| TcpStream::connect(("127.0.0.1", port))).collect::<io::Result<_>>()?;
        let began = own_cpu_ns();
        let accepted = match multishot {
            None => (0..COUNT).filter(|_| accept4(socket.as_raw_fd(), SockFlag::SOCK_CLOEXEC).is_ok()).count(),
            Some(multishot) => accept_on_ring(&socket, COUNT, multishot)?,
        };
        let ns = (own_cpu_ns() - began) / COUNT as u64;
        println!("  {name:12} {ns} ns of CPU per connection ({accepted} of {COUNT} waiting ones accepted)");
        drop(clients);
    }
    spread()
}

/// Accepts `count` connections; the descriptors stay open, which a probe may afford.
fn accept_on_ring(socket: &OwnedFd, count: usize, multishot: bool) -> io::Result<usize> {
    let mut ring = make(&OnRing::PLAIN, 4096)?;
    let enter = Enter::new(&ring, true, None);
    let fd = Fd(socket.as_raw_fd());
    let arm = |ring: &mut IoUring| {
        let one =
            || opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut()).flags(libc::SOCK_CLOEXEC).build();
        push(ring, &if multishot { opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build() } else { one() });
    };
    let mut accepted = 0;
    arm(&mut ring);
    while accepted < count {
        enter.enter(&mut ring, 1, Some(Timespec::from(Duration::from_secs(1))))?;
        let done: Vec<_> = ring.completion().collect();
        if done.is_empty() {
            break;
        }
        accepted += done.iter().filter(|cqe| cqe.result() >= 0).count();
        if done.iter().any(|cqe| !io_uring::cqueue::more(cqe.flags())) && accepted < count {
            arm(&mut ring);
        }
    }
    Ok(accepted)
}

/// 50 connections on four SO_REUSEPORT listeners: how uneven do they come out?
fn spread() -> io::Result<()> {
    let (mut worst, mut sum) = (0, 0);
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let (first, port) = listening(0)?;
        let mut listeners = vec![first];
        for _ in 1..4 {
            listeners.push(listening(port)?.0);
        }
        let clients: Vec<TcpStream> =
            (0..50).map(|_| TcpStream::connect(("127.0.0.1", port))).collect::<io::Result<_>>()?;
        thread::sleep(Duration::from_millis(2));
        let counts = listeners.iter().map(|socket| {
            let listener = TcpListener::from(socket.try_clone().expect("descriptors are left"));
            std::iter::from_fn(|| listener.accept().ok()).count()
        });
        let most = counts.max().unwrap_or(0);
        (worst, sum) = (worst.max(most), sum + most);
        drop(clients);
    }
    let mean = sum as f64 / TRIES as f64;
    println!(
        "  50 connections on four SO_REUSEPORT listeners: the fullest has {mean:.1} on average, {worst} at worst (even: 13)"
    );
    Ok(())
}

/// How a sleeping ring is woken.
#[derive(Clone, Copy, PartialEq)]
enum By {
    EventPoll,
    EventRead,
    Ring,
}

fn wake() -> io::Result<()> {
    for (name, by) in [
        ("eventfd under a multishot poll", By::EventPoll),
        ("eventfd, read armed again", By::EventRead),
        ("MSG_RING from a ring", By::Ring),
    ] {
        for asleep in [true, false] {
            let (sender, receiver) = wake_by(by, asleep)?;
            println!(
                "  {name:32} {:7} sender {sender:6} ns   receiver {receiver:6} ns",
                if asleep { "asleep" } else { "awake" }
            );
        }
    }
    Ok(())
}

/// CPU nanoseconds of sender and receiver per wake-up. A receiver that is to be awake gets its wake-ups without pause.
fn wake_by(by: By, asleep: bool) -> io::Result<(u64, u64)> {
    const COUNT: u64 = 5000;
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
    let event_fd = Fd(event.as_raw_fd());
    let (tell, told) = std::sync::mpsc::channel();
    let receiver = thread::spawn(move || -> io::Result<()> {
        pin(0);
        let mut ring = plain_ring()?;
        let enter = Enter::new(&ring, true, None);
        let count: &'static mut u64 = Box::leak(Box::new(0));
        let poll = opcode::PollAdd::new(event_fd, libc::POLLIN as u32).multi(true).build();
        let read = opcode::Read::new(event_fd, std::ptr::from_mut(count).cast(), 8).build();
        let _ = tell.send(ring.as_raw_fd());
        let arm = match by {
            By::EventPoll => Some(poll),
            By::EventRead => Some(read),
            By::Ring => None,
        };
        arm.iter().for_each(|entry| push(&mut ring, entry));
        loop {
            enter.enter(&mut ring, 1, Some(Timespec::from(Duration::from_millis(300))))?;
            let done: Vec<_> = ring.completion().collect();
            if done.is_empty() {
                return Ok(()); // The sender has finished.
            }
            if by == By::EventRead {
                arm.iter().for_each(|entry| push(&mut ring, entry));
            }
        }
    });
    pin(1);
    let target = told.recv().map_err(|_| io::Error::other("the receiver did not start"))?;
    let mut ring = plain_ring()?;
    let enter = Enter::new(&ring, true, None);
    thread::sleep(Duration::from_millis(20));
    let (own, others) = (own_cpu_ns(), others_cpu_ns());
    for n in 0..COUNT {
        if by == By::Ring {
            push(&mut ring, &opcode::MsgRingData::new(Fd(target), 0, n, None).build());
            enter.enter(&mut ring, 1, None)?;
            ring.completion().for_each(drop);
        } else {
            event.write(1)?;
        }
        if asleep {
            let until = Instant::now() + Duration::from_micros(60);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
    }
    let spun = if asleep { spin_cost(COUNT) } else { 0 };
    let sender = (own_cpu_ns() - own).saturating_sub(spun) / COUNT;
    thread::sleep(Duration::from_millis(20));
    let receiver_ns = (others_cpu_ns() - others) / COUNT;
    receiver.join().map_err(|_| io::Error::other("the receiver panicked"))??;
    Ok((sender, receiver_ns))
}

/// The sender's pauses, which are spent spinning so that its core does not fall asleep.
fn spin_cost(count: u64) -> u64 {
    count * 60_000
}

fn memlock() -> io::Result<()> {
    let program = std::env::current_exe()?;
    for kib in [0u64, 16, 64, 256, 1024, 8192] {
        let mut command = Command::new(&program);
        command.args(["memlock-child", &kib.to_string()]).uid(65534).gid(65534);
        print!("  ulimit -l {kib:5}   ");
        let output = command.output()?;
        print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// In a process of its own, without privileges: which of some sizes can be had?
///
/// **Errors**: the limit cannot be set.
pub fn memlock_child(words: &[String]) -> Result<(), String> {
    let kib: u64 = words.first().and_then(|word| word.parse().ok()).ok_or("memlock-child KIB")?;
    setrlimit(Resource::RLIMIT_MEMLOCK, kib << 10, kib << 10).map_err(|error| error.to_string())?;
    let mut parts = Vec::new();
    for entries in [4096, 1024, 256, 32] {
        let answer = match make(&OnRing::PLAIN, entries) {
            Ok(_) => "ok".to_string(),
            Err(error) => nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)).to_string(),
        };
        parts.push(format!("{entries}/{}: {}", entries * 8, answer.split(':').next().unwrap_or("")));
        thread::sleep(Duration::from_millis(60)); // The kernel gives a closed ring's memory back late.
    }
    println!("{}", parts.join("   "));
    Ok(())
}

/// Ticks that all cores spent waiting for disks.
fn iowait_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find(|line| line.starts_with("cpu0 ")).unwrap_or("");
    line.split_whitespace().nth(5).and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn iowait() -> io::Result<()> {
    pin(0);
    for (name, plain) in [("NO_IOWAIT", true), ("without it", false), ("NO_IOWAIT, DEFER off", true)] {
        let how = OnRing { mode: if name.ends_with("off") { Mode::Coop } else { Mode::Defer }, ..OnRing::PLAIN };
        let mut ring = make(&how, 64)?;
        let enter = Enter::new(&ring, true, None);
        let enter = if plain { enter } else { enter.with_iowait() };
        let (_client, servers) = pairs(1)?;
        let room: &'static mut [u8] = Box::leak(vec![0; 64].into_boxed_slice());
        push(&mut ring, &opcode::Recv::new(Fd(servers[0].as_raw_fd()), room.as_mut_ptr(), 64).build());
        let before = iowait_ticks();
        enter.enter(&mut ring, 1, Some(Timespec::from(Duration::from_secs(1))))?;
        println!("  {name:22} {} ticks of 10 ms in a second asleep", iowait_ticks() - before);
    }
    Ok(())
}
