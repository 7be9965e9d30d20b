//! Transactions: what is queued and what is refused, that they run as one, and what becomes of those that do not run.

use crate::harness::check;

#[test]
fn commands_between_multi_and_exec_are_queued_and_run_together() {
    check(
        "
        MULTI                         => OK
        SET k 1                       => QUEUED
        INCR k                        => QUEUED
        @b GET k                      => (nil)
        LPUSH k x                     => QUEUED
        GET k                         => QUEUED
        EXEC                          => ['OK', 2, WRONGTYPE Operation against a key holding the wrong kind of value, '2'] || [OK, 2, WRONGTYPE Operation against a key holding the wrong kind of value, '2']
        @b GET k                      => '2'
        EXEC                          => ERR EXEC without MULTI
        DISCARD                       => ERR DISCARD without MULTI
        MULTI                         => OK
        EXEC                          => []
        MULTI                         => OK
        INCR k                        => QUEUED
        DISCARD                       => OK
        GET k                         => '2'
    ",
    );
}
