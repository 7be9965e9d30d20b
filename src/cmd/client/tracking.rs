//! CLIENT TRACKING and what belongs to it. Nothing is tracked yet: everything answers "off", and ON is refused once its
//! options were found to be right.

#![forbid(unsafe_code)]

use crate::base::ids::ClientId;
use crate::base::num::parse_i64;
use crate::cmd::command::{Cx, Flow};
use crate::resp::args::Args;
use crate::resp::error::ReplyError;

/// Switches tracking.
/// Shape:  `(ON | OFF) [REDIRECT id] [BCAST] [PREFIX p]* [OPTIN] [OPTOUT] [NOLOOP]`
/// Errors: options; ON.
pub fn client_tracking(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Flow, ReplyError> {
    let options = Options::parse(cx, &args)?;
    if args.is(2, "off") {
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    if !args.is(2, "on") {
        return Err(ReplyError::Syntax);
    }
    options.check()?;
    Err(ReplyError::text("ERR client tracking is not implemented yet"))
}

#[derive(Default)]
struct Options {
    redirects: bool,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    has_prefix: bool,
}

impl Options {
    fn parse(cx: &Cx<'_>, args: &Args<'_>) -> Result<Self, ReplyError> {
        let mut options = Options::default();
        let mut at = 3;
        while at < args.count() {
            let has_more = at + 1 < args.count();
            match args.get(at).to_ascii_lowercase().as_slice() {
                b"redirect" if has_more => {
                    at += 1;
                    options.redirect_to(cx, args.get(at))?;
                }
                b"bcast" => options.broadcast = true,
                b"optin" => options.opt_in = true,
                b"optout" => options.opt_out = true,
                b"noloop" => {}
                b"prefix" if has_more => {
                    at += 1;
                    options.has_prefix = true;
                }
                _ => return Err(ReplyError::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }
    fn redirect_to(&mut self, cx: &Cx<'_>, id: &[u8]) -> Result<(), ReplyError> {
        if self.redirects {
            return Err(ReplyError::text("ERR A client can only redirect to a single other client"));
        }
        let id = parse_i64(id).ok_or(ReplyError::NotInteger)?;
        if cx.world.clients.get(ClientId(id as u64)).is_none() {
            return Err(ReplyError::text("ERR The client ID you want redirect to does not exist"));
        }
        self.redirects = true;
        Ok(())
    }
    /// Do the options of ON go together?
    fn check(&self) -> Result<(), ReplyError> {
        if self.has_prefix && !self.broadcast {
            return Err(ReplyError::text("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err(ReplyError::text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if self.opt_in && self.opt_out {
            return Err(ReplyError::text("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        Ok(())
    }
}

/// Tracks the next command's keys, or does not: only in a tracking mode that nobody can be in yet.
pub fn client_caching(_: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    Err(ReplyError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

/// The client that invalidations go to; -1 is: nothing is tracked.
pub fn client_getredir(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.int(-1);
    Ok(Flow::Done)
}

/// How this connection tracks.
pub fn client_trackinginfo(cx: &mut Cx<'_>, _: Args<'_>) -> Result<Flow, ReplyError> {
    cx.reply.map(3);
    cx.reply.bulk(b"flags");
    cx.reply.set(1);
    cx.reply.bulk(b"off");
    cx.reply.bulk(b"redirect");
    cx.reply.int(-1);
    cx.reply.bulk(b"prefixes");
    cx.reply.array(0);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use crate::cmd::testkit::check;

    #[test]
    fn tracking_is_off_and_says_so() {
        check(
            "
            CLIENT TRACKINGINFO => ['flags', ['off'], 'redirect', -1, 'prefixes', []] || {'flags': ~['off'], 'redirect': -1, 'prefixes': []}
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
            CLIENT TRACKING on bcast prefix a noloop => ERR client tracking is not implemented yet
            CLIENT CACHING maybe => ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
        ",
        );
    }
}
