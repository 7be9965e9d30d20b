//! What a run found, as a page for people or as one line of JSON.

use crate::{histogram::Histogram, idle::Idle, options::Options, scan::Tally, storm::Storm};

/// Percentiles of every report.
const PERCENTILES: [(&str, f64); 6] =
    [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9), ("p99.99", 99.99)];

/// Result of writing every key once.
#[derive(Debug, Clone)]
pub struct Fill {
    pub keys: u32,
    pub seconds: f64,
    pub cpu_ns_per_key: Option<f64>,
    /// Growth of the server's resident memory, divided by the keys.
    pub rss_per_key: Option<f64>,
}

/// Everything a run measured. `None` where there was no process to measure.
pub struct Report {
    label: String,
    clients: usize,
    pipeline: usize,
    verified: bool,
    pid: Option<u32>,
    pub fill: Option<Fill>,
    pub idle: Option<Idle>,
    pub storm: Option<Storm>,
    /// Messages that the audience heard in the measured interval.
    pub heard: Option<u64>,
    pub commands: u64,
    pub seconds: f64,
    pub server_ns_per_command: Option<f64>,
    pub server_cpu_share: Option<f64>,
    pub own_ns_per_command: f64,
    pub steal_share: f64,
    pub rss_bytes: Option<u64>,
    /// Over the whole run, warm-up included.
    pub tally: Tally,
    pub wrong_count: u64,
    pub wrong: Vec<String>,
    pub latency: Histogram,
}

impl Report {
    /// An empty report of a run by `options` against process `pid`.
    pub fn new(options: &Options, pid: Option<u32>) -> Self {
        Self {
            label: options.command.clone().unwrap_or_else(|| options.workload.clone()),
            clients: options.clients,
            pipeline: options.pipeline,
            verified: options.verify,
            pid,
            fill: None,
            idle: None,
            storm: None,
            heard: None,
            commands: 0,
            seconds: 0.0,
            server_ns_per_command: None,
            server_cpu_share: None,
            own_ns_per_command: 0.0,
            steal_share: 0.0,
            rss_bytes: None,
            tally: Tally::default(),
            wrong_count: 0,
            wrong: Vec::new(),
            latency: Histogram::new(),
        }
    }

    /// Whether every reply was right as far as anyone looked.
    pub fn is_clean(&self) -> bool {
        self.tally.errors == 0 && self.wrong_count == 0 && self.storm.as_ref().is_none_or(|storm| storm.lost == 0)
    }

    /// Prints the report to standard output.
    pub fn print(&self, as_json: bool) {
        if as_json { println!("{}", self.json()) } else { self.print_page() }
    }

    fn print_page(&self) {
        if let Some(fill) = &self.fill {
            let rss = fill.rss_per_key.map_or(String::new(), |bytes| format!(", {bytes:.1} B of memory per key"));
            println!("fill      {} keys in {:.2} s{rss}", fill.keys, fill.seconds);
        }
        if let Some(idle) = &self.idle {
            let (memory, cpu) = (idle.rss_per_connection, idle.cpu_share * 100.0);
            println!("idle      {} connections: {memory:.0} B of memory each, {cpu:.2} % CPU in all", idle.connections);
        }
        if let Some(storm) = &self.storm {
            println!(
                "storm     {} connections in {:.3} s: {} answered, {} turned away, {} lost",
                storm.connections, storm.seconds, storm.answered, storm.turned_away, storm.lost
            );
            println!(
                "server    {:.1} CPU us per connection, client {:.1}",
                storm.server_us.unwrap_or(0.0),
                storm.own_us
            );
            let millis = |percent| storm.latency.percentile_ns(percent) as f64 / 1e6;
            println!(
                "answer    ms after connect: p50 {:.1}  p99 {:.1}  max {:.1}",
                millis(50.0),
                millis(99.0),
                millis(100.0)
            );
        }
        if self.commands == 0 {
            return;
        }
        println!("load      {} · {} clients · pipeline {}", self.label, self.clients, self.pipeline);
        println!("rate      {:.0} commands/s ({} in {:.2} s)", self.rate(), self.commands, self.seconds);
        match (self.server_ns_per_command, self.server_cpu_share) {
            (Some(ns), Some(share)) => {
                println!("server    {ns:.1} CPU ns per command, {:.0} % of a core", share * 100.0)
            }
            _ => println!("server    no process to measure (--server-pid)"),
        }
        if let Some(heard) = self.heard {
            println!("audience  {heard} messages, {:.2} per command", heard as f64 / self.commands as f64);
        }
        println!("client    {:.1} CPU ns per command", self.own_ns_per_command);
        let percentiles = PERCENTILES
            .iter()
            .map(|(name, percent)| format!("{name} {:.1}", self.latency.percentile_ns(*percent) as f64 / 1e3));
        println!(
            "latency   us per batch: {} max {:.1}",
            percentiles.collect::<Vec<_>>().join("  "),
            self.latency.max_ns() as f64 / 1e3
        );
        if self.tally.nils > 0 {
            println!("nulls     {} (warm-up included)", self.tally.nils);
        }
        if self.steal_share > 0.01 {
            println!(
                "steal     {:.1} % of all CPU time was taken by the hypervisor: repeat the run",
                self.steal_share * 100.0
            );
        }
        if let Some(error) = &self.tally.first_error {
            println!("ERRORS    {} (first: {error})", self.tally.errors);
        }
        if self.verified {
            println!("verify    {} wrong replies of {}", self.wrong_count, self.tally.replies);
            self.wrong.iter().for_each(|wrong| println!("          {wrong}"));
        }
    }

    fn rate(&self) -> f64 {
        self.commands as f64 / self.seconds.max(1e-9)
    }

    fn json(&self) -> String {
        let mut fields = vec![
            format!("\"load\":{}", quoted(&self.label)),
            format!("\"clients\":{}", self.clients),
            format!("\"pipeline\":{}", self.pipeline),
            format!("\"pid\":{}", optional(self.pid)),
        ];
        if let Some(fill) = &self.fill {
            let (ns, bytes) = (optional(fill.cpu_ns_per_key), optional(fill.rss_per_key));
            fields.push(format!(
                "\"fill\":{{\"keys\":{},\"seconds\":{:.3},\"cpu_ns_per_key\":{ns},\"rss_per_key\":{bytes}}}",
                fill.keys, fill.seconds
            ));
        }
        if let Some(idle) = &self.idle {
            fields.push(format!(
                "\"idle\":{{\"connections\":{},\"rss_per_connection\":{:.1},\"cpu_share\":{:.6}}}",
                idle.connections, idle.rss_per_connection, idle.cpu_share
            ));
        }
        if let Some(storm) = &self.storm {
            fields.push(format!(
                "\"storm\":{{\"connections\":{},\"seconds\":{:.4},\"answered\":{},\"turned_away\":{},\"lost\":{},\"server_us\":{},\"client_us\":{:.2}}}",
                storm.connections, storm.seconds, storm.answered, storm.turned_away, storm.lost,
                optional(storm.server_us), storm.own_us
            ));
        }
        if self.commands > 0 {
            fields.extend(self.json_load());
        }
        format!("{{{}}}", fields.join(","))
    }

    fn json_load(&self) -> Vec<String> {
        let mut latency: Vec<String> = PERCENTILES
            .iter()
            .map(|(name, percent)| format!("\"{name}\":{}", self.latency.percentile_ns(*percent)))
            .collect();
        latency.push(format!("\"mean\":{}", self.latency.mean_ns()));
        latency.push(format!("\"max\":{}", self.latency.max_ns()));
        vec![
            format!("\"commands\":{}", self.commands),
            format!("\"seconds\":{:.4}", self.seconds),
            format!("\"per_second\":{:.0}", self.rate()),
            format!("\"server_ns\":{}", optional(self.server_ns_per_command)),
            format!("\"server_cpu_share\":{}", optional(self.server_cpu_share)),
            format!("\"client_ns\":{:.2}", self.own_ns_per_command),
            format!("\"steal_share\":{:.5}", self.steal_share),
            format!("\"rss_bytes\":{}", optional(self.rss_bytes)),
            format!("\"heard\":{}", optional(self.heard)),
            format!("\"nils\":{}", self.tally.nils),
            format!("\"errors\":{}", self.tally.errors),
            format!("\"first_error\":{}", self.tally.first_error.as_deref().map_or("null".into(), quoted)),
            format!("\"wrong\":{}", self.wrong_count),
            format!("\"latency_ns\":{{{}}}", latency.join(",")),
        ]
    }
}

fn optional<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char < ' ' => out.push_str(&format!("\\u{:04x}", char as u32)),
            char => out.push(char),
        }
    }
    out + "\""
}
