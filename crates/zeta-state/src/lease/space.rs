//! The space of claims on paths: a repository, found by its files, and the patterns of paths in it.
//! No git runs: a check before each edit must cost less than that.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use zeta_core::bus::item::paths_lease;
use zeta_core::hook::cut;
use zeta_core::name::RecordName;
use zeta_core::pattern::{Pattern, RepoPath};
use zeta_os::error::{Error, Result};
use zeta_os::files::read_plain;

/// Most bytes of a file of git that names a directory.
const LINK_MAX: u64 = 8 * 1024;
/// Characters from which on a text is a pattern, where no file has that name.
const SPECIAL: [char; 5] = ['*', '?', '\\', '{', '#'];

/// Most characters of a path that an error repeats.
const SHOWN_MAX: usize = 200;

/// How a path begins that is meant from the top of the worktree, as for git.
const FROM_TOP: &str = ":/";

/// Where claims exclude each other.
#[derive(Debug, Clone)]
pub struct Space {
    /// The joint lease of its claims.
    pub lease: RecordName,
    /// Its name for people.
    pub name: String,
    /// The top of the worktree, without links.
    top: PathBuf,
    /// Where relative paths begin.
    from: PathBuf,
}

impl Space {
    /// Finds the repository of a directory. All worktrees of a repository are one space.
    pub fn find(from: &Path) -> Result<Space> {
        let from = resolve(from)?;
        let found = from.ancestors().find_map(|dir| match dir.join(".git").symlink_metadata() {
            Ok(_) => Some(Ok(dir.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(cannot("look at", &dir.join(".git"), &error))),
        });
        let Some(top) = found.transpose()? else {
            let text = format!("{}: it is not in a git repository", from.display());
            return Err(Error::usage(text)
                .hint("claims on paths are of a repository: call it from within its worktree")
                .hint("without a repository, claim a name: zeta claim acquire NAME"));
        };
        let common = common_dir(&top)?;
        let named = match common.file_name() {
            Some(name) if name == OsStr::new(".git") => common.parent().and_then(Path::file_name),
            name => name,
        };
        let named = named.unwrap_or_default().to_string_lossy();
        let name = named.strip_suffix(".git").unwrap_or(&named).to_owned();
        let lease = paths_lease(&name, &common.as_os_str().to_string_lossy());
        Ok(Space { lease, name, top, from })
    }

    /// The top of the worktree, as a claim names it.
    pub fn worktree(&self) -> Cow<'_, str> {
        self.top.to_string_lossy()
    }

    /// Makes sure that a pattern begins in this repository. A claim ends at one that lies within
    /// another: what is below is of that one.
    pub fn check_inside(&self, pattern: &Pattern) -> Result<()> {
        let mut dir = self.top.clone();
        for name in pattern.literal_prefix() {
            dir.push(name);
            if dir.join(".git").symlink_metadata().is_ok() {
                let dir = dir.display();
                let text = format!("{pattern} is of another repository or worktree: {dir}");
                return Err(Error::usage(text).hint(format!("claim it from within {dir}")));
            }
        }
        Ok(())
    }

    /// The path of a file of the worktree from its top; `path` has no links. Letters that are not
    /// UTF-8 are others, which only a wildcard covers.
    pub fn below<'p>(&self, path: &'p Path) -> Option<Cow<'p, str>> {
        Some(path.strip_prefix(&self.top).ok()?.to_string_lossy())
    }

    /// How a pattern is written anywhere in the repository.
    pub fn from_anywhere(pattern: &Pattern) -> String {
        format!("{FROM_TOP}{pattern}")
    }

    /// Reads a path or a pattern that a person wrote, from where the call runs. As far as it names
    /// what is there, it means that, and links are followed; a wildcard begins behind that. A path
    /// is that of a file only if a file is there; else it has all that lies below it, too.
    pub fn pattern(&self, text: &str) -> Result<Pattern> {
        if text.is_empty() {
            return Err(Error::usage("the path is empty").hint("write . for this directory"));
        }
        let (from, text) = match text.strip_prefix(FROM_TOP) {
            Some(rest) => (&self.top, rest),
            None => (&self.from, text),
        };
        let is_special = |part: &OsStr| part.to_str().is_none_or(|part| part.contains(SPECIAL));
        let parts: Vec<&OsStr> = Path::new(text).components().map(Component::as_os_str).collect();
        let mut named = from.clone();
        let wild = parts.iter().position(|part| {
            named.push(part);
            is_special(part) && named.symlink_metadata().is_err()
        });
        let (plain, wild) = parts.split_at(wild.unwrap_or(parts.len()));
        let plain: PathBuf = plain.iter().collect();
        let resolved = resolve(&from.join(&plain))?;
        let below = resolved.strip_prefix(&self.top).map_err(|_| self.outside(text, &resolved))?;
        let invalid = |error: &dyn std::fmt::Display| {
            let (text, error) = (cut(text, SHOWN_MAX), cut(&error.to_string(), SHOWN_MAX));
            Error::usage(format!("path {text:?} is not valid: {error}"))
        };
        let below = std::str::from_utf8(below.as_os_str().as_bytes())
            .map_err(|_| invalid(&"it is not UTF-8; claim its directory"))?;
        let mut pattern = String::new();
        if !below.is_empty() {
            let path = RepoPath::new(below).map_err(|error| invalid(&error))?;
            pattern = Pattern::of_path(path).map_err(|error| invalid(&error))?.to_string();
        }
        let rest: Vec<String> =
            wild.iter().filter_map(|part| part.to_str()).map(plain_brackets).collect();
        if rest.len() < wild.len() {
            return Err(invalid(&"it is not UTF-8; claim its directory"));
        }
        let below = if text.ends_with('/') { "/" } else { "" };
        let pattern = match (pattern.is_empty(), rest.is_empty()) {
            (true, true) => "**".to_owned(),
            (true, false) => format!("{}{below}", rest.join("/")),
            (false, true) => format!("{pattern}{below}"),
            (false, false) => format!("{pattern}/{}{below}", rest.join("/")),
        };
        let read = |text: &str| text.parse::<Pattern>().map_err(|error| invalid(&error));
        let pattern = read(&pattern)?;
        match pattern.is_exact() && !self.has_file(&pattern) {
            true => read(&format!("{pattern}/")),
            false => Ok(pattern),
        }
    }

    /// Returns whether a path is there and is no directory.
    fn has_file(&self, path: &Pattern) -> bool {
        let path = path.literal_prefix().fold(self.top.clone(), |path, name| path.join(name));
        path.metadata().is_ok_and(|found| !found.is_dir())
    }

    /// The text from which [`Space::pattern`] makes this pattern again.
    pub fn text_of(&self, pattern: &Pattern) -> String {
        match self.from == self.top {
            true => pattern.to_string(),
            false => Space::from_anywhere(pattern),
        }
    }

    fn outside(&self, text: &str, resolved: &Path) -> Error {
        let (resolved, top) = (resolved.display(), self.top.display());
        let text = cut(text, SHOWN_MAX);
        Error::usage(format!("path {text:?} is outside of the repository: it is {resolved}"))
            .hint(format!("a claim is of paths below {top}"))
    }
}

/// Takes each bracket for that character, as in the names `[slug]` and `[id].tsx` of web
/// frameworks. As a class it would mean other paths before the directory is made than after.
fn plain_brackets(part: &str) -> String {
    let mut is_escaped = false;
    part.chars().fold(String::with_capacity(part.len()), |mut plain, letter| {
        if letter == '[' && !is_escaped {
            plain.push('\\');
        }
        is_escaped = letter == '\\' && !is_escaped;
        plain.push(letter);
        plain
    })
}

/// The directory that all worktrees of a repository share.
fn common_dir(top: &Path) -> Result<PathBuf> {
    let link = top.join(".git");
    if link.is_dir() {
        return existing(&link);
    }
    let text = read_link_file(&link)?;
    let Some(dir) = text.strip_prefix("gitdir: ") else {
        let text = format!("{}: it does not name a directory of git", link.display());
        return Err(Error::usage(text).hint("see what 'git rev-parse --git-common-dir' says"));
    };
    let dir = existing(&top.join(dir))?;
    match read_link_file(&dir.join("commondir")) {
        Ok(common) => existing(&dir.join(common)),
        // A submodule has a directory of its own.
        Err(_) if !dir.join("commondir").exists() => Ok(dir),
        Err(error) => Err(error),
    }
}

/// Follows all links of a path that must lead to something: a wrong one would be another space.
fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|error| cannot("follow", path, &error))
}

fn read_link_file(path: &Path) -> Result<String> {
    let bytes = read_plain(path, LINK_MAX).map_err(|error| cannot("read", path, &error))?;
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned())
}

/// Follows all links of a path whose end need not exist.
fn resolve(path: &Path) -> Result<PathBuf> {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut at = path;
    loop {
        match at.canonicalize() {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            // A link that leads nowhere is there; below a file there is nothing yet.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                    && at.symlink_metadata().is_err() => {}
            Err(error) => return Err(cannot("follow", at, &error)),
        }
        match (at.file_name(), at.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                at = parent;
            }
            _ => {
                let path = path.display().to_string();
                let path = cut(&path, SHOWN_MAX);
                let text = format!("{path}: it has '..' behind what is not there");
                return Err(Error::usage(text).hint("write the path without '..'"));
            }
        }
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    let path = path.display().to_string();
    Error::usage(format!("cannot {what} {}: {error}", cut(&path, SHOWN_MAX)))
        .hint("claims on paths are of files that can be reached from the worktree")
}
