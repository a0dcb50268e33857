//! The files of one owner, written by a process that is this owner: first all of them under random
//! names, then all renames.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, RenameFlags, fstat, fsync, renameat, renameat_with, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use zeta_core::creds::login::{Choice, decide_restore};
use zeta_core::creds::manifest::Manifest;

use super::{File, Finding, Outcome};
use crate::file_writer::existing::{Content, Existing, Replaced, content, look};
use crate::file_writer::path::{Made, Place, Trust, WalkError, finding, walk};
use crate::verbs::guard::backup::prefix as guard_prefix;
use zeta_os::error::Result;
use zeta_os::temp_file;
use zeta_os::temp_file::TempFile;

const PREFIX: &str = ".zeta-plant-";

/// The work for one owner, without the contents of the files, which follow separately.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The directory that `/` means.
    pub root: String,
    /// The home, below the root; `None` for the system's own files.
    pub home: Option<String>,
    /// True to replace files that differ.
    pub overwrite: bool,
    /// True to replace a login by an older one, too.
    pub accept_older: bool,
    /// True to change nothing.
    pub dry_run: bool,
    /// The files.
    pub files: Vec<FileHead>,
}

/// A file without its content.
#[derive(Debug, Serialize, Deserialize)]
pub struct FileHead {
    /// The path of the file.
    pub target: String,
    /// Permission bits.
    pub mode: u32,
    /// Bytes of the content.
    pub len: usize,
    /// The id of a built-in login.
    pub login: Option<String>,
}

impl FileHead {
    /// Takes it from a file.
    pub fn of(file: &File) -> FileHead {
        let (target, login) = (file.target.clone(), file.login.clone());
        FileHead { target, mode: file.mode, len: file.bytes.len(), login }
    }
}

/// Files that wait for their names.
#[derive(Debug)]
pub struct Staged {
    steps: Vec<Step>,
    /// The directories that are used, and those that were made for it, outermost first.
    places: Vec<Place>,
    made: Vec<Made>,
    root: String,
    home: Option<String>,
}

#[derive(Debug)]
enum Step {
    Settled(Outcome),
    Pending {
        place: usize,
        dir: String,
        name: String,
        temp: TempFile,
        /// What is replaced.
        replaces: Option<Replaced>,
        /// The result of a commit.
        came: Outcome,
    },
}

/// The first phase.
pub fn prepare(work: &Job, bytes: &[&[u8]]) -> Result<Staged> {
    let (root, home) = (work.root.clone(), work.home.clone());
    let mut ready = Staged { steps: Vec::new(), places: Vec::new(), made: Vec::new(), root, home };
    for (head, bytes) in work.files.iter().zip(bytes) {
        let step = match ready.prepare_one(work, head, bytes) {
            Ok(step) => step,
            Err(WalkError::Finding(finding)) => Step::Settled(Outcome::Refused(finding)),
            // Only a dry run makes no directories, and then there is no such file either.
            Err(WalkError::Missing) => Step::Settled(Outcome::Written),
            Err(WalkError::Fault(error)) => return Err(error),
        };
        ready.steps.push(step);
    }
    Ok(ready)
}

impl Staged {
    /// The result for each file if it is committed now.
    pub fn outcomes(&self) -> Vec<Outcome> {
        let outcome = |step: &Step| match step {
            Step::Settled(outcome) => outcome.clone(),
            Step::Pending { came, .. } => came.clone(),
        };
        self.steps.iter().map(outcome).collect()
    }

    fn prepare_one(
        &mut self,
        work: &Job,
        head: &FileHead,
        bytes: &[u8],
    ) -> std::result::Result<Step, WalkError> {
        let (dir, name) = head.target.rsplit_once('/').unwrap_or(("", &head.target));
        let mut made = Vec::new();
        let reached =
            reach(&self.root, self.home.as_deref(), dir, (!work.dry_run).then_some(&mut made));
        self.made.append(&mut made);
        let place = reached?;
        let seen = look(&place, name, bytes, head.mode)?;
        let (came, replaces) = match seen {
            Existing::Same => return Ok(Step::Settled(Outcome::AlreadyPresent)),
            Existing::Different => replace(work, head, bytes, content(&place, name)),
            Existing::Nothing => (Outcome::Written, None),
        };
        let keeps = matches!(came, Outcome::KeptDiffering | Outcome::KeptNewer(_));
        if keeps || work.dry_run {
            return Ok(Step::Settled(came));
        }
        if head.login.as_deref().is_some_and(|id| is_refreshed_now(&place, id)) {
            let text = format!("{}/{name}: a guard refreshes this login now", place.path);
            return Err(finding(text, "restore again when it has ended: zeta lease list shows it"));
        }
        temp_file::sweep(place.fd.as_fd(), PREFIX, Path::new(&place.path));
        let mode = Mode::from_raw_mode(head.mode);
        let temp = temp_file::make(&place.fd, PREFIX, bytes, mode)
            .map_err(|errno| place.stop("cannot write", name, errno))?;
        self.places.push(place);
        Ok(Step::Pending {
            place: self.places.len() - 1,
            dir: dir.to_owned(),
            name: name.to_owned(),
            temp,
            replaces,
            came,
        })
    }

    /// The second phase: all renames, then all directories are flushed.
    pub fn commit(mut self) -> Vec<Outcome> {
        let steps = std::mem::take(&mut self.steps);
        let mut outcomes = Vec::new();
        for step in steps {
            outcomes.push(match step {
                Step::Settled(outcome) => outcome,
                Step::Pending { place, dir, name, temp, replaces, came } => {
                    let done = self.publish(place, &name, &temp, replaces.as_ref());
                    done.and_then(|()| self.still_there(place, &dir, &name))
                        .map_or_else(Outcome::Refused, |()| came)
                }
            });
        }
        for (parent, _) in self.made.drain(..) {
            let _ = fsync(&parent);
        }
        outcomes
    }

    fn publish(
        &self,
        place: usize,
        name: &str,
        temp: &TempFile,
        replaces: Option<&Replaced>,
    ) -> std::result::Result<(), Finding> {
        let Some(place) = self.places.get(place) else { return Ok(()) };
        let (dir, from) = (&place.fd, temp.name.as_str());
        let renamed = if let Some(replaced) = replaces {
            // A login that its tool has refreshed since it was looked at must not be lost.
            match replaced.is_still(place, name) {
                true => renameat(dir, from, dir, name),
                false => Err(Errno::EXIST),
            }
        } else {
            match renameat_with(dir, from, dir, name, RenameFlags::NOREPLACE) {
                // A file system that does not know the flag.
                Err(Errno::INVAL) => renameat(dir, from, dir, name),
                done => done,
            }
        };
        let done = renamed.and_then(|()| fsync(dir));
        done.map_err(|errno| {
            let _ = unlinkat(dir, from, AtFlags::empty());
            let said = std::io::Error::from_raw_os_error(errno.raw_os_error());
            let text = match errno {
                Errno::EXIST => format!("{}/{name}: another process made it meanwhile", place.path),
                _ => format!("cannot rename to {}/{name}: {said}", place.path),
            };
            Finding {
                text,
                hint: "repeat: what is written already is not written again".to_owned(),
            }
        })
    }

    /// Checks that the directory was not moved, with the file, while its descriptor was in use.
    fn still_there(&self, place: usize, dir: &str, name: &str) -> std::result::Result<(), Finding> {
        let identity = |place: &Place| fstat(&place.fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        let Some(used) = self.places.get(place) else { return Ok(()) };
        match reach(&self.root, self.home.as_deref(), dir, None) {
            Ok(now) if identity(&now) == identity(used) => Ok(()),
            _ => Err(Finding {
                text: format!(
                    "{}/{name}: its directory was moved away while the file was written, and the \
                     file went with it",
                    used.path
                ),
                hint: "look who moves it, and repeat".to_owned(),
            }),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for step in &self.steps {
            if let Step::Pending { place, temp, .. } = step
                && let Some(place) = self.places.get(*place)
            {
                let _ = unlinkat(&place.fd, temp.name.as_str(), AtFlags::empty());
            }
        }
        // Only an empty directory is removed, so no file of another process is lost.
        for (parent, name) in self.made.iter().rev() {
            let _ = unlinkat(parent, name.as_str(), AtFlags::REMOVEDIR);
        }
    }
}

/// What is done where another file is: its result, and what is replaced. Of two logins the newer
/// one stays.
fn replace(
    work: &Job,
    head: &FileHead,
    bytes: &[u8],
    there: Option<Content>,
) -> (Outcome, Option<Replaced>) {
    let (there, stamp) = match there {
        Some(content) => (Some(content.bytes), content.stamp),
        None => (None, Replaced::Any),
    };
    let manifest = Manifest::default();
    let entry = head.login.as_deref().and_then(|id| manifest.get(id));
    let choice = match (entry, there) {
        (Some(entry), Some(there)) => decide_restore(entry, bytes, &there),
        _ => Choice::Unknown,
    };
    match choice {
        Choice::Newer(compared) => (Outcome::ReplacedOlder(compared), Some(stamp)),
        Choice::Broken => (Outcome::ReplacedBroken, Some(stamp)),
        Choice::Older(compared) if !(work.overwrite && work.accept_older) => {
            (Outcome::KeptNewer(compared), None)
        }
        Choice::Older(_) | Choice::Unknown if work.overwrite => {
            (Outcome::Written, Some(Replaced::Any))
        }
        Choice::Older(_) | Choice::Unknown => (Outcome::KeptDiffering, None),
    }
}

/// Returns whether a guard lives whose command may write to the login: its copy lies beside it.
fn is_refreshed_now(place: &Place, id: &str) -> bool {
    temp_file::is_in_use(place.fd.as_fd(), &guard_prefix(id), Path::new(&place.path))
}

/// Walks to the directory `dir`, below the home or, for the system, below the root.
fn reach(
    root: &str,
    home: Option<&str>,
    dir: &str,
    mut made: Option<&mut Vec<Made>>,
) -> std::result::Result<Place, WalkError> {
    let parts = |path: &'_ str| -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (root, above) = (parts(root), parts(home.unwrap_or_default()));
    let last = if home.is_some() { Trust::Own } else { Trust::Above };
    let mut at = walk(&root, &above, last)?;
    let trust = if home.is_some() { Trust::Own } else { Trust::Above };
    for part in parts(dir) {
        at = at.step(&part, trust, made.as_deref_mut())?;
    }
    Ok(at)
}
