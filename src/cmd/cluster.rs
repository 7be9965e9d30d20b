//! CLUSTER and its companions, for a server that is none: known by name, checked for their number of arguments, refused.
//! Clients take the refusal for what it is, a single server, and go on.

use super::command::{Command, Cx, Flow, acl, cmd, flag};
use super::table;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

/// Changes the cluster.
const CHANGES: u32 = flag::NO_ASYNC_LOADING | flag::ADMIN | flag::STALE;
const LOOKS: u32 = flag::STALE;
const ALWAYS: u32 = flag::LOADING | flag::STALE;
const VARIES: &[&str] = &["nondeterministic_output"];

const fn row(name: &'static str, arity: i32, flags: u32, since: &'static str) -> Command {
    cmd(name, no_cluster).arity(arity).flags(flags).group("cluster", since)
}

pub static ROWS: &[Command] = &[
    row("asking", 1, flag::FAST, "3.0.0").acl(acl::CONNECTION),
    cmd("cluster", table::container).arity(-2).group("cluster", "3.0.0").subs(&[
        row("addslots", -3, CHANGES, "3.0.0"),
        row("addslotsrange", -4, CHANGES, "7.0.0"),
        row("bumpepoch", 2, CHANGES, "3.0.0").tips(VARIES),
        row("count-failure-reports", 3, flag::ADMIN | flag::STALE, "3.0.0").tips(VARIES),
        row("countkeysinslot", 3, LOOKS, "3.0.0"),
        row("delslots", -3, CHANGES, "3.0.0"),
        row("delslotsrange", -4, CHANGES, "7.0.0"),
        row("failover", -2, CHANGES, "3.0.0"),
        row("flushslots", 2, CHANGES, "3.0.0"),
        row("forget", 3, CHANGES, "3.0.0"),
        row("getkeysinslot", 4, LOOKS, "3.0.0").tips(VARIES),
        row("help", 2, ALWAYS, "5.0.0"),
        row("info", 2, LOOKS, "3.0.0").tips(VARIES),
        row("keyslot", 3, LOOKS, "3.0.0"),
        row("links", 2, LOOKS, "7.0.0").tips(VARIES),
        row("meet", -4, CHANGES, "3.0.0"),
        row("myid", 2, LOOKS, "3.0.0"),
        row("myshardid", 2, LOOKS, "7.2.0").tips(VARIES),
        row("nodes", 2, LOOKS, "3.0.0").tips(VARIES),
        row("replicas", 3, flag::ADMIN | flag::STALE, "5.0.0").tips(VARIES),
        row("replicate", 3, CHANGES, "3.0.0"),
        row("reset", -2, flag::ADMIN | flag::STALE | flag::NOSCRIPT, "3.0.0"),
        row("saveconfig", 2, CHANGES, "3.0.0"),
        row("set-config-epoch", 3, CHANGES, "3.0.0"),
        row("setslot", -4, CHANGES, "3.0.0"),
        row("shards", 2, ALWAYS, "7.0.0").tips(VARIES),
        row("slaves", 3, flag::ADMIN | flag::STALE, "3.0.0").tips(VARIES).deprecated("5.0.0", "`CLUSTER REPLICAS`"),
        row("slots", 2, ALWAYS, "3.0.0").tips(VARIES).deprecated("7.0.0", "`CLUSTER SHARDS`"),
    ]),
    row("readonly", 1, flag::FAST | ALWAYS, "3.0.0").acl(acl::CONNECTION),
    row("readwrite", 1, flag::FAST | ALWAYS, "3.0.0").acl(acl::CONNECTION),
];

/// What only means something in a cluster.
/// Errors: always, and HELP too, as in Redis.
fn no_cluster(_: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    Err(ReplyError::text("ERR This instance has cluster support disabled"))
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn a_single_server_says_so() {
        check(
            "
            CLUSTER INFO => ERR This instance has cluster support disabled
            CLUSTER HELP => ERR This instance has cluster support disabled
            CLUSTER KEYSLOT => ERR wrong number of arguments for 'cluster|keyslot' command
            CLUSTER => ERR wrong number of arguments for 'cluster' command
            CLUSTER NOSUCH => ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.
            READONLY => ERR This instance has cluster support disabled
            ASKING => ERR This instance has cluster support disabled
        ",
        );
    }
}
