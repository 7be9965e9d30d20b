//! The values of the parameters, shared by all loops and changeable while the server runs.
//!
//! Numbers (switches and words of a choice among them) are atomics, one a row of `PARAMS`: the data path reads them with
//! one relaxed load. Texts are behind a lock and are read at start, by AUTH and by CONFIG. CONFIG SET checks all its
//! values, then stores them all, under that lock; `generation` tells loops that keep derived values to look again.

use super::params::{Change, Effect, Id, Kind, PARAMS, Param, TITLE_VARIABLES};
use crate::base::glob;
use crate::base::num::{f64_text, parse_f64, parse_i64, parse_memory};
use crate::base::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the module header.
pub struct Config {
    numbers: Box<[AtomicI64]>,
    /// Hard limit, soft limit in bytes and its seconds, for each `ClientClass`.
    output_limits: [[AtomicU64; 3]; 3],
    generation: AtomicU32,
    /// Has a line or an option set save points? The first one takes the defaults away, later ones add to it.
    has_save_points: AtomicU32,
    /// The defaults are those of redis-server.
    stands_in: bool,
    /// Held while CONFIG SET stores and applies.
    changing: Mutex<()>,
    texts: Mutex<Box<[Vec<u8>]>>,
}

/// What kind of client an output limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    Normal = 0,
    Replica = 1,
    PubSub = 2,
}

/// How much unsent output a client may have; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard: u64,
    pub soft: u64,
    /// How long the soft limit may be passed.
    pub soft_seconds: u64,
}

/// Why CONFIG SET changed nothing. The text is the reply without its `ERR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    Unknown(Vec<u8>),
    Refused { name: Vec<u8>, reason: Cow<'static, str> },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let name = String::from_utf8_lossy(name);
                write!(f, "Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Refused { name, reason } => {
                let name = String::from_utf8_lossy(name);
                write!(f, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

type Reason = Cow<'static, str>;

/// A checked value.
#[derive(Debug)]
enum Value {
    Number(i64),
    Text(Vec<u8>),
    Limits(Vec<(ClientClass, OutputLimit)>),
}

impl Config {
    /// Every parameter at its default.
    pub fn new() -> Config {
        let config = Config {
            numbers: PARAMS.iter().map(|_| AtomicI64::new(0)).collect(),
            output_limits: Default::default(),
            generation: AtomicU32::new(0),
            has_save_points: AtomicU32::new(0),
            stands_in: false,
            changing: Mutex::new(()),
            texts: Mutex::new(PARAMS.iter().map(|_| Vec::new()).collect()),
        };
        for (row, param) in PARAMS.iter().enumerate() {
            let value = parse(param, &words_of(param, param.default.as_bytes()));
            config.store(
                &mut config.lock(),
                Id(row),
                value.unwrap_or_else(|reason| panic!("{}: {reason}", param.name)),
            );
        }
        config
    }
    /// The defaults of redis-server where ours are others: it listens on all addresses (and `protected-mode` guards it).
    pub fn standing_in() -> Config {
        let config = Config { stands_in: true, ..Config::new() };
        config.set_text(Id::BIND, b"* -::*");
        config.set_text(Id::SAVE, b"3600 1 300 100 60 10000");
        config
    }
    /// What this one was before anything was set.
    pub fn defaults(&self) -> Config {
        if self.stands_in { Config::standing_in() } else { Config::new() }
    }
    /// The number, switch (0 or 1) or choice (index of its word) of a parameter.
    #[inline]
    pub fn number(&self, id: Id) -> i64 {
        self.numbers[id.0].load(Ordering::Relaxed)
    }
    /// A copy of a parameter's text.
    pub fn text(&self, id: Id) -> Vec<u8> {
        self.lock()[id.0].clone()
    }
    /// The words of a parameter of kind `Words`.
    pub fn words(&self, id: Id) -> Vec<String> {
        String::from_utf8_lossy(&self.text(id)).split_ascii_whitespace().map(str::to_string).collect()
    }
    /// The chosen word of an `Enum` parameter.
    pub fn word(&self, id: Id) -> &'static str {
        let Kind::Enum(words) = id.param().kind else { return "" };
        words.get(self.number(id) as usize).copied().unwrap_or("")
    }
    /// The output limit of a class of clients.
    #[inline]
    pub fn output_limit(&self, class: ClientClass) -> OutputLimit {
        let [hard, soft, soft_seconds] = &self.output_limits[class as usize];
        let get = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        OutputLimit { hard: get(hard), soft: get(soft), soft_seconds: get(soft_seconds) }
    }
    /// Changes with every CONFIG SET.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }
    /// Stores what the start found out (`threads`, `maxclients`, `dir`): no checks.
    pub fn set_number(&self, id: Id, value: i64) {
        self.store(&mut self.lock(), id, Value::Number(value));
    }
    /// As `set_number`, for a text.
    pub fn set_text(&self, id: Id, value: &[u8]) {
        self.store(&mut self.lock(), id, Value::Text(value.to_vec()));
    }
    /// Sets a parameter from the words of an option or of a line of a configuration file.
    pub fn set_at_start(&self, id: Id, words: &[Vec<u8>]) -> Result<(), Reason> {
        let param = id.param();
        let words = match words {
            [one] if param.kind.takes_words() => words_of(param, one),
            [_] => words.to_vec(),
            _ if param.kind.takes_words() => words.to_vec(),
            _ => return Err("wrong number of arguments".into()),
        };
        let mut value = parse(param, &words)?;
        let mut texts = self.lock();
        if let (Kind::SavePoints, Value::Text(points)) = (param.kind, &mut value)
            && self.has_save_points.swap(1, Ordering::Relaxed) != 0
            && !points.is_empty()
        {
            let before = &texts[id.0];
            *points = [before, points.as_slice()].join(&b' ').trim_ascii().to_vec();
        }
        self.store(&mut texts, id, value);
        Ok(())
    }
    /// What the log should say of a parameter that has another value than its default and no effect here.
    pub fn idle_warning(&self, id: Id) -> Option<String> {
        let param = id.param();
        let shown = self.get_one(id);
        let is_off = param.kind == Kind::SavePoints && shown.is_empty();
        let is_idle = param.effect == Effect::Shown && !is_off && shown != self.defaults().get_one(id);
        is_idle.then(|| format!("'{}' is accepted for compatibility and has no effect here", param.name))
    }
    /// As `set_with`, where nothing follows at once.
    pub fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), ConfigError> {
        self.set_with(pairs, false, |_| Ok(()))
    }
    /// CONFIG SET: all pairs or none. `apply` does what must follow at once from the parameters that were stored; if it fails
    /// it says for which of them and why, and all have their old values again, which are applied like any others: something
    /// may have followed from the new ones already.
    pub fn set_with(
        &self,
        pairs: &[(&[u8], &[u8])],
        is_local: bool,
        apply: impl Fn(&[Id]) -> Result<(), (Id, String)>,
    ) -> Result<(), ConfigError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids = Vec::with_capacity(pairs.len());
        let refused = |name: &[u8], reason: Reason| ConfigError::Refused { name: name.to_vec(), reason };
        for (name, value) in pairs {
            let id = Id::find(name).ok_or_else(|| ConfigError::Unknown(name.to_vec()))?;
            self.may_change(id, value, is_local).map_err(|reason| refused(name, reason.into()))?;
            // A parameter and its alias are no duplicates: the later one holds.
            if pairs[..ids.len()].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
                return Err(refused(name, "duplicate parameter".into()));
            }
            ids.push(id);
        }
        let mut texts = self.lock();
        let mut values = Vec::with_capacity(pairs.len());
        for (id, (name, value)) in ids.iter().zip(pairs) {
            let param = id.param();
            let value = parse(param, &words_of(param, value));
            values.push(value.map_err(|reason| refused(id.spelled(name).as_bytes(), reason))?);
        }
        let old: Vec<Value> = ids.iter().map(|&id| self.value(&texts, id)).collect();
        let store_all = |texts: &mut [Vec<u8>], values: Vec<Value>| {
            ids.iter().zip(values).for_each(|(&id, value)| self.store(texts, id, value));
            self.generation.fetch_add(1, Ordering::Relaxed);
        };
        store_all(&mut texts, values);
        drop(texts); // `apply` reads them.
        apply(&ids).map_err(|(id, reason)| {
            store_all(&mut self.lock(), old);
            let _ = apply(&ids); // They were in force a moment ago.
            refused(id.param().name.as_bytes(), reason.into())
        })
    }
    /// The stored form of a parameter's value.
    fn value(&self, texts: &[Vec<u8>], id: Id) -> Value {
        match id.param().kind {
            Kind::OutputLimits => {
                let classes = [ClientClass::Normal, ClientClass::Replica, ClientClass::PubSub];
                Value::Limits(classes.map(|class| (class, self.output_limit(class))).to_vec())
            }
            kind if kind.is_text() => Value::Text(texts[id.0].clone()),
            _ => Value::Number(self.number(id)),
        }
    }
    /// CONFIG GET: names (aliases too) that match any of the patterns, with their values, each once. A name that is no
    /// pattern is shown in the case in which it was asked for.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let texts = self.lock();
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for pattern in patterns {
            let is_pattern = pattern.iter().any(|byte| b"[*?".contains(byte));
            let visible = |(_, param): &(usize, &Param)| !is_pattern || !param.is_hidden;
            for (row, param) in PARAMS.iter().enumerate().filter(visible) {
                for name in [param.name, param.alias].map(str::as_bytes) {
                    let matches = if is_pattern {
                        glob::matches_nocase(pattern, name)
                    } else {
                        name.eq_ignore_ascii_case(pattern)
                    };
                    if name.is_empty() || !matches || found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                        continue;
                    }
                    let shown = if is_pattern { name } else { pattern };
                    found.push((shown.to_vec(), self.shown(&texts, Id(row))));
                }
            }
        }
        found
    }
    /// The value of one parameter, as CONFIG GET shows it.
    pub fn get_one(&self, id: Id) -> Vec<u8> {
        self.shown(&self.lock(), id)
    }
    fn lock(&self) -> MutexGuard<'_, Box<[Vec<u8>]>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn may_change(&self, id: Id, value: &[u8], is_local: bool) -> Result<(), &'static str> {
        let is_protected = match self.word(Id::ENABLE_PROTECTED) {
            "yes" => false,
            "local" => !is_local,
            _ => true,
        };
        match id.param().change {
            Change::AtStartOwn if self.get_one(id) == value => Ok(()),
            Change::AtStart | Change::AtStartOwn => Err("can't set immutable config"),
            Change::Protected if is_protected => Err("can't set protected config"),
            _ => Ok(()),
        }
    }
    fn store(&self, texts: &mut [Vec<u8>], id: Id, value: Value) {
        match value {
            Value::Number(number) => self.numbers[id.0].store(number, Ordering::Relaxed),
            Value::Text(text) => {
                // So that `number` of a text says whether there is one: `requirepass`.
                self.numbers[id.0].store(!text.is_empty() as i64, Ordering::Relaxed);
                texts[id.0] = text;
            }
            Value::Limits(limits) => {
                for (class, limit) in limits {
                    let values = [limit.hard, limit.soft, limit.soft_seconds];
                    for (cell, value) in self.output_limits[class as usize].iter().zip(values) {
                        cell.store(value, Ordering::Relaxed);
                    }
                }
            }
        }
    }
    fn shown(&self, texts: &[Vec<u8>], id: Id) -> Vec<u8> {
        let number = self.number(id);
        match id.param().kind {
            Kind::Bool => {
                if number != 0 {
                    b"yes".to_vec()
                } else {
                    b"no".to_vec()
                }
            }
            // Redis 7.2 does not show `n` beside `A`.
            Kind::Events if texts[id.0].starts_with(b"A") => {
                texts[id.0].iter().copied().filter(|&letter| letter != b'n').collect()
            }
            Kind::Int { .. } | Kind::Clamped { .. } => number.to_string().into_bytes(),
            Kind::Memory { .. } => (number as u64).to_string().into_bytes(),
            Kind::MemoryOrPercent if number < 0 => format!("{}%", -number).into_bytes(),
            Kind::MemoryOrPercent => number.to_string().into_bytes(),
            Kind::Octal { .. } => format!("{number:o}").into_bytes(),
            Kind::Enum(_) => self.word(id).as_bytes().to_vec(),
            Kind::OutputLimits => self.output_limits_text().into_bytes(),
            _ => texts[id.0].clone(),
        }
    }
    fn output_limits_text(&self) -> String {
        let classes =
            [("normal", ClientClass::Normal), ("slave", ClientClass::Replica), ("pubsub", ClientClass::PubSub)];
        let texts = classes.map(|(name, class)| {
            let limit = self.output_limit(class);
            format!("{name} {} {} {}", limit.hard, limit.soft, limit.soft_seconds)
        });
        texts.join(" ")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// One value as words: split at spaces if the parameter takes several.
fn words_of(param: &Param, value: &[u8]) -> Vec<Vec<u8>> {
    if !param.kind.takes_words() {
        return vec![value.to_vec()];
    }
    value.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
}

/// Checks and reads a value. Errors: the reason, in Redis's words where Redis has any.
fn parse(param: &Param, words: &[Vec<u8>]) -> Result<Value, Reason> {
    let value = parse_kind(param.kind, words)?;
    if let Effect::Only(reason) = param.effect {
        let default = parse_kind(param.kind, &words_of(param, param.default.as_bytes()))?;
        let same = match (&value, &default) {
            (Value::Number(a), Value::Number(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b || a == b"no one" && param.name == "replicaof",
            _ => false,
        };
        if param.name == "replicaof" && !same {
            check_primary(words)?;
        }
        return if same { Ok(default) } else { Err(reason.into()) };
    }
    Ok(value)
}

/// The address of a primary, before its words are refused for what they ask.
/// Errors: as Redis's.
fn check_primary(words: &[Vec<u8>]) -> Result<(), Reason> {
    match words {
        words if words.len() != 2 => Err("wrong number of arguments".into()),
        [_, port] if parse_i64(port).is_none_or(|port| !(0..=65535).contains(&port)) => {
            Err("Invalid master port".into())
        }
        _ => Ok(()),
    }
}

fn parse_kind(kind: Kind, words: &[Vec<u8>]) -> Result<Value, Reason> {
    let first = words.first().map_or(&[][..], Vec::as_slice);
    let joined = || Value::Text(words.join(&b' '));
    match kind {
        Kind::Bool => match first.to_ascii_lowercase().as_slice() {
            b"yes" => Ok(Value::Number(1)),
            b"no" => Ok(Value::Number(0)),
            _ => Err("argument must be 'yes' or 'no'".into()),
        },
        Kind::Int { min, max } => {
            let number = parse_i64(first).ok_or("argument couldn't be parsed into an integer")?;
            within(number as i128, min as i128, max as i128).map(|()| Value::Number(number))
        }
        Kind::Clamped { min, max } => {
            let number = parse_i64(first).ok_or("argument couldn't be parsed into an integer")?;
            within(number as i128, 0, i32::MAX as i128).map(|()| Value::Number(number.clamp(min, max)))
        }
        Kind::Memory { min, max } => {
            let number = parse_memory(first).ok_or("argument must be a memory value")?;
            within(number as i128, min as i128, max as i128).map(|()| Value::Number(number as i64))
        }
        Kind::MemoryOrPercent => parse_memory_or_percent(first),
        Kind::Octal { max } => {
            let text = std::str::from_utf8(first).ok();
            let number = text.and_then(|text| i64::from_str_radix(text, 8).ok());
            let number = number.ok_or("argument couldn't be parsed as an octal number")?;
            let fits = (0..=max).contains(&number);
            fits.then_some(Value::Number(number))
                .ok_or(format!("argument must be between 0 and {max:o} inclusive").into())
        }
        Kind::Enum(choices) => parse_choice(choices, first).map(|at| Value::Number(at as i64)),
        Kind::Flags(choices) => {
            words.iter().try_for_each(|word| parse_choice(choices, word).map(drop))?;
            let has = |wanted: &[u8]| words.iter().any(|word| word.eq_ignore_ascii_case(wanted));
            if has(b"save") && has(b"nosave") {
                return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
            }
            if words.is_empty() {
                return Err(one_of(choices));
            }
            // In the order of the choices, each once; the first one stands for none of the others.
            let mut given: Vec<&str> =
                choices.iter().skip(1).copied().filter(|choice| has(choice.as_bytes())).collect();
            if given.is_empty() {
                given.push(choices[0]);
            }
            Ok(Value::Text(given.join(" ").into_bytes()))
        }
        Kind::FileName if first.is_empty() => Err("file name can't be empty".into()),
        Kind::FileName if first.contains(&b'/') => Err("file name can't be a path, just a filename".into()),
        Kind::HostName if first.len() >= HOST_NAME_LEN_MAX => {
            Err(format!("Hostnames must be less than {HOST_NAME_LEN_MAX} characters").into())
        }
        Kind::HostName if !first.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(byte)) => {
            Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into())
        }
        Kind::Title if !is_title(first) => Err("template format is invalid or contains unknown variables".into()),
        Kind::Text | Kind::FileName | Kind::HostName | Kind::Title | Kind::Secret => Ok(joined()),
        Kind::Words => {
            // An empty text among words stands for none at all: `bind ""`. Blanks in quotes separate words, too.
            let words = words.iter().flat_map(|word| word.split(u8::is_ascii_whitespace));
            let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
            Ok(Value::Text(words.join(&b' ')))
        }
        Kind::SavePoints => parse_save_points(words),
        Kind::OutputLimits => parse_output_limits(words).map(Value::Limits),
        Kind::Events => parse_events(first),
        Kind::Percentiles => parse_percentiles(words),
        Kind::OomScores => {
            if words.len() != 3 {
                return Err("wrong number of arguments".into());
            }
            let valid = |word: &Vec<u8>| parse_i64(word).is_some_and(|score| (-2000..=2000).contains(&score));
            let reason = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
            words.iter().all(valid).then(joined).ok_or(reason.into())
        }
    }
}

/// Source: Redis, `NET_HOST_STR_LEN`.
const HOST_NAME_LEN_MAX: usize = 256;

/// Is the template not empty, and are all its braces those of known variables? Source: Redis, `sdstemplate`.
fn is_title(template: &[u8]) -> bool {
    let mut rest = template;
    while let Some(at) = memchr::memchr(b'{', rest) {
        rest = &rest[at + 1..];
        if let Some(literal) = rest.strip_prefix(b"{") {
            rest = literal;
            continue;
        }
        let Some(end) = memchr::memchr(b'}', rest) else { return false };
        if !TITLE_VARIABLES.iter().any(|name| name.as_bytes() == &rest[..end]) {
            return false;
        }
        rest = &rest[end + 1..];
    }
    !template.trim_ascii().is_empty()
}

fn within(number: i128, min: i128, max: i128) -> Result<(), Reason> {
    let fits = (min..=max).contains(&number);
    if fits { Ok(()) } else { Err(format!("argument must be between {min} and {max} inclusive").into()) }
}

fn parse_choice(choices: &[&str], word: &[u8]) -> Result<usize, Reason> {
    let found = choices.iter().find_map(|choice| {
        let (spelling, meaning) = choice.split_once('=').unwrap_or((choice, choice));
        let same = spelling.as_bytes().eq_ignore_ascii_case(word);
        same.then(|| choices.iter().position(|choice| *choice == meaning)).flatten()
    });
    found.ok_or_else(|| one_of(choices))
}

fn one_of(choices: &[&str]) -> Reason {
    let names: Vec<_> = choices.iter().map(|choice| choice.split('=').next().unwrap_or(choice)).collect();
    format!("argument(s) must be one of the following: {}", names.join(", ")).into()
}

fn parse_memory_or_percent(text: &[u8]) -> Result<Value, Reason> {
    if let [digits @ .., b'%'] = text {
        let percent = parse_i64(digits).filter(|&percent| percent >= 0);
        return match percent.ok_or("argument must be a memory or percent value")? {
            percent @ 0..=100 => Ok(Value::Number(-percent)),
            _ => Err("percentage argument must be less or equal to 100".into()),
        };
    }
    let bytes = parse_memory(text).and_then(|bytes| i64::try_from(bytes).ok());
    bytes.map(Value::Number).ok_or("argument must be a memory or percent value".into())
}

fn parse_save_points(words: &[Vec<u8>]) -> Result<Value, Reason> {
    let words: Vec<_> = words.iter().filter(|word| !word.is_empty()).collect();
    let positive = |word: &&Vec<u8>| parse_i64(word).is_some_and(|number| number >= 1);
    if words.len() % 2 != 0 || !words.iter().all(positive) {
        return Err("Invalid save parameters".into());
    }
    let words: Vec<_> = words.iter().map(|word| word.as_slice()).collect();
    Ok(Value::Text(words.join(&b' ')))
}

fn parse_output_limits(words: &[Vec<u8>]) -> Result<Vec<(ClientClass, OutputLimit)>, Reason> {
    if !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".into());
    }
    let mut limits = Vec::new();
    for group in words.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_slice() {
            b"normal" => ClientClass::Normal,
            b"slave" | b"replica" => ClientClass::Replica,
            b"pubsub" => ClientClass::PubSub,
            _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
        };
        let seconds = parse_i64(&group[3]).and_then(|seconds| u64::try_from(seconds).ok());
        let (Some(hard), Some(soft), Some(soft_seconds)) = (parse_memory(&group[1]), parse_memory(&group[2]), seconds)
        else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit configuration.".into());
        };
        limits.push((class, OutputLimit { hard, soft, soft_seconds }));
    }
    Ok(limits)
}

/// Letters of event classes, put in Redis's order; `A` stands for all but `K`, `E`, `m` and `n`.
fn parse_events(text: &[u8]) -> Result<Value, Reason> {
    const ALL: &[u8] = b"g$lshzxetd";
    if !text.iter().all(|letter| b"Ag$lshzxeKEtmdn".contains(letter)) {
        return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into());
    }
    let has = |letter: &u8| text.contains(letter);
    let all = has(&b'A') || ALL.iter().all(has);
    let mut shown = if all { b"A".to_vec() } else { ALL.iter().copied().filter(has).collect() };
    shown.extend(b"nKEm".iter().filter(|letter| has(letter)));
    Ok(Value::Text(shown))
}

fn parse_percentiles(words: &[Vec<u8>]) -> Result<Value, Reason> {
    let mut shown = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let number = parse_f64(word).ok_or("Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&number) {
            return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".into());
        }
        shown.push(f64_text(number));
    }
    Ok(Value::Text(shown.join(" ").into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<(), String> {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        config.set(&pairs).map_err(|error| error.to_string())
    }
    fn get(config: &Config, name: &str) -> String {
        let found = config.get(&[name.as_bytes()]);
        found.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn protected_parameters_are_for_local_clients_if_it_is_said_so() {
        for (word, near, far) in [("no", false, false), ("local", true, false), ("yes", true, true)] {
            let config = Config::new();
            config.set_at_start(Id::ENABLE_PROTECTED, &[word.into()]).unwrap();
            let set = |is_local| config.set_with(&[(b"dbfilename", b"x.rdb")], is_local, |_| Ok(())).is_ok();
            assert_eq!((set(true), set(false)), (near, far), "{word}");
        }
    }

    #[test]
    fn refusals_have_the_texts_of_redis() {
        let config = Config::new();
        for (name, value, text) in [
            ("timeout", "abc", "argument couldn't be parsed into an integer"),
            ("timeout", "-1", "argument must be between 0 and 2147483647 inclusive"),
            ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
            ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
            ("maxmemory", "1x", "argument must be a memory value"),
            ("maxmemory", "-1", "argument must be a memory value"),
            ("loglevel", "foo", "argument(s) must be one of the following: debug, verbose, notice, warning, nothing"),
            ("databases", "5", "can't set immutable config"),
            ("dir", "/tmp", "can't set protected config"),
            ("save", "a b", "Invalid save parameters"),
            ("notify-keyspace-events", "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
            ("client-output-buffer-limit", "normal 1", "Wrong number of arguments in buffer limit configuration."),
            ("cluster-announce-hostname", "a b", "Hostnames may only contain alphanumeric characters, hyphens or dots"),
            ("proc-title-template", "{nosuch}", "template format is invalid or contains unknown variables"),
            ("slave-read-only", "x", "argument must be 'yes' or 'no'"),
            ("maxmemory-clients", "200%", "percentage argument must be less or equal to 100"),
            ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        ] {
            let expected = format!("CONFIG SET failed (possibly related to argument '{name}') - {text}");
            assert_eq!(set(&config, &[(name, value)]), Err(expected));
        }
        let unknown = "Unknown option or number of arguments for CONFIG SET - 'foo'".to_string();
        assert_eq!(set(&config, &[("timeout", "x"), ("foo", "1")]), Err(unknown));
        let twice = "CONFIG SET failed (possibly related to argument 'Timeout') - duplicate parameter".to_string();
        assert_eq!(set(&config, &[("timeout", "1"), ("Timeout", "2")]), Err(twice));
    }

    #[test]
    fn several_pairs_are_set_together_or_not_at_all() {
        let config = Config::new();
        assert!(set(&config, &[("timeout", "7"), ("hz", "x")]).is_err());
        assert_eq!(config.number(Id::TIMEOUT), 0);
        set(&config, &[("timeout", "7"), ("hz", "20")]).unwrap();
        assert_eq!((config.number(Id::TIMEOUT), config.number(Id::HZ), config.generation()), (7, 20, 1));
    }

    #[test]
    fn values_are_shown_in_one_form() {
        let config = Config::new();
        for (name, value, shown) in [
            ("proto-max-bulk-len", "2mb", "2097152"),
            ("loglevel", "DEBUG", "debug"),
            ("oom-score-adj", "relative", "yes"),
            ("notify-keyspace-events", "KEA", "AKE"),
            ("notify-keyspace-events", "nxE$", "$xnE"),
            ("latency-tracking-info-percentiles", "50.0 99.90", "50 99.9"),
            ("hash-max-ziplist-entries", "7", "7"),
            ("list-max-listpack-size", "-5", "-5"),
            ("requirepass", "a b", "a b"),
            ("save", "", ""),
            ("proc-title-template", "{title} {{x", "{title} {{x"),
            ("hash-max-listpack-value", "", "0"),
            ("hz", "1000", "500"),
            ("shutdown-on-sigterm", "force SAVE force", "save force"),
        ] {
            set(&config, &[(name, value)]).unwrap();
            assert_eq!(get(&config, name), shown, "{name}");
        }
        assert_eq!(get(&config, "HASH-MAX-*-ENTRIES"), "7|7");
        assert_eq!(get(&config, "nothing-like-it"), "");
        assert_eq!(config.number(Id::REQUIREPASS), 1, "a text's number says that there is one");
    }

    #[test]
    fn all_that_is_shown_can_be_set_back_except_what_redis_refuses_too() {
        let config = Config::new();
        set(&config, &[("io-engine", "auto"), ("threads", "0")]).unwrap();
        assert!(set(&config, &[("io-engine", "epoll")]).unwrap_err().ends_with("can't set immutable config"));
        for param in PARAMS.iter().filter(|param| param.change == Change::Live) {
            let value = get(&config, param.name);
            set(&config, &[(param.name, value.split('|').next().unwrap_or(""))]).unwrap();
        }
    }

    #[test]
    fn save_points_of_several_lines_add_up() {
        let config = Config::new();
        let save = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
            config.set_at_start(Id::SAVE, &words).unwrap();
            get(&config, "save")
        };
        assert_eq!(get(&config, "save"), "", "nothing is saved by itself");
        assert_eq!(get(&Config::standing_in(), "save"), "3600 1 300 100 60 10000");
        assert_eq!(save(&["900", "1"]), "900 1", "the defaults go with the first line");
        assert_eq!(save(&["300 10 60 100"]), "900 1 300 10 60 100");
        assert_eq!(save(&[""]), "");
        assert_eq!(save(&["5", "5"]), "5 5");
    }

    #[test]
    fn output_limits_are_set_class_by_class() {
        let config = Config::new();
        set(&config, &[("client-output-buffer-limit", "replica 1mb 2kb 3 normal 10 0 0")]).unwrap();
        assert_eq!(
            get(&config, "client-output-buffer-limit"),
            "normal 10 0 0 slave 1048576 2048 3 pubsub 33554432 8388608 60"
        );
        assert_eq!(config.output_limit(ClientClass::Normal).hard, 10);
    }

    #[test]
    fn what_is_not_implemented_is_refused_with_the_reason() {
        let config = Config::new();
        assert!(set(&config, &[("tls-port", "6390")]).unwrap_err().ends_with("not implemented"));
        set(&config, &[("appendonly", "yes"), ("maxmemory", "0"), ("save", "")]).unwrap();
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = PARAMS.iter().flat_map(|param| [param.name, param.alias]).collect();
        names.retain(|name| !name.is_empty());
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
