//! Listening sockets of an engine, and the pause after running out of descriptors.
//!
//! With EMFILE the connection stays in the socket's queue, and accepting again at once would spin. So all listeners pause
//! for `PAUSE`; `limit` sees to it that `wait` ends when the pause does.

use super::{Token, slots::Slots};
use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// 100 ms: long enough to cost nothing, short enough that a client just sees a slow connect.
const PAUSE: Duration = Duration::from_millis(100);

/// Listeners by number, each with a state of the engine's.
pub(super) struct Listeners<S> {
    entries: Slots<Listener<S>>,
    tokens: Vec<Token>,
    generation: u32,
    paused_until: Option<Instant>,
}

/// A listening socket.
pub(super) struct Listener<S> {
    pub socket: OwnedFd,
    pub state: S,
}

impl<S: Default> Listeners<S> {
    pub fn new() -> Self {
        Listeners { entries: Slots::new(), tokens: Vec::new(), generation: 0, paused_until: None }
    }

    /// Adds a socket. Its token is new, so that late completions of an earlier socket with this number are told apart.
    pub fn add(&mut self, listener: u16, socket: OwnedFd) -> Token {
        self.generation = self.generation.wrapping_add(1);
        let token = Token { slot: u32::from(listener), generation: self.generation };
        self.entries.insert(token, Listener { socket, state: S::default() });
        self.tokens.push(token);
        token
    }

    /// Takes a socket out. Nobody can connect to it any more, even if somebody else has a descriptor of it.
    pub fn stop(&mut self, listener: u16) -> Option<(Token, Listener<S>)> {
        let (token, entry) = self.remove(listener)?;
        let _ = shutdown(entry.socket.as_raw_fd(), Shutdown::Both); // An error says that nobody could before.
        Some((token, entry))
    }

    pub fn remove(&mut self, listener: u16) -> Option<(Token, Listener<S>)> {
        let index = self.tokens.iter().position(|token| token.slot == u32::from(listener))?;
        let token = self.tokens.swap_remove(index);
        self.entries.remove(token).map(|entry| (token, entry))
    }

    pub fn get_mut(&mut self, token: Token) -> Option<&mut Listener<S>> {
        self.entries.get_mut(token)
    }

    /// All listeners.
    pub fn tokens(&self) -> Vec<Token> {
        self.tokens.clone()
    }

    /// Accept nothing for a while.
    pub fn pause(&mut self) {
        self.paused_until.get_or_insert_with(|| Instant::now() + PAUSE);
    }

    /// Is it a pause at present?
    pub fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// True once after each pause.
    pub fn pause_is_over(&mut self) -> bool {
        let over = self.paused_until.is_some_and(|until| Instant::now() >= until);
        if over {
            self.paused_until = None;
        }
        over
    }

    /// `timeout`, but no longer than the pause.
    pub fn limit(&self, timeout: Option<Duration>) -> Option<Duration> {
        let Some(until) = self.paused_until else { return timeout };
        let left = until.saturating_duration_since(Instant::now());
        Some(timeout.map_or(left, |timeout| timeout.min(left)))
    }
}
