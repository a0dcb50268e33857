//! A fresh private directory for one test, a tree in it, and the program that works on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Out, TempDir, run};

/// A directory of its own below `/tmp`, removed at the end.
pub struct Sandbox {
    pub dir: TempDir,
    /// Where the tree is or will be.
    pub state: PathBuf,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        let dir = TempDir::new("it", 0o700);
        let sandbox = Sandbox { state: dir.join("state"), dir };
        // One of a killed test, whose number this process has now.
        sandbox.forget_anchors();
        sandbox
    }

    fn forget_anchors(&self) {
        for dir in [&self.state, &self.dir.join("bus")] {
            let _ = std::fs::remove_file(anchor_of(dir));
        }
    }

    /// A call of `zeta` on this sandbox's tree, in a clean environment.
    pub fn cmd(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeta"));
        command.args(args);
        self.clean(&mut command);
        command
    }

    /// Any program, in the same environment.
    pub fn other(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        self.clean(&mut command);
        command
    }

    fn clean(&self, command: &mut Command) {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        // What outlives a tree must not reach the home of the person who runs the tests.
        command.env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY").env("HOME", &*self.dir);
        command.env("ZETA_STATE_DIR", &self.state).env("ZETA_BUS_DIR", self.dir.join("bus"));
        command.stdin(Stdio::null());
    }

    pub fn zeta(&self, args: &[&str]) -> Out {
        run(&mut self.cmd(args))
    }

    /// A call that must succeed; its data.
    pub fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }

    /// A call that must end with `status` and explain itself.
    pub fn refused(&self, args: &[&str], status: i32) -> Out {
        let out = self.zeta(args);
        assert_eq!(out.status, status, "zeta {args:?}: {out:?}");
        assert!(!out.err.is_empty(), "zeta {args:?} ended with {status} and said nothing");
        out
    }

    /// Takes a lease and returns its token.
    pub fn acquire(&self, args: &[&str]) -> u64 {
        let all: Vec<&str> = ["lease", "acquire"].iter().chain(args).copied().collect();
        self.ok(&all).parse().unwrap()
    }

    /// The directory of the tree's only node.
    pub fn node(&self) -> PathBuf {
        let name = std::fs::read_to_string(self.state.join("local-node")).unwrap();
        self.state.join("nodes").join(name.trim_end())
    }

    pub fn lock(&self, lease: &str) -> PathBuf {
        self.node().join(format!("{lease}.lock"))
    }

    /// Whether the lease has a record, where the tree may not be there yet.
    pub fn lock_exists(&self, lease: &str) -> bool {
        self.state.join("local-node").exists() && self.lock(lease).exists()
    }

    pub fn guard(&self, lease: &str) -> PathBuf {
        self.node().join(".guard").join(format!("{lease}.lock"))
    }

    /// Changes the text of a lease's record behind everybody's back.
    pub fn forge(&self, lease: &str, change: impl Fn(&str) -> Option<String>) {
        let path = self.lock(lease);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<String> = text.lines().filter_map(change).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }

    /// Sets keys of a lease's record to raw values, or removes them with `None`.
    pub fn forge_keys(&self, lease: &str, keys: &[(&str, Option<&str>)]) {
        self.forge(lease, |line| {
            let (key, _) = line.split_once(": ").unwrap();
            match keys.iter().find(|(name, _)| *name == key) {
                Some((_, Some(value))) => Some(format!("{key}: {value}")),
                Some((_, None)) => None,
                None => Some(line.to_owned()),
            }
        });
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.forget_anchors();
    }
}

/// The anchor of a directory that root made for a group.
pub fn anchor_of(dir: &Path) -> PathBuf {
    let path = dir.display().to_string();
    let escaped = path.trim_start_matches('/').replace('-', "\\x2d").replace('/', "-");
    PathBuf::from(format!("/run/zeta/state-anchor-{escaped}"))
}
