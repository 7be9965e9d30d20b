//! Recency: what 20 bits of an entry remember about its use, for eviction and for OBJECT IDLETIME and FREQ.
//!
//! ```text
//! LRU (default)   ticks20                      the tick of the last use
//! LFU             minutes12 | counter8         minute of the last use, logarithmic count of uses
//! clock           ticks18 | uses2              the tick of the last use, uses since the hand came by, up to 3
//! ```
//! Which of them it is follows from `maxmemory-policy`; after a change of the policy the old contents are misread until
//! the keys are used again, as in Redis.
//!
//! A tick is a second; while there is a limit of memory, 64 ms: where a cache is turned over within seconds, whole ones could
//! not tell its keys apart. A use writes only if the stored value changes: in LRU at most once per tick and key, in LFU ever
//! more rarely as the counter grows; a hot key's line stays shared between cores. The fields wrap: an idle time is right up
//! to 12 days (2^20 s), with a limit of memory up to 18 hours, with the clock up to 4; a decay up to 68 hours (2^12
//! minutes). Beyond, the key looks used more recently than it was.
//!
//! The clock and the parameters are looked up once per turn, not per key.

use crate::admin::config::Config;
use crate::admin::params::Id;
use crate::base::clock::WallMs;
use crate::base::prng::Prng;
use crate::table::Entry;
use std::cell::{Cell, RefCell};

/// Milliseconds of a tick, without a limit of memory and with one.
const TICK_MS: u64 = 1000;
const SHORT_TICK_MS: u64 = 64;
const TICKS_MASK: u32 = (1 << 20) - 1;
const MINUTES_MASK: u32 = (1 << 12) - 1;
const COUNTER_BITS: u32 = 8;
const COUNTER_MAX: u32 = (1 << COUNTER_BITS) - 1;
/// The counter of a new key: it must not be the first to be evicted. Source: Redis, `LFU_INIT_VAL`.
const COUNTER_NEW: u32 = 5;
const USES_BITS: u32 = 2;
const USES_MAX: u32 = (1 << USES_BITS) - 1;
const SHORT_TICKS_MASK: u32 = TICKS_MASK >> USES_BITS;

/// What is kept of an entry's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Lru,
    Lfu,
    Clock,
}

/// The recency clock of one loop during one turn.
pub struct Recency {
    mode: Cell<Mode>,
    tick_ms: Cell<u64>,
    /// Ticks or minutes, by the mode.
    clock: Cell<u32>,
    log_factor: Cell<u32>,
    decay_minutes: Cell<u32>,
    /// Of the configuration that was read; None before the first turn.
    generation: Cell<Option<u32>>,
    dice: RefCell<Prng>,
}

impl Recency {
    /// `seed` differs from loop to loop.
    pub fn new(seed: u64) -> Self {
        Recency {
            mode: Cell::new(Mode::Lru),
            tick_ms: Cell::new(TICK_MS),
            clock: Cell::new(0),
            log_factor: Cell::new(10),
            decay_minutes: Cell::new(1),
            generation: Cell::new(None),
            dice: RefCell::new(Prng::seeded(seed)),
        }
    }
    /// At the start of a turn: reads the clock, and the parameters if they have changed.
    #[inline]
    pub fn begin_turn(&self, config: &Config, now: WallMs) {
        if self.generation.get() != Some(config.generation()) {
            self.configure(config);
        }
        self.clock.set(match self.mode.get() {
            Mode::Lru => self.ticks(now) & TICKS_MASK,
            Mode::Lfu => minutes(now),
            Mode::Clock => self.ticks(now) & SHORT_TICKS_MASK,
        });
    }
    #[cold]
    fn configure(&self, config: &Config) {
        self.generation.set(Some(config.generation()));
        self.mode.set(match config.word(Id::MAXMEMORY_POLICY) {
            word if word.ends_with("-lfu") => Mode::Lfu,
            word if word.ends_with("-clock") => Mode::Clock,
            _ => Mode::Lru,
        });
        self.tick_ms.set(if config.number(Id::MAXMEMORY) == 0 { TICK_MS } else { SHORT_TICK_MS });
        self.log_factor.set(config.number(Id::LFU_LOG_FACTOR) as u32);
        self.decay_minutes.set(config.number(Id::LFU_DECAY_TIME) as u32);
    }
    fn ticks(&self, now: WallMs) -> u32 {
        (now.0 / self.tick_ms.get()) as u32
    }
    pub fn mode(&self) -> Mode {
        self.mode.get()
    }
    /// Is it a count of uses that is kept, not the time of the last one?
    pub fn is_lfu(&self) -> bool {
        self.mode.get() == Mode::Lfu
    }
    /// The field of a new key.
    #[inline]
    pub fn fresh(&self) -> u32 {
        match self.mode.get() {
            Mode::Lru => self.clock.get(),
            Mode::Lfu => self.clock.get() << COUNTER_BITS | COUNTER_NEW,
            Mode::Clock => self.clock.get() << USES_BITS,
        }
    }
    /// The field of a key that comes back soon after its eviction (clock).
    pub fn returned(&self) -> u32 {
        self.fresh() | 1
    }
    /// Does a value that replaces another one under the same key inherit anything?
    #[inline]
    pub fn is_inherited(&self) -> bool {
        self.mode.get() != Mode::Lru
    }
    /// The field of a value that replaces another one under the same key: the count of uses stays the key's.
    pub fn inherited(&self, old: Entry<'_>) -> u32 {
        match self.mode.get() {
            Mode::Lru => self.clock.get(),
            Mode::Lfu => old.recency(),
            Mode::Clock => self.used_once_more(old),
        }
    }
    /// The field of a key that was last used so many seconds ago (LRU).
    pub fn idle_for(&self, seconds: u64) -> Option<u32> {
        let mask = if self.mode.get() == Mode::Clock { SHORT_TICKS_MASK } else { TICKS_MASK };
        let ago = (seconds.saturating_mul(1000) / self.tick_ms.get()).min(mask as u64) as u32;
        let then = self.clock.get().wrapping_sub(ago) & mask;
        match self.mode.get() {
            Mode::Lru => Some(then),
            Mode::Lfu => None,
            Mode::Clock => Some(then << USES_BITS),
        }
    }
    /// The field of a key with this count of uses (LFU).
    pub fn used(&self, counter: u8) -> Option<u32> {
        self.is_lfu().then(|| self.clock.get() << COUNTER_BITS | counter as u32)
    }
    /// Notes a use.
    /// Cost: a load and a compare; a CAS if the field changes.
    #[inline]
    pub fn touch(&self, entry: Entry<'_>) {
        match self.mode.get() {
            Mode::Lru => entry.set_recency(self.clock.get()),
            Mode::Lfu => self.touch_lfu(entry),
            Mode::Clock => entry.set_recency(self.used_once_more(entry)),
        }
    }
    fn touch_lfu(&self, entry: Entry<'_>) {
        let counter = self.frequency(entry);
        let chances = counter.saturating_sub(COUNTER_NEW) as u64 * self.log_factor.get() as u64 + 1;
        let grows = counter < COUNTER_MAX && self.dice.borrow_mut().chance(1, chances);
        entry.set_recency(self.clock.get() << COUNTER_BITS | (counter + grows as u32));
    }
    fn used_once_more(&self, entry: Entry<'_>) -> u32 {
        let uses = (entry.recency() & USES_MAX) + 1;
        self.clock.get() << USES_BITS | uses.min(USES_MAX)
    }
    /// The logarithmic count of uses, less one for each decay time since the last use (LFU).
    pub fn frequency(&self, entry: Entry<'_>) -> u32 {
        let field = entry.recency();
        let periods = self.idle_minutes(entry).checked_div(self.decay_minutes.get()).unwrap_or(0); // Decay time 0: never.
        (field & COUNTER_MAX).saturating_sub(periods)
    }
    /// Minutes since the last use (LFU).
    pub fn idle_minutes(&self, entry: Entry<'_>) -> u32 {
        self.clock.get().wrapping_sub(entry.recency() >> COUNTER_BITS) & MINUTES_MASK
    }
    /// Ticks since the last use (LRU, clock).
    pub fn idle_ticks(&self, entry: Entry<'_>) -> u32 {
        match self.mode.get() {
            Mode::Clock => self.clock.get().wrapping_sub(entry.recency() >> USES_BITS) & SHORT_TICKS_MASK,
            _ => self.clock.get().wrapping_sub(entry.recency()) & TICKS_MASK,
        }
    }
    /// Seconds since the last use (LRU, clock).
    pub fn idle_seconds(&self, entry: Entry<'_>) -> u32 {
        // A tick that has begun counts in full: a wait of 3 seconds is never shown as 2.
        let ms = self.idle_ticks(entry) as u64 * self.tick_ms.get() + self.tick_ms.get() - 1;
        (ms / 1000) as u32
    }
    /// Uses since the hand came by, up to 3 (clock).
    pub fn uses(&self, entry: Entry<'_>) -> u32 {
        entry.recency() & USES_MAX
    }
    /// One of the uses is forgotten (clock).
    pub fn forget_use(&self, entry: Entry<'_>) {
        if self.uses(entry) > 0 {
            entry.set_recency(entry.recency() - 1);
        }
    }
}

fn minutes(now: WallMs) -> u32 {
    (now.0 / 60_000) as u32 & MINUTES_MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Kind, NewEntry, Source};

    const START: WallMs = WallMs(1_700_000_000_000);

    fn after(seconds: u64) -> WallMs {
        WallMs(START.0 + seconds * 1000)
    }
    fn entry(recency: u32) -> NewEntry {
        NewEntry::new(Kind(0), b"k", None, recency, Source::Inline(b"v"))
    }
    fn lfu_config() -> Config {
        let config = Config::new();
        config.set(&[(b"maxmemory-policy", b"allkeys-lfu")]).unwrap();
        config
    }

    #[test]
    fn idle_time_counts_from_the_last_touch() {
        let (recency, config) = (Recency::new(1), Config::new());
        recency.begin_turn(&config, START);
        let key = entry(recency.fresh());
        recency.begin_turn(&config, after(90));
        assert_eq!(recency.idle_seconds(key.view()), 90);
        recency.touch(key.view());
        recency.begin_turn(&config, after(93));
        assert_eq!(recency.idle_seconds(key.view()), 3);
        recency.begin_turn(&config, after(90 + (1 << 20)));
        assert_eq!(recency.idle_seconds(key.view()), 0, "the field wraps after 12 days");
    }

    #[test]
    fn the_frequency_grows_logarithmically_and_decays_with_time() {
        let (recency, config) = (Recency::new(1), lfu_config());
        recency.begin_turn(&config, START);
        assert!(recency.is_lfu());
        let key = entry(recency.fresh());
        assert_eq!(recency.frequency(key.view()), 5);
        let mut counts = [0; 4];
        for (power, count) in counts.iter_mut().enumerate() {
            (0..10u64.pow(power as u32 + 2)).for_each(|_| recency.touch(key.view()));
            *count = recency.frequency(key.view());
        }
        // Redis's table for a factor of 10: about 10 after 100 uses, 18 after 1 000, 142 after 100 000.
        assert!((7..14).contains(&counts[0]) && (14..28).contains(&counts[1]), "{counts:?}");
        assert!((120..170).contains(&counts[3]), "{counts:?}");
        recency.begin_turn(&config, after(600));
        assert_eq!(recency.frequency(key.view()), counts[3] - 10);
        recency.begin_turn(&config, after(60 * 300));
        assert_eq!(recency.frequency(key.view()), 0);
    }

    #[test]
    fn the_clock_counts_uses_up_to_three_and_forgets_them_one_by_one() {
        let (recency, config) = (Recency::new(1), Config::new());
        config.set(&[(b"maxmemory-policy", b"allkeys-clock"), (b"maxmemory", b"1gb")]).unwrap();
        recency.begin_turn(&config, START);
        let (key, back) = (entry(recency.fresh()), entry(recency.returned()));
        assert_eq!((recency.uses(key.view()), recency.uses(back.view())), (0, 1));
        (0..5).for_each(|_| recency.touch(key.view()));
        recency.begin_turn(&config, after(64));
        assert_eq!(
            (recency.uses(key.view()), recency.idle_ticks(key.view()), recency.idle_seconds(key.view())),
            (3, 1000, 64)
        );
        (0..2).for_each(|_| recency.forget_use(key.view()));
        assert_eq!(recency.uses(entry(recency.inherited(key.view())).view()), 2, "a new value is a use");
        (0..2).for_each(|_| recency.forget_use(key.view()));
        assert_eq!((recency.uses(key.view()), recency.idle_ticks(key.view())), (0, 1000));
    }

    #[test]
    fn a_change_of_the_policy_is_seen_in_the_next_turn() {
        let (recency, config) = (Recency::new(1), Config::new());
        recency.begin_turn(&config, START);
        assert!(!recency.is_lfu());
        config.set(&[(b"maxmemory-policy", b"volatile-lfu")]).unwrap();
        recency.begin_turn(&config, START);
        assert!(recency.is_lfu());
    }
}
