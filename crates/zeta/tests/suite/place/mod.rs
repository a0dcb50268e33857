//! Where agents live: sandboxes, user namespaces, containers, overlays. Each row of the table in
//! `docs/use/sandboxes.md` is a row of a test here.

mod agent_sandbox;
mod container;
mod hints;
mod overlay;
mod rows;
mod user_namespace;

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Out, TempDir, can, is_root, run, skip};

/// The user of these tests, if root runs them; it has no line in `/etc/passwd`.
const USER: u32 = 12_345;

/// A directory of an ordinary user in `/tmp`, and the program where that user can start it.
struct Place {
    dir: TempDir,
    zeta: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = TempDir::new("place", 0o755);
        let zeta = dir.join("zeta");
        // Another process makes the copy: a child of a parallel test could inherit an open
        // descriptor for writing ("text file busy").
        let (from, to) = (env!("CARGO_BIN_EXE_zeta"), zeta.to_str().unwrap());
        assert!(can("install", &["-m", "755", from, to]));
        if is_root() {
            chown(&dir, Some(USER), Some(USER)).unwrap();
        }
        Place { dir, zeta }
    }

    /// Where the tree is or will be.
    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A shell script by the ordinary user: `$Z` is zeta, `$D` this directory, which has the tree
    /// and the bus.
    fn script(&self, script: &str) -> Out {
        run(&mut self.command(script))
    }

    fn command(&self, script: &str) -> Command {
        let uid = USER.to_string();
        let become_user = ["--reuid", &uid, "--regid", &uid, "--clear-groups", "sh", "-c", script];
        let mut command = match is_root() {
            true => Command::new("setpriv"),
            false => Command::new("sh"),
        };
        match is_root() {
            true => command.args(become_user),
            false => command.args(["-c", script]),
        };
        self.dress(&mut command);
        command
    }

    /// As [`Place::script`], by the user who runs the tests.
    fn as_tester(&self, script: &str) -> Out {
        let mut command = Command::new("sh");
        run(self.dress(command.args(["-c", script])))
    }

    fn dress<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("ZETA_") {
                command.env_remove(key);
            }
        }
        command.env("Z", &self.zeta).env("D", &*self.dir);
        command.env("ZETA_STATE_DIR", self.state()).env("ZETA_BUS_DIR", self.dir.join("bus"));
        command.env_remove("XDG_STATE_HOME").env_remove("STATE_DIRECTORY");
        command.env_remove("HOME").env_remove("USER").env_remove("LOGNAME");
        command.current_dir("/").stdin(Stdio::null())
    }

    /// Reports whether this machine lets the ordinary user run a command; if not, says so.
    fn can(&self, test: &str, probe: &str) -> bool {
        let can = self.script(&format!("{probe} true")).status == 0;
        if !can {
            skip(test, &format!("this cannot be done here: {probe}"));
        }
        can
    }
}
