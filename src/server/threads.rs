//! Threads: one per loop, each with its own engine. The engine is made on the thread that uses it; what the loops must know
//! of each other (their wakers) is gathered before the first of them turns.

use crate::base::crash;
use crate::base::ids::LoopId;
use crate::cmd::world::World;
use crate::event_loop::EventLoop;
use crate::event_loop::fleet::Fleet;
use crate::ring::{Engine, Sizes, Waker};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

/// What a loop needs to start.
struct Start {
    world: &'static World,
    fleet: &'static Fleet,
    listeners: Vec<(u16, OwnedFd)>,
    seed: u64,
}

/// A loop's thread whose engine stands and that waits for its start.
pub struct Seat {
    waker: Waker,
    start: Sender<Start>,
    thread: JoinHandle<io::Result<()>>,
}

/// On which cores the loops run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Homes {
    /// Where the scheduler puts them. It knows who else runs here: a loop that is kept on the core of a busy client waits for
    /// it while another core idles (kernel-notes/43).
    Anywhere,
    /// Where the scheduler puts them, on these.
    Shared(Vec<usize>),
    /// Each on its own, for machines that nobody else uses.
    Own(Vec<usize>),
}

impl Homes {
    /// As `server-cpulist` says, if it says anything: to each loop its own if it names as many cores as there are loops.
    pub fn of(loops: usize, listed: Option<Vec<usize>>) -> Self {
        match listed {
            None => Homes::Anywhere,
            Some(cores) if cores.len() == loops => Homes::Own(cores),
            Some(cores) => Homes::Shared(cores),
        }
    }
    /// The cores of one loop; none: all.
    fn of_loop(&self, index: usize) -> Vec<usize> {
        match self {
            Homes::Anywhere => Vec::new(),
            Homes::Shared(cores) => cores.clone(),
            Homes::Own(cores) => vec![cores[index]],
        }
    }
}

/// Makes the threads and their engines.
/// Errors: an engine could not be made.
pub fn seats<E: Engine + 'static>(count: usize, homes: &Homes) -> io::Result<Vec<Seat>> {
    (0..count).map(|index| seat::<E>(index, homes.of_loop(index))).collect()
}

fn seat<E: Engine + 'static>(index: usize, cores: Vec<usize>) -> io::Result<Seat> {
    let (tell, told) = channel::<io::Result<Waker>>();
    let (start, started) = channel::<Start>();
    let thread = thread::Builder::new().name(format!("loop-{index}")).spawn(move || {
        stay_on(&cores);
        crash::prepare_thread();
        let engine = match E::new(&Sizes::default()) {
            Ok(engine) => engine,
            Err(error) => {
                let _ = tell.send(Err(error)); // The starter is waiting for it.
                return Ok(());
            }
        };
        let _ = tell.send(Ok(engine.waker()));
        live(LoopId(index as u16), engine, started)
    })?;
    let waker = told.recv().unwrap_or_else(|_| Err(io::Error::other("the loop's thread ended early")))?;
    Ok(Seat { waker, start, thread })
}

fn live<E: Engine>(id: LoopId, engine: E, started: Receiver<Start>) -> io::Result<()> {
    let Ok(Start { world, fleet, listeners, seed }) = started.recv() else { return Ok(()) }; // The start was called off.
    let mut event_loop = EventLoop::new(id, engine, world, fleet, seed);
    for (listener, socket) in listeners {
        event_loop.listen(listener, socket);
    }
    event_loop.run()
}

/// The wakers, in the order of the loops.
pub fn wakers(seats: &[Seat]) -> Vec<Waker> {
    seats.iter().map(|seat| seat.waker.clone()).collect()
}

/// Lets the loops turn, each with its listeners.
pub fn start(
    seats: Vec<Seat>,
    world: &'static World,
    fleet: &'static Fleet,
    listeners: Vec<Vec<(u16, OwnedFd)>>,
) -> Vec<JoinHandle<io::Result<()>>> {
    assert_eq!(seats.len(), listeners.len(), "one set of listeners per loop");
    let mut threads = Vec::new();
    for (index, (seat, listeners)) in seats.into_iter().zip(listeners).enumerate() {
        let seed = world.keyspace.hasher.hash(&(index as u64).to_le_bytes());
        let start = Start { world, fleet, listeners, seed };
        assert!(seat.start.send(start).is_ok(), "a seated thread waits for its start");
        threads.push(seat.thread);
    }
    threads
}

/// Keeps the calling thread on these cores; none: on all that it has. A wish: where it is refused the scheduler decides.
fn stay_on(cores: &[usize]) {
    let mut set = nix::sched::CpuSet::new();
    let known = cores.iter().filter(|&&core| set.set(core).is_ok()).count();
    if known > 0 {
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set);
    }
}
