//! Commands on their way to the monitors: see `cmd::monitor`.

use super::fleet::Mail;
use super::{EventLoop, make_dirty};
use crate::cmd::session::ReplyMode;
use crate::ring::Engine;
use bytes::Bytes;

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
        let lines = Bytes::from(std::mem::take(&mut self.effects.monitor_lines));
        if lines.is_empty() {
            return;
        }
        for home in self.world.attention.loops_with_monitors() {
            match home == self.id {
                true => self.show_monitors(&lines),
                false => self.fleet.mailbox(home).send(Mail::Monitor(lines.clone())),
            }
        }
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
