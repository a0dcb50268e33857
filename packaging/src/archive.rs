//! Archives whose bytes depend on what is in them alone: no clock, no owner, no order of a disk.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// A file of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The path, without a slash in front.
    pub path: String,
    /// The bits of its mode.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Entry {
    /// Makes a file that everybody may read.
    pub fn text(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Entry {
        Entry { path: path.into(), mode: 0o644, content: content.into() }
    }

    /// Makes a file that everybody may run.
    pub fn program(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Entry {
        Entry { mode: 0o755, ..Entry::text(path, content) }
    }
}

/// Compresses some bytes.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    Ok(gzip.finish()?)
}

/// How to pack a tar file.
pub struct Tar {
    /// What stands in front of each path.
    pub prefix: &'static str,
    /// Whether the directories that files are in are members, too.
    pub directories: bool,
    /// The time of each member.
    pub time: u64,
    /// How hard it is compressed, up to 9.
    pub level: u32,
}

/// Packs files of root into a compressed tar file.
pub fn tar_gz(entries: &[Entry], how: &Tar) -> Result<Vec<u8>> {
    let Tar { prefix, time, .. } = *how;
    let gzip = GzEncoder::new(Vec::new(), Compression::new(how.level));
    let mut tar = Builder::new(gzip);
    if how.directories {
        let parents = |entry: &Entry| {
            let path = entry.path.clone();
            path.match_indices('/').map(|(at, _)| path[..=at].to_owned()).collect::<Vec<_>>()
        };
        let parents: BTreeSet<String> = entries.iter().flat_map(parents).collect();
        for path in std::iter::once(String::new()).chain(parents) {
            let header = header(&format!("{prefix}{path}"), EntryType::Directory, 0o755, 0, time)?;
            tar.append(&header, std::io::empty())?;
        }
    }
    for entry in entries {
        let (path, size) = (format!("{prefix}{}", entry.path), entry.content.len());
        let header = header(&path, EntryType::Regular, entry.mode, size, time)?;
        tar.append(&header, entry.content.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// Makes the header of a tar file's member. The library's own way to name it would drop a `./` in
/// front, which all packages of Debian have.
fn header(path: &str, kind: EntryType, mode: u32, size: usize, time: u64) -> Result<Header> {
    let mut header = Header::new_ustar();
    let name = &mut header.as_old_mut().name;
    ensure!(path.len() < name.len(), "{path} is too long for a tar file");
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_mtime(time);
    header.set_uid(0);
    header.set_gid(0);
    header.set_username("root").and_then(|()| header.set_groupname("root"))?;
    header.set_cksum();
    Ok(header)
}

/// Packs files into a zip file, all of the first day that it can hold, compressed up to 9.
pub fn zip(entries: &[Entry], level: u32) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for entry in entries {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(i64::from(level)))
            .last_modified_time(DateTime::default())
            .unix_permissions(entry.mode);
        let begun = zip.start_file(entry.path.as_str(), options);
        begun.with_context(|| format!("cannot pack {}", entry.path))?;
        zip.write_all(&entry.content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Packs members into an archive of ar(1), the outermost one of a Debian package.
pub fn ar(members: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut ar = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let (size, mode) = (content.len(), "100644");
        let head = format!("{name:<16}{time:<12}{:<6}{:<6}{mode:<8}{size:<10}`\n", 0, 0);
        ar.extend_from_slice(head.as_bytes());
        ar.extend_from_slice(content);
        if size % 2 == 1 {
            ar.push(b'\n');
        }
    }
    ar
}
