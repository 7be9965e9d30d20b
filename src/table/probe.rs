//! Finding a key in its group, and the three changes of a slot: insert, replace, remove.
//!
//! ```text
//! find     head h0 → words whose tag matches and that are not tried → key equal → head still h0: hit.
//!          A miss needs no second look: a key never moves inside a generation, so if it had been present during the whole
//!          scan, it would have been seen; at some instant of the scan it was absent. (One exception, one more load: a slot
//!          that became set-valued meanwhile hides its word in a bundle.)
//! insert   reserve: CAS head h0 → h0 | Try(i)      (unique owner of an EMPTY slot)
//!          fill:    slot[i] := word
//!          commit:  CAS head h → h without Try(i)  ** linearization point; h is the head that the last find ran under **
//! replace  CAS slot w → w'                         ** linearization point **
//! remove   CAS slot w → EMPTY                      ** linearization point; the slot is free at once, no tombstone **
//! ```
//! *No duplicates.* Every reserve, commit and abort bumps the head's version. Of two commits of one key without a removal
//! between them, the second compared the whole head with the one its last find ran under; the first commit changed the
//! head, so that find ran after it and saw the key. Replaces and removes never add a key, so they leave the head alone.
//!
//! *Uncommitted entries are seen.* A reader may meet a word between fill and commit, compare its key, and only then notice
//! the changed head. So an entry whose insert is given up is retired, never freed at once.
//!
//! Proofs: loom-tests/tests/insert.rs, overflow.rs, transfer.rs.

use super::bundle::{self, Bundle};
use super::entry::Entry;
use super::group::{GROUP_LINES, Generation, GroupHead, LINE_SLOTS, Line};
use super::reclaim::Guard;
use super::staged::Record;
use super::word::Word;
use crate::base::hash::Key;
use crate::base::mutation::{Mutation, mutated, weakened};
use crate::base::sync::{AtomicU64, Ordering, spin};

/// Where a key was found.
#[derive(Clone, Copy)]
pub(super) struct Place<'g> {
    pub slot: &'g AtomicU64,
    /// What the slot held: `word` itself, or the bundle that `word` is part of.
    pub held: Word,
    /// The word of the key.
    pub word: Word,
}

/// What a look into one group of one generation says.
pub(super) enum Look<'g> {
    Hit(Place<'g>),
    /// Absent, under this head.
    Miss(GroupHead),
    /// The group lives in the next generation.
    Moved,
}

/// The key of a live word.
///
/// # Safety
/// `word` is live and was loaded with Acquire from a slot under a guard that lives for `'g`.
#[inline]
pub(super) unsafe fn key_of<'g>(word: Word) -> &'g [u8] {
    if word.is_record() {
        // SAFETY: the caller's promise.
        return unsafe { Record::of(word) }.key();
    }
    // SAFETY: the caller's promise.
    unsafe { word.as_entry() }.key()
}

/// Looks for `key` in its home group of `generation`.
#[inline]
pub(super) fn find<'g>(generation: Generation, key: Key<'_>, _guard: &'g Guard<'_>) -> Look<'g> {
    let home: &'g Line = generation.line(generation.group_of(key.hash));
    loop {
        // Acquire: pairs with the Release of commits: a committed slot's word is visible under this head.
        let head = GroupHead(home.head.load(Ordering::Acquire));
        if head.is_moved() {
            return Look::Moved;
        }
        let hit = match scan_line(home, 0, head, key) {
            None if head.spill().is_some() || head.overflow().is_some() => find_beyond(generation, home, head, key),
            found => found,
        };
        match hit {
            None if became_set_valued(home, head) => {}
            None => return Look::Miss(head),
            // The second look at the head. The word's Acquire load keeps it behind; unchanged means: the word was committed
            // when it was read, and the group was not moved yet.
            Some(place) if mutated(Mutation::HitWithoutSecondLook) => return Look::Hit(place),
            Some(place) if home.head.load(Ordering::Acquire) == head.0 => return Look::Hit(place),
            Some(_) => spin(),
        }
    }
}

/// An entry of the home line whose tag is that of `hash`, if there is one: most probably the one that a key with this hash has.
/// As in `find`, what the head says comes first: words of a moved group and those that are tried may point to what is no more.
#[inline]
pub(super) fn glance<'g>(generation: Generation, hash: u64, _guard: &'g Guard<'_>) -> Option<Entry<'g>> {
    let home: &'g Line = generation.line(generation.group_of(hash));
    let head = GroupHead(home.head.load(Ordering::Acquire)); // Acquire: as in `find`.
    if head.is_moved() {
        return None;
    }
    let mut found = Word::EMPTY;
    for (i, slot) in home.slots.iter().enumerate() {
        let word = Word(slot.load(Ordering::Acquire)); // Acquire: as in `scan_line`.
        found = if word.matches(hash) && head.0 >> i & 1 == 0 { word } else { found };
    }
    if found.is_empty() || found.is_record() {
        return None;
    }
    // SAFETY: a matching word that is not tried is live (as in `scan_line`), and was loaded under the caller's guard.
    Some(unsafe { found.as_entry() })
}

/// Are two keys equal? Those of 8 to 16 bytes, the most common ones, are compared without a call.
#[inline]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if let (8..=16, Some(a_head), Some(a_tail)) = (b.len(), a.first_chunk::<8>(), a.last_chunk::<8>())
        && let (Some(b_head), Some(b_tail)) = (b.first_chunk::<8>(), b.last_chunk::<8>())
    {
        return a.len() == b.len() && a_head == b_head && a_tail == b_tail;
    }
    a == b
}

/// Has the group got its overflow slot since `head` was read? Then a bundle may stand where a single word stood, and the
/// line was searched without a look into it.
#[inline]
fn became_set_valued(home: &Line, head: GroupHead) -> bool {
    // Relaxed: whoever read the bundle (Acquire) sees the head that was there before it.
    head.overflow().is_none()
        && !mutated(Mutation::MissInBundle)
        && GroupHead(home.head.load(Ordering::Relaxed)).overflow().is_some()
}

/// Looks for `key` in one line whose first slot has number `base` in the group.
#[inline]
fn scan_line<'g>(line: &'g Line, base: usize, head: GroupHead, key: Key<'_>) -> Option<Place<'g>> {
    let mut words = [Word::UNINIT; LINE_SLOTS];
    let mut matches = 0u32;
    // Branch-free: an early exit would mispredict on the missing line and throw away the next keys' loads (TABLE.md §12).
    for (i, slot) in line.slots.iter().enumerate() {
        // Acquire: pairs with the CAS or store that published the word: what it points to is initialised.
        words[i] = Word(slot.load(Ordering::Acquire));
        matches |= (words[i].matches(key.hash) as u32) << i;
    }
    matches &= !((head.0 >> base) as u32);
    while matches != 0 {
        let i = matches.trailing_zeros() as usize;
        // SAFETY: a matching word is live; loaded above under the caller's guard.
        if is_same(unsafe { key_of(words[i]) }, key.bytes) {
            return Some(Place { slot: &line.slots[i], held: words[i], word: words[i] });
        }
        matches &= matches - 1;
    }
    None
}

/// Looks for `key` in the group's spill lines and in its overflow bundle.
#[cold]
fn find_beyond<'g>(generation: Generation, home: &'g Line, head: GroupHead, key: Key<'_>) -> Option<Place<'g>> {
    for number in 1..GROUP_LINES {
        let Some(line) = generation.spill_line(head, number) else { break };
        if let Some(place) = scan_line(line, number * LINE_SLOTS, head, key) {
            return Some(place);
        }
    }
    let slot = &home.slots[head.overflow()?];
    let held = Word(slot.load(Ordering::Acquire)); // Acquire: as in `scan_line`.
    let mut single = [Word::EMPTY];
    // SAFETY: loaded above under the caller's guard.
    let words = unsafe { Bundle::words_of(held, &mut single) };
    // SAFETY: a bundle's words are live.
    let word = *words.iter().find(|&&word| word.matches(key.hash) && unsafe { key_of(word) } == key.bytes)?;
    Some(Place { slot, held, word })
}

impl Place<'_> {
    /// Replaces the word by `next`, or removes it (`next` EMPTY). False: something changed, look again.
    #[inline]
    pub fn exchange(&self, next: Word, guard: &Guard<'_>) -> bool {
        if self.held.is_bundle() {
            return bundle::replace(self, next, guard);
        }
        let next = if mutated(Mutation::RemoveToUninit) && next.is_empty() { Word::UNINIT } else { next };
        // AcqRel: Release publishes what `next` points to; Acquire orders the retirement behind earlier readers' words.
        // **The linearization point of replace and remove.**
        let order = weakened(Mutation::ReplaceRelaxed, Ordering::AcqRel);
        self.slot.compare_exchange(self.held.0, next.0, order, Ordering::Acquire).is_ok()
    }
}

/// How an insert ended.
pub(super) enum Insert {
    Done,
    /// The key is there: somebody else inserted it. The word may have been seen; retire what it points to.
    Exists,
    /// The group is full, and there is no line left to extend it by: the shard is to grow.
    Full,
    /// The group is being moved, or inserts into it now go through its overflow slot: locate again. The word may have been
    /// seen by readers, but it never counted: it may be inserted again, not freed.
    Again,
}

/// Inserts `word` for `key`, which the caller has just not found. `may_overflow`: a group that is full for lack of lines gets an
/// overflow slot.
pub(super) fn insert(
    generation: Generation,
    key: Key<'_>,
    word: Word,
    may_overflow: bool,
    guard: &Guard<'_>,
) -> Insert {
    let home = generation.line(generation.group_of(key.hash));
    loop {
        let head = match find(generation, key, guard) {
            Look::Hit(_) => return Insert::Exists,
            Look::Moved => return Insert::Again,
            Look::Miss(head) if head.is_frozen() => return Insert::Again,
            Look::Miss(head) => head,
        };
        if let Some(slot) = head.overflow() {
            let slot = &home.slots[slot];
            if let Some(result) = insert_overflow(generation, slot, key, word, guard) {
                return result;
            }
            continue;
        }
        let Some((slot, number)) = free_slot(generation, home, head) else {
            if !extend(generation, home, head, may_overflow) {
                return Insert::Full;
            }
            continue;
        };
        let reserved = head.with_try(number);
        // AcqRel: Acquire so that the slot's last owner is done with it; Release for symmetry with the commit.
        if home.head.compare_exchange(head.0, reserved.0, Ordering::AcqRel, Ordering::Acquire).is_err() {
            continue;
        }
        super::chaos();
        // Release: publishes what the word points to, also to readers that meet it before the commit.
        slot.store(word.0, weakened(Mutation::FillRelaxed, Ordering::Release));
        return commit(generation, home, slot, number, reserved, key, guard);
    }
}

/// The second half of an insert: slot `number` is ours and filled.
fn commit(
    generation: Generation,
    home: &Line,
    slot: &AtomicU64,
    number: usize,
    reserved: GroupHead,
    key: Key<'_>,
    guard: &Guard<'_>,
) -> Insert {
    let mut head = reserved;
    loop {
        super::chaos();
        // AcqRel: **the linearization point of insert**; Release publishes the slot's word with the head.
        let order = weakened(Mutation::CommitRelaxed, Ordering::AcqRel);
        match home.head.compare_exchange(head.0, head.without_try(number).0, order, Ordering::Acquire) {
            Ok(_) => return Insert::Done,
            Err(now) if GroupHead(now).is_frozen() => return Insert::Again, // The slot is garbage in a dead group.
            Err(now) if mutated(Mutation::CommitWithoutFind) => {
                head = GroupHead(now);
                continue;
            }
            Err(_) => {}
        }
        match find(generation, key, guard) {
            Look::Moved => return Insert::Again,
            Look::Miss(now) if now.is_frozen() => return Insert::Again,
            Look::Miss(now) if now.overflow().is_none() => head = now,
            // Somebody has the key, or inserts now go through the overflow slot: give the slot back.
            look => {
                slot.store(Word::EMPTY.0, Ordering::Release); // Release: before the Try bit goes.
                if !abandon(home, number) {
                    return Insert::Again;
                }
                return if let Look::Hit(_) = look { Insert::Exists } else { Insert::Again };
            }
        }
    }
}

/// Clears our Try bit. False if the group was frozen: then the bit must stay, all movers must see the same image.
fn abandon(home: &Line, number: usize) -> bool {
    let mut seen = home.head.load(Ordering::Relaxed);
    loop {
        if GroupHead(seen).is_frozen() {
            return false;
        }
        let next = GroupHead(seen).without_try(number).0;
        // Release: the slot's EMPTY is visible before another inserter can own the slot.
        match home.head.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
}

/// The lowest slot that is EMPTY and not tried.
fn free_slot<'g>(generation: Generation, home: &'g Line, head: GroupHead) -> Option<(&'g AtomicU64, usize)> {
    let free = |line: &'g Line, base: usize| {
        let i = (0..LINE_SLOTS).find(|&i| {
            !head.is_tried(base + i) && Word(line.slots[i].load(Ordering::Acquire)) == Word::EMPTY // Acquire: as the CAS.
        })?;
        Some((&line.slots[i], base + i))
    };
    free(home, 0)
        .or_else(|| (1..GROUP_LINES).find_map(|number| free(generation.spill_line(head, number)?, number * LINE_SLOTS)))
}

/// Makes room in a full group: claims another spill line, or names an overflow slot. False: there is no line left.
#[cold]
fn extend(generation: Generation, home: &Line, head: GroupHead, may_overflow: bool) -> bool {
    let claimed = (1..GROUP_LINES).take_while(|&number| generation.spill_line(head, number).is_some()).count();
    let fresh = if claimed + 1 < GROUP_LINES { generation.take_arena_line() } else { None };
    let Some(fresh) = fresh else {
        if !may_overflow {
            return false;
        }
        // A slot that an inserter owns cannot become set-valued; with all of them owned, one owner will move on first.
        if let Some(slot) = (0..LINE_SLOTS).find(|&i| !head.is_tried(i)) {
            let next = head.with_overflow(slot);
            // AcqRel: from here on commits of ordinary inserts fail (the head changed).
            let _ = home.head.compare_exchange(head.0, next.0, Ordering::AcqRel, Ordering::Relaxed);
        }
        spin();
        return true;
    };
    for slot in &generation.arena_line(fresh).slots {
        slot.store(Word::EMPTY.0, Ordering::Relaxed); // Published by the Release below.
    }
    if claimed == 0 {
        // Release: the line's EMPTY slots come with the head. A lost race wastes one arena line of this generation.
        let _ = home.head.compare_exchange(head.0, head.with_spill(fresh).0, Ordering::AcqRel, Ordering::Relaxed);
    } else if let Some(last) = generation.spill_line(head, claimed) {
        // Release: likewise, through the link.
        let _ = last.head.compare_exchange(0, fresh as u64 + 1, Ordering::AcqRel, Ordering::Relaxed);
    }
    true
}

/// An insert into a group with a set-valued slot. None: look again.
#[cold]
fn insert_overflow(
    generation: Generation,
    slot: &AtomicU64,
    key: Key<'_>,
    word: Word,
    guard: &Guard<'_>,
) -> Option<Insert> {
    let seen = Word(slot.load(Ordering::Acquire)); // Acquire: as in `scan_line`.
    if seen.is_frozen() {
        return Some(Insert::Again);
    }
    // The set was read before this look: if the key comes into it afterwards, the CAS fails.
    match find(generation, key, guard) {
        Look::Hit(_) => Some(Insert::Exists),
        Look::Moved => Some(Insert::Again),
        Look::Miss(_) => bundle::add(slot, seen, word, guard).then_some(Insert::Done),
    }
}
