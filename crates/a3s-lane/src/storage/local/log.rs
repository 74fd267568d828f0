//! The write-ahead log of SQLite, which ignores one whose header is damaged, with all that is in it: that would be silent.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::engine::{Outcome, failed};
use super::schema::FILE;

const HEADER: usize = 32;

/// The log of the database in this directory.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(format!("{FILE}-wal"))
}

/// Looks at the log that the process before has left.
///
/// A log that is shorter than its header, or zero, holds nothing that was acknowledged with an fsync: it is left to SQLite, as is the
/// end of a log, which a power cut may tear.
pub(super) fn check(directory: &Path) -> Outcome<()> {
    let path = path(directory);
    let mut header = [0; HEADER];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut header));
    match read {
        Ok(()) if header == [0; HEADER] || is_whole(&header) => Ok(()),
        Ok(()) => Err(format!(
            "{} is damaged: it holds changes that {FILE} does not have yet; without it the rest can be used",
            path.display()
        )),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => {
            Ok(())
        }
        Err(error) => Err(failed("read", &path, &error)),
    }
}

/// Whether the checksum of the header is right. The last bit of the first word says in which order the bytes of words are summed.
fn is_whole(header: &[u8; HEADER]) -> bool {
    let words: Vec<[u8; 4]> = header
        .chunks_exact(4)
        .filter_map(|word| word.try_into().ok())
        .collect();
    let big = |word: [u8; 4]| u32::from_be_bytes(word);
    let [magic, .., sum_0, sum_1] = words[..] else {
        return false;
    };
    if big(magic) & !1 != 0x377f_0682 {
        return false;
    }
    let in_order = |word: [u8; 4]| match big(magic) & 1 {
        0 => u32::from_le_bytes(word),
        _ => u32::from_be_bytes(word),
    };
    let (mut even, mut odd) = (0_u32, 0_u32);
    for pair in words[..6].chunks_exact(2) {
        even = even.wrapping_add(in_order(pair[0])).wrapping_add(odd);
        odd = odd.wrapping_add(in_order(pair[1])).wrapping_add(even);
    }
    (even, odd) == (big(sum_0), big(sum_1))
}
