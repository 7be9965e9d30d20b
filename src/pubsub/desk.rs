//! The desk of a loop: which of its connections listen to what, and messages on their way.
//!
//! A message is encoded once, in its RESP2 form; RESP3 differs in the first byte (`*` or `>`), which whoever hands it out
//! writes. Small messages of a turn lie one behind the other in one buffer, which is copied from and, if other loops want
//! some of them, shared with these; large ones are shared by reference with every receiver. Parcels keep the order in which
//! they were put in, whatever they hold and whoever gets them.

use super::registry::{Arrival, Found, Home, Registry, shrink, total};
use super::subscriptions::Subscriptions;
use super::{Name, NameHash, Space};
use crate::admin::clients::ClientInfo;
use crate::base::heap::block_len;
use crate::base::ids::{ClientId, LoopId};
use crate::resp::reply::{Output, Reply};
use bytes::Bytes;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// From this length on a message is sent by reference. Copying 4 KiB costs about what a reference costs at the send.
const LARGE_MIN: usize = 4 << 10;

/// To whom a parcel goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody on the loop who has subscribed to this, up to the last who had come when it was published.
    Subscribers(Space, Name, Arrival),
    /// One client of the loop, whatever it listens to, and where the loop keeps it.
    Client(ClientId, u32),
}

/// Who can read a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everybody.
    Any,
    /// Only clients that speak RESP3.
    Resp3,
    /// Only clients that speak RESP2 and have subscribed to something, so that they expect messages.
    Resp2,
}

/// Where a message's bytes are.
#[derive(Clone, Debug)]
enum Body {
    /// In the buffer that the parcels of a turn share.
    Small {
        at: usize,
        len: usize,
    },
    Large(Bytes),
}

/// A message and where it goes on one loop.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub to: To,
    pub form: Form,
    body: Body,
}

/// The bytes of a message as they are to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    Copied(&'a [u8]),
    Shared(&'a Bytes),
}

impl Parcel {
    /// The message; `small` is the buffer of the turn in which it was put in.
    #[inline]
    pub fn content<'a>(&'a self, small: &'a [u8]) -> Content<'a> {
        match &self.body {
            Body::Small { at, len } => Content::Copied(&small[*at..*at + *len]),
            Body::Large(bytes) => Content::Shared(bytes),
        }
    }
}

/// What one loop mails to another at the end of a turn.
#[derive(Debug)]
pub struct Batch {
    pub parcels: Vec<Parcel>,
    pub small: Bytes,
}

/// A subscriber of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Where the loop keeps the connection.
    pub slot: u32,
    /// The low half of the client's number: a slot may have a new owner before its former one is known to have gone.
    id: u32,
    arrival: Arrival,
}

impl Seat {
    /// Is this the client of the seat?
    #[inline]
    pub fn is_of(&self, client: ClientId) -> bool {
        self.id == client.0 as u32
    }
}

/// Nearly always they are few.
type Seats = SmallVec<[Seat; 1]>;

/// The subscribers of one loop, by what they have subscribed to.
type Rows = [HashMap<Name, Seats, NameHash>; 3];

/// See the module header. `Default` is the desk of loop 0.
#[derive(Default)]
pub struct Desk {
    home: LoopId,
    rows: Rc<RefCell<Rows>>,
    /// Small messages of this turn.
    small: Vec<u8>,
    here: Vec<Parcel>,
    away: Vec<(LoopId, Vec<Parcel>)>,
}

impl Desk {
    /// The desk of this loop.
    pub fn of(home: LoopId) -> Self {
        Desk { home, ..Desk::default() }
    }

    /// A desk with the same subscribers, for a turn inside a turn. What is put into it is on a way of its own.
    pub fn deputy(&self) -> Self {
        Desk { rows: self.rows.clone(), ..Desk::of(self.home) }
    }

    /// Bytes of what waits in it.
    pub fn memory(&self) -> usize {
        block_len(self.small.capacity())
    }

    /// Subscribes the client, unless it has subscribed to this before.
    pub fn subscribe(
        &self,
        registry: &Registry,
        subs: &mut Subscriptions,
        space: Space,
        name: &[u8],
        client: &ClientInfo,
    ) {
        if !subs.contains(space, name) {
            let (name, arrival) = registry.join(space, name, self.home);
            let seat = Seat { slot: client.slot(), id: client.id.0 as u32, arrival };
            self.rows.borrow_mut()[space as usize].entry(name.clone()).or_default().push(seat);
            subs.insert(space, name);
        }
    }

    /// Undoes the subscription of the client, if there is one.
    pub fn unsubscribe(
        &self,
        registry: &Registry,
        subs: &mut Subscriptions,
        space: Space,
        name: &[u8],
        client: &ClientInfo,
    ) {
        if subs.remove(space, name) {
            self.leave(registry, space, name, client);
        }
    }

    /// The client subscribes to nothing any more.
    pub fn forget(&self, registry: &Registry, subs: &Subscriptions, client: &ClientInfo) {
        for space in Space::ALL {
            subs.all(space).iter().for_each(|name| self.leave(registry, space, name, client));
        }
    }

    fn leave(&self, registry: &Registry, space: Space, name: &[u8], client: &ClientInfo) {
        let row = &mut self.rows.borrow_mut()[space as usize];
        let seats = row.get_mut(name).expect("whoever leaves has a seat");
        let at = seats.iter().position(|seat| seat.is_of(client.id)).expect("whoever leaves has a seat");
        seats.swap_remove(at);
        if seats.is_empty() {
            row.remove(name);
            shrink(row);
        }
        registry.leave(space, name, self.home);
    }

    /// Calls `visit` with each subscriber of this loop to whom such a parcel goes.
    #[inline]
    pub fn each_seat(&self, space: Space, name: &[u8], last: Arrival, visit: impl FnMut(&Seat)) {
        if let Some(seats) = self.rows.borrow()[space as usize].get(name) {
            seats.iter().filter(|seat| seat.arrival <= last).for_each(visit);
        }
    }

    /// Sends a message to everybody who listens to `channel`, on all loops. Returns how many they are.
    /// Order: who has subscribed to the channel gets it first, then who has subscribed to patterns that match.
    /// Cost: two relaxed loads if nobody listens to anything.
    #[inline]
    pub fn publish(&mut self, registry: &Registry, space: Space, channel: &[u8], message: &[u8]) -> u64 {
        let is_quiet = if space == Space::Shard { registry.names_count(space) == 0 } else { registry.is_quiet() };
        if is_quiet { 0 } else { self.publish_to(registry, space, channel, message) }
    }

    fn publish_to(&mut self, registry: &Registry, space: Space, channel: &[u8], message: &[u8]) -> u64 {
        let mut receivers = 0;
        if let Some(Found { name, homes, arrival }) = registry.find(space, channel) {
            let kind: &[u8] = if space == Space::Shard { b"smessage" } else { b"message" };
            let body = self.encode(&[kind, channel, message]);
            receivers += total(&homes);
            self.put(To::Subscribers(space, name, arrival), &homes, body);
        }
        if space == Space::Channel {
            registry.match_patterns(channel, |pattern, homes, arrival| {
                let body = self.encode(&[b"pmessage", pattern, channel, message]);
                receivers += total(homes);
                self.put(To::Subscribers(Space::Pattern, pattern.clone(), arrival), homes, body);
            });
        }
        receivers
    }

    /// Sends a push, in protocol form, to one client, in order with everything else that is sent from here. The first byte
    /// is fitted to the client's protocol.
    pub fn push_to(&mut self, client: &ClientInfo, form: Form, bytes: &[u8]) {
        let body = self.keep(bytes.len(), |out| out.extend_from_slice(bytes));
        self.post(client.home, Parcel { to: To::Client(client.id, client.slot()), form, body });
    }

    /// The same to each of several: the bytes are kept once.
    pub fn push_to_each<'c>(&mut self, clients: impl Iterator<Item = &'c ClientInfo>, form: Form, bytes: &[u8]) {
        let mut clients = clients.peekable();
        if clients.peek().is_some() {
            let body = self.keep(bytes.len(), |out| out.extend_from_slice(bytes));
            for client in clients {
                let to = To::Client(client.id, client.slot());
                self.post(client.home, Parcel { to, form, body: body.clone() });
            }
        }
    }

    /// An array of bulk strings.
    fn encode(&mut self, words: &[&[u8]]) -> Body {
        let len: usize = words.iter().map(|word| word.len()).sum();
        self.keep(len, |buf| {
            let out = Output { buf: std::mem::take(buf), refs: Vec::new() };
            let mut reply = Reply { out, ..Reply::default() };
            reply.array(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            *buf = reply.take().buf;
        })
    }

    fn keep(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> Body {
        if len < LARGE_MIN {
            let at = self.small.len();
            write(&mut self.small);
            return Body::Small { at, len: self.small.len() - at };
        }
        let mut own = Vec::with_capacity(len + 128);
        write(&mut own);
        Body::Large(own.into())
    }

    fn put(&mut self, to: To, homes: &[Home], body: Body) {
        let parcel = Parcel { to, form: Form::Any, body };
        if let Some((last, others)) = homes.split_last() {
            others.iter().for_each(|home| self.post(home.id, parcel.clone()));
            self.post(last.id, parcel);
        }
    }

    fn post(&mut self, home: LoopId, parcel: Parcel) {
        if home == self.home {
            return self.here.push(parcel);
        }
        match self.away.iter_mut().find(|(id, _)| *id == home) {
            Some((_, parcels)) => parcels.push(parcel),
            None => self.away.push((home, vec![parcel])),
        }
    }

    /// Is there anything to hand out on this loop?
    #[inline]
    pub fn has_some_here(&self) -> bool {
        !self.here.is_empty()
    }
    /// Is there anything to hand out on any loop?
    #[inline]
    pub fn has_some(&self) -> bool {
        !self.here.is_empty() || !self.away.is_empty()
    }

    /// What is to be handed out on this loop. `handed_out` takes the list back.
    pub fn take_here(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.here)
    }
    /// The buffer that `Parcel::content` asks for.
    pub fn small(&self) -> &[u8] {
        &self.small
    }
    /// The parcels of `take_here` have been handed out.
    pub fn handed_out(&mut self, mut parcels: Vec<Parcel>) {
        parcels.clear();
        self.here = parcels; // Its room is used again.
        if self.away.is_empty() {
            self.small.clear();
            self.small.shrink_to(LARGE_MIN * 16);
        }
    }

    /// What is to be mailed to other loops. Nothing may be left to hand out on this one.
    pub fn take_away(&mut self) -> impl Iterator<Item = (LoopId, Batch)> {
        assert!(self.here.is_empty(), "own clients first: their parcels lie in the same buffer");
        let small = Bytes::from(std::mem::take(&mut self.small));
        std::mem::take(&mut self.away)
            .into_iter()
            .map(move |(home, parcels)| (home, Batch { parcels, small: small.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::clients::Endpoints;
    use crate::base::clock::WallMs;

    fn text(parcel: &Parcel, small: &[u8]) -> String {
        let to = match &parcel.to {
            To::Subscribers(space, name, _) => format!("{space:?} {}", String::from_utf8_lossy(name)),
            To::Client(id, slot) => format!("client {} in {slot}", id.0),
        };
        let bytes = match parcel.content(small) {
            Content::Copied(bytes) => bytes,
            Content::Shared(bytes) => bytes,
        };
        format!("{to}: {}", String::from_utf8_lossy(bytes).replace("\r\n", " "))
    }

    /// A client in a slot that follows from its number.
    fn client(id: u64, home: u16) -> ClientInfo {
        let client = ClientInfo::new(ClientId(id), LoopId(home), 3, Endpoints::Unix("s".into()), WallMs(0));
        client.set_slot(id as u32 * 10);
        client
    }

    #[test]
    fn each_loop_gets_its_parcels_in_the_order_in_which_they_were_put_in() {
        let registry = Registry::default();
        let (mut mine, other) = (Desk::of(LoopId(0)), Desk::of(LoopId(1)));
        let (mut a, mut b) = (Subscriptions::default(), Subscriptions::default());
        assert_eq!(mine.publish(&registry, Space::Channel, b"c", b"nobody"), 0);
        assert!(!mine.has_some());
        mine.subscribe(&registry, &mut a, Space::Channel, b"c", &client(1, 0));
        mine.subscribe(&registry, &mut a, Space::Channel, b"c", &client(1, 0));
        other.subscribe(&registry, &mut b, Space::Channel, b"c", &client(5, 1));
        other.subscribe(&registry, &mut b, Space::Pattern, b"?", &client(5, 1));
        assert_eq!(mine.publish(&registry, Space::Channel, b"c", b"1"), 3);
        mine.push_to(&client(5, 1), Form::Resp3, b">0\r\n");
        assert_eq!(mine.publish(&registry, Space::Channel, b"d", b"2"), 1);
        assert_eq!(mine.publish(&registry, Space::Shard, b"c", b"3"), 0);
        let here = mine.take_here();
        let shown: Vec<_> = here.iter().map(|parcel| text(parcel, mine.small())).collect();
        assert_eq!(shown, ["Channel c: *3 $7 message $1 c $1 1 "]);
        mine.handed_out(here);
        let away: Vec<_> = mine.take_away().collect();
        assert_eq!((away.len(), away[0].0), (1, LoopId(1)));
        let batch = &away[0].1;
        let shown: Vec<_> = batch.parcels.iter().map(|parcel| text(parcel, &batch.small)).collect();
        assert_eq!(
            shown,
            [
                "Channel c: *3 $7 message $1 c $1 1 ",
                "Pattern ?: *4 $8 pmessage $1 ? $1 c $1 1 ",
                "client 5 in 50: >0 ",
                "Pattern ?: *4 $8 pmessage $1 ? $1 d $1 2 ",
            ]
        );
        other.forget(&registry, &b, &client(5, 1));
        mine.unsubscribe(&registry, &mut a, Space::Channel, b"c", &client(1, 0));
        assert!(registry.is_quiet() && mine.rows.borrow()[0].is_empty());
    }

    #[test]
    fn who_comes_after_a_message_does_not_get_it() {
        let registry = Registry::default();
        let (mut desk, mut early, mut late) = (Desk::of(LoopId(0)), Subscriptions::default(), Subscriptions::default());
        desk.subscribe(&registry, &mut early, Space::Channel, b"c", &client(1, 0));
        desk.publish(&registry, Space::Channel, b"c", b"1");
        desk.subscribe(&registry, &mut late, Space::Channel, b"c", &client(2, 0));
        desk.publish(&registry, Space::Channel, b"c", b"2");
        let receivers = desk.take_here().into_iter().map(|parcel| {
            let To::Subscribers(space, name, last) = parcel.to else { panic!("it was published") };
            let mut slots = Vec::new();
            desk.each_seat(space, &name, last, |seat| slots.push(seat.slot));
            slots
        });
        assert_eq!(receivers.collect::<Vec<_>>(), [vec![10], vec![10, 20]]);
    }

    #[test]
    fn large_messages_are_shared() {
        let (registry, mut desk) = (Registry::default(), Desk::of(LoopId(0)));
        let mut subs = Subscriptions::default();
        desk.subscribe(&registry, &mut subs, Space::Channel, b"c", &client(1, 0));
        desk.publish(&registry, Space::Channel, b"c", &vec![b'x'; LARGE_MIN]);
        let here = desk.take_here();
        assert!(desk.small().is_empty() && matches!(here[0].content(b""), Content::Shared(_)));
    }
}
