//! Growing and shrinking a shard: group by group, by anybody, waiting for nobody.
//!
//! A **unit** of a move is one source and two destinations (growth), or two sources and one destination (shrinking).
//! ```text
//! help_move(unit):                                     any number of threads, any stall
//!   for each source: head.fetch_or(FROZEN)             no reserve or commit can succeed any more
//!   for each slot that is not tried: fetch_or(FROZEN)  no replace or remove can succeed any more
//!   image = live words in slot order, split by the next hash bit; the k-th word goes to the k-th slot
//!   for each word of the destinations: CAS UNINIT → image word or EMPTY       idempotent
//!   for each source: head.fetch_or(MOVED); whoever sets the bit counts the group; the last one promotes
//! ```
//! *Why it is right.* After the two `fetch_or`s the sources are immutable, so all helpers compute the same image.
//! Destination words go from UNINIT to their value exactly once, and a zero word never comes back, so all CASes of a helper
//! that wakes up late fail. Nobody uses a destination before one of its sources says MOVED, and that is after it was filled.
//! Readers that meet FROZEN read the frozen words: until MOVED they are the truth. Writers that meet FROZEN move this one
//! unit (about 5 keys, at most some 40) and go on in the next generation.
//!
//! *Promotion* happens by evidence: whoever finds the cursor exhausted looks at every group, helps the unmoved ones, and then
//! swings the shard to the next generation. It does not rely on a counter whose increment a stalled thread may still owe.
//!
//! Proofs: loom-tests/tests/transfer.rs, resize.rs.

use super::bundle::Bundle;
use super::group::{GROUP_LINES, Generation, GroupHead, LINE_SLOTS, Line};
use super::probe::key_of;
use super::reclaim::Guard;
use super::shard::Shard;
use super::staged::Record;
use super::word::Word;
use crate::base::hash::KeyHasher;
use crate::base::mutation::{Mutation, unless, weakened};
use crate::base::prefetch::prefetch;
use crate::base::sync::{AtomicU64, Ordering};

/// Live words of the sources, in slot order.
#[derive(Default)]
struct Image {
    words: Vec<Word>,
}

/// The groups of one unit.
struct Unit {
    sources: [usize; 2],
    source_count: usize,
    destinations: [usize; 2],
    destination_count: usize,
}

/// Number of units in the move from `old` to `new`.
fn unit_count(old: Generation, new: Generation) -> usize {
    old.group_count().min(new.group_count())
}

fn unit(old: Generation, new: Generation, index: usize) -> Unit {
    let grows = new.group_count() > old.group_count();
    let pair = [index, index + unit_count(old, new)];
    Unit {
        sources: pair,
        source_count: if grows { 1 } else { 2 },
        destinations: pair,
        destination_count: if grows { 2 } else { 1 },
    }
}

/// Starts a move of the shard whose current generation is `old` to `1 << log2` groups, unless one is under way.
pub(super) fn start(shard: &Shard<'_>, old: Generation, log2: u32) {
    debug_assert!(log2.abs_diff(old.log2()) == 1);
    // Acquire: if `old` is no longer current, its successor may be moving already; it must not be moved twice.
    if shard.current.load(Ordering::Acquire) != old.pack() || old.next().is_some() {
        return;
    }
    let new = Generation::allocate(log2, false);
    // AcqRel: publishes the new generation's memory; pairs with `Generation::next`.
    if old.head().next.compare_exchange(0, new.pack(), Ordering::AcqRel, Ordering::Relaxed).is_err() {
        // SAFETY: never shared, and empty.
        unsafe { new.free() };
    }
    shard.counts.resizing.store(true, Ordering::Relaxed); // A hint for writers to drive the move.
}

/// Moves the unit that holds group `group` of `old`. Any thread, any number of times.
pub(super) fn help_move(
    shard: &Shard<'_>,
    old: Generation,
    new: Generation,
    group: usize,
    hasher: &KeyHasher,
    guard: &Guard<'_>,
) {
    let index = group & (unit_count(old, new) - 1);
    let unit = unit(old, new, index);
    let sources = &unit.sources[..unit.source_count];
    let mut image = Image::default();
    let mut is_filled = false;
    for (n, &source) in sources.iter().enumerate() {
        let home = old.line(source);
        let bits = unless(Mutation::MovedBeforeFilled, GroupHead::FROZEN_BIT, GroupHead::MOVED_BITS);
        let bits = if n > 0 { unless(Mutation::OneSourceFrozen, bits, 0) } else { bits };
        // AcqRel: Acquire to see committed slots, Release so that who sees FROZEN sees the move's start.
        let head = GroupHead(home.head.fetch_or(bits, Ordering::AcqRel));
        if head.is_moved() {
            is_filled = true; // MOVED comes after the fill, and this source's bundle may be retired already.
            continue;
        }
        super::chaos();
        freeze_group(old, home, head, &mut image);
    }
    if !is_filled {
        fill(new, &unit, &image, hasher);
    }
    for &source in sources {
        let home = old.line(source);
        super::chaos();
        // AcqRel: Release: the filled destination is visible to whoever sees MOVED (the Acquire load in `find`).
        let before = GroupHead(home.head.fetch_or(GroupHead::MOVED_BITS, Ordering::AcqRel));
        if !before.is_moved() {
            retire_bundle(home, before, guard);
            // AcqRel: whoever counts the last group has what the others filled, and hands it on by promoting.
            let order = weakened(Mutation::MovedCountRelaxed, Ordering::AcqRel);
            let moved = old.head().moved.fetch_add(1, order) + 1;
            if moved == old.group_count() {
                promote(shard, old, new, guard);
            }
        }
    }
}

/// Freezes every slot that no inserter owns and appends its live words to the image.
fn freeze_group(old: Generation, home: &Line, head: GroupHead, image: &mut Image) {
    for number in 0..GROUP_LINES {
        let Some(line) = (if number == 0 { Some(home) } else { old.spill_line(head, number) }) else { break };
        for (i, slot) in line.slots.iter().enumerate() {
            if head.is_tried(number * LINE_SLOTS + i) {
                continue; // Not committed: not in the image. All helpers see the same Try bits.
            }
            // AcqRel: Acquire to read what the word points to; the CAS of a writer either came before or fails.
            let bit = unless(Mutation::WordsNotFrozen, Word::FROZEN_BIT, 0);
            let word = Word(slot.fetch_or(bit, Ordering::AcqRel));
            let mut single = [Word::EMPTY];
            // SAFETY: loaded under the caller's guard.
            let words = unsafe { Bundle::words_of(word, &mut single) };
            image.words.extend(words.iter().map(|word| word.thawed()));
        }
    }
}

/// The full hash of a live word's key.
fn hash_of(word: Word, hasher: &KeyHasher) -> u64 {
    if word.is_record() {
        // SAFETY: live, loaded under the caller's guard.
        return unsafe { Record::of(word) }.hash();
    }
    // SAFETY: likewise.
    hasher.hash(unsafe { key_of(word) })
}

fn fill(new: Generation, unit: &Unit, image: &Image, hasher: &KeyHasher) {
    for &word in &image.words {
        prefetch(word.pointer::<u8>());
    }
    if unit.destination_count == 1 {
        return fill_group(new, unit.destinations[0], &image.words);
    }
    let (low, high): (Vec<Word>, Vec<Word>) =
        image.words.iter().partition(|&&word| new.group_of(hash_of(word, hasher)) == unit.destinations[0]);
    fill_group(new, unit.destinations[0], &low);
    fill_group(new, unit.destinations[1], &high);
}

/// Writes `words` into the slots of a destination group. Idempotent; see the module header.
fn fill_group(new: Generation, group: usize, words: &[Word]) {
    let home = new.line(group);
    if words.len() > LINE_SLOTS {
        lay_out(new, home, words.len());
    }
    let head = GroupHead(home.head.load(Ordering::Acquire)); // Acquire: the layout of whoever decided it.
    let lines: Vec<&Line> =
        std::iter::once(home).chain((1..GROUP_LINES).map_while(|number| new.spill_line(head, number))).collect();
    let slots = lines.len() * LINE_SLOTS;
    for (line_number, line) in lines.iter().enumerate() {
        for (i, slot) in line.slots.iter().enumerate() {
            let number = line_number * LINE_SLOTS + i;
            let word = words.get(number).copied().unwrap_or(Word::EMPTY);
            if number == SET_SLOT && words.len() > slots {
                let mut set = vec![word];
                set.extend_from_slice(&words[slots..]);
                let packed = Bundle::pack(set);
                if !settle_word(slot, packed) {
                    Bundle::discard(packed);
                }
            } else {
                settle_word(slot, word);
            }
        }
    }
}

/// The home slot that becomes set-valued when a destination cannot give every word a slot.
const SET_SLOT: usize = LINE_SLOTS - 1;

/// Claims the spill lines that `count` words need, and the overflow slot if they do not suffice, in ONE change of the
/// destination's head: all helpers then see the same layout. A lost race wastes arena lines of this generation.
#[cold]
fn lay_out(new: Generation, home: &Line, count: usize) {
    if home.head.load(Ordering::Acquire) != 0 {
        return; // Decided already, or in use already.
    }
    let wanted = count.div_ceil(LINE_SLOTS).min(GROUP_LINES) - 1;
    let taken: Vec<usize> = (0..wanted).map_while(|_| new.take_arena_line()).collect();
    for pair in taken.windows(2) {
        new.arena_line(pair[0]).head.store(pair[1] as u64 + 1, Ordering::Relaxed); // Published by the CAS below.
    }
    let mut head = GroupHead(0);
    if let Some(&first) = taken.first() {
        head = head.with_spill(first);
    }
    if count > (taken.len() + 1) * LINE_SLOTS {
        head = head.with_overflow(SET_SLOT);
    }
    // AcqRel: Release publishes the links; only the first layout counts.
    let _ = home.head.compare_exchange(0, head.0, Ordering::AcqRel, Ordering::Relaxed);
}

/// UNINIT → `word`, once. True if this call did it.
fn settle_word(slot: &AtomicU64, word: Word) -> bool {
    super::chaos();
    // AcqRel: Release publishes what the word points to on behalf of the source's writer.
    slot.compare_exchange(Word::UNINIT.0, word.0, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// The overflow bundle of a moved group is dissolved: its words live in the next generation.
fn retire_bundle(home: &Line, head: GroupHead, guard: &Guard<'_>) {
    if let Some(slot) = head.overflow() {
        Bundle::retire(Word(home.slots[slot].load(Ordering::Acquire)).thawed(), guard);
    }
}

/// Swings the shard to `new` and retires `old`.
fn promote(shard: &Shard<'_>, old: Generation, new: Generation, guard: &Guard<'_>) {
    // AcqRel: one winner; pairs with the Acquire load of `current` by every operation.
    if shard.current.compare_exchange(old.pack(), new.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        shard.counts.resized(new.log2(), new.next().is_some());
        guard.retire_boxed(Box::new(OldGeneration(old)), old.bytes());
    }
}

/// A generation that nobody can reach once the guards of its time are gone.
struct OldGeneration(Generation);

impl Drop for OldGeneration {
    fn drop(&mut self) {
        // SAFETY: retired through the epoch after `promote` unlinked it; its words live in the next generation.
        unsafe { self.0.free() };
    }
}

/// Moves up to `count` further units of a resize under way; when none is left to claim, finishes and promotes.
pub(super) fn drive(
    shard: &Shard<'_>,
    old: Generation,
    new: Generation,
    count: usize,
    hasher: &KeyHasher,
    guard: &Guard<'_>,
) {
    let units = unit_count(old, new);
    let cursor = &old.head().cursor;
    // Relaxed: claims only spread the work; moving is idempotent.
    if cursor.load(Ordering::Relaxed) < units {
        let first = cursor.fetch_add(count, Ordering::Relaxed);
        for index in first..(first + count).min(units) {
            help_move(shard, old, new, index, hasher, guard);
        }
        return;
    }
    finish(shard, old, new, hasher, guard);
}

/// Moves whatever is not moved yet and promotes by that evidence.
pub(super) fn finish(shard: &Shard<'_>, old: Generation, new: Generation, hasher: &KeyHasher, guard: &Guard<'_>) {
    for group in 0..old.group_count() {
        if !GroupHead(old.line(group).head.load(Ordering::Acquire)).is_moved() {
            help_move(shard, old, new, group, hasher, guard);
        }
    }
    promote(shard, old, new, guard);
}
