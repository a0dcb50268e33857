//! A fresh place for each operator's test: a directory, a tree in it, and the binary to call.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{TempDir, wait_for};

/// A directory that goes away with the test.
pub struct Sandbox {
    dir: TempDir,
}

/// A call that ended.
pub struct Done {
    pub status: i32,
    pub out: String,
    pub err: String,
    call: String,
}

/// A call may last long on a busy machine, but not for ever.
const LIMIT: Duration = Duration::from_secs(60);

impl Sandbox {
    pub fn new() -> Sandbox {
        // Other users may look into it.
        let dir = TempDir::new("ops", 0o755);
        Sandbox { dir }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// `nodes/<own node>`, below the tree.
    pub fn node_name(&self) -> String {
        let name = fs::read_to_string(self.tree().join("local-node")).unwrap();
        format!("nodes/{}", name.trim_end())
    }

    pub fn node(&self) -> PathBuf {
        self.tree().join(self.node_name())
    }

    pub fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.tree().join(below)).unwrap().mode() & 0o7777
    }

    pub fn chmod(&self, below: &str, mode: u32) {
        let path = self.tree().join(below);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn chmod_node(&self, file: &str, mode: u32) {
        self.chmod(&format!("{}/{file}", self.node_name()), mode);
    }

    /// Puts a file by another hand into the node's directory.
    pub fn put(&self, file: &str, text: &str) {
        fs::write(self.node().join(file), text).unwrap();
        self.chmod_node(file, 0o600);
    }

    pub fn configure(&self, text: &str) {
        let dir = self.dir.join("config/zeta");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.toml"), text).unwrap();
    }

    /// Gives a call this sandbox's tree and configuration, and nothing of the caller's.
    pub fn dress<'a>(&self, call: &'a mut Command) -> &'a mut Command {
        for name in ["ZETA_NODE", "ZETA_AGENT", "ZETA_SESSION", "ZETA_FENCED"] {
            call.env_remove(name);
        }
        call.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", self.dir.join("lasting"));
        call.env("ZETA_STATE_DIR", self.tree()).env("ZETA_BUS_DIR", self.bus());
        call.env("XDG_CONFIG_HOME", self.dir.join("config"))
    }

    pub fn bus(&self) -> PathBuf {
        self.dir.join("bus")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut call = Command::new(env!("CARGO_BIN_EXE_zeta"));
        self.dress(call.args(args));
        call
    }

    pub fn zeta(&self, args: &[&str]) -> Done {
        Done::of(&mut self.command(args))
    }

    /// A lease whose holder was killed together with what it ran.
    pub fn killed_holder(&self, lease: &str) {
        let mut holder =
            self.command(&["lease", "exec", lease, "--", "sleep", "600"]).spawn().unwrap();
        let file = self.node().join(format!("{lease}.lock"));
        let child = || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("child_pid: "));
            line.map(str::to_owned)
        };
        wait_for("the holder runs its child", || child().is_some());
        // The record is new; what it replaced is removed a moment later.
        let guard = self.node().join(format!(".guard/{lease}.lock"));
        let is_half =
            |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".tmp-");
        let half = || fs::read_dir(&guard).unwrap().flatten().filter(is_half).count();
        wait_for("the holder has written its record", || half() == 0);
        let child = child().unwrap();
        holder.kill().unwrap();
        holder.wait().unwrap();
        // It may have died with its parent.
        let _ = Command::new("kill").args(["-9", &child]).output();
        wait_for("the child has ended", || {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        });
    }

    /// Every path below the tree.
    pub fn listing(&self) -> String {
        Done::of(Command::new("find").arg(self.tree())).expect(0).out
    }
}

impl Done {
    pub fn of(call: &mut Command) -> Done {
        let out = crate::support::run_within(call.stdin(Stdio::null()), LIMIT);
        Done { status: out.status, out: out.out, err: out.err, call: format!("{call:?}") }
    }

    #[track_caller]
    pub fn expect(self, status: i32) -> Done
    where
        Self: Sized,
    {
        let Done { status: got, out, err, call } = &self;
        assert_eq!(*got, status, "{call}\nstdout: {out}\nstderr: {err}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs a program that must do its work.
#[track_caller]
pub fn run<S: AsRef<OsStr>>(program: &str, args: &[S]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}
