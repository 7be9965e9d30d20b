//! Work that may need everything else to stand still: transactions and scripts.
//!
//! ```text
//! handler   checks everything, leaves its job in `effects.alone`, returns Flow::Alone; nothing has happened yet
//! exec      enters the safepoint, unless it is inside already, and runs the job: nobody else touches any data. A transaction
//!           or a plain script on keys that are known holds just these, if nothing else is in the way (`exec::section`)
//! loop      stays inside for the commands behind it, as long as they are light, and leaves at the window's end; behind
//!           scripts it goes on over windows, for a millisecond at most (`event_loop::window::end_stay`)
//! ```
//! A job is data, not code: what runs it lives above, where commands are dispatched (`exec::alone`).

use super::queue::Queue;
use super::scripts::Compiled;
use crate::resp::args::OwnedArgs;
use crate::script::{Chunk, plain};
use std::rc::Rc;

/// What a handler that returns `Flow::Alone` wants to be run.
pub enum Alone {
    /// EXEC: the commands of a transaction.
    Exec(Box<Queue>),
    /// EVAL and EVALSHA.
    Script(Box<ScriptJob>),
    /// FCALL.
    Function(Box<FunctionJob>),
    /// DEBUG LOADAOF.
    Reload,
}

/// A script and what it is called with.
pub struct ScriptJob {
    /// The script as this loop has compiled it.
    pub script: Rc<Compiled>,
    /// The whole command; the first key is argument 3.
    pub args: OwnedArgs,
    pub key_count: usize,
    pub is_read_only: bool,
    /// It says of itself that it may run while memory is short; None: it says nothing of itself, and its commands are judged.
    pub allows_oom: Option<bool>,
}

impl ScriptJob {
    /// It touches only the keys that it is given, and ends soon: `script::plain`.
    pub fn is_plain(&self) -> bool {
        self.script.is_plain && self.args.parts().items.len() <= plain::ROUNDS_MAX
    }
}

/// A function and what it is called with.
pub struct FunctionJob {
    /// The function as this loop has loaded it.
    pub chunk: Chunk,
    pub name: Box<str>,
    /// The whole command; the first key is argument 3.
    pub args: OwnedArgs,
    pub key_count: usize,
    pub is_read_only: bool,
    /// It says of itself that it may run while memory is short.
    pub allows_oom: bool,
}

impl Alone {
    /// May it let others run before it is done? Then nothing of the loop may be borrowed meanwhile.
    pub fn may_yield(&self) -> bool {
        match self {
            Alone::Exec(queue) => queue.may_yield(),
            Alone::Script(_) | Alone::Function(_) => true,
            Alone::Reload => false,
        }
    }
}
