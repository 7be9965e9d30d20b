//! Scripts: what they are called with, what they may call, what their errors say, the cache, and scripts that run too long.

use crate::harness::{Client, Server, Value, check, check_with, engines, request, words};
use std::time::{Duration, Instant};

#[test]
fn scripts_get_keys_and_arguments_and_run_commands() {
    check(
        "
        EVAL \"return {KEYS[1],KEYS[2],ARGV[1],#ARGV}\" 2 a b c d => ['a', 'b', 'c', 2]
        EVAL \"redis.call('set', KEYS[1], ARGV[1]) return redis.call('incr', KEYS[1])\" 1 n 41 => 42
        EVALSHA 0000000000000000000000000000000000000000 0 => NOSCRIPT No matching script. Please use EVAL.
        EVALSHA short 0               => NOSCRIPT No matching script. Please use EVAL.
        EVAL_RO \"return redis.call('get', KEYS[1])\" 1 n => '42'
        EVAL \"return 1\" x           => ERR value is not an integer or out of range
        EVAL \"return 1\" 3 a         => ERR Number of keys can't be greater than number of args
        EVAL \"return 1\" -1          => ERR Number of keys can't be negative
        EVAL \"return redis.call('select', 3)\" 0 => OK
        GET n                         => '42'
        EVAL \"return server.call('ping')\" 0 => PONG
        EVAL \"return redis.call('brpoplpush', 'nothing', 'x', 0)\" 0 => *
        COMMAND GETKEYS EVAL \"return 1\" 2 a b c => ['a', 'b']
    ",
    );
}

#[test]
fn what_scripts_may_not_call_is_refused_in_the_words_of_redis() {
    check(
        "
        EVAL \"redis.call('nosuch')\" 0 => ERR Unknown Redis command called from script script: …, on @user_script:1.
        EVAL \"redis.call('get')\" 0  => ERR Wrong number of args calling Redis command from script script: …, on @user_script:1.
        EVAL \"redis.call('client', 'nosuch')\" 0 => ERR Unknown Redis command called from script script: …, on @user_script:1.
        EVAL \"return redis.pcall('multi')\" 0 => ERR This Redis command is not allowed from script
        EVAL \"return redis.pcall('eval', 'return 1', 0)\" 0 => ERR This Redis command is not allowed from script
        EVAL_RO \"return redis.pcall('set', 'k', 'v')\" 0 => ERR Write commands are not allowed from read-only scripts.
        SET s v                       => OK
        EVAL \"return redis.call('lpush', 's', 1)\" 0 => WRONGTYPE Operation against a key holding the wrong kind of value script: …, on @user_script:1.
        ACL SETUSER bob on nopass ~a* +@scripting +get +info => OK
        @bob AUTH bob x               => OK
        @bob EVAL \"return redis.pcall('get', 'b')\" 0 => ERR ACL failure in script: No permissions to access a key
        @bob EVAL \"return redis.pcall('set', 'a', 1)\" 0 => ERR ACL failure in script: User bob has no permissions to run the 'set' command
        @bob EVAL \"return {tostring(redis.acl_check_cmd('get','a')), tostring(redis.acl_check_cmd('set','a','1'))}\" 0 => ['true', 'false']
        @bob EVAL \"redis.acl_check_cmd('nosuch')\" 0 => ERR Invalid command passed to redis.acl_check_cmd() script: …, on @user_script:1.
        ACL LOG 1                     => …
        ACL DELUSER bob               => 1
    ",
    );
}

#[test]
fn the_first_line_of_a_script_is_kept_to() {
    check(
        "
        EVAL \"#!lua flags=no-writes\\nreturn redis.pcall('set', 'k', 'v')\" 0 => ERR Write commands are not allowed from read-only scripts.
        EVAL \"#!lua\\nreturn redis.call('set', 'k', 'v')\" 0 => OK
        EVAL_RO \"#!lua\\nreturn 1\" 0 => ERR Can not execute a script with write flag using *_ro command.
        EVAL_RO \"#!lua flags=no-writes\\nreturn 1\" 0 => 1
        EVAL \"#!not-lua\\nreturn 1\" 0 => ERR Unexpected engine in script shebang: #!not-lua
        EVAL \"#!lua flags=bad-flag\\nreturn 1\" 0 => ERR Unexpected flag in script shebang: bad-flag
        EVAL \"#!lua badger=data\\nreturn 1\" 0 => ERR Unknown lua shebang option: badger=data
        EVAL \"#!lua flags=allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\\n\\nerror('x')\" 0 => ERR user_script:3: x script: …, on @user_script:3.
    ",
    );
}

#[test]
fn scripts_see_replies_in_the_protocol_they_choose() {
    check(
        "
        HSET h f v                    => *
        EVAL \"return redis.call('hgetall', 'h')\" 0 => ['f', 'v']
        EVAL \"redis.setresp(3) return redis.call('hgetall', 'h').map.f\" 0 => 'v'
        EVAL \"redis.setresp(3) return redis.call('hgetall', 'h')\" 0 => ['f', 'v'] || {'f': 'v'}
        EVAL \"return type(redis.call('get', 'nothing'))\" 0 => 'boolean'
        EVAL \"redis.setresp(3) return type(redis.call('get', 'nothing'))\" 0 => 'nil'
        ZADD z 1.5 m                  => *
        EVAL \"redis.setresp(3) return redis.call('zscore', 'z', 'm').double * 2\" 0 => 3
        GET nothing                   => (nil)
    ",
    );
}

#[test]
fn the_cache_keeps_what_was_loaded_or_run() {
    check_with(
        &[],
        "
        SCRIPT LOAD \"return 7\"      => '59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9' || '59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9'
        EVALSHA 59B6AB2FBE0EE4B25733DE0F62E6CDA4899EF8E9 0 => 7
        EVALSHA_RO 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9 0 => 7
        SCRIPT EXISTS 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9 x => [1, 0]
        SCRIPT SHOW 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9 => 'return 7'
        SCRIPT SHOW x                 => NOSCRIPT No matching script. Please use EVAL.
        INFO memory                   => '…number_of_cached_scripts:1…'
        SCRIPT LOAD \"return return\" => ERR Error compiling script (new function): user_script:1: unexpected symbol near 'return'
        SCRIPT FLUSH maybe            => ERR SCRIPT FLUSH only support SYNC|ASYNC option
        SCRIPT FLUSH ASYNC            => OK
        SCRIPT EXISTS 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9 => [0]
        EVALSHA 59b6ab2fbe0ee4b25733de0f62e6cda4899ef8e9 0 => NOSCRIPT No matching script. Please use EVAL.
        SCRIPT KILL                   => NOTBUSY No scripts in execution right now.
        SCRIPT DEBUG no               => OK
        SCRIPT DEBUG maybe            => ERR Use SCRIPT DEBUG YES/SYNC/NO
        SCRIPT HELP                   => […]
        SCRIPT nosuch                 => ERR unknown subcommand 'nosuch'. Try SCRIPT HELP.
    ",
    );
}

#[test]
fn scripts_that_only_eval_brought_are_evicted_one_by_one() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let kept = client.run("SCRIPT LOAD \"return 'kept'\"").text();
    for n in 0..520 {
        assert_eq!(client.call(&["EVAL", &format!("return {n}"), "0"]).int(), n);
    }
    let info = client.run("INFO everything").text();
    assert!(info.contains("evicted_scripts:20\r\n") && info.contains("number_of_cached_scripts:501\r\n"));
    assert_eq!(client.call(&["EVALSHA", &kept, "0"]).text(), "kept");
}

#[test]
fn scripts_run_inside_transactions_and_wake_who_waits() {
    check(
        "
        @waiter BLPOP list 0          => (silence)
        EVAL \"redis.call('lpush', 'list', 'a', 'b') redis.call('rpop', 'list') return 1\" 0 => 1
        LLEN list                     => 0
        MULTI                         => OK
        SET n 1                       => QUEUED
        EVAL \"return redis.call('incr', 'n')\" 0 => QUEUED
        EXEC                          => [OK, 2]
    ",
    );
}

#[test]
fn monitors_see_the_script_and_then_its_commands() {
    let server = Server::start(&[]);
    let (mut monitor, mut client) = (server.client(), server.client());
    assert_eq!(monitor.run("MONITOR").to_string(), "OK");
    client.run("EVAL \"redis.call('set', 'k', 'v') return redis.call('get', 'k')\" 0");
    assert!(monitor.reply().to_string().contains("] \"EVAL\" \"redis.call("));
    assert!(monitor.reply().to_string().contains("[0 lua] \"set\" \"k\" \"v\""));
    assert!(monitor.reply().to_string().contains("[0 lua] \"get\" \"k\""));
    assert!(client.run("INFO commandstats").text().contains("cmdstat_get:calls=1,"));
}

const FOREVER: &str = "EVAL \"while true do end\" 0";

/// Waits until commands are refused.
fn until_busy(client: &mut Client) {
    let started = Instant::now();
    while !client.run("PING").to_string().starts_with("BUSY Redis is busy running a script.") {
        assert!(started.elapsed() < Duration::from_secs(30), "nothing is refused");
    }
}

#[test]
fn a_script_that_runs_too_long_lets_others_in_and_can_be_killed_from_every_loop() {
    for &engine in engines() {
        for threads in ["1", "2"] {
            let server = Server::start_on(engine, &["--threads", threads, "--busy-reply-threshold", "20"]);
            let mut others: Vec<Client> = (0..4).map(|_| server.client()).collect();
            let mut runner = server.client();
            for killer in 0..4 {
                runner.send(&request(&words(FOREVER)));
                others.iter_mut().for_each(until_busy);
                assert!(others[0].run("SCRIPT LOAD x").to_string().starts_with("BUSY"));
                assert!(others[1].run("SHUTDOWN").to_string().starts_with("BUSY"));
                assert_eq!(others[killer].run("SCRIPT KILL").to_string(), "OK");
                let reply = runner.reply().to_string();
                assert!(reply.starts_with("ERR Script killed by user with SCRIPT KILL... script: "), "{reply}");
                assert_eq!(others[killer].run("PING").to_string(), "PONG");
                assert_eq!(runner.run("SET k v").to_string(), "OK");
            }
        }
    }
}

/// Time stands still for a script, but not for ever: who waits for TIME to pass is answered once the script counts as slow.
#[test]
fn time_goes_on_for_a_script_that_is_busy() {
    let server = Server::start(&["--busy-reply-threshold", "20"]);
    let now = "local function now() local t = redis.call('TIME') return t[1] + t[2] / 1000000 end";
    let script = format!(
        "EVAL \"{now} local begun, same = now(), now() while now() < begun + 0.01 do end return begun == same\" 0"
    );
    assert_eq!(server.client().run(&script).int(), 1);
}

#[test]
fn a_script_that_has_written_cannot_be_killed_but_the_server_can() {
    for &engine in engines() {
        for threads in ["1", "2"] {
            let mut server = Server::start_on(engine, &["--threads", threads, "--busy-reply-threshold", "20"]);
            let (mut runner, mut other) = (server.client(), server.client());
            runner.send(&request(&words("EVAL \"redis.call('set', 'k', 'v') while true do end\" 0")));
            until_busy(&mut other);
            assert!(
                other.run("SCRIPT KILL").to_string().starts_with("UNKILLABLE Sorry the script already executed write")
            );
            other.send(b"SHUTDOWN NOSAVE\r\n");
            let started = Instant::now();
            while server.is_alive() {
                assert!(started.elapsed() < Duration::from_secs(30), "the server goes on");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Plain scripts on keys that they are given hold these; whatever else a script does, all loops stand still for it.
#[test]
fn a_plain_script_stops_nobody() {
    check_with(
        &["--threads", "2"],
        "
        SET text old                  => OK
        EVAL \"redis.call('set', KEYS[1], ARGV[1]) return redis.call('append', KEYS[1], 'er')\" 1 text new => 5
        GET text                      => 'newer'
        EVAL \"if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del_', KEYS[1]) end return 0\" 1 text other => 0
        EVAL \"redis.call('rpush', KEYS[1], 'a') redis.call('sadd', KEYS[2], 'b') redis.call('incr', KEYS[2])\" 2 list set => WRONGTYPE Operation against a key holding the wrong kind of value script: …, on @user_script:1.
        LRANGE list 0 -1              => ['a']
        EVAL \"local out = {} for i, key in ipairs(KEYS) do out[i] = redis.call('type', key) end return out\" 3 list set nosuch => [list, set, none]
        EVAL \"return redis.call('lpop', KEYS[1])\" 1 list => 'a'
        EXISTS list                   => 0
        EVAL \"redis.call('expire', KEYS[1], 100) return redis.call('ttl', KEYS[1])\" 1 text => 100
        EVAL \"return redis.call('get', KEYS[2])\" 1 text => ERR Lua redis lib command arguments must be strings or integers script: …, on @user_script:1.
        EVAL_RO \"return redis.call('set', KEYS[1], 1)\" 1 text => ERR Write commands are not allowed from read-only scripts. script: …, on @user_script:1.
        INFO stats                    => '…scripts_holding_keys:7…'
        EVAL \"return redis.call('get', 'text')\" 0 => 'newer'
        EVAL \"return redis.call('get', KEYS[1] .. 'xt')\" 1 te => 'newer'
        EVAL \"return redis.call('get', KEYS[1])\" 0 => ERR Lua redis lib command arguments must be strings or integers script: …, on @user_script:1.
        EVAL \"return redis.call('dbsize')\" 1 text => 2
        MULTI                         => OK
        EVAL \"return redis.call('get', KEYS[1])\" 1 text => QUEUED
        EXEC                          => ['newer']
        INFO stats                    => '…scripts_holding_keys:7…'
        @a BLPOP list queue 0         => (silence)
        EVAL \"redis.call('rpush', KEYS[1], 'x', 'y') return redis.call('llen', KEYS[1])\" 1 queue => 2
        @a PING                       => ['queue', 'x']
        LRANGE queue 0 -1             => ['y']
    ",
    );
}

/// Scripts on the same keys that follow one another share a section: they see each other, whatever comes between them sees what
/// came before, and who waits is served before the next one.
#[test]
fn scripts_on_one_key_follow_one_another() {
    const COUNT: usize = 100;
    const ADD: &str = "EVAL \"redis.call('incrby', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])\" 1";
    const PUSH: &str = "EVAL \"redis.call('rpush', KEYS[1], ARGV[1]) return redis.call('llen', KEYS[1])\" 1";
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2", "--notify-keyspace-events", "KEA"]);
        let (mut client, mut waiting, mut listener) = (server.client(), server.client(), server.client());
        let say = |client: &mut Client, lines: &[String]| -> Vec<String> {
            client.pipeline(lines).iter().map(ToString::to_string).collect()
        };
        // Each sees the ones before, and so do commands of the same and of another key in between.
        let lines: Vec<String> = (0..COUNT)
            .map(|n| match n % 10 {
                3 => "INCR n".into(),
                5 => "GET n".into(),
                7 => format!("{ADD} other 1"),
                8 => "EVAL \"return redis.call('nosuch', KEYS[1])\" 1 n".into(),
                _ => format!("{ADD} n 1"),
            })
            .collect();
        let (mut sum, mut other) = (0, 0);
        for (n, said) in say(&mut client, &lines).into_iter().enumerate() {
            match n % 10 {
                7 => other += 1,
                5 | 8 => {}
                _ => sum += 1,
            }
            match n % 10 {
                3 => assert_eq!(said, sum.to_string()),
                7 => assert_eq!(said, format!("'{other}'")),
                8 => assert!(said.starts_with("ERR Unknown"), "{said}"),
                _ => assert_eq!(said, format!("'{sum}'")),
            }
        }
        // Who waits is served between two scripts.
        waiting.send(&request(&words("BLPOP list 0")));
        assert!(waiting.is_silent());
        let lines: Vec<String> = ["a", "b", "c"].iter().map(|item| format!("{PUSH} list {item}")).collect();
        assert_eq!(say(&mut client, &lines), ["1", "1", "2"]);
        assert_eq!(waiting.reply().to_string(), "['list', 'a']");
        // Events come in the order of the scripts.
        listener.run("SUBSCRIBE __keyspace@0__:n");
        let lines = [format!("{ADD} n 1"), "EXPIRE n 100".into(), format!("{ADD} n 1"), "DEL n".into()];
        say(&mut client, &lines);
        for event in ["incrby", "expire", "incrby", "del"] {
            assert_eq!(listener.reply().to_string(), format!("['message', '__keyspace@0__:n', '{event}']"));
        }
        // Another loop's commands on the key come between sections, and none is lost.
        let mut clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
        let lines: Vec<String> =
            (0..500).map(|n| if n % 7 == 0 { "INCR n".into() } else { format!("{ADD} n 1") }).collect();
        clients.iter_mut().for_each(|client| client.send_lines(&lines));
        for client in &mut clients {
            let said = client.replies(lines.len());
            let number = |said: &Value| said.to_string().trim_matches('\'').parse().expect("a number");
            let said: Vec<usize> = said.iter().map(number).collect();
            assert!(said.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert_eq!(client.run("GET n").to_string(), "'2000'");
    }
}

/// A listing that goes on over many turns comes between scripts that share their held key.
#[test]
fn scripts_that_follow_one_another_let_a_slice_of_a_listing_come_between() {
    let add: Vec<String> = vec!["EVAL \"return redis.call('incr', KEYS[1])\" 1 n".into(); 60];
    for &engine in engines() {
        let server = Server::start_on(engine, &["--threads", "2"]);
        let mut client = server.client();
        client.run("DEBUG POPULATE 30000");
        let mut listing: Vec<Client> = (0..4).map(|_| server.client()).collect();
        let mut adding: Vec<Client> = (0..4).map(|_| server.client()).collect();
        for round in 1..=5 {
            listing.iter_mut().for_each(|client| client.send_lines(&["KEYS key:*"]));
            adding.iter_mut().for_each(|client| client.send_lines(&add));
            adding.iter_mut().for_each(|client| drop(client.replies(add.len())));
            assert!(listing.iter_mut().all(|client| client.reply().items().len() == 30_000));
            assert_eq!(client.run("GET n").text(), (round * 4 * add.len()).to_string());
        }
        let stats = client.run("INFO stats").text();
        assert!(!stats.contains("scripts_holding_keys:0\r\n"), "{stats}");
    }
}

#[test]
fn inside_scripts_sets_are_sorted_and_time_stands_still() {
    check(
        "
        SADD s a b c d e f g h aa azz ab x y z ad => 15
        EVAL \"return redis.call('sort', KEYS[1], 'by', '_')\" 1 s => ['a', 'aa', 'ab', 'ad', 'azz', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'x', 'y', 'z']
        EVAL \"local a = redis.call('time') for i = 1, 100000 do end local b = redis.call('time') return a[1] == b[1] and a[2] == b[2]\" 0 => 1
    ",
    );
}
