//! One run: limits and affinity, fill, warm-up, the measured interval.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    audience::Audience,
    batch::{Batches, Mix},
    idle,
    keys::{Law, Texts, zipf_draws},
    options::Options,
    process,
    report::{Fill, Report},
    socket::{Socket, ask_server_pid},
    storm,
    worker::{Control, Outcome, Phase, Worker},
};

/// Connections and commands per batch of the fill: enough to be fast, little enough to be gentle.
const FILL_CLIENTS: usize = 8;
const FILL_PIPELINE: usize = 128;
/// Descriptors kept for other things than connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// How long memory may take to settle after the fill.
const SETTLE: Duration = Duration::from_millis(300);

/// Runs what `options` ask for.
///
/// **Errors**: one sentence with the cause.
pub fn run(options: &Options) -> Result<Report, String> {
    options.check()?;
    pin(&options.pin)?;
    raise_descriptor_limit((options.clients + options.audience) as u64 + SPARE_DESCRIPTORS)?;
    let pid = options.server_pid.or_else(|| ask_server_pid(options));
    let mut report = Report::new(options, pid);
    if options.fill || options.fill_only {
        report.fill = Some(fill(options, pid)?);
    }
    if options.fill_only {
        return Ok(report);
    }
    if options.workload == "none" && options.command.is_none() {
        report.idle = Some(idle::run(options, pid)?);
        return Ok(report);
    }
    if options.workload == "storm" && options.command.is_none() {
        report.storm = Some(storm::run(options, pid)?);
        return Ok(report);
    }
    measure(options, pid, &mut report)?;
    Ok(report)
}

/// Pins this thread, and so all threads that it starts.
fn pin(cpus: &[usize]) -> Result<(), String> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = nix::sched::CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).map_err(|_| format!("--pin {cpu}: no such CPU"))?;
    }
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
        .map_err(|error| format!("--pin {cpus:?}: {error}"))
}

fn raise_descriptor_limit(wanted: u64) -> Result<(), String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| format!("getrlimit: {error}"))?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        return Err(format!("{wanted} file descriptors are needed, the hard limit is {hard}: raise it (ulimit -Hn)"));
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).map_err(|error| format!("setrlimit: {error}"))
}

/// Keys and values as the options want them.
fn texts(options: &Options) -> Result<Texts, String> {
    let is_counter = options.workload == "incr" && options.command.is_none();
    let prefix = options.prefix.as_deref().unwrap_or(if is_counter { "cnt:" } else { "key:" });
    Texts::new(prefix, options.key_size, options.value_size)
}

/// Writes every key once and looks at the server's memory before and after.
fn fill(options: &Options, pid: Option<u32>) -> Result<Fill, String> {
    let is_counter = options.workload == "incr" && options.command.is_none();
    let command =
        options.fill_command.as_deref().unwrap_or(if is_counter { "SET {key} 0" } else { "SET {key} {value}" });
    let mix = Mix::commands(command)?;
    let pipeline = FILL_PIPELINE.min(options.keys as usize);
    let sockets = (0..FILL_CLIENTS).map(|_| Socket::open(options)).collect::<Result<Vec<_>, _>>()?;
    let batches = Batches::new(&mix, pipeline, texts(options)?, Law::sequential(options.keys), 1, false);
    let control = Control::new(Phase::Measure, i64::from(options.keys));
    let worker = Worker::new(sockets, batches, pipeline, true, control, None, None);
    let rss_before = pid.and_then(|pid| process::rss_bytes(pid).ok());
    let cpu_before = pid.and_then(|pid| process::cpu_ns(pid).ok());
    let started = Instant::now();
    let outcome = worker.run()?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(error) = outcome.tally.first_error {
        return Err(format!("the fill was refused: {error}"));
    }
    let cpu_ns = pid.and_then(|pid| process::cpu_ns(pid).ok()).zip(cpu_before).map(|(after, before)| after - before);
    thread::sleep(SETTLE);
    let rss_after = pid.and_then(|pid| process::rss_bytes(pid).ok());
    let grown = rss_after.zip(rss_before).map(|(after, before)| after.saturating_sub(before));
    Ok(Fill {
        keys: options.keys,
        seconds,
        cpu_ns_per_key: cpu_ns.map(|ns| ns as f64 / f64::from(options.keys)),
        rss_per_key: grown.map(|bytes| bytes as f64 / f64::from(options.keys)),
    })
}

/// One reading of everything that is measured by difference.
struct Sample {
    at: Instant,
    done: u64,
    server_ns: Option<u64>,
    own_ns: u64,
    steal: (u64, u64),
}

impl Sample {
    fn take(control: &Control, pid: Option<u32>) -> Self {
        Self {
            server_ns: pid.and_then(|pid| process::cpu_ns(pid).ok()),
            done: control.done.load(Relaxed),
            at: Instant::now(),
            own_ns: process::own_cpu_ns(),
            steal: process::steal(),
        }
    }
}

fn measure(options: &Options, pid: Option<u32>, report: &mut Report) -> Result<(), String> {
    let budget = options.count.map_or(i64::MAX, |count| count as i64);
    let control =
        Control::new(Phase::WarmUp, if options.count.is_some() && options.warm_up == 0.0 { budget } else { i64::MAX });
    let audience = Audience::begin(options)?;
    let heard = || audience.as_ref().map(Audience::heard);
    let workers = workers(options, &control)?;
    let threads: Vec<_> = workers.into_iter().map(|worker| thread::spawn(move || worker.run())).collect();
    // A worker that fails ends early; then so does the wait.
    let ended = || threads.iter().any(JoinHandle::is_finished);
    let from = if options.count.is_some() && options.warm_up == 0.0 {
        let from = Sample::take(&control, pid);
        control.set(Phase::Measure);
        from
    } else {
        wait(Duration::from_secs_f64(options.warm_up), ended);
        control.budget.store(budget, Relaxed);
        control.set(Phase::Measure);
        Sample::take(&control, pid)
    };
    let heard_before = heard();
    if options.count.is_some() {
        wait(Duration::MAX, || threads.iter().all(JoinHandle::is_finished));
    } else {
        wait(Duration::from_secs_f64(options.duration), ended);
    }
    let to = Sample::take(&control, pid);
    report.heard = heard().zip(heard_before).map(|(after, before)| after - before);
    control.set(Phase::Stop);
    for thread in threads {
        let outcome = thread.join().map_err(|_| "a load thread panicked")??;
        report.add(outcome);
    }
    audience.map_or(Ok(()), Audience::end)?;
    finish(report, &from, &to);
    report.rss_bytes = pid.and_then(|pid| process::rss_bytes(pid).ok());
    Ok(())
}

/// Sleeps for `span`, or until `ended`.
fn wait(span: Duration, ended: impl Fn() -> bool) {
    let started = Instant::now();
    while !ended() {
        let left = span.saturating_sub(started.elapsed());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Connections and workers; connection numbers start at 1, since stamp 0 belongs to the fill.
fn workers(options: &Options, control: &Arc<Control>) -> Result<Vec<Worker>, String> {
    let mix = match &options.command {
        Some(text) => Mix::commands(text)?,
        None => Mix::named(&options.workload, &options.ratio)?,
    };
    let zipf = options.zipf.map(|theta| zipf_draws(options.keys, theta, options.seed));
    let threads = options.threads.min(options.clients);
    let filled = if options.fill { options.keys } else { 0 };
    let mut first_id = 1;
    let mut all = Vec::new();
    for thread in 0..threads {
        let count = options.clients / threads + usize::from(thread < options.clients % threads);
        let sockets = (0..count).map(|_| Socket::open(options)).collect::<Result<Vec<_>, _>>()?;
        let seed = options.seed.wrapping_add(thread as u64 * 7_919);
        let law = match &zipf {
            Some(draws) => Law::zipf(draws.clone(), options.keys, options.hit_ratio, seed),
            None => Law::uniform(options.keys, options.hit_ratio, seed),
        };
        let batches = Batches::new(&mix, options.pipeline, texts(options)?, law, seed, options.verify);
        let rate = options.rate.map(|rate| rate * count as f64 / options.clients as f64);
        let checkers = options.verify.then_some((first_id, filled));
        let is_counted = options.count.is_some();
        all.push(Worker::new(sockets, batches, options.pipeline, is_counted, control.clone(), rate, checkers));
        first_id += count as u32;
    }
    Ok(all)
}

fn finish(report: &mut Report, from: &Sample, to: &Sample) {
    let commands = to.done - from.done;
    let per_command = |ns: u64| ns as f64 / commands.max(1) as f64;
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    let server_ns = to.server_ns.zip(from.server_ns).map(|(to, from)| to.saturating_sub(from));
    report.commands = commands;
    report.seconds = seconds;
    report.server_ns_per_command = server_ns.map(per_command);
    report.server_cpu_share = server_ns.map(|ns| ns as f64 / (seconds * 1e9));
    report.own_ns_per_command = per_command(to.own_ns.saturating_sub(from.own_ns));
    let jiffies = (to.steal.1 - from.steal.1).max(1);
    report.steal_share = (to.steal.0 - from.steal.0) as f64 / jiffies as f64;
}

impl Report {
    fn add(&mut self, outcome: Outcome) {
        self.tally.replies += outcome.tally.replies;
        self.tally.errors += outcome.tally.errors;
        self.tally.nils += outcome.tally.nils;
        self.tally.pushes += outcome.tally.pushes;
        self.tally.first_error = self.tally.first_error.take().or(outcome.tally.first_error);
        self.wrong_count += outcome.wrong_count + outcome.wrong.len() as u64;
        self.wrong.extend(outcome.wrong);
        self.latency.add(&outcome.latency);
    }
}
