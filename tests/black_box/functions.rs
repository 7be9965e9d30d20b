//! Libraries of functions: how they come, what they are called with, what they may do, how they travel.

use crate::harness::{Server, check, request};

#[test]
fn functions_get_keys_and_arguments_as_parameters() {
    check(
        "
        FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function(keys, args) return {keys[1], args[1], #args} end)\\nlocal function set(keys, args) redis.call('set', keys[1], args[1]) return redis.call('get', keys[1]) end\\nredis.register_function('set', set)\" => 'one'
        FCALL f 1 a b c               => ['a', 'b', 2]
        FCALL set 1 k v               => 'v'
        GET k                         => 'v'
        FCALL nope 0                  => ERR Function not found
        FCALL f x                     => ERR Bad number of keys provided
        FCALL f 2 a                   => ERR Number of keys can't be greater than number of args
        FCALL f -1 a                  => ERR Number of keys can't be negative
        FCALL_RO f 1 a                => ERR Can not execute a script with write flag using *_ro command.
        COMMAND GETKEYS FCALL f 2 a b c => ['a', 'b']
        FUNCTION DELETE one           => OK
        FCALL f 0                     => ERR Function not found
    ",
    );
}

#[test]
fn functions_keep_to_their_flags_and_their_sandbox() {
    check(
        "
        FUNCTION FLUSH                => OK
        FUNCTION LOAD \"#!lua name=two\\nredis.register_function{function_name='get', flags={'no-writes'}, callback=function(keys) return redis.call('get', keys[1]) end}\\nredis.register_function{function_name='sly', flags={'no-writes'}, callback=function(keys) return redis.pcall('set', keys[1], 1) end}\\nredis.register_function('late', function() redis.register_function('x', redis.log) end)\\nredis.register_function('math', function() return math.floor(2.5) end)\\nredis.register_function('bad', function() redis.call('nosuch') end)\" => 'two'
        SET k v                       => OK
        FCALL_RO get 1 k              => 'v'
        FCALL sly 1 k                 => ERR Write commands are not allowed from read-only scripts.
        FCALL math 0                  => 2
        FCALL late 0                  => ERR user_function:4: attempt to call field 'register_function' (a nil value) script: late, on @user_function:4.
        FCALL bad 0                   => ERR Unknown Redis command called from script script: bad, on @user_function:6.
        EVAL \"return redis.pcall('fcall', 'get', 0)\" 0 => ERR This Redis command is not allowed from script
    ",
    );
}

#[test]
fn libraries_are_listed_replaced_and_deleted() {
    check(
        "
        FUNCTION FLUSH                => OK
        FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function() return 1 end)\" => 'one'
        FUNCTION LOAD \"#!lua name=one\\nredis.register_function('f', function() return 2 end)\" => ERR Library 'one' already exists
        FCALL f 0                     => 1
        FUNCTION LOAD REPLACE \"#!lua name=one\\nredis.register_function('f', function() return 2 end)\" => 'one'
        FCALL f 0                     => 2
        FUNCTION LOAD \"#!lua name=two\\nredis.register_function('f', function() end)\" => ERR Function f already exists
        FUNCTION LOAD \"#!lua name=two\\nreturn math.random()\" => ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'math'
        FUNCTION LOAD \"#!lua name=two\\nx(\" => ERR Error compiling function: user_function:2: unexpected symbol near '<eof>'
        FUNCTION LIST LIBRARYNAME nothing => []
        FUNCTION LIST what            => ERR Unknown argument what
        FUNCTION STATS                => …
        FUNCTION DUMP                 => …
        FUNCTION RESTORE bytes        => ERR DUMP payload version or checksum are wrong
        FUNCTION KILL                 => NOTBUSY No scripts in execution right now.
        FUNCTION FLUSH                => OK
        FUNCTION LIST                 => []
        FUNCTION DELETE one           => ERR Library not found
        FUNCTION HELP                 => …
    ",
    );
}

#[test]
fn payloads_travel_between_redis_and_us_both_ways() {
    let (ours, theirs) = (Server::start(&[]), Server::reference());
    let long = format!(
        "#!lua name=long\n-- {}\nredis.register_function('l', function() return 'long' end)",
        "text ".repeat(2000)
    );
    let short = "#!lua name=short\nredis.register_function{function_name='s', callback=function(keys, args) return args[1] end, \
                 flags={'no-writes'}, description='says it'}";
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        let (mut from, mut to) = (from.client(), to.client());
        let say = |client: &mut crate::harness::Client, words: &[&[u8]]| {
            client.send(&request(words));
            client.reply()
        };
        say(&mut from, &[b"FUNCTION", b"FLUSH"]);
        for code in [short, &long] {
            say(&mut from, &[b"FUNCTION", b"LOAD", code.as_bytes()]);
        }
        let payload = say(&mut from, &[b"FUNCTION", b"DUMP"]).bytes().to_vec();
        assert_eq!(say(&mut to, &[b"FUNCTION", b"RESTORE", &payload, b"FLUSH"]).text(), "OK");
        assert_eq!(say(&mut to, &[b"FCALL", b"l", b"0"]).text(), "long");
        assert_eq!(say(&mut to, &[b"FCALL_RO", b"S", b"0", b"word"]).text(), "word");
        let list = |client: &mut crate::harness::Client| {
            let mut libraries: Vec<String> = ["long", "short"]
                .map(|name| {
                    client.send(&request(&["FUNCTION", "LIST", "LIBRARYNAME", name, "WITHCODE"]));
                    client.reply().to_string()
                })
                .into();
            libraries.sort();
            libraries
        };
        assert_eq!(list(&mut from), list(&mut to));
    }
}

#[test]
fn function_stats_tells_what_runs_too_long() {
    let server = Server::start(&[]);
    let (mut runner, mut other) = (server.client(), server.client());
    other.run("CONFIG SET busy-reply-threshold 1");
    other.send(&request(&[
        "FUNCTION",
        "LOAD",
        "#!lua name=a\nredis.register_function('spin', function() while true do end end)",
    ]));
    other.reply();
    runner.send(&request(&["FCALL", "spin", "0", "word"]));
    let stats = loop {
        let stats = other.run("FUNCTION STATS").to_string();
        if stats.contains("duration_ms") {
            break stats;
        }
    };
    assert!(stats.contains("'name', 'spin', 'command', ['FCALL', 'spin', '0', 'word']"), "{stats}");
    assert!(other.run("SCRIPT KILL").text().starts_with("BUSY"));
    assert_eq!(other.run("FUNCTION KILL").text(), "OK");
    assert!(runner.reply().text().contains("killed by user with FUNCTION KILL"));
    assert!(other.run("FUNCTION STATS").to_string().contains("'running_script', (nil)"));
}
