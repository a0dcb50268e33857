//! A world that is hostile or out of luck: strangers, members of the group, servers that lie, files
//! that are none. No second pull request comes of it, no secret goes astray, and nothing hangs.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use zeta_core::registration::{body_marker, node_path};

use super::fake_github::{FakeGithub, Fault};
use super::github_model::Call;
use super::machine::{Machine, opened};
use crate::support::{run, test_name};

const NODE: &str = "node-0c0ffe";

/// One tick of a steward, for an intent of this node.
fn steward(machine: &Machine, forge: &FakeGithub) -> crate::support::Out {
    run(&mut machine.command(forge, "steward", &["--node", NODE]))
}

#[test]
fn a_stranger_s_pull_request_is_neither_armed_nor_recommended_and_its_end_is_no_no() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let branch = format!("register-node-{NODE}");
    forge.model(|model| model.of_stranger(&branch, "node-register: x", &body_marker(NODE)));
    let out = machine.register(&forge, &["--node", NODE, "--intent"]);
    assert_eq!(out.status, 0, "{out:?}");
    let out = steward(&machine, &forge);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("a stranger's fork"), "{out:?}");
    assert!(forge.model(|model| !model.pulls[0].armed && model.comments.is_empty()));
    assert_eq!((opened(&forge), forge.asked(Call::Graphql)), (1, 0), "nothing is doubled");
    forge.model(|model| model.close(1));
    let out = steward(&machine, &forge);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains("/pull/2"), "{out:?}");
    assert!(forge.model(|model| model.pulls[1].armed));
}

#[test]
fn a_reopening_that_was_asked_for_once_is_done_once() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &["--node", NODE]).status, 0);
    forge.model(|model| model.close(1));
    machine.register(&forge, &["--node", NODE, "--intent", "--reopen"]);
    assert_eq!(steward(&machine, &forge).status, 0);
    forge.model(|model| model.close(2));
    let out = steward(&machine, &forge);
    assert_eq!((out.status, opened(&forge)), (3, 2), "a second no is a no: {out:?}");
}

#[test]
fn an_intent_keeps_nothing_of_an_earlier_one_and_a_steward_goes_where_its_call_says() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let earlier = ["--maintainer", "ace", "--intent", "--repo", "a/b", "--api", "https://evil"];
    let node = ["--node", NODE, "node", "register"];
    machine.sandbox.ok(&[&node[..], &earlier, &["--fork", "evil/b", "--expires", "9d"]].concat());
    assert_eq!(machine.register(&forge, &["--node", NODE, "--intent"]).status, 0);
    let elsewhere = ["--node", NODE, "--repo", "acme/other"];
    let out = run(&mut machine.command(&forge, "steward", &elsewhere));
    assert_eq!((out.status, opened(&forge)), (2, 0), "{out:?}");
    assert!(out.err.contains(&forge.url) && out.err.contains("say the same"), "{out:?}");
    let out = steward(&machine, &forge);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    let path = node_path("ace", NODE);
    let text = forge.model(|model| model.content(&format!("register-node-{NODE}"), &path));
    assert!(!text.contains("expires-at"), "{text}");
}

#[test]
fn a_secret_in_an_address_is_refused_before_anybody_hears_of_it() {
    let machine = Machine::new();
    let remote = "https://user:s3cret@127.0.0.1:1/o/r.git";
    for more in [&[][..], &["--intent"], &["--repo", "a/b"]] {
        let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace"]);
        let out = run(command.args(["--remote", remote]).args(more).env("HOME", &machine.home));
        assert_eq!(out.status, 2, "{out:?}");
        assert!(!format!("{out:?}").contains("s3cret") && out.err.contains("->"), "{out:?}");
    }
    assert!(!machine.home.join(".config").exists());
    let files = run(Command::new("grep").args(["-rl", "s3cret"]).arg(&machine.sandbox.dir));
    assert_eq!(files.out, "");
}

#[test]
fn a_limit_that_lasts_for_ever_is_told_as_a_day_at_most() {
    for fault in [Fault::Secondary(u64::MAX), Fault::Primary(1 << 60)] {
        let (forge, machine) = (FakeGithub::new(), Machine::new());
        forge.fault(Call::Contents, fault, 9);
        let out = machine.register(&forge, &[]);
        assert_eq!(out.status, 1, "{out:?}");
        assert!(out.err.contains("not before 86400 s"), "{out:?}");
    }
}

#[test]
fn a_receipt_that_is_no_file_is_told_and_holds_nobody() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let receipt = machine.home.join(".config/zeta/self-registered.marker");
    std::fs::create_dir_all(receipt.parent().unwrap()).unwrap();
    let refused = |what: &str| {
        let out = machine.register(&forge, &[]);
        assert_eq!((out.status, opened(&forge)), (7, 0), "{what}: {out:?}");
        assert!(out.err.contains("who made it") && out.took < Duration::from_secs(5), "{out:?}");
        std::fs::remove_file(&receipt).unwrap();
    };
    assert!(crate::support::can("mkfifo", &[receipt.to_str().unwrap()]));
    refused("a pipe");
    symlink("/dev/zero", &receipt).unwrap();
    refused("a device");
    std::fs::write(&receipt, "state=converged\n".repeat(1 << 20)).unwrap();
    refused("a long file");
    std::fs::write(&receipt, [0xff; 9]).unwrap();
    refused("no text");
    let elsewhere = machine.home.join("elsewhere");
    std::fs::write(&elsewhere, "mine\n").unwrap();
    symlink(&elsewhere, &receipt).unwrap();
    assert_eq!(machine.register(&forge, &[]).status, 0);
    assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "mine\n", "a link is not followed");
}

#[test]
fn what_a_receipt_or_a_forge_says_moves_no_cursor() {
    let (_, machine) = (FakeGithub::new(), Machine::new());
    let receipt = machine.home.join(".config/zeta/self-registered.marker");
    std::fs::create_dir_all(receipt.parent().unwrap()).unwrap();
    let text = "state=pr-opened\nnode=n\npr-url=https://x/\x1b[2J\ndetail=\x1b]0;gotcha\x07\n";
    std::fs::write(&receipt, text).unwrap();
    for more in [&[][..], &["--json"]] {
        let mut command = machine.sandbox.cmd(&["node", "show"]);
        let out = run(command.args(more).env("HOME", &machine.home));
        assert_eq!(out.status, 0, "{out:?}");
        assert!(!out.out.trim_end().contains(|c: char| c.is_control() && c != '\n'), "{out:?}");
        assert!(out.out.contains("gotcha"), "{out:?}");
    }
}

#[test]
fn what_a_forge_says_during_a_watch_moves_no_cursor_either() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let title = format!("node-register: {NODE}");
    machine.register(&forge, &["--node", NODE, "--intent"]);
    forge.model(|model| model.commit("odd\u{202e}name", "x", "x\n"));
    forge.model(|model| model.foreign("odd\u{202e}name", &title, ""));
    forge.fault(Call::Comments, Fault::Odd, 9);
    let watch = ["--node", NODE, "--every", "1s", "--timeout", "1s"];
    let out = run(&mut machine.command(&forge, "steward", &watch));
    assert!(out.err.contains("zeta: converging") && out.err.contains("u202e"), "{out:?}");
    assert!(!out.err.contains('\u{202e}') && !out.out.contains('\u{202e}'), "{out:?}");
}

#[test]
fn what_is_odd_on_the_default_branch_hides_no_node_and_gets_into_no_command() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let ended = "2020-01-01T00:00:00Z";
    let name = "zeta.lucent-financial-group.com/expires-at";
    let sheet = |node: &str| {
        format!(
            "apiVersion: v1\nkind: ClusterNode\nmetadata:\n  name: {node}\n  namespace: n\n  \
             annotations:\n    {name}: '{ended}'\nspec:\n  hostname: h\n  roles: [\"\\e[2J\"]\n  \
             registration:\n    maintainer: ace\n    timestamp: t\n    registered-via: x\n  \
             hardware: {{}}\n"
        )
    };
    forge.model(|model| {
        model.commit("main", &node_path("ace", "node-1"), &sheet("node-1"));
        model.commit("main", &node_path("ace", "huge"), &"x".repeat(20 << 20));
        model.commit("main", &node_path("ace", "a:refs/heads/main"), &sheet("x"));
        model.commit("main", &node_path("ace", "two\nlines"), &sheet("y"));
        model.commit("main", &node_path("--all", "node-2"), &sheet("z"));
        model.gitlink("main", &node_path("ace", "module"));
    });
    let out = run(&mut machine.command(&forge, "list", &[]));
    assert_eq!(out.status, 0, "{out:?}");
    assert_eq!(out.out.lines().count(), 6, "{out:?}");
    assert!(!out.out.contains('\x1b') && out.took < Duration::from_secs(15), "{out:?}");
    let out = run(&mut machine.command(&forge, "deregister", &["--dead"]));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    assert!(out.out.contains("node-1: opened"), "{out:?}");
}

#[test]
fn a_node_has_no_second_file_below_another_maintainer_or_the_same_in_other_letters() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    forge.model(|model| model.commit("main", &node_path("Ace", NODE), "kind: ClusterNode\n"));
    let out = machine.register(&forge, &["--node", NODE]);
    assert_eq!((out.status, opened(&forge)), (3, 0), "{out:?}");
    assert!(out.err.contains("maintainers/Ace/") && out.err.contains("->"), "{out:?}");
}

#[test]
fn a_dead_node_that_somebody_wants_to_keep_is_left_alone() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let expires = ["--expires", "30d", "--node", NODE];
    assert_eq!(machine.register(&forge, &expires).status, 0);
    forge.model(|model| {
        model.merge(1);
        let text = model.content("main", &node_path("ace", NODE));
        let dead = zeta_core::registration::expiry::with_end(&text, "2020-01-01T00:00:00Z");
        model.commit("main", &node_path("ace", NODE), &dead.unwrap());
    });
    let leave = |more: &[&str]| run(&mut machine.command(&forge, "deregister", more));
    assert!(leave(&["--dead"]).out.contains("opened"));
    forge.model(|model| model.close(2));
    let out = leave(&["--dead"]);
    assert_eq!((out.status, opened(&forge)), (0, 2), "{out:?}");
    assert!(out.out.contains("stays"), "{out:?}");
    let out = leave(&[NODE, "--maintainer", "ace", "--reason", "sold"]);
    assert_eq!((out.status, opened(&forge)), (0, 3), "a person may ask again: {out:?}");
}

#[test]
fn a_connection_that_ssh_keeps_open_holds_nobody() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    let (ssh, pid) = (machine.home.join("ssh"), machine.home.join("pid"));
    let script = format!(
        "#!/bin/sh\nsleep 15 </dev/null >/dev/null &\necho $! > {}\nexit 255\n",
        pid.display()
    );
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = machine.sandbox.cmd(&["node", "register", "--maintainer", "ace", "--remote"]);
    command.arg("ssh://git@forge/o/r").env("GIT_SSH_COMMAND", &ssh).env("HOME", &machine.home);
    let out = run(&mut command);
    let kept = std::fs::read_to_string(&pid).unwrap();
    let _ = Command::new("kill").arg(kept.trim()).status();
    assert_eq!(out.status, 1, "{out:?}");
    assert!(out.took < Duration::from_secs(12), "{out:?}");
}

#[test]
fn a_steward_arms_nothing_that_holds_more_than_the_node() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    forge.model(|model| {
        model.commit("feature", &node_path("ace", NODE), "kind: ClusterNode\n");
        model.commit("feature", "half/done", "work\n");
        model.foreign("feature", "a feature, not done yet", "")
    });
    machine.register(&forge, &["--node", NODE, "--intent"]);
    assert_eq!(steward(&machine, &forge).status, 0);
    assert_eq!((opened(&forge), forge.asked(Call::Graphql)), (1, 0));
    let detail = machine.show()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("changes more than"), "{detail}");
}

#[test]
fn a_watch_outlives_a_fault_that_passes_and_does_not_hammer() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    machine.register(&forge, &["--node", NODE, "--intent"]);
    forge.fault(Call::Open, Fault::LostBefore, 1);
    let watch = ["--node", NODE, "--every", "0s", "--timeout", "12s"];
    let out = run(&mut machine.command(&forge, "steward", &watch));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    assert!(forge.asked(Call::Contents) < 40, "{}", forge.asked(Call::Contents));
}

#[test]
fn an_address_runs_no_program_whatever_the_settings_of_git_allow() {
    let machine = Machine::new();
    std::fs::write(machine.home.join(".gitconfig"), "[protocol]\n\tallow = always\n").unwrap();
    let struck = machine.home.join("struck");
    let touch = struck.display();
    for remote in [
        format!("ext::touch {touch}"),
        format!("--upload-pack=touch {touch}"),
        format!("ssh://-oProxyCommand=touch%20{touch}/x"),
        "fd::7".to_owned(),
    ] {
        for verb in ["register", "list"] {
            let mut command = machine.sandbox.cmd(&["node", verb, &format!("--remote={remote}")]);
            if verb == "register" {
                command.args(["--maintainer", "ace"]);
            }
            let out = run(command.env("HOME", &machine.home).env("GIT_ALLOW_PROTOCOL", "ext"));
            assert!(matches!(out.status, 1 | 2 | 7) && out.err.contains("address"), "{out:?}");
            assert!(!struck.exists(), "{remote}: {out:?}");
        }
    }
}

#[test]
fn in_a_tree_of_a_group_an_intent_does_not_say_where_the_token_goes() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let made = machine.sandbox.zeta(&["init", "--group", "daemon", "--no-install"]);
    if made.status != 0 {
        return crate::support::skip(test_name!(), "a tree of a group is made by root");
    }
    let out = machine.register(&forge, &["--intent"]);
    assert_eq!(out.status, 0, "{out:?}");
    let out = run(&mut machine.command(&forge, "steward", &[]));
    assert_eq!((out.status, opened(&forge)), (2, 0), "{out:?}");
    assert!(out.err.contains("zeta node steward --repo"), "{out:?}");
    assert_eq!(forge.asked(Call::Contents), 0, "no request carried the token");
    let git = forge.model(|model| model.place().display().to_string());
    let same = ["--repo", "forest/trees", "--api", &forge.url, "--remote", &git];
    let out = run(&mut machine.command(&forge, "steward", &same));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
}
