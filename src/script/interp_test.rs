//! Scripts against a host that answers from a list.

#![forbid(unsafe_code)]

use super::host::{Host, LogLevel, Verdict};
use super::{Call, Interp, Options, plain};
use crate::base::prng::Prng;
use crate::resp::args::{Arg, Args, Parts};
use crate::resp::error::ReplyError;
use crate::resp::reply::{Proto, Reply};

/// Answers ECHO with its argument, RAW with its argument as the reply's bytes, anything else with an error.
#[derive(Default)]
struct Fake {
    seen: Vec<String>,
    interrupts: u32,
    is_patient: bool,
    errors: Vec<String>,
}

impl Host for Fake {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply) {
        let words: Vec<_> = args.iter_from(0).map(String::from_utf8_lossy).collect();
        self.seen.push(words.join(" "));
        match words[0].to_lowercase().as_str() {
            "echo" if args.count() > 1 => reply.bulk(args.get(1)),
            "raw" => reply.raw(args.get(1)),
            "shared" => reply.bulk_shared(bytes::Bytes::from_static(b"shared")),
            _ => reply.error(&ReplyError::text("ERR no such thing")),
        }
    }
    fn may_run(&mut self, args: Args<'_>) -> Option<bool> {
        match args.get(0) {
            b"get" => Some(true),
            b"set" => Some(false),
            _ => None,
        }
    }
    fn interrupt(&mut self) -> Verdict {
        self.interrupts += 1;
        if self.interrupts > 3 && !self.is_patient {
            Verdict::End("ERR Script killed by user with SCRIPT KILL...")
        } else {
            Verdict::GoOn
        }
    }
    fn log(&mut self, level: LogLevel, line: &[u8]) {
        self.seen.push(format!("{level:?} {}", String::from_utf8_lossy(line)));
    }
    fn count_error(&mut self, code: &str) {
        self.errors.push(code.into());
    }
}

struct Rig {
    interp: Interp,
    host: Fake,
}

impl Rig {
    fn new() -> Self {
        Rig { interp: Interp::new(Options { version: "7.2.4", memory_max: 16 << 20 }), host: Fake::default() }
    }
    fn eval_as(&mut self, proto: Proto, script: &str) -> String {
        self.host.seen.clear();
        let mut reply = Reply { proto, ..Reply::default() };
        let text = "key1arg1arg2";
        let items = [0, 4, 8].map(|offset| Arg { offset, len: 4, hash: 0 });
        let parts = Parts { buf: text.as_bytes(), items: &items, large: &[] };
        match self.interp.compile(script.as_bytes(), c"@user_script") {
            Ok(chunk) => {
                let args = Args::of(&parts);
                let call = Call { chunk, name: "f00", args, first: 0, key_count: 1, is_eval: true, is_watched: true };
                self.interp.run(&call, &mut self.host, &mut reply);
                self.interp.forget(chunk);
            }
            Err(message) => reply.raw(message.as_bytes()),
        }
        String::from_utf8_lossy(&reply.take().buf).into_owned()
    }
    fn eval(&mut self, script: &str) -> String {
        self.eval_as(Proto::Resp2, script)
    }
}

#[track_caller]
fn gives(script: &str, resp2: &str, resp3: &str) {
    let mut rig = Rig::new();
    assert_eq!([rig.eval_as(Proto::Resp2, script), rig.eval_as(Proto::Resp3, script)], [resp2, resp3], "{script}");
}

#[track_caller]
fn same(script: &str, reply: &str) {
    gives(script, reply, reply);
}

#[test]
fn values_become_replies() {
    same("return 1", ":1\r\n");
    same("return -3.99", ":-3\r\n");
    same("return 1e300", ":-9223372036854775808\r\n");
    same("return 'a\\r\\nb'", "$4\r\na\r\nb\r\n");
    same("return {KEYS[1], ARGV[1], ARGV[2], nil, 5}", "*3\r\n$4\r\nkey1\r\n$4\r\narg1\r\n$4\r\narg2\r\n");
    same("return {1, {2, {}}}", "*2\r\n:1\r\n*2\r\n:2\r\n*0\r\n");
    gives("return nil", "$-1\r\n", "_\r\n");
    gives("return", "$-1\r\n", "_\r\n");
}

#[test]
fn booleans_depend_on_the_protocol_of_the_script() {
    gives("return true", ":1\r\n", ":1\r\n");
    gives("return false", "$-1\r\n", "_\r\n");
    gives("redis.setresp(3); return true", ":1\r\n", "#t\r\n");
    gives("redis.setresp(3); return {false}", "*1\r\n:0\r\n", "*1\r\n#f\r\n");
}

#[test]
fn marked_tables_become_what_they_say() {
    same("return {ok='a\\r\\nb'}", "+a  b\r\n");
    same("return {err='BAD a\\nb\\n'}", "-BAD a b\r\n");
    same("return redis.error_reply('-BAD x')", "-BAD x\r\n");
    same("return redis.error_reply('one')", "-ERR one\r\n");
    same("return redis.status_reply('FINE')", "+FINE\r\n");
    same("return redis.status_reply(1)", "-ERR wrong number or type of arguments\r\n");
    gives("return {double=3.5}", "$3\r\n3.5\r\n", ",3.5\r\n");
    gives("return {big_number='12\\r3'}", "$4\r\n12 3\r\n", "(12 3\r\n");
    gives("return {verbatim_string={format='mkd',string='x'}}", "$1\r\nx\r\n", "=5\r\nmkd:x\r\n");
    gives("return {map={a=1}}", "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n");
    gives("return {set={a=true}}", "*1\r\n$1\r\na\r\n", "~1\r\n$1\r\na\r\n");
    same("return {map=1, 7}", "*1\r\n:7\r\n");
}

#[test]
fn replies_become_values() {
    let mut rig = Rig::new();
    let mut kind = |reply: &str, look: &str| rig.eval(&format!("local v = redis.call('raw', '{reply}') return {look}"));
    assert_eq!(kind(":42\\r\\n", "v + 1"), ":43\r\n");
    assert_eq!(kind("$2\\r\\nab\\r\\n", "v"), "$2\r\nab\r\n");
    assert_eq!(kind("$-1\\r\\n", "type(v)"), "$7\r\nboolean\r\n");
    assert_eq!(kind("*-1\\r\\n", "tostring(v)"), "$5\r\nfalse\r\n");
    assert_eq!(kind("_\\r\\n", "type(v)"), "$3\r\nnil\r\n");
    assert_eq!(kind("+FINE\\r\\n", "v.ok"), "$4\r\nFINE\r\n");
    assert_eq!(kind("*2\\r\\n:1\\r\\n*1\\r\\n:2\\r\\n", "v[2][1]"), ":2\r\n");
    assert_eq!(kind(",1.25\\r\\n", "v.double * 4"), ":5\r\n");
    assert_eq!(kind("(123456789012345678901234567890\\r\\n", "#v.big_number"), ":30\r\n");
    assert_eq!(kind("#t\\r\\n", "tostring(v)"), "$4\r\ntrue\r\n");
    assert_eq!(kind("=6\\r\\ntxt:hi\\r\\n", "v.verbatim_string.format .. v.verbatim_string.string"), "$5\r\ntxthi\r\n");
    assert_eq!(kind("%1\\r\\n+a\\r\\n:1\\r\\n", "next(v.map).ok"), "$1\r\na\r\n");
    assert_eq!(kind("~1\\r\\n:5\\r\\n", "tostring(v.set[5])"), "$4\r\ntrue\r\n");
    assert_eq!(kind("|1\\r\\n+ttl\\r\\n:3\\r\\n:8\\r\\n", "v"), ":8\r\n");
    assert_eq!(rig.eval("return redis.call('shared')"), "$6\r\nshared\r\n");
}

#[test]
fn arguments_are_strings_and_numbers() {
    let mut rig = Rig::new();
    rig.eval("redis.call('echo', 'a', 1, 2.5, -0.1, 1e20, 0.1, 12345678901)");
    assert_eq!(rig.host.seen, ["echo a 1 2.5 -0.1 1e+20 0.1 12345678901"]);
    let refusal =
        "-ERR Lua redis lib command arguments must be strings or integers script: f00, on @user_script:1.\r\n";
    assert_eq!(rig.eval("redis.call('echo', {})"), refusal);
    assert_eq!(
        rig.eval("return redis.pcall()"),
        "-ERR Please specify at least one argument for this redis lib call\r\n"
    );
    let large = rig.eval("return #redis.call('echo', string.rep('x', 100000))");
    assert_eq!(large, ":100000\r\n");
}

#[test]
fn errors_tell_where_they_happened() {
    same("\nreturn redis.call('nope')", "-ERR no such thing script: f00, on @user_script:2.\r\n");
    same("return redis.pcall('nope').err", "$17\r\nERR no such thing\r\n");
    same("return redis.pcall('nope')", "-ERR no such thing\r\n");
    same(
        "local t = nil\nt.x = 1",
        "-ERR user_script:2: attempt to index local 't' (a nil value) script: f00, on @user_script:2.\r\n",
    );
    same("error('boo')", "-ERR user_script:1: boo script: f00, on @user_script:1.\r\n");
    same("error({err='MY own'})", "-MY own script: f00, on @user_script:1.\r\n");
    same("error()", "-ERR nil script: f00, on @user_script:1.\r\n");
    same("return {pcall(error, {err='X y'})}[2]", "user_script:1: '<eof>' expected near '['");
    same("local ok, e = pcall(redis.call, 'nope') return e", "$17\r\nERR no such thing\r\n");
    same(
        "local ok, e = pcall(function() error('x', 0) end) return {tostring(ok), e}",
        "*2\r\n$5\r\nfalse\r\n$1\r\nx\r\n",
    );
}

#[test]
fn errors_are_counted_once() {
    let mut rig = Rig::new();
    rig.eval("return redis.call('nope')");
    rig.eval("return redis.pcall('nope')");
    assert_eq!(rig.host.errors, [""; 0]);
    rig.eval("return redis.error_reply('MINE x')");
    rig.eval("error('x')");
    assert_eq!(rig.host.errors, ["MINE", "ERR"]);
}

#[test]
fn nothing_stays_behind() {
    let mut rig = Rig::new();
    let mut is_refused = |script: &str| {
        let reply = rig.eval(script);
        assert!(reply.contains("Attempt to modify a readonly table"), "{script}: {reply}");
    };
    for script in [
        "x = 1",
        "redis = nil",
        "redis.call = nil",
        "server.call = nil",
        "string.rep = nil",
        "math.pi = 3",
        "rawset(_G, 'x', 1)",
        "rawset(redis, 'x', 1)",
        "table.insert(redis, 1)",
        "setmetatable(_G, nil)",
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index = nil",
        "getmetatable('').__add = nil",
        "setmetatable(string, {})",
        "_G._G = 1",
        "getfenv(0).x = 1",
        "coroutine.wrap(function() x = 1 end)()",
        "table.insert(string, 1, 1)",
        "rawset(getmetatable(''), '__index', nil)",
        "loadstring('x = 1')()",
        "local _, t = pairs(redis) t.x = 1",
        "setfenv(0, {}) redis.x = 1",
        "local k, v = next(_G) _G[k] = 1",
    ] {
        is_refused(script);
    }
    let missing = rig.eval("return x");
    let text = "Script attempted to access nonexistent global variable 'x'";
    assert_eq!(missing, format!("-ERR user_script:1: {text} script: f00, on @user_script:1.\r\n"));
    for name in ["dofile", "loadfile", "print", "debug", "io", "package", "require", "module"] {
        assert!(rig.eval(&format!("return {name}")).contains("nonexistent global variable"), "{name}");
    }
    assert_eq!(
        rig.eval("local n = 0 for _ in pairs(os) do n = n + 1 end return {n, type(os.clock())}"),
        "*2\r\n:1\r\n$6\r\nnumber\r\n"
    );
    assert_eq!(rig.eval("setfenv(1, {}) y = 1 return y"), ":1\r\n");
    assert_eq!(rig.eval("return #KEYS + #ARGV"), ":3\r\n");
    assert_eq!(
        rig.eval("local t = {} for k in pairs(math) do t[k] = 1 end return {t.pi, t.random}"),
        "*2\r\n:1\r\n:1\r\n"
    );
    assert_eq!(
        rig.eval("return {rawget(math, 'pi') == math.pi, next({}) == nil, next({5})}"),
        "*4\r\n:1\r\n:1\r\n:1\r\n:5\r\n"
    );
}

#[test]
fn a_script_that_runs_for_long_is_ended_however_it_catches_errors() {
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    ] {
        let mut rig = Rig::new();
        let reply = rig.eval(script);
        assert!(reply.starts_with("-ERR Script killed by user with SCRIPT KILL... script: f00, on "), "{reply}");
        assert_eq!(rig.eval("return 1"), ":1\r\n");
    }
}

#[test]
fn memory_is_bounded_and_running_out_of_it_is_an_error() {
    let mut rig = Rig::new();
    rig.host.is_patient = true;
    let reply = rig.eval("local t = {} for i = 1, 1e9 do t[i] = tostring(i) .. 'xxxxxxxxxx' end");
    assert!(reply.contains("not enough memory"), "{reply}");
    assert!(rig.interp.memory() < 8 << 20, "the garbage is gone: {}", rig.interp.memory());
    assert!(rig.eval("return string.rep('x', 1024*1024*256)").contains("not enough memory"));
    assert_eq!(rig.eval("return pcall(string.rep, 'x', 1024*1024*256)"), "$-1\r\n");
    assert_eq!(rig.eval("return 1"), ":1\r\n");
}

#[test]
fn deep_and_circular_tables_end_with_an_error_inside() {
    let mut rig = Rig::new();
    let reply = rig.eval("local t = {} t[1] = t return t");
    assert!(reply.ends_with("*1\r\n-ERR reached lua stack limit\r\n"), "{}", &reply[reply.len() - 60..]);
}

#[test]
fn random_numbers_are_the_same_everywhere() {
    same(
        "math.randomseed(1) return {math.random(1000), math.random(10, 20), math.floor(math.random() * 1e6)}",
        "*3\r\n:42\r\n:14\r\n:834817\r\n",
    );
    same(
        "return math.random(0)",
        "-ERR user_script:1: bad argument #1 to 'random' (interval is empty) script: f00, on @user_script:1.\r\n",
    );
}

#[test]
fn the_log_gets_words_with_spaces_between() {
    let mut rig = Rig::new();
    rig.eval("redis.log(redis.LOG_NOTICE, 'a', 1, {}, 'b')");
    assert_eq!(rig.host.seen, ["Notice a 1 b"]);
    assert!(rig.eval("redis.log(10, 'x')").starts_with("-ERR Invalid debug level."));
}

#[test]
fn constants_and_small_functions() {
    same("return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}", "*2\r\n$5\r\n7.2.4\r\n:459268\r\n");
    same("return redis.sha1hex('')", "$40\r\nda39a3ee5e6b4b0d3255bfef95601890afd80709\r\n");
    same(
        "return {tostring(redis.breakpoint()), redis.replicate_commands(), server.call == redis.call}",
        "*3\r\n$5\r\nfalse\r\n:1\r\n:1\r\n",
    );
    same("return tostring(redis.acl_check_cmd('get')) .. tostring(redis.acl_check_cmd('set'))", "$9\r\ntruefalse\r\n");
    same("return redis.pcall ~= nil and redis.set_repl(redis.REPL_ALL) == nil", ":1\r\n");
    same("redis.setresp(4)", "-ERR RESP version must be 2 or 3. script: f00, on @user_script:1.\r\n");
}

#[test]
fn what_a_script_sets_as_environment_is_set_back() {
    let mut rig = Rig::new();
    assert_eq!(rig.eval("setfenv(0, {}) return 1"), ":1\r\n");
    assert_eq!(rig.eval("return loadstring('return KEYS[1]')()"), "$4\r\nkey1\r\n");
}

#[test]
fn unpack_refuses_ranges_that_overflow() {
    same("return {unpack({1, 2, 3})}", "*3\r\n:1\r\n:2\r\n:3\r\n");
    same("return {unpack({1, 2, 3}, 2)}", "*2\r\n:2\r\n:3\r\n");
    same("return select('#', unpack({}, 5, 4))", ":0\r\n");
    for range in ["0, 2147483647", "-2147483648, 2147483647", "-2147483648, -1", "1, 8001", "-2, 2147483646"] {
        let reply = Rig::new().eval(&format!("return {{unpack({{1}}, {range})}}"));
        assert!(reply.contains("too many results to unpack"), "{range}: {reply}");
    }
    same("return select('#', unpack({}, -2147483648, -2147483647))", ":2\r\n");
    same("return select('#', unpack({}, 2147483646, 2147483647))", ":2\r\n");
}

/// CVE-2024-46981: finalisers that run at the end of an interpreter, when what they touch is gone. Nothing here can have one.
#[test]
fn an_interpreter_ends_well_whatever_scripts_left_behind() {
    let mut rig = Rig::new();
    assert!(rig.eval("return newproxy").contains("nonexistent global variable 'newproxy'"));
    let leave = "local t = setmetatable({}, {__gc = function() redis.call('echo', 'gone') end, __mode = 'k'}) \
                 local c = coroutine.create(function() coroutine.yield(t) end) coroutine.resume(c) t[c] = t \
                 string.gmatch('abc', '.')() return collectgarbage('count') > 0";
    assert_eq!(rig.eval(leave), ":1\r\n");
    assert_eq!(rig.eval("collectgarbage() collectgarbage() return 1"), ":1\r\n");
    assert!(rig.host.seen.is_empty(), "tables have no finalisers: {:?}", rig.host.seen);
    assert_eq!(rig.eval(leave), ":1\r\n");
    drop(rig);
}

/// CVE-2025-46819: long brackets of so many characters that Lua's lexer overflows. Before such a source is read it is refused,
/// by EVAL and by `loadstring`; and what a script may build is bounded by its memory.
#[test]
fn sources_that_overflow_the_lexer_are_not_compiled() {
    let mut rig = Rig::new();
    let huge = vec![0; (512 << 20) + 1]; // The system gives zeroes without touching them, and only the length is looked at.
    assert_eq!(rig.interp.compile(&huge, c"@user_script").unwrap_err(), "chunk is too long");
    let reply = rig.eval("return loadstring('return [' .. string.rep('=', 2^30) .. '[')");
    assert!(reply.starts_with("-ERR") && reply.contains("memory"), "{reply}");
    assert_eq!(
        rig.eval("return loadstring('return [' .. string.rep('=', 1000) .. '[x]' .. string.rep('=', 1000) .. ']')()"),
        "$1\r\nx\r\n"
    );
}

#[test]
fn a_chunks_name_lives_while_it_is_compiled() {
    // The collector runs whenever it can; the name is a string that nothing else holds.
    let script = "collectgarbage('setpause', 0) collectgarbage('setstepmul', 100000)
        local made = 0
        for i = 1, 300 do
          local source = 'local a = {' .. string.rep('{1,2,\"x' .. i .. '\"},', 50) .. '} return function() error(\"e\") end'
          local f = loadstring(source, '=' .. string.rep('n', 40) .. i)
          local ok, message = pcall(f())
          assert(message == string.rep('n', 40) .. i .. ':1: e', message)
          made = made + 1
        end
        return made";
    same(script, ":300\r\n");
}

#[test]
fn sources_come_from_strings_and_functions_and_are_never_bytecode() {
    same("return loadstring('return 7', 'x')()", ":7\r\n");
    same(
        "local f, e = loadstring('return return', '=name') return e",
        "$39\r\nname:1: unexpected symbol near 'return'\r\n",
    );
    same(
        "local f, e = loadstring(string.dump(function() return 1 end)) return e",
        "$23\r\nbytecode is not allowed\r\n",
    );
    same(
        "local n = 0 return load(function() n = n + 1 if n < 1000 then return ' ' end if n == 1000 then return 'return 9' end end)()",
        ":9\r\n",
    );
    same("local f, e = load(function() error('x', 0) end) return e", "$1\r\nx\r\n");
    same("local f, e = load(function() return {} end) return e", "$36\r\nreader function must return a string\r\n");
    same("return #[====[a]===]b]====]", ":7\r\n");
}

#[test]
fn table_insert_is_luas() {
    same("local t = {1, 3} table.insert(t, 2, 2) table.insert(t, 4) return t", "*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n");
    same("local t = {} table.insert(t, 1, 1) table.insert(t, 1, 0) return t", "*2\r\n:0\r\n:1\r\n");
    assert!(Rig::new().eval("table.insert({})").contains("wrong number of arguments to 'insert'"));
}

#[test]
fn functions_called_without_arguments_answer_with_errors() {
    for call in [
        "redis.error_reply()",
        "redis.status_reply()",
        "redis.call()",
        "redis.sha1hex()",
        "redis.log()",
        "redis.setresp()",
    ] {
        assert!(Rig::new().eval(&format!("return {call}")).starts_with("-ERR "), "{call}");
    }
    for call in
        ["pcall()", "rawget()", "rawset()", "next()", "pairs()", "setmetatable()", "unpack()", "loadstring()", "load()"]
    {
        assert!(
            Rig::new().eval(&format!("return {call}")).starts_with("-ERR user_script:1: bad argument #1"),
            "{call}"
        );
    }
}

/// Pieces of plain scripts.
const PLAIN: [&str; 16] = [
    "local key = KEYS[1]",
    "local b = ARGV[1]",
    "b = key",
    "redis.call('echo', KEYS[1])",
    "redis.call('echo', key)",
    "redis.pcall('echo', key, 1)",
    "if redis.call('echo', key) == KEYS[1] then redis.call('echo', key, b) end",
    "for i, key in ipairs(KEYS) do redis.call('echo', key) end",
    "for i = 1, #KEYS do redis.call('echo', KEYS[i]) end",
    "for i, b in ipairs(KEYS) do",
    "for i = 1, #ARGV do redis.call('echo', key, ARGV[i]) end",
    "for i, b in ipairs(ARGV) do redis.call('echo', KEYS[1], b) end",
    "for i = 1, 3 do redis.call('echo', KEYS[1]) end",
    "b = unpack(ARGV)",
    "end",
    "-- ]] key = 'other'\n",
];

/// What could lead a script to other keys.
const STRAY: [&str; 34] = [
    "local key = KEYS[1] .. 'x'",
    "local key = KEYS[1] or 'x'",
    "local key, b = KEYS[1], 'other'",
    "local a, key = KEYS[1], 'other'",
    "key = 'other'",
    "key, b = 'other', 1",
    "b, key = 1, 'other'",
    "local a = {key = 'other', KEYS[1]}",
    "key = a.key",
    "a.key = 'other'",
    "local a = KEYS",
    "a[1] = 'other'",
    "KEYS[1] = 'other'",
    "KEYS[1], b = 'other', 1",
    "KEYS = {'other'}",
    "local KEYS = {'other'}",
    "table.insert(KEYS, 1, 'other')",
    "local call = redis.call",
    "call('echo', 'other')",
    "local redis = {call = redis.call}",
    "redis.call('echo', KEYS[b])",
    "redis.call('echo', key .. 'x')",
    "redis.call('echo', (key))",
    "redis.call('echo', a[1])",
    "redis.call('echo', b)",
    "redis.call('echo', KEYS[1]:upper())",
    "for i, b in ipairs(ARGV) do",
    "for i, key in ipairs(ARGV) do redis.call('echo', key) end",
    "ARGV[1] = 'other'",
    "return redis.call('echo', ARGV[1])",
    "local function key() return 'other' end",
    "string.key = 'other'",
    "_G.KEYS = {'other'}",
    "pcall(redis.call, 'echo', 'other')",
];

#[test]
fn whatever_is_called_plain_touches_only_the_keys_that_it_was_given() {
    let (mut rig, mut prng) = (Rig::new(), Prng::seeded(1));
    let mut pick = |count: usize| (prng.next_u64() % count as u64) as usize;
    let (mut strays, mut plain_calls) = (0, 0);
    for _ in 0..60_000 {
        let (mut source, strays_of_ten) = (String::new(), pick(4));
        for _ in 0..2 + pick(6) {
            source.push_str(if pick(10) < strays_of_ten { STRAY[pick(STRAY.len())] } else { PLAIN[pick(PLAIN.len())] });
            source.push_str([" ", "\n", "; "][pick(3)]);
        }
        if pick(4) == 0 {
            let at = pick(source.len());
            source.replace_range(at..at + 1, ["", "=", ",", "(", "'", "[", " "][pick(7)]);
        }
        let is_plain = plain::is_plain(source.as_bytes(), |name| name == b"echo");
        rig.host.interrupts = 0;
        rig.eval(&source);
        let called: Vec<_> = rig.host.seen.iter().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect();
        if is_plain {
            assert!(called.iter().all(|&key| key == "key1"), "{source}\ncalls {called:?}");
            assert_eq!(rig.host.interrupts, 0, "{source}");
            plain_calls += called.len();
        } else {
            strays += called.iter().filter(|&&key| key != "key1").count();
        }
    }
    assert!(strays > 500 && plain_calls > 1_000, "{strays} strays among others, {plain_calls} calls of plain ones");
}
