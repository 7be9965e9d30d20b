//! The loop of one load thread: wait, read, count, send the next batch.
//!
//! ```text
//! event of a connection:  send what the socket did not take before
//!                         recv until the batch is answered or the socket is empty (edge-triggered: a short read is empty)
//!                         answered: record the time, draw the next batch, send it
//! ```
//!
//! With `--rate` an answered connection joins a queue, and a schedule decides when its next batch is due; the recorded
//! time then starts when the batch was due, so a slow server cannot hide behind a generator that waits for it.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::{
    batch::Batches,
    histogram::Histogram,
    scan::{Scanner, Tally},
    socket::Socket,
    verify::Checker,
};

/// Bytes of the one receive buffer of a thread.
const INPUT_LEN: usize = 256 * 1024;
/// Events taken by one wait.
const EVENTS_MAX: usize = 512;
/// Wrong replies that are kept as text; all are counted.
const WRONG_KEPT: usize = 20;

/// What the main thread wants of the workers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    WarmUp = 0,
    Measure = 1,
    Stop = 2,
}

/// Shared between the main thread and all workers.
///
/// **Order**: everything is relaxed; the numbers are counters and a flag, and joining a worker orders its results.
pub struct Control {
    phase: AtomicU8,
    /// Commands answered, all workers, all phases; each worker adds once a turn.
    pub done: AtomicU64,
    /// Commands that may still be sent; only counted down with `--count`.
    pub budget: AtomicI64,
}

impl Control {
    /// A control block in `phase` with `budget` commands.
    pub fn new(phase: Phase, budget: i64) -> Arc<Self> {
        Arc::new(Self { phase: AtomicU8::new(phase as u8), done: AtomicU64::new(0), budget: AtomicI64::new(budget) })
    }

    /// Starts a phase.
    pub fn set(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            _ => Phase::Stop,
        }
    }
}

/// Results of one worker.
pub struct Outcome {
    pub tally: Tally,
    pub wrong_count: u64,
    pub wrong: Vec<String>,
    pub latency: Histogram,
}

struct Connection {
    socket: Socket,
    scanner: Scanner,
    checker: Option<Checker>,
    /// Replies that the batch in flight still lacks.
    lacking: u64,
    started_ns: u64,
    /// What the socket did not take of the batch in flight.
    unsent: Vec<u8>,
}

/// A load thread and its connections.
pub struct Worker {
    connections: Vec<Connection>,
    batches: Batches,
    pipeline: u64,
    is_counted: bool,
    control: Arc<Control>,
    epoch: Instant,
    schedule: Option<Schedule>,
    outcome: Outcome,
    input: Vec<u8>,
}

/// Due times of batches, for `--rate`.
struct Schedule {
    step_ns: u64,
    next_ns: u64,
    free: VecDeque<usize>,
}

impl Worker {
    /// A worker over greeted `sockets`; `first_id` numbers its connections for the checker, `rate` is its share in
    /// commands per second.
    pub fn new(
        sockets: Vec<Socket>,
        batches: Batches,
        pipeline: usize,
        is_counted: bool,
        control: Arc<Control>,
        rate: Option<f64>,
        checkers: Option<(u32, u32)>,
    ) -> Self {
        let connections = sockets.into_iter().enumerate().map(|(at, socket)| Connection {
            socket,
            scanner: Scanner::default(),
            checker: checkers.map(|(first_id, filled)| Checker::new(first_id + at as u32, filled)),
            lacking: 0,
            started_ns: 0,
            unsent: Vec::new(),
        });
        let schedule = rate.map(|rate| Schedule {
            step_ns: ((pipeline as f64 * 1e9 / rate) as u64).max(1),
            next_ns: 0,
            free: VecDeque::new(),
        });
        Self {
            connections: connections.collect(),
            batches,
            pipeline: pipeline as u64,
            is_counted,
            control,
            epoch: Instant::now(),
            schedule,
            outcome: Outcome { tally: Tally::default(), wrong_count: 0, wrong: Vec::new(), latency: Histogram::new() },
            input: vec![0; INPUT_LEN],
        }
    }

    /// Loads until the phase is `Stop` or the budget is used up and answered.
    ///
    /// **Errors**: the server closed a connection, broke the protocol, or a system call failed.
    pub fn run(mut self) -> Result<Outcome, String> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        for (at, connection) in self.connections.iter().enumerate() {
            let added = epoll.add(&connection.socket, EpollEvent::new(interest, at as u64));
            added.map_err(|error| format!("epoll: {error}"))?;
        }
        let mut events = vec![EpollEvent::empty(); EVENTS_MAX];
        let mut phase = self.control.phase();
        let mut in_flight = 0usize;
        for at in 0..self.connections.len() {
            in_flight += usize::from(self.next(at, self.now_ns())?);
        }
        loop {
            let wait = if self.schedule.is_some() { EpollTimeout::ZERO } else { EpollTimeout::from(100u8) };
            let count = match epoll.wait(&mut events, wait) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(format!("epoll: {error}")),
            };
            let wanted = self.control.phase();
            if wanted != phase {
                phase = wanted;
                if phase == Phase::Stop {
                    return Ok(self.outcome);
                }
                self.outcome.latency = Histogram::new(); // The warm-up does not count.
            }
            let mut answered = 0;
            for event in &events[..count] {
                let at = event.data() as usize;
                if self.on_event(at)? {
                    answered += self.pipeline;
                    let now_ns = self.now_ns();
                    self.outcome.latency.record(now_ns.saturating_sub(self.connections[at].started_ns));
                    in_flight -= 1;
                    in_flight += usize::from(self.next(at, now_ns)?);
                }
            }
            if answered > 0 {
                self.control.done.fetch_add(answered, Relaxed);
            }
            in_flight += self.start_due()?;
            if in_flight == 0 && self.is_counted && self.control.budget.load(Relaxed) <= 0 {
                return Ok(self.outcome);
            }
        }
    }

    #[inline]
    fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Handles readiness of one connection; true when its batch has just been answered.
    #[inline]
    fn on_event(&mut self, at: usize) -> Result<bool, String> {
        let connection = &mut self.connections[at];
        if !connection.unsent.is_empty() {
            let unsent = std::mem::take(&mut connection.unsent);
            connection.send(&unsent)?;
        }
        while connection.lacking > 0 {
            let len = match connection.socket.read(&mut self.input) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("recv: {error}")),
            };
            let before = self.outcome.tally.replies;
            connection.scanner.feed(&self.input[..len], &mut self.outcome.tally)?;
            let whole = self.outcome.tally.replies - before;
            connection.lacking = connection.lacking.checked_sub(whole).ok_or("more replies than commands")?;
            if let Some(checker) = &mut connection.checker {
                checker.feed(&self.input[..len], &self.batches, &mut self.outcome.wrong)?;
                self.outcome.wrong_count += self.outcome.wrong.len().saturating_sub(WRONG_KEPT) as u64;
                self.outcome.wrong.truncate(WRONG_KEPT);
            }
            if connection.lacking == 0 {
                return Ok(true);
            }
            if len < self.input.len() {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Sends the next batch of a connection, or files it as free; true if a batch is in flight now.
    #[inline]
    fn next(&mut self, at: usize, now_ns: u64) -> Result<bool, String> {
        if let Some(schedule) = &mut self.schedule {
            schedule.free.push_back(at);
            return Ok(false);
        }
        self.send_batch(at, now_ns)
    }

    /// Sends the batches that are due by now on free connections; gives back how many.
    fn start_due(&mut self) -> Result<usize, String> {
        let mut started = 0;
        let now_ns = self.now_ns();
        while let Some(schedule) = &mut self.schedule {
            if schedule.next_ns > now_ns || schedule.free.is_empty() {
                break;
            }
            let (due_ns, at) = (schedule.next_ns, schedule.free.pop_front().unwrap_or(0));
            schedule.next_ns += schedule.step_ns;
            started += usize::from(self.send_batch(at, due_ns)?);
        }
        Ok(started)
    }

    #[inline]
    fn send_batch(&mut self, at: usize, started_ns: u64) -> Result<bool, String> {
        if self.is_counted && self.control.budget.fetch_sub(self.pipeline as i64, Relaxed) <= 0 {
            return Ok(false);
        }
        let connection = &mut self.connections[at];
        let stamp = connection.checker.as_mut().map_or(0, Checker::next_stamp);
        self.batches.draw(stamp);
        if let Some(checker) = &mut connection.checker {
            checker.sent(&self.batches);
        }
        connection.lacking = self.pipeline;
        connection.started_ns = started_ns;
        connection.send(self.batches.bytes())?;
        Ok(true)
    }
}

impl Connection {
    /// Sends `bytes`; what the socket does not take waits for the next event.
    #[inline]
    fn send(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(bytes);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        Ok(())
    }
}
