//! Commands of a parked client that were cut out of its input and have not run.
//!
//! When a command parks, what its client sent behind it in the same window is cut already, out of buffers that go back at the
//! end of the turn, and the parser is past it. So these commands, the parked one first, get bytes of their own, and are
//! handed out again before anything else is cut. It is a copy, but of one window at most, and only for who has to wait.

use crate::resp::args::{Arg, OwnedArgs};
use crate::resp::parse::ProtocolError;
use bytes::Bytes;

/// See the module header.
#[derive(Debug, Default)]
pub struct Held {
    commands: Vec<OwnedArgs>,
    /// The first one that was not handed out.
    next: usize,
    /// The client broke the protocol behind them.
    refusal: Option<ProtocolError>,
}

impl Held {
    /// Hands out the next command: its arguments are appended to `items`, the large ones to `large`. Returns its index, and how
    /// many arguments there are.
    pub fn next(&mut self, items: &mut Vec<Arg>, large: &mut Vec<Bytes>) -> Option<(usize, usize)> {
        let command = self.commands.get(self.next)?;
        let parts = command.parts();
        items.extend_from_slice(parts.items);
        large.extend_from_slice(parts.large);
        self.next += 1;
        Some((self.next - 1, parts.items.len()))
    }
    pub fn command(&self, index: usize) -> &OwnedArgs {
        &self.commands[index]
    }
    /// The command that would be handed out next is done: somebody else has run it.
    pub fn skip(&mut self) {
        self.next = (self.next + 1).min(self.commands.len());
    }
    /// What stands behind the last command, if the client broke the protocol there.
    pub fn refusal(&self) -> Option<ProtocolError> {
        self.refusal
    }
    /// Command `index` was handed out and has not run: it and what follows is handed out again.
    pub fn rewind(&mut self, index: usize) {
        self.next = self.next.min(index);
    }
    /// Keeps one more command, behind the others.
    pub fn push(&mut self, command: OwnedArgs) {
        if self.next == self.commands.len() && self.next > 0 {
            self.commands.clear(); // All of them have run.
            self.next = 0;
        }
        self.commands.push(command);
    }
    pub fn refuse(&mut self, error: ProtocolError) {
        self.refusal = Some(error);
    }
    /// Has everything run?
    pub fn is_done(&self) -> bool {
        self.next == self.commands.len() && self.refusal.is_none()
    }
    /// Bytes of what waits.
    pub fn len(&self) -> usize {
        self.commands[self.next..].iter().map(OwnedArgs::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(word: &str) -> OwnedArgs {
        OwnedArgs::copied(word.as_bytes(), &[Arg { offset: 0, len: word.len() as u32, hash: 0 }], &[])
    }

    #[test]
    fn commands_are_handed_out_in_order_and_again_if_they_did_not_run() {
        let (mut held, mut items) = (Held::default(), Vec::new());
        ["a", "b"].iter().for_each(|word| held.push(command(word)));
        let mut word = |held: &mut Held| {
            let index = held.next(&mut items, &mut Vec::new())?.0;
            Some(String::from_utf8_lossy(held.command(index).parts().buf).into_owned())
        };
        assert_eq!((word(&mut held), word(&mut held), word(&mut held)), (Some("a".into()), Some("b".into()), None));
        assert!(held.is_done());
        held.rewind(1);
        assert_eq!((held.is_done(), word(&mut held)), (false, Some("b".into())));
        held.push(command("c"));
        assert_eq!((held.commands.len(), word(&mut held)), (1, Some("c".into())));
    }
}
