//! Command line of the load generator.

use std::path::PathBuf;

use clap::Parser;

/// Loads a RESP server on this machine and says what a command cost it.
///
/// Exit codes: 0 clean, 1 could not run, 2 the server answered with errors or `--verify` found a wrong reply.
#[derive(Parser, Debug, Clone)]
#[command(name = "ringdb-load", version)]
pub struct Options {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port of the server.
    #[arg(long, short = 'p', default_value_t = 6379)]
    pub port: u16,
    /// Connect to this UNIX socket instead.
    #[arg(long, short = 's')]
    pub socket: Option<PathBuf>,
    /// Password sent with AUTH on every connection.
    #[arg(long, short = 'a')]
    pub auth: Option<String>,
    /// User name for AUTH.
    #[arg(long)]
    pub user: Option<String>,
    /// Database to SELECT.
    #[arg(long, default_value_t = 0)]
    pub db: u32,
    /// Say HELLO 3 first, so that replies come as RESP3.
    #[arg(long)]
    pub resp3: bool,

    /// Connections.
    #[arg(long, short = 'c', default_value_t = 50)]
    pub clients: usize,
    /// Commands per batch; a connection has one batch in flight.
    #[arg(long, short = 'P', default_value_t = 1)]
    pub pipeline: usize,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// CPUs that the load generator may use, such as `1` or `1,3`.
    #[arg(long, value_delimiter = ',')]
    pub pin: Vec<usize>,

    /// get, set, incr, mset10, mget10, setex, mixed, ping, none (idle connections), storm (all connect at
    /// once).
    #[arg(long, short = 'w', default_value = "get")]
    pub workload: String,
    /// Parts of GET and SET in the mixed workload.
    #[arg(long, default_value = "9:1")]
    pub ratio: String,
    /// Own command, such as "SET {key} {value} EX 60"; takes the place of the workload. Each {key} is a new draw,
    /// {value} belongs to the key before it. Several commands separated by ';' take turns.
    #[arg(long)]
    pub command: Option<String>,

    /// Connections that listen to the channel `audience`, for loads that publish to it:
    /// --command "PUBLISH audience {value}".
    #[arg(long, default_value_t = 0)]
    pub audience: usize,

    /// Number of different keys.
    #[arg(long, short = 'k', default_value_t = 1_000_000)]
    pub keys: u32,
    /// Bytes of a key.
    #[arg(long, default_value_t = 16)]
    pub key_size: usize,
    /// Text in front of a key; the workload's own if not given ("key:", for incr "cnt:").
    #[arg(long)]
    pub prefix: Option<String>,
    /// Bytes of a value.
    #[arg(long, short = 'd', default_value_t = 64)]
    pub value_size: usize,
    /// Exponent of a Zipf law over the keys; uniform if not given.
    #[arg(long)]
    pub zipf: Option<f64>,
    /// Share of draws that name one of the `keys`; the others name a key that was never filled.
    #[arg(long, default_value_t = 1.0)]
    pub hit_ratio: f64,
    /// Seed of all draws.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Measured seconds.
    #[arg(long, short = 't', default_value_t = 5.0)]
    pub duration: f64,
    /// Measured commands, in place of a duration.
    #[arg(long, short = 'n')]
    pub count: Option<u64>,
    /// Seconds of load before the measured interval.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Commands (in a storm: connections) per second over all connections; as fast as possible if not given. Latency then counts from the
    /// moment when the batch was due.
    #[arg(long)]
    pub rate: Option<f64>,

    /// Write every key once before the load.
    #[arg(long)]
    pub fill: bool,
    /// Write every key once and leave; the report then holds the growth of the server's memory per key.
    #[arg(long)]
    pub fill_only: bool,
    /// Command that fills, such as "SET {key} {value} EX 100000"; the workload's own if not given.
    #[arg(long)]
    pub fill_command: Option<String>,

    /// Process whose CPU time and memory are measured; asked from the server (INFO) if not given.
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Check every reply: values belong to their key, replies come in order, a connection reads what it wrote.
    #[arg(long)]
    pub verify: bool,
    /// Print one line of JSON.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Checks what clap cannot.
    ///
    /// **Errors**: a sentence for the user; nothing has been opened yet.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("--clients", self.clients),
            ("--pipeline", self.pipeline),
            ("--threads", self.threads),
            ("--keys", self.keys as usize),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(format!("{name} must be at least 1"));
            }
        }
        if self.keys > crate::keys::KEYS_MAX {
            return Err(format!("--keys must not exceed {}", crate::keys::KEYS_MAX));
        }
        if !(0.0..=1.0).contains(&self.hit_ratio) {
            return Err("--hit-ratio is a share between 0 and 1".into());
        }
        if self.zipf.is_some_and(|theta| !(theta > 0.0 && theta < 10.0)) {
            return Err("--zipf must be above 0 and below 10".into());
        }
        if self.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
            return Err("--rate must be above 0".into());
        }
        if !(self.duration > 0.0 && self.warm_up >= 0.0) {
            return Err("--duration must be above 0 and --warm-up not negative".into());
        }
        Ok(())
    }
}
