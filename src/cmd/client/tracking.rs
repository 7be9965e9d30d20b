//! CLIENT TRACKING and what belongs to it: how a client that keeps copies of what it reads wants to be told when they are
//! out of date. What follows from it: `tracking`, `exec::invalidate`.

#![forbid(unsafe_code)]

use crate::admin::clients::client_flag;
use crate::base::ids::ClientId;
use crate::base::num::parse_i64;
use crate::cmd::command::{Cx, Flow};
use crate::keyspace::events::Listener;
use crate::resp::args::Args;
use crate::resp::error::{ReplyError, escaped};
use crate::tracking::{Mode, Own};

/// Switches tracking.
/// Shape:  `(ON | OFF) [REDIRECT id] [BCAST] [PREFIX p]* [OPTIN] [OPTOUT] [NOLOOP]`
/// Errors: options; those that do not go together, or not with how the client tracks already.
pub fn client_tracking(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let options = Options::parse(cx, &args)?;
    if args.is(2, "on") {
        options.check(cx.session.tracking.as_deref())?;
        begin(cx, &options);
    } else if args.is(2, "off") {
        cx.session.end_tracking(&cx.world.tracking);
    } else {
        return Err(ReplyError::Syntax);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// From the reply on every change is heard of: who changes something sees from a safepoint on that somebody listens.
fn begin(cx: &mut Cx<'_>, options: &Options<'_>) {
    let (world, info) = (cx.world, cx.session.info.clone());
    let listeners = &world.keyspace.listeners;
    if !listeners.is_heeded(Listener::Tracking) {
        world.safepoint.run(cx.session.home, || listeners.heed(Listener::Tracking));
        cx.keys.heed();
    }
    let mode = options.mode;
    let own = cx.session.tracking.get_or_insert_default();
    (own.mode, own.is_caching_given) = (mode, false);
    if mode.broadcast {
        let whole: &[&[u8]] = if options.prefixes.is_empty() { &[b""] } else { &options.prefixes };
        for &prefix in whole {
            own.prefixes.insert(prefix.into());
            world.tracking.prefixes.join(prefix, info.id);
        }
        info.set_prefix_count(own.prefixes.len() as u32);
    }
    info.set(client_flag::TRACKING, true);
    info.set(client_flag::TRACKING_BROADCAST, mode.broadcast);
    info.set(client_flag::TRACKING_BROKEN, false);
    info.set_redirect(mode.redirect);
    world.tracking.begin(info, mode);
}

#[derive(Default)]
struct Options<'a> {
    mode: Mode,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(cx: &Cx<'_>, args: &Args<'a>) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.count() {
            let has_more = at + 1 < args.count();
            match args.get(at).to_ascii_lowercase().as_slice() {
                b"redirect" if has_more => {
                    at += 1;
                    options.redirect_to(cx, args.get(at))?;
                }
                b"bcast" => options.mode.broadcast = true,
                b"optin" => options.mode.opt_in = true,
                b"optout" => options.mode.opt_out = true,
                b"noloop" => options.mode.no_loop = true,
                b"prefix" if has_more => {
                    at += 1;
                    options.prefixes.push(args.get(at));
                }
                _ => return Err(ReplyError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }
    fn redirect_to(&mut self, cx: &Cx<'_>, id: &[u8]) -> Result<(), ReplyError> {
        if self.mode.redirect.is_some() {
            return Err(ReplyError::text("ERR A client can only redirect to a single other client"));
        }
        let id = ClientId(parse_i64(id).ok_or(ReplyError::NotInteger)? as u64);
        if cx.world.clients.get(id).is_none() {
            return Err(ReplyError::text("ERR The client ID you want redirect to does not exist"));
        }
        self.mode.redirect = Some(id);
        Ok(())
    }
    /// Do the options of ON go together, and with the client's present tracking?
    fn check(&self, present: Option<&Own>) -> Result<(), ReplyError> {
        let (mode, was) = (self.mode, present.map_or(self.mode, |own| own.mode));
        if !self.prefixes.is_empty() && !mode.broadcast {
            return Err(ReplyError::text("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if mode.broadcast != was.broadcast {
            return Err(ReplyError::text(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it \
                 with a different mode.",
            ));
        }
        if mode.broadcast && (mode.opt_in || mode.opt_out) {
            return Err(ReplyError::text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if mode.opt_in && mode.opt_out {
            return Err(ReplyError::text("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if mode.opt_in && was.opt_out || mode.opt_out && was.opt_in {
            return Err(ReplyError::text(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it \
                 with a different mode.",
            ));
        }
        self.check_prefixes(present)
    }
    /// No key may have two of the client's prefixes: it would be told twice.
    fn check_prefixes(&self, present: Option<&Own>) -> Result<(), ReplyError> {
        let overlap = |given: &[u8], kind: &str, other: &[u8]| {
            let (given, other) = (escaped(given), escaped(other));
            ReplyError::owned(format!(
                "ERR Prefix '{given}' overlaps with {kind} prefix '{other}'. Prefixes for a single client must not overlap."
            ))
        };
        let meets = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        for (index, prefix) in self.prefixes.iter().enumerate() {
            if let Some(own) = present.and_then(|own| own.prefixes.iter().find(|own| meets(own, prefix))) {
                return Err(overlap(prefix, "an existing", own));
            }
            if let Some(other) = self.prefixes[index + 1..].iter().find(|other| meets(other, prefix)) {
                return Err(overlap(prefix, "another provided", other));
            }
        }
        Ok(())
    }
}

/// Tracks the next command's keys (YES, with OPTIN), or does not (NO, with OPTOUT).
pub fn client_caching(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let own = cx.session.tracking.as_mut().ok_or(ReplyError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))?;
    let (is_valid, text) = match () {
        _ if args.is(2, "yes") => {
            (own.mode.opt_in, "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
        }
        _ if args.is(2, "no") => {
            (own.mode.opt_out, "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
        }
        _ => return Err(ReplyError::Syntax),
    };
    if !is_valid {
        return Err(ReplyError::text(text));
    }
    own.is_caching_given = true;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The client that invalidations go to, 0 for itself; -1: it does not track.
pub fn client_getredir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(cx.session.info.redirect().map_or(-1, |id| id as i64));
    Ok(Flow::Done)
}

/// How this connection tracks.
pub fn client_trackinginfo(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    let own = cx.session.tracking.as_deref();
    let none = Own::default();
    let Own { mode, is_caching_given, .. } = own.unwrap_or(&none);
    let words = [
        (own.is_some(), "on"),
        (own.is_none(), "off"),
        (mode.broadcast, "bcast"),
        (mode.opt_in, "optin"),
        (mode.opt_in && *is_caching_given, "caching-yes"),
        (mode.opt_out, "optout"),
        (mode.opt_out && *is_caching_given, "caching-no"),
        (mode.no_loop, "noloop"),
        (cx.session.info.has(client_flag::TRACKING_BROKEN), "broken_redirect"),
    ];
    let reply = &mut *cx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(words.iter().filter(|(holds, _)| *holds).count());
    words.iter().filter(|(holds, _)| *holds).for_each(|(_, word)| reply.bulk(word.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(cx.session.info.redirect().map_or(-1, |id| id as i64));
    reply.bulk(b"prefixes");
    reply.array(own.map_or(0, |own| own.prefixes.len()));
    own.iter().flat_map(|own| &own.prefixes).for_each(|prefix| reply.bulk(prefix));
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    const OFF: &str =
        "['flags', ['off'], 'redirect', -1, 'prefixes', []] || {'flags': ~['off'], 'redirect': -1, 'prefixes': []}";

    #[test]
    fn options_are_checked_before_anything_changes() {
        check(&format!(
            "
            CLIENT TRACKINGINFO => {OFF}
            CLIENT GETREDIR => -1
            CLIENT TRACKING off optin => OK
            CLIENT TRACKING maybe => ERR syntax error
            CLIENT TRACKING on foo => ERR syntax error
            CLIENT TRACKING on redirect => ERR syntax error
            CLIENT TRACKING on redirect x => ERR value is not an integer or out of range
            CLIENT TRACKING on redirect 99 => ERR The client ID you want redirect to does not exist
            CLIENT TRACKING on redirect 1 redirect 1 => ERR A client can only redirect to a single other client
            CLIENT TRACKING on prefix a => ERR PREFIX option requires BCAST mode to be enabled
            CLIENT TRACKING on bcast optin => ERR OPTIN and OPTOUT are not compatible with BCAST
            CLIENT TRACKING on optin optout => ERR You can't specify both OPTIN mode and OPTOUT mode
            CLIENT TRACKING on bcast prefix ab prefix c prefix a => ERR Prefix 'ab' overlaps with another provided prefix 'a'. Prefixes for a single client must not overlap.
            CLIENT CACHING maybe => ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
            CLIENT TRACKINGINFO => {OFF}
        "
        ));
    }

    #[test]
    fn modes_are_shown_and_left_by_switching_off() {
        check(&format!(
            "
            CLIENT TRACKING on optin noloop => OK
            CLIENT CACHING yes => OK
            CLIENT TRACKINGINFO => ['flags', ['on', 'optin', 'caching-yes', 'noloop'], 'redirect', 0, 'prefixes', []] || {{'flags': ~['on', 'optin', 'caching-yes', 'noloop'], 'redirect': 0, 'prefixes': []}}
            CLIENT CACHING no => ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.
            CLIENT CACHING maybe => ERR syntax error
            CLIENT TRACKING on optout => ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.
            CLIENT TRACKING on bcast => ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.
            CLIENT TRACKING off => OK
            CLIENT TRACKINGINFO => {OFF}
            CLIENT TRACKING on bcast prefix b prefix a => OK
            CLIENT TRACKING on bcast prefix aa => ERR Prefix 'aa' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.
            CLIENT TRACKING on bcast prefix c redirect 1 => OK
            CLIENT TRACKINGINFO => ['flags', ['on', 'bcast'], 'redirect', 1, 'prefixes', ['a', 'b', 'c']] || {{'flags': ~['on', 'bcast'], 'redirect': 1, 'prefixes': ['a', 'b', 'c']}}
            CLIENT GETREDIR => 1
            RESET => RESET
            CLIENT TRACKINGINFO => ['flags', ['off'], 'redirect', -1, 'prefixes', []]
            CLIENT GETREDIR => -1
        "
        ));
    }
}
