//! Transactions: what is queued and what is refused, that they run as one, and what becomes of those that do not run.

use crate::harness::client::PATIENCE;
use crate::harness::{Server, check, check_with, engines};
use std::time::Duration;

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
        EXEC                          => [OK, 2, WRONGTYPE Operation against a key holding the wrong kind of value, '2']
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

#[test]
fn a_refused_command_spoils_the_transaction_and_a_failing_one_does_not() {
    check(
        "
        MULTI                         => OK
        MULTI                         => ERR MULTI calls can not be nested
        WATCH k                       => ERR WATCH inside MULTI is not allowed
        SET k 1                       => QUEUED
        EXEC                          => [OK]
        MULTI                         => OK
        SET k                         => ERR wrong number of arguments for 'set' command
        SET k 2                       => QUEUED
        CLIENT LIST                   => QUEUED
        EXEC                          => EXECABORT Transaction discarded because of previous errors.
        MULTI                         => OK
        NOSUCH                        => ERR unknown command 'NOSUCH', with args beginning with: …
        EXEC                          => EXECABORT Transaction discarded because of previous errors.
        MULTI                         => OK
        SET k 2                       => QUEUED
        EXEC x                        => EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        EXEC                          => ERR EXEC without MULTI
        EXEC x                        => EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
        MULTI                         => OK
        SSUBSCRIBE s                  => QUEUED
        GET k                         => QUEUED
        EXEC                          => [ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client, '1']
        MULTI                         => OK
        SHUTDOWN NOSAVE               => ERR Command not allowed inside a transaction
        DISCARD                       => OK
        GET k                         => '1'
        MULTI                         => OK
        SET k 2                       => QUEUED
        RESET                         => RESET
        EXEC                          => ERR EXEC without MULTI
        GET k                         => '1'
    ",
    );
}

/// Transactions on keys that are known hold these; what may touch others, or looks at watched keys, stops all loops.
#[test]
fn a_transaction_on_keys_that_are_known_stops_nobody() {
    check_with(
        &["--threads", "2"],
        "
        SET text old                  => OK
        RPUSH list a b                => 2
        MULTI                         => OK
        SET text new                  => QUEUED
        APPEND text er                => QUEUED
        INCR n                        => QUEUED
        INCRBY n 4                    => QUEUED
        MGET text n list nosuch       => QUEUED
        RPOP list                     => QUEUED
        LPOP list                     => QUEUED
        EXISTS list text              => QUEUED
        HSET list f v                 => QUEUED
        TYPE list                     => QUEUED
        SADD from 1 2 3               => QUEUED
        SMOVE from to 2               => QUEUED
        SUNIONSTORE all from to       => QUEUED
        EXPIRE all 100                => QUEUED
        PERSIST all                   => QUEUED
        RENAME all every              => QUEUED
        MSET x 1 y 2                  => QUEUED
        DEL x from n                  => QUEUED
        SET t v PX 100000             => QUEUED
        GETEX t PERSIST               => QUEUED
        LPUSH text x                  => QUEUED
        ZADD z 1 a 2 b                => QUEUED
        ZRANGESTORE zz z 0 -1         => QUEUED
        EXEC                          => [OK, 5, 1, 5, ['newer', '5', (nil), (nil)], 'b', 'a', 1, 1, hash, 3, 1, 3, 1, 1, OK, OK, 3, OK, 'v', WRONGTYPE Operation against a key holding the wrong kind of value, 2, 2]
        INFO stats                    => '…transactions_holding_keys:1…transactions_stopping_loops:0…'
        HGET list f                   => 'v'
        EXISTS x from n all y         => 1
        SCARD every                   => 3
        ZCARD zz                      => 2
        TTL every                     => -1
        MULTI                         => OK
        GET y                         => QUEUED
        DBSIZE                        => QUEUED
        EXEC                          => ['2', 8]
        INFO stats                    => '…transactions_holding_keys:1…transactions_stopping_loops:1…'
        MULTI                         => OK
        KEYS nosuch*                  => QUEUED
        EXEC                          => [[]]
        MULTI                         => OK
        COPY y yy DB 3                => QUEUED
        EXEC                          => [1]
        WATCH y                       => OK
        MULTI                         => OK
        SET y 3                       => QUEUED
        EXEC                          => [OK]
        WATCH list y                  => OK
        HSET list f w                 => 0
        MULTI                         => OK
        SET y 5                       => QUEUED
        EXEC                          => (nil)
        GET y                         => '3'
        INFO stats                    => '…transactions_holding_keys:1…transactions_stopping_loops:4…'
        CONFIG RESETSTAT              => OK
        INFO stats                    => '…transactions_holding_keys:0…transactions_stopping_loops:0…'
    ",
    );
}

/// Who watches a key that a transaction changes is marked, and who waits for it is served, behind the whole.
#[test]
fn what_a_transaction_has_done_is_told_behind_it() {
    check_with(
        &["--threads", "2"],
        "
        @b WATCH k                    => OK
        @c BLPOP q 0                  => (silence)
        MULTI                         => OK
        SET k 1                       => QUEUED
        RPUSH q a b                   => QUEUED
        LRANGE q 0 -1                 => QUEUED
        EXEC                          => [OK, 2, ['a', 'b']]
        INFO stats                    => '…transactions_holding_keys:1…'
        LRANGE q 0 -1                 => ['b']
        @b MULTI                      => OK
        @b GET k                      => QUEUED
        @b EXEC                       => (nil)
    ",
    );
}

#[test]
fn commands_that_would_wait_reply_as_after_a_timeout() {
    check(
        "
        MULTI                         => OK
        BLPOP empty 0                 => QUEUED
        WAIT 1 0                      => QUEUED
        XREAD BLOCK 0 STREAMS s $     => QUEUED
        BLMOVE empty other LEFT LEFT 0 => QUEUED
        BZPOPMIN empty 0              => QUEUED
        EXEC                          => [(nil), 0, (nil), (nil), (nil)]
        @b BLPOP q 0                  => (silence)
        INFO clients                  => (soon) '…blocked_clients:1…'
        MULTI                         => OK
        RPUSH q a                     => QUEUED
        DEL q                         => QUEUED
        RPUSH q b c                   => QUEUED
        LRANGE q 0 -1                 => QUEUED
        EXEC                          => [1, 1, 2, ['b', 'c']]
        LRANGE q 0 -1                 => ['c']
    ",
    );
}

#[test]
fn a_watched_key_that_was_changed_makes_exec_do_nothing() {
    check(
        "
        SET k 1                       => OK
        SADD s m                      => 1
        SET gone v                    => OK
        WATCH k                       => OK
        @b INCR k                     => 2
        MULTI                         => OK
        SET k 9                       => QUEUED
        CLIENT LIST                   => QUEUED
        EXEC                          => (nil)
        GET k                         => '2'
        MULTI                         => OK
        INCR k                        => QUEUED
        EXEC                          => [3]
        WATCH s other                 => OK
        @b SADD s m                   => 0
        @b SREM s nobody              => 0
        @b DEL other                  => 0
        @b SET k 3                    => OK
        MULTI                         => OK
        PING                          => QUEUED
        EXEC                          => [PONG]
        WATCH gone                    => OK
        @b DEL gone                   => 1
        @b SET gone v                 => OK
        MULTI                         => OK
        EXEC                          => (nil)
        WATCH k                       => OK
        @b SET k 3                    => OK
        UNWATCH                       => OK
        MULTI                         => OK
        EXEC                          => []
        WATCH k                       => OK
        SET k 4                       => OK
        MULTI                         => OK
        EXEC                          => (nil)
        WATCH k                       => OK
        @b SET k 5                    => OK
        MULTI                         => OK
        DISCARD                       => OK
        MULTI                         => OK
        EXEC                          => []
        WATCH k k gone                => OK
        INFO clients                  => '…watching_clients:1…total_watched_keys:2…'
        CLIENT LIST                   => '…flags=N …multi=-1 watch=2 …'
        @b SET k 6                    => OK
        CLIENT LIST                   => '…flags=d …'
        RESET                         => RESET
        INFO clients                  => '…watching_clients:0…total_watched_keys:0…'
    ",
    );
}

#[test]
fn watched_keys_see_their_names_databases_and_deadlines_change() {
    check(
        "
        SET a 1                       => OK
        WATCH a                       => OK
        @b FLUSHALL                   => OK
        MULTI                         => OK
        EXEC                          => (nil)
        WATCH a                       => OK
        @b FLUSHALL                   => OK
        MULTI                         => OK
        EXEC                          => []
        WATCH a                       => OK
        @b SWAPDB 0 1                 => OK
        MULTI                         => OK
        EXEC                          => []
        SET a 1                       => OK
        WATCH a                       => OK
        @b SWAPDB 0 1                 => OK
        MULTI                         => OK
        EXEC                          => (nil)
        @b FLUSHALL                   => OK
        @b SET from v                 => OK
        WATCH to                      => OK
        @b RENAME from to             => OK
        MULTI                         => OK
        EXEC                          => (nil)
        @b SELECT 1                   => OK
        WATCH to                      => OK
        @b SET to v                   => OK
        MULTI                         => OK
        EXEC                          => []
        @b SELECT 0                   => OK
        @b RPUSH list 2 1             => 2
        WATCH to                      => OK
        @b SORT list STORE to         => 2
        MULTI                         => OK
        EXEC                          => (nil)
        WATCH to                      => OK
        @c BLPOP to 0                 => *
        MULTI                         => OK
        EXEC                          => (nil)
        SET t v PX 20                 => OK
        WATCH t                       => OK
        @b EXISTS t                   => (soon) 0
        MULTI                         => OK
        EXEC                          => (nil)
        @b DEBUG SET-ACTIVE-EXPIRE 0  => OK
        SET t v PX 1                  => OK
        @b PTTL t                     => (soon) -2
        WATCH t                       => OK
        MULTI                         => OK
        EXEC                          => []
        DEBUG SET-ACTIVE-EXPIRE 1     => OK
    ",
    );
}

#[test]
fn users_and_pauses_are_looked_at_when_a_transaction_runs() {
    check_with(
        &[],
        "
        ACL SETUSER bob on >pw ~* +@all      => OK
        @bob AUTH bob pw                     => OK
        @bob MULTI                           => OK
        @bob SET k 1                         => QUEUED
        @bob INCR k                          => QUEUED
        ACL SETUSER bob -incr                => OK
        @bob EXEC                            => [OK, NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand]
        ACL LOG                              => *
        @bob MULTI                           => OK
        @bob INCR k                          => NOPERM User bob has no permissions to run the 'incr' command
        @bob EXEC                            => EXECABORT Transaction discarded because of previous errors.
        ACL SETUSER bob -exec                => OK
        @bob EXEC                            => EXECABORT Transaction discarded because of: NOPERM User bob has no permissions to run the 'exec' command
        @w MULTI                             => OK
        @w INCR k                            => QUEUED
        CLIENT PAUSE 100000 WRITE            => OK
        @r MULTI                             => OK
        @r GET k                             => QUEUED
        @r EXEC                              => ['1']
        @w EXEC                              => (silence)
        GET k                                => '1'
        CLIENT UNPAUSE                       => OK
        GET k                                => (soon) '2'
    ",
    );
}

#[test]
fn replies_are_dropped_in_transactions_as_elsewhere() {
    for &engine in engines() {
        let server = Server::start_on(engine, &[]);
        let mut client = server.client();
        client.send(b"CLIENT REPLY SKIP\r\nMULTI\r\nINCR n\r\nCLIENT REPLY SKIP\r\nEXEC\r\nPING\r\nPING\r\n");
        let replies = client.replies(3);
        assert_eq!(replies[0].to_string(), "QUEUED");
        client.send(b"CLIENT REPLY OFF\r\nMULTI\r\nINCR n\r\nEXEC\r\nCLIENT REPLY ON\r\nGET n\r\n");
        let rest: Vec<String> =
            std::iter::from_fn(|| client.reply_within(PATIENCE).ok().map(|reply| reply.to_string()))
                .take_while(|reply| reply != "'2'")
                .collect();
        assert_eq!(rest.last().map(String::as_str), Some("OK"), "{rest:?}");
    }
}

/// When nobody has watched for some seconds, changes are not told any more; whoever watches then must not miss any.
#[test]
fn watching_works_as_before_when_nobody_has_watched_for_a_while() {
    let server = Server::start(&[]);
    let (mut watcher, mut writer) = (server.client(), server.client());
    for _ in 0..2 {
        watcher.run("WATCH k");
        watcher.run("UNWATCH");
        std::thread::sleep(Duration::from_millis(3500));
        watcher.run("WATCH k");
        writer.run("INCR k");
        watcher.run("MULTI");
        watcher.run("PING");
        assert_eq!(watcher.run("EXEC").to_string(), "(nil)");
    }
}
