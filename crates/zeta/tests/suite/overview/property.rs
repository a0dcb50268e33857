//! After any sequence of changes, the followed overview is what a fresh look shows.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::{check, follow};
use crate::support::{Sandbox, run};

/// Steps in all; a fresh look is taken after each `EACH` of them.
const STEPS: usize = 1_200;
const EACH: usize = 5;

/// What changes the tree and the bus.
struct Hand {
    sandbox: Sandbox,
    random: fastrand::Rng,
    children: Vec<Child>,
    repository: PathBuf,
}

impl Hand {
    fn new(seed: u64) -> Hand {
        let sandbox = Sandbox::new();
        let repository = sandbox.dir.join("repository");
        fs::create_dir(&repository).unwrap();
        let git = ["-C", repository.to_str().unwrap(), "init", "-q"];
        assert_eq!(run(&mut sandbox.other("git", &git)).status, 0);
        let random = fastrand::Rng::with_seed(seed);
        Hand { sandbox, random, children: Vec::new(), repository }
    }

    fn agent(&mut self) -> String {
        format!("a{}", self.random.u8(0..6))
    }

    fn lease(&mut self) -> String {
        format!("l{}", self.random.u8(0..4))
    }

    /// A call, whatever comes of it.
    fn call(&mut self, args: &[&str]) {
        let agent = self.agent();
        let mut command = self.sandbox.cmd(args);
        println!("{agent} calls {args:?}");
        run(command.args(["--as", &agent]).current_dir(&self.repository));
    }

    /// A call that goes on while other things happen.
    fn start(&mut self, args: &[&str]) {
        let mut command = self.sandbox.cmd(args);
        let command = command.current_dir(&self.repository);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.children.push(child);
        if self.children.len() > 6 {
            self.kill();
        }
    }

    fn kill(&mut self) {
        if !self.children.is_empty() {
            let at = self.random.usize(0..self.children.len());
            let mut child = self.children.swap_remove(at);
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// A file or directory of the node or of the bus, at random.
    fn any_file(&mut self) -> Option<PathBuf> {
        let node = self.node()?;
        let bus = self.sandbox.dir.join("bus");
        let dirs = [node, bus.clone(), bus.join(".zeta/inbox")];
        let dir = &dirs[self.random.usize(0..3)];
        let all: Vec<PathBuf> =
            fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
        // The order of a directory depends on names that are random.
        (!all.is_empty()).then(|| all[self.random.usize(0..all.len())].clone())
    }

    fn node(&self) -> Option<PathBuf> {
        let nodes = fs::read_dir(self.sandbox.state.join("nodes")).ok()?;
        nodes.flatten().map(|entry| entry.path()).min()
    }

    /// Writes a file by another hand, in place or by a rename.
    fn put(&mut self, dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        if self.random.bool() {
            let _ = fs::write(path, text);
        } else {
            let temp = dir.join(".tmp-other");
            let _ = fs::write(&temp, text).and_then(|()| fs::rename(temp, path));
        }
    }

    fn foreign(&mut self) {
        let Some(node) = self.node() else { return };
        let text = [
            "agent: rex\npid: 7\nttl: 1h\n",
            "schema: 1\nkind: \"persona\"\n",
            "schema: 1\nkind: \"lease\"\njoint: \"slots\"\n",
            "",
            "\u{0}\u{1b}[2J",
        ];
        let text = text[self.random.usize(0..text.len())];
        let names = [
            "l0.lock",
            "l7.lock",
            "persona-a0.state",
            "persona-rex.state",
            "m.marker",
            "notes.txt",
        ];
        let name = names[self.random.usize(0..names.len())];
        println!("another hand: {name} {text:?}");
        match self.random.u8(0..10) {
            // Within the sandbox: a change of the mode, below, follows it.
            0 => _ = symlink(self.sandbox.dir.join("elsewhere"), node.join(name)),
            1 => _ = fs::DirBuilder::new().mode(0o700).create(node.join(name)),
            2 => {
                let mode = if self.random.bool() { 0o666 } else { 0o600 };
                let _ = fs::set_permissions(node.join(name), fs::Permissions::from_mode(mode));
            }
            3 => _ = fs::hard_link(node.join("l0.lock"), node.join("l1.lock")),
            4 => _ = fs::DirBuilder::new().mode(0o700).create(node.join("l0.grants")),
            5 => self.put(&node.join("l0.grants"), "000000000000000000000007.lock", text),
            _ => self.put(&node, name, text),
        }
    }

    fn remove(&mut self) {
        let Some(path) = self.any_file() else { return };
        println!("removes {path:?}");
        match path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            true => _ = fs::remove_dir_all(path),
            false => _ = fs::remove_file(path),
        }
    }

    /// What happens seldom: whole directories go, come and move.
    fn upheaval(&mut self) {
        let (state, bus) = (self.sandbox.state.clone(), self.sandbox.dir.join("bus"));
        let away = self.sandbox.dir.join(format!("away{}", self.random.u32(..)));
        let kind = self.random.u8(0..8);
        println!("upheaval {kind}");
        match kind {
            0 => _ = fs::remove_dir_all(state),
            1 => _ = fs::rename(state, away),
            2 => _ = fs::remove_dir_all(bus),
            3 => _ = fs::rename(bus, away),
            4 | 5 => {
                if let Some(node) = self.node() {
                    let other = node.with_file_name(format!("n{}", self.random.u8(0..3)));
                    let _ = fs::rename(node, other);
                }
            }
            6 => _ = self.node().map(fs::remove_dir_all),
            _ => {
                let mode = if self.random.bool() { 0o777 } else { 0o700 };
                let _ = fs::set_permissions(state, fs::Permissions::from_mode(mode));
            }
        }
    }

    fn step(&mut self) {
        let (lease, other) = (self.lease(), self.agent());
        let lease = lease.as_str();
        match self.random.u8(0..40) {
            0..4 => self.call(&["lease", "acquire", lease, "--purpose", "p"]),
            4 => self.call(&["lease", "acquire", lease, "--ttl", "100ms"]),
            5 => self.call(&["lease", "acquire", "slots", "--slots", "2"]),
            6..8 => self.call(&["claim", "acquire", lease, "--branch", "main"]),
            8..10 => self.call(&["claim", "acquire", "--path", &format!("src/{lease}")]),
            10 => self.call(&["claim", "release", "--path", &format!("src/{lease}")]),
            11 => self.call(&["claim", "release", lease]),
            12..14 => self.release(lease),
            14 => self.call(&["lease", "break", lease, "--damaged", "--reason", "r"]),
            15..17 => self.call(&["heartbeat"]),
            17 => self.call(&["persona", "set", &other, "task=t", "branch=b"]),
            18 => self.waits(&other),
            19..21 => self.call(&["bus", "send", &other, "a text"]),
            21 => self.call(&["bus", "send", "*", "to all"]),
            22 => self.call(&["bus", "inbox"]),
            23 => self.call(&["clean"]),
            24..26 => self.start(&["lease", "acquire", lease, "--wait", "20s", "--as", &other]),
            26 => self.start(&["run", "--as", &other, "--", "sleep", "30"]),
            27 => self.start(&["lease", "exec", lease, "--as", &other, "--", "sleep", "30"]),
            28..30 => self.kill(),
            30..35 => self.foreign(),
            35..39 => self.remove(),
            _ => self.upheaval(),
        }
    }

    fn release(&mut self, lease: &str) {
        let Some(node) = self.node() else { return };
        let text = fs::read_to_string(node.join(format!("{lease}.lock"))).unwrap_or_default();
        let token = text.lines().find_map(|line| line.strip_prefix("fencing_token: "));
        if let Some(token) = token.map(str::to_owned) {
            self.call(&["lease", "release", lease, "--token", &token]);
        }
    }

    /// An agent begins or ends to wait for a person, by its record.
    fn waits(&mut self, agent: &str) {
        let Some(node) = self.node() else { return };
        let name = format!("persona-{agent}.state");
        let Ok(text) = fs::read_to_string(node.join(&name)) else { return };
        let question = "waits_for: \"run it?\"\nwaits_since: \"2026-11-28T20:52:54.686383Z\"\n";
        let text = match text.contains("waits_for") {
            true => text.replace(question, ""),
            false => text.replace("end: true", &format!("{question}end: true")),
        };
        self.put(&node, &name, &text);
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        while !self.children.is_empty() {
            self.kill();
        }
        let state = &self.sandbox.state;
        let _ = fs::set_permissions(state, fs::Permissions::from_mode(0o700));
    }
}

#[test]
fn what_is_followed_is_what_a_fresh_look_shows_after_any_changes() {
    let seed = match std::env::var("ZETA_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("ZETA_SEED={seed}");
    let mut hand = Hand::new(seed);
    let mut follower = follow(&hand.sandbox);
    let mut old = follower.overview().clone();
    for step in 0..STEPS {
        println!("step {step}");
        hand.step();
        if step % EACH == 0 {
            check(&mut follower, &mut old, &hand.sandbox);
        }
    }
}
