//! Faults that pass, and other hands: what counts as an attempt, whose a pull request is, what a
//! person's no is without a forge, and what comes between two looks.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use zeta_core::registration::{branch, node_path};

use super::fake_github::{FakeGithub, Fault};
use super::github_model::{Call, FORKER, NAME};
use super::machine::{Machine, opened};
use crate::support::{LIMIT, Out, run, wait, wait_for};

const NODE: &str = "node-0c0ffe";

/// The bare repository behind a forge.
fn place(forge: &FakeGithub) -> PathBuf {
    forge.model(|model| model.place().to_owned())
}

/// Git in the bare repository.
fn git(repository: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(repository).args(args);
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "p")
            .env(format!("GIT_{who}_EMAIL"), "p@example.org");
    }
    let out = run(&mut command);
    assert_eq!(out.status, 0, "{args:?}: {out:?}");
    out.out.trim().to_owned()
}

/// A program that does something and then becomes git, before all others on the path.
fn wrap_git(machine: &Machine, script: &str) -> String {
    let (dir, path) = (machine.home.join("bin"), std::env::var("PATH").unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    let real = crate::support::find("git").unwrap();
    program(&dir.join("git"), &format!("{script}\nexec {} \"$@\"\n", real.display()));
    format!("{}:{path}", dir.display())
}

fn program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn our_closed_pull_request_stays_a_no_when_its_fork_is_gone() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let fork = forge.model(|model| model.fork()).display().to_string();
    let slug = format!("{FORKER}/{NAME}");
    let forked = ["--fork", &slug, "--fork-remote", &fork, "--min-interval", "0s"];
    assert_eq!(machine.register(&forge, &forked).status, 0);
    forge.model(|model| model.close(1));
    assert_eq!(machine.register(&forge, &forked).status, 3);
    forge.model(|model| model.gone = Some(FORKER.to_owned()));
    for _ in 0..2 {
        let out = machine.register(&forge, &forked);
        assert_eq!((out.status, opened(&forge)), (3, 1), "{out:?}");
    }
}

#[test]
fn a_fork_of_the_same_organization_is_named_whole() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    // Its branches are taken from the same place here: what counts is the request.
    let remote = place(&forge).display().to_string();
    let fork = format!("{}/{NAME}-bot", super::github_model::OWNER);
    let out = machine.register(&forge, &["--fork", &fork, "--fork-remote", &remote]);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    let asked = forge.requests(|request| request.call() == Call::Open);
    let (head, repo) = (&asked[0].body["head"], &asked[0].body["head_repo"]);
    let node = machine.show()["node"].as_str().unwrap().to_owned();
    assert_eq!((head, repo), (&branch(&node).into(), &fork.into()));
}

#[test]
fn what_did_not_reach_the_forge_is_no_attempt() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let nowhere = |key: &str, value: &str| {
        let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
        run(command.env(key, value))
    };
    let out = nowhere("TMPDIR", "/nonexistent");
    assert!(out.status == 1 && out.err.contains("TMPDIR"), "{out:?}");
    let unreachable = ["--fork", "a/b", "--fork-remote", "git://127.0.0.1:1/x"];
    let out = machine.register(&forge, &unreachable);
    assert_eq!(out.status, 1, "{out:?}");
    let shown = machine.show();
    assert_eq!(shown["state"], "pr-failed");
    assert!(shown["detail"].as_str().unwrap().contains("127.0.0.1"), "the reason: {shown}");
    let out = machine.register(&forge, &[]);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
}

#[test]
fn a_refusal_that_passes_costs_as_long_as_the_forge_says_or_a_minute() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    forge.fault(Call::Open, Fault::Secondary(1), 1);
    let out = machine.register(&forge, &[]);
    assert!(out.status == 6 && out.err.contains("try again in 1 s"), "{out:?}");
    std::thread::sleep(Duration::from_millis(1100));
    let out = machine.register(&forge, &[]);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    for fault in [Fault::Status(404), Fault::Status(401), Fault::Status(422), Fault::NoWrite] {
        let (forge, machine) = (FakeGithub::new(), Machine::new());
        for wait_s in [60, 300] {
            forge.fault(Call::Open, fault, 1);
            assert_ne!(machine.register(&forge, &[]).status, 0, "{fault:?}");
            let kept = std::fs::read_to_string(machine.receipt()).unwrap();
            assert!(kept.contains(&format!("retry-after={wait_s}\n")), "{fault:?}: {kept}");
            let out = machine.register(&forge, &[]);
            assert_eq!(out.status, 6, "{fault:?}: {out:?}");
            // As time would.
            let earlier = kept.lines().map(|line| match line.split_once("-epoch=") {
                Some((key, s)) => format!("{key}-epoch={}\n", s.parse::<i64>().unwrap() - wait_s),
                None => format!("{line}\n"),
            });
            std::fs::write(machine.receipt(), earlier.collect::<String>()).unwrap();
        }
        let out = machine.register(&forge, &[]);
        assert_eq!((out.status, opened(&forge)), (0, 1), "{fault:?}: {out:?}");
        let kept = std::fs::read_to_string(machine.receipt()).unwrap();
        assert!(!kept.contains("retry-after"), "{kept}");
    }
}

#[test]
fn after_a_success_of_which_nothing_is_left_the_words_are_no_failure_s() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &[]).status, 0);
    forge.model(|model| model.pulls.clear());
    let out = machine.register(&forge, &[]);
    assert_eq!(out.status, 6, "{out:?}");
    assert!(out.err.contains("succeeded") && !out.err.contains("put right"), "{out:?}");
}

#[test]
fn a_number_in_an_address_is_no_answer_of_a_server() {
    let machine = Machine::new();
    for name in ["none-403.git", "none-401.git", "none-abc.git", "it's-Permission to-denied to.git"]
    {
        let remote = machine.home.join(name);
        let mut command = machine.sandbox.cmd(&["node", "list", "--remote"]);
        let out = run(machine.settle(command.arg(remote)));
        assert_eq!(out.status, 4, "{out:?}");
    }
}

#[test]
fn a_node_that_got_onto_the_default_branch_between_two_looks_is_registered() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (remote, once) = (place(&forge), machine.home.join("once"));
    forge.model(|model| model.commit("other", &node_path("ace", NODE), "kind: ClusterNode\n"));
    let merge = format!(
        "case \" $* \" in *' fetch '*) mkdir {} 2>/dev/null && git --git-dir={} update-ref \
         refs/heads/main refs/heads/other;; esac",
        once.display(),
        remote.display()
    );
    // Inside of it, 'git' is the real one: the update happens once.
    let path = wrap_git(&machine, &merge);
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.args(["--node", NODE]).env("PATH", path));
    assert!(out.status == 0 && out.out.contains("registered"), "{out:?}");
    assert_eq!((opened(&forge), forge.asked(Call::Open)), (0, 0));
    let branches = git(&remote, &["for-each-ref", "--format=%(refname)", "refs/heads/register*"]);
    assert_eq!(branches, "");
    assert_eq!(machine.show()["state"], "converged");
}

#[test]
fn an_attempt_that_was_cut_off_after_its_push_is_taken_up() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (remote, node) = (place(&forge), ["--node", NODE]);
    let (hook, pushed) = (remote.join("hooks/post-receive"), machine.home.join("pushed"));
    program(&hook, &format!("touch {}; sleep 1\n", pushed.display()));
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let mut child = command.args(node).stderr(Stdio::null()).spawn().unwrap();
    wait_for("it has pushed", || pushed.exists());
    child.kill().unwrap();
    wait(&mut child, LIMIT);
    std::fs::remove_file(hook).unwrap();
    git(&remote, &["rev-parse", &branch(NODE)]);
    let shown = machine.show();
    assert_eq!((&shown["state"], &shown["branch"]), (&"registering".into(), &branch(NODE).into()));
    let out = machine.register(&forge, &node);
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
}

#[test]
fn a_receipt_names_the_pull_request_also_when_the_one_before_it_was_lost() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (remote, node) = (place(&forge), ["--node", NODE]);
    let (hook, pushed) = (remote.join("hooks/post-receive"), machine.home.join("pushed"));
    program(&hook, &format!("sleep 1.1; date -u +%Y-%m-%dT%H:%M:%S >{}\n", pushed.display()));
    assert_eq!(machine.register(&forge, &node).status, 0);
    let first = machine.show();
    assert_eq!(first["state"], "pr-opened");
    assert!(first["detail"].as_str().unwrap().contains("opened"), "{first}");
    let pushed = std::fs::read_to_string(pushed).unwrap();
    let at = first["observed_at"].as_str().unwrap();
    assert!(at >= pushed.trim(), "it was opened after the push: {first}, {pushed}");
    std::fs::remove_file(machine.receipt()).unwrap();
    assert_eq!(machine.register(&forge, &node).status, 0);
    let shown = machine.show();
    assert!(first["pr_url"].is_string() && shown["pr_url"] == first["pr_url"], "{shown}");
    assert_eq!((&first["branch"], &shown["branch"]), (&branch(NODE).into(), &branch(NODE).into()));
}

#[test]
fn an_answer_of_git_that_is_too_long_is_no_answer() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    // Half of the list of files would say that the node has no other one.
    let long = "case \" $* \" in *' ls-tree '*-r*) head -c 17000000 /dev/zero; exit 0;; esac";
    let path = wrap_git(&machine, long);
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.args(["--node", NODE]).env("PATH", path));
    assert_eq!((out.status, opened(&forge)), (1, 0), "{out:?}");
    assert!(out.err.contains("git ls-tree") && out.err.contains("bytes"), "{out:?}");
}

#[test]
fn a_file_that_a_person_changed_between_two_looks_is_not_overwritten() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (remote, path) = (place(&forge), node_path("ace", NODE));
    let expires = ["--node", NODE, "--expires", "30d", "--min-interval", "0s"];
    assert_eq!(machine.register(&forge, &expires).status, 0);
    forge.model(|model| {
        model.merge(1);
        let text = model.content("main", &path);
        let end = super::life::iso(6);
        let near = zeta_core::registration::expiry::with_end(&text, &end).unwrap();
        model.commit("main", &path, &near);
        model.commit("other", &path, &(near + "# a note of a person\n"));
    });
    // The first fetch reads the file, and the second one puts the change on top of it.
    let change = format!(
        "case \" $* \" in *' fetch '*) mkdir {} 2>/dev/null || git --git-dir={} update-ref \
         refs/heads/main refs/heads/other;; esac",
        machine.home.join("once").display(),
        remote.display()
    );
    let wrapped = wrap_git(&machine, &change);
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.args(expires).env("PATH", wrapped));
    assert_eq!((out.status, opened(&forge)), (0, 1), "{out:?}");
    let detail = machine.show()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("its file has just been changed"), "{detail}");
    // The next run sees the note, and keeps it.
    assert_eq!(machine.register(&forge, &expires).status, 0);
    assert_eq!(opened(&forge), 2);
}

#[test]
fn a_lease_that_was_lost_during_the_push_opens_nothing() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let hook = place(&forge).join("hooks/post-receive");
    // As after a freeze: the lease is taken away while the push is at work.
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let lease = "register-pr-in-flight";
    let script = format!(
        "token=$({zeta} --node {NODE} lease show {lease} --json | \
         sed -n 's/.*\"fencing_token\":\\([0-9]*\\).*/\\1/p')\n\
         {zeta} --node {NODE} lease break {lease} --expect $token --reason test >&2\n"
    );
    program(&hook, &script);
    let out = machine.register(&forge, &["--node", NODE]);
    assert_eq!((out.status, opened(&forge)), (5, 0), "{out:?}");
    assert_eq!(forge.asked(Call::Open), 0);
    std::fs::remove_file(hook).unwrap();
    let out = machine.register(&forge, &["--node", NODE]);
    assert_eq!((out.status, opened(&forge)), (0, 1), "the next run goes on: {out:?}");
}

#[test]
fn a_branch_that_another_pushed_meanwhile_is_not_overwritten() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let (remote, name) = (place(&forge), branch(NODE));
    forge.model(|model| model.commit("other", "work.md", "of another\n"));
    let other = git(&remote, &["rev-parse", "other"]);
    let race = format!(
        "case \" $* \" in *' push '*) git --git-dir={} update-ref refs/heads/{name} {other};; esac",
        remote.display()
    );
    let path = wrap_git(&machine, &race);
    let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
    let out = run(command.args(["--node", NODE]).env("PATH", path));
    assert_eq!((out.status, opened(&forge)), (3, 0), "{out:?}");
    assert_eq!(git(&remote, &["rev-parse", &name]), other, "its tip stays");
}

#[test]
fn a_node_is_removed_by_one_agent_at_a_time() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let node = ["--node", NODE];
    assert_eq!(machine.register(&forge, &node).status, 0);
    forge.model(|model| model.merge(1));
    let hold = ["lease", "acquire", "register-pr-in-flight", "--as", "other"];
    let token = machine.sandbox.ok(&hold);
    let leave = [NODE, "--maintainer", "ace", "--reason", "sold"];
    let out = run(&mut machine.command(&forge, "deregister", &leave));
    assert_eq!((out.status, opened(&forge)), (3, 1), "{out:?}");
    assert!(out.err.contains("register-pr-in-flight"), "{out:?}");
    let free = ["lease", "break", "register-pr-in-flight", "--reason", "test", "--expect", &token];
    machine.sandbox.ok(&free);
    let out = run(&mut machine.command(&forge, "deregister", &leave));
    assert_eq!((out.status, opened(&forge)), (0, 2), "{out:?}");
}

#[test]
fn a_node_below_another_maintainer_is_not_said_to_be_removed() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    assert_eq!(machine.register(&forge, &["--node", NODE]).status, 0);
    forge.model(|model| model.merge(1));
    let remote = place(&forge);
    let text = forge.model(|model| model.content("main", &node_path("ace", NODE)));
    remove(&remote, &node_path("ace", NODE));
    forge.model(|model| model.commit("main", &node_path("Bob", NODE), &text));
    let out = machine.register(&forge, &["--node", NODE]);
    assert!(out.status == 3 && out.err.contains("maintainers/Bob/"), "{out:?}");
    assert!(!out.err.contains("--reopen"), "{out:?}");
}

/// Takes a file off the default branch, as a person does.
fn remove(remote: &Path, path: &str) {
    let index = ["-c", "core.bare=true"];
    git(remote, &[&index[..], &["read-tree", "main"]].concat());
    let gone = Command::new("git")
        .arg("--git-dir")
        .arg(remote)
        .args(["rm", "-q", "--cached", "--", path])
        .current_dir(remote)
        .env("GIT_WORK_TREE", remote)
        .status()
        .unwrap();
    assert!(gone.success());
    let tree = git(remote, &["write-tree"]);
    let commit = git(remote, &["commit-tree", &tree, "-p", "main", "-m", "removed"]);
    git(remote, &["update-ref", "refs/heads/main", &commit]);
}

/// Merges a branch, and deletes it.
fn merge(remote: &Path, name: &str) {
    let tree = git(remote, &["merge-tree", "--write-tree", "main", name]);
    let args = ["commit-tree", &tree, "-p", "main", "-p", name, "-m", "merged"];
    let commit = git(remote, &args);
    git(remote, &["update-ref", "refs/heads/main", &commit]);
    git(remote, &["update-ref", "-d", &format!("refs/heads/{name}")]);
}

#[test]
fn without_a_forge_a_removal_is_a_no_too() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let remote = place(&forge);
    let register = |more: &[&str]| {
        machine.plain(&remote, &[&["--node", NODE, "--min-interval", "0s"], more].concat())
    };
    let refused = |out: &Out| out.status == 3 && out.err.contains("--reopen");
    assert_eq!(register(&[]).status, 0);
    merge(&remote, &branch(NODE));
    assert!(register(&[]).out.contains("registered"));
    // By a pull request of our own that a person merged, and by hand.
    let mut leave = machine.sandbox.cmd(&["--node", NODE, "node", "deregister"]);
    leave.args(["--maintainer", "ace", "--reason", "sold", "--remote"]).arg(&remote);
    let out = run(machine.settle(&mut leave));
    assert_eq!(out.status, 0, "{out:?}");
    merge(&remote, &format!("deregister-node-{NODE}"));
    let out = register(&[]);
    assert!(refused(&out), "{out:?}");
    assert_eq!(register(&["--reopen"]).status, 0);
    merge(&remote, &branch(NODE));
    remove(&remote, &node_path("ace", NODE));
    let out = register(&[]);
    assert!(refused(&out), "{out:?}");
    assert_eq!(machine.show()["state"], "closed");
    // Other nodes are not concerned.
    assert_eq!(machine.plain(&remote, &["--node", "node-0ther"]).status, 0);
}

#[test]
fn a_node_whose_name_ends_in_a_date_is_not_mixed_up_with_another() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let remote = place(&forge);
    for node in ["a-20260519", "a-20260519-20260520", "a", "node-a"] {
        let out = machine.plain(&remote, &["--node", node]);
        assert_eq!(out.status, 0, "{out:?}");
        assert!(out.out.contains("opened"), "{node}: {out:?}");
        let out = machine.register(&forge, &["--node", node, "--min-interval", "0s"]);
        assert!(out.out.contains("opened"), "{node}: {out:?}");
    }
    assert_eq!(opened(&forge), 4);
    // One that an older tool pushed is adopted still.
    forge.model(|model| {
        model.commit("register-b-20260519T101112Z", &node_path("ace", "b"), "kind: x\n");
    });
    let tip = git(&remote, &["rev-parse", "register-b-20260519T101112Z^{tree}"]);
    let title = "feat(node-register): b self-registers";
    let commit = git(&remote, &["commit-tree", &tip, "-p", "main", "-m", title]);
    git(&remote, &["update-ref", "refs/heads/register-b-20260519T101112Z", &commit]);
    let out = machine.plain(&remote, &["--node", "b"]);
    assert!(out.out.contains("waits for"), "{out:?}");
}

#[test]
fn a_killed_registration_leaves_its_directory_to_the_next_one() {
    let (forge, machine) = (FakeGithub::new(), Machine::new());
    let left = || std::fs::read_dir(machine.home.join("tmp")).unwrap().count();
    // The call is killed while git works; returns the process id of git.
    let killed = || -> u32 {
        let begun = machine.home.join("begun");
        let file = begun.display();
        let script = format!("case \" $* \" in *' fetch '*) echo $$ >{file}; exec sleep 60;; esac");
        let path = wrap_git(&machine, &script);
        let mut command = machine.command(&forge, "register", &["--maintainer", "ace"]);
        command.env("PATH", path).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let said = || std::fs::read_to_string(&begun).unwrap_or_default();
        wait_for("git is at work", || said().ends_with('\n'));
        let pid = said().trim().parse().unwrap();
        child.kill().unwrap();
        wait(&mut child, LIMIT);
        std::fs::remove_file(&begun).unwrap();
        pid
    };
    let end = |pid| crate::support::signal(pid, rustix::process::Signal::KILL);
    let git = killed();
    assert_eq!(left(), 1);
    let doctor = || {
        let mut command = machine.sandbox.cmd(&["doctor"]);
        run(machine.settle(&mut command)).out
    };
    assert!(!doctor().contains("temporary directories"), "git works in it");
    end(git);
    wait_for("it is abandoned", || doctor().contains("temporary directories"));
    let mut clean = machine.sandbox.cmd(&["clean"]);
    let out = run(machine.settle(&mut clean));
    assert!(out.out.contains("scratch") && left() == 0, "{out:?}");
    end(killed());
    wait_for("the next run removes it", || {
        assert_eq!(machine.register(&forge, &[]).status, 0);
        left() == 0
    });
}
