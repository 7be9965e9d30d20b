//! The libraries, by what redis-server 7.0 replies to the same scripts, and by what once broke others.

#![forbid(unsafe_code)]

use super::{bit, cjson, cmsgpack, structs};
use mlua::Lua;

fn lua() -> Lua {
    let lua = Lua::new();
    let globals = lua.globals();
    for (name, library) in [
        ("bit", bit::library(&lua)),
        ("cjson", cjson::library(&lua)),
        ("cmsgpack", cmsgpack::library(&lua)),
        ("struct", structs::library(&lua)),
    ] {
        globals.set(name, library.expect("memory")).expect("memory");
    }
    lua
}

/// A script that gives the values of an expression, or the error that it raises, as text. In one line: errors tell lines.
const SCRIPT: &str = concat!(
    "local function text(v) if type(v) == 'number' then return string.format('%.17g', v) end ",
    r#"if type(v) == 'string' then return '"' .. v:gsub('[^ -~]', function(c) return string.format('\\%03d', c:byte()) end) .. '"' end "#,
    "if type(v) == 'userdata' then return 'null' end if type(v) ~= 'table' then return tostring(v) end ",
    "local t = {} for k, x in pairs(v) do t[#t + 1] = text(k) .. '=' .. text(x) end return '{' .. table.concat(t, ',') .. '}' end ",
    "local function all(ok, ...) local t = {} for i = 1, select('#', ...) do t[i] = text((select(i, ...))) end ",
    "return (ok and '' or 'error ') .. table.concat(t, ' ') end return all(pcall(function() return @ end))",
);

fn values(lua: &Lua, expression: &str) -> String {
    lua.load(SCRIPT.replace('@', expression)).set_name("@user_script").eval().expect("pcall catches errors")
}

/// Shape: lines `expression => values`.
fn check(cases: &str) {
    let lua = lua();
    for line in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (expression, expected) = line.rsplit_once(" => ").expect("a line has an arrow");
        assert_eq!(values(&lua, expression), expected, "{expression}");
    }
}

#[test]
fn bits_wrap_as_those_of_luabitop() {
    check(
        r#"
        bit.tobit(0xffffffff), bit.tobit(2^32 + 1), bit.tobit(-2^40 - 3) => -1 1 -3
        bit.tobit(0.5), bit.tobit(1.5), bit.tobit(2.5) => 0 2 2
        bit.tohex(255), bit.tohex(-1, 4), bit.tohex(0x7fffffff, -8), bit.tohex(1, 0) => "000000ff" "ffff" "7FFFFFFF" ""
        bit.bnot(0), bit.band(255, 0x0f, 3), bit.bor(1, 2, 4), bit.bxor(1, 3) => -1 3 7 2
        bit.lshift(1, 31), bit.lshift(1, 32), bit.rshift(-1, 28), bit.arshift(-256, 4) => -2147483648 1 15 -16
        bit.rol(0x12345678, 12), bit.ror(0x12345678, 12), bit.bswap(0x12345678) => 1164411171 1736516421 2018915346
        bit.band() => error "user_script:1: bad argument #1 to 'band' (number expected, got no value)"
        bit.bor(1, {}) => error "user_script:1: bad argument #2 to 'bor' (number expected, got table)"
        bit.bnot('7') => -8
        pcall(bit.bnot) => false "bad argument #1 to '?' (number expected, got no value)"
    "#,
    );
}

/// CVE-2024-31449: the most negative count of digits has no positive counterpart, and the buffer had eight bytes.
#[test]
fn tohex_gives_at_most_eight_digits() {
    check(
        r#"
        bit.tohex(65535, -2147483648), bit.tohex(1, 2^31) => "0000FFFF" "00000001"
        bit.tohex(65535, -2147483647), bit.tohex(65535, 2147483647), bit.tohex(-1, 100), bit.tohex(1, -9) => "0000FFFF" "0000ffff" "ffffffff" "00000001"
    "#,
    );
}

#[test]
fn json_is_written_as_redis_writes_it() {
    check(
        r#"
        cjson.encode({}), cjson.encode({1, 2, 3}), cjson.encode({a = 1}) => "{}" "[1,2,3]" "{"a":1}"
        cjson.encode(1.1), cjson.encode(1e15), cjson.encode(0.1 + 0.2), cjson.encode(-0), cjson.encode('12') => "1.1" "1e+15" "0.3" "-0" ""12""
        cjson.encode({[1] = 1, [3] = 3}), cjson.encode({[1.5] = true}) => "[1,null,3]" "{"1.5":true}"
        cjson.encode("a\"b\\c/d\n\1\127\200") => ""a\"b\\c\/d\n\u0001\u007f\200""
        cjson.encode({[100] = 1}) => error "user_script:1: Cannot serialise table: excessively sparse array"
        cjson.encode(1 / 0) => error "user_script:1: Cannot serialise number: must not be NaN or Inf"
        cjson.encode({tostring}) => error "user_script:1: Cannot serialise function: type not supported"
        cjson.encode({[true] = 1}) => error "user_script:1: Cannot serialise boolean: table key must be a number or string"
        cjson.encode() => error "user_script:1: bad argument #1 to 'encode' (expected 1 argument)"
        cjson.encode({[2^31] = 1}) => "{"2147483648":1}"
        cjson.encode({[11] = 1, [2] = 2, [3] = 3, [4] = 4, [5] = 5}) => error "user_script:1: Cannot serialise table: excessively sparse array"
        cjson._NAME, cjson._VERSION, cjson.encode(cjson.null), cjson.encode({nil, 2}) => "cjson" "2.1.0" "null" "[null,2]"
    "#,
    );
}

#[test]
fn json_is_read_as_redis_reads_it() {
    check(
        r#"
        cjson.decode('[1,-2.5e3,true,null,"x"]') => {1=1,2=-2500,3=true,4=null,5="x"}
        cjson.decode('{"a":{"b":[]}}').a.b, cjson.decode('[0x10, 007, -Inf]') => {} {1=16,2=7,3=-inf}
        cjson.decode('"\\u0041\\u00e9\\ud83d\\ude00\\n\\/"') => "A\195\169\240\159\152\128\010/"
        cjson.decode('"\\ud83d"') => error "user_script:1: Expected value but found invalid unicode escape code at character 2"
        cjson.decode('[1,]') => error "user_script:1: Expected value but found T_ARR_END at character 4"
        cjson.decode('{"a" 1}') => error "user_script:1: Expected colon but found T_NUMBER at character 6"
        cjson.decode('{1:2}') => error "user_script:1: Expected object key string but found T_NUMBER at character 2"
        cjson.decode('[1 2]') => error "user_script:1: Expected comma or array end but found T_NUMBER at character 4"
        cjson.decode('1 x') => error "user_script:1: Expected the end but found invalid token at character 3"
        cjson.decode('') => error "user_script:1: Expected value but found T_END at character 1"
        cjson.decode('\0001') => error "user_script:1: JSON parser does not support UTF-16 or UTF-32"
        cjson.decode(12) => 12
        cjson.decode(nil) => error "user_script:1: bad argument #1 to 'decode' (string expected, got nil)"
        cjson.decode('"abc') => error "user_script:1: Expected value but found unexpected end of string at character 5"
        cjson.decode('[1]\0]') => {1=1}
        cjson.decode('nul') => error "user_script:1: Expected value but found invalid token at character 1"
    "#,
    );
}

#[test]
fn settings_belong_to_their_library() {
    check(
        r#"
        cjson.encode_max_depth(), cjson.encode_sparse_array() => 1000 false 2 10
        (function() local c = cjson.new() c.encode_max_depth(1) return {pcall(c.encode, {{}})} end)() => {1=false,2="Cannot serialise, excessive nesting (2)"}
        cjson.encode({{}}) => "[{}]"
        cjson.encode_number_precision(15) => error "user_script:1: bad argument #1 to 'encode_number_precision' (expected integer between 1 and 14)"
        (function() local c = cjson.new() return c.encode_invalid_numbers('null'), c.encode(0 / 0), c.encode_invalid_numbers(false) end)() => "null" "null" false
        cjson.decode_max_depth(1, 2) => error "user_script:1: bad argument #2 to 'decode_max_depth' (found too many arguments)"
        cjson.encode_keep_buffer('what') => error "user_script:1: bad argument #1 to 'encode_keep_buffer' (invalid option 'what')"
        (function() local c = cjson.new() return c.decode_invalid_numbers(false), pcall(c.decode, '0x10') end)() => false false "Expected value but found invalid number at character 1"
    "#,
    );
}

/// CVE-2022-24834: what escapes multiply overflowed a length. And nesting, which is bounded by settings and by Lua's stack, and
/// never by Rust's.
#[test]
fn huge_and_deep_values_are_refused_or_survive() {
    check(
        r#"
        #cjson.encode(string.rep('\0', 100000)) => 600002
        pcall(cjson.decode, string.rep('[', 1001)) => false "Found too many nested data structures (1001) at character 1001"
        #cjson.encode(cjson.decode(string.rep('[', 1000) .. string.rep(']', 1000))) => 2000
        (function() local c = cjson.new() c.decode_max_depth(2^31 - 1) return c.decode(string.rep('[', 10000)) end)() => error "user_script:1: Found too many nested data structures (7999) at character 7999"
        (function() local c = cjson.new() c.decode_max_depth(2^31 - 1) return c.decode(string.rep('{"a":', 10000)) end)() => error "user_script:1: Found too many nested data structures (4000) at character 19996"
        (function() local c = cjson.new() c.encode_max_depth(2^31 - 1) local t = {} t[1] = t return c.encode(t) end)() => error "user_script:1: Cannot serialise, excessive nesting (7998)"
        (function() local c = cjson.new() c.encode_max_depth(2^31 - 1) local t = {} t.a = t return c.encode(t) end)() => error "user_script:1: Cannot serialise, excessive nesting (4000)"
        cmsgpack.unpack(string.rep('\145', 100000)) => error "user_script:1: stack overflow (in function mp_decode_to_lua_array)"
        cmsgpack.unpack(string.rep('\129', 100000)) => error "user_script:1: stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
        cmsgpack.unpack(string.rep('\1', 9000)) => error "user_script:1: stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)"
        cmsgpack.unpack('\221\255\255\255\255') => error "user_script:1: Missing bytes in input."
        cmsgpack.unpack('\219\255\255\255\255abc') => error "user_script:1: Missing bytes in input."
        struct.pack('i99999999999', 1) => error "user_script:1: integral size overflow"
        struct.unpack('c2147483647', 'abc') => error "user_script:1: bad argument #2 to 'unpack' (data string too short)"
        struct.unpack(string.rep('b', 9000), string.rep('a', 9000)) => error "user_script:1: stack overflow (too many results)"
        (function() local t = {} for i = 1, 999 do t = {t} end return cjson.encode(t) == string.rep('[', 999) .. '{}' .. string.rep(']', 999) end)() => true
        (function() local t = {} t[1] = t return #cmsgpack.pack(t), pcall(cjson.encode, t) end)() => 17 false "Cannot serialise, excessive nesting (1001)"
    "#,
    );
}

#[test]
fn messages_are_packed_as_redis_packs_them() {
    check(
        r#"
        cmsgpack.pack(nil, true, false, 1, -1, 127, 128, -32, -33) => "\192\195\194\001\255\127\204\128\224\208\223"
        cmsgpack.pack(65536, 2^40, -2^31, 2^63) => "\206\000\001\000\000\207\000\000\001\000\000\000\000\000\210\128\000\000\000\202_\000\000\000"
        cmsgpack.pack(0.5, 0.1) => "\202?\000\000\000\203?\185\153\153\153\153\153\154"
        cmsgpack.pack({1, {a = 'x'}, {}}) => "\147\001\129\161a\161x\144"
        cmsgpack.unpack(cmsgpack.pack({1, 'x'}, 2)) => {1=1,2="x"} 2
        cmsgpack.unpack('\207\255\255\255\255\255\255\255\255') => -1
        cmsgpack.unpack_one('\1\2\3') => 1 1
        cmsgpack.unpack_limit('\1\2\3', 2, 1) => -1 2 3
        cmsgpack.unpack_one('\1\2\3', 1) => 2 2
        cmsgpack.unpack_one('\1', 2) => error "user_script:1: Start offset 2 greater than input length 1."
        cmsgpack.unpack_limit('\1', 1, -1) => error "user_script:1: Invalid request to unpack with offset of -1 and limit of 1."
        cmsgpack.unpack('\193') => error "user_script:1: Bad data format in input."
        cmsgpack.unpack('\129\192\1') => error "table index is nil"
        cmsgpack.pack() => error "user_script:1: bad argument #0 to 'pack' (MessagePack pack needs input.)"
        cmsgpack.unpack('\147\192\1\192') => {2=1}
    "#,
    );
}

#[test]
fn structures_are_laid_out_as_redis_lays_them_out() {
    check(
        r#"
        struct.pack('>HbI3', 1, -2, 3) => "\000\001\254\000\000\003"
        struct.pack('!4 b i', 1, 2), struct.size('!8 b d') => "\001\000\000\000\002\000\000\000" 16
        struct.unpack('>HbI3', '\0\1\254\0\0\3') => 1 -2 3 7
        struct.pack('sc3c0', 'ab', 'cdef', 'gh') => "ab\000cdegh"
        struct.unpack('Bc0s', '\2abcd\0e') => "ab" "cd" 7
        struct.unpack('<d>f', struct.pack('<d>f', 0.1, 0.5)) => 0.10000000000000001 0.5 13
        struct.pack('b') => error "user_script:1: bad argument #2 to 'pack' (number expected, got nil)"
        struct.pack('c4', 'abc') => error "user_script:1: bad argument #3 to 'pack' (string too short)"
        struct.pack('z', 1) => error "user_script:1: bad argument #1 to 'pack' (invalid format option 'z')"
        struct.pack('i33', 1) => error "user_script:1: integral size 33 is larger than limit of 32"
        struct.pack('!3', 1) => error "user_script:1: alignment 3 is not a power of 2"
        struct.size('s') => error "user_script:1: bad argument #1 to 'size' (option 's' has no fixed size)"
        struct.unpack('b', '', 0) => error "user_script:1: bad argument #3 to 'unpack' (offset must be 1 or greater)"
        struct.unpack('s', 'abc') => error "user_script:1: unfinished string in data"
        struct.unpack('c0', 'a') => error "user_script:1: format 'c0' needs a previous size"
    "#,
    );
}

/// A library whose values fill the interpreter's memory fails as any other code, and leaves nothing behind.
#[test]
fn a_limit_of_memory_ends_a_call() {
    let lua = lua();
    lua.set_memory_limit(lua.used_memory() + (16 << 20)).expect("Lua's allocator");
    for _ in 0..5 {
        let result = lua.load("return #cjson.decode('[' .. string.rep('{},', 500000) .. '1]')").eval::<i64>();
        assert!(matches!(result, Err(mlua::Error::MemoryError(_))), "{result:?}");
        lua.gc_collect().expect("no finalisers");
        assert_eq!(values(&lua, "cjson.encode({1})"), "\"[1]\"");
    }
}
