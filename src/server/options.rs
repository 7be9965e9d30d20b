//! From the command line and the configuration file to `Settings`.
//!
//!     ringdb [FILE | -] [--name value…]…      `-` reads the configuration from standard input
//!
//! An option and a line of the file are the same thing, `name value…`, with Redis's quoting; the file is read first, options
//! win over it. Names, kinds and checks come from `admin::params`. A wrong one is an `OptionError` that says where it
//! stands, what is wrong, and what was probably meant.

use crate::admin::acl::rule::RuleError;
use crate::admin::config::Config;
use crate::admin::params::{Id, PARAMS};
use crate::admin::rewrite::quoted;
use crate::base::glob;
use crate::base::words::split_owned;
use crate::cmd::table;
use crate::cmd::world::REDIS_VERSION;
use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files that include each other deeper than this are taken for a circle.
const INCLUDE_DEPTH_MAX: usize = 16;

/// What the server starts with.
pub struct Settings {
    pub config: Config,
    /// The configuration file, as an absolute path if that could be found out.
    pub file: Option<PathBuf>,
    /// `user` lines: name and rules.
    pub users: Vec<Vec<Vec<u8>>>,
    /// Parameters that were set and have no effect here: the log should say so.
    pub warnings: Vec<String>,
}

/// What the command line asks for.
pub enum Request {
    Run(Box<Settings>),
    /// Print this and leave with 0: `--help`, `--version`.
    Print(String),
}

/// Why the server cannot start like this. Displayed as one or a few lines for the terminal; exit code 1.
#[derive(Debug)]
pub struct OptionError {
    place: Place,
    problem: String,
}

#[derive(Debug)]
enum Place {
    Option(String),
    File(PathBuf),
    Line { path: PathBuf, number: usize, text: String },
}

/// Where a line comes from.
enum Source<'a> {
    Options,
    File { path: &'a Path, number: usize },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Option(text) => fatal(f, "Reading the command line", text, &self.problem),
            Place::File(path) => {
                write!(f, "Fatal error, can't open config file '{}': {}", path.display(), self.problem)
            }
            Place::Line { path, number, text } => {
                let place = format!("Reading the configuration file {}, at line {number}", path.display());
                fatal(f, &place, text, &self.problem)
            }
        }
    }
}

/// The four lines that test harnesses look for. Source: Redis, `loadServerConfigFromString`.
fn fatal(f: &mut fmt::Formatter<'_>, place: &str, text: &str, problem: &str) -> fmt::Result {
    write!(f, "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n{place}\n>>> '{text}'\n{problem}")
}

/// What `--version` prints behind the name: our version, and that of the server we stand in for where scripts look for it.
fn version_text() -> String {
    let own = env!("CARGO_PKG_VERSION");
    format!("{own}, stands in for Redis server v={REDIS_VERSION} sha=00000000:0 malloc=jemalloc bits=64 build=0")
}

/// Modes of redis-server that have no counterpart, and what to say to them.
const OTHER_MODES: &[(&str, &str)] = &[
    ("--test-memory", "ringdb has no memory test of its own: use memtester, or memtest86+ at boot.\n"),
    ("--check-system", "ringdb checks the limits that matter to it at each start and says what it misses.\n"),
];

/// Was the program called by the name of a server that it stands in for? It then has that one's defaults.
pub fn names_another_server(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "redis-server" || name == "valkey-server")
}

/// Reads the command line (without the program's name) and the file that it names.
pub fn parse(args: impl IntoIterator<Item = OsString>, stands_in: bool) -> Result<Request, OptionError> {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some((_, text)) = OTHER_MODES.iter().find(|(name, _)| args.first().is_some_and(|arg| arg == name)) {
        return Ok(Request::Print(text.to_string()));
    }
    match args.first().map(|first| first.as_bytes()) {
        Some(b"-h" | b"--help") => return Ok(Request::Print(command().render_help().to_string())),
        Some(b"-v" | b"--version") => return Ok(Request::Print(command().render_version())),
        _ => {}
    }
    let config = if stands_in { Config::standing_in() } else { Config::new() };
    let mut settings = Settings { config, file: None, users: Vec::new(), warnings: Vec::new() };
    let mut options = args.as_slice();
    if let Some((file, rest)) = args.split_first().filter(|(first, _)| is_file(first)) {
        settings.read_file(Path::new(file), 0)?;
        settings.file = (file != "-").then(|| std::path::absolute(file).unwrap_or_else(|_| file.into()));
        options = rest;
    }
    if let Some((last, rest)) = options.split_last().filter(|(last, _)| *last == "-") {
        settings.read_file(Path::new(last), 0)?;
        options = rest;
    }
    option_lines(options).iter().try_for_each(|line| settings.apply_line(line, &Source::Options, 0))?;
    Ok(Request::Run(Box::new(settings)))
}

/// Is the first argument a file, or `-` for standard input?
fn is_file(arg: &OsStr) -> bool {
    arg == "-" || !arg.as_bytes().starts_with(b"-")
}

/// Options as lines of a configuration file. `--` begins an option, except right behind a name that stands alone: that
/// argument is its value in any case. What follows up to the next `--` belongs to it too. `--save` without a value takes the
/// save points away. `--name=value` is an addition of ours. Source: Redis, `main`.
fn option_lines(args: &[OsString]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut wants_value = false;
    for (at, arg) in args.iter().enumerate() {
        let bytes = arg.as_bytes();
        let Some(option) = bytes.strip_prefix(b"--").filter(|option| !wants_value && !option.is_empty()) else {
            let value = [b" ", quoted(bytes).as_slice()].concat();
            match lines.last_mut() {
                Some(line) => line.extend(value),
                None => lines.push(value), // A name without dashes: Redis takes that too.
            }
            wants_value = false;
            continue;
        };
        let value_follows = args.get(at + 1).is_some_and(|next| !next.as_bytes().starts_with(b"--"));
        wants_value = false;
        lines.push(match option.iter().position(|&byte| byte == b'=') {
            Some(at) if Id::find(&option[..at]).is_some() => [&option[..at], b" ", &quoted(&option[at + 1..])].concat(),
            _ if option.eq_ignore_ascii_case(b"save") && !value_follows => b"save \"\"".to_vec(),
            _ => {
                wants_value = !option.trim_ascii().contains(&b' ');
                option.to_vec()
            }
        });
    }
    lines
}

/// Only for the texts of `--help` and `--version`: clap's grammar of options is not Redis's.
fn command() -> Command {
    let file = Arg::new("FILE").help("Configuration file in the form of redis.conf; '-' reads standard input");
    let help = Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Print this and leave");
    let version = Arg::new("version").short('v').long("version").action(ArgAction::Version).help("Print the version");
    let mut command = Command::new("ringdb")
        .version(&*version_text().leak())
        .about("A Redis-compatible in-memory server: io_uring event loops over one shared lock-free table.")
        .after_help(
            "Options may stand in FILE too, one a line without the dashes. Every parameter name of Redis is known.",
        )
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(file);
    for param in PARAMS {
        let mut arg = Arg::new(param.name).long(param.name);
        arg = arg.action(ArgAction::Append).num_args(1).hide(param.help.is_none());
        if let Some((value, line)) = param.help {
            let default =
                if param.default.is_empty() { String::new() } else { format!(" [default: {}]", param.default) };
            arg = arg.value_name(value).help(format!("{line}{default}"));
        }
        command = command.arg(arg);
    }
    let user = Arg::new("user").long("user").action(ArgAction::Append).num_args(1).value_name("NAME RULE…");
    let user = user.help("A user and its permissions, in the form of ACL LIST");
    command.arg(user).arg(help).arg(version)
}

impl Settings {
    fn read_file(&mut self, path: &Path, depth: usize) -> Result<(), OptionError> {
        let failed = |problem: String| OptionError { place: Place::File(path.to_path_buf()), problem };
        if depth > INCLUDE_DEPTH_MAX {
            return Err(failed("files include each other in a circle".into()));
        }
        let mut text = Vec::new();
        let outcome = if path == Path::new("-") {
            std::io::stdin().read_to_end(&mut text).map(drop)
        } else {
            std::fs::read(path).map(|bytes| text = bytes)
        };
        outcome.map_err(|error| failed(error.to_string()))?;
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if !line.is_empty() && line[0] != b'#' {
                self.apply_line(line, &Source::File { path, number: at + 1 }, depth)?;
            }
        }
        Ok(())
    }
    fn apply_line(&mut self, line: &[u8], source: &Source<'_>, depth: usize) -> Result<(), OptionError> {
        let failed = |problem: String| {
            let text = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            let place = match *source {
                Source::Options => Place::Option(text),
                Source::File { path, number } => Place::Line { path: path.to_path_buf(), number, text },
            };
            OptionError { place, problem }
        };
        let words = split_owned(line).map_err(|_| failed("unbalanced quotes in configuration line".into()))?;
        let [name, values @ ..] = words.as_slice() else { return Ok(()) };
        match (name.to_ascii_lowercase().as_slice(), values) {
            (b"include", [pattern]) => {
                let files = matching(Path::new(OsStr::from_bytes(pattern)));
                files.iter().try_for_each(|file| self.read_file(file, depth + 1))
            }
            (b"rename-command", [from, to]) => table::rename(from, to).map_err(failed),
            (b"include" | b"rename-command", _) => Err(failed("wrong number of arguments".into())),
            (b"user", _) => self.add_user(values).map_err(failed),
            (b"loadmodule" | b"sentinel", _) => {
                Err(failed(format!("'{}' is not implemented", String::from_utf8_lossy(name))))
            }
            _ => self.apply(name, values).map_err(failed),
        }
    }
    /// Keeps a user's line until the commands that it names are known.
    fn add_user(&mut self, words: &[Vec<u8>]) -> Result<(), String> {
        let Some(name) = words.first() else { return Err("wrong number of arguments".into()) };
        if self.users.iter().any(|known| known.first() == Some(name)) {
            let (name, error) = (String::from_utf8_lossy(name), RuleError::DuplicateUser);
            return Err(format!("Error in user declaration '{name}': {error}"));
        }
        self.users.push(words.to_vec());
        Ok(())
    }
    /// Sets one parameter. Errors: what is wrong with it, and what was probably meant.
    fn apply(&mut self, name: &[u8], words: &[Vec<u8>]) -> Result<(), String> {
        let Some(id) = Id::find(name) else {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(match nearest(&name) {
                Some(meant) => format!("{BAD_DIRECTIVE}: there is no parameter '{name}'; did you mean '{meant}'?"),
                None => format!("{BAD_DIRECTIVE}: there is no parameter '{name}'"),
            });
        };
        self.config.set_at_start(id, words)?;
        let warning = self.config.idle_warning(id).filter(|warning| !self.warnings.contains(warning));
        self.warnings.extend(warning);
        Ok(())
    }
}

/// What Redis says of a name that it does not know.
const BAD_DIRECTIVE: &str = "Bad directive or wrong number of arguments";

/// The files that `include` means: the path itself, or, with `*`, `?` or `[` in its last part, those of its directory that
/// match, in the order of their names (perhaps none).
fn matching(path: &Path) -> Vec<PathBuf> {
    let Some(pattern) = path.file_name().filter(|name| name.as_bytes().iter().any(|byte| b"*?[".contains(byte))) else {
        return vec![path.to_path_buf()];
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.retain(|name| {
        let is_hidden = name.as_bytes().starts_with(b".") && !pattern.as_bytes().starts_with(b".");
        !is_hidden && glob::matches(pattern.as_bytes(), name.as_bytes())
    });
    names.sort();
    names.into_iter().map(|name| dir.join(name)).collect()
}

/// The parameter whose name is nearest to `name`, if it is near at all.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let names = PARAMS.iter().flat_map(|param| [param.name, param.alias]).filter(|known| !known.is_empty());
    let (distance, found) = names.map(|known| (edit_distance(name.as_bytes(), known.as_bytes()), known)).min()?;
    (distance <= (name.len() / 3).clamp(1, 4)).then_some(found)
}

/// How many bytes must be inserted, removed, replaced or swapped with their neighbour to make `b` of `a`.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + (a[i - 1] != b[j - 1]) as usize;
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        (before_last, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn run(args: &[&str]) -> Result<Settings, String> {
        match parse(args.iter().map(OsString::from), false) {
            Ok(Request::Run(settings)) => Ok(*settings),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }
    fn refusal(args: &[&str]) -> String {
        run(args).err().expect("refused")
    }
    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        let settings = run(&[]).unwrap();
        assert_eq!(settings.config.number(Id::PORT), 6379);
        assert_eq!(settings.config.words(Id::BIND), ["127.0.0.1", "-::1"]);
        assert!(settings.warnings.is_empty() && settings.file.is_none());
    }

    #[test]
    fn under_the_name_of_another_server_it_listens_everywhere() {
        for (program, expected) in [("/usr/bin/redis-server", true), ("valkey-server", true), ("./ringdb", false)] {
            assert_eq!(names_another_server(OsStr::new(program)), expected, "{program}");
        }
        let Ok(Request::Run(settings)) = parse([], true) else { panic!("it runs") };
        assert_eq!(settings.config.words(Id::BIND), ["*", "-::*"]);
        assert_eq!(settings.config.defaults().words(Id::BIND), ["*", "-::*"]);
    }

    #[test]
    fn options_win_over_the_file() {
        let file = file("# comment\n\nport 7000\n  timeout   5 \nrequirepass \"a \\x41\"\n");
        let settings = run(&[file.path().to_str().unwrap(), "--port", "7001", "--bind", "::1", "-127.0.0.1"]).unwrap();
        assert_eq!(settings.config.number(Id::PORT), 7001);
        assert_eq!(settings.config.number(Id::TIMEOUT), 5);
        assert_eq!(settings.config.text(Id::REQUIREPASS), b"a A");
        assert_eq!(settings.config.words(Id::BIND), ["::1", "-127.0.0.1"]);
    }

    #[test]
    fn values_are_taken_as_redis_takes_them() {
        let settings =
            run(&["--save", "", "--slowlog-log-slower-than", "-1", "--requirepass", "\"x y", "--port=0"]).unwrap();
        assert_eq!(settings.config.text(Id::REQUIREPASS), b"\"x y");
        assert_eq!(settings.config.number(Id::PORT), 0);
        run(&["--client-output-buffer-limit", "normal", "0", "0", "0"]).unwrap();
        run(&["--client-output-buffer-limit", "normal 0 0 0 pubsub 1mb 1mb 1"]).unwrap();
        assert_eq!(run(&["--repl-timeout", "5"]).unwrap().warnings.len(), 1);
    }

    #[test]
    fn options_have_the_forms_that_redis_knows() {
        let shown = |args: &[&str], name: &str| {
            let value = run(args).unwrap().config.get_one(Id::find(name.as_bytes()).unwrap());
            String::from_utf8(value).unwrap()
        };
        assert_eq!(shown(&["--maxmemory 700mb", "--hz 20"], "maxmemory"), "734003200");
        assert_eq!(shown(&["--hz '20'"], "hz"), "20");
        let title = ["--proc-title-template", "--save", "--save", "", "--hz", "20"];
        assert_eq!((shown(&title, "proc-title-template").as_str(), shown(&title, "save").as_str()), ("--save", ""));
        assert_eq!(shown(&["--hz", "20", "--save"], "save"), "");
        assert_eq!(shown(&["--save", "--hz", "20"], "hz"), "20");
        let signals = ["--shutdown-on-sigint", "nosave", "force", "now", "--shutdown-on-sigterm", "nosave force"];
        assert_eq!(shown(&signals, "shutdown-on-sigint"), "nosave now force");
        assert_eq!(shown(&signals, "shutdown-on-sigterm"), "nosave force");
        let file = file("hz 30");
        assert_eq!(shown(&[file.path().to_str().unwrap(), "loglevel", "verbose"], "loglevel"), "verbose");
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number_and_what_was_meant() {
        let file = file("timeout 5\n\nprot 7000\n");
        let text = refusal(&[file.path().to_str().unwrap()]);
        assert!(text.contains("at line 3\n>>> 'prot 7000'") && text.contains("did you mean 'port'?"), "{text}");
    }

    #[test]
    fn a_wrong_option_is_named_with_what_was_meant() {
        let text = refusal(&["--prot", "7000"]);
        assert!(text.contains("'prot \"7000\"'") && text.contains("did you mean 'port'?"), "{text}");
        let text = refusal(&["--port", "70000"]);
        assert!(text.contains(">>> 'port \"70000\"'\nargument must be between 0 and 65535 inclusive"), "{text}");
        assert!(refusal(&["--port"]).contains("'port'\nwrong number of arguments"));
        assert!(refusal(&["--port", "--bla", "--hz", "1"]).contains("'port \"--bla\"'\nargument couldn't be parsed"));
        assert!(refusal(&["--shutdown-on-sigint"]).contains("'shutdown-on-sigint'\nargument(s) must be one of"));
        assert!(refusal(&["--port", "1", "2"]).contains("wrong number of arguments"));
        assert!(refusal(&["--tls-port", "6390"]).contains("not implemented"));
        assert!(refusal(&["/nonexistent/x.conf"]).contains("can't open config file"));
    }

    #[test]
    fn lines_that_cannot_be_honoured_are_refused() {
        for line in [
            "rename-command nosuch x",
            "rename-command get",
            "user",
            "port \"1",
            "replicaof a 1",
            "replicaof a b",
            "include /nonexistent",
        ] {
            let file = file(line);
            assert!(run(&[file.path().to_str().unwrap()]).is_err(), "{line}");
        }
    }

    #[test]
    fn users_are_kept_for_later_and_each_is_named_once() {
        let file = file("user bob on >pw ~a* +get\nuser \"eve\"\n");
        let settings = run(&[file.path().to_str().unwrap(), "--user", "ann", "on", "-@all"]).unwrap();
        let names: Vec<_> = settings.users.iter().map(|user| user[0].as_slice()).collect();
        assert_eq!(names, [b"bob", b"eve", b"ann"]);
        assert_eq!(settings.users[2].len(), 3);
        assert!(refusal(&["--user", "foo", "--user", "foo"]).contains("'foo': Duplicate user found. A user can only"));
    }

    #[test]
    fn help_and_version_are_printed() {
        assert!(refusal(&["--version"]).contains("Redis server v=7.2.4"));
        let help = refusal(&["--help"]);
        assert!(help.contains("--port") && help.contains("--io-engine") && !help.contains("zset-max"), "{help}");
    }

    #[test]
    fn distances_count_swaps_once() {
        assert_eq!(edit_distance(b"prot", b"port"), 1);
        assert_eq!(edit_distance(b"", b"abc"), 3);
        assert_eq!(nearest("maxclient"), Some("maxclients"));
        assert_eq!(nearest("qqqqqq"), None);
    }
}
