//! Options that say when a string shall expire, and on what condition it is stored: `EX … PXAT`, `KEEPTTL`, `PERSIST`,
//! `NX`, `XX`, `IFEQ` and its kin. SET, GETEX and MSETEX read them here, each with the words it knows.

use crate::base::clock::WallMs;
use crate::base::num::parse_i64;
use crate::keyspace::types::Str;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::value::digest;

/// How a deadline is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
    UnixSeconds,
    UnixMillis,
}

/// What becomes of the deadline. A time stays text until the command wants to know it: Redis looks at it late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry<'a> {
    /// No option: SET removes a deadline, GETEX leaves it.
    Default,
    Keep,
    Persist,
    At(Unit, &'a [u8]),
}

/// When a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    Always,
    IfAbsent,
    IfPresent,
    IfEqual(&'a [u8]),
    IfNotEqual(&'a [u8]),
    IfDigest(&'a [u8]),
    IfNotDigest(&'a [u8]),
}

/// Words that a command may or may not know.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub existence: bool,
    pub comparison: bool,
    pub get: bool,
    pub keep: bool,
    pub persist: bool,
}

pub(super) const SET_WORDS: Words = Words { existence: true, comparison: true, get: true, keep: true, persist: false };
pub(super) const GETEX_WORDS: Words =
    Words { existence: false, comparison: false, get: false, keep: false, persist: true };
pub(super) const MSETEX_WORDS: Words =
    Words { existence: true, comparison: false, get: false, keep: true, persist: false };

/// The options of one command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    pub condition: Condition<'a>,
    pub expiry: Expiry<'a>,
    /// SET shall reply the old value.
    pub get: bool,
}

impl<'a> Options<'a> {
    pub(super) const NONE: Options<'static> =
        Options { condition: Condition::Always, expiry: Expiry::Default, get: false };

    /// Reads all arguments from `from` on.
    /// Shape:  (NX|XX | IFEQ v|IFNE v|IFDEQ d|IFDNE d | GET | EX s|PX ms|EXAT s|PXAT ms|KEEPTTL|PERSIST)*
    /// Errors: Syntax for an unknown word, a missing argument, or two words that exclude each other. The same word twice
    /// is no error unless it takes a value to compare with.
    pub(super) fn parse(args: &Args<'a>, from: usize, words: Words) -> Result<Self, ReplyError> {
        let mut options = Options::NONE;
        let mut index = from;
        while index < args.count() {
            let operand = (index + 1 < args.count()).then(|| args.get(index + 1));
            index += options.take(args.get(index), operand, words).ok_or(ReplyError::Syntax)?;
        }
        Ok(options)
    }
    /// Takes one option; returns how many arguments it had.
    fn take(&mut self, word: &[u8], operand: Option<&'a [u8]>, words: Words) -> Option<usize> {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let unit = || match () {
            _ if is("ex") => Some(Unit::Seconds),
            _ if is("px") => Some(Unit::Millis),
            _ if is("exat") => Some(Unit::UnixSeconds),
            _ if is("pxat") => Some(Unit::UnixMillis),
            _ => None,
        };
        match () {
            _ if words.existence && is("nx") => self.require(Condition::IfAbsent),
            _ if words.existence && is("xx") => self.require(Condition::IfPresent),
            _ if words.get && is("get") => {
                self.get = true;
                Some(1)
            }
            _ if words.keep && is("keepttl") => self.expire(Expiry::Keep),
            _ if words.persist && is("persist") => self.expire(Expiry::Persist),
            _ if words.comparison && is("ifeq") => self.require(Condition::IfEqual(operand?)),
            _ if words.comparison && is("ifne") => self.require(Condition::IfNotEqual(operand?)),
            _ if words.comparison && is("ifdeq") => self.require(Condition::IfDigest(operand?)),
            _ if words.comparison && is("ifdne") => self.require(Condition::IfNotDigest(operand?)),
            _ => self.expire(Expiry::At(unit()?, operand?)),
        }
    }
    fn require(&mut self, condition: Condition<'a>) -> Option<usize> {
        let bare = matches!(condition, Condition::IfAbsent | Condition::IfPresent);
        let compatible = self.condition == Condition::Always || bare && self.condition == condition;
        self.condition = condition;
        compatible.then_some(if bare { 1 } else { 2 })
    }
    fn expire(&mut self, expiry: Expiry<'a>) -> Option<usize> {
        let compatible = match (self.expiry, expiry) {
            (Expiry::Default, _) => true,
            (Expiry::At(seen, _), Expiry::At(unit, _)) => seen == unit,
            (seen, new) => seen == new,
        };
        self.expiry = expiry;
        compatible.then_some(if matches!(expiry, Expiry::At(..)) { 2 } else { 1 })
    }
}

impl Expiry<'_> {
    /// The deadline that is given as a time, if one is.
    /// Errors: NotInteger; "invalid expire time in 'COMMAND' command" if it is not positive or beyond 63 bits.
    pub(super) fn deadline(self, now: WallMs, command: &str) -> Result<Option<WallMs>, ReplyError> {
        match self {
            Expiry::At(unit, text) => unit.deadline(text, now, command).map(Some),
            _ => Ok(None),
        }
    }
}

impl Unit {
    /// The point in time that `text` means.
    pub(super) fn deadline(self, text: &[u8], now: WallMs, command: &str) -> Result<WallMs, ReplyError> {
        let number = parse_i64(text).ok_or(ReplyError::NotInteger)?;
        let millis = match self {
            Unit::Seconds | Unit::UnixSeconds => number.checked_mul(1000),
            Unit::Millis | Unit::UnixMillis => Some(number),
        };
        let base = match self {
            Unit::Seconds | Unit::Millis => now.0 as i64,
            Unit::UnixSeconds | Unit::UnixMillis => 0,
        };
        millis
            .filter(|&millis| millis > 0)
            .and_then(|millis| millis.checked_add(base))
            .map(|at| WallMs(at as u64))
            .ok_or_else(|| ReplyError::owned(format!("ERR invalid expire time in '{command}' command")))
    }
}

impl Condition<'_> {
    /// Must the present value be a string?
    pub(super) fn compares(self) -> bool {
        !matches!(self, Condition::Always | Condition::IfAbsent | Condition::IfPresent)
    }
    /// Does the condition hold for a key that is `present`, with `value` if the condition compares?
    /// Errors: a digest that is not 16 digits long, once there is something to compare it with.
    pub(super) fn holds(self, present: bool, value: Option<Str<'_>>) -> Result<bool, ReplyError> {
        Ok(match (self, value) {
            (Condition::Always, _) => true,
            (Condition::IfAbsent, _) => !present,
            (Condition::IfPresent, _) => present,
            (Condition::IfEqual(_) | Condition::IfDigest(_), None) => false,
            (Condition::IfNotEqual(_) | Condition::IfNotDigest(_), None) => true,
            (Condition::IfEqual(other), Some(value)) => equals(value, other),
            (Condition::IfNotEqual(other), Some(value)) => !equals(value, other),
            (Condition::IfDigest(digits), Some(value)) => has_digest(value, digits)?,
            (Condition::IfNotDigest(digits), Some(value)) => !has_digest(value, digits)?,
        })
    }
}

pub(super) fn equals(value: Str<'_>, bytes: &[u8]) -> bool {
    value.bytes(&mut itoa::Buffer::new()) == bytes
}

fn has_digest(value: Str<'_>, digits: &[u8]) -> Result<bool, ReplyError> {
    let digest = digest::hex(value.bytes(&mut itoa::Buffer::new()));
    if digits.len() != digest.len() {
        return Err(ReplyError::text("ERR must be exactly 16 hexadecimal characters"));
    }
    Ok(digits.eq_ignore_ascii_case(&digest))
}
