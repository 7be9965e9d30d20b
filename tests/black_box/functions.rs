//! Libraries of functions: how they come, what they are called with, what they may do, how they travel.

use crate::harness::check;

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
