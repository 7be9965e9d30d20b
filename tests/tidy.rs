//! The house rules that a compiler does not check: layers point downward, atomics come through one door, unsafe code stays
//! in its rooms, every file says what it is, every command has a scenario.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `src/` with their layers; an import goes to a smaller number or stays inside its module.
const LAYERS: &[(&str, u32)] = &[
    ("base", 0),
    ("ring", 1),
    ("resp", 1),
    ("table", 1),
    ("value", 1),
    ("admin", 1),
    ("keyspace", 2),
    ("cmd", 4),
    ("exec", 5),
    ("event_loop", 6),
    ("server", 7),
    ("main", 7),
    ("lib", 7),
];

/// Where unsafe code may stand; all other top modules (or their files) forbid it.
const UNSAFE_ROOMS: &[&str] =
    &["base/sync.rs", "base/heap.rs", "ring/", "table/", "resp/parse.rs", "value/listpack.rs"];

struct Source {
    /// Relative to `src/`.
    path: String,
    text: String,
}

fn rust_files(root: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root).expect("a readable tree") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).expect("readable source"),
    };
    files.into_iter().map(read).collect()
}

fn module(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

fn layer(module: &str) -> Option<u32> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The modules that a line imports or names by `crate::` (several with braces).
fn targets(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1) {
        let names = part.strip_prefix('{').map_or(part, |group| group.split('}').next().unwrap_or(group));
        let names = if part.starts_with('{') { names.split(',').collect() } else { vec![names] };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !name.is_empty() {
                found.push(name);
            }
        }
    }
    found
}

/// One sentence per import that does not point downward.
fn upward_imports(source: &Source) -> Vec<String> {
    let from = module(&source.path);
    let Some(own) = layer(from) else { return vec![format!("{}: a module without a layer", source.path)] };
    let mut faults = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for target in targets(line) {
            let allowed = target == from || layer(&target).is_none_or(|other| other < own);
            if !allowed && own < 7 {
                faults.push(format!("{}:{}: {from} must not import {target}", source.path, number + 1));
            }
        }
    }
    faults
}

fn no_faults(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn imports_point_downward() {
    no_faults(sources().iter().flat_map(upward_imports).collect());
}

#[test]
fn an_upward_or_sideways_import_is_caught() {
    let planted = |path: &str, text: &str| upward_imports(&Source { path: path.into(), text: text.into() }).len();
    assert_eq!(planted("table/mod.rs", "use crate::keyspace::Keys;"), 1);
    assert_eq!(planted("table/mod.rs", "use crate::{base::hash, resp::args};"), 1);
    assert_eq!(planted("cmd/key.rs", "use crate::exec::gate;\nuse crate::event_loop;"), 2);
    assert_eq!(planted("cmd/key.rs", "use crate::keyspace::Keys; // crate::server"), 0);
}

#[test]
fn atomics_come_through_base_sync() {
    let offends = |source: &Source| source.path != "base/sync.rs" && !source.path.ends_with("_fuzz.rs");
    let faults = sources().into_iter().filter(offends).flat_map(|source| {
        let shipped = source.text.split("#[cfg(test)]").next().unwrap_or("");
        let bad = shipped.lines().filter(|line| line.contains("std::sync::atomic"));
        bad.map(|line| format!("{}: {line}", source.path)).collect::<Vec<_>>()
    });
    no_faults(faults.collect());
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut faults = Vec::new();
    let sources = sources();
    for source in &sources {
        let may = UNSAFE_ROOMS.iter().any(|room| source.path.starts_with(room)) || source.path == "main.rs";
        let has = source.text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or("");
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        if has && !may {
            faults.push(format!("{}: unsafe code outside its rooms", source.path));
        }
    }
    for top in ["admin", "keyspace", "cmd", "exec", "event_loop", "server", "value"] {
        let door = sources.iter().find(|source| source.path == format!("{top}/mod.rs"));
        if door.is_none_or(|door| !door.text.contains("#![forbid(unsafe_code)]")) {
            faults.push(format!("{top}/mod.rs: does not forbid unsafe code"));
        }
    }
    no_faults(faults);
}

#[test]
fn every_file_says_what_lives_there() {
    let silent = |source: &&Source| !source.text.trim_start().starts_with("//!");
    let sources = sources();
    no_faults(sources.iter().filter(silent).map(|source| format!("{}: no header", source.path)).collect());
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    let faults = sources().into_iter().flat_map(|source| {
        let lines = source.text.lines().enumerate();
        let marked = lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)));
        marked.map(|(number, line)| format!("{}:{}: {line}", source.path, number + 1)).collect::<Vec<_>>()
    });
    no_faults(faults.collect());
}
