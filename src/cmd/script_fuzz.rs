//! Whatever a client sends, a command ends in exactly one reply and never in a panic; one that fails has changed nothing.
//!
//!     script  = protocol line*        the protocol byte: even RESP2, odd RESP3
//!     line    = words as on an inline line, up to a line feed
//!
//! The first byte of a line may instead be 0x80 and up: it stands for a command of the table, so that a fuzzer reaches all
//! of them without learning to spell. `run` is what the fuzz target `commands` and the replay of its corpus call;
//! `make_script` makes scripts from a seed for the ordinary tests.

use super::command::{Command, Flow};
use super::testkit::{Client, Line, render};
use super::usage::{self, Arg, Kind};
use super::{docs, table};
use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::base::words::split_owned;
use crate::resp::args::Args;
use crate::resp::reply::Proto;

/// Commands that reach beyond the process, take as long as they are told, or have no reply when given twice.
const LEFT_OUT: &[&str] =
    &["acl|load", "acl|save", "bgrewriteaof", "bgsave", "config|rewrite", "debug", "monitor", "save", "shutdown"];
/// Parameters whose change does.
const PARAMETERS_LEFT_OUT: &[&str] = &[
    "dir",
    "dbfilename",
    "appendonly",
    "appenddirname",
    "aclfile",
    "logfile",
    "pidfile",
    "maxclients",
    "proto-max-bulk-len",
];
/// More lines than this find nothing that fewer do not.
const LINES_MAX: usize = 64;
/// LCS takes the product of two lengths; this much of it is enough.
const LCS_CELLS_MAX: i64 = 1_000_000;

/// Runs a script in a world of its own. Panics if a command does, or if a reply is none.
pub fn run(data: &[u8]) {
    let Some((&protocol, script)) = data.split_first() else { return };
    let mut client = Client::new();
    client.raw("CONFIG SET proto-max-bulk-len 1mb"); // Else one SETRANGE could take half a gigabyte.
    let mut is_silenced = false; // Since then replies may be missing.
    client.reply.proto = if protocol & 1 == 0 { Proto::Resp2 } else { Proto::Resp3 };
    for line in script.split(|&byte| byte == b'\n').take(LINES_MAX) {
        let Some(words) = words_of(line) else { continue };
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        if !words.is_empty() && is_fit(&mut client, &words) {
            run_one(&mut client, &words, &mut is_silenced);
        }
    }
}

/// The words of a line; a first byte from 0x80 on is a command's name.
fn words_of(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let Some((&first @ 0x80.., rest)) = line.split_first() else { return split_owned(line).ok() };
    let index = (first - 0x80) as usize + 0x80 * rest.first().map_or(0, |&byte| (byte == b'+') as usize);
    let row = table::by_index(index % table::row_count())?;
    let mut words: Vec<Vec<u8>> = row.full_name.split('|').map(|word| word.as_bytes().to_vec()).collect();
    words.extend(split_owned(rest).ok()?);
    Some(words)
}

fn is_fit(client: &mut Client, words: &[&[u8]]) -> bool {
    let line = Line::of(words);
    let Ok(row) = table::resolve(&Args::of(&line.parts())) else { return true };
    let names_a_file = |word: &&[u8]| PARAMETERS_LEFT_OUT.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
    match row.full_name {
        name if LEFT_OUT.contains(&name) => false,
        "config|set" => !words.iter().any(names_a_file),
        "lcs" => {
            let mut len = |key: &[u8]| {
                let (reply, _) = client.run(&Line::of(&[b"strlen", key]));
                parse_i64(reply.get(1..reply.len().saturating_sub(2)).unwrap_or_default()).unwrap_or(0)
            };
            len(words[1]) * len(words[2]) < LCS_CELLS_MAX
        }
        _ => true,
    }
}

fn run_one(client: &mut Client, words: &[&[u8]], is_silenced: &mut bool) {
    let dirty = client.effects.dirty;
    let (reply, flow) = client.run(&Line::of(words));
    let shown = || words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
    if reply.is_empty() {
        // CLIENT REPLY silences itself, and SKIP the command behind it.
        *is_silenced |=
            table::resolve(&Args::of(&Line::of(words).parts())).is_ok_and(|row| row.full_name == "client|reply");
        return assert!(flow != Flow::Done || *is_silenced, "no reply: {}", shown());
    }
    render(&reply); // Panics unless these are whole replies.
    assert!(reply[0] != b'-' || client.effects.dirty == dirty, "failed and changed something: {}", shown());
}

/// A script of `lines` commands: arguments as the documentation of the command has them, then some damage.
fn make_script(prng: &mut Prng, lines: usize) -> Vec<u8> {
    let rows: Vec<&Command> = table::all().filter(|row| row.subs.is_empty()).collect();
    let mut script = vec![prng.below(2) as u8];
    for _ in 0..lines {
        let row = rows[prng.below(rows.len() as u64) as usize];
        let mut words: Vec<Vec<u8>> = row.full_name.split('|').map(|word| word.as_bytes().to_vec()).collect();
        let usage = docs::of(row).map_or(Vec::new(), |doc| usage::parse(doc.usage));
        usage.iter().for_each(|arg| expand(arg, prng, &mut words));
        if prng.chance(1, 4) {
            let at = prng.below(words.len() as u64 + 1) as usize;
            words.insert(at, odd_word(prng));
        }
        if prng.chance(1, 8) {
            words.truncate(1 + prng.below(words.len() as u64) as usize);
        }
        for word in words {
            script.push(b'"');
            word.iter().for_each(|byte| script.extend(format!("\\x{byte:02x}").bytes()));
            script.extend(b"\" ");
        }
        script.push(b'\n');
    }
    script
}

/// Appends words for one documented argument.
fn expand(arg: &Arg, prng: &mut Prng, words: &mut Vec<Vec<u8>>) {
    if arg.is_optional && prng.chance(1, 2) {
        return;
    }
    for _ in 0..if arg.is_multiple { 1 + prng.below(4) } else { 1 } {
        words.extend(arg.token.map(|token| token.as_bytes().to_vec()));
        match &arg.kind {
            Kind::Word("pure-token") => {}
            Kind::Word("key") => words.push(vec![b'a' + prng.below(3) as u8]),
            Kind::Word(_) => words.push(odd_word(prng)),
            Kind::OneOf(choices) => expand(&choices[prng.below(choices.len() as u64) as usize], prng, words),
            Kind::Block(args) => args.iter().for_each(|arg| expand(arg, prng, words)),
        }
    }
}

fn odd_word(prng: &mut Prng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "0",
        "1",
        "-1",
        "2",
        "7",
        "63",
        "64",
        "100",
        "1000000",
        "4294967296",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "1.5",
        "1e300",
        "nan",
        "inf",
        "-0",
        "01",
        " 1",
        "",
        "*",
        "[",
        "\\",
        "a",
        "b",
        "c",
        "u8",
        "i64",
        "u64",
        "#1",
        "#9223372036854775807",
        "on",
        "off",
        "yes",
        "default",
        "|",
        "@all",
        "+get|",
        "~*",
        "%RW~",
        "(",
        ")",
        "\0\r\n",
        "get",
        "help",
        "string",
    ];
    match prng.below(12) {
        0 => vec![b'x'; prng.below(5000) as usize],
        1 => (0..prng.below(20)).map(|_| prng.next_u64() as u8).collect(),
        2 => prng.next_u64().to_string().into_bytes(),
        _ => WORDS[prng.below(WORDS.len() as u64) as usize].as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn no_random_command_panics_and_failed_ones_change_nothing() {
        let mut prng = Prng::seeded(11);
        (0..300).for_each(|_| run(&make_script(&mut prng, 40)));
    }

    #[test]
    fn scripts_of_the_corpus_run_and_so_do_damaged_ones() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/commands");
        let files = std::fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("a file").path());
        let mut prng = Prng::seeded(3);
        for path in files {
            let script = std::fs::read(&path).expect("a file of the corpus");
            println!("{}", path.display()); // Shown if the script panics.
            run(&script);
            for _ in 0..10 {
                let mut damaged = script.clone();
                damaged[prng.below(script.len() as u64) as usize] ^= 1 << prng.below(8);
                run(&damaged);
            }
        }
    }
}
