//! One client's wait as all loops see it, in one word: who may serve it, who may end it.
//!
//! ```text
//! OVER ─begin(ticket)▶ OPEN ─claim▶ SERVED ─over──────────▶ OVER       its command has run
//!                       │ ▲          │    ╲─claim▶ AGAIN ─▶ SERVED     something came meanwhile: look again
//!                       │ └──reopen──┘                                 its command found nothing after all
//!                       └─end▶ OVER                                    the time is up, CLIENT UNBLOCK, the client is gone
//! ```
//! Whoever brings what a client waits for *claims* it, runs its command, and says what came of it. One claims at a time; one
//! who comes second leaves a note (AGAIN), so that what it brought is not overlooked by a command that had looked before. A
//! ticket is one wait: whoever still holds an old one claims nothing, although the client waits again by now.
//!
//! Order: AcqRel. Who leaves a note has made its change before; who finds the note sees the change when it looks again.
//! Model: loom-tests/tests/wait.rs.

use crate::base::mutation::{Mutation, mutated, weakened};
use crate::base::sync::{AtomicU64, Ordering, spin};

const OVER: u64 = 0;
const OPEN: u64 = 1;
const SERVED: u64 = 2;
const AGAIN: u64 = 3;
const PHASE: u64 = 3;

/// One wait of one client; they grow in the order in which clients begin to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// See the module header.
pub struct WaitWord(AtomicU64);

/// How a claim that came to nothing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopened {
    /// The client waits on.
    Waits,
    /// Something came meanwhile: look again, the claim stands.
    LookAgain,
    /// The client is gone.
    Over,
}

impl Default for WaitWord {
    fn default() -> Self {
        WaitWord(AtomicU64::new(OVER))
    }
}

impl WaitWord {
    fn change(&self, from: u64, to: u64) -> bool {
        let order = weakened(Mutation::ClaimRelaxed, Ordering::AcqRel);
        self.0.compare_exchange(from, to, order, weakened(Mutation::ClaimRelaxed, Ordering::Acquire)).is_ok()
    }
    /// The client waits from now on. Only its own loop calls this.
    pub fn begin(&self, ticket: Ticket) {
        self.0.store(ticket.0 << 2 | OPEN, Ordering::Release);
    }
    /// Takes the right to run the waiting command. False: the wait is over, or somebody has the right and will look again.
    pub fn claim(&self, ticket: Ticket) -> bool {
        let word = ticket.0 << 2;
        loop {
            if self.change(word | OPEN, word | SERVED) {
                return true;
            }
            if mutated(Mutation::ClaimWithoutNote) || self.change(word | SERVED, word | AGAIN) {
                return false;
            }
            let seen = self.0.load(Ordering::Acquire);
            if seen != word | OPEN && seen != word | SERVED {
                return false; // It is over, or a note is there already.
            }
        }
    }
    /// Gives the claim back: the command found nothing.
    pub fn reopen(&self, ticket: Ticket) -> Reopened {
        let word = ticket.0 << 2;
        if self.change(word | SERVED, word | OPEN) {
            return Reopened::Waits;
        }
        if self.change(word | AGAIN, word | SERVED) { Reopened::LookAgain } else { Reopened::Over }
    }
    /// The claimed command has run: the wait is over.
    pub fn over(&self, ticket: Ticket) {
        let word = ticket.0 << 2;
        // It may be over already: the client has gone meanwhile.
        let _ = self.change(word | SERVED, OVER) || self.change(word | AGAIN, OVER);
    }
    /// The wait that is open, if there is one. Only its own loop calls this.
    pub fn present(&self) -> Option<Ticket> {
        let word = self.0.load(Ordering::Acquire);
        (word & PHASE == OPEN).then_some(Ticket(word >> 2))
    }
    /// Ends the wait, unless it is over or somebody runs its command at this moment. True: the caller has ended it.
    pub fn try_end(&self) -> bool {
        let seen = self.0.load(Ordering::Acquire);
        seen & PHASE == OPEN && self.change(seen, OVER)
    }
    /// As `try_end`; what is being served is waited for: it takes as long as one command.
    pub fn end(&self) -> bool {
        loop {
            match self.0.load(Ordering::Acquire) & PHASE {
                OVER => return false,
                OPEN if self.try_end() => return true,
                _ => spin(),
            }
        }
    }
    /// The client is gone, whoever is serving it.
    pub fn abandon(&self) {
        self.0.store(OVER, Ordering::Release);
    }
    /// Does the client wait for something that somebody may bring or end?
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) & PHASE != OVER
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_serves_and_whoever_comes_second_is_not_overlooked() {
        let (word, ticket) = (WaitWord::default(), Ticket(7));
        assert!(!word.claim(ticket) && !word.try_end());
        word.begin(ticket);
        assert!(word.claim(ticket) && !word.claim(ticket) && !word.claim(ticket));
        assert!(!word.try_end(), "it is being served");
        assert_eq!(word.reopen(ticket), Reopened::LookAgain);
        assert_eq!(word.reopen(ticket), Reopened::Waits);
        assert!(word.is_open() && word.end() && !word.end());
        assert!(!word.claim(ticket));
    }

    #[test]
    fn an_old_ticket_claims_nothing() {
        let word = WaitWord::default();
        word.begin(Ticket(1));
        assert!(word.claim(Ticket(1)));
        word.over(Ticket(1));
        word.begin(Ticket(2));
        assert!(!word.claim(Ticket(1)));
        word.over(Ticket(1));
        assert!(word.claim(Ticket(2)));
        word.abandon();
        assert_eq!(word.reopen(Ticket(2)), Reopened::Over);
    }
}
