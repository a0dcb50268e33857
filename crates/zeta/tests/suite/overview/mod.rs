//! The overview that front ends draw: real processes change the tree and the bus, and what is
//! followed is what a fresh look shows.

mod life;
mod property;
mod storm;

use std::time::{Duration, Instant};

use zeta_bus::overview::Follower;
use zeta_core::name::Label;
use zeta_core::overview::changes::{apply, changes};
use zeta_core::overview::{Agent, Lease, Overview};
use zeta_core::time::Host;
use zeta_state::context::Context;

use crate::support::{LIMIT, Sandbox, until};

/// The context of a call in this process.
fn context(sandbox: &Sandbox) -> Context {
    let ctx = Context {
        state_dir: sandbox.state.clone(),
        node: None,
        agent: Label::new("agent", "tester").unwrap(),
        agent_named: false,
        session: None,
        fenced: None,
        lasting_dir: None,
        bus_dir: sandbox.dir.join("bus"),
        lease_ended: |_, _| (),
        cluster: None,
        host: Host::default(),
    };
    ctx.on_this_host().unwrap()
}

fn follow(sandbox: &Sandbox) -> Follower {
    Follower::new(&context(sandbox))
}

/// Waits until the followed overview is so, by its own events alone; fails the test after a limit.
#[track_caller]
fn wait_for(follower: &mut Follower, what: &str, so: impl Fn(&Overview) -> bool) {
    let started = Instant::now();
    while !so(follower.overview()) {
        let left = LIMIT.saturating_sub(started.elapsed());
        assert!(!left.is_zero(), "not yet: {what}: {:#?}", follower.overview());
        follower.wait(left, &[]);
    }
}

fn agent<'o>(overview: &'o Overview, name: &str) -> Option<&'o Agent> {
    overview.agents.iter().find(|agent| agent.name == name)
}

fn lease<'o>(overview: &'o Overview, subject: &str) -> Option<&'o Lease> {
    overview.leases.iter().find(|lease| lease.subject == subject)
}

fn words(overview: &Overview) -> Vec<&str> {
    overview.findings.iter().map(|finding| finding.word.as_str()).collect()
}

/// Asserts that a fresh look shows the same, and that the differences from `old` lead to it. What
/// the time changes between the two looks is looked at again.
#[track_caller]
fn check(follower: &mut Follower, old: &mut Overview, sandbox: &Sandbox) {
    let mut fresh = Overview::default();
    let same = until(LIMIT, || {
        // What happened before is known to the kernel by now.
        follower.wait(Duration::ZERO, &[]);
        fresh = follow(sandbox).overview().clone();
        fresh.at_us = follower.overview().at_us;
        *follower.overview() == fresh
    });
    let followed = follower.overview();
    assert!(same, "left: followed, right: fresh: {}", difference(followed, &fresh));
    let changes = changes(old, followed);
    apply(old, &changes);
    assert_eq!(old, followed, "left: old with the changes");
}

/// The lines that differ.
fn difference(left: &Overview, right: &Overview) -> String {
    let (left, right) = (format!("{left:#?}"), format!("{right:#?}"));
    let only = |one: &str, other: &str, sign: char| -> String {
        let others: std::collections::HashSet<&str> = other.lines().collect();
        one.lines().filter(|l| !others.contains(l)).map(|l| format!("{sign}{l}\n")).collect()
    };
    let differing = only(&left, &right, '<') + &only(&right, &left, '>');
    if differing.is_empty() { format!("{left}\n{right}") } else { differing }
}
