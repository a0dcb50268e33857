//! A machine that registers itself at the fake, by the built binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::fake_github::{FakeGithub, TOKEN};
use super::github_model::{NAME, OWNER};
use crate::support::{Out, Sandbox, run};

/// A machine with a home that outlives its boots.
pub struct Machine {
    pub sandbox: Sandbox,
    pub home: PathBuf,
}

impl Machine {
    pub fn new() -> Machine {
        let sandbox = Sandbox::new();
        let home = sandbox.dir.join("home");
        std::fs::create_dir(&home).unwrap();
        std::fs::create_dir(home.join("tmp")).unwrap();
        let token = home.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&token, private).unwrap();
        Machine { sandbox, home }
    }

    pub fn command(&self, forge: &FakeGithub, verb: &str, more: &[&str]) -> Command {
        let git = forge.model(|model| model.place().to_owned());
        let (repo, token) = (format!("{OWNER}/{NAME}"), self.home.join("token"));
        let mut command = self.sandbox.cmd(&["node", verb]);
        if verb != "steward" {
            command.args(["--repo", &repo, "--api", &forge.url]).arg("--remote").arg(git);
        }
        command.arg("--token-file").arg(token).args(more).env("HOME", &self.home);
        self.settle(&mut command);
        command
    }

    /// Any call, as on this machine: with its home and its directory for temporary files.
    pub fn settle<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for key in ["GH_TOKEN", "GITHUB_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"] {
            command.env_remove(key);
        }
        command.env("HOME", &self.home).env("TMPDIR", self.home.join("tmp"))
    }

    /// A registration with plain git.
    pub fn plain(&self, remote: &Path, more: &[&str]) -> Out {
        let mut command = self.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
        command.arg("--remote").arg(remote).args(more);
        run(self.settle(&mut command))
    }

    /// The receipt.
    pub fn receipt(&self) -> PathBuf {
        self.home.join(".config/zeta/self-registered.marker")
    }

    pub fn register(&self, forge: &FakeGithub, more: &[&str]) -> Out {
        let more: Vec<&str> = ["--maintainer", "ace"].iter().chain(more).copied().collect();
        let out = run(&mut self.command(forge, "register", &more));
        assert!(!format!("{out:?}").contains(TOKEN), "{out:?}");
        out
    }

    pub fn show(&self) -> Value {
        let mut command = self.sandbox.cmd(&["node", "show", "--json"]);
        let out = run(command.env("HOME", &self.home));
        assert_eq!(out.status, 0, "{out:?}");
        serde_json::from_str(&out.out).unwrap()
    }

    /// What an installer leaves of a machine: nothing but what it brings along itself.
    pub fn reinstall(&self) {
        self.reboot();
        let _ = std::fs::remove_dir_all(self.home.join(".config"));
    }

    /// Another boot: what is in memory is gone.
    pub fn reboot(&self) {
        let _ = std::fs::remove_dir_all(&self.sandbox.state);
    }
}

/// How many pull requests were ever opened.
pub fn opened(forge: &FakeGithub) -> usize {
    forge.model(|model| model.pulls.len())
}
