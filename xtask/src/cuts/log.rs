//! The log of a guest's disk requests, as qemu's `blklogwrites` writes it, and the making of disks
//! that lost what was not flushed.
//!
//! The format is that of Linux's dm-log-writes: sectors of 512 bytes; after one for the whole log,
//! each request has one that says where, how much and of which kind, and then its data.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};

const SECTOR: usize = 512;
const MAGIC: u64 = 0x6a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A request.
struct Entry<'a> {
    /// The offset on the disk, in bytes.
    at: u64,
    flags: u64,
    data: &'a [u8],
}

/// Writes a disk at an offset in a file. Flushed sectors are there; each sector written since then
/// is there with even chance, whatever its request was. Returns the number of lost sectors.
pub fn lose_unflushed(
    log: &[u8],
    to: &Path,
    place: u64,
    mut chance: impl FnMut() -> bool,
) -> Result<usize> {
    let entries = read(log)?;
    let is_flush = |entry: &Entry<'_>| entry.flags & FLUSH != 0;
    let flushed = entries.iter().rposition(is_flush).map_or(0, |last| last + 1);
    let mut disk = File::options().write(true).open(to)?;
    let mut lost = 0;
    for (index, entry) in entries.iter().enumerate() {
        // A request with the flag for it is on the disk before it is answered.
        let safe = index < flushed || entry.flags & FUA != 0;
        for (number, sector) in entry.data.chunks(SECTOR).enumerate() {
            if safe || chance() {
                disk.seek(SeekFrom::Start(place + entry.at + (number * SECTOR) as u64))?;
                disk.write_all(sector)?;
            } else {
                lost += 1;
            }
        }
    }
    Ok(lost)
}

/// Reads the requests that were logged completely.
fn read(log: &[u8]) -> Result<Vec<Entry<'_>>> {
    let word = |at: usize| {
        let bytes = log.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    ensure!(word(0) == Some(MAGIC), "qemu wrote no log of the disk");
    let mut entries = Vec::new();
    let mut at = SECTOR;
    while let (Some(sector), Some(count), Some(flags)) = (word(at), word(at + 8), word(at + 16)) {
        if count == 0 && flags == 0 {
            break;
        }
        let (sector, count) = (usize::try_from(sector)?, usize::try_from(count)?);
        let len = if flags & DISCARD == 0 { count * SECTOR } else { 0 };
        at += SECTOR;
        let Some(data) = log.get(at..at + len) else { break };
        at += len;
        let at = u64::try_from(sector * SECTOR).context("beyond every disk")?;
        entries.push(Entry { at, flags, data });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sector: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [sector, (data.len() / SECTOR) as u64, flags, data.len() as u64] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(SECTOR, 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn only_what_was_not_flushed_can_be_lost() {
        let mut log = MAGIC.to_le_bytes().to_vec();
        log.resize(SECTOR, 0);
        log.extend(entry(0, 0, &[1; SECTOR]));
        log.extend(entry(0, FLUSH, &[]));
        log.extend(entry(0, 0, &[2; 2 * SECTOR]));
        log.extend(entry(3, FUA, &[3; SECTOR]));
        let torn = entry(2, 0, &[9; SECTOR]);
        log.extend(&torn[..SECTOR + 7]);
        let path = std::env::temp_dir().join(format!("xtask-log-{}", std::process::id()));
        let disk = |kept: bool| {
            std::fs::write(&path, [0; 4 * SECTOR]).unwrap();
            let lost = lose_unflushed(&log, &path, 0, || kept).unwrap();
            let disk = std::fs::read(&path).unwrap();
            (lost, [0, 1, 2, 3].map(|sector| disk[sector * SECTOR]))
        };
        assert_eq!(disk(false), (2, [1, 0, 0, 3]));
        assert_eq!(disk(true), (0, [2, 2, 0, 3]));
        std::fs::remove_file(path).unwrap();
    }
}
