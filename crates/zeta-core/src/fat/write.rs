//! New files in the root directory of a volume: all of them, or nothing is changed.

use super::name::{self, Short, long_entries, short};
use super::read::root;
use super::volume::{Volume, entry, set_entry};
use super::{ENTRY, FatError};

/// The attribute that a file of a person has.
const ARCHIVE: u8 = 0x20;
/// 1980-01-01, the first day that FAT knows.
const FIRST_DAY: u16 = 0x0021;

/// A file to write.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it contains.
    pub content: &'a [u8],
}

/// Where a file was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its short name.
    pub short: Short,
    /// The first of its places in the root directory.
    pub slot: usize,
    /// Its clusters, in order.
    pub clusters: Vec<usize>,
    /// What stands in its places.
    entries: Vec<[u8; ENTRY]>,
}

/// Adds files to a volume. The bytes begin with its boot sector.
///
/// Each copy of the allocation table is written. An existing file is never replaced.
///
/// # Errors
/// The volume or a name is refused, a name exists, or there is no room for all of them. Then
/// nothing was changed.
pub fn add(bytes: &mut [u8], files: &[File<'_>]) -> Result<Vec<Placed>, FatError> {
    let volume = Volume::read(bytes)?;
    if volume.len > bytes.len() as u64 {
        return Err(FatError::BeyondPartition);
    }
    let placed = plan(&volume, bytes, files)?;
    for (file, placed) in files.iter().zip(&placed) {
        put(&volume, bytes, file, placed);
    }
    Ok(placed)
}

/// Finds a place for each file.
fn plan(volume: &Volume, bytes: &[u8], files: &[File<'_>]) -> Result<Vec<Placed>, FatError> {
    let (entries, mut free) = root(volume, bytes);
    let mut shorts: Vec<Short> = entries.iter().map(|entry| entry.short).collect();
    let files_there = entries.iter().filter(|entry| !entry.is_label);
    let mut names: Vec<String> =
        files_there.flat_map(|entry| [entry.name.clone(), name::shown(&entry.short)]).collect();
    let end = volume.table_offset + volume.table_len;
    let table = bytes.get(volume.table_offset..end).unwrap_or_default();
    let mut clusters = (2..volume.clusters + 2).filter(|at| entry(volume.kind, table, *at) == 0);
    let mut all = Vec::new();
    for file in files {
        name::check(file.name)?;
        if names.iter().any(|name| name.eq_ignore_ascii_case(file.name)) {
            return Err(FatError::Exists(file.name.to_owned()));
        }
        let (short, is_plain) = short(file.name, &shorts)?;
        let mut entries = if is_plain { Vec::new() } else { long_entries(file.name, &short) };
        let count = entries.len() + 1;
        let slot = free.windows(count).position(|places| places.iter().all(|free| *free));
        let slot = slot.ok_or_else(|| FatError::RootFull(file.name.to_owned()))?;
        free.iter_mut().skip(slot).take(count).for_each(|free| *free = false);
        let needed = file.content.len().div_ceil(volume.cluster_len);
        let taken: Vec<usize> = clusters.by_ref().take(needed).collect();
        if taken.len() < needed || u32::try_from(file.content.len()).is_err() {
            return Err(FatError::Full(file.name.to_owned()));
        }
        entries.push(short_entry(&short, taken.first().copied(), file.content.len()));
        names.extend([file.name.to_owned(), name::shown(&short)]);
        shorts.push(short);
        all.push(Placed { short, slot, clusters: taken, entries });
    }
    Ok(all)
}

fn short_entry(short: &Short, cluster: Option<usize>, len: usize) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let (name, rest) = entry.split_at_mut(short.len());
    name.copy_from_slice(short);
    rest[0] = ARCHIVE;
    let mut set = |at: usize, value: &[u8]| entry[at..at + value.len()].copy_from_slice(value);
    // Made, read and written on that day, at midnight.
    [16, 18, 24].into_iter().for_each(|at| set(at, &FIRST_DAY.to_le_bytes()));
    // Numbers of clusters have 16 bits here, and lengths were checked.
    set(26, &(cluster.unwrap_or_default() as u16).to_le_bytes());
    set(28, &(len as u32).to_le_bytes());
    entry
}

/// Writes a file to its place. All offsets are in the volume, which the bytes contain as a whole.
fn put(volume: &Volume, bytes: &mut [u8], file: &File<'_>, placed: &Placed) {
    for (cluster, content) in placed.clusters.iter().zip(file.content.chunks(volume.cluster_len)) {
        let at = volume.cluster_offset(*cluster);
        if let Some(data) = bytes.get_mut(at..at + volume.cluster_len) {
            data.fill(0);
            data[..content.len()].copy_from_slice(content);
        }
    }
    let next = placed.clusters.iter().skip(1).map(|next| *next as u16);
    let links: Vec<(usize, u16)> =
        placed.clusters.iter().copied().zip(next.chain([volume.end_mark()])).collect();
    for copy in 0..volume.tables {
        let at = volume.table_offset + copy * volume.table_len;
        if let Some(table) = bytes.get_mut(at..at + volume.table_len) {
            links.iter().for_each(|(at, next)| set_entry(volume.kind, table, *at, *next));
        }
    }
    let at = volume.root_offset + placed.slot * ENTRY;
    let text = placed.entries.concat();
    let end = volume.root_offset + volume.root_entries * ENTRY;
    if let Some(root) = bytes.get_mut(at..end) {
        // What follows the end of the directory was not looked at, and must stay behind its end.
        let was_end = root.chunks_exact(ENTRY).take(placed.entries.len()).any(|raw| raw[0] == 0);
        root[..text.len()].copy_from_slice(&text);
        if let Some(next) = root.get_mut(text.len()).filter(|_| was_end) {
            *next = 0;
        }
    }
}
