//! `zeta signature`: real repositories, the user's own git, and hooks that git itself runs.

mod audit;
mod beats;
mod hook;
mod message;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Out, Sandbox, run};

/// A block of `zeta signature write`, with these changes of a word.
fn block(changes: &[(&str, &str)]) -> String {
    let text = "Agency-Signature-Version: 1\nAgent: Otto\nAgent-Runtime: Claude Code\n\
        Agent-Model: model-x\nCredential-Identity: operator-account\nCredential-Mode: shared\n\
        Human-Review: none\nHuman-Review-Evidence: none\nAction-Mode: autonomous-fail-open\n\
        Task: Otto-12\n";
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// A repository of its own in a sandbox.
struct Repo {
    sandbox: Sandbox,
    dir: PathBuf,
}

impl Repo {
    fn new() -> Repo {
        let sandbox = Sandbox::new();
        let dir = sandbox.dir.join("shop");
        std::fs::create_dir(&dir).unwrap();
        let repo = Repo { sandbox, dir };
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    fn clean(&self, mut command: Command) -> Command {
        command.current_dir(&self.dir).env("GIT_CONFIG_NOSYSTEM", "1");
        command.env_remove("XDG_CONFIG_HOME");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann");
            command.env(format!("GIT_{who}_EMAIL"), "ann@example.invalid");
        }
        command
    }

    fn git_command(&self, args: &[&str]) -> Command {
        self.clean(self.sandbox.other("git", args))
    }

    fn git(&self, args: &[&str]) -> String {
        let out = run(&mut self.git_command(args));
        assert_eq!(out.status, 0, "git {args:?}: {out:?}");
        out.out.trim_end().to_owned()
    }

    /// Makes a commit with these bytes as its message, which git does not clean.
    fn commit(&self, at: &str, message: &[u8]) -> String {
        let mut command = self.git_command(&["commit-tree", "-F", "-"]);
        let head = self.git_command(&["rev-parse", "-q", "--verify", "HEAD"]);
        let head = run(&mut { head });
        if head.status == 0 {
            command.args(["-p", head.out.trim()]);
        }
        let tree = self.git(&["write-tree"]);
        command.arg(&tree).env("GIT_AUTHOR_DATE", at).env("GIT_COMMITTER_DATE", at);
        let out = with_input(command, message);
        assert_eq!(out.status, 0, "{out:?}");
        let id = out.out.trim().to_owned();
        self.git(&["update-ref", "HEAD", &id]);
        id
    }

    fn zeta_command(&self, args: &[&str]) -> Command {
        self.clean(self.sandbox.cmd(args))
    }

    fn zeta(&self, args: &[&str]) -> Out {
        run(&mut self.zeta_command(args))
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.zeta(args);
        assert_eq!(out.status, 0, "zeta {args:?}: {out:?}");
        out.out
    }

    /// The answer with `--json` of a call that ends with this status.
    fn json(&self, args: &[&str], status: i32) -> serde_json::Value {
        let out = self.zeta(&[&["--json"], args].concat());
        crate::json::judge(args, &out, status)
    }
}

/// Runs a program with this on its standard input.
fn with_input(mut command: Command, input: &[u8]) -> Out {
    let file = std::env::temp_dir().join(format!(
        "zeta-input-{}-{}",
        std::process::id(),
        fastrand::u64(..)
    ));
    std::fs::write(&file, input).unwrap();
    let out = run(command.stdin(Stdio::from(std::fs::File::open(&file).unwrap())));
    std::fs::remove_file(file).unwrap();
    out
}
