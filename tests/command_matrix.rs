//! The command table against the facts: `data/commands.tsv` lists arity, flags, ACL categories, keys and tips of every
//! command of Redis and Valkey.

use ringdb::cmd::command::{Begin, Command, Find, KeySpec, flag};
use ringdb::cmd::introspect::{CATEGORIES, FLAGS};
use ringdb::cmd::table;
use std::collections::{BTreeSet, HashMap};

/// Columns of a line of the matrix that a row must agree with.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    group: String,
    since: String,
    arity: String,
    flags: BTreeSet<String>,
    categories: BTreeSet<String>,
    keys: Vec<String>,
    key_flags: Vec<BTreeSet<String>>,
    deprecated: String,
    tips: BTreeSet<String>,
}

/// Commands of this server alone.
const OURS: &[&str] = &["CLIENT DURABILITY"];

/// Differences that are meant. Field, command, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

fn words(text: &str, separator: char) -> BTreeSet<String> {
    text.split(separator).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The matrix by command. The first source that knows a command counts: Redis, then Valkey.
fn matrix() -> HashMap<String, Facts> {
    let mut matrix = HashMap::new();
    for line in include_str!("data/commands.tsv").lines() {
        let mut columns: Vec<&str> = line.split('\t').collect();
        columns.resize(16, "");
        if !matches!(columns[0], "redis" | "valkey") {
            continue;
        }
        let facts = Facts {
            group: columns[4].replace('_', "-"), // COMMAND DOCS says `sorted-set`; the source file's name has a `_`.
            since: columns[5].to_string(),
            arity: columns[6].to_string(),
            flags: words(columns[7], '|'),
            categories: words(columns[8], '|'),
            keys: columns[9].split(';').filter(|spec| !spec.is_empty()).map(str::to_string).collect(),
            key_flags: columns[10].split(';').filter(|flags| !flags.is_empty()).map(|f| words(f, '+')).collect(),
            deprecated: columns[12].to_string(),
            tips: words(columns[15], '|'),
        };
        matrix.entry(columns[1].to_string()).or_insert(facts);
    }
    matrix
}

/// What a row says, in the words of the matrix. The matrix has no `movablekeys`: that follows from the keys.
fn facts_of(row: &Command) -> Facts {
    let shown = |bits: u32, names: &[(u32, &str)]| {
        names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name.to_string()).collect::<BTreeSet<_>>()
    };
    let hidden = [
        (flag::MAY_REPLICATE, "may_replicate"),
        (flag::SENTINEL, "sentinel"),
        (flag::PROTECTED, "protected"),
        (flag::TOUCHES_ARBITRARY_KEYS, "touches_arbitrary_keys"),
    ];
    let mut flags = shown(row.flags & !flag::MOVABLE_KEYS, FLAGS);
    flags.extend(shown(row.flags, &hidden));
    Facts {
        group: row.group.to_string(),
        since: row.since.to_string(),
        arity: row.arity.to_string(),
        flags,
        categories: shown(row.acl, CATEGORIES),
        keys: row.keys.iter().map(spec_text).collect(),
        key_flags: row.keys.iter().map(|spec| spec.flags.iter().map(|f| f.to_lowercase()).collect()).collect(),
        deprecated: row.deprecated.map_or(String::new(), |(since, _)| since.to_string()),
        tips: row.tips.iter().map(|tip| tip.to_lowercase()).collect(),
    }
}

fn spec_text(spec: &KeySpec) -> String {
    let begin = match spec.begin {
        Begin::Index(pos) => format!("i{pos}"),
        Begin::Keyword(word, from) => format!("kw({word}@{from})"),
        Begin::Unknown => "?".into(),
    };
    let find = match spec.find {
        Find::Range { last, step, limit } => format!("r({last},{step},{limit})"),
        Find::Count { num, first, step } => format!("n({num},{first},{step})"),
        Find::Unknown => "?".into(),
    };
    format!("{begin}:{find}")
}

#[test]
fn the_rows_agree_with_the_command_matrix() {
    let matrix = matrix();
    assert!(matrix.len() > 400, "the matrix was read");
    let mut differences = Vec::new();
    let mut compared = 0;
    for row in table::all() {
        let Some(expected) = matrix.get(&row.full_name.replace('|', " ").to_uppercase()) else { continue };
        compared += 1;
        let got = facts_of(row);
        let fields = [
            ("group", format!("{:?}", expected.group), format!("{:?}", got.group)),
            ("since", expected.since.clone(), got.since.clone()),
            ("arity", expected.arity.clone(), got.arity.clone()),
            ("flags", format!("{:?}", expected.flags), format!("{:?}", got.flags)),
            ("categories", format!("{:?}", expected.categories), format!("{:?}", got.categories)),
            ("keys", format!("{:?}", expected.keys), format!("{:?}", got.keys)),
            ("key flags", format!("{:?}", expected.key_flags), format!("{:?}", got.key_flags)),
            ("deprecated", expected.deprecated.clone(), got.deprecated.clone()),
            ("tips", format!("{:?}", expected.tips), format!("{:?}", got.tips)),
        ];
        for (field, expected, got) in fields {
            let is_meant = EXCEPTIONS.iter().any(|&(f, command, _)| f == field && command == row.full_name);
            if expected != got && !is_meant {
                differences.push(format!("{} {field}: expected {expected}, got {got}", row.full_name));
            }
        }
    }
    assert!(differences.is_empty(), "of {compared} rows:\n{}", differences.join("\n"));
}

#[test]
fn commands_outside_the_matrix_are_known_newer_ones() {
    let matrix = matrix();
    let newer = include_str!("data/commands.tsv").lines().filter(|line| line.contains("-newer\t"));
    let newer: BTreeSet<&str> = newer.filter_map(|line| line.split('\t').nth(1)).collect();
    for row in table::all() {
        let name = row.full_name.replace('|', " ").to_uppercase();
        let is_known = matrix.contains_key(&name) || newer.contains(name.as_str()) || OURS.contains(&name.as_str());
        assert!(is_known, "{name} exists nowhere");
    }
}
