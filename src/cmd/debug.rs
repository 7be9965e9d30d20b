//! DEBUG: what tests need. `enable-debug-command` decides who may use it: nobody, unless the configuration says otherwise.
//!
//! A switch whose mechanism does not exist here (incremental resizing that can be held, a cron job) is accepted
//! and does nothing, so that a suite can go on to what it tests; the help says which these are. What would have to answer
//! something answers honestly.

use super::alone::Alone;
use super::command::{Command, Cx, Flow, cmd, flag};
use super::edit::{Value, update};
use super::help::help;
use super::snapshot::{self, Twin};
use super::{client, config, debug_protocol, debug_table, persistence, protected, restore, table};
use crate::admin::log::{self, Level};
use crate::admin::params::Id;
use crate::admin::rewrite::Which;
use crate::base::glob;
use crate::base::hash::Key;
use crate::base::num::{parse_i64, parse_memory};
use crate::base::sync::Ordering;
use crate::keyspace::types::{Str, encoding_name, memory};
use crate::persist::digest::Digest;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::table::{Change, Entry};
use crate::value::list::List;
use std::fmt::Write;
use std::time::Duration;

pub static ROWS: &[Command] = &[cmd("debug", debug)
    .arity(-2)
    .flags(flag::ADMIN | flag::NOSCRIPT | flag::LOADING | flag::STALE | flag::PROTECTED)
    .group("server", "1.0.0")];

/// Subcommands that are accepted and do nothing, with their number of arguments.
const NO_OPS: &[(&str, usize)] = &[
    ("aof-flush-sleep", 3),
    ("delay-rdb-client-free-seconds", 3),
    ("dict-resizing", 3),
    ("jmap", 2),
    ("pause-after-fork", 3),
    ("replybuffer", 4),
    ("set-disable-deny-scripts", 3),
];

/// Runs a subcommand for tests.
/// Errors: not allowed; unknown subcommand or wrong number of arguments.
fn debug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    protected::check(cx, "DEBUG", Id::ENABLE_DEBUG_COMMAND, "enable-debug-command")?;
    let word = args.get(1).to_ascii_lowercase();
    match (word.as_slice(), args.count()) {
        (b"change-repl-id", 2) => change_repl_id(cx),
        (b"client-eviction", 2) => client_sizes(cx)?,
        (b"config-rewrite-force-all", 2) => return config::rewrite(cx, Which::All),
        (b"digest", 2) => {
            let digest = cx.stop_others(|cx| snapshot::digest(&cx.keys));
            cx.reply.simple(&digest.text());
        }
        (b"digest-value", 2..) => digest_values(cx, args),
        (b"loadaof", 2) => {
            cx.effects.alone = Some(Alone::Reload);
            return Ok(Flow::Alone);
        }
        (b"reload", 2..) => reload(cx, args)?,
        (b"error", 3) => return Err(ReplyError::owned(escaped(args.get(2)))),
        (b"help", 2) => debug_help(cx),
        (b"htstats", 3..=4) => debug_table::database(cx, args)?,
        (b"htstats-key", 3..=4) => debug_table::value(cx, args)?,
        (b"listpack", 3) => describe(cx, args, "listpack")?,
        (b"log", 3) => {
            log::write(Level::Warning, format_args!("DEBUG LOG: {}", String::from_utf8_lossy(args.get(2))));
            cx.reply.ok();
        }
        (b"set-skip-checksum-validation", 3) => {
            cx.world.skips_checksums.store(parse_i64(args.get(2)).unwrap_or(0) as u32, Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"object", 3..=4) => object(cx, args)?,
        (b"panic" | b"assert" | b"segfault" | b"oom", 2..) => crash(args.get(1)),
        (b"populate", 3..=5) => populate(cx, args)?,
        (b"protocol", 3) => debug_protocol::sample(cx.reply, args.get(2))?,
        (b"quicklist", 3..=4) => describe(cx, args, "quicklist")?,
        (b"quicklist-packed-threshold", 3) => packed_threshold(cx, args.get(2))?,
        (b"replicate", 3..) => cx.reply.ok(), // To all replicas, of which there are none.
        (b"sdslen", 3) => string_len(cx, args)?,
        (b"set-disable-deny-scripts", 3) => {
            cx.world.scripts.may_call_all.store(args.get(2) != b"0", Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"set-active-expire", 3) => {
            let on = (args.get(2) != b"0") as u32;
            cx.world.active_expire.store(on, Ordering::Relaxed);
            cx.reply.ok();
        }
        (b"pause-cron", 3) => {
            cx.world.ending.hold(args.get(2) == b"1"); // Of all that Redis's timer does, only this can be watched here.
            cx.reply.ok();
        }
        (b"sleep", 3) => sleep(cx, args.get(2)),
        (b"stringmatch-len", 4) => match_long_string(cx, args)?,
        (b"structsize", 2) => struct_sizes(cx),
        (word, count) if NO_OPS.iter().any(|no_op| (no_op.0.as_bytes(), no_op.1) == (word, count)) => cx.reply.ok(),
        _ => {
            let word = escaped(table::clipped(args.get(1), table::ECHO_LEN_MAX));
            return Err(ReplyError::owned(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try DEBUG HELP."
            )));
        }
    }
    Ok(Flow::Done)
}

fn debug_help(cx: &mut Cx<'_>) {
    let no_ops: Vec<_> = NO_OPS.iter().map(|(name, _)| name.to_uppercase()).collect();
    let no_ops = no_ops.join(" | ");
    help(
        cx.reply,
        "DEBUG",
        &[
            ("CHANGE-REPL-ID", "Take a new replication ID."),
            ("CLIENT-EVICTION", "How many clients take how much memory, by sizes."),
            ("CONFIG-REWRITE-FORCE-ALL", "As CONFIG REWRITE, with a line for every parameter."),
            ("DIGEST", "A digest of all data."),
            ("DIGEST-VALUE <key> ...", "Digests of values."),
            ("LOADAOF", "Forget everything and load the append-only file."),
            ("ERROR <text>", "Reply with this text as an error."),
            ("HTSTATS <db> [full]", "How full the table of a database is."),
            ("HTSTATS-KEY <key> [full]", "How full the table of a value is."),
            ("LISTPACK <key> | QUICKLIST <key>", "Write about a value of this encoding into the log."),
            ("LOG <message>", "Write a message into the log."),
            ("OBJECT <key>", "Show address, encoding and size of a value."),
            ("PANIC | ASSERT | SEGFAULT | OOM", "End the process at once, as a crash would."),
            (
                "POPULATE <count> [<prefix>] [<size>]",
                "Create string keys <prefix>:<number>, unless they exist.\nThe prefix is 'key' unless it is given.",
            ),
            ("PROTOCOL <type>", "Reply with a value of that protocol type."),
            (
                "QUICKLIST-PACKED-THRESHOLD <size>",
                "Elements of lists from this size on stand alone; 0 for the usual one.",
            ),
            (
                "RELOAD [MERGE|NOFLUSH|NOSAVE] ...",
                "Save, empty all databases and load what was saved.\nMERGE: keys that are there are replaced. \
                 NOFLUSH: databases are not emptied.\nNOSAVE: load the snapshot that is there.",
            ),
            ("REPLICATE <command> ...", "Send a command to all replicas: there are none."),
            ("SDSLEN <key>", "Lengths of a key and of its string."),
            ("SET-ACTIVE-EXPIRE (0|1)", "Stop or start the active removal of expired keys."),
            ("SLEEP <seconds>", "Stop this client's event loop for a time; decimals are allowed."),
            ("STRINGMATCH-LEN <len> <pattern>", "Does the pattern match so many times the letter a?"),
            ("STRUCTSIZE", "Sizes of some structures."),
            (&no_ops, "Do nothing."),
        ],
    );
}

/// A new replication ID: what a replica knows of the old history counts no more.
fn change_repl_id(cx: &mut Cx<'_>) {
    cx.world.change_repl_id();
    log::write(Level::Warning, format_args!("Changing replication IDs after receiving change-repl-id"));
    cx.reply.ok();
}

/// The digest of each value; zeros for a key that is not there.
fn digest_values(cx: &mut Cx<'_>, args: Args<'_>) {
    cx.reply.array(args.count() - 2);
    for at in 2..args.count() {
        let mut digest = Digest::default();
        if let Some(entry) = cx.keys.peek(cx.key(&args, at)) {
            restore::view(entry, |view| digest.add_value(view, entry.has_deadline()));
        }
        cx.reply.simple(&digest.text());
    }
}

/// Saves everything and loads it again, while everything else stands still.
/// Shape:  `[MERGE] [NOFLUSH] [NOSAVE]`
/// Errors: options; the file, or what is in it.
fn reload(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let (mut twin, mut flushes, mut saves) = (Twin::Refused, true, true);
    for word in args.iter_from(2) {
        match word.to_ascii_lowercase().as_slice() {
            b"merge" => twin = Twin::Replaced,
            b"noflush" => flushes = false,
            b"nosave" => saves = false,
            _ => {
                return Err(ReplyError::text("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options."));
            }
        }
    }
    persistence::hand_over_changes(cx);
    cx.stop_others(|cx| {
        let (world, keys) = (cx.world, cx.keys);
        world.background.break_off(world);
        if saves && snapshot::save(world, &keys).is_err() {
            return Err(ReplyError::text("ERR"));
        }
        if flushes {
            let roots = &world.keyspace.roots;
            let tables = (0..world.keyspace.db_count()).filter_map(|db| roots.take(db)).collect();
            world.keyspace.discard(tables, keys.guard);
        }
        let load = if flushes { snapshot::load } else { snapshot::add };
        load(world, &keys, twin).map_err(|error| {
            log::write(Level::Warning, format_args!("DEBUG RELOAD: {error}"));
            ReplyError::text("ERR Error trying to load the RDB dump, check server logs.")
        })
    })?;
    log::write(Level::Warning, format_args!("DB reloaded by DEBUG RELOAD"));
    cx.reply.ok();
    Ok(())
}

/// Where a value lies and how it is stored. A key that is past its deadline and not removed yet is shown, too.
/// Errors: no such key.
fn object(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let entry = cx.keys.entry(cx.key(&args, 2)).ok_or(ReplyError::NoSuchKey)?;
    let line = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        entry.as_ptr(),
        encoding_name(entry).ok_or(ReplyError::NoSuchKey)?,
        memory(entry, 0).ok_or(ReplyError::NoSuchKey)?,
        entry.recency(),
        if cx.keys.local.recency.is_lfu() { 0 } else { cx.keys.local.recency.idle_seconds(entry) },
    );
    let extent = chunks(cx, entry).unwrap_or_default();
    cx.reply.simple(&(line + &extent));
    Ok(())
}

/// What DEBUG OBJECT adds for a chunked list: what the configuration asks for, and what there is.
fn chunks(cx: &Cx<'_>, entry: Entry<'_>) -> Option<String> {
    let lock = entry.object()?.read()?;
    let list = lock.get::<List>()?;
    let (count, len) = list.extent()?;
    let config = &cx.world.config;
    Some(format!(
        " ql_nodes:{count} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:{} ql_uncompressed_size:{len}",
        list.count() as f64 / count.max(1) as f64,
        config.number(Id::LIST_MAX_LISTPACK_SIZE),
        (config.number(Id::LIST_COMPRESS_DEPTH) > 0) as u8,
    ))
}

/// Writes about a value of this encoding into the log.
/// Errors: no such key; another encoding.
fn describe(cx: &mut Cx<'_>, args: Args<'_>, name: &str) -> Result<(), ReplyError> {
    let key = cx.key(&args, 2);
    let entry = cx.keys.peek(key).ok_or(ReplyError::NoSuchKey)?;
    let encoding = encoding_name(entry).ok_or(ReplyError::NoSuchKey)?;
    if !encoding.starts_with(name) {
        return Err(ReplyError::owned(format!("ERR Not a {name} encoded object.")));
    }
    let (len, extent) = (memory(entry, 0).unwrap_or(0), chunks(cx, entry).unwrap_or_default());
    log::write(Level::Warning, format_args!("{}: {encoding} of {len} bytes{extent}", escaped(key.bytes)));
    cx.reply.simple(match name {
        "listpack" => "Listpack structure printed on stdout",
        _ => "Quicklist structure printed on stdout",
    });
    Ok(())
}

/// Lengths of a key and of its string. Nothing is reserved behind either of them.
/// Errors: no such key; a number, which is not stored as text.
fn string_len(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let entry = cx.keys.peek(cx.key(&args, 2)).ok_or(ReplyError::NoSuchKey)?;
    let value = match Str::of(entry) {
        Ok(Str::Int(_)) | Err(_) => return Err(ReplyError::text("ERR Not an sds encoded string.")),
        Ok(value) => value,
    };
    let (key_len, len) = (entry.key().len(), value.len());
    cx.reply.simple(&format!(
        "key_sds_len:{key_len}, key_sds_avail:0, key_zmalloc: {key_len}, val_sds_len:{len}, val_sds_avail:0, \
         val_zmalloc: {}",
        entry.memory() - key_len,
    ));
    Ok(())
}

/// Ends the process by an accident of the kind that `word` names, as far as it can be had on purpose.
fn crash(word: &[u8]) -> ! {
    let word = String::from_utf8_lossy(word).to_lowercase();
    log::write(Level::Warning, format_args!("DEBUG {word}: the process is ended"));
    match word.as_str() {
        "assert" => panic!("assertion failed: DEBUG ASSERT was called"),
        "panic" => panic!("DEBUG PANIC was called"),
        "segfault" => drop(nix::sys::signal::raise(nix::sys::signal::Signal::SIGSEGV)),
        _ => {}
    }
    std::process::abort();
}

/// Creates keys for tests.
/// Shape:  `count [prefix [size]]`; a value is `value:NUMBER`, cut or filled up with zero bytes to `size`.
/// Errors: numbers.
fn populate(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let number = |at: usize| match parse_i64(args.get(at)) {
        Some(number @ 0..) => Ok(number as usize),
        Some(_) => Err(ReplyError::text("ERR value is out of range, must be positive")),
        None => Err(ReplyError::NotInteger),
    };
    let count = number(2)?;
    let prefix = if args.count() > 3 { args.get(3) } else { b"key" };
    let size = if args.count() > 4 { Some(number(4)?).filter(|&size| size > 0) } else { None };
    for index in 0..count {
        let name = [prefix, b":", index.to_string().as_bytes()].concat();
        let mut text = format!("value:{index}").into_bytes();
        text.resize(size.unwrap_or(text.len()), 0);
        create(cx, &name, &text)?;
    }
    cx.reply.ok();
    Ok(())
}

/// Stores a string under a name that is not taken.
fn create(cx: &mut Cx<'_>, name: &[u8], text: &[u8]) -> Result<(), ReplyError> {
    let key = Key::new(&cx.world.keyspace.hasher, name);
    let created = update(cx, key, |old: Option<Entry<'_>>| {
        let is_free = old.is_none();
        let change = if is_free { Change::Put(Value::Text(text).entry(cx, key, None)) } else { Change::Keep };
        Ok((change, is_free))
    })?;
    if created {
        cx.touched(name);
    }
    cx.effects.dirty += created as u64;
    Ok(())
}

/// Sets from which length on elements of lists stand alone.
/// Errors: no size below 4 GB.
fn packed_threshold(cx: &mut Cx<'_>, size: &[u8]) -> Result<(), ReplyError> {
    match parse_memory(size) {
        Some(len @ ..=0xffff_ffff) => {
            cx.world.list_alone_len.store(len as u32, Ordering::Relaxed);
            cx.reply.ok();
            Ok(())
        }
        _ => Err(ReplyError::text("ERR argument must be a memory value bigger than 1 and smaller than 4gb")),
    }
}

/// Clients by the memory that they take, in sizes between powers of two.
/// Errors: they may take as much as they like.
fn client_sizes(cx: &mut Cx<'_>) -> Result<(), ReplyError> {
    // Source: Redis, `CLIENT_MEM_USAGE_BUCKETS`: below 32 KiB is one size, above 4 GiB another.
    const LEAST_LOG: usize = 15;
    const SIZES: usize = 19;
    if cx.world.config.number(Id::MAXMEMORY_CLIENTS) == 0 {
        return Err(ReplyError::text("ERR maxmemory-clients is disabled."));
    }
    let mut sizes = [(0, 0); SIZES];
    for len in cx.world.clients.all().iter().map(|client| client::memory(client)) {
        let at = (len.max(1).ilog2() as usize + 1).saturating_sub(LEAST_LOG).min(SIZES - 1);
        sizes[at] = (sizes[at].0 + len, sizes[at].1 + 1);
    }
    let mut text = String::new();
    for (at, (len, count)) in sizes.into_iter().enumerate() {
        let from = if at == 0 { 0 } else { 1u64 << (at - 1 + LEAST_LOG) };
        let to = match at + 1 {
            SIZES => "+            ".into(),
            _ => format!(" - {:10}", (1u64 << (at + LEAST_LOG)) - 1),
        };
        let _ = writeln!(text, "bucket {from:10}{to}: tot-mem: {len:10}, clients: {count}"); // To a String.
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// Blocks the loop, epoch pin included: other loops go on, but nothing that they remove meanwhile is freed.
fn sleep(cx: &mut Cx<'_>, seconds: &[u8]) {
    let seconds: f64 = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    cx.stop_others(|_| std::thread::sleep(Duration::try_from_secs_f64(seconds).unwrap_or_default()));
    cx.reply.ok();
}

/// Runs the pattern matcher on a long string of one letter, where bad matchers take for ever.
/// Shape:  `len pattern`
fn match_long_string(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    const LEN_MAX: i64 = 512 << 20; // As long as the longest value.
    let len = parse_i64(args.get(2)).filter(|len| (0..=LEN_MAX).contains(len)).ok_or(ReplyError::NotInteger)?;
    cx.reply.int(glob::matches(args.get(3), &vec![b'a'; len as usize]) as i64);
    Ok(())
}

/// Sizes of what there is most of.
fn struct_sizes(cx: &mut Cx<'_>) {
    cx.reply.simple(&format!(
        "bits:{} entry:{} value:{} session:{} row:{}",
        usize::BITS,
        size_of::<Entry<'_>>(),
        size_of::<Str<'_>>(),
        size_of::<super::session::Session>(),
        size_of::<Command>(),
    ));
}

#[cfg(test)]
mod tests {
    use crate::admin::params::Id;
    use crate::cmd::testkit::{Client, check_on};

    fn allowed() -> Client {
        let client = Client::new();
        client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &["local".into()]).unwrap();
        client
    }

    #[test]
    fn debug_is_for_nobody_unless_it_is_allowed() {
        let mut client = Client::new();
        let refusal = client.run_line("DEBUG JMAP");
        assert!(refusal.starts_with("ERR DEBUG command not allowed. If the enable-debug-command option"), "{refusal}");
        for word in ["local", "yes"] {
            client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &[word.into()]).unwrap();
            assert_eq!(client.run_line("DEBUG JMAP"), "OK");
        }
    }

    #[test]
    fn unknown_subcommands_are_refused() {
        check_on(
            &mut allowed(),
            "
            DEBUG nosuch => ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try DEBUG HELP.
            DEBUG SLEEP => ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP.
            DEBUG JMAP x => ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP.
            DEBUG SLEEP 0.001 => OK
            DEBUG ERROR 'BAD thing' => BAD thing
        ",
        );
    }

    #[test]
    fn keys_are_created_once_and_looked_into() {
        check_on(
            &mut allowed(),
            "
            SET key:1 mine => OK
            DEBUG POPULATE 3 => OK
            MGET key:0 key:1 key:2 => ['value:0', 'mine', 'value:2']
            DEBUG POPULATE 1 p 10 => OK
            GET p:0 => 'value:0\\x00\\x00\\x00'
            DEBUG POPULATE -1 => ERR value is out of range, must be positive
            DEBUG OBJECT nosuch => ERR no such key
            DEBUG LISTPACK key:1 => ERR Not a listpack encoded object.
            HSET h f v => 1
            DEBUG LISTPACK h => Listpack structure printed on stdout
            DEBUG QUICKLIST h => ERR Not a quicklist encoded object.
            SET n 12 => OK
            DEBUG SDSLEN n => ERR Not an sds encoded string.
        ",
        );
    }

    #[test]
    fn a_chunked_list_tells_about_its_chunks() {
        let mut client = allowed();
        check_on(
            &mut client,
            "
            CONFIG SET list-max-listpack-size 1 list-compress-depth 2 => OK
            RPUSH l a b c => 3
            DEBUG QUICKLIST l => Quicklist structure printed on stdout
        ",
        );
        let told = client.run_line("DEBUG OBJECT l");
        assert!(told.contains(" encoding:quicklist ") && told.contains(" ql_nodes:3 ql_avg_node:1.00 "), "{told}");
        assert!(told.contains(" ql_listpack_max:1 ql_compressed:1 ql_uncompressed_size:"), "{told}");
    }

    #[test]
    fn sizes_and_patterns_are_checked() {
        check_on(
            &mut allowed(),
            "
            DEBUG QUICKLIST-PACKED-THRESHOLD 10kb => OK
            DEBUG QUICKLIST-PACKED-THRESHOLD 4gb => ERR argument must be a memory value bigger than 1 and smaller than 4gb
            DEBUG STRINGMATCH-LEN 30 a*a*a*b => 0
            DEBUG STRINGMATCH-LEN 30 a*a*a* => 1
            DEBUG SET-DISABLE-DENY-SCRIPTS 1 => OK
            DEBUG DICT-RESIZING 0 => OK
        ",
        );
    }

    #[test]
    fn a_new_replication_id_is_taken() {
        let mut client = allowed();
        let before = client.world.repl_id();
        assert_eq!(client.run_line("DEBUG CHANGE-REPL-ID"), "OK");
        let after = client.world.repl_id();
        assert!(before != after && after.len() == 40, "{before} {after}");
    }
}
