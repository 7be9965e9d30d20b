//! What every command has to heed before it runs, in one word: is there a pause, does anybody watch, does a script run
//! for too long, has the disk failed, is data being loaded, is the server about to end?
//!
//! Nearly always there is nothing of all that, so a command pays one relaxed load of a line that nobody writes. CLIENT PAUSE changes the
//! word at a safepoint: no command is under way anywhere, and each loop that goes on afterwards sees it (the safepoint's
//! own ordering). CLIENT UNPAUSE, MONITOR and the end of a pause may be noticed a moment late; nobody can tell.

use crate::base::clock::WallMs;
use crate::base::ids::LoopId;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Bits of the word.
const PAUSE: u32 = 1 << 0;
const PAUSE_ALL: u32 = 1 << 1;
const MONITOR: u32 = 1 << 2;
const BUSY: u32 = 1 << 3;
const UNWRITABLE: u32 = 1 << 4;
const LOADING: u32 = 1 << 5;
const ENDED: u32 = 1 << 6;
const SNAPSHOT: u32 = 1 << 7;
const REFUSING: u32 = 1 << 8;
const LONELY: u32 = 1 << 9;
const BACKLOGGED: u32 = 1 << 10;
const UNLOGGED: u32 = 1 << 11;

/// Which commands a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pause {
    /// Those that may change data.
    Writes,
    /// All.
    Everything,
}

/// See the module header.
pub struct Attention {
    word: AtomicU32,
    /// The end of the pause, in unix ms.
    until_ms: AtomicU64,
    /// Monitors of each loop.
    monitors: Box<[AtomicU32]>,
}

impl Attention {
    /// No pause and no monitors, for so many loops.
    pub fn new(loops: usize) -> Self {
        let monitors = (0..loops.max(1)).map(|_| AtomicU32::new(0)).collect();
        Attention { word: AtomicU32::new(0), until_ms: AtomicU64::new(0), monitors }
    }
    /// Is there anything to heed?
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.word.load(Relaxed) != 0
    }

    /// Begins a pause, or strengthens the one there is: the later end and the stricter kind win. Returns its end.
    /// The caller holds the safepoint.
    pub fn pause(&self, kind: Pause, until: WallMs, now: WallMs) -> WallMs {
        let present = self.paused(now);
        let until = present.map_or(until, |(_, end)| end.max(until));
        let kind = present.map_or(kind, |(present, _)| present.max(kind));
        self.until_ms.store(until.0, Relaxed);
        self.set(PAUSE, true);
        self.set(PAUSE_ALL, kind == Pause::Everything);
        until
    }
    /// Ends the pause.
    pub fn unpause(&self) {
        self.until_ms.store(0, Relaxed);
        self.set(PAUSE | PAUSE_ALL, false);
    }
    /// The pause that is in force, and its end.
    pub fn paused(&self, now: WallMs) -> Option<(Pause, WallMs)> {
        let (word, until) = (self.word.load(Relaxed), self.until_ms.load(Relaxed));
        let kind = if word & PAUSE_ALL != 0 { Pause::Everything } else { Pause::Writes };
        (word & PAUSE != 0 && until > now.0).then_some((kind, WallMs(until)))
    }
    /// Must a command wait? `may_write` says what kind of command.
    pub fn holds_back(&self, may_write: bool, now: WallMs) -> bool {
        self.paused(now).is_some_and(|(kind, _)| may_write || kind == Pause::Everything)
    }

    /// A script runs for too long, or does no longer. The caller holds the safepoint.
    pub fn set_busy(&self, is_busy: bool) {
        self.set(BUSY, is_busy);
    }
    /// Does a script run for too long? Then nobody but it touches data.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.word.load(Relaxed) & BUSY != 0
    }

    /// What is changed cannot be written to the disk, or can again.
    pub fn set_unwritable(&self, is_unwritable: bool) {
        self.set(UNWRITABLE, is_unwritable);
    }
    /// Can what is changed not be written to the disk? Then writes are refused.
    #[inline]
    pub fn is_unwritable(&self) -> bool {
        self.word.load(Relaxed) & UNWRITABLE != 0
    }

    /// What is changed cannot be written as fast as it comes, or can again. Set by a loop, taken back by the journal's thread.
    pub fn set_backlogged(&self, is_backlogged: bool) {
        self.set(BACKLOGGED, is_backlogged);
    }
    /// Do commands that change data wait for the disk?
    #[inline]
    pub fn is_backlogged(&self) -> bool {
        self.word.load(Relaxed) & BACKLOGGED != 0
    }

    /// Some client was promised that its changes are kept (CLIENT DURABILITY), and there is no log. The caller holds the safepoint.
    pub fn set_unlogged(&self, is_unlogged: bool) {
        self.set(UNLOGGED, is_unlogged);
    }
    #[inline]
    pub fn is_unlogged(&self) -> bool {
        self.word.load(Relaxed) & UNLOGGED != 0
    }

    /// Data is being loaded, or is no longer.
    pub fn set_loading(&self, is_loading: bool) {
        self.set(LOADING, is_loading);
    }
    #[inline]
    pub fn is_loading(&self) -> bool {
        self.word.load(Relaxed) & LOADING != 0
    }

    /// A snapshot is being taken, or is no longer: the loops have a part in it.
    pub fn set_snapshot(&self, is_taken: bool) {
        self.set(SNAPSHOT, is_taken);
    }
    #[inline]
    pub fn is_snapshot_taken(&self) -> bool {
        self.word.load(Relaxed) & SNAPSHOT != 0
    }
    /// Snapshots fail, and what changes data is refused.
    pub fn set_refusing(&self, is_refusing: bool) {
        self.set(REFUSING, is_refusing);
    }
    pub fn is_refusing(&self) -> bool {
        self.word.load(Relaxed) & REFUSING != 0
    }
    /// Writes want replicas that are not there, or no longer want them.
    pub fn set_lonely(&self, is_lonely: bool) {
        self.set(LONELY, is_lonely);
    }
    pub fn is_lonely(&self) -> bool {
        self.word.load(Relaxed) & LONELY != 0
    }
    /// Does the disk not take what is changed, be it the log or snapshots?
    pub fn is_disk_failing(&self) -> bool {
        self.word.load(Relaxed) & (UNWRITABLE | REFUSING) != 0
    }
    /// Is whatever changes data refused, for any of these reasons?
    pub fn refuses_writes(&self) -> bool {
        self.word.load(Relaxed) & (UNWRITABLE | REFUSING | LONELY) != 0
    }

    /// The last state is saved: no command runs any more. The caller holds the safepoint.
    pub fn end(&self) {
        self.set(ENDED, true);
    }
    pub fn is_ended(&self) -> bool {
        self.word.load(Relaxed) & ENDED != 0
    }

    /// A client of loop `home` begins to watch.
    pub fn add_monitor(&self, home: LoopId) {
        self.monitors[home.0 as usize].fetch_add(1, Relaxed);
        self.set(MONITOR, true);
    }
    /// A client of loop `home` watches no longer.
    pub fn remove_monitor(&self, home: LoopId) {
        self.monitors[home.0 as usize].fetch_sub(1, Relaxed);
        if !self.loops_with_monitors().any(|_| true) {
            self.set(MONITOR, false);
            // Another loop may have added one between the look and the change.
            if self.loops_with_monitors().any(|_| true) {
                self.set(MONITOR, true);
            }
        }
    }
    /// Does anybody watch?
    pub fn is_monitored(&self) -> bool {
        self.word.load(Relaxed) & MONITOR != 0
    }
    /// The loops that have a client that watches.
    pub fn loops_with_monitors(&self) -> impl Iterator<Item = LoopId> {
        let watched = self.monitors.iter().enumerate().filter(|(_, count)| count.load(Relaxed) > 0);
        watched.map(|(index, _)| LoopId(index as u16))
    }

    fn set(&self, bits: u32, on: bool) {
        if on {
            self.word.fetch_or(bits, Relaxed)
        } else {
            self.word.fetch_and(!bits, Relaxed)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_end_and_the_stricter_kind_win() {
        let attention = Attention::new(1);
        assert!(!attention.is_wanted());
        let now = WallMs(1000);
        assert_eq!(attention.pause(Pause::Everything, WallMs(1200), now), WallMs(1200));
        assert_eq!(attention.pause(Pause::Writes, WallMs(1100), now), WallMs(1200));
        assert!(attention.holds_back(false, WallMs(1199)));
        assert_eq!(attention.paused(WallMs(1200)), None, "it is over by itself");
        attention.pause(Pause::Writes, WallMs(1400), WallMs(1300));
        assert_eq!(attention.paused(WallMs(1300)), Some((Pause::Writes, WallMs(1400))), "what is over counts no more");
        assert!(attention.holds_back(true, WallMs(1300)) && !attention.holds_back(false, WallMs(1300)));
        attention.unpause();
        assert!(!attention.is_wanted());
    }

    #[test]
    fn the_flag_stays_until_the_last_monitor_has_gone() {
        let attention = Attention::new(2);
        attention.add_monitor(LoopId(0));
        attention.add_monitor(LoopId(1));
        attention.remove_monitor(LoopId(0));
        assert!(attention.is_monitored() && attention.is_wanted());
        assert_eq!(attention.loops_with_monitors().collect::<Vec<_>>(), [LoopId(1)]);
        attention.remove_monitor(LoopId(1));
        assert!(!attention.is_wanted());
    }
}
