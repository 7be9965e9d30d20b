//! Commands out of a log that was checked: one after the other, comments passed over.

use crate::resp::args::{Arg, Parts};
use std::io::{self, BufRead, Read};

/// Words of more commands than this are nonsense.
const WORDS_MAX: u64 = 1 << 20;

/// See the module header.
pub struct Commands<R> {
    file: R,
    line: Vec<u8>,
    buf: Vec<u8>,
    items: Vec<Arg>,
    offset: u64,
}

impl<R: BufRead> Commands<R> {
    pub fn new(file: R) -> Self {
        Commands { file, line: Vec::new(), buf: Vec::new(), items: Vec::new(), offset: 0 }
    }
    /// How much was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }
    /// The next command. None: the end.
    /// Errors: the file cannot be read, or is not what was checked (`InvalidData`).
    pub fn read(&mut self) -> io::Result<Option<Parts<'_>>> {
        let count = loop {
            if !self.read_line()? {
                return Ok(None);
            }
            match self.line.first() {
                Some(b'#') => {}
                Some(b'*') => break self.number()?,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        };
        if count == 0 || count > WORDS_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.buf.clear();
        self.items.clear();
        for _ in 0..count {
            if !self.read_line()? || self.line.first() != Some(&b'$') {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let len = self.number()?;
            let offset = u32::try_from(self.buf.len()).ok().filter(|offset| *offset < u32::MAX);
            let (Some(offset), Ok(short)) = (offset, u32::try_from(len)) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            // No more room is made than bytes have come.
            let taken = (&mut self.file).take(len + 2).read_to_end(&mut self.buf)? as u64;
            self.offset += taken;
            if taken != len + 2 || !self.buf.ends_with(b"\r\n") {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.items.push(Arg { offset, len: short, hash: 0 });
        }
        Ok(Some(Parts { buf: &self.buf, items: &self.items, large: &[] }))
    }
    /// False: the file is at its end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let count = (&mut self.file).take(super::frame::LINE_LEN_MAX as u64).read_until(b'\n', &mut self.line)?;
        self.offset += count as u64;
        if count == 0 {
            return Ok(false);
        }
        if !self.line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.line.truncate(self.line.len() - 2);
        Ok(true)
    }
    fn number(&self) -> io::Result<u64> {
        let text = std::str::from_utf8(&self.line[1..]).ok();
        text.and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn commands_are_read_and_comments_passed_over() {
        let text = b"#TS:1\r\n*2\r\n$3\r\nGET\r\n$1\r\n\n\r\n#x\r\n*1\r\n$0\r\n\r\n";
        let mut commands = Commands::new(&text[..]);
        let first = commands.read().unwrap().unwrap();
        assert_eq!((first.get(0), first.get(1), first.items.len()), (&b"GET"[..], &b"\n"[..], 2));
        assert_eq!(commands.read().unwrap().unwrap().get(0), b"");
        assert!(commands.read().unwrap().is_none());
        assert_eq!(commands.offset(), text.len() as u64);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut prng = Prng::seeded(3);
        for _ in 0..5000 {
            let mut text = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n".to_vec();
            for _ in 0..2 {
                let at = prng.below(text.len() as u64) as usize;
                text[at] = prng.next_u64() as u8;
            }
            let mut commands = Commands::new(&text[..]);
            while let Ok(Some(parts)) = commands.read() {
                let _ = parts.get(0);
            }
        }
    }
}
