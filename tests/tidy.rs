//! The house rules that a program can check, read from the sources as text.
//!
//! - A module imports only from lower layers; siblings of one layer do not import each other.
//! - `std::sync::atomic` only behind `base/sync.rs`, `unsafe` only in the rooms that are meant for it.
//! - Every file begins with a header that tells its idea; nothing unfinished is left behind.
//! - Every command row has a scenario that runs it.
//!
//! A check is a function from sources to complaints, so that planted offences can be given to it: see the tests at the end.

use std::collections::BTreeSet;
use std::path::Path;

/// The rooms of `src` from the bottom up. Rooms of one line are siblings.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["value"],
    &["ring", "resp", "table", "admin"],
    &["keyspace"],
    &["txn", "pubsub", "tracking", "journal", "persist", "script"],
    &["cmd"],
    &["exec"],
    &["event_loop"],
    &["server"],
];

/// Files and folders that may hold `unsafe`. Everything else is under `#![forbid(unsafe_code)]`.
const UNSAFE_ROOMS: &[&str] = &[
    "base/argv.rs",
    "base/sync.rs",
    "base/crash.rs",
    "base/fold.rs",
    "base/heap.rs",
    "base/prefetch.rs",
    "base/zone.rs",
    "ring/",
    "table/",
    "table.rs",
    "resp/parse.rs",
    "script/state.rs",
    "script/native.rs",
    "script/run.rs",
    "script/interp.rs",
    "value/block.rs",
    "value/object.rs",
    "value/zset/member.rs",
    "value/zset/large.rs",
];

struct Source {
    /// Relative to the project's root.
    path: String,
    text: String,
}

/// The `.rs` files below `folder`.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a folder entry").path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "rs" => {
                    found.push(Source { path: relative(root, &path), text: read(&path) })
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines with their numbers, without comments.
fn code(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let lines = source.text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
}

/// The room of a file in `src`; None for `main.rs`, `lib.rs` and programs, which may use anything.
fn room(path: &str) -> Option<&str> {
    let (room, _) = path.strip_prefix("src/")?.split_once('/')?;
    (room != "bin").then_some(room)
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Names behind `crate::` or `ringdb::` anywhere in the code, also in groups: `use crate::{base::clock, cmd}`.
fn imports(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(group) => group.trim_end_matches(['}', ';', ' ']).split(',').collect(),
            None => vec![rest],
        };
        let end = |name: &str| name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        found.extend(names.into_iter().map(str::trim).map(|name| &name[..end(name)]).filter(|name| !name.is_empty()));
    }
    found
}

fn import_complaints(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources {
        let Some(from) = room(&source.path) else { continue };
        let Some(from_layer) = layer(from) else {
            complaints.push(format!("{}: the room `{from}` has no layer: name it in tests/tidy.rs", source.path));
            continue;
        };
        for (number, line) in code(source) {
            for to in imports(line).into_iter().filter(|&to| to != from) {
                let Some(to_layer) = layer(to) else { continue };
                if to_layer >= from_layer {
                    let arrow = if to_layer > from_layer { "upward" } else { "sideways" };
                    complaints.push(format!(
                        "{}:{number}: {from} ({from_layer}) imports {arrow} from {to} ({to_layer})",
                        source.path
                    ));
                }
            }
        }
    }
    complaints
}

fn atomics_complaints(sources: &[Source]) -> Vec<String> {
    let banned = |line: &str| line.contains("std::sync::atomic") || line.contains("core::sync::atomic");
    let outside = sources.iter().filter(|source| source.path != "src/base/sync.rs");
    let lines = outside.flat_map(|source| code(source).filter(|(_, line)| banned(line)).map(move |(n, _)| (source, n)));
    lines
        .map(|(source, n)| {
            format!("{}:{n}: atomics come from base/sync.rs, so that models can replace them", source.path)
        })
        .collect()
}

/// `unsafe` in a wrong place, and modules that do not forbid it. A file is covered by its own attribute or by that of a
/// `mod.rs` above it.
fn unsafe_complaints(sources: &[Source]) -> Vec<String> {
    let forbids = |path: &str| {
        sources.iter().any(|source| source.path == path && source.text.contains("#![forbid(unsafe_code)]"))
    };
    let mut complaints = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix("src/") else { continue };
        if UNSAFE_ROOMS.iter().any(|room| inside == *room || room.ends_with('/') && inside.starts_with(room)) {
            continue;
        }
        let uses = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        complaints.extend(
            code(source)
                .filter(|(_, line)| uses(line))
                .map(|(n, _)| format!("{}:{n}: unsafe does not belong here", source.path)),
        );
        let mut above = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut is_covered = forbids(&source.path);
        while !is_covered && !above.is_empty() {
            is_covered = forbids(&format!("{above}/mod.rs"));
            above = above.rsplit_once('/').map_or("", |(folder, _)| folder);
        }
        // These stand above rooms with `unsafe`, and the attribute would reach into them.
        let is_root = matches!(
            inside,
            "lib.rs"
                | "main.rs"
                | "base/mod.rs"
                | "resp/mod.rs"
                | "script/mod.rs"
                | "value/mod.rs"
                | "value/zset/mod.rs"
        );
        if !is_root && !is_covered {
            complaints.push(format!("{}: open with #![forbid(unsafe_code)]", source.path));
        }
    }
    complaints
}

fn header_complaints(sources: &[Source]) -> Vec<String> {
    let without = sources.iter().filter(|source| !source.text.starts_with("//!"));
    without.map(|source| format!("{}: a file begins with its idea (`//!`)", source.path)).collect()
}

fn unfinished_complaints(sources: &[Source]) -> Vec<String> {
    // In two parts, or this file would complain about itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    let mut complaints = Vec::new();
    for source in sources {
        for (at, line) in source.text.lines().enumerate() {
            complaints.extend(
                marks
                    .iter()
                    .filter(|mark| line.contains(**mark))
                    .map(|mark| format!("{}:{}: {mark}", source.path, at + 1)),
            );
        }
    }
    complaints
}

/// Rows of the command table for which no line of `scenarios` runs the command: `NAME … => reply`, or `NAME` in quotes.
fn scenario_complaints(rows: &[&str], scenarios: &[Source]) -> Vec<String> {
    let mut run = BTreeSet::new();
    for line in scenarios.iter().flat_map(|source| source.text.lines()) {
        let line = line.trim();
        let line = line.strip_prefix('@').and_then(|line| line.split_once(' ')).map_or(line, |(_, line)| line);
        let start = line.split('"').nth(1).unwrap_or(line);
        for text in [line, start] {
            let mut words = text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| !word.is_empty());
            let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if first.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '-')) {
                run.insert(first.to_lowercase());
                run.insert(format!("{first}|{second}").to_lowercase());
            }
        }
    }
    let missing = rows.iter().filter(|row| !run.contains(**row));
    missing.map(|row| format!("{row}: no scenario in tests/ runs it")).collect()
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn modules_import_only_from_lower_layers() {
    none(import_complaints(&sources("src")));
}

#[test]
fn atomics_come_through_one_door() {
    none(atomics_complaints(&sources("src")));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    none(unsafe_complaints(&sources("src")));
}

#[test]
fn every_file_begins_with_its_idea() {
    for folder in ["src", "tests", "loom-tests", "bench"] {
        none(header_complaints(&sources(folder)));
    }
}

#[test]
fn nothing_unfinished_is_left_behind() {
    for folder in ["src", "tests", "loom-tests", "bench"] {
        none(unfinished_complaints(&sources(folder)));
    }
}

#[test]
fn every_command_has_a_scenario() {
    let rows: Vec<&str> =
        ringdb::cmd::table::all().filter(|row| row.subs.is_empty()).map(|row| row.full_name).collect();
    assert!(rows.len() > 50, "the rows were read");
    none(scenario_complaints(&rows, &sources("tests/black_box")));
}

fn planted(path: &str, text: &str) -> Vec<Source> {
    vec![Source { path: path.into(), text: text.into() }]
}

#[test]
fn a_planted_upward_or_sideways_import_is_noticed() {
    let caught = |path, text| !import_complaints(&planted(path, text)).is_empty();
    assert!(caught("src/table/mod.rs", "use crate::cmd::command::Command;"));
    assert!(caught("src/table/probe.rs", "use crate::{base::clock, keyspace};"));
    assert!(caught("src/resp/parse.rs", "use crate::table::Table;"));
    assert!(caught("src/base/num.rs", "    let x = crate::resp::error::ReplyError::Syntax;"));
    assert!(caught("src/base/num.rs", "pub(in crate::base) fn f() -> crate::admin::Config {}"));
    assert!(caught("src/cellar/mod.rs", ""), "a room without a layer");
    assert!(!caught("src/cmd/mod.rs", "use crate::table::Table; use crate::base::num;"));
    assert!(!caught("src/table/mod.rs", "use crate::table::word::Word; // not crate::cmd"));
}

#[test]
fn other_planted_offences_are_noticed() {
    assert_eq!(atomics_complaints(&planted("src/cmd/x.rs", "use std::sync::atomic::AtomicU64;")).len(), 1);
    assert_eq!(
        unsafe_complaints(&planted("src/cmd/x.rs", "#![forbid(unsafe_code)]\nfn f() { unsafe { g() } }")).len(),
        1
    );
    assert_eq!(unsafe_complaints(&planted("src/cmd/x.rs", "fn f() {}")).len(), 1);
    assert_eq!(unsafe_complaints(&planted("src/table/x.rs", "fn f() { unsafe { g() } }")).len(), 0);
    assert_eq!(header_complaints(&planted("src/cmd/x.rs", "use std::fmt;")).len(), 1);
    assert_eq!(unfinished_complaints(&planted("src/cmd/x.rs", &format!("// {}: later", concat!("TO", "DO")))).len(), 1);
}

#[test]
fn a_row_without_a_scenario_is_noticed() {
    let scenarios =
        planted("tests/black_box/x.rs", "SET k v => OK\n  @b CLIENT GETNAME => (nil)\n client.run(\"QUIT\");\n");
    assert_eq!(scenario_complaints(&["set", "client|getname", "quit"], &scenarios), [""; 0]);
    assert_eq!(scenario_complaints(&["get", "client|id"], &scenarios).len(), 2);
}
