//! Overflow bundles: what a group does when its slots are full and growing would not help, because hashes collide. With a keyed
//! hash that does not happen, but it must be right. (Where there is no spill line left, the shard grows: `Table::grow`.)
//!
//! One home slot of the group becomes **set-valued**, and the group's header says which. The slot then holds EMPTY, one
//! ordinary word, or a bundle: an immutable array of words. While the header names an overflow slot, every insert into the
//! group goes through a CAS of that slot, so two inserters of one key collide there; inserts that were under way by the
//! ordinary protocol fail at their commit, because the header changed. Changing a bundled word builds a new bundle. A move
//! to another generation dissolves the bundle into slots again.

use super::probe::Place;
use super::reclaim::Guard;
use super::word::Word;
use crate::base::mutation::{Mutation, mutated};
use crate::base::plain::Plain;
use crate::base::sync::{AtomicU64, Ordering};

/// An immutable set of words; at least two.
pub(super) struct Bundle {
    words: Box<[Word]>,
    plain: Plain,
}

impl Bundle {
    /// The words that a set-valued slot stands for.
    ///
    /// # Safety
    /// `word` was loaded with Acquire from a slot under a guard that outlives the answer.
    pub unsafe fn words_of(word: Word, single: &mut [Word; 1]) -> &[Word] {
        if word.is_bundle() {
            // SAFETY: a bundle word points to a live bundle; it is retired through an epoch when replaced.
            let bundle: &Bundle = unsafe { &*word.pointer() };
            bundle.plain.read();
            return &bundle.words;
        }
        *single = [word.thawed()];
        if word.is_live() { &single[..] } else { &[] }
    }
    /// The word that stands for `words`: EMPTY, the single word itself, or a fresh bundle.
    pub fn pack(words: Vec<Word>) -> Word {
        match words[..] {
            [] => Word::EMPTY,
            [word] => word,
            _ => Word::bundle(Box::into_raw(Box::new(Bundle { words: words.into_boxed_slice(), plain: Plain::new() }))),
        }
    }
    /// Frees a bundle that `pack` made and nobody has seen.
    pub fn discard(word: Word) {
        if word.is_bundle() {
            // SAFETY: `pack` boxed it, and it was never published.
            drop(unsafe { Box::from_raw(word.pointer::<Bundle>()) });
        }
    }
    /// Retires a bundle that has just been unlinked (its words live on elsewhere).
    pub fn retire(word: Word, guard: &Guard<'_>) {
        if word.is_bundle() {
            // SAFETY: the caller's CAS unlinked it, so it is retired once; readers are protected by their guards.
            let bundle = unsafe { Box::from_raw(word.pointer::<Bundle>()) };
            let bytes = size_of_val(&*bundle.words);
            guard.retire_boxed(bundle, bytes);
        }
    }
}

/// Replaces the set in `slot`, if it still is `seen`, by `words`. True if it happened.
fn exchange(slot: &AtomicU64, seen: Word, words: Vec<Word>, guard: &Guard<'_>) -> bool {
    let next = Bundle::pack(words);
    // AcqRel: publishes the new bundle; pairs with readers' Acquire loads. The linearization point of the change.
    let seen = if mutated(Mutation::BundleWithoutCompare) { Word(slot.load(Ordering::Acquire)) } else { seen };
    if slot.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        Bundle::retire(seen, guard);
        return true;
    }
    Bundle::discard(next);
    false
}

/// Adds `word` to the set-valued `slot`, if that still is `seen`.
pub(super) fn add(slot: &AtomicU64, seen: Word, word: Word, guard: &Guard<'_>) -> bool {
    let mut single = [Word::EMPTY];
    // SAFETY: `seen` was loaded from the slot under `guard`.
    let mut words = unsafe { Bundle::words_of(seen, &mut single) }.to_vec();
    words.push(word);
    exchange(slot, seen, words, guard)
}

/// Replaces the bundled word of `place` by `next` (EMPTY removes it), if the bundle is still the same.
pub(super) fn replace(place: &Place<'_>, next: Word, guard: &Guard<'_>) -> bool {
    let mut single = [Word::EMPTY];
    // SAFETY: `place.held` was loaded from the slot under `guard`.
    let words = unsafe { Bundle::words_of(place.held, &mut single) };
    let kept = words.iter().filter(|&&word| word != place.word || !next.is_empty());
    let words = kept.map(|&word| if word == place.word { next } else { word }).collect();
    exchange(place.slot, place.held, words, guard)
}
