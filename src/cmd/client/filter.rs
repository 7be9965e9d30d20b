//! Which clients CLIENT LIST and CLIENT KILL mean: conditions that all must hold.
//!
//! ```text
//! ID n …  ADDR a  LADDR a  IP ip  TYPE t  USER u  NAME n  LIB-NAME n  LIB-VER v  DB n  FLAGS letters  CAPA letters
//! NOT-…   the opposite of each of them
//! MAXAGE seconds  IDLE seconds  SKIPME yes|no
//! ```
//! Of a condition that is given twice the later one counts. The errors are those of Redis 7.2 where it knows the condition, and
//! of Valkey 9 else.

#![forbid(unsafe_code)]

use super::line::{self, FLAG_LETTERS};
use crate::admin::acl::Acl;
use crate::admin::clients::{ClientInfo, Endpoints, client_flag};
use crate::base::clock::WallMs;
use crate::base::ids::ClientId;
use crate::base::num::parse_i64;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};

/// Whose conditions they are: the two commands differ in what they refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    List,
    Kill,
}

/// One condition.
#[derive(Debug)]
enum Test<'a> {
    Ids(Vec<i64>),
    Peer(&'a [u8]),
    Local(&'a [u8]),
    Ip(&'a [u8]),
    Kind(Kind),
    User(&'a [u8]),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVer(&'a [u8]),
    Db(i64),
    Flags(&'a [u8]),
    Capabilities(&'a [u8]),
    AgeMin(i64),
    IdleMin(i64),
    IsMe,
}

/// See the module header.
pub struct Filter<'a> {
    tests: Vec<(Test<'a>, bool)>,
}

impl<'a> Filter<'a> {
    /// Whoever connected from this address.
    pub fn from_peer(peer: &'a [u8]) -> Self {
        Filter { tests: vec![(Test::Peer(peer), true)] }
    }
    /// Reads conditions from the third word on.
    /// Errors: words that are no conditions, and values that make no sense.
    pub fn parse(acl: &Acl, databases: usize, args: &Args<'a>, asked: Asked) -> Result<Self, ReplyError> {
        let mut filter = Filter { tests: Vec::new() };
        let mut at = 2;
        while at < args.count() {
            let word = args.get(at).to_ascii_lowercase();
            let (name, wanted) = match word.strip_prefix(b"not-") {
                Some(name) if !matches!(name, b"maxage" | b"idle" | b"skipme") => (name, false),
                _ => (&word[..], true),
            };
            let follows_ids = matches!(filter.tests.last(), Some((Test::Ids(_), _)));
            if at + 1 == args.count() {
                return Err(if follows_ids { no_id(asked) } else { ReplyError::Syntax });
            }
            let value = args.get(at + 1);
            at += 2;
            let test = match name {
                b"id" => {
                    let mut ids = vec![client_id(value, asked)?];
                    while at < args.count() && parse_i64(args.get(at)).is_some() {
                        ids.push(client_id(args.get(at), asked)?);
                        at += 1;
                    }
                    Test::Ids(ids)
                }
                b"addr" => Test::Peer(value),
                b"laddr" => Test::Local(value),
                b"ip" => Test::Ip(value),
                b"type" => Test::Kind(Kind::parse(value)?),
                b"user" if acl.get(value).is_some() => Test::User(value),
                b"user" => return Err(ReplyError::owned(format!("ERR No such user '{}'", escaped(value)))),
                b"name" => Test::Name(value),
                b"lib-name" => Test::LibName(value),
                b"lib-ver" => Test::LibVer(value),
                b"db" => Test::Db(database(value, databases, wanted)?),
                b"flags" => Test::Flags(letters(value, "flags", FLAG_LETTERS, wanted)?),
                b"capa" => Test::Capabilities(letters(value, "capa", b"r", wanted)?),
                b"maxage" => Test::AgeMin(seconds(value, "maxage")?),
                b"idle" => Test::IdleMin(seconds(value, "idle")?),
                b"skipme" => {
                    filter.set(Test::IsMe, !super::yes_or_no(value)?);
                    continue;
                }
                _ if follows_ids => return Err(no_id(asked)),
                _ => return Err(ReplyError::Syntax),
            };
            filter.set(test, wanted);
        }
        Ok(filter)
    }
    /// Unless SKIPME says otherwise, the caller is not meant.
    pub fn spare_caller(&mut self) {
        if !self.tests.iter().any(|(test, _)| matches!(test, Test::IsMe)) {
            self.tests.push((Test::IsMe, false));
        }
    }
    /// Adds a condition in the place of an earlier one of its kind.
    fn set(&mut self, test: Test<'a>, wanted: bool) {
        let kind = std::mem::discriminant(&test);
        let is_switch = matches!(test, Test::IsMe);
        self.tests
            .retain(|(old, was_wanted)| std::mem::discriminant(old) != kind || *was_wanted != wanted && !is_switch);
        self.tests.push((test, wanted));
    }
    /// The numbers that it names, in their order: nobody else is meant.
    pub fn ids(&self) -> Option<&[i64]> {
        self.tests.iter().find_map(|(test, wanted)| match test {
            Test::Ids(ids) if *wanted => Some(&ids[..]),
            _ => None,
        })
    }
    /// Is this client meant?
    pub fn accepts(&self, client: &ClientInfo, caller: ClientId, now: WallMs) -> bool {
        self.tests.iter().all(|(test, wanted)| match test {
            Test::IsMe => *wanted || client.id != caller,
            test => test.holds(client, now) == *wanted,
        })
    }
}

impl Test<'_> {
    fn holds(&self, client: &ClientInfo, now: WallMs) -> bool {
        let seconds_since = |then: WallMs| (now.0.saturating_sub(then.0) / 1000) as i64;
        let is_named = |own: &[u8], name: &[u8]| !own.is_empty() && own == name;
        match *self {
            Test::Ids(ref ids) => ids.contains(&(client.id.0 as i64)),
            Test::Peer(peer) => peer == client.endpoints.peer().as_bytes(),
            Test::Local(local) => local == client.endpoints.local().as_bytes(),
            Test::Ip(ip) => match &client.endpoints {
                Endpoints::Tcp { peer, .. } => peer.ip().to_string().as_bytes() == ip,
                Endpoints::Unix(path) => path.as_bytes() == ip,
            },
            Test::Kind(kind) => kind == Kind::of(client),
            Test::User(user) => client.is_user(user),
            Test::Name(name) => client.with_names(|names| is_named(&names.name, name)),
            Test::LibName(name) => client.with_names(|names| is_named(&names.lib_name, name)),
            Test::LibVer(version) => client.with_names(|names| is_named(&names.lib_ver, version)),
            Test::Db(db) => client.db() as i64 == db,
            Test::Flags(letters) => {
                let mut own = String::new();
                line::push_flags(&mut own, client);
                letters.iter().all(|letter| own.as_bytes().contains(letter))
            }
            Test::Capabilities(letters) => letters.is_empty() || client.has(client_flag::CAN_REDIRECT),
            Test::AgeMin(age_s) => seconds_since(client.created) >= age_s,
            Test::IdleMin(idle_s) => seconds_since(client.last_seen()) >= idle_s,
            Test::IsMe => true, // `accepts` knows.
        }
    }
}

fn no_id(asked: Asked) -> ReplyError {
    match asked {
        Asked::List => ReplyError::text("ERR Invalid client ID"),
        Asked::Kill => ReplyError::Syntax,
    }
}

/// CLIENT LIST takes any number: there may be nobody of that number.
fn client_id(value: &[u8], asked: Asked) -> Result<i64, ReplyError> {
    match asked {
        Asked::List => parse_i64(value).ok_or(no_id(asked)),
        Asked::Kill => positive(value, "ERR client-id should be greater than 0".into()),
    }
}

fn positive(value: &[u8], error: String) -> Result<i64, ReplyError> {
    parse_i64(value).filter(|&number| number > 0).ok_or_else(|| ReplyError::owned(error))
}

fn seconds(value: &[u8], name: &str) -> Result<i64, ReplyError> {
    if parse_i64(value).is_none() {
        return Err(ReplyError::owned(format!("ERR {name} is not an integer or out of range")));
    }
    positive(value, format!("ERR {name} should be greater than 0"))
}

fn database(value: &[u8], databases: usize, wanted: bool) -> Result<i64, ReplyError> {
    let name = if wanted { "DB" } else { "NOT-DB" };
    let number =
        parse_i64(value).ok_or_else(|| ReplyError::owned(format!("ERR {name} is not an integer or out of range")))?;
    if !(0..databases as i64).contains(&number) {
        let last = databases - 1;
        return Err(ReplyError::owned(format!("ERR {name} number should be between 0 and {last}")));
    }
    Ok(number)
}

fn letters<'a>(value: &'a [u8], name: &str, known: &[u8], wanted: bool) -> Result<&'a [u8], ReplyError> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value);
    }
    let place = if wanted { "provided".into() } else { format!("NOT-{}", name.to_ascii_uppercase()) };
    Err(ReplyError::owned(format!("ERR Unknown {name} found in the {place} filter: {}", escaped(value))))
}

/// The kinds of clients that Redis tells apart. Here there are two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Replica,
    Pubsub,
    Master,
}

impl Kind {
    fn of(client: &ClientInfo) -> Self {
        if client.has(client_flag::PUBSUB) { Kind::Pubsub } else { Kind::Normal }
    }
    fn parse(name: &[u8]) -> Result<Self, ReplyError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"slave" | b"replica" => Ok(Kind::Replica),
            b"pubsub" => Ok(Kind::Pubsub),
            b"master" | b"primary" => Ok(Kind::Master),
            _ => Err(ReplyError::owned(format!("ERR Unknown client type '{}'", escaped(name)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::clients::{Endpoints, client_flag};
    use crate::base::clock::WallMs;
    use crate::base::ids::{ClientId, LoopId};
    use crate::cmd::testkit::{Client, check_on};

    #[test]
    fn wrong_filters_are_refused() {
        let mut client = Client::new();
        check_on(
            &mut client,
            "
            CLIENT KILL foo => ERR No such client
            CLIENT KILL id x => ERR client-id should be greater than 0
            CLIENT KILL id 1 0 => ERR client-id should be greater than 0
            CLIENT KILL id 1 foo => ERR syntax error
            CLIENT KILL id 77 skipme => ERR syntax error
            CLIENT KILL foo bar => ERR syntax error
            CLIENT KILL user bob => ERR No such user 'bob'
            CLIENT KILL not-user bob => ERR No such user 'bob'
            CLIENT KILL type foo => ERR Unknown client type 'foo'
            CLIENT KILL skipme x => ERR syntax error
            CLIENT KILL not-skipme yes => ERR syntax error
            CLIENT KILL maxage x => ERR maxage is not an integer or out of range
            CLIENT KILL maxage 0 => ERR maxage should be greater than 0
            CLIENT KILL idle 0 => ERR idle should be greater than 0
            CLIENT LIST idle x => ERR idle is not an integer or out of range
            CLIENT LIST foo => ERR syntax error
            CLIENT LIST name => ERR syntax error
            CLIENT LIST type x => ERR Unknown client type 'x'
            CLIENT LIST id x => ERR Invalid client ID
            CLIENT LIST id 1 x => ERR Invalid client ID
            CLIENT LIST id 1 x y => ERR Invalid client ID
            CLIENT LIST id 77 => ''
            CLIENT LIST id -1 => ''
            CLIENT LIST type pubsub => ''
            CLIENT LIST type primary => ''
            CLIENT LIST db x => ERR DB is not an integer or out of range
            CLIENT LIST db 16 => ERR DB number should be between 0 and 15
            CLIENT LIST not-db -1 => ERR NOT-DB number should be between 0 and 15
            CLIENT LIST flags NZ => ERR Unknown flags found in the provided filter: NZ
            CLIENT LIST not-flags Z => ERR Unknown flags found in the NOT-FLAGS filter: Z
            CLIENT LIST capa x => ERR Unknown capa found in the provided filter: x
            CLIENT LIST not-capa x => ERR Unknown capa found in the NOT-CAPA filter: x
        ",
        );
    }

    #[test]
    fn conditions_must_all_hold_and_of_each_kind_the_last_one_counts() {
        let mut client = Client::new();
        client.run_line("CLIENT SETNAME me");
        client.run_line("SELECT 3");
        let other = client.world.clients.add(LoopId(0), 9, Endpoints::Unix("/tmp/s".into()), WallMs(0));
        other.rename(|names| (names.lib_name, names.lib_ver) = (b"lib"[..].into(), b"1"[..].into()));
        other.set(client_flag::PUBSUB, true);
        other.set(client_flag::CAN_REDIRECT, true);
        let mut ids = |conditions: &str| -> Vec<u64> {
            let list = client.run_line(&format!("CLIENT LIST {conditions}"));
            let numbers = list.split("id=").skip(1).filter(|part| part.contains(" addr="));
            numbers.map(|part| part.split(' ').next().unwrap().parse().unwrap()).collect()
        };
        for (conditions, expected) in [
            ("ID 2 1 2 77", &[2, 1, 2][..]),
            ("ID 2 1 NAME me", &[1]),
            ("NOT-ID 2 77", &[1]),
            ("NAME me", &[1]),
            ("NOT-NAME me", &[2]),
            ("NAME ''", &[]),
            ("NAME you NAME me", &[1]),
            ("LIB-NAME lib LIB-VER 1", &[2]),
            ("LIB-NAME lib NOT-LIB-VER 1", &[]),
            ("DB 3", &[1]),
            ("NOT-DB 3", &[2]),
            ("TYPE pubsub", &[2]),
            ("NOT-TYPE pubsub SKIPME no", &[1]),
            ("SKIPME yes", &[2]),
            ("SKIPME yes SKIPME no", &[1, 2]),
            ("FLAGS PU", &[2]),
            ("FLAGS PN", &[]),
            ("NOT-FLAGS PN", &[1, 2]),
            ("NOT-FLAGS P", &[1]),
            ("CAPA r", &[2]),
            ("NOT-CAPA r", &[1]),
            ("IP 127.0.0.1", &[1]),
            ("NOT-IP /tmp/s", &[1]),
            ("ADDR 127.0.0.1:50000 LADDR 127.0.0.1:6379", &[1]),
            ("NOT-ADDR 127.0.0.1:50000", &[2]),
            ("USER default", &[1, 2]),
            ("NOT-USER default", &[]),
            ("MAXAGE 100", &[2]),
            ("IDLE 100", &[2]),
        ] {
            assert_eq!(ids(conditions), expected, "{conditions}");
        }
        assert_eq!(client.run_line("CLIENT KILL NAME me"), "0", "the caller is spared");
        assert_eq!(client.run_line("CLIENT KILL ID 1 2 LIB-NAME lib"), "1");
        assert_eq!(client.effects.kills, [(LoopId(0), ClientId(2))]);
        assert_eq!(client.run_line("CLIENT LIST ID 2"), "''", "whoever was killed is gone");
        assert_eq!(client.run_line("CLIENT CAPA redirect other"), "OK");
        assert!(client.run_line("CLIENT LIST CAPA r").contains("id=1 "));
    }
}
