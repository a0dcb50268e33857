//! Putting what a blob holds in place: as the user it belongs to, and nothing that is not in the
//! manifest.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeta_core::creds::manifest::Manifest;
use zeta_core::creds::plan::{self, SERVICE_ROOT, Skip, Target};
use zeta_core::record::printable;

use super::{ARGUMENTS, Exit, FRAME, Outcome, UNKNOWN, WithExitNumber};
use crate::file_writer;
use crate::file_writer::{Account, File, FileSet, Options, Owner};
use crate::verbs::open::Opened;
use zeta_os::error::{Error, Kind, Result};

/// The user that services of ours run as.
const SERVICE_USER: &str = "zeta";

/// How to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Whose persona's credentials, too.
    pub persona: Option<String>,
    /// Whose home; by `HOME` for `None`.
    pub user: Option<String>,
    /// What `/` means.
    pub root: PathBuf,
    /// Only look.
    pub dry_run: bool,
    /// Replace files that differ.
    pub overwrite: bool,
}

/// One file, and what came of it.
#[derive(Debug)]
pub struct Placed {
    /// Which credential.
    pub id: String,
    /// Where, for people.
    pub path: String,
    /// What came of it.
    pub came: file_writer::Outcome,
}

/// What came of all of it.
#[derive(Debug)]
pub struct Restored {
    /// The files.
    pub placed: Vec<Placed>,
    /// What was passed over.
    pub skipped: Vec<Skip>,
    /// What is required and was not in the blob.
    pub missing: Vec<String>,
}

impl Restored {
    /// Was a place refused?
    pub fn refused(&self) -> bool {
        self.placed.iter().any(|placed| matches!(placed.came, file_writer::Outcome::Refused(_)))
    }
}

/// Restores.
///
/// # Errors
/// 2: the user. 4: a fault while writing; nothing was changed then. 7: ids that are not known.
pub fn restore(opened: &Opened, manifest: &Manifest, wish: &RestoreOptions) -> Outcome<Restored> {
    let service = file_writer::find(&wish.root, SERVICE_USER).ok();
    let service = service.filter(|account| format!("{}/", account.home) == SERVICE_ROOT);
    let persona = wish.persona.as_deref();
    let plan = plan::plan(&opened.bundle, manifest, persona, service.is_some()).map_err(|ids| {
        let ids: Vec<_> = ids.iter().map(|id| printable(id)).collect();
        let text = format!("the blob holds what no manifest here knows: {}", ids.join(", "));
        let hint = "nothing was written; add them in /etc/zeta/creds.d, or use a later zeta";
        Exit { number: UNKNOWN, error: Error::new(Kind::Unsafe, text).hint(hint) }
    })?;
    let home = home(wish).number(ARGUMENTS)?;
    let mut orders: Vec<(FileSet, Vec<(String, String)>)> = Vec::new();
    for target in &plan.targets {
        let (owner, path) = owner(target, &home, service.as_ref());
        let file = File { target: path, bytes: target.secret(), mode: target.mode };
        let name = (target.id.to_owned(), target.path.to_owned());
        match orders.iter_mut().find(|(order, _)| order.owner == owner) {
            Some((order, names)) => {
                order.files.push(file);
                names.push(name);
            }
            None => orders.push((FileSet { owner, files: vec![file] }, vec![name])),
        }
    }
    let options = Options {
        root: wish.root.clone(),
        overwrite: wish.overwrite,
        dry_run: wish.dry_run,
        ..Options::default()
    };
    let (orders, names): (Vec<FileSet>, Vec<_>) = orders.into_iter().unzip();
    let came = file_writer::plant(&orders, &options).number(FRAME)?;
    let placed = names.into_iter().flatten().zip(came.into_iter().flatten());
    Ok(Restored {
        placed: placed.map(|((id, path), came)| Placed { id, path, came }).collect(),
        skipped: plan.skipped.clone(),
        missing: plan.missing.iter().map(|id| (*id).to_owned()).collect(),
    })
}

/// Whose home it is.
enum Home {
    /// A user's, who writes there himself.
    Of(Account),
    /// A place that is not there yet: files there are those of whoever calls.
    Bare(String),
}

/// The home of the user that was named; else `HOME`, whose owner writes there. One that is not
/// there yet, below another root say, is made like any other directory.
fn home(wish: &RestoreOptions) -> Result<Home> {
    if let Some(name) = &wish.user {
        return file_writer::find(&wish.root, name).map(Home::Of);
    }
    let home =
        std::env::var("HOME").ok().filter(|home| home.starts_with('/')).ok_or_else(|| {
            Error::usage("HOME is no absolute path").hint("say whose home: --user NAME")
        })?;
    let home = match home.trim_end_matches('/') {
        "" => return Err(Error::usage("HOME is /").hint("say whose home: --user NAME")),
        home => home.to_owned(),
    };
    let below = wish.root.join(home.trim_start_matches('/'));
    let meta = match std::fs::symlink_metadata(&below) {
        Ok(meta) => meta,
        Err(error) if error.kind() == ErrorKind::NotFound && wish.root != Path::new("/") => {
            return Ok(Home::Bare(home));
        }
        // A home that root made here would be closed to its user.
        Err(error) => {
            let text = format!("HOME {}: {error}", below.display());
            return Err(Error::usage(text).hint("say whose home: --user NAME"));
        }
    };
    // Our own home needs no account: nobody has to be become.
    if meta.uid() == rustix::process::geteuid().as_raw() {
        let (name, uid, gid) = (String::new(), meta.uid(), meta.gid());
        return Ok(Home::Of(Account { name, uid, gid, groups: Vec::new(), home }));
    }
    file_writer::of_uid(&wish.root, meta.uid()).map(|account| Home::Of(Account { home, ..account }))
}

fn owner(target: &Target<'_>, home: &Home, service: Option<&Account>) -> (Owner, String) {
    let of_service = service.zip(target.path.strip_prefix(SERVICE_ROOT));
    match (target.path.strip_prefix("~/"), of_service, home) {
        (Some(below), _, Home::Of(account)) => (Owner::User(account.clone()), below.to_owned()),
        (Some(below), _, Home::Bare(home)) => (Owner::System, format!("{home}/{below}")),
        (None, Some((account, below)), _) => (Owner::User(account.clone()), below.to_owned()),
        (None, None, _) => (Owner::System, target.path.to_owned()),
    }
}

/// The root directory, as an absolute path without a link in it.
///
/// # Errors
/// It is not there.
pub fn root(given: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(given)
        .map_err(|error| Error::usage(format!("--target-root {}: {error}", given.display())))
}
