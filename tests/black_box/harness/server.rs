//! Servers as processes. Each has a port and a folder of its own and ends with the test that started it, or at the latest
//! with the test program: the kernel sees to that (PR_SET_PDEATHSIG), even if the program is killed.
//!
//! Most tests need no server of their own: `Server::lease` lends a running one, emptied before and after.

use super::client::{Client, PATIENCE};
use std::collections::HashMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    Uring,
    Epoll,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Engine::Uring => "uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// The engines that this machine can run. One that it cannot is reported on the terminal, past the capture of test output.
pub fn engines() -> &'static [Engine] {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let mut engines = vec![Engine::Epoll];
        match Server::try_start(&["--io-engine", "uring"]) {
            Ok(_) => engines.insert(0, Engine::Uring),
            Err(output) => loudly(&format!("SKIPPED: every io_uring variant of the tests, because: {output}")),
        }
        engines
    })
}

/// Writes a line that the test runner does not swallow.
pub fn loudly(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "\n*** {line}"));
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub port: u16,
    pub dir: TempDir,
}

impl Server {
    /// Starts ringdb with `options` behind the ones that every test server gets.
    pub fn start(options: &[&str]) -> Server {
        Server::try_start(options).unwrap_or_else(|output| panic!("ringdb {options:?} did not start: {output}"))
    }
    pub fn start_on(engine: Engine, options: &[&str]) -> Server {
        Server::start(&[&["--io-engine", engine.name()], options].concat())
    }
    /// Errors: what the server said before it gave up.
    pub fn try_start(options: &[&str]) -> Result<Server, String> {
        let two_loops: &[&str] = if options.contains(&"--threads") { &[] } else { &["--threads", "2"] };
        loop {
            let port = free_port();
            let port_text = port.to_string();
            let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
            command.args(["--port", &port_text, "--enable-debug-command", "local"]).args(two_loops).args(options);
            match Server::launch(command, port) {
                Err(output) if output.contains(&port_text) && output.contains("in use") => continue,
                outcome => return outcome,
            }
        }
    }
    /// Starts ringdb with a configuration file, and options behind it.
    pub fn start_file(path: &str, options: &[&str]) -> Server {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringdb"));
        command.args([path, "--port", &port.to_string(), "--threads", "2"]).args(options);
        Server::launch(command, port).unwrap_or_else(|output| panic!("ringdb {path} did not start: {output}"))
    }
    /// Starts the reference server. Panics if it is not installed: a comparison that did not happen must not look like one
    /// that passed.
    pub fn reference() -> Server {
        let port = free_port();
        let program = std::env::var("REFERENCE_SERVER").unwrap_or_else(|_| "redis-server".into());
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--save", "", "--enable-debug-command", "yes"]);
        Server::launch(command, port).unwrap_or_else(|problem| {
            panic!("{program} is needed here as the reference (apt-get install redis-server): {problem}")
        })
    }
    fn launch(mut command: Command, port: u16) -> Result<Server, String> {
        let dir = tempfile::tempdir().expect("a folder for the server");
        let log = std::fs::File::create(dir.path().join("output")).expect("a file for its output");
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = spawn(command)?;
        let mut server = Server { child, port, dir };
        let started = Instant::now();
        let stream = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => break stream,
                Err(_) if server.is_alive() && started.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => return Err(server.output()),
            }
        };
        // One conversation to its end, so that nobody counts this client any more.
        let mut client = Client::over(stream);
        client.send(b"QUIT\r\n");
        client.until_closed();
        Ok(server)
    }
    pub fn client(&self) -> Client {
        Client::tcp(self.port)
    }
    /// What the server has written to the terminal.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }
    pub fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved; the process is ours and not yet waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }
    /// Sends a signal to the server's thread of this name.
    pub fn signal_thread(&self, name: &str, signal: i32) {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the threads of a child");
        let is_meant = |task: &std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|found| found.trim_end() == name)
        };
        let task = tasks.flatten().find(is_meant).unwrap_or_else(|| panic!("no thread {name}"));
        let thread: i32 = task.file_name().to_string_lossy().parse().expect("a number");
        // SAFETY: numbers only; the thread is one of our own child.
        unsafe { libc::syscall(libc::SYS_tgkill, self.pid(), thread, signal) };
    }
    /// Waits for the process to end by itself. Returns its exit code; None if a signal ended it.
    pub fn exit_code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => return status.code(),
                None => assert!(started.elapsed() < PATIENCE, "the server does not leave: {}", self.output()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
    /// Lends a running server with two loops and default options, empty, to `f`.
    /// A test that panics keeps its server: nobody else inherits its state.
    pub fn lease<T>(engine: Engine, f: impl FnOnce(&Server) -> T) -> T {
        static IDLE: LazyLock<Mutex<HashMap<Engine, Vec<Server>>>> = LazyLock::new(Mutex::default);
        let idle = || IDLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = idle().entry(engine).or_default().pop();
        let mut server = found.unwrap_or_else(|| Server::start_on(engine, &[]));
        let outcome = f(&server);
        assert!(server.is_alive(), "the server died: {}", server.output());
        for flush in ["FLUSHALL", "FUNCTION FLUSH"] {
            assert_eq!(server.client().run(flush).to_string(), "OK");
        }
        idle().entry(engine).or_default().push(server);
        outcome
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts a program that dies with this one.
/// The kernel sends the signal when the *thread* that started the program ends, so one thread that never ends starts all.
pub fn spawn(mut command: Command) -> Result<Child, String> {
    type Job = (Command, mpsc::Sender<std::io::Result<Child>>);
    static LAUNCHER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(jobs)
    });
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let (answer, child) = mpsc::channel();
    LAUNCHER.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).send((command, answer)).expect("the launcher");
    child.recv().expect("the launcher answers").map_err(|error| error.to_string())
}

/// A port that nobody listens on. Below the range from which the kernel takes ports of outgoing connections; each test
/// program begins somewhere else. `TEST_PORTS=first-last` confines it.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<Mutex<(u16, u16, u16)>> = LazyLock::new(|| {
        let range = std::env::var("TEST_PORTS").unwrap_or_default();
        let mut ends = range.split('-').filter_map(|end| end.parse().ok());
        match (ends.next(), ends.next()) {
            (Some(first), Some(last)) => Mutex::new((first, first, last)),
            _ => Mutex::new((20_000 + (std::process::id() * 37 % 11_000) as u16, 20_000, 31_999)),
        }
    });
    let mut range = NEXT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for _ in range.1..=range.2 {
        let port = range.0;
        range.0 = if port >= range.2 { range.1 } else { port + 1 };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {} to {}", range.1, range.2);
}
