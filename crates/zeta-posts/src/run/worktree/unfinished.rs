//! A worktree whose making was cut: what proves that zeta made it, and that it holds no work.
//!
//! While zeta makes a worktree, git's own registration of it is locked, and the reason of the lock
//! says who makes it. git writes that before it makes the directory. What has no such registration
//! was made by another, and is never touched.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use zeta_os::error::Result;

use super::{Place, SEES_ALL, STATUS, cannot, git_says, git_says_with, number_of};

/// What is at the path of a worktree that was not made to its end.
pub(super) enum Remains {
    Nothing,
    /// git has done all of its work.
    Whole,
    /// A part of the files of its commit, and nothing else.
    Part,
    /// Something that is not removed, and why.
    Kept(String),
}

impl Place {
    /// What the registration says until the worktree is whole.
    pub(super) fn reason(&self) -> String {
        format!("zeta makes the worktree of {}", self.persona)
    }

    /// Looks at what was left of the making.
    pub(super) fn remains(&self, repository: &Path) -> Result<Remains> {
        let not_made = || Ok(Remains::Kept("zeta did not make it".to_owned()));
        match self.path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Remains::Nothing),
            Err(error) => return Err(cannot("look at", &self.path, &error)),
            Ok(found) if !found.is_dir() => return not_made(),
            Ok(_) => {}
        }
        let entries = fs::read_dir(&self.path);
        if entries.map_err(|error| cannot("read", &self.path, &error))?.next().is_none() {
            return Ok(Remains::Part);
        }
        let Some(registration) = self.own_registration(repository)? else { return not_made() };
        let has = |name: &str| registration.join(name).exists();
        // git writes the index when all files are there.
        if has("index") && !has("index.lock") {
            return Ok(Remains::Whole);
        }
        Ok(match self.others()? {
            0 => Remains::Part,
            others => {
                let files = number_of(others as u64, "file");
                Remains::Kept(format!("it is not whole, and has {files} that git did not make"))
            }
        })
    }

    /// git's registration of the worktree at this path, if zeta makes it.
    fn own_registration(&self, repository: &Path) -> Result<Option<PathBuf>> {
        let Ok(link) = fs::read_to_string(self.path.join(".git")) else { return Ok(None) };
        let Some(found) = link.trim_end().strip_prefix("gitdir: ") else { return Ok(None) };
        let found = self.path.join(found);
        let common = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let common = PathBuf::from(git_says(repository, &common)?.trim_end()).join("worktrees");
        let above = found.parent().and_then(|above| above.canonicalize().ok());
        let is_of_repository = above.is_some() && above == common.canonicalize().ok();
        let reason = fs::read_to_string(found.join("locked")).unwrap_or_default();
        Ok((is_of_repository && reason.trim_end() == self.reason()).then_some(found))
    }

    /// How many files are no unchanged ones of its commit. Those that are not there do not count.
    fn others(&self) -> Result<usize> {
        let index = self.mark.with_extension("index");
        let own = Some(("GIT_INDEX_FILE", &*index));
        let looked = git_says_with(&self.path, &["read-tree", "HEAD"], own).and_then(|_| {
            let all = ["--ignored", "--untracked-files=all", "--no-renames", "-z"];
            git_says_with(&self.path, &[&SEES_ALL[..], &STATUS, &all].concat(), own)
        });
        let _ = fs::remove_file(&index);
        let looked = looked?;
        let entries = looked.split('\0').filter(|entry| !entry.is_empty());
        Ok(entries.filter(|entry| !entry.starts_with(" D ")).count())
    }

    /// Takes back the lock of the registration, if it is still zeta's own.
    pub(super) fn unlock(&self, repository: &Path) -> Result<()> {
        if self.own_registration(repository)?.is_some() {
            let path = self.path.as_os_str().to_string_lossy();
            git_says(repository, &["worktree", "unlock", &path])?;
        }
        Ok(())
    }
}
