//! The journal at the start and at the end: if there are files they are loaded (`recover`), otherwise it begins; and what was
//! changed last is on the disk before the process ends.

use super::error::StartError;
use crate::admin::log;
use crate::admin::params::Id;
use crate::cmd::snapshot;
use crate::cmd::world::World;
use crate::exec::load::{folder, manifest, stem};
use crate::journal::hub::{Base, Message};
use crate::journal::manifest::{Manifest, Part};
use crate::keyspace::events::Listener;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::thread::JoinHandle;

/// What the journal's files are, if they have to be loaded; without any it begins here.
/// Errors: the manifest is damaged; a file of an older Redis cannot be taken over.
pub fn open(world: &'static World) -> Result<Option<Manifest>, StartError> {
    world.journal.set_policy(world.config.word(Id::APPENDFSYNC));
    if world.config.number(Id::APPENDONLY) == 0 {
        return Ok(None);
    }
    let stem = stem(world);
    take_over(Path::new(&stem), &folder(world), &stem)
        .map_err(|error| StartError(format!("The append only file {stem} cannot be taken over: {error}.")))?;
    forget_leftovers(&folder(world));
    let manifest = manifest(world).map_err(|reason| {
        log::warning(format_args!("{reason}")); // Also where the log goes.
        StartError(reason)
    })?;
    if manifest.is_none() {
        world.journal.set_on(true);
        world.keyspace.listeners.heed(Listener::Journal); // No loop runs yet.
        let base = begin_base(world).inspect_err(|error| {
            log::warning(format_args!("The append only file begins without a base: {error}")); // It needs none.
        });
        world.journal.send(Message::Begin { at: world.keyspace.order.next(), base: base.ok() });
    }
    Ok(manifest)
}

/// Removes what rewrites have left behind that a crash has ended. Nobody else writes to this folder.
fn forget_leftovers(folder: &Path) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("temp-rewriteaof-") || name.starts_with("temp-") && name.ends_with(".rdb") {
            let _ = fs::remove_file(&path); // It takes room, and does no other harm.
        }
    }
}

/// A base with nothing in it, as Redis begins with.
fn begin_base(world: &World) -> io::Result<Base> {
    let (folder, is_rdb) = (folder(world), world.config.number(Id::AOF_USE_RDB_PREAMBLE) != 0);
    let aside = format!("temp-rewriteaof-{}.aof", std::process::id());
    fs::create_dir_all(&folder)?;
    let len = snapshot::write_empty(world, &folder.join(&aside), is_rdb)?;
    Ok(Base { aside, is_rdb, len })
}

/// The loops have stopped: what they have changed is written.
pub fn close(world: &World, keeper: JoinHandle<()>) {
    world.journal.send(Message::End { at: world.keyspace.order.next() });
    world.journal.send(Message::Stop);
    let _ = keeper.join(); // A panic would have aborted the process.
    world.background.join();
}

/// The one file of a Redis before 7.0, which lies beside the folder, becomes the base.
/// Order: a manifest that names it, then the file itself: if a crash comes between, the next start finds the one in the
/// folder's manifest and the other where it was.
fn take_over(old: &Path, folder: &Path, stem: &str) -> io::Result<()> {
    let new = folder.join(stem);
    let path = folder.join(format!("{stem}.manifest"));
    let part = Part { name: stem.into(), seq: 1 };
    let mut wanted = Manifest::default();
    wanted.set_base(part, 0);
    let is_begun = fs::read(&path).is_ok_and(|text| text == wanted.format().as_bytes()) && !new.exists();
    if !old.exists() || path.exists() && !is_begun {
        return Ok(());
    }
    log::notice(format_args!("Migrating the AOF file {stem} of an older version to the folder {}", folder.display()));
    fs::create_dir_all(folder)?;
    if !is_begun {
        let aside = folder.join(format!("temp-{stem}.manifest"));
        let mut file = File::create(&aside)?;
        file.write_all(wanted.format().as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
    }
    fs::rename(old, &new)?;
    File::open(folder)?.sync_all()?;
    log::notice(format_args!("Successfully migrated an old-style AOF"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_an_older_version_becomes_the_base_also_after_a_crash_in_between() {
        let dir = std::env::temp_dir().join(format!("ringdb-take-over-{}", std::process::id()));
        let (old, folder) = (dir.join("a.aof"), dir.join("log"));
        let manifest = folder.join("a.aof.manifest");
        fs::create_dir_all(&dir).unwrap();
        take_over(&old, &folder, "a.aof").unwrap();
        assert!(!folder.exists(), "there is nothing to be done");
        fs::write(&old, "data").unwrap();
        take_over(&old, &folder, "a.aof").unwrap();
        assert_eq!(fs::read_to_string(&manifest).unwrap(), "file a.aof seq 1 type b\n");
        assert!(folder.join("a.aof").exists() && !old.exists());
        fs::rename(folder.join("a.aof"), &old).unwrap(); // As if a crash had come in between.
        take_over(&old, &folder, "a.aof").unwrap();
        assert!(folder.join("a.aof").exists() && !old.exists());
        fs::write(&old, "other").unwrap();
        take_over(&old, &folder, "a.aof").unwrap();
        assert!(old.exists(), "what there is stays");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_a_crash_has_left_of_rewrites_goes() {
        let dir = tempfile::tempdir().unwrap();
        let kept = ["a.aof.1.base.rdb", "a.aof.1.incr.aof", "a.aof.manifest", "temp-a.aof.manifest"];
        for name in kept.iter().chain(&["temp-7-1.rdb", "temp-rewriteaof-bg-7-1.aof", "temp-rewriteaof-7.aof"]) {
            fs::write(dir.path().join(name), "").unwrap();
        }
        forget_leftovers(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, kept);
    }
}
