//! Clients that wait are served by whoever fills their key: with commands of this test's own, on one thread and on several.

use super::dispatch::Turn;
use super::watch::Watch;
use crate::admin::clients::Endpoints;
use crate::base::hash::KeyHasher;
use crate::base::ids::{ClientId, LoopId};
use crate::base::prng::Prng;
use crate::cmd::blocking::{Awaited, Delivery};
use crate::cmd::command::{Command, Cx, Effects, Flow, Wait, Woken, cmd};
use crate::cmd::session::Session;
use crate::cmd::world::{Boot, World};
use crate::keyspace::Local;
use crate::resp::args::{Arg, Args, Parts};
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use crate::table::Participant;
use crate::value::tally::Tally;
use std::collections::HashMap;
use std::sync::mpsc;

/// Puts one thing under each key.
static PUT: Command = cmd("put", put);
/// Takes one thing from the first key that has some, and says from which; waits if there is none.
static TAKE: Command = cmd("take", take);
/// As TAKE, and puts it under the last key.
static PASS: Command = cmd("pass", pass);

fn put(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    for index in 1..args.count() {
        put_one(cx, &args, index)?;
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn put_one(cx: &mut Cx<'_>, args: &Args<'_>, index: usize) -> Result<(), ReplyError> {
    let key = cx.key(args, index);
    cx.keys.open_or_create::<Tally>(key)?.0 += 1;
    cx.effects.filled(cx.keys.db(), key.bytes);
    Ok(())
}

fn take_one(cx: &Cx<'_>, args: &Args<'_>, count: usize) -> Result<Option<usize>, ReplyError> {
    for index in 1..count {
        if let Some(mut tally) = cx.keys.open::<Tally>(cx.key(args, index))? {
            tally.0 -= 1;
            return Ok(Some(index));
        }
    }
    Ok(None)
}

fn wait(cx: &mut Cx<'_>, args: &Args<'_>, count: usize) -> Result<Flow, ReplyError> {
    if !cx.may_wait() {
        cx.reply.null();
        return Ok(Flow::Done);
    }
    let keys: Vec<_> = (1..count).map(|index| cx.key(args, index)).collect();
    let until = cx.patience(b"1000")?;
    Ok(cx.wait_for(Awaited::Group, &keys, until))
}

fn take(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    match take_one(cx, &args, args.count())? {
        Some(index) => cx.reply.bulk(args.get(index)),
        None => return wait(cx, &args, args.count()),
    }
    Ok(Flow::Done)
}

fn pass(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let to = args.count() - 1;
    match take_one(cx, &args, to)? {
        Some(_) => put_one(cx, &args, to)?,
        None => return wait(cx, &args, to),
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// What a loop has of its own.
struct Seat<'w> {
    world: &'w World,
    home: LoopId,
    local: Local,
    effects: Effects,
    prng: Prng,
    participant: Participant,
}

impl<'w> Seat<'w> {
    fn new(world: &'w World, home: u16) -> Self {
        let (local, prng) = (Local::new(1), Prng::seeded(home as u64));
        Seat { world, home: LoopId(home), local, effects: Effects::default(), prng, participant: Participant::new() }
    }
    fn client(&self) -> Session {
        self.world.clients.reserve(usize::MAX);
        let info = self.world.clients.add(self.home, 3, Endpoints::Unix("s".into()), self.world.keyspace.now.get());
        Session::new(info, &self.world.acl)
    }
    /// Runs a line of words for a client. A turn of its own: the loop stands still before it if somebody wants that.
    fn run(&mut self, session: &mut Session, row: &'static Command, line: &str) -> (String, Flow) {
        self.world.safepoint.leave_kernel(self.home);
        self.effects.heed(self.world);
        let items: Vec<Arg> = line
            .split(' ')
            .map(|word| (word.as_ptr() as usize - line.as_ptr() as usize, word.len()))
            .map(|(offset, len)| Arg { offset: offset as u32, len: len as u32, hash: 0 })
            .collect();
        let parts = Parts { buf: line.as_bytes(), items: &items, large: &[] };
        let guard = self.participant.pin();
        let mut turn = Turn {
            watch: &mut Watch::begin(&self.world.config, true),
            world: self.world,
            guard: &guard,
            stats: &self.world.stats[self.home.0 as usize],
            local: &self.local,
            now: self.world.keyspace.now.get(),
            prng: &mut self.prng,
            effects: &mut self.effects,
            long: None,
            cue: None,
            section: None,
            is_alone: false,
            limit: 0,
            is_short: false,
        };
        let mut reply = Reply::default();
        let flow = turn.run(Some(row), session, &mut reply, Args::of(&parts));
        drop(turn);
        drop(guard);
        self.world.safepoint.enter_kernel(self.home);
        (String::from_utf8_lossy(&reply.take().buf).into_owned(), flow)
    }
    /// Who was served by the last commands, in order, with what.
    fn served(&mut self) -> Vec<(ClientId, String)> {
        let text = |delivery: Delivery| (delivery.id, String::from_utf8_lossy(&delivery.output.buf).into_owned());
        self.effects.deliveries.drain(..).map(text).collect()
    }
}

fn world(loops: usize) -> World {
    World::new(Boot { loops, ..Boot::default() }, KeyHasher::seeded(1))
}

fn parked(flow: Flow) -> bool {
    matches!(flow, Flow::Park(Wait::Event { until: Some(_) }))
}

#[test]
fn whoever_waits_is_served_before_the_next_command_and_in_order() {
    let world = world(1);
    let mut seat = Seat::new(&world, 0);
    let mut clients: Vec<Session> = (0..4).map(|_| seat.client()).collect();
    for client in &mut clients[..3] {
        assert!(parked(seat.run(client, &TAKE, "take b a").1));
    }
    assert_eq!(world.waiters.count(), 2);
    let (_, flow) = seat.run(&mut clients[3], &PUT, "put a b a");
    assert_eq!(flow, Flow::Done);
    let expected = [(0, "b"), (1, "a"), (2, "a")].map(|(at, key)| (clients[at].id, format!("$1\r\n{key}\r\n")));
    let mut served = seat.served();
    served.sort();
    assert_eq!(served, expected, "all keys are filled before anybody is served");
    assert_eq!(
        seat.run(&mut clients[3], &TAKE, "take a b").1,
        Flow::Park(Wait::Event { until: clients[3].blocked.as_ref().unwrap().until })
    );
}

#[test]
fn what_is_passed_on_is_served_too() {
    let world = world(1);
    let mut seat = Seat::new(&world, 0);
    let mut clients: Vec<Session> = (0..4).map(|_| seat.client()).collect();
    for (client, line) in clients.iter_mut().zip(["pass c d", "pass b c", "pass a b"]) {
        assert!(parked(seat.run(client, &PASS, line).1));
    }
    seat.run(&mut clients[3], &PUT, "put a");
    let order: Vec<_> = seat.served().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, [2, 1, 0].map(|at| clients[at].id));
    assert_eq!(seat.run(&mut clients[3], &TAKE, "take d").0, "$1\r\nd\r\n");
}

#[test]
fn who_is_gone_or_has_given_up_is_passed_over() {
    let world = world(1);
    let mut seat = Seat::new(&world, 0);
    let mut clients: Vec<Session> = (0..4).map(|_| seat.client()).collect();
    for client in &mut clients[..3] {
        assert!(parked(seat.run(client, &TAKE, "take k").1));
    }
    clients[0].info.wait.abandon();
    assert!(clients[1].info.wait.try_end());
    seat.run(&mut clients[3], &PUT, "put k");
    assert_eq!(seat.served(), [(clients[2].id, "$1\r\nk\r\n".into())]);
    for client in &mut clients[..2] {
        let blocked = client.blocked.take().unwrap();
        world.waiters.leave(blocked.ticket, &blocked.places);
    }
    assert_eq!(world.waiters.count(), 0);
    clients[1].woken = Some(Woken::TimedOut);
    assert_eq!(seat.run(&mut clients[1], &TAKE, "take k").0, "$-1\r\n");
}

#[test]
fn a_command_that_is_not_allowed_any_more_goes_back_to_its_loop() {
    let world = world(1);
    let mut seat = Seat::new(&world, 0);
    let (mut waiter, mut writer) = (seat.client(), seat.client());
    assert!(parked(seat.run(&mut waiter, &TAKE, "take k").1));
    world.acl.set_user(b"bob", [&b"on"[..]], false).unwrap();
    seat.run(&mut writer, &PUT, "put k");
    assert!(seat.served().is_empty());
    let until = waiter.blocked.as_ref().unwrap().until;
    assert_eq!(seat.effects.unblocks, [(LoopId(0), waiter.id, Woken::Event { until })]);
}

/// A loop of the stress test: its clients, and its mail.
struct Home<'w> {
    seat: Seat<'w>,
    clients: HashMap<ClientId, Session>,
    idle: Vec<ClientId>,
    mail: mpsc::Receiver<Delivery>,
    others: Vec<mpsc::Sender<Delivery>>,
    put: usize,
    taken: usize,
}

impl Home<'_> {
    fn act(&mut self, dice: &mut Prng) {
        let key = |dice: &mut Prng| format!("{}", dice.below(3));
        let (first, second) = (key(dice), key(dice));
        match dice.below(10) {
            0..4 => self.run(&PUT, &format!("put {first}")),
            4..8 => self.run(&TAKE, &format!("take {first} {second}")),
            8 => self.run(&PASS, &format!("pass {first} {second}")),
            _ => self.give_up(dice),
        }
        for delivery in self.seat.effects.deliveries.drain(..) {
            self.others[delivery.home.0 as usize].send(delivery).unwrap();
        }
        while let Ok(delivery) = self.mail.try_recv() {
            self.deliver(delivery);
        }
    }
    fn run(&mut self, row: &'static Command, line: &str) {
        let Some(id) = self.idle.pop() else { return };
        let session = self.clients.get_mut(&id).unwrap();
        let (reply, flow) = self.seat.run(session, row, line);
        self.put += (row.name == "put") as usize;
        if flow == Flow::Done {
            self.taken += reply.starts_with('$') as usize;
            self.idle.push(id);
        }
    }
    fn leave(&mut self, id: ClientId) {
        let blocked = self.clients.get_mut(&id).unwrap().blocked.take().unwrap();
        self.seat.world.waiters.leave(blocked.ticket, &blocked.places);
        self.idle.push(id);
    }
    fn deliver(&mut self, delivery: Delivery) {
        assert_eq!(self.clients[&delivery.id].blocked.as_ref().map(|blocked| blocked.ticket), Some(delivery.ticket));
        self.taken += delivery.output.buf.starts_with(b"$") as usize;
        self.leave(delivery.id);
    }
    /// Somebody's time is up, unless it is served at this moment.
    fn give_up(&mut self, dice: &mut Prng) {
        let waiting: Vec<_> = self.clients.values().filter(|client| client.blocked.is_some()).collect();
        if waiting.is_empty() {
            return;
        }
        let client = waiting[dice.below(waiting.len() as u64) as usize];
        let id = client.id;
        if client.info.wait.try_end() {
            self.leave(id);
        }
    }
}

/// What is left of a loop at its end.
struct Rest {
    clients: HashMap<ClientId, Session>,
    mail: mpsc::Receiver<Delivery>,
    put: usize,
    taken: usize,
}

/// A loop in which twenty clients put and take, wait and give up.
fn live(
    world: &World,
    home: u16,
    seed: u64,
    mail: mpsc::Receiver<Delivery>,
    others: Vec<mpsc::Sender<Delivery>>,
) -> Rest {
    let seat = Seat::new(world, home);
    let sessions: Vec<Session> = (0..20).map(|_| seat.client()).collect();
    let idle = sessions.iter().map(|session| session.id).collect();
    let clients = sessions.into_iter().map(|session| (session.id, session)).collect();
    let mut home_loop = Home { seat, clients, idle, mail, others, put: 0, taken: 0 };
    let mut dice = Prng::seeded(seed * 64 + home as u64);
    (0..20_000).for_each(|_| home_loop.act(&mut dice));
    let Home { clients, mail, put, taken, .. } = home_loop;
    Rest { clients, mail, put, taken }
}

#[test]
fn whatever_is_put_is_taken_once_and_nobody_waits_beside_it() {
    const LOOPS: u16 = 3;
    for seed in 0..4 {
        let world = world(LOOPS as usize);
        let (senders, boxes): (Vec<_>, Vec<_>) = (0..LOOPS).map(|_| mpsc::channel()).unzip();
        let rests: Vec<Rest> = std::thread::scope(|scope| {
            let loops = (0..LOOPS).zip(boxes).map(|(home, mail)| {
                let (world, others) = (&world, senders.clone());
                scope.spawn(move || live(world, home, seed, mail, others))
            });
            let loops: Vec<_> = loops.collect();
            loops.into_iter().map(|rest| rest.join().unwrap()).collect()
        });
        let mut seat = Seat::new(&world, 0);
        let mut left = [0; 3];
        left.iter_mut().enumerate().for_each(|(key, left)| *left = take_all(&mut seat, &key.to_string()));
        let (mut put, mut taken) = (0, left.iter().sum());
        for rest in rests {
            let last: Vec<Delivery> = rest.mail.try_iter().collect();
            put += rest.put;
            taken += rest.taken + last.iter().filter(|delivery| delivery.output.buf.starts_with(b"$")).count();
            let served: Vec<_> = last.iter().map(|delivery| delivery.id).collect();
            let waiting = rest.clients.values().filter(|client| !served.contains(&client.id));
            for place in
                waiting.filter_map(|client| client.blocked.as_ref()).flat_map(|blocked| blocked.places.to_vec())
            {
                let key = usize::from(place.key()[0] - b'0');
                assert_eq!(left[key], 0, "seed {seed}: a client waits for {key}, where something is");
            }
        }
        assert_eq!(put, taken, "seed {seed}");
    }
}

/// Takes everything that is under a key; how much that was.
fn take_all(seat: &mut Seat<'_>, key: &str) -> usize {
    let mut session = seat.client();
    (0..)
        .take_while(|_| {
            session.woken = Some(Woken::TimedOut);
            seat.run(&mut session, &TAKE, &format!("take {key}")).0.starts_with("$1")
        })
        .count()
}
