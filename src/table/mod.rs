//! The shared table.
pub mod entry;
pub mod reclaim;
pub mod roots;
mod standin;
pub use entry::{Entry, Kind, NewEntry, Payload, Source};
pub use reclaim::{Guard, Participant};
pub use standin::{Change, Table, Txn, snapshot, transact};
