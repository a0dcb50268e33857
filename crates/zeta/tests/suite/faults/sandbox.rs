//! A private directory for one scene, in memory where there is such a file system.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Out, TempDir, run_within};

/// No call may last longer: what hangs is a failure, not a slow test.
const LIMIT: Duration = Duration::from_secs(10);

/// A directory of its own, in memory where there is such a place.
pub struct Sandbox {
    pub dir: TempDir,
    /// The directory is emptied between two faults; the test keeps nothing of its own in it.
    pub world: PathBuf,
    /// As in a hardened unit, where a path is walked one component at a time.
    no_openat2: bool,
}

impl Sandbox {
    pub fn new(no_openat2: bool) -> Sandbox {
        let asked = std::env::var_os("ZETA_FAULTS_DIR");
        let first = Path::new(asked.as_deref().unwrap_or("/dev/shm".as_ref()));
        match TempDir::below(first, "faults", 0o700) {
            Err(_) if asked.is_none() => Sandbox::within(TempDir::new("faults", 0o700), no_openat2),
            made => Sandbox::within(made.unwrap(), no_openat2),
        }
    }

    /// A sandbox below `/tmp`, which is often on a disk.
    pub fn below_tmp() -> Sandbox {
        Sandbox::within(TempDir::new("faults", 0o700), false)
    }

    fn within(dir: TempDir, no_openat2: bool) -> Sandbox {
        let world = dir.join("world");
        std::fs::create_dir(&world).unwrap();
        std::fs::create_dir_all(dir.join("repo/.git")).unwrap();
        Sandbox { dir, world, no_openat2 }
    }

    /// A program on this sandbox's tree, in an environment that no machine or user adds to.
    pub fn cmd(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.current_dir(self.dir.join("repo"));
        command.env_clear().env("PATH", path).env("HOME", self.home()).env("LC_ALL", "C");
        command.env("ZETA_STATE_DIR", self.world.join("state")).env("ZETA_SESSION", "s-1");
        command.env("ZETA_BUS_DIR", self.world.join("bus"));
        if self.no_openat2 {
            command.env("ZETA_NO_OPENAT2", "1");
        }
        command.stdin(Stdio::null());
        command
    }

    /// The home, which is made by the first call that keeps something in it.
    fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// Takes away what calls kept in the home, so that the next one makes it again.
    pub fn forget_home(&self) {
        let _ = std::fs::remove_dir_all(self.home());
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(self.cmd(env!("CARGO_BIN_EXE_zeta")).args(args))
    }

    /// A call that must succeed; its data.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }
}

/// Runs a program to its end, or ends it after [`LIMIT`].
pub fn run(command: &mut Command) -> Out {
    run_within(command, LIMIT)
}
