//! A file that is written beside its place and moved there when it is whole: after a crash there is the old one or the new.
//!
//! ```text
//! create beside ▶ write … ▶ fsync ▶ rename ▶ fsync of the folder
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way. Dropped before `place` it leaves nothing.
pub struct Replacement {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    is_done: bool,
}

impl Replacement {
    /// Begins to write what will be at `path`; until then it is called `beside`, in the same folder.
    pub fn begin(path: &Path, beside: &str) -> io::Result<Self> {
        let beside = path.with_file_name(beside);
        let file = File::create(&beside)?;
        Ok(Replacement { file, beside, path: path.to_path_buf(), is_done: false })
    }
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
    /// Makes what was written durable, still beside its place.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    /// Puts it in its place. Returns the folder: that it is there survives a crash once the folder is synced.
    pub fn place(mut self) -> io::Result<File> {
        fs::rename(&self.beside, &self.path)?;
        self.is_done = true;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = fs::remove_file(&self.beside); // Nobody else knows it.
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_the_old_file_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let write = |text: &[u8]| {
            let mut file = Replacement::begin(&path, "temp-f").unwrap();
            file.write(text).unwrap();
            file.sync().unwrap();
            file
        };
        write(b"one").place().unwrap();
        drop(write(b"two"));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(b"three").place().unwrap().sync_all().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
