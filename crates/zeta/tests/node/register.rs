//! A node that registers itself, by the built binary, real git and the stand-in of GitHub: once,
//! whoever runs it, however often, and wherever it is cut off.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hub::{Call, NAME, OWNER};
use crate::stage::{LIMIT, Out, Stage, finish, run, wait};
use crate::standin::{Fault, StandIn, TOKEN};

/// A machine with a home that outlives its boots.
struct Machine {
    stage: Stage,
    home: PathBuf,
}

impl Machine {
    fn new() -> Machine {
        let stage = Stage::new();
        let home = stage.dir.join("home");
        std::fs::create_dir(&home).unwrap();
        let token = home.join("token");
        std::fs::write(&token, TOKEN).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&token, private).unwrap();
        Machine { stage, home }
    }

    fn command(&self, forge: &StandIn, verb: &str, more: &[&str]) -> Command {
        let git = forge.hub(|hub| hub.place().to_owned());
        let (repo, token) = (format!("{OWNER}/{NAME}"), self.home.join("token"));
        let mut command = self.stage.cmd(&["node", verb]);
        if verb != "steward" {
            command.args(["--repo", &repo, "--api", &forge.url]).arg("--remote").arg(git);
        }
        command.arg("--token-file").arg(token).args(more).env("HOME", &self.home);
        command.env_remove("GH_TOKEN").env_remove("GITHUB_TOKEN");
        command
    }

    fn register(&self, forge: &StandIn, more: &[&str]) -> Out {
        let more: Vec<&str> = ["--maintainer", "ace"].iter().chain(more).copied().collect();
        let out = run(&mut self.command(forge, "register", &more));
        assert!(!format!("{out:?}").contains(TOKEN), "{out:?}");
        out
    }

    fn show(&self) -> Value {
        let mut command = self.stage.cmd(&["node", "show", "--json"]);
        let out = run(command.env("HOME", &self.home));
        assert_eq!(out.status, 0, "{out:?}");
        serde_json::from_str(&out.out).unwrap()
    }

    /// Another boot: what is in memory is gone.
    fn reboot(&self) {
        let _ = std::fs::remove_dir_all(&self.stage.state);
    }
}

fn opened(forge: &StandIn) -> usize {
    forge.hub(|hub| hub.pulls.len())
}

#[test]
fn sixteen_agents_of_a_node_open_one_pull_request_and_each_boot_finds_it() {
    let (forge, machine) = (StandIn::new(), Machine::new());
    let started = Instant::now();
    let agents: Vec<_> = (0..16)
        .map(|_| {
            let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for agent in agents {
        let out = finish(agent, started, LIMIT * 3);
        assert!(matches!(out.status, 0 | 3), "{out:?}");
    }
    assert_eq!(opened(&forge), 1);
    let shown = machine.show();
    assert!(matches!(shown["state"].as_str(), Some("pr-opened" | "converging")), "{shown}");
    let node = shown["node"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        machine.reboot();
        let out = machine.register(&forge, &[]);
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.contains("waits for"), "{out:?}");
    }
    assert_eq!(machine.show()["node"], node.as_str(), "the name outlives the boot");
    forge.hub(|hub| hub.merge(1));
    machine.reboot();
    assert!(machine.register(&forge, &[]).out.contains("registered"));
    assert_eq!(machine.show()["state"], "converged");
    // A receipt is no answer: without it the forge is asked, and knows.
    let marker = std::fs::read_to_string(machine.stage.node().join("self-registered.marker"));
    assert!(marker.unwrap().contains("converged"));
    assert_eq!(opened(&forge), 1);
}

#[test]
fn a_closed_pull_request_is_a_no_until_somebody_asks_again() {
    let (forge, machine) = (StandIn::new(), Machine::new());
    assert_eq!(machine.register(&forge, &[]).status, 0);
    forge.hub(|hub| hub.close(1));
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 3, "{out:?}");
    assert!(out.err.contains("--reopen"), "{out:?}");
    assert_eq!(machine.show()["state"], "closed");
    assert_eq!(machine.register(&forge, &["--reopen"]).status, 0);
    assert_eq!(opened(&forge), 2);
    assert_eq!(machine.register(&forge, &["--reopen"]).status, 0);
    assert_eq!(opened(&forge), 2);
}

#[test]
fn somebody_else_s_pull_request_is_adopted() {
    let (forge, machine) = (StandIn::new(), Machine::new());
    let name = machine.stage.ok(&["lease", "acquire", "x"]);
    assert!(!name.is_empty());
    let node = std::fs::read_to_string(machine.stage.state.join("local-node")).unwrap();
    let node = node.trim();
    forge.hub(|hub| {
        let branch = format!("register-{node}-20260519T101112Z");
        hub.commit(&branch, "maintainers/ace/x", "x");
        let title = format!("feat(node-register): {node} self-registers via iter-5.4.1");
        hub.foreign(&branch, &title, "")
    });
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(opened(&forge), 1);
}

#[test]
fn what_cannot_be_asked_opens_nothing() {
    for call in [Call::Contents, Call::Open] {
        for fault in [Fault::Status(500), Fault::LostBefore, Fault::Secondary(3600)] {
            let (forge, machine) = (StandIn::new(), Machine::new());
            forge.fault(call, fault, 50);
            let out = machine.register(&forge, &[]);
            assert_ne!(out.status, 0, "{call:?} {fault:?}: {out:?}");
            assert!(out.err.contains("->"), "{call:?} {fault:?}: {out:?}");
            assert_eq!(opened(&forge), 0, "{call:?} {fault:?}");
        }
    }
}

#[test]
fn an_answer_that_was_lost_doubles_nothing() {
    for fault in [Fault::LostAfter, Fault::StatusAfter(502), Fault::Malformed] {
        let (forge, machine) = (StandIn::new(), Machine::new());
        forge.fault(Call::Open, fault, 1);
        let out = machine.register(&forge, &[]);
        assert_eq!(out.status, 0, "{fault:?}: {out:?}");
        assert_eq!(machine.register(&forge, &[]).status, 0);
        assert_eq!(opened(&forge), 1, "{fault:?}");
    }
}

#[test]
fn a_run_that_is_killed_anywhere_is_taken_up_by_the_next() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..4 {
        let (forge, machine) = (StandIn::new(), Machine::new());
        for _ in 0..6 {
            let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(dice.u64(..250)));
            let _ = child.kill();
            wait(&mut child, LIMIT);
        }
        let out = machine.register(&forge, &[]);
        assert_eq!(out.status, 0, "{out:?}");
        assert_eq!(opened(&forge), 1);
        assert!(machine.show()["pr_url"].as_str().is_some());
    }
}

#[test]
fn a_steward_carries_an_intent_across_and_comments_once() {
    let (forge, machine) = (StandIn::new(), Machine::new());
    let intent = machine.register(&forge, &["--intent"]);
    assert_eq!(intent.status, 0, "{intent:?}");
    assert_eq!(opened(&forge), 0, "an intent opens nothing");
    for _ in 0..2 {
        let out = run(&mut machine.command(&forge, "steward", &[]));
        assert_eq!(out.status, 0, "{out:?}");
    }
    assert_eq!(opened(&forge), 1);
    assert!(forge.hub(|hub| hub.pulls[0].armed));
    assert!(forge.hub(|hub| hub.comments.is_empty()), "it is our own");
    forge.hub(|hub| hub.merge(1));
    let out = run(&mut machine.command(&forge, "steward", &[]));
    assert!(out.out.contains("registered"), "{out:?}");
    assert_eq!(machine.show()["state"], "converged");
    let out = run(&mut machine.command(&forge, "steward", &[]));
    assert!(out.err.contains("no intent"), "{out:?}");
}

#[test]
fn without_a_forge_a_branch_waits() {
    let (forge, machine) = (StandIn::new(), Machine::new());
    let git = forge.hub(|hub| hub.place().to_owned());
    let register = || {
        let mut command = machine.stage.cmd(&["node", "register", "--maintainer", "ace"]);
        run(command.arg("--remote").arg(&git).env("HOME", &machine.home))
    };
    let out = register();
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("#register-node-"), "{out:?}");
    assert!(register().out.contains("waits for"));
    let mut list = machine.stage.cmd(&["node", "list", "--remote"]);
    assert_eq!(run(list.arg(&git)).status, 4, "no node is on the default branch yet");
}
