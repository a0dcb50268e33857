//! `zeta repair`: the gate on real policies, sessions and logs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::post::{Guard, write_program};
use crate::support::{LIMIT, Sandbox, is_root, run, signal, skip, test_name, until, wait};

const POLICY: &str = r#"
[personas.otto]
scope = "restart"
units = ["k3s.service", "zeta-*"]

[personas.vera]
scope = "rebuild"
needs_post = false
"#;

fn file(sandbox: &Sandbox, name: &str) -> PathBuf {
    let dir = sandbox.dir.join(".config/zeta");
    fs::create_dir_all(&dir).unwrap();
    for dir in [sandbox.dir.join(".config"), dir.clone()] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    }
    dir.join(name)
}

fn write(sandbox: &Sandbox, name: &str, text: &str) -> PathBuf {
    let path = file(sandbox, name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    path
}

fn with_policy() -> Sandbox {
    let sandbox = Sandbox::new();
    write(&sandbox, "repair-policy.toml", POLICY);
    sandbox
}

/// The lines of the log, as another program reads them.
fn log(sandbox: &Sandbox) -> Vec<Value> {
    let path = sandbox.dir.join(".local/state/zeta/repair.log");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_session_at_a_post_may_what_the_policy_says_and_its_token_is_logged() {
    let sandbox = with_policy();
    let at_post = |rest: &[&str]| {
        let zeta = env!("CARGO_BIN_EXE_zeta");
        // As a supervisor starts an agent: under a name of its own, with the lease of the persona.
        let begin = ["run", "--as", "otto-post1", "--", zeta, "lease", "exec"];
        let leases = ["guard-post-1", "--", zeta, "lease", "exec", "guard-post.otto", "--"];
        sandbox.zeta(&[&begin[..], &leases, &[zeta, "repair", "check"], rest].concat())
    };
    assert_eq!(at_post(&["restart", "--unit", "k3s"]).status, 0);
    assert_eq!(at_post(&["read-only"]).status, 0);
    let refused = at_post(&["restart", "--unit", "sshd.service"]);
    assert_eq!(refused.status, 3);
    assert!(refused.err.contains("otto may not restart sshd.service"), "{refused:?}");
    assert_eq!(at_post(&["rebuild"]).status, 3);
    // Without the post, and with the name alone.
    let refused =
        sandbox.refused(&["repair", "check", "restart", "--unit", "k3s", "--as", "otto"], 3);
    assert!(refused.err.contains("otto stands at no guard post"), "{refused:?}");
    sandbox.ok(&["repair", "check", "read-only", "--as", "otto"]);
    let log = log(&sandbox);
    let outcomes: Vec<&str> = log.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["allowed", "allowed", "refused", "refused", "refused", "allowed"]);
    for line in &log[..4] {
        assert!(line["fencing_token"].as_u64().is_some() && line["session"].is_string(), "{line}");
        assert_eq!((&line["agent"], &line["persona"]), (&"otto-post1".into(), &"otto".into()));
    }
    assert_eq!(log[0]["unit"], "k3s");
    assert_eq!(log[4].get("fencing_token"), None);
    let shown = sandbox.ok(&["repair", "log"]);
    assert_eq!(shown.lines().count(), 6);
    assert!(shown.contains("refused  otto: restart of sshd.service, by agent otto-post1, token "));
}

#[test]
fn the_lease_of_a_persona_without_a_supervisor_above_it_is_no_post() {
    let sandbox = with_policy();
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let check = ["repair", "check", "restart", "--unit", "k3s", "--persona", "otto"];
    let with = |leases: &[&str]| {
        let mut call = vec!["run", "--as", "mallory", "--"];
        leases.iter().for_each(|lease| call.extend([zeta, "lease", "exec", lease, "--"]));
        sandbox.zeta(&[&call[..], &[zeta], &check].concat())
    };
    for leases in [&["guard-post.otto"][..], &["guard-post-scheduler", "guard-post.otto"]] {
        let refused = with(leases);
        assert_eq!(refused.status, 3, "{refused:?}");
        assert!(refused.err.contains("no supervisor of a guard post is seen"), "{refused:?}");
    }
    // A supervisor elsewhere is not the one above.
    let mut other = sandbox.cmd(&["lease", "exec", "guard-post-2", "--", "sleep", "600"]);
    let mut other = other.spawn().unwrap();
    assert!(until(LIMIT, || sandbox.lock_exists("guard-post-2")));
    assert_eq!(with(&["guard-post.otto"]).status, 3);
    signal(other.id(), Signal::TERM);
    wait(&mut other, LIMIT);
    assert_eq!(with(&["guard-post-1", "guard-post.otto"]).status, 0);
}

/// A real supervisor and its agent, and beside it an agent that read the token.
#[test]
fn the_token_of_a_tick_counts_in_the_tick_alone() {
    let guard = Guard::new(1, "").only("otto");
    write(&guard.sandbox, "repair-policy.toml", POLICY);
    let (zeta, at) = (env!("CARGO_BIN_EXE_zeta"), guard.vendors.display().to_string());
    let check = format!("{zeta} repair check restart --unit k3s --persona otto");
    // A child of an agent that has ended is below the supervisor, too.
    let agent = format!(
        "#!/bin/sh\ncd {at} || exit 99\n{check}; echo $? >inside\n\
         (setsid sh -c '{check}; echo $? >orphan' &)\n\
         i=0; while [ ! -e go ] && [ $i -lt 6000 ]; do sleep 0.01; i=$((i+1)); done\n"
    );
    write_program(&guard.agent(), &agent);
    let post = guard.start(1);
    let status = |name: &str| fs::read_to_string(guard.vendors.join(name)).unwrap_or_default();
    assert!(until(LIMIT, || status("orphan").ends_with('\n')), "{}", guard.notes(1));
    assert_eq!(
        (status("inside").trim(), status("orphan").trim()),
        ("0", "0"),
        "{}",
        guard.notes(1)
    );
    let shown = guard.sandbox.ok(&["lease", "show", "guard-post.otto", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let token = shown["fencing_token"].to_string();
    let call = ["repair", "check", "restart", "--unit", "k3s", "--token", &token];
    let refused = guard.sandbox.refused(&[&call[..], &["--as", "otto"]].concat(), 3);
    assert!(refused.err.contains("another session stands at a guard post"), "{refused:?}");
    let beside = [&call[..], &["--as", "mallory", "--persona", "otto"]].concat();
    guard.sandbox.refused(&beside, 3);
    fs::write(guard.vendors.join("go"), "").unwrap();
    assert_eq!(post.end(), 0);
}

#[test]
fn another_session_and_another_name_change_nothing() {
    let sandbox = with_policy();
    let token = sandbox.acquire(&["guard-post.vera", "--as", "vera"]).to_string();
    let vera = |rest: &[&str]| sandbox.zeta(&[&["repair", "check", "rebuild"], rest].concat());
    // The name alone is no proof while a session has the post.
    let refused = vera(&["--as", "vera"]);
    assert!(refused.status == 3 && refused.err.contains("another session stands"), "{refused:?}");
    assert_eq!(vera(&["--as", "vera", "--token", &token]).status, 0);
    assert_eq!(vera(&["--persona", "vera", "--as", "claude-1", "--token", &token]).status, 0);
    let refused = vera(&["--persona", "vera", "--as", "claude-1"]);
    assert!(refused.status == 3 && refused.err.contains("is not vera"), "{refused:?}");
    // A token of before, after another session took the post, proves nothing.
    sandbox.ok(&["lease", "release", "guard-post.vera", "--as", "vera", "--token", &token]);
    sandbox.acquire(&["guard-post.vera", "--as", "vera"]);
    assert_eq!(vera(&["--as", "vera", "--token", &token]).status, 3);
    // That of another lease is not taken for one of the post.
    let mut call = sandbox.cmd(&["repair", "check", "rebuild", "--as", "vera"]);
    call.env("ZETA_LEASE", "deploy").env("ZETA_FENCING_TOKEN", &token);
    assert_eq!(run(&mut call).status, 3);
}

#[test]
fn what_is_not_known_is_refused_by_name_and_logged() {
    let sandbox = with_policy();
    for (args, status, words) in [
        (vec!["reboot", "--as", "otto"], 2, "the scope \"reboot\" is not known"),
        (vec!["read-only", "--as", "ghost"], 3, "the policy has no persona ghost"),
        (vec!["read-only"], 2, "no persona is named"),
        (vec!["read-only", "--persona", "A b"], 2, "persona name \"A b\" is not valid"),
        (vec!["restart", "--unit", "a b", "--as", "otto"], 2, "--unit is not valid"),
        (vec!["rebuild", "--unit", "k3s", "--as", "vera"], 2, "--unit is for the scope restart"),
    ] {
        let call: Vec<&str> = ["repair", "check"].into_iter().chain(args).collect();
        let refused = sandbox.refused(&call, status);
        assert!(refused.err.contains(words), "{call:?}: {refused:?}");
        let line = log(&sandbox).pop().unwrap();
        assert_eq!(line["outcome"], "refused", "{call:?}");
        assert!(line["reason"].as_str().unwrap().contains(words), "{line}");
    }
    assert_eq!(log(&sandbox).len(), 6);
}

#[test]
fn a_policy_that_cannot_be_relied_on_allows_nothing() {
    let sandbox = Sandbox::new();
    let check = |words: &str| {
        let refused = sandbox.refused(&["repair", "check", "read-only", "--as", "vera"], 7);
        assert!(refused.err.contains(words), "{refused:?}");
        assert_eq!(log(&sandbox).pop().unwrap()["outcome"], "refused");
    };
    check("there is no policy of repairs");
    let path = write(&sandbox, "repair-policy.toml", POLICY);
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    check("other users may write to it: its mode is 0664");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    sandbox.ok(&["repair", "check", "read-only", "--as", "vera"]);
    fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
    check("other users may write to it: its mode is 0777");
    write(&sandbox, "repair-policy.toml", "[personas.vera]\nscope = \"all\"\n");
    check("repair-policy.toml:2: unknown variant `all`");
    fs::remove_file(&path).unwrap();
    symlink("repair-policy.toml", &path).unwrap();
    check("too many symbolic links");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check("not a regular file");
    assert_eq!(log(&sandbox).len(), 7);
}

#[test]
fn the_original_s_yaml_is_read_and_two_policies_are_none() {
    let sandbox = Sandbox::new();
    let text = "personas:\n  lior:\n    scope: rebuild\n    needs_post: false\n";
    write(&sandbox, "otto-repair-policy.yaml", text);
    sandbox.ok(&["repair", "check", "rebuild", "--as", "lior"]);
    let listed = sandbox.ok(&["repair", "list"]);
    assert_eq!(listed, "lior: the policy goes as far as rebuild\nlior: needs no guard post");
    write(&sandbox, "repair-policy.toml", POLICY);
    let refused = sandbox.refused(&["repair", "check", "read-only", "--as", "lior"], 7);
    assert!(refused.err.contains("two policies of repairs are there"), "{refused:?}");
}

#[test]
fn what_cannot_be_logged_is_not_allowed() {
    let sandbox = with_policy();
    let state = sandbox.dir.join(".local/state/zeta");
    fs::create_dir_all(state.join("repair.log")).unwrap();
    let refused = sandbox.refused(&["repair", "check", "read-only", "--as", "vera"], 7);
    assert!(refused.err.contains("so nothing is allowed") && refused.out.is_empty(), "{refused:?}");
    fs::remove_dir(state.join("repair.log")).unwrap();
    let other = sandbox.dir.join("other");
    fs::write(&other, "").unwrap();
    symlink(&other, state.join("repair.log")).unwrap();
    sandbox.refused(&["repair", "check", "read-only", "--as", "vera"], 7);
    assert_eq!(fs::read(&other).unwrap(), b"");
    // A limit on the size of files cuts a line as a full disk does; the next one is whole.
    fs::remove_file(state.join("repair.log")).unwrap();
    sandbox.ok(&["repair", "check", "read-only", "--as", "vera"]);
    let script = "ulimit -f 1; trap '' XFSZ; for i in 1 2 3 4 5 6; do \"$@\"; done";
    let zeta = env!("CARGO_BIN_EXE_zeta");
    let args = ["-c", script, "sh", zeta, "repair", "check", "read-only", "--as", "vera"];
    let out = run(&mut sandbox.other("bash", &args));
    assert!(out.status == 7 && out.err.contains("so nothing is allowed"), "{out:?}");
    let before = log(&sandbox).len();
    sandbox.ok(&["repair", "check", "read-only", "--as", "vera"]);
    assert_eq!(log(&sandbox).len(), before + 1);
    assert!(before > 1, "{before}");
}

#[test]
fn a_grant_for_an_incident_ends_by_itself() {
    let sandbox = Sandbox::new();
    let grant = |until: &str| {
        let text = format!(
            "[personas.vera]\nscope = \"read-only\"\nneeds_post = false\n\
             [[personas.vera.grants]]\nscope = \"write-cluster\"\nuntil = \"{until}\"\n"
        );
        write(&sandbox, "repair-policy.toml", &text);
    };
    grant("2999-01-01T00:00:00Z");
    let said = sandbox.ok(&["repair", "check", "write-cluster", "--as", "vera"]);
    assert!(said.contains("write-cluster is granted until 2999-01-01"), "{said}");
    grant("2020-01-01T00:00:00Z");
    let refused = sandbox.refused(&["repair", "check", "write-cluster", "--as", "vera"], 3);
    assert!(refused.err.contains("ended at 2020-01-01"), "{refused:?}");
    assert!(sandbox.ok(&["repair", "list"]).contains("it is over"));
}

/// The machine's policy is one of root in `/etc/zeta`, here in a mount namespace of the call.
#[test]
fn no_user_allows_what_the_machine_s_policy_forbids() {
    if !is_root() {
        return skip(test_name!(), "needs root, for a mount namespace with another /etc");
    }
    let sandbox = with_policy();
    let etc = sandbox.dir.join("etc");
    fs::create_dir_all(etc.join("zeta")).unwrap();
    for dir in [etc.clone(), etc.join("zeta")] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    }
    let check = |status: i32| {
        let script = "mount --bind \"$0\" /etc && exec \"$@\"";
        let zeta = env!("CARGO_BIN_EXE_zeta");
        let args = ["-m", "sh", "-c", script, etc.to_str().unwrap(), zeta, "repair", "check"];
        let args = [&args[..], &["rebuild", "--as", "vera"]].concat();
        let out = run(&mut sandbox.other("unshare", &args));
        assert_eq!(out.status, status, "{out:?}");
    };
    check(0);
    let path = etc.join("zeta/repair-policy.toml");
    fs::write(&path, "[personas.vera]\nscope = \"restart\"\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    check(3);
    assert!(log(&sandbox).pop().unwrap()["policy"].as_str().unwrap().starts_with("/etc/zeta/"));
    // A machine's policy that cannot be relied on does not make room for the user's.
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    check(7);
}
