//! The hooks of a repository: `prepare-commit-msg` adds the block of an agent, and `commit-msg`
//! checks a message.
//!
//! A hook that was there gets the name `NAME.before-zeta`, and runs first. At each moment one of
//! the two has the place. A process that is killed in between leaves what the next install or
//! uninstall goes on with.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use zeta_core::shell::quote_word;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::{git, temp_file};

/// The second line of a hook of zeta's.
const MARK: &str = "# zeta signature hook 1: 'zeta signature uninstall-hook' removes it.";
/// What every version of that line begins with.
const MARK_BEGIN: &str = "# zeta signature hook ";
/// What the name of a hook that was there ends with.
const BEFORE: &str = ".before-zeta";
/// Most bytes of a hook that are looked at.
const HOOK_MAX: u64 = 1 << 20;

/// A hook of git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// It adds the block.
    Add,
    /// It checks a message.
    Check,
}

impl Hook {
    /// Both.
    pub const ALL: [Hook; 2] = [Hook::Add, Hook::Check];

    /// The name of its file.
    pub fn file(self) -> &'static str {
        match self {
            Hook::Add => "prepare-commit-msg",
            Hook::Check => "commit-msg",
        }
    }

    /// The word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Hook::Add => "add",
            Hook::Check => "check",
        }
    }

    /// The script. Only a verdict stops a commit: a fault of zeta's, or a zeta that is gone, does
    /// not.
    fn script(self, program: &Path) -> String {
        let program = program.display().to_string();
        let call = match self {
            Hook::Add => "write --hook --into \"$1\"",
            Hook::Check => "check --hook \"$1\"",
        };
        format!(
            "#!/bin/sh\n{MARK}\n\
             before=\"$0{BEFORE}\"\n\
             if [ -x \"$before\" ]; then \"$before\" \"$@\" || exit; fi\n\
             zeta={}\n\
             [ -x \"$zeta\" ] || zeta=zeta\n\
             \"$zeta\" signature {call} >/dev/null\n\
             [ $? -ne 1 ]\n",
            quote_word(&program)
        )
    }
}

/// What a call did with one hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The hook.
    pub hook: Hook,
    /// Its file.
    pub file: PathBuf,
    /// What was done.
    pub outcome: Outcome,
    /// Another hook runs before this one, or stands in its place.
    pub has_other: bool,
}

/// What was done with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was written.
    Installed,
    /// It was removed; one that was there before has its place again.
    Uninstalled,
    /// It was as it has to be.
    Unchanged,
}

impl Outcome {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Installed => "installed",
            Outcome::Uninstalled => "uninstalled",
            Outcome::Unchanged => "unchanged",
        }
    }
}

/// Finds the directory of the hooks of a repository, or takes the one that the caller names.
///
/// # Errors
/// There is no repository. A setting leads to a directory outside of its `.git`, which may be that
/// of many repositories or a part of the sources, and the caller does not name it.
pub fn directory(dir: &Path, named: Option<&Path>) -> Result<PathBuf> {
    let said = |args: &[&str]| -> Result<PathBuf> {
        let mut said = git::answer(dir, args)?;
        while said.last() == Some(&b'\n') {
            said.pop();
        }
        use std::os::unix::ffi::OsStringExt as _;
        Ok(dir.join(std::ffi::OsString::from_vec(said)))
    };
    let hooks = said(&["rev-parse", "--git-path", "hooks"])?;
    if let Some(named) = named {
        return Ok(std::path::absolute(dir.join(named)).unwrap_or_else(|_| named.to_owned()));
    }
    let common = said(&["rev-parse", "--git-common-dir"])?;
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // The directory itself may not be there yet.
    let parent = hooks.parent().unwrap_or(&hooks);
    if real(parent).starts_with(real(&common)) && real(&hooks).starts_with(real(&common)) {
        return Ok(hooks);
    }
    let shown = hooks.display();
    let text = format!("core.hooksPath leads out of this repository, to {shown}");
    Err(Error::new(Kind::Refused, text).hint(format!(
        "if hooks of zeta's may stand there: --hooks-dir {}",
        quote_word(&shown.to_string())
    )))
}

/// Writes a hook into a directory.
///
/// # Errors
/// Another program's hook has the place, and one before it has the name that it would get.
pub fn install(dir: &Path, hook: Hook, program: &Path) -> Result<Change> {
    let place = Place::of(dir, hook);
    let script = hook.script(program);
    let (is_there, is_own) = place.look()?;
    let has_other = place.has_before() || is_there && !is_own;
    let change = |outcome| Change { hook, file: place.file.clone(), outcome, has_other };
    if is_own && read_plain(&place.file, HOOK_MAX).is_ok_and(|text| text == script.as_bytes()) {
        return Ok(change(Outcome::Unchanged));
    }
    if is_there && !is_own && !place.is_half_moved() {
        if place.has_before() {
            let text = format!(
                "{} is a hook of another program, and {} is there, too",
                place.file.display(),
                place.before.display()
            );
            return Err(Error::new(Kind::Refused, text)
                .hint("let one of the two call the other one, under the first name"));
        }
        // A file system without links has a moment with no hook.
        let moved = fs::hard_link(&place.file, &place.before)
            .or_else(|_| fs::rename(&place.file, &place.before));
        moved.map_err(|error| cannot("move", &place.file, &error))?;
    }
    fs::create_dir_all(dir).map_err(|error| cannot("make", dir, &error))?;
    let mode = Mode::from_raw_mode(0o755);
    let written = temp_file::keep_with_mode(&place.file, ".zeta-", script.as_bytes(), mode);
    written.map_err(|error| cannot("write", &place.file, &error))?;
    Ok(change(Outcome::Installed))
}

/// Takes a hook out of a directory. The one that was there before gets its name back.
///
/// # Errors
/// It cannot be removed.
pub fn uninstall(dir: &Path, hook: Hook) -> Result<Change> {
    let place = Place::of(dir, hook);
    let (is_there, is_own) = place.look()?;
    let has_before = place.has_before();
    let has_other = has_before || is_there && !is_own;
    let file = place.file.clone();
    if place.is_half_moved() {
        let removed = fs::remove_file(&place.before);
        removed.map_err(|error| cannot("remove", &place.before, &error))?;
    }
    if is_there && !is_own || !is_there && !has_before {
        return Ok(Change { hook, file, outcome: Outcome::Unchanged, has_other });
    }
    let done = match has_before {
        true => fs::rename(&place.before, &file),
        false => fs::remove_file(&file),
    };
    done.map_err(|error| cannot("remove", &file, &error))?;
    Ok(Change { hook, file, outcome: Outcome::Uninstalled, has_other })
}

struct Place {
    file: PathBuf,
    before: PathBuf,
}

impl Place {
    fn of(dir: &Path, hook: Hook) -> Place {
        let name = hook.file();
        Place { file: dir.join(name), before: dir.join(format!("{name}{BEFORE}")) }
    }

    /// Returns whether a hook has the place, and whether it is one of zeta's.
    fn look(&self) -> Result<(bool, bool)> {
        match fs::symlink_metadata(&self.file) {
            Err(error) if is_absent(&error) => return Ok((false, false)),
            Err(error) => return Err(cannot("look at", &self.file, &error)),
            Ok(found) if found.is_dir() => {
                let text = format!("{} is a directory", self.file.display());
                return Err(Error::new(Kind::Refused, text));
            }
            // A link is the work of another program, whatever it leads to.
            Ok(found) if !found.is_file() => return Ok((true, false)),
            Ok(_) => {}
        }
        let text = read_plain(&self.file, HOOK_MAX);
        let text = text.map_err(|error| cannot("read", &self.file, &error))?;
        let second = text.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
        Ok((true, second.starts_with(MARK_BEGIN.as_bytes())))
    }

    fn has_before(&self) -> bool {
        fs::symlink_metadata(&self.before).is_ok()
    }

    /// Returns whether a hook of another program has both names: zeta's was not written any more.
    fn is_half_moved(&self) -> bool {
        let number = |path: &Path| {
            let found = fs::symlink_metadata(path).ok()?;
            Some((found.dev(), found.ino()))
        };
        number(&self.before).is_some_and(|before| number(&self.file) == Some(before))
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Error {
    Error::new(Kind::Fault, format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_hook_of_another_program_is_kept_through_install_and_uninstall() {
        let dir = std::env::temp_dir().join(format!("zeta-hook-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (file, program) = (dir.join("commit-msg"), Path::new("/opt/it's zeta"));
        let other = "#!/bin/sh\nexit 0\n";
        fs::write(&file, other).unwrap();
        let change = install(&dir, Hook::Check, program).unwrap();
        assert_eq!((change.outcome, change.has_other), (Outcome::Installed, true));
        assert_eq!(names(&dir), ["commit-msg", "commit-msg.before-zeta"]);
        let script = fs::read_to_string(&file).unwrap();
        assert!(script.contains("zeta='/opt/it'\\''s zeta'\n"), "{script}");
        // Another version of zeta writes its own script, and the other hook stays where it is.
        let change = install(&dir, Hook::Check, Path::new("/opt/zeta")).unwrap();
        assert_eq!((change.outcome, change.has_other), (Outcome::Installed, true));
        assert_eq!(
            install(&dir, Hook::Check, Path::new("/opt/zeta")).unwrap().outcome,
            Outcome::Unchanged
        );
        assert_eq!(uninstall(&dir, Hook::Check).unwrap().outcome, Outcome::Uninstalled);
        assert_eq!(fs::read_to_string(&file).unwrap(), other);
        assert_eq!(uninstall(&dir, Hook::Check).unwrap().outcome, Outcome::Unchanged);
        assert_eq!(names(&dir), ["commit-msg"]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
