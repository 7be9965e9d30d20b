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
use crate::base::glob;
use crate::cmd::table;
use crate::cmd::world::REDIS_VERSION;
use crate::resp::inline::split_owned;
use clap::{Arg, ArgAction, Command, builder::OsStringValueParser};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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
    /// The text of the error is clap's own.
    CommandLine,
    Option(String),
    File(PathBuf),
    Line {
        path: PathBuf,
        number: usize,
        text: String,
    },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::CommandLine => f.write_str(&self.problem),
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

/// Reads the command line (without the program's name) and the file that it names.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, OptionError> {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some((_, text)) = OTHER_MODES.iter().find(|(name, _)| args.first().is_some_and(|arg| arg == name)) {
        return Ok(Request::Print(text.to_string()));
    }
    let matches = match command().try_get_matches_from(regroup(args)) {
        Ok(matches) => matches,
        Err(error) if error.exit_code() == 0 => return Ok(Request::Print(error.to_string())),
        Err(error) => {
            return Err(OptionError { place: Place::CommandLine, problem: error.to_string().trim_end().to_string() });
        }
    };
    let mut settings = Settings { config: Config::new(), file: None, users: Vec::new(), warnings: Vec::new() };
    if let Some(file) = matches.get_one::<OsString>("FILE") {
        settings.read_file(Path::new(file), 0)?;
        settings.file = Some(std::path::absolute(file).unwrap_or_else(|_| file.into()));
    }
    for param in PARAMS {
        for value in matches.get_many::<OsString>(param.name).into_iter().flatten() {
            settings.apply_option(param.name, value)?;
        }
    }
    for value in matches.get_many::<OsString>("user").into_iter().flatten() {
        settings.apply_user(value)?;
    }
    Ok(Request::Run(Box::new(settings)))
}

/// Groups `--name value value` into `--name=value value`, quoted, so that a value may begin with a dash and an option may
/// have several: everything up to the next `--` belongs to it, as in Redis.
fn regroup(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut grouped: Vec<OsString> = vec!["ringdb".into()];
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        if !bytes.starts_with(b"--") {
            grouped.push(arg);
            continue;
        }
        let mut option = bytes.to_vec();
        let mut values = Vec::new();
        if let Some(at) = bytes.iter().position(|&byte| byte == b'=') {
            values.push(quoted(&bytes[at + 1..]));
            option.truncate(at);
        }
        while let Some(value) = args.next_if(|next| !next.as_bytes().starts_with(b"--")) {
            values.push(quoted(value.as_bytes()));
        }
        if values.is_empty() && option == b"--save" {
            values.push(b"\"\"".to_vec()); // Redis takes `--save` alone for `save ""`.
        }
        let has_value = !matches!(option.as_slice(), b"--help" | b"--version");
        if !values.is_empty() && has_value {
            option.push(b'=');
            option.extend(values.join(&b' '));
        }
        grouped.push(OsString::from_vec(option));
    }
    grouped
}

/// `word` so that `split_owned` gives it back as one word.
fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in word {
        match byte {
            b' ' => quoted.push(byte),
            _ if plain(&byte) => quoted.push(byte),
            _ => quoted.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    quoted.push(b'"');
    quoted
}

fn command() -> Command {
    let file = Arg::new("FILE")
        .value_parser(OsStringValueParser::new())
        .help("Configuration file in the form of redis.conf; '-' reads standard input");
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
        arg = arg.action(ArgAction::Append).num_args(1).require_equals(false).allow_hyphen_values(true);
        arg = arg.value_parser(OsStringValueParser::new()).hide(param.help.is_none());
        if let Some((value, line)) = param.help {
            let default =
                if param.default.is_empty() { String::new() } else { format!(" [default: {}]", param.default) };
            arg = arg.value_name(value).help(format!("{line}{default}"));
        }
        if !param.alias.is_empty() {
            arg = arg.alias(param.alias);
        }
        command = command.arg(arg);
    }
    let user = Arg::new("user").long("user").action(ArgAction::Append).num_args(1).allow_hyphen_values(true);
    let user = user.value_parser(OsStringValueParser::new()).value_name("NAME RULE…");
    let user = user.help("A user and its permissions, in the form of ACL LIST");
    command.arg(user).arg(help).arg(version)
}

impl Settings {
    fn apply_option(&mut self, name: &str, value: &OsStr) -> Result<(), OptionError> {
        let place = || Place::Option(format!("--{name} {}", value.to_string_lossy()));
        let words = split_owned(value.as_bytes())
            .map_err(|_| OptionError { place: place(), problem: "unbalanced quotes".into() })?;
        self.apply(name.as_bytes(), &words).map_err(|problem| OptionError { place: place(), problem })
    }
    fn apply_user(&mut self, value: &OsStr) -> Result<(), OptionError> {
        let failed =
            |problem| OptionError { place: Place::Option(format!("--user {}", value.to_string_lossy())), problem };
        let words = split_owned(value.as_bytes()).map_err(|_| failed("unbalanced quotes".into()))?;
        self.add_user(&words).map_err(failed)
    }
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
                self.apply_line(line, path, at + 1, depth)?;
            }
        }
        Ok(())
    }
    fn apply_line(&mut self, line: &[u8], path: &Path, number: usize, depth: usize) -> Result<(), OptionError> {
        let failed = |problem: String| {
            let text = String::from_utf8_lossy(line).into_owned();
            OptionError { place: Place::Line { path: path.to_path_buf(), number, text }, problem }
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
        match parse(args.iter().map(OsString::from)) {
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
    fn a_wrong_line_is_named_with_its_number_and_what_was_meant() {
        let file = file("timeout 5\n\nprot 7000\n");
        let text = refusal(&[file.path().to_str().unwrap()]);
        assert!(text.contains("at line 3\n>>> 'prot 7000'") && text.contains("did you mean 'port'?"), "{text}");
    }

    #[test]
    fn a_wrong_option_is_named_with_what_was_meant() {
        let text = refusal(&["--prot", "7000"]);
        assert!(text.contains("'--prot'") && text.contains("'--port'"), "{text}");
        let text = refusal(&["--port", "70000"]);
        assert!(text.contains(">>> '--port 70000'\nargument must be between 0 and 65535 inclusive"), "{text}");
        assert!(refusal(&["--port"]).contains("value is required"));
        assert!(refusal(&["--port", "1", "2"]).contains("wrong number of arguments"));
        assert!(refusal(&["--appendonly", "yes"]).contains("not implemented yet"));
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
