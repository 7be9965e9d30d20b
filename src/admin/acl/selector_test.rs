//! Tests of rules and of the permissions that follow from them.

use super::catalogue::sample;
use super::pattern::{READ, READ_WRITE, WRITE};
use super::rule::{RuleError, merge_selectors};
use super::selector::{Call, Channel, Denial, Key};
use super::user::{Origin, User};

fn user(rules: &str) -> Result<User, RuleError> {
    let catalogue = sample();
    let origin = Origin { catalogue: &catalogue, all_channels: false };
    let mut user = User::new(7, b"bob", origin);
    let rules = merge_selectors(rules.split(' ').map(str::as_bytes)).expect("closed parentheses");
    user.apply_all(&rules, origin).map_err(|(_, error)| error).map(|()| user)
}

fn described(rules: &str) -> String {
    let line = String::from_utf8(user(rules).unwrap().describe()).unwrap();
    line.replace("user bob off sanitize-payload ", "")
}

/// Runs a command by its number in the sample on one key.
fn check(rules: &str, command: u16, access: u8, key: &str) -> Result<(), Denial> {
    let keys = [Key { at: 1, name: key.as_bytes(), access }];
    let first_arg = Some(key.as_bytes());
    let call = Call { command, is_free: false, first_arg, keys: &keys, channels: &[] };
    user(rules).unwrap().check(&call)
}

const GET: u16 = 0;
const SET: u16 = 1;
const SELECT: u16 = 2;

#[test]
fn wrong_rules_are_refused_each_for_its_reason() {
    for (rules, error) in [
        ("foo", RuleError::Syntax),
        ("+nosuch", RuleError::Unknown),
        ("-select|0", RuleError::Unknown),
        ("+@nosuch", RuleError::Unknown),
        ("+config|nosuch", RuleError::Unknown),
        ("+config|get|x", RuleError::FirstArgOfSub),
        ("+config|", RuleError::Syntax),
        ("+", RuleError::Unknown),
        ("~* ~a", RuleError::KeyAfterAll),
        ("&* &a", RuleError::ChannelAfterAll),
        ("%RR~a", RuleError::Syntax),
        ("%~a", RuleError::Syntax),
        ("%", RuleError::Syntax),
        ("%RW", RuleError::Syntax),
        ("<pw", RuleError::NoSuchPassword),
        ("#abc", RuleError::BadHash),
        ("!ABCDEF", RuleError::BadHash),
        ("(on)", RuleError::Syntax),
        ("(+get (+set) )", RuleError::Syntax),
    ] {
        assert_eq!(user(rules).err(), Some(error), "{rules}");
    }
    assert_eq!(merge_selectors([&b"on"[..], b"(+get"]), Err(1));
}

#[test]
fn rules_are_kept_in_order_without_those_made_void() {
    for (rules, kept) in [
        ("+get +set -get", "-@all +set -get"),
        ("+config|get +config|set -config", "-@all -config"),
        ("-@admin +CONFIG|GET", "-@all -@admin +config|get"),
        ("+select|0 +select|1 +select|0", "-@all +select|1 +select|0"),
        ("+select|0 +select", "-@all +select"),
        ("+get allcommands -@WRITE", "+@all -@write"),
        ("+@all nocommands", "-@all"),
    ] {
        assert_eq!(described(rules), format!("resetchannels {kept}"), "{rules}");
    }
}

#[test]
fn every_part_is_described_by_the_rules_that_make_it() {
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        described("%RW~a %R~b ~c %W~b &x (allkeys &* +@read) >abc"),
        format!("#{hash} ~a ~b ~c resetchannels &x -@all (~* &* -@all +@read)")
    );
    assert_eq!(described("~a >abc nopass on (+get) reset"), "resetchannels -@all");
    assert_eq!(described("(+get) (+set) clearselectors"), "resetchannels -@all");
    assert_eq!(user("on nopass skip-sanitize-payload").unwrap().flags(), ["on", "nopass", "skip-sanitize-payload"]);
}

#[test]
fn commands_run_if_a_selector_allows_them_with_all_their_keys() {
    assert_eq!(check("~a* +get", GET, READ, "ab"), Ok(()));
    assert_eq!(check("~a* +get", SET, READ, "ab"), Err(Denial::Command));
    assert_eq!(check("~a* +get", GET, READ, "b"), Err(Denial::Key(1)));
    assert_eq!(check("%R~a* +@all", SET, WRITE, "ab"), Err(Denial::Key(1)));
    assert_eq!(check("~a +get (~b +set)", SET, WRITE, "a"), Err(Denial::Key(1)));
    assert_eq!(check("~a +get (~b +set)", SET, WRITE, "b"), Ok(()));
    assert_eq!(check("~a +@all -@read", GET, READ_WRITE, "a"), Err(Denial::Command));
    assert_eq!(check("+@all", GET, 0, "x"), Err(Denial::Key(1)));
}

#[test]
fn a_container_stands_for_its_subcommands() {
    assert_eq!(check("allkeys +config", 4, 0, "x"), Ok(()));
    assert_eq!(check("allkeys +config -config|get", 4, 0, "x"), Err(Denial::Command));
    assert_eq!(check("allkeys +config|get", 5, 0, "x"), Err(Denial::Command));
}

#[test]
fn a_forbidden_command_may_be_allowed_with_a_first_argument() {
    assert_eq!(check("allkeys +select|AbC", SELECT, 0, "aBc"), Ok(()));
    assert_eq!(check("allkeys +select|0", SELECT, 0, "1"), Err(Denial::Command));
    assert_eq!(check("allkeys +select|0 -select", SELECT, 0, "0"), Err(Denial::Command));
}

#[test]
fn channels_are_matched_and_patterns_of_channels_are_compared() {
    let denied = |rules: &str, name: &str, is_pattern| {
        let channels = [Channel { at: 1, name: name.as_bytes(), is_pattern }];
        let call = Call { command: GET, is_free: false, first_arg: None, keys: &[], channels: &channels };
        user(rules).unwrap().check(&call).err()
    };
    assert_eq!(denied("+get &news:*", "news:1", false), None);
    assert_eq!(denied("+get &news:*", "news:*", true), None);
    assert_eq!(denied("+get &news:*", "news:1", true), Some(Denial::Channel(1)));
    assert_eq!(denied("+get &news:*", "other", false), Some(Denial::Channel(1)));
    assert_eq!(denied("+get &news:* (+get allchannels)", "other", false), None);
}

#[test]
fn only_a_selector_without_any_limit_is_unrestricted() {
    assert!(user("allkeys allchannels allcommands").unwrap().is_unrestricted());
    assert!(user("+get (~* &* +@all)").unwrap().is_unrestricted());
    assert!(!user("allkeys allchannels +@all -get +get").unwrap().is_unrestricted());
    assert!(!user("allkeys +@all (&* +@all)").unwrap().is_unrestricted());
}
