//! Client-side caching: which keys a command reads for a client that keeps copies, and telling who has copies of a key that
//! its own is out of date. Who is interested in what, and why nobody keeps a stale copy: see `tracking`.
//!
//! ```text
//! RESP3       >2 invalidate [key …]                       to the client, or to whom it redirects
//! RESP2       *3 message __redis__:invalidate [key …]     to whom it redirects, if that client has subscribed to anything
//! ```
//! A client's own change is told behind its reply. Broadcasts are gathered and told once per turn.

use super::dispatch::Turn;
use crate::admin::clients::client_flag;
use crate::admin::params::Id;
use crate::base::ids::ClientId;
use crate::base::prng::Prng;
use crate::cmd::command::{Command, Effects, flag};
use crate::cmd::keyspec;
use crate::cmd::session::Session;
use crate::cmd::world::World;
use crate::pubsub::desk::{Desk, Form};
use crate::resp::args::Args;
use crate::resp::reply::Reply;
use crate::tracking::Tracker;
use crate::tracking::prefixes::Changes;
use std::sync::Arc;

/// Keys that are forgotten at most when there are too many, per turn. Source: Redis, `trackingLimitUsedSlots`.
const FORGOTTEN_MAX: usize = 100;

impl Turn<'_> {
    /// If the client tracks: remembers the keys that the command is about to read. True: it does read some.
    /// Cost: a test for others.
    #[inline]
    pub(super) fn remember(&self, row: &Command, session: &Session, args: &Args<'_>) -> bool {
        session.tracking.as_ref().is_some_and(|own| own.remembers() && self.remember_keys(row, session, args))
    }
    /// Of a script its commands count, not the keys that it was given.
    #[cold]
    fn remember_keys(&self, row: &Command, session: &Session, args: &Args<'_>) -> bool {
        let remembers = row.has(flag::READONLY) && !row.has(flag::PUBSUB) && row.group != "scripting";
        if remembers {
            self.register(row, session.id, args);
        }
        remembers
    }
    #[cold]
    pub(super) fn register(&self, row: &Command, client: ClientId, args: &Args<'_>) {
        let interests = &self.world.tracking.interests;
        match row.one_key {
            Some(one) => interests.add(args.get(one.at as usize), client),
            None => {
                let found = keyspec::positions(row, args).unwrap_or_default();
                found.into_iter().for_each(|(at, _)| interests.add(args.get(at), client));
            }
        }
    }
    /// A command that waited was run for its client, which tracks, and its reply is on its way by mail. Another loop that
    /// changes what was read might be faster; so the client is told at once, behind the reply, that it must not keep it.
    pub(super) fn disown(&mut self, row: &Command, session: &Session, args: &Args<'_>) {
        let Some(tracker) = self.world.tracking.get(session.id).filter(|tracker| !tracker.mode.broadcast) else {
            return;
        };
        if row.has(flag::READONLY) {
            for (at, _) in keyspec::positions(row, args).unwrap_or_default() {
                send(self.world, &mut self.effects.desk, &tracker, &Stale::Keys(&[args.get(at)]));
            }
        }
    }
}

/// What is out of date.
enum Stale<'k> {
    Everything,
    Keys(&'k [&'k [u8]]),
}

impl Stale<'_> {
    fn write(&self, reply: &mut Reply, null: &[u8]) {
        match self {
            Stale::Everything => reply.raw(null),
            Stale::Keys(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
        }
    }
    fn resp3(&self) -> Vec<u8> {
        let mut reply = Reply::default();
        reply.array(2);
        reply.bulk(b"invalidate");
        self.write(&mut reply, b"_\r\n");
        reply.take().buf
    }
    fn resp2(&self) -> Vec<u8> {
        let mut reply = Reply::default();
        reply.array(3);
        reply.bulk(b"message");
        reply.bulk(b"__redis__:invalidate");
        self.write(&mut reply, b"$-1\r\n");
        reply.take().buf
    }
}

/// A key has changed; `by`: the client that changed it, if one did.
pub(super) fn key(world: &World, effects: &mut Effects, key: &[u8], by: Option<ClientId>) {
    if world.tracking.prefixes.count() > 0 {
        effects.broadcast.push((key.into(), by));
    }
    for id in world.tracking.interests.take(key) {
        if let Some(tracker) = world.tracking.get(id).filter(|tracker| is_told(tracker, by)) {
            send(world, &mut effects.desk, &tracker, &Stale::Keys(&[key]));
        }
    }
}

/// Is the client told of a change that `by` has made? In broadcast mode an interest is a leftover from before.
fn is_told(tracker: &Tracker, by: Option<ClientId>) -> bool {
    let is_own = by == Some(tracker.info.id);
    !(tracker.mode.broadcast || tracker.mode.no_loop && is_own)
}

/// All keys have changed. First all interests go: whoever reads from now on and is interested anew is told of that, too.
pub(super) fn all(world: &World, effects: &mut Effects) {
    world.tracking.interests.clear();
    for tracker in world.tracking.all() {
        send(world, &mut effects.desk, &tracker, &Stale::Everything);
    }
}

/// Sends an invalidation to a client, or to whom it redirects.
fn send(world: &World, desk: &mut Desk, tracker: &Tracker, stale: &Stale<'_>) {
    match tracker.mode.redirect {
        None => desk.push_to(&tracker.info, Form::Resp3, &stale.resp3()),
        Some(other) => match world.clients.get(other) {
            Some(other) => {
                let (form, bytes) = if other.has(client_flag::RESP3) {
                    (Form::Resp3, stale.resp3())
                } else {
                    (Form::Resp2, stale.resp2())
                };
                desk.push_to(&other, form, &bytes);
            }
            None => tell_broken(desk, tracker, other),
        },
    }
}

/// The client to which invalidations were redirected is gone.
#[cold]
fn tell_broken(desk: &mut Desk, tracker: &Tracker, other: ClientId) {
    tracker.info.set(client_flag::TRACKING_BROKEN, true);
    let mut reply = Reply::default();
    reply.array(2);
    reply.bulk(b"tracking-redir-broken");
    reply.int(other.0 as i64);
    desk.push_to(&tracker.info, Form::Resp3, &reply.take().buf);
}

/// The turn is over: tells of its changes to keys with the prefixes that clients have named, and forgets some keys if there
/// are more than there may be.
/// Cost: two comparisons if nobody tracks.
#[inline]
pub fn finish_turn(world: &World, effects: &mut Effects, prng: &mut Prng) {
    if !effects.broadcast.is_empty() {
        broadcast(world, effects);
    }
    if world.tracking.interests.keys() > 0 {
        limit(world, effects, prng);
    }
}

#[cold]
fn broadcast(world: &World, effects: &mut Effects) {
    let changed = std::mem::take(&mut effects.broadcast);
    let changes: Changes<'_> = changed.iter().map(|(key, by)| (&**key, *by)).collect();
    world.tracking.prefixes.each_hit(&changes, |hits, clients| {
        let keys: Vec<&[u8]> = hits.iter().map(|(key, _)| *key).collect();
        let (stale, mut plain) = (Stale::Keys(&keys), Vec::new());
        for tracker in clients.iter().filter_map(|&id| world.tracking.get(id)) {
            match tracker.mode {
                mode if mode.no_loop => {
                    let is_foreign = |hit: &&(&[u8], Option<ClientId>)| hit.1 != Some(tracker.info.id);
                    let keys: Vec<&[u8]> = hits.iter().filter(is_foreign).map(|(key, _)| *key).collect();
                    if !keys.is_empty() {
                        send(world, &mut effects.desk, &tracker, &Stale::Keys(&keys));
                    }
                }
                mode if mode.redirect.is_some() => send(world, &mut effects.desk, &tracker, &stale),
                _ => plain.push(tracker),
            }
        }
        let infos = plain.iter().map(|tracker: &Arc<Tracker>| &*tracker.info);
        effects.desk.push_to_each(infos, Form::Resp3, &stale.resp3());
    });
}

/// Forgets keys beyond `tracking-table-max-keys`: whoever has copies is told as if they had changed.
#[cold]
fn limit(world: &World, effects: &mut Effects, prng: &mut Prng) {
    let max = world.config.number(Id::TRACKING_TABLE_MAX_KEYS) as usize;
    for _ in 0..FORGOTTEN_MAX {
        if max == 0 || world.tracking.interests.keys() <= max {
            return;
        }
        let Some((key, ids)) = world.tracking.interests.take_any(prng.next_u64()) else { return };
        for tracker in ids.iter().filter_map(|&id| world.tracking.get(id)).filter(|tracker| is_told(tracker, None)) {
            send(world, &mut effects.desk, &tracker, &Stale::Keys(&[&key]));
        }
    }
}
