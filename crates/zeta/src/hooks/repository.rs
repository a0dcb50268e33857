//! What git keeps in files: the worktree that a path lies in, its repository, and its branch. No
//! git runs, because a hook has a few milliseconds.

use std::path::{Component, Path, PathBuf};

use zeta_bus::claim::note::Head;

/// Most bytes of a file of git that are read.
const BYTES_MAX: u64 = 4 * 1024;
/// Most bytes of the file of all refs that have none of their own.
const PACKED_MAX: u64 = 4 * 1024 * 1024;

/// Most links that lead from one to the next, as in the kernel.
const LINKS_MAX: usize = 40;

/// A worktree of git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worktree {
    /// Its own directory of git.
    git_dir: PathBuf,
    /// The directory that all worktrees of one repository share.
    pub(super) repository: PathBuf,
}

/// Returns the nearest directory, from `path` itself upwards, that has a `.git`.
pub(super) fn root(path: &Path) -> Option<PathBuf> {
    let has_git = |dir: &&Path| dir.join(".git").symlink_metadata().is_ok();
    path.ancestors().find(has_git).map(Path::to_path_buf)
}

/// Returns the worktree that a directory lies in.
pub(super) fn worktree(dir: &Path) -> Option<Worktree> {
    let root = root(dir)?;
    let dot_git = root.join(".git");
    let git_dir = match dot_git.is_dir() {
        true => dot_git,
        false => root.join(line(&dot_git)?.strip_prefix("gitdir:")?.trim()),
    };
    let repository = match line(&git_dir.join("commondir")) {
        Some(common) => git_dir.join(common),
        None => git_dir.clone(),
    };
    Some(Worktree { repository: resolve(&repository), git_dir })
}

impl Worktree {
    /// Returns the branch that is checked out; `None` without one.
    pub(super) fn branch(&self) -> Option<String> {
        let head = line(&self.git_dir.join("HEAD"))?;
        Some(head.strip_prefix("ref:")?.trim().strip_prefix("refs/heads/")?.to_owned())
    }
}

/// Returns what is checked out in the worktree that a directory lies in: the branch, and its last
/// commit; `None` where git keeps it in another form than files.
pub fn head(dir: &Path) -> Option<Head> {
    let worktree = worktree(dir)?;
    let head = line(&worktree.git_dir.join("HEAD"))?;
    let is_commit = |text: &str| {
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let Some(branch) = worktree.branch() else {
        return is_commit(&head).then_some(Head { branch: None, commit: head });
    };
    let name = format!("refs/heads/{branch}");
    let loose = || line(&worktree.repository.join(&name));
    let packed = || {
        let file = worktree.repository.join("packed-refs");
        let bytes = zeta_os::files::read_plain(&file, PACKED_MAX).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let found =
            text.lines().find_map(|line| line.strip_suffix(name.as_str())?.strip_suffix(' '));
        found.map(str::to_owned)
    };
    let commit = loose().or_else(packed).filter(|commit| is_commit(commit))?;
    Some(Head { branch: Some(branch), commit })
}

/// Reads the first line of a small file.
fn line(path: &Path) -> Option<String> {
    let bytes = zeta_os::files::read_plain(path, BYTES_MAX).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.lines().next().map(|line| line.trim_end().to_owned())
}

/// Resolves the links in an absolute path, as far as it exists. Behind a link, `..` leads out of
/// the directory that the link leads to. A link that leads to nothing stands for what a write
/// through it would make.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        if let Ok(real) = path.canonicalize() {
            return real;
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { break };
        let Ok(parent) = parent.canonicalize() else { break };
        match parent.join(name).read_link() {
            Ok(target) => path = parent.join(target),
            Err(_) => return parent.join(name),
        }
    }
    let mut known = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                known.pop();
            }
            part => {
                known.push(part);
                if let Ok(real) = known.canonicalize() {
                    known = real;
                }
            }
        }
    }
    known
}
