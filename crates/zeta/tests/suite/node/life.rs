//! The life of nodes: three at once, other boots and installations, a fork, an end that is moved,
//! and the way out.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::fake_github::FakeGithub;
use super::github_model::{Call, FORKER, NAME};
use super::machine::{Machine, opened};
use crate::support::{LIMIT, Out, Sandbox, finish, run, skip, test_name, wait};

fn state(machine: &Machine) -> String {
    machine.show()["state"].as_str().unwrap().to_owned()
}

fn node(machine: &Machine) -> String {
    machine.show()["node"].as_str().unwrap().to_owned()
}

#[test]
fn three_nodes_at_once_open_one_pull_request_each() {
    let forge = FakeGithub::new();
    let machines = [Machine::new(), Machine::new(), Machine::new()];
    let started = Instant::now();
    let mut agents = Vec::new();
    for _ in 0..3 {
        for machine in &machines {
            let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
            agents.push(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        }
    }
    for agent in agents {
        let out = finish(agent, started, LIMIT * 3);
        assert!(matches!(out.status, 0 | 3), "{out:?}");
    }
    let mut branches =
        forge.model(|model| model.pulls.iter().map(|row| row.branch.clone()).collect::<Vec<_>>());
    branches.sort_unstable();
    let mut wanted: Vec<String> =
        machines.iter().map(|machine| format!("register-node-{}", node(machine))).collect();
    wanted.sort_unstable();
    assert_eq!(branches, wanted);
    // A search is made only by a caller that is about to open a pull request, not by every caller.
    assert!(forge.asked(Call::Search) <= 4 * 2 * machines.len(), "{}", forge.asked(Call::Search));
}

/// A call in a mount namespace in which the kernel tells another boot's id.
fn in_another_boot(machine: &Machine, command: &Command) -> Option<Out> {
    let id = machine.home.join("boot-id");
    std::fs::write(&id, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script]).arg(&id).arg(command.get_program());
    unshare.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => unshare.env(key, value),
            None => unshare.env_remove(key),
        };
    }
    let out = run(&mut unshare);
    let mounts = !out.err.contains("unshare:") && !out.err.contains("mount:");
    mounts.then_some(out)
}

#[test]
fn a_node_s_whole_life_is_one_pull_request_and_the_receipt_says_where_it_stands() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    // Three agents; one of them dies while it opens the pull request, and the machine boots anew.
    let mut agents: Vec<_> = (0..3)
        .map(|_| {
            let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(120));
    for agent in &mut agents {
        let _ = agent.kill();
        wait(agent, LIMIT);
    }
    // Who had the lease is dead, or of another boot: both are over, and the tree is gone with /tmp.
    machine.reboot();
    let again = machine.command(&forge, "register", &["--maintainer", "ace"]);
    match in_another_boot(&machine, &again) {
        Some(out) => assert_eq!(out.status, 0, "{out:?}"),
        None => {
            skip(test_name!(), "another boot id needs a mount namespace; it runs in this boot");
            assert_eq!(machine.register(&forge, &[]).status, 0);
        }
    }
    machine.reboot();
    assert_eq!(machine.register(&forge, &[]).status, 0);
    assert_eq!((opened(&forge), state(&machine).as_str()), (1, "converging"));
    let name = node(&machine);
    // A new installation whose installer kept the name, as its file or its blob does.
    machine.reinstall();
    assert_eq!(machine.register(&forge, &["--node", &name]).status, 0);
    assert_eq!((opened(&forge), node(&machine)), (1, name.clone()));
    forge.model(|model| model.close(1));
    assert_eq!(machine.register(&forge, &[]).status, 3);
    assert_eq!((opened(&forge), state(&machine).as_str()), (1, "closed"));
    machine.reinstall();
    assert_eq!(machine.register(&forge, &["--node", &name]).status, 3, "a no outlives it, too");
    assert_eq!(machine.register(&forge, &["--reopen"]).status, 0);
    assert_eq!((opened(&forge), state(&machine).as_str()), (2, "pr-opened"));
    assert!(forge.model(|model| model.pulls[1].body.contains("/pull/1, which was closed")));
    forge.model(|model| model.merge(2));
    for _ in 0..2 {
        machine.reinstall();
        assert_eq!(machine.register(&forge, &["--node", &name]).status, 0);
        assert_eq!((opened(&forge), state(&machine).as_str()), (2, "converged"));
    }
}

#[test]
fn without_write_access_the_way_is_a_fork_and_the_error_says_so() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let fork = forge.model(|model| model.fork());
    // The fork is behind.
    forge.model(|model| model.commit("main", "news.md", "later\n"));
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 7, "{out:?}");
    assert!(out.err.contains("denied to squirrel") && out.err.contains("--fork"), "{out:?}");
    let (slug, fork) = (format!("{FORKER}/{NAME}"), fork.display().to_string());
    let forked = ["--fork", &slug, "--fork-remote", &fork];
    let out = machine.register(&forge, &forked);
    assert_eq!(out.status, 6, "one attempt a day: {out:?}");
    assert!(machine.show()["detail"].as_str().unwrap().contains("denied to squirrel"), "why stays");
    let other = [&forked[..], &["--node", "node-0ther"]].concat();
    assert_eq!(machine.register(&forge, &other).status, 0, "another node's attempts are its own");
    forge.model(|model| model.pulls.clear());
    let now = [&forked[..], &["--min-interval", "0s"]].concat();
    let out = machine.register(&forge, &now);
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(forge.model(|model| model.pulls[0].owner.clone()), FORKER);
    assert!(machine.register(&forge, &forked).out.contains("waits for"));
    forge.model(|model| model.merge(1));
    assert!(machine.register(&forge, &forked).out.contains("registered"));
    assert_eq!(opened(&forge), 1);
}

pub fn iso(days_from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let at = i64::try_from(now).unwrap() + days_from_now * 86_400_000_000;
    zeta_core::time::format_utc(at)
}

/// Rewrites the end of a node on the default branch, as time would.
fn age(forge: &FakeGithub, name: &str, days: i64) {
    forge.model(|model| {
        let path = zeta_core::registration::node_path("ace", name);
        let text = model.content("main", &path);
        let aged = zeta_core::registration::expiry::with_end(&text, &iso(days)).unwrap();
        model.commit("main", &path, &(aged + "# a note of a person\n"));
    });
}

#[test]
fn an_end_is_moved_when_it_is_near_and_a_dead_node_is_removed() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let expires = ["--expires", "30d", "--min-interval", "0s"];
    assert_eq!(machine.register(&forge, &expires).status, 0);
    forge.model(|model| model.merge(1));
    assert_eq!(machine.register(&forge, &expires).status, 0);
    assert_eq!(opened(&forge), 1, "30 days are far enough");
    let name = node(&machine);
    age(&forge, &name, 6);
    for _ in 0..2 {
        assert_eq!(machine.register(&forge, &expires).status, 0);
        assert_eq!(opened(&forge), 2, "one pull request moves it");
        assert!(machine.show()["detail"].as_str().unwrap().contains("/pull/2 moves its end"));
        assert_eq!(state(&machine), "converged");
    }
    forge.model(|model| model.merge(2));
    assert_eq!(machine.register(&forge, &expires).status, 0);
    assert_eq!(opened(&forge), 2);
    let path = zeta_core::registration::node_path("ace", &name);
    let text = forge.model(|model| model.content("main", &path));
    assert!(text.contains("a note of a person"), "{text}");
    // Without the wish nothing is moved, and the node dies.
    age(&forge, &name, -4);
    assert_eq!(machine.register(&forge, &[]).status, 0);
    assert_eq!(opened(&forge), 2);
    let list = run(&mut machine.command(&forge, "list", &[]));
    assert!(list.out.contains(&name) && list.out.contains("dead"), "{list:?}");
    for _ in 0..2 {
        let out = run(&mut machine.command(&forge, "deregister", &["--dead"]));
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.contains("/pull/3"), "{out:?}");
        assert_eq!(opened(&forge), 3);
    }
    forge.model(|model| model.merge(3));
    assert_eq!(run(&mut machine.command(&forge, "list", &[])).status, 4);
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 3, "removed is a no: {out:?}");
    assert!(out.err.contains("removed"), "{out:?}");
}

#[test]
fn a_node_leaves_by_one_pull_request_and_can_come_and_leave_again() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &[]).status, 0);
    forge.model(|model| model.merge(1));
    let leave = |want: &str| {
        let args = ["--maintainer", "ace", "--reason", "sold"];
        let out = run(&mut machine.command(&forge, "deregister", &args));
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.contains(want), "{out:?}");
    };
    leave("opened");
    leave("is open already");
    forge.model(|model| model.merge(2));
    let args = ["--maintainer", "ace", "--reason", "sold"];
    let gone = run(&mut machine.command(&forge, "deregister", &args));
    assert!(gone.status == 4 && gone.err.contains("has no node"), "{gone:?}");
    assert_eq!(machine.register(&forge, &["--reopen"]).status, 0);
    forge.model(|model| model.merge(3));
    // The branch of the first leave is still there, and merged.
    leave("opened");
    assert_eq!(opened(&forge), 4);
}

#[test]
fn a_steward_comments_once_on_what_is_not_ours_whatever_boots_between() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let name = "node-0c0ffe";
    forge.model(|model| {
        model.auto_merge = false;
        let branch = format!("register-{name}-20260519T101112Z");
        model.commit(&branch, &zeta_core::registration::node_path("ace", name), "x: 1\n");
        model.foreign(&branch, &format!("feat(node-register): {name} self-registers"), "")
    });
    for _ in 0..2 {
        let out = machine.register(&forge, &["--node", name, "--intent"]);
        assert_eq!(out.status, 0, "{out:?}");
        let out = run(&mut machine.command(&forge, "steward", &["--node", name]));
        assert_eq!(out.status, 0, "{out:?}");
        assert!(machine.show()["detail"].as_str().unwrap().contains("no auto-merge"));
        machine.reboot();
    }
    assert_eq!((opened(&forge), forge.model(|model| model.comments.len())), (1, 1));
}

#[test]
fn a_receipt_of_another_maker_and_bad_input_are_told() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let marker = machine.home.join(".config/zeta/self-registered.marker");
    std::fs::create_dir_all(marker.parent().unwrap()).unwrap();
    for text in ["pull 7\n", "\0\0", "state=converged\n"] {
        std::fs::write(&marker, text).unwrap();
        assert_eq!(machine.register(&forge, &[]).status, 0, "{text:?} is no answer");
        assert_eq!(opened(&forge), 1);
    }
    std::fs::write(&marker, [0xff, 0xfe]).unwrap();
    let out = machine.register(&forge, &[]);
    assert!(out.err.contains("self-registered.marker"), "{out:?}");
    std::fs::remove_file(&marker).unwrap();
    for (args, word) in [
        (&["--maintainer", "../up"][..], "maintainer"),
        (&["--maintainer", "ace", "--expires", "soon"], "expiry"),
        (&["--maintainer", "ace", "--node", "No Node"], "node"),
        (&["--maintainer", "ace", "--fork", "x"], "OWNER/NAME"),
    ] {
        let out = run(&mut machine.command(&forge, "register", args));
        assert_eq!(out.status, 2, "{args:?}: {out:?}");
        assert!(out.err.contains(word), "{args:?}: {out:?}");
    }
    std::fs::remove_file(machine.home.join("token")).unwrap();
    let out = machine.register(&forge, &[]);
    assert!(out.status == 7 && out.err.contains("gh auth login"), "{out:?}");
    assert_eq!(state(&machine), "unauthenticated");
    let sandbox = Sandbox::new();
    let out = run(&mut sandbox.cmd(&["node", "register", "--maintainer", "ace"]));
    assert_eq!(out.status, 2, "{out:?}");
    assert!(out.err.contains("--repo OWNER/NAME"), "{out:?}");
}
