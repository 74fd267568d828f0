//! Which commands run, in a file that costs no transaction: what it names after a crash was running at that time.
//!
//! Beside the database there is a file of slots, one per running command: the number of its row, the attempt and when it
//! began. A start writes one slot, which survives the end of the process as soon as the operating system has it; nothing is
//! synced. After the transaction that ends its attempt a slot is free for another start, which overwrites it; only that of an
//! attempt which does not count is emptied.
//!
//! So a slot may be there too long, never too short, and what it says is weighed against the row: a row that is gone has
//! settled, and one whose `retries` have reached the attempt has recorded its end. That makes counting the slots repeatable as well.
//! Numbers of rows are used again only after a new start, which first counts and empties the file, and syncs that.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;

use super::cell::from_time;
use super::engine::{Outcome, failed};
use super::index::Index;
use crate::storage::CommandRecord;

pub(super) const FILE: &str = "running";

/// Divides a page and a sector, so that no slot lies across two.
const SLOT: usize = 32;

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// The row of the command.
    pub(super) number: i64,
    pub(super) attempt: u32,
    /// Nanoseconds since 1970.
    pub(super) at: i64,
}

impl Start {
    fn to_bytes(self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.at.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.attempt.to_le_bytes());
        let check = checksum(&bytes[..20]);
        bytes[20..24].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Nothing for an empty slot and for one that is not whole.
    fn from_bytes(bytes: &[u8; SLOT]) -> Option<Self> {
        let long = |at: usize| -> Option<i64> {
            let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
            Some(i64::from_le_bytes(bytes))
        };
        let short = |at: usize| -> Option<u32> {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let start = Self {
            number: long(0)?,
            at: long(8)?,
            attempt: short(16)?,
        };
        (short(20)? == checksum(&bytes[..20])).then_some(start)
    }
}

/// FNV-1a. Not 0 for zeros, so that an empty slot is none.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// The file, and the rows of the commands that it is about.
pub(super) struct Running {
    /// Which row each command has. Beside the thread that writes, whoever starts a command looks into it.
    rows: Mutex<Index>,
    slots: Mutex<Slots>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Slots {
    /// Until it is closed.
    file: Option<Arc<File>>,
    /// The slot of each running row, and its attempt.
    taken: HashMap<i64, (u64, u32), foldhash::fast::RandomState>,
    free: Vec<u64>,
    /// How many there are.
    count: u64,
    /// The rows of commands that have a time to live and have not begun, as far as their rows say: those that were stored or restored
    /// by this process.
    can_expire: HashSet<i64, foldhash::fast::RandomState>,
}

impl Running {
    /// Opens the file; it keeps what it says until [`clear`](Self::clear).
    pub(super) fn open(directory: &Path) -> Outcome<Self> {
        let path = directory.join(FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        Ok(Self {
            rows: Mutex::default(),
            slots: Mutex::new(Slots {
                file: Some(Arc::new(file)),
                ..Slots::default()
            }),
            path,
        })
    }

    /// What was running when the process before ended.
    pub(super) fn left(&self) -> Outcome<Vec<Start>> {
        let (starts, damaged) = self
            .file()
            .and_then(|file| read(&file))
            .map_err(|error| failed("read", &self.path, &error))?;
        if damaged > 0 {
            tracing::warn!(
                damaged,
                path = %self.path.display(),
                "what was running when the process before ended is only partly known"
            );
        }
        Ok(starts)
    }

    /// Empties the file, once what it said is in the database.
    pub(super) fn clear(&self) -> Outcome<()> {
        self.empty()
            .map_err(|error| failed("write", &self.path, &error))
    }

    fn empty(&self) -> io::Result<()> {
        let file = self.file()?;
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
            // After a power cut the old contents could speak of rows whose numbers are used again.
            file.sync_all()?;
        }
        Ok(())
    }

    /// Gives the file up, whoever still knows of it.
    pub(super) fn close(&self) {
        let file = self.slots().file.take();
        drop(file);
    }

    fn file(&self) -> io::Result<Arc<File>> {
        let file = self.slots().file.clone();
        file.ok_or_else(|| io::Error::other("the storage was closed"))
    }

    pub(super) fn rows(&self) -> MutexGuard<'_, Index> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an attempt of a command begins. One that is not stored has nothing to note.
    pub(super) fn start(&self, id: &str, attempt: u32) -> Outcome<()> {
        let Some(number) = self.rows().find(id) else {
            return Ok(());
        };
        let mut slots = self.slots();
        let known = slots.taken.get(&number).map(|(slot, _)| *slot);
        let slot = known.or_else(|| slots.free.pop()).unwrap_or_else(|| {
            slots.count += 1;
            slots.count - 1
        });
        slots.taken.insert(number, (slot, attempt));
        drop(slots);
        let start = Start {
            number,
            attempt,
            at: from_time(Utc::now()),
        };
        self.write(slot, &start.to_bytes())
            .map_err(|error| failed("write", &self.path, &error))
    }

    /// Notes that an attempt that was stopped does not count. True when the row must say that its command has begun.
    pub(super) fn requeue(&self, id: &str) -> bool {
        let Some(number) = self.rows().find(id) else {
            return false;
        };
        let mut slots = self.slots();
        let can_expire = slots.can_expire.contains(&number);
        let taken = slots.taken.remove(&number);
        drop(slots);
        if let Some((slot, _)) = taken {
            self.clear_slot(slot);
        }
        can_expire
    }

    fn clear_slot(&self, slot: u64) {
        // Nobody else has the slot until it is free.
        match self.write(slot, &[0; SLOT]) {
            Ok(()) => self.slots().free.push(slot),
            Err(error) => tracing::error!(
                %error,
                path = %self.path.display(),
                "failed to note that an attempt was stopped: a crash may count against it"
            ),
        }
    }

    /// Notes whether a command can expire before it begins.
    pub(super) fn note_expiry(&self, number: i64, record: &CommandRecord) {
        let command = &record.command;
        if record.options.expires_at.is_some()
            && command.retry_count == 0
            && command.last_attempt_at.is_none()
        {
            self.slots().can_expire.insert(number);
        }
    }

    /// Its row was taken back.
    pub(super) fn forget_expiry(&self, number: i64) {
        self.slots().can_expire.remove(&number);
    }

    pub(super) fn can_expire(&self, number: i64) -> bool {
        self.slots().can_expire.contains(&number)
    }

    /// Frees the slots of rows whose attempts have ended, each up to that attempt. The rows say so, too, from now on, and that their
    /// commands have begun.
    pub(super) fn end(&self, ended: impl Iterator<Item = (i64, u32)>) {
        let mut slots = self.slots();
        for (number, attempt) in ended {
            if !slots.can_expire.is_empty() {
                slots.can_expire.remove(&number);
            }
            if let Some((slot, running)) = slots.taken.get(&number).copied()
                && running <= attempt
            {
                slots.taken.remove(&number);
                slots.free.push(slot);
            }
        }
    }

    /// The rows of which anything is noted here.
    pub(super) fn numbers(&self) -> Vec<i64> {
        let slots = self.slots();
        let running = slots.taken.keys().chain(&slots.can_expire);
        running.copied().collect()
    }

    fn write(&self, slot: u64, bytes: &[u8; SLOT]) -> io::Result<()> {
        let file = self.file()?;
        write_at(&file, bytes, slot * SLOT as u64)
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    // So few bytes go in one call.
    let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
    if written < bytes.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    Ok(())
}

/// The slots of a file that are set, and how many are neither set nor empty.
pub(super) fn read(file: &File) -> io::Result<(Vec<Start>, usize)> {
    let mut file = BufReader::new(file);
    let mut starts = Vec::new();
    let mut damaged = 0;
    let mut slot = [0; SLOT];
    loop {
        match file.read_exact(&mut slot) {
            Ok(()) => match Start::from_bytes(&slot) {
                Some(start) => starts.push(start),
                None => damaged += usize::from(slot != [0; SLOT]),
            },
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok((starts, damaged))
}
