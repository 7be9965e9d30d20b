//! The engines at the process's limit of open files. A process of its own, because the limit is the process's.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ringdb::ring::{Completion, Engine, Sizes, epoll::Epoll, uring::Uring};
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const CLIENT_COUNT: usize = 6;
const ROOM: u64 = 3;

struct Seen {
    accepted: Vec<OwnedFd>,
    failed_count: usize,
}

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);
const SPAN: Duration = Duration::from_millis(500);

/// Turns for a while, at least until `done`. Returns how often the kernel was entered.
fn turns<E: Engine>(engine: &mut E, seen: &mut Seen, done: impl Fn(&Seen) -> bool) -> u64 {
    let (started, before, mut out) = (Instant::now(), engine.counters().enters, Vec::new());
    while started.elapsed() < SPAN || !done(seen) && started.elapsed() < PATIENCE {
        engine.wait(Some(Duration::from_millis(50)), &mut out).unwrap();
        for completion in out.drain(..) {
            match completion {
                Completion::Accepted { listener: 0, result: Ok(socket) } => seen.accepted.push(socket),
                Completion::Accepted { listener: 0, result: Err(error) } => {
                    assert_eq!(error.raw_os_error(), Some(nix::libc::EMFILE));
                    seen.failed_count += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    engine.counters().enters - before
}

fn check<E: Engine>() {
    let mut engine = E::new(&Sizes::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _clients: Vec<TcpStream> = (0..CLIENT_COUNT).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let next = File::open("/dev/null").unwrap().as_raw_fd() as u64;
    setrlimit(Resource::RLIMIT_NOFILE, next + ROOM, hard).unwrap();

    let mut seen = Seen { accepted: Vec::new(), failed_count: 0 };
    engine.listen(0, listener.into());
    let enters = turns(&mut engine, &mut seen, |seen| seen.failed_count > 0);
    assert_eq!(seen.accepted.len() as u64, ROOM);
    // One every 100 ms, and nothing between; whoever spins has thousands.
    assert!((1..=250).contains(&seen.failed_count), "{}: {} failures", E::KIND, seen.failed_count);
    assert!(enters < 1000, "{} spins: entered {enters} times", E::KIND);

    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    turns(&mut engine, &mut seen, |seen| seen.accepted.len() == CLIENT_COUNT);
    assert_eq!(seen.accepted.len(), CLIENT_COUNT, "{}: the queue was not taken up again", E::KIND);
}

#[test]
fn out_of_descriptors_pauses_accepting_and_loses_nobody() {
    check::<Uring>();
    check::<Epoll>();
}
