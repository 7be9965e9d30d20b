//! Layer 7: from the command line to running loops, and back to the shell.

#![forbid(unsafe_code)]

mod listen;
pub mod options;
mod threads;

use crate::base::hash::KeyHasher;
use crate::cmd::world::{Boot, World};
use crate::event_loop::fleet::Fleet;
use crate::ring::{Kind, epoll, probe, uring};

/// Runs the server until it is stopped. Returns the process's exit code.
pub fn run() -> i32 {
    let mut args = std::env::args().skip(1);
    let (mut port, mut loops, mut requested) = (6379u16, 1usize, probe::Requested::Auto);
    while let (Some(name), Some(value)) = (args.next(), args.next()) {
        match name.as_str() {
            "--port" => port = value.parse().unwrap_or(port),
            "--threads" => loops = value.parse().unwrap_or(loops),
            "--io-engine" if value == "epoll" => requested = probe::Requested::Epoll,
            _ => {}
        }
    }
    let (kind, reason) = match probe::choose(requested) {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let seats = match kind {
        Kind::Uring => threads::seats::<uring::Uring>(loops, None),
        Kind::Epoll => threads::seats::<epoll::Epoll>(loops, None),
    };
    let seats = match seats {
        Ok(seats) => seats,
        Err(error) => {
            eprintln!("{error}");
            return 1;
        }
    };
    let boot = Boot { loops, engine: "", engine_reason: reason, ..Boot::default() };
    let world: &'static World = Box::leak(Box::new(World::new(boot, KeyHasher::random())));
    let fleet: &'static Fleet = Box::leak(Box::new(Fleet::new(threads::wakers(&seats))));
    let options = listen::TcpOptions { backlog: 511, keepalive: 300 };
    let mut listeners: Vec<Vec<_>> = (0..loops).map(|_| Vec::new()).collect();
    for (number, ip) in ["127.0.0.1", "::1"].iter().enumerate() {
        let Ok(ip) = ip.parse() else { continue };
        match listen::tcp((std::net::IpAddr::V4(ip), port).into(), loops, &options) {
            Ok(sockets) => {
                sockets.into_iter().zip(&mut listeners).for_each(|(socket, list)| list.push((number as u16, socket)))
            }
            Err(errno) => {
                eprintln!("{errno}");
                return 1;
            }
        }
    }
    println!("ready on {port} with {kind}");
    for thread in threads::start(seats, world, fleet, listeners) {
        let _ = thread.join();
    }
    0
}
