//! Work that needs everything else to stand still: transactions and scripts.
//!
//! ```text
//! handler   checks everything, leaves its job in `effects.alone`, returns Flow::Alone; nothing has happened yet
//! exec      enters the safepoint, unless it is inside already, and runs the job: nobody else touches any data
//! loop      stays inside for the commands behind it, as long as they are light, and leaves at the window's end at the latest
//! ```
//! A job is data, not code: what runs it lives above, where commands are dispatched (`exec::alone`).

use super::queue::Queue;

/// What a handler that returns `Flow::Alone` wants to be run.
pub enum Alone {
    /// EXEC: the commands of a transaction.
    Exec(Box<Queue>),
}

impl Alone {
    /// May it let others run before it is done? Then nothing of the loop may be borrowed meanwhile.
    pub fn may_yield(&self) -> bool {
        match self {
            Alone::Exec(queue) => queue.may_yield(),
        }
    }
}
