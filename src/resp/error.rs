//! `ReplyError`: every error a client can see. The texts are protocol; tests pin them.

use std::borrow::Cow;

/// The client's mistake, or a state that forbids the command. Source of the texts: Redis 7.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    WrongType,
    Syntax,
    NotInteger,
    NotFloat,
    NoSuchKey,
    IndexOutOfRange,
    IncrOverflow,
    StringTooLong,
    /// A whole error line with its code, without the dash: `ERR value is out of range`.
    Text(Cow<'static, str>),
}

impl ReplyError {
    /// An error line known at compile time.
    pub const fn text(line: &'static str) -> Self {
        ReplyError::Text(Cow::Borrowed(line))
    }
    /// An error line that names what the client sent.
    pub fn owned(line: String) -> Self {
        ReplyError::Text(Cow::Owned(line))
    }
    /// The line with its code, without dash and line end.
    pub fn line(&self) -> &str {
        match self {
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Syntax => "ERR syntax error",
            Self::NotInteger => "ERR value is not an integer or out of range",
            Self::NotFloat => "ERR value is not a valid float",
            Self::NoSuchKey => "ERR no such key",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::IncrOverflow => "ERR increment or decrement would overflow",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::Text(line) => line,
        }
    }
    /// The first word: what `errorstats` counts by.
    pub fn code(&self) -> &str {
        self.line().split(' ').next().unwrap_or("ERR")
    }
}
