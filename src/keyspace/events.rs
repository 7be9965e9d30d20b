//! What happens to keys, for those who listen: keyspace notifications, WATCH, client-side caching.
//!
//! ```text
//! a command changes a key ─▶ Keys::changed(key, class, event) ─▶ this loop's log ─▶ exec::tell, behind the command and
//! before anything else of this loop: each listener gets what it asked for, in the order of the log
//! ```
//! Handlers say what their commands mean; what they cannot know is noted here: a key that has come into being (`new`), one
//! that has expired, one that was not found (`keymiss`).
//!
//! *Order.* An event is noted behind its change and told before the reply leaves. So whoever hears of it finds the change,
//! and whoever has the reply finds every listener told.
//!
//! *Cost.* Who listens stands in one word that all loops share and that hardly ever changes. A loop reads it once per window
//! of commands; while nobody listens, an event costs one test of that copy. A listener that must not miss a change (WATCH,
//! tracking) appears in the word at a safepoint: no command is under way anywhere, and every loop reads the word before its
//! next one. A loop that has entered a safepoint in the midst of a command reads it anew (`Keys::heed`).

use super::Keys;
use crate::admin::notify::Class;
use crate::base::ids::DbIndex;
use crate::base::sync::{AtomicU32, Ordering::Relaxed};
use std::cell::{Cell, RefCell};

/// Listeners beside the classes of notifications, as bits of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Listener {
    Watch = 1 << Class::BITS,
    Tracking = 1 << (Class::BITS + 1),
    /// Clients that wait for keys: they hear of keys that expire, and of nothing else here.
    Waiting = 1 << (Class::BITS + 2),
    /// The journal: changes are made in order and recorded. Not told here; see `order`.
    Journal = 1 << (Class::BITS + 3),
    /// A snapshot that is being taken: changes are made in order.
    Snapshot = 1 << (Class::BITS + 4),
}

/// Listeners that are told of events.
const TOLD: u32 = !(Listener::Waiting as u32 | ORDERED);
/// Those for whom changes are made in order.
const ORDERED: u32 = Listener::Journal as u32 | Listener::Snapshot as u32;

/// Who listens, for all loops.
#[derive(Default)]
pub struct Listeners {
    word: AtomicU32,
}

impl Listeners {
    #[inline]
    pub fn word(&self) -> u32 {
        self.word.load(Relaxed)
    }
    /// Is it heard of every change?
    pub fn is_heeded(&self, listener: Listener) -> bool {
        self.word() & listener as u32 != 0
    }
    /// From now on it is. Called at a safepoint, so that each loop sees it before its next command. It stays so for a while:
    /// coming and going at a safepoint each time would cost more than what listeners that have nothing to hear cost.
    pub fn heed(&self, listener: Listener) {
        self.word.fetch_or(listener as u32, Relaxed);
    }
    /// From now on it need not be. Called at a safepoint, where nobody is who has looked and counts on being told.
    pub fn forget(&self, listener: Listener) {
        self.word.fetch_and(!(listener as u32), Relaxed);
    }
    /// From now on these classes are published.
    pub fn publish(&self, classes: Class) {
        let keep = Listener::Watch as u32 | Listener::Tracking as u32 | Listener::Waiting as u32 | ORDERED;
        // Two loops that change the parameter do so one after the other, under its lock.
        let _ = self.word.fetch_update(Relaxed, Relaxed, |word| Some(word & keep | classes.bits()));
    }
}

/// Something that happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'l> {
    pub db: DbIndex,
    pub key: &'l [u8],
    /// What is published; `Class::NONE`: nothing.
    pub class: Class,
    pub name: &'static str,
    /// The key's value has changed, or the key has come or gone.
    pub is_change: bool,
    /// All keys of the database have changed (FLUSHDB, SWAPDB); `key` means nothing.
    pub is_whole_db: bool,
}

impl<'l> Event<'l> {
    /// One that is no change.
    pub fn new(db: DbIndex, key: &'l [u8], class: Class, name: &'static str) -> Self {
        Event { db, key, class, name, is_change: false, is_whole_db: false }
    }
}

#[derive(Clone, Copy)]
struct Item {
    db: DbIndex,
    /// Where its key ends in the bytes.
    end: usize,
    class: Class,
    name: &'static str,
    is_change: bool,
    is_whole_db: bool,
}

/// Events in their order.
#[derive(Default)]
pub struct Log {
    keys: Vec<u8>,
    items: Vec<Item>,
}

impl Log {
    fn push(&mut self, event: Event<'_>) {
        self.keys.extend_from_slice(event.key);
        let Event { db, class, name, is_change, is_whole_db, .. } = event;
        self.items.push(Item { db, end: self.keys.len(), class, name, is_change, is_whole_db });
    }
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let starts = [0].into_iter().chain(self.items.iter().map(|item| item.end));
        self.items.iter().zip(starts).map(|(item, start)| {
            let &Item { db, end, class, name, is_change, is_whole_db } = item;
            Event { db, key: &self.keys[start..end], class, name, is_change, is_whole_db }
        })
    }
    pub fn clear(&mut self) {
        self.keys.clear();
        self.items.clear();
    }
}

/// One loop's log.
#[derive(Default)]
pub struct Events {
    /// The word, as this loop saw it last.
    word: Cell<u32>,
    /// Is anything noted?
    has_any: Cell<bool>,
    log: RefCell<Log>,
    /// Keys that have come into being, of which no event was told yet: theirs comes right before the first other one.
    fresh: RefCell<Vec<(DbIndex, Box<[u8]>)>>,
    /// Keys that have expired, for those who wait.
    ended: RefCell<Vec<(DbIndex, Box<[u8]>)>>,
    has_ended: Cell<bool>,
}

impl Events {
    /// Takes over who listens. Before each window of commands, and behind each safepoint.
    #[inline]
    pub fn heed(&self, listeners: &Listeners) {
        self.word.set(listeners.word());
    }
    /// Does anybody listen to events?
    #[inline]
    pub fn is_heeded(&self) -> bool {
        self.word.get() & TOLD != 0
    }
    #[inline]
    pub fn heeds(&self, listener: Listener) -> bool {
        self.word.get() & listener as u32 != 0
    }
    /// Are changes made in order?
    #[inline]
    pub fn is_ordered(&self) -> bool {
        self.word.get() & ORDERED != 0
    }
    /// Are changes recorded?
    #[inline]
    pub fn is_journaled(&self) -> bool {
        self.heeds(Listener::Journal)
    }
    /// The classes that are published.
    pub fn classes(&self) -> Class {
        Class::of_bits(self.word.get())
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.has_any.get()
    }
    /// Notes an event, if anybody listens to such.
    #[inline]
    pub fn push(&self, event: Event<'_>) {
        if self.is_heeded() {
            self.note(event);
        }
    }
    #[cold]
    fn note(&self, event: Event<'_>) {
        if event.class != Class::MISS {
            self.tell_fresh(event.db, event.key);
        }
        let is_published = self.classes().has(event.class);
        let is_change = event.is_change && (self.heeds(Listener::Watch) || self.heeds(Listener::Tracking));
        if is_published || is_change {
            let class = if is_published { event.class } else { Class::NONE };
            self.log.borrow_mut().push(Event { class, is_change, ..event });
            self.has_any.set(true);
        }
    }
    /// This key has come into being.
    #[inline]
    pub fn note_fresh(&self, db: DbIndex, key: &[u8]) {
        if self.is_heeded() && self.classes().has(Class::NEW) {
            self.fresh.borrow_mut().push((db, key.into()));
            self.has_any.set(true);
        }
    }
    /// The first event of a key that has come into being.
    fn tell_fresh(&self, db: DbIndex, key: &[u8]) {
        let mut fresh = self.fresh.borrow_mut();
        let noted = fresh.len();
        fresh.retain(|(of, name)| (*of, &**name) != (db, key)); // A command that names a key twice has made it once.
        if fresh.len() < noted {
            self.log.borrow_mut().push(Event::new(db, key, Class::NEW, "new"));
        }
    }
    /// This key has expired.
    pub fn note_ended(&self, db: DbIndex, key: &[u8]) {
        if self.heeds(Listener::Waiting) {
            self.ended.borrow_mut().push((db, key.into()));
            self.has_ended.set(true);
        }
    }
    /// Have keys expired that somebody may wait for?
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.has_ended.get()
    }
    /// Takes the keys that have expired, if somebody may wait for them.
    pub fn take_ended(&self) -> Vec<(DbIndex, Box<[u8]>)> {
        self.has_ended.set(false);
        self.ended.take()
    }
    /// Takes the log, to be given back by `put_back` when it was read.
    pub fn take(&self) -> Log {
        for (db, key) in self.fresh.take() {
            self.log.borrow_mut().push(Event::new(db, &key, Class::NEW, "new"));
        }
        self.has_any.set(false);
        self.log.take()
    }
    /// Gives an emptied log's room back.
    pub fn put_back(&self, mut log: Log) {
        log.clear();
        if self.is_empty() {
            self.log.replace(log);
        }
    }
}

impl Keys<'_> {
    /// Reads anew who listens: the command at hand has entered a safepoint, or changed it itself.
    pub fn heed(&self) {
        self.local.events.heed(&self.space.listeners);
    }
    /// The value of `key` was changed, or the key made or removed, by what `event` names.
    /// Cost: a test if nobody listens.
    #[inline]
    pub fn changed(&self, key: &[u8], class: Class, event: &'static str) {
        if self.local.events.is_heeded() {
            self.note(key, class, event, true); // The event is not even put together if nobody listens.
        }
    }
    #[cold]
    #[inline(never)]
    fn note(&self, key: &[u8], class: Class, event: &'static str, is_change: bool) {
        self.local.events.note(Event { is_change, ..Event::new(self.db(), key, class, event) });
    }
    /// All keys of the database have changed.
    pub fn changed_all(&self) {
        let event = Event::new(self.db(), b"", Class::NONE, "");
        self.local.events.push(Event { is_change: true, is_whole_db: true, ..event });
    }
    /// As `changed`, without an event.
    #[inline]
    pub fn touched(&self, key: &[u8]) {
        self.changed(key, Class::NONE, "");
    }
    /// An event that is no change of its own: another one behind a change, or none at all.
    #[inline]
    pub fn event(&self, key: &[u8], class: Class, event: &'static str) {
        if self.local.events.is_heeded() {
            self.note(key, class, event, false);
        }
    }
    /// Something was taken out of `key`; `is_gone`: that was the last, and the key has gone with it.
    #[inline]
    pub fn reduced(&self, key: &[u8], class: Class, event: &'static str, is_gone: bool) {
        self.changed(key, class, event);
        if is_gone {
            self.event(key, Class::GENERIC, "del");
        }
    }
    /// A reading command has not found `key`.
    #[inline]
    pub fn missed(&self, key: &[u8]) {
        self.event(key, Class::MISS, "keymiss");
    }
    /// Has a reading command found `key`? Counts it.
    #[inline]
    pub fn looked_up(&self, key: &[u8], is_found: bool) {
        self.count_lookups(is_found as u64, !is_found as u64);
        if !is_found {
            self.missed(key);
        }
    }
    /// A command has looked for so many keys and has not found these.
    #[inline]
    pub fn looked_up_all<'k>(&self, count: usize, missing: impl ExactSizeIterator<Item = &'k [u8]>) {
        let misses = missing.len();
        self.count_lookups((count - misses) as u64, misses as u64);
        missing.for_each(|key| self.missed(key));
    }
    /// `key` was past its deadline and is gone.
    pub(super) fn note_expired(&self, key: &[u8]) {
        self.stats.expired.add(1);
        self.record_end(key);
        self.local.events.note_ended(self.db(), key);
        self.changed(key, Class::EXPIRED, "expired");
    }
    /// The key was removed to make room.
    pub(super) fn note_evicted(&self, key: &[u8]) {
        self.stats.evicted.add(1);
        self.record_end(key);
        self.local.events.note_ended(self.db(), key);
        self.changed(key, Class::EVICTED, "evicted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(events: &Events) -> Vec<String> {
        let log = events.take();
        let shown = |event: Event<'_>| {
            let sign = if event.is_change { "!" } else { "" };
            format!("{} {}{sign} {}", event.db.0, event.name, String::from_utf8_lossy(event.key))
        };
        let all = log.iter().map(shown).collect();
        events.put_back(log);
        all
    }

    fn event(key: &'static str, class: Class, name: &'static str, is_change: bool) -> Event<'static> {
        Event { is_change, ..Event::new(DbIndex(1), key.as_bytes(), class, name) }
    }

    #[test]
    fn only_what_somebody_listens_to_is_noted() {
        let (listeners, events) = (Listeners::default(), Events::default());
        let note_all = || {
            events.push(event("a", Class::STRING, "set", true));
            events.push(event("b", Class::GENERIC, "del", false));
            events.push(event("c", Class::MISS, "keymiss", false));
            of(&events)
        };
        assert_eq!(note_all(), [""; 0]);
        listeners.publish(Class::of_letters(b"Kg"));
        assert_eq!(note_all(), [""; 0], "a loop sees it when it looks");
        events.heed(&listeners);
        assert_eq!(note_all(), ["1 del b"]);
        listeners.heed(Listener::Watch);
        listeners.publish(Class::NONE);
        events.heed(&listeners);
        assert_eq!(note_all(), ["1 set! a"]);
        listeners.publish(Class::of_letters(b"EAm"));
        events.heed(&listeners);
        assert_eq!(note_all(), ["1 set! a", "1 del b", "1 keymiss c"]);
        assert!(events.is_empty() && of(&events).is_empty());
    }

    #[test]
    fn a_new_key_is_told_before_what_made_it() {
        let (listeners, events) = (Listeners::default(), Events::default());
        listeners.publish(Class::of_letters(b"KAn"));
        events.heed(&listeners);
        for key in ["a", "b", "a"] {
            events.note_fresh(DbIndex(1), key.as_bytes());
        }
        events.push(event("a", Class::STRING, "set", true));
        events.push(event("a", Class::STRING, "set", true));
        assert_eq!(of(&events), ["1 new a", "1 set a", "1 set a", "1 new b"]);
    }
}
