//! The ring engine: io_uring.

use super::{Completion, Counters, Engine, Filled, Kind, Message, Sizes, Token, Waker};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// An engine on io_uring.
pub struct Uring {}

impl Engine for Uring {
    const KIND: Kind = Kind::Uring;

    fn new(_sizes: &Sizes) -> io::Result<Self> {
        unimplemented!()
    }
    fn listen(&mut self, _listener: u16, _socket: OwnedFd) {}
    fn stop_listening(&mut self, _listener: u16) {}
    fn open(&mut self, _token: Token, _socket: OwnedFd) {}
    fn close(&mut self, _token: Token) {}
    fn socket(&self, _token: Token) -> BorrowedFd<'_> {
        unimplemented!()
    }
    fn pause_recv(&mut self, _token: Token) {}
    fn resume_recv(&mut self, _token: Token) {}
    fn send(&mut self, _token: Token, _message: Message) {}
    fn wait(&mut self, _timeout: Option<Duration>, _out: &mut Vec<Completion>) -> io::Result<()> {
        Ok(())
    }
    fn bytes(&self, _filled: &Filled) -> &[u8] {
        &[]
    }
    fn give_back(&mut self, _filled: Filled) {}
    fn waker(&self) -> Waker {
        Waker::new().expect("eventfd")
    }
    fn counters(&self) -> Counters {
        Counters::default()
    }
}
