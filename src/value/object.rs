//! Objects: values that are changed in place, under one lock of their own.
//!
//! An entry owns its object; the table does not look inside. A command that reads takes the lock shared, one that writes takes
//! it exclusively, for the time of one handler (or one slice of it), never across a wait.
//!
//! ```text
//! lock   u32    WRITER | DEAD | WANTED | number of readers
//! kind   u8     which collection the body is; None: it has moved away, or has not come yet
//! body   2 × 8  the collection: at most 16 bytes, thin boxes to the rest
//! ```
//! **Dead.** Whoever unlinks an entry from its key holds its object exclusively from before the CAS, and marks it dead before
//! it lets go. So a lock that was taken and is not dead belongs to what the key holds, for as long as it is held; a dead one
//! means: look the key up again. An object's value survives its entry where that is what the command says (RENAME, EXPIRE):
//! the new entry's object is born locked and empty, and gets the body under both locks.
//!
//! **Progress.** Holders run; a waiting thread spins for a moment and then gives its core away. A waiting writer keeps new
//! readers out.
//!
//! Proof: loom-tests/tests/object.rs.

use super::drain;
use crate::base::mutation::{Mutation, mutated, weakened};
use crate::base::plain::Plain;
use crate::base::prefetch::prefetch_lines;
use crate::base::sync::{AtomicU32, Ordering, Patience, hint};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// The types of collections. The numbers are those of the entries' kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ObjectType {
    List = 3,
    Hash,
    Set,
    SortedSet,
    Stream,
    /// Of models and tests.
    #[cfg(any(test, loom))]
    Tally,
}

/// What every collection tells about itself. `Default` is the empty one in its smallest encoding.
pub trait Collection: Default + Send + 'static {
    const TYPE: ObjectType;
    /// Has it lost its last element? Then its key is removed. A stream never has.
    fn is_empty(&self) -> bool;
    /// The name that OBJECT ENCODING replies.
    fn encoding(&self) -> &'static str;
    /// Bytes on the heap, estimated from `samples` elements; 0: from all of them.
    fn memory(&self, samples: usize) -> usize;
    /// Allocations that are freed with it, about. Cost: constant.
    fn pieces(&self) -> usize;
    /// Has any of its elements a deadline? Cost: constant.
    fn is_timed(&self) -> bool {
        false
    }
    /// A copy that shares nothing with it.
    fn duplicate(&self) -> Self;
    /// Prefetches what a command on the element with this hash (`element_hash`; 0: on no certain one) will touch: in step 0
    /// what the body points to, in each further step what is found there. False: that is all.
    fn look_ahead(&self, element: u64, step: usize) -> bool;
}

/// Steps of `look_ahead` that pay.
pub const LOOK_STEPS: usize = 3;

/// A step of `look_ahead` that asks for what a box holds; there is more behind it.
#[inline]
pub fn look_into<T>(boxed: &T) -> bool {
    prefetch_lines(boxed, size_of::<T>().div_ceil(64).min(2));
    true
}

/// A collection's place: aligned for thin boxes.
type Body = MaybeUninit<[u64; 2]>;

/// What can be done with a body without knowing its type.
struct Methods {
    drop: unsafe fn(*mut Body),
    is_empty: unsafe fn(*const Body) -> bool,
    encoding: unsafe fn(*const Body) -> &'static str,
    memory: unsafe fn(*const Body, usize) -> usize,
    pieces: unsafe fn(*const Body) -> usize,
    is_timed: unsafe fn(*const Body) -> bool,
    duplicate: unsafe fn(*const Body) -> Value,
    look_ahead: unsafe fn(*const Body, u64, usize) -> bool,
}

/// The collection in a body.
///
/// # Safety
/// The body holds a T, and nobody changes it for `'b`.
unsafe fn seen<'b, T: Collection>(body: *const Body) -> &'b T {
    // SAFETY: the caller's promise.
    unsafe { &*body.cast::<T>() }
}

const fn methods<T: Collection>() -> Methods {
    const { assert!(size_of::<T>() <= size_of::<Body>() && align_of::<T>() <= align_of::<Body>()) };
    Methods {
        // SAFETY: as for all of these: found through `of`, so called with a body that holds a T.
        drop: |body| unsafe { body.cast::<T>().drop_in_place() },
        // SAFETY: as above.
        is_empty: |body| unsafe { seen::<T>(body) }.is_empty(),
        // SAFETY: as above.
        encoding: |body| unsafe { seen::<T>(body) }.encoding(),
        // SAFETY: as above.
        memory: |body, samples| unsafe { seen::<T>(body) }.memory(samples),
        // SAFETY: as above.
        pieces: |body| unsafe { seen::<T>(body) }.pieces(),
        // SAFETY: as above.
        is_timed: |body| unsafe { seen::<T>(body) }.is_timed(),
        // SAFETY: as above.
        duplicate: |body| Value::new(unsafe { seen::<T>(body) }.duplicate()),
        // SAFETY: as above.
        look_ahead: |body, element, step| unsafe { seen::<T>(body) }.look_ahead(element, step),
    }
}

/// The methods of a type. A new collection adds its line here.
fn of(kind: ObjectType) -> &'static Methods {
    match kind {
        ObjectType::List => const { &methods::<super::list::List>() },
        ObjectType::Set => const { &methods::<super::set::Set>() },
        ObjectType::Hash => const { &methods::<super::hash::Hash>() },
        #[cfg(any(test, loom))]
        ObjectType::Tally => const { &methods::<super::tally::Tally>() },
        ObjectType::Stream => const { &methods::<super::stream::Stream>() },
        ObjectType::SortedSet => const { &methods::<super::zset::SortedSet>() },
    }
}

/// A collection of any type, owned.
pub struct Value {
    kind: ObjectType,
    body: Body,
}

// SAFETY: every collection is Send.
unsafe impl Send for Value {}

impl Value {
    pub fn new<T: Collection>(collection: T) -> Self {
        let mut body = Body::uninit();
        // SAFETY: `methods` has checked size and alignment.
        unsafe { body.as_mut_ptr().cast::<T>().write(collection) };
        Value { kind: T::TYPE, body }
    }
    pub fn kind(&self) -> ObjectType {
        self.kind
    }
    /// Allocations that are freed with it, about.
    pub fn pieces(&self) -> usize {
        // SAFETY: the body holds what `kind` says.
        unsafe { (of(self.kind).pieces)(&self.body) }
    }
    /// Bytes on the heap, estimated from `samples` elements; 0: from all of them.
    pub fn memory(&self, samples: usize) -> usize {
        // SAFETY: the body holds what `kind` says.
        unsafe { (of(self.kind).memory)(&self.body, samples) }
    }
    /// Gives the body away.
    fn into_body(self) -> (ObjectType, Body) {
        let parts = (self.kind, self.body);
        std::mem::forget(self);
        parts
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the body holds what `kind` says, and is dropped exactly here.
        unsafe { (of(self.kind).drop)(&mut self.body) }
    }
}

const WRITER: u32 = 1 << 31;
const DEAD: u32 = 1 << 30;
/// A writer waits: no new readers.
const WANTED: u32 = 1 << 29;
const READERS: u32 = WANTED - 1;

/// See the module header.
pub struct Object {
    lock: AtomicU32,
    /// Changed with the body.
    kind: UnsafeCell<Option<ObjectType>>,
    is_heir: bool,
    /// Does its table count it as one with deadlines inside?
    is_counted: hint::AtomicBool,
    body: UnsafeCell<Body>,
    /// The body, for the models. No bytes in the server.
    plain: Plain,
}

// SAFETY: kind and body are touched by whoever holds the lock in the right way, and collections are Send. Readers share a
// collection by `&`; no collection has interior mutability that is not Sync (they are plain data).
unsafe impl Sync for Object {}

impl Object {
    /// An object that holds `value`, unlocked.
    pub fn new(value: Value) -> Self {
        Self::with_lock(0, Some(value))
    }
    /// One that its maker will `fill`, born with its exclusive lock taken.
    pub fn vacant() -> Self {
        Self::with_lock(WRITER, None)
    }
    /// One that gets the body of the object that it displaces (`hand_over`), born with its exclusive lock taken.
    pub fn heir() -> Self {
        let mut heir = Self::with_lock(WRITER, None);
        heir.is_heir = true;
        heir
    }
    fn with_lock(lock: u32, value: Option<Value>) -> Self {
        let (kind, body) =
            value.map(Value::into_body).map_or((None, Body::uninit()), |(kind, body)| (Some(kind), body));
        Object {
            lock: AtomicU32::new(lock),
            kind: UnsafeCell::new(kind),
            is_heir: false,
            is_counted: hint::AtomicBool::new(false),
            body: UnsafeCell::new(body),
            plain: Plain::new(),
        }
    }

    /// Takes the lock shared. None: it is dead, look the key up again.
    #[inline]
    pub fn read(&self) -> Option<Shared<'_>> {
        let mut patience = Patience::default();
        loop {
            // Relaxed: the CAS orders; this is a guess of what it will find.
            let seen = self.lock.load(Ordering::Relaxed);
            if seen & (WRITER | WANTED) == 0 {
                if seen & DEAD != 0 {
                    self.mourn();
                    return None;
                }
                // Acquire: what the last writer did is seen. Pairs with the Release of `unlock`.
                if self.lock.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(Shared(self));
                }
            }
            patience.wait();
        }
    }
    /// Takes the lock shared if nobody has it exclusively or waits for that. None: it is dead, or was not to be had at once.
    #[inline]
    pub fn try_read(&self) -> Option<Shared<'_>> {
        let seen = self.lock.load(Ordering::Relaxed); // As in `read`.
        let is_free = seen & (WRITER | WANTED | DEAD) == 0;
        // Acquire: as in `read`.
        let taken = is_free && self.lock.compare_exchange(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        taken.then(|| Shared(self)) // Not `then_some`: a lock that is made is given back.
    }
    /// Takes the lock exclusively. None: it is dead, look the key up again.
    #[inline]
    pub fn write(&self) -> Option<Exclusive<'_>> {
        self.write_unless(|| false)
    }
    /// As `write`; None also if `is_over` says so while waiting.
    #[inline]
    pub fn write_unless(&self, is_over: impl Fn() -> bool) -> Option<Exclusive<'_>> {
        let mut patience = Patience::default();
        loop {
            let seen = self.lock.load(Ordering::Relaxed); // As in `read`.
            if seen & DEAD != 0 && seen & WRITER == 0 {
                self.mourn();
                return None;
            }
            if seen & (WRITER | READERS) == 0 {
                // Acquire: what the last holder did is seen; readers' loads cannot sink below their Release either.
                if self.lock.compare_exchange_weak(seen, WRITER, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(Exclusive(self));
                }
            } else if is_over() {
                // Relaxed: a hint. Another writer that waits sets it again.
                self.lock.fetch_and(!WANTED, Ordering::Relaxed);
                return None;
            } else if seen & READERS != 0 && seen & WANTED == 0 {
                // Relaxed: a hint to readers. Where a writer holds it none of them comes in anyway, and it goes on faster if
                // nobody takes the line away.
                let _ = self.lock.compare_exchange_weak(seen, seen | WANTED, Ordering::Relaxed, Ordering::Relaxed);
            }
            patience.wait();
        }
    }
    /// The end of an exclusive lock.
    #[inline]
    fn let_go(&self, state: u32, order: Ordering) {
        if cfg!(loom) {
            // loom 0.7 would let a store come before an exchange that took place before it (WANTED would stay for ever).
            self.lock.swap(state, order);
        } else {
            self.lock.store(state, order);
        }
    }
    /// It was found dead: whoever looks its key up again does not find it any more.
    fn mourn(&self) {
        // Acquire: pairs with the Release of `bury`, behind which the entry was unlinked.
        self.lock.load(weakened(Mutation::DeathRelaxed, Ordering::Acquire));
    }
    /// Waits until no writer holds it: what a command is doing to this key is done then. True: it is alive.
    /// For those who ask about a key without looking at its value (EXISTS, TYPE).
    /// Cost: one load if nobody writes.
    #[inline]
    pub fn settled(&self) -> bool {
        let mut patience = Patience::default();
        loop {
            // Acquire: what the last writer did elsewhere before it let go is seen by whoever goes on from here.
            let seen = self.lock.load(Ordering::Acquire);
            if seen & WRITER == 0 {
                return seen & DEAD == 0;
            }
            patience.wait();
        }
    }
    /// The exclusive lock of an object that was born with it.
    ///
    /// # Safety
    /// Made by `vacant` or `heir`, by this thread, and not asked for before.
    pub unsafe fn born_held(&self) -> Exclusive<'_> {
        Exclusive(self)
    }
    /// Was it made to get another object's body?
    pub fn is_heir(&self) -> bool {
        self.is_heir
    }
    /// Notes whether its table counts it from now on as one with deadlines inside. Returns what that adds to the count.
    /// True only by who holds the lock; false also by who has unlinked it, and once more by who helped with that.
    #[inline]
    pub fn count_as_timed(&self, is_timed: bool) -> i64 {
        // Relaxed, both: whoever swaps accounts for it, and nothing is published by that.
        if self.is_counted.load(hint::Ordering::Relaxed) == is_timed {
            return 0;
        }
        is_timed as i64 - self.is_counted.swap(is_timed, hint::Ordering::Relaxed) as i64
    }
    /// May only be called with the lock held.
    fn kind(&self) -> Option<ObjectType> {
        self.plain.read();
        // SAFETY: the caller holds the lock.
        unsafe { *self.kind.get() }
    }
    /// What is known of the body's type. May only be called with the lock held.
    fn methods(&self) -> &'static Methods {
        match self.kind() {
            Some(kind) => of(kind),
            None => unreachable!("a living object has a body"),
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if let Some(kind) = self.kind.get_mut().take() {
            // SAFETY: the body holds what `kind` said; it is moved out exactly here.
            let body = unsafe { self.body.get().read() };
            drain::discard(Value { kind, body });
        }
    }
}

/// A shared lock. Whoever has one reads.
pub struct Shared<'o>(&'o Object);

impl<'o> Shared<'o> {
    /// The collection, if it is of this type.
    #[inline]
    pub fn get<T: Collection>(&self) -> Option<&T> {
        if self.0.kind() != Some(T::TYPE) {
            return None;
        }
        // SAFETY: the body is a T, and writers are kept out as long as `self` lives.
        Some(unsafe { &*self.0.body.get().cast::<T>() })
    }
    pub fn encoding(&self) -> &'static str {
        // SAFETY: the body is of that type, and writers are kept out.
        unsafe { (self.0.methods().encoding)(self.0.body.get()) }
    }
    pub fn memory(&self, samples: usize) -> usize {
        // SAFETY: as above.
        unsafe { (self.0.methods().memory)(self.0.body.get(), samples) }
    }
    pub fn pieces(&self) -> usize {
        // SAFETY: as above.
        unsafe { (self.0.methods().pieces)(self.0.body.get()) }
    }
    /// Has any of its elements a deadline?
    pub fn is_timed(&self) -> bool {
        // SAFETY: as above.
        unsafe { (self.0.methods().is_timed)(self.0.body.get()) }
    }
    pub fn duplicate(&self) -> Value {
        // SAFETY: as above.
        unsafe { (self.0.methods().duplicate)(self.0.body.get()) }
    }
    /// See `Collection::look_ahead`.
    #[inline]
    pub fn look_ahead(&self, element: u64, step: usize) -> bool {
        // SAFETY: as above.
        unsafe { (self.0.methods().look_ahead)(self.0.body.get(), element, step) }
    }
    /// Is this the lock of `object`?
    #[inline]
    pub fn is_of(&self, object: &Object) -> bool {
        std::ptr::eq(self.0, object)
    }
}

impl Drop for Shared<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: our reads are over before a writer begins. Pairs with the Acquire of `write`.
        self.0.lock.fetch_sub(1, Ordering::Release);
    }
}

/// The exclusive lock. Whoever has it reads, changes, moves the body, and may unlink the entry.
pub struct Exclusive<'o>(&'o Object);

impl Exclusive<'_> {
    /// The collection, if it is of this type.
    #[inline]
    pub fn get<T: Collection>(&self) -> Option<&T> {
        if self.0.kind() != Some(T::TYPE) {
            return None;
        }
        // SAFETY: the body is a T, and everybody else is kept out as long as `self` lives.
        Some(unsafe { &*self.0.body.get().cast::<T>() })
    }
    /// The collection, to be changed.
    #[inline]
    pub fn get_mut<T: Collection>(&mut self) -> Option<&mut T> {
        if self.0.kind() != Some(T::TYPE) {
            return None;
        }
        self.0.plain.write();
        // SAFETY: the body is a T, everybody else is kept out, and `self` is borrowed exclusively.
        Some(unsafe { &mut *self.0.body.get().cast::<T>() })
    }
    /// Has it lost its last element, or never got a body?
    #[inline]
    pub fn is_empty(&self) -> bool {
        if self.0.kind().is_none() {
            return true;
        }
        // SAFETY: the body is of that type; the lock is held.
        unsafe { (self.0.methods().is_empty)(self.0.body.get()) }
    }
    pub fn duplicate(&self) -> Value {
        // SAFETY: as above.
        unsafe { (self.0.methods().duplicate)(self.0.body.get()) }
    }
    /// Has any of its elements a deadline?
    pub fn is_timed(&self) -> bool {
        // SAFETY: as above.
        unsafe { (self.0.methods().is_timed)(self.0.body.get()) }
    }
    /// Gives a vacant object its body.
    pub fn fill(&mut self, value: Value) {
        debug_assert!(self.0.kind().is_none());
        let (kind, body) = value.into_body();
        // SAFETY: the lock is held exclusively.
        unsafe { self.0.kind.get().write(Some(kind)) };
        // SAFETY: likewise.
        unsafe { self.0.body.get().write(body) };
    }
    /// Moves the body to `to`, which was made an `heir` and is still locked by this thread.
    pub fn hand_over(&mut self, to: &mut Exclusive<'_>) {
        debug_assert!(to.0.kind().is_none());
        // SAFETY: both locks are held exclusively.
        unsafe { to.0.kind.get().write((*self.0.kind.get()).take()) };
        // SAFETY: likewise; the source is vacant from here on, so the body has one owner.
        unsafe { to.0.body.get().write(self.0.body.get().read()) };
    }
    /// Lets go for good: the entry has been unlinked.
    pub fn bury(self) {
        // Release: as in `drop`. Waiting writers and readers find it dead.
        self.0.let_go(if mutated(Mutation::UnlinkedStaysAlive) { 0 } else { DEAD }, Ordering::Release);
        std::mem::forget(self);
    }
}

impl Drop for Exclusive<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: what was done is seen by the next holder. Takes WANTED away too: whoever still waits sets it again.
        self.0.let_go(0, weakened(Mutation::UnlockRelaxed, Ordering::Release));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::value::tally::Tally;

    #[test]
    fn a_lock_that_is_not_to_be_had_at_once_is_not_given_back() {
        let object = Object::new(Value::new(Tally(1)));
        let word = || object.lock.load(Ordering::Relaxed);
        let writer = object.write().unwrap();
        assert!(object.try_read().is_none());
        assert_eq!(word(), WRITER);
        drop(writer);
        let readers = [object.try_read(), object.try_read()];
        assert!(readers.iter().all(Option::is_some));
        assert_eq!(word(), 2);
        drop(readers);
        assert_eq!(word(), 0);
        object.write().unwrap().bury();
        assert!(object.try_read().is_none());
        assert_eq!(word(), DEAD);
    }
}
