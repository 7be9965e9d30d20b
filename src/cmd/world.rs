//! `World`: everything that is shared by all loops, in one place that handlers can reach.

use super::background::Background;
use super::blocking::Blocked;
use super::functions::Functions;
use super::loading::Intake;
use super::migrate::Courier;
use super::scripts::Scripts;
use super::{permission, table};
use crate::admin::acl::Acl;
use crate::admin::attention::Attention;
use crate::admin::clients::{ClientInfo, Clients};
use crate::admin::config::Config;
use crate::admin::ending::Ending;
use crate::admin::latency::LatencyMonitor;
use crate::admin::memory;
use crate::admin::notify::Class;
use crate::admin::params::Id;
use crate::admin::rates::Rates;
use crate::admin::saves::Saves;
use crate::admin::slowlog::SlowLog;
use crate::admin::stats::LoopStats;
use crate::base::clock::{MonoNs, WallMs, wall_micros};
use crate::base::hash::KeyHasher;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::journal::hub::Hub;
use crate::keyspace::Keyspace;
use crate::keyspace::quota;
use crate::keyspace::safepoint::Safepoint;
use crate::keyspace::waiters::Waiters;
use crate::keyspace::watched::Watched;
use crate::pubsub::registry::Registry;
use crate::tracking::Tracking;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The version whose behaviour clients may expect.
pub const REDIS_VERSION: &str = "7.2.4";

/// Our own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// See the module header.
pub struct World {
    pub keyspace: Keyspace,
    pub safepoint: Safepoint,
    pub config: Config,
    /// One per loop.
    pub stats: Box<[LoopStats]>,
    pub clients: Clients,
    /// Clients whose command waits for a key.
    pub waiters: Waiters<Blocked>,
    /// The append-only file.
    pub journal: Hub,
    /// Who listens to which channels.
    pub pubsub: Registry,
    /// Clients that watch keys.
    pub watched: Watched<ClientInfo>,
    /// Who keeps copies of which keys.
    pub tracking: Tracking,
    pub acl: Acl,
    pub scripts: Scripts,
    pub functions: Functions,
    /// Pause and monitors: what every command has to heed.
    pub attention: Attention,
    /// Samples for the rates in INFO; one loop's timer calls `rates.sample`.
    pub rates: Rates,
    pub saves: Saves,
    /// The end that a signal asks for.
    pub ending: Ending,
    /// The snapshot that is being taken.
    pub background: Background,
    /// The keys of a snapshot that is being loaded, on their way.
    pub intake: Intake,
    pub slowlog: SlowLog,
    pub latency: LatencyMonitor,
    pub boot: Boot,
    /// CONFIG SET calls it; set once the server listens.
    pub apply: OnceLock<Apply>,
    /// Makes the trips of MIGRATE; set once the server listens.
    pub courier: OnceLock<Arc<dyn Courier>>,
    /// When the server started.
    pub started: WallMs,
    pub started_mono: MonoNs,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// Names the history of changes that replicas would follow: `run_id`, until DEBUG changes it.
    pub repl_id: Mutex<String>,
    /// DEBUG's switch for active expiry: 0 stops it. Lazy expiry goes on.
    pub active_expire: AtomicU32,
    /// DEBUG's switch for checksums of payloads: not 0, and RESTORE takes any.
    pub skips_checksums: AtomicU32,
    /// When the log last told of a request of HTTP, in milliseconds since the start; 0: never.
    pub http_told_ms: AtomicU64,
    /// DEBUG's length from which an element of a list stands alone; 0: as the size of chunks says.
    pub list_alone_len: AtomicU32,
    /// Highest `used_memory` that anyone measured.
    pub used_memory_peak: AtomicU64,
    /// `used_memory` before there was any data.
    pub startup_memory: u64,
}

/// What must follow at once from a change of these parameters: sockets, limits of the process. Lives above, where these are.
/// Errors: the parameter, and the reason in Redis's words.
pub type Apply = Box<dyn Fn(&[Id]) -> Result<(), (Id, String)> + Send + Sync>;

/// What the server knows when it starts, and what stays.
#[derive(Clone, Debug)]
pub struct Boot {
    pub loops: usize,
    pub databases: usize,
    /// `uring` or `epoll`.
    pub engine: &'static str,
    /// Why this engine: the probe's one line.
    pub engine_reason: String,
    pub config_file: Option<PathBuf>,
}

impl Default for Boot {
    fn default() -> Self {
        Boot { loops: 1, databases: 16, engine: "none", engine_reason: String::new(), config_file: None }
    }
}

impl World {
    /// A world without data and clients, every parameter at its default.
    pub fn new(boot: Boot, hasher: KeyHasher) -> Self {
        let (run_id, started) = (run_id(&hasher), WallMs(wall_micros() / 1000));
        World {
            repl_id: Mutex::new(run_id.clone()),
            run_id,
            keyspace: Keyspace::new(boot.databases, hasher),
            safepoint: Safepoint::new(boot.loops),
            config: Config::new(),
            stats: (0..boot.loops).map(|_| LoopStats::new(table::row_count())).collect(),
            clients: Clients::new(boot.loops),
            waiters: Waiters::default(),
            journal: Hub::default(),
            pubsub: Registry::default(),
            watched: Watched::default(),
            tracking: Tracking::default(),
            acl: Acl::new(permission::catalogue()),
            scripts: Scripts::new(boot.loops),
            functions: Functions::new(boot.loops),
            attention: Attention::new(boot.loops),
            rates: Rates::default(),
            saves: Saves::new(started),
            ending: Ending::default(),
            intake: Intake::default(),
            background: Background::default(),
            slowlog: SlowLog::default(),
            latency: LatencyMonitor::default(),
            boot,
            apply: OnceLock::new(),
            courier: OnceLock::new(),
            started,
            started_mono: MonoNs::now(),
            active_expire: AtomicU32::new(1),
            skips_checksums: AtomicU32::new(0),
            http_told_ms: AtomicU64::new(0),
            list_alone_len: AtomicU32::new(0),
            used_memory_peak: AtomicU64::new(0),
            startup_memory: memory::used(),
        }
    }
    /// Has the events published that `notify-keyspace-events` names.
    pub fn publish_events(&self) {
        let classes = Class::of_letters(&self.config.text(Id::NOTIFY_KEYSPACE_EVENTS));
        self.keyspace.listeners.publish(classes);
    }
    /// Has writes refused while they want more replicas than there are: `min-replicas-to-write`. There are none.
    pub fn heed_replicas(&self) {
        let is_wanted = |id| self.config.number(id) > 0;
        self.attention.set_lonely(is_wanted(Id::MIN_REPLICAS_TO_WRITE) && is_wanted(Id::MIN_REPLICAS_MAX_LAG));
    }
    pub fn repl_id(&self) -> String {
        self.repl_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Takes a new name for the history of changes.
    pub fn change_repl_id(&self) {
        *self.repl_id.lock().unwrap_or_else(PoisonError::into_inner) = run_id(&self.keyspace.hasher);
    }
    /// Measures `used_memory` for the sake of its peak and, if there is a limit, what must be kept free below it. One loop calls
    /// this once a second while it is awake, or more often.
    pub fn note_memory(&self, limit: u64) {
        let used = if limit == 0 { memory::used() } else { quota::weigh_all(limit) };
        self.used_memory_peak.fetch_max(used, Ordering::Relaxed);
    }
}

/// 40 hex digits that differ from start to start: the keyed hasher's seeds are random.
fn run_id(hasher: &KeyHasher) -> String {
    let mut id = String::with_capacity(48);
    for part in 0u8..3 {
        let salt = [&[part][..], &wall_micros().to_le_bytes()].concat();
        let _ = write!(id, "{:016x}", hasher.hash(&salt)); // Writing to a String cannot fail.
    }
    id.truncate(40);
    id
}
