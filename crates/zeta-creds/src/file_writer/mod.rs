//! Putting files with secrets into homes and system directories, as root, without being fooled.
//!
//! A process that writes into a home as root follows the links that the owner of the home put
//! there. So for a home a child becomes that user first and writes with the rights of that user
//! alone: a link can then only hurt the user who made it. Every step goes from one open directory
//! to the next, and no link is followed. All files are written under random names and flushed
//! before the first of them gets its own name: a fault before that leaves nothing behind, and a
//! repetition finds what is there already.
//!
//! Existing directories are never given another owner or mode; missing ones get 0700 in a home, and
//! 0755 elsewhere.

mod existing;
mod path;
mod staged;
mod worker;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;
use zeta_core::creds::login::Compared;

use self::staged::{Job, Staged};
use self::worker::Child;
pub use self::worker::child_main;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::users::Account;

/// No file is longer, in bytes.
pub const FILE_MAX: usize = 1024 * 1024;
/// Most files for one owner at once.
pub const FILES_MAX: usize = 256;

/// The files of one owner.
#[derive(Debug)]
pub struct FileSet {
    /// Their owner.
    pub owner: Owner,
    /// The files.
    pub files: Vec<File>,
}

/// The owner of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The machine: targets are absolute paths, written by this process itself.
    System,
    /// A user: targets are relative to the home, written by a child that became this user.
    User(Account),
}

/// One file to be there.
pub struct File {
    /// The path, without `.` and `..`: absolute for the system, relative to the home for a user.
    pub target: String,
    /// Its content.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its permission bits; only the owner may be allowed to write.
    pub mode: u32,
    /// The id of a built-in login: the newer one of this and of the file that is there stays.
    pub login: Option<String>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({} {:04o})", self.target, self.mode)
    }
}

/// The options of a call.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that `/` means for all targets and homes.
    pub root: PathBuf,
    /// Replace files that differ, but no login by an older one.
    pub overwrite: bool,
    /// With `overwrite`: replace a login by an older one, too.
    pub accept_older: bool,
    /// Only look, and say what would come of it.
    pub dry_run: bool,
    /// The command that starts the child that becomes another user.
    pub hand: WorkerCommand,
}

/// The program that runs [`child_main`] on its standard input and output. No secret stands in its
/// arguments or in its environment, which is empty.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// Its path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Options {
        let hand = WorkerCommand {
            program: PathBuf::from("/proc/self/exe"),
            args: ["creds", "plant-as"].map(OsString::from).to_vec(),
        };
        Options {
            root: PathBuf::from("/"),
            overwrite: false,
            accept_older: false,
            dry_run: false,
            hand,
        }
    }
}

/// The result for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The file is there now; in a dry run or before the commit: it would be.
    Written,
    /// The file is there now, in place of an older login.
    ReplacedOlder(Compared),
    /// The file is there now, in place of one that no tool could read.
    ReplacedBroken,
    /// A newer login is there and was kept; the times are those of the given one, and of that one.
    KeptNewer(Compared),
    /// The file was there with these bytes and this mode.
    AlreadyPresent,
    /// Another content or mode is there and was kept; with `overwrite` it is replaced.
    KeptDiffering,
    /// Something is wrong at its place, and nothing was changed there.
    Refused(Finding),
}

/// A fault at the place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The thing and the reason.
    pub text: String,
    /// The next step.
    pub hint: String,
}

/// Files that are written and flushed, and have no name yet. Dropping it takes them away again.
#[derive(Debug)]
pub struct Prepared {
    parts: Vec<Batch>,
}

/// Writes all files of all owners; the outcomes are in the order of what was asked for.
///
/// # Errors
/// A fault before any file got its name, such as a full disk: nothing was changed.
pub fn plant(orders: &[FileSet], options: &Options) -> Result<Vec<Vec<Outcome>>> {
    Ok(prepare(orders, options)?.commit())
}

/// The first phase of [`plant`].
///
/// # Errors
/// The same as those of [`plant`].
pub fn prepare(orders: &[FileSet], options: &Options) -> Result<Prepared> {
    for order in orders {
        check(order)?;
    }
    let mut prepared = Prepared { parts: Vec::new() };
    for order in orders {
        prepared.parts.push(prepare_one(order, options)?);
    }
    Ok(prepared)
}

impl Prepared {
    /// The results that a commit would have now.
    pub fn outcomes(&self) -> Vec<Vec<Outcome>> {
        self.parts.iter().map(Batch::outcomes).collect()
    }

    /// The second phase: gives all files their names.
    pub fn commit(self) -> Vec<Vec<Outcome>> {
        self.parts.into_iter().map(Batch::commit).collect()
    }
}

/// The files of one owner between the phases.
#[derive(Debug)]
enum Batch {
    /// Nothing is to be done.
    Settled(Vec<Outcome>),
    /// Prepared by this process.
    Here(Staged),
    /// Prepared by a child.
    There(Child),
}

impl Batch {
    /// The result for each file if it is committed now.
    fn outcomes(&self) -> Vec<Outcome> {
        match self {
            Batch::Settled(outcomes) => outcomes.clone(),
            Batch::Here(ready) => ready.outcomes(),
            Batch::There(child) => child.outcomes(),
        }
    }

    /// The second phase.
    fn commit(self) -> Vec<Outcome> {
        match self {
            Batch::Settled(outcomes) => outcomes,
            Batch::Here(ready) => ready.commit(),
            Batch::There(child) => child.commit(),
        }
    }
}

fn prepare_one(order: &FileSet, options: &Options) -> Result<Batch> {
    let me = geteuid().as_raw();
    let work = Job {
        root: text_of(&options.root)?,
        home: match &order.owner {
            Owner::System => None,
            Owner::User(account) => Some(account.home.clone()),
        },
        overwrite: options.overwrite,
        accept_older: options.accept_older,
        dry_run: options.dry_run,
        files: order.files.iter().map(staged::FileHead::of).collect(),
    };
    let bytes: Vec<&[u8]> = order.files.iter().map(|file| file.bytes.as_slice()).collect();
    match &order.owner {
        Owner::System if me != 0 && options.root == Path::new("/") => {
            let finding = Finding {
                text: "only root may write it".to_owned(),
                hint: "run it as root, or give a --target-root of your own".to_owned(),
            };
            Ok(Batch::Settled(vec![Outcome::Refused(finding); order.files.len()]))
        }
        Owner::User(account) if account.uid != me && me == 0 => {
            Ok(Batch::There(Child::start(&options.hand, account, &work, &bytes)?))
        }
        Owner::User(account) if account.uid != me => Err(Error::new(
            Kind::Refused,
            format!("only root may write files for user {} ({})", account.name, account.uid),
        )
        .hint("run it as root, or as that user for his own files")),
        Owner::System | Owner::User(_) => Ok(Batch::Here(staged::prepare(&work, &bytes)?)),
    }
}

/// Checks what is asked for, before the disk is looked at.
fn check(order: &FileSet) -> Result<()> {
    let wrong = |what: String| Err(Error::usage(what));
    if order.files.len() > FILES_MAX {
        return wrong(format!("more than {FILES_MAX} files for one owner"));
    }
    let absolute = order.owner == Owner::System;
    let mut seen = BTreeSet::new();
    for File { target, bytes, mode, .. } in &order.files {
        let inside = if absolute { target.strip_prefix('/') } else { Some(target.as_str()) };
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !inside.is_some_and(|inside| inside.split('/').all(plain)) {
            let kind = if absolute { "an absolute path" } else { "a path relative to a home" };
            return wrong(format!("target {target:?} is not {kind} in plain words"));
        }
        if bytes.len() > FILE_MAX {
            return wrong(format!("{target}: a file has at most {FILE_MAX} bytes"));
        }
        if mode & !0o755 != 0 {
            return wrong(format!("{target}: mode {mode:04o} lets others write, or is no mode"));
        }
        if !seen.insert(target) {
            return wrong(format!("{target} is asked for twice"));
        }
    }
    Ok(())
}

fn text_of(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|_| path.is_absolute());
    text.map(str::to_owned).ok_or_else(|| {
        Error::usage(format!("target root {:?}: give an absolute path in UTF-8", path.display()))
    })
}
