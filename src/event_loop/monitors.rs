//! Commands on their way to the monitors: see `cmd::monitor`.

use super::fleet::{Fleet, Mail};
use super::{EventLoop, make_dirty};
use crate::cmd::session::ReplyMode;
use crate::cmd::world::World;
use crate::ring::Engine;
use bytes::Bytes;

/// Sends the lines to all loops that have monitors, this one among them: by mailbox, so that lines of several loops come in
/// the order in which they were sent. Whoever makes something visible to others before the turn's end sends them before.
pub(super) fn post_lines(lines: &mut Vec<u8>, world: &World, fleet: &Fleet) {
    if lines.is_empty() {
        return;
    }
    let lines = Bytes::from(std::mem::take(lines));
    for home in world.attention.loops_with_monitors() {
        fleet.mailbox(home).send(Mail::Monitor(lines.clone()));
    }
}

impl<E: Engine> EventLoop<E> {
    /// Takes in who began to watch, and sends this turn's lines to all loops that have monitors.
    /// Cost: two comparisons if there is nothing.
    #[inline]
    pub(super) fn hand_over_lines(&mut self) {
        if !self.effects.new_monitors.is_empty() || !self.effects.monitor_lines.is_empty() {
            self.send_lines();
        }
    }

    #[cold]
    fn send_lines(&mut self) {
        for id in std::mem::take(&mut self.effects.new_monitors) {
            let found = self.find(id);
            self.monitors.extend(found);
        }
        post_lines(&mut self.effects.monitor_lines, self.world, self.fleet);
    }

    /// Gives each monitor of this loop a reference to the lines.
    pub(super) fn show_monitors(&mut self, lines: &Bytes) {
        let mut monitors = std::mem::take(&mut self.monitors);
        monitors.retain(|&token| {
            let Some(conn) = self.conns.get(token).filter(|conn| conn.session.is_monitor) else { return false };
            if conn.may_run() && conn.session.reply_mode != ReplyMode::Off {
                conn.reply.shared(lines.clone());
                conn.session.info.set_output(conn.output_seen());
                make_dirty(&mut self.dirty, conn);
            }
            true
        });
        self.monitors = monitors;
    }
}
