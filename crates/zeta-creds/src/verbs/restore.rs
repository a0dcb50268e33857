//! Writes what a blob holds to its places: as the user it belongs to, and nothing that is not in
//! the manifest.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeta_core::creds::manifest::{Entry, Manifest, Rule, check_path};
use zeta_core::creds::place::Surroundings;
use zeta_core::creds::plan::{self, Machine, SERVICE_ROOT, Skip, Target};
use zeta_core::record::printable;

use super::{ARGUMENTS, Exit, FRAME, Outcome, UNKNOWN, WithExitNumber};
use crate::file_writer;
use crate::file_writer::{File, FileSet, Finding, Options, Owner};
use crate::verbs::open::Opened;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::users::{self, Account};

/// The user that zeta's services run as.
const SERVICE_USER: &str = "zeta";

/// The options of a restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// The persona whose credentials are restored too.
    pub persona: Option<String>,
    /// The user whose home is meant; the home of `HOME` for `None`.
    pub user: Option<String>,
    /// The directory that `/` means.
    pub root: PathBuf,
    /// True to change nothing.
    pub dry_run: bool,
    /// True to replace files that differ, but no login by an older one.
    pub overwrite: bool,
    /// With `overwrite`: true to replace a login by an older one, too.
    pub accept_older: bool,
}

/// One file and its result.
#[derive(Debug)]
pub struct Placed {
    /// The id of the credential.
    pub id: String,
    /// The path, for people.
    pub path: String,
    /// The result.
    pub came: file_writer::Outcome,
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// The files.
    pub placed: Vec<Placed>,
    /// The credentials that were passed over.
    pub skipped: Vec<Skip>,
    /// The credentials that are required and were not in the blob.
    pub missing: Vec<String>,
}

impl Restored {
    /// Returns true if a place was refused.
    pub fn refused(&self) -> bool {
        self.placed.iter().any(|placed| matches!(placed.came, file_writer::Outcome::Refused(_)))
    }
}

/// Restores the credentials of a blob.
///
/// # Errors
/// 2: the user. 4: a fault while writing; nothing was changed then. 7: ids that are not known.
pub fn restore(opened: &Opened, manifest: &Manifest, wish: &RestoreOptions) -> Outcome<Restored> {
    let service = users::account_by_name(&wish.root, SERVICE_USER).ok();
    let service = service.filter(|account| format!("{}/", account.home) == SERVICE_ROOT);
    let persona = wish.persona.as_deref();
    let machine = Machine { service: service.is_some(), moved: &|entry| moved(wish, entry) };
    let plan = plan::plan(&opened.bundle, manifest, persona, &machine).map_err(|ids| {
        let ids: Vec<_> = ids.iter().map(|id| printable(id)).collect();
        let text = format!("the blob holds what no manifest here knows: {}", ids.join(", "));
        let hint = "nothing was written; add them in /etc/zeta/creds.d, or use a later zeta";
        Exit { number: UNKNOWN, error: Error::new(Kind::Unsafe, text).hint(hint) }
    })?;
    let home = home(wish).number(ARGUMENTS)?;
    let mut orders: Vec<(FileSet, Vec<(String, String)>)> = Vec::new();
    let mut placed = Vec::new();
    for target in &plan.targets {
        if let Some(refused) = outside(target) {
            placed.push(refused);
            continue;
        }
        let (owner, path) = owner(target, &home, service.as_ref());
        let login = manifest.get(target.id).filter(|entry| matches!(entry.rule, Rule::Login(_)));
        let login = login.map(|entry| entry.id.clone());
        let file = File { target: path, bytes: target.secret(), mode: target.mode, login };
        let name = (target.id.to_owned(), target.path.to_string());
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
        accept_older: wish.accept_older,
        dry_run: wish.dry_run,
        ..Options::default()
    };
    let (orders, names): (Vec<FileSet>, Vec<_>) = orders.into_iter().unzip();
    let came = file_writer::plant(&orders, &options).number(FRAME)?;
    let written = names.into_iter().flatten().zip(came.into_iter().flatten());
    placed.extend(written.map(|((id, path), came)| Placed { id, path, came }));
    Ok(Restored {
        placed,
        skipped: plan.skipped.clone(),
        missing: plan.missing.iter().map(|id| (*id).to_owned()).collect(),
    })
}

/// The place to which a variable of the caller moves a credential. The variables count where the
/// caller's home does: with a user's name, neither is that user's.
fn moved(wish: &RestoreOptions, entry: &Entry) -> Option<(String, &'static str)> {
    let home = std::env::var("HOME").ok().filter(|_| wish.user.is_none())?;
    Surroundings { home: &home, variable: &|name| std::env::var(name).ok() }.moved(entry)
}

/// The refusal of a place where nothing may be written: only a variable leads to one.
fn outside(target: &Target<'_>) -> Option<Placed> {
    let why = check_path(&target.path).err()?;
    let name = target.variable?;
    let text = format!("{name} leads to {}: {why}", target.path);
    let hint =
        format!("restore without {name}, and copy the file; or choose a directory in the home");
    let came = file_writer::Outcome::Refused(Finding { text, hint });
    Some(Placed { id: target.id.to_owned(), path: target.path.to_string(), came })
}

/// The home that is written to.
enum Home {
    /// The home of a user, written by a process of that user.
    Of(Account),
    /// A place that is not there yet: files there belong to the caller.
    Bare(String),
}

/// The home of the user that was named; else `HOME`, whose owner writes there. One that is not
/// there yet, below another root say, is made like any other directory.
fn home(wish: &RestoreOptions) -> Result<Home> {
    if let Some(name) = &wish.user {
        return users::account_by_name(&wish.root, name).map(Home::Of).map_err(|error| {
            // The error names the user, and people give secrets in every place.
            match error.kind {
                Kind::NotFound => {
                    let passwd = wish.root.join("etc/passwd");
                    let text = format!("--user: {} has no user of that name", passwd.display());
                    Error { text, ..error }
                }
                _ => error,
            }
        });
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
    let meta = match std::fs::metadata(&below) {
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
    // The caller's own home needs no account: no process has to become another user.
    if meta.uid() == rustix::process::geteuid().as_raw() {
        let (name, uid, gid) = (String::new(), meta.uid(), meta.gid());
        return Ok(Home::Of(Account { name, uid, gid, groups: Vec::new(), home }));
    }
    users::account_by_uid(&wish.root, meta.uid())
        .map(|account| Home::Of(Account { home, ..account }))
}

fn owner(target: &Target<'_>, home: &Home, service: Option<&Account>) -> (Owner, String) {
    let of_service = service.zip(target.path.strip_prefix(SERVICE_ROOT));
    match (target.path.strip_prefix("~/"), of_service, home) {
        (Some(below), _, Home::Of(account)) => (Owner::User(account.clone()), below.to_owned()),
        (Some(below), _, Home::Bare(home)) => (Owner::System, format!("{home}/{below}")),
        (None, Some((account, below)), _) => (Owner::User(account.clone()), below.to_owned()),
        (None, None, _) => (Owner::System, target.path.to_string()),
    }
}

/// The root directory, as an absolute path without a link in it.
///
/// # Errors
/// The directory is not there.
pub fn root(given: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(given)
        .map_err(|error| Error::usage(format!("--target-root {}: {error}", given.display())))
}
