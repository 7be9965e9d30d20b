//! Scenarios: what a client says and what it must hear, as text.
//!
//!     SET k v            => OK
//!     GET k              => 'v'
//!     HELLO              => […] || {…}          in RESP2 || in RESP3
//!     @b GET k           => 'v'                 another client, named b
//!
//! Replies are written as `Value` displays them. `…` stands for anything, a lone `*` for any reply, `(silence)` for none.
//! `(soon) reply` asks again until it is so. A TTL may be some seconds shorter than written: the machine may be busy.
//! A line that begins with `#` is a comment.

use super::client::{Client, PATIENCE};
use super::server::{Engine, Server, engines};
use super::wire::{request, words};
use std::collections::HashMap;
use std::time::Instant;

/// Runs a scenario on every engine, over RESP2 and over RESP3, each time on an empty server.
pub fn check(scenario: &str) {
    for &engine in engines() {
        Server::lease(engine, |server| both_protocols(server, engine, scenario));
    }
}

/// `check` on a server of its own with these options, for scenarios that depend on or change its parameters.
pub fn check_with(options: &[&str], scenario: &str) {
    for &engine in engines() {
        for proto in [2, 3] {
            check_on(&Server::start_on(engine, options), engine, proto, scenario);
        }
    }
}

fn both_protocols(server: &Server, engine: Engine, scenario: &str) {
    check_on(server, engine, 2, scenario);
    assert_eq!(server.client().run("FLUSHALL").to_string(), "OK");
    check_on(server, engine, 3, scenario);
}

/// Runs a scenario on `server` over one protocol.
fn check_on(server: &Server, engine: Engine, proto: u8, scenario: &str) {
    let mut clients: HashMap<&str, Client> = HashMap::new();
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (command, expected) = line.rsplit_once("=>").unwrap_or_else(|| panic!("no => in: {line}"));
        let (name, command) = match command.strip_prefix('@') {
            Some(named) => named.split_once(' ').unwrap_or_else(|| panic!("no command in: {line}")),
            None => ("", command),
        };
        let expected = match expected.split_once("||") {
            Some((resp2, resp3)) => (if proto == 2 { resp2 } else { resp3 }).trim(),
            None => expected.trim(),
        };
        let client = clients.entry(name).or_insert_with(|| {
            let mut client = server.client();
            client.speak(proto);
            client
        });
        let request = request(&words(command));
        client.send(&request);
        let mut got = match expected {
            "(silence)" if client.is_silent() => expected.to_string(),
            _ => client.reply().to_string(),
        };
        if let Some(expected) = expected.strip_prefix("(soon) ") {
            let started = Instant::now();
            while !matches(expected, &got) && started.elapsed() < PATIENCE {
                client.send(&request);
                got = client.reply().to_string();
            }
        }
        let expected = expected.trim_start_matches("(soon) ");
        let is_right = matches(expected, &got) || command.trim().starts_with("TTL ") && is_left(expected, &got);
        assert!(is_right, "{line}\n    got {got}\n    (RESP{proto}, {})", engine.name());
    }
}

/// Is `got` what is left of `expected` seconds after a few seconds at most?
fn is_left(expected: &str, got: &str) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    number(expected)
        .zip(number(got))
        .is_some_and(|(expected, got)| (1..=expected).contains(&got) && got + 10 > expected)
}

/// Does `got` look like `expected`, where `…` stands for anything?
fn matches(expected: &str, got: &str) -> bool {
    if expected == "*" {
        return true;
    }
    let mut parts = expected.split('…');
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        open = part.is_empty();
        if open {
            rest = "";
        }
    }
    rest.is_empty() || open || expected.rsplit('…').next().is_some_and(|last| !last.is_empty() && got.ends_with(last))
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (expected, got, is_match) in [
        ("a…c", "abc", true),
        ("a…c", "abcd", false),
        ("…", "", true),
        ("a…b…", "a1b2", true),
        ("abc", "abcd", false),
        ("a…a", "aba", true),
        ("'id=…'", "'id=3 x'", true),
        ("[…, 3]", "[1, 2, 3]", true),
    ] {
        assert_eq!(matches(expected, got), is_match, "{expected} {got}");
    }
}
