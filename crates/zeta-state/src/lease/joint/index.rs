//! The index of the claims on paths of one space: a file in the guard that shows which grants to
//! read for a question. It is derived from the grants; one that does not count is made anew.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, OFlags, Stat, fchmod, fstat, openat, unlinkat};
use rustix::io::{Errno, pwrite};
use zeta_core::bus::grant::is_handed_over;
use zeta_core::layout;
use zeta_core::lease::{Observed, Record};
use zeta_core::name::RecordName;
use zeta_core::pattern::PathClaim;
use zeta_core::pattern::index::{HEAD_LEN, Head, Index, Owner, Pending, gone, lines_of};
use zeta_core::time::Host;

use super::Grants;
use crate::directory::guard::Section;
use crate::directory::tree::{Node, check_file, not_a_record, read};
use crate::directory::trusted_dir::{TrustedDir, open_inner};
use crate::lease::read_only;
use zeta_os::error::{Error, Result};
use zeta_os::host;
use zeta_os::open_beneath::open_below;

/// The name of the file.
const INDEX: &str = "index";
/// Most bytes that are read of one.
const READ_MAX: usize = 16 * 1024 * 1024;
/// An index that grew beyond this by claims that are gone is made anew.
const GROWN: u64 = 4 * 1024 * 1024;
/// How often a reader without the guard looks again at an index that is being written.
const LOOKS: usize = 3;

/// A search in the guard takes no more steps than this (see [`Index::excluded_within`]), because
/// all other claims of the space wait for it: about half a second for patterns that were made for
/// that, and a few milliseconds for others.
const STEPS_MAX: u64 = 50_000_000;

/// Returns the files of the grants that `claim` may exclude. An index that does not count is made
/// anew.
///
/// # Errors
/// [`zeta_os::error::Kind::Usage`] if the search would take too long.
pub fn excluded_by(
    section: &Section<'_>,
    grants: &Grants,
    lease: &RecordName,
    host: &Host,
    claim: &PathClaim,
) -> Result<Vec<String>> {
    let path = || section.path().join(INDEX);
    let found = read(section.as_fd(), INDEX, READ_MAX, section.base(), path);
    let owner = grants.owner(host)?;
    if let Ok(Some(text)) = &found
        && let Some(index) = Index::read(&text.bytes, &owner)
        && index.head.pending == Pending::Nothing
        && index.head.end() < GROWN
    {
        return excluded_in(&index, claim);
    }
    let (mut head, lines) = lines_anew(section, grants, lease)?;
    head.append(&lines);
    // One that is not a file of its own is not touched. If this one cannot be written, the next
    // question makes it anew.
    if found.is_ok() {
        let _ = write_anew(section, &head, &lines, &owner);
    }
    let text = head.render(&owner) + &lines;
    let index = Index::read(text.as_bytes(), &owner);
    index.map_or_else(|| grants.files(), |index| excluded_in(&index, claim))
}

fn excluded_in(index: &Index<'_>, claim: &PathClaim) -> Result<Vec<String>> {
    let found = index.excluded_within(claim, STEPS_MAX).ok_or_else(|| {
        Error::usage(
            "to compare these paths with all claims of the repository takes too long: other \
             claims would wait for it",
        )
        .hint("claim fewer patterns at once, or such with fewer wildcards")
    })?;
    Ok(files_of(&found))
}

/// Returns the files of the grants that the index names for a question, without the guard; all of
/// them if it does not count. Nothing is mended.
pub fn named_outside(
    base: &TrustedDir,
    node: &Node,
    grants: &Grants,
    lease: &RecordName,
    host: &Host,
    ask: impl for<'i> Fn(&Index<'i>) -> Vec<&'i str>,
) -> Result<Vec<String>> {
    let guard = format!("{}/{}", layout::GUARDS, layout::lease_file(lease));
    let path = || node.path.join(&guard);
    if let Some((guard, _)) = open_inner(node.as_fd(), &guard, base, path)? {
        for _ in 0..LOOKS {
            let before = grants.owner(host)?;
            let text = read(guard.as_fd(), INDEX, READ_MAX, base, || path().join(INDEX));
            let Ok(Some(text)) = text else { break };
            let Some(index) = Index::read(&text.bytes, &before) else { continue };
            let mut files = files_of(&ask(&index));
            if let Pending::Grant(id) = &index.head.pending {
                files.extend(Some(file_of(id)).filter(|file| !files.contains(file)));
            }
            return Ok(files);
        }
    }
    grants.files()
}

fn file_of(id: &str) -> String {
    format!("{id}.lock")
}

fn files_of(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| file_of(id)).collect()
}

/// The lines of all grants, and the first line before they are counted.
fn lines_anew(
    section: &Section<'_>,
    grants: &Grants,
    lease: &RecordName,
) -> Result<(Head, String)> {
    let mut lines = String::new();
    for file in grants.files()? {
        let bytes = grants.read(section.base(), &file)?;
        lines += &lines_for(&file, &read_only(bytes, lease));
    }
    Ok((Head::anew(host::random()? as u64), lines))
}

fn write_anew(section: &Section<'_>, head: &Head, lines: &str, owner: &Owner) -> Result<()> {
    remove(section);
    let opened = IndexFile::create(section)?;
    opened.write(HEAD_LEN as u64, lines)?;
    opened.write(0, &head.render(owner))
}

fn id_of(file: &str) -> &str {
    file.strip_suffix(".lock").unwrap_or(file)
}

/// The lines of a grant. One that cannot be read covers every path.
fn lines_for(file: &str, observed: &Observed) -> String {
    match observed {
        Observed::Ours(record, ..) => lines_of_record(file, record),
        _ => lines_of(id_of(file), &PathClaim::of(&[]), false),
    }
}

/// The lines of a grant with this record.
pub fn lines_of_record(file: &str, record: &Record) -> String {
    lines_of(id_of(file), &PathClaim::of(&record.extra), is_handed_over(&record.extra))
}

/// The line of a grant that is gone.
pub fn gone_line(file: &str) -> String {
    gone(id_of(file))
}

/// Makes sure that no stale index counts.
fn remove(section: &Section<'_>) {
    let _ = unlinkat(section, INDEX, AtFlags::empty());
}

/// A change of one grant that the index takes part in.
pub struct Change<'s, 'a> {
    section: &'s Section<'a>,
    grants: &'s Grants,
    host: &'s Host,
    opened: Option<(IndexFile, Head)>,
}

impl<'s, 'a> Change<'s, 'a> {
    /// Writes down which grant is about to change. An index that does not count, or cannot be
    /// written, is removed: it is no reason against the change.
    pub fn begin(
        section: &'s Section<'a>,
        grants: &'s Grants,
        host: &'s Host,
        file: &str,
    ) -> Change<'s, 'a> {
        // As for a question, one that is not a file of its own does not count, and is not touched.
        let opened = IndexFile::open(section).ok().flatten().and_then(|index| {
            let begun = begin_in(&index, grants, host, file).ok().flatten();
            if begun.is_none() {
                remove(section);
            }
            Some((index, begun?))
        });
        Change { section, grants, host, opened }
    }

    /// The grant has changed; `lines` are those that say how.
    pub fn end(self, lines: impl FnOnce() -> String) {
        let Change { section, grants, host, opened } = self;
        let Some((index, mut head)) = opened else { return };
        let lines = lines();
        let written = grants.owner(host).and_then(|owner| {
            index.write(head.end(), &lines)?;
            head.append(&lines);
            head.pending = Pending::Nothing;
            index.write(0, &head.render(&owner))
        });
        if written.is_err() {
            remove(section);
        }
    }
}

/// Writes the change into the first line; `None` if the index does not count.
fn begin_in(index: &IndexFile, grants: &Grants, host: &Host, file: &str) -> Result<Option<Head>> {
    let owner = grants.owner(host)?;
    let counts = |head: &Head| head.pending == Pending::Nothing && head.end() < GROWN;
    let Some(mut head) = index.head(&owner)?.filter(counts) else { return Ok(None) };
    head.pending = Pending::Grant(id_of(file).to_owned());
    index.write(0, &head.render(&owner))?;
    Ok(Some(head))
}

struct IndexFile {
    fd: OwnedFd,
    path: std::path::PathBuf,
}

impl IndexFile {
    fn open(section: &Section<'_>) -> Result<Option<IndexFile>> {
        let path = section.path().join(INDEX);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match open_below(section.as_fd(), INDEX, flags) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|errno| Error::open("cannot open", &path, errno))?,
        };
        let stat = fstat(&fd).map_err(|errno| Error::io("cannot read", &path, errno))?;
        check_file(&stat, section.base()).map_err(|reason| not_a_record(&path, &reason))?;
        Ok(Some(IndexFile { fd, path }))
    }

    fn create(section: &Section<'_>) -> Result<IndexFile> {
        let path = section.path().join(INDEX);
        let mode = section.base().sharing.file_mode();
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let cannot = |errno| Error::io("cannot write", &path, errno);
        let fd = openat(section, INDEX, flags | OFlags::CLOEXEC, mode).map_err(cannot)?;
        if mode.as_raw_mode() & 0o077 != 0 {
            fchmod(&fd, mode).map_err(cannot)?;
        }
        Ok(IndexFile { fd, path })
    }

    fn head(&self, owner: &Owner) -> Result<Option<Head>> {
        let mut line = [0u8; HEAD_LEN];
        let len = rustix::io::pread(&self.fd, &mut line, 0)
            .map_err(|errno| Error::io("cannot read", &self.path, errno))?;
        let line = std::str::from_utf8(line.get(..len).unwrap_or_default()).unwrap_or_default();
        Ok(Head::read(line, owner))
    }

    fn write(&self, mut at: u64, text: &str) -> Result<()> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match pwrite(&self.fd, rest, at) {
                Ok(0) => return Err(Error::io("cannot write", &self.path, Errno::NOSPC)),
                Ok(len) => {
                    at += len as u64;
                    rest = rest.get(len..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io("cannot write", &self.path, errno)),
            }
        }
        Ok(())
    }
}

impl Grants {
    /// What an index of these grants belongs to now.
    fn owner(&self, host: &Host) -> Result<Owner> {
        let stat: Stat =
            fstat(self.fd()).map_err(|errno| Error::io("cannot read", self.path(), errno))?;
        let ctime_ns = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
        Ok(Owner {
            directory: (stat.st_dev, stat.st_ino),
            ctime_ns: stat.st_ctime.saturating_mul(1_000_000_000).saturating_add(ctime_ns),
            boot_id: host.boot_id.clone(),
        })
    }
}
