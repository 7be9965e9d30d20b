//! Which scripts are plain: they touch only the keys that they are given, and end soon. Found out from their text.
//!
//! Most scripts that programs send are a few lines: compare and delete, count and expire, move from one key to another. Who
//! runs such a one need not stop everybody else; it is enough to hold its keys (`exec::section`). Nothing can be taken back
//! once a script has written, so it must be certain before: what is accepted here is a small part of Lua, and all else is not
//! plain, whether it would keep to its keys or not.
//!
//! ```text
//! calls    redis.call('name', key, …) and redis.pcall, of commands whose only key is their first argument;  redis.call('TIME')
//! key      KEYS[number] or KEYS[name], or a name that is only ever one of these:  local name = KEYS[…]
//! loops    at most one:  for i, name in ipairs(KEYS) do     for i = 1, #KEYS do     the same of ARGV     for i = 1, 9 do
//! names    those that the script declares with `local`, and the ones in `GLOBALS`
//! ```
//! *Why that is enough.* KEYS and `redis` occur in these forms alone, so neither they nor a function of theirs ever gets
//! another name, is passed on, or is assigned to; no other way leads to them, because what gives access to globals by name, to
//! environments or to other code is no name that may occur. Without functions and with one loop a script does not run longer than
//! its text and its arguments are long; who loops over ARGV leaves it as it is.
//!
//! Whoever runs it so looks at each key once more (`exec::script`): a mistake here must not become somebody else's.

#![forbid(unsafe_code)]

use smallvec::SmallVec;

/// Longer texts are not looked at: it would take long to run all of that while keys are held.
const LEN_MAX: usize = 4 << 10;

/// Words that may stand anywhere between others. Not among them: what makes functions and loops.
const KEYWORDS: [&str; 16] = [
    "and", "break", "do", "else", "elseif", "end", "false", "if", "in", "local", "nil", "not", "or", "return", "then",
    "true",
];
/// Globals of which nothing leads to KEYS, to `redis` or to other code. `string.dump` and `table.sort` want functions, and
/// there are none to give but these libraries' own.
const GLOBALS: [&str; 16] = [
    "ARGV", "tonumber", "tostring", "type", "math", "string", "table", "cjson", "cmsgpack", "bit", "struct", "unpack",
    "select", "error", "assert", "os",
];
/// Commands that touch no key, and so may be called without one.
pub const KEYLESS: [&str; 1] = ["time"];
/// Rounds of a loop that counts to a number, and arguments of a script that is run as a plain one.
pub const ROUNDS_MAX: usize = 256;
/// Functions of `redis` that touch nothing.
const HARMLESS: [&str; 4] = ["error_reply", "status_reply", "sha1hex", "log"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    /// A name or a keyword.
    Word(&'s [u8]),
    /// What stands between quotes, as it stands there.
    Text(&'s [u8]),
    Number(&'s [u8]),
    Sign(&'s [u8]),
}

use Token::{Number, Sign, Text, Word};

const KEYS: Token<'_> = Word(b"KEYS");
const ARGV: Token<'_> = Word(b"ARGV");

/// Is this script plain? `is_single`: is this the name of a command whose only key is its first argument, whatever the others
/// are?
/// Cost: some ten nanoseconds per word.
pub fn is_plain(source: &[u8], is_single: impl Fn(&[u8]) -> bool) -> bool {
    source.len() <= LEN_MAX && tokens(source).is_some_and(|tokens| Script::of(&tokens).is_plain(is_single))
}

/// A script's text, cut into tokens. None: something stands there of which we want to know nothing, such as long brackets.
fn tokens(source: &[u8]) -> Option<Vec<Token<'_>>> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    let span =
        |from: usize, is_part: &dyn Fn(u8) -> bool| source[from..].iter().take_while(|&&byte| is_part(byte)).count();
    while let Some(&byte) = source.get(at) {
        let rest = &source[at..];
        let len = match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'-' if rest.starts_with(b"--[") => return None,
            b'-' if rest.starts_with(b"--") => {
                at += span(at, &|byte| byte != b'\n');
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => span(at, &|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            b'0'..=b'9' => span(at, &|byte| byte.is_ascii_alphanumeric() || byte == b'.'),
            b'"' | b'\'' => text_len(rest)?,
            b'[' if rest.starts_with(b"[[") || rest.starts_with(b"[=") => return None,
            b'=' | b'~' | b'<' | b'>' if rest.get(1) == Some(&b'=') => 2,
            b'.' if rest.starts_with(b"...") => return None,
            b'.' if rest.starts_with(b"..") => 2,
            b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'#' | b'<' | b'>' | b'=' | b'(' | b')' | b'{' | b'}' | b'['
            | b']' | b';' | b':' | b',' | b'.' => 1,
            _ => return None,
        };
        let token = &rest[..len];
        tokens.push(match byte {
            b'0'..=b'9' => Number(token),
            b'"' | b'\'' => Text(&token[1..len - 1]),
            _ if byte.is_ascii_alphabetic() || byte == b'_' => Word(token),
            _ => Sign(token),
        });
        at += len;
    }
    Some(tokens)
}

/// The length of the text at the start of `rest`, with its quotes. None: it does not end in its line.
fn text_len(rest: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *rest.get(at)? {
            byte if byte == rest[0] => return Some(at + 1),
            b'\\' => at += 2,
            b'\n' | b'\r' => return None,
            _ => at += 1,
        }
    }
}

/// A script that is being looked at.
struct Script<'t, 's> {
    tokens: &'t [Token<'s>],
    /// Names that the script declares.
    locals: SmallVec<[&'s [u8]; 8]>,
    /// Those of them that stand for keys, and where they are declared.
    aliases: SmallVec<[(&'s [u8], usize); 4]>,
    /// A loop is as long as ARGV.
    loops_over_arguments: bool,
}

impl<'t, 's> Script<'t, 's> {
    fn of(tokens: &'t [Token<'s>]) -> Self {
        let mut script =
            Script { tokens, locals: SmallVec::new(), aliases: SmallVec::new(), loops_over_arguments: false };
        for at in 0..tokens.len() {
            script.note_declared(at);
        }
        script
    }
    fn get(&self, at: usize) -> Option<Token<'s>> {
        self.tokens.get(at).copied()
    }
    fn is_sign(&self, at: usize, sign: &str) -> bool {
        self.get(at) == Some(Sign(sign.as_bytes()))
    }
    /// The names that are declared at `at`, if any are.
    fn note_declared(&mut self, at: usize) {
        match self.loop_at(at) {
            Some(Loop::Counting(name, list)) => {
                self.locals.push(name);
                self.loops_over_arguments |= list == Some(ARGV);
            }
            Some(Loop::Walking(index, name, list)) => {
                self.locals.extend([index, name]);
                self.loops_over_arguments |= list == ARGV;
                if list == KEYS {
                    self.aliases.push((name, at + 3));
                }
            }
            None if self.get(at) == Some(Word(b"local")) => {
                let mut next = at + 1;
                while let Some(Word(name)) = self.get(next) {
                    self.locals.push(name);
                    if !self.is_sign(next + 1, ",") {
                        break;
                    }
                    next += 2;
                }
                if let Some(Word(name)) = self.get(at + 1)
                    && self.is_sign(at + 2, "=")
                    && self.is_index(at + 3)
                    && self.ends_statement(at + 7)
                {
                    self.aliases.push((name, at + 1));
                }
            }
            None => {}
        }
    }
    /// One of the loops that begins at `at`.
    fn loop_at(&self, at: usize) -> Option<Loop<'s>> {
        match self.tokens.get(at..)? {
            [
                Word(b"for"),
                Word(index),
                Sign(b","),
                Word(name),
                Word(b"in"),
                Word(b"ipairs"),
                Sign(b"("),
                list @ (KEYS | ARGV),
                Sign(b")"),
                Word(b"do"),
                ..,
            ] => Some(Loop::Walking(index, name, *list)),
            [Word(b"for"), Word(name), Sign(b"="), Number(first), Sign(b","), rest @ ..] => {
                number(first)?;
                let (list, behind) = match rest {
                    [Sign(b"#"), list @ (KEYS | ARGV), behind @ ..] => (Some(*list), behind),
                    [Number(last), behind @ ..] if number(last)? <= ROUNDS_MAX => (None, behind),
                    _ => return None,
                };
                let is_head = match behind {
                    [Sign(b","), Number(step), Word(b"do"), ..] => number(step)? > 0,
                    _ => behind.first() == Some(&Word(b"do")),
                };
                is_head.then_some(Loop::Counting(name, list))
            }
            _ => None,
        }
    }
    /// Does `KEYS[…]` stand at `at`? Four tokens.
    fn is_index(&self, at: usize) -> bool {
        matches!(self.tokens.get(at..), Some([KEYS, Sign(b"["), Number(_) | Word(_), Sign(b"]"), ..]))
    }
    /// Does the expression before `at` end there, and with it the statement?
    fn ends_statement(&self, at: usize) -> bool {
        match self.get(at) {
            None | Some(Sign(b";")) => true,
            Some(Word(word)) => word != b"and" && word != b"or",
            _ => false,
        }
    }
    /// Does a key stand at `at`, and behind it the next argument or the end of them?
    fn is_key_argument(&self, at: usize) -> bool {
        let behind = match self.get(at) {
            Some(Word(name)) if self.aliases.iter().any(|&(alias, _)| alias == name) => at + 1,
            _ if self.is_index(at) => at + 4,
            _ => return false,
        };
        self.is_sign(behind, ",") || self.is_sign(behind, ")")
    }

    fn is_plain(&self, is_single: impl Fn(&[u8]) -> bool) -> bool {
        let (mut depth, mut loops) = (0_usize, 0);
        for (at, &token) in self.tokens.iter().enumerate() {
            let is_fine = match token {
                Sign(b"(" | b"{") => {
                    depth += 1;
                    true
                }
                Sign(b")" | b"}") => {
                    let is_closed = depth > 0;
                    depth = depth.saturating_sub(1);
                    is_closed
                }
                Word(word) => self.is_fine(at, word, depth, &mut loops, &is_single),
                _ => true,
            };
            if !is_fine {
                return false;
            }
        }
        true
    }

    /// May this word stand here?
    fn is_fine(
        &self,
        at: usize,
        word: &[u8],
        depth: usize,
        loops: &mut usize,
        is_single: &impl Fn(&[u8]) -> bool,
    ) -> bool {
        let is_one_of = |words: &[&str]| words.iter().any(|known| known.as_bytes() == word);
        let is_field = at > 0 && (self.is_sign(at - 1, ".") || self.is_sign(at - 1, ":"));
        match word {
            b"function" | b"while" | b"repeat" | b"until" => false,
            _ if is_field => true, // Of whatever stands before, which was looked at; `redis` sees to its own.
            b"KEYS" => self.may_name_keys(at, depth),
            b"ARGV" if self.loops_over_arguments => self.may_name_arguments(at, depth),
            b"redis" | b"server" => self.may_name_redis(at, is_single),
            b"for" => {
                *loops += 1;
                *loops == 1 && self.loop_at(at).is_some()
            }
            b"ipairs" => at >= 5 && matches!(self.loop_at(at - 5), Some(Loop::Walking(..))),
            _ if is_one_of(&KEYWORDS) || is_one_of(&GLOBALS) => true,
            _ if depth > 0 && self.is_sign(at + 1, "=") && !self.locals.contains(&word) => true, // `{name = value}`
            _ => self.locals.contains(&word) && self.stays_a_key(at, word, depth),
        }
    }
    /// KEYS: an element of it, to be read; its length; or in the head of a loop.
    fn may_name_keys(&self, at: usize, depth: usize) -> bool {
        if self.is_index(at) {
            return self.is_only_read(at + 4, depth);
        }
        self.is_length(at) || self.is_walked(at)
    }
    /// ARGV, where a loop is as long as it is: it must stay so. As KEYS; what `unpack` makes of it is something else.
    fn may_name_arguments(&self, at: usize, depth: usize) -> bool {
        match self.tokens.get(at + 1..) {
            Some([Sign(b"["), Number(_) | Word(_), Sign(b"]"), ..]) => self.is_only_read(at + 4, depth),
            Some([Sign(b"["), Word(_), Sign(b"+" | b"-"), Number(_), Sign(b"]"), ..]) => {
                self.is_only_read(at + 6, depth)
            }
            _ => self.is_length(at) || self.is_walked(at) || self.is_unpacked(at),
        }
    }
    fn is_length(&self, at: usize) -> bool {
        at > 0 && self.is_sign(at - 1, "#") && !self.is_sign(at + 1, "[")
    }
    /// Does a loop go through the list at `at`?
    fn is_walked(&self, at: usize) -> bool {
        at >= 7 && matches!(self.loop_at(at - 7), Some(Loop::Walking(..)))
    }
    fn is_unpacked(&self, at: usize) -> bool {
        let is_call = at >= 2 && self.is_sign(at - 1, "(") && self.tokens[at - 2] == Word(b"unpack");
        let is_field = at >= 3 && (self.is_sign(at - 3, ".") || self.is_sign(at - 3, ":"));
        is_call
            && !is_field
            && !self.locals.contains(&&b"unpack"[..])
            && (self.is_sign(at + 1, ")") || self.is_sign(at + 1, ","))
    }
    /// Is what stands before `at` not assigned to? (It may be asked for one of a text's methods, which makes another text.)
    fn is_only_read(&self, at: usize, depth: usize) -> bool {
        match self.get(at) {
            Some(Sign(b"=" | b"[" | b"." | b"(" | b"{") | Text(_)) => false,
            Some(Sign(b",")) => depth > 0, // Outside of brackets it may be the left side of an assignment.
            _ => true,
        }
    }
    /// `redis`: a call of one of its functions.
    fn may_name_redis(&self, at: usize, is_single: &impl Fn(&[u8]) -> bool) -> bool {
        let Some([Sign(b"."), Word(function), Sign(b"("), arguments @ ..]) = self.tokens.get(at + 1..) else {
            return matches!(self.tokens.get(at + 1..), Some([Sign(b"."), Word(level), ..]) if level.starts_with(b"LOG_"))
                && !self.is_sign(at + 3, "=");
        };
        match (*function, arguments) {
            (b"call" | b"pcall", [Text(name), Sign(b","), ..]) => is_single(name) && self.is_key_argument(at + 6),
            (b"call" | b"pcall", [Text(name), Sign(b")"), ..]) => {
                KEYLESS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
            }
            (function, _) => HARMLESS.iter().any(|known| known.as_bytes() == function),
        }
    }
    /// A name that stands for a key is declared once as one, and then only read. Others may do as they like.
    fn stays_a_key(&self, at: usize, word: &[u8], depth: usize) -> bool {
        let is_alias = |&&(alias, _): &&(&[u8], usize)| alias == word;
        if !self.aliases.iter().any(|alias| is_alias(&alias))
            || self.aliases.iter().any(|&(_, declared)| declared == at)
        {
            return true;
        }
        let is_listed = at > 0 && self.is_sign(at - 1, ",") && depth == 0;
        let is_declared = at > 0 && matches!(self.tokens[at - 1], Word(b"local" | b"for"));
        !is_listed && !is_declared && self.is_only_read(at + 1, depth)
    }
}

enum Loop<'s> {
    /// `for i = 1, #KEYS do`; the list whose length it is, if it is one's.
    Counting(&'s [u8], Option<Token<'s>>),
    /// `for i, name in ipairs(KEYS) do`
    Walking(&'s [u8], &'s [u8], Token<'s>),
}

/// A whole number in digits.
fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(source: &str) -> bool {
        let singles = ["get", "set", "incr", "expire", "del_one", "rpush", "lrange", "append"];
        is_plain(source.as_bytes(), |name| singles.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())))
    }

    #[test]
    fn what_programs_send_is_plain() {
        for source in [
            "",
            "return redis.call('SET', KEYS[1], ARGV[1])",
            "redis.call('SET',KEYS[1],ARGV[1]) redis.call('INCR',KEYS[1]) return redis.call('GET',KEYS[1])",
            "if redis.call(\"get\",KEYS[1]) == ARGV[1] then return redis.call(\"incr\",KEYS[1]) else return 0 end",
            "local current = redis.call('INCR', KEYS[1])\nif current == 1 then\n  redis.call('EXPIRE', KEYS[1], ARGV[1])\nend\nreturn current",
            "local key = KEYS[1]; local n = tonumber(redis.pcall('get', key) or '0') -- count\nreturn {n, key, #KEYS}",
            "local from, to = tonumber(redis.call('get', KEYS[1])), tonumber(redis.call('get', KEYS[2]))\n\
             redis.call('set', KEYS[1], from - 1) redis.call('set', KEYS[2], to + 1) return {from, to}",
            "local out = {} for i, key in ipairs(KEYS) do out[i] = redis.call('get', key) end return out",
            "for i = 1, #KEYS do redis.call('set', KEYS[i], ARGV[i]) end return redis.status_reply('DONE')",
            "redis.log(redis.LOG_NOTICE, 'x') return cjson.encode({a = redis.call('get', KEYS[1])})",
            "return redis.call('set', KEYS[1], KEYS[2])",
            "return string.format('%s', redis.call('get', KEYS[1])):upper()",
            "local l = ARGV for i, key in ipairs(KEYS) do local a = key:sub(1, 1) == 'l' if a then redis.call('get', key) end end",
            "return redis.error_reply('ERR \\'no\\' ' .. ARGV[1])",
            "for i = 1, #ARGV do redis.call('rpush', KEYS[1], ARGV[i]) end return #ARGV",
            "for i = 2, #ARGV, 2 do redis.call('set', KEYS[1], ARGV[i], ARGV[i + 1]) end return {unpack(ARGV, 1)}",
            "for i, value in ipairs(ARGV) do redis.call('rpush', KEYS[1], value) end return redis.call('lrange', KEYS[1], 0, -1)",
            "for i = 1, 3 do redis.call('INCR', KEYS[1]) end return redis.call('GET', KEYS[1])",
            "local now = redis.call('TIME')[1] redis.call('set', KEYS[1], now)",
            "ARGV[1] = 'x' return ARGV",
        ] {
            assert!(plain(source), "{source}");
        }
    }

    #[test]
    fn what_may_touch_other_keys_or_run_long_is_not() {
        for source in [
            // Keys of its own.
            "return redis.call('get', 'k')",
            "return redis.call('get', ARGV[1])",
            "return redis.call('get', KEYS[1] .. ':x')",
            "return redis.call('get', 'x' .. KEYS[1])",
            "local key = KEYS[1] .. 'x' return redis.call('get', key)",
            "local key = KEYS[1] or 'x' return redis.call('get', key)",
            "local key = KEYS[1] key = 'x' return redis.call('get', key)",
            "local key = KEYS[1] local a, key = 1, 'x' return redis.call('get', key)",
            "local key = KEYS[1] local key = 'x' return redis.call('get', key)",
            "local key = KEYS[1] local a a, key = 1, 'x' return redis.call('get', key)",
            "local key = KEYS[1] key, a = 'x', 1 return redis.call('get', key)",
            "local key = KEYS[1], 2 return redis.call('get', key)",
            "for i, key in ipairs(KEYS) do key = key .. i redis.call('get', key) end",
            "local key = KEYS[1]:upper() return redis.call('get', key)",
            "return redis.call('get', KEYS[1]:upper())",
            "return redis.call('get', (KEYS[1] .. 'x'))",
            "return redis.call('get', key)",
            // KEYS under another name, or changed.
            "KEYS[1] = 'x' return redis.call('get', KEYS[1])",
            "KEYS[1], a = 'x', 2 return redis.call('get', KEYS[1])",
            "local a a, KEYS[1] = 'x', 2 return redis.call('get', KEYS[1])",
            "KEYS = {'x'} return redis.call('get', KEYS[1])",
            "local KEYS = {'x'} return redis.call('get', KEYS[1])",
            "local keys = KEYS keys[1] = 'x' return redis.call('get', KEYS[1])",
            "table.insert(KEYS, 'x') return redis.call('get', KEYS[2])",
            "KEYS.x = 1",
            "table.sort(KEYS)",
            "return unpack(KEYS)",
            "return {KEYS}",
            "_G.KEYS = {'x'} return redis.call('get', KEYS[1])",
            "getfenv().KEYS = {} return redis.call('get', KEYS[1])",
            "rawset(ARGV, 1, 2)",
            "setmetatable(ARGV, {})",
            "getmetatable('').__index = nil",
            // `redis` under another name, and calls that are not certain.
            "local call = redis.call return call('get', 'k')",
            "local r = redis return r.call('get', 'k')",
            "local redis = {} return 1",
            "return redis['call']('get', 'k')",
            "return redis.call",
            "pcall(redis.call, 'get', 'k')",
            "redis.call = 1",
            "redis.x = 1",
            "redis.LOG_NOTICE = 1",
            "return redis.call 'get'",
            "return redis.call{'get'}",
            "local name = 'get' return redis.call(name, KEYS[1])",
            "return redis.call('get' .. '', KEYS[1])",
            "return redis.call('keys', KEYS[1])",
            "return redis.call('mget', KEYS[1], 'x')",
            "return redis.call('dbsize')",
            "return redis.call('time', 'x')",
            "return redis.call(unpack(ARGV))",
            "redis.set_repl(1)",
            "redis.setresp(3)",
            "redis.breakpoint()",
            "return redis.call('g\\101t', KEYS[1])",
            // Other code, and what may take long.
            "return loadstring('return 1')()",
            "load(ARGV[1])",
            "local f = function() end",
            "function f() end",
            "local function f() end",
            "while true do end",
            "repeat until true",
            "for i = 1, 1e9 do end",
            "for i = 1, 257 do end",
            "for i = 1, 0x7fffffff do end",
            "for i = 9, 1, 0 do end",
            "for i = 1, 9, 0 do end",
            "for i = 1, 9, x do end",
            "for i = 1, 9 do for j = 1, 9 do end end",
            "for i = 1, #ARGV do ARGV[i + 1] = 'x' end",
            "for i, x in ipairs(ARGV) do ARGV[i + 1] = x end",
            "for i, x in ipairs(ARGV) do table.insert(ARGV, x) end",
            "local a = ARGV for i, x in ipairs(ARGV) do a[i + 1] = x end",
            "local unpack = table.insert for i, x in ipairs(ARGV) do unpack(ARGV, x) end",
            "local t = {unpack = table.insert} for i, x in ipairs(ARGV) do t.unpack(ARGV, x) end",
            "ARGV[1], ARGV[2] = 1, 2 for i, x in ipairs(ARGV) do end",
            "local ARGV = KEYS for i, x in ipairs(ARGV) do end",
            "for i, key in ipairs(ARGV) do redis.call('get', key) end",
            "for i = 1, #KEYS do for j = 1, #KEYS do redis.call('get', KEYS[j]) end end",
            "for k, v in pairs(KEYS) do end",
            "for i, k in ipairs(ARGV) do redis.call('get', k) end",
            "return [[x]]",
            "--[[ x ]] return 1",
            "return [==[x]==]",
            "return 'x",
            "return 'x\ny'",
            "return \u{e9}",
            "return ...",
            "coroutine.wrap(redis.call)('get', 'k')",
            "return print(1)",
            ")(",
            "debug.sethook()",
            "require('x')",
        ] {
            assert!(!plain(source), "{source}");
        }
        assert!(!plain(&" ".repeat(LEN_MAX + 1)));
    }
}
