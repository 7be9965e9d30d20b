//! A client's bytes that are not yet commands, and the cutting of commands out of them.
//!
//! What arrives lies in the engine's buffers, which go back at the end of the turn. Commands are cut out of them in place;
//! only what is left over, an incomplete command or what the client's budget did not cover, is copied to the client's own
//! bytes. A command that begins there is completed with bytes copied from the arrivals; then cutting in place goes on.
//!
//! ```text
//! arrivals   first ─▶ next ─▶ last           buffers of the engine, in order; `at` bytes of the first are used
//! kept       [ used | rest | room ]          the client's own bytes; nearly every client has none
//! ```
//! While a window of commands is being run nothing moves: bytes are only appended, so offsets stay good.

use super::held::Held;
use crate::base::heap::block_len;
use crate::resp::args::{Arg, OwnedArgs};
use crate::resp::parse::{Limits, Parser, ProtocolError, Step};
use crate::ring::{Engine, Filled};
use bytes::Bytes;

/// What is copied at first of an arrival to complete a command that began before it.
const PORTION_LEN_MIN: usize = 512;
/// Room of a client's own bytes when it first needs any. Whoever sends half a command often does so again. Source: Redis,
/// `PROTO_IOBUF_LEN`.
const ROOM_LEN_MIN: usize = 16 << 10;
/// So much room a client keeps while it has no bytes of its own and is not idle.
pub const ROOM_LEN_KEPT: usize = 32 << 10;

/// No arrival.
pub const NO_ARRIVAL: u32 = u32::MAX;

/// Buffers that were received in this turn, each linked to the client's next one.
#[derive(Default)]
pub struct Arrivals {
    list: Vec<(Filled, u32)>,
}

impl Arrivals {
    /// Links a buffer behind the others of its client.
    #[inline]
    pub fn push(&mut self, input: &mut Input, filled: Filled) {
        let index = self.list.len() as u32;
        self.list.push((filled, NO_ARRIVAL));
        match input.last {
            NO_ARRIVAL => input.first = index,
            last => self.list[last as usize].1 = index,
        }
        input.last = index;
    }
    /// The received bytes of arrival `index`.
    #[inline]
    pub fn bytes<'e, E: Engine>(&self, engine: &'e E, index: u32) -> &'e [u8] {
        engine.bytes(&self.list[index as usize].0)
    }
    /// Returns all buffers. Every client has settled.
    pub fn give_back<E: Engine>(&mut self, engine: &mut E) {
        self.list.drain(..).for_each(|(filled, _)| engine.give_back(filled));
    }
}

/// See the module header.
pub struct Input {
    kept: Vec<u8>,
    /// Bytes of `kept` that are used up.
    used: usize,
    /// This turn's arrivals that are not used up.
    pub first: u32,
    pub last: u32,
    /// Bytes of the first arrival that are used up.
    at: usize,
    /// Whole commands that come before all bytes: those of a client that was parked.
    held: Option<Box<Held>>,
}

/// Where a command lies.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In an arrival, from this offset on.
    Arrival(u32, usize),
    /// In the client's own bytes, from this offset on.
    Kept(usize),
    /// Kept from when the client was parked.
    Held(usize),
}

/// A command that was cut out.
pub struct Cut {
    pub place: Place,
    pub item_count: usize,
}

impl Input {
    /// Nothing has come in.
    pub fn new() -> Self {
        Input { kept: Vec::new(), used: 0, first: NO_ARRIVAL, last: NO_ARRIVAL, at: 0, held: None }
    }
    /// Bytes of the client's own that are not used up.
    pub fn len(&self) -> usize {
        self.kept.len() - self.used
    }
    /// Memory of all that is here.
    pub fn memory(&self) -> usize {
        block_len(self.kept.capacity()) + self.held_len()
    }
    /// Room behind them.
    pub fn room(&self) -> usize {
        self.kept.capacity() - self.kept.len()
    }
    /// The bytes from `place` on.
    #[inline]
    pub fn at<'b, E: Engine>(&'b self, place: &Place, arrivals: &Arrivals, engine: &'b E) -> &'b [u8] {
        match *place {
            Place::Arrival(index, at) => &arrivals.bytes(engine, index)[at..],
            Place::Kept(at) => &self.kept[at..],
            Place::Held(index) => self.held.as_ref().map_or(&[], |held| held.command(index).parts().buf),
        }
    }
    /// A command that was cut out is to be cut out again, before everything else: its client is parked. Called for the
    /// commands of a window in their order.
    pub fn hold<E: Engine>(&mut self, place: &Place, arrivals: &Arrivals, engine: &E, items: &[Arg], large: &[Bytes]) {
        if let (Place::Held(index), Some(held)) = (place, &mut self.held) {
            return held.rewind(*index);
        }
        let command = OwnedArgs::copied(self.at(place, arrivals, engine), items, large);
        self.held.get_or_insert_default().push(command);
    }
    /// The first command that is held was run by somebody else: it is not cut out again.
    pub fn skip_held(&mut self) {
        self.held.iter_mut().for_each(|held| held.skip());
    }
    /// Behind what is held the client broke the protocol.
    pub fn hold_refusal(&mut self, error: ProtocolError) {
        self.held.get_or_insert_default().refuse(error);
    }
    /// Bytes of the commands that are held.
    pub fn held_len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }

    /// Cuts the next whole command, its arguments appended to `items`, those with bytes of their own to `large`. None: what is
    /// here holds no further one.
    /// Errors: the client breaks the protocol.
    #[inline]
    pub fn cut<E: Engine>(
        &mut self,
        parser: &mut Parser,
        arrivals: &Arrivals,
        engine: &E,
        limits: &Limits,
        items: &mut Vec<Arg>,
        large: &mut Vec<Bytes>,
    ) -> Result<Option<Cut>, ProtocolError> {
        if let Some(held) = &mut self.held {
            if let Some((index, item_count)) = held.next(items, large) {
                return Ok(Some(Cut { place: Place::Held(index), item_count }));
            }
            if let Some(error) = held.refusal() {
                return Err(error);
            }
        }
        while self.first != NO_ARRIVAL && self.used == self.kept.len() && !parser.is_filling() {
            let index = self.first;
            let bytes = &arrivals.bytes(engine, index)[self.at..];
            match parser.next(bytes, limits, items)? {
                Step::Command { consumed, item_count } => {
                    let place = Place::Arrival(index, self.at);
                    self.consume(arrivals, consumed, bytes.len());
                    parser.take_large(large);
                    return Ok(Some(Cut { place, item_count }));
                }
                Step::Skip { consumed } => self.consume(arrivals, consumed, bytes.len()),
                Step::Incomplete => {
                    self.keep(bytes);
                    self.next_arrival(arrivals);
                }
                Step::Large { keep } => {
                    self.keep(&bytes[..keep]);
                    self.next_arrival(arrivals);
                }
            }
        }
        self.cut_kept(parser, arrivals, engine, limits, items, large)
    }

    /// The same for a command that begins in the client's own bytes. Of what has arrived only so much is copied behind them
    /// as the command takes (or, while that is unknown, twice as much with each try): in a long pipeline each buffer ends
    /// inside a command, and all but these commands are cut in place.
    fn cut_kept<E: Engine>(
        &mut self,
        parser: &mut Parser,
        arrivals: &Arrivals,
        engine: &E,
        limits: &Limits,
        items: &mut Vec<Arg>,
        large: &mut Vec<Bytes>,
    ) -> Result<Option<Cut>, ProtocolError> {
        let mut portion = PORTION_LEN_MIN;
        loop {
            while self.used < self.kept.len() && !parser.is_filling() {
                match parser.next(&self.kept[self.used..], limits, items)? {
                    Step::Command { consumed, item_count } => {
                        let place = Place::Kept(self.used);
                        self.used += consumed;
                        self.return_surplus(arrivals, engine);
                        parser.take_large(large);
                        return Ok(Some(Cut { place, item_count }));
                    }
                    Step::Skip { consumed } => self.used += consumed,
                    Step::Incomplete => break,
                    Step::Large { keep } => self.kept.truncate(self.used + keep),
                }
            }
            if self.first == NO_ARRIVAL {
                return Ok(None);
            }
            let arrived = arrivals.bytes(engine, self.first);
            if self.at == arrived.len() {
                self.next_arrival(arrivals);
                continue;
            }
            let rest = &arrived[self.at..];
            let taken = if parser.is_filling() {
                parser.fill(rest)
            } else {
                let len = portion.min(rest.len());
                self.keep(&rest[..len]);
                portion *= 2;
                len
            };
            self.at += taken;
        }
    }

    /// Behind a command that was completed from the first arrival: what lies behind it in the client's own bytes was copied
    /// from there, and is left there.
    #[inline]
    fn return_surplus<E: Engine>(&mut self, arrivals: &Arrivals, engine: &E) {
        if self.first == NO_ARRIVAL || self.at == 0 {
            return;
        }
        self.at -= self.len();
        self.kept.truncate(self.used);
        if self.at == arrivals.bytes(engine, self.first).len() {
            self.next_arrival(arrivals);
        }
    }

    #[inline]
    fn consume(&mut self, arrivals: &Arrivals, consumed: usize, rest_len: usize) {
        if consumed == rest_len {
            self.next_arrival(arrivals);
        } else {
            self.at += consumed;
        }
    }
    #[inline]
    fn next_arrival(&mut self, arrivals: &Arrivals) {
        self.first = arrivals.list[self.first as usize].1;
        self.at = 0;
        if self.first == NO_ARRIVAL {
            self.last = NO_ARRIVAL;
        }
    }
    /// Copies bytes behind the client's own.
    #[inline]
    fn keep(&mut self, bytes: &[u8]) {
        if self.kept.capacity() == 0 && !bytes.is_empty() {
            self.kept.reserve_exact(bytes.len().max(ROOM_LEN_MIN));
        }
        self.kept.extend_from_slice(bytes);
    }
    /// Copies what has arrived and is not used up behind the client's own bytes, or into the large bulk under way.
    fn absorb<E: Engine>(&mut self, parser: &mut Parser, arrivals: &Arrivals, engine: &E) {
        while self.first != NO_ARRIVAL {
            let mut bytes = &arrivals.bytes(engine, self.first)[self.at..];
            if parser.is_filling() {
                bytes = &bytes[parser.fill(bytes)..];
            }
            self.keep(bytes);
            self.next_arrival(arrivals);
        }
    }

    /// At the end of a turn: nothing of the client lies in the engine's buffers any more, and its own bytes are moved to the
    /// front; only when the used part is as long, so the work stays linear. Some room stays for the next incomplete command.
    #[inline]
    pub fn settle<E: Engine>(&mut self, parser: &mut Parser, arrivals: &Arrivals, engine: &E) {
        if self.first != NO_ARRIVAL {
            self.absorb(parser, arrivals, engine);
        }
        if self.held.as_ref().is_some_and(|held| held.is_done()) {
            self.held = None;
        }
        if self.kept.capacity() == 0 {
            return;
        }
        let rest = self.len();
        if rest <= self.used {
            self.kept.drain(..self.used);
            self.used = 0;
            if self.kept.capacity() > ROOM_LEN_KEPT {
                self.kept.shrink_to(if rest == 0 { 0 } else { ROOM_LEN_KEPT.max(rest * 2) });
            }
        }
    }
    /// The client is idle: no room beyond what it has sent. Called between turns.
    pub fn shrink(&mut self) {
        self.kept.shrink_to(0); // To its length.
    }
}
