//! What the log asks of a disk: a folder of files. The server's own stands in `event_loop::disk`; the one here forgets.

use std::io;

/// A folder. Names have no `/` in them.
pub trait Disk {
    /// The whole of a small file. None: there is none.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Length of a file. None: there is none.
    fn len(&mut self, name: &str) -> io::Result<Option<u64>>;
    /// Writes to a file, at most at its end; it is made if it is not there. Returns how many bytes were taken.
    fn write_at(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Shortens a file.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;
    /// Behind this, the file's content survives a crash.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Behind this, what was made, renamed and removed survives a crash.
    fn sync_dir(&mut self) -> io::Result<()>;
}

#[cfg(test)]
pub mod simulated {
    //! A disk that loses what was not synced, tears and reorders writes, fails and fills up, as its seed says.

    use super::Disk;
    use crate::base::prng::Prng;
    use std::collections::BTreeMap;
    use std::io;

    const SECTOR: usize = 16;

    /// A file: what is on the disk, and what a crash may lose.
    #[derive(Clone, Debug, Default)]
    struct Inode {
        durable: Vec<u8>,
        seen: Vec<u8>,
    }

    /// See the module header. Files are numbered: a name is durable only when the folder was synced.
    pub struct Simulated {
        inodes: Vec<Inode>,
        names: BTreeMap<String, usize>,
        durable_names: BTreeMap<String, usize>,
        prng: Prng,
        /// Operations until the power fails; None: it does not.
        pub fuse: Option<u64>,
        /// Of so many writes and syncs one fails; 0: none.
        pub failure_odds: u64,
        /// Bytes that fit.
        pub room: usize,
    }

    impl Simulated {
        pub fn new(seed: u64) -> Self {
            Simulated {
                inodes: Vec::new(),
                names: BTreeMap::new(),
                durable_names: BTreeMap::new(),
                prng: Prng::seeded(seed),
                fuse: None,
                failure_odds: 0,
                room: usize::MAX,
            }
        }
        fn tick(&mut self) -> io::Result<()> {
            match &mut self.fuse {
                Some(0) => return Err(io::Error::other("no power")),
                Some(left) => *left -= 1,
                None => {}
            }
            Ok(())
        }
        fn may_fail(&mut self) -> io::Result<()> {
            self.tick()?;
            if self.failure_odds > 0 && self.prng.below(self.failure_odds) == 0 {
                return Err(io::Error::from_raw_os_error(nix::errno::Errno::EIO as i32));
            }
            Ok(())
        }
        fn used(&self) -> usize {
            self.names.values().map(|&inode| self.inodes[inode].seen.len()).sum()
        }
        fn inode(&mut self, name: &str) -> Option<&mut Inode> {
            let index = *self.names.get(name)?;
            Some(&mut self.inodes[index])
        }
        /// The power has failed and is back: of what was not synced, any sectors may be there or not; of the names, the old
        /// ones or the new ones.
        pub fn crash(&mut self) {
            for inode in &mut self.inodes {
                if inode.seen != inode.durable {
                    let common = inode.durable.iter().zip(&inode.seen).take_while(|(a, b)| a == b).count();
                    let floor = inode.durable.len().min(inode.seen.len());
                    let len = match self.prng.below(3) {
                        0 => inode.durable.len(),
                        1 => inode.seen.len(),
                        _ => floor + self.prng.below((inode.seen.len().max(floor) - floor + 1) as u64) as usize,
                    };
                    let mut left: Vec<u8> = inode.durable.clone();
                    left.resize(len, 0);
                    let mut at = common.min(len);
                    while at < len.min(inode.seen.len()) {
                        let end = (at / SECTOR * SECTOR + SECTOR).min(len).min(inode.seen.len());
                        if self.prng.below(4) > 0 {
                            left[at..end].copy_from_slice(&inode.seen[at..end]);
                        }
                        at = end;
                    }
                    inode.durable = left;
                }
                inode.seen = inode.durable.clone();
            }
            if self.prng.below(2) == 0 {
                self.durable_names = self.names.clone();
            }
            self.names = self.durable_names.clone();
            self.fuse = None;
            self.failure_odds = 0;
            self.room = usize::MAX;
        }
    }

    impl Disk for Simulated {
        fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
            self.tick()?;
            Ok(self.inode(name).map(|inode| inode.seen.clone()))
        }
        fn len(&mut self, name: &str) -> io::Result<Option<u64>> {
            self.tick()?;
            Ok(self.inode(name).map(|inode| inode.seen.len() as u64))
        }
        fn write_at(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<usize> {
            if !self.names.contains_key(name) {
                self.tick()?;
                self.inodes.push(Inode::default());
                self.names.insert(name.to_string(), self.inodes.len() - 1);
            }
            let (at, room) = (at as usize, self.room.saturating_sub(self.used()));
            let over = self.inode(name).map_or(0, |inode| inode.seen.len() - at); // Takes no more room.
            let fails = self.may_fail();
            let torn = fails.is_err() || self.prng.below(8) == 0;
            let some = self.prng.below(bytes.len() as u64 + 1) as usize;
            let len = if torn { some.max(fails.is_ok() as usize) } else { bytes.len() };
            let taken = len.min(room + over).min(bytes.len());
            if let Some(inode) = self.inode(name) {
                let end = inode.seen.len().max(at + taken);
                inode.seen.resize(end, 0);
                inode.seen[at..at + taken].copy_from_slice(&bytes[..taken]);
            }
            fails?; // What a failed write has left behind is there.
            if taken == 0 && !bytes.is_empty() {
                return Err(io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32));
            }
            Ok(taken)
        }
        fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
            self.may_fail()?;
            if let Some(inode) = self.inode(name) {
                inode.seen.truncate(len as usize);
            }
            Ok(())
        }
        fn sync(&mut self, name: &str) -> io::Result<()> {
            self.may_fail()?;
            if let Some(inode) = self.inode(name) {
                inode.durable = inode.seen.clone();
            }
            Ok(())
        }
        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            self.may_fail()?;
            let inode = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.names.insert(to.to_string(), inode);
            Ok(())
        }
        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.may_fail()?;
            self.names.remove(name);
            Ok(())
        }
        fn sync_dir(&mut self) -> io::Result<()> {
            self.may_fail()?;
            self.durable_names = self.names.clone();
            Ok(())
        }
    }
}
