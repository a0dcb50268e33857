//! The root directory of a volume, and the contents of a file there.

use super::name::{LONG, Short, part_of, shown};
use super::volume::{Volume, entry};
use super::{ENTRY, FatError, u16_at, u32_at};

/// The first byte of an entry that was deleted.
const DELETED: u8 = 0xe5;
/// The attribute of the name of the volume.
const LABEL: u8 = 0x08;
/// The attribute of a directory.
const DIRECTORY: u8 = 0x10;

/// An entry of the root directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its short name.
    pub short: Short,
    /// Its name: the long one, if it has one.
    pub name: String,
    /// It is the name of the volume, and no file.
    pub is_label: bool,
    /// It is a directory.
    pub is_directory: bool,
    /// Its first cluster; 0 if it has none.
    pub cluster: usize,
    /// Its length, in bytes.
    pub len: usize,
}

/// The entries of the root directory, and which of its places are free.
pub(super) fn root(volume: &Volume, bytes: &[u8]) -> (Vec<Entry>, Vec<bool>) {
    let end = volume.root_offset + volume.root_entries * ENTRY;
    let root = bytes.get(volume.root_offset..end).unwrap_or_default();
    let (mut entries, mut free) = (Vec::new(), Vec::new());
    let (mut long, mut is_over): (Vec<u16>, bool) = (Vec::new(), false);
    for raw in root.chunks_exact(ENTRY) {
        let (first, attributes) = (raw[0], raw[11]);
        is_over = is_over || first == 0;
        free.push(is_over || first == DELETED);
        match attributes {
            _ if is_over || first == DELETED => long.clear(),
            // The last part of a name stands first.
            LONG => long = [part_of(raw), std::mem::take(&mut long)].concat(),
            _ => {
                let mut short = [0; 11];
                short.copy_from_slice(&raw[..11]);
                let name = match std::mem::take(&mut long) {
                    none if none.is_empty() => shown(&short),
                    long => String::from_utf16_lossy(&long),
                };
                entries.push(Entry {
                    short,
                    name,
                    is_label: attributes & LABEL != 0,
                    is_directory: attributes & DIRECTORY != 0,
                    cluster: usize::from(u16_at(raw, 26)),
                    len: u32_at(raw, 28) as usize,
                });
            }
        }
    }
    (entries, free)
}

/// The files and directories in the root directory.
///
/// # Errors
/// It is no volume that can be read.
pub fn list(bytes: &[u8]) -> Result<Vec<Entry>, FatError> {
    let (mut entries, _) = root(&Volume::read(bytes)?, bytes);
    entries.retain(|entry| !entry.is_label);
    Ok(entries)
}

/// Reads a file of the root directory through one copy of the allocation table (0 is the first);
/// `None` if there is none of that name.
///
/// # Errors
/// Its clusters do not lead to its end.
pub fn file(bytes: &[u8], name: &str, copy: usize) -> Result<Option<Vec<u8>>, FatError> {
    let volume = Volume::read(bytes)?;
    let (entries, _) = root(&volume, bytes);
    let mut files = entries.into_iter().filter(|entry| !entry.is_label && !entry.is_directory);
    let Some(found) = files.find(|entry| entry.name.eq_ignore_ascii_case(name)) else {
        return Ok(None);
    };
    let broken = || FatError::BrokenChain(name.to_owned());
    let begin = volume.table_offset + copy * volume.table_len;
    let table = bytes.get(begin..begin + volume.table_len).ok_or_else(broken)?;
    let (mut content, mut cluster) = (Vec::new(), found.cluster);
    // A chain cannot be longer than the volume.
    for _ in 0..found.len.div_ceil(volume.cluster_len) {
        let at = volume.cluster_offset(cluster);
        let data = bytes.get(at..at + volume.cluster_len).filter(|_| volume.has(cluster));
        content.extend_from_slice(data.ok_or_else(broken)?);
        cluster = usize::from(entry(volume.kind, table, cluster));
    }
    let is_over = found.len == 0 || cluster >= usize::from(volume.end_mark() & 0xfff8);
    content.truncate(found.len);
    if is_over { Ok(Some(content)) } else { Err(broken()) }
}
