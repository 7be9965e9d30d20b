//! The command table: families put together, and the lookup by name.
//!
//! Each family file holds a `static ROWS`. At first use the rows are copied here once and completed: a dense index for
//! per-command counters, the full name of a subcommand, the ACL categories and the legacy key triple that follow from the
//! rest of the row.
//!
//! Lookup is one probe of an open-addressed table, most of it empty. A name is folded to lower case eight bytes at a time
//! into three words, and the words are the key: no string comparison, no allocation, no hashing of bytes one by one.

use super::command::{Command, Cx, Flow, acl, flag};
use super::keyspec;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Families in the order of COMMAND's reply. A new family file adds its line here.
static FAMILIES: &[&[Command]] = &[
    super::acl::ROWS,
    super::bitmap::ROWS,
    super::client::ROWS,
    super::cluster::ROWS,
    super::config::ROWS,
    super::connection::ROWS,
    super::database::ROWS,
    super::debug::ROWS,
    super::expire::ROWS,
    super::fcall::ROWS,
    super::function::ROWS,
    super::geo::ROWS,
    super::hash::ROWS,
    super::hyperloglog::ROWS,
    super::hash_expire::ROWS,
    super::info::ROWS,
    super::introspect::ROWS,
    super::key::ROWS,
    super::latency::ROWS,
    super::list::ROWS,
    super::lolwut::ROWS,
    super::memory::ROWS,
    super::migrate::ROWS,
    super::module::ROWS,
    super::monitor::ROWS,
    super::object::ROWS,
    super::persistence::ROWS,
    super::pubsub::ROWS,
    super::relocate::ROWS,
    super::restore::ROWS,
    super::replication::ROWS,
    super::scan::ROWS,
    super::script::ROWS,
    super::server::ROWS,
    super::set::ROWS,
    super::slowlog::ROWS,
    super::stream::ROWS,
    super::sort::ROWS,
    super::string::ROWS,
    super::transaction::ROWS,
    super::zset::ROWS,
];

/// The handler of a container's own row: `resolve` picks a subcommand or refuses, so nothing is left to do.
pub fn container(_: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    Err(unknown_command(&args))
}

/// Longest name the table can hold; a longer one is unknown.
const NAME_LEN_MAX: usize = 23;

/// A folded name: lower case, zero-padded, the length in the last byte (or a name with zero bytes behind would match).
type Word = [u64; 3];
const LEN_SHIFT: u32 = 56;
const _: () = assert!(NAME_LEN_MAX < size_of::<Word>(), "the last byte is free for the length");

/// Top-level commands that answer to another name, or, with an empty one, to none: `rename-command`. Filled before the
/// table is built.
static RENAMES: Mutex<Vec<(&'static str, Vec<u8>)>> = Mutex::new(Vec::new());

/// Lets command `from` answer to `to` alone; an empty `to` takes it away. Call it before the first lookup.
/// Errors: in Redis's words; a name that the table cannot hold.
pub fn rename(from: &[u8], to: &[u8]) -> Result<(), String> {
    let named = |name: &[u8]| {
        FAMILIES.iter().copied().flatten().map(|row| row.name).find(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    let mut renames = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let from = named(from)
        .filter(|from| renames.iter().all(|(renamed, _)| renamed != from))
        .ok_or("No such command in rename-command")?;
    let to = to.to_ascii_lowercase();
    let is_freed = renames.iter().any(|(renamed, _)| renamed.as_bytes() == to);
    let is_taken = named(&to).is_some() && !is_freed || renames.iter().any(|(_, name)| *name == to);
    if !to.is_empty() && is_taken {
        return Err("Target command name already exists".into());
    }
    if to.len() > NAME_LEN_MAX {
        return Err(format!("a command's name has at most {NAME_LEN_MAX} bytes"));
    }
    renames.push((from, to));
    Ok(())
}

/// The completed table.
pub struct CommandTable {
    /// Top-level commands in the families' order.
    top: &'static [Command],
    /// Every row by its `index`, subcommands after their container.
    all: Vec<&'static Command>,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    word: Word,
    row: Option<&'static Command>,
}

/// The table, built on the first call.
#[inline]
fn table() -> &'static CommandTable {
    static TABLE: OnceLock<CommandTable> = OnceLock::new();
    TABLE.get_or_init(|| CommandTable::build(FAMILIES))
}

/// The row of a top-level command, ASCII case aside.
/// Cost: some 8 ns, measured over eight names of all lengths in turn.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let table = table();
    let word = fold(name)?;
    let mut at = place(&word, table.slots.len());
    loop {
        let slot = &table.slots[at];
        if same(&slot.word, &word) {
            return slot.row;
        }
        slot.row?;
        at = (at + 1) & (table.slots.len() - 1);
    }
}

/// The rows that were looked up last, by their names as clients wrote them.
/// Cost: of a name found here, about a third of `lookup`.
#[derive(Default)]
pub struct Recent([(u64, Option<&'static Command>); RECENT_COUNT]);

/// More than a client mixes as a rule: names are spread by a hash, and one of a slot is kept.
const RECENT_COUNT: usize = 16;
/// Longer names are looked up: a word holds so many bytes and the length.
const RECENT_LEN_MAX: usize = 7;

impl Recent {
    /// As the function `lookup`.
    #[inline]
    pub fn lookup(&mut self, name: &[u8]) -> Option<&'static Command> {
        if name.is_empty() || name.len() > RECENT_LEN_MAX {
            return lookup(name);
        }
        let word = load(name) | (name.len() as u64) << LEN_SHIFT; // Never 0, which no slot's name is.
        let (known, row) = &mut self.0[(word.wrapping_mul(GOLDEN) >> 32) as usize % RECENT_COUNT];
        if *known != word {
            (*known, *row) = (word, lookup(name));
        }
        *row
    }
}

/// The row of subcommand `word` of a container, ASCII case aside.
pub fn lookup_sub(container: &'static Command, word: &[u8]) -> Option<&'static Command> {
    container.subs.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(word))
}

/// The row that shall run `args`: of a container the subcommand's. Its arity holds.
/// Errors: unknown command or subcommand, wrong number of arguments, in Redis's words.
#[inline]
pub fn resolve(args: &Args<'_>) -> Result<&'static Command, ReplyError> {
    let Some(row) = find(args) else {
        let container = lookup(args.get(0));
        return Err(container.map_or_else(|| unknown_command(args), |row| unknown_subcommand(row, args.get(1))));
    };
    if row.accepts(args.count()) { Ok(row) } else { Err(wrong_arity(row)) }
}

/// The row of a command or of its subcommand, whatever the count of its arguments.
pub fn find(args: &Args<'_>) -> Option<&'static Command> {
    let row = lookup(args.get(0))?;
    if row.subs.is_empty() || args.count() < 2 { Some(row) } else { lookup_sub(row, args.get(1)) }
}

/// Bytes of a client's words that an error repeats. Source: Redis, `commandCheckExistence`.
pub(super) const ECHO_LEN_MAX: usize = 128;

#[cold]
fn unknown_command(args: &Args<'_>) -> ReplyError {
    let mut given = Vec::new();
    for arg in args.iter_from(1) {
        if given.len() >= ECHO_LEN_MAX {
            break;
        }
        given.push(b'\'');
        given.extend_from_slice(clipped(arg, ECHO_LEN_MAX - (given.len() - 1)));
        given.extend_from_slice(b"' ");
    }
    let (name, given) = (escaped(clipped(args.get(0), ECHO_LEN_MAX)), escaped(&given));
    ReplyError::owned(format!("ERR unknown command '{name}', with args beginning with: {given}"))
}

#[cold]
fn unknown_subcommand(container: &Command, word: &[u8]) -> ReplyError {
    let (word, container) = (escaped(clipped(word, ECHO_LEN_MAX)), container.name.to_uppercase());
    ReplyError::owned(format!("ERR unknown subcommand '{word}'. Try {container} HELP."))
}

/// The error of a call whose argument count the row does not accept.
#[cold]
pub fn wrong_arity(row: &Command) -> ReplyError {
    ReplyError::owned(format!("ERR wrong number of arguments for '{}' command", row.full_name))
}

/// The first `len_max` bytes up to a zero byte.
pub(super) fn clipped(bytes: &[u8], len_max: usize) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(len_max)];
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// `name` or `container|word`, as COMMAND INFO and ACL rules write them.
pub fn lookup_full(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|&byte| byte == b'|') {
        None => lookup(name),
        Some(at) => lookup_sub(lookup(&name[..at])?, &name[at + 1..]),
    }
}

/// All top-level commands.
pub fn top() -> &'static [Command] {
    table().top
}

/// Number of rows, subcommands included: the length of per-command counters.
pub fn row_count() -> usize {
    table().all.len()
}

/// The row at a dense index.
pub fn by_index(index: usize) -> Option<&'static Command> {
    table().all.get(index).copied()
}

/// All rows by their dense index.
pub fn all() -> impl Iterator<Item = &'static Command> {
    table().all.iter().copied()
}

impl CommandTable {
    /// Copies and completes the families' rows. The copies live as long as the process.
    fn build(families: &[&[Command]]) -> Self {
        let mut next_index = 0;
        let top: Vec<Command> =
            families.iter().flat_map(|rows| rows.iter()).map(|row| complete(row, None, &mut next_index)).collect();
        let top: &'static [Command] = top.leak();
        let mut all: Vec<&'static Command> = top.iter().flat_map(|row| std::iter::once(row).chain(row.subs)).collect();
        all.sort_by_key(|row| row.index);
        // At most a quarter full: a probe nearly always ends at its first slot.
        let mut slots = vec![Slot { word: Word::default(), row: None }; (top.len() * 4).next_power_of_two()];
        let renames = RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
        for row in top {
            let renamed = renames.iter().find(|(from, _)| *from == row.name);
            insert(&mut slots, renamed.map_or(row.name.as_bytes(), |(_, to)| to), row);
        }
        drop(renames);
        CommandTable { top, all, slots }
    }
}

/// Puts a row in its slot. A name that is too long or stands twice is a mistake in a family file; an empty one has no slot.
fn insert(slots: &mut [Slot], name: &[u8], row: &'static Command) {
    if name.is_empty() {
        return;
    }
    let word = fold(name).expect("a command's name fits the table");
    let mut at = place(&word, slots.len());
    while slots[at].row.is_some() {
        assert!(slots[at].word != word, "two rows for the command {}", row.name);
        at = (at + 1) & (slots.len() - 1);
    }
    slots[at] = Slot { word, row: Some(row) };
}

/// A row with the fields that follow from the others.
fn complete(row: &Command, container: Option<&Command>, next_index: &mut u16) -> Command {
    let mut row = *row;
    row.index = *next_index;
    *next_index += 1;
    row.acl |= implied_categories(row.flags, row.acl);
    row.is_light |= row.flags & flag::FAST != 0;
    row.legacy_keys = keyspec::legacy_triple(row.keys);
    row.is_inside = matches!(row.group, "list" | "hash" | "set" | "sorted-set" | "stream" | "geo");
    row.one_key = keyspec::one_key(row.keys);
    row.only_place = keyspec::only_place(row.keys).filter(|_| row.find_keys.is_none());
    row.keeps_to_its_keys = keyspec::keeps_to_its_keys(&row);
    if keyspec::are_movable(row.keys) {
        row.flags |= flag::MOVABLE_KEYS;
    }
    if let Some(container) = container {
        row.full_name = format!("{}|{}", container.name, row.name).leak();
    }
    if !row.subs.is_empty() {
        row.subs = row.subs.iter().map(|sub| complete(sub, Some(&row), next_index)).collect::<Vec<_>>().leak();
    }
    row
}

/// ACL categories that follow from the flags. Source: Redis, `setImplicitACLCategories`.
fn implied_categories(flags: u32, own: u32) -> u32 {
    // What a script reads is judged command by command.
    let flags = if own & acl::SCRIPTING != 0 { flags & !flag::READONLY } else { flags };
    let rules = [
        (flag::WRITE, acl::WRITE),
        (flag::READONLY, acl::READ),
        (flag::ADMIN, acl::ADMIN | acl::DANGEROUS),
        (flag::PUBSUB, acl::PUBSUB),
        (flag::FAST, acl::FAST),
        (flag::BLOCKING, acl::BLOCKING),
    ];
    let implied = rules.iter().filter(|(bit, _)| flags & bit != 0).fold(0, |all, (_, category)| all | category);
    if flags & flag::FAST == 0 { implied | acl::SLOW } else { implied }
}

/// Word by word: as arrays they would go through the stack and be loaded again in wider pieces, which stalls.
#[inline]
fn same(a: &Word, b: &Word) -> bool {
    (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) == 0
}

/// An odd constant with well-mixed high bits: the golden ratio's.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The slot where the search for `word` starts; `len` is a power of two.
#[inline]
fn place(word: &Word, len: usize) -> usize {
    // The top half of the product is the hash.
    let mixed = (word[0] ^ word[1].rotate_left(23) ^ word[2].rotate_left(41)).wrapping_mul(GOLDEN);
    (mixed >> 32) as usize & (len - 1)
}

/// The name as three lower-case words; None if it is empty or too long.
#[inline]
fn fold(name: &[u8]) -> Option<Word> {
    match name.len() {
        0 => None,
        len @ 1..=8 => Some([lower(load(name)), 0, (len as u64) << LEN_SHIFT]),
        len @ 9..=NAME_LEN_MAX => {
            let mut word = Word::default();
            for (place, chunk) in word.iter_mut().zip(name.chunks(8)) {
                *place = lower(load(chunk));
            }
            word[2] |= (len as u64) << LEN_SHIFT;
            Some(word)
        }
        _ => None,
    }
}

/// Up to eight bytes, little-endian, zero-padded. Two overlapping reads of a fixed size instead of a loop.
#[inline]
fn load(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let Ok(eight) = <[u8; 8]>::try_from(bytes) {
        return u64::from_le_bytes(eight);
    }
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (head, tail) = (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
        return head | tail << ((len - 4) * 8);
    }
    // One to three bytes: first, middle and last cover them all.
    let (first, middle, last) = (bytes[0] as u64, bytes[len / 2] as u64, bytes[len - 1] as u64);
    first | middle << (len / 2 * 8) | last << ((len - 1) * 8)
}

/// Eight bytes with A–Z turned to a–z and everything else left alone.
#[inline]
fn lower(bytes: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let low_bits = bytes & !HIGH; // No carry can leave a byte in the two sums below.
    let from_a = low_bits + (0x80 - b'A' as u64) * ONES;
    let past_z = low_bits + (0x7f - b'Z' as u64) * ONES;
    bytes | (from_a & !past_z & !bytes & HIGH) >> 2 // The high bit of an upper-case byte becomes its 0x20.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for row in top() {
            for name in [row.name.to_string(), row.name.to_uppercase()] {
                assert!(std::ptr::eq(lookup(name.as_bytes()).unwrap(), row), "{name}");
            }
            for sub in row.subs {
                assert!(std::ptr::eq(lookup_full(sub.full_name.to_uppercase().as_bytes()).unwrap(), sub));
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        let long = [b'a'; NAME_LEN_MAX + 1];
        for name in [&b""[..], b"p", b"pingg", b"ping\0", b"ping ", b"pin\xc7", b"PING\r", b"p\0ng", &long] {
            assert!(lookup(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn rows_of_recent_names_are_those_of_the_table() {
        let mut recent = Recent::default();
        let names = ["get", "GET", "Get", "getex", "g", "", "nosuch", "zpopmin", "zpopmax", "zrangebyscore", "ge\0"];
        for name in names.iter().chain(&names) {
            let (row, known) = (recent.lookup(name.as_bytes()), lookup(name.as_bytes()));
            assert_eq!(row.map(|row| row.name), known.map(|row| row.name), "{name:?}");
        }
    }

    #[test]
    fn folding_agrees_with_the_standard_library() {
        for len in 1..=NAME_LEN_MAX {
            for byte in 0..=255u8 {
                let mut name = vec![b'x'; len];
                name[len / 2] = byte;
                name[len - 1] = byte.wrapping_mul(7);
                let mut padded = name.to_ascii_lowercase();
                padded.resize(NAME_LEN_MAX, 0);
                padded.push(len as u8);
                let expected: Vec<u64> = padded.chunks(8).map(|c| u64::from_le_bytes(c.try_into().unwrap())).collect();
                assert_eq!(fold(&name).unwrap().as_slice(), expected);
            }
        }
    }

    #[test]
    fn indexes_are_dense_and_follow_the_containers() {
        for (index, row) in all().enumerate() {
            assert_eq!(row.index as usize, index);
        }
        assert_eq!(row_count(), top().iter().map(|row| 1 + row.subs.len()).sum::<usize>());
    }
}
