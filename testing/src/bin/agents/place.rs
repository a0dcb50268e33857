//! The home, the repository and the state directory of a scene.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::tool::Tool;

/// Below `/tmp`, which is a directory of its own for each run: zeta has its usual directories
/// there, which need no environment.
pub struct Place {
    dir: PathBuf,
}

impl Place {
    /// Makes the directories, and a repository with a remote.
    pub fn make(zeta: &Path, tools: &[&Tool]) -> Outcome<Place> {
        let place = Place { dir: PathBuf::from("/tmp/scene") };
        for name in ["bin", "tmp", "home/shop/src"] {
            fs::create_dir_all(place.dir.join(name))?;
        }
        fs::copy(zeta, place.zeta())?;
        fs::write(place.repo().join("src/old.txt"), "first\n")?;
        let remote = place.dir.join("remote.git").display().to_string();
        for args in [
            "init -q --bare -b main REMOTE",
            "init -q -b main",
            "config user.name tester",
            "config user.email tester@example.org",
            "add .",
            "commit -q -m first",
            "remote add origin REMOTE",
            "push -q origin main",
        ] {
            let args = args.split(' ').map(|arg| if arg == "REMOTE" { &remote } else { arg });
            place.answer(place.command("git").args(args))?;
        }
        // What a login shell of a tool puts into its path.
        place.write(".profile", &format!("PATH={}:$PATH\n", place.dir.join("bin").display()))?;
        tools.iter().try_for_each(|tool| (tool.prepare)(&place))?;
        Ok(place)
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// The repository.
    pub fn repo(&self) -> PathBuf {
        self.dir.join("home/shop")
    }

    /// The file that agents write.
    pub fn new_file(&self) -> PathBuf {
        self.repo().join("src/new.txt")
    }

    /// The installed program.
    pub fn zeta(&self) -> PathBuf {
        self.dir.join("bin/zeta")
    }

    /// The file with what a client printed.
    pub fn output(&self, client: &str) -> PathBuf {
        self.dir.join(format!("{client}.out"))
    }

    /// Writes a file below the home, and the directories above it.
    pub fn write(&self, path: &str, text: &str) -> Outcome<()> {
        let path = self.home().join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        Ok(fs::write(path, text)?)
    }

    /// Makes a command in the repository that inherits nothing of this process.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let bin = self.dir.join("bin").display().to_string();
        command
            .current_dir(self.repo())
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
            .env("LANG", "C.UTF-8")
            // Codex refuses a directory of its own below the one for temporary files.
            .env("TMPDIR", self.dir.join("tmp"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
    }

    /// Puts the command of a tool into the path.
    pub fn offer(&self, tool: &Tool) -> Outcome<()> {
        let path = self.dir.join("bin").join(tool.name);
        let args = tool.first_args.join(" ");
        fs::write(&path, format!("#!/bin/sh\nexec {} {args} \"$@\"\n", tool.program))?;
        Ok(fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?)
    }

    /// Runs zeta and returns what it printed.
    pub fn run_zeta(&self, args: &[&str]) -> Outcome<String> {
        self.answer(self.command(&self.zeta().display().to_string()).args(args))
    }

    /// Returns the agents that live, by `zeta status`.
    pub fn live(&self) -> Outcome<Vec<String>> {
        let status: Value = serde_json::from_str(&self.run_zeta(&["status", "--json"])?)?;
        let agents = status.pointer("/nodes/0/agents").and_then(Value::as_array);
        let text = |agent: &Value, key: &str| {
            agent.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let agents = agents.into_iter().flatten();
        let live = agents.filter(|agent| text(agent, "liveness") == "live");
        Ok(live.map(|agent| text(agent, "agent")).collect())
    }

    /// Reports whether an agent waits for a prompt, by its record (rule S120 of the standard).
    pub fn turn_is_over(&self, name: &str) -> Outcome<bool> {
        let nodes = fs::read_dir("/tmp/zeta-cluster-state/nodes")?;
        let over = nodes.filter_map(Result::ok).any(|node| {
            let record = fs::read_to_string(node.path().join(format!("persona-{name}.state")));
            record.is_ok_and(|record| record.lines().any(|line| line == r#"turn: "over""#))
        });
        Ok(over)
    }

    /// Returns what `zeta status --waiting` shows, if an agent waits for a person.
    pub fn waits(&self) -> Outcome<Option<String>> {
        let mut command = self.command(&self.zeta().display().to_string());
        let done = command.args(["status", "--waiting"]).output()?;
        match done.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&done.stdout).into_owned())),
            Some(4) => Ok(None),
            _ => Err(String::from_utf8_lossy(&done.stderr).into()),
        }
    }

    /// Waits until so many agents live: OpenCode does not wait for its hooks at the start.
    pub fn live_soon(&self, count: usize) -> Outcome<Vec<String>> {
        let begun = Instant::now();
        loop {
            let live = self.live()?;
            if live.len() >= count || begun.elapsed() > Duration::from_secs(20) {
                return Ok(live);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the commit at the head of the remote's branch.
    pub fn pushed(&self) -> Outcome<String> {
        self.answer(self.command("git").args(["ls-remote", "origin", "main"]))
    }

    /// Returns the commit at the head of the branch.
    pub fn head(&self) -> Outcome<String> {
        self.answer(self.command("git").args(["rev-parse", "HEAD"]))
    }

    /// Prints the last lines that each client printed, for a reader who looks for a cause.
    pub fn show_output(&self) {
        for client in ["first", "second", "otto"] {
            let path = self.output(client);
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            println!("--- the last lines of {}", path.display());
            for line in lines.iter().skip(lines.len().saturating_sub(8)) {
                println!("{}", line.chars().take(400).collect::<String>());
            }
        }
    }

    /// Puts the home that a page uses in the place of the one here.
    pub fn as_on_a_page(&self, text: &str) -> String {
        text.replace(&self.home().display().to_string(), "/home/ann")
    }

    fn answer(&self, command: &mut Command) -> Outcome<String> {
        let done = command.output()?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(format!("{command:?} ended with {}: {said}", done.status).into());
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}
