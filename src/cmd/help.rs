//! The replies of all HELP subcommands: usage lines, each with its meaning indented below.

use crate::resp::reply::Reply;

/// Writes the help of a container command. `entries` are usage and meaning; several lines of meaning are cut by `\n`.
pub fn help(reply: &mut Reply, container: &str, entries: &[(&str, &str)]) {
    let mut lines = vec![format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for (usage, meaning) in entries.iter().chain(&[("HELP", "Print this help.")]) {
        lines.push(usage.to_string());
        lines.extend(meaning.lines().map(|line| format!("    {line}")));
    }
    reply.array(lines.len());
    lines.iter().for_each(|line| reply.simple(line));
}
