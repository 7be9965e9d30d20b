//! Usage lines: the arguments of a command in a small grammar, turned into the tree that COMMAND DOCS replies.
//!
//! ```text
//! key value [condition: NX|XX]@2.6.12 [GET]@6.2.0 [expiration: EX seconds|KEEPTTL]
//!
//! alternatives = [name ":"] sequence ("|" sequence)*         sequence = item*
//! item  = ( "[" alternatives "]" | "(" alternatives ")" | TOKEN [item] | name ["=" type] ) mark*
//! mark  = "..." | "...+" | "@" since | "!" deprecated
//! ```
//! `[…]` is optional, `...` repeats, `...+` repeats with its token. A word in capitals or in single quotes is sent as it stands; if
//! a name or a group follows it, it introduces that (`(TOKEN) name` when it shall not). A group's name stands before a
//! colon; of a group with one word in it, that word is what is shown. The type of an argument follows from its name, unless
//! it is given.

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
    /// What a usage line shows instead of the name.
    pub display: String,
    pub kind: Kind,
    /// A word that introduces the argument, or is all of it.
    pub token: Option<&'static str>,
    /// Versions that brought it and advised against it.
    pub since: Option<&'static str>,
    pub deprecated_since: Option<&'static str>,
    pub is_optional: bool,
    pub is_multiple: bool,
    /// The token is repeated with each of several.
    pub is_token_multiple: bool,
}

impl Arg {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        let name = name.into();
        Arg {
            display: name.clone(),
            name,
            kind,
            token: None,
            since: None,
            deprecated_since: None,
            is_optional: false,
            is_multiple: false,
            is_token_multiple: false,
        }
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
    for mut word in usage.split_ascii_whitespace() {
        while let Some(at) = word.find(['[', ']', '(', ')', '|']) {
            split_marks(&word[..at], &mut found);
            found.push(&word[at..at + 1]);
            word = &word[at + 1..];
        }
        split_marks(word, &mut found);
    }
    found
}

/// `name@1.0!2.0` is the name and its two marks.
fn split_marks(mut word: &'static str, found: &mut Vec<&'static str>) {
    while let Some(at) = word.char_indices().skip(1).find(|(_, c)| matches!(c, '@' | '!')).map(|(at, _)| at) {
        found.push(&word[..at]);
        word = &word[at..];
    }
    if !word.is_empty() {
        found.push(word);
    }
}

fn sequence(words: &mut Vec<&'static str>) -> Vec<Arg> {
    let mut args = Vec::new();
    while let Some(&word) = words.last() {
        if matches!(word, "]" | ")" | "|") {
            break;
        }
        let mut arg = item(words);
        while words.last().is_some_and(|word| mark(&mut arg, word)) {
            words.pop();
        }
        args.push(arg);
    }
    args
}

/// Applies a mark; false if it is none.
fn mark(arg: &mut Arg, word: &'static str) -> bool {
    match word.as_bytes()[0] {
        b'@' => arg.since = Some(&word[1..]),
        b'!' => arg.deprecated_since = Some(&word[1..]),
        b'.' => {
            arg.is_multiple = true;
            arg.is_token_multiple = word.ends_with('+');
        }
        _ => return false,
    }
    true
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
        token if is_token(token) => introduced(token.trim_matches('\''), words),
        name => {
            let (name, kind) = name.split_once('=').unwrap_or_else(|| (name, type_of(name)));
            Arg::new(name, Kind::Word(kind))
        }
    }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase() || first == '\'')
}

/// A token with the name or group it introduces, or a token of its own.
fn introduced(token: &'static str, words: &mut Vec<&'static str>) -> Arg {
    let follows = words.last().is_some_and(|next| *next == "(" || next.starts_with(|c: char| c.is_ascii_lowercase()));
    let mut arg = if follows { item(words) } else { Arg::new(name_of(token), Kind::Word("pure-token")) };
    arg.token = Some(token);
    arg
}

/// The name of an argument that is one fixed word. Source: Redis's names for its signs.
fn name_of(token: &str) -> String {
    match token {
        "=" => "equal".into(),
        "~" => "approximately".into(),
        "*" => "auto-id".into(),
        "$" => "new-id".into(),
        "\"\"" => "empty-string".into(),
        word => word.to_ascii_lowercase(),
    }
}

/// What stands between brackets: one argument, several in a row, or a choice.
fn group(words: &mut Vec<&'static str>, close: &str) -> Arg {
    let label = words.last().and_then(|word| word.strip_suffix(':'));
    if label.is_some() {
        words.pop();
    }
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
    let mut arg = if choices.len() == 1 { choices.remove(0) } else { named_choice(choices) };
    if let Some(label) = label {
        arg.name = label.to_string();
    }
    arg
}

fn joined(args: &[Arg], by: &str) -> String {
    args.iter().map(|arg| arg.name.as_str()).collect::<Vec<_>>().join(by)
}

fn named_block(args: Vec<Arg>) -> Arg {
    Arg::new(joined(&args, "-"), Kind::Block(args))
}

fn named_choice(choices: Vec<Arg>) -> Arg {
    Arg::new(joined(&choices, "-or-"), Kind::OneOf(choices))
}

/// Redis's type of an argument with this name.
fn type_of(name: &str) -> &'static str {
    match name {
        "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey" => "key",
        "pattern" => "pattern",
        "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
        "bit" | "bits" | "client-id" | "count" | "cursor" | "db" | "decrement" | "destination-db" | "end"
        | "end-slot" | "increment" | "index" | "index1" | "index2" | "limit" | "maxage" | "milliseconds"
        | "min-match-len" | "numkeys" | "numlocal" | "numreplicas" | "offset" | "port" | "protover" | "seconds"
        | "slot" | "start" | "start-slot" | "timeout" | "ttl" | "version" => "integer",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: `name:type`, token before it, `?` optional, `*` multiple, `+` with its token, `@since`.
    fn shown(args: &[Arg]) -> String {
        let one = |arg: &Arg| {
            let token = arg.token.map_or(String::new(), |token| format!("{token}="));
            let label = if arg.name == arg.display { String::new() } else { format!("{}: ", arg.name) };
            let kind = match &arg.kind {
                Kind::Word(kind) => format!("{label}{}:{kind}", arg.display),
                Kind::OneOf(choices) => format!("<{label}{}>", shown(choices)),
                Kind::Block(args) => format!("({label}{})", shown(args)),
            };
            let marks = [(arg.is_optional, "?"), (arg.is_multiple, "*"), (arg.is_token_multiple, "+")];
            let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
            format!("{token}{kind}{marks}{}", arg.since.map_or(String::new(), |since| format!("@{since}")))
        };
        args.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn usage_lines_become_trees() {
        for (usage, tree) in [
            ("key [key ...]", "key:key key:key?*"),
            ("key [EX seconds|PERSIST]", "key:key <EX=seconds:integer PERSIST=persist:pure-token>?"),
            ("(key value) ...", "(key:key value:string)*"),
            ("[OVERFLOW (WRAP|FAIL)]", "OVERFLOW=<WRAP=wrap:pure-token FAIL=fail:pure-token>?"),
            ("", ""),
        ] {
            assert_eq!(shown(&parse(usage)), tree);
        }
    }

    #[test]
    fn groups_have_names_and_arguments_have_marks() {
        for (usage, tree) in [
            ("[mode: ON|OFF]@7.0.0", "<mode: ON=on:pure-token OFF=off:pure-token>?@7.0.0"),
            ("(addr: ip:port)!2.8.12", "addr: ip:port:string"),
            ("[GET (pattern: path)] ...+", "GET=pattern: path:string?*+"),
            ("value=double\n    ('lib-name' name)", "value:double lib-name=name:string"),
            ("[GET]@6.2.0 [NX@1.0|XX]", "GET=get:pure-token?@6.2.0 <NX=nx:pure-token@1.0 XX=xx:pure-token>?"),
            ("(NO) name", "NO=no:pure-token name:string"),
        ] {
            assert_eq!(shown(&parse(usage)), tree);
        }
        assert_eq!(parse("old!2.8.12")[0].deprecated_since, Some("2.8.12"));
    }

    #[test]
    fn the_fewest_words_are_counted() {
        let words = |usage| parse(usage).iter().map(Arg::words_min).sum::<usize>();
        assert_eq!(words("key (GET type offset|OVERFLOW mode) ..."), 3);
        assert_eq!(words("cursor [MATCH pattern] [COUNT count]"), 1);
    }
}
