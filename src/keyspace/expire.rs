//! Active expiry: keys are removed soon after their deadline, whether somebody asks for them or not.
//!
//! Each loop keeps a timing wheel per table with an item for each deadline that its commands gave: the tick, and where in the
//! table the key lives (`Table::locator`). When an item fires, the loop looks at that place and removes what is dead. No
//! item holds a pointer, so nobody tells the wheel when a key goes away, and loops share nothing.
//!
//! ```text
//! invariant   for each key with a deadline d, some loop has an item of its place whose tick is not after d
//! register    a key gets a deadline, or an earlier one than before       → new item
//!             a key gets a later one (the usual refresh)                 → nothing: the old item keeps the invariant
//! settle      an item fires: remove the dead of its place; the earliest of the later deadlines of its place, if any, gets
//!             the item: moved, not copied, so items never multiply
//! ```
//! `settle` counts a key as one of its place only if the whole locator agrees; two keys that share all 32 bits are served by
//! each other's items, and the earliest deadline comes first.
//!
//! *Fields.* Deadlines of hash fields are served by items of their key's place: see fields.rs.
//!
//! *Races.* A command may put a deadline off while its item is being settled. Either the removal sees the new deadline (it
//! decides inside the table's update) and the item is moved, or the key is gone and the command starts anew.
//!
//! *Garbage.* Items outlive keys that are deleted early (`SET NX EX` and `DEL`). When the loops together have more than
//! twice as many items as there are volatile keys, each settles all its items ahead of time, in slices; equal items
//! collapse. A table that is flushed takes its wheel along.
//!
//! *Time.* A run ends after its budget, to go on in the next turn. Measured: kernel-notes/07-expiry.md.

use super::events::{Event, Events, Listener};
use super::order::{self, Ledger};
use super::recency::Recency;
use super::types::Type;
use super::wheel::{AHEAD_MAX, CHUNK_COUNT, Item, Step, TICK_MS, Tick, Walk, Wheel, tick_after, tick_at};
use super::{Keyspace, fields};
use crate::admin::notify::Class;
use crate::admin::stats::LoopStats;
use crate::base::clock::{MonoNs, WallMs};
use crate::base::hash::Key;
use crate::base::ids::DbIndex;
use crate::base::sync::Ordering;
use crate::table::{Change, Entry, Guard, Table};
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// The farthest an item is put: half of what the wheel could, so that a wheel whose clock stood still has room, too.
const FAR: Tick = AHEAD_MAX / 2;
/// Items that all loops together may have beyond twice the number of volatile keys: 512 KiB.
const SLACK: usize = if cfg!(test) { 256 } else { 64 << 10 };
/// How often a loop that sleeps looks whether active expiry was switched on again.
const DISABLED_NAP: Duration = Duration::from_millis(100);
const NEVER: u64 = u64::MAX;

/// The deadlines of one table's keys that this loop knows of.
struct Book {
    table: u64,
    wheel: Wheel,
    /// A purge under way.
    purge: Option<Walk>,
    /// With so many items it is time to ask whether a purge is due.
    check_at: usize,
}

/// One loop's part of active expiry.
pub struct Expiry {
    books: RefCell<Vec<Book>>,
    /// When there is something to do, in unix ms.
    next_ms: Cell<u64>,
    /// `Keyspace::flushes` when the books were last checked.
    flushes: Cell<u32>,
}

impl Default for Expiry {
    fn default() -> Self {
        Expiry { books: RefCell::default(), next_ms: Cell::new(NEVER), flushes: Cell::new(0) }
    }
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Run<'t> {
    pub space: &'t Keyspace,
    pub guard: &'t Guard<'t>,
    /// All loops' statistics, and this one's.
    pub all: &'t [LoopStats],
    pub stats: &'t LoopStats,
    /// This loop's log of what happens to keys, and of what has changed.
    pub events: &'t Events,
    pub ledger: &'t Ledger,
    pub recency: &'t Recency,
    pub now: WallMs,
}

impl Run<'_> {
    /// Runs `change`, which may remove `key` or a part of it, in order with all other changes.
    pub(super) fn in_order<R>(&self, table: &Table, key: Key<'_>, change: impl FnOnce() -> R) -> R {
        if !self.events.is_ordered() {
            return change();
        }
        self.ledger.open(&self.space.order, [key.hash]);
        order::before_write(self.space, table, key, self.now, self.guard, self.recency);
        let result = change();
        self.ledger.close(&self.space.order);
        result
    }
    /// Records what has happened to a key of this table, if there is a journal.
    pub(super) fn record<'w>(&self, table: &Table, words: impl ExactSizeIterator<Item = &'w [u8]>) {
        if self.events.is_journaled()
            && let Some(db) = self.space.roots.index_of(table.id(), self.guard)
        {
            self.ledger.record(DbIndex(db as u16), words);
        }
    }
    /// Notes what has happened to a key of this table, if anybody listens.
    pub(super) fn note(&self, table: &Table, key: &[u8], class: Class, name: &'static str, is_change: bool) {
        if self.events.is_heeded()
            && let Some(db) = self.space.roots.index_of(table.id(), self.guard)
        {
            self.events.push(Event { is_change, ..Event::new(DbIndex(db as u16), key, class, name) });
        }
    }
}

impl Expiry {
    /// A key with this hash has a deadline that no item covers.
    #[inline]
    pub fn register(&self, table: u64, hash: u64, deadline: WallMs, now: WallMs) {
        let mut books = self.books.borrow_mut();
        let book = match books.iter_mut().position(|book| book.table == table) {
            Some(index) => &mut books[index],
            None => open(&mut books, table),
        };
        if book.wheel.is_empty() {
            book.wheel.set_now(tick_at(now.0));
        }
        let tick = tick_of(deadline, now);
        book.wheel.push(Item::new(tick, Table::locator(hash)));
        let due = if book.wheel.len() < book.check_at { ms_of(tick, now) } else { now.0 };
        self.next_ms.set(self.next_ms.get().min(due));
    }

    /// How long the loop may sleep: None for ever.
    pub fn sleep_time(&self, now: WallMs, is_enabled: bool) -> Option<Duration> {
        match self.next_ms.get() {
            NEVER => None,
            _ if !is_enabled => Some(DISABLED_NAP),
            next => Some(Duration::from_millis(next.saturating_sub(now.0))),
        }
    }

    /// Removes what is due, for at most about `budget`. Called once per turn.
    /// Returns the time it took; zero if nothing was due.
    /// Cost: a compare if nothing is due.
    #[inline]
    pub fn run(&self, run: Run<'_>, budget: Duration) -> Duration {
        let is_stale = self.flushes.get() != run.space.flushes.load(Ordering::Relaxed);
        if run.now.0 >= self.next_ms.get() || is_stale { self.run_due(run, budget) } else { Duration::ZERO }
    }
    #[cold]
    fn run_due(&self, run: Run<'_>, budget: Duration) -> Duration {
        let started = MonoNs::now();
        let until = MonoNs(started.0 + budget.as_nanos() as u64);
        let books = &mut *self.books.borrow_mut();
        self.flushes.set(run.space.flushes.load(Ordering::Relaxed));
        books.retain(|book| run.space.roots.by_id(book.table, run.guard).is_some());
        let finished = books.iter_mut().all(|book| match run.space.roots.by_id(book.table, run.guard) {
            Some(table) => book.run(run, table, until),
            None => true,
        });
        run.stats.expire_items.set(books.iter().map(|book| book.wheel.len() as u64).sum());
        let is_purging = books.iter_mut().filter_map(|book| book.wants_purge(run).then_some(())).count() > 0;
        if finished && !is_purging {
            let ticks = books.iter().filter_map(|book| book.wheel.next_event());
            self.next_ms.set(ticks.map(|tick| ms_of(tick, run.now)).min().unwrap_or(NEVER));
        } else {
            self.next_ms.set(0);
            books.rotate_left(1); // Another table goes first next time.
        }
        if !finished {
            run.stats.expire_cuts.add(1);
        }
        let took = MonoNs::now().since(started);
        run.stats.expire_ns.add(took.as_nanos() as u64);
        took
    }
    /// Bytes of all wheels.
    pub fn bytes(&self) -> usize {
        self.books.borrow().iter().map(|book| book.wheel.bytes()).sum()
    }
    /// Number of items in all wheels.
    pub fn item_count(&self) -> usize {
        self.books.borrow().iter().map(|book| book.wheel.len()).sum()
    }
}

#[cold]
fn open(books: &mut Vec<Book>, table: u64) -> &mut Book {
    books.push(Book { table, wheel: Wheel::new(0), purge: None, check_at: SLACK });
    let last = books.len() - 1;
    &mut books[last]
}

/// The tick of an item for a deadline: the first at which it has passed, or a far one before it.
fn tick_of(deadline: WallMs, now: WallMs) -> Tick {
    let far = now.0 + FAR as u64 * TICK_MS;
    tick_after(deadline.0.min(far))
}

/// When a tick begins, in unix ms; a past one is as good as now.
fn ms_of(tick: Tick, now: WallMs) -> u64 {
    let ahead = tick.wrapping_sub(tick_at(now.0));
    if ahead > AHEAD_MAX { now.0 } else { (now.0 / TICK_MS + ahead as u64) * TICK_MS }
}

impl Book {
    /// Works until nothing is due, or until the time is over: then false.
    fn run(&mut self, run: Run<'_>, table: &Table, until: MonoNs) -> bool {
        let mut portion = Vec::with_capacity(CHUNK_COUNT);
        let target = tick_at(run.now.0);
        loop {
            match self.wheel.step(target, &mut portion) {
                Step::Fired => self.settle_all(run, table, &mut portion),
                Step::Moved => {}
                Step::Idle => break,
            }
            if MonoNs::now() >= until {
                return false;
            }
        }
        while let Some(walk) = &mut self.purge {
            if !self.wheel.walk(walk, &mut portion) {
                self.purge = None;
                self.check_at = self.wheel.len() * 2 + SLACK;
                break;
            }
            self.settle_all(run, table, &mut portion);
            if MonoNs::now() >= until {
                return false;
            }
        }
        true
    }

    /// Is a purge under way or to be started?
    fn wants_purge(&mut self, run: Run<'_>) -> bool {
        if self.purge.is_none() && self.wheel.len() >= self.check_at {
            let items: u64 = run.all.iter().map(|stats| stats.expire_items.get()).sum();
            if items as usize > run.space.volatile_count(run.guard) * 2 + SLACK {
                self.purge = Some(Walk::default());
            } else {
                self.check_at = self.wheel.len() + self.wheel.len() / 2;
            }
        }
        self.purge.is_some()
    }

    /// Settles a portion of items. Equal ones collapse; all their lines are asked for before the first is read.
    fn settle_all(&mut self, run: Run<'_>, table: &Table, portion: &mut Vec<Item>) {
        portion.sort_unstable();
        portion.dedup();
        portion.iter().for_each(|item| table.prefetch_near(item.place()));
        portion.iter().for_each(|item| table.prefetch_entries_near(item.place(), run.guard));
        for item in portion.drain(..) {
            if let Some(deadline) = settle(run, table, item.place()) {
                let tick = tick_of(deadline, run.now);
                // An earlier deadline than the item's has an item of its own: this one is superfluous.
                if tick.wrapping_sub(item.tick()) <= AHEAD_MAX {
                    self.wheel.push(Item::new(tick, item.place()));
                }
            }
        }
    }
}

/// Removes the dead keys around a place. Returns the earliest deadline that is still to come for a key of exactly this place.
fn settle(run: Run<'_>, table: &Table, place: u32) -> Option<WallMs> {
    let mut next: Option<WallMs> = None;
    let mut dead: Vec<Key<'_>> = Vec::new();
    let mut hashes: Vec<Key<'_>> = Vec::new();
    let mut note = |key: Key<'_>, deadline: WallMs| {
        if Table::locator(key.hash) == place {
            next = Some(next.map_or(deadline, |earliest| earliest.min(deadline)));
        }
    };
    table.visit_near(place, run.guard, |entry: Entry<'_>| {
        let (deadline, is_hash) = (entry.expires_at(), Type::of(entry) == Type::Hash);
        if deadline.is_none() && !is_hash {
            return;
        }
        let key = Key::new(&run.space.hasher, entry.key());
        match deadline {
            Some(deadline) if deadline <= run.now => return dead.push(key),
            Some(deadline) => note(key, deadline),
            None => {}
        }
        if is_hash {
            hashes.push(key);
        }
    });
    for key in hashes {
        if let Some(deadline) = fields::settle(run, table, key) {
            note(key, deadline);
        }
    }
    for key in dead {
        if let Some(deadline) = remove_dead(run, table, key) {
            note(key, deadline);
        }
    }
    next
}

/// Removes a key that is past its deadline and counts it. Returns its deadline if it was put off meanwhile.
fn remove_dead(run: Run<'_>, table: &Table, key: Key<'_>) -> Option<WallMs> {
    let found = run.in_order(table, key, || {
        let found = table.update(key, run.guard, |entry| match entry.and_then(Entry::expires_at) {
            Some(deadline) if deadline <= run.now => (Change::Remove, Some(deadline)),
            other => (Change::Keep, other),
        });
        if found.is_some_and(|deadline| deadline <= run.now) {
            run.record(table, [&b"DEL"[..], key.bytes].into_iter());
        }
        found
    })?;
    if found > run.now {
        return Some(found);
    }
    run.stats.expired.add(1);
    run.note(table, key.bytes, Class::EXPIRED, "expired", true);
    if run.events.heeds(Listener::Waiting)
        && let Some(db) = run.space.roots.index_of(table.id(), run.guard)
    {
        run.events.note_ended(DbIndex(db as u16), key.bytes);
    }
    run.stats.expire_lag.record(run.stats.era(), run.now.0 - found.0, 1);
    None
}
