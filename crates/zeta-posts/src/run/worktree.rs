//! Where a persona works: a worktree of its own, or a plain directory where it has no repository.
//!
//! A file beside a worktree says that zeta made it, of which repository, and whether it is whole.
//! It is written before the worktree is made and removed after that is gone, so a process that is
//! killed in between leaves what the next one goes on with. What has no such file is never touched.

mod unfinished;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeta_core::name::Label;
use zeta_os::error::{Error, Kind, Result};
use zeta_os::files::read_plain;
use zeta_os::flock::lock_within;
use zeta_os::{descent, git, temp_file};
use zeta_state::context::Context;

use self::unfinished::Remains;
use super::command::lease_of;
use super::lease;
use crate::config::Config;
use crate::store::{Store, keep};

/// The directory of the worktrees, and that of plain directories.
const WORKTREES: &str = "worktrees";
const PLAIN: &str = "work";
/// The `kind` of the file beside a worktree.
const KIND: &str = "guard-post-worktree";
/// Longest such file, in bytes.
const MARK_MAX: u64 = 16 << 10;
/// The limits of one call of git: it checks a whole repository out, or lists all files.
const LIMITS: git::Limits = git::Limits { time: Duration::from_secs(600), output: 64 << 20 };
/// How long the end of killed processes is waited for.
const END_LIMIT: Duration = Duration::from_secs(10);
/// The variable of what makes or removes worktrees: the directory of these.
const MARK: &str = "ZETA_GUARD_POST_WORKTREES";
/// What lets git look at all files, whatever the configurations of the user and the repository say.
const SEES_ALL: [&str; 4] = ["-c", "status.showUntrackedFiles=all", "-c", "core.fsmonitor=false"];
/// Its look at the files of a worktree.
const STATUS: [&str; 3] = ["status", "--porcelain", "--ignore-submodules=none"];

/// The file beside a worktree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    schema: u64,
    kind: String,
    persona: Label,
    repository: PathBuf,
    /// The worktree was made to its end: an agent may have worked there.
    is_whole: bool,
}

/// A worktree of a persona, which may be there or not.
struct Place {
    persona: Label,
    path: PathBuf,
    mark: PathBuf,
    branch: String,
}

/// Makes the directory in which a persona works, if it is not there; returns its path.
///
/// # Errors
/// git refuses, or the path is taken by something that zeta did not make.
pub(super) fn prepare(
    store: &Store,
    persona: &Label,
    repository: Option<&Path>,
) -> Result<PathBuf> {
    let Some(repository) = repository else {
        let path = store.dir().join(PLAIN).join(persona.as_str());
        let made = temp_file::private_dir(&path.join("x"));
        made.map_err(|error| cannot("make", &path, &error))?;
        return Ok(path);
    };
    let place = Place::of(store, persona);
    let _lock = lock(store)?;
    match place.read_mark()? {
        None if place.path.exists() => {
            let text = format!("{}: zeta did not make it", place.path.display());
            return Err(Error::new(Kind::Unsafe, text)
                .hint(format!("the worktree of {persona} has this path: see what is there")));
        }
        None => place.make(repository, false)?,
        Some(mark) if !mark.is_whole && mark.repository == repository => {
            if let Remains::Kept(why) = place.make_anew(repository)? {
                return Err(place.kept(&mark, &why));
            }
        }
        Some(mark) if mark.repository != repository => {
            if let Some(why) = place.in_the_way(&mark)? {
                return Err(place.kept(&mark, &why));
            }
            place.remove(&mark)?;
            place.make(repository, false)?;
        }
        Some(_) if !place.path.exists() => place.make(repository, true)?,
        Some(_) if place.is_of(repository)? => place.unlock(repository)?,
        Some(mark) => {
            let shown = mark.repository.display();
            return Err(place.kept(&mark, &format!("it is no worktree of {shown} any more")));
        }
    }
    Ok(place.path)
}

/// Removes the worktrees of personas that have none any more. Returns the ones that are kept, each
/// with its path and why.
pub(super) fn reap(ctx: &Context, store: &Store, config: &Config) -> Vec<Error> {
    let mut kept = Vec::new();
    for (place, mark) in left(store, config) {
        match reap_one(ctx, store, (&place, &mark)) {
            Ok(None) => {}
            Ok(Some(why)) => kept.push(place.kept(&mark, &why)),
            Err(error) => kept.push(error),
        }
    }
    kept
}

/// Removes one, unless it is kept; returns why. While the persona works, it is not looked at.
fn reap_one(
    ctx: &Context,
    store: &Store,
    (place, mark): (&Place, &Mark),
) -> Result<Option<String>> {
    let name = lease_of(&place.persona)?;
    let purpose = format!("removes the worktree of {}", place.persona);
    let token = match lease::acquire(ctx, &name, &purpose) {
        Ok(token) => token,
        Err(error) if error.kind == Kind::Refused => return Ok(None),
        Err(error) => return Err(error),
    };
    let done = lock(store).and_then(|_lock| {
        let why = place.in_the_way(mark)?;
        if why.is_none() {
            place.remove(mark)?;
        }
        Ok(why)
    });
    let released = ctx.open().and_then(|at| at.release(&name, token));
    done.and_then(|why| released.map(|_| why))
}

/// The worktrees of personas that have none any more, each with its path and why it is still there.
pub fn leftovers(store: &Store, config: &Config) -> Vec<Error> {
    let finding = |(place, mark): (Place, Mark)| match place.in_the_way(&mark) {
        Ok(Some(why)) => place.kept(&mark, &why),
        Ok(None) => {
            let why = format!("the worktree of {} has no persona any more", mark.persona);
            Error::not_safe(&place.path, why).hint("a post removes it after its next tick")
        }
        Err(error) => error,
    };
    left(store, config).into_iter().map(finding).collect()
}

/// The worktrees that zeta made, and that no persona of the policy has any more.
fn left(store: &Store, config: &Config) -> Vec<(Place, Mark)> {
    let entries = fs::read_dir(store.dir().join(WORKTREES)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let personas = names.filter_map(|name| name.strip_suffix(".json")?.parse().ok());
    let mut found: Vec<(Place, Mark)> = personas
        .filter_map(|persona: Label| {
            let place = Place::of(store, &persona);
            // A damaged file is named when the persona works.
            let mark = place.read_mark().ok().flatten()?;
            let is_known = config.policy.persona(&persona).is_some();
            let is_used = is_known && config.repository(&persona) == Some(&mark.repository);
            (!is_used).then_some((place, mark))
        })
        .collect();
    found.sort_by(|(one, _), (other, _)| one.persona.cmp(&other.persona));
    found
}

/// One process at a time makes or removes worktrees. What an earlier one left at work is ended.
fn lock(store: &Store) -> Result<File> {
    let dir = store.dir().join(WORKTREES);
    let made = temp_file::private_dir(&dir.join("x"));
    made.map_err(|error| cannot("make", &dir, &error))?;
    let file = File::open(&dir).map_err(|error| cannot("open", &dir, &error))?;
    lock_within(&file, LIMITS.time).map_err(|errno| Error::io("cannot lock", &dir, errno))?;
    let left = descent::end_all(&format!("{MARK}={}", dir.display()), END_LIMIT);
    match left.first() {
        None => Ok(file),
        Some(left) => {
            let pid = left.process.pid;
            let text = format!("{} (pid {pid}) works on worktrees and does not end", left.name);
            Err(Error::new(Kind::Fault, text))
        }
    }
}

impl Place {
    fn of(store: &Store, persona: &Label) -> Place {
        let dir = store.dir().join(WORKTREES);
        Place {
            persona: persona.clone(),
            path: dir.join(persona.as_str()),
            mark: dir.join(format!("{persona}.json")),
            branch: format!("guard-post/{persona}"),
        }
    }

    fn read_mark(&self) -> Result<Option<Mark>> {
        let bytes = match read_plain(&self.mark, MARK_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| cannot("read", &self.mark, &error))?,
        };
        let mark = serde_json::from_slice::<Mark>(&bytes).ok();
        let mark = mark.filter(|mark| mark.kind == KIND && mark.persona == self.persona);
        mark.map(Some).ok_or_else(|| {
            let why = "it does not say which worktree zeta made";
            Error::not_safe(&self.mark, why)
        })
    }

    fn write_mark(&self, repository: &Path, is_whole: bool) -> Result<()> {
        let (kind, persona) = (KIND.to_owned(), self.persona.clone());
        let repository = repository.to_owned();
        let mark = Mark { schema: 1, kind, persona, repository, is_whole };
        let text = serde_json::to_string_pretty(&mark).unwrap_or_default();
        keep(&self.mark, &format!("{text}\n"))
    }

    /// Makes the worktree. `was_there` says that git may know one at this path that is gone.
    fn make(&self, repository: &Path, was_there: bool) -> Result<()> {
        // Nothing is marked as zeta's before there is a repository.
        git_says(repository, &["rev-parse", "--git-dir"])?;
        self.write_mark(repository, false)?;
        let head = format!("refs/heads/{}", self.branch);
        let has_branch = git_finds(repository, &["show-ref", "--verify", "--quiet", &head])?;
        let path = self.path.as_os_str().to_string_lossy();
        let reason = self.reason();
        let mut args = vec!["worktree", "add", "--lock", "--reason", &reason];
        if was_there {
            args.extend(["-f", "-f"]);
        }
        match has_branch {
            true => args.extend([&*path, &self.branch]),
            false => args.extend(["-b", &self.branch, &path]),
        }
        self.git_changes(repository, &args)?;
        self.finish(repository)
    }

    /// Marks a worktree as whole that git has made to its end.
    fn finish(&self, repository: &Path) -> Result<()> {
        self.write_mark(repository, true)?;
        self.unlock(repository)
    }

    /// Makes a worktree of which a part may be there, unless that is to be kept; returns what was
    /// there.
    fn make_anew(&self, repository: &Path) -> Result<Remains> {
        let remains = self.remains(repository)?;
        match &remains {
            Remains::Kept(_) => {}
            Remains::Whole => self.finish(repository)?,
            Remains::Nothing => self.make(repository, true)?,
            Remains::Part => {
                let removed = fs::remove_dir_all(&self.path);
                removed.map_err(|error| cannot("remove", &self.path, &error))?;
                self.make(repository, true)?;
            }
        }
        Ok(remains)
    }

    /// Returns whether it is a worktree of a repository.
    fn is_of(&self, repository: &Path) -> Result<bool> {
        let common = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let of_repository = git_says(repository, &common)?;
        let own = git_says(&self.path, &[&common[..], &["--show-toplevel"]].concat());
        let Ok(own) = own else { return Ok(false) };
        let mut own = own.lines().map(PathBuf::from);
        let is_same = |one: &Path, other: &Path| {
            one.canonicalize().ok().is_some_and(|one| Some(one) == other.canonicalize().ok())
        };
        let common = own.next().unwrap_or_default();
        let top = own.next().unwrap_or_default();
        Ok(is_same(&common, Path::new(of_repository.trim_end())) && is_same(&top, &self.path))
    }

    /// Looks for work that the removal of the worktree would lose; returns what it is.
    fn in_the_way(&self, mark: &Mark) -> Result<Option<String>> {
        let repository = &mark.repository;
        let is_there = self.path.symlink_metadata().is_ok();
        if !mark.is_whole && !is_there {
            return Ok(None);
        }
        if !repository.exists() {
            let shown = repository.display();
            return Ok(Some(format!("its repository {shown} is not there")));
        }
        if !mark.is_whole {
            match self.remains(repository)? {
                Remains::Kept(why) => return Ok(Some(why)),
                Remains::Nothing | Remains::Part => return Ok(None),
                Remains::Whole => {}
            }
        }
        if self.path.exists() {
            if !self.is_of(repository)? {
                let shown = repository.display();
                return Ok(Some(format!("it is no worktree of {shown} any more")));
            }
            let changed = [&SEES_ALL[..], &STATUS].concat();
            let changed = git_says(&self.path, &changed)?.lines().count();
            if changed > 0 {
                return Ok(Some(format!(
                    "it has {}",
                    number_of(changed as u64, "uncommitted file")
                )));
            }
            let unseen = self.unseen()?;
            if unseen > 0 {
                let files = number_of(unseen as u64, "file");
                return Ok(Some(format!("it has {files} whose changes git does not see")));
            }
            if !git_finds(&self.path, &["symbolic-ref", "--quiet", "HEAD"])? {
                let commits = ["HEAD", "--not", "--branches", "--remotes", "--tags"];
                match count(&self.path, &commits)? {
                    0 => {}
                    own => {
                        let own = number_of(own, "commit");
                        return Ok(Some(format!("it has {own} on no branch")));
                    }
                }
            }
        }
        let Some(tip) = self.tip(repository)? else { return Ok(None) };
        Ok(match self.own_commits(repository, &tip)? {
            0 => None,
            own => {
                let own = number_of(own, "commit");
                Some(format!("it has {own} of {} on no other branch", self.branch))
            }
        })
    }

    /// How many files are there that the index says are not to be compared with it.
    fn unseen(&self) -> Result<usize> {
        let listed = git_says(&self.path, &["ls-files", "-v", "-z"])?;
        let entries = listed.split('\0').filter_map(|entry| entry.split_once(' '));
        // Of a sparse checkout most are not there.
        let is_there = |name: &str| self.path.join(name).symlink_metadata().is_ok();
        let is_unseen = |tag: &str| tag == "S" || tag.starts_with(|one: char| one.is_lowercase());
        Ok(entries.filter(|(tag, name)| is_unseen(tag) && is_there(name)).count())
    }

    /// The commit of its branch, if that is there.
    fn tip(&self, repository: &Path) -> Result<Option<String>> {
        let head = format!("refs/heads/{}", self.branch);
        let verify = ["show-ref", "--verify", "--quiet", &head];
        match git_finds(repository, &verify)? {
            true => Ok(Some(git_says(repository, &["rev-parse", &head])?.trim().to_owned())),
            false => Ok(None),
        }
    }

    /// Removes a worktree that holds no work: git looks once more whether files changed.
    fn remove(&self, mark: &Mark) -> Result<()> {
        let repository = &mark.repository;
        if repository.exists() {
            if !mark.is_whole
                && let Remains::Kept(why) = self.make_anew(repository)?
            {
                return Err(self.kept(mark, &why));
            }
            if self.path.exists() {
                self.unlock(repository)?;
                let path = self.path.as_os_str().to_string_lossy();
                let remove = ["worktree", "remove", &path];
                self.git_changes(repository, &[&SEES_ALL[..], &remove].concat())?;
            }
            self.remove_branch(repository)?;
        }
        match fs::remove_file(&self.mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(cannot("remove", &self.mark, &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes its branch, if all of its commits are on another one.
    fn remove_branch(&self, repository: &Path) -> Result<()> {
        let Some(tip) = self.tip(repository)? else { return Ok(()) };
        if self.own_commits(repository, &tip)? == 0 {
            let head = format!("refs/heads/{}", self.branch);
            // git refuses if the branch got a commit meanwhile.
            git_says(repository, &["update-ref", "-d", &head, &tip])?;
        }
        Ok(())
    }

    /// Runs a git that makes or removes, which the next one to do so must not meet.
    fn git_changes(&self, repository: &Path, args: &[&str]) -> Result<String> {
        let dir = self.path.parent().unwrap_or(&self.path);
        git_says_with(repository, args, Some((MARK, dir)))
    }

    /// How many commits of its branch are on no other one.
    fn own_commits(&self, repository: &Path, tip: &str) -> Result<u64> {
        let without_own = format!("--exclude={}", self.branch);
        count(repository, &[tip, "--not", &without_own, "--branches", "--remotes", "--tags"])
    }

    /// What a person is shown of a worktree that is kept.
    fn kept(&self, mark: &Mark, why: &str) -> Error {
        let shown = self.path.display();
        let text = format!("{shown}: the worktree of {} is kept: {why}", mark.persona);
        Error::new(Kind::Unsafe, text).hint(format!("see it: git -C {shown} status"))
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Fault, format!("cannot {what} {}: {error}", path.display()))
}

/// A variable of the environment of one call.
type Variable<'a> = (&'static str, &'a Path);

/// Runs git; returns what it said, and whether it ended well.
fn git_runs(dir: &Path, args: &[&str], variable: Option<Variable<'_>>) -> Result<(String, bool)> {
    let mut git = git::command(dir);
    variable.map(|(name, value)| git.env(name, value));
    let finished = git::run(git, dir, args, LIMITS)?;
    let is_good = finished.status.success();
    let said = if is_good { &finished.output } else { &finished.errors };
    Ok((String::from_utf8_lossy(said).into_owned(), is_good))
}

/// Runs git, which must end well; returns what it said.
fn git_says(dir: &Path, args: &[&str]) -> Result<String> {
    git_says_with(dir, args, None)
}

/// Runs git with a variable, which must end well; returns what it said.
fn git_says_with(dir: &Path, args: &[&str], variable: Option<Variable<'_>>) -> Result<String> {
    let (said, is_good) = git_runs(dir, args, variable)?;
    if is_good {
        return Ok(said);
    }
    let said = said.lines().collect::<Vec<_>>().join(", ");
    let text = format!("git {} in {}: {said}", args.join(" "), dir.display());
    Err(Error::new(Kind::Fault, text))
}

/// A number of things as a person reads it: `1 commit`, `2 commits`.
fn number_of(count: u64, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// Counts the commits of a range.
fn count(dir: &Path, range: &[&str]) -> Result<u64> {
    let said = git_says(dir, &[&["rev-list", "--count"], range].concat())?;
    let number = said.trim().parse();
    number.map_err(|_| Error::new(Kind::Fault, format!("git rev-list --count said {said:?}")))
}

/// Runs git to ask whether something is so.
fn git_finds(dir: &Path, args: &[&str]) -> Result<bool> {
    git_runs(dir, args, None).map(|(_, is_good)| is_good)
}
