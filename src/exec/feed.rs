//! The commands of a journal on their way to the loops that run them, at the start.
//!
//! ```text
//! parallel   a command goes to the loop that its keys belong to; all commands of a key go to the same one, in their order
//! serial     a command whose keys belong to different loops, or are unknown, and a thousand behind it: the first loop runs
//!            them while the others stand still. Everything before is run first, and these before anything behind
//! ```
//! Commands on different keys do as much in either order, so the data set comes out as in the order of the file. Where such
//! commands are frequent it is one loop's work, but no loop waits for another at each of them.

use super::alone::NoOthers;
use super::dispatch::Turn;
use super::long::run_whole;
use super::order::{Touched, touched};
use crate::admin::clients::ClientInfo;
use crate::admin::log;
use crate::base::clock::WallMs;
use crate::base::ids::{DbIndex, LoopId};
use crate::base::num::parse_i64;
use crate::cmd::command::{Command, Flow};
use crate::cmd::loading::{Ahead, Portion};
use crate::cmd::session::Session;
use crate::cmd::table;
use crate::cmd::world::World;
use crate::journal::replay::Commands;
use crate::resp::args::{Arg, Args, Parts};
use crate::resp::error::ReplyError;
use crate::resp::reply::Reply;
use std::io::{self, Read};

/// Bytes of a portion.
const PORTION_LEN: usize = 64 << 10;
/// Commands between two words on how far it is.
const PROGRESS_COUNT: u64 = 1024;
/// Commands that stay serial behind one that has to be.
const SERIAL_COUNT: u32 = 1000;

/// Who runs a command.
enum Way {
    /// Nobody needs to: brackets, and the choice of a database.
    Skip,
    Lane(usize),
    Serial,
}

/// See the module header.
pub struct Feeder<'f> {
    world: &'f World,
    lanes: Vec<Portion>,
    db: DbIndex,
    /// So many commands are still serial.
    serial_left: u32,
    /// Wakes the loops.
    wake: &'f dyn Fn(),
}

impl<'f> Feeder<'f> {
    pub fn new(world: &'f World, wake: &'f dyn Fn()) -> Self {
        let lanes = (0..world.boot.loops).map(|_| Portion::default()).collect();
        Feeder { world, lanes, db: DbIndex(0), serial_left: 0, wake }
    }
    /// Has all commands of `file` run. `progress` hears how far it is, and of how many commands since it heard last. Returns how many there were.
    /// Errors: the file cannot be read, or holds what is no command.
    pub fn feed(&mut self, file: impl Read, mut progress: impl FnMut(u64, u64)) -> io::Result<u64> {
        let mut commands = Commands::new(file);
        let (mut buf, mut items, mut count) = (Vec::new(), Vec::new(), 0);
        self.db = DbIndex(0);
        loop {
            let offset = commands.offset();
            buf.clear();
            items.clear();
            if !commands.read_into(&mut buf, &mut items)? {
                break;
            }
            let parts = Parts { buf: &buf, items: &items, large: &[] };
            let row = table::resolve(&Args::of(&parts)).map_err(|error| {
                let name = String::from_utf8_lossy(parts.get(0)).into_owned();
                unknown(&name, offset, &error)
            })?;
            let way = self.way(row, &buf, &mut items)?;
            self.push(way, row, &buf, &items, offset);
            count += 1;
            if count % PROGRESS_COUNT == 0 {
                progress(offset, PROGRESS_COUNT);
            }
        }
        self.send_all();
        self.serial_left = 0;
        Ok(count)
    }

    /// Who runs the command. Hashes its keys.
    fn way(&mut self, row: &Command, buf: &[u8], items: &mut [Arg]) -> io::Result<Way> {
        let parts = Parts { buf, items, large: &[] };
        let args = Args::of(&parts);
        let places = match touched(row, &args) {
            Touched::These(places) => places,
            _ if row.name == "multi" || row.name == "exec" => return Ok(Way::Skip),
            _ if row.name == "select" => {
                let number = parse_i64(args.get(1)).and_then(|number| u16::try_from(number).ok());
                let known = number.filter(|&number| (number as usize) < self.world.keyspace.db_count());
                self.db = DbIndex(known.ok_or(io::Error::other("it has more databases than this server"))?);
                return Ok(Way::Skip);
            }
            _ => return Ok(Way::Serial),
        };
        let mut lane = None;
        for at in places {
            let hash = self.world.keyspace.hasher.hash(Parts { buf, items, large: &[] }.get(at));
            items[at].hash = hash;
            let own = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % self.lanes.len();
            if *lane.get_or_insert(own) != own {
                return Ok(Way::Serial);
            }
        }
        Ok(lane.map_or(Way::Serial, Way::Lane))
    }

    fn push(&mut self, way: Way, row: &'static Command, buf: &[u8], items: &[Arg], offset: u64) {
        let was_serial = self.serial_left > 0;
        let (lane, is_alone) = match way {
            Way::Skip => return,
            Way::Lane(lane) if !was_serial => (lane, false),
            Way::Lane(_) => {
                self.serial_left -= 1;
                (0, true)
            }
            Way::Serial => {
                if !was_serial {
                    self.send_all();
                }
                self.serial_left = SERIAL_COUNT;
                (0, true)
            }
        };
        let portion = &mut self.lanes[lane];
        let base = portion.buf.len() as u32;
        portion.buf.extend_from_slice(buf);
        portion.items.extend(items.iter().map(|item| Arg { offset: item.offset + base, ..*item }));
        portion.commands.push(Ahead { row, db: self.db, end: portion.items.len(), offset });
        portion.is_alone = is_alone;
        if portion.buf.len() >= PORTION_LEN {
            self.send(lane);
        }
        if is_alone && self.serial_left == 0 {
            self.send_all(); // The next ones go their own ways again.
        }
    }

    /// Gives the loops what was gathered, and waits until all of it has run.
    fn send_all(&mut self) {
        (0..self.lanes.len()).for_each(|lane| self.send(lane));
        let _ = self.world.intake.settle(); // Commands have no faults: what fails is told in the log.
    }

    /// Gives a loop what was gathered for it.
    fn send(&mut self, lane: usize) {
        let portion = std::mem::take(&mut self.lanes[lane]);
        if !portion.commands.is_empty() {
            self.world.intake.send(lane, portion);
            (self.wake)();
        }
    }
}

/// A command that this server would not run.
pub(super) fn unknown(name: &str, offset: u64, error: &ReplyError) -> io::Error {
    let line = error.line();
    let kind = if line.starts_with("ERR unknown") { "Unknown command" } else { "Bad call of the command" };
    io::Error::other(format!("{kind} '{name}' reading the append only file at offset {offset}: {line}"))
}

/// The session in which a loop runs commands of a journal: of a client that nobody sees.
pub fn session(world: &World, home: LoopId) -> Session {
    let info = ClientInfo::unseen(home, world.keyspace.now.get());
    let mut session = Session::new(info, &world.acl);
    session.denies_blocking = true;
    session
}

impl Turn<'_> {
    /// Runs the commands of a portion, at time 0: what had not expired when a command ran first has not expired now. If it is
    /// one for which everybody stands still, the caller has seen to that.
    pub fn rerun_all(&mut self, portion: &Portion, session: &mut Session) {
        debug_assert_eq!(self.now, WallMs(0));
        let mut reply = Reply::default();
        let dirty = self.effects.dirty;
        for (ahead, parts) in portion.each() {
            session.db = ahead.db;
            self.rerun(ahead.row, &parts, ahead.offset, session, &mut reply);
            reply.out.buf.clear();
            reply.out.refs.clear();
        }
        self.effects.dirty = dirty; // Nothing has changed since the journal was written.
        self.effects.monitor_lines.clear();
        self.effects.fills.clear();
    }

    /// Runs a command of a journal. What it replies, tells and counts is nobody's business.
    pub(super) fn rerun(
        &mut self,
        row: &'static Command,
        parts: &Parts<'_>,
        offset: u64,
        session: &mut Session,
        reply: &mut Reply,
    ) {
        let mut cx = self.cx(session, reply);
        let mut result = run_whole(row, &mut cx, Args::of(parts));
        if result == Ok(Flow::Alone)
            && let Some(job) = self.effects.alone.take()
        {
            result = Ok(self.perform(job, session, reply, &mut NoOthers).0);
        }
        let failure = match &result {
            Err(error) => Some(error.line().to_string()),
            Ok(_) if reply.out.buf.first() == Some(&b'-') => Some(String::from_utf8_lossy(&reply.out.buf).into_owned()),
            Ok(_) => None,
        };
        if let Some(line) = failure {
            log::warning(format_args!("A command of the AOF at offset {offset} has failed: {}", line.trim_end()));
        }
    }
}
