//! What a session and a wrapper notice when others take away what is theirs: the tree, the
//! session's record, a lease's record, a grant.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::{LIMIT, Out, Sandbox, finish, skip, test_name, wait_for};

/// A session of `agent` that beats five times a second and runs `script`; `$Z` is `zeta`.
fn session(sandbox: &Sandbox, agent: &str, on_lost: &str, script: &str) -> Child {
    let args = ["run", "--as", agent, "--beat", "200ms", "--on-lost", on_lost, "--"];
    let mut call = sandbox.cmd(&[&args[..], &["sh", "-c", script]].concat());
    call.env("Z", env!("CARGO_BIN_EXE_zeta")).stdout(Stdio::piped()).stderr(Stdio::piped());
    call.spawn().unwrap()
}

fn end(child: Child) -> Out {
    finish(child, Instant::now(), LIMIT)
}

fn persona(sandbox: &Sandbox, agent: &str) -> String {
    let path = sandbox.state.join("local-node");
    let Ok(name) = fs::read_to_string(path) else { return String::new() };
    let file = format!("nodes/{}/persona-{agent}.state", name.trim_end());
    fs::read_to_string(sandbox.state.join(file)).unwrap_or_default()
}

/// Removes the tree, while its session may put files there.
fn remove_tree(sandbox: &Sandbox) {
    wait_for("the tree is removed", || fs::remove_dir_all(&sandbox.state).is_ok());
}

const HOLDS: &str = r#""$Z" lease acquire deploy --ttl 10m >/dev/null && exec sleep 30"#;

#[test]
fn a_session_whose_tree_was_removed_comes_back_under_its_node_s_name() {
    let sandbox = Sandbox::new();
    let run = session(&sandbox, "a1", "warn", "exec sleep 3");
    wait_for("the session is there", || persona(&sandbox, "a1").contains("beat_seq: 2"));
    let (node, before) = (sandbox.node(), persona(&sandbox, "a1"));
    remove_tree(&sandbox);
    wait_for("the session is back", || persona(&sandbox, "a1").contains("beat_seq: 2"));
    assert_eq!(sandbox.node(), node);
    let key =
        |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    for same in ["session:", "pid:", "child_pid:", "started_at:", "persona:", "status:"] {
        assert_eq!(key(&before, same), key(&persona(&sandbox, "a1"), same));
    }
    let out = end(run);
    assert_eq!(out.status, 0, "it held no lease: {out:?}");
    assert!(out.err.contains("was removed or replaced"), "{out:?}");
    assert!(persona(&sandbox, "a1").contains("exit_status: 0"), "it ended in the new tree");
}

#[test]
fn a_session_comes_back_when_only_its_record_was_removed() {
    let sandbox = Sandbox::new();
    let run = session(&sandbox, "a1", "term", "exec sleep 2");
    wait_for("the session is there", || persona(&sandbox, "a1").contains("beat_seq: 2"));
    fs::remove_file(sandbox.node().join("persona-a1.state")).unwrap();
    wait_for("it is back", || persona(&sandbox, "a1").contains("started_at:"));
    assert!(persona(&sandbox, "a1").contains("child_pid:"));
    assert_eq!(end(run).status, 0);
}

#[test]
fn a_lease_that_is_removed_by_hand_ends_its_session() {
    for whole_tree in [false, true] {
        let sandbox = Sandbox::new();
        let run = session(&sandbox, "a1", "term", HOLDS);
        wait_for("the lease is held", || sandbox.lock_exists("deploy"));
        // The wrapper learns of the grant by an event.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let removed = Instant::now();
        match whole_tree {
            true => remove_tree(&sandbox),
            false => fs::remove_file(sandbox.lock("deploy")).unwrap(),
        }
        let out = end(run);
        assert_eq!(out.status, 5, "whole tree: {whole_tree}: {out:?}");
        assert!(out.err.contains("lease deploy is not yours any more"), "{out:?}");
        assert!(removed.elapsed().as_secs() < 5, "{:?}", removed.elapsed());
    }
}

#[test]
fn a_lease_that_its_session_gave_back_is_not_lost() {
    let sandbox = Sandbox::new();
    let script = r#"for n in 1 2 3 4 5; do
        T=$("$Z" lease acquire deploy) && "$Z" lease release deploy --token $T || exit 9
    done; sleep 1"#;
    let out = end(session(&sandbox, "a1", "term", script));
    assert_eq!(out.status, 0, "{out:?}");
}

#[test]
fn a_session_ends_if_its_node_has_another_name_now() {
    if fs::exists("/etc/zeta/cluster-node-id").unwrap_or(true) {
        return skip(test_name!(), "this machine's node has a fixed name in /etc/zeta");
    }
    let sandbox = Sandbox::new();
    let run = session(&sandbox, "a1", "term", "exec sleep 30");
    wait_for("the session is there", || persona(&sandbox, "a1").contains("beat_seq: 1"));
    // Another tree, made complete elsewhere, takes the place of the first at once.
    let other = sandbox.dir.join("other");
    let out = sandbox.cmd(&["init"]).env("ZETA_STATE_DIR", &other).env_remove("HOME").output();
    assert!(out.unwrap().status.success());
    fs::rename(&sandbox.state, sandbox.dir.join("old")).unwrap();
    fs::rename(&other, &sandbox.state).unwrap();
    let out = end(run);
    assert_eq!(out.status, 5, "{out:?}");
    assert!(out.err.contains("this machine's node is"), "{out:?}");
}

#[test]
fn a_second_session_under_the_name_of_one_that_lost_its_record_ends_the_first() {
    let sandbox = Sandbox::new();
    let run = session(&sandbox, "a1", "term", "exec sleep 30");
    wait_for("the session is there", || persona(&sandbox, "a1").contains("beat_seq: 1"));
    let file = sandbox.node().join("persona-a1.state");
    // The other session's record is put in the place of the first's between two of its beats.
    let other = Sandbox::new();
    let second = session(&other, "a1", "warn", "exec sleep 3");
    wait_for("the other is there", || persona(&other, "a1").contains("beat_seq: 1"));
    let temp = sandbox.dir.join("record");
    fs::copy(other.node().join("persona-a1.state"), &temp).unwrap();
    fs::rename(&temp, &file).unwrap();
    let out = end(run);
    assert_eq!(out.status, 5, "{out:?}");
    assert!(out.err.contains("another session runs under this name"), "{out:?}");
    assert_eq!(end(second).status, 0);
}

#[test]
fn a_lease_that_is_broken_within_milliseconds_of_its_grant_is_noticed() {
    let script = r#"sleep .1
        T=$("$Z" lease acquire deploy) &&
        "$Z" --as boss lease break deploy --expect $T --reason 'not now' -q && exec sleep 30"#;
    for round in 0..20 {
        let sandbox = Sandbox::new();
        let out = end(session(&sandbox, "a1", "term", script));
        assert_eq!(out.status, 5, "round {round}: {out:?}");
        assert!(out.err.contains("boss") && out.err.contains("not now"), "{out:?}");
    }
}

/// The wrapper waits for a moment before it watches the node: it is held in that moment.
#[test]
fn a_lease_that_is_broken_before_its_wrapper_watches_is_noticed() {
    let sandbox = Sandbox::new();
    let script = r#"kill -STOP $PPID
        T=$("$Z" lease acquire deploy) &&
        "$Z" --as boss lease break deploy --expect $T --reason 'not now' -q
        kill -CONT $PPID; exec sleep 30"#;
    let out = end(session(&sandbox, "a1", "term", script));
    assert_eq!(out.status, 5, "{out:?}");
    assert!(out.err.contains("boss") && out.err.contains("not now"), "{out:?}");
}

#[test]
fn a_break_that_was_told_once_is_not_told_again() {
    let sandbox = Sandbox::new();
    let script = r#"sleep .1
        T=$("$Z" lease acquire deploy)
        "$Z" --as boss lease break deploy --expect $T --reason 'not now' -q
        for n in 1 2 3; do
            T=$("$Z" lease acquire deploy) && "$Z" lease release deploy --token $T
        done; sleep .5"#;
    let out = end(session(&sandbox, "a1", "warn", script));
    assert_eq!((out.status, out.err.matches("not now").count()), (0, 1), "{out:?}");
}

#[test]
fn a_release_after_a_break_names_the_breaker_and_ends_with_5() {
    let sandbox = Sandbox::new();
    let broken = |lease: &str| {
        let token = sandbox.acquire(&[lease]).to_string();
        let reason = ["--expect", &token, "--reason", "it hangs"];
        sandbox.ok(&[&["--as", "boss", "lease", "break", lease][..], &reason].concat());
        token
    };
    for verb in ["release", "check", "renew"] {
        let token = broken("deploy");
        let out = sandbox.refused(&["lease", verb, "deploy", "--token", &token], 5);
        assert!(out.err.contains("boss") && out.err.contains("it hangs"), "{verb}: {out:?}");
    }
}

#[test]
fn exec_whose_lease_was_broken_ends_with_5_even_if_its_command_is_short() {
    let sandbox = Sandbox::new();
    let script = r#""$Z" --as boss lease break deploy --expect $ZETA_FENCING_TOKEN --reason why"#;
    for (on_lost, status) in [("term", 5), ("kill", 5), ("warn", 0)] {
        let args = ["lease", "exec", "deploy", "--on-lost", on_lost, "--", "sh", "-c", script];
        let mut call: Command = sandbox.cmd(&args);
        let out = crate::support::run(call.env("Z", env!("CARGO_BIN_EXE_zeta")));
        assert_eq!(out.status, status, "{on_lost}: {out:?}");
        assert!(out.err.contains("boss"), "{on_lost}: {out:?}");
    }
}

#[test]
fn a_grant_that_never_was_is_not_called_yours() {
    let sandbox = Sandbox::new();
    let never = |verb: &str, lease: &str, token: &str, text: &str| {
        let out = sandbox.refused(&["lease", verb, lease, "--token", token], 5);
        assert!(out.err.contains(text) && !out.err.contains("any more"), "{verb}: {out:?}");
    };
    let none = "no grant of it is known here";
    let verbs = ["check", "release", "renew"];
    verbs.iter().for_each(|verb| never(verb, "nosuch", "5", none));
    let token = sandbox.acquire(&["job", "--as", "otto"]);
    let above = (token + 1).to_string();
    for verb in verbs {
        never(verb, "nosuch", "5", none);
        never(verb, "job", &above, "never granted with this token: otto");
    }
    sandbox.ok(&["lease", "release", "job", "--token", &token.to_string()]);
    for verb in verbs {
        never(verb, "job", &above, &format!("its last grant had {token}"));
    }
}

#[test]
fn doctor_names_a_session_of_a_lost_tree() {
    let sandbox = Sandbox::new();
    // It beats so seldom that it does not notice.
    let args = ["run", "--as", "a1", "--beat", "1h", "--", "sleep", "30"];
    let mut run = sandbox.cmd(&args).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the session is there", || persona(&sandbox, "a1").contains("beat_seq: 1"));
    let doctor = || sandbox.zeta(&["doctor"]).out;
    // The command has its variables once it was executed.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!doctor().contains("session"), "{}", doctor());
    fs::rename(&sandbox.state, sandbox.dir.join("old")).unwrap();
    let lost = "agent a1 runs (session ";
    assert!(doctor().contains(lost), "no tree: {}", doctor());
    sandbox.ok(&["init"]);
    let text = doctor();
    assert!(text.contains(lost) && text.contains(&format!("kill {}", run.id())), "{text}");
    crate::support::signal(run.id(), rustix::process::Signal::TERM);
    assert_eq!(crate::support::wait(&mut run, LIMIT), 143);
    assert!(!doctor().contains(lost));
}
