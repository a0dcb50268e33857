//! The resource: a bare git repository whose own hook compares fencing tokens.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Step;
use crate::demo::sandbox::{Sandbox, last_line};
use zeta_os::error::{Error, Kind, Result};

const HOOK: &str = include_str!("pre-receive.sh");
/// The file that the hook waits for; while it exists, pushes are held half-way.
const HOLD: &str = "demo-hold";

/// The configuration that makes git accept push options, which carry the token.
const CONFIG: &str = "[receive]\n\tadvertisePushOptions = true\n\tautogc = false\n";
/// The exit status of a shell if there is no such command.
const NO_SUCH_COMMAND: u8 = 127;

/// The commit that a branch points to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) commit: String,
    pub(super) author: String,
}

/// The bare repository.
pub(super) struct Remote {
    /// The path of the repository.
    pub(super) path: PathBuf,
    hold: Option<File>,
}

impl Remote {
    /// Creates the repository with a first commit and the hook.
    pub(super) fn create(sandbox: &mut Sandbox) -> Step<Remote> {
        let path = sandbox.root.join("remote.git");
        let mut remote = Remote { path, hold: None };
        remote.init(sandbox)?;
        remote.install_hook()?;
        let hold = remote.path.join(HOLD);
        remote.hold = Some(hold_barrier(&hold)?);
        Ok(remote)
    }

    fn init(&self, sandbox: &mut Sandbox) -> Step<()> {
        let mut init: Vec<OsString> =
            ["git", "-c", "init.defaultBranch=main", "init", "-q", "--bare"].map(Into::into).into();
        init.push(self.path.clone().into());
        let made = sandbox.call(&init)?;
        if made.status == NO_SUCH_COMMAND {
            return Err(Error::new(Kind::Unsafe, "the demo needs git, and there is none in PATH")
                .hint("install it (Debian: apt install git), then repeat: zeta demo")
                .into());
        }
        if made.status != 0 {
            let output = last_line(&made.stderr);
            return Err(
                Error::new(Kind::Fault, format!("git cannot make a repository: {output}")).into()
            );
        }
        let config = self.path.join("config");
        let appended = OpenOptions::new().append(true).open(&config);
        appended.and_then(|mut file| file.write_all(CONFIG.as_bytes())).map_err(|error| {
            Error::new(Kind::Fault, format!("cannot write {}: {error}", config.display()))
        })?;
        let tree = self.git(sandbox, &["mktree"])?;
        let commit = self.git(sandbox, &["commit-tree", &tree, "-m", "A cluster without nodes"])?;
        self.git(sandbox, &["update-ref", "refs/heads/main", &commit])?;
        Ok(())
    }

    fn install_hook(&self) -> Result<()> {
        let hook = self.path.join("hooks").join("pre-receive");
        let cannot = |error: std::io::Error| {
            Error::new(Kind::Fault, format!("cannot write {}: {error}", hook.display()))
        };
        if let Some(dir) = hook.parent() {
            std::fs::create_dir_all(dir).map_err(cannot)?;
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(&hook);
        file.as_mut()
            .map_err(|error| cannot(std::io::Error::other(error.to_string())))
            .and_then(|file| file.write_all(HOOK.as_bytes()).map_err(cannot))?;
        // git ignores a hook that it may not execute, and then every check would be worthless.
        access(&hook, Access::EXEC_OK).map_err(|_| {
            Error::not_safe(&hook, "hooks cannot be run from there (mounted with noexec?)")
                .hint("set TMPDIR to a directory where programs may be run, then repeat")
        })
    }

    /// Runs git in the repository.
    pub(super) fn git(&self, sandbox: &mut Sandbox, args: &[&str]) -> Step<String> {
        sandbox.must(&in_repository(&self.path, args))
    }

    /// Lists the branches with the commits that they point to.
    pub(super) fn branches(&self, sandbox: &mut Sandbox) -> Step<BTreeMap<String, Tip>> {
        let format = "--format=%(refname) %(objectname) %(authorname)";
        let listed = self.git(sandbox, &["for-each-ref", format, "refs/heads/"])?;
        let tip = |line: &str| {
            let (branch, rest) = line.strip_prefix("refs/heads/")?.split_once(' ')?;
            let (commit, author) = rest.split_once(' ')?;
            let tip = Tip { commit: commit.to_owned(), author: author.to_owned() };
            Some((branch.to_owned(), tip))
        };
        Ok(listed.lines().filter_map(tip).collect())
    }

    /// Reports whether the repository has an object.
    pub(super) fn has(&self, sandbox: &mut Sandbox, id: &str) -> Step<bool> {
        Ok(sandbox.call(&in_repository(&self.path, &["cat-file", "-e", id]))?.status == 0)
    }

    /// Reports whether the hook wrote this line to its log.
    pub(super) fn logged(&self, line: &str) -> bool {
        let log = std::fs::read_to_string(self.path.join("fencing.log")).unwrap_or_default();
        log.lines().any(|logged| logged == line)
    }

    /// Counts the pushes that are half-way: received, but not yet accepted.
    pub(super) fn in_quarantine(&self) -> usize {
        std::fs::read_dir(self.path.join("objects")).map_or(0, |entries| {
            let half_way =
                |name: &OsStr| name.as_encoded_bytes().starts_with(b"tmp_objdir-incoming-");
            entries.flatten().filter(|entry| half_way(&entry.file_name())).count()
        })
    }

    /// Stops holding pushes.
    pub(super) fn stop_holding(&mut self) -> Result<()> {
        let path = self.path.join(HOLD);
        std::fs::remove_file(&path).map_err(|error| {
            Error::new(Kind::Fault, format!("cannot remove {}: {error}", path.display()))
        })?;
        self.hold = None;
        Ok(())
    }
}

/// Makes the argument list of a git call in a repository.
pub(super) fn in_repository(path: &Path, args: &[&str]) -> Vec<OsString> {
    let mut argv = vec!["git".into(), "-C".into(), path.into()];
    argv.extend(args.iter().map(OsString::from));
    argv
}

/// Creates a file and takes its flock: a barrier. A process that waits for the lock continues when
/// it is released, and also when this process ends in any way.
pub(super) fn hold_barrier(path: &Path) -> Result<File> {
    let held = File::create(path).and_then(|file| file.lock().map(|()| file));
    held.map_err(|error| {
        Error::new(Kind::Fault, format!("cannot make and lock {}: {error}", path.display()))
    })
}
