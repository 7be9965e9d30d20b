//! What commands look like, from the reference itself: its COMMAND DOCS, read over the wire and cut down to what both know.
//!
//! So the generator grows by itself when ringdb learns a command, and a newer reference brings its newer options along.

use super::known::LEFT_OUT;
use crate::harness::{Client, Value};

/// One argument of a command, as documented.
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    /// A word that introduces the argument, or is all of it.
    pub token: Option<String>,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// The token is repeated with each of several.
    pub is_token_multiple: bool,
}

/// What is sent for an argument besides its token.
pub enum Kind {
    /// One word: `key`, `integer`, `string`, …; nothing for a `pure-token`.
    Word(String),
    OneOf(Vec<Argument>),
    Block(Vec<Argument>),
}

/// A command or a subcommand.
pub struct Fact {
    /// `container|word` or the name.
    pub name: String,
    pub group: String,
    pub arguments: Vec<Argument>,
}

/// The groups whose commands work on data.
pub const DATA: &[&str] =
    &["string", "bitmap", "generic", "list", "hash", "set", "sorted-set", "stream", "geo", "hyperloglog"];
/// The other groups whose commands are run.
const SERVICE: &[&str] = &["connection", "server"];

/// Every command of these groups that the reference documents and ringdb knows, but for those of `LEFT_OUT`.
pub fn read(reference: &mut Client, ours: &mut Client) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (name, doc) in pairs(&reference.run("COMMAND DOCS")) {
        let subcommands = field(&doc, "subcommands").map_or(Vec::new(), |subs| pairs(&subs));
        let group = field(&doc, "group").map_or(String::new(), |group| group.text());
        if !DATA.contains(&group.as_str()) && !SERVICE.contains(&group.as_str()) {
            continue;
        }
        let is_container = !subcommands.is_empty();
        for (name, doc) in subcommands.into_iter().chain((!is_container).then_some((name, doc))) {
            let fact = Fact { name, group: group.clone(), arguments: arguments(&doc) };
            let is_left_out = |(left_out, _): &(&str, &str)| match left_out.strip_prefix('*') {
                Some(end) => fact.name.ends_with(end),
                None => fact.name == *left_out || fact.name.starts_with(&format!("{left_out}|")),
            };
            if !LEFT_OUT.iter().any(is_left_out) && knows(ours, &fact.name) {
                facts.push(fact);
            }
        }
    }
    facts.sort_by(|a, b| a.name.cmp(&b.name)); // The reference's order is its hash table's.
    facts
}

fn knows(client: &mut Client, name: &str) -> bool {
    client.run(&format!("COMMAND INFO {name}")).items().iter().any(|info| *info != Value::Nil)
}

fn arguments(doc: &Value) -> Vec<Argument> {
    let list = field(doc, "arguments").map_or(Vec::new(), |list| list.items());
    // A walk in small steps takes them as the hash table lies: a SCAN, which has a cursor, takes all at once.
    let is_walk = list.iter().any(|doc| field(doc, "name").is_some_and(|name| name.text() == "cursor"));
    let mut arguments: Vec<Argument> = list.iter().map(argument).collect();
    arguments.iter_mut().filter(|own| is_walk && own.name == "count").for_each(|count| count.is_optional = false);
    arguments
}

fn argument(doc: &Value) -> Argument {
    let text = |name| field(doc, name).map(|value| value.text());
    let flags: Vec<String> = field(doc, "flags").map_or(Vec::new(), |f| f.items().iter().map(Value::text).collect());
    let has = |flag: &str| flags.iter().any(|own| own == flag);
    let kind = match text("type").unwrap_or_default().as_str() {
        "oneof" => Kind::OneOf(arguments(doc)),
        "block" => Kind::Block(arguments(doc)),
        word => Kind::Word(word.into()),
    };
    let name = text("name").unwrap_or_default();
    Argument {
        is_optional: has("optional"),
        name,
        kind,
        token: text("token"),
        is_multiple: has("multiple"),
        is_token_multiple: has("multiple_token"),
    }
}

/// Names and values of a map, which RESP2 sends as a list.
fn pairs(map: &Value) -> Vec<(String, Value)> {
    map.items().chunks(2).map(|pair| (pair[0].text(), pair[1].clone())).collect()
}

fn field(map: &Value, name: &str) -> Option<Value> {
    pairs(map).into_iter().find(|(own, _)| own == name).map(|(_, value)| value)
}
