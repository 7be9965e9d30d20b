//! The model checker's atomics, with a correction.
//!
//! loom 0.7 explores another order of two accesses only if it finds them in conflict, and for each atomic it remembers the
//! latest access alone. So in
//! ```text
//! reader:  load x                 writer:  load x   CAS x
//! ```
//! with the reader first, the writer's own load hides the reader's, the CAS seems to conflict with nobody, and "writer first" is
//! never tried: a model of two threads may end after one execution. Here each atomic comes with a word per thread that
//! only says "this thread has read"; a change of the atomic touches the words of all other threads that have read since the
//! last change, and there the checker sees the conflict.
//!
//! The words are touched Relaxed, so they order nothing, except together with fences; models of protocols with fences call
//! `unwatched` first.

#![forbid(unsafe_code)]

use super::{Ordering, hint};
use std::cell::Cell;

/// Threads of a model at most.
const THREADS: usize = 5;

std::thread_local!(static IS_UNWATCHED: Cell<bool> = const { Cell::new(false) });

/// From here on, this execution's new atomics are the checker's own. `rewatch` undoes it.
pub fn unwatched() {
    IS_UNWATCHED.set(true);
}
/// New atomics are watched again: an execution begins.
pub fn rewatch() {
    IS_UNWATCHED.set(false);
}

loom::thread_local!(static INDEX: usize = index());

/// The number of the calling thread within its model.
fn index() -> usize {
    let text = format!("{:?}", loom::thread::current().id());
    match text.trim_matches(|c: char| !c.is_ascii_digit()).parse() {
        Ok(index) if index < THREADS => index,
        _ => unreachable!("ThreadId(n) with n < {THREADS}, not {text}"),
    }
}

struct Readers {
    words: [loom::sync::atomic::AtomicUsize; THREADS],
    /// Bit t: thread t has read since the last change.
    since: hint::AtomicUsize,
}

impl Readers {
    fn new() -> Option<Self> {
        let new = || Readers {
            words: std::array::from_fn(|_| loom::sync::atomic::AtomicUsize::new(0)),
            since: hint::AtomicUsize::new(0),
        };
        (!IS_UNWATCHED.get()).then(new)
    }
    /// The calling thread is about to read.
    fn note_read(&self) {
        let me = INDEX.with(|&index| index);
        self.words[me].fetch_add(1, Ordering::Relaxed);
        self.since.fetch_or(1 << me, Ordering::Relaxed);
    }
    /// The calling thread is about to change the atomic; `forget` follows the change.
    fn note_change(&self) {
        let me = INDEX.with(|&index| index);
        let readers = self.since.load(Ordering::Relaxed);
        for (other, word) in self.words.iter().enumerate() {
            if other != me && readers >> other & 1 != 0 {
                word.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    fn forget(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

macro_rules! watched {
    ($name:ident $(<$generic:ident>)?, $value:ty, [$($fetch:ident),*]) => {
        /// See the module header.
        pub struct $name $(<$generic>)? {
            atomic: loom::sync::atomic::$name $(<$generic>)?,
            readers: Option<Readers>,
        }

        impl $(<$generic>)? $name $(<$generic>)? {
            #[track_caller]
            pub fn new(value: $value) -> Self {
                Self { atomic: loom::sync::atomic::$name::new(value), readers: Readers::new() }
            }
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                if let Some(readers) = &self.readers {
                    readers.note_read();
                }
                self.atomic.load(order)
            }
            fn change<R>(&self, change: impl FnOnce(&loom::sync::atomic::$name $(<$generic>)?) -> R) -> R {
                let Some(readers) = &self.readers else { return change(&self.atomic) };
                readers.note_change();
                let result = change(&self.atomic);
                readers.forget();
                result
            }
            pub fn store(&self, value: $value, order: Ordering) {
                self.change(|atomic| atomic.store(value, order));
            }
            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                self.change(|atomic| atomic.swap(value, order))
            }
            pub fn compare_exchange(
                &self,
                seen: $value,
                new: $value,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$value, $value> {
                self.change(|atomic| atomic.compare_exchange(seen, new, ok, err))
            }
            pub fn compare_exchange_weak(
                &self,
                seen: $value,
                new: $value,
                ok: Ordering,
                err: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(seen, new, ok, err)
            }
            pub fn fetch_update(
                &self,
                ok: Ordering,
                err: Ordering,
                f: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.change(|atomic| atomic.fetch_update(ok, err, f))
            }
            $(
                pub fn $fetch(&self, value: $value, order: Ordering) -> $value {
                    self.change(|atomic| atomic.$fetch(value, order))
                }
            )*
        }
    };
}

watched!(AtomicU64, u64, [fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max]);
watched!(AtomicUsize, usize, [fetch_add, fetch_sub, fetch_or, fetch_max]);
watched!(AtomicPtr<T>, *mut T, []);

impl Default for AtomicU64 {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Default for AtomicUsize {
    fn default() -> Self {
        Self::new(0)
    }
}
