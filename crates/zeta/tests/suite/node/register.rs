//! A node that registers itself, by the built binary, real git and the fake of GitHub: once, by any
//! agent, after any number of calls, and after an interruption at any step.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::fake_github::{FakeGithub, Fault};
use super::github_model::Call;
use super::machine::{Machine, opened};
use crate::support::{LIMIT, finish, run, wait};

#[test]
fn sixteen_agents_of_a_node_open_one_pull_request_and_each_boot_finds_it() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
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
    forge.model(|model| model.merge(1));
    machine.reboot();
    let asked = forge.asked(Call::Pulls);
    assert!(machine.register(&forge, &[]).out.contains("registered"));
    assert_eq!(forge.asked(Call::Pulls), asked, "one question is enough");
    assert_eq!(machine.show()["state"], "converged");
    // A receipt is no answer: without it the forge is asked, and knows.
    let marker = std::fs::read_to_string(machine.sandbox.node().join("self-registered.marker"));
    assert!(marker.unwrap().contains("converged"));
    assert_eq!(opened(&forge), 1);
}

#[test]
fn a_closed_pull_request_is_a_no_until_somebody_asks_again() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &[]).status, 0);
    forge.model(|model| model.close(1));
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
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let name = machine.sandbox.ok(&["lease", "acquire", "x"]);
    assert!(!name.is_empty());
    let node = std::fs::read_to_string(machine.sandbox.state.join("local-node")).unwrap();
    let node = node.trim();
    forge.model(|model| {
        let branch = format!("register-{node}-20260519T101112Z");
        model.commit(&branch, "maintainers/ace/x", "x");
        let title = format!("feat(node-register): {node} self-registers via iter-5.4.1");
        model.foreign(&branch, &title, "")
    });
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(opened(&forge), 1);
}

#[test]
fn what_cannot_be_asked_opens_nothing() {
    for call in [Call::Contents, Call::Open] {
        for fault in [Fault::Status(500), Fault::LostBefore, Fault::Secondary(3600)] {
            let (forge, machine) = (FakeGithub::new(), Machine::new());
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
        let (forge, machine) = (FakeGithub::new(), Machine::new());
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
        let (forge, machine) = (FakeGithub::new(), Machine::new());
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
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let intent = machine.register(&forge, &["--intent"]);
    assert_eq!(intent.status, 0, "{intent:?}");
    assert_eq!(opened(&forge), 0, "an intent opens nothing");
    for _ in 0..2 {
        let out = run(&mut machine.command(&forge, "steward", &[]));
        assert_eq!(out.status, 0, "{out:?}");
    }
    assert_eq!(opened(&forge), 1);
    assert!(forge.model(|model| model.pulls[0].armed));
    assert!(forge.model(|model| model.comments.is_empty()), "it is our own");
    forge.model(|model| model.merge(1));
    let out = run(&mut machine.command(&forge, "steward", &[]));
    assert!(out.out.contains("registered"), "{out:?}");
    assert_eq!(machine.show()["state"], "converged");
    let out = run(&mut machine.command(&forge, "steward", &[]));
    assert!(out.out.contains("no intent"), "{out:?}");
}

#[test]
fn without_a_forge_a_branch_waits() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let git = forge.model(|model| model.place().to_owned());
    let register = || {
        let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
        run(command.arg("--remote").arg(&git).env("HOME", &machine.home))
    };
    let out = register();
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("#register-node-"), "{out:?}");
    assert!(register().out.contains("waits for"));
    let mut list = machine.sandbox.cmd(&["node", "list", "--remote"]);
    assert_eq!(run(list.arg(&git)).status, 4, "no node is on the default branch yet");
}
