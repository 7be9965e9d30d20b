//! Usage lines: the arguments of a command in a small grammar, turned into the tree that COMMAND DOCS replies.
//!
//! ```text
//! alternatives = sequence ("|" sequence)*         sequence = item*
//! item  = ( "[" alternatives "]" | "(" alternatives ")" | TOKEN [item] | name ) ["..."]
//! ```
//! `[…]` is optional, `…` repeats. A word in capitals is sent as it stands; if a name or a group follows it, it introduces
//! that. The type of an argument follows from its name.

/// What an argument is, in the words of COMMAND DOCS.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// One word of this type.
    Word(&'static str),
    OneOf(Vec<Arg>),
    Block(Vec<Arg>),
}

/// One argument of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Arg {
    pub name: String,
    pub kind: Kind,
    /// A word that introduces the argument, or is all of it.
    pub token: Option<&'static str>,
    pub is_optional: bool,
    pub is_multiple: bool,
}

impl Arg {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Arg { name: name.into(), kind, token: None, is_optional: false, is_multiple: false }
    }
    /// The fewest words a client sends for it.
    pub fn words_min(&self) -> usize {
        let own = match &self.kind {
            _ if self.is_optional => return 0,
            Kind::Word("pure-token") => 0, // Its token is counted below.
            Kind::Word(_) => 1,
            Kind::OneOf(choices) => choices.iter().map(Arg::words_min).min().unwrap_or(0),
            Kind::Block(args) => args.iter().map(Arg::words_min).sum(),
        };
        own + self.token.is_some() as usize
    }
}

/// Reads a usage line. Panics on a wrong one: they are part of the program, and a test reads them all.
pub fn parse(usage: &'static str) -> Vec<Arg> {
    let mut words = tokens(usage);
    words.reverse(); // So that the next one is popped.
    let args = sequence(&mut words);
    assert!(words.is_empty(), "usage line with a bracket too many: {usage}");
    args
}

/// Words and brackets. A bracket needs no space around it.
fn tokens(usage: &'static str) -> Vec<&'static str> {
    let mut found = Vec::new();
    for mut word in usage.split(' ').filter(|word| !word.is_empty()) {
        while let Some(at) = word.find(['[', ']', '(', ')', '|']) {
            if at > 0 {
                found.push(&word[..at]);
            }
            found.push(&word[at..at + 1]);
            word = &word[at + 1..];
        }
        if !word.is_empty() {
            found.push(word);
        }
    }
    found
}

fn sequence(words: &mut Vec<&'static str>) -> Vec<Arg> {
    let mut args = Vec::new();
    while let Some(&word) = words.last() {
        if matches!(word, "]" | ")" | "|") {
            break;
        }
        let mut arg = item(words);
        if words.last() == Some(&"...") {
            words.pop();
            arg.is_multiple = true;
        }
        args.push(arg);
    }
    args
}

fn item(words: &mut Vec<&'static str>) -> Arg {
    let word = words.pop().expect("the caller has seen a word");
    match word {
        "[" => {
            let mut arg = group(words, "]");
            arg.is_optional = true;
            arg
        }
        "(" => group(words, ")"),
        token if token.starts_with(|first: char| first.is_ascii_uppercase()) => introduced(token, words),
        name => Arg::new(name, Kind::Word(type_of(name))),
    }
}

/// A token with the name or group it introduces, or a token of its own.
fn introduced(token: &'static str, words: &mut Vec<&'static str>) -> Arg {
    let follows = words.last().is_some_and(|next| *next == "(" || next.starts_with(|c: char| c.is_ascii_lowercase()));
    let mut arg = if follows { item(words) } else { Arg::new(token.to_ascii_lowercase(), Kind::Word("pure-token")) };
    arg.token = Some(token);
    arg
}

/// What stands between brackets: one argument, several in a row, or a choice.
fn group(words: &mut Vec<&'static str>, close: &str) -> Arg {
    let mut choices = Vec::new();
    loop {
        let mut args = sequence(words);
        choices.push(if args.len() == 1 { args.remove(0) } else { named_block(args) });
        match words.pop() {
            Some("|") => {}
            Some(end) if end == close => break,
            other => panic!("usage line: {other:?} instead of {close}"),
        }
    }
    if choices.len() == 1 {
        return choices.remove(0);
    }
    let name = choices.iter().map(|choice| choice.name.as_str()).collect::<Vec<_>>().join("-or-");
    Arg::new(name, Kind::OneOf(choices))
}

fn named_block(args: Vec<Arg>) -> Arg {
    let name = args.iter().map(|arg| arg.name.as_str()).collect::<Vec<_>>().join("-");
    Arg::new(name, Kind::Block(args))
}

/// Redis's type of an argument with this name.
fn type_of(name: &str) -> &'static str {
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" => "key",
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        "amount" => "double",
        "seconds" | "milliseconds" | "count" | "offset" | "index" | "index1" | "index2" | "start" | "end" | "bit"
        | "increment" | "decrement" | "numkeys" | "cursor" | "min-match-len" | "destination-db" | "db"
        | "numreplicas" | "timeout" | "client-id" | "version" | "protover" | "maxage" => "integer",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: `name:type`, token before it, `?` optional, `*` multiple.
    fn shown(args: &[Arg]) -> String {
        let one = |arg: &Arg| {
            let token = arg.token.map_or(String::new(), |token| format!("{token}="));
            let kind = match &arg.kind {
                Kind::Word(kind) => format!("{}:{kind}", arg.name),
                Kind::OneOf(choices) => format!("<{}>", shown(choices)),
                Kind::Block(args) => format!("({})", shown(args)),
            };
            let marks = [(arg.is_optional, "?"), (arg.is_multiple, "*")];
            let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
            format!("{token}{kind}{marks}")
        };
        args.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn usage_lines_become_trees() {
        assert_eq!(shown(&parse("key [key ...]")), "key:key key:key?*");
        assert_eq!(
            shown(&parse("key [EX seconds|PERSIST]")),
            "key:key <EX=seconds:integer PERSIST=persist:pure-token>?"
        );
        assert_eq!(shown(&parse("(key value) ...")), "(key:key value:string)*");
        assert_eq!(shown(&parse("[OVERFLOW (WRAP|FAIL)]")), "OVERFLOW=<WRAP=wrap:pure-token FAIL=fail:pure-token>?");
        assert_eq!(shown(&parse("")), "");
    }

    #[test]
    fn the_fewest_words_are_counted() {
        let words = |usage| parse(usage).iter().map(Arg::words_min).sum::<usize>();
        assert_eq!(words("key (GET type offset|OVERFLOW mode) ..."), 3);
        assert_eq!(words("cursor [MATCH pattern] [COUNT count]"), 1);
    }
}
