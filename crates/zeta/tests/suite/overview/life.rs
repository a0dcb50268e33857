//! What happens to agents, leases and messages shows in a followed overview.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use zeta_core::overview::{LeaseKind, Overview, Urgency};
use zeta_core::presence::Liveness;

use super::{agent, check, follow, lease, wait_for, words};
use crate::support::{LIMIT, Sandbox, can, run, signal, skip, test_name, until, wait};

#[test]
fn a_tree_that_comes_goes_and_comes_again_is_shown() {
    let sandbox = Sandbox::new();
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    assert!(old.agents.is_empty() && old.findings.is_empty() && old.node.is_none(), "{old:#?}");
    for round in 0..2 {
        sandbox.ok(&["heartbeat", "--as", "otto"]);
        wait_for(&mut follower, "otto", |o| agent(o, "otto").is_some() && o.node.is_some());
        let token = sandbox.acquire(&["deploy", "--as", "otto", "--purpose", "p"]);
        wait_for(&mut follower, "deploy", |o| lease(o, "deploy").is_some());
        let mut history = Vec::new();
        assert!(until(LIMIT, || {
            follower.wait(Duration::from_millis(10), &[]);
            history.extend(follower.take_history());
            !history.is_empty()
        }));
        let tokens: Vec<Option<u64>> = history.iter().map(|entry| entry.fencing_token).collect();
        assert_eq!(tokens, [Some(token)], "each entry comes once, also of a tree made anew");
        check(&mut follower, &mut old, &sandbox);
        match round {
            0 => fs::remove_dir_all(&sandbox.state).unwrap(),
            _ => fs::rename(&sandbox.state, sandbox.dir.join("away")).unwrap(),
        }
        wait_for(&mut follower, "no tree", |o| o.agents.is_empty() && o.leases.is_empty());
        check(&mut follower, &mut old, &sandbox);
    }
}

#[test]
fn an_agent_that_is_killed_is_gone_and_its_leases_are_free_by_an_event() {
    let sandbox = Sandbox::new();
    let script = "zeta lease acquire deploy --ttl 1h; exec sleep 60";
    let mut run = sandbox.cmd(&["run", "--as", "otto", "--", "sh", "-c", script]);
    let path = Path::new(env!("CARGO_BIN_EXE_zeta")).parent().unwrap();
    run.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
    let mut run = run.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    wait_for(&mut follower, "otto holds deploy", |o| lease(o, "deploy").is_some());
    let otto = agent(follower.overview(), "otto").unwrap().clone();
    assert_eq!((otto.liveness, otto.pids.len()), (Liveness::Live, 2), "{otto:?}");
    let held = lease(follower.overview(), "deploy").unwrap();
    assert_eq!((held.agent.as_str(), held.kind, held.is_free), ("otto", LeaseKind::Lease, false));
    check(&mut follower, &mut old, &sandbox);
    run.kill().unwrap();
    wait(&mut run, LIMIT);
    wait_for(&mut follower, "a lost wrapper", |o| words(o).contains(&"lost_wrapper"));
    check(&mut follower, &mut old, &sandbox);
    signal(otto.pids[1].try_into().unwrap(), Signal::KILL);
    wait_for(&mut follower, "otto is gone", |o| {
        agent(o, "otto").unwrap().liveness == Liveness::Gone && lease(o, "deploy").unwrap().is_free
    });
    assert!(words(follower.overview()).contains(&"dead_holder"), "{:?}", follower.overview());
    check(&mut follower, &mut old, &sandbox);
}

#[test]
fn waiters_stand_in_line_behind_the_lease() {
    let sandbox = Sandbox::new();
    let token = sandbox.acquire(&["deploy", "--as", "otto"]);
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    let waiter = |name: &str| {
        let mut waiter =
            sandbox.cmd(&["lease", "acquire", "deploy", "--wait", "60s", "--as", name]);
        waiter.env("ZETA_AS", name).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let in_line = |o: &Overview| -> Vec<String> {
        let line = lease(o, "deploy").map(|lease| lease.waiters.clone()).unwrap_or_default();
        line.into_iter().map(|waiter| waiter.agent.unwrap_or_default()).collect()
    };
    let mut first = waiter("ann");
    wait_for(&mut follower, "ann waits", |o| in_line(o) == ["ann"]);
    let mut second = waiter("bob");
    wait_for(&mut follower, "bob waits, too", |o| in_line(o) == ["ann", "bob"]);
    check(&mut follower, &mut old, &sandbox);
    second.kill().unwrap();
    second.wait().unwrap();
    wait_for(&mut follower, "bob is dead", |o| in_line(o) == ["ann"]);
    check(&mut follower, &mut old, &sandbox);
    sandbox.ok(&["lease", "release", "deploy", "--token", &token.to_string()]);
    assert_eq!(wait(&mut first, LIMIT), 0);
    wait_for(&mut follower, "ann holds it", |o| {
        lease(o, "deploy").is_some_and(|lease| lease.agent == "ann" && lease.waiters.is_empty())
    });
    check(&mut follower, &mut old, &sandbox);
}

#[test]
fn findings_name_the_node_that_they_are_about() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "ann"]);
    let node = sandbox.node().file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(sandbox.node().join("x y"), "").unwrap();
    fs::write(sandbox.node().join("zz.lock"), [0xff]).unwrap();
    sandbox.ok(&["bus", "send", "carl", "hi", "--as", "ann"]);
    let mut follower = follow(&sandbox);
    wait_for(&mut follower, "three findings", |o| o.findings.len() == 3);
    let findings = follower.overview().findings.iter();
    let mut found: Vec<_> = findings.map(|f| (f.word.as_str(), f.node.as_deref())).collect();
    found.sort_unstable();
    let own = Some(node.as_str());
    assert_eq!(found, [("damaged_record", own), ("odd_name", own), ("unread_mail", None)]);
}

#[test]
fn messages_and_what_is_unread_come_and_go() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "bob"]);
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    for (to, text) in [("bob", "the build\nis red"), ("carl", "hi")] {
        sandbox.ok(&["bus", "send", to, text, "--as", "ann"]);
    }
    wait_for(&mut follower, "two messages", |o| o.messages.len() == 2);
    let o = follower.overview();
    assert_eq!(
        (o.messages[0].text.as_str(), o.messages[0].to.as_str()),
        ("the build is red", "bob")
    );
    wait_for(&mut follower, "an unread one", |o| agent(o, "bob").unwrap().unread == 1);
    let o = follower.overview();
    let unread: Vec<_> = o.findings.iter().map(|f| (f.word.as_str(), f.about.as_str())).collect();
    assert_eq!(unread, [("unread_mail", "carl")]);
    assert_eq!(o.findings[0].urgency, Urgency::Notice);
    check(&mut follower, &mut old, &sandbox);
    sandbox.ok(&["bus", "inbox", "--as", "bob"]);
    wait_for(&mut follower, "it was read", |o| agent(o, "bob").unwrap().unread == 0);
    check(&mut follower, &mut old, &sandbox);
    fs::remove_dir_all(sandbox.dir.join("bus")).unwrap();
    wait_for(&mut follower, "no bus", |o| o.messages.is_empty() && o.findings.is_empty());
    check(&mut follower, &mut old, &sandbox);
}

#[test]
fn directories_that_go_while_they_are_open_and_come_again_are_followed() {
    let sandbox = Sandbox::new();
    let bus = sandbox.dir.join("bus");
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    for _ in 0..2 {
        sandbox.ok(&["heartbeat", "--as", "bob"]);
        sandbox.ok(&["bus", "send", "bob", "hi", "--as", "ann"]);
        wait_for(&mut follower, "bob, and a message", |o| {
            o.messages.len() == 1 && agent(o, "bob").is_some()
        });
        check(&mut follower, &mut old, &sandbox);
        for dir in [&bus, &sandbox.state] {
            for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let is_dir = entry.file_type().unwrap().is_dir();
                let remove = if is_dir { fs::remove_dir_all } else { fs::remove_file };
                remove(entry.path()).unwrap();
            }
        }
        wait_for(&mut follower, "nothing", |o| o.messages.is_empty() && o.agents.is_empty());
        check(&mut follower, &mut old, &sandbox);
        // The kernel does not tell of the removal of a directory that is open.
        let _open = [&bus, &sandbox.state].map(|dir| fs::File::open(dir).unwrap());
        fs::remove_dir(&bus).unwrap();
        fs::remove_dir(&sandbox.state).unwrap();
        wait_for(&mut follower, "no finding", |o| o.findings.is_empty());
        check(&mut follower, &mut old, &sandbox);
    }
}

#[test]
fn a_user_without_watches_is_shown_all_changes_too() {
    let none = "echo 0 > /proc/sys/user/max_inotify_watches";
    if !can("unshare", &["-Ur", "sh", "-c", none]) {
        return skip(test_name!(), "needs a user namespace");
    }
    let sandbox = Sandbox::new();
    let script = format!("{none} && exec \"$0\" --exact --test-threads=1 \"$@\"");
    let mut again = sandbox.other("unshare", &["-Ur", "sh", "-c", &script]);
    again.arg(std::env::current_exe().unwrap());
    let tests = ["directories_that_go_while_they_are_open_and_come_again_are_followed"];
    again.args(tests.map(|name| format!("overview::life::{name}")));
    let out = run(&mut again);
    assert_eq!(out.status, 0, "{out:?}");
    assert!(out.out.contains(" 1 passed"), "{out:?}");
}

#[test]
fn a_history_that_cannot_be_read_is_a_finding_until_it_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "bob"]);
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    for name in ["history.log", "history.1.log"] {
        let odd = sandbox.node().join(name);
        fs::create_dir(&odd).unwrap();
        wait_for(&mut follower, "a directory", |o| words(o) == ["unsafe_file"]);
        check(&mut follower, &mut old, &sandbox);
        fs::remove_dir(&odd).unwrap();
        wait_for(&mut follower, "no finding", |o| o.findings.is_empty());
        check(&mut follower, &mut old, &sandbox);
    }
}

/// Adds lines to the record of an agent, by a rename as the standard asks.
fn add_lines(sandbox: &Sandbox, agent: &str, lines: &str) {
    let path = sandbox.node().join(format!("persona-{agent}.state"));
    let text =
        fs::read_to_string(&path).unwrap().replace("end: true", &format!("{lines}end: true"));
    let temp = sandbox.dir.join("temp");
    fs::write(&temp, text).unwrap();
    fs::rename(temp, path).unwrap();
}

#[test]
fn who_waits_for_a_person_comes_first_and_who_writes_one_file_is_named() {
    let sandbox = Sandbox::new();
    for name in ["ann", "bob", "otto"] {
        sandbox.ok(&["heartbeat", "--as", name]);
    }
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    let since = "waits_since: \"2026-11-28T20:52:54.686383Z\"\n";
    add_lines(&sandbox, "otto", &format!("waits_for: \"push it?\"\n{since}"));
    wait_for(&mut follower, "otto waits", |o| o.agents[0].name == "otto");
    let o = follower.overview();
    let waits = o.agents[0].waits.as_ref().unwrap();
    assert_eq!(
        (waits.question.as_str(), waits.since_us),
        ("push it?", Some(1_795_899_174_686_383))
    );
    assert_eq!((words(o), o.findings[0].urgency), (vec!["waits_for_person"], Urgency::Person));
    check(&mut follower, &mut old, &sandbox);
    let now_ms = zeta_os::host::reading().boot_ns / 1_000_000;
    for (name, at_ms) in [("ann", now_ms - 28_000), ("bob", now_ms)] {
        add_lines(&sandbox, name, &format!("edits: \"{at_ms} /w/price.ts\\n\"\n"));
    }
    let both = ["waits_for_person", "same_file"];
    wait_for(&mut follower, "two write one file", |o| words(o) == both);
    assert!(follower.overview().findings[1].text.contains("ann and bob"), "{:?}", words(&old));
    // Nothing is written: it ends by the time alone.
    wait_for(&mut follower, "ann's edit is old", |o| words(o) == ["waits_for_person"]);
    check(&mut follower, &mut old, &sandbox);
}

#[test]
fn a_stopped_agent_is_shown_and_goes_on() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.cmd(&["run", "--as", "rex", "--beat", "1s", "--", "sleep", "60"]);
    let mut run = run.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut follower = follow(&sandbox);
    wait_for(&mut follower, "rex", |o| agent(o, "rex").is_some_and(|rex| rex.pids.len() == 2));
    signal(run.id(), Signal::STOP);
    wait_for(&mut follower, "rex is stopped", |o| words(o) == ["stopped_agent"]);
    assert!(agent(follower.overview(), "rex").unwrap().is_stopped);
    signal(run.id(), Signal::CONT);
    wait_for(&mut follower, "rex goes on", |o| !agent(o, "rex").unwrap().is_stopped);
    wait_for(&mut follower, "nothing is wrong", |o| o.findings.is_empty());
    signal(run.id(), Signal::TERM);
    wait(&mut run, LIMIT);
    wait_for(&mut follower, "rex ended", |o| agent(o, "rex").unwrap().liveness == Liveness::Gone);
}

#[test]
fn claims_slots_and_leases_that_end_by_time_are_shown() {
    let sandbox = Sandbox::new();
    let repository = sandbox.dir.join("repository");
    fs::create_dir(&repository).unwrap();
    run(&mut sandbox.other("git", &["-C", repository.to_str().unwrap(), "init", "-q"]));
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    let claim = ["claim", "acquire", "--as", "ann", "--path", "src/a", "--path", "docs/**"];
    assert_eq!(run(sandbox.cmd(&claim).current_dir(&repository)).status, 0);
    sandbox.ok(&["claim", "acquire", "B-1", "--as", "ann", "--branch", "b", "--worktree", "/w"]);
    sandbox.ok(&["claim", "acquire", "B-2", "--as", "bob", "--branch", "c", "--worktree", "/w"]);
    sandbox.acquire(&["gpu", "--slots", "2", "--as", "ann"]);
    sandbox.acquire(&["gpu", "--slots", "2", "--as", "bob"]);
    sandbox.acquire(&["short", "--as", "ann", "--ttl", "300ms"]);
    wait_for(&mut follower, "the lease ends by time alone", |o| {
        lease(o, "short").is_some_and(|short| short.is_free && short.standing == "expired")
    });
    let o = follower.overview();
    let kind = |subject: &str| lease(o, subject).map(|lease| lease.kind);
    assert_eq!(kind("docs/ src/a/"), Some(LeaseKind::Paths), "{:#?}", o.leases);
    assert_eq!((kind("B-1"), kind("gpu")), (Some(LeaseKind::Claim), Some(LeaseKind::Slot)));
    assert_eq!(o.leases.iter().filter(|lease| lease.name == "gpu").count(), 2);
    assert_eq!(lease(o, "B-1").unwrap().branch.as_deref(), Some("b"));
    // Their purpose is their subject once more.
    assert!(["B-1", "docs/ src/a/"].iter().all(|it| lease(o, it).unwrap().purpose.is_none()));
    assert_eq!(words(o), ["shared_worktree", "expired_lease"]);
    check(&mut follower, &mut old, &sandbox);
}

#[test]
fn a_tree_that_is_not_trusted_is_a_finding_and_no_end() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    sandbox.ok(&["heartbeat", "--as", "otto"]);
    sandbox.acquire(&["deploy", "--as", "otto"]);
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    assert_eq!(follower.take_history().len(), 1);
    let set = |mode| {
        fs::set_permissions(&sandbox.state, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o777);
    wait_for(&mut follower, "it is not trusted", |o| {
        o.agents.is_empty() && words(o) == ["unsafe_file"]
    });
    check(&mut follower, &mut old, &sandbox);
    set(0o700);
    wait_for(&mut follower, "it is again", |o| agent(o, "otto").is_some() && words(o).is_empty());
    assert_eq!(follower.take_history(), [], "each entry comes once");
    let record = sandbox.node().join("persona-otto.state");
    fs::write(&record, "\u{1b}[2J\u{0}").unwrap();
    wait_for(&mut follower, "a record of another program", |o| words(o) == ["foreign_record"]);
    fs::write(&record, "schema: 1\nkind: \"persona\"\n").unwrap();
    wait_for(&mut follower, "a damaged record", |o| words(o) == ["damaged_record"]);
    check(&mut follower, &mut old, &sandbox);
}
