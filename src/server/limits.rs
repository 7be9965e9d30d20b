//! File descriptors: the soft limit is raised to what `maxclients` needs, or `maxclients` is lowered to what there is.

use super::error::StartError;
use crate::admin::log;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors for everything that is not a client: files, listeners. Source: Redis, CONFIG_MIN_RESERVED_FDS.
const RESERVED: u64 = 32;
/// Descriptors of one loop: its ring or epoll instance, its eventfd, its listeners, room for what is just being closed.
const PER_LOOP: u64 = 8;

/// Makes room for `wanted` clients. Returns how many may connect.
/// Errors: there is not even room for one.
pub fn make_room(wanted: u64, loops: usize) -> Result<u64, StartError> {
    let reserved = RESERVED + PER_LOOP * loops as u64;
    let needed = wanted + reserved;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(wanted) };
    if soft >= needed {
        return Ok(wanted);
    }
    // A privileged process may raise the hard limit too; another one gets as much as the hard limit allows.
    let reached = [(needed, hard.max(needed)), (needed.min(hard), hard)]
        .into_iter()
        .find(|&(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, soft, hard).is_ok())
        .map_or(soft, |(soft, _)| soft);
    if reached >= needed {
        return Ok(wanted);
    }
    let clients = reached.saturating_sub(reserved);
    if clients == 0 {
        return Err(StartError(format!(
            "The limit of {reached} open files leaves no room for a single client: {reserved} are needed for other things. \
             Raise it with `ulimit -n {needed}` (LimitNOFILE in systemd)."
        )));
    }
    log::warning(format_args!(
        "maxclients {wanted} needs {needed} open files, the limit is {reached}: maxclients is {clients} now. Raise the \
         limit with `ulimit -n` if you need more."
    ));
    Ok(clients)
}
