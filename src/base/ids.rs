//! Identities that several layers share.

#![forbid(unsafe_code)]

/// A client's number: unique for the life of the process, never reused, as `CLIENT ID` promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// An event loop, 0..threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LoopId(pub u16);

/// A logical database, 0..databases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DbIndex(pub u16);
