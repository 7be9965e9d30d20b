//! Looking ahead: what the commands at hand will touch is on its way into the cache before the first of them runs.
//!
//! A lookup waits for two cache lines, the group and the entry. One after the other that is most of what a GET costs;
//! asked for together, the waits of a whole window overlap. It pays across clients: at pipeline 1 the window is the turn.
//! A prefetch is only a hint. A SELECT inside the window makes some of them useless, never wrong.

use crate::base::hash::KeyHasher;
use crate::base::ids::DbIndex;
use crate::cmd::command::Command;
use crate::cmd::table;
use crate::keyspace::Keyspace;
use crate::resp::args::{Arg, Parts};
use crate::table::Guard;
use bytes::Bytes;

/// Keys of one command that are hashed and prefetched ahead; an MSET of thousands hashes the rest when it gets there.
const KEYS_PER_COMMAND_MAX: usize = 64;

/// The keys that a window will touch.
#[derive(Default)]
pub struct Ahead {
    keys: Vec<(DbIndex, u64)>,
}

impl Ahead {
    /// Forgets the last window's keys.
    pub fn clear(&mut self) {
        self.keys.clear();
    }

    /// Keys that were noted.
    #[inline]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Finds the row of a command, hashes its keys into the arguments and notes them. None: there is no such command.
    #[inline]
    pub fn note(
        &mut self,
        hasher: &KeyHasher,
        db: DbIndex,
        buf: &[u8],
        items: &mut [Arg],
        large: &[Bytes],
    ) -> Option<&'static Command> {
        let row = table::lookup(Parts { buf, items, large }.get(0))?;
        let (first, last, step) = row.legacy_keys;
        if first <= 0 || step <= 0 {
            return Some(row);
        }
        let count = items.len();
        let end = if last < 0 { (count as i32 + last + 1).max(0) as usize } else { last as usize + 1 };
        // A plain loop: the length of a `step_by` costs a division.
        let (mut index, step, end) = (first as usize, step as usize, end.min(count));
        let end = end.min(index + step * KEYS_PER_COMMAND_MAX);
        while index < end {
            let hash = hasher.hash(Parts { buf, items, large }.get(index));
            items[index].hash = hash;
            self.keys.push((db, hash));
            index += step;
        }
        Some(row)
    }

    /// Asks for everything that was noted: all groups first, then, when their lines have had time to come, the entries, and
    /// last the entries of those keys that lie outside their home line.
    pub fn prefetch(&mut self, keyspace: &Keyspace, guard: &Guard<'_>) {
        if self.keys.len() < 2 {
            return; // One key gains nothing: its command runs at once.
        }
        for &(db, hash) in &self.keys {
            if let Some(table) = keyspace.roots.get(db.0 as usize, guard) {
                table.prefetch_group(hash);
            }
        }
        self.keys.retain(|&(db, hash)| {
            keyspace.roots.get(db.0 as usize, guard).is_some_and(|table| !table.prefetch_entry(hash, guard))
        });
        for &(db, hash) in &self.keys {
            if let Some(table) = keyspace.roots.get(db.0 as usize, guard) {
                table.prefetch_spilled(hash, guard);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(words: &[&str]) -> Vec<usize> {
        let buf: Vec<u8> = words.concat().into();
        let mut at = 0;
        let mut items: Vec<Arg> = Vec::new();
        for word in words {
            items.push(Arg { offset: at, len: word.len() as u32, hash: 0 });
            at += word.len() as u32;
        }
        let mut ahead = Ahead::default();
        ahead.note(&KeyHasher::seeded(1), DbIndex(0), &buf, &mut items, &[]);
        (0..items.len()).filter(|&index| items[index].hash != 0).collect()
    }

    #[test]
    fn commands_without_keys_and_unknown_ones_hash_nothing() {
        assert!(hashed(&["PING"]).is_empty());
        assert!(hashed(&["NO-SUCH-COMMAND", "a"]).is_empty());
    }
}
