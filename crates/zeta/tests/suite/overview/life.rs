//! What happens to agents, leases and messages shows in a followed overview.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use zeta_core::overview::{LeaseKind, Overview, Urgency};
use zeta_core::presence::Liveness;

use super::{agent, check, follow, lease, wait_for, words};
use crate::support::{LIMIT, Sandbox, signal, wait};

#[test]
fn a_tree_that_comes_goes_and_comes_again_is_shown() {
    let sandbox = Sandbox::new();
    let mut follower = follow(&sandbox);
    let mut old = follower.overview().clone();
    assert!(old.agents.is_empty() && old.findings.is_empty() && old.node.is_none(), "{old:#?}");
    for round in 0..2 {
        sandbox.ok(&["heartbeat", "--as", "otto"]);
        wait_for(&mut follower, "otto", |o| agent(o, "otto").is_some() && o.node.is_some());
        sandbox.acquire(&["deploy", "--as", "otto", "--purpose", "p"]);
        wait_for(&mut follower, "deploy", |o| lease(o, "deploy").is_some());
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
