//! The hooks, run by git itself at real commits.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::{Repo, block};
use crate::support::{Out, run};

fn hooked() -> Repo {
    let repo = Repo::new();
    repo.ok(&["signature", "install-hook"]);
    repo
}

fn write_hook(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The call of `git commit`, by an agent or by a person.
fn commit(repo: &Repo, agent: Option<&str>, args: &[&str]) -> Command {
    let mut call = repo.git_command(&[&["commit", "--allow-empty"], args].concat());
    if let Some(agent) = agent {
        call.env("ZETA_AGENT", agent);
    }
    call
}

fn message(repo: &Repo) -> String {
    repo.git(&["log", "-1", "--format=%B"])
}

fn made(out: &Out) {
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn an_agent_s_commit_is_signed_and_a_person_s_is_as_it_was_written() {
    let repo = hooked();
    made(&run(&mut commit(&repo, Some("otto"), &["-m", "feat: a", "-m", "Body."])));
    let signed = message(&repo);
    assert!(signed.starts_with("feat: a\n\nBody.\n\nAgency-Signature-Version: 1\nAgent: otto\n"));
    repo.ok(&["signature", "audit", "HEAD"]);
    made(&run(&mut commit(&repo, None, &["-m", "docs: typo"])));
    assert_eq!(message(&repo), "docs: typo");
    // The block joins the trailers that are there.
    made(&run(&mut commit(&repo, Some("otto"), &["-s", "-m", "feat: b"])));
    let signed = message(&repo);
    assert!(signed.contains("Signed-off-by: Ann <ann@example.invalid>\nAgency-Sig"), "{signed}");
    // An amended, a merged and a picked commit have one block, that of the first agent.
    made(&run(&mut commit(&repo, Some("vera"), &["--amend", "--no-edit"])));
    assert_eq!(message(&repo), signed);
    repo.git(&["checkout", "-q", "-b", "topic", "HEAD~1"]);
    let mut pick = repo.git_command(&["cherry-pick", "--allow-empty", "-x", "main"]);
    made(&run(pick.env("ZETA_AGENT", "vera")));
    assert_eq!(message(&repo).matches("Agency-Signature-Version").count(), 1);
    let mut merge = repo.git_command(&["merge", "-q", "--no-ff", "-m", "Merge main", "main"]);
    made(&run(merge.env("ZETA_AGENT", "vera")));
    assert!(message(&repo).contains("\nAgent: vera\n"));
    repo.ok(&["signature", "audit", "HEAD"]);
}

#[test]
fn a_message_of_an_editor_and_one_with_lines_like_comments_are_signed() {
    let repo = hooked();
    let editor = repo.sandbox.dir.join("editor");
    write_hook(&editor, "sed -i '1s/.*/feat: typed/' \"$1\"");
    for (comment, args) in [("#", vec![]), (";", vec![]), ("#", vec!["-v"]), ("auto", vec![])] {
        repo.git(&["config", "core.commentChar", comment]);
        fs::write(repo.dir.join("file"), format!("{comment}{args:?}")).unwrap();
        repo.git(&["add", "file"]);
        let mut call = commit(&repo, Some("otto"), &args);
        made(&run(call.env("GIT_EDITOR", &editor)));
        let said = message(&repo);
        assert!(said.starts_with("feat: typed\n\nAgency-Signature-Version: 1\n"), "{said}");
        assert!(said.ends_with("\nTask: none"), "{comment} {args:?}: {said}");
    }
    // With -m, git keeps a line that begins with '#', and the block is the last paragraph.
    made(&run(&mut commit(&repo, Some("otto"), &["-m", "fix: a", "-m", "#7 is closed"])));
    let said = message(&repo);
    assert!(said.starts_with("fix: a\n\n#7 is closed\n\nAgency-Signature-Version"), "{said}");
    fs::write(repo.dir.join("said"), said).unwrap();
    repo.ok(&["signature", "check", "said"]);
    // No title: git would take the block for the message.
    let mut call = commit(&repo, Some("otto"), &[]);
    assert_ne!(run(call.env("GIT_EDITOR", "true")).status, 0);
    // The file of the message keeps its mode: members of a group commit in turns.
    let file = repo.dir.join(".git/COMMIT_EDITMSG");
    fs::write(&file, "feat: a\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    repo.ok(&["signature", "write", "--as", "otto", "--hook", "--into", ".git/COMMIT_EDITMSG"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o664);
    assert!(fs::read_to_string(&file).unwrap().contains("\nAgent: otto\n"));
    // What is no file is named, and nobody waits for it.
    made(&run(&mut repo.sandbox.other("mkfifo", &[repo.dir.join("fifo").to_str().unwrap()])));
    let out = repo.zeta(&["signature", "write", "--as", "otto", "--into", "fifo"]);
    assert!(out.status == 2 && out.err.contains("cannot read fifo"), "{out:?}");
}

#[test]
fn a_commit_of_an_agent_without_a_good_block_is_refused_and_a_fault_stops_none() {
    let repo = Repo::new();
    repo.ok(&["signature", "install-hook", "--only", "check"]);
    let claude = "feat: a\n\nCo-authored-by: Claude Code <noreply@anthropic.com>";
    for (agent, text, words) in [
        (Some("otto"), "feat: a", "git reads no trailers"),
        (None, claude, "the block lacks Agency-Signature-Version"),
    ] {
        let out = run(&mut commit(&repo, agent, &["-m", text]));
        assert!(out.status == 1 && out.err.contains(words), "{out:?}");
    }
    let broken = format!("feat: a\n\n{}", block(&[("Otto-12", "B-1.2")]));
    let out = run(&mut commit(&repo, None, &["-m", &broken]));
    assert!(out.status == 1 && out.err.contains("Task is \"B-1.2\""), "{out:?}");
    made(&run(&mut commit(&repo, Some("otto"), &["-m", &format!("a\n\n{}", block(&[]))])));
    made(&run(&mut commit(&repo, None, &["-m", "by a person"])));
    // A line of three hyphens hides a block from git.
    repo.ok(&["signature", "install-hook"]);
    let out = run(&mut commit(&repo, Some("otto"), &["-m", "a", "-m", "---", "-m", "b"]));
    assert!(out.status == 1 && out.err.contains("three hyphens"), "{out:?}");
    // A broken configuration is no verdict on a message.
    let config = repo.sandbox.dir.join(".config/zeta");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "agnet = \"x\"\n").unwrap();
    made(&run(&mut commit(&repo, None, &["-m", "by a person"])));
    made(&run(&mut commit(&repo, Some("otto"), &["-m", "by an agent"])));
}

#[test]
fn a_hook_that_was_there_runs_first_and_has_its_place_again_at_the_end() {
    let repo = Repo::new();
    let hooks = repo.dir.join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    let (add, check) = (hooks.join("prepare-commit-msg"), hooks.join("commit-msg"));
    write_hook(&add, "printf 'Ticket: 7\\n' > extra; printf '\\nTicket: 7\\n' >> \"$1\"");
    // A link to a script of the sources, as many repositories have it.
    let script = repo.dir.join("check.sh");
    write_hook(&script, "! grep -q forbidden \"$1\"");
    symlink("../../check.sh", &check).unwrap();
    let before = fs::read(&add).unwrap();
    let answer = repo.json(&["signature", "install-hook"], 0);
    assert_eq!(
        (&answer["hooks"][0]["outcome"], &answer["hooks"][1]["other_hook"]),
        (&"installed".into(), &true.into())
    );
    for hook in repo.json(&["signature", "install-hook"], 0)["hooks"].as_array().unwrap() {
        assert_eq!((&hook["outcome"], &hook["other_hook"]), (&"unchanged".into(), &true.into()));
    }
    made(&run(&mut commit(&repo, Some("otto"), &["-m", "feat: a"])));
    assert!(message(&repo).contains("\nTicket: 7\nAgency-Signature-Version: 1\n"));
    assert_eq!(run(&mut commit(&repo, None, &["-m", "forbidden"])).status, 1);
    // A killed process has moved the hook and written nothing yet: the next call goes on.
    let moved = hooks.join("prepare-commit-msg.before-zeta");
    for by_link in [false, true] {
        fs::remove_file(&add).unwrap();
        if by_link {
            fs::hard_link(&moved, &add).unwrap();
        }
        let answer = repo.json(&["signature", "install-hook"], 0);
        assert_eq!(answer["hooks"][0]["outcome"], "installed");
        made(&run(&mut commit(&repo, Some("otto"), &["-m", "feat: b"])));
        assert!(message(&repo).contains("\nTicket: 7\n"));
    }
    // So does an uninstall.
    fs::remove_file(&add).unwrap();
    fs::hard_link(&moved, &add).unwrap();
    repo.json(&["signature", "uninstall-hook"], 0);
    assert!(!moved.exists() && fs::read(&add).unwrap() == before);
    repo.json(&["signature", "install-hook"], 0);
    for outcome in ["uninstalled", "unchanged"] {
        let answer = repo.json(&["signature", "uninstall-hook"], 0);
        assert_eq!(answer["hooks"][0]["outcome"], outcome);
    }
    assert_eq!(fs::read(&add).unwrap(), before);
    assert_eq!(fs::read_link(&check).unwrap(), Path::new("../../check.sh"));
    let mut names: Vec<_> = fs::read_dir(&hooks).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.retain(|name| !name.to_string_lossy().ends_with(".sample"));
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn hooks_of_others_are_neither_replaced_nor_removed() {
    let repo = hooked();
    let add = repo.dir.join(".git/hooks/prepare-commit-msg");
    // Another program puts its own hook over zeta's, and keeps one under zeta's name.
    fs::write(repo.dir.join(".git/hooks/prepare-commit-msg.before-zeta"), "x").unwrap();
    write_hook(&add, "true");
    let before = fs::read(&add).unwrap();
    let out = repo.zeta(&["signature", "install-hook"]);
    assert!(out.status == 3 && out.err.contains("a hook of another program"), "{out:?}");
    assert_eq!(repo.json(&["signature", "uninstall-hook"], 0)["hooks"][0]["outcome"], "unchanged");
    assert_eq!(fs::read(&add).unwrap(), before);
    fs::remove_file(&add).unwrap();
    fs::create_dir(&add).unwrap();
    assert_eq!(repo.zeta(&["signature", "install-hook"]).status, 3);
    assert_eq!(repo.zeta(&["signature", "install-hook", "--only", "all"]).status, 2);
    assert_eq!(repo.zeta(&["signature", "install-hook", "--repository", "/"]).status, 1);
}

#[test]
fn a_directory_of_hooks_outside_of_the_repository_is_used_only_if_it_is_named() {
    let repo = Repo::new();
    let shared = repo.sandbox.dir.join("shared hooks");
    fs::create_dir(&shared).unwrap();
    repo.git(&["config", "core.hooksPath", shared.to_str().unwrap()]);
    let out = repo.zeta(&["signature", "install-hook"]);
    assert!(out.status == 3 && out.err.contains("--hooks-dir '"), "{out:?}");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
    repo.ok(&["signature", "install-hook", "--hooks-dir", "../shared hooks"]);
    made(&run(&mut commit(&repo, Some("otto"), &["-m", "feat: a"])));
    assert!(message(&repo).contains("\nAgent: otto\n"));
    repo.ok(&["signature", "uninstall-hook", "--hooks-dir", "../shared hooks"]);
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
    // A directory of the sources, as some tools have it.
    repo.git(&["config", "core.hooksPath", ".husky"]);
    assert_eq!(repo.zeta(&["signature", "install-hook"]).status, 3);
}

#[test]
fn worktrees_share_the_hooks_and_sign_in_their_own_place() {
    let repo = hooked();
    made(&run(&mut commit(&repo, None, &["-m", "first"])));
    repo.git(&["worktree", "add", "-q", "-b", "topic", "../tree"]);
    let mut call = commit(&repo, Some("otto"), &["-m", "feat: in a worktree"]);
    made(&run(call.current_dir(repo.dir.join("../tree"))));
    assert!(repo.git(&["log", "-1", "--format=%B", "topic"]).contains("\nAgent: otto\n"));
    let answer = repo.json(&["signature", "install-hook", "--repository", "../tree"], 0);
    assert_eq!(answer["hooks"][0]["outcome"], "unchanged");
    // In a session, without a variable of its name.
    let script = "git commit -q --allow-empty -m 'feat: in a session'";
    made(&run(&mut repo.zeta_command(&["run", "--as", "vera", "--", "sh", "-c", script])));
    assert!(message(&repo).contains("\nAgent: vera\n"));
}
