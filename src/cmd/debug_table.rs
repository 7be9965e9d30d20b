//! DEBUG HTSTATS and HTSTATS-KEY: how full a hash table is.
//!
//! Redis tells of slots with chains of elements. The table of a hash, a set or a sorted set has buckets, and a bucket's chain is
//! what lies in it and in its spills (`value/hash_table.rs`). It grows and shrinks by a bucket at a time, so there is never a
//! second table that it moves to.

use super::command::Cx;
use crate::base::ids::DbIndex;
use crate::base::num::parse_i64;
use crate::keyspace::types::Str;
use crate::resp::args::Args;
use crate::resp::error::ReplyError;
use crate::table::Entry;
use crate::value::hash::Hash;
use crate::value::hash_table::Shape;
use crate::value::set::Set;
use crate::value::zset::SortedSet;
use std::fmt::Write;

/// How full the table of a database is.
/// Shape:  `db [FULL]`; there are no chains to be told of in full.
/// Errors: no integer; no such database.
pub fn database(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let db = parse_i64(args.get(2)).ok_or(ReplyError::NotInteger)?;
    if !(0..cx.world.keyspace.db_count() as i64).contains(&db) {
        return Err(ReplyError::text("ERR Out of range database"));
    }
    let keys = cx.keys.on(DbIndex(db as u16));
    let index_bytes = keys.table().map_or(0, |table| table.index_bytes(keys.guard));
    let text = format!(
        "[Dictionary HT]\n number of elements: {}\n index bytes: {index_bytes}\n\
         [Expires HT]\n number of elements: {}\n in the same table, without an index of its own\n",
        keys.count(),
        keys.volatile_count(),
    );
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// How full the table of a value is.
/// Shape:  `key [FULL]`
/// Errors: no such key; a value without a table.
pub fn value(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ReplyError> {
    let entry = cx.keys.peek(cx.key(&args, 2)).ok_or(ReplyError::NoSuchKey)?;
    let shape = shape(entry)
        .ok_or(ReplyError::text("ERR The value stored at the specified key is not represented using an hash table"))?;
    let is_full = args.count() > 3 && args.is(3, "full");
    cx.reply.verbatim("txt", describe(&shape, is_full).as_bytes());
    Ok(())
}

/// None: it has no table.
fn shape(entry: Entry<'_>) -> Option<Shape> {
    if Str::of(entry).is_ok() {
        return None;
    }
    let lock = entry.object()?.read()?;
    let of_set = || lock.get::<Set>()?.shape();
    let of_hash = || lock.get::<Hash>()?.shape();
    let of_sorted = || lock.get::<SortedSet>()?.shape();
    of_set().or_else(of_hash).or_else(of_sorted)
}

fn describe(shape: &Shape, is_full: bool) -> String {
    let (size, used, count) = (shape.bucket_count(), shape.used_count(), shape.item_count());
    let mut text =
        format!("Hash table 0 stats (main hash table):\n table size: {size}\n number of elements: {count}\n");
    if is_full {
        let average = count as f64 / used.max(1) as f64;
        let _ = write!(
            text,
            " different slots: {used}\n max chain length: {}\n avg chain length (counted): {average:.2}\n \
             avg chain length (computed): {average:.2}\n Chain length distribution:\n",
            shape.longest(),
        ); // Writing to a String cannot fail.
        for (len, buckets) in shape.buckets_by_len.iter().enumerate().filter(|(_, buckets)| **buckets > 0) {
            let share = *buckets as f64 * 100.0 / size as f64;
            let _ = writeln!(text, "   {len}: {buckets} ({share:.2}%)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::admin::params::Id;
    use crate::cmd::testkit::{Client, check_on};

    #[test]
    fn tables_of_values_are_told_of_as_chains() {
        let mut client = Client::new();
        client.world.config.set_at_start(Id::ENABLE_DEBUG_COMMAND, &["yes".into()]).unwrap();
        check_on(
            &mut client,
            "
            DEBUG HTSTATS-KEY nosuch => ERR no such key
            DEBUG HTSTATS 99 => ERR Out of range database
            DEBUG HTSTATS x => ERR value is not an integer or out of range
            SADD s 1 2 3 => 3
            DEBUG HTSTATS-KEY s => ERR The value stored at the specified key is not represented using an hash table
            SADD s a => 1
            CONFIG SET set-max-listpack-entries 0 hash-max-listpack-entries 0 zset-max-listpack-entries 0 => OK
            SADD s b c => 2
            HSET h f v g w => 2
            ZADD z 1 a 2 b => 2
            SET k v => OK
            DEBUG HTSTATS-KEY k => ERR The value stored at the specified key is not represented using an hash table
        ",
        );
        for (key, count) in [("s", 6), ("h", 2), ("z", 2)] {
            let short = client.run_line(&format!("DEBUG HTSTATS-KEY {key}"));
            let full = client.run_line(&format!("DEBUG HTSTATS-KEY {key} FULL"));
            for text in [&short, &full] {
                assert!(text.contains("table size: 1") && text.contains(&format!("elements: {count}")), "{text}");
                assert!(!text.contains("rehashing target"), "{text}");
            }
            assert!(!short.contains("slots"), "{short}");
            let chain = format!("max chain length: {count}");
            assert!(full.contains("different slots: 1") && full.contains(&chain), "{full}");
            assert!(full.contains(&format!("{count}: 1 (100.00%)")), "{full}");
        }
    }
}
